"""What represents rows without a past: a linear map from their features, fitted to the rows with a past."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ._feature_rows import are_unowned, owners_of, sampled_rows
from ._matrices import check_saved_arrays
from ._parameters import Floats
from ._words import Words

# Rows that a map is fitted to, at most.
MOST_FITTED = 50_000
# Conjugate gradients end after _MOST_STEPS, or when residuals are _LEAST_RESIDUAL of the first residuals.
_MOST_STEPS, _LEAST_RESIDUAL = 100, 1e-3
# With a larger share of weights other than 0, and so many words at most, a matrix of words by words takes less time.
# Rows that it is summed up from at a time.
_DENSE, _MOST_SOLVED, _AT_ONCE = 0.2, 4096, 4096


@dataclass(frozen=True, eq=False)
class FeatureMapping:
    r"""A ridge regression of representations on features (attribute-to-factor mapping, Gantner 2010).

    A new row is the mean of the known rows plus the sum of the vectors of its words, which are numbers.

    Attributes
    ----------
    owners : int64 array of shape (n_features,)
        The known row that alone has the feature, by number; -1 for all other features.
    words : Words
        How the features are read: n_mapped of them count.
    vectors : float32 array of shape (n_mapped, no_components + 1)
        What a word adds to the embedding and, last, to the bias.
    mean : float32 array of shape (no_components + 1,)
        The mean embedding and bias of the known rows.
    correction : float32 array of shape (n_mapped + 1, no_components + 1), or of no rows
        What ``vectors`` and, last, ``mean`` have learned from choices; see :func:`lightfm_fast._choices.fit_choices`.
    strength : float
        The penalty of the squares of ``vectors``; that of dense words is a multiple of it.
    """

    owners: NDArray[np.int64]
    words: Words
    vectors: Floats
    mean: Floats
    correction: Floats
    strength: float

    def corrected(self, correction: Floats) -> FeatureMapping:
        """Return the mapping, a regression as :func:`fit_mapping` makes it, with a correction."""
        return replace(
            self,
            vectors=self.vectors + correction[:-1],
            mean=self.mean + correction[-1],
            correction=correction,
        )

    def corrected_as(self, before: FeatureMapping) -> FeatureMapping:
        """Return the mapping, a regression, with the correction that an earlier one has."""
        if not len(before.correction):
            return self
        correction = np.zeros((len(self.words.columns) + 1, len(self.mean)), np.float32)
        columns = self.words.columns, before.words.columns
        _, here, there = np.intersect1d(*columns, assume_unique=True, return_indices=True)
        correction[here], correction[-1] = before.correction[there], before.correction[-1]
        return self.corrected(correction)

    def widened(self, n_features: int) -> FeatureMapping:
        """Return the mapping with features that are new since, which are not mapped."""
        n_new = n_features - len(self.owners)
        return replace(self, owners=np.pad(self.owners, (0, n_new), constant_values=-1)) if n_new else self

    def placed(self, features: sp.csr_matrix, includes_unknown: bool) -> tuple[NDArray[np.intp], sp.csr_matrix]:
        """Return the rows that the mapping places, and their words.

        Rows with a past are left out and, unless ``includes_unknown``, rows without words.
        """
        if features.shape[1] > len(self.owners):  # another thread's training has added columns since
            return self.widened(features.shape[1]).placed(features, includes_unknown)
        new = np.flatnonzero(are_unowned(features, self.owners))
        words = self.words.of_rows(features[new])
        if includes_unknown:
            return new, words
        has_any = np.diff(words.indptr) > 0
        return new[has_any], words[has_any]

    def represent(
        self, features: sp.csr_matrix, embeddings: Floats, biases: Floats, includes_unknown: bool
    ) -> tuple[Floats, Floats]:
        """Replace the embeddings and biases of new rows. Padded input gives padded output."""
        new, words = self.placed(features, includes_unknown)
        if not len(new):
            return embeddings, biases
        embeddings, biases = embeddings.copy(), biases.copy()
        mapped = np.asarray(words @ self.vectors) + self.mean
        embeddings[new, : mapped.shape[1] - 1], biases[new] = mapped[:, :-1], mapped[:, -1]
        return embeddings, biases

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of which :meth:`of_arrays` makes an equal object."""
        return {**{name: getattr(self, name) for name in _ARRAYS}, **vars(self.words)}

    @classmethod
    def of_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], strength: Any, no_components: int, n_features: int
    ) -> FeatureMapping:
        """Make the object whose arrays a file holds.

        Raises
        ------
        ValueError
            If they do not fit one another or the model, or numbers are not finite.
        """
        is_corrected = arrays["correction"].size > 0
        n_mapped = arrays["columns"].size
        expected = {
            "owners": (np.int64, (n_features,)),
            "columns": (np.int64, (n_mapped,)),
            "scales": (np.float32, (n_mapped,)),
            "dense": (np.int64, (arrays["dense"].size,)),
            "centres": (np.float32, (arrays["dense"].size,)),
            "vectors": (np.float32, (n_mapped, no_components + 1)),
            "mean": (np.float32, (no_components + 1,)),
            "correction": (np.float32, (is_corrected * (n_mapped + 1), no_components + 1)),
        }
        check_saved_arrays(arrays, expected, "mapping")
        for name, length in (("columns", n_features), ("dense", n_mapped)):
            chosen = arrays[name]
            if chosen.size and (chosen.min() < 0 or chosen.max() >= length or (np.diff(chosen) <= 0).any()):
                raise ValueError(f"the {name} of a mapping are not features in order")
        if arrays["owners"].min(initial=-1) < -1 or arrays["owners"].max(initial=-1) >= np.iinfo(np.int32).max:
            raise ValueError("the owners of a mapping are no rows")
        if type(strength) is not float or not 0 < strength < np.inf:
            raise ValueError(f"the strength of a mapping is {strength!r}, expected a finite number above 0")
        words = Words(*(arrays[name] for name in ("columns", "scales", "dense", "centres")))
        return cls(**{name: arrays[name] for name in _ARRAYS}, words=words, strength=strength)


