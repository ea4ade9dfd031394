"""What goes into the estimator: every container and type, and every kind of bad input, refused before it does harm."""

from __future__ import annotations

import copy
import importlib
import itertools
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from lightfm_fast import LightFM
from lightfm_fast.callbacks import Callback, EarlyStopping
from lightfm_fast.cross_validation import random_train_test_split
from lightfm_fast.data import Dataset
from lightfm_fast.evaluation import auc_score, precision_at_k, recall_at_k, reciprocal_rank

from .models import STATE

N_USERS, N_ITEMS = 12, 9
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


def make_data():
    rng = np.random.RandomState(0)
    interactions = (rng.rand(N_USERS, N_ITEMS) < 0.4).astype(np.float32)
    features = {}
    for side, n_rows in (("user", N_USERS), ("item", N_ITEMS)):
        features[f"{side}_features"] = np.hstack([np.eye(n_rows), rng.randint(0, 3, (n_rows, 2))]).astype(np.float32)
    return interactions, features


def sparse_data():
    """The same as :func:`make_data`, sparse."""
    interactions, features = make_data()
    return sp.coo_matrix(interactions), {name: sp.csr_matrix(matrix) for name, matrix in features.items()}


def state_of(model):
    return [np.array(getattr(model, name)) for name in STATE]


def arrays_of(matrix):
    """Return the arrays that a sparse matrix or an array is made of."""
    if isinstance(matrix, np.ndarray):
        return [matrix]
    names = {"coo": ("row", "col", "data"), "csr": ("indptr", "indices", "data"), "csc": ("indptr", "indices", "data")}
    return [getattr(matrix, name) for name in names[matrix.format]]


def set_coordinates(matrix, row, col):
    """Set the index arrays of a COO matrix as they are, past the constructor and the setters, which convert."""
    if hasattr(matrix, "coords"):  # SciPy 1.13 and later
        matrix.coords = row, col
    else:
        matrix.row, matrix.col = row, col


# ---------------------------------------------------------------------------------------------- accepted input


def use_every_way(interactions, features):
    """Train, score and rank; return everything that comes out."""
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


# --------------------------------------------------------------------------------------------------- bad input


def with_data(matrix, value):
    matrix = matrix.copy()
    matrix.data[1] = value
    return matrix


INTERACTIONS, FEATURES = sparse_data()
USER_FEATURES, ITEM_FEATURES = FEATURES["user_features"], FEATURES["item_features"]
SHUFFLED = sp.coo_matrix((INTERACTIONS.data, (INTERACTIONS.row[::-1], INTERACTIONS.col[::-1])), INTERACTIONS.shape)

