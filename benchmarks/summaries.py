"""The tables of figures in the pages: each function reads files of ``benchmarks/results`` and returns one table."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.limits import PARTS
from benchmarks.sample_of_users import cells as cells_of_sample
from benchmarks.spark import TRAINING_HEADER, cells_of_training

RESULTS = Path(__file__).parent / "results"
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Summary:
    """A table for a page, its result files, and notes on the run for the reader."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    files: Sequence[str]
    about: str = ""


def load(name: str) -> dict[str, Any]:
    """Return the machine, options and results of one file of ``benchmarks/results``."""
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def conditions(files: Sequence[str]) -> str:
    """Return the line under a table: processors, build, versions and commits of its result files."""
    contents = [load(name) for name in files]
    machines = [content["machine"] for content in contents]
    # A file that continues an earlier run has rows of several processors and commits.
    processors, commits = (
        [row.get(of, content["machine"][of]) for content in contents for row in content["results"]]
        for of in ("processor", "commit")
    )
    builds = [f"{machine['build']['level']} build, {machine['build']['compiler']}" for machine in machines]
    versions = [
        text
        for machine in machines
        for text in (f"Python {machine['python']}", f"NumPy {machine['numpy']}", *machine["peers"])
    ]
    cores = [f"{machine['usable cores']} usable core{'s' * (machine['usable cores'] > 1)}" for machine in machines]
    *others, last = dict.fromkeys(commits)
    of_commits = f"commits {', '.join(others)} and {last}" if others else f"commit {last}"
    parts = (_joined(processors, " and "), _joined(cores, " or "), _joined(builds), _joined(versions), of_commits)
    return "; ".join(parts) + "."


def _joined(texts: Iterable[str], by: str = ", ") -> str:
    return by.join(dict.fromkeys(texts))


def _bold_best(cells: Sequence[str], values: Sequence[float | None], best: Callable[..., float] = max) -> list[str]:
    """Return the cells with the best value in bold; None is skipped."""
    winner = best(value for value in values if value is not None)
    return [f"**{cell}**" if value == winner else cell for cell, value in zip(cells, values, strict=True)]


def _ratio(ratio: Mapping[str, float], digits: int = 1) -> str:
    median, low, high = (f"{ratio[name]:.{digits}f}" for name in ("median", "min", "max"))
    return median if low == high else f"{median} ({low}-{high})"


def _by(rows: Iterable[Row], *names: str) -> dict[tuple[Any, ...], Row]:
    """Group rows by the values of the named columns, in order."""
    return {tuple(row[name] for name in names): row for row in rows}


TRAINED = (
    "train_identity",
    "train_identity_shuffled",
    "train_tags",
    "train_tags_users",
    "train_identity_18m",
    "train_gowalla",
    "train_widths",
    "train_adadelta",
)


LEVEL_NAMES = {"baseline": "SSE2", "x86_64_v3": "AVX2", "x86_64_v4": "AVX-512"}


def _of_levels(name: str) -> list[tuple[str, str]]:
    """Return the result files of a case, of the best level and of others, each with the words for it in a table."""
    best, others = (sorted(path.stem for path in RESULTS.glob(name + end)) for end in (".json", "_x86_64_*.json"))
    return [*((file, "") for file in best), *((file, f" ({_level_of(load(file)['machine'])})") for file in others)]


def _level_of(machine: Row) -> str:
    level = LEVEL_NAMES[machine["build"]["level"]]
    return f"{level}, AMD" if "AMD" in machine["processor"] else level


def training() -> Summary:
    """Every case of ``train``: LightFM's and implicit's time over ours, and the precision of all."""
    files = [of_level for name in TRAINED for of_level in _of_levels(name)]
    rows = {
        (row["case"], f"{row['loss']}{level}", row["threads"]): row
        for file, level in files
        for row in load(file)["results"]
    }
    table = []
    for case, loss in dict.fromkeys(key[:2] for key in rows):
        sides = [rows[case, loss, threads]["sides"] for threads in (1, 2)]
        precisions = [(sides[0], "lightfm_fast"), (sides[1], "lightfm_fast"), (sides[1], "lightfm")]
        table.append(
            [
                f"{case}, {loss}",
                *(_ratio(side["lightfm"]["time over ours"]) for side in sides),
                " / ".join(_until_best(side["lightfm"]) for side in sides),
                " / ".join(f"{side['implicit']['time over ours']['median']:.1f}" for side in sides)
                if all("implicit" in side for side in sides)
                else "",
                f"{rows[case, loss, 2]['time of 1 thread over this']['median']:.2f}",
                ", ".join(f"{statistics.fmean(side[name]['precision@10']):.4f}" for side, name in precisions),
            ]
        )
    header = (
        "case, loss",
        "LightFM / ours, 1 thread",
        "2 threads",
        "until its best precision, 1 / 2",
        "implicit / ours, 1 / 2",
        "ours, 1 thread / 2",
        "precision@10: ours 1, ours 2, LightFM 2",
    )
    about = (
        "Times are medians (lowest-highest) of an epoch's ratios. The build is for AVX-512 unless a row names another "
        "level. Rows without AMD were measured on the Intel Xeon."
    )
    return Summary(header, table, [file for file, _ in files], about)


HEADLINE = {
    "train_identity": "0.9 million interactions, no features",
    "train_tags": "0.9 million interactions, 8 tags an item",
    "train_identity_18m": "18 million interactions, no features",
}
LOSS_NAMES = {"logistic": "logistic", "bpr": "BPR", "warp": "WARP", "warp-kos": "k-OS WARP"}


