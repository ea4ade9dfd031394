"""A model with its dataset: trained from tables, asked by ids in people's own words, answering with tables."""

from __future__ import annotations

import copy
import os
import threading
import warnings
from collections.abc import Hashable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import cached_property
from html import escape
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from . import evaluation, persistence
from ._arguments import check_candidates, check_choice, check_num_threads, shorten
from ._cells import is_missing
from ._hyperparameters import PRESET_EPOCHS
from ._losses import facts_of
from ._matrices import check_known_positives, check_seen
from .data import Dataset, UnknownIdsError
from .data.columns import read_objects
from .data.frames import column_name, is_frame, library_of, list_columns, make_frame, read_columns, row_count
from .data.ids import pack_ids, unpack_ids
from .data.numbering import match_ids
from .explanation import Explanation
from .features import Categorical, FeatureSpec
from .fold_in import Representations
from .lightfm import LightFM
from .recommendation import Recommendations, check_n, most_similar, recommend

__all__ = ["Recommender"]

SCORES = ("rank", "score", "cosine")  # the columns of answers besides ids and titles
MOST_COMPARED = 5000  # ids among which a similar one is looked for: a mistyped id must not cost a server much time


class Recommender:
    """A :class:`LightFM` that carries its :class:`~lightfm_fast.data.Dataset`, and is asked in people's own words.

    :meth:`from_tables` trains one. :meth:`load` reads one that was saved, and any LightFM saved with its dataset. Ids
    and tables go in, tables come out: in the library of the tables that it was trained from (pandas, polars, pyarrow
    or another that narwhals knows), or as dicts of columns.

    Several threads may ask at once, also while one updates: the answers then come from before the update. Sums of
    features are computed at the first question, and kept until the model changes.

    Parameters
    ----------
    model : LightFM
        A fitted model.
    dataset : Dataset
        The ids and the features that the model was fitted with. Its ``interactions`` are the items that users have
        seen; without them every question must say ``filter_seen=False``.
    titles : sequence, optional
        A title for each item, in the order of the dataset's items. Answers and explanations show it.
    title : hashable
        The column of titles in tables.
    library : str, optional
        The library of answers, such as "pandas" or "polars"; None for dicts of columns. It is an attribute that may
        be changed.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If the model is not fitted, does not fit the dataset, or titles are too few or too many.

    Examples
    --------
    >>> from lightfm_fast import LightFM, Recommender
    >>> views = {
    ...     "user": ["ann", "ann", "bob", "bob", "cid", "cid", "dan", "dan"],
    ...     "film": ["alien", "solaris", "alien", "solaris", "amelie", "manon", "amelie", "manon"],
    ... }
    >>> films = {
    ...     "film": ["alien", "solaris", "amelie", "manon", "stalker"],
    ...     "kind": ["space", "space", "love", "love", "space"],
    ... }
    >>> recommender = Recommender.from_tables(
    ...     views, items=films, user="user", item="film", item_features=["kind"],
    ...     model=LightFM(loss="warp", random_state=1), epochs=20,
    ... )
    >>> recommender.recommend("ann", n=1)["film"]  # stalker is new: nobody has seen it yet
    ['stalker']
    >>> recommender.recommend(history=["amelie"], n=1)["film"]  # somebody new, who has seen one film
    ['manon']
    """

    def __init__(
        self,
        model: LightFM,
        dataset: Dataset,
        titles: Sequence[Any] | None = None,
        title: Hashable = "title",
        library: str | None = None,
    ) -> None:
        if not isinstance(model, LightFM):
            raise TypeError(f"model is {shorten(model)}, expected a fitted LightFM")
        if not isinstance(dataset, Dataset):
            raise TypeError(f"dataset is {shorten(dataset)}, expected the Dataset that the model was fitted with")
        n_users, n_items = dataset.interactions_shape()
        if titles is not None and len(titles) != n_items:
            raise ValueError(f"there are {len(titles):,} titles but {n_items:,} items: give one for each item")
        _check_names(dataset, None if titles is None else title)
        if not n_users or not n_items:
            raise ValueError(f"the dataset knows {n_users:,} users and {n_items:,} items: fit it first")
        # The last row of each side needs all columns and all rows, so a model of another dataset is refused here.
        model.predict([n_users - 1], [n_items - 1], dataset.item_features, dataset.user_features)
        for name, n_rows, features in (
            ("user", n_users, dataset.user_features),
            ("item", n_items, dataset.item_features),
        ):
            biases = getattr(model, f"{name}_biases")
            if features is None and biases is not None and len(biases) != n_rows:
                raise ValueError(f"the model was fitted for {len(biases):,} {name}s but the dataset knows {n_rows:,}")
        self.library = library
        self._state = _State(model, dataset, None if titles is None else tuple(titles), title)
        self._lock = threading.Lock()  # one update at a time

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
        title: Hashable | None = None,
        duplicates: str = "sum",
        unknown: str = "raise",
        model: LightFM | None = None,
        epochs: int = PRESET_EPOCHS,
        num_threads: int = 1,
        verbose: bool = False,
    ) -> Recommender:
        """Train a model from tables.

        A table is a data frame of pandas, polars, pyarrow or another library that narwhals reads, or a dict from
        column name to values.

        Parameters
        ----------
        interactions : table
            A row for each interaction.
        users, items : table, optional
            A row for each user (item), with the ids in column ``user`` (``item``), and columns that describe them.
            Items without interactions can be recommended too, by their features.
        user, item : hashable
            Names of the columns of ids.
        value, positive_from, weight, time, duplicates, unknown
            As in :meth:`lightfm_fast.data.Dataset.from_tables`. Of star ratings, say
            ``value="stars", positive_from=4``: four stars and more are likes, fewer are dislikes.
        user_features, item_features : list of columns, mapping from column to encoder, or encoder, optional
            Columns in a list are categories. The encoders of :mod:`lightfm_fast.features` read tags, numbers, dates and
            text: ``{"genres": MultiCategorical("|"), "year": PiecewiseLinear(5)}``.
        title : hashable, optional
            Column of ``items`` that answers show beside the ids.
        model : LightFM, optional
            The model to be fitted, by default ``LightFM.recommended()``. What it has learned before is forgotten.
        epochs : int
        num_threads : int
            Threads that train. With one thread and a seeded model, the same tables give the same recommender.
        verbose : bool
            Show the progress of training.

        Returns
        -------
        Recommender

        Raises
        ------
        TypeError, ValueError
            In the cases of :meth:`lightfm_fast.data.Dataset.from_tables` and :meth:`LightFM.fit`.

        Warns
        -----
        UserWarning
            If ``value`` has no value at or below 0 and ``positive_from`` is not given, so that all rows are likes.
        """
        if title is not None and items is None:
            raise ValueError(f"title is column {title!r} of items, which is not given")
        dataset = Dataset.from_tables(
            interactions,
            users,
            items,
            user=user,
            item=item,
            value=value,
            positive_from=positive_from,
            weight=weight,
            time=time,
            user_features=_as_encoder(user_features),
            item_features=_as_encoder(item_features),
            duplicates=duplicates,
            unknown=unknown,
        )
        _check_names(dataset, title)
        if value is not None and positive_from is None:
            _warn_of_likes(dataset, value)
        titles = None if title is None else _titles_of(items, title, dataset, ())
        model = LightFM.recommended() if model is None else model
        model.fit(**_training(dataset), epochs=epochs, num_threads=num_threads, verbose=verbose)
        return cls(model, dataset, titles, "title" if title is None else title, library_of(interactions))

    # ------------------------------------------------------------------ what it holds

    @property
    def model(self) -> LightFM:
        """The model. :meth:`update` and :meth:`tune` replace it."""
        return self._state.model

    @property
    def dataset(self) -> Dataset:
        """The ids, the features and the known interactions. :meth:`update` replaces it."""
        return self._state.dataset

    @property
    def titles(self) -> tuple[Any, ...] | None:
        """The title of each item, in the order of the dataset's items; None without titles."""
        return self._state.titles

    def __repr__(self) -> str:
        n_users, n_items = self.dataset.interactions_shape()
        facts = [f"{n_users:,} users", f"{n_items:,} items"]
        if self.dataset.interactions is not None:
            facts.append(f"{self.dataset.interactions.nnz:,} interactions")
        return f"<Recommender of {', '.join(facts)}: {self.model!r}>"

    def _repr_html_(self) -> str:
        return f"<p><code>{escape(repr(self.model))}</code></p>{self.dataset._repr_html_()}"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    # ------------------------------------------------------------------ questions

    def recommend(
        self,
        users: Any = None,
        n: int = 10,
        *,
        history: Any = None,
        filter_seen: bool = True,
        items: Any = None,
        exclude: Any = None,
        num_threads: int = 1,
    ) -> Any:
        """Choose the items that score highest for each user, known or new.

        Parameters
        ----------
        users : id, list of ids, mapping, list of mappings, or data frame, optional
            An id, or a list or column of ids, asks for known users.

            A mapping from column to value describes one newcomer by the columns of the user features; a column that it
            lacks is missing. A list of mappings, or a data frame with a row for each, describes several newcomers. If
            they come with the column of user ids, answers name them by it, else by their number from 0.

            Without ``users``, ``history`` alone describes newcomers.
        n : int
            Number of items for each user.
        history : list of item ids, list of lists, or table of interactions, optional
            What newcomers have seen: a list for one newcomer, a list of lists for several in order, or a table as
            :meth:`from_tables` takes, whose rows name newcomers by their ids. Newcomers are folded in
            (:meth:`LightFM.fold_in_users`); the model does not change.
        filter_seen : bool
            Leave out the items that the user has seen.
        items : list of ids, optional
            Choose among these items only. By default all.
        exclude : list of ids, optional
            Never recommend these items.
        num_threads : int
            Threads that score.

        Returns
        -------
        table
            A row for each recommendation, best first: the user's id, unless one user is asked for; the item's id and,
            if there are titles, ``title``; ``rank``, from 1; ``score``. Scores of different users are not comparable.
            A user with fewer than ``n`` items left has fewer rows.

        Raises
        ------
        UnknownIdsError
            If an id is unknown. It is a ValueError.
        TypeError, ValueError
            If the question does not make sense, or ``filter_seen`` is asked for and the interactions are not known.
        """
        num_threads = check_num_threads(num_threads)
        state = self._now()
        n_items = len(state.items.biases)
        check_n(n, n_items)
        asked = _asked(state, users, history, filter_seen, num_threads)
        candidates = state.candidates(items, exclude)
        represented = (*state.items, candidates)
        best = recommend(
            asked.users, represented, state.items.embeddings.shape[1], False, n, asked.seen, candidates, num_threads
        )
        columns = state.dataset.columns
        given = columns["user"], asked.ids
        return _table(state, "item", given, columns["item"], best, "score", library_of(users) or self.library)

    def similar_items(
        self, items: Any, n: int = 10, *, among: Any = None, exclude: Any = None, num_threads: int = 1
    ) -> Any:
        """Find the items most similar to each given item, by the cosine of their embeddings.

        Parameters
        ----------
        items : id or list of ids
        n : int
            Number of similar items; the item itself is left out.
        among : list of ids, optional
            Choose among these items only. By default all.
        exclude : list of ids, optional
            Never choose these items.
        num_threads : int

        Returns
        -------
        table
            A row for each similar item, most similar first: the given id, unless one was given; the similar item's id,
            in a column with ``similar_`` before its name; its title if there are titles; ``rank``; ``cosine``.

        Raises
        ------
        UnknownIdsError
            If an id is unknown. It is a ValueError.
        ValueError
            If ``n`` is no whole number of at least 1.
        """
        return self._similar("item", items, n, among, exclude, num_threads)

    def similar_users(self, users: Any, n: int = 10, *, num_threads: int = 1) -> Any:
        """Find the users most similar to each given user; see :meth:`similar_items`."""
        return self._similar("user", users, n, None, None, num_threads)

    def _similar(self, side: str, ids: Any, n: int, among: Any, exclude: Any, num_threads: int) -> Any:
        num_threads = check_num_threads(num_threads)
        state = self._now()
        embeddings = state.users.embeddings if side == "user" else state.items.embeddings
        check_n(n, len(embeddings))
        given = _as_ids(ids)
        rows = state.rows(side, given)
        candidates = state.candidates(among, exclude) if side == "item" else None
        best = most_similar(embeddings[:, : state.model.no_components], rows, n, candidates, num_threads)
        column = state.dataset.columns[side]
        asked = column, None if _is_id(ids) else given
        return _table(state, side, asked, f"similar_{column}", best, "cosine", library_of(ids) or self.library)

    def explain(self, user: Any, item: Hashable) -> Explanation:
        """Split the score of a user and an item into contributions of their features.

        Parameters
        ----------
        user : id, or mapping
            A known user, or a newcomer as in :meth:`recommend`.
        item : id

        Returns
        -------
        Explanation
            ``rows()`` lists the contributions, and ``plot()`` draws them, with the item's title if there are titles.

        Raises
        ------
        UnknownIdsError
            If an id is unknown. It is a ValueError.
        TypeError, ValueError
            If a newcomer's features do not fit.
        """
        state = self._now()
        dataset = state.dataset
        if isinstance(user, Mapping):
            features, row, name = _encoded(state, [user]), 0, "newcomer"
            if features is None:
                raise ValueError("the model knows no user features, so nothing explains the score of a newcomer")
        else:
            (number,) = state.rows("user", [user])
            features, row, name = *_row_of(dataset.user_features, number), f"user {user}"
        (number,) = state.rows("item", [item])
        item_features, item_row = _row_of(dataset.item_features, number)
        title = None if state.titles is None else state.titles[number]
        return state.model.explain(
            row,
            item_row,
            features,
            item_features,
            state.feature_names["user"],
            state.feature_names["item"],
            name,
            f"item {item}" if title is None else str(title),
        )

    def evaluate(
        self,
        test: Any,
        metrics: str | Sequence[str] = ("precision", "recall", "ndcg", "map", "hit_rate", "mrr", "auc"),
        k: int | Sequence[int] = 10,
        *,
        unknown: str = "raise",
        num_threads: int = 1,
        per_user: bool = False,
    ) -> evaluation.Evaluation:
        """Measure the recommendations on interactions that were not trained on.

        Parameters
        ----------
        test : table
            Held-out interactions, with the columns of :meth:`from_tables`. Those that are among the known interactions
            are left out, and so are users without likes.
        metrics, k, num_threads, per_user
            As in :func:`lightfm_fast.evaluation.evaluate`.
        unknown : {"raise", "skip"}
            Refuse rows of unknown users and items, or leave them out.

        Returns
        -------
        Evaluation

        Raises
        ------
        TypeError, ValueError
            If the table or an argument does not fit, or no user has a like.
        """
        check_choice(unknown, "unknown", ("raise", "skip"))
        dataset = self.dataset
        return evaluation.evaluate(
            self.model,
            dataset.build_interactions_from_table(test, unknown=unknown).interactions,
            dataset.interactions,
            metrics,
            k,
            dataset.user_features,
            dataset.item_features,
            num_threads=num_threads,
            per_user=per_user,
            check_intersections=False,
        )

    # ------------------------------------------------------------------ changes

    def update(
        self,
        interactions: Any = None,
        users: Any = None,
        items: Any = None,
        *,
        epochs: int = 5,
        duplicates: str = "sum",
        unknown: str = "add",
        num_threads: int = 1,
    ) -> Recommender:
        """Take in later rows: new interactions, users and items. The model grows and trains on.

        Parameters
        ----------
        interactions : table, optional
            New interactions, with the columns of :meth:`from_tables`. The model trains on the known and the new ones.
            Without them nothing is trained: new users and items are represented by their features.
        users, items : table, optional
            A row for each new user (item), with the columns of the features. Known ones are described anew.
        epochs : int
            Passes over all known interactions. With 0 the model only grows, and seen items are left out from now on.
        duplicates : {"sum", "max", "last", "error"}
            How to merge interactions with the same user and item, as in :meth:`from_tables`.
        unknown : {"add", "raise", "skip"}
            What to do with interactions whose user or item is not known, nor in ``users`` or ``items``.
        num_threads : int

        Returns
        -------
        Recommender
            This recommender. A call that raises leaves it as it was.

        Raises
        ------
        TypeError, ValueError
            In the cases of :meth:`lightfm_fast.data.Dataset.extended` and :meth:`LightFM.fit_partial`.
        """
        with self._lock:
            state = self._now()
            dataset = state.dataset.extended(interactions, users, items, duplicates, unknown)
            titles = state.titles
            if titles is not None:
                titles = _titles_of(items, state.title, dataset, titles)
            model = copy.deepcopy(state.model)  # others are answered by the old one meanwhile
            epochs = epochs if interactions is not None else 0
            model.fit_partial(**_training(dataset), epochs=epochs, num_threads=num_threads)
            self._state = _State(model, dataset, titles, state.title)
        return self

    def tune(self, **options: Any) -> Any:
        """Search for better hyperparameters on the known interactions, and keep the model that wins.

        Parameters
        ----------
        **options
            Those of :func:`lightfm_fast.tuning.tune`, such as ``budget="10min"`` and ``task="new items"``.

        Returns
        -------
        TuningResult

        Raises
        ------
        ImportError, TypeError, ValueError
            As :func:`lightfm_fast.tuning.tune`.
        """
        from .tuning import tune  # imported here, since few need it

        with self._lock:
            state = self._now()
            result = tune(**_training(state.dataset), timestamps=state.dataset.timestamps, **options)
            self._state = _State(result.model, state.dataset, state.titles, state.title)
        return result

    # ------------------------------------------------------------------ files

    def save(self, path: str | os.PathLike[str], *, interactions: bool = True, optimizer_state: bool = True) -> None:
        """Write the recommender to one safetensors file; an existing file is replaced atomically.

        Parameters
        ----------
        path : path
            :func:`lightfm_fast.load` and :meth:`load` read the file, and :meth:`LightFM.load` reads its model.
        interactions : bool
            Save the known interactions, without their times: some 4 to 12 bytes each. Without them the loaded
            recommender does not know what users have seen.
        optimizer_state : bool
            Save what training needs to continue where it stopped, which doubles the size of the parameters.

        Raises
        ------
        ValueError
            If an encoder or a title cannot be saved.
        OSError
            If the file cannot be written.
        """
        state = self._state
        contents = state.model.to_contents(optimizer_state, state.dataset)
        kind = None
        if state.titles is not None:
            kind, arrays = pack_ids(state.titles)
            contents.tensors.update({f"titles.{name}": array for name, array in arrays.items()})
        contents.document["recommender"] = {"library": self.library, "title": state.title, "titles": kind}
        persistence.write(
            path, contents.document, contents.tensors, state.dataset, contents.encoders, with_interactions=interactions
        )

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], mmap: bool = False, verify: str = "all", trusted: bool = False
    ) -> Recommender:
        """Read a recommender, or a LightFM that was saved with its dataset.

        Parameters
        ----------
        path, mmap, verify, trusted
            As in :meth:`LightFM.load`.

        Returns
        -------
        Recommender

        Raises
        ------
        ValueError
            As :meth:`LightFM.load`; also if the file has no dataset.
        OSError
            If it cannot be opened.
        """
        return cls.from_contents(path, persistence.read(path, mmap, verify, trusted), mmap, verify)

    @classmethod
    def from_contents(
        cls, path: str | os.PathLike[str], contents: persistence.Contents, mmap: bool = False, verify: str = "all"
    ) -> Recommender:
        """Make the recommender of the contents of a file that was read already; otherwise as :meth:`load`."""
        model = LightFM.from_contents(path, contents, mmap, verify)
        if contents.dataset is None:
            raise ValueError(
                f"{os.fspath(path)} holds a LightFM without its Dataset, so its ids are not known: save it by "
                "save(path, dataset=dataset)"
            )
        try:
            title, titles, library = _unpacked(contents)
            return cls(model, contents.dataset, titles, title, library)
        except (ValueError, *persistence.MALFORMED) as error:
            raise ValueError(f"{os.fspath(path)} holds no recommender: {error}") from error

    def _now(self) -> _State:
        """Return the state, made anew if the model has been trained since."""
        state = self._state
        if state.is_stale:
            state = self._state = _State(state.model, state.dataset, state.titles, state.title)
        return state


