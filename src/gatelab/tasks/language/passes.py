"""−ln p of every token of whole texts, exactly: nothing is cut off, however long a text is.

T steps, B texts side by side, N tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from gatelab.data.ragged import Ragged
from gatelab.tasks.bucketing import groups_of
from gatelab.tasks.language.batches import NOTHING, TextBatch, side_by_side, stream_windows
from gatelab.tasks.language.model import LanguageNet

Array = np.ndarray
_STEPS = 512  # of one pass; the state is carried from each to the next
_TOKENS = 1 << 15  # of texts side by side


def stream_losses(model: LanguageNet, values: Array, steps: int = _STEPS) -> Array:
    """Of one stream, read from its beginning to its end: each token given all before it.

    Args:
        model: the network.
        values: numbers of tokens ``(N,)``.
        steps: tokens at a time, which changes the result by rounding alone.

    Returns:
        In nats, ``(N,)`` float64.
    """
    return _carried(model, stream_windows(values, 1, steps))[:, 0]


def text_losses(model: LanguageNet, texts: Ragged | Sequence[Array]) -> list[Array]:
    """Of texts that each begin with an empty state: for every one, in nats, ``(length,)`` float64."""
    texts = texts if isinstance(texts, Ragged) else Ragged.of(texts, np.int32)
    found: list[Array] = [np.empty(0)] * len(texts)
    for which in groups_of(texts.lengths, _TOKENS):
        losses = _carried(model, _windows(side_by_side([texts[at] for at in which])))  # (T, B)
        for column, at in enumerate(which.tolist()):
            found[at] = losses[: texts.lengths[at], column]
    return found


def _windows(batch: TextBatch) -> Iterator[TextBatch]:
    for first in range(0, batch.steps, _STEPS):
        part = slice(first, first + _STEPS)
        yield TextBatch(batch.read[part], batch.truth[part], carries=first > 0)


@torch.no_grad()
def _carried(model: LanguageNet, windows: Iterator[TextBatch]) -> Array:
    """Of all steps of windows that follow one another, ``(T, B)``; NaN where there was nothing to predict."""
    device, found, state = next(model.parameters()).device, [], None
    with evaluating(model):
        for batch in windows:
            losses, state = model.losses(batch.read.to(device), batch.truth.to(device), state)
            whole = np.full(batch.truth.shape, np.nan)  # (T, B)
            whole[(batch.truth != NOTHING).numpy()] = losses.double().cpu().numpy()
            found.append(whole)
    return np.concatenate(found)


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """The model in evaluation mode, and afterwards in the mode it was in."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
