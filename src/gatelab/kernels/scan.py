"""A pass over a whole sequence, forward or backward: weights packed, items shared among threads, kernels called.

Each thread takes some of the items through all steps, so that no thread waits for another at a step. The threads are
Python's own, and the kernels run without its lock: no pool that spins, nothing that a busy neighbour could stall.

T steps, B items, N rows of all steps, H hidden, G gates.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from gatelab.kernels import gru, lstm, rnn
from gatelab.kernels.compiling import announced
from gatelab.kernels.extras import Extras
from gatelab.kernels.product import aligned, packed, width
from gatelab.kernels.steps import Steps

Array = np.ndarray
KERNELS = {"rnn": 1, "rnn_relu": 1, "lstm": 4, "lstm_coupled": 3, "gru": 3}
"""The cells of ``gatelab.cells.CELLS`` that have kernels, and how many blocks of gates they have."""

_WORTH = 2e6  # multiplications below which a second thread costs more than it saves
_GRAIN = 4  # items: blocks of rows in a product are multiples of this


class Record(NamedTuple):
    """What a forward pass leaves for the backward pass."""

    gates: Array  # (N, G·H) a, with the gates (of the vanilla network, the new content) written over it
    other: Array  # (N, H) the LSTM's c after every step, the GRU's recurrent side of n; empty for the vanilla network


def no_extras(dtype: np.dtype) -> Extras:
    """The plain cell."""
    none, nothing, bytes_ = np.empty((0, 0), dtype), np.empty(0, dtype), np.empty((0, 0), np.uint8)
    return Extras(none, bytes_, bytes_, 0.0, 0.0, nothing, none, none, nothing, nothing, nothing)


def forward(
    cell: str,
    offsets: Array,
    backwards: bool,
    record: Record,
    weight_hh: Array,
    bias_n: Array,
    state: Sequence[Array],
    out: Array,
    extras: Extras,
    keep: bool,
    threads: int,
) -> None:
    """All steps forward.

    Args:
        cell: a name of ``KERNELS``.
        offsets: ``(T + 1,)`` int64, the first row of each step and N.
        backwards: read time from its end.
        record: its ``gates`` hold a, input times weights plus biases (the GRU's ``bias_hh`` of n excepted); where
            ``keep``, it is the record afterwards.
        weight_hh: ``(G·H, H)``.
        bias_n: ``(H,)`` the GRU's ``bias_hh`` of n; of no use to others.
        state: h, or h and c, each ``(B, H)``: initial before and final after.
        out: ``(N, H)``, written. The vanilla network's may be a itself, without zoneout.
        extras: see there.
        keep: a backward pass will follow.
        threads: at most so many.
    """
    weight, (B, H), (a, other) = packed(weight_hh.T), state[0].shape, record
    wide = len(weight) * width(a.dtype)

    def part(first: int, last: int) -> None:
        steps, rows = Steps(offsets, first, last, backwards), last - first
        mine = [array[first:last] for array in state]
        products, masked = aligned((rows, wide), a.dtype), aligned((rows, H) if extras.mask.size else (0, 0), a.dtype)
        if cell == "gru":
            gru.forward(steps, a, weight, bias_n, mine[0], out, other, extras, products, masked, keep)
        elif cell in ("rnn", "rnn_relu"):
            rnn.forward(steps, a, weight, mine[0], out, extras, products, masked, cell == "rnn_relu", keep)
        else:
            h, c = mine
            room, coupled = aligned((2, H), a.dtype), cell == "lstm_coupled"
            lstm.forward(steps, a, weight, h, c, out, other, extras, products, masked, room, coupled, keep)

    with announced(f"{cell} kernel ({a.dtype}, forward)"):
        _share(part, _parts(offsets, B, threads, weight_hh.size))


class Gradients(NamedTuple):
    """What a backward pass writes."""

    a: Array  # (N, G·H) ∂loss/∂a
    s_n: Array  # (N, H) the GRU's ∂loss/∂(recurrent side of n); empty for the others, for which it is that of a
    product: Array  # (N, G·H) ∂loss/∂(h W_hh) where that is normalised; else empty


def backward(
    cell: str,
    offsets: Array,
    backwards: bool,
    weight_hh: Array,
    initial: Sequence[Array],
    out: Array,
    record: Record,
    extras: Extras,
    dout: Array,
    dstate: Sequence[Array],
    gradients: Gradients,
    threads: int,
) -> Array:
    """All steps backward.

    Args:
        cell, offsets, backwards, weight_hh, out, record, extras, threads: as in ``forward``.
        initial: the initial state, ``(B, H)`` each.
        dout: ``(N, H)`` ∂loss/∂out.
        dstate: ∂loss/∂(final state) before, ∂loss/∂(initial state) after; ``(B, H)`` each.
        gradients: written.

    Returns:
        ``(5, H)``: ∂loss/∂ gain_c, bias_c and the peepholes, in the order in which the kernel has them.
    """
    B, H = initial[0].shape
    dtype, columns = weight_hh.dtype, width(weight_hh.dtype)
    blocks = [packed(weight_hh[: 2 * H]), packed(weight_hh[2 * H :])] if cell == "gru" else [packed(weight_hh)]
    wide = -(-H // columns) * columns
    sums = []

    def part(first: int, last: int) -> None:
        steps, rows = Steps(offsets, first, last, backwards), last - first
        mine = [aligned((rows, wide), dtype) for _ in dstate]
        for whole, array in zip(dstate, mine, strict=True):
            array[:, :H] = whole[first:last]
        masked = aligned((rows, wide) if extras.mask.size else (0, 0), dtype)
        da, ds, dproduct = gradients
        gates, other = record
        if cell == "gru":
            w_rz, w_n = blocks
            gru.backward(
                steps, gates, other, out, initial[0], dout, mine[0], da, ds, w_rz, w_n, dproduct, extras, masked
            )
        elif cell in ("rnn", "rnn_relu"):
            relu = cell == "rnn_relu"
            rnn.backward(steps, gates, dout, mine[0], da, blocks[0], dproduct, extras, masked, relu)
        else:
            (dh, dc), c0, coupled = mine, initial[1], cell == "lstm_coupled"
            room, own = aligned((3, H), dtype), aligned((5, H), dtype)
            lstm.backward(
                steps, gates, other, c0, dout, dh, dc, da, blocks[0], dproduct, own, extras, masked, room, coupled
            )
            sums.append((first, own))
        for whole, array in zip(dstate, mine, strict=True):
            whole[first:last] = array[:, :H]

    with announced(f"{cell} kernel ({dtype}, backward)"):
        _share(part, _parts(offsets, B, threads, weight_hh.size))
    # In the order of the items, whichever thread was first: the same numbers every time.
    return sum((own for _, own in sorted(sums, key=lambda pair: pair[0])), np.zeros((5, H), dtype))


# ---- threads -------------------------------------------------------------------------------------------------------


def _parts(offsets: Array, B: int, threads: int, weights: int) -> list[tuple[int, int]]:
    """The items of each thread: about the same number of rows for all."""
    threads = min(threads, B // _GRAIN)
    if threads > 1:
        threads = min(threads, int(offsets[-1] * weights / _WORTH))
    if threads <= 1:
        return [(0, B)]
    sizes = np.diff(offsets)
    lengths = np.searchsorted(-sizes, -np.arange(B), side="left")  # (B,) steps with more than so many items
    done = np.cumsum(lengths) / lengths.sum()
    cuts = [int(round(np.searchsorted(done, k / threads, side="right") / _GRAIN)) * _GRAIN for k in range(1, threads)]
    edges = sorted({0, *(cut for cut in cuts if 0 < cut < B), B})
    return list(pairwise(edges))


def _share(work: Callable[[int, int], None], parts: list[tuple[int, int]]) -> None:
    others = [_pool(os.getpid()).submit(work, *part) for part in parts[1:]]
    try:
        work(*parts[0])
    finally:
        for other in others:
            other.result()


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """The threads of this process; a forked child makes its own."""
    return ThreadPoolExecutor(os.cpu_count() or 1, "gatelab-kernels")
