"""One step of a plain cell for live data: the weights packed once, nothing allocated in a step.

A sequence pays for packing, for buffers and for the call once; a stream that does one step at a time would pay for them
at every step. Here all is prepared, and a step is one call of a compiled function: two products and the rows of
``gatelab.kernels.gru``, ``lstm`` or ``rnn``, the same functions as for sequences.

B sequences side by side, I input, H hidden, G gates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gatelab.kernels import gru, lstm, rnn
from gatelab.kernels.compiling import kernel
from gatelab.kernels.extras import opened
from gatelab.kernels.first_use import Use, announced
from gatelab.kernels.product import packed, product
from gatelab.kernels.room import fresh, whole
from gatelab.kernels.simd import pointer, shifted

Array = np.ndarray
CODES = {"rnn": 0, "rnn_relu": 1, "gru": 2, "lstm": 3, "lstm_coupled": 4}
"""The cells that can be streamed this way, as the compiled function knows them."""


class Buffers(NamedTuple):
    """Everything a step reads and writes, but for its input."""

    weight_ih: Array  # packed
    weight_hh: Array  # packed
    bias: Array  # (blocks · width,) every bias that goes to the input's side
    bias_n: Array  # (H,) the GRU's other one
    h: Array  # (B, H) the state, replaced by the next
    c: Array  # (B, H) the LSTM's
    a: Array  # (B, blocks · width)
    products: Array  # (B, blocks · width)
    room: Array  # (2, H)


class Stepper:
    """One layer of one direction, step by step.

    Args:
        cell: a name of ``CODES``.
        parameters: ``weight_ih (G·H, I)``; ``weight_hh (G·H, H)``; torch's biases added up ``(G·H,)``, without the
            GRU's ``bias_hh`` of n; ``(H,)`` that one, of no use to other cells.
        B: sequences side by side.
    """

    def __init__(self, cell: str, parameters: Sequence[Array], B: int):
        weight_ih, weight_hh, bias, bias_n = parameters
        dtype, (rows, H) = weight_hh.dtype, weight_hh.shape
        wide = whole(rows, dtype.itemsize)
        filled = fresh((wide,), dtype)
        filled[...] = 0
        filled[:rows] = bias
        h, c, a, products, room = (fresh(shape, dtype) for shape in ((B, H), (B, H), (B, wide), (B, wide), (2, H)))
        weights = packed(weight_ih.T), packed(weight_hh.T)
        self.buffers = Buffers(*weights, filled, bias_n.copy(), h, c, a, products, room)
        self.code = CODES[cell]
        x = np.zeros((B, weight_ih.shape[1]), dtype)
        announced(Use(cell, "one step", dtype), lambda: step(self.code, x, self.buffers))
        self.h = self.buffers.h
        self.state = (self.h, self.buffers.c) if cell in ("lstm", "lstm_coupled") else (self.h,)
        for array in self.state:
            array[...] = 0

    def __call__(self, x: Array) -> Array:
        """Takes the step ``x (B, I)``, contiguous, and gives h ``(B, H)``, which the next step replaces."""
        step(self.code, x, self.buffers)
        return self.h


@kernel
def step(code, x, buffers):
    """Takes a step: replaces ``buffers.h`` and ``buffers.c``."""
    (B, I), H, wide = x.shape, buffers.h.shape[1], len(buffers.bias)  # noqa: E741
    a, products, h, c = pointer(buffers.a), pointer(buffers.products), pointer(buffers.h), pointer(buffers.c)
    room = pointer(buffers.room)
    bias = pointer(buffers.bias)
    product(pointer(x), I, pointer(buffers.weight_ih), I, a, wide, B, wide, False)
    product(h, H, pointer(buffers.weight_hh), H, products, wide, B, wide, False)
    plain = opened((), h, 0, H)
    for r in range(B):
        row, at = shifted(a, r * wide), r * H
        if code < 2:
            rnn.row_forward(row, 0, bias, h, at, products, r * wide, shifted(h, at), a, plain, 0, H, code == 1, False)
        elif code == 2:
            bias_n = pointer(buffers.bias_n)
            gru.row_forward(row, 0, bias, bias_n, h, at, products, r * wide, shifted(h, at), a, a, plain, 0, H, False)
        else:
            coupled = code == 4
            gates = 3 if coupled else 4
            last = (gates - 1) * H
            lstm.write(row, 0, bias, c, at, products, r * wide, a, 0, room, plain, H, coupled, False)
            to, at_o = shifted(h, at), r * wide + last
            lstm.show(
                row, last, shifted(bias, last), h, c, at, products, at_o, to, a, a, room, 0, plain, 0, gates, H, False
            )
