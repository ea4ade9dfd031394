"""Write interactions of any number to shards, in bounded memory.

Rows are spread over files by a hash of their user, so that all rows of a user meet in one file. Neighbouring files
together make a shard, as large as the memory allows.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import persistence
from .._arguments import check_choice, check_count, check_verbose, counted, is_whole, shorten
from .._files import check_path, empty, sole_writer
from ..callbacks import tell
from ..data.interactions import DUPLICATES, Details, merge_duplicates
from ..data.missing import log_left_out
from . import manifest, resuming
from .resuming import Progress, Question
from .spread import INTERACTIONS, N_BUCKETS, USERS, Buckets, Columns, Items, read
from .tables import import_arrow
from .users import Users, UsersOfDataset, check_has_users

__all__: list[str] = []

Features = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]  # see Shards.feature_arrays

BYTES_OF_A_ROW = 120  # of memory that a row takes while its shard is made, with an id of USUAL_LENGTH bytes
USUAL_LENGTH, COPIES = 20, 3  # how often memory holds the text of an id at most
ROWS_OF_A_USER = 2  # of interactions, which take as much memory as a user's features

SECONDS_BETWEEN_LINES = 5  # of progress
_PREFIX, _SPREAD = ".lightfm_fast-shards-", "spread"
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def to_bytes(memory: Any) -> int:
    """Return a number of bytes given as a whole number or as text such as "500MB"; ValueError for anything else."""
    if isinstance(memory, str):
        parts = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", memory)
        if parts is not None and parts[2].upper() in _UNITS:
            memory = int(min(float(parts[1]) * _UNITS[parts[2].upper()], 2.0**62))
    if not is_whole(memory) or memory < 10**6:
        raise ValueError(f"memory is {shorten(memory)}, expected at least 1 MB, as '500MB', '2GB' or a number of bytes")
    return int(memory)


class TooLittleMemoryError(ValueError):
    """A shard needs more memory than is allowed."""


_MAY_PASS = (OSError, MemoryError, TooLittleMemoryError)  # errors after which the same rows may become shards


def write(
    tables: Iterable[tuple[str, Any]],
    path: str | os.PathLike[str],
    columns: Columns,
    sides: Callable[[], tuple[Users | UsersOfDataset | None, Items]],
    duplicates: str,
    n_shards: Any,
    memory: Any,
    verbose: bool,
    question: Question | None = None,
) -> None:
    """Write tables of interactions, Arrow tables with the names that errors call them by, to a new folder.

    With a ``question``, go on where an earlier call with the same question was interrupted; if it came to its end, do
    nothing. ``tables`` and ``sides``, which returns the users and items, are used only if rows are to be read.

    Raises
    ------
    TypeError, ValueError, OSError
        As :meth:`ShardedDataset.from_parquet`; the folder is then not there.
    """
    check_choice(duplicates, "duplicates", DUPLICATES)
    verbose, path = check_verbose(verbose), check_path(path)
    budget = to_bytes(memory)
    if not isinstance(n_shards, str) or n_shards != "auto":
        n_shards = check_count(n_shards, "n_shards", N_BUCKETS)
    if question is not None and manifest.question_of(path) == question.whole:
        if verbose:
            tell(f"{path} was written before")
        return
    with new_folder(path, question) as folder:
        spread = os.path.join(folder, _SPREAD)
        progress = None if question is None else resuming.find(folder, question)
        if progress is not None:
            progress = _checked(folder, progress.planned(_plan(progress, n_shards, budget, duplicates)))
        if progress is None:
            empty(folder)
            progress = _read(tables, spread, columns, *sides(), verbose)
            if question is not None:
                question.check_files()
                progress = progress._replace(question=question.rows)
                resuming.write(folder, progress)
            progress = progress.planned(_plan(progress, n_shards, budget, duplicates))
        elif verbose:
            tell(f"{sum(progress.counts[0]):,} rows and {len(progress.shards):,} shards were there already")
        shards, groups = ShardsWriter(folder, progress.facts["n_items"], progress.shards), progress.plan["groups"]
        for number in range(len(progress.shards), len(groups)):
            _write_shard(spread, range(*groups[number]), shards, columns.positive_from, duplicates)
            if question is not None:
                resuming.write(folder, progress._replace(shards=shards.written))
            if verbose:
                tell(f"{number + 1:,} of {len(groups):,} shards written")
        shutil.rmtree(spread, ignore_errors=True)  # a killed process may have removed it
        shards.seal({**progress.facts, **({} if question is None else {"question": question.whole})})
        if question is not None:
            resuming.remove(folder)


def _plan(progress: Progress, n_shards: Any, budget: int, duplicates: str) -> Any:
    """Return what the shards depend on beside the rows, as JSON has it."""
    counts, of_users, text = np.array(progress.counts)
    longer = np.maximum(0, text - USUAL_LENGTH * (counts + of_users))
    groups = _groups(BYTES_OF_A_ROW * (counts + ROWS_OF_A_USER * of_users) + COPIES * longer, n_shards, budget)
    return {"duplicates": duplicates, "groups": [[group.start, group.stop] for group in groups]}


def _checked(folder: str, progress: Progress) -> Progress | None:
    """Return progress with the shards whose files are as they were written; None if rows of others are missing."""
    intact: list[Any] = []
    for number, (facts, files) in enumerate(progress.shards):
        if manifest.describe_folder(folder, manifest.folder_of(number)) != files:
            break
        intact.append([facts, files])
    if len(intact) < len(progress.plan["groups"]) and _sizes(os.path.join(folder, _SPREAD)) != progress.files:
        return None  # the system stopped before it wrote them to the disk
    return progress._replace(shards=intact)


def _sizes(folder: str) -> dict[str, int]:
    """Return the size of each file of a folder, which need not exist."""
    with contextlib.suppress(FileNotFoundError):
        return {entry.name: entry.stat().st_size for entry in os.scandir(folder)}
    return {}


def _read(
    tables: Iterable[tuple[str, Any]],
    spread: str,
    columns: Columns,
    users: Users | UsersOfDataset | None,
    items: Items,
    verbose: bool,
) -> Progress:
    """Spread all rows over files in a new folder, and write the items beside it."""
    os.mkdir(spread)
    told = time.monotonic()
    with Buckets(spread, columns, items) as buckets:
        for name, table in tables:
            buckets.add(table, name)
            if verbose and time.monotonic() - told >= SECONDS_BETWEEN_LINES:
                tell(f"{buckets.counts.sum():,} rows read, the last of {name}")
                told = time.monotonic()
        left_out = f"{counted(buckets.n_missing, 'row')} without an id of a user or an item left out"
        if not buckets.counts.sum():
            rows = f"no rows but {left_out}" if buckets.n_missing else "no rows"
            raise ValueError(f"there are no interactions: the tables have {rows}")
        for block, features in users.blocks() if users is not None else ():
            buckets.add_users(block, features)
        if users is not None:
            check_has_users(buckets.user_counts.sum())
        if verbose:
            tell(f"all {buckets.counts.sum():,} rows read")
        if buckets.n_missing:
            (tell if verbose else log_left_out)(left_out)
    dataset = items.dataset()
    if users is not None:
        dataset = dataset.with_users(users.side)
    persistence.write(os.path.join(os.path.dirname(spread), manifest.ITEMS), {}, {}, dataset)
    n_shared = 0 if users is None else users.n_features
    facts = {"n_items": len(items), "n_user_features": n_shared, "columns": columns.named}
    facts |= {"n_missing": buckets.n_missing, "positive_from": columns.positive_from}
    counts = [array.tolist() for array in (buckets.counts, buckets.user_counts, buckets.text)]
    return Progress("", counts, _sizes(spread), facts)


@contextlib.contextmanager
def new_folder(path: str | os.PathLike[str], question: Question | None = None) -> Iterator[str]:
    """Yield a folder beside ``path``, and move it there after the block.

    Without a ``question`` the folder is empty, and after an error nothing is left. With one, the folder has what a
    process left that was interrupted. It is left for the next call if the block was interrupted and has noted progress.
    """
    given = check_path(path)
    target = os.path.realpath(given)  # a link to an empty folder stays, and the folder is replaced
    if os.path.exists(target) and (not os.path.isdir(target) or os.listdir(target)):
        other = "" if question is None else ", nor what this call has written"
        raise ValueError(f"{given} exists and is no empty folder{other}: name a new one")
    parent, name = os.path.split(target)
    if not os.path.isdir(parent):
        raise FileNotFoundError(f"there is no folder {parent} for {name}: make it, or name another path")
    temporary = os.path.join(parent, f"{_PREFIX}{name}")
    with sole_writer(temporary, given):
        try:
            if question is None:
                empty(temporary)
            yield temporary
            if os.path.isdir(target):
                os.rmdir(target)
            os.replace(temporary, target)
        except BaseException as error:
            is_final = isinstance(error, Exception) and not isinstance(error, _MAY_PASS)
            if question is None or is_final or not resuming.is_begun(temporary):
                shutil.rmtree(temporary, ignore_errors=True)
            elif isinstance(error, OSError):
                told = f"{error.strerror or error}: the same call goes on with the files in {temporary}, if they stay"
                raise OSError(*([] if error.errno is None else [error.errno]), told) from error
            raise


class ShardsWriter:
    """Writes shards to a folder, and counts their items.

    Parameters
    ----------
    folder : str
    n_items : int
    written : list of (facts, files)
        The first shards, which are there already.

    Attributes
    ----------
    written : list of (facts, files)
        What the manifest will say of each shard and of its files.
    """

    def __init__(self, folder: str, n_items: int, written: Sequence[Any] = ()) -> None:
        self._folder, self.n_items = folder, n_items
        self.written: list[Any] = []
        self._counts = np.zeros((2, n_items), dtype=np.int64)
        for facts, files in written:
            names = [name for name in ("indices", "values") if name in facts["arrays"]]
            self._count({name: manifest.map_array(os.path.join(self._next(), f"{name}.npy")) for name in names})
            self.written.append([facts, files])
        known = set(os.listdir(folder)).difference(map(manifest.folder_of, range(len(self.written))))
        for name in known.intersection(map(manifest.folder_of, range(N_BUCKETS))):  # begun, or of another plan
            shutil.rmtree(os.path.join(folder, name))

    def _next(self) -> str:
        """Return the folder of the next shard."""
        return os.path.join(self._folder, manifest.folder_of(len(self.written)))

    def add(
        self, arrays: dict[str, NDArray[Any]], features: Features | None, write_users: Callable[[str], Any]
    ) -> None:
        """Write the next shard.

        Parameters
        ----------
        arrays : dict of ndarray
            All but ``indptr`` have a cell an entry.
        features : tuple of arrays, optional
            The users' features.
        write_users : callable
            Writes the users' ids to the file of a name.
        """
        folder = self._next()
        os.mkdir(folder)
        of_users: dict[str, NDArray[Any]] = {}
        if features is not None:
            of_users.update(zip(manifest.FEATURES, features, strict=True))
        for name, array in (arrays | of_users).items():
            manifest.write_array(os.path.join(folder, f"{name}.npy"), array)
        write_users(os.path.join(folder, manifest.USERS))
        self._count(arrays)
        facts = {
            "n_users": len(arrays["indptr"]) - 1,
            "n_interactions": len(arrays["indices"]),
            "arrays": sorted(arrays),
        }
        self.written.append([facts, manifest.describe_folder(self._folder, os.path.basename(folder))])

    def _count(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        items = arrays["indices"]
        is_positive = arrays["values"] > 0 if "values" in arrays else slice(None)
        for counts, chosen in zip(self._counts, (items, items[is_positive]), strict=True):
            counts += np.bincount(chosen, minlength=self.n_items)

    def seal(self, facts: Mapping[str, Any]) -> None:
        """Write the counts of items and the manifest."""
        for name, counts in zip(("visits", "positives"), self._counts, strict=True):
            manifest.write_array(os.path.join(self._folder, f"{name}.npy"), counts)
        files = {name: described for _, part in self.written for name, described in part.items()}
        manifest.seal(self._folder, {**facts, "shards": [of_shard for of_shard, _ in self.written]}, files)


def _groups(sizes: NDArray[np.int64], n_shards: Any, budget: int) -> list[range]:
    """Return the buckets of each shard: as few shards as fit in memory, or ``n_shards``.

    ``sizes`` are the bytes of memory that each bucket takes, and ``budget`` those that a shard may take.
    """
    if n_shards != "auto":
        edges = np.linspace(0, N_BUCKETS, n_shards + 1).astype(int).tolist()
    else:
        edges, taken = [0], 0
        for number, size in enumerate(sizes.tolist()):
            if taken and taken + size > budget:
                edges.append(number)
                taken = 0
            taken += size
        edges.append(N_BUCKETS)
    groups = [range(first, last) for first, last in pairwise(edges)]
    groups = [group for group in groups if sizes[group.start : group.stop].any()]
    largest = max(int(sizes[group.start : group.stop].sum()) for group in groups)
    if largest > budget:
        raise TooLittleMemoryError(
            f"a shard would take about {largest / 1e6:,.0f} MB of memory while it is written: allow more memory"
            + ("" if n_shards == "auto" else ", or ask for more shards")
        )
    return groups


def _write_shard(spread: str, group: range, shards: ShardsWriter, positive_from: float | None, duplicates: str) -> None:
    """Write the rows of some buckets as the next shard."""
    arrow = import_arrow()
    table, listed = read(spread, INTERACTIONS, group), read(spread, USERS, group)
    users, features = _whole(table.column("user")), None
    if listed is None:
        encoded = _whole(users.dictionary_encode())
        ids, codes = encoded.dictionary, np.asarray(encoded.indices)
        del encoded
    else:
        ids, features = _whole(listed.column("user")), _features_of(listed)
        codes = _find(users, ids)
    details = _details(table, positive_from)
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

    def write_users(path: str) -> None:
        schema = arrow.schema([("user", ids.type)])
        with arrow.OSFile(path, "wb") as file, arrow.ipc.new_file(file, schema) as writer:
            writer.write_batch(arrow.record_batch({"user": ids}))

    shards.add(arrays, features, write_users)


def _details(table: Any, positive_from: float | None) -> Details:
    """Return the values, weights and times of rows, as a Dataset merges them."""
    parts = {name: np.asarray(table.column(name)) for name in ("value", "weight", "time") if name in table.schema.names}
    values = parts.get("value")
    if values is not None and positive_from is not None:
        values = np.where(values >= positive_from, 1.0, -1.0)
    return Details(values, parts.get("weight"), parts.get("time"))


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
    compute = import_arrow("pyarrow.compute")
    n_distinct = compute.count_distinct(ids).as_py()
    if n_distinct < len(ids):
        raise ValueError(
            f"users lists {counted(len(ids) - n_distinct, 'id')} again in one shard alone: give one row a user"
        )
    places = compute.index_in(users, value_set=ids)
    if places.null_count:
        unknown = users.filter(compute.is_null(places)).unique()
        raise ValueError(
            f"interactions name {counted(len(unknown), 'user')} in one shard alone that the table of users does not "
            f"list, {shorten(unknown[0].as_py())} first: list them, or leave those rows out"
        )
    return np.asarray(places)


def _features_of(listed: Any) -> Features:
    columns, weights = (_whole(listed.column(name)) for name in ("columns", "weights"))
    lengths = import_arrow("pyarrow.compute").list_value_length(columns)
    ends = np.concatenate([[0], np.cumsum(np.asarray(lengths), dtype=np.int64)])
    return ends, np.asarray(columns.flatten()), np.asarray(weights.flatten())
