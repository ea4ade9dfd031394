"""The estimator's promises: training, seeds, state, hooks and scores."""

from __future__ import annotations

import copy
import ctypes
import functools
import importlib
import os
import pickle
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

import lightfm_fast
from lightfm_fast import LightFM
from lightfm_fast._losses import LOSSES
from lightfm_fast.datasets import fetch_movielens
from lightfm_fast.evaluation import auc_score, precision_at_k

from .models import N_ITEMS, N_USERS, SCHEDULES, STATE, assert_same_state, make_data, state_of


def assert_finite(model):
    for name, array in state_of(model).items():
        assert np.isfinite(array).all(), name


def scores_by_definition(model, user_features, item_features):
    users = user_features @ model.user_embeddings.astype(np.float64)
    items = item_features @ model.item_embeddings.astype(np.float64)
    return users @ items.T + (user_features @ model.user_biases)[:, None] + (item_features @ model.item_biases)


# ---------------------------------------------------------------------------------------------------- training


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("with_features", [False, True])
def test_same_seed_same_bits(loss, schedule, with_features):
    interactions, features = make_data()
    features = features if with_features else {}
    parameters = {"loss": loss, "learning_schedule": schedule, "random_state": 7}
    whole = LightFM(**parameters).fit(interactions, epochs=3, **features)
    first = state_of(whole)
    parts = LightFM(**parameters)
    for _ in range(3):
        parts.fit_partial(interactions, **features)
    assert_same_state(whole, parts)
    assert_same_state(whole.fit(interactions, epochs=3, **features), first)
    other_seed = LightFM(**{**parameters, "random_state": 8}).fit(interactions, epochs=3, **features)
    assert not np.array_equal(other_seed.item_embeddings, whole.item_embeddings)


def test_samples_in_another_container_train_the_same():
    interactions, _ = make_data()
    shuffled = np.random.RandomState(1).permutation(interactions.nnz)
    mixed = sp.coo_matrix((interactions.data, (interactions.row[shuffled], interactions.col[shuffled])), (30, 20))
    first, second = (LightFM(loss="warp", random_state=1).fit(matrix, epochs=2) for matrix in (interactions, mixed))
    assert_same_state(first, second)


def test_a_generator_as_random_state_goes_on():
    interactions, _ = make_data()
    generator = np.random.RandomState(3)
    model = LightFM(random_state=generator)
    assert model.random_state is generator
    assert model.initial_random_state is generator
    first = state_of(model.fit(interactions))
    assert_same_state(first, LightFM(random_state=np.random.RandomState(3)).fit(interactions))
    assert not np.array_equal(model.fit(interactions).item_embeddings, first["item_embeddings"])


def test_fit_resets_and_fit_partial_goes_on():
    interactions, features = make_data()
    model = LightFM(random_state=1)
    assert model.fit(interactions, epochs=2) is model
    assert [record["epoch"] for record in model.history_] == [1, 2]
    before = state_of(model)
    assert model.fit_partial(interactions) is model
    assert [record["epoch"] for record in model.history_] == [1, 2, 3]
    assert not np.array_equal(model.item_embeddings, before["item_embeddings"])
    model.fit(interactions, **features)
    assert len(model.history_) == 1
    assert model.item_embeddings.shape == (N_ITEMS + 2, 10)


def test_no_epochs_initialise_only():
    interactions, _ = make_data()
    model = LightFM(no_components=4, random_state=1).fit(interactions, epochs=0)
    assert model.history_ == []
    for side in ("item", "user"):
        embeddings = getattr(model, f"{side}_embeddings")
        assert np.abs(embeddings).max() <= 0.5 / 4
        assert np.ptp(embeddings) > 0.9 / 4
        assert not getattr(model, f"{side}_biases").any()
        assert (getattr(model, f"{side}_embedding_gradients") == 1).all()
        assert (getattr(model, f"{side}_bias_gradients") == 1).all()
    before = state_of(model)
    assert_same_state(model.fit_partial(interactions, epochs=0), before)


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("loss", ["warp", "warp-kos"])
def test_without_draws_nothing_is_trained(loss, schedule, num_threads):
    interactions, features = make_data()
    parameters = {"loss": loss, "learning_schedule": schedule, "item_alpha": 0.1, "user_alpha": 0.1, "random_state": 0}
    model = LightFM(max_sampled=0, **parameters).fit(interactions, epochs=0, **features)
    before = state_of(model)
    model.fit_partial(interactions, epochs=2, num_threads=num_threads, **features)
    for name, array in state_of(model).items():
        assert_array_equal(array, before[name], err_msg=name)


def test_every_epoch_moves_the_random_state_on():
    interactions, _ = make_data()
    model = LightFM(random_state=3).fit(interactions)
    states = [model.random_state.get_state()[1:3]]
    for _ in range(3):
        model.fit_partial(interactions)
        states.append(model.random_state.get_state()[1:3])
    assert len({(keys.tobytes(), place) for keys, place in states}) == 4
    whole = LightFM(random_state=3).fit(interactions, epochs=4)
    assert_array_equal(whole.random_state.get_state()[1], states[-1][0])
    assert_same_state(whole, model)


@pytest.mark.parametrize("loss", LOSSES)
def test_history_records_every_epoch(loss):
    interactions, features = make_data()
    started = time.perf_counter()
    model = LightFM(loss=loss, random_state=1).fit(interactions, epochs=30, **features)
    elapsed = time.perf_counter() - started
    assert [record["epoch"] for record in model.history_] == list(range(1, 31))
    for record in model.history_:
        assert set(record) == {"epoch", "loss", "seconds", "samples"}
        assert record["samples"] == interactions.nnz
        assert record["seconds"] > 0
    assert sum(record["seconds"] for record in model.history_) < elapsed
    share = 0.9 if loss == "softmax" else 0.7  # of the logarithm of a pool
    assert model.history_[-1]["loss"] < share * model.history_[0]["loss"]


