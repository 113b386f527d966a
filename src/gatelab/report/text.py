"""Text as it may stand in HTML and SVG."""

from __future__ import annotations

import math
import numbers
import unicodedata

_JOINERS = "\u200c\u200d"
"""Format characters that scripts and emoji need; the others can reorder or hide text."""


def clean(value: object, keep: str = "\n\t") -> str:
    """``value`` as text without what XML forbids or what could reorder the line it stands in.

    Control characters outside ``keep`` turn into spaces; lone surrogates, noncharacters and direction overrides go.
    Markup is not escaped here: the template and the XML writer do that.
    """
    return "".join(_cleaned(character, keep) for character in str(value))


def _cleaned(character: str, keep: str) -> str:
    category = unicodedata.category(character)
    if category == "Cc":
        return character if character in keep else " "
    if category == "Cs" or (category == "Cf" and character not in _JOINERS):
        return ""
    return "" if ord(character) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(character) <= 0xFDEF else character


def label(value: object, limit: int = 80) -> str:
    """``value`` as one line of at most ``limit`` characters, its end cut off with an ellipsis."""
    line = " ".join(clean(value, keep="").split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def number(value: object, digits: int = 4) -> str:
    """A number to ``digits`` significant places, ``∞`` and a dash where there is none; other values as they are.

    >>> number(1234567.8), number(0.00012345), number(float("nan")), number(3), number("12 h")
    ('1,234,568', '0.0001234', '–', '3', '12 h')
    """
    if value is None:
        return "–"
    if not isinstance(value, numbers.Real) or isinstance(value, (bool, numbers.Integral)):
        return str(value)
    real = float(value)
    if math.isnan(real):
        return "–"
    if math.isinf(real):
        return "∞" if real > 0 else "−∞"
    if 10**digits <= abs(real) < 1e12:
        return f"{real:,.0f}".replace("-", "−")
    return f"{real:.{digits}g}".replace("-", "−")
