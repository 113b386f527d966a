"""The work that is timed: a layer's forward pass, and forward and backward together, with every result by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gatelab.bench.harness import Bench, Shape
from gatelab.bench.timing import Results
from gatelab.cells import CELLS
from gatelab.nn.layers import LAYERS, Recurrent

TORCH: dict[str, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
TRAINING_FLOPS = 3
"""Backward multiplies twice as often as forward: for the gradients of what went in, and of the weights."""


def layer_of(cell: str, shape: Shape, bench: Bench, **options: Any) -> Recurrent:
    """Gatelab's layer, with the weights that torch's stream gives."""
    return LAYERS[cell](shape.I, shape.H, device=bench.device, dtype=bench.dtype, **options)


def torch_twin(layer: Recurrent) -> nn.RNNBase:
    """``torch.nn``'s layer with the same weights."""
    like = layer.weight_ih_l0
    twin = TORCH[layer.cell](layer.input_size, layer.hidden_size, device=like.device, dtype=like.dtype)
    twin.load_state_dict(layer.state_dict())
    return twin


def sequences(shape: Shape, bench: Bench) -> Tensor:
    """Standard normal input ``(T, B, I)``."""
    return torch.randn(shape.T, shape.B, shape.I, device=bench.device).to(bench.dtype)


def flops(cell: str, shape: Shape, rows: int | None = None) -> float:
    """Floating-point operations of the forward products, two for a multiply-add; bias and gates are left out.

    Args:
        cell: name in ``gatelab.cells.CELLS``.
        shape: sizes of batch and layer.
        rows: steps of all sequences together; ``B·T`` unless given.
    """
    rows = shape.B * shape.T if rows is None else rows
    return 2.0 * rows * (shape.I + shape.H) * len(CELLS[cell].gates) * shape.H


def forward(call: Callable[[Any], Any], x: Tensor | PackedSequence) -> Callable[[], Results]:
    """A forward pass without a graph."""

    def work() -> Results:
        with torch.no_grad():
            return named(*call(x))

    return work


def training(
    layer: nn.Module,
    x: Tensor | PackedSequence,
    doutput: Tensor,
    *,
    call: Callable[[Any], Any] | None = None,
    through_state: bool = True,
) -> Callable[[], Results]:
    """Forward and backward: outputs, final states, and the gradients of the input and of every parameter.

    Args:
        layer: whose parameters to differentiate by.
        x: the input.
        doutput: ∂loss/∂output, in the shape of the output (its rows, where packed).
        call: what to call instead of the layer, with the same result.
        through_state: whether the loss sees the final states, too, each with weight one.
    """
    call = call or layer
    rows = (x.data if isinstance(x, PackedSequence) else x).clone().requires_grad_()
    given = x._replace(data=rows) if isinstance(x, PackedSequence) else rows
    leaves = {"x": rows, **dict(layer.named_parameters())}

    def work() -> Results:
        results = named(*call(given))
        ends = [results["output"], *([results[name] for name in ("h", "c") if name in results] * through_state)]
        dends = [doutput, *(torch.ones_like(end) for end in ends[1:])]
        gradients = torch.autograd.grad(ends, list(leaves.values()), dends)
        return results | {f"∂{name}": gradient for name, gradient in zip(leaves, gradients, strict=True)}

    return work


def named(output: Tensor | PackedSequence, state: Tensor | tuple[Tensor, ...]) -> dict[str, Tensor]:
    """What a layer gave, by name; of a packed output the rows."""
    states = state if isinstance(state, tuple) else (state,)
    rows = output.data if isinstance(output, PackedSequence) else output
    return {"output": rows, **dict(zip(("h", "c"), states, strict=False))}
