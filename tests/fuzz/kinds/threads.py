"""Several threads at once on one model: one trains, a second that trains is refused, others may predict."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp

from lightfm_fast import FMClassifier, LightFM

from ..inputs import draw, interactions, parameters
from ..oracle import STATE, Oracle, Refused

LARGE, SMALL = (300, 200), (7, 5)


def run(rng: np.random.RandomState, oracle: Oracle) -> None:
    draw(rng, (two_fits, beside_fit, beside_fit, input_written, machines, apart))(rng, oracle)


def together(*functions: Callable[[], Any]) -> list[Any]:
    """Start all threads at once; return their results, and raise the scenario's errors again."""
    barrier = threading.Barrier(len(functions))
    results: list[Any] = [None] * len(functions)

    def work(number: int) -> None:
        barrier.wait()
        try:
            results[number] = functions[number]()
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


def large(rng: np.random.RandomState) -> Any:
    return interactions(rng, LARGE, draw(rng, (sp.coo_matrix, sp.csr_matrix)), signed=False)


def train(oracle: Oracle, model: Any, *args: Any, **kwargs: Any) -> Any:
    """Train; raises RuntimeError if another thread trains the model."""
    result = oracle.call(model.fit_partial, *args, **kwargs)
    if isinstance(result, Refused) and not isinstance(result.error, (RuntimeError, ValueError)):
        oracle.fail("undocumented exception", repr(result))
    return result


def two_fits(rng: np.random.RandomState, oracle: Oracle) -> None:
    model = LightFM(**parameters(rng))
    first, second = large(rng), interactions(rng, draw(rng, (SMALL, LARGE, (900, 5))), signed=False)
    if draw(rng, (True, False)):
        model.fit(first)
    threads = int(draw(rng, (1, 2)))
    call = draw(rng, (model.fit, model.fit_partial))
    together(
        lambda: oracle.call(model.fit, first, epochs=3, num_threads=threads),
        lambda: [oracle.call(call, second, num_threads=threads) for _ in range(5)],
    )
    oracle.check_finite(model)
    oracle.require(oracle.call(model.predict, [0], [0]))


def beside_fit(rng: np.random.RandomState, oracle: Oracle) -> None:
    chosen = parameters(rng)
    model, known = LightFM(**chosen), large(rng)
    model.fit(known)
    threads = int(draw(rng, (1, 2)))
    folder = tempfile.mkdtemp()

    def assign() -> None:
        name = draw(rng, STATE)
        array = getattr(model, name)
        if array is not None:
            oracle.call(setattr, model, name, draw(rng, (array[:1], array.copy(), np.concatenate([array, array]))))

    action = draw(
        rng,
        (
            lambda: model.predict(np.arange(100), np.arange(100), num_threads=threads),
            lambda: model.recommend(np.arange(50), 5, num_threads=threads),
            lambda: model.predict_rank(known, num_threads=threads),
            lambda: model.save(os.path.join(folder, "model.safetensors")),
            lambda: model.get_item_representations(),
            lambda: model.fold_in_users(known, epochs=1, num_threads=threads),
            lambda: model.to_matrix_factorization(),
            lambda: model.set_params(no_components=int(rng.randint(1, 80))),
            lambda: model.set_params(learning_schedule=draw(rng, ("adagrad", "adadelta"))),
            assign,
        ),
    )
    growing = interactions(rng, (320, 230), signed=False)
    data = draw(rng, (known, known, growing))
    together(
        lambda: oracle.call(draw(rng, (model.fit, model.fit_partial)), data, epochs=4, num_threads=threads),
        lambda: [oracle.call(action) for _ in range(8)],
    )
    for name in os.listdir(folder):
        oracle.call(LightFM.load, os.path.join(folder, name))
        os.remove(os.path.join(folder, name))
    os.rmdir(folder)
    oracle.check_finite(model)


def input_written(rng: np.random.RandomState, oracle: Oracle) -> None:
    """The caller changes index arrays while an epoch runs."""
    model, known = LightFM(**parameters(rng)), interactions(rng, LARGE, sp.coo_matrix, signed=False)
    known = sp.coo_matrix((known.data.astype(np.float32), (known.row, known.col)), known.shape)
    described = sp.csr_matrix(sp.hstack([sp.identity(LARGE[1]), np.ones((LARGE[1], 1))]), dtype=np.float32)
    done = threading.Event()

    def write() -> None:
        done.wait(0.002)
        arrays = draw(rng, ((known.row, known.col), (described.indices,), (described.indptr,), (known.data,)))
        while not done.is_set():
            for array in arrays:
                array[...] = 10**9

    def fit() -> None:
        oracle.call(model.fit, known, item_features=described, epochs=3, num_threads=int(draw(rng, (1, 2))))
        done.set()

    together(fit, write)
    oracle.check_finite(model)


def machines(rng: np.random.RandomState, oracle: Oracle) -> None:
    X, y = sp.random(2000, 50, 0.2, format="csr", random_state=rng), np.arange(2000) % 2
    narrow = sp.csr_matrix(X[:50, :4])
    model = FMClassifier(epochs=2, num_threads=int(draw(rng, (1, 2)))).fit(X, y)
    action = draw(
        rng,
        (
            lambda: model.predict(X),
            lambda: model.fit(narrow, y[:50]),
            lambda: model.partial_fit(X, y),
            lambda: model.set_params(no_components=3).fit(narrow, y[:50]),
        ),
    )
    together(lambda: oracle.call(model.fit, X, y), lambda: [oracle.call(action) for _ in range(5)])
    oracle.check_finite(model)


def apart(rng: np.random.RandomState, oracle: Oracle) -> None:
    """Several models train at the same time, each on one thread, as in joblib's threads."""
    known = large(rng)
    models = [LightFM(**parameters(rng)) for _ in range(3)]
    threads = int(draw(rng, (1, 2)))
    together(
        *(lambda model=model: oracle.require(oracle.call(model.fit, known, num_threads=threads)) for model in models)
    )
    for model in models:
        oracle.check_finite(model)
