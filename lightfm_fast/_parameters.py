"""The parameters of one side of a model, in the core's memory layout and as NumPy views.

A row of :class:`ParameterTable` is one feature: embedding, accumulated squared gradients and (Adadelta) accumulated
squared updates. Each is padded to a cache line, so that a training step fetches consecutive cache lines. The arrays
that users see are views of the rows.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightfm_fast import _core
from lightfm_fast._arguments import check_fits_memory

from ._files import reserve

Floats = NDArray[np.float32]

CACHE_LINE = 64
ROW_ALIGNMENT = CACHE_LINE // 4
FIELDS = (
    "embeddings",
    "embedding_gradients",
    "embedding_momentum",
    "biases",
    "bias_gradients",
    "bias_momentum",
)
MOMENTUM = ("embedding_momentum", "bias_momentum")


def padded_width(n_columns: int) -> int:
    """Return how many floats a row of so many columns takes in whole cache lines, as the core expects."""
    return -(-n_columns // ROW_ALIGNMENT) * ROW_ALIGNMENT


def aligned_zeros(n_rows: int, n_columns: int) -> Floats:
    """Return float32 zeros of shape (n_rows, n_columns), C-contiguous and aligned to a cache line."""
    size = n_rows * n_columns
    check_fits_memory(4 * size, f"{n_rows:,} rows of {n_columns:,} parameters")
    block = np.zeros(size + ROW_ALIGNMENT, dtype=np.float32)
    offset = -block.ctypes.data % CACHE_LINE // 4
    return block[offset : offset + size].reshape(n_rows, n_columns)


def aligned_copy(array: Floats) -> Floats:
    """Return a copy that is C-contiguous and aligned to a cache line."""
    block = np.empty(array.size + ROW_ALIGNMENT, dtype=np.float32)
    offset = -block.ctypes.data % CACHE_LINE // 4
    copy = block[offset : offset + array.size].reshape(array.shape)
    copy[...] = array
    return copy


def in_file(folder: str, n_rows: int, n_columns: int) -> Floats:
    """Return zeros as :func:`aligned_zeros` does, in a mapped file that vanishes with the array.

    Raises
    ------
    OSError
        If the folder cannot be written to or the disk is full.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(
            f"the folder {folder}, for the parameters of the users, is gone: make it again, or open the shards with "
            "another scratch folder"
        )
    n_bytes = n_rows * n_columns * 4
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            reserve(file.fileno(), n_bytes)
            return np.memmap(file, dtype=np.float32, mode="w+", shape=(n_rows, n_columns))
    except OSError as error:
        raise OSError(
            error.errno,
            f"{error.strerror} in {folder} for {n_bytes / 1e9:,.1f} GB of users' parameters: open the shards with a "
            "scratch folder that has room and may be written to",
        ) from error


def zeros_in(folder: str | None, n_rows: int, n_columns: int) -> Floats:
    """Return zeros :func:`in_file` if there is a folder, else in memory as :func:`aligned_zeros` does."""
    return aligned_zeros(n_rows, n_columns) if folder is None else in_file(folder, n_rows, n_columns)


def to_directions(embeddings: Floats) -> Floats:
    """Divide each row by its length; rows of zeros stay zeros."""
    lengths = np.sqrt(np.einsum("ij,ij->i", embeddings, embeddings, dtype=np.float64))
    return (embeddings / np.where(lengths > 0, lengths, 1)[:, None]).astype(np.float32)


