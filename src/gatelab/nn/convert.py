"""From ``torch.nn``'s recurrent layers and cells to gatelab's, with the same parameters."""

from __future__ import annotations

import warnings
from collections.abc import Callable

from torch import nn

from gatelab.core.errors import InputError
from gatelab.nn.cells import GRUCell, LSTMCell, RNNCell
from gatelab.nn.layers import GRU, LSTM, RNN

_TWINS: dict[type[nn.Module], Callable[..., nn.Module]] = {
    nn.RNN: RNN,
    nn.LSTM: LSTM,
    nn.GRU: GRU,
    nn.RNNCell: RNNCell,
    nn.LSTMCell: LSTMCell,
    nn.GRUCell: GRUCell,
}
_CELL = ("input_size", "hidden_size", "bias")
_LAYER = (*_CELL, "num_layers", "batch_first", "dropout", "bidirectional")
_OPTIONS: dict[type[nn.Module], tuple[str, ...]] = {
    nn.RNN: (*_LAYER, "nonlinearity"),
    nn.LSTM: (*_LAYER, "proj_size"),
    nn.GRU: _LAYER,
    nn.RNNCell: (*_CELL, "nonlinearity"),
    nn.LSTMCell: _CELL,
    nn.GRUCell: _CELL,
}


def from_torch(model: nn.Module) -> nn.Module:
    """Gatelab's layers and cells in the place of ``torch.nn``'s, computing the same with the same parameter tensors.

    Args:
        model: a ``torch.nn.RNN``, ``LSTM``, ``GRU`` or one of their cells, which stays as it is; or a model that holds
            some, in which they are replaced. An optimizer that knows the parameters goes on with them. Layers of
            derived classes (parametrized ones, say) are left alone, for they may compute something else. Hooks are not
            carried over.

    Returns:
        The new layer, or ``model`` itself.

    Raises:
        InputError: there is nothing to convert.
    """
    if type(model) in _TWINS:
        return _twin(model)
    found = [(name, module) for name, module in model.named_modules(remove_duplicate=False) if type(module) in _TWINS]
    if not found:
        raise InputError(
            f"{type(model).__name__} has no layer to convert",
            expected="a torch.nn.RNN, LSTM or GRU, or a cell of theirs",
            got=f"modules of type {', '.join(sorted({type(module).__name__ for module in model.modules()}))}",
        )
    twins = {module: _twin(module) for _, module in found}  # a layer that is used twice stays one layer
    for name, module in found:
        model.set_submodule(name, twins[module])
    return model


def _twin(layer: nn.Module) -> nn.Module:
    kind = type(layer)
    options = {name: getattr(layer, name) for name in _OPTIONS[kind]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about dropout in one layer: said when the first was made
        twin = _TWINS[kind](**options, device="meta")
    for name, parameter in layer.named_parameters():
        setattr(twin, name, parameter)
    return twin.train(layer.training)
