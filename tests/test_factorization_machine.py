"""The scikit-learn estimators: scikit-learn's checks, our promises, and bad input."""

from __future__ import annotations

import copy
import pickle
import re
import subprocess
import sys
import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

sklearn = pytest.importorskip("sklearn", minversion="1.6", reason="scikit-learn 1.6 is not installed")
from scipy.special import expit  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.exceptions import ConvergenceWarning, NotFittedError  # noqa: E402
from sklearn.metrics import log_loss  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

import lightfm_fast  # noqa: E402
from lightfm_fast import FMClassifier, FMRegressor, LightFM, factorization_machine, persistence  # noqa: E402
from lightfm_fast.design import design_matrix  # noqa: E402

PACKAGE = Path(lightfm_fast.__file__).parent
BY_ROWS = "a row of weight 2 takes one step of twice the gradient, a row given twice takes two in an order of their own"
EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": BY_ROWS,
    "check_sample_weight_equivalence_on_sparse_data": BY_ROWS,
}
CASES = [
    FMClassifier(random_state=0),
    FMRegressor(random_state=0),
    FMClassifier(no_components=3, learning_schedule="adadelta", early_stopping=True, random_state=0),
    FMRegressor(no_components=3, learning_schedule="adadelta", early_stopping=True, random_state=0),
]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(CASES, expected_failed_checks=lambda estimator: EXPECTED_FAILURES)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def pairs():
    """X, values and classes; X has two fields of 8 and 6 categories, whose pair determines the value."""
    rng = np.random.RandomState(0)
    left, right = rng.randint(8, size=3000), rng.randint(6, size=3000)
    X = sp.hstack([sp.eye(8).tocsr()[left], sp.eye(6).tocsr()[right]]).tocsr()
    values = (rng.normal(size=(8, 2)) @ rng.normal(size=(2, 6)))[left, right]
    return X, values, np.where(values > 0, "yes", "no")


@pytest.fixture(scope="module")
def design():
    rng = np.random.RandomState(1)
    cells = rng.randint(20, size=400), rng.randint(15, size=400)
    interactions = sp.coo_matrix((rng.choice([0.0, 1.0], 400), cells), shape=(20, 15))
    tags = sp.random(15, 5, 0.4, "csr", random_state=rng)
    return design_matrix(interactions, item_features=tags, context={"day": (rng.randint(3, size=400), np.eye(3))})


MODELS = {FMClassifier: 2, FMRegressor: 1}


def target_of(estimator, pairs):
    return pairs[MODELS[estimator]]


@pytest.mark.parametrize("with_fields", [False, True])
def test_pairs_are_learned(pairs, with_fields):
    X, values, classes = pairs
    settings = {
        "fields": np.repeat(["left", "right"], [8, 6]) if with_fields else None,
        "epochs": 40,
        "alpha_v": 0.0,
        "random_state": 0,
    }
    assert FMRegressor(**settings).fit(X[:2000], values[:2000]).score(X[2000:], values[2000:]) > 0.97
    assert FMClassifier(**settings).fit(X[:2000], classes[:2000]).score(X[2000:], classes[2000:]) > 0.97


@pytest.mark.parametrize("estimator", MODELS)
def test_scores_are_the_formula_of_the_attributes(pairs, estimator):
    X, y = pairs[0] * 3.0, target_of(estimator, pairs)  # beyond 1: divided in training, but not in coef_
    if estimator is FMRegressor:
        y = 1000 + 50 * y
    fields = np.arange(14) % 3
    model = estimator(fields=fields, epochs=3, random_state=0).fit(X, y)
    r = model.field_weights_[np.ix_(fields, fields)]
    products = np.triu(model.embeddings_ @ model.embeddings_.T * r, 1)
    dense = X.toarray()
    expected = model.intercept_ + dense @ model.coef_ + np.einsum("np,pq,nq->n", dense, products, dense)
    scores = model.decision_function(X) if estimator is FMClassifier else model.predict(X)
    assert_allclose(scores, expected, rtol=1e-4, atol=1e-4)
    assert_array_equal(model.fields_, [0, 1, 2])


@pytest.mark.parametrize("estimator", MODELS)
@pytest.mark.parametrize("schedule", ["adagrad", "adadelta"])
def test_same_seed_gives_the_same_bits(pairs, estimator, schedule):
    X, y = pairs[0], target_of(estimator, pairs)
    first, second, other = (
        estimator(learning_schedule=schedule, epochs=2, random_state=seed).fit(X, y) for seed in (3, 3, 4)
    )
    assert_array_equal(first.embeddings_, second.embeddings_)
    assert first.history_[-1]["loss"] == second.history_[-1]["loss"]
    assert (first.embeddings_ != other.embeddings_).any()


@pytest.mark.parametrize("estimator", MODELS)
def test_dense_sparse_and_repeated_entries_are_the_same(pairs, estimator):
    X, y = pairs[0][:300], target_of(estimator, pairs)[:300]
    halves = sp.csr_matrix(
        (np.repeat(X.data / 2, 2), np.repeat(X.indices, 2), 2 * X.indptr), shape=X.shape
    )  # every entry as two halves
    before = halves.indices.copy()
    forms = [X, X.toarray(), X.tocsc(), sp.csr_array(X), halves, X.toarray().tolist()]
    models = [estimator(epochs=2, random_state=0).fit(form, y) for form in forms]
    for model, form in zip(models, forms, strict=True):
        assert_array_equal(model.embeddings_, models[0].embeddings_)
        assert_array_equal(model.predict(form), models[0].predict(X))
    assert_array_equal(halves.indices, before)