class _State:
    """What a recommender knows at one moment: replaced as a whole, so that a question sees one state only.

    Attributes
    ----------
    model, dataset, titles, title
        As in the constructor of :class:`Recommender`.
    """

    def __init__(self, model: LightFM, dataset: Dataset, titles: tuple[Any, ...] | None, title: Hashable) -> None:
        self.model, self.dataset, self.titles, self.title = model, dataset, titles, title
        self._history, self._n_epochs = model.history_, len(model.history_)

    def __getstate__(self) -> dict[str, Any]:
        kept = ("model", "dataset", "titles", "title", "_history", "_n_epochs")
        return {name: vars(self)[name] for name in kept}

    @property
    def is_stale(self) -> bool:
        """Whether the model has been trained since, by its own methods."""
        return self.model.history_ is not self._history or len(self._history) != self._n_epochs

    @cached_property
    def users(self) -> Representations:
        """What represents each user."""
        model, features = self.model, self.dataset.user_features
        if self._is_plain:
            return Representations(model.user_embeddings, model.user_biases)
        return _represented(model.get_user_representations(features))

    @cached_property
    def items(self) -> Representations:
        """What represents each item."""
        model, features = self.model, self.dataset.item_features
        if self._is_plain:
            return Representations(model.item_embeddings, model.item_biases)
        return _represented(model.get_item_representations(features))

    @property
    def _is_plain(self) -> bool:
        """Whether the parameters themselves are the representations, so that a mapped file need not be copied."""
        are_sums = self.dataset.user_features is not None or self.dataset.item_features is not None
        return not are_sums and not facts_of(self.model.loss).scores_are_cosines

    @cached_property
    def seen(self) -> sp.csr_matrix | None:
        """A one for each item that a user has an interaction with, liked or not."""
        interactions = self.dataset.interactions
        return None if interactions is None else check_known_positives(interactions, "interactions")

    @cached_property
    def feature_names(self) -> dict[str, list[Hashable]]:
        """The name of each column of features; of an id where there are identity features only."""
        users, of_users, items, of_items = self.dataset.mapping()
        return {
            "user": list(users if self.dataset.user_features is None else of_users),
            "item": list(items if self.dataset.item_features is None else of_items),
        }

    @cached_property
    def _ids(self) -> dict[str, NDArray[np.object_]]:
        users, _, items, _ = self.dataset.mapping()
        return {side: _objects(list(numbers)) for side, numbers in (("user", users), ("item", items))}

    def ids(self, side: str, rows: NDArray[np.int64]) -> list[Hashable]:
        """Return the ids of rows."""
        return self._ids[side][rows].tolist()

    def rows(self, side: str, ids: Sequence[Hashable]) -> NDArray[np.int64]:
        """Return the rows of ids; UnknownIdsError if one is unknown."""
        users, _, items, _ = self.dataset.mapping()
        known = users if side == "user" else items
        try:
            rows = match_ids(ids, known)
        except TypeError as error:
            raise TypeError(f"{shorten(ids)} cannot be ids of {side}s: {error}") from error
        unknown = np.flatnonzero(rows < 0)
        if len(unknown):
            raise UnknownIdsError(*_unknown(side, ids[unknown[0]], len(unknown), known))
        return rows.astype(np.int64)

    def candidates(self, items: Any, exclude: Any) -> NDArray[np.int64] | None:
        """Return the rows of the items to choose from, None for all."""
        chosen, left_out = (None if ids is None else self.rows("item", _as_ids(ids)) for ids in (items, exclude))
        return check_candidates(chosen, left_out, len(self.items.biases))


