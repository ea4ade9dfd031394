"""Interactions as the rows of a design matrix, which stores repeated parts of rows once."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from lightfm_fast._arguments import LARGEST_INDEX, shorten
from lightfm_fast._matrices import check_block, check_block_rows, check_interactions

__all__ = ["Block", "DesignMatrix", "design_matrix"]

CoreBlock = tuple[
    NDArray[np.int32] | None, NDArray[np.int64] | None, NDArray[np.int32] | None, NDArray[np.float32] | None, int
]
# The result of Dataset.mapping(): numbers of user ids, user features, item ids and item features.
Names = tuple[Mapping[Hashable, int], Mapping[Hashable, int], Mapping[Hashable, int], Mapping[Hashable, int]]


@dataclass(frozen=True, eq=False)
class Block:
    """Neighbouring columns of a design matrix.

    Attributes
    ----------
    rows : int32 array of shape (n_interactions,) or None
        The row of ``matrix`` that each row of the design matrix has in these columns; None if row i has row i.
    matrix : scipy.sparse.csr_matrix of float32, or None
        None stands for the identity: column ``rows[i]`` is 1 in row i.
    fields : tuple of str
        The field of every column, or the one field of all.
    names : sequence
        The name of every column, within its field.
    """

    rows: NDArray[np.int32] | None
    matrix: sp.csr_matrix | None
    fields: Sequence[str]
    names: Sequence[Hashable]


class DesignMatrix:
    """One row per interaction: [user one-hot | item one-hot | user features | item features | context].

    The matrix is relational: a block of columns stores each distinct row once, and every row of the design matrix has
    the number of its row in each block. The estimators of :mod:`lightfm_fast.factorization_machine` read it without
    expanding it; :meth:`to_csr` gives the flat matrix. ``design[rows]`` selects rows by a slice, a boolean mask or row
    numbers, as scikit-learn's splitters do, and shares the blocks.

    Attributes
    ----------
    shape : tuple of int
        (number of interactions, number of columns).
    y : float32 array of shape (n_interactions,)
        The values of the interactions.
    blocks : tuple of Block
    field_names : tuple of str
        The distinct fields, in the order of their columns.
    """

    ndim = 2
    dtype = np.dtype(np.float32)

    def __init__(self, blocks: Sequence[Block], y: NDArray[np.float32]) -> None:
        self.blocks = tuple(blocks)
        self.y = y
        self.shape = (len(y), sum(len(block.names) for block in blocks))
        self.field_names = tuple(dict.fromkeys(chain.from_iterable(block.fields for block in blocks)))

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<DesignMatrix of shape {self.shape} with fields {', '.join(self.field_names)}>"

    def __getitem__(self, key: Any) -> DesignMatrix:
        if isinstance(key, tuple):  # scikit-learn asks for design[rows, ...]
            key, *others = key
            if any(other not in (Ellipsis, slice(None)) for other in others):
                raise IndexError("a design matrix gives whole rows: design[rows]; for columns take its to_csr()")
        chosen = np.arange(len(self), dtype=np.int32)[key]
        if chosen.ndim != 1:
            raise IndexError(
                f"rows are a slice, a mask or row numbers, not {shorten(key)}; design[i : i + 1] is one row"
            )
        blocks = [replace(block, rows=chosen if block.rows is None else block.rows[chosen]) for block in self.blocks]
        return DesignMatrix(blocks, self.y[chosen])

    @property
    def fields(self) -> NDArray[np.int32]:
        """int32 array of shape (n_columns,): the number of each column's field in ``field_names``."""
        number = {name: index for index, name in enumerate(self.field_names)}
        parts = []
        for block in self.blocks:
            numbers = np.array([number[name] for name in block.fields], dtype=np.int32)
            parts.append(np.repeat(numbers, len(block.names)) if len(numbers) == 1 else numbers)
        return np.concatenate(parts)

    @property
    def feature_names(self) -> NDArray[np.object_]:
        """Array of str of shape (n_columns,): "field:name" of each column."""
        names: list[str] = []
        for block in self.blocks:
            fields = repeat(block.fields[0]) if len(block.fields) == 1 else block.fields
            names.extend(f"{field}:{name}" for field, name in zip(fields, block.names, strict=False))
        return np.array(names, dtype=object)

    def judged(self) -> DesignMatrix:
        """Return a checked copy of every block, which no caller can change.

        Raises
        ------
        ValueError
            If a block's indices are out of range, its values are not finite, or they do not fit its names and fields.
        """
        return DesignMatrix([self._judged(block) for block in self.blocks], self.y)

    def _judged(self, block: Block) -> Block:
        name, n_columns = f"the block {', '.join(dict.fromkeys(block.fields))!r}", len(block.names)
        n_least = len(self) if block.rows is None else 0
        matrix = None if block.matrix is None else check_block(block.matrix, name, n_least, "rows of the design matrix")
        n_known = n_columns if matrix is None else matrix.shape[0]
        rows = None if block.rows is None else check_block_rows(block.rows, name, len(self), n_known)
        if matrix is not None and matrix.shape[1] != n_columns:
            raise ValueError(f"{name} has {matrix.shape[1]:,} columns but names for {n_columns:,}")
        if n_least > n_known:
            raise ValueError(f"{name} has no matrix and {n_columns:,} columns but there are {n_least:,} rows")
        if len(block.fields) not in (1, n_columns):
            raise ValueError(f"{name} has {n_columns:,} columns but fields for {len(block.fields):,}")
        return replace(block, rows=rows, matrix=matrix)

    def to_csr(self) -> sp.csr_matrix:
        """Return the flat float32 matrix, with every block's rows expanded; ValueError if a block does not fit."""
        parts = []
        for block in self.judged().blocks:
            if block.matrix is not None:
                parts.append(block.matrix if block.rows is None else block.matrix[block.rows])
                continue
            columns = np.arange(len(self), dtype=np.int32) if block.rows is None else block.rows
            cells = (np.ones(len(self), np.float32), columns, np.arange(len(self) + 1))
            parts.append(sp.csr_matrix(cells, shape=(len(self), len(block.names))))
        return sp.hstack(parts, format="csr", dtype=np.float32)

    def core_blocks(self) -> list[CoreBlock]:
        """Return the blocks of a ``judged`` matrix as the core's arguments: rows, CSR arrays and first column."""
        blocks: list[CoreBlock] = []
        first = 0
        for block in self.blocks:
            matrix = block.matrix
            if matrix is None:
                blocks.append((block.rows, None, None, None, first))
            else:
                indptr = matrix.indptr.astype(np.int64, copy=False)
                blocks.append((block.rows, indptr, matrix.indices.astype(np.int32, copy=False), matrix.data, first))
            first += len(block.names)
        return blocks


