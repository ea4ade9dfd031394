"""Train on a sample of the users and fold in the others, against training on all users: quality and time.

Both models are judged on the test interactions of all users, user by user. Seconds are processor time, since other
work on the machine hardly changes it.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks import harness


def main(arguments: list[str] | None = None) -> None:
    parser = harness.argument_parser(__doc__)
    harness.add_data_options(parser)
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--no-components", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=40, help="of training; folding in has its own default")
    parser.add_argument(
        "--shares", type=lambda text: [float(share) for share in text.split(",")], default=[0.1, 0.3, 0.5]
    )
    parser.add_argument("--k", type=int, default=10, help="NDCG is measured in the first K items")
    options = parser.parse_args(arguments)
    machine = harness.machine()
    problem = harness.load(options)
    harness.print_machine(machine)
    print(f"data: {problem.describe()}; {options.preset}, {options.epochs} epochs, {options.threads[0]} thread(s)")
    results = [
        result for seed in range(options.seeds) for result in _compare(problem, seed, options.threads[0], options)
    ]
    header = ["users trained on", "interactions an item", "seconds", f"NDCG@{options.k}", "less than all users'"]
    harness.print_table(header, [cells(result) for result in results])
    harness.save(options.json, machine, options, results)


def _compare(problem: harness.Problem, seed: int, threads: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    from lightfm_fast import LightFM

    train = problem.train.tocsr()
    active = np.flatnonzero(np.diff(train.indptr))
    order = np.random.default_rng(seed).permutation(active)
    results: list[dict[str, Any]] = []
    of_all: Any = None
    for share in (1.0, *options.shares):
        chosen = np.sort(order[: round(share * len(active))])
        others = np.setdiff1d(active, chosen)
        model = LightFM.recommended(options.preset, no_components=options.no_components, random_state=seed)
        started = time.process_time()
        model.fit(train[chosen], epochs=options.epochs, num_threads=threads)
        trained = time.process_time()
        represented = model.get_user_representations()[1]
        users = np.zeros((train.shape[0], represented.shape[1]), dtype=np.float32)
        users[chosen] = represented
        if len(others):
            users[others] = model.fold_in_users(train[others], num_threads=threads).embeddings
        seconds = {"to train": trained - started, "to fold in": time.process_time() - trained}
        of_users = _judged(model, users, train, problem.test, options.k, threads)
        of_all = of_users if of_all is None else of_all
        lost = of_all - of_users
        results.append(
            {
                "data": problem.name,
                "shape": train.shape,
                "seed": seed,
                "share": share,
                "interactions an item": train[chosen].nnz / train.shape[1],
                "seconds": seconds,
                "ndcg": float(of_users.mean()),
                "ndcg of all": float(of_all.mean()),
                "lost": {"mean": float(lost.mean()), "standard error": float(lost.std(ddof=1) / np.sqrt(len(lost)))},
            }
        )
    return results


def _judged(model: Any, users: Any, train: sp.csr_matrix, test: sp.csr_matrix, k: int, threads: int) -> Any:
    """Return each user's NDCG by these users' embeddings and the model's items."""
    from lightfm_fast import LightFM
    from lightfm_fast.evaluation import evaluate

    biases, embeddings = model.get_item_representations()
    judge = LightFM(users.shape[1], loss=model.loss).fit_partial(sp.coo_matrix(train.shape), epochs=0)
    judge.user_embeddings, judge.item_embeddings, judge.item_biases = users, embeddings, biases
    found = evaluate(judge, test, train, "ndcg", k, num_threads=threads, per_user=True, check_intersections=False)
    assert found.per_user is not None
    return found.per_user[f"ndcg@{k}"]


def cells(result: dict[str, Any]) -> list[str]:
    """Return the share, the interactions an item, the seconds of both steps, NDCG and what is lost."""
    seconds, lost = result["seconds"], result["lost"]
    parts = f"{seconds['to train']:.1f}"
    if result["share"] < 1:
        parts += f" + {seconds['to fold in']:.1f}"
    whose = "all" if result["share"] == 1 else f"{100 * result['share']:.0f} %, others folded in"
    change = "" if result["share"] == 1 else f"{lost['mean']:.4f} ± {lost['standard error']:.4f}"
    return [whose, f"{result['interactions an item']:,.0f}", parts, f"{result['ndcg']:.4f}", change]


if __name__ == "__main__":
    main()
