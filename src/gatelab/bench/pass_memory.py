"""A process that trains on one sequence and says on stdout how many MB that took at its peak.

``python -m gatelab.bench.pass_memory '["gru", B, T, I, H, window]'``: truncated backpropagation in windows.
"""

from __future__ import annotations

import json
import sys

import torch
from torch import Tensor

from gatelab.bench.harness import Shape
from gatelab.core.config import ModelConfig
from gatelab.nn import recurrent
from gatelab.nn.truncation import truncated
from gatelab.training.memory import peak_memory

_WARM = 200  # steps: no fewer, or what is loaded for short passes is not what is measured (``nn.fused.prefers_torch``)


def main() -> None:
    """Reads the sizes, warms up on two windows, then measures a pass."""
    cell, *sizes, window = json.loads(sys.argv[1])
    shape = Shape(*sizes)
    torch.set_num_threads(1)
    layer = recurrent(ModelConfig(cell=cell, hidden_size=shape.H), shape.I)
    x = torch.randn(shape.T, shape.B, shape.I)  # (T, B, I)
    warm = min(window, _WARM)
    one_pass(layer, x[: 2 * warm], warm)
    with peak_memory() as memory:
        one_pass(layer, x, window)
    print(memory.added / 1e6)  # noqa: T201 - it is read by the suite


def one_pass(layer: torch.nn.Module, x: Tensor, window: int) -> None:
    """Adds up the gradients of every window of ``x (T, B, I)``."""
    for _ in truncated(layer, x, lambda output, steps: output.square().mean(), window):
        pass


if __name__ == "__main__":
    main()
