"""The best items for users, and the items or users most like given ones, by the compiled core."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from lightfm_fast import _core
from lightfm_fast._parameters import to_directions

__all__ = ["Recommendations"]

Represented = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]  # embeddings, biases, rows


class Recommendations(NamedTuple):
    """What was asked for, best first, a row for each id given.

    Attributes
    ----------
    ids : int64 array of shape (n_given, n)
        Row numbers; -1 where there are no more.
    scores : float32 array of shape (n_given, n)
        -inf where there are no more.
    """

    ids: NDArray[np.int64]
    scores: NDArray[np.float32]


def recommend(
    users: Represented,
    items: Represented,
    no_components: int,
    n: int,
    seen: sp.csr_matrix | None,
    candidates: NDArray[np.int64] | None,
    num_threads: int,
) -> Recommendations:
    """Choose the ``n`` best items for each user.

    Parameters
    ----------
    users, items : embeddings, biases and the rows of them that count
        Those of ``items`` are the candidates'.
    seen : csr_matrix of shape (n_users, n_items), optional
        Sorted; what each user is not given.
    candidates : sorted int64 array, optional
        The item that each of ``items`` is; by default they are all, in their order.
    """
    embeddings, biases, rows = users
    best = Recommendations(np.empty((len(rows), n), dtype=np.int64), np.empty((len(rows), n), dtype=np.float32))
    if not len(rows) or not len(items[2]):
        best.ids.fill(-1)
        best.scores.fill(-np.inf)
        return best
    if seen is not None and candidates is not None:
        seen = seen[:, candidates]
        seen.sort_indices()
    _core.ranking.select(
        embeddings,
        rows,
        *items,
        no_components,
        None if seen is None else seen.indptr.astype(np.int64, copy=False),
        None if seen is None else seen.indices.astype(np.int32, copy=False),
        *best,
        num_threads,
    )
    if candidates is not None:
        best.ids[...] = np.where(best.ids < 0, -1, candidates[best.ids])
    best.scores[...] += biases[rows, None]
    return best


def most_similar(embeddings: NDArray[np.float32], ids: NDArray[np.int64], n: int, num_threads: int) -> Recommendations:
    """Choose the ``n`` rows of highest cosine with each of the rows ``ids``, itself left out; 0 for zero vectors."""
    n_rows, no_components = embeddings.shape
    directions = to_directions(embeddings)
    no_biases = np.zeros(n_rows, dtype=np.float32)
    itself = sp.csr_matrix((np.ones(len(ids)), ids, np.arange(len(ids) + 1)), shape=(len(ids), n_rows))
    given, others = (directions, no_biases, ids), (directions, no_biases, np.arange(n_rows))
    return recommend(given, others, no_components, n, itself, None, num_threads)
