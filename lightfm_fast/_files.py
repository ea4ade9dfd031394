"""Write files whole or not at all, and open files without waiting for another process."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from io import FileIO
from typing import Any

from lightfm_fast._arguments import shorten

_PREFIX = ".lightfm_fast-"
_DAY = 24 * 60 * 60
try:
    _fcntl: Any = importlib.import_module("fcntl")
except ImportError:  # Windows
    _fcntl = None


class BusyError(ValueError):
    """Another call is writing the folder."""


def check_path(path: Any, name: str = "path") -> str:
    """Return the path ``name``, of text, bytes or an object such as ``pathlib.Path``, as text.

    Raises
    ------
    TypeError
        If it is no path.
    ValueError
        If no file can have this name.
    """
    try:
        text = os.fsdecode(path)
    except TypeError as error:
        raise TypeError(f"{name} is {shorten(path)}, expected a path, as text or pathlib.Path") from error
    try:
        is_possible = text != "" and b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        is_possible = False
    if not is_possible:
        raise ValueError(f"{name} is {shorten(path)}, which no file can be named: an empty name, or broken characters")
    return text


def reserve(descriptor: int, n_bytes: int) -> None:
    """Take bytes of the disk for a file that is to be mapped, where the system can.

    On a disk that fills up later, writing to a map would kill the process.

    Raises
    ------
    OSError
        If the disk is full.
    """
    if hasattr(os, "posix_fallocate") and n_bytes:
        os.posix_fallocate(descriptor, 0, n_bytes)


def is_same_file(first: str | os.PathLike[str], second: str | os.PathLike[str]) -> bool:
    """Tell whether two paths name one file, by another name or a link too; the files need not exist."""
    with contextlib.suppress(OSError):
        return os.path.samefile(first, second)
    return os.path.realpath(first) == os.path.realpath(second)


def file_version(path: str | os.PathLike[str]) -> tuple[int, int, int] | None:
    """Return what changes when a file is replaced; None if there is no such file."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


@contextlib.contextmanager
def replaced(path: str | os.PathLike[str]) -> Iterator[str]:
    """Yield the name of an empty file, flush it to disk after the block, and move it to ``path``.

    The block may open the name repeatedly. After an error ``path`` is unchanged. The new file has the permissions of
    the file that it replaces. A symbolic link stays, and its target is replaced.

    On Linux the new file has no name in the folder until it is complete, so that a killed process leaves nothing
    behind. On other systems the next call for the same ``path`` removes the file that a killed process left.

    Parameters
    ----------
    path : path
        In a folder that exists.

    Raises
    ------
    OSError
        If writing fails, or ``path`` is not a regular file. The message names ``path``.
    """
    given = check_path(path)
    replaced_file = _regular_or_none(given)
    target = os.path.realpath(given)
    folder, last = os.path.split(target)
    prefix = f"{_PREFIX}{hashlib.sha256(os.fsencode(last)).hexdigest()[:16]}-"  # short, whatever the name
    temporary = hidden = os.path.join(folder, prefix)
    try:
        _sweep(folder, prefix)
        descriptor, temporary, is_named = _create(folder, prefix, 0o666 if replaced_file is None else 0o600)
        try:
            yield temporary
            if replaced_file is not None and hasattr(os, "fchown"):
                with contextlib.suppress(PermissionError):  # only root may give a file to another user
                    os.fchown(descriptor, replaced_file.st_uid, replaced_file.st_gid)
                os.fchmod(descriptor, stat.S_IMODE(replaced_file.st_mode))
            os.fsync(descriptor)
            if not is_named:
                temporary, is_named = _name(descriptor, target, prefix)
            if temporary != target:
                if _fcntl is None:  # Windows cannot move an open file
                    os.close(descriptor)
                    descriptor = -1
                os.replace(temporary, target)
            is_named = False
        finally:
            if descriptor >= 0:
                os.close(descriptor)
            if is_named:
                with contextlib.suppress(FileNotFoundError):  # Ctrl-C came after the file was moved
                    os.remove(temporary)
        if hasattr(os, "O_DIRECTORY"):  # flush the new name too, for which Windows has no call
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    except OSError as error:
        name = error.filename
        if error.errno is None or not (name in (None, folder, temporary) or str(name).startswith(hidden)):
            raise
        reason = (error.strerror or str(error)).replace(temporary, given)
        raise OSError(error.errno, reason, given) from error


def open_regular(path: str | os.PathLike[str]) -> FileIO:
    """Open a file for reading.

    Raises
    ------
    ValueError
        If it is a pipe, a device or the like, which may block when opened or read.
    OSError
        If it cannot be opened; a folder cannot.
    """
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(
            open(path, "rb", buffering=0, opener=lambda name, flags: os.open(name, flags | _NO_WAIT))
        )
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode):
            raise ValueError(f"{os.fsdecode(path)} is {_kind(mode)}, expected a file")
        stack.pop_all()
        return file


