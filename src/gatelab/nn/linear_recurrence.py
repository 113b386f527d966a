"""h_t = a_t ⊙ h_{t−1} + b_t for all steps at once, and the minimal cells, which are of that form.

Two steps in turn, h ↦ a₁h + b₁ and then h ↦ a₂h + b₂, are one step of the same form: h ↦ (a₂a₁)h + (a₂b₁ + b₂). This
composition is associative, so that T steps can be run as log₂ T rounds of composing neighbours (Blelloch 1990, "Prefix
sums and their applications"; Martin & Cundy 2018, arXiv:1709.04057, for recurrent networks). Nothing is divided, so
that a product of many small a that underflows to 0 is what it should be: forgotten.

T time, B batch, H hidden, G gates, N rows of all steps together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

Record = Mapping[str, Tensor]  # what a step computed on its way, by name


# ---- the recurrence -----------------------------------------------------------------------------------------------


def linear_recurrence(decay: Tensor, drive: Tensor, initial: Tensor) -> Tensor:
    """All states of h_t = decay_t ⊙ h_{t−1} + drive_t, in about 5 log₂ T operations on O(T) numbers in all.

    It can be differentiated any number of times (backwards it is a linear recurrence again), and ``torch.func.vmap``
    can map it.

    Args:
        decay: ``(T, B, H)``, T at least 1; of absolute value at most 1, or the states may grow without end.
        drive: ``(T, B, H)``.
        initial: the state before the first step, ``(B, H)``.

    Returns:
        The state after each step, ``(T, B, H)``.
    """
    return _LinearRecurrence.apply(decay, drive, initial)


class _LinearRecurrence(torch.autograd.Function):
    """Its own backward pass, since autograd would keep every round's products: this keeps decay and states alone."""

    generate_vmap_rule = True

    @staticmethod
    def forward(decay: Tensor, drive: Tensor, initial: Tensor) -> Tensor:
        return _states(decay, drive, initial)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        decay, _, initial = inputs
        ctx.save_for_backward(decay, initial, output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (doutput,), (decay, initial, h) = gradients, ctx.saved_tensors
        # dh_t = doutput_t + decay_{t+1} ⊙ dh_{t+1}: the recurrence from the last step to the first
        later = torch.cat([decay[1:], torch.zeros_like(decay[:1])])  # (T, B, H)
        dh = linear_recurrence(later.flip(0), doutput.flip(0), torch.zeros_like(initial)).flip(0)  # (T, B, H)
        before = torch.cat([initial.unsqueeze(0), h[:-1]])  # (T, B, H)
        return dh * before, dh, dh[0] * decay[0]


def _states(decay: Tensor, drive: Tensor, initial: Tensor) -> Tensor:
    """Composes steps 0 and 1, 2 and 3, …; half as many steps then give the states after 1, 3, …; and those the rest."""
    T = len(decay)
    if T == 1:
        return torch.addcmul(drive, decay, initial)  # (1, B, H)
    half = T // 2
    even, odd = slice(0, 2 * half, 2), slice(1, None, 2)
    drives = torch.addcmul(drive[odd], decay[odd], drive[even])  # (T//2, B, H)
    after_odd = _states(decay[odd] * decay[even], drives, initial)  # (T//2, B, H)
    before_even = torch.cat([initial.unsqueeze(0), after_odd])[: T - half]  # (T − T//2, B, H)
    after_even = torch.addcmul(drive[::2], decay[::2], before_even)  # (T − T//2, B, H)
    states = torch.stack([after_even[:half], after_odd], dim=1).flatten(0, 1)  # (2·(T//2), B, H)
    return states if T % 2 == 0 else torch.cat([states, after_even[half:]])  # (T, B, H)


# ---- the minimal cells. ``a`` is the input times weight_ih, plus bias_ih, for all gates (N, G·H) ---------------------


def min_gru_gates(a: Tensor) -> tuple[Tensor, Tensor, Record]:
    """What the minimal GRU keeps of the old state and what it adds, ``(N, H)`` each, and the record of its gates."""
    zz, n = a.chunk(2, dim=1)  # (N, H) each
    z = zz.sigmoid()  # (N, H)
    return z, (1 - z) * n, {"z": z, "n": n, "zz": zz, "zn": n}


def min_lstm_gates(a: Tensor) -> tuple[Tensor, Tensor, Record]:
    """What the minimal LSTM keeps of the old state and what it adds, ``(N, H)`` each, and the record of its gates."""
    zi, zf, g = a.chunk(3, dim=1)  # (N, H) each
    i, f = zi.sigmoid(), zf.sigmoid()  # (N, H) each
    k = (logsigmoid(zf) - logsigmoid(zi)).sigmoid()  # (N, H) f / (f + i), also where both are 0
    return k, (1 - k) * g, {"i": i, "f": f, "g": g, "k": k, "zi": zi, "zf": zf, "zg": g}


GATES: Mapping[str, Callable[[Tensor], tuple[Tensor, Tensor, Record]]] = {
    "min_gru": min_gru_gates,
    "min_lstm": min_lstm_gates,
}
"""By the cell's name in ``gatelab.cells.CELLS``: from pre-activations to the two factors of the recurrence."""


def step(cell: str, w: Any, a: Tensor, state: tuple[Tensor, ...], moment: Any = None):
    """One step of a minimal cell by name, for the open loop: ``a (B, G·H)`` and the state before it."""
    kept, added, record = GATES[cell](a)
    return (kept * state[0] + added,), record