def headline() -> Summary:
    """The README's table: LightFM's time over ours at 1 / 2 threads, of an epoch."""
    table, files = [], []
    for name, title in HEADLINE.items():
        for file, level in _of_levels(name):
            files.append(file)
            peers = {(row["loss"], row["threads"]): row["sides"]["lightfm"] for row in load(file)["results"]}
            ratios = {key: f"{peer['time over ours']['median']:.0f}" for key, peer in peers.items()}
            cells = [" / ".join(ratios[loss, n] for n in (1, 2) if (loss, n) in ratios) for loss in LOSS_NAMES]
            table.append([f"{title}{level}", *cells])
    about = (
        "Rows that name no instruction set were measured with AVX-512, and rows that do not name AMD on an Intel "
        "processor."
    )
    return Summary(("LightFM's time over ours, 1 / 2 threads", *LOSS_NAMES.values()), table, files, about)


def _until_best(peer: Mapping[str, Any]) -> str:
    """Say the ratio of the times until the peer's best precision; results of before have none."""
    ratios = peer.get("time to its precision over ours")
    if not ratios:
        return ""
    ratio = ratios[max(ratios, key=int)]
    return "not reached" if ratio is None else f"{ratio:.0f}"


def rank() -> Summary:
    """Time of ranking and its metrics over LightFM's."""
    content = load("rank_gowalla")
    table = [
        [
            row["case"],
            f"`{row['task'].replace(' + ', '` + `')}`",
            str(row["threads"]),
            _ratio(row["time over ours"]),
            f"{row['GFlop/s']:.0f}",
        ]
        for row in content["results"]
    ]
    return Summary(("data", "task", "threads", "LightFM / ours", "GFlop/s, ours"), table, ["rank_gowalla"])


def scale() -> Summary:
    """Nanoseconds an interaction by the number of interactions."""
    rows = load("scale")["results"]
    sizes = [f"{int(size) / 1e6:.0f} million" for size in rows[0]["sizes"]]
    table = [
        [
            LOSS_NAMES[row["loss"]],
            str(row["threads"]),
            *(f"{statistics.median(size['ns an interaction']):.0f}" for size in row["sizes"].values()),
            f"{row['growth']['median']:.2f}",
        ]
        for row in rows
    ]
    return Summary(("ns an interaction", "threads", *sizes, "growth"), table, ["scale"])


def memory() -> Summary:
    """Peak memory of a fit over the memory of interactions and parameters."""
    rows = _by(load("memory")["results"], "case", "threads")
    table = [
        [
            case,
            *(" / ".join(f"{rows[case, n][name]:.2f}" for n in (1, 2)) for name in ("beyond the data", "in all")),
        ]
        for case in dict.fromkeys(case for case, _ in rows)
    ]
    return Summary(("case", "beyond the data, 1 / 2 threads", "in all, 1 / 2 threads"), table, ["memory"])


def limits() -> Summary:
    """Nanoseconds a sample: of an epoch, and of loops that only move, only calculate, or do both."""
    names = ["limits", "limits_x86_64_v3", "limits_x86_64_v3_amd"]
    table = []
    for name in names:
        content = load(name)
        for row in content["results"]:
            times = row["nanoseconds a sample"]
            # Older results lack the loop that does both.
            numbers = (f"{times[part]:.0f}" if part in times else "" for part in PARTS)
            ratios = (row.get(f"epoch over {part}") for part in ("limit", "both"))
            over = (f"{r['median']:.2f} ({r['min']:.2f}-{r['max']:.2f})" if r else "" for r in ratios)
            table.append([f"{LOSS_NAMES[row['loss']]}, {_level_of(content['machine'])}", *numbers, *over])
    parts = ("epoch, ns a sample", "memory alone", "arithmetic alone", "both in one loop")
    header = ("loss, build", *parts, "epoch over the longer alone", "epoch over both")
    return Summary(header, table, names)


def quality_movielens() -> Summary:
    """Count the verdicts of the comparisons on MovieLens: with LightFM, and of two threads with one."""
    rows = load("quality_movielens")["results"]
    verdicts = ("at least", "within the spread", "BELOW")
    table = []
    for title, is_peer in (("this library against LightFM", True), ("2 threads against 1", False)):
        compared = [row["verdict"] for row in rows if ("lightfm" in row) == is_peer]
        table.append([title, str(len(compared)), *(str(compared.count(verdict)) for verdict in verdicts)])
    header = ("comparison", "rows", "at least as good", "lower, within the spread", "below")
    return Summary(header, table, ["quality_movielens"])


SETS = {
    "ml-100k": "MovieLens 100K",
    "citeulike-a": "CiteULike-a",
    "citeulike-a-tags": "with tags",
    "citeulike-a-cold": "new papers by tags",
    "gowalla": "Gowalla",
    "amazon-beauty": "Amazon Beauty, attributes",
}
METHODS = {
    "preset-fast": '"fast"',
    "preset": '"ranking"',
    "tuned": "this library, tuned",
    "lightfm": "LightFM, tuned",
    "implicit-als": "implicit ALS, tuned",
    "implicit-bpr": "implicit BPR, tuned",
    "ease": "EASE, tuned",
    "warp-l2-1": "WARP, `max_sampled=100`, L2 1",
    "popularity": "popularity",
    "profile": "profile of features",
}
QUALITY = tuple(f"quality_{name}" for name in SETS)


def _quality(metric: str, has_error: bool) -> Summary:
    """A metric of ``quality`` on the test parts: a row for each method, a column for each set."""
    rows = _by((row for name in QUALITY for row in load(name)["results"]), "method", "set")
    columns = []
    for name in SETS:
        found = [rows.get((method, name)) for method in METHODS]
        cells = [
            f"{row[metric]['mean']:.4f}" + f" ± {row[metric]['error over users']:.4f}" * has_error if row else ""
            for row in found
        ]
        columns.append(_bold_best(cells, [row and round(row[metric]["mean"], 4) for row in found]))
    table = [[title, *cells] for title, *cells in zip(METHODS.values(), *columns, strict=True)]
    return Summary((f"{metric.upper() if metric == 'ndcg' else metric}@20", *SETS.values()), table, QUALITY)


