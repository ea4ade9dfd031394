"""Explanations add up to the score, term by term against NumPy in float64."""

import sys
from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
from matplotlib.figure import Figure
from numpy.testing import assert_allclose

from lightfm_fast import LightFM

USER_FEATURES = sp.csr_matrix([[1, 0, 2], [0, 0, 0], [0.5, -1, 0]], dtype=np.float32)
ITEM_FEATURES = sp.csr_matrix([[1, 1], [0, 3]], dtype=np.float32)
FEATURES = {"user_features": USER_FEATURES, "item_features": ITEM_FEATURES}
FOLDED = np.ones((1, 4), np.float32), np.ones(1, np.float32)


def make_model(parameters=None, **features):
    model = LightFM(4, random_state=0, **(parameters or {}))
    model.fit_partial(sp.coo_matrix((3, 2), dtype=np.float32), epochs=0, **features)
    rng = np.random.RandomState(1)
    for name in ("user_embeddings", "item_embeddings", "user_biases", "item_biases"):
        setattr(model, name, rng.normal(size=getattr(model, name).shape))
    return model


@pytest.mark.parametrize("user", range(3))
@pytest.mark.parametrize("item", range(2))
@pytest.mark.parametrize("features", [{}, FEATURES], ids=["identity", "features"])
def test_terms_add_up_to_the_score(user, item, features):
    model = make_model(**features)
    found = model.explain(user, item, **features)
    assert_allclose(found.score, model.predict(user, [item], **features)[0], rtol=1e-5, atol=1e-6)
    rows = found.rows()
    assert_allclose(sum(row["contribution"] for row in rows), found.score, rtol=1e-12)
    sizes = [abs(row["contribution"]) for row in rows]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("parameters", [{}, {"loss": "softmax"}, {"interactions": "all"}], ids=str)
@pytest.mark.parametrize("with_features", [False, True])
def test_terms_of_a_folded_in_user_add_up_to_the_score(parameters, with_features):
    model = make_model(parameters, **FEATURES)
    item_features, described = FEATURES["item_features"], FEATURES["user_features"] if with_features else None
    users = model.fold_in_users(np.ones((3, 2)), described, item_features)
    for user, item in ((0, 0), (2, 1)):
        found = model.explain(user, item, described, item_features, user_representations=users)
        _, (scores,) = model.recommend(user, 2, item_features=item_features, user_representations=users, items=[item])
        assert_allclose(found.score, scores[0], rtol=1e-4, atol=1e-6)
        assert found.user_features[-1] == "history"
        assert len(found.user_features) > 1 or not with_features
        assert found.user_id == user
        assert_allclose(sum(row["contribution"] for row in found.rows()), found.score, rtol=1e-12)
        features = {"user_features": FEATURES["user_features"], "item_features": item_features}
        if with_features and parameters != {"loss": "softmax"}:  # features' own terms are those of a known user
            known = model.explain(user, item, **features)
            assert_allclose(found.pairs[:-1], known.pairs, rtol=1e-6)


def test_each_term():
    model = make_model(**FEATURES)
    names = {"user_feature_names": ["young", "old", "rich"], "item_feature_names": {"red": 1, "tall": 0}}
    found = {
        (row["user_feature"], row["item_feature"]): row["contribution"]
        for row in model.explain(2, 0, **FEATURES, **names).rows()
    }
    users, items = model.user_embeddings.astype(float), model.item_embeddings.astype(float)
    expected = {
        ("young", None): 0.5 * model.user_biases[0],
        ("old", None): -model.user_biases[1],
        (None, "tall"): model.item_biases[0],
        (None, "red"): model.item_biases[1],
        ("young", "tall"): 0.5 * users[0] @ items[0],
        ("young", "red"): 0.5 * users[0] @ items[1],
        ("old", "tall"): -users[1] @ items[0],
        ("old", "red"): -users[1] @ items[1],
    }
    assert found.keys() == expected.keys()
    for pair, contribution in expected.items():
        assert_allclose(found[pair], contribution, rtol=1e-12, err_msg=str(pair))


def test_names_by_default():
    found = make_model().explain(2, 1)
    assert (found.user_features, found.item_features) == (["user 2"], ["item 1"])
    found = make_model(**FEATURES).explain(0, 1, **FEATURES)
    assert (found.user_features, found.item_features) == (["user feature 0", "user feature 2"], ["item feature 1"])


def test_a_user_without_features():
    found = make_model(**FEATURES).explain(1, 1, **FEATURES)
    assert found.pairs.shape == (0, 1)
    assert [row["item_feature"] for row in found.rows()] == ["item feature 1"]


def test_the_plot_of_a_score_without_contributions():
    """Neither the user nor the item has a feature."""
    features = {"user_features": FEATURES["user_features"], "item_features": np.array([[0, 1], [1, 0], [0, 0]])}
    found = make_model(**FEATURES).explain(1, 2, **features)
    assert found.rows() == []
    assert found.score == 0
    ax = found.plot(Figure().subplots())
    assert [label.get_text() for label in ax.get_yticklabels()] == ["score"]


