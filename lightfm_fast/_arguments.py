"""Checks of the numbers, ids, names and choices that users pass, and the errors that refuse them."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import math
import os
import sys
import warnings
from array import array
from collections.abc import Collection, Sequence
from functools import lru_cache
from numbers import Integral, Real
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightfm_fast import _core
from lightfm_fast._cells import times_of_cells

# What a public random_state may be.
Seed = int | np.random.RandomState | np.random.Generator | None
LARGEST_INDEX = int(np.iinfo(np.int32).max)
# What NumPy and others raise for what cannot become an array. Other exceptions may be of an alarm's handler.
UNREADABLE = (ValueError, TypeError, RuntimeError, AttributeError, OverflowError)


class DivergedError(ValueError):
    """Training has made scores that are no longer finite."""


def import_optional(module: str, extra: str, purpose: str) -> ModuleType:
    """Import an optional library. If that fails, the error names the extra that installs it.

    Raises
    ------
    ImportError
        If ``module`` is not installed or its import fails; the message names ``extra``.
    """
    try:
        if module in sys.modules:  # waits for another thread that imports it; warnings of all threads stay as they are
            return importlib.import_module(module)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "IProgress not found")  # in notebooks, of a bar that optuna never shows
            return importlib.import_module(module)
    except Exception as error:  # a library built for another NumPy can raise any exception
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            raise ImportError(
                f"{purpose} needs {module}, which is not installed: pip install 'lightfm_fast[{extra}]'"
            ) from error
        raise ImportError(
            f"{purpose} needs {module}, which is installed but does not import ({error}): reinstall it, "
            f"pip install --force-reinstall 'lightfm_fast[{extra}]'"
        ) from error


_BROKEN: set[str] = set()  # libraries whose import failed; a failed import is slow, so it is tried once


def warn(message: str | Warning, category: type[Warning] = UserWarning) -> None:
    """Warn at the line of the caller's code that has called this package."""
    package = __name__.partition(".")[0]
    level, frame = 1, inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def importable(module: str) -> bool:
    """Return whether a library can be imported. Warn once if it is installed but its import fails."""
    if module in _BROKEN or importlib.util.find_spec(module) is None:
        return False
    try:
        importlib.import_module(module)
    except Exception as error:  # a library built for another NumPy can raise any exception
        _BROKEN.add(module)
        warn(
            f"{module} is installed but does not import ({error}): lightfm_fast does without it; reinstall it",
            RuntimeWarning,
        )
        return False
    return True


def check_fraction(value: Any, name: str) -> float:
    """Return ``value`` as a float from 0 to 1.

    Raises
    ------
    TypeError
        If it is not a real number.
    ValueError
        If it is outside 0 to 1 or NaN.
    """
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if not is_real(value):
        raise TypeError(f"{name} is {shorten(value)}, expected a number from 0 to 1")
    fraction = to_float(value)
    if not 0 <= fraction <= 1:
        raise ValueError(f"{name} is {shorten(value)}, expected a number from 0 to 1 (0.2 holds out a fifth)")
    return fraction


def check_random_state(random_state: Any) -> np.random.RandomState:
    """Return ``random_state`` if it is a RandomState, else a new RandomState seeded with it.

    A Generator seeds with numbers that are drawn from it, so each call gives another RandomState.

    Raises
    ------
    TypeError
        If it is neither None, a RandomState, a Generator, an integer nor a sequence of integers.
    ValueError
        If the seed is outside 0 to 2**32 - 1.
    """
    if isinstance(random_state, np.random.RandomState):
        return random_state
    if isinstance(random_state, np.random.Generator):
        random_state = random_state.integers(1 << 32, size=4)
    try:
        return np.random.RandomState(random_state)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(
            f"random_state is {shorten(random_state)}, expected None, an integer from 0 to 2**32 - 1, a "
            "numpy.random.Generator or a numpy.random.RandomState"
        ) from error


