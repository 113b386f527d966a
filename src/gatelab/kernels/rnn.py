"""Vanilla network over a whole sequence, with tanh or ReLU; the twin of ``gatelab.cells.rnn``.

    h' = tanh(a + s)      or relu(…);    s = h W_hh (normalised, where wanted)
                                         a = x W_ih + biases, computed for a piece of steps beforehand

B items, N rows of all steps, H hidden.
"""

from __future__ import annotations

from gatelab.kernels import extras as optional
from gatelab.kernels import frame
from gatelab.kernels import inputs as before
from gatelab.kernels import steps as time
from gatelab.kernels import sums as after
from gatelab.kernels.activations import tanh
from gatelab.kernels.compiling import inlined, kernel
from gatelab.kernels.extras import carried_h, masked_back, normalise, seen, zoned_h
from gatelab.kernels.frame import Frame, Gradients
from gatelab.kernels.product import product
from gatelab.kernels.simd import at_least, lanes, load, shifted, store, there, where_above
from gatelab.kernels.sums import Sums

GATES = 1


@kernel
def forward(like, way, layer, extras, weights, room, relu, keep):
    """All steps of some items.

    Args:
        like: an array whose type of numbers is that of all others.
        way: the items' rows.
        layer: its ``Frame``, of which ``gates`` are written where ``keep`` and zoneout sets them apart from out.
        extras: normalisation, masks and zoneout.
        weights: packed for the way forward.
        room: to work in.
        relu: ReLU in the place of tanh.
    """
    f, w, room = Frame(*layer), frame.opened(weights, like), before.Working(*room)
    H, wide, s = f.hidden, room.wide, time.opened(way)
    x = optional.opened(extras, like, s.first, H)
    i, ph = before.opened(f, w.ih, room, like), frame.begun(f.h0, f.h, like, s.first, s.items, H)
    po, pc = there(f.out, like), there(f.gates, like)
    pb, pp, pm = w.bias, there(room.products, like), there(room.masked, like)
    done = 0
    while done < s.T:
        begin, end = time.piece(s, done, i.most, s.backwards)
        before.project(s, begin, end, i, x, GATES, keep)
        for step in range(end - begin):
            t = end - 1 - step if s.backwards else begin + step
            rows, first, here = time.count(s, t), time.row(s, t), time.own_row(s, t, begin)
            product(seen(x, ph, 0, rows, H, pm), H, w.hh, H, pp, wide, rows, H, False)
            for r in range(rows):
                row, at_p = first + r, r * wide
                normalise(x, pp, at_p, row, GATES, H, keep)
                row_forward(i.a, (here + r) * i.step_a, pb, ph, r * H, pp, at_p, po, pc, x, row * H, H, relu, keep)
        done += end - begin


@inlined
def row_forward(a, at_a, bias, h, at_h, p, at_p, out, contents, x, at_row, H, relu, keep):
    """The equation for one item: from its products at ``p`` to its state at ``h`` and in ``out``."""
    for j in range(0, H, lanes(a)):
        left, o = H - j, at_row + j
        pre = load(a, at_a + j, left) + load(bias, j, left) + load(p, at_p + j, left)
        new = at_least(pre, 0.0) if relu else tanh(pre)
        if x.zoned and keep:
            store(contents, o, left, new)
        new = zoned_h(x, new, h, at_h + j, o, left)
        store(h, at_h + j, left, new)
        store(out, o, left, new)


@kernel
def backward(like, way, layer, gradients, extras, weights, own, room, relu):
    """The same steps backwards.

    Args:
        like, way, layer, extras, relu: as in ``forward``.
        gradients: of the initial state all is done; those of the weights come from what is summed up.
        weights: packed for the way back.
        own: the ``Sums`` of this thread.
        room: to work in.
    """
    f, g, w, room = Frame(*layer), Gradients(*gradients), frame.opened(weights, like), after.Working(*room)
    H, s = f.hidden, time.opened(way)
    x, u = optional.opened(extras, like, s.first, H), after.opened(f, g, w, Sums(*own), room, like)
    po, p0 = there(f.out, like), shifted(there(f.h0, like), s.first * H)
    pc = there(f.gates, like) if f.gates != 0 else po
    pdo, pdh, pm = there(g.out, like), frame.begun(g.h, g.h0, like, s.first, s.items, H), there(room.masked, like)
    d, step_d = (u.dproduct, u.step_p) if x.normalised else (u.d, u.step)
    done = 0
    while done < s.T:
        begin, end = time.piece(s, done, u.most, not s.backwards)
        for step in range(end - begin):
            t = begin + step if s.backwards else end - 1 - step
            rows, first, here = time.count(s, t), time.row(s, t), time.own_row(s, t, begin)
            for r in range(rows):
                _row_backward(pc, pdo, pdh, r * H, u.d, (here + r) * u.step, x, (first + r) * H, H, relu)
                after.normalise_states(x, u, here + r, first + r, GATES)
            to, add = pm if x.masked else pdh, x.zoned and not x.masked  # only by zoneout goes anything past W_hh
            product(shifted(d, here * step_d), step_d, w.hh, H, to, H, rows, H, add)
            masked_back(x, pm, rows, H, x.zoned, pdh)
        after.add_up(s, begin, end, u, x, po, p0)
        done += end - begin


@inlined
def _row_backward(contents, dout, dh, at_dh, d, at_d, x, at_row, H, relu):
    for j in range(0, H, lanes(contents)):
        left, o = H - j, at_row + j
        dnew = load(dh, at_dh + j, left) + load(dout, o, left)
        if x.zoned:
            carry = carried_h(x, dnew, o, left)
            dnew = dnew - carry
            store(dh, at_dh + j, left, carry)
        new = load(contents, o, left)
        # Of relu as torch has it: what is not a number goes back, and what is not above 0 does not, whatever comes.
        store(d, at_d + j, left, where_above(new, 0.0, dnew) if relu else dnew * (1.0 - new * new))
