"""Simple recommenders to compare a model with: popularity, neighbouring items, content, and EASE.

They have the methods of :class:`lightfm_fast.LightFM`, and :func:`lightfm_fast.evaluation.evaluate` measures them in
the same way. An entry above 0 is a positive, whatever its value. As for a model, the lower row number comes first in
recommendations among equal scores, and ties count against an item in ranks.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from . import _core
from ._arguments import (
    check_count,
    check_flag,
    check_least,
    check_num_threads,
    check_positive,
    check_row_numbers,
    check_within,
)
from ._content import rarity_of, words_of
from ._feature_rows import is_identity
from ._fingerprint import Fingerprint
from ._hyperparameters import LARGEST_SINGLE
from ._matrices import check_features, check_known_positives, check_seen, rows_of_entries, to_length_1
from ._scoring import check_ids, check_test_and_train
from .data import Dataset
from .recommendation import Recommendations, Vocabulary, check_n, recommend

__all__ = ["EASE", "ContentProfile", "ItemKNN", "Popularity"]

# The largest number of scores in memory.
_SCORES_AT_ONCE = 1 << 23
# The number of items whose similarities to all others are in memory together.
_ITEMS_AT_ONCE = 1024
# The smallest regularization, as a share of the largest eigenvalue: the inverse has at least three correct digits.
_LEAST_SHARE = 1e-12
_NO_EMBEDDING = np.zeros((1, 1), dtype=np.float32)
_NO_BIAS = np.zeros(1, dtype=np.float32)
_FIRST = np.zeros(1, dtype=np.int64)

AnyBaseline = TypeVar("AnyBaseline", bound="_Baseline")


class _Baseline:
    """Base of the baselines, which learn from a matrix of ones and score all items for some of its users.

    Attributes
    ----------
    trained_on_ : Fingerprint
        Detects tests on training data, as in :class:`lightfm_fast.LightFM`.
    """

    _learned: Any = None
    _positives: sp.csr_matrix
    _items: NDArray[np.int64] | None = None

    def fit(self: AnyBaseline, interactions: Any, user_features: Any = None, item_features: Any = None) -> AnyBaseline:
        """Learn from interactions.

        Parameters
        ----------
        interactions : sparse matrix or array, or dense array, shape (n_users, n_items)
            Entries above 0 are the positives.
        user_features : sparse matrix or array, or dense array, optional
            Not used; accepted so that the same call fits models and baselines.
        item_features : sparse matrix or array, or dense array, shape (n_items or more, n_features), optional
            Used by :class:`ContentProfile` only. Items beyond ``interactions`` are new items.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If ``interactions`` is no matrix of finite numbers or has no positive, or ``item_features`` has too few
            rows. The baseline is not changed then.
        """
        positives = check_known_positives(interactions, "interactions", above_zero=True)
        if not positives.nnz:
            raise ValueError("interactions has no entry above 0: a baseline learns from positives, so give some")
        features = None if item_features is None else check_features(item_features, "item", positives.shape[1])
        known = None if user_features is None else check_features(user_features, "user", positives.shape[0])
        learned, n_items = self._learn(positives, features)
        arrays = positives.data, positives.indices, positives.indptr
        trained_on = Fingerprint.of(
            positives.indptr,
            positives.indices,
            None,
            *(None if matrix is None or is_identity(matrix) else matrix for matrix in (known, features)),
        )
        vars(self).update(  # at once, for calls of other threads
            _learned=learned,
            _items=None,
            _positives=sp.csr_matrix(arrays, shape=(positives.shape[0], n_items)),
            trained_on_=trained_on,
        )
        return self

    def predict(
        self,
        user_ids: Any,
        item_ids: Any,
        item_features: Any = None,
        user_features: Any = None,
        num_threads: int = 1,
    ) -> NDArray[np.float32]:
        """Score pairs of a user and an item.

        Parameters
        ----------
        user_ids : int or sequence of int, shape (n_pairs,)
            Rows of the interactions; a single user is paired with every item.
        item_ids : sequence of int, shape (n_pairs,)
        item_features, user_features, num_threads
            Not used; accepted as in :meth:`lightfm_fast.LightFM.predict`.

        Returns
        -------
        float32 array of shape (n_pairs,)

        Raises
        ------
        ValueError
            If it is not fitted, or does not know a user or an item.
        """
        fitted = self._fitted()
        n_users, n_items = fitted._shape
        check_num_threads(num_threads)
        users, items = check_ids(user_ids, item_ids)
        check_within(users, "user", n_users)
        check_within(items, "item", n_items)
        scores = np.empty(len(users), dtype=np.float32)
        chosen, places = np.unique(users, return_inverse=True)
        for first, block in fitted._blocks(chosen):
            pairs = np.flatnonzero((places >= first) & (places < first + len(block)))
            scores[pairs] = block[places[pairs] - first, items[pairs]]
        return scores

    def scores(self, user_ids: Any) -> NDArray[np.float32]:
        """Score all items for some users. No memory is needed besides the result.

        Parameters
        ----------
        user_ids : int or sequence of int, shape (n_users,)
            Rows of the interactions.

        Returns
        -------
        float32 array of shape (n_users, n_items)

        Raises
        ------
        ValueError
            If it is not fitted, or does not know a user.
        """
        fitted = self._fitted()
        n_users, n_items = fitted._shape
        users = np.atleast_1d(check_row_numbers(user_ids, "user_ids"))
        check_within(users, "user", n_users)
        scores = np.empty((len(users), n_items), dtype=np.float32)
        for first, block in fitted._blocks(users):
            scores[first : first + len(block)] = block
        return scores

    def predict_rank(
        self,
        test_interactions: Any,
        train_interactions: Any = None,
        item_features: Any = None,
        user_features: Any = None,
        num_threads: int = 1,
        check_intersections: bool = True,
    ) -> sp.csr_matrix:
        """Rank each test item among all items for its user; see :meth:`lightfm_fast.LightFM.predict_rank`.

        Parameters
        ----------
        test_interactions, train_interactions : sparse matrix or array, or dense array
            Of the shape of the fitted interactions, or with fewer rows.
        item_features, user_features
            Not used.
        num_threads : int
            Threads that rank.
        check_intersections : bool
            Refuse entries that are in both matrices.

        Returns
        -------
        csr_matrix of float32
            Ranks from 0, with the same entries as ``test_interactions``; ties count against the item.

        Raises
        ------
        ValueError
            If it is not fitted, shapes do not fit, or the matrices intersect.
        """
        fitted = self._fitted()
        n_users, n_items = fitted._shape
        num_threads = check_num_threads(num_threads)
        test, train = check_test_and_train(test_interactions, train_interactions, check_intersections)
        if test.shape[0] > n_users or test.shape[1] != n_items:
            raise ValueError(
                f"test_interactions has shape {test.shape}, expected at most {n_users:,} users and {n_items:,} items, "
                "as in fitting"
            )
        ranks = np.empty(test.nnz, dtype=np.float32)
        no_embeddings = np.zeros((n_items, 1), dtype=np.float32)
        tested = np.flatnonzero(np.diff(test.indptr))
        for first, block in fitted._blocks(tested):
            for user, scores in zip(tested[first:], block, strict=False):
                _core.ranking.rank(
                    _NO_EMBEDDING, no_embeddings, scores, 1, False,
                    *_row(test, user),
                    *((None, None) if train is None else _row(train, user)),
                    ranks[test.indptr[user] : test.indptr[user + 1]],
                    num_threads,
                )  # fmt: skip
        return sp.csr_matrix((ranks, test.indices, test.indptr), shape=test.shape)

    def recommend(
        self,
        user_ids: Any,
        n: int = 10,
        interactions: Any = None,
        filter_seen: bool = True,
        items: Any = None,
        exclude: Any = None,
        user_features: Any = None,
        item_features: Any = None,
        num_threads: int = 1,
        dataset: Dataset | None = None,
    ) -> Recommendations:
        """Choose the items that score highest for each user.

        Parameters
        ----------
        user_ids : int or sequence of int, shape (n_users,)
            Rows of the interactions.
        n : int
            Number of items for each user: from 1 to 65,536, or to the number of items if that is larger.
        interactions : sparse matrix or array, or dense array, shape (all users, n_items or fewer), optional
            The users' seen items. By default the positives that were fitted.
        filter_seen : bool
            Leave seen items out.
        items : sequence of int, optional
            Choose among these items only.
        exclude : sequence of int, optional
            Never recommend these items.
        user_features, item_features
            Not used.
        num_threads : int
            Threads that choose.
        dataset : Dataset, optional
            Take ids of this dataset, and return its ids.

        Returns
        -------
        Recommendations
            ``ids`` and ``scores`` of shape (n_users, n), best first. The lower number comes first among equal scores. A
            row with fewer items ends with ids -1 and scores -inf.

        Raises
        ------
        ValueError
            If it is not fitted, ``n`` is no whole number of at least 1, or ids or interactions do not fit it.
        """
        fitted = self._fitted()
        n_users, n_items = fitted._shape
        num_threads = check_num_threads(num_threads)
        users = Vocabulary(dataset, "user").rows(user_ids, "user_ids")
        check_within(users, "user", n_users)
        n = check_n(n, n_items)
        seen = None
        if check_flag(filter_seen, "filter_seen"):
            seen = check_seen(fitted._known if interactions is None else interactions, users, n_items)
        vocabulary = Vocabulary(dataset, "item")
        candidates = vocabulary.candidates(items, exclude, n_items)
        ids, best = np.empty((len(users), n), dtype=np.int64), np.empty((len(users), n), dtype=np.float32)
        no_embeddings = np.zeros((n_items, 1), dtype=np.float32)
        for first, block in fitted._blocks(users):
            for row, scores in enumerate(block, first):
                of_user = None if seen is None else seen[row]
                catalogue = no_embeddings, scores, candidates
                nobody = _NO_EMBEDDING, _NO_BIAS, _FIRST
                ids[row], best[row] = recommend(nobody, catalogue, 1, False, n, of_user, candidates, num_threads)
        return Recommendations(vocabulary.ids(ids), best)

    def of_items(self: AnyBaseline, items: Any) -> AnyBaseline:
        """Return a baseline that knows only the given items, in the given order, numbered from 0.

        Parameters
        ----------
        items : int or sequence of int

        Returns
        -------
        a copy, which shares the learned arrays

        Raises
        ------
        ValueError
            If it is not fitted, or does not know an item.
        """
        chosen = self._fitted()
        rows = np.atleast_1d(check_row_numbers(items, "items"))
        check_within(rows, "item", chosen._shape[1])
        chosen._items = rows if chosen._items is None else chosen._items[rows]
        return chosen

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{n}={v!r}' for n, v in self._parameters.items())})"

    @property
    def _parameters(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if not name.startswith("_") and name[-1] != "_"}

    def _fitted(self: AnyBaseline) -> AnyBaseline:
        """Return a copy, which another thread's ``fit`` does not change. Raises ValueError before fitting."""
        fitted = copy.copy(self)
        if fitted._learned is None:
            raise ValueError(f"{type(self).__name__} is not fitted: call fit first")
        return fitted

    @property
    def _shape(self) -> tuple[int, int]:
        """Return the numbers of users and items."""
        n_users, n_items = self._positives.shape
        return n_users, n_items if self._items is None else len(self._items)

    @property
    def _known(self) -> sp.csr_matrix:
        return self._positives if self._items is None else self._positives[:, self._items]

    def _blocks(self, users: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield the start of each block of users, and the block's scores of all items: float32, contiguous in rows."""
        size = max(1, _SCORES_AT_ONCE // self._positives.shape[1])
        for first in range(0, len(users), size):
            scores = self._scores(users[first : first + size])
            scores = scores if self._items is None else scores[:, self._items]
            yield first, np.ascontiguousarray(scores, dtype=np.float32)

    def _learn(self, positives: sp.csr_matrix, item_features: sp.csr_matrix | None) -> tuple[Any, int]:
        """Learn from the positives: return the arrays that :meth:`_scores` uses, and the number of items."""
        raise NotImplementedError

    def _scores(self, users: NDArray[np.int64]) -> NDArray[Any]:
        """Return scores of shape (n_users, n_items)."""
        raise NotImplementedError


class Popularity(_Baseline):
    """Score an item by the number of users who like it.

    Examples
    --------
    >>> import numpy as np
    >>> from lightfm_fast.baselines import Popularity
    >>> popularity = Popularity().fit(np.array([[1, 0, 1], [0, 0, 1], [0, 0, 0]]))
    >>> popularity.recommend([1, 2], n=2).ids.tolist()
    [[0, 1], [2, 0]]
    """

    def _learn(self, positives: sp.csr_matrix, item_features: sp.csr_matrix | None) -> tuple[Any, int]:
        return np.bincount(positives.indices, minlength=positives.shape[1]).astype(np.float32), positives.shape[1]

    def _scores(self, users: NDArray[np.int64]) -> NDArray[Any]:
        return np.broadcast_to(self._learned, (len(users), len(self._learned)))


class ItemKNN(_Baseline):
    r"""Score an item by its similarities to the user's items (Sarwar et al. 2001).

    Let :math:`a` users like one item, :math:`b` users another, and :math:`c` users both. The items' similarity is
    :math:`c / (\sqrt{ab} + s)`, the cosine with shrinkage s, since few common users are weak evidence. Each item keeps
    its ``n_neighbors`` most similar items.

    Parameters
    ----------
    n_neighbors : int
        At least 1.
    shrinkage : float
        At least 0; 0 gives the cosine.

    Raises
    ------
    TypeError, ValueError
        If a parameter is no number or out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from lightfm_fast.baselines import ItemKNN
    >>> knn = ItemKNN(n_neighbors=2, shrinkage=0).fit(np.array([[1, 1, 0], [1, 1, 1], [1, 0, 0]]))
    >>> [f"{score:.3f}" for score in knn.predict(2, [1, 2])]
    ['0.816', '0.577']
    """

    def __init__(self, n_neighbors: int = 100, shrinkage: float = 10.0) -> None:
        check_count(n_neighbors, "n_neighbors")
        check_least(shrinkage, "shrinkage", 0.0)
        self.n_neighbors, self.shrinkage = n_neighbors, shrinkage

    def _learn(self, positives: sp.csr_matrix, item_features: sp.csr_matrix | None) -> tuple[Any, int]:
        n_items = positives.shape[1]
        by_item = sp.csr_matrix(positives.T)
        lengths = np.sqrt(np.diff(by_item.indptr)).astype(np.float32)
        blocks, shrinkage = [], np.float32(min(self.shrinkage, LARGEST_SINGLE))
        for first in range(0, n_items, _ITEMS_AT_ONCE):
            common = sp.csr_matrix(by_item[first : first + _ITEMS_AT_ONCE] @ positives)
            common.sort_indices()  # so that the lower number is kept among equal similarities
            rows = rows_of_entries(common)
            common.data /= lengths[first + rows] * lengths[common.indices] + shrinkage
            common.data[common.indices == first + rows] = 0
            order = np.lexsort((-common.data, rows))
            is_near = np.arange(common.nnz) - common.indptr[rows] < self.n_neighbors
            common.data[order[~is_near]] = 0
            common.eliminate_zeros()
            blocks.append(common)
        return sp.csr_matrix(sp.vstack(blocks).T), n_items

    def _scores(self, users: NDArray[np.int64]) -> NDArray[Any]:
        return (self._positives[users] @ self._learned).toarray()


class ContentProfile(_Baseline):
    r"""Score an item by the cosine of its features with the features of the user's items; rare features count more.

    A feature that n of N items have is weighted by :math:`\log(N / n)` (tf-idf, Spärck Jones 1972). A user's profile is
    the sum of the user's items, each scaled to length 1. A feature of a single item, such as an identity column, is
    left out, since it relates the item to no other. New items are scored in the same way.

    Examples
    --------
    >>> import numpy as np
    >>> from lightfm_fast.baselines import ContentProfile
    >>> genres = np.array([[1, 0], [1, 0], [0, 1], [0, 1]])
    >>> content = ContentProfile().fit(np.array([[1, 0, 0]]), item_features=genres)  # item 3 is new
    >>> content.predict(0, [1, 2, 3]).tolist()
    [1.0, 0.0, 0.0]
    """

    def _learn(self, positives: sp.csr_matrix, item_features: sp.csr_matrix | None) -> tuple[Any, int]:
        if item_features is None:
            raise ValueError("ContentProfile scores items by their features: give item_features, a row for each item")
        items = words_of(item_features, rarity_of(item_features))
        profiles = to_length_1(positives @ items[: positives.shape[1]])
        return (profiles, sp.csr_matrix(items.T)), items.shape[0]

    def _scores(self, users: NDArray[np.int64]) -> NDArray[Any]:
        profiles, items = self._learned
        return (profiles[users] @ items).toarray()


class EASE(_Baseline):
    r"""Score an item by a linear model of the user's items (Steck 2019, Embarrassingly Shallow Autoencoders).

    With X the positives as ones and :math:`P = (X^T X + \lambda I)^{-1}`, the scores are :math:`X B`, where
    :math:`B_{ij} = -P_{ij} / P_{jj}` off the diagonal, and 0 on it. With fewer users than items,
    :math:`X X^T + \lambda I` is inverted instead, which gives the same scores (Woodbury). Fitting time grows with the
    third power of the smaller number, memory with its square: 20,000 take about 7 GB and some minutes.

    Parameters
    ----------
    regularization : float
        :math:`\lambda`, above 0. Larger values suit more interactions; the best is often between 30 and 3,000.
    largest : int
        Refuse data with more users and more items than this.

    Raises
    ------
    TypeError, ValueError
        If a parameter is no number or out of range. In fitting, ValueError if :math:`\lambda` is too small to invert
        the matrix in double precision.

    Examples
    --------
    >>> import numpy as np
    >>> from lightfm_fast.baselines import EASE
    >>> ease = EASE(regularization=1).fit(np.array([[1, 1, 0], [1, 1, 1], [1, 0, 0]]))
    >>> ease.recommend(2, n=1).ids.tolist()
    [[1]]
    """

    def __init__(self, regularization: float = 300.0, largest: int = 20_000) -> None:
        check_positive(regularization, "regularization")
        check_count(largest, "largest")
        self.regularization, self.largest = regularization, largest

    def _learn(self, positives: sp.csr_matrix, item_features: sp.csr_matrix | None) -> tuple[Any, int]:
        n_users, n_items = positives.shape
        if min(n_users, n_items) > self.largest:
            raise ValueError(
                f"EASE inverts a dense matrix of users or of items, and both {n_users:,} users and {n_items:,} items "
                f"are more than {self.largest:,}: use another baseline, or raise largest if memory suffices"
            )
        if n_items <= n_users:
            precision = self._inverse(positives.T @ positives)
            weights = precision / -np.diag(precision)
            np.fill_diagonal(weights, 0)
            return weights.astype(np.float32), n_items
        inverse = self._inverse(positives @ positives.T)
        # With A = (X X' + lambda I)^-1, lambda P is I - X' A X. Its diagonal:
        diagonal, by_item = np.ones(n_items), sp.csc_matrix(positives)
        for first in range(0, n_items, _ITEMS_AT_ONCE):
            columns = by_item[:, first : first + _ITEMS_AT_ONCE]
            diagonal[first : first + _ITEMS_AT_ONCE] -= np.asarray(columns.multiply(inverse @ columns).sum(axis=0))[0]
        return (inverse, diagonal), n_items

    def _scores(self, users: NDArray[np.int64]) -> NDArray[Any]:
        chosen = self._positives[users]
        if isinstance(self._learned, np.ndarray):
            return chosen @ self._learned
        inverse, diagonal = self._learned
        # X B = X - X P / diag(P), so that an item does not contribute to its own score.
        products = (chosen @ self._positives.T).toarray() @ inverse @ self._positives
        liked = chosen.toarray()
        return liked - (liked - products) / diagonal

    def _inverse(self, gram: Any) -> NDArray[np.float64]:
        from scipy.linalg import lapack  # would take as long to import as the rest of this module

        matrix = gram.toarray().astype(np.float64)
        least = _LEAST_SHARE * matrix.sum(axis=0).max()  # a share of what bounds the eigenvalues
        is_sound = self.regularization >= least
        if is_sound:
            matrix[np.diag_indices_from(matrix)] += float(self.regularization)
            # In place, since LAPACK takes columns, and the transpose of a symmetric matrix is the same matrix. SciPy's
            # inv makes use of the symmetry from SciPy 1.17 on only.
            factor, order = lapack.dpotrf(matrix.T, overwrite_a=True, clean=False)
            is_sound = order == 0
        if not is_sound:
            raise ValueError(
                f"regularization is {self.regularization}, expected at least {least:.1e} for these interactions: with "
                "less, rounding decides the scores"
            )
        inverse: NDArray[np.float64] = lapack.dpotri(factor, overwrite_c=True)[0]
        for row in range(1, len(inverse)):  # LAPACK fills the upper triangle
            inverse[row, :row] = inverse[:row, row]
        return inverse.T  # contiguous in rows, as products with sparse matrices take it


def _row(matrix: sp.csr_matrix, row: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return bounds and columns of one row of a CSR matrix, in the core's types."""
    columns = matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]].astype(np.int32, copy=False)
    return np.array([0, len(columns)], dtype=np.int64), columns
