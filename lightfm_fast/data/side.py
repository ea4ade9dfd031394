"""The users or the items of a Dataset: their ids and features as numbers, and their matrices of features."""

from __future__ import annotations

import copy
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from itertools import count, islice, repeat
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._arguments import check_flag, check_row_widths, check_weights, counted, shorten, warn
from .._matrices import check_features
from .categories import CategoricalColumns
from .columns import as_column
from .frames import check_columns, read_columns, take_rows
from .ids import check_ids_can_be_saved, closest_id, plain_ids
from .missing import describe_left_out, log_left_out, rows_with_ids
from .numbering import factorize, in_type_of_known, match_ids, number_ids
from .rows import NO_ENTRIES, Entries, batches, concatenate


class UnknownIdsError(ValueError):
    """Rows name ids that the dataset does not know.

    Attributes
    ----------
    problem : str
        The message without the advice that ends it.
    """

    def __init__(self, problem: str, advice: str = "") -> None:
        super().__init__(problem, advice)
        self.problem = problem

    def __str__(self) -> str:
        problem, advice = self.args
        return f"{problem}: {advice}" if advice else str(problem)


class Side:
    """One side of a Dataset.

    Parameters
    ----------
    name : {"user", "item"}
    has_identity : bool
        Each id has a feature of the same name.

    Attributes
    ----------
    ids, features : dict
        The number of each id and of each feature's name.
    id_column : hashable
        Name of the column of ids in frames.
    encoder : object with fit, transform and get_feature_names_out, or None
        Makes features of frames that list this side.
    normalize : bool
        Divide each row of the encoder's features by the sum of its absolute weights.
    """

    def __init__(self, name: str, has_identity: bool) -> None:
        self.name = name
        self.has_identity = has_identity
        self.ids: dict[Hashable, int] = {}
        self.features: dict[Hashable, int] = {}
        self.id_column: Hashable = f"{name}_id"
        self.encoder: Any = None
        self.normalize = True

    # ------------------------------------------------------------------------------------------------------ numbers

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the matrix of features."""
        return len(self.ids), len(self.features)

    def add_ids(self, names: Collection[Hashable]) -> None:
        """Give numbers to new ids, each given once, and to their identity features."""
        _extend(self.ids, names)
        if self.has_identity and self.features:
            _extend(self.features, names)
        elif self.has_identity:
            self.features.update(self.ids)  # copying the whole dict is many times faster than adding keys

    def copied(self) -> Side:
        """Return a side that may grow without this one."""
        side = copy.copy(self)
        side.ids, side.features = dict(self.ids), dict(self.features)
        return side

    def add_features(self, names: Iterable[Hashable]) -> None:
        """Give numbers to new names of features."""
        _extend(self.features, names)

    def rows_of(self, ids: Collection[Hashable]) -> NDArray[np.int32]:
        """Return the number of each id; ValueError if one is unknown."""
        return _look_up(self.ids, ids, f"{self.name} id", f"{self.name}s")

    def columns_of(self, names: Collection[Hashable]) -> NDArray[np.int32]:
        """Return the number of each feature; ValueError if one is unknown."""
        return _look_up(self.features, names, f"{self.name} feature", f"{self.name}_features")

    def describe_known(self) -> str:
        """Say how many ids there are, and name a few."""
        some = f", such as {', '.join(map(shorten, islice(self.ids, 3)))}" if self.ids else ""
        return f"{len(self.ids):,}{some}"

    def check_known(self) -> None:
        """Raise ValueError if there are no ids."""
        if not self.ids:
            raise ValueError(f"the dataset knows no {self.name}s yet: call fit(users, items) before building matrices")

    def match(
        self, codes: NDArray[np.int32], distinct: list[Hashable], unknown: str
    ) -> tuple[NDArray[np.int32], list[Hashable]]:
        """Find the ids of a column among the known ones, and add none.

        Parameters
        ----------
        codes, distinct
            The column, as :func:`~.numbering.number_ids` returns it.
        unknown : {"raise", "skip", "add"}

        Returns
        -------
        numbers : int32 array
            One for each row; -1 where the id is to be skipped.
        new : list
            Ids to be added, whose numbers follow the known ones.

        Raises
        ------
        UnknownIdsError
            If ``unknown`` is "raise" and an id is unknown.
        ValueError
            If an id to be added is the name of a feature that the encoder makes.
        """
        if not self.ids and unknown == "add":
            return codes, distinct
        numbers = match_ids(distinct, self.ids)
        is_new = numbers < 0
        new = [distinct[place] for place in np.flatnonzero(is_new)]
        if new and unknown == "raise":
            n_rows, near = np.count_nonzero(is_new[codes]), closest_id(new[0], self.ids)
            like = f" ({near} is known)" if near else ""
            raise UnknownIdsError(
                f"{n_rows:,} of {len(codes):,} rows name {counted(len(new), self.name)} unknown to the dataset, "
                f"{shorten(new[0])} first{like}; it knows {self.describe_known()}",
                f"list them in the table of {self.name}s, or pass unknown='skip' or unknown='add'",
            )
        if unknown == "add":
            new = in_type_of_known(new, self.ids)
            if self.encoder is not None:
                self._check_apart(new, self.features)
            self._warn_of_zeros(new)
            numbers[is_new] = np.arange(len(self.ids), len(self.ids) + len(new), dtype=np.int32)
        return numbers[codes], (new if unknown == "add" else [])

    def _warn_of_zeros(self, new: list[Hashable]) -> None:
        """Warn of new text that differs from a known id by leading zeros only."""
        bare = {name.lstrip("0"): name for name in new if isinstance(name, str) and name.isdecimal()}
        known = (name for name in self.ids if isinstance(name, str) and name.isdecimal()) if bare else ()
        alike = [name for name in known if name.lstrip("0") in bare]
        if alike:
            other = bare[alike[0].lstrip("0")]
            warn(
                f"{counted(len(alike), self.name)} would be there twice if zeros do not count, {other!r} beside "
                f"{alike[0]!r} first: write ids in one way, or give all as numbers",
            )

    # ------------------------------------------------------------------------------------------------ frames of a side

    def with_ids(self, frame: Any, missing_ids: str) -> Any:
        """Return a frame without the rows that lack an id, if ``missing_ids`` is "skip"; None for None."""
        if frame is None or missing_ids != "skip":
            return frame
        name = f"{self.name}s"
        column = read_columns(frame, name, [self.id_column])[self.id_column]
        codes, _ = number_ids(column, name, self.id_column, missing_ids)
        has_ids = rows_with_ids({self.id_column: codes < 0}, name, missing_ids)
        if has_ids is None:
            return frame
        log_left_out(describe_left_out(has_ids, name))
        columns = () if self.encoder is None else getattr(self.encoder, "columns", None)
        return take_rows(frame, name, has_ids, None if columns is None else [self.id_column, *columns])

    def read_ids(self, frame: Any, missing_ids: str = "raise") -> tuple[NDArray[np.int32], list[Hashable]]:
        """Return the ids of a frame that lists each id once, as :func:`~.numbering.number_ids` does."""
        name = f"{self.name}s"
        column = read_columns(frame, name, [self.id_column])[self.id_column]
        codes, distinct = number_ids(column, name, self.id_column, missing_ids)
        if len(distinct) < len(codes):
            repeated = distinct[int(np.argmax(np.bincount(codes)))]
            raise ValueError(
                f"{name} has {len(codes):,} rows but {len(distinct):,} different ids, {shorten(repeated)} among those "
                f"that are there more than once: it needs one row per {self.name}"
            )
        return codes, distinct

    def take_encoder(self, frame: Any, features: Any, normalize: bool | None) -> None:
        """Keep the encoder that ``features`` is or asks for; without a frame to encode there is none.

        Raises
        ------
        TypeError
            If ``features`` is neither a list of names of columns nor an encoder.
        ValueError
            If there is no frame, or both the encoder and the dataset make identity features.
        """
        self.encoder = encoder = _as_encoder(self.name, frame, features)
        if getattr(encoder, "identity", "drop") != "drop" and self.has_identity:
            raise ValueError(
                f"{self.name}_features makes identity features (identity={encoder.identity!r}) and so does the dataset:"
                f" pass {self.name}_identity_features=False, or an encoder with identity='drop'"
            )
        by_default = isinstance(encoder, CategoricalColumns)
        self.normalize = by_default if normalize is None else check_flag(normalize, "normalize")

    def fit_encode(self, frame: Any) -> sp.csr_matrix | None:
        """Fit the encoder, give numbers to its features, and return the matrix of a frame; None without an encoder."""
        if self.encoder is None:
            return None
        self.learn_features(frame)
        return self.encode(frame, "raise")

    def learn_features(self, frame: Any) -> None:
        """Fit the encoder to a frame, and give numbers to its features."""
        self._check_frame(frame, self.encoder, f"{self.name}_features names it")
        self.encoder.fit(frame)
        names = _names_of(self.encoder)
        if not names:
            raise ValueError(
                f"{self.name}_features makes no feature of the {self.name}s: the columns that it reads have no values. "
                f"Fill them, or leave out {self.name}_features"
            )
        if len(set(names)) < len(names):
            raise ValueError(
                f"{self.name}_features gives the same name to several features: {max(names, key=names.count)!r}"
            )
        self._check_apart(names, self.ids)
        self.add_features(names)

    def _check_apart(self, names: Iterable[Hashable], others: Mapping[Hashable, int]) -> None:
        """Raise ValueError if a name of an id is that of a feature too, for its identity feature would be the same."""
        common = next((name for name in names if name in others), None)
        if self.has_identity and common is not None:
            raise ValueError(f"{common!r} names one of the {self.name}s and one of their features: rename either")

    def _check_frame(self, frame: Any, encoder: Any, advice: str = "add it, with missing cells if need be") -> None:
        """Raise as :func:`~.frames.check_columns`, naming the frame, if it lacks a column that the encoder reads."""
        check_columns(frame, f"{self.name}s", getattr(encoder, "columns", ()), advice)

    def check_has_encoder(self) -> Any:
        """Return the encoder; ValueError if there is none."""
        if self.encoder is None:
            raise ValueError(
                f"the dataset was not told how to encode {self.name}s: make it by "
                f"from_tables(..., {self.name}_features=...)"
            )
        return self.encoder

    def check_encoder(self) -> None:
        """Raise ValueError if the encoder, which a file gave, makes features that are not numbered."""
        n_unlisted = getattr(self.encoder, "n_unlisted", 0)
        if n_unlisted > len(self.features):  # before they are listed
            raise ValueError(f"the {self.name}s' encoder makes {n_unlisted:,} features of {len(self.features):,}")
        self.columns_of(_names_of(self.encoder))

    def encode(self, frame: Any, unknown: str, normalize: bool | None = None) -> sp.csr_matrix:
        """Return the matrix of features of a frame: a row for each known id, in the order of the numbers."""
        self.check_has_encoder()
        numbers, _ = self.match(*self.read_ids(frame), unknown)
        normalize = self.normalize if normalize is None else check_flag(normalize, "normalize")
        return self._assemble(self._encoded(frame, numbers), normalize)

    def _encoded(self, frame: Any, numbers: NDArray[np.int32]) -> Entries:
        """Return the encoder's features of a frame as entries of the matrix; rows of number -1 are left out."""
        self._check_frame(frame, self.encoder)
        matrix = check_features(self.encoder.transform(frame), self.name, len(numbers)).tocoo()
        names = _names_of(self.encoder)
        columns = self.columns_of(names)
        if matrix.shape != (len(numbers), len(names)):
            raise ValueError(
                f"{self.name}_features made a matrix of shape {matrix.shape} of {len(numbers):,} {self.name}s and "
                f"{len(names):,} names of features"
            )
        is_known = numbers[matrix.row] >= 0
        return numbers[matrix.row[is_known]], columns[matrix.col[is_known]], matrix.data[is_known]

    def extend(self, frame: Any, missing_ids: str) -> NDArray[np.int32]:
        """Give numbers to the new ids of a frame that lists each id once, and return the number of each row's id."""
        numbers, new = self.match(*self.read_ids(frame, missing_ids), "add")
        self.add_ids(new)
        return numbers

    def encode_more(
        self, known: sp.csr_matrix | None, frame: Any, numbers: NDArray[np.int32] | None
    ) -> sp.csr_matrix | None:
        """Return a matrix of features with the rows of a frame in the place of, or after, the known rows.

        Parameters
        ----------
        known : csr_matrix or None
            The features before ids were added; None where there are identity features only.
        frame : frame or None
        numbers : int32 array or None
            What :meth:`extend` has returned for the frame.
        """
        if known is None:
            return None
        entries = NO_ENTRIES if numbers is None else self._encoded(frame, numbers)
        fresh = self._assemble(entries, normalize=False)
        is_fresh = np.arange(len(self.ids)) >= known.shape[0]
        if numbers is not None:
            is_fresh[numbers] = True
        known = sp.csr_matrix((known.data, known.indices, known.indptr), shape=(known.shape[0], fresh.shape[1]))
        order = np.arange(len(self.ids)) + np.where(is_fresh, known.shape[0], 0)
        matrix = sp.csr_matrix(sp.vstack([known, fresh], format="csr")[order])
        if self.normalize:
            self._normalize_rows(matrix, is_fresh)
        return matrix

    def encode_newcomers(self, frame: Any, encoder: Any = None, normalize: bool | None = None) -> sp.csr_matrix:
        """Return the known features of a frame: a row for each of its rows, without identity features."""
        if encoder is not None and not hasattr(encoder, "get_feature_names_out"):
            raise TypeError(f"encoder is {shorten(encoder)}, expected one of lightfm_fast.features, fitted")
        encoder = self.check_has_encoder() if encoder is None else encoder
        self._check_frame(frame, encoder)
        matrix = check_features(encoder.transform(frame), self.name, 0).tocoo()
        cells = (matrix.row, self.columns_of(_names_of(encoder))[matrix.col])
        encoded = sp.csr_matrix((matrix.data, cells), shape=(matrix.shape[0], len(self.features)), dtype=np.float32)
        if (encoder is self.encoder and self.normalize) if normalize is None else normalize:
            self._normalize_rows(encoded, np.diff(encoded.indptr) > 0)
        return encoded

    # ------------------------------------------------------------------------------------------------ rows of features

    def build_features(self, data: Iterable[tuple[Hashable, Iterable[Hashable]]], normalize: bool) -> sp.csr_matrix:
        """Return the matrix of features that rows of (id, features) describe."""
        normalize = check_flag(normalize, "normalize")
        self.check_known()
        return self._assemble(concatenate(map(self._batch_entries, batches(data))), normalize)

    def _batch_entries(self, batch: list[tuple[Hashable, Iterable[Hashable]]]) -> Entries:
        check_row_widths(batch, {2}, f"({self.name} id, features)")
        names: list[Hashable] = []
        weights: list[Any] = []
        ends = []
        for row_id, described in batch:
            if not isinstance(described, Iterable) or isinstance(described, (str, bytes)):
                raise TypeError(
                    f"the features of {self.name} {shorten(row_id)} are {shorten(described)}: "
                    "expected a list of names or a dict from name to weight"
                )
            names.extend(described)
            if isinstance(described, Mapping):
                weights.extend(described.values())
            weights.extend(repeat(1.0, len(names) - len(weights)))
            ends.append(len(names))
        rows = self.rows_of([row_id for row_id, _ in batch])
        return np.repeat(rows, np.diff(ends, prepend=0)), self.columns_of(names), check_weights(weights)

    def _assemble(self, entries: Entries, normalize: bool) -> sp.csr_matrix:
        """Make a matrix of entries and identity features; entries of the same place are added up."""
        rows, columns, weights = entries
        if self.has_identity:
            rows = np.concatenate([np.arange(len(self.ids), dtype=np.int32), rows])
            columns = np.concatenate([self.columns_of(self.ids), columns])
            weights = np.concatenate([np.ones(len(self.ids), np.float32), weights])
        matrix = sp.coo_matrix((weights, (rows, columns)), shape=self.shape).tocsr()
        if normalize:
            self._normalize_rows(matrix)
        return matrix

    def _normalize_rows(self, matrix: sp.csr_matrix, chosen: NDArray[np.bool_] | None = None) -> None:
        """Divide every row, or the chosen ones, by the sum of its absolute values, in place."""
        norms = np.asarray(abs(matrix).sum(axis=1, dtype=np.float64)).ravel()
        if chosen is not None:
            norms[~chosen] = 1
        without = np.flatnonzero(norms == 0)
        if len(without):
            first = next(islice(self.ids, int(without[0]), None))
            raise ValueError(
                f"cannot normalize: the weights of {len(without):,} of {len(self.ids):,} {self.name}s sum to zero, "
                f"{self.name} {first!r} first: give every {self.name} a feature, or pass normalize=False"
            )
        matrix.data /= np.repeat(norms, np.diff(matrix.indptr))


