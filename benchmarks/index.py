"""The index against libraries for approximate search at equal recall: building, a request, size and loading.

The libraries get the items' vectors (embedding, bias) extended to the same length, the longest first. Every engine runs
in its own process with one thread, and its effort doubles until its recall reaches ``--recall``. Times are CPU time, so
that other processes do not count.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import harness

Floats = NDArray[np.float32]


class Groups:
    """The index of this library; effort is the number of items compared."""

    efforts = (625, 1250, 2500, 5000, 10_000, 20_000, 40_000)

    def __init__(self, vectors: Floats, *_: int) -> None:
        import scipy.sparse as sp

        from lightfm_fast import LightFM

        self._model = LightFM(vectors.shape[1] - 2)
        self._model.fit_partial(sp.coo_matrix((1, len(vectors)), dtype=np.float32), epochs=0)
        self._model.item_embeddings, self._model.item_biases = vectors[:, :-2], vectors[:, -2]

    def build(self, vectors: Floats) -> None:
        self._index = self._model.index()

    def search(self, query: Floats, n: int, effort: int) -> Any:
        self._index.n_compared = effort
        user = query[None, :-2], np.zeros(1, dtype=np.float32), np.zeros(1, dtype=np.int64)
        return self._index.search(user, n).ids[0]

    def save(self, path: str) -> None:
        self._index.save(path)

    def load(self, path: str) -> None:
        self._index = self._model.load_index(path, verify="structure")


class Usearch:
    """HNSW that refers to the vectors instead of copying them."""

    efforts = (64, 128, 256, 512, 1024, 2048)

    def __init__(self, vectors: Floats, connectivity: int, expansion: int, dtype: str = "f32") -> None:
        from usearch.index import Index

        self._settings = {"ndim": vectors.shape[1], "metric": "ip", "dtype": dtype}
        self._index = Index(**self._settings, connectivity=connectivity, expansion_add=expansion)

    def build(self, vectors: Floats) -> None:
        self._index.add(np.arange(len(vectors)), vectors, threads=1, copy=self._settings["dtype"] != "f32")

    def search(self, query: Floats, n: int, effort: int) -> Any:
        self._index.expansion_search = effort
        return self._index.search(query, n, threads=1).keys

    def save(self, path: str) -> None:
        self._index.save(path)

    def load(self, path: str) -> None:
        from usearch.index import Index

        self._index = Index(**self._settings)
        self._index.view(path)


class Hnswlib:
    efforts = Usearch.efforts

    def __init__(self, vectors: Floats, connectivity: int, expansion: int) -> None:
        self._width = vectors.shape[1]
        self._index = self._new()
        self._index.init_index(len(vectors), ef_construction=expansion, M=connectivity // 2)
        self._index.set_num_threads(1)

    def build(self, vectors: Floats) -> None:
        self._index.add_items(vectors)

    def _new(self) -> Any:
        import hnswlib

        return hnswlib.Index("ip", self._width)

    def search(self, query: Floats, n: int, effort: int) -> Any:
        self._index.set_ef(effort)
        return self._index.knn_query(query, n, num_threads=1)[0][0]

    def save(self, path: str) -> None:
        self._index.save_index(path)

    def load(self, path: str) -> None:
        self._index = self._new()
        self._index.load_index(path)
        self._index.set_num_threads(1)


class Voyager:
    efforts = Usearch.efforts

    def __init__(self, vectors: Floats, connectivity: int, expansion: int) -> None:
        import voyager

        self._index = voyager.Index(
            voyager.Space.Cosine, vectors.shape[1], connectivity // 2, expansion, max_elements=len(vectors)
        )

    def build(self, vectors: Floats) -> None:
        self._index.add_items(vectors, num_threads=1)

    def search(self, query: Floats, n: int, effort: int) -> Any:
        return self._index.query(query, n, num_threads=1, query_ef=effort)[0]

    def save(self, path: str) -> None:
        self._index.save(path)

    def load(self, path: str) -> None:
        import voyager

        self._index = voyager.Index.load(path)


class Faiss:
    _index: Any

    def build(self, vectors: Floats) -> None:
        self._index.train(vectors)  # no work for HNSW
        self._index.add(vectors)

    def save(self, path: str) -> None:
        import faiss

        faiss.write_index(self._index, path)

    def load(self, path: str) -> None:
        import faiss

        self._index = faiss.read_index(path, faiss.IO_FLAG_MMAP_IFC)


class FaissHnsw(Faiss):
    efforts = Usearch.efforts

    def __init__(self, vectors: Floats, connectivity: int, expansion: int) -> None:
        import faiss

        faiss.omp_set_num_threads(1)
        self._index = faiss.IndexHNSWFlat(vectors.shape[1], connectivity // 2, faiss.METRIC_INNER_PRODUCT)
        self._index.hnsw.efConstruction = expansion

    def search(self, query: Floats, n: int, effort: int) -> Any:
        self._index.hnsw.efSearch = effort
        return self._index.search(query[None], n)[1][0]


class FaissLists(Faiss):
    """Lists of the vectors nearest to each of ``4 sqrt(n)`` centres; effort is the number of lists searched."""

    efforts = (8, 16, 32, 64, 128, 256, 512)

    def __init__(self, vectors: Floats, *_: int) -> None:
        import faiss

        faiss.omp_set_num_threads(1)
        n_lists = int(4 * np.sqrt(len(vectors)))
        self._centres = faiss.IndexFlatIP(vectors.shape[1])
        self._index = faiss.IndexIVFFlat(self._centres, vectors.shape[1], n_lists, faiss.METRIC_INNER_PRODUCT)
        self._index.cp.max_points_per_centroid = 64

    def search(self, query: Floats, n: int, effort: int) -> Any:
        self._index.nprobe = effort
        return self._index.search(query[None], n)[1][0]


ENGINES: dict[str, Callable[..., Any]] = {
    "lightfm_fast": Groups,
    "usearch HNSW": Usearch,
    "usearch HNSW, f16": lambda *arguments: Usearch(*arguments, dtype="f16"),
    "hnswlib HNSW": Hnswlib,
    "voyager HNSW": Voyager,
    "faiss HNSW": FaissHnsw,
    "faiss IVF": FaissLists,
}


def main(arguments: list[str] | None = None) -> None:
    options = _parse(arguments)
    if options.engine is not None:
        _measure(options)
        return
    machine = harness.machine(["usearch", "hnswlib", "voyager", "faiss-cpu"])
    harness.print_machine(machine)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for n_items in options.catalogues:
            _write_vectors(options, n_items, folder)
            for name in options.engines:
                for connectivity, expansion in options.graphs if "HNSW" in name else [(0, 0)]:
                    row = _in_a_process(options, folder, name, connectivity, expansion)
                    results.append({"items": n_items, **row})
                    print(json.dumps(results[-1]), flush=True)
    _report(results, options.recall)
    harness.save(options.json, machine, options, results)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = harness.argument_parser(__doc__, seeds=False)
    harness.add_data_options(parser)
    parser.add_argument("--catalogues", type=harness.positive_integers, default=[100_000], help="numbers of items")
    parser.add_argument("--engines", type=harness.choices_of(ENGINES), default=list(ENGINES))
    parser.add_argument("--graphs", type=_graphs, default=[(32, 256)], help="edges:expansion, as 32:256,16:128")
    parser.add_argument("--no-components", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--n", type=int, default=10)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--recall", type=float, default=0.95)
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _graphs(text: str) -> list[tuple[int, int]]:
    return [(int(edges), int(expansion)) for edges, _, expansion in (part.partition(":") for part in text.split(","))]


def _write_vectors(options: argparse.Namespace, n_items: int, folder: str) -> None:
    """Write items' and users' vectors of a trained model, enlarged to ``n_items`` items, and the exact lists."""
    from benchmarks.recommend import enlarged
    from lightfm_fast import LightFM

    problem = harness.load(options)
    model = LightFM(options.no_components, loss="bpr", random_state=0)
    model.fit(problem.train, epochs=options.epochs, num_threads=max(options.threads))
    if n_items > len(model.item_biases):
        model = enlarged(model, n_items)
    vectors = np.column_stack([model.item_embeddings, model.item_biases])
    squares = np.einsum("ij,ij->i", vectors, vectors)
    order = np.argsort(-squares, kind="stable")
    vectors = np.column_stack([vectors, np.sqrt(squares.max() - squares)])[order].astype(np.float32)
    users = np.random.default_rng(1).integers(len(model.user_biases), size=options.requests)
    queries = np.column_stack([model.user_embeddings[users], np.ones(len(users)), np.zeros(len(users))])
    queries = queries.astype(np.float32)
    exact = [np.argpartition(-(vectors @ query), options.n)[: options.n] for query in queries]
    for name, array in (("vectors", vectors), ("queries", queries), ("exact", np.array(exact))):
        np.save(Path(folder, f"{name}.npy"), array)


def _in_a_process(
    options: argparse.Namespace, folder: str, engine: str, connectivity: int, expansion: int
) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.index", "--engine", engine, "--folder", folder]
    command += ["--graphs", f"{connectivity}:{expansion}", "--n", str(options.n), "--recall", str(options.recall)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _measure(options: argparse.Namespace) -> None:
    """Build one engine's index, search, save and load it; print what was measured as JSON."""
    vectors, queries, exact = (np.load(Path(options.folder, f"{name}.npy")) for name in ("vectors", "queries", "exact"))
    connectivity, expansion = options.graphs[0]
    engine = ENGINES[options.engine](vectors, connectivity, expansion)
    before, started = _resident(), time.process_time()
    engine.build(vectors)
    row: dict[str, Any] = {
        "engine": options.engine,
        "connectivity": connectivity,
        "expansion": expansion,
        "build seconds": time.process_time() - started,
        "bytes beyond the vectors": _resident() - before,
        "bytes of vectors": vectors.nbytes,
    }
    row["searches"] = []
    for effort in engine.efforts:
        row["searches"].append({"effort": effort, **_search(engine, queries, exact, options.n, effort)})
        if row["searches"][-1]["recall"] >= options.recall:
            break
    path = str(Path(options.folder, "index"))
    engine.save(path)
    row["bytes of file"] = os.path.getsize(path)
    before, started = _resident(), time.process_time()
    engine.load(path)
    row["load seconds"] = time.process_time() - started
    found = _search(engine, queries, exact, options.n, row["searches"][-1]["effort"])
    row["recall when loaded"] = found["recall"]
    print(json.dumps(row))


