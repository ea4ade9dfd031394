"""Users to recommend to: known ones by their ids, newcomers by their features and by what they have seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from itertools import compress
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._arguments import check_flag, counted, shorten
from .._cells import is_missing
from .._matrices import as_seen, check_seen
from ..data import UnknownIdsError
from ..data.columns import as_id, as_ids, is_id, read_objects
from ..data.frames import is_frame, list_columns, read_columns, take_rows, way_to_frame
from ..data.missing import check_missing_ids, describe_left_out, log_left_out, rows_with_ids
from ..data.numbering import match_ids
from ..fold_in import Representations
from .state import State, represented

_NOT_OF_KNOWN = (
    "history describes newcomers, and known users are asked for: add their new interactions by update(), or leave the "
    "users out to ask for somebody who has seen these items"
)
_SEVERAL = "; a dict describes one newcomer: several come as a data frame or a list of dicts"


class Asked(NamedTuple):
    """Users to recommend to: ids for the answer, None for one user; representations; items to leave out."""

    ids: Sequence[Hashable] | None
    users: tuple[Any, Any, NDArray[np.int64]]
    seen: sp.csr_matrix | None


def look_up(state: State, users: Any, history: Any, filter_seen: bool, missing_ids: str, num_threads: int) -> Asked:
    """Look known users up, or represent newcomers."""
    filter_seen = check_flag(filter_seen, "filter_seen")
    check_missing_ids(missing_ids)
    id_column = state.dataset.columns["user"]
    users = _with_ids(users, id_column, missing_ids)
    if history is None and is_frame(users) and list_columns(users) == [id_column]:
        users = read_columns(users, "users", [id_column])[id_column]
    newcomers = _newcomers(users, id_column)
    if users is not None and newcomers is None:
        if history is not None:
            raise ValueError(_NOT_OF_KNOWN)
        if is_id(users) and not isinstance(users, (str, bytes, tuple)) and (way := way_to_frame(users)):
            raise TypeError(f"users is {type(users).__name__}, expected ids or a data frame in memory{way}")
        ids = as_ids(users, "users")
        rows = state.rows("user", ids)
        seen = check_seen(state.known_seen(), rows, len(state.items.biases)) if filter_seen else None
        return Asked(None if is_id(users) else ids, (*state.users, rows), seen)
    if newcomers is None and history is None:
        raise TypeError("nobody to recommend to is given: pass ids of users, features of newcomers, or history=[...]")
    chosen, names = _histories(state, newcomers, history, missing_ids)
    features = None if newcomers is None else encode(state, newcomers.rows)
    represented = _fold_in(state, chosen, features, num_threads)
    rows = np.arange(len(represented.biases))
    seen = check_seen(as_seen(chosen), rows, chosen.shape[1]) if filter_seen else None
    return Asked(names, (*represented, rows), seen)


def look_up_one(
    state: State, user: Any, history: Any
) -> tuple[NDArray[np.int64] | None, sp.csr_matrix | None, Representations | None]:
    """Look one user up whose score is to be explained.

    Returns
    -------
    row : int64 array of shape (1,), or None
        The row of a known user.
    features : csr_matrix of shape (1, n_user_features), or None
        The features of a newcomer.
    folded : Representations or None
        A newcomer as represented by the history, if there is some.
    """
    if user is not None and not isinstance(user, Mapping):
        if history is not None:
            raise ValueError(_NOT_OF_KNOWN)
        return state.rows("user", [as_id(user)]), None, None
    if user is None and history is None:
        raise TypeError("nobody is given: pass the id of a user, features of a newcomer, or history=[...]")
    newcomers = None if user is None else _newcomers(user, state.dataset.columns["user"])
    chosen, _ = _histories(state, newcomers, history, "raise")
    if chosen.shape[0] != 1:
        raise ValueError(f"history describes {chosen.shape[0]:,} newcomers, expected one: give a list of the items")
    features = None if newcomers is None else encode(state, newcomers.rows)
    if not chosen.nnz and features is None:
        raise ValueError(
            "nothing explains the score of the newcomer, who has no history and no features that the model knows"
        )
    return None, features, _fold_in(state, chosen, features, 1) if chosen.nnz else None


def encode(state: State, rows: Any) -> sp.csr_matrix | None:
    """Return the features of newcomers: a table, or a list of mappings. None if the model knows no user features."""
    dataset = state.dataset
    encoder = dataset.encoders["user"]
    if encoder is None:  # LightFM.save(encoders=...) keeps encoders beside a dataset that was given matrices
        encoder = state.model.encoders_.get("user")
    hint = ""
    if isinstance(rows, list):
        hint = "" if all(is_id(cell) for row in rows for cell in row.values()) else _SEVERAL
        names = dict.fromkeys(name for row in rows for name in row if name != dataset.columns["user"])
        columns = [] if encoder is None else getattr(encoder, "columns", list(names))
        wrong = [name for name in names if name not in columns]
        if wrong:
            made_of = f"they are made of {', '.join(map(repr, columns))}" if columns else "it was trained without any"
            raise ValueError(f"no user feature of this model is made of {shorten(wrong[0])}: {made_of}")
        if not columns:
            return None
        rows = {column: [row.get(column) for row in rows] for column in columns}
    try:
        return None if encoder is None else dataset.encode_new_users(rows, encoder)
    except TypeError as error:
        raise TypeError(f"{error}{hint}") from error


class _Newcomers(NamedTuple):
    """Users that are described by columns: a table or a list of mappings, and their ids if they have some."""

    rows: Any
    ids: list[Hashable] | None
    is_one: bool


def _with_ids(users: Any, id_column: Hashable, missing_ids: str) -> Any:
    """Return a table or a list of mappings without the rows that lack an id; ValueError if they are to be refused."""
    if is_frame(users) and id_column in list_columns(users):
        ids = read_objects(read_columns(users, "users", [id_column])[id_column])
    elif _are_mappings(users) and any(id_column in row for row in users):
        ids = [row.get(id_column) for row in users]
    else:
        return users
    has_ids = rows_with_ids({id_column: np.fromiter(map(is_missing, ids), bool, len(ids))}, "users", missing_ids)
    if has_ids is None:
        return users
    log_left_out(describe_left_out(has_ids, "users"))
    return list(compress(users, has_ids)) if isinstance(users, list) else take_rows(users, "users", has_ids, None)


def _are_mappings(users: Any) -> bool:
    return isinstance(users, list) and bool(users) and all(isinstance(row, Mapping) for row in users)


def _newcomers(users: Any, id_column: Hashable) -> _Newcomers | None:
    """Return the newcomers that ``users`` describes; None if it is ids."""
    if isinstance(users, Mapping):
        return _Newcomers([users], [users[id_column]] if id_column in users else None, is_one=True)
    if is_frame(users):
        if id_column not in list_columns(users):
            return _Newcomers(users, None, is_one=False)
        ids = as_ids(read_columns(users, "users", [id_column])[id_column], "users")
        return _Newcomers([{}] * len(ids) if list_columns(users) == [id_column] else users, ids, is_one=False)
    if _are_mappings(users):
        have_ids = all(id_column in row for row in users)
        return _Newcomers(users, [row[id_column] for row in users] if have_ids else None, is_one=False)
    return None


def _histories(
    state: State, newcomers: _Newcomers | None, history: Any, missing_ids: str
) -> tuple[sp.csr_matrix, Sequence[Hashable] | None]:
    """Return what newcomers have seen, a row for each, and their ids; None for a single one."""
    dataset = state.dataset
    users, _, items, _ = dataset.mapping()
    ids = None if newcomers is None else newcomers.ids
    for name in ids or ():
        if not isinstance(name, Hashable):
            raise TypeError(f"a newcomer's id is {shorten(name)}, expected text, a number or the like{_SEVERAL}")
    if isinstance(history, Mapping) or is_frame(history):
        if newcomers is not None and ids is None:
            raise ValueError(
                f"history is a table, whose column {dataset.columns['user']!r} names newcomers: describe them by a "
                "table with this column too"
            )
        twice = next((name for name, count in Counter(ids or ()).items() if count > 1), None)
        if twice is not None:
            raise ValueError(
                f"{twice!r} names several newcomers, and a table of history goes by their ids: name each once"
            )
        try:
            ids, chosen = dataset.build_interactions_of_newcomers(history, ids, missing_ids=missing_ids)
        except UnknownIdsError as error:
            raise UnknownIdsError(
                f"history: {error.problem}", "leave such rows out, or add them by update()"
            ) from error
        is_one = newcomers is not None and newcomers.is_one
    else:
        if history is not None and not is_id(history):
            history = as_ids(history, "history")
        lists = _as_lists(history, None if newcomers is None else len(newcomers.rows))
        is_one = (newcomers is None or newcomers.is_one) and not _is_nested(history)
        flat = [item for row in lists for item in row]
        places = np.repeat(np.arange(len(lists)), [len(row) for row in lists])
        columns = state.rows("item", flat)
        chosen = sp.coo_matrix((np.ones(len(flat), np.float32), (places, columns)), shape=(len(lists), len(items)))
    known = np.flatnonzero(match_ids(ids or [], users) >= 0)
    if ids and len(known):
        raise ValueError(
            f"{ids[known[0]]!r} is a known user: ask for known users by their ids alone, and add their new "
            "interactions by update()"
        )
    matrix = chosen.tocsr()
    return matrix, None if is_one else (list(range(matrix.shape[0])) if ids is None else ids)


def _as_lists(history: Any, n_rows: int | None) -> list[list[Any]]:
    """Return the items that each newcomer has seen, for ``n_rows`` newcomers or one."""
    if history is None:
        return [[]] * (1 if n_rows is None else n_rows)
    if not _is_nested(history):
        lists = [as_ids(history, "history")]
    else:
        lists = [as_ids(row, "a list of history") for row in history]
    if n_rows is not None and len(lists) != n_rows:
        found, asked = counted(len(lists), "list"), counted(n_rows, "newcomer")
        raise ValueError(f"history has {found} but there {'is' if n_rows == 1 else 'are'} {asked}: give one for each")
    return lists


def _is_nested(history: Any) -> bool:
    return isinstance(history, list) and bool(history) and not any(map(is_id, history))


def _fold_in(state: State, chosen: sp.csr_matrix, features: sp.csr_matrix | None, num_threads: int) -> Representations:
    """Represent newcomers by what they have chosen and by their features, or by features alone."""
    model, n_rows = state.model, chosen.shape[0]
    if features is None:
        described = Representations(
            np.zeros((n_rows, state.items.embeddings.shape[1]), np.float32), np.zeros(n_rows, np.float32)
        )
    else:
        described = represented(model.get_user_representations(features))
    if not chosen.nnz:
        return described
    folded = model.fold_in_users(
        chosen, features, state.dataset.item_features, num_threads=num_threads, frozen_items=state.frozen_items
    )
    without = np.diff(chosen.indptr) == 0
    for part, start in zip(folded, described, strict=True):
        part[without] = start[without]
    return folded
