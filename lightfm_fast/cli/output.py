"""Print text, JSON and lists of items to standard output, notes to standard error."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import sys
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from ..evaluation import Evaluation
from ..table_files import write_csv, write_table
from ..table_files.kinds import writable_ending
from ..table_files.writer import not_a_formula

_Value = TypeVar("_Value")


def counted(number: int, what: str) -> str:
    """Return a number and its noun, such as "1,200 rows"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


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
    asked: Sequence[Any],
    names: Sequence[Any],
    ids: Any,
    scores: Any,
    given: tuple[str, str],
    chosen: tuple[str, str],
    score: str = "score",
) -> None:
    """Write a list for each id asked about: to a file, as JSON, or as CSV on standard output.

    Parameters
    ----------
    options : Namespace
    asked : sequence
        The ids asked about.
    names : sequence
        The ids of the items or users that may be in the lists, by row.
    ids : array of int, shape (n_asked, n)
        The lists, as rows of ``names``; -1 where a list has ended.
    scores : array of float, same shape
    given, chosen : (str, str)
        Names of the given ids and of the listed ids: the name in JSON, and the column in other output.
    score : str
        Name of the scores.
    """
    rows, places = np.nonzero(ids >= 0)
    found = ids[rows, places].astype(np.int64).tolist()
    values = scores[rows, places].astype(np.float64).round(6).tolist()  # not all digits of single precision
    if options.output is None and options.json:
        lists: list[list[dict[str, Any]]] = [[] for _ in asked]
        for row, item, value in zip(rows.tolist(), found, values, strict=True):
            lists[row].append({chosen[0]: names[item], score: value})
        print_json([{given[0]: name, f"{chosen[0]}s": of_name} for name, of_name in zip(asked, lists, strict=True)])
        return
    columns = {
        given[1]: [asked[row] for row in rows.tolist()],
        chosen[1]: [names[item] for item in found],
        "rank": (places + 1).tolist(),
        score: values,
    }
    escape = not_a_formula if options.escape_formulas else None
    if options.output is None:
        write_csv(sys.stdout, columns, change=_shown if sys.stdout.isatty() and escape is None else escape)
        return
    write_table(options.output, columns, escape)
    if options.json:
        print_json({"output": options.output, f"{given[0]}s": len(asked), "rows": len(rows)})
    else:
        say(f"{options.output}: {counted(len(rows), 'row')} for {counted(len(asked), given[0])}")


def check_output_kind(options: argparse.Namespace) -> None:
    """Refuse an output file of an unknown kind, and --escape-formulas where no CSV is written."""
    ending = None if options.output is None else writable_ending(options.output)
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
    print(json.dumps(document, default=str, allow_nan=False))


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


def progress(options: argparse.Namespace, steps: Sequence[_Value], name: str) -> Iterator[_Value]:
    """Iterate over steps with a progress bar, where there are several and tqdm is installed."""
    if len(steps) > 1 and not options.quiet:
        with contextlib.suppress(ImportError):
            from tqdm.auto import tqdm

            return iter(tqdm(steps, desc=name))
    return iter(steps)
