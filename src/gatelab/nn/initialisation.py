"""From the name of an initialisation to a layer's weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from gatelab.cells import init as rules
from gatelab.cells.cell import CELLS
from gatelab.cells.sequence import layer_names
from gatelab.core import random
from gatelab.nn.open_loop import weights_of

if TYPE_CHECKING:
    from gatelab.nn.layers import Recurrent

_RULED = ("weight_", "bias_")  # what the rules are about


def initialise(layer: Recurrent, name: str, rng: np.random.Generator) -> None:
    """Fills the weights and biases of every stacked layer and direction by a name of ``gatelab.cells.init``.

    What an extra learns besides (gains, peepholes, initial states) stays as it is.

    Args:
        layer: the layer, on any device, in any floating dtype.
        name: such as ``"glorot"`` or ``"orthogonal+forget_bias:1"``.
        rng: where the numbers are drawn from.

    Raises:
        InputError: there is no such initialisation.
    """
    for names in layer_names(layer.num_layers, layer.bidirectional):
        for layer_name in names:
            named = weights_of(layer, layer_name)._asdict().items()
            parameters = {k: p for k, p in named if k.startswith(_RULED) and p is not None}
            arrays = {key: np.empty(tuple(parameter.shape)) for key, parameter in parameters.items()}
            rules.initialise(CELLS[layer.cell], arrays, rng, name)
            with torch.no_grad():
                for key, parameter in parameters.items():
                    parameter.copy_(torch.from_numpy(arrays[key]))


def initialise_from_torchs_stream(layer: Recurrent, name: str) -> None:
    """``initialise`` with numbers drawn from torch's global stream: the start is a function of torch's seed."""
    seed = int(torch.randint(2**62, ()))
    initialise(layer, name, random.generator(seed, "init"))
