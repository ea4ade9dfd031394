"""One call at a time trains a model; nothing changes under a running epoch; a call that fails has changed nothing."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

import lightfm_fast
from lightfm_fast import LightFM
from lightfm_fast._losses import LOSSES
from lightfm_fast.callbacks import EarlyStopping

from ..models import N_ITEMS, N_USERS, SCHEDULES, STATE, assert_same_state, make_data, state_of

INTERACTIONS, FEATURES = make_data()
SMALLER = sp.coo_matrix(np.eye(3, dtype=np.float32))


def fitted(**parameters):
    return LightFM(**{"random_state": 1, **parameters}).fit(INTERACTIONS, epochs=2)


def generator_of(model):
    return model.random_state.get_state()[1:3]


class Unchanged:
    """Asserts that a model is unchanged since this object was made, and trains on as it would have."""

    def __init__(self, model):
        self.model, self.twin = model, copy.deepcopy(model)
        self.history, self.parameters = list(model.history_), model.get_params()

    def check(self, **features):
        assert_same_state(self.model, self.twin)
        assert self.model.history_ == self.history
        assert self.model.get_params() == self.parameters
        for found, expected in zip(generator_of(self.model), generator_of(self.twin), strict=True):
            assert_array_equal(found, expected)
        for train in ("fit_partial", "fit"):
            assert_same_state(*(getattr(m, train)(INTERACTIONS, **features) for m in (self.model, self.twin)))


# ------------------------------------------------------------------------------------------------ one call at a time


@pytest.mark.parametrize("method", ["fit", "fit_partial"])
def test_a_callback_cannot_train_the_model_that_calls_it(method):
    refused = []

    def train_again(model):
        for train in (model.fit, model.fit_partial):
            with pytest.raises(RuntimeError, match=r"being trained already.*deepcopy"):
                train(SMALLER)
            refused.append(train)

    model = LightFM(random_state=1)
    getattr(model, method)(INTERACTIONS, epochs=2, callbacks=[train_again])
    assert len(refused) == 4
    assert_same_state(model, fitted())
    model.fit(SMALLER)  # free again


@pytest.mark.parametrize("outer", ["fit", "fit_partial"])
@pytest.mark.parametrize("inner", ["fit", "fit_partial"])
def test_another_thread_cannot_train_meanwhile(outer, inner):
    found = []

    def train_again(model):
        def use():
            try:
                getattr(model, inner)(SMALLER)
            except RuntimeError as error:
                found.append(str(error))

        thread = threading.Thread(target=use)
        thread.start()
        thread.join(20)

    model = LightFM(random_state=1)
    getattr(model, outer)(INTERACTIONS, epochs=2, callbacks=[train_again])
    assert len(found) == 2
    assert all("being trained already" in message for message in found)
    assert_same_state(model, fitted())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_made_by_a_callback_is_free(copied, tmp_path):
    copies = []

    def train_a_copy(model):
        copies.append(copied(model).fit(SMALLER))
        model.save(tmp_path / "model")
        copies.append(LightFM.load(tmp_path / "model").fit_partial(INTERACTIONS))

    model = LightFM(random_state=1).fit(INTERACTIONS, epochs=2, callbacks=[train_a_copy])
    assert_same_state(model, fitted())
    assert_same_state(copies[0], LightFM(random_state=1).fit(SMALLER))
    for other in copies:
        other.item_embeddings = np.zeros((3, 10))


def test_the_turn_ends_with_an_exception():
    model = LightFM(random_state=1)
    with pytest.raises(ValueError, match="interactions"):
        model.fit(None)

    def fail(model):
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        model.fit(INTERACTIONS, callbacks=[fail])
    model.item_embeddings = np.zeros((3, 10))
    assert_same_state(model.fit(INTERACTIONS, epochs=2), fitted())


def test_a_subclass_may_train_in_parts():
    class InParts(LightFM):
        def fit_partial(self, interactions, epochs=1, **arguments):
            for _ in range(epochs):
                super().fit_partial(interactions, epochs=1, **arguments)
            return self

    assert_same_state(InParts(random_state=1).fit(INTERACTIONS, epochs=2), fitted())


def test_predictions_beside_training():
    model = LightFM(loss="warp", random_state=1).fit(INTERACTIONS, epochs=1, **FEATURES)
    errors, is_over, answered = [], threading.Event(), threading.Event()

    def ask():
        while not is_over.is_set():
            try:
                scores = model.predict(np.arange(5), np.arange(5), **FEATURES)
                assert np.isfinite(scores).all()
                model.recommend([0, 3], n=4, **FEATURES)
                model.predict_rank(INTERACTIONS, **FEATURES)
            except Exception as error:
                errors.append(error)
            else:
                answered.set()

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    model.fit_partial(INTERACTIONS, epochs=60, num_threads=2, **FEATURES)
    is_over.set()
    for thread in threads:
        thread.join(20)
    assert not errors
    assert answered.is_set()


def test_predictions_beside_fits_to_data_of_other_sizes():
    """A request raises if the model has become unfitted or smaller; nothing reads outside its tables."""
    model = LightFM(random_state=1).fit(INTERACTIONS)
    errors, is_over, answered = [], threading.Event(), threading.Event()

    def ask():
        while not is_over.is_set():
            try:
                model.recommend(np.arange(3), n=4)
                model.predict(np.arange(20), np.arange(20))
                model.similar_items([0, 1])
            except (ValueError, RuntimeError):
                pass
            except Exception as error:
                errors.append(error)
            else:
                answered.set()

    thread = threading.Thread(target=ask)
    thread.start()
    for size in range(60):
        model.set_params(no_components=3 + 40 * (size % 2))
        model.fit(INTERACTIONS if size % 2 else SMALLER)
    is_over.set()
    thread.join(20)
    assert not errors
    assert answered.is_set()


# ----------------------------------------------------------------------------------- nothing changes under an epoch

RESHAPING = {
    "smaller embeddings": lambda m: setattr(m, "item_embeddings", np.zeros((2, 10))),
    "smaller biases": lambda m: setattr(m, "user_biases", np.zeros(2)),
    "no embeddings": lambda m: setattr(m, "user_embeddings", None),
    "other components": lambda m: m.set_params(no_components=3),
    "another schedule": lambda m: m.set_params(learning_schedule="adadelta", k=7),
    "a reset": lambda m: m._reset_state(),
    "a fit": lambda m: m.fit(SMALLER),
}


@pytest.mark.parametrize("case", RESHAPING)
@pytest.mark.parametrize("num_threads", [1, 2])
def test_state_cannot_be_reshaped_while_epochs_run(case, num_threads):
    def reshape(model):
        before = Unchanged(model)
        with pytest.raises(RuntimeError, match=r"train.*deepcopy"):
            RESHAPING[case](model)
        assert_same_state(model, before.twin)
        assert model.get_params() == before.parameters

    model = LightFM(loss="warp", random_state=1)
    model.fit(INTERACTIONS, epochs=3, num_threads=num_threads, callbacks=[reshape])
    assert len(model.history_) == 3
    RESHAPING[case](model)  # allowed again


@pytest.mark.parametrize(
    ("name", "value", "exception"),
    [
        ("no_components", 3, RuntimeError),
        ("no_components", 500, RuntimeError),
        ("learning_schedule", "adadelta", RuntimeError),
        ("n_negatives", 10**9, ValueError),
        ("k", -1, ValueError),
        ("learning_rate", 10**400, ValueError),
        ("loss", "nonsense", ValueError),
    ],
)
def test_attributes_assigned_while_epochs_run_are_judged_before_the_next(name, value, exception):
    model = LightFM(random_state=1)
    with pytest.raises(exception, match=name):
        model.fit(INTERACTIONS, epochs=3, callbacks=[lambda m: setattr(m, name, value)])
    setattr(model, name, getattr(LightFM(), name))
    assert_same_state(model, LightFM(random_state=1).fit(INTERACTIONS))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_callback_may_assign_arrays_of_the_same_shape(schedule):
    saved = state_of(LightFM(learning_schedule=schedule, random_state=1).fit(INTERACTIONS))

    def put_back(model):
        for name in STATE:
            setattr(model, name, saved[name])

    model = LightFM(learning_schedule=schedule, random_state=1).fit(INTERACTIONS, epochs=3, callbacks=[put_back])
    assert_same_state(model, saved)


@pytest.mark.parametrize("name", ["item_embeddings", "user_bias_gradients"])
def test_a_callback_cannot_leave_values_that_are_not_finite(name):
    def assign(model):
        setattr(model, name, np.full_like(getattr(model, name), np.nan))

    def write(model):
        getattr(model, name)[:] = np.nan

    def write_and_fail(model):
        write(model)
        raise OSError

    model = fitted()
    before = Unchanged(model)
    for callback, exception in ((write, ValueError), (write_and_fail, OSError)):
        with pytest.raises(exception):
            model.fit_partial(INTERACTIONS, callbacks=[callback])
        assert_same_state(model, before.twin)
    with pytest.raises(ValueError, match=name):
        model.fit_partial(INTERACTIONS, callbacks=[assign])
    assert np.isfinite(getattr(model, name)).all()
    with pytest.raises(ValueError, match="sums of squares"):
        model.user_bias_gradients = np.full(N_USERS, -1.0)


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("order", ["sorted", "reversed"])
def test_what_an_epoch_walks_over_is_a_copy(loss, num_threads, order):
    """A callback, like another thread, overwrites all arguments of fit with invalid values."""
    step = -1 if order == "reversed" else 1
    row, col = INTERACTIONS.row[::step].copy(), INTERACTIONS.col[::step].copy()
    data = np.where(np.arange(len(row)) % 5, 1, -1).astype(np.float32)
    given = {
        "interactions": sp.coo_matrix((data, (row, col)), shape=(N_USERS, N_ITEMS)),
        "user_features": FEATURES["user_features"].copy(),
        "item_features": FEATURES["item_features"].copy(),
    }
    if loss != "warp-kos":
        weights = np.linspace(0.5, 1.5, len(row)).astype(np.float32)
        given["sample_weight"] = sp.coo_matrix((weights, (row, col)), shape=(N_USERS, N_ITEMS))
    expected = LightFM(loss=loss, random_state=1).fit(**copy.deepcopy(given), epochs=3)

    def overwrite(model):
        for name, matrix in given.items():
            arrays = (matrix.row, matrix.col) if matrix.format == "coo" else (matrix.indices, matrix.indptr)
            for array in arrays:
                array[:] = 10**9
            matrix.data[:] = 1 if name == "interactions" else np.nan

    model = LightFM(loss=loss, random_state=1)
    model.fit(**given, epochs=3, num_threads=num_threads, callbacks=[overwrite])
    if num_threads == 1:
        assert_same_state(model, expected)
    assert all(np.isfinite(array).all() for array in state_of(model).values())


HOOKS = {
    "columns": lambda i, f, w: setattr(i, "col", np.full(i.nnz, 10**6, np.int32)),
    "rows": lambda i, f, w: setattr(i, "row", np.full(i.nnz, -5, np.int32)),
    "rows in place": lambda i, f, w: i.row.__setitem__(0, 10**6),
    "features": lambda i, f, w: f.indices.__setitem__(0, 10**6),
    "negative features": lambda i, f, w: setattr(f, "indices", np.full(f.nnz, -1, np.int32)),
    "bounds": lambda i, f, w: setattr(f, "indptr", f.indptr + 7),
}


@pytest.mark.parametrize("case", HOOKS)
@pytest.mark.parametrize("num_threads", [1, 2])
def test_what_a_hook_makes_of_the_input_is_judged(case, num_threads):
    class Careless(LightFM):
        def _run_epoch(self, item_features, user_features, interactions, sample_weight, num_threads, loss):
            HOOKS[case](interactions, item_features, sample_weight)
            self._training_input = None
            super()._run_epoch(item_features, user_features, interactions, sample_weight, num_threads, loss)

    model = LightFM(loss="warp", random_state=1).fit(INTERACTIONS, **FEATURES)
    before = Unchanged(model)
    model.__class__ = Careless
    with pytest.raises(ValueError, match=r"malformed|read-only"):
        model.fit_partial(INTERACTIONS, num_threads=num_threads, **FEATURES)
    model.__class__ = LightFM
    before.check(**FEATURES)


@pytest.mark.parametrize(
    "weights",
    [np.ones(3, np.float32), np.full(INTERACTIONS.nnz, np.nan), np.full(INTERACTIONS.nnz, -1), np.ones((2, 2))],
)
def test_the_weights_that_a_hook_passes_on_are_judged(weights):
    class Weighing(LightFM):
        def _run_epoch(self, item_features, user_features, interactions, sample_weight, num_threads, loss):
            super()._run_epoch(item_features, user_features, interactions, weights, num_threads, loss)

    model = Weighing()
    with pytest.raises(ValueError, match="sample_weight"):
        model.fit(INTERACTIONS)
    assert model.item_embeddings is None


def malformed(n_rows, n_columns):
    matrix = sp.identity(max(n_rows, n_columns), dtype=np.float32, format="csr")[:n_rows, :n_columns].tocsr()
    matrix.indices = np.full_like(matrix.indices, 10**6)
    return matrix


@pytest.mark.parametrize(
    "features",
    [malformed(N_ITEMS, N_ITEMS), sp.identity(4, format="csr"), np.full((N_ITEMS, 3), np.nan)],
    ids=["malformed", "too few rows", "NaN"],
)
def test_features_that_a_hook_constructs_are_judged(features):
    class Featured(LightFM):
        def _construct_feature_matrices(self, n_users, n_items, user_features, item_features):
            users, _ = super()._construct_feature_matrices(n_users, n_items, user_features, None)
            return users, features

    model = fitted()
    before = Unchanged(model)
    model.__class__ = Featured
    for use in (
        model.fit,
        model.fit_partial,
        model.predict_rank,
        lambda i: model.predict([0] * N_ITEMS, range(N_ITEMS)),
    ):
        with pytest.raises(ValueError, match="item_features"):
            use(INTERACTIONS)
    model.__class__ = LightFM
    before.check()


def test_arrays_handed_out_keep_their_shape():
    model = fitted()
    for name in STATE:
        array, shape = getattr(model, name), getattr(model, name).shape
        if not name.endswith("momentum"):  # AdaGrad has no momentum: the array is new zeros
            assert not isinstance(array.base, np.ndarray)  # which could be resized
            with pytest.raises(ValueError, match="resize"):
                array.resize(1)
        array.flags.writeable = False
        array.shape = (*shape, 1)
        assert getattr(model, name).shape == shape
    assert_same_state(model.fit_partial(INTERACTIONS), fitted().fit_partial(INTERACTIONS))


# ------------------------------------------------------------------------------ a call that fails has changed nothing


def refuse_input(monkeypatch):
    return {"sample_weight": SMALLER}


def fail_late(monkeypatch):
    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr(lightfm_fast._training, "TrainingInput", fail)
    return {}


def fail_in_the_second_epoch(monkeypatch):
    """The core raises after an epoch that has changed the parameters."""
    fit_epoch, calls = lightfm_fast._core.engine.fit_epoch, []

    def fail(*arguments):
        result = fit_epoch(*arguments)
        calls.append(result)
        if len(calls) == 2:
            raise MemoryError
        return result

    monkeypatch.setattr(lightfm_fast._core.engine, "fit_epoch", fail)
    return {"epochs": 3}


def fail_to_note_what_was_trained_on(monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(lightfm_fast._training_input.Fingerprint, "of", fail)
    return {}


def fail_after_the_last_epoch(monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(LightFM, "_place_unmet", fail)
    return {"epochs": 2}


def interrupt_before_the_first_epoch(monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(LightFM, "_run_epoch", interrupt)
    return {}


FAILURES = [
    refuse_input,
    fail_late,
    fail_in_the_second_epoch,
    fail_to_note_what_was_trained_on,
    fail_after_the_last_epoch,
    interrupt_before_the_first_epoch,
]


@pytest.mark.parametrize("fail", FAILURES)
@pytest.mark.parametrize("method", ["fit", "fit_partial"])
@pytest.mark.parametrize("start", ["unfitted", "fitted", "loaded", "assigned", "fitted to fewer"])
@pytest.mark.parametrize("seed", [3, None, "generator"])
def test_a_call_that_fails_has_changed_nothing(monkeypatch, tmp_path, fail, method, start, seed):
    random_state = np.random.RandomState(3) if seed == "generator" else seed
    model = LightFM(loss="warp", random_state=random_state)
    if start == "fitted to fewer":
        model.fit(SMALLER)
    elif start != "unfitted":
        model.fit(INTERACTIONS, epochs=2)
    if start == "loaded":
        model.save(tmp_path / "model")
        model = LightFM.load(tmp_path / "model", mmap=True)
    if start == "assigned":
        for name, value in state_of(model).items():
            setattr(model, name, None)
            setattr(model, name, value)
    before = Unchanged(model)
    with monkeypatch.context() as patch, pytest.raises((ValueError, MemoryError, KeyboardInterrupt)):
        getattr(model, method)(INTERACTIONS, **fail(patch))
    if start == "unfitted":
        assert model.item_embeddings is None
        assert model.history_ == []
    else:
        assert_same_state(model, before.twin)
    assert_same_state(model.fit_partial(INTERACTIONS), before.twin.fit_partial(INTERACTIONS))


def test_divergence_under_early_stopping_leaves_the_model_as_it_was():
    model = fitted(learning_rate=0.05)
    before = Unchanged(model)

    def diverge(model):
        model.learning_rate = 3e38

    with pytest.raises(ValueError, match="diverged"):
        model.fit_partial(INTERACTIONS, epochs=50, callbacks=[EarlyStopping(lambda m: 1.0, patience=50), diverge])
    before.check()
    assert not model._is_training


# ------------------------------------------------------------------------------------------- shapes and thread counts


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_features_may_have_more_rows_than_interactions(monkeypatch, loss, num_threads, dropout):
    monkeypatch.setattr("lightfm_fast._training_input.COPIED_FROM", 1)
    for n_users, n_items in ((5, N_ITEMS), (N_USERS, 4)):
        part = sp.coo_matrix(INTERACTIONS.toarray()[:n_users, :n_items])
        for names in (("user_features",), ("item_features",), ("user_features", "item_features")):
            model = LightFM(loss=loss, identity_dropout=dropout, random_state=1)
            features = {name: FEATURES[name] for name in names}
            model.fit(part, epochs=2, num_threads=num_threads, **features)
            assert all(np.isfinite(array).all() for array in state_of(model).values())
            model.fit_partial(part, num_threads=num_threads, **features)
            scores = model.predict(0, np.arange(n_items), num_threads=num_threads, **features)
            assert np.isfinite(scores).all()


@pytest.fixture(scope="module")
def signs():
    """Just enough entries for the order of large data; labels are the signs of products."""
    rng = np.random.default_rng(0)
    shape = 4096, 2000
    users, items = (rng.normal(size=(n, 4)) for n in shape)
    rows, columns = np.divmod(np.sort(rng.choice(shape[0] * shape[1], 1 << 18, replace=False)), shape[1])
    labels = np.where((users[rows] * items[columns]).sum(axis=1) > 0, 1, -1).astype(np.float32)
    return sp.coo_matrix((labels, (rows, columns)), shape=shape)


def adadelta_losses(interactions, num_threads):
    model = LightFM(16, loss="logistic", learning_schedule="adadelta", random_state=0)
    return [record["loss"] for record in model.fit(interactions, epochs=3, num_threads=num_threads).history_]


def test_adadelta_learns_as_fast_from_large_data_as_from_small(signs):
    """It forgets within some visits, so a user's samples must not follow one another, as they do to save memory."""
    smaller = sp.coo_matrix((signs.data[:-1], (signs.row[:-1], signs.col[:-1])), shape=signs.shape)
    assert_allclose(adadelta_losses(signs, 1), adadelta_losses(smaller, 1), rtol=0.01)


def test_adadelta_learns_as_fast_on_two_threads(signs):
    assert_allclose(adadelta_losses(signs, 2), adadelta_losses(signs, 1), rtol=0.05)
