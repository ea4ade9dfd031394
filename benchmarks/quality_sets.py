"""The data sets of ``quality``, each split by a seed into parts for training and for finding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks import harness


@dataclass(frozen=True)
class Split:
    """Interactions to train on and to find, ones of shape (n_users, n_items), and the items to rank."""

    train: sp.csr_matrix
    held_out: sp.csr_matrix
    item_features: sp.csr_matrix | None = None
    candidates: np.ndarray | None = None  # None: all items but the user's in `train`


def _movielens(seed: int, tuning: bool) -> Split:
    from lightfm_fast.datasets import fetch_movielens

    data = fetch_movielens(min_rating=4.0)
    return random_split(data["train"].tocsr() + data["test"].tocsr(), None, seed, tuning)


def _citeulike(seed: int, tuning: bool) -> Split:
    data = _read("citeulike-a")
    return random_split(_matrix(data), None, seed, tuning)


def _citeulike_tags(seed: int, tuning: bool) -> Split:
    data = _read("citeulike-a")
    return random_split(_matrix(data), _with_indicators(_table(data, "item_tag")), seed, tuning)


def _citeulike_cold(seed: int, tuning: bool) -> Split:
    """A fifth of the items is the test and a tenth the validation part: only tags are known of them."""
    data = _read("citeulike-a")
    interactions, tags = _matrix(data), _table(data, "item_tag")
    part = np.searchsorted([0.2, 0.3], np.random.default_rng(seed).random(interactions.shape[1]), side="right")
    held_out, is_train = (part == 1, part == 2) if tuning else (part == 0, part != 0)
    features = sp.hstack([sp.diags(is_train.astype(np.float32)), tags])
    return Split(
        _ones(interactions @ sp.diags(is_train.astype(np.float32))),
        _ones(interactions @ sp.diags(held_out.astype(np.float32))),
        _rows_to_one(features),
        np.flatnonzero(held_out),
    )


def _gowalla(_: int, tuning: bool) -> Split:
    data = _read("gowalla")
    parts = [_matrix(data, data["split"] == part) for part in range(3)]
    return Split(parts[0], parts[1]) if tuning else Split(_ones(parts[0] + parts[1]), parts[2])


def _beauty(_: int, tuning: bool) -> Split:
    """Each user's last interaction is the test, the one before it the validation part."""
    data = _read("amazon-beauty-s3rec")
    lengths = np.zeros(int(data["n_users"]), dtype=np.int64)
    np.maximum.at(lengths, data["user"], data["position"] - data["position"].min() + 1)
    from_last = lengths[data["user"]] - 1 - (data["position"] - data["position"].min())
    held_out = int(tuning)
    return Split(
        _matrix(data, from_last > held_out),
        _matrix(data, from_last == held_out),
        _with_indicators(_table(data, "item_attr")),
    )


SETS: dict[str, Callable[[int, bool], Split]] = {
    "ml-100k": _movielens,
    "citeulike-a": _citeulike,
    "citeulike-a-tags": _citeulike_tags,
    "citeulike-a-cold": _citeulike_cold,
    "gowalla": _gowalla,
    "amazon-beauty": _beauty,
}


def random_split(interactions: sp.csr_matrix, features: sp.csr_matrix | None, seed: int, tuning: bool) -> Split:
    """A fifth of the interactions is the test, a tenth the validation part, at random."""
    entries = interactions.tocoo()
    part = np.searchsorted([0.2, 0.3], np.random.default_rng(seed).random(entries.nnz), side="right")
    held_out, is_train = (part == 1, part == 2) if tuning else (part == 0, part != 0)
    train, test = (
        _ones(sp.coo_matrix((entries.data[which], (entries.row[which], entries.col[which])), entries.shape))
        for which in (is_train, held_out)
    )
    return Split(train, test, features)


def _read(name: str) -> Any:
    with np.load(harness.locate(f"{name}.npz")) as data:
        return dict(data)


def _matrix(data: Any, which: Any = slice(None)) -> sp.csr_matrix:
    users, items = data["user"][which], data["item"][which]
    shape = (int(data["n_users"]), int(data["n_items"]))
    return _ones(sp.coo_matrix((np.ones(len(users)), (users, items)), shape))


def _table(data: Any, name: str) -> sp.csr_matrix:
    parts = tuple(data[f"{name}__{part}"] for part in ("data", "indices", "indptr"))
    return _ones(sp.csr_matrix(parts, shape=(len(parts[2]) - 1, int(data[f"{name}__ncols"]))))


def _ones(interactions: Any) -> sp.csr_matrix:
    ones = sp.csr_matrix(interactions, dtype=np.float32)
    ones.eliminate_zeros()
    ones.data[:] = 1
    ones.sort_indices()
    return ones


def _with_indicators(features: sp.csr_matrix) -> sp.csr_matrix:
    return _rows_to_one(sp.hstack([sp.identity(features.shape[0]), features]))


def _rows_to_one(features: Any) -> sp.csr_matrix:
    """Scale each row's weights to a sum of 1, as Dataset does."""
    features = sp.csr_matrix(features, dtype=np.float32)
    features.eliminate_zeros()
    totals = np.asarray(features.sum(axis=1)).ravel()
    return sp.csr_matrix(sp.diags(1 / np.where(totals > 0, totals, 1)) @ features, dtype=np.float32)
