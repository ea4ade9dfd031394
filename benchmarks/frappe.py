"""App usage in context (Frappe): AUC, log loss and time an epoch of factorization machines, with three peers."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks import harness

CONTEXT = ("daytime", "weekday", "isweekend", "homework", "cost", "weather", "country", "city")
PARTS = (7, 2, 1)  # train, validation and test, in tenths of the rows
N_NEGATIVES = 2
MYFM_SWEEPS = 50
PATIENCE = 3
TIMED_EPOCHS = 5  # for peers that cannot continue a fit: the epochs beyond the first, whose extra time is divided
TARGETS = {"plain": 0.967, "field-weighted": 0.976}
Probabilities = np.ndarray
# A function from train, validation and test rows and a seed to predictions for the test rows.
Side = Callable[[Any, Any, Any, int], Probabilities]


def main(arguments: list[str] | None = None) -> None:
    parser = harness.argument_parser(__doc__)
    parser.set_defaults(threads=[1], seeds=3)
    parser.add_argument("--no-components", type=int, default=10)
    parser.add_argument("--max-epochs", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=7, help="rounds of paired timing")
    parser.add_argument("--peers", default="sklearn,myfm,xlearn", help="some of these; empty for none")
    options = parser.parse_args(arguments)
    peers = [peer for peer in options.peers.split(",") if peer and harness.import_peer(peer) is not None]
    machine = harness.machine(["scikit-learn" if peer == "sklearn" else peer for peer in peers])
    harness.print_machine(machine)
    sides: dict[str, Side] = {
        f"lightfm_fast {kind}, {threads} thread(s)": _our_side(kind, threads, options)
        for threads in options.threads
        for kind in TARGETS
    }
    sides |= {peer: _PEERS[peer](options) for peer in peers}
    results: list[dict[str, Any]] = []
    for seed in range(options.seeds):
        train, validation, test = load(seed)
        for name, side in sides.items():
            results.append({"side": name, "seed": seed, **_judge(test.y, side(train, validation, test, seed))})
    print(f"{train.shape[0]:,} rows to train on, {train.shape[1]:,} columns, {len(train.field_names)} fields")
    _report(sides, results)
    results += _time(train, peers, options)
    harness.save(options.json, machine, options, results)


def load(seed: int) -> tuple[Any, Any, Any]:
    """Return train, validation and test rows: each log entry, and two uniform random apps that its user never used."""
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
    with np.load(harness.locate("frappe.npz")) as data:
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


def _our_side(kind: str, threads: int, options: Any) -> Side:
    from lightfm_fast import FMClassifier

    def run(train: Any, validation: Any, test: Any, seed: int) -> Probabilities:
        model = FMClassifier(
            options.no_components,
            fields=train.fields if kind == "field-weighted" else None,
            num_threads=threads,
            random_state=seed,
        )
        best, predicted, n_worse = np.inf, np.empty(0), 0
        for _ in range(options.max_epochs):  # the epoch is chosen on the validation part
            model.partial_fit(train, train.y, classes=[0, 1])
            loss = _judge(validation.y, model.predict_proba(validation)[:, 1])["log loss"]
            n_worse += 1
            if loss < best:
                best, predicted, n_worse = loss, model.predict_proba(test)[:, 1], 0
            if n_worse == PATIENCE:
                break
        return predicted

    return run


def _sklearn_side(options: Any) -> Side:
    from sklearn.linear_model import LogisticRegression

    def run(train: Any, validation: Any, test: Any, seed: int) -> Probabilities:
        matrices = [part.to_csr() for part in (train, validation, test)]
        best, predicted = np.inf, np.empty(0)
        for strength in (0.1, 1.0, 10.0):
            model = LogisticRegression(C=strength, max_iter=500).fit(matrices[0], train.y)
            loss = _judge(validation.y, model.predict_proba(matrices[1])[:, 1])["log loss"]
            if loss < best:
                best, predicted = loss, model.predict_proba(matrices[2])[:, 1]
        return predicted

    return run


def _myfm_side(options: Any) -> Side:
    import myfm

    def run(train: Any, validation: Any, test: Any, seed: int) -> Probabilities:
        model = myfm.MyFMClassifier(rank=options.no_components, random_seed=seed)
        X, X_test = (part.to_csr().astype(np.float64) for part in (train, test))
        model.fit(X, train.y, n_iter=MYFM_SWEEPS, n_kept_samples=MYFM_SWEEPS // 2)
        predicted: Probabilities = model.predict_proba(X_test)
        return predicted

    return run


def _xlearn_side(options: Any) -> Side:
    def run(train: Any, validation: Any, test: Any, seed: int) -> Probabilities:
        with tempfile.TemporaryDirectory() as folder:
            paths = [os.path.join(folder, name) for name in ("train", "validation", "test")]
            for part, path in zip((train, validation, test), paths, strict=True):
                _write_libsvm(part, path)
            model = _fit_xlearn(options, folder, options.max_epochs, paths[1])
            model.setTest(paths[2])
            model.setSigmoid()
            model.predict(os.path.join(folder, "model"), os.path.join(folder, "out"))
            return np.loadtxt(os.path.join(folder, "out"))

    return run


def _fit_xlearn(options: Any, folder: str, epochs: int, validation: str | None = None) -> Any:
    """Fit to the rows in the file ``train`` of a folder, with xLearn's default rates."""
    os.environ.setdefault("USER", "user")  # xLearn ends the process if it is not set
    import xlearn

    model = xlearn.create_fm()
    model.setTrain(os.path.join(folder, "train"))
    model.disableNorm()
    settings = {"task": "binary", "k": options.no_components, "opt": "adagrad", "nthread": options.threads[0]}
    if validation is None:
        model.setQuiet()
        model.disableEarlyStop()
    else:
        model.setValidate(validation)
        settings["stop_window"] = PATIENCE
    model.fit({**settings, "epoch": epochs}, os.path.join(folder, "model"))
    return model


