"""Ranking of full catalogues: every library tuned with the same budget on a validation part, one preset untuned."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from benchmarks import harness
from benchmarks.quality_sets import SETS, Split

K = 20
NO_COMPONENTS = 64
PRESET_EPOCHS = 40  # for all sets; chosen on the validation parts of ml-100k and citeulike-a
# EASE inverts a dense matrix of this many rows at most: 20,000 take 3.2 GB and minutes.
MOST_EASE_ITEMS = 20_000
USERS_AT_ONCE = 256
# A function from an array of users to their dense scores, of shape (n_users, n_items).
Scorer = Callable[[np.ndarray], np.ndarray]
Trial = dict[str, Any]


@dataclass(frozen=True)
class Method:
    """How a method's settings are drawn and trained; ``draw`` is None if nothing is tuned.

    The settings ``first`` are tried first: the library's defaults, which few random trials may miss.
    """

    name: str
    train: Callable[[Split, Trial, int, int], Scorer]
    draw: Callable[[np.random.Generator], Trial] | None = None
    first: Trial | None = None
    fits: Callable[[Split], bool] = lambda split: split.kind == "warm"


def main(arguments: list[str] | None = None) -> None:
    parser = harness.argument_parser(__doc__)
    parser.set_defaults(threads=[2])
    parser.add_argument("--sets", type=harness.choices_of(SETS), default=list(SETS), help="as ml-100k,gowalla")
    parser.add_argument(
        "--methods",
        type=harness.choices_of(METHODS),
        default=[name for name in METHODS if name not in WITH_L2],
        help="as preset,lightfm",
    )
    parser.add_argument("--trials", type=int, default=20, help="settings that each method may try")
    parser.add_argument("--seconds", type=float, default=600, help="time after which a method begins no more trials")
    parser.add_argument("--validation", action="store_true", help="judge by the validation part, not the test part")
    parser.add_argument("--quick", action="store_true", help="the two smallest sets, 3 trials, 2 seeds")
    options = parser.parse_args(arguments)
    if options.quick:
        options.sets = [name for name in options.sets if name in ("ml-100k", "citeulike-a")]
        options.trials, options.seeds = min(options.trials, 3), min(options.seeds, 2)
    peers = {peer: harness.import_peer(peer) is not None for peer in ("lightfm", "implicit")}
    methods = [METHODS[name] for name in options.methods if peers.get(name.split("-")[0], True)]
    machine = harness.machine(peer for peer, is_there in peers.items() if is_there)
    harness.print_machine(machine)
    results = []
    for name in options.sets:
        for method in methods:
            if (row := _measure(name, method, options)) is not None:
                results.append(row)
        harness.save(options.json, machine, options, results)  # after each set, since all of them take hours


def _measure(name: str, method: Method, options: argparse.Namespace) -> dict[str, Any] | None:
    """Tune on the validation part; then train with each seed on both parts, and measure on the test part.

    With ``--validation``, train without the validation part, and measure on it.
    """
    threads = options.threads[0]
    tuning = SETS[name](0, True)
    if not method.fits(tuning):
        print(f"{name}, {method.name}: does not apply")
        return None
    tried = list(_tune(method, tuning, options)) if method.draw else []
    best = max(tried, key=lambda trial: trial["ndcg"])["trial"] if tried else {}
    of_seeds: dict[str, list[float]] = {"ndcg": [], "recall": [], "seconds": []}
    of_users = []
    for seed in range(options.seeds):
        split = SETS[name](seed, options.validation)
        start = time.perf_counter()
        scorer = method.train(split, best, seed, threads)
        of_seeds["seconds"].append(time.perf_counter() - start)
        ndcg, recall = judge(scorer, split)
        of_seeds["ndcg"].append(float(ndcg.mean()))
        of_seeds["recall"].append(float(recall.mean()))
        of_users.append({"ndcg": _standard_error(ndcg), "recall": _standard_error(recall)})
    row: dict[str, Any] = {"set": name, "method": method.name, "trials": len(tried), "chosen": best, "threads": threads}
    row["part"] = "validation" if options.validation else "test"
    for metric, values in of_seeds.items():
        row[metric] = {"seeds": values, "mean": statistics.fmean(values), "error over seeds": _standard_error(values)}
        if metric != "seconds":
            row[metric]["error over users"] = statistics.fmean(errors[metric] for errors in of_users)
    shown = [
        f"{metric}@{K} {row[metric]['mean']:.4f} ± {row[metric]['error over users']:.4f} (users) "
        f"± {row[metric]['error over seeds']:.4f} (seeds)"
        for metric in ("ndcg", "recall")
    ]
    print(f"{name}, {method.name}: {', '.join(shown)}, {row['seconds']['mean']:.1f} s, {best or 'untuned'}", flush=True)
    return row


def _tune(method: Method, split: Split, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Random search: the same number of trials and the same time for every method."""
    rng = np.random.default_rng(0)
    start = time.perf_counter()
    for number in range(options.trials):
        trial = method.first if number == 0 and method.first else method.draw(rng)
        try:
            ndcg = float(judge(method.train(split, trial, 0, options.threads[0]), split)[0].mean())
        except ValueError as error:  # this library raises if training diverges, which counts as a bad trial
            print(f"  {method.name} {trial}: {error}")
            ndcg = 0.0
        yield {"trial": trial, "ndcg": ndcg}
        if time.perf_counter() - start > options.seconds:
            return


