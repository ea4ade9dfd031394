"""The best items for every user against implicit on the same factors; then one user a request, with features too."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks import harness
from benchmarks.harness import Factors


def main(arguments: list[str] | None = None) -> None:
    options = _parse(arguments)
    machine = harness.machine(["implicit"])
    problem = harness.load(options)
    harness.print_machine(machine)
    print(f"data: {problem.describe()}; BPR, {options.no_components} components, {options.epochs} epochs")
    from lightfm_fast import LightFM

    model = LightFM(options.no_components, loss="bpr", random_state=0)
    model.fit(problem.train, epochs=options.epochs, num_threads=max(options.threads))
    seen = problem.train.tocsr()
    results = []
    if harness.import_peer("implicit") is not None:
        for threads in options.threads:
            for n in options.n:
                results.append(_compare(model, seen, n, threads, options.rounds))
    _report_comparison(results)
    served = []
    for catalogue in [model, enlarged(model, options.catalogue)] if options.catalogue else [model]:
        served += _serve(catalogue, seen, options)
    _report_serving(served)
    featured = _serve_with_features(options) if options.featured else []
    _report_featured(featured)
    harness.save(options.json, machine, options, [*results, *served, *featured])


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = harness.argument_parser(__doc__, seeds=False)
    harness.add_data_options(parser)
    parser.add_argument("--no-components", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--n", type=harness.positive_integers, default=[10, 100], help="items a user gets, as 10,100")
    parser.add_argument("--rounds", type=int, default=3, help="of all users, each side once")
    parser.add_argument("--requests", type=int, default=500, help="of one user each")
    parser.add_argument("--catalogue", type=int, default=1_000_000, help="items of the larger catalogue; 0 for none")
    parser.add_argument(
        "--featured", type=int, default=200_000, help="items, or half as many users, with features; 0: no"
    )
    return parser.parse_args(arguments)


def _peer(factors: Factors, threads: int) -> Any:
    """Return implicit's ``recommend`` over the given factors."""
    from implicit.cpu.matrix_factorization_base import MatrixFactorizationBase

    class GivenFactors(MatrixFactorizationBase):
        def fit(self, *_: Any, **__: Any) -> None: ...
        def save(self, *_: Any) -> None: ...
        @classmethod
        def load(cls, *_: Any) -> None: ...

    peer = GivenFactors(threads)
    peer.user_factors, peer.item_factors = (
        np.ascontiguousarray(array, dtype=np.float32) for array in (factors.user, factors.item)
    )
    return peer


@contextlib.contextmanager
def _one_blas_thread() -> Any:
    """Limit BLAS to one thread, as implicit recommends, since it starts its own threads."""
    import threadpoolctl

    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        yield


def _compare(model: Any, seen: sp.csr_matrix, n: int, threads: int, rounds: int) -> dict[str, Any]:
    peer = _peer(Factors.of_lightfm(model), threads)
    users = np.arange(seen.shape[0])
    answers = {}

    def ours() -> None:
        answers["ours"] = model.recommend(users, n, seen, num_threads=threads)

    def theirs() -> None:
        answers["implicit"] = peer.recommend(users, seen, N=n)

    with _one_blas_thread():
        seconds = harness.alternate({"ours": ours, "implicit": theirs}, rounds)
    (ids, scores), (peer_ids, peer_scores) = answers["ours"], answers["implicit"]
    found = np.isfinite(scores)
    difference = np.abs(scores - model.user_biases[:, None] - peer_scores)[found].max()
    return {
        "threads": threads,
        "n": n,
        "seconds": seconds,
        "time over ours": harness.paired_ratio(seconds["ours"], seconds["implicit"]),
        "same id in the same place": float((ids == peer_ids)[found].mean()),
        "largest difference of scores in the same place": float(difference),
    }


def enlarged(model: Any, n_items: int) -> Any:
    """Return a model of ``n_items`` items, each a trained item with added noise of 0.3 standard deviations."""
    from lightfm_fast import LightFM

    rng = np.random.default_rng(0)
    rows = rng.integers(len(model.item_biases), size=n_items)
    larger = LightFM(model.no_components)
    larger.fit_partial(sp.coo_matrix((len(model.user_biases), n_items), dtype=np.float32), epochs=0)
    larger.user_embeddings, larger.user_biases = model.user_embeddings, model.user_biases
    for name in ("item_embeddings", "item_biases"):
        trained = getattr(model, name)
        noise = rng.standard_normal((n_items, *trained.shape[1:]), dtype=np.float32)
        setattr(larger, name, trained[rows] + 0.3 * trained.std(axis=0) * noise)
    return larger