def _search(engine: Any, queries: Floats, exact: NDArray[np.int64], n: int, effort: int) -> dict[str, float]:
    hits, seconds = 0, []
    engine.search(queries[0], n, effort)
    for query, best in zip(queries, exact, strict=True):
        started = time.thread_time_ns()
        keys = engine.search(query, n, effort)
        seconds.append((time.thread_time_ns() - started) / 1e6)
        hits += len(np.intersect1d(best, keys))
    p50, p99 = (float(value) for value in np.quantile(seconds, [0.5, 0.99]))
    return {"recall": hits / exact.size, "p50 ms": p50, "p99 ms": p99}


def _resident() -> int:
    """Return the bytes of this process in memory; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _report(results: list[dict[str, Any]], recall: float) -> None:
    rows = [
        [
            f"{row['items']:,}",
            row["engine"],
            f"{row['connectivity']}, {row['expansion']}" if row["connectivity"] else "",
            f"{row['build seconds']:.1f}",
            f"{row['bytes beyond the vectors'] / 2**20:.0f}",
            f"{row['bytes of file'] / 2**20:.0f}",
            f"{row['load seconds'] * 1e3:.0f}",
            *(f"{row['searches'][-1][name]:.{digits}f}" for name, digits in SHOWN),
        ]
        for row in results
    ]
    print(f"\nthe first effort whose recall is at least {recall}, or the largest")
    harness.print_table(HEADER, rows)


SHOWN = (("effort", 0), ("recall", 3), ("p50 ms", 3), ("p99 ms", 3))
HEADER = ("items", "", "edges, expansion", "built in, s", "memory, MiB", "file, MiB", "loaded in, ms")
HEADER += ("effort", "recall", "p50, ms", "p99, ms")


if __name__ == "__main__":
    main()
