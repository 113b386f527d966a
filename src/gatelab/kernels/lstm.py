"""Long short-term memory over a whole sequence; the twin of ``gatelab.cells.lstm``.

    i  = σ(a_i + s_i + p_i ⊙ c)          s = h W_hh (normalised, where wanted)
    f  = σ(a_f + s_f + p_f ⊙ c)          a = x W_ih + biases, computed for a piece of steps beforehand
    g  = tanh(a_g + s_g)                 p: peepholes, where there are any
    c' = f ⊙ c + i ⊙ g
    o  = σ(a_o + s_o + p_o ⊙ c')
    h' = o ⊙ tanh(c')                    of the normalised c', where wanted

Coupled, i = 1 − f, and there are three blocks of gates: f, g, o.

B items, N rows of all steps, H hidden, G gates: 4, or 3 when coupled.
"""

from __future__ import annotations

from gatelab.kernels import extras as optional
from gatelab.kernels import frame
from gatelab.kernels import inputs as before
from gatelab.kernels import steps as time
from gatelab.kernels import sums as after
from gatelab.kernels.activations import sigmoid, tanh
from gatelab.kernels.compiling import inlined, kernel, part
from gatelab.kernels.extras import (
    carried_c,
    carried_h,
    masked_back,
    normalise,
    normalise_c,
    normalise_c_backward,
    peeped,
    rescaled,
    seen,
    zoned_c,
    zoned_h,
)
from gatelab.kernels.frame import Frame, Gradients
from gatelab.kernels.product import product
from gatelab.kernels.simd import lanes, load, shifted, store, there, zeros
from gatelab.kernels.sums import Sums


@kernel
def forward(like, way, layer, extras, weights, room, coupled, keep):
    """All steps of some items.

    Args:
        like: an array whose type of numbers is that of all others.
        way: the items' rows.
        layer: its ``Frame``, of which ``gates`` and ``other``, c after every step, are written where ``keep``.
        extras: normalisation, masks, zoneout and peepholes.
        weights: packed for the way forward.
        room: to work in.
        coupled: i = 1 − f.
    """
    f, w, room = Frame(*layer), frame.opened(weights, like), before.Working(*room)
    H, wide, gates, s = f.hidden, room.wide, 3 if coupled else 4, time.opened(way)
    x = optional.opened(extras, like, s.first, H)
    i, ph = before.opened(f, w.ih, room, like), frame.begun(f.h0, f.h, like, s.first, s.items, H)
    pc, pb = frame.begun(f.c0, f.c, like, s.first, s.items, H), w.bias
    po, pr, pcs = there(f.out, like), there(f.gates, like), there(f.other, like)
    pp, pm, fresh = there(room.products, like), there(room.masked, like), there(room.fresh, like)
    done = 0
    while done < s.T:
        begin, end = time.piece(s, done, i.most, s.backwards)
        before.project(s, begin, end, i, x, gates, keep)
        for step in range(end - begin):
            t = end - 1 - step if s.backwards else begin + step
            rows, first, here = time.count(s, t), time.row(s, t), time.own_row(s, t, begin)
            product(seen(x, ph, 0, rows, H, pm), H, w.hh, H, pp, wide, rows, gates * H, False)
            for r in range(rows):
                row, at_a, at_p = first + r, (here + r) * i.step_a, r * wide
                normalise(x, pp, at_p, row, gates, H, keep)
                write(i.a, at_a, pb, pc, r * H, pp, at_p, pr, row * gates * H, fresh, x, H, coupled, keep)
                shown, _ = normalise_c(x, fresh, H)
                o = (gates - 1) * H
                show(
                    i.a,
                    at_a + o,
                    shifted(pb, o),
                    ph,
                    pc,
                    r * H,
                    pp,
                    at_p + o,
                    po,
                    pr,
                    pcs,
                    fresh,
                    shown,
                    x,
                    row,
                    gates,
                    H,
                    keep,
                )
        done += end - begin


