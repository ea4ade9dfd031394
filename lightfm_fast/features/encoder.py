"""The base of all encoders: one column of a frame in, named feature weights out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._arguments import check_choice, check_finite_numbers, warn
from .._learned import learn, refuse_to_assign

OTHER = "other"
MISSING = "missing"
MOST_BINS = 1 << 16  # limits the memory that loading a small file may allocate

_Encoder = TypeVar("_Encoder", bound="Encoder")
# The rows, columns and weights of the entries of a matrix.
Entries = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


class UnseenCategoryWarning(UserWarning):
    """An encoder met categories that were absent in fitting, and gave them no weight.

    Each call warns once, with the number of rows and the first of them. If new categories are expected, silence the
    warning by ``warnings.simplefilter("ignore", UnseenCategoryWarning)``, or give them a weight by ``unseen="other"``.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)

    def __str__(self) -> str:
        advice = "correct it, fit again with it, or take unseen='other'"
        return f"{self.args[0]}. What was not seen has no weight, as if it were missing: {advice}"


class Encoded(NamedTuple):
    """The entries of a matrix; duplicates are summed."""

    n_rows: int
    entries: Entries
    unseen: str = ""
    """The text of a warning of unseen categories; empty if there are none."""


class Encoder:
    """Base of all encoders: one column of a frame in, a float32 CSR matrix with a row for each value out.

    Values are a list, an array, or a column of a data frame that narwhals reads. None, NaN and the nulls of the data
    frame's library are missing values.

    An encoder is a transformer of scikit-learn: ``ColumnTransformer([("genres", MultiCategorical("|"), "genres")])``
    gives it one column.

    A subclass implements ``_learn``, ``_names`` and ``_entries``, and names its parameters and fitted attributes.
    """

    _parameter_names: tuple[str, ...] = ()
    _fitted_names: tuple[str, ...] = ()  # attributes of types that JSON has

    def __init__(self, normalize: str | None) -> None:
        check_choice(normalize, "normalize", (None, "l1", "l2"))
        self.normalize = normalize

    def fit(self: _Encoder, values: Any, y: Any = None) -> _Encoder:
        """Learn the columns of the matrix from the values, not from ``y``; a call that raises changes nothing.

        Raises
        ------
        TypeError, ValueError
            If the values are not of the kind that the encoder takes.
        """
        learned = self._learn(values)
        learn(self, **dict(zip(self._fitted_names, learned, strict=True)))
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._fitted_names:
            refuse_to_assign(name)
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        if name in self._fitted_names:
            refuse_to_assign(name)
        super().__delattr__(name)

    def transform(self, values: Any) -> sp.csr_matrix:
        """Return the weights of the values.

        Returns
        -------
        scipy.sparse.csr_matrix of float32, shape (n_values, n_columns)

        Raises
        ------
        TypeError, ValueError
            If the encoder is not fitted, the values are not of the kind that it takes, or a weight is too large for
            single precision.

        Warns
        -----
        UnseenCategoryWarning
            If categories were not seen in fitting, so that they have no weight.
        """
        matrix, unseen = self._encode_rows(values)
        if unseen:
            warn(UnseenCategoryWarning(unseen))
        return matrix

    def _encode_rows(self, values: Any) -> tuple[sp.csr_matrix, str]:
        """Return the matrix of :meth:`transform`, and the text of a warning."""
        names = self.get_feature_names_out()
        n_rows, (rows, columns, weights), unseen = self._entries(values)
        matrix = sp.csr_matrix((weights.astype(np.float64), (rows, columns)), shape=(n_rows, len(names)))
        if self.normalize is not None:
            size = abs(matrix) if self.normalize == "l1" else matrix.multiply(matrix)
            norms = np.asarray(size.sum(axis=1)).ravel()
            if self.normalize == "l2":
                norms = np.sqrt(norms)
            # Rows of zeros stay as they are.
            matrix.data /= np.repeat(np.where(norms > 0, norms, 1.0), np.diff(matrix.indptr))
        matrix.eliminate_zeros()
        data = check_finite_numbers(matrix.data, "weights").astype(np.float32)
        return sp.csr_matrix((data, matrix.indices, matrix.indptr), shape=matrix.shape), unseen

    def fit_transform(self, values: Any, y: Any = None) -> sp.csr_matrix:
        """Return ``fit(values).transform(values)``."""
        return self.fit(values).transform(values)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the name of every column of the matrix; ValueError if the encoder is not fitted.

        ``input_features``, which scikit-learn passes, is not used.
        """
        if not self.is_fitted:
            raise ValueError(f"this {type(self).__name__} is not fitted yet: call fit(values) first")
        return np.array(self._names(), dtype=object)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's arguments. ``deep``, which scikit-learn passes, is not used."""
        return self._parameters()

    def set_params(self: _Encoder, **parameters: Any) -> _Encoder:
        """Change arguments of the constructor; TypeError or ValueError if it would refuse them."""
        changed = type(self)(**{**self._parameters(), **parameters})
        for name, value in changed._parameters().items():
            setattr(self, name, value)
        return self

    @property
    def is_fitted(self) -> bool:
        """Whether the encoder has its fitted attributes."""
        return all(hasattr(self, name) for name in self._fitted_names)

    def to_state(self) -> dict[str, Any]:
        """Return the parameters and the fitted attributes, in types that JSON has."""
        fitted = {name: getattr(self, name) for name in self._fitted_names if hasattr(self, name)}
        return {"parameters": self._parameters(), "fitted": fitted}

    @classmethod
    def from_state(cls: type[_Encoder], state: Mapping[str, Any]) -> _Encoder:
        """Make the encoder that :meth:`to_state` describes; TypeError or ValueError if ``state`` is invalid."""
        encoder = cls(**state["parameters"])
        fitted = state["fitted"]
        if fitted:
            if set(fitted) != set(cls._fitted_names):
                raise ValueError(f"{sorted(fitted)} is not what {cls.__name__} learns: {sorted(cls._fitted_names)}")
            learn(encoder, **fitted)
            if not encoder._can_have_learned():
                raise ValueError(f"{cls.__name__} cannot have learned {str(fitted)[:200]}")
        return encoder

    @property
    def n_unlisted(self) -> int:
        """The number of columns whose names are generated on demand, rather than learned."""
        return 0

    def _can_have_learned(self) -> bool:
        """Whether the fitted attributes, which a file gave, are values that fitting can set."""
        return True

    def _parameters(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._parameter_names}

    def __repr__(self) -> str:
        parameters = ", ".join(f"{name}={value!r}" for name, value in self._parameters().items())
        return f"{type(self).__name__}({parameters})"

    def _learn(self, values: Any) -> Sequence[Any]:
        """Return the values of the fitted attributes."""
        raise NotImplementedError

    def _names(self) -> list[str]:
        raise NotImplementedError

    def _entries(self, values: Any) -> Encoded:
        raise NotImplementedError


def are_names(values: Any) -> bool:
    """Whether a file's values are a list of distinct texts."""
    return are_texts(values) and len(set(values)) == len(values)


def are_texts(values: Any) -> bool:
    """Whether a file's values are a list of texts."""
    return isinstance(values, list) and all(type(value) is str for value in values)


def are_finite(values: Sequence[Any]) -> bool:
    """Whether a file's values are numbers that are finite in single precision."""
    largest = float(np.finfo(np.float32).max)
    return all(type(value) in (int, float) and abs(value) <= largest for value in values)
