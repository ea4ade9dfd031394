"""What plots with matplotlib have in common: their Axes, marked points, and text in any script."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

from ._arguments import import_optional

GREY = "0.55"  # shows on light and on dark

_NO_TEXT = ("Emoji", "Last Resort")  # names of fonts of coloured pictures, and of boxes for every character


def new_axes(purpose: str, **options: Any) -> Any:
    """Return the Axes of a new figure, by options of ``pyplot.subplots``; ImportError names the ``purpose``."""
    return import_optional("matplotlib.pyplot", "plot", purpose).subplots(layout="constrained", **options)[1]


def mark_point(ax: Any, place: tuple[float, float], text: str, above: int, colour: str) -> None:
    """Draw a ring around a point, and a text so many points above it, or below if negative."""
    ax.plot(*place, "o", markersize=9, fillstyle="none", color=colour, zorder=4)
    ax.annotate(
        text,
        place,
        xytext=(0, above),
        textcoords="offset points",
        ha="center",
        va="bottom" if above > 0 else "top",
        color=colour,
        zorder=5,
    )


def plain(text: Any) -> str:
    """Escape dollar signs: matplotlib would read the text between them as a formula."""
    return str(text).replace("$", r"\$")


def families_for(texts: Iterable[str]) -> list[str]:
    """Return the font families to draw texts with: matplotlib's own, then fonts for the characters that these lack.

    A character that no installed font has becomes a box, of which matplotlib warns when it draws.
    """
    manager = import_optional("matplotlib.font_manager", "plot", "plotting")
    families: list[str] = list(import_optional("matplotlib", "plot", "plotting").rcParams["font.family"])
    missing = {ord(letter) for text in texts for letter in text if not letter.isspace()}
    for family in families:
        found = manager.findfont(manager.FontProperties(family=[family]))
        missing = _lacking(manager.get_font(found), missing)
    # Upright fonts of the usual weight come first.
    fonts = sorted(
        manager.fontManager.ttflist, key=lambda font: (font.style != "normal", font.weight != 400, font.name)
    )
    for font in fonts:
        if not missing:
            break
        if any(word in font.name for word in _NO_TEXT):
            continue
        with contextlib.suppress(OSError, RuntimeError):  # a font that has been removed, or that FreeType cannot read
            still_missing = _lacking(manager.get_font(font.fname), missing)
            if len(still_missing) < len(missing):
                families.append(font.name)
                missing = still_missing
    return families


def _lacking(font: object, codes: set[int]) -> set[int]:
    """Return the characters that a font does not have."""
    has = font.get_char_index  # type: ignore[attr-defined]
    return {code for code in codes if not has(code)}