def design_matrix(
    interactions: Any,
    user_features: Any = None,
    item_features: Any = None,
    context: Any = None,
    names: Names | None = None,
) -> DesignMatrix:
    """Make a design matrix with a row for each interaction, storing repeated parts of rows once.

    Parameters
    ----------
    interactions : sparse matrix or array, or dense array, shape (n_users, n_items)
        Every stored entry is a row, in the order of its COO form; its value is the row's ``y``.
    user_features : matrix of shape (n_users or more, n_features), or mapping from field to matrix, optional
        A matrix is one field, "user_features". In a mapping every matrix is a field, and a field called "user" takes
        the place of the one-hot columns.
    item_features : the same, with a row for each item, optional
        A matrix is the field "item_features", and a field called "item" takes the place of the one-hot columns.
    context : matrix, (rows, matrix), or mapping from field to either, optional
        Features of the interaction, such as the weekday: a matrix with a row for each interaction. If rows repeat,
        give ``(rows, matrix)``: the distinct rows, and for each interaction the number of its row. For categories
        numbered from 0 that is ``(numbers, scipy.sparse.identity(n))``. A matrix is the field "context".
    names : tuple of four mappings, optional
        Names of users, items and features, as ``Dataset.mapping()`` returns them. If a feature matrix of a ``Dataset``
        holds a side's identity features, they are the side's one-hot columns, and no others are added.

    Returns
    -------
    DesignMatrix

    Raises
    ------
    ValueError
        If a matrix does not hold finite numbers, lacks rows or does not fit ``names``, or two fields have the same
        name.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import sparse
    >>> bought = sparse.coo_matrix(([1.0, 0.0], ([0, 1], [2, 0])), shape=(2, 3))
    >>> design = design_matrix(bought, context={"weekday": ([6, 0], sparse.identity(7))})
    >>> design.shape, design.field_names
    ((2, 12), ('user', 'item', 'weekday'))
    >>> design.feature_names[[0, 4, 11]].tolist()
    ['user:0', 'item:2', 'weekday:6']
    """
    entries = check_interactions(interactions)
    sides = (("user", entries.row, user_features), ("item", entries.col, item_features))
    one_hot, described = [], []
    for number, (side, rows, features) in enumerate(sides):
        ids: Sequence[Hashable] = range(entries.shape[number])
        columns: Mapping[Hashable, int] | None = None
        if names is not None:
            if len(names[2 * number]) != len(ids):
                raise ValueError(
                    f"interactions has {len(ids):,} {side}s but the names are those of {len(names[2 * number]):,}: "
                    "build the interactions after the last fit_partial"
                )
            ids, columns = list(names[2 * number]), names[2 * number + 1]
        blocks = list(_feature_blocks(side, rows, features, len(ids), columns, ids))
        if not any(side in block.fields for block in blocks):
            one_hot.append(Block(rows, None, (side,), ids))
        described += blocks
    blocks = [*one_hot, *described, *_context_blocks(context, entries.nnz)]
    _check_fields(blocks)
    return DesignMatrix(blocks, entries.data.astype(np.float32))


