"""Say the library's errors and warnings in the words of the command line."""

from __future__ import annotations

import re
import sys

from ..evaluation import LeakWarning
from .hyperparameters import HYPERPARAMETERS
from .output import printable

# The option for each argument that the library's messages name.
OPTIONS = {name: option for name, (option, *_) in HYPERPARAMETERS.items()} | {
    "k": "--k",
    "Seed": "--seed",
    "epochs": "--epochs",
    "budget": "--tune",
    "num_threads": "--threads",
    "test_percentage": "--fraction",
    "positive_from": "--positive-from",
    "sample_weight": "--weight-column",
}
PYTHON_WORDS = {  # the library's advice, and the command line's version of it
    "choose with duplicates= how": "choose with --duplicates how",
    ", or take unseen='other'": "",
    "build it anew by model.index()": "build it anew by lightfm-fast index",
    ": load it by its own load()": "",
    ": save it by save(path, dataset=dataset)": ". Of a model of fit --shards, recommend "
    "--shards writes the lists of all users; in Python, save(path, dataset=dataset) keeps the ids",
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
    option = OPTIONS.get(text.partition(" ")[0])
    return printable(text if option is None else f"{option}: {text}")
