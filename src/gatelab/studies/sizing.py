"""How many hidden units? A rule made from the error curves of some series, and what it is worth on a series it has not
seen.

    units = size · (examples / 1000) ^ exponent, then the nearest of the sizes that were measured

With exponent 0 it is one size for all. What a choice costs is its *regret*: by how much its error lies above that of
the best size, as a share. The rule is the one with the least mean regret over the series it is made from; what it is
worth is told by the regret on each series when it is made from all others (leave-one-out; Stone 1974).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

EXAMPLES = 1000
"""Examples at which a rule gives its ``size``."""
ONE_SIZE = (0.0,)
"""Exponents of a rule that does not look at the data."""
BY_EXAMPLES = (0.0, 0.125, 0.25, 0.375, 0.5, 0.75, 1.0)
"""Exponents to choose from: none, to as many times more units as there are examples."""
_STEPS = 4  # candidates for the size in each doubling


@dataclass(frozen=True)
class Curve:
    """What one series says."""

    series: str
    examples: int
    """Windows in an epoch."""
    regrets: Mapping[int, float]
    """By hidden size: 0 for the best, 0.02 for an error 2 % above it."""

    def at(self, units: float) -> float:
        """The regret of any number of units, on straight lines between those measured; the last value beyond them."""
        sizes = sorted(self.regrets)
        return float(np.interp(np.log2(units), np.log2(sizes), [self.regrets[size] for size in sizes]))


@dataclass(frozen=True)
class Rule:
    """The rule on top of this page."""

    size: float
    """Units at ``EXAMPLES`` examples."""
    exponent: float
    sizes: tuple[int, ...]
    """What it chooses from, smallest first."""

    def units(self, examples: int) -> int:
        """The hidden size for a series with so many examples."""
        wanted = np.log2(self.continuous(examples))
        return min(self.sizes, key=lambda size: abs(np.log2(size) - wanted))

    def continuous(self, examples: int) -> float:
        """The same before it is rounded, held between the smallest and the largest size."""
        wanted = self.size * (examples / EXAMPLES) ** self.exponent
        return float(np.clip(wanted, self.sizes[0], self.sizes[-1]))


def regrets(errors: Mapping[int, float]) -> dict[int, float]:
    """How far each error lies above the least, as a share of it."""
    least = min(errors.values())
    return {size: error / least - 1 for size, error in errors.items()}


def joined(series: str, examples: int, curves: Sequence[Mapping[int, float]]) -> Curve:
    """One curve of the regrets of several cells on the same series: their mean at each size that all of them have."""
    shared = sorted(set.intersection(*(set(curve) for curve in curves)))
    return Curve(series, examples, {size: float(np.mean([curve[size] for curve in curves])) for size in shared})


def fit(curves: Sequence[Curve], exponents: Sequence[float]) -> Rule:
    """The rule with the least mean regret over ``curves``; of rules as good as it the one that varies and takes least.

    Args:
        curves: at least one.
        exponents: to choose from.
    """
    sizes = tuple(sorted({size for curve in curves for size in curve.regrets}))
    doublings = np.log2(sizes[-1] / sizes[0])
    starts = sizes[0] * 2 ** np.linspace(0, doublings, round(doublings * _STEPS) + 1)  # (N,)
    rules = [Rule(float(size), exponent, sizes) for exponent, size in product(sorted(exponents), starts)]

    def loss(rule: Rule) -> float:
        return float(np.mean([curve.at(rule.continuous(curve.examples)) for curve in curves]))

    return min(rules, key=lambda rule: round(loss(rule), 6))


def left_out(curves: Sequence[Curve], exponents: Sequence[float]) -> dict[str, int]:
    """For each series the units that the rule names when it is made from all others; at least two curves."""
    return {curve.series: fit([other for other in curves if other is not curve], exponents).units(curve.examples)
            for curve in curves}  # fmt: skip


def within(values: Iterable[float], share: float) -> float:
    """The share of regrets that are at most ``share``."""
    return float(np.mean([value <= share for value in values]))