def quality_ndcg() -> Summary:
    return _quality("ndcg", True)


def quality_recall() -> Summary:
    return _quality("recall", False)


TASKS = {
    "ml-100k": "MovieLens 100K, ratings of 4 and 5",
    "ml-100k-dense": "MovieLens 100K, all ratings",
    "citeulike-a": "CiteULike-a",
    "citeulike-a-tags": "CiteULike-a, with tags",
    "lastfm-2k": "Last.fm 2K",
    "frappe": "Frappe",
    "gowalla": "Gowalla",
    "epinions": "Epinions",
    "amazon-beauty": "Amazon Beauty, with attributes",
    "movielens-2016": "MovieLens 2016, ratings of 4 and 5",
    "movielens-2016-dense": "MovieLens 2016, all ratings",
    "lectures": "lecturers of ETH Zurich",
    "planes": "airports of aeroplanes",
    "ml-100k-new-items": "MovieLens 100K, from genres and year",
    "citeulike-a-new-items": "CiteULike-a, from tags",
    "lastfm-2k-new-items": "Last.fm 2K, from tags",
    "frappe-new-items": "Frappe, from category, developer, language, price",
    "amazon-beauty-new-items": "Amazon Beauty, from attributes",
    "movielens-2016-new-items": "MovieLens 2016, from genres and year",
    "lectures-new-items": "lecturers, from department and age of the lecture",
    "ml-100k-new-users": "MovieLens 100K, from demographics",
    "lectures-new-users": "students, from department and semester",
    "planes-new-users": "aeroplanes, from airline and airport",
    "lastfm-2k-new-users": "Last.fm 2K, from friends",
    "frappe-new-users": "Frappe, from country and city",
}
OTHERS = {
    "lightfm": "LightFM",
    "implicit-als": "ALS",
    "implicit-bpr": "BPR",
    "ease": "EASE",
    "item-knn": "item-kNN",
    "content": "content",
    "ridge": "ridge",
    "popularity": "popularity",
}


TABLES = ("quality", "quality_large")  # sets of which all seeds take minutes, and hours
VERDICTS = ("behind", "even", "ahead", "well ahead")


def _verdict(difference: float, error: float, best: float) -> str:
    """Ahead or behind by more than two standard errors; well ahead by 2 % of the best other and by four errors."""
    if difference < -2 * error:
        return "behind"
    if difference > max(4 * error, 0.02 * best):
        return "well ahead"
    return "ahead" if difference > 2 * error else "even"


def _best_other(rows: Sequence[Row]) -> Row:
    return max((row for row in rows if row["method"] in OTHERS), key=lambda row: float(row["ndcg"]["mean"]))


def _standing(rows: Sequence[Row]) -> tuple[str, float, float]:
    """The verdict on the preset, and its paired difference to the best other method with the standard error."""
    best = _best_other(rows)
    found = next(row for row in rows if row["method"] == "preset-fast")["against"][best["method"]]
    difference, error = found["difference"], found["error"]
    return _verdict(difference, error, best["ndcg"]["mean"]), difference, error


def _of_tasks(kind: str) -> dict[str, list[Row]]:
    """The rows of each task of a kind, first where the preset is most behind."""
    tasks: dict[str, list[Row]] = {}
    for row in (row for name in TABLES for row in load(name)["results"]):
        if row["kind"] == kind:
            tasks.setdefault(row["set"], []).append(row)
    return dict(sorted(tasks.items(), key=lambda task: _standing(task[1])[1] / _best_other(task[1])["ndcg"]["mean"]))


def quality_standing() -> Summary:
    """On how many tasks of each kind the preset has which verdict."""
    kinds = {"warm": "known users and items", "new items": "new items", "new users": "new users"}
    rows = []
    for kind, title in kinds.items():
        tasks = _of_tasks(kind)
        verdicts = [_standing(of_task)[0] for of_task in tasks.values()]
        behind = [TASKS[name] for name, verdict in zip(tasks, verdicts, strict=True) if verdict == "behind"]
        counts = [str(verdicts.count(verdict)) for verdict in VERDICTS]
        rows.append([title, str(len(tasks)), *counts, "; ".join(behind)])
    return Summary(["", "tasks", *VERDICTS, "behind on"], rows, TABLES)


def _tasks(kind: str) -> Summary:
    """NDCG of the preset and of the others on the tasks of a kind, a task a row."""
    tasks = _of_tasks(kind)
    others = [other for other in OTHERS if any(row["method"] == other for rows in tasks.values() for row in rows)]
    table = []
    for name, rows in tasks.items():
        values = {row["method"]: row["ndcg"]["mean"] for row in rows}
        shown = [values.get(method) for method in ("preset-fast", "left-out", *others)]
        cells = _bold_best(
            ["" if value is None else f"{value:.4f}" for value in shown],
            [value and round(value, 4) for value in shown],
        )
        verdict, difference, error = _standing(rows)
        stands = f"{verdict}: {difference:+.4f} ± {error:.4f} to {OTHERS[_best_other(rows)['method']]}"
        table.append([TASKS[name], stands, *cells])
    seeds = sorted({len(row["ndcg"]["seeds"]) for rows in tasks.values() for row in rows})
    chosen = _joined(
        f"`{row['chosen']['setting'].removeprefix('preset-')}`"
        for rows in tasks.values()
        for row in rows
        if row["method"] == "left-out"
    )
    about = f"{' to '.join(dict.fromkeys(map(str, (seeds[0], seeds[-1]))))} seeds. Chosen without the set: {chosen}."
    header = ["NDCG@20", '"fast" is', '"fast"', "chosen without the set", *(OTHERS[other] for other in others)]
    return Summary(header, table, TABLES, about)


