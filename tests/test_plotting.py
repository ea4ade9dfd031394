"""Plots draw the documented numbers."""

import re
import sys
import unicodedata
from functools import partial

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

from matplotlib import font_manager, pyplot  # noqa: E402

from lightfm_fast import LightFM, plotting  # noqa: E402
from lightfm_fast.callbacks import EarlyStopping  # noqa: E402
from lightfm_fast.datasets import make_interactions  # noqa: E402
from lightfm_fast.evaluation import auc_score, evaluate, ndcg_at_k, precision_at_k  # noqa: E402
from lightfm_fast.tuning import TuningResult  # noqa: E402

DATA = make_interactions(n_users=80, n_items=60, n_interactions=2000, random_state=0)
TRAIN, TEST, FEATURES = DATA["train"], DATA["test"], DATA["item_features"]


@pytest.fixture(scope="module")
def model():
    return LightFM(loss="warp", random_state=0).fit(TRAIN, item_features=FEATURES, epochs=5)


@pytest.fixture(autouse=True)
def ax():
    yield pyplot.figure().add_subplot()
    pyplot.close("all")


def drawn(ax):
    ax.figure.canvas.draw()
    return ax


# ------------------------------------------------------------------------------------------------ learning curves


@pytest.mark.parametrize("as_history", [False, True])
def test_losses_by_epoch(model, ax, as_history):
    assert plotting.learning_curve(model.history_ if as_history else model, ax) is ax
    (line,) = drawn(ax).lines
    assert_array_equal(line.get_xdata(), [1, 2, 3, 4, 5])
    assert_array_equal(line.get_ydata(), [epoch["loss"] for epoch in model.history_])
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_legend()) == (
        "epoch",
        "training loss" if as_history else "training loss (warp)",
        None,
    )


def test_losses_by_seconds_with_labels(model, ax):
    other = LightFM(loss="bpr", random_state=0).fit(TRAIN, epochs=2)
    plotting.learning_curve({"warp": model, "$5_": other}, ax, x="seconds")
    assert_allclose(drawn(ax).lines[0].get_xdata(), np.cumsum([epoch["seconds"] for epoch in model.history_]))
    assert len(ax.lines[1].get_xdata()) == 2
    assert ax.get_ylabel() == "training loss"  # of two kinds
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["warp", r"\$5_"]


def test_a_single_epoch_is_the_only_tick(ax):
    plotting.learning_curve(LightFM(random_state=0).fit(TRAIN, epochs=1), ax)
    first, last = drawn(ax).get_xlim()
    assert [tick for tick in ax.get_xticks() if first <= tick <= last] == [1]


def test_the_best_epoch_of_a_metric_is_marked(ax):
    values = iter([0.1, 0.5, 0.3, 0.5])
    stopping = EarlyStopping(lambda model: next(values), patience=9)
    trained = LightFM(random_state=0).fit(TRAIN, epochs=2)
    trained.fit_partial(TRAIN, epochs=4, callbacks=[stopping])
    plotting.learning_curve(stopping, ax)
    line, best = drawn(ax).lines
    assert_array_equal(line.get_xdata(), [3, 4, 5, 6])
    assert_array_equal(line.get_ydata(), [0.1, 0.5, 0.3, 0.5])
    assert (best.get_xdata()[0], best.get_ydata()[0]) == (4, 0.5)
    assert ax.texts[0].get_text() == "best: 0.5"
    assert ax.get_ylabel() == "metric, held out"
    named = EarlyStopping(precision_at_k, TEST)
    trained.fit_partial(TRAIN, callbacks=[named])
    assert plotting.learning_curve(named).get_ylabel() == "precision@10, held out"
    for metric, options, name in (
        (partial(ndcg_at_k, k=3), {}, "ndcg@3"),
        (ndcg_at_k, {"k": 5}, "ndcg@5"),
        (auc_score, {}, "auc"),
    ):
        stopping = EarlyStopping(metric, TEST, **options)
        trained.fit_partial(TRAIN, callbacks=[stopping])
        assert plotting.learning_curve(stopping).get_ylabel() == f"{name}, held out"


