"""SciPy and NumPy in, canonical matrices out: the judge of every matrix and array that users give."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from lightfm_fast import _core
from lightfm_fast._arguments import LARGEST_INDEX, check_row_numbers


def check_known_positives(interactions: Any, name: str, above_zero: bool = False) -> sp.csr_matrix:
    """Return a new canonical float32 CSR matrix of ones where ``interactions`` has entries other than zero.

    With ``above_zero``, where it has entries above 0.

    Raises
    ------
    ValueError
        If ``interactions`` is not a two-dimensional matrix of finite numbers.
    """
    check_is_no_list(interactions, name)
    matrix = check_entries(interactions, name)
    known = matrix.data > 0 if above_zero else matrix.data != 0
    if is_canonical(matrix) and known.all():
        ones = np.ones(matrix.nnz, dtype=np.float32)
        return sp.csr_matrix((ones, matrix.indices, matrix.indptr), shape=matrix.shape)
    # entry by entry, because a conversion that sums entries given twice could cancel them
    entries = sp.coo_matrix(matrix)
    positives = sp.csr_matrix(
        (np.ones(np.count_nonzero(known), dtype=np.float32), (entries.row[known], entries.col[known])),
        shape=entries.shape,
    )
    positives.sum_duplicates()
    positives.data[:] = 1
    return positives


def check_stored_entries(interactions: Any, name: str) -> sp.coo_matrix:
    """Return :func:`check_entries` of interactions as a COO matrix."""
    check_is_no_list(interactions, name)
    return check_entries(interactions, name).tocoo(copy=False)


# A matrix is judged whole unless it has this many rows, and this many for each row that is asked for: judging a small
# matrix costs nothing that a caller notices.
LARGE, MANY_ROWS = 4096, 8

# What SciPy, NumPy or a check here raises where a sparse matrix is not put together as one must be.
MALFORMED = (ValueError, TypeError, IndexError, AttributeError, OverflowError)


def check_entries(matrix: Any, name: str) -> Any:
    """Copy all stored entries, duplicates and explicit zeros too: a CSR matrix to CSR, any other matrix to COO.

    Every matrix passes here before a kernel, or SciPy's compiled code, reads it. The arrays are copied before they are
    judged, so that other holders of the matrix cannot change what has been judged.

    Raises
    ------
    ValueError
        If ``matrix`` is not a two-dimensional matrix of finite numbers, or points outside its arrays or its shape.
    """
    shown = "" if hasattr(matrix, "ndim") else f": it is {_type_name(matrix)}"
    if not sp.issparse(matrix):
        matrix = _as_dense(matrix, name)
    if matrix.ndim != 2:
        raise ValueError(f"{name} has {matrix.ndim} dimension(s), expected 2, rows and columns{shown}")
    if hasattr(matrix, "dtype"):  # a sparse matrix has none if its values are no array
        _check_numeric(matrix, name)
    if not sp.issparse(matrix):
        entries = sp.coo_matrix(_without_halves(matrix))
    else:
        try:
            entries = _own_entries(matrix)
        except MALFORMED as error:
            raise ValueError(f"{name} is not put together as a matrix must be: {error}") from error
    if not np.isfinite(entries.data).all():
        at = int(np.isfinite(entries.data).argmin())
        cells = entries.tocoo(copy=False)
        raise ValueError(
            f"{name} holds NaN or infinity, {entries.data[at]} in row {cells.row[at]:,}, column {cells.col[at]:,} "
            "first: give finite values, and leave out what is unknown"
        )
    return entries


def check_is_no_list(interactions: Any, name: str) -> None:
    """Raise ValueError for pairs, tables and datasets, of which NumPy would make a matrix of another meaning."""
    advice = (
        "expected a matrix with a row for each user and a column for each item: "
        "scipy.sparse.coo_matrix((numpy.ones(n), (users, items))) makes one of n row numbers, "
        "lightfm_fast.data.Dataset of any ids"
    )
    if isinstance(interactions, (list, tuple)):
        lengths = {len(row) if isinstance(row, (list, tuple)) else 0 for row in interactions}
        if lengths and lengths <= {2, 3}:
            raise ValueError(f"{name} is a list of {'pairs' if lengths == {2} else 'triples'}, {advice}")
    elif hasattr(interactions, "interactions") and hasattr(interactions, "mapping"):
        raise ValueError(f"{name} is a {type(interactions).__name__}: give its matrix, dataset.interactions")
    elif any(hasattr(interactions, attribute) for attribute in ("__dataframe__", "__arrow_c_stream__", "columns")):
        raise ValueError(
            f"{name} is a table ({_type_name(interactions)}), {advice.replace('Dataset of', 'Dataset.from_tables of')}"
        )


def _type_name(value: Any) -> str:
    return f"{type(value).__module__.partition('.')[0]}.{type(value).__name__}"


def _as_dense(matrix: Any, name: str) -> NDArray[Any]:
    if type(matrix).__module__.partition(".")[0] == "torch":
        raise ValueError(f"{name} is a torch tensor, expected a SciPy matrix or a NumPy array: tensor.numpy()")
    try:
        return np.asarray(matrix.filled(0) if isinstance(matrix, np.ma.MaskedArray) else matrix)
    except Exception as error:  # whatever an object does that is asked for its values
        raise ValueError(f"{name} is {type(matrix).__name__}, expected a matrix of numbers: {error}") from error


def _own_entries(matrix: Any) -> Any:
    """Copy and judge a sparse matrix; one of MALFORMED if it is put together wrongly."""
    shape = matrix.shape
    if matrix.format == "lil":  # where lengths differ SciPy writes past its arrays
        lengths = [[len(row) for row in rows] for rows in (matrix.rows, matrix.data)]
        if lengths[0] != lengths[1] or len(lengths[0]) != shape[0]:
            raise ValueError("its rows do not have as many columns as values")
    if matrix.format not in ("csr", "csc"):
        cells = matrix if matrix.format == "coo" else matrix.tocoo()
        data = _own_array(cells.data, "biuf", "data")
        row, column = (_own_array(getattr(cells, name), "iu", name) for name in ("row", "col"))
        if not len(row) == len(column) == len(data):
            raise ValueError(f"it has {len(row):,} rows, {len(column):,} columns and {len(data):,} values of entries")
        _check_index(row, shape[0], "row")
        _check_index(column, shape[1], "column")
        return sp.coo_matrix((data, (row, column)), shape=shape)
    data = _own_array(matrix.data, "biuf", "data")
    indices, indptr = (_own_array(getattr(matrix, name), "iu", name) for name in ("indices", "indptr"))
    n_major, n_minor = shape if matrix.format == "csr" else shape[::-1]
    if len(indptr) != n_major + 1:
        raise ValueError(f"indptr has {len(indptr):,} numbers, expected {n_major + 1:,}")
    if indptr[0] != 0 or (indptr[1:] < indptr[:-1]).any():
        raise ValueError("indptr must start at 0 and not decrease")
    if indptr[-1] > min(len(indices), len(data)):
        raise ValueError(f"indptr ends at {indptr[-1]:,} but there are {len(indices):,} indices, {len(data):,} values")
    indices, data = indices[: indptr[-1]], data[: indptr[-1]]
    _check_index(indices, n_minor, "column" if matrix.format == "csr" else "row")
    if matrix.format == "csr":
        return sp.csr_matrix((data, indices, indptr), shape=shape)
    return sp.coo_matrix((data, (indices, np.repeat(np.arange(n_major), np.diff(indptr)))), shape=shape)


def _own_array(values: Any, kinds: str, name: str) -> NDArray[Any]:
    array = np.array(values, order="C")  # a copy
    if array.ndim != 1 or array.dtype.kind not in kinds:
        raise ValueError(f"{name} has {array.ndim} dimension(s) of type {array.dtype}, expected one of numbers")
    if kinds == "iu" and array.dtype.kind == "u":  # SciPy takes none; what is too large for int64 becomes negative
        return array.astype(np.int64)
    return _without_halves(array)


def _without_halves(values: NDArray[Any]) -> NDArray[Any]:
    """Return float16, of which SciPy has no sparse matrices, in single precision."""
    return values.astype(np.float32) if values.dtype == np.float16 else values


def _check_index(index: NDArray[Any], length: int, axis: str) -> None:
    if index.size and not 0 <= index.min() <= index.max() < length:
        wrong = index[(index < 0) | (index >= length)][0]
        raise ValueError(f"an entry is in {axis} {wrong:,}, outside of 0 to {length - 1:,}")


def check_values(values: Any, name: str) -> NDArray[np.float64]:
    """Return one-dimensional finite numbers as float64; ValueError for anything else."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{name} has {array.ndim} dimension(s), expected 1")
    _check_numeric(array, name)
    _check_all_finite(array, name)
    return array.astype(np.float64)


