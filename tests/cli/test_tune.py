"""fit --tune searches as the library does, and prints the options that repeat the fit."""

import json
import shlex

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from lightfm_fast import LightFM
from lightfm_fast.cli.hyperparameters import HYPERPARAMETERS
from lightfm_fast.tuning import SPACE, tune

from .films import features_of, fit_arguments, make_dataset

pytest.importorskip("optuna", reason="Optuna is not installed")


def tune_arguments(folder, output, *more):
    """The arguments of fit, without hyperparameters except 8 components and the seed 3."""
    arguments = list(map(str, fit_arguments(folder, output)))
    for option in ("--epochs", "--loss"):
        if option in arguments:
            at = arguments.index(option)
            del arguments[at : at + 2]
    return [*arguments, "--tune", "2trials", *more]


def test_every_searched_hyperparameter_has_an_option():
    searched = {name for values in SPACE.values() for name in values} | {
        "identity_dropout",
        "feature_scaling",
        "no_components",
        "loss",
    }
    assert searched <= set(HYPERPARAMETERS)


def test_tune_is_what_the_library_does(folder, run):
    facts = json.loads(run(*tune_arguments(folder, "tuned.safetensors", "--json")).out)
    dataset = make_dataset(folder)
    expected = tune(
        dataset.interactions,
        budget="2trials",
        space={"no_components": 8},
        random_state=3,
        num_threads=1,
        **features_of(dataset),
    )
    found = LightFM.load(folder / "tuned.safetensors")
    assert_array_equal(found.item_embeddings, expected.model.item_embeddings)
    tuning = facts["tuning"]
    assert tuning["parameters"] == expected.parameters
    assert tuning["is_preset"] == expected.is_preset
    assert len(tuning["trials"]) == 2
    assert facts["epochs"] == tuning["epochs"] == expected.epochs


def test_the_options_that_are_printed_repeat_the_fit(folder, run):
    told = run(*tune_arguments(folder, "tuned.safetensors")).out
    (line,) = [line for line in told.splitlines() if line.startswith("to repeat the fit: ")]
    assert "ndcg@10" in told
    options = shlex.split(line.partition(": ")[2])
    arguments = tune_arguments(folder, "again.safetensors")[:-2]
    for option in ("--components", "--seed"):
        at = arguments.index(option)
        del arguments[at : at + 2]
    run(*arguments, *options)
    first, second = (LightFM.load(folder / f"{name}.safetensors") for name in ("tuned", "again"))
    assert_array_equal(first.item_embeddings, second.item_embeddings)
    assert first.get_params() == second.get_params()


def test_held_out_interactions_are_not_searched(folder, run):
    more = ("--hold-out", "time", "--task", "next in time", "--metric", "recall", "--k", "5")
    facts = json.loads(run(*tune_arguments(folder, "tuned.safetensors", "--json", "--time-column", "time", *more)).out)
    assert facts["tuning"]["metric"] == "recall@5"
    assert facts["trained_on"] < facts["interactions"]
    assert np.isfinite(facts["held_out"]["ndcg@5"]["mean"])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--preset", "fast"), "leave --preset out"),
        (("--epochs", "3"), "leave --epochs out"),
        (("--patience", "3", "--hold-out", "random"), "leave --patience out"),
        (("--metric", "novelty"), "--metric"),
        (("--task", "next-in-time"), "--time-column"),
        (("--tune", "soon"), "--tune is 'soon'"),
    ],
)
def test_refused(folder, run, more, message):
    told = run(*tune_arguments(folder, "refused.safetensors", *more), code=2)
    assert message in told.err
    assert not (folder / "refused.safetensors").exists()


def test_task_needs_tune(folder, run):
    told = run(*fit_arguments(folder, "refused.safetensors"), "--task", "warm", code=2)
    assert "--task needs --tune" in told.err
