"""The requests: each is judged, asked of a Recommender, and answered as JSON."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, cast

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_json

from .._version import __version__
from ..data.ids import read_id
from ..explanation import Explanation
from ..features import UnseenCategoryWarning
from ..recommender import Recommender
from . import metrics
from .connections import LimitedBody
from .limits import LONGEST_ECHO, LONGEST_TEXT, MOST_RECOMMENDED
from .newcomers import Describer, Newcomer, echo

Length = Annotated[int, Query(ge=1, le=MOST_RECOMMENDED)]
Id = Annotated[str, InPath(max_length=LONGEST_TEXT)]


class Item(BaseModel):
    """An item of an answer."""

    item: Any
    title: str | None = None
    score: float


class Items(BaseModel):
    """Items, best first."""

    items: list[Item]


class Contribution(BaseModel):
    """What a feature of the user, one of the item, or both together add to a score."""

    user_feature: Any
    item_feature: Any
    contribution: float


class Explained(BaseModel):
    """A score, and the largest of the contributions that it is the sum of."""

    score: float
    contributions: list[Contribution]
    others: float


class Health(BaseModel):
    """What the service knows."""

    version: str
    users: int
    items: int
    user_columns: list[Any]
    seen: int | None
    approximate: bool


class Known(BaseModel):
    """Some ids of users."""

    users: list[Any]


def create_app(recommender: Recommender, filter_seen: bool = True) -> FastAPI:
    """Make the ASGI app that answers with a recommender.

    Parameters
    ----------
    recommender : Recommender
        Its ``library`` is set to None.
    filter_seen : bool
        Leave out the items that known users have seen.

    Returns
    -------
    FastAPI

    Raises
    ------
    ValueError
        If seen items are to be left out but the recommender does not know them, or JSON has no text for an id, a title
        or the name of a feature.
    """
    # Python keeps the text of every warning that it shows, and clients would fill the memory with it.
    warnings.simplefilter("ignore", UnseenCategoryWarning)
    recommender.library = None
    _check_names(recommender)
    _warm(recommender, filter_seen)
    asked = _Asked(recommender, filter_seen)
    app = FastAPI(title="lightfm_fast", version=__version__, summary="Recommendations of one model.")
    app.add_middleware(LimitedBody)
    app.add_middleware(metrics.Measured)
    app.add_exception_handler(RequestValidationError, _refuse)
    # The routes are plain functions, not coroutines: FastAPI runs them in threads, and the model releases the GIL.
    _add_pages(app)
    _add_facts(app, asked)
    _add_recommendations(app, asked)
    _add_explanations(app, asked)
    return app


class _Asked:
    """A recommender as requests ask it: by ids that are text, and with newcomers in bodies."""

    def __init__(self, recommender: Recommender, filter_seen: bool) -> None:
        self.recommender, self.filter_seen, self.dataset = recommender, filter_seen, recommender.dataset
        self.users, _, self.items, _ = self.dataset.mapping()
        self.item_column = self.dataset.columns["item"]
        self.describer = Describer(
            self.dataset, self.dataset.encoders["user"] or recommender.model.encoders_.get("user")
        )

    def user(self, text: str) -> Hashable:
        """Return the known user that a path spells."""
        return _find(self.users, text, "user")

    def item(self, text: str) -> Hashable:
        """Return the known item that a path spells."""
        return _find(self.items, text, "item")

    def history_of(self, newcomer: Newcomer) -> list[Hashable]:
        """Return the known items that a body names."""
        named = [read_id(item, self.items) if isinstance(item, str) else item for item in newcomer.items]
        unknown = [item for item, name in zip(newcomer.items, named, strict=True) if name not in self.items]
        if unknown:
            raise HTTPException(422, f"no items with ids {echo(unknown)}")
        return named

    def answer(self, table: Mapping[Hashable, Any], column: Hashable, score: str) -> Items:
        """Return the rows of a recommender's answer."""
        titles = table.get(self.recommender.title, [None] * len(table[column]))
        rows = zip(table[column], titles, table[score], strict=True)
        return Items(items=[Item(item=item, title=title, score=value) for item, title, value in rows])


def _refuse(request: Request, error: Exception) -> JSONResponse:
    # pydantic repeats the input in each error, which may be long or not representable as JSON: leave it out.
    errors = cast(RequestValidationError, error).errors()
    return JSONResponse({"detail": "; ".join(map(_describe, errors[:10]))}, 422)


def _add_pages(app: FastAPI) -> None:
    page = Path(__file__).with_name("page.html").read_text(encoding="utf-8")

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    def show() -> str:
        return page

    @app.get("/metrics", include_in_schema=False)
    def report() -> Response:
        return metrics.report()


