"""Frames with odd types, odd names, missing cells, and columns of unequal length."""

from __future__ import annotations

import datetime
import decimal
import uuid
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

from lightfm_fast.data import Dataset
from lightfm_fast.features import (
    Categorical,
    Dense,
    FeatureSpec,
    MultiCategorical,
    Periodic,
    PiecewiseLinear,
    QuantileBins,
    Standardized,
    Text,
)

from ..inputs import HOSTILE, chance, draw
from ..oracle import Oracle, Refused, snapshot

ENCODERS = (
    Categorical,
    MultiCategorical,
    Standardized,
    QuantileBins,
    lambda: PiecewiseLinear(3),
    lambda: Periodic(7, 3),
    Text,
    lambda: Text("hashing"),
    Dense,
)


def run(rng: np.random.RandomState, oracle: Oracle) -> None:
    draw(rng, (from_tables, from_tables, from_tables, from_iterables, encoders))(rng, oracle)


def cells(rng: np.random.RandomState, n_rows: int) -> Any:
    """Draw a column."""
    numbers = rng.randint(5, size=n_rows)
    kinds: tuple[Any, ...] = (
        lambda: numbers,
        lambda: numbers.astype(draw(rng, ("int8", "uint64", "float32", "float16", "bool", "complex64", ">i8"))),
        lambda: [f"id {number}" for number in numbers],
        lambda: [str(number) for number in numbers],
        lambda: numbers + rng.choice([0, 0.5, np.nan], size=n_rows),
        lambda: [None if number == 0 else int(number) for number in numbers],
        lambda: [None if number == 0 else str(number) for number in numbers],
        lambda: [draw(rng, HOSTILE) for _ in range(n_rows)],
        lambda: [int(number) * 10**30 for number in numbers],
        lambda: [(int(number), "x") for number in numbers],
        lambda: [[int(number)] * number for number in numbers],
        lambda: [{"a": int(number)} for number in numbers],
        lambda: [decimal.Decimal(int(number)) / 4 for number in numbers],
        lambda: [datetime.date(2020, 1, 1 + int(number)) for number in numbers],
        lambda: [datetime.datetime(2020, 1, 1 + int(number)) for number in numbers],
        lambda: [f"2020-01-0{number + 1}" for number in numbers],
        lambda: np.array(numbers, "datetime64[D]"),
        lambda: np.array(numbers, "timedelta64[s]"),
        lambda: [uuid.UUID(int=int(number)) for number in numbers],
        lambda: [b"\xff%d" % number for number in numbers],
        lambda: ["", " ", "\x00", "\ud800", "é", "=1+1"][: max(n_rows, 0)] * (n_rows // 6 + 1),
        lambda: np.ma.masked_array(numbers, numbers == 0),
        lambda: numbers.reshape(-1, 1),
        lambda: numbers[:-1],
        lambda: [],
        lambda: iter(numbers.tolist()),
        lambda: draw(rng, HOSTILE),
        lambda: pd.Series(numbers, dtype=draw(rng, ("Int64", "Float64", "category", "string"))),
        lambda: pd.Series(numbers > 1, dtype="boolean"),
        lambda: pd.Series([None, *numbers[1:]], dtype=draw(rng, ("Int64", "Float64", "object", "category"))),
        lambda: pd.arrays.SparseArray(numbers),
        lambda: pd.interval_range(0, n_rows),
        lambda: pl.Series(numbers).cast(draw(rng, (pl.Int8, pl.String, pl.Float32, pl.Boolean, pl.Decimal(10, 2)))),
        lambda: pa.chunked_array([pa.array(numbers), pa.array(numbers)]),
        lambda: pa.array(numbers).dictionary_encode(),
        lambda: {0: "x", 1: "y"},
    )
    usual = chance(rng, 0.6)
    return draw(rng, kinds[:4] if usual else kinds)()


def table(rng: np.random.RandomState, names: list[Any], oracle: Oracle) -> Any:
    """Draw a frame of any library with these and other columns; a dict of columns if the library refuses them."""
    n_rows = int(draw(rng, (0, 1, 7, 7, 40)))
    columns = {name: cells(rng, n_rows) for name in (*names, draw(rng, ("other", 0, ("a", "b"), "", None)))}
    if chance(rng, 0.1):
        columns.pop(draw(rng, names))
    made: Any = columns
    try:
        made = draw(rng, (dict, dict, pd.DataFrame, pl.DataFrame, arrow_table, broken_names, to_dict))(columns)
    except Exception as error:
        oracle.say(f"no frame: {type(error).__name__}")
    oracle.say({name: f"{type(column).__name__} {str(column)[:60]}" for name, column in columns.items()})
    oracle.say(type(made).__name__)
    return made


def arrow_table(columns: dict[Any, Any]) -> Any:
    if any(
        isinstance(cell, np.datetime64) for column in columns.values() if isinstance(column, list) for cell in column
    ):
        raise TypeError("pyarrow ends the process where these stand beside NumPy's numbers")
    return pa.table(columns)


def broken_names(columns: dict[Any, Any]) -> Any:
    frame = pd.DataFrame(columns)
    twice = pd.concat([frame, frame], axis=1)
    numbered = frame.set_axis(range(frame.shape[1]), axis=1)
    nested = frame.set_axis(pd.MultiIndex.from_product([["a"], range(frame.shape[1])]), axis=1)
    return (twice, numbered, nested, frame.set_index(frame.columns[0]))[len(frame) % 4]


def to_dict(columns: dict[Any, Any]) -> Any:
    return pd.DataFrame(columns).to_dict()


def frames_bytes(value: Any) -> Any:
    """Snapshot a frame if that is cheap."""
    if isinstance(value, dict):
        return {key: snapshot(part) for key, part in value.items() if isinstance(part, (np.ndarray, list))}
    return repr(value)


def from_tables(rng: np.random.RandomState, oracle: Oracle) -> None:
    shown = table(rng, ["user_id", "item_id", "extra", "when"], oracle)
    options: dict[str, Any] = {}
    for side in ("user", "item"):
        if chance(rng, 0.4):
            options[f"{side}s"] = table(rng, [f"{side}_id", "genre", "year"], oracle)
            if chance(rng, 0.6):
                spec = FeatureSpec({name: draw(rng, ENCODERS)() for name in ("genre", "year")})
                wanted = (["genre"], ["genre", "year"], spec, "genre", [], [3], Categorical(), draw(rng, HOSTILE))
                options[f"{side}_features"] = draw(rng, wanted)
    optional = {
        "value": ("extra", "when", "missing", 0, draw(rng, HOSTILE)),
        "weight": ("extra", "missing", draw(rng, HOSTILE)),
        "time": ("when", "missing", draw(rng, HOSTILE)),
        "user": ("user_id", 0, ("a", "b"), draw(rng, HOSTILE)),
        "duplicates": ("sum", "max", "last", "error", draw(rng, HOSTILE)),
        "unknown": ("raise", "skip", "add", draw(rng, HOSTILE)),
        "normalize": (True, False),
    }
    for name, values in optional.items():
        if chance(rng, 0.25):
            options[name] = draw(rng, values)
    before = frames_bytes(shown)
    dataset = oracle.call(Dataset.from_tables, shown, **options)
    oracle.check_same(before, frames_bytes(shown), "the caller's table")
    if isinstance(dataset, Refused):
        return
    other = table(rng, ["user_id", "item_id", "extra", "when"], oracle)
    oracle.call(dataset.build_interactions_from_table, other, unknown=draw(rng, ("raise", "skip", "add")))
    if "items" in options:
        oracle.call(dataset.build_item_features_from_table, table(rng, ["item_id", "genre", "year"], oracle))
    oracle.call(repr, dataset)


def from_iterables(rng: np.random.RandomState, oracle: Oracle) -> None:
    """LightFM's interface of Dataset: ids, pairs and (id, features) in any iterables."""
    ids = ["ann", 3, (1, 2), draw(rng, HOSTILE)]
    dataset = Dataset(*draw(rng, ((), (True, False), (False, False))))
    names = ["red", draw(rng, HOSTILE)]
    oracle.call(dataset.fit, draw(rng, (ids, cells(rng, 5), iter(ids[:3]), ids[:3])), [1, 2], item_features=names)
    pairs = draw(
        rng,
        (
            [("ann", 1), (3, 2, 0.5)],
            [("ann", 1, draw(rng, HOSTILE))],
            [("ann",)],
            [("ann", 7)],
            [draw(rng, HOSTILE)],
            draw(rng, HOSTILE),
            cells(rng, 4),
        ),
    )
    oracle.call(dataset.build_interactions, pairs)
    described = draw(
        rng,
        (
            [(1, ["red"])],
            [(1, {"red": draw(rng, HOSTILE)})],
            [(1, "red")],
            [(1, [draw(rng, HOSTILE)])],
            [(draw(rng, HOSTILE), ["red"])],
            draw(rng, HOSTILE),
        ),
    )
    oracle.call(dataset.build_item_features, described, normalize=draw(rng, (True, False)))
    oracle.call(dataset.fit_partial, draw(rng, (None, ids, [draw(rng, HOSTILE)])), cells(rng, 3))


def encoders(rng: np.random.RandomState, oracle: Oracle) -> None:
    encoder = oracle.require(oracle.call(draw(rng, ENCODERS)))
    values = cells(rng, int(draw(rng, (0, 1, 8))))
    oracle.say(f"{encoder!r} of {str(values)[:200]}")
    if isinstance(oracle.call(encoder.fit, values), Refused):
        return
    if not hasattr(values, "__next__"):
        oracle.require(oracle.call(encoder.transform, values))
    oracle.call(encoder.transform, cells(rng, 5))
    oracle.call(encoder.get_feature_names_out)
    oracle.require(oracle.call(encoder.from_state, encoder.to_state()))
