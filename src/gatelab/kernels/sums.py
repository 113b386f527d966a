"""What a piece of a backward pass says about the weights, the biases and the input.

The gradients of the pre-activations of all steps never exist at once: those of a piece are summed up while they are in
the cache.

N rows of all steps, n rows of a piece, I input, H hidden, G gates.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from gatelab.kernels import steps as time
from gatelab.kernels.compiling import inlined, kernel, part
from gatelab.kernels.extras import seen, unless_plain
from gatelab.kernels.frame import Frame, Gradients, clear, copy
from gatelab.kernels.norm import normalise_gate_backward
from gatelab.kernels.product import Right, add_outer, grains, pack_row, product
from gatelab.kernels.simd import lanes, load, peek, poke, shifted, store, there


class Sums(NamedTuple):
    """What a thread adds up, by addresses."""

    weight_ih: int  # (G·H, I); narrow, transposed
    weight_hh: int  # (G·H, H)
    bias: int  # (G·H or 4H,) Σ d
    gain_ih: int  # (G·H,)
    gain: int  # (G·H,)
    own: int  # (5, H) of an LSTM: gain_c, bias_c and the peepholes in their order
    columns: int  # of d
    narrow: bool  # the input has few columns


class Working(NamedTuple):
    """Room for a backward pass over some items, by addresses, and the distances of rows.

    A row of ``d`` is ∂loss/∂(recurrent side of the pre-activations), G·H, and behind it of the GRU ∂loss/∂(input's side
    of n), H: with the first 2H the gradient of the input's side.
    """

    d: int  # (n, ≥ G·H or 4H)
    step: int
    product: int  # (n, ≥ G·H) for ∂loss/∂(h W_hh) where it is normalised
    step_p: int
    gathered: int  # (n, ≥ I)
    step_g: int
    seen: int  # (H,)
    before: int  # for the panels of what W_hh read
    panels: int  # for the panels of the rows, or, narrow, of the input's side of d
    outer: int  # for ``add_outer``
    masked: int  # (items, H) with a mask
    fresh: int  # (3, H) of an LSTM
    most: int  # n


class Open(NamedTuple):
    """Both, and what is read, for use inside a loop."""

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
    own: Any
    room: Any
    most: int
    narrow: bool


@inlined
def opened(f, g, w, sums, room, like):
    """``Open`` of a frame, its gradients, packed weights, sums, which become zeros, and room."""
    _clear(sums, f, like)
    return Open(
        there(room.d, like),
        room.step,
        sums.columns,
        there(room.product, like),
        room.step_p,
        there(room.seen, like),
        there(room.before, like),
        there(f.rows, like),
        f.size,
        there(room.gathered, like),
        room.step_g,
        there(room.panels, like),
        g.rows != 0,
        w.ih,
        w.ih_n,
        there(g.rows, like),
        there(sums.weight_ih, like),
        there(sums.weight_hh, like),
        f.width,
        f.hidden,
        there(sums.bias, like),
        there(sums.gain_ih, like),
        there(sums.gain, like),
        there(sums.own, like),
        there(room.outer, like),
        room.most,
        sums.narrow,
    )


@part
def _clear(sums, f, like):
    """Sets the sums to zero; here, for torch would do it with all its threads, and wait for them."""
    clear(there(sums.weight_ih, like), f.width * f.size)
    clear(there(sums.weight_hh, like), f.width * f.hidden)
    clear(there(sums.bias, like), sums.columns)
    if sums.gain != 0:
        clear(there(sums.gain_ih, like), f.width)
        clear(there(sums.gain, like), f.width)
    if sums.own != 0:
        clear(there(sums.own, like), 5 * f.hidden)


# ---- a piece -------------------------------------------------------------------------------------------------------


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
        _normalise_backward(extras, s, begin, end, x, shared)
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
                here = shifted(x.gathered, (time.own_row(s, t, begin) + r) * x.step_g)
                copy(here, x.size, shifted(x.drows, (time.row(s, t) + r) * x.size))


@unless_plain(lambda extras, x, here, row, gates: None)
def normalise_states(extras, x, here, row, gates):
    """From ∂loss/∂(recurrent side of the pre-activations) to ∂loss/∂(h W_hh), of the row ``here`` of the piece."""
    H = x.hidden
    for gate in range(gates if extras.normalised else 0):
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
            pack_row(seen(extras, shifted(state, at), r, 1, H, x.seen), H, x.before, here, n)


@unless_plain(lambda extras, s, begin, end, x, shared: None)
def _normalise_backward(extras, s, begin, end, x, shared):
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
                copy(shifted(x.rows, row), x.size, shifted(x.gathered, here * x.step_g))
            else:
                pack_row(shifted(x.rows, row), x.size, x.panels, here, n)


@part
def _add_narrow(x, n, shared):
    """Adds to the gradient of W_ih, transposed: the few columns of the input do not have to fill vectors."""
    for here in range(n):
        if shared < x.width:  # side by side
            copy(shifted(x.d, here * x.step + x.width), x.width - shared, shifted(x.d, here * x.step + shared))
        pack_row(shifted(x.d, here * x.step), x.width, x.panels, here, n)
    to = Right(x.panels, x.width, x.dweight_ih, x.width)
    add_outer(x.gathered, x.step_g, x.size, n, to, _nothing(x), x.room)


# ---- the whole pass --------------------------------------------------------------------------------------------------


@kernel
def merge(like, layer, whole, part):
    """Adds the sums that are a ``part``, another thread's, to the ``whole``."""
    f, sums, more = Frame(*layer), Sums(*whole), Sums(*part)
    _merge(sums.weight_ih, more.weight_ih, f.width * f.size, like)
    _merge(sums.weight_hh, more.weight_hh, f.width * f.hidden, like)
    _merge(sums.bias, more.bias, sums.columns, like)
    if sums.gain != 0:
        _merge(sums.gain_ih, more.gain_ih, f.width, like)
        _merge(sums.gain, more.gain, f.width, like)
    if sums.own != 0:
        _merge(sums.own, more.own, 5 * f.hidden, like)


