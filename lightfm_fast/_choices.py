"""Move a mapping of users' features to where it makes the users' choices likely."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ._feature_rows import sampled_rows
from ._mapping import FeatureMapping, fit_regression
from ._matrices import count_pairs
from ._parameters import Floats
from ._scoring import ndcg_shares

# Users and, by popularity, items whose choices count, at most. The likelihood of choices among some of the items
# estimates the same parameters as among all (McFadden 1978).
MOST_USERS, _MOST_ITEMS = 3000, 1000
# Fewer users are too few to tell whether it helps.
_LEAST_USERS = 50
# The parts of users that are held out in turn, and by how many standard errors choices must rank better for them.
_N_PARTS, _LEAST_ERRORS = 3, 1.0
# The penalty is a number of users who would choose as the regression says.
_PENALTY = 30.0
# The words that may move, at most. The penalty holds rare words where they are, and L-BFGS keeps 20 copies of all.
_MOST_WORDS = 10_000
_N_STEPS = 10
# The least variance of items in a direction, as a part of the largest.
_LEAST_VARIANCE = 1e-3

# Returns the embeddings and, last, the biases of rows: shape (n_rows, no_components + 1).
Represent = Callable[[NDArray[np.int64]], Floats]


@dataclass(frozen=True)
class Choices:
    """Which items users have chosen, and all that their likelihood needs.

    Attributes
    ----------
    rows : int64 array of shape (n_users,)
    words : csr_matrix of float32, shape (n_users, n_mapped)
        See :class:`~lightfm_fast._words.Words`.
    chosen : csr_matrix of float32, shape (n_users, n_items)
        Ones. Each user has at least one.
    items : float32 array of shape (n_items, no_components)
        Embeddings.
    biases : float32 array of shape (n_items,)
    """

    rows: NDArray[np.int64]
    words: sp.csr_matrix
    chosen: sp.csr_matrix
    items: Floats
    biases: Floats

    @classmethod
    def of(
        cls,
        mapping: FeatureMapping,
        pairs: tuple[NDArray[np.int32], NDArray[np.int32]],
        user_features: sp.csr_matrix,
        represent_items: Represent,
        rng: np.random.RandomState,
    ) -> Choices:
        """Draw users, and look up what they have chosen among the most popular items.

        Parameters
        ----------
        mapping : FeatureMapping
            Of users.
        pairs : two int32 arrays of shape (n_positives,)
            Users and items of the positives.
        user_features : csr_matrix of shape (n_users, n_features)
        represent_items : callable
        rng : RandomState
        """
        counts = np.bincount(pairs[1])
        popular = np.sort(np.argsort(-counts, kind="stable")[: min(_MOST_ITEMS, np.count_nonzero(counts))])
        columns = _places(popular, len(counts))[pairs[1]]
        rows = sampled_rows(np.unique(pairs[0][columns >= 0]), MOST_USERS, rng)
        places = _places(rows, user_features.shape[0])[pairs[0]]
        counts_here = (columns >= 0) & (places >= 0)
        chosen = count_pairs(places[counts_here], columns[counts_here], (len(rows), len(popular)))
        chosen.data[:] = 1  # a pair may occur twice
        words = mapping.words.of_rows(user_features[rows])
        items = represent_items(popular.astype(np.int64))
        return cls(rows, words, chosen, items[:, :-1], items[:, -1])

    def part(self, users: NDArray[np.integer]) -> Choices:
        return replace(self, rows=self.rows[users], words=self.words[users], chosen=self.chosen[users])

    def correct(self, mapping: FeatureMapping) -> FeatureMapping:
        """Return a regression's mapping after it has learned from the choices."""
        usual = np.vstack([mapping.vectors, mapping.mean])
        correction = np.zeros_like(usual)
        correction[:, :-1] = fit_choices(self, usual[:, :-1], _PENALTY)
        return mapping.corrected(correction)


def _places(rows: NDArray[np.integer], n_rows: int) -> NDArray[np.int64]:
    """Return the place of each row in ``rows``, or -1."""
    places = np.full(n_rows, -1)
    places[rows] = np.arange(len(rows))
    return places


