"""Print text, JSON and lists of items to standard output, notes to standard error."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._arguments import counted
from ..callbacks import new_bar
from ..evaluation import Evaluation
from ..recommendation_files import Lists, Written, is_folder
from ..table_files import write_csv, write_csv_file, write_table
from ..table_files.kinds import DELIMITERS, writable_ending
from ..table_files.writer import not_a_formula

NAMED_FILES = 3  # the most files that a message names


class Titles(NamedTuple):
    """The titles of items: their column, and the title of each id that has one."""

    column: str
    of: dict[Hashable, str]


def listed(files: Sequence[str]) -> str:
    """Return the names of files for a message of one line: of many files, the first and their number."""
    if len(files) <= NAMED_FILES:
        return ", ".join(files)
    return f"{files[0]} and {len(files) - 1:,} more files"


def metrics_of(result: Evaluation) -> dict[str, dict[str, float | None]]:
    """Return each metric's mean and standard error, as JSON has them."""
    return {
        name: {
            "mean": value,
            "standard_error": None if math.isnan(result.standard_error[name]) else result.standard_error[name],
        }
        for name, value in result.mean.items()
    }


def write_lists(
    options: argparse.Namespace,
    blocks: Iterable[Lists],
    given: tuple[str, str],
    chosen: tuple[str, str],
    score: str = "score",
    titles: Titles | None = None,
) -> None:
    """Write a list for each id asked about: to a file, as JSON, or as CSV on standard output.

    Parameters
    ----------
    options : Namespace
    blocks : iterable of Lists
        The ids asked about and their lists, of ids. Blocks are written as they come, but a Parquet file takes one.
    given, chosen : (str, str)
        Names of the given ids and of the listed ids: the name in JSON, and the column in other output.
    score : str
        Name of the scores.
    titles : Titles, optional
        Shown beside the listed ids.

    Raises
    ------
    ValueError
        If the output would have two columns of one name.
    """
    written = Counts()
    columns = (given[1], chosen[1], "rank", score)
    if titles is not None and titles.column in columns:
        raise ValueError(f"the model's titles are in column {titles.column!r} too: give the ids another column name")
    blocks = written.counted(blocks)
    escape = not_a_formula if options.escape_formulas else None
    if options.output is None and options.json:
        _print_json_lists(blocks, given[0], chosen[0], score, titles)
        return
    tables = (_columns_of(block, columns, titles) for block in blocks)
    if options.output is None:
        change = _shown if sys.stdout.isatty() and escape is None else escape
        for number, table in enumerate(tables):
            write_csv(sys.stdout, table, header=not number, change=change)
        return
    if writes_text(options.output):
        write_csv_file(options.output, tables, escape)
    else:
        (table,) = tables
        write_table(options.output, table)
    report_lists(options, given[0], written.lists, written.rows)


def report_lists(options: argparse.Namespace, given: str, n_lists: int, n_rows: int) -> None:
    """Report the numbers of lists and rows that were written to a file."""
    if options.json:
        print_json({"output": options.output, f"{given}s": n_lists, "rows": n_rows})
    else:
        say(f"{options.output}: {counted(n_rows, 'row')} for {counted(n_lists, given)}")


def report_written(options: argparse.Namespace, written: Written) -> None:
    """Report the lists of users that were written to Parquet."""
    if written.kept:
        note(options, f"{options.output}: the lists of {counted(written.kept, 'user')} were there already")
    report_lists(options, "user", written.users, written.rows)


class Counts:
    """Counts the lists and their rows while they are written."""

    def __init__(self) -> None:
        self.lists = self.rows = 0

    def counted(self, blocks: Iterable[Lists]) -> Iterator[Lists]:
        """Iterate over blocks and count them."""
        for block in blocks:
            self.lists += len(block.users)
            self.rows += int(np.isfinite(block.scores).sum())
            yield block


def _columns_of(block: Lists, names: Sequence[str], titles: Titles | None) -> dict[str, list[Any]]:
    """Return a row for each place of each list."""
    is_found = np.isfinite(block.scores)
    rows, places = np.nonzero(is_found)
    columns = (block.users[rows], block.ids[is_found], places + 1, _rounded(block.scores[is_found]))
    given, chosen, *measured = ((name, column.tolist()) for name, column in zip(names, columns, strict=True))
    shown = [] if titles is None else [(titles.column, [titles.of.get(name) for name in chosen[1]])]
    return dict([given, chosen, *shown, *measured])


def _print_json_lists(blocks: Iterable[Lists], given: str, chosen: str, score: str, titles: Titles | None) -> None:
    """Print one JSON document, a list for each id asked about, block after block."""
    between = "["
    for block in blocks:
        for name, ids, scores in zip(block.users.tolist(), block.ids.tolist(), block.scores, strict=True):
            values = _rounded(scores[np.isfinite(scores)]).tolist()
            found = [
                {chosen: listed, **({} if titles is None else {"title": titles.of.get(listed)}), score: value}
                for listed, value in zip(ids, values, strict=False)
            ]
            sys.stdout.write(between + _json({given: name, f"{chosen}s": found}))
            between = ", "
    sys.stdout.write("[]\n" if between == "[" else "]\n")


def _rounded(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    return scores.astype(np.float64).round(6)  # not all digits of single precision


def writes_text(path: str) -> bool:
    """Return whether a file is written as CSV."""
    return path.lower().endswith(tuple(DELIMITERS))


def check_output_kind(options: argparse.Namespace, may_be_folder: bool = False) -> None:
    """Refuse an output file of an unknown kind, and --escape-formulas where no CSV is written."""
    ending = None if options.output is None else "folder"
    if options.output is not None and not (may_be_folder and is_folder(options.output)):
        ending = writable_ending(options.output)
    if options.escape_formulas and (options.json if ending is None else ending not in (".csv", ".tsv")):
        raise ValueError("--escape-formulas changes text in CSV, and other output is asked for")


def printable(text: str) -> str:
    """Escape characters that control a terminal or are invisible, as Python escapes them."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def _shown(cell: Any) -> Any:
    return printable(cell) if isinstance(cell, str) else cell


def say(line: str) -> None:
    """Print a line of the answer."""
    print(printable(line) if sys.stdout.isatty() else line)


def print_json(document: Any) -> None:
    """Print the answer as one JSON document."""
    print(_json(document))


def _json(document: Any) -> str:
    return json.dumps(document, default=str, allow_nan=False)


def print_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print aligned columns, the first right-justified."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        first, *others = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        say("  ".join((first.strip().rjust(widths[0]), *others)).rstrip())


def note(options: argparse.Namespace, text: str) -> None:
    """Print a line to standard error, unless --quiet."""
    if not options.quiet:
        print(printable(text), file=sys.stderr)


def progress(options: argparse.Namespace, blocks: Iterator[Lists], n_users: int, n_at_once: int) -> Iterator[Lists]:
    """Iterate over blocks of users with a progress bar, where there are several and tqdm is installed."""
    bar = new_bar(total=n_users, desc="Users") if n_users > n_at_once and not options.quiet else None
    return blocks if bar is None else _with_bar(blocks, bar)


def _with_bar(blocks: Iterator[Lists], bar: Any) -> Iterator[Lists]:
    with bar:
        for block in blocks:
            yield block
            bar.update(len(block.users))
