"""The vanilla recurrent network (Elman 1990, "Finding structure in time"), with tanh or with ReLU (Le et al. 2015).

    h' = tanh(x W_xh + h W_hh + b_h)      or relu(…): the new content replaces the old state whole

B batch, I input, H hidden. There is no gate: each step multiplies the gradient by W_hh once more, which is why it
vanishes or explodes (Bengio et al. 1994).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gatelab.cells.activations import tanh_slope
from gatelab.cells.cell import Array, Cell, Quantity


class RNNParams(NamedTuple):
    """Parameters of the vanilla RNN, named and laid out as in torch."""

    weight_ih: Array  # (H, I)
    weight_hh: Array  # (H, H)
    bias_ih: Array  # (H,)
    bias_hh: Array  # (H,)


class RNNState(NamedTuple):
    """All that the vanilla RNN carries from step to step."""

    h: Array  # (B, H) what the step shows


class RNNGates(NamedTuple):
    """What a step computed on the way; the vanilla RNN has no gate, only what becomes its state."""

    h: Array  # (B, H) the state after the step
    pre: Array  # (B, H) pre-activation


def rnn_preactivation(params: RNNParams, x: Array, state: RNNState) -> Array:
    """What goes into tanh or ReLU, from ``x (B, I)`` and the state before the step."""
    return x @ params.weight_ih.T + params.bias_ih + state.h @ params.weight_hh.T + params.bias_hh  # (B, H)


def rnn_preactivation_backward(
    params: RNNParams, x: Array, state: RNNState, dpre: Array
) -> tuple[Array, RNNState, RNNParams]:
    """From ∂loss/∂pre ``(B, H)`` to ∂loss/∂(x, h) and the parameters."""
    dparams = RNNParams(weight_ih=dpre.T @ x, weight_hh=dpre.T @ state.h, bias_ih=dpre.sum(0), bias_hh=dpre.sum(0))
    return dpre @ params.weight_ih, RNNState(h=dpre @ params.weight_hh), dparams


def rnn_step(params: RNNParams, x: Array, state: RNNState) -> tuple[RNNState, RNNGates]:
    """One step with tanh: ``x (B, I)`` and the state before it give the state after it and the gates."""
    pre = rnn_preactivation(params, x, state)  # (B, H)
    h = np.tanh(pre)  # (B, H)
    return RNNState(h), RNNGates(h, pre)


def rnn_step_backward(
    params: RNNParams, x: Array, state: RNNState, gates: RNNGates, dstate: RNNState
) -> tuple[Array, RNNState, RNNParams]:
    """The tanh step backwards: from ∂loss/∂h' to ∂loss/∂(x, h) and the parameters."""
    dpre = dstate.h * tanh_slope(gates.h)  # (B, H)
    return rnn_preactivation_backward(params, x, state, dpre)


def rnn_relu_step(params: RNNParams, x: Array, state: RNNState) -> tuple[RNNState, RNNGates]:
    """One step with ReLU: ``x (B, I)`` and the state before it give the state after it and the gates."""
    pre = rnn_preactivation(params, x, state)  # (B, H)
    h = np.maximum(pre, 0)  # (B, H)
    return RNNState(h), RNNGates(h, pre)


def rnn_relu_step_backward(
    params: RNNParams, x: Array, state: RNNState, gates: RNNGates, dstate: RNNState
) -> tuple[Array, RNNState, RNNParams]:
    """The ReLU step backwards; at the kink the slope is taken as 0, as torch takes it."""
    dpre = dstate.h * (gates.pre > 0)  # (B, H)
    return rnn_preactivation_backward(params, x, state, dpre)


RNN = Cell(
    name="rnn",
    title="RNN",
    family="rnn",
    gates=("h",),
    Params=RNNParams,
    State=RNNState,
    Gates=RNNGates,
    step=rnn_step,
    step_backward=rnn_step_backward,
    quantities={
        "h": Quantity("hidden state", "what the step shows and remembers", -1.0, 1.0),
    },
    torch_twin="RNN",
)

RNN_RELU = Cell(
    name="rnn_relu",
    title="RNN (ReLU)",
    family="rnn",
    gates=("h",),
    Params=RNNParams,
    State=RNNState,
    Gates=RNNGates,
    step=rnn_relu_step,
    step_backward=rnn_relu_step_backward,
    quantities={
        "h": Quantity("hidden state", "what the step shows and remembers", 0.0, None),
    },
    options={"nonlinearity": "relu"},
    torch_twin="RNN",
)
