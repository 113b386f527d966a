"""A scan in pieces, of which only the states between them are kept for the backward pass (Chen et al. 2016).

With ``checkpoint_every=k`` a scan of T steps keeps T/k states and one piece's activations, and computes each piece a
second time when the backward pass comes to it (arXiv:1604.06174): memory is least at k = √T or so. Masks are drawn
before the scan, so that the second time gives what the first gave.

T time, B batch, N rows of all steps together.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from gatelab.nn.hooks import Noise, Weights
from gatelab.nn.packing import State

if TYPE_CHECKING:
    from gatelab.nn.layers import Recurrent


def scan(
    inner,
    every: int,
    layer: Recurrent,
    w: Weights,
    noise: Noise,
    rows: Tensor,
    batch_sizes: Tensor | None,
    state: State,
    reverse: bool,
) -> tuple[Tensor, State]:
    """What the scan ``inner`` gives for the other arguments, computed ``every`` steps at a time."""
    pieces = _pieces(every, len(rows), batch_sizes, len(state[0]))
    outputs = []
    for first, start, stop, sizes in reversed(pieces) if reverse else pieces:
        alive = len(state[0]) if sizes is None else int(sizes[0])
        given = (
            layer,
            w if w.statistics is None else w._replace(statistics=w.statistics.from_step(first)),
            noise._replace(
                recurrent=None if noise.recurrent is None else noise.recurrent[:alive],
                zoneout_h=_part(noise.zoneout_h, start, stop),
                zoneout_c=_part(noise.zoneout_c, start, stop),
            ),
            rows[start:stop],
            sizes,
            tuple(s[:alive] for s in state),
            reverse,
        )
        output, new = checkpoint(inner, *given, use_reentrant=False, preserve_rng_state=False)
        state = tuple(n if len(n) == len(s) else torch.cat([n, s[alive:]]) for n, s in zip(new, state, strict=True))
        outputs.append(output)
    return torch.cat(outputs[::-1] if reverse else outputs), state


def _pieces(every: int, N: int, batch_sizes: Tensor | None, B: int) -> list[tuple[int, int, int, Tensor | None]]:
    """Of each piece: its first step, its rows from and to, and the rows of each of its steps."""
    if batch_sizes is None:
        rows = every * max(B, 1)
        return [(start // max(B, 1), start, min(start + rows, N), None) for start in range(0, max(N, 1), rows)]
    ends = [0, *batch_sizes.cumsum(0).tolist()]
    cuts = [*range(0, len(batch_sizes), every), len(batch_sizes)]
    return [(a, ends[a], ends[b], batch_sizes[a:b]) for a, b in pairwise(cuts)]


def _part(kept: Tensor | float, start: int, stop: int) -> Tensor | float:
    return kept[start:stop] if isinstance(kept, Tensor) else kept
