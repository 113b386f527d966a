"""The operation of ``recurrence`` as an operator of torch, ``gatelab::recurrence``, that a compiled graph keeps whole.

A call of an operator costs some 100 µs more than one of an ``autograd.Function``, so that eager code does without.
torch keeps compiled graphs on disk and knows operators by their names: when the arguments of one change, so must its
name.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gatelab.nn.recurrence import (
    Arguments,
    Eager,
    Results,
    StepGradients,
    backward_steps,
    differentiate,
    empty_gradients,
    empty_results,
    forward,
    remember,
)


def recurrence(x: Arguments) -> tuple[Tensor, ...]:
    """One stacked layer in one direction: outputs ``(N, H)`` and the final h and c."""
    if torch.compiler.is_compiling():
        return _operator(*x)[:3]
    return Eager.apply(*x) if x.keep else forward(x)[:3]


@torch.library.custom_op("gatelab::recurrence", mutates_args=())
def _operator(
    cell: str,
    reverse: bool,
    keep: bool,
    offsets: Tensor | None,
    rows: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
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
    weights, biases = (weight_ih, weight_hh), (bias_ih, bias_hh)
    optional = gain, gain_c, bias_c, peephole, mask, zoneout_h, zoneout_c, kept_h, kept_c
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
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
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
    weights, biases = (weight_ih, weight_hh), (bias_ih, bias_hh)
    optional = gain, gain_c, bias_c, peephole, mask, zoneout_h, zoneout_c, kept_h, kept_c
    x = Arguments(cell, reverse, keep, offsets, rows, *weights, *biases, h, c, *optional)
    return backward_steps(x, Results(*results), *gradients)


@_operator_backward.register_fake
def _(*arguments):
    return tuple(empty_gradients(Arguments(*arguments[:-2])))


def _operator_differentiate(ctx, *gradients):
    def steps(x: Arguments, results: Results, *given: Tensor) -> StepGradients:
        return StepGradients(*_operator_backward(*x, list(results), list(given)))

    return differentiate(ctx, steps, gradients)


_operator.register_autograd(
    _operator_differentiate, setup_context=lambda ctx, inputs, output: remember(ctx, inputs, output)
)