@pytest.mark.parametrize("estimator", MODELS)
def test_a_design_matrix_is_its_flat_matrix(design, estimator):
    settings = {"fields": design.fields, "epochs": 3, "random_state": 0}
    relational, flat = (estimator(**settings).fit(X, design.y) for X in (design, design.to_csr()))
    assert_allclose(relational.embeddings_, flat.embeddings_, rtol=1e-5, atol=1e-7)
    assert_allclose(relational.predict(design), flat.predict(design.to_csr()), rtol=1e-5)
    assert_allclose(relational.predict(design[5:9]), flat.predict(design)[5:9])


def test_scikit_learn_splits_a_design_matrix(design):
    scores = cross_val_score(FMClassifier(epochs=2), design, design.y, cv=3, scoring="neg_log_loss")
    assert len(scores) == 3
    assert np.isfinite(scores).all()
    search = GridSearchCV(FMRegressor(random_state=0), {"epochs": [1, 2]}, cv=2, error_score="raise")
    assert search.fit(design, design.y).best_estimator_.n_iter_ in (1, 2)


def test_threads_learn_as_well(pairs):
    X, values, _ = pairs
    model = FMRegressor(epochs=40, alpha_v=0.0, num_threads=2, random_state=0).fit(X, values)
    assert model.score(X, values) > 0.95
    assert_array_equal(model.predict(X), model.set_params(num_threads=1).predict(X))


@pytest.mark.parametrize("estimator", MODELS)
def test_weight_zero_is_as_if_the_row_were_not_there(pairs, estimator):
    X, y = pairs[0], target_of(estimator, pairs)
    weights = np.where(np.arange(X.shape[0]) < 1500, 1.0, 0.0)
    worse = y.copy()
    worse[1500:] = y[1500:][::-1]
    larger = sp.vstack([X[:1500], 1000 * X[1500:]]).tocsr()
    model, *others = (
        estimator(epochs=2, random_state=0).fit(*given, weights) for given in ((X, y), (X, worse), (larger, y))
    )
    for same in others:
        assert_array_equal(model.embeddings_, same.embeddings_)
    assert model.history_[0]["loss"] > 0


def test_rows_of_a_design_matrix_that_were_not_selected_scale_nothing():
    rng = np.random.RandomState(0)
    X = np.vstack([2 * rng.normal(size=(300, 3)), np.full(3, 1e6)])
    y = X[:300, 0] + X[:300, 1] * X[:300, 2]
    nobody = sp.coo_matrix((np.ones(301), (np.zeros(301, int), np.zeros(301, int))))
    part = design_matrix(nobody, context={"x": (np.arange(301), X)})[:300]
    for given in (part, part.to_csr()):
        assert FMRegressor(epochs=30, random_state=0).fit(given, y).score(given, y) > 0.9


def test_weights_shift_the_mean():
    X, y = np.zeros((100, 1)), np.repeat([0.0, 1.0], 50)
    weights = np.where(y == 1, 3.0, 1.0)
    assert FMRegressor(random_state=0).fit(X, y, weights).predict(X)[0] == pytest.approx(0.75, abs=0.06)
    proba = FMClassifier(random_state=0).fit(X, y, weights).predict_proba(X)[0, 1]
    assert proba == pytest.approx(0.75, abs=0.06)


@pytest.mark.parametrize("estimator", MODELS)
def test_units_do_not_matter(pairs, estimator):
    X, y = pairs[0].toarray()[:500] * np.array([1.0] * 13 + [256.0]), target_of(estimator, pairs)[:500]
    model = estimator(epochs=3, random_state=0).fit(X, y)
    scaled = estimator(epochs=3, random_state=0).fit(X * 4, y)
    alike = {0: 4.0, 13: 4.0}
    for column, factor in alike.items():
        assert_allclose(scaled.coef_[column] * factor, model.coef_[column], rtol=1e-5, atol=1e-8)
    if estimator is FMRegressor:
        assert_allclose(estimator(epochs=3, random_state=0).fit(X, 1e6 * y - 5).predict(X), 1e6 * model.predict(X) - 5)


@pytest.mark.parametrize("estimator", MODELS)
def test_early_stopping_keeps_the_best_epoch(pairs, estimator):
    X, y = pairs[0][:400], target_of(estimator, pairs)[:400]
    rng = np.random.RandomState(0)
    y = np.where(rng.rand(400) < 0.3, rng.permutation(y), y)  # noise, so that training goes on to overfit
    settings = {"learning_rate": 0.5, "alpha_v": 0.0, "alpha_w": 0.0, "random_state": 0, "n_iter_no_change": 4}
    model = estimator(epochs=200, early_stopping=True, **settings).fit(X, y)
    losses = [record["validation_loss"] for record in model.history_]
    assert model.best_epoch_ == 1 + int(np.argmin(losses))
    assert len(losses) == model.n_iter_ == model.best_epoch_ + 4
    stopped = estimator(epochs=model.best_epoch_, early_stopping=True, **settings).fit(X, y)
    assert_array_equal(stopped.embeddings_, model.embeddings_)
    assert_array_equal(stopped.predict(X), model.predict(X))


def test_validation_loss_is_that_of_the_held_out_rows(pairs):
    X, _, classes = pairs
    model = FMClassifier(epochs=1, early_stopping=True, validation_fraction=0.5, random_state=0).fit(X, classes)
    whole = log_loss(classes, model.predict_proba(X))
    assert model.history_[0]["validation_loss"] == pytest.approx(whole, rel=0.1)
    assert model.history_[0]["samples"] == 1500


