"""SciPy and NumPy in, canonical matrices out: checks of every matrix and array that users pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from lightfm_fast import _core
from lightfm_fast._arguments import LARGEST_INDEX, UNREADABLE, as_array, check_row_numbers


def check_known_positives(interactions: Any, name: str, above_zero: bool = False) -> sp.csr_matrix:
    """Check interactions by :func:`check_entries`, and return their :func:`known_positives`."""
    check_is_no_list(interactions, name)
    return known_positives(check_entries(interactions, name), above_zero)


def known_positives(matrix: Any, above_zero: bool = False) -> sp.csr_matrix:
    """Return a canonical float32 CSR matrix with a one for each entry of a checked matrix other than zero.

    With ``above_zero``, only entries above 0 count.
    """
    known = matrix.data > 0 if above_zero else matrix.data != 0
    if is_canonical(matrix) and known.all():
        ones = np.ones(matrix.nnz, dtype=np.float32)
        return sp.csr_matrix((ones, matrix.indices, matrix.indptr), shape=matrix.shape)
    # Converted entry by entry: a conversion that sums duplicates could cancel them.
    entries = sp.coo_matrix(matrix)
    positives = count_pairs(entries.row[known], entries.col[known], entries.shape)
    positives.sum_duplicates()
    positives.data[:] = 1
    return positives


def as_seen(interactions: Any) -> Any:
    """Return a sparse matrix with -1 in the place of stored zeros: an item with an entry of value 0 is seen too."""
    if interactions.data.all():
        return interactions
    seen = interactions.copy()
    seen.data = np.where(seen.data == 0, np.float32(-1), seen.data)
    return seen


def check_stored_entries(interactions: Any, name: str) -> sp.coo_matrix:
    """Check interactions by :func:`check_entries`, and return them as a COO matrix."""
    check_is_no_list(interactions, name)
    return check_entries(interactions, name).tocoo(copy=False)


# Only the rows asked for are checked if a matrix has at least LARGE rows, and MANY_ROWS rows for each row asked for.
# Any other matrix is checked whole, which takes no noticeable time.
LARGE, MANY_ROWS = 4096, 8

# Exceptions that SciPy, NumPy or a check here raises for a malformed sparse matrix.
MALFORMED = (ValueError, TypeError, IndexError, AttributeError, OverflowError)


def check_entries(matrix: Any, name: str) -> Any:
    """Copy and check all stored entries, also duplicates and explicit zeros. Returns CSR for CSR, else COO.

    Every matrix is checked here before a kernel, or SciPy's compiled code, reads it. The arrays are copied before they
    are checked, so that nobody else can change them afterwards.
    A :func:`sealed` matrix is returned as it is.

    Raises
    ------
    ValueError
        If ``matrix`` is not a two-dimensional matrix of finite numbers, or points outside its arrays or its shape.
    """
    if is_sealed(matrix):
        return matrix
    shown = "" if hasattr(matrix, "ndim") else f": it is {_type_name(matrix)}"
    if not sp.issparse(matrix):
        matrix = _as_dense(matrix, name)
    if matrix.ndim != 2:
        raise ValueError(f"{name} has {matrix.ndim} dimension(s), expected 2, rows and columns{shown}")
    if max(matrix.shape) > LARGEST_INDEX:  # a conversion would take memory for as many rows
        raise ValueError(
            f"{name} has shape {matrix.shape}, expected at most 2**31 - 1 rows and columns: number users, items and "
            "features from 0 without gaps, as lightfm_fast.data.Dataset does"
        )
    if hasattr(matrix, "dtype"):  # a malformed sparse matrix may have no dtype
        _check_numeric(matrix, name)
    if not sp.issparse(matrix):
        entries = sp.coo_matrix(_for_scipy(matrix))
    else:
        try:
            entries = _own_entries(matrix)
        except MALFORMED as error:
            raise ValueError(f"{name} is a malformed matrix: {error}") from error
    if not np.isfinite(entries.data).all():
        at = int(np.isfinite(entries.data).argmin())
        cells = entries.tocoo(copy=False)
        raise ValueError(
            f"{name} holds NaN or infinity, {entries.data[at]} in row {cells.row[at]:,}, column {cells.col[at]:,} "
            "first: give finite values, and leave out what is unknown"
        )
    return entries


def check_is_no_list(interactions: Any, name: str) -> None:
    """Raise ValueError for pairs, data frames and datasets: NumPy would turn them into a matrix of another meaning."""
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
    elif hasattr(interactions, "to_dataset") and hasattr(interactions, "scratch"):
        raise ValueError(
            f"{name} is a {type(interactions).__name__}, which LightFM.fit takes, and which has evaluate, split and "
            "recommend_to itself. Elsewhere give the matrix in memory, to_dataset().interactions"
        )
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
    except UNREADABLE as error:
        raise ValueError(f"{name} is {type(matrix).__name__}, expected a matrix of numbers: {error}") from error


def _own_entries(matrix: Any) -> Any:
    """Copy and check a sparse matrix. Raises one of MALFORMED if its arrays do not fit together."""
    shape = matrix.shape
    if matrix.format == "lil":  # checked first: SciPy writes past its arrays if lengths differ
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
    if kinds == "iu" and array.dtype.kind == "u":  # SciPy takes signed indices; values above int64 become negative
        return array.astype(np.int64)
    return _for_scipy(array)


def _for_scipy(values: NDArray[Any]) -> NDArray[Any]:
    """Return values of a type that SciPy has sparse matrices of: no float16, and bytes in the machine's order."""
    dtype = np.dtype(np.float32) if values.dtype == np.float16 else values.dtype.newbyteorder("=")
    return values.astype(dtype, copy=False)


