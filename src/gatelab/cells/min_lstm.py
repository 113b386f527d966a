"""The minimal LSTM (Feng et al. 2024, "Were RNNs all we needed?", arXiv:2410.01201, section 3.2).

    i  = σ(x W_xi + b_i)        input gate     how much of the candidate to write, beside f
    f  = σ(x W_xf + b_f)        forget gate    how much of the old state to keep, beside i
    g  = x W_xg + b_g           candidate      what to write; not squashed
    k  = f / (f + i)            share kept     the two gates, made to add up to one
    h' = k ⊙ h + (1 − k) ⊙ g

B batch, I input, H hidden. The three gates lie side by side in the order i, f, g. No gate sees the old state, so that
all gates of all steps can be had at once, and what is left, h' = a ⊙ h + b, can be run in parallel over time
(``gatelab.nn.MinLSTM``). This is the paper's plain form with normalised gates; its form in log space computes the same
for candidates that a positive function was applied to.

The share is computed as k = σ(log f − log i): where both gates are closed, f / (f + i) would be 0 / 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gatelab.cells.activations import sigmoid, sigmoid_slope
from gatelab.cells.cell import Array, Cell, Quantity, gate


class MinLSTMParams(NamedTuple):
    """Parameters of the minimal LSTM; none belongs to the old state."""

    weight_ih: Array  # (3H, I)
    bias_ih: Array  # (3H,)


class MinLSTMState(NamedTuple):
    """All that the minimal LSTM carries from step to step."""

    h: Array  # (B, H) what the step shows and remembers


class MinLSTMGates(NamedTuple):
    """What a step computed on the way."""

    i: Array  # (B, H)
    f: Array  # (B, H)
    g: Array  # (B, H)
    k: Array  # (B, H) f / (f + i)
    pre: Array  # (B, 3H) pre-activations of i, f, g; g's are g itself


def min_lstm_step(params: MinLSTMParams, x: Array, state: MinLSTMState) -> tuple[MinLSTMState, MinLSTMGates]:
    """One step: ``x (B, I)`` and the state before it give the state after it and the gates."""
    pre = x @ params.weight_ih.T + params.bias_ih  # (B, 3H)
    zi, zf, g = np.split(pre, 3, axis=1)  # (B, H) each
    k = sigmoid(np.logaddexp(0, -zi) - np.logaddexp(0, -zf))  # (B, H); log σ(z) = −log(1 + e⁻ᶻ)
    return MinLSTMState(h=k * state.h + (1 - k) * g), MinLSTMGates(sigmoid(zi), sigmoid(zf), g, k, pre)


def min_lstm_step_backward(
    params: MinLSTMParams, x: Array, state: MinLSTMState, gates: MinLSTMGates, dstate: MinLSTMState
) -> tuple[Array, MinLSTMState, MinLSTMParams]:
    """The same step backwards: from ∂loss/∂h' to ∂loss/∂(x, h) and the parameters."""
    i, f, g, k, _ = gates
    dlog = dstate.h * (state.h - g) * sigmoid_slope(k)  # (B, H) ∂loss/∂(log f − log i)
    dzi, dzf = -dlog * (1 - i), dlog * (1 - f)  # (B, H) each; log σ has slope 1 − σ
    dpre = np.concatenate([dzi, dzf, dstate.h * (1 - k)], axis=1)  # (B, 3H)
    dparams = MinLSTMParams(weight_ih=dpre.T @ x, bias_ih=dpre.sum(0))
    return dpre @ params.weight_ih, MinLSTMState(h=dstate.h * k), dparams


MIN_LSTM = Cell(
    name="min_lstm",
    title="minLSTM",
    family="min_lstm",
    gates=("i", "f", "g"),
    Params=MinLSTMParams,
    State=MinLSTMState,
    Gates=MinLSTMGates,
    step=min_lstm_step,
    step_backward=min_lstm_step_backward,
    quantities={
        "i": gate("input gate", "how much of the candidate to write, beside the forget gate"),
        "f": gate("forget gate", "how much of the old state to keep, beside the input gate"),
        "g": Quantity("candidate", "what to write"),
        "k": gate("share kept", "how much of the old state is left: f / (f + i)"),
        "h": Quantity("hidden state", "what the step shows and remembers"),
    },
    keeps="f",
    writes="i",
)
