"""Targets that stand still: a series of one value is forecast as that value, for as long as it has no other.

A network's forecast of such a series would be noise: in training, its windows were all zeros and its truth, too, and
there is no deviation that says how large the noise is in the user's units.

N windows, T rows, K horizon, O targets, L lookback.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from gatelab.data.names import listed
from gatelab.tasks.forecasting.scaling import ROUNDING, STEADY

Array = np.ndarray


class Held(NamedTuple):
    """The one value of each target of a series, and where it is not known to have that value."""

    value: Array  # (O,) NaN where it has several
    away: Array  # (T, O) bool: another value, or too early to tell


def known(raw: Array, constants: Mapping[str, float], targets: Sequence[str]) -> Held:
    """Of ``raw (T, O)``, a series that was met in training, where these targets were constant."""
    value = np.array([constants.get(name, np.nan) for name in targets])  # (O,)
    return Held(value, ~np.isnan(raw) & ~same(raw, value))


def stranger(raw: Array) -> Held:
    """Of ``raw (T, O)``, a series that was not met in training: its first observations stand for that."""
    seen = np.isfinite(raw)  # (T, O)
    early = seen.cumsum(axis=0) <= STEADY  # (T, O)
    first = raw[seen.argmax(axis=0), np.arange(raw.shape[1])]  # (O,)
    other = seen & ~same(raw, first)  # (T, O)
    steady = (seen.sum(axis=0) >= STEADY) & ~(other & early).any(axis=0)  # (O,)
    return Held(np.where(steady, first, np.nan), other | early)


def same(values: Array, value: Array) -> Array:
    """Where values are ``value`` but for rounding; nowhere where one of both is NaN."""
    return np.abs(values - value) <= ROUNDING * np.maximum(np.abs(value), 1e-300)


def hold(values: Array, held: Array) -> Array:
    """Forecasts ``(K, N, O)`` or their quantiles ``(K, N, O, Q)``, with what is ``held (N, O)`` in its place."""
    if np.isnan(held).all():
        return values
    held = held.reshape(held.shape + (1,) * (values.ndim - 3))  # (N, O) or (N, O, 1)
    return np.where(np.isnan(held), values, held)


def said(constants: Mapping[str, Mapping[str, float]], targets: Sequence[str]) -> list[str]:
    """A line on series that never move, and are forecast as what they are; none where each moves."""
    if not constants:
        return []
    several = len(targets) > 1
    named = []
    for id, values in constants.items():
        found = ", ".join(f"{name} {value:g}" if several else f"{value:g}" for name, value in values.items())
        named.append(f"{id} ({found})" if id else found)
    return [f"{len(named):,} series of one value, forecast as that while it lasts: {listed(named)}"]


def said_moved(ids: Sequence[str]) -> list[str]:
    """A line on series that had one value in training and have another one now; none where there are none."""
    return [
        f"of one value in training, and no longer: {listed(ids)}; scaled by the deviation of all series together"
    ] * bool(ids)
