"""Gated recurrent unit (Cho et al. 2014, arXiv:1406.1078, eq. 5–8), with the reset gate in either place.

    r  = σ(x W_xr + h W_hr + b_r)                     reset gate     how much of the old state the candidate sees
    z  = σ(x W_xz + h W_hz + b_z)                     update gate    how much of the old state to keep
    n  = tanh(x W_xn + b_xn + r ⊙ (h W_hn + b_hn))    candidate, reset after the multiplication (torch, cuDNN)
    n  = tanh(x W_xn + b_xn + (r ⊙ h) W_hn + b_hn)    candidate, reset before it (Cho et al. 2014)
    h' = (1 − z) ⊙ n + z ⊙ h

B batch, I input, H hidden. The three gates lie side by side in the order r, z, n; z keeps the old state. With the
reset after the multiplication, one product with h serves all three gates; with the reset before it, the candidate's
product has to wait for r. They are two functions of the same parameters: weights trained for one do not suit the other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gatelab.cells.activations import sigmoid, sigmoid_slope, tanh_slope
from gatelab.cells.cell import Array, Cell, Quantity, gate


class GRUParams(NamedTuple):
    """Parameters of the GRU, named and laid out as in torch; the same for both placements of the reset gate."""

    weight_ih: Array  # (3H, I)
    weight_hh: Array  # (3H, H)
    bias_ih: Array  # (3H,)
    bias_hh: Array  # (3H,)


class GRUState(NamedTuple):
    """All that the GRU carries from step to step."""

    h: Array  # (B, H) what the step shows and remembers


class GRUGates(NamedTuple):
    """What a step computed on the way, with the reset after the multiplication."""

    r: Array  # (B, H)
    z: Array  # (B, H)
    n: Array  # (B, H)
    hn: Array  # (B, H) the hidden side of the candidate, before r is applied
    pre: Array  # (B, 3H) pre-activations of r, z, n


class GRUResetBeforeGates(NamedTuple):
    """What a step computed on the way, with the reset before the multiplication."""

    r: Array  # (B, H)
    z: Array  # (B, H)
    n: Array  # (B, H)
    rh: Array  # (B, H) the old state after r is applied: what the candidate sees
    pre: Array  # (B, 3H) pre-activations of r, z, n


def gru_step(params: GRUParams, x: Array, state: GRUState) -> tuple[GRUState, GRUGates]:
    """One step, reset after: ``x (B, I)`` and the state before it give the state after it and the gates."""
    xr, xz, xn = np.split(x @ params.weight_ih.T + params.bias_ih, 3, axis=1)  # (B, H) each
    hr, hz, hn = np.split(state.h @ params.weight_hh.T + params.bias_hh, 3, axis=1)  # (B, H) each
    r, z = sigmoid(xr + hr), sigmoid(xz + hz)  # (B, H) each
    pre_n = xn + r * hn  # (B, H)
    n = np.tanh(pre_n)  # (B, H)
    pre = np.concatenate([xr + hr, xz + hz, pre_n], axis=1)  # (B, 3H)
    return GRUState(h=(1 - z) * n + z * state.h), GRUGates(r, z, n, hn, pre)


def gru_step_backward(
    params: GRUParams, x: Array, state: GRUState, gates: GRUGates, dstate: GRUState
) -> tuple[Array, GRUState, GRUParams]:
    """The same step backwards: from ∂loss/∂h' to ∂loss/∂(x, h) and the parameters."""
    r, z, n, hn, _ = gates
    dz = dstate.h * (state.h - n)  # (B, H)
    dn = dstate.h * (1 - z)  # (B, H)
    dpre_z, dpre_n = dz * sigmoid_slope(z), dn * tanh_slope(n)  # (B, H) each
    dpre_r = dpre_n * hn * sigmoid_slope(r)  # (B, H)
    from_x = np.concatenate([dpre_r, dpre_z, dpre_n], axis=1)  # (B, 3H)
    from_h = np.concatenate([dpre_r, dpre_z, dpre_n * r], axis=1)  # (B, 3H); only this side of n went through r
    dparams = GRUParams(
        weight_ih=from_x.T @ x, weight_hh=from_h.T @ state.h, bias_ih=from_x.sum(0), bias_hh=from_h.sum(0)
    )
    return from_x @ params.weight_ih, GRUState(h=dstate.h * z + from_h @ params.weight_hh), dparams


