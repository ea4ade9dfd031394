"""Splits of interactions into training and test data.

Choose settings and the number of epochs on a third part: split the training data once more, into training and
validation data. Splits by time return both parts' timestamps, for a second split, with ``return_timestamps=True``.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ._arguments import (
    Seed,
    check_choice,
    check_count,
    check_flag,
    check_fraction,
    check_proper_fraction,
    check_random_state,
    check_timestamps,
    shorten,
)
from ._cells import times_of_cells
from ._matrices import check_features, check_interactions, check_stored_entries
from ._training_input import check_sample_weight

__all__ = [
    "Entries",
    "InteractionSplitter",
    "cold_items_train_test_split",
    "cold_users_train_test_split",
    "leave_last_out_train_test_split",
    "random_train_test_split",
    "time_train_test_split",
]


def random_train_test_split(
    interactions: Any, test_percentage: float = 0.2, random_state: Seed = None
) -> tuple[sp.coo_matrix, sp.coo_matrix]:
    """Divide interactions at random into a training and a test matrix.

    Entries with the same user and item go to the same matrix. Some users and items may occur in the test matrix only.

    ``Dataset.build_interactions`` returns sample weights with the same entries in the same order. They are divided in
    the same way if they are split with the same integer ``random_state``.

    Parameters
    ----------
    interactions : scipy.sparse matrix or array, or numpy.ndarray, shape (n_users, n_items)
        Stored entries are divided, including explicit zeros; of a dense array, the entries that are not
        zero. It is not changed.
    test_percentage : float, default 0.2
        The fraction, from 0 to 1, of distinct pairs to hold out. The training matrix gets
        ``int((1.0 - test_percentage) * n_pairs)`` of them.
    random_state : int, RandomState, Generator or None, default None
        A seed, a generator to draw from, or None for a different split at every call.

    Returns
    -------
    train, test : scipy.sparse.coo_matrix, shape (n_users, n_items)
        Together they hold exactly the entries of ``interactions``, in its dtype, in random order.

    Raises
    ------
    ValueError
        If ``interactions`` is not a two-dimensional matrix of finite numbers, ``test_percentage`` is outside
        0 to 1, or the seed is out of range.
    TypeError
        If ``test_percentage`` is not a number or ``random_state`` is of another type.
    """
    matrix = check_stored_entries(interactions, "interactions")
    test_fraction = check_fraction(test_percentage, "test_percentage")
    random_state = check_random_state(random_state)

    order = random_state.permutation(matrix.nnz)
    first = _first_entry_of_pair(matrix)
    pairs = order[first[order] == order]

    in_test = np.zeros(matrix.nnz, dtype=bool)
    in_test[pairs[int((1.0 - test_fraction) * len(pairs)) :]] = True
    in_test = in_test[first]
    return _take(matrix, order[~in_test[order]]), _take(matrix, order[in_test[order]])


def time_train_test_split(
    interactions: Any,
    timestamps: Any,
    test_percentage: float = 0.2,
    cutoff: Any = None,
    per_user: bool = False,
    return_timestamps: bool = False,
) -> tuple[Any, ...]:
    """Divide interactions by time: train on the earlier ones, test on the later ones.

    If a (user, item) pair is stored several times, all its entries go where the earliest goes, since a pair known at
    training time is no test. A matrix of weights with the same entries in the same order is divided in the same way by
    the same call.

    Parameters
    ----------
    interactions : scipy.sparse matrix or array, or numpy.ndarray, shape (n_users, n_items)
        Stored entries are divided. It is not changed.
    timestamps : array of numbers or datetime64, shape (n_entries,)
        The time of each stored entry, in the order of ``interactions.data`` (of COO or CSR).
        ``Dataset.from_tables`` keeps timestamps in this order.
    test_percentage : float, default 0.2
        The fraction, strictly between 0 and 1, of distinct pairs to hold out.
    cutoff : number or datetime, optional
        Pairs from this point in time on are held out, in place of ``test_percentage``. A datetime with a time zone is
        converted to UTC, as timestamps are.
    per_user : bool, default False
        False: split all users at one point in time, as in production. All pairs at that time or later are held out, so
        that training sees none of them. True: hold out the latest ``floor(test_percentage * n_pairs)`` pairs of each
        user; ties are in the order in which they are stored.
    return_timestamps : bool, default False
        Also return the timestamps of both parts. A second split, into training and validation, needs the first.

    Returns
    -------
    train, test : scipy.sparse.coo_matrix, shape (n_users, n_items)
        Together they hold exactly the entries of ``interactions``, in the same order.
    train_timestamps, test_timestamps : array, one for each entry
        Only with ``return_timestamps``.

    Raises
    ------
    ValueError
        If ``interactions`` is not a two-dimensional matrix of finite numbers, the timestamps are not one for each
        entry or some are missing, ``test_percentage`` is not between 0 and 1, or ``cutoff`` comes with ``per_user``.
    TypeError
        If the timestamps, ``cutoff`` or ``test_percentage`` have another type.

    Examples
    --------
    >>> import numpy as np
    >>> from lightfm_fast.cross_validation import time_train_test_split
    >>> train, test, times, _ = time_train_test_split(np.ones((10, 10)), np.arange(100), return_timestamps=True)
    >>> train, validation = time_train_test_split(train, times)
    >>> train.nnz, validation.nnz, test.nnz
    (64, 16, 20)
    """
    matrix = check_stored_entries(interactions, "interactions")
    times = check_timestamps(timestamps, "timestamps", matrix.nnz)
    test_fraction = check_proper_fraction(test_percentage, "test_percentage")
    per_user, return_timestamps = check_flag(per_user, "per_user"), check_flag(return_timestamps, "return_timestamps")
    if cutoff is not None and per_user:
        raise ValueError("cutoff is one point in time for everyone, but per_user=True has one a user: leave one out")
    if cutoff is not None:
        cutoff = _check_cutoff(cutoff, times)
    if not matrix.nnz:
        return _divide(matrix, np.zeros(0, dtype=bool), times, return_timestamps)

    of_entries = times
    times, pairs, of_entry = _earliest_by_pair(matrix, of_entries)
    if per_user:
        users = matrix.row[pairs]
        n_tested = np.floor(test_fraction * np.bincount(users, minlength=matrix.shape[0]) + 1e-9)
        in_test = _places_from_last(users, times) < n_tested[users]
    else:
        if cutoff is None:
            cutoff = np.sort(times)[min(int((1.0 - test_fraction) * len(times)), len(times) - 1)]
        in_test = _are_from(times, cutoff)
    return _divide(matrix, in_test[of_entry], of_entries, return_timestamps)


def leave_last_out_train_test_split(
    interactions: Any, timestamps: Any, n: int = 1, return_timestamps: bool = False
) -> tuple[Any, ...]:
    """Hold out each user's ``n`` latest interactions.

    Users with at most ``n`` pairs keep all of them in training: without training data they would be new users. Pairs
    stored several times count once, by their earliest entry. ``interactions``, ``timestamps`` and returned values are
    as in :func:`time_train_test_split`.

    Parameters
    ----------
    interactions : scipy.sparse matrix or array, or numpy.ndarray, shape (n_users, n_items)
    timestamps : array of numbers or datetime64, shape (n_entries,)
    n : int, default 1
        The number of pairs to hold out for each user.
    return_timestamps : bool, default False

    Returns
    -------
    train, test : scipy.sparse.coo_matrix, shape (n_users, n_items)
    train_timestamps, test_timestamps : array, one for each entry

    Raises
    ------
    ValueError, TypeError
        As :func:`time_train_test_split`; also if ``n`` is not a whole number of at least 1.
    """
    matrix = check_stored_entries(interactions, "interactions")
    times = check_timestamps(timestamps, "timestamps", matrix.nnz)
    n = check_count(n, "n")
    return_timestamps = check_flag(return_timestamps, "return_timestamps")
    of_entries = times
    times, pairs, of_entry = _earliest_by_pair(matrix, of_entries)
    users = matrix.row[pairs]
    has_more = np.bincount(users, minlength=matrix.shape[0])[users] > n
    in_test = has_more & (_places_from_last(users, times) < n)
    return _divide(matrix, in_test[of_entry], of_entries, return_timestamps)


def cold_users_train_test_split(
    interactions: Any, test_percentage: float = 0.2, random_state: Seed = None
) -> tuple[sp.coo_matrix, sp.coo_matrix]:
    """Hold out all interactions of some users, to test on users without training data.

    Parameters
    ----------
    interactions : scipy.sparse matrix or array, or numpy.ndarray, shape (n_users, n_items)
        Stored entries are divided. It is not changed.
    test_percentage : float, default 0.2
        The fraction, from 0 to 1, of the users with interactions to hold out. Training gets
        ``int((1.0 - test_percentage) * n_users_with_interactions)`` of them.
    random_state : int, RandomState, Generator or None, default None
        A seed, a generator to draw from, or None for a different split at every call.

    Returns
    -------
    train, test : scipy.sparse.coo_matrix, shape (n_users, n_items)
        Together they hold exactly the entries of ``interactions``, in the same order.

    Raises
    ------
    ValueError, TypeError
        As :func:`random_train_test_split`.
    """
    matrix = check_stored_entries(interactions, "interactions")
    return _divide(matrix, _held_out(matrix.row, matrix.shape[0], test_percentage, random_state))


def cold_items_train_test_split(
    interactions: Any, test_percentage: float = 0.2, random_state: Seed = None
) -> tuple[sp.coo_matrix, sp.coo_matrix]:
    """Hold out all interactions with some items, as :func:`cold_users_train_test_split` does for users."""
    matrix = check_stored_entries(interactions, "interactions")
    return _divide(matrix, _held_out(matrix.col, matrix.shape[1], test_percentage, random_state))


class Entries:
    """Interactions as samples that scikit-learn's searches can index, with features and weights.

    scikit-learn divides the rows of its input, which in a matrix of interactions are users. Here a sample is a stored
    entry: ``entries[numbers]`` has some of the entries, and all users and items. ``LightFM.fit`` and ``LightFM.score``
    accept it in place of a matrix, and use its features and weights.

    Parameters
    ----------
    interactions, user_features, item_features, sample_weight
        As in :meth:`lightfm_fast.LightFM.fit`.
    timestamps : array of numbers or datetime64, shape (n_entries,), optional
        The time of each stored entry.

    Attributes
    ----------
    interactions : coo_matrix, shape (n_users, n_items)
    user_features, item_features : csr_matrix or None
    weights : float32 array, shape (n_entries,), or None
    timestamps : array, shape (n_entries,), or None
    shape : tuple of int
        (n_entries,)

    Raises
    ------
    ValueError, TypeError
        If the matrices, weights and timestamps do not fit together.

    Examples
    --------
    >>> import numpy as np
    >>> from lightfm_fast.cross_validation import Entries
    >>> entries = Entries(np.eye(3))
    >>> len(entries), entries[[0, 2]].interactions.shape
    (3, (3, 3))
    """

    def __init__(
        self,
        interactions: Any,
        user_features: Any = None,
        item_features: Any = None,
        sample_weight: Any = None,
        timestamps: Any = None,
    ) -> None:
        matrix = check_interactions(interactions)
        n_users, n_items = matrix.shape
        self.interactions: sp.coo_matrix = matrix
        self.user_features = None if user_features is None else check_features(user_features, "user", n_users)
        self.item_features = None if item_features is None else check_features(item_features, "item", n_items)
        self.weights = check_sample_weight(sample_weight, matrix, "warp")
        self.timestamps = None if timestamps is None else check_timestamps(timestamps, "timestamps", matrix.nnz)

    @property
    def shape(self) -> tuple[int]:
        """The number of entries, in the form that scikit-learn reads."""
        return (self.interactions.nnz,)

    def __len__(self) -> int:
        return self.interactions.nnz

    def __repr__(self) -> str:
        n_users, n_items = self.interactions.shape
        return f"<Entries: {len(self):,} interactions of {n_users:,} users with {n_items:,} items>"

    def __getitem__(self, chosen: Any) -> Entries:
        """Return some of the entries, by an array of numbers, a mask or a slice."""
        if isinstance(chosen, tuple):  # as scikit-learn asks: (numbers, Ellipsis)
            chosen = chosen[0]
        matrix = self.interactions
        if not isinstance(chosen, slice) and np.ndim(chosen) != 1:
            raise IndexError(f"entries are chosen by a slice, a mask or a list of numbers, not {shorten(chosen)}")
        return self.replaced(
            interactions=sp.coo_matrix(
                (matrix.data[chosen], (matrix.row[chosen], matrix.col[chosen])), shape=matrix.shape
            ),
            weights=None if self.weights is None else self.weights[chosen],
            timestamps=None if self.timestamps is None else self.timestamps[chosen],
        )

    def replaced(self, **attributes: Any) -> Entries:
        """Return a copy with other attributes, which are not checked."""
        changed = copy.copy(self)
        vars(changed).update(attributes)
        return changed

    def fit_arguments(self) -> dict[str, Any]:
        """Return these entries as arguments of ``LightFM.fit``."""
        matrix = self.interactions
        weights = None
        if self.weights is not None:
            weights = sp.coo_matrix((self.weights, (matrix.row, matrix.col)), shape=matrix.shape)
        return {
            "interactions": matrix,
            "user_features": self.user_features,
            "item_features": self.item_features,
            "sample_weight": weights,
        }

    def unpacked(
        self, user_features: Any = None, item_features: Any = None, sample_weight: Any = None
    ) -> tuple[Any, ...]:
        """Return the arguments of ``LightFM.fit`` in their order.

        Raises
        ------
        ValueError
            If features or weights are given although the entries hold them.
        """
        given = {"user_features": user_features, "item_features": item_features, "sample_weight": sample_weight}
        for name, value in given.items():
            if value is not None:
                raise ValueError(f"{name} is given beside Entries, which hold their own: Entries(..., {name}=...)")
        return tuple(self.fit_arguments().values())

    def numbered(self) -> sp.coo_matrix:
        """Return the interactions with entries' numbers as values, so that a split divides the numbers."""
        matrix = self.interactions
        numbers = np.arange(matrix.nnz, dtype=np.float64)
        return sp.coo_matrix((numbers, (matrix.row, matrix.col)), shape=matrix.shape)


