"""The arguments of each command."""

from __future__ import annotations

import argparse
import glob
import os
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

from .._arguments import LITTLE, count_cpus
from .._files import is_same_file
from .._hyperparameters import PRESET_EPOCHS, PRESETS
from .._version import __version__
from ..data.missing import MISSING_IDS
from ..evaluation import METRICS
from ..index import N_COMPARED
from ..lightfm import LightFM
from ..sharded.tables import files_of
from ..table_files.kinds import PARQUET
from .commands import (
    DEFAULT_EPOCHS,
    DEFAULT_PRESET,
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


def find_files(options: argparse.Namespace) -> None:
    """Replace folders and patterns among the files to read by the files that they name."""
    for name, given in vars(options).items():
        if isinstance(given, list):
            setattr(options, name, [found for one in given for found in _found(one)])


def _found(given: Any) -> list[Any]:
    """Return the files that a file, a folder of Parquet files or a pattern names; of tags, each with the column."""
    if isinstance(given, list):
        file, column = given
        return [[found, column] for found in _found(file)]
    if not isinstance(given, InputFile):
        return [given]
    if os.path.isdir(given) and not given.lower().endswith(PARQUET):
        return [*map(InputFile, files_of(given))]
    return [given] if os.path.exists(given) else [*map(InputFile, sorted(glob.glob(given)))] or [given]


def check_outputs(options: argparse.Namespace) -> None:
    """Refuse outputs that are inputs or folders, or whose folder does not exist or may not be written to."""
    given = [name for value in vars(options).values() for name in (value if isinstance(value, list) else [value])]
    given += [name for pair in given if isinstance(pair, list) for name in pair]
    for output in given:
        if not isinstance(output, OutputFile):
            continue
        if not output:
            raise ValueError("the name of the output is empty, as of a variable that is not set: give one")
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
    """Tells an error in one line, with the command whose --help explains it."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Refuse arguments that are unknown to the command here: argparse leaves them to the main parser."""
        options, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return options, unknown

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
    parser = _Parser(
        prog=PROGRAM,
        description="Train a recommender from tables in files, measure it, and ask it.",
        epilog=f"{PROGRAM} COMMAND --help lists the options of a command.",
    )
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
    for add in (*shared, _add_quiet):
        add(command)
    command.set_defaults(run=run)
    return command


def _add_quiet(command: _Parser) -> None:
    command.add_argument("--quiet", action="store_true", help="print no progress and no notes on standard error")


def _add_json(command: _Parser) -> None:
    command.add_argument("--json", action="store_true", help="print the result as one JSON document")


def _add_threads(command: _Parser) -> None:
    _add_json(command)
    command.add_argument(
        "--threads",
        type=count,
        default=count_cpus(),
        metavar="N",
        help=f"threads that work; default: all CPUs ({count_cpus()} here)",
    )


def _add_threads_of_training(command: _Parser) -> None:
    _add_json(command)
    command.add_argument(
        "--threads",
        type=count,
        metavar="N",
        help=f"threads that train; default: all CPUs ({count_cpus()} here), but one with fewer than {LITTLE:,} "
        "interactions",
    )


def _add_model(command: _Parser) -> None:
    command.add_argument(
        "model",
        type=InputFile,
        metavar="MODEL",
        help="model file: written by fit, by Recommender.save, or by LightFM.save with a dataset",
    )


def _add_id_columns(command: _Parser) -> None:
    for side in ("user", "item"):
        command.add_argument(
            f"--{side}-column",
            default=f"{side}_id",
            metavar="NAME",
            help=f"column with the ids of {side}s (%(default)s)",
        )


def _add_id_columns_of_model(command: _Parser) -> None:
    for side in ("user", "item"):
        command.add_argument(
            f"--{side}-column",
            metavar="NAME",
            help=f"column with the ids of {side}s; default: the column that fit read",
        )


def _add_value_columns(command: _Parser) -> None:
    command.add_argument(
        "--value-column",
        metavar="NAME",
        help="column of values: a value above 0 is a positive; by default every row is a positive",
    )
    command.add_argument(
        "--positive-from",
        type=float,
        metavar="X",
        help="smallest value that is a positive, such as 4 of 5 stars; lower values are negatives",
    )


def _add_value_columns_of_model(command: _Parser) -> None:
    command.add_argument(
        "--value-column",
        metavar="NAME",
        help="column of values; default: the column that fit read; '' makes every row a positive",
    )
    command.add_argument(
        "--positive-from", type=float, metavar="X", help="smallest value that is a positive; default: as in fit"
    )


def _add_file_format(command: _Parser) -> None:
    group = command.add_argument_group(
        "files",
        "FILE is .csv, .tsv, .jsonl (also .gz, .bz2, .xz or .zst), .parquet, .arrow or .feather; a folder of "
        "Parquet files; or a quoted pattern, such as 'logs/*.csv'. Options that take a FILE may be given several "
        "times: the rows of all files are read.",
    )
    group.add_argument(
        "--delimiter",
        type=_delimiter,
        metavar="CHAR",
        help="character between the cells of CSV, such as ';' or tab; default: a comma, in .tsv a tab",
    )
    group.add_argument(
        "--encoding", default="utf-8", metavar="NAME", help="encoding of CSV, such as latin-1 (%(default)s)"
    )
    group.add_argument(
        "--decimal", default=".", choices=(".", ","), help="decimal mark of numbers in CSV (%(default)s)"
    )
    group.add_argument(
        "--missing",
        action="append",
        default=[],
        metavar="TEXT",
        help="text of missing cells in CSV, such as NA, besides empty cells; may be given several times",
    )
    group.add_argument(
        "--missing-ids",
        choices=MISSING_IDS,
        default="raise",
        help="what to do with rows of any FILE without an id of a user or an item: refuse them, or leave them out "
        "(%(default)s)",
    )


def _add_output(command: _Parser, more: str = "") -> None:
    command.add_argument(
        "-o",
        "--output",
        type=OutputFile,
        metavar="FILE",
        help=f"file to write: .csv, .tsv or .parquet{more}; default: CSV on standard output",
    )
    command.add_argument(
        "--escape-formulas",
        action="store_true",
        help="put an apostrophe before text in CSV that a spreadsheet would run: text that starts with = + - @, a tab "
        "or a line end",
    )


# ---------------------------------------------------------------------------------------------------- each command


def _add_fit(commands: Any) -> None:
    text = "Train a model on tables of interactions, and write it to a file with its ids and features."
    shared = (_add_id_columns, _add_value_columns, _add_file_format, _add_threads_of_training)
    fit = _add_command(commands, "fit", fit_model, text, *shared)
    fit.add_argument("interactions", nargs="+", type=InputFile, metavar="FILE", help="interactions, one a row")
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
        help="for data larger than memory: write the interactions to shards in this new folder, and train on the "
        "shards; FILE is then Parquet",
    )
    fit.add_argument(
        "--shard-memory",
        default=SHARD_MEMORY,
        metavar="SIZE",
        help="memory for the rows of a shard, and for the ids that are saved with the model (%(default)s)",
    )
    _add_duplicates(fit)
    fit.add_argument(
        "--unknown",
        choices=("raise", "skip", "add"),
        default="raise",
        help="what to do with rows whose user or item is not in --users or --items (%(default)s)",
    )
    for side in ("user", "item"):
        _add_side(fit, side)
    fit.add_argument(
        "--title-column", metavar="NAME", help="column of --items that answers show in addition to the ids"
    )
    group = fit.add_argument_group(
        "hyperparameters",
        "The default is --preset fast, as of Recommender in Python. With --loss and without --preset the values in "
        "brackets hold. Options that are given replace either.",
    )
    group.add_argument(
        "--preset",
        choices=tuple(PRESETS),
        help=f"hyperparameters that rank well on many data sets, and {PRESET_EPOCHS} epochs ({DEFAULT_PRESET}, without "
        "--loss)",
    )
    group.add_argument(
        "--epochs",
        type=count,
        metavar="N",
        help=f"passes over the interactions (with a preset {PRESET_EPOCHS}, else {DEFAULT_EPOCHS})",
    )
    defaults = LightFM(**OWN_DEFAULTS).get_params()
    for name, (option, text, how) in HYPERPARAMETERS.items():
        default = "" if defaults[name] is None else f" ({defaults[name]})"
        group.add_argument(option, dest=MODEL_PREFIX + name, help=f"{text}{default}", **how)
    _add_saved_parts(fit)
    _add_held_out(fit)
    _add_tuning(fit)


