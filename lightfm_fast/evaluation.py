"""Ranking metrics of a fitted model: several at once by ``evaluate``, or one metric's value for each user.

Relevance is binary: an entry given twice counts once. For :func:`evaluate` a positive is an entry above 0, as in
training. Entries below 0 are dislikes: they compete in the ranking, and are no hits. LightFM's four functions, one for
each metric, keep LightFM's meaning: every entry other than zero is a positive, also a dislike of -1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ._arguments import (
    check_choice,
    check_count,
    check_flag,
    check_model,
    check_num_threads,
    check_row_numbers,
    counted,
    shorten,
    warn,
)
from ._feature_rows import is_identity
from ._fingerprint import Fingerprint
from ._lazy import cached_property
from ._matrices import (
    check_entries,
    check_features,
    check_is_no_list,
    check_known_positives,
    check_values,
    common_entries,
    known_positives,
    rows_of_entries,
    sealed,
)
from ._scoring import ndcg_gains

__all__ = [
    "METRICS",
    "Evaluation",
    "LeakWarning",
    "auc_score",
    "evaluate",
    "mae",
    "ndcg_at_k",
    "precision_at_k",
    "recall_at_k",
    "reciprocal_rank",
    "rmse",
]

# Smallest share of known positives that counts as a leak. A smaller share may be chance, if the rows of the test are
# other users than the rows of training.
_LEAST_LEAK = 0.5

# Largest number of scores in memory while lists of recommendations are made.
_SCORES_AT_ONCE = 1 << 23


class RankingModel(Protocol):
    """The method that the metrics need of a model.

    To rank some items alone, :func:`evaluate` calls ``of_items(items)`` where a model has it, and ranks by the model of
    these items that it returns. It gives other models the items' rows of the features.
    """

    def predict_rank(self, test_interactions: Any, train_interactions: Any = None, **options: Any) -> Any:
        """Return a CSR matrix of ranks, from 0 for the best, with the same entries as ``test_interactions``."""
        ...


def _of_likes(metric: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a metric that counts dislikes as hits, so that callbacks pass it the entries above 0 only."""
    metric.takes_likes = True  # type: ignore[attr-defined]
    return metric


@_of_likes
def precision_at_k(
    model: RankingModel,
    test_interactions: Any,
    train_interactions: Any = None,
    k: int = 10,
    user_features: Any = None,
    item_features: Any = None,
    preserve_rows: bool = False,
    num_threads: int = 1,
    check_intersections: bool = True,
) -> NDArray[np.float32]:
    """Share of the first ``k`` recommended items that are known positives; 1 is perfect.

    Parameters
    ----------
    model : LightFM
        The fitted model, or any object with a ``predict_rank`` like LightFM's.
    test_interactions : sparse matrix or array, or dense array, shape [n_users, n_items]
        Entries other than zero are the positives to be found, as in LightFM. If there are dislikes, leave them out or
        use :func:`evaluate`, which treats entries below 0 as dislikes.
    train_interactions : same, shape [n_users, n_items], optional
        Positives seen in training. They are not recommended again, so they take no place in the ranking.
    k : int
        Length of the recommendation list, at least 1.
    user_features, item_features : sparse matrix, optional
        The features the model was fitted with.
    preserve_rows : bool
        False: one value for each user with test positives. True: one value for each user.
    num_threads : int
        Threads that rank, at least 1.
    check_intersections : bool
        Refuse test positives that are also train positives.

    Returns
    -------
    float32 array, shape [n_users with test positives] or [n_users]
        0 for a user without test positives.

    Raises
    ------
    ValueError
        If ``k`` or ``num_threads`` is below 1, or the two matrices differ in shape, hold NaN or infinity, or
        intersect.
    """
    k = check_count(k, "k")
    ranking = _rank_positives(
        model,
        test_interactions,
        train_interactions,
        user_features,
        item_features,
        num_threads,
        check_intersections,
        preserve_rows,
    )
    return _of_users(ranking.precision(k).astype(np.float32), ranking, preserve_rows)


