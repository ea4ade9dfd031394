"""The compiled core, in the build for the highest instruction-set level that this CPU supports.

The levels are ``baseline`` (any machine), ``x86_64_v3`` (AVX2 and FMA) and ``x86_64_v4`` (AVX-512). The environment
variable ``LIGHTFM_FAST_LEVEL``, read at import, selects a level by name.

Attributes
----------
columns, engine, machine, ranking : module
    The compiled modules.
level : str
    The level that the modules were compiled for.
"""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Sequence
from typing import Literal

from .._version import __version__

try:
    from ._cpu import compiler, levels_built, levels_supported, max_threads, openmp
except ImportError as error:
    raise ImportError(
        f"the compiled core of lightfm_fast cannot be loaded from {os.path.dirname(__file__)}: {error}. "
        "In a source tree run 'pip install -e .' first, or start Python elsewhere to use an installed copy"
    ) from error


def _choose_level(requested: str | None, built: Sequence[str], supported: Sequence[str]) -> str:
    usable = [level for level in built if level in supported]
    if not requested:
        return usable[-1]
    if requested not in usable:
        problem = "this CPU cannot run it" if requested in built else "this build does not have it"
        raise ImportError(
            f"LIGHTFM_FAST_LEVEL asks for {requested!r}, but {problem}: built are {', '.join(built)}; "
            f"this CPU runs {', '.join(supported)}. Set it to one of {', '.join(usable)}, or unset it"
        )
    return requested


level = _choose_level(os.environ.get("LIGHTFM_FAST_LEVEL"), levels_built, levels_supported)
engine = importlib.import_module(f"{__name__}.{level}.engine")
machine = importlib.import_module(f"{__name__}.{level}.machine")
ranking = importlib.import_module(f"{__name__}.{level}.ranking")
columns = importlib.import_module(f"{__name__}.{level}.columns")


_threads_of: int | None = None  # id of the process that has OpenMP's threads
_warned_in: int | None = None


def usable_threads(num_threads: int) -> int:
    """Return ``num_threads``, or 1 in a process that was forked from a process with threads of OpenMP.

    OpenMP keeps its threads for the next parallel region. A fork copies OpenMP's record of the threads, but not the
    threads: a parallel region would wait for them for ever. A forked process warns once.
    """
    global _threads_of, _warned_in
    process = os.getpid()  # not os.register_at_fork, which misses forks of C code
    if num_threads == 1:
        return 1
    if _threads_of is None:
        _threads_of = process
    if _threads_of == process:
        return num_threads
    if _warned_in != process:
        _warned_in = process
        warnings.warn(
            "this process was forked from a process that had used several threads, so OpenMP can use only one thread "
            "here. Pass num_threads=1, or start processes by 'spawn' or 'forkserver' "
            "(multiprocessing.get_context('spawn')), or by joblib's loky, to use several threads",
            RuntimeWarning,
            stacklevel=2,
        )
    return 1


def show_config(mode: Literal["stdout", "dicts"] = "stdout") -> dict[str, object] | None:
    """Print or return which build of the compiled core is in use.

    Parameters
    ----------
    mode : {"stdout", "dicts"}
        Print the configuration, or return it.

    Returns
    -------
    dict or None
        With ``mode="dicts"``: ``version``; ``level``, the instruction-set level in use; ``levels_built`` and
        ``levels_supported``, tuples of the levels that were built and that this CPU supports, lowest first;
        ``openmp``, whether training can use several threads; ``max_threads``, OpenMP's default number of threads;
        ``compiler``.

    Raises
    ------
    ValueError
        If ``mode`` is neither of the two.
    """
    if not isinstance(mode, str) or mode not in ("stdout", "dicts"):
        raise ValueError(f"mode is {mode!r}; expected 'stdout' or 'dicts'")
    config: dict[str, object] = {
        "version": __version__,
        "level": level,
        "levels_built": levels_built,
        "levels_supported": levels_supported,
        "openmp": openmp,
        "max_threads": max_threads(),
        "compiler": compiler,
    }
    if mode == "dicts":
        return config
    for name, value in config.items():
        print(f"{name}: {', '.join(value) if isinstance(value, tuple) else value}")
    return None
