"""The parameters of one side of a model, in memory as the core reads them and as NumPy shows them.

A row of :class:`ParameterTable` is one feature: embedding, accumulated squared gradients and (Adadelta) accumulated
squared updates, each padded to a cache line, so that a training step fetches one run of memory. The arrays that
users see are views of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightfm_fast import _core

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


def aligned_zeros(n_rows: int, n_columns: int) -> Floats:
    """Zeros of shape (n_rows, n_columns), float32, C-contiguous, starting at a cache line."""
    size = n_rows * n_columns
    block = np.zeros(size + ROW_ALIGNMENT, dtype=np.float32)
    offset = -block.ctypes.data % CACHE_LINE // 4
    return block[offset : offset + size].reshape(n_rows, n_columns)


def to_directions(embeddings: Floats) -> Floats:
    """Divide each row by its length; zeros stay."""
    lengths = np.sqrt(np.einsum("ij,ij->i", embeddings, embeddings, dtype=np.float64))
    return (embeddings / np.where(lengths > 0, lengths, 1)[:, None]).astype(np.float32)


class ParameterTable:
    """Embeddings, biases and optimiser state of ``n_rows`` features.

    Attributes
    ----------
    rows : ndarray of shape (n_rows, segments * width), float32
    biases : ndarray of shape (n_rows, 2 or 4), float32
    width : int
        ``no_components`` rounded up to a cache line; the components past it are zero and stay so.
    """

    def __init__(
        self, n_rows: int, no_components: int, learning_schedule: str, initial_accumulator: float = 1.0
    ) -> None:
        self._lay_out(n_rows, no_components, learning_schedule, initial_accumulator)

    def _lay_out(
        self, n_rows: int, no_components: int, learning_schedule: str, initial_accumulator: float = 1.0
    ) -> None:
        self.no_components = no_components
        self.learning_schedule = learning_schedule
        self.width = -(-no_components // ROW_ALIGNMENT) * ROW_ALIGNMENT
        segments, bias_segments = (3, 4) if learning_schedule == "adadelta" else (2, 2)
        self.rows = aligned_zeros(n_rows, segments * self.width)
        self.biases = aligned_zeros(n_rows, bias_segments)
        if learning_schedule == "adagrad":  # the accumulators' padding too, since steps divide by its root
            self.rows[:, self.width :] = initial_accumulator
            self.biases[:, 1] = initial_accumulator

    def __getstate__(self) -> dict[str, Any]:
        arrays = {field: np.ascontiguousarray(self.view(field)) for field in FIELDS}
        return {"learning_schedule": self.learning_schedule, **arrays}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # A copied or unpickled array may start anywhere, so the rows are laid out again.
        n_rows, no_components = state["embeddings"].shape
        self._lay_out(n_rows, no_components, state["learning_schedule"])
        self.fill(state)

    def stores(self, field: str) -> bool:
        """Whether the table has room for the field: AdaGrad has no momentum."""
        return field not in MOMENTUM or self.learning_schedule == "adadelta"

    def view(self, field: str) -> Floats:
        """Show the array of one field; where it is not stored, new zeros, and writing to them has no effect."""
        segment = FIELDS.index(field) % 3
        if not self.stores(field):
            return np.zeros(self.view(field.replace("momentum", "gradients")).shape, dtype=np.float32)
        if field.startswith("bias"):
            return self.biases[:, segment]
        return self.rows[:, segment * self.width : segment * self.width + self.no_components]

    def fill(self, arrays: dict[str, Any]) -> None:
        """Write every field that the table stores from ``arrays``."""
        for field in filter(self.stores, FIELDS):
            self.view(field)[...] = arrays[field]

    def grown(self, new_embeddings: Floats, initial_accumulator: float = 1.0) -> ParameterTable:
        """Make a table with these rows, then one for each of ``new_embeddings``, of shape (n_new, no_components).

        The new rows' biases and accumulators stand where those of a new table stand.
        """
        n_rows = len(self.rows)
        table = ParameterTable(
            n_rows + len(new_embeddings), self.no_components, self.learning_schedule, initial_accumulator
        )
        table.rows[:n_rows], table.biases[:n_rows] = self.rows, self.biases
        table.view("embeddings")[n_rows:] = new_embeddings
        return table

    def copy(self) -> ParameterTable:
        return self.grown(np.empty((0, self.no_components), dtype=np.float32))

    def save_to(self, other: ParameterTable) -> None:
        """Copy the values into a table of the same shape."""
        np.copyto(other.rows, self.rows)
        np.copyto(other.biases, self.biases)

    def all_finite(self, num_threads: int) -> bool:
        return bool(
            _core.engine.all_finite(self.rows, num_threads) and _core.engine.all_finite(self.biases, num_threads)
        )


def check_accumulator(array: Floats, side: str, field: str, learning_schedule: str) -> None:
    """Raise ValueError if ``array`` is an accumulator that cannot be rooted; any parameters pass."""
    if field.endswith(("gradients", "momentum")) and array.size:
        divides = learning_schedule == "adagrad" and field not in MOMENTUM
        if array.min() < (np.finfo(np.float32).tiny if divides else 0.0):
            raise ValueError(
                f"{side}_{field} has a value of {array.min()}; sums of squares are at least 0, "
                "and with adagrad start above 0"
            )


class MappedTable:
    """A table that is only read, over arrays anywhere in memory, such as a mapped file.

    It offers what a :class:`ParameterTable` offers for reading. ``rows`` holds the embeddings alone.

    Parameters
    ----------
    embeddings : ndarray of shape (n_rows, width), float32
        Rows padded with zeros as those of a :class:`ParameterTable`. The array must not be flagged read-only, since
        the core takes no such arrays where it sums features up; nothing writes to it.
    biases : ndarray of shape (n_rows,), float32
    accumulators : dict
        The arrays of the other fields, as far as there are any; where there is none, training starts it anew.
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
        self._unchecked_side: str | None = None  # the side whose values were not looked at yet
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
        """Make a table of arrays that a file holds, as the constructor takes them, by their fields.

        Raises
        ------
        ValueError
            If they are not float32, do not agree in shape, or :meth:`check_values` refuses them; that is called by
            :meth:`copy` unless ``with_values`` is true.
        """
        width = -(-no_components // ROW_ALIGNMENT) * ROW_ALIGNMENT
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
        return ParameterTable, shape, self.copy().__getstate__()  # a copy has memory of its own

    def stores(self, field: str) -> bool:
        return field not in MOMENTUM or self.learning_schedule == "adadelta"

    def view(self, field: str) -> Floats:
        """Show the array of one field, read-only."""
        view = self._arrays[field].view()
        view.flags.writeable = False
        return view

    def copy(self) -> ParameterTable:
        """Make a table of the same values that can be trained; ValueError as :meth:`check_values`."""
        self.check_values()
        table = ParameterTable(len(self.rows), self.no_components, self.learning_schedule)
        table.fill(self._arrays)
        return table

    def all_finite(self, num_threads: int) -> bool:
        return all(_core.engine.all_finite(np.atleast_2d(array), num_threads) for array in self._stored.values())
