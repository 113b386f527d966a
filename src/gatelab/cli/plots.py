"""Small plots of characters, for a first look in a terminal."""

from __future__ import annotations

import math

import numpy as np

Array = np.ndarray

_BLOCKS = "▁▂▃▄▅▆▇█"
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bits of Unicode's braille patterns: four rows of two dots."""


def sparkline(values: Array, width: int = 24) -> str:
    """Means of ``width`` stretches of ``values (T,)`` as one row of blocks; a blank where all is missing."""
    low, high = _bounds(values)
    top = len(_BLOCKS) - 1
    cells = []
    for stretch in _stretches(values, width):
        present = stretch[~np.isnan(stretch)]
        if not len(present):
            cells.append(" ")
            continue
        cells.append(_BLOCKS[round(_share(float(present.mean()), low, high) * top)])
    return "".join(cells)


def braille(values: Array, width: int = 72, height: int = 6) -> list[str]:
    """``values (T,)`` as ``height`` rows of braille, from the smallest to the largest value of each dot's stretch."""
    low, high = _bounds(values)
    dots = np.zeros((4 * height, 2 * width), bool)  # rows from the top, columns from the left
    for column, stretch in enumerate(_stretches(values, 2 * width)):
        present = stretch[~np.isnan(stretch)]
        if len(present):
            bottom, top = (
                round(_share(float(end), low, high) * (4 * height - 1)) for end in (present.min(), present.max())
            )
            dots[4 * height - 1 - top : 4 * height - bottom, column] = True
    bits = np.tile(np.array(_DOTS), (height, width))
    codes = (dots * bits).reshape(height, 4, width, 2).sum(axis=(1, 3))  # (height, width)
    return ["".join(chr(0x2800 + code) for code in row).rstrip("\u2800") for row in codes]


def _stretches(values: Array, count: int) -> list[Array]:
    return np.array_split(values, min(count, len(values))) if len(values) else []


def _bounds(values: Array) -> tuple[float, float]:
    present = values[~np.isnan(values)]
    return (float(present.min()), float(present.max())) if len(present) else (math.nan, math.nan)


def _share(value: float, low: float, high: float) -> float:
    """Where ``value`` lies between ``low`` and ``high``, from 0 to 1; in the middle where they are the same."""
    return (value - low) / (high - low) if high > low else 0.5
