"""Attributes that training sets. A wrong value that somebody assigns would fail later, deep inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

from ._cells import show

_T = TypeVar("_T")


def refuse_to_assign(name: str) -> None:
    """Raise AttributeError."""
    raise AttributeError(
        f"{name} is learned in training, and cannot be assigned or deleted: train, or load what was saved"
    )


def learn(instance: object, **attributes: Any) -> None:
    """Set attributes that cannot be assigned."""
    vars(instance).update(attributes)


class Learned(Generic[_T]):
    """An attribute in ``vars(instance)``, which the class itself sets by ``learn``.

    Parameters
    ----------
    accepts : callable, optional
        Whether a value may be assigned from outside. By default none may.
    expected : str
        The values that may, for the error.
    """

    def __init__(self, accepts: Callable[[Any], bool] | None = None, expected: str = "") -> None:
        self._accepts, self._expected = accepts, expected

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Learned[_T]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> _T: ...

    def __get__(self, instance: object | None, owner: type) -> Learned[_T] | _T:
        if instance is None:
            return self
        try:
            learned: _T = vars(instance)[self._name]
        except KeyError:
            raise AttributeError(f"{owner.__name__!r} object has no attribute {self._name!r}") from None
        return learned

    def __set__(self, instance: object, value: Any) -> None:
        if self._accepts is None:
            refuse_to_assign(self._name)
        elif not self._accepts(value):
            raise TypeError(f"{self._name} is {show(value)}, expected {self._expected}")
        vars(instance)[self._name] = value

    def __delete__(self, instance: object) -> None:
        refuse_to_assign(self._name)