@part
def write(a, at_a, bias, c, at_c, p, at_p, record, at_r, fresh, x, H, coupled, keep):
    """The gates that write, and the new c."""
    at_f = 0 if coupled else H
    for j in range(0, H, lanes(a)):
        left, k = H - j, at_a + j
        old = load(c, at_c + j, left)
        zf = load(a, k + at_f, left) + load(bias, at_f + j, left) + load(p, at_p + at_f + j, left)
        f = sigmoid(peeped(x, zf, old, at_f + j, left))
        if coupled:
            i = 1.0 - f
        else:
            zi = load(a, k, left) + load(bias, j, left) + load(p, at_p + j, left)
            i = sigmoid(peeped(x, zi, old, j, left))
        at_g = at_f + H + j
        g = tanh(load(a, at_a + at_g, left) + load(bias, at_g, left) + load(p, at_p + at_g, left))
        store(fresh, j, left, f * old + i * g)
        if keep:
            to = at_r + j
            if not coupled:
                store(record, to, left, i)
            store(record, to + at_f, left, f)
            store(record, to + at_f + H, left, g)


@part
def show(a, at_a, bias, h, c, at_h, p, at_p, out, record, cells, fresh, shown, x, row, gates, H, keep):
    """The gate that shows, the new h, and zoneout of both states."""
    for j in range(0, H, lanes(a)):
        left, n = H - j, row * H + j
        new_c = load(fresh, j, left)
        zo = load(a, at_a + j, left) + load(bias, j, left) + load(p, at_p + j, left)
        o = sigmoid(peeped(x, zo, new_c, (gates - 2) * H + j, left))
        new_h = o * tanh(rescaled(x, load(fresh, shown + j, left), j, left))
        new_h = zoned_h(x, new_h, h, at_h + j, n, left)
        new_c = zoned_c(x, new_c, c, at_h + j, n, left)
        store(h, at_h + j, left, new_h)
        store(c, at_h + j, left, new_c)
        store(out, n, left, new_h)
        if keep:
            store(cells, n, left, new_c)
            store(record, (row * gates + gates - 1) * H + j, left, o)


@kernel
def backward(like, way, layer, gradients, extras, weights, own, room, coupled):
    """The same steps backwards.

    Args:
        like, way, layer, extras, coupled: as in ``forward``.
        gradients: of the initial state all is done; those of the weights come from what is summed up.
        weights: packed for the way back.
        own: the ``Sums`` of this thread.
        room: to work in.
    """
    f, g, w, room = Frame(*layer), Gradients(*gradients), frame.opened(weights, like), after.Working(*room)
    H, gates, s = f.hidden, 3 if coupled else 4, time.opened(way)
    x, u = optional.opened(extras, like, s.first, H), after.opened(f, g, w, Sums(*own), room, like)
    ps, pcs, po, pdo = there(f.gates, like), there(f.other, like), there(f.out, like), there(g.out, like)
    p0, pc0 = shifted(there(f.h0, like), s.first * H), shifted(there(f.c0, like), s.first * H)
    pdh = frame.begun(g.h, g.h0, like, s.first, s.items, H)
    pdc = frame.begun(g.c, g.c0, like, s.first, s.items, H)
    pde, pm, fresh = u.own, there(room.masked, like), there(room.fresh, like)
    d, step_d = (u.dproduct, u.step_p) if x.normalised else (u.d, u.step)
    done = 0
    while done < s.T:
        begin, end = time.piece(s, done, u.most, not s.backwards)
        for step in range(end - begin):
            t = begin + step if s.backwards else end - 1 - step
            rows, first, here = time.count(s, t), time.row(s, t), time.own_row(s, t, begin)
            for r in range(rows):
                previous, row, at_d = time.row_before(s, t, r), first + r, (here + r) * u.step
                old, at_old = (pcs, previous * H) if previous >= 0 else (pc0, r * H)
                _renew(ps, row * gates * H, old, at_old, fresh, H, coupled)
                shown, factor = normalise_c(x, fresh, H)
                _show_backward(ps, row * gates * H, pdo, pdh, r * H, u.d, at_d, fresh, shown, pde, x, row * H, H, gates)
                normalise_c_backward(x, fresh, factor, H, pde)
                _write_backward(ps, old, at_old, pdc, r * H, u.d, at_d, fresh, pde, x, row, H, coupled)
                after.normalise_states(x, u, here + r, row, gates)
            to, add = pm if x.masked else pdh, x.zoned and not x.masked  # only by zoneout goes anything past W_hh
            product(shifted(d, here * step_d), step_d, w.hh, gates * H, to, H, rows, H, add)
            masked_back(x, pm, rows, H, x.zoned, pdh)
        after.add_up(s, begin, end, u, x, po, p0)
        done += end - begin


