"""Film ratings (MovieLens 100K, folds u1 to u5): RMSE of factorization machines with ids and with features."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks import harness

FOLDS = (1, 2, 3, 4, 5)
N_USERS, N_FILMS = 943, 1682
TARGETS = {"ids": 0.905, "features": 0.895}
# Chosen on a tenth of the training rows of some folds, by the first seed.
SETTINGS: dict[str, dict[str, Any]] = {
    "ids": {"no_components": 64, "learning_rate": 0.05, "alpha_w": 0.005, "alpha_v": 0.05, "epochs": 10},
    "features": {"no_components": 20, "learning_rate": 0.015, "alpha_w": 0.0005, "alpha_v": 0.001, "epochs": 15},
}


def main(arguments: list[str] | None = None) -> None:
    parser = harness.argument_parser(__doc__)
    parser.set_defaults(threads=[1], seeds=1)
    parser.add_argument("--rounds", type=int, default=7, help="rounds of paired timing, an epoch a round")
    parser.add_argument("--peers", default="myfm", help="myfm, or empty for none")
    options = parser.parse_args(arguments)
    peers = [peer for peer in options.peers.split(",") if peer and harness.import_peer(peer) is not None]
    machine = harness.machine(peers)
    harness.print_machine(machine)
    data = read()
    results: list[dict[str, Any]] = []
    for kind in TARGETS:
        for threads in options.threads:
            for fold in FOLDS:
                for seed in range(options.seeds):
                    results.append(_measure(data, kind, fold, threads, seed))
        own = [result for result in results if result["kind"] == kind]
        _report(kind, own)
    if peers:
        results += [_time(data, kind, options) for kind in TARGETS]
    harness.save(options.json, machine, options, results)


def read() -> dict[str, Any]:
    """Return ratings of each fold, and one-hot or averaged features of users and films, by field."""
    files = [f"u{fold}.{part}" for fold in FOLDS for part in ("base", "test")]
    users, films, ratings = harness.read_movielens(*files)
    folds = dict(zip(FOLDS, zip(ratings[::2], ratings[1::2], strict=True), strict=True))
    genres = np.array([[int(flag) for flag in film[5:]] for film in films], dtype=float)
    return {
        "folds": folds,
        "user_features": {
            "age": _one_hot([min(int(user[1]) // 5, 11) for user in users]),
            "gender": _one_hot([user[2] for user in users]),
            "occupation": _one_hot([user[3] for user in users]),
            "region": _one_hot([user[4][0] for user in users]),
        },
        "item_features": {
            "genre": sp.csr_matrix(genres / np.maximum(genres.sum(axis=1, keepdims=True), 1)),
            "year": _one_hot([film[2][-4:] for film in films]),
        },
    }


def _one_hot(values: list[Any]) -> sp.csr_matrix:
    different, codes = np.unique(np.array(values), return_inverse=True)
    return sp.identity(len(different), format="csr")[codes]


def designs(data: dict[str, Any], kind: str, train: np.ndarray, test: np.ndarray) -> tuple[Any, Any]:
    """Return design matrices of training and test ratings; "features" include who rated what in ``train``."""
    from lightfm_fast.design import design_matrix

    features: dict[str, Any] = {}
    if kind == "features":
        rated = _ratings(train)
        rated.data[:] = 1
        features = {
            "user_features": data["user_features"] | {"rated": _root_normalised(rated)},
            "item_features": data["item_features"] | {"rated by": _root_normalised(rated.T.tocsr())},
        }
    first, second = (design_matrix(_ratings(table), **features) for table in (train, test))
    return first, second


def _ratings(table: np.ndarray) -> sp.coo_matrix:
    return sp.coo_matrix((table[:, 2].astype(float), (table[:, 0] - 1, table[:, 1] - 1)), shape=(N_USERS, N_FILMS))


def _root_normalised(rows: Any) -> sp.csr_matrix:
    """Divide rows of ones by the root of the number of ones (Koren 2008)."""
    return sp.csr_matrix(sp.diags(1 / np.sqrt(np.maximum(rows.getnnz(axis=1), 1))) @ rows)


def _model(kind: str, threads: int, seed: int, **settings: Any) -> Any:
    from lightfm_fast import FMRegressor

    return FMRegressor(num_threads=threads, random_state=seed, **{**SETTINGS[kind], **settings})


def _measure(data: dict[str, Any], kind: str, fold: int, threads: int, seed: int) -> dict[str, Any]:
    train, test = designs(data, kind, *data["folds"][fold])
    model = _model(kind, threads, seed).fit(train, train.y)
    errors = np.clip(model.predict(test), 1, 5) - test.y
    return {
        "kind": kind,
        "fold": fold,
        "threads": threads,
        "seed": seed,
        "RMSE": float(np.sqrt(np.mean(errors**2))),
        "seconds an epoch": float(np.median([record["seconds"] for record in model.history_])),
    }


def _report(kind: str, results: list[dict[str, Any]]) -> None:
    by_fold = {fold: [result["RMSE"] for result in results if result["fold"] == fold] for fold in FOLDS}
    mean = float(np.mean([result["RMSE"] for result in results]))
    verdict = "reached" if mean <= TARGETS[kind] else "MISSED"
    header = [kind, *(f"u{fold}" for fold in FOLDS), "mean", "target", "seconds an epoch"]
    seconds = np.median([result["seconds an epoch"] for result in results])
    cells = [f"{np.mean(values):.4f}" for values in by_fold.values()]
    harness.print_table(header, [["RMSE", *cells, f"{mean:.4f}", f"{TARGETS[kind]} {verdict}", f"{seconds:.4f}"]])


def _time(data: dict[str, Any], kind: str, options: Any) -> dict[str, Any]:
    """Time an epoch against a Gibbs sweep of myFM over the same rows, at 16 components, one thread, paired."""
    import myfm

    train, _ = designs(data, kind, *data["folds"][1])
    model = _model(kind, 1, 0, no_components=16)
    flat = train.to_csr().astype(np.float64)
    sweeps = 5

    def sweep(n_sweeps: int) -> Any:
        return myfm.MyFMRegressor(rank=16, random_seed=0).fit(flat, train.y, n_iter=n_sweeps, n_kept_samples=1)

    ours = partial(model.partial_fit, train, train.y)
    ours()
    times = harness.alternate(
        {"ours": ours, "one": partial(sweep, 1), "more": partial(sweep, 1 + sweeps)}, options.rounds
    )
    theirs = [(more - one) / sweeps for more, one in zip(times["more"], times["one"], strict=True)]
    ratio = harness.paired_ratio(times["ours"], theirs)
    print(
        f"{kind}: a sweep of myFM takes {ratio['median']:.2f} ({ratio['min']:.2f}-{ratio['max']:.2f}) times our epoch"
    )
    return {"kind": kind, "seconds an epoch": times["ours"], "myfm seconds a sweep": theirs, "time over ours": ratio}


if __name__ == "__main__":
    main()
