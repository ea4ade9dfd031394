"""What represents items without a past: the items that they are like, and how well they suit a user's profile.

A new item takes the weighted mean of the embeddings of its nearest neighbours by content (Gantner 2010), and its score
gains the cosine of its content with the sum over the user's items, scaled by a weight. Both are products of vectors:
representations have coordinates of content after those of the embedding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ._feature_rows import are_unowned, check_csr_arrays, column_counts
from ._lazy import cached_property
from ._matrices import check_saved_arrays, to_length_1
from ._parameters import Floats, padded_width, to_directions

N_NEIGHBOURS = 10
# The power of the cosine that weighs a neighbour.
SHARPNESS = 3
# Similarities held at a time.
_AT_ONCE = 1 << 22


@dataclass(frozen=True, eq=False)
class Content:
    """The content of the known items, and the profiles of the users.

    Attributes
    ----------
    loadings : float32 array of shape (n_item_features, n_coordinates)
        The coordinates of an item are the sum of its features' loadings, divided by its length.
    owners : int64 array of shape (n_item_features,)
        The known item that alone has the feature, as a number of ``known``; -1 for all other features.
    known : int64 array of shape (n_known,)
        The rows of the known items: those with positive interactions.
    rarity : float32 array of shape (n_item_features,)
        What the weights of features are multiplied by before items are compared; 0 for features of one item or of all.
    words : csr_matrix of shape (n_known, n_item_features), float32
        The known items' features times :attr:`rarity`, rows of length 1.
    embeddings : float32 array of shape (n_known, no_components)
    biases : float32 array of shape (n_known,)
        What represents the known items.
    profiles : float32 array of shape (n_user_features, n_coordinates)
        Sums of the coordinates of the users' items. A user's profile is the sum of the user's features' profiles,
        divided by its length.
    weight : float
        What the product of an item's coordinates with a profile is multiplied by.
    offset : float
        What is taken from the biases of new items, so that content does not lift them over known items.
    """

    loadings: Floats
    owners: NDArray[np.int64]
    known: NDArray[np.int64]
    rarity: Floats
    words: sp.csr_matrix
    embeddings: Floats
    biases: Floats
    profiles: Floats
    weight: float
    offset: float

    @property
    def n_coordinates(self) -> int:
        return self.loadings.shape[1]

    @cached_property
    def by_word(self) -> sp.csr_matrix:
        """The known items' words, transposed: made once, since a request for a few items would wait for it."""
        return self.words.T.tocsr()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "by_word"}

    def widened(self, n_user_features: int, n_item_features: int) -> Content:
        """Return the content with features that are new since: they have no loadings, rarity 0 and no profiles."""
        words = self.words
        n_new, n_new_users = n_item_features - len(self.loadings), n_user_features - len(self.profiles)
        if not n_new and not n_new_users:
            return self
        return replace(
            self,
            loadings=np.pad(self.loadings, ((0, n_new), (0, 0))),
            owners=np.pad(self.owners, (0, n_new), constant_values=-1),
            rarity=np.pad(self.rarity, (0, n_new)),
            words=sp.csr_matrix((words.data, words.indices, words.indptr), (len(self.known), n_item_features)),
            profiles=np.pad(self.profiles, ((0, n_new_users), (0, 0))),
        )

    def is_new(self, features: sp.csr_matrix) -> NDArray[np.bool_]:
        """Tell of each row whether it is no known item, in the sense of :func:`are_unowned`."""
        return are_unowned(features, self.owners)

    def items(
        self, features: sp.csr_matrix, embeddings: Floats, biases: Floats, are_mapped: bool
    ) -> tuple[Floats, Floats]:
        """Represent items, with coordinates of content after the embeddings.

        A known item keeps its embedding and bias, and has coordinates 0. So does a new item whose content no known item
        shares. New items take the means of their neighbours, unless ``are_mapped``.

        Parameters
        ----------
        features : csr_matrix of shape (n_items, n_item_features)
        embeddings : float32 array of shape (n_items, at least no_components)
        biases : float32 array of shape (n_items,)
            The sums over the features, or the output of a mapping.
        are_mapped : bool
            Whether a mapping gave new items their embeddings and biases. Content then leaves these unchanged.
        """
        n_factors = self.embeddings.shape[1]
        extended, biases = self._widened(embeddings), biases.copy()
        new, coordinates, neighbours, shares = self.placed(features)
        biases[new] -= self.offset
        for first in range(0, 0 if are_mapped else len(new), 1024):
            part = slice(first, first + 1024)
            rows, near, weights = new[part], neighbours[part], shares[part]
            extended[rows, :n_factors] = np.einsum("ij,ijk->ik", weights, self.embeddings[near])
            biases[rows] = (weights * self.biases[near]).sum(axis=1) - self.offset
        extended[new, n_factors : n_factors + self.n_coordinates] = self.weight * coordinates
        return extended, biases

    def placed(self, features: sp.csr_matrix) -> tuple[NDArray[np.intp], Floats, NDArray[np.intp], Floats]:
        """Return the new rows that content places, their coordinates, their neighbours and these neighbours' shares."""
        if features.shape[1] > len(self.loadings):  # another thread's training has added columns since
            return self.widened(len(self.profiles), features.shape[1]).placed(features)
        new = np.flatnonzero(self.is_new(features))
        neighbours, shares = nearest(words_of(features[new], self.rarity), self.by_word)
        has_any = shares.any(axis=1)
        new = new[has_any]
        return new, coordinates_of(features[new], self.loadings), neighbours[has_any], shares[has_any]

    def users(self, features: sp.csr_matrix, embeddings: Floats) -> Floats:
        """Represent users, with their profiles after the embeddings; arguments are those of :meth:`items`."""
        if features.shape[1] > len(self.profiles):  # as in placed
            return self.widened(features.shape[1], len(self.loadings)).users(features, embeddings)
        extended = self._widened(embeddings)
        n_factors = self.embeddings.shape[1]
        extended[:, n_factors : n_factors + self.n_coordinates] = unit_rows(features @ self.profiles)
        return extended

    def _widened(self, embeddings: Floats) -> Floats:
        """Copy embeddings, with zeros for the coordinates of content up to whole vectors of the core."""
        n_factors = self.embeddings.shape[1]
        width = padded_width(n_factors + self.n_coordinates)
        extended = np.zeros((len(embeddings), width), dtype=np.float32)
        extended[:, :n_factors] = embeddings[:, :n_factors]
        return extended

    def of_new_users(self, item_features: sp.csr_matrix, positives: sp.csr_matrix) -> Floats:
        """Return the profiles of users who came after training, by their items."""
        if item_features.shape[1] > len(self.loadings):  # as in placed
            return self.widened(len(self.profiles), item_features.shape[1]).of_new_users(item_features, positives)
        return unit_rows(positives @ coordinates_of(item_features, self.loadings))

    def to_arrays(self) -> tuple[dict[str, float], dict[str, NDArray[Any]]]:
        """Return the numbers and the arrays of which :meth:`of_arrays` makes an equal object."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        parts = {"words_data": self.words.data}
        parts.update({f"words_{part}": getattr(self.words, part).astype(np.int64) for part in ("indices", "indptr")})
        return {name: getattr(self, name) for name in _NUMBERS}, {**arrays, **parts}

    @classmethod
    def of_arrays(
        cls,
        numbers: Mapping[str, Any],
        arrays: Mapping[str, NDArray[Any]],
        no_components: int,
        n_user_features: int,
        n_item_features: int,
    ) -> Content:
        """Make the object whose numbers and arrays a file holds.

        Raises
        ------
        ValueError
            If they do not fit one another or the model, or numbers are not finite.
        """
        n_coordinates, n_known = arrays["loadings"].shape[-1], arrays["known"].size
        expected = {
            "loadings": (np.float32, (n_item_features, n_coordinates)),
            "owners": (np.int64, (n_item_features,)),
            "known": (np.int64, (n_known,)),
            "rarity": (np.float32, (n_item_features,)),
            "embeddings": (np.float32, (n_known, no_components)),
            "biases": (np.float32, (n_known,)),
            "profiles": (np.float32, (n_user_features, n_coordinates)),
            "words_data": (np.float32, arrays["words_data"].shape),
            "words_indices": (np.int64, arrays["words_data"].shape),
            "words_indptr": (np.int64, (n_known + 1,)),
        }
        check_saved_arrays(arrays, expected, "content")
        owners = arrays["owners"]
        if not n_known or owners.min(initial=-1) < -1 or owners.max(initial=-1) >= n_known:
            raise ValueError("content_owners points outside of the known items")
        shape = n_known, n_item_features
        words = tuple(arrays[f"words_{part}"] for part in ("data", "indices", "indptr"))
        check_csr_arrays(words[2], words[1], words[0], shape)
        scalars = {name: float(numbers[name]) for name in _NUMBERS}
        if not np.isfinite(list(scalars.values())).all():
            raise ValueError(f"the numbers of content are not finite: {scalars}")
        values: dict[str, Any] = {**{name: arrays[name] for name in _ARRAYS}, **scalars}
        return cls(words=sp.csr_matrix(words, shape=shape), **values)


_NUMBERS = ("weight", "offset")
_ARRAYS = ("loadings", "owners", "known", "rarity", "embeddings", "biases", "profiles")


def unit_rows(matrix: Any) -> Floats:
    """Divide each row by its length; zeros stay."""
    return to_directions(np.asarray(matrix, dtype=np.float32))


def coordinates_of(features: sp.csr_matrix, loadings: Floats) -> Floats:
    """Return the sums of the features' loadings, divided by their lengths."""
    return unit_rows(features @ loadings)


