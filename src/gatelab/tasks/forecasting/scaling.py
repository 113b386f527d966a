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
    least = np.where(seen, values, np.inf).min(axis=0, initial=np.inf)  # (C,)
    return Moments(np.where(still & (count > 0), least, mean), np.where(still, 0.0, deviation), count)


def learn_scales(heads: Mapping[str, Array], columns: Sequence[Column]) -> dict[str, tuple[Array, Array]]:
    """Centre and deviation ``(C,)`` of the training rows ``(T, C)`` of each series; "" is all series pooled.

    Deviations are above 0 everywhere; categories have 0 and 1.
    """
    pooled, own = moments(np.concatenate(list(heads.values()))), {id: moments(head) for id, head in heads.items()}
    number = np.array([column.kind == "number" for column in columns])  # (C,)
    covariate = np.array([column.role != "target" for column in columns])  # (C,)
    unit = np.where(pooled.deviation > 0, pooled.deviation, 1.0)  # (C,)
    by_series_alone = covariate & np.all([each.deviation == 0 for each in own.values()], axis=0)  # (C,)
    found = {"": (pooled.centre, unit)}
    for id, each in own.items():
        centre = np.where(by_series_alone | (each.count == 0), pooled.centre, each.centre)  # (C,)
        found[id] = centre, np.where(each.deviation > 0, each.deviation, unit)
    return {id: (np.where(number, centre, 0.0), np.where(number, unit, 1.0)) for id, (centre, unit) in found.items()}


def learn_limits(
    heads: Mapping[str, Array], scales: Mapping[str, tuple[Array, Array]], columns: Sequence[Column]
) -> dict[str, Pair]:
    """How far each covariate of numbers is read, in deviations: one whole range of the training beyond its ends.

    What a network makes of a number many times further out than all that it learned from is chance. A covariate of
    which training showed one value, or none at all, is read as that value.
    """
    scaled = np.concatenate([(head - scales[id][0]) / scales[id][1] for id, head in heads.items()])  # (ΣT, C)
    found = {}
    for column, values in zip(columns, scaled.T, strict=True):
        if column.role != "target" and column.kind == "number":
            known = values[np.isfinite(values)]
            least, most = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
            found[column.name] = (2 * least - most, 2 * most - least)
    return found


def learn_constants(heads: Mapping[str, Array], columns: Sequence[Column]) -> dict[str, dict[str, float]]:
    """For each series in which a target never moves the value of that target, by name."""
    found: dict[str, dict[str, float]] = {}
    for id, head in heads.items():
        centre, deviation, count = moments(head)
        for c, column in enumerate(columns):
            if column.role == "target" and count[c] >= STEADY and deviation[c] == 0:
                found.setdefault(id, {})[column.name] = float(centre[c])
    return found
