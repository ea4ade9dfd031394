"""Write interactions of any number to shards, in bounded memory.

Rows are spread over files by a hash of their user, so that all rows of a user meet in one file. Neighbouring files
together make a shard, as large as the memory allows.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import zlib
from collections.abc import Hashable, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .. import persistence
from .._arguments import check_choice, check_count, check_finite_number, import_optional, shorten
from .._files import sole_writer
from ..callbacks import tell
from ..data import Dataset
from ..data.interactions import DUPLICATES, Details, merge_duplicates
from . import manifest
from .tables import ROWS_AT_ONCE
from .users import Users, UsersOfDataset

__all__: list[str] = []

Features = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]  # see Shards.feature_arrays

N_BUCKETS = 256  # files that rows are spread over, and the most shards
BYTES_OF_A_ROW = 120  # of memory that a row takes while its shard is made, with an id of some 20 characters
ROWS_OF_A_USER = 2  # of interactions, which take as much memory as a user's features

_PREFIX = ".lightfm_fast-shards-"
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


class Columns:
    """The names of the columns to read, checked."""

    def __init__(self, user: Any, item: Any, value: Any, weight: Any, time: Any, positive_from: Any) -> None:
        self.named = {"user": user, "item": item, "value": value, "weight": weight, "time": time}
        self.named = {role: name for role, name in self.named.items() if name is not None}
        wrong = next((name for name in self.named.values() if not isinstance(name, str)), None)
        if wrong is not None:
            raise TypeError(f"{shorten(wrong)} is to be the name of a column, expected text")
        if len(set(self.named.values())) < len(self.named):
            raise ValueError(f"the columns {list(self.named.values())} are not different: name each once")
        if positive_from is not None and value is None:
            raise ValueError(
                "positive_from is the smallest value that is a positive: name the column of values by value="
            )
        self.positive_from = None if positive_from is None else check_finite_number(positive_from, "positive_from")


def to_bytes(memory: Any) -> int:
    """Return a number of bytes given as a whole number or as text such as "500MB"; ValueError for anything else."""
    if isinstance(memory, str):
        parts = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", memory)
        if parts is not None and parts[2].upper() in _UNITS:
            memory = int(float(parts[1]) * _UNITS[parts[2].upper()])
    if isinstance(memory, bool) or not isinstance(memory, int) or memory < 10**6:
        raise ValueError(f"memory is {memory!r}, expected at least 1 MB, as '500MB', '2GB' or a number of bytes")
    return memory


def write(
    tables: Iterable[Any],
    path: str | os.PathLike[str],
    columns: Columns,
    users: Users | UsersOfDataset | None,
    items: Items,
    duplicates: str,
    n_shards: Any,
    memory: Any,
    verbose: bool,
) -> None:
    """Write tables of interactions, Arrow tables or record batches, to a new folder.

    Raises
    ------
    TypeError, ValueError, OSError
        As :meth:`ShardedDataset.from_parquet`; the folder is then not there.
    """
    check_choice(duplicates, "duplicates", DUPLICATES)
    most_rows = to_bytes(memory) // BYTES_OF_A_ROW
    if n_shards != "auto":
        check_count(n_shards, "n_shards", N_BUCKETS)
    with new_folder(path) as folder:
        spread = os.path.join(folder, "spread")
        os.mkdir(spread)
        with _Buckets(spread, columns, items) as buckets:
            for table in tables:
                buckets.add(table)
                if verbose:
                    tell(f"{buckets.counts.sum():,} rows read")
            if not buckets.counts.sum():
                raise ValueError("there are no interactions: the tables have no rows")
            for block, features in users.blocks() if users is not None else ():
                buckets.add_users(block, features)
        groups = _groups(buckets.counts + ROWS_OF_A_USER * buckets.user_counts, n_shards, most_rows)
        dataset = items.dataset()
        shards = ShardsWriter(folder, len(items))
        for number, group in enumerate(groups):
            _write_shard(buckets, group, shards, duplicates)
            if verbose:
                tell(f"{number + 1:,} of {len(groups):,} shards written")
        shutil.rmtree(spread)
        if users is not None:
            dataset = dataset.with_users(users.side)
        persistence.write(os.path.join(folder, manifest.ITEMS), {}, {}, dataset)
        n_shared = 0 if users is None else users.n_features
        shards.seal({"n_items": len(items), "n_user_features": n_shared, "columns": columns.named})


@contextlib.contextmanager
def new_folder(path: str | os.PathLike[str]) -> Iterator[str]:
    """Yield a folder beside ``path``, and move it there after the block; after an error nothing is left.

    A folder that a killed process left is removed by the next call for the same path.
    """
    target = os.path.realpath(os.fsdecode(path))  # a link to an empty folder stays, and the folder is replaced
    if os.path.exists(target) and (not os.path.isdir(target) or os.listdir(target)):
        raise ValueError(f"{os.fsdecode(path)} exists and is no empty folder: name a new one")
    parent, name = os.path.split(target)
    temporary = os.path.join(parent, f"{_PREFIX}{name}")
    with sole_writer(temporary, os.fsdecode(path)):
        try:
            yield temporary
            if os.path.isdir(target):
                os.rmdir(target)
            os.replace(temporary, target)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


class ShardsWriter:
    """Writes shards to a folder, and counts their items."""

    def __init__(self, folder: str, n_items: int) -> None:
        self._folder, self.n_items = folder, n_items
        self._facts: list[dict[str, Any]] = []
        self._counts = np.zeros((2, n_items), dtype=np.int64)

    def add(self, arrays: dict[str, NDArray[Any]], features: Features | None) -> str:
        """Write the arrays of the next shard, and return its folder. All arrays but ``indptr`` have a cell an entry."""
        folder = os.path.join(self._folder, manifest.folder_of(len(self._facts)))
        os.mkdir(folder)
        of_users: dict[str, NDArray[Any]] = {}
        if features is not None:
            of_users.update(zip(manifest.FEATURES, features, strict=True))
        for name, array in (arrays | of_users).items():
            manifest.write_array(os.path.join(folder, f"{name}.npy"), array)
        items = arrays["indices"]
        is_positive = arrays["values"] > 0 if "values" in arrays else slice(None)
        for counts, chosen in zip(self._counts, (items, items[is_positive]), strict=True):
            counts += np.bincount(chosen, minlength=self.n_items)
        self._facts.append(
            {"n_users": len(arrays["indptr"]) - 1, "n_interactions": len(items), "arrays": sorted(arrays)}
        )
        return folder

    def seal(self, facts: Mapping[str, Any]) -> None:
        """Write the counts of items and the manifest."""
        for name, counts in zip(("visits", "positives"), self._counts, strict=True):
            manifest.write_array(os.path.join(self._folder, f"{name}.npy"), counts)
        manifest.seal(self._folder, {**facts, "shards": self._facts})


class Items:
    """Numbers the items as a dataset does, in the order of a table, or else in the order of first occurrence."""

    def __init__(self, columns: Columns, items: Any, item_features: Any, dataset: Dataset | None = None) -> None:
        self._columns, self._table, self._features = columns.named, items, item_features
        if items is None and item_features is not None:
            raise ValueError("item_features needs items, the table that has these columns")
        self._known: dict[Hashable, int] = {} if dataset is None else dataset.mapping()[2]
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._known)

    def number(self, users: Any, items: Any) -> NDArray[np.int32]:
        """Return the number of each item; ``users`` are the ids in the same rows."""
        if self._table is not None and self._dataset is None:
            # A dataset of the items alone needs one interaction: this one, which is dropped again.
            first = {self._columns["user"]: [users[0].as_py()], self._columns["item"]: [items[0].as_py()]}
            names = {"user": self._columns["user"], "item": self._columns["item"]}
            dataset = Dataset.from_tables(first, items=self._table, item_features=self._features, **names)
            dataset.interactions = dataset.weights = None
            self._dataset, self._known = dataset, dataset.mapping()[2]
        encoded = items.dictionary_encode()
        ids = encoded.dictionary.to_pylist()
        if self._dataset is not None:
            unknown = [name for name in ids if name not in self._known]
            if unknown:
                raise ValueError(
                    f"interactions name {len(unknown):,} items that the table of items does not list, "
                    f"{shorten(unknown[0])} first: list them, or leave those rows out"
                )
        places = np.array([self._known.setdefault(name, len(self._known)) for name in ids], dtype=np.int32)
        return places[np.asarray(encoded.indices)]

    def dataset(self) -> Dataset:
        if self._dataset is None:
            self._dataset = Dataset()
            self._dataset.fit([], self._known)
        return self._dataset


class _Buckets:
    """Files of rows, spread by a hash of the user.

    Attributes
    ----------
    counts, user_counts : int64 arrays of shape (N_BUCKETS,)
        How many interactions, and how many rows of a table of users, each bucket has.
    """

    def __init__(self, folder: str, columns: Columns, items: Items) -> None:
        self.counts, self.user_counts = np.zeros((2, N_BUCKETS), dtype=np.int64)
        self._folder, self._columns, self._items = folder, columns, items
        self._arrow = import_optional("pyarrow", "cli", "A sharded dataset")
        self._compute = import_optional("pyarrow.compute", "cli", "A sharded dataset")
        self._writers: dict[str, Any] = {}
        self._schemas: dict[str, Any] = {}
        self._types: dict[str, Any] = {}

    def __enter__(self) -> _Buckets:
        return self

    def __exit__(self, *exception: Any) -> None:
        for writer in self._writers.values():
            writer.close()

    def add(self, table: Any) -> None:
        """Spread the rows of a table."""
        table = self._arrow.table(table) if isinstance(table, Mapping) else table
        for name in self._columns.named.values():
            if table.schema.names.count(name) != 1:
                raise ValueError(
                    f"the interactions have no single column {name!r}, but {', '.join(table.schema.names)}"
                )
        for first in range(0, table.num_rows, ROWS_AT_ONCE):
            rows = table.slice(first, ROWS_AT_ONCE)
            self._add(self._checked({role: rows.column(name) for role, name in self._columns.named.items()}))

    def _add(self, columns: dict[str, Any]) -> None:
        columns["item"] = self._arrow.array(self._items.number(columns["user"], columns["item"]))
        self.counts += self._spread("interactions", columns)

    def add_users(self, table: Any, features: sp.csr_matrix) -> None:
        """Spread the rows of a table of users, whose ids are in a column as in the interactions, with features."""
        name = self._columns.named["user"]
        if table.schema.names.count(name) != 1:
            raise ValueError(f"users has no single column {name!r}, but {', '.join(table.schema.names)}")
        ends = self._arrow.array(features.indptr.astype(np.int32))
        lists = [
            self._arrow.ListArray.from_arrays(ends, self._arrow.array(values))
            for values in (features.indices.astype(np.int32), features.data.astype(np.float32))
        ]
        ids = self._checked({"user": table.column(name)})["user"]
        self.user_counts += self._spread("users", {"user": ids, "columns": lists[0], "weights": lists[1]})

    def _spread(self, kind: str, columns: Mapping[str, Any]) -> NDArray[np.intp]:
        """Write rows to the files of their buckets, and return how many each bucket got."""
        bucket = _hash(columns["user"]) % N_BUCKETS
        order = np.argsort(bucket, kind="stable")
        batch = self._arrow.record_batch(columns).take(self._arrow.array(order))
        self._schemas.setdefault(kind, batch.schema)
        counts = np.bincount(bucket, minlength=N_BUCKETS)
        starts = np.cumsum(counts) - counts
        for number in np.flatnonzero(counts).tolist():
            path = self._path(kind, number)
            if path not in self._writers:
                self._writers[path] = self._arrow.ipc.new_stream(path, batch.schema)
            self._writers[path].write_batch(batch.slice(starts[number], counts[number]))
        return counts

    def read(self, kind: str, numbers: range) -> Any:
        """Return the rows of some buckets as a table; None if no bucket has any of this kind."""
        if kind not in self._schemas:
            return None
        tables = [self._schemas[kind].empty_table()]
        for path in filter(self._writers.__contains__, (self._path(kind, number) for number in numbers)):
            with self._arrow.ipc.open_stream(path) as reader:
                tables.append(reader.read_all())
        return self._arrow.concat_tables(tables).combine_chunks()

    def _path(self, kind: str, number: int) -> str:
        return os.path.join(self._folder, f"{kind}-{number:03}.arrow")

    def _checked(self, columns: dict[str, Any]) -> dict[str, Any]:
        """Return the columns as arrays of the types that shards have."""
        types, checked = self._arrow.types, {}
        for role, column in columns.items():
            name = self._columns.named[role]
            column = column.combine_chunks() if hasattr(column, "combine_chunks") else column
            if types.is_dictionary(column.type):
                column = column.dictionary_decode()
            if column.null_count:
                raise ValueError(f"column {name!r} has {column.null_count:,} missing values: leave those rows out")
            kind = column.type
            if role in ("user", "item"):
                is_text = any(test(kind) for test in (types.is_string, types.is_large_string, types.is_string_view))
                if not is_text and not types.is_integer(kind):
                    raise TypeError(f"column {name!r} holds {kind}, expected ids that are text or whole numbers")
                column = self._cast(column, self._arrow.string() if is_text else self._arrow.int64(), name)
            elif role == "time":
                if types.is_timestamp(kind) or types.is_date(kind):
                    column = self._cast(column, self._arrow.timestamp("us"), name)
                elif not (types.is_integer(kind) or types.is_floating(kind)):
                    raise TypeError(f"column {name!r} holds {kind}, expected times or numbers")
            else:
                if not (types.is_integer(kind) or types.is_floating(kind)):
                    raise TypeError(f"column {name!r} holds {kind}, expected numbers")
                column = self._cast(column, self._arrow.float64(), name)
            if types.is_floating(column.type):
                self._check_finite(np.asarray(column), name)
            if self._types.setdefault(role, column.type) != column.type:
                raise TypeError(f"column {name!r} holds {column.type}, and {self._types[role]} before: make them alike")
            checked[role] = column
        return checked

    def _cast(self, column: Any, kind: Any, name: str) -> Any:
        """Return a column as another type. Times are truncated to the type's unit."""
        try:
            return self._compute.cast(column, options=self._compute.CastOptions(kind, allow_time_truncate=True))
        except self._arrow.ArrowInvalid as error:
            raise ValueError(
                f"column {name!r} holds {column.type}, some too large for {kind} ({error}): make ids text, and other "
                "numbers smaller"
            ) from error

    def _check_finite(self, numbers: NDArray[np.float64], name: str) -> None:
        is_wrong = ~(np.abs(numbers) <= np.finfo(np.float32).max)
        if is_wrong.any():
            raise ValueError(
                f"column {name!r} holds {np.count_nonzero(is_wrong):,} values that are not finite in single precision, "
                f"{numbers[is_wrong.argmax()]} first: leave those rows out"
            )

    def details(self, table: Any) -> Details:
        """Return the values, weights and times of a table of :meth:`read`, as a Dataset merges them."""
        parts = {
            name: np.asarray(table.column(name)) for name in ("value", "weight", "time") if name in table.schema.names
        }
        values = parts.get("value")
        if values is not None and self._columns.positive_from is not None:
            values = np.where(values >= self._columns.positive_from, 1.0, -1.0)
        return Details(values, parts.get("weight"), parts.get("time"))