def _add_duplicates(command: _Parser) -> None:
    command.add_argument(
        "--duplicates",
        choices=("sum", "max", "last", "error"),
        default="sum",
        help="how to merge rows with the same user and item (%(default)s)",
    )


def _add_saved_parts(command: _Parser) -> None:
    command.add_argument(
        "--no-optimizer-state",
        dest="optimizer_state",
        action="store_false",
        help="save a file of half the size; update then trains with a fresh optimiser",
    )
    command.add_argument(
        "--no-interactions",
        dest="save_interactions",
        action="store_false",
        help="do not save the interactions; recommend then needs --interactions to leave out what users have seen",
    )


def _add_files_of_side(command: _Parser, side: str) -> None:
    command.add_argument(
        f"--{side}s", dest=f"{side}_files", help=f"descriptions of {side}s, one a row", **SEVERAL_FILES
    )
    command.add_argument(
        f"--{side}-tags",
        nargs=2,
        action=_Tags,
        default=[],
        metavar=("FILE", "COLUMN"),
        help=f"tags of {side}s, one a row: the {side}'s id, and the tag in COLUMN",
    )


def _add_side(fit: _Parser, side: str) -> None:
    _add_files_of_side(fit, side)
    fit.add_argument(
        f"--{side}-features",
        nargs="+",
        action="extend",
        default=[],
        metavar="COLUMN[:KIND[=ARG]]",
        help=f"columns of --{side}s that are features; KIND (default: category) is category[=smallest number of rows], "
        "tags[=separator, default |], number, bins[=n], curve[=n], text or vector",
    )
    fit.add_argument(
        f"--no-{side}-identity",
        dest=f"{side}_identity",
        action="store_false",
        help=f"learn no embedding of each {side}, only of its features",
    )


