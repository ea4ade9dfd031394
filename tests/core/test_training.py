"""Whole epochs of the compiled core against the reference."""

import contextlib
import functools
import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose

from lightfm_fast import LightFM
from lightfm_fast._training_input import TrainingInput

from .reference import BIAS, EMBEDDING, CloseChoice, Trainer

N_USERS, N_ITEMS, N_FEATURES, N_SAMPLES, N_EPOCHS = 16, 20, 9, 200, 2
HIGH_FIRST_LOSS = pytest.mark.filterwarnings("ignore:the mean loss of epoch")  # parameters are drawn large
FIELDS = EMBEDDING + BIAS


def make_features(rng, n_rows):
    """Weights of both signs, two or three a row; the last row has none."""
    features = np.zeros((n_rows, N_FEATURES), dtype=np.float32)
    for row in features[:-1]:
        row[rng.choice(N_FEATURES, rng.randint(2, 4), replace=False)] = rng.uniform(-1, 1.5)
    return sp.csr_matrix(features)


def make_features_with_identity(rng, n_rows):
    """The same beside identity columns in random order; the last row has its identity only, the first row nothing."""
    features = sp.hstack([make_features(rng, n_rows), sp.identity(n_rows, format="csr")[:, rng.permutation(n_rows)]])
    features = features.tocsr()
    features.data[: features.indptr[1]] = 0
    return features


def make_input(loss, sides, identity_dropout=0):
    """Unsorted interactions, a third negative, some twice; weights; features of the named sides.

    One item has no interactions and one has dislikes alone.
    """
    rng = np.random.RandomState(3)
    users, items = rng.randint(N_USERS - 1, size=N_SAMPLES), rng.randint(N_ITEMS - 1, size=N_SAMPLES)
    items[items >= 6] += 1
    ratings = rng.choice([1, 2, -1], size=N_SAMPLES).astype(np.float32)
    ratings[items == 4] = -1
    given = {"interactions": sp.coo_matrix((ratings, (users, items)), shape=(N_USERS, N_ITEMS))}
    if loss != "warp-kos":
        weights = rng.uniform(0.5, 2, N_SAMPLES).astype(np.float32)
        given["sample_weight"] = sp.coo_matrix((weights, (users, items)), shape=(N_USERS, N_ITEMS))
    make = make_features_with_identity if identity_dropout else make_features
    if "users" in sides:
        given["user_features"] = make(rng, N_USERS)
    if "items" in sides:
        given["item_features"] = make(rng, N_ITEMS)
    return given


# Losses by name, each with its constructor's arguments.
VARIANTS = {
    "logistic": {},
    "bpr": {},
    "bpr, root of popularity": {"popularity_exponent": 0.5},
    "bpr, uniform": {"negatives": "uniform"},
    "bpr, hardest": {"negatives": "hardest", "n_negatives": 6},
    "warp": {},
    "warp-kos": {},
    "softmax": {"n_negatives": 12, "temperature": 0.5},
}
SEARCHING = ("bpr, hardest", "warp", "warp-kos")


def make_model(loss, schedule, n_components, given, **parameters):
    """Embeddings whose scores are about 1 in size, so that WARP finds margins of both kinds."""
    settings = {"loss": loss.split(",")[0], "item_alpha": 0.02, "user_alpha": 0.01, **VARIANTS[loss], **parameters}
    if loss in SEARCHING:  # so that rounding does not change sketches
        settings["learning_rate"] = 0.0003
    model = LightFM(n_components, 2, 3, schedule, max_sampled=8, **settings)
    model.fit_partial(**given, epochs=0)
    rng = np.random.RandomState(5)
    for side in ("user", "item"):
        for field in FIELDS:
            shape = getattr(model, f"{side}_{field}").shape
            if field.endswith("momentum"):
                values = rng.uniform(0, 0.01, shape) * (schedule == "adadelta")
            elif field.endswith("gradients"):
                values = rng.uniform(0.01, 1, shape) + (schedule == "adagrad")
            else:
                values = rng.normal(0, 0.9 if field == "biases" else n_components**-0.25, shape)
            setattr(model, f"{side}_{field}", values)
    return model


@functools.cache  # for every instruction-set level, and for tests of the same case
def train_reference(loss, schedule, sides, n_components, interactions, identity_dropout):
    """Use the first random state for which no choice depends on rounding."""
    given = make_input(loss, sides, identity_dropout)
    parameters = {"interactions": interactions, "identity_dropout": identity_dropout}
    for random_state in itertools.count():
        model = make_model(loss, schedule, n_components, given, random_state=random_state, **parameters)
        trainer = Trainer(model, **given, least=5e-4)
        seed = model.fit_partial(**given)._seed
        with contextlib.suppress(CloseChoice):
            losses = [trainer.run_epoch(seed, epoch) for epoch in range(N_EPOCHS)]
            return random_state, trainer, losses


