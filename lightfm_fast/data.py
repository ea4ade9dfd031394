"""Ids and feature names on one side, rows and columns of the matrices a model is trained on, on the other."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from itertools import chain, count, islice, repeat
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ._validation import check_row_widths, check_weights
from .design import DesignMatrix, design_matrix

# Only this many rows are held as Python objects at a time, so a generator of any length streams through.
_BATCH_ROWS = 1 << 14

_Triples = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]
_NO_TRIPLES: _Triples = (np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32))


class Dataset:
    """Number user ids, item ids and feature names, and build matrices of interactions and features from them.

    Ids and names are any hashable values and are numbered from 0 in the order they are first seen. All inputs
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
    """

    def __init__(self, user_identity_features: bool = True, item_identity_features: bool = True) -> None:
        self._user_identity_features = user_identity_features
        self._item_identity_features = item_identity_features
        self._forget()

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
            If an argument is not iterable or an id is not hashable.
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
            If an argument is not iterable or an id is not hashable.
        """
        users, items = _distinct(users), _distinct(items)
        user_features, item_features = _distinct(user_features), _distinct(item_features)

        _extend(self._user_id_mapping, users)
        _extend(self._item_id_mapping, items)
        if self._user_identity_features:
            _extend(self._user_feature_mapping, users)
        if self._item_identity_features:
            _extend(self._item_feature_mapping, items)
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

    def _forget(self) -> None:
        self._user_id_mapping: dict[Hashable, int] = {}
        self._item_id_mapping: dict[Hashable, int] = {}
        self._user_feature_mapping: dict[Hashable, int] = {}
        self._item_feature_mapping: dict[Hashable, int] = {}

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


def _distinct(names: Iterable[Hashable] | None) -> dict[Hashable, None]:
    return {} if names is None else dict.fromkeys(names)


def _extend(mapping: dict[Hashable, int], names: Iterable[Hashable]) -> None:
    new = [name for name in names if name not in mapping]
    mapping.update(zip(new, count(len(mapping))))


def _batches(rows: Iterable[Any]) -> Iterator[list[Any]]:
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


def _build_features(
    entity: str,
    ids: dict[Hashable, int],
    features: dict[Hashable, int],
    identity: bool,
    normalize: bool,
    data: Iterable[tuple[Hashable, Iterable[Hashable]]],
) -> sp.csr_matrix:
    pieces = (_feature_triples(entity, ids, features, batch) for batch in _batches(data))
    rows, columns, weights = _stack(pieces)
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
        if not isinstance(described, Iterable):
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
