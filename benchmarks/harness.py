"""Shared parts of all benchmarks: the machine, data, paired timing, one evaluator for all models, reports."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import io
import json
import os
import platform
import statistics
import subprocess
import time
import zipfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy import stats

Key = TypeVar("Key")
Value = TypeVar("Value")

# Distributions that provide each module: LightFM and its successors share the module's name.
DISTRIBUTIONS = {
    "lightfm": ("lightfm", "lightfm-next", "rectools-lightfm"),
    "implicit": ("implicit", "pm-implicit"),
}


@dataclass(frozen=True)
class Problem:
    """Train and test interactions, ones of shape (n_users, n_items), and features of either side, if any."""

    name: str
    train: sp.coo_matrix
    test: sp.csr_matrix
    user_features: sp.csr_matrix | None = None
    item_features: sp.csr_matrix | None = None

    def describe(self) -> str:
        users, items = self.train.shape
        text = f"{self.name}: {users:,} users, {items:,} items, {self.train.nnz:,} train, {self.test.nnz:,} test"
        for side, features in (("user", self.user_features), ("item", self.item_features)):
            if features is not None:
                text += f", {features.nnz / features.shape[0]:.1f} of {features.shape[1]:,} features per {side}"
        return text


@dataclass(frozen=True)
class Factors:
    """Factors whose products are a model's scores, so that one evaluator measures all models."""

    user: np.ndarray
    item: np.ndarray

    @classmethod
    def of_lightfm(cls, model: Any, user_features: Any = None, item_features: Any = None) -> Factors:
        """Make item biases a coordinate of the factors; a user's bias changes no rank and is left out."""
        _, user = model.get_user_representations(user_features)
        bias, item = model.get_item_representations(item_features)
        return cls(np.column_stack([user, np.ones(len(user))]), np.column_stack([item, bias]))

    def predict_rank(self, test_interactions: Any, train_interactions: Any = None, **_: Any) -> sp.csr_matrix:
        """Rank as LightFM does, in float64: from 0, ties against the item, train positives left out."""
        ranks = sp.csr_matrix(test_interactions, dtype=np.float32, copy=True)
        seen = sp.csr_matrix(ranks.shape if train_interactions is None else train_interactions)
        item_factors, user_factors = self.item.astype(np.float64), self.user.astype(np.float64)
        for user in np.flatnonzero(np.diff(ranks.indptr)):
            row = slice(ranks.indptr[user], ranks.indptr[user + 1])
            scores = item_factors @ user_factors[user]
            positives = scores[ranks.indices[row]]
            scores[seen.indices[seen.indptr[user] : seen.indptr[user + 1]]] = -np.inf
            itself = scores[ranks.indices[row]] == positives
            ranks.data[row] = len(scores) - np.searchsorted(np.sort(scores), positives) - itself
        return ranks