class _Asked(NamedTuple):
    """Users to recommend to: ids for the answer, None for one user; representations; items to leave out."""

    ids: Sequence[Hashable] | None
    users: tuple[Any, Any, NDArray[np.int64]]
    seen: sp.csr_matrix | None


def _asked(state: _State, users: Any, history: Any, filter_seen: bool, num_threads: int) -> _Asked:
    """Look known users up, or represent newcomers."""
    newcomers = _newcomers(users, state.dataset.columns["user"])
    if users is not None and newcomers is None:
        if history is not None:
            raise ValueError(
                "history describes newcomers, and known users are asked for: add their new interactions by update(), "
                "or leave the users out to ask for somebody who has seen these items"
            )
        ids = _as_ids(users)
        rows = state.rows("user", ids)
        if not filter_seen:
            seen = None
        elif state.seen is None:
            raise ValueError(
                "this recommender does not know what users have seen: it was made or saved without interactions. Pass "
                "filter_seen=False, or add them by update(interactions, epochs=0)"
            )
        else:
            seen = check_seen(state.seen, rows, len(state.items.biases))
        return _Asked(None if _is_id(users) else ids, (*state.users, rows), seen)
    if newcomers is None and history is None:
        raise TypeError("whom to recommend to? Pass ids of users, columns that describe newcomers, or history=[...]")
    chosen, names = _histories(state, newcomers, history)
    features = None if newcomers is None else _encoded(state, newcomers.rows)
    represented = _fold_in(state, chosen, features, num_threads)
    rows = np.arange(len(represented.biases))
    seen = check_seen(chosen, rows, chosen.shape[1]) if filter_seen else None
    return _Asked(names, (*represented, rows), seen)


