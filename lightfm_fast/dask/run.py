"""The files of one fit in the storage: what all its tasks need, and each version of the parameters."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .. import persistence
from .._autoencoder import Autoencoder, Places
from .._averaging import move
from .._beside import Beside
from .._feature_rows import identity
from .._feature_scaling import FeatureScaling
from .._met import Met, unmet_users
from .._parameters import FIELDS, Floats, ParameterTable
from .._rounds import Delta, Plan, Table, stacked
from .._shards import counts_of, features_of
from .._training_input import SideInput
from ..lightfm import LightFM
from ..sharded import manifest
from .storage import Storage

__all__: list[str] = []

ROWS_IN_RANGE = 1 << 14  # of the shared table, that one task merges, and one file holds
# Tasks of a round do not see one another's steps, and early steps are long. So a round has at most this share of the
# number of tasks so far, but at least a few; kernels/epoch.hpp has such a rule for threads (benchmarks/NOTES.md).
_SHARE, _LEAST = 0.25, 4
_SEED_OF_ORDER = 1


class Span(NamedTuple):
    """Where a file of deltas holds those of a range of rows.

    Attributes
    ----------
    first : int
        The first byte.
    n_rows : int
    """

    first: int
    n_rows: int


@dataclass(frozen=True)
class Source:
    """Shards as tasks read them.

    Attributes
    ----------
    storage : Storage
        With a folder for each shard.
    arrays : list of list of str
        The names of each shard's arrays.
    """

    storage: Storage
    arrays: Sequence[Sequence[str]]

    def read(self, shard: int, first: int = 0, last: int | None = None) -> dict[str, NDArray[Any]]:
        """Read the interactions of users ``first`` to ``last`` - 1 of a shard, by default all."""
        indptr = self.indptr(shard)[first : None if last is None else last + 1]
        start, end = indptr[[0, -1]].tolist()
        arrays = {name: self._read(shard, name, start, end) for name in self.arrays[shard] if name in _TRAINED}
        return {"indptr": indptr - start, **arrays}

    def indptr(self, shard: int) -> NDArray[np.int64]:
        return self._read(shard, "indptr")

    def features(self, shard: int, n_shared: int, first: int = 0, last: int | None = None) -> sp.csr_matrix:
        """Read the features of users ``first`` to ``last`` - 1 of a shard; see :func:`features_of`."""
        indptr = self._read(shard, _ENDS)[first : None if last is None else last + 1]
        start, end = indptr[[0, -1]].tolist()
        columns, weights = (self._read(shard, name, start, end) for name in _OF_FEATURES)
        return features_of(indptr - start, columns, weights, n_shared)

    def matrix(self, shard: int, n_items: int) -> sp.csr_matrix:
        arrays = self.read(shard)
        values = arrays.get("values", np.ones(len(arrays["indices"]), dtype=np.float32))
        return sp.csr_matrix(
            (values, arrays["indices"], arrays["indptr"]), shape=(len(arrays["indptr"]) - 1, n_items), copy=True
        )

    def _read(self, shard: int, name: str, first: int = 0, last: int | None = None) -> NDArray[Any]:
        return self.storage.read_array(f"{manifest.folder_of(shard)}/{name}.npy", first, last)


_TRAINED = ("indices", "values", "weights")
_ENDS, *_OF_FEATURES = manifest.FEATURES


class Linear(NamedTuple):
    """What some users have of the linear autoencoder.

    Attributes
    ----------
    users : float32 array of shape (n_users, n_coordinates)
    counts : int64 array of shape (n_users,)
        How many items their coordinates are of; 0 for users without coordinates.
    weights : float32 array of shape (n_users,)
        Of their own features.
    """

    users: Floats
    counts: NDArray[np.int64]
    weights: Floats


class Users(NamedTuple):
    """Some users.

    Attributes
    ----------
    rows : Table
    have_positives : bool array of shape (n_users,)
    scales : float32 array of shape (2, n_users)
        Of their own features, as :meth:`FeatureScaling.packed` has them.
    linear : Linear
    """

    rows: Table
    have_positives: NDArray[np.bool_]
    scales: Floats
    linear: Linear

    @classmethod
    def joined(cls, parts: Sequence[Users]) -> Users:
        return cls(
            stacked([part.rows for part in parts]),
            np.concatenate([part.have_positives for part in parts]),
            np.concatenate([part.scales for part in parts], axis=1),
            Linear(*(np.concatenate(arrays) for arrays in zip(*(part.linear for part in parts), strict=True))),
        )


@dataclass(frozen=True)
class Run:
    """One fit.

    Attributes
    ----------
    storage : Storage
        Its folder.
    source : Source
    syncs : int
        How many rounds an epoch has, once rounds have their full size.
    pieces : int
        How many tasks train a shard in a full round, each one part of it.
    """

    storage: Storage
    source: Source
    syncs: int
    pieces: int

    @property
    def parts(self) -> int:
        """How many parts a shard has."""
        return self.syncs * self.pieces

    @property
    def n_tasks(self) -> int:
        """How many tasks a full round has."""
        return len(self.source.arrays) * self.pieces

    def rounds(self, epoch: int) -> Iterator[range]:
        """Yield the tasks of each round of an epoch, by number: few at first, then ``n_tasks``."""
        task, n_tasks = 0, self.syncs * self.n_tasks
        while task < n_tasks:
            most = max(_LEAST, int(_SHARE * (epoch * n_tasks + task)))
            first, task = task, min(task + min(most, self.n_tasks), n_tasks)
            yield range(first, task)

    # ------------------------------------------------------------------ what does not change

    def write(
        self, plan: Plan, contents: persistence.Contents, features: sp.csr_matrix | None, has_beside: bool
    ) -> None:
        """Write what tasks need of the run.

        ``contents`` are those of a model with its hyperparameters and scales. ``features`` are the items', as given.
        ``has_beside`` says whether :meth:`write_beside` follows.
        """
        parameters = {f"{side}_{field}" for side in ("user", "item") for field in FIELDS}
        tensors = {
            name: array
            for name, array in contents.tensors.items()
            if name not in parameters and not name.startswith("met.")
        }
        self.storage.write_json("document.json", contents.document)
        self._write_arrays("tensors.npz", tensors)
        facts = {name: getattr(plan, name) for name in ("seed", "n_shared", "features_a_user")}
        facts |= {"parameters": dict(plan.parameters), "has_features": features is not None, "has_beside": has_beside}
        self.storage.write_json("plan.json", facts)
        self._write_arrays("counts.npz", {"visits": plan.visits, "positives": plan.positives})
        if features is not None:
            for name, matrix in (("features", features), ("scaled", plan.item_features)):
                content = io.BytesIO()
                sp.save_npz(content, matrix)
                self.storage.write(f"{name}.npz", content.getbuffer())

    def plan(self) -> Plan:
        """Return the plan, which this process keeps until it works on another run."""
        return _kept(self, "plan", self._read_plan)

    def _read_plan(self) -> Plan:
        facts, counts = self._facts(), self._read_arrays("counts.npz")
        scaled = self._features("scaled")
        n_items = len(counts["visits"])
        return Plan(
            facts["parameters"],
            identity(n_items) if scaled is None else scaled,
            counts["visits"],
            counts["positives"],
            facts["seed"],
            facts["n_shared"],
            facts["features_a_user"],
        )

    def _facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = _kept(self, "facts", lambda: self.storage.read_json("plan.json"))
        return facts

    def item_features(self) -> sp.csr_matrix | None:
        """Return the features of the items as they were given."""
        features: sp.csr_matrix | None = _kept(self, "features", lambda: self._features("features"))
        return features

    def _features(self, name: str) -> sp.csr_matrix | None:
        if not self._facts()["has_features"]:
            return None
        return sp.csr_matrix(sp.load_npz(io.BytesIO(self.storage.read(f"{name}.npz"))))

    # ------------------------------------------------------------------ the users' features

    def write_scales(self, scaling: FeatureScaling, starts: NDArray[np.int64]) -> None:
        """Write the scales of each shard's users' own features, and of the features that users share."""
        packed = scaling.packed()
        for shard, (first, last) in enumerate(pairwise([*starts.tolist(), packed.shape[1]])):
            self.storage.write_array(_scales(shard), packed[:, first:last])

    def user_side(self, shard: int, first: int = 0, last: int | None = None) -> SideInput | None:
        """Return the features of users ``first`` to ``last`` - 1 of a shard and their scales; None if users have none.

        The columns are these users', and then the features that users share.
        """
        plan = self.plan()
        if not plan.n_shared:
            return None
        features = self.source.features(shard, plan.n_shared, first, last)
        if plan.parameters["feature_scaling"] is None:
            return SideInput(features)
        return SideInput(features, self._scaling(self._own_scales(shard)[:, first:last]))

    def user_features(self, shard: int) -> sp.csr_matrix | None:
        """Return the features of a shard's users, as a model of these users takes them."""
        plan = self.plan()
        return self.source.features(shard, plan.n_shared) if plan.n_shared else None

    def _own_scales(self, shard: int) -> Floats:
        return self.storage.read_array(_scales(shard))

    def _scaling(self, own: Floats) -> FeatureScaling:
        """Return the scales of users' own features and of the shared ones."""
        n_shards = len(self.source.arrays)
        shared: Floats = _kept(self, "scales", lambda: self.storage.read_array(_scales(n_shards)))
        typical = self._document()["typical_lengths"]["user"]
        packed = np.concatenate([own, shared], axis=1)
        return FeatureScaling.restored(packed, typical, packed.shape[1])

    # ------------------------------------------------------------------ the linear autoencoder

    def write_beside(self, beside: Beside, starts: NDArray[np.int64]) -> None:
        """Write the autoencoder that will stand beside the factors, with each shard's users apart."""
        found, n_users = beside.autoencoder, int(starts[-1])
        numbers = found.user_places.numbers[:n_users]
        for shard, (first, last) in enumerate(pairwise(starts.tolist())):
            own = numbers[first:last]
            has, own = own >= 0, own[own >= 0]
            linear = _no_linear(len(has), found.n_coordinates)
            linear.users[has], linear.counts[has] = found.users[own], found.counts[own]
            linear.weights[has] = found.user_places.weights[own]
            self._write_arrays(_linear(shard), linear._asdict())
        facts, arrays = found.to_arrays()
        kept: dict[str, NDArray[Any]] = {name: arrays[name] for name in _OF_ITEMS}
        kept |= {"rows": beside.users, "indptr": beside.positives.indptr, "indices": beside.positives.indices}
        kept |= {"is_met": beside.is_met, "explained": np.array(facts["explained"])}
        self._write_arrays(_BESIDE, kept)

    def beside(self) -> Beside | None:
        """Return the autoencoder that was written, without users; None if none was."""
        if not self._facts()["has_beside"]:
            return None
        arrays = _kept(self, "beside", lambda: self._read_arrays(_BESIDE))
        n_items = len(arrays["is_met"])
        ones = np.ones(len(arrays["indices"]), np.float32)
        positives = sp.csr_matrix((ones, arrays["indices"], arrays["indptr"]), (len(arrays["rows"]), n_items))
        numbers = {"explained": float(arrays["explained"]), "weight": 1.0}
        found = _autoencoder(numbers, arrays, _no_linear(0, arrays["items"].shape[1]), 0)
        return Beside(found, arrays["rows"], positives, arrays["is_met"])

    def _read_linear(self, state: State, shard: int, n_users: int) -> Linear:
        if state.document.get("autoencoder") is None:
            return _no_linear(n_users)
        return Linear(**self._read_arrays(_linear(shard)))

    # ------------------------------------------------------------------ the users' rows

    def cuts(self, shard: int) -> list[int]:
        """Return the first user of each part of a shard, and the number of users; parts have as many interactions."""
        indptr = self.source.indptr(shard)
        inner = np.searchsorted(indptr, np.linspace(0, indptr[-1], self.parts + 1)[1:-1])
        return [0, *np.minimum(inner, len(indptr) - 1).tolist(), len(indptr) - 1]

    def part_of(self, seed: int, task: int, epoch: int) -> tuple[int, int]:
        """Return which part of which shard a task trains: shards in turn, each part once an epoch in random order."""
        turn, place = divmod(task, self.n_tasks)
        shard, piece = divmod(place, self.pieces)
        order = np.random.RandomState([seed, _SEED_OF_ORDER, epoch, shard]).permutation(self.parts)
        return shard, int(order[turn * self.pieces + piece])

    def read_users(self, epoch: int, shard: int, part: int) -> Table:
        return self._read_table(_part(epoch, shard, part))

    def write_users(self, epoch: int, shard: int, part: int, users: Table) -> None:
        """Write the users' rows after an epoch, and their means."""
        self._write_table(_part(epoch, shard, part), users)
        self._write_means(_part(epoch, shard, part), users, _part(epoch - 1, shard, part), epoch)

    def delete_users(self, epoch: int) -> None:
        self.storage.delete(_users(epoch))

    # ------------------------------------------------------------------ shared rows, and what rounds change of them

    def edges(self) -> list[int]:
        """Return the first row of each range of the shared table, and the number of rows. A range is of one side."""
        n_items, n_users = self.plan().n_rows
        of_items, of_users = range(0, n_items, ROWS_IN_RANGE), range(n_items, n_items + n_users, ROWS_IN_RANGE)
        return [*of_items, *of_users, n_items + n_users]

    def n_ranges(self) -> int:
        return len(self.edges()) - 1

    def features_a_row(self, number: int) -> float:
        """Return how many features a row of the side that a range is of has in the mean."""
        plan = self.plan()
        of_items: float = plan.item_features.nnz / plan.item_features.shape[0]
        return of_items if self.edges()[number] < plan.n_rows[0] else plan.features_a_user

    def read_range(self, version: int, number: int) -> Table:
        return self._read_table(_range(version, number))

    def write_range(self, version: int, number: int, rows: Table) -> None:
        self._write_table(_range(version, number), rows)

    def write_means(self, version: int, number: int, rows: Table, last: int = 0, epoch: int = 0) -> None:
        """Write the means of a range after an epoch, which had begun with version ``last``."""
        self._write_means(_range(version, number), rows, _range(last, number), epoch)

    def shared(self, version: int) -> Table:
        """Return a version of the shared table, which this process keeps until it works on another version."""
        return self._joined_ranges("shared", version, self._read_table)

    def learned(self, version: int) -> Table:
        """Return what a model has of a version after an epoch: the shared table, with means if the run averages."""
        if not self.plan().parameters["average"]:
            return self.shared(version)
        return self._joined_ranges("learned", version, self._read_learned)

    def _joined_ranges(self, kind: str, version: int, read: Callable[[str], Table]) -> Table:
        def join() -> Table:
            return stacked([read(_range(version, number)) for number in range(self.n_ranges())])

        table: Table = _kept(self, f"{kind} {version}", join)
        return table

    def write_shared(self, version: int, shared: Table) -> None:
        """Write a version of the shared table, with means that are the same."""
        for number, (first, last) in enumerate(pairwise(self.edges())):
            rows = Table(shared.rows[first:last], shared.biases[first:last])
            self.write_range(version, number, rows)
            self.write_means(version, number, rows)

    def delete_shared(self, version: int) -> None:
        self.storage.delete(_shared(version))
        self.storage.delete(_deltas(version))

    def delete_all_but(self, state: State) -> None:
        """Delete parameters of other states, which a killed process has left."""
        for name in self.storage.names():
            if name.startswith(_KINDS) and name not in (_users(state.epoch), _shared(state.version)):
                self.storage.delete(name)

    def write_delta(self, version: int, task: int, delta: Delta) -> list[Span]:
        """Write what a round has changed of a version, and return where each range is."""
        edges = np.searchsorted(delta.indices, self.edges())
        spans, parts, size = [], [], 0
        for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            spans.append(Span(size, last - first))
            parts += [np.ascontiguousarray(array[first:last]) for array in delta]
            size += sum(array.nbytes for array in parts[-3:])
        self.storage.write(f"{_deltas(version)}/{task:06}.bin", *parts)
        return spans

    def read_delta(self, version: int, task: int, number: int, span: Span, like: Table) -> Delta:
        """Read what a round has changed of a range. Indices count from the range's first row."""
        first, n = span
        widths = [array.shape[1] for array in like]
        content = self.storage.read(f"{_deltas(version)}/{task:06}.bin", first, 4 * n * (1 + sum(widths)))
        indices = np.frombuffer(content, np.int32, n) - np.int32(self.edges()[number])
        floats = np.frombuffer(content, np.float32, offset=4 * n)
        cut = n * widths[0]
        return Delta(indices, floats[:cut].reshape(n, -1), floats[cut:].reshape(n, -1)) if n else _no_delta(widths)

    # ------------------------------------------------------------------ files

    def _write_arrays(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **arrays)
        self.storage.write(name, content.getbuffer())

    def _read_arrays(self, name: str) -> dict[str, NDArray[Any]]:
        content = self.storage.read(name)
        with _LOCK, np.load(io.BytesIO(content), allow_pickle=False) as arrays:  # see header_of
            return dict(arrays)

    def _write_table(self, name: str, table: Table) -> None:
        self.storage.write_array(name, np.concatenate(table, axis=1))

    def _read_table(self, name: str) -> Table:
        array, n_biases = self.storage.read_array(name), self._n_biases()
        return Table(*(np.ascontiguousarray(part) for part in (array[:, :-n_biases], array[:, -n_biases:])))

    def _write_means(self, name: str, table: Table, before: str, epoch: int) -> None:
        """Write the means over epochs of a file's parameters, if the run averages; ``before`` is a file with means."""
        plan = self.plan()
        if not plan.parameters["average"]:
            return
        now = np.concatenate([table.rows[:, : plan.width], table.biases[:, :1]], axis=1)
        means = now
        if epoch > 1:  # the mean of one epoch is exact
            means = self.storage.read_array(_means(before)).copy()
            move(means, now, epoch)
        self.storage.write_array(_means(name), means)

    def _read_learned(self, name: str) -> Table:
        """Read a table, with the means over epochs in the place of its parameters if the run averages."""
        table, plan = self._read_table(name), self.plan()
        if not plan.parameters["average"]:
            return table
        means, width = self.storage.read_array(_means(name)), plan.width
        return Table(
            np.concatenate([means[:, :width], table.rows[:, width:]], axis=1),
            np.concatenate([means[:, width:], table.biases[:, 1:]], axis=1),
        )

    def _n_biases(self) -> int:
        return 4 if self.plan().parameters["learning_schedule"] == "adadelta" else 2

    # ------------------------------------------------------------------ models

    def local_model(self, state: State, users: Users) -> LightFM:
        """Make a model of some users and all items."""
        plan = self.plan()
        items, of_users = plan.parts(self.learned(state.version))
        tables = {"user": plan.copied(stacked([users.rows, of_users])), "item": plan.copied(items)}
        met = Met(users.have_positives, plan.positives, state.placed, state.low)
        if state.placed is not None:
            embeddings = tables["user"].view("embeddings")
            embeddings[unmet_users(embeddings, met)] = state.placed
        tensors = {**_kept(self, "tensors", lambda: self._read_arrays("tensors.npz")), **persistence.pack_met(met)}
        for side, table in tables.items():
            tensors[f"{side}_embeddings"] = np.ascontiguousarray(table.rows[:, : table.width])
            fields = [field for field in FIELDS if field != "embeddings" and table.stores(field)]
            tensors.update({f"{side}_{field}": np.ascontiguousarray(table.view(field)) for field in fields})
        if "user_feature_scales" in tensors:
            tensors["user_feature_scales"] = self._scaling(users.scales).packed()
        if (numbers := state.document.get("autoencoder")) is not None:
            of_items = _kept(self, "beside", lambda: self._read_arrays(_BESIDE))
            found = _autoencoder(numbers, of_items, users.linear, len(users.rows.rows) + plan.n_shared)
            tensors.update({f"autoencoder_{name}": array for name, array in found.to_arrays()[1].items()})
        document = {**self._document(), **state.document}
        return LightFM.from_contents(self.storage.url, persistence.Contents(document, tensors))

    def _document(self) -> dict[str, Any]:
        document: dict[str, Any] = _kept(self, "document", lambda: self.storage.read_json("document.json"))
        return document

    def users_of_shard(self, state: State, shard: int) -> Users:
        rows = stacked([self._read_learned(_part(state.epoch, shard, part)) for part in range(self.parts)])
        plan, n_users = self.plan(), len(rows.rows)
        has_scales = plan.n_shared and plan.parameters["feature_scaling"] is not None
        scales = self._own_scales(shard) if has_scales else np.ones((2, n_users), np.float32)
        has_positives = counts_of(self.source.read(shard), positives=True) > 0
        return Users(rows, has_positives, scales, self._read_linear(state, shard, n_users))