def _add_held_out(fit: _Parser) -> None:
    group = fit.add_argument_group("held-out interactions")
    group.add_argument(
        "--hold-out", choices=tuple(HOLD_OUTS), help="which rows to hold out of training, to measure the model"
    )
    group.add_argument(
        "--fraction",
        type=float,
        default=0.2,
        metavar="X",
        help="share of rows, users or items to hold out (%(default)s)",
    )
    group.add_argument(
        "--validation",
        help="held-out interactions from a file, instead of --hold-out; rows with unknown ids are left out",
        **SEVERAL_FILES,
    )
    group.add_argument(
        "--patience",
        type=count,
        metavar="N",
        help="stop after N epochs without a gain, and keep the best epoch; --hold-out then holds out two parts: one "
        "chooses the epoch, the other measures the model",
    )
    group.add_argument("--metric", choices=tuple(METRICS), help="metric that --patience and --tune maximise (ndcg)")
    group.add_argument(
        "--k", type=_length, default=10, metavar="N", help="length of the lists that metrics look at (%(default)s)"
    )


def _add_tuning(fit: _Parser) -> None:
    group = fit.add_argument_group("tuning (pip install 'lightfm_fast[tune]')")
    group.add_argument(
        "--tune",
        metavar="BUDGET",
        help="search for the best hyperparameters and epochs within a time or a number of trials, such as 90s, 10min, "
        "2h or 30trials; hyperparameters that are given stay fixed",
    )
    group.add_argument(
        "--task",
        type=lambda text: text.replace(" ", "-"),  # as tune spells them
        choices=tuple(TASK_OPTIONS),
        help="rows that the tuned model shall rank well: known users and items, new ones, or later interactions (warm)",
    )


