"""How a batch travels: the rows of all steps in one matrix, and the way back to the form in which it came.

Sequences of unequal length travel as in a ``PackedSequence``: the rows of all steps in one matrix, step after step,
``batch_sizes[t]`` rows for step ``t``, the longest sequence first. A dense batch is the same with ``B`` rows in
every step, and needs no ``batch_sizes``.

T time, B batch, I input, H hidden, P projected, L layers, D directions, N rows of all steps together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from gatelab.nn import modes

if TYPE_CHECKING:
    from gatelab.nn.layers import Recurrent

STATES = ("h", "c")  # their names; a cell has the first or both
State = tuple[Tensor, ...]  # (h,) or (h, c), each (B, H)


def rows_of(layer: Recurrent, input: Tensor | PackedSequence) -> Tensor:
    """All steps' rows ``(N, I)`` in time order."""
    if isinstance(input, PackedSequence):
        return input.data
    if input.dim() == 2:
        return input  # (T, I): a batch of one
    x = input.transpose(0, 1) if layer.batch_first else input  # (T, B, I)
    return x.reshape(-1, x.shape[2])


def batch_sizes_of(input: Tensor | PackedSequence) -> Tensor | None:
    """How many sequences take part in each step, ``(T,)`` int64 on the CPU; None for a dense batch."""
    return input.batch_sizes if isinstance(input, PackedSequence) else None


def batch_of(layer: Recurrent, input: Tensor | PackedSequence) -> int:
    """B; 1 where the input has no batch."""
    if isinstance(input, PackedSequence):
        return int(input.batch_sizes[0])
    if input.dim() == 2:
        return 1
    return input.shape[0 if layer.batch_first else 1]


def steps_of(layer: Recurrent, input: Tensor) -> int:
    """T of a dense batch, or of an input without one."""
    return input.shape[1 if layer.batch_first and input.dim() == 3 else 0]


def counts(batch_sizes: Tensor | None, N: int, B: int) -> list[int]:
    """How many rows each step has: T integers, none greater than the one before."""
    if batch_sizes is not None:
        return batch_sizes.tolist()
    return [B] * (N // B) if B else [0]  # of an empty batch, one empty step gives the shapes


def items_of(batch_sizes: Tensor | None, N: int, B: int) -> Tensor:
    """Which item of the batch each row belongs to, ``(N,)`` int64 on the CPU."""
    row = torch.arange(N)  # (N,)
    if batch_sizes is None:
        return row % max(B, 1)
    first = batch_sizes.cumsum(0) - batch_sizes  # (T,) the row at which each step begins
    return row - first.repeat_interleave(batch_sizes)


def grid(batch_sizes: Tensor | None, N: int, B: int) -> Tensor:
    """The row of every step of every item, ``(T, B)`` int64 on the CPU; N where an item has no such step."""
    sizes = torch.tensor(counts(batch_sizes, N, B)).unsqueeze(1)  # (T, 1)
    item = torch.arange(B)  # (B,)
    return (sizes.cumsum(0) - sizes + item).masked_fill(item >= sizes, N)


def as_called(input: Tensor | PackedSequence, x: Tensor) -> Tensor:
    """``x (·, B, …)`` from the order of the rows to the order in which the caller has the items."""
    order = input.unsorted_indices if isinstance(input, PackedSequence) else None
    return x if order is None else x.index_select(1, order.to(x.device))


def initial_state(layer: Recurrent, input: Tensor | PackedSequence, hx, rows: Tensor) -> State:
    """The initial states ``(L·D, B, H)`` in the order of the rows; the layer's own where none are given."""
    if hx is None:
        return layer.initial_state(batch_of(layer, input), rows)
    states = hx if isinstance(hx, (tuple, list)) else (hx,)
    if isinstance(input, PackedSequence):
        order = input.sorted_indices
        return tuple(states) if order is None else tuple(s.index_select(1, order) for s in states)
    return tuple(s.unsqueeze(1) for s in states) if input.dim() == 2 else tuple(states)


def as_given(layer: Recurrent, input: Tensor | PackedSequence, rows: Tensor, states: State):
    """Output and final states, from ``rows (N, D·H)`` and ``(L·D, B, H)``, in the form in which the input came.

    Both are the caller's own, to be changed in place and detached as torch's are: ``_own``.
    """
    if isinstance(input, PackedSequence):
        output: Any = PackedSequence(_own(rows), input.batch_sizes, input.sorted_indices, input.unsorted_indices)
        states = tuple(as_called(input, s) for s in states)
    elif input.dim() == 2:
        output, states = _own(rows), tuple(s.squeeze(1) for s in states)  # (T, D·H), (L·D, H)
    else:
        first, second, _ = input.shape
        T, B = (second, first) if layer.batch_first else (first, second)
        output = rows.reshape(T, B, rows.shape[1])  # (T, B, D·H)
        output = _own(output.transpose(0, 1) if layer.batch_first else output)
    states = tuple(map(_own, states))
    return output, states if len(states) > 1 else states[0]


def as_own(output: Any, states: Any) -> tuple[Any, Any]:
    """What torch's LSTM gives, to be changed in place: oneDNN's way back reads its output, and torch would refuse."""
    if isinstance(output, PackedSequence):
        return output, states  # not oneDNN's
    return _own(output), tuple(map(_own, states))


def _own(tensor: Tensor) -> Tensor:
    """The tensor, copied where a backward pass will read it, and never a view of another one.

    What kernels give is what their way back begins from, so that a change in place would change a gradient, or be
    refused by torch, which counts changes. Copying the outputs of the last layer takes 1 to 2 % of a training step.
    """
    if tensor.requires_grad:
        return tensor.clone()
    plain = not torch.compiler.is_compiling() and not modes.transformed()
    return tensor.data if plain and tensor._is_view() else tensor  # the same memory, and torch's views cannot detach_
