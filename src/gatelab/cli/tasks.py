"""What the commands that take a task share: its name as the first word, then its options beside the model's."""

from __future__ import annotations

import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from gatelab.cli.console import note, say, say_table
from gatelab.cli.parsing import Group
from gatelab.core.config import ModelConfig, TrainingConfig
from gatelab.core.errors import GatelabError, InputError, RunError
from gatelab.core.files import read_json, write_json
from gatelab.core.task import Evaluation, Task
from gatelab.report.text import number
from gatelab.tasks import TASKS

SOURCE, SHOWN_METRICS = "source.json", 6

MODEL = Group(
    "model",
    ModelConfig,
    "The recurrent network. What is not given here suits the task: text, say, is read in both directions.",
)
TRAINING = Group(
    "training",
    TrainingConfig,
    "How the model is trained. What is not given here suits the task and the size of its data.",
)


def take_task(argv: Sequence[str], *, command: str, description: str, example: str) -> tuple[str, list[str]] | None:
    """The task that the first word names, and the other words; ``None`` after printing help that was asked for.

    Raises:
        InputError: there is no first word, or no task of that name.
    """
    tasks = ", ".join(TASKS)
    if not argv or (argv[0].startswith("-") and argv[0] not in ("--help", "-h")):
        raise InputError(
            f"gatelab {command} needs a task as its first word", expected=f"one of {tasks}", fix=f"try: {example}"
        )
    if argv[0] in ("--help", "-h"):
        say(f"usage: gatelab {command} TASK DATA …", "", description, "", f"tasks: {tasks}", "")
        say(f"`gatelab {command} TASK --help` shows the options.", "", "examples:", f"  {example}")
        return None
    TASKS.check(argv[0])
    return argv[0], list(argv[1:])


def task_group(task: str) -> Group:
    """The task's own settings."""
    return Group(task, TASKS[task].Config)


def run_folder(folder: Path) -> Path:
    """The run folder that a user means: ``folder`` itself, or the best model of a study.

    Raises:
        RunError: it is neither.
    """
    from gatelab.training.runs import Run  # brings torch

    if Run.exists(folder):
        return folder
    if Run.exists(folder / "best"):
        return folder / "best"
    if (folder / "study.json").exists():
        raise RunError(
            f"the study in {folder} has no best model yet",
            fix="repeat the command that began it: it goes on from where it stopped",
        )
    nearby = sorted(str(found.parent) for found in folder.glob("*/manifest.json"))[:3] if folder.is_dir() else []
    raise RunError(
        f"{folder} is not the folder of a model" if folder.exists() else f"there is no folder {folder}",
        expected="the folder that gatelab fit or gatelab compare wrote",
        fix=f"did you mean {', '.join(nearby)}?" if nearby else "name the folder that --out named",
    )


def remember_source(folder: Path, source: str) -> None:
    """Writes down beside a run what it was trained on, so that ``predict`` can do without."""
    path = Path(source).expanduser()
    write_json(folder / SOURCE, {"source": str(path.resolve()) if path.is_file() else source})


def remembered_source(folder: Path) -> str:
    """What the run in ``folder`` was trained on.

    Raises:
        InputError: that is not known.
    """
    try:
        found = read_json(folder / SOURCE)
        if isinstance(found, Mapping) and isinstance(found.get("source"), str):
            return found["source"]
    except GatelabError:
        pass
    raise InputError(
        f"no data are given, and {folder} does not say what the model was trained on",
        fix="name the data after the folder",
    )


@contextmanager
def standard_input() -> Iterator[Path]:
    """What comes through the pipe, as a file for as long as the block lasts; in messages it is "standard input".

    A file, because a task may look at its data twice, and they may be larger than memory.
    """
    if sys.stdin.isatty():
        note("reading what you type, up to a line with Ctrl-D alone (on Windows Ctrl-Z)")
    with tempfile.TemporaryDirectory(prefix="gatelab-") as folder:
        path = Path(folder) / "standard input"
        with open(path, "wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        try:
            yield path
        except GatelabError as error:
            raise error.naming(str(path), path.name) from error


def say_next(task: str, folder: Path) -> None:
    """Prints the command with which the model in ``folder`` is used."""
    if task == "language":
        what, command = "to let it write:", "generate"
    else:
        what, command = "to use it (on other data: name them after the folder):", "predict"
    say("", what, f"  gatelab {command} {shlex.quote(str(folder))}")


def say_scores(task: Task, scored: Mapping[str, Evaluation]) -> None:
    """Prints the first metrics of each method, the best on top."""
    first, shown = task.metrics[0], task.metrics[:SHOWN_METRICS]
    sign = 1 if first.goal == "min" else -1
    order = sorted(scored, key=lambda name: sign * scored[name].metrics[first.name])
    columns = ["", *(f"{metric.name} [{metric.unit}]" if metric.unit else metric.name for metric in shown)]
    rows = [[name, *(number(scored[name].metrics.get(metric.name)) for metric in shown)] for name in order]
    say_table(columns, rows, right=columns[1:])