class InteractionSplitter:
    """Splits of :class:`Entries` for scikit-learn's ``cv=``.

    Every split trains on all users and items, with a part of their entries. For new items and users use
    :func:`lightfm_fast.tuning.tune`, which also leaves out their identity columns.

    Parameters
    ----------
    n_splits : int
    by : {"random", "time"}
        "random": each split holds out other pairs, as :func:`random_train_test_split` does. "time": the first split
        holds out the latest entries, as :func:`time_train_test_split` does. Each later split divides the training part
        of the previous split. Entries need timestamps.
    test_percentage : float
        The share that each split holds out, between 0 and 1.
    random_state : int, RandomState, Generator or None
        Seed of random splits. With an int, all calls of :meth:`split` give the same splits.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from lightfm_fast.cross_validation import Entries, InteractionSplitter
    >>> splits = InteractionSplitter(n_splits=2, test_percentage=0.25).split(Entries(np.ones((4, 4))))
    >>> [(len(train), len(test)) for train, test in splits]
    [(12, 4), (12, 4)]
    """

    def __init__(
        self,
        n_splits: int = 3,
        by: str = "random",
        test_percentage: float = 0.2,
        random_state: Seed = None,
    ) -> None:
        check_count(n_splits, "n_splits")
        check_choice(by, "by", ("random", "time"))
        check_proper_fraction(test_percentage, "test_percentage")
        check_random_state(random_state)
        self.n_splits, self.by, self.test_percentage = n_splits, by, test_percentage
        self.random_state = random_state

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of splits. The arguments are accepted for scikit-learn."""
        return self.n_splits

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Yield for each split the numbers of entries to train on and to test on.

        Parameters
        ----------
        X : Entries
        y, groups
            Not used.

        Raises
        ------
        TypeError
            If ``X`` has another type.
        ValueError
            If splits by time lack timestamps, or there are too few entries.
        """
        if not isinstance(X, Entries):
            raise TypeError(
                f"X is {type(X).__name__}, expected Entries: give lightfm_fast.cross_validation.Entries(interactions), "
                "since scikit-learn would divide the rows of a matrix, which are users"
            )
        if self.by == "time" and X.timestamps is None:
            raise ValueError("splits by time need timestamps: give Entries(interactions, timestamps=...)")
        random_state = check_random_state(self.random_state)
        numbered, times = X.numbered(), X.timestamps
        for _ in range(self.n_splits):
            if self.by == "random":
                train, test = random_train_test_split(numbered, self.test_percentage, random_state)
            else:
                train, test, times, _ = time_train_test_split(
                    numbered, times, self.test_percentage, return_timestamps=True
                )
            if not (train.nnz and test.nnz):
                raise ValueError(
                    f"the split has {train.nnz:,} entries to train on and {test.nnz:,} to test on: give more "
                    "entries, or another test_percentage"
                )
            yield numbers_of(train), numbers_of(test)
            if self.by == "time":
                numbered = train


