"""Windows over prepared series: where they lie, which part each belongs to, and how batches are cut.

A window has ``lookback`` rows in and ``horizon`` rows out. It belongs to the part that holds all of its horizon; its
lookback may reach back into the part before, as a forecast made on the first day of the test part would.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gatelab.core.task import Part
from gatelab.tasks.forecasting.features import Prepared

Array = np.ndarray
SMALLEST_DEVIATION = 0.05
"""Of the training deviation: a window flatter than this is scaled as if it were this lively."""


@dataclass(frozen=True)
class WindowBatch:
    """B windows: L lookback, K horizon, O targets, F channels known ahead, I encoder inputs; scaled units."""

    inputs: Tensor  # (L, B, I) normalised targets, past channels, known channels
    shown: Tensor | None  # (L, B) bool, or None where every step was observed
    recent: Tensor  # (L, B, O) normalised targets, 0 in gaps
    ahead: Tensor  # (K, B, F) channels known ahead
    truth: Tensor  # (K, B, O) scaled targets, 0 in gaps
    seen: Tensor  # (K, B, O) bool
    centre: Tensor  # (B, O) taken out of the window
    deviation: Tensor  # (B, O) divided out of the window
    carries: bool = False

    @property
    def size(self) -> int:
        """Windows (B)."""
        return self.inputs.shape[1]

    @property
    def steps(self) -> int:
        """Steps the cell takes (L)."""
        return self.inputs.shape[0]

    def take(self, which: slice) -> WindowBatch:
        """These of its windows alone."""
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        windows_first = ("centre", "deviation")
        cut = {name: value[which] if name in windows_first else value[:, which] for name, value in tensors.items()}
        return replace(self, **cut)

    def to(self, device: torch.device | str) -> WindowBatch:
        """The same batch on another device."""
        tensors = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **tensors)


class Windows:
    """All windows of some prepared series, cut on demand from one copy of the data."""

    def __init__(
        self,
        series: Sequence[Prepared],
        bounds: Mapping[Part, Sequence[tuple[int, int]]],
        lookback: int,
        horizon: int,
        normalise: Literal["none", "last", "mean", "standard"],
    ):
        self.series, self.bounds = list(series), bounds
        self.lookback, self.horizon, self.normalise = lookback, horizon, normalise
        self.first_row = np.cumsum([0, *(len(s.target) for s in series)])  # (S + 1,)
        self.target = torch.from_numpy(np.concatenate([s.target for s in series]))  # (ΣT, O)
        self.seen = torch.from_numpy(np.concatenate([s.seen for s in series]))  # (ΣT, O)
        self.past = torch.from_numpy(np.concatenate([s.past for s in series]))  # (ΣT, P)
        self.known = torch.from_numpy(np.concatenate([s.known for s in series]))  # (ΣT, F)
        self.shown = torch.from_numpy(np.concatenate([s.shown for s in series]))  # (ΣT,)
        self.origins = {part: self._origins(part) for part in bounds}  # (N,) rows of the last step in
        self._away = self._rows_away()  # (ΣT + 1, O)

    @property
    def input_size(self) -> int:
        """Encoder inputs (I)."""
        return self.target.shape[1] + self.past.shape[1] + self.known.shape[1]

    def _origins(self, part: Part) -> Array:
        """Rows ``t`` such that ``t+1 … t+horizon`` lie in the part, with something observed before and after."""
        found = []
        for s, series in enumerate(self.series):
            start, stop = self.bounds[part][s]
            t = np.arange(max(start, self.lookback) - 1, min(stop, len(series.target)) - self.horizon)  # (n,)
            count = np.concatenate([[0], np.cumsum(series.seen.any(axis=1))])  # (T + 1,) observed rows before each
            before = count[t + 1] - count[t + 1 - self.lookback]
            after = count[t + 1 + self.horizon] - count[t + 1]
            found.append(t[(before > 0) & (after > 0)] + self.first_row[s])
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    def _rows_away(self) -> Array | None:
        """Rows before each at which a target is not known to stand still, (ΣT + 1, O); none where none ever is."""
        if all(s.held is None for s in self.series):
            return None
        away = [np.ones(s.raw.shape, bool) if s.held is None else s.held.away for s in self.series]
        return np.concatenate([np.zeros((1, self.target.shape[1]), np.int64), np.concatenate(away).cumsum(axis=0)])

    def held(self, origins: Array) -> Array:
        """The value of the targets that stand still all through the window of each origin, else NaN. (N, O)"""
        nothing = np.full(self.target.shape[1], np.nan)  # (O,)
        if self._away is None:
            return np.tile(nothing, (len(origins), 1))  # (N, O)
        value = np.stack([nothing if s.held is None else s.held.value for s in self.series])  # (S, O)
        away = self._away[origins + 1] - self._away[origins + 1 - self.lookback]  # (N, O)
        return np.where(away == 0, value[self.locate(origins)[0]], np.nan)

    def thinned(self, part: Part, at_most: int) -> Array:
        """Origins of a part, evenly thinned to ``at_most``."""
        origins = self.origins[part]
        stride = -(-len(origins) // at_most) if at_most else 1
        return origins[:: max(stride, 1)]

    def locate(self, origins: Array) -> tuple[Array, Array]:
        """Series number and row in that series of each origin."""
        number = np.searchsorted(self.first_row, origins, side="right") - 1  # (N,)
        return number, origins - self.first_row[number]

    def batches(
        self, origins: Array, batch_size: int, rng: np.random.Generator | None = None, start: int = 0
    ) -> Iterator[WindowBatch]:
        """Batches of windows at ``origins``: shuffled by ``rng`` or in order."""
        order = origins if rng is None else rng.permutation(origins)
        for at in range(start * batch_size, len(order), batch_size):
            yield self.cut(order[at : at + batch_size])

    def cut(self, origins: Array) -> WindowBatch:
        """The windows at ``origins (B,)``; the horizon is cut where the data ends, as when forecasting the unseen."""
        t = torch.from_numpy(np.ascontiguousarray(origins))  # (B,)
        back = t + torch.arange(1 - self.lookback, 1)[:, None]  # (L, B)
        ahead = t + torch.arange(1, self.horizon + 1)[:, None]  # (K, B)
        target, seen = self.target[back], self.seen[back]  # (L, B, O)
        centre, deviation = window_scale(target, seen, self.normalise)  # (B, O)
        recent = (target - centre) / deviation * seen  # (L, B, O)
        shown = self.shown[back]  # (L, B)
        return WindowBatch(
            inputs=torch.cat([recent, self.past[back], self.known[back]], dim=2),
            shown=None if bool(shown.all()) else shown,
            recent=recent,
            ahead=self.known[ahead],
            truth=self.target[ahead],
            seen=self.seen[ahead],
            centre=centre,
            deviation=deviation,
        )


def window_scale(target: Tensor, seen: Tensor, normalise: str) -> tuple[Tensor, Tensor]:
    """What is taken out of each window ``(L, B, O)``: centre and deviation ``(B, O)`` over its observed steps.

    The idea of taking a window's own level out and adding it to the forecast is that of NLinear (Zeng et al. 2023,
    sec. 4, last value) and of reversible instance normalisation (Kim et al. 2022, mean and deviation).
    """
    zero, one = torch.zeros_like(target[0]), torch.ones_like(target[0])  # (B, O)
    if normalise == "none":
        return zero, one
    if normalise == "last":
        steps = torch.arange(1, len(target) + 1, dtype=torch.int64)[:, None, None]  # (L, 1, 1)
        at = (steps * seen).amax(dim=0)  # (B, O): 1 + the last observed step, 0 where there is none
        last = torch.gather(target, 0, (at - 1).clamp(min=0)[None])[0]  # (B, O)
        return torch.where(at > 0, last, zero), one
    count = seen.sum(dim=0).clamp(min=1)  # (B, O)
    mean = (target * seen).sum(dim=0) / count  # (B, O)
    if normalise == "mean":
        return mean, one
    variance = ((target - mean) ** 2 * seen).sum(dim=0) / count  # (B, O)
    return mean, variance.sqrt().clamp(min=SMALLEST_DEVIATION)