def argument_parser(description: str | None, seeds: bool = True) -> argparse.ArgumentParser:
    """Return a parser with the options of all benchmarks; ``--seeds`` only if ``seeds`` asks for it."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--threads", type=positive_integers, default=[1, 2], help="thread counts, as 1,2")
    if seeds:
        parser.add_argument("--seeds", type=int, default=5, help="number of seeds")
    parser.add_argument("--json", type=Path, help="save the results here, as benchmarks/results/NAME.json")
    return parser


def add_data_options(parser: argparse.ArgumentParser) -> None:
    data = parser.add_argument_group("data")
    data.add_argument("--data", choices=list(_LOADERS), default="generated")
    data.add_argument("--features", choices=["none", "tags", "tags+users"], default="none")
    data.add_argument("--users", type=int, default=20_000, help="generated: number of users")
    data.add_argument("--items", type=int, default=10_000, help="generated: number of items")
    data.add_argument("--interactions", type=int, default=1_000_000, help="generated: number of interactions")
    data.add_argument("--tags", type=int, default=50, help="generated: number of tags")
    data.add_argument("--tags-per-item", type=int, default=8, help="generated: tags of each item")
    data.add_argument("--test-fraction", type=float, default=0.2, help="generated: chance to be held out")


def add_cases_option(parser: argparse.ArgumentParser, known: Mapping[str, Any], default: Collection[str]) -> None:
    """Add ``--cases``, which converts names to cases."""
    parser.add_argument(
        "--cases",
        type=named(known),
        default=[known[name] for name in default],
        help=f"some of {','.join(known)} (default: {','.join(default)})",
    )


def positive_integers(text: str) -> list[int]:
    numbers = [int(number) for number in text.split(",")]
    if min(numbers) < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected numbers of at least 1")
    return numbers


def choices_of(known: Collection[str]) -> Callable[[str], list[str]]:
    """Return the type of an option that takes known words, separated by commas."""

    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        if unknown := set(chosen).difference(known):
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: expected some of {', '.join(known)}")
        return chosen

    return parse


def named(known: Mapping[str, Value]) -> Callable[[str], list[Value]]:
    """Return the type of an option that takes known names, and converts them to their values."""
    choose = choices_of(known)
    return lambda text: [known[name] for name in choose(text)]


def load(options: Any) -> Problem:
    """Return the data and features that a case, or the options of :func:`add_data_options`, name."""
    problem = _LOADERS[options.data](options)
    wanted = options.features.split("+")
    for name, features in (("tags", problem.item_features), ("users", problem.user_features)):
        if name in wanted and features is None:
            raise SystemExit(f"--data {options.data} has no {name}: leave them out of --features")
    return replace(
        problem,
        item_features=problem.item_features if "tags" in wanted else None,
        user_features=problem.user_features if "users" in wanted else None,
    )


def sample_users(interactions: sp.csr_matrix, n_users: int) -> sp.csr_matrix:
    """Return the interactions of ``n_users`` random users that have some; the same users in every call."""
    users = np.flatnonzero(np.diff(interactions.indptr))
    chosen = np.random.default_rng(0).permutation(users)[:n_users]
    kept = np.zeros(interactions.shape[0], dtype=np.float32)
    kept[chosen] = 1
    sample = sp.csr_matrix(sp.diags(kept) @ interactions)
    sample.eliminate_zeros()
    return sample


def with_negatives(positives: sp.coo_matrix) -> sp.coo_matrix:
    """Return interactions with as many entries of -1 beside them, at random places that hold none; always the same."""
    rng = np.random.default_rng(0)
    n_users, n_items = positives.shape
    taken = np.sort(positives.row * np.int64(n_items) + positives.col)
    drawn = np.unique(rng.integers(n_users * n_items, size=2 * positives.nnz + 1000))
    free = drawn[~np.isin(drawn, taken)]
    places = rng.permutation(free)[: positives.nnz]
    rows, columns = np.divmod(np.concatenate([taken, places]), n_items)
    values = np.repeat(np.float32([1, -1]), [len(taken), len(places)])
    both = sp.coo_matrix((values, (rows.astype(np.int32), columns.astype(np.int32))), positives.shape)
    return shuffled(both, rng)


def shuffled(interactions: sp.coo_matrix, rng: np.random.Generator | None = None) -> sp.coo_matrix:
    """Return interactions with their entries in random order, as in a log; by default always the same."""
    order = (rng or np.random.default_rng(0)).permutation(interactions.nnz)
    arrays = interactions.data[order], (interactions.row[order], interactions.col[order])
    return sp.coo_matrix(arrays, interactions.shape)


def movielens() -> Problem:
    """Return MovieLens 100K, ua split, ratings of at least 4; item features are an indicator and genres."""
    from lightfm_fast.datasets import fetch_movielens

    data = fetch_movielens(min_rating=4.0, genre_features=True)
    return Problem(
        "MovieLens 100K, ua split, ratings >= 4",
        _ones(data["train"]).tocoo(),
        _ones(data["test"]),
        item_features=data["item_features"],
    )


def _generated(options: Any) -> Problem:
    from lightfm_fast.datasets import make_interactions

    data = make_interactions(
        options.users,
        options.items,
        options.interactions,
        n_tags=options.tags,
        tags_per_item=options.tags_per_item,
        test_fraction=options.test_fraction,
    )
    return Problem(
        "generated, seed 0", data["train"], data["test"].tocsr(), data["user_features"], data["item_features"]
    )


def locate(file: str) -> Path:
    """Return the path of a file of real data; exit if it is missing."""
    folder = os.environ.get("LIGHTFM_FAST_DATA")
    if not folder or not (path := Path(folder) / file).exists():
        raise SystemExit(f"this benchmark reads {file} in the folder that LIGHTFM_FAST_DATA names")
    return path


def read_movielens(*ratings: str) -> tuple[list[list[str]], list[list[str]], list[NDArray[np.int64]]]:
    """Return the fields of all users and films of MovieLens 100K, and the named files of ratings."""
    with zipfile.ZipFile(locate("ml-100k.zip")) as archive:
        users, films = (
            [line.split("|") for line in archive.read(f"ml-100k/{name}").decode("latin1").splitlines()]
            for name in ("u.user", "u.item")
        )
        return (
            users,
            films,
            [np.loadtxt(io.BytesIO(archive.read(f"ml-100k/{name}")), dtype=np.int64) for name in ratings],
        )


def _gowalla() -> Problem:
    with np.load(locate("gowalla.npz")) as data:
        shape = (int(data["n_users"]), int(data["n_items"]))
        cells, split = (data["user"], data["item"]), data["split"]
    # 1 marks the validation part, which no benchmark reads
    train, test = (
        _ones(sp.coo_matrix((np.ones(np.sum(split == part)), [axis[split == part] for axis in cells]), shape))
        for part in (0, 2)
    )
    return Problem("Gowalla, LightGCN's split less a validation part", train.tocoo(), test)


def _ones(interactions: Any) -> sp.csr_matrix:
    ones = sp.csr_matrix(interactions, dtype=np.float32, copy=True)
    ones.data[:] = 1
    return ones


_LOADERS: dict[str, Callable[[Any], Problem]] = {
    "generated": _generated,
    "gowalla": lambda options: _gowalla(),
    "movielens": lambda options: movielens(),
}


def import_peer(module: str) -> Any | None:
    """Return the peer's module; if it is not installed, print that it is left out and return None."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        print(f"{module} is left out: {error}")
        return None