def quality_warm() -> Summary:
    return _tasks("warm")


def quality_new_items() -> Summary:
    return _tasks("new items")


def quality_new_users() -> Summary:
    return _tasks("new users")


def catalogue() -> Summary:
    """NDCG of "fast" in small catalogues by the number of negatives."""
    table = []
    for row in load("catalogue")["results"]:
        means = [round(statistics.fmean(values), 4) for values in row["ndcg"].values()]
        cells = _bold_best([f"{mean:.4f}" for mean in means], means)
        table.append([f"{TASKS[row['set']]}, the {row['items']} most popular", *cells])
    counts = load("catalogue")["results"][0]["ndcg"]
    return Summary(["NDCG@20", *(f"{n} negatives" for n in counts)], table, ["catalogue"], "3 seeds.")


def fast_l2() -> Summary:
    """NDCG of "fast" on validation parts, by its L2 penalty."""
    rows = _by(load("fast_l2")["results"], "method", "set")
    table = [
        [method.removeprefix("fast-l2-"), *(f"{rows[method, name]['ndcg']['mean']:.4f}" for name in SETS)]
        for method in dict.fromkeys(method for method, _ in rows)
    ]
    return Summary(("L2 of both sides", *SETS.values()), table, ["fast_l2"])


OBJECTIVES = {"fast": '"fast"', "warp": "WARP, LightFM's defaults", "ranking": '"ranking"'}


def objectives() -> Summary:
    """Time of an epoch of the presets and of WARP over an epoch of BPR, at 1 / 2 threads."""
    content = load("objectives")
    rows = _by(content["results"], "case", "objective", "threads")
    cases = {
        "identity": "0.9 million generated interactions",
        "tags": "the same, 8 tags an item",
        "gowalla": "Gowalla",
    }
    table = []
    for case, title in cases.items():
        ratios = [[rows[case, name, n]["time over BPR's"]["median"] for n in (1, 2)] for name in OBJECTIVES]
        negatives = str(rows[case, "fast", 1].get("negatives", content["options"]["n_negatives"]))
        table.append([title, negatives, *(f"{one:.1f} / {two:.1f}" for one, two in ratios)])
    header = ("over BPR, 1 / 2 threads", 'negatives of "fast"', *OBJECTIVES.values())
    return Summary(header, table, ["objectives"])


def race() -> Summary:
    """Processor time of a fit that finds its L2 over a fit with that L2."""
    table = [
        [
            TASKS[row["set"]],
            str(row["found"]),
            f"{row['median']:.2f}",
            _ratio(row["time over given"], 2),
        ]
        for row in load("race")["results"]
    ]
    return Summary(("data", "L2 found", "`fit` with this L2, s", "with the search / without"), table, ["race"])


def sharded() -> Summary:
    """Training from shards beside training in memory: time an interaction, memory and quality."""
    content = load("sharded")
    table = []
    for row in content["results"]:
        for side in ("memory", "shards"):
            fits = row["fits"][side]
            ratio = _ratio(row["time of shards over memory"], 2) if side == "shards" else ""
            table.append(
                [
                    str(row["threads"]),
                    side,
                    f"{min(fit['nanoseconds an interaction'] for fit in fits):.0f}",
                    ratio,
                    f"{max(fit['anonymous memory'] for fit in fits) / 1e6:,.0f}",
                    f"{fits[0]['ndcg@10']:.4f} ± {fits[0]['standard error']:.4f}",
                ]
            )
    row = content["results"][0]
    users, items = row["shape"]
    about = (
        f"{row['interactions']:,} generated interactions of {users:,} users and {items:,} items, in {row['shards']} "
        f"shards; WARP, 64 components, {content['options']['epochs']} epochs. Memory is without pages of mapped files; "
        "the ratio is the median (lowest-highest) of pairs."
    )
    header = ("threads", "from", "ns an interaction", "time over memory's", "memory, MB", "NDCG@10")
    return Summary(header, table, ["sharded"], about)


QUIET = 1.5  # the load average below which times are compared


def sharded_large() -> Summary:
    """Runs on disk alone, with capped memory: seconds, memory, disk and the time over that in memory."""
    files = ["sharded_300m", "sharded_1b"]
    table, epochs = [], []
    for file in files:
        content = load(file)
        row = next(row for row in content["results"] if "fit" in row)
        fit = row["fit"]
        of_disk = row["bytes of shards"] + row["bytes of users' rows"]
        load_before = content["machine"]["load average"]
        table.append(
            [
                f"{row['interactions']:,}",
                f"{row['shape'][0]:,}",
                str(row["threads"]),
                f"{row['seconds to partition']:,.0f}",
                f"{fit['seconds']:,.0f}",
                f"{fit['nanoseconds an interaction']:.0f}",
                f"{row['time over that in memory']:.2f}" if load_before < QUIET else "",
                f"{load_before:.1f}",
                f"{row['anonymous memory to partition'] / 1e6:,.0f} / {fit['anonymous memory'] / 1e6:,.0f}",
                f"{of_disk / 1e9:.1f}",
                f"{fit['ndcg@10']:.4f} ± {fit['standard error']:.4f}",
            ]
        )
        epochs.append(str(content["options"]["epochs"]))
    cap = row["bytes allowed beyond the start"] / 1e6
    header = (
        "interactions",
        "users",
        "threads",
        "s to partition",
        "s an epoch",
        "ns an interaction",
        "time over memory's",
        "load before",
        "MB to partition / train",
        "GB of disk",
        "NDCG@10",
    )
    about = (
        f"{row['shape'][1]:,} items; WARP, 64 components, {' and '.join(epochs)} epochs; private memory capped at "
        f'{cap:,.0f} MB beyond the start. "Time over memory\'s" divides the time of an interaction by '
        "its time when 12 million such interactions are in memory. It is empty where "
        f'"load before", the load average of the machine before the run, is {QUIET} or more. '
        "GB of disk counts the shards and the users' parameters, without the Parquet files."
    )
    return Summary(header, table, files, about)


