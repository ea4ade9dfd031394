"""The lists of many users, a block of users at a time, and files of them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ._arguments import check_count, check_flag, check_num_threads, check_verbose, count_cpus, import_optional
from ._files import check_path, replaced
from ._matrices import check_known_positives, check_seen, sealed
from ._sides import Represented, Sides
from ._version import __version__
from .callbacks import new_bar, tell
from .data import Dataset
from .data.columns import as_column
from .data.ids import pack_ids
from .recommendation import Catalogue, Recommendations, Vocabulary, check_users, represent_users
from .table_files.id_columns import id_array, id_type
from .table_files.kinds import PARQUET

__all__ = ["Lists", "Written"]

USERS_AT_ONCE = 1 << 16
PLACES_AT_ONCE = 1 << 21  # places in the lists of a block: bounds its memory
ROWS_OF_A_GROUP = 1 << 20
ROWS_HASHED_AT_ONCE = 1 << 16
REQUEST = b"lightfm_fast.request"  # the key of the hash in a part's metadata: the hash of all that its lists depend on
COMPLETE = "_SUCCESS"  # as Spark names it; readers of folders pass over names that begin with _


class Lists(NamedTuple):
    """A block of users and their lists.

    Attributes
    ----------
    users : array of shape (n_users,)
        Row numbers, int64, or with a dataset an object array of its ids.
    ids, scores : arrays of shape (n_users, n)
        As :class:`~lightfm_fast.recommendation.Recommendations` has them. ``n`` is at most the number of items.
    """

    users: NDArray[Any]
    ids: NDArray[Any]
    scores: NDArray[np.float32]


class Written(NamedTuple):
    """What :meth:`lightfm_fast.LightFM.recommend_to` wrote.

    Attributes
    ----------
    users : int
        Users in the request.
    rows : int
        Rows of all files: the lengths of all lists.
    kept : int
        Users whose lists an earlier call for the same request had written.
    """

    users: int
    rows: int
    kept: int


class Question(NamedTuple):
    """A block of users: their places in the request, representations and seen items."""

    block: slice
    users: Represented
    seen: sp.csr_matrix | None


class Request:
    """The arguments of :meth:`lightfm_fast.LightFM.recommend_in_blocks`, checked; the items are represented once.

    Attributes
    ----------
    rows : int64 array of shape (n_users,)
        The users.
    blocks : list of slice
        Their blocks, at least one.
    """

    def __init__(
        self,
        sides: Sides,
        users: Any,
        n: int,
        interactions: Any,
        filter_seen: bool,
        items: Any,
        exclude: Any,
        user_features: Any,
        item_features: Any,
        num_threads: int | None,
        user_representations: Any,
        dataset: Dataset | None,
        users_per_block: int | None,
    ) -> None:
        self._sides = sides
        self._num_threads = count_cpus() if num_threads is None else check_num_threads(num_threads)
        self.rows, self._described = check_users(
            sides, users, user_features, user_representations, dataset, "users", many=True
        )
        self._users = Vocabulary(dataset if user_representations is None else None, "user")
        self._catalogue = Catalogue(sides, n, items, exclude, item_features, dataset, self._num_threads)
        self._n = min(int(n), self._catalogue.n_items)
        if users_per_block is None:
            users_per_block = max(1, min(USERS_AT_ONCE, PLACES_AT_ONCE // max(self._n, 1)))
        users_per_block = check_count(users_per_block, "users_per_block")
        starts = range(0, max(len(self.rows), 1), users_per_block)
        self.blocks = [slice(start, min(start + users_per_block, len(self.rows))) for start in starts]
        self._seen = interactions if check_flag(filter_seen, "filter_seen") else None
        if self._seen is not None and getattr(self._seen, "format", None) != "csr":
            self._seen = sealed(check_known_positives(self._seen, "interactions"))
        for block in self.blocks:  # checked before the first answer, without a copy of the whole matrix
            self._seen_by(self.rows[block])

    def __iter__(self) -> Iterator[Lists]:
        for block in self.blocks:
            best = self.answer(self.ask(block))
            yield Lists(self._users.ids(self.rows[block]), self._catalogue.vocabulary.ids(best.ids), best.scores)

    def ask(self, block: slice) -> Question:
        """Represent a block of users."""
        rows = self.rows[block]
        users = represent_users(self._sides, self._described, rows, self._num_threads)
        return Question(block, users, self._seen_by(rows))

    def _seen_by(self, rows: NDArray[np.int64]) -> sp.csr_matrix | None:
        return None if self._seen is None else check_seen(self._seen, rows, self._catalogue.n_items)

    def answer(self, question: Question) -> Recommendations:
        """Choose the best items, by row."""
        return self._catalogue.best(question.users, self._n, question.seen, self._num_threads)

    def names(self, side: str) -> NDArray[Any]:
        """Return the ids of the users of the request, or of all items, by row."""
        if side == "user":
            return self._users.ids(self.rows)
        return self._catalogue.vocabulary.ids(np.arange(self._catalogue.n_items))

    def hash_items(self, digest: Any) -> None:
        """Add to a hash everything but the users that answers depend on."""
        length = self._sides.length
        digest.update(repr((__version__, self._n, length, self._sides.are_cosines)).encode())
        _hash_represented(digest, self._catalogue.represented, length)
        if self._catalogue.candidates is not None:
            digest.update(self._catalogue.candidates.data)

    def hash_users(self, digest: Any, question: Question) -> None:
        """Add to a hash the users and interactions of one block."""
        _hash_represented(digest, question.users, self._sides.length)
        if question.seen is not None:
            for array in (question.seen.indptr, question.seen.indices):
                digest.update(np.ascontiguousarray(array, dtype=np.int64).data)


def write_lists(
    request: Request,
    path: str | os.PathLike[str],
    user_names: Sequence[Any] | None,
    user: str,
    item: str,
    verbose: bool,
) -> Written:
    """Write the lists as :meth:`lightfm_fast.LightFM.recommend_to` describes."""
    path, verbose = check_path(path), check_verbose(verbose)
    if not is_folder(path) and not path.lower().endswith(PARQUET):
        raise ValueError(f"{path}: expected a name that ends in .parquet, or the name of a folder, without an ending")
    table = _Table(request, user_names, user, item)
    with _bar(len(request.rows), verbose) as show:
        return (_write_parts if is_folder(path) else _write_file)(request, path, table, show)


def is_folder(path: str) -> bool:
    """Return whether a path asks for a folder of parts: a folder that exists, or a name without an ending."""
    return os.path.isdir(path) or path.endswith((os.sep, "/")) or not os.path.splitext(path)[1]


class _Table:
    """Makes Arrow tables of lists: columns of users, items, ranks and scores."""

    def __init__(self, request: Request, user_names: Sequence[Any] | None, user: str, item: str) -> None:
        columns = (user, item, "rank", "score")
        if not all(isinstance(name, str) for name in columns) or len(set(columns)) < len(columns):
            raise ValueError(
                f"the columns are {columns}, expected four different names: pass other names by user= and item="
            )
        self._pyarrow = import_optional("pyarrow", "cli", "recommend_to")
        self._users: NDArray[Any] = request.names("user")
        if user_names is not None:
            names = (
                name.item() if isinstance(name, np.generic) else name for name in as_column(user_names, "user_names")
            )
            self._users = np.fromiter(names, dtype=object)
            if len(self._users) != len(request.rows):
                raise ValueError(
                    f"user_names has {len(self._users):,} names for {len(request.rows):,} users: give one for each"
                )
        items = request.names("item")
        user_type, item_type = (
            id_type(self._pyarrow, names, side) for names, side in ((self._users, "users"), (items, "items"))
        )
        self._items = None if items.dtype != object else id_array(self._pyarrow, items, item_type)
        types = (user_type, item_type, self._pyarrow.int32(), self._pyarrow.float32())
        self.schema = self._pyarrow.schema(list(zip(columns, types, strict=True)))

    def hash_items(self, request: Request) -> Any:
        """Return the hash of what all tables depend on, to go on with."""
        digest = hashlib.sha256(repr(self.schema).encode())
        request.hash_items(digest)
        _hash_names(digest, request.names("item"))
        return digest

    def of(self, question: Question, best: Recommendations) -> Any:
        """Return the table of a block."""
        is_found = best.ids >= 0
        lengths = np.count_nonzero(is_found, axis=1)
        users = id_array(self._pyarrow, self._users[question.block], self.schema.types[0])
        items = best.ids[is_found]
        ranks = np.broadcast_to(np.arange(1, best.ids.shape[1] + 1, dtype=np.int32), best.ids.shape)[is_found]
        columns = [
            users.take(self._pyarrow.array(np.repeat(np.arange(len(lengths)), lengths))),
            self._pyarrow.array(items) if self._items is None else self._items.take(self._pyarrow.array(items)),
            self._pyarrow.array(ranks),
            self._pyarrow.array(best.scores[is_found]),
        ]
        return self._pyarrow.table(columns, schema=self.schema)

    def hash_of(self, of_items: Any, request: Request, question: Question) -> bytes:
        """Return the hash of all that a block's table depends on."""
        digest = of_items.copy()
        request.hash_users(digest, question)
        _hash_names(digest, self._users[question.block])
        return digest.hexdigest().encode()