def check_row_widths(rows: Sequence[Any], widths: Collection[int], expected: str) -> set[int]:
    """Return the set of lengths of ``rows``, which are all in ``widths``.

    Raises
    ------
    TypeError
        If a row has no length or is text.
    ValueError
        If a row's length is not in ``widths``.
    """
    text = next((row for row in rows if isinstance(row, (str, bytes))), None)
    if text is not None:
        raise TypeError(f"expected rows of {expected}, got the text {text!r}")
    try:
        found = set(map(len, rows))
    except TypeError as error:
        raise TypeError(f"expected rows of {expected}: {error}") from error
    if not found.issubset(widths):
        wrong = next(row for row in rows if len(row) not in widths)
        raise ValueError(f"expected rows of {expected}, got {wrong!r}")
    return found


def check_weights(weights: Sequence[Any]) -> NDArray[np.float32]:
    """Return ``weights`` in single precision.

    Raises
    ------
    TypeError
        If a weight is not a real number, such as text.
    ValueError
        If a weight is NaN, infinite or too large for single precision.
    """
    try:
        values = np.array(array("d", weights))
    except TypeError as error:
        wrong = next(weight for weight in weights if not _is_number(weight))
        raise TypeError(f"a weight is {shorten(wrong)}, expected a number") from error
    except OverflowError as error:
        raise ValueError("a weight is beyond double precision: weights are finite numbers") from error
    finite = np.abs(values) <= np.finfo(np.float32).max
    if not finite.all():
        raise ValueError(
            f"weight {weights[int(finite.argmin())]!r} is not finite in single precision: "
            "weights are finite numbers, and features without weight are left out"
        )
    return values.astype(np.float32)


def _is_number(weight: Any) -> bool:
    try:
        array("d", [weight])
    except TypeError:
        return False
    return True


def check_not_negative(weights: NDArray[Any], name: str, place: str | None = None) -> None:
    """Raise ValueError if a weight of a sample is below 0: its loss would have no minimum.

    Errors number the ``place`` of the first such weight, such as a row, from 0.
    """
    if weights.min(initial=0) < 0:
        first, number = int((weights < 0).argmax()), np.count_nonzero(weights < 0)
        where = "" if place is None else f" in {place} {first:,}"
        raise ValueError(
            f"{name} holds {counted(number, 'weight')} below 0, {weights[first]:g}{where} first: a weight says how "
            "much an interaction counts, and its value whether it is a like"
        )


def check_timestamps(timestamps: Any, name: str, length: int | None = None) -> NDArray[Any]:
    """Return timestamps as a one-dimensional array of numbers or datetime64. Times with a zone are converted to UTC.

    Raises
    ------
    TypeError
        If they are neither numbers nor datetimes.
    ValueError
        If a timestamp is missing or infinite, or the number of timestamps is not ``length``.
    """
    times = timestamps.filled() if isinstance(timestamps, np.ma.MaskedArray) else np.asarray(timestamps)
    if times.ndim != 1 or (length is not None and len(times) != length):
        expected = "one dimension" if length is None else f"one for each of the {length:,} stored entries"
        raise ValueError(f"{name} has shape {times.shape}, expected {expected}")
    if times.dtype.kind not in "iufM":
        times = times_of_cells(list(timestamps), name)
    missing = np.ma.getmaskarray(timestamps) if np.ma.is_masked(timestamps) else np.zeros(len(times), dtype=bool)
    if times.dtype.kind in "fM":
        missing = missing | ~np.isfinite(times)
    if missing.any():
        raise ValueError(
            f"{name} has {counted(np.count_nonzero(missing), 'missing or infinite value')}, the first in row "
            f"{int(missing.argmax()):,}: fill them in, or leave those rows out"
        )
    return times


def check_feature_choice(**wanted: bool) -> None:
    """Raise ValueError if all the named flags, which choose kinds of features, are False, or one is no flag."""
    flags = [check_flag(flag, name) for name, flag in wanted.items()]
    if not any(flags):
        raise ValueError(f"{' and '.join(wanted)} are both False, expected at least one of them to be True")


def check_model(model: Any, method: str) -> None:
    """Raise TypeError if ``model`` is no model with this method, such as a matrix in its place or the class itself."""
    if isinstance(model, type) or not callable(getattr(model, method, None)):
        raise TypeError(f"model is {shorten(model)}, expected a fitted model, such as LightFM, that has {method}")


