"""Spread rows over files by a hash of their user, so that all rows of a user meet in one file."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import zlib
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._arguments import check_finite_number, check_not_negative, counted, shorten
from ..data import Dataset
from ..data.frames import read_columns
from ..data.missing import check_missing_ids, rows_with_ids
from ..data.numbering import as_whole_numbers, number_ids
from .tables import ROWS_AT_ONCE, import_arrow

__all__: list[str] = []

N_BUCKETS = 256  # files that rows of a kind are spread over, and the most shards
OPEN_FILES = 1024  # those of both kinds, and the process's own
INTERACTIONS, USERS = "interactions", "users"  # the kinds of rows


class Columns:
    """The names of the columns to read, checked."""

    def __init__(
        self,
        user: Any,
        item: Any,
        value: Any,
        weight: Any,
        time: Any,
        positive_from: Any,
        missing_ids: str = "raise",
    ) -> None:
        self.missing_ids = check_missing_ids(missing_ids)
        for role, name in (("user", user), ("item", item)):
            if name is None:
                raise TypeError(f"{role} is None, expected the name of the column of the ids of {role}s")
        names = {"user": user, "item": item, "value": value, "weight": weight, "time": time}
        self.named = {role: name for role, name in names.items() if name is not None}
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


class Items:
    """Numbers the items as a dataset does, in the order of a table, or else in the order of first occurrence."""

    def __init__(self, columns: Columns, items: Any, item_features: Any, dataset: Dataset | None = None) -> None:
        self._columns, self._table, self._features = columns.named, items, item_features
        self._missing_ids = columns.missing_ids
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
            names = {"user": self._columns["user"], "item": self._columns["item"]}
            column = read_columns(self._table, "items", [names["item"]])[names["item"]]
            _, listed = number_ids(column, "items", names["item"], self._missing_ids)
            if not listed:
                raise ValueError("items has no rows with an id, expected one for each item")
            first = {names["user"]: [users[0].as_py()], names["item"]: listed[:1]}
            dataset = Dataset.from_tables(
                first, items=self._table, item_features=self._features, missing_ids=self._missing_ids, **names
            )
            dataset.interactions = dataset.weights = None
            self._dataset, self._known = dataset, dataset.mapping()[2]
        encoded = items.dictionary_encode()
        ids = encoded.dictionary.to_pylist()
        if self._dataset is not None:
            unknown = [name for name in ids if name not in self._known]
            if unknown:
                raise ValueError(
                    f"interactions name {counted(len(unknown), 'item')} that the table of items does not list, "
                    f"{shorten(unknown[0])} first; it lists {shorten(next(iter(self._known)))} first: list them, or "
                    "leave those rows out"
                )
        places = np.array([self._known.setdefault(name, len(self._known)) for name in ids], dtype=np.int32)
        return places[np.asarray(encoded.indices)]

    def dataset(self) -> Dataset:
        if self._dataset is None:
            self._dataset = Dataset()
            self._dataset.fit([], self._known)
        return self._dataset


class Buckets:
    """Writes files of rows.

    Attributes
    ----------
    counts, user_counts : int64 arrays of shape (N_BUCKETS,)
        How many interactions, and how many rows of a table of users, each bucket has.
    text : int64 array of shape (N_BUCKETS,)
        The bytes of the users' ids in each bucket, if these are text.
    n_missing : int
        How many rows of interactions were left out because they have no user or no item.
    """

    def __init__(self, folder: str, columns: Columns, items: Items) -> None:
        self.counts, self.user_counts, self.text = np.zeros((3, N_BUCKETS), dtype=np.int64)
        self.n_missing = 0
        self._folder, self._columns, self._items = folder, columns, items
        self._arrow = import_arrow()
        self._compute = import_arrow("pyarrow.compute")
        self._writers: dict[str, Any] = {}
        self._open = contextlib.ExitStack()
        self._types: dict[str, Any] = {}
        _allow_many_files()

    def __enter__(self) -> Buckets:
        return self

    def __exit__(self, *exception: Any) -> None:
        self._open.close()

    def add(self, table: Any, place: str) -> None:
        """Spread the rows of a table; errors call it ``place``."""
        for name in self._columns.named.values():
            if table.schema.names.count(name) != 1:
                raise ValueError(f"{place} has no single column {name!r}, but {', '.join(table.schema.names)}")
        for first in range(0, table.num_rows, ROWS_AT_ONCE):
            rows = table.slice(first, ROWS_AT_ONCE)
            columns = {role: rows.column(name) for role, name in self._columns.named.items()}
            ids = {self._columns.named[role]: columns[role] for role in ("user", "item")}
            has_ids = rows_to_read(ids, self._columns.missing_ids, place)
            if has_ids is not None:
                columns = {role: column.filter(has_ids) for role, column in columns.items()}
                self.n_missing += rows.num_rows - len(columns["user"])
            if len(columns["user"]):
                self._add(self._checked(columns, place))

    def _add(self, columns: dict[str, Any]) -> None:
        columns["item"] = self._arrow.array(self._items.number(columns["user"], columns["item"]))
        self.counts += self._spread(INTERACTIONS, columns)

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
        ids = self._checked({"user": table.column(name)}, "users")["user"]
        self.user_counts += self._spread(USERS, {"user": ids, "columns": lists[0], "weights": lists[1]})

    def _spread(self, kind: str, columns: Mapping[str, Any]) -> NDArray[np.intp]:
        """Write rows to the files of their buckets, and return how many each bucket got."""
        users = columns["user"]
        bucket = _hash(users) % N_BUCKETS
        if self._arrow.types.is_string(users.type):
            lengths = np.asarray(self._compute.binary_length(users))
            self.text += np.bincount(bucket, lengths, N_BUCKETS).astype(np.int64)
        order = np.argsort(bucket, kind="stable")
        batch = self._arrow.record_batch(columns).take(self._arrow.array(order))
        counts = np.bincount(bucket, minlength=N_BUCKETS)
        starts = np.cumsum(counts) - counts
        for number in np.flatnonzero(counts).tolist():
            path = _path(self._folder, kind, number)
            if path not in self._writers:
                self._writers[path] = self._new_stream(path, batch.schema)
            self._writers[path].write_batch(batch.slice(starts[number], counts[number]))
        return counts

    def _new_stream(self, path: str, schema: Any) -> Any:
        try:
            sink = self._open.enter_context(self._arrow.OSFile(path, "wb"))
        except OSError as error:
            if error.errno == errno.EMFILE:
                raise OSError(
                    errno.EMFILE,
                    f"this process may not open the {N_BUCKETS} files that rows of a kind are spread over: allow it "
                    "more, such as by the shell's ulimit -n 1024",
                ) from error
            raise
        return self._open.enter_context(self._arrow.ipc.new_stream(sink, schema))

    def _checked(self, columns: dict[str, Any], place: str) -> dict[str, Any]:
        """Return the columns as arrays of the types that shards have."""
        checked = {}
        convert = {"user": self._to_ids, "item": self._to_ids, "time": self._to_times}
        for role, column in columns.items():
            name = f"column {self._columns.named[role]!r} of {place}"
            column = column.combine_chunks() if hasattr(column, "combine_chunks") else column
            if self._arrow.types.is_dictionary(column.type):
                column = column.dictionary_decode()
            if column.null_count:
                raise ValueError(f"{name} has {counted(column.null_count, 'missing value')}: leave those rows out")
            column = convert.get(role, self._to_numbers)(column, name)
            if self._arrow.types.is_floating(column.type):
                self._check_finite(np.asarray(column), name)
                if role == "weight":
                    check_not_negative(np.asarray(column), name)
            if self._types.setdefault(role, column.type) != column.type:
                raise TypeError(f"{name} holds {column.type}, and {self._types[role]} before: make them alike")
            checked[role] = column
        return checked

    def _to_ids(self, column: Any, name: str) -> Any:
        arrow, types = self._arrow, self._arrow.types
        if types.is_floating(column.type) and self._columns.missing_ids == "skip":  # pandas makes them of missing ids
            whole = as_whole_numbers(np.asarray(column), name)
            column = column if whole is None else arrow.array(whole)
        is_text = any(test(column.type) for test in (types.is_string, types.is_large_string, types.is_string_view))
        if not is_text and not types.is_integer(column.type):
            raise TypeError(f"{name} holds {column.type}, expected ids that are text or whole numbers: convert them")
        return self._cast(column, arrow.string() if is_text else arrow.int64(), name)

    def _to_times(self, column: Any, name: str) -> Any:
        arrow, types = self._arrow, self._arrow.types
        if types.is_timestamp(column.type) or types.is_date(column.type):
            return self._cast(column, arrow.timestamp("us"), name)
        if types.is_integer(column.type):
            return self._cast(column, arrow.int64(), name)
        if types.is_floating(column.type):
            return self._cast(column, arrow.float64(), name)
        raise TypeError(f"{name} holds {column.type}, expected times or numbers: convert it")

    def _to_numbers(self, column: Any, name: str) -> Any:
        types = self._arrow.types
        numeric = types.is_integer, types.is_floating, types.is_boolean, types.is_decimal
        if not any(test(column.type) for test in numeric):
            raise TypeError(f"{name} holds {column.type}, expected numbers: convert it")
        return self._cast(column, self._arrow.float64(), name)

    def _cast(self, column: Any, kind: Any, name: str) -> Any:
        """Return a column as another type. Times are truncated to the type's unit, and large numbers are rounded."""
        options = self._compute.CastOptions(kind, allow_time_truncate=True, allow_float_truncate=True)
        try:
            return self._compute.cast(column, options=options)
        except self._arrow.ArrowInvalid as error:
            raise ValueError(
                f"{name} holds {column.type}, some too large for {kind} ({error}): make ids text, and times smaller"
            ) from error

    def _check_finite(self, numbers: NDArray[np.float64], name: str) -> None:
        is_wrong = ~(np.abs(numbers) <= np.finfo(np.float32).max)
        if is_wrong.any():
            raise ValueError(
                f"{name} holds {counted(np.count_nonzero(is_wrong), 'value')} not finite in single precision, "
                f"{numbers[is_wrong.argmax()]} first: leave those rows out"
            )


