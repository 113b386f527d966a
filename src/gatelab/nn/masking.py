"""Masked steps without a slow loop.

Where a step is not observed, a recurrent network should hold its state: ``h_t = h_{t-1}``. Written as a loop that is
a ``where`` at every step, and no fused layer has it. But the state after a masked step is the state before it, so
the next observed step is computed from exactly the state that it would follow if the masked steps were not there at
all. Holding the state over masked steps is therefore the same as leaving them out. So: move the observed steps of
each item to the front, in order; run any fast dense layer; read the state after the last observed step. What comes
after it is never read, and receives no gradient.

This needs a causal layer. A layer that reads backwards would begin with the steps that were moved to the end: give it
a ``PackedSequence`` made from the compacted steps and their lengths.

T time, B batch, I input, H hidden, D directions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gatelab.core.errors import InputError


def compact(x: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
    """Moves each item's observed steps to the front, in order; the steps after them are zeros.

    Args:
        x: input ``(T, B, I)``; what stands at masked steps does not matter, and may be NaN.
        observed: ``(T, B)`` bool, False where the step is to be left out.

    Returns:
        The moved steps ``(T, B, I)`` and how many were observed, ``(B,)`` integers.

    Raises:
        InputError: ``observed`` is not a bool tensor of ``x``'s steps and items.
    """
    _check_mask(x, observed)
    order = (~observed).to(torch.uint8).argsort(dim=0, stable=True)  # (T, B)
    moved = x.gather(0, order.unsqueeze(-1).expand_as(x))  # (T, B, I)
    lengths = observed.sum(dim=0)  # (B,)
    kept = lengths_to_mask(lengths, x.shape[0])  # (T, B)
    # Zeros, not leftovers: a NaN times a gradient of zero would still be NaN in the gradient of the weights.
    return torch.where(kept.unsqueeze(-1), moved, torch.zeros_like(moved)), lengths


def final_state(output: Tensor, lengths: Tensor) -> Tensor:
    """The output after each item's last observed step.

    Args:
        output: what the layer gave, ``(T, B, H)``; ``(T, B, D·H)`` is read at the same step in all directions.
        lengths: ``(B,)`` integers from 0 to T.

    Returns:
        ``(B, H)``; zeros, the initial state, where the length is 0.
    """
    _check_lengths(output, lengths)
    last = (lengths - 1).clamp(min=0)  # (B,)
    state = output[last, torch.arange(output.shape[1], device=output.device)]  # (B, H)
    return torch.where((lengths > 0).unsqueeze(-1), state, torch.zeros_like(state))


def spread(output: Tensor, observed: Tensor) -> Tensor:
    """The way back from ``compact``: the held state at every original step.

    Args:
        output: what the layer gave for the compacted steps, ``(T, B, H)``.
        observed: ``(T, B)`` bool, as given to ``compact``.

    Returns:
        ``(T, B, H)``: at an observed step its output, at a masked step the one before, and zeros, the initial
        state, before the first observed step.
    """
    _check_mask(output, observed)
    count = observed.cumsum(dim=0)  # (T, B) observed steps so far
    index = (count - 1).clamp(min=0).unsqueeze(-1).expand_as(output)  # (T, B, H)
    held = output.gather(0, index)  # (T, B, H)
    return torch.where((count > 0).unsqueeze(-1), held, torch.zeros_like(held))


def lengths_to_mask(lengths: Tensor, T: int) -> Tensor:
    """``(B,)`` lengths to a ``(T, B)`` bool mask: True at each item's first ``lengths`` steps.

    >>> lengths_to_mask(torch.tensor([2, 0]), 3).int().tolist()
    [[1, 0], [1, 0], [0, 0]]
    """
    return torch.arange(T, device=lengths.device).unsqueeze(1) < lengths.unsqueeze(0)  # (T, B)


def _check_mask(x: Tensor, observed: Tensor) -> None:
    if x.dim() != 3 or observed.dtype != torch.bool or observed.shape != x.shape[:2]:
        raise InputError(
            "the mask does not fit the steps",
            expected="steps (T, B, ·) and a bool mask (T, B)",
            got=f"steps {tuple(x.shape)} and a mask {tuple(observed.shape)} of {observed.dtype}",
            fix="give time-major tensors; transpose batch-first ones",
        )


def _check_lengths(output: Tensor, lengths: Tensor) -> None:
    fits = output.dim() == 3 and lengths.shape == output.shape[1:2] and not lengths.is_floating_point()
    if not fits or ((lengths < 0) | (lengths > len(output))).any():
        raise InputError(
            "the lengths do not fit the output",
            expected="output (T, B, H) and whole numbers from 0 to T as lengths (B,)",
            got=f"output {tuple(output.shape)} and lengths {lengths.tolist() if fits else tuple(lengths.shape)}",
            fix="give a time-major output; transpose a batch-first one",
        )
