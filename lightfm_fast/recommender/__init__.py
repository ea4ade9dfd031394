"""A model with its dataset: trained from tables, asked by ids in people's own words, answering with tables."""

from .recommender import Recommender

__all__ = ["Recommender"]
