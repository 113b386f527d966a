"""Batches of text: windows of parallel streams, or lines side by side.

Documents are numbers of tokens and, last, an end each. What a token is predicted from is the token before it; before
the first token of a document stands an end.

T steps, B texts side by side, N tokens of a part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gatelab.data.ragged import Ragged
from gatelab.data.tokens import END
from gatelab.tasks.bucketing import batches_of

Array = np.ndarray
NOTHING = -100
"""Stands in ``truth`` where there is nothing to predict; torch's losses know it by this number."""


@dataclass(frozen=True)
class TextBatch:
    """B texts: at every step a token is read and the next one is predicted."""

    read: Tensor  # (T, B) int64 numbers of tokens; what stands where there is nothing to predict changes nothing
    truth: Tensor  # (T, B) int64 the next ones, or NOTHING
    carries: bool = False
    scale: float = 1.0  # tokens of the batch that it is, or is a share of, over those of a usual batch

    @property
    def size(self) -> int:
        """Texts."""
        return self.read.shape[1]

    @property
    def steps(self) -> int:
        """Steps that every text takes the cell."""
        return self.read.shape[0]

    def take(self, which: slice) -> TextBatch:
        """These of its texts alone."""
        return replace(self, read=self.read[:, which], truth=self.truth[:, which])

    def to(self, device: Any) -> TextBatch:
        """The same batch on ``device``."""
        return replace(self, read=self.read.to(device), truth=self.truth.to(device))


# ---- one stream ----------------------------------------------------------------------------------------------------


def stream_steps(tokens: int, columns: int) -> int:
    """Steps in which ``columns`` parallel streams go through so many tokens, each once."""
    return -(-tokens // max(columns, 1))


def stream_windows(
    values: Array, columns: int, window: int, rng: np.random.Generator | None = None, start: int = 0
) -> Iterator[TextBatch]:
    """Windows of parallel streams, each going on where it stopped in the window before.

    The documents of a part lie end to end in a ring, which is cut into ``columns`` streams of equal length; with
    ``rng`` it is cut at another place each time. Every token is predicted once.

    Args:
        values: numbers ``(N,)``, the last an end.
        columns: streams side by side, at most.
        window: steps in a batch.
        rng: says where to cut.
        start: windows to leave out.
    """
    steps = stream_steps(len(values), columns)
    offset = 0 if rng is None else int(rng.integers(len(values)))
    first = np.arange(stream_steps(len(values), steps)) * steps  # (B,) columns that have a token
    for begin in range(start * window, steps, window):
        place = np.arange(begin, min(begin + window, steps))[:, None] + first  # (T, B)
        there = (place < len(values)) & (place < first + steps)
        place = place + offset
        truth = np.where(there, values[place % len(values)], NOTHING)
        yield TextBatch(_tensor(values[(place - 1) % len(values)]), _tensor(truth), carries=begin > 0)


# ---- lines ---------------------------------------------------------------------------------------------------------


class Pieces:
    """Lines, those longer than ``window`` in pieces, of which each begins with an empty state.

    Args:
        lines: numbers of tokens, each line's last an end.
        window: most steps of a piece.
    """

    def __init__(self, lines: Ragged, window: int):
        counts = np.maximum(-(-lines.lengths // window), 1)  # (S,)
        which = np.repeat(np.arange(len(lines)), counts)  # (P,) line of each piece
        within = (np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)) * window  # (P,) first token
        self.values = lines.values
        self.starts = lines.starts[which] + within  # (P,)
        self.lengths = np.minimum(lines.lengths[which] - within, window)  # (P,)
        self._begins = within == 0  # (P,) whether an end stands before the first token

    def count(self, batch_size: int) -> int:
        """Batches."""
        return -(-len(self.starts) // batch_size)

    def batches(self, batch_size: int, rng: np.random.Generator | None = None, start: int = 0) -> Iterator[TextBatch]:
        """Batches of pieces of like length, shuffled by ``rng``; the first ``start`` are left out.

        A batch of short pieces holds fewer tokens. If its mean counted as much as that of a batch of long ones, the
        tokens of short pieces would count more, and a model would learn to end its texts too soon.
        """
        usual = self.lengths.sum() / self.count(batch_size)
        for which in batches_of(self.lengths, batch_size, rng)[start:]:
            yield self._batch(which, usual)

    def _batch(self, which: Array, usual: float) -> TextBatch:
        read = np.full((int(self.lengths[which].max()), len(which)), END, np.int64)  # (T, B)
        truth = np.full_like(read, NOTHING)  # (T, B)
        for column, at in enumerate(which.tolist()):
            first, length = self.starts[at], self.lengths[at]
            truth[:length, column] = self.values[first : first + length]
            read[1:length, column] = self.values[first : first + length - 1]
            if not self._begins[at]:
                read[0, column] = self.values[first - 1]
        return TextBatch(_tensor(read), _tensor(truth), scale=float(self.lengths[which].sum() / usual))


def side_by_side(texts: Sequence[Array]) -> TextBatch:
    """Whole texts, numbers of tokens each, beside one another: every token is predicted from those before it."""
    read = np.full((max(map(len, texts)), len(texts)), END, np.int64)  # (T, B)
    truth = np.full_like(read, NOTHING)  # (T, B)
    for column, text in enumerate(texts):
        truth[: len(text), column] = text
        read[1 : len(text), column] = text[:-1]
    return TextBatch(_tensor(read), _tensor(truth))


def _tensor(numbers: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(numbers, np.int64))
