"""From a configuration to a layer."""

from __future__ import annotations

from typing import Any

from gatelab.cells.cell import CELLS
from gatelab.core.config import ModelConfig
from gatelab.nn.layers import LAYERS, Recurrent


def recurrent(model: ModelConfig, input_size: int) -> Recurrent:
    """The recurrent layer that ``model`` describes, time-major, freshly initialised.

    Args:
        model: cell (any name of ``gatelab.cells.CELLS``), sizes, dropout between layers, directions, initialisation.
        input_size: features of a step (I).

    Raises:
        InputError: a cell or an initialisation that does not exist.
    """
    before = model.cell == "gru" and not model.reset_after
    cell = CELLS["gru_reset_before" if before else model.cell]
    options: dict[str, Any] = {
        "num_layers": model.num_layers,
        "dropout": model.dropout if model.num_layers > 1 else 0.0,  # between layers: there must be two
        "bidirectional": model.bidirectional,
    }
    return LAYERS[cell.family](input_size, model.hidden_size, **options, **cell.options)
