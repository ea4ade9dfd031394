"""Number ids and feature names, and build the matrices that a model is trained on."""

from __future__ import annotations

import copy
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._arguments import (
    check_choice,
    check_finite_number,
    check_flag,
    check_row_widths,
    check_weights,
    shorten,
)
from ..design import DesignMatrix, design_matrix
from .frames import check_column, column_name
from .interactions import DUPLICATES, Details, Interactions, in_microseconds, merge_duplicates, read_rows
from .missing import check_missing_ids
from .rows import Entries, batches, concatenate
from .side import Side, UnknownIdsError, distinct_names

_UNKNOWN = ("raise", "skip", "add")


class Dataset:
    """Number user ids, item ids and feature names, and build matrices of interactions and features from them.

    An id or a name is text, a whole number, a UUID, a float, a boolean, bytes, None or a tuple of these: the types
    that can be saved with a model. Ids and names are numbered from 0 in the order in which they are first seen. Every
    iterable is consumed once, so generators are welcome. A call that raises leaves the mappings unchanged.

    Parameters
    ----------
    user_identity_features : bool, default True
        Give every user an identity feature, named by the user's id. Turn it off where users have too few
        interactions to learn an embedding each.
    item_identity_features : bool, default True
        The same for items.

    Examples
    --------
    >>> dataset = Dataset()
    >>> dataset.fit(users=["ann", "bob"], items=["dune", "emma"], item_features=["novel"])
    >>> interactions, weights = dataset.build_interactions([("ann", "dune"), ("bob", "emma", 3.0)])
    >>> weights.toarray().tolist()
    [[1.0, 0.0], [0.0, 3.0]]
    >>> dataset.build_item_features([("emma", ["novel"])]).toarray().tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]]

    From frames: data frames of any library that narwhals reads, or dicts of columns:

    >>> dataset = Dataset.from_tables({"user_id": ["ann", "bob", "ann"], "item_id": [7, 7, 9]})
    >>> dataset.interactions.toarray().tolist()
    [[1, 1], [1, 0]]

    Attributes
    ----------
    interactions, weights : scipy.sparse.coo_matrix, or None
    timestamps : array or None
    n_skipped : int
        The content of the frame that :meth:`from_tables` read; see :class:`Interactions`.
    n_missing : int
        How many rows it left out because they have no user or no item; 0 unless ``missing_ids="skip"``.
    first_skipped : tuple of (row, "user" or "item", id), or None
        The first row that :meth:`from_tables` left out, counted from 0, and its unknown id.
    user_features, item_features : scipy.sparse.csr_matrix, or None
        The features that :meth:`from_tables` built. None where there are identity features only, as for a model.
    """

    def __init__(self, user_identity_features: bool = True, item_identity_features: bool = True) -> None:
        self._forget(user_identity_features, item_identity_features)

    @classmethod
    def from_tables(
        cls,
        interactions: Any,
        users: Any = None,
        items: Any = None,
        *,
        user: Hashable = "user_id",
        item: Hashable = "item_id",
        value: Hashable | None = None,
        positive_from: float | None = None,
        weight: Hashable | None = None,
        time: Hashable | None = None,
        user_features: Any = None,
        item_features: Any = None,
        duplicates: str = "sum",
        unknown: str = "raise",
        missing_ids: str = "raise",
        user_identity_features: bool = True,
        item_identity_features: bool = True,
        normalize: bool | None = None,
    ) -> Dataset:
        """Make a dataset of frames, with their matrices as attributes.

        A frame is a data frame of pandas, polars, pyarrow or any other library that narwhals reads, or a dict from
        column name to array, list or column.

        Parameters
        ----------
        interactions : frame
            A row for each interaction.
        users, items : frame, optional
            A row for each known user (item), with the ids in column ``user`` (``item``). Ids are numbered in this
            order. By default the ids in ``interactions`` are the known ones. If one frame has ids as text and the
            other has whole numbers or UUIDs, text is matched by the number or UUID that it spells. If a frame has
            two ids that spell the same, neither is matched.
        user, item : hashable
            Names of the columns of ids: text or, in pandas, whole numbers or tuples. Columns that no argument names
            are not read.
        value : hashable, optional
            Column of values. A value above 0 is a positive. Another value is a negative to the logistic loss, and is
            ignored by ranking losses. Only the sign matters. By default every row is a positive.
        positive_from : float, optional
            The least value that is a positive, such as 4 of 5 stars. Each row's value becomes 1 from there on and -1
            below, before ``duplicates`` are merged. By default values keep their sign, so that every rating of 1 to 5
            stars is a positive.
        weight : hashable, optional
            Column of weights of 0 or more, which multiply the loss of each row's sample. By default 1.
        time : hashable, optional
            Column of numbers, dates or datetimes. Datetimes with a time zone are converted to UTC.
        user_features, item_features : list of columns, or encoder, optional
            Features of users (items) besides their identity. Columns in a list are categories: each value is a feature
            named ``column:value``. An encoder is an object with ``fit``, ``transform`` and ``get_feature_names_out``,
            such as a ``lightfm_fast.features.FeatureSpec``. It is fitted to ``users`` (``items``) and makes a matrix
            with a row for each row of the frame.
        duplicates : {"sum", "max", "last", "error"}
            How to merge rows with the same user and item. ``"sum"`` and ``"max"`` merge values and weights
            separately, and keep the latest time. ``"last"`` keeps the latest row, by ``time`` where it is given and by
            order in the frame otherwise. ``"error"`` refuses duplicates.
        unknown : {"raise", "skip", "add"}
            What to do with rows of ``interactions`` whose ids ``users`` or ``items`` do not list. "raise" refuses
            them, "skip" leaves them out and counts them in ``n_skipped``, "add" numbers the ids after the known ones.
        missing_ids : {"raise", "skip"}
            What to do with rows of any frame without an id of a user or an item: None, NaN or null. "raise" refuses
            them. "skip" leaves them out, counts those of ``interactions`` in ``n_missing``, and logs all at level INFO.
        user_identity_features, item_identity_features : bool
            As in the constructor. An encoder that makes identity features, such as
            ``FeatureSpec(..., identity="keep")``, needs False.
        normalize : bool, optional
            Divide every row of features by the sum of its absolute weights, as :meth:`build_user_features` does. By
            default True for lists of columns and False for encoders. The encoders of a ``FeatureSpec`` normalize each
            field separately; dividing the whole row would shrink the identity feature of a row with many tags.

        Raises
        ------
        TypeError
            If an argument is no frame, a column holds the wrong kind of values, features are neither a list nor an
            encoder, or the name of a column is of a type that cannot be saved.
        ValueError
            If a column, an id, a value or a time is missing, an id is unknown or listed twice, no row is left, rows
            cannot be normalized, or there would be two identity features for each id.

        Examples
        --------
        >>> dataset = Dataset.from_tables(
        ...     {"user_id": ["ann", "bob", "ann"], "item_id": ["dune", "dune", "dune"], "stars": [3, 5, 1]},
        ...     items={"item_id": ["dune", "emma"], "genre": ["novel", "novel"]},
        ...     weight="stars",
        ...     item_features=["genre"],
        ... )
        >>> dataset.weights.toarray().tolist()
        [[4.0, 0.0], [5.0, 0.0]]
        >>> dataset.item_features.toarray().tolist()
        [[0.5, 0.0, 0.5], [0.0, 0.5, 0.5]]
        """
        check_choice(duplicates, "duplicates", DUPLICATES)
        check_choice(unknown, "unknown", _UNKNOWN)
        check_missing_ids(missing_ids)
        if positive_from is not None:
            if value is None:
                raise ValueError(
                    "positive_from is the smallest value that is a positive: name the column of values by value="
                )
            positive_from = check_finite_number(positive_from, "positive_from")
        user, item = check_column(user, "user"), check_column(item, "item")
        if user == item:
            raise ValueError(f"user and item are both column {user!r}: name the column of each")
        value, weight, time = (
            check_column(column, name) for name, column in (("value", value), ("weight", weight), ("time", time))
        )
        dataset = cls(user_identity_features, item_identity_features)
        dataset._positive_from = positive_from
        dataset._columns = {"value": value, "weight": weight, "time": time}
        sides = ((dataset._users, user, users, user_features), (dataset._items, item, items, item_features))
        frames = []
        for side, id_column, frame, features in sides:
            side.id_column = id_column
            side.take_encoder(frame, features, normalize)
            frames.append(side.with_ids(frame, missing_ids))
            if frame is not None:
                side.add_ids(side.read_ids(frames[-1], missing_ids)[1])
        unknowns = ["add" if frame is None else unknown for frame in frames]
        read, dataset.first_skipped = dataset._read_interactions(interactions, duplicates, unknowns, missing_ids)
        dataset.interactions, dataset.weights, dataset.timestamps, dataset.n_skipped, dataset.n_missing = read
        dataset.user_features, dataset.item_features = map(Side.fit_encode, dataset._sides, frames)
        return dataset

    def build_interactions_from_table(
        self, interactions: Any, duplicates: str = "sum", unknown: str = "raise", missing_ids: str = "raise"
    ) -> Interactions:
        """Build the matrices of a later frame with the columns that :meth:`from_tables` was given.

        Parameters
        ----------
        interactions : frame
            A row for each interaction.
        duplicates : {"sum", "max", "last", "error"}
            As in :meth:`from_tables`.
        unknown : {"raise", "skip", "add"}
            Refuse rows with unknown ids, leave the rows out and count them, or number the ids after the known ones.
            The last makes matrices larger than earlier ones, for which a trained model has no embeddings.
        missing_ids : {"raise", "skip"}
            As in :meth:`from_tables`.

        Returns
        -------
        Interactions

        Raises
        ------
        TypeError, ValueError
            In the cases of :meth:`from_tables`; the mappings stay unchanged.
        """
        check_choice(duplicates, "duplicates", DUPLICATES)
        check_choice(unknown, "unknown", _UNKNOWN)
        check_missing_ids(missing_ids)
        return self._read_interactions(interactions, duplicates, [unknown, unknown], missing_ids)[0]

    def build_user_features_from_table(
        self, users: Any, unknown: str = "raise", normalize: bool | None = None, missing_ids: str = "raise"
    ) -> sp.csr_matrix:
        """Build the matrix of user features of a frame with the encoder that :meth:`from_tables` was given.

        Parameters
        ----------
        users : frame
            A row for each user. A known user without a row gets identity features only, if the dataset has them.
        unknown : {"raise", "skip"}
            Refuse rows with unknown ids, or leave the rows out. :meth:`fit_partial` makes ids known.
        normalize : bool, optional
            Divide every row by the sum of its absolute weights; by default as :meth:`from_tables` did.
        missing_ids : {"raise", "skip"}
            As in :meth:`from_tables`.

        Returns
        -------
        scipy.sparse.csr_matrix of float32, shape (n_users, n_user_features)

        Raises
        ------
        TypeError, ValueError
            In the cases of :meth:`from_tables`, or if it was given no ``user_features``.
        """
        check_choice(unknown, "unknown", _UNKNOWN[:2])
        return self._users.encode(self._users.with_ids(users, check_missing_ids(missing_ids)), unknown, normalize)

    def build_item_features_from_table(
        self, items: Any, unknown: str = "raise", normalize: bool | None = None, missing_ids: str = "raise"
    ) -> sp.csr_matrix:
        """Build the matrix of item features of a frame; see :meth:`build_user_features_from_table`."""
        check_choice(unknown, "unknown", _UNKNOWN[:2])
        return self._items.encode(self._items.with_ids(items, check_missing_ids(missing_ids)), unknown, normalize)

    def extended(
        self,
        interactions: Any = None,
        users: Any = None,
        items: Any = None,
        duplicates: str = "sum",
        unknown: str = "add",
        missing_ids: str = "raise",
    ) -> Dataset:
        """Return a dataset that also has the rows of later frames; this dataset stays as it is.

        New ids and their identity features are numbered after the known ones, so that
        :meth:`lightfm_fast.LightFM.fit_partial` can continue training. The encoders stay as they were fitted.

        Parameters
        ----------
        interactions : frame, optional
            With the columns that :meth:`from_tables` was given. Rows are merged with the known ``interactions``.
            Without times, the known rows count as earlier.
        users, items : frame, optional
            A row for each user (item). A row for a known user (item) replaces its features; a new user (item) is added.
            New ids without a row get identity features only.
        duplicates : {"sum", "max", "last", "error"}
            As in :meth:`from_tables`.
        unknown : {"raise", "skip", "add"}
            What to do with ids of ``interactions`` that neither this dataset nor the frames list.
        missing_ids : {"raise", "skip"}
            As in :meth:`from_tables`.

        Returns
        -------
        Dataset
            Its ``n_skipped``, ``first_skipped`` and ``n_missing`` tell of the rows that were left out.

        Raises
        ------
        TypeError, ValueError
            In the cases of :meth:`from_tables`.
        """
        check_choice(duplicates, "duplicates", DUPLICATES)
        check_choice(unknown, "unknown", _UNKNOWN)
        check_missing_ids(missing_ids)
        dataset = copy.copy(self)
        dataset._users, dataset._items = self._users.copied(), self._items.copied()
        dataset.n_skipped, dataset.first_skipped, dataset.n_missing = 0, None, 0
        frames = [side.with_ids(frame, missing_ids) for side, frame in zip(self._sides, (users, items), strict=True)]
        numbers = [
            None if frame is None else side.extend(frame, missing_ids)
            for side, frame in zip(dataset._sides, frames, strict=True)
        ]
        if interactions is not None:
            unknowns = [unknown, unknown]
            read, dataset.first_skipped = dataset._read_interactions(interactions, duplicates, unknowns, missing_ids)
            dataset._merge(read, duplicates)
        elif self.interactions is not None and self.weights is not None:
            dataset.interactions, dataset.weights = (
                sp.coo_matrix((matrix.data, (matrix.row, matrix.col)), shape=dataset.interactions_shape())
                for matrix in (self.interactions, self.weights)
            )
        known = (self.user_features, self.item_features)
        dataset.user_features, dataset.item_features = map(Side.encode_more, dataset._sides, known, frames, numbers)
        return dataset

    @property
    def user_side(self) -> Side:
        """The users: their ids, features and encoder."""
        return self._users

    @property
    def item_side(self) -> Side:
        """The items: their ids, features and encoder."""
        return self._items

    def with_users(self, users: Side) -> Dataset:
        """Return a dataset of the same items and other users, without interactions."""
        dataset = copy.copy(self)
        dataset._users = users
        dataset.interactions = dataset.weights = dataset.timestamps = dataset.user_features = None
        return dataset

    def reading_values(self) -> Dataset:
        """Return the dataset as a reader of ids and values alone: frames need no columns of weights and times."""
        dataset = copy.copy(self)
        dataset._columns = {**self._columns, "weight": None, "time": None}
        return dataset

    def encode_new_users(self, users: Any, encoder: Any = None) -> sp.csr_matrix:
        """Encode new users by the features that the dataset knows.

        Parameters
        ----------
        users : frame
            A row for each user, with the columns that ``encoder`` reads. Ids are not needed.
        encoder : object with transform and get_feature_names_out, optional
            By default the one that :meth:`from_tables` was given as ``user_features``, which is saved with the dataset.

        Returns
        -------
        scipy.sparse.csr_matrix of float32, shape (n_rows, n_user_features)
            Weights as the encoder makes them, without identity features, for ``predict``, ``recommend`` and
            ``fold_in_users``. A row without known features stays empty, and its scores are the items' biases.

        Raises
        ------
        TypeError, ValueError
            If the encoder refuses the frame, or makes features that the dataset does not have; or if there is none.
        """
        return self._users.encode_newcomers(users, encoder)

    def encode_new_items(self, items: Any, encoder: Any = None) -> sp.csr_matrix:
        """Encode items that the dataset does not know; see :meth:`encode_new_users`."""
        return self._items.encode_newcomers(items, encoder)

    def fit(
        self,
        users: Iterable[Hashable],
        items: Iterable[Hashable],
        user_features: Iterable[Hashable] | None = None,
        item_features: Iterable[Hashable] | None = None,
    ) -> None:
        """Assign numbers to ids and feature names, and forget all earlier ones.

        Parameters
        ----------
        users, items : iterable of hashable
            The ids; repeats are ignored.
        user_features, item_features : iterable of hashable, optional
            The names of features besides the identity features.

        Raises
        ------
        TypeError
            If an argument is not iterable or is text, or an id is not hashable.
        ValueError
            If an id or a name is of a type that cannot be saved with a model, such as a timestamp.
        """
        arguments = [distinct_names(names) for names in (users, items, user_features, item_features)]
        self._forget(*(side.has_identity for side in self._sides))
        self.fit_partial(*arguments)

    def fit_partial(
        self,
        users: Iterable[Hashable] | None = None,
        items: Iterable[Hashable] | None = None,
        user_features: Iterable[Hashable] | None = None,
        item_features: Iterable[Hashable] | None = None,
    ) -> None:
        """Assign numbers to new ids and feature names, after the existing ones.

        Existing numbers stay. A model trained before has no embeddings for the new rows and columns.

        Parameters
        ----------
        users, items : iterable of hashable, optional
            The ids; known ones and repeats are ignored.
        user_features, item_features : iterable of hashable, optional
            The names of features besides the identity features.

        Raises
        ------
        TypeError
            If an argument is not iterable or is text, or an id is not hashable.
        ValueError
            If an id or a name is of a type that cannot be saved with a model, such as a timestamp.
        """
        users, items = distinct_names(users), distinct_names(items)
        user_features, item_features = distinct_names(user_features), distinct_names(item_features)
        for side, ids, features in ((self._users, users, user_features), (self._items, items, item_features)):
            side.add_ids(ids)
            side.add_features(features)

    def build_interactions(self, data: Iterable[Collection[Any]]) -> tuple[sp.coo_matrix, sp.coo_matrix]:
        """Build the matrix of interactions and the matrix of their weights.

        Parameters
        ----------
        data : iterable of (user id, item id) or (user id, item id, weight)
            The two forms may be mixed. A missing weight is 1. Duplicates stay separate entries.

        Returns
        -------
        interactions : scipy.sparse.coo_matrix of int32, shape (n_users, n_items)
            A 1 for every row of ``data``, in the order of ``data``.
        weights : scipy.sparse.coo_matrix of float32, shape (n_users, n_items)
            The weights, entry for entry beside ``interactions``. ``fit`` takes weights of 0 or more as
            ``sample_weight``.

        Raises
        ------
        ValueError
            If the dataset has not been fitted, an id is unknown, a row is neither a pair nor a triple, or a
            weight is not finite in single precision.
        TypeError
            If a row has no length or a weight is not a real number.
        """
        for side in self._sides:
            side.check_known()
        rows, columns, weights = concatenate(map(self._interaction_entries, batches(data)))
        ones = np.ones(len(weights), np.int32)
        shape = self.interactions_shape()
        # copy=True: the two matrices must not share index arrays, or editing one would edit the other.
        interactions = sp.coo_matrix((ones, (rows, columns)), shape=shape, copy=True)
        return interactions, sp.coo_matrix((weights, (rows, columns)), shape=shape)

    def build_user_features(
        self, data: Iterable[tuple[Hashable, Iterable[Hashable]]], normalize: bool = True
    ) -> sp.csr_matrix:
        """Build the matrix of user features.

        Parameters
        ----------
        data : iterable of (user id, features)
            ``features`` is an iterable of names, each of weight 1, or a mapping from name to weight. Duplicates of a
            user and a feature are summed.
        normalize : bool, default True
            Divide every row by the sum of its absolute weights, so that non-negative weights sum to 1.

        Returns
        -------
        scipy.sparse.csr_matrix of float32, shape (n_users, n_user_features)
            Identity features, if the dataset has them, have weight 1 before normalization.

        Raises
        ------
        ValueError
            If the dataset has not been fitted, an id or a name is unknown, a row is not a pair, a weight is
            not finite in single precision, or ``normalize`` meets a user whose weights are all zero.
        TypeError
            If features are not iterable or a weight is not a real number.
        """
        return self._users.build_features(data, normalize)

    def build_item_features(
        self, data: Iterable[tuple[Hashable, Iterable[Hashable]]], normalize: bool = True
    ) -> sp.csr_matrix:
        """Build the matrix of item features, as :meth:`build_user_features` does for users.

        Parameters
        ----------
        data : iterable of (item id, features)
            ``features`` is an iterable of names, each of weight 1, or a mapping from name to weight.
        normalize : bool, default True
            Divide every row by the sum of its absolute weights.

        Returns
        -------
        scipy.sparse.csr_matrix of float32, shape (n_items, n_item_features)

        Raises
        ------
        ValueError, TypeError
            In the cases of :meth:`build_user_features`.
        """
        return self._items.build_features(data, normalize)

    def design_matrix(
        self, interactions: Any, user_features: Any = None, item_features: Any = None, context: Any = None
    ) -> DesignMatrix:
        """Unroll interactions into a row each, with names; see :func:`lightfm_fast.design.design_matrix`."""
        return design_matrix(interactions, user_features, item_features, context, self.mapping())

    def __repr__(self) -> str:
        return f"Dataset({', '.join(f'{count} {what}' for what, count in self._counts())})"

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><th>{what}</th><td>{count}</td></tr>" for what, count in self._counts())
        return f"<table><caption>Dataset</caption>{rows}</table>"

    def _counts(self) -> list[tuple[str, str]]:
        n_users, n_items = self.interactions_shape()
        counts = [("users", n_users), ("items", n_items)]
        if self.interactions is not None:
            counts.append(("interactions", self.interactions.nnz))
        if self.n_skipped:
            counts.append(("skipped rows", self.n_skipped))
        if self.n_missing:
            counts.append(("incomplete rows", self.n_missing))
        counts += [(f"{side.name} features", len(side.features)) for side in self._sides]
        return [(what[:-1] if count == 1 else what, f"{count:,}") for what, count in counts]

    @property
    def columns(self) -> dict[str, Hashable]:
        """Names of the columns of frames: of "user" and "item", and of "value", "weight" and "time" or None."""
        return {**{side.name: side.id_column for side in self._sides}, **self._columns}

    @property
    def positive_from(self) -> float | None:
        """The least value that is a positive, as :meth:`from_tables` was given it."""
        return self._positive_from

    @property
    def encoders(self) -> dict[str, Any]:
        """The encoders of "user" and "item" features that :meth:`from_tables` was given, or None."""
        return {side.name: side.encoder for side in self._sides}

    def interactions_shape(self) -> tuple[int, int]:
        """Return (number of users, number of items)."""
        return len(self._users.ids), len(self._items.ids)

    def user_features_shape(self) -> tuple[int, int]:
        """Return (number of users, number of user features)."""
        return self._users.shape

    def item_features_shape(self) -> tuple[int, int]:
        """Return (number of items, number of item features)."""
        return self._items.shape

    def model_dimensions(self) -> tuple[int, int]:
        """Return (number of user features, number of item features): the embeddings a model needs."""
        return len(self._users.features), len(self._items.features)

    def mapping(
        self,
    ) -> tuple[dict[Hashable, int], dict[Hashable, int], dict[Hashable, int], dict[Hashable, int]]:
        """Return the number of each id and each feature.

        Returns
        -------
        user_ids, user_features, item_ids, item_features : dict
            From id or name to row or column number. The dicts are not copies: :meth:`fit_partial` extends them in
            place, and :meth:`fit` starts new ones.
        """
        return self._users.ids, self._users.features, self._items.ids, self._items.features

    def to_state(self) -> dict[str, Any]:
        """Return everything but the matrices: settings, fitted encoders, and ids and names in the order of numbers."""
        return {
            **{f"{side.name}_identity_features": side.has_identity for side in self._sides},
            **{f"{side.name}_ids": list(side.ids) for side in self._sides},
            **{f"{side.name}_features": list(side.features) for side in self._sides},
            "columns": self.columns,
            "positive_from": self._positive_from,
            "normalize": {side.name: side.normalize for side in self._sides},
            "encoders": self.encoders,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Dataset:
        """Make the dataset whose :meth:`to_state` gave ``state``.

        Raises
        ------
        ValueError
            If an id or a name is there twice, or ids have no identity features or encoders make features that the
            dataset does not have.
        """
        names = [f"{side}_identity_features" for side in ("user", "item")]
        dataset = cls(*(check_flag(state[name], name) for name in names))
        dataset._take_settings(state)
        for side in dataset._sides:
            for kind, numbers in (("ids", side.ids), ("features", side.features)):
                given = state[f"{side.name}_{kind}"]
                numbers.update(zip(given, range(len(given)), strict=True))
                if len(numbers) != len(given):
                    raise ValueError(f"{side.name}_{kind} has {len(given):,} names, some of them more than once")
            if side.has_identity:
                side.columns_of(side.ids)
            if side.encoder is not None:
                side.check_encoder()
        return dataset

    @property
    def _sides(self) -> tuple[Side, Side]:
        return self._users, self._items

    def _forget(self, user_identity_features: bool, item_identity_features: bool) -> None:
        self._users = Side("user", check_flag(user_identity_features, "user_identity_features"))
        self._items = Side("item", check_flag(item_identity_features, "item_identity_features"))
        self.interactions: sp.coo_matrix | None = None
        self.weights: sp.coo_matrix | None = None
        self.timestamps: NDArray[Any] | None = None
        self.n_skipped = self.n_missing = 0
        self.first_skipped: tuple[int, str, Hashable] | None = None
        self.user_features: sp.csr_matrix | None = None
        self.item_features: sp.csr_matrix | None = None
        self._columns: dict[str, Any] = dict.fromkeys(("value", "weight", "time"))
        self._positive_from: float | None = None

    def _take_settings(self, state: Mapping[str, Any]) -> None:
        columns = {name: column_name(state["columns"][name]) for name in ("user", "item", *self._columns)}
        for name, column in columns.items():
            parts = column if isinstance(column, tuple) else (column,)
            if not all(isinstance(part, (str, int, float, type(None))) for part in parts):
                raise ValueError(f"the column of {name} is {column!r}, expected a name")
        for side in self._sides:
            side.id_column = columns.pop(side.name)
            side.normalize = check_flag(state["normalize"][side.name], "normalize")
            side.encoder = state["encoders"][side.name]
        self._columns = columns
        if state["positive_from"] is not None:
            self._positive_from = check_finite_number(state["positive_from"], "positive_from")

    def _read_interactions(
        self,
        frame: Any,
        duplicates: str,
        unknown: Sequence[str],
        missing_ids: str,
        may_have_no_users: bool = False,
    ) -> tuple[Interactions, tuple[int, str, Hashable] | None]:
        """Return the matrices of a frame, and its first row with an id to be skipped.

        ``unknown`` holds the choice for unknown users and the choice for unknown items. New ids are added last, so that
        an error leaves the mappings unchanged.
        """
        id_columns = [side.id_column for side in self._sides]
        ids, details, has_ids = read_rows(frame, id_columns, self._columns, self._positive_from, missing_ids)
        found = [side.match(*column, how) for side, column, how in zip(self._sides, ids, unknown, strict=True)]
        (rows, new_users), (columns, new_items) = found
        shape = (len(self._users.ids) + len(new_users), len(self._items.ids) + len(new_items))
        n_rows, first_skipped = len(rows), None
        if "skip" in unknown and not (is_known := (rows >= 0) & (columns >= 0)).all():
            row = int(is_known.argmin())
            number = 0 if rows[row] < 0 else 1
            side, (codes, distinct) = self._sides[number], ids[number]
            of_frame = row if has_ids is None else int(np.flatnonzero(has_ids)[row])
            first_skipped = (of_frame, side.name, distinct[codes[row]])
            if not is_known.any():
                raise UnknownIdsError(
                    f"all {n_rows:,} rows of interactions have ids unknown to the dataset, {side.name} "
                    f"{shorten(first_skipped[2])} first; it knows {side.describe_known()}"
                )
            rows, columns, details = rows[is_known], columns[is_known], details.of_rows(is_known)
        if not shape[1] or not (shape[0] or may_have_no_users):
            raise ValueError(
                "interactions has no rows, and no users or items are known: give rows, or users= and items="
            )
        merged = merge_duplicates(rows, columns, details, shape, duplicates)
        self._users.add_ids(new_users)
        self._items.add_ids(new_items)
        n_missing = 0 if has_ids is None else len(has_ids) - n_rows
        return Interactions(*merged, n_rows - len(rows), n_missing), first_skipped

    def build_interactions_of_newcomers(
        self,
        interactions: Any,
        users: Collection[Hashable] | None = None,
        duplicates: str = "sum",
        unknown: str = "raise",
        missing_ids: str = "raise",
    ) -> tuple[list[Hashable], sp.coo_matrix]:
        """Build the matrix of a frame with the known items, whose users the dataset does not know.

        Parameters
        ----------
        interactions : frame
            With the columns that :meth:`from_tables` was given, except that weights are not read, and times only for
            ``duplicates="last"``.
        users : collection of ids, optional
            The newcomers, in the order of the rows; by default those in the frame.
        duplicates : {"sum", "max", "last", "error"}
        unknown : {"raise", "skip"}
            What to do with rows of other users or items.
        missing_ids : {"raise", "skip"}
            What to do with rows without an id, as in :meth:`from_tables`.

        Returns
        -------
        users : list
            The id of each row.
        interactions : scipy.sparse.coo_matrix, shape (n_newcomers, n_items)

        Raises
        ------
        TypeError, ValueError
            In the cases of :meth:`from_tables`.
        """
        check_choice(duplicates, "duplicates", DUPLICATES)
        check_choice(unknown, "unknown", _UNKNOWN[:2])
        check_missing_ids(missing_ids)
        newcomers = copy.copy(self)
        newcomers._users = Side("user", has_identity=False)
        newcomers._users.id_column = self._users.id_column
        newcomers._columns = {**self._columns, "weight": None}
        if duplicates != "last":
            newcomers._columns["time"] = None
        newcomers._users.add_ids(distinct_names(users))
        of_users = "add" if users is None else unknown
        read, _ = newcomers._read_interactions(interactions, duplicates, [of_users, unknown], missing_ids, True)
        return list(newcomers._users.ids), read.interactions

    def _merge(self, read: Interactions, duplicates: str) -> None:
        """Take interactions that were read, merged with the known ones."""
        self.n_skipped, self.n_missing = read.n_skipped, read.n_missing
        if self.interactions is None or self.weights is None:
            self.interactions, self.weights, self.timestamps = read[:3]
            return
        (rows, columns, values), (_, _, weights) = (
            [np.concatenate([getattr(matrix, part) for matrix in pair]) for part in ("row", "col", "data")]
            for pair in ((self.interactions, read.interactions), (self.weights, read.weights))
        )
        times = [part for part in (self.timestamps, read.timestamps) if part is not None]
        filled = [part for part in times if len(part)]
        if len(filled) == 1:  # rows that are none have times of no kind
            times = [part.astype(filled[0].dtype) for part in times]
        if len({part.dtype for part in times if part.dtype.kind == "M"}) == 2:  # a year may not fit in nanoseconds
            times = [in_microseconds(part, f"column {self._columns['time']!r}") for part in times]
        if len({part.dtype.kind == "M" for part in times}) == 2:
            kinds = ["dates" if part.dtype.kind == "M" else "numbers" for part in times]
            raise TypeError(
                f"column {self._columns['time']!r} has {kinds[1]} but {kinds[0]} in the known interactions: convert it"
            )
        details = Details(
            None if self._columns["value"] is None else values,
            weights,
            np.concatenate(times) if len(times) == 2 else None,
        )
        merged = merge_duplicates(rows, columns, details, self.interactions_shape(), duplicates)
        self.interactions, self.weights, self.timestamps = merged

    def _interaction_entries(self, batch: list[Collection[Any]]) -> Entries:
        widths = check_row_widths(batch, {2, 3}, "(user id, item id) or (user id, item id, weight)")
        if widths == {2, 3}:
            batch = [row if len(row) == 3 else (*row, 1.0) for row in batch]
        width = max(widths)
        # Slices of one flat list: rows may be anything that iterates, and zip(*batch) is ten times slower.
        values = list(chain.from_iterable(batch))
        return (
            self._users.rows_of(values[0::width]),
            self._items.rows_of(values[1::width]),
            check_weights(values[2::width]) if width == 3 else np.ones(len(batch), np.float32),
        )
