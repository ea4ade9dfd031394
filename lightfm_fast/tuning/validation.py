"""Hold out interactions as a task requires, and measure models on the held-out part."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._arguments import check_choice
from .._matrices import known_positives
from .._parameters import FIELDS
from ..cross_validation import (
    Entries,
    cold_items_train_test_split,
    cold_users_train_test_split,
    numbers_of,
    random_train_test_split,
    time_train_test_split,
)
from ..evaluation import METRICS, LeakWarning, evaluate
from ..fold_in import Representations
from ..lightfm import LightFM

# How much each task holds out: of the interactions, or of the items or users.
HELD_OUT = {"warm": 0.1, "new items": 0.2, "new users": 0.2, "next in time": 0.1}
TASKS = tuple(HELD_OUT)
TUNABLE_METRICS = tuple(name for name in METRICS if name not in ("coverage", "novelty"))  # of users, not of all lists
ITEM_GROUPS = 16  # into which each half of the held-out items is divided
MOST_USERS = 4096  # on each half: ranking every user of large data would take longer than training
KNOWN_OF_NEWCOMERS = 0.5  # the share of a new user's interactions that is folded in, if there are no features

# A function from a model to the metric of each user of one half of the validation part.
Judge = Callable[[LightFM], NDArray[np.float64]]


@dataclass(frozen=True)
class Validation:
    """A part to train on, and the two halves of the held-out part.

    Attributes
    ----------
    train : Entries
    search : Judge
        Measures on the half that chooses trials.
    confirm : Judge
        Measures on the other half, which only decides between the best trial and the preset.
    unit : str
        The parts of the other half that its values are of. For items, they are groups of items: the choice of items
        moves a mean more than the choice of users does.
    """

    train: Entries
    search: Judge
    confirm: Judge
    unit: str = "users"


@dataclass(frozen=True)
class Measure:
    """Settings of measuring a model on held-out positives.

    Attributes
    ----------
    metric : str
    k : int
    num_threads : int
    """

    metric: str
    k: int
    num_threads: int

    @property
    def name(self) -> str:
        """The metric as ``evaluate`` names it."""
        return f"{self.metric}@{self.k}" if METRICS[self.metric] else self.metric

    def of_users(self, model: LightFM, test: sp.csr_matrix, known: Any = None, **features: Any) -> NDArray[np.float64]:
        """Return the metric of each user with a test positive."""
        with warnings.catch_warnings():
            # Rows have new numbers, so the fingerprint of training may match other rows by chance.
            warnings.simplefilter("ignore", LeakWarning)
            result = evaluate(
                model,
                test,
                known,
                self.metric,
                self.k,
                num_threads=self.num_threads,
                per_user=True,
                check_intersections=False,
                **features,
            )
        return (result.per_user or {})[self.name]


def check_task(task: Any) -> str:
    """Return the name of a task, written with spaces, hyphens or underscores; ValueError if there is no such task."""
    name = task.replace("-", " ").replace("_", " ") if isinstance(task, str) else task
    check_choice(name, "task", TASKS)
    return str(name)


def hold_out(problem: Entries, task: str, fraction: float, seed: int, measure: Measure) -> Validation:
    """Make the validation part that suits a task.

    Raises
    ------
    ValueError
        If the task needs features or timestamps that are missing, too little can be held out, or nothing is left.
    """
    if task == "next in time" and problem.timestamps is None:
        raise ValueError("task='next in time' holds out the latest interactions: give their timestamps")
    if task == "new items" and problem.item_features is None:
        raise ValueError("task='new items' scores items by their features: give item_features")
    make = {"warm": _warm, "next in time": _next_in_time, "new items": _new_items, "new users": _new_users}[task]
    return make(problem, fraction, np.random.RandomState(seed), measure)


def _warm(problem: Entries, fraction: float, random_state: np.random.RandomState, measure: Measure) -> Validation:
    train, test = random_train_test_split(problem.numbered(), fraction, random_state)
    _check_trains(train.nnz, fraction)
    return _of_known_users(problem, numbers_of(train), numbers_of(test), random_state, measure)


def _next_in_time(
    problem: Entries, fraction: float, random_state: np.random.RandomState, measure: Measure
) -> Validation:
    train, test = time_train_test_split(problem.numbered(), problem.timestamps, fraction)
    _check_trains(train.nnz, fraction, ", or give finer timestamps, since interactions of one time go together")
    return _of_known_users(problem, numbers_of(train), numbers_of(test), random_state, measure)


def _of_known_users(
    problem: Entries,
    trained: NDArray[Any],
    held_out: NDArray[Any],
    random_state: np.random.RandomState,
    measure: Measure,
) -> Validation:
    train = problem[trained]
    known, test = _positives(train), _positives(problem[held_out])
    if problem.user_features is None:  # the parameters of a user without a past are meaningless
        test = _keep_rows(test, np.flatnonzero(np.diff(known.indptr)))
    features = {"user_features": problem.user_features, "item_features": problem.item_features}

    def judge(users: NDArray[Any]) -> Judge:
        of_half = _keep_rows(test, users)
        return lambda model: measure.of_users(model, of_half, known, **features)

    return _halved(train, judge, _occurring(test), random_state)


def _new_items(problem: Entries, fraction: float, random_state: np.random.RandomState, measure: Measure) -> Validation:
    """Train without some items, and rank each half of these items by their features only."""
    features: Any = problem.item_features
    trained, held_out = map(numbers_of, cold_items_train_test_split(problem.numbered(), fraction, random_state))
    _check_trains(len(trained), fraction)
    items = np.unique(problem.interactions.col[trained])
    train = _renumbered(problem[trained], "item", items)
    features = _without_unknown_columns(features, features[items])
    test = _positives(problem[held_out])
    popularity = np.bincount(test.indices, minlength=test.shape[1])
    new = np.flatnonzero(popularity)
    _check_enough(len(new), "items")
    if not features[new].nnz:
        raise ValueError(
            "task='new items' scores items by features that other items have too, and held-out items have none of "
            f"them: item_features has zeros or columns of single items only, or validation_fraction={fraction} leaves "
            "too few items to train on"
        )
    groups = strata(new, popularity, 2 * min(ITEM_GROUPS, len(new) // 2), random_state)
    users = _sample(_occurring(test[:, new]), random_state)

    def measured(model: LightFM, groups: list[NDArray[Any]]) -> NDArray[np.float64]:
        items = np.sort(np.concatenate(groups))
        of_items = _keep_rows(test[:, items], users)
        if not of_items.nnz:
            return np.zeros(1)
        described = {"user_features": problem.user_features, "item_features": features[items]}
        return measure.of_users(model, of_items, **described)

    def confirm(model: LightFM) -> NDArray[np.float64]:
        half = groups[1::2]
        whole = measured(model, half).mean()
        without = [measured(model, half[:left_out] + half[left_out + 1 :]).mean() for left_out in range(len(half))]
        return jackknifed(whole, np.array(without))

    return Validation(train, lambda model: measured(model, groups[::2]), confirm, "groups of items")


def jackknifed(whole: float, without: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a value for each group, whose mean is ``whole`` and whose standard error is the jackknife's.

    Parameters
    ----------
    whole : float
        A statistic of all groups.
    without : array of shape (n_groups,)
        The statistic with each group left out (Tukey 1958; here centred, since the statistic depends on the number of
        items that are ranked).
    """
    return whole - (len(without) - 1) * (without - without.mean())