class _Newcomers(NamedTuple):
    """Users that are described by columns: a table or a list of mappings, and their ids if they have some."""

    rows: Any
    ids: list[Hashable] | None
    is_one: bool


def _newcomers(users: Any, id_column: Hashable) -> _Newcomers | None:
    """Return the newcomers that ``users`` describes; None if it is ids."""
    if isinstance(users, Mapping):
        return _Newcomers([users], [users[id_column]] if id_column in users else None, is_one=True)
    if is_frame(users):
        if id_column not in list_columns(users):
            return _Newcomers(users, None, is_one=False)
        return _Newcomers(users, read_objects(read_columns(users, "users", [id_column])[id_column]), is_one=False)
    if isinstance(users, list) and users and all(isinstance(row, Mapping) for row in users):
        have_ids = all(id_column in row for row in users)
        return _Newcomers(users, [row[id_column] for row in users] if have_ids else None, is_one=False)
    return None


def _encoded(state: _State, rows: Any) -> sp.csr_matrix | None:
    """Return the features of newcomers: a table, or a list of mappings. None if the model knows no user features."""
    dataset = state.dataset
    encoder = dataset.encoders["user"]
    if encoder is None:  # files of the first format keep encoders beside the dataset
        encoder = state.model.encoders_.get("user")
    if isinstance(rows, list):
        names = dict.fromkeys(name for row in rows for name in row if name != dataset.columns["user"])
        columns = [] if encoder is None else getattr(encoder, "columns", list(names))
        wrong = [name for name in names if name not in columns]
        if wrong:
            made_of = f"they are made of {', '.join(map(repr, columns))}" if columns else "it was trained without any"
            raise ValueError(f"no user feature of this model is made of {shorten(wrong[0])}: {made_of}")
        if not columns:
            return None
        rows = {column: [row.get(column) for row in rows] for column in columns}
    return None if encoder is None else dataset.encode_new_users(rows, encoder)