def _write_file(request: Request, path: str, table: _Table, show: Any) -> Written:
    n_rows = 0
    with replaced(path) as temporary, _parquet(temporary, table.schema) as writer:
        for block in request.blocks:
            n_rows += _write_block(writer, request, table, request.ask(block))
            show(block)
    return Written(len(request.rows), n_rows, 0)


def _write_block(writer: Any, request: Request, table: _Table, question: Question) -> int:
    """Write the lists of a block, and return the number of rows."""
    rows = table.of(question, request.answer(question))
    writer.write_table(rows, row_group_size=ROWS_OF_A_GROUP)
    return len(rows)


def _write_parts(request: Request, folder: str, table: _Table, show: Any) -> Written:
    former = _parts_in(folder)
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder)
    complete = os.path.join(folder, COMPLETE)
    with contextlib.suppress(FileNotFoundError):
        os.remove(complete)
    of_items = table.hash_items(request)
    n_rows = n_kept = 0
    names = [f"part-{number:05}.parquet" for number in range(len(request.blocks))]
    for name, block in zip(names, request.blocks, strict=True):
        part, question = os.path.join(folder, name), request.ask(block)
        key = table.hash_of(of_items, request, question)
        metadata = _metadata(part)
        if metadata is not None and metadata.metadata[REQUEST] == key:
            n_rows, n_kept = n_rows + metadata.num_rows, n_kept + block.stop - block.start
        else:
            with replaced(part) as temporary, _parquet(temporary, table.schema.with_metadata({REQUEST: key})) as writer:
                n_rows += _write_block(writer, request, table, question)
        show(block)
    for name in former.difference(names):  # of an earlier request that had more parts
        os.remove(os.path.join(folder, name))
    with replaced(complete):
        pass
    return Written(len(request.rows), n_rows, n_kept)