def check_choice(value: object, name: str, choices: tuple[str | None, ...]) -> None:
    """Raise ValueError if ``value`` is not one of ``choices``."""
    if not isinstance(value, str | None) or value not in choices:
        raise ValueError(f"{name} is {shorten(value)}, expected one of {', '.join(map(repr, choices))}")


def is_flag(value: Any) -> bool:
    """Tell whether ``value`` is True, False, 1 or 0, also of NumPy."""
    return isinstance(value, np.bool_) or (isinstance(value, Integral) and int(value) in (0, 1))


def check_flag(value: Any, name: str) -> bool:
    """Return ``value`` as a bool. Raise ValueError if it is none of True, False, 1 and 0."""
    if not is_flag(value):
        raise ValueError(f"{name} is {shorten(value)}, expected True or False")
    return bool(value)


def check_verbose(value: Any) -> bool:
    """Return whether to tell of progress: a flag or, as in scikit-learn, any whole number from 0."""
    return (is_whole(value) and value > 1) or check_flag(value, "verbose")


def check_axes(ax: Any) -> None:
    """Raise TypeError if ``ax`` is neither None nor an Axes of matplotlib to draw on."""
    if ax is not None and not isinstance(ax, import_optional("matplotlib.axes", "plot", "A plot").Axes):
        raise TypeError(f"ax is {shorten(ax)}, expected one Axes, such as figure.gca(), axes[0] or axes[0, 1]")


def check_proper_fraction(value: Any, name: str) -> float:
    """Return ``value`` as a float, since arithmetic in NumPy's half precision would overflow.

    Raises
    ------
    TypeError
        If it is not a real number.
    ValueError
        If it is not strictly between 0 and 1.
    """
    fraction = check_fraction(value, name)
    if not 0.0 < fraction < 1.0:
        raise ValueError(f"{name} is {value}, expected a number between 0 and 1, both excluded")
    return fraction


def check_count(value: int, name: str, largest: int = LARGEST_INDEX) -> int:
    """Return ``value`` as an int: a narrow integer of NumPy would overflow.

    Raises
    ------
    ValueError
        If it is not a whole number from 1 to ``largest``.
    """
    if not is_whole(value) or value < 1:
        raise ValueError(f"{name} is {shorten(value)}, expected a whole number of at least 1")
    if value > largest:
        raise ValueError(f"{name} is {shorten(value)}, expected at most {largest:,}")
    return int(value)


def check_least(value: Any, name: str, least: float) -> float:
    """Return ``value`` as a float.

    Raises
    ------
    TypeError
        If it is not a real number.
    ValueError
        If it is below ``least``, NaN or infinite.
    """
    if not is_real(value):
        raise TypeError(f"{name} is {shorten(value)}, expected a finite number of at least {least}")
    number = to_float(value)
    if not least <= number < np.inf:
        raise ValueError(f"{name} is {shorten(value)}, expected a finite number of at least {least}")
    return number


def check_finite_number(value: Any, name: str) -> float:
    """Return ``value`` as a float. Raise TypeError if it is no real number, ValueError if it is NaN or infinite."""
    if not is_real(value):
        raise TypeError(f"{name} is {shorten(value)}, expected a finite number")
    number = to_float(value)
    if not np.isfinite(number):
        raise ValueError(f"{name} is {shorten(value)}, expected a finite number")
    return number


def check_learning_rate_factor(factor: Any) -> float:
    """Return the factor as a float. Raises as :func:`check_least`."""
    return check_least(factor, "the factor of the learning rate", 0.0)


# OpenMP ends the process if the system cannot start the number of threads that it is asked for.
MOST_THREADS = 1024