@pytest.mark.parametrize("kind", [np.float16, Fraction])
def test_numbers_of_any_type_train_alike(kind):
    X, y = sp.random(70_000, 3, 0.5, format="csr", random_state=0), np.arange(70_000) % 2  # too many for half precision
    numbers = {"validation_fraction": 0.25, "init_scale": 0.5, "learning_rate": 0.125, "alpha_v": 0.25}
    models = [
        FMClassifier(2, epochs=1, early_stopping=True, random_state=0, **settings).fit(X, y)
        for settings in ({name: kind(number) for name, number in numbers.items()}, numbers)
    ]
    assert_array_equal(models[0].embeddings_, models[1].embeddings_)


def test_the_best_epoch_is_that_of_the_current_parameters(pairs):
    X, y = pairs[0], pairs[2]
    model = FMClassifier(epochs=2, early_stopping=True, random_state=0).fit(X, y)
    assert model.best_epoch_ in (1, 2)
    assert not hasattr(copy.deepcopy(model).partial_fit(X, y), "best_epoch_")
    for change in ({"early_stopping": False}, {"epochs": 0}, {"early_stopping": False, "warm_start": True}):
        assert not hasattr(copy.deepcopy(model).set_params(**change).fit(X, y), "best_epoch_")


def test_an_interruption_between_two_lines_of_an_epoch_leaves_one_number_of_epochs(pairs):
    """The record of an epoch, the number of epochs and the parameters belong together."""
    X, y = pairs[0], pairs[2]
    number, was_hit = 0, True
    while was_hit:
        model, was_hit = FMClassifier(no_components=2, epochs=1, random_state=0).fit(X, y), False
        once, n_left = model.embeddings_.copy(), number

        def trace(frame, event, argument):
            nonlocal n_left
            if frame.f_code.co_name != "_run_epoch":
                return None if frame.f_code.co_filename != factorization_machine.__file__ else trace
            n_left -= event == "line"
            if n_left < 0:
                sys.settrace(None)
                raise KeyboardInterrupt
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            model.partial_fit(X, y)
        except KeyboardInterrupt:
            was_hit = True
        finally:
            sys.settrace(before)
        assert model.n_iter_ == len(model.history_) == model.history_[-1]["epoch"], number
        assert (model.n_iter_ == 1) == np.array_equal(model.embeddings_, once), number
        number += 1
    assert number > 10


@pytest.mark.parametrize("estimator", MODELS)
def test_partial_fit_continues(pairs, estimator):
    X, y = pairs[0], target_of(estimator, pairs)
    model, whole = estimator(random_state=0), estimator(epochs=3, random_state=0).fit(X, y)
    for _ in range(3):
        model.partial_fit(X, y, **({"classes": ["no", "yes"]} if estimator is FMClassifier else {}))
    assert_array_equal(model.embeddings_, whole.embeddings_)
    assert model.n_iter_ == 3
    loaded = pickle.loads(pickle.dumps(model)).partial_fit(X, y)
    assert_array_equal(loaded.embeddings_, model.partial_fit(X, y).embeddings_)


def test_partial_fit_takes_a_batch_of_one_class(pairs):
    X, _, classes = pairs
    yes = classes == "yes"
    model = FMClassifier(random_state=0).partial_fit(X[yes], classes[yes], classes=["yes", "no"])
    assert model.classes_.tolist() == ["no", "yes"]
    before = model.decision_function(X).mean()
    assert model.partial_fit(X[~yes], classes[~yes]).decision_function(X).mean() < before


def test_partial_fit_refuses_other_classes(pairs):
    X, _, classes = pairs
    with pytest.raises(ValueError, match="give all classes at the first call"):
        FMClassifier().partial_fit(X, classes)
    model = FMClassifier().partial_fit(X, classes, classes=["yes", "no"])
    with pytest.raises(ValueError, match="y has classes other than"):
        model.partial_fit(X, np.where(classes == "yes", "maybe", "no"))
    with pytest.raises(ValueError, match="the first call of partial_fit had"):
        model.partial_fit(X, classes, classes=["no", "maybe"])
    with pytest.raises(ValueError, match="no_components or learning_schedule changed"):
        model.set_params(no_components=3).partial_fit(X, classes)
    assert model.n_iter_ == 1


def test_probabilities(pairs):
    X, _, classes = pairs
    model = FMClassifier(epochs=2, random_state=0).fit(X, classes)
    proba = model.predict_proba(X)
    assert proba.shape == (3000, 2)
    assert_allclose(proba.sum(axis=1), 1)
    assert_allclose(np.log(proba[:, 1] / proba[:, 0]), model.decision_function(X), rtol=1e-6, atol=1e-9)
    assert_array_equal(model.predict(X), model.classes_[(proba[:, 1] > 0.5).astype(int)])


@pytest.fixture(scope="module")
def three():
    """The rows of ``pairs`` with three classes."""
    rng = np.random.RandomState(4)
    left, right = rng.randint(8, size=3000), rng.randint(6, size=3000)
    X = sp.hstack([sp.eye(8).tocsr()[left], sp.eye(6).tocsr()[right]]).tocsr()
    return X, np.array(["a", "b", "c"])[rng.randint(3, size=(8, 6))[left, right]]