@_of_likes
def recall_at_k(
    model: RankingModel,
    test_interactions: Any,
    train_interactions: Any = None,
    k: int = 10,
    user_features: Any = None,
    item_features: Any = None,
    preserve_rows: bool = False,
    num_threads: int = 1,
    check_intersections: bool = True,
) -> NDArray[np.float64]:
    """Share of a user's known positives that are among the first ``k`` recommended items; 1 is perfect.

    It takes the parameters and raises the exceptions of :func:`precision_at_k`.

    Returns
    -------
    float64 array, shape [n_users with test positives] or [n_users]
        0 for a user without test positives.
    """
    k = check_count(k, "k")
    ranking = _rank_positives(
        model,
        test_interactions,
        train_interactions,
        user_features,
        item_features,
        num_threads,
        check_intersections,
        preserve_rows,
    )
    return _of_users(ranking.recall(k), ranking, preserve_rows)


@_of_likes
def ndcg_at_k(
    model: RankingModel,
    test_interactions: Any,
    train_interactions: Any = None,
    k: int = 10,
    user_features: Any = None,
    item_features: Any = None,
    preserve_rows: bool = False,
    num_threads: int = 1,
    check_intersections: bool = True,
) -> NDArray[np.float64]:
    r"""Discounted gain of the first ``k`` recommended items, as a share of the largest possible; 1 is perfect.

    A known positive of rank r, from 1, gains :math:`1 / \log_2(1 + r)` (Järvelin and Kekäläinen 2002).

    It takes the parameters and raises the exceptions of :func:`precision_at_k`.

    Returns
    -------
    float64 array, shape [n_users with test positives] or [n_users]
        0 for a user without test positives.
    """
    k = check_count(k, "k")
    ranking = _rank_positives(
        model,
        test_interactions,
        train_interactions,
        user_features,
        item_features,
        num_threads,
        check_intersections,
        preserve_rows,
    )
    return _of_users(ranking.ndcg(k), ranking, preserve_rows)


@_of_likes
def auc_score(
    model: RankingModel,
    test_interactions: Any,
    train_interactions: Any = None,
    user_features: Any = None,
    item_features: Any = None,
    preserve_rows: bool = False,
    num_threads: int = 1,
    check_intersections: bool = True,
) -> NDArray[np.float32]:
    """Chance that a random positive scores above a random negative (area under the ROC curve); 1 is perfect.

    Negatives are the items that are positive neither in test nor in train. A negative that ties with a positive counts
    as above it. Let R be the rank of a positive, A the number of other positives tied with it or above it, and N the
    number of negatives. A user's value is the mean over positives of 1 - (R - A) / N (the Mann-Whitney form of the
    area).

    It takes the parameters and raises the exceptions of :func:`precision_at_k`.

    Returns
    -------
    float32 array, shape [n_users with test positives] or [n_users]
        0.5 for a user without test positives or without negatives.
    """
    ranking = _rank_positives(
        model,
        test_interactions,
        train_interactions,
        user_features,
        item_features,
        num_threads,
        check_intersections,
        preserve_rows,
    )
    return _of_users(ranking.auc().astype(np.float32), ranking, preserve_rows)


@_of_likes
def reciprocal_rank(
    model: RankingModel,
    test_interactions: Any,
    train_interactions: Any = None,
    user_features: Any = None,
    item_features: Any = None,
    preserve_rows: bool = False,
    num_threads: int = 1,
    check_intersections: bool = True,
) -> NDArray[np.float32]:
    """One over the rank, counted from 1, of the best-ranked known positive; 1 is perfect.

    It takes the parameters and raises the exceptions of :func:`precision_at_k`.

    Returns
    -------
    float32 array, shape [n_users with test positives] or [n_users]
        0 for a user without test positives.
    """
    ranking = _rank_positives(
        model,
        test_interactions,
        train_interactions,
        user_features,
        item_features,
        num_threads,
        check_intersections,
        preserve_rows,
    )
    return _of_users(ranking.mrr().astype(np.float32), ranking, preserve_rows)


