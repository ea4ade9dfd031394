"""One epoch of training by the compiled core, for all who train: ``fit`` and ``fold_in``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__: list[str] = []

MAX_LOG_RANK = 10.0


def log_ranks(n_items: int, max_sampled: int) -> NDArray[np.float32]:
    """WARP's weight after each number of draws: min(10, log(max(1, floor((n_items - 1) / draws)))); 1 after none."""
    draws = np.arange(1, max_sampled + 1)
    weights = np.minimum(np.log(np.maximum((n_items - 1) // draws, 1)), MAX_LOG_RANK)
    return np.concatenate([[1], weights]).astype(np.float32)
