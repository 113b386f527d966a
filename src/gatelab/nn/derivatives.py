"""The way back through ``recurrence``, and the two together as a differentiable operation.

Asked for a graph of the backward pass (for second derivatives), the operation computes itself anew in the open loop,
which can be differentiated any number of times.

T time, B batch, I input, H hidden, G gates, N rows of all steps together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gatelab.nn import open_loop
from gatelab.nn.extras import EXTRAS, Extra, Noise, Weights
from gatelab.nn.recurrence import LEARNED, Arguments, Results, fitting, forward, pass_of, place, whole


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


_FIRST, _BEHIND = Arguments._fields.index(LEARNED[0]), Arguments._fields.index(LEARNED[-1]) + 1


def empty_gradients(x: Arguments, of_rows: bool) -> Gradients:
    """Room for them, not initialised."""
    rows = x.rows.new_empty(x.rows.shape) if of_rows else None
    learned: Any = x[_FIRST + 1 : _BEHIND]
    others: list[Any] = [t if t is None else t.new_empty(t.shape) for t in learned]
    return Gradients(rows, *others)


def gradients(x: Arguments, results: Results, given: Sequence[Tensor | None], of_rows: bool) -> Gradients:
    """All steps backward, from ∂loss/∂(outputs, final h, final c), None for zeros."""
    from gatelab.kernels import frame, scan

    x = fitting(x)
    found = empty_gradients(x, of_rows)
    out = torch.zeros_like(results.out) if given[0] is None else given[0]
    sources = [t if t is None else whole(t) for t in (out, *given[1:3])]
    places = frame.Gradients(*map(place, sources), *map(place, found))
    scan.backward(pass_of(x, results), places, torch.get_num_threads())
    return found


# ---- autograd ------------------------------------------------------------------------------------------------------


class Eager(torch.autograd.Function):
    """The operation outside of compiled graphs: ``Arguments`` to outputs and final states."""

    @staticmethod
    def forward(ctx, *arguments):
        """Outputs and final states."""
        results = forward(Arguments(*arguments))
        remember(ctx, arguments, results)
        return results[:3]

    @staticmethod
    def backward(ctx, *given):
        """∂loss/∂ each argument."""
        return differentiate(ctx, _gradients, given)


def _gradients(x: Arguments, saved: Sequence[Tensor], given: Sequence[Tensor | None], of_rows: bool) -> Gradients:
    return gradients(x, Results(*saved), given, of_rows)


_TENSORS = slice(3, -2)  # of the arguments, those that can be tensors
_COUNT = len(Arguments._fields[_TENSORS])
_BEFORE, _AFTER = (None,) * _FIRST, (None,) * (len(Arguments._fields) - _BEHIND)


def remember(ctx, inputs: tuple, output: Sequence[Tensor | None]) -> None:
    """Keeps what ``differentiate`` needs."""
    ctx.settings = inputs[: _TENSORS.start], inputs[_TENSORS.stop :]
    ctx.save_for_backward(*inputs[_TENSORS], *output)
    ctx.set_materialize_grads(False)


def differentiate(ctx, gradients: Callable[..., Gradients], given: tuple) -> tuple[Tensor | None, ...]:
    """∂loss/∂arguments from ∂loss/∂(out, h, c) by ``gradients(x, saved results, given, whether those of the rows)``."""
    kept, (first, last), wanted = ctx.saved_tensors, ctx.settings, ctx.needs_input_grad[_FIRST:_BEHIND]
    x, saved = Arguments(*first, *kept[:_COUNT], *last), kept[_COUNT:]
    twice = torch.is_grad_enabled()  # a second derivative is asked for
    found = _in_the_open(x, filled(given, saved)) if twice else gradients(x, saved, given, wanted[0])
    return (*_BEFORE, *(d if needed else None for d, needed in zip(found, wanted, strict=True)), *_AFTER)


def filled(given: Sequence[Tensor | None], saved: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
    """∂loss/∂(out, h, c), zeros where the loss does not depend on one."""
    pairs = zip(given[:3], saved[:3], strict=True)
    return tuple(torch.zeros_like(r) if d is None and r is not None else d for d, r in pairs)


class _Plan(NamedTuple):
    """As much of a layer as the open loop asks for."""

    cell: str
    extras: tuple[Extra, ...]
    hidden_size: int
    training: bool = True


def _in_the_open(x: Arguments, given: Sequence[Tensor | None]) -> Gradients:
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
    of = dict(zip(wanted, found, strict=True))
    learned: list[Any] = [of.get(name) for name in LEARNED]
    return Gradients(*learned)


def _alias(tensor: Tensor | None) -> Tensor | None:
    """The same values as a new node: what one argument does to another before the operator is not its affair."""
    return None if tensor is None else tensor.view_as(tensor)
