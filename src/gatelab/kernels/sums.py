"""What a piece of a backward pass says about the weights, the biases and the input.

The gradients of the pre-activations of all steps never exist at once: those of a piece are summed up while they are in
the cache.

N rows of all steps, n rows of a piece, I input, H hidden, G gates.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gatelab.kernels import steps as time
from gatelab.kernels.compiling import inlined, part
from gatelab.kernels.extras import seen
from gatelab.kernels.inputs import copy
from gatelab.kernels.norm import normalise_gate_backward
from gatelab.kernels.product import Right, add_outer, grains, pack_row, product
from gatelab.kernels.simd import lanes, load, pointer, shifted, store


class Sums(NamedTuple):
    """What is added to, and room for a piece.

    A row of ``d`` is ∂loss/∂(recurrent side of the pre-activations), G·H, and behind it of the GRU ∂loss/∂(input's side
    of n), H: with the first 2H the gradient of the input's side.
    """

    d: np.ndarray  # (n, ≥ G·H or 4H) room
    dproduct: np.ndarray  # (n, ≥ G·H) room for ∂loss/∂(h W_hh) where it is normalised; else empty
    seen: np.ndarray  # (H,) room, with a mask
    before: np.ndarray  # room for the panels of what W_hh read
    rows: np.ndarray  # (N, I)
    gathered: np.ndarray  # (n, ≥ I) room
    panels: np.ndarray  # room for the panels of the rows, or, narrow, of the input's side of d
    weight: np.ndarray  # (G·H or 2H, I) W_ih packed; empty where ∂loss/∂rows is not wanted
    weight_n: np.ndarray  # (H, I) the GRU's rest of it
    drows: np.ndarray  # (N, I) written
    dweight_ih: np.ndarray  # (G·H, I); narrow, transposed
    dweight_hh: np.ndarray  # (G·H, H)
    dbias: np.ndarray  # (G·H or 4H,) Σ d
    dgain_ih: np.ndarray  # (G·H,)
    dgain: np.ndarray  # (G·H,)
    room: np.ndarray  # for ``add_outer``
    most: int  # n
    narrow: bool  # the input has few columns


class Open(NamedTuple):
    """The same with addresses in the arrays' places."""

    d: Any
    step: int
    columns: int
    dproduct: Any
    step_p: int
    seen: Any
    before: Any
    rows: Any
    size: int
    gathered: Any
    step_g: int
    panels: Any
    wanted: bool
    weight: Any
    weight_n: Any
    drows: Any
    dweight_ih: Any
    dweight_hh: Any
    width: int
    hidden: int
    dbias: Any
    dgain_ih: Any
    dgain: Any
    room: Any
    most: int
    narrow: bool


@inlined
def opened(x):
    """``Sums`` for use inside a loop."""
    return Open(
        pointer(x.d),
        x.d.shape[1],
        len(x.dbias),
        pointer(x.dproduct),
        x.dproduct.shape[1],
        pointer(x.seen),
        pointer(x.before),
        pointer(x.rows),
        x.rows.shape[1],
        pointer(x.gathered),
        x.gathered.shape[1],
        pointer(x.panels),
        x.weight.size > 0,
        pointer(x.weight),
        pointer(x.weight_n),
        pointer(x.drows),
        pointer(x.dweight_ih),
        pointer(x.dweight_hh),
        x.dweight_hh.shape[0],
        x.dweight_hh.shape[1],
        pointer(x.dbias),
        pointer(x.dgain_ih),
        pointer(x.dgain),
        pointer(x.room),
        x.most,
        x.narrow,
    )


