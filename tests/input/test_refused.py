"""Bad input raises an error that names the argument, and changes nothing."""

from __future__ import annotations

import importlib
import io

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal

from lightfm_fast import LightFM, _arguments, load
from lightfm_fast._hyperparameters import ParameterError
from lightfm_fast.baselines import Popularity
from lightfm_fast.callbacks import Callback, Checkpoint, EarlyStopping
from lightfm_fast.cross_validation import (
    Entries,
    leave_last_out_train_test_split,
    random_train_test_split,
    time_train_test_split,
)
from lightfm_fast.data import Dataset
from lightfm_fast.evaluation import auc_score, evaluate, precision_at_k
from lightfm_fast.features import MultiCategorical
from lightfm_fast.sharded import ShardedDataset
from lightfm_fast.tuning import tune
from lightfm_fast.vectors import export_vectors

from .data import (
    FEATURES,
    FEW,
    INTERACTIONS,
    ITEM_FEATURES,
    N_ITEMS,
    N_USERS,
    USER_FEATURES,
    arrays_of,
    of_side,
    state_of,
)


def with_data(matrix, value):
    matrix = matrix.copy()
    matrix.data[1] = value
    return matrix


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
    "weights that single precision rounds to 0": (
        ValueError,
        "weights of at most 1e-60, too small for single precision: multiply all",
        {"sample_weight": INTERACTIONS.astype(float) * 1e-60},
    ),
    "weight below 0": (
        ValueError,
        "sample_weight holds 1 weight below 0, -0.5 in entry 1 first",
        {"sample_weight": with_data(INTERACTIONS.astype(float), -0.5)},
    ),
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


@pytest.mark.parametrize("call", [Entries, tune])
def test_weights_below_0_are_refused_wherever_weights_are_taken(call):
    weights = with_data(INTERACTIONS.astype(float), -0.5)
    with pytest.raises(ValueError, match="sample_weight holds 1 weight below 0"):
        call(INTERACTIONS, sample_weight=weights)


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
    *[("average", value) for value in (2, 0.5, "x", None)],
    *[("user_shrinkage", value) for value in (-1, 1_000_001, "x", None, np.nan, True)],
    *[("linear_components", value) for value in (-1, 0.5, 4097, "x", None, np.nan, True)],
]


@pytest.mark.parametrize(("name", "value"), BAD_PARAMETERS)
def test_bad_constructor_arguments(name, value):
    """LightFM asserts arguments, but raises ValueError for max_sampled: handlers of both catch our error."""
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


@pytest.mark.parametrize("value", [np.array([3, 4]), [3], np.array(["warp", "bpr"])], ids=str)
def test_parameters_that_are_several_values(value):
    model = LightFM()
    for name in ("no_components", "learning_schedule", "loss", "k"):
        with pytest.raises(ParameterError, match=f"^{name} is "):
            model.set_params(**{name: value})


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


@pytest.mark.parametrize("wrong", [np.full(N_ITEMS, np.nan), np.ones((2, 2)), "x", [[1.0], [1.0, 2.0]]])
def test_a_state_with_a_bad_array_changes_nothing(wrong):
    model, other = (LightFM(random_state=seed).fit(INTERACTIONS, epochs=2) for seed in (1, 2))
    before = state_of(model)
    for name in ("item_biases", "user_biases"):
        with pytest.raises(ValueError, match=name):
            model.set_state({**other.get_state(), name: wrong})
        for found, wanted in zip(state_of(model), before, strict=True):
            assert_array_equal(found, wanted)
    for state in (None, INTERACTIONS, [], "item_biases"):
        with pytest.raises(TypeError, match="^state is .*get_state"):
            model.set_state(state)
    model.set_state(other.get_state())
    assert_array_equal(model.item_embeddings, other.item_embeddings)


