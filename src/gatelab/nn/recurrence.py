"""What happens step after step, as one operator of torch: ``gatelab::recurrence``.

It is registered with torch, so that autograd differentiates it and ``torch.compile(fullgraph=True)`` keeps it whole.
Asked for a graph of the backward pass (for second derivatives), it computes itself anew in the open loop, which can be
differentiated any number of times.

T time, B batch, H hidden, G gates, N rows of all steps together.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gatelab.nn import open_loop
from gatelab.nn.extras import EXTRAS, Extra, Noise, Weights


class Arguments(NamedTuple):
    """The operator's arguments by name, in order."""

    cell: str
    reverse: bool  # read time from its end
    keep: bool  # a backward pass will follow
    offsets: Tensor | None  # (T + 1,) int64, the first row of each step and N; None for B rows in every step
    a: Tensor  # (N, G·H) the input's side of the pre-activations, biases included
    weight_hh: Tensor  # (G·H, H)
    bias_n: Tensor | None  # (H,) the GRU's bias within the reset gate's reach
    h: Tensor  # (B, H)
    c: Tensor | None  # (B, H)
    gain: Tensor | None  # (G·H,) of the normalised product
    gain_c: Tensor | None  # (H,) of the normalised cell
    bias_c: Tensor | None  # (H,)
    peephole: Tensor | None  # (3·H,), or (2·H,) where i = 1 − f
    mask: Tensor | None  # (B, H) what weight_hh sees of h
    zoneout_h: Tensor | None  # (N, H) bool
    zoneout_c: Tensor | None  # (N, H) bool
    kept_h: float  # the share of the old h that stays, where there is no mask
    kept_c: float  # likewise of c


_LEARNED = Arguments._fields[4:13]  # those with a gradient


class Results(NamedTuple):
    """What the operator gives: outputs, final state, and what its backward pass needs; unused ones are empty."""

    out: Tensor  # (N, H)
    h: Tensor  # (B, H)
    c: Tensor  # (B, H)
    saved: Tensor  # (N, ·) gates
    cells: Tensor  # (N, H) c after every step
    normed: Tensor  # (N, G·H) normalised products
    factors: Tensor  # (N, G)


