"""Callbacks: the order of calls, early stopping, checkpoints, learning rates, and exceptions."""

from __future__ import annotations

import copy
import functools
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal

import lightfm_fast
from lightfm_fast import LightFM, _matrices
from lightfm_fast.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    LearningRateSchedule,
    OptunaPruning,
    StopTraining,
)
from lightfm_fast.evaluation import auc_score, precision_at_k, recall_at_k, reciprocal_rank

from .models import SCHEDULES, assert_same_state, state_of


@pytest.fixture
def data():
    rng = np.random.RandomState(0)
    groups = np.equal.outer(np.arange(40) % 2, np.arange(24) % 2)
    chosen = groups & (rng.rand(40, 24) < 0.6)
    is_test = rng.rand(40, 24) < 0.3
    return sp.coo_matrix((chosen & ~is_test).astype(np.float32)), sp.coo_matrix((chosen & is_test).astype(np.float32))


class Recorder(Callback):
    def __init__(self, calls, name):
        self.calls, self.name = calls, name

    def begin(self, model, n_epochs):
        self.calls.append((self.name, "begin", n_epochs))

    def __call__(self, model):
        self.calls.append((self.name, len(model.history_)))

    def end(self, model):
        self.calls.append((self.name, "end"))


def test_callbacks_are_called_in_order_after_every_epoch(data):
    calls = []
    callbacks = (Recorder(calls, "a"), lambda model: calls.append(model.history_[-1]["epoch"]), Recorder(calls, "b"))
    LightFM(random_state=1).fit(data[0], epochs=2, callbacks=iter(callbacks))
    assert calls == [
        ("a", "begin", 2),
        ("b", "begin", 2),
        *[("a", 1), 1, ("b", 1)],
        *[("a", 2), 2, ("b", 2)],
        ("b", "end"),
        ("a", "end"),
    ]


def test_callbacks_change_nothing_of_training(data):
    watched = LightFM(loss="warp", random_state=1).fit(data[0], epochs=3, callbacks=[Callback(), repr])
    assert_same_state(watched, LightFM(loss="warp", random_state=1).fit(data[0], epochs=3))


def test_a_callback_stops_training_and_the_others_still_see_the_epoch(data):
    def stop(model):
        if len(model.history_) == 2:
            raise StopTraining

    calls = []
    model = LightFM(random_state=1).fit(data[0], epochs=9, callbacks=[stop, Recorder(calls, "a")])
    assert len(model.history_) == 2
    assert calls == [("a", "begin", 9), ("a", 1), ("a", 2), ("a", "end")]
    assert_same_state(model, LightFM(random_state=1).fit(data[0], epochs=2))


@pytest.mark.parametrize("method", ["fit", "fit_partial"])
@pytest.mark.parametrize("exception", [RuntimeError("no"), KeyboardInterrupt()])
def test_a_callback_that_raises_leaves_a_usable_model(data, method, exception):
    def fail(model):
        if len(model.history_) == 2:
            raise exception

    calls = []
    model = LightFM(loss="warp", random_state=1)
    with pytest.raises(type(exception)):
        getattr(model, method)(data[0], epochs=9, callbacks=[Recorder(calls, "a"), fail])
    assert calls[-1] == ("a", "end")
    assert_same_state(model, LightFM(loss="warp", random_state=1).fit(data[0], epochs=2))
    whole = LightFM(loss="warp", random_state=1).fit(data[0], epochs=3)
    assert_same_state(model.fit_partial(data[0]), whole)


@pytest.mark.parametrize("method", ["fit", "fit_partial"])
def test_a_callback_that_does_not_begin_changes_nothing(data, method):
    class Refusing(Callback):
        def begin(self, model, n_epochs):
            raise RuntimeError("no")

    calls = []
    model = LightFM(random_state=1).fit(data[0], epochs=2)
    before, history = state_of(model), model.history_
    wider = sp.coo_matrix((50, 30))
    with pytest.raises(RuntimeError):
        getattr(model, method)(wider, callbacks=[Recorder(calls, "a"), Refusing(), Recorder(calls, "b")])
    assert calls == [("a", "begin", 1), ("a", "end")]
    assert_same_state(model, before)
    assert model.history_ is history


