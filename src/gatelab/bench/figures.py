"""What a benchmark says: figures with intervals, what was asked of them, and rows of figures.

Times on a shared machine drift, so that a ratio is taken over contenders that took turns (``gatelab.bench.timing``),
round by round, for what slowed a round slowed both sides: the median of the rounds' ratios, with an interval from a
bootstrap over rounds (Efron & Tibshirani 1993, chapter 13). A ratio of two medians would compare a fast time with a
slow one where the machine changes its speed in the middle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from gatelab.core import random

LEVEL = 0.95
RESAMPLES = 999


@dataclass(frozen=True)
class Bound:
    """What is asked of a figure."""

    value: float
    at_most: bool = False

    def holds(self, value: float) -> bool:
        """Whether ``value`` is what was asked for."""
        return value <= self.value if self.at_most else value >= self.value

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.value:g}"


@dataclass(frozen=True)
class Figure:
    """One measured number."""

    name: str
    value: float
    unit: str = ""
    """``ms``, ``GFLOP/s``, ``%``, …; empty for a ratio."""
    low: float | None = None
    high: float | None = None
    bound: Bound | None = None

    @property
    def met(self) -> bool | None:
        """Whether the figure is what was asked for; None where nothing was."""
        return None if self.bound is None else self.bound.holds(self.value)


@dataclass(frozen=True)
class Row:
    """The figures of one case; none, and a problem, where the contenders did not compute the same."""

    suite: str
    case: str
    cell: str
    figures: tuple[Figure, ...] = ()
    problem: str = ""

    def figure(self, name: str) -> Figure | None:
        """The figure of that name, if the row has it."""
        return next((figure for figure in self.figures if figure.name == name), None)

    def without_bounds(self) -> Row:
        """The same figures with nothing asked of them."""
        return replace(self, figures=tuple(replace(figure, bound=None) for figure in self.figures))

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON holds it; the bounds as text."""
        figures = [
            asdict(figure) | {"bound": figure.bound and str(figure.bound), "met": figure.met} for figure in self.figures
        ]
        return asdict(self) | {"figures": figures}


@dataclass(frozen=True)
class Goal:
    """What is asked of all rows of a suite together."""

    text: str
    figure: str
    """The name of the figure in each row."""
    summary: Callable[[Sequence[float]], float]
    bound: Bound
    cells: tuple[str, ...] = ("rnn", "gru", "lstm")

    def over(self, rows: Sequence[Row]) -> Figure | None:
        """The goal's own figure; None where a row lacks what it needs: a mean over what is left would flatter."""
        found = [row.figure(self.figure) for row in rows if row.cell in self.cells]
        values = [figure.value for figure in found if figure is not None]
        whole = values and len(values) == len(found)
        return Figure(self.text, self.summary(values), bound=self.bound) if whole else None


def geometric_mean(values: Sequence[float]) -> float:
    """The mean for ratios: that of their logarithms.

    >>> geometric_mean([2.0, 8.0])
    4.0
    """
    return float(np.exp(np.log(values).mean()))


def ratio(over: np.ndarray, under: np.ndarray) -> tuple[float, float | None, float | None]:
    """The median over the rounds of ``over (R,)`` by ``under (R,)``, and the bounds of its 95 % interval.

    Args:
        over, under: seconds of two contenders in the same R rounds.

    Returns:
        The ratio, and its interval; no interval for a single round.
    """
    each = over / under  # (R,)
    value, rounds = float(np.median(each)), len(each)
    if rounds < 2:
        return value, None, None
    picks = random.generator(0, "bench", "bootstrap").integers(rounds, size=(RESAMPLES, rounds))  # (S, R)
    low, high = np.quantile(np.median(each[picks], axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return value, float(low), float(high)
