"""A pass over a whole sequence as the layers call it: weights packed, items shared among threads, kernels called.

A pass may come in pieces of consecutive steps, so that what a piece needs besides stays in the cache: a ``Forward`` or
``Backward`` is made for the pass and called for each piece, backwards from the last to the first.

Each thread takes some of the items through the steps, so that no thread waits for another at a step. The threads are
Python's own, and the kernels run without its lock: no pool that spins, nothing that a busy neighbour could stall.

T steps, B items, N rows of all steps, n rows of a piece, H hidden, G gates.
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


class Way(NamedTuple):
    """Through which rows a pass goes, and by how many threads at most."""

    offsets: Array  # (T + 1,) int64, the first row of each step and N
    backwards: bool  # read time from its end
    threads: int


class Record(NamedTuple):
    """What a forward pass leaves for the backward pass."""

    gates: Array  # (N, G·H) a, with the gates (of the vanilla network, the new content) written over it
    other: Array  # (N, H) the LSTM's c after every step, the GRU's recurrent side of n; empty for the vanilla network


def no_extras(dtype: np.dtype) -> Extras:
    """The plain cell."""
    none, nothing, bytes_ = np.empty((0, 0), dtype), np.empty(0, dtype), np.empty((0, 0), np.uint8)
    return Extras(none, bytes_, bytes_, 0.0, 0.0, nothing, none, none, nothing, nothing, nothing)


class Piece(NamedTuple):
    """Consecutive steps of a pass, and the rows that they are."""

    begin: int  # the first step, in the order of reading
    end: int
    first: int  # the first row
    last: int


def pieces(way: Way, rows: int) -> list[Piece]:
    """The whole pass in pieces of about ``rows`` rows and at least one step, in the order of reading."""
    if rows >= way.offsets[-1]:
        return [Piece(0, len(way.offsets) - 1, 0, int(way.offsets[-1]))]
    sizes = np.diff(way.offsets)[:: -1 if way.backwards else 1]  # (T,) in the order of reading
    done = sizes.cumsum()
    N, ends = int(done[-1]), [0]
    while ends[-1] < len(sizes):
        before = done[ends[-1] - 1] if ends[-1] else 0
        ends.append(max(ends[-1] + 1, int(np.searchsorted(done, before + rows, side="right"))))
    found = []
    for begin, end in pairwise(ends):
        first, last = (int(done[begin - 1]) if begin else 0), int(done[end - 1])
        found.append(Piece(begin, end, *((N - last, N - first) if way.backwards else (first, last))))
    return found


class Forward:
    """A forward pass.

    Args:
        cell: a name of ``KERNELS``.
        way: through which rows.
        weight_hh: ``(G·H, H)``.
        bias_n: ``(H,)`` the GRU's ``bias_hh`` of n; of no use to others.
        state: h, or h and c, each ``(B, H)``: initial before and final after.
        out: ``(N, H)``, written. The vanilla network's may be a itself, without zoneout.
        other: as in ``Record``, written where ``keep``.
        extras: see there.
        keep: a backward pass will follow.
    """

    def __init__(
        self,
        cell: str,
        way: Way,
        weight_hh: Array,
        bias_n: Array,
        state: Sequence[Array],
        out: Array,
        other: Array,
        extras: Extras,
        keep: bool,
    ):
        self.cell, self.way, self.bias_n, self.state = cell, way, bias_n, state
        self.out, self.other, self.extras, self.keep = out, other, extras, keep
        self.weight, (B, H), dtype = packed(weight_hh.T), state[0].shape, weight_hh.dtype
        self.parts = _parts(way, B, weight_hh.size)
        wide, room = len(self.weight) * width(dtype), np.empty((2, H), dtype)
        masked = [aligned((last - first, H), dtype) if extras.mask.size else extras.mask for first, last in self.parts]
        products = [aligned((last - first, wide), dtype) for first, last in self.parts]
        self.rooms = [(*rooms, room.copy()) for rooms in zip(products, masked, strict=True)]

    def __call__(self, a: Array, begin: int, end: int, base: int) -> None:
        """The steps ``begin`` to ``end`` in the order of reading.

        ``a (n, G·H)`` is the input times weights plus biases (but for ``bias_n``) from row ``base`` on. Where the pass
        is kept, the gates are written over it.
        """

        def part(index: int) -> None:
            (first, last), (products, masked, room) = self.parts[index], self.rooms[index]
            steps = Steps(self.way.offsets, self.way.backwards, first, last, begin, end, base)
            h = self.state[0][first:last]
            shared = (self.extras, products, masked)
            if self.cell == "gru":
                gru.forward(steps, a, self.weight, self.bias_n, h, self.out, self.other, *shared, self.keep)
            elif self.cell in ("rnn", "rnn_relu"):
                rnn.forward(steps, a, self.weight, h, self.out, *shared, self.cell == "rnn_relu", self.keep)
            else:
                c, coupled = self.state[1][first:last], self.cell == "lstm_coupled"
                lstm.forward(steps, a, self.weight, h, c, self.out, self.other, *shared, room, coupled, self.keep)

        announced(self.cell, "forward", a.dtype, lambda: _share(part, len(self.parts)))


class Gradients(NamedTuple):
    """What a backward pass writes for the rows of a piece."""

    a: Array  # (n, G·H) ∂loss/∂a
    s_n: Array  # (n, H) the GRU's ∂loss/∂(recurrent side of n); empty for the others, for which it is that of a
    product: Array  # (n, G·H) ∂loss/∂(h W_hh) where that is normalised; else empty


class Backward:
    """A backward pass.

    Args:
        cell, way, weight_hh, out, extras: as in ``Forward``.
        initial: the initial state, ``(B, H)`` each.
        record: what the forward pass left.
        dout: ``(N, H)`` ∂loss/∂out.
        dstate: ∂loss/∂(final state), ``(B, H)`` each.
    """

    def __init__(
        self,
        cell: str,
        way: Way,
        weight_hh: Array,
        initial: Sequence[Array],
        out: Array,
        record: Record,
        extras: Extras,
        dout: Array,
        dstate: Sequence[Array],
    ):
        self.cell, self.way, self.initial, self.out = cell, way, initial, out
        self.record, self.extras, self.dout = record, extras, dout
        (B, H), dtype = initial[0].shape, weight_hh.dtype
        self.H, self.parts, columns = H, _parts(way, B, weight_hh.size), width(weight_hh.dtype)
        rows = [weight_hh[: 2 * H], weight_hh[2 * H :]] if cell == "gru" else [weight_hh]
        self.weights = [packed(block) for block in rows]
        wide = -(-H // columns) * columns
        self.dstate = [aligned((B, wide), dtype) for _ in dstate]
        for mine, given in zip(self.dstate, dstate, strict=True):
            mine[:, :H] = given
        masked = [
            aligned((last - first, wide), dtype) if extras.mask.size else extras.mask for first, last in self.parts
        ]
        self.rooms = [(mask, np.empty((3, H), dtype), np.zeros((5, H), dtype)) for mask in masked]

    def __call__(self, gradients: Gradients, begin: int, end: int, base: int) -> None:
        """The steps from ``end`` back to ``begin`` in the order of reading; ``gradients`` from row ``base`` on."""

        def part(index: int) -> None:
            (first, last), (masked, room, own) = self.parts[index], self.rooms[index]
            steps = Steps(self.way.offsets, self.way.backwards, first, last, begin, end, base)
            dh, h0, (gates, other), x = self.dstate[0][first:last], self.initial[0], self.record, self.extras
            da, ds, dproduct = gradients
            if self.cell == "gru":
                w_rz, w_n = self.weights
                gru.backward(steps, gates, other, self.out, h0, self.dout, dh, da, ds, w_rz, w_n, dproduct, x, masked)
            elif self.cell in ("rnn", "rnn_relu"):
                relu = self.cell == "rnn_relu"
                rnn.backward(steps, gates, self.dout, dh, da, self.weights[0], dproduct, x, masked, relu)
            else:
                dc, c0, coupled = self.dstate[1][first:last], self.initial[1], self.cell == "lstm_coupled"
                w, rooms = self.weights[0], (masked, room)
                lstm.backward(steps, gates, other, c0, self.dout, dh, dc, da, w, dproduct, own, x, *rooms, coupled)

        announced(self.cell, "backward", self.dout.dtype, lambda: _share(part, len(self.parts)))

    def initial_gradients(self) -> list[Array]:
        """∂loss/∂(initial state), ``(B, H)`` each, after the last piece."""
        return [array[:, : self.H] for array in self.dstate]

    def extras_gradients(self) -> Array:
        """∂loss/∂ gain_c, bias_c and the peepholes ``(5, H)``; added up in the order of the items."""
        return sum((own for _, _, own in self.rooms[1:]), self.rooms[0][2])


# ---- threads -------------------------------------------------------------------------------------------------------


def _parts(way: Way, B: int, weights: int) -> list[tuple[int, int]]:
    """The items of each thread: about the same number of rows for all."""
    offsets, threads = way.offsets, min(way.threads, B // _GRAIN)
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


def _share(work: Callable[[int], None], parts: int) -> None:
    if parts == 1:
        work(0)
        return
    others = [_pool(os.getpid()).submit(work, index) for index in range(1, parts)]
    try:
        work(0)
    finally:
        for other in others:
            other.result()


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """The threads of this process; a forked child makes its own."""
    return ThreadPoolExecutor(os.cpu_count() or 1, "gatelab-kernels")
