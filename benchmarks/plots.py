"""Draw the saved results of benchmarks: a picture for each kind of result, from all files of a folder."""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROOT = Path(__file__).parents[1]
# Colours that colour-blind readers can distinguish: M. Okabe and K. Ito, "Color Universal Design", 2008.
COLOURS = {"lightfm_fast": "#0072b2", "lightfm": "#d55e00", "implicit": "#009e73"}
IN_CURVES = ("as given", "identity")  # one case shows the shape, and curves of all would be too small to read
NAMES = {"lightfm_fast": "lightfm_fast", "lightfm": "LightFM", "implicit": "implicit (BPR)"}
BY_THREADS = ("#0072b2", "#56b4e9", "#009e73", "#e69f00")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results", help="folder of JSON files")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "images", help="folder of the pictures")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    rows_of: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(options.results.glob("*.json")):
        if path.name == "baseline.json":  # the record of `check`, shorter runs of the same cases
            continue
        content = json.loads(path.read_text())
        data = content["options"].get("data")
        if data == "generated":
            data += f", {content['options']['interactions']:,} drawn"
        rows = [{"data": data, **row} for row in content["results"]]
        kinds = [name for name, (is_drawn, _) in KINDS.items() if rows and all(map(is_drawn, rows))]
        if not kinds:
            print(f"nothing to draw in {path.name}")
        for kind in kinds:
            rows_of.setdefault(kind, []).extend(rows)
    for kind, rows in rows_of.items():
        picture = options.output / f"{kind}.png"
        KINDS[kind][1](rows).savefig(picture, dpi=100)
        print(f"written: {picture}")


def _subplots(rows: int, columns: int, width: float, height: float) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _label(row: dict[str, Any]) -> str:
    return f"{row['case']}: {row['loss']}" if "case" in row else row["loss"]


def draw_ratios(rows: Sequence[dict[str, Any]]) -> Figure:
    """Draw bars of LightFM's time over ours: a row for each case, thread counts side by side, targets as ticks."""
    labels = list(dict.fromkeys(map(_label, rows)))
    counts = sorted({row["threads"] for row in rows})
    figure, axes = _subplots(1, 1, 8, max(2.5, 0.8 + 0.18 * (1 + len(counts)) * len(labels)))
    axis = axes[0, 0]
    thickness = 0.8 / len(counts)
    for number, threads in enumerate(counts):
        of_count = [row for row in rows if row["threads"] == threads and "lightfm" in row["sides"]]
        places = (
            np.array([labels.index(_label(row)) for row in of_count]) + (number - (len(counts) - 1) / 2) * thickness
        )
        ratios = [row["sides"]["lightfm"]["time over ours"] for row in of_count]
        medians = [ratio["median"] for ratio in ratios]
        spread = [[ratio["median"] - ratio["min"] for ratio in ratios], [r["max"] - r["median"] for r in ratios]]
        axis.barh(
            places,
            medians,
            thickness,
            xerr=spread,
            color=BY_THREADS[number % len(BY_THREADS)],
            error_kw={"linewidth": 0.8},
            label=f"{threads} thread{'s' if threads > 1 else ''}",
        )
        targets = [(place, row["sides"]["lightfm"].get("target")) for place, row in zip(places, of_count, strict=True)]
        known = [(place, target) for place, target in targets if target is not None]
        if known:
            axis.plot(
                [target for _, target in known],
                [place for place, _ in known],
                "k|",
                markersize=6,
                label="target" if number == 0 else None,
            )
    axis.axvline(1, color="black", linewidth=0.8)
    axis.set_yticks(range(len(labels)), labels)
    axis.invert_yaxis()
    axis.set_xlim(left=0)
    axis.set_xlabel("time LightFM takes for an epoch over ours: median, lowest and highest")
    figure.legend(loc="outside upper right", ncols=3)
    return figure