@pytest.mark.parametrize("loss", ["bpr", "warp", "warp-kos"])
def test_every_epoch_draws_anew(loss):
    interactions, _ = make_data()
    model = LightFM(loss=loss, learning_rate=0.0, random_state=1).fit(interactions, epochs=5)
    assert len({record["loss"] for record in model.history_}) == 5


def test_history_reports_the_mean_loss():
    interactions, _ = make_data()
    interactions.data[::3] = -1
    model = LightFM(learning_rate=0.0, random_state=1).fit(interactions)
    scores = model.predict(interactions.row, interactions.col).astype(np.float64)
    labels = np.sign(interactions.data)
    assert_allclose(model.history_[0]["loss"], np.logaddexp(0, -labels * scores).mean(), rtol=1e-5)


@pytest.mark.parametrize("loss", ["bpr", "warp", "warp-kos"])
def test_ranking_losses_train_on_positives_only(loss):
    interactions, _ = make_data()
    both = sp.coo_matrix(np.where(interactions.toarray() > 0, 1, -np.eye(N_USERS, N_ITEMS)))
    model = LightFM(loss=loss, random_state=1).fit(both)
    assert model.history_[0]["samples"] == interactions.nnz < both.nnz


@pytest.mark.parametrize("loss", ["logistic", "bpr", "warp"])
def test_sample_weight_weighs_the_steps(loss):
    interactions, _ = make_data()
    weights = interactions.copy()

    def train(values):
        weights.data = np.full(interactions.nnz, values, dtype=np.float32)
        return LightFM(loss=loss, random_state=1).fit(interactions, sample_weight=weights)

    plain = LightFM(loss=loss, random_state=1).fit(interactions)
    assert_same_state(train(1), plain)
    start = LightFM(loss=loss, random_state=1).fit(interactions, epochs=0)
    nothing = train(0)
    assert_array_equal(nothing.item_embeddings, start.item_embeddings)
    assert_array_equal(nothing.user_embeddings, start.user_embeddings)
    assert not np.array_equal(train(3).item_embeddings, plain.item_embeddings)


def test_an_entry_given_twice_is_two_samples():
    twice = sp.coo_matrix((np.ones(4), ([0, 0, 1, 1], [1, 1, 0, 0])), shape=(2, 2))
    model = LightFM(random_state=1).fit(twice)
    assert model.history_[0]["samples"] == 4
    assert twice.nnz == 4


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    "interactions",
    [
        sp.coo_matrix((4, 5)),
        sp.coo_matrix(np.ones((4, 5))),
        sp.coo_matrix(-np.ones((4, 5))),
        sp.coo_matrix(np.ones((4, 1))),
        sp.coo_matrix(np.ones((1, 1))),
    ],
    ids=["empty", "full", "negative", "one item", "one cell"],
)
def test_extreme_interactions(loss, interactions):
    model = LightFM(loss=loss, random_state=1).fit(interactions, epochs=2)
    assert_finite(model)
    assert np.isfinite([record["loss"] for record in model.history_]).all()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_divergence_in_fit_partial_keeps_what_was_learned_before(loss, schedule):
    interactions, features = make_data()
    parameters = {"loss": loss, "learning_schedule": schedule, "random_state": 1}
    model, undisturbed = (LightFM(**parameters).fit(interactions, epochs=2, **features) for _ in range(2))
    huge = {**features, "item_features": features["item_features"] * np.float32(1e18)}
    with pytest.raises(ValueError, match="diverged in epoch 3"):
        model.fit_partial(interactions, epochs=5, **huge)
    assert_same_state(model, undisturbed)
    assert len(model.history_) == 2
    for train in ("fit_partial", "fit"):
        assert_same_state(*(getattr(m, train)(interactions, **features) for m in (model, undisturbed)))


def test_divergence_in_fit_keeps_what_was_learned_before():
    interactions, features = make_data()
    model = LightFM(random_state=1).fit(interactions, epochs=2, **features)
    before, history = state_of(model), list(model.history_)
    huge = {**features, "item_features": features["item_features"] * np.float32(1e18)}
    with pytest.raises(ValueError, match="diverged in epoch"):
        model.fit(interactions, epochs=5, **huge)
    assert_same_state(model, before)
    assert model.history_ == history


@pytest.mark.parametrize("with_features", [False, True])
@pytest.mark.parametrize("num_threads", [1, 2])
def test_divergence_from_the_learning_rate(with_features, num_threads):
    interactions, features = make_data()
    features = features if with_features else {}
    model = LightFM(learning_rate=1e30, random_state=1)
    with pytest.raises(ValueError, match="learning_rate"):
        model.fit(interactions, epochs=50, num_threads=num_threads, **features)
    assert model.item_embeddings is None


def test_ctrl_c_between_epochs_keeps_whole_epochs():
    class Interrupted(LightFM):
        def _run_epoch(self, *arguments):
            if len(self.history_) == 2:
                signal.raise_signal(signal.SIGINT)
            super()._run_epoch(*arguments)

    interactions, _ = make_data()
    model = Interrupted(random_state=1)
    with pytest.raises(KeyboardInterrupt):
        model.fit(interactions, epochs=5)
    assert_same_state(model, LightFM(random_state=1).fit(interactions, epochs=2))
    assert len(model.history_) == 2
    assert model.predict(0, [0]).shape == (1,)