def strata(
    rows: NDArray[Any], popularity: NDArray[Any], n_groups: int, random_state: np.random.RandomState
) -> list[NDArray[Any]]:
    """Divide rows into groups of alike popularity: deal out the rows by popularity, each round in random order."""
    by_popularity = rows[np.argsort(-popularity[rows], kind="stable")]
    rounds = range(0, len(rows), n_groups)
    places = np.concatenate([random_state.permutation(n_groups) for _ in rounds])[: len(rows)]
    return [by_popularity[places == group] for group in range(n_groups)]


def _new_users(problem: Entries, fraction: float, random_state: np.random.RandomState, measure: Measure) -> Validation:
    """Train without some users, and represent them by features or, without useful ones, by some interactions."""
    trained, held_out = map(numbers_of, cold_users_train_test_split(problem.numbered(), fraction, random_state))
    _check_trains(len(trained), fraction)
    users = np.unique(problem.interactions.row[trained])
    train = _renumbered(problem[trained], "user", users)
    whole: Any = problem.user_features
    features = None if whole is None else _without_unknown_columns(whole, whole[users])
    test = _positives(problem[held_out])
    new = _occurring(test)
    item_features: dict[str, Any] = {"item_features": problem.item_features}
    if features is not None and features[new].nnz:

        def judge(users: NDArray[Any]) -> Judge:
            described = {"user_features": features[users], **item_features}
            return lambda model: measure.of_users(model, test[users], **described)

        return _halved(train, judge, new, random_state)

    parts = random_train_test_split(test, 1 - KNOWN_OF_NEWCOMERS, random_state)
    known, found = (part.tocsr() for part in parts)

    def judge_folded(users: NDArray[Any]) -> Judge:
        past, test = known[users], found[users]

        def of_users(model: LightFM) -> NDArray[np.float64]:
            newcomers = model.fold_in_users(past, num_threads=measure.num_threads, **item_features)
            folded = model.to_matrix_factorization(
                train.user_features, num_threads=measure.num_threads, **item_features
            )
            _replace_users(folded, newcomers)
            return measure.of_users(folded, test, past)

        return of_users

    return _halved(train, judge_folded, _occurring(found), random_state)


