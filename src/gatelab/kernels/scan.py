"""A pass over a whole sequence as the layers call it: weights packed, room made, kernels called.

What each thread has to do is one call of a compiled function, without Python's lock.

T steps, B items, N rows of all steps, I input, H hidden, G gates.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numba
import numpy as np

from gatelab.kernels import frame, gru, lstm, rnn, sums
from gatelab.kernels.compiling import pretend
from gatelab.kernels.extras import NONE, Extras
from gatelab.kernels.first_use import Use, announced
from gatelab.kernels.frame import Frame, Gradients, Weights, bare
from gatelab.kernels.inputs import Working
from gatelab.kernels.product import CHUNK
from gatelab.kernels.room import Room, own_room
from gatelab.kernels.sharing import Shares, shares, together
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
    """One layer in one direction."""

    cell: str
    like: Array  # any array of the numbers' type
    backwards: bool  # read time from its end
    offsets: Array | None  # (T + 1,) int64, the first row of each step, and N; None for B rows in every step
    T: int
    B: int
    N: int
    frame: Frame
    extras: Extras

    def shares(self, threads: int) -> Shares:
        """What each thread takes."""
        multiplications = self.N * self.frame.width * self.frame.hidden
        return shares(self.offsets, self.T, self.B, self.N, self.backwards, multiplications, threads)

    def piece(self, way: Way) -> tuple[int, int]:
        """How many rows a piece should have, and how many it may have."""
        f = self.frame
        most = max(_FEWEST, _CACHE // ((f.width + f.hidden) * self.like.itemsize))
        even = -(-way.rows // max(way.rows // most, 1))  # pieces of one size
        return even, min(way.rows, max(even, way.items))

    @property
    def besides(self) -> Extras | tuple[()]:
        """The extras as kernels take them, of a plain cell none."""
        return () if self.extras == NONE else self.extras

    def use(self, direction: str) -> Use:
        """The kernel of one direction."""
        return Use(self.cell, direction, self.like.dtype, self.extras != NONE)

    @property
    def shared(self) -> int:
        """Rows of the weights' products whose two sides have one gradient, and biases that add up: of a GRU not n's."""
        return 2 * self.frame.hidden if self.cell == "gru" else self.frame.width


# ---- forward -------------------------------------------------------------------------------------------------------


def forward(p: Pass, keep: bool, threads: int) -> None:
    """Fills what a frame says is written, its records where ``keep``."""
    announced(p.use("forward"), partial(_forward, p, keep, threads), p.use("backward") if keep else None)


def _forward(p: Pass, keep: bool, threads: int) -> None:
    f, itemsize = p.frame, p.like.itemsize
    with own_room("weights") as room:
        of_inputs = room.panels(f.size, f.width, itemsize)
        of_states = room.panels(f.hidden, f.width, itemsize)
        biases = room.take(f.width * itemsize), room.take(f.hidden * itemsize)
        weights = Weights(of_states, of_inputs, 0, *biases)
        frame.pack_forward(p.like, *bare(f, weights), p.shared)
        each = p.shares(threads)
        together([partial(_forward_share, p, way, weights, keep) for way in each.ways], threads)


def _forward_share(p: Pass, way: Way, weights: Weights, keep: bool) -> None:
    f, itemsize, items, (most, n) = p.frame, p.like.itemsize, way.items, p.piece(way)
    with own_room("pass") as room:
        working = Working(
            *room.matrix(n, f.size, itemsize),
            *room.matrix(n, f.width, itemsize),
            *room.matrix(items, f.width, itemsize),
            room.take(items * f.hidden * itemsize) if p.extras.mask else 0,
            room.take(2 * f.hidden * itemsize),
            most,
        )
        given = bare(way, f, p.besides, weights, working)
        if p.cell == "gru":
            gru.forward(p.like, *given, keep)
        elif p.cell in ("rnn", "rnn_relu"):
            rnn.forward(p.like, *given, p.cell == "rnn_relu", keep)
        else:
            lstm.forward(p.like, *given, p.cell == "lstm_coupled", keep)


# ---- backward ------------------------------------------------------------------------------------------------------


def backward(p: Pass, gradients: Gradients, threads: int) -> None:
    """Fills what gradients say is written."""
    announced(p.use("backward"), partial(_backward, p, gradients, threads), before=_prepare_others)


def _backward(p: Pass, g: Gradients, threads: int) -> None:
    f, itemsize, shared = p.frame, p.like.itemsize, p.shared
    with own_room("weights") as room:
        of_states = room.panels(f.width, f.hidden, itemsize)
        of_inputs = room.panels(shared, f.size, itemsize), room.panels(f.width - shared, f.size, itemsize)
        weights = Weights(of_states, *of_inputs, 0, 0)
        frame.pack_backward(p.like, *bare(f, weights), shared, g.rows != 0)
        each = p.shares(threads)
        summed = [_sums(p, g, room, way.first == 0) for way in each.ways]
        pairs = zip(each.ways, summed, strict=True)
        together([partial(_backward_share, p, way, g, weights, own) for way, own in pairs], threads)
        for more in summed[1:]:
            sums.merge(p.like, *bare(f, summed[0], more))
        sums.show(p.like, *bare(f, g, summed[0]), 2 if p.cell == "lstm_coupled" else 3)


def _sums(p: Pass, g: Gradients, room: Room, first: bool) -> Sums:
    """What a thread adds up; the ``first`` does so in place."""
    f, itemsize, columns = p.frame, p.like.itemsize, 2 * p.frame.width - p.shared
    narrow, normalised, peeping = f.size <= _NARROW, p.extras.gain != 0, p.cell in ("lstm", "lstm_coupled")

    def of(place: int, size: int) -> int:
        return place if first and place else room.take(size * itemsize)

    return Sums(
        of(0 if narrow else g.weight_ih, f.width * f.size),
        of(g.weight_hh, f.width * f.hidden),
        of(0, columns),
        of(g.gain_ih, f.width) if normalised else 0,
        of(g.gain, f.width) if normalised else 0,
        of(0, 5 * f.hidden) if peeping else 0,
        columns,
        narrow,
    )


def _backward_share(p: Pass, way: Way, g: Gradients, weights: Weights, own: Sums) -> None:
    f, itemsize, (most, n) = p.frame, p.like.itemsize, p.piece(way)
    with own_room("pass") as room:
        working = sums.Working(
            *room.matrix(n, own.columns, itemsize),
            *(room.matrix(n, f.width, itemsize) if p.extras.gain else (0, 0)),
            *room.matrix(n, f.size, itemsize),
            room.take(f.hidden * itemsize),
            room.panels(n, f.hidden, itemsize),
            room.panels(n, f.width if own.narrow else f.size, itemsize),
            room.take(ROWS[0] * CHUNK * itemsize + BYTES),
            room.take(way.items * f.hidden * itemsize) if p.extras.mask else 0,
            room.take(3 * f.hidden * itemsize),
            most,
        )
        given = bare(way, f, g, p.besides, weights, own, working)
        if p.cell == "gru":
            gru.backward(p.like, *given)
        elif p.cell in ("rnn", "rnn_relu"):
            rnn.backward(p.like, *given, p.cell == "rnn_relu")
        else:
            lstm.backward(p.like, *given, p.cell == "lstm_coupled")


# ---- compiled beforehand -------------------------------------------------------------------------------------------


def prepare(cell: str, dtype: str, extras: bool) -> None:
    """Has the large kernel of a backward pass compiled, and left on disk, by a pass of one unit over no steps."""
    layer, gradients, weights, own, like = _nothing(np.dtype(dtype))
    pretend(numba.from_dtype(like.dtype))
    p = Pass(cell, like, False, None, 0, 0, 0, layer, Extras(kept_h=1.0) if extras else NONE)
    _backward_share(p, p.shares(1).ways[0], gradients, weights, own)


def _prepare_others(dtype: np.dtype) -> None:
    """The same for the small ones, which all cells share."""
    layer, gradients, weights, own, like = _nothing(dtype)
    frame.pack_backward(like, *bare(layer, weights), 1, True)
    sums.show(like, *bare(layer, gradients, own), 3)


def _nothing(dtype: np.dtype) -> tuple[Frame, Gradients, Weights, Sums, Array]:
    """A layer of one unit, all of whose arrays are one, which has room for any of them."""
    like = np.zeros(2**12, dtype)
    at = like.ctypes.data
    layer = Frame(1, 1, 4, *(at for _ in Frame._fields[3:]))
    own = Sums(at, at, at, at, at, at, 4, True)
    return layer, Gradients(*(at for _ in Gradients._fields)), Weights(*(at for _ in Weights._fields)), own, like