@pytest.mark.parametrize("num_threads", [1, 2])
def test_ctrl_c_inside_an_epoch_stops_at_the_edge_of_a_block(monkeypatch, num_threads):
    interactions = np.ones((1024, 512), dtype=np.float32)  # the core looks at signals once in between
    start, whole = (LightFM(no_components=1, random_state=1).fit(interactions, epochs=n) for n in (0, 1))
    fit_epoch = lightfm_fast._core.engine.fit_epoch

    def interrupted(*arguments):
        # No byte code runs between the two calls, so that Python itself cannot handle the signal before the core.
        calls = [functools.partial(ctypes.pythonapi.PyErr_SetInterrupt), functools.partial(fit_epoch, *arguments)]
        return list(map(functools.partial.__call__, calls))[1]

    model = LightFM(no_components=1, random_state=1)
    monkeypatch.setattr(lightfm_fast._core.engine, "fit_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.fit(interactions, num_threads=num_threads)
    monkeypatch.undo()
    assert_finite(model)
    assert model.history_ == []
    for other in (start, whole):
        assert not np.array_equal(model.item_biases, other.item_biases)
    assert model.fit_partial(interactions).history_[0]["epoch"] == 1


def test_ctrl_c_before_training_changes_nothing(monkeypatch):
    class Interrupted(LightFM):
        def _initialize(self, *arguments):
            raise KeyboardInterrupt

    interactions, _ = make_data()
    model = LightFM(random_state=1).fit(interactions)
    before, history = state_of(model), model.history_
    model.__class__ = Interrupted
    with pytest.raises(KeyboardInterrupt):
        model.fit(interactions)
    assert_same_state(model, before)
    assert model.history_ is history


def test_ctrl_c_in_a_diverging_epoch_leaves_no_infinite_parameters(monkeypatch):
    interactions, _ = make_data()
    model = LightFM(random_state=1).fit(interactions)
    before = state_of(model)

    def interrupted(*_):
        model.item_embeddings[0] = np.inf
        raise KeyboardInterrupt

    monkeypatch.setattr(lightfm_fast._core.engine, "fit_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.fit_partial(interactions)
    assert_same_state(model, before)


@pytest.mark.parametrize("n_epochs", [0, 3])
def test_verbose_shows_a_progress_bar(capsys, n_epochs):
    pytest.importorskip("tqdm")
    interactions, _ = make_data()
    model = LightFM(random_state=1).fit(interactions, epochs=n_epochs, verbose=True)
    shown = capsys.readouterr().err
    assert f"{n_epochs}/{n_epochs}" in shown or n_epochs == 0
    assert n_epochs == 0 or f"{model.history_[-1]['loss']:.4f}" in shown


def test_verbose_without_tqdm_prints_a_line_an_epoch(monkeypatch, capsys):
    for name in [name for name in sys.modules if name.split(".")[0] == "tqdm"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    interactions, _ = make_data()
    model = LightFM(random_state=1).fit(interactions, epochs=2, verbose=True)
    losses = [record["loss"] for record in model.history_]
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" samples/s ")[0] for line in lines] == [
        f"Epoch {i + 1} loss {losses[i]:.4f}" for i in (0, 1)
    ]
    assert all(float(line.partition(" samples/s ")[2].replace(",", "")) > 0 for line in lines)
    model.fit(interactions)
    assert capsys.readouterr() == ("", "")


# ------------------------------------------------------------------------------- where LightFM is not correct


@pytest.mark.parametrize("loss", ["bpr", "warp", "warp-kos"])
@pytest.mark.parametrize("with_features", [False, True])
def test_user_biases_stay_still_under_ranking_losses(loss, with_features):
    interactions, features = make_data()
    model = LightFM(loss=loss, user_alpha=0.01, random_state=1)
    model.fit(interactions, epochs=3, **(features if with_features else {}))
    assert not model.user_biases.any()
    assert (model.user_bias_gradients == 1).all()
    assert model.item_biases.any()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_empty_feature_rows_are_zero_vectors(loss, schedule):
    interactions, features = make_data()
    features = {side: matrix.tolil() for side, matrix in features.items()}
    for matrix in features.values():
        matrix[:5] = 0
    interactions = sp.coo_matrix(np.maximum(interactions.toarray(), np.pad(np.ones((5, 5)), ((0, 25), (0, 15)))))
    model = LightFM(loss=loss, learning_schedule=schedule, random_state=1).fit(interactions, epochs=3, **features)
    assert_finite(model)
    assert_array_equal(model.predict([0, 1, 4], [0, 3, 4], **features), np.zeros(3))
    ranks = model.predict_rank(sp.csr_matrix(np.eye(N_USERS, N_ITEMS)), **features)
    assert np.isfinite(ranks.data).all()


@pytest.mark.parametrize("loss", ["warp", "warp-kos"])
@pytest.mark.parametrize("n_items", [1, 2, 3])
def test_tiny_catalogues(loss, n_items):
    interactions = sp.coo_matrix(np.eye(4, n_items) + np.eye(4, n_items, k=-2))
    model = LightFM(loss=loss, max_sampled=50, random_state=1).fit(interactions, epochs=5)
    assert_finite(model)


@pytest.mark.parametrize("loss", ["warp", "warp-kos"])
def test_the_rank_estimate_counts_items_not_feature_rows(loss):
    """Rows and columns of features beyond the catalogue change nothing of what the catalogue learns."""
    interactions, features = make_data()
    narrow = LightFM(loss=loss, random_state=1).fit(interactions, epochs=0, **features)
    wide_features = sp.block_diag([features["item_features"], sp.identity(500)], format="csr", dtype=np.float32)
    wide = LightFM(loss=loss, random_state=1)
    for name, array in state_of(narrow).items():
        padding = [(0, 500 if name.startswith("item") else 0)] + [(0, 0)] * (array.ndim - 1)
        setattr(wide, name, np.pad(array, padding, constant_values=1))
    narrow.random_state, wide.random_state = 5, 5
    narrow.fit_partial(interactions, epochs=2, **features)
    wide.fit_partial(interactions, epochs=2, **{**features, "item_features": wide_features})
    assert_array_equal(wide.item_embeddings[: N_ITEMS + 2], narrow.item_embeddings)
    assert_array_equal(wide.user_embeddings, narrow.user_embeddings)


def test_set_params_random_state():
    interactions, _ = make_data()
    model = LightFM(random_state=0).set_params(random_state=1)
    assert model.initial_random_state == model.get_params()["random_state"] == 1
    assert_same_state(model.fit(interactions), LightFM(random_state=1).fit(interactions))
    first = LightFM().set_params(random_state=np.random.RandomState(1)).fit(interactions)
    assert_same_state(first, model)


# ------------------------------------------------------------------------------------------------------- state


def test_state_is_none_until_fitted():
    assert all(getattr(LightFM(), name) is None for name in STATE)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_shapes_and_types_of_the_state(schedule):
    interactions, features = make_data()
    model = LightFM(no_components=3, learning_schedule=schedule).fit(interactions, **features)
    for name in STATE:
        array = getattr(model, name)
        rows = (N_ITEMS if name.startswith("item") else N_USERS) + 2
        assert array.dtype == np.float32
        assert array.shape == ((rows,) if "bias" in name else (rows, 3)), name
    assert (model.item_embedding_momentum.any()) == (schedule == "adadelta")


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_model_is_restored_from_its_arrays(loss, schedule):
    interactions, features = make_data()
    parameters = {"loss": loss, "learning_schedule": schedule, "no_components": 5}
    model = LightFM(**parameters, random_state=1).fit(interactions, epochs=2, **features)
    restored = LightFM(**parameters)
    for name, array in state_of(model).items():
        setattr(restored, name, array.astype(np.float64))
    assert_same_state(restored, model)
    users, items = np.arange(20), np.arange(20)
    assert_array_equal(restored.predict(users, items, **features), model.predict(users, items, **features))
    model.random_state = restored.random_state = 5
    model._seed, model._n_epochs = None, 0
    assert_same_state(restored.fit_partial(interactions, **features), model.fit_partial(interactions, **features))


def test_a_model_with_some_arrays_is_not_fitted():
    model = LightFM()
    model.item_embeddings = np.zeros((3, 10))
    with pytest.raises(ValueError, match="user_embeddings|item_"):
        model.predict(0, [0])


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", STATE)
def test_state_arrays_are_written_in_place(schedule, name):
    interactions, _ = make_data()
    model = LightFM(learning_schedule=schedule, random_state=1).fit(interactions)
    getattr(model, name)[3] = 0.25
    if not (schedule == "adagrad" and name.endswith("momentum")):  # AdaGrad has none: writing has no effect
        assert (getattr(model, name)[3] == 0.25).all()
    others = {other: array for other, array in state_of(model).items() if other != name}
    setattr(model, name, getattr(model, name) + 1)
    for other, array in others.items():
        assert_array_equal(getattr(model, other), array)
    assert_finite(model.fit_partial(interactions))


def test_scores_follow_the_assigned_state():
    interactions, _ = make_data()
    model = LightFM(random_state=1).fit(interactions)
    model.user_biases += 1
    model.item_embeddings[:] = 0
    assert_allclose(model.predict(2, [0, 3]), model.user_biases[2] + model.item_biases[[0, 3]], rtol=1e-6)


def test_growing_a_model_by_hand():
    """The recipe people used with LightFM: fit a fresh model for shapes, copy the known rows over, go on."""
    interactions, _ = make_data()
    model = LightFM(loss="warp", random_state=1).fit(interactions, epochs=3)
    scores = model.predict(np.arange(5), np.arange(5))
    larger = sp.coo_matrix((interactions.data, (interactions.row, interactions.col)), shape=(N_USERS + 4, N_ITEMS + 3))
    fresh = LightFM(loss="warp", random_state=2).fit(larger, epochs=0)
    for name in STATE:
        old, new = getattr(model, name), getattr(fresh, name)
        setattr(model, name, np.concatenate([old, new[len(old) :]]))
    assert_array_equal(model.predict(np.arange(5), np.arange(5)), scores)
    model.fit_partial(larger, epochs=2)
    assert model.predict([N_USERS + 3], [N_ITEMS + 2]).shape == (1,)
    assert len(model.history_) == 5


def test_arrays_that_do_not_agree_are_refused_before_use():
    interactions, _ = make_data()
    model = LightFM(random_state=1).fit(interactions)
    model.item_embeddings = np.zeros((N_ITEMS + 1, 10))
    for use in (lambda: model.predict(0, [0]), lambda: model.fit_partial(interactions)):
        with pytest.raises(ValueError, match="item_"):
            use()


@pytest.mark.parametrize("name", STATE)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_state_array_that_is_not_finite_is_refused(name, value):
    interactions, _ = make_data()
    model = LightFM(random_state=1).fit(interactions)
    before = state_of(model)
    with pytest.raises(ValueError, match=name):
        setattr(model, name, np.full_like(before[name], value))
    assert_same_state(model, before)


@pytest.mark.parametrize("item", [0, 511, 512, 1099])  # the core looks through 512 rows of this length at a time
@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_a_value_written_in_place_that_is_not_finite_is_found(item, value):
    interactions = sp.coo_matrix((np.ones(2, np.float32), ([0, 1], [3, 1099])))
    model = LightFM(64, random_state=1).fit(interactions)
    model.item_embeddings[item, -1] = value
    with pytest.raises(ValueError, match="item parameters hold NaN or infinity"):
        model.fit_partial(interactions)


@pytest.mark.parametrize("copied", [lambda m: m, copy.deepcopy])
def test_a_value_that_is_not_finite_is_found_whenever_it_is_written(copied):
    interactions = sp.coo_matrix((np.ones(2, np.float32), ([0, 1], [0, 1])))
    model = LightFM(4, random_state=1).fit(interactions)
    biases = model.user_biases
    model.fit_partial(interactions)
    biases[1] = np.nan
    with pytest.raises(ValueError, match="user parameters hold NaN or infinity"):
        copied(model).fit_partial(interactions)


@pytest.mark.parametrize("used", [lambda m: m.predict(0, [0]), lambda m: m.predict_rank(make_data()[0])])
@pytest.mark.parametrize("no_components", [5, 1000])
def test_another_length_of_embeddings_after_fitting_is_refused(used, no_components):
    interactions, _ = make_data()
    model = LightFM(random_state=1).fit(interactions).set_params(no_components=no_components)
    with pytest.raises(ValueError, match="no_components"):
        used(model)
    with pytest.raises(ValueError, match="no_components"):
        model.fit_partial(interactions)
    assert model.fit(interactions).item_embeddings.shape == (N_ITEMS, no_components)


def test_another_schedule_after_fitting():
    interactions, _ = make_data()
    model = LightFM(random_state=1).fit(interactions)
    scores = model.predict(0, np.arange(N_ITEMS))
    model.set_params(learning_schedule="adadelta")
    assert_array_equal(model.predict(0, np.arange(N_ITEMS)), scores)
    model.fit_partial(interactions)
    assert model.item_embedding_momentum.any()


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_predicts_and_trains_the_same(schedule, copied):
    interactions, features = make_data()
    model = LightFM(loss="warp", learning_schedule=schedule, random_state=1).fit(interactions, epochs=2, **features)
    other = copied(model)
    assert other.get_params() == model.get_params()
    assert other.history_ == model.history_
    assert_same_state(other, model)
    before = state_of(model)
    other.fit_partial(interactions, epochs=2, **features)
    assert_same_state(model, before)
    assert_same_state(model.fit_partial(interactions, epochs=2, **features), other)
    with pytest.raises(ValueError, match="item_features"):
        copied(model).predict(0, [0], user_features=features["user_features"])
    copied(LightFM()).fit(interactions)


# ------------------------------------------------------------------------------------------------------- hooks


class Recorder(LightFM):
    """Notes what each hook is called with."""

    def __init__(self, *arguments, **parameters):
        self.calls = []
        super().__init__(*arguments, **parameters)

    def _reset_state(self):
        self.calls.append(("reset_state",))
        super()._reset_state()

    def _check_initialized(self):
        self.calls.append(("check_initialized",))
        super()._check_initialized()

    def _initialize(self, no_components, no_item_features, no_user_features):
        self.calls.append(("initialize", no_components, no_item_features, no_user_features))
        super()._initialize(no_components, no_item_features, no_user_features)

    def _construct_feature_matrices(self, n_users, n_items, user_features, item_features):
        self.calls.append(("construct", n_users, n_items, user_features, item_features))
        return super()._construct_feature_matrices(n_users, n_items, user_features, item_features)

    def _run_epoch(self, item_features, user_features, interactions, sample_weight, num_threads, loss):
        self.calls.append(("run_epoch", item_features, user_features, interactions, sample_weight, num_threads, loss))
        super()._run_epoch(item_features, user_features, interactions, sample_weight, num_threads, loss)

    def taken(self):
        calls, self.calls = self.calls, []
        return calls


def test_hooks_are_called_as_lightfm_calls_them():
    interactions, features = make_data()
    model = Recorder(loss="warp", no_components=4, random_state=1)
    assert model.taken() == [("reset_state",)]
    model.fit(interactions, epochs=2, **features)
    reset, construct, initialize, first, second = model.taken()
    assert reset == ("reset_state",)
    assert construct == ("construct", N_USERS, N_ITEMS, features["user_features"], features["item_features"])
    assert initialize == ("initialize", 4, N_ITEMS + 2, N_USERS + 2)
    name, item_features, user_features, samples, weights, num_threads, loss = first
    assert all(a is b for a, b in zip(first, second, strict=True))
    assert (name, num_threads, loss) == ("run_epoch", 1, "warp")
    assert (item_features.format, item_features.dtype) == ("csr", np.float32)
    assert_array_equal(item_features.toarray(), features["item_features"].toarray())
    assert_array_equal(user_features.toarray(), features["user_features"].toarray())
    assert samples.format == "coo"
    assert_array_equal(samples.toarray(), interactions.toarray())
    assert weights.dtype == np.float32
    assert_array_equal(weights, np.ones(interactions.nnz))

    model.fit_partial(interactions, **features)
    assert [call[0] for call in model.taken()] == ["construct", "run_epoch"]
    model.predict([3, 1], [2, 8], **features)
    check, construct = model.taken()
    assert check == ("check_initialized",)
    assert construct[:3] == ("construct", 4, 9)
    model.predict_rank(interactions.tocsr(), **features)
    assert [call[0] for call in model.taken()] == ["check_initialized", "construct"]
    model.get_item_representations()
    model.get_user_representations()
    assert model.taken() == [("check_initialized",)] * 2


def test_a_subclass_starts_from_its_own_embeddings():
    interactions, _ = make_data()
    start = np.full((N_ITEMS, 6), 0.125, dtype=np.float32)

    class Pretrained(LightFM):
        def _initialize(self, *arguments):
            super()._initialize(*arguments)
            self.item_embeddings = start

    assert_array_equal(Pretrained(no_components=6).fit(interactions, epochs=0).item_embeddings, start)


def test_a_subclass_replaces_the_hooks_whole():
    interactions, _ = make_data()

    class Own(LightFM):
        def _reset_state(self):
            for name in STATE:
                setattr(self, name, None)

        def _initialize(self, no_components, no_item_features, no_user_features):
            for name in STATE:
                rows = no_item_features if name.startswith("item") else no_user_features
                shape = (rows,) if "bias" in name else (rows, no_components)
                setattr(self, name, np.full(shape, 0.5, dtype=np.float32))

        def _run_epoch(self, *arguments):
            self.item_biases[:] = 2

    model = Own(no_components=2).fit(interactions, epochs=2, verbose=True)
    assert_array_equal(model.predict(1, [0, 1]), np.full(2, 2 * 0.25 + 0.5 + 2))
    assert (Own().fit(interactions, epochs=0).item_biases == 0.5).all()


def test_a_subclass_makes_features_of_its_own():
    interactions, features = make_data()

    class Featured(LightFM):
        def _construct_feature_matrices(self, n_users, n_items, user_features, item_features):
            return super()._construct_feature_matrices(n_users, n_items, *features.values())

    own = Featured(random_state=1).fit(interactions)
    given = LightFM(random_state=1).fit(interactions, **features)
    assert_same_state(own, given)
    assert_array_equal(own.predict(0, [1, 2]), given.predict(0, [1, 2], **features))


def test_a_subclass_trains_on_a_part_and_keeps_every_epoch():
    interactions, _ = make_data()
    part = np.arange(0, interactions.nnz, 2)

    class Sampling(LightFM):
        def _run_epoch(self, item_features, user_features, interactions, sample_weight, num_threads, loss):
            samples = sp.coo_matrix(
                (interactions.data[part], (interactions.row[part], interactions.col[part])), interactions.shape
            )
            super()._run_epoch(item_features, user_features, samples, sample_weight[part], num_threads, loss)
            copies.append(copy.deepcopy(self))  # needs what pickling needs

    copies = []
    model = Sampling(random_state=1).fit(interactions, epochs=2)
    assert [len(saved.history_) for saved in copies] == [1, 2]
    assert [record["samples"] for record in model.history_] == [len(part)] * 2
    assert_same_state(model, copies[1])


# ------------------------------------------------------------------------------------------------------ scores


@pytest.mark.parametrize("no_components", [1, 10, 64, 65])
def test_predictions_are_the_models_scores(no_components):
    interactions, features = make_data()
    plain = LightFM(no_components=no_components, random_state=1).fit(interactions, epochs=3)
    hybrid = LightFM(no_components=no_components, random_state=1).fit(interactions, epochs=3, **features)
    users, items = (grid.ravel() for grid in np.indices((N_USERS, N_ITEMS)))
    for model, given, matrices in (
        (plain, {}, (sp.identity(N_USERS), sp.identity(N_ITEMS))),
        (hybrid, features, features.values()),
    ):
        for num_threads in (1, 2):
            scores = model.predict(users, items, num_threads=num_threads, **given)
            assert scores.dtype == np.float32
            expected = scores_by_definition(model, *matrices).ravel()
            assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)