@part
def _renew(record, at_row, old, at_old, fresh, H, coupled):
    """The new c as it was before zoneout and normalisation."""
    at_f = 0 if coupled else H
    for j in range(0, H, lanes(record)):
        left, k = H - j, at_row + j
        f, g = load(record, k + at_f, left), load(record, k + at_f + H, left)
        i = 1.0 - f if coupled else load(record, k, left)
        store(fresh, j, left, f * load(old, at_old + j, left) + i * g)


@part
def _show_backward(record, at_row, dout, dh, at_dh, da, at_da, fresh, shown, dextras, x, at_out, H, gates):
    """From ∂loss/∂h' to ∂loss/∂(pre-activation of o) and, behind the fresh c, ∂loss/∂(what tanh saw)."""
    at_o = (gates - 1) * H
    for j in range(0, H, lanes(record)):
        left, k = H - j, at_row + at_o + j
        dnew = load(dh, at_dh + j, left) + load(dout, at_out + j, left)
        if x.zoned:
            carry = carried_h(x, dnew, at_out + j, left)
            dnew = dnew - carry
            store(dh, at_dh + j, left, carry)
        o, normed = load(record, k, left), load(fresh, shown + j, left)
        tanh_c = tanh(rescaled(x, normed, j, left))
        dseen = dnew * o * (1.0 - tanh_c * tanh_c)
        if x.normalised_c:
            _add(dextras, H + j, left, dseen)
        store(fresh, 2 * H + j, left, dseen)
        store(da, at_da + at_o + j, left, dnew * tanh_c * o * (1.0 - o))


@part
def _write_backward(record, old, at_old, dc, at_dc, da, at_da, fresh, dextras, x, row, H, coupled):
    """From ∂loss/∂c' to ∂loss/∂(the other pre-activations) and ∂loss/∂c."""
    gates, at_f = (3, 0) if coupled else (4, H)
    for j in range(0, H, lanes(record)):
        left, k, d = H - j, row * gates * H + j, at_da + j
        dnew = load(dc, at_dc + j, left)
        carry = carried_c(x, dnew, row * H + j, left)
        dzo = load(da, d + (gates - 1) * H, left)
        dnew = peeped(x, dnew - carry + load(fresh, 2 * H + j, left), dzo, (gates - 2) * H + j, left)
        f, g, c = load(record, k + at_f, left), load(record, k + at_f + H, left), load(old, at_old + j, left)
        if coupled:
            i = 1.0 - f
            dzf = dnew * (c - g) * f * i
            dzi = zeros(dc)
        else:
            i = load(record, k, left)
            dzf = dnew * c * f * (1.0 - f)
            dzi = dnew * g * i * (1.0 - i)
            store(da, d, left, dzi)
        store(da, d + at_f, left, dzf)
        store(da, d + at_f + H, left, dnew * i * (1.0 - g * g))
        dold = peeped(x, carry + dnew * f, dzf, at_f + j, left)
        if not coupled:
            dold = peeped(x, dold, dzi, j, left)
        if x.peeping:
            _add(dextras, 2 * H + at_f + j, left, dzf * c)
            _add(dextras, gates * H + j, left, dzo * load(fresh, j, left))
            if not coupled:
                _add(dextras, 2 * H + j, left, dzi * c)
        store(dc, at_dc + j, left, dold)


@inlined
def _add(sums, at, left, value):
    store(sums, at, left, load(sums, at, left) + value)