@part
def add_up(s, begin, end, x, extras, out, initial):
    """Sums up the steps from ``begin`` to ``end``, whose gradients are in ``x.d``.

    ``out (N, H)`` and ``initial (B, H)``, of these items, are where the states before the steps stand.
    """
    n, H = time.own_row(s, end, begin), x.hidden
    _add_rows(x, n)
    _pack_states(s, begin, end, x, extras, out, initial, n)
    shared = x.width - (x.columns - x.width)  # columns of d that are the gradient of both sides
    rest = x.width - shared
    states, none = Right(x.before, H, x.dweight_hh, H), _nothing(x)
    if extras.normalised:
        add_outer(x.dproduct, x.step_p, x.width, n, states, none, x.room)
        _normalise_backward(s, begin, end, x, extras, shared)
        states = none
    _pack_inputs(s, begin, end, x, n, shared)
    inputs = none if x.narrow else Right(x.panels, x.size, x.dweight_ih, x.size)
    add_outer(x.d, x.step, shared, n, states, inputs, x.room)
    if rest > 0:
        states_n, inputs_n = _below(states, shared), _below(inputs, shared)
        add_outer(shifted(x.d, shared), x.step, rest, n, states_n, none, x.room)
        add_outer(shifted(x.d, x.width), x.step, rest, n, inputs_n, none, x.room)
    if x.narrow:
        _add_narrow(x, n, shared)
    if x.wanted:
        product(x.d, x.step, x.weight, shared, x.gathered, x.step_g, grains(n), x.size, False)
        if rest > 0:
            d = shifted(x.d, x.width)
            product(d, x.step, x.weight_n, rest, x.gathered, x.step_g, grains(n), x.size, True)
        for t in range(begin, end):
            for r in range(time.count(s, t)):
                here = (time.own_row(s, t, begin) + r) * x.step_g
                copy(x.gathered, here, x.drows, (time.row(s, t) + r) * x.size, x.size)


@part
def normalise_states(x, here, extras, row, gates):
    """From ∂loss/∂(recurrent side of the pre-activations) to ∂loss/∂(h W_hh), of the row ``here`` of the piece."""
    H = x.hidden
    for gate in range(gates):
        at, to = here * x.step + gate * H, here * x.step_p + gate * H
        normalise_gate_backward(
            x.d, at, extras.gain, extras.normed, extras.factors, row, gate, gates, H, x.dgain, x.dproduct, to
        )


@part
def _add_rows(x, n):
    """Adds the rows of d to the gradient of the biases."""
    for j in range(0, x.columns, lanes(x.d)):
        left = x.columns - j
        sums = load(x.dbias, j, left)
        for r in range(n):
            sums = sums + load(x.d, r * x.step + j, left)
        store(x.dbias, j, left, sums)


@part
def _pack_states(s, begin, end, x, extras, out, initial, n):
    """What W_hh read at every row: the state before it, masked."""
    H = x.hidden
    for t in range(begin, end):
        for r in range(time.count(s, t)):
            before, here = time.row_before(s, t, r), time.own_row(s, t, begin) + r
            state, at = (out, before * H) if before >= 0 else (initial, r * H)
            if extras.masked:
                seen(shifted(state, at), H, shifted(extras.mask, r * H), 1, H, x.seen)
                pack_row(x.seen, H, x.before, here, n)
            else:
                pack_row(shifted(state, at), H, x.before, here, n)


@part
def _normalise_backward(s, begin, end, x, extras, shared):
    """From ∂loss/∂(input's side of the pre-activations) to ∂loss/∂(input product), in the place of d."""
    H, gates = x.hidden, x.width // x.hidden
    for t in range(begin, end):
        for r in range(time.count(s, t)):
            row, here = time.row(s, t) + r, (time.own_row(s, t, begin) + r) * x.step
            for gate in range(gates):
                at = here + (gate * H if gate * H < shared else x.width)
                gain, normed, factors = extras.gain_ih, extras.normed_ih, extras.factors_ih
                normalise_gate_backward(x.d, at, gain, normed, factors, row, gate, gates, H, x.dgain_ih, x.d, at)


@inlined
def _nothing(x):
    """No second right side."""
    return Right(x.panels, 0 * x.size, x.dweight_ih, x.size)


@inlined
def _below(right, rows):
    """The same from row ``rows`` of the sum on."""
    return Right(right.panels, right.columns, shifted(right.c, rows * right.step), right.step)


@part
def _pack_inputs(s, begin, end, x, n, shared):
    """The rows of the input for the sums; narrow, side by side beside the input's side of d as panels."""
    for t in range(begin, end):
        for r in range(time.count(s, t)):
            here, row = time.own_row(s, t, begin) + r, (time.row(s, t) + r) * x.size
            if x.narrow:
                copy(x.rows, row, x.gathered, here * x.step_g, x.size)
            else:
                pack_row(shifted(x.rows, row), x.size, x.panels, here, n)


@part
def _add_narrow(x, n, shared):
    """Adds to the gradient of W_ih, transposed: the few columns of the input do not have to fill vectors."""
    for here in range(n):
        if shared < x.width:  # side by side
            copy(x.d, here * x.step + x.width, x.d, here * x.step + shared, x.width - shared)
        pack_row(shifted(x.d, here * x.step), x.width, x.panels, here, n)
    to = Right(x.panels, x.width, x.dweight_ih, x.width)
    add_outer(x.gathered, x.step_g, x.size, n, to, _nothing(x), x.room)