def _add_update(commands: Any) -> None:
    text = (
        "Train a saved model on later rows, and write the result. New users and items are added. The files have the "
        "same columns as the files that the model was fitted to."
    )
    update = _add_command(commands, "update", update_model, text, _add_file_format, _add_threads_of_training)
    update.add_argument("model", metavar="MODEL", help="the saved model")
    rows = update.add_argument(
        "interactions",
        nargs="+",  # of "*" argparse takes none if options come before FILE
        default=[],
        type=InputFile,
        metavar="FILE",
        help="later interactions, one a row; without them new users and items are added, and nothing is trained",
    )
    rows.required = False
    update.add_argument(
        "-o", "--output", required=True, type=OutputFile, metavar="MODEL", help="file to write; may be the old model"
    )
    for side in ("user", "item"):
        _add_files_of_side(update, side)
    update.add_argument(
        "--epochs", type=count, default=5, metavar="N", help="passes over the interactions (%(default)s)"
    )
    _add_duplicates(update)
    update.add_argument(
        "--unknown",
        choices=("add", "skip", "raise"),
        default="add",
        help="what to do with rows whose user or item neither the model nor --users and --items have (%(default)s)",
    )
    _add_saved_parts(update)
    group = update.add_argument_group("keeping the old model if the new one is worse")
    group.add_argument(
        "--gate",
        type=metric_at,
        metavar="METRIC@K",
        help=f"metric to compare both models by on held-out interactions, such as ndcg@10: if the new one is worse by "
        f"more than {ERRORS:g} standard errors, write nothing and exit with {KEPT_OLD}; METRIC is {', '.join(GATES)}",
    )
    group.add_argument(
        "--hold-out", choices=("random", "time"), help="which of the rows to compare on, instead of training on them"
    )
    group.add_argument(
        "--fraction", type=float, default=0.2, metavar="X", help="share of rows to hold out (%(default)s)"
    )
    group.add_argument("--validation", help="interactions to compare on, instead of --hold-out", **SEVERAL_FILES)
    group.add_argument("--train", help="earlier interactions, whose items are left out of the ranking", **SEVERAL_FILES)
    group.add_argument("--seed", type=int, default=0, metavar="N", help="seed of --hold-out random (%(default)s)")


def _add_evaluate(commands: Any) -> None:
    text = "Measure a model on held-out interactions."
    shared = (_add_model, _add_id_columns_of_model, _add_value_columns_of_model, _add_file_format, _add_threads)
    command = _add_command(commands, "evaluate", evaluate_model, text, *shared)
    command.add_argument("test", nargs="+", type=InputFile, metavar="FILE", help="held-out interactions, one a row")
    command.add_argument("--train", help="known interactions, whose items are left out of the ranking", **SEVERAL_FILES)
    command.add_argument(
        "--metrics",
        nargs="+",
        choices=tuple(METRICS),
        default=["precision", "recall", "ndcg", "map", "hit_rate", "mrr", "auc"],
        metavar="NAME",
        help=f"metrics to compute: {', '.join(METRICS)}; default: all but the last two",
    )
    command.add_argument(
        "--k", nargs="+", type=_length, default=[10], metavar="N", help="lengths of the lists that metrics look at (10)"
    )
    command.add_argument(
        "--unknown", choices=("raise", "skip"), default="skip", help="what to do with rows of unknown ids (%(default)s)"
    )


def _add_recommend(commands: Any) -> None:
    add_output = partial(
        _add_output, more=", or a folder of Parquet files, which the same command completes after an interruption"
    )
    shared = (_add_model, _add_id_columns_of_model, _add_value_columns_of_model, _add_file_format, add_output)
    text = "Recommend items to known users, or to newcomers."
    command = _add_command(commands, "recommend", recommend_items, text, *shared, _add_threads)
    command.add_argument("--users", help="ids of users; default: all users", **SEVERAL_IDS)
    command.add_argument("--users-from", help="file with ids of users", **SEVERAL_FILES)
    command.add_argument(
        "--newcomers",
        help="file of users that the model does not know, with the columns of the user features; their rows in "
        "--interactions count too",
        **SEVERAL_FILES,
    )
    command.add_argument(
        "-n", type=_length, default=10, metavar="N", help="number of items for each user (%(default)s)"
    )
    command.add_argument(
        "--interactions",
        help="past interactions, whose items are not recommended again; default: those saved with the model",
        **SEVERAL_FILES,
    )
    command.add_argument(
        "--shards",
        type=InputFile,
        metavar="FOLDER",
        help="folder that fit --shards has written: recommend to all its users, as Parquet in the file or folder -o",
    )
    command.add_argument("--keep-seen", action="store_true", help="also recommend items that users have seen")
    command.add_argument("--items", help="file with ids of the items to choose from; default: all", **SEVERAL_FILES)
    command.add_argument("--exclude", help="ids of items to recommend to no user", **SEVERAL_IDS)
    command.add_argument("--exclude-from", help="file with ids of items to recommend to no user", **SEVERAL_FILES)


