"""The contributions of features to a score."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from lightfm_fast._arguments import (
    check_count,
    check_row_numbers,
    check_within,
    counted,
    is_whole,
    shorten,
)
from lightfm_fast._autoencoder import Autoencoder
from lightfm_fast._axes import GREY, families_for, new_axes, plain
from lightfm_fast._content import Content, unit_rows
from lightfm_fast._feature_rows import is_identity
from lightfm_fast._interactive import check_interactive, draw_waterfall
from lightfm_fast._matrices import check_representations
from lightfm_fast._parameters import to_directions
from lightfm_fast._sides import Sides
from lightfm_fast.data.columns import as_column

__all__ = ["Explanation"]

HISTORY = "history"  # names what interactions contribute, whatever the features

_LONGEST_NAME = 32  # of a user, an item or a feature in a plot

# Labels, shown weights, and embeddings and biases that are multiplied by the weights that count.
Terms = tuple[Sequence[Any], NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]


class Row(NamedTuple):
    """A user or an item: the row of a matrix of features, and the names of its columns if they have any."""

    number: int
    features: sp.csr_matrix
    names: Sequence[Any] | None

    def labels(self, side: str) -> list[Any]:
        """Return the names of the row's features."""
        columns, _ = self.weights()
        prefix = side if is_identity(self.features) else f"{side} feature"
        return [f"{prefix} {column}" if self.names is None else self.names[column] for column in columns]

    def weights(self) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return the columns of the row's entries, and their weights."""
        first, last = self.features.indptr[self.number : self.number + 2]
        return self.features.indices[first:last], self.features.data[first:last]


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    r"""A score split into contributions of features.

    The score is multilinear in the features' weights f, so it is exactly the sum (Kula 2015)
    :math:`\sum_j f_{uj} b_j + \sum_k f_{ik} b_k + \sum_{jk} f_{uj} f_{ik} \, e_j \cdot e_k`. With
    ``interactions="all"`` the products of each two features of the user, and of each two of the item, are added.

    Attributes
    ----------
    user_id, item_id : int
    user_features, item_features : sequence
        Names of the features that the user and the item have. Where a mapping places a new row, the first is the mean
        of the known rows, and the others are the features that the mapping knows. Of a user whom interactions
        represent, the last is "history": what they have added to the sum of the features.
    user_biases : float64 array of shape (n_user_features,)
        Contributions of the biases of the user's features.
    item_biases : float64 array of shape (n_item_features,)
        Contributions of the biases of the item's features.
    pairs : float64 array of shape (n_user_features, n_item_features)
        Contributions of each user feature paired with each item feature.
    user_pairs : float64 array of shape (n_user_features, n_user_features), or None with ``interactions="cross"``
        Contributions of each pair of user features, above the diagonal; the rest is 0.
    item_pairs : float64 array of shape (n_item_features, n_item_features), or None
        Contributions of each pair of item features, likewise.
    user_weights, item_weights : float32 array of shape (n_user_features,), (n_item_features,), or None
        The features' weights. If some weight is not 1, weights are shown beside the names: for columns that add up,
        such as the ranges of a numeric curve, they tell which ranges are reached in full.
    user_name, item_name : str or None
        Names of the user and the item in titles.
    content_features : sequence, or None
        Where content places the item: names of the item's features that match the user's profile.
        Without a mapping ``item_features`` are then the known items that the item is like, and their weights are their
        shares in it.
    neighbours : int array of shape (n_item_features,), or None
        Rows of the known items that ``item_features`` then name.
    content : float64 array of shape (n_content_features + 1,), or None
        Contributions of the match of each of ``content_features`` with the profile; the last is that of the mean match
        of all items, which is subtracted.
    linear : float or None
        Contribution of the linear autoencoder: how well the item goes with the user's items, whatever their features.
        None for users or items that it does not know.
    """

    user_id: int
    item_id: int
    user_features: Sequence[Any]
    item_features: Sequence[Any]
    user_biases: NDArray[np.float64]
    item_biases: NDArray[np.float64]
    pairs: NDArray[np.float64]
    user_pairs: NDArray[np.float64] | None = None
    item_pairs: NDArray[np.float64] | None = None
    user_weights: NDArray[np.float32] | None = None
    item_weights: NDArray[np.float32] | None = None
    user_name: str | None = None
    item_name: str | None = None
    content_features: Sequence[Any] | None = None
    content: NDArray[np.float64] | None = None
    neighbours: NDArray[np.int64] | None = None
    linear: float | None = None

    @property
    def parts(self) -> dict[str, float]:
        """The sums of the contributions of ``"biases"``, ``"factors"``, ``"content"`` and ``"linear"``."""
        pairs = [part for part in (self.pairs, self.user_pairs, self.item_pairs) if part is not None]
        return {
            "biases": float(self.user_biases.sum() + self.item_biases.sum()),
            "factors": float(sum(part.sum() for part in pairs)),
            "content": 0.0 if self.content is None else float(self.content.sum()),
            "linear": self.linear or 0.0,
        }

    @property
    def score(self) -> float:
        """The sum of all contributions. It equals the score of ``predict`` up to rounding to single precision."""
        parts = (self.user_biases, self.item_biases, self.pairs, self.user_pairs, self.item_pairs, self.content)
        return float(sum(part.sum() for part in parts if part is not None)) + (self.linear or 0.0)

    def rows(self) -> list[dict[str, Any]]:
        """List all contributions, the largest in size first.

        Returns
        -------
        list of dict
            Dicts of ``user_feature``, ``item_feature`` and ``contribution``. For a bias the feature of the other side
            is None. For two features of one side, that side has a list of both, and the other side is None.
        """
        rows: list[dict[str, Any]] = []
        for name, bias in zip(self.user_features, self.user_biases.tolist(), strict=True):
            rows.append({"user_feature": name, "item_feature": None, "contribution": bias})
        for name, bias in zip(self.item_features, self.item_biases.tolist(), strict=True):
            rows.append({"user_feature": None, "item_feature": name, "contribution": bias})
        for user_feature, products in zip(self.user_features, self.pairs.tolist(), strict=True):
            for item_feature, product in zip(self.item_features, products, strict=True):
                rows.append({"user_feature": user_feature, "item_feature": item_feature, "contribution": product})
        if self.content is not None and self.content_features is not None:
            for name, match in zip([*self.content_features, "mean"], self.content.tolist(), strict=True):
                rows.append({"user_feature": "profile", "item_feature": name, "contribution": match})
        if self.linear is not None:
            rows.append({"user_feature": HISTORY, "item_feature": "item", "contribution": self.linear})
        sides = (("user", self.user_features, self.user_pairs), ("item", self.item_features, self.item_pairs))
        for side, names, within in sides:
            if within is None:
                continue
            for j, k in combinations(range(len(names)), 2):
                row = {"user_feature": None, "item_feature": None, "contribution": float(within[j, k])}
                rows.append({**row, f"{side}_feature": [names[j], names[k]]})
        return sorted(rows, key=lambda row: -abs(row["contribution"]))

    def __repr__(self) -> str:
        rows = self._largest(5)
        terms = "".join(f"\n  {value:+.4f}  {label}" for label, value in rows)
        return f"<Explanation of {self._title()}>{terms}"

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><td>{value:+.4f}</td><td>{escape(label)}</td></tr>" for label, value in self._largest(10))
        return (
            f"<table><caption>{escape(self._title())}</caption><tr><th>contribution</th><th>of</th></tr>{rows}</table>"
        )

    def _title(self, longest: int | None = None) -> str:
        user = f"user {self.user_id}" if self.user_name is None else self.user_name
        item = f"item {self.item_id}" if self.item_name is None else self.item_name
        return f"{_shortened(user, longest)}, {_shortened(item, longest)}: score {self.score:.3g}"

    def _largest(self, n: int, longest: int | None = None) -> list[tuple[str, float]]:
        """Return labels and values of the ``n`` largest contributions, then the sum of the others."""
        form = ".2g" if self.neighbours is None else ".0%"
        named = replace(
            self,
            user_features=_shown_names(self.user_features, self.user_weights, ".2g", longest),
            item_features=_shown_names(self.item_features, self.item_weights, form, longest),
            content_features=_shown_names(self.content_features or (), None, form, longest),
        )
        rows = named.rows()
        rows = [row for row in rows if row["contribution"]] or rows  # ranking losses do not train biases of users
        largest = [(_label(row), row["contribution"]) for row in rows[:n]]
        if len(rows) > n:
            largest.append((counted(len(rows) - n, "other"), sum(row["contribution"] for row in rows[n:])))
        return largest

    def plot(self, ax: Any = None, n: int = 10, *, interactive: bool = False) -> Any:
        """Draw how the score adds up, as a waterfall: each bar starts where the bar above it ends.

        The largest contributions come first, then the sum of the others, and last the score.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default a new figure.
        n : int
            Number of contributions drawn as a bar each.
        interactive : bool
            Return a figure of plotly instead, which shows whole labels under the pointer.

        Returns
        -------
        matplotlib.axes.Axes or plotly.graph_objects.Figure

        Raises
        ------
        ImportError
            If matplotlib, or plotly, is not installed; the extras ``plot`` and ``interactive`` install them.
        TypeError
            If ``ax`` is no Axes.
        ValueError
            If ``n`` is no whole number of at least 1, or ``ax`` is given and ``interactive`` is True.
        """
        n = check_count(n, "n")
        check_interactive(interactive, ax)
        bars = self._largest(n)
        values = np.array([value for _, value in bars])
        ends = np.cumsum(values)
        starts, total = ends - values, float(values.sum())
        # As many decimals for all as give the largest three digits.
        decimals = max(0, 2 - int(np.floor(np.log10(np.abs([*values, total]).max() or 1.0))))
        texts = [*(f"{value:+.{decimals}f}" for value in values), f"{total:.{decimals}f}"]
        texts = [text.replace("-", "−") for text in texts]
        labels = [*(label for label, _ in bars), "score"]
        short = [*(label for label, _ in self._largest(n, _LONGEST_NAME)), "score"]
        title = self._title(_LONGEST_NAME)
        if interactive:
            return draw_waterfall(title, labels, short, [*values.tolist(), total], texts)
        if ax is None:
            ax = new_axes("Explanation.plot", figsize=(7.5, 1.2 + 0.34 * (len(bars) + 1)))
        colours = ["C0" if value >= 0 else "C3" for value in values]
        ax.barh(range(len(bars)), values, left=starts, color=colours, height=0.72)
        ax.barh([len(bars)], [total], color=GREY, height=0.72)
        ax.vlines(ends, np.arange(len(bars)) - 0.36, np.arange(len(bars)) + 1.36, color=GREY, linewidth=0.8)
        rights = [*np.maximum(starts, ends), max(0.0, total)]
        for place, (text, right) in enumerate(zip(texts, rights, strict=True)):
            ax.annotate(
                text,
                (right, place),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize="small",
            )
        families = families_for([*short, title])
        ax.set_yticks(range(len(labels)), list(map(plain, short)), fontfamily=families)
        ax.tick_params(axis="y", length=0)
        ax.invert_yaxis()
        ax.use_sticky_edges = False  # bars end where their neighbours begin, not at the frame
        ax.margins(x=0.12, y=0.02)
        ax.axvline(0, color=ax.xaxis.label.get_color(), linewidth=0.8)
        ax.spines[["top", "right", "left"]].set_visible(False)
        ax.set_xlabel("contributions to the score, added up")
        ax.set_title(plain(title), loc="right", fontfamily=families)  # it extends over the labels
        return ax


