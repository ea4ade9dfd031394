"""Numbers as features of new users and films (MovieLens 100K): age, year and hour, by encoder."""

from __future__ import annotations

import warnings
from itertools import product
from typing import Any

import numpy as np

from benchmarks import harness

SHARE = 0.2  # of users or films, hidden
ALPHAS = (0.01, 0.03, 0.1)  # L2; a validation part chooses the best for each side, and the best epoch
MOST_EPOCHS = 20
NONE = "none"
# The number, the side that is new in the test part, and the other known columns.
TASKS = {
    "age of new users": ("age", "user", ()),
    "age of new users, beside sex and occupation": ("age", "user", ("sex", "occupation")),
    "year of new films": ("year", "film", ()),
    "year of new films, beside genres": ("year", "film", ("genres",)),
    "hour of new users' ratings": ("hour", "user", ()),
}


def main(arguments: list[str] | None = None) -> None:
    parser = harness.argument_parser(__doc__)
    parser.set_defaults(threads=[1])
    options = parser.parse_args(arguments)
    machine = harness.machine()
    harness.print_machine(machine)
    table = read()
    results: list[dict[str, Any]] = []
    for task, seed, threads in product(TASKS, range(options.seeds), options.threads):
        for encoder in encoders(TASKS[task][0]):
            rmse, chosen = _measure(table, task, encoder, seed, threads)
            results.append({"task": task, "encoder": encoder, "seed": seed, "threads": threads, "RMSE": rmse, **chosen})
        harness.save(options.json, machine, options, results)
    for threads in options.threads:
        _report([result for result in results if result["threads"] == threads])


def read() -> dict[str, np.ndarray]:
    """Return all ratings with the columns of their user and film; an unknown year is NaN."""
    users, films, (ratings,) = harness.read_movielens("u.data")
    user, film = ratings[:, 0] - 1, ratings[:, 1] - 1
    genres = np.empty(len(films), dtype=object)
    genres[:] = [[number for number, flag in enumerate(line[5:]) if flag == "1"] for line in films]
    year = np.array([float(line[2][-4:] or "nan") for line in films])
    return {
        "user": user,
        "film": film,
        "rating": ratings[:, 2].astype(float),
        "hour": ratings[:, 3] % 86400 / 3600,
        "age": np.array([float(line[1]) for line in users])[user],
        "sex": np.array([line[2] for line in users])[user],
        "occupation": np.array([line[3] for line in users])[user],
        "year": year[film],
        "genres": genres[film],
    }


def encoders(column: str) -> dict[str, Any]:
    """The sides to compare for a number."""
    from lightfm_fast.features import Categorical, Periodic, PiecewiseLinear, QuantileBins, Standardized

    return {
        NONE: None,
        "Standardized()": Standardized(),
        "Categorical(min_count=5)": Categorical(min_count=5, unseen="other"),
        "QuantileBins(10)": QuantileBins(10),
        "PiecewiseLinear(10)": PiecewiseLinear(10),
        **({"Periodic(24, 8)": Periodic(24, 8)} if column == "hour" else {}),
    }


def _measure(
    table: dict[str, np.ndarray], task: str, encoder: str, seed: int, threads: int
) -> tuple[float, dict[str, Any]]:
    ids = TASKS[task][1]
    shuffled = np.random.default_rng(seed).permutation(int(table[ids].max()) + 1)
    n_hidden = round(SHARE * len(shuffled))
    is_test = np.isin(table[ids], shuffled[:n_hidden])
    is_validation = np.isin(table[ids], shuffled[n_hidden : 2 * n_hidden])
    validated = _encode(table, task, encoder, ~is_test & ~is_validation, is_validation)
    tried = []
    for alpha in ALPHAS:
        curve = _errors(*validated, seed, threads, alpha, MOST_EPOCHS)
        tried.append((min(curve), alpha, 1 + int(np.argmin(curve))))
    _, alpha, epochs = min(tried)
    rmse = _errors(*_encode(table, task, encoder, ~is_test, is_test), seed, threads, alpha, epochs)[-1]
    return rmse, {"alpha": alpha, "epochs": epochs}


def _encode(
    table: dict[str, np.ndarray], task: str, encoder: str, is_train: np.ndarray, is_test: np.ndarray
) -> tuple[Any, np.ndarray, Any, np.ndarray]:
    """Return features and ratings of both parts; ids that are not in training have no weight."""
    from lightfm_fast.features import Categorical, FeatureSpec, MultiCategorical, UnseenCategoryWarning

    column, _, others = TASKS[task]
    train, test = ({name: values[rows] for name, values in table.items()} for rows in (is_train, is_test))
    spec: dict[str, Any] = {"user": Categorical(), "film": Categorical()}
    spec |= {name: MultiCategorical(normalize="l2") if name == "genres" else Categorical() for name in others}
    number = encoders(column)[encoder]
    features = FeatureSpec(spec if number is None else {**spec, column: number})
    X = features.fit_transform(train)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnseenCategoryWarning)  # the benchmark measures new ids
        return X, train["rating"], features.transform(test), test["rating"]


def _errors(
    X: Any, y: np.ndarray, X_test: Any, y_test: np.ndarray, seed: int, threads: int, alpha: float, epochs: int
) -> list[float]:
    """Return the RMSE of the test rows after each epoch."""
    from lightfm_fast import FMRegressor

    model = FMRegressor(8, learning_rate=0.05, alpha_w=alpha, alpha_v=alpha, num_threads=threads, random_state=seed)
    errors = []
    for _ in range(epochs):
        model.partial_fit(X, y)
        errors.append(float(np.sqrt(np.mean((model.predict(X_test) - y_test) ** 2))))
    return errors


def _report(results: list[dict[str, Any]]) -> None:
    rows = []
    for task in TASKS:
        by_encoder: dict[str, list[float]] = {}
        for result in results:
            if result["task"] == task:
                by_encoder.setdefault(result["encoder"], []).append(result["RMSE"])
        for encoder, values in by_encoder.items():
            gain = harness.spread(np.subtract(by_encoder[NONE], values).tolist())
            rows.append(
                [
                    task,
                    encoder,
                    harness.spread_text(values),
                    "" if encoder == NONE else f"{gain['mean']:+.4f} ± {gain['sd']:.4f}",
                ]
            )
    harness.print_table(["", "encoder", "RMSE ± sd", "less than none, paired"], rows)


if __name__ == "__main__":
    main()
