"""What torch is doing with the code that runs, and with the tensors in it."""

from __future__ import annotations

import importlib.util

import torch
from torch import Tensor
from torch.nn import Parameter

HAS_NUMBA = importlib.util.find_spec("numba") is not None


def transformed() -> bool:
    """Whether ``torch.func`` is at work, which sees into the open loop and not into torch's own layers and cells."""
    return not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active()


def in_memory(x: Tensor) -> bool:
    """Whether the numbers of ``x`` lie in memory that a kernel can read, now.

    Not on a GPU, not while torch compiles or transforms, and not of a tensor that only tells shapes, or lies on many
    machines.
    """
    return x.is_cpu and not torch.compiler.is_compiling() and type(x) in (Tensor, Parameter) and not transformed()