def check_row_number(value: Any, name: str) -> int:
    """Return a single id as an int. Raises as :func:`check_row_numbers`."""
    number = check_row_numbers(value, name)
    if number.ndim:
        raise ValueError(f"{name} is {shorten(value)}, expected a single row number")
    return int(number)


def check_feature_names(names: Any, side: str, n_features: int) -> list[Any] | None:
    """Return a list of the feature columns' names in order, or None if ``names`` is None.

    Raises
    ------
    TypeError
        If ``names`` is text or not iterable.
    ValueError
        If there are not ``n_features`` names, or a mapping from names does not number the columns.
    """
    if names is None:
        return None
    expected = f"{side}_feature_names: expected the name of each of the {n_features:,} feature columns"
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise TypeError(f"{expected}, got {shorten(names)}")
    if isinstance(names, Mapping):
        if not all(map(is_whole, names.values())):
            raise ValueError(f"{expected}, or a mapping from names to their columns, got {shorten(names)}")
        numbered = {column: name for name, column in names.items()}
        if len(names) == n_features and set(numbered) != set(range(n_features)):
            raise ValueError(f"{expected}, got a mapping to other numbers than 0 to {n_features - 1:,}")
        ordered = [numbered[column] for column in sorted(numbered)]
    else:
        ordered = list(as_column(names, f"{side}_feature_names"))
    if len(ordered) != n_features:
        raise ValueError(f"{expected}, got {len(ordered):,} names")
    return ordered


