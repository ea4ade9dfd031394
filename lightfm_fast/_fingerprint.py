"""A small sample of the positives that a model was trained on, which detects tests on training data."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

# Users in a sample, pairs kept of each, and pairs looked at to choose them.
MOST_USERS, MOST_PAIRS, MOST_SEEN = 64, 4, 1 << 16
LOWER = np.uint64(32)


class Fingerprint:
    """Hashes of some positives: of the users with the lowest hashes, the pairs with the lowest hashes.

    Because the lowest hashes are kept, two fingerprints merge into the fingerprint of both data sets. Of a sampled
    user, a pair that hashes at most as high as the last one kept was trained on if and only if the sample has it.
    A pair's hash covers the rows of its user and item and their features: a newcomer in row 3 of another matrix is
    not taken for user 3.

    Parameters
    ----------
    keys : uint64 array, ascending
        The user in the upper 32 bits, the pair's hash in the lower. By default empty.
    """

    def __init__(self, keys: NDArray[np.uint64] | None = None) -> None:
        self.keys = np.empty(0, dtype=np.uint64) if keys is None else keys

    @classmethod
    def restored(cls, keys: NDArray[Any]) -> Fingerprint:
        """Make a fingerprint of the ``keys`` of a file; ValueError if they are malformed."""
        most = MOST_USERS * MOST_PAIRS
        is_sound = keys.dtype == np.int64 and keys.ndim == 1 and len(keys) <= most
        if not is_sound or (keys[:1] < 0).any() or (keys[1:] <= keys[:-1]).any():
            raise ValueError(f"its sample of what was trained on is not at most {most} ascending keys")
        return cls(keys.astype(np.uint64))

    @classmethod
    def of(
        cls,
        indptr: NDArray[Any],
        items: NDArray[Any],
        labels: NDArray[np.int8] | None,
        user_features: sp.csr_matrix | None,
        item_features: sp.csr_matrix | None,
    ) -> Fingerprint:
        """Sample the positives of CSR entries: those with ``labels`` above 0, or all entries if there are no labels.

        Features of None are the identity.
        """
        lengths = np.diff(indptr)
        users = np.flatnonzero(lengths)
        if len(users) > MOST_USERS:
            users = users[np.argpartition(_mix(users), MOST_USERS)[:MOST_USERS]]
        users = users[np.argsort(_mix(users))]
        users = users[: max(1, int(np.searchsorted(np.cumsum(lengths[users]), MOST_SEEN)))]
        places = _places(indptr, users)
        of_pair = np.repeat(np.arange(len(users)), lengths[users])
        if labels is not None:
            is_positive = labels[places] > 0
            places, of_pair = places[is_positive], of_pair[is_positive]
        return cls(_lowest(_keys(users, of_pair, items[places], user_features, item_features)))

    def merged(self, other: Fingerprint) -> Fingerprint:
        """Return the fingerprint of both data sets."""
        return Fingerprint(_lowest(np.concatenate([self.keys, other.keys]))) if len(self.keys) else other

    def count_known(
        self, positives: sp.csr_matrix, user_features: sp.csr_matrix | None, item_features: sp.csr_matrix | None
    ) -> tuple[int, int]:
        """Count the positives that the sample decides, and how many of them were trained on."""
        sampled, starts, counts = np.unique(self.keys >> LOWER, return_index=True, return_counts=True)
        last = self.keys[starts + counts - 1]
        last[counts < MOST_PAIRS] |= np.uint64(0xFFFFFFFF)  # the sample has all pairs of such a user
        users = sampled[sampled < positives.shape[0]].astype(np.intp)
        lengths = np.diff(positives.indptr)[users]
        of_pair = np.repeat(np.arange(len(users)), lengths)
        items = positives.indices[_places(positives.indptr, users)]
        keys = _keys(users, of_pair, items, user_features, item_features)
        keys = keys[keys <= last[of_pair]]
        return len(keys), int(np.isin(keys, self.keys).sum())


def _places(indptr: NDArray[Any], rows: NDArray[np.intp]) -> NDArray[np.int64]:
    """Return the positions of the entries of some rows."""
    lengths = np.diff(indptr)[rows].astype(np.int64)
    ends = np.cumsum(lengths)
    return np.arange(lengths.sum()) + np.repeat(indptr[rows].astype(np.int64) - ends + lengths, lengths)


def _keys(
    users: NDArray[np.intp],
    of_pair: NDArray[np.intp],
    items: NDArray[Any],
    user_features: sp.csr_matrix | None,
    item_features: sp.csr_matrix | None,
) -> NDArray[np.uint64]:
    if item_features is None:
        of_items = _mix(items)
    else:
        distinct, place = np.unique(items, return_inverse=True)
        of_items = _mix(_digests(distinct, item_features))[place]
    hashes = _mix(_digests(users, user_features)[of_pair] + of_items)
    return (users.astype(np.uint64)[of_pair] << LOWER) | (hashes >> LOWER)


def _lowest(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the keys that a fingerprint keeps, ascending."""
    keys = np.sort(keys)
    keys = keys[np.diff(keys, prepend=~keys[:1]) != 0]  # faster than np.unique
    users = keys >> LOWER
    starts = np.flatnonzero(np.diff(users, prepend=~users[:1]))
    lengths = np.diff(starts, append=len(keys))
    is_kept = np.arange(len(keys)) - np.repeat(starts, lengths) < MOST_PAIRS
    if len(starts) > MOST_USERS:
        is_sampled = np.zeros(len(starts), dtype=bool)
        is_sampled[np.argpartition(_mix(users[starts]), MOST_USERS)[:MOST_USERS]] = True
        is_kept &= np.repeat(is_sampled, lengths)
    return keys[is_kept]


def _digests(rows: NDArray[Any], features: sp.csr_matrix | None) -> NDArray[np.uint64]:
    """Return a hash of each row and its features, independent of the order of the features."""
    digests = rows.astype(np.uint64)
    if features is None:
        return digests
    rows = rows[rows < features.shape[0]]
    places = _places(features.indptr, rows)
    values = np.ascontiguousarray(features.data[places], dtype=np.float32)
    hashes = _mix((features.indices[places].astype(np.uint64) << LOWER) | values.view(np.uint32))
    hashes[values == 0] = 0
    of_feature = np.repeat(np.arange(len(rows)), np.diff(features.indptr)[rows])
    np.add.at(digests, of_feature, hashes)
    return digests


def _mix(numbers: NDArray[Any]) -> NDArray[np.uint64]:
    """Hash whole numbers by the finalizer of MurmurHash3."""
    mixed = numbers.astype(np.uint64)
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        mixed = (mixed ^ (mixed >> np.uint64(33))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(33))