def _write_libsvm(design: Any, path: str) -> None:
    matrix = design.to_csr()
    cells = [f"{column}:{value:g}" for column, value in zip(matrix.indices, matrix.data, strict=True)]
    with open(path, "w") as file:
        for row, label in enumerate(design.y):
            file.write(f"{int(label)} {' '.join(cells[matrix.indptr[row] : matrix.indptr[row + 1]])}\n")


_PEERS: dict[str, Callable[[Any], Side]] = {"sklearn": _sklearn_side, "myfm": _myfm_side, "xlearn": _xlearn_side}


def _time(train: Any, peers: list[str], options: Any) -> list[dict[str, Any]]:
    """Time an epoch over the same rows with the same number of components, all sides by turns; in seconds."""
    from lightfm_fast import FMClassifier

    if not options.rounds:
        return []
    threads = options.threads[0]
    ours = {
        f"lightfm_fast {kind}": FMClassifier(
            options.no_components, fields=train.fields if kind == "field-weighted" else None, num_threads=threads
        )
        for kind in TARGETS
    }
    turns: dict[Any, Callable[[], object]] = {
        name: partial(model.partial_fit, train, train.y, classes=[0, 1]) for name, model in ours.items()
    }
    for turn in turns.values():
        turn()  # the first epoch allocates
    with tempfile.TemporaryDirectory() as folder:
        timed = [peer for peer in ("myfm", "xlearn") if peer in peers]
        for peer in timed:
            run = _CLOCKS[peer](train, folder, options)
            run(1)  # at the first run xLearn converts the text to binary files
            turns |= {(peer, epochs): partial(run, epochs) for epochs in (1, 1 + TIMED_EPOCHS)}
        seconds = harness.alternate(turns, options.rounds)
    times = {name: seconds[name] for name in ours}
    for peer in timed:
        both = zip(seconds[peer, 1 + TIMED_EPOCHS], seconds[peer, 1], strict=True)
        times[peer] = [(more - one) / TIMED_EPOCHS for more, one in both]
    plain = times[next(iter(ours))]
    ratios = {name: harness.paired_ratio(plain, own) for name, own in times.items()}
    print(f"\nan epoch, {options.no_components} components, {threads} thread(s); of myFM a sweep of its Gibbs sampler")
    rows = [[name, f"{np.median(own):.4f}", harness.ratio_text(ratios[name])] for name, own in times.items()]
    harness.print_table(["", "seconds an epoch", "over ours, plain, paired"], rows)
    return [{"side": name, "seconds an epoch": own, "time over ours": ratios[name]} for name, own in times.items()]


def _myfm_clock(train: Any, folder: str, options: Any) -> Callable[[int], object]:
    import myfm

    X = train.to_csr().astype(np.float64)

    def run(sweeps: int) -> object:
        model = myfm.MyFMClassifier(rank=options.no_components, random_seed=0)
        return model.fit(X, train.y, n_iter=sweeps, n_kept_samples=1)

    return run


def _xlearn_clock(train: Any, folder: str, options: Any) -> Callable[[int], object]:
    _write_libsvm(train, os.path.join(folder, "train"))
    return partial(_fit_xlearn, options, folder)


_CLOCKS = {"myfm": _myfm_clock, "xlearn": _xlearn_clock}


def _judge(y: np.ndarray, probabilities: Probabilities) -> dict[str, float]:
    from sklearn.metrics import log_loss, roc_auc_score

    return {"AUC": float(roc_auc_score(y, probabilities)), "log loss": float(log_loss(y, probabilities))}


def _report(sides: dict[str, Side], results: list[dict[str, Any]]) -> None:
    rows = []
    for name in sides:
        own = [result for result in results if result["side"] == name]
        auc, loss = ([result[metric] for result in own] for metric in ("AUC", "log loss"))
        target = next((target for kind, target in TARGETS.items() if f"lightfm_fast {kind}" in name), None)
        rows.append(
            [
                name,
                harness.spread_text(auc),
                harness.spread_text(loss),
                "" if target is None else f"{target} {'reached' if np.mean(auc) >= target else 'MISSED'}",
            ]
        )
    harness.print_table(["", "AUC ± sd", "log loss ± sd", "target AUC"], rows)


if __name__ == "__main__":
    main()