def numbers_of(numbered: sp.coo_matrix) -> NDArray[np.intp]:
    """Return the numbers of the entries in a part of :meth:`Entries.numbered`, ascending."""
    return np.sort(numbered.data.astype(np.intp))


def _held_out(ids: NDArray[Any], n_ids: int, test_percentage: float, random_state: Seed) -> NDArray[np.bool_]:
    test_fraction = check_fraction(test_percentage, "test_percentage")
    occurring = check_random_state(random_state).permutation(np.flatnonzero(np.bincount(ids, minlength=n_ids)))
    in_test = np.zeros(n_ids, dtype=bool)
    in_test[occurring[int((1.0 - test_fraction) * len(occurring)) :]] = True
    return in_test[ids]


def _check_cutoff(cutoff: Any, times: NDArray[Any]) -> Any:
    """Return ``cutoff`` in a type that can be compared with the times."""
    point = np.asarray(cutoff)
    if times.dtype.kind == "M":
        if isinstance(cutoff, str):
            with contextlib.suppress(ValueError):
                point = np.asarray(cutoff, dtype="datetime64")
        elif point.dtype.kind != "M":
            point = times_of_cells([cutoff], "cutoff")  # in UTC, as times with a zone are
        if point.dtype.kind != "M":
            raise TypeError(f"cutoff is {shorten(cutoff)} but the timestamps are {times.dtype}: give a datetime")
    elif point.dtype.kind not in "iuf":
        raise TypeError(f"cutoff is {shorten(cutoff)} but the timestamps are {times.dtype}: give a number")
    check_timestamps(np.atleast_1d(point), "cutoff", 1)
    return point


