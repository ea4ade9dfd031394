"""Matrices of all containers and types give the same training and scores, and are not changed."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from lightfm_fast import LightFM
from lightfm_fast.evaluation import auc_score, precision_at_k, recall_at_k, reciprocal_rank

from .data import (
    FEATURES,
    INTERACTIONS,
    N_ITEMS,
    N_USERS,
    arrays_of,
    make_data,
    of_side,
    set_coordinates,
    sparse_data,
    state_of,
)

CONTAINERS = {
    "coo_matrix": sp.coo_matrix,
    "csr_matrix": sp.csr_matrix,
    "csc_matrix": sp.csc_matrix,
    "lil_matrix": sp.lil_matrix,
    "dok_matrix": sp.dok_matrix,
    "bsr_matrix": sp.bsr_matrix,
    "coo_array": sp.coo_array,
    "csr_array": sp.csr_array,
    "csc_array": sp.csc_array,
    "ndarray": np.asarray,
    "Fortran order": np.asfortranarray,
    "list": lambda matrix: matrix.tolist(),
}


def use_every_way(interactions, features):
    """Train, score and rank; return all results."""
    model = LightFM(no_components=4, random_state=1).fit(interactions, epochs=2, **features)
    model.fit_partial(interactions, **features)
    results = state_of(model)
    results.append(model.predict([0, 3, 5], [1, 2, 3], **features))
    ranks = model.predict_rank(interactions, **features)
    results.append(ranks.toarray())
    results.append(recall_at_k(model, interactions, k=2, **features))
    results.extend(model.get_item_representations(features["item_features"]))
    results.extend(model.get_user_representations(features["user_features"]))
    return results


def assert_same_results(interactions, features):
    dense, dense_features = make_data()
    expected = use_every_way(sp.coo_matrix(dense), {name: sp.csr_matrix(m) for name, m in dense_features.items()})
    for found, wanted in zip(use_every_way(interactions, features), expected, strict=True):
        assert_array_equal(found, wanted)


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64, np.int8, np.uint8])
def test_containers_and_types(container, dtype):
    interactions, features = make_data()
    convert = CONTAINERS[container]
    given = {name: convert(matrix.astype(dtype)) for name, matrix in features.items()}
    assert_same_results(convert(interactions.astype(dtype)), given)


@pytest.mark.parametrize("container", ["coo_matrix", "csr_matrix", "csc_array", "ndarray"])
def test_truth_values(container):
    interactions, features = make_data()
    assert_same_results(CONTAINERS[container](interactions.astype(bool)), features)


@pytest.mark.parametrize("container", ["coo_matrix", "csr_matrix", "csc_matrix", "coo_array", "csr_array"])
def test_wide_indices(container):
    def widen(matrix):
        matrix = CONTAINERS[container](matrix)
        if matrix.format == "coo":
            set_coordinates(matrix, matrix.row.astype(np.int64), matrix.col.astype(np.int64))
        else:
            matrix.indptr, matrix.indices = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64)
        return matrix

    interactions, features = make_data()
    given = widen(interactions)
    assert_same_results(given, {name: widen(matrix) for name, matrix in features.items()})
    assert arrays_of(given)[0].dtype == arrays_of(given)[1].dtype == np.int64  # the caller's matrix stays as it was


def test_numbers_of_another_byte_order():
    """As files of other machines have them."""
    known = sp.csr_matrix(make_data()[0])
    plain = LightFM(random_state=1).fit(known)
    swapped = known.copy()
    swapped.data, swapped.indices = swapped.data.astype(">f4"), swapped.indices.astype(">i4")
    for matrix in (known.toarray().astype(">f4"), known.toarray().astype(">i8"), swapped):
        model = LightFM(random_state=1).fit(matrix)
        assert_array_equal(model.item_embeddings, plain.item_embeddings)
        assert_array_equal(model.predict_rank(matrix).toarray(), plain.predict_rank(known).toarray())
        assert_array_equal(model.recommend([0], 3, matrix).ids, plain.recommend([0], 3, known).ids)


@pytest.mark.parametrize("container", ["coo_matrix", "csr_matrix", "csc_array", "ndarray"])
def test_read_only_arrays_are_enough_and_stay_as_they_are(container):
    interactions, features = make_data()
    matrices = [CONTAINERS[container](matrix) for matrix in (interactions, *features.values())]
    copies = copy.deepcopy(matrices)
    arrays = [array for matrix in matrices for array in arrays_of(matrix)]
    for array in arrays:
        array.flags.writeable = False
    assert_same_results(matrices[0], dict(zip(features, matrices[1:], strict=True)))
    for before, array in zip([array for matrix in copies for array in arrays_of(matrix)], arrays, strict=True):
        assert array.dtype == before.dtype
        assert_array_equal(array, before)


@pytest.mark.parametrize("loss", ["logistic", "bpr", "warp"])
def test_unsorted_and_repeated_entries_stay_as_they_are(loss):
    rows, columns = np.array([3, 0, 3, 1, 0]), np.array([4, 2, 1, 0, 2])
    interactions = sp.coo_matrix((np.array([1, 1, 0, -1, 2.0]), (rows, columns)), shape=(N_USERS, N_ITEMS))
    weights = sp.coo_matrix((np.arange(5.0), (rows, columns)), shape=interactions.shape)
    features = sp.csr_matrix((np.ones(12), np.tile([2, 0, 0], 4), np.minimum(np.arange(N_ITEMS + 1) * 3, 12)))
    given = (interactions, weights, features)
    copies = [[array.copy() for array in arrays_of(matrix)] for matrix in given]
    model = LightFM(loss=loss, random_state=1).fit(interactions, item_features=features, sample_weight=weights)
    model.predict_rank(interactions.tocsr(), item_features=features)
    for metric in (precision_at_k, recall_at_k, auc_score, reciprocal_rank):
        metric(model, interactions.tocsr(), item_features=features)
    for matrix, before in zip(given, copies, strict=True):
        for array, expected in zip(arrays_of(matrix), before, strict=True):
            assert_array_equal(array, expected)


def test_repeated_feature_entries_add_up():
    interactions, _ = sparse_data()
    twice = sp.csr_matrix((np.ones(2 * N_ITEMS), np.repeat(np.arange(N_ITEMS), 2), 2 * np.arange(N_ITEMS + 1)))
    once = sp.identity(N_ITEMS, format="csr") * 2
    first, second = (LightFM(random_state=1).fit(interactions, item_features=m) for m in (twice, once))
    assert_array_equal(first.item_embeddings, second.item_embeddings)


def test_features_of_more_rows_than_interactions():
    interactions, features = sparse_data()
    part = interactions.tocsr()[:5, :4]
    model = LightFM(random_state=1).fit(part, **features)
    assert model.predict(N_USERS - 1, [N_ITEMS - 1], **features).shape == (1,)
    assert model.predict_rank(part, **features).shape == part.shape


@pytest.mark.parametrize("weights", [sp.coo_matrix, sp.coo_array])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_kinds_of_sample_weight(weights, dtype):
    interactions, _ = sparse_data()
    expected = LightFM(random_state=1).fit(interactions, sample_weight=2 * interactions)
    found = LightFM(random_state=1).fit(interactions, sample_weight=weights(2 * interactions).astype(dtype))
    assert_array_equal(found.item_embeddings, expected.item_embeddings)
    csr = LightFM(random_state=1).fit(interactions.tocsr(), sample_weight=weights(2 * interactions))
    assert_array_equal(csr.item_embeddings, expected.item_embeddings)


def test_recall_of_empty_rows_is_zero():
    interactions, _ = make_data()
    interactions[2] = 0
    recall = recall_at_k(LightFM(random_state=1).fit(interactions), interactions, k=3, preserve_rows=True)
    assert recall.shape == (N_USERS,)
    assert recall[2] == 0
    assert np.isfinite(recall).all()


def test_masked_entries_are_not_there():
    dense = np.ma.masked_array(np.ones((N_USERS, N_ITEMS)), mask=INTERACTIONS.toarray() == 0)
    dense.data[dense.mask] = 7
    found, expected = (LightFM(random_state=1).fit(matrix) for matrix in (dense, INTERACTIONS))
    for one, other in zip(state_of(found), state_of(expected), strict=True):
        assert_array_equal(one, other)


@pytest.mark.parametrize("with_features", [False, True])
def test_similar_items_among_some(with_features):
    features = of_side("item", FEATURES) if with_features else {}
    model = LightFM(loss="warp", random_state=1).fit(INTERACTIONS, epochs=3, **features)
    every = model.similar_items([2, 5], n=N_ITEMS, **features)
    for options, allowed in (
        ({"among": [1, 2, 7]}, {1, 2, 7}),
        ({"exclude": [0, 3]}, set(range(N_ITEMS)) - {0, 3}),
        ({"among": [1, 2, 7], "exclude": [7]}, {1, 2}),
    ):
        found = model.similar_items([2, 5], n=4, **options, **features)
        for item, ids, scores, ids_of_all, scores_of_all in zip([2, 5], *found, *every, strict=True):
            kept = [i for i in range(N_ITEMS) if ids_of_all[i] in allowed - {item}][:4]
            assert ids[: len(kept)].tolist() == ids_of_all[kept].tolist()
            assert_allclose(scores[: len(kept)], scores_of_all[kept], rtol=1e-5, atol=1e-6)
            assert (ids[len(kept) :] == -1).all()
