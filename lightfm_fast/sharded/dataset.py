"""Interactions in shards on disk, and the questions that go over all of them."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .. import persistence
from .._arguments import check_flag, check_proper_fraction, check_verbose, counted, import_optional, is_whole, shorten
from .._feature_rows import check_csr_arrays
from .._files import check_path, is_same_file, reserve
from .._matrices import as_seen
from .._shards import Part, Shards
from ..callbacks import tell
from ..data import Dataset
from ..evaluation import Evaluation, evaluate
from ..fold_in import Representations
from ..lightfm import LightFM
from ..recommendation_files import Written, folders_in, join_parts
from ..table_files.kinds import PARQUET
from . import manifest, resuming
from .in_memory import dataset_of
from .measuring import joined, metrics_of_shards
from .side_arguments import SideArguments
from .spread import Columns, Items
from .tables import files_of, open_parquet, tables_in, tables_of, to_arrow
from .users import UsersOfDataset
from .writing import ShardsWriter, new_folder, write

__all__ = ["Shard", "ShardedDataset"]


class Shard:
    """One shard of a :class:`ShardedDataset`: some users, and all their interactions.

    Attributes
    ----------
    number : int
    first : int
        The row of the first user in the model and in the dataset. Users of a shard have consecutive rows.
    n_users, n_interactions : int
    """

    def __init__(self, dataset: ShardedDataset, number: int) -> None:
        self._dataset, self.number = dataset, number
        self.first = int(dataset.starts[number])
        self.n_users = int(dataset.starts[number + 1]) - self.first
        self.n_interactions = int(dataset.facts[number]["n_interactions"])

    def __repr__(self) -> str:
        return f"<Shard {self.number} of {self.n_users:,} users and {self.n_interactions:,} interactions>"

    @property
    def interactions(self) -> sp.csr_matrix:
        """The interactions of these users, shape (n_users, n_items): float32 values, above 0 for positives."""
        arrays = self._dataset.arrays(self.number)
        values = arrays.get("values", np.ones(self.n_interactions, dtype=np.float32))
        shape = self.n_users, self._dataset.shape[1]
        with self._dataset.read_whole(self.number):
            indices, indptr = np.array(arrays["indices"]), np.array(arrays["indptr"])
            check_csr_arrays(indptr, indices, values, shape)
            return sp.csr_matrix((np.array(values), indices, indptr), shape=shape)

    @property
    def weights(self) -> NDArray[np.float32] | None:
        """The weight of each entry of :attr:`interactions`; None without a column of weights."""
        return self._dataset.arrays(self.number).get("weights")

    @property
    def times(self) -> NDArray[Any] | None:
        """The time of each entry of :attr:`interactions`; None without a column of times."""
        return self._dataset.arrays(self.number).get("times")

    @property
    def user_ids(self) -> list[Hashable]:
        """The ids of the users, by row."""
        arrow = import_optional("pyarrow", "cli", "Reading the users of a shard")
        name = self._dataset.file(self.number, manifest.USERS)
        with arrow.memory_map(manifest.present(name)) as file:
            try:
                table = arrow.ipc.open_file(file).read_all()
                table.validate(full=True)  # else wrong offsets lead out of the file, which ends the process
                ids: list[Hashable] = table.column("user").to_pylist()
            except (arrow.ArrowException, OSError, KeyError, UnicodeDecodeError) as error:
                raise ValueError(f"{name} is damaged ({error}): write the shards again") from error
        if len(ids) != self.n_users:
            raise ValueError(f"{name} has {len(ids):,} ids for {self.n_users:,} users: write the shards again")
        return ids

    @property
    def user_features(self) -> sp.csr_matrix:
        """The features of these users, for methods of a model that take ``user_features``.

        Column u is the own feature of user u of the dataset. The columns after the users are features that they share.
        """
        return self._dataset.user_features(self.number)


class ShardedDataset(Shards):
    """Interactions in shards on disk, for data larger than memory.

    :meth:`from_parquet` and :meth:`from_tables` write one; this constructor opens one.

    :meth:`lightfm_fast.LightFM.fit` and ``fit_partial`` take it in the place of a matrix of interactions, together with
    ``item_features``. They train on one shard after another, in a new random order in each epoch. Memory holds the
    items, one shard and the users' parameters that are in use. The parameters of all users are in a mapped file without
    a name, in the folder ``scratch``. The file vanishes with the model, so save the model. With one shard and one
    thread, training gives the same bits as in memory.

    Each folder numbers its users and items anew. A model goes on with ``fit_partial`` on the same folder, or on one
    that :meth:`split` made of it: in another folder, the same rows are other people.

    ``item_alpha="auto"`` is found on the first shard that has positives, and so is ``cold_start="auto"``, which chooses
    "features" or "mapping". "content" and "mapping+content" put the users' profiles into the folder ``scratch`` too.

    Parameters
    ----------
    path : path
        A folder that :meth:`from_parquet` or :meth:`from_tables` wrote.
    scratch : path, optional
        A folder on a disk with room for the users' parameters, by default ``path``. A user takes 8 bytes a component,
        rounded up to a multiple of 128 bytes, and 8 bytes more.

    Attributes
    ----------
    path, scratch : str
    shape : tuple of int
        The numbers of users and of items.
    n_shared : int
        The number of features that users share, beside each user's own.
    n_interactions : int
    n_missing : int
        How many rows were left out when the shards were written, because they have no user or no item.
    starts : int64 array of shape (n_shards + 1,)
        The first user of each shard, and the number of users.
    visits, positives : int64 arrays of shape (n_items,)
        How many interactions each item has, and how many of them are positive.
    facts : list of dict
        The manifest's facts of each shard.

    Raises
    ------
    ValueError
        If the folder is no sharded dataset, or a file is missing or of another size than when it was written.
    FileNotFoundError
        If there is no folder ``scratch``.

    Examples
    --------
    >>> import tempfile
    >>> from lightfm_fast import LightFM
    >>> days = [{"user": ["ann", "bob"], "film": ["dune", "emma"]}, {"user": ["ann", "cid"], "film": ["emma", "dune"]}]
    >>> folder = tempfile.TemporaryDirectory()
    >>> views = ShardedDataset.from_tables(days, f"{folder.name}/views", user="user", item="film", n_shards=2)
    >>> views.shape, views.n_interactions
    ((3, 2), 4)
    >>> model = LightFM(loss="warp", random_state=1).fit(views, epochs=5)
    >>> sorted(len(shard.user_ids) for shard in views)
    [1, 2]
    >>> del model; folder.cleanup()
    """

    def __init__(self, path: str | os.PathLike[str], scratch: str | os.PathLike[str] | None = None) -> None:
        self.path = os.path.abspath(check_path(path))
        self.scratch = _check_scratch(scratch) or self.path
        self._manifest = manifest.read(self.path)
        self.facts: list[dict[str, Any]] = self._manifest["shards"]
        counts = [facts["n_users"] for facts in self.facts]
        self.n_interactions = sum(facts["n_interactions"] for facts in self.facts)
        self.n_missing = self._manifest["n_missing"]
        n_items = self._manifest["n_items"]
        self.n_shared = self._manifest["n_user_features"]
        self.starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)
        self.shape = int(self.starts[-1]), n_items
        self.visits, self.positives = (
            np.array(manifest.map_array(os.path.join(self.path, f"{name}.npy"))) for name in ("visits", "positives")
        )
        counted_items = self.visits.shape == self.positives.shape == (n_items,)
        if (
            not min(self.shape)
            or not counted_items
            or self.visits.sum() != self.n_interactions
            or not ((self.positives >= 0) & (self.positives <= self.visits)).all()
        ):
            raise ValueError(f"{self.path} is no sharded dataset: its counts of items do not fit its manifest")
        items = persistence.read(os.path.join(self.path, manifest.ITEMS), mmap=False).dataset
        if items is None or items.interactions_shape()[1] != n_items:
            raise ValueError(f"{self.path} is no sharded dataset: its items do not fit its manifest")
        if self.n_shared not in (0, len(items.user_side.features)):
            raise ValueError(f"{self.path} is no sharded dataset: its features of users do not fit its manifest")
        self._dataset = items

    @classmethod
    def from_parquet(
        cls,
        source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        path: str | os.PathLike[str],
        *,
        user: str = "user_id",
        item: str = "item_id",
        value: str | None = None,
        positive_from: float | None = None,
        weight: str | None = None,
        time: str | None = None,
        users: Any = None,
        items: Any = None,
        user_features: Any = None,
        item_features: Any = None,
        like: ShardedDataset | None = None,
        duplicates: str = "sum",
        missing_ids: str = "raise",
        n_shards: int | str = "auto",
        memory: int | str = "1GB",
        scratch: str | os.PathLike[str] | None = None,
        verbose: bool = False,
    ) -> ShardedDataset:
        """Write Parquet files of interactions to shards, reading each row once (extra ``cli``).

        Parameters
        ----------
        source : path or list of paths
            Files, folders of files, or patterns such as ``"views/*.parquet"``.
        path : path
            A new or an empty folder. It is written whole or not at all; the notes say how to go on after an
            interruption. If it holds what the same call has written, that is taken as it is.
        user, item : str
            Columns of ids: text or whole numbers. Rows of a user go to one shard, chosen by a hash of the id.
        value, positive_from, weight, time : optional
            As in :meth:`lightfm_fast.data.Dataset.from_tables`. Weights count in training. Times are kept to the
            microsecond.
        users : frame, or path or list of paths of Parquet files, optional
            A row for each user: all users that occur, and others. Files are read a block at a time, and each has the
            columns of the first. By default the users are those that occur.
        items : frame, optional
            A row for each item, in memory: all items that occur, also others that are to be recommended. By default
            the items are those that occur.
        user_features, item_features : list of columns, or encoder, optional
            Features beside each user's (item's) own, made of columns of ``users`` (``items``), as in
            :meth:`lightfm_fast.data.Dataset.from_tables`. An encoder of users is fitted to at most 524,288 rows, which
            are drawn at random of larger files.
        like : ShardedDataset, optional
            Take the items, their features and the encoder of users from these shards, in the place of ``items`` and of
            both features: for users who came after training. See :meth:`fold_in_users`.
        duplicates : {"sum", "max", "last", "error"}
            How to merge rows with the same user and item; as in :meth:`lightfm_fast.data.Dataset.from_tables`. Without
            a column of weights, merged rows count once in training.
        missing_ids : {"raise", "skip"}
            What to do with rows of any table without an id of a user or an item. "raise" refuses them. "skip" leaves
            them out, counts those of interactions in ``n_missing``, and logs or prints their number. Then
            columns of floats, which pandas makes of whole numbers with missing cells, are read as whole numbers.
        n_shards : int or "auto"
            "auto" makes as few shards as fit in ``memory``, at most 256.
        memory : int or str
            Bytes of memory for the rows of a shard while it is written, such as ``"500MB"``. Reading takes some hundred
            MB, whatever the number of rows. Training needs about a third of ``memory`` for a shard.
        scratch : path, optional
            As in the constructor.
        verbose : bool
            Print how far it is.

        Returns
        -------
        ShardedDataset

        Raises
        ------
        ImportError
            If pyarrow is not installed.
        FileNotFoundError
            If no file matches ``source``.
        TypeError
            If a column holds other types than asked for.
        ValueError
            If ``path`` holds anything else, a column or a value is missing or not finite, a weight is below 0, a user
            (item) is not listed in ``users`` (``items``) or listed twice, ids or numbers are too large, there are no
            rows, a file changes meanwhile, another call is writing ``path``, an encoder is not of
            :mod:`lightfm_fast.features`, or the shards need more memory.
        OSError
            If a file cannot be read or written, as on a full disk.

        Notes
        -----
        If the call is interrupted after it has read all rows (killed, Ctrl-C, a full disk, too little ``memory``), its
        files stay in a folder beside ``path``, whose name is ``.lightfm_fast-shards-`` and the name of ``path``. The
        same call then goes on after the last whole shard, and the result has the same bits. A call is the same if it
        has the same columns and features, the same names, sizes and times of all files, and the same content of frames.
        If it differs in ``duplicates``, ``n_shards`` or ``memory`` alone, the rows are not read again. Any other call
        for ``path`` removes these files and begins anew.
        """
        files = files_of(source)
        _check_scratch(scratch)
        columns = Columns(user, item, value, weight, time, positive_from, missing_ids)
        sides = SideArguments(columns, users, items, user_features, item_features, like)
        sizes = {"duplicates": duplicates, "n_shards": n_shards, "memory": memory}
        question = sides.question(None, files, sizes)
        names = list(columns.named.values())
        open_parquet(files[0], names)  # a wrong name is told of before anything changes
        tables = tables_in(files, names)
        write(tables, path, columns, sides.read, duplicates, n_shards, memory, verbose, question)
        return cls(path, scratch)

    @classmethod
    def from_tables(
        cls,
        tables: Iterable[Any],
        path: str | os.PathLike[str],
        *,
        user: str = "user_id",
        item: str = "item_id",
        value: str | None = None,
        positive_from: float | None = None,
        weight: str | None = None,
        time: str | None = None,
        users: Any = None,
        items: Any = None,
        user_features: Any = None,
        item_features: Any = None,
        like: ShardedDataset | None = None,
        duplicates: str = "sum",
        missing_ids: str = "raise",
        n_shards: int | str = "auto",
        memory: int | str = "1GB",
        scratch: str | os.PathLike[str] | None = None,
        verbose: bool = False,
        source: str | None = None,
    ) -> ShardedDataset:
        """Write tables of interactions to shards, one table after another (extra ``cli``).

        Parameters
        ----------
        tables : iterable of frames, or Dask DataFrame
            Data frames of pandas, polars, pyarrow or another library that narwhals reads, or dicts of columns. A
            generator makes them when they are needed. The partitions of a Dask DataFrame are computed one after
            another.
        path, user, item, value, positive_from, weight, time, users, items, user_features, item_features : optional
        like, duplicates, missing_ids, n_shards, memory, scratch, verbose : optional
            As in :meth:`from_parquet`, which documents the result and the errors too.
        source : str, optional
            A name that tells the rows from others, such as their day. If a call with the same name and arguments was
            interrupted after it had read all tables, this call goes on as :meth:`from_parquet` does, and reads none.
            The tables themselves are not compared. By default the call begins anew. If it is interrupted then, it
            leaves nothing, unless the process is killed.
        """
        _check_scratch(scratch)
        columns = Columns(user, item, value, weight, time, positive_from, missing_ids)
        if source is not None and not isinstance(source, str):
            raise TypeError(f"source is {shorten(source)}, expected text that tells these tables from others")
        if hasattr(tables, "get_partition"):
            frame: Any = tables
            tables = (frame.get_partition(number).compute() for number in range(frame.npartitions))
        if isinstance(tables, Mapping) or hasattr(tables, "columns"):
            raise TypeError(f"tables is {type(tables).__name__}, expected several tables: put it in a list")
        if not isinstance(tables, Iterable) or isinstance(tables, str | bytes) or hasattr(tables, "shape"):
            raise TypeError(f"tables is {shorten(tables)}, expected several tables, such as a list of frames")
        sides = SideArguments(columns, users, items, user_features, item_features, like)
        sizes = {"duplicates": duplicates, "n_shards": n_shards, "memory": memory}
        question = None if source is None else sides.question(source, [], sizes)
        named = ((name := f"tables[{number}]", to_arrow(table, name)) for number, table in enumerate(tables))
        write(named, path, columns, sides.read, duplicates, n_shards, memory, verbose, question)
        return cls(path, scratch)

    @classmethod
    def from_dataset(
        cls,
        dataset: Dataset,
        path: str | os.PathLike[str],
        *,
        n_shards: int | str = "auto",
        memory: int | str = "1GB",
        scratch: str | os.PathLike[str] | None = None,
        verbose: bool = False,
    ) -> ShardedDataset:
        """Write the interactions and features of a dataset in memory to shards (extra ``cli``).

        Parameters
        ----------
        dataset : Dataset
            Made by :meth:`lightfm_fast.data.Dataset.from_tables`. Its ids are text or whole numbers.
        path, n_shards, memory, scratch, verbose
            As in :meth:`from_parquet`, which documents the result and the errors too. Items keep their numbers; users
            get others.
        """
        if not isinstance(dataset, Dataset) or dataset.interactions is None or dataset.weights is None:
            raise TypeError(f"dataset is {shorten(dataset)}, expected a Dataset that from_tables has made")
        _check_scratch(scratch)
        user, item = (str(side.id_column) for side in (dataset.user_side, dataset.item_side))
        value, weight, time = (f"{role} of {user} and {item}" for role in ("value", "weight", "time"))
        columns = Columns(
            user,
            item,
            value,
            None if (dataset.weights.data == 1).all() else weight,
            None if dataset.timestamps is None else time,
            None,
        )
        tables = (("dataset", table) for table in tables_of(dataset, columns.named))
        items = Items(columns, None, None, dataset)
        users = UsersOfDataset(dataset)
        write(tables, path, columns, lambda: (users, items), "sum", n_shards, memory, verbose)
        return cls(path, scratch)

    # ------------------------------------------------------------------ what it holds

    def __iter__(self) -> Iterator[Shard]:
        return (Shard(self, number) for number in range(len(self)))

    def __repr__(self) -> str:
        n_users, n_items = self.shape
        return (
            f"<ShardedDataset of {n_users:,} users, {n_items:,} items and {self.n_interactions:,} interactions in "
            f"{counted(len(self), 'shard')}: {self.path}>"
        )

    @property
    def dataset(self) -> Dataset:
        """The items, their features and all encoders, without users."""
        return self._dataset

    @property
    def item_ids(self) -> list[Hashable]:
        """The ids of the items, by column."""
        return list(self._dataset.mapping()[2])

    @property
    def item_features(self) -> sp.csr_matrix | None:
        """The features of the items, for methods of a model; None if they have none."""
        return self._dataset.item_features

    def to_dataset(self, interactions: bool = True) -> Dataset:
        """Return the ids and the features of all users and items in memory, for a model that was trained on shards.

        ``Recommender(model, shards.to_dataset())`` then answers in ids, and its file is one for ``lightfm-fast serve``.

        Parameters
        ----------
        interactions : bool
            Whether to read the interactions too, by which a recommender leaves out what users have seen, and goes on
            training by ``update``.

        Returns
        -------
        Dataset
            It takes about 250 bytes for each user and 50 for each interaction.

        Raises
        ------
        ValueError
            If a file is damaged, or an id of a user is also the name of a feature that users share.
        """
        columns, positive_from = self._manifest["columns"], self._manifest["positive_from"]
        return dataset_of(self, columns, positive_from, check_flag(interactions, "interactions"))

    def encode_new_items(self, items: Any) -> sp.csr_matrix:
        """Encode items that are not in the dataset; see :meth:`lightfm_fast.data.Dataset.encode_new_items`."""
        return self._dataset.encode_new_items(items)

    def encode_new_users(self, users: Any) -> sp.csr_matrix:
        """Encode users that the dataset does not know, for methods of a model that take ``user_features``.

        As :meth:`lightfm_fast.data.Dataset.encode_new_users`.
        """
        encoded = self._dataset.encode_new_users(users)
        n_users = self.shape[0]
        arrays = encoded.data, encoded.indices + n_users, encoded.indptr
        return sp.csr_matrix(arrays, shape=(encoded.shape[0], n_users + self.n_shared))

    def arrays(self, number: int) -> dict[str, NDArray[Any]]:
        """Map the arrays of a shard, read-only: ``indptr``, ``indices``, and any values, weights and times.

        Raises
        ------
        ValueError
            If they do not fit the manifest.
        """
        facts = self.facts[number]
        arrays = self._mapped(number, facts["arrays"], manifest.ARRAYS, "indptr", facts["n_interactions"])
        if "indptr" not in arrays or "indices" not in arrays or arrays["indptr"][-1] != len(arrays["indices"]):
            raise ValueError(
                f"shard {number} of {self.path} has no interactions, or others than its manifest says: write it again"
            )
        return arrays

    def feature_arrays(self, number: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Map the arrays of the users' features, read-only: ``indptr``, columns and weights.

        Column 0 is the user's own feature, and column 1 the first that users share.

        Raises
        ------
        ValueError
            If they do not fit the manifest.
        """
        names = list(manifest.FEATURES)
        indptr = manifest.map_array(self.file(number, f"{names[0]}.npy"))
        n_entries = int(indptr[-1]) if indptr.ndim == 1 and len(indptr) else 0
        indptr, columns, weights = self._mapped(number, names, manifest.FEATURES, names[0], n_entries).values()
        return indptr, columns, weights

    def _mapped(
        self, number: int, names: Iterable[str], dtypes: Mapping[str, Any], ends: str, n_entries: int
    ) -> dict[str, NDArray[Any]]:
        """Map arrays of a shard; ``ends`` has a cell for each user and one more, the others ``n_entries``."""
        arrays = {name: manifest.map_array(self.file(number, f"{name}.npy")) for name in names}
        for name, array in arrays.items():
            length = self.facts[number]["n_users"] + 1 if name == ends else n_entries
            if array.shape != (length,) or dtypes.get(name, array.dtype) != array.dtype:
                raise ValueError(
                    f"shard {number} of {self.path}: {name} is {array.dtype} of shape {array.shape}, expected "
                    f"({length},): write it again"
                )
        return arrays

    def part(self, number: int, num_threads: int = 1) -> Part:
        """Read a shard into memory; ValueError if its files are damaged."""
        with self.read_whole(number):
            return super().part(number, num_threads)

    def counts(self, number: int, positives: bool) -> NDArray[np.int64]:
        """Return how many interactions, or only positives, each user of a shard has."""
        with self.read_whole(number):
            return super().counts(number, positives)

    def own_features(self, number: int) -> sp.csr_matrix:
        """Return the user features of a shard, with columns for its users and the shared features only."""
        with self.read_whole(number):
            return super().own_features(number)

    @contextlib.contextmanager
    def read_whole(self, number: int) -> Iterator[None]:
        """Say which shard is damaged if the block cannot make matrices of its arrays."""
        try:
            yield
        except (ValueError, IndexError, OverflowError) as error:
            if self.path in str(error):
                raise
            raise ValueError(
                f"shard {number} of {self.path} is damaged: {error}. Write the shards again; verify() names a file "
                "that has changed"
            ) from error

    def file(self, number: int, name: str) -> str:
        """Return the path of a file of a shard."""
        return os.path.join(self.path, manifest.folder_of(number), name)

    def verify(self) -> None:
        """Read all files, and raise ValueError if one has changed since it was written."""
        manifest.check_sums(self.path, self._manifest["files"])

    # ------------------------------------------------------------------ over all shards

    def split(
        self,
        train: str | os.PathLike[str],
        test: str | os.PathLike[str],
        test_share: float = 0.2,
        random_state: int = 0,
    ) -> tuple[ShardedDataset, ShardedDataset]:
        """Write a random split to two folders, whose users and items have the same numbers as here.

        Parameters
        ----------
        train, test : path
            New or empty folders, or what the same call has written, which is taken as it is.
        test_share : float
            The share of the interactions that go to the test, between 0 and 1.
        random_state : int
            The seed, from 0 to 2**32 - 1.

        Returns
        -------
        train, test : ShardedDataset

        Raises
        ------
        ValueError
            If a folder holds anything else, both are the same, or ``test_share`` or ``random_state`` is out of range.
        """
        test_share = check_proper_fraction(test_share, "test_share")
        if not is_whole(random_state) or not 0 <= random_state < 1 << 32:
            raise ValueError(
                f"random_state is {shorten(random_state)}, expected a whole number from 0 to {(1 << 32) - 1:,}"
            )
        if is_same_file(check_path(train, "train"), check_path(test, "test")):
            raise ValueError(f"train and test are both {shorten(train)}: name two folders")
        with contextlib.ExitStack() as stack:
            parts = []
            for path, of_test in ((train, False), (test, True)):
                question = resuming.hash_of([self._manifest["files"], test_share, int(random_state), of_test])
                if manifest.question_of(check_path(path)) != question:
                    parts.append((stack.enter_context(new_folder(path)), of_test, question))
            for folder, of_test, question in parts:
                self._write_part(folder, of_test, test_share, random_state, question)
        return ShardedDataset(train, self.scratch), ShardedDataset(test, self.scratch)

    def _write_part(self, folder: str, of_test: bool, share: float, seed: int, question: str) -> None:
        """Write the train or the test part of a split."""
        shards = ShardsWriter(folder, self.shape[1])
        for shard in self:
            arrays = self.arrays(shard.number)
            rng = np.random.RandomState([seed, shard.number])
            kept = (rng.random_sample(shard.n_interactions) < share) == of_test
            before = np.concatenate([[0], np.cumsum(kept)])
            with self.read_whole(shard.number):
                shape = shard.n_users, self.shape[1]
                check_csr_arrays(arrays["indptr"], arrays["indices"], arrays["indices"], shape)
            parts = {
                name: before[array].astype(np.int64) if name == "indptr" else array[kept]
                for name, array in arrays.items()
            }
            features = self.feature_arrays(shard.number) if self.n_shared else None
            shards.add(parts, features, partial(shutil.copyfile, self.file(shard.number, manifest.USERS)))
        shutil.copyfile(os.path.join(self.path, manifest.ITEMS), os.path.join(folder, manifest.ITEMS))
        facts = {name: fact for name, fact in self._manifest.items() if name not in ("files", "shards")}
        shards.seal({**facts, "question": question})

    def evaluate(
        self,
        model: LightFM,
        train: ShardedDataset | None = None,
        metrics: str | Sequence[str] = ("precision", "recall", "ndcg", "map", "hit_rate", "mrr", "auc"),
        k: int | Sequence[int] = 10,
        num_threads: int = 1,
        user_representations: Representations | None = None,
    ) -> Evaluation:
        """Measure a model on these interactions, a shard at a time.

        Parameters
        ----------
        model : LightFM
            Trained on shards with the same users and items, such as ``train``.
        train : ShardedDataset, optional
            What the users have seen, which is not recommended again: the other part of :meth:`split`.
        metrics, k, num_threads
            As in :func:`lightfm_fast.evaluation.evaluate`, without coverage and novelty, which need all lists at once.
        user_representations : Representations, optional
            The users of these shards, whom the model does not know, as :meth:`fold_in_users` of ``train`` returns them.

        Returns
        -------
        Evaluation
            Over all users with a positive here; ``users`` has their rows, and ``per_user`` is None.

        Raises
        ------
        ValueError
            If the datasets differ in users or items, the model has others, no user has a positive, or a metric is
            unknown.
        """
        wanted = metrics_of_shards(metrics)
        self._check_model(model, user_representations)
        self._check_same(train)
        scored = model if user_representations is None else self._without_features(model)
        parts = []
        for shard in self:
            test = shard.interactions
            if not (test.data > 0).any():
                continue
            seen = None if train is None else as_seen(Shard(train, shard.number).interactions)
            features: tuple[Any, Any] = shard.user_features, self.item_features
            if user_representations is not None:
                features = None, None
                rows = slice(shard.first, shard.first + shard.n_users)
                scored.user_embeddings[: shard.n_users] = user_representations.embeddings[rows]
                scored.user_biases[: shard.n_users] = user_representations.biases[rows]
            found = evaluate(scored, test, seen, wanted, k, *features, num_threads=num_threads, per_user=True)
            parts.append((found.users + shard.first, found.per_user or {}))
        return replace(joined(parts), per_user=None)

    def recommend_to(
        self,
        model: LightFM,
        path: str | os.PathLike[str],
        n: int = 10,
        filter_seen: bool = True,
        num_threads: int | None = None,
        verbose: bool = False,
        user_representations: Representations | None = None,
    ) -> Written:
        """Write the best items of all users to Parquet, in memory that does not grow.

        Parameters
        ----------
        model : LightFM
            Trained on these shards.
        path : path
            A folder, which gets a folder ``shard-00000`` and so on for each shard. The same call again goes on after an
            interruption, as :meth:`lightfm_fast.LightFM.recommend_to` does; readers of Parquet read all folders as one
            table. Such folders of earlier shards are removed, and anything else in ``path`` is refused. Or a name that
            ends in .parquet: one file, made of such folders in ``path`` + ".parts", which are then removed.
        n, num_threads, verbose
            As in :meth:`lightfm_fast.LightFM.recommend_to`.
        filter_seen : bool
            Leave out what a user has in these shards.
        user_representations : Representations, optional
            As in :meth:`evaluate`.

        Returns
        -------
        Written

        Raises
        ------
        ValueError, OSError
            As :meth:`lightfm_fast.LightFM.recommend_to`; also if the model has other users or items.
        """
        self._check_model(model, user_representations)
        filter_seen, verbose = check_flag(filter_seen, "filter_seen"), check_verbose(verbose)
        path = check_path(path)
        is_file = path.lower().endswith(PARQUET) and not os.path.isdir(path)
        folder = f"{path}.parts" if is_file else path
        os.makedirs(folder, exist_ok=True)
        former = folders_in(folder, manifest.FOLDER, may_hold_others=is_file)
        parts = [os.path.join(folder, manifest.folder_of(number)) for number in range(len(self))]
        total = Written(0, 0, 0)
        for shard in self:
            if user_representations is None:
                biases, embeddings = model.get_user_representations(shard.user_features)
            else:
                rows = slice(shard.first, shard.first + shard.n_users)
                embeddings, biases = (np.array(array[rows]) for array in user_representations)
            written = model.recommend_to(
                os.path.join(parts[shard.number], ""),
                n=n,
                interactions=as_seen(shard.interactions) if filter_seen else None,
                item_features=self.item_features,
                num_threads=num_threads,
                user_representations=Representations(embeddings, biases),
                dataset=self._dataset,
                user_names=shard.user_ids,
                user=self._manifest["columns"]["user"],
                item=self._manifest["columns"]["item"],
                verbose=verbose,
            )
            total = Written(*map(sum, zip(total, written, strict=True)))
        for part in set(former).difference(parts):  # of earlier shards, of which there were more
            shutil.rmtree(part)
        if is_file:
            join_parts(parts, path)
            for part in parts:
                shutil.rmtree(part)
            with contextlib.suppress(OSError):  # somebody else's files keep the folder
                os.rmdir(folder)
        return total

    def fold_in_users(
        self,
        model: LightFM,
        path: str | os.PathLike[str],
        epochs: int = 20,
        num_threads: int = 1,
        verbose: bool = False,
    ) -> Representations:
        """Represent the users of these shards, who came after training, a shard at a time. The model does not change.

        Write such shards by ``like=``, so that items and features have the numbers of training.

        Parameters
        ----------
        model : LightFM
            Trained on other users of the same items.
        path : path
            A new or an empty folder, which gets two files. It is written whole or not at all.
        epochs, num_threads
            As in :meth:`lightfm_fast.LightFM.fold_in_users`.
        verbose : bool
            Print how far it is.

        Returns
        -------
        Representations
            Of all users, by row, mapped read-only from ``embeddings.npy`` and ``biases.npy``. :meth:`recommend_to` and
            :meth:`evaluate` take them.

        Raises
        ------
        ValueError
            If the model has other items or user features, the folder is not new or empty, or folding in diverges.
        OSError
            If the disk is full.
        """
        verbose = check_verbose(verbose)
        n_known = self._count_user_features(model)
        self._check_items(model)
        if self.n_shared > n_known:
            raise ValueError(
                f"the model has {n_known:,} features of users, and the users of these shards share {self.n_shared:,}: "
                "write the shards with like= those of training"
            )
        frozen = model.freeze_items(self.item_features, num_threads)
        with new_folder(path) as folder:
            arrays: dict[str, NDArray[np.float32]] = {}
            for shard in self:
                folded = model.fold_in_users(
                    shard.interactions,
                    self._features_of_newcomers(shard.number, n_known) if self.n_shared else None,
                    self.item_features,
                    epochs,
                    num_threads,
                    frozen,
                )
                for name, array in folded._asdict().items():
                    if name not in arrays:
                        file, shape = os.path.join(folder, f"{name}.npy"), (self.shape[0], *array.shape[1:])
                        arrays[name] = np.lib.format.open_memmap(file, "w+", np.float32, shape)
                        with open(file, "r+b") as made:
                            reserve(made.fileno(), os.path.getsize(file))
                    arrays[name][shard.first : shard.first + shard.n_users] = array
                if verbose:
                    tell(f"{shard.first + shard.n_users:,} of {self.shape[0]:,} users")
            for array in arrays.values():
                array.flush()  # type: ignore[attr-defined]
            del arrays, array
        files = (os.path.join(os.fsdecode(path), f"{name}.npy") for name in Representations._fields)
        return Representations(*map(manifest.map_array, files))

    def _features_of_newcomers(self, number: int, n_known: int) -> sp.csr_matrix:
        """Return the shared features of a shard's users, as :meth:`encode_new_users` gives them, for a model.

        The last of the model's ``n_known`` columns are shared. Where rows are normalized, they are so without the
        users' own features.
        """
        own = self.own_features(number)
        n_users = own.shape[0]
        is_own = own.indices < n_users
        shared = own[:, n_users:]
        weights = np.bincount(own.indices[is_own], own.data[is_own], n_users)
        sums = np.asarray(abs(shared).sum(axis=1, dtype=np.float64)).ravel()
        divisors = np.where((weights != 1) & (sums > 0), sums, 1)
        data = (shared.data / np.repeat(divisors, np.diff(shared.indptr))).astype(np.float32)
        arrays = data, shared.indices + (n_known - self.n_shared), shared.indptr
        return sp.csr_matrix(arrays, shape=(n_users, n_known))

    def _without_features(self, model: LightFM) -> LightFM:
        """Return a model whose items score as a model's do, with room for the users of the largest shard."""
        biases, embeddings = model.get_item_representations(self.item_features)
        n_users = int(np.diff(self.starts).max())
        parameters = {"no_components": embeddings.shape[1], "loss": model.loss}
        nothing = np.zeros(0, np.float32), (np.zeros(0, np.int32), np.zeros(0, np.int32))
        made = LightFM(**parameters).fit_partial(sp.coo_matrix(nothing, shape=(n_users, len(biases))), epochs=0)
        made.item_embeddings, made.item_biases = embeddings, biases
        return made

    def _check_same(self, train: ShardedDataset | None) -> None:
        if train is None:
            return
        if not isinstance(train, ShardedDataset):
            raise TypeError(f"train is {shorten(train)}, expected a ShardedDataset")
        if train.shape != self.shape or not np.array_equal(train.starts, self.starts):
            raise ValueError(
                f"train has shape {train.shape} in {counted(len(train), 'shard')}, and the test {self.shape} in "
                f"{len(self):,}: take both from split(), which numbers users alike"
            )

    def _check_model(self, model: LightFM, user_representations: Representations | None) -> None:
        n_known, n_columns = self._count_user_features(model), self.shape[0] + self.n_shared
        if user_representations is not None:
            if not isinstance(user_representations, Representations):
                raise TypeError(
                    f"user_representations is {shorten(user_representations)}, expected what fold_in_users returned"
                )
            if len(user_representations.biases) != self.shape[0]:
                raise ValueError(
                    f"user_representations has {len(user_representations.biases):,} users, and the shards have "
                    f"{self.shape[0]:,}: take what fold_in_users of these shards returned"
                )
        elif n_known != n_columns:
            known, own = f"{n_known:,} users", f"{n_columns:,}"
            if self.n_shared:
                known = f"{n_known:,} features of users"
                own = f"{n_columns:,}, with one for each of {self.shape[0]:,} users"
            raise ValueError(
                f"the model was trained for {known}, and the shards have {own}: take the shards of training or a part "
                "of their split(), or pass user_representations, which fold_in_users makes of new users"
            )
        self._check_items(model)

    def _check_items(self, model: LightFM) -> None:
        n_items = 0 if model.item_biases is None else len(model.item_biases)
        if self.item_features is None and n_items != self.shape[1]:
            raise ValueError(
                f"the model was trained for {n_items:,} items, and the shards have {self.shape[1]:,}: write shards of "
                "new users with like= those of training"
            )

    def _count_user_features(self, model: LightFM) -> int:
        if not isinstance(model, LightFM):
            raise TypeError(f"model is {shorten(model)}, expected a LightFM that was trained on shards")
        if model.user_biases is None:
            raise ValueError("the model is not fitted: call fit with the shards of training first")
        return len(model.user_biases)


def _check_scratch(scratch: str | os.PathLike[str] | None) -> str | None:
    """Return the absolute path of a folder, if one is given; FileNotFoundError if it does not exist."""
    if scratch is None:
        return None
    folder = os.path.abspath(check_path(scratch, "scratch"))
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"scratch: there is no folder {folder}: make it, or name one that exists")
    return folder
