"""The search finds settings that suit a task, and never gives up the preset for chance."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from lightfm_fast import LightFM, _arguments, _training
from lightfm_fast._cold_start import WAYS
from lightfm_fast._hyperparameters import DOMAINS, PRESETS
from lightfm_fast.callbacks import Callback
from lightfm_fast.cross_validation import Entries
from lightfm_fast.datasets import fetch_movielens
from lightfm_fast.evaluation import evaluate
from lightfm_fast.tuning import TASKS, parse_budget, tune
from lightfm_fast.tuning.budget import Budget
from lightfm_fast.tuning.progress import Progress
from lightfm_fast.tuning.result import compare
from lightfm_fast.tuning.search import Search, Trial, checkpoints, make_study
from lightfm_fast.tuning.space import COLD_STARTS, STARTS, check_space, is_whole_number, place, starts
from lightfm_fast.tuning.validation import HELD_OUT, Measure, hold_out, jackknifed, strata

optuna = pytest.importorskip("optuna", reason="Optuna is not installed")

N_USERS, N_ITEMS = 80, 40
QUICK = {"budget": "3trials", "space": {"no_components": 4}, "max_epochs": 4, "random_state": 0, "num_threads": 1}
MEASURE = Measure("ndcg", 10, 1)
# The item's group in the data below, and tags drawn at random.
TAGS = np.column_stack(
    [np.arange(N_ITEMS)[:, None] % 2 == np.arange(2), np.random.RandomState(0).rand(N_ITEMS, 6) < 0.3]
)


@pytest.fixture(scope="module")
def data():
    """Two groups of users, each with its own items; features of items tell the group."""
    rng = np.random.RandomState(0)
    likes = np.equal.outer(np.arange(N_USERS) % 2, np.arange(N_ITEMS) % 2) & (rng.rand(N_USERS, N_ITEMS) < 0.5)
    interactions = sp.coo_matrix(likes.astype(np.float32))
    groups = np.eye(2, dtype=np.float32)
    return {
        "interactions": interactions,
        "item_features": sp.hstack([sp.eye(N_ITEMS), groups[np.arange(N_ITEMS) % 2]]).tocsr(),
        "user_features": sp.hstack([sp.eye(N_USERS), groups[np.arange(N_USERS) % 2]]).tocsr(),
        "timestamps": rng.permutation(interactions.nnz),
    }


@pytest.fixture
def no_training(monkeypatch):
    """Fail if anything is trained."""

    def refuse(*_, **__):
        pytest.fail("training has started")

    monkeypatch.setattr(LightFM, "fit_partial", refuse)


# ---------------------------------------------------------------------------------------------------------- budgets


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (90, (90.0, None)),
        (0.5, (0.5, None)),
        ("90s", (90.0, None)),
        ("10min", (600.0, None)),
        (" 1.5 h ", (5400.0, None)),
        ("30trials", (None, 30)),
        ("1 trial", (None, 1)),
    ],
)
def test_budgets(given, expected):
    assert parse_budget(given) == Budget(*expected)


@pytest.mark.parametrize("given", ["10", "ten min", "-3s", "0s", "0trials", "2.5trials", "", 0, -1, np.nan, np.inf])
def test_refused_budgets(given):
    with pytest.raises(ValueError, match="budget"):
        parse_budget(given)


@pytest.mark.parametrize("given", [None, True, [60]])
def test_budgets_of_other_types(given):
    with pytest.raises(TypeError, match="budget"):
        parse_budget(given)


# ------------------------------------------------------------------------------------------------------------ space


@pytest.mark.parametrize("start", STARTS)
def test_starts_lie_in_the_space(start):
    space = check_space(
        None, has_dislikes=True, has_features=True, has_own_columns=True, cold_starts=COLD_STARTS["new items"]
    )
    loss = start["loss"]
    fixed = {name: value for name, value in space[loss].items() if not isinstance(value, (tuple, list))}
    searched = {"identity_dropout": 0.0, "cold_start": "features", **start}
    point = place(LightFM(**{**fixed, **searched}).get_params(), space)
    assert point in starts(space)
    assert point == {"loss": loss} | {f"{loss}.{name}": searched[name] for name in space[loss] if name not in fixed}


def test_what_lies_outside_has_no_place():
    space = check_space({"learning_rate": (0.1, 0.2)}, has_dislikes=False, has_features=False, has_own_columns=False)
    inside = {
        **LightFM(64, loss="warp", item_alpha=0.1, user_alpha=0.1, average=True, linear_components="auto").get_params(),
        "learning_rate": 0.15,
    }
    assert place(inside, space)
    for change in ({"learning_rate": 0.3}, {"loss": "logistic"}, {"no_components": 32}, {"item_alpha": "auto"}):
        assert place({**inside, **change}, space) is None


def test_starts_leave_to_optuna_what_the_space_leaves_out():
    space = check_space({"loss": ["warp"], "item_alpha": 0.5, "user_alpha": (2.0, 3.0)}, False, False, False)
    assert starts(space) == [{"loss": "warp", "warp.learning_rate": 0.05, "warp.max_sampled": 10}]


def test_whole_numbers():
    assert [name for name in DOMAINS if is_whole_number(name)] == [
        "no_components",
        "k",
        "n",
        "max_sampled",
        "n_negatives",
        "linear_components",
        "n_iter_no_change",
    ]


def test_what_the_caller_gives_replaces_the_space():
    given = {"loss": ["bpr", "warp"], "no_components": (8, 16), "max_sampled": 7, "learning_rate": [0.1, 0.2]}
    space = check_space(given, has_dislikes=False, has_features=False, has_own_columns=False)
    assert list(space) == ["bpr", "warp"]
    assert space["warp"]["max_sampled"] == 7
    assert "max_sampled" not in space["bpr"]
    assert {values["learning_rate"][1] for values in space.values()} == {0.2}
    assert space["bpr"]["no_components"] == (8, 16)
    assert "identity_dropout" not in space["bpr"]


def test_logistic_is_searched_where_there_are_dislikes():
    assert "logistic" in check_space(None, True, False, False)
    assert "logistic" not in check_space(None, False, False, False)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"learning_rat": 1}, "no argument of LightFM"),
        ({"random_state": 1}, "random_state"),
        ({"learning_rate": (0.2, 0.1)}, r"\(least, largest\)"),
        ({"learning_rate": (0.1, 0.2, 0.3)}, r"\(least, largest\)"),
        ({"learning_rate": []}, "empty"),
        ({"learning_rate": -1}, "learning_rate"),
        ({"learning_rate": (-1, 1)}, "learning_rate"),
        ({"temperature": [0.1, "a"]}, "temperature"),
        ({"loss": "hinge"}, "hinge"),
        ({"loss": ["warp-kos"]}, "warp-kos"),
        ({"negatives": (1, 2)}, "negatives"),
        ({"interactions": "all"}, "cosine"),
        ({"cold_start": ["features", "content"]}, "softmax"),
        ({"item_alpha": ["auto", 0.1]}, "warp"),
        ({"linear_components": (2, 20)}, r"softmax.* Or search other losses by space=.*'warp', 'logistic'\]"),
        ({"loss": "bpr", "linear_components": 5000}, "from 0 to 4,096, or 'auto'$"),
    ],
)
def test_refused_spaces(data, no_training, space, message):
    with pytest.raises(ValueError, match=message):
        tune(data["interactions"], space=space)


# ------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"task": "cold"}, "task"),
        ({"metric": "novelty"}, "metric"),
        ({"k": 0}, "k is"),
        ({"budget": "soon"}, "budget"),
        ({"max_epochs": 0}, "max_epochs"),
        ({"validation_fraction": 1.0}, "validation_fraction"),
        ({"num_threads": 0}, "num_threads"),
        ({"task": "new items"}, "item_features"),
        ({"task": "new items", "item_features": sp.eye(N_ITEMS)}, "columns of single items"),
        ({"task": "new items", "item_features": np.zeros((N_ITEMS, 2))}, "zeros or columns of single items"),
        ({"task": "new items", "item_features": TAGS, "interactions": -np.ones((9, N_ITEMS))}, "items .* at least 4"),
        ({"task": "next in time", "interactions": np.ones((9, 9)), "timestamps": np.ones(81)}, "finer timestamps"),
        ({"task": "next in time"}, "timestamps"),
        ({"task": "next in time", "timestamps": [1, 2]}, "timestamps"),
        ({"item_features": sp.eye(3)}, "item_features"),
        ({"interactions": sp.coo_matrix(np.eye(3))}, "at least 4"),
        ({"interactions": sp.coo_matrix(np.full((9, 9), np.nan))}, "NaN"),
        (
            {"interactions": np.ones((5, 1)), "user_features": np.ones((5, 1)), "validation_fraction": 0.9},
            "leaves no interactions",
        ),
    ],
)
def test_bad_input_is_refused_before_training(data, no_training, changed, message):
    arguments = {"interactions": data["interactions"], "budget": "1trial", **changed}
    with pytest.raises((ValueError, TypeError), match=message):
        tune(**arguments)


def test_a_missing_optuna_is_said_before_training(data, no_training, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"lightfm_fast\[tune\]"):
        tune(data["interactions"])


def test_new_items_with_content_are_searched_with_and_without_it(data, monkeypatch):
    """What a trial scores is what a fit of as many epochs scores, content included."""
    monkeypatch.setitem(PRESETS, "fast", {"loss": "warp", "learning_rate": 1e-9, "no_components": 4})
    given = {name: data[name] for name in ("interactions", "item_features")}
    result = tune(
        **given,
        task="new items",
        budget="12trials",
        space={"no_components": 4, "loss": ["bpr", "warp"]},
        max_epochs=7,
        random_state=0,
        num_threads=1,
    )
    assert {trial["cold_start"] for trial in result.trials} == {"features", "mapping", "content", "mapping+content"}
    validation = hold_out(Entries(**given), "new items", HELD_OUT["new items"], 0, MEASURE)
    for way in ("content", "mapping+content"):
        trial = next(trial for trial in result.trials if trial["cold_start"] == way)
        assert [epochs for epochs, _ in trial["curve"]] == [1, 2, 4, 5, 7]
        settings = {name: value for name, value in trial.items() if name in LightFM().get_params()}
        for epochs, score in trial["curve"]:
            model = LightFM(**settings).fit(**validation.train.fit_arguments(), epochs=epochs)
            _, items = model.get_item_representations(validation.train.item_features)
            assert items.shape[1] > 4
            assert score == pytest.approx(validation.search(model).mean())


def test_the_preset_is_compared_in_its_best_way_for_new_items(data, monkeypatch):
    """For all interactions "auto" may choose another way than for the part that trials are trained on."""
    monkeypatch.setitem(PRESETS, "fast", {"loss": "warp", "no_components": 4, "cold_start": "auto"})
    monkeypatch.setattr("lightfm_fast._cold_start.best_way", lambda *_: WAYS["mapping"])
    given = {"interactions": data["interactions"], "item_features": sp.hstack([sp.eye(N_ITEMS), TAGS]).tocsr()}
    result = tune(**given, task="new items", budget="2trials", random_state=0, num_threads=1, max_epochs=4)
    validation = hold_out(Entries(**given), "new items", HELD_OUT["new items"], 0, MEASURE)
    settings = {name: value for name, value in result.trials[0].items() if name in LightFM().get_params()}
    found, scores = {}, {}
    for way in ("auto", *COLD_STARTS["new items"]):
        model = LightFM(**{**settings, "cold_start": way}).fit(**validation.train.fit_arguments(), epochs=4)
        found[way], scores[way] = validation.confirm(model).mean(), validation.search(model).mean()
    assert found["auto"] == found["mapping"] < max(found.values())
    assert result.comparison.preset == pytest.approx(max(found.values()))
    assert result.trials[0]["score"] == pytest.approx(scores["auto"])


def test_another_way_is_for_a_while_and_as_if_trained_with(data):
    entries = Entries(data["interactions"], item_features=sp.hstack([sp.eye(N_ITEMS), TAGS]))
    described = {"item_features": sp.hstack([sp.csr_matrix((N_ITEMS, N_ITEMS)), TAGS]).tocsr()}
    models = {
        way: LightFM(4, cold_start=way, random_state=1).fit(entries, epochs=2)
        for way in ("auto", *COLD_STARTS["new items"])
    }

    def scores(model):  # as ranks of all items
        return model.predict_rank(sp.csr_matrix(np.ones((N_USERS, N_ITEMS))), **described).toarray()

    model = models.pop("auto")
    before = scores(model)
    expected = {way: scores(trained) for way, trained in models.items()}
    assert len({ranks.tobytes() for ranks in expected.values()}) == 4
    for way, ranks in expected.items():
        with model.represented_by(way, entries, 1):
            assert_array_equal(scores(model), ranks)
        assert_array_equal(scores(model), before)
        assert model.cold_start == "auto"
    with pytest.raises(ZeroDivisionError), model.represented_by("features", entries, 1):
        raise ZeroDivisionError
    assert_array_equal(scores(model), before)


def test_items_of_vectors_alone_are_searched_without_content(data):
    vectors = np.random.RandomState(0).randn(N_ITEMS, 3)
    features = sp.hstack([sp.identity(N_ITEMS), sp.csr_matrix(vectors)])
    result = tune(data["interactions"], item_features=features, task="new items", **{**QUICK, "budget": "12trials"})
    assert {trial["cold_start"] for trial in result.trials} >= {"features", "mapping"}
    assert not {trial["cold_start"] for trial in result.trials} & {"content", "mapping+content"}


def test_content_is_tried_only_where_it_ranks_something(data):
    given = {name: data[name] for name in ("interactions", "item_features")}
    arguments = {**QUICK, "space": {"no_components": 4, "loss": "warp"}, "max_epochs": 1}
    for task, features in (("warm", data["item_features"]), ("new items", data["item_features"][:, N_ITEMS:])):
        result = tune(**{**given, "item_features": features}, task=task, **arguments)
        assert {trial["cold_start"] for trial in result.trials} == {"features"}


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"loss": "bpr", "cold_start": ["features", "content"]}, "no content"),
        ({"identity_dropout": [0.0, 0.5]}, "no identity column"),
    ],
)
def test_features_that_the_space_needs_are_asked_for_before_training(data, no_training, space, message):
    with pytest.raises(ValueError, match=message):
        tune(data["interactions"], space=space)


def test_new_users_are_searched_with_and_without_a_mapping():
    shared = sp.csr_matrix(np.arange(40)[:, None] % 3 == np.arange(3))
    likes = np.random.RandomState(0).rand(40, 30) < np.where(
        np.arange(30) % 3 == (np.arange(40) % 3)[:, None], 0.5, 0.1
    )
    result = tune(
        sp.coo_matrix(likes.astype(np.float32)),
        sp.csr_matrix(sp.hstack([sp.eye(40), shared])),
        task="new users",
        budget="8trials",
        space={"no_components": 4, "loss": ["bpr", "warp"]},
        max_epochs=4,
        random_state=0,
        num_threads=1,
    )
    assert {trial["cold_start"] for trial in result.trials} == {"features", "mapping", "auto"}
    mapped = next(trial for trial in result.trials if trial["cold_start"] == "mapping")
    assert [epochs for epochs, _ in mapped["curve"]] == [1, 2, 4]


# ------------------------------------------------------------------------------------------------------ validation


def problem_of(data):
    return Entries(data["interactions"], data["user_features"], data["item_features"], None, data["timestamps"])


class Spy:
    """A model that records the items that it must rank."""

    def __init__(self):
        self.asked = []

    def predict_rank(self, test, train_interactions=None, user_features=None, item_features=None, num_threads=1):
        self.asked.append((test.copy(), train_interactions, user_features, item_features))
        ranks = test.copy()
        ranks.data = np.arange(ranks.nnz, dtype=np.float32) % 5
        return ranks


def asked_of(validation):
    spy = Spy()
    assert len(validation.search(spy)) > 1
    assert len(validation.confirm(spy)) > 1
    return spy.asked


@pytest.mark.parametrize("task", ["warm", "next in time"])
def test_known_users_are_halved(data, task):
    validation = hold_out(problem_of(data), task, 0.2, 0, MEASURE)
    train = validation.train.interactions.tocsr()
    (search, known, *_), (confirm, *_) = asked_of(validation)
    assert not search.multiply(train).nnz
    assert not confirm.multiply(train).nnz
    assert (known != train).nnz == 0
    of_search, of_confirm = (set(np.flatnonzero(np.diff(part.indptr))) for part in (search, confirm))
    assert not of_search & of_confirm
    whole = train + search + confirm
    assert (whole > data["interactions"].tocsr()).nnz == 0
    if task == "warm":
        assert whole.nnz == data["interactions"].nnz
    else:
        times = sp.csr_matrix((data["timestamps"] + 1, (data["interactions"].row, data["interactions"].col)))
        assert times.multiply(train).max() < times[search.nonzero()].min()


def test_new_items_are_unknown_to_training_and_have_no_column_of_their_own(data):
    validation = hold_out(problem_of(data), "new items", 0.25, 0, MEASURE)
    n_trained = validation.train.interactions.shape[1]
    assert n_trained == N_ITEMS - 10
    assert validation.train.item_features.shape[0] == n_trained
    assert np.unique(validation.train.interactions.col).size == n_trained
    (search, known, _, features), (confirm, _, _, others), *without = asked_of(validation)
    assert known is None
    assert search.shape == confirm.shape == (N_USERS, 5)
    for described in (features, others):
        assert_array_equal(described[:, :N_ITEMS].toarray(), 0)
        assert_array_equal(described[:, N_ITEMS:].sum(axis=1), 1)
    assert [test.shape[1] for test, *_ in without] == [4] * 5  # each group of items is left out once
    assert validation.unit == "groups of items"


def test_halves_of_items_are_as_popular(data):
    counts = np.repeat([1, 2, 20, 200], 8)
    groups = strata(np.arange(32), counts, 8, np.random.RandomState(0))
    assert sorted(np.concatenate(groups)) == list(range(32))
    assert {tuple(sorted(counts[group])) for group in groups} == {(1, 2, 20, 200)}


def test_the_jackknife_is_the_standard_error_of_a_mean():
    values = np.random.RandomState(0).rand(12)
    without = np.array([np.delete(values, place).mean() for place in range(12)])
    assert_allclose(jackknifed(values.mean(), without), values)


def test_new_users_are_described_by_their_features(data):
    validation = hold_out(problem_of(data), "new users", 0.25, 0, MEASURE)
    assert validation.train.interactions.shape == (N_USERS - 20, N_ITEMS)
    (search, known, features, _), (confirm, *_) = asked_of(validation)
    assert known is None
    assert search.shape == confirm.shape == (10, N_ITEMS)
    assert_array_equal(features[:, :N_USERS].toarray(), 0)
    groups = data["interactions"].tocsr()[:, 1::2].sum(axis=1) > 0
    assert_array_equal(search[:, 1::2].sum(axis=1) > 0, features[:, -1].toarray() > 0)
    assert groups.any()


@pytest.mark.parametrize("features", [None, sp.identity(N_USERS)])
def test_new_users_without_features_are_folded_in(data, features):
    problem = Entries(data["interactions"], features, None, None, None)
    validation = hold_out(problem, "new users", 0.25, 0, MEASURE)
    arguments = validation.train.fit_arguments()
    model = LightFM(8, loss="warp", random_state=0).fit(**arguments, epochs=20)
    untrained = LightFM(8, loss="warp", random_state=0, learning_rate=0.0).fit(**arguments, epochs=1)
    assert validation.search(model).mean() > validation.search(untrained).mean() + 0.1
    assert len(validation.search(model)) == 10


def test_the_halves_depend_on_the_seed_only(data):
    first, same, other = (asked_of(hold_out(problem_of(data), "warm", 0.2, seed, MEASURE))[0][0] for seed in (1, 1, 2))
    assert (first != same).nnz == 0
    assert (first != other).nnz > 0


def test_weights_follow_their_entries(data):
    matrix = data["interactions"]
    weights = sp.coo_matrix((matrix.row + matrix.col / 100, (matrix.row, matrix.col)), shape=matrix.shape)
    problem = Entries(matrix, None, None, weights, None)
    for task in ("warm", "new users"):
        train = hold_out(problem, task, 0.2, 0, MEASURE).train.fit_arguments()
        got = train["sample_weight"]
        assert_array_equal(got.row, train["interactions"].row)
        if task == "warm":
            assert_array_equal(got.data, (got.row + got.col / 100).astype(np.float32))


# ------------------------------------------------------------------------------------------------------ the choice


def test_luck_does_not_win():
    """The best of many equal models is ahead on the users that chose it, and seldom on others."""
    rng = np.random.RandomState(0)
    n_kept_same, n_kept_other = 0, 0
    for _ in range(200):
        trials = rng.normal(size=(30, 2, 100))
        preset = rng.normal(size=(2, 100))
        best = trials[trials[:, 0].mean(axis=1).argmax()]
        n_kept_same += not compare(best[0], preset[0]).is_ahead
        n_kept_other += not compare(best[1], preset[1]).is_ahead
    assert n_kept_same < 100
    assert n_kept_other > 150


def test_a_gain_wins():
    preset = np.random.RandomState(0).rand(50)
    found = compare(preset + 0.1, preset)
    assert found.is_ahead
    assert found.difference == pytest.approx(0.1)
    assert not compare(preset, preset).is_ahead


@pytest.mark.parametrize(("unit", "least"), [("users", 1), ("groups of items", 2)])
def test_a_gain_must_be_larger_where_groups_of_items_are_compared(unit, least):
    noise = np.linspace(-1, 1, 16)
    for errors in (least - 0.1, least + 0.1):
        gain = errors * noise.std(ddof=1) / 4
        assert compare(noise + gain, np.zeros(16), unit).is_ahead == (errors > least)


def test_checkpoints():
    assert sorted(checkpoints(40)) == [1, 2, 4, 5, 7, 10, 14, 20, 28, 40]
    assert max(checkpoints(1000)) == 1000
    assert checkpoints(1) == {1}
    assert {57, 80, 113, 160} <= checkpoints(160)


# ------------------------------------------------------------------------------------------------------ the search


def test_little_data_is_searched_on_one_thread_and_much_on_all(data, monkeypatch):
    used = []
    fit = LightFM.fit_partial
    monkeypatch.setattr(
        LightFM, "fit_partial", lambda *a, **given: used.append(given["num_threads"]) or fit(*a, **given)
    )
    arguments = {**QUICK, "num_threads": None, "budget": "1trials"}
    tune(data["interactions"], **arguments)
    assert set(used) == {1}
    monkeypatch.setattr(_arguments, "LITTLE", 100)
    monkeypatch.setattr(_arguments, "count_cpus", lambda: 2)
    used.clear()
    tune(data["interactions"], **arguments)
    assert set(used) == {2}


@pytest.mark.parametrize("task", [*TASKS, "new-users"])
def test_every_task(data, task):
    arguments = {**data, "interactions": data["interactions"].copy()}
    result = tune(**arguments, task=task, validation_fraction=0.2, **QUICK)
    assert result.metric == "ndcg@10"
    assert len(result.trials) == 3
    assert result.model.item_embeddings.shape == (N_ITEMS + 2, 4)
    assert len(result.model.history_) == result.epochs
    assert result.model.get_params() == result.parameters
    assert (arguments["interactions"] != data["interactions"]).nnz == 0


def test_the_same_seed_gives_the_same_bits(data):
    arguments = {**QUICK, "budget": "8trials", "max_epochs": 3}
    first, second = (tune(data["interactions"], **arguments) for _ in range(2))
    for record, again in zip(first.trials, second.trials, strict=True):
        assert {**record, "seconds": 0} == {**again, "seconds": 0}
    assert first.comparison == second.comparison
    assert_array_equal(first.model.item_embeddings, second.model.item_embeddings)


def test_the_untouched_preset_is_kept_where_nothing_is_ahead(data):
    space = {"no_components": 4, "loss": ["bpr", "warp"], "learning_rate": (1e-9, 2e-9)}
    result = tune(data["interactions"], **{**QUICK, "space": space, "max_epochs": 1})
    assert result.is_preset
    preset = LightFM.recommended(no_components=4, random_state=0).fit(data["interactions"], epochs=1)
    assert_array_equal(result.model.user_embeddings, preset.user_embeddings)
    assert result.comparison.difference == 0


@pytest.mark.parametrize(("loss", "origin"), [("softmax", "preset ranking"), ("warp", "plain warp")])
def test_the_preset_has_a_loss_of_the_space(data, loss, origin):
    result = tune(data["interactions"], **{**QUICK, "space": {"no_components": 4, "loss": loss}})
    assert result.trials[0]["origin"] == origin
    assert {trial["loss"] for trial in result.trials} == {loss}
    assert {trial["no_components"] for trial in result.trials} == {4}


def test_a_better_trial_is_chosen_and_refitted_on_everything(data, monkeypatch):
    monkeypatch.setitem(PRESETS, "fast", {"loss": "warp", "learning_rate": 1e-9, "no_components": 4})
    result = tune(data["interactions"], **{**QUICK, "max_epochs": 14, "validation_fraction": 0.3})
    assert not result.is_preset
    assert result.comparison.difference > 2 * result.comparison.standard_error
    assert result.trials[result.best_trial]["loss"] == result.parameters["loss"]
    again = LightFM(**result.parameters).fit(data["interactions"], epochs=result.epochs)
    assert_array_equal(result.model.user_embeddings, again.user_embeddings)


def test_trials_go_on_from_checkpoint_to_checkpoint(data, monkeypatch):
    """No trial starts again for more epochs: each is one fit, and its checkpoints are that fit's."""
    fits = []

    class Counted(LightFM):
        def fit_partial(self, *arguments, **options):
            fits.append(options["epochs"])
            return super().fit_partial(*arguments, **options)

    monkeypatch.setattr("lightfm_fast.tuning.search.LightFM", Counted)
    result = tune(data["interactions"], **{**QUICK, "max_epochs": 7})
    assert fits == [7, 7, 7]
    for trial in result.trials:
        epochs = [epoch for epoch, _ in trial["curve"]]
        assert epochs == [1, 2, 4, 5, 7][: len(epochs)]
        assert trial["epochs_trained"] == epochs[-1]
        assert trial["score"] == max(score for _, score in trial["curve"])


