"""Text as it may stand in HTML and SVG; numbers and times as people read them."""

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

    >>> number(1234567.8), number(0.00012345), number(float("nan")), number(3), number("12 h"), number(99.7, 2)
    ('1,234,568', '0.0001234', '–', '3', '12 h', '100')
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
    rounded = f"{real:.{digits}g}"
    if 10**digits <= abs(float(rounded)) < 1e12:  # where these digits alone would be written 1e+04
        rounded = f"{real:,.0f}"
    return rounded.replace("-", "−")


def duration(seconds: float) -> str:
    """A time for people.

    >>> [duration(seconds) for seconds in (0.041, 8.31, 41.8, 75, 7300)]
    ['0.041 s', '8.3 s', '42 s', '1 min 15 s', '2 h 2 min']
    """
    if seconds < 0.95:
        return f"{seconds:.2g} s"
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min"
