"""Context-aware app usage (Frappe): AUC and log loss of factorization machines, field-weighted and not, and of peers."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks import harness

CONTEXT = ("daytime", "weekday", "isweekend", "homework", "cost", "weather", "country", "city")
# Of train, validation and test, of 10 parts of the rows.
PARTS = (7, 2, 1)
N_NEGATIVES = 2
TARGETS = {"plain": 0.967, "field-weighted": 0.976}


def main(arguments: list[str] | None = None) -> None:
    parser = harness.argument_parser(__doc__)
    parser.set_defaults(threads=[1], seeds=3)
    parser.add_argument("--no-components", type=int, default=10)
    parser.add_argument("--peers", default="sklearn,myfm,xlearn", help="peers to compare with, of sklearn,myfm,xlearn")
    options = parser.parse_args(arguments)
    wanted = [peer for peer in options.peers.split(",") if peer]
    peers = [peer for peer in wanted if harness.import_peer(peer) is not None]
    machine = harness.machine(["scikit-learn" if peer == "sklearn" else peer for peer in peers])
    harness.print_machine(machine)
    sides: dict[str, Callable[..., Measured]] = {
        f"lightfm_fast {name}, {threads} thread(s)": _our_side(name, threads, options.no_components)
        for threads in options.threads
        for name in TARGETS
    }
    sides |= {_PEERS[peer][0]: _PEERS[peer][1](options.no_components) for peer in peers}
    results = [
        {"side": name, **measured}
        for seed in range(options.seeds)
        for name, measured in _run(sides, *load(seed), seed).items()
    ]
    _report(sides, results)
    harness.save(options.json, machine, options, results)


def load(seed: int) -> tuple[Any, Any, Any]:
    """Train, validation and test rows: every log entry and two apps, drawn uniformly, that its user never used."""
    from lightfm_fast.design import design_matrix

    data = _read()
    rng = np.random.default_rng(seed)
    log = np.arange(len(data["user"]))
    used = sp.csr_matrix((np.ones(len(log)), (data["user"], data["item"])), shape=data["shape"], dtype=bool)
    rows = np.concatenate([log, np.repeat(log, N_NEGATIVES)])
    users, items = data["user"][rows], data["item"][rows]
    unfit = np.arange(len(rows)) >= len(log)
    while unfit.any():
        items[unfit] = rng.integers(data["shape"][1], size=unfit.sum())
        unfit[unfit] = np.asarray(used[users[unfit], items[unfit]]).ravel()
    labels = np.where(np.arange(len(rows)) < len(log), 1.0, 0.0)
    design = design_matrix(
        sp.coo_matrix((labels, (users, items)), shape=data["shape"]),
        item_features=data["item_features"],
        context={name: (codes[rows], sp.identity(int(codes.max()) + 1)) for name, codes in data["context"].items()},
    )
    bounds = np.cumsum(PARTS)[:-1] * len(rows) // sum(PARTS)
    train, validation, test = (design[part] for part in np.split(rng.permutation(len(rows)), bounds))
    return train, validation, test


def _read() -> dict[str, Any]:
    folder = os.environ.get("LIGHTFM_FAST_DATA")
    if not folder or not (path := Path(folder) / "frappe.npz").exists():
        raise SystemExit("this benchmark reads frappe.npz in the folder that LIGHTFM_FAST_DATA names")
    with np.load(path) as data:
        names = data["item_meta__names"].tobytes().decode().split("\n")
        shape = (int(data["n_items"]), len(names))
        meta = sp.csc_matrix(
            sp.csr_matrix((data["item_meta__data"], data["item_meta__indices"], data["item_meta__indptr"]), shape)
        )
        kinds = np.array([name.partition(":")[0] for name in names])
        return {
            "user": data["user"],
            "item": data["item"],
            "shape": (int(data["n_users"]), int(data["n_items"])),
            "item_features": {f"app {kind}": meta[:, kinds == kind] for kind in dict.fromkeys(kinds.tolist())},
            "context": {name: data[f"ctx_{name}"] for name in CONTEXT},
        }
