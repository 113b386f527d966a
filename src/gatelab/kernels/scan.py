"""A pass over a whole sequence as the layers call it: weights packed, room made, kernels called.

A pass may come in pieces of consecutive steps, so that what a piece needs besides stays in the cache: a ``Forward`` or
``Backward`` is made for the pass and called for each piece, backwards from the last to the first.

A pass runs in the thread that calls it, without Python's lock.

T steps, B items, N rows of all steps, n rows of a piece, H hidden, G gates.
"""

from __future__ import annotations

from collections.abc import Sequence
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


class Way(NamedTuple):
    """Through which rows a pass goes."""

    offsets: Array  # (T + 1,) int64, the first row of each step and N
    backwards: bool  # read time from its end


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
        self.products = aligned((B, len(self.weight) * width(dtype)), dtype)
        self.masked = aligned((B, H), dtype) if extras.mask.size else extras.mask
        self.room = np.empty((2, H), dtype)

    def __call__(self, a: Array, begin: int, end: int, base: int) -> None:
        """The steps ``begin`` to ``end`` in the order of reading.

        ``a (n, G·H)`` is the input times weights plus biases (but for ``bias_n``) from row ``base`` on. Where the pass
        is kept, the gates are written over it.
        """
        announced(self.cell, "forward", a.dtype, lambda: self._run(a, Steps(*self.way, begin, end, base)))

    def _run(self, a: Array, steps: Steps) -> None:
        h, shared = self.state[0], (self.extras, self.products, self.masked)
        if self.cell == "gru":
            gru.forward(steps, a, self.weight, self.bias_n, h, self.out, self.other, *shared, self.keep)
        elif self.cell in ("rnn", "rnn_relu"):
            rnn.forward(steps, a, self.weight, h, self.out, *shared, self.cell == "rnn_relu", self.keep)
        else:
            c, coupled = self.state[1], self.cell == "lstm_coupled"
            lstm.forward(steps, a, self.weight, h, c, self.out, self.other, *shared, self.room, coupled, self.keep)


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
        self.H, columns = H, width(dtype)
        rows = [weight_hh[: 2 * H], weight_hh[2 * H :]] if cell == "gru" else [weight_hh]
        self.weights = [packed(block) for block in rows]
        wide = -(-H // columns) * columns
        self.dstate = [aligned((B, wide), dtype) for _ in dstate]
        for mine, given in zip(self.dstate, dstate, strict=True):
            mine[:, :H] = given
        self.masked = aligned((B, wide), dtype) if extras.mask.size else extras.mask
        self.room, self.own = np.empty((3, H), dtype), np.zeros((5, H), dtype)

    def __call__(self, gradients: Gradients, begin: int, end: int, base: int) -> None:
        """The steps from ``end`` back to ``begin`` in the order of reading; ``gradients`` from row ``base`` on."""
        dtype, steps = self.dout.dtype, Steps(*self.way, begin, end, base)
        announced(self.cell, "backward", dtype, lambda: self._run(gradients, steps))

    def _run(self, gradients: Gradients, steps: Steps) -> None:
        (gates, other), (da, ds, dproduct), dh = self.record, gradients, self.dstate[0]
        x, dout = self.extras, self.dout
        if self.cell == "gru":
            w_rz, w_n = self.weights
            h0, room = self.initial[0], self.masked
            gru.backward(steps, gates, other, self.out, h0, dout, dh, da, ds, w_rz, w_n, dproduct, x, room)
        elif self.cell in ("rnn", "rnn_relu"):
            relu = self.cell == "rnn_relu"
            rnn.backward(steps, gates, dout, dh, da, self.weights[0], dproduct, x, self.masked, relu)
        else:
            dc, c0, w, coupled = self.dstate[1], self.initial[1], self.weights[0], self.cell == "lstm_coupled"
            rooms = (self.own, x, self.masked, self.room)
            lstm.backward(steps, gates, other, c0, dout, dh, dc, da, w, dproduct, *rooms, coupled)

    def initial_gradients(self) -> list[Array]:
        """∂loss/∂(initial state), ``(B, H)`` each, after the last piece."""
        return [array[:, : self.H] for array in self.dstate]

    def extras_gradients(self) -> Array:
        """∂loss/∂ gain_c, bias_c and the peepholes ``(5, H)``."""
        return self.own