def test_diverging_trials_lose(data):
    space = {"no_components": 4, "loss": ["bpr", "warp"], "learning_rate": [3e38], "item_alpha": 0.0, "user_alpha": 0.0}
    result = tune(data["interactions"], **{**QUICK, "space": space, "budget": "4trials"})
    states = [trial["state"] for trial in result.trials]
    assert "diverged" in states
    assert all(trial["score"] is None or np.isfinite(trial["score"]) for trial in result.trials)
    assert result.best_trial != states.index("diverged")


def test_advice_on_steps_too_long_is_about_the_final_model_only(data, monkeypatch):
    monkeypatch.setattr(_training, "WARNED_FROM", 0.0)  # every fit warns
    with pytest.warns(UserWarning, match="the steps are too long") as caught:
        tune(data["interactions"], **QUICK)
    assert len(caught) == 1  # of the fit on all interactions, not of the trials


def test_a_trial_whose_folding_in_diverges_does_not_end_the_search(data, monkeypatch):
    fold_in, calls = LightFM.fold_in_users, []  # four calls a trial, one after each epoch

    def diverging(self, *arguments, **options):
        calls.append(self)
        return fold_in(self.set_params(learning_rate=3e38) if len(calls) > 8 else self, *arguments, **options)

    monkeypatch.setattr(LightFM, "fold_in_users", diverging)
    result = tune(data["interactions"], task="new users", **QUICK)
    assert [trial["state"] for trial in result.trials][::2] == ["complete", "diverged"]


