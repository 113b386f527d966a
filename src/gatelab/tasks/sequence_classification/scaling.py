"""From the values of a source to what the network reads: scaled, gaps said, steps joined.

T steps, C channels, G channels with gaps in training, P steps joined, I features of what is read at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from gatelab.data.ragged import Ragged
from gatelab.tasks.sequence_classification.config import MOST_JOINED

Array = np.ndarray
_WANTED_STEPS = 32
_BLOCK_ROWS = 1 << 18


@dataclass(frozen=True)
class Scaling:
    """What was learned of the training part; a channel that never changes there has deviation 1."""

    mean: Array  # (C,)
    deviation: Array  # (C,)
    gappy: Array  # (G,) channels in which values were missing
    join: int
    by: Literal["channel", "sequence"] = "channel"

    @classmethod
    def learn(cls, values: Ragged, by: Literal["channel", "sequence"], join: int | None) -> Scaling:
        """Of the sequences ``(T_i, C)`` of the training part, which may be larger than memory."""
        mean, deviation = _moments(values)
        missing = np.zeros(len(mean), bool)  # (C,)
        for rows in _blocks(values):
            missing |= np.isnan(rows).any(axis=0)
        wanted = int(np.ceil(np.median(values.lengths) / _WANTED_STEPS))
        joined = int(np.clip(wanted, 1, MOST_JOINED)) if join is None else join
        return cls(mean, deviation, np.flatnonzero(missing), joined, by)

    @property
    def features(self) -> int:
        """Numbers that are read at once (I)."""
        return self.join * (len(self.mean) + len(self.gappy))

    def scaled(self, rows: Array) -> Array:
        """A sequence ``(T, C)`` in training deviations, or in its own; missing values are 0, the mean."""
        mean, deviation = self.mean, self.deviation  # (C,) each
        if self.by == "sequence":
            mean, deviation = _moments([rows])
        return np.nan_to_num((rows - mean) / deviation, copy=False, nan=0.0)

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
        }

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Scaling:
        """What ``state`` described."""
        gappy = np.array(state["gappy"], np.int64)
        return cls(np.array(state["mean"]), np.array(state["deviation"]), gappy, state["join"], state["by"])


def _moments(sequences: Any) -> tuple[Array, Array]:
    """Mean and deviation of each channel, ``(C,)`` each, over all values that are not missing, in two passes."""
    count = total = squares = np.zeros(1)
    for rows in _blocks(sequences):
        count = count + (~np.isnan(rows)).sum(axis=0)  # (C,)
        total = total + np.nansum(rows, axis=0)  # (C,)
    mean = total / np.maximum(count, 1)  # (C,)
    for rows in _blocks(sequences):
        squares = squares + np.nansum((rows - mean) ** 2, axis=0)  # (C,)
    deviation = np.sqrt(squares / np.maximum(count, 1))  # (C,)
    tiny = deviation <= 1e-9 * np.maximum(np.abs(mean), 1e-300)  # rounding, not change
    return mean, np.where(tiny, 1.0, deviation)


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