def count_cpus() -> int:
    """Return how many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@lru_cache(maxsize=1)
def memory_of_machine() -> float:
    """Return how many bytes this process may use, as far as the system tells; else infinity."""
    limits = [math.inf]
    if hasattr(os, "sysconf"):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with contextlib.suppress(OSError, ValueError), open("/sys/fs/cgroup/memory.max") as file:  # or "max", of containers
        limits.append(int(file.read()))
    return min(limits)


def check_fits_memory(n_bytes: int, what: str) -> None:
    """Raise MemoryError for more bytes than there are: the system would lend them, and end the process at their use."""
    memory = memory_of_machine()
    if n_bytes > memory:
        raise MemoryError(
            f"{what} take {n_bytes / 1e9:,.1f} GB, and there are {memory / 1e9:,.1f} GB: number users, items and "
            "features from 0 without gaps, as lightfm_fast.data.Dataset does, take fewer components, or train on "
            "shards (lightfm_fast.sharded)"
        )


LITTLE = 200_000  # interactions: an epoch of fewer is over before it is worth while to start threads


def threads_for(n_interactions: int) -> int:
    """Return how many threads suit training on so many interactions: one for little data, else all CPUs."""
    return 1 if n_interactions < LITTLE else count_cpus()


def is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_real(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def to_float(value: Any) -> float:
    """Return a real number of any type and size as a float, or infinity if it is too large for a float."""
    try:
        return float(value)
    except OverflowError:
        return np.inf if value > 0 else -np.inf


def counted(number: int | np.integer[Any], what: str) -> str:
    """Return a number and its noun, such as "1,200 rows"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def shorten(value: Any) -> str:
    """Return the value's repr, shortened to fit in one line of an error."""
    try:
        text = repr(value)
    except Exception:  # an object may raise any, and Python limits the digits of an int that it converts to text
        return f"a number of {value.bit_length():,} bits" if is_whole(value) else object.__repr__(value)
    text = " ".join(map(str.strip, text.splitlines()))
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text):,} characters)"


def check_run(epochs: Any, num_threads: Any) -> tuple[int, int]:
    """Return ``epochs`` as an int, and the number of threads as :func:`check_num_threads` does.

    Raises
    ------
    TypeError
        If either is not a whole number.
    ValueError
        If either is out of range.
    """
    expected = "a whole number from 0 to 2**31 - 1"
    if not is_whole(epochs):
        raise TypeError(f"epochs is {shorten(epochs)}, expected {expected}")
    if not 0 <= epochs <= LARGEST_INDEX:
        raise ValueError(f"epochs is {shorten(epochs)}, expected {expected}")
    return int(epochs), check_num_threads(num_threads)


def check_num_threads(num_threads: Any) -> int:
    """Return the number of threads to use: ``num_threads``, or 1 in a forked process whose pool of threads is gone.

    Raises
    ------
    TypeError
        If ``num_threads`` is not a whole number.
    ValueError
        If it is not from 1 to ``MOST_THREADS``.
    """
    expected = f"a whole number from 1 to {MOST_THREADS:,}"
    if not is_whole(num_threads):
        raise TypeError(f"num_threads is {shorten(num_threads)}, expected {expected}")
    if not 1 <= num_threads <= MOST_THREADS:
        raise ValueError(f"num_threads is {shorten(num_threads)}, expected {expected}")
    return _core.usable_threads(int(num_threads))


def check_is_not_masked(values: Any, name: str) -> None:
    """Raise ValueError if values are masked: NumPy would go on with what the mask hides."""
    if np.ma.is_masked(values):
        masked = counted(np.count_nonzero(np.ma.getmaskarray(values)), "masked value")
        raise ValueError(f"{name} has {masked}: leave these out, or fill them in, as numpy.ma.filled does")


def as_array(values: Any, name: str) -> NDArray[Any]:
    """Return ``values`` as an array. Raise ValueError if some are masked, or NumPy cannot read them."""
    check_is_not_masked(values, name)
    try:
        return np.asarray(values)
    except UNREADABLE as error:
        if isinstance(values, (list, tuple)):
            expected = "holds lists within a list, expected one value in each place"
        else:
            expected = f"is {type(values).__name__} that NumPy cannot read, expected an array"
        raise ValueError(f"{name} {expected}: {error}") from error


def _shown_values(values: Any, array: NDArray[Any]) -> str:
    """Say what values are that should be numbers."""
    if not array.ndim:
        return f"is {shorten(values)}"
    return f"holds values of type {array.dtype}" + (f", {shorten(array.flat[0])} first" if array.size else "")


