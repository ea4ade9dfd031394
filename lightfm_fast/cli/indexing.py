"""Build and save an index of a model's items."""

from __future__ import annotations

import argparse
import os

import numpy as np

from .._arguments import counted
from .input import features_of, load_model
from .output import print_json, say

MEASURED_USERS = 200


def index_model(options: argparse.Namespace) -> None:
    """Build an index of a model's items, save it, and measure it."""
    model, dataset, _ = load_model(options.model)
    features = features_of(dataset)
    index = model.index(features["item_features"], options.compared, options.threads)
    index.save(options.output)
    n_users = dataset.interactions_shape()[0]
    users = np.sort(np.random.default_rng(0).permutation(n_users)[:MEASURED_USERS])
    recall = index.recall(users, user_features=features["user_features"], num_threads=options.threads)
    size = os.path.getsize(options.output)
    if options.json:
        print_json({"index": options.output, "bytes": size, "items": len(index), "recall@10": recall})
    else:
        found = f"finds {recall:.1%} of the 10 best items of {counted(len(users), 'user')}"
        say(f"{options.output}: {counted(len(index), 'item')}, {size / 1e6:,.1f} MB, {found}")
