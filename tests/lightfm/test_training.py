"""Training: seeds, histories, divergence, interrupts and progress."""

from __future__ import annotations

import ctypes
import functools
import itertools
import logging
import signal
import sys
import time

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

import lightfm_fast
from lightfm_fast import LightFM
from lightfm_fast._losses import LOSSES

from ..models import (
    N_ITEMS,
    N_USERS,
    SCHEDULES,
    assert_finite,
    assert_same_state,
    make_data,
    state_of,
)


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
    share = 0.9 if loss == "softmax" else 0.7  # of the logarithm of the pool's size
    assert model.history_[-1]["loss"] < share * model.history_[0]["loss"]


@pytest.mark.parametrize("loss", ["bpr", "warp", "warp-kos"])
def test_every_epoch_draws_other_items(loss):
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
    interactions = np.ones((1024, 512), dtype=np.float32)  # the core checks for signals once in between
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


@pytest.mark.parametrize("has_stdout", [True, False])
def test_verbose_without_standard_error_prints_a_line_an_epoch(monkeypatch, capsys, has_stdout):
    monkeypatch.setattr(sys, "stderr", None)  # as in a program with windows
    if not has_stdout:
        monkeypatch.setattr(sys, "stdout", None)
    LightFM().fit(np.eye(3), epochs=2, verbose=True)
    assert len(capsys.readouterr().out.splitlines()) == 2 * has_stdout


@pytest.mark.parametrize("has_tqdm", [True, False])
def test_verbose_names_what_comes_before_the_first_epoch(monkeypatch, capsys, has_tqdm):
    if has_tqdm:
        pytest.importorskip("tqdm")
    else:
        monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    interactions, _ = make_data()
    model = LightFM.recommended(random_state=1, no_components=4)
    model.fit(interactions, epochs=2, verbose=True)
    captured = capsys.readouterr()
    if has_tqdm:
        names = [line.partition(":")[0] for line in captured.err.split("\r") if "0/2" in line]
        distinct = [name for name, _ in itertools.groupby(names)]
        assert distinct == ["Epoch", "Choosing the L2 penalty", "Epoch", "Fitting the linear autoencoder", "Epoch"]
    else:
        lines = [" ".join(line.split()[:2]) for line in captured.out.splitlines()]
        assert lines == ["Choosing the", "item_alpha, user_alpha", "Fitting the", "Epoch 1", "Epoch 2"]


def test_verbose_logs_where_the_application_logs(monkeypatch, capsys, caplog):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    caplog.set_level(logging.INFO, logger="lightfm_fast")
    LightFM(random_state=1).fit(make_data()[0], epochs=1, verbose=True)
    assert [record.name for record in caplog.records] == ["lightfm_fast"]
    assert caplog.messages[0].startswith("Epoch 1 loss ")
    assert capsys.readouterr().out == ""


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