def _serve(model: Any, seen: sp.csr_matrix, options: argparse.Namespace) -> list[dict[str, Any]]:
    n, n_items = options.n[0], len(model.item_biases)
    users = np.random.default_rng(1).integers(seen.shape[0], size=options.requests)
    served = []

    def measure(name: str, recommend: Callable[[int], object], **facts: Any) -> None:
        seconds = []
        recommend(0)
        for user in users.tolist():
            started = time.perf_counter()
            recommend(user)
            seconds.append(time.perf_counter() - started)
        p50, p99 = (float(value * 1e3) for value in np.quantile(seconds, [0.5, 0.99]))
        served.append({"served by": name, "items": n_items, "n": n, "p50 ms": p50, "p99 ms": p99, **facts})

    for threads in options.threads:
        measure(
            f"exact, {threads} thread(s)",
            lambda user, threads=threads: model.recommend(user, n, seen, num_threads=threads),
        )
    if harness.import_peer("implicit") is not None:
        peer = _peer(Factors.of_lightfm(model), 1)
        narrow = sp.csr_matrix((seen.data, seen.indices, seen.indptr), shape=(seen.shape[0], n_items))
        with _one_blas_thread():
            measure("implicit, 1 thread", lambda user: peer.recommend(user, narrow[user], N=n))
        del peer
    return served


def _serve_with_features(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Time requests of one user; the items or the users have 20 features a row, in canonical float32 CSR."""
    from lightfm_fast import LightFM

    rng = np.random.default_rng(2)
    results = []
    for side, n_rows in (("item", options.featured), ("user", max(options.featured // 2, 1))):
        shape = (1_000, n_rows) if side == "item" else (n_rows, 2_000)
        features = _features(rng, n_rows)
        given = {f"{side}_features": features}
        cells = tuple(rng.integers(length, size=100_000) for length in shape)
        model = LightFM(options.no_components, random_state=0)
        model.fit(sp.coo_matrix((np.ones(100_000, dtype=np.float32), cells), shape=shape), epochs=1, **given)
        few, every = rng.integers(shape[1], size=min(1_000, shape[1])), np.arange(shape[1])
        for verb, request in (
            (f"predict, {len(few):,} items", partial(model.predict, 0, few, **given)),
            (f"predict, {len(every):,} items", partial(model.predict, 0, every, **given)),
            ("recommend", partial(model.recommend, 0, options.n[0], **given)),
        ):
            seconds = harness.alternate({"ours": request}, min(options.requests, 41))["ours"]
            facts = {"request": verb, "features of": f"{n_rows:,} {side}s"}
            results.append({**facts, "p50 ms": float(np.median(seconds) * 1e3)})
    return results


def _features(rng: np.random.Generator, n_rows: int, n_each: int = 20, n_columns: int = 50_000) -> sp.csr_matrix:
    """Draw a column from each of ``n_each`` equal parts of the columns for every row: sorted, without duplicates."""
    part = n_columns // n_each
    columns = rng.integers(part, size=(n_rows, n_each)) + part * np.arange(n_each)
    ends = np.arange(0, columns.size + 1, n_each)
    values = np.ones(columns.size, dtype=np.float32)
    return sp.csr_matrix((values, columns.ravel().astype(np.int32), ends.astype(np.int32)), shape=(n_rows, n_columns))


def _report_featured(results: list[dict[str, Any]]) -> None:
    if results:
        print("\none user a request, 20 features a row, 1 thread")
        rows = [[result["features of"], result["request"], f"{result['p50 ms']:.2f}"] for result in results]
        harness.print_table(["features of", "", "p50, ms"], rows)


def _report_comparison(results: list[dict[str, Any]]) -> None:
    rows = [
        [
            str(result["n"]),
            str(result["threads"]),
            *(f"{min(result['seconds'][side]):.2f}" for side in ("ours", "implicit")),
            harness.ratio_text(result["time over ours"]),
            f"{result['same id in the same place']:.6f}",
            f"{result['largest difference of scores in the same place']:.1e}",
        ]
        for result in results
    ]
    if rows:
        print("\nevery user, seen items left out")
        harness.print_table(
            ["n", "threads", "ours, s", "implicit, s", "implicit / ours", "same id in place", "scores differ by"], rows
        )


def _report_serving(served: list[dict[str, Any]]) -> None:
    rows = [
        [
            f"{result['items']:,}",
            result["served by"],
            f"{result['p50 ms']:.3f}",
            f"{result['p99 ms']:.3f}",
        ]
        for result in served
    ]
    print("\none user a request, seen items left out")
    harness.print_table(["items", "", "p50, ms", "p99, ms"], rows)


if __name__ == "__main__":
    main()
