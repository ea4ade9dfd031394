"""The arguments of each command."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Callable
from typing import Any, NoReturn

from .._losses import LOSSES
from .._version import __version__
from ..evaluation import METRICS
from ..lightfm import RECOMMENDED
from .commands import (
    DEFAULT_EPOCHS,
    MODEL_SETTINGS,
    PRESET_EPOCHS,
    evaluate_model,
    explain_score,
    find_similar,
    fit_model,
    inspect_model,
    recommend_items,
)
from .holdout import HOLD_OUTS
from .output import printable

PROGRAM = "lightfm-fast"
LONGEST_LIST = 1_000_000  # what -n and --k may ask for


class InputFile(str):
    """The name of a file that a command reads."""

    __slots__ = ()


class OutputFile(str):
    """The name of a file that a command writes."""

    __slots__ = ()


def check_outputs(options: argparse.Namespace) -> None:
    """Refuse, before any work, outputs that are inputs and those whose folder does not exist."""
    given = [name for value in vars(options).values() for name in (value if isinstance(value, list) else [value])]
    given += [name for pair in given if isinstance(pair, list) for name in pair]
    for output in given:
        if not isinstance(output, OutputFile):
            continue
        folder = os.path.dirname(os.path.abspath(output))
        if not os.path.isdir(folder):
            raise FileNotFoundError(f"there is no folder {folder} to write {os.path.basename(output)} to")
        for name in given:
            if isinstance(name, InputFile) and _is_same_file(name, output):
                raise ValueError(f"{output} would be written over {name}, which is read: give another name")


def _is_same_file(first: str, second: str) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samefile(first, second)  # by another name or a link too
    return os.path.realpath(first) == os.path.realpath(second)


class _Tags(argparse.Action):
    """Collects pairs of a file and a column."""

    def __call__(self, parser: Any, options: argparse.Namespace, values: Any, option: str | None = None) -> None:
        """Append a pair."""
        file, column = values
        setattr(options, self.dest, [*getattr(options, self.dest), [InputFile(file), column]])


class _Parser(argparse.ArgumentParser):
    """Tells an error in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {printable(message)} (see {self.prog} --help)\n")


