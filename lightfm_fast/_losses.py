"""Facts about the losses, from the core's list. A new loss is added to that list only."""

from __future__ import annotations

from typing import NamedTuple

from lightfm_fast import _core


class LossFacts(NamedTuple):
    """Properties of a loss that training and scoring depend on.

    Attributes
    ----------
    name, negatives : str
        The loss and the kind of negatives that these facts hold for; "" for all kinds without an entry.
    takes_labels : bool
        The loss also trains on interactions that are not above 0. Other losses only treat them as known items.
    takes_weights : bool
        The loss weighs samples by ``sample_weight``.
    needs_popularity : bool
        The loss draws items by their popularity.
    needs_membership : bool
        The loss must know whether a user has an entry for an item.
    scores_are_cosines : bool
        Scores are cosines, and biases are not trained.
    gives_probabilities : bool
        The logistic function of a score is the probability of a positive.
    """

    name: str
    negatives: str
    takes_labels: bool
    takes_weights: bool
    needs_popularity: bool
    needs_membership: bool
    scores_are_cosines: bool
    gives_probabilities: bool


_FACTS = {(entry["name"], entry["negatives"]): LossFacts(**entry) for entry in _core.engine.LOSSES}

LOSSES: tuple[str, ...] = tuple(dict.fromkeys(name for name, _ in _FACTS))


def facts_of(loss: str, negatives: str = "") -> LossFacts:
    """Return the facts of a loss with a kind of negatives.

    Raises
    ------
    ValueError
        If the loss is unknown: an estimator's attribute ``loss`` may have been assigned any value.
    """
    facts = _FACTS.get((str(loss), negatives)) or _FACTS.get((str(loss), ""))
    if facts is None:
        raise ValueError(f"loss is {loss!r}, expected one of {', '.join(map(repr, LOSSES))}")
    return facts
