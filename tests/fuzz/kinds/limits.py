"""Too little memory raises MemoryError, also from parallel regions, and leaves the model as it was."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp

from lightfm_fast import FMRegressor, LightFM

from ..inputs import draw, interactions, parameters
from ..oracle import Oracle, Refused, remembered

SHAPE = (300, 2000)


def run(rng: np.random.RandomState, oracle: Oracle) -> None:
    chosen = parameters(rng)
    oracle.say(chosen)
    known = interactions(rng, SHAPE, sp.coo_matrix, signed=False)
    model = LightFM(**chosen).fit(known, num_threads=2)
    X = sp.random(400, 60, 0.2, format="csr", random_state=rng)
    machine = FMRegressor(no_components=50, epochs=1, num_threads=2).fit(X, np.arange(400.0))
    n = int(draw(rng, (5, 200, 2000)))
    call = draw(
        rng,
        (
            lambda: model.fit(known, num_threads=2),
            lambda: model.fit_partial(known, num_threads=2),
            lambda: model.recommend(np.arange(SHAPE[0]), n, interactions=known, num_threads=2),
            lambda: model.predict_rank(known, num_threads=2),
            lambda: model.predict(np.arange(300), np.arange(300), num_threads=2),
            lambda: model.similar_items(np.arange(300), n, num_threads=2),
            lambda: model.fold_in_users(known, epochs=1, num_threads=2),
            lambda: machine.fit(X, np.arange(400.0)),
            lambda: machine.predict(X),
        ),
    )
    before = remembered(model), remembered(machine)
    with limit_of_memory(int(draw(rng, (0, 1, 4, 16, 64))) << 18):
        result = oracle.call(call)
    if isinstance(result, Refused):
        if not isinstance(result.error, MemoryError):
            oracle.fail("undocumented exception", f"expected MemoryError: {result!r}")
        oracle.check_kept(before[0], model)
        oracle.check_kept(before[1], machine)
    oracle.check_finite(model)


@contextlib.contextmanager
def limit_of_memory(n_bytes: int) -> Iterator[None]:
    """Limit the address space to ``n_bytes`` more than the process uses now."""
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size + n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