def _count(text: str) -> int:
    """Read a whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least 1")
    return number


def _length(text: str) -> int:
    """Read the length of a list, which memory is taken for."""
    if (number := _count(text)) > LONGEST_LIST:
        raise argparse.ArgumentTypeError(f"{text} is more than {LONGEST_LIST:,}")
    return number


def _delimiter(text: str) -> str:
    """Read a delimiter; a tab may be spelled."""
    return {"tab": "\t", "\\t": "\t"}.get(text, text)


_count.__name__ = _length.__name__ = "whole number"  # how argparse calls it in "invalid ... value"


def _usable_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    parser = _Parser(prog=PROGRAM, description="Recommendations from tables in files.")
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    common = _Parser(add_help=False)
    common.add_argument("--json", action="store_true", help="print one JSON document")
    common.add_argument("--quiet", action="store_true", help="no progress and notes on standard error")
    common.add_argument(
        "--threads", type=_count, default=_usable_cpus(), metavar="N", help="default: all CPUs (%(default)s here)"
    )
    columns = _Parser(add_help=False)
    columns.add_argument("--user-column", default="user_id", metavar="NAME", help="default: %(default)s")
    columns.add_argument("--item-column", default="item_id", metavar="NAME", help="default: %(default)s")
    values = _Parser(add_help=False)
    values.add_argument(
        "--value-column", metavar="NAME", help="what happened: above 0 is a positive; by default each row is one"
    )
    values.add_argument(
        "--positive-from",
        type=float,
        metavar="X",
        help="the least value that is a positive, such as 4 of 5 stars; those below are negatives",
    )
    tables = _Parser(add_help=False)
    form = tables.add_argument_group(
        "tables",
        "FILE is .csv, .tsv, .jsonl (also .gz, .bz2, .xz or .zst), .parquet, .arrow or .feather. Options that take "
        "a FILE may be given several times: the files then are one table.",
    )
    form.add_argument(
        "--delimiter", type=_delimiter, metavar="CHAR", help="between cells, such as ';' or tab; default: by the name"
    )
    form.add_argument("--encoding", default="utf-8", metavar="NAME", help="of CSV, such as latin-1 (%(default)s)")
    form.add_argument("--decimal", default=".", choices=(".", ","), help="in numbers of CSV (%(default)s)")
    form.add_argument(
        "--missing",
        action="append",
        default=[],
        metavar="TEXT",
        help="cell of CSV that stands for what is missing, such as NA, besides empty ones; may be given several times",
    )
    model = _Parser(add_help=False)
    model.add_argument(
        "model", type=InputFile, metavar="MODEL", help="file that fit, or LightFM.save with its Dataset, has written"
    )
    output = _Parser(add_help=False)
    output.add_argument(
        "-o",
        "--output",
        type=OutputFile,
        metavar="FILE",
        help=".csv, .tsv or .parquet; default: CSV on standard output",
    )
    output.add_argument(
        "--escape-formulas",
        action="store_true",
        help="put an apostrophe before text in CSV that a spreadsheet would run: = + - @, tab or line end in front",
    )

    def add(name: str, run: Callable[[argparse.Namespace], None], text: str, *parents: Any) -> _Parser:
        command = commands.add_parser(name, help=text, description=text, parents=[*parents, common])
        command.set_defaults(run=run)
        return command

    fit = add(
        "fit", fit_model, "Train a model on a table of interactions and write it to a file.", columns, values, tables
    )
    fit.add_argument("interactions", nargs="+", type=InputFile, metavar="FILE", help="one row per interaction")
    fit.add_argument(
        "-o",
        "--output",
        required=True,
        type=OutputFile,
        metavar="MODEL",
        help="file to write, such as model.safetensors",
    )
    fit.add_argument("--weight-column", metavar="NAME", help="how much each row counts in training")
    fit.add_argument("--time-column", metavar="NAME", help="when: numbers, or datetimes")
    fit.add_argument(
        "--duplicates", choices=("sum", "max", "last", "error"), default="sum", help="rows of the same pair"
    )
    fit.add_argument(
        "--unknown",
        choices=("raise", "skip", "add"),
        default="raise",
        help="rows whose user or item is not in --users or --items (default: %(default)s)",
    )
    for side in ("user", "item"):
        fit.add_argument(
            f"--{side}s",
            dest=f"{side}_files",
            action="append",
            default=[],
            type=InputFile,
            metavar="FILE",
            help=f"table of one row per {side}",
        )
        fit.add_argument(
            f"--{side}-tags",
            nargs=2,
            action=_Tags,
            default=[],
            metavar=("FILE", "COLUMN"),
            help=f"table of one row per tag, with the {side}'s id and the tag in COLUMN",
        )
        fit.add_argument(
            f"--{side}-features",
            nargs="+",
            action="extend",
            default=[],
            metavar="COLUMN[:KIND[=ARG]]",
            help=f"columns of --{side}s; KIND: category[=least rows], tags[=separator, default |], number, bins[=n], "
            "curve[=n], text, vector",
        )
        fit.add_argument(
            f"--no-{side}-identity",
            dest=f"{side}_identity",
            action="store_false",
            help=f"no embedding for each {side}: features only",
        )
    fit.add_argument(
        "--preset",
        choices=tuple(RECOMMENDED),
        help=f"settings measured to rank well, {PRESET_EPOCHS} epochs; options below replace what they say",
    )
    fit.add_argument("--epochs", type=_count, metavar="N", help=f"({DEFAULT_EPOCHS}; with --preset {PRESET_EPOCHS})")

    def set_model(option: str, name: str, text: str, **how: Any) -> None:
        fit.add_argument(option, dest=f"model_{name}", help=f"{text} ({MODEL_SETTINGS[name]})", **how)

    set_model("--loss", "loss", "what is learned", choices=LOSSES)
    set_model("--components", "no_components", "length of embeddings", type=_count, metavar="N")
    set_model("--schedule", "learning_schedule", "how steps shrink", choices=("adagrad", "adadelta"))
    set_model("--learning-rate", "learning_rate", "size of the first steps", type=float, metavar="X")
    set_model("--user-alpha", "user_alpha", "L2 penalty", type=float, metavar="X")
    set_model("--item-alpha", "item_alpha", "L2 penalty", type=float, metavar="X")
    set_model("--max-sampled", "max_sampled", "WARP's most draws", type=_count, metavar="N")
    set_model("--kos-k", "k", "k of warp-kos", type=_count, metavar="N")
    set_model("--kos-n", "n", "n of warp-kos", type=_count, metavar="N")
    fit.add_argument(
        "--seed",
        dest="model_random_state",
        type=int,
        metavar="N",
        help="with --threads 1, the same seed gives the same bits",
    )
    fit.add_argument("--no-optimizer-state", dest="optimizer_state", action="store_false", help="half the size of file")
    held_out = fit.add_argument_group("held-out interactions")
    held_out.add_argument(
        "--hold-out", choices=tuple(HOLD_OUTS), help="which rows to measure on instead of training on them"
    )
    held_out.add_argument("--fraction", type=float, default=0.2, metavar="X", help="how many of them (%(default)s)")
    held_out.add_argument(
        "--validation",
        action="append",
        default=[],
        type=InputFile,
        metavar="FILE",
        help="a table of them; rows with unknown ids are left out",
    )
    held_out.add_argument(
        "--patience",
        type=_count,
        metavar="N",
        help="stop after N epochs without a gain, and keep the best epoch; with --hold-out it watches interactions "
        "that are held out once more in the same way, so that what is reported on chose nothing",
    )
    held_out.add_argument("--metric", choices=tuple(METRICS), help="what --patience watches (ndcg)")
    held_out.add_argument("--k", type=_length, default=10, metavar="N", help="length of lists (%(default)s)")

    measure = add(
        "evaluate", evaluate_model, "Measure a model on held-out interactions.", model, columns, values, tables
    )
    measure.add_argument(
        "test", nargs="+", type=InputFile, metavar="FILE", help="table of the interactions to be found"
    )
    measure.add_argument(
        "--train",
        action="append",
        default=[],
        type=InputFile,
        metavar="FILE",
        help="table of known interactions, which are not recommended",
    )
    measure.add_argument(
        "--metrics",
        nargs="+",
        choices=tuple(METRICS),
        default=["precision", "recall", "ndcg", "map", "hit_rate", "mrr", "auc"],
        metavar="NAME",
        help=f"of {', '.join(METRICS)}; default: all but the last two",
    )
    measure.add_argument("--k", nargs="+", type=_length, default=[10], metavar="N", help="lengths of lists (10)")
    measure.add_argument(
        "--unknown", choices=("raise", "skip"), default="skip", help="rows with unknown ids (default: %(default)s)"
    )

    lists = add("recommend", recommend_items, "Recommend items to users.", model, columns, values, tables, output)
    lists.add_argument("--users", nargs="+", action="extend", default=[], metavar="ID", help="default: all users")
    some: dict[str, Any] = {"action": "append", "default": [], "type": InputFile, "metavar": "FILE"}
    lists.add_argument("--users-from", help="table with their ids", **some)
    lists.add_argument(
        "--newcomers",
        **some,
        help="table of users unknown to the model, with the columns of the user features where it has them; what they "
        "have in --interactions is folded in",
    )
    lists.add_argument("-n", type=_length, default=10, metavar="N", help="items for each (%(default)s)")
    lists.add_argument("--interactions", help="table of what users have already: not recommended again", **some)
    lists.add_argument("--keep-seen", action="store_true", help="recommend it again")
    lists.add_argument("--items", help="table of the items to choose from; default: all", **some)
    lists.add_argument("--exclude", nargs="+", action="extend", default=[], metavar="ID", help="items for nobody")
    lists.add_argument("--exclude-from", help="table with their ids", **some)

    similar = add("similar", find_similar, "Find the items, or users, most like given ones.", model, columns, output)
    similar.add_argument("ids", nargs="+", metavar="ID")
    similar.add_argument("--users", action="store_true", help="the ids are users")
    similar.add_argument("-n", type=_length, default=10, metavar="N", help="how many for each (%(default)s)")

    why = add("explain", explain_score, "Take a score apart into what each feature adds.", model)
    why.add_argument("user", metavar="USER")
    why.add_argument("item", metavar="ITEM")
    why.add_argument("-n", type=_count, default=15, metavar="N", help="rows to show; --json has all (%(default)s)")
    why.add_argument("--plot", type=OutputFile, metavar="FILE", help="draw them as bars: .png, .svg or .pdf")

    add("inspect", inspect_model, "Say what is in a model's file.", model)
    return parser
