"""New papers by their tags alone (CiteULike-a): LightFM, this library, fields normalised, identity dropout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks import harness
from benchmarks.harness import Factors

K = 50
COLD_SHARE = 0.2
RARE = 2  # tags of fewer papers share a column: a tag of one paper would be a second identity
METRICS = (f"recall@{K}", f"NDCG@{K}")
# Settings of all sides. LightFM also ranks better with more draws for WARP than by default.
COMMON: dict[str, Any] = {"loss": "warp", "no_components": 64, "learning_rate": 0.05, "max_sampled": 50}
EPOCHS = 40


@dataclass(frozen=True)
class Side:
    """A model and its feature rows: divided by their sum, as LightFM's Dataset does, or with tags of length 1."""

    name: str
    library: str = "lightfm_fast"
    rows: str = "fields normalised"
    identity_dropout: float = 0.0

    def make(self, library: Any, seed: int) -> Any:
        """Make the side's model from its library's module."""
        own = {"identity_dropout": self.identity_dropout} if self.identity_dropout else {}
        return library.LightFM(random_state=seed, **COMMON, **own)


SIDES = [
    Side("LightFM", "lightfm", "divided by their sum"),
    Side("this library", rows="divided by their sum"),
    Side("fields normalised"),
    Side("fields normalised, identity dropout", identity_dropout=0.2),
]


@dataclass(frozen=True)
class Task:
    """Likes of known papers to train on, likes of new papers to rank, and features of both."""

    train: sp.coo_matrix
    test: sp.csr_matrix
    known: sp.csr_matrix
    new: sp.csr_matrix


def main(arguments: list[str] | None = None) -> None:
    parser = harness.argument_parser(__doc__)
    parser.set_defaults(threads=[1])
    parser.add_argument("--sides", default="", help="train only sides whose name has this in it")
    parser.add_argument("--validation", action="store_true", help="rank other papers than those held out for the test")
    options = parser.parse_args(arguments)
    libraries = {name: module for name in ("lightfm_fast", "lightfm") if (module := harness.import_peer(name))}
    machine = harness.machine(name for name in libraries if name != "lightfm_fast")
    harness.print_machine(machine)
    sides = [side for side in SIDES if options.sides in side.name and side.library in libraries]
    data = read()
    results: list[dict[str, Any]] = []
    for seed in range(options.seeds):
        tasks = {rows: make_task(data, rows, seed, options.validation) for rows in {side.rows for side in sides}}
        for threads in options.threads:
            for side in sides:
                model = side.make(libraries[side.library], seed)
                task = tasks[side.rows]
                model.fit(task.train, item_features=task.known, epochs=EPOCHS, num_threads=threads)
                measured = measure(Factors.of_lightfm(model, item_features=task.new), task.test)
                results.append({"side": side.name, "seed": seed, "threads": threads, **measured})
                print(f"seed {seed}, {threads} thread(s), {side.name}: {measured}", flush=True)
        harness.save(options.json, machine, options, results)
    print(f"\n{task.train.nnz:,} likes of {task.known.shape[0]:,} papers; {task.new.shape[0]:,} new papers", end="")
    print(f", {np.count_nonzero(task.test.getnnz(axis=1)):,} users who like some")
    for threads in options.threads:
        _report(sides, [result for result in results if result["threads"] == threads])


def read() -> dict[str, Any]:
    """Return likes, and the list of tags of each paper."""
    with np.load(harness.locate("citeulike-a.npz")) as data:
        n_users, n_items = int(data["n_users"]), int(data["n_items"])
        likes = sp.csc_matrix(
            (np.ones(len(data["user"]), np.float32), (data["user"], data["item"])), (n_users, n_items)
        )
        names = np.array(data["item_tag__names"].tobytes().decode().split("\n"), dtype=object)
        tags = np.split(names[data["item_tag__indices"]], data["item_tag__indptr"][1:-1])
    return {"likes": likes, "tags": [paper.tolist() for paper in tags]}


def make_task(data: dict[str, Any], rows: str, seed: int, validation: bool) -> Task:
    """Hide a fifth of the papers; for validation another fifth, with the first left out of both parts."""
    from lightfm_fast.data import Dataset
    from lightfm_fast.features import FeatureSpec, MultiCategorical

    shuffled = np.random.default_rng(seed).permutation(data["likes"].shape[1])
    n_new = round(COLD_SHARE * len(shuffled))
    new, known = shuffled[:n_new], shuffled[n_new:]
    if validation:
        new, known = known[:n_new], known[n_new:]
    train = data["likes"][:, known].tocoo()
    divide = rows == "divided by their sum"
    spec = FeatureSpec({"tags": MultiCategorical(min_count=RARE, normalize=None if divide else "l2")})
    papers = {"paper": known, "tags": [data["tags"][paper] for paper in known]}
    dataset = Dataset.from_tables(
        {"user": train.row, "paper": known[train.col]},
        {"user": np.arange(train.shape[0])},
        papers,
        user="user",
        item="paper",
        item_features=spec,
        normalize=divide,
    )
    tags = spec.transform({"tags": [data["tags"][paper] for paper in new]})
    if divide:
        tags = sp.csr_matrix(sp.diags(1 / np.maximum(np.asarray(tags.sum(axis=1)).ravel(), 1)) @ tags)
    no_identity = sp.csr_matrix((len(new), len(known)), dtype=np.float32)
    features = sp.csr_matrix(sp.hstack([no_identity, tags], dtype=np.float32))
    assert dataset.interactions is not None
    assert dataset.item_features is not None
    return Task(dataset.interactions, data["likes"][:, new].tocsr(), dataset.item_features, features)


def measure(model: Factors, test: sp.csr_matrix) -> dict[str, float]:
    """Return recall and NDCG of the best K new papers, averaged over the users who like some of them."""
    users = np.flatnonzero(test.getnnz(axis=1))
    liked = test[users].toarray() > 0
    scores = model.user[users] @ model.item.T
    best = np.argpartition(-scores, K, axis=1)[:, :K]
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
    hits = np.take_along_axis(liked, np.take_along_axis(best, order, axis=1), axis=1)
    n_liked = liked.sum(axis=1)
    discounts = 1 / np.log2(np.arange(K) + 2)
    ideal = np.cumsum(discounts)[np.minimum(n_liked, K) - 1]
    values = (hits.sum(axis=1) / n_liked, (hits * discounts).sum(axis=1) / ideal)
    return {name: float(value.mean()) for name, value in zip(METRICS, values, strict=True)}


def _report(sides: list[Side], results: list[dict[str, Any]]) -> None:
    rows = []
    for side in sides:
        own = [result for result in results if result["side"] == side.name]
        shown = [harness.spread_text([result[metric] for result in own]) for metric in METRICS]
        rows.append([side.name, *shown, side.rows, str(side.identity_dropout)])
    harness.print_table(["", *(f"{metric} ± sd" for metric in METRICS), "rows", "dropout"], rows)


if __name__ == "__main__":
    main()
