"""Recommendations and similar items against brute force in float64."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from lightfm_fast import LightFM
from lightfm_fast.data import Dataset

from .models import drawn_model, represent, score_all


def make_features(n_users, n_items):
    rng = np.random.RandomState(7)
    return {
        f"{side}_features": sp.csr_matrix(rng.randint(-1, 3, (n, 6)) * (rng.rand(n, 6) < 0.5), dtype=np.float32)
        for side, n in (("user", n_users), ("item", n_items))
    }


def best_by_sorting(scores, n, allowed):
    ids, values = np.full((len(scores), n), -1), np.full((len(scores), n), -np.inf)
    for row, (score, is_allowed) in enumerate(zip(scores, allowed, strict=True)):
        order = np.argsort(-score, kind="stable")
        order = order[is_allowed[order]][:n]
        ids[row, : len(order)], values[row, : len(order)] = order, score[order]
    return ids, values


# Catalogues around the kernel's 16 items a tile and 512 a block, users around its 4 at once and 16 a task.
@pytest.mark.parametrize("with_features", [False, True], ids=["identity", "features"])
@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize(
    ("n_users", "n_items", "n"),
    [(1, 1, 1), (3, 15, 20), (4, 16, 3), (5, 17, 17), (17, 512, 10), (40, 1100, 10), (5, 1100, 1), (6, 1030, 1030)],
)
def test_best_items_with_ties_match_sorting(n_users, n_items, n, num_threads, with_features):
    features = make_features(n_users, n_items) if with_features else {}
    model = drawn_model(n_users, n_items, whole_numbers=True, **features)
    scores = score_all(model, **features)
    rng = np.random.RandomState(n_items)
    seen = rng.rand(n_users, n_items) < 0.3
    seen[0] = True
    everything = np.ones_like(seen)
    chosen, removed = rng.randint(0, n_items, n_items), rng.randint(0, n_items, 3)
    among = np.isin(np.arange(n_items), chosen) & ~np.isin(np.arange(n_items), removed)
    users = rng.permutation(np.append(np.arange(n_users), n_users - 1))  # in random order, one user twice
    for options, allowed in (
        ({}, everything),
        ({"interactions": seen.astype(int)}, ~seen),
        ({"interactions": sp.csr_matrix(seen, dtype=float), "filter_seen": False}, everything),
        ({"items": chosen, "exclude": removed}, everything & among),
        ({"interactions": sp.csr_matrix(seen, dtype=float), "items": chosen, "exclude": removed}, ~seen & among),
    ):
        best = model.recommend(users, n, **options, **features, num_threads=num_threads)
        ids, values = best_by_sorting(scores[users], n, allowed[users])
        assert_array_equal(best.ids, ids)
        assert_array_equal(best.scores, values)
        assert (best.ids.dtype, best.scores.dtype) == (np.int64, np.float32)


@pytest.mark.parametrize("no_components", [1, 16, 65])
def test_scores_are_those_of_predict(no_components):
    features = make_features(30, 700)
    model = drawn_model(30, 700, no_components, **features)
    ids, scores = model.recommend(np.arange(30), 25, **features)
    predicted = model.predict(np.repeat(np.arange(30), 25), ids.ravel(), **features).reshape(30, 25)
    assert_allclose(scores, predicted, rtol=1e-5, atol=1e-5)
    best = -np.sort(-score_all(model, **features), axis=1)[:, :25]
    assert_allclose(scores, best, rtol=1e-5, atol=1e-5)


def test_scores_falling_and_rising_through_the_catalogue():
    model = drawn_model(1, 5000)
    model.user_embeddings[:] = 0
    for biases in (np.arange(5000), -np.arange(5000)):
        model.item_biases = biases
        assert_array_equal(model.recommend(0, 7).ids[0], np.argsort(-biases)[:7])


def test_seen_entries_in_any_format():
    model = drawn_model(6, 30)
    seen = np.zeros((6, 25))  # the last items are newer than the interactions
    seen[2, [3, 9, 24]] = [1, -1, 0.5]
    expected = best_by_sorting(score_all(model), 30, np.pad(seen == 0, ((0, 0), (0, 5)), constant_values=True))[0]
    unsorted = sp.csr_matrix((np.array([0.5, 1, -1, 0]), [24, 3, 9, 11], [0, 0, 0, 4, 4, 4, 4]), shape=(6, 25))
    twice = sp.coo_matrix(([1, 1, -1, -1, 1], ([2] * 5, [24, 3, 3, 9, 3])), shape=(6, 25))
    for interactions in (seen, sp.coo_array(seen), sp.csc_matrix(seen), sp.csr_array(seen), unsorted, twice):
        assert_array_equal(model.recommend(np.arange(6), 30, interactions).ids, expected)
    assert_array_equal(unsorted.indices, [24, 3, 9, 11])  # the caller's matrix stays as it was


def test_one_user_none_and_no_candidates():
    model = drawn_model(4, 10)
    assert model.recommend(np.int32(2), 3).ids.shape == (1, 3)
    assert model.recommend([], 3).ids.shape == (0, 3)
    for options in ({"items": []}, {"exclude": np.arange(10)}):
        ids, scores = model.recommend([0, 1], 3, **options)
        assert (ids == -1).all()
        assert (scores == -np.inf).all()


def test_items_of_features_that_training_did_not_see():
    features = make_features(5, 12)
    model = drawn_model(5, 12, **features)
    more = sp.vstack([features["item_features"], sp.csr_matrix(np.eye(6)[:2] * 50)])
    ids, _ = model.recommend(np.arange(5), 14, user_features=features["user_features"], item_features=more)
    assert_array_equal(np.sort(ids, axis=1), np.tile(np.arange(14), (5, 1)))


@pytest.mark.parametrize("no_components", [1, 15, 16, 17, 40])
def test_a_user_scores_alike_to_the_bit_alone_and_among_many(no_components):
    model = drawn_model(150, 3000, no_components)
    seen = sp.csr_matrix(np.random.RandomState(3).rand(150, 3000) < 0.2)
    together = model.recommend(np.arange(150), 30, seen)  # enough for a thread to lay the items out for all of them
    for num_threads in (1, 2, 7):
        for users in (np.arange(150), [7], [149, 2], np.arange(11)):
            some = model.recommend(users, 30, seen, num_threads=num_threads)
            assert_array_equal(some.ids, together.ids[users])
            assert_array_equal(some.scores, together.scores[users])


@pytest.mark.parametrize("num_threads", [2, 5])
def test_ties_where_threads_share_the_items(num_threads):
    model = drawn_model(3, 4000, whole_numbers=True)
    for n in (1, 10, 900, 4100):
        ids, values = best_by_sorting(score_all(model), n, np.ones((3, 4000), dtype=bool))
        best = model.recommend(np.arange(3), n, num_threads=num_threads)
        assert_array_equal(best.ids, ids)
        assert_array_equal(best.scores, values)


def test_what_is_written_to_the_arrays_counts_at_once():
    model = drawn_model(2, 1000)
    model.recommend(0, 3)
    model.item_biases[777] = 1e3
    assert model.recommend(0, 3).ids[0, 0] == 777


def test_user_representations():
    features = make_features(5, 40)
    model = drawn_model(5, 40, **features)
    biases, embeddings = model.get_user_representations(features["user_features"])
    seen = sp.csr_matrix(np.random.RandomState(0).rand(5, 40) < 0.3)
    options = {"interactions": seen, "item_features": features["item_features"]}
    best = model.recommend([3, 1], 6, user_representations=(embeddings, biases), **options)
    expected = model.recommend([3, 1], 6, user_features=features["user_features"], **options)
    assert_array_equal(best.ids, expected.ids)
    assert_allclose(best.scores, expected.scores, rtol=1e-5, atol=1e-5)


def test_users_folded_in():
    model = drawn_model(5, 40)
    folded = model.fold_in_users(sp.csr_matrix(([1.0, 1], ([0, 1], [3, 4])), shape=(2, 40)))
    scores = folded.embeddings.astype(float) @ model.item_embeddings.T + model.item_biases + folded.biases[:, None]
    ids, values = best_by_sorting(scores, 8, np.ones((2, 40), dtype=bool))
    best = model.recommend([0, 1], 8, user_representations=folded)
    assert_array_equal(best.ids, ids)
    assert_allclose(best.scores, values, rtol=1e-5, atol=1e-5)


def test_peoples_ids():
    model = drawn_model(4, 10)
    dataset = Dataset()
    dataset.fit([("a", 1), ("a", 2), "bob", 7], [f"item {i}" for i in range(10)])
    names = np.array([*(f"item {i}" for i in range(10)), None])
    for ids, rows in (("bob", [2]), (("a", 2), [1]), ([7, ("a", 1)], [3, 0]), (7, [3]), ([], [])):
        best = model.recommend(ids, 4, dataset=dataset)
        assert best.ids.tolist() == names[model.recommend(rows, 4).ids].tolist()
    choice = {"items": ["item 3", "item 5"], "exclude": ["item 3"]}
    assert model.recommend("bob", 2, **choice, dataset=dataset).ids.tolist() == [["item 5", None]]
    assert model.recommend(np.array(["bob"]), 1, items="item 2", dataset=dataset).ids.tolist() == [["item 2"]]
    for arguments in ({"user_ids": "eve"}, {"items": ["lamp"]}, {"exclude": ["lamp"]}):
        with pytest.raises(ValueError, match="1 ids that the dataset does not know, first '(eve|lamp)'"):
            model.recommend(**{"user_ids": "bob", **arguments}, dataset=dataset)


def test_peoples_ids_in_columns_and_in_nothing_like_it():
    dataset = Dataset()
    dataset.fit(["ann", "bob"], ["dune", "emma"])
    model = drawn_model(2, 2)
    expected = model.recommend(["bob"], 2, dataset=dataset).ids.tolist()
    for ids in (pd.Series(["bob"], index=[7]), pd.Index(["bob"]), pl.Series(["bob"]), {"bob": 1}.keys(), iter(["bob"])):
        assert model.recommend(ids, 2, dataset=dataset).ids.tolist() == expected
    for ids in ({"bob"}, {"bob": 1}, pd.DataFrame({"bob": [1]})):
        with pytest.raises(
            TypeError, match="^user_ids is .*, expected (a list, an array|an id, a list of ids) or a column"
        ):
            model.recommend(ids, 2, dataset=dataset)
    with pytest.raises(ValueError, match=r"user_ids holds 1 ids that the dataset does not know, first \['bob'\]"):
        model.recommend([["bob"]], 2, dataset=dataset)


@pytest.mark.parametrize("wrong", [([[1.0], [1.0, 2.0]], [0.0, 0.0]), (None, None), ("ab", "cd"), ([], [])])
def test_representations_that_are_none(wrong):
    with pytest.raises(ValueError, match="^user_representations"):
        drawn_model(2, 2).recommend([0], 2, user_representations=wrong)


def test_peoples_ids_follow_a_dataset_that_grows():
    dataset = Dataset()
    dataset.fit(["ann"], ["dune"])
    assert drawn_model(1, 1).recommend("ann", 1, dataset=dataset).ids.tolist() == [["dune"]]
    dataset.fit_partial(items=["emma"])
    assert set(drawn_model(1, 2).recommend("ann", 2, dataset=dataset).ids[0]) == {"dune", "emma"}
    dataset.fit(["ann"], ["ulysses", "emma"])
    assert set(drawn_model(1, 2).recommend("ann", 2, dataset=dataset).ids[0]) == {"ulysses", "emma"}


def test_matrix_factorization_of_a_model_with_features():
    features = make_features(30, 700)
    model = drawn_model(30, 700, 7, **features)
    flat = model.to_matrix_factorization(**features, num_threads=2)
    users, items = np.repeat(np.arange(30), 700), np.tile(np.arange(700), 30)
    expected = score_all(model, **features).ravel()
    assert_allclose(flat.predict(users, items), expected, rtol=1e-5, atol=1e-5)
    best = model.recommend(np.arange(30), 20, **features)
    assert_array_equal(flat.recommend(np.arange(30), 20).ids, best.ids)
    assert flat.get_params() == model.get_params()
    assert flat.item_embeddings.shape == (700, 7)
    flat.item_biases[:] = 0  # a copy
    assert model.item_biases.any()
    with pytest.raises(ValueError, match="needs them here too"):
        model.to_matrix_factorization()


@pytest.mark.parametrize("learning_schedule", ["adagrad", "adadelta"])
def test_matrix_factorization_trains_on_with_steps_of_a_new_model(learning_schedule):
    settings = {"learning_schedule": learning_schedule, "initial_accumulator": 0.01, "random_state": 1}
    flat = LightFM(**settings).fit(np.eye(4), epochs=3).to_matrix_factorization()
    fresh = LightFM(**settings).fit(np.eye(4), epochs=0)
    for name in ("user_embedding_gradients", "item_embedding_gradients", "user_bias_gradients", "item_bias_gradients"):
        assert_array_equal(getattr(flat, name), getattr(fresh, name))


def test_matrix_factorization_of_one_side_keeps_the_features_of_the_other():
    features = make_features(30, 700)
    model = drawn_model(30, 700, 7, **features)
    serving = model.to_matrix_factorization(item_features=features["item_features"], sides=["item"])
    best, found = (
        each.recommend(np.arange(30), 20, user_features=features["user_features"], item_features=items)
        for each, items in ((model, features["item_features"]), (serving, None))
    )
    assert_array_equal(found.ids, best.ids)
    assert_allclose(found.scores, best.scores, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="fitted with user_features"):
        serving.recommend(3)
    with pytest.raises(ValueError, match="user_features are given but sides is"):
        model.to_matrix_factorization(**features, sides=["item"])
    for wrong in ("item", [], ["items"], None, 3):
        with pytest.raises(ValueError, match="expected a list of 'user', 'item' or both"):
            model.to_matrix_factorization(sides=wrong)


@pytest.mark.parametrize("side", ["item", "user"])
@pytest.mark.parametrize("with_features", [False, True], ids=["identity", "features"])
@pytest.mark.parametrize("num_threads", [1, 2])
def test_similar_rows_match_cosines(side, with_features, num_threads):
    features = make_features(60, 60) if with_features else {}
    model = drawn_model(60, 60, 7, **features)
    own = features.get(f"{side}_features")
    embeddings = represent(model, side, own)[0]
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    cosines = (embeddings / np.where(lengths, lengths, 1)) @ (embeddings / np.where(lengths, lengths, 1)).T
    rows = np.array([5, 59, 0, 5])
    options = {f"{side}_features": own} if with_features else {}
    ids, scores = getattr(model, f"similar_{side}s")(rows, 60, num_threads=num_threads, **options)
    assert_allclose(scores[:, :59], np.take_along_axis(cosines[rows], ids[:, :59], axis=1), atol=1e-6)
    assert (np.diff(scores[:, :59], axis=1) <= 0).all()
    assert_array_equal(np.sort(ids[:, :59], axis=1), [np.delete(np.arange(60), row) for row in rows])
    assert (ids[:, 59] == -1).all()
    assert (scores[:, 59] == -np.inf).all()


def test_similarity_ignores_lengths_and_zero_vectors_are_like_nothing():
    model = drawn_model(3, 4, 2)
    model.item_embeddings = [[1, 1], [1e-30, 1e-30], [-5, -5], [0, 0]]
    ids, scores = model.similar_items([0, 3], 3)
    assert_array_equal(ids, [[1, 3, 2], [0, 1, 2]])
    assert_allclose(scores, [[1, 0, -1], [0, 0, 0]], atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "n is 0, expected a whole number of at least 1"),
        ({"n": 2.0}, "n is 2.0, expected a whole number"),
        ({"user_ids": 4}, "5 users are asked for but the model was fitted for 4"),
        ({"user_ids": [-1]}, "user_ids ranges from -1"),
        ({"items": [0, 10]}, "items goes up to 10 but there are only 10 items"),
        ({"exclude": [[1]]}, "exclude has 2 dimensions"),
        ({"exclude": ["a"]}, "exclude holds values of type"),
        ({"interactions": np.ones((4, 11))}, "interactions has 11 items but the model has 10"),
        ({"interactions": sp.csr_matrix((2, 10)), "user_ids": 3}, "interactions has only 2 users"),
        ({"interactions": sp.csr_matrix(np.full((4, 10), np.nan))}, "interactions holds NaN"),
        ({"interactions": np.ones(10)}, "interactions has 1 dimension"),
        ({"user_representations": np.ones((2, 5))}, r"biases of shape \(n,\); got ndarray"),
        ({"user_representations": (np.ones(2), np.ones((2, 5)))}, "got shapes .2,. and .2, 5."),
        ({"user_representations": (np.ones((2, 4)), np.ones(2))}, r"embeddings of shape \(n, 5\)"),
        ({"user_representations": (np.full((2, 5), np.nan), np.ones(2))}, r"user_representations\[0\]"),
        ({"user_representations": (np.ones((2, 5)), np.ones(2)), "user_ids": 2}, "user_ids goes up to 2"),
        ({"user_representations": (np.ones((2, 5)), np.ones(2)), "user_features": np.eye(4)}, "give one of them"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        drawn_model(4, 10).recommend(**{"user_ids": 0, **arguments})


@pytest.mark.parametrize("indptr", [[0, 1, 100, 3, 4], [0, 1, 2], [0, 1, 2, 3, 4, 4]])
def test_broken_csr_is_refused(indptr):
    broken = sp.csr_matrix(np.eye(4, 10))
    broken.indptr = np.array(indptr, np.int32)
    with pytest.raises(ValueError, match="malformed"):
        drawn_model(4, 10).recommend([1, 2, 3], 3, broken)


def test_bad_input_of_similar():
    model = drawn_model(4, 10)
    for arguments in ({"item_ids": 10}, {"item_ids": -1}, {"item_ids": 0, "n": 0}):
        with pytest.raises(ValueError, match=r"10|-1|n is 0"):
            model.similar_items(**arguments)
    with pytest.raises(TypeError, match="num_threads"):
        model.similar_users(0, num_threads=1.0)


def test_unfitted():
    for method in ("recommend", "similar_items", "similar_users"):
        with pytest.raises(ValueError, match="fit the model"):
            getattr(LightFM(), method)(0)


@pytest.mark.parametrize("num_threads", [1, 2])
def test_newcomers_by_their_representations(num_threads):
    model = drawn_model(30, 40)
    seen = sp.csr_matrix(np.random.RandomState(2).rand(30, 40) < 0.2, dtype=np.float32)
    biases, embeddings = model.get_user_representations()
    newcomers = (embeddings[5:20], biases[5:20])
    rows = np.arange(14, 2, -1)
    options = {"exclude": [3], "num_threads": num_threads}
    found = model.recommend(rows, 7, seen[5:20], user_representations=newcomers, **options)
    expected = model.recommend(rows + 5, 7, seen, **options)
    assert_array_equal(found.ids, expected.ids)
    assert_allclose(found.scores, expected.scores, rtol=1e-6)


@pytest.mark.parametrize(
    ("representations", "options", "message"),
    [
        (
            (np.zeros((2, 4)), np.zeros(2)),
            {},
            r"shape \(n, 5\) and biases of shape \(n,\); got shapes \(2, 4\) and \(2,\)",
        ),
        ((np.zeros((2, 5)), np.zeros(3)), {}, "got shapes"),
        (np.zeros((2, 5)), {}, "got ndarray"),
        ((np.full((2, 5), np.nan), np.zeros(2)), {}, "NaN"),
        ((np.zeros((2, 5)), np.zeros(2)), {"user_features": np.eye(3)}, "give one of them"),
        ((np.zeros((1, 5)), np.zeros(1)), {}, "user_ids goes up to 1"),
    ],
)
def test_representations_that_do_not_fit(representations, options, message):
    with pytest.raises(ValueError, match=message):
        drawn_model(3, 4).recommend([0, 1], user_representations=representations, **options)
