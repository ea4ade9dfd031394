"""Which strength of L2 suits the data: a short race of a few, on interactions held out for it.

Too weak a penalty overfits, too strong a one underfits, and counts of the data do not tell where the best lies
(benchmarks/NOTES.md). So a few strengths train for a few epochs each, without some interactions of some users. They
are compared user by user, by how far up the list these interactions come. The comparison is lopsided, because a short
run likes a weak penalty better than a long run does: a weaker one must win clearly, a stronger one barely. For the
same reason a weaker one that does not lead at half-time will not win later, and runs no further.

Where the data show hardly any taste, even the winner ranks worse than popularity. Then a much stronger penalty follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from lightfm_fast._averaging import Averages
from lightfm_fast._feature_rows import identity, is_identity
from lightfm_fast._gains import is_clear, mean_gains
from lightfm_fast._hyperparameters import ALPHAS, PRESETS, is_auto
from lightfm_fast._losses import facts_of
from lightfm_fast._matrices import Interactions, check_interactions, rows_of_entries
from lightfm_fast._parameters import ParameterTable
from lightfm_fast._scoring import rank
from lightfm_fast._sides import Side, Sides
from lightfm_fast._training import count_negatives, exponent_of, run_epoch
from lightfm_fast._training_input import SideInput, TrainingInput

# The strength to use where nothing else is known, and those that race against it, from near to far.
USUAL_ALPHA = 0.05
WEAKER_ALPHAS, STRONGER_ALPHA = (0.03, 0.02, 0.012, 0.008), 0.08
# The strength where popularity ranks better than the winner: so strong that vectors matter little beside biases.
POPULAR_ALPHA = 0.2
# Epochs at half-time, of a run, and of runs that stay close to one another. A race takes at most
# SHARE_OF_TRAINING of the epochs of training; training must have at least LEAST_EPOCHS.
HALF_TIME, SHORT_RUN, LONG_RUN = 2, 4, 6
SHARE_OF_TRAINING, LEAST_EPOCHS = 0.4, 24
# By how many standard errors over users an alpha must win: a weaker one than the usual, a still weaker one, a stronger
# one; by how many the first weaker one must lead at half-time; what makes a loss hopeless; and by how many popularity
# must win.
WEAKER_WINS_BY, STILL_WEAKER_WINS_BY, STRONGER_WINS_BY, LEADS_BY, HOPELESS_BY = 3.0, 2.0, 1.0, 1.0, 3.0
POPULARITY_WINS_BY = 3.0
# Users of whom a fifth of the positives is held out. With fewer than the least, standard errors mean little.
MOST_USERS, LEAST_USERS, SHARE_HELD_OUT = 2000, 50, 0.2
# Items ranked for each sample of an epoch, so that a look at the lists takes half an epoch at most: fewer users
# lend positives where the catalogue is large. The share is large because ranking costs by user, not by positive.
RANKED_PER_SAMPLE = 30
# Steps so long that few epochs suffice, whatever those of the model are: the best alpha hardly depends on them.
STEPS = {name: PRESETS["fast"][name] for name in ("learning_rate", "initial_accumulator", "init_scale")}


class Found(NamedTuple):
    """The strength that was found, and a line that says how."""

    alpha: float
    report: str


@dataclass(frozen=True)
class Problem:
    """What a model is about to be trained on, as ``fit`` has judged it.

    Attributes
    ----------
    parameters : mapping
        Those of the estimator, by name. Each of ``item_alpha`` and ``user_alpha`` that is "auto" is raced.
    user_features, item_features : csr_matrix
        With the weights that enter the model.
    interactions : Interactions
    sample_weight : float32 array of shape (n_samples,)
    num_threads : int
    """

    parameters: Mapping[str, Any]
    user_features: sp.csr_matrix
    item_features: sp.csr_matrix
    interactions: Interactions
    sample_weight: NDArray[np.float32]
    num_threads: int


def find_alpha(problem: Problem, epochs: int, rng: np.random.RandomState) -> Found:
    """Race strengths of L2 for at most ``SHARE_OF_TRAINING`` of the epochs of training.

    Parameters
    ----------
    problem : Problem
    epochs : int
        Those of training.
    rng : RandomState
        Chooses what is held out, where the runs start and what they draw: the same for each, so that runs differ by
        their strength alone.

    Returns
    -------
    Found
        ``USUAL_ALPHA`` where no other won, or where a race has too few epochs or too few users; ``POPULAR_ALPHA`` where
        popularity ranks better than the winner.
    """
    if epochs < LEAST_EPOCHS:
        return Found(USUAL_ALPHA, f"the usual, since a comparison needs {LEAST_EPOCHS} epochs of training")
    left = int(SHARE_OF_TRAINING * epochs)
    problem = among_met_items(problem)
    held_out = hold_out(problem, rng)
    if held_out.n_users < LEAST_USERS:
        return Found(USUAL_ALPHA, f"the usual, since a comparison needs {LEAST_USERS} users with two positives")
    generator = np.random.default_rng(rng.randint(1 << 32, dtype=np.uint64))  # draws faster than a RandomState
    tables = [
        random_table(features.shape[1], problem.parameters["no_components"], generator)
        for features in (problem.user_features, problem.item_features)
    ]
    new_run = partial(Run, problem, held_out, tables, int(rng.randint(1 << 32, dtype=np.uint64)))
    told: dict[float, str] = {}  # for the report; the runs themselves hold parameters

    def meet(one: Run, other: Run, until: int) -> None:
        nonlocal left
        for run in (one, other):
            left -= until - run.n_epochs
            run.train(until)
            told[run.alpha] = f"{run.alpha} scores {run.scores[until].mean():.4f} after {until} epochs"

    usual = best = new_run(USUAL_ALPHA)
    for alpha in WEAKER_ALPHAS:
        if left < 2 * SHORT_RUN - best.n_epochs:
            break
        weaker = new_run(alpha)
        if best is usual:
            meet(usual, weaker, HALF_TIME)
            if not wins(weaker, usual, LEADS_BY):
                break
        meet(best, weaker, SHORT_RUN)
        if not wins(weaker, best, WEAKER_WINS_BY if best is usual else STILL_WEAKER_WINS_BY):
            break
        best = weaker
    if best is usual and left >= 2 * LONG_RUN - usual.n_epochs:
        stronger = new_run(STRONGER_ALPHA)
        for until in (HALF_TIME, LONG_RUN):
            meet(usual, stronger, until)
            if wins(usual, stronger, HOPELESS_BY):
                break
        else:
            best = stronger if wins(stronger, usual, STRONGER_WINS_BY) else usual
    by_popularity = score_popularity(held_out)

    def popularity_wins() -> bool:
        return is_clear(by_popularity - best.scores[max(best.scores)], POPULARITY_WINS_BY)

    if popularity_wins() and max(best.scores) < SHORT_RUN:
        meet(best, best, SHORT_RUN)  # it was judged too early
    alpha = best.alpha
    scored = list(told.values())
    if popularity_wins():
        alpha = POPULAR_ALPHA
        scored.append(f"popularity scores {by_popularity.mean():.4f}")
    told_of = f"{held_out.wanted.nnz:,} held-out interactions of {held_out.n_users:,} users"
    return Found(alpha, f"{', '.join(scored)}, on {told_of}")


def has_no_autoencoder(parameters: Mapping[str, Any], found: Mapping[str, float | None]) -> bool:
    """Tell whether ``linear_components="auto"`` means none, because popularity won the race for an alpha of "auto".

    ``found`` has the alphas that the model trains with, by name.
    """
    alphas = [found[name] for name in ALPHAS if is_auto(parameters[name])]
    return is_auto(parameters["linear_components"]) and POPULAR_ALPHA in alphas


class HeldOut(NamedTuple):
    """Positives to find, and what is trained on without them.

    Attributes
    ----------
    wanted, known : csr_matrix of shape (n_users, n_items)
        What is held out of some users, and these users' other entries, which are not ranked.
    training_input : TrainingInput
    """

    wanted: sp.csr_matrix
    known: sp.csr_matrix
    training_input: TrainingInput

    @property
    def n_users(self) -> int:
        """How many users have something held out."""
        return int(np.count_nonzero(np.diff(self.wanted.indptr)))


def among_met_items(problem: Problem) -> Problem:
    """Leave out items without positives: training does not draw them, and their ranks would say nothing."""
    entries, item_features = problem.interactions, problem.item_features
    is_positive = entries.data > 0
    is_met = np.bincount(entries.col[is_positive], minlength=entries.shape[1]) > 0
    if is_met.all() or not is_met.any():
        return problem
    kept = is_met[entries.col]
    number = np.cumsum(is_met) - 1
    arrays = entries.data[kept], (entries.row[kept], number[entries.col[kept]])
    n_items = int(is_met.sum())
    return replace(
        problem,
        parameters={**problem.parameters, "n_negatives": count_negatives(problem.parameters, len(is_met))},
        item_features=identity(n_items) if is_identity(item_features) else item_features[np.flatnonzero(is_met)],
        interactions=check_interactions(sp.coo_matrix(arrays, (entries.shape[0], n_items))),
        sample_weight=problem.sample_weight[kept],
    )


def hold_out(problem: Problem, rng: np.random.RandomState) -> HeldOut:
    """Hold out a fifth of the positive items of users chosen at random."""
    entries, weights, parameters = problem.interactions, problem.sample_weight, problem.parameters
    n_users, n_items = entries.shape
    is_positive = (entries.data > 0) & (weights > 0)
    users = np.flatnonzero(np.bincount(entries.row[is_positive], minlength=n_users) > 1)
    most = max(min(MOST_USERS, RANKED_PER_SAMPLE * entries.nnz // n_items), LEAST_USERS)
    is_chosen = np.zeros(n_users, dtype=bool)
    is_chosen[rng.permutation(users)[:most]] = True
    theirs = np.flatnonzero(is_chosen[entries.row])
    pairs = entries.row[theirs] * np.int64(n_items) + entries.col[theirs]  # an entry given twice is one pair
    chosen = choose_pairs(distinct(pairs[is_positive[theirs]]), n_items, rng)
    is_held = among(pairs, chosen)
    is_trained = np.ones(entries.nnz, dtype=bool)
    is_trained[theirs[is_held]] = False
    values, rows, columns = (array[is_trained] for array in (entries.data, entries.row, entries.col))
    training_input = TrainingInput(
        SideInput(problem.item_features),
        SideInput(problem.user_features),
        sp.coo_matrix((values, (rows, columns)), entries.shape),
        weights[is_trained],
        facts_of(parameters["loss"], parameters["negatives"]),
        parameters["identity_dropout"] > 0,
        exponent_of(parameters),
        num_threads=problem.num_threads,
    )
    wanted, known = (pattern(some, entries.shape) for some in (chosen, distinct(pairs[~is_held])))
    return HeldOut(wanted, known, training_input)


def random_table(n_rows: int, no_components: int, generator: np.random.Generator) -> ParameterTable:
    """Return a table of embeddings of deviation ``init_scale``: uniform ones, which take less time than normal ones."""
    table = ParameterTable(n_rows, no_components, "adagrad", STEPS["initial_accumulator"])
    drawn = generator.random((n_rows, no_components), dtype=np.float32)
    drawn -= np.float32(0.5)
    np.multiply(drawn, np.float32(np.sqrt(12) * STEPS["init_scale"]), out=table.view("embeddings"))
    return table


def choose_pairs(pairs: NDArray[np.int64], n_items: int, rng: np.random.RandomState) -> NDArray[np.int64]:
    """Choose a fifth of each user's pairs at random, at least one but never all of them, ascending."""
    users = pairs // n_items
    shuffled = np.argsort(users + rng.random_sample(len(pairs)))  # users stay in order; one key sorts faster than two
    counts = np.bincount(users)
    counts = counts[counts > 0]
    turn = np.arange(len(pairs)) - np.repeat(np.cumsum(counts) - counts, counts)
    most = np.minimum(np.maximum(np.rint(SHARE_HELD_OUT * counts), 1), counts - 1)
    return np.sort(pairs[shuffled[turn < np.repeat(most, counts)]])