def test_more_than_two_classes(three):
    X, y = three
    model = FMClassifier(epochs=60, alpha_v=0.0, random_state=0).fit(X[:2000], y[:2000])
    assert model.score(X[2000:], y[2000:]) > 0.97
    proba, scores = model.predict_proba(X), model.decision_function(X)
    assert proba.shape == scores.shape == (3000, 3)
    assert_allclose(proba.sum(axis=1), 1)
    assert_array_equal(model.predict(X), model.classes_[scores.argmax(axis=1)])
    assert_allclose(proba / proba[:, :1], expit(scores) / expit(scores[:, :1]), rtol=1e-6)
    dense = X[:50].toarray()
    for number in range(3):
        products = np.triu(model.embeddings_[number] @ model.embeddings_[number].T, 1)
        expected = (
            model.intercept_[number] + dense @ model.coef_[number] + np.einsum("np,pq,nq->n", dense, products, dense)
        )
        assert_allclose(scores[:50, number], expected, rtol=1e-4, atol=1e-4)


def test_each_class_is_told_from_the_rest_by_a_machine_of_its_own(three):
    X, y = three
    many = FMClassifier(epochs=3, random_state=0).fit(X, y)
    one = FMClassifier(epochs=3, random_state=0).fit(X, y != "a")  # the first machine draws the same numbers
    assert_allclose(many.decision_function(X)[:, 0], -one.decision_function(X), rtol=0.2, atol=0.05)
    assert many.history_[-1]["loss"] < 0.6


def test_logarithms_of_probabilities_of_certain_rows(pairs, three):
    for X, y in ((pairs[0], pairs[2]), three):
        model = FMClassifier(epochs=2, random_state=0).fit(X, y)
        assert_allclose(np.exp(model.predict_log_proba(X)), model.predict_proba(X), rtol=1e-12)
        far = model.predict_log_proba(1000 * X[:20])
        assert np.isfinite(far).all()
        assert far.min() < -50


@pytest.mark.parametrize("of", ["two", "three"])
def test_class_weight_is_a_weight_of_each_sample(pairs, three, of):
    X, y = (pairs[0], pairs[2]) if of == "two" else three
    classes = np.unique(y)
    given = {label: 1.0 + 2 * number for number, label in enumerate(classes.tolist())}
    settings = {"epochs": 2, "random_state": 0}
    by_class = FMClassifier(class_weight=given, **settings).fit(X, y)
    by_sample = FMClassifier(**settings).fit(X, y, np.array([given[label] for label in y]))
    assert_array_equal(by_class.embeddings_, by_sample.embeddings_)
    rare = np.flatnonzero((y != classes[0]) | (np.arange(len(y)) % 10 == 0))
    plain, balanced = (FMClassifier(class_weight=w, **settings).fit(X[rare], y[rare]) for w in (None, "balanced"))
    assert (balanced.predict(X) == classes[0]).mean() > (plain.predict(X) == classes[0]).mean()


@pytest.mark.parametrize(
    ("class_weight", "message"),
    [
        ("even", "class_weight is 'even', expected None, 'balanced' or a dict"),
        ({"yes": -1.0}, "class_weight['yes'] is -1.0"),
        ({"yes": np.nan}, "class_weight['yes'] is nan"),
        ({"maybe": 1.0}, "class_weight has 'maybe', which is none of ['no', 'yes']"),
        ({"yes": 0.0, "no": 0.0}, "is 0 for every sample"),
        ([1.0, 2.0], "class_weight is [1.0, 2.0]"),
        (np.array([1.0, 2.0]), "class_weight is array([1., 2.])"),
    ],
)
def test_odd_class_weights_are_refused(pairs, class_weight, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        FMClassifier(class_weight=class_weight).fit(pairs[0], pairs[2])


def test_classes_without_an_order_are_refused(pairs):
    X, _, y = pairs
    mixed = np.array(y, dtype=object)
    mixed[1] = None  # scikit-learn looks at the first only
    with pytest.raises(TypeError, match="y holds classes that have no order, expected all text or all numbers"):
        FMClassifier().fit(X, mixed)


def test_balanced_weights_need_the_whole_y(pairs):
    with pytest.raises(ValueError, match="class_weight is 'balanced', which needs the whole y"):
        FMClassifier(class_weight="balanced").partial_fit(pairs[0], pairs[2], classes=["no", "yes"])


@pytest.mark.parametrize("estimator", MODELS)
@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_warm_start_goes_on(pairs, estimator, early_stopping):
    X, y = pairs[0], target_of(estimator, pairs)
    settings = {"random_state": 0, "early_stopping": early_stopping, "n_iter_no_change": 50}
    whole = estimator(epochs=4, **settings).fit(X, y)
    model = estimator(epochs=2, warm_start=True, **settings).fit(X, y)
    first = model.embeddings_.copy()
    kept = copy.deepcopy(model)
    assert model.fit(X, y).n_iter_ == 4
    assert [record["epoch"] for record in model.history_] == [1, 2, 3, 4]
    assert_array_equal(model.embeddings_, whole.embeddings_)
    assert_array_equal(kept.embeddings_, first)
    assert estimator(epochs=2, **settings).fit(X, y).fit(X, y).n_iter_ == 2


def test_a_warm_start_refuses_what_changed_and_stays(three):
    X, y = three
    model = FMClassifier(epochs=1, warm_start=True, random_state=0).fit(X, y)
    before = model.predict_proba(X)
    for change in ({"no_components": 3}, {"learning_schedule": "adadelta"}, {"fields": np.arange(14)}):
        with pytest.raises(ValueError, match="changed since training began"):
            copy.deepcopy(model).set_params(**change).fit(X, y)
    with pytest.raises(ValueError, match="y has classes other than"):
        model.fit(X, np.where(y == "a", "d", y))
    with pytest.raises(ValueError, match="13 features"):
        model.fit(X[:, :13], y)
    with pytest.raises(ValueError, match="diverged in epoch 2"):
        model.set_params(alpha_v=1e35, epochs=5).fit(X, y)
    assert_array_equal(model.predict_proba(X), before)
    assert model.n_iter_ == len(model.history_) == 1


def test_masked_values_are_refused(three):
    """scikit-learn's checks go on with what the mask hides."""
    X, y = np.asarray(three[0].todense() if sp.issparse(three[0]) else three[0]), three[1]
    hidden = np.arange(len(y)) == 1
    for given in (
        {"X": np.ma.masked_array(X, np.repeat(hidden[:, None], X.shape[1], axis=1))},
        {"y": np.ma.masked_array(y, hidden)},
        {"sample_weight": np.ma.masked_array(np.ones(len(y)), hidden)},
    ):
        with pytest.raises(ValueError, match=f"^{next(iter(given))} has [0-9]+ masked value"):
            FMClassifier(epochs=1).fit(**{"X": X, "y": y, **given})
    with pytest.raises(ValueError, match="^X has"):
        FMClassifier(epochs=1).fit(X, y).predict(np.ma.masked_array(X, X > 0))
    with pytest.raises(ValueError, match="sample_weight holds values too large"):
        FMClassifier(epochs=1).fit(X, y, sample_weight=10**400)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"no_components": "many"}, "^no_components is 'many'"),
        ({"no_components": 3}, "no_components or learning_schedule changed since"),
        ({"learning_schedule": "adadelta"}, "no_components or learning_schedule changed since"),
        ({"fields": np.arange(14) % 3}, "fields changed since"),
        ({"class_weight": {"z": 2.0}}, "class_weight has 'z', which is none of"),
        ({"random_state": "today"}, "'today' cannot be used to seed"),
    ],
)
def test_a_machine_that_could_not_be_loaded_is_not_saved(three, tmp_path, parameters, message):
    model = FMClassifier(epochs=1).fit(*three).set_params(**parameters)
    with pytest.raises(ValueError, match=message):
        model.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "classes", [["no", np.nan], [0, 1, np.nan], [0, 1, np.inf], np.ma.masked_equal([0, 1, 2], 2), [1]]
)
def test_classes_that_no_row_can_have_are_refused(pairs, classes):
    model = FMClassifier()
    with pytest.raises(ValueError, match="^classes (is|has)|y has classes other than"):
        model.partial_fit(pairs[0], pairs[2] == "yes", classes=classes)
    assert not hasattr(model, "classes_")