def join_parts(folders: Sequence[str], path: str | os.PathLike[str]) -> None:
    """Write the parts in folders, in their order, to one Parquet file, a group of rows at a time."""
    parquet = import_optional("pyarrow.parquet", "cli", "recommend_to")
    parts = [os.path.join(folder, name) for folder in folders for name in sorted(_parts_in(folder))]
    schema = parquet.read_schema(parts[0]).remove_metadata()
    with replaced(os.fspath(path)) as temporary, _parquet(temporary, schema) as writer:
        for part in parts:
            with parquet.ParquetFile(part) as file:
                for number in range(file.num_row_groups):
                    writer.write_table(file.read_row_group(number).replace_schema_metadata(None))


def folders_in(folder: str, name: re.Pattern[str], may_hold_others: bool) -> list[str]:
    """Return the folders of lists in a folder, whose names match a pattern.

    Raises
    ------
    ValueError
        If one of them holds other files, or there is anything beside them that readers would take for lists.
    """
    others = [other for other in os.listdir(folder) if not name.fullmatch(other) and other[0] not in "._"]
    if others and not may_hold_others:
        raise ValueError(f"{folder} holds {others[0]}, which is no part of these lists: give an empty or a new folder")
    found = [os.path.join(folder, former) for former in sorted(os.listdir(folder)) if name.fullmatch(former)]
    for former in found:
        _parts_in(former)
    return found


def _parts_in(folder: str) -> set[str]:
    """Return the names of the parts in a folder, which need not exist; ValueError if it holds other files."""
    if not os.path.isdir(folder):
        return set()
    names = {name for name in os.listdir(folder) if not name.startswith(".") and name != COMPLETE}
    for name in sorted(names):
        if _metadata(os.path.join(folder, name)) is None:
            raise ValueError(f"{folder} holds {name}, which is no part of lists: give an empty or a new folder")
    return names


def _metadata(path: str) -> Any:
    """Return the metadata of a part of lists; None if a file is none."""
    parquet = import_optional("pyarrow.parquet", "cli", "recommend_to")
    try:
        metadata = parquet.read_metadata(path)
    except (OSError, ValueError):
        return None
    return metadata if REQUEST in (metadata.metadata or {}) else None


def _parquet(path: str, schema: Any) -> Any:
    parquet = import_optional("pyarrow.parquet", "cli", "recommend_to")
    return parquet.ParquetWriter(path, schema, use_dictionary=schema.names[:-1])  # scores hardly repeat


@contextlib.contextmanager
def _bar(n_users: int, verbose: bool) -> Iterator[Any]:
    """Yield a function that shows that a block is done: by a bar if tqdm is installed, else by a line."""
    if not verbose:
        yield lambda block: None
        return
    bar = new_bar(total=n_users, desc="Users")
    if bar is None:
        yield lambda block: tell(f"{block.stop:,} of {n_users:,} users")
        return
    with bar:
        yield lambda block: bar.update(block.stop - block.start)


def _hash_represented(digest: Any, represented: Represented, length: int) -> None:
    embeddings, biases, rows = represented
    n_rows = len(biases) if rows is None else len(rows)
    for first in range(0, n_rows, ROWS_HASHED_AT_ONCE):
        part = slice(first, min(first + ROWS_HASHED_AT_ONCE, n_rows))
        chosen = part if rows is None else rows[part]
        for array in (embeddings[chosen, :length], biases[chosen]):
            digest.update(np.ascontiguousarray(array).data)


def _hash_names(digest: Any, names: NDArray[Any]) -> None:
    kind, arrays = ("rows", {"values": names}) if names.dtype != object or not len(names) else pack_ids(names)
    digest.update(kind.encode())
    for array in arrays.values():
        digest.update(np.ascontiguousarray(array).data)
