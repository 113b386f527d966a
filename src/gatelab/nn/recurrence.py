"""What happens step after step, as one differentiable operation of torch.

Run eagerly, it is an ``autograd.Function``. To ``torch.compile(fullgraph=True)`` the same code is the operator
``gatelab::recurrence``, which a graph keeps whole; a call of that costs some 100 µs more, so that eager code does
without. Asked for a graph of the backward pass (for second derivatives), the operation computes itself anew in the
open loop, which can be differentiated any number of times.

T time, B batch, H hidden, G gates, N rows of all steps together.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gatelab.nn import open_loop
from gatelab.nn.extras import EXTRAS
from gatelab.nn.hooks import Extra, Noise, Weights


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


def recurrence(x: Arguments) -> tuple[Tensor, ...]:
    """One stacked layer in one direction from the input's side on: outputs ``(N, H)`` and the final h and c."""
    if torch.compiler.is_compiling():
        return _operator(*x)[:3]
    return _Eager.apply(*x) if x.keep else _forward(x)[:3]


def _forward(x: Arguments) -> Results:
    from gatelab.kernels import scan  # here, for Numba takes half a second to import

    results = _empty_results(x)
    state = [array_of(s.copy_(initial)) for s, initial in ((results.h, x.h), (results.c, x.c)) if initial is not None]
    out = array_of(results.out)
    scan.forward(
        x.cell,
        _rows(x.offsets, x.a.shape[0], x.h.shape[0]),
        x.reverse,
        array_of(x.a),
        array_of(x.weight_hh),
        array_of(x.h.new_zeros(x.h.shape[1]) if x.bias_n is None else x.bias_n),
        state,
        out,
        scan.Record(array_of(results.saved) if results.saved.numel() else out, array_of(results.cells)),
        _extras(x, results),
        x.keep,
        torch.get_num_threads(),
    )
    return results


class StepGradients(NamedTuple):
    """What the backward pass computes step after step; unused ones are empty."""

    a: Tensor  # (N, G·H)
    s_n: Tensor  # (N, H) of the GRU's recurrent side of n; for other gates and cells, that of a serves
    product: Tensor  # (N, G·H) of the recurrent product where it is normalised
    h: Tensor  # (B, H)
    c: Tensor  # (B, H)
    own: Tensor  # (5, H) of gain_c, bias_c and the peepholes


def _empty_gradients(x: Arguments) -> StepGradients:
    """Room for them; of ``x``, a is not needed."""
    (N, H), width, new = (x.a.shape[0], x.h.shape[1]), x.weight_hh.shape[0], x.h.new_empty
    return StepGradients(
        new((N, width)),
        new((N, H) if x.cell == "gru" else (0, 0)),
        new((N, width) if x.gain is not None else (0, 0)),
        new(x.h.shape),
        new((0, 0) if x.c is None else x.c.shape),
        new((5, H)),
    )


def _backward_steps(x: Arguments, results: Results, dout: Tensor, dh: Tensor, dc: Tensor) -> StepGradients:
    from gatelab.kernels import scan

    found, out = _empty_gradients(x), array_of(results.out)
    pairs = ((found.h, dh, x.h), (found.c, dc, x.c))
    own = scan.backward(
        x.cell,
        _rows(x.offsets, out.shape[0], x.h.shape[0]),
        x.reverse,
        array_of(x.weight_hh),
        [array_of(s) for s in (x.h, x.c) if s is not None],
        out,
        scan.Record(array_of(results.saved) if results.saved.numel() else out, array_of(results.cells)),
        _extras(x, results),
        array_of(dout),
        [array_of(d.copy_(last)) for d, last, s in pairs if s is not None],
        scan.Gradients(array_of(found.a), array_of(found.s_n), array_of(found.product)),
        torch.get_num_threads(),
    )
    return found._replace(own=torch.from_numpy(own))


# ---- NumPy's side --------------------------------------------------------------------------------------------------


def array_of(tensor: Tensor) -> np.ndarray:
    """The tensor's own memory where it lies row after row, else a copy."""
    return tensor.detach().contiguous().numpy()


def _rows(offsets: Tensor | None, N: int, B: int) -> np.ndarray:
    """The first row of each step, and N: ``(T + 1,)`` int64."""
    return np.arange(0, N + 1, B) if offsets is None else array_of(offsets)


