"""Requests for one user by items in 7 bits: the same answers, and none that is out of date."""

import copy
import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal

from lightfm_fast import LightFM
from lightfm_fast._matrices import check_features, sealed

N_USERS, N_ITEMS = 40, 9000


def model_of(rng, **parameters):
    model = LightFM(no_components=12, random_state=0, **parameters)
    model.fit_partial(sp.coo_matrix((N_USERS, N_ITEMS), dtype=np.float32), epochs=0)
    model.item_embeddings = rng.randn(N_ITEMS, 12) * rng.exponential(1, (N_ITEMS, 1))
    model.user_embeddings, model.item_biases = rng.randn(N_USERS, 12), rng.randn(N_ITEMS)
    return model


def featured(rng, **parameters):
    tags = sp.random(N_ITEMS, 50, density=0.06, format="csr", random_state=rng, dtype=np.float32)
    features = sp.hstack([sp.identity(N_ITEMS, dtype=np.float32), tags], format="csr")
    train = sp.random(N_USERS, N_ITEMS, density=0.005, format="coo", random_state=rng, dtype=np.float32)
    return LightFM(random_state=0, **parameters).fit(train, item_features=features, epochs=2), features


def is_quick(model):
    return model._quick._quick is not None


def assert_same_as_without(model, user=3, n=10, **arguments):
    """Compare with the answer of a copy of the model, which scores all items at its first request."""
    expected = copy.deepcopy(model).recommend(user, n, **arguments)
    found = model.recommend(user, n, **arguments)
    assert_array_equal(found.ids, expected.ids)
    assert found.scores.tobytes() == expected.scores.tobytes()


@pytest.mark.parametrize("loss", ["bpr", "softmax"])  # softmax ranks by cosines
@pytest.mark.parametrize("num_threads", [1, 2])
def test_answers_have_the_same_bits(loss, num_threads):
    rng = np.random.RandomState(0)
    model = model_of(rng, loss=loss)
    with_twins = np.array(model.item_embeddings)
    with_twins[100:110], with_twins[500] = with_twins[8000], 0  # ties
    model.item_embeddings = with_twins
    seen = sp.random(N_USERS, N_ITEMS, density=0.01, format="csr", random_state=rng)
    for user in range(N_USERS):
        assert_same_as_without(model, user, 1 + user, num_threads=num_threads)
        assert_same_as_without(model, user, 1 + user, interactions=seen, num_threads=num_threads)
    assert is_quick(model)


@pytest.mark.parametrize("parameters", [{}, {"feature_scaling": "balanced"}, {"interactions": "all"}])
def test_answers_with_features_have_the_same_bits(parameters):
    model, features = featured(np.random.RandomState(0), **parameters)
    for user in range(10):
        assert_same_as_without(model, user, item_features=features)
        assert_same_as_without(model, user, item_features=features.copy())  # the same contents
    assert is_quick(model)


def test_sealed_features_are_recognised_by_identity():
    model, features = featured(np.random.RandomState(0))
    first, second = (sealed(check_features(matrix, "item", N_ITEMS)) for matrix in (features, features * 2))
    for matrix in (first, first, second, second, first.copy(), first, first):
        assert_same_as_without(model, 0, item_features=matrix)
    assert is_quick(model)


def test_features_changed_in_place_are_noticed():
    model, features = featured(np.random.RandomState(0))
    for _ in range(3):
        best = model.recommend(0, 1, item_features=features).ids[0, 0]
    features.data[features.indptr[best] : features.indptr[best + 1]] = 0
    for _ in range(3):
        assert_same_as_without(model, 0, item_features=features)


CHANGES = {
    "assigned": lambda model: setattr(model, "item_embeddings", -np.array(model.item_embeddings)),
    "in place": lambda model: np.negative(model.item_embeddings, out=model.item_embeddings),
    "biases": lambda model: np.negative(model.item_biases, out=model.item_biases),
    "trained": lambda model: model.fit_partial(sp.random(N_USERS, N_ITEMS, 0.01, random_state=0), epochs=1),
    "state": lambda model: model.set_state(
        {name: -array for name, array in model.get_state().items() if "emb" in name and "grad" not in name}
    ),
    "loss": lambda model: model.set_params(loss="softmax"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changes_of_the_model_are_noticed(change):
    model = model_of(np.random.RandomState(1))
    for _ in range(3):
        model.recommend(3)
    assert is_quick(model)
    CHANGES[change](model)
    for _ in range(3):
        assert_same_as_without(model)


@pytest.mark.parametrize("view", [lambda array: array, lambda array: array[:5], lambda array: memoryview(array)])
def test_nothing_is_kept_while_somebody_can_write(view):
    model = model_of(np.random.RandomState(1))
    held = view(model.item_embeddings)
    for _ in range(3):
        before = model.recommend(3)
        assert not is_quick(model)
    np.asarray(held)[0] = 100 * np.asarray(model.user_embeddings)[3]
    assert model.recommend(3).ids[0, 0] == 0 != before.ids[0, 0]
    del held
    for _ in range(3):
        assert_same_as_without(model)
    assert is_quick(model)


def test_a_failed_fit_restores_what_requests_see():
    model = model_of(np.random.RandomState(1))
    for _ in range(3):
        before = model.recommend(3)
    model.learning_rate = 1e30
    with pytest.raises(ValueError, match="diverged"):
        model.fit_partial(sp.random(N_USERS, N_ITEMS, 0.01, random_state=0), epochs=3)
    for _ in range(3):
        assert_array_equal(model.recommend(3).ids, before.ids)


def test_pickles_hold_no_copy():
    model = model_of(np.random.RandomState(1))
    size = len(pickle.dumps(model))
    for _ in range(3):
        model.recommend(3)
    assert len(pickle.dumps(model)) == size
    assert not is_quick(pickle.loads(pickle.dumps(model)))


def test_parameters_without_sound_bounds_are_scored_exactly():
    model = model_of(np.random.RandomState(1))
    model.item_embeddings = np.where(np.arange(N_ITEMS)[:, None] == 7, 1e20, np.array(model.item_embeddings))
    for _ in range(3):
        assert_same_as_without(model)
    assert not is_quick(model)
