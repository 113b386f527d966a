"""From a configuration to a layer."""

from __future__ import annotations

from functools import partial
from typing import Any

from gatelab.cells.cell import CELLS
from gatelab.core.config import ModelConfig
from gatelab.core.errors import InputError
from gatelab.nn.extras import EXTRAS, refuse_others
from gatelab.nn.layers import LAYERS, Recurrent
from gatelab.nn.stack import Stack


def recurrent(model: ModelConfig, input_size: int) -> Recurrent | Stack:
    """The recurrent layer that ``model`` describes, time-major, freshly initialised from torch's global stream.

    With residual connections it is a ``Stack`` of single layers.

    Args:
        model: cell (any name of ``gatelab.cells.CELLS``), sizes, dropout between layers, directions, initialisation,
            extras.
        input_size: features of a step (I).

    Raises:
        InputError: a cell or an initialisation that does not exist, or an extra that the cell does not have.
    """
    cell = CELLS[_cell_of(model)]
    settings = {name: getattr(model, name) for name in EXTRAS}
    extras = {name: setting for name, setting in settings.items() if setting}
    refuse_others(cell.title, cell.family, extras)
    options: dict[str, Any] = {"bidirectional": model.bidirectional, "init": model.init, **cell.options, **extras}
    layer = partial(LAYERS[cell.family], hidden_size=model.hidden_size, **options)
    if not model.residual:
        dropout = model.dropout if model.num_layers > 1 else 0.0  # between layers: there must be two
        return layer(input_size, num_layers=model.num_layers, dropout=dropout)
    width = model.hidden_size * (2 if model.bidirectional else 1)
    above = [layer(width) for _ in range(model.num_layers - 1)]
    return Stack(layer(input_size), *above, residual=True, dropout=model.dropout)


def _cell_of(model: ModelConfig) -> str:
    """The cell's name, with the options that choose a variant of it."""
    if model.coupled:
        if model.cell not in ("lstm", "lstm_coupled"):
            CELLS.check(model.cell)
            raise InputError(f"{CELLS[model.cell].title} has no coupled gates", expected="lstm", got=model.cell)
        return "lstm_coupled"
    return "gru_reset_before" if model.cell == "gru" and not model.reset_after else model.cell
