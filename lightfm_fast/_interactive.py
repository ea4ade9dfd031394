"""Plots that answer the pointer, with plotly (the extra ``interactive``): figures that a notebook shows, or HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._arguments import check_axes, check_flag, import_optional

MOST_DRAWN = 5000  # points that a browser draws one by one; of more it makes one picture


def check_interactive(interactive: Any, ax: Any) -> None:
    """Raise ValueError if ``interactive`` is no flag, or an Axes is given to draw on; TypeError if ``ax`` is none."""
    check_axes(ax)
    if check_flag(interactive, "interactive") and ax is not None:
        raise ValueError("an interactive plot cannot be drawn on ax: leave out ax, or leave out interactive")


def draw_map(
    places: NDArray[np.float64],
    axes: tuple[str, str],
    names: Sequence[Any],
    groups: Sequence[tuple[str, NDArray[np.bool_], bool]],
) -> Any:
    """Return a scatter plot that shows the name of the point under the pointer, with a switch for each group.

    Groups are labels, the points of each, and whether it has a colour.
    """
    graphs = _import()
    kind = graphs.Scatter if len(places) <= MOST_DRAWN else graphs.Scattergl
    figure = graphs.Figure(layout={"template": "plotly_white", "height": 600, "margin": {"t": 40}})
    shown = np.array([escape(str(name)) for name in names], dtype=object)
    for label, mine, has_colour in groups:
        colour = {} if has_colour else {"color": "lightgrey"}
        figure.add_trace(
            kind(
                x=places[mine, 0],
                y=places[mine, 1],
                mode="markers",
                name=escape(label),
                text=shown[mine],
                hovertemplate="%{text}<extra>%{fullData.name}</extra>" if len(groups) > 1 else "%{text}<extra></extra>",
                marker={"size": float(np.clip(6000 / len(places), 16, 100) ** 0.5 * 1.3), "opacity": 0.75, **colour},
                showlegend=len(groups) > 1,
            )
        )
    figure.update_xaxes(title=axes[0])
    figure.update_yaxes(title=axes[1], scaleanchor="x")  # distances in the plane mean something
    return figure


def draw_waterfall(
    title: str, labels: Sequence[str], short: Sequence[str], values: Sequence[float], texts: Sequence[str]
) -> Any:
    """Return a waterfall: each bar starts where the bar above it ends, and the last is the sum of the others.

    A bar has a text, a short label beside it, and its whole label under the pointer.
    """
    graphs = _import()
    places = list(range(len(values)))
    bars = graphs.Waterfall(
        orientation="h",
        x=values,
        y=places,
        measure=["relative"] * (len(values) - 1) + ["total"],
        text=texts,
        textposition="outside",
        cliponaxis=False,
        hovertext=[escape(label) for label in labels],
        hovertemplate="%{hovertext}: %{text}<extra></extra>",
        increasing={"marker": {"color": "#1f77b4"}},
        decreasing={"marker": {"color": "#d62728"}},
        totals={"marker": {"color": "#8c8c8c"}},
    )
    figure = graphs.Figure(bars)
    figure.update_layout(
        template="plotly_white", title=escape(title), height=140 + 32 * len(values), margin={"t": 60, "r": 80}
    )
    figure.update_xaxes(title="contributions to the score, added up")
    figure.update_yaxes(autorange="reversed", tickvals=places, ticktext=[escape(label) for label in short])
    return figure


def _import() -> Any:
    return import_optional("plotly.graph_objects", "interactive", "an interactive plot")
