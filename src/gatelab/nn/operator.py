"""The operation of ``recurrence`` as an operator of torch, ``gatelab::recurrence``, that a compiled graph keeps whole.

A call of an operator costs some 100 µs more than one of an ``autograd.Function``, so that eager code does without.
In a compiled graph the steps run in one thread, and the products in torch's.
torch keeps compiled graphs on disk and knows operators by their names: when the arguments of one change, so must its
name.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from gatelab.nn import sharing
from gatelab.nn.derivatives import Eager, Gradients, differentiate, empty_gradients, gradients, remember
from gatelab.nn.recurrence import Arguments, Results, empty_results, forward


def recurrence(x: Arguments) -> tuple[Tensor, ...]:
    """One stacked layer in one direction: outputs ``(N, H)`` and the final h and c."""
    if torch.compiler.is_compiling():
        return _operator(*x)[:3]
    if x.keep:
        return Eager.apply(*x)
    parts = sharing.shares(x, torch.get_num_threads())
    return tuple(sharing.shared_forward(x, parts)[0]) if parts else sharing.alone(partial(forward, x))[:3]


@torch.library.custom_op("gatelab::recurrence", mutates_args=())
def _operator(
    cell: str,
    reverse: bool,
    keep: bool,
    offsets: Tensor | None,
    rows: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    h: Tensor,
    c: Tensor | None,
    gain_ih: Tensor | None,
    gain: Tensor | None,
    gain_c: Tensor | None,
    bias_c: Tensor | None,
    peephole: Tensor | None,
    mask: Tensor | None,
    zoneout_h: Tensor | None,
    zoneout_c: Tensor | None,
    kept_h: float,
    kept_c: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """``Arguments`` to ``Results``; torch reads the types of an operator from such a list."""
    weights, biases = (weight_ih, weight_hh), (bias_ih, bias_hh)
    optional = gain_ih, gain, gain_c, bias_c, peephole, mask, zoneout_h, zoneout_c, kept_h, kept_c
    return forward(Arguments(cell, reverse, keep, offsets, rows, *weights, *biases, h, c, *optional))


@_operator.register_fake
def _(*arguments):
    return tuple(empty_results(Arguments(*arguments)))


@torch.library.custom_op("gatelab::recurrence_backward", mutates_args=())
def _operator_backward(
    cell: str,
    reverse: bool,
    keep: bool,
    offsets: Tensor | None,
    rows: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    h: Tensor,
    c: Tensor | None,
    gain_ih: Tensor | None,
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
    given: list[Tensor],
    of_rows: bool,
) -> list[Tensor]:
    """``Arguments``, ``Results`` and ∂loss/∂(out, h, c) to ``Gradients``."""
    weights, biases = (weight_ih, weight_hh), (bias_ih, bias_hh)
    optional = gain_ih, gain, gain_c, bias_c, peephole, mask, zoneout_h, zoneout_c, kept_h, kept_c
    x = Arguments(cell, reverse, keep, offsets, rows, *weights, *biases, h, c, *optional)
    return _listed(x, gradients(x, Results(*results), given, of_rows))


@_operator_backward.register_fake
def _(*arguments):
    x = Arguments(*arguments[:-3])
    return _listed(x, empty_gradients(x, arguments[-1]))


def _listed(x: Arguments, found: Gradients) -> list[Tensor]:
    """As an operator gives them: an empty tensor in the place of None."""
    return [x.rows.new_empty(0) if gradient is None else gradient for gradient in found]


def _operator_differentiate(ctx, *given):
    def by_operator(x: Arguments, results: Sequence[Tensor], given: Sequence[Tensor], of_rows: bool) -> Gradients:
        return Gradients(*_operator_backward(*x, list(results), list(given), of_rows))

    return differentiate(ctx, by_operator, given)


_operator.register_autograd(
    _operator_differentiate, setup_context=lambda ctx, inputs, output: remember(ctx, inputs, output)
)
