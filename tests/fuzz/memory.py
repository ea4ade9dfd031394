"""Resident memory over many repeats of a service's calls: ``python -m tests.fuzz.memory``, Linux only.

It prints the resident memory after each given number of repeats. A leak shows as growth between them.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
from collections.abc import Callable

import numpy as np
import scipy.sparse as sp

from lightfm_fast import FMClassifier, LightFM


def resident() -> float:
    """Return the resident memory of this process in MB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6


def rounds(folder: str) -> Callable[[], None]:
    """Return the calls to repeat: fit, predict, recommend, save, load and the other verbs, of both estimators."""
    rng = np.random.RandomState(0)
    known = sp.random(200, 300, 0.05, format="coo", random_state=rng, dtype=np.float32)
    features = sp.csr_matrix(sp.hstack([sp.identity(300), sp.random(300, 20, 0.1, random_state=rng)]), dtype=np.float32)
    y = np.arange(200) % 2
    path = os.path.join(folder, "model.safetensors")
    models = [LightFM(loss=loss, no_components=16) for loss in ("logistic", "bpr", "warp", "warp-kos", "softmax")]
    machine = FMClassifier(epochs=1, num_threads=2)
    turn = 0

    def once() -> None:
        nonlocal turn
        model = models[turn % len(models)]
        turn += 1
        model.fit(known, item_features=features, num_threads=2)
        model.fit_partial(known, item_features=features)
        model.predict(np.arange(200), np.arange(200), item_features=features, num_threads=2)
        model.predict_rank(known, item_features=features, num_threads=2)
        model.recommend(np.arange(200), 10, interactions=known, item_features=features, num_threads=2)
        model.similar_items([0, 1], item_features=features)
        model.fold_in_users(known, item_features=features, epochs=1)
        model.save(path)
        LightFM.load(path, mmap=turn % 2 == 0).predict(0, [0], item_features=features)
        machine.fit(known, y).predict(known)
        for refused in (lambda: model.predict(0, [10**6]), lambda: model.fit(known.toarray() * np.nan)):
            try:
                refused()
            except ValueError:
                continue
            raise AssertionError("what must be refused was not")

    return once


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.memory", description=__doc__)
    parser.add_argument("repeats", type=int, nargs="*", default=[200, 1000, 2000], help="when to print (200 1000 2000)")
    stops = sorted(parser.parse_args().repeats)
    with tempfile.TemporaryDirectory() as folder:
        once = rounds(folder)
        for number in range(1, stops[-1] + 1):
            once()
            if number in stops:
                print(f"{number} repeats: {resident():.1f} MB", flush=True)


if __name__ == "__main__":
    main()