def sample_of_users() -> Summary:
    """Training on a sample of the users beside training on all: NDCG of all users, and seconds."""
    titles = {"gowalla": "Gowalla", "dense": "generated, dense", "sparse": "generated, sparse"}
    files = [f"sample_of_users_{name}" for name in titles]
    table, shapes = [], []
    for title, file in zip(titles.values(), files, strict=True):
        content = load(file)
        for result in content["results"]:
            whose, interactions, seconds, ndcg, _ = cells_of_sample(result)
            share = "" if result["share"] == 1 else f"{100 * result['lost']['mean'] / result['ndcg of all']:+.1f} %"
            error = 100 * result["lost"]["standard error"] / result["ndcg of all"]
            table.append([title, whose, interactions, seconds, ndcg, share and f"{share} ± {error:.1f}"])
        users, items = content["results"][0]["shape"]
        shapes.append(f"{title}: {users:,} users and {items:,} items")
    options = load(files[0])["options"]
    about = (
        f'{"; ".join(shapes)}. Preset "{options["preset"]}", {options["epochs"]} epochs, one thread, one seed. '
        "Seconds of the processor to train and to fold in; the standard error is over users."
    )
    header = ("data", "users trained on", "interactions an item", "seconds", f"NDCG@{options['k']}", "lost")
    return Summary(header, table, files, about)


def scaling() -> Summary:
    """NDCG of rounds of many workers over one machine's after as many epochs: with small rounds first, and by rule."""
    files = ["scaling_gowalla", "scaling_gowalla_1024", "scaling_gowalla_full"]
    now, of_1024, full = map(load, files)
    found: dict[tuple[int, int], dict[str, str]] = {}
    for content, suffix in ((now, ", small rounds first"), (of_1024, ", small rounds first"), (full, "")):
        for row in content["results"]:
            if "rule" in row:
                cells = found.setdefault((row["workers"], row["epochs"]), {})
                cells[row["rule"] + suffix] = _shares(row["shares"])
    columns = ("damped sum, small rounds first", "damped sum", "mean", "plain sum")
    table = [
        [f"{workers:,}", str(epochs), *(cells.get(column, "") for column in columns)]
        for (workers, epochs), cells in sorted(found.items())
    ]
    one, options = now["results"][0], now["options"]
    users, items = one["shape"]
    judged, judged_5, judged_full = (content["results"][0]["ndcg of epochs"] for content in (now, of_1024, full))
    about = (
        f"Gowalla, {one['interactions']:,} interactions of {users:,} users and {items:,} items; BPR as in the preset "
        f'"fast" with {options["components"]} components, {options["syncs"]} rounds an epoch, one seed. A cell has the '
        "workers' NDCG@10 of the test part, divided by one machine's: after as many epochs / after two more, if "
        "trained. In the column of small rounds both have `average=True`: one machine has "
        f"{judged_5['5']:.4f} after 5 epochs and {judged['10']:.4f} after 10. The other columns have full rounds from "
        f"the start, and both have `average=False`: one machine has {judged_full['5']:.4f} after 5 epochs and "
        f"{judged_full['10']:.4f} after 10."
    )
    return Summary(("workers", "epochs", *columns), table, files, about)


def _shares(shares: Sequence[float]) -> str:
    """Return NDCG over one machine's after as many epochs, and after two more if they were trained."""
    return " / ".join(f"{share:.3f}" for share in shares[::2])


