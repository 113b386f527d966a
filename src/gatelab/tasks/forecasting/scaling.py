"""What is learned of the numbers of the training part: scales, how far covariates went, which targets stand still.

T rows, C columns, O targets. A column that does not move in a series says nothing of how far it may, so that there is
no deviation of its own to divide by:

- a series takes the deviation of all series pooled, a covariate that stands still in each of them (the size of a shop)
  its centre, too;
- a covariate that stands still altogether has no channel (``covariates.without_still``);
- a target that stands still is forecast as what it is, while it does (``held``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from gatelab.data.roles import Column

Array = np.ndarray
Pair = tuple[float, float]
STEADY = 10
"""Observations of one value, and of no other, that make a series constant; fewer may be chance."""
ROUNDING = 1e-12
"""Of a value: what lies no further from it differs by rounding alone."""


class Moments(NamedTuple):
    """Of some rows, for each column."""

    centre: Array  # (C,) mean; the value itself where there is but one
    deviation: Array  # (C,) 0 where the values do not differ
    count: Array  # (C,) values that are not missing


def moments(values: Array) -> Moments:
    """Mean and standard deviation of ``values (T, C)``, in which NaN is missing."""
    seen = np.isfinite(values)  # (T, C)
    count = seen.sum(axis=0)  # (C,)
    mean = np.nansum(values, axis=0) / np.maximum(count, 1)  # (C,)
    deviation = np.sqrt(np.nansum((values - mean) ** 2, axis=0) / np.maximum(count, 1))  # (C,)
    still = deviation <= ROUNDING * np.maximum(np.abs(mean), 1e-300)  # (C,)
    least = np.where(seen, values, np.inf).min(axis=0, initial=np.inf) + 0.0  # (C,) no negative zero
    return Moments(np.where(still & (count > 0), least, mean), np.where(still, 0.0, deviation), count)


class Learned(NamedTuple):
    """What the training rows say of their numbers."""

    scales: dict[str, tuple[Array, Array]]
    """For each series centre and deviation ``(C,)``, none of them 0; 0 and 1 for categories; "" is all pooled."""
    limits: dict[str, Pair]
    """How far each covariate of numbers is read, in deviations."""
    constants: dict[str, dict[str, float]]
    """For each series in which a target never moves the value of that target, by name."""


def learn(heads: Mapping[str, Array], columns: Sequence[Column]) -> Learned:
    """Of the training rows ``(T, C)`` of each series."""
    own = {id: moments(head) for id, head in heads.items()}
    pooled = moments(np.concatenate(list(heads.values()))) if len(own) > 1 else next(iter(own.values()))
    scales = _scales(own, pooled, columns)
    return Learned(scales, _limits(heads, scales, columns), _constants(own, columns))


def _scales(own: Mapping[str, Moments], pooled: Moments, columns: Sequence[Column]) -> dict[str, tuple[Array, Array]]:
    number = np.array([column.kind == "number" for column in columns])  # (C,)
    covariate = np.array([column.role != "target" for column in columns])  # (C,)
    unit = np.where(pooled.deviation > 0, pooled.deviation, 1.0)  # (C,)
    by_series_alone = covariate & np.all([each.deviation == 0 for each in own.values()], axis=0)  # (C,)
    found = {"": (pooled.centre, unit)}
    for id, each in own.items():
        centre = np.where(by_series_alone | (each.count == 0), pooled.centre, each.centre)  # (C,)
        found[id] = centre, np.where(each.deviation > 0, each.deviation, unit)
    return {id: (np.where(number, centre, 0.0), np.where(number, unit, 1.0)) for id, (centre, unit) in found.items()}


def _limits(
    heads: Mapping[str, Array], scales: Mapping[str, tuple[Array, Array]], columns: Sequence[Column]
) -> dict[str, Pair]:
    """One whole range of the training beyond its ends.

    What a network makes of a number many times further out than all that it learned from is chance. A covariate of
    which training showed one value, or none at all, is read as that value.
    """
    found = {}
    for c, column in enumerate(columns):
        if column.role != "target" and column.kind == "number":
            scaled = np.concatenate([(head[:, c] - scales[id][0][c]) / scales[id][1][c] for id, head in heads.items()])
            known = scaled[np.isfinite(scaled)]  # (N,)
            least, most = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
            found[column.name] = (2 * least - most, 2 * most - least)
    return found


def _constants(own: Mapping[str, Moments], columns: Sequence[Column]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for id, each in own.items():
        for c, column in enumerate(columns):
            if column.role == "target" and each.count[c] >= STEADY and each.deviation[c] == 0:
                found.setdefault(id, {})[column.name] = float(each.centre[c])
    return found