@pytest.mark.parametrize("method", ["begin", "end"])
def test_training_is_stopped_after_epochs_only(data, method):
    def stop(self, *_):
        raise StopTraining

    stopping = type("Stopping", (Callback,), {method: stop})()
    calls = []
    model = LightFM(random_state=1)
    with pytest.raises(
        RuntimeError, match="stop raised StopTraining, which ends training after an epoch: raise it when"
    ):
        model.fit(data[0], epochs=2, callbacks=[Recorder(calls, "a"), stopping])
    assert calls[-1] == ("a", "end")
    assert len(model.history_) == (0 if method == "begin" else 2)


# ------------------------------------------------------------------------------------------------ early stopping


def scripted(scores):
    """Make a metric that gives these values in turn."""
    values = iter(scores)
    return lambda model: next(values)


@pytest.mark.parametrize(
    ("scores", "options", "n_epochs", "best"),
    [
        ([1, 2, 3, 2, 2, 2, 9], {"patience": 3}, 6, 3),
        ([1, 2, 2, 2, 9], {"patience": 2}, 4, 2),
        ([1, 1.5, 1.9, 2.2, 9], {"patience": 2, "min_delta": 1.0}, 3, 1),
        ([1, 1.5, 2.2, 2.2, 2.2, 9], {"patience": 2, "min_delta": 1.0}, 5, 3),
        ([3, 2, 1, 4, 5, 0], {"patience": 2, "greater_is_better": False}, 5, 3),
        ([-1, -2, -3, -4, -5, -6, -7], {"patience": 6}, 7, 1),
        ([1, 2, 3, 4, 5, 6, 7], {"patience": 1}, 7, 7),
    ],
)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_early_stopping_keeps_the_best_epoch(data, scores, options, n_epochs, best, schedule):
    stopping = EarlyStopping(scripted(scores), **options)
    parameters = {"loss": "warp", "learning_schedule": schedule, "random_state": 1}
    model = LightFM(**parameters).fit(data[0], epochs=7, callbacks=[stopping])
    assert len(model.history_) == n_epochs
    assert stopping.scores_ == scores[:n_epochs]
    assert (stopping.best_epoch_, stopping.best_score_) == (best, scores[best - 1])
    assert_same_state(model, LightFM(**parameters).fit(data[0], epochs=best))


def test_early_stopping_may_keep_the_last_epoch(data):
    stopping = EarlyStopping(scripted([3, 2, 1]), patience=2, restore_best=False)
    model = LightFM(random_state=1).fit(data[0], epochs=9, callbacks=[stopping])
    assert_same_state(model, LightFM(random_state=1).fit(data[0], epochs=3))


@pytest.mark.parametrize("metric", [precision_at_k, recall_at_k, auc_score, reciprocal_rank])
def test_early_stopping_on_a_held_out_metric(data, metric):
    train, test = data
    stopping = EarlyStopping(metric, test, train_interactions=train, patience=2)
    model = LightFM(loss="warp", random_state=1).fit(train, epochs=40, callbacks=[stopping])
    assert len(model.history_) < 40
    assert stopping.best_score_ == max(stopping.scores_)
    assert metric(model, test, train).mean() == pytest.approx(stopping.best_score_)
    first = LightFM(loss="warp", random_state=1).fit(train)
    assert stopping.scores_[0] == pytest.approx(metric(first, test, train).mean())


def test_early_stopping_starts_over_with_every_run(data):
    stopping = EarlyStopping(scripted([5, 4, 3, 1, 2]), patience=2)
    model = LightFM(random_state=1).fit(data[0], epochs=9, callbacks=[stopping])
    model.fit_partial(data[0], epochs=2, callbacks=[stopping])
    assert stopping.scores_ == [1, 2]
    assert stopping.best_epoch_ == 5


