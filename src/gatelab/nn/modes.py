"""What torch is doing with the code that runs, and with the tensors in it."""

from __future__ import annotations

import importlib
import importlib.util
import os
from functools import cache

import torch
from torch import Tensor
from torch.nn import Parameter


def _without() -> str:
    if importlib.util.find_spec("numba") is None:
        return "without Numba"
    return "with NUMBA_DISABLE_JIT set" if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0") else ""


_WITHOUT = _without()


def numba_missing() -> str:
    """Why there are no kernels, in words; empty where Numba is there, can be imported, and is allowed to compile."""
    # A compiler cannot look into an import, and meets what eager code has met before.
    return _WITHOUT if _WITHOUT or torch.compiler.is_compiling() else _import_trouble()


@cache
def _import_trouble() -> str:
    try:
        importlib.import_module("numba")
    except Exception as error:  # of a broken installation, anything
        return f"with a Numba that cannot be imported ({type(error).__name__}: {error})"
    return ""


def transformed() -> bool:
    """Whether ``torch.func`` is at work, which sees into the open loop and not into torch's own layers and cells."""
    return not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active()


def traced() -> bool:
    """Whether ``torch.jit.trace`` is at work, also on behalf of ``torch.onnx.export(dynamo=False)``."""
    return not torch.compiler.is_compiling() and torch._C._get_tracing_state() is not None


def watched() -> bool:
    """Whether something looks at every operation (``TorchDispatchMode``), such as a counter of operations."""
    return torch._C._len_torch_dispatch_stack() > 0


def in_memory(x: Tensor) -> bool:
    """Whether the numbers of ``x`` lie in memory that a kernel can read, now.

    Not on a GPU, not while torch compiles or transforms, and not of a tensor that only tells shapes, or lies on many
    machines.
    """
    return x.is_cpu and not torch.compiler.is_compiling() and type(x) in (Tensor, Parameter) and not transformed()