@part
def _merge(sums, more, size, like):
    x, y = there(sums, like), there(more, like)
    for j in range(0, size, lanes(x)):
        store(x, j, size - j, load(x, j, size - j) + load(y, j, size - j))


@kernel
def show(like, layer, gradients, whole, peepholes):
    """Writes those gradients that are not summed up in their own place.

    Args:
        like: an array whose type of numbers is that of all others.
        layer, gradients: its ``Frame`` and ``Gradients``.
        whole: the ``Sums`` of all threads.
        peepholes: how many there are.
    """
    f, g, sums = Frame(*layer), Gradients(*gradients), Sums(*whole)
    H, bias = f.hidden, there(sums.bias, like)
    if sums.narrow:
        _turn(there(sums.weight_ih, like), f.size, f.width, there(g.weight_ih, like))
    if g.bias_ih != 0:
        shared = f.width - (sums.columns - f.width)
        copy(bias, f.width, there(g.bias_hh, like))
        copy(bias, shared, there(g.bias_ih, like))
        copy(shifted(bias, f.width), f.width - shared, shifted(there(g.bias_ih, like), shared))
    if g.gain_c != 0:
        copy(there(sums.own, like), H, there(g.gain_c, like))
        copy(shifted(there(sums.own, like), H), H, there(g.bias_c, like))
    if g.peephole != 0:
        copy(shifted(there(sums.own, like), 2 * H), peepholes * H, there(g.peephole, like))


@part
def _turn(source, rows, columns, target):
    """``target (columns, rows)``, the transpose of ``source``."""
    for row in range(rows):
        for column in range(columns):
            poke(target, column * rows + row, peek(source, row * columns + column))