def test_labels_of_fields_that_equal_nothing_are_refused(pairs):
    n_features = pairs[0].shape[1]
    with pytest.raises(ValueError, match="fields has labels that are NaN"):
        FMClassifier(fields=np.full(n_features, np.nan)).fit(pairs[0], pairs[2])


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("unit", [1e-300, 1e-160, 1e-30, 1.0, 1e29])
def test_targets_of_any_unit_are_learned(pairs, unit):
    X, values = pairs[0], target_of(FMRegressor, pairs)
    usual, model = (FMRegressor(epochs=3, random_state=0).fit(X, values * scale) for scale in (1.0, unit))
    assert_allclose(model.predict(X) / unit, usual.predict(X), rtol=1e-3, atol=1e-3 * np.abs(values).max())


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("value", [0.1, 1e-30, 1e30 / 3])
def test_equal_targets_set_no_unit(pairs, value):
    """Their mean may differ from them by rounding, which is no deviation."""
    X, n_rows = pairs[0], pairs[0].shape[0]
    model = FMRegressor(epochs=1, random_state=0).fit(X, np.full(n_rows, value))
    assert_allclose(model.predict(X), value, rtol=1e-3)
    model.partial_fit(X, value * (1 + np.arange(n_rows) % 2))
    assert np.isfinite(model.predict(X)).all()


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_target_of_weight_zero_may_have_any_size(pairs):
    X, n_rows = pairs[0], pairs[0].shape[0]
    values, weights = 1e-20 * np.arange(1.0, n_rows + 1), np.ones(n_rows)
    values[0], weights[0] = 1e30, 0
    assert np.isfinite(FMRegressor(epochs=2).fit(X, values, weights).predict(X)).all()


def test_fitted_labels_of_fields_that_were_replaced_are_refused(three):
    X, y = three
    model = FMClassifier(fields=np.arange(14) % 3, epochs=1, random_state=0).fit(X, y)
    for labels in (np.array([0]), None, "ab"):
        model.fields_ = labels
        with pytest.raises(ValueError, match="fields_ is .* leave it to fit"):
            model.partial_fit(X, y)


# ---------------------------------------------------------------------------------------- any scaled data trains

RNG = np.random.RandomState(0)
WIDE = sp.csr_matrix((RNG.rand(1500, 3600) < 0.1).astype(float))  # 360 entries a row
KINDS = {f"{n} columns": RNG.normal(size=(500, n)) for n in (10, 100, 300, 1000)} | {
    "360 entries": WIDE,
    "uniform": RNG.rand(1000, 100),
    "thousands": sp.hstack([sp.eye(20).tocsr()[RNG.randint(20, size=1000)], 1000 * RNG.normal(size=(1000, 3))]).tocsr(),
}