def check_row_numbers(ids: Any, name: str) -> NDArray[np.int64]:
    """Return one id or an array of ids as int64.

    Raises
    ------
    ValueError
        If an id is negative or no whole number.
    """
    array = as_array(ids, name)
    if array.ndim > 1:
        raise ValueError(f"{name} has {array.ndim} dimensions, expected one")
    if array.dtype.kind not in "iuf":
        raise ValueError(
            f"{name} {_shown_values(ids, array)}, expected row numbers: the mapping of a Dataset has the row of each "
            "id, and numpy.flatnonzero gives the rows of truth values"
        )
    if array.dtype.kind == "f" and np.isnan(array).any():
        missing = counted(np.count_nonzero(np.isnan(array)), "missing value")
        raise ValueError(f"{name} has {missing} (NaN), expected row numbers: leave these out")
    if array.size and not 0 <= float(array.min()) <= float(array.max()) < 2.0**62:
        raise ValueError(
            f"{name} ranges from {array.min()} to {array.max()}: row numbers start at 0, and a negative or huge one "
            "may have overflowed"
        )
    whole = array.astype(np.int64)
    if array.dtype.kind == "f" and not np.array_equal(whole, array):
        raise ValueError(f"{name} holds fractions, expected row numbers")
    return whole


def check_within(ids: NDArray[np.int64], side: str, n_rows: int) -> None:
    """Raise ValueError if an id is not below ``n_rows``."""
    if ids.size and ids.max() >= n_rows:
        raise ValueError(f"{side}_ids goes up to {ids.max():,} but there are only {n_rows:,} {side}s, from 0")


def check_candidates(items: Any, exclude: Any, n_items: int, name: str = "items") -> NDArray[np.int64] | None:
    """Return the items to choose from, the argument ``name``, sorted and without duplicates; None means all items.

    Raises
    ------
    ValueError
        If an id is not below ``n_items``.
    """
    if items is None and exclude is None:
        return None
    allowed = np.full(n_items, items is None)
    for ids, argument, is_allowed in ((items, name, True), (exclude, "exclude", False)):
        if ids is not None:
            rows = check_row_numbers(ids, argument)
            if rows.size and rows.max() >= n_items:
                raise ValueError(f"{argument} goes up to {rows.max():,} but there are only {n_items:,} items, from 0")
            allowed[rows] = is_allowed
    return np.flatnonzero(allowed).astype(np.int64, copy=False)


def check_may_reshape(is_training: bool, name: str) -> None:
    """Raise RuntimeError if epochs are running: changing ``name`` would change the shape of their parameters."""
    if is_training:
        raise RuntimeError(
            f"{name} cannot change shape or be reset while the model trains: do so before or after training, or on a "
            "copy (copy.deepcopy(model))"
        )


def check_is_unchanged(is_unchanged: bool) -> None:
    """Raise RuntimeError if another thread has changed the parameters' shape since this call was checked."""
    if not is_unchanged:
        raise RuntimeError(
            "another thread gave the model parameters of another shape while this call ran: call again, and serve from "
            "a copy (copy.deepcopy(model)) while the model is fitted to other data"
        )


def check_positive(value: Any, name: str) -> float:
    """Return ``value`` as a float. Raise TypeError if it is no number, ValueError if it is not finite and above 0."""
    if check_least(value, name, 0.0) == 0:
        raise ValueError(f"{name} is {value}, expected a number above 0")
    return float(value)


def check_finite_numbers(values: NDArray[np.float64], name: str, may_be_missing: bool = False) -> NDArray[np.float64]:
    """Return ``values`` unchanged. NaN stands for a missing value.

    Raises
    ------
    ValueError
        If a value is infinite or too large for single precision, or missing unless ``may_be_missing``.
    """
    fine = np.abs(values) <= np.finfo(np.float32).max
    if may_be_missing:
        fine |= np.isnan(values)
    if not fine.all():
        raise ValueError(
            f"{np.count_nonzero(~fine):,} of the {name} are {'' if may_be_missing else 'missing, '}infinite or too "
            f"large for single precision, {values[~fine][0]} first"
        )
    return values
