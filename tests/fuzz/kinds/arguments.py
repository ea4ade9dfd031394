"""Numbers and other values that no argument expects, in every argument that takes a number, an id or a choice."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
import scipy.sparse as sp

from lightfm_fast import FMClassifier, FMRegressor, LightFM
from lightfm_fast.callbacks import EarlyStopping, LearningRateSchedule
from lightfm_fast.cross_validation import leave_last_out_train_test_split, random_train_test_split
from lightfm_fast.evaluation import evaluate, precision_at_k
from lightfm_fast.features import Categorical, Periodic, PiecewiseLinear, QuantileBins

from ..inputs import HOSTILE, NUMBERS, chance, draw, fitted, interactions
from ..oracle import Oracle, Refused, remembered

SHAPE = (12, 9)


def run(rng: np.random.RandomState, oracle: Oracle) -> None:
    draw(rng, (of_constructor, of_constructor, of_machine, of_fit, of_scoring, of_scoring, of_others))(rng, oracle)


def hostile(rng: np.random.RandomState) -> Any:
    value = draw(rng, HOSTILE if chance(rng, 0.5) else NUMBERS)
    if chance(rng, 0.05):
        return np.array([value, value], dtype=object)
    return value


def count(rng: np.random.RandomState) -> Any:
    """Draw a value for a number of epochs or threads, but no legal value that would take for ever."""
    value = hostile(rng)
    return value if not isinstance(value, Real) or not value > 100 else draw(rng, (-5, "many", 2.5))


def judge(oracle: Oracle, model: Any, before: Any, result: Any) -> None:
    """Check the model after a call that refused or used the argument."""
    if isinstance(result, Refused):
        oracle.check_kept(before, model)
    oracle.check_finite(model)


def of_constructor(rng: np.random.RandomState, oracle: Oracle) -> None:
    name = draw(rng, LightFM._PARAMETERS)
    value = hostile(rng)
    if name == "n_negatives" and chance(rng, 0.3):
        value = 1 << 16
    known = interactions(rng, draw(rng, ((1, 4), SHAPE)))
    others = {"loss": draw(rng, ("logistic", "bpr", "warp", "warp-kos", "softmax"))} if name != "loss" else {}
    if chance(rng, 0.5):
        others["learning_schedule"] = "adadelta"
    if others.get("loss") == "bpr":
        others["negatives"] = "hardest"
    if not chance(rng, 0.3):
        model = oracle.call(LightFM, **{**others, name: value})
    else:
        model = LightFM(**others).fit(known)
        before = remembered(model)
        if chance(rng, 0.5):
            refused = oracle.call(model.set_params, **{name: value})
        else:  # assigned past all checks, which happen when the attribute is used
            oracle.say(f"model.{name} = {value!r}")
            refused = oracle.call(setattr, model, name, value)
        judge(oracle, model, before, refused)
    if isinstance(model, Refused):
        return
    before = remembered(model)
    train = draw(rng, (model.fit, model.fit_partial))
    judge(oracle, model, before, oracle.call(train, known, num_threads=int(draw(rng, (1, 2)))))
    if model.item_embeddings is not None:
        oracle.call(model.recommend, [0], 2)


def of_machine(rng: np.random.RandomState, oracle: Oracle) -> None:
    kind = draw(rng, (FMClassifier, FMRegressor))
    name = draw(rng, sorted(kind().get_params()))
    value = count(rng) if name in ("epochs", "num_threads") else hostile(rng)
    model = kind(random_state=0, epochs=2)
    X, y = rng.random_sample((20, 4)), np.arange(20) % 2
    if chance(rng, 0.5):
        model.fit(X, y)
    before = remembered(model)
    model.set_params(**{name: value})
    judge(oracle, model, before, oracle.call(draw(rng, (model.fit, model.partial_fit)), X, y))
    if hasattr(model, "history_"):
        oracle.call(model.predict, X)


def of_fit(rng: np.random.RandomState, oracle: Oracle) -> None:
    known = interactions(rng, SHAPE, sp.coo_matrix)
    model = fitted(rng, SHAPE) if chance(rng, 0.5) else LightFM()
    before = remembered(model)
    name = draw(
        rng, ("interactions", "user_features", "sample_weight", "epochs", "num_threads", "verbose", "callbacks")
    )
    value = count(rng) if name in ("epochs", "num_threads") else hostile(rng)
    if name == "verbose":
        value = bool(chance(rng, 0.5))
    given = {"interactions": known, name: value}
    judge(oracle, model, before, oracle.call(draw(rng, (model.fit, model.fit_partial)), **given))


def of_scoring(rng: np.random.RandomState, oracle: Oracle) -> None:
    model = fitted(rng, SHAPE)
    before = remembered(model)
    value, other = hostile(rng), count(rng)
    known = interactions(rng, SHAPE)
    call = draw(
        rng,
        (
            lambda: model.predict(value, [0, 1]),
            lambda: model.predict([0, 1], value),
            lambda: model.predict([0, value], [0, 1]),
            lambda: model.predict(0, [0], num_threads=other),
            lambda: model.predict_rank(value),
            lambda: model.predict_rank(known, num_threads=other),
            lambda: model.predict_rank(known, value),
            lambda: model.recommend(value),
            lambda: model.recommend([0, value]),
            lambda: model.recommend([0], value),
            lambda: model.recommend([0], 3, interactions=value),
            lambda: model.recommend([0], 3, items=value),
            lambda: model.recommend([0], 3, items=[1, value]),
            lambda: model.recommend([0], 3, exclude=value),
            lambda: model.recommend([0], 3, num_threads=other),
            lambda: model.recommend([0], 3, user_representations=value),
            lambda: model.recommend([0], 3, dataset=value),
            lambda: model.similar_items(value, 3),
            lambda: model.similar_users([0], value),
            lambda: model.explain(value, 0),
            lambda: model.explain(0, 0, user_feature_names=value),
            lambda: model.fold_in_users(value),
            lambda: model.fold_in_users(known, epochs=other),
            lambda: model.fold_in_items(known, value),
            lambda: model.get_item_representations(value),
            lambda: model.to_matrix_factorization(num_threads=other),
            lambda: evaluate(model, known, k=value),
            lambda: evaluate(model, known, metrics=value),
            lambda: evaluate(model, known, items=value),
            lambda: precision_at_k(model, known, k=value),
        ),
    )
    oracle.call(call)
    oracle.check_kept(before, model)


def of_others(rng: np.random.RandomState, oracle: Oracle) -> None:
    value = hostile(rng)
    known = interactions(rng, SHAPE)
    call = draw(
        rng,
        (
            lambda: random_train_test_split(known, value),
            lambda: random_train_test_split(known, 0.2, value),
            lambda: leave_last_out_train_test_split(known, value),
            lambda: leave_last_out_train_test_split(known, np.arange(sp.coo_matrix(known).nnz), value),
            lambda: EarlyStopping(precision_at_k, known, patience=value),
            lambda: LightFM().fit(known, epochs=2, callbacks=[LearningRateSchedule(0.5 if callable(value) else value)]),
            lambda: LightFM().fit(known, epochs=2, callbacks=[LearningRateSchedule(lambda epoch: value)]),
            lambda: Categorical(min_count=value),
            lambda: Periodic(period=value, n_bins=3),
            lambda: Periodic(period=7, n_bins=value),
            lambda: QuantileBins(n_bins=value),
            lambda: PiecewiseLinear(value).fit([value, 1.0]),
            lambda: Categorical().fit(value),
            lambda: QuantileBins(2).fit([1.0, 2.0, value]),
        ),
    )
    oracle.call(call)