def _histories(
    state: _State, newcomers: _Newcomers | None, history: Any
) -> tuple[sp.csr_matrix, Sequence[Hashable] | None]:
    """Return what newcomers have seen, a row for each, and their ids; None for a single one."""
    dataset = state.dataset
    users, _, items, _ = dataset.mapping()
    ids = None if newcomers is None else newcomers.ids
    if isinstance(history, Mapping) or is_frame(history):
        if newcomers is not None and ids is None:
            raise ValueError(
                f"history is a table, whose column {dataset.columns['user']!r} names newcomers: describe them by a "
                "table with this column too"
            )
        ids, chosen = dataset.build_interactions_of_newcomers(history, ids)
        is_one = newcomers is not None and newcomers.is_one
    else:
        n_rows = None if newcomers is None or newcomers.is_one else row_count(newcomers.rows)
        lists = _as_lists(history, n_rows)
        is_one = n_rows is None and not _is_nested(history)
        flat = [item for row in lists for item in row]
        places = np.repeat(np.arange(len(lists)), [len(row) for row in lists])
        columns = state.rows("item", flat)
        chosen = sp.coo_matrix((np.ones(len(flat), np.float32), (places, columns)), shape=(len(lists), len(items)))
    known = next((name for name in ids or () if name in users), None)
    if known is not None:
        raise ValueError(
            f"{known!r} is a known user: ask for known users by their ids alone, and add their new interactions by "
            "update()"
        )
    matrix = chosen.tocsr()
    return matrix, None if is_one else (list(range(matrix.shape[0])) if ids is None else ids)


