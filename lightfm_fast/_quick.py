"""What makes requests for one user quick: all items in 7 bits, kept while nothing that they depend on changes."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from lightfm_fast import _core
from lightfm_fast._matrices import is_sealed
from lightfm_fast._parameters import MappedTable
from lightfm_fast._sides import Represented, Sides

# With fewer items, all of them are scored as fast. A user's list must be shorter than a share of the items.
LEAST_ITEMS, LEAST_SHARE = 8192, 32


class QuickCopy:
    """Keeps the items in the core's QuickItems, which find the few items among which a user's best must be.

    The second request in a row for the same parameters and features makes the copy, of 12 bytes an item and one for
    each of its components. The next request after a change drops it. A change is anything that renews
    :attr:`lightfm_fast._sides.Side.version`. While somebody holds one of the items' parameter arrays, and so could
    write to it, no copy is used. Pickles and copies of a model have none.

    A feature matrix is recognised by the contents of its arrays, since its owner can change them, or by identity if it
    is sealed. Only CSR matrices are recognised.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # held by the one call that may make a copy
        self._made_of: tuple[Any, ...] | None = None
        self._quick: Any = None
        self._is_refused = False

    def __reduce__(self) -> Any:
        return QuickCopy, ()

    def shortlist(
        self,
        sides: Sides,
        features: Any,
        user: Represented,
        n: Any,
        seen_among: Callable[[int], sp.csr_matrix | None],
        num_threads: int,
    ) -> NDArray[np.int64] | None:
        """Return the items among which a user's ``n`` best must be, ascending, or None if all items must be scored.

        Parameters
        ----------
        sides : Sides
        features : sparse matrix, array or None
            The item features of the request.
        user : tuple of embeddings, biases and the user's row
        n : int
            Not checked yet.
        seen_among : callable
            Given the number of items, returns the items to leave out as a sorted matrix of one row, or None.
        num_threads : int
        """
        quick = self._current(sides, features, num_threads)
        if quick is None or not isinstance(n, int | np.integer) or not 0 < n <= quick.n_items // LEAST_SHARE:
            return None
        embeddings, _, rows = user
        assert rows is not None
        seen = seen_among(quick.n_items)
        left_out = None if seen is None else seen.indices.astype(np.int32, copy=False)
        embedding = np.ascontiguousarray(embeddings[rows[0], : sides.length])
        found = quick.shortlist(embedding, n, left_out, num_threads)
        return np.array(found, dtype=np.int64) if found else None

    def _current(self, sides: Sides, features: Any, num_threads: int) -> Any:
        """Return the QuickItems of these parameters and item features, or None if there are none, or must be none."""
        items = sides.items
        matrix: Any = features if sp.issparse(features) else None
        n_items = items.n_rows if features is None else 0 if matrix is None else matrix.shape[0]
        if n_items < LEAST_ITEMS:
            return None
        is_mapped = isinstance(sides.table("item"), MappedTable)  # whose processes share one copy of the memory
        if items.is_lent or is_mapped or not self._lock.acquire(blocking=False):
            return None
        try:
            made_of = items.version, sides.has_pairs, sides.are_cosines, sides.length, _identify(features)
            if made_of[-1] is None or made_of != self._made_of:
                self._made_of, self._quick, self._is_refused = made_of, None, False
            elif self._quick is None and not self._is_refused:
                embeddings, biases, _ = sides.represent("item", items.feature_matrix(0, features), None, num_threads)
                try:
                    quick = _core.ranking.QuickItems(
                        embeddings[:, : sides.length], biases, sides.length, sides.are_cosines, num_threads
                    )
                except ValueError:  # parameters that have no sound bounds
                    self._is_refused = True
                    return None
                if items.version is made_of[0] and _identify(features) == made_of[-1]:  # else another call changed them
                    self._quick = quick
            return self._quick
        finally:
            self._lock.release()


class _Itself:
    """Equal to another of the same object, without keeping the object."""

    def __init__(self, matrix: Any) -> None:
        self._reference = weakref.ref(matrix)

    def __eq__(self, other: object) -> bool:
        matrix = self._reference()
        return isinstance(other, _Itself) and matrix is not None and matrix is other._reference()


def _identify(features: Any) -> Any:
    """Return a value that identifies a matrix by its contents, or None if the matrix has no such value."""
    if features is None:
        return "identity"
    if is_sealed(features):
        return _Itself(features)
    given: Any = features if sp.issparse(features) else None
    if given is None or given.format != "csr":
        return None
    arrays: list[Any] = [getattr(given, name, None) for name in ("data", "indices", "indptr")]
    if not all(isinstance(array, np.ndarray) and array.ndim == 1 and array.flags.c_contiguous for array in arrays):
        return None
    return given.shape, tuple((array.dtype.str, _core.ranking.digest(array.view(np.uint8))) for array in arrays)
