"""The command ``lightfm-fast``, over tables in files: fit, evaluate, recommend, explain, serve and others.

The answer goes to standard output, as text or as one JSON document. Progress and notes go to standard error.
An error of the user is one line and exit code 2. Control characters in files do not reach a terminal.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence

from ..evaluation import LeakWarning
from .arguments import PROGRAM, check_outputs, find_files, make_parser
from .messages import in_words_of_options
from .output import note

__all__ = ["main"]

USER_ERRORS = (ValueError, TypeError, NotImplementedError, OSError, ImportError, MemoryError)
INTERRUPTED, PIPE_CLOSED = 130, 141  # as shells report SIGINT and SIGPIPE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with its arguments, by default the process's arguments, and return its exit code.

    Returns
    -------
    int
        0; 2 after an error of the user, which is one line on standard error; 3 if update kept the old model; 130 if
        interrupted; 141 if the reader of standard output has closed it.
    """
    _open_closed_streams()
    options = make_parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default", LeakWarning)
            warnings.showwarning = lambda message, *_, **__: note(options, f"warning: {in_words_of_options(message)}")
            find_files(options)
            check_outputs(options)
            code: int = options.run(options) or 0
            sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as head, has closed standard output
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes standard output at its end
        return PIPE_CLOSED
    except USER_ERRORS as error:
        print(f"{PROGRAM} {options.command}: error: {in_words_of_options(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{PROGRAM} {options.command}: interrupted", file=sys.stderr)
        return INTERRUPTED
    return code


def _open_closed_streams() -> None:
    """Discard what goes to standard streams that the caller has closed, as some daemons do. Python sets them to None.

    The numbers of closed streams are taken too: else a file that is written would get one, and libraries print to it.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
