"""One epoch of training by the compiled core, for ``fit`` and ``fold_in``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightfm_fast import _core
from lightfm_fast._arguments import warn
from lightfm_fast._fingerprint import Fingerprint
from lightfm_fast._hyperparameters import N_HARDEST, N_SOFTMAX
from lightfm_fast._losses import LossFacts, facts_of
from lightfm_fast._met import Met
from lightfm_fast._parameters import Floats, ParameterTable
from lightfm_fast._shards import Part
from lightfm_fast._shrinkage import shrink
from lightfm_fast._training_data import OnDisk
from lightfm_fast._training_input import SideInput, TrainingInput, are_same_inputs, check_tables_fit

MAX_LOG_RANK = 10.0
# An epoch's mean loss, in that of scores that are all alike, from which users are warned. Searched negatives and the
# first epoch's noise raise the loss of a healthy run somewhat.
WARNED_FROM = 3.0


def log_ranks(n_drawable: int, max_sampled: int) -> NDArray[np.float32]:
    """WARP's weight by the number of draws: min(10, log(max(1, floor((n_drawable - 1) / draws)))); 1 for none."""
    draws = np.arange(1, int(max_sampled) + 1)
    weights = np.minimum(np.log(np.maximum((n_drawable - 1) // draws, 1)), MAX_LOG_RANK)
    return np.concatenate([[1], weights]).astype(np.float32)


def exponent_of(parameters: Mapping[str, Any]) -> float:
    """Return the exponent of an item's popularity by which negatives are drawn: 0 draws uniformly."""
    return parameters["popularity_exponent"] if parameters["negatives"] == "popularity" else 0.0


def count_negatives(parameters: Mapping[str, Any], n_items: int) -> int:
    """Return the number of negatives to draw: ``n_negatives``, or a default by the loss and the number of items."""
    if parameters["n_negatives"] is not None:
        return int(parameters["n_negatives"])
    if facts_of(parameters["loss"]).scores_are_cosines:
        return N_SOFTMAX
    return next(count for largest, count in N_HARDEST if n_items <= largest)


def loss_of_chance(parameters: Mapping[str, Any], n_items: int) -> float:
    """Return the loss of a sample of weight 1 if the model scores all items alike."""
    if facts_of(parameters["loss"]).scores_are_cosines:
        return float(np.log1p(count_negatives(parameters, n_items)))
    if parameters["loss"] in ("warp", "warp-kos"):  # the first draw violates the margin, by 1
        return float(log_ranks(n_items, 1)[1])
    return float(np.log(2))


def warn_of_loss(parameters: Mapping[str, Any], n_items: int, weight: float, record: Mapping[str, Any]) -> bool:
    """Warn if an epoch's loss is far worse than chance.

    Parameters
    ----------
    parameters : mapping
        The estimator's, by name.
    n_items : int
    weight : float
        The mean weight of a sample.
    record : mapping
        The epoch's record in the history.

    Returns
    -------
    bool
        Whether a warning was due.
    """
    chance = weight * loss_of_chance(parameters, n_items)
    if chance <= 0 or record["loss"] <= WARNED_FROM * chance:
        return False
    advice = f"try a smaller learning_rate (now {parameters['learning_rate']})"
    if parameters["feature_scaling"] is None:
        advice += ", or feature_scaling='balanced' if features have large values or rows have many of them"
    warn(
        f"the mean loss of epoch {record['epoch']} is {record['loss']:.3g}, and scoring all items alike would cost "
        f"{chance:.3g}: the steps are too long for this input. {advice[0].upper()}{advice[1:]}",
    )
    return True


def run_epoch(
    parameters: Mapping[str, Any],
    training_input: TrainingInput,
    users: ParameterTable,
    items: ParameterTable,
    seed: int,
    number: int,
    num_threads: int,
    may_copy: bool = True,
    centres: tuple[Floats, Floats] | None = None,
) -> tuple[float, int, bool]:
    """Train the tables for one epoch, in place.

    Parameters
    ----------
    parameters : mapping
        The estimator's hyperparameters, as ``get_params`` returns them.
    training_input : TrainingInput
    users, items : ParameterTable
    seed, number : int
        The seed of the run and the number of the epoch, which determine all draws.
    num_threads : int
    may_copy : bool
        Whether each of several threads may work on its own copy of the most visited rows.
    centres : float32 arrays of shapes (n_user_features, no_components) and (n_user_features,), optional
        As :func:`shrink` takes them.

    Returns
    -------
    total, samples, diverged
        The sum of the losses, the number of samples, and whether the epoch ended early since a score was not finite.
    """
    settings = _core.engine.Settings(
        loss=str(parameters["loss"]),
        negatives=str(parameters["negatives"]),
        learning_schedule=str(parameters["learning_schedule"]),
        learning_rate=parameters["learning_rate"],
        rho=parameters["rho"],
        epsilon=parameters["epsilon"],
        log_rank=log_ranks(training_input.n_drawable, parameters["max_sampled"]),
        k=parameters["k"],
        n=parameters["n"],
        all_pairs=parameters["interactions"] == "all",
        identity_dropout=parameters["identity_dropout"],
        n_negatives=count_negatives(parameters, training_input.n_items),
        temperature=parameters["temperature"],
    )
    rows = training_input.rows
    if may_copy and num_threads > 1:
        # Merged copies of Adadelta's rows learn slowly from labels (benchmarks/NOTES.md).
        of_ids = parameters["learning_schedule"] == "adagrad" or parameters["loss"] != "logistic"
        rows = training_input.rows_with_copies(num_threads * users.rows[:1].nbytes, of_ids)
    sides = [
        _core.engine.Side(table.rows, table.biases, table.width, *arrays, parameters[alpha])
        for table, arrays, alpha in zip((users, items), rows, ("user_alpha", "item_alpha"), strict=True)
    ]
    result: tuple[float, int, bool] = _core.engine.fit_epoch(
        settings, training_input.samples, *sides, seed, number, num_threads
    )
    if parameters["user_shrinkage"]:
        shrink(parameters, users, training_input.own_of_users, num_threads, centres)
    return result


class ShardedInput:
    """What an epoch on shards needs, with the methods of :class:`TrainingInput`, of which each shard gets its own.

    Attributes
    ----------
    shards : Shards
    met : Met
        Whom earlier runs and this one have met.
    """

    def __init__(
        self,
        item_side: SideInput,
        user_side: SideInput,
        data: OnDisk,
        sample_weight: None,
        facts: LossFacts,
        drops_identity: bool,
        popularity_exponent: float,
        num_threads: int,
        met: Met,
    ) -> None:
        self.inputs = (item_side, user_side, data, sample_weight, facts, drops_identity, popularity_exponent)
        self.shards = data.shards
        self.met = met.merged(data.has_positives, data.positives)

    def is_made_of(self, *inputs: Any) -> bool:
        """Tell whether the constructor got these very objects, up to ``popularity_exponent``."""
        return are_same_inputs(self.inputs, inputs)

    def fingerprint(self) -> Fingerprint:
        """Return the fingerprint of nothing: shards keep none."""
        return Fingerprint()

    def check_tables(self, *tables: ParameterTable) -> None:
        """Raise ValueError unless the tables fit the features, the interactions and each other."""
        item_side, user_side, data, *_ = self.inputs
        check_tables_fit(tables, (user_side.features.shape, item_side.features.shape), data.shape)

    def of_shard(self, part: Part, num_threads: int) -> TrainingInput:
        """Return the input of one shard, whose users have rows from 0."""
        item_side, user_side, data, _, facts, drops_identity, exponent = self.inputs
        users = data.of_users(part, user_side.scaling)
        samples = data.samples_of(part)
        return TrainingInput(item_side, users, *samples, facts, drops_identity, exponent, num_threads, self.met)


def prepared(item_side: SideInput, user_side: SideInput, samples: Any, *others: Any, **options: Any) -> Any:
    """Return the :class:`TrainingInput` of interactions, or the :class:`ShardedInput` of shards."""
    kind = ShardedInput if isinstance(samples, OnDisk) else TrainingInput
    return kind(item_side, user_side, samples, *others, **options)


def train_epoch(
    parameters: Mapping[str, Any],
    training_input: TrainingInput | ShardedInput,
    users: ParameterTable,
    items: ParameterTable,
    seed: int,
    number: int,
    num_threads: int,
) -> tuple[float, int, bool]:
    """Train the tables for one epoch, in place, and look for values that are not finite.

    Shards are trained on one after another. Each shard has its users' rows to itself; all share the items. What depends
    on all interactions, such as which negatives may be drawn and how often, is the same in every shard.

    Parameters
    ----------
    parameters, users, items, seed, number, num_threads
        As in :func:`run_epoch`. The rows of ``users`` are the users of all shards.
    training_input : TrainingInput or ShardedInput

    Returns
    -------
    total, samples, diverged
        As :func:`run_epoch` returns.
    """
    total, samples = 0.0, 0
    for seed_of_part, lent, part in _parts(training_input, users, seed, number, num_threads):
        with lent as own:
            loss, n_samples, diverged = run_epoch(parameters, part, own, items, seed_of_part, number, num_threads)
            diverged = diverged or not (own.all_finite(num_threads) and items.all_finite(num_threads))
        total, samples = total + loss, samples + n_samples
        if diverged:
            return total, samples, True
    return total, samples, False


def _parts(
    training_input: TrainingInput | ShardedInput, users: ParameterTable, seed: int, number: int, num_threads: int
) -> Iterator[tuple[int, AbstractContextManager[ParameterTable], TrainingInput]]:
    """Yield a seed, the loan of the users' rows and the input of each part of an epoch: the whole, or each shard."""
    if not isinstance(training_input, ShardedInput):
        yield seed, nullcontext(users), training_input
        return
    shards = training_input.shards
    for seed_of_shard, part in shards.epoch(seed, number, num_threads):
        lent = users.lent(part.first, part.n_users, shards.n_shared)
        yield seed_of_shard, lent, training_input.of_shard(part, num_threads)
