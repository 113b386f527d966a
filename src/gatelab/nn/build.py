"""From a configuration to a layer, and from the name of an initialisation to its weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from gatelab.cells import init as rules
from gatelab.cells.cell import CELLS
from gatelab.cells.sequence import layer_names
from gatelab.core import random
from gatelab.core.config import ModelConfig
from gatelab.nn.layers import LAYERS, Recurrent
from gatelab.nn.open_loop import weights_of


def recurrent(model: ModelConfig, input_size: int) -> Recurrent:
    """The recurrent layer that ``model`` describes, time-major, freshly initialised from torch's global stream.

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
    layer = LAYERS[cell.family](input_size, model.hidden_size, **options, **cell.options)
    if model.init != "torch":  # the constructor did that
        seed = int(torch.randint(2**62, ()))
        initialise(layer, model.init, random.generator(seed, "init"))
    return layer


def initialise(layer: Recurrent, name: str, rng: np.random.Generator) -> None:
    """Fills the parameters of every stacked layer and direction by a name of ``gatelab.cells.init``.

    Args:
        layer: the layer, on any device, in any floating dtype.
        name: such as ``"glorot"`` or ``"orthogonal+forget_bias:1"``.
        rng: where the numbers are drawn from.

    Raises:
        InputError: there is no such initialisation.
    """
    for names in layer_names(layer.num_layers, layer.bidirectional):
        for layer_name in names:
            parameters = {k: p for k, p in weights_of(layer, layer_name)._asdict().items() if p is not None}
            arrays = {key: np.empty(tuple(parameter.shape)) for key, parameter in parameters.items()}
            rules.initialise(CELLS[layer.cell], arrays, rng, name)
            with torch.no_grad():
                for key, parameter in parameters.items():
                    parameter.copy_(torch.from_numpy(arrays[key]))
