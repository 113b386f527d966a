"""Layers on one another, each with a size, a cell and extras of its own, with or without residual connections.

    model = gatelab.nn.Stack(gatelab.nn.LSTM(8, 64), gatelab.nn.GRU(64, 64, layer_norm=True), residual=True)
    output, (lstm_state, gru_state) = model(x)

T time, B batch, I input, H hidden, L layers, D directions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import dropout
from torch.nn.utils.rnn import PackedSequence

from gatelab.core.errors import InputError
from gatelab.nn.layers import Recurrent
from gatelab.nn.shapes import ShapeError
from gatelab.nn.stream import Stream, array_of


class Stack(nn.Module):
    """Recurrent layers, the output of each the input of the next.

    A layer with residual connection gives x + layer(x) (He et al. 2016, arXiv:1512.03385; Wu et al. 2016,
    arXiv:1609.08144, section 3.1, for recurrent layers).

    Args:
        layers: the lowest first; what each gives, D·H features (D·P with a projection), the next one reads.
        residual: whether every layer that gives as many features as it reads has a residual connection. The text of
            the model says which.
        dropout: probability, on what each layer but the last gives; before it is added to a residual connection.

    Raises:
        InputError: no layers, something that is no layer of gatelab, or ``batch_first`` in some layers only.
        ShapeError: a layer that does not fit on the one below.
    """

    layers: Any  # an nn.ModuleList of Recurrent

    def __init__(self, *layers: Recurrent, residual: bool = False, dropout: float = 0.0):
        _check(layers, dropout)
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.residual = residual
        self.dropout = dropout

    @property
    def input_size(self) -> int:
        """Features that it reads (I)."""
        return self.layers[0].input_size

    @property
    def output_size(self) -> int:
        """Features that it gives (D·H of the last layer)."""
        return _width(self.layers[-1])

    @property
    def batch_first(self) -> bool:
        """Whether the batch stands before time."""
        return self.layers[0].batch_first

    @property
    def residuals(self) -> list[bool]:
        """Which layers have a residual connection."""
        return [self.residual and layer.input_size == _width(layer) for layer in self.layers]

    def forward(self, input, hx=None, resets=None):
        """Outputs of the last layer at every step, and the final states of all layers.

        Args:
            input: ``(T, B, I)``, ``(B, T, I)`` with ``batch_first``, ``(T, I)`` without a batch, or packed.
            hx: a tuple of the layers' initial states, each as its layer takes it or None for the layer's own.
            resets: bool ``(T, B)``, or as the input lies: where new sequences begin; see ``Recurrent.forward``.

        Returns:
            The output, in the form of the input, and a tuple of the layers' final states.

        Raises:
            ShapeError: a shape that does not fit.
        """
        states = []
        for layer, residual, state in zip(self.layers, self.residuals, _each(self, hx), strict=True):
            output, state = layer(input, state, resets)
            states.append(state)
            if len(states) < len(self.layers):
                output = _map(lambda y: dropout(y, self.dropout, self.training), output)
            input = _map(torch.add, output, input) if residual else output
        return input, tuple(states)

    def stream(self, hx=None, batch_size: int | None = None) -> StackStream:
        """One step at a time for live data, the state kept inside; see ``Stream``."""
        return StackStream(self, hx, batch_size)

    def extra_repr(self) -> str:
        """What is not seen from the layers."""
        which = ", ".join(str(k) for k, residual in enumerate(self.residuals) if residual)
        parts = [f"residual connections: layers {which}"] if which else []
        return ", ".join(parts + ([f"dropout={self.dropout}"] if self.dropout else []))


class StackStream:
    """A ``Stack`` that is fed step by step: the streams of its layers on one another. Made by ``stack.stream()``.

    Everything is as in ``Stream``; the state is a tuple, one entry a layer, and saved arrays are named ``0.h``, ….
    """

    def __init__(self, stack: Stack, hx: Any = None, batch_size: int | None = None):
        self.stack = stack
        states = _each(stack, hx)
        self._streams = [Stream(layer, h, batch_size) for layer, h in zip(stack.layers, states, strict=True)]

    @overload
    def __call__(self, x: Tensor) -> Tensor: ...
    @overload
    def __call__(self, x: np.ndarray) -> np.ndarray: ...
    def __call__(self, x):
        """The output ``(H,)`` or ``(B, H)`` for the next step ``x (I,)`` or ``(B, I)``, an array for an array."""
        like = self.stack.layers[0].weight_ih_l0
        y = torch.as_tensor(x, dtype=like.dtype, device=like.device)  # (B, I)
        for stream, residual in zip(self._streams, self.stack.residuals, strict=True):
            added = stream(y)  # (B, H)
            y = y + added if residual else added
        return y if isinstance(x, Tensor) else array_of(y)

    @property
    def state(self) -> tuple:
        """The states of all layers, as the stack gives and takes them."""
        return tuple(stream.state for stream in self._streams)

    @state.setter
    def state(self, hx: Sequence) -> None:
        """Goes on from other states, one of each layer."""
        for stream, state in zip(self._streams, _each(self.stack, hx), strict=True):
            stream.state = state

    def refresh(self) -> None:
        """``Stream.refresh`` of every layer."""
        for stream in self._streams:
            stream.refresh()

    def reset(self, rows: Sequence[int] | np.ndarray | Tensor | None = None) -> None:
        """``Stream.reset`` of every layer."""
        for stream in self._streams:
            stream.reset(rows)

    def save(self) -> dict[str, np.ndarray]:
        """``Stream.save`` of every layer."""
        return {f"{k}.{name}": a for k, stream in enumerate(self._streams) for name, a in stream.save().items()}

    def restore(self, saved: Mapping[str, np.ndarray]) -> None:
        """``Stream.restore`` of every layer."""
        for k, stream in enumerate(self._streams):
            prefix = f"{k}."
            stream.restore({name.removeprefix(prefix): a for name, a in saved.items() if name.startswith(prefix)})


def _each(stack: Stack, hx: Any) -> Sequence[Any]:
    """The initial state of each layer."""
    count = len(stack.layers)
    if hx is None:
        return [None] * count
    if not isinstance(hx, (tuple, list)) or len(hx) != count:
        got = f"{type(hx).__name__} of {len(hx)}" if isinstance(hx, (tuple, list)) else type(hx).__name__
        fix = "give one state, or None, for each layer"
        raise ShapeError("Stack: the initial state does not fit", expected=f"a tuple of {count}", got=got, fix=fix)
    return hx


def _width(layer: Recurrent) -> int:
    return layer.state_sizes[0] * (2 if layer.bidirectional else 1)


def _map(function, *values):
    """``function`` of tensors, or of the rows of packed sequences that are packed alike."""
    first = values[0]
    if isinstance(first, PackedSequence):
        return first._replace(data=function(*(value.data for value in values)))
    return function(*values)


def _check(layers: Sequence[Recurrent], dropout: float) -> None:
    kinds = [type(layer).__name__ for layer in layers]
    if not layers or not all(isinstance(layer, Recurrent) for layer in layers):
        fix = "from_torch makes them of torch.nn's layers"
        raise InputError("a stack is made of gatelab's layers", expected="at least one", got=kinds, fix=fix)
    if len({layer.batch_first for layer in layers}) > 1:
        raise InputError("the layers of a stack agree on batch_first", got=[layer.batch_first for layer in layers])
    if not 0 <= dropout < 1:
        raise InputError("dropout is a probability", expected="at least 0 and below 1", got=dropout)
    for k, (below, above) in enumerate(pairwise(layers)):
        if above.input_size != _width(below):
            raise ShapeError(
                f"layer {k + 1} ({kinds[k + 1]}) does not fit on layer {k} ({kinds[k]})",
                expected=f"input_size={_width(below)}, what layer {k} gives",
                got=f"input_size={above.input_size}",
                fix="a bidirectional layer gives 2·H features",
            )