@pytest.mark.filterwarnings("error::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("schedule", ["adagrad", "adadelta"])
@pytest.mark.parametrize("weight", [1.0, 100.0])
@pytest.mark.parametrize("kind", KINDS)
def test_data_of_any_width_and_weight_trains_at_the_defaults(kind, weight, schedule):
    X = KINDS[kind]
    value = np.asarray(X[:, [0, 1]].sum(axis=1)).ravel()
    weights, settings = np.full(len(value), weight), {"random_state": 0, "learning_schedule": schedule}
    regressor = FMRegressor(**settings).fit(X, value, weights)
    classes = value > np.median(value)
    classifier = FMClassifier(**settings).fit(X, classes, weights)
    assert regressor.score(X, value) > (0.9 if schedule == "adagrad" else 0.5)
    assert log_loss(classes, classifier.predict_proba(X)) < 0.69
    for model in (regressor, classifier):
        assert max(record["loss"] for record in model.history_) < 5


@pytest.mark.filterwarnings("error::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("estimator", MODELS)
def test_weighted_rows_learn_like_repeated_ones(estimator):
    """Repeats scikit-learn's excused check: the two fits differ in the order of their steps, and neither diverges."""
    rng = np.random.RandomState(42)
    X, y, weights = rng.rand(15, 30), rng.randint(0, 3, size=15) > 0, rng.randint(1, 5, size=15)
    weighted = estimator(random_state=0).fit(X, y, weights)
    repeated = estimator(random_state=0).fit(np.repeat(X, weights, axis=0), np.repeat(y, weights))
    scores = [
        model.predict_proba(X)[:, 1] if estimator is FMClassifier else model.predict(X)
        for model in (weighted, repeated)
    ]
    assert np.abs(scores[0] - scores[1]).mean() < 0.2
    for model in (weighted, repeated):
        assert max(record["loss"] for record in model.history_) < 1.5


@pytest.mark.parametrize("estimator", MODELS)
def test_a_loss_far_above_its_start_is_told(pairs, estimator):
    X, y = pairs[0], target_of(estimator, pairs)
    model = estimator(init_scale=10.0, learning_rate=0.0, epochs=1, random_state=0)
    with pytest.warns(ConvergenceWarning, match=r"the loss of epoch 1 is .* but the loss of a constant is"):
        model.fit(X, y)
    with pytest.warns(ConvergenceWarning, match="the loss of epoch 2"):
        model.partial_fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ConvergenceWarning):
            model.fit(X, y)
    assert model.n_iter_ == len(model.history_) == 1  # the fit has ended when it warns


def test_values_beyond_what_was_fitted_have_no_score(pairs):
    X, values, _ = pairs
    model = FMRegressor(epochs=5, random_state=0).fit(X, values)
    with pytest.raises(ValueError, match="row 1 of X has no finite score"):
        model.predict(sp.vstack([X[0], X[1] * 1e38]))


# ------------------------------------------------------------------------------------------------ models on disk


def fitted(pairs, three):
    """Machines of every kind, by name: each with the X and y that it was fitted to."""
    X, values, classes = pairs
    table = pytest.importorskip("pandas").DataFrame(X.toarray(), columns=[f"f{i}" for i in range(14)])
    fields = np.repeat(["left", "right"], [8, 6])
    few = {"epochs": 2, "random_state": 1}
    return {
        "two classes": (FMClassifier(**few), X, classes),
        "three classes": (FMClassifier(class_weight={"a": 2.0, "b": 1.0, "c": 0.5}, **few), *three),
        "numbers as classes": (FMClassifier(**few), X, (classes == "yes").astype(np.int8) + 3),
        "objects as classes": (FMClassifier(**few), X, (classes == "yes").astype(object).astype(str).astype(object)),
        "fields": (FMClassifier(fields=fields, **few), X * 7, classes),
        "values": (FMRegressor(no_components=33, learning_schedule="adadelta", **few), X * 3, 1000 + 5 * values),
        "fields and values": (FMRegressor(fields=fields, learning_schedule="adadelta", **few), X, values),
        "names": (FMRegressor(early_stopping=True, **few), table, values),
        "a random state": (FMRegressor(epochs=2, random_state=np.random.RandomState(3)), X, values),
        "a generator": (FMRegressor(epochs=2, random_state=np.random.default_rng(3)), X, values),
    }


NAMES = (
    "two classes",
    "three classes",
    "numbers as classes",
    "objects as classes",
    "fields",
    "values",
    "fields and values",
    "names",
    "a random state",
    "a generator",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_loaded_machine_is_the_saved_one(pairs, three, tmp_path, name):
    model, X, y = fitted(pairs, three)[name]
    model.fit(X, y).save(tmp_path / "model")
    for load in (lightfm_fast.load, type(model).load):
        loaded = load(tmp_path / "model")
        assert type(loaded) is type(model)
        assert_array_equal(loaded.predict(X), model.predict(X))
        assert loaded.history_ == model.history_
        for attribute in ("embeddings_", "coef_", "intercept_", "classes_", "fields_", "field_weights_"):
            if hasattr(model, attribute):
                found, wanted = np.asarray(getattr(loaded, attribute)), np.asarray(getattr(model, attribute))
                assert_array_equal(found, wanted)
                assert found.dtype == wanted.dtype
        for parameter, value in model.get_params().items():
            if parameter != "random_state" or name not in ("a random state", "a generator"):
                assert_array_equal(loaded.get_params()[parameter], value)
    trained = [other.partial_fit(X, y) for other in (model, loaded)]
    assert_array_equal(trained[0].embeddings_, trained[1].embeddings_)
    assert getattr(loaded, "feature_names_in_", np.empty(0)).tolist() == list(getattr(X, "columns", []))


def test_files_of_another_kind_are_refused(pairs, tmp_path):
    X, values, classes = pairs
    path = tmp_path / "model"
    FMRegressor(epochs=1).fit(X, values).save(path)
    with pytest.raises(ValueError, match="holds no FMClassifier: it is a model of FMRegressor"):
        FMClassifier.load(path)
    with pytest.raises(ValueError, match="holds no LightFM model: it is a model of FMRegressor"):
        LightFM.load(path)
    with pytest.raises(ValueError, match="leave mmap and verify out"):
        lightfm_fast.load(path, mmap=True)
    LightFM().fit(np.eye(3)).save(path)
    with pytest.raises(ValueError, match="it is a model of LightFM"):
        FMClassifier.load(path)
    with pytest.raises(NotFittedError):
        FMClassifier().save(path)
    assert isinstance(lightfm_fast.load(path), LightFM)
    dates = np.where(classes == "yes", np.datetime64("2020-01-01"), np.datetime64("2021-01-01"))
    with pytest.raises(ValueError, match="cannot be saved"):
        FMClassifier(epochs=1).fit(X, dates).save(path)
    assert isinstance(lightfm_fast.load(path), LightFM)


FORGED = {
    "seeds": ({"seeds": [-1]}, {}),
    "too few seeds": ({"seeds": []}, {}),
    "starts": ({"starts": [float("inf")]}, {}),
    "n_machines": ({"n_machines": 10**9}, {}),
    "n_fields": ({"n_fields": 4000}, {}),
    "n_iter": ({"n_iter": -1}, {}),
    "history": ({"history": [{}]}, {}),
    "best_epoch": ({"best_epoch": "1"}, {}),
    "labels": ({"labels": {"classes_": ["str", "U1000000000"], "fields_": ["str", "str"]}}, {}),
    "no labels": ({"labels": {}}, {}),
    "parameters": ({"parameters": {"learning_rate": -1}}, {}),
    "unknown parameters": ({"parameters": {"x": 1}}, {}),
    "components": ({"parameters": {"no_components": 1 << 19}}, {}),
    "NaN": ({}, {"0.embeddings": lambda a: np.full_like(a, np.nan)}),
    "another shape": ({}, {"0.biases": lambda a: a[:3]}),
    "accumulators": ({}, {"0.embedding_gradients": lambda a: -a}),
    "shared": ({}, {"0.shared": lambda a: a[:1]}),
    "shared accumulators": ({}, {"0.shared": lambda a: -np.abs(a)}),
    "divisors": ({}, {"divisors": lambda a: 0 * a}),
    "fields of features": ({}, {"field_of": lambda a: a + 5}),
    "negative fields": ({}, {"field_of": lambda a: a - 1}),
    "fewer fields of features": ({}, {"field_of": lambda a: a[:2]}),
}


@pytest.mark.parametrize("case", FORGED)
def test_values_of_a_file_are_judged_when_it_is_loaded(pairs, three, tmp_path, case):
    """Forged files that are complete and have the right digest."""
    model, X, y = fitted(pairs, three)["fields"]
    model.fit(X, y).save(tmp_path / "model")
    contents = persistence.read(tmp_path / "model", mmap=False)
    document, tensors = FORGED[case]
    assert document.keys() <= contents.document.keys()
    changed = {name: np.array(change(contents.tensors[name])) for name, change in tensors.items()}
    persistence.write(tmp_path / "forged", contents.document | document, contents.tensors | changed)
    with pytest.raises(ValueError, match=r"forged holds (no|a malformed) FMClassifier"):
        lightfm_fast.load(tmp_path / "forged")


def test_pipelines_and_clones(pairs):
    X, values, _ = pairs
    model = make_pipeline(StandardScaler(with_mean=False), FMRegressor(epochs=3, random_state=0)).fit(X, values)
    assert np.isfinite(model.predict(X)).all()
    given = FMRegressor(7, fields=[0] * 14, learning_rate=0.3, alpha_w=1e-3, alpha_v=1e-2, random_state=5)
    assert clone(given).get_params() == given.get_params()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"no_components": 0}, "no_components is 0"),
        ({"learning_schedule": "adam"}, "learning_schedule is 'adam'"),
        ({"learning_rate": -1}, "learning_rate is -1"),
        ({"alpha_w": np.nan}, "alpha_w is nan"),
        ({"alpha_v": "x"}, "alpha_v is 'x'"),
        ({"init_scale": -0.1}, "init_scale is -0.1"),
        ({"validation_fraction": 1.0}, "validation_fraction is 1.0"),
        ({"n_iter_no_change": 0}, "n_iter_no_change is 0"),
        ({"epochs": -1}, "epochs is -1"),
        ({"num_threads": 0}, "num_threads is 0"),
        ({"fields": [0, 1]}, "fields has shape (2,) but X has 14 features"),
    ],
)
def test_bad_parameters_are_refused_and_change_nothing(pairs, parameters, message):
    X, values, _ = pairs
    model = FMRegressor(epochs=1, random_state=0).fit(X, values)
    before, predicted = model.__dict__.keys(), model.predict(X)
    with pytest.raises(ValueError, match=re.escape(message)):
        model.set_params(**parameters).fit(X, values + 1)
    model.set_params(**{name: getattr(FMRegressor(), name) for name in parameters})
    assert model.__dict__.keys() == before
    assert_array_equal(model.predict(X), predicted)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": np.full((4, 2), np.nan)}, "NaN"),
        ({"X": np.full((4, 2), 1e300)}, "too large for dtype"),
        ({"X": np.ones((3, 2))}, "inconsistent numbers of samples"),
        ({"y": np.array([0, 1, np.inf, 1])}, "infinity"),
        ({"y": np.ones(4)}, "class"),
        ({"sample_weight": [1, 1, 1, -1]}, "Negative values"),
        ({"sample_weight": [1, 1]}, "sample_weight.shape"),
    ],
)
def test_bad_input_is_refused_and_changes_nothing(change, message):
    model = FMClassifier()
    given = {"X": np.eye(4)[:, :2], "y": np.array([0, 1, 0, 1]), **change}
    with pytest.raises(ValueError, match=message):
        model.fit(**given)
    assert model.__dict__ == FMClassifier().__dict__