def scaling_rounds() -> Summary:
    """NDCG of rounds over one machine's on generated data, by the rounds of an epoch."""
    from lightfm_fast.dask.run import ROWS_IN_RANGE

    files = [
        f"scaling_generated_{name}"
        for name in (
            "4",
            "16",
            "large_4",
            "large_24",
            "large_6",
            "100m_last",
            "100m",
            "100m_64",
            "100m_many",
            "100m_1024",
            "100m_mean",
            "100m_plain",
            "judge",
        )
    ]
    table = []
    for name in files:
        one, *rows = (row for row in load(name)["results"] if row["name"] != "Dask")
        for row in rows:
            visits = one["interactions of an interaction's item"] / row["syncs"]
            n_epochs = row["epochs"] + len(row["shares"]) - 1
            full = row["syncs"] * n_epochs * -(-one["shape"][1] // ROWS_IN_RANGE)
            cells = (
                f"{one['interactions']:,}",
                f"{one['shape'][1]:,}",
                f"{row['workers']:,}",
                row["rule"],
                str(row["syncs"]),
            )
            table.append(
                [
                    *cells,
                    f"{visits:.0f}",
                    str(row["epochs"]),
                    "yes" if row.get("average") else "",
                    "yes" if row["merges"] > full else "",
                    _shares(row["shares"]),
                ]
            )
    about = (
        f"BPR with {load(files[0])['options']['components']} components, one seed. The last column divides "
        "the workers' NDCG@10 by one machine's after the epochs named: first after as many epochs, then after two "
        "more, if trained."
    )
    header = (
        "interactions",
        "items",
        "workers",
        "merge",
        "rounds an epoch",
        "interactions of an item a round",
        "epochs",
        "means over epochs",
        "small rounds first",
        "NDCG over one machine's",
    )
    return Summary(header, table, files, about)


def scaling_time() -> Summary:
    """Modelled seconds of an epoch with many workers."""
    content = load("scaling_gowalla_full")  # the other file was measured beside much other work
    options, table = content["options"], []
    *rows, dask = content["results"]
    for row in rows:
        if row.get("rule") == "damped sum":
            modelled = row["modelled"]
            seconds = [modelled[part] for part in ("compute", "moving", "Dask")]
            measured = 1e3 * row["seconds a task"], 1e3 * row["seconds a merge"], row["bytes a task writes"] / 1e6
            cells = [f"{value:.3g}" for value in (*measured, *seconds, sum(seconds))]
            table.append([f"{row['workers']:,}", *cells])
    about = (
        "Milliseconds and MB are measured. Seconds are modelled from them, not measured on a cluster, with "
        f"{1e3 * dask['seconds a task']:.2g} ms of Dask's scheduler for a task and an assumed bandwidth of "
        f"{options['bandwidth'] / 1e9:g} GB/s a worker. {options['syncs']} rounds an epoch. One machine takes "
        f"{rows[0]['seconds an epoch']:.2g} s for an epoch of these data, so the data are far too small for a cluster. "
        "Processor times were measured on a busy machine."
    )
    header = (
        "workers",
        "ms a task",
        "ms a merge",
        "MB a task writes",
        "s computing",
        "s moving",
        "s of Dask",
        "s an epoch",
    )
    return Summary(header, table, ["scaling_gowalla_full"], about)


def spark_lists() -> Summary:
    """Lists of all users to Parquet from the same factors: users a second of a core, Spark's and ours."""
    files = ["spark_lists", "spark_lists_x86_64_v3_amd"]
    contents = [load(name) for name in files]
    table = [
        [
            "AVX-512, Intel" if content["machine"]["build"]["level"] == "x86_64_v4" else "AVX2, AMD",
            f"{row['users']:,}",
            f"{row['items']:,}",
            *(f"{row['users'] / min(row['processor seconds'][side]):,.0f}" for side in ("lightfm_fast", "Spark")),
            _ratio(row["processor time over ours"]),
            f"{row['same id in the same place']:.4f}",
        ]
        for content in contents
        for row in content["results"]
    ]
    row = contents[0]["results"][0]
    about = (
        f"The {row['n']} best items, {row['no_components']} components drawn at random, {row['threads']} "
        "thread. Users a second of processor time are the best of the rounds; the ratio is the median of the rounds "
        "(lowest-highest). Other work ran on the Intel machine. The size is scaled so that Spark ends in minutes."
    )
    header = (
        "build and processor",
        "users",
        "items",
        "ours, users a second a core",
        "Spark",
        "Spark's time / ours",
        "same item in place",
    )
    return Summary(header, table, files, about)


def spark_training() -> Summary:
    """Processor seconds and NDCG of Spark's ALS, implicit's ALS and LightFM on a tenth, beside training from shards."""
    content = load("spark_training")
    rows = content["results"]
    users, items = rows[0]["shape"]
    chosen = {row["name"]: row["chosen"] for row in rows if row["chosen"]}
    settings = "; ".join(
        f"{name}: alpha {found['alpha']:g}, regularization {found['regularization']:g}"
        for name, found in chosen.items()
    )
    about = (
        f"{content['options']['data'].capitalize()}, {rows[0]['interactions']:,} interactions of {users:,} users and "
        f"{items:,} items; {content['options']['no_components']} components, {rows[0]['threads']} threads, one seed. "
        "Seconds from the Parquet file to the model, without the start of Java. The last column is processor time, "
        "theirs over ours until we find as much. Settings of ALS were chosen among four on the validation part "
        f"({settings}); ours are the preset. Other work ran on the machine."
    )
    table = [cells_of_training(rows, row) for row in rows]
    return Summary(TRAINING_HEADER, table, ["spark_training"], about)


def fold_in() -> Summary:
    """Recall of users folded in, beside the recall of the same users if they are trained."""
    kinds = ("folded in", "trained on them", "by item bias")
    content = load("fold_in_gowalla")
    table = [
        [
            row["loss"],
            *(f"{row[f'recall, {kind}']['mean']:.4f} ± {row[f'recall, {kind}']['sd']:.4f}" for kind in kinds),
            f"{row['users a second']['mean']:,.0f}",
        ]
        for row in content["results"]
    ]
    return Summary((f"recall@{content['options']['k']}", *kinds, "users a second"), table, ["fold_in_gowalla"])


def frappe() -> Summary:
    """AUC, log loss and time of an epoch on Frappe."""
    sides = {
        "lightfm_fast plain": "`FMClassifier`",
        "lightfm_fast field-weighted": "`FMClassifier(fields=...)`",
        "xlearn": "xLearn, factorization machine",
        "myfm": "myFM, a sweep of its Gibbs sampler",
        "sklearn": "scikit-learn, `LogisticRegression`",
    }
    rows = load("frappe")["results"]
    table = []
    for side, title in sides.items():
        judged = [row for row in rows if row["side"].partition(",")[0] == side and "AUC" in row]
        timed = [row["time over ours"] for row in rows if row["side"] == side and "time over ours" in row]
        table.append(
            [
                title,
                *(harness.spread_text([row[metric] for row in judged]) for metric in ("AUC", "log loss")),
                _ratio(timed[0]) if timed else "",
            ]
        )
    return Summary(("", "AUC", "log loss", "an epoch / an epoch of `FMClassifier`"), table, ["frappe"])


def ratings() -> Summary:
    """RMSE on MovieLens 100K, and myFM's time over ours."""
    rows = load("ratings")["results"]
    table = []
    for kind in ("ids", "features"):
        errors = [row["RMSE"] for row in rows if row["kind"] == kind and "RMSE" in row]
        (timed,) = (row["time over ours"] for row in rows if row["kind"] == kind and "time over ours" in row)
        table.append([kind, f"{statistics.fmean(errors):.4f}", _ratio(timed)])
    return Summary(("", "RMSE, mean of folds and seeds", "a sweep of myFM / our epoch"), table, ["ratings"])


def features_cold() -> Summary:
    """Recall and NDCG of new papers by their tags."""
    files = ("features_cold_lightfm_1.17", "features_cold")
    old, new = (load(name)["results"] for name in files)
    sides = {
        "LightFM 1.17": [row for row in old if row["side"] == "LightFM"],
        "lightfm-next": [row for row in new if row["side"] == "LightFM"],
        "this library, the same matrices": [row for row in new if row["side"] == "this library"],
        "fields normalised": [row for row in new if row["side"] == "fields normalised"],
        "fields normalised, `identity_dropout=0.2`": [row for row in new if row["side"].endswith("identity dropout")],
    }
    metrics = ("recall@50", "NDCG@50")
    table = [
        [title, *(harness.spread_text([row[name] for row in rows]) for name in metrics)]
        for title, rows in sides.items()
    ]
    return Summary(("", *metrics), table, files)


def features_numeric() -> Summary:
    """Reduction of the RMSE by a number, by encoder, paired by seed."""
    rows = _by(load("features_numeric")["results"], "task", "encoder", "seed")
    seeds = sorted({seed for *_, seed in rows})
    encoders = {
        name.partition("(")[0]: name
        for name in ("Standardized()", "Categorical(min_count=5)", "QuantileBins(10)", "PiecewiseLinear(10)")
    } | {"Periodic": "Periodic(24, 8)"}
    table = []
    for task in dict.fromkeys(task for task, *_ in rows):
        gains = {
            name: [rows[task, "none", seed]["RMSE"] - rows[task, encoder, seed]["RMSE"] for seed in seeds]
            for name, encoder in encoders.items()
            if (task, encoder, seeds[0]) in rows
        }
        cells = [harness.spread_text(gains[name]) if name in gains else "" for name in encoders]
        means = [statistics.fmean(gains[name]) if name in gains else None for name in encoders]
        table.append([task.replace(", beside ", ", in addition to "), *_bold_best(cells, means)])
    return Summary(("RMSE less by", *encoders), table, ["features_numeric"])


def recommend_all() -> Summary:
    """Seconds for the best items of every user, against implicit."""
    rows = [row for row in load("recommend_gowalla")["results"] if "seconds" in row]
    table = [
        [
            str(row["n"]),
            str(row["threads"]),
            *(f"{min(row['seconds'][side]):.2f}" for side in ("ours", "implicit")),
            _ratio(row["time over ours"], 2),
            f"{100 * row['same id in the same place']:.4f} %",
        ]
        for row in rows
    ]
    header = ("n", "threads", "ours, s", "implicit, s", "implicit / ours", "same item in the same place")
    about = "Seconds are the fastest of the rounds, ratios their median (lowest-highest)."
    return Summary(header, table, ["recommend_gowalla"], about)


def recommend_to() -> Summary:
    """Processor seconds and memory of the lists of all users in a file, against lists in memory."""
    files = ["recommend_to", "recommend_to_1m", "recommend_to_memory"]
    table = [
        [
            f"{row['items']:,}",
            f"{row['users']:,}",
            *(f"{min(row[way]['processor seconds']):.1f}" for way in ("recommend", "recommend_to")),
            _ratio(row["processor time over ours"], 2),
            *(f"{max(row[way]['added bytes']) / 1e6:,.0f}" for way in ("recommend", "recommend_to")),
        ]
        for name in files
        for row in load(name)["results"]
    ]
    header = (
        "items",
        "users",
        "`recommend`, s",
        "`recommend_to`, s",
        "ratio",
        "`recommend` adds, MB",
        "`recommend_to` adds, MB",
    )
    about = (
        "Seconds are the processor seconds of all threads, the fewest of the rounds; the ratio is their median "
        "(lowest-highest)."
    )
    return Summary(header, table, files, about)


def recommend_one() -> Summary:
    """Milliseconds of a request for one user; files from before benchmarks.index have rows of an index too."""
    table = [
        [
            f"{row['items']:,}",
            row["served by"].replace("(s)", "" if " 1 " in row["served by"] else "s"),
            f"{row['p50 ms']:.2f}",
            f"{row['p99 ms']:.2f}",
        ]
        for row in load("recommend_gowalla")["results"]
        if "served by" in row and "recall" not in row
    ]
    return Summary(("items", "", "p50, ms", "p99, ms"), table, ["recommend_gowalla"])


def index() -> Summary:
    """Indexes at equal recall: seconds to build, bytes, and milliseconds of a request."""
    files = ["index_100k", "index_1m"]
    table = [
        [
            f"{row['items']:,}",
            row["engine"],
            f"{row['build seconds']:.1f}",
            f"{row['bytes of file'] / 2**20:,.0f}",
            f"{row['load seconds'] * 1e3:.0f}",
            f"{row['searches'][-1]['recall']:.3f}",
            *(f"{row['searches'][-1][name]:.2f}" for name in ("p50 ms", "p99 ms")),
        ]
        for name in files
        for row in load(name)["results"]
    ]
    header = ("items", "", "built in, s", "file, MiB", "loaded in, ms", "recall", "p50, ms", "p99, ms")
    return Summary(header, table, files, "CPU time of one thread.")


def serve() -> Summary:
    """Load on the service: requests a second, their milliseconds and the memory."""
    files = ["serve", "serve_600", "serve_600_1m", "serve_600_41k"]
    runs = [load(file) for file in files]
    table = [
        [
            f"{row['items']:,}",
            "an index" if row["index"] else "all items",
            str(row["workers"]),
            f"{run['options']['seconds']:g}",
            f"{row['requests a second']:,.0f}",
            f"{row['p50 ms']:.1f}",
            f"{row['p99 ms']:.1f}",
            " → ".join(f"{row[name]:,.0f}" for name in ("MiB before", "MiB halfway", "MiB after") if name in row),
            run["machine"]["processor"].removesuffix(" Processor").replace("(R)", ""),
        ]
        for run in runs
        for row in run["results"]
    ]
    header = (
        "items",
        "searches",
        "workers",
        "seconds",
        "requests a second",
        "p50, ms",
        "p99, ms",
        "memory, MiB",
        "processor",
    )
    about = (
        f"{runs[0]['options']['connections']} connections; the client ran on the same cores. Other work ran during the "
        "case of 600 s on the Intel processor."
    )
    return Summary(header, table, files, about)


def first_hour() -> Summary:
    """Seconds of each step of the new user's first hour."""
    content = load("first_hour")
    steps = [[row["step"], f"{row['seconds']:.1f}"] for row in content["results"]]
    total = sum(row["seconds"] for row in content["results"])
    about = (
        f"Packages came from the registry, at a load of {content['machine']['load average']:.0f}. The time of `curl` "
        "includes the start of the service."
    )
    return Summary(("step", "s"), [*steps, ["in all", f"{total:.0f}"]], ["first_hour"], about)


FRAMES = {
    "pyarrow": "pyarrow",
    "polars": "polars",
    "pandas": "pandas, `str`",
    "pandas-object": "pandas, Python objects",
}


def tuning() -> Summary:
    """``tune`` against the unchanged preset, by kind of task."""
    losses, files = {**LOSS_NAMES, "softmax": "softmax"}, ["tuning", "tuning_large"]

    def chosen(row: Row) -> str:
        if row["is preset"]:
            return "the preset"
        found = row["chosen"]
        ranks_newcomers = row["kind"] in ("new items", "new users") and found["cold_start"] != "features"
        way = f", {found['cold_start']}" if ranks_newcomers else ""
        return f"{losses[found['loss']]}{way}, {row['epochs']} epochs"

    table = [
        [
            TASKS[row["set"]],
            f"{row['preset']:.4f}",
            f"{row['tuned']:.4f}",
            "0" if row["is preset"] else f"{row['difference']:+.4f} ± {row['standard error']:.4f}",
            chosen(row),
            row["budget"].replace("min", " min"),
            f"{row['seconds']:.0f} s, {row['processor seconds']:.0f} s",
            f"{row['trials']:,}",
        ]
        for file in files
        for row in load(file)["results"]
    ]
    header = (
        "NDCG@10 of the test part",
        "preset",
        "tuned",
        "difference",
        "chosen",
        "budget",
        "took, processor time",
        "trials",
    )
    return Summary(header, table, files, "The error is of the paired difference over users.")


def _frames(name: str) -> Summary:
    """Seconds and memory of making a dataset of a frame, against LightFM."""

    def timed(seconds: Sequence[float]) -> str:
        return f"{statistics.median(seconds):.2f} ({min(seconds):.2f}-{max(seconds):.2f})"

    sides = ("lightfm_fast", "LightFM")
    table = [
        [
            FRAMES[row["frame"]],
            *(timed(row["seconds"][side]) for side in sides),
            _ratio(row["time over ours"]),
            ", ".join(
                f"{row['peak bytes beyond the table'][side] / 2**20:,.0f}" for side in ("lightfm_fast", "LightFM")
            ),
        ]
        for row in load(name)["results"]
    ]
    header = ("frame", "ours, s", "LightFM, s", "LightFM / ours", "peak MiB, ours and LightFM")
    return Summary(header, table, [name], "Medians (lowest-highest) of the rounds.")


def tables() -> Summary:
    return _frames("tables")


def tables_uuid() -> Summary:
    return _frames("tables_uuid")


def evaluate() -> Summary:
    """Seconds of three metrics, against LightFM."""
    table = [
        [
            str(row["threads"]),
            *(f"{statistics.median(row['seconds'][side]):.3f}" for side in ("lightfm_fast", "LightFM")),
            _ratio(row["time over ours"]),
            f"{max(row['largest difference of a user'].values()):.1e}",
        ]
        for row in load("evaluate_gowalla")["results"]
    ]
    header = ("threads", "ours, s", "LightFM, s", "LightFM / ours", "largest difference of a user's metric")
    return Summary(header, table, ["evaluate_gowalla"])


SUMMARIES: dict[str, Callable[[], Summary]] = {
    summary.__name__.replace("_", "-"): summary
    for summary in (
        training,
        headline,
        rank,
        scale,
        limits,
        memory,
        quality_movielens,
        quality_ndcg,
        quality_recall,
        quality_standing,
        quality_warm,
        quality_new_items,
        quality_new_users,
        fast_l2,
        catalogue,
        objectives,
        race,
        sharded,
        sharded_large,
        scaling,
        scaling_rounds,
        scaling_time,
        spark_lists,
        spark_training,
        sample_of_users,
        fold_in,
        frappe,
        ratings,
        features_cold,
        features_numeric,
        recommend_all,
        recommend_to,
        recommend_one,
        index,
        serve,
        first_hour,
        tables,
        tables_uuid,
        evaluate,
        tuning,
    )
}
