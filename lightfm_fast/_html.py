"""What notebooks show of an estimator: the arguments that differ from their defaults, and all of them on request."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from html import escape
from typing import Any


def changed_parameters(kind: type, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that are not the constructor's defaults; a random state that was given is always one."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(kind).parameters.items()}
    # Compared by repr: comparing an array with a number gives an array, not a bool.
    return {
        name: value
        for name, value in parameters.items()
        if value is not defaults[name] and (name == "random_state" or repr(value) != repr(defaults[name]))
    }


def show_estimator(text: str, facts: str, parameters: Mapping[str, Any], changed: Mapping[str, Any]) -> str:
    """Return HTML: the text and the facts in a line that opens to all arguments, the changed ones bold."""
    rows = "".join(
        f"<tr><td>{f'<b>{name}</b>' if name in changed else name}</td><td><code>{escape(repr(value))}</code></td></tr>"
        for name, value in parameters.items()
    )
    return (
        f"<details><summary><code>{escape(text)}</code> {escape(facts)}</summary>"
        f"<table><tr><th>parameter</th><th>value</th></tr>{rows}</table></details>"
    )