def _check_index(index: NDArray[Any], length: int, axis: str) -> None:
    if index.size and not 0 <= index.min() <= index.max() < length:
        wrong = index[(index < 0) | (index >= length)][0]
        raise ValueError(f"an entry is in {axis} {wrong:,}, outside of 0 to {length - 1:,}")


def check_values(values: Any, name: str) -> NDArray[np.float64]:
    """Return one-dimensional finite numbers as float64. Raise ValueError for anything else."""
    array = as_array(values, name)
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
    """Return whether it is CSR with sorted columns in each row and without duplicates."""
    return bool(matrix.format == "csr" and matrix.has_canonical_format)


class SealedMatrix(sp.csr_matrix):
    """A checked matrix with read-only arrays; see :func:`sealed`.

    Attributes
    ----------
    judged : tuple
        The shape and the arrays that were checked. If others replace them, the matrix is checked again.
    """

    judged: tuple[Any, ...]


def sealed(matrix: sp.csr_matrix) -> SealedMatrix:
    """Mark a canonical float32 matrix as checked, so that later checks return it as it is.

    A check must have made the matrix, and no caller may hold its arrays. They become read-only. A slice or a copy of
    the result is not marked.
    """
    result = SealedMatrix.__new__(SealedMatrix)
    vars(result).update(vars(matrix))
    for array in (matrix.data, matrix.indices, matrix.indptr):
        array.flags.writeable = False
    result.judged = matrix.shape, matrix.data, matrix.indices, matrix.indptr
    return result


def is_sealed(matrix: Any) -> bool:
    """Return whether a matrix is unchanged since :func:`sealed` returned it."""
    if not isinstance(matrix, SealedMatrix) or not hasattr(matrix, "judged"):
        return False
    shape, *arrays = matrix.judged
    held = matrix.data, matrix.indices, matrix.indptr
    return matrix.shape == shape and all(
        now is then and not now.flags.writeable for now, then in zip(held, arrays, strict=True)
    )