def test_early_stopping_watches_one_model_at_a_time(data):
    """The model whose training began first would get the other model's parameters."""
    stopping = EarlyStopping(lambda model: len(model.history_))
    first, second = LightFM(4, random_state=1), LightFM(5, random_state=1)

    def train_second(model):
        if len(model.history_) == 2:
            second.fit(data[0], epochs=3, callbacks=[stopping, train_first_on])

    def train_first_on(model):
        with pytest.raises(RuntimeError, match="watches another model"):
            stopping(first)
        stopping.end(first)

    first.fit(data[0], epochs=2, callbacks=[stopping, train_second])
    assert stopping.scores_ == [1, 2, 3]
    assert first.item_embeddings.shape[1] == 4
    assert_same_state(first, LightFM(4, random_state=1).fit(data[0], epochs=2))
    assert_same_state(second, LightFM(5, random_state=1).fit(data[0], epochs=3))


def test_early_stopping_keeps_the_best_epoch_when_another_callback_raises(data):
    def fail(model):
        if len(model.history_) == 3:
            raise RuntimeError

    model = LightFM(random_state=1)
    with pytest.raises(RuntimeError):
        model.fit(data[0], epochs=9, callbacks=[EarlyStopping(scripted([2, 1, 0])), fail])
    assert_same_state(model, LightFM(random_state=1).fit(data[0]))


@pytest.mark.parametrize("metric", [recall_at_k, functools.partial(recall_at_k, k=5)])
def test_a_dislike_is_no_hit_to_early_stopping(data, metric):
    train, test = data
    likes, with_dislikes = test.copy(), test.copy()
    likes.data[::2] = 0
    with_dislikes.data[::2] = -1
    scores = []
    for held_out in (likes, with_dislikes):
        stopping = EarlyStopping(metric, held_out, train_interactions=train)
        LightFM(random_state=0).fit(train, epochs=3, callbacks=[stopping])
        scores.append(stopping.scores_)
    assert scores[0] == scores[1]
    assert with_dislikes.data.min() == -1

    def dislikes(model, interactions):
        return (interactions.data < 0).sum()

    stopping = EarlyStopping(dislikes, with_dislikes)  # a user's metric gets all entries
    LightFM(random_state=0).fit(train, callbacks=[stopping])
    assert stopping.best_score_ > 0


def test_what_is_held_out_is_checked_once_for_all_epochs(data, monkeypatch):
    train, test = data
    checked = []
    check = _matrices._own_entries
    monkeypatch.setattr(_matrices, "_own_entries", lambda matrix: [checked.append(matrix), check(matrix)][1])
    stopping = EarlyStopping(recall_at_k, test, patience=3)
    LightFM(random_state=0).fit(train, epochs=3, callbacks=[stopping])
    assert len(stopping.scores_) == 3
    assert len(checked) == 1
    assert checked[0] is test


@pytest.mark.parametrize("value", [np.nan, np.inf, "good", None, [], [1.0, np.nan]])
def test_a_metric_that_is_no_number_is_refused(data, value):
    model = LightFM(random_state=1)
    with pytest.raises(ValueError, match="expected a finite number"):
        model.fit(data[0], epochs=3, callbacks=[EarlyStopping(lambda model: value)])
    assert model.predict(0, [0]).shape == (1,)


@pytest.mark.parametrize(
    ("exception", "arguments"),
    [
        (TypeError, {"metric": "auc"}),
        (ValueError, {"patience": 0}),
        (ValueError, {"patience": 1.5}),
        (ValueError, {"min_delta": -1}),
        (ValueError, {"min_delta": np.nan}),
        (TypeError, {"min_delta": "1"}),
    ],
)
def test_early_stopping_judges_its_arguments(exception, arguments):
    with pytest.raises(exception, match=next(iter(arguments))):
        EarlyStopping(**{"metric": auc_score, **arguments})


# --------------------------------------------------------------------------------------------------- checkpoints