def _as_lists(history: Any, n_rows: int | None) -> list[list[Any]]:
    """Return the items that each newcomer has seen, for ``n_rows`` newcomers or one."""
    if history is None:
        return [[]] * (1 if n_rows is None else n_rows)
    lists = [read_objects(row) for row in history] if _is_nested(history) else [_as_ids(history)]
    if n_rows is not None and len(lists) != n_rows:
        raise ValueError(f"history has {len(lists):,} lists but there are {n_rows:,} newcomers: give one for each")
    return lists


def _is_nested(history: Any) -> bool:
    return isinstance(history, list) and bool(history) and not any(map(_is_id, history))


def _fold_in(state: _State, chosen: sp.csr_matrix, features: sp.csr_matrix | None, num_threads: int) -> Representations:
    """Represent newcomers by what they have chosen and by their features, or by features alone."""
    model, n_rows = state.model, chosen.shape[0]
    if features is None:
        described = Representations(
            np.zeros((n_rows, state.items.embeddings.shape[1]), np.float32), np.zeros(n_rows, np.float32)
        )
    else:
        described = _represented(model.get_user_representations(features))
    if not chosen.nnz:
        return described
    folded = model.fold_in_users(chosen, features, state.dataset.item_features, num_threads=num_threads)
    without = np.diff(chosen.indptr) == 0
    for part, start in zip(folded, described, strict=True):
        part[without] = start[without]
    return folded