def version(module: str) -> str:
    """Return name and version of the installed distribution that provides ``module``: "lightfm-next 1.19.0"."""
    for distribution in DISTRIBUTIONS.get(module, (module,)):
        try:
            return f"{distribution} {importlib.metadata.version(distribution)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return f"{module} of unknown version"


def machine(peers: Iterable[str] = ()) -> dict[str, Any]:
    """Return the conditions of a run: commit, processor, load, versions and this library's build."""
    import lightfm_fast

    return {
        "commit": _commit(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "usable cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": importlib.metadata.version("scipy"),
        "lightfm_fast": lightfm_fast.__version__,
        "build": lightfm_fast.show_config(mode="dicts"),
        "peers": [version(peer) for peer in peers],
    }


def _commit() -> str:
    """Return the commit of this tree, with "+" if files differ from it; "unknown" outside of a repository."""
    command = ["git", "describe", "--always", "--abbrev=7", "--match=", "--dirty=+"]
    try:
        found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def alternate(
    sides: Mapping[Key, Callable[[], object]], rounds: int, after_round: Callable[[], object] | None = None
) -> dict[Key, list[float]]:
    """Run all sides in turn, ``rounds`` times, in seconds; ``after_round`` is not timed.

    Every other round runs in reverse order, so that neither a drifting clock speed nor a warm cache favours a side.
    """
    seconds: dict[Key, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in list(sides)[:: -1 if number % 2 else 1]:
            start = time.perf_counter()
            sides[name]()
            seconds[name].append(time.perf_counter() - start)
        if after_round is not None:
            after_round()
    return seconds


def paired_ratio(ours: Sequence[float], peer: Sequence[float]) -> dict[str, float]:
    """Return the peer's time over ours, round by round: median, lowest and highest."""
    ratios = [theirs / own for own, theirs in zip(ours, peer, strict=True)]
    return {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return mean and standard deviation; the deviation of a single value is 0."""
    return {"mean": statistics.fmean(values), "sd": statistics.stdev(values) if len(values) > 1 else 0.0}


def verdict(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Compare values paired by seed: "at least", "within the spread" (95 % interval of the mean), or "BELOW"."""
    difference = np.subtract(ours, theirs)
    if difference.mean() >= 0:
        return "at least"
    if len(difference) < 2:
        return "below, one seed"
    margin = stats.t.ppf(0.975, len(difference) - 1) * stats.sem(difference)
    return "within the spread" if -difference.mean() <= margin else "BELOW"


def spread_text(values: Sequence[float]) -> str:
    """Format as mean ± standard deviation."""
    mean_and_sd = spread(values)
    return f"{mean_and_sd['mean']:.4f} ± {mean_and_sd['sd']:.4f}"


def seconds_text(times: Sequence[float], digits: int = 4) -> str:
    """Format as median (lowest-highest)."""
    return f"{statistics.median(times):.{digits}f} ({min(times):.{digits}f}-{max(times):.{digits}f})"


def ratio_text(ratio: Mapping[str, float]) -> str:
    return f"{ratio['median']:.2f} ({ratio['min']:.2f}-{ratio['max']:.2f})"


def print_machine(facts: Mapping[str, Any]) -> None:
    for name, value in facts.items():
        print(f"{name}: {json.dumps(value) if isinstance(value, dict) else value}")


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in [header, ["-" * width for width in widths], *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def save(path: Path | None, facts: Mapping[str, Any], options: argparse.Namespace, rows: Sequence[Any]) -> None:
    """Write machine, options and results to the JSON file of ``--json``, if it is given.

    Of a path among the options only the name is written: its folders say something of this machine alone.
    """
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    given = {name: value.name if isinstance(value, Path) else value for name, value in vars(options).items()}
    content = {"machine": facts, "options": given, "results": rows}
    path.write_text(json.dumps(content, indent=1, default=str) + "\n")
    print(f"written: {path}")
