"""``gatelab fit``: one model, trained and scored beside simple baselines.

Under torchrun several processes train it together; the first scores it and says what is found.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from gatelab.cli.console import err, note, say, say_json
from gatelab.cli.parsing import given, parse_groups
from gatelab.cli.tasks import MODEL, TRAINING, remember_source, say_next, say_scores, take_task, task_group
from gatelab.core.config import ModelConfig, TrainingConfig
from gatelab.core.files import finite
from gatelab.core.processes import leads
from gatelab.core.task import Task
from gatelab.tasks import TASKS

_TEXT = "Trains one model and scores it beside simple baselines; what is in the folder already is not done again."
_EXAMPLE = "gatelab fit forecasting co2_weekly --horizon 8"


@dataclass(frozen=True)
class Options:
    """One training."""

    data: Positional[str]
    """File, or the name of a data set (gatelab data list)."""
    out: str | None = None
    """Run folder; none: runs/fit-TASK-DATA-CELL. A training that was cut short in it goes on."""
    seed: int = 0
    """Of every random number: the same seed gives the same model."""
    json: bool = False
    """Print the results as JSON, and nothing else, to stdout."""


def main(argv: Sequence[str]) -> int:
    """Runs ``gatelab fit`` with ``argv`` and gives the exit code.

    Raises:
        InputError: no such task, or an option that cannot be used.
        DataError: data that cannot be used.
        RunError: the folder holds another run, or a damaged one.
        TrainingError: the loss stopped being finite.
    """
    taken = take_task(argv, command="fit", description=_TEXT, example=_EXAMPLE)
    if taken is None:
        return 0
    task, words = taken
    examples = [_EXAMPLE, f"gatelab fit {task} my.csv --cell lstm --hidden-size 64 --out runs/mine"]
    options, (config, model, training) = parse_groups(
        Options, [task_group(task), MODEL, TRAINING], words,
        command=f"fit {task}", description=_TEXT, examples=examples,
    )  # fmt: skip
    asked = {name: getattr(training, name) for name in given(words, TrainingConfig)}
    network = {name: getattr(model, name) for name in given(words, ModelConfig)}
    model = dataclasses.replace(TASKS[task].model_defaults(), **network)
    opened = TASKS[task].open(options.data, config)
    if leads():
        note(*opened.notes)
    return _fit(opened, model, asked, options, shlex.join(["gatelab", "fit", *argv]))


def _fit(task: Task, model: ModelConfig, asked: Mapping[str, Any], options: Options, command: str) -> int:
    from gatelab.studies.single import train_one
    from gatelab.training import Run, fit
    from gatelab.training.progress import ProgressBar

    folder = Path(options.out or f"runs/fit-{task.name}-{Path(options.data).stem}-{model.cell}")
    training = dataclasses.replace(task.training_defaults(), **asked)
    if not leads():
        fit(task, model, training, folder=folder, seed=options.seed)
        return 0
    if Run.exists(folder) and Run.open(folder).outcome is not None:
        note(f"{folder} holds this model, trained: nothing is trained again")
    bar = ProgressBar(model.cell, err)
    single = train_one(task, model, training, folder=folder, seed=options.seed, listeners=[bar])
    remember_source(folder, options.data)
    report = single.write_report(command)
    if options.json:
        say_json(finite({**single.results(), "report": str(report)}))
        return 0
    say_scores(task, {model.cell: single.evaluation, **single.baselines})
    say("", single.verdict, *task.remarks(single.evaluation), "", f"model   {folder}", f"report  {report}")
    say_next(task.name, folder)
    return 0
