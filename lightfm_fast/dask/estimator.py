"""The estimator that trains on a cluster. It decides what happens when; tasks do the work."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import uuid
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._arguments import (
    DivergedError,
    check_count,
    check_flag,
    check_learning_rate_factor,
    check_least,
    check_num_threads,
    check_row_numbers,
    check_run,
    check_within,
    import_optional,
    shorten,
)
from .._feature_rows import identity
from .._feature_scaling import FeatureScaling
from .._files import BusyError
from .._hyperparameters import ALPHAS, is_auto, takes_content
from .._learned import Learned, learn
from .._losses import facts_of
from .._matrices import check_features, check_interactions
from .._met import Met, divided, low_bias, popular_embedding, unmet_items
from .._parameters import ParameterTable
from .._regularization import has_no_autoencoder
from .._rounds import Plan, Table, stacked
from .._shards import Shards
from .._start import break_ties, popularity
from .._training_data import OnDisk
from .._turns import Turn
from .._version import __version__
from ..callbacks import EarlyStopping, ProgressBar, check_callbacks, running
from ..evaluation import Evaluation
from ..fold_in import Representations
from ..lightfm import LightFM
from ..recommendation import Recommendations, check_n
from ..sharded import ShardedDataset, manifest
from ..sharded.measuring import joined, metrics_of_shards
from . import resuming, tasks
from .executors import Cluster, Serial
from .resuming import Progress
from .run import Run, Source, State, Users, forget, nobody
from .storage import Storage, attempt
from .user_features import UserFeatures

__all__ = ["DaskLightFM"]

_OWN = ("client", "storage", "syncs_per_epoch", "tasks_per_shard", "timeout", "storage_options")
# "auto": the interactions of an item in a round, averaged over interactions, and the limits of rounds an epoch. With
# more interactions, each task alone moves an item as far as all together should. The mean over items would say
# little: the popular items make the ranking, and a large catalogue has many others.
_VISITS, _SYNCS = 64, (4, 64)
_FOLDED_AT_ONCE = 1 << 16  # users of a task
_LEARNED = ("_run", "_state", "_starts", "history_", *(f"{name}_" for name in ALPHAS))


class DaskLightFM:
    """LightFM, trained on the machines of a Dask cluster from interactions in shards (extra ``dask``).

    An epoch has ``syncs_per_epoch`` rounds. In a round each task trains a part of a shard's users against the same
    version of the items and of the features that users share. Then the tasks' changes are merged into the next version,
    by the damped sum (docs/cluster.md). Training begins with smaller rounds, so the first epoch has more.

    With one thread the result depends on the seed, the shards, ``syncs_per_epoch`` and ``tasks_per_shard`` only. The
    number of workers, their speed and their failures have no influence. :meth:`LightFM.fit` on the same shards gives
    another result, since it trains one shard after another.

    Parameters
    ----------
    client : distributed.Client, optional
        The client of the cluster. By default this process does all the work, with the same result.
    storage : path or str, optional
        A folder that all workers read and write: a path on a shared disk, or a URL of fsspec. Each fit has a separate
        folder in it, so several fits can share a storage. The model's parameters stay there until the next fit of this
        object. By default a temporary folder on this machine, which is deleted with the object.
    syncs_per_epoch : int or "auto"
        Rounds in an epoch after the first. More rounds learn more like one machine, and move more data:
        docs/cluster.md has the formula. "auto" means 4 to 64 rounds: the smallest number with which an item has at
        most 64 interactions in a round, averaged over interactions.
    tasks_per_shard : int
        Number of tasks that train a shard at once, for more workers than shards.
    timeout : float, optional
        Seconds, longer than any round takes. If no task returns for this time, the waiting tasks run again on
        other workers, and their workers get no more tasks. By default there is no limit.
    storage_options : mapping, optional
        Options of fsspec for ``storage``, such as credentials.
    **parameters
        Those of :class:`LightFM`.

    Attributes
    ----------
    history_ : list of dict
        As of :class:`LightFM`, of the last fit.
    item_alpha_, user_alpha_ : float or None
        As of :class:`LightFM`.
    learning_rate_factor : float
        As of :class:`LightFM`.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or no parameter of LightFM.

    Notes
    -----
    These are not supported: ``user_features`` and ``sample_weight``, which are in the shards; ``cold_start`` other than
    "features" and "auto", which means "features"; ``fit_partial``; ``EarlyStopping``, which keeps the parameters in
    memory. A callback may call :meth:`evaluate` and raise :class:`lightfm_fast.callbacks.StopTraining` instead. With
    ``identity_dropout`` and ``user_shrinkage``, a feature counts as a user's alone if a single user of the task has it.

    Examples
    --------
    >>> import tempfile
    >>> from lightfm_fast.dask import DaskLightFM
    >>> from lightfm_fast.sharded import ShardedDataset
    >>> folder = tempfile.TemporaryDirectory()
    >>> views = {"user": ["ann", "bob", "ann", "cid"], "film": ["dune", "emma", "emma", "dune"]}
    >>> shards = ShardedDataset.from_tables([views], f"{folder.name}/views", user="user", item="film", n_shards=2)
    >>> model = DaskLightFM(loss="warp", random_state=1).fit(shards, epochs=5)
    >>> model.to_local().item_embeddings.shape
    (2, 10)
    >>> folder.cleanup()
    """

    client: Any
    storage: str | os.PathLike[str] | None
    syncs_per_epoch: int | str
    tasks_per_shard: int
    timeout: float | None
    storage_options: Mapping[str, Any] | None
    loss: str
    no_components: int
    learning_rate: float
    learning_schedule: str
    initial_accumulator: float
    random_state: Any
    learning_rate_factor: float = 1.0
    history_ = Learned[list[dict[str, Any]]]()
    item_alpha_ = Learned["float | None"]()
    user_alpha_ = Learned["float | None"]()

    def __init__(
        self,
        client: Any = None,
        storage: str | os.PathLike[str] | None = None,
        syncs_per_epoch: int | str = "auto",
        tasks_per_shard: int = 1,
        timeout: float | None = None,
        storage_options: Mapping[str, Any] | None = None,
        **parameters: Any,
    ) -> None:
        self._assign(
            {
                "client": client,
                "storage": storage,
                "syncs_per_epoch": syncs_per_epoch,
                "tasks_per_shard": tasks_per_shard,
                "timeout": timeout,
                "storage_options": storage_options,
                **LightFM(**parameters).get_params(),
            }
        )
        learn(self, history_=[], item_alpha_=None, user_alpha_=None)
        self._run: Run | None = None
        self._state = State(0, 0, {})
        self._starts = np.zeros(1, dtype=np.int64)
        self._temporary: str | None = None
        self._turn = Turn()

    def _assign(self, parameters: dict[str, Any]) -> None:
        client, timeout = parameters["client"], parameters["timeout"]
        for name in ("syncs_per_epoch", "tasks_per_shard"):
            if name == "tasks_per_shard" or not is_auto(parameters[name]):
                check_count(parameters[name], name, 1 << 16)
        if client is not None and (not hasattr(client, "nthreads") or getattr(client, "asynchronous", False)):
            raise TypeError(f"client is {shorten(client)}, expected a distributed.Client that is not asynchronous")
        storage, options = parameters["storage"], parameters["storage_options"]
        if storage is not None and (not isinstance(storage, (str, os.PathLike)) or not os.fspath(storage)):
            raise TypeError(f"storage is {shorten(storage)}, expected the path or URL of a folder, or None")
        if options is not None and not isinstance(options, Mapping):
            raise TypeError(f"storage_options is {shorten(options)}, expected a dict of options of fsspec")
        if timeout is not None:
            if client is None:
                raise ValueError(
                    "timeout is given without a client, which runs tasks elsewhere: give one, or no timeout"
                )
            check_least(timeout, "timeout", 0.001)
        LightFM(**{name: value for name, value in parameters.items() if name not in _OWN})  # checks them
        self._names = tuple(parameters)
        vars(self).update(parameters)

    # ------------------------------------------------------------------ training

    def fit(
        self,
        interactions: Any,
        item_features: Any = None,
        epochs: int = 1,
        num_threads: int = 1,
        callbacks: Iterable[Any] | None = None,
        columns: Mapping[str, Any] | None = None,
        resume: bool = False,
    ) -> DaskLightFM:
        """Train from scratch. What an earlier fit has learned is kept until this one has trained an epoch.

        Parameters
        ----------
        interactions : ShardedDataset or dask DataFrame
            Tasks read the shards' folder, which all workers must see, if ``storage`` is a path. Else the shards are
            copied to the storage. A DataFrame is written to shards first, a partition at a time, through this process.
        item_features : sparse matrix or array, or dense array, shape (n_items or more, n_item_features), optional
            As in :meth:`LightFM.fit`, such as ``interactions.item_features``.
        epochs, num_threads
            As in :meth:`LightFM.fit`; ``num_threads`` is the number of threads of a task. Give each worker one Dask
            thread.
        callbacks : iterable of callable, optional
            Called with this object after every epoch, in this process.
        columns : mapping, optional
            For a DataFrame: arguments of :meth:`ShardedDataset.from_tables`, such as ``user``, ``item``, ``n_shards``
            and ``missing_ids``.
        resume : bool
            Go on with the run that the same call left in ``storage`` when its process ended: after its last whole
            epoch, with the same bits. A complete run is taken as it is. Without such a run, begin anew. The call is the
            same if the shards, ``item_features``, ``epochs`` and the parameters are the same, also the seed if
            ``random_state`` is a number. Callbacks are not restored. If this fit fails, its run stays for the next
            call, unless training diverges. No other process may be fitting the same run. The run then belongs to this
            object. A DataFrame needs a name in ``columns["source"]`` that tells its rows from others. The call is then
            the same if ``columns`` are the same, and shards that were written are not written again.

        Returns
        -------
        DaskLightFM
            The object itself.

        Raises
        ------
        ImportError
            If fsspec is not installed.
        TypeError
            If ``interactions`` are of another kind.
        ValueError
            If the input does not fit together, training diverges, or the client is closed. What was learned before
            stays. Also if ``resume`` is set without a ``storage``, or for a DataFrame without a source or a storage
            that is a path.
        OSError
            If the storage fails several times in a row.
        TimeoutError
            If no worker is left that returns in time.
        RuntimeError
            If this object is being fitted already, by another thread or by the call that runs this callback.
        """
        epochs, num_threads = check_run(epochs, num_threads)
        resume = check_flag(resume, "resume")
        with self._turn.taken():
            return self._fit(
                interactions, item_features, epochs, num_threads, check_callbacks(callbacks), columns, resume
            )

    def _fit(
        self,
        interactions: Any,
        item_features: Any,
        epochs: int,
        num_threads: int,
        called: list[Any],
        columns: Mapping[str, Any] | None,
        resume: bool,
    ) -> DaskLightFM:
        """Do the work of :meth:`fit`, which holds the turn."""
        if any(isinstance(callback, EarlyStopping) for callback in called):
            raise ValueError(
                "EarlyStopping keeps parameters in memory: call evaluate() in a callback, and raise StopTraining"
            )
        self._assign(self.get_params())  # attributes may have been assigned since
        if self.get_params()["cold_start"] not in ("features", "auto"):
            raise ValueError(
                f"cold_start is {self.get_params()['cold_start']!r}, expected 'features', or 'auto', which means the "
                "same here: for the other ways fit the same shards with LightFM on one machine"
            )
        if resume and self.storage is None:
            raise ValueError("resume needs a storage that outlives this object")
        is_frame = resume and hasattr(interactions, "get_partition")
        if is_frame and ("source" not in (columns or {}) or not self._storage().is_local):
            raise ValueError(
                "resume needs for a DataFrame columns={'source': ...}, a name for its rows, and a storage that is a "
                "path: give both, or write the DataFrame to shards first and fit these"
            )
        executor = self._executor()
        before = {name: getattr(self, name) for name in _LEARNED}
        kept = None if before["_run"] is None else before["_run"].storage.url
        name = uuid.uuid4().hex
        if is_frame:  # the next process finds the shards by the name of the run
            tokenize = import_optional("dask.base", "dask", "Resuming").tokenize
            name = tokenize(__version__, columns, self._trained_with(), item_features, epochs)
        storage = self._storage().within(f"{resuming.RUN}{name[:12]}")
        progress: Progress | None = None  # until the storage says what this run has reached
        try:
            shards = self._shards(interactions, columns, storage)
            n_items = shards.shape[1]
            features = None if item_features is None else check_features(item_features, "item", n_items)
            question = resuming.question_of(self._trained_with(), shards, features, epochs)
            found = resuming.find(self._storage(), question) if resume else None
            if found is None:
                run, progress = self._begun(executor, shards, features, question, epochs, num_threads, storage)
            else:
                storage, progress = found
                run = self._run_of(shards, storage, is_written=True)
                attempt(run.delete_all_but, progress.state)
            is_watched = any(not isinstance(callback, ProgressBar) for callback in called)
            with running(self, len(progress.left(epochs)), called) as goes_on:
                self._train(executor, run, shards, progress, epochs, num_threads, goes_on, is_watched)
        except BaseException as error:
            has_trained = self._run is not before["_run"] and bool(self.history_)
            is_new = storage.url != kept  # else this object has gone on with its own run, and keeps what it learned
            if is_new and (isinstance(error, Exception) or not has_trained):  # Ctrl-C keeps the epochs trained so far
                vars(self).update(before)
                is_begun = progress is not None
                if is_frame and (isinstance(error, BusyError) or not isinstance(error, (TypeError, ValueError))):
                    is_begun = is_begun or bool(storage.names())  # shards, or a part of them, perhaps of another call
                if not resume or not is_begun or isinstance(error, DivergedError):
                    storage.delete()
            raise
        finally:
            executor.release()
            if self._run is not None and kept not in (None, self._run.storage.url):
                attempt(before["_run"].storage.delete)
        return self

    def _executor(self) -> Serial | Cluster:
        return Serial() if self.client is None else Cluster(self.client, self.timeout)

    def _storage(self) -> Storage:
        if self.storage is not None:
            return Storage(os.fspath(self.storage), self.storage_options or {})
        return Storage(self._temporary_folder(), {})

    def _temporary_folder(self) -> str:
        """Return a folder that vanishes with the object."""
        if self._temporary is None:
            self._temporary = tempfile.mkdtemp(prefix="lightfm-fast-")
            weakref.finalize(self, shutil.rmtree, self._temporary, ignore_errors=True)
        return self._temporary

    def _shards(self, interactions: Any, columns: Mapping[str, Any] | None, storage: Storage) -> ShardedDataset:
        """Return the shards that were given, or those of a data frame."""
        if isinstance(interactions, ShardedDataset):
            if columns is not None:
                raise ValueError("columns are given with shards, which have columns already: leave columns out")
            return interactions
        if not hasattr(interactions, "get_partition"):
            raise TypeError(f"interactions is {shorten(interactions)}, expected a ShardedDataset or a dask DataFrame")
        if storage.is_local:
            folder = os.path.join(storage.path, "written")
            os.makedirs(storage.path, exist_ok=True)
        else:
            folder = os.path.join(self._temporary_folder(), uuid.uuid4().hex)
        return ShardedDataset.from_tables(interactions, folder, **(columns or {}))

    def _trained_with(self) -> dict[str, Any]:
        """Return the parameters that the result depends on."""
        own = {"syncs_per_epoch": self.syncs_per_epoch, "tasks_per_shard": self.tasks_per_shard}
        return {**self._parameters(), **own}

    def _run_of(self, shards: ShardedDataset, storage: Storage, is_written: bool = False) -> Run:
        source = _source(shards, storage.within("shards"), is_written)
        syncs = self.syncs_per_epoch
        if is_auto(syncs):
            visits = shards.visits.astype(np.float64)
            syncs = int(np.clip(np.ceil(visits @ visits / max(1, visits.sum()) / _VISITS), *_SYNCS))
        return Run(storage, source, int(syncs), self.tasks_per_shard)

    def _begun(
        self,
        executor: Serial | Cluster,
        shards: ShardedDataset,
        features: sp.csr_matrix | None,
        question: str,
        epochs: int,
        num_threads: int,
        storage: Storage,
    ) -> tuple[Run, Progress]:
        """Write what tasks need, and the first state."""
        parameters = self._parameters()
        model = LightFM(**parameters)
        model.fit(_Outline(shards), item_features=features, epochs=0)
        data, n_linear = OnDisk(shards, num_threads), parameters["linear_components"]
        given = scaled = identity(shards.shape[1]) if features is None else features
        data.check_autoencoder(n_linear, given, None)
        contents = model.to_contents()
        if "item_feature_scales" in contents.tensors:
            typical = contents.document["typical_lengths"]["item"]
            scales = contents.tensors["item_feature_scales"]
            scaled = FeatureScaling.restored(scales, typical, scaled.shape[1]).apply(scaled)
        like = self.no_components, self.learning_schedule, self.initial_accumulator
        items = ParameterTable(scaled.shape[1], *like)
        items.view("embeddings")[...] = model.item_embeddings
        if facts_of(self.loss).scores_are_cosines:
            break_ties(items.view("biases"), popularity(shards.positives, scaled))
        del parameters["random_state"]
        seed = int(model.random_state.randint(1 << 32, dtype=np.uint64))
        plan = Plan(parameters, scaled, shards.visits, shards.positives, seed)
        users = ParameterTable(shards.n_shared, *like)
        run = self._run_of(shards, storage)
        if shards.n_shared:
            users.view("embeddings")[...] = model.user_embeddings[1:]
            known = UserFeatures.of(shards, plan.parameters)
            users.view("embeddings")[known.without_past] = 0
            plan = replace(plan, n_shared=shards.n_shared, features_a_user=known.a_user)
            if known.scaling is not None:
                contents.document["typical_lengths"]["user"] = known.scaling.typical
                attempt(run.write_scales, known.scaling, shards.starts)
        beside = None
        if n_linear != 0 and takes_content(self.loss, parameters["interactions"]):
            data.scratch = self._temporary_folder()
            beside = data.beside(n_linear, given, None, num_threads)
        attempt(run.write, plan, contents, features, beside is not None)
        if beside is not None:
            attempt(run.write_beside, beside, shards.starts)
        alphas = self._alphas(executor, run, shards, epochs, num_threads)
        shared = stacked([Table(items.rows, items.biases), Table(users.rows, users.biases)])
        attempt(run.write_shared, 0, shared)
        executor.run(tasks.begin, [(run, shard) for shard in range(len(shards))])
        factor = check_learning_rate_factor(self.learning_rate_factor)
        progress = Progress(question, State(0, 0, _document(plan, [], alphas)), factor, False)
        resuming.write(run, progress)
        return run, progress

    def _train(
        self,
        executor: Serial | Cluster,
        run: Run,
        shards: ShardedDataset,
        progress: Progress,
        epochs: int,
        num_threads: int,
        goes_on: Callable[[], bool],
        is_watched: bool,
    ) -> None:
        """Train the epochs that are left, then place users and items without positives, and weigh the autoencoder."""
        plan = attempt(run.plan)
        self.learning_rate_factor = progress.learning_rate_factor
        alphas = {f"{name}_": progress.state.document[f"{name}_"] for name in ALPHAS}
        self._learned(run, shards, progress.state)
        for epoch in progress.left(epochs):
            last = progress.state
            state = self._epoch(executor, run, plan, last, epoch, alphas, num_threads)
            self._learned(run, shards, self._with_autoencoder(executor, run, plan, state) if is_watched else state)
            stops = not goes_on()
            factor = check_learning_rate_factor(self.learning_rate_factor)
            progress = progress._replace(state=state, learning_rate_factor=factor)
            resuming.write(run, progress, last)
            if stops:
                break
        if epochs and not progress.is_over:
            state = self._placed(executor, run, plan, progress.state)
            state = self._with_autoencoder(executor, run, plan, state)
            self._learned(run, shards, state)
            resuming.write(run, progress._replace(state=state, is_over=True), progress.state)

    def _learned(self, run: Run, shards: ShardedDataset, state: State) -> None:
        """Let this object be the model of a state."""
        self._run, self._starts, self._state = run, shards.starts, state
        learn(self, history_=list(state.document["history"]))
        learn(self, **{f"{name}_": state.document[f"{name}_"] for name in ALPHAS})

    def _epoch(
        self,
        executor: Serial | Cluster,
        run: Run,
        plan: Plan,
        state: State,
        epoch: int,
        alphas: Mapping[str, float],
        num_threads: int,
    ) -> State:
        """Train an epoch, and return the state after it."""
        started, version = time.perf_counter(), state.version
        rate = float(self.learning_rate) * check_learning_rate_factor(self.learning_rate_factor)
        settings = {"learning_rate": rate, **{name[:-1]: alpha for name, alpha in alphas.items()}}
        loss, samples = 0.0, 0
        for of_round in run.rounds(epoch):
            calls = [(run, task, epoch, version, settings, num_threads) for task in of_round]
            records = executor.run(tasks.train, calls)
            merges = []
            ends = (state.version, epoch + 1) if of_round.stop == run.syncs * run.n_tasks else None
            for number in range(run.n_ranges()):
                spans = [(task, trained.spans[number]) for task, trained in zip(of_round, records, strict=True)]
                spans = [(task, span) for task, span in spans if span.n_rows]
                merges.append((run, version, number, spans, settings, num_threads, ends))
            is_finite = not any(trained.diverged for trained in records)
            if not is_finite or not all(executor.run(tasks.merge, merges)):
                raise DivergedError(
                    f"training diverged in epoch {epoch + 1}: scores are no longer finite, and the model is as "
                    f"it was before. Try a smaller learning_rate (now {rate}), or scale down feature values"
                )
            loss += sum(trained.loss for trained in records)
            samples += sum(trained.samples for trained in records)
            if version != state.version:  # that of the last whole epoch is kept until this one is whole
                attempt(run.delete_shared, version)
            version += 1
        record = {
            "epoch": epoch + 1,
            "loss": loss / max(samples, 1),
            "seconds": time.perf_counter() - started,
            "samples": samples,
        }
        history = [*state.document["history"], record]
        return State(epoch + 1, version, _document(plan, history, alphas))

    def _alphas(
        self, executor: Serial | Cluster, run: Run, shards: ShardedDataset, epochs: int, num_threads: int
    ) -> dict[str, float]:
        """Return the L2 penalties, of which "auto" is raced on the largest shard."""
        alphas = {f"{name}_": getattr(self, name) for name in ALPHAS}
        if any(map(is_auto, alphas.values())):
            largest = int(np.argmax([facts["n_interactions"] for facts in shards.facts]))
            (found,) = executor.run(tasks.race, [(run, largest, epochs, num_threads)])
            alphas = {name: found if is_auto(alpha) else alpha for name, alpha in alphas.items()}
        return {name: float(alpha) for name, alpha in alphas.items()}

    def _placed(self, executor: Serial | Cluster, run: Run, plan: Plan, state: State) -> State:
        """Place users and items without positives as :class:`LightFM` does."""
        of_items, of_users = plan.parts(attempt(run.learned, state.version))
        items = plan.copied(of_items)
        met = Met(np.zeros(0, dtype=bool), plan.positives)
        columns, weights = unmet_items(items.view("biases"), plan.item_features, met)
        if facts_of(self.loss).scores_are_cosines:
            items.view("embeddings")[columns] = 0
        elif plan.positives.any():
            model = run.local_model(state, nobody(plan))
            biases, embeddings = model.get_item_representations(run.item_features())
            n_items = len(plan.positives)
            if not plan.n_shared:  # else users without positives are where their features put them
                placed = popular_embedding(embeddings[:n_items], biases[:n_items], plan.positives)
                state = state._replace(placed=placed)
            if len(columns):
                lengths = executor.run(tasks.longest, [(run, state, shard) for shard in range(len(run.source.arrays))])
                of_unmet = weights[:, None] * items.view("embeddings")[columns]
                low = low_bias(max(lengths), of_unmet, biases[:n_items][plan.positives > 0])
                items.view("biases")[columns] = divided(low, weights)
                state = state._replace(low=low)
        if len(columns):
            state = state._replace(version=state.version + 1)
            attempt(run.write_shared, state.version, stacked([Table(items.rows, items.biases), of_users]))
        return state

    def _with_autoencoder(self, executor: Serial | Cluster, run: Run, plan: Plan, state: State) -> State:
        """Weigh the autoencoder, if there is one, beside the factors of a state."""
        beside = attempt(run.beside)
        found = {name: state.document[f"{name}_"] for name in ALPHAS}
        if beside is None or has_no_autoencoder(plan.parameters, found):
            return state
        shards = np.searchsorted(self._starts, beside.users, side="right") - 1
        calls = [
            (run, state, int(shard), beside.users[shards == shard] - self._starts[shard]) for shard in np.unique(shards)
        ]
        users = np.concatenate(executor.run(tasks.embeddings_of, calls))
        features = run.item_features()
        biases, items = run.local_model(state, nobody(plan)).get_item_representations(features)
        features = identity(len(biases)) if features is None else features[: len(beside.is_met)]
        linear = beside.autoencoder.of_new_users(features, beside.positives)
        n_items = len(beside.is_met)
        weighed = beside.weighed(users, items[:n_items], biases[:n_items], linear, features)
        return state._replace(document={**state.document, "autoencoder": weighed.to_arrays()[0]})

    # ------------------------------------------------------------------ what a trained model answers

    def evaluate(
        self,
        test: ShardedDataset,
        train: ShardedDataset | None = None,
        metrics: str | Sequence[str] = ("precision", "recall", "ndcg", "map", "hit_rate", "mrr", "auc"),
        k: int | Sequence[int] = 10,
        num_threads: int = 1,
    ) -> Evaluation:
        """Measure the model on held-out interactions, a task a shard.

        Parameters
        ----------
        test, train : ShardedDataset
            The two parts of :meth:`ShardedDataset.split`, of which the model was trained on ``train``. What is in
            ``train`` is not recommended again.
        metrics, k, num_threads
            As in :meth:`ShardedDataset.evaluate`.

        Returns
        -------
        Evaluation
            Over all users with a positive in ``test``; ``users`` has their rows, and ``per_user`` their values.

        Raises
        ------
        ValueError
            If the model is not fitted, was trained on other users or items, no user has a positive, or a metric is
            unknown.
        """
        run, state = self._fitted()
        wanted = metrics_of_shards(metrics)
        for dataset, name in ((test, "test"), (train, "train")):
            self._check_same(dataset, name)
        executor, num_threads = self._executor(), check_num_threads(num_threads)
        copies = [run.storage.within(f"shards-{uuid.uuid4().hex[:12]}") for _ in range(2)]
        try:
            sources = [
                None if dataset is None else _source(dataset, copy)
                for dataset, copy in zip((test, train), copies, strict=True)
            ]
            calls = [(run, state, shard, *sources, wanted, k, num_threads) for shard in range(len(test))]
            found = executor.run(tasks.judge, calls)
        finally:
            for copy in copies:
                attempt(copy.delete)
        return joined(
            [(users + first, values) for (users, values), first in zip(found, self._starts[:-1], strict=True)]
        )

    def recommend(self, user_ids: Any, n: int = 10, filter_seen: bool = True, num_threads: int = 1) -> Recommendations:
        """Choose the items that score highest for some users, a task a shard.

        For all users, :meth:`to_local` makes the model that :meth:`ShardedDataset.recommend_to` takes.

        Parameters
        ----------
        user_ids : int or sequence of int, shape (n_users,)
            Rows of the shards' users, in any order. Users with features may have no interactions.
        n, num_threads
            As in :meth:`LightFM.recommend`.
        filter_seen : bool
            Leave out what the users have in the shards of :meth:`fit`.

        Returns
        -------
        Recommendations

        Raises
        ------
        ValueError
            If the model is not fitted, or an argument is out of range.
        """
        run, state = self._fitted()
        filter_seen = check_flag(filter_seen, "filter_seen")
        users = np.atleast_1d(check_row_numbers(user_ids, "user_ids"))
        check_within(users, "user", int(self._starts[-1]))
        n = check_n(n, len(run.plan().visits))
        shards = np.searchsorted(self._starts, users, side="right") - 1
        asked = np.unique(shards)
        places = [np.flatnonzero(shards == shard) for shard in asked]
        calls = [
            (run, state, int(shard), users[place] - self._starts[shard], n, filter_seen, check_num_threads(num_threads))
            for shard, place in zip(asked, places, strict=True)
        ]
        best = Recommendations(np.empty((len(users), n), np.int64), np.empty((len(users), n), np.float32))
        for place, found in zip(places, self._executor().run(tasks.recommend, calls), strict=True):
            best.ids[place], best.scores[place] = found
        return best

    def fold_in_users(self, interactions: Any, epochs: int = 20, num_threads: int = 1) -> Representations:
        """Represent users that came after training by a few interactions; see :meth:`LightFM.fold_in_users`.

        A task has up to 65,536 users.
        """
        run, state = self._fitted()
        epochs, num_threads = check_run(epochs, num_threads)
        entries = sp.csr_matrix(check_interactions(interactions))
        n_items = len(run.plan().visits)
        if entries.shape[1] != n_items:
            raise ValueError(f"interactions has {entries.shape[1]:,} items, and the model was trained for {n_items:,}")
        blocks = [entries[first : first + _FOLDED_AT_ONCE] for first in range(0, entries.shape[0], _FOLDED_AT_ONCE)]
        found = self._executor().run(tasks.fold_in, [(run, state, block, epochs, num_threads) for block in blocks])
        return Representations(*(np.concatenate(arrays) for arrays in zip(*found, strict=True)))

    def to_local(self) -> LightFM:
        """Return the model with all users, in this process's memory.

        Raises
        ------
        ValueError
            If the model is not fitted.
        """
        run, state = self._fitted()
        parts = [attempt(run.users_of_shard, state, shard) for shard in range(len(self._starts) - 1)]
        model = attempt(run.local_model, state, Users.joined(parts))
        forget()
        return model

    def save(self, path: str | os.PathLike[str], optimizer_state: bool = True, **options: Any) -> None:
        """Write the model with all users to one file, which :meth:`LightFM.load` reads; see :meth:`LightFM.save`."""
        self.to_local().save(path, optimizer_state, **options)

    def _fitted(self) -> tuple[Run, State]:
        if self._run is None:
            raise ValueError("the model is not fitted: call fit first")
        return self._run, self._state

    def _check_same(self, dataset: ShardedDataset | None, name: str) -> None:
        if dataset is None and name == "train":
            return
        if not isinstance(dataset, ShardedDataset):
            raise TypeError(f"{name} is {shorten(dataset)}, expected a ShardedDataset")
        run, _ = self._fitted()
        if dataset.shape[1] != len(run.plan().visits) or not np.array_equal(dataset.starts, self._starts):
            raise ValueError(
                f"{name} has shape {dataset.shape} in {len(dataset):,} shards, other than what the model was trained "
                "on: take both from split(), which numbers users alike"
            )

    # ------------------------------------------------------------------ parameters

    def _parameters(self) -> dict[str, Any]:
        """Return those of LightFM."""
        return {name: value for name, value in self.get_params().items() if name not in _OWN}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's arguments as given. ``deep`` is accepted for scikit-learn and has no effect."""
        return {name: getattr(self, name) for name in self._names}

    def set_params(self, **params: Any) -> DaskLightFM:
        """Set constructor arguments; ValueError if one is out of range or unknown. What was learned stays."""
        unknown = sorted(set(params).difference(self._names))
        if unknown:
            raise ValueError(
                f"{unknown[0]!r} is no parameter of {type(self).__name__}; it has {', '.join(self._names)}"
            )
        self._assign({**self.get_params(), **params})
        return self

    def __repr__(self) -> str:
        given = {**self._parameters(), "random_state": self.random_state}
        of_model = repr(LightFM(**given)).removeprefix("LightFM(")
        return f"{type(self).__name__}(syncs_per_epoch={self.syncs_per_epoch!r}, {of_model}"