def _hash(users: Any) -> NDArray[np.uint64]:
    """Return a hash of each id that is the same on every machine and in every process."""
    if str(users.type) == "int64":
        mixed = np.asarray(users).astype(np.uint64)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):  # SplitMix64's finaliser
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
        return mixed >> np.uint64(40)
    encoded = users.dictionary_encode()
    texts = (text.encode("utf-8", "surrogatepass") for text in encoded.dictionary.to_pylist())
    return np.fromiter(map(zlib.crc32, texts), np.uint64, len(encoded.dictionary))[np.asarray(encoded.indices)]


def _groups(counts: NDArray[np.int64], n_shards: Any, most_rows: int) -> list[range]:
    """Return the buckets of each shard: as few shards as fit in memory, or ``n_shards``."""
    if n_shards != "auto":
        edges = np.linspace(0, N_BUCKETS, n_shards + 1).astype(int).tolist()
    else:
        edges, rows = [0], 0
        for number, count in enumerate(counts.tolist()):
            if rows and rows + count > most_rows:
                edges.append(number)
                rows = 0
            rows += count
        edges.append(N_BUCKETS)
    groups = [range(first, last) for first, last in pairwise(edges)]
    groups = [group for group in groups if counts[group.start : group.stop].any()]
    largest = max(int(counts[group.start : group.stop].sum()) for group in groups)
    if largest > most_rows:
        raise ValueError(
            f"a shard of {largest:,} rows would take about {largest * BYTES_OF_A_ROW / 1e6:,.0f} MB: allow more memory"
            + ("" if n_shards == "auto" else ", or ask for more shards")
        )
    return groups