@pytest.mark.parametrize("loss", ["logistic", "bpr", "warp", "warp-kos", "softmax"])
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("seed", [3, None, "generator"])
def test_a_resumed_run_gives_the_bits_of_an_unbroken_one(tmp_path, data, loss, schedule, seed):
    random_state = np.random.RandomState(5) if seed == "generator" else seed
    model = LightFM(loss=loss, learning_schedule=schedule, random_state=random_state)
    path = tmp_path / "model-{epoch}.safetensors"
    callbacks = [Checkpoint(path, every=2)]
    if schedule == "adagrad":
        callbacks.append(LearningRateSchedule(0.7))
    model.fit(data[0], epochs=5, callbacks=callbacks)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model-2.safetensors", "model-4.safetensors"]

    resumed = LightFM.load(tmp_path / "model-2.safetensors")
    assert [record["epoch"] for record in resumed.history_] == [1, 2]
    resumed.fit_partial(data[0], epochs=3, callbacks=callbacks)
    assert_same_state(resumed, model)
    assert [record["loss"] for record in resumed.history_] == [record["loss"] for record in model.history_]
    # later draws are the same too: here the draws of new rows
    wider = sp.coo_matrix((50, 30))
    assert_same_state(model.fit_partial(wider), resumed.fit_partial(wider))
    if seed is not None:
        assert_same_state(model.fit(data[0]), resumed.fit(data[0]))


def test_a_process_that_is_killed_goes_on_from_its_checkpoint(tmp_path):
    """The interrupted run and the resumed run are separate processes."""
    code = """
import os, sys
from lightfm_fast import LightFM, load
from lightfm_fast.callbacks import Checkpoint
from lightfm_fast.datasets import make_interactions
train = make_interactions(n_users=40, n_items=30, n_interactions=300, random_state=0)["train"]
def die(model):
    if len(model.history_) == 5 and sys.argv[1] == "die":
        os._exit(7)
model = LightFM(loss="warp", random_state=2) if sys.argv[1] != "resume" else load("model.safetensors")
model.fit_partial(train, epochs=8 - len(model.history_), callbacks=[die, Checkpoint("model.safetensors", every=3)])
model.save(sys.argv[1] + ".safetensors")
"""

    def run(how):
        root = Path(lightfm_fast.__file__).parents[1]
        command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(root)!r}){code}", how]
        return subprocess.run(command, cwd=tmp_path, check=False).returncode

    assert [run("die"), run("resume"), run("whole")] == [7, 0, 0]
    resumed, whole = (lightfm_fast.load(tmp_path / f"{name}.safetensors") for name in ("resume", "whole"))
    assert_same_state(resumed, whole)
    assert len(resumed.history_) == 8


@pytest.mark.parametrize("every", [0, -1, 1.5, "2"])
def test_checkpoint_judges_its_arguments(every):
    with pytest.raises(ValueError, match="every"):
        Checkpoint("model", every=every)


def test_a_checkpoint_that_cannot_be_written_leaves_a_usable_model(tmp_path, data):
    model = LightFM(random_state=1)
    with pytest.raises(OSError, match="nowhere"):
        model.fit(data[0], epochs=3, callbacks=[Checkpoint(tmp_path / "nowhere" / "model")])
    assert_same_state(model, LightFM(random_state=1).fit(data[0]))


# ------------------------------------------------------------------------------------------------- learning rate


def test_a_schedule_is_a_run_at_each_epochs_rate(data):
    rates = [0.05 * factor for factor in (1, 0.5, 0.25)]
    scheduled = LightFM(loss="warp", random_state=1).fit(data[0], epochs=3, callbacks=[LearningRateSchedule(0.5)])
    assert scheduled.learning_rate == 0.05
    by_hand = LightFM(loss="warp", random_state=1).fit(data[0], epochs=0)
    for rate in rates:
        by_hand.set_params(learning_rate=rate).fit_partial(data[0])
    assert_same_state(scheduled, by_hand)
    called = LightFM(loss="warp", random_state=1)
    for _ in range(3):
        called.fit_partial(data[0], callbacks=[LearningRateSchedule(lambda epoch: 0.5**epoch)])
    assert_same_state(scheduled, called)
    assert_same_state(scheduled.fit_partial(data[0]), by_hand.set_params(learning_rate=0.05).fit_partial(data[0]))