def _standard_error(values: Any) -> float:
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def judge(scorer: Scorer, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Return NDCG@K and recall@K of every user with held-out items; training items are left out of the ranking.

    Gains are 0 or 1, discounts 1 / log2(1 + rank), and the ideal list has min(K, held-out items) items (Järvelin 2002).
    """
    n_held = np.diff(split.held_out.indptr)
    users = np.flatnonzero(n_held)
    discounts = 1 / np.log2(np.arange(2, K + 2))
    ideal = np.cumsum(discounts)[np.minimum(n_held[users], K) - 1]
    gains, hits = np.empty(len(users)), np.empty(len(users))
    out = None
    if split.candidates is not None:
        out = np.ones(split.train.shape[1], dtype=bool)
        out[split.candidates] = False
    for first in range(0, len(users), USERS_AT_ONCE):
        block = users[first : first + USERS_AT_ONCE]
        scores = np.array(scorer(block), dtype=np.float32)
        seen = split.train[block]
        scores[np.repeat(np.arange(len(block)), np.diff(seen.indptr)), seen.indices] = -np.inf
        if out is not None:
            scores[:, out] = -np.inf
        best = np.argpartition(-scores, K, axis=1)[:, :K]
        best = np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind="stable"), 1)
        held = split.held_out[block].toarray() > 0
        hit = np.take_along_axis(held, best, 1)
        gains[first : first + len(block)] = hit @ discounts
        hits[first : first + len(block)] = hit.sum(axis=1)
    return gains / ideal, hits / n_held[users]


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw uniformly on a logarithmic scale."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _of_factors(users: np.ndarray, items: np.ndarray, biases: np.ndarray | float = 0.0) -> Scorer:
    return lambda rows: users[rows] @ items.T + biases


def _fit_lightfm(model: Any, split: Split, epochs: int, threads: int) -> Scorer:
    """Train a model of LightFM's interface, of either library."""
    features = {"user_features": split.user_features, "item_features": split.item_features}
    model.fit(split.train.tocoo(), epochs=epochs, num_threads=threads, **features)
    _, users = model.get_user_representations(split.user_features)
    biases, items = model.get_item_representations(split.item_features)
    return _of_factors(users, items, biases)


def _draw_lightfm(rng: np.random.Generator) -> Trial:
    return {
        "loss": str(rng.choice(["warp", "warp", "bpr"])),
        "learning_rate": _between(rng, 0.005, 0.2),
        "item_alpha": _between(rng, 1e-8, 1e-3),
        "user_alpha": _between(rng, 1e-8, 1e-3),
        "max_sampled": int(rng.choice([10, 30, 100])),
        "epochs": int(rng.choice([5, 10, 20, 40, 80])),
    }


def _train_lightfm(split: Split, trial: Trial, seed: int, threads: int) -> Scorer:
    from lightfm import LightFM

    settings = {name: value for name, value in trial.items() if name != "epochs"}
    model = LightFM(no_components=NO_COMPONENTS, random_state=seed, **settings)
    return _fit_lightfm(model, split, trial["epochs"], threads)


def _preset(kind: str, **settings: float) -> Callable[[Split, Trial, int, int], Scorer]:
    trial = {"kind": kind, "epochs": PRESET_EPOCHS, **settings}
    return lambda split, _, seed, threads: _train_ours(split, trial, seed, threads)


def _draw_ours(rng: np.random.Generator) -> Trial:
    kind = str(rng.choice(["fast", "ranking", "warp"]))
    if kind == "ranking":
        return {
            "kind": kind,
            "temperature": _between(rng, 0.08, 0.3),
            "learning_rate": _between(rng, 0.1, 1.0),
            "epochs": int(rng.choice([10, 20, 40])),
        }
    if kind == "warp":
        return {"kind": kind, "alpha": _between(rng, 0.1, 3), "epochs": int(rng.choice([10, 20, 40]))}
    alpha = _between(rng, 3e-3, 0.3)
    return {
        "kind": kind,
        "n_negatives": int(rng.choice([4, 8, 16, 32])),
        "learning_rate": _between(rng, 0.03, 0.3),
        "item_alpha": alpha,
        "user_alpha": alpha,
        "epochs": int(rng.choice([10, 20, 40])),
    }


def _train_ours(split: Split, trial: Trial, seed: int, threads: int) -> Scorer:
    from lightfm_fast import LightFM

    if trial["kind"] == "warp":
        return _train_warp(split, trial, seed, threads)
    settings = {name: value for name, value in trial.items() if name not in ("kind", "epochs")}
    model = LightFM.recommended(trial["kind"], no_components=NO_COMPONENTS, random_state=seed, **settings)
    return _fit_lightfm(model, split, trial["epochs"], threads)


def _train_warp(split: Split, trial: Trial, seed: int, threads: int) -> Scorer:
    """WARP with many draws and an L2 penalty on both sides."""
    from lightfm_fast import LightFM

    alpha = trial["alpha"]
    model = LightFM(NO_COMPONENTS, loss="warp", max_sampled=100, item_alpha=alpha, user_alpha=alpha, random_state=seed)
    return _fit_lightfm(model, split, trial["epochs"], threads)


def _warp(alpha: float) -> Callable[[Split, Trial, int, int], Scorer]:
    return lambda split, _, seed, threads: _train_warp(split, {"alpha": alpha, "epochs": PRESET_EPOCHS}, seed, threads)


def _draw_als(rng: np.random.Generator) -> Trial:
    return {
        "regularization": _between(rng, 1e-3, 100),
        "alpha": _between(rng, 1, 100),
        "iterations": int(rng.choice([5, 10, 20, 40])),
    }


def _train_als(split: Split, trial: Trial, seed: int, threads: int) -> Scorer:
    from implicit.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(NO_COMPONENTS, random_state=seed, num_threads=threads, **trial)
    model.fit(split.train, show_progress=False)
    return _of_factors(model.user_factors, model.item_factors)


def _draw_bpr(rng: np.random.Generator) -> Trial:
    return {
        "learning_rate": _between(rng, 3e-3, 0.3),
        "regularization": _between(rng, 1e-4, 0.1),
        "iterations": int(rng.choice([25, 50, 100, 200, 400])),
    }


def _train_bpr(split: Split, trial: Trial, seed: int, threads: int) -> Scorer:
    from implicit.bpr import BayesianPersonalizedRanking

    model = BayesianPersonalizedRanking(NO_COMPONENTS, random_state=seed, num_threads=threads, **trial)
    model.fit(split.train, show_progress=False)
    return _of_factors(model.user_factors, model.item_factors)


def _train_ease(split: Split, trial: Trial, _: int, threads: int) -> Scorer:
    """Steck 2019, Embarrassingly Shallow Autoencoders for Sparse Data."""
    gram = (split.train.T @ split.train).toarray().astype(np.float64)
    gram[np.diag_indices_from(gram)] += trial["regularization"]
    inverse = scipy.linalg.inv(gram, overwrite_a=True, check_finite=False, assume_a="pos")
    weights = (inverse / -np.diag(inverse)).astype(np.float32)
    np.fill_diagonal(weights, 0)
    return lambda rows: split.train[rows] @ weights


def _train_popularity(split: Split, *_: Any) -> Scorer:
    counts = np.asarray(split.train.sum(axis=0)).ravel()
    return lambda rows: np.broadcast_to(counts, (len(rows), len(counts)))


def _train_profile(split: Split, *_: Any) -> Scorer:
    """Score by the cosine of an item's features, weighted by rarity, with the sum over the user's items."""
    features = split.item_features
    rarity = np.log(features.shape[0] / (1 + np.bincount(features.indices, minlength=features.shape[1])))
    weighted = sp.csr_matrix(features @ sp.diags(np.maximum(rarity, 0)))
    lengths = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    weighted = sp.csr_matrix(sp.diags(1 / np.where(lengths > 0, lengths, 1)) @ weighted)
    profiles = sp.csr_matrix(split.train @ weighted)
    return lambda rows: (profiles[rows] @ weighted.T).toarray()


# Untuned, to compare strengths of L2; only run if named.
WITH_L2 = {
    **{f"warp-l2-{alpha}": _warp(alpha) for alpha in (0.3, 1, 3)},
    **{f"fast-l2-{alpha}": _preset("fast", item_alpha=alpha, user_alpha=alpha) for alpha in (0.03, 0.04, 0.05, 0.06)},
}
METHODS = {
    "preset": Method("preset", _preset("ranking"), fits=lambda split: True),
    "preset-fast": Method("preset-fast", _preset("fast"), fits=lambda split: True),
    "tuned": Method(
        "tuned", _train_ours, _draw_ours, {"kind": "fast", "epochs": PRESET_EPOCHS}, fits=lambda split: True
    ),
    "lightfm": Method(
        "lightfm", _train_lightfm, _draw_lightfm, {"loss": "warp", "epochs": 30}, fits=lambda split: True
    ),
    "implicit-als": Method("implicit-als", _train_als, _draw_als, {"iterations": 15}),
    "implicit-bpr": Method("implicit-bpr", _train_bpr, _draw_bpr, {"iterations": 100}),
    "ease": Method(
        "ease",
        _train_ease,
        lambda rng: {"regularization": _between(rng, 1, 3000)},
        fits=lambda split: split.kind == "warm" and split.train.shape[1] <= MOST_EASE_ITEMS,
    ),
    "popularity": Method("popularity", _train_popularity),
    **{name: Method(name, train, fits=lambda split: True) for name, train in WITH_L2.items()},
    "profile": Method("profile", _train_profile, fits=lambda split: split.item_features is not None),
}


if __name__ == "__main__":
    main()
