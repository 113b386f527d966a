"""Masks of many units: each a random number of its own, from a key that is drawn from torch's stream.

Numbers from torch's stream itself would take a third of the time of a training step of a small layer with zoneout.

T time, B batch, H hidden, N rows of all steps together.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gatelab.nn import modes

_WORDS = 2**32  # as many different numbers
_LOW = _WORDS - 1
# As in the kernel, which cannot be imported without Numba.
_ROUNDS = 10
_FIRST, _SECOND = 0xD2511F53, 0xCD9E8D57
_ON, _OTHER_ON = 0x9E3779B9, 0xBB67AE85


def drawn(p: float, rows: int, columns: int, device: torch.device) -> Tensor:
    """True with probability ``p``, to the nearest 2⁻³² and not to 0: bool ``(rows, columns)``."""
    size = rows * columns
    if p == 0:
        return torch.zeros(rows, columns, dtype=torch.bool, device=device)
    key, bound, count = torch.randint(_WORDS, (2,), device=device), max(1, round(p * _WORDS)), -(-size // 4)
    if modes.in_memory(key) and not modes.numba_missing():
        from gatelab.kernels.philox import below  # here, for Numba takes half a second to import

        mask = torch.empty(4 * count, dtype=torch.bool)
        below(*key.tolist(), bound, mask.numpy())
    else:
        mask = (words(torch.arange(count, device=device), key) < bound).flatten()  # (4·C,)
    return mask[:size].view(rows, columns)


def words(counters: Tensor, key: Tensor) -> Tensor:
    """The four numbers below 2³² of each of ``counters (C,)`` by ``key (2,)``, int64 ``(4, C)``.

    The slow twin of ``gatelab.kernels.philox``, which names the source: for GPUs, for what torch compiles and
    transforms, and where there is no Numba.
    """
    a, b, (k, l) = counters & _LOW, counters >> 32, key.unbind()  # noqa: E741
    c = d = torch.zeros_like(counters)
    for _ in range(_ROUNDS):
        (high, low), (other_high, other_low) = _product(a, _FIRST), _product(c, _SECOND)
        a, b, c, d = other_high ^ b ^ k, other_low, high ^ d ^ l, low
        k, l = (k + _ON) & _LOW, (l + _OTHER_ON) & _LOW  # noqa: E741
    return torch.stack((a, b, c, d))


def _product(x: Tensor, multiplier: int) -> tuple[Tensor, Tensor]:
    """The upper and the lower 32 bits of x · multiplier, in two halves: int64 would overflow."""
    upper, lower = x * (multiplier >> 16), x * (multiplier & 0xFFFF)
    return (upper + (lower >> 16)) >> 16, (((upper & 0xFFFF) << 16) + lower) & _LOW
