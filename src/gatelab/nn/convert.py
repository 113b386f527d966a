"""From ``torch.nn``'s recurrent layers to gatelab's, with the same parameters."""

from __future__ import annotations

import warnings
from collections.abc import Callable

from torch import nn

from gatelab.core.errors import InputError
from gatelab.nn.layers import GRU, LSTM, RNN, Recurrent

_TWINS: dict[type[nn.Module], Callable[..., Recurrent]] = {nn.RNN: RNN, nn.LSTM: LSTM, nn.GRU: GRU}
_OPTIONS = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional")
_OWN_OPTIONS: dict[type[nn.Module], tuple[str, ...]] = {nn.RNN: ("nonlinearity",), nn.LSTM: ("proj_size",), nn.GRU: ()}


def from_torch(model: nn.Module) -> nn.Module:
    """Gatelab's layers in the place of ``torch.nn``'s, computing the same with the same parameter tensors.

    Args:
        model: a ``torch.nn.RNN``, ``LSTM`` or ``GRU``, which stays as it is; or a model that holds some, in which they
            are replaced. An optimizer that knows the parameters goes on with them. Layers of derived classes
            (parametrized ones, say) are left alone, for they may compute something else. Hooks are not carried over.

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
            expected="a torch.nn.RNN, LSTM or GRU",
            got=f"modules of type {', '.join(sorted({type(module).__name__ for module in model.modules()}))}",
        )
    twins = {module: _twin(module) for _, module in found}  # a layer that is used twice stays one layer
    for name, module in found:
        model.set_submodule(name, twins[module])
    return model


def _twin(layer: nn.Module) -> nn.Module:
    kind = type(layer)
    options = {name: getattr(layer, name) for name in (*_OPTIONS, *_OWN_OPTIONS[kind])}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about dropout in one layer: said when the first was made
        twin = _TWINS[kind](**options, device="meta")
    for name, parameter in layer.named_parameters():
        setattr(twin, name, parameter)
    return twin.train(layer.training)
