"""Processes forked after threads have run: the child also trains, scores and recommends, with two threads."""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from typing import Any

import numpy as np
import scipy.sparse as sp

from lightfm_fast import FMClassifier, LightFM
from lightfm_fast.data import Dataset

from ..inputs import chance, draw, fitted, interactions, parameters
from ..oracle import Oracle

SHAPE = (200, 100)
SECONDS = 15


def run(rng: np.random.RandomState, oracle: Oracle) -> None:
    known = interactions(rng, SHAPE, sp.coo_matrix, signed=False)
    model = LightFM(**parameters(rng)).fit(known, num_threads=2)
    X, y = sp.random(300, 20, 0.2, format="csr", random_state=rng), np.arange(300) % 2
    machine = FMClassifier(epochs=1, num_threads=2).fit(X, y)
    table = {"user_id": [str(number) for number in rng.randint(500, size=5000)], "item_id": np.arange(5000) % 70}
    actions = {
        "fit": lambda: model.fit(known, num_threads=2),
        "fit_partial": lambda: model.fit_partial(known, num_threads=2),
        "fit another": lambda: fitted(rng, SHAPE).fit(known, num_threads=2),
        "predict": lambda: model.predict(np.arange(100), np.arange(100), num_threads=2),
        "predict_rank": lambda: model.predict_rank(known, num_threads=2),
        "recommend": lambda: model.recommend(np.arange(100), 5, num_threads=2),
        "fold_in_users": lambda: model.fold_in_users(known, num_threads=2),
        "fit a machine": lambda: machine.fit(X, y),
        "predict by a machine": lambda: machine.predict(X),
        "from_tables": lambda: Dataset.from_tables(table),
    }
    names = [draw(rng, tuple(actions)) for _ in range(2)]
    depth = int(draw(rng, (1, 1, 2)))
    beside = chance(rng, 0.25)
    oracle.say(f"fork of depth {depth}, {'beside a fit, ' if beside else ''}then {names}")
    actions[draw(rng, tuple(actions))]()
    trainer = threading.Thread(target=train, args=(model, known), daemon=True)
    if beside:
        trainer.start()
    in_child(oracle, depth, [actions[name] for name in names], beside)
    if beside:
        trainer.join()
    oracle.require(oracle.call(model.predict, [0], [0], num_threads=2))


def train(model: Any, known: Any) -> None:
    model.fit_partial(known, epochs=20)


def in_child(oracle: Oracle, depth: int, actions: list[Any], beside: bool) -> None:
    """Run the actions in a child, which reports their exceptions."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            inner = Oracle()
            if depth > 1:
                in_child(inner, depth - 1, actions, beside)
            else:
                for action in actions:
                    # The lock of a thread that the fork left behind may refuse training.
                    result = inner.call(action)
                    if not beside:
                        inner.require(result)
            report = "\n".join(inner.failures)
        except BaseException:
            report = "\n".join(inner.failures) or traceback.format_exc()
        os.write(writing, report.encode()[:60_000])
        os._exit(0)
    os.close(writing)
    status = wait(child)
    with os.fdopen(reading, "rb") as pipe:
        report = pipe.read().decode() if status is not None else ""
    if status is None:
        oracle.fail("hang", f"of a forked child, over {SECONDS} s")
    elif os.WIFSIGNALED(status):
        oracle.fail("crash", f"of a forked child: {signal.Signals(os.WTERMSIG(status)).name}")
    elif report:
        oracle.fail("in a forked child", report)


def wait(child: int) -> int | None:
    """Return the child's status. If it takes too long, kill it and return None."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None
