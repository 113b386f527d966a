"""Which steps of a sequence moved the network towards a class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gatelab.data.ragged import Ragged
from gatelab.nn.attribution import class_log_odds, integrated_gradients
from gatelab.tasks.bucketing import groups_of
from gatelab.tasks.classifying.batches import ClassBatch
from gatelab.tasks.classifying.model import Classifier, evaluating

Array = np.ndarray
_TOGETHER = 1 << 12  # padded steps whose gradients are taken together


def contributions(model: Classifier, x: Ragged, classes: Array, neutral: Tensor) -> list[Array]:
    """The contribution of every feature of every step to the log-odds of a class, ``(T_i, I)`` of each sequence.

    In nats, by integrated gradients (Sundararajan et al. 2017), from a sequence of as many steps that say nothing. With
    the log-odds of that one they add up to the log-odds that the network gives, at the temperature it is used with.

    Args:
        model: the network.
        x: sequences (N).
        classes: the class of each that is asked about, ``(N,)``.
        neutral: the features of a step that says nothing, ``(I,)``.
    """
    found: list[Array] = [np.empty(0)] * len(x)
    with evaluating(model) as device:
        for which in groups_of(x.lengths, _TOGETHER):
            batch = ClassBatch.of(x, classes, which).to(device)
            values = _of_batch(model, batch, neutral.to(device)).cpu().numpy()  # (T, B, I)
            for column, at in enumerate(which.tolist()):
                found[at] = values[: int(batch.lengths[column]), column]
    return found


def strongest(values: Array, count: int) -> Sequence[int]:
    """The places of the ``count`` greatest of ``values (T,)`` by size, the greatest first; what is 0 is none."""
    order = np.argsort(-np.abs(values), kind="stable")[:count]
    return [int(at) for at in order if values[at] != 0]


def _of_batch(model: Classifier, batch: ClassBatch, neutral: Tensor) -> Tensor:
    features, _ = pad_packed_sequence(model.read(batch.packed))  # (T, B, I)

    def score(features: Tensor) -> Tensor:
        packed = pack_padded_sequence(features, batch.lengths, enforce_sorted=False)
        return class_log_odds(model.classify(packed) / model.temperature, batch.y)  # (B,)

    return integrated_gradients(score, features, neutral).contributions
