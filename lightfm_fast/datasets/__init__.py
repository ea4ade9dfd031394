"""Loaders of real data, cached and checksummed, and a seeded generator of similar data."""

from lightfm_fast.datasets.amazon import fetch_amazon_ratings
from lightfm_fast.datasets.generator import make_interactions, make_tables
from lightfm_fast.datasets.movielens import fetch_movielens
from lightfm_fast.datasets.stackexchange import fetch_stackexchange
from lightfm_fast.datasets.tables import fetch_lastfm, fetch_movielens_tables

__all__ = [
    "fetch_amazon_ratings",
    "fetch_lastfm",
    "fetch_movielens",
    "fetch_movielens_tables",
    "fetch_stackexchange",
    "make_interactions",
    "make_tables",
]
