"""Recompute every number of docs/algorithm.md's worked example from the numbers that the page gives."""

import re
from inspect import signature
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from lightfm_fast import LightFM

PAGE = (Path(__file__).parents[1] / "docs" / "algorithm.md").read_text(encoding="utf-8")
USERS, ITEMS = ("Ivan", "Olga"), ("Dune", "Alien", "Up")
LEARNING_RATE = 0.1


def read_tables(page):
    """Return the tables by the first cell of their heads, each a dict from a row's first cell to its other cells."""
    tables = {}
    for text in re.findall(r"(?:^\|.*\|\n)+", page, re.MULTILINE):
        head, _, *rows = ([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in text.splitlines())
        assert all(len(row) == len(head) for row in rows), head
        assert head[0] not in tables or head[0] == "Symbol"
        tables[head[0]] = {row[0]: row[1:] for row in rows}
    return tables


TABLES = read_tables(PAGE)
FEATURES_OF = {name: re.split(r", ", *features) for name, features in TABLES["Row"].items()}
LEARNED = {name: np.array(cells, dtype=float) for name, cells in TABLES["Feature"].items()}  # two components, bias


def represent(name, learned):
    """Return the components and the bias of a user or an item, then the pairs within."""
    rows = [learned[feature] for feature in FEATURES_OF[name]]
    return [*sum(rows), sum(a[:2] @ b[:2] for a, b in combinations(rows, 2))]


def score(user, item, learned, with_pairs=False):
    (*q, user_bias, user_pairs), (*p, item_bias, item_pairs) = (represent(name, learned) for name in (user, item))
    return np.dot(q, p) + user_bias + item_bias + with_pairs * (user_pairs + item_pairs)


def step(learned):
    """Olga liked Dune."""
    slope = -1 / (1 + np.exp(score("Olga", "Dune", learned)))
    q, p = (np.array(represent(name, learned)[:2]) for name in ("Olga", "Dune"))
    after = {name: row.copy() for name, row in learned.items()}
    for name, other in (("Olga", p), ("Dune", q)):
        for feature in FEATURES_OF[name]:
            after[feature] -= LEARNING_RATE * slope * np.append(other, 1)
    return after


def assert_printed(printed, computed):
    """Compare each printed number, to its last digit."""
    assert len(printed) == len(computed)
    for text, value in zip(printed, computed, strict=True):
        assert abs(float(text) - value) <= 0.5 * 10.0 ** -len(text.partition(".")[2]) + 1e-9, (printed, computed)


def test_representations():
    assert list(TABLES["Represented"]) == list(FEATURES_OF) == [*USERS, *ITEMS]
    for name, printed in TABLES["Represented"].items():
        assert_printed(printed, represent(name, LEARNED))


@pytest.mark.parametrize("interactions", ["cross", "all"])
@pytest.mark.parametrize("user", USERS)
def test_scores(user, interactions):
    computed = [score(user, item, LEARNED, interactions == "all") for item in ITEMS]
    assert_printed(TABLES["Scores"][f"{user}, {interactions}"], computed)


def test_losses():
    positive, negative = (score("Ivan", item, LEARNED) for item in ("Dune", "Alien"))
    computed = {
        "logistic": np.log1p(np.exp(-positive)),
        "bpr": np.log1p(np.exp(negative - positive)),
        "warp": np.log((len(ITEMS) - 1) // 1) * (1 - positive + negative),
    }
    printed = TABLES["Loss of (Ivan, Dune)"]
    assert printed.keys() == computed.keys()
    for loss, value in computed.items():
        assert_printed(printed[loss], [value])


def test_step():
    after = step(LEARNED)
    assert TABLES["Feature after the step"].keys() == after.keys()
    for feature, printed in TABLES["Feature after the step"].items():
        assert_printed(printed, after[feature])
    for user in USERS:
        assert_printed(TABLES["Scores after the step"][user], [score(user, item, after) for item in ITEMS])


def test_numbers_in_the_text():
    worked = " ".join(PAGE.partition("## A worked example")[2].partition("### The same in code")[0].split())
    products = [LEARNED[a][:2] @ LEARNED[b][:2] for a, b in combinations(FEATURES_OF["Ivan"], 2)]
    assert "$= {:.2f} + {:.2f} - {:.2f}$".format(*products[:2], -products[2]) in worked
    margin = score("Ivan", "Dune", LEARNED) - score("Ivan", "Alien", LEARNED)
    assert f"margin is {margin:.2f}, below 1" in worked
    slope = -1 / (1 + np.exp(score("Olga", "Dune", LEARNED)))
    assert f"$g = {slope}$" in worked
    assert rf"$\eta = {LEARNING_RATE}$" in worked
    assert f"has risen from 0 to {score('Olga', 'Dune', step(LEARNED)):.3f}" in worked


def test_the_library_gives_the_same():
    """The page's code, with the page's numbers."""
    (block,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    names = {}
    exec(compile(block, "docs/algorithm.md", "exec"), names)
    after = step(LEARNED)
    model, features = names["model"], list(LEARNED)
    for row, name in enumerate(USERS):
        own = names["user_features"][row].astype(bool)
        assert [feature for feature, has in zip(features[:4], own, strict=True) if has] == FEATURES_OF[name]
    for row, name in enumerate(ITEMS):
        own = names["item_features"][row].astype(bool)
        assert [feature for feature, has in zip(features[4:], own, strict=True) if has] == FEATURES_OF[name]
    for found, with_pairs, learned in (
        (names["scores"], False, LEARNED),
        (names["with_pairs"], True, LEARNED),
        (names["scores_after"], False, after),
    ):
        expected = [[score(user, item, learned, with_pairs) for item in ITEMS] for user in USERS]
        assert_allclose(found, expected, atol=1e-4)
    embeddings = np.vstack([model.user_embeddings, model.item_embeddings])
    biases = np.concatenate([model.user_biases, model.item_biases])
    assert_allclose(np.column_stack([embeddings, biases]), [after[feature] for feature in features], atol=1e-4)


def test_every_hyperparameter_is_in_the_table():
    defaults = {
        name: parameter.default
        for function in (LightFM.fit, LightFM)
        for name, parameter in signature(function).parameters.items()
    }
    table = {name.strip("`"): cells for name, cells in TABLES["Name"].items()}
    assert set(LightFM._PARAMETERS) <= table.keys() <= defaults.keys()
    for name, (printed, *_) in table.items():
        assert printed.strip('"') == str(defaults[name]), name


def test_every_source_cited_is_listed():
    text, _, sources = PAGE.partition("## Sources")
    cited = set(re.findall(r"\b([A-Z]\w+) (20\d\d)\b", text))
    assert len(cited) > 5
    for author, year in cited:
        assert re.search(rf"^- {author}\b.* {year}\.", sources, re.MULTILINE), f"{author} {year}"