ASKING_BY_ROWS = {
    "predict": lambda m, ids: m.predict(0, ids),
    "recommend": lambda m, ids: m.recommend(ids, 2),
    "similar_items": lambda m, ids: m.similar_items(ids, 2),
    "explain": lambda m, ids: m.explain(0, ids),
}
NO_ROWS = [
    (None, "is None, expected row numbers"),
    ({1, 2}, r"is \{1, 2\}, expected row numbers"),
    ("anna", "is 'anna', expected row numbers.*Dataset"),
    (["anna"], r"'anna'\)? first, expected row numbers.*Dataset"),
    (np.array([True, False]), "flatnonzero"),
    ([0, np.nan], "1 missing value"),
    (np.ma.masked_array([0, 1, 2], [0, 1, 1]), "2 masked values"),
]


@pytest.mark.parametrize("name", ASKING_BY_ROWS)
@pytest.mark.parametrize(("ids", "message"), NO_ROWS, ids=[str(message) for _, message in NO_ROWS])
def test_ids_that_are_no_rows_are_refused_with_advice(name, ids, message):
    model = LightFM(random_state=1).fit(INTERACTIONS, epochs=0)
    with pytest.raises(ValueError, match=message):
        ASKING_BY_ROWS[name](model, ids)


@pytest.mark.filterwarnings("error")
def test_row_numbers_in_half_precision():
    model = LightFM(random_state=1).fit(INTERACTIONS)
    assert_array_equal(model.predict(0, np.array([1, 3], np.float16)), model.predict(0, [1, 3]))


@pytest.mark.parametrize("values", [[[1.0], [1.0, 2.0]], np.ma.masked_array(np.ones(N_ITEMS), np.arange(N_ITEMS) == 3)])
def test_state_arrays_with_gaps_are_refused(values):
    model = LightFM(random_state=1).fit(INTERACTIONS)
    with pytest.raises(ValueError, match="^item_biases (holds lists|has 1 masked value)"):
        model.item_biases = values


FLAGS = {
    "filter_seen": [
        lambda m, value: m.recommend([0], 2, INTERACTIONS, filter_seen=value),
        lambda m, value: m.recommend_in_blocks([0], 2, INTERACTIONS, filter_seen=value),
        lambda m, value: m.index().recommend([0], 2, INTERACTIONS, filter_seen=value),
        lambda m, value: Popularity().fit(INTERACTIONS).recommend([0], 2, filter_seen=value),
    ],
    "check_intersections": [
        lambda m, value: m.predict_rank(INTERACTIONS, check_intersections=value),
        lambda m, value: evaluate(m, INTERACTIONS, check_intersections=value),
    ],
    "preserve_rows": [
        lambda m, value: auc_score(m, INTERACTIONS, preserve_rows=value),
        lambda m, value: precision_at_k(m, INTERACTIONS, preserve_rows=value),
    ],
    "per_user": [
        lambda m, value: evaluate(m, INTERACTIONS, per_user=value),
        lambda m, value: time_train_test_split(INTERACTIONS, TIMES, per_user=value),
    ],
    "return_timestamps": [
        lambda m, value: time_train_test_split(INTERACTIONS, TIMES, return_timestamps=value),
        lambda m, value: leave_last_out_train_test_split(INTERACTIONS, TIMES, return_timestamps=value),
    ],
    "average": [lambda m, value: LightFM(average=value).fit(INTERACTIONS)],
    "greater_is_better": [lambda m, value: EarlyStopping(auc_score, INTERACTIONS, greater_is_better=value)],
    "restore_best": [lambda m, value: EarlyStopping(auc_score, INTERACTIONS, restore_best=value)],
    "verbose": [
        lambda m, value: LightFM().fit(INTERACTIONS, verbose=value),
        lambda m, value: LightFM().fit_partial(INTERACTIONS, verbose=value),
    ],
    "user_identity_features": [lambda m, value: Dataset(user_identity_features=value)],
    "item_identity_features": [lambda m, value: Dataset(item_identity_features=value)],
    "normalize": [
        lambda m, value: make_dataset().build_item_features([], normalize=value),
        lambda m, value: Dataset.from_tables(*TABLES, item_features=["kind"], normalize=value),
        lambda m, value: Dataset.from_tables(*TABLES, item_features=["kind"]).build_item_features_from_table(
            TABLES[2], normalize=value
        ),
    ],
    "json": [lambda m, value: MultiCategorical(json=value).fit([["a"]])],
}
TIMES = np.arange(INTERACTIONS.nnz)
TABLES = ({"user_id": [1, 2], "item_id": [3, 4]}, None, {"item_id": [3, 4], "kind": ["a", "b"]})


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize(
    "value", ["no", "False", INTERACTIONS, -1, 0.0, np.nan], ids=["no", "False", "a matrix", "-1", "0.0", "NaN"]
)
def test_flags_that_are_neither_true_nor_false(name, value):
    model = LightFM(random_state=1).fit(INTERACTIONS)
    for use in FLAGS[name]:
        with pytest.raises(ValueError, match=f"^{name} is .* expected True or False"):
            use(model, value)


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize("value", [0, 1, np.int8(1), np.bool_(False)])
@pytest.mark.filterwarnings("ignore::lightfm_fast.evaluation.LeakWarning")
def test_flags_as_numbers(name, value):
    model = LightFM(random_state=1).fit(INTERACTIONS)
    for use in FLAGS[name]:
        use(model, value)