def test_a_rate_of_any_type_decays_alike(data):
    models = [
        LightFM(random_state=1).fit(data[0], epochs=600, callbacks=[LearningRateSchedule(rate)])
        for rate in (np.float16(0.96875), 0.96875)  # in half precision the power is 0 after 530 epochs
    ]
    assert_same_state(*models)


def test_a_rate_that_grows_beyond_all_numbers_is_refused(data):
    model = LightFM(learning_rate=0, random_state=1)
    with pytest.raises(ValueError, match="factor of the learning rate is inf"):
        model.fit(data[0], epochs=5, callbacks=[LearningRateSchedule(1e100)])
    assert len(model.history_) == 4


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_that_a_callback_makes_trains_at_the_models_rate(data, copied):
    copies = []
    schedule = LearningRateSchedule(0.5)
    LightFM(random_state=1).fit(data[0], epochs=3, callbacks=[schedule, lambda model: copies.append(copied(model))])
    for other in copies:
        assert other.learning_rate_factor == 1
        assert_same_state(other.fit(data[0]), LightFM(random_state=1).fit(data[0]))


def test_a_rate_of_zero_learns_nothing(data):
    model = LightFM(random_state=1).fit(data[0], epochs=3, callbacks=[LearningRateSchedule(lambda epoch: 0)])
    assert_array_equal(model.item_embeddings, LightFM(random_state=1).fit(data[0], epochs=0).item_embeddings)


@pytest.mark.parametrize(("exception", "factor"), [(ValueError, -1), (ValueError, np.nan), (TypeError, "x")])
def test_factors_are_judged(data, exception, factor):
    with pytest.raises(exception, match="factor"):
        LearningRateSchedule(factor)
    model = LightFM(random_state=1)
    with pytest.raises(exception, match="factor"):
        model.fit(data[0], callbacks=[LearningRateSchedule(lambda epoch: factor)])
    assert model.item_embeddings is None
    with pytest.raises(exception, match="factor"):
        model.fit(data[0], epochs=5, callbacks=[LearningRateSchedule(lambda epoch: factor if epoch == 2 else 1)])
    assert_same_state(model, LightFM(random_state=1).fit(data[0], epochs=2))


def test_adadelta_has_no_learning_rate(data):
    model = LightFM(learning_schedule="adadelta")
    with pytest.raises(ValueError, match="adadelta"):
        model.fit(data[0], callbacks=[LearningRateSchedule(0.9)])
    assert model.item_embeddings is None


# -------------------------------------------------------------------------------- changes of the model by callbacks


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_callback_of_ones_own_goes_back_to_an_epoch(data, schedule):
    class KeepSecond(Callback):
        def __call__(self, model):
            if len(model.history_) == 2:
                self.state = model.get_state()

        def end(self, model):
            model.set_state(self.state)

    model = LightFM(loss="warp", learning_schedule=schedule, random_state=1)
    model.fit(data[0], epochs=4, callbacks=[KeepSecond()])
    expected = LightFM(loss="warp", learning_schedule=schedule, random_state=1).fit(data[0], epochs=2)
    assert_same_state(model, expected)
    assert set(model.get_state()) == {
        name for name in state_of(model) if schedule == "adadelta" or "momentum" not in name
    }


def test_a_state_is_a_copy_and_is_judged(data):
    model = LightFM(random_state=1)
    with pytest.raises(ValueError, match="fit the model"):
        model.get_state()
    model.fit(data[0])
    before, state = state_of(model), model.get_state()
    state["item_embeddings"][:] = 7
    assert_same_state(model, before)
    with pytest.raises(ValueError, match="state array"):
        model.set_state({"item_embeddings": state["item_embeddings"], "items": state["item_biases"]})
    assert_same_state(model, before)
    model.set_state(state)
    assert (model.item_embeddings == 7).all()


