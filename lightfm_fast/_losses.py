"""Facts of the losses, from the core's list: a new loss is added there, and nowhere else."""

from __future__ import annotations

from typing import NamedTuple

from lightfm_fast import _core


class LossFacts(NamedTuple):
    """What callers go by in training and scoring with a loss.

    Attributes
    ----------
    name, negatives : str
        The loss, and the kind of negatives that these facts are for; "" for all kinds that have no entry.
    takes_labels : bool
        Trains on interactions below 0 too. Other losses take them as known items alone.
    takes_weights : bool
        Weighs samples by ``sample_weight``.
    needs_popularity : bool
        Draws items by their popularity.
    needs_membership : bool
        Asks whether a user has an entry for an item.
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
        For an unknown loss, as one that was assigned to an estimator may be.
    """
    facts = _FACTS.get((str(loss), negatives)) or _FACTS.get((str(loss), ""))
    if facts is None:
        raise ValueError(f"loss is {loss!r}, expected one of {', '.join(map(repr, LOSSES))}")
    return facts
