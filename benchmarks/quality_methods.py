"""The methods that ``quality`` compares: how their settings are drawn and trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.quality_sets import Split
from lightfm_fast.baselines import EASE, ContentProfile, ItemKNN, Popularity

NO_COMPONENTS = 64
PRESET_EPOCHS = 40  # for all sets; chosen on the validation parts of ml-100k and citeulike-a
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
    fits: Callable[[Split], bool] = lambda split: True


def _is_warm(split: Split) -> bool:
    return split.kind == "warm"


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw uniformly on a logarithmic scale."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _of_factors(users: np.ndarray, items: np.ndarray, biases: np.ndarray | float = 0.0) -> Scorer:
    return lambda rows: users[rows] @ items.T + biases


def fit_lightfm(model: Any, split: Split, epochs: int, threads: int) -> Scorer:
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
    return fit_lightfm(model, split, trial["epochs"], threads)


def _preset(kind: str, **settings: Any) -> Callable[[Split, Trial, int, int], Scorer]:
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
    return fit_lightfm(model, split, trial["epochs"], threads)


def _train_warp(split: Split, trial: Trial, seed: int, threads: int) -> Scorer:
    """WARP with many draws and an L2 penalty on both sides."""
    from lightfm_fast import LightFM

    alpha = trial["alpha"]
    model = LightFM(NO_COMPONENTS, loss="warp", max_sampled=100, item_alpha=alpha, user_alpha=alpha, random_state=seed)
    return fit_lightfm(model, split, trial["epochs"], threads)


def _warp(alpha: float) -> Callable[[Split, Trial, int, int], Scorer]:
    return lambda split, _, seed, threads: _train_warp(split, {"alpha": alpha, "epochs": PRESET_EPOCHS}, seed, threads)


def _fit_implicit(kind: Any, split: Split, trial: Trial, seed: int, threads: int) -> Scorer:
    from implicit.recommender_base import ModelFitError

    model = kind(NO_COMPONENTS, random_state=seed, num_threads=threads, **trial)
    try:
        model.fit(split.train, show_progress=False)
    except ModelFitError as error:
        raise ValueError(str(error)) from error
    return _of_factors(model.user_factors, model.item_factors)


def _draw_als(rng: np.random.Generator) -> Trial:
    return {
        "regularization": _between(rng, 1e-3, 100),
        "alpha": _between(rng, 1, 100),
        "iterations": int(rng.choice([5, 10, 20, 40])),
    }


def _train_als(split: Split, trial: Trial, seed: int, threads: int) -> Scorer:
    from implicit.als import AlternatingLeastSquares

    return _fit_implicit(AlternatingLeastSquares, split, trial, seed, threads)


def _draw_bpr(rng: np.random.Generator) -> Trial:
    return {
        "learning_rate": _between(rng, 3e-3, 0.3),
        "regularization": _between(rng, 1e-4, 0.1),
        "iterations": int(rng.choice([25, 50, 100, 200, 400])),
    }


def _train_bpr(split: Split, trial: Trial, seed: int, threads: int) -> Scorer:
    from implicit.bpr import BayesianPersonalizedRanking

    return _fit_implicit(BayesianPersonalizedRanking, split, trial, seed, threads)


def _of_baseline(make: Callable[[Trial], Any]) -> Callable[[Split, Trial, int, int], Scorer]:
    def train(split: Split, trial: Trial, seed: int, threads: int) -> Scorer:
        scores: Scorer = make(trial).fit(split.train, item_features=split.item_features).scores
        return scores

    return train


def _train_ridge(split: Split, trial: Trial, seed: int, threads: int) -> Scorer:
    """Linear least squares of each item's positives on users' features, without columns that only one user has."""
    features = split.user_features
    shared = features[:, np.bincount(features.indices, minlength=features.shape[1]) > 1]
    known = shared[np.diff(split.train.indptr) > 0]
    gram = (known.T @ known).toarray().astype(np.float64)
    gram[np.diag_indices_from(gram)] += trial["regularization"]
    weights = np.linalg.solve(gram, (shared.T @ split.train).toarray())
    return lambda rows: shared[rows] @ weights


# Untuned settings of this library; only run if named.
SETTINGS = {
    **{f"warp-l2-{alpha}": _warp(alpha) for alpha in (0.3, 1, 3)},
    **{
        f"fast-l2-{alpha}": _preset("fast", item_alpha=alpha, user_alpha=alpha)
        for alpha in (0.02, 0.03, 0.04, 0.05, 0.06, 0.08)
    },
    "fast-features": _preset("fast", cold_start="features"),
    "fast-last-epoch": _preset("fast", average=False),
    "fast-factors": _preset("fast", linear_components=0),
    **{f"fast-shrinkage-{shrinkage}": _preset("fast", user_shrinkage=shrinkage) for shrinkage in (0, 4)},
}
# Candidates for a preset's settings: one is chosen on all data sets except the measured one.
CANDIDATES = ("preset-fast", "fast-l2-0.02", "fast-l2-0.05", "fast-l2-0.08", "fast-features", "warp-l2-1")
METHODS = {
    method.name: method
    for method in (
        Method("preset-fast", _preset("fast")),
        Method("preset", _preset("ranking")),
        Method("tuned", _train_ours, _draw_ours, {"kind": "fast", "epochs": PRESET_EPOCHS}),
        Method("lightfm", _train_lightfm, _draw_lightfm, {"loss": "warp", "epochs": 30}),
        Method("implicit-als", _train_als, _draw_als, {"iterations": 15}, _is_warm),
        Method("implicit-bpr", _train_bpr, _draw_bpr, {"iterations": 100}, _is_warm),
        Method(
            "ease",
            _of_baseline(lambda trial: EASE(**trial)),
            lambda rng: {"regularization": _between(rng, 1, 3000)},
            {},
            lambda split: _is_warm(split) and min(split.train.shape) <= EASE().largest,
        ),
        Method(
            "item-knn",
            _of_baseline(lambda trial: ItemKNN(**trial)),
            lambda rng: {
                "n_neighbors": int(rng.choice([20, 50, 100, 200, 400])),
                "shrinkage": _between(rng, 0.1, 300),
            },
            {},
            _is_warm,
        ),
        Method("content", _of_baseline(lambda _: ContentProfile()), fits=lambda split: split.item_features is not None),
        Method(
            "ridge",
            _train_ridge,
            lambda rng: {"regularization": _between(rng, 0.01, 1000)},
            {"regularization": 1.0},
            lambda split: split.kind == "new users",
        ),
        Method("popularity", _of_baseline(lambda _: Popularity()), fits=lambda split: split.kind != "new items"),
        *(Method(name, train) for name, train in SETTINGS.items()),
    )
}
# The methods that this library's presets are compared with.
OTHERS = ("lightfm", "implicit-als", "implicit-bpr", "ease", "item-knn", "content", "ridge", "popularity")
