"""Words for notes and errors."""

from __future__ import annotations

BEYOND = "much further out than in training, and read as one range of the training beyond its end: "
"""Of columns and channels whose values are held to what a model can have learned of."""


def counted(number: int, noun: str) -> str:
    """A number and its noun.

    >>> counted(1, "row"), counted(2067, "gap")
    ('1 row', '2,067 gaps')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