def _feature_blocks(
    side: str,
    rows: NDArray[np.int32],
    features: Any,
    n_rows: int,
    columns: Mapping[Hashable, int] | None,
    ids: Sequence[Hashable],
) -> Iterator[Block]:
    """Make the blocks of one side's features; ``columns`` names the columns of a Dataset's features."""
    for field, given in _by_field(features, f"{side}_features"):
        matrix = check_block(given, field, n_rows, f"{side}s")
        if columns is None or isinstance(features, Mapping):
            yield Block(rows, matrix, (field,), range(matrix.shape[1]))
            continue
        if matrix.shape[1] != len(columns):
            raise ValueError(
                f"{field} has {matrix.shape[1]:,} columns but the dataset knows {len(columns):,} {side} features: "
                "build it after the last fit_partial"
            )
        known = set(ids)
        identity = [name in known for name in columns]
        if sum(identity) < len(ids):  # no identity features: a feature may have the name of an id by chance
            yield Block(rows, matrix, (field,), list(columns))
        else:
            yield Block(rows, matrix, tuple(side if own else field for own in identity), list(columns))


def _context_blocks(context: Any, n_rows: int) -> Iterator[Block]:
    for field, given in _by_field(context, "context"):
        if isinstance(given, tuple):
            if len(given) != 2:
                raise ValueError(f"context {field!r} is a tuple of {len(given)}, expected a matrix or (rows, matrix)")
            matrix = check_block(given[1], field, 0, "rows")
            yield Block(
                check_block_rows(given[0], field, n_rows, matrix.shape[0]), matrix, (field,), range(matrix.shape[1])
            )
            continue
        matrix = check_block(given, field, n_rows, "interactions")
        if matrix.shape[0] != n_rows:
            raise ValueError(
                f"context {field!r} has {matrix.shape[0]:,} rows but there are {n_rows:,} interactions: give one row "
                "for each, in their order, or (rows, matrix)"
            )
        yield Block(None, matrix, (field,), range(matrix.shape[1]))


def _by_field(features: Any, name: str) -> Iterator[tuple[str, Any]]:
    if features is None:
        return
    if isinstance(features, Mapping):
        yield from ((str(field), matrix) for field, matrix in features.items())
    else:
        yield name, features


def _check_fields(blocks: Sequence[Block]) -> None:
    """Raise ValueError if a field is in two blocks or there are too many columns."""
    fields = list(chain.from_iterable(dict.fromkeys(block.fields) for block in blocks))
    if len(set(fields)) < len(fields):
        twice = next(field for field in fields if fields.count(field) > 1)
        raise ValueError(f"two blocks have the field {twice!r}: name each field once")
    if sum(len(block.names) for block in blocks) > LARGEST_INDEX:
        raise ValueError("the design matrix would have more than 2**31 - 1 columns")
