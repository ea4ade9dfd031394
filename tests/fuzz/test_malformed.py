"""Pass malformed matrices to every function that takes one, in this process: ``make sanitize`` watches the memory."""

from __future__ import annotations

import pytest

from . import scenarios


@pytest.mark.parametrize("first", range(0, 200, 25))
def test_malformed_matrices(first):
    failures = [failure for seed in range(first, first + 25) for failure in scenarios.run("matrices", seed)]
    assert not failures, "\n\n".join(failures)