def check_title(title: Any, name: str) -> None:
    """Raise TypeError if ``title`` is neither text nor None."""
    if title is not None and not isinstance(title, str):
        raise TypeError(f"{name} is {shorten(title)}, expected text, such as a title")


class Folded(NamedTuple):
    """A user whom interactions represent: an embedding with its coordinates of content and autoencoder, and a bias."""

    embedding: NDArray[np.float64]
    bias: float

    @classmethod
    def of(cls, representations: Any, row: int, sides: Sides) -> Folded:
        """Return a row of representations; ValueError if there is none, or they do not fit the model."""
        embeddings, biases = check_representations(representations, "user_representations", sides.length)
        check_within(np.array([row]), "user", len(biases))
        embedding = to_directions(embeddings[[row]])[0] if sides.are_cosines else embeddings[row]
        return cls(embedding.astype(np.float64), float(biases[row]))


def explain(sides: Sides, user_id: int, user: Row | None, item: Row, folded: Folded | None = None) -> Explanation:
    """Split the score of the user ``user_id`` and of ``item`` into contributions, in double precision.

    With ``folded``, ``user`` has the features that the user had beside the interactions, or is None.
    """
    user_terms, item_terms = (
        _no_terms(sides) if row is None else _mapped_terms(sides, name, row) or _summed_terms(sides, name, row)
        for name, row in (("user", user), ("item", item))
    )
    user_pairs, item_pairs = (
        np.triu(embeddings @ embeddings.T, 1) if sides.has_pairs else None
        for _, _, embeddings, _ in (user_terms, item_terms)
    )
    if folded is not None:
        user_terms = _with_history(user_terms, user_pairs, folded)
        user_pairs = None if user_pairs is None else np.pad(user_pairs, (0, 1))
    user_labels, user_weights, user_embeddings, user_biases = user_terms
    item_labels, item_weights, item_embeddings, item_biases = item_terms
    profile, linear = _coordinates_of_user(sides, user, folded)
    content_features = matches = neighbours = None
    if sides.content is not None and (explained := _content_terms(sides.content, profile, item)) is not None:
        near, *like, columns, matches = explained
        if sides.items.mapping is None:
            neighbours, (item_weights, item_embeddings, item_biases) = near, like
            item_labels = [f"like item {number}" for number in neighbours]
        content_features = [
            label for label, column in zip(item.labels("item"), item.weights()[0], strict=True) if column in columns
        ]
    return Explanation(
        user_id,
        item.number,
        user_labels,
        item_labels,
        user_biases,
        item_biases,
        user_embeddings @ item_embeddings.T,
        user_pairs,
        item_pairs,
        user_weights,
        item_weights,
        content_features=content_features,
        content=matches,
        neighbours=neighbours,
        linear=_linear_term(sides.autoencoder, linear, item),
    )