def _check_numeric(values: Any, name: str) -> None:
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{name} holds values of type {values.dtype}, expected numbers")


def _check_all_finite(values: NDArray[Any], name: str) -> None:
    if not np.isfinite(values).all():
        raise ValueError(f"{name} holds NaN or infinity: give finite values, and leave out what is unknown")


def is_canonical(matrix: Any) -> bool:
    """Whether it is CSR with each row's columns ascending and once each."""
    return bool(matrix.format == "csr" and matrix.has_canonical_format)


class Interactions(sp.coo_matrix):
    """Judged entries in read-only index arrays, with what the core found out about their order.

    Attributes
    ----------
    look : Look
        The core's, which knows the order of the entries.
    judged : tuple
        The arrays ``row`` and ``col`` that were judged. Other arrays are judged again.
    is_positive : bool
        Whether all values are above 0.
    """

    look: Any
    judged: tuple[NDArray[np.int32], NDArray[np.int32]]
    is_positive: bool


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """Return a read-only copy of the array; a read-only copy is returned as it is."""
    if isinstance(array.base, bytes) and array.flags.c_contiguous:
        return array
    return np.frombuffer(array.tobytes(), array.dtype)


def check_interactions(interactions: Any, num_threads: int = 1, name: str = "interactions") -> Interactions:
    """Return the stored entries as COO with int32 row and col, copied and then judged.

    Entries that were judged before are returned as they are. The values may still be the caller's array: no value is
    used as an index.

    Raises
    ------
    ValueError
        If ``interactions`` is not a matrix of finite numbers with at least one row and column, or an index lies
        outside it.
    """
    if isinstance(interactions, Interactions) and hasattr(interactions, "judged"):
        row, col = interactions.judged
        if interactions.row is row and interactions.col is col:
            return interactions
    result = _quickly_judged(interactions, num_threads)
    if result is None:
        entries = check_stored_entries(interactions, name)
        if not all(0 < length <= LARGEST_INDEX for length in entries.shape):
            raise ValueError(f"{name} has shape {entries.shape}, expected between 1 and 2**31 - 1 users and items")
        result = Interactions(entries.shape, dtype=entries.dtype)
        # Set one by one, since the constructor would choose another index type.
        result.row, result.col = (frozen(index.astype(np.int32, copy=False)) for index in (entries.row, entries.col))
        result.data = entries.data
        result.look = look_at_order(result.row, result.col, entries.shape, num_threads)
        result.is_positive = bool((entries.data > 0).all())
    result.has_canonical_format = False  # not checked for duplicates
    result.judged = result.row, result.col
    return result