@pytest.mark.parametrize(
    ("curves", "x", "error", "message"),
    [
        (LightFM(), "epoch", ValueError, "no epochs: fit the model first"),
        (EarlyStopping(len), "epoch", ValueError, "no epochs: pass it to fit first"),
        (EarlyStopping(len), "seconds", ValueError, "does not keep times"),
        ({}, "epoch", ValueError, "there are no curves"),
        (3, "epoch", TypeError, "a curve is 3, expected a model"),
        ([1.0, 2.0], "epoch", TypeError, "expected a model, its history_"),
        ([], "batch", ValueError, "x is 'batch'"),
    ],
)
def test_what_is_no_curve(curves, x, error, message):
    before = pyplot.get_fignums()
    with pytest.raises(error, match=message):
        plotting.learning_curve(curves, x=x)
    assert pyplot.get_fignums() == before


# ------------------------------------------------------------------------------------------- from cold to warm


def group_of(count):
    return len(bin(count)) - 2 if count else 0


def expected_groups(counts, values):
    """Return the values of each range, by the range's groups: those with few values are joined, but never group 0."""
    groups = {}
    for count, value in zip(counts, values, strict=True):
        groups.setdefault((group_of(count),), []).append(value)
    while True:
        keys = sorted(groups)
        small = next((key for key in keys if len(groups[key]) < plotting.FEWEST and key != (0,)), None)
        if small is None or (keys[-1:] in ([(0,)], [small]) and len(keys) - ((0,) in keys) == 1):
            return {key: np.array(groups[key], dtype=float) for key in keys}
        place = keys.index(small)
        other = keys[place + 1] if small != keys[-1] else keys[place - 1]
        groups[tuple(sorted(small + other))] = groups.pop(small) + groups.pop(other)


def check_points(ax, groups, place=0):
    points, _, (bars,) = ax.containers[place]
    assert_allclose(points.get_xdata().astype(float), [np.mean(key) for key in groups])
    assert_allclose(points.get_ydata().astype(float), [values.mean() for values in groups.values()])
    for segment, values in zip(bars.get_segments(), groups.values(), strict=True):
        if len(values) > 1:
            error = values.std(ddof=1) / np.sqrt(len(values))
            assert_allclose(segment[:, 1], values.mean() + np.array([-error, error]))


def some_cold(matrix):
    """Without the interactions of some items and some users."""
    cells = (matrix.col % 7 > 0) & (matrix.row % 9 > 0)
    return sp.coo_matrix((matrix.data[cells], (matrix.row[cells], matrix.col[cells])), shape=matrix.shape)