def _of_users(values: NDArray[Any], ranking: _Ranking, preserve_rows: bool) -> NDArray[Any]:
    return values if preserve_rows else values[ranking.n_positives > 0]


def _rank_positives(
    model: RankingModel,
    test_interactions: Any,
    train_interactions: Any,
    user_features: Any,
    item_features: Any,
    num_threads: int,
    check_intersections: bool,
    preserve_rows: bool,
) -> _Ranking:
    check_model(model, "predict_rank")
    check_flag(preserve_rows, "preserve_rows")
    num_threads = check_num_threads(num_threads)
    test, entries = _check_test_and_train(test_interactions, train_interactions, above_zero=False)
    test, train = _seal(model, test, None if entries is None else known_positives(entries))
    ranks = model.predict_rank(
        test,
        train_interactions=train,
        user_features=user_features,
        item_features=item_features,
        num_threads=num_threads,
        check_intersections=check_intersections,
    )
    return _Ranking(ranks, np.diff(test.indptr), train)


def _is_lightfm(model: Any) -> bool:
    """Return whether a model is this library's, which accepts sealed matrices and has a fingerprint of training."""
    return isinstance(getattr(model, "trained_on_", None), Fingerprint)


def _seal(model: Any, *matrices: sp.csr_matrix | None) -> tuple[Any, ...]:
    """Seal checked matrices for this library's models, which then do not check them again."""
    if not _is_lightfm(model):
        return matrices
    return tuple(None if matrix is None else sealed(matrix) for matrix in matrices)


def _check_features_once(model: Any, user_features: Any, item_features: Any) -> tuple[Any, ...]:
    """Check features once for LightFM's ranks, its lists and the leak warning. Other models get them unchecked.

    Raises
    ------
    ValueError
        If features are no matrix of finite numbers.
    """
    given = user_features, item_features
    if not _is_lightfm(model):
        return given
    return _seal(
        model,
        *(None if f is None else check_features(f, side, 0) for f, side in zip(given, ("user", "item"), strict=True)),
    )


def _check_test_and_train(
    test_interactions: Any, train_interactions: Any, above_zero: bool
) -> tuple[sp.csr_matrix, Any]:
    """Return the positives of the test, and the entries of training or None, of the same shape."""
    test = check_known_positives(test_interactions, "test_interactions", above_zero)
    if train_interactions is None:
        return test, None
    check_is_no_list(train_interactions, "train_interactions")
    train = check_entries(train_interactions, "train_interactions")
    if train.shape != test.shape:
        raise ValueError(
            f"train_interactions has shape {train.shape} but test_interactions has {test.shape}: "
            "both need one row per user and one column per item"
        )
    return test, train


