"""Plots of training and of models, with matplotlib (the extra ``plot``). Each takes an Axes and returns it.

With ``interactive=True``, a map or a waterfall is a figure of plotly (the extra ``interactive``).
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._arguments import check_axes, check_choice, check_count, check_model, import_optional, shorten
from ._axes import GREY, families_for, mark_point, new_axes, plain
from ._cells import is_hashable, is_missing, show
from ._interactive import check_interactive, draw_map
from ._matrices import check_known_positives, check_state_array
from .callbacks import EarlyStopping
from .data.columns import read_objects
from .evaluation import METRICS, evaluate, mean_and_error
from .explanation import Explanation
from .tuning import TuningResult

__all__ = [
    "contributions",
    "embedding_map",
    "learning_curve",
    "metric_by_interactions",
    "metric_by_popularity",
    "tuning_curves",
]


LOSS = "training loss"
# Places of a name beside its point: offset in points, and alignment.
SIDES = (
    ((5, 0), "left", "center"),
    ((-5, 0), "right", "center"),
    ((0, 5), "center", "bottom"),
    ((0, -5), "center", "top"),
)
N_COLOURS = 9  # groups with their own colour; all others are grey
LONGEST_NAME = 32  # characters of a point's name
FEWEST = 10  # values of a range whose mean is drawn


def learning_curve(curves: Any, ax: Any = None, x: str = "epoch") -> Any:
    """Draw the loss, or a held-out metric, epoch by epoch.

    Parameters
    ----------
    curves : LightFM, list of its records, EarlyStopping, or mapping from label to any of these
        Of a model or its ``history_`` the loss is drawn; of an EarlyStopping the metric, with a mark at the best epoch.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.
    x : {"epoch", "seconds"}
        Horizontal axis: epochs, or training time in seconds, which an EarlyStopping does not know.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError
        If a curve has another type, or ``ax`` is no Axes.
    ValueError
        If a curve has no epochs, or ``x="seconds"`` is given with an EarlyStopping.
    """
    check_choice(x, "x", ("epoch", "seconds"))
    check_axes(ax)
    labelled = curves if isinstance(curves, Mapping) else {"": curves}
    read = {label: _read_curve(curve, x) for label, curve in labelled.items()}
    if not read:
        raise ValueError("there are no curves: give a model, an EarlyStopping, or a dict of them with their labels")
    ax = _axes(ax)
    for label, (places, values, _, best) in read.items():
        (line,) = ax.plot(places, values, marker="o", markersize=3.5, label=plain(label), clip_on=False, zorder=3)
        if best is not None:
            mark_point(ax, (places[best], values[best]), f"best: {values[best]:.4g}", 9, line.get_color())
    ax.margins(y=0.15)
    ax.set_xlabel("epoch" if x == "epoch" else "seconds of training")
    ax.set_ylabel(_common_kind([kind for _, _, kind, _ in read.values()]))
    if x == "epoch":
        ax.xaxis.set_major_locator(
            import_optional("matplotlib.ticker", "plot", "plotting").MaxNLocator(integer=True, min_n_ticks=1)
        )
    if isinstance(curves, Mapping):
        ax.legend(frameon=False)
    _tidy(ax)
    return ax


def metric_by_popularity(
    model: Any,
    test: Any,
    train: Any,
    ax: Any = None,
    *,
    metric: str = "recall",
    k: int = 10,
    label: str | None = None,
    user_features: Any = None,
    item_features: Any = None,
    num_threads: int = 1,
) -> Any:
    r"""Draw a metric of held-out interactions against the item's number of training interactions.

    Each point is the mean over the held-out interactions whose items are in one range of that number; its error bar is
    one standard error. Call it again with the same Axes to compare models.

    Parameters
    ----------
    model : LightFM
        Or any object with a ``predict_rank`` like LightFM's.
    test, train : sparse matrix or array, or dense array, shape (n_users, n_items)
        Entries of ``test`` above zero are positives. Entries of ``train`` are left out of the ranking and of the test.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.
    metric : {"recall", "reciprocal_rank"}
        The share of the interactions whose item is among the first ``k``, or the mean of 1 / rank, with ranks from 1.
    k : int
        Length of the lists.
    label : str, optional
        The model's name in a legend.
    user_features, item_features : sparse matrix, optional
        As in fitting.
    num_threads : int

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError
        If ``ax`` is no Axes.
    ValueError
        If the matrices do not fit each other or the model, or nothing is held out.
    """
    check_choice(metric, "metric", ("recall", "reciprocal_rank"))
    k = check_count(k, "k")
    check_model(model, "predict_rank")
    check_axes(ax)
    positives, known = _positives(test, train)
    ranks = model.predict_rank(
        positives,
        train_interactions=known,
        user_features=user_features,
        item_features=item_features,
        num_threads=num_threads,
    )
    popularity = np.bincount(known.indices, minlength=known.shape[1])[ranks.indices]
    found = ranks.data < k if metric == "recall" else 1 / (ranks.data.astype(np.float64) + 1)
    ax = _by_count(_axes(ax), popularity, found.astype(np.float64), "interactions", label)
    ax.set_xlabel("training interactions of the item")
    ax.set_ylabel(f"recall@{k}" if metric == "recall" else "reciprocal rank")
    return ax


def metric_by_interactions(
    model: Any,
    test: Any,
    train: Any,
    ax: Any = None,
    *,
    metric: str = "ndcg",
    k: int = 10,
    label: str | None = None,
    user_features: Any = None,
    item_features: Any = None,
    num_threads: int = 1,
) -> Any:
    """Draw a metric of users against the user's number of training interactions.

    Each point is the mean over the users in one range of that number; its error bar is one standard error. Call it
    again with the same Axes to compare models.

    Parameters
    ----------
    model, test, train, ax, k, label, user_features, item_features, num_threads
        As in :func:`metric_by_popularity`.
    metric : str
        One of :data:`lightfm_fast.evaluation.METRICS`, except "coverage", which is not defined for single users.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError, TypeError, ValueError
        As :func:`metric_by_popularity`.
    """
    check_choice(metric, "metric", tuple(name for name in METRICS if name != "coverage"))
    k = check_count(k, "k")
    check_model(model, "predict_rank")
    check_axes(ax)
    positives, known = _positives(test, train)
    result = evaluate(
        model,
        positives,
        known,
        metric,
        k,
        user_features=user_features,
        item_features=item_features,
        num_threads=num_threads,
        per_user=True,
    )
    ((name, values),) = (result.per_user or {}).items()
    ax = _by_count(_axes(ax), np.diff(known.indptr)[result.users], values, "users", label)
    ax.set_xlabel("training interactions of the user")
    ax.set_ylabel(name)
    return ax


def embedding_map(
    embeddings: Any,
    names: Sequence[Any] | None = None,
    groups: Sequence[Any] | None = None,
    ax: Any = None,
    *,
    n_names: int = 25,
    interactive: bool = False,
) -> Any:
    """Draw embeddings by their first two principal components, the plane of largest variance.

    Parameters
    ----------
    embeddings : array of shape (n, no_components), n and no_components at least 2
        For items, ``get_item_representations(features)[1]``; for item features, ``item_embeddings``. Users likewise.
    names : sequence of length n, optional
        Names of points. Names are written where there is room, the outermost points first.
    groups : sequence of length n, optional
        Groups to colour. Points outside the nine largest groups, or of a missing group, are grey.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.
    n_names : int
        The largest number of names.
    interactive : bool
        Return a figure of plotly instead, which shows the name of the point under the pointer: every point has one.
        ``figure.write_html("map.html")`` makes a page of it.

    Returns
    -------
    matplotlib.axes.Axes or plotly.graph_objects.Figure

    Raises
    ------
    ImportError
        If matplotlib, or plotly, is not installed.
    TypeError
        If ``ax`` is no Axes, or ``names`` or ``groups`` are no list or column, or a group is not hashable.
    ValueError
        If ``embeddings`` has another shape or a value that is not finite, ``names`` or ``groups`` have another
        length, or ``ax`` is given and ``interactive`` is True.
    """
    points = check_state_array(embeddings, "embeddings", 2).astype(np.float64)
    if min(points.shape) < 2:
        raise ValueError(f"embeddings has shape {points.shape}, expected at least 2 rows and 2 columns")
    names, groups = (
        None if given is None else read_objects(given, what) for what, given in (("names", names), ("groups", groups))
    )
    for what, given in (("names", names), ("groups", groups)):
        if given is not None and len(given) != len(points):
            raise ValueError(f"{what} has length {len(given):,} but there are {len(points):,} embeddings")
    wrong = next((group for group in groups or () if not is_hashable(group)), None)
    if wrong is not None:
        raise TypeError(f"groups holds {show(wrong)}, expected one plain value for each point, such as text")
    n_names = check_count(n_names, "n_names")
    check_interactive(interactive, ax)
    places, shares = _principal_components(points)
    axes = f"first component ({shares[0]:.0%} of the variance)", f"second component ({shares[1]:.0%})"
    if interactive:
        everything = [("", np.ones(len(points), dtype=bool), True)]
        return draw_map(
            places,
            axes,
            range(len(points)) if names is None else names,
            everything if groups is None else _members(groups),
        )
    ax = _axes(ax)
    size = float(np.clip(6000 / len(points), 4, 40))
    style = {"s": size, "linewidths": 0, "alpha": 0.75 if len(points) < 2000 else 0.5}
    if groups is None:
        ax.scatter(*places.T, color="C0", **style)
    else:
        _scatter_groups(ax, places, groups, style)
    ax.set_xlabel(axes[0])
    ax.set_ylabel(axes[1])
    ax.set_aspect("equal", adjustable="datalim")
    ax.margins(0.08)
    _tidy(ax)
    if names is not None:
        _write_names(ax, places, names, n_names)
    return ax


def contributions(explanation: Explanation, ax: Any = None, n: int = 10, *, interactive: bool = False) -> Any:
    """Draw how contributions add up to a score; see :meth:`lightfm_fast.explanation.Explanation.plot`."""
    if not isinstance(explanation, Explanation):
        raise TypeError(f"explanation is {shorten(explanation)}, expected what explain() returned")
    return explanation.plot(ax, n, interactive=interactive)


def tuning_curves(result: TuningResult, ax: Any = None) -> Any:
    """Draw each trial of a search by epochs: :meth:`lightfm_fast.tuning.TuningResult.plot`."""
    if not isinstance(result, TuningResult):
        raise TypeError(f"result is {shorten(result)}, expected what tune() returned")
    return result.plot(ax)


def _axes(ax: Any) -> Any:
    return new_axes("lightfm_fast.plotting") if ax is None else ax


def _tidy(ax: Any) -> None:
    ax.spines[["top", "right"]].set_visible(False)


def _shortened(name: str) -> str:
    """Leave the last words of a long name out."""
    if len(name) <= LONGEST_NAME:
        return name
    words, space, _ = name[:LONGEST_NAME].rpartition(" ")
    return f"{words if space else name[: LONGEST_NAME - 1]}…"


def _read_curve(curve: Any, x: str) -> tuple[list[float], list[float], str, int | None]:
    """Return the positions on x, the values, the name of the values, and the index of the best value or None."""
    if isinstance(curve, EarlyStopping):
        if x == "seconds":
            raise ValueError("EarlyStopping does not keep times: draw it against x='epoch'")
        if curve.best_score_ is None or curve.best_epoch_ is None:
            raise ValueError("the EarlyStopping has no epochs: pass it to fit first, in callbacks")
        best = curve.scores_.index(curve.best_score_)
        first = curve.best_epoch_ - best
        return [float(first + place) for place in range(len(curve.scores_))], curve.scores_, _name_of(curve), best
    history = getattr(curve, "history_", curve)
    kind = f"training loss ({curve.loss})" if hasattr(curve, "loss") else LOSS
    if not isinstance(history, Sequence) or not all(isinstance(record, Mapping) for record in history):
        raise TypeError(f"a curve is {shorten(curve)}, expected a model, its history_ or an EarlyStopping")
    if not history:
        raise ValueError("a curve has no epochs: fit the model first")
    losses = [float(record["loss"]) for record in history]
    if x == "seconds":
        return np.cumsum([record["seconds"] for record in history]).tolist(), losses, kind, None
    return [float(record["epoch"]) for record in history], losses, kind, None


def _common_kind(kinds: list[str]) -> str:
    """Name the vertical axis of several curves."""
    if len(set(kinds)) == 1:
        return kinds[0]
    return LOSS if all(kind.startswith(LOSS) for kind in kinds) else ", ".join(dict.fromkeys(kinds))


def _name_of(stopping: EarlyStopping) -> str:
    """Name the metric of an EarlyStopping, with the length of its lists: "precision@10, held out"."""
    function = getattr(stopping.metric, "func", stopping.metric)  # of a partial function
    name = getattr(function, "__name__", "")
    if not name.isidentifier():
        return "metric, held out"
    if name.endswith("_at_k"):
        given = {**getattr(stopping.metric, "keywords", {}), **stopping.options}
        k = given.get("k", inspect.signature(function).parameters["k"].default)
        return f"{name.removesuffix('_at_k')}@{k}, held out"
    return f"{name.removesuffix('_score').replace('_', ' ')}, held out"


def _positives(test: Any, train: Any) -> tuple[Any, Any]:
    """Return the test positives that are not in train, and the entries of train."""
    positives, known = check_known_positives(test, "test", above_zero=True), check_known_positives(train, "train")
    if positives.shape != known.shape:
        raise ValueError(f"test has shape {positives.shape} but train has {known.shape}")
    positives = positives - positives.multiply(known)
    positives.eliminate_zeros()
    if not positives.nnz:
        raise ValueError("test has no positive that is not in train: there is nothing to find")
    return positives, known


def _by_count(ax: Any, counts: NDArray[Any], values: NDArray[np.float64], what: str, label: str | None) -> Any:
    """Draw means over ranges of counts that double, evenly spaced: 0, 1, 2–3, 4–7 and so on.

    A range with few values is joined with the next, since its mean would be mostly chance. 0 stays alone: cold is cold.
    """
    groups = np.frexp(counts.astype(np.float64))[1]  # 0 for 0, else the number of binary digits
    ranges = _joined(*np.unique(groups, return_counts=True))
    chosen = [values[np.isin(groups, members)] for members in ranges]
    means, errors = zip(*map(mean_and_error, chosen), strict=True)
    places = [float(np.mean(members)) for members in ranges]
    ax.errorbar(
        places,
        means,
        yerr=errors,
        marker="o",
        markersize=5,
        capsize=3,
        linewidth=1.5,
        label=None if label is None else plain(label),
    )
    ticks = [f"{_range(*members)}\n({_short(len(part))})" for members, part in zip(ranges, chosen, strict=True)]
    ax.set_xticks(places, ticks, fontsize="small")
    ax.autoscale(axis="y")  # an earlier model on this Axes has fixed the limits
    ax.autoscale_view()
    ax.set_ylim(bottom=0)
    ax.margins(x=0.06)
    ax.grid(axis="y", color=GREY, alpha=0.25)
    ax.set_axisbelow(True)
    ax.set_title(f"in brackets: held-out {what}", fontsize="small", color=GREY, loc="right")
    if label is not None:
        ax.legend(frameon=False)
    _tidy(ax)
    return ax


def _joined(present: NDArray[Any], sizes: NDArray[Any]) -> list[list[int]]:
    """Join neighbouring groups until each has at least ``FEWEST`` values, but never join group 0."""
    ranges: list[list[int]] = []
    open_range: list[int] = []
    n_values = 0
    for group, size in zip(present.tolist(), sizes.tolist(), strict=True):
        open_range.append(group)
        n_values += size
        if n_values >= FEWEST or group == 0:
            ranges.append(open_range)
            open_range, n_values = [], 0
    if open_range and ranges and ranges[-1] != [0]:
        ranges[-1] += open_range
    elif open_range:
        ranges.append(open_range)
    return ranges


def _range(*n_digits: int) -> str:
    first, last = (1 << n_digits[0]) >> 1, (1 << n_digits[-1]) - 1
    return _short(first) if first == last else f"{_short(first)}–{_short(last)}"


def _short(number: int) -> str:
    return f"{number:,}" if number < 10_000 else f"{number / 1000:.0f}k"


def _principal_components(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return projections on the two directions of largest variance, with fixed signs, and their shares of variance."""
    centred = points - points.mean(axis=0)
    # The size of the covariance does not depend on the number of points; its singular vectors are the directions.
    directions, variances, _ = np.linalg.svd(centred.T @ centred)
    axes = directions[:, :2]
    axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), [0, 1]] < 0, -1, 1)
    return centred @ axes, variances[:2] / (variances.sum() or 1)