def among(values: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell of each value whether it is among ascending ones; NumPy's ``isin`` sorts both and takes longer."""
    if not len(known):
        return np.zeros(len(values), dtype=bool)
    places = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return known[places] == values


def distinct(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the values ascending, each once; NumPy's ``unique`` by hashes takes several times as long."""
    values = np.sort(values)
    return values[np.concatenate([[True], values[1:] != values[:-1]])[: len(values)]]


def pattern(pairs: NDArray[np.int64], shape: tuple[int, int]) -> sp.csr_matrix:
    """Make a matrix with ones at ascending places, each a row times the number of columns plus a column."""
    rows, columns = np.divmod(pairs, shape[1])
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=shape[0]))])
    return sp.csr_matrix((np.ones(len(pairs), dtype=np.float32), columns, indptr), shape)


class Run:
    """A model that trains with one strength.

    Attributes
    ----------
    alpha : float
    n_epochs : int
    scores : dict of int to float64 array of shape (n_users,)
        By epochs, for each user with interactions held out, the mean of 1 / log2(2 + rank) over them, counted from
        rank 0: a discounted gain (Järvelin 2002) of the whole list. Zeros once training has diverged.
    """

    def __init__(
        self, problem: Problem, held_out: HeldOut, tables: list[ParameterTable], seed: int, alpha: float
    ) -> None:
        self.alpha = alpha
        self._problem, self._held_out, self._seed = problem, held_out, seed
        chosen = {name: alpha for name in ALPHAS if is_auto(problem.parameters[name])}
        # The margins by which a strength must win were measured without user_shrinkage (benchmarks/NOTES.md).
        fixed = {"learning_schedule": "adagrad", "user_shrinkage": 0.0}
        self._parameters = {**problem.parameters, **STEPS, **chosen, **fixed}
        self._users, self._items = (table.copy() for table in tables)
        self._averages = Averages(lambda: (self._users, self._items)) if self._parameters["average"] else None
        self.n_epochs = 0
        self.scores: dict[int, NDArray[np.float64]] = {}

    def train(self, until: int) -> None:
        """Train until ``until`` epochs are done, and score. A score that exists is kept."""
        if until in self.scores:
            return
        num_threads, diverged = self._problem.num_threads, False
        while self.n_epochs < until:
            *_, diverged = run_epoch(
                self._parameters,
                self._held_out.training_input,
                self._users,
                self._items,
                self._seed,
                self.n_epochs,
                num_threads,
            )
            self.n_epochs += 1
            if diverged:
                break
            if self._averages is not None:
                self._averages.add()
        is_finite = not diverged and self._users.all_finite(num_threads) and self._items.all_finite(num_threads)
        with nullcontext() if self._averages is None else self._averages.shown():
            self.scores[until] = self._look_up() if is_finite else np.zeros(self._held_out.n_users)

    def _look_up(self) -> NDArray[np.float64]:
        """Rank all items for each user and find what is held out."""
        problem, held_out, parameters = self._problem, self._held_out, self._parameters
        has_pairs = parameters["interactions"] == "all"
        sides = Sides(Side("user"), Side("item"), parameters["no_components"], "adagrad", has_pairs)
        sides.users.replace(self._users)
        sides.items.replace(self._items)
        features = problem.user_features, problem.item_features
        ranks = rank(sides, *features, held_out.wanted, held_out.known, problem.num_threads)
        return mean_gains(ranks.data, ranks.indptr)


