"""From the values of a source to what the network reads: scaled, gaps said, steps joined.

T steps, C channels, G channels with gaps in training, P steps joined, I features of what is read at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from gatelab.data.ragged import Ragged
from gatelab.tasks.sequence_classification.config import MOST_JOINED

Array = np.ndarray
_WANTED_STEPS = 32
_BLOCK_ROWS = 1 << 18
_FURTHEST = float(np.finfo(np.float32).max) / 2
_ROUNDING = 1e-9  # of a channel's mean: what lies closer to it differs by rounding, not by change


@dataclass(frozen=True)
class Scaling:
    """What was learned of the training part; a channel that never changes there has deviation 1, and is read as 0."""

    mean: Array  # (C,)
    deviation: Array  # (C,)
    gappy: Array  # (G,) channels in which values were missing
    join: int
    by: Literal["channel", "sequence"] = "channel"
    limits: Array | None = None
    """How far a channel is read, in deviations, ``(2, C)``: one whole range of the training beyond its ends. What a
    network makes of a number many times further out than all that it learned from is chance. None: without bounds.
    Where sequences are scaled by themselves, their own deviations bound them, so that only what never changed is."""

    @classmethod
    def learn(cls, values: Ragged, by: Literal["channel", "sequence"], join: int | None) -> Scaling:
        """Of the sequences ``(T_i, C)`` of the training part, which may be larger than memory."""
        mean, deviation = _moments(values)
        missing = np.zeros(len(mean), bool)  # (C,)
        for rows in _blocks(values):
            missing |= np.isnan(rows).any(axis=0)
        wanted = int(np.ceil(np.median(values.lengths) / _WANTED_STEPS))
        joined = int(np.clip(wanted, 1, MOST_JOINED)) if join is None else join
        found = cls(mean, _unit(deviation), np.flatnonzero(missing), joined, by)
        least, most = _extremes(map(found.scaled, values if by == "sequence" else _blocks(values)), len(mean))  # (C,)
        moves = most > least if by == "sequence" else deviation > 0  # (C,)
        further = most - least if by == "channel" else np.full(len(mean), _FURTHEST)  # (C,)
        return replace(found, limits=np.where(moves, (least - further, most + further), 0.0))  # (2, C)

    @property
    def still(self) -> Array:
        """Channels that never changed in training, so that nothing was learned of them."""
        return np.flatnonzero(self.limits[0] == self.limits[1]) if self.limits is not None else np.zeros(0, np.int64)

    def beyond(self, values: Ragged) -> Array:
        """How many values of each channel are further out than they are read, ``(C,)``."""
        count = np.zeros(len(self.mean), np.int64)  # (C,)
        if self.limits is None or self.by == "sequence":  # its own deviations bound a sequence
            return count
        reach = _ROUNDING * np.abs(self.mean)  # (C,)
        least, most = self.mean + self.limits * self.deviation  # (C,) each
        for rows in _blocks(values):
            count += ((rows < least - reach) | (rows > most + reach)).sum(axis=0)  # (C,)
        return count

    @property
    def features(self) -> int:
        """Numbers that are read at once (I)."""
        return self.join * (len(self.mean) + len(self.gappy))

    def scaled(self, rows: Array) -> Array:
        """A sequence ``(T, C)`` in training deviations, or its own, within bounds; missing values are 0, the mean."""
        mean, deviation = self.mean, self.deviation  # (C,) each
        if self.by == "sequence":
            mean, deviation = _moments([rows])
            rows = np.where(deviation > 0, rows, mean)  # (T, C) no rounding
        scaled = np.nan_to_num((rows - mean) / _unit(deviation), copy=False, nan=0.0)  # (T, C)
        return scaled if self.limits is None else np.clip(scaled, *self.limits, out=scaled)

    def read(self, rows: Array) -> Array:
        """What the network reads of ``(T, C)``: ``(⌈T/P⌉, I)`` float32.

        Beside the scaled channels stands, for each channel with gaps in training, 1 where its value is missing. The
        last row repeats the last step where T is no multiple of P.
        """
        wide = np.concatenate([self.scaled(rows), np.isnan(rows[:, self.gappy])], axis=1)  # (T, C + G)
        short = -len(wide) % self.join
        wide = np.concatenate([wide, np.repeat(wide[-1:], short, axis=0)])  # (⌈T/P⌉·P, C + G)
        return wide.reshape(-1, self.features).astype(np.float32)

    def by_step(self, values: Array, steps: int) -> Array:
        """Contributions of what was read ``(⌈T/P⌉, I)`` as those of each channel at each step, ``(T, C)``.

        That of a gap counts for its channel, and those of the repeated steps for the last one.
        """
        wide = values.reshape(-1, len(self.mean) + len(self.gappy))  # (⌈T/P⌉·P, C + G)
        found = wide[:, : len(self.mean)].copy()  # (⌈T/P⌉·P, C)
        found[:, self.gappy] += wide[:, len(self.mean) :]
        kept = found[:steps]
        kept[-1] += found[steps:].sum(axis=0)
        return kept

    def state(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "mean": self.mean.tolist(),
            "deviation": self.deviation.tolist(),
            "gappy": self.gappy.tolist(),
            "join": self.join,
            "by": self.by,
            "limits": None if self.limits is None else self.limits.tolist(),
        }

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Scaling:
        """What ``state`` described."""
        gappy, limits = np.array(state["gappy"], np.int64), state.get("limits")  # folders of before have no limits
        limits = None if limits is None else np.array(limits)  # (2, C)
        return cls(np.array(state["mean"]), np.array(state["deviation"]), gappy, state["join"], state["by"], limits)


def _moments(sequences: Any) -> tuple[Array, Array]:
    """Mean and deviation of each channel, ``(C,)`` each, over all values that are not missing, in two passes.

    The deviation is 0 where the values do not differ but for rounding.
    """
    count = total = squares = np.zeros(1)
    for rows in _blocks(sequences):
        count = count + (~np.isnan(rows)).sum(axis=0)  # (C,)
        total = total + np.nansum(rows, axis=0)  # (C,)
    mean = total / np.maximum(count, 1)  # (C,)
    for rows in _blocks(sequences):
        squares = squares + np.nansum((rows - mean) ** 2, axis=0)  # (C,)
    deviation = np.sqrt(squares / np.maximum(count, 1))  # (C,)
    tiny = deviation <= _ROUNDING * np.maximum(np.abs(mean), 1e-300)  # (C,)
    return mean, np.where(tiny, 0.0, deviation)


def _unit(deviation: Array) -> Array:
    """What to divide by: 1 where there is no deviation. (C,)"""
    return np.where(deviation > 0, deviation, 1.0)


def _extremes(scaled: Iterable[Array], channels: int) -> tuple[Array, Array]:
    """The least and the greatest value of each channel ``(C,)``, in training deviations."""
    least, most = np.full(channels, np.inf), np.full(channels, -np.inf)  # (C,) each
    for rows in scaled:
        least, most = np.minimum(least, rows.min(axis=0)), np.maximum(most, rows.max(axis=0))  # (C,) each
    return least, most


def _blocks(sequences: Any) -> Iterator[Array]:
    """The rows of all sequences, some of them together; a sequence of a million steps comes in pieces."""
    waiting: list[Array] = []
    for rows in sequences:
        for first in range(0, len(rows), _BLOCK_ROWS):
            waiting.append(rows[first : first + _BLOCK_ROWS])
            if sum(map(len, waiting)) >= _BLOCK_ROWS:
                yield np.concatenate(waiting)
                waiting = []
    if waiting:
        yield np.concatenate(waiting)
