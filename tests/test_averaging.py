"""average=True ends a call with means over its epochs, of which later ones count more."""

from __future__ import annotations

import os

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from benchmarks import quality_sets
from lightfm_fast import LightFM, load
from lightfm_fast.callbacks import EarlyStopping, StopTraining
from lightfm_fast.evaluation import ndcg_at_k

from .models import assert_same_state, make_cold_items, make_data, state_of

LEARNED = ("item_embeddings", "item_biases", "user_embeddings", "user_biases")
EPOCHS = 6


def means_of(states):
    """Epoch t moves the mean by 4 / (t + 3) of the way to the parameters."""
    means = {name: np.zeros(states[0][name].shape) for name in LEARNED}
    for t, state in enumerate(states, 1):
        for name, mean in means.items():
            mean += 4 / (t + 3) * (state[name].astype(np.float64) - mean)
    return means


def assert_means(model, means):
    for name, mean in means.items():
        assert_allclose(getattr(model, name), mean, rtol=1e-4, atol=1e-6, err_msg=name)


def states_of_epochs(settings, interactions, features, epochs=EPOCHS):
    """Return the state after each epoch of training without means."""
    states = []
    LightFM(**settings, average=False).fit(
        interactions, **features, epochs=epochs, callbacks=[lambda model: states.append(state_of(model))]
    )
    return states


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": "bpr", "negatives": "hardest", "item_alpha": 0.05, "user_alpha": 0.05},
        {"loss": "warp", "learning_schedule": "adadelta"},
        {"loss": "softmax"},
        {"loss": "logistic", "no_components": 40},
        {"loss": "warp-kos", "interactions": "all"},
    ],
)
@pytest.mark.parametrize("has_features", [False, True])
def test_means_agree_with_the_formula_for_every_loss_and_schedule(settings, has_features):
    interactions, features = make_data()
    features = features if has_features else {}
    settings = {"random_state": 3, **settings}
    states = states_of_epochs(settings, interactions, features)
    model = LightFM(**settings, average=True).fit(interactions, **features, epochs=EPOCHS)
    assert_means(model, means_of(states))
    last = states[-1]
    assert not np.allclose(model.item_embeddings, last["item_embeddings"], rtol=1e-3)
    assert_array_equal(model.item_embedding_gradients, last["item_embedding_gradients"])


def test_more_rows_than_are_averaged_at_once():
    rng = np.random.RandomState(0)
    interactions = np.zeros((3, 9000), dtype=np.float32)
    interactions[rng.randint(0, 3, 4000), rng.permutation(9000)[:4000]] = 1
    settings = {"loss": "bpr", "no_components": 4, "random_state": 1}
    states = states_of_epochs(settings, interactions, {}, 3)
    model = LightFM(**settings, average=True).fit(interactions, epochs=3)
    met = interactions.any(axis=0)  # others are placed at the end
    means = means_of(states)
    assert_allclose(model.item_embeddings[met], means["item_embeddings"][met], rtol=1e-4, atol=1e-6)


def test_callbacks_see_the_means_so_far_and_do_not_disturb_training():
    interactions, features = make_data()
    settings = {"loss": "bpr", "random_state": 3}
    states = states_of_epochs(settings, interactions, features)
    seen = []
    looked_at = LightFM(**settings, average=True).fit(
        interactions, **features, epochs=EPOCHS, callbacks=[lambda model: seen.append(state_of(model))]
    )
    assert_same_state(looked_at, LightFM(**settings, average=True).fit(interactions, **features, epochs=EPOCHS))
    for number, state in enumerate(seen, 1):
        for name, mean in means_of(states[:number]).items():
            assert_allclose(state[name], mean, rtol=1e-4, atol=1e-6)


def test_parameters_that_a_callback_writes_begin_new_means():
    interactions, features = make_data()
    settings = {"loss": "bpr", "random_state": 3}
    states = []

    def write(model):
        if len(model.history_) == 2:
            model.item_embeddings = np.full_like(model.item_embeddings, 0.25)
            model.user_embeddings[:] = 0.5
            model.item_biases[:], model.user_biases[:] = 0, 0
        states.append(state_of(model))

    LightFM(**settings).fit(interactions, **features, epochs=5, callbacks=[write])
    model = LightFM(**settings, average=True).fit(interactions, **features, epochs=5, callbacks=[write])
    assert_means(model, means_of(states[2:5]))
    ended = LightFM(**settings, average=True).fit(interactions, **features, epochs=2, callbacks=[write])
    assert (ended.item_embeddings == 0.25).all()