def test_kinds_of_ids():
    interactions, _ = make_data()
    model = LightFM(random_state=1).fit(interactions)
    expected = model.predict([3, 3, 3], [0, 1, 2])
    for user in (3, np.int64(3), np.int32(3), np.uint8(3), np.array(3), 3.0):
        assert_array_equal(model.predict(user, [0, 1, 2]), expected)
    for items in ((0, 1, 2), range(3), np.arange(3, dtype=np.int64), np.arange(6)[::2] // 2, np.arange(3.0)):
        assert_array_equal(model.predict(3, items), expected)
    assert_array_equal(model.predict([3], [1]), expected[1:2])
    assert_array_equal(model.predict([1, 2], 4), model.predict([1, 2], [4, 4]))
    assert_array_equal(model.predict(3, 1), expected[1:2])
    assert_array_equal(model.predict([N_USERS - 1], [N_ITEMS - 1]).shape, (1,))


@pytest.mark.parametrize("empty", [[], (), np.array([], dtype=np.int32)])
def test_no_ids_no_scores(empty):
    interactions, features = make_data()
    model = LightFM(random_state=1).fit(interactions, **features)
    for users in (empty, 3):
        scores = model.predict(users, empty, **features)
        assert scores.shape == (0,)
        assert scores.dtype == np.float32


def test_features_of_new_items():
    interactions, features = make_data()
    model = LightFM(random_state=1).fit(interactions, **features)
    new = sp.csr_matrix(np.eye(1, N_ITEMS + 2, k=N_ITEMS), dtype=np.float32)
    known = features["user_features"]
    assert_allclose(
        model.predict(4, [0], item_features=new, user_features=known),
        scores_by_definition(model, known, new)[4],
        rtol=1e-4,
    )


def test_identity_features_may_be_left_out():
    interactions, _ = make_data()
    items, users = sp.identity(N_ITEMS, format="csr"), sp.identity(N_USERS, format="csr")
    given = LightFM(random_state=1).fit(interactions, item_features=items, user_features=users)
    left_out = LightFM(random_state=1).fit(interactions)
    assert_same_state(given, left_out)
    assert_array_equal(given.predict(0, [0, 1]), left_out.predict(0, [0, 1], item_features=items))


def test_predict_proba_is_the_logistic_function_of_the_score():
    interactions, _ = make_data()
    model = LightFM(random_state=1).fit(interactions, epochs=3)
    users, items = interactions.row, interactions.col
    probabilities = model.predict_proba(users, items)
    assert_allclose(probabilities, 1 / (1 + np.exp(-model.predict(users, items))), rtol=1e-6)
    model.user_biases[:2] = (300, -50)
    with np.errstate(all="raise"):
        assert_allclose(model.predict_proba([0, 1], [0, 0]), [1, np.exp(model.predict(1, [0])[0])], rtol=1e-5)


@pytest.mark.parametrize("loss", ["bpr", "warp", "warp-kos"])
def test_ranking_losses_have_no_probabilities(loss):
    interactions, _ = make_data()
    with pytest.raises(ValueError, match=loss):
        LightFM(loss=loss).fit(interactions).predict_proba(0, [0])


def ranks_by_definition(scores, test, train=None):
    ranks = np.zeros(scores.shape)
    for user, item in zip(*test.nonzero(), strict=True):
        others = np.arange(scores.shape[1]) != item
        if train is not None:
            others &= train[user] == 0
        ranks[user, item] = (scores[user, others] >= scores[user, item]).sum()
    return ranks


@pytest.mark.parametrize("with_features", [False, True])
@pytest.mark.parametrize("num_threads", [1, 2])
def test_ranks_count_the_items_that_score_at_least_as_high(with_features, num_threads):
    interactions, features = make_data()
    features = features if with_features else {}
    model = LightFM(random_state=1).fit(interactions, epochs=3, **features)
    users, items = (grid.ravel() for grid in np.indices(interactions.shape))
    scores = model.predict(users, items, **features).reshape(interactions.shape)
    test = (np.random.RandomState(2).rand(*interactions.shape) < 0.3) & (interactions.toarray() == 0)
    for train in (None, interactions):
        ranks = model.predict_rank(sp.csr_matrix(test), train, num_threads=num_threads, **features)
        assert isinstance(ranks, sp.csr_matrix)
        assert ranks.dtype == np.float32
        assert ranks.has_sorted_indices
        assert_array_equal(ranks.indices, sp.csr_matrix(test).indices)
        expected = ranks_by_definition(scores, test, None if train is None else train.toarray())
        assert_array_equal(ranks.toarray(), expected)


def test_ties_count_against_the_item():
    interactions, _ = make_data()
    model = LightFM(random_state=1).fit(interactions)
    model.item_embeddings[:] = 0
    model.item_biases[:] = 0
    model.item_biases[4] = 1
    ranks = model.predict_rank(sp.csr_matrix(np.ones((1, N_ITEMS))))
    assert_array_equal(ranks.toarray()[0], np.where(np.arange(N_ITEMS) == 4, 0, N_ITEMS - 1))


def test_unsorted_matrices_are_ranked_and_left_as_they_are():
    interactions, _ = make_data()
    model = LightFM(random_state=1).fit(interactions, epochs=3)
    test = sp.csr_matrix((np.ones(4), [9, 2, 7, 0], [0, 3, 4]), shape=(2, N_ITEMS))
    train = sp.csr_matrix((np.ones(4), [12, 5, 3, 1], [0, 4, 4]), shape=(2, N_ITEMS))
    copies = [array.copy() for matrix in (test, train) for array in (matrix.data, matrix.indices, matrix.indptr)]
    ranks = model.predict_rank(test, train)
    expected = model.predict_rank(sp.csr_matrix(test.toarray()), sp.csr_matrix(train.toarray()))
    assert_array_equal(ranks.toarray(), expected.toarray())
    after = [array for matrix in (test, train) for array in (matrix.data, matrix.indices, matrix.indptr)]
    for before, array in zip(copies, after, strict=True):
        assert_array_equal(before, array)


def test_intersections_are_refused_unless_told_otherwise():
    interactions, _ = make_data()
    model = LightFM(random_state=1).fit(interactions, epochs=3)
    with pytest.raises(ValueError, match=f"share {interactions.nnz}"):
        model.predict_rank(interactions, interactions)
    ranks = model.predict_rank(interactions, interactions, check_intersections=False)
    scores = np.array([model.predict(user, np.arange(N_ITEMS)) for user in range(N_USERS)])
    seen = interactions.toarray() > 0
    assert_array_equal(ranks.toarray(), ranks_by_definition(scores, seen, seen))


def test_no_entries_to_rank():
    interactions, _ = make_data()
    ranks = LightFM(random_state=1).fit(interactions).predict_rank(sp.csr_matrix(interactions.shape))
    assert ranks.shape == interactions.shape
    assert ranks.nnz == 0


def test_representations():
    interactions, features = make_data()
    model = LightFM(no_components=7, random_state=1).fit(interactions, epochs=2, **features)
    for side, get in (("item", model.get_item_representations), ("user", model.get_user_representations)):
        matrix = features[f"{side}_features"]
        own_biases, own_embeddings = getattr(model, f"{side}_biases"), getattr(model, f"{side}_embeddings")
        biases, embeddings = get()
        assert_array_equal(biases, own_biases)
        assert_array_equal(embeddings, own_embeddings)
        for given in (matrix, matrix.toarray(), matrix.tocoo(), matrix[:3]):
            biases, embeddings = get(given)
            assert biases.dtype == embeddings.dtype == np.float32
            assert_allclose(biases, given @ own_biases, rtol=1e-5, atol=1e-6)
            assert_allclose(embeddings, given @ own_embeddings, rtol=1e-5, atol=1e-6)


# -------------------------------------------------------------------------------------------------- MovieLens


@pytest.fixture(scope="module")
def movielens():
    folder = os.environ.get("LIGHTFM_FAST_DATA")
    if not folder or not Path(folder, "ml-100k.zip").is_file():
        pytest.skip("LIGHTFM_FAST_DATA names no folder with ml-100k.zip")
    return fetch_movielens(folder, min_rating=4.0, download_if_missing=False)


def quality(movielens, loss, seed, num_threads=1):
    model = LightFM(loss=loss, random_state=seed).fit(movielens["train"], epochs=10, num_threads=num_threads)
    test, train = movielens["test"], movielens["train"]
    return precision_at_k(model, test, train).mean(), auc_score(model, test, train).mean()


@pytest.mark.parametrize(
    ("loss", "precision", "auc"),
    [("logistic", 0.070, 0.875), ("bpr", 0.108, 0.850), ("warp", 0.120, 0.917), ("warp-kos", 0.110, 0.885)],
)
def test_quality_on_movielens(movielens, loss, precision, auc):
    found = np.mean([quality(movielens, loss, seed) for seed in range(3)], axis=0)
    assert found[0] > precision
    assert found[1] > auc


@pytest.mark.parametrize("loss", ["bpr", "warp"])
def test_two_threads_are_as_good_as_one_on_movielens(movielens, loss):
    one, two = (np.array([quality(movielens, loss, seed, n) for seed in range(5)]) for n in (1, 2))
    assert (np.abs(two.mean(axis=0) - one.mean(axis=0)) < np.ptp(one, axis=0)).all()


def test_the_history_of_movielens_falls(movielens):
    losses = [record["loss"] for record in LightFM(random_state=1).fit(movielens["train"], epochs=5).history_]
    assert losses == sorted(losses, reverse=True)


def test_one_import_changed(movielens, monkeypatch):
    """The code that LightFM's users start from runs as it is, with this package under the name they import."""
    names = ("", ".data", ".datasets", ".evaluation", ".cross_validation")
    for name in names:
        module = importlib.import_module(f"lightfm_fast{name}")
        monkeypatch.setitem(sys.modules, f"lightfm{name}", module)
    namespace = {}
    exec(
        """
from lightfm import LightFM
from lightfm.cross_validation import random_train_test_split
from lightfm.data import Dataset
from lightfm.datasets import fetch_movielens
from lightfm.evaluation import auc_score, precision_at_k, recall_at_k, reciprocal_rank

data = fetch_movielens(min_rating=5.0)
model = LightFM(loss="warp", random_state=1)
model.fit(data["train"], epochs=30, num_threads=2)
test_precision = precision_at_k(model, data["test"], k=5).mean()

n_users, n_items = data["train"].shape
known = data["item_labels"][data["train"].tocsr()[3].indices]
scores = model.predict(3, np.arange(n_items))
top = data["item_labels"][np.argsort(-scores)][:3]

train, test = random_train_test_split(data["train"], test_percentage=0.2, random_state=np.random.RandomState(1))
model = LightFM(no_components=30, loss="bpr", item_alpha=1e-6, random_state=1)
model.fit_partial(train, item_features=data["item_features"], epochs=10)
auc = auc_score(model, test, train_interactions=train, item_features=data["item_features"]).mean()
recall = recall_at_k(model, test, train, k=10, item_features=data["item_features"]).mean()
first = reciprocal_rank(model, test, train, item_features=data["item_features"]).mean()

dataset = Dataset()
dataset.fit((f"u{u}" for u in range(9)), (f"i{i}" for i in range(7)), item_features=["red", "blue"])
interactions, weights = dataset.build_interactions([("u1", "i2"), ("u3", "i4", 2.0)])
item_features = dataset.build_item_features([("i2", ["red"]), ("i4", {"blue": 0.5})])
model = LightFM(loss="bpr")
model.fit(interactions, item_features=item_features, sample_weight=weights)
user_biases, user_embeddings = model.get_user_representations()
""",
        {"np": np},
        namespace,
    )
    assert namespace["test_precision"] > 0.03
    assert len(namespace["top"]) == 3
    assert namespace["auc"] > 0.6
    assert namespace["recall"] > 0
    assert namespace["first"] > 0
    assert namespace["user_embeddings"].shape == (9, 10)


@pytest.fixture(autouse=True)
def ctrl_c_raises():
    """A shell that starts tests in the background has SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_divergence_on_any_thread_is_noticed():
    interactions = sp.coo_matrix(np.ones((64, 32), dtype=np.float32))
    user_features = sp.eye(64, format="csr", dtype=np.float32)
    user_features.data[40] = 1e20
    for seed in range(100):
        with pytest.raises(ValueError, match="diverged"):
            LightFM(random_state=seed).fit(interactions, user_features=user_features, num_threads=8)


def test_loss_may_be_a_numpy_string():
    losses = np.array(["warp", "bpr"])
    for loss in losses:
        LightFM(loss=loss).fit(sp.coo_matrix(np.eye(4)))
    with pytest.raises(ValueError, match="loss"):
        LightFM(loss=losses)


def test_strided_indices_are_accepted():
    pairs = np.array([[0, 1], [1, 0], [2, 2]], dtype=np.int32)
    interactions = sp.coo_matrix((np.ones(3), (pairs[:, 0], pairs[:, 1])), shape=(3, 3))
    contiguous = sp.coo_matrix(interactions.toarray())
    for loss in ("warp", "logistic"):
        model, other = (LightFM(loss=loss, random_state=1).fit(given) for given in (interactions, contiguous))
        np.testing.assert_array_equal(model.item_embeddings, other.item_embeddings)


def test_half_precision_is_accepted():
    half, single = (
        LightFM(random_state=1).fit(dense, item_features=dense) for dense in (np.eye(4, dtype=np.float16), np.eye(4))
    )
    assert_same_state(half, single)


def test_state_spoilt_in_place_is_refused_by_training():
    model = LightFM(random_state=1).fit(sp.coo_matrix(np.eye(4)))
    model.item_embeddings[0] = np.nan
    with pytest.raises(ValueError, match="item parameters hold NaN"):
        model.fit_partial(sp.coo_matrix(np.eye(4)))


def test_rows_asked_for_may_be_those_of_an_identity():
    features = sp.csr_matrix(np.array([[0, 2], [1, 0], [0, 1]], dtype=np.float32))
    model = LightFM(random_state=1).fit(sp.coo_matrix(np.ones((2, 3))), item_features=features)
    every = model.predict(0, [0, 1, 2], item_features=features)
    np.testing.assert_array_equal(model.predict(0, [2, 1], item_features=features), every[[2, 1]])