class _Ranking:
    """A model's ranks of the test positives, and the metrics of these ranks, each float64 of shape (n_users,).

    Parameters
    ----------
    ranks : CSR matrix
        Ranks from 0. Train positives take no place, and ties count against the item.
    n_positives : int array of shape (n_users,)
    train : canonical CSR matrix or None
        The train positives.
    """

    def __init__(
        self,
        ranks: sp.csr_matrix,
        n_positives: NDArray[Any],
        train: sp.csr_matrix | None,
    ) -> None:
        self.n_users, self.n_items = ranks.shape
        self.n_positives = n_positives.astype(np.intp)
        self._ranks = ranks.data.astype(np.float64)
        self._users = rows_of_entries(ranks)
        self._known = np.zeros(len(self._ranks), dtype=bool) if train is None else common_entries(ranks, train)
        self._n_train = np.zeros(self.n_users, dtype=np.intp) if train is None else np.diff(train.indptr)

    def _sum(self, values: NDArray[Any] | None, chosen: NDArray[np.bool_] | slice = slice(None)) -> NDArray[Any]:
        weights = None if values is None else values[chosen]
        sums = np.bincount(self._users[chosen], weights=weights, minlength=self.n_users)
        return sums if values is None else sums.astype(np.float64, copy=False)  # of no entries, integers

    def precision(self, k: int) -> NDArray[np.float64]:
        return self._sum(None, self._ranks < k) / k

    def recall(self, k: int) -> NDArray[np.float64]:
        return self._sum(None, self._ranks < k) / np.maximum(self.n_positives, 1)

    def hit_rate(self, k: int) -> NDArray[np.float64]:
        return np.where(self.precision(k) > 0, 1.0, 0.0)

    def ndcg(self, k: int) -> NDArray[np.float64]:
        return self._sum(ndcg_gains(self._ranks, self.n_positives[self._users], min(k, self.n_items)))

    def map(self, k: int) -> NDArray[np.float64]:
        precision_at_hit = (self._positives_above + 1) / (self._ranks + 1)
        return self._sum(precision_at_hit, self._ranks < k) / np.maximum(self.n_positives, 1)

    def mrr(self) -> NDArray[np.float64]:
        best = np.zeros(self.n_users)
        np.maximum.at(best, self._users, 1 / (self._ranks + 1))
        return best

    def auc(self) -> NDArray[np.float64]:
        n_negatives = self.n_items - self._n_train - self._sum(None, ~self._known)
        comparable = (self.n_positives > 0) & (n_negatives > 0)
        above_by_user = self._sum(np.maximum(self._ranks - self._positives_above, 0))
        n_pairs = np.where(comparable, self.n_positives * n_negatives, 1)
        return np.where(comparable, 1 - above_by_user / n_pairs, 0.5)

    @cached_property
    def _positives_above(self) -> NDArray[np.intp]:
        """Count, for each positive, the other positives that its rank includes: of the same or a better rank."""
        # A train positive takes no place in the ranking, so it has the same rank as the item just below it. Doubling
        # the ranks and subtracting 1 from a train positive's sorts it before that item.
        key = 2 * (self._users * (self.n_items + 1) + self._ranks.astype(np.int64)) - self._known
        order = np.argsort(key)
        key, owner, is_ranked = key[order], self._users[order], ~self._known[order]
        ends_tie = np.diff(key, append=-2) != 0  # -2 is no key, so the last entry ends a tie
        last_of_tie = np.flatnonzero(ends_tie)[np.cumsum(ends_tie) - ends_tie]
        running = np.cumsum(is_ranked)
        first_of_user = np.cumsum(self.n_positives) - self.n_positives
        before_user = np.append(0, running)[first_of_user[owner]]
        above = np.empty(len(running), dtype=np.intp)
        above[order] = running[last_of_tie] - before_user - is_ranked
        return above


