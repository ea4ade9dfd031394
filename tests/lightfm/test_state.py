"""The state arrays are written in place, assigned and copied, and bad ones are refused."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from lightfm_fast import FMClassifier, LightFM, _cold_start
from lightfm_fast._arguments import DivergedError
from lightfm_fast._learned import Learned
from lightfm_fast._losses import LOSSES
from lightfm_fast.dask import DaskLightFM
from lightfm_fast.data import Dataset
from lightfm_fast.evaluation import evaluate
from lightfm_fast.features import Categorical, FeatureSpec, Text

from ..models import (
    N_ITEMS,
    N_KNOWN,
    N_LIKING,
    N_USERS,
    SCHEDULES,
    STATE,
    assert_finite,
    assert_same_state,
    make_cold_items,
    make_data,
    state_of,
)


def test_state_is_none_until_fitted():
    assert all(getattr(LightFM(), name) is None for name in STATE)


@pytest.mark.parametrize("make", [LightFM, DaskLightFM, FMClassifier, Categorical, lambda: FeatureSpec({"x": Text()})])
@pytest.mark.parametrize("is_fitted", [False, True])
def test_what_is_learned_is_not_assigned(make, is_fitted):
    learned = make()
    names = [name for kind in type(learned).__mro__ for name, value in vars(kind).items() if isinstance(value, Learned)]
    names += getattr(learned, "_fitted_names", ())
    assert names
    if is_fitted and isinstance(learned, LightFM):
        learned.fit(make_data()[0])
    elif is_fitted and isinstance(learned, FMClassifier):
        learned.fit([[0], [1]], [0, 1])
    elif is_fitted and isinstance(learned, Categorical):
        learned.fit(["a", "b"])
    before = dict(vars(learned))
    for name in names:
        for value in ("wrong", 3, [1, 2]):
            with pytest.raises((AttributeError, TypeError), match=f"{name} is "):
                setattr(learned, name, value)
        with pytest.raises(AttributeError, match=f"{name} is learned in training, and cannot be assigned or deleted"):
            delattr(learned, name)
    assert vars(learned) == before


def test_the_dataset_of_a_model_is_taken_away(tmp_path):
    dataset = Dataset()
    dataset.fit(range(N_USERS), range(N_ITEMS))
    LightFM().fit(make_data()[0]).save(tmp_path / "model", dataset=dataset)
    model = LightFM.load(tmp_path / "model")
    model.dataset_ = None
    model.save(tmp_path / "model")
    assert LightFM.load(tmp_path / "model").dataset_ is None


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
    """A recipe from LightFM: fit a new model for its shapes, copy the known rows into it, and continue."""
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


def with_newcomers():
    """Interactions whose last user and last item have no positives."""
    interactions, _ = make_data()
    return sp.coo_matrix((interactions.data, (interactions.row, interactions.col)), shape=(N_USERS + 1, N_ITEMS + 1))


def test_training_goes_on_with_embeddings_of_another_length(tmp_path):
    interactions = with_newcomers()
    model = LightFM(8, loss="bpr", random_state=1).fit(interactions, epochs=2)
    assert model.user_embeddings[N_USERS].any()  # placed where popular items score highest
    others = {name: array[:, :3] if array.ndim == 2 else array for name, array in state_of(model).items()}
    model.set_params(no_components=3).set_state(others)
    model.save(tmp_path / "model")
    loaded = LightFM.load(tmp_path / "model").fit_partial(interactions, epochs=2)
    model.fit_partial(interactions, epochs=2)
    assert_same_state(loaded, state_of(model))


@pytest.mark.parametrize("name", ["user_embeddings", "item_embeddings", "item_biases"])
def test_parameters_stay_finite_beside_values_near_the_largest(name):
    interactions = with_newcomers()
    model = LightFM(loss="bpr", random_state=1).fit(interactions)
    getattr(model, name)[N_USERS if name == "user_embeddings" else slice(None)] = 1e30  # of the user without positives
    model.fit_partial(interactions)
    assert all(np.isfinite(array).all() for array in model.get_state().values())


@pytest.mark.parametrize(("cold_start", "name", "value"), [
    ("mapping", "user_biases", 3e38), ("content", "item_biases", 1e30), ("auto", "item_embeddings", 3e38),
])  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
def test_newcomers_are_represented_by_finite_numbers_only(cold_start, name, value, tmp_path, monkeypatch):
    interactions, _, features = make_cold_items()
    interactions = sp.coo_matrix(interactions.toarray() * (np.arange(N_LIKING) < N_KNOWN)[:, None])
    monkeypatch.setattr(_cold_start, "rank_better", lambda *_: True)
    model = LightFM(loss="bpr", cold_start=cold_start, random_state=1)
    model.fit(interactions, user_features=features, item_features=features)
    before = state_of(model)

    def enlarge(model):
        getattr(model, name)[:] = value

    with pytest.raises(DivergedError, match="too large to represent new users and items"):
        model.fit_partial(interactions, user_features=features, item_features=features, callbacks=[enlarge])
    assert_same_state(model, before)
    model.save(tmp_path / "model")
    LightFM.load(tmp_path / "model")


@pytest.mark.parametrize("name", ["item_embeddings", "item_biases", "user_embeddings"])
def test_nan_is_neither_ranked_nor_saved(name, tmp_path):
    """NaN is not below anything, so a model of NaN alone would rank all test items first."""
    interactions, _ = make_data()
    model = LightFM(random_state=1).fit(interactions)
    model.save(tmp_path / "model")
    getattr(model, name)[2] = np.nan
    uses = [lambda: model.predict_rank(interactions), lambda: evaluate(model, interactions, check_intersections=False)]
    if name.startswith("item"):
        uses += [model.index, lambda: model.fold_in_users(interactions), model.to_matrix_factorization]
    for use in uses:
        with pytest.raises(ValueError, match=f"what represents {name[:4]}s is NaN or infinite"):
            use()
    with pytest.raises(ValueError, match=f"the {name[:4]} parameters hold NaN or infinity"):
        model.save(tmp_path / "model")
    assert np.isfinite(LightFM.load(tmp_path / "model").item_embeddings).all()


def test_a_model_that_could_not_be_loaded_is_not_saved(tmp_path):
    model = LightFM(random_state=1).fit(make_data()[0])
    for name, value in (("linear_components", "some"), ("loss", None), ("item_alpha", "auto")):
        changed = copy.deepcopy(model)
        setattr(changed, name, value)
        with pytest.raises(ValueError, match=f"^{name} is "):
            changed.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


FEW = sp.coo_matrix(np.array([[1, 1, 0, 0], [0, 1, 0, 1], [1, 0, 0, 0]], np.float32))
DESCRIBED = {"user_features": np.eye(3), "item_features": np.array([[1, 0], [0, 2], [1, 1], [0, 3]])}


@pytest.mark.parametrize("name", ["item_embeddings", "item_bias_gradients", "user_embedding_momentum"])
@pytest.mark.parametrize("settings", [{"linear_components": 2}, {"cold_start": "auto", "feature_scaling": "balanced"}])
def test_a_model_without_one_array_starts_anew(name, settings):
    interactions, features = make_data()
    given = {} if "linear_components" in settings else features
    model = LightFM(loss="bpr", random_state=1, **settings).fit(interactions, epochs=3, **given)
    setattr(model, name, None)
    model.fit_partial(FEW, epochs=2, **(DESCRIBED if given else {}))
    assert model.user_embeddings.shape[0] == 3
    assert [record["epoch"] for record in model.history_] == [1, 2]
    assert model.linear_components_ == settings.get("linear_components", 0)


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


def test_state_spoilt_in_place_is_refused_by_training():
    model = LightFM(random_state=1).fit(sp.coo_matrix(np.eye(4)))
    model.item_embeddings[0] = np.nan
    with pytest.raises(ValueError, match="item parameters hold NaN"):
        model.fit_partial(sp.coo_matrix(np.eye(4)))