_ARRAYS = ("owners", "vectors", "mean", "correction")


def fit_mapping(
    features: sp.csr_matrix,
    known: NDArray[np.int64],
    represented: Floats,
    strength: float,
    rng: np.random.RandomState,
) -> FeatureMapping:
    """Fit a mapping to the known rows.

    Parameters
    ----------
    features : csr_matrix
    known : int64 array of shape (n_known,)
        The rows with a past.
    represented : float32 array of shape (n_known, no_components + 1)
        Their embeddings and biases.
    strength : float
    rng : RandomState
        Chooses rows, if there are very many.
    """
    of_known = features[known]
    words = Words.of(of_known)
    mean = represented.mean(axis=0, dtype=np.float64)
    fitted = sampled_rows(np.arange(len(known)), MOST_FITTED, rng)
    penalties = words.penalties(strength)
    vectors = fit_regression(words.of_rows(of_known[fitted]), represented[fitted], mean, penalties)
    return FeatureMapping(
        owners_of(features, known),
        words,
        vectors,
        mean.astype(np.float32),
        np.zeros((0, represented.shape[1]), np.float32),
        strength,
    )


def fit_regression(
    words: sp.csr_matrix, represented: Floats, mean: NDArray[np.float64], penalties: NDArray[np.float64]
) -> Floats:
    """Return the vectors of words whose sums are nearest to what rows' representations differ from the mean."""
    return _ridge(words.astype(np.float64), represented - mean, penalties).astype(np.float32)


def _ridge(words: sp.csr_matrix, wanted: NDArray[np.float64], penalties: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solve (W'W + diag(penalties)) X = W'Y.

    Sparse words take conjugate gradients, all columns of Y at once (Hestenes 1952). The columns are scaled by the roots
    of the matrix's diagonal, since common words have far larger squares.
    """
    n_rows, n_words = words.shape
    if words.nnz > _DENSE * n_rows * n_words and n_words <= _MOST_SOLVED:
        matrix, sums = np.diag(penalties), np.zeros((n_words, wanted.shape[1]))
        for first in range(0, n_rows, _AT_ONCE):
            part = words[first : first + _AT_ONCE].toarray()
            matrix += part.T @ part
            sums += part.T @ wanted[first : first + _AT_ONCE]
        return np.asarray(np.linalg.solve(matrix, sums), dtype=np.float64)
    diagonal = np.asarray(words.multiply(words).sum(axis=0)).ravel() + penalties
    scaled = sp.csr_matrix(words @ sp.diags(1 / np.sqrt(diagonal)))
    transposed = sp.csr_matrix(scaled.T)
    shift = (penalties / diagonal)[:, None]
    residual = np.asarray(transposed @ wanted)
    solution, direction = np.zeros_like(residual), residual.copy()
    squares = (residual**2).sum(axis=0)
    enough = _LEAST_RESIDUAL**2 * squares
    for _ in range(_MOST_STEPS):
        if (squares <= enough).all():
            break
        image = transposed @ (scaled @ direction) + shift * direction
        curvature = (direction * image).sum(axis=0)
        step = np.where(curvature > 0, squares / np.where(curvature > 0, curvature, 1), 0)
        solution += step * direction
        residual -= step * image
        before, squares = squares, (residual**2).sum(axis=0)
        direction = residual + np.where(before > 0, squares / np.where(before > 0, before, 1), 0) * direction
    return solution / np.sqrt(diagonal)[:, None]