def test_an_error_says_that_every_trial_diverged(data):
    space = {"no_components": 4, "loss": "warp", "learning_rate": 3e38, "item_alpha": 0.0, "user_alpha": 0.0}
    with pytest.raises(ValueError, match="every trial diverged"):
        tune(data["interactions"], **{**QUICK, "space": space, "budget": "2trials"})


def test_time_that_is_up_at_once_gives_the_preset(data):
    result = tune(data["interactions"], **{**QUICK, "budget": 1e-9})
    assert [trial["state"] for trial in result.trials] == ["out of time"]
    assert result.is_preset
    assert result.comparison is None
    assert len(result.model.history_) == result.epochs == 4


def test_a_trial_that_is_out_of_time_ends_at_once(data, monkeypatch):
    """Training ends by learning newcomers, which only the last fit needs then."""
    learned = []
    learn = LightFM._learn_newcomers
    monkeypatch.setattr(LightFM, "_learn_newcomers", lambda *arguments: [learned.append(1), learn(*arguments)])
    features = {"item_features": data["item_features"], "task": "new items"}
    result = tune(data["interactions"], **features, **{**QUICK, "budget": 1e-9})
    assert [trial["state"] for trial in result.trials] == ["out of time"]
    assert len(learned) == 1


def test_the_last_fit_is_estimated_by_epochs_and_what_is_beside_them():
    search = object.__new__(Search)
    search._clock, search._growth, search.preset_epochs = SimpleNamespace(seconds=17.0), 1.5, 40
    seconds = {"began": 2.0, "epoch_seconds": 5.0, "judging_seconds": 6.0}
    preset = Trial("preset", {}, "running", epochs_trained=10, n_calls=1, **seconds)
    search.trials, search.best = [preset], None
    assert search._refit_seconds() == 1.5 * (40 * 0.5 + 4)
    preset.seconds = 11.0  # it has ended: the clock no longer counts
    assert search._refit_seconds() == 1.5 * 40 * 0.5
    search.best = Trial("search", {}, epochs=50, epochs_trained=100, epoch_seconds=100.0, seconds=110.0, n_calls=5)
    assert search._refit_seconds() == 1.5 * (50 + 2)
    search.trials = [Trial("preset", {}, "running")]
    search.best = None
    assert search._refit_seconds() == 0