def gru_reset_before_step(params: GRUParams, x: Array, state: GRUState) -> tuple[GRUState, GRUResetBeforeGates]:
    """One step, reset before: ``x (B, I)`` and the state before it give the state after it and the gates."""
    H = state.h.shape[1]
    xr, xz, xn = np.split(x @ params.weight_ih.T + params.bias_ih, 3, axis=1)  # (B, H) each
    hr, hz = np.split(state.h @ params.weight_hh[: 2 * H].T + params.bias_hh[: 2 * H], 2, axis=1)  # (B, H) each
    r, z = sigmoid(xr + hr), sigmoid(xz + hz)  # (B, H) each
    rh = r * state.h  # (B, H)
    pre_n = xn + rh @ params.weight_hh[2 * H :].T + params.bias_hh[2 * H :]  # (B, H)
    n = np.tanh(pre_n)  # (B, H)
    pre = np.concatenate([xr + hr, xz + hz, pre_n], axis=1)  # (B, 3H)
    return GRUState(h=(1 - z) * n + z * state.h), GRUResetBeforeGates(r, z, n, rh, pre)


def gru_reset_before_step_backward(
    params: GRUParams, x: Array, state: GRUState, gates: GRUResetBeforeGates, dstate: GRUState
) -> tuple[Array, GRUState, GRUParams]:
    """The same step backwards: from ∂loss/∂h' to ∂loss/∂(x, h) and the parameters."""
    r, z, n, rh, _ = gates
    H = state.h.shape[1]
    dz = dstate.h * (state.h - n)  # (B, H)
    dn = dstate.h * (1 - z)  # (B, H)
    dpre_z, dpre_n = dz * sigmoid_slope(z), dn * tanh_slope(n)  # (B, H) each
    drh = dpre_n @ params.weight_hh[2 * H :]  # (B, H)
    dpre_r = drh * state.h * sigmoid_slope(r)  # (B, H)
    drz = np.concatenate([dpre_r, dpre_z], axis=1)  # (B, 2H); these two saw h itself, the candidate saw r ⊙ h
    dpre = np.concatenate([drz, dpre_n], axis=1)  # (B, 3H)
    dweight_hh = np.concatenate([drz.T @ state.h, dpre_n.T @ rh])  # (3H, H)
    dparams = GRUParams(weight_ih=dpre.T @ x, weight_hh=dweight_hh, bias_ih=dpre.sum(0), bias_hh=dpre.sum(0))
    dh = dstate.h * z + drh * r + drz @ params.weight_hh[: 2 * H]  # (B, H)
    return dpre @ params.weight_ih, GRUState(h=dh), dparams


_QUANTITIES = {
    "r": gate("reset gate", "how much of the old state the candidate sees"),
    "z": gate("update gate", "how much of the old state to keep"),
    "n": Quantity("candidate", "what to write", -1.0, 1.0),
    "h": Quantity("hidden state", "what the step shows and remembers", -1.0, 1.0),
}

GRU = Cell(
    name="gru",
    title="GRU",
    family="gru",
    gates=("r", "z", "n"),
    Params=GRUParams,
    State=GRUState,
    Gates=GRUGates,
    step=gru_step,
    step_backward=gru_step_backward,
    quantities=_QUANTITIES | {"hn": Quantity("hidden side", "what the old state says to the candidate, before r")},
    keeps="z",
    torch_twin="GRU",
)

GRU_RESET_BEFORE = Cell(
    name="gru_reset_before",
    title="GRU (reset before)",
    family="gru",
    gates=("r", "z", "n"),
    Params=GRUParams,
    State=GRUState,
    Gates=GRUResetBeforeGates,
    step=gru_reset_before_step,
    step_backward=gru_reset_before_step_backward,
    quantities=_QUANTITIES | {"rh": Quantity("reset state", "the old state as the candidate sees it", -1.0, 1.0)},
    keeps="z",
    options={"reset_after": False},
)