def look_at_order(row: NDArray[np.int32], col: NDArray[np.int32], shape: Any, num_threads: int) -> Any:
    """Return the core's look at entries that have been judged, whatever their values."""
    return _core.engine.Look(row, col, np.ones(len(row), np.float32), *shape, num_threads)


def _quickly_judged(interactions: Any, num_threads: int) -> Interactions | None:
    """Return what is mostly given, COO in single precision, by one look at a copy of its indices.

    None where the look finds anything that is to be judged, or where it is something else.
    """
    matrix: Any = interactions if sp.issparse(interactions) else None
    if matrix is None or matrix.format != "coo" or matrix.ndim != 2:
        return None
    arrays = (matrix.row, matrix.col, matrix.data)
    if not all(isinstance(array, np.ndarray) for array in arrays):
        return None
    if [array.dtype for array in arrays] != [np.int32, np.int32, np.float32] or not all(
        array.ndim == 1 and array.flags.c_contiguous and array.size == arrays[0].size for array in arrays
    ):
        return None
    if not all(0 < length <= LARGEST_INDEX for length in matrix.shape):
        return None
    row, col, values = frozen(arrays[0]), frozen(arrays[1]), arrays[2]
    look = _core.engine.Look(row, col, values, *matrix.shape, num_threads)
    if not look.is_sound:
        return None
    # SciPy's constructor, which looks at the arrays too, would only take time.
    result = Interactions.__new__(Interactions)
    vars(result).update(vars(interactions))
    result.row, result.col, result.look, result.is_positive = row, col, look, look.is_positive
    return result


