"""Text of data files and of models, as a terminal may show it."""

from __future__ import annotations

LINES = "\n\t"
"""What text of several lines may keep; a cell of a table keeps nothing."""


def printable(text: object, keep: str = "") -> str:
    r"""``text`` with every character spelled out that does not print, but for those in ``keep``.

    Control characters go, with which escape codes move the cursor, rename the window or type into the shell; and so do
    format characters, which turn the direction of a line or hide a part of it, and lone surrogates, which no encoding
    has. Each character is judged by itself: text may be handed over in pieces.

    >>> printable("a\x1b[31mb")
    'a\\x1b[31mb'
    >>> printable("one\ntwo\r", keep=LINES)
    'one\ntwo\\r'
    """
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in str(text))
