"""The minimal GRU (Feng et al. 2024, "Were RNNs all we needed?", arXiv:2410.01201, section 3.1).

    z  = σ(x W_xz + b_z)        update gate    how much of the old state to keep
    n  = x W_xn + b_n           candidate      what to write; not squashed
    h' = (1 − z) ⊙ n + z ⊙ h

B batch, I input, H hidden. The two gates lie side by side in the order z, n. No gate sees the old state, so that all
gates of all steps can be had at once, and what is left, h' = a ⊙ h + b, can be run in parallel over time
(``gatelab.nn.MinGRU``). This is the paper's plain form; its form in log space computes the same for candidates that a
positive function was applied to. As in this package's GRU, z keeps the **old** state; the paper's z is our 1 − z, so
that weights from there need the rows of z, and their bias, negated.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gatelab.cells.activations import sigmoid, sigmoid_slope
from gatelab.cells.cell import Array, Cell, Quantity, gate


class MinGRUParams(NamedTuple):
    """Parameters of the minimal GRU; none belongs to the old state."""

    weight_ih: Array  # (2H, I)
    bias_ih: Array  # (2H,)


class MinGRUState(NamedTuple):
    """All that the minimal GRU carries from step to step."""

    h: Array  # (B, H) what the step shows and remembers


class MinGRUGates(NamedTuple):
    """What a step computed on the way."""

    z: Array  # (B, H)
    n: Array  # (B, H)
    pre: Array  # (B, 2H) pre-activations of z, n; n's are n itself


def min_gru_step(params: MinGRUParams, x: Array, state: MinGRUState) -> tuple[MinGRUState, MinGRUGates]:
    """One step: ``x (B, I)`` and the state before it give the state after it and the gates."""
    pre = x @ params.weight_ih.T + params.bias_ih  # (B, 2H)
    zz, n = np.split(pre, 2, axis=1)  # (B, H) each
    z = sigmoid(zz)  # (B, H)
    return MinGRUState(h=(1 - z) * n + z * state.h), MinGRUGates(z, n, pre)


def min_gru_step_backward(
    params: MinGRUParams, x: Array, state: MinGRUState, gates: MinGRUGates, dstate: MinGRUState
) -> tuple[Array, MinGRUState, MinGRUParams]:
    """The same step backwards: from ∂loss/∂h' to ∂loss/∂(x, h) and the parameters."""
    z, n, _ = gates
    dz, dn = dstate.h * (state.h - n), dstate.h * (1 - z)  # (B, H) each
    dpre = np.concatenate([dz * sigmoid_slope(z), dn], axis=1)  # (B, 2H)
    dparams = MinGRUParams(weight_ih=dpre.T @ x, bias_ih=dpre.sum(0))
    return dpre @ params.weight_ih, MinGRUState(h=dstate.h * z), dparams


MIN_GRU = Cell(
    name="min_gru",
    title="minGRU",
    family="min_gru",
    gates=("z", "n"),
    Params=MinGRUParams,
    State=MinGRUState,
    Gates=MinGRUGates,
    step=min_gru_step,
    step_backward=min_gru_step_backward,
    quantities={
        "z": gate("update gate", "how much of the old state to keep"),
        "n": Quantity("candidate", "what to write"),
        "h": Quantity("hidden state", "what the step shows and remembers"),
    },
    keeps="z",
)