def score_popularity(held_out: HeldOut) -> NDArray[np.float64]:
    """Score the order of items by how many users have them, as a :class:`Run` scores its own.

    Items that equally many users have share their mean rank.
    """
    trained, known = held_out.training_input.inputs[2], held_out.known
    counts = np.bincount(trained.col[trained.data > 0], minlength=trained.shape[1])
    users, items = rows_of_entries(held_out.wanted), held_out.wanted.indices

    def keys(rows: NDArray[Any], columns: NDArray[Any]) -> NDArray[np.int64]:
        return rows * np.int64(len(trained.data) + 1) + counts[columns]

    ordered = np.sort(counts)
    ordered_known = np.sort(keys(rows_of_entries(known), known.indices))
    at_least, more = (
        len(ordered)
        - np.searchsorted(ordered, counts[items], side)
        - (known.indptr[users + 1] - np.searchsorted(ordered_known, keys(users, items), side))
        for side in ("left", "right")
    )
    return mean_gains((at_least - 1 + more) / 2, held_out.wanted.indptr)


def wins(one: Run, other: Run, by: float) -> bool:
    """Tell whether one scores clearly higher, after the most epochs that both were scored after."""
    epochs = max(one.scores.keys() & other.scores.keys())
    return is_clear(one.scores[epochs] - other.scores[epochs], by)
