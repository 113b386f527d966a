"""Names as people write them, and rows of words."""

from __future__ import annotations

from collections.abc import Sequence

from gatelab.cells.cell import CELLS


def called(name: str) -> str:
    """A cell's name as people write it."""
    return CELLS[name].title if name in CELLS else name


def listed(words: Sequence[str]) -> str:
    """Words in a row.

    >>> listed(["RNN", "LSTM", "GRU"])
    'RNN, LSTM and GRU'
    """
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