def interrupt_at(monkeypatch, n):
    show = Progress.show

    def interrupted(self, trials, *rest):
        show(self, trials, *rest)
        if len(trials) == n:
            raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "show", interrupted)


def test_an_interrupt_keeps_the_best_so_far(data, monkeypatch):
    interrupt_at(monkeypatch, 3)
    result = tune(data["interactions"], **{**QUICK, "budget": "9trials"})
    assert result.was_interrupted
    assert len(result.trials) == 3
    assert result.comparison is not None


def test_an_interrupted_trial_counts_as_far_as_it_came(data, monkeypatch):
    class Interrupting(Callback):
        def __call__(self, model):
            if len(model.history_) == 10:
                raise KeyboardInterrupt

    fit, calls = LightFM.fit_partial, []

    def interrupted(self, *arguments, **options):
        calls.append(options)
        if len(calls) == 2:
            options["callbacks"] = [*options["callbacks"], Interrupting()]
        return fit(self, *arguments, **options)

    monkeypatch.setitem(PRESETS, "fast", {"loss": "warp", "learning_rate": 1e-9, "no_components": 4})
    monkeypatch.setattr(LightFM, "fit_partial", interrupted)
    result = tune(data["interactions"], **{**QUICK, "max_epochs": 20, "validation_fraction": 0.3})
    assert [trial["state"] for trial in result.trials] == ["complete", "interrupted"]
    assert result.was_interrupted
    assert result.best_trial == 1
    assert not result.is_preset
    assert 0 < result.epochs <= 10