def _write_shard(buckets: _Buckets, group: range, shards: ShardsWriter, duplicates: str) -> None:
    """Write the rows of some buckets as the next shard."""
    arrow = import_optional("pyarrow", "cli", "A sharded dataset")
    table, listed = buckets.read("interactions", group), buckets.read("users", group)
    users, features = _whole(table.column("user")), None
    if listed is None:
        encoded = _whole(users.dictionary_encode())
        ids, codes = encoded.dictionary, np.asarray(encoded.indices)
        del encoded
    else:
        ids, features = _whole(listed.column("user")), _features_of(listed)
        codes = _find(users, ids)
    details = buckets.details(table)
    # Copies, since Arrow's memory is read-only.
    rows, columns = (np.asarray(part).astype(np.int32) for part in (codes, table.column("item")))
    del table, listed, users, codes
    shape = len(ids), shards.n_items
    interactions, weights, times = merge_duplicates(rows, columns, details, shape, duplicates)
    values = np.asarray(interactions.data, dtype=np.float32)
    arrays: dict[str, NDArray[Any]] = {
        "indptr": np.concatenate([[0], np.cumsum(np.bincount(interactions.row, minlength=shape[0]))]).astype(np.int64),
        "indices": interactions.col,
    }
    if (values != 1).any():
        arrays["values"] = values
    if details.weights is not None:
        arrays["weights"] = weights.data
    if times is not None:
        arrays["times"] = times
    folder = shards.add(arrays, features)
    with (
        arrow.OSFile(os.path.join(folder, manifest.USERS), "wb") as file,
        arrow.ipc.new_file(file, arrow.schema([("user", ids.type)])) as writer,
    ):
        writer.write_batch(arrow.record_batch({"user": ids}))


