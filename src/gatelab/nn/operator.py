"""The operation of ``recurrence`` as an operator of torch, ``gatelab::recurrence``, that a compiled graph keeps whole.

A call of an operator costs some 100 µs more than one of an ``autograd.Function``, so that eager code does without.
torch keeps compiled graphs on disk and knows operators by their names: when the arguments of one change, so must its
name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_type_hints

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from gatelab.nn import modes
from gatelab.nn.derivatives import Eager, Gradients, differentiate, empty_gradients, filled, gradients, remember
from gatelab.nn.recurrence import Arguments, Results, empty_results, forward


def recurrence(x: Arguments) -> tuple[Any, ...]:
    """One stacked layer in one direction: outputs ``(N, H)`` and the final h and, where there is one, c."""
    if torch.compiler.is_compiling() or modes.watched():
        return _operator(*x)[:3]
    if x.keep:
        return Eager.apply(*x)
    return forward(x)[:3]


_WORDS = {str: "str", bool: "bool", float: "float", Tensor: "Tensor", Tensor | None: "Tensor?"}
_TAKEN = ", ".join(f"{_WORDS[kind]} {name}" for name, kind in get_type_hints(Arguments).items())
_GIVEN = ", ".join("Tensor" for _ in Results._fields)


@torch.library.custom_op("gatelab::recurrence", mutates_args=(), schema=f"({_TAKEN}) -> ({_GIVEN})")
def _operator(*arguments):
    """``Arguments`` to ``Results``."""
    return forward(Arguments(*arguments), apart=True)


@_operator.register_fake
def _(*arguments):
    return tuple(empty_results(Arguments(*arguments), apart=True))


@torch.library.custom_op(
    "gatelab::recurrence_backward",
    mutates_args=(),
    schema=f"({_TAKEN}, Tensor[] results, Tensor[] given, bool of_rows) -> Tensor[]",
)
def _operator_backward(*arguments):
    """``Arguments``, ``Results`` and ∂loss/∂(out, h, c) to ``Gradients``."""
    *taken, results, given, of_rows = arguments
    x = Arguments(*taken)
    return _listed(x, gradients(x, Results(*results), given, of_rows))


@_operator_backward.register_fake
def _(*arguments):
    x = Arguments(*arguments[:-3])
    return _listed(x, empty_gradients(x, arguments[-1]))


def _listed(x: Arguments, found: Gradients) -> list[Tensor]:
    """As an operator gives them: an empty tensor in the place of None."""
    return [x.rows.new_empty(0) if gradient is None else gradient for gradient in found]


def _operator_differentiate(ctx, *given):
    def by_operator(x: Arguments, saved: Sequence[Tensor], given: Sequence[Tensor | None], of_rows: bool) -> Gradients:
        return Gradients(*_operator_backward(*x, list(saved), list(filled(given, saved)), of_rows))

    return differentiate(ctx, by_operator, given)


_operator.register_autograd(
    _operator_differentiate, setup_context=lambda ctx, inputs, output: remember(ctx, inputs, output)
)


# ---- for torch.utils.flop_counter ------------------------------------------------------------------------------------


@register_flop_formula(torch.ops.gatelab.recurrence)
def _flops(*shapes, out_shape=None, **_) -> int:
    """Multiplications and additions of the products with both weight matrices, as torch counts those of its own."""
    (N, I), (width, H) = shapes[_ROWS], shapes[_WEIGHT_HH]  # noqa: E741
    return 2 * N * (I + H) * width


@register_flop_formula(torch.ops.gatelab.recurrence_backward)
def _backward_flops(*shapes, out_shape=None, **_) -> int:
    """Those of the gradients of the weights, and of the gradients that go back to states and inputs."""
    (N, I), (width, H) = shapes[_ROWS], shapes[_WEIGHT_HH]  # noqa: E741
    of_rows = shapes[-1]
    return 2 * N * (2 * H + I + (I if of_rows else 0)) * width


_ROWS, _WEIGHT_HH = Arguments._fields.index("rows"), Arguments._fields.index("weight_hh")
