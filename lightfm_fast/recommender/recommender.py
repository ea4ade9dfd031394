"""A model with its dataset: it is trained from tables, asked by ids, and answers with tables."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from .. import evaluation, persistence
from .._arguments import check_choice, check_flag, check_num_threads, shorten, warn
from .._cells import is_hashable, show
from .._hyperparameters import PRESET_EPOCHS
from .._matrices import as_seen
from ..data import Dataset, UnknownIdsError
from ..data.columns import as_id, as_ids, is_id, read_objects
from ..data.frames import LIBRARIES, column_name, library_of
from ..data.ids import pack_ids, unpack_ids
from ..explanation import Explanation
from ..features import Categorical, FeatureSpec
from ..hub import OnHub
from ..index import ItemIndex
from ..lightfm import LightFM
from ..recommendation import check_n, most_aligned, recommend
from ..recommendation_files import Written
from .answers import check_names, make_table
from .newcomers import look_up, look_up_one
from .state import State, as_titles, check_has_likes, describe_rare, titles_of, training_arguments

__all__ = ["Recommender"]


class Recommender(OnHub):
    """A :class:`LightFM` with its :class:`~lightfm_fast.data.Dataset`: it takes ids and tables, and returns tables.

    :meth:`from_tables` trains one. :meth:`load` reads one that was saved, and any LightFM saved with its dataset.
    Answers come in the library of the tables that it was trained from: pandas, polars, pyarrow, another that narwhals
    knows, or dicts of columns.

    Several threads may ask at once, also while another thread updates: the answers then come from before the update.
    The first question computes the representations, which are kept until the model changes.

    Parameters
    ----------
    model : LightFM
        A fitted model.
    dataset : Dataset
        The ids and the features that the model was fitted with. Its ``interactions`` are the items that users have
        seen; without them every call of :meth:`recommend` needs ``filter_seen=False``.
    titles : sequence, optional
        A title for each item, in the order of the dataset's items; None where one is missing. Answers and explanations
        show them as text.
    title : hashable
        The column of titles in tables.
    library : {"pandas", "polars", "pyarrow", "modin", "cudf"}, optional
        The library of answers; None for dicts of columns. It is an attribute that may be changed.

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
        titles = None if titles is None else as_titles(read_objects(titles, "titles"))
        if titles is not None and len(titles) != n_items:
            raise ValueError(f"there are {len(titles):,} titles but {n_items:,} items: give one for each item")
        check_names(dataset, None if titles is None else title)
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
        self._state = State(model, dataset, titles, title)
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
        missing_ids: str = "raise",
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
        value, positive_from, weight, time, duplicates, unknown, missing_ids
            As in :meth:`lightfm_fast.data.Dataset.from_tables`. For star ratings pass
            ``value="stars", positive_from=4``: four stars and more are likes, fewer are dislikes.
        user_features, item_features : list of columns, mapping from column to encoder, or encoder, optional
            Columns in a list are categories. The encoders of :mod:`lightfm_fast.features` read tags, numbers, dates and
            text: ``{"genres": MultiCategorical("|"), "year": PiecewiseLinear(5)}``.
        title : hashable, optional
            Column of ``items`` that answers show beside the ids.
        model : LightFM, optional
            The model to be fitted, by default ``LightFM.recommended()``. What it has learned before is forgotten. The
            recommender keeps this model, not a copy, so pass a new model to each recommender.
        epochs : int
            Passes over the interactions.
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
            In the cases of :meth:`lightfm_fast.data.Dataset.from_tables` and :meth:`LightFM.fit`; also if no row is a
            like.

        Warns
        -----
        UserWarning
            If ``value`` has no value at or below 0 and ``positive_from`` is not given, so that all rows are likes; or
            if a list of features names a column with another value in nearly every row, such as prices.
        """
        if not isinstance(model, LightFM | None):
            raise TypeError(f"model is {shorten(model)}, expected a LightFM to fit")
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
            missing_ids=missing_ids,
        )
        check_names(dataset, title)
        check_has_likes(dataset, positive_from)
        if value is not None and positive_from is None:
            _warn_of_likes(dataset, value)
        _warn_of_rare(dataset, user_features, item_features)
        titles = None if title is None else titles_of(items, title, dataset, ())
        model = LightFM.recommended() if model is None else model
        model.fit(**training_arguments(dataset), epochs=epochs, num_threads=num_threads, verbose=verbose)
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
    def library(self) -> str | None:
        """The library of answers, None for dicts of columns."""
        return self._library

    @library.setter
    def library(self, library: str | None) -> None:
        check_choice(library, "library", (None, *LIBRARIES))
        self._library = library

    @property
    def titles(self) -> tuple[Any, ...] | None:
        """The title of each item, in the order of the dataset's items; None without titles."""
        return self._state.titles

    @property
    def title(self) -> Hashable:
        """The column of titles in tables."""
        return self._state.title

    @property
    def index(self) -> ItemIndex | None:
        """The index that :meth:`recommend` uses; None if it compares all items."""
        return self._state.index

    def load_index(self, path: str | os.PathLike[str], verify: str = "all") -> None:
        """Make :meth:`recommend` use a saved index of the model, until the model changes.

        Parameters
        ----------
        path, verify
            As in :meth:`LightFM.load_index`.

        Raises
        ------
        ValueError, OSError
            As :meth:`LightFM.load_index`.
        """
        state = self._now()
        state.index = state.model.load_index(path, verify)

    def __repr__(self) -> str:
        n_users, n_items = self.dataset.interactions_shape()
        facts = [f"{n_users:,} users", f"{n_items:,} items"]
        if self.dataset.interactions is not None:
            facts.append(f"{self.dataset.interactions.nnz:,} interactions")
        return f"<Recommender of {', '.join(facts)}: {self.model!r}>"

    def _repr_html_(self) -> str:
        return f"{self.model._repr_html_()}{self.dataset._repr_html_()}"

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
        missing_ids: str = "raise",
        num_threads: int = 1,
    ) -> Any:
        """Choose the items that score highest for each user, known or new.

        Parameters
        ----------
        users : id, list of ids, mapping, list of mappings, or data frame, optional
            An id, a list or column of ids, or a data frame of this column alone, asks for known users.

            A mapping from column to value describes one newcomer by the columns of the user features; a column that it
            lacks is missing. A list of mappings, or a data frame with a row for each, describes several newcomers.
            Answers name newcomers by the column of user ids or, without this column, by numbers from 0.

            Without ``users``, ``history`` alone describes newcomers.
        n : int
            Number of items for each user.
        history : list of item ids, list of lists, or table of interactions, optional
            What newcomers have seen: a list for one newcomer, a list of lists for several in order, or a table as
            :meth:`from_tables` takes, whose rows name newcomers by their ids. Newcomers are folded in
            (:meth:`LightFM.fold_in_users`); the model does not change.
        filter_seen : bool
            Leave out the items that the user has seen.
        items : list of ids, or data frame, optional
            Choose among these items only. By default all. A data frame has their ids in the column of item ids.
        exclude : list of ids, or data frame, optional
            Never recommend these items.
        missing_ids : {"raise", "skip"}
            Refuse rows without an id in a table of users or of ``history``, or leave them out.
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
            If arguments do not go together, or ``filter_seen`` is True and the interactions are not known.
        """
        num_threads = check_num_threads(num_threads)
        state = self._now()
        n_items = len(state.items.biases)
        n = check_n(n, n_items)
        asked = look_up(state, users, history, filter_seen, missing_ids, num_threads)
        candidates = state.candidates(items, exclude)
        if state.index is not None:
            best = state.index.search(asked.users, n, asked.seen, candidates, num_threads)
        else:
            represented = (*state.items, candidates)
            best = recommend(
                asked.users, represented, state.items.embeddings.shape[1], False, n, asked.seen, candidates, num_threads
            )
        columns = state.dataset.columns
        given = columns["user"], asked.ids
        return make_table(state, "item", given, columns["item"], best, "score", library_of(users) or self.library)

    def recommend_to(
        self,
        path: str | os.PathLike[str],
        users: Any = None,
        n: int = 10,
        *,
        filter_seen: bool = True,
        items: Any = None,
        exclude: Any = None,
        num_threads: int | None = None,
        verbose: bool = False,
    ) -> Written:
        """Write the best items of many users to Parquet, in memory that does not grow (extra ``cli``).

        Parameters
        ----------
        path, num_threads, verbose
            As in :meth:`LightFM.recommend_to`: a file that ends in .parquet, or a folder that goes on after an
            interruption.
        users : list of ids, optional
            By default all known users.
        n, filter_seen, items, exclude
            As in :meth:`recommend`.

        Returns
        -------
        Written

        Raises
        ------
        ImportError, OSError
            As :meth:`LightFM.recommend_to`.
        TypeError, ValueError
            As :meth:`recommend` and :meth:`LightFM.recommend_to`.
        """
        state = self._now()
        columns = state.dataset.columns
        return state.model.recommend_to(
            path,
            None if users is None else as_ids(users, "users"),
            n,
            state.known_seen() if check_flag(filter_seen, "filter_seen") else None,
            filter_seen,
            state.item_ids(items, "items"),
            state.item_ids(exclude, "exclude"),
            state.dataset.user_features,
            state.dataset.item_features,
            num_threads,
            dataset=state.dataset,
            user=str(columns["user"]),
            item=str(columns["item"]),
            verbose=verbose,
        )

    def similar_items(
        self, items: Any, n: int = 10, *, among: Any = None, exclude: Any = None, num_threads: int = 1
    ) -> Any:
        """Find the items most similar to each given item, by the cosine of their embeddings.

        Parameters
        ----------
        items : id or list of ids
        n : int
            Number of similar items; the item itself is left out.
        among : list of ids, or data frame, optional
            Choose among these items only. By default all.
        exclude : list of ids, or data frame, optional
            Never choose these items.
        num_threads : int

        Returns
        -------
        table
            A row for each similar item, most similar first: the given id, if a list of ids was given; the similar
            item's id, in a column with ``similar_`` before its name; its title if there are titles; ``rank``;
            ``cosine``.

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
        directions = state.user_directions if side == "user" else state.item_directions
        n = check_n(n, len(directions))
        given = as_ids(ids, f"{side}s")
        rows = state.rows(side, given)
        candidates = state.candidates(among, exclude, "among") if side == "item" else None
        best = most_aligned(directions, rows, n, candidates, num_threads)
        column = state.dataset.columns[side]
        asked = column, None if is_id(ids) else given
        return make_table(state, side, asked, f"similar_{column}", best, "cosine", library_of(ids) or self.library)

    def explain(self, user: Any, item: Hashable, history: Any = None) -> Explanation:
        """Split the score of a user and an item into contributions of their features.

        Parameters
        ----------
        user : id, mapping or None
            A known user, or a newcomer as in :meth:`recommend`: features, or None with ``history`` alone.
        item : id
        history : list of ids, optional
            Items that the newcomer has seen. What they add to the newcomer's features is named "history".

        Returns
        -------
        Explanation
            ``rows()`` lists the contributions, and ``plot()`` draws them, with the item's title if there are titles.

        Raises
        ------
        UnknownIdsError
            If an id is unknown. It is a ValueError.
        TypeError, ValueError
            If a newcomer's features do not fit, or arguments do not go together.
        """
        state = self._now()
        dataset = state.dataset
        (item_number,) = state.rows("item", [as_id(item)])
        item_features, item_row = _row_of(dataset.item_features, item_number)
        row, user_features, folded = look_up_one(state, user, history)
        user_number, user_row, name, own_feature = 0, 0, "newcomer", None
        if row is not None:
            user_number = int(row[0])
            user_features, user_row = _row_of(dataset.user_features, user_number)
            (own_feature,) = state.ids("user", row)
            name = f"user {own_feature}"
        explanation = state.model.explain(
            user_row,
            item_row,
            user_features,
            item_features,
            state.feature_names["user"],
            state.feature_names["item"],
            name,
            state.name(item_number, "item "),
            folded,
        )
        # A row's own feature has the id as its name.
        of_user = [name if feature == own_feature else feature for feature in explanation.user_features]
        (own_feature,) = state.ids("item", np.array([item_number]))
        title = state.name(item_number)
        of_item = [title if feature == own_feature else feature for feature in explanation.item_features]
        if explanation.neighbours is not None:
            of_item = [f"like {state.name(neighbour)}" for neighbour in explanation.neighbours]
        return replace(
            explanation,
            user_id=user_number,
            item_id=int(item_number),
            user_features=of_user,
            item_features=of_item,
        )

    def evaluate(
        self,
        test: Any,
        metrics: str | Sequence[str] = ("precision", "recall", "ndcg", "map", "hit_rate", "mrr", "auc"),
        k: int | Sequence[int] = 10,
        *,
        unknown: str = "raise",
        missing_ids: str = "raise",
        num_threads: int = 1,
        per_user: bool = False,
    ) -> evaluation.Evaluation:
        """Measure the recommendations on interactions that were not trained on.

        Parameters
        ----------
        test : table
            Held-out interactions, with the columns of :meth:`from_tables` except times and weights. Rows that are among
            the known interactions are left out, and so are users without likes.
        metrics, k, num_threads, per_user
            As in :func:`lightfm_fast.evaluation.evaluate`.
        unknown : {"raise", "skip"}
            Refuse rows of unknown users and items, or leave them out.
        missing_ids : {"raise", "skip"}
            Refuse rows without an id of a user or an item, or leave them out.

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
        try:
            reader = dataset.reading_values()
            held_out = reader.build_interactions_from_table(test, "sum", unknown, missing_ids).interactions
        except UnknownIdsError as error:
            advice = "leave such rows out by unknown='skip'" if unknown == "raise" else ""
            raise UnknownIdsError(error.problem, advice) from error
        return evaluation.evaluate(
            self.model,
            held_out,
            None if dataset.interactions is None else as_seen(dataset.interactions),
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
        missing_ids: str = "raise",
        num_threads: int = 1,
        verbose: bool = False,
    ) -> Recommender:
        """Take in later rows: new interactions, users and items. The model grows and continues training.

        Parameters
        ----------
        interactions : table, optional
            New interactions, with the columns of :meth:`from_tables`. The model trains on the known and the new ones.
            Without them nothing is trained: new users and items are represented by their features.
        users, items : table, optional
            A row for each new user (item), with the columns of the features. A row for a known user (item) replaces its
            features.
        epochs : int
            Passes over all known interactions. With 0 the model only grows, and seen items are left out from now on.
        duplicates : {"sum", "max", "last", "error"}
            How to merge interactions with the same user and item, as in :meth:`from_tables`.
        unknown : {"add", "raise", "skip"}
            What to do with interactions whose user or item is not known, nor in ``users`` or ``items``.
        missing_ids : {"raise", "skip"}
            What to do with rows without an id, as in :meth:`lightfm_fast.data.Dataset.from_tables`.
        num_threads : int
        verbose : bool
            Show the progress of training.

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
            if items is not None and interactions is None and state.dataset.item_features is None:
                raise ValueError(
                    "items come without interactions, and the model knows no item features by which to represent them: "
                    "give their interactions too, or train with item_features"
                )
            dataset = state.dataset.extended(interactions, users, items, duplicates, unknown, missing_ids)
            titles = state.titles
            if titles is not None:
                titles = titles_of(items, state.title, dataset, titles)
            model = copy.deepcopy(state.model)  # others are answered by the old one meanwhile
            epochs = epochs if interactions is not None else 0
            model.fit_partial(**training_arguments(dataset), epochs=epochs, num_threads=num_threads, verbose=verbose)
            self._state = State(model, dataset, titles, state.title).prepare()
        return self

    def tune(
        self,
        *,
        task: str = "warm",
        metric: str = "ndcg",
        k: int = 10,
        budget: float | str = "10min",
        space: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """Search for better hyperparameters on the known interactions, and keep the best model.

        Parameters
        ----------
        task : {"warm", "new items", "new users", "next in time"}
            What the model is for: known users and items, new items, new users, or later interactions. "next in time"
            needs the column ``time`` of :meth:`from_tables`; saved files have it.
        metric, k
            What to maximise, such as "ndcg" or "recall", and the length of the lists that it looks at.
        budget : float or str
            Seconds, or text such as "90s", "10min", "2h" or "30trials".
        space : mapping, optional
            What to search, as in :func:`lightfm_fast.tuning.tune`.
        **options
            The other arguments of :func:`lightfm_fast.tuning.tune`: ``max_epochs``, ``validation_fraction``,
            ``random_state``, ``num_threads`` and ``verbose``.

        Returns
        -------
        TuningResult

        Raises
        ------
        ImportError, TypeError, ValueError
            As :func:`lightfm_fast.tuning.tune`.
        """
        from ..tuning import tune  # imported here, since few need it
        from ..tuning.validation import check_task

        with self._lock:
            state = self._now()
            task = check_task(task)
            if state.dataset.interactions is None:
                raise ValueError(
                    "this recommender has no interactions to tune on: it was made or saved without them. Add them by "
                    "update(interactions, epochs=0)"
                )
            if task == "next in time" and state.dataset.timestamps is None:
                raise ValueError(
                    "task='next in time' holds the latest interactions out, but their times are not known: name their "
                    "column in from_tables(..., time=...)"
                )
            given = {**training_arguments(state.dataset), "timestamps": state.dataset.timestamps}
            result = tune(**given, task=task, metric=metric, k=k, budget=budget, space=space, **options)
            self._state = State(result.model, state.dataset, state.titles, state.title).prepare()
        return result

    # ------------------------------------------------------------------ files

    def save(self, path: str | os.PathLike[str], *, interactions: bool = True, optimizer_state: bool = True) -> None:
        """Write the recommender to one safetensors file; an existing file is replaced atomically.

        Parameters
        ----------
        path : path
            :func:`lightfm_fast.load` and :meth:`load` read the file, and :meth:`LightFM.load` reads its model.
        interactions : bool
            Save the known interactions: 4 to 12 bytes each, and 8 more with times. Without them the loaded recommender
            does not know what users have seen.
        optimizer_state : bool
            Save what training needs to continue where it stopped, which doubles the size of the parameters.

        Raises
        ------
        ValueError
            If an encoder or a title cannot be saved.
        OSError
            If the file cannot be written.
        """
        interactions = check_flag(interactions, "interactions")
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
        # The recommender has the dataset; a copy of the model would copy it too.
        model = LightFM.from_contents(path, replace(contents, dataset=None), mmap, verify)
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

    def _now(self) -> State:
        """Return the state, made anew if the model has been trained since."""
        state = self._state
        if state.is_stale:
            stale, state = state, State(state.model, state.dataset, state.titles, state.title)
            if self._state is stale:  # an update may have replaced it meanwhile
                self._state = state
        return state


def _as_encoder(features: Any) -> Any:
    """Return an encoder of the columns that a list or a mapping names; anything else unchanged."""
    if isinstance(features, Mapping):
        return FeatureSpec(features)
    if isinstance(features, Sequence) and not isinstance(features, str) and features:
        wrong = [name for name in features if not is_hashable(name)]
        if wrong:
            raise TypeError(f"features are columns, and {show(wrong[0])} is no name of one")
        return FeatureSpec({column: Categorical() for column in features})  # tells of unknown categories by a warning
    return features


def _warn_of_rare(dataset: Dataset, user_features: Any, item_features: Any) -> None:
    for side, features in (("user", user_features), ("item", item_features)):
        if isinstance(features, Sequence) and (rare := describe_rare(dataset, side, features)) is not None:
            column, problem = rare
            warn(
                f"{problem}. Encode numbers and dates by PiecewiseLinear, tags by MultiCategorical and text by Text, "
                f"as in {side}_features={{{column!r}: PiecewiseLinear()}}"
            )


def _warn_of_likes(dataset: Dataset, value: Hashable) -> None:
    values = dataset.interactions.data if dataset.interactions is not None else np.zeros(1)
    if len(values) and values.min() > 0:
        warn(
            f"column {value!r} has no value at or below 0, so every row is a like. For ratings, pass the smallest "
            "one that is a like as positive_from; for counts, use weight",
        )


def _row_of(features: sp.csr_matrix | None, number: int) -> tuple[sp.csr_matrix | None, int]:
    """Return a matrix of one row of features, and the row's number in it: checking all rows would take long."""
    return (None, number) if features is None else (sp.csr_matrix(features[[number]]), 0)


def _unpacked(contents: persistence.Contents) -> tuple[Hashable, list[Any] | None, str | None]:
    """Return the column of titles, the titles and the library of answers of a file."""
    saved = contents.document.get("recommender", {"library": None, "title": "title", "titles": None})
    titles = None
    if saved["titles"] is not None:
        titles = unpack_ids(saved["titles"], persistence.arrays_after(contents.tensors, "titles.", mmap=True))
    return column_name(saved["title"]), titles, saved["library"]
