"""A pass over a whole sequence as the layers call it: weights packed, room made, kernels called.

What each thread has to do is one call of a compiled function, without Python's lock.

T steps, B items, N rows of all steps, I input, H hidden, G gates.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from gatelab.kernels import gru, lstm, rnn
from gatelab.kernels.compiling import announced
from gatelab.kernels.extras import Extras
from gatelab.kernels.inputs import Inputs
from gatelab.kernels.product import CHUNK, packed
from gatelab.kernels.room import Room, own_room
from gatelab.kernels.sharing import together, ways
from gatelab.kernels.simd import BYTES, ROWS
from gatelab.kernels.steps import Way
from gatelab.kernels.sums import Sums

Array = np.ndarray
CELLS = ("rnn", "rnn_relu", "lstm", "lstm_coupled", "gru")
"""The cells of ``gatelab.cells.CELLS`` that have kernels."""

_CACHE = 2**18  # bytes of a piece that should stay in the cache of one core, what belongs to it beside them
_FEWEST = 256  # rows of a piece, below which the products of the weights' gradients slow down
_NARROW = 16  # columns of an input for whose weights the gradient is summed up transposed


class Pass(NamedTuple):
    """One layer in one direction: what goes in, and what a forward pass leaves for the backward pass."""

    cell: str
    backwards: bool  # read time from its end
    offsets: Array  # (T + 1,) int64, the first row of each step, and N
    rows: Array  # (N, I)
    weight_ih: Array  # (G·H, I)
    weight_hh: Array  # (G·H, H)
    bias: Array  # (G·H,) all biases that add up
    bias_n: Array  # (H,) the GRU's ``bias_hh`` of n; of no use to others
    initial: Sequence[Array]  # (B, H) h, or h and c
    out: Array  # (N, H)
    gates: Array  # (N, G·H), of the vanilla network the new contents where zoneout sets them apart from out; or empty
    other: Array  # (N, H) the LSTM's c after every step, the GRU's recurrent side of n; or empty
    extras: Extras

    def ways(self, threads: int) -> list[Way]:
        """The rows of each thread."""
        return ways(self.offsets, self.backwards, len(self.rows) * self.weight_hh.size, threads)

    def piece(self, way: Way) -> tuple[int, int]:
        """How many rows a piece should have, and how many it may have."""
        N = int(way.own[-1])
        most = max(_FEWEST, _CACHE // (sum(self.weight_hh.shape) * self.out.itemsize))
        even = -(-N // max(N // most, 1))  # pieces of one size
        return even, min(N, max(even, int(way.own[1])))


# ---- forward -------------------------------------------------------------------------------------------------------


def forward(p: Pass, final: Sequence[Array], keep: bool, threads: int) -> None:
    """Fills ``p.out``, and where ``keep`` the records; ``final``, like ``p.initial``, are written too."""
    for state, initial in zip(final, p.initial, strict=True):
        state[...] = initial
    room = own_room("weights")
    weights = packed(p.weight_ih.T, room), packed(p.weight_hh.T, room)
    together([partial(_forward, p, way, final, weights, keep) for way in p.ways(threads)], threads)


def _forward(p: Pass, way: Way, final: Sequence[Array], weights: tuple[Array, Array], keep: bool) -> None:
    (width, H), items, dtype, (most, n) = p.weight_hh.shape, int(way.own[1]), p.out.dtype, p.piece(way)
    room = own_room("pass")
    gathered, a = room.matrix(n, p.rows.shape[1], dtype), room.matrix(n, width, dtype)
    inputs = Inputs(p.rows, weights[0], gathered, a, most, width)
    masked = room.take((items, H), dtype) if p.extras.mask.size else p.extras.mask
    products, h, x = room.matrix(items, width, dtype), final[0], p.extras
    if p.cell == "gru":
        work = partial(
            gru.forward,
            way,
            inputs,
            weights[1],
            p.bias,
            p.bias_n,
            h,
            p.out,
            p.gates,
            p.other,
            x,
            products,
            masked,
            keep,
        )
    elif p.cell in ("rnn", "rnn_relu"):
        relu = p.cell == "rnn_relu"
        work = partial(rnn.forward, way, inputs, weights[1], p.bias, h, p.out, p.gates, x, products, masked, relu, keep)
    else:
        fresh, coupled, records = room.take((2, H), dtype), p.cell == "lstm_coupled", (p.out, p.gates, p.other)
        rooms = (products, masked, fresh)
        work = partial(lstm.forward, way, inputs, weights[1], p.bias, h, final[1], *records, x, *rooms, coupled, keep)
    announced(p.cell, "forward", dtype, work)


# ---- backward ------------------------------------------------------------------------------------------------------


class Gradients(NamedTuple):
    """What a backward pass adds to, but for ``rows`` and ``initial``, which it writes."""

    rows: Array  # (N, I), or empty where it is not wanted
    weight_ih: Array  # (G·H, I)
    weight_hh: Array  # (G·H, H)
    bias: Array  # (G·H,) of ``bias_hh``; of the GRU (4H,): behind it that of ``bias_ih`` for n
    initial: Sequence[Array]  # (B, H) each
    gain_ih: Array  # (G·H,) or empty
    gain: Array  # (G·H,) or empty
    own: Array  # (5, H) the LSTM's gain_c, bias_c and peepholes


_SUMMED = tuple(name for name in Gradients._fields if name not in ("rows", "initial"))


class _Share(NamedTuple):
    """What one thread adds up of its own."""

    way: Way
    gradients: Gradients
    dstate: list[Array]  # (items, H) each


def backward(p: Pass, dout: Array, dstate: Sequence[Array | None], found: Gradients, threads: int) -> None:
    """From ∂loss/∂out ``(N, H)`` and ∂loss/∂(final state), None for zeros, to all gradients."""
    H, room = p.out.shape[1], own_room("weights")
    shares = [_share(p, way, found, dstate, n == 0) for n, way in enumerate(p.ways(threads))]
    shared = 2 * H if p.cell == "gru" else len(p.weight_ih)
    wanted = p.weight_ih if found.rows.size else p.weight_ih[:0, :0]
    weights = packed(p.weight_hh, room), packed(wanted[:shared], room), packed(wanted[shared:], room)
    together([partial(_backward, p, share, dout, weights) for share in shares], threads)
    for way, mine, states in shares:
        for whole, state in zip(found.initial, states, strict=True):
            whole[way.first : way.first + len(state)] = state[:, :H]
        if mine is not found:
            for name in _SUMMED:
                array = getattr(found, name)
                array += getattr(mine, name)


def _share(p: Pass, way: Way, found: Gradients, dstate: Sequence[Array | None], first: bool) -> _Share:
    items, (_, H) = int(way.own[1]), p.out.shape
    states = [
        np.zeros((items, H), p.out.dtype) if given is None else given[way.first : way.first + items].copy()
        for given in dstate
    ]
    if first:
        return _Share(way, found, states)
    return _Share(way, found._replace(**{name: np.zeros_like(getattr(found, name)) for name in _SUMMED}), states)


def _backward(p: Pass, share: _Share, dout: Array, weights: tuple[Array, Array, Array]) -> None:
    (way, found, dstate), dtype, x, room = share, p.out.dtype, p.extras, own_room("pass")
    sums, masked = _sums(p, way, found, *weights[1:], room), np.empty_like(dstate[0]) if x.mask.size else x.mask
    gates, h0, dh = p.gates if p.gates.size else p.out, p.initial[0], dstate[0]
    if p.cell == "gru":
        work = partial(gru.backward, way, sums, gates, p.other, p.out, h0, dout, dh, weights[0], x, masked)
    elif p.cell in ("rnn", "rnn_relu"):
        relu = p.cell == "rnn_relu"
        work = partial(rnn.backward, way, sums, gates, p.out, h0, dout, dh, weights[0], x, masked, relu)
    else:
        states, coupled = (p.out, h0, p.initial[1], dout, dh, dstate[1]), p.cell == "lstm_coupled"
        rest = (weights[0], found.own, x, masked, room.take((3, dh.shape[1]), dtype), coupled)
        work = partial(lstm.backward, way, sums, gates, p.other, *states, *rest)
    announced(p.cell, "backward", dtype, work)
    if sums.narrow:
        found.weight_ih[...] += sums.dweight_ih.T


def _sums(p: Pass, way: Way, found: Gradients, weight: Array, weight_n: Array, room: Room) -> Sums:
    (width, H), (_, I), dtype, (most, n) = p.weight_hh.shape, p.rows.shape, p.out.dtype, p.piece(way)  # noqa: E741
    narrow, normalised = I <= _NARROW, found.gain.size > 0
    return Sums(
        room.matrix(n, len(found.bias), dtype),
        room.matrix(n if normalised else 0, width, dtype),
        room.take((H,), dtype),
        room.panels(n, H, dtype),
        p.rows,
        room.matrix(n, I, dtype),
        room.panels(n, width if narrow else I, dtype),
        weight,
        weight_n,
        found.rows,
        np.zeros((I, width), dtype) if narrow else found.weight_ih,
        found.weight_hh,
        found.bias,
        found.gain_ih,
        found.gain,
        room.take((ROWS[0] * CHUNK + BYTES // dtype.itemsize,), dtype),
        most,
        narrow,
    )