class _Outline(Shards):
    """Shards of which an estimator that trains no epoch learns all but the users: here is one, with all features."""

    def __init__(self, shards: ShardedDataset) -> None:
        self.shape, self.starts, self.n_shared = (1, shards.shape[1]), np.array([0, 1]), shards.n_shared
        self.visits, self.positives, self.scratch = shards.visits, shards.positives, tempfile.gettempdir()

    def counts(self, number: int, positives: bool) -> NDArray[np.int64]:
        return np.ones(1, dtype=np.int64)

    def feature_arrays(self, number: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        columns = np.arange(1 + self.n_shared, dtype=np.int32)
        return np.array([0, len(columns)]), columns, np.ones(len(columns), np.float32)

    def has_positives(self) -> NDArray[np.bool_]:
        return np.ones(1, dtype=bool)


def _source(shards: ShardedDataset, copy: Storage, is_written: bool = False) -> Source:
    """Return the shards as tasks read them: the dataset's folder, or a copy in a storage that is no folder.

    With ``is_written`` the copy is there.
    """
    arrays = [[*facts["arrays"], *(manifest.FEATURES if shards.n_shared else ())] for facts in shards.facts]
    if copy.is_local:
        return Source(Storage(shards.path, {}), arrays)
    for shard, names in enumerate([] if is_written else arrays):
        for name in names:
            with open(shards.file(shard, f"{name}.npy"), "rb") as file:
                attempt(copy.write, f"{manifest.folder_of(shard)}/{name}.npy", file.read())
    return Source(copy, arrays)


def _document(plan: Plan, history: list[dict[str, Any]], alphas: Mapping[str, float]) -> dict[str, Any]:
    """Return what a saved model says of its training."""
    return {"history": history, "n_epochs": len(history), "is_settled": True, "seed": plan.seed, **alphas}
