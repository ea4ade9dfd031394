"""How near an epoch is to the limits of the processor, for the logistic loss and BPR without features, on one thread.

Three small loops, compiled here for the build's level, do a part of an epoch's work, on as many samples and in rows of
the same size:

- memory: read and write the rows of each sample, a user's and one or two items'. The samples are sorted by user, and
  rows are prefetched. Caches allow no more if arithmetic costs nothing.
- arithmetic: score each sample and step its rows by AdaGrad, with a few rows that stay in the first cache. The units
  allow no more if memory costs nothing.
- both: score and step each sample in the rows of "memory". Loading and storing share units with each other and with
  arithmetic, so this loop takes longer than either part alone.

An epoch is compared with the longer of the first two, and with the third. An epoch also draws negatives, orders samples
and computes probabilities.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks import harness
from lightfm_fast import LightFM
from lightfm_fast.datasets import make_interactions

ROUNDS, EPOCHS = 7, 3
SIZES = 6_000, 3_700, 1_000_000
N_COMPONENTS = 64
PARTS = ("epoch", "memory", "arithmetic", "both")
# The row of a table of 64 components: embeddings and their accumulators. Biases are few beside them.
ROW = 128
FLAGS = {"x86_64_v3": "x86-64-v3", "x86_64_v4": "x86-64-v4"}
SOURCE = r"""
#include <immintrin.h>
#define D 64
#define ROW 128

#define INLINE static inline __attribute__((always_inline))

INLINE void prefetch(float *users, float *items, const int *u, const int *i, const int *j, long s) {
    for (int k = 0; k < ROW; k += 16) {
        __builtin_prefetch(users + (long)u[s] * ROW + k, 1);
        __builtin_prefetch(items + (long)i[s] * ROW + k, 1);
        if (j) __builtin_prefetch(items + (long)j[s] * ROW + k, 1);
    }
}

void memory(float *users, float *items, const int *u, const int *i, const int *j, long n) {
    for (long s = 0; s < n; ++s) {
        if (s + 12 < n) prefetch(users, items, u, i, j, s + 12);
        float *a = users + (long)u[s] * ROW, *b = items + (long)i[s] * ROW;
        for (int k = 0; k < ROW; ++k) a[k] += 1.0f;
        for (int k = 0; k < ROW; ++k) b[k] += 1.0f;
        if (j) {
            float *c = items + (long)j[s] * ROW;
            for (int k = 0; k < ROW; ++k) c[k] += 1.0f;
        }
    }
}

#if defined(__AVX512F__)
typedef __m512 Vector;
#define WIDTH 16
#define V(name) _mm512_##name##_ps
#define RSQRT _mm512_rsqrt14_ps
INLINE float sum(Vector v) { return _mm512_reduce_add_ps(v); }
#elif defined(__AVX2__)
typedef __m256 Vector;
#define WIDTH 8
#define V(name) _mm256_##name##_ps
#define RSQRT _mm256_rsqrt_ps
INLINE float sum(Vector v) {
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}
#endif

INLINE void step(float *row, Vector slope, Vector by, int k) {
    Vector g = V(mul)(by, slope);
    Vector squares = V(fmadd)(g, g, V(loadu)(row + D + k));
    V(storeu)(row + D + k, squares);
    V(storeu)(row + k, V(fnmadd)(V(mul)(V(set1)(0.05f), g), RSQRT(squares), V(loadu)(row + k)));
}

INLINE void train(float *a, float *b, float *c, int is_pair) {
    Vector total = V(setzero)();
    for (int k = 0; k < D; k += WIDTH) {
        Vector item = V(loadu)(b + k);
        if (is_pair) item = V(sub)(item, V(loadu)(c + k));
        total = V(fmadd)(V(loadu)(a + k), item, total);
    }
    float score = sum(total);
    Vector by = V(set1)(1e-3f / (1.0f + score * score)), minus = V(sub)(V(setzero)(), by);
    for (int k = 0; k < D; k += WIDTH) {
        Vector user = V(loadu)(a + k), item = V(loadu)(b + k);
        if (is_pair) item = V(sub)(item, V(loadu)(c + k));
        step(a, item, by, k);
        step(b, user, by, k);
        if (is_pair) step(c, user, minus, k);
    }
}

