"""What a trial's criterion was after each epoch, and when a try is given up for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gatelab.core.task import Metric

WARM_EPOCHS = 3
"""Epochs that every try may have."""


def criterion_curve(history: Sequence[Mapping[str, Any]], criterion: Metric) -> list[float]:
    """The criterion after each epoch (NaN where it was not finite)."""
    key = "validation_loss" if criterion.name == "loss" else criterion.name
    return [float("nan") if record.get(key) is None else float(record[key]) for record in history]


def best_so_far(curve: Sequence[float], criterion: Metric) -> np.ndarray:
    """The best value up to each epoch, NaN before there is one."""
    running = np.fmin if criterion.goal == "min" else np.fmax
    return running.accumulate(np.asarray(curve, dtype=float)) if len(curve) else np.empty(0)  # (E,)


def gives_up(best: float, epoch: int, medians: Sequence[float], criterion: Metric) -> bool:
    """Whether a try with this best criterion after ``epoch`` epochs (from 1) is worse than the median."""
    return WARM_EPOCHS < epoch <= len(medians) and criterion.better(medians[epoch - 1], best)