BAD_TRAINING = {
    "NaN": (ValueError, "interactions holds NaN", {"interactions": with_data(INTERACTIONS, np.nan)}),
    "infinity": (ValueError, "interactions holds NaN", {"interactions": with_data(INTERACTIONS, -np.inf)}),
    "one dimension": (ValueError, "1 dimension", {"interactions": np.ones(5)}),
    "three dimensions": (ValueError, "3 dimension", {"interactions": np.ones((2, 2, 2))}),
    "text": (ValueError, "interactions", {"interactions": [["a", "b"]]}),
    "complex": (ValueError, "complex", {"interactions": np.ones((2, 2), dtype=complex)}),
    "objects": (ValueError, "object", {"interactions": np.full((2, 2), None)}),
    "None": (ValueError, "interactions", {"interactions": None}),
    "no users": (ValueError, r"\(0, 9\)", {"interactions": sp.coo_matrix((0, N_ITEMS))}),
    "no items": (ValueError, r"\(12, 0\)", {"interactions": sp.coo_matrix((N_USERS, 0))}),
    "NaN in user features": (
        ValueError,
        "user_features holds NaN",
        {"user_features": with_data(USER_FEATURES, np.nan)},
    ),
    "infinity in item features": (
        ValueError,
        "item_features holds NaN",
        {"item_features": with_data(ITEM_FEATURES, np.inf)},
    ),
    "too large for float32": (
        ValueError,
        "item_features",
        {"item_features": with_data(ITEM_FEATURES.astype(float), 1e300)},
    ),
    "too few user rows": (ValueError, "5 rows but there are 12 users", {"user_features": USER_FEATURES[:5]}),
    "too few item rows": (ValueError, "8 rows but there are 9 items", {"item_features": ITEM_FEATURES[:8]}),
    "text as features": (ValueError, "item_features", {"item_features": "x"}),
    "no columns": (ValueError, "0 columns", {"item_features": sp.csr_matrix((N_ITEMS, 0))}),
    "csr weights": (ValueError, "COO", {"sample_weight": INTERACTIONS.tocsr()}),
    "list of weights": (ValueError, "COO", {"sample_weight": [1.0, 2.0]}),
    "weights of another shape": (ValueError, "shape", {"sample_weight": sp.coo_matrix((3, 3))}),
    "weights in another order": (ValueError, "same order", {"sample_weight": SHUFFLED}),
    "fewer weights": (ValueError, "same entries", {"sample_weight": sp.coo_matrix(INTERACTIONS.shape)}),
    "NaN weight": (ValueError, "sample_weight holds NaN", {"sample_weight": with_data(INTERACTIONS, np.nan)}),
    "no threads": (ValueError, "num_threads", {"num_threads": 0}),
    "negative threads": (ValueError, "num_threads", {"num_threads": -1}),
    "more threads than any machine starts": (ValueError, "num_threads", {"num_threads": 10**6}),
    "threads as text": (TypeError, "num_threads", {"num_threads": "2"}),
    "negative epochs": (ValueError, "epochs", {"epochs": -1}),
    "epochs as text": (TypeError, "epochs", {"epochs": "2"}),
    "half an epoch": (TypeError, "epochs", {"epochs": 0.5}),
    "a callback by itself": (TypeError, "callbacks", {"callbacks": print}),
    "a class of callback": (TypeError, "callbacks", {"callbacks": [Callback]}),
    "no callback": (TypeError, "callbacks", {"callbacks": ["early stopping"]}),
    "callbacks as a number": (TypeError, "callbacks", {"callbacks": 3}),
}
ONLY_IN_GOING_ON = {
    "narrower features": (ValueError, "user_features", {"user_features": USER_FEATURES[:, :4]}),
    "wider features beside narrower ones": (
        ValueError,
        "item_features",
        {"user_features": sp.hstack([USER_FEATURES] * 2), "item_features": ITEM_FEATURES[:, :5]},
    ),
    "no features": (ValueError, "item_features", {"item_features": None}),
    "more users": (ValueError, "user_features", {"interactions": np.ones((N_USERS + 1, N_ITEMS))}),
}


@pytest.mark.parametrize(
    ("method", "case"),
    [
        *(("fit", case) for case in BAD_TRAINING),
        *(("fit_partial", case) for case in [*BAD_TRAINING, *ONLY_IN_GOING_ON]),
    ],
)
def test_bad_input_to_training_changes_nothing(method, case):
    exception, message, bad = {**BAD_TRAINING, **ONLY_IN_GOING_ON}[case]
    arguments = {"interactions": INTERACTIONS, **FEATURES, **bad}
    given = [matrix for matrix in arguments.values() if sp.issparse(matrix)]
    copies = [[array.copy() for array in arrays_of(matrix)] for matrix in given]
    model = LightFM(random_state=np.random.RandomState(1)).fit(INTERACTIONS, epochs=2, **FEATURES)
    before, history, generator = state_of(model), list(model.history_), model.random_state.get_state()[1].copy()

    with pytest.raises(exception, match=message):
        getattr(model, method)(**arguments)

    for found, wanted in zip(state_of(model), before, strict=True):
        assert_array_equal(found, wanted)
    assert model.history_ == history
    assert_array_equal(model.random_state.get_state()[1], generator)
    for matrix, arrays in zip(given, copies, strict=True):
        for found, wanted in zip(arrays_of(matrix), arrays, strict=True):
            assert_array_equal(found, wanted)
    undisturbed = LightFM(random_state=np.random.RandomState(1)).fit(INTERACTIONS, epochs=2, **FEATURES)
    for training in (model, undisturbed):
        training.fit_partial(INTERACTIONS, **FEATURES)
    assert_array_equal(model.item_embeddings, undisturbed.item_embeddings)

    fresh = LightFM()
    if case not in ONLY_IN_GOING_ON:
        with pytest.raises(exception, match=message):
            getattr(fresh, method)(**arguments)
        assert fresh.item_embeddings is None


def test_weights_with_k_os():
    model = LightFM(loss="warp-kos")
    with pytest.raises(NotImplementedError, match="warp-kos"):
        model.fit(INTERACTIONS, sample_weight=INTERACTIONS)
    assert model.item_embeddings is None