def test_an_interrupt_before_the_preset_is_judged_is_raised(data, monkeypatch):
    monkeypatch.setattr("lightfm_fast.tuning.search.Search.judge", interrupt)
    with pytest.raises(KeyboardInterrupt):
        tune(data["interactions"], **QUICK)


def interrupt(*_):
    raise KeyboardInterrupt


def test_optuna_learns_from_the_preset(data, monkeypatch):
    """Also of penalties that the preset finds in training."""
    studies = []

    def make(seed):
        studies.append(make_study(seed))
        return studies[-1]

    monkeypatch.setattr("lightfm_fast.tuning.search.make_study", make)
    result = tune(data["interactions"], **{**QUICK, "budget": "1trial"})
    (trial,) = studies[-1].trials
    model = LightFM.recommended(no_components=4, random_state=0).fit(data["interactions"])
    assert trial.params["bpr.learning_rate"] == model.learning_rate
    assert trial.params["bpr.item_alpha"] == pytest.approx(model.item_alpha_)
    assert trial.value == result.trials[0]["score"]
    assert list(trial.intermediate_values.items()) == result.trials[0]["curve"]


def test_optuna_is_left_as_it_was(data, capsys):
    verbosity = optuna.logging.get_verbosity()
    tune(data["interactions"], **QUICK)
    assert optuna.logging.get_verbosity() == verbosity
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


