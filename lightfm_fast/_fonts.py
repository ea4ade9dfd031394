"""Fonts for text in any script: matplotlib draws a box for a character that its font lacks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from ._arguments import import_optional

_NO_TEXT = ("Emoji", "Last Resort")  # names of fonts of coloured pictures, and of boxes for every character


def families_for(texts: Iterable[str]) -> list[str]:
    """Return the font families to draw texts with: matplotlib's own, then fonts for the characters that these lack.

    A character that no installed font has stays a box, of which matplotlib warns when it draws.
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
