"""Numbers too small for the processor's fast path."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def flush_denormals() -> Iterator[None]:
    """Takes numbers below 1.2e-38 for zero within the block, in this thread; afterwards as before.

    A gradient that vanishes on its way back through hundreds of steps passes through the denormal numbers, with which
    a processor computes by microcode: the backward pass of an untrained LSTM over 600 steps takes 14 times as long.
    """
    before = _flushed()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def _flushed() -> bool:
    return float(torch.tensor(1e-20) * torch.tensor(1e-20)) == 0.0  # the product, 1e-40, is a denormal number
