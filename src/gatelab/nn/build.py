"""From a configuration to a layer."""

from __future__ import annotations

from typing import Any

from torch import nn

from gatelab.core.config import ModelConfig
from gatelab.nn.layers import GRU, LSTM, RNN


def recurrent(model: ModelConfig, input_size: int) -> Any:
    """The recurrent layer that ``model`` describes, time-major, freshly initialised.

    Args:
        model: cell, sizes, dropout between layers, directions and initialisation.
        input_size: features of a step (I).

    Raises:
        InputError: a cell or an initialisation that does not exist.
    """
    options: dict[str, Any] = {
        "num_layers": model.num_layers,
        "dropout": model.dropout if model.num_layers > 1 else 0.0,  # between layers: there must be two
        "bidirectional": model.bidirectional,
    }
    layer: nn.RNNBase
    if model.cell == "gru":
        layer = GRU(input_size, model.hidden_size, reset_after=model.reset_after, **options)
    elif model.cell == "lstm":
        layer = LSTM(input_size, model.hidden_size, **options)
    else:
        layer = RNN(input_size, model.hidden_size, **options)
    return layer