def _replace_users(model: LightFM, users: Representations) -> None:
    """Give a model other users. Their accumulators are arbitrary, since the model is not trained again."""
    embeddings, biases = users
    state = {f"user_{field}": np.ones_like(biases if field.startswith("bias") else embeddings) for field in FIELDS}
    model.set_state({**state, "user_embeddings": embeddings, "user_biases": biases})


def _renumbered(problem: Entries, side: str, rows: NDArray[Any]) -> Entries:
    """Return the problem with only some users or items, so that training knows nothing of the others."""
    matrix, features = problem.interactions, getattr(problem, f"{side}_features")
    axis = 0 if side == "user" else 1
    index: list[NDArray[Any]] = [matrix.row, matrix.col]
    shape = list(matrix.shape)
    index[axis], shape[axis] = np.searchsorted(rows, index[axis]), len(rows)
    return problem.replaced(
        interactions=sp.coo_matrix((matrix.data, (index[0], index[1])), shape=(shape[0], shape[1])),
        **{f"{side}_features": None if features is None else features[rows]},
    )


def _without_unknown_columns(features: sp.csr_matrix, trained: sp.csr_matrix) -> sp.csr_matrix:
    """Return features without columns that no row of training has, such as identity columns of held-out rows.

    Such a column is not trained, and rows that come after training do not have it.
    """
    is_known = np.zeros(features.shape[1], dtype=np.float32)
    is_known[trained.indices[trained.data != 0]] = 1
    known = sp.csr_matrix(features @ sp.diags(is_known), dtype=np.float32)
    known.eliminate_zeros()
    return known


def _positives(problem: Entries) -> sp.csr_matrix:
    return known_positives(problem.interactions, above_zero=True)


def _keep_rows(matrix: sp.csr_matrix, rows: NDArray[Any]) -> sp.csr_matrix:
    """Return the matrix with all other rows empty."""
    keep = np.zeros(matrix.shape[0], dtype=np.float32)
    keep[rows] = 1
    kept = sp.csr_matrix(sp.diags(keep) @ matrix, dtype=np.float32)
    kept.eliminate_zeros()
    return kept


def _occurring(matrix: sp.csr_matrix) -> NDArray[Any]:
    return np.flatnonzero(np.diff(matrix.indptr))


def _sample(rows: NDArray[Any], random_state: np.random.RandomState) -> NDArray[Any]:
    return rows if len(rows) <= MOST_USERS else np.sort(random_state.permutation(rows)[:MOST_USERS])


def _halved(
    train: Entries, judge: Callable[[NDArray[Any]], Judge], users: NDArray[Any], random_state: np.random.RandomState
) -> Validation:
    """Divide held-out users at random into two halves of at most ``MOST_USERS``, and judge by each."""
    _check_enough(len(users), "users")
    shuffled = random_state.permutation(users)
    middle = len(users) // 2
    search, confirm = (judge(np.sort(half[:MOST_USERS])) for half in (shuffled[:middle], shuffled[middle:]))
    return Validation(train, search, confirm)


def _check_trains(n: int, fraction: float, advice: str = "") -> None:
    """Raise ValueError if no interaction is left to train on."""
    if not n:
        raise ValueError(f"validation_fraction={fraction} leaves no interactions to train on: hold out fewer{advice}")


def _check_enough(n: int, what: str) -> None:
    """Raise ValueError if there are fewer than two users or items for each half."""
    if n < 4:
        raise ValueError(
            f"the {what} with held-out positives are {n:,}, expected at least 4: give more interactions above 0, or "
            "another validation_fraction"
        )