def _members(groups: list[Any]) -> list[tuple[str, NDArray[np.bool_], bool]]:
    """Return the label of each group with a colour and which points it has, and last the others, without a colour."""
    groups = [None if is_missing(group) else group for group in groups]
    sizes = Counter(group for group in groups if group is not None)
    largest = sorted(sizes, key=lambda group: -sizes[group])[:N_COLOURS]
    members = [(str(group), np.array([other == group for other in groups]), True) for group in largest]
    others = np.array([group not in largest for group in groups])
    return [*members, ("other", others, False)] if others.any() else members


def _scatter_groups(ax: Any, places: NDArray[np.float64], groups: list[Any], style: dict[str, Any]) -> None:
    colours = iter([f"C{number}" for number in range(10) if number != 7])  # C7 is grey
    for label, mine, has_colour in _members(groups):
        given = {"color": next(colours)} if has_colour else {"color": "0.75", "zorder": 0.9}  # below all groups
        ax.scatter(*places[mine].T, label=plain(label), **given, **style)
    family = families_for(map(str, groups))
    legend = ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1), prop={"family": family})
    for handle in legend.legend_handles:
        handle.set_sizes([30])
        handle.set_alpha(1)


def _write_names(ax: Any, places: NDArray[np.float64], names: Sequence[Any], n_names: int) -> None:
    """Write names where there is room, starting with the points farthest from the origin, and mark named points.

    A name goes to the side of its point where it covers the fewest other points.
    """
    effects = import_optional("matplotlib.patheffects", "plot", "plotting")
    halo = effects.withStroke(linewidth=2, foreground=ax.get_facecolor())
    shown = [plain(_shortened(str(name))) for name in names]
    families = families_for(shown)
    ax.figure.canvas.draw()  # fixes the layout, which the extent of each name depends on
    inside = ax.get_window_extent()
    taken: list[Any] = []
    marked: list[int] = []
    points = ax.transData.transform(places)
    for place in np.argsort(-np.hypot(*places.T), kind="stable").tolist():
        if len(marked) == n_names:
            break
        if any(room.contains(*points[place]) for room in taken):
            continue  # the point is under a name
        free: list[tuple[int, Any, Any]] = []
        for offset, horizontal, vertical in SIDES:
            text = ax.annotate(
                shown[place],
                places[place],
                xytext=offset,
                textcoords="offset points",
                ha=horizontal,
                va=vertical,
                fontsize="small",
                fontfamily=families,
                path_effects=[halo],
            )
            room = text.get_window_extent()
            is_inside = inside.x0 <= room.x0 and room.x1 <= inside.x1 and inside.y0 <= room.y0 and room.y1 <= inside.y1
            if is_inside and not any(room.overlaps(other) for other in taken):
                covered = (points > [room.x0, room.y0]) & (points < [room.x1, room.y1])
                free.append((int(covered.all(axis=1).sum()), text, room))
            else:
                text.remove()
        if free:
            _, best, room = min(free, key=lambda one: one[0])
            for _, text, _ in free:
                if text is not best:
                    text.remove()
            taken += [room, room.from_bounds(*points[place] - 4, 8, 8)]
            marked.append(place)
    ring = ax.xaxis.label.get_color()
    ax.scatter(*places[marked].T, s=36, facecolors="none", edgecolors=ring, linewidths=0.8)
