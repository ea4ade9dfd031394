"""Say the library's errors and warnings in the words of the command line."""

from __future__ import annotations

import re
import sys

from .._hyperparameters import ParameterError
from ..evaluation import LeakWarning
from .hyperparameters import HYPERPARAMETERS
from .output import printable

# The option for each argument that the library's messages name: of the model, and of all functions.
OF_MODEL = {name: option for name, (option, *_) in HYPERPARAMETERS.items()}
OPTIONS = OF_MODEL | {
    "k": "--k",
    "n": "-n",
    "Seed": "--seed",
    "epochs": "--epochs",
    "budget": "--tune",
    "num_threads": "--threads",
    "test_percentage": "--fraction",
    "positive_from": "--positive-from",
    "sample_weight": "--weight-column",
    "timestamps": "--time-column",
    "user_features": "--user-features",
    "item_features": "--item-features",
    "duplicates": "--duplicates",
    "unknown": "--unknown",
    "missing_ids": "--missing-ids",
    "task": "--task",
    "memory": "--shard-memory",
    "n_compared": "--compared",
}
# Words that may be arguments: no text in quotes, no part of a file's name.
WORD = re.compile(r"(?<![\w'./-])([A-Za-z_]+)(?:(=)(?:'([\w-]+)')?|\b(?![\w'./:-]))")
PYTHON_WORDS = {  # the library's advice, and the command line's version of it
    "choose with duplicates= how": "choose with --duplicates how",
    ", or take unseen='other'": "",
    "build it anew by model.index()": "build it anew by lightfm-fast index",
    ": load it by its own load()": "",
    "None, an integer from 0 to 2**32 - 1, a numpy.random.Generator or a numpy.random.RandomState": "a whole number "
    "from 0 to 2**32 - 1",
    ", or hold out more of them by validation_fraction": "",
    "pass other names by user= and item=": "give other names by --user-column and --item-column",
    ": save it by save(path, dataset=dataset)": ". Of a model of fit --shards whose ids did not fit --shard-memory, "
    "recommend --shards writes the lists of all users; in Python, save(path, dataset=dataset) keeps the ids",
}


def in_words_of_options(message: Exception | Warning | str) -> str:
    """Return a message in one line, naming options instead of arguments."""
    text = " ".join(str(message).split()) or "there is not enough memory"
    if isinstance(message, OSError) and message.strerror is not None:  # without the number
        text = message.strerror if message.filename is None else f"{message.filename}: {message.strerror}"
    if isinstance(message, UnicodeEncodeError) and message.encoding != "utf-8":
        text = (
            f"{sys.stdout.encoding}, the encoding of standard output, lacks {message.object[message.start]!r}: set "
            "PYTHONIOENCODING=utf-8, or write to a file by --output, or as --json"
        )
    if isinstance(message, LeakWarning):
        text = f"{text.partition(':')[0]}: hold interactions out, by fit --hold-out or in a file that fit does not read"
    for python, ours in PYTHON_WORDS.items():
        text = text.replace(python, ours)
    text = re.sub(r"in row ([\d,]+)", lambda found: f"in data row {int(found[1].replace(',', '')) + 1:,}", text)
    is_parameter = isinstance(message, ParameterError)
    options = OF_MODEL if is_parameter else OPTIONS

    def named(found: re.Match[str]) -> str:
        name, equals, value = found.groups()
        is_argument = is_parameter or equals or "_" in name or not found.start()  # else a word, such as loss
        return f"{options[name]}{' ' if equals else ''}{value or ''}" if is_argument and name in options else found[0]

    return printable(WORD.sub(named, text))
