"""From the outputs of every step to one vector for each sequence.

Everything works on the rows of a ``PackedSequence``, where there is no padding: what lies under a mask cannot be read,
and a long sequence beside short ones costs its own steps alone.

N rows of all steps together, B batch, F features of an output (D·H), D directions.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gatelab.core.errors import InputError
from gatelab.nn import packing

Kind = Literal["last", "mean", "max", "attention"]


class Pooling(nn.Module):
    """One vector ``(B, F)`` for each sequence, by one of four rules.

    last
        The output where each direction has read everything: of the forward half at the last step, of the backward half
        at the first.
    mean, max
        Over the steps, feature by feature.
    attention
        A weighted mean: ``u = tanh(W y + b)``, ``α = softmax over the steps of u·v``, ``Σ α y`` (Yang et al. 2016,
        NAACL, equations 5 to 7).

    Args:
        kind: which of them.
        features: of an output (F).
        directions: 2 where the second half of the features was read backwards.

    Raises:
        InputError: another kind.
    """

    def __init__(self, kind: Kind, features: int, directions: int = 1):
        super().__init__()
        if kind not in get_args(Kind):
            expected = f"one of {', '.join(get_args(Kind))}"
            raise InputError(f"there is no pooling {kind!r}", expected=expected, got=kind, fix="change --pooling")
        self.kind, self.features, self.directions = kind, features, directions
        if kind == "attention":
            self.project = nn.Linear(features, features)
            self.score = nn.Linear(features, 1, bias=False)

    def forward(self, output: PackedSequence) -> Tensor:
        """``(B, F)`` in the order in which the sequences were packed, from the outputs ``data (N, F)``."""
        match self.kind:
            case "last":
                pooled = _ends(output, self.directions)
            case "mean":
                pooled = _sums(output, output.data) / _lengths(output).unsqueeze(1)  # (B, F)
            case "max":
                pooled = _maxima(output, output.data)
            case _:
                pooled = _sums(output, self.weights(output).unsqueeze(1) * output.data)
        return packing.as_called(output, pooled.unsqueeze(0)).squeeze(0)

    def weights(self, output: PackedSequence) -> Tensor:
        """Attention alone: the weight of each row, ``(N,)``, which add up to one for each sequence."""
        score = self.score(torch.tanh(self.project(output.data)))  # (N, 1)
        item = _items(output)  # (N,)
        grown = (score - _maxima(output, score).detach()[item]).exp()  # (N, 1)
        return (grown / _sums(output, grown)[item]).squeeze(1)

    def extra_repr(self) -> str:
        """What is not seen from the parameters."""
        return f"{self.kind}, {self.features}, directions={self.directions}"


def _items(output: PackedSequence) -> Tensor:
    """The sequence of each row, ``(N,)``, the longest sequence being 0."""
    return packing.items_of(output.batch_sizes, len(output.data), 0).to(output.data.device)


def _lengths(output: PackedSequence) -> Tensor:
    """Steps of each sequence, ``(B,)``, the longest first."""
    at = torch.arange(int(output.batch_sizes[0])).unsqueeze(1)  # (B, 1)
    return (output.batch_sizes > at).sum(dim=1).to(output.data.device)


def _ends(output: PackedSequence, directions: int) -> Tensor:
    """The output at the end to which each direction reads, ``(B, F)``."""
    B = int(output.batch_sizes[0])
    first = (output.batch_sizes.cumsum(0) - output.batch_sizes).to(output.data.device)  # (T,) first row of each step
    at = torch.arange(B, device=output.data.device)  # (B,) also the rows of the first step
    last = output.data[first[_lengths(output) - 1] + at]  # (B, F)
    if directions == 1:
        return last
    half = output.data.shape[1] // 2
    return torch.cat([last[:, :half], output.data[:B, half:]], dim=1)


def _sums(output: PackedSequence, rows: Tensor) -> Tensor:
    """Sums over the steps, ``(B, F)``, of ``rows (N, F)``."""
    zeros = rows.new_zeros(int(output.batch_sizes[0]), rows.shape[1])  # (B, F)
    return zeros.index_add(0, _items(output), rows)


def _maxima(output: PackedSequence, rows: Tensor) -> Tensor:
    """Greatest values over the steps, ``(B, F)``, of ``rows (N, F)``."""
    start = rows.new_full((int(output.batch_sizes[0]), rows.shape[1]), -torch.inf)  # (B, F)
    index = _items(output).unsqueeze(1).expand_as(rows)  # (N, F)
    return start.scatter_reduce(0, index, rows, "amax", include_self=False)