def _are_from(times: NDArray[Any], cutoff: Any) -> NDArray[np.bool_]:
    """Tell which times are at the cutoff or later.

    NumPy compares datetimes of two units in the finer one, where the year 9999 of the coarser one may overflow. So the
    finer one decides only among times that are the same in the coarser one.
    """
    dtypes = times.dtype, np.asarray(cutoff).dtype
    if times.dtype.kind != "M":
        return times >= cutoff
    coarser = dtypes[np.promote_types(*dtypes) == dtypes[0]]
    coarse_times, coarse_cutoff = times.astype(coarser), cutoff.astype(coarser)
    return (coarse_times > coarse_cutoff) | ((coarse_times == coarse_cutoff) & (times >= cutoff))


def _earliest_by_pair(
    matrix: sp.coo_matrix, times: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[np.intp], NDArray[np.intp]]:
    """Return each distinct pair's earliest time and one of its entries, and for each entry the number of its pair."""
    first = _first_entry_of_pair(matrix)
    is_first = first == np.arange(len(first))
    place = np.cumsum(is_first) - 1
    pairs, of_entry = np.flatnonzero(is_first), place[first]
    earliest = times[pairs]
    if len(pairs) < len(times):
        np.minimum.at(earliest, of_entry, times)
    return earliest, pairs, of_entry


