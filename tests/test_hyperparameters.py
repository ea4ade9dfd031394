"""The values that constructor arguments accept, which the docstrings state too."""

import inspect
import re

import numpy as np
import pytest

from lightfm_fast import FMClassifier, LightFM
from lightfm_fast._hyperparameters import DOMAINS, PRESETS, ParameterError, check_parameters


def test_parameter_error_is_caught_by_both_kinds_of_handlers():
    assert issubclass(ParameterError, ValueError)
    assert issubclass(ParameterError, AssertionError)


@pytest.mark.parametrize("name", ["k", "n", "no_components", "max_sampled"])
@pytest.mark.parametrize("value", [1, np.int8(3), 1000])
def test_whole_parameters(name, value):
    check_parameters({name: value})
    for bad in (-value, float(value), f"{value}"):
        with pytest.raises(ParameterError, match=name):
            check_parameters({name: bad})


def documented(estimator):
    """Return the entries of the docstring's section of parameters, by name."""
    text = inspect.getdoc(estimator)
    section = re.split(r"\n\w+\n---+\n", text[text.index("\nParameters\n-----") :], maxsplit=2)[1]
    entries = {}
    for entry in re.split(r"\n(?=\S)", section):
        names, separator, _ = entry.partition(" : ")
        if separator:
            entries.update((name.strip(), entry) for name in names.split(","))
    return entries


ESTIMATORS = (LightFM, FMClassifier)
ARGUMENTS = [
    pytest.param(estimator, name, id=f"{estimator.__name__}-{name}")
    for estimator in ESTIMATORS
    for name in inspect.signature(estimator).parameters
    if name in DOMAINS
]


@pytest.mark.parametrize(("estimator", "name"), ARGUMENTS)
def test_docstring_states_the_bounds_and_choices(estimator, name):
    expected = DOMAINS[name].expected
    stated = (
        re.findall(r"'([a-z-]+)'", expected)
        or re.findall("True|False", expected)
        or re.findall(r"\d(?:[\d.e*-]*\d)?", expected)
    )
    entry = documented(estimator)[name]
    assert stated
    assert [text for text in stated if text not in entry] == []


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_argument_is_documented(estimator):
    assert documented(estimator).keys() == inspect.signature(estimator).parameters.keys()


@pytest.mark.parametrize("kind", PRESETS)
def test_presets_are_arguments_that_are_taken(kind):
    assert LightFM.recommended(kind).get_params() == LightFM(**PRESETS[kind]).get_params()