def to_single(values: NDArray[Any], name: str) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        single = np.ascontiguousarray(values, dtype=np.float32)
    if not np.isfinite(single).all():
        raise ValueError(f"{name} holds NaN, infinity or values too large for single precision")
    return single


def check_features(features: Any, side: str, n_rows: int, rows: NDArray[np.int64] | None = None) -> sp.csr_matrix:
    """Copy ``features`` to a canonical float32 CSR matrix: columns sorted, duplicates added up.

    Parameters
    ----------
    features : sparse matrix or array, or dense array
    side : str
    n_rows : int
        How many rows there must be.
    rows : int64 array, optional
        The rows that are read, all below ``n_rows``. Where they are few in a large CSR matrix, only these rows are
        copied and judged, and the other rows of the result are empty: a request costs little, however large the matrix.

    Raises
    ------
    ValueError
        If ``features`` is no matrix of finite numbers, or has fewer than ``n_rows`` rows.
    """
    if rows is not None:
        features = _without_other_rows(features, f"{side}_features", rows)
    return check_block(features, f"{side}_features", n_rows, f"{side}s")


def _without_other_rows(matrix: Any, name: str, rows: NDArray[np.int64]) -> Any:
    """Copy the given rows of a CSR matrix, still to be judged, into one of its shape; any other matrix as it is."""
    given: Any = matrix if sp.issparse(matrix) else None
    if given is None or given.format != "csr" or given.ndim != 2:
        return matrix
    n_rows = given.shape[0]
    if n_rows < LARGE or len(rows) * MANY_ROWS > n_rows or (rows.size and rows.max() >= n_rows):
        return matrix
    rows = np.unique(rows)
    try:
        if np.asarray(given.data).dtype.kind not in "biuf":
            return matrix
        chosen = _take_rows(given, rows)
        lengths = np.zeros(n_rows + 1, dtype=np.int64)
        lengths[rows + 1] = np.diff(chosen.indptr)
        return sp.csr_matrix((chosen.data, chosen.indices, np.cumsum(lengths)), shape=given.shape)
    except MALFORMED as error:
        raise ValueError(f"{name} is not put together as a matrix must be: {error}") from error


def check_block(matrix: Any, name: str, n_rows: int, entities: str) -> sp.csr_matrix:
    """Return a matrix with a row for each of ``n_rows`` ``entities`` as :func:`check_features` does.

    Raises
    ------
    ValueError
        If it is no matrix of finite numbers or has fewer rows.
    """
    entries = check_entries(matrix, name)
    if entries.shape[0] < n_rows:
        raise ValueError(
            f"{name} has {entries.shape[0]:,} rows but there are {n_rows:,} {entities}: it needs a row for each"
        )
    if not 0 < entries.shape[1] <= LARGEST_INDEX:
        raise ValueError(f"{name} has {entries.shape[1]} columns, expected between 1 and 2**31 - 1")
    if entries.data.dtype != np.float32:
        entries.data = to_single(entries.data, name)
    n_entries = entries.nnz
    rows = entries.tocsr()
    rows.sum_duplicates()
    if rows.nnz < n_entries:
        to_single(rows.data, name)
    return rows


def check_block_rows(rows: Any, name: str, n_rows: int, n_known: int) -> NDArray[np.int32]:
    """Copy ``n_rows`` row numbers below ``n_known`` to an int32 array.

    Raises
    ------
    ValueError
        If they are not as many, no whole numbers, or out of range.
    """
    numbers = check_row_numbers(np.array(rows), f"the rows of {name}")
    if numbers.shape != (n_rows,):
        raise ValueError(f"the rows of {name} have shape {numbers.shape}, expected ({n_rows},): one an interaction")
    if numbers.size and numbers.max() >= n_known:
        raise ValueError(f"the rows of {name} go up to {numbers.max():,} but its matrix has {n_known:,}, from 0")
    return numbers.astype(np.int32)