class ParameterTable:
    """Embeddings, biases and optimiser state of ``n_rows`` features.

    Attributes
    ----------
    rows : ndarray of shape (n_rows, segments * width), float32
    biases : ndarray of shape (n_rows, 2 or 4), float32
    width : int
        ``no_components`` rounded up to a cache line. The components beyond ``no_components`` stay zero.
    folder : str or None
        Where copies and larger tables get mapped files; None if they are in memory.
    """

    def __init__(
        self,
        n_rows: int,
        no_components: int,
        learning_schedule: str,
        initial_accumulator: float = 1.0,
        folder: str | None = None,
    ) -> None:
        self.folder = folder
        self.no_components = int(no_components)  # a narrow integer of NumPy would overflow
        self.learning_schedule = learning_schedule
        self.width = padded_width(self.no_components)
        segments, bias_segments = (3, 4) if learning_schedule == "adadelta" else (2, 2)
        self.rows = zeros_in(folder, n_rows, segments * self.width)
        self.biases = zeros_in(folder, n_rows, bias_segments)
        if learning_schedule == "adagrad":  # includes the accumulators' padding, since steps divide by its root
            self.rows[:, self.width :] = initial_accumulator
            self.biases[:, 1] = initial_accumulator

    @classmethod
    def of_copies(cls, rows: Floats, biases: Floats, no_components: int, learning_schedule: str) -> ParameterTable:
        """Make a table of copies of another's ``rows`` and ``biases``."""
        table = cls.__new__(cls)
        table.folder, table.no_components, table.learning_schedule = None, no_components, learning_schedule
        table.width = padded_width(no_components)
        table.rows, table.biases = aligned_copy(rows), aligned_copy(biases)
        return table

    def __getstate__(self) -> dict[str, Any]:
        arrays = {field: np.ascontiguousarray(self.view(field)) for field in FIELDS}
        return {"learning_schedule": self.learning_schedule, **arrays}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Unpickled arrays may not be aligned, so the table allocates its own.
        n_rows, no_components = state["embeddings"].shape
        table = ParameterTable(n_rows, no_components, state["learning_schedule"])
        table.fill(state)
        vars(self).update(vars(table))

    def stores(self, field: str) -> bool:
        """Return whether the table stores the field: AdaGrad has no momentum."""
        return field not in MOMENTUM or self.learning_schedule == "adadelta"

    def view(self, field: str) -> Floats:
        """Return a view of one field's array. For a field that is not stored, return zeros unrelated to the table."""
        segment = FIELDS.index(field) % 3
        if not self.stores(field):
            return np.zeros(self.view(field.replace("momentum", "gradients")).shape, dtype=np.float32)
        if field.startswith("bias"):
            return self.biases[:, segment]
        return self.rows[:, segment * self.width : segment * self.width + self.no_components]

    def fill(self, arrays: dict[str, Any]) -> None:
        """Copy ``arrays`` into all fields that the table stores."""
        for field in filter(self.stores, FIELDS):
            self.view(field)[...] = arrays[field]

    def grown(self, new_embeddings: Floats, initial_accumulator: float = 1.0) -> ParameterTable:
        """Return a table with these rows, followed by rows for ``new_embeddings``, of shape (n_new, no_components).

        The new rows have the biases and accumulators of a new table.
        """
        n_rows = len(self.rows)
        n_all = n_rows + len(new_embeddings)
        table = ParameterTable(n_all, self.no_components, self.learning_schedule, initial_accumulator, self.folder)
        table.rows[:n_rows], table.biases[:n_rows] = self.rows, self.biases
        table.view("embeddings")[n_rows:] = new_embeddings
        return table

    def copy(self) -> ParameterTable:
        if self.folder is None:
            return ParameterTable.of_copies(self.rows, self.biases, self.no_components, self.learning_schedule)
        return self.grown(np.empty((0, self.no_components), dtype=np.float32))

    def part(self, first: int, n_rows: int) -> ParameterTable:
        """Return a table of some rows, which are this table's own."""
        part = ParameterTable.__new__(ParameterTable)
        vars(part).update(vars(self))
        part.rows, part.biases = (array[first : first + n_rows] for array in (self.rows, self.biases))
        return part

    @contextmanager
    def lent(self, first: int, n_rows: int, n_last: int) -> Iterator[ParameterTable]:
        """Yield a table of some rows and, after them, of this table's ``n_last`` last rows, to be trained in place.

        Last rows that are wanted elsewhere too are copied, and the changed rows are written back at the end.
        """
        if not n_last:
            yield self.part(first, n_rows)
            return
        chosen = np.r_[first : first + n_rows, len(self.rows) - n_last : len(self.rows)]
        table = ParameterTable(len(chosen), self.no_components, self.learning_schedule)
        np.take(self.rows, chosen, axis=0, out=table.rows)
        np.take(self.biases, chosen, axis=0, out=table.biases)
        try:
            yield table
        finally:
            self.rows[chosen], self.biases[chosen] = table.rows, table.biases

    def save_to(self, other: ParameterTable) -> None:
        """Copy the values into a table of the same shape."""
        np.copyto(other.rows, self.rows)
        np.copyto(other.biases, self.biases)

    def all_finite(self, num_threads: int) -> bool:
        return bool(
            _core.engine.all_finite(self.rows, num_threads) and _core.engine.all_finite(self.biases, num_threads)
        )


