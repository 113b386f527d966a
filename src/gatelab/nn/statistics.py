"""Population statistics of recurrent batch normalisation: a mean and a variance for every time step.

They grow as longer sequences come by, and state dicts carry as many steps as were seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

MOMENTUM = 0.1  # torch's: how far one batch moves the population's statistics


class StepStatistics(nn.Module):
    """The statistics of one stacked layer in one direction, over the products ``ih`` and ``hh`` and the cell ``c``.

    A training pass notes each step's batch statistics, and ``commit`` moves the population's towards them once the
    pass is over: a step that is computed again in the backward pass (``checkpoint_every``) is not counted twice.
    Where several processes train one model on sequences of unequal length, they come to know unequal numbers of steps:
    give ``DistributedDataParallel`` ``broadcast_buffers=False``.

    S steps seen.
    """

    def __init__(self, widths: Mapping[str, int], like: Tensor):
        super().__init__()
        for key, width in widths.items():
            self.register_buffer(f"mean_{key}", like.new_empty(0, width))  # (S, G·H)
            self.register_buffer(f"var_{key}", like.new_empty(0, width))  # (S, G·H)
        self._keys = tuple(widths)
        self._noted: list[tuple[str, int, slice, Tensor, Tensor]] = []

    def reset(self) -> None:
        """Forgets every step."""
        for name, buffer in list(self.named_buffers()):
            setattr(self, name, buffer[:0])

    def from_step(self, first: int) -> StatisticsFrom:
        """The same statistics for a scan whose step 0 is step ``first``."""
        return StatisticsFrom(self, first)

    @property
    def seen(self) -> int:
        """How many steps there are statistics of (S)."""
        return len(getattr(self, f"mean_{self._keys[0]}"))

    def begin(self) -> None:
        """Called before a pass."""
        self._noted.clear()

    def normalise(
        self,
        key: str,
        t: int,
        x: Tensor,
        gain: Tensor,
        bias: Tensor | None,
        training: bool,
        part: slice = slice(None),
    ) -> Tensor:
        """``gain ⊙ norm(x) + bias`` for the columns ``part`` of the rows ``x (B, G·H)`` of step ``t``."""
        if training and len(x) > 1:
            mean, var = (torch.zeros(x.shape[1], dtype=gain.dtype, device=x.device) for _ in range(2))  # (G·H,) each
            result = batch_norm(x, mean, var, gain, bias, True, 1.0)  # momentum 1: they become this batch's own
            self._noted.append((key, t, part, mean, var))
            return result
        mean, var = self._population(key, t)  # (G·H,) each
        return batch_norm(x, mean[part], var[part], gain, bias, False)

    def _population(self, key: str, t: int) -> tuple[Tensor, Tensor]:
        mean, var = getattr(self, f"mean_{key}"), getattr(self, f"var_{key}")  # (S, G·H) each
        if not len(mean):
            return mean.new_zeros(mean.shape[1]), var.new_ones(var.shape[1])
        t = min(t, len(mean) - 1)
        return mean[t], var[t]

    @torch.no_grad()
    def commit(self) -> None:
        """Moves the population's statistics towards those of the pass that is over."""
        if self._noted:
            self._grow(1 + max(t for _, t, *_ in self._noted))
        for key, t, part, mean, var in self._noted:
            getattr(self, f"mean_{key}")[t, part].lerp_(mean, MOMENTUM)
            getattr(self, f"var_{key}")[t, part].lerp_(var, MOMENTUM)
        self._noted.clear()

    def _grow(self, steps: int) -> None:
        """Room for ``steps`` steps; new ones start at mean 0 and variance 1."""
        for key in self._keys:
            for name, start in ((f"mean_{key}", 0.0), (f"var_{key}", 1.0)):
                kept = getattr(self, name)  # (S, G·H)
                more = kept.new_full((max(steps - len(kept), 0), kept.shape[1]), start)
                setattr(self, name, torch.cat([kept, more]))

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs) -> None:
        for name, buffer in list(self.named_buffers()):  # as many steps as the state dict has
            given = state_dict.get(prefix + name)
            if given is not None and given.shape[1:] == buffer.shape[1:]:
                setattr(self, name, buffer.new_empty(given.shape))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


class StatisticsFrom(NamedTuple):
    """``StepStatistics`` as a piece of a scan sees them, which begins at step ``first``."""

    whole: StepStatistics
    first: int

    def normalise(self, key: str, t: int, *args, **kwargs) -> Tensor:
        """``StepStatistics.normalise`` of the piece's step ``t``."""
        return self.whole.normalise(key, self.first + t, *args, **kwargs)
