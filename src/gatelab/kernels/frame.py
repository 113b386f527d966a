"""What a pass reads and writes, as compiled code is told of it: sizes, and addresses of C-contiguous arrays.

An address of 0 means that there is no such array. Addresses, because arrays would have to be made and unpacked for
every call, and a pass over a short sequence is over before that is done. Whoever gives them sees to it that the arrays
have these shapes, one type of numbers, and live until the call returns (``gatelab.nn.recurrence``).

Kernels take all of it as plain tuples (``bare``) and give the fields their names again: of a tuple, Numba knows the
type in half a microsecond, of a NamedTuple in five.

B items, N rows of all steps, I input, H hidden, G gates.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from gatelab.kernels.compiling import inlined, kernel, part
from gatelab.kernels.product import pack, pack_turned
from gatelab.kernels.simd import lanes, load, shifted, store, there, zeros


class Frame(NamedTuple):
    """One layer in one direction: what goes in, and what a forward pass leaves for the way back."""

    size: int  # I
    hidden: int  # H
    width: int  # G·H
    rows: int  # (N, I)
    weight_ih: int  # (G·H, I)
    weight_hh: int  # (G·H, H)
    bias_ih: int  # (G·H,)
    bias_hh: int  # (G·H,) where there is the other one
    h0: int  # (B, H) initial state
    c0: int  # (B, H)
    out: int  # (N, H) h after every step, written
    gates: int  # (N, G·H) written; of the vanilla network the new contents where zoneout sets them apart from out
    other: int  # (N, H) written: the LSTM's c after every step, the GRU's recurrent side of n
    h: int  # (B, H) final state, written
    c: int  # (B, H) likewise


class Gradients(NamedTuple):
    """∂loss/∂ what a forward pass gave, which is read, and ∂loss/∂ what it was given, which is written."""

    out: int  # (N, H)
    h: int  # (B, H) 0: zeros
    c: int  # (B, H) likewise
    rows: int  # (N, I) 0: not wanted
    weight_ih: int  # (G·H, I)
    weight_hh: int  # (G·H, H)
    bias_ih: int  # (G·H,)
    bias_hh: int  # (G·H,)
    h0: int  # (B, H)
    c0: int  # (B, H)
    gain_ih: int  # (G·H,)
    gain: int  # (G·H,)
    gain_c: int  # (H,)
    bias_c: int  # (H,)
    peephole: int  # (3·H,) or (2·H,)


class Weights(NamedTuple):
    """The weights as a pass reads them, ``packed``; addresses, and for use inside a loop places."""

    hh: Any  # W_hh, forward transposed
    ih: Any  # W_ih, forward transposed; backward its rows whose gradients are those of the recurrent side, too
    ih_n: Any  # backward: the GRU's rest of it
    bias: Any  # (G·H,) forward: all biases that add up
    bias_n: Any  # (H,) forward: the GRU's ``bias_hh`` of n, which its reset gate reaches


def bare(*groups: tuple) -> list[tuple]:
    """NamedTuples as kernels take them."""
    return [tuple(group) for group in groups]


@inlined
def opened(weights, like):
    """``Weights`` for use inside a loop."""
    w = Weights(*weights)
    return Weights(
        there(w.hh, like), there(w.ih, like), there(w.ih_n, like), there(w.bias, like), there(w.bias_n, like)
    )


@kernel
def pack_forward(like, layer, weights, shared):
    """Fills ``weights`` for the way forward; of the biases, ``shared`` rows add up on both sides."""
    f, w = Frame(*layer), opened(weights, like)
    H = f.hidden
    pack_turned(there(f.weight_hh, like), f.width, H, w.hh)
    pack_turned(there(f.weight_ih, like), f.width, f.size, w.ih)
    if f.bias_ih != 0:
        first, second = there(f.bias_ih, like), there(f.bias_hh, like)
        _add(first, second, shared, w.bias)
        copy(shifted(first, shared), f.width - shared, shifted(w.bias, shared))
        copy(shifted(second, shared), f.width - shared, w.bias_n)
    else:
        clear(w.bias, f.width)
        clear(w.bias_n, f.width - shared)


@kernel
def pack_backward(like, layer, weights, shared, of_rows):
    """Fills ``weights`` for the way back, those for the gradients ``of_rows`` where they are wanted."""
    f, w = Frame(*layer), opened(weights, like)
    weight_ih = there(f.weight_ih, like)
    pack(there(f.weight_hh, like), f.width, f.hidden, w.hh)
    if of_rows:
        pack(weight_ih, shared, f.size, w.ih)
        pack(shifted(weight_ih, shared * f.size), f.width - shared, f.size, w.ih_n)


@inlined
def begun(initial, state, like, first, rows, H):
    """Where the ``rows`` of ``state (B, H)`` from ``first`` on stand, after they became those of ``initial``, or 0."""
    here = shifted(there(state, like), first * H)
    if initial != 0:
        copy(shifted(there(initial, like), first * H), rows * H, here)
    else:
        clear(here, rows * H)
    return here


# ---- numbers in a row ------------------------------------------------------------------------------------------------


@part
def copy(source, size, target):
    """``target = source``, ``size`` numbers."""
    for j in range(0, size, lanes(source)):
        store(target, j, size - j, load(source, j, size - j))


@part
def clear(target, size):
    """``target = 0``, ``size`` numbers."""
    for j in range(0, size, lanes(target)):
        store(target, j, size - j, zeros(target))


@part
def _add(x, y, size, target):
    for j in range(0, size, lanes(x)):
        store(target, j, size - j, load(x, j, size - j) + load(y, j, size - j))