def test_verbose_is_a_flag_or_as_in_scikit_learn_a_number(capsys):
    LightFM().fit(INTERACTIONS, verbose=2)
    assert "poch" in "".join(capsys.readouterr())


WIDE = sp.coo_matrix(([1.0], ([0], [2**31])), shape=(N_USERS, 2**31 + 1))
TALL = sp.coo_matrix(([1.0], ([2**31], [0])), shape=(2**31 + 1, N_ITEMS))
OTHER_KINDS = {
    "a matrix for a model": (
        TypeError,
        "^model is .*expected a fitted model",
        [
            lambda m: evaluate(INTERACTIONS, m),
            lambda m: auc_score(None, INTERACTIONS),
            lambda m: precision_at_k(LightFM, INTERACTIONS),
            lambda m: export_vectors(INTERACTIONS, "x.parquet"),
        ],
    ),
    "what is no path": (
        TypeError,
        "^path is .*expected a path, as text or pathlib.Path",
        [
            lambda m: m.save(None),
            lambda m: load(io.BytesIO(b"")),
            lambda m: LightFM.load(3),
            lambda m: m.index().save(["x"]),
            lambda m: m.recommend_to(INTERACTIONS),
            lambda m: export_vectors(m, {}),
            lambda m: Checkpoint(None),
            lambda m: ShardedDataset(0),
        ],
    ),
    "names that no file has": (
        ValueError,
        "^path is .*which no file can be named",
        [
            lambda m: m.save("a\0b"),
            lambda m: m.save(""),
            lambda m: load(b""),
            lambda m: load("\ud800"),
            lambda m: m.recommend_to("a\0b"),
            lambda m: export_vectors(m, "\ud800.parquet"),
            lambda m: Checkpoint("a\0"),
            lambda m: ShardedDataset("a\0"),
        ],
    ),
    "a matrix for callbacks": (TypeError, "^callbacks is .*a list", [lambda m: m.fit(INTERACTIONS, callbacks=FEW)]),
    "a matrix for a dataset": (TypeError, "^dataset is .*Dataset", [lambda m: export_vectors(m, "x", dataset=FEW)]),
    "a matrix for a column": (TypeError, "^column is .*the name", [lambda m: export_vectors(m, "x", column=FEW)]),
    "a class for features": (ValueError, "^item_features has 0 dim", [lambda m: m.predict([0], [0], np.ndarray)]),
    "a matrix for metrics": (TypeError, "^metrics is .*a list of", [lambda m: evaluate(m, INTERACTIONS, metrics=FEW)]),
    "bytes for a length": (ValueError, "^k is b'3'", [lambda m: evaluate(m, FEW, k=b"3")]),
    "a dict for lengths": (ValueError, "^k is {5: 1}", [lambda m: evaluate(m, FEW, k={5: 1})]),
    "several lengths for one": (ValueError, r"^k is \[1, 2\]", [lambda m: m.score(INTERACTIONS, k=[1, 2])]),
    "items that are not frozen": (
        TypeError,
        "^frozen_items is .*freeze_items",
        [lambda m: m.fold_in_users(INTERACTIONS, frozen_items=m.get_item_representations())],
    ),
    "sides that are no names": (
        ValueError,
        "^sides is .*expected a list of 'user', 'item' or both",
        [
            lambda m: m.to_matrix_factorization(sides=np.ones((2, 2))),
            lambda m: m.to_matrix_factorization(sides=np.array(3)),
            lambda m: m.to_matrix_factorization(sides=[INTERACTIONS]),
        ],
    ),
    "columns that are no numbers": (
        ValueError,
        "^user_feature_names: .*a mapping from names to their columns",
        [lambda m: m.explain(0, 0, user_feature_names={"age": [1]})],
    ),
    "no items": (ValueError, "no items to index", [lambda m: m.index(sp.csr_matrix((0, N_ITEMS)))]),
    "more rows or columns than the core numbers": (
        ValueError,
        r"has shape .*, expected (at most|between 1 and) 2\*\*31 - 1",
        [
            lambda m: m.fit(WIDE),
            lambda m: m.fit(INTERACTIONS, TALL),
            lambda m: m.predict([0], [0], user_features=TALL),
            lambda m: m.recommend([0], interactions=TALL),
            lambda m: m.predict_rank(TALL),
            lambda m: auc_score(m, TALL),
            lambda m: random_train_test_split(TALL),
        ],
    ),
}