BAD_SCORING = {
    "negative user": (ValueError, "user_ids", ((-1, [0]), {})),
    "negative item": (ValueError, "item_ids", ((0, [0, -1]), {})),
    "unknown user": (ValueError, "user", (([N_USERS], [0]), {})),
    "unknown item": (ValueError, "item", ((0, [N_ITEMS]), {})),
    "an id beyond memory": (ValueError, "user", ((2**40, [0]), {})),
    "an id beyond int64": (ValueError, "user", ((2**63, [0]), {})),
    "different lengths": (ValueError, "user_ids has 2 ids and item_ids has 3", (([0, 1], [0, 1, 2]), {})),
    "one user id in a list": (ValueError, "user_ids has 1", (([0], [0, 1, 2]), {})),
    "two dimensions": (ValueError, "dimensions", (([[0]], [[1]]), {})),
    "text": (ValueError, "user_ids", (("a", [0]), {})),
    "fractions": (ValueError, "item_ids", ((0, [0.5]), {})),
    "NaN": (ValueError, "item_ids", ((0, [np.nan]), {})),
    "no threads": (ValueError, "num_threads", ((0, [0]), {"num_threads": 0})),
    "features too wide": (ValueError, "item_features", ((0, [0]), {"item_features": sp.hstack([ITEM_FEATURES] * 2)})),
    "features too narrow": (ValueError, "item_features", ((0, [0]), {"item_features": ITEM_FEATURES[:, :5]})),
    "features without the row": (ValueError, "item_features", ((0, [7]), {"item_features": ITEM_FEATURES[:5]})),
    "features forgotten": (ValueError, "item_features", ((0, [0]), {"item_features": None})),
    "NaN in features": (ValueError, "holds NaN", ((0, [0]), {"item_features": with_data(ITEM_FEATURES, np.nan)})),
}


@pytest.mark.parametrize("case", BAD_SCORING)
@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_bad_input_to_scoring(case, method):
    exception, message, (positional, keywords) = BAD_SCORING[case]
    model = LightFM(random_state=1).fit(INTERACTIONS, **FEATURES)
    before = state_of(model)
    with pytest.raises(exception, match=message):
        getattr(model, method)(*positional, **{**FEATURES, **keywords})
    for found, wanted in zip(state_of(model), before, strict=True):
        assert_array_equal(found, wanted)


@pytest.mark.parametrize("ids", [(N_USERS, [0]), (0, [N_ITEMS]), (2**40, [0])])
def test_unknown_rows_without_features(ids):
    model = LightFM().fit(INTERACTIONS)
    with pytest.raises(ValueError, match=r"are asked for but the model was fitted for (12|9)\b"):
        model.predict(*ids)
    larger = sp.coo_matrix((N_USERS + 1, N_ITEMS + 1))
    with pytest.raises(ValueError, match="13 users are asked for"):
        model.predict_rank(larger)
    assert len(model.fit_partial(larger).predict_rank(larger).data) == 0  # training grows the model


BAD_RANKING = {
    "train of another shape": ("train_interactions has shape", {"train_interactions": INTERACTIONS.tocsr()[:5]}),
    "NaN": ("test_interactions holds NaN", {"test_interactions": with_data(INTERACTIONS, np.nan)}),
    "one dimension": ("1 dimension", {"test_interactions": np.ones(N_ITEMS)}),
    "common entries": ("share", {"train_interactions": INTERACTIONS}),
    "no threads": ("num_threads", {"num_threads": 0}),
    "features too wide": ("item_features", {"item_features": sp.hstack([ITEM_FEATURES] * 2)}),
    "features too narrow": ("user_features", {"user_features": USER_FEATURES[:, :5]}),
    "too few rows": ("item_features", {"item_features": ITEM_FEATURES[:5]}),
    "more items than features": ("item_features", {"test_interactions": np.ones((N_USERS, N_ITEMS + 1))}),
}


@pytest.mark.parametrize("case", BAD_RANKING)
def test_bad_input_to_ranking(case):
    message, bad = BAD_RANKING[case]
    model = LightFM(random_state=1).fit(INTERACTIONS, **FEATURES)
    with pytest.raises(ValueError, match=message):
        model.predict_rank(**{"test_interactions": INTERACTIONS, **FEATURES, **bad})


def test_bad_input_to_representations():
    model = LightFM(random_state=1).fit(INTERACTIONS, **FEATURES)
    for get in (model.get_item_representations, model.get_user_representations):
        for bad in (sp.identity(40), np.ones(3), "x", np.full((2, 11), np.nan)):
            with pytest.raises(ValueError, match="_features"):
                get(bad)


@pytest.mark.parametrize(
    "use",
    [
        lambda model: model.predict(0, [0]),
        lambda model: model.predict([], []),
        lambda model: model.predict_proba(0, [0]),
        lambda model: model.predict_rank(INTERACTIONS),
        lambda model: model.get_item_representations(),
        lambda model: model.get_user_representations(USER_FEATURES),
        lambda model: precision_at_k(model, INTERACTIONS),
    ],
)
def test_use_before_fitting(use):
    with pytest.raises(ValueError, match="fit the model"):
        use(LightFM())


