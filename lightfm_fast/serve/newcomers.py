"""Newcomers as requests describe them, and what is wrong with a description, in the words of requests."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import HTTPException
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from ..data import Dataset
from ..data.categories import CategoricalColumns
from ..data.numbering import match_ids
from ..features import Categorical, Dense, MultiCategorical, Text
from ..features.numeric import Numeric
from .limits import LARGEST_NUMBER, LONGEST_ECHO, LONGEST_TEXT, MOST_VALUES


def _kind_of(value: Any) -> str | None:
    kinds = {str: "text", bool: "truth value", int: "whole number", float: "number", list: "list", type(None): "null"}
    return kinds.get(type(value))


def _one_of(expected: str) -> Discriminator:
    """Judge a value as the kind that it has in JSON: a plain union would return an error for each of its kinds."""
    return Discriminator(_kind_of, "kind", f"expected {expected}")


_ShortText = Annotated[str, Field(max_length=LONGEST_TEXT)]
_Text = Annotated[_ShortText, Tag("text")]
_Whole = Annotated[int, Field(ge=-LARGEST_NUMBER, le=LARGEST_NUMBER), Tag("whole number")]
_Number = Annotated[float, Field(allow_inf_nan=False), Tag("number")]
_Truth = Annotated[bool, Tag("truth value")]
_Listed = Annotated[_Text | _Truth | _Whole | _Number, _one_of("text or a number")]
_List = Annotated[list[_Listed], Field(max_length=MOST_VALUES), Tag("list")]
_Null = Annotated[None, Tag("null")]
_Value = Annotated[
    _Text | _Truth | _Whole | _Number | _List | _Null, _one_of("text, a number, a list of these, or null")
]
_Features = Annotated[dict[_ShortText, _Value], Field(max_length=MOST_VALUES)]
_ItemId = Annotated[_Text | _Whole, _one_of("an id: text or a whole number")]


class Newcomer(BaseModel):
    """A user unknown to the model, described by columns of user features, by chosen items, or by both."""

    model_config = ConfigDict(extra="forbid")
    features: _Features = {}
    items: Annotated[list[_ItemId], Field(max_length=MOST_VALUES)] = []


class Describer:
    """Reads the features of newcomers, and says what is wrong with them.

    Parameters
    ----------
    dataset : Dataset
    encoder : object or None
        What encodes users' features.

    Attributes
    ----------
    columns : list of hashable
        The columns of users' features.
    """

    def __init__(self, dataset: Dataset, encoder: Any) -> None:
        self.columns = list(getattr(encoder, "columns", ()))
        self._encoder, self._encoders = encoder, getattr(encoder, "encoders_", {})
        self._users, self._id_column = dataset.mapping()[0], dataset.columns["user"]

    @contextlib.contextmanager
    def reading(self, features: Mapping[Any, Any]) -> Iterator[dict[str, Any]]:
        """Yield features as a recommender takes them, with datetimes in the place of ISO text.

        Raises
        ------
        HTTPException
            If they name a known user, or the recommender refuses them. Its own words are for callers from Python.
        """
        user = features.get(self._id_column)
        if isinstance(user, list) or (user is not None and match_ids([user], self._users)[0] >= 0):
            raise HTTPException(
                422,
                f"features holds {echo(user)} in {self._id_column!r}, the column of users' ids: leave it out for a "
                "newcomer, and ask for a known user by the path /users/{user}",
            )
        read = {column: self._with_date(column, value) for column, value in features.items()}
        try:
            yield read
        except (TypeError, ValueError) as error:
            for column, value in read.items():
                expected = self._expected(column)
                if expected is not None and not self._takes(column, value):
                    refused = f"features holds {echo(features[column])} in {column!r}, expected {expected}"
                    raise HTTPException(422, refused) from error
            raise HTTPException(422, echo(error, 300)) from error

    def _with_date(self, column: str, value: Any) -> Any:
        """Return the datetime that ISO text spells, where an encoder takes numbers and dates; else the value."""
        if isinstance(self._encoders.get(column), Numeric) and isinstance(value, str) and "-" in value:
            with contextlib.suppress(ValueError):  # the encoder refuses other text
                return datetime.fromisoformat(re.sub("[Zz]$", "+00:00", value))
        return value

    def _takes(self, column: str, value: Any) -> bool:
        try:
            if column in self._encoders:
                self._encoders[column].transform([value])
            else:
                self._encoder.transform({name: [value if name == column else None] for name in self.columns})
        except (TypeError, ValueError):
            return False
        return True

    def _expected(self, column: str) -> str | None:
        """Say what a column takes; None of an encoder that is not of this library, and of an unknown column."""
        encoder: Any = self._encoders.get(column, self._encoder if column in self.columns else None)
        if isinstance(encoder, MultiCategorical):
            text = ", or text that is a JSON list" if encoder.json else ""
            if encoder.separator is not None:
                text = f", or text divided by {encoder.separator!r}"
            return f"a list of text or numbers{text}"
        if isinstance(encoder, Dense):
            return f"a list of {encoder.n_dimensions_:,} numbers"
        expected = {
            Numeric: "a number within single precision, or a date in ISO form",
            Text: "text",
            Categorical: "text or a number",
            CategoricalColumns: "one of the values that the model was trained with",
        }
        return next((words for kind, words in expected.items() if isinstance(encoder, kind)), None)


def echo(value: object, length: int = LONGEST_ECHO) -> str:
    """Return a client's input, or an error that repeats it, cut off."""
    text = str(value) if isinstance(value, Exception) else repr(value)
    return text if len(text) <= length else f"{text[:length]}..."