def test_reading_the_state_arrays_has_no_effect(data):
    watched = LightFM(loss="warp", random_state=1)
    watched.fit(data[0], epochs=3, callbacks=[lambda model: [getattr(model, name) for name in state_of(model)]])
    assert_same_state(watched, LightFM(loss="warp", random_state=1).fit(data[0], epochs=3))


def test_the_factor_of_the_learning_rate_is_a_callbacks_to_set(data):
    def halve(model):
        model.learning_rate_factor /= 2

    model = LightFM(random_state=1).fit(data[0], epochs=3, callbacks=[halve])
    scheduled = LightFM(random_state=1).fit(data[0], epochs=3, callbacks=[LearningRateSchedule(0.5)])
    assert_same_state(model, scheduled)
    model.learning_rate_factor = -1
    with pytest.raises(ValueError, match="factor of the learning rate"):
        model.fit_partial(data[0])
    assert_same_state(model, scheduled)


class Settings(Callback):
    """Sets hyperparameters at the begin of a run, or after the first epoch."""

    def __init__(self, moment, **settings):
        self.moment, self.settings = moment, settings

    def begin(self, model, n_epochs):
        if self.moment == "begin":
            model.set_params(**self.settings)

    def __call__(self, model):
        if self.moment == "call" and len(model.history_) == 1:
            model.set_params(**self.settings)


def with_weights(interactions):
    weights = sp.coo_matrix((np.linspace(1, 2, interactions.nnz), (interactions.row, interactions.col)))
    return {"sample_weight": weights}


JUDGED = {
    "identity_dropout": (0.5, lambda _: {}, ValueError),
    "cold_start": (
        "content",
        lambda _: {"item_features": np.hstack([np.eye(24), np.arange(1, 25)[:, None]])},
        ValueError,
    ),
    "linear_components": (3, lambda _: {"item_features": np.ones((24, 2))}, ValueError),
    "loss": ("warp-kos", with_weights, NotImplementedError),
}


@pytest.mark.parametrize("name", JUDGED)
def test_settings_of_a_callback_are_judged_with_the_input(data, name):
    value, describe, exception = JUDGED[name]
    model = LightFM(loss="bpr", random_state=1)
    with pytest.raises(exception, match=name if name != "loss" else "warp-kos"):
        model.fit(data[0], epochs=2, callbacks=[Settings("begin", **{name: value})], **describe(data[0]))
    assert model.item_embeddings is None


@pytest.mark.parametrize("name", ["cold_start", "loss"])
def test_settings_that_do_not_suit_the_input_end_training(data, name):
    value, describe, exception = JUDGED[name]
    model = LightFM(loss="bpr", random_state=1)
    with pytest.raises(exception, match=name if name != "loss" else "warp-kos"):
        model.fit(data[0], epochs=2, callbacks=[Settings("call", **{name: value})], **describe(data[0]))
    assert len(model.history_) == (1 if name == "loss" else 2)


def test_settings_of_begin_count_for_the_whole_run(data):
    weights = with_weights(data[0])
    model = LightFM(loss="bpr", random_state=1)
    model.fit(data[0], epochs=2, callbacks=[Settings("begin", feature_scaling="balanced")], **weights)
    balanced = LightFM(loss="bpr", feature_scaling="balanced", random_state=1).fit(data[0], epochs=2, **weights)
    assert_same_state(model, balanced)


def test_optuna_ends_trials_that_are_not_promising(data):
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    train, test = data
    lengths = []

    def objective(trial):
        model = LightFM(loss="warp", learning_rate=(0.05, 1e-9)[trial.number], random_state=1)
        pruning = OptunaPruning(trial, recall_at_k, test, train_interactions=train, k=5)
        try:
            model.fit(train, epochs=10, callbacks=[pruning])
        finally:
            lengths.append(len(model.history_))
        assert pruning.score_ == recall_at_k(model, test, train, k=5).mean()
        return pruning.score_

    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(1, 2))
    study.optimize(objective, n_trials=2)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED"]
    assert list(study.trials[0].intermediate_values) == list(range(1, 11))
    assert lengths[0] == 10 > lengths[1]