def test_names_of_content_are_of_any_type():
    """Ids are whole numbers, and names of columns may be long."""
    interactions = sp.csr_matrix(np.random.default_rng(0).random((40, 15)) < 0.4, dtype=np.float32)
    kinds = np.eye(3)[np.append(np.arange(15) % 3, 0)]
    features = sp.csr_matrix(np.hstack([np.eye(16, 15), kinds]))
    model = LightFM(loss="warp", cold_start="content", random_state=0)
    model.fit(interactions, item_features=features[:15], epochs=2)
    for name, shown in ((1984, "1984"), ("l" * 99, "l" * 31 + "…")):
        found = model.explain(0, 15, item_features=features, item_feature_names=[*range(15), name, "b", "c"])
        assert found.content_features == [name]
        assert repr(found).startswith("<Explanation of user 0, item 15")
        labels = [label.get_text() for label in found.plot(Figure().subplots(), n=100).get_yticklabels()]
        assert f"profile × {shown}" in labels


@pytest.mark.parametrize("own_axes", [False, True])
def test_bars_are_the_contributions(own_axes):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    found = make_model(**FEATURES).explain(0, 0, **FEATURES, item_feature_names=["$5_", "b"])
    given = pyplot.figure().add_subplot() if own_axes else None
    ax = found.plot(given, n=3)
    assert given is None or ax is given
    contributions = [row["contribution"] for row in found.rows()]
    bars = ax.patches
    assert_allclose([bar.get_width() for bar in bars[:-1]], [*contributions[:3], sum(contributions[3:])])
    assert bars[0].get_x() == 0
    for above, bar in pairwise(bars[:-1]):  # a waterfall
        assert bar.get_x() == pytest.approx(above.get_x() + above.get_width())
    assert (bars[-1].get_x(), bars[-1].get_width()) == (0, pytest.approx(found.score))
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels[3:] == ["5 others", "score"]
    assert any(r"\$5_" in label for label in labels)
    texts = [text.get_text().replace("−", "-") for text in ax.texts]
    assert len({len(text.partition(".")[2]) for text in texts}) == 1  # as many decimals for all
    assert [float(text) for text in texts] == pytest.approx([*(bar.get_width() for bar in bars)], rel=0.01, abs=0.005)
    assert len(found.plot(n=8).patches) == len(contributions) + 1 == 9
    ax.figure.canvas.draw()
    pyplot.close("all")
    with pytest.raises(ValueError, match="n is 0"):
        found.plot(n=0)


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"lightfm_fast\[plot\]"):
        make_model().explain(0, 0).plot()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"user_id": 3}, ValueError, "user_id is 3 but user_features has only 3 rows"),
        ({"item_id": [0]}, ValueError, "item_id is [0], expected a single row number"),
        ({"item_id": -1}, ValueError, "item_id ranges from -1"),
        ({"user_features": None}, ValueError, "needs them here too"),
        ({"user_feature_names": ["a"]}, ValueError, "each of the 3 feature columns, got 1 names"),
        ({"item_feature_names": "ab"}, TypeError, "got 'ab'"),
        ({"item_feature_names": {"a": 0, "b": 0}}, ValueError, "a mapping to other numbers than 0 to 1"),
        ({"user_representations": (np.ones((1, 2)), np.ones(1))}, ValueError, "user_representations: expected"),
        ({"user_representations": FOLDED, "user_id": 1}, ValueError, "user_ids goes up to 1 but there are only 1"),
    ],
)
def test_bad_input(arguments, error, message):
    with pytest.raises(error) as caught:
        make_model(**FEATURES).explain(**{"user_id": 0, "item_id": 0, **FEATURES, **arguments})
    assert message in str(caught.value)


def test_unfitted():
    with pytest.raises(ValueError, match="fit the model"):
        LightFM().explain(0, 0)


def test_an_explanation_shows_itself():
    model = make_model(**FEATURES)
    names = {"user_feature_names": ["age:16 to 30", "age:30 to 80", "<b>"], "item_feature_names": ["film", "crime"]}
    found = model.explain(0, 1, **FEATURES, **names)
    shown = repr(found)
    first = found.rows()[0]["contribution"]
    assert shown.splitlines()[0] == f"<Explanation of user 0, item 1: score {found.score:.3g}>"
    assert f"{first:+.4f}" in shown.splitlines()[1]
    assert "age:16 to 30 (1)" in shown  # weights show which ranges are reached in full
    assert "<b> (2)" in shown
    assert "crime (3)" in shown
    page = found._repr_html_()
    assert "&lt;b&gt; (2)" in page
    assert "<b>" not in page
    all_ones = repr(make_model().explain(0, 1))
    assert "(1)" not in all_ones
    many = LightFM(random_state=0).fit(np.ones((1, 1)), user_features=np.ones((1, 4)), item_features=np.ones((1, 4)))
    lines = repr(many.explain(0, 0, np.ones((1, 4)), np.ones((1, 4)))).splitlines()
    rest = sum(row["contribution"] for row in many.explain(0, 0, np.ones((1, 4)), np.ones((1, 4))).rows()[5:])
    assert lines[-1] == f"  {rest:+.4f}  19 others"


def test_titles_name_the_user_and_the_item():
    model = LightFM(random_state=0).fit(np.eye(3))
    names = {"user_name": "ann", "item_name": "<Cash & $$>"}
    found = model.explain(1, 2, **names)
    title = f"ann, <Cash & $$>: score {found.score:.3g}"
    assert title in repr(found)
    assert "<caption>ann, &lt;Cash &amp; $$&gt;: score" in found._repr_html_()
    assert found.plot(Figure().subplots()).get_title(loc="right") == title.replace("$", r"\$")
    assert "user 1, item 2: score" in repr(model.explain(1, 2))
    with pytest.raises(TypeError, match="item_name is 7, expected text"):
        model.explain(1, 2, item_name=7)
