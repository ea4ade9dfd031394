"""What the caller of a function that writes shards says of users and items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._arguments import shorten
from .._shards import Shards
from .resuming import Question, describe_encoder, question_of
from .spread import Columns, Items
from .tables import are_paths, files_of
from .users import Users

__all__: list[str] = []


class SideArguments:
    """The arguments of :meth:`ShardedDataset.from_parquet` that describe users and items.

    Raises
    ------
    TypeError
        If ``like`` is no ShardedDataset.
    ValueError
        If they do not go with ``like``, or an encoder cannot be saved with the shards.
    """

    def __init__(
        self, columns: Columns, users: Any, items: Any, user_features: Any, item_features: Any, like: Any
    ) -> None:
        self._columns, self._users, self._items, self._like = columns, users, items, like
        self._encoders = {"user_features": user_features, "item_features": item_features}
        for name, encoder in self._encoders.items():
            describe_encoder(name, encoder)
        if like is None:
            return
        if not isinstance(like, Shards):
            raise TypeError(f"like is {shorten(like)}, expected a ShardedDataset")
        if any(given is not None for given in (items, user_features, item_features)):
            raise ValueError(
                "like= brings items and both features: leave out items=, user_features= and item_features="
            )
        if (users is None) != (like.n_shared == 0):
            wanted = "describe the new users by users= too" if users is None else "leave out users="
            raise ValueError(f"the shards of like= have {like.n_shared:,} features that users share: {wanted}")

    def read(self) -> tuple[Users | None, Items]:
        """Return the users, whose encoder is fitted, and the items."""
        columns, (features, of_items) = self._columns, self._encoders.values()
        dataset = None if self._like is None else self._like.dataset
        users = None
        if self._users is not None or features is not None:
            fitted = None if dataset is None else dataset.user_side
            users = Users(self._users, features, columns.named["user"], fitted, columns.missing_ids)
        return users, Items(columns, self._items, of_items, dataset)

    def question(self, source: Any, files: Sequence[str], sizes: Mapping[str, Any]) -> Question:
        """Return the question of a call; arguments as in :func:`.resuming.question_of`."""
        has_files = are_paths(self._users)
        frames = {"users": None if has_files else self._users, "items": self._items}
        files = [*files, *(files_of(self._users, "users") if has_files else [])]
        columns = self._columns
        settings = {**columns.named, "positive_from": columns.positive_from, "missing_ids": columns.missing_ids}
        return question_of([source, len(files)], files, frames, self._encoders, self._like, settings, sizes)