def unsealed(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """Return a writable copy of a sealed matrix; any other matrix unchanged."""
    return matrix.copy() if is_sealed(matrix) else matrix


class Interactions(sp.coo_matrix):
    """Checked entries in read-only index arrays, with the core's record of their order.

    Attributes
    ----------
    check : EntryCheck
        The core's record of the order of the entries.
    judged : tuple
        The shape and the arrays ``row``, ``col`` and ``data`` that were checked. They are checked again if others
        replace them, or if ``data`` has other signs since.
    is_positive : bool
        Whether all values are above 0.
    visits : int64 array of shape (n_items,) or None
        How many entries each item has in a larger whole, of which these are a part.
    """

    check: Any
    judged: tuple[Any, ...]
    is_positive: bool
    visits: NDArray[np.int64] | None = None

    def __reduce__(self) -> Any:
        """Copy and pickle as an unchecked matrix: who unpickles it checks it anew."""
        return check_again, (sp.coo_matrix((self.data, (self.row, self.col)), shape=self.shape), self.visits)


def frozen(array: NDArray[Any], num_threads: int = 1) -> NDArray[Any]:
    """Return a read-only copy of the array, or the array itself if it is such a copy."""
    return all_frozen([array], num_threads)[0]


def all_frozen(arrays: Sequence[NDArray[Any]], num_threads: int) -> list[NDArray[Any]]:
    """Return a read-only copy of each array, or the array itself if it is such a copy. Copies share one block."""
    are_frozen = [isinstance(array.base, bytes) and array.flags.c_contiguous for array in arrays]
    given = [array for array, is_frozen in zip(arrays, are_frozen, strict=True) if not is_frozen]
    if not given:
        return list(arrays)
    memory = [np.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in given]
    block = _core.engine.copy_to_bytes(memory, num_threads)
    offsets = accumulate((array.nbytes for array in given), initial=0)
    copies = (
        np.frombuffer(block, array.dtype, array.size, offset) for array, offset in zip(given, offsets, strict=False)
    )
    return [array if is_frozen else next(copies) for array, is_frozen in zip(arrays, are_frozen, strict=True)]


def check_interactions(interactions: Any, num_threads: int = 1, name: str = "interactions") -> Interactions:
    """Return the stored entries as COO with int32 row and col, copied and then checked.

    Entries that were checked before are returned as they are. The values may still be the caller's array, since no
    value is used as an index.

    Raises
    ------
    ValueError
        If ``interactions`` is not a matrix of finite numbers with at least one row and column, or an index lies
        outside it.
    """
    if is_judged(interactions, num_threads):
        return interactions
    result = _quickly_judged(interactions, num_threads)
    if result is None:
        entries = check_stored_entries(interactions, name)
        if not all(0 < length <= LARGEST_INDEX for length in entries.shape):
            raise ValueError(f"{name} has shape {entries.shape}, expected between 1 and 2**31 - 1 users and items")
        result = Interactions(entries.shape, dtype=entries.dtype)
        # Set one by one, since the constructor would choose another index type.
        indices = [index.astype(np.int32, copy=False) for index in (entries.row, entries.col)]
        result.row, result.col = all_frozen(indices, num_threads)
        result.data = entries.data
        result.check = check_order(result.row, result.col, entries.shape, num_threads)
        result.is_positive = bool((entries.data > 0).all())
    result.has_canonical_format = False  # not checked for duplicates
    result.judged = result.shape, result.row, result.col, result.data
    return result


def is_judged(interactions: Any, num_threads: int) -> bool:
    """Return whether a matrix is as :func:`check_interactions` returned it, or with other values of the same signs."""
    if not isinstance(interactions, Interactions) or not hasattr(interactions, "judged"):
        return False
    shape, *arrays = interactions.judged
    data = interactions.data
    held = interactions.row, interactions.col, data
    if interactions.shape != shape or any(now is not then for now, then in zip(held, arrays, strict=True)):
        return False
    if not data.flags.writeable:
        return True
    are_finite, are_positive = judge_values(data, num_threads)
    return are_finite and are_positive == interactions.is_positive


def judge_values(values: NDArray[Any], num_threads: int) -> tuple[bool, bool]:
    """Return whether all values are finite, and whether all are above 0."""
    if values.dtype != np.float32 or not values.flags.c_contiguous:
        return bool(np.isfinite(values).all()), bool((values > 0).all())
    found: tuple[bool, bool] = _core.engine.judge_values(values, num_threads)
    return found


def check_again(matrix: sp.coo_matrix, visits: NDArray[np.int64] | None) -> Interactions:
    """Return a matrix that was pickled as :class:`Interactions` again."""
    result = check_interactions(matrix)
    result.visits = visits
    return result


def check_order(row: NDArray[np.int32], col: NDArray[np.int32], shape: Any, num_threads: int) -> Any:
    """Return the core's EntryCheck of the order of checked entries; values do not matter."""
    return _core.engine.EntryCheck(row, col, np.ones(len(row), np.float32), *shape, num_threads)


def _quickly_judged(interactions: Any, num_threads: int) -> Interactions | None:
    """Check the most common input, a float32 COO matrix, by one pass of the core over copies of its indices.

    Returns None for any other input, and if the pass finds anything that the full check must judge.
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
    (row, col), values = all_frozen(arrays[:2], num_threads), arrays[2]
    check = _core.engine.EntryCheck(row, col, values, *matrix.shape, num_threads)
    if not check.is_sound:
        return None
    # Without SciPy's constructor, which would check the arrays once more.
    result = Interactions.__new__(Interactions)
    vars(result).update(vars(interactions))
    result.row, result.col, result.check, result.is_positive = row, col, check, check.is_positive
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
        Smallest number of rows.
    rows : int64 array, optional
        The rows that the caller will read, all below ``n_rows``. If they are few of a large CSR matrix, only these rows
        are copied and checked, and the other rows of the result are empty. So a request's time does not depend on the
        size of the matrix.

    Raises
    ------
    ValueError
        If ``features`` is no matrix of finite numbers, or has fewer than ``n_rows`` rows.
    """
    if rows is not None:
        features = _without_other_rows(features, f"{side}_features", rows)
    return check_block(features, f"{side}_features", n_rows, f"{side}s")


def _without_other_rows(matrix: Any, name: str, rows: NDArray[np.int64]) -> Any:
    """Return a matrix of the same shape with the given rows only, still to be checked.

    A small matrix, or a matrix that is not CSR, is returned as it is.
    """
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
        raise ValueError(f"{name} is a malformed matrix: {error}") from error


def check_block(matrix: Any, name: str, n_rows: int, entities: str) -> sp.csr_matrix:
    """Return a matrix as :func:`check_features` does, with a row for each of the ``n_rows`` ``entities``.

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
        If there are not ``n_rows`` numbers, or a number is no whole number or out of range.
    """
    numbers = check_row_numbers(np.array(rows), f"the rows of {name}")
    if numbers.shape != (n_rows,):
        raise ValueError(
            f"the rows of {name} have shape {numbers.shape}, expected ({n_rows},): one for each interaction"
        )
    if numbers.size and numbers.max() >= n_known:
        raise ValueError(f"the rows of {name} go up to {numbers.max():,} but its matrix has {n_known:,}, from 0")
    return numbers.astype(np.int32)


def check_seen(interactions: Any, users: NDArray[np.int64], n_items: int) -> sp.csr_matrix:
    """Return the entries other than zero of the rows ``users`` as sorted CSR, with a row for each user.

    Of a CSR matrix only these rows are read, so that the time for few users does not grow with the matrix.

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
            f"user_ids goes up to {users.max():,} but {name} has only {n_rows:,} users: it needs a row for each"
        )
    try:
        chosen = _take_rows(matrix, users)
    except MALFORMED as error:
        raise ValueError(f"{name} is a malformed matrix: {error}") from error
    chosen = chosen if is_sealed(interactions) else check_entries(chosen, name)
    values, columns, indptr = chosen.data, chosen.indices.astype(np.int64), chosen.indptr
    lengths = np.diff(indptr)
    cells = np.repeat(np.arange(len(users)) * n_items, lengths) + columns
    if not values.all() or (cells[1:] <= cells[:-1]).any():
        cells = np.unique(cells[values != 0])
        columns = cells % n_items
        indptr = np.searchsorted(cells, np.arange(len(users) + 1) * n_items)
    return sp.csr_matrix((np.ones(len(columns), dtype=np.float32), columns, indptr), shape=(len(users), n_items))


def _take_rows(matrix: Any, rows: NDArray[np.int64]) -> sp.csr_matrix:
    """Copy rows of a CSR matrix; their entries are still to be checked. Raises one of MALFORMED if indptr is wrong."""
    indptr, indices, data = (np.asarray(getattr(matrix, name)) for name in ("indptr", "indices", "data"))
    first, last = (_own_array(indptr[rows + i], "iu", "indptr").astype(np.int64, copy=False) for i in (0, 1))
    if indptr[0] != 0 or len(indptr) != matrix.shape[0] + 1 or (first < 0).any() or (last < first).any():
        raise ValueError(f"indptr must have {matrix.shape[0] + 1:,} numbers, start at 0 and not decrease")
    if (last > min(len(indices), len(data))).any():
        raise ValueError(f"indptr goes beyond {len(indices):,} indices and {len(data):,} values")
    ends = np.append(0, np.cumsum(last - first))
    entries = np.arange(ends[-1]) + np.repeat(first - ends[:-1], last - first)
    columns = _own_array(indices[entries], "iu", "indices")
    return sp.csr_matrix((_for_scipy(data[entries]), columns, ends), shape=(len(rows), matrix.shape[1]))


def check_state_array(value: Any, name: str, ndim: int) -> NDArray[np.float32]:
    """Return a copy of ``value`` as a finite float32 array of ``ndim`` dimensions.

    Raises
    ------
    ValueError
        If ``value`` is empty, not numeric or not finite, or has another number of dimensions.
    """
    array = as_array(value, name)
    if array.ndim != ndim or array.dtype.kind not in "biuf" or not array.size:
        raise ValueError(
            f"{name} is given {array.ndim} dimension(s) of {array.dtype}, shape {array.shape}; expected a non-empty "
            f"array of numbers with {ndim}"
        )
    return to_single(array, name).copy()


def check_representations(
    representations: Any, name: str, no_components: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return embeddings and biases, in this order, as finite float32 arrays.

    Raises
    ------
    ValueError
        If they are not two arrays of shapes (n, ``no_components``) and (n,).
    """
    expected = f"{name}: expected embeddings of shape (n, {no_components}) and biases of shape (n,)"
    if not isinstance(representations, tuple) or len(representations) != 2:
        raise ValueError(f"{expected}; got {type(representations).__name__}")
    embeddings, biases = (as_array(part, f"{name}[{place}]") for place, part in enumerate(representations))
    shapes = [embeddings.shape, biases.shape]
    if len(shapes[0]) != 2 or shapes != [(shapes[0][0], no_components), shapes[0][:1]]:
        raise ValueError(f"{expected}; got shapes {shapes[0]} and {shapes[1]}")
    return check_state_array(embeddings, f"{name}[0]", 2), check_state_array(biases, f"{name}[1]", 1)


def common_entries(test: sp.csr_matrix, train: sp.csr_matrix, num_threads: int = 1) -> NDArray[np.bool_]:
    """Mark the stored entries of ``test`` that ``train``, sorted and of the same shape, stores too."""
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


def check_saved_arrays(
    arrays: Mapping[str, NDArray[Any]], expected: Mapping[str, tuple[Any, tuple[int, ...]]], whose: str
) -> None:
    """Raise ValueError if an array of a file is not of the expected dtype and shape, or not finite."""
    for name, (dtype, shape) in expected.items():
        array = arrays[name]
        if array.dtype != dtype or array.shape != shape or not np.isfinite(array).all():
            raise ValueError(
                f"{whose}_{name} is {array.dtype} of shape {array.shape}, expected finite "
                f"{np.dtype(dtype)} of shape {shape}"
            )


def count_pairs(rows: NDArray[Any], columns: NDArray[Any], shape: tuple[int, int]) -> sp.csr_matrix:
    """Return a float32 CSR matrix with the number of times that each pair of a row and a column is given."""
    return sp.csr_matrix((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=shape)


def rows_of_entries(matrix: sp.csr_matrix) -> NDArray[np.intp]:
    """Return the row of each stored entry of a CSR matrix."""
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))


def to_length_1(rows: Any) -> sp.csr_matrix:
    """Divide each row of a sparse matrix by its length; rows of zeros stay zeros."""
    squares = rows.astype(np.float64).power(2).sum(axis=1)  # in float32 they would overflow, or vanish
    lengths = np.sqrt(np.asarray(squares).ravel())
    return sp.csr_matrix(sp.diags(1 / np.where(lengths > 0, lengths, 1)) @ rows, dtype=np.float32)