def distinct_names(names: Iterable[Hashable] | None) -> dict[Hashable, None]:
    """Return ids or names of features, each once, in the order in which they are first seen.

    Raises
    ------
    TypeError
        If ``names`` is one text, a frame, or holds values that are not hashable.
    ValueError
        If a name is of a type that cannot be saved, or a cell of a column is missing.
    """
    if isinstance(names, (str, bytes)):
        raise TypeError(f"got the text {names!r}, expected a list of ids or names: [{names!r}] is a list of one")
    if hasattr(type(names), "columns"):
        raise TypeError(f"got a {type(names).__name__}, expected a list of ids or names, such as one of its columns")
    if hasattr(names, "__array__"):  # a tensor's cells would all be different
        codes, names = factorize(as_column(names, "the column of ids or names"))
        if len(codes) and codes.min() < 0:
            raise ValueError(f"the column of ids or names has none in row {int(codes.argmin()):,}: leave it out")
    try:
        distinct: dict[Hashable, None] = {} if names is None else dict.fromkeys(names)
    except TypeError as error:
        raise TypeError(f"expected a list of ids or names, such as text and whole numbers: {error}") from error
    check_ids_can_be_saved(distinct)
    return dict.fromkeys(plain_ids(distinct))


def _extend(numbers: dict[Hashable, int], names: Iterable[Hashable]) -> None:
    new = [name for name in names if name not in numbers] if numbers else names
    numbers.update(zip(new, count(len(numbers))))