def _add_facts(app: FastAPI, asked: _Asked) -> None:
    @app.get("/health")
    def health() -> Health:
        """Tell that the service is ready, and what it knows. It listens only once its model is loaded."""
        seen = asked.dataset.interactions
        return Health(
            version=__version__,
            users=len(asked.users),
            items=len(asked.items),
            user_columns=asked.describer.columns,
            seen=None if seen is None else seen.nnz,
            approximate=asked.recommender.index is not None,
        )

    @app.get("/users")
    def some_users(n: Length = 10) -> Known:
        """Return the first users' ids."""
        return Known(users=list(islice(asked.users, n)))


def _add_recommendations(app: FastAPI, asked: _Asked) -> None:
    recommender = asked.recommender

    @app.get("/users/{user}/recommendations")
    def recommend(user: Id, n: Length = 10) -> Items:
        """Recommend items to a known user."""
        found = recommender.recommend(asked.user(user), n, filter_seen=asked.filter_seen)
        return asked.answer(found, asked.item_column, "score")

    @app.post("/recommendations")
    def recommend_to_newcomer(newcomer: Newcomer, n: Length = 10) -> Items:
        """Recommend items to a newcomer, without those that the request names."""
        named = asked.history_of(newcomer)
        with asked.describer.reading(newcomer.features) as features:
            found = recommender.recommend(features, n, history=named)
        return asked.answer(found, asked.item_column, "score")

    @app.get("/items/{item:path}/similar")
    def similar(item: Id, n: Length = 10) -> Items:
        """Find the items most similar to one."""
        found = recommender.similar_items(asked.item(item), n)
        return asked.answer(found, f"similar_{asked.item_column}", "cosine")


def _add_explanations(app: FastAPI, asked: _Asked) -> None:
    recommender = asked.recommender

    @app.get("/users/{user}/explanations/{item:path}")
    def explain(user: Id, item: Id, n: Length = 10) -> Explained:
        """Tell what the score of a known user and an item is the sum of."""
        return _explained(recommender.explain(asked.user(user), asked.item(item)), n)

    @app.post("/explanations/{item:path}")
    def explain_to_newcomer(item: Id, newcomer: Newcomer, n: Length = 10) -> Explained:
        """Tell what the score of an item is the sum of, for a newcomer."""
        name, named = asked.item(item), asked.history_of(newcomer)
        with asked.describer.reading(newcomer.features) as features:
            return _explained(recommender.explain(features, name, named), n)


def _check_names(recommender: Recommender) -> None:
    """Raise ValueError if JSON has no text for an id, the name of a feature or a title."""
    kinds = ("id of a user", "user feature", "id of an item", "item feature", "title")
    for kind, names in zip(kinds, (*recommender.dataset.mapping(), recommender.titles or ()), strict=True):
        _check_have_json(names, kind)


def _check_have_json(names: Iterable[Any], kind: str) -> None:
    """Raise ValueError if an answer could not hold a name: bytes that are no UTF-8, or half of a surrogate pair."""
    for name in names:
        try:
            to_json(name)
        except PydanticSerializationError as error:
            raise ValueError(
                f"the {kind} {name!r} cannot be written as JSON: change it, and train again. {error}"
            ) from error


def _warm(recommender: Recommender, filter_seen: bool) -> None:
    """Ask one question of each kind, so that what all answers share is computed before workers are forked."""
    users, _, items, _ = recommender.dataset.mapping()
    user, item = next(iter(users)), next(iter(items))
    recommender.recommend(user, 1, filter_seen=filter_seen)
    recommender.recommend({}, 1, history=[item])
    recommender.similar_items(item, 1)
    recommender.explain(user, item)


def _explained(explanation: Explanation, n: int) -> Explained:
    rows = explanation.rows()
    return Explained(
        score=float(explanation.score),
        contributions=[Contribution(**row) for row in rows[:n]],
        others=sum(row["contribution"] for row in rows[n:]),
    )


def _find(known: Mapping[Hashable, int], text: str, kind: str) -> Hashable:
    """Return the id that a path spells."""
    if (name := read_id(text, known)) in known:
        return name
    raise HTTPException(404, f"no {kind} with id {echo(text)}")


def _describe(error: Mapping[str, Any]) -> str:
    """Say which part of a request is wrong, and how."""
    where, *inner = error["loc"]
    place = " ".join([where, *map(repr, inner)])
    problem = error["msg"]
    if error["type"] in ("dict_type", "model_attributes_type") or (error["type"] == "missing" and where == "body"):
        problem = "expected a JSON object"
        if not inner:
            problem += ", sent with the header content-type: application/json"
    if error["type"] == "extra_forbidden":
        problem = f"unknown, expected {' or '.join(map(repr, Newcomer.model_fields))}"
    return f"{place[:LONGEST_ECHO]}: {problem[:200]}"