def test_ranks_among_fewer_items_than_fitted_are_refused():
    model = LightFM(random_state=0).fit(np.ones((9, 8)))
    with pytest.raises(ValueError, match="has 5 items but the model was fitted with 8"):
        model.predict_rank(sp.csr_matrix((5, 5)))
    assert model.predict_rank(sp.csr_matrix((5, 8))).shape == (5, 8)
    assert model.predict_rank(sp.csr_matrix((9, 3)), item_features=np.eye(3, 8)).shape == (9, 3)


BAD_PARAMETERS = [
    *[("no_components", value) for value in (0, -1, 1.5, "x", None, True)],
    *[(name, value) for name in ("k", "n") for value in (0, -1, "x")],
    *[("max_sampled", value) for value in (-1, 1.0, "x", 2**20 + 1)],
    *[(name, value) for name in ("item_alpha", "user_alpha") for value in (-1, np.nan, "x")],
    *[(name, value) for name in ("epsilon", "learning_rate") for value in (-1, np.inf, None)],
    *[("rho", value) for value in (0, 1, -0.5, np.nan)],
    *[(name, value) for name in ("loss", "learning_schedule", "interactions") for value in ("x", None, [])],
    *[("identity_dropout", value) for value in (-0.1, 1, np.nan, "x", None, True)],
]


@pytest.mark.parametrize(("name", "value"), BAD_PARAMETERS)
def test_bad_constructor_arguments(name, value):
    """LightFM asserts them, but raises ValueError for max_sampled: both kinds of handlers catch this."""
    for kind in (ValueError, AssertionError):
        with pytest.raises(kind, match=name):
            LightFM(**{name: value})
    model = LightFM(random_state=1).fit(INTERACTIONS)
    parameters = model.get_params()
    with pytest.raises(ValueError, match=name):
        model.set_params(**{"k": 3, name: value})
    assert model.get_params() == parameters
    before = state_of(model)
    setattr(model, name, value)
    for train in (model.fit, model.fit_partial):
        with pytest.raises(ValueError, match=name):
            train(INTERACTIONS)
    for found, wanted in zip(state_of(model), before, strict=True):
        assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("seed", "exception"), [("x", TypeError), (1.5, TypeError), (-1, ValueError), (2**32, ValueError)]
)
def test_bad_seeds(seed, exception):
    with pytest.raises(exception, match="random_state is"):
        LightFM(random_state=seed)
    model = LightFM(random_state=3)
    with pytest.raises(exception):
        model.set_params(random_state=seed)
    assert model.get_params()["random_state"] == 3


def test_unknown_parameters():
    with pytest.raises(TypeError, match="no_factors"):
        LightFM(no_factors=3)
    model = LightFM()
    with pytest.raises(ValueError, match="no_factors"):
        model.set_params(k=3, no_factors=3)
    assert model.k == 5


@pytest.mark.parametrize("value", [np.ones(3), np.ones((2, 2, 2)), np.array([["a"]]), "x", np.ones((0, 10))])
def test_bad_state_arrays(value):
    model = LightFM(random_state=1).fit(INTERACTIONS)
    before = model.item_embeddings.copy()
    with pytest.raises(ValueError, match="item_embeddings"):
        model.item_embeddings = value
    assert_array_equal(model.item_embeddings, before)


# ------------------------------------------------------- matrices put together by hand: an error, never a crash

VALUE_TYPES = [np.float32, np.float64, np.float16, np.int64, np.int8, np.uint16, np.bool_, np.complex64, object]
INDEX_TYPES = [np.int32, np.int64, np.int32, np.int64, np.int16, np.uint32, np.uint64, np.float64]


@st.composite
def numbers_below(draw, n, size, is_sound):
    """Row or column numbers, repeated and in any order; unless sound, also outside and far outside the matrix."""
    numbers = st.integers(0, n - 1)
    if not is_sound:
        numbers = st.one_of(numbers, st.integers(-3, n + 5), st.sampled_from([2**31 - 1, 2**31, 2**40, -(2**40)]))
    dtype = draw(st.sampled_from([np.int32, np.int64] if is_sound else INDEX_TYPES))
    drawn = draw(st.lists(numbers, min_size=size, max_size=size))
    with np.errstate(invalid="ignore"):
        return np.array(drawn, dtype=np.int64).astype(dtype)