def test_a_call_of_one_epoch_has_nothing_to_average():
    interactions, features = make_data()
    models = [LightFM(loss="warp", random_state=1, average=average) for average in (False, True)]
    for model in models:
        model.fit(interactions, **features)
        model.fit_partial(interactions, **features)
    assert_same_state(*models)


def test_means_begin_with_each_call_and_go_on_from_the_last_ones():
    interactions, features = make_data()
    first = LightFM(loss="warp", random_state=1, average=True).fit(interactions, **features, epochs=3)
    states = []
    first.set_params(average=False)
    first.fit_partial(interactions, **features, epochs=3, callbacks=[lambda model: states.append(state_of(model))])
    both = LightFM(loss="warp", random_state=1, average=True).fit(interactions, **features, epochs=3)
    assert_means(both.fit_partial(interactions, **features, epochs=3), means_of(states))


@pytest.mark.parametrize("exception", [StopTraining, KeyboardInterrupt, RuntimeError])
def test_training_that_ends_early_leaves_the_means(exception):
    interactions, features = make_data()
    settings = {"loss": "bpr", "random_state": 3}

    def end(model):
        if len(model.history_) == 4:
            raise exception

    model = LightFM(**settings, average=True)
    if exception is StopTraining:
        model.fit(interactions, **features, epochs=9, callbacks=[end])
    else:
        with pytest.raises(exception):
            model.fit(interactions, **features, epochs=9, callbacks=[end])
    assert_means(model, means_of(states_of_epochs(settings, interactions, features, 4)))


def test_training_that_diverges_leaves_the_model_as_it_was():
    interactions, features = make_data()
    model = LightFM(loss="bpr", random_state=3, average=True).fit(interactions, **features, epochs=3)
    before = state_of(model)

    def shorten(model):
        model.learning_rate_factor = 1e38

    with pytest.raises(ValueError, match="diverged"):
        model.fit_partial(interactions, **features, epochs=5, callbacks=[shorten])
    assert_same_state(model, before)


def test_early_stopping_judges_and_keeps_means():
    train, _, features = make_cold_items()
    settings = {"loss": "bpr", "random_state": 0}
    states = states_of_epochs(settings, train, {"item_features": features}, 5)
    scores = iter([0.1, 0.2, 0.9, 0.3, 0.2])
    stopping = EarlyStopping(lambda model: next(scores), patience=9)
    model = LightFM(**settings, average=True).fit(train, item_features=features, epochs=5, callbacks=[stopping])
    assert_means(model, means_of(states[:3]))


def test_means_are_saved_and_copied(tmp_path):
    interactions, features = make_data()
    model = LightFM(loss="warp", random_state=1, average=True).fit(interactions, **features, epochs=3)
    model.save(tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    assert loaded.average is True
    assert_same_state(loaded, model)


def test_means_of_shards_are_those_of_memory(tmp_path):
    pytest.importorskip("pyarrow")
    from lightfm_fast.sharded import ShardedDataset

    rng = np.random.default_rng(0)
    views = {"user": rng.integers(60, size=900), "item": rng.integers(30, size=900)}
    shards = ShardedDataset.from_tables([views], tmp_path / "views", user="user", item="item", n_shards=3)
    settings = {"loss": "bpr", "random_state": 3}
    states = states_of_epochs(settings, shards, {})
    assert_means(LightFM(**settings, average=True).fit(shards, epochs=EPOCHS), means_of(states))


@pytest.mark.skipif("LIGHTFM_FAST_DATA" not in os.environ, reason="MovieLens 100K is not there")
def test_means_rank_real_data_better():
    split = quality_sets.SETS["ml-100k"](0, False)
    train, test = split.train, split.held_out
    gains = []
    for seed in range(3):
        of_both = []
        for average in (False, True):
            model = LightFM.recommended(random_state=seed, item_alpha=0.05, user_alpha=0.05, average=average)
            model.fit(train, epochs=25)
            of_both.append(ndcg_at_k(model, test, train, k=20).mean())
        gains.append(of_both[1] - of_both[0])
    assert np.mean(gains) > 0