class State(NamedTuple):
    """What a run has learned, by the names of its files.

    Attributes
    ----------
    epoch, version : int
        Of the users' files and of the shared table's.
    document : dict
        What replaces the same facts in the document of a saved model: history, seed and alphas.
    placed, low : optional
        As in :class:`lightfm_fast._met.Met`.
    """

    epoch: int
    version: int
    document: dict[str, Any]
    placed: Floats | None = None
    low: float | None = None


def nobody(plan: Plan) -> Users:
    """Return one user who likes nothing."""
    table = ParameterTable(1, plan.parameters["no_components"], plan.parameters["learning_schedule"])
    scales = np.array([[1], [0]], np.float32)
    return Users(Table(table.rows, table.biases), np.zeros(1, dtype=bool), scales, _no_linear(1))


def _no_linear(n_users: int, n_coordinates: int = 0) -> Linear:
    """Return what users without coordinates have of the autoencoder."""
    arrays = np.zeros((n_users, n_coordinates), np.float32), np.zeros(n_users, np.int64), np.ones(n_users, np.float32)
    return Linear(*arrays)


_BESIDE, _OF_ITEMS = "beside.npz", ("items", "codes", "item_numbers", "item_weights")


def _autoencoder(
    numbers: Mapping[str, float], of_items: Mapping[str, NDArray[Any]], users: Linear, n_features: int
) -> Autoencoder:
    """Make the autoencoder of some users and all items, for ``n_features`` features of users, theirs first."""
    known = np.flatnonzero(users.counts)
    places = np.full(n_features, -1)
    places[known] = np.arange(len(known))
    return Autoencoder(
        Places(places, users.weights[known]),
        Places(of_items["item_numbers"], of_items["item_weights"]),
        users.users[known].reshape(len(known), of_items["items"].shape[1]),
        users.counts[known],
        of_items["items"],
        of_items["codes"],
        numbers["explained"],
        numbers["weight"],
    )


