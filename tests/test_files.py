"""Files are replaced atomically, keep their permissions and links, and killed processes leave nothing behind."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lightfm_fast._files import open_regular, replaced

posix = pytest.mark.skipif(os.name != "posix", reason="modes, links, pipes and signals are POSIX's")


@pytest.fixture(params=["unnamed", "named"])
def kind(request, monkeypatch):
    """Linux's files without names, and the files of other systems."""
    if request.param == "named":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    elif not hasattr(os, "O_TMPFILE"):
        pytest.skip("the system has no files without names")
    return request.param


def write(path, text="new"):
    with replaced(path) as name:
        Path(name).write_text(text)


@pytest.mark.usefixtures("kind")
def test_the_file_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "file"
    for before in ([], ["file"]):
        with pytest.raises(ZeroDivisionError), replaced(path) as name:
            Path(name).write_bytes(bytes(9 // (len(before) * 0)))
        assert os.listdir(tmp_path) == before
        write(path, "whole")
        assert path.read_text() == "whole"
        assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("is_new", [True, False])
def test_an_interruption_after_the_move_is_raised_as_it_is(tmp_path, monkeypatch, is_new):
    path = tmp_path / "file"
    if not is_new:
        path.write_text("old")

    def interrupted(function):
        def call(*arguments, **options):
            function(*arguments, **options)
            raise KeyboardInterrupt

        return call

    for name in ("replace", *["link"] * is_new):
        monkeypatch.setattr(os, name, interrupted(getattr(os, name)))
    with pytest.raises(KeyboardInterrupt), replaced(path) as temporary:
        Path(temporary).write_text("new")
    assert (path.read_text(), os.listdir(tmp_path)) == ("new", ["file"])


@posix
@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400])
def test_permissions_stay(tmp_path, mode):
    path = tmp_path / "file"
    write(path)
    (tmp_path / "other").touch()
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode
    path.chmod(mode)
    with replaced(path) as name:
        assert not stat.S_IMODE(os.stat(name).st_mode) & 0o077  # private until it is complete
    assert stat.S_IMODE(path.stat().st_mode) == mode


@posix
@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("exists", [True, False])
def test_a_symbolic_link_stays(tmp_path, exists):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    link, target = tmp_path / "a" / "link", tmp_path / "b" / "target"
    if exists:
        target.write_text("old")
    link.symlink_to(Path("..", "b", "target"))
    write(link)
    assert os.readlink(link) == "../b/target"
    assert target.read_text() == "new"
    assert os.listdir(tmp_path / "b") == ["target"]


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("make", [str, os.fsencode, Path, os.path.relpath])
def test_every_name_that_the_system_takes(tmp_path, monkeypatch, make):
    monkeypatch.chdir(tmp_path)
    for name in ("n" * 255, "é" * 127, "a b\n*?", os.fsdecode(b"\xff\xfe") if os.name == "posix" else "x"):
        for _ in range(2):
            write(make(tmp_path / name))
        assert os.listdir(tmp_path) == [name]
        (tmp_path / name).unlink()


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_errors_name_the_path_that_was_given(tmp_path, monkeypatch, step):
    path = tmp_path / "file"
    write(path, "old")

    def fail(*arguments, **_):
        raise OSError(28, "No space left on device", *arguments[:1] if step == "replace" else ())

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match=f"No space left on device: '{path}'$"):
        write(path)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["file"]
    assert path.read_text() == "old"
    absent = tmp_path / "absent" / "file"
    with pytest.raises(FileNotFoundError, match=f"No such file or directory: '{absent}'$"):
        write(absent)
    with pytest.raises(OSError, match="nnnn"):
        write(tmp_path / ("n" * 256))


@posix
@pytest.mark.usefixtures("kind")
def test_only_files_are_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, message in ((tmp_path, "a folder"), (tmp_path / "pipe", "a pipe"), (Path(os.devnull), "a device")):
        before = path.stat().st_mode
        with pytest.raises(OSError, match=f"{message}.*'{path}'"):
            write(path)
        assert path.stat().st_mode == before


@posix
def test_what_might_wait_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match=r"pipe is a pipe, expected a file"):
        open_regular(tmp_path / "pipe")
    with pytest.raises(ValueError, match="is a device, expected a file"):
        open_regular(os.devnull)
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)


KILLED = """
import os, signal, sys
from lightfm_fast._files import replaced
where, named, path = sys.argv[1:]
if named == "named":
    vars(os).pop("O_TMPFILE", None)
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
if where != "block":
    setattr(os, where, die)
with replaced(path) as name:
    with open(name, "wb") as file:
        file.write(bytes(1000))
    if where == "block":
        die()
"""


@posix
@pytest.mark.parametrize("where", ["block", "fsync", "replace"])
def test_a_killed_process_leaves_nothing_behind(tmp_path, kind, where):
    path, neighbour = tmp_path / "file", tmp_path / "neighbour"
    for name in (path, neighbour):
        write(name, "old")
    process = subprocess.run([sys.executable, "-c", KILLED, where, kind, str(path)], check=False)
    assert process.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    left = set(os.listdir(tmp_path)) - {"file", "neighbour"}
    assert len(left) == (kind == "named" or where == "replace")
    write(neighbour)
    assert left <= set(os.listdir(tmp_path))  # other writers' files may be unfinished
    write(path)
    assert set(os.listdir(tmp_path)) == {"file", "neighbour"}


@pytest.mark.usefixtures("kind")
def test_what_a_running_call_writes_is_not_swept(tmp_path):
    path = tmp_path / "file"
    with replaced(path) as first:
        Path(first).write_text("first")
        write(path, "second")
        assert path.read_text() == "second"
        assert Path(first).read_text() == "first"
    assert path.read_text() == "first"
    assert os.listdir(tmp_path) == ["file"]