def _look_up(numbers: dict[Hashable, int], names: Collection[Hashable], kind: str, argument: str) -> NDArray[np.int32]:
    """Return the numbers of names; an error names ``kind``, and the argument of ``fit`` that adds the name."""
    try:
        return np.fromiter(map(numbers.__getitem__, names), np.int32, len(names))
    except KeyError as error:
        raise ValueError(
            f"{kind} {error.args[0]!r} is unknown to the dataset: add it with fit or fit_partial({argument}=...)"
        ) from None
    except TypeError as error:
        raise TypeError(f"a {kind} must be hashable, as text and numbers are: {error}") from error


def _names_of(encoder: Any) -> list[str]:
    return [str(name) for name in encoder.get_feature_names_out()]


def _as_encoder(side: str, frame: Any, features: Any) -> Any:
    """Return an object with fit, transform and get_feature_names_out, or None where there are no features."""
    if features is None:
        return None
    if frame is None:
        raise ValueError(f"{side}_features describe the rows of {side}s, which is not given")
    if all(hasattr(features, method) for method in ("fit", "transform", "get_feature_names_out")):
        return features
    if isinstance(features, Sequence) and not isinstance(features, str) and len(features):
        return CategoricalColumns(features)
    raise TypeError(
        f"{side}_features is {features!r}, expected a list of names of columns or an object with fit, transform and "
        "get_feature_names_out"
    )
