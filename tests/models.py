"""Small data for models, the arrays that a model has learnt, and its scores by definition."""

import copy
import pickle
from itertools import combinations

import numpy as np
import scipy.sparse as sp
from numpy.testing import assert_array_equal

from lightfm_fast import LightFM

FIELDS = ("embeddings", "embedding_gradients", "embedding_momentum", "biases", "bias_gradients", "bias_momentum")
STATE = tuple(f"{side}_{field}" for side in ("item", "user") for field in FIELDS)
SCHEDULES = ("adagrad", "adadelta")
N_USERS, N_ITEMS = 30, 20
N_LIKING, N_KNOWN, N_NEW, N_TOPICS, N_TAGS = 60, 50, 10, 5, 12  # of make_cold_items


def make_data(seed=0):
    """Random interactions, and features of both sides: an indicator each and two shared, weighted columns."""
    rng = np.random.RandomState(seed)
    interactions = sp.coo_matrix((rng.rand(N_USERS, N_ITEMS) < 0.3).astype(np.float32))
    features = [
        sp.hstack([sp.identity(n_rows), rng.rand(n_rows, 2)], format="csr", dtype=np.float32)
        for n_rows in (N_USERS, N_ITEMS)
    ]
    return interactions, {"user_features": features[0], "item_features": features[1]}


def make_cold_items(seed=0):
    """Users like items of one topic, and tags tell topics. The last items have no interactions, and no identity."""
    rng = np.random.RandomState(seed)
    of_users, of_items = np.arange(N_LIKING) % N_TOPICS, np.arange(N_KNOWN + N_NEW) % N_TOPICS
    likes = rng.rand(N_LIKING, N_KNOWN + N_NEW) < np.where(of_users[:, None] == of_items, 0.6, 0.05)
    is_typical = np.arange(N_TAGS) % N_TOPICS == of_items[:, None]
    tags = (rng.rand(len(of_items), N_TAGS) < np.where(is_typical, 0.7, 0.1)).astype(np.float32)
    tags *= rng.uniform(0.5, 1.5, tags.shape).astype(np.float32)  # so that no two items are alike
    identity = sp.eye(len(of_items), N_KNOWN)
    features = sp.csr_matrix(sp.hstack([identity, tags]), dtype=np.float32)
    train, new = likes.copy(), likes.copy()
    train[:, N_KNOWN:], new[:, :N_KNOWN] = False, False
    return sp.coo_matrix(train.astype(np.float32)), sp.coo_matrix(new.astype(np.float32)), features


def state_of(model):
    return {name: np.array(getattr(model, name)) for name in STATE}


def assert_same_state(first, second):
    first, second = (state if isinstance(state, dict) else state_of(state) for state in (first, second))
    for name in STATE:
        assert_array_equal(first[name], second[name], err_msg=name)


def copies(model, folder):
    """Yield the model copied in every way: copied, pickled, saved and loaded, and loaded as a mapped file."""
    path = folder / "model.safetensors"
    model.save(path)
    yield copy.deepcopy(model)
    yield pickle.loads(pickle.dumps(model))
    yield LightFM.load(path)
    yield LightFM.load(path, mmap=True)


def assert_finite(model):
    for name, array in state_of(model).items():
        assert np.isfinite(array).all(), name


def drawn_model(n_users, n_items, no_components=5, whole_numbers=False, **features):
    """Parameters drawn at random; small whole numbers make scores that tie, and are exact in single precision."""
    model = LightFM(no_components, random_state=0)
    model.fit_partial(sp.coo_matrix((n_users, n_items), dtype=np.float32), epochs=0, **features)
    rng = np.random.RandomState(no_components)
    for name in ("user_embeddings", "item_embeddings", "user_biases", "item_biases"):
        shape = getattr(model, name).shape
        setattr(model, name, rng.randint(-1, 2, shape) if whole_numbers else rng.normal(size=shape))
    return model


def represent(model, side, features=None):
    """Return embeddings and biases of all rows in float64; with interactions="all" each pair is added up by itself."""
    embeddings, biases = (getattr(model, f"{side}_{field}").astype(np.float64) for field in ("embeddings", "biases"))
    weights = np.eye(len(biases)) if features is None else features.toarray().astype(np.float64)
    biases = weights @ biases
    if model.interactions == "all":
        biases += [sum(a @ b for a, b in combinations(row, 2)) for row in weights[:, :, None] * embeddings]
    return weights @ embeddings, biases


def score_all(model, user_features=None, item_features=None):
    """Return the scores of all users and items in float64; not of a model whose scores are cosines."""
    users, user_biases = represent(model, "user", user_features)
    items, item_biases = represent(model, "item", item_features)
    return users @ items.T + user_biases[:, None] + item_biases
