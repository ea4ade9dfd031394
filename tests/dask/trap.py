"""A storage of local files in which a trap springs once: the next process that opens a certain file is hit."""

import json
import os
import re
import signal

import fsspec
from fsspec.implementations.local import LocalFileSystem


class TrapFileSystem(LocalFileSystem):
    protocol = "trap"

    def __init__(self, set_in, **options):
        super().__init__(**options)
        self.trap = set_in

    def _open(self, path, mode="rb", **options):
        try:
            with open(self.trap) as file:
                set_ = json.load(file)
        except FileNotFoundError:
            return super()._open(path, mode=mode, **options)
        if set_["mode"] == mode and re.search(set_["path"], path) and os.getpid() not in set_["spared"]:
            try:
                os.rename(self.trap, f"{self.trap}.sprung")
            except FileNotFoundError:  # another process was faster
                return super()._open(path, mode=mode, **options)
            if set_["action"] == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if set_["action"] == "hang":
                os.close(os.open(f"{self.trap}.fifo", os.O_RDONLY))  # until somebody opens the other end
            raise OSError("the trap")
        return super()._open(path, mode=mode, **options)


fsspec.register_implementation("trap", TrapFileSystem, clobber=True)  # also where a worker imports this file


class Trap:
    """A storage for DaskLightFM with a trap.

    Attributes
    ----------
    options : dict
        Arguments of DaskLightFM.
    """

    def __init__(self, folder):
        self._file = os.path.join(folder, "trap.json")
        self.options = {"storage": f"trap://{folder}/store", "storage_options": {"set_in": self._file}}

    def set(self, path, action, mode="wb", spares_us=True):
        """Set the trap for a pattern in the paths of files."""
        if action == "hang":
            os.mkfifo(f"{self._file}.fifo")
        facts = {"path": path, "action": action, "mode": mode, "spared": [os.getpid()] if spares_us else []}
        with open(f"{self._file}.new", "w") as file:
            json.dump(facts, file)
        os.rename(f"{self._file}.new", self._file)

    @property
    def has_sprung(self):
        return os.path.exists(f"{self._file}.sprung")

    def free(self):
        """Let a process go on that hangs."""
        os.close(os.open(f"{self._file}.fifo", os.O_WRONLY | os.O_NONBLOCK))
