"""Means over seeds with their intervals, and differences between cells seed by seed.

The intervals speak of chance in training (initialisation, order of the data), on one and the same test part. They do
not say how the result would carry over to other data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from scipy import stats

from gatelab.core import random

LEVEL = 0.95
Values = Mapping[int, float]
"""A metric by seed."""


@dataclass(frozen=True)
class Estimate:
    """A mean and its t-interval; without bounds where a single value allows none."""

    mean: float
    low: float | None
    high: float | None
    count: int

    def scaled(self, factor: float) -> Estimate:
        """The estimate of ``factor`` times the quantity."""
        if self.low is None or self.high is None:
            return Estimate(self.mean * factor, None, None, self.count)
        low, high = sorted((self.low * factor, self.high * factor))
        return Estimate(self.mean * factor, low, high, self.count)


@dataclass(frozen=True)
class Difference:
    """How far ``a`` lies from ``b``, in the metric's units: ``a - b``."""

    a: str
    b: str
    units: Estimate
    reference: float
    """The mean of ``b`` over the same seeds."""
    p: float | None
    """Two-sided t-test that there is no difference; ``None`` with one seed."""
    p_holm: float | None = None
    """``p`` corrected for all comparisons made beside this one (Holm 1979)."""

    @property
    def percent(self) -> Estimate | None:
        """The same in percent of ``b``'s mean, taken as exact; ``None`` where that mean is not above zero."""
        return self.units.scaled(100 / self.reference) if self.reference > 0 else None

    def seen_from(self, first: str) -> Difference:
        """The same difference with ``first`` (one of the two) as ``a``, and the other as what percents are of."""
        if self.a == first:
            return self
        reference = self.reference + self.units.mean
        return Difference(self.b, self.a, self.units.scaled(-1), reference, self.p, self.p_holm)

    @property
    def found(self) -> bool:
        """Whether chance in training is an unlikely explanation."""
        return self.p_holm is not None and self.p_holm < 1 - LEVEL


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and 95 % interval of Student's t over ``values``, one for each seed."""
    array = np.asarray(values, dtype=float)  # (N,)
    mean, count = float(array.mean()), len(array)
    if count < 2:
        return Estimate(mean, None, None, count)
    half = float(stats.t.ppf((1 + LEVEL) / 2, count - 1) * array.std(ddof=1) / math.sqrt(count))
    return Estimate(mean, mean - half, mean + half, count)


def described(by_seed: Values) -> dict[str, Any] | None:
    """``estimate`` and the values behind it as plain JSON values; ``None`` where there is no finite one."""
    known = {seed: value for seed, value in by_seed.items() if np.isfinite(value)}
    if not known:
        return None
    return {**asdict(estimate(list(known.values()))), "values": {str(seed): value for seed, value in known.items()}}


def bootstrap(values: Sequence[float], statistic: Callable[..., Any] = np.median) -> Estimate:
    """``statistic`` of ``values``, one for each seed, and its 95 % percentile interval from 9,999 resamples.

    For what is not a mean of numbers that scatter alike, such as a median of rates (Efron & Tibshirani 1993, ch. 13).
    With five seeds such an interval is somewhat too narrow, and it is none with fewer than three.
    """
    array = np.asarray(values, dtype=float)  # (N,)
    centre = float(statistic(array))
    if len(array) < 3:
        return Estimate(centre, None, None, len(array))
    draws = random.generator(0, "bootstrap").choice(array, (9999, len(array)))  # (9999, N)
    low, high = np.quantile(statistic(draws, axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(centre, float(low), float(high), len(array))


def pairwise(cells: Mapping[str, Values]) -> list[Difference]:
    """Every pair of cells, compared on the seeds that both finished; Holm's correction over all pairs."""
    differences = []
    for a, b in combinations(cells, 2):
        seeds = sorted(set(cells[a]) & set(cells[b]))
        if seeds:
            gaps = [cells[a][seed] - cells[b][seed] for seed in seeds]
            differences.append(_difference(a, b, gaps, float(np.mean([cells[b][seed] for seed in seeds]))))
    return holm(differences)


def against(cells: Mapping[str, Values], name: str, value: float) -> list[Difference]:
    """Every cell against one fixed value, such as a baseline's; Holm's correction over the cells."""
    return holm([_difference(cell, name, [v - value for v in values.values()], value)
                 for cell, values in cells.items() if values])  # fmt: skip


def holm(differences: Sequence[Difference]) -> list[Difference]:
    """The same differences with ``p_holm`` filled in: the k-th smallest of n counts n + 1 - k fold (Holm 1979)."""
    p = np.array([difference.p for difference in differences if difference.p is not None])  # (N,)
    order = np.argsort(p)  # (N,)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))  # (N,)
    corrected = iter(np.minimum(stepped, 1.0)[np.argsort(order)])
    return [replace(d, p_holm=None if d.p is None else float(next(corrected))) for d in differences]


def _difference(a: str, b: str, gaps: Sequence[float], reference: float) -> Difference:
    return Difference(a, b, estimate(gaps), reference, _p_value(np.asarray(gaps)))


def _p_value(gaps: np.ndarray) -> float | None:
    """Two-sided t-test that the mean of ``gaps (N,)`` is zero: what is the same in every seed is sure."""
    if len(gaps) < 2:
        return None
    error, mean = gaps.std(ddof=1) / math.sqrt(len(gaps)), abs(gaps.mean())
    if error <= 1e-12 * mean:  # every seed says the same up to rounding; the t statistic would be 0/0 or infinite
        return 0.0 if mean > 0 else 1.0
    return float(2 * stats.t.sf(mean / error, len(gaps) - 1))