@st.composite
def values(draw, size, is_sound):
    """Zeros too; unless sound, also what is not finite, and too few or too many."""
    finite = st.one_of(st.floats(-2, 2, width=16), st.sampled_from([0.0, -0.0, 1.0]))
    if is_sound:
        drawn = draw(st.lists(finite, min_size=size, max_size=size))
        return np.array(drawn, dtype=draw(st.sampled_from([np.float32, np.float64, np.int64, np.int8, np.bool_])))
    drawn = draw(
        st.lists(
            st.one_of(finite, st.sampled_from([np.nan, np.inf, 1e30])), min_size=max(0, size - 1), max_size=size + 1
        )
    )
    with np.errstate(invalid="ignore", over="ignore"):
        return np.array(drawn, dtype=np.float64).astype(draw(st.sampled_from(VALUE_TYPES)))


@st.composite
def handmade_compressed(draw, shape):
    """CSR and CSC with arrays of any kind, set past the constructors, which would judge them."""
    is_sound = draw(st.booleans())
    matrix_type = draw(st.sampled_from([sp.csr_matrix, sp.csc_matrix, sp.csr_array, sp.csc_array]))
    matrix = matrix_type(shape, dtype=np.float32)
    n_entries = draw(st.integers(0, 12))
    n_lines = len(matrix.indptr) - 1
    n_across = shape[0] if matrix.format == "csc" else shape[1]
    # repeated bounds are empty lines
    bounds = st.lists(st.integers(0, n_entries), min_size=n_lines - 1, max_size=n_lines - 1)
    indptr = np.array([0, *sorted(draw(bounds)), n_entries])
    if not is_sound and draw(st.booleans()):
        indptr = draw(numbers_below(n_entries + 1, draw(st.integers(0, n_lines + 4)), False))
    matrix.indptr = indptr.astype(draw(st.sampled_from([np.int32, np.int64])) if is_sound else indptr.dtype)
    matrix.indices = draw(numbers_below(n_across, n_entries, is_sound))
    matrix.data = draw(values(n_entries, is_sound))
    if draw(st.booleans()):  # SciPy believes what it was told, though repeats and order are as drawn
        matrix.has_sorted_indices = matrix.has_canonical_format = True
    return matrix


@st.composite
def handmade_coordinates(draw, shape):
    """COO with arrays of any kind, likewise."""
    is_sound = draw(st.booleans())
    matrix = sp.coo_matrix(shape, dtype=np.float32)
    n_entries = draw(st.integers(0, 12))
    longer = st.integers(0, 0 if is_sound else 1)
    set_coordinates(matrix, *(draw(numbers_below(n, n_entries + draw(longer), is_sound)) for n in shape))
    matrix.data = draw(values(n_entries, is_sound))
    matrix.has_canonical_format = draw(st.booleans())
    return matrix


def handmade(shape):
    return st.one_of(handmade_compressed(shape), handmade_coordinates(shape))


def finite_or_refused(use):
    """What ``use`` returns, or None if it raises as the documentation says; anything else fails the test."""
    try:
        return use()
    except (ValueError, TypeError):
        return None


@pytest.mark.parametrize("make", [sp.csr_matrix, sp.csc_array])
@pytest.mark.parametrize(
    ("dtype", "bounds"),
    [
        (np.int32, [2**31 - 1, 0]),  # far outside, though the last bound says that there are no entries
        (np.uint32, [3, 1]),  # the difference is a large number, not a negative one
        (np.int16, [30_000, -30_000]),  # likewise, by overflow
        (np.uint64, [2**63 + 1, 3]),
        (np.float32, [1, 2]),
    ],
)
def test_bounds_that_do_not_ascend_are_refused(make, dtype, bounds):
    matrix = make((N_USERS, N_ITEMS), dtype=np.float32)
    last = 0 if bounds[-1] == 0 else 3
    rest = [last] * (len(matrix.indptr) - 3)
    matrix.indptr = np.array([0, *bounds, *rest]).astype(dtype)
    matrix.indices, matrix.data = np.zeros(3, dtype=np.int32), np.ones(3, dtype=np.float32)
    model = LightFM(random_state=1).fit(INTERACTIONS)
    for use in (model.fit, model.predict_rank):
        with pytest.raises(ValueError, match="not put together as a matrix must be"):
            use(matrix)


@settings(max_examples=150, deadline=None)
@given(interactions=handmade((N_USERS, N_ITEMS)), loss=st.sampled_from(["logistic", "bpr", "warp", "warp-kos"]))
def test_handmade_interactions(interactions, loss):
    model = LightFM(no_components=2, loss=loss, random_state=1)
    if finite_or_refused(lambda: model.fit(interactions, epochs=2)) is None:
        assert model.history_ == []
    else:
        assert all(np.isfinite(array).all() for array in state_of(model))
    fitted = LightFM(no_components=2, random_state=1).fit(INTERACTIONS)
    ranks = finite_or_refused(lambda: fitted.predict_rank(interactions))
    assert ranks is None or ((ranks.data >= 0) & (ranks.data < N_ITEMS)).all()
    finite_or_refused(lambda: fitted.predict_rank(INTERACTIONS, interactions, check_intersections=False))
    finite_or_refused(lambda: fitted.predict_rank(interactions, INTERACTIONS))
    finite_or_refused(lambda: fitted.fit_partial(INTERACTIONS, sample_weight=interactions))
    assert all(np.isfinite(array).all() for array in state_of(fitted))


