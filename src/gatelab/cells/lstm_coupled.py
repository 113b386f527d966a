"""The LSTM with coupled input and forget gates ("CIFG", Greff et al. 2017, arXiv:1503.04069, section 3.2).

    f  = σ(x W_xf + h W_hf + b_f)       forget gate    how much of the old cell to keep; the rest is written anew
    g  = tanh(x W_xg + h W_hg + b_g)    candidate      what to write
    o  = σ(x W_xo + h W_ho + b_o)       output gate    how much of the cell to show
    c' = f ⊙ c + (1 − f) ⊙ g
    h' = o ⊙ tanh(c')

B batch, I input, H hidden. The three gates lie side by side in the order f, g, o: it is the LSTM with i = 1 − f, and
a quarter of the parameters less. The new cell lies between the old one and the candidate, so that it cannot grow.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gatelab.cells.activations import sigmoid, sigmoid_slope, tanh_slope
from gatelab.cells.cell import Array, Cell, Quantity, gate
from gatelab.cells.lstm import LSTM, LSTMState, lstm_state_gradient


class LSTMCoupledParams(NamedTuple):
    """Parameters of the coupled LSTM, named as in torch."""

    weight_ih: Array  # (3H, I)
    weight_hh: Array  # (3H, H)
    bias_ih: Array  # (3H,)
    bias_hh: Array  # (3H,)


class LSTMCoupledGates(NamedTuple):
    """What a step computed on the way."""

    f: Array  # (B, H)
    g: Array  # (B, H)
    o: Array  # (B, H)
    tanh_c: Array  # (B, H)
    pre: Array  # (B, 3H) pre-activations of f, g, o


def lstm_coupled_step(params: LSTMCoupledParams, x: Array, state: LSTMState) -> tuple[LSTMState, LSTMCoupledGates]:
    """One step: ``x (B, I)`` and the state before it give the state after it and the gates."""
    z = x @ params.weight_ih.T + params.bias_ih + state.h @ params.weight_hh.T + params.bias_hh  # (B, 3H)
    zf, zg, zo = np.split(z, 3, axis=1)  # (B, H) each
    f, g, o = sigmoid(zf), np.tanh(zg), sigmoid(zo)  # (B, H) each
    c = f * state.c + (1 - f) * g  # (B, H)
    tanh_c = np.tanh(c)  # (B, H)
    return LSTMState(h=o * tanh_c, c=c), LSTMCoupledGates(f, g, o, tanh_c, pre=z)


def lstm_coupled_step_backward(
    params: LSTMCoupledParams, x: Array, state: LSTMState, gates: LSTMCoupledGates, dstate: LSTMState
) -> tuple[Array, LSTMState, LSTMCoupledParams]:
    """The same step backwards: from ∂loss/∂(h', c') to ∂loss/∂(x, h, c) and the parameters."""
    f, g, o, tanh_c, _ = gates
    do = dstate.h * tanh_c  # (B, H)
    dc = lstm_state_gradient(gates, dstate).c  # (B, H)
    df, dg = dc * (state.c - g), dc * (1 - f)  # (B, H) each; f keeps c and leaves out g
    dz = np.concatenate([df * sigmoid_slope(f), dg * tanh_slope(g), do * sigmoid_slope(o)], axis=1)  # (B, 3H)
    dparams = LSTMCoupledParams(weight_ih=dz.T @ x, weight_hh=dz.T @ state.h, bias_ih=dz.sum(0), bias_hh=dz.sum(0))
    return dz @ params.weight_ih, LSTMState(h=dz @ params.weight_hh, c=dc * f), dparams


LSTM_COUPLED = Cell(
    name="lstm_coupled",
    title="LSTM (coupled)",
    family="lstm",
    gates=("f", "g", "o"),
    Params=LSTMCoupledParams,
    State=LSTMState,
    Gates=LSTMCoupledGates,
    step=lstm_coupled_step,
    step_backward=lstm_coupled_step_backward,
    state_gradient=lstm_state_gradient,
    quantities={name: meaning for name, meaning in LSTM.quantities.items() if name != "i"}
    | {
        "f": gate("forget gate", "how much of the old cell to keep; the rest is written anew"),
        "c": Quantity("cell state", "what it remembers", -1.0, 1.0),
    },
    keeps="f",
    options={"coupled": True},
)
