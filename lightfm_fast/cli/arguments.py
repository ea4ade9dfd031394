"""The arguments of each command."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

from .._arguments import LITTLE, count_cpus
from .._files import is_same_file
from .._hyperparameters import PRESET_EPOCHS, PRESETS
from .._version import __version__
from ..evaluation import METRICS
from ..index import N_COMPARED
from ..lightfm import LightFM
from .commands import (
    DEFAULT_EPOCHS,
    SHARD_MEMORY,
    evaluate_model,
    explain_score,
    export_vectors_of_model,
    find_similar,
    fit_model,
    inspect_model,
    recommend_items,
)
from .holdout import HOLD_OUTS
from .hyperparameters import HYPERPARAMETERS, MODEL_PREFIX, OWN_DEFAULTS, count
from .indexing import index_model
from .output import printable
from .serving import serve_model
from .tuning import TASK_OPTIONS
from .updating import ERRORS, GATES, KEPT_OLD, metric_at, update_model

PROGRAM = "lightfm-fast"
LONGEST_LIST = 1_000_000  # the most that -n and --k take


class InputFile(str):
    """The name of a file that a command reads."""

    __slots__ = ()


class OutputFile(str):
    """The name of a file that a command writes."""

    __slots__ = ()


def check_outputs(options: argparse.Namespace) -> None:
    """Refuse outputs that are inputs or folders, or whose folder does not exist or may not be written to."""
    given = [name for value in vars(options).values() for name in (value if isinstance(value, list) else [value])]
    given += [name for pair in given if isinstance(pair, list) for name in pair]
    for output in given:
        if not isinstance(output, OutputFile):
            continue
        folder = os.path.dirname(os.path.abspath(output))
        if not os.path.isdir(folder):
            raise FileNotFoundError(f"there is no folder {folder} to write {os.path.basename(output)} to")
        if not os.access(folder, os.W_OK):
            raise PermissionError(f"nothing may be written to the folder {folder}")
        if os.path.isdir(output) and options.command != "recommend" and output != getattr(options, "shards", None):
            raise IsADirectoryError(f"{output} is a folder: give the name of a file")
        for name in given:
            if isinstance(name, InputFile) and is_same_file(name, output):
                raise ValueError(f"{output} would be written over {name}, which is read: give another name")


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


def _length(text: str) -> int:
    """Read the length of a list, which is limited since memory is allocated for it."""
    if (number := count(text)) > LONGEST_LIST:
        raise argparse.ArgumentTypeError(f"{text} is more than {LONGEST_LIST:,}")
    return number


def _port(text: str) -> int:
    """Read a port."""
    number = int(text)
    if not 0 <= number < 1 << 16:
        raise argparse.ArgumentTypeError(f"{text} is no port from 0 to 65535")
    return number


def _seconds(text: str) -> float:
    """Read a time that is not too short to do something in."""
    number = float(text)
    if not 0.1 <= number <= 86_400:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds from 0.1 to 86,400")
    return number


def _delimiter(text: str) -> str:
    """Read a delimiter; a tab may be spelled."""
    return {"tab": "\t", "\\t": "\t"}.get(text, text)


_port.__name__, _seconds.__name__ = "port", "number"
_length.__name__ = count.__name__  # how argparse calls it in "invalid ... value"


# Options that may be given several times.
SEVERAL_FILES: dict[str, Any] = {"action": "append", "default": [], "type": InputFile, "metavar": "FILE"}
SEVERAL_IDS: dict[str, Any] = {"nargs": "+", "action": "extend", "default": [], "metavar": "ID"}


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    parser = _Parser(prog=PROGRAM, description="Recommendations from tables in files.")
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (
        _add_fit,
        _add_update,
        _add_evaluate,
        _add_recommend,
        _add_similar,
        _add_explain,
        _add_export_vectors,
        _add_index,
        _add_serve,
        _add_inspect,
    ):
        add(commands)
    return parser


# ------------------------------------------------------------------------------- options that several commands have


def _add_command(
    commands: Any,
    name: str,
    run: Callable[[argparse.Namespace], int | None],
    text: str,
    *shared: Callable[[_Parser], None],
) -> _Parser:
    """Add a command with the options that ``shared`` and all commands have."""
    command: _Parser = commands.add_parser(name, help=text, description=text)
    for add in (*shared, _add_common):
        add(command)
    command.set_defaults(run=run)
    return command


def _add_common(command: _Parser) -> None:
    command.add_argument("--json", action="store_true", help="print one JSON document")
    command.add_argument("--quiet", action="store_true", help="print no progress and no notes on standard error")
    command.add_argument(
        "--threads",
        type=count,
        default=count_cpus(),
        metavar="N",
        help=f"default: all CPUs ({count_cpus()} here); fit and update take one for fewer than {LITTLE:,} interactions",
    )


def _add_model(command: _Parser) -> None:
    command.add_argument(
        "model", type=InputFile, metavar="MODEL", help="file that fit has written, or LightFM.save with a Dataset"
    )


def _add_id_columns(command: _Parser) -> None:
    for side in ("user", "item"):
        command.add_argument(f"--{side}-column", default=f"{side}_id", metavar="NAME", help="default: %(default)s")


def _add_id_columns_of_model(command: _Parser) -> None:
    for side in ("user", "item"):
        command.add_argument(f"--{side}-column", metavar="NAME", help="default: the column that fit read")


def _add_value_columns(command: _Parser) -> None:
    command.add_argument(
        "--value-column", metavar="NAME", help="values above 0 are positives; by default every row is a positive"
    )
    command.add_argument(
        "--positive-from",
        type=float,
        metavar="X",
        help="the least value that is a positive, such as 4 of 5 stars; lower values are negatives",
    )


def _add_value_columns_of_model(command: _Parser) -> None:
    command.add_argument(
        "--value-column", metavar="NAME", help="default: the column that fit read; '' makes every row a positive"
    )
    command.add_argument(
        "--positive-from", type=float, metavar="X", help="the least value that is a positive; default: as in fit"
    )


def _add_file_format(command: _Parser) -> None:
    group = command.add_argument_group(
        "files",
        "FILE is .csv, .tsv, .jsonl (also .gz, .bz2, .xz or .zst), .parquet, .arrow or .feather. Options that take "
        "a FILE may be given several times: the rows of all files count.",
    )
    group.add_argument(
        "--delimiter",
        type=_delimiter,
        metavar="CHAR",
        help="between cells of CSV, such as ';' or tab; default: a comma, in .tsv a tab",
    )
    group.add_argument("--encoding", default="utf-8", metavar="NAME", help="of CSV, such as latin-1 (%(default)s)")
    group.add_argument("--decimal", default=".", choices=(".", ","), help="in numbers of CSV (%(default)s)")
    group.add_argument(
        "--missing",
        action="append",
        default=[],
        metavar="TEXT",
        help="a cell of CSV that means missing, such as NA, besides empty ones; may be given several times",
    )


def _add_output(command: _Parser, more: str = "") -> None:
    command.add_argument(
        "-o",
        "--output",
        type=OutputFile,
        metavar="FILE",
        help=f".csv, .tsv or .parquet{more}; default: CSV on standard output",
    )
    command.add_argument(
        "--escape-formulas",
        action="store_true",
        help="put an apostrophe before text in CSV that a spreadsheet would run: text that starts with = + - @, a tab "
        "or a line end",
    )


# ---------------------------------------------------------------------------------------------------- each command


def _add_fit(commands: Any) -> None:
    text = "Train a model on a table of interactions and write it to a file."
    fit = _add_command(commands, "fit", fit_model, text, _add_id_columns, _add_value_columns, _add_file_format)
    fit.set_defaults(threads=None)  # it depends on the number of interactions
    fit.add_argument("interactions", nargs="+", type=InputFile, metavar="FILE", help="one row per interaction")
    fit.add_argument(
        "-o",
        "--output",
        required=True,
        type=OutputFile,
        metavar="MODEL",
        help="file to write, such as model.safetensors",
    )
    fit.add_argument("--weight-column", metavar="NAME", help="weight of each row in training")
    fit.add_argument("--time-column", metavar="NAME", help="time of each row: a number or a date")
    fit.add_argument(
        "--shards",
        type=OutputFile,
        metavar="FOLDER",
        help="for data larger than memory: write the interactions, Parquet files or quoted patterns, to shards in a "
        "new folder, and train on these",
    )
    fit.add_argument(
        "--shard-memory", default=SHARD_MEMORY, metavar="SIZE", help="for the rows of a shard (%(default)s)"
    )
    _add_duplicates(fit)
    fit.add_argument(
        "--unknown",
        choices=("raise", "skip", "add"),
        default="raise",
        help="rows whose user or item is not in --users or --items (%(default)s)",
    )
    for side in ("user", "item"):
        _add_side(fit, side)
    fit.add_argument("--title-column", metavar="NAME", help="column of --items that answers show beside the ids")
    fit.add_argument(
        "--preset",
        choices=tuple(PRESETS),
        help=f"hyperparameters measured to rank well, and {PRESET_EPOCHS} epochs; options below replace them",
    )
    fit.add_argument("--epochs", type=count, metavar="N", help=f"({DEFAULT_EPOCHS}; with --preset {PRESET_EPOCHS})")
    defaults = LightFM(**OWN_DEFAULTS).get_params()
    for name, (option, text, how) in HYPERPARAMETERS.items():
        default = "" if defaults[name] is None else f" ({defaults[name]})"
        fit.add_argument(option, dest=MODEL_PREFIX + name, help=f"{text}{default}", **how)
    _add_saved_parts(fit)
    _add_held_out(fit)
    _add_tuning(fit)


def _add_duplicates(command: _Parser) -> None:
    command.add_argument(
        "--duplicates",
        choices=("sum", "max", "last", "error"),
        default="sum",
        help="how to join rows of the same user and item (%(default)s)",
    )


def _add_saved_parts(command: _Parser) -> None:
    command.add_argument(
        "--no-optimizer-state",
        dest="optimizer_state",
        action="store_false",
        help="do not save what training needs to go on: half the size",
    )
    command.add_argument(
        "--no-interactions",
        dest="save_interactions",
        action="store_false",
        help="do not save what users have: recommend then needs --interactions to leave it out",
    )


def _add_files_of_side(command: _Parser, side: str) -> None:
    command.add_argument(f"--{side}s", dest=f"{side}_files", help=f"one row per {side}", **SEVERAL_FILES)
    command.add_argument(
        f"--{side}-tags",
        nargs=2,
        action=_Tags,
        default=[],
        metavar=("FILE", "COLUMN"),
        help=f"one row per tag, with the {side}'s id and the tag in COLUMN",
    )


def _add_side(fit: _Parser, side: str) -> None:
    _add_files_of_side(fit, side)
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
        help=f"no embedding of each {side}, only of its features",
    )


def _add_held_out(fit: _Parser) -> None:
    group = fit.add_argument_group("held-out interactions")
    group.add_argument("--hold-out", choices=tuple(HOLD_OUTS), help="rows to measure on instead of training on them")
    group.add_argument(
        "--fraction",
        type=float,
        default=0.2,
        metavar="X",
        help="share of rows, users or items to hold out (%(default)s)",
    )
    group.add_argument(
        "--validation", help="interactions to measure on; rows with unknown ids are left out", **SEVERAL_FILES
    )
    group.add_argument(
        "--patience",
        type=count,
        metavar="N",
        help="stop after N epochs without a gain, and keep the best epoch; --hold-out then holds out twice, so that "
        "the rows that chose the epoch are not the rows reported on",
    )
    group.add_argument(
        "--metric", choices=tuple(METRICS), help="the metric that --patience watches or --tune is for (ndcg)"
    )
    group.add_argument("--k", type=_length, default=10, metavar="N", help="length of lists (%(default)s)")


def _add_tuning(fit: _Parser) -> None:
    group = fit.add_argument_group("tuning (needs Optuna: the extra tune)")
    group.add_argument(
        "--tune",
        metavar="BUDGET",
        help="search for the best hyperparameters and epochs for so long, such as 90s, 10min, 2h or 30trials; options "
        "that set hyperparameters fix them",
    )
    group.add_argument(
        "--task",
        type=lambda text: text.replace(" ", "-"),  # as tune spells them
        choices=tuple(TASK_OPTIONS),
        help="what --tune is for, which decides what it validates on (warm)",
    )


def _add_update(commands: Any) -> None:
    text = (
        "Train a model on later rows, and write the model that results: it grows by new users and items. Columns are "
        "named as in the rows that the model was fitted to."
    )
    update = _add_command(commands, "update", update_model, text, _add_file_format)
    update.set_defaults(threads=None)  # it depends on the number of interactions
    update.add_argument("model", metavar="MODEL", help="the model to go on from")
    update.add_argument("interactions", nargs="+", type=InputFile, metavar="FILE", help="the rows to train on")
    update.add_argument(
        "-o", "--output", required=True, type=OutputFile, metavar="MODEL", help="file to write; may be the old model"
    )
    for side in ("user", "item"):
        _add_files_of_side(update, side)
    update.add_argument("--epochs", type=count, default=5, metavar="N", help="passes over the rows (%(default)s)")
    _add_duplicates(update)
    update.add_argument(
        "--unknown",
        choices=("add", "skip", "raise"),
        default="add",
        help="rows whose user or item neither the model nor --users and --items have (%(default)s)",
    )
    _add_saved_parts(update)
    group = update.add_argument_group("keeping the old model where the new one is worse")
    group.add_argument(
        "--gate",
        type=metric_at,
        metavar="METRIC@K",
        help=f"such as ndcg@10: write nothing, and exit with {KEPT_OLD}, if held-out interactions rank worse by more "
        f"than {ERRORS:g} standard errors; of {', '.join(GATES)}",
    )
    group.add_argument("--hold-out", choices=("random", "time"), help="rows to compare on instead of training on them")
    group.add_argument(
        "--fraction", type=float, default=0.2, metavar="X", help="share of rows to hold out (%(default)s)"
    )
    group.add_argument("--validation", help="interactions to compare on", **SEVERAL_FILES)
    group.add_argument("--train", help="earlier interactions, which are not ranked again", **SEVERAL_FILES)
    group.add_argument("--seed", type=int, default=0, metavar="N", help="of --hold-out random (%(default)s)")


def _add_evaluate(commands: Any) -> None:
    text = "Measure a model on held-out interactions."
    shared = (_add_model, _add_id_columns_of_model, _add_value_columns_of_model, _add_file_format)
    command = _add_command(commands, "evaluate", evaluate_model, text, *shared)
    command.add_argument("test", nargs="+", type=InputFile, metavar="FILE", help="the interactions to find")
    command.add_argument("--train", help="known interactions, which are not recommended", **SEVERAL_FILES)
    command.add_argument(
        "--metrics",
        nargs="+",
        choices=tuple(METRICS),
        default=["precision", "recall", "ndcg", "map", "hit_rate", "mrr", "auc"],
        metavar="NAME",
        help=f"of {', '.join(METRICS)}; default: all but the last two",
    )
    command.add_argument("--k", nargs="+", type=_length, default=[10], metavar="N", help="lengths of lists (10)")
    command.add_argument(
        "--unknown", choices=("raise", "skip"), default="skip", help="rows with unknown ids (%(default)s)"
    )


def _add_recommend(commands: Any) -> None:
    add_output = partial(_add_output, more=", or a folder's name, for parts that go on after an interruption")
    shared = (_add_model, _add_id_columns_of_model, _add_value_columns_of_model, _add_file_format, add_output)
    command = _add_command(commands, "recommend", recommend_items, "Recommend items to users.", *shared)
    command.add_argument("--users", help="default: all users", **SEVERAL_IDS)
    command.add_argument("--users-from", help="file with ids of users", **SEVERAL_FILES)
    command.add_argument(
        "--newcomers",
        help="users unknown to the model, with the columns of any user features; their --interactions are folded in",
        **SEVERAL_FILES,
    )
    command.add_argument("-n", type=_length, default=10, metavar="N", help="items for each user (%(default)s)")
    command.add_argument(
        "--interactions",
        help="items that users have, not recommended again; default: the items saved with the model",
        **SEVERAL_FILES,
    )
    command.add_argument(
        "--shards",
        type=InputFile,
        metavar="FOLDER",
        help="the shards that fit --shards has written: all their users get lists, as Parquet in the file or folder -o",
    )
    command.add_argument("--keep-seen", action="store_true", help="recommend them again")
    command.add_argument("--items", help="the items to choose from; default: all", **SEVERAL_FILES)
    command.add_argument("--exclude", help="items to recommend to no user", **SEVERAL_IDS)
    command.add_argument("--exclude-from", help="file with ids of such items", **SEVERAL_FILES)


def _add_similar(commands: Any) -> None:
    text = "Find the items, or users, most like given ones."
    command = _add_command(commands, "similar", find_similar, text, _add_model, _add_id_columns_of_model, _add_output)
    command.add_argument("ids", nargs="+", metavar="ID")
    command.add_argument("--users", action="store_true", help="the ids are users")
    command.add_argument("-n", type=_length, default=10, metavar="N", help="how many for each (%(default)s)")


def _add_explain(commands: Any) -> None:
    text = "Take a score apart into what each feature adds."
    command = _add_command(commands, "explain", explain_score, text, _add_model)
    command.add_argument("user", metavar="USER")
    command.add_argument("item", metavar="ITEM")
    command.add_argument("-n", type=count, default=15, metavar="N", help="rows to show; --json has all (%(default)s)")
    command.add_argument("--plot", type=OutputFile, metavar="FILE", help="draw the rows as bars: .png, .svg or .pdf")


def _add_index(commands: Any) -> None:
    text = "Build an index of the items, for catalogues too large to score in full."
    command = _add_command(commands, "index", index_model, text, _add_model)
    command.add_argument("-o", "--output", required=True, type=OutputFile, metavar="INDEX", help="file to write")
    command.add_argument(
        "--compared",
        type=count,
        default=N_COMPARED,
        metavar="N",
        help="items that a search compares at least: more find more of the best, and take longer (%(default)s)",
    )


def _add_export_vectors(commands: Any) -> None:
    text = "Write vectors of items or users to Parquet, for databases that search by inner product."
    shared = (_add_model, _add_id_columns_of_model)
    command = _add_command(commands, "export-vectors", export_vectors_of_model, text, *shared)
    command.add_argument("-o", "--output", required=True, type=OutputFile, metavar="FILE", help=".parquet")
    command.add_argument("--users", action="store_true", help="of users instead of items")
    command.add_argument(
        "--no-bias",
        dest="bias",
        action="store_false",
        help="leave out the last coordinate: an item's bias, and 1 for users",
    )


def _add_serve(commands: Any) -> None:
    text = "Answer requests for recommendations over HTTP."
    shared = (_add_model, _add_id_columns_of_model, _add_file_format)
    command = _add_command(commands, "serve", serve_model, text, *shared)
    command.add_argument("--index", type=InputFile, metavar="INDEX", help="answer by a file that index has written")
    what = command.add_mutually_exclusive_group()
    what.add_argument(
        "--seen",
        help="items that users have, not recommended again; default: the items saved with the model",
        **SEVERAL_FILES,
    )
    what.add_argument("--recommend-seen", action="store_true", help="recommend them again")
    command.add_argument("--host", default="127.0.0.1", help="address to listen at (%(default)s)")
    command.add_argument("--port", type=_port, default=8000, help="0 for any that is free (%(default)s)")
    command.add_argument("--workers", type=count, default=1, metavar="N", help="processes that answer (%(default)s)")
    command.add_argument(
        "--watch", type=_seconds, metavar="SECONDS", help="look for replaced files so often; SIGHUP reloads at once"
    )


def _add_inspect(commands: Any) -> None:
    _add_command(commands, "inspect", inspect_model, "Print what a model's file holds.", _add_model)