def test_bad_designs_are_refused(design):
    model = FMRegressor(epochs=1).fit(design, design.y)
    other = design_matrix(sp.identity(3).tocoo())
    with pytest.raises(ValueError, match="X has 6 features, but FMRegressor is expecting 43"):
        model.predict(other)
    with pytest.raises(ValueError, match="400 rows and y has 3"):
        model.fit(design, other.y)
    with pytest.raises(ValueError, match=re.escape("fit(design, design.y)")):
        model.fit(design, None)
    with pytest.raises(ValueError, match="X has 0 rows"):
        model.fit(design[:0], [])
    assert model.predict(design[:0]).shape == (0,)


def test_divergence_is_told_and_the_model_stays_as_it_was(pairs):
    X, values, _ = pairs
    diverging = {"alpha_v": 1e35, "learning_rate": 1e6, "init_scale": 10.0}
    for model in (FMRegressor(), FMRegressor(epochs=2).fit(X, values)):
        learned = {name: value for name, value in vars(model).items() if name.endswith("_")}
        scores = model.predict(X) if learned else None
        with pytest.raises(ValueError, match=r"training diverged in epoch 1: .*learning_rate \(now 1000000"):
            model.set_params(**diverging).fit(X, values)
        assert {name: value for name, value in vars(model).items() if name.endswith("_")} == learned
        if learned:
            assert_array_equal(model.predict(X), scores)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_one_call_at_a_time_trains(pairs, method):
    """The second call comes while the first reads its input."""
    X, values, _ = pairs
    model = FMRegressor(epochs=1).fit(X, values)
    refused = []

    class Input:
        def __array__(self, dtype=None, copy=None):
            with pytest.raises(RuntimeError, match="being trained already"):
                getattr(model, method)(X[:5], values[:5])
            refused.append(model.predict(X[:2]))  # predicting is allowed
            return np.asarray(values, dtype=dtype)

    model.fit(X, Input())
    assert len(refused) > 0
    getattr(copy.deepcopy(model), method)(X, values)


