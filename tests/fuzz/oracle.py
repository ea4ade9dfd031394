"""Promises that hold in every scenario, and that a fuzz can check without knowing the answer.

A scenario calls the library through :meth:`Oracle.call`, names the caller's arrays to :meth:`Oracle.guard`, and asks
for the other checks by name. ``failures`` lists broken promises. The driver notes crashes and hangs.
"""

from __future__ import annotations

import copy
import dis
import linecache
import os
import traceback
import warnings
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import scipy.sparse as sp

import lightfm_fast

from ..models import STATE

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = str(Path(lightfm_fast.__file__).parent)

# ParameterError is a ValueError, NotImplementedError a RuntimeError.
DOCUMENTED = (ValueError, TypeError, RuntimeError, MemoryError, OSError, ImportError)
# Exceptions that the interpreter or the system may raise: their messages name the file, the module or the memory.
RAISED_BY_SYSTEM = (MemoryError, OSError, ImportError)
# The estimators of factorization machines take their input through scikit-learn's own checks, as its conventions ask
# (check_estimator wants the messages as they are), and scikit-learn calls NumPy and SciPy in turn.
CHECKS_OF_SKLEARN = (os.path.join("sklearn", "utils"), os.path.join("sklearn", "model_selection"))


class Misbehaviour(Exception):
    """Raised by callbacks of a scenario; the library must let it pass unchanged."""


class Refused:
    """Returned by :meth:`Oracle.call` if the call raised."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __repr__(self) -> str:
        return f"{type(self.error).__name__}: {str(self.error)[:300]}"


class Oracle:
    def __init__(self) -> None:
        self.failures: list[str] = []
        self._steps: list[str] = []
        self._guarded: list[tuple[str, Any, Any]] = []

    # ------------------------------------------------------------------ calls of scenarios

    def say(self, step: object) -> None:
        """Note a step of the scenario, which is printed if it fails."""
        self._steps.append(str(step)[:300])

    def fail(self, kind: str, detail: object = "") -> None:
        self.failures.append("\n".join([f"{kind}: {detail}", *(f"    {step}" for step in self._steps[-12:])]))

    def guard(self, name: str, value: Any) -> Any:
        """Remember the bytes of the caller's arrays in ``value``, and return it."""
        self._guarded.append((name, value, snapshot(value)))
        return value

    def call(self, function: Any, *args: Any, also: tuple[type[BaseException], ...] = (), **kwargs: Any) -> Any:
        """Return the result of the call, or a :class:`Refused`; note an exception that the library may not raise."""
        name = getattr(function, "__qualname__", repr(function))
        self.say(f"{name}({', '.join([*map(shown, args), *(f'{k}={shown(v)}' for k, v in kwargs.items())])})")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return function(*args, **kwargs)
        except (KeyboardInterrupt, SystemExit, Misbehaviour) as error:
            return Refused(error)
        except BaseException as error:
            self.say(f"-> {Refused(error)!r}")
            # Python's exception for an attribute that cannot be assigned.
            self._judge(error, (*also, AttributeError) if function is setattr and raised_by_library(error) else also)
            return Refused(error)

    def require(self, result: Any) -> Any:
        """Return the answer of a call; note a refusal, and end the scenario."""
        if isinstance(result, Refused):
            self.fail("refused", repr(result))
            raise End
        return result

    # ------------------------------------------------------------------ checks

    def _judge(self, error: BaseException, also: tuple[type[BaseException], ...]) -> None:
        lines = "".join(traceback.format_exception(error)[-4:]).rstrip()
        if isinstance(error, also):
            return
        if not isinstance(error, DOCUMENTED) or isinstance(error, RecursionError):
            self.fail("undocumented exception", lines)
        elif not isinstance(error, RAISED_BY_SYSTEM) and not raised_by_library(error):
            self.fail("exception that leaked", lines)

    def check_guarded(self) -> None:
        for name, value, before in self._guarded:
            if snapshot(value) != before:
                self.fail("caller's arrays changed", name)

    def check_finite(self, model: Any) -> None:
        """Note parameters of a LightFM or a factorization machine that are not finite."""
        for name, array in state_of(model).items():
            if array is not None and not np.isfinite(array).all():
                self.fail("non-finite parameters kept", name)

    def check_kept(self, before: Any, model: Any) -> None:
        """Note a model that a refused call has changed. Epochs that the call completed may stay."""
        parameters, history = before
        kept = getattr(model, "history_", None)
        if not kept or kept == history:
            after = bytes_of(model)
            names = [name for name in {**parameters, **after} if parameters.get(name) != after.get(name)]
            self.check_same(
                parameters, after, f"{', '.join(names)} of {type(model).__name__}, after a call that raised"
            )

    def check_same(self, before: Any, after: Any, what: str) -> None:
        if before != after:
            self.fail("state changed", what)