def _add_similar(commands: Any) -> None:
    text = "Find the items most similar to given items, or the users most similar to given users."
    shared = (_add_model, _add_id_columns_of_model, _add_output, _add_threads)
    command = _add_command(commands, "similar", find_similar, text, *shared)
    command.add_argument("ids", nargs="+", metavar="ID", help="ids of items, or of users with --users")
    command.add_argument("--users", action="store_true", help="the ids are ids of users")
    command.add_argument(
        "-n", type=_length, default=10, metavar="N", help="number of similar ones for each id (%(default)s)"
    )


def _add_explain(commands: Any) -> None:
    text = "Split the score of a user and an item into the contributions of their features."
    command = _add_command(commands, "explain", explain_score, text, _add_model, _add_json)
    command.add_argument("user", metavar="USER", help="id of a user")
    command.add_argument("item", metavar="ITEM", help="id of an item")
    command.add_argument("-n", type=count, default=15, metavar="N", help="rows to show; --json has all (%(default)s)")
    command.add_argument("--plot", type=OutputFile, metavar="FILE", help="draw the rows as bars: .png, .svg or .pdf")


def _add_index(commands: Any) -> None:
    text = "Build an index of the items, by which serve answers faster where the catalogue is large."
    command = _add_command(commands, "index", index_model, text, _add_model, _add_threads)
    command.add_argument("-o", "--output", required=True, type=OutputFile, metavar="INDEX", help="file to write")
    command.add_argument(
        "--compared",
        type=count,
        default=N_COMPARED,
        metavar="N",
        help="smallest number of items that a search compares; a larger number finds more of the best items, and takes "
        "longer (%(default)s)",
    )


def _add_export_vectors(commands: Any) -> None:
    text = "Write vectors of items or users to Parquet, for databases that search by inner product."
    shared = (_add_model, _add_id_columns_of_model, _add_json)
    command = _add_command(commands, "export-vectors", export_vectors_of_model, text, *shared)
    command.add_argument(
        "-o", "--output", required=True, type=OutputFile, metavar="FILE", help="file to write: .parquet"
    )
    command.add_argument("--users", action="store_true", help="write vectors of users instead of items")
    command.add_argument(
        "--no-bias",
        dest="bias",
        action="store_false",
        help="leave out the last coordinate, which is an item's bias, and 1 for users",
    )


def _add_serve(commands: Any) -> None:
    text = "Answer requests for recommendations over HTTP."
    shared = (_add_model, _add_id_columns_of_model, _add_file_format)
    command = _add_command(commands, "serve", serve_model, text, *shared)
    command.add_argument(
        "--index", type=InputFile, metavar="INDEX", help="use this index, which the command index has written"
    )
    what = command.add_mutually_exclusive_group()
    what.add_argument(
        "--seen",
        help="past interactions, whose items are not recommended again; default: those saved with the model",
        **SEVERAL_FILES,
    )
    what.add_argument("--recommend-seen", action="store_true", help="also recommend items that users have seen")
    command.add_argument("--host", default="127.0.0.1", help="address to listen at (%(default)s)")
    command.add_argument("--port", type=_port, default=8000, help="port to listen at; 0 takes a free one (%(default)s)")
    command.add_argument(
        "--workers", type=count, default=1, metavar="N", help="number of processes that answer (%(default)s)"
    )
    command.add_argument(
        "--watch",
        type=_seconds,
        metavar="SECONDS",
        help="look at this interval whether a file was replaced, and reload it; SIGHUP reloads at once",
    )


def _add_inspect(commands: Any) -> None:
    _add_command(commands, "inspect", inspect_model, "Print what a model's file holds.", _add_model, _add_json)
