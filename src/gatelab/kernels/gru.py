"""Gated recurrent unit over a whole sequence, reset after the multiplication; the twin of ``gatelab.cells.gru``.

    r  = σ(a_r + s_r)        s = h W_hh (normalised, where wanted); s_n has its bias added
    z  = σ(a_z + s_z)        a = x W_ih + biases, computed for all steps beforehand
    n  = tanh(a_n + r ⊙ s_n)
    h' = n + z ⊙ (h − n)

At each step one product serves all gates and items; then each row is taken through the equations, a vector at a time.

B items, N rows of all steps, H hidden.
"""

from __future__ import annotations

from numba import njit

from gatelab.kernels import extras as optional
from gatelab.kernels import steps as time
from gatelab.kernels.activations import sigmoid, tanh
from gatelab.kernels.compiling import kernel
from gatelab.kernels.extras import add_masked, kept, normalise_gate_backward, normalise_gates, seen
from gatelab.kernels.product import product
from gatelab.kernels.simd import lanes, load, pointer, store, zeros

GATES = 3


@kernel
def forward(steps, a, weight, bias_n, h, out, s_n, extras, products, masked, keep):
    """Some of the steps, of all items.

    Args:
        steps: which of them.
        a: ``(n, 3H)`` from row ``steps.base`` on, the input's side of the pre-activations; where ``keep``, r, z and n
            are written over it.
        weight: ``W_hh`` transposed and packed.
        bias_n: ``(H,)`` the bias within the reset gate's reach.
        h: ``(B, H)`` the state, initial before and final after.
        out: ``(N, H)`` the states after every step, written.
        s_n: ``(N, H)`` the recurrent side of n, written where ``keep``.
        extras: normalisation, masks and zoneout.
        products, masked: room for ``(B, blocks · width)`` and, with a mask, ``(B, H)``.
    """
    H, wide, blocks = h.shape[1], products.shape[1], len(weight)
    s, x = time.opened(steps), optional.opened(extras)
    pa, w, pb, ph, po, ps = pointer(a), pointer(weight), pointer(bias_n), pointer(h), pointer(out), pointer(s_n)
    pp, pm = pointer(products), pointer(masked)
    for index in range(steps.begin, steps.end):
        t = time.at(s, index)
        rows, first = time.count(s, t), time.row(s, t)
        if x.masked:
            seen(ph, H, x.mask, rows, H, pm)
        product(pm if x.masked else ph, 0, H, w, blocks, H, pp, 0, wide, rows, False)
        for r in range(rows):
            if x.normalised:
                normalise_gates(pp, r * wide, x, first + r, GATES, H, keep)
            at_a = (first + r - steps.base) * GATES * H
            row_forward(pa, at_a, pb, ph, r * H, pp, r * wide, po, ps, x, first + r, H, keep)


@njit(error_model="numpy")
def row_forward(a, at_a, bias_n, h, at_h, p, at_p, out, s_n, x, row, H, keep):
    """The equations for one item: from its products at ``p`` to its state at ``h`` and in ``out``."""
    for j in range(0, H, lanes(a)):
        left, g, o = H - j, at_a + j, row * H + j
        reset = sigmoid(load(a, g, left) + load(p, at_p + j, left))
        z = sigmoid(load(a, g + H, left) + load(p, at_p + H + j, left))
        s = load(p, at_p + 2 * H + j, left) + load(bias_n, j, left)
        n = tanh(load(a, g + 2 * H, left) + reset * s)
        old = load(h, at_h + j, left)
        new = n + z * (old - n)
        if x.zoned:
            new = new + kept(x.random, x.zoneout_h, o, left, x.kept_h, new) * (old - new)
        store(h, at_h + j, left, new)
        store(out, o, left, new)
        if keep:
            store(a, g, left, reset)
            store(a, g + H, left, z)
            store(a, g + 2 * H, left, n)
            store(s_n, o, left, s)


