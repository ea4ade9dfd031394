"""The files of one fit in the storage: what all its tasks need, and each version of the parameters."""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .. import persistence
from .._feature_rows import identity
from .._met import Met, unmet_users
from .._parameters import FIELDS, Floats, ParameterTable
from .._rounds import Delta, Plan, Table
from .._shards import counts_of
from ..lightfm import LightFM
from ..sharded import manifest
from .storage import Storage

__all__: list[str] = []

ITEMS_IN_RANGE = 1 << 14  # that one task merges, and one file holds
_SEED_OF_ORDER = 1


class Span(NamedTuple):
    """Where a file of deltas holds those of a range of items.

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

    def matrix(self, shard: int, n_items: int) -> sp.csr_matrix:
        arrays = self.read(shard)
        values = arrays.get("values", np.ones(len(arrays["indices"]), dtype=np.float32))
        return sp.csr_matrix(
            (values, arrays["indices"], arrays["indptr"]), shape=(len(arrays["indptr"]) - 1, n_items), copy=True
        )

    def _read(self, shard: int, name: str, first: int = 0, last: int | None = None) -> NDArray[Any]:
        return self.storage.read_array(f"{manifest.folder_of(shard)}/{name}.npy", first, last)


_TRAINED = ("indices", "values", "weights")


@dataclass(frozen=True)
class Run:
    """One fit.

    Attributes
    ----------
    storage : Storage
        Its folder.
    source : Source
    syncs : int
        How many rounds an epoch has.
    pieces : int
        How many tasks train a shard in a round, each one part of it.
    """

    storage: Storage
    source: Source
    syncs: int
    pieces: int

    @property
    def parts(self) -> int:
        """How many parts a shard has."""
        return self.syncs * self.pieces

    # ------------------------------------------------------------------ what does not change

    def write(self, plan: Plan, contents: persistence.Contents, features: sp.csr_matrix | None) -> None:
        """Write what tasks need of the run.

        ``contents`` are those of a model with its hyperparameters and scales. ``features`` are the items', as given.
        """
        parameters = {f"{side}_{field}" for side in ("user", "item") for field in FIELDS}
        tensors = {
            name: array
            for name, array in contents.tensors.items()
            if name not in parameters and not name.startswith("met.")
        }
        self.storage.write_json("document.json", contents.document)
        self._write_arrays("tensors.npz", tensors)
        self.storage.write_json("plan.json", {"parameters": dict(plan.parameters), "seed": plan.seed})
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
        facts, counts = self.storage.read_json("plan.json"), self._read_arrays("counts.npz")
        scaled = self._features("scaled")
        n_items = len(counts["visits"])
        return Plan(facts["parameters"], identity(n_items) if scaled is None else scaled, **counts, seed=facts["seed"])

    def item_features(self) -> sp.csr_matrix | None:
        """Return the features of the items as they were given."""
        features: sp.csr_matrix | None = _kept(self, "features", lambda: self._features("features"))
        return features

    def _features(self, name: str) -> sp.csr_matrix | None:
        try:
            content = self.storage.read(f"{name}.npz")
        except FileNotFoundError:
            return None
        return sp.csr_matrix(sp.load_npz(io.BytesIO(content)))

    # ------------------------------------------------------------------ the users' rows

    def cuts(self, shard: int) -> list[int]:
        """Return the first user of each part of a shard, and the number of users; parts have as many interactions."""
        indptr = self.source.indptr(shard)
        inner = np.searchsorted(indptr, np.linspace(0, indptr[-1], self.parts + 1)[1:-1])
        return [0, *np.minimum(inner, len(indptr) - 1).tolist(), len(indptr) - 1]

    def part_of(self, seed: int, task: int, epoch: int, sync: int) -> tuple[int, int]:
        """Return which part of which shard a task of a round trains: each part once an epoch, in random order."""
        shard, piece = divmod(task, self.pieces)
        order = np.random.RandomState([seed, _SEED_OF_ORDER, epoch, shard]).permutation(self.parts)
        return shard, int(order[sync * self.pieces + piece])

    def read_users(self, epoch: int, shard: int, part: int) -> Table:
        return self._read_table(f"{_users(epoch)}/{shard:05}-{part:06}.npy")

    def write_users(self, epoch: int, shard: int, part: int, users: Table) -> None:
        self._write_table(f"{_users(epoch)}/{shard:05}-{part:06}.npy", users)

    def delete_users(self, epoch: int) -> None:
        self.storage.delete(_users(epoch))

    # ------------------------------------------------------------------ the items, and what rounds change of them

    def n_ranges(self, n_rows: int) -> int:
        return -(-n_rows // ITEMS_IN_RANGE)

    def read_range(self, version: int, number: int) -> Table:
        return self._read_table(f"{_items(version)}/{number:05}.npy")

    def write_range(self, version: int, number: int, items: Table) -> None:
        self._write_table(f"{_items(version)}/{number:05}.npy", items)

    def items(self, version: int) -> Table:
        """Return a version of the items, which this process keeps until it works on another version."""

        def read() -> Table:
            n_ranges = self.n_ranges(self.plan().item_features.shape[1])
            ranges = [self.read_range(version, number) for number in range(n_ranges)]
            return Table(*(np.concatenate(arrays) for arrays in zip(*ranges, strict=True)))

        items: Table = _kept(self, f"items {version}", read)
        return items

    def write_items(self, version: int, items: Table) -> None:
        for number in range(self.n_ranges(len(items.rows))):
            part = slice(number * ITEMS_IN_RANGE, (number + 1) * ITEMS_IN_RANGE)
            self.write_range(version, number, Table(items.rows[part], items.biases[part]))

    def delete_items(self, version: int) -> None:
        self.storage.delete(_items(version))
        self.storage.delete(_deltas(version))

    def delete_all_but(self, state: State) -> None:
        """Delete parameters of other states, which a killed process has left."""
        for name in self.storage.names():
            if name.startswith(_KINDS) and name not in (_users(state.epoch), _items(state.version)):
                self.storage.delete(name)

    def write_delta(self, version: int, task: int, delta: Delta, n_rows: int) -> list[Span]:
        """Write what a round has changed of a version, and return where each range of items is."""
        edges = np.searchsorted(delta.indices, np.arange(self.n_ranges(n_rows) + 1) * ITEMS_IN_RANGE)
        spans, parts, size = [], [], 0
        for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            spans.append(Span(size, last - first))
            parts += [np.ascontiguousarray(array[first:last]) for array in delta]
            size += sum(array.nbytes for array in parts[-3:])
        self.storage.write(f"{_deltas(version)}/{task:06}.bin", *parts)
        return spans

    def read_delta(self, version: int, task: int, number: int, span: Span, like: Table) -> Delta:
        """Read what a round has changed of a range of items. Indices count from the range's first row."""
        first, n = span
        widths = [array.shape[1] for array in like]
        content = self.storage.read(f"{_deltas(version)}/{task:06}.bin", first, 4 * n * (1 + sum(widths)))
        indices = np.frombuffer(content, np.int32, n) - np.int32(number * ITEMS_IN_RANGE)
        floats = np.frombuffer(content, np.float32, offset=4 * n)
        cut = n * widths[0]
        return Delta(indices, floats[:cut].reshape(n, -1), floats[cut:].reshape(n, -1)) if n else _no_delta(widths)

    # ------------------------------------------------------------------ files

    def _write_arrays(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **arrays)
        self.storage.write(name, content.getbuffer())

    def _read_arrays(self, name: str) -> dict[str, NDArray[Any]]:
        with np.load(io.BytesIO(self.storage.read(name)), allow_pickle=False) as arrays:
            return dict(arrays)

    def _write_table(self, name: str, table: Table) -> None:
        self.storage.write_array(name, np.concatenate(table, axis=1))

    def _read_table(self, name: str) -> Table:
        array, n_biases = self.storage.read_array(name), self._n_biases()
        return Table(*(np.ascontiguousarray(part) for part in (array[:, :-n_biases], array[:, -n_biases:])))

    def _n_biases(self) -> int:
        return 4 if self.plan().parameters["learning_schedule"] == "adadelta" else 2

    # ------------------------------------------------------------------ models

    def local_model(self, state: State, users: Table, has_positives: NDArray[np.bool_]) -> LightFM:
        """Make a model of some users and all items."""
        plan = self.plan()
        tables = {"user": plan.copied(users), "item": plan.copied(self.items(state.version))}
        met = Met(has_positives, plan.positives, state.placed, state.low)
        if state.placed is not None:
            embeddings = tables["user"].view("embeddings")
            embeddings[unmet_users(embeddings, met)] = state.placed
        tensors = {**_kept(self, "tensors", lambda: self._read_arrays("tensors.npz")), **persistence.pack_met(met)}
        for side, table in tables.items():
            tensors[f"{side}_embeddings"] = np.ascontiguousarray(table.rows[:, : table.width])
            fields = [field for field in FIELDS if field != "embeddings" and table.stores(field)]
            tensors.update({f"{side}_{field}": np.ascontiguousarray(table.view(field)) for field in fields})
        document = {**_kept(self, "document", lambda: self.storage.read_json("document.json")), **state.document}
        return LightFM.from_contents(self.storage.url, persistence.Contents(document, tensors))

    def users_of_shard(self, state: State, shard: int) -> tuple[Table, NDArray[np.bool_]]:
        """Return the rows of a shard's users, and whether each has a positive."""
        parts = [self.read_users(state.epoch, shard, part) for part in range(self.parts)]
        users = Table(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
        return users, counts_of(self.source.read(shard), positives=True) > 0


class State(NamedTuple):
    """What a run has learned, by the names of its files.

    Attributes
    ----------
    epoch, version : int
        Of the users' and of the items' files.
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


def nobody(plan: Plan) -> Table:
    """Return the rows of one user who likes nothing."""
    table = ParameterTable(1, plan.parameters["no_components"], plan.parameters["learning_schedule"])
    return Table(table.rows, table.biases)


_KINDS = ("users-", "items-", "deltas-")


def _users(epoch: int) -> str:
    return f"users-{epoch:05}"


def _items(version: int) -> str:
    return f"items-{version:07}"


def _deltas(version: int) -> str:
    return f"deltas-{version:07}"


def _no_delta(widths: Sequence[int]) -> Delta:
    rows, biases = (np.empty((0, width), dtype=np.float32) for width in widths)
    return Delta(np.empty(0, dtype=np.int32), rows, biases)


# ---------------------------------------------------------------------- what a process keeps for its next task

_LOCK = threading.RLock()  # reading the items reads the plan
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
    with _LOCK:
        _KEPT.clear()
