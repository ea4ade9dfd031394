"""Choose each constant of the preset "fast" without the data set that it is judged on.

The values of a constant are compared on the validation parts of all other data sets, on the tasks that it can change.
The value that wins there and the present one are measured on the data set's test parts. The other constants keep their
present values.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import math
import statistics
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np

from benchmarks import harness
from benchmarks.quality import PRESET, Bench, Result, best_of_others, means, paired
from benchmarks.quality_methods import NO_COMPONENTS, PRESET_EPOCHS, Method, Scorer, Trial
from benchmarks.quality_sets import SETS, TASKS, Split
from lightfm_fast import LightFM, _cold_start, _feature_scaling, _regularization, _training, _training_data, lightfm
from lightfm_fast._hyperparameters import N_HARDEST
from lightfm_fast._sides import Sides
from lightfm_fast.callbacks import StopTraining

WARM, NEW_ITEMS, NEW_USERS = "warm", "new items", "new users"
# Trained models and scores that are kept for the next value: as many as there are seeds.
N_KEPT = 5
_regularization_run = _regularization.Run


@dataclass(frozen=True)
class Constant:
    """A constant of a module, or a parameter of the preset.

    Attributes
    ----------
    name : str
    values : tuple
        To choose among; the present one is the first, so it is kept where values are level.
    kinds : tuple of str
        The kinds of tasks that it can change.
    train : function (constant, value, split, seed, threads) -> Scorer
    module : module, optional
        None for a parameter of the preset.
    """

    name: str
    values: tuple[Any, ...]
    kinds: tuple[str, ...]
    train: Any
    module: ModuleType | None = None

    def methods(self) -> dict[str, Method]:
        """Return a method for each value; the present one is the preset as it is."""
        present, *others = self.values
        return {str(present): Method(PRESET, _of_preset), **{str(value): self._method(value) for value in others}}

    def _method(self, value: Any) -> Method:
        def train(split: Split, _: Trial, seed: int, threads: int) -> Scorer:
            with self.set_to(value):
                scorer: Scorer = self.train(self, value, split, seed, threads)
                return scorer

        return Method(f"fast-{self.name}-{value}", train)

    def set_to(self, value: Any) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext() if self.module is None else mock.patch.object(self.module, self.name, value)


def _model(seed: int, **parameters: Any) -> LightFM:
    return LightFM.recommended("fast", no_components=NO_COMPONENTS, random_state=seed, **parameters)


def _fit(model: LightFM, split: Split, threads: int, **options: Any) -> LightFM:
    features = {"user_features": split.user_features, "item_features": split.item_features}
    return model.fit(split.train.tocoo(), epochs=PRESET_EPOCHS, num_threads=threads, **features, **options)


def _scorer(users: np.ndarray, items: np.ndarray, biases: np.ndarray) -> Scorer:
    return lambda rows: users[rows] @ items.T + biases


def _scorer_of(model: LightFM, split: Split) -> Scorer:
    biases, items = model.get_item_representations(split.item_features)
    return _scorer(model.get_user_representations(split.user_features)[1], items, biases)


def _of_training(constant: Constant, value: Any, split: Split, seed: int, threads: int) -> Scorer:
    """Train a model with another value of a constant."""
    model = _fit(_model(seed, **({} if constant.module else {constant.name: value})), split, threads)
    return _scorer_of(model, split)


class _Asked:
    """A run that other values share: it trains on by single epochs, and shows only the scores that were asked for."""

    def __init__(self, run: _regularization.Run) -> None:
        self._run, self.alpha, self.n_epochs = run, run.alpha, 0
        self.scores: dict[int, np.ndarray] = {}

    def train(self, until: int) -> None:
        for number in range(self._run.n_epochs + 1, until + 1):
            self._run.train(number)
        self.scores[until] = self._run.scores[until]
        self.n_epochs = max(self.n_epochs, until)


@functools.lru_cache(maxsize=N_KEPT)
def _raced(split: Split, seed: int, threads: int) -> tuple[tuple[Any, ...], dict[float, _regularization.Run]]:
    """Return what ``find_alpha`` is called with, and an empty place for its runs, by strength."""
    with mock.patch.object(lightfm, "find_alpha", side_effect=StopTraining) as find, contextlib.suppress(StopTraining):
        _fit(_model(seed), split, threads)
    return find.call_args.args, {}


def _of_race(constant: Constant, value: Any, split: Split, seed: int, threads: int) -> Scorer:
    """Race with the value. Values share the runs, and the models that are trained with the strengths they find."""
    (problem, epochs, rng), runs = _raced(split, seed, threads)

    def new_run(*given: Any) -> _Asked:
        alpha = given[-1]
        if alpha not in runs:
            runs[alpha] = _regularization_run(*given)
        return _Asked(runs[alpha])

    with mock.patch.object(_regularization, "Run", new_run):
        found = _regularization.find_alpha(problem, epochs, copy.deepcopy(rng))
    return _of_strength(split, seed, threads, found.alpha)


@functools.lru_cache(maxsize=6 * N_KEPT)
def _of_strength(split: Split, seed: int, threads: int, alpha: float) -> Scorer:
    trained, _ = _trained(split, seed, threads)
    if trained.item_alpha_ == alpha:
        return _of_preset(split, {}, seed, threads)
    model = _fit(_model(seed, item_alpha=alpha, user_alpha=alpha), split, threads)
    return _scorer_of(model, split)


def _of_newcomers(constant: Constant, value: Any, split: Split, seed: int, threads: int) -> Scorer:
    """Learn with the value what represents new users and items, by one trained model for all values."""
    model, to_learn = _trained(split, seed, threads)
    if to_learn is None:
        return _scorer_of(model, split)
    sides, given, *_ = to_learn
    sides.users.mapping = sides.items.mapping = None
    learned = replace(sides, content=_cold_start.learn(*to_learn))
    users, _ = learned.representations("user", given.user_features, threads)
    items, biases = learned.representations("item", given.item_features, threads)
    return _scorer(users, items, biases)


def _of_preset(split: Split, _: Trial, seed: int, threads: int) -> Scorer:
    """Train the preset as it is."""
    return _of_newcomers(_PRESENT, None, split, seed, threads)


@functools.lru_cache(maxsize=N_KEPT)
def _trained(split: Split, seed: int, threads: int) -> tuple[LightFM, tuple[Any, ...] | None]:
    """Train the preset, and return what ``learn`` is called with, if it is, but that it trains its race once."""
    with mock.patch.object(_training_data, "learn", return_value=None) as learn:
        model = _fit(_model(seed), split, threads)
    if not learn.called:
        return model, None
    *others, race, _ = learn.call_args.args
    models: dict[Any, Sides] = {}

    def race_once(held: np.ndarray) -> Sides:
        key = held.tobytes(), lightfm.RACE_EPOCHS
        if key not in models:
            models[key] = race(held)
        models[key].items.mapping = None
        return models[key]

    return model, (*others, race and race_once, threads)


def _times(factor: float) -> tuple[tuple[float, int], ...]:
    """Return the default numbers of negatives, by the largest catalogue, times a factor."""
    return tuple((largest, int(count * factor)) for largest, count in N_HARDEST)


_ALL = (WARM, NEW_ITEMS, NEW_USERS)
_PRESENT = Constant("", (None,), _ALL, _of_newcomers)
_NEW_ITEMS = functools.partial(Constant, kinds=(NEW_ITEMS,), train=_of_newcomers)
_RACE = functools.partial(Constant, kinds=_ALL, train=_of_race, module=_regularization)
_TRAINING = functools.partial(Constant, kinds=_ALL, train=_of_training)
CONSTANTS = {
    constant.name: constant
    for constant in (
        Constant("STRENGTH", (0.5, 0.125, 0.25, 1.0, 2.0, 4.0), (NEW_ITEMS, NEW_USERS), _of_newcomers, _cold_start),
        _NEW_ITEMS("_LEAST_ERRORS", (2.0, 0.0, 1.0, 3.0, math.inf), module=_cold_start),
        _NEW_ITEMS("HELD_OUT", (0.1, 0.05, 0.2), module=_cold_start),
        _NEW_ITEMS("RACE_EPOCHS", (4, 2, 8), module=lightfm),
        _RACE("USUAL_ALPHA", (0.05, 0.04, 0.06)),
        _RACE("WEAKER_WINS_BY", (3.0, 1.0, 2.0, 4.0, 6.0, math.inf)),
        _RACE("STILL_WEAKER_WINS_BY", (2.0, 1.0, 3.0, 4.0)),
        _RACE("STRONGER_WINS_BY", (1.0, 0.0, 2.0, 3.0, math.inf)),
        _RACE("LEADS_BY", (1.0, 0.0, 2.0)),
        _RACE("HOPELESS_BY", (3.0, 1.0, 2.0)),
        _RACE("HALF_TIME", (2, 1, 3)),
        _RACE("SHORT_RUN", (4, 3, 5, 6)),
        _RACE("LONG_RUN", (6, 5, 7, 8)),
        _TRAINING("SHARE_HELD_OUT", (0.2, 0.1, 0.3), module=_regularization),
        _TRAINING("RANKED_PER_SAMPLE", (30, 15, 60), module=_regularization),
        _TRAINING("learning_rate", (0.1, 0.07, 0.14)),
        _TRAINING("initial_accumulator", (0.01, 0.003, 0.03)),
        _TRAINING("init_scale", (0.1, 0.05, 0.2)),
        _TRAINING("N_HARDEST", (N_HARDEST, _times(0.5), _times(2)), module=_training),
        _TRAINING("CROWDING", (4.0, 1.0, 16.0), module=_feature_scaling),
        _TRAINING("FLOOR", (0.5, 0.25, 1.0), module=_feature_scaling),
    )
}


def main(arguments: list[str] | None = None) -> None:
    parser = harness.argument_parser(__doc__)
    parser.set_defaults(threads=[1])
    parser.add_argument("--sets", type=harness.choices_of(SETS), default=list(SETS), help="as ml-100k,gowalla")
    parser.add_argument(
        "--constants", type=harness.choices_of(CONSTANTS), default=list(CONSTANTS), help="as STRENGTH,LONG_RUN"
    )
    parser.add_argument("--kept", type=Path, required=True, help="a folder: measured once, a result is kept there")
    parser.set_defaults(validation=False, again=[], tuned_in=None)
    options = parser.parse_args(arguments)
    machine = harness.machine()
    harness.print_machine(machine)
    bench = Bench(options, machine["commit"])
    constants = [CONSTANTS[name] for name in options.constants]
    for name in options.sets:  # task by task, since constants share trained models
        for constant in constants:
            for method in constant.methods().values() if bench.kind(name) in constant.kinds else ():
                bench.measure(name, method, validation=True)
    rows: list[dict[str, Any]] = []
    for constant in constants:
        rows += judge_constant(bench, constant, options.sets)
        harness.save(options.json, machine, options, rows)


def judge_constant(bench: Bench, constant: Constant, sets: Collection[str]) -> Iterator[dict[str, Any]]:
    """Choose a value without each data set, and yield a row for each of its tasks."""
    methods = constant.methods()
    tasks = {name for name in sets if bench.kind(name) in constant.kinds}
    shares = bench.shares(methods, tasks)
    present = next(iter(methods))
    for source in shares:
        chosen = best_of_others(shares, source)
        others = means([of_set for other, of_set in shares.items() if other != source])
        print(f"{constant.name} without {source}: {chosen} of {others}", flush=True)
        for name in (name for name in TASKS[source] if name in tasks):
            now = bench.measure(name, methods[present])
            then = bench.measure(name, methods[chosen])
            assert now is not None
            assert then is not None
            row = {
                "constant": constant.name,
                "set": name,
                "kind": now.kind,
                "present": present,
                "chosen": chosen,
                "shares of the other sets": others,
                "ndcg": {"present": _ndcg(now), "chosen": _ndcg(then)},
                "chosen over present": paired(then.runs, now.runs),
            }
            print(f"  {name}: {row['ndcg']}, {row['chosen over present']}", flush=True)
            yield row


def _ndcg(result: Result) -> float:
    return statistics.fmean(float(run.ndcg.mean()) for run in result.runs)


if __name__ == "__main__":
    main()
