"""Whether an input and a state fit a layer; where they do not, in torch's words first, for tests look for them."""

from __future__ import annotations

from collections.abc import Sequence
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
    dimensions = (2,) if packed else (2, 3)
    if len(shape) not in dimensions or shape[-1] != layer.input_size:
        if len(shape) not in dimensions:
            problem = f"Expected input to be {' or '.join(f'{d}D' for d in dimensions)}, got {len(shape)}D instead"
        else:
            problem = f"input.size(-1) must be equal to input_size. Expected {layer.input_size}, got {shape[-1]}"
        advice = "reshape the input, or make the layer with another input_size"
        raise _misfit(layer, problem, _wanted(layer, packed), shape, advice)
    if not packed and shape[1 if layer.batch_first and len(shape) == 3 else 0] == 0:
        problem = "Expected sequence length to be larger than 0 in RNN"
        raise _misfit(layer, problem, "at least one time step", shape, "leave empty sequences out")
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
        raise _misfit(layer, "the initial state does not fit", text, got, advice)
    if any(state.dim() != 2 + len(batch) for state in states):
        text = " and ".join(f"initial state {name} {shape}" for name, shape in zip(STATES, wanted, strict=False))
        got = " and ".join(str(tuple(state.shape)) for state in states)
        raise _misfit(layer, _of_dimensions(states, batch), text, got, advice)
    for index, (state, shape) in enumerate(zip(states, wanted, strict=True)):
        if tuple(state.shape) != shape:
            which = "hidden" if len(wanted) == 1 else f"hidden[{index}]"
            problem = f"Expected {which} size {shape}, got {list(state.shape)}"
            raise _misfit(layer, problem, f"initial state {STATES[index]} {shape}", tuple(state.shape), advice)


def _of_dimensions(states: Sequence[Tensor], batch: tuple[int, ...]) -> str:
    """torch's words for states with another number of dimensions than the input."""
    wanted, got = 2 + len(batch), [f"{state.dim()}-D" for state in states]
    kind = "batched" if batch else "unbatched"
    if len(states) == 1:
        return f"For {kind} {wanted}-D input, hx should also be {wanted}-D but got {got[0]} tensor"
    return f"For {kind} {wanted}-D input, hx and cx should also be {wanted}-D but got ({', '.join(got)}) tensors"


def _misfit(layer: Recurrent, problem: str, expected, got, fix: str) -> ShapeError:
    return ShapeError(f"{type(layer).__name__}: {problem}", expected=expected, got=got, fix=fix)
