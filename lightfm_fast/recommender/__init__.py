"""A model with its dataset: it is trained from tables, asked by ids, and answers with tables."""

from .recommender import Recommender

__all__ = ["Recommender"]
