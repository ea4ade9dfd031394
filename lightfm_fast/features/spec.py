"""An encoder for each of several columns of a frame, and the matrix that they make together."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._arguments import check_choice, check_positive, warn
from .._cells import is_hashable, is_missing, show
from .._lazy import cached_property
from .._learned import Learned, learn
from ..data.columns import read_objects
from ..data.frames import check_column, column_name, read_columns
from .categorical import Categorical, IdCategories, MultiCategorical
from .dense import Dense
from .encoder import Encoder, UnseenCategoryWarning
from .numeric import PiecewiseLinear, QuantileBins, Standardized
from .periodic import Periodic
from .text import Text

MOST_UNLISTED = 1 << 22  # limits the memory that loading a small file may allocate
ENCODERS: dict[str, type[Encoder]] = {
    kind.__name__: kind
    for kind in (Categorical, MultiCategorical, Standardized, QuantileBins, PiecewiseLinear, Periodic, Text, Dense)
}


class FeatureSpec:
    """Encoders of several columns of a frame, whose features are joined in one matrix.

    A frame is a data frame of pandas, polars, pyarrow or any other library that narwhals reads, or a dict from column
    name to list, array or column. ``Dataset.from_tables`` takes a spec as ``user_features`` or ``item_features``. A
    spec is also a scikit-learn transformer, which takes whole frames.

    Parameters
    ----------
    encoders : mapping from column name to encoder
        The encoders stay unchanged: :meth:`fit` fits copies, ``encoders_``.
    identity : {"drop", "keep"} or float, default "drop"
        Give each fitted id a column, before all others, of weight 1 ("keep") or of this weight.
        ``Dataset.from_tables`` adds identity features of weight 1 by default; to keep these instead, pass it
        ``item_identity_features=False`` (``user_identity_features=False``).
        The weight has no effect with ``LightFM(feature_scaling="balanced")``, as in the presets.
    id_column : str, optional
        The column of ids, for calls without ``ids``.

    Attributes
    ----------
    encoders_ : dict from column name to fitted encoder
    fields_ : ndarray of str, shape (n_features,)
        The column of the frame that each feature comes from, for ``fields`` of a field-weighted factorization
        machine. It is ``id_column``, or else ``"identity"``, for identity features.

    Examples
    --------
    >>> spec = FeatureSpec({"genres": MultiCategorical(), "year": PiecewiseLinear(1)}, identity=0.5, id_column="film")
    >>> films = {"film": ["Up", "Heat"], "genres": [["animation"], ["crime", "drama"]], "year": [2009, 1995]}
    >>> spec.fit_transform(films).toarray().tolist()
    [[0.0, 0.5, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0], [0.5, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0]]
    >>> spec.get_feature_names_out()[:5].tolist()
    ['film:Heat', 'film:Up', 'genres:animation', 'genres:crime', 'genres:drama']
    """

    encoders_ = Learned[dict[str, Any]]()
    _identity: Categorical | None

    def __init__(
        self, encoders: Mapping[str, Any], identity: str | float = "drop", id_column: str | None = None
    ) -> None:
        if not isinstance(encoders, Mapping):
            raise TypeError(f"encoders is {show(encoders)}, expected a dict from column name to encoder")
        for column, encoder in encoders.items():
            if isinstance(encoder, type) or not all(hasattr(encoder, name) for name in ("fit", "transform")):
                raise TypeError(f"column {column!r} has {encoder!r}, expected an encoder such as Categorical()")
        self.identity = _check_identity(identity)
        if not is_hashable(id_column):
            raise TypeError(f"id_column is {show(id_column)}, expected the name of a column")
        if not encoders and self.identity == "drop":
            raise ValueError("encoders is empty and identity is 'drop': there are no features to make")
        if id_column is not None and id_column in encoders and self.identity != "drop":
            raise ValueError(f"column {id_column!r} holds the ids, which identity= encodes: give it no encoder")
        self.encoders = {check_column(column, "a column of encoders"): part for column, part in encoders.items()}
        self.id_column = check_column(id_column, "id_column")

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's arguments. ``deep``, which scikit-learn passes, is not used."""
        return {"encoders": self.encoders, "identity": self.identity, "id_column": self.id_column}

    def set_params(self, **parameters: Any) -> FeatureSpec:
        """Change arguments of the constructor; TypeError or ValueError if it would refuse them."""
        for name, value in FeatureSpec(**{**self.get_params(), **parameters}).get_params().items():
            setattr(self, name, value)
        return self

    def __sklearn_clone__(self) -> FeatureSpec:
        return FeatureSpec(**self.get_params())  # which fits copies of the encoders

    def fit(self, table: Any, y: Any = None, *, ids: Any = None) -> FeatureSpec:
        """Fit a copy of each encoder to its column; a call that raises changes nothing.

        Parameters
        ----------
        table : frame
            With a column for each encoder. Other columns are ignored.
        y : ignored
            What scikit-learn's pipelines pass.
        ids : array of length n_rows, optional
            The id of each row, by default in the column ``id_column``.

        Raises
        ------
        TypeError
            If ``table`` is no frame, or an encoder refuses the values of its column.
        ValueError
            If a column is missing, has another length or only missing values, two features have the same name, or
            identity features are wanted and ids are missing.
        ImportError
            If a column is text and scikit-learn is not installed.
        """
        columns, _, row_ids = self._read(table, ids)
        fitted: dict[str, Any] = {}
        for column, encoder in self.encoders.items():
            fitted[column] = copy.copy(encoder)
            _of_column(column, fitted[column].fit, columns[column])
        identity = None if row_ids is None else IdCategories().fit(row_ids)
        named = self._name(fitted, identity)
        learn(self, encoders_=fitted, _identity=identity, _named=named)
        return self

    def transform(self, table: Any, *, ids: Any = None) -> sp.csr_matrix:
        """Return the features of the rows of a frame.

        Parameters
        ----------
        table : frame
        ids : array of length n_rows, optional
            As in :meth:`fit`. An id that was absent in fitting has no identity feature.

        Returns
        -------
        scipy.sparse.csr_matrix of float32, shape (n_rows, n_features)

        Raises
        ------
        TypeError, ValueError
            In the cases of :meth:`fit`, or if the spec is not fitted.

        Warns
        -----
        UnseenCategoryWarning
            If columns have categories that were absent in fitting and get no weight. A call warns once.
        """
        self._check_fitted()
        columns, n_rows, row_ids = self._read(table, ids)
        blocks, unseen = [], []
        if self._identity is not None:
            blocks.append(self._identity.transform(row_ids) * np.float32(self._identity_weight()))
        for column, encoder in self.encoders_.items():
            if isinstance(encoder, Encoder):
                matrix, note = _of_column(column, encoder._encode_rows, columns[column])
                unseen += [f"column {column!r}: {note}"] if note else []
            else:
                matrix = _of_column(column, encoder.transform, columns[column])
            blocks.append(matrix)
            if blocks[-1].shape[0] != n_rows:
                raise ValueError(f"column {column!r} gave {blocks[-1].shape[0]:,} rows, expected {n_rows:,}")
        if unseen:
            warn(UnseenCategoryWarning("; ".join(unseen)))
        matrix = sp.csr_matrix(sp.hstack(blocks, format="csr", dtype=np.float32))
        matrix.sort_indices()
        return matrix

    def fit_transform(self, table: Any, y: Any = None, *, ids: Any = None) -> sp.csr_matrix:
        """Return ``fit(table, ids=ids).transform(table, ids=ids)``."""
        return self.fit(table, ids=ids).transform(table, ids=ids)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the name ``column:value`` of every feature; ValueError if the spec is not fitted.

        ``input_features``, which scikit-learn passes, is not used.
        """
        self._check_fitted()
        return np.array(self._named[0], dtype=object)

    @property
    def fields_(self) -> NDArray[np.str_]:
        """The column of the frame that each feature comes from."""
        if not hasattr(self, "encoders_"):
            raise AttributeError("fields_ is there once the FeatureSpec is fitted")
        return np.array(self._named[1], dtype=str)

    @property
    def columns(self) -> list[str]:
        """The columns of a frame that are encoded."""
        return list(self.encoders)

    @property
    def n_unlisted(self) -> int:
        """The number of columns whose names are generated on demand, rather than learned."""
        return sum(getattr(encoder, "n_unlisted", 0) for encoder in getattr(self, "encoders_", self.encoders).values())

    def to_state(self) -> dict[str, Any]:
        """Return the encoders, and the fitted encoders if there are some, in types that JSON has.

        Raises
        ------
        ValueError
            If an encoder is not from :mod:`lightfm_fast.features`.
        """
        is_fitted = hasattr(self, "encoders_")
        identity = self._identity if is_fitted else None
        return {
            "identity": self.identity,
            "id_column": self.id_column,
            "encoders": _pack(self.encoders),
            "fitted": _pack(self.encoders_) if is_fitted else None,
            "ids": None if identity is None else identity.to_state(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> FeatureSpec:
        """Make the spec that :meth:`to_state` describes.

        Raises
        ------
        TypeError, ValueError, KeyError
            If ``state`` is invalid.
        """
        spec = cls(_unpack(state["encoders"]), state["identity"], column_name(state["id_column"]))
        if state["fitted"] is not None:
            learn(spec, encoders_=_unpack(state["fitted"]))
            spec._identity = None if state["ids"] is None else IdCategories.from_state(state["ids"])
            kinds = [
                {column: type(part) for column, part in parts.items()} for parts in (spec.encoders, spec.encoders_)
            ]
            if kinds[0] != kinds[1] or (spec._identity is None) != (spec.identity == "drop"):
                raise ValueError("the fitted encoders of a FeatureSpec are others than those it was made with")
            for part in (*spec.encoders_.values(), *([] if spec._identity is None else [spec._identity])):
                if not part.is_fitted:
                    raise ValueError(f"a FeatureSpec is fitted but its {type(part).__name__} is not")
        if spec.n_unlisted > MOST_UNLISTED:
            raise ValueError(f"a FeatureSpec makes {spec.n_unlisted:,} columns, expected at most {MOST_UNLISTED:,}")
        return spec

    def __repr__(self) -> str:
        return f"FeatureSpec({self.encoders!r}, identity={self.identity!r}, id_column={self.id_column!r})"

    def _check_fitted(self) -> None:
        if not hasattr(self, "encoders_"):
            raise ValueError("this FeatureSpec is not fitted yet: call fit(table) first")

    def _identity_weight(self) -> float:
        return 1.0 if isinstance(self.identity, str) else self.identity

    def _name(self, encoders: Mapping[str, Any], identity: Categorical | None) -> tuple[list[str], list[str]]:
        parts = {} if identity is None else {self.id_column or "identity": identity}
        blocks = [*parts.items(), *encoders.items()]
        pairs = [(f"{column}:{name}", str(column)) for column, part in blocks for name in part.get_feature_names_out()]
        names = [name for name, _ in pairs]
        (name, count), *_ = Counter(names).most_common(1) or [("", 0)]
        if count > 1:
            raise ValueError(f"{count} features would have the name {name!r}: rename a column")
        return names, [field for _, field in pairs]

    @cached_property
    def _named(self) -> tuple[list[str], list[str]]:
        """The name and the column of every feature; a loaded spec computes them on demand."""
        return self._name(self.encoders_, self._identity)

    def _read(self, table: Any, ids: Any) -> tuple[dict[str, Any], int, list[Any] | None]:
        """Return the columns, the number of rows, and the ids where identity features are wanted."""
        wanted = list(self.encoders)
        with_ids = self.identity != "drop"
        if with_ids and ids is None:
            if self.id_column is None:
                raise ValueError(
                    f"identity is {self.identity!r} but there are no ids: pass ids=, or name their column of the "
                    "table by id_column="
                )
            wanted.append(self.id_column)
        columns = read_columns(table, "the table", wanted, vectors=True)
        if not with_ids:
            return columns, len(next(iter(columns.values()))), None
        row_ids = read_objects(columns[self.id_column] if ids is None and self.id_column is not None else ids)
        missing = [row for row, value in enumerate(row_ids) if is_missing(value)]
        if missing:
            raise ValueError(f"{len(missing):,} ids are missing, in row {missing[0]:,} first: leave those rows out")
        lengths = {column: len(values) for column, values in columns.items()}
        if any(length != len(row_ids) for length in lengths.values()):
            raise ValueError(f"there are {len(row_ids):,} ids but the columns of the table have lengths {lengths}")
        return columns, len(row_ids), row_ids


def _of_column(column: str, method: Any, values: Any) -> Any:
    try:
        return method(values)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        text = str(error)
        text = text.removeprefix("the column") if text.startswith("the column has ") else f": {text}"
        raise kind(f"column {column!r}{text}") from error


def _pack(encoders: Mapping[str, Any]) -> list[list[Any]]:
    packed = []
    for column, encoder in encoders.items():
        name = type(encoder).__name__
        if ENCODERS.get(name) is not type(encoder):
            raise ValueError(f"column {column!r} has {encoder!r}, which is none of lightfm_fast.features: not saved")
        packed.append([column, name, encoder.to_state()])
    return packed


def _unpack(packed: Sequence[Sequence[Any]]) -> dict[str, Any]:
    encoders: dict[Any, Any] = {}
    for column, name, state in packed:
        column = column_name(column)
        if column in encoders:
            raise ValueError(f"column {column!r} has two encoders")
        if name not in ENCODERS:
            raise ValueError(f"{name!r} is no encoder of lightfm_fast.features")
        encoders[column] = ENCODERS[name].from_state(state)
    return encoders


def _check_identity(identity: Any) -> str | float:
    """Return how identity features are treated: "keep", "drop" or a weight; see :func:`check_positive`."""
    if isinstance(identity, str):
        check_choice(identity, "identity", ("keep", "drop"))
        return identity
    return check_positive(identity, "identity, where it is neither 'keep' nor 'drop',")
