"""Callbacks that misbehave: they train, resize and rename the model under training, and write into its input."""

from __future__ import annotations

import copy
import os
import pickle
import tempfile
from typing import Any

import numpy as np
import scipy.sparse as sp

from lightfm_fast import LightFM
from lightfm_fast.callbacks import Callback, Checkpoint, EarlyStopping, StopTraining
from lightfm_fast.evaluation import auc_score

from ..inputs import HOSTILE, chance, draw, features, fitted, interactions, parameters
from ..oracle import STATE, Misbehaviour, Oracle, Refused, parts_of, remembered

SHAPE = (30, 20)
FAR = (-1, 10**9, 2**31 - 1)


def run(rng: np.random.RandomState, oracle: Oracle) -> None:
    known = interactions(rng, SHAPE, draw(rng, (sp.coo_matrix, sp.csr_matrix, sp.csc_matrix, sp.coo_array)))
    given: dict[str, Any] = {}
    if chance(rng, 0.5):
        container = draw(rng, (sp.csr_matrix, sp.coo_matrix))
        given = {"user_features": features(rng, SHAPE[0], container), "item_features": features(rng, SHAPE[1])}
    chosen = parameters(rng)
    if chosen["loss"] != "warp-kos" and chance(rng, 0.3):
        known = sp.coo_matrix(known)
        weights = sp.coo_matrix((np.ones(known.nnz, np.float32), (known.row.copy(), known.col.copy())), known.shape)
        given["sample_weight"] = weights
    oracle.say(chosen)
    model = LightFM(**chosen)
    if chance(rng, 0.5):
        model.fit(known, **given)
    before = remembered(model)
    acts = [draw(rng, ACTS) for _ in range(int(draw(rng, (1, 1, 2))))]
    moment = draw(rng, ("begin", "call", "call", "call", "end"))
    oracle.say(f"{moment}: {[act.__name__ for act in acts]}")

    class Misbehaving(Callback):
        def act(self, model: Any) -> None:
            for act in acts:
                act(rng, oracle, model, known, given)

        def begin(self, model: Any, n_epochs: int) -> None:
            if moment == "begin":
                self.act(model)

        def __call__(self, model: Any) -> None:
            if moment == "call":
                self.act(model)

        def end(self, model: Any) -> None:
            if moment == "end":
                self.act(model)

    train = draw(rng, (model.fit, model.fit_partial))
    threads = int(draw(rng, (1, 2)))
    result = oracle.call(
        train,
        known,
        epochs=3,
        num_threads=threads,
        callbacks=[Misbehaving()],
        also=(*(StopTraining,), *(AttributeError,) * (put_something in acts)),
        **given,
    )
    if put_something in acts or write_state in acts:
        return  # the callback's values are the model's parameters now
    oracle.check_finite(model)
    if isinstance(result, Refused) and not set(acts) & CHANGES:
        oracle.check_kept(before, model)
    if model.item_embeddings is not None:
        oracle.call(model.predict, [0, SHAPE[0] - 1], [0, SHAPE[1] - 1], num_threads=threads)


# ---------------------------------------------------------------------------------------------------------- acts


def train_smaller(rng: Any, oracle: Oracle, model: Any, known: Any, given: Any) -> None:
    oracle.call(draw(rng, (model.fit, model.fit_partial)), interactions(rng, (3, 4)))


def train_larger(rng: Any, oracle: Oracle, model: Any, known: Any, given: Any) -> None:
    oracle.call(draw(rng, (model.fit, model.fit_partial)), interactions(rng, (90, 70)), num_threads=2)


def assign(rng: Any, oracle: Oracle, model: Any, known: Any, given: Any) -> None:
    for name in STATE if chance(rng, 0.5) else (draw(rng, STATE),):
        array = getattr(model, name)
        if array is not None:
            value = draw(rng, (array[:1], array[:1], np.concatenate([array, array]), None, array[..., :1]))
            oracle.call(setattr, model, name, value)


def write_state(rng: Any, oracle: Oracle, model: Any, known: Any, given: Any) -> None:
    array = getattr(model, draw(rng, STATE))
    if array is not None:
        oracle.call(array.fill, draw(rng, (np.nan, 0.0, 1e38)), also=(ValueError,))


def write_input(rng: Any, oracle: Oracle, model: Any, known: Any, given: Any) -> None:
    for matrix in (known, *given.values()):
        if sp.issparse(matrix) and matrix.format in ("coo", "csr", "csc"):
            for name in parts_of(matrix):
                array = getattr(matrix, name)
                if chance(rng, 0.7):
                    array[...] = np.nan if array.dtype.kind == "f" else draw(rng, (-1, 127) if name == "data" else FAR)


def set_parameters(rng: Any, oracle: Oracle, model: Any, known: Any, given: Any) -> None:
    oracle.call(model.set_params, **parameters(rng))


def put_something(rng: Any, oracle: Oracle, model: Any, known: Any, given: Any) -> None:
    name = draw(rng, (*LightFM._PARAMETERS, "dataset_", "encoders_"))
    value = draw(rng, HOSTILE)
    oracle.say(f"model.{name} = {value!r}")
    oracle.call(setattr, model, name, value)


def fail(rng: Any, oracle: Oracle, model: Any, known: Any, given: Any) -> None:
    raise draw(rng, (Misbehaviour(), KeyboardInterrupt(), SystemExit(), StopTraining()))


def use(rng: Any, oracle: Oracle, model: Any, known: Any, given: Any) -> None:
    described = {name: matrix for name, matrix in given.items() if name.endswith("features")}
    if model.item_embeddings is not None:
        oracle.call(model.predict, [0, 1], [0, 1], num_threads=2, **described)
        oracle.call(model.recommend, [0, 1], 3, num_threads=2, **described)
        oracle.call(model.fold_in_users, interactions(rng, (4, SHAPE[1])), epochs=1, num_threads=2)


def copy_it(rng: Any, oracle: Oracle, model: Any, known: Any, given: Any) -> None:
    other = draw(rng, (copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))))(model)
    oracle.call(other.fit, interactions(rng, (3, 4)))


def save(rng: Any, oracle: Oracle, model: Any, known: Any, given: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.safetensors")
        if not isinstance(oracle.call(Checkpoint(path), model), Refused):
            oracle.call(LightFM.load, path)


def other_model(rng: Any, oracle: Oracle, model: Any, known: Any, given: Any) -> None:
    oracle.require(oracle.call(fitted, rng, (5, 6)))


def stop_early(rng: Any, oracle: Oracle, model: Any, known: Any, given: Any) -> None:
    described = {name: matrix for name, matrix in given.items() if name.endswith("features")}
    callback = EarlyStopping(auc_score, interactions(rng, SHAPE, sp.csr_matrix, signed=False), **described)
    callback.begin(model, 3)


ACTS = (
    train_smaller,
    train_larger,
    assign,
    assign,
    write_state,
    write_input,
    write_input,
    set_parameters,
    put_something,
    fail,
    use,
    copy_it,
    save,
    other_model,
    stop_early,
)
CHANGES = {train_smaller, train_larger, assign, set_parameters}
