"""Vectors of items and users, for databases that search by inner product."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ._arguments import check_choice, check_flag, check_model, import_optional, shorten
from ._files import check_path, replaced
from .data import Dataset
from .table_files.id_columns import id_array, id_type
from .table_files.kinds import PARQUET

__all__ = ["export_vectors"]

ROWS_AT_ONCE = 1 << 16


def export_vectors(
    model: Any,
    path: str | os.PathLike[str],
    side: str = "item",
    features: Any = None,
    dataset: Dataset | None = None,
    bias: bool = True,
    column: str | None = None,
) -> tuple[int, int]:
    """Write the vectors of items or users to Parquet, a row for each (extra ``cli``).

    The columns are the id, the ``vector`` (a list of float32 of fixed length) and the ``bias`` (float32). The inner
    product of an item's and a user's vector is the score of :meth:`lightfm_fast.LightFM.predict` without the user's
    bias, which is the same for all items and so does not change their order.

    Parameters
    ----------
    model : LightFM
        A fitted model.
    path : path
        A name that ends in .parquet. An existing file is replaced, whole or not at all.
    side : {"item", "user"}
    features : sparse matrix or array, or dense array, optional
        Features of that side, as in fitting.
    dataset : Dataset, optional
        Write its ids; by default row numbers.
    bias : bool
        End an item's vector with its bias, and a user's with 1. Without it vectors are the representations, whose
        cosines are the similarities of :meth:`lightfm_fast.LightFM.similar_items`.
    column : str, optional
        Name of the column of ids, by default "item_id" or "user_id".

    Returns
    -------
    n_rows, n_dimensions : int

    Raises
    ------
    ImportError
        If pyarrow is not installed.
    TypeError
        If an argument is of the wrong type.
    ValueError
        If the model is not fitted, features do not fit it, the dataset has another number of rows, or ids are of types
        that a column cannot hold.
    OSError
        If the file cannot be written.
    """
    check_choice(side, "side", ("item", "user"))
    bias = check_flag(bias, "bias")
    if not isinstance(dataset, Dataset | None):
        raise TypeError(f"dataset is {shorten(dataset)}, expected a Dataset")
    if not isinstance(column, str | None):
        raise TypeError(f"column is {shorten(column)}, expected the name of a column")
    path = check_path(path)
    if not path.lower().endswith(PARQUET):
        raise ValueError(f"{path}: expected a name that ends in .parquet")
    arrow = import_optional("pyarrow", "cli", "export_vectors")
    parquet = import_optional("pyarrow.parquet", "cli", "export_vectors")
    check_model(model, f"get_{side}_representations")
    represent = model.get_item_representations if side == "item" else model.get_user_representations
    biases, embeddings = represent(features)
    n_rows, n_dimensions = len(biases), embeddings.shape[1] + bias
    names = np.arange(n_rows)
    if dataset is not None:
        known = dataset.mapping()[2 if side == "item" else 0]
        if len(known) != n_rows:
            raise ValueError(f"the dataset has {len(known):,} {side}s but the model represents {n_rows:,}")
        names = np.fromiter(known, dtype=object, count=n_rows)
    columns = (f"{side}_id" if column is None else column, "vector", "bias")
    if len(set(columns)) < len(columns):
        raise ValueError(f"the columns are {columns}, expected three different names")
    types = (id_type(arrow, names, f"{side}s"), arrow.list_(arrow.float32(), n_dimensions), arrow.float32())
    schema = arrow.schema(list(zip(columns, types, strict=True)))
    last = biases if side == "item" else np.ones_like(biases)
    with replaced(path) as temporary, parquet.ParquetWriter(temporary, schema, use_dictionary=False) as writer:
        for first in range(0, n_rows, ROWS_AT_ONCE):
            part = slice(first, first + ROWS_AT_ONCE)
            vectors = (
                np.column_stack([embeddings[part], last[part]]) if bias else np.ascontiguousarray(embeddings[part])
            )
            table = [
                id_array(arrow, names[part], types[0]),
                arrow.FixedSizeListArray.from_arrays(arrow.array(vectors.ravel()), n_dimensions),
                arrow.array(biases[part]),
            ]
            writer.write_table(arrow.table(table, schema=schema))
    return n_rows, n_dimensions