def rank_better(
    choices: Choices, represented: Floats, penalties: NDArray[np.float64], rng: np.random.RandomState
) -> bool:
    """Hold each user out once, and tell whether others' choices rank better for them than a regression does.

    Parameters
    ----------
    choices : Choices
    represented : float32 array of shape (n_users, no_components)
        What training has learned of these users.
    penalties : float64 array of shape (n_mapped,)
        Those of the regression.
    rng : RandomState
    """
    n_users = len(choices.rows)
    if n_users < _LEAST_USERS:
        return False
    columns = np.flatnonzero(choices.words.getnnz(axis=0))
    choices, penalties = replace(choices, words=choices.words[:, columns]), penalties[columns]
    gains = []
    parts = np.array_split(rng.permutation(n_users), _N_PARTS)
    for number, part in enumerate(parts):
        others = np.concatenate(parts[:number] + parts[number + 1 :])
        held, rest, of_rest = choices.part(part), choices.part(others), represented[others]
        mean = of_rest.mean(axis=0, dtype=np.float64)
        regression = np.vstack([fit_regression(rest.words, of_rest, mean, penalties), mean.astype(np.float32)])
        hits = held.chosen.toarray() > 0
        usual, learned = (
            ndcg_shares((held.words @ vectors[:-1] + vectors[-1]) @ held.items.T + held.biases, hits).sum(axis=1)
            for vectors in (regression, regression + fit_choices(rest, regression, _PENALTY))
        )
        gains.append(learned - usual)
    gain = np.concatenate(gains)
    return bool(gain.sum() > _LEAST_ERRORS * gain.std() * np.sqrt(n_users))


def fit_choices(choices: Choices, usual: Floats, penalty: float) -> Floats:
    r"""Return what makes choices likely when it is added to the vectors of words, after some steps of L-BFGS.

    A regression makes newcomers' embeddings like those of known users with the same features. What counts is that
    they rank well. So, with the items as they are, the vectors :math:`Z` of words and the mean user maximise

    .. math::

        \sum_u \frac{1}{|I_u|} \sum_{i \in I_u} \log \frac{\exp(z_u \cdot p_i + b_i)}{\sum_j \exp(z_u \cdot p_j + b_j)}
        - \frac{\lambda}{2} \lVert (Z - Z_0)\, C^{1/2} \rVert^2

    where :math:`z_u` is the mean plus the vectors of the words of user u, :math:`I_u` are the items that u has chosen,
    :math:`Z_0` is the regression, and C the covariance of the embeddings of chosen items. It is a multinomial logit
    (McFadden 1974), whose utilities are linear in the users' features.

    Parameters
    ----------
    choices : Choices
    usual : float32 array of shape (n_mapped + 1, no_components)
        :math:`Z_0`: the vectors of words and, last, the mean user.
    penalty : float
        :math:`\lambda`.

    Returns
    -------
    float32 array of shape (n_mapped + 1, no_components)
        :math:`Z - Z_0`.
    """
    from scipy.optimize import minimize  # which takes long to import

    correction = np.zeros_like(usual)
    n_users = len(choices.rows)
    shares = sp.csr_matrix(sp.diags(1 / np.diff(choices.chosen.indptr)) @ choices.chosen, dtype=np.float32)
    weights = np.asarray(shares.sum(axis=0)).ravel() / n_users
    centred = choices.items - weights @ choices.items.astype(np.float64)
    variances, directions = np.linalg.eigh(centred.T @ (centred * weights[:, None]))
    deviations = np.sqrt(np.maximum(variances, _LEAST_VARIANCE * variances.max()))
    if not deviations.all():
        return correction  # the items are all alike
    # In these coordinates, and with words scaled by how often they occur, steps are about as long in all directions.
    there, back = (directions * deviations).astype(np.float32), (directions / deviations).astype(np.float32)
    items = choices.items @ back
    words = sp.csr_matrix(sp.hstack([choices.words, sp.csr_matrix(np.ones((n_users, 1), np.float32))]))
    of_regression = np.asarray(words @ usual) @ there
    squares = np.asarray(words.multiply(words).sum(axis=0)).ravel()
    moved = np.sort(np.argsort(-squares, kind="stable")[: min(_MOST_WORDS, np.count_nonzero(squares))])
    sizes = np.sqrt(squares[moved] + penalty).astype(np.float32)[:, None]
    words = sp.csr_matrix(words[:, moved] @ sp.diags(1 / sizes[:, 0]), dtype=np.float32)
    transposed = sp.csr_matrix(words.T)
    wanted = np.asarray(shares @ items)
    pull = penalty / sizes**2
    chances = np.empty((n_users, len(items)), np.float32)

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        change = flat.reshape(len(moved), -1).astype(np.float32)
        users = of_regression + words @ change
        np.matmul(users, items.T, out=chances)
        np.add(chances, choices.biases, out=chances)
        largest = chances.max(axis=1, keepdims=True)
        np.exp(np.subtract(chances, largest, out=chances), out=chances)
        sums = chances.sum(axis=1, keepdims=True)
        value = float((np.log(sums) + largest).sum(dtype=np.float64)) - float(np.vdot(users, wanted))
        value += float((pull * change**2).sum(dtype=np.float64)) / 2
        slope = np.asarray(transposed @ ((chances @ items) / sums - wanted)) + pull * change
        return value, slope.ravel().astype(np.float64)

    start = np.zeros(len(moved) * items.shape[1])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _N_STEPS})
    correction[moved] = (found.x.reshape(len(moved), -1).astype(np.float32) / sizes) @ back.T
    return correction