def _no_terms(sides: Sides) -> Terms:
    return [], np.zeros(0, np.float32), np.zeros((0, sides.no_components)), np.zeros(0)


def _with_history(terms: Terms, pairs: NDArray[np.float64] | None, folded: Folded) -> Terms:
    """Return a user's terms with one more: what interactions have added to the sum of the others."""
    labels, weights, embeddings, biases = terms
    added = folded.embedding[: embeddings.shape[1]] - embeddings.sum(axis=0)
    added_bias = folded.bias - biases.sum() - (0.0 if pairs is None else pairs.sum())
    return (
        [*labels, HISTORY],
        np.append(weights, np.float32(1)),
        np.vstack([embeddings, added]),
        np.append(biases, added_bias),
    )


def _coordinates_of_user(
    sides: Sides, user: Row | None, folded: Folded | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a user's coordinates of content and of the autoencoder; none where the model has none."""
    if folded is not None:
        after = folded.embedding[int(sides.no_components) :]
        n_content = 0 if sides.content is None else sides.content.n_coordinates
        return after[:n_content], after[n_content:]
    features = sp.csr_matrix((0, 0)) if user is None else user.features[[user.number]]
    of_content = of_autoencoder = np.zeros((1, 0), np.float32)
    if sides.content is not None:
        of_content = unit_rows(features @ sides.content.profiles)
    if sides.autoencoder is not None:
        of_autoencoder = sides.autoencoder.coordinates("user", features)
    return of_content[0].astype(np.float64), of_autoencoder[0].astype(np.float64)


def _linear_term(autoencoder: Autoencoder | None, of_user: NDArray[np.float64], item: Row) -> float | None:
    """Return what the autoencoder adds to the score."""
    if autoencoder is None:
        return None
    of_item = autoencoder.coordinates("item", item.features[[item.number]])[0].astype(np.float64)
    return float(of_user @ of_item) if of_user.any() and of_item.any() else None


def _summed_terms(sides: Sides, name: str, row: Row) -> Terms:
    """Return the terms of a row that is the sum of its features."""
    table, (columns, shown) = sides.table(name), row.weights()
    embeddings, biases = (table.view(field)[columns].astype(np.float64) for field in ("embeddings", "biases"))
    weights = sides[name].scaled(row.features[[row.number]]).data
    embeddings = weights[:, None] * embeddings
    length = np.linalg.norm(embeddings.sum(axis=0)) if sides.are_cosines else 1.0
    return row.labels(name), shown, embeddings / (length or 1.0), weights * biases


def _mapped_terms(sides: Sides, name: str, row: Row) -> Terms | None:
    """Return the terms of a row that a mapping places, the mean of the known rows first; None for all others."""
    mapping = sides[name].mapping
    if mapping is None:
        return None
    new, words = mapping.placed(row.features[[row.number]], name == "user")
    if not len(new):
        return None
    places = words.indices
    labels = dict(zip(row.weights()[0].tolist(), row.labels(name), strict=True))
    vectors = np.vstack([mapping.mean, words.data[:, None] * mapping.vectors[places]]).astype(np.float64)
    return (
        [f"mean {name}", *(labels[column] for column in mapping.words.columns[places].tolist())],
        np.append(np.float32(1), words.data),
        vectors[:, :-1],
        vectors[:, -1],
    )


def _content_terms(content: Content, profile: NDArray[np.float64], item: Row) -> tuple[Any, ...] | None:
    """Return the terms of an item that content places, and None for all others.

    Returns
    -------
    neighbours, weights, embeddings, biases
        Of the known items that the item is like; embeddings and biases are multiplied by the weights.
    columns, matches
        The item's features with content, and their contributions with the profile, then the mean's.
    """
    features = item.features[[item.number]]
    new, _, neighbours, shares = content.placed(features)
    if not len(new):
        return None
    is_like = shares[0] > 0
    near, weights = neighbours[0][is_like], shares[0][is_like]
    columns = features.indices[content.rarity[features.indices] > 0]
    loadings = (features[:, columns].toarray()[0][:, None] * content.loadings[columns]).astype(np.float64)
    length = np.linalg.norm(loadings.sum(axis=0)) or 1.0
    return (
        content.known[near],
        weights,
        weights[:, None].astype(np.float64) * content.embeddings[near],
        weights.astype(np.float64) * content.biases[near],
        columns,
        np.append(content.weight * (loadings @ profile) / length, -content.offset),
    )


def _shown_names(
    names: Sequence[Any], weights: NDArray[np.float32] | None, form: str, longest: int | None
) -> list[str]:
    """Return each name as text, followed by its weight if some weight is not 1."""
    texts = [_shortened(str(name), longest) for name in names]
    if weights is None or (weights == 1).all():
        return texts
    return [f"{text} ({weight:{form}})" for text, weight in zip(texts, weights.tolist(), strict=True)]


def _shortened(text: str, longest: int | None) -> str:
    """Leave the end of a text out that is longer than ``longest``, if that is given."""
    return text if longest is None or len(text) <= longest else f"{text[: longest - 1].rstrip()}…"


def _label(row: dict[str, Any]) -> str:
    given = [row[side] for side in ("user_feature", "item_feature") if row[side] is not None]
    names = [name for feature in given for name in (feature if isinstance(feature, list) else [feature])]
    return " × ".join(names) if len(names) == 2 else f"bias of {names[0]}"
