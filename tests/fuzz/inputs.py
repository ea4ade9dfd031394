"""Random input of every documented shape, and values that no argument expects."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from lightfm_fast import LightFM
from lightfm_fast._losses import LOSSES

CONTAINERS = (
    sp.coo_matrix,
    sp.csr_matrix,
    sp.csc_matrix,
    sp.coo_array,
    sp.csr_array,
    sp.csc_array,
    sp.lil_matrix,
    np.asarray,
)
SHAPES = ((1, 1), (1, 4), (4, 1), (2, 3), (7, 5), (12, 9), (30, 20), (3, 400), (400, 3))

HUGE = 10**400
NUMBERS: tuple[Any, ...] = (
    HUGE,
    -HUGE,
    2**31 - 1,
    2**31,
    2**32,
    2**63 - 1,
    2**63,
    2**64,
    1e300,
    -1e300,
    1e-300,
    5e-324,
    3.5e38,
    float("nan"),
    float("inf"),
    -float("inf"),
    -1,
    0,
    -0.0,
    1,
    0.5,
    1 + 0j,
    np.int8(3),
    np.uint64(2**64 - 1),
    np.float16(2),
    np.float32(np.nan),
    np.longdouble(1),
    np.array(3),
    np.array(3.5),
    np.array([3]),
)
OTHERS: tuple[Any, ...] = (
    True,
    False,
    np.bool_(True),
    None,
    "",
    "3",
    "x" * 5000,
    b"3",
    [],
    [1, 2],
    (1,),
    {},
    {1},
    object,
    object(),
    np.datetime64("2020-01-01"),
    np.array([], dtype=np.float32),
    np.array(["a"], dtype=object),
)
HOSTILE = NUMBERS + OTHERS


def draw(rng: np.random.RandomState, choices: Any) -> Any:
    """Choose one element of a sequence of any elements."""
    return choices[rng.randint(len(choices))]


def chance(rng: np.random.RandomState, probability: float) -> bool:
    return bool(rng.random_sample() < probability)


def interactions(rng: np.random.RandomState, shape: Any = None, container: Any = None, signed: bool = True) -> Any:
    """Draw interactions: some without a positive, without an entry, or with entries twice."""
    n_users, n_items = draw(rng, SHAPES) if shape is None else shape
    n_entries = int(draw(rng, (0.05, 0.3, 0.9)) * n_users * n_items) + 1
    if chance(rng, 0.05):
        n_entries = 0
    rows, columns = rng.randint(n_users, size=n_entries), rng.randint(n_items, size=n_entries)
    values = draw(rng, ((1,), (1, -1), (-1,), (0.5, 2, 5, 0)) if signed else ((1,), (0.5, 2, 5)))
    data = rng.choice(values, size=n_entries).astype(draw(rng, (np.float32, np.float64, np.int32, np.int8)))
    matrix = sp.coo_matrix((data, (rows, columns)), shape=(n_users, n_items))
    if container is None:
        container = draw(rng, CONTAINERS)
    if container is np.asarray:
        return matrix.toarray()
    return matrix if container is sp.coo_matrix else container(matrix)


def features(rng: np.random.RandomState, n_rows: int, container: Any = None) -> Any:
    """Draw a feature matrix of ``n_rows`` or more: an identity, shared columns, or both."""
    n_rows += int(draw(rng, (0, 0, 3, 50)))
    shared = sp.random(n_rows, rng.randint(1, 6), density=0.4, random_state=rng, dtype=np.float32)
    identity = sp.identity(n_rows, dtype=np.float32)
    matrix = draw(rng, (shared, identity, sp.hstack([identity, shared]), sp.hstack([identity, shared])))
    container = draw(rng, CONTAINERS) if container is None else container
    return matrix.toarray() if container is np.asarray else container(sp.coo_matrix(matrix))


def side_features(rng: np.random.RandomState, shape: tuple[int, int]) -> dict[str, Any]:
    """Draw the features of either side, both or none."""
    found = {}
    for side, n_rows in zip(("user", "item"), shape, strict=True):
        if chance(rng, 0.4):
            found[f"{side}_features"] = features(rng, n_rows)
    return found


def parameters(rng: np.random.RandomState) -> dict[str, Any]:
    """Draw legal constructor arguments of every loss, with steps that do not diverge on this module's data."""
    loss = draw(rng, LOSSES)
    chosen: dict[str, Any] = {
        "loss": loss,
        "no_components": draw(rng, (1, 3, 8, 10, 17, 64)),
        "learning_schedule": draw(rng, ("adagrad", "adadelta")),
        "interactions": "cross" if loss == "softmax" else draw(rng, ("cross", "cross", "all")),
        "negatives": draw(rng, ("popularity", "uniform", "hardest")),
        "random_state": rng.randint(1 << 30),
    }
    optional = {
        "n_negatives": (1, 2, 8, 300),
        "k": (1, 3, 50),
        "n": (1, 4, 60),
        "max_sampled": (1, 5, 200),
        "popularity_exponent": (0, 0.5, 4),
        "temperature": (0.05, 1.0),
        "item_alpha": (1e-6, 0.1),
        "user_alpha": (1e-6, 0.1),
        "initial_accumulator": (0.5, 100.0),
        "init_scale": (0, 0.1),
        "average": (True,),
        "user_shrinkage": (0, 5.0),
        "feature_scaling": ("balanced",),
    }
    for name, values in optional.items():
        if chance(rng, 0.25):
            chosen[name] = draw(rng, values)
    chosen["linear_components"] = draw(rng, (0, "auto"))  # a number is refused for features without identity columns
    chosen["cold_start"] = draw(rng, ("features", "auto"))
    if loss == "bpr" and chance(rng, 0.3):
        chosen["item_alpha"] = chosen["user_alpha"] = "auto"
    return chosen


def fitted(rng: np.random.RandomState, shape: tuple[int, int] = (12, 9), **fixed: Any) -> LightFM:
    """Return a small model of any loss, fitted without features unless they are given."""
    given = {name: fixed.pop(name) for name in ("user_features", "item_features") if name in fixed}
    model = LightFM(**{**parameters(rng), **fixed})
    return model.fit(interactions(rng, shape, sp.coo_matrix, signed=False), epochs=1, **given)