def check_accumulator(array: Floats, side: str, field: str, learning_schedule: str) -> None:
    """Raise ValueError if ``array`` is an accumulator with an invalid value. Embeddings and biases are not checked."""
    if field.endswith(("gradients", "momentum")) and array.size:
        divides = learning_schedule == "adagrad" and field not in MOMENTUM
        if array.min() < (np.finfo(np.float32).tiny if divides else 0.0):
            raise ValueError(
                f"{side}_{field} has a value of {array.min()}; sums of squares are at least 0, "
                "and with adagrad start above 0"
            )


class MappedTable:
    """A read-only table over arrays anywhere in memory, such as in a mapped file.

    It has the same methods for reading as :class:`ParameterTable`. ``rows`` holds the embeddings only.

    Parameters
    ----------
    embeddings : ndarray of shape (n_rows, width), float32
        Embeddings, padded with zeros as in :class:`ParameterTable`. The array must not be flagged read-only, since the
        core's memory views accept no such arrays; nothing writes to it.
    biases : ndarray of shape (n_rows,), float32
    accumulators : dict
        The arrays of the other fields by name. A missing field has its initial values.
    """

    def __init__(
        self,
        embeddings: Floats,
        biases: Floats,
        accumulators: dict[str, Floats],
        no_components: int,
        learning_schedule: str,
        initial_accumulator: float = 1.0,
    ) -> None:
        self.no_components = no_components
        self.learning_schedule = learning_schedule
        self.rows = embeddings
        self.biases = biases[:, None]
        self.width = embeddings.shape[1]
        self._unchecked_side: str | None = None  # the side's name until its values have been checked
        self._stored = {"embeddings": embeddings, "biases": biases, **accumulators}
        start = np.float32(initial_accumulator if learning_schedule == "adagrad" else 0.0)
        self._arrays = {"embeddings": embeddings[:, :no_components], "biases": biases}
        for field in FIELDS:
            if field not in self._arrays:
                value = np.float32(0) if field in MOMENTUM else start
                shape = self._arrays["biases" if field.startswith("bias") else "embeddings"].shape
                self._arrays[field] = accumulators.get(field, np.broadcast_to(value, shape))

    @classmethod
    def of(
        cls,
        arrays: dict[str, Floats],
        side: str,
        no_components: int,
        learning_schedule: str,
        initial_accumulator: float = 1.0,
        with_values: bool = True,
    ) -> MappedTable:
        """Make a table of a file's arrays, given by field.

        Values are checked at once with ``with_values``, else when :meth:`copy` is called.

        Raises
        ------
        ValueError
            If the arrays are not float32, do not agree in shape, or :meth:`check_values` refuses them.
        """
        width = padded_width(no_components)
        n_rows = arrays["biases"].size
        for field, array in arrays.items():
            columns = width if field == "embeddings" else no_components
            expected = (n_rows,) if field.startswith("bias") else (n_rows, columns)
            if array.dtype != np.float32 or array.shape != expected or not n_rows:
                raise ValueError(f"{side}_{field} is {array.dtype} of shape {array.shape}, expected float32 {expected}")
        table = cls(
            arrays["embeddings"],
            arrays["biases"],
            {field: array for field, array in arrays.items() if field not in ("embeddings", "biases")},
            no_components,
            learning_schedule,
            initial_accumulator,
        )
        table._unchecked_side = side
        if with_values:
            table.check_values()
        return table

    def check_values(self) -> None:
        """Raise ValueError if parameters are not finite, padding is not zero or accumulators are out of range."""
        side = self._unchecked_side
        if side is None:
            return
        for field, array in self._stored.items():
            check_accumulator(array, side, field, self.learning_schedule)
        if not self.all_finite(1) or self.rows[:, self.no_components :].any():
            raise ValueError(f"the {side} parameters hold NaN or infinity, or padding other than zeros")
        self._unchecked_side = None

    def __reduce__(self) -> Any:
        shape = len(self.rows), self.no_components, self.learning_schedule
        return ParameterTable, shape, self.copy().__getstate__()  # a pickled model does not depend on the file

    def stores(self, field: str) -> bool:
        return field not in MOMENTUM or self.learning_schedule == "adadelta"

    def view(self, field: str) -> Floats:
        """Return a read-only view of one field's array."""
        view = self._arrays[field].view()
        view.flags.writeable = False
        return view

    def copy(self) -> ParameterTable:
        """Return a trainable table of the same values. Raises ValueError as :meth:`check_values`."""
        self.check_values()
        table = ParameterTable(len(self.rows), self.no_components, self.learning_schedule)
        table.fill(self._arrays)
        return table

    def all_finite(self, num_threads: int) -> bool:
        return all(_core.engine.all_finite(np.atleast_2d(array), num_threads) for array in self._stored.values())