@pytest.mark.parametrize("case", OTHER_KINDS)
def test_arguments_of_other_kinds_are_named(case):
    model = LightFM(random_state=1).fit(INTERACTIONS)
    before = state_of(model)
    exception, message, uses = OTHER_KINDS[case]
    for use in uses:
        with pytest.raises(exception, match=message):
            use(model)
    for found, wanted in zip(state_of(model), before, strict=True):
        assert_array_equal(found, wanted)


def test_lists_of_no_items_are_empty():
    model = LightFM(random_state=1).fit(INTERACTIONS)
    (lists,) = model.recommend_in_blocks([0, 1], 3, item_features=sp.csr_matrix((0, N_ITEMS)))
    assert lists.ids.shape == (2, 0)


def test_more_rows_than_memory_holds_are_refused(monkeypatch):
    """Row numbers that are ids of a shop, with gaps, make matrices of a shape that no machine has memory for."""
    memory = 2_000_000
    monkeypatch.setattr(_arguments, "memory_of_machine", lambda: memory)
    model = LightFM(random_state=1).fit(INTERACTIONS)
    before = state_of(model)
    for n_users in (memory // 16 + 1, memory // 120):  # too many for the features of users, and for the parameters
        sparse = sp.coo_matrix(([1.0], ([n_users - 1], [0])), shape=(n_users, N_ITEMS))
        for train in (model.fit, model.fit_partial):
            with pytest.raises(MemoryError, match=rf"^{n_users:,} rows .* GB: .*Dataset"):
                train(sparse)
    for found, wanted in zip(state_of(model), before, strict=True):
        assert_array_equal(found, wanted)


def make_dataset():
    dataset = Dataset()
    dataset.fit([1, 2], [3, 4])
    dataset.build_interactions([(1, 3), (2, 4)])
    return dataset


class Tensor:
    """Looks like a sparse tensor of torch, which the tests do not install."""

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
    "similar among": (r"^among goes up to 9\b", lambda m, f: m.similar_items(0, among=[9], **of_side("item", f))),
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


@pytest.mark.parametrize("case", OUTSIDE)
@pytest.mark.parametrize("with_features", [False, True])
def test_a_message_names_the_argument_that_is_wrong(case, with_features):
    features = FEATURES if with_features else {}
    model = LightFM(random_state=1).fit(INTERACTIONS, **features)
    message, use = OUTSIDE[case]
    with pytest.raises(ValueError, match=message):
        use(model, features)