@pytest.mark.parametrize("with_tqdm", [True, False])
def test_progress(data, capsys, monkeypatch, with_tqdm):
    if not with_tqdm:
        monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    tune(data["interactions"], verbose=True, **QUICK)
    captured = capsys.readouterr()
    if with_tqdm:
        assert "3/3" in captured.err
        assert "best ndcg@10" in captured.err
    else:
        assert [line.split()[:2] for line in captured.out.splitlines()] == [["Trial", n] for n in "123"]
        assert "preset fast" in captured.out


def test_progress_of_one_trial(data, capsys):
    tune(data["interactions"], verbose=True, **QUICK | {"budget": "1trials"})
    assert ", 1 trial, best ndcg@10" in capsys.readouterr().err


@pytest.fixture(scope="module")
def movielens():
    folder = os.environ.get("LIGHTFM_FAST_DATA")
    if not folder or not Path(folder, "ml-100k.zip").is_file():
        pytest.skip("LIGHTFM_FAST_DATA names no folder with ml-100k.zip")
    return fetch_movielens(folder, min_rating=4.0, download_if_missing=False)


def test_tuned_warp_is_not_behind_plain_warp_on_a_test_that_the_search_did_not_see(movielens):
    train, test = movielens["train"], movielens["test"]
    space = {"no_components": 32, "loss": "warp"}
    result = tune(train, space=space, budget="3trials", max_epochs=80, random_state=0, num_threads=1)
    plain = LightFM(32, loss="warp", random_state=0).fit(train, epochs=40)
    tuned, untuned = (
        evaluate(model, test, train, "ndcg", per_user=True).per_user["ndcg@10"] for model in (result.model, plain)
    )
    found = compare(tuned, untuned)
    # The builds' last bits decide whether the few users of the search prefer a trial to plain WARP.
    assert found.difference > (-2 if result.is_preset else 2) * found.standard_error


# ------------------------------------------------------------------------------------------------------ the result


@pytest.fixture(scope="module")
def result(data):
    return tune(data["interactions"], **QUICK)


def test_the_table_of_trials(result):
    pytest.importorskip("pandas")
    frame = result.to_frame()
    assert list(frame["origin"]) == ["preset fast", "start", "start"]
    assert {"state", "score", "epochs", "seconds", "loss", "item_alpha"} <= set(frame.columns)
    assert "curve" not in frame.columns


def test_the_result_in_words(result):
    text = str(result)
    assert "ndcg@10" in text
    assert "3 trials" in text
    assert f"epochs={result.epochs}" in text
    assert repr(result).startswith("<TuningResult: ndcg@10")
    assert "<code>LightFM(" in result._repr_html_()


def test_the_plot(result):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    from lightfm_fast.plotting import tuning_curves

    ax = result.plot()
    assert ax.get_ylabel().startswith("ndcg@10")
    drawn = [line.get_ydata() for line in ax.lines]
    for trial in result.trials:
        assert any(np.array_equal(values, [score for _, score in trial["curve"]]) for values in drawn)
    assert tuning_curves(result, ax) is ax
    pyplot.close(ax.figure)
