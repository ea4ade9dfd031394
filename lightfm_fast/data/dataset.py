"""Ids and feature names on one side, rows and columns of the matrices a model is trained on, on the other."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, count, islice, repeat
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._validation import (
    check_choice,
    check_features,
    check_finite_number,
    check_flag,
    check_number_column,
    check_row_widths,
    check_timestamps,
    check_weights,
)
from ..design import DesignMatrix, design_matrix
from .categories import CategoricalColumns
from .columns import as_column, read_numbers, read_times
from .frames import column_name, read_columns
from .ids import check_ids_can_be_saved
from .interactions import DUPLICATES, Interactions, merge_duplicates
from .numbering import factorize, match_ids

# Only this many rows are held as Python objects at a time, so a generator of any length streams through.
_BATCH_ROWS = 1 << 14

_Triples = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]
_NO_TRIPLES: _Triples = (np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32))


_SIDES = ("user", "item")
_UNKNOWN = ("raise", "skip", "add")


class UnknownIdsError(ValueError):
    """Rows name ids that the dataset does not know; ``problem`` says so without Python's way out."""

    def __init__(self, problem: str, way_out: str = "") -> None:
        super().__init__(f"{problem}: {way_out}" if way_out else problem)
        self.problem = problem


class Dataset:
    """Number user ids, item ids and feature names, and build matrices of interactions and features from them.

    Ids and names are what can be saved with a model: text, whole numbers, UUIDs, floats, booleans, bytes, None and
    tuples of these. They are numbered from 0 in the order they are first seen. All inputs
    are iterables, generators included, and each is consumed once; a call that raises leaves the mappings as
    they were.

    Parameters
    ----------
    user_identity_features : bool, default True
        Give every user a feature of its own, named by the user's id. Turn it off where users have too few
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

    From tables, of any library that narwhals reads or a dict of columns:

    >>> dataset = Dataset.from_tables({"user_id": ["ann", "bob", "ann"], "item_id": [7, 7, 9]})
    >>> dataset.interactions.toarray().tolist()
    [[1, 1], [1, 0]]

    Attributes
    ----------
    interactions, weights : scipy.sparse.coo_matrix, or None
    timestamps : array or None
    n_skipped : int
        What :meth:`from_tables` read, as :class:`Interactions` describes it.
    first_skipped : tuple of (row, "user" or "item", id), or None
        The first row that :meth:`from_tables` left out, counted from 0, and the id that is unknown.
    user_features, item_features : scipy.sparse.csr_matrix, or None
        The features that :meth:`from_tables` built; None where there are identity features only, which is what a
        model takes None for.
    """

    def __init__(self, user_identity_features: bool = True, item_identity_features: bool = True) -> None:
        self._user_identity_features = user_identity_features
        self._item_identity_features = item_identity_features
        self._forget()

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
        user_identity_features: bool = True,
        item_identity_features: bool = True,
        normalize: bool | None = None,
    ) -> Dataset:
        """Make a dataset of tables, with their matrices as attributes, at millions of rows a second.

        A table is a data frame of pandas, polars, pyarrow or any other library that narwhals reads, or a dict from
        column name to array, list or column. Ids are of the types that the class names, and are
        numbered in the order in which they are first seen.

        Parameters
        ----------
        interactions : table
            One row per interaction.
        users, items : table, optional
            One row a user (item), with ``user`` (``item``) as the column of ids. They list the ids that are known,
            in their order; by default those are the ids in ``interactions``. Where one table has ids as text and the
            other as whole numbers or UUIDs, an id is found by what its text spells, unless two ids spell the same.
        user, item : str, or another name of a column
            Columns of the ids. Frames of pandas may have whole numbers or tuples for names, here and below. A column
            that no argument names is not looked at.
        value : str, optional
            Column of what happened: a model takes values above 0 for positives, and others for negatives (logistic
            loss) or not at all (ranking losses); how far above or below makes no difference. By default 1.
        positive_from : float, optional
            The least value that is a positive, such as 4 of 5 stars: values become 1 from there on and -1 below, row
            by row, before ``duplicates`` are merged. By default values stay as they are, so that every rating
            of 1 to 5 stars is a positive.
        weight : str, optional
            Column of how much each row counts: it multiplies the loss of the row's sample. By default 1.
        time : str, optional
            Column of when: numbers, dates or datetimes; those with a time zone are kept in UTC.
        user_features, item_features : list of str, or object with fit, transform and get_feature_names_out, optional
            What describes users (items) beside their ids. Columns named in a list are categories: each value is a
            feature ``column:value``. An object, such as ``lightfm_fast.features.FeatureSpec``, is fitted to
            ``users`` (``items``), transforms it into a matrix of a row for each of its rows, and names the columns.
        duplicates : {"sum", "max", "last", "error"}
            What becomes of rows with the same user and item. ``"sum"`` and ``"max"`` hold for values and for
            weights, each by itself, and keep the latest time; ``"last"`` keeps the latest row, by ``time`` where it
            is given and else by order in the table; ``"error"`` refuses them.
        unknown : {"raise", "skip", "add"}
            What becomes of rows of ``interactions`` whose user (item) is not among ``users`` (``items``): refuse
            them, leave them out and count them in ``n_skipped``, or number their ids after the known ones.
        user_identity_features, item_identity_features : bool
            As in the constructor. An object that makes identity features itself, such as
            ``FeatureSpec(..., identity="keep")``, is taken only where the dataset makes none.
        normalize : bool, optional
            Divide every row of features by the sum of its absolute weights, as :meth:`build_user_features` does. By
            default this is done where columns are named in a list, and the weights that an object made stay as they
            are: the encoders of a ``FeatureSpec`` normalise each field by itself, with an identity of weight 1 beside
            them, and dividing the whole row would make the identity of a row with many tags the smaller the more
            there are.

        Raises
        ------
        TypeError
            If a table is none, a column holds the wrong kind of values, or features cannot be read as described.
        ValueError
            If a column is missing, an id, a value or a time is missing, an id is unknown or repeated where it may
            not be, ``unknown="skip"`` leaves no row, rows cannot be normalised, or there would be two identity
            features for each id.

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
        if positive_from is not None:
            if value is None:
                raise ValueError("positive_from is the least value that is a positive: say with value= which column")
            positive_from = check_finite_number(positive_from, "positive_from")
        dataset = cls(user_identity_features, item_identity_features)
        dataset._positive_from = positive_from
        dataset._columns = {"user": user, "item": item, "value": value, "weight": weight, "time": time}
        sides = (("user", users, user_features), ("item", items, item_features))
        for side, table, features in sides:
            dataset._specs[side] = spec = _feature_spec(side, table, features)
            if getattr(spec, "identity", "drop") != "drop" and dataset._mappings_of(side)[2]:
                raise ValueError(
                    f"{side}_features makes identity features (identity={spec.identity!r}) and so does the dataset: "
                    f"pass {side}_identity_features=False, or an encoder with identity='drop'"
                )
            dataset._normalize[side] = isinstance(spec, CategoricalColumns) if normalize is None else normalize
            if table is not None:
                dataset._add_ids(side, dataset._read_ids(side, table)[1])
        read, dataset.first_skipped = dataset._read_interactions(
            interactions,
            duplicates,
            {"user": "add" if users is None else unknown, "item": "add" if items is None else unknown},
        )
        dataset.interactions, dataset.weights, dataset.timestamps, dataset.n_skipped = read
        for side, table, _ in sides:
            spec = dataset._specs[side]
            if spec is not None:
                spec.fit(table)
                dataset._name_features(side, spec)
                setattr(dataset, f"{side}_features", dataset._features_from_table(side, table, "raise", None))
        return dataset

    def build_interactions_from_table(
        self, interactions: Any, duplicates: str = "sum", unknown: str = "raise"
    ) -> Interactions:
        """Build the matrices of a later table, with the columns that :meth:`from_tables` was told.

        Parameters
        ----------
        interactions : table
            One row per interaction.
        duplicates : {"sum", "max", "last", "error"}
            As in :meth:`from_tables`.
        unknown : {"raise", "skip", "add"}
            Refuse rows with unknown ids, leave them out and count them, or number their ids after the known ones:
            the matrices are then larger than those built before, and so is what a model needs.

        Returns
        -------
        Interactions

        Raises
        ------
        TypeError, ValueError
            In the cases of :meth:`from_tables`; the mappings are then as they were.
        """
        check_choice(duplicates, "duplicates", DUPLICATES)
        check_choice(unknown, "unknown", _UNKNOWN)
        return self._read_interactions(interactions, duplicates, {"user": unknown, "item": unknown})[0]

    def build_user_features_from_table(
        self, users: Any, unknown: str = "raise", normalize: bool | None = None
    ) -> sp.csr_matrix:
        """Build the matrix of user features of a table, encoded as :meth:`from_tables` was told.

        Parameters
        ----------
        users : table
            One row a user. A known user who is not there gets identity features only, where the dataset has them.
        unknown : {"raise", "skip"}
            Refuse rows with unknown ids, or leave them out. :meth:`fit_partial` makes ids known.
        normalize : bool, optional
            Divide every row by the sum of its absolute weights; by default as :meth:`from_tables` did.

        Returns
        -------
        scipy.sparse.csr_matrix of float32, shape (n_users, n_user_features)

        Raises
        ------
        TypeError, ValueError
            In the cases of :meth:`from_tables`, or if that was not told of ``user_features``.
        """
        check_choice(unknown, "unknown", _UNKNOWN[:2])
        return self._features_from_table("user", users, unknown, normalize)

    def build_item_features_from_table(
        self, items: Any, unknown: str = "raise", normalize: bool | None = None
    ) -> sp.csr_matrix:
        """Build the matrix of item features of a table; see :meth:`build_user_features_from_table`."""
        check_choice(unknown, "unknown", _UNKNOWN[:2])
        return self._features_from_table("item", items, unknown, normalize)

    def encode_new_users(self, users: Any, encoder: Any) -> sp.csr_matrix:
        """Describe users that the dataset does not know by features that it does.

        Parameters
        ----------
        users : table
            One row a user, with the columns that ``encoder`` reads. Ids are not needed.
        encoder : object with transform and get_feature_names_out
            What :meth:`from_tables` was given as ``user_features``, such as a ``FeatureSpec``; a loaded model has it in
            ``encoders_`` where it was saved so.

        Returns
        -------
        scipy.sparse.csr_matrix of float32, shape (n_rows, n_user_features)
            What ``predict``, ``recommend`` and ``fold_in_users`` take for newcomers: no identity features, and the
            weights as the encoder makes them. A row without known features stays empty; the scores are the items'
            biases then.

        Raises
        ------
        TypeError, ValueError
            If the encoder does not take the table, or makes features that the dataset does not have.
        """
        return self._encode_newcomers("user", users, encoder)

    def encode_new_items(self, items: Any, encoder: Any) -> sp.csr_matrix:
        """Describe items that the dataset does not know; see :meth:`encode_new_users`."""
        return self._encode_newcomers("item", items, encoder)

    def _encode_newcomers(self, side: str, table: Any, encoder: Any) -> sp.csr_matrix:
        described = check_features(encoder.transform(table), side, 0).tocoo()
        features = self._mappings_of(side)[1]
        names = [str(name) for name in encoder.get_feature_names_out()]
        columns = _numbers(features, names, f"{side} feature", f"{side}_features")
        cells = (described.row, columns[described.col])
        return sp.csr_matrix((described.data, cells), shape=(described.shape[0], len(features)), dtype=np.float32)

    def fit(
        self,
        users: Iterable[Hashable],
        items: Iterable[Hashable],
        user_features: Iterable[Hashable] | None = None,
        item_features: Iterable[Hashable] | None = None,
    ) -> None:
        """Assign numbers to ids and feature names afresh, dropping all earlier ones.

        Parameters
        ----------
        users, items : iterable of hashable
            The ids; repeats are ignored.
        user_features, item_features : iterable of hashable, optional
            The names of features besides the identity features.

        Raises
        ------
        TypeError
            If an argument is not iterable, or one text, or an id is not hashable.
        ValueError
            If an id or a name is of a type that cannot be saved with a model, such as a timestamp.
        """
        arguments = [_distinct(names) for names in (users, items, user_features, item_features)]
        self._forget()
        self.fit_partial(*arguments)

    def fit_partial(
        self,
        users: Iterable[Hashable] | None = None,
        items: Iterable[Hashable] | None = None,
        user_features: Iterable[Hashable] | None = None,
        item_features: Iterable[Hashable] | None = None,
    ) -> None:
        """Assign numbers to new ids and feature names, after the existing ones, whose numbers stay.

        A model trained before has no embeddings for the new rows and columns.

        Parameters
        ----------
        users, items : iterable of hashable, optional
            The ids; known ones and repeats are ignored.
        user_features, item_features : iterable of hashable, optional
            The names of features besides the identity features.

        Raises
        ------
        TypeError
            If an argument is not iterable, or one text, or an id is not hashable.
        ValueError
            If an id or a name is of a type that cannot be saved with a model, such as a timestamp.
        """
        users, items = _distinct(users), _distinct(items)
        user_features, item_features = _distinct(user_features), _distinct(item_features)

        self._add_ids("user", users)
        self._add_ids("item", items)
        _extend(self._user_feature_mapping, user_features)
        _extend(self._item_feature_mapping, item_features)

    def build_interactions(self, data: Iterable[Collection[Any]]) -> tuple[sp.coo_matrix, sp.coo_matrix]:
        """Build the matrix of interactions and the matrix of their weights.

        Parameters
        ----------
        data : iterable of (user id, item id) or (user id, item id, weight)
            The two forms may be mixed; a missing weight is 1. Repeated pairs stay separate entries.

        Returns
        -------
        interactions : scipy.sparse.coo_matrix of int32, shape (n_users, n_items)
            A 1 for every row of ``data``, in the order of ``data``.
        weights : scipy.sparse.coo_matrix of float32, shape (n_users, n_items)
            The weights, entry for entry beside ``interactions``.

        Raises
        ------
        ValueError
            If the dataset has not been fitted, an id is unknown, a row is neither a pair nor a triple, or a
            weight is not finite in single precision.
        TypeError
            If a row has no length or a weight is not a real number.
        """
        self._check_fitted("user", self._user_id_mapping)
        self._check_fitted("item", self._item_id_mapping)
        rows, columns, weights = _stack(self._interaction_triples(batch) for batch in _batches(data))
        ones = np.ones(len(weights), np.int32)
        shape = self.interactions_shape()
        # copy: the two matrices must not share their index arrays, or editing one would edit the other.
        interactions = sp.coo_matrix((ones, (rows, columns)), shape=shape, copy=True)
        return interactions, sp.coo_matrix((weights, (rows, columns)), shape=shape)

    def build_user_features(
        self, data: Iterable[tuple[Hashable, Iterable[Hashable]]], normalize: bool = True
    ) -> sp.csr_matrix:
        """Build the matrix of user features.

        Parameters
        ----------
        data : iterable of (user id, features)
            ``features`` is an iterable of names, each of weight 1, or a mapping from name to weight. What is
            given several times for the same user is added up.
        normalize : bool, default True
            Divide every row by the sum of its absolute weights, so that non-negative weights sum to 1.

        Returns
        -------
        scipy.sparse.csr_matrix of float32, shape (n_users, n_user_features)
            Identity features, where the dataset has them, have weight 1 before normalisation.

        Raises
        ------
        ValueError
            If the dataset has not been fitted, an id or a name is unknown, a row is not a pair, a weight is
            not finite in single precision, or ``normalize`` meets a user whose weights are all zero.
        TypeError
            If features are not iterable or a weight is not a real number.
        """
        self._check_fitted("user", self._user_id_mapping)
        ids, features = self._user_id_mapping, self._user_feature_mapping
        return _build_features("user", ids, features, self._user_identity_features, normalize, data)

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
        self._check_fitted("item", self._item_id_mapping)
        ids, features = self._item_id_mapping, self._item_feature_mapping
        return _build_features("item", ids, features, self._item_identity_features, normalize, data)

    def design_matrix(
        self, interactions: Any, user_features: Any = None, item_features: Any = None, context: Any = None
    ) -> DesignMatrix:
        """Unroll interactions into one row each, as :func:`lightfm_fast.design.design_matrix` does, with names."""
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
        for side, n_features in zip(("user", "item"), self.model_dimensions(), strict=True):
            counts.append((f"{side} features", n_features))
        return [(what[:-1] if count == 1 else what, f"{count:,}") for what, count in counts]

    def interactions_shape(self) -> tuple[int, int]:
        """Return (number of users, number of items)."""
        return len(self._user_id_mapping), len(self._item_id_mapping)

    def user_features_shape(self) -> tuple[int, int]:
        """Return (number of users, number of user features)."""
        return len(self._user_id_mapping), len(self._user_feature_mapping)

    def item_features_shape(self) -> tuple[int, int]:
        """Return (number of items, number of item features)."""
        return len(self._item_id_mapping), len(self._item_feature_mapping)

    def model_dimensions(self) -> tuple[int, int]:
        """Return (number of user features, number of item features): the embeddings a model needs."""
        return len(self._user_feature_mapping), len(self._item_feature_mapping)

    def mapping(
        self,
    ) -> tuple[dict[Hashable, int], dict[Hashable, int], dict[Hashable, int], dict[Hashable, int]]:
        """Return what the numbers stand for.

        Returns
        -------
        user_ids, user_features, item_ids, item_features : dict
            From id or name to row or column number. They are the dataset's own: :meth:`fit_partial` extends
            them in place, :meth:`fit` starts new ones.
        """
        return (
            self._user_id_mapping,
            self._user_feature_mapping,
            self._item_id_mapping,
            self._item_feature_mapping,
        )

    def to_state(self) -> dict[str, Any]:
        """Return all but matrices: what was told, fitted encoders, ids and names in the order of their numbers."""
        user_ids, user_features, item_ids, item_features = (list(mapping) for mapping in self.mapping())
        return {
            "user_identity_features": self._user_identity_features,
            "item_identity_features": self._item_identity_features,
            "user_ids": user_ids,
            "user_features": user_features,
            "item_ids": item_ids,
            "item_features": item_features,
            "columns": dict(self._columns),
            "positive_from": self._positive_from,
            "normalize": dict(self._normalize),
            "encoders": dict(self._specs),
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
        dataset = cls(*(check_flag(state[f"{side}_identity_features"], f"{side}_identity_features") for side in _SIDES))
        if "columns" in state:  # files written before they were kept are read as well
            told = ("user", "item", "value", "weight", "time")
            dataset._columns = {name: column_name(state["columns"][name]) for name in told}
            for name, column in dataset._columns.items():
                parts = column if isinstance(column, tuple) else (column,)
                if not all(isinstance(part, (str, int, float, type(None))) for part in parts):
                    raise ValueError(f"the column of {name} is {column!r}, expected a name")
            dataset._normalize = {side: check_flag(state["normalize"][side], "normalize") for side in _SIDES}
            if state.get("positive_from") is not None:
                dataset._positive_from = check_finite_number(state["positive_from"], "positive_from")
            dataset._specs = {side: state["encoders"][side] for side in _SIDES}
        names = ("user_ids", "user_features", "item_ids", "item_features")
        for name, mapping in zip(names, dataset.mapping(), strict=True):
            _extend(mapping, state[name])
            if len(mapping) != len(state[name]):
                raise ValueError(f"{name} has {len(state[name]):,} names, some of them more than once")
        for side in _SIDES:
            ids, features, identity = dataset._mappings_of(side)
            if identity:
                _numbers(features, ids, f"{side} feature", f"{side}_features")
            spec = dataset._specs[side]
            if spec is not None:
                if getattr(spec, "n_unlisted", 0) > len(features):  # before they are listed
                    raise ValueError(f"the {side}s' encoder makes {spec.n_unlisted:,} features of {len(features):,}")
                made = [str(name) for name in spec.get_feature_names_out()]
                _numbers(features, made, f"{side} feature", f"{side}_features")
        return dataset

    def _forget(self) -> None:
        self._user_id_mapping: dict[Hashable, int] = {}
        self._item_id_mapping: dict[Hashable, int] = {}
        self._user_feature_mapping: dict[Hashable, int] = {}
        self._item_feature_mapping: dict[Hashable, int] = {}
        self.interactions: sp.coo_matrix | None = None
        self.weights: sp.coo_matrix | None = None
        self.timestamps: NDArray[Any] | None = None
        self.n_skipped = 0
        self.first_skipped: tuple[int, str, Hashable] | None = None
        self.user_features: sp.csr_matrix | None = None
        self.item_features: sp.csr_matrix | None = None
        self._columns: dict[str, Any] = dict.fromkeys(("value", "weight", "time"))
        self._columns.update(user="user_id", item="item_id")
        self._positive_from: float | None = None
        self._normalize: dict[str, bool] = {"user": True, "item": True}
        self._specs: dict[str, Any] = {"user": None, "item": None}

    def _mappings_of(self, side: str) -> tuple[dict[Hashable, int], dict[Hashable, int], bool]:
        if side == "user":
            return self._user_id_mapping, self._user_feature_mapping, self._user_identity_features
        return self._item_id_mapping, self._item_feature_mapping, self._item_identity_features

    def _add_ids(self, side: str, names: Collection[Hashable]) -> None:
        """Give numbers to ids, each given once, and to their identity features."""
        ids, features, identity = self._mappings_of(side)
        _extend(ids, names)
        if identity and features:
            _extend(features, names)
        elif identity:
            features.update(ids)  # the first ones: copied as a whole, which is many times faster

    def _read_ids(self, side: str, table: Any) -> tuple[NDArray[np.int32], list[Hashable]]:
        """Return the codes and the ids of a table that lists users or items, each once."""
        column = self._columns[side]
        codes, distinct = _factorize_ids(read_columns(table, f"{side}s", [column])[column], f"{side}s", column)
        if len(distinct) < len(codes):
            twice = distinct[int(np.argmax(np.bincount(codes)))]
            raise ValueError(
                f"{side}s has {len(codes):,} rows but {len(distinct):,} different ids, {twice!r} among those that "
                f"are there more than once: it needs one row per {side}"
            )
        return codes, distinct

    def _read_interactions(
        self, table: Any, duplicates: str, unknown: dict[str, str]
    ) -> tuple[Interactions, tuple[int, str, Hashable] | None]:
        """Return the matrices of a table, and the first row left out, whose user or item is unknown."""
        columns = self._columns
        read = read_columns(table, "interactions", [column for column in columns.values() if column is not None])
        with ThreadPoolExecutor(2) as pool:  # what does the work in a data frame's library lets go of the GIL
            ids = pool.map(
                lambda side: _factorize_ids(read[columns[side]], "interactions", columns[side]), ("user", "item")
            )
            values, weights = (
                None if columns[name] is None else _read_number_column(read[columns[name]], columns[name])
                for name in ("value", "weight")
            )
            if values is not None and self._positive_from is not None:
                values = np.where(values >= self._positive_from, 1.0, -1.0)
            times = None
            if columns["time"] is not None:
                name = f"column {columns['time']!r}"
                times = check_timestamps(read_times(read[columns["time"]], name), name)
            found = dict(zip(("user", "item"), ids, strict=True))
            numbered = [self._number(side, *found[side], unknown[side]) for side in found]
        (rows, new_users), (items, new_items) = numbered
        n_users, n_items = self.interactions_shape()
        shape = (n_users + len(new_users), n_items + len(new_items))
        n_rows, first_skipped = len(rows), None
        if "skip" in unknown.values():
            known = (rows >= 0) & (items >= 0)
            if not known.all():
                row = int(known.argmin())
                side = "user" if rows[row] < 0 else "item"
                codes, distinct = found[side]
                first_skipped = (row, side, distinct[codes[row]])
                if not known.any():
                    ids_known = self._mappings_of(side)[0]
                    raise UnknownIdsError(
                        f"all {n_rows:,} rows of interactions have ids unknown to the dataset, {side} "
                        f"{first_skipped[2]!r} first; it knows {_some(ids_known)}"
                    )
                rows, items = rows[known], items[known]
                values, weights, times = (part if part is None else part[known] for part in (values, weights, times))
        if not all(shape):
            raise ValueError("interactions has no rows, and no users and items are known from elsewhere")
        merged = merge_duplicates(rows, items, values, weights, times, shape, duplicates)
        self._add_ids("user", new_users)
        self._add_ids("item", new_items)
        return Interactions(*merged, n_rows - len(rows)), first_skipped

    def _number(
        self, side: str, codes: NDArray[np.int32], distinct: list[Hashable], unknown: str
    ) -> tuple[NDArray[np.int32], list[Hashable]]:
        """Return the number of each row, -1 where its id is to be skipped, and the ids that are to be added."""
        mapping = self._mappings_of(side)[0]
        if not mapping and unknown == "add":
            return codes, distinct
        numbers = match_ids(distinct, mapping)
        is_new = numbers < 0
        new = [distinct[place] for place in np.flatnonzero(is_new)]
        if new and unknown == "raise":
            n_rows = np.count_nonzero(is_new[codes])
            raise UnknownIdsError(
                f"{n_rows:,} of {len(codes):,} rows name {len(new):,} {side}s unknown to the dataset, {new[0]!r} "
                f"first; it knows {_some(mapping)}",
                "list them when making the dataset, or say unknown='skip' or unknown='add'",
            )
        if unknown == "add":
            numbers[is_new] = np.arange(len(mapping), len(mapping) + len(new), dtype=np.int32)
        return (numbers[codes] if len(numbers) else codes), (new if unknown == "add" else [])

    def _name_features(self, side: str, spec: Any) -> None:
        ids, features, identity = self._mappings_of(side)
        names = [str(name) for name in spec.get_feature_names_out()]
        if len(set(names)) < len(names):
            raise ValueError(
                f"{side}_features gives the same name to several features: {max(names, key=names.count)!r}"
            )
        common = next((name for name in names if name in ids), None)
        if identity and common is not None:
            raise ValueError(f"{common!r} is the id of a {side} and the name of a feature: rename one of them")
        _extend(features, names)

    def _features_from_table(self, side: str, table: Any, unknown: str, normalize: bool | None) -> sp.csr_matrix:
        spec = self._specs[side]
        if spec is None:
            raise ValueError(
                f"the dataset was not told how to encode {side}s: make it by from_tables(..., {side}_features=...)"
            )
        numbers, _ = self._number(side, *self._read_ids(side, table), unknown)
        described = check_features(spec.transform(table), side, len(numbers)).tocoo()
        ids, features, identity = self._mappings_of(side)
        names = [str(name) for name in spec.get_feature_names_out()]
        columns = _numbers(features, names, f"{side} feature", f"{side}_features")
        if described.shape != (len(numbers), len(names)):
            raise ValueError(
                f"{side}_features made a matrix of shape {described.shape} of {len(numbers):,} {side}s and "
                f"{len(names):,} names of features"
            )
        known = numbers[described.row] >= 0
        triples = (numbers[described.row[known]], columns[described.col[known]], described.data[known])
        normalize = self._normalize[side] if normalize is None else normalize
        return _assemble_features(side, ids, features, identity, normalize, triples)

    def _check_fitted(self, entity: str, ids: dict[Hashable, int]) -> None:
        if not ids:
            raise ValueError(f"the dataset knows no {entity}s yet: call fit(users, items) before building matrices")

    def _interaction_triples(self, batch: list[Collection[Any]]) -> _Triples:
        widths = check_row_widths(batch, {2, 3}, "(user id, item id) or (user id, item id, weight)")
        if widths == {2, 3}:
            batch = [row if len(row) == 3 else (*row, 1.0) for row in batch]
        width = max(widths)
        # Slices of one flat list: rows may be anything that iterates, and zip(*batch) is ten times slower.
        values = list(chain.from_iterable(batch))
        return (
            _numbers(self._user_id_mapping, values[0::width], "user id", "users"),
            _numbers(self._item_id_mapping, values[1::width], "item id", "items"),
            check_weights(values[2::width]) if width == 3 else np.ones(len(batch), np.float32),
        )


def _some(ids: Collection[Hashable]) -> str:
    """Say how many ids there are, and a few of them."""
    return f"{len(ids):,}" + (f", such as {', '.join(map(repr, islice(ids, 3)))}" if ids else "")


def _distinct(names: Iterable[Hashable] | None) -> dict[Hashable, None]:
    if isinstance(names, (str, bytes)):
        raise TypeError(f"got the text {names!r}, expected a list of ids or names: [{names!r}] is a list of one")
    if hasattr(type(names), "columns"):
        raise TypeError(f"got a {type(names).__name__}, expected a list of ids or names, such as one of its columns")
    if hasattr(names, "__array__") and not isinstance(names, np.ndarray):  # a tensor's cells would all be different
        names = factorize(as_column(names, "the column of ids or names"))[1]
    try:
        distinct: dict[Hashable, None] = {} if names is None else dict.fromkeys(names)
    except TypeError as error:
        raise TypeError(f"expected a list of ids or names, such as text and whole numbers: {error}") from error
    check_ids_can_be_saved(distinct)
    return distinct


def _extend(mapping: dict[Hashable, int], names: Iterable[Hashable]) -> None:
    new = [name for name in names if name not in mapping] if mapping else names
    mapping.update(zip(new, count(len(mapping))))


def _batches(rows: Iterable[Any]) -> Iterator[list[Any]]:
    if not isinstance(rows, Iterable) or (isinstance(rows, np.ndarray) and not rows.ndim):
        raise TypeError(f"got {rows!r}, expected rows such as a list of (user, item) or (id, [feature, ...])")
    iterator = iter(rows)
    while batch := list(islice(iterator, _BATCH_ROWS)):
        yield batch


def _stack(pieces: Iterable[_Triples]) -> _Triples:
    rows, columns, weights = zip(_NO_TRIPLES, *pieces, strict=True)
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(weights)


def _numbers(mapping: dict[Hashable, int], names: Collection[Hashable], kind: str, argument: str) -> NDArray[np.int32]:
    """Look all names up at once; an error says with ``kind`` and ``argument`` what to add and how."""
    try:
        return np.fromiter(map(mapping.__getitem__, names), np.int32, len(names))
    except KeyError as error:
        raise ValueError(
            f"{kind} {error.args[0]!r} is unknown to the dataset: add it with fit or fit_partial({argument}=...)"
        ) from None
    except TypeError as error:
        raise TypeError(f"a {kind} must be hashable, as text and numbers are: {error}") from error


def _build_features(
    entity: str,
    ids: dict[Hashable, int],
    features: dict[Hashable, int],
    identity: bool,
    normalize: bool,
    data: Iterable[tuple[Hashable, Iterable[Hashable]]],
) -> sp.csr_matrix:
    pieces = (_feature_triples(entity, ids, features, batch) for batch in _batches(data))
    return _assemble_features(entity, ids, features, identity, normalize, _stack(pieces))


def _assemble_features(
    entity: str,
    ids: dict[Hashable, int],
    features: dict[Hashable, int],
    identity: bool,
    normalize: bool,
    triples: _Triples,
) -> sp.csr_matrix:
    rows, columns, weights = triples
    if identity:
        own = _numbers(features, ids, f"{entity} feature", f"{entity}_features")
        rows = np.concatenate([np.arange(len(ids), dtype=np.int32), rows])
        columns = np.concatenate([own, columns])
        weights = np.concatenate([np.ones(len(ids), np.float32), weights])
    matrix = sp.coo_matrix((weights, (rows, columns)), shape=(len(ids), len(features))).tocsr()
    if normalize:
        _normalize_rows(matrix, entity, ids)
    return matrix


def _feature_triples(
    entity: str,
    ids: dict[Hashable, int],
    features: dict[Hashable, int],
    batch: list[tuple[Hashable, Iterable[Hashable]]],
) -> _Triples:
    check_row_widths(batch, {2}, f"({entity} id, features)")
    names: list[Hashable] = []
    weights: list[Any] = []
    ends = []
    for entity_id, described in batch:
        if not isinstance(described, Iterable) or isinstance(described, (str, bytes)):
            raise TypeError(
                f"the features of {entity} {entity_id!r} are {described!r}: "
                "expected a list of names or a dict from name to weight"
            )
        names.extend(described)
        if isinstance(described, Mapping):
            weights.extend(described.values())
        weights.extend(repeat(1.0, len(names) - len(weights)))
        ends.append(len(names))
    rows = _numbers(ids, [entity_id for entity_id, _ in batch], f"{entity} id", f"{entity}s")
    return (
        np.repeat(rows, np.diff(ends, prepend=0)),
        _numbers(features, names, f"{entity} feature", f"{entity}_features"),
        check_weights(weights),
    )


def _normalize_rows(matrix: sp.csr_matrix, entity: str, ids: dict[Hashable, int]) -> None:
    """Divide every row by the sum of its absolute values, in place."""
    norms = np.asarray(abs(matrix).sum(axis=1, dtype=np.float64)).ravel()
    without = np.flatnonzero(norms == 0)
    if len(without):
        first = next(islice(ids, int(without[0]), None))
        raise ValueError(
            f"cannot normalize: the weights of {len(without):,} of {len(ids):,} {entity}s sum to zero, "
            f"{entity} {first!r} first: give every {entity} a feature, or pass normalize=False"
        )
    matrix.data /= np.repeat(norms, np.diff(matrix.indptr))


def _feature_spec(side: str, table: Any, features: Any) -> Any:
    """Return an object with fit, transform and get_feature_names_out, or None where there are no features."""
    if features is None:
        return None
    if table is None:
        raise ValueError(f"{side}_features describe the rows of {side}s, which is not given")
    if all(hasattr(features, method) for method in ("fit", "transform", "get_feature_names_out")):
        return features
    if isinstance(features, Sequence) and not isinstance(features, str) and len(features):
        return CategoricalColumns(features)
    raise TypeError(
        f"{side}_features is {features!r}, expected a list of names of columns or an object with fit, transform and "
        "get_feature_names_out"
    )


def _read_number_column(column: Any, name: Hashable) -> NDArray[np.float64]:
    place = f"column {name!r}"
    return check_number_column(read_numbers(column, place), place)


def _factorize_ids(column: Any, table: str, name: Hashable) -> tuple[NDArray[np.int32], list[Hashable]]:
    try:
        codes, distinct = factorize(column)
    except TypeError as error:
        raise TypeError(f"column {name!r} of {table} holds values that cannot be ids: {error}") from error
    if len(codes) and codes.min() < 0:
        missing = codes < 0
        raise ValueError(
            f"column {name!r} of {table} has {np.count_nonzero(missing):,} missing ids, the first in row "
            f"{int(missing.argmax()):,}: leave those rows out"
        )
    try:
        check_ids_can_be_saved(distinct)
    except ValueError as error:
        raise ValueError(f"column {name!r} of {table}: {error}") from error
    return codes, distinct