@kernel
def backward(steps, gates, s_n, out, h0, dout, dh, da, ds, weight_rz, weight_n, dproduct, extras, room):
    """The same steps backwards.

    Args:
        steps, out, s_n, extras: as in ``forward``.
        gates: ``(N, 3H)`` r, z, n, as left in a.
        h0: ``(B, H)`` the initial state.
        dout: ``(N, H)`` ∂loss/∂out.
        dh: ``(B, width)`` ∂loss/∂(final state) before, ∂loss/∂(initial state) after; padded to whole blocks.
        da: ``(n, 3H)`` from row ``steps.base`` on, ∂loss/∂a, written.
        ds: ``(n, H)`` likewise, ∂loss/∂s_n: with the first 2H of ``da``, the gradient of the recurrent side.
        weight_rz, weight_n: the rows of ``W_hh`` for r and z, and for n, packed.
        dproduct: ``(n, 3H)`` likewise, ∂loss/∂(h W_hh) where it is normalised.
        room: with a mask, ``(B, width)``.
    """
    H, wide, blocks = h0.shape[1], dh.shape[1], len(weight_rz)
    s, x = time.opened(steps), optional.opened(extras)
    pg, ps, po, p0 = pointer(gates), pointer(s_n), pointer(out), pointer(h0)
    pdo, pdh = pointer(dout), pointer(dh)
    pda, pds, w_rz, w_n, pdp, pr = (
        pointer(da),
        pointer(ds),
        pointer(weight_rz),
        pointer(weight_n),
        pointer(dproduct),
        pointer(room),
    )
    for index in range(steps.end - 1, steps.begin - 1, -1):
        t = time.at(s, index)
        rows, first = time.count(s, t), time.row(s, t)
        for r in range(rows):
            before, row, here = time.row_before(s, t, r), first + r, first + r - steps.base
            old, at_old = (po, before * H) if before >= 0 else (p0, r * H)
            _row_backward(pg, ps, old, at_old, pdo, pdh, r * wide, pda, pds, here, x, row, H)
            if x.normalised:
                normalise_gate_backward(pda, here * 3 * H, x, row, 0, GATES, H, pdp, here)
                normalise_gate_backward(pda, here * 3 * H + H, x, row, 1, GATES, H, pdp, here)
                normalise_gate_backward(pds, here * H, x, row, 2, GATES, H, pdp, here)
        to, here = pr if x.masked else pdh, first - steps.base
        d_rz, d_n, at_n, step_n = (pdp, pdp, 3 * here * H + 2 * H, 3 * H) if x.normalised else (pda, pds, here * H, H)
        product(d_rz, 3 * here * H, 3 * H, w_rz, blocks, 2 * H, to, 0, wide, rows, not x.masked)
        product(d_n, at_n, step_n, w_n, blocks, H, to, 0, wide, rows, True)
        if x.masked:
            add_masked(pdh, wide, x.mask, rows, H, pr)


@njit(error_model="numpy")
def _row_backward(gates, s_n, old, at_old, dout, dh, at_dh, da, ds, here, x, row, H):
    for j in range(0, H, lanes(gates)):
        left, g, o = H - j, row * 3 * H + j, row * H + j
        dnew = load(dh, at_dh + j, left) + load(dout, o, left)
        carry = zeros(dh)
        if x.zoned:
            carry = kept(x.random, x.zoneout_h, o, left, x.kept_h, dnew) * dnew
            dnew = dnew - carry
        reset, z = load(gates, g, left), load(gates, g + H, left)
        n, s = load(gates, g + 2 * H, left), load(s_n, o, left)
        dn = dnew * (1.0 - z) * (1.0 - n * n)
        d = here * 3 * H + j
        store(da, d, left, dn * s * reset * (1.0 - reset))
        store(da, d + H, left, dnew * (load(old, at_old + j, left) - n) * z * (1.0 - z))
        store(da, d + 2 * H, left, dn)
        store(ds, here * H + j, left, dn * reset)
        store(dh, at_dh + j, left, carry + dnew * z)