def test_a_lack_of_memory_in_an_epoch_leaves_the_model_as_it_was(pairs, monkeypatch):
    X, values, _ = pairs
    model = FMRegressor(epochs=1, random_state=0).fit(X, values)
    scores, fit_epoch = model.predict(X), lightfm_fast._core.machine.fit_epoch

    def fail(*arguments):
        fit_epoch(*arguments)
        raise MemoryError

    monkeypatch.setattr(lightfm_fast._core.machine, "fit_epoch", fail)
    for train in (model.fit, model.partial_fit):
        with pytest.raises(MemoryError):
            train(X, values)
        assert_array_equal(model.predict(X), scores)


def test_predictions_need_no_parameters_of_training(pairs):
    X, values, _ = pairs
    model = FMRegressor(epochs=1).fit(X, values)
    scores = model.predict(X)
    assert_array_equal(model.set_params(alpha_w=[], alpha_v="a").predict(X), scores)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # of a target far from all others
@pytest.mark.parametrize("largest", [1e31, 1e300])
def test_targets_out_of_range_are_refused(pairs, largest):
    X, values, _ = pairs
    with pytest.raises(ValueError, match=r"y holds values up to 1e\+\d+, expected at most 1e\+30"):
        FMRegressor().fit(X, np.append(values[1:], largest))
    model = FMRegressor(epochs=2).fit(X, np.append(values[1:], 1e30))
    assert np.isfinite(model.embeddings_).all()
    assert np.isfinite(model.coef_).all()


def test_nothing_is_there_before_fitting():
    with pytest.raises(NotFittedError):
        FMClassifier().predict_proba([[1.0]])
    with pytest.raises(AttributeError):
        FMRegressor().embeddings_.shape  # noqa: B018
    with pytest.raises(AttributeError, match="only if the model was fitted with fields"):
        FMRegressor().fit([[0.0], [1.0]], [0, 1]).field_weights_.shape  # noqa: B018


def test_without_scikit_learn_the_extra_is_named():
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "from lightfm_fast import *\n"
        "import lightfm_fast\n"
        "assert 'FMClassifier' in dir(lightfm_fast)\n"
        "try: lightfm_fast.FMClassifier\n"
        "except ImportError as error: assert \"pip install 'lightfm_fast[sklearn]'\" in str(error)\n"
        "else: sys.exit('imported')\n"
        "try: lightfm_fast.FMNothing\n"
        "except AttributeError: pass\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=PACKAGE.parent).returncode == 0


@pytest.mark.parametrize(("n_classes", "assigned"), [(2, [0, 1, 2]), (3, [0, 1]), (3, [0, 1, 2, 3])])
def test_classes_that_were_not_trained_on_are_refused(n_classes, assigned):
    X, y = np.eye(6), np.arange(6) % n_classes
    model = FMClassifier(epochs=1, random_state=0).fit(X, y)
    model.classes_ = np.array(assigned)
    for ask in (lambda: model.predict(X), lambda: model.partial_fit(X, y)):
        with pytest.raises(ValueError, match="classes_ is .* not as many as were trained on"):
            ask()
    model.classes_ = np.arange(n_classes)
    assert model.partial_fit(X, y).n_iter_ == 2