def _allow_many_files() -> None:
    """Let this process open ``OPEN_FILES`` files, if the system allows. On macOS it may open 256 at first."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        resource: Any = importlib.import_module("resource")  # Windows has no such limit
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if 0 <= soft < OPEN_FILES:  # an infinite limit is negative on Linux
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(OPEN_FILES, hard) if hard > 0 else OPEN_FILES, hard))


def rows_to_read(ids: Mapping[str, Any], missing_ids: str, place: str) -> Any:
    """Return which rows have all of their ids, as an array of Arrow; None if each row has.

    Raises
    ------
    ValueError
        If an id is missing, and such rows are to be refused.
    """
    compute = import_arrow("pyarrow.compute")
    are_missing = {
        name: np.asarray(compute.is_null(column, nan_is_null=True)).astype(bool) for name, column in ids.items()
    }
    has_ids = rows_with_ids(are_missing, place, missing_ids, may_be_none_left=True)
    return None if has_ids is None else import_arrow().array(has_ids)


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


def read(folder: str, kind: str, numbers: range) -> Any:
    """Return the rows of some buckets as a table; None if no bucket of the folder has any of this kind."""
    arrow = import_arrow()
    some = next((name for name in sorted(os.listdir(folder)) if name.startswith(kind)), None)
    if some is None:
        return None
    with arrow.ipc.open_stream(os.path.join(folder, some)) as reader:
        tables = [reader.schema.empty_table()]
    for path in filter(os.path.exists, (_path(folder, kind, number) for number in numbers)):
        with arrow.ipc.open_stream(path) as reader:
            tables.append(reader.read_all())
    table = arrow.concat_tables(tables)
    if arrow.types.is_string(table.schema.field("user").type):  # of which an array has at most 2 GiB of text
        users = table.column("user").cast(arrow.large_string())
        table = table.set_column(table.schema.get_field_index("user"), "user", users)
    return table.combine_chunks()


def _path(folder: str, kind: str, number: int) -> str:
    return os.path.join(folder, f"{kind}-{number:03}.arrow")