def rarity_of(features: sp.csr_matrix, known: NDArray[np.integer] | None = None) -> Floats:
    r"""Return :math:`\log(N / n)` of a feature that n of N items have, 0 if n is 1 (Spärck Jones 1972).

    The items are the rows ``known``, or all.
    """
    counts = column_counts(features, known)
    n_items = features.shape[0] if known is None else len(known)
    return np.where(counts > 1, np.log(n_items / np.maximum(counts, 1)), 0).astype(np.float32)


def words_of(features: sp.csr_matrix, rarity: Floats) -> sp.csr_matrix:
    """Multiply features by their rarity, and divide rows by their lengths; features of rarity 0 are left out."""
    weighted = sp.csr_matrix(features @ sp.diags(rarity), dtype=np.float32)
    weighted.eliminate_zeros()
    return to_length_1(weighted)


def nearest(
    words: sp.csr_matrix, by_word: sp.csr_matrix, itself: NDArray[np.integer] | None = None
) -> tuple[NDArray[np.intp], Floats]:
    """Find the nearest known items by cosine, and their shares: cosines to the third power, scaled to a sum of 1.

    Parameters
    ----------
    words : csr_matrix of shape (n, n_item_features)
    by_word : csr_matrix of shape (n_item_features, n_known)
        The known items' words, transposed. An item's words have length 1 or 0, as :func:`words_of` makes them.
    itself : array of shape (n,), optional
        The known item that each row is, and that does not count as its neighbour.

    Returns
    -------
    neighbours : array of shape (n, at most 10)
    shares : float32 array of the same shape
        All 0 where no cosine is above 0.
    """
    n_rows, n_known = words.shape[0], by_word.shape[1]
    n_near = min(N_NEIGHBOURS, n_known)
    neighbours = np.zeros((n_rows, n_near), dtype=np.intp)
    cosines = np.zeros((n_rows, n_near), dtype=np.float32)
    step = max(1, _AT_ONCE // n_known)
    for first in range(0, n_rows, step):
        products = sp.csr_matrix(words[first : first + step] @ by_word)
        if itself is not None:
            own = np.repeat(itself[first : first + step], np.diff(products.indptr))
            products.data[products.indices == own] = 0
        for row, (start, end) in enumerate(pairwise(products.indptr.tolist()), first):
            found = products.data[start:end]
            best = np.argpartition(-found, n_near - 1)[:n_near] if len(found) > n_near else np.arange(len(found))
            neighbours[row, : len(best)] = products.indices[start:end][best]
            cosines[row, : len(best)] = found[best]
    powers = np.maximum(cosines, 0) ** SHARPNESS
    totals = powers.sum(axis=1, keepdims=True)
    return neighbours, (powers / np.where(totals > 0, totals, 1)).astype(np.float32)