@settings(max_examples=150, deadline=None)
@given(
    item_features=handmade((N_ITEMS, N_ITEMS)),
    user_features=handmade((N_USERS, 7)),
    loss=st.sampled_from(["logistic", "bpr", "warp", "warp-kos"]),
    schedule=st.sampled_from(["adagrad", "adadelta"]),
)
def test_handmade_features(item_features, user_features, loss, schedule):
    model = LightFM(no_components=2, loss=loss, learning_schedule=schedule, random_state=1)
    given = {"item_features": item_features, "user_features": user_features}
    if finite_or_refused(lambda: model.fit(INTERACTIONS, epochs=2, **given)) is not None:
        assert all(np.isfinite(array).all() for array in state_of(model))
        assert model.predict(np.arange(N_ITEMS), np.arange(N_ITEMS), **given).shape == (N_ITEMS,)
        assert model.predict_rank(INTERACTIONS, **given).nnz == INTERACTIONS.nnz
        model.get_item_representations(item_features)
    fitted = LightFM(no_components=2, random_state=1).fit(INTERACTIONS)
    finite_or_refused(lambda: fitted.predict(0, [0, 1, 2], item_features=item_features))
    finite_or_refused(lambda: fitted.get_item_representations(item_features))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_ids(data):
    model = LightFM(no_components=2, random_state=1).fit(INTERACTIONS)
    ids = st.one_of(
        st.integers(-(2**70), 2**70),
        st.lists(st.integers(-3, 14), max_size=5),
        st.lists(st.one_of(st.floats(), st.integers(), st.none(), st.text(), st.booleans()), max_size=4),
    )
    users, items = data.draw(ids), data.draw(ids)
    scores = finite_or_refused(lambda: model.predict(users, items))
    assert scores is None or (scores.dtype == np.float32 and np.isfinite(scores).all())


# ------------------------------------------------------------------------------------------------ ranges of numbers

LARGEST = float(np.finfo(np.float32).max)
ENDS = {
    "no_components": (1, None),
    "k": (1, 2**16),
    "n": (1, 2**16),
    "max_sampled": (0, 2**20),
    "n_negatives": (1, 2**16),
    "popularity_exponent": (0, 4),
    "temperature": (1e-3, 1e3),
    "initial_accumulator": (1e-12, 1e12),
    "learning_rate": (0, LARGEST),
    "rho": (1e-300, 1 - 1e-16),
    "epsilon": (0, LARGEST),
    "item_alpha": (0, LARGEST),
    "user_alpha": (0, LARGEST),
    "identity_dropout": (0, 1 - 1e-16),
    "init_scale": (0, 100),
}
FEW = sp.coo_matrix(np.eye(3, 4, dtype=np.float32))


@pytest.mark.parametrize("name", ENDS)
def test_both_ends_of_a_range(name):
    """Training at an end learns or says that it diverges; beyond, the constructor refuses."""
    for end, beyond in zip(ENDS[name], (-1, 10**400), strict=True):
        with pytest.raises(ValueError, match=f"{name} is .*expected"):
            LightFM(**{name: beyond})
        for value in () if end is None else (end, Fraction(end), np.array(end)[()]):
            for loss, schedule in itertools.product(("warp-kos", "softmax", "bpr"), ("adagrad", "adadelta")):
                parameters = {"no_components": 2, "learning_schedule": schedule, "negatives": "hardest", name: value}
                if isinstance(value, Fraction) and isinstance(end, int) and name not in REAL:
                    continue  # a whole number is meant
                model = LightFM(loss=loss, random_state=1, **parameters)
                features = {"item_features": sp.hstack([sp.identity(4), np.ones((4, 1))])}
                finite_or_refused(lambda m=model, f=features: m.fit(FEW, epochs=2, **f))
                for array in state_of(model):
                    assert array.dtype == object or np.isfinite(array).all()
                if model.item_embeddings is not None:
                    assert np.isfinite(model.predict(0, [0, 1], **features)).all()


REAL = set(ENDS) - {"no_components", "k", "n", "max_sampled", "n_negatives"}
NUMBERS = [
    10**400,
    -(10**400),
    Fraction(10**400, 3),
    Decimal(1),
    True,
    np.bool_(True),
    np.nan,
    np.float64("inf"),
    "1",
    1j,
]


