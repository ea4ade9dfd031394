"""How far the writing of shards has come, noted in their folder, so that a later call can go on."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from .. import persistence
from .._files import file_version, replaced
from .._version import __version__
from ..data.frames import is_frame
from . import manifest
from .tables import ROWS_AT_ONCE, import_arrow, to_arrow

__all__: list[str] = []

_PROGRESS = "progress.json"


@dataclass(frozen=True)
class Question:
    """What a call asks for. Two calls with the same question write the same bytes.

    Attributes
    ----------
    rows : str
        The hash of all that the rows depend on: where they come from, and who are the users and items.
    whole : str
        The hash of all that the shards depend on.
    files : mapping of str to tuple
        The version of each file that is read.
    """

    rows: str
    whole: str
    files: Mapping[str, Any]

    def check_files(self) -> None:
        """Raise ValueError if a file has changed since the question was asked."""
        changed = [name for name, version in self.files.items() if file_version(name) != version]
        if changed:
            raise ValueError(f"{changed[0]} changed while it was read: call again when no other process writes it")


def question_of(
    source: Any,
    files: Sequence[str],
    frames: Mapping[str, Any],
    encoders: Mapping[str, Any],
    like: Any,
    settings: Mapping[str, Any],
    sizes: Mapping[str, Any],
) -> Question:
    """Return the question of a call.

    Parameters
    ----------
    source : JSON value
        What tells the interactions from others, beside the files.
    files : list of str
        All that are read, in their order.
    frames : mapping of str to frame or None
        Tables in memory.
    encoders : mapping of str to list of columns, encoder or None
    like : ShardedDataset or None
    settings, sizes : mapping
        Arguments that the rows depend on, and those that the shards depend on too.

    Raises
    ------
    TypeError
        If a table is neither a frame nor a dict.
    ValueError
        If an encoder cannot be saved with the shards.
    """
    versions = {os.path.abspath(name): file_version(name) for name in files}
    described = {name: describe_encoder(name, encoder) for name, encoder in encoders.items()}
    model = None if like is None else [manifest.read(like.path)["files"][manifest.ITEMS], like.n_shared]
    facts = [source, list(versions.items()), described, model, dict(settings)]
    digest = hashlib.sha256(hash_of(facts).encode())
    for name, frame in frames.items():
        digest.update(name.encode())
        _hash_frame(digest, frame, name)
    rows = digest.hexdigest()
    return Question(rows, hash_of([rows, dict(sizes)]), versions)


def hash_of(facts: Any) -> str:
    """Return the hash of JSON values and of the library's version."""
    text = json.dumps([__version__, facts], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def describe_encoder(name: str, encoder: Any) -> Any:
    """Return JSON values that tell an encoder from others, whether it is fitted or not.

    Raises
    ------
    ValueError
        If it cannot be saved with the shards.
    """
    if not hasattr(encoder, "get_feature_names_out"):
        return encoder
    fresh = encoder.__sklearn_clone__() if hasattr(encoder, "__sklearn_clone__") else encoder
    return persistence.pack_encoder(name, fresh)


def _hash_frame(digest: Any, frame: Any, name: str) -> None:
    if frame is None:
        return
    try:
        table = to_arrow(frame, name)
    except TypeError:  # columns that Arrow does not take
        if not isinstance(frame, Mapping) and not is_frame(frame):
            raise
        digest.update(pickle.dumps(frame, protocol=4))
        return
    arrow = import_arrow()
    for batch in table.to_batches(ROWS_AT_ONCE):
        sink = arrow.BufferOutputStream()
        with arrow.ipc.new_stream(sink, table.schema) as writer:  # with the values of dictionaries, unlike serialize()
            writer.write_batch(batch)
        digest.update(sink.getvalue())


class Progress(NamedTuple):
    """What a call has reached.

    Attributes
    ----------
    question : str
        Which rows were read: :attr:`Question.rows`.
    counts : list of list of int
        How many interactions, rows of a table of users, and bytes of the users' ids are in each bucket.
    files : dict
        The size of each file of rows.
    facts : dict
        What the manifest will say of the whole.
    plan : JSON value
        What the shards depend on beside the rows: their buckets, and how duplicates are merged.
    shards : list of (facts, files)
        What the manifest will say of each finished shard and of its files.
    """

    question: str
    counts: list[list[int]]
    files: dict[str, int]
    facts: dict[str, Any]
    plan: Any = None
    shards: Sequence[Any] = ()

    def planned(self, plan: Any) -> Progress:
        """Return this progress for a plan, without the shards of another one."""
        return self if plan == self.plan else self._replace(plan=plan, shards=())


def write(folder: str, progress: Progress) -> None:
    """Note what a call has reached."""
    with replaced(os.path.join(folder, _PROGRESS)) as temporary, open(temporary, "w", encoding="utf-8") as file:
        json.dump(progress._asdict(), file)


def find(folder: str, question: Question) -> Progress | None:
    """Return what an earlier call for the same rows has reached in a folder; None if it has not read them all."""
    try:
        with open(os.path.join(folder, _PROGRESS), encoding="utf-8") as file:
            facts = json.load(file)
        return Progress(**facts) if facts["question"] == question.rows else None
    except (FileNotFoundError, *persistence.MALFORMED, ValueError):  # or the disk has lost what was noted
        return None


def is_begun(folder: str) -> bool:
    """Return whether a later call can go on with what a folder holds."""
    return os.path.exists(os.path.join(folder, _PROGRESS))


def remove(folder: str) -> None:
    """Forget what a call has reached."""
    os.remove(os.path.join(folder, _PROGRESS))