def draw_curves(rows: Sequence[dict[str, Any]]) -> Figure:
    """Draw precision against seconds of training: a row for each case and loss, a column for each thread count."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    labels = list(dict.fromkeys(map(_label, rows)))
    counts = sorted({row["threads"] for row in rows})
    figure, axes = _subplots(len(labels), len(counts), 4.5, 2.8)
    for row in rows:
        axis = axes[labels.index(_label(row)), counts.index(row["threads"])]
        for name, side in row["sides"].items():
            _draw_curve(axis, name, side["curve"])
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_title(f"{_label(row)}, {row['threads']} thread{'s' if row['threads'] > 1 else ''}", fontsize=10)
        axis.set_xlabel("seconds of training")
        axis.set_ylabel("held-out precision@10")
        axis.legend(fontsize=8)
    return figure


def _draw_curve(axis: Axes, name: str, curves: Sequence[dict[str, list[float]]]) -> None:
    """Draw a dot for each epoch: the mean over seeds, with the standard deviation as a band."""
    seconds = np.mean([curve["seconds"] for curve in curves], axis=0)
    precision = np.array([curve["precision@10"] for curve in curves])
    mean, deviation = precision.mean(axis=0), precision.std(axis=0, ddof=1 if len(precision) > 1 else 0)
    axis.plot(seconds, mean, ".-", color=COLOURS.get(name), label=NAMES.get(name, name))
    axis.fill_between(seconds, mean - deviation, mean + deviation, color=COLOURS.get(name), alpha=0.2, linewidth=0)


def draw_growth(rows: Sequence[dict[str, Any]]) -> Figure:
    """Draw the time for an interaction against the number of interactions."""
    figure, axes = _subplots(1, 1, 6, 3.5)
    axis = axes[0, 0]
    losses, counts = (list(dict.fromkeys(row[name] for row in rows)) for name in ("loss", "threads"))
    for row in rows:
        sizes = [int(size) for size in row["sizes"]]
        times = [statistics.median(size["ns an interaction"]) for size in row["sizes"].values()]
        colour = BY_THREADS[losses.index(row["loss"]) % len(BY_THREADS)]
        style = ("o-", "s--", "^:")[counts.index(row["threads"]) % 3]
        axis.plot(sizes, times, style, color=colour, label=f"{row['loss']}, {row['threads']} thread(s)")
    axis.set_xscale("log")
    axis.set_ylim(bottom=0)
    axis.set_xlabel("interactions, at the same numbers of users and items")
    axis.set_ylabel("nanoseconds an interaction")
    axis.legend()
    return figure


def draw_memory(rows: Sequence[dict[str, Any]]) -> Figure:
    """Draw bars of peak memory over the memory of interactions and parameters, with and without the input data."""
    rows = [row for row in rows if row["threads"] == rows[0]["threads"]]
    figure, axes = _subplots(1, 1, 8, 0.8 + 0.55 * len(rows))
    axis = axes[0, 0]
    for offset, name, colour in ((-0.2, "beyond the data", BY_THREADS[0]), (0.2, "in all", BY_THREADS[1])):
        axis.barh(np.arange(len(rows)) + offset, [row[name] for row in rows], 0.4, color=colour, label=name)
    axis.axvline(rows[0]["target"], color="black", linewidth=0.8, label="target")
    axis.set_yticks(range(len(rows)), [row["case"] for row in rows])
    axis.invert_yaxis()
    axis.set_xlabel("peak memory of fit over interactions + parameters")
    figure.legend(loc="outside upper right", ncols=3)
    return figure


def draw_quality(rows: Sequence[dict[str, Any]]) -> Figure:
    """Draw NDCG against the time of training, a panel for each set; error bars are standard errors over users."""
    sets = list(dict.fromkeys(row["set"] for row in rows))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    figure, axes = _subplots(-(-len(sets) // 3), min(len(sets), 3), 4.2, 3.4)
    for axis, name in zip(axes.flat, sets, strict=False):
        for row in (row for row in rows if row["set"] == name):
            number = methods.index(row["method"])
            axis.errorbar(
                row["seconds"]["mean"],
                row["ndcg"]["mean"],
                row["ndcg"]["error over users"],
                marker="osD^vP*X"[number % 8],
                color=f"C{number}",
                label=row["method"],
            )
        axis.set_xscale("log")
        axis.set_title(name)
        axis.set_xlabel("seconds of training")
        axis.set_ylabel("NDCG@20")
    for axis in axes.flat[len(sets) :]:
        axis.remove()
    shown: dict[str, Any] = {}
    for axis in axes.flat[: len(sets)]:
        shown |= {label: handle for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(shown.values(), shown.keys(), loc="outside upper center", ncols=4)
    return figure


# For each picture a condition on rows. A file is drawn in the pictures whose condition all its rows meet.
def draw_scaling(rows: Sequence[dict[str, Any]]) -> Figure:
    """Draw the NDCG of rounds over one machine's by the number of workers: a line for each rule that merges.

    Each data set has an axis. The label has the rounds of an epoch, and whether parameters are means over epochs.
    """
    rounds = [row for row in rows if "workers" in row]
    rounds.sort(key=lambda row: (row["data"].startswith("generated"), row["workers"], -row["epochs"]))
    names = list(dict.fromkeys(row["data"] for row in rounds))
    figure, axes = _subplots(1, len(names), 4.5, 5.2)
    for axis, name in zip(axes.flat, names, strict=True):
        of_data = [row for row in rounds if row["data"] == name]
        kinds: dict[str, list[dict[str, Any]]] = {}
        for row in of_data:
            label = f"{row['rule']}, {row['syncs']} rounds{', means over epochs' if row.get('average') else ''}"
            kinds.setdefault(label, []).append(row)
        for colour, (label, chosen) in zip(BY_THREADS, kinds.items(), strict=False):
            shares_of = {row["workers"]: row["shares"] for row in chosen}
            for place, line in ((0, "-"), (-1, ":")):
                values = [shares[place] for shares in shares_of.values()]
                full = f"{label}{', two epochs more' if place else ''}"
                axis.plot(list(shares_of), values, f"o{line}", color=colour, label=full)
        axis.axhline(1, color="black", linewidth=0.8)
        axis.set_xscale("log", base=2)
        axis.set_xticks(counts := sorted({row["workers"] for row in of_data}), [f"{count:,}" for count in counts])
        axis.set_ylim(bottom=0)
        axis.set_title(name)
        axis.set_xlabel("workers of a round, simulated exactly")
        axis.set_ylabel("NDCG@10 over one machine's")
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), fontsize="small")
    return figure


KINDS = {
    "precision_on_the_clock": (
        lambda row: (
            row.get("case") in IN_CURVES and all("curve" in side for side in row.get("sides", {"": {}}).values())
        ),
        draw_curves,
    ),
    "training": (lambda row: "lightfm" in row.get("sides", ()), draw_ratios),
    "growth": (lambda row: "sizes" in row, draw_growth),
    "memory": (lambda row: "in all" in row, draw_memory),
    "scaling": (lambda row: "ndcg of epochs" in row or row.get("name") == "Dask", draw_scaling),
    "quality": (lambda row: {"set", "method", "ndcg"} <= row.keys() and row.get("part") != "validation", draw_quality),
}


if __name__ == "__main__":
    main()