@pytest.mark.parametrize("value", NUMBERS, ids=lambda value: type(value).__name__ + repr(value)[:8])
def test_numbers_of_any_kind_are_judged(value):
    for name in ENDS:
        with pytest.raises(ValueError, match=name):
            LightFM(**{name: value})
    model = LightFM(random_state=1).fit(INTERACTIONS)
    for use in (
        lambda: model.fit(INTERACTIONS, epochs=value),
        lambda: model.fit(INTERACTIONS, num_threads=value),
        lambda: model.recommend([0], n=value),
        lambda: model.similar_items([0], n=value),
        lambda: model.predict_rank(INTERACTIONS, num_threads=value),
        lambda: precision_at_k(model, INTERACTIONS, k=value),
        lambda: EarlyStopping(auc_score, INTERACTIONS, patience=value),
    ):
        with pytest.raises((ValueError, TypeError), match="expected"):
            use()
    assert len(model.history_) == 1


def test_one_line_shows_a_number_of_any_length():
    for value in (10**400, 10**5000, "x" * 1000):
        with pytest.raises(ValueError, match="learning_rate") as caught:
            LightFM(learning_rate=value)
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize("n", [2**16, 10**9])
def test_lists_are_not_longer_than_memory_bears(n):
    model = LightFM(random_state=1).fit(INTERACTIONS)
    for use in (model.recommend, model.similar_items):
        if n == 2**16:
            assert use([0], n=n).ids.shape == (1, n)
        else:
            with pytest.raises(ValueError, match="n is 1000000000, expected at most 65,536"):
                use([0], n=n)


def test_the_largest_initial_embeddings_have_finite_scores():
    model = LightFM(no_components=2**14, init_scale=100, random_state=1).fit(FEW, epochs=0)
    assert np.isfinite(model.item_embeddings).all()
    assert np.abs(model.predict([0, 1, 2], [0, 1, 2])).max() < 1e12


# ---------------------------------------------------------------------------- what is no matrix, and who is to blame


def make_dataset():
    dataset = Dataset()
    dataset.fit([1, 2], [3, 4])
    dataset.build_interactions([(1, 3), (2, 4)])
    return dataset


class Tensor:
    """Looks like a sparse tensor of torch, which is not among the tests' libraries."""

    def __array__(self, *_, **__):
        raise TypeError("can't convert Sparse layout tensor to numpy")


Tensor.__module__ = "torch"


def frames():
    table = {"user": [1, 2, 3], "item": [4, 5, 6], "rating": [5.0, 4.0, 3.0]}
    for module, name in (("pandas", "DataFrame"), ("polars", "DataFrame"), ("pyarrow", "table")):
        try:
            yield getattr(importlib.import_module(module), name)(table)
        except ImportError:
            continue


NO_MATRICES = [
    ([(0, 1), (2, 3)], r"list of pairs.*coo_matrix\(\(numpy\.ones\(n\), \(users, items\)\)\).*Dataset"),
    (((0, 1, 5.0), [2, 3, 1.0]), r"list of triples.*coo_matrix"),
    (make_dataset(), r"is a Dataset.*dataset\.interactions"),
    (Tensor(), "torch tensor"),
    ({1, 2}, "set"),
    ({"a": 1}, "dict"),
    ([[1, 2, 3, 4], [1]], "expected a matrix of numbers"),
    *((frame, r"table.*Dataset\.from_tables") for frame in frames()),
]


@pytest.mark.parametrize(("given", "message"), NO_MATRICES, ids=lambda value: type(value).__name__)
def test_what_is_no_matrix_is_refused_with_advice(given, message):
    model = LightFM(random_state=1).fit(INTERACTIONS)
    for name, use in (
        ("interactions", model.fit),
        ("interactions", model.fit_partial),
        ("interactions", model.fold_in_users),
        ("interactions", lambda m: model.recommend([0], interactions=m)),
        ("test_interactions", model.predict_rank),
        ("train_interactions", lambda m: model.predict_rank(INTERACTIONS, m)),
        ("test_interactions", lambda m: auc_score(model, m)),
        ("interactions", random_train_test_split),
    ):
        with pytest.raises(ValueError, match=f"^{name} .*{message}"):
            use(given)
    with pytest.raises(ValueError, match="known_interactions"):
        LightFM(loss="warp").fit(INTERACTIONS).fold_in_items(np.ones((N_USERS, 2)), given)


