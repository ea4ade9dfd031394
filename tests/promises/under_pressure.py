"""Runs all compiled functions with little memory, or until a signal comes, in a process that tests watch.

python under_pressure.py memory 20    tries each run under 20 limits of address space
python under_pressure.py signals      ends runs that would take minutes by a signal each
"""

import gc
import resource
import signal
import sys

import numpy as np
import scipy.sparse as sp

from lightfm_fast import FMRegressor, LightFM

THREADS = 2
ONE_USER = sp.csr_matrix(np.ones((1, 20_000), np.float32))  # who likes everything
RNG = np.random.default_rng(0)


def fit(interactions, epochs=1, **settings):
    return LightFM(random_state=0, **settings).fit(interactions, epochs=epochs, num_threads=THREADS)


# ------------------------------------------------------------------ memory


def runs_in_memory():
    """Return functions to run under limits, and the MiB between limits."""
    known = sp.random(100, 3_000, 0.002, format="csr", random_state=0)
    model = fit(known, no_components=64, loss="bpr")
    rows = sp.random(1_000, 200, 0.05, format="csr", random_state=0)
    target = RNG.standard_normal(1_000)
    machine = {"no_components": 64, "epochs": 1, "learning_rate": 1e-4, "random_state": 0, "num_threads": THREADS}
    bpr = {"loss": "bpr", "negatives": "hardest"}
    return {
        "bpr, hardest": (lambda: fit(known, no_components=64, n_negatives=8_000, **bpr), 1.0),
        "softmax": (lambda: fit(known, no_components=64, loss="softmax", n_negatives=8_000), 1.0),
        "warp-kos": (lambda: fit(known, no_components=64, loss="warp-kos", n=8_000, k=3_000), 1.0),
        "machine": (lambda: FMRegressor(**machine).fit(rows, target), 0.1),
        "fields": (lambda: FMRegressor(**machine, fields=np.arange(200)).fit(rows, target), 0.25),
        "recommend": (lambda: model.recommend(np.arange(100), n=2_000, num_threads=THREADS), 0.5),
        "recommend to one": (lambda: model.recommend([0], n=3_000, num_threads=THREADS), 0.02),
        "ranks": (lambda: model.predict_rank(known, num_threads=THREADS), 0.25),
    }


def address_space():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def try_under_limits(n_limits):
    for name, (run, step) in runs_in_memory().items():
        run()  # threads, and memory that libraries keep, exist from here on
        outcomes = {"done": 0, "MemoryError": 0}
        for extra in range(n_limits):
            gc.collect()
            resource.setrlimit(
                resource.RLIMIT_AS, (address_space() + int(extra * step * 2**20), resource.RLIM_INFINITY)
            )
            try:
                run()
                outcomes["done"] += 1
            except MemoryError:
                outcomes["MemoryError"] += 1
            finally:
                resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        print(name, outcomes, flush=True)


# ------------------------------------------------------------------ signals


class Interrupted(Exception):
    pass


def interrupt(*_):
    raise Interrupted


def runs_of_minutes():
    """Return functions whose threads would work for minutes before they return to Python."""
    wide = sp.csr_matrix(np.ones((1, 50_000), np.float32))
    features = {"user_features": wide, "epochs": 1, "num_threads": THREADS}
    likes_all = ONE_USER[:, :5_000]
    scores = LightFM(1024, random_state=0).fit(likes_all, epochs=0)
    same_user = np.zeros(1_000_000, np.int64)
    fields = np.arange(2_000)
    machine = FMRegressor(64, fields=fields, learning_rate=1e-9, epochs=1, random_state=0, num_threads=THREADS)
    dense, target = np.ones((2_000, 2_000), np.float32), RNG.standard_normal(2_000)
    return {
        "logistic": lambda: LightFM(128).fit(ONE_USER, **features),
        "bpr": lambda: LightFM(128, loss="bpr").fit(sp.hstack([ONE_USER, ONE_USER * 0]).tocsr(), **features),
        "bpr, hardest": lambda: fit(ONE_USER, no_components=1024, loss="bpr", negatives="hardest", n_negatives=1 << 16),
        "warp": lambda: fit(ONE_USER, no_components=1024, loss="warp", max_sampled=1 << 20),
        "warp-kos": lambda: fit(ONE_USER, no_components=1024, loss="warp-kos", n=1 << 16, k=1 << 16),
        "softmax": lambda: fit(ONE_USER, no_components=1024, loss="softmax", n_negatives=1 << 16),
        "machine": lambda: machine.fit(dense, target),
        "recommend": lambda: scores.recommend(same_user, num_threads=THREADS),
    }


def end_by_signals():
    signal.signal(signal.SIGALRM, interrupt)
    for name, run in runs_of_minutes().items():
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        try:
            run()
        except Interrupted:
            print(name, "ended", flush=True)
        else:
            raise AssertionError(f"{name} was done before the signal")


if __name__ == "__main__":
    try_under_limits(int(sys.argv[2])) if sys.argv[1] == "memory" else end_by_signals()
