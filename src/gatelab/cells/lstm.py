"""Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate, Gers et al. 2000).

    i  = σ(x W_xi + h W_hi + b_i)       input gate     how much of the candidate to write
    f  = σ(x W_xf + h W_hf + b_f)       forget gate    how much of the old cell to keep
    g  = tanh(x W_xg + h W_hg + b_g)    candidate      what to write
    o  = σ(x W_xo + h W_ho + b_o)       output gate    how much of the cell to show
    c' = f ⊙ c + i ⊙ g
    h' = o ⊙ tanh(c')

B batch, I input, H hidden. The four gates lie side by side in the order i, f, g, o. From c to c' the gradient is
multiplied by f alone, with no matrix and no squashing: that path is what lets it last.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gatelab.cells.activations import sigmoid, sigmoid_slope, tanh_slope
from gatelab.cells.cell import Array, Cell, Gates, Quantity, gate


class LSTMParams(NamedTuple):
    """Parameters of the LSTM, named and laid out as in torch."""

    weight_ih: Array  # (4H, I)
    weight_hh: Array  # (4H, H)
    bias_ih: Array  # (4H,)
    bias_hh: Array  # (4H,)


class LSTMState(NamedTuple):
    """What the LSTM carries from step to step."""

    h: Array  # (B, H) what the step shows
    c: Array  # (B, H) what it remembers


class LSTMGates(NamedTuple):
    """What a step computed on the way."""

    i: Array  # (B, H)
    f: Array  # (B, H)
    g: Array  # (B, H)
    o: Array  # (B, H)
    tanh_c: Array  # (B, H)
    pre: Array  # (B, 4H) pre-activations of i, f, g, o


def lstm_step(params: LSTMParams, x: Array, state: LSTMState) -> tuple[LSTMState, LSTMGates]:
    """One step: ``x (B, I)`` and the state before it give the state after it and the gates."""
    z = x @ params.weight_ih.T + params.bias_ih + state.h @ params.weight_hh.T + params.bias_hh  # (B, 4H)
    zi, zf, zg, zo = np.split(z, 4, axis=1)  # (B, H) each
    i, f, g, o = sigmoid(zi), sigmoid(zf), np.tanh(zg), sigmoid(zo)  # (B, H) each
    c = f * state.c + i * g  # (B, H)
    tanh_c = np.tanh(c)  # (B, H)
    return LSTMState(h=o * tanh_c, c=c), LSTMGates(i, f, g, o, tanh_c, pre=z)


def lstm_step_backward(
    params: LSTMParams, x: Array, state: LSTMState, gates: LSTMGates, dstate: LSTMState
) -> tuple[Array, LSTMState, LSTMParams]:
    """The same step backwards: from ∂loss/∂(h', c') to ∂loss/∂(x, h, c) and the parameters."""
    i, f, g, o, tanh_c, _ = gates
    do = dstate.h * tanh_c  # (B, H)
    dc = lstm_state_gradient(gates, dstate).c  # (B, H)
    di, df, dg = dc * g, dc * state.c, dc * i  # (B, H) each
    dzi, dzf, dzo = di * sigmoid_slope(i), df * sigmoid_slope(f), do * sigmoid_slope(o)  # (B, H) each
    dz = np.concatenate([dzi, dzf, dg * tanh_slope(g), dzo], axis=1)  # (B, 4H)
    dparams = LSTMParams(weight_ih=dz.T @ x, weight_hh=dz.T @ state.h, bias_ih=dz.sum(0), bias_hh=dz.sum(0))
    return dz @ params.weight_ih, LSTMState(h=dz @ params.weight_hh, c=dc * f), dparams


def lstm_state_gradient(gates: Gates, dstate: LSTMState) -> LSTMState:
    """What a change of h' or c' does to the loss in all: the next step uses c', and so does h' = o ⊙ tanh(c').

    Of the gates it reads ``o`` and ``tanh_c``, which every LSTM has.
    """
    return LSTMState(h=dstate.h, c=dstate.c + dstate.h * gates.o * tanh_slope(gates.tanh_c))  # (B, H) each


LSTM = Cell(
    name="lstm",
    title="LSTM",
    family="lstm",
    gates=("i", "f", "g", "o"),
    Params=LSTMParams,
    State=LSTMState,
    Gates=LSTMGates,
    step=lstm_step,
    step_backward=lstm_step_backward,
    state_gradient=lstm_state_gradient,
    quantities={
        "i": gate("input gate", "how much of the candidate to write"),
        "f": gate("forget gate", "how much of the old cell to keep"),
        "g": Quantity("candidate", "what to write", -1.0, 1.0),
        "o": gate("output gate", "how much of the cell to show"),
        "tanh_c": Quantity("squashed cell", "what the output gate lets through", -1.0, 1.0),
        "h": Quantity("hidden state", "what the step shows", -1.0, 1.0),
        "c": Quantity("cell state", "what it remembers"),
    },
    keeps="f",
    writes="i",
    torch_twin="LSTM",
)