_KINDS = ("users-", "shared-", "deltas-")


def _users(epoch: int) -> str:
    return f"users-{epoch:05}"


def _shared(version: int) -> str:
    return f"shared-{version:07}"


def _part(epoch: int, shard: int, part: int) -> str:
    return f"{_users(epoch)}/{shard:05}-{part:06}.npy"


def _range(version: int, number: int) -> str:
    return f"{_shared(version)}/{number:05}.npy"


def _means(name: str) -> str:
    """Return the name of a file of means, beside that of the parameters, which lives as long."""
    return name.replace(".npy", ".means.npy")


def _scales(number: int) -> str:
    return f"scales/{number:05}.npy"


def _linear(shard: int) -> str:
    return f"linear/{shard:05}.npz"


def _deltas(version: int) -> str:
    return f"deltas-{version:07}"


def _no_delta(widths: Sequence[int]) -> Delta:
    rows, biases = (np.empty((0, width), dtype=np.float32) for width in widths)
    return Delta(np.empty(0, dtype=np.int32), rows, biases)


# ---------------------------------------------------------------------- what a process keeps for its next task

_LOCK = threading.RLock()  # reading the shared table reads the plan
_KEPT: dict[str, tuple[str, Any]] = {}  # by kind: of the last run and version only


def _kept(run: Run, name: str, read: Any) -> Any:
    """Return a value that this process has read, or read it. A kind of values keeps its last one."""
    kind, key = name.split()[0], f"{run.storage.url} {name}"
    with _LOCK:
        if kind not in _KEPT or _KEPT[kind][0] != key:
            _KEPT.pop(kind, None)
            _KEPT[kind] = key, read()
        return _KEPT[kind][1]


def forget() -> None:
    """Forget what this process keeps of a run."""
    with _LOCK:
        _KEPT.clear()