@cache
def _none(dtype: torch.dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Arrays without elements: a vector, a matrix, a matrix of bytes."""
    vector = array_of(torch.empty(0, dtype=dtype))
    return vector, vector.reshape(0, 0), np.empty((0, 0), np.uint8)


def _extras(x: Arguments, results: Results) -> Any:
    from gatelab.kernels.extras import Extras

    vector, matrix, bits = _none(x.h.dtype)
    return Extras(
        matrix if x.mask is None else array_of(x.mask),
        bits if x.zoneout_h is None else array_of(x.zoneout_h).view(np.uint8),
        bits if x.zoneout_c is None else array_of(x.zoneout_c).view(np.uint8),
        x.kept_h,
        x.kept_c,
        vector if x.gain is None else array_of(x.gain),
        matrix if x.gain is None else array_of(results.normed),
        matrix if x.gain is None else array_of(results.factors),
        vector if x.gain_c is None else array_of(x.gain_c),
        vector if x.bias_c is None else array_of(x.bias_c),
        vector if x.peephole is None else array_of(x.peephole),
    )


# ---- autograd ------------------------------------------------------------------------------------------------------


class _Eager(torch.autograd.Function):
    """The operation outside of compiled graphs."""

    @staticmethod
    def forward(ctx, *arguments):
        results = _forward(Arguments(*arguments))
        _remember(ctx, arguments, results)
        return results[:3]

    @staticmethod
    def backward(ctx, *gradients):
        return _differentiate(ctx, _backward_steps, gradients)


def _remember(ctx, inputs: tuple, output: tuple) -> None:
    ctx.arguments = [None if isinstance(value, Tensor) else value for value in inputs]
    ctx.save_for_backward(*(value if isinstance(value, Tensor) else None for value in inputs), *output)
    ctx.set_materialize_grads(False)


def _differentiate(ctx, backward_steps: Callable[..., StepGradients], gradients: tuple) -> tuple[Tensor | None, ...]:
    """∂loss/∂arguments from ∂loss/∂(out, h, c)."""
    saved = ctx.saved_tensors
    count = len(ctx.arguments)
    x = Arguments(*(p if t is None else t for p, t in zip(ctx.arguments, saved[:count], strict=True)))
    results = Results(*saved[count:])
    given = [torch.zeros_like(r) if d is None else d for d, r in zip(gradients[:3], results[:3], strict=True)]
    if torch.is_grad_enabled():
        found = _in_the_open(x, given)
    else:
        found = _all_gradients(x, results, backward_steps(x, results, *given))
    needed = zip(Arguments._fields, ctx.needs_input_grad, strict=True)
    return tuple(found.get(name) if wanted else None for name, wanted in needed)


def _all_gradients(x: Arguments, results: Results, steps: StepGradients) -> dict[str, Any]:
    """∂loss/∂ every argument by name: the weights' for all steps at once, from what was found step after step."""
    H, found = x.h.shape[1], {"a": steps.a, "h": steps.h, "c": steps.c}
    sides = [steps.a]  # ∂loss/∂(what the recurrent weights gave), after normalisation
    if x.cell == "gru":
        sides = [steps.a[:, : 2 * H], steps.s_n]
        found["bias_n"] = steps.s_n.sum(0)
    if x.gain is not None:
        parts = zip(sides, results.normed.split([side.shape[1] for side in sides], 1), strict=True)
        found["gain"] = torch.cat([(side * normed).sum(0) for side, normed in parts])  # (G·H,)
        sides = [steps.product]
    before = _states_before(x, results.out)  # (N, H)
    products = [side.t() @ before for side in sides]
    found["weight_hh"] = torch.cat(products) if len(products) > 1 else products[0]  # (G·H, H)
    gain_c, bias_c, peephole = steps.own[0], steps.own[1], steps.own[2:].flatten()
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


def _in_the_open(x: Arguments, given: list[Tensor]) -> dict[str, Any]:
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


# ---- the operator --------------------------------------------------------------------------------------------------


@torch.library.custom_op("gatelab::recurrence", mutates_args=())
def _operator(
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
    """``Arguments`` to ``Results``; torch reads the types of an operator from such a list."""
    optional = gain, gain_c, bias_c, peephole, mask, zoneout_h, zoneout_c
    return _forward(Arguments(cell, reverse, keep, offsets, a, weight_hh, bias_n, h, c, *optional, kept_h, kept_c))


@_operator.register_fake
def _(*arguments):
    return tuple(_empty_results(Arguments(*arguments)))


@torch.library.custom_op("gatelab::recurrence_backward", mutates_args=())
def _operator_backward(
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
    results: list[Tensor],
    gradients: list[Tensor],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """``Arguments``, ``Results`` and ∂loss/∂(out, h, c) to ``StepGradients``."""
    optional = gain, gain_c, bias_c, peephole, mask, zoneout_h, zoneout_c
    x = Arguments(cell, reverse, keep, offsets, a, weight_hh, bias_n, h, c, *optional, kept_h, kept_c)
    return _backward_steps(x, Results(*results), *gradients)


@_operator_backward.register_fake
def _(*arguments):
    return tuple(_empty_gradients(Arguments(*arguments[:-2])))


def _operator_differentiate(ctx, *gradients):
    def backward_steps(x: Arguments, results: Results, *given: Tensor) -> StepGradients:
        return StepGradients(*_operator_backward(*x, list(results), list(given)))

    return _differentiate(ctx, backward_steps, gradients)


_operator.register_autograd(
    _operator_differentiate, setup_context=lambda ctx, inputs, output: _remember(ctx, inputs, output)
)
