"""A fuzz of the public API: ``python -m tests.fuzz``, from the top of the repository.

Each scenario is a function of a kind and a seed. It runs in a worker process, with input that no user should give.
The checks are in oracle.py. A failure is printed with the command that repeats it.
"""

from __future__ import annotations

import argparse
import sys
import time

from .driver import Failure, Scenario, run


def main() -> int:
    from .scenarios import KINDS, kind_of

    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz the public API.")
    parser.add_argument("--scenarios", type=int, default=5000, help="how many to run (5000)")
    parser.add_argument("--seed", type=int, default=0, help="of the first scenario; the next has the next (0)")
    parser.add_argument("--minutes", type=float, help="stop after this time")
    parser.add_argument("--threads", "-j", type=int, default=2, help="worker processes (2)")
    parser.add_argument("--only", choices=sorted(KINDS), help="one kind of scenario")
    options = parser.parse_args()
    seeds = range(options.seed, options.seed + options.scenarios)
    started = time.monotonic()
    counts = run(
        (Scenario(options.only or kind_of(seed), seed) for seed in seeds), options.threads, options.minutes, show
    )
    kinds = sorted(name for name in counts if name.startswith("of "))
    print(
        f"{counts['scenarios']:,} scenarios ({', '.join(f'{counts[name]:,} {name}' for name in kinds)}) in "
        f"{time.monotonic() - started:.0f} s, {counts['scenarios that failed']:,} failed"
    )
    for name in sorted(set(counts) - {*kinds, "scenarios", "scenarios that failed"}):
        print(f"{counts[name]:7,} {name}")
    return 1 if counts["scenarios that failed"] else 0


def show(failure: Failure) -> None:
    print(f"{failure.scenario.command()}\n  {failure.detail}\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
