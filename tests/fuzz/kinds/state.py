"""Assignments of state arrays: other shapes, types and memory layouts, NaN, one by one and all at once."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import numpy as np
import scipy.sparse as sp

from lightfm_fast import FMClassifier, FMRegressor

from ..inputs import HOSTILE, chance, draw, fitted, interactions, parameters
from ..oracle import STATE, Oracle, Refused, remembered

SHAPE = (12, 9)


def run(rng: np.random.RandomState, oracle: Oracle) -> None:
    draw(rng, (of_lightfm, of_lightfm, of_lightfm, of_machine))(rng, oracle)


def replacement(rng: np.random.RandomState, array: np.ndarray) -> Any:
    """Make a value to assign instead of ``array``."""
    spoiled = array.copy()
    spoiled[(0,) * array.ndim] = draw(rng, (np.nan, np.inf, -np.inf, 1e38, -1.0))
    wide = np.zeros((array.shape[0], 1000), np.float32)
    return draw(
        rng,
        (
            array[:-1],
            array[:0],
            np.concatenate([array, array]),
            np.concatenate([array, array]),
            array[..., None],
            array.T,
            array[::-1],
            array.astype(np.float64),
            array.astype(np.int64),
            array.astype(complex),
            array.astype(object),
            array.astype(str),
            array * 1e30,
            np.float64(1e300) * np.ones_like(array, dtype=np.float64),
            np.broadcast_to(np.float32(0.5), array.shape),
            np.asfortranarray(array),
            array.tolist(),
            wide,
            wide[:, ::7],
            spoiled,
            spoiled,
            None,
            np.float32(3),
            sp.csr_matrix(np.atleast_2d(array)),
            draw(rng, HOSTILE),
        ),
    )


def of_lightfm(rng: np.random.RandomState, oracle: Oracle) -> None:
    model = fitted(rng, SHAPE)
    for _ in range(int(draw(rng, (1, 1, 2, 6)))):
        name = draw(rng, STATE)
        array = getattr(model, name)
        if array is not None:
            value = replacement(rng, array) if chance(rng, 0.2) else oracle.guard(name, replacement(rng, array.copy()))
            oracle.say(f"model.{name}, {array.shape} before")
            before = remembered(model)
            if isinstance(oracle.call(setattr, model, name, value), Refused):
                oracle.check_kept(before, model)
    known = interactions(rng, draw(rng, (SHAPE, (3, 4), (40, 30))))
    threads = int(draw(rng, (1, 2)))
    calls = (
        lambda: model.predict([0, 1, 11], [0, 1, 8], num_threads=threads),
        lambda: model.recommend([0, 5], 3, num_threads=threads),
        lambda: model.predict_rank(known, num_threads=threads),
        lambda: model.similar_items([0], 3),
        lambda: model.explain(0, 0),
        lambda: model.get_item_representations(),
        lambda: model.to_matrix_factorization(),
        lambda: model.fold_in_users(known, epochs=1),
        lambda: model.set_params(**parameters(rng)),
        lambda: save(model),
    )
    for _ in range(2):
        oracle.call(draw(rng, calls))
    before = remembered(model)
    if isinstance(oracle.call(model.fit_partial, known, num_threads=threads), Refused):
        oracle.check_kept(before, model)
    else:
        oracle.check_finite(model)
        oracle.require(oracle.call(model.predict, [0], [0], num_threads=threads))


def save(model: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        model.save(os.path.join(folder, "model.safetensors"))


def of_machine(rng: np.random.RandomState, oracle: Oracle) -> None:
    """Assign attributes of a fitted estimator that scikit-learn's conventions leave writable."""
    kind = draw(rng, (FMClassifier, FMRegressor))
    X, y = rng.random_sample((20, 5)), np.arange(20) % 2
    model = kind(epochs=1, fields=draw(rng, (None, [0, 1, 0, 1, 2]))).fit(X, y)
    width = int(draw(rng, (1, 5, 4000)))
    change = draw(
        rng,
        (
            {"n_features_in_": width},
            {"no_components": width},
            {"learning_schedule": "adadelta"},
            {"fields": list(range(width))},
            {"fields_": np.arange(width)},
            {"classes_": np.arange(int(draw(rng, (0, 1, 3))))},
            {"history_": []},
            {"n_iter_": draw(rng, (-1, 2**70))},
        ),
    )
    oracle.say(change)
    for name, value in change.items():
        oracle.call(setattr, model, name, value)
    wide = rng.random_sample((20, width if chance(rng, 0.7) else 5))
    also = (IndexError,) if "classes_" in change else ()  # predict indexes the assigned classes_
    oracle.call(model.predict, wide, also=also)
    oracle.call(model.partial_fit, wide, y, also=also)
    oracle.call(model.predict, wide, also=also)
