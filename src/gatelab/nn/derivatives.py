"""The way back through ``recurrence``, and the two together as a differentiable operation.

The gradients of the pre-activations of all steps never exist at once: a piece of a few hundred rows is computed step
by step, and goes into the gradients of the weights while it is in the cache. Asked for a graph of the backward pass
(for second derivatives), the operation computes itself anew in the open loop, which can be differentiated any number of
times.

T time, B batch, I input, H hidden, G gates, N rows of all steps together, n rows of a piece.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gatelab.nn import open_loop, sharing
from gatelab.nn.extras import EXTRAS, Extra, Noise, Weights
from gatelab.nn.recurrence import (
    LEARNED,
    Arguments,
    Results,
    array_of,
    extras_of,
    forward,
    rows_in_a_piece,
    some,
    way_of,
)
from gatelab.nn.sharing import Share


class Gradients(NamedTuple):
    """∂loss/∂ what the operation learns from; None where there is no such thing, or nobody asked."""

    rows: Tensor | None  # (N, I)
    weight_ih: Tensor  # (G·H, I)
    weight_hh: Tensor  # (G·H, H)
    bias_ih: Tensor | None  # (G·H,)
    bias_hh: Tensor | None  # (G·H,)
    h: Tensor  # (B, H)
    c: Tensor | None  # (B, H)
    gain_ih: Tensor | None  # (G·H,)
    gain: Tensor | None  # (G·H,)
    gain_c: Tensor | None  # (H,)
    bias_c: Tensor | None  # (H,)
    peephole: Tensor | None  # (3·H,) or (2·H,)


def empty_gradients(x: Arguments, of_rows: bool) -> Gradients:
    """Zeros to add to; ∂loss/∂rows is not initialised."""
    rows = x.rows.new_empty(x.rows.shape) if of_rows else None
    learned: list[Any] = [t if t is None else t.new_zeros(t.shape) for t in (getattr(x, name) for name in LEARNED[1:])]
    return Gradients(rows, *learned)


def gradients(x: Arguments, results: Results, given: Sequence[Tensor], of_rows: bool) -> Gradients:
    """All steps backward, from ∂loss/∂(outputs, final h, final c)."""
    from gatelab.kernels import scan

    found, way, out = empty_gradients(x, of_rows), way_of(x), array_of(results.out)
    steps = scan.Backward(
        x.cell,
        way,
        array_of(x.weight_hh),
        [array_of(s) for s in (x.h, x.c) if s is not None],
        out,
        scan.Record(array_of(results.gates) if results.gates.numel() else out, array_of(results.other)),
        extras_of(x, results),
        array_of(given[0]),
        [array_of(d) for d, s in zip(given[1:], (x.h, x.c), strict=True) if s is not None],
    )
    parts = scan.pieces(way, rows_in_a_piece(x))
    most, (width, H), new = max(part.last - part.first for part in parts), x.weight_hh.shape, x.rows.new_empty
    da, ds = new(most, width), new(most if x.cell == "gru" else 0, H)  # (n, G·H), (n, H)
    dproduct = new(most if x.gain is not None else 0, width)  # (n, G·H)
    before = _Before(x, results.out)
    for part in reversed(parts):
        rows, mine = slice(part.first, part.last), slice(0, part.last - part.first)
        piece = Piece(rows, some(da, mine), some(ds, mine), some(dproduct, mine), before(part.first, part.last))
        steps(scan.Gradients(*map(array_of, piece[1:4])), part.begin, part.end, part.first)
        _add_up(x, results, found, piece)
    if found.bias_ih is not None and found.bias_hh is not None:  # of n, the GRU has its own
        if x.cell == "gru":
            found.bias_hh[: 2 * H] = found.bias_ih[: 2 * H]
        else:
            found.bias_hh.copy_(found.bias_ih)
    for mine, theirs in zip((found.h, found.c), steps.initial_gradients(), strict=False):
        if mine is not None:
            mine.copy_(torch.from_numpy(theirs))
    if x.c is not None:
        own = torch.from_numpy(steps.extras_gradients())  # (5, H)
        for mine, theirs in ((found.gain_c, own[0]), (found.bias_c, own[1]), (found.peephole, own[2:].flatten())):
            if mine is not None:
                mine.copy_(theirs[: mine.shape[0]])
    return found


class Piece(NamedTuple):
    """What is known of some rows after their steps."""

    rows: slice
    da: Tensor  # (n, G·H) ∂loss/∂(input's side of the pre-activations)
    ds: Tensor  # (n, H) ∂loss/∂(recurrent side of n), of the GRU
    dproduct: Tensor  # (n, G·H) ∂loss/∂(recurrent product), where that is normalised
    before: Tensor  # (n, H) what weight_hh read


def _add_up(x: Arguments, results: Results, found: Gradients, piece: Piece) -> None:
    """Adds what a piece says about the weights."""
    rows, da, ds, dproduct, before = piece
    H, sides = x.h.shape[1], [da]  # ∂loss/∂(what the recurrent weights gave), after normalisation
    if x.cell == "gru":
        sides = [da[:, : 2 * H], ds]
    if found.bias_ih is not None and found.bias_hh is not None:
        found.bias_ih.add_(da.sum(0))
        if x.cell == "gru":
            found.bias_hh[2 * H :] += ds.sum(0)
    if x.gain_ih is not None:
        _normalise_backward(x, x.gain_ih, results, found, piece)
        sides = [dproduct]
    parts = found.weight_hh.split([side.shape[1] for side in sides]) if len(sides) > 1 else [found.weight_hh]
    for mine, side in zip(parts, sides, strict=True):
        mine.addmm_(side.t(), before)
    found.weight_ih.addmm_(da.t(), some(x.rows, rows))
    if found.rows is not None:
        torch.mm(da, x.weight_ih, out=some(found.rows, rows))


def _normalise_backward(x: Arguments, gain_ih: Tensor, results: Results, found: Gradients, piece: Piece) -> None:
    """∂loss/∂ both gains, and ``piece.da`` from the normalised input product to the product itself."""
    from gatelab.kernels import norm

    da, ds, normed = array_of(piece.da), array_of(piece.ds), array_of(results.normed[piece.rows])
    width, H = x.weight_hh.shape
    of_recurrent, of_input = (array_of(t) for t in (found.gain, found.gain_ih) if t is not None)
    shared = 2 * H if x.cell == "gru" else width
    norm.add_products(da, shared, normed, 0, of_recurrent)
    if x.cell == "gru":
        norm.add_products(ds, H, normed, shared, of_recurrent)
    normed, factors = array_of(results.normed_ih[piece.rows]), array_of(results.factors_ih[piece.rows])
    norm.add_products(da, width, normed, 0, of_input)
    norm.normalise_rows_backward(da, array_of(gain_ih), normed, factors, da)


class _Before:
    """What weight_hh read at each row: the state before it, masked."""

    def __init__(self, x: Arguments, out: Tensor):
        self.x, self.out = x, out
        self.rows = None if x.offsets is None else self._rows(x.offsets)  # (N,) of the state, from N on the initial one

    def __call__(self, first: int, last: int) -> Tensor:
        """``(n, H)`` for the rows from ``first`` to ``last``."""
        x, (N, H), B = self.x, self.out.shape, self.x.h.shape[0]
        if self.rows is None:
            shift = B if x.reverse else -B
            known = self.out[max(first + shift, 0) : max(min(last + shift, N), 0)]
            whole = known.shape[0] == last - first  # else the first step is among them
            found = known if whole else torch.cat([known, x.h] if x.reverse else [x.h, known])
            return found if x.mask is None else (found.view(-1, B, H) * x.mask).view_as(found)
        rows = self.rows[first:last]
        found = self.out.index_select(0, rows.clamp(max=N - 1))
        initial = (rows >= N).nonzero().squeeze(1)
        found.index_copy_(0, initial, x.h.index_select(0, rows[initial] - N))
        return found if x.mask is None else found * x.mask.index_select(0, self.items[first:last])

    def _rows(self, offsets: Tensor) -> Tensor:
        (N, _), B, sizes = self.out.shape, self.x.h.shape[0], offsets.diff()
        self.items = torch.arange(N) - offsets[:-1].repeat_interleave(sizes)  # (N,)
        if self.x.reverse:
            after = offsets[1:].repeat_interleave(sizes) + self.items  # (N,) the row in the next step, if there is one
            ends = torch.cat([sizes[1:], sizes.new_zeros(1)]).repeat_interleave(sizes)  # (N,) items of the next step
            return torch.where(self.items < ends, after, N + self.items)
        earlier = torch.cat([offsets[:1], offsets[:-2]]).repeat_interleave(sizes) + self.items  # (N,)
        return torch.where(torch.arange(N) < B, N + self.items, earlier)


# ---- autograd ------------------------------------------------------------------------------------------------------


class Eager(torch.autograd.Function):
    """The operation outside of compiled graphs: ``Arguments`` to outputs and final states."""

    @staticmethod
    def forward(ctx, *arguments):
        """Outputs and final states."""
        x = Arguments(*arguments)
        ctx.shares = sharing.shares(x, torch.get_num_threads())
        if not ctx.shares:
            results = sharing.alone(partial(forward, x))
            remember(ctx, arguments, results)
            return results[:3]
        visible, found = sharing.shared_forward(x, ctx.shares)
        remember(ctx, arguments, (*visible, *(tensor for results in found for tensor in results)))
        return tuple(visible)

    @staticmethod
    def backward(ctx, *given):
        """∂loss/∂ each argument."""
        return differentiate(ctx, partial(_shared_gradients, ctx.shares) if ctx.shares else _gradients, given)


def _gradients(x: Arguments, saved: Sequence[Tensor], given: Sequence[Tensor], of_rows: bool) -> Gradients:
    return sharing.alone(partial(gradients, x, Results(*saved), given, of_rows))


def _shared_gradients(
    parts: Sequence[Share], x: Arguments, saved: Sequence[Tensor], given: Sequence[Tensor], of_rows: bool
) -> Gradients:
    """The gradients of all shares, put together."""
    kept, count, (dout, *dstate) = saved[3:], len(Results._fields), given

    def one(index: int, part: Share) -> Gradients:
        mine = (dout.index_select(0, part.rows), *(d[part.items] for d in dstate))
        return gradients(sharing.of(x, part), Results(*kept[index * count : (index + 1) * count]), mine, of_rows)

    found = sharing.together([partial(one, index, part) for index, part in enumerate(parts)])
    fields: dict[str, Any] = {}
    for name, values in zip(Gradients._fields, zip(*found, strict=True), strict=True):
        if values[0] is None:
            fields[name] = None
        elif name == "rows":
            fields[name] = x.rows.new_empty(x.rows.shape)
            for part, value in zip(parts, values, strict=True):
                fields[name].index_copy_(0, part.rows, value)
        else:  # of the initial states each has its own items; of the weights, all have a part
            fields[name] = torch.cat(values) if name in ("h", "c") else sum(values)
    return Gradients(**fields)


def remember(ctx, inputs: tuple, output: Sequence[Tensor]) -> None:
    """Keeps what ``differentiate`` needs."""
    ctx.arguments = [None if isinstance(value, Tensor) else value for value in inputs]
    ctx.save_for_backward(*(value if isinstance(value, Tensor) else None for value in inputs), *output)
    ctx.set_materialize_grads(False)


def differentiate(ctx, gradients: Callable[..., Gradients], given: tuple) -> tuple[Tensor | None, ...]:
    """∂loss/∂arguments from ∂loss/∂(out, h, c) by ``gradients(x, saved results, given, whether those of the rows)``."""
    kept = ctx.saved_tensors
    count = len(ctx.arguments)
    x = Arguments(*(p if t is None else t for p, t in zip(ctx.arguments, kept[:count], strict=True)))
    saved = kept[count:]
    wanted = dict(zip(Arguments._fields, ctx.needs_input_grad, strict=True))
    given = tuple(torch.zeros_like(r) if d is None else d for d, r in zip(given[:3], saved[:3], strict=True))
    twice = torch.is_grad_enabled()  # a second derivative is asked for
    found = _in_the_open(x, given) if twice else gradients(x, saved, given, wanted["rows"])._asdict()
    return tuple(found.get(name) if needed else None for name, needed in wanted.items())


class _Plan(NamedTuple):
    """As much of a layer as the open loop asks for."""

    cell: str
    extras: tuple[Extra, ...]
    hidden_size: int
    training: bool = True


def _in_the_open(x: Arguments, given: Sequence[Tensor]) -> dict[str, Any]:
    """The same gradients as functions of everything they depend on, for a second derivative."""
    with torch.enable_grad():
        fresh: dict[str, Any] = {name: _alias(getattr(x, name)) for name in LEARNED}
        y = x._replace(**fresh)
        w = Weights(
            y.weight_ih, y.weight_hh, y.bias_ih, y.bias_hh, None, y.gain_ih, y.gain, y.gain_c, y.bias_c, y.peephole
        )
        zoneouts = (x.kept_h if x.zoneout_h is None else x.zoneout_h, x.kept_c if x.zoneout_c is None else x.zoneout_c)
        on = {
            "layer_norm": x.gain is not None,
            "recurrent_dropout": x.mask is not None,
            "zoneout": x.zoned,
            "peephole": x.peephole is not None,
        }
        plan: Any = _Plan(x.cell, tuple(extra for name, extra in EXTRAS.items() if on.get(name)), x.h.shape[1])
        state = (y.h,) if y.c is None else (y.h, y.c)
        sizes = None if x.offsets is None else x.offsets.diff()  # (T,)
        noise = Noise(None, x.mask, *zoneouts)
        out, final = open_loop.scan(plan, w, noise, y.rows, sizes, state, x.reverse)
        outputs = [(value, d) for value, d in zip((out, *final), given, strict=False) if value.requires_grad]
        wanted = {name: t for name, t in fresh.items() if t is not None and t.requires_grad}
        values, weights = zip(*outputs, strict=True)
        found = torch.autograd.grad(values, list(wanted.values()), weights, create_graph=True, allow_unused=True)
    return dict(zip(wanted, found, strict=True))


def _alias(tensor: Tensor | None) -> Tensor | None:
    """The same values as a new node: what one argument does to another before the operator is not its affair."""
    return None if tensor is None else tensor.view_as(tensor)