@pytest.mark.parametrize("metric", ["recall", "reciprocal_rank"])
def test_metric_by_popularity(model, ax, metric):
    train = some_cold(TRAIN)
    assert plotting.metric_by_popularity(model, TEST, train, ax, metric=metric, k=5, item_features=FEATURES) is ax
    ranks = model.predict_rank(TEST, train, item_features=FEATURES).tocoo()
    popularity = np.bincount(train.col, minlength=60)[ranks.col].tolist()
    values = ranks.data < 5 if metric == "recall" else 1 / (1 + ranks.data)
    groups = expected_groups(popularity, values.tolist())
    assert (0,) in groups
    check_points(drawn(ax), groups)
    labels = [label.get_text().split("\n") for label in ax.get_xticklabels()]
    assert labels[0] == ["0", f"({len(groups[(0,)])})"]
    ranges = [(2 ** key[0] // 2, 2 ** key[-1] - 1) for key in groups]
    assert [label for label, _ in labels] == [
        f"{first}" if first == last else f"{first}–{last}" for first, last in ranges
    ]
    assert ax.get_ylabel() == {"recall": "recall@5", "reciprocal_rank": "reciprocal rank"}[metric]


@pytest.mark.parametrize("metric", ["ndcg", "auc", "novelty"])
def test_metric_by_interactions(model, ax, metric):
    train = some_cold(TRAIN)
    options = {"k": 5, "item_features": FEATURES}
    assert plotting.metric_by_interactions(model, TEST, train, ax, metric=metric, **options) is ax
    result = evaluate(model, TEST, train, metric, per_user=True, **options)
    ((name, values),) = result.per_user.items()
    counts = np.bincount(train.row, minlength=80)[result.users].tolist()
    groups = expected_groups(counts, values)
    assert (0,) in groups
    check_points(drawn(ax), groups)
    assert ax.get_ylabel() == name


def test_ranges_with_few_values_are_joined_but_cold_stays_cold(ax):
    # one interaction with a cold item, two with items of one view, twenty with items of eight
    counts = [0] + [1] * 2 + [8] * 20 + [300]
    train = sp.csr_matrix(np.array([[user < count for count in counts] for user in range(300)], dtype=float))
    test = sp.csr_matrix((np.ones(24), ([300] * 24, range(24))), shape=(301, 24))
    train = sp.vstack([train, sp.csr_matrix((1, 24))]).tocsr()
    model = LightFM(random_state=0).fit_partial(train, epochs=0)
    plotting.metric_by_popularity(model, test, train, ax)
    assert [label.get_text() for label in drawn(ax).get_xticklabels()] == ["0\n(1)", "1–511\n(23)"]


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_every_colour_shows_on_its_background(model, style):
    with pyplot.style.context(style):
        points = np.random.RandomState(1).normal(size=(30, 4))
        maps = plotting.embedding_map(points, names=[f"name {n}" for n in range(30)])
        why = plotting.contributions(model.explain(3, 5, item_features=FEATURES))
        cold = plotting.metric_by_popularity(model, TEST, TRAIN, item_features=FEATURES)
        for ax in map(drawn, (maps, why, cold)):
            background = np.array(matplotlib.colors.to_rgb(ax.get_facecolor()))
            texts = [text.get_color() for text in ax.texts]
            lines = [line.get_color() for line in ax.lines]
            rings = [tuple(colour) for part in ax.collections for colour in part.get_edgecolors()]
            assert texts + lines + rings
            for colour in texts + lines + rings:
                assert np.abs(np.array(matplotlib.colors.to_rgb(colour)) - background).max() > 0.3, colour
        (halo,) = maps.texts[0].get_path_effects()
        assert halo._gc["foreground"] == maps.get_facecolor()


def test_models_side_by_side(model, ax):
    low = LightFM(random_state=0).fit_partial(TRAIN, epochs=0)
    for label, other in (("untrained", low), ("trained", model)):
        features = FEATURES if other is model else None
        plotting.metric_by_popularity(other, TEST, TRAIN, ax, label=label, item_features=features)
    assert [text.get_text() for text in drawn(ax).get_legend().get_texts()] == ["untrained", "trained"]
    highest = max(point for container in ax.containers for point in container[0].get_ydata())
    assert ax.get_ylim()[0] == 0
    assert ax.get_ylim()[1] > highest


def test_known_interactions_are_left_out_of_the_test(model, ax):
    both = TEST + TRAIN
    plotting.metric_by_popularity(model, both, TRAIN, ax, item_features=FEATURES)
    plotting.metric_by_popularity(model, TEST, TRAIN, ax, item_features=FEATURES)
    first, second = (container[0].get_ydata() for container in ax.containers)
    assert_array_equal(first, second)


@pytest.mark.parametrize("plot", [plotting.metric_by_popularity, plotting.metric_by_interactions])
def test_dislikes_are_no_hits(model, ax, plot):
    entries = sp.coo_matrix(TEST)
    values = np.where(np.arange(entries.nnz) % 3 == 0, -1.0, 1.0)
    rated = sp.coo_matrix((values, (entries.row, entries.col)), shape=entries.shape).tocsr()
    for test in (rated, rated.multiply(rated > 0)):
        plot(model, test, TRAIN, ax, item_features=FEATURES)
    first, second = (container[0].get_ydata() for container in ax.containers)
    assert_array_equal(first, second)


@pytest.mark.parametrize("plot", [plotting.metric_by_popularity, plotting.metric_by_interactions])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric": "coverage"}, "metric is 'coverage'"),
        ({"k": 0}, "k is 0"),
        ({"train": TRAIN.tocsr()[:5]}, "test has shape (80, 60) but train has (5, 60)"),
        ({"test": TRAIN}, "there is nothing to find"),
        ({"item_features": None}, "needs them here too"),
    ],
)
def test_what_cannot_be_measured(model, plot, change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        plot(model, **{"test": TEST, "train": TRAIN, "item_features": FEATURES, **change})


# ------------------------------------------------------------------------------------------------- embedding maps


def test_map_is_the_first_two_principal_components(ax):
    points = np.random.RandomState(0).normal(size=(50, 6)) * [5, 1, 0.1, 3, 0.1, 0.1] + 7
    before = points.copy()
    assert plotting.embedding_map(points, ax=ax) is ax
    assert_array_equal(points, before)
    centred = points.astype(np.float32).astype(float) - points.astype(np.float32).astype(float).mean(axis=0)
    _, values, directions = np.linalg.svd(centred, full_matrices=False)
    found = drawn(ax).collections[0].get_offsets()
    for axis in (0, 1):
        expected = centred @ directions[axis]
        sign = np.sign(directions[axis][np.abs(directions[axis]).argmax()])
        assert_allclose(found[:, axis], sign * expected, rtol=1e-5, atol=1e-6)
    shares = values**2 / (values**2).sum()
    assert ax.get_xlabel() == f"first component ({shares[0]:.0%} of the variance)"
    assert ax.get_ylabel() == f"second component ({shares[1]:.0%})"


def test_groups_have_colours_and_the_smallest_are_grey(ax):
    groups = [f"${letter}" for letter in "aabbccddeeffgghhiijk"] + [None]
    plotting.embedding_map(np.random.RandomState(0).normal(size=(21, 3)), groups=groups, ax=ax)
    labels = [text.get_text() for text in drawn(ax).get_legend().get_texts()]
    assert labels == [rf"\${letter}" for letter in "abcdefghi"] + ["other"]
    by_label = {collection.get_label(): collection for collection in ax.collections}
    assert len(by_label["other"].get_offsets()) == 3
    assert all(len(by_label[label].get_offsets()) == 2 for label in labels[:-1])
    colours = {tuple(by_label[label].get_facecolors()[0][:3]) for label in labels}
    assert len(colours) == 10


@pytest.mark.parametrize("n_names", [1, 10, 300])
def test_names_do_not_overlap(ax, n_names):
    points = np.random.RandomState(1).normal(size=(300, 4))
    plotting.embedding_map(points, names=[f"name {n}" for n in range(300)], ax=ax, n_names=n_names)
    assert 1 <= len(ax.texts) <= n_names
    assert len(ax.texts) == n_names or n_names == 300
    rooms = [text.get_window_extent() for text in drawn(ax).texts]
    assert not any(one.overlaps(other) for place, one in enumerate(rooms) for other in rooms[:place])
    places = ax.collections[0].get_offsets()
    outermost = np.hypot(*places.T).argmax()
    named = {int(text.get_text().split()[1]) for text in ax.texts}
    assert outermost in named
    marked = ax.collections[1].get_offsets()
    assert_array_equal(np.sort(marked, axis=0), np.sort(places[sorted(named)], axis=0))


def test_missing_groups_are_grey(ax):
    groups = pd.Series(["a", "b", None, np.nan, pd.NA, "b"], dtype=object, index=range(6, 12))
    plotting.embedding_map(np.random.RandomState(0).normal(size=(6, 3)), groups=groups, names=iter("uvwxyz"), ax=ax)
    sizes = {each.get_label(): len(each.get_offsets()) for each in drawn(ax).collections[:3]}
    assert sizes == {"a": 1, "b": 2, "other": 3}


@pytest.mark.parametrize("wrong", [pyplot.figure(), pyplot.subplots(1, 2)[1], "ax", 0])
def test_what_is_no_axes_is_refused(model, wrong):
    explanation = model.explain(3, 5, item_features=FEATURES)
    result = TuningResult(model, {}, 1, True, None, "ndcg", [], None, 0.0, 0.0, 1, False)
    for plot in (
        lambda: plotting.learning_curve(model, wrong),
        lambda: plotting.metric_by_popularity(model, TEST, TRAIN, wrong, item_features=FEATURES),
        lambda: plotting.metric_by_interactions(model, TEST, TRAIN, wrong, item_features=FEATURES),
        lambda: plotting.embedding_map(np.eye(3), ax=wrong),
        lambda: explanation.plot(wrong),
        lambda: result.plot(wrong),
    ):
        with pytest.raises(TypeError, match="^ax is .*, expected one Axes"):
            plot()


def test_what_is_no_result_is_refused(model):
    with pytest.raises(TypeError, match="^explanation is .*, expected what explain"):
        plotting.contributions(model)
    with pytest.raises(TypeError, match="^result is .*, expected what tune"):
        plotting.tuning_curves(model)


def test_groups_and_names_that_are_no_lists():
    for options, message in (
        ({"names": "abc"}, "names is 'abc' .str., expected a list"),
        ({"groups": {"a", "b", "c"}}, "groups is .*set., expected a list"),
        ({"groups": [["a"], ["b"], ["a"]]}, r"groups holds \['a'\], expected one plain value"),
    ):
        with pytest.raises(TypeError, match=message):
            plotting.embedding_map(np.eye(3), **options)


@pytest.mark.parametrize(
    ("embeddings", "options", "message"),
    [
        (np.zeros((1, 3)), {}, "at least 2 rows and 2 columns"),
        (np.zeros((3, 1)), {}, "at least 2 rows and 2 columns"),
        (np.zeros(3), {}, "embeddings is given 1 dimension"),
        (np.full((3, 3), np.nan), {}, "NaN"),
        (np.zeros((3, 3)), {"names": ["a"]}, "names has length 1 but there are 3 embeddings"),
        (np.zeros((3, 3)), {"groups": ["a"] * 4}, "groups has length 4"),
        (np.zeros((3, 3)), {"n_names": 0}, "n_names is 0"),
    ],
)
def test_what_has_no_map(embeddings, options, message):
    with pytest.raises(ValueError, match=message):
        plotting.embedding_map(embeddings, **options)


def test_points_that_are_all_the_same(ax):
    plotting.embedding_map(np.ones((4, 3)), names=list("abcd"), ax=ax)
    assert_array_equal(drawn(ax).collections[0].get_offsets(), np.zeros((4, 2)))


def test_long_names_are_cut_between_words():
    names = ["E.T. the Extra-Terrestrial (1982) and more", "Short", "x" * 50]
    assert [plotting._shortened(name) for name in names] == ["E.T. the Extra-Terrestrial…", "Short", "x" * 31 + "…"]


def test_characters_that_the_font_lacks_come_from_another(model, ax):
    stix, usual = (
        set(font_manager.get_font(font_manager.findfont(family)).get_charmap())
        for family in ("STIXGeneral", "DejaVu Sans")
    )
    letter = next(chr(code) for code in sorted(stix - usual) if unicodedata.category(chr(code)) == "So")
    plotting.embedding_map(np.eye(3), names=[letter] * 3, groups=[letter, "b", "c"], ax=ax)
    drawn(ax)  # a warning of a missing character is an error
    drawn(model.explain(3, 5, item_features=FEATURES, item_name=letter).plot())


def test_long_names_stay_in_the_picture(model):
    features = [f"{n}: the feature that has a name of {'very ' * 50}many words" for n in range(FEATURES.shape[1])]
    named = {"item_feature_names": features, "user_name": "u" * 300, "item_name": "title " * 90}
    ax = drawn(model.explain(3, 5, item_features=FEATURES, **named).plot())
    for text in (ax._right_title, *ax.get_yticklabels()):
        room = text.get_window_extent()
        assert room.x0 >= 0
        assert room.x1 <= ax.figure.bbox.x1
    assert ax.get_window_extent().width > ax.figure.bbox.width / 3


# ---------------------------------------------------------------------------------------------------- interactive


def test_an_interactive_map_names_every_point():
    pytest.importorskip("plotly")
    points = np.random.RandomState(0).normal(size=(40, 4))
    names = [f"<{n}>" for n in range(40)]
    groups = [1, "1", None, "b"] * 10
    figure = plotting.embedding_map(points, names=names, groups=groups, interactive=True)
    assert [(trace.name, len(trace.x)) for trace in figure.data] == [("1", 10), ("1", 10), ("b", 10), ("other", 10)]
    assert figure.data[2].text.tolist() == [f"&lt;{n}&gt;" for n in range(3, 40, 4)]
    offsets = plotting.embedding_map(points).collections[0].get_offsets()
    assert_allclose(np.column_stack([figure.data[0].x, figure.data[0].y]), offsets[::4])
    assert figure.layout.xaxis.title.text.startswith("first component (")
    pyplot.close("all")


def test_an_interactive_map_without_groups_has_one_colour():
    pytest.importorskip("plotly")
    (trace,) = plotting.embedding_map(np.eye(4), interactive=True).data
    assert trace.text.tolist() == ["0", "1", "2", "3"]
    assert not trace.showlegend


def test_an_interactive_waterfall_adds_up_to_the_score(model):
    pytest.importorskip("plotly")
    explanation = model.explain(3, 5, item_features=FEATURES)
    (bars,) = plotting.contributions(explanation, n=2, interactive=True).data
    assert bars.measure == ("relative", "relative", "relative", "total")
    assert sum(bars.x[:3]) == pytest.approx(bars.x[3]) == pytest.approx(explanation.score)
    assert bars.hovertext[0].startswith("bias of")


def test_an_interactive_plot_has_no_axes(model, ax, monkeypatch):
    with pytest.raises(ValueError, match="leave out ax"):
        plotting.embedding_map(np.eye(3), ax=ax, interactive=True)
    with pytest.raises(ValueError, match="leave out ax"):
        model.explain(3, 5, item_features=FEATURES).plot(ax, interactive=True)
    with pytest.raises(ValueError, match="interactive is 'yes'"):
        plotting.embedding_map(np.eye(3), interactive="yes")
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    with pytest.raises(ImportError, match=r"lightfm_fast\[interactive\]"):
        plotting.embedding_map(np.eye(3), interactive=True)


# -------------------------------------------------------------------------------------------------------- the rest


def test_contributions(model, ax):
    explanation = model.explain(3, 5, item_features=FEATURES)
    assert plotting.contributions(explanation, ax, n=2) is ax
    assert_allclose([bar.get_width() for bar in ax.patches[:2]], [r["contribution"] for r in explanation.rows()[:2]])


@pytest.mark.parametrize(
    "plot",
    [
        lambda model: plotting.learning_curve(model),
        lambda model: plotting.metric_by_popularity(model, TEST, TRAIN, item_features=FEATURES),
        lambda model: plotting.metric_by_interactions(model, TEST, TRAIN, item_features=FEATURES),
        lambda model: plotting.embedding_map(model.item_embeddings),
    ],
)
def test_a_figure_of_its_own_and_no_matplotlib(model, monkeypatch, plot):
    n_figures = len(pyplot.get_fignums())
    drawn(plot(model))
    assert len(pyplot.get_fignums()) == n_figures + 1
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"lightfm_fast\[plot\]"):
        plot(model)
