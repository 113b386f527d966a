"""Vanilla network over a whole sequence, with tanh or ReLU; the twin of ``gatelab.cells.rnn``.

    h' = tanh(a + s)      or relu(…);    s = h W_hh (normalised, where wanted)
                                         a = x W_ih + biases, computed for all steps beforehand

B items, N rows of all steps, H hidden.
"""

from __future__ import annotations

from numba import njit

from gatelab.kernels import extras as optional
from gatelab.kernels import steps as time
from gatelab.kernels.activations import tanh
from gatelab.kernels.compiling import kernel
from gatelab.kernels.extras import add_masked, kept, normalise_gate_backward, normalise_gates, seen
from gatelab.kernels.product import product
from gatelab.kernels.simd import at_least, lanes, load, pointer, positive, store, zeros

GATES = 1


@kernel
def forward(steps, a, weight, h, out, extras, products, masked, relu, keep):
    """Some of the steps, of all items.

    Args:
        steps: which of them.
        a: ``(n, H)`` from row ``steps.base`` on, the input's side of the pre-activations; where ``keep`` with zoneout,
            the new contents are written over it.
        weight: ``W_hh`` transposed and packed.
        h: ``(B, H)`` the state, initial before and final after.
        out: ``(N, H)`` the states after every step, written; without zoneout it may be a itself.
        extras: normalisation, masks and zoneout.
        products, masked: room for ``(B, blocks · width)`` and, with a mask, ``(B, H)``.
        relu: ReLU in the place of tanh.
    """
    H, wide, blocks = h.shape[1], products.shape[1], len(weight)
    s, x = time.opened(steps), optional.opened(extras)
    pa, w, ph, po, pp, pm = (pointer(a), pointer(weight), pointer(h), pointer(out), pointer(products), pointer(masked))
    for index in range(steps.begin, steps.end):
        t = time.at(s, index)
        rows, first = time.count(s, t), time.row(s, t)
        if x.masked:
            seen(ph, H, x.mask, rows, H, pm)
        product(pm if x.masked else ph, 0, H, w, blocks, H, pp, 0, wide, rows, False)
        for r in range(rows):
            if x.normalised:
                normalise_gates(pp, r * wide, x, first + r, GATES, H, keep)
            at_a = (first + r - steps.base) * H
            row_forward(pa, at_a, ph, r * H, pp, r * wide, po, x, (first + r) * H, H, relu, keep)


@njit(error_model="numpy")
def row_forward(a, at_a, h, at_h, p, at_p, out, x, at_row, H, relu, keep):
    """The equation for one item: from its products at ``p`` to its state at ``h`` and in ``out``."""
    for j in range(0, H, lanes(a)):
        left, o = H - j, at_row + j
        pre = load(a, at_a + j, left) + load(p, at_p + j, left)
        new = at_least(pre, 0.0) if relu else tanh(pre)
        if x.zoned:
            if keep:
                store(a, at_a + j, left, new)
            new = new + kept(x.random, x.zoneout_h, o, left, x.kept_h, new) * (load(h, at_h + j, left) - new)
        store(h, at_h + j, left, new)
        store(out, o, left, new)


@kernel
def backward(steps, contents, dout, dh, da, weight, dproduct, extras, room, relu):
    """The same steps backwards.

    Args:
        steps, extras, relu: as in ``forward``.
        contents: ``(N, H)`` the new content of every step.
        dout: ``(N, H)`` ∂loss/∂out.
        dh: ``(B, width)`` ∂loss/∂(final state) before, ∂loss/∂(initial state) after; padded to whole blocks.
        da: ``(n, H)`` from row ``steps.base`` on, ∂loss/∂a, written: the gradient of the recurrent side, too.
        weight: ``W_hh`` packed.
        dproduct: ``(n, H)`` likewise, ∂loss/∂(h W_hh) where it is normalised.
        room: with a mask, ``(B, width)``.
    """
    H, wide, blocks = da.shape[1], dh.shape[1], len(weight)
    s, x = time.opened(steps), optional.opened(extras)
    pn, pdo, pdh, pda, w = pointer(contents), pointer(dout), pointer(dh), pointer(da), pointer(weight)
    pdp, pr = pointer(dproduct), pointer(room)
    for index in range(steps.end - 1, steps.begin - 1, -1):
        t = time.at(s, index)
        rows, first = time.count(s, t), time.row(s, t)
        for r in range(rows):
            row, here = first + r, first + r - steps.base
            _row_backward(pn, pdo, pdh, r * wide, pda, here * H, x, row * H, H, relu)
            if x.normalised:
                normalise_gate_backward(pda, here * H, x, row, 0, GATES, H, pdp, here)
        d = pdp if x.normalised else pda
        product(d, (first - steps.base) * H, H, w, blocks, H, pr if x.masked else pdh, 0, wide, rows, not x.masked)
        if x.masked:
            add_masked(pdh, wide, x.mask, rows, H, pr)


@njit(error_model="numpy")
def _row_backward(contents, dout, dh, at_dh, da, at_da, x, at_row, H, relu):
    for j in range(0, H, lanes(contents)):
        left, o = H - j, at_row + j
        dnew = load(dh, at_dh + j, left) + load(dout, o, left)
        carry = zeros(dh)
        if x.zoned:
            carry = kept(x.random, x.zoneout_h, o, left, x.kept_h, dnew) * dnew
            dnew = dnew - carry
        new = load(contents, o, left)
        slope = positive(new) if relu else 1.0 - new * new
        store(da, at_da + j, left, dnew * slope)
        store(dh, at_dh + j, left, carry)
