"""The command ``lightfm-fast``: fit, evaluate, recommend, similar, explain and inspect, over tables in files.

What is asked for goes to standard output, as text or as one JSON document; progress and notes go to standard error.
The user's errors end in one line and exit code 2. A terminal gets no control characters out of tables.
"""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Sequence

from ..evaluation import LeakWarning
from .arguments import PROGRAM, check_outputs, make_parser
from .output import note, printable

__all__ = ["main"]

USER_ERRORS = (ValueError, TypeError, NotImplementedError, OSError, ImportError, MemoryError)
INTERRUPTED, PIPE_CLOSED = 130, 141  # what a shell reports of a process that SIGINT or SIGPIPE ended

# Where a message of the library names an argument, the option that sets it.
OPTIONS = {
    "loss": "--loss",
    "no_components": "--components",
    "learning_schedule": "--schedule",
    "learning_rate": "--learning-rate",
    "user_alpha": "--user-alpha",
    "item_alpha": "--item-alpha",
    "max_sampled": "--max-sampled",
    "k": "--k",
    "random_state": "--seed",
    "Seed": "--seed",
    "epochs": "--epochs",
    "num_threads": "--threads",
    "test_percentage": "--fraction",
    "positive_from": "--positive-from",
    "sample_weight": "--weight-column",
}
PYTHON_WORDS = {  # advice of the library's, in the words of the command line
    "say with duplicates= what": "say with --duplicates what",
    ", or take unseen='other'": "",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with its arguments, those of the process by default, and return its exit code.

    Returns
    -------
    int
        0; or 2 after an error of the user's, told in one line on standard error; 130 if interrupted.
    """
    options = make_parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default", LeakWarning)
            warnings.showwarning = lambda message, *_, **__: note(options, f"warning: {_in_words_of_options(message)}")
            check_outputs(options)
            options.run(options)
            sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes at the end
        return PIPE_CLOSED
    except USER_ERRORS as error:
        print(f"{PROGRAM} {options.command}: error: {_in_words_of_options(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{PROGRAM} {options.command}: interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


def _in_words_of_options(message: Exception | Warning | str) -> str:
    """Say in one line, in the words of the command line, what is wrong."""
    text = " ".join(str(message).split()) or "there is not enough memory"
    if isinstance(message, LeakWarning):
        text = f"{text.partition(':')[0]}: hold interactions out, by fit --hold-out or in a file that fit does not read"
    for python, ours in PYTHON_WORDS.items():
        text = text.replace(python, ours)
    text = re.sub(r"in row ([\d,]+)", lambda found: f"in data row {int(found[1].replace(',', '')) + 1:,}", text)
    option = OPTIONS.get(text.partition(" ")[0])
    return printable(text if option is None else f"{option}: {text}")
