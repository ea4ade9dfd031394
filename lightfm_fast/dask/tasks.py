"""The tasks of a run. Each reads files, calls one pure function and writes files, so it may run again anywhere."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .. import _met
from .._feature_rows import identity
from .._matrices import as_seen
from .._parameters import Floats
from .._regularization import Problem, find_alpha
from .._rounds import Plan, Table, merged, train_round
from .._shards import counts_of, part_of
from .._start import Start
from ..evaluation import evaluate
from ..fold_in import Representations
from ..recommendation import Recommendations
from .run import Run, Source, Span, State, nobody

__all__: list[str] = []


class Record(NamedTuple):
    """What a round tells the driver.

    Attributes
    ----------
    loss : float
    samples : int
    diverged : bool
    spans : list of Span
        Where its deltas are, for each range of the shared table.
    """

    loss: float
    samples: int
    diverged: bool
    spans: list[Span]


def begin(run: Run, shard: int) -> None:
    """Write the first rows of a shard's users. Embeddings of users without positives are 0."""
    plan, entries = run.plan(), run.source.read(shard)
    parameters, has_positives = plan.parameters, counts_of(entries, positives=True) > 0
    start = Start(
        np.random.RandomState([plan.seed, shard]), parameters["init_scale"], parameters["initial_accumulator"]
    )
    table = start.new_table(
        len(has_positives), parameters["no_components"], parameters["learning_schedule"], ~has_positives
    )
    cuts = run.cuts(shard)
    for part, (first, last) in enumerate(pairwise(cuts)):
        run.write_users(0, shard, part, Table(table.rows[first:last], table.biases[first:last]))


def race(run: Run, shard: int, epochs: int, num_threads: int) -> float:
    """Find the alpha that is "auto", on the users of one shard."""
    plan, entries = run.plan(), run.source.read(shard)
    n_users = len(entries["indptr"]) - 1
    part = part_of(entries, 0, n_users, len(plan.visits), plan.visits, num_threads)
    problem = Problem(
        plan.parameters,
        identity(n_users) if (side := run.user_side(shard)) is None else side.scaled(),
        plan.item_features,
        part.interactions,
        part.weights,
        num_threads,
    )
    return find_alpha(problem, epochs, np.random.RandomState(plan.seed)).alpha


def train(run: Run, task: int, epoch: int, version: int, settings: dict[str, float], num_threads: int) -> Record:
    """Train a part of a shard, write its users' new rows and what has changed of the shared table."""
    plan = _with(run.plan(), settings)
    shard, part = run.part_of(plan.seed, task, epoch)
    cuts = run.cuts(shard)
    entries = run.source.read(shard, cuts[part], cuts[part + 1])
    shared, users = run.shared(version), run.read_users(epoch, shard, part)
    side = run.user_side(shard, cuts[part], cuts[part + 1])
    trained = train_round(plan, users, shared, entries, shard * run.parts + part, epoch, num_threads, side)
    run.write_users(epoch + 1, shard, part, trained.users)
    spans = run.write_delta(version, task, trained.delta)
    return Record(trained.loss, trained.samples, trained.diverged, spans)


def merge(
    run: Run,
    version: int,
    number: int,
    spans: list[tuple[int, Span]],
    settings: dict[str, float],
    num_threads: int,
    ends: tuple[int, int] | None,
) -> bool:
    """Write a range of the next version of the shared table, and return whether all values are finite.

    ``spans`` has the number of each task of the round, in order, and where its deltas are. In an epoch's last round
    ``ends`` is the version before this epoch, and the number of epochs with it.
    """
    rows = run.read_range(version, number)
    deltas = (run.read_delta(version, task, number, span, rows) for task, span in spans)
    after = merged(_with(run.plan(), settings), rows, deltas, num_threads, run.features_a_row(number))
    run.write_range(version + 1, number, after)
    if ends is not None:
        run.write_means(version + 1, number, after, *ends)
    return all(bool(np.isfinite(array).all()) for array in after)


def longest(run: Run, state: State, shard: int) -> float:
    """Return the length of the longest representation of a shard's users."""
    model = run.local_model(state, run.users_of_shard(state, shard))
    _, embeddings = model.get_user_representations(run.user_features(shard))
    return _met.longest(embeddings)


def embeddings_of(run: Run, state: State, shard: int, rows: NDArray[np.int64]) -> Floats:
    """Return the embeddings that represent some users of a shard."""
    model = run.local_model(state, run.users_of_shard(state, shard))
    features = run.user_features(shard)
    embeddings: Floats = model.get_user_representations(features)[1]
    return embeddings[rows]


def judge(
    run: Run,
    state: State,
    shard: int,
    test: Source,
    train: Source | None,
    metrics: list[str],
    k: Any,
    num_threads: int,
) -> tuple[NDArray[np.intp], dict[str, NDArray[np.float64]]]:
    """Evaluate a shard: the users with a positive in ``test``, and the values of each metric for them."""
    n_items = len(run.plan().visits)
    wanted = test.matrix(shard, n_items)
    if not (wanted.data > 0).any():
        return np.empty(0, dtype=np.intp), {}
    model = run.local_model(state, run.users_of_shard(state, shard))
    seen = None if train is None else as_seen(train.matrix(shard, n_items))
    found = evaluate(
        model,
        wanted,
        seen,
        metrics,
        k,
        user_features=run.user_features(shard),
        item_features=run.item_features(),
        num_threads=num_threads,
        per_user=True,
    )
    return found.users, dict(found.per_user or {})


def recommend(
    run: Run, state: State, shard: int, rows: NDArray[np.int64], n: int, filter_seen: bool, num_threads: int
) -> Recommendations:
    """Choose the best items of some users of a shard."""
    model = run.local_model(state, run.users_of_shard(state, shard))
    seen = as_seen(run.source.matrix(shard, len(run.plan().visits))) if filter_seen else None
    return model.recommend(
        rows,
        n=n,
        interactions=seen,
        user_features=run.user_features(shard),
        item_features=run.item_features(),
        num_threads=num_threads,
    )


def fold_in(run: Run, state: State, interactions: sp.csr_matrix, epochs: int, num_threads: int) -> Representations:
    """Represent new users by their interactions."""
    model = run.local_model(state, nobody(run.plan()))
    return model.fold_in_users(interactions, item_features=run.item_features(), epochs=epochs, num_threads=num_threads)


def _with(plan: Plan, settings: dict[str, float]) -> Plan:
    """Return the plan with other values of hyperparameters, which are known later than the plan."""
    return replace(plan, parameters={**plan.parameters, **settings})
