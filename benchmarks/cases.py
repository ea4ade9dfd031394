"""The cases of training that are measured, each with its target ratios.

A ratio is lightfm-next's time for an epoch over this library's time for the same epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

LOSSES = ("logistic", "bpr", "warp", "warp-kos")
# implicit's BPR is plain SGD without accumulators, so the target is to be faster at all.
IMPLICIT_TARGET = 1.0


@dataclass(frozen=True)
class Case:
    """Data, model and length of a comparison, and its targets.

    The fields before ``losses`` are the options of :func:`benchmarks.harness.add_data_options`. If ``shuffled``, the
    interactions are in random order, as in a log, not sorted by user and item. ``targets`` has the smallest acceptable
    ratio of each loss at 1 and at 2 threads. ``speedup`` is the smallest acceptable ratio of this library's time at 1
    thread to its time at 2 threads.
    """

    name: str
    data: str = "generated"
    features: str = "none"
    users: int = 6_000
    items: int = 3_700
    interactions: int = 1_000_000
    tags: int = 50
    tags_per_item: int = 8
    test_fraction: float = 0.1
    losses: Sequence[str] = LOSSES
    no_components: int = 64
    learning_schedule: str = "adagrad"
    epochs: int = 10
    seeds: int = 3
    shuffled: bool = False
    targets: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    speedup: float = 1.0

    def target(self, peer: str, loss: str, threads: int) -> float | None:
        """Return the smallest acceptable ratio of ``peer``'s time to this library's, or None without a target."""
        if peer == "implicit":
            return IMPLICIT_TARGET
        targets = self.targets.get(loss, ())
        return targets[threads - 1] if threads <= len(targets) else None


IDENTITY = {"logistic": (35, 28), "bpr": (25, 20), "warp": (14, 11), "warp-kos": (14, 11)}
HALF = {loss: (one / 2, two / 2) for loss, (one, two) in IDENTITY.items()}

# A tenth is held out: about 0.9 million interactions are trained on, in a matrix as dense as MovieLens 1M's (5 %).
_IDENTITY = Case("identity", targets=IDENTITY)

CASES = (
    _IDENTITY,
    replace(_IDENTITY, name="identity-shuffled", losses=("bpr", "warp", "warp-kos"), shuffled=True),
    replace(_IDENTITY, name="identity-20k", users=20_000, items=10_000, epochs=5),
    Case(
        "tags",
        features="tags",
        losses=("logistic", "bpr", "warp"),
        targets={"logistic": (20, 14), "bpr": (18, 14), "warp": (12, 12)},
    ),
    Case(
        "tags-users",
        features="tags+users",
        tags=200,
        tags_per_item=20,
        losses=("logistic", "bpr", "warp"),
        targets={"logistic": (25, 18), "bpr": (22, 18), "warp": (11, 11)},
    ),
    Case(
        "identity-18m",
        users=138_000,
        items=27_000,
        interactions=20_000_000,
        losses=("bpr", "warp"),
        epochs=2,  # LightFM takes a minute or more for each
        targets={"bpr": (20, 15), "warp": (14, 12)},
        speedup=1.7,
    ),
    Case("gowalla", data="gowalla", targets=IDENTITY),
    *(
        replace(_IDENTITY, name=f"identity-d{width}", no_components=width, epochs=4, targets=HALF)
        for width in (8, 32, 128, 200)
    ),
    replace(
        _IDENTITY,
        name="identity-adadelta",
        learning_schedule="adadelta",
        epochs=4,
        targets=dict.fromkeys(LOSSES, (10, 10)),
    ),
)


def quick(case: Case) -> Case:
    """Return a faster version of the case: a quarter of the users with their interactions, few epochs, one seed.

    All items are kept, since their number decides which rows stay in cache.
    """
    return replace(case, users=case.users // 4, interactions=case.interactions // 4, epochs=4, seeds=1)