def _top_items(
    model: Any,
    users: NDArray[np.intp],
    train: sp.csr_matrix | None,
    n: int,
    user_features: Any,
    item_features: Any,
    n_items: int,
    num_threads: int,
) -> NDArray[Any]:
    """Return the ``n`` best items for each user, without train positives; -1 fills rows with fewer items."""
    if hasattr(model, "recommend"):
        top, _ = model.recommend(
            users,
            n=n,
            interactions=train,
            filter_seen=train is not None,
            user_features=user_features,
            item_features=item_features,
            num_threads=num_threads,
        )
        return np.asarray(top)
    _, user_factors = model.get_user_representations(user_features)
    biases, item_factors = model.get_item_representations(item_features)
    biases, item_factors = biases[:n_items], item_factors[:n_items]
    top = np.empty((len(users), n), dtype=np.int64)
    block = max(1, _SCORES_AT_ONCE // n_items)
    for first in range(0, len(users), block):
        chosen = users[first : first + block]
        scores = user_factors[chosen] @ item_factors.T + biases
        if train is not None:
            seen = train[chosen]
            scores[rows_of_entries(seen), seen.indices] = -np.inf
        best = np.argpartition(-scores, n - 1, axis=1)[:, :n]
        reached = np.take_along_axis(scores, best, axis=1)
        best[np.isneginf(reached)] = -1
        top[first : first + block] = np.take_along_axis(best, np.argsort(-reached, axis=1, kind="stable"), axis=1)
    return top


# name -> whether the metric depends on k, the length of the list
METRICS: dict[str, bool] = {
    "precision": True,
    "recall": True,
    "ndcg": True,
    "map": True,
    "hit_rate": True,
    "mrr": False,
    "auc": False,
    "coverage": True,
    "novelty": True,
}


class LeakWarning(UserWarning):
    """The model was trained on the data that it is tested on."""


def mean_and_error(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the mean of users' values and its standard error, which is NaN for a single user."""
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else np.nan
    return float(values.mean()), error


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """The result of :func:`evaluate`: ``evaluation["ndcg@10"]`` is a mean, and printing it gives a table.

    Attributes
    ----------
    mean : dict of float
        Means over users by the metric's name: ``"precision@10"`` if the metric looks at the first 10 items of a list,
        ``"auc"`` if it looks at all items.
    standard_error : dict of float
        Standard deviation over users (n - 1 in the denominator), divided by the root of the number of users. NaN for a
        single user, and for coverage, which is one number for all lists.
    users : int array of shape (n_evaluated,)
        The users evaluated: users with a test positive.
    per_user : dict of float64 array of shape (n_evaluated,), or None
        Each user's values, in the order of ``users``; None unless asked for. Coverage has no values per user.
    """

    mean: dict[str, float]
    standard_error: dict[str, float]
    users: NDArray[np.intp]
    per_user: dict[str, NDArray[np.float64]] | None = None

    def __getitem__(self, name: str) -> float:
        return self.mean[name]

    def __str__(self) -> str:
        width = max(map(len, self.mean))
        rows = [
            f"{name:<{width}}  {value:.4f}" + ("" if np.isnan(error) else f" ± {error:.4f}")
            for (name, value), error in zip(self.mean.items(), self.standard_error.values(), strict=True)
        ]
        return "\n".join([counted(len(self.users), "user"), *rows])

    def __repr__(self) -> str:
        means = ", ".join(f"{name} {value:.4f}" for name, value in self.mean.items())
        return f"<Evaluation of {counted(len(self.users), 'user')}: {means}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{name}</td><td>{value:.4f}</td><td>{'' if np.isnan(error) else f'{error:.4f}'}</td></tr>"
            for (name, value), error in zip(self.mean.items(), self.standard_error.values(), strict=True)
        )
        return (
            f"<table><caption>{counted(len(self.users), 'user')}</caption>"
            f"<tr><th>metric</th><th>mean</th><th>standard error</th></tr>{rows}</table>"
        )

    def to_frame(self, backend: Any = "pandas", per_user: bool = False) -> Any:
        """Return the values as a data frame.

        Parameters
        ----------
        backend : str or module
            The library of the frame: "pandas", "polars", "pyarrow" or another that narwhals supports.
        per_user : bool
            False: a row per metric, with its name, mean and standard error. True: a row per user, with a column per
            metric; :func:`evaluate` must have been called with ``per_user=True``.

        Returns
        -------
        data frame

        Raises
        ------
        ImportError
            If the library is not installed.
        ValueError
            If there are no values per user, or narwhals does not support the library.
        """
        per_user = check_flag(per_user, "per_user")
        if per_user and self.per_user is None:
            raise ValueError("the values of each user were not kept: ask evaluate for per_user=True")
        columns: dict[str, Any]
        if per_user and self.per_user is not None:
            columns = {"user": self.users, **self.per_user}
        else:
            errors = list(self.standard_error.values())
            columns = {"metric": list(self.mean), "mean": list(self.mean.values()), "standard_error": errors}
        import narwhals as nw  # imported here, since it is slow to import

        return nw.from_dict(columns, backend=backend).to_native()


def evaluate(
    model: Any,
    test: Any,
    train: Any = None,
    metrics: str | Sequence[str] = ("precision", "recall", "ndcg", "map", "hit_rate", "mrr", "auc"),
    k: int | Sequence[int] = 10,
    user_features: Any = None,
    item_features: Any = None,
    items: Any = None,
    num_threads: int = 1,
    per_user: bool = False,
    check_intersections: bool = True,
) -> Evaluation:
    r"""Measure a model by several metrics, ranking the items once.

    Users without test positives are left out. Train entries take no place in the ranking, and ties count against a
    positive. Relevance is binary: an entry above 0 is a positive. Entries below 0 are dislikes: they are ranked among
    the other items, and are no hits. Let :math:`r` be the rank, from 1, of one of a user's :math:`P` test positives:

    precision, recall
        The number of positives with :math:`r \le k`, divided by k and by P.
    ndcg
        :math:`\sum_{r \le k} 1 / \log_2(1 + r)`, divided by its largest possible value (Järvelin and Kekäläinen 2002).
    map
        :math:`\sum_{r \le k}` of the precision at r, divided by P (``map_cut`` of trec_eval).
    hit_rate
        1 if a positive has :math:`r \le k`, else 0.
    mrr
        One over the smallest r.
    auc
        As :func:`auc_score`.
    coverage
        Share of the items that are among the first k of some evaluated user.
    novelty
        Mean over the first k items of :math:`\log_2(U / u)` (Zhou et al. 2010). U is the number of users with train
        positives, and u is the number of users who have the item among them. An item without users counts as if it
        had one.

    Parameters
    ----------
    model : LightFM, or one of lightfm_fast.baselines
        The fitted model. Without coverage and novelty, any object with a ``predict_rank`` like LightFM's.
    test : sparse matrix or array, or dense array, shape (n_users, n_items)
        Entries above 0 are the positives to be found.
    train : same, optional
        The users' past interactions. Entries other than zero, likes and dislikes, are not recommended again.
    metrics : str or sequence of str
        Names in :data:`METRICS`.
    k : int or sequence of int
        Lengths of the recommendation list, at least 1.
    user_features, item_features : sparse matrix, optional
        The features the model was fitted with.
    items : sequence of int, optional
        Only these items are recommended, and only they can be positives. By default all.
    num_threads : int
        Threads that rank, at least 1.
    per_user : bool
        Also return each user's values.
    check_intersections : bool
        True: refuse test positives that are also train positives. False: leave them out of the test.

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        If a metric is unknown, ``k`` or ``num_threads`` is below 1, the matrices differ in shape, hold NaN or
        infinity or intersect, no user has a test positive, or novelty is asked for without ``train``.

    Warns
    -----
    LeakWarning
        If the model was trained on at least half of the test positives that can be compared with
        ``model.trained_on_``.

    Examples
    --------
    >>> from lightfm_fast import LightFM
    >>> from lightfm_fast.datasets import make_interactions
    >>> data = make_interactions(n_users=100, n_items=50, n_interactions=1000, random_state=0)
    >>> model = LightFM(loss="warp", random_state=0).fit(data["train"], epochs=5)
    >>> result = evaluate(model, data["test"], data["train"], metrics=["ndcg", "coverage"], k=[5, 10])
    >>> list(result.mean)
    ['ndcg@5', 'ndcg@10', 'coverage@5', 'coverage@10']
    """
    check_model(model, "predict_rank")
    metrics, lengths = _check_metrics(metrics, k)
    num_threads, per_user = check_num_threads(num_threads), check_flag(per_user, "per_user")
    if "novelty" in metrics and train is None:
        raise ValueError("novelty compares with what is popular in train, which is not given")
    positives, entries = _check_test_and_train(test, train, above_zero=True)
    seen = None if entries is None else known_positives(entries)
    if not check_flag(check_intersections, "check_intersections") and seen is not None:
        positives = _without_seen(positives, seen)
    information = _information(entries) if "novelty" in metrics else np.zeros(positives.shape[1])
    user_features, item_features = _check_features_once(model, user_features, item_features)
    asked = positives, user_features, item_features
    if items is not None:
        items = _check_item_subset(items, positives.shape[1])
        if hasattr(model, "of_items"):
            model = model.of_items(items)
        else:
            item_features = _features_of_items(model, positives.shape, items, user_features, item_features)
            (item_features,) = _seal(model, item_features)
        positives, seen = positives[:, items], None if seen is None else seen[:, items]
        information = information[items]
    positives, seen = _seal(model, positives, seen)
    features = {"user_features": user_features, "item_features": item_features}
    ranks = model.predict_rank(positives, train_interactions=seen, num_threads=num_threads, **features)
    ranking = _Ranking(ranks, np.diff(positives.indptr), seen)
    users = np.flatnonzero(ranking.n_positives)
    if not len(users):
        raise ValueError(
            "no user has a test positive, an entry above 0: there is nothing to find, so nothing to measure"
        )
    _warn_of_leak(model, *asked)

    top = np.empty(0)
    if not {"coverage", "novelty"}.isdisjoint(metrics):
        n = min(max(lengths), positives.shape[1])
        top = _top_items(model, users, seen, n, n_items=positives.shape[1], num_threads=num_threads, **features)

    mean, standard_error, values = {}, {}, {}
    for name in metrics:
        for length in lengths if METRICS[name] else [None]:
            label = name if length is None else f"{name}@{length}"
            if name == "coverage":
                recommended = np.unique(top[:, :length])
                mean[label] = float(np.count_nonzero(recommended >= 0) / positives.shape[1])
                standard_error[label] = np.nan
                continue
            if name == "novelty":
                value = _novelty(top[:, :length], information)
            else:
                value = getattr(ranking, name)(*([] if length is None else [length]))[users]
            mean[label], standard_error[label] = mean_and_error(value)
            values[label] = value
    return Evaluation(mean, standard_error, users, values if per_user else None)


def _check_metrics(metrics: str | Sequence[str], k: int | Sequence[int]) -> tuple[list[str], list[int]]:
    """Return the metrics and the lengths of lists, each once; raise if one is invalid, or there are none."""
    names = check_one_or_several(metrics, "metrics")
    for name in names:
        if isinstance(name, str) and "@" in name:
            raise ValueError(f"metric is {name!r}: give the length of the lists by k, and the metric without it")
        check_choice(name, "metric", tuple(METRICS))
    lengths = [check_count(length, "k") for length in check_one_or_several(k, "k")]
    if not names or not lengths:
        raise ValueError("there is nothing to measure: metrics or k is empty")
    return list(dict.fromkeys(names)), list(dict.fromkeys(lengths))


def _without_seen(positives: sp.csr_matrix, seen: sp.csr_matrix) -> sp.csr_matrix:
    """Leave out of the test positives those that users have seen; ValueError if none is left."""
    unseen = positives - positives.multiply(seen)
    unseen.eliminate_zeros()
    if positives.nnz and not unseen.nnz:
        raise ValueError(
            f"each of {counted(positives.nnz, 'test positive')} is known, as train has it too: measure on interactions "
            "that were not trained on"
        )
    return unseen


def rmse(actual: Any, predicted: Any, sample_weight: Any = None) -> float:
    """Root of the mean squared error of predicted values, such as ratings; 0 is perfect.

    It suits :class:`~lightfm_fast.factorization_machine.FMRegressor`, and ``LightFM.predict_proba`` compared with 1
    and 0. Scores of ``LightFM.predict`` only order items: use :func:`evaluate` for them.

    Parameters
    ----------
    actual, predicted : array of numbers, shape (n,)
    sample_weight : array of numbers, shape (n,), optional

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the arrays differ in length, are empty, or hold NaN or infinity; if a weight is negative, or none is above 0.

    Examples
    --------
    >>> from lightfm_fast.evaluation import rmse
    >>> rmse([4, 2], [3, 3])
    1.0
    """
    mean, exponent = _mean_error(np.square, actual, predicted, sample_weight)
    return _times_power(float(np.sqrt(mean)), exponent)


def mae(actual: Any, predicted: Any, sample_weight: Any = None) -> float:
    """Mean absolute error of predicted values; 0 is perfect. It takes and raises the same as :func:`rmse`."""
    return _times_power(*_mean_error(np.abs, actual, predicted, sample_weight))


def _times_power(number: float, exponent: int) -> float:
    """Return ``number`` times 2 to the power of ``exponent``; infinity where that is too large."""
    try:
        return math.ldexp(number, exponent)
    except OverflowError:
        return math.inf


def _mean_error(loss: Callable[[Any], Any], actual: Any, predicted: Any, sample_weight: Any) -> tuple[float, int]:
    """Return the mean loss of errors divided by a power of 2, which keeps squares in range, and its exponent."""
    y, guesses = check_values(actual, "actual"), check_values(predicted, "predicted")
    weights = np.ones(len(y)) if sample_weight is None else check_values(sample_weight, "sample_weight")
    for values, name in ((guesses, "predicted"), (weights, "sample_weight")):
        if len(values) != len(y):
            raise ValueError(f"{name} has {len(values):,} values but actual has {len(y):,}")
    if (weights < 0).any() or not weights.any():
        raise ValueError("there is nothing to average: give values, with weights of at least 0, one above 0")
    halves = y / 2 - guesses / 2
    exponent = int(np.frexp(np.abs(halves).max())[1])
    mean = np.average(loss(np.ldexp(halves, -exponent)), weights=weights / weights.max())  # whose sum stays finite
    return float(mean), exponent + 1


def _warn_of_leak(model: Any, positives: sp.csr_matrix, user_features: Any, item_features: Any) -> None:
    if not _is_lightfm(model):
        return
    n_judged, n_known = model.trained_on_.count_known(
        positives, *(None if f is None or is_identity(f) else f for f in (user_features, item_features))
    )
    if n_judged and n_known >= _LEAST_LEAK * n_judged:
        warn(
            f"the model was trained on {n_known:,} of the {n_judged:,} test positives that it can tell of, so this "
            "measures memory, not prediction: hold the test out before training, for example with "
            "lightfm_fast.cross_validation.random_train_test_split",
            LeakWarning,
        )


def _information(train: Any) -> NDArray[np.float64]:
    """Return the information of each item: the logarithm of one over the share of users who like it in training."""
    liked = known_positives(train, above_zero=True)
    n_users = np.count_nonzero(np.diff(liked.indptr))
    return np.log2(max(n_users, 1) / np.maximum(np.bincount(liked.indices, minlength=liked.shape[1]), 1))


def _novelty(top: NDArray[Any], information: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean information of each list's items, or 0 for an empty list."""
    there = top >= 0
    return np.where(there, information[top], 0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)


def _features_of_items(
    model: Any, shape: tuple[int, int], items: NDArray[np.intp], user_features: Any, item_features: Any
) -> sp.csr_matrix:
    """Return the features of ``items``, so that the model ranks only these items."""
    if item_features is None:
        # An empty ranking raises if the model needs item features.
        model.predict_rank(sp.csr_matrix(shape), user_features=user_features)
        biases, _ = model.get_item_representations()
        return sp.identity(len(biases), dtype=np.float32, format="csr")[items]
    return check_features(item_features, "item", shape[1])[items]


def check_one_or_several(value: Any, name: str) -> list[Any]:
    """Return one or several values as a list.

    Raises
    ------
    TypeError
        If it is a sparse matrix, or has another number of dimensions than one.
    """
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        return [value]
    if getattr(value, "ndim", 1) != 1 or sp.issparse(value):
        raise TypeError(f"{name} is {shorten(value)}, expected one value or a list of them")
    return list(value)


def _check_item_subset(items: Any, n_items: int) -> NDArray[np.int64]:
    """Return the row numbers of ``items``, sorted and without duplicates.

    Raises
    ------
    ValueError
        If there are none, or an item is not below ``n_items``.
    """
    chosen = np.unique(check_row_numbers(items, "items"))
    if not len(chosen) or chosen[-1] >= n_items:
        found = f"goes up to {chosen[-1]:,}" if len(chosen) else "is empty"
        raise ValueError(f"items {found}, expected some of the {n_items:,} items, from 0")
    return chosen
