"""Resets in mid-sequence: a sequence with resets is several shorter sequences, one after the other.

A reset at step t cuts between the steps t − 1 and t. What lies between two cuts is a segment, and a segment is a
sequence of its own: it begins from the layer's initial state, and variational dropout draws it a mask of its own.
``with_resets`` moves every segment of every item of a batch into one packed batch, has the layer read that, and moves
the outputs back. So no cell, kernel or extra knows about resets, and the steps of all segments run side by side.
How many segments there are is seen from the values: ``torch.compile`` cannot take a call with resets as one graph.

Backwards a segment is read from its end: the cut that begins one segment ends the one before. The initial state that a
caller gives belongs to the end at which reading begins: forwards to an item's first segment, unless there is a reset
at step 0; backwards to its last. The final state is that of the other end: forwards of the last segment, backwards of
the first.

T time, B batch, N rows of all steps together, S segments, K steps of the longest one, L layers, D directions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from gatelab.nn import packing
from gatelab.nn.shapes import ShapeError

if TYPE_CHECKING:
    from gatelab.nn.layers import Recurrent


Reader = Callable[..., Any]  # (input, hx, moved=None) -> (output, states)


class Segments(NamedTuple):
    """Where the rows of a batch go when each of its segments is a sequence of a packed batch, the longest first."""

    place: Tensor  # (N,) where each row of the batch stands among the packed rows
    source: Tensor  # (N,) and the way back: which row of the batch each packed row is
    batch_sizes: Tensor  # (K,) how many segments have a step k
    first: Tensor  # (B,) each item's first segment: its column in the packed batch; items in the order of the rows
    last: Tensor  # (B,) and its last
    fresh: Tensor  # (B,) bool: there is a reset at the item's step 0


def with_resets(layer: Recurrent, input: Tensor | PackedSequence, hx, resets: Tensor, read: Reader | None = None):
    """What ``layer`` gives where new sequences begin within the batch; arguments and result as of its ``forward``.

    Args:
        layer: any layer of gatelab.
        input: ``(T, B, I)``, ``(B, T, I)`` with ``batch_first``, ``(T, I)`` without a batch, or packed.
        hx: initial state ``(L·D, B, H)``, the LSTM's a pair; None for the layer's own.
        resets: bool, as the input lies but without features; for a packed input ``(T, B)``, or ``(B, T)`` with
            ``batch_first``, items in the caller's order. True where a new sequence begins. Under the padding it is
            not read.
        read: what runs the layer, ``layer.forward`` where not given; it is also told where the rows went, ``(N,)``.

    Raises:
        ShapeError: ``resets`` is no bool tensor of the input's steps and items.
    """
    _check(layer, input, resets)
    read = read or (lambda input, hx, moved=None: layer.forward(input, hx))
    if not resets.any():
        return read(input, hx)
    rows = packing.rows_of(layer, input)  # (N, I)
    segments = Segments(*(index.to(rows.device) for index in segments_of(layer, input, resets)))
    packed = PackedSequence(rows[segments.source], segments.batch_sizes.cpu())
    begin = None if hx is None else _begin(layer, segments, packing.initial_state(layer, input, hx, rows), rows)
    output, states = read(packed, begin, segments.place)
    row, end = _row(layer), _by_direction(layer, segments.last, segments.first)  # (L·D, 1), (L·D, B)
    final = tuple(s[row, end] for s in (states if isinstance(states, tuple) else (states,)))  # (L·D, B, H) each
    return packing.as_given(layer, input, output.data[segments.place], final)


def segments_of(layer: Recurrent, input: Tensor | PackedSequence, resets: Tensor) -> Segments:
    """How ``with_resets`` rearranges a batch; all indices are int64 on the CPU."""
    N, B = len(packing.rows_of(layer, input)), packing.batch_of(layer, input)
    grid = packing.grid(packing.batch_sizes_of(input), N, B)  # (T, B)
    there = grid.T < N  # (B, T)
    cuts = _time_major(layer, input, resets.cpu())  # (T, B)
    begins = cuts.index_fill(0, torch.tensor(0), True).T[there]  # (N,) item by item: does a segment begin here
    number = begins.cumsum(0) - 1  # (N,) which segment of all
    start = begins.nonzero().squeeze(1)  # (S,)
    lengths = torch.diff(start, append=torch.tensor([N]))  # (S,)
    column = _inverse(lengths.argsort(descending=True, stable=True))  # (S,)
    step = torch.arange(N) - start[number]  # (N,) within the segment
    batch_sizes = step.bincount()  # (K,)
    place = (batch_sizes.cumsum(0) - batch_sizes)[step] + column[number]  # (N,) item by item
    rows = grid.T[there]  # (N,) the row of the batch, item by item
    source = rows[_inverse(place)]  # (N,)
    ends = there.sum(1).cumsum(0)  # (B,)
    first = number[torch.cat([torch.zeros_like(ends[:1]), ends[:-1]])]  # (B,)
    return Segments(_inverse(source), source, batch_sizes, column[first], column[number[ends - 1]], cuts[0])


def _begin(layer: Recurrent, segments: Segments, given: packing.State, rows: Tensor):
    """The initial states of all segments, ``(L·D, S, H)``: the layer's own but where the ``given`` ones are read on."""
    own = layer.initial_state(int(segments.batch_sizes[0]), rows)  # (L·D, S, H) each
    at = _row(layer), _by_direction(layer, segments.first, segments.last)  # (L·D, 1), (L·D, B)
    never = torch.zeros_like(segments.fresh)  # (B,) backwards, a reset at step 0 comes after everything
    fresh = _by_direction(layer, segments.fresh, never).unsqueeze(2)  # (L·D, B, 1)
    states = tuple(o.index_put(at, torch.where(fresh, o[at], g)) for o, g in zip(own, given, strict=True))
    return states if len(states) > 1 else states[0]