def _empty_results(x: Arguments) -> Results:
    """Room for the results."""
    (N, width), (B, H), new = x.a.shape, x.h.shape, x.a.new_empty
    nothing = (0, 0)
    lstm, normalised, zoned = x.c is not None, x.gain is not None, x.zoneout_h is not None or x.kept_h > 0
    # The vanilla network's new content is its output, unless zoneout comes between them.
    saved = (N, 4 * H) if x.cell == "gru" else (N, width) if lstm or zoned else nothing
    return Results(
        new((N, H)),
        new((B, H)),
        new((B, H) if lstm else nothing),
        new(saved if x.keep else nothing),
        new((N, H) if lstm and x.keep else nothing),
        new((N, width) if normalised and x.keep else nothing),
        new((N, width // H) if normalised and x.keep else nothing),
    )


@torch.library.custom_op("gatelab::recurrence", mutates_args=())
def recurrence(
    cell: str,
    reverse: bool,
    keep: bool,
    offsets: Tensor | None,
    a: Tensor,
    weight_hh: Tensor,
    bias_n: Tensor | None,
    h: Tensor,
    c: Tensor | None,
    gain: Tensor | None,
    gain_c: Tensor | None,
    bias_c: Tensor | None,
    peephole: Tensor | None,
    mask: Tensor | None,
    zoneout_h: Tensor | None,
    zoneout_c: Tensor | None,
    kept_h: float,
    kept_c: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """One stacked layer in one direction from the input's side on: ``Arguments`` to ``Results``."""
    from gatelab.kernels import scan  # here, for Numba takes half a second to import

    x = Arguments(
        cell, reverse, keep, offsets, a, weight_hh, bias_n, h, c, gain, gain_c, bias_c, peephole,
        mask, zoneout_h, zoneout_c, kept_h, kept_c,
    )  # fmt: skip
    results = _empty_results(x)
    state = [_array(s.copy_(initial)) for s, initial in ((results.h, h), (results.c, c)) if initial is not None]
    out = _array(results.out)
    saved = _array(results.saved) if results.saved.numel() else out
    scan.forward(
        cell,
        _rows(offsets, a.shape[0], h.shape[0]),
        reverse,
        _array(a),
        _array(weight_hh),
        _optional(bias_n, h.new_zeros(h.shape[1])),
        state,
        out,
        scan.Record(saved, _array(results.cells)),
        _extras(x, results.normed, results.factors),
        keep,
        torch.get_num_threads(),
    )
    return results


@recurrence.register_fake
def _(*arguments):
    return tuple(_empty_results(Arguments(*arguments)))


@torch.library.custom_op("gatelab::recurrence_backward", mutates_args=())
def _recurrence_backward(
    cell: str,
    reverse: bool,
    offsets: Tensor | None,
    weight_hh: Tensor,
    h: Tensor,
    c: Tensor | None,
    gain: Tensor | None,
    gain_c: Tensor | None,
    bias_c: Tensor | None,
    peephole: Tensor | None,
    mask: Tensor | None,
    zoneout_h: Tensor | None,
    zoneout_c: Tensor | None,
    kept_h: float,
    kept_c: float,
    out: Tensor,
    saved: Tensor,
    cells: Tensor,
    normed: Tensor,
    factors: Tensor,
    dout: Tensor,
    dh: Tensor,
    dc: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """What the backward pass does step after step: ``_empty_gradients``, filled."""
    from gatelab.kernels import scan

    x = Arguments(
        cell, reverse, True, offsets, out, weight_hh, None, h, c, gain, gain_c, bias_c, peephole,
        mask, zoneout_h, zoneout_c, kept_h, kept_c,
    )  # fmt: skip
    da, ds_n, dproduct, dh0, dc0, dextras = _empty_gradients(cell, out, weight_hh, h, c, gain)
    dstate = [_array(d.copy_(last)) for d, last, s in ((dh0, dh, h), (dc0, dc, c)) if s is not None]
    sums = scan.backward(
        cell,
        _rows(offsets, out.shape[0], h.shape[0]),
        reverse,
        _array(weight_hh),
        [_array(s) for s in (h, c) if s is not None],
        _array(out),
        scan.Record(_array(saved) if saved.numel() else _array(out), _array(cells)),
        _extras(x, normed, factors),
        _array(dout),
        dstate,
        scan.Gradients(_array(da), _array(ds_n), _array(dproduct)),
        torch.get_num_threads(),
    )
    dextras.copy_(torch.from_numpy(sums))
    return da, ds_n, dproduct, dh0, dc0, dextras


@_recurrence_backward.register_fake
def _(cell, reverse, offsets, weight_hh, h, c, gain, *rest):
    return _empty_gradients(cell, rest[8], weight_hh, h, c, gain)


def _empty_gradients(cell: str, out: Tensor, weight_hh: Tensor, h: Tensor, c: Tensor | None, gain: Tensor | None):
    (N, H), width, new = out.shape, weight_hh.shape[0], out.new_empty
    return (
        new((N, width)),
        new((N, H) if cell == "gru" else (0, 0)),
        new((N, width) if gain is not None else (0, 0)),
        torch.empty_like(h, memory_format=torch.contiguous_format),
        new((0, 0)) if c is None else torch.empty_like(c, memory_format=torch.contiguous_format),
        new((5, H)),
    )


# ---- NumPy's side --------------------------------------------------------------------------------------------------


def _array(tensor: Tensor) -> np.ndarray:
    """The tensor's own memory where it lies row after row, else a copy."""
    return tensor.detach().contiguous().numpy()


def _rows(offsets: Tensor | None, N: int, B: int) -> np.ndarray:
    """The first row of each step, and N: ``(T + 1,)`` int64."""
    return np.arange(0, N + 1, B) if offsets is None else _array(offsets)


def _optional(tensor: Tensor | None, otherwise: Tensor) -> np.ndarray:
    return _array(otherwise if tensor is None else tensor)


def _extras(x: Arguments, normed: Tensor, factors: Tensor) -> Any:
    from gatelab.kernels.extras import Extras

    vector, matrix = x.h.new_empty(0), x.h.new_empty((0, 0))
    bits = torch.empty((0, 0), dtype=torch.uint8)
    zoneout_h, zoneout_c = (bits if k is None else k.contiguous().view(torch.uint8) for k in (x.zoneout_h, x.zoneout_c))
    return Extras(
        _optional(x.mask, matrix),
        _array(zoneout_h),
        _array(zoneout_c),
        x.kept_h,
        x.kept_c,
        _optional(x.gain, vector),
        _array(normed),
        _array(factors),
        _optional(x.gain_c, vector),
        _optional(x.bias_c, vector),
        _optional(x.peephole, vector),
    )


# ---- autograd ------------------------------------------------------------------------------------------------------


def _setup(ctx, inputs, output) -> None:
    ctx.arguments = [None if isinstance(value, Tensor) else value for value in inputs]
    ctx.save_for_backward(*(value if isinstance(value, Tensor) else None for value in inputs), *output)
    ctx.set_materialize_grads(False)


def _backward(ctx, *gradients):
    count = len(ctx.arguments)
    tensors = ctx.saved_tensors
    x = Arguments(*(p if t is None else t for p, t in zip(ctx.arguments, tensors[:count], strict=True)))
    results = Results(*tensors[count:])
    given = [torch.zeros_like(r) if d is None else d for d, r in zip(gradients[:3], results[:3], strict=True)]
    derive = _in_the_open if torch.is_grad_enabled() else _by_kernel
    found = derive(x, results, given)
    return tuple(
        found.get(name) if needed else None
        for name, needed in zip(Arguments._fields, ctx.needs_input_grad, strict=True)
    )


def _by_kernel(x: Arguments, results: Results, given: list[Tensor]) -> dict[str, Tensor]:
    """Gradients by name: the kernel's, and from them those of the weights for all steps at once."""
    da, ds_n, dproduct, dh, dc, dextras = _recurrence_backward(
        x.cell, x.reverse, x.offsets, x.weight_hh, x.h, x.c, x.gain, x.gain_c, x.bias_c, x.peephole, x.mask,
        x.zoneout_h, x.zoneout_c, x.kept_h, x.kept_c, results.out, *results[3:], *given,
    )  # fmt: skip
    H = x.h.shape[1]
    before = _states_before(x, results.out)  # (N, H)
    found = {"a": da, "h": dh, "c": dc}
    if x.cell == "gru":
        sides = [da[:, : 2 * H], ds_n]
        found["bias_n"] = ds_n.sum(0) if x.bias_n is not None else None
    else:
        sides = [da]
    if x.gain is not None:
        parts = zip(sides, results.normed.split([side.shape[1] for side in sides], 1), strict=True)
        found["gain"] = torch.cat([(side * normed).sum(0) for side, normed in parts])  # (G·H,)
        sides = [dproduct]
    found["weight_hh"] = torch.cat([side.t() @ before for side in sides])  # (G·H, H)
    gain_c, bias_c, peephole = dextras[0], dextras[1], dextras[2:].flatten()
    return found | {"gain_c": gain_c, "bias_c": bias_c, "peephole": peephole[: _length(x.peephole)]}


def _length(vector: Tensor | None) -> int:
    return 0 if vector is None else vector.shape[0]


def _states_before(x: Arguments, out: Tensor) -> Tensor:
    """What weight_hh read at every row: the state before it, ``(N, H)``."""
    N, B = out.shape[0], x.h.shape[0]
    if x.offsets is None:
        before = torch.cat([out[B:], x.h] if x.reverse else [x.h, out[: N - B]])  # (N, H)
        return before if x.mask is None else (before.view(-1, *x.h.shape) * x.mask).view_as(before)
    sizes = x.offsets.diff()  # (T,)
    item = torch.arange(N) - x.offsets[:-1].repeat_interleave(sizes)  # (N,)
    if x.reverse:
        after = x.offsets[1:].repeat_interleave(sizes) + item  # (N,) its row in the next step, if it has one
        ends = torch.cat([sizes[1:], sizes.new_zeros(1)]).repeat_interleave(sizes)  # (N,) rows of the next step
        row = torch.where(item < ends, after, N + item)
    else:
        earlier = torch.cat([x.offsets[:1], x.offsets[:-2]]).repeat_interleave(sizes) + item  # (N,)
        row = torch.where(torch.arange(N) < B, N + item, earlier)
    before = torch.cat([out, x.h]).index_select(0, row)  # (N, H)
    return before if x.mask is None else before * x.mask.index_select(0, item)


class _Plan(NamedTuple):
    """As much of a layer as the open loop asks for."""

    cell: str
    extras: tuple[Extra, ...]
    hidden_size: int
    training: bool = True


def _in_the_open(x: Arguments, results: Results, given: list[Tensor]) -> dict[str, Any]:
    """The same gradients as functions of everything they depend on, for a second derivative."""
    with torch.enable_grad():
        fresh: dict[str, Any] = {name: _alias(getattr(x, name)) for name in _LEARNED}
        y = x._replace(**fresh)
        bias = None if y.bias_n is None else torch.nn.functional.pad(y.bias_n, (2 * y.h.shape[1], 0))  # (G·H,)
        w = Weights(y.a, y.weight_hh, bias, bias, None, None, y.gain, y.gain_c, y.bias_c, y.peephole)
        zoneouts = (x.kept_h if x.zoneout_h is None else x.zoneout_h, x.kept_c if x.zoneout_c is None else x.zoneout_c)
        noise = Noise(None, x.mask, *zoneouts)
        on = {
            "layer_norm": x.gain is not None,
            "recurrent_dropout": x.mask is not None,
            "zoneout": any(k is not None for k in (x.zoneout_h, x.zoneout_c)) or x.kept_h > 0 or x.kept_c > 0,
            "peephole": x.peephole is not None,
        }
        plan = _Plan(x.cell, tuple(extra for name, extra in EXTRAS.items() if on.get(name)), x.h.shape[1])
        state = (y.h,) if y.c is None else (y.h, y.c)
        sizes = np.diff(_rows(x.offsets, x.a.shape[0], x.h.shape[0])).tolist()
        out, final = open_loop.steps(plan, w, noise, y.a, sizes, state, x.reverse)
        outputs = [(value, d) for value, d in zip((out, *final), given, strict=False) if value.requires_grad]
        wanted = {name: t for name, t in fresh.items() if t is not None and t.requires_grad}
        values, weights = zip(*outputs, strict=True)
        found = torch.autograd.grad(values, list(wanted.values()), weights, create_graph=True, allow_unused=True)
    return dict(zip(wanted, found, strict=True))


def _alias(tensor: Tensor | None) -> Tensor | None:
    """The same values as a new node: what one argument does to another before the operator is not its affair."""
    return None if tensor is None else tensor.view_as(tensor)


recurrence.register_autograd(_backward, setup_context=_setup)