def check_agreement(loss, schedule, sides, n_components, interactions="cross", identity_dropout=0):
    """Train as the reference does, and compare."""
    random_state, trainer, losses = train_reference(loss, schedule, sides, n_components, interactions, identity_dropout)
    given = make_input(loss, sides, identity_dropout)
    parameters = {"interactions": interactions, "identity_dropout": identity_dropout}
    model = make_model(loss, schedule, n_components, given, random_state=random_state, **parameters)
    assert_agree(model.fit_partial(**given, epochs=N_EPOCHS), trainer, losses)


@pytest.mark.parametrize("n_components", [1, 7, 8, 10, 32, 64, 65, 128])
@pytest.mark.parametrize("sides", ["identity", "users", "items", "users and items"])
@pytest.mark.parametrize("schedule", ["adagrad", "adadelta"])
@pytest.mark.parametrize("loss", VARIANTS)
def test_epochs_agree_with_reference(loss, schedule, sides, n_components):
    if loss == "softmax" and n_components == 1:
        pytest.skip("in one dimension cosines are 1 or -1, and slopes are rounding errors")
    check_agreement(loss, schedule, sides, n_components)


@HIGH_FIRST_LOSS
@pytest.mark.parametrize("n_components", [1, 10, 65])
@pytest.mark.parametrize("sides", ["identity", "users", "items", "users and items"])
@pytest.mark.parametrize("schedule", ["adagrad", "adadelta"])
@pytest.mark.parametrize("loss", ["logistic", "bpr", "bpr, hardest", "warp", "warp-kos", "softmax"])
@pytest.mark.parametrize(("interactions", "identity_dropout"), [("cross", 0.4), ("all", 0), ("all", 0.4)])
def test_pairs_within_and_identity_dropout_agree_with_reference(
    interactions, identity_dropout, loss, schedule, sides, n_components
):
    if identity_dropout and sides == "identity":
        pytest.skip("nothing to leave out")
    if loss == "softmax" and (interactions == "all" or n_components == 1):
        pytest.skip("refused, or rounding errors")
    check_agreement(loss, schedule, sides, n_components, interactions, identity_dropout)


class CopiedInput(TrainingInput):
    """Give one thread the rows of several threads: it works on copies of all rows with samples."""

    def __init__(self, *inputs, **options):
        super().__init__(*inputs, **options)
        self.rows = self.rows_with_copies(row_bytes=4, of_ids=True)
        assert any(copied is not None and len(copied) > 3 for *_, copied in self.rows)


@pytest.mark.parametrize("n_components", [10, 64])
@pytest.mark.parametrize("schedule", ["adagrad", "adadelta"])
@pytest.mark.parametrize("sides", ["identity", "users", "items", "users and items"])
@pytest.mark.parametrize("identity_dropout", [0, 0.4])
@pytest.mark.parametrize("loss", VARIANTS)
def test_one_thread_with_copies_agrees_with_reference(
    loss, identity_dropout, sides, schedule, n_components, monkeypatch
):
    if identity_dropout and sides == "identity":
        pytest.skip("nothing to leave out")
    train_reference(loss, schedule, sides, n_components, "cross", identity_dropout)  # without copies
    monkeypatch.setattr("lightfm_fast._training.TrainingInput", CopiedInput)
    monkeypatch.setattr("lightfm_fast._training_input.COPIED_FROM", 1)
    check_agreement(loss, schedule, sides, n_components, identity_dropout=identity_dropout)


def assert_agree(model, trainer, losses):
    atol = 2e-4 * min(1, model.learning_rate / 0.05)  # steps are as long as the learning rate
    for name, side in (("user", trainer.users), ("item", trainer.items)):
        for field in FIELDS:
            assert_allclose(
                getattr(model, f"{name}_{field}"), side.state[field], rtol=2e-3, atol=atol, err_msg=f"{name}_{field}"
            )
    assert_allclose([record["loss"] for record in model.history_], losses, rtol=2e-4)
    assert [record["samples"] for record in model.history_] == [len(trainer.samples)] * N_EPOCHS


@pytest.mark.parametrize(
    ("loss", "side"),
    [("logistic", None), ("bpr, hardest", "item"), ("bpr, hardest", "user"), ("warp", "item"), ("warp-kos", "item")],
)
def test_samples_of_few_users_are_taken_apart_as_by_the_reference(loss, side):
    model, given = make_few_users(loss, side)
    model.fit_partial(**given, epochs=N_EPOCHS)
    assert_agree(model, *train_few_users_reference(loss, side, model._seed))


def make_few_users(loss, side):
    """Enough samples for pairs of groups, and a rest that is visited in order."""
    shape = (10, 480)
    ratings = np.random.RandomState(3).choice([1, 1, -1], size=shape).astype(np.float32)
    given = {"interactions": sp.coo_matrix(ratings)}
    if side is not None:
        n_rows = dict(zip(("user", "item"), shape, strict=True))[side]
        given[f"{side}_features"] = make_features(np.random.RandomState(4), n_rows)
    return make_model(loss, "adagrad", 10, given, random_state=0), given