def test_masked_entries_are_not_there():
    dense = np.ma.masked_array(np.ones((N_USERS, N_ITEMS)), mask=INTERACTIONS.toarray() == 0)
    dense.data[dense.mask] = 7
    found, expected = (LightFM(random_state=1).fit(matrix) for matrix in (dense, INTERACTIONS))
    for one, other in zip(state_of(found), state_of(expected), strict=True):
        assert_array_equal(one, other)


OUTSIDE = {
    "predict users": (r"^user_ids goes up to 12\b", lambda m, f: m.predict([N_USERS], [0], **f)),
    "predict items": (r"^item_ids goes up to 9\b", lambda m, f: m.predict([0], [N_ITEMS], **f)),
    "predict_rank users": (
        r"^test_interactions has 13 users",
        lambda m, f: m.predict_rank(sp.coo_matrix((N_USERS + 1, N_ITEMS)), **f),
    ),
    "predict_rank items": (
        r"^test_interactions has 10 items",
        lambda m, f: m.predict_rank(sp.coo_matrix((N_USERS, N_ITEMS + 1)), **f),
    ),
    "recommend": (r"^user_ids goes up to 12\b", lambda m, f: m.recommend([N_USERS], **f)),
    "items": (r"^items goes up to 9\b", lambda m, f: m.recommend([0], items=[N_ITEMS], **f)),
    "exclude": (r"^exclude goes up to 9\b", lambda m, f: m.recommend([0], exclude=[N_ITEMS], **f)),
    "seen": (r"^user_ids goes up to 11 but interactions", lambda m, f: m.recommend([11], interactions=FEW, **f)),
    "similar_items": (r"^item_ids goes up to 9\b", lambda m, f: m.similar_items([N_ITEMS], **of_side("item", f))),
    "similar among": (r"^items goes up to 9\b", lambda m, f: m.similar_items(0, items=[9], **of_side("item", f))),
    "similar_users": (r"^user_ids goes up to 12\b", lambda m, f: m.similar_users([N_USERS], **of_side("user", f))),
    "explain user": (r"^user_id is 12\b", lambda m, f: m.explain(N_USERS, 0, **f)),
    "explain item": (r"^item_id is 9\b", lambda m, f: m.explain(0, N_ITEMS, **f)),
    "fold_in_users": (
        r"^interactions has 10 items",
        lambda m, f: m.fold_in_users(np.ones((2, N_ITEMS + 1)), **of_side("item", f)),
    ),
    "fold_in_items": (
        r"^interactions has 13 users",
        lambda m, f: m.fold_in_items(np.ones((N_USERS + 1, 2)), INTERACTIONS, **of_side("user", f)),
    ),
}


def of_side(side, features):
    return {name: matrix for name, matrix in features.items() if name.startswith(side)}


@pytest.mark.parametrize("case", OUTSIDE)
@pytest.mark.parametrize("with_features", [False, True])
def test_a_message_names_the_argument_that_is_wrong(case, with_features):
    features = FEATURES if with_features else {}
    model = LightFM(random_state=1).fit(INTERACTIONS, **features)
    message, use = OUTSIDE[case]
    with pytest.raises(ValueError, match=message):
        use(model, features)


def test_a_model_shows_the_parameters_that_differ_from_their_defaults():
    assert repr(LightFM()) == "LightFM()"
    assert repr(LightFM(loss="warp", no_components=10, k=7)) == "LightFM(k=7, loss='warp')"
    assert repr(LightFM(random_state=3)) == "LightFM(random_state=3)"
    assert repr(LightFM(n_negatives=4).set_params(loss="softmax")) == "LightFM(loss='softmax', n_negatives=4)"


@pytest.mark.parametrize("with_features", [False, True])
def test_similar_items_among_some(with_features):
    features = of_side("item", FEATURES) if with_features else {}
    model = LightFM(loss="warp", random_state=1).fit(INTERACTIONS, epochs=3, **features)
    every = model.similar_items([2, 5], n=N_ITEMS, **features)
    for options, allowed in (
        ({"items": [1, 2, 7]}, {1, 2, 7}),
        ({"exclude": [0, 3]}, set(range(N_ITEMS)) - {0, 3}),
        ({"items": [1, 2, 7], "exclude": [7]}, {1, 2}),
    ):
        found = model.similar_items([2, 5], n=4, **options, **features)
        for item, ids, scores, ids_of_all, scores_of_all in zip([2, 5], *found, *every, strict=True):
            kept = [i for i in range(N_ITEMS) if ids_of_all[i] in allowed - {item}][:4]
            assert ids[: len(kept)].tolist() == ids_of_all[kept].tolist()
            assert_allclose(scores[: len(kept)], scores_of_all[kept], rtol=1e-5, atol=1e-6)
            assert (ids[len(kept) :] == -1).all()