def _represented(representations: tuple[NDArray[np.float32], NDArray[np.float32]]) -> Representations:
    biases, embeddings = representations
    return Representations(embeddings, biases)


def _row_of(features: sp.csr_matrix | None, number: int) -> tuple[sp.csr_matrix | None, int]:
    """Return a matrix of one row of features, and the row's number in it: checking all rows would take long."""
    return (None, number) if features is None else (sp.csr_matrix(features[[number]]), 0)


def _is_id(value: Any) -> bool:
    return isinstance(value, (str, bytes, tuple)) or not isinstance(value, Iterable)


def _as_ids(ids: Any) -> list[Any]:
    return [ids] if _is_id(ids) else read_objects(ids)


def _objects(values: list[Any]) -> NDArray[np.object_]:
    array = np.empty(len(values), dtype=object)
    array[:] = values  # np.array would make a matrix of tuples
    return array


def _unknown(side: str, name: Hashable, n_unknown: int, known: Mapping[Hashable, int]) -> tuple[str, str]:
    """Return what is wrong with an unknown id, and what to do."""
    problem = f"{shorten(name)} is no known {side}"
    if n_unknown > 1:
        problem += f", nor are {n_unknown - 1:,} others"
    advice = "add new items by update(items=...)"
    if side == "user":
        advice = "describe newcomers by a dict of their features or by history=[...], or add them by update()"
    if isinstance(name, str) and len(known) <= MOST_COMPARED:
        near = get_close_matches(name, [other for other in known if isinstance(other, str)], n=1)
        advice = f"did you mean {near[0]!r}? Else {advice}" if near else advice
    return problem, advice