def _by_direction(layer: Recurrent, forwards: Tensor, backwards: Tensor) -> Tensor:
    """``(L·D, B)``: ``forwards (B,)`` for the directions that read forwards, ``backwards (B,)`` for the others."""
    directions = [forwards, backwards] if layer.bidirectional else [forwards]
    return torch.stack(directions).repeat(layer.num_layers, 1)


def _row(layer: Recurrent) -> Tensor:
    return torch.arange(len(layer.scan_names), device=layer.weight_ih_l0.device).unsqueeze(1)  # (L·D, 1)


def _inverse(permutation: Tensor) -> Tensor:
    """``(N,)``: where each of 0 … N − 1 stands in ``permutation``."""
    return torch.empty_like(permutation).scatter_(0, permutation, torch.arange(len(permutation)))


def _time_major(layer: Recurrent, input: Tensor | PackedSequence, resets: Tensor) -> Tensor:
    """``resets`` as ``(T, B)``, items in the order of the rows."""
    if resets.dim() == 1:
        return resets.unsqueeze(1)
    resets = resets.T if layer.batch_first else resets  # (T, B)
    order = input.sorted_indices if isinstance(input, PackedSequence) else None
    return resets if order is None else resets[:, order.cpu()]


def _check(layer: Recurrent, input: Tensor | PackedSequence, resets: Tensor) -> None:
    if isinstance(input, PackedSequence):
        shape = (len(input.batch_sizes), int(input.batch_sizes[0]))
        shape = shape[::-1] if layer.batch_first else shape
    else:
        shape = tuple(input.shape[:-1])
    if not isinstance(resets, Tensor) or resets.dtype != torch.bool or tuple(resets.shape) != shape:
        form = f"{tuple(resets.shape)} of {resets.dtype}" if isinstance(resets, Tensor) else type(resets).__name__
        raise ShapeError(
            f"{type(layer).__name__}: the resets do not fit",
            expected=f"a bool tensor {shape}, True where a new sequence begins",
            got=form,
            fix="one entry for each step of each item, as the input lies, without features",
        )