def check_seen(interactions: Any, users: NDArray[np.int64], n_items: int) -> sp.csr_matrix:
    """Return the entries other than zero of the rows of ``users``, one row for each, as sorted CSR.

    Only these rows of a CSR matrix are read, so that the cost of few users does not grow with the matrix.

    Raises
    ------
    ValueError
        If ``interactions`` is no matrix of finite numbers, lacks a user or has more than ``n_items`` columns.
    """
    name = "interactions"
    matrix = interactions
    if getattr(matrix, "format", None) != "csr" or matrix.ndim != 2:
        matrix = check_known_positives(matrix, name)
    n_rows, n_columns = matrix.shape
    if n_columns > n_items:
        raise ValueError(f"{name} has {n_columns:,} items but the model has {n_items:,}")
    if users.size and users.max() >= n_rows:
        raise ValueError(
            f"user_ids goes up to {users.max():,} but {name} has only {n_rows:,} users: it needs a row each"
        )
    try:
        chosen = _take_rows(matrix, users)
    except MALFORMED as error:
        raise ValueError(f"{name} is not put together as a matrix must be: {error}") from error
    chosen = check_entries(chosen, name)
    values, columns, indptr = chosen.data, chosen.indices.astype(np.int64), chosen.indptr
    lengths = np.diff(indptr)
    cells = np.repeat(np.arange(len(users)) * n_items, lengths) + columns
    if not values.all() or (cells[1:] <= cells[:-1]).any():
        cells = np.unique(cells[values != 0])
        columns = cells % n_items
        indptr = np.searchsorted(cells, np.arange(len(users) + 1) * n_items)
    return sp.csr_matrix((np.ones(len(columns), dtype=np.float32), columns, indptr), shape=(len(users), n_items))


def _take_rows(matrix: Any, rows: NDArray[np.int64]) -> sp.csr_matrix:
    """Copy rows of a CSR matrix, whose entries are still to be judged; one of MALFORMED if it has no such entries."""
    indptr, indices, data = (np.asarray(getattr(matrix, name)) for name in ("indptr", "indices", "data"))
    first, last = (_own_array(indptr[rows + i], "iu", "indptr").astype(np.int64, copy=False) for i in (0, 1))
    if indptr[0] != 0 or len(indptr) != matrix.shape[0] + 1 or (first < 0).any() or (last < first).any():
        raise ValueError(f"indptr must have {matrix.shape[0] + 1:,} numbers, start at 0 and not decrease")
    if (last > min(len(indices), len(data))).any():
        raise ValueError(f"indptr goes beyond {len(indices):,} indices and {len(data):,} values")
    ends = np.append(0, np.cumsum(last - first))
    entries = np.arange(ends[-1]) + np.repeat(first - ends[:-1], last - first)
    columns = _own_array(indices[entries], "iu", "indices")
    return sp.csr_matrix((data[entries], columns, ends), shape=(len(rows), matrix.shape[1]))


def check_state_array(value: Any, name: str, ndim: int) -> NDArray[np.float32]:
    """Return ``value`` as a finite float32 array of ``ndim`` dimensions, its own copy.

    Raises
    ------
    ValueError
        If it is not.
    """
    array = np.asarray(value)
    if array.ndim != ndim or array.dtype.kind not in "biuf" or not array.size:
        raise ValueError(
            f"{name} is given {array.ndim} dimension(s) of {array.dtype}, shape {array.shape}; expected a non-empty "
            f"array of numbers with {ndim}"
        )
    return to_single(array, name).copy()


def common_entries(test: sp.csr_matrix, train: sp.csr_matrix, num_threads: int = 1) -> NDArray[np.bool_]:
    """Tell of each stored entry of ``test`` whether ``train``, of the same shape and sorted, stores one there too."""
    common = np.zeros(test.nnz, dtype=bool)
    _core.ranking.find_common(
        test.indptr.astype(np.int64, copy=False),
        test.indices.astype(np.int32, copy=False),
        train.indptr.astype(np.int64, copy=False),
        train.indices.astype(np.int32, copy=False),
        common.view(np.uint8),
        num_threads,
    )
    return common
