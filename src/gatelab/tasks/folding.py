"""One fold of a backtest or a cross-validation: a training, scored beside every baseline on the same items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gatelab.core.config import ModelConfig
from gatelab.core.task import Task
from gatelab.training import fit
from gatelab.training.scoring import score_all


def score_fold(
    task: Task,
    model: ModelConfig,
    training: Mapping[str, Any],
    facts: Mapping[str, Any],
    *,
    folder: Path,
    seed: int,
    listeners: Any = (),
) -> list[dict[str, Any]]:
    """Trains on the fold's training part and scores on its test part.

    Args:
        task: over the parts of this fold.
        model: the network.
        training: settings of ``TrainingConfig`` that are given; the others suit the fold.
        facts: what is told of the fold in each row.
        folder: the run folder.
        seed: of the training.
        listeners: told of it.

    Returns:
        A row for the network and one for each baseline: ``facts``, method, and every metric.
    """
    settings = replace(task.training_defaults(), **training)
    fitted = fit(task, model, settings, seed=seed, folder=folder, listeners=listeners)
    scored = score_all(task, model.cell, fitted.model, "test", listeners)
    return [{**facts, "method": name, **evaluation.metrics} for name, evaluation in scored.items()]
