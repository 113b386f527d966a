"""Gated recurrent unit over a whole sequence, reset after the multiplication; the twin of ``gatelab.cells.gru``.

    r  = σ(a_r + s_r)        s = h W_hh (normalised, where wanted); s_n has its bias added
    z  = σ(a_z + s_z)        a = x W_ih + biases, computed for a piece of steps beforehand
    n  = tanh(a_n + r ⊙ s_n)
    h' = n + z ⊙ (h − n)

At each step one product serves all gates and items; then each row is taken through the equations, a vector at a time.

B items, N rows of all steps, H hidden.
"""

from __future__ import annotations

from gatelab.kernels import extras as optional
from gatelab.kernels import frame
from gatelab.kernels import inputs as before
from gatelab.kernels import steps as time
from gatelab.kernels import sums as after
from gatelab.kernels.activations import sigmoid, tanh
from gatelab.kernels.compiling import kernel, part
from gatelab.kernels.extras import carried_h, masked_back, normalise, seen, zoned_h
from gatelab.kernels.frame import Frame, Gradients
from gatelab.kernels.product import product
from gatelab.kernels.simd import lanes, load, shifted, store, there
from gatelab.kernels.sums import Sums

GATES = 3


@kernel
def forward(like, way, layer, extras, weights, room, keep):
    """All steps of some items.

    Args:
        like: an array whose type of numbers is that of all others.
        way: the items' rows.
        layer: its ``Frame``, of which ``gates`` (r, z and n) and ``other`` (the recurrent side of n) are written where
            ``keep``.
        extras: normalisation, masks and zoneout.
        weights: packed for the way forward.
        room: to work in.
    """
    f, w, room = Frame(*layer), frame.opened(weights, like), before.Working(*room)
    H, wide, s = f.hidden, room.wide, time.opened(way)
    x = optional.opened(extras, like, s.first, H)
    i, ph = before.opened(f, w.ih, room, like), frame.begun(f.h0, f.h, like, s.first, s.items, H)
    po, pg, ps = there(f.out, like), there(f.gates, like), there(f.other, like)
    pb, pbn, pp, pm = w.bias, w.bias_n, there(room.products, like), there(room.masked, like)
    done = 0
    while done < s.T:
        begin, end = time.piece(s, done, i.most, s.backwards)
        before.project(s, begin, end, i, x, GATES, keep)
        for step in range(end - begin):
            t = end - 1 - step if s.backwards else begin + step
            rows, first, here = time.count(s, t), time.row(s, t), time.own_row(s, t, begin)
            product(seen(x, ph, 0, rows, H, pm), H, w.hh, H, pp, wide, rows, GATES * H, False)
            for r in range(rows):
                row, at_p = first + r, r * wide
                normalise(x, pp, at_p, row, GATES, H, keep)
                row_forward(i.a, (here + r) * i.step_a, pb, pbn, ph, r * H, pp, at_p, po, pg, ps, x, row, H, keep)
        done += end - begin


@part
def row_forward(a, at_a, bias, bias_n, h, at_h, p, at_p, out, gates, s_n, x, row, H, keep):
    """The equations for one item: from its products at ``p`` to its state at ``h`` and in ``out``."""
    for j in range(0, H, lanes(a)):
        left, k, o = H - j, at_a + j, row * H + j
        reset = sigmoid(load(a, k, left) + load(bias, j, left) + load(p, at_p + j, left))
        z = sigmoid(load(a, k + H, left) + load(bias, H + j, left) + load(p, at_p + H + j, left))
        s = load(p, at_p + 2 * H + j, left) + load(bias_n, j, left)
        n = tanh(load(a, k + 2 * H, left) + load(bias, 2 * H + j, left) + reset * s)
        old = load(h, at_h + j, left)
        new = zoned_h(x, n + z * (old - n), h, at_h + j, o, left)
        store(h, at_h + j, left, new)
        store(out, o, left, new)
        if keep:
            g = row * 3 * H + j
            store(gates, g, left, reset)
            store(gates, g + H, left, z)
            store(gates, g + 2 * H, left, n)
            store(s_n, o, left, s)


@kernel
def backward(like, way, layer, gradients, extras, weights, own, room):
    """The same steps backwards.

    Args:
        like, way, layer, extras: as in ``forward``.
        gradients: of the initial state all is done; those of the weights come from what is summed up.
        weights: packed for the way back.
        own: the ``Sums`` of this thread.
        room: to work in.
    """
    f, g, w, room = Frame(*layer), Gradients(*gradients), frame.opened(weights, like), after.Working(*room)
    H, s = f.hidden, time.opened(way)
    x, u = optional.opened(extras, like, s.first, H), after.opened(f, g, w, Sums(*own), room, like)
    pg, ps, po = there(f.gates, like), there(f.other, like), there(f.out, like)
    p0, pdo, pm = shifted(there(f.h0, like), s.first * H), there(g.out, like), there(room.masked, like)
    pdh = frame.begun(g.h, g.h0, like, s.first, s.items, H)
    d, step_d = (u.dproduct, u.step_p) if x.normalised else (u.d, u.step)
    done = 0
    while done < s.T:
        begin, end = time.piece(s, done, u.most, not s.backwards)
        for step in range(end - begin):
            t = begin + step if s.backwards else end - 1 - step
            rows, first, here = time.count(s, t), time.row(s, t), time.own_row(s, t, begin)
            for r in range(rows):
                previous, row, at_d = time.row_before(s, t, r), first + r, (here + r) * u.step
                old, at_old = (po, previous * H) if previous >= 0 else (p0, r * H)
                _row_backward(pg, ps, old, at_old, pdo, pdh, r * H, u.d, at_d, x, row, H)
                after.normalise_states(x, u, here + r, row, GATES)
            product(shifted(d, here * step_d), step_d, w.hh, 3 * H, pm if x.masked else pdh, H, rows, H, not x.masked)
            masked_back(x, pm, rows, H, True, pdh)
        after.add_up(s, begin, end, u, x, po, p0)
        done += end - begin


@part
def _row_backward(gates, s_n, old, at_old, dout, dh, at_dh, d, at_d, x, row, H):
    for j in range(0, H, lanes(gates)):
        left, g, o = H - j, row * 3 * H + j, row * H + j
        dnew = load(dh, at_dh + j, left) + load(dout, o, left)
        carry = carried_h(x, dnew, o, left)
        dnew = dnew - carry
        reset, z = load(gates, g, left), load(gates, g + H, left)
        n, s = load(gates, g + 2 * H, left), load(s_n, o, left)
        dn = dnew * (1.0 - z) * (1.0 - n * n)
        k = at_d + j
        store(d, k, left, dn * s * reset * (1.0 - reset))
        store(d, k + H, left, dnew * (load(old, at_old + j, left) - n) * z * (1.0 - z))
        store(d, k + 2 * H, left, dn * reset)
        store(d, k + 3 * H, left, dn)
        store(dh, at_dh + j, left, carry + dnew * z)