def _places_from_last(users: NDArray[Any], times: NDArray[Any]) -> NDArray[np.intp]:
    """Return the rank, from 0, of each pair among its user's pairs: the latest first, the last of equal ones first."""
    order = np.lexsort((times, users))
    n_of_user = np.bincount(users)
    places = np.empty(len(users), dtype=np.intp)
    places[order] = np.cumsum(n_of_user)[users[order]] - 1 - np.arange(len(users))
    return places


def _divide(
    matrix: sp.coo_matrix, in_test: NDArray[np.bool_], times: NDArray[Any] | None = None, with_times: bool = False
) -> tuple[Any, ...]:
    parts = _take(matrix, np.flatnonzero(~in_test)), _take(matrix, np.flatnonzero(in_test))
    return (*parts, times[~in_test], times[in_test]) if with_times and times is not None else parts


def _first_entry_of_pair(matrix: sp.coo_matrix) -> NDArray[np.intp]:
    """Return, for every stored entry, the position of the first entry with the same row and column."""
    entries = np.arange(matrix.nnz)
    # Sorting one key for each entry is much faster than sorting pairs, and finds the usual case, no duplicates. Keys of
    # an enormous shape may wrap around; collisions then only lead to the slower exact method below.
    keys = np.sort(matrix.row.astype(np.int64) * np.int64(matrix.shape[1]) + matrix.col)
    if not np.any(keys[1:] == keys[:-1]):
        return entries

    by_pair = np.lexsort((matrix.col, matrix.row))
    row, column = matrix.row[by_pair], matrix.col[by_pair]
    starts = np.append(True, (row[1:] != row[:-1]) | (column[1:] != column[:-1]))
    entries[by_pair] = by_pair[np.flatnonzero(starts)[np.cumsum(starts) - 1]]
    return entries


def _take(matrix: sp.coo_matrix, entries: NDArray[np.intp]) -> sp.coo_matrix:
    coordinates = (matrix.row[entries], matrix.col[entries])
    return sp.coo_matrix((matrix.data[entries], coordinates), shape=matrix.shape, dtype=matrix.dtype)