def _whole(column: Any) -> Any:
    """Return a column in one piece."""
    return column.combine_chunks() if hasattr(column, "combine_chunks") else column


def _find(users: Any, ids: Any) -> NDArray[np.int64]:
    """Return the place of each user among the ids of a table of users.

    Raises
    ------
    ValueError
        If an id is there twice, or a user is not there.
    """
    compute = import_optional("pyarrow.compute", "cli", "A sharded dataset")
    n_distinct = compute.count_distinct(ids).as_py()
    if n_distinct < len(ids):
        raise ValueError(
            f"users lists {len(ids) - n_distinct:,} ids again in one shard alone: it needs one row for each user"
        )
    places = compute.index_in(users, value_set=ids)
    if places.null_count:
        unknown = users.filter(compute.is_null(places)).unique()
        raise ValueError(
            f"interactions name {len(unknown):,} users in one shard alone that the table of users does not list, "
            f"{shorten(unknown[0].as_py())} first: list them, or leave those rows out"
        )
    return np.asarray(places)


def _features_of(listed: Any) -> Features:
    columns, weights = (_whole(listed.column(name)) for name in ("columns", "weights"))
    lengths = import_optional("pyarrow.compute", "cli", "A sharded dataset").list_value_length(columns)
    ends = np.concatenate([[0], np.cumsum(np.asarray(lengths), dtype=np.int64)])
    return ends, np.asarray(columns.flatten()), np.asarray(weights.flatten())
