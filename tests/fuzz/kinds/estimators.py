"""LightFM with every loss, schedule and option works on data of every documented shape, on any number of threads."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import numpy as np
import scipy.sparse as sp

from lightfm_fast import LightFM

from ..inputs import chance, draw, features, interactions, parameters, side_features
from ..oracle import Oracle, Refused, bytes_of


def run(rng: np.random.RandomState, oracle: Oracle) -> None:
    chosen = parameters(rng)
    oracle.say(chosen)
    known = oracle.guard("interactions", interactions(rng))
    shape = known.shape
    described = oracle.guard("features", side_features(rng, shape))
    if described and chance(rng, 0.2):
        side = draw(rng, ("user", "item"))
        n_rows = shape[0 if side == "user" else 1]
        described = {f"{side}_features": sp.hstack([sp.identity(n_rows), np.ones((n_rows, 1), np.float32)])}
        chosen["identity_dropout"] = draw(rng, (0.1, 0.9))
    threads = int(draw(rng, (1, 2)))
    given = {**described, "num_threads": threads}
    weights = {}
    if chosen["loss"] != "warp-kos" and chance(rng, 0.3):
        known = sp.coo_matrix(known)
        weights["sample_weight"] = sp.coo_matrix((rng.random_sample(known.nnz), (known.row, known.col)), known.shape)
    model = LightFM(**chosen)
    result = oracle.call(model.fit, known, epochs=int(draw(rng, (0, 1, 3))), **weights, **given)
    if "identity_dropout" in chosen and isinstance(result, Refused):
        return  # identity dropout is refused without a row that has an identity column and others
    oracle.require(result)
    oracle.check_finite(model)
    users, items = (grid.ravel() for grid in np.indices(shape))
    scores = oracle.require(oracle.call(model.predict, users, items, **given))
    if not np.isfinite(scores).all():
        oracle.fail("wrong", "scores are not finite")
    calls: tuple[Any, ...] = (
        lambda: model.predict_rank(known, **given),
        lambda: model.recommend(np.unique(users), int(draw(rng, (1, 7, 1000))), interactions=known, **given),
        lambda: model.get_item_representations(given.get("item_features")),
        lambda: model.to_matrix_factorization(**given),
        lambda: model.similar_items(0, 3, given.get("item_features"), threads),
        lambda: model.similar_users([0], 3, given.get("user_features"), threads),
        lambda: model.explain(0, 0, **described),
        lambda: model.fold_in_users(known, epochs=1, item_features=given.get("item_features"), num_threads=threads),
        lambda: model.fit_partial(known, **weights, **given),
        lambda: saved(oracle, model),
    )
    for _ in range(3):
        oracle.require(oracle.call(draw(rng, calls)))
        oracle.check_finite(model)
    if "identity_dropout" not in chosen:
        oracle.require(oracle.call(grow, rng, model, shape, described, threads))
        oracle.check_finite(model)


def grow(
    rng: np.random.RandomState, model: LightFM, shape: tuple[int, int], described: dict[str, Any], threads: int
) -> None:
    more = (shape[0] + 2, shape[1] + 5)
    given = {}
    for name, n_rows in zip(("user_features", "item_features"), more, strict=True):
        if name in described:  # new columns come last
            wide = sp.csr_matrix(described[name])
            wide.resize(max(n_rows, wide.shape[0]), wide.shape[1])
            added = features(rng, wide.shape[0], sp.csr_matrix)[: wide.shape[0]]
            given[name] = sp.hstack([wide, added], format="csr")
    model.fit_partial(interactions(rng, more), num_threads=threads, **given)


def saved(oracle: Oracle, model: LightFM) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.safetensors")
        model.save(path)
        loaded = LightFM.load(path)
    oracle.check_same(bytes_of(model), bytes_of(loaded), "parameters, from a file")