@functools.cache
def train_few_users_reference(loss, side, seed):
    model, given = make_few_users(loss, side)
    trainer = Trainer(model, **given)
    return trainer, [trainer.run_epoch(seed, epoch) for epoch in range(N_EPOCHS)]


def make_full_groups(loss, random_state):
    """Enough samples to fill groups, and searches long enough to draw again."""
    interactions = sp.coo_matrix(np.random.RandomState(0).rand(100, 170) < 0.18)
    model = LightFM(4, loss=loss, learning_rate=1e-3, max_sampled=40, random_state=random_state)
    model.fit_partial(interactions, epochs=0)
    rng = np.random.RandomState(5)
    model.user_embeddings, model.item_embeddings = rng.normal(0, 1.5, (100, 4)), rng.normal(0, 1.5, (170, 4))
    return model, interactions


@functools.cache
def train_full_groups_reference(loss):
    for random_state in itertools.count():
        model, interactions = make_full_groups(loss, random_state)
        trainer = Trainer(model, interactions, least=1e-5)
        seed = model.fit_partial(interactions)._seed
        with contextlib.suppress(CloseChoice):
            return random_state, trainer, trainer.run_epoch(seed, 0)


@HIGH_FIRST_LOSS
@pytest.mark.parametrize("loss", ["bpr", "warp", "warp-kos"])
def test_full_groups_agree_with_reference(loss):
    random_state, trainer, mean = train_full_groups_reference(loss)
    model, interactions = make_full_groups(loss, random_state)
    model.fit_partial(interactions)
    for name, side in (("user", trainer.users), ("item", trainer.items)):
        for field in FIELDS:
            assert_allclose(getattr(model, f"{name}_{field}"), side.state[field], rtol=1e-3, atol=1e-5)
    assert model.history_[0]["loss"] == pytest.approx(mean, rel=1e-4)


def assert_epoch_agrees(model, trainer, loss):
    for name, side in (("user", trainer.users), ("item", trainer.items)):
        for field in FIELDS:
            assert_allclose(getattr(model, f"{name}_{field}"), side.state[field], rtol=2e-3, atol=5e-5)
    assert model.history_[0]["loss"] == pytest.approx(loss, rel=1e-5)


@functools.cache
def train_long_reference(loss, seed):
    model, interactions = make_long_run(loss)
    trainer = Trainer(model, interactions)
    return trainer, trainer.run_epoch(seed, 0)


def make_long_run(loss):
    """Enough samples (128 x 64 and more) that tasks have several batches of draws, and users several rows."""
    interactions = sp.coo_matrix(np.random.RandomState(0).rand(100, 170) < 0.5)
    settings = {"loss": loss.split(",")[0], "learning_rate": 0.01, **VARIANTS[loss]}
    if loss == "softmax":
        settings["init_scale"] = 1.0
    if loss == "bpr, hardest":  # so that rounding does not change which is the hardest
        settings |= {"init_scale": 1.0, "learning_rate": 0.001}
    model = LightFM(4, random_state=7, **settings)
    return model.fit_partial(interactions, epochs=0), interactions


@pytest.mark.parametrize("loss", ["bpr", "bpr, hardest", "softmax"])
def test_long_epoch_agrees_with_reference(loss):
    model, interactions = make_long_run(loss)
    model.fit_partial(interactions)
    trainer, loss = train_long_reference(loss, model._seed)
    assert_epoch_agrees(model, trainer, loss)


def make_repeated_pairs(loss):
    """Several samples of a group have the same user and positive."""
    pairs = np.argwhere((np.arange(40) % 4 == np.arange(4)[:, None]) | (np.random.RandomState(0).rand(4, 40) < 0.1))
    rows, columns = np.repeat(pairs, 200, axis=0).T
    interactions = sp.coo_matrix((np.ones(len(rows), np.float32), (rows, columns)), (4, 40))
    settings = {"loss": loss.split(",")[0], "learning_rate": 0.01, "init_scale": 1.0, **VARIANTS[loss]}
    return LightFM(4, random_state=7, **settings).fit_partial(interactions, epochs=0), interactions


@functools.cache
def train_repeated_pairs_reference(loss, seed):
    trainer = Trainer(*make_repeated_pairs(loss))
    return trainer, trainer.run_epoch(seed, 0)


@pytest.mark.parametrize("loss", ["bpr", "bpr, hardest", "warp"])
def test_repeated_pairs_agree_with_reference(loss):
    model, interactions = make_repeated_pairs(loss)
    model.fit_partial(interactions)
    trainer, loss = train_repeated_pairs_reference(loss, model._seed)
    assert_epoch_agrees(model, trainer, loss)