def _table(
    state: _State,
    side: str,
    given: tuple[Hashable, Sequence[Hashable] | None],
    column: Hashable,
    best: Recommendations,
    score: str,
    library: str | None,
) -> Any:
    """Return a table with a row for each id in ``best``; the column of given ids is left out where they are None."""
    rows, places = np.nonzero(best.ids >= 0)
    found = best.ids[rows, places]
    columns: dict[Hashable, Any] = {}
    name, asked = given
    if asked is not None:
        columns[name] = [asked[row] for row in rows.tolist()]
    columns[column] = state.ids(side, found)
    if side == "item" and state.titles is not None:
        columns[state.title] = [state.titles[row] for row in found.tolist()]
    columns["rank"], columns[score] = places + 1, best.scores[rows, places]
    return make_frame(columns, library)


def _as_encoder(features: Any) -> Any:
    """Return an encoder of the columns that a list or a mapping names; anything else unchanged."""
    if isinstance(features, Mapping):
        return FeatureSpec(features)
    if isinstance(features, Sequence) and not isinstance(features, str) and features:
        return FeatureSpec({column: Categorical() for column in features})  # tells of unknown categories by a warning
    return features


def _training(dataset: Dataset) -> dict[str, Any]:
    """Return the arguments of LightFM.fit that a dataset holds."""
    interactions: Any = dataset.interactions
    if interactions is None:
        nothing = np.zeros(0, np.int32)
        interactions = sp.coo_matrix((nothing, (nothing, nothing)), shape=dataset.interactions_shape())
    return {
        "interactions": interactions,
        "user_features": dataset.user_features,
        "item_features": dataset.item_features,
        "sample_weight": None if dataset.columns["weight"] is None else dataset.weights,
    }


def _titles_of(items: Any, title: Hashable, dataset: Dataset, before: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the title of each item as text, None where it is missing: those of a table, else those before."""
    known = dataset.mapping()[2]
    titles: list[Any] = [*before, *[None] * (len(known) - len(before))]
    if items is not None:
        id_column = dataset.columns["item"]
        read = read_columns(items, "items", [id_column, title])
        rows = match_ids(read_objects(read[id_column]), known)
        for row, cell in zip(rows.tolist(), read_objects(read[title]), strict=True):
            titles[row] = None if is_missing(cell) else str(cell)
    return tuple(titles)


def _check_names(dataset: Dataset, title: Hashable) -> None:
    """Raise ValueError if two columns of an answer would have the same name."""
    user, item = (dataset.columns[side] for side in ("user", "item"))
    names = [user, item, f"similar_{user}", f"similar_{item}", *SCORES, *([] if title is None else [title])]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"answers would have two columns {twice[0]!r}: rename this column of your tables")


def _warn_of_likes(dataset: Dataset, value: Hashable) -> None:
    values = dataset.interactions.data if dataset.interactions is not None else np.zeros(1)
    if len(values) and values.min() > 0:
        warnings.warn(
            f"column {value!r} has no value at or below 0, so every row is a like: of ratings, say with positive_from "
            "which is the least that is one; of counts, use weight",
            UserWarning,
            stacklevel=3,
        )


def _unpacked(contents: persistence.Contents) -> tuple[Hashable, list[Any] | None, str | None]:
    """Return the column of titles, the titles and the library of answers of a file."""
    saved = contents.document.get("recommender", {"library": None, "title": "title", "titles": None})
    titles = None
    if saved["titles"] is not None:
        parts = {name.removeprefix("titles."): array for name, array in contents.tensors.items()}
        titles = unpack_ids(saved["titles"], parts)
    if not isinstance(saved["library"], str | None):
        raise ValueError(f"the library of answers is {saved['library']!r}, expected a name")
    return column_name(saved["title"]), titles, saved["library"]