class End(Exception):
    """Ends a scenario whose failure has been noted."""


# ---------------------------------------------------------------------------------------------------- exceptions


def raised_by_library(error: BaseException) -> bool:
    """Return whether a ``raise`` of the package or of its compiled core raised the exception.

    The innermost frame of another exception is outside of the package, or, if compiled code raised it, in a line of the
    package that calls and does not raise.
    """
    frames = list(walk(error.__traceback__))
    if any(part in frame.tb_frame.f_code.co_filename for frame in frames for part in CHECKS_OF_SKLEARN):
        return True
    if not frames:
        return False
    last = frames[-1]
    code = last.tb_frame.f_code
    if code.co_filename.endswith(".pyx"):
        return "raise" in linecache.getline(str(ROOT / code.co_filename), last.tb_lineno)
    return code.co_filename.startswith(PACKAGE) and dis.opname[code.co_code[last.tb_lasti]] == "RAISE_VARARGS"


def walk(entry: TracebackType | None) -> Any:
    while entry is not None:
        yield entry
        entry = entry.tb_next


# -------------------------------------------------------------------------------------------------------- values


def state_of(model: Any) -> dict[str, Any]:
    """Return copies of a model's parameters; None for a parameter that it does not have."""
    if isinstance(model, lightfm_fast.LightFM):
        arrays = {name: getattr(model, name) for name in STATE}
        return {name: None if array is None else np.array(array) for name, array in arrays.items()}
    if not hasattr(model, "history_"):
        return {}
    return {
        "embeddings_": np.array(model.embeddings_),
        "coef_": np.array(model.coef_),
        "intercept_": np.array(model.intercept_),
    }


def bytes_of(model: Any) -> dict[str, Any]:
    return {name: snapshot(array) for name, array in state_of(model).items()}


def remembered(model: Any) -> Any:
    """Return a record of a model, for :meth:`Oracle.check_kept`."""
    return bytes_of(model), copy.deepcopy(getattr(model, "history_", None))


def snapshot(value: Any) -> Any:
    """Return values that compare unequal once an array in ``value`` has changed."""
    if isinstance(value, np.ma.MaskedArray):
        return snapshot([value.data, np.ma.getmaskarray(value)])
    if isinstance(value, np.ndarray):
        content = [id(part) for part in value.ravel()] if value.dtype.hasobject else value.tobytes()
        return value.shape, str(value.dtype), content
    if sp.issparse(value):
        return value.shape, snapshot([getattr(value, name) for name in parts_of(value)])
    if isinstance(value, dict):
        return {key: snapshot(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [snapshot(part) for part in value]
    return repr(value)[:10_000]


def parts_of(matrix: Any) -> tuple[str, ...]:
    """Return the names of the arrays of a sparse matrix."""
    if matrix.format == "coo":
        return ("row", "col", "data")
    return ("indptr", "indices", "data") if matrix.format in ("csr", "csc", "bsr") else ("data",)


def shown(value: Any) -> str:
    if sp.issparse(value):
        return f"<{type(value).__name__} {value.shape} {value.dtype}>"
    if isinstance(value, np.ndarray) and value.size > 8:
        return f"<array {value.shape} {value.dtype}>"
    try:
        text = repr(value)
    except Exception:  # of a matrix that is not whole
        text = object.__repr__(value)
    return text if len(text) < 120 else f"{text[:100]}... ({len(text):,} characters)"