void arithmetic(float *rows, long n, int is_pair) {
    for (long s = 0; s < n; ++s)
        train(rows + (s & 3) * ROW, rows + (4 + (s & 3)) * ROW, rows + (8 + (s & 3)) * ROW, is_pair);
}

void both(float *users, float *items, const int *u, const int *i, const int *j, long n) {
    for (long s = 0; s < n; ++s) {
        if (s + 12 < n) prefetch(users, items, u, i, j, s + 12);
        train(users + (long)u[s] * ROW, items + (long)i[s] * ROW, items + (long)(j ? j[s] : 0) * ROW, j != 0);
    }
}
"""


def compiled(level: str, folder: Path) -> ctypes.CDLL:
    """Compile the loops for a level with CC, or cc."""
    source, library = folder / "limits.c", folder / "limits.so"
    source.write_text(SOURCE)
    flags = [f"-march={FLAGS[level]}", "-O3", "-mprefer-vector-width=512", "-shared", "-fPIC"]
    subprocess.run([os.environ.get("CC", "cc"), *flags, str(source), "-o", str(library)], check=True)
    return ctypes.CDLL(str(library))


def measure(loss: str, level: str, loops: ctypes.CDLL) -> dict[str, Any]:
    """Return the medians of nanoseconds a sample: of an epoch on one thread, and of the loops."""
    interactions = make_interactions(*SIZES, test_fraction=0.1)["train"]
    if loss == "logistic":
        interactions = harness.with_negatives(interactions)
    n_users, n_items = interactions.shape
    model = LightFM(N_COMPONENTS, loss=loss, random_state=0)
    model.fit_partial(interactions, epochs=1, num_threads=1)
    rng = np.random.default_rng(0)
    by_user = np.argsort(interactions.row, kind="stable")
    users, items = (rows[by_user].astype(np.int32) for rows in (interactions.row, interactions.col))
    others = rng.integers(0, n_items, interactions.nnz, dtype=np.int32)
    moved, trained = ([np.ones((n_rows, ROW), np.float32) for n_rows in (n_users, n_items)] for _ in range(2))
    rows = rng.normal(size=(12, ROW)).astype(np.float32) ** 2
    is_pair = loss == "bpr"

    def address(array: np.ndarray) -> ctypes.c_void_p:
        return ctypes.c_void_p(array.ctypes.data)

    n = ctypes.c_long(interactions.nnz)
    entries = [address(array) for array in (users, items)] + [address(others) if is_pair else None]
    sides = {
        "epoch": lambda: model.fit_partial(interactions, epochs=EPOCHS, num_threads=1),
        "memory": lambda: [loops.memory(*map(address, moved), *entries, n) for _ in range(EPOCHS)],
        "arithmetic": lambda: [loops.arithmetic(address(rows), n, int(is_pair)) for _ in range(EPOCHS)],
        "both": lambda: [loops.both(*map(address, trained), *entries, n) for _ in range(EPOCHS)],
    }
    seconds = harness.alternate(sides, ROUNDS)
    found = {name: median(times) / EPOCHS / interactions.nnz * 1e9 for name, times in seconds.items()}
    limits = [max(pair) for pair in zip(seconds["memory"], seconds["arithmetic"], strict=True)]
    return {
        "loss": loss,
        "level": level,
        "nanoseconds a sample": found,
        "epoch over limit": harness.paired_ratio(limits, seconds["epoch"]),
        "epoch over both": harness.paired_ratio(seconds["both"], seconds["epoch"]),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="save the results here, as benchmarks/results/NAME.json")
    options = parser.parse_args(arguments)
    facts = harness.machine()
    harness.print_machine(facts)
    level = facts["build"]["level"]
    if level not in FLAGS:
        raise SystemExit(f"limits are known of {', '.join(FLAGS)}, not of {level}")
    with TemporaryDirectory() as folder:
        loops = compiled(level, Path(folder))
        results = [measure(loss, level, loops) for loss in ("logistic", "bpr")]
    rows = []
    for result in results:
        times = result["nanoseconds a sample"]
        ratios = (harness.ratio_text(result[f"epoch over {name}"]) for name in ("limit", "both"))
        rows.append([result["loss"], *(f"{times[name]:.1f}" for name in PARTS), *ratios])
    header = ["loss", *(f"{name}, ns" for name in PARTS), "epoch over the longer alone", "epoch over both"]
    harness.print_table(header, rows)
    harness.save(options.json, facts, options, results)


if __name__ == "__main__":
    main()
