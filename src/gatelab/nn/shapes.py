"""Whether an input and a state fit a layer, said in plain words where they do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gatelab.core.errors import InputError
from gatelab.nn import packing
from gatelab.nn.packing import STATES

if TYPE_CHECKING:
    from gatelab.nn.layers import Recurrent


class ShapeError(InputError, RuntimeError):
    """A tensor of the wrong shape; a ``RuntimeError`` too, as ``torch.nn`` raises for some of these."""


def check_shapes(layer: Recurrent, input, hx) -> None:
    """Raises ``ShapeError`` unless ``layer`` can read ``input`` from the initial state ``hx``."""
    packed = isinstance(input, PackedSequence)
    x = input.data if packed else input
    shape = tuple(x.shape)
    if len(shape) not in ((2,) if packed else (2, 3)) or shape[-1] != layer.input_size:
        advice = "reshape the input, or make the layer with another input_size"
        raise _misfit(layer, "input", _wanted(layer, packed), shape, advice)
    if not packed and shape[1 if layer.batch_first and len(shape) == 3 else 0] == 0:
        raise _misfit(layer, "input", "at least one time step", shape, "leave empty sequences out")
    if x.dtype != layer.weight_ih_l0.dtype:  # torch's words, and its exception for autocast
        nn.RNNBase.check_input(layer, x.reshape(1, -1, layer.input_size), None)
    if hx is not None:
        unbatched = not packed and len(shape) == 2
        check_state(layer, hx, () if unbatched else (packing.batch_of(layer, input),))


def _wanted(layer: Recurrent, packed: bool) -> str:
    size = layer.input_size
    if packed:
        return f"packed rows (N, {size})"
    axes = f"(B, T, {size}): batch, time" if layer.batch_first else f"(T, B, {size}): time, batch"
    return f"{axes}, features; or (T, {size}) without a batch"


def check_state(layer: Recurrent, hx, batch: tuple[int, ...]) -> None:
    """Raises ``ShapeError`` unless ``hx`` is a state of ``layer`` for the batch ``(B,)``, or ``()`` without one."""
    count = layer.num_layers * (2 if layer.bidirectional else 1)
    wanted = [(count, *batch, size) for size in layer.state_sizes]
    advice = "leave hx out to begin from zeros, or give L·D, B, H (layers times directions, batch, hidden)"
    states = [hx] if len(wanted) == 1 else hx
    whole = isinstance(states, (list, tuple)) and len(states) == len(wanted)
    if not whole or not all(isinstance(state, Tensor) for state in states):
        text = f"a tensor {wanted[0]}" if len(wanted) == 1 else f"a pair (h, c) of {wanted[0]} and {wanted[1]}"
        got = f"{type(hx).__name__} of {len(hx)}" if isinstance(hx, (list, tuple)) else type(hx).__name__
        raise _misfit(layer, "initial state", text, got, advice)
    for name, state, shape in zip(STATES, states, wanted, strict=False):
        if tuple(state.shape) != shape:
            raise _misfit(layer, f"initial state {name}", shape, tuple(state.shape), advice)


def _misfit(layer: Recurrent, what: str, expected, got, fix: str) -> ShapeError:
    return ShapeError(f"{type(layer).__name__}: the {what} does not fit", expected=expected, got=got, fix=fix)
