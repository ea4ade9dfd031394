"""Malformed sparse matrices, passed to every argument that takes a matrix."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import numpy as np
import scipy.sparse as sp

from lightfm_fast import FMClassifier, FMRegressor, LightFM
from lightfm_fast.cross_validation import cold_items_train_test_split, random_train_test_split
from lightfm_fast.data import Dataset
from lightfm_fast.design import Block, DesignMatrix, design_matrix
from lightfm_fast.evaluation import auc_score, evaluate, precision_at_k

from ..inputs import chance, draw, fitted, interactions, parameters
from ..oracle import Oracle, Refused, parts_of, remembered

N_USERS, N_ITEMS, N_FEATURES = 12, 9, 5
FORMATS = (sp.csr_matrix, sp.csc_matrix, sp.coo_matrix, sp.csr_array, sp.csc_array, sp.coo_array)
OUTSIDE = (-1, -(2**31), 10**9, 2**31 - 1)
WIDE = (2**31, 2**40, 2**63 - 1, -(2**63))


def run(rng: np.random.RandomState, oracle: Oracle) -> None:
    door = draw(rng, DOORS)
    oracle.say(f"door: {door.__name__}")
    door(rng, oracle)


# -------------------------------------------------------------------------------------------------------- damage


def damaged(rng: np.random.RandomState, shape: tuple[int, int], oracle: Oracle) -> tuple[Any, bool]:
    """Make a matrix, damage its arrays, and return it with whether it must be refused."""
    container = draw(rng, FORMATS)
    values = rng.choice([0.5, 1, 2], size=shape).astype(np.float32) * (rng.random_sample(shape) < 0.5)
    values[0, 0] = 1
    matrix = container(values)
    damage = draw(rng, (point_outside, point_outside, point_outside, bad_indptr, other_length, other_type, bad_values))
    must = damage(rng, matrix)
    oracle.say(f"{container.__name__} {shape}, {damage.__name__}: " + ", ".join(arrays_shown(matrix)))
    return oracle.guard("matrix", matrix), must


def arrays_shown(matrix: Any) -> list[str]:
    return [f"{name}={str(getattr(matrix, name))[:200]}" for name in parts_of(matrix)]


def put(matrix: Any, name: str, array: Any) -> None:
    """Set an array of a matrix without conversion, unlike the setters of COO."""
    if name in ("row", "col") and hasattr(matrix, "coords"):
        matrix.coords = (array, matrix.col) if name == "row" else (matrix.row, array)
    else:
        setattr(matrix, name, array)


def indices_of(matrix: Any, rng: np.random.RandomState) -> tuple[str, int]:
    """Choose an index array; return its name and the number of rows or columns that it may point to."""
    if matrix.format == "coo":
        name = draw(rng, ("row", "col"))
        return name, matrix.shape[0 if name == "row" else 1]
    return "indices", matrix.shape[1 if matrix.format == "csr" else 0]


def point_outside(rng: np.random.RandomState, matrix: Any) -> bool:
    name, length = indices_of(matrix, rng)
    array = getattr(matrix, name).copy()
    values = (*OUTSIDE, length, length + 20)
    if chance(rng, 0.3):
        array, values = array.astype(np.int64), (*values, *WIDE)
    elif chance(rng, 0.15):
        array, values = array.astype(np.uint64), (2**31, 2**63, 2**64 - 1, length)
    array[rng.randint(len(array), size=draw(rng, (1, 1, 3)))] = draw(rng, values)
    put(matrix, name, array)
    return True


def bad_indptr(rng: np.random.RandomState, matrix: Any) -> bool:
    if matrix.format == "coo":
        return point_outside(rng, matrix)
    array = matrix.indptr.astype(draw(rng, (np.int32, np.int64)))
    place = rng.randint(len(array))
    array[place] = draw(rng, (*OUTSIDE, -5, array[-1] + 1, array[-1] + 1000))
    matrix.indptr = array
    return True


def other_length(rng: np.random.RandomState, matrix: Any) -> bool:
    name = draw(rng, parts_of(matrix))
    array = getattr(matrix, name)
    put(matrix, name, draw(rng, (array[:-1], array[:0], array[:1], np.append(array, array[-1:]), array.repeat(50))))
    return False  # SciPy ignores entries beyond the last row pointer


def other_type(rng: np.random.RandomState, matrix: Any) -> bool:
    name = draw(rng, parts_of(matrix))
    array = getattr(matrix, name)
    types = ("int64", "uint64", "uint32", "int8", ">i4", "float64", "float16", "longdouble", "complex64", "object")
    kind = draw(rng, (*types, "bool", "str", "datetime64[s]", "V4"))
    array = array.view(kind) if kind == "V4" and array.itemsize == 4 else array.astype("S3" if kind == "V4" else kind)
    shape = draw(rng, ("as it was",) * 3 + ("column", "every second", "read-only"))
    if shape == "column":
        array = array.reshape(-1, 1)
    elif shape == "every second":
        array = array.repeat(2)[::2]
    elif shape == "read-only":
        array.flags.writeable = False
    put(matrix, name, array)
    return kind in ("complex64", "str", "datetime64[s]") and shape != "column" and name == "data"


def bad_values(rng: np.random.RandomState, matrix: Any) -> bool:
    value = draw(rng, (np.nan, np.inf, -np.inf, 1e300))
    data = matrix.data.astype(np.float64)
    data[rng.randint(len(data))] = value
    matrix.data = data
    return not np.isfinite(value)


# ----------------------------------------------------------------------------------------------------- arguments


def expect(oracle: Oracle, result: Any, must: bool) -> Any:
    if must and not isinstance(result, Refused):
        oracle.fail("accepted", "a matrix that must be refused")
    return result


def train(rng: np.random.RandomState, oracle: Oracle, model: Any, must: bool, *args: Any, **kwargs: Any) -> None:
    """Train a model that may be fitted already, which a refusal leaves as it was."""
    before = remembered(model)
    method = draw(rng, (model.fit, getattr(model, "fit_partial", model.fit)))
    result = expect(oracle, oracle.call(method, *args, **kwargs), must)
    if isinstance(result, Refused):
        oracle.check_kept(before, model)
    oracle.check_finite(model)


def lightfm_interactions(rng: np.random.RandomState, oracle: Oracle) -> None:
    matrix, must = damaged(rng, (N_USERS, N_ITEMS), oracle)
    model = fitted(rng) if chance(rng, 0.5) else LightFM(**parameters(rng))
    train(rng, oracle, model, must, matrix, num_threads=int(draw(rng, (1, 2))), epochs=2)


def lightfm_features(rng: np.random.RandomState, oracle: Oracle) -> None:
    side = draw(rng, ("user", "item"))
    matrix, must = damaged(rng, (N_USERS, N_FEATURES), oracle)
    model = LightFM(**parameters(rng))
    given = {f"{side}_features": matrix}
    train(rng, oracle, model, must, interactions(rng, (N_USERS, N_ITEMS)), num_threads=int(draw(rng, (1, 2))), **given)


def lightfm_weights(rng: np.random.RandomState, oracle: Oracle) -> None:
    matrix, must = damaged(rng, (N_USERS, N_ITEMS), oracle)
    known = sp.coo_matrix(np.eye(N_USERS, N_ITEMS, dtype=np.float32))
    train(rng, oracle, LightFM(loss="warp"), must, known, sample_weight=matrix)


def scoring_features(rng: np.random.RandomState, oracle: Oracle) -> None:
    side = draw(rng, ("user", "item"))
    n_rows = N_USERS if side == "user" else N_ITEMS
    good = sp.csr_matrix(rng.random_sample((n_rows, N_FEATURES)).astype(np.float32))
    model = fitted(rng, (N_USERS, N_ITEMS), **{f"{side}_features": good})
    matrix, must = damaged(rng, (n_rows, N_FEATURES), oracle)
    given = {f"{side}_features": matrix}
    known = interactions(rng, (N_USERS, N_ITEMS))
    represent = {"user": model.get_user_representations, "item": model.get_item_representations}[side]
    similar = {"user": model.similar_users, "item": model.similar_items}[side]
    fold = {"user": model.fold_in_users, "item": model.fold_in_items}[side]
    call = draw(
        rng,
        (
            lambda: model.predict([0, 1, 2], [0, 1, 2], **given),
            lambda: model.predict(0, [0], num_threads=2, **given),
            lambda: model.predict_rank(known, num_threads=2, **given),
            lambda: model.recommend([0, 1, 2], 5, num_threads=2, **given),
            lambda: model.explain(0, 0, **given),
            lambda: represent(matrix),
            lambda: similar([0], 3, **given),
            lambda: model.to_matrix_factorization(**given),
            lambda: evaluate(model, known, **given),
            lambda: auc_score(model, known, **given),
            lambda: fold(known, **({} if side == "user" else {"known_interactions": known}), **given),
            lambda: export(model, **given),
            lambda: model.index(**({"item_features": matrix} if side == "item" else {"item_features": None})),
        ),
    )
    result = oracle.call(call)
    if side == "item" or "index" not in call.__code__.co_names:
        expect(oracle, result, must)


def export(model: Any, **given: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        model.export_onnx(os.path.join(folder, "model.onnx"), **given)


def known_interactions(rng: np.random.RandomState, oracle: Oracle) -> None:
    model = fitted(rng, (N_USERS, N_ITEMS))
    matrix, must = damaged(rng, (N_USERS, N_ITEMS), oracle)
    good = interactions(rng, (N_USERS, N_ITEMS), sp.csr_matrix)
    call = draw(
        rng,
        (
            lambda: model.predict_rank(matrix, num_threads=2),
            lambda: model.predict_rank(good, matrix, check_intersections=False),
            lambda: model.recommend(np.arange(N_USERS), 3, interactions=matrix),
            lambda: model.fold_in_users(matrix),
            lambda: model.fold_in_items(matrix, good),
            lambda: evaluate(model, matrix),
            lambda: precision_at_k(model, good, matrix, check_intersections=False),
            lambda: random_train_test_split(matrix),
            lambda: cold_items_train_test_split(matrix),
        ),
    )
    expect(oracle, oracle.call(call), must)


def factorization_machine(rng: np.random.RandomState, oracle: Oracle) -> None:
    n_rows = 30
    good = rng.random_sample((n_rows, N_FEATURES)).astype(np.float32)
    y = rng.randint(2, size=n_rows)
    y[:2] = 0, 1
    fields = draw(rng, (None, ["a", "b", "a", "b", "b"]))
    threads = int(draw(rng, (1, 2)))
    model = draw(rng, (FMClassifier, FMRegressor))(epochs=2, random_state=0, fields=fields, num_threads=threads)
    matrix, must = damaged(rng, (n_rows, N_FEATURES), oracle)
    if chance(rng, 0.5):
        model.fit(good, y)
    before = remembered(model)
    train_on = {"classes": [0, 1]} if isinstance(model, FMClassifier) and chance(rng, 0.5) else None
    if hasattr(model, "history_") and chance(rng, 0.5):
        expect(oracle, oracle.call(model.predict, matrix), must)
        return
    call = model.fit if train_on is None else model.partial_fit
    if isinstance(expect(oracle, oracle.call(call, matrix, y, **(train_on or {})), must), Refused):
        oracle.check_kept(before, model)
    oracle.check_finite(model)


def design(rng: np.random.RandomState, oracle: Oracle) -> None:
    good = sp.coo_matrix(np.eye(N_USERS, N_ITEMS, dtype=np.float32))
    place = draw(rng, ("interactions", "user_features", "item_features", "context", "rows", "block"))
    y = np.arange(N_ITEMS) % 2
    must = False
    if place == "interactions":
        matrix, must = damaged(rng, (N_USERS, N_ITEMS), oracle)
        made = oracle.call(design_matrix, matrix)
    elif place == "rows":
        rows = np.arange(N_ITEMS)
        rows[rng.randint(N_ITEMS)] = draw(rng, (*OUTSIDE, N_ITEMS + 5, 2**40))
        made = oracle.call(design_matrix, good, context={"day": (rows, sp.identity(N_ITEMS))})
        must = True
    elif place == "block":  # a block made by hand
        matrix, must = damaged(rng, (N_ITEMS, N_FEATURES), oracle)
        rows = np.arange(N_ITEMS, dtype=np.int32)
        if chance(rng, 0.3):
            rows[3], must = draw(rng, OUTSIDE), True
        names = range(int(draw(rng, (N_FEATURES, N_FEATURES, 1))))
        made = oracle.call(DesignMatrix, [Block(rows, matrix, ("a",), names)], np.ones(N_ITEMS, np.float32))
    else:
        n_rows = {"user_features": N_USERS, "item_features": N_ITEMS, "context": good.nnz}[place]
        matrix, must = damaged(rng, (n_rows, N_FEATURES), oracle)
        made = oracle.call(design_matrix, good, **{place: matrix})
    if isinstance(made, Refused):
        return
    if chance(rng, 0.2):
        made.y = made.y[:2]
    model = FMClassifier(epochs=2, num_threads=int(draw(rng, (1, 2))))
    expect(oracle, oracle.call(model.fit, made, y[: len(made)]), must)


def fields(rng: np.random.RandomState, oracle: Oracle) -> None:
    X, y = rng.random_sample((20, N_FEATURES)), np.arange(20) % 2
    bad = draw(
        rng,
        (
            np.arange(N_FEATURES + 3),
            np.arange(2),
            np.zeros((N_FEATURES, 1), int),
            np.array([np.nan] * N_FEATURES),
            ["a", 1, None, (2,), b"x"],
            [["a"], ["b", "c"], [], [], []],
            7,
            "abcde",
            sp.identity(N_FEATURES),
            {"a": 1},
        ),
    )
    oracle.call(FMClassifier(fields=bad, epochs=1).fit, X, y)


def encoded(rng: np.random.RandomState, oracle: Oracle) -> None:
    """A foreign encoder that makes a malformed matrix."""
    matrix, must = damaged(rng, (N_ITEMS, N_FEATURES), oracle)

    class Encoder:
        def fit(self, table: Any) -> Any:
            return self

        def transform(self, table: Any) -> Any:
            return matrix

        def get_feature_names_out(self) -> Any:
            return [f"feature {number}" for number in range(N_FEATURES)]

    ids = list(range(N_ITEMS))
    made = oracle.call(
        Dataset.from_tables,
        {"user_id": ids, "item_id": ids},
        items={"item_id": ids},
        item_features=Encoder(),
        normalize=draw(rng, (None, True, False)),
    )
    if not isinstance(made, Refused):
        model = LightFM()
        made = oracle.call(model.fit, made.interactions, item_features=made.item_features)
    expect(oracle, made, must)


DOORS = (
    lightfm_interactions,
    lightfm_features,
    lightfm_weights,
    scoring_features,
    known_interactions,
    factorization_machine,
    factorization_machine,
    design,
    fields,
    encoded,
)
