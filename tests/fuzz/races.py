"""Training at one thread beside scoring, in a library that ThreadSanitizer watches: ``make sanitize-threads``.

Training writes parameters while scoring reads them, on purpose: Hogwild does not lock parameters.
Those reads and writes are named in races.supp. Everything else must be ordered: the tables that a model points to, its
input, its locks. ThreadSanitizer ends the process with exit code 66 where it found a race.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import scipy.sparse as sp

from lightfm_fast import FMClassifier, LightFM

N_USERS, N_ITEMS = 200, 150


def beside(train: Callable[[], object], asks: list[Callable[[], object]]) -> None:
    """Call ``asks`` in turn while ``train`` runs, and at least once."""
    trainer = threading.Thread(target=train)
    trainer.start()
    while True:
        for ask in asks:
            ask()
        if not trainer.is_alive():
            break
    trainer.join()


def main() -> None:
    rng = np.random.RandomState(0)
    known = sp.random(N_USERS, N_ITEMS, 0.1, format="coo", random_state=rng, dtype=np.float32)
    shared = sp.random(N_ITEMS, 10, 0.3, random_state=rng, dtype=np.float32)
    described = {"item_features": sp.csr_matrix(sp.hstack([sp.identity(N_ITEMS), shared]), dtype=np.float32)}
    users, items = np.arange(N_ITEMS), np.arange(N_ITEMS)
    for loss in ("logistic", "bpr", "warp", "warp-kos", "softmax"):
        for schedule in ("adagrad", "adadelta"):
            for features in ({}, described):
                model = LightFM(loss=loss, learning_schedule=schedule, random_state=0).fit(known, **features)
                beside(
                    lambda model=model, features=features: model.fit_partial(known, epochs=10, **features),
                    [
                        lambda model=model, features=features: model.predict(users, items, **features),
                        lambda model=model, features=features: model.recommend(users, 5, **features),
                        lambda model=model, features=features: model.predict_rank(known, **features),
                        lambda model=model: model.get_item_representations(),
                    ],
                )
    X, y = known.tocsr(), np.arange(N_USERS) % 2
    machine = FMClassifier(random_state=0).fit(X, y)
    beside(
        lambda: [machine.partial_fit(X, y) for _ in range(10)],
        [lambda: machine.predict(X), lambda: machine.embeddings_],
    )


if __name__ == "__main__":
    main()
