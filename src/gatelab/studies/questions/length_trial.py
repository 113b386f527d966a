"""The trials of the study of length: those of the comparison, and what a training step costs at every length."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gatelab.bench.harness import Shape
from gatelab.bench.suites.long import added_memory
from gatelab.studies.questions import comparison_trial
from gatelab.studies.training_cost import turns
from gatelab.studies.training_trial import model_of, task_of
from gatelab.studies.trials import Measured, Trial
from gatelab.studies.worker import Beat

_SECONDS = 6.0  # of taking turns


def measure(trial: Trial, folder: Path, beat: Beat) -> Measured:
    """Costs where the condition names ``lengths``, else what the comparison measures.

    Raises:
        InputError: the condition has an entry that is none of task, model and training.
        TrainingError: training failed, or the result is not a finite number.
        GatelabError: memory could not be measured.
    """
    if "lengths" in trial.configuration:
        return Measured(costs(trial.configuration, beat))
    return comparison_trial.measure(trial, folder, beat)


def costs(condition: Mapping[str, Any], beat: Beat) -> dict[str, Any]:
    """Milliseconds of a training step in every round, for each cell at each length; MB of a pass of its layer.

    All cells and lengths take turns in one process, so that what slows the machine for a while slows all of them.
    """
    cells, lengths = condition["cells"], condition["lengths"]
    made = {(cell, length): {**condition["settings"], "length": length, "cell": cell,
                             "parameters": condition["parameters"]}
            for cell in cells for length in lengths}  # fmt: skip
    beat()
    rounds = dict(zip(made, turns([(task_of(each), each) for each in made.values()], _SECONDS), strict=True))
    memory = {key: _memory(each, beat) for key, each in made.items()}
    return {
        "rounds": {cell: [rounds[cell, length] for length in lengths] for cell in cells},
        "memory_mb": {cell: [memory[cell, length] for length in lengths] for cell in cells},
    }


def _memory(condition: Mapping[str, Any], beat: Beat) -> float:
    """What a forward and a backward pass of the layer add at their peak to a process of their own."""
    beat()
    task, model = task_of(condition), model_of(task_of(condition), condition)
    inputs, steps = task.build(model).encoder.input_size, condition["length"]
    return added_memory(model.cell, Shape(condition["batch_size"], steps, inputs, model.hidden_size), steps)