_NO_WAIT = getattr(os, "O_NONBLOCK", 0)


def _kind(mode: int) -> str:
    kinds = {
        stat.S_ISDIR: "a folder",
        stat.S_ISFIFO: "a pipe",
        stat.S_ISCHR: "a device",
        stat.S_ISBLK: "a device",
        stat.S_ISSOCK: "a socket",
    }
    return next((kind for is_kind, kind in kinds.items() if is_kind(mode)), "no regular file")


def _regular_or_none(path: str) -> os.stat_result | None:
    """Return the status of the file at ``path``, or None if it does not exist; OSError if it cannot be replaced."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        code = errno.EISDIR if stat.S_ISDIR(found.st_mode) else errno.EINVAL
        raise OSError(code, f"It is {_kind(found.st_mode)}, expected a file or a name for a new one", path)
    return found


def _create(folder: str, prefix: str, mode: int) -> tuple[int, str, bool]:
    """Return the descriptor of a new file, a name to open it by, and whether the folder has that name.

    The file is locked, so that _sweep does not take it for the file of a killed process.
    """
    if hasattr(os, "O_TMPFILE"):
        try:
            descriptor = os.open(folder, os.O_TMPFILE | os.O_RDWR, mode)
        except OSError:  # unsupported by this file system; other errors occur again below
            pass
        else:
            name = f"/proc/self/fd/{descriptor}"
            if os.path.exists(name):
                _lock(descriptor)
                return descriptor, name, False
            os.close(descriptor)  # some sandboxes have no /proc
    while True:
        name = os.path.join(folder, prefix + secrets.token_hex(8))
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
        _lock(descriptor)
        if os.path.exists(name):
            return descriptor, name, True
        os.close(descriptor)  # another process's _sweep removed the file before it was locked


@contextlib.contextmanager
def sole_writer(folder: str, given: str) -> Iterator[None]:
    """Make a folder unless it is there, and hold its lock.

    Windows and some file systems have no such locks: there all may write.

    Raises
    ------
    BusyError
        If somebody else holds the lock; ``given`` is the path that the error names.
    OSError
        If the folder cannot be made, or is a file or a link.
    """
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder)
    if os.path.islink(folder):  # whoever made it would have another folder emptied
        raise FileExistsError(errno.EEXIST, "it is a link, expected a folder or nothing", folder)
    with contextlib.ExitStack() as stack:
        if _fcntl is not None:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            stack.callback(os.close, descriptor)
            is_free = True
            try:
                _fcntl.flock(descriptor, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
            except BlockingIOError:
                is_free = False
            except OSError:
                pass  # this file system has no locks
            # The former writer may have moved the folder since it was opened here.
            if not is_free or not os.path.exists(folder) or not os.path.samestat(os.fstat(descriptor), os.stat(folder)):
                raise BusyError(f"{given} is being written by another call: name another path, or wait")
        yield


def empty(folder: str) -> None:
    """Remove all that a folder holds."""
    for entry in list(os.scandir(folder)):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.remove(entry.path)


def _lock(descriptor: int) -> None:
    if _fcntl is not None:
        with contextlib.suppress(OSError):  # without locks, _remove_stale fails and sweeps nothing
            _fcntl.flock(descriptor, _fcntl.LOCK_EX)


def _name(descriptor: int, target: str, prefix: str) -> tuple[str, bool]:
    """Name a file that has no name: ``target``, or where that exists, a name to move to it."""
    folder = os.path.dirname(target)
    for name in (target, os.path.join(folder, prefix + secrets.token_hex(8))):
        with contextlib.suppress(FileExistsError):
            # Python follows the link in /proc only if src_dir_fd is given.
            os.link(f"/proc/self/fd/{descriptor}", name, src_dir_fd=descriptor, follow_symlinks=True)
            return name, name != target
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), folder)


def _sweep(folder: str, prefix: str) -> None:
    """Remove files of killed processes: files of this prefix that no running process has locked."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if name.startswith(prefix):
                with contextlib.suppress(OSError):
                    _remove_stale(os.path.join(folder, name))


def _remove_stale(path: str) -> None:
    if _fcntl is None:
        if time.time() - os.stat(path).st_mtime > _DAY:
            os.remove(path)
        return
    descriptor = os.open(path, os.O_RDONLY | _NO_WAIT | os.O_NOFOLLOW)
    try:
        _fcntl.flock(descriptor, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
        os.remove(path)
    finally:
        os.close(descriptor)
