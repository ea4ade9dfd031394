"""Factorization machines: legal settings on data of any scale, and targets and weights that are not legal."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.base import clone

from lightfm_fast import FMClassifier, FMRegressor
from lightfm_fast.design import design_matrix

from ..inputs import CONTAINERS, HOSTILE, chance, draw, interactions
from ..oracle import Oracle, Refused, remembered


def run(rng: np.random.RandomState, oracle: Oracle) -> None:
    draw(rng, (legal, legal, bad_targets, rows_of_design))(rng, oracle)


def legal(rng: np.random.RandomState, oracle: Oracle) -> None:
    n_rows, n_columns = draw(rng, ((6, 1), (20, 4), (50, 30), (30, 300)))
    scale = draw(rng, (1.0, 1e-6, 1e3, 1e20))
    X = rng.standard_normal((n_rows, n_columns)) * (rng.random_sample((n_rows, n_columns)) < 0.5) * scale
    container = draw(rng, CONTAINERS)
    X = oracle.guard("X", X if container is np.asarray else container(sp.coo_matrix(X)))
    classifies = chance(rng, 0.5)
    y = np.arange(n_rows) % 2 if classifies else rng.standard_normal(n_rows) * draw(rng, (1.0, 1e-9, 1e9))
    y = oracle.guard("y", draw(rng, (np.array(["no", "yes"])[y % 2], y, y.astype(float))) if classifies else y)
    weights = oracle.guard("sample_weight", draw(rng, (None, rng.random_sample(n_rows) + 0.01, np.ones(n_rows))))
    model = (FMClassifier if classifies else FMRegressor)(
        no_components=int(draw(rng, (1, 3, 10, 33))),
        fields=draw(rng, (None, np.arange(n_columns) % 3)),
        learning_schedule=draw(rng, ("adagrad", "adadelta")),
        epochs=int(draw(rng, (0, 1, 4))),
        early_stopping=chance(rng, 0.2) and n_rows >= 20,
        num_threads=int(draw(rng, (1, 2))),
        random_state=rng.randint(1 << 30),
    )
    oracle.say(model)
    oracle.require(oracle.call(model.fit, X, y, sample_weight=weights))
    oracle.check_finite(model)
    if not np.isfinite(oracle.require(oracle.call(model.predict_proba if classifies else model.predict, X))).all():
        oracle.fail("wrong", "a prediction is not finite")
    oracle.require(oracle.call(model.partial_fit, X, y, sample_weight=weights))
    oracle.check_finite(model)
    oracle.call(clone, model)


def bad_targets(rng: np.random.RandomState, oracle: Oracle) -> None:
    n_rows = 20
    X = rng.random_sample((n_rows, 4))
    good = np.arange(n_rows) % 2
    model = draw(rng, (FMClassifier, FMRegressor))(epochs=2, random_state=0)
    if chance(rng, 0.5):
        model.fit(X, good)
    before = remembered(model)
    values = (
        good[:-1],
        good.reshape(-1, 1),
        np.eye(n_rows),
        good * np.nan,
        good * 1e300,
        good * 1e-300,
        np.full(n_rows, 1e308) * np.where(good, 1, -1),
        np.zeros(n_rows),
        np.arange(n_rows),
        -good,
        good.astype(complex),
        good.astype(object),
        ["a", None] * 10,
        sp.csr_matrix(good),
        np.full(n_rows, 3e38),
        np.full(n_rows, 1e-40),
        draw(rng, HOSTILE),
    )
    y, weights = good, None
    if chance(rng, 0.5):
        y = oracle.guard("y", draw(rng, values))
    else:
        weights = oracle.guard("sample_weight", draw(rng, values))
    options: dict[str, Any] = {"sample_weight": weights}
    train = draw(rng, (model.fit, model.partial_fit))
    if isinstance(model, FMClassifier) and train == model.partial_fit:
        options["classes"] = draw(rng, (None, [0, 1], [0, 1, 2], [0], draw(rng, HOSTILE)))
    if isinstance(oracle.call(train, X, y, **options), Refused):
        oracle.check_kept(before, model)
    oracle.check_finite(model)
    if hasattr(model, "history_"):
        oracle.call(model.predict, X)


def rows_of_design(rng: np.random.RandomState, oracle: Oracle) -> None:
    """Rows of a design matrix, selected in all ways that arrays allow, and in others."""
    known = interactions(rng, (12, 9), sp.coo_matrix)
    design = oracle.call(design_matrix, known, context={"day": sp.csr_matrix(np.ones((known.nnz, 2)))})
    if isinstance(design, Refused):
        return
    key = draw(
        rng,
        (
            slice(None, None, -2),
            slice(3, 1),
            [0, 0, -1],
            np.arange(known.nnz) % 2 == 0,
            np.array([], int),
            (slice(0, 4), Ellipsis),
            [10**9],
            [2**40],
            0,
            [[0]],
            (0, 1),
            draw(rng, HOSTILE),
        ),
    )
    rows = oracle.call(lambda: design[key], also=(IndexError,))
    if not isinstance(rows, Refused):
        y = np.arange(len(rows)) % 2
        oracle.call(FMClassifier(epochs=1, num_threads=2).fit, rows, y)
        oracle.call(rows.to_csr)
