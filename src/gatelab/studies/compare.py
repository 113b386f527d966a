"""``gatelab.compare``: RNN, LSTM or GRU? With seeds, equal budgets, baselines and a verdict in words."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from gatelab.core.config import ModelConfig, from_options, require
from gatelab.core.files import explained, writable_folder
from gatelab.core.task import Task
from gatelab.studies.budgets import check_cells, parse_budget, seed_list
from gatelab.studies.comparing import Comparing, Plan
from gatelab.studies.progress import Progress
from gatelab.studies.runner import Runner
from gatelab.studies.study import Records, conduct
from gatelab.studies.tables import for_terminal
from gatelab.studies.trials import Store
from gatelab.studies.wording import called
from gatelab.tasks import TASKS
from gatelab.training.devices import find_device

CELLS = ("rnn", "lstm", "gru")
_NOT_PART_OF_THE_MODEL = ("record.json", "heartbeat.json", "evaluation.npz", "checkpoints", ".lock", "*.tmp")


@dataclass(frozen=True)
class Comparison:
    """What a comparison found."""

    folder: Path
    verdict: str
    results: Mapping[str, Any]
    """All that is in ``results.json``."""
    records: Records
    """Every trial, by id."""
    report: Path
    """One HTML file."""
    best: Path | None
    """Run folder of the model to keep, ready for ``gatelab predict``; ``None`` where no trial finished."""

    def show(self, console: Console | None = None) -> None:
        """Prints table, verdict, and where things lie."""
        console = console or Console()
        console.print(for_terminal(self.results))
        console.print(self.verdict, markup=False, highlight=False)
        console.print(f"\nreport  {self.report}", markup=False, highlight=False, soft_wrap=True)
        if self.best:
            kept = self.results["best"]
            which = (
                f"{called(kept['cell'])}, seed {kept['seed']}: best on the validation part, which the verdict is not of"
            )
            console.print(f"model   {self.best} ({which})", markup=False, highlight=False, soft_wrap=True)

    def __str__(self) -> str:
        console = Console(width=120, color_system=None)
        with console.capture() as captured:
            self.show(console)
        return captured.get()


def compare(
    task: str | Task = "forecasting",
    data: Any = None,
    *,
    cells: str | Iterable[str] = CELLS,
    seeds: int | Sequence[int] | None = None,
    budget: str = "standard",
    jobs: int | None = None,
    tune: int = 0,
    out: str | Path | None = None,
    parameters: int | None = None,
    model: ModelConfig | None = None,
    config: Any = None,
    device: str = "cpu",
    backend: str = "loky",
    retry: bool = False,
    quiet: bool = True,
    command: str = "",
    **options: Any,
) -> Comparison:
    """Compares cells on a task, and keeps the best model.

    What is already in ``out`` is not run again: an interrupted comparison goes on, and more seeds or cells are added.

    Args:
        task: a task's name, or a task that is already opened.
        data: file, data set name or table, as the task takes it.
        cells: names, or one string with commas.
        seeds: how many, or which; none: as the budget has it (5; quick: 3, full: 10). Seed 0 is used for tuning.
        budget: ``quick``, ``standard``, ``full``, a time for each trial (``90s``) or ``20 epochs``.
        jobs: trials at a time; none: one for each physical core.
        tune: Optuna trials for each cell; 0: each chooses from the same few learning rates.
        out: folder of the study; none: ``runs/compare-…``.
        parameters: numbers that each cell may learn; none: as the budget has it.
        model: what all cells have in common (layers, dropout); its cell and hidden size are not looked at. None: what
            suits the task.
        config: the task's configuration; or give its settings as ``options``, such as ``target="y"``.
        device: where to train, such as ``"cuda"``.
        backend: joblib backend, ``"loky"`` for processes on this machine.
        retry: run trials once more that failed or hung before.
        quiet: show no progress.
        command: how to repeat this, for the report.

    Raises:
        InputError: an option that cannot be used.
        DataError: data that cannot be used.
        RunError: ``out`` holds a study with other data or settings, or another command is at work there.
    """
    chosen, plan_budget = check_cells(cells.split(",") if isinstance(cells, str) else cells), parse_budget(budget)
    plan_seeds = seed_list(seeds, plan_budget)
    require(jobs is None or jobs >= 1, "jobs", "at least 1", jobs)
    require(tune >= 0, "tune", "at least 0", tune)
    require(parameters is None or parameters >= 1, "parameters", "at least 1", parameters)
    find_device(device, "float32")
    folder = writable_folder(out or default_folder(task, data))
    opened = task if isinstance(task, Task) else open_task(task, data, config, options)
    plan = Plan(chosen, plan_seeds, plan_budget, model or opened.model_defaults(), parameters, tune, device, command)
    progress = Progress(quiet=quiet)
    with Runner(folder, jobs=jobs, backend=backend, retry=retry, progress=progress) as runner:
        outcome = conduct(Comparing(opened, plan), runner)
        best = keep_best(runner.store, outcome.results["best"])
    return Comparison(folder, outcome.results["verdict"], outcome.results, outcome.records, outcome.report, best)


def open_task(task: str, data: Any, config: Any, options: Mapping[str, Any]) -> Task:
    """The task of that name on ``data``.

    Raises:
        InputError: no such task, or an option that it does not have.
    """
    kind = TASKS[task]
    return kind.open(data, config if config is not None else from_options(kind.Config, options))


def default_folder(task: str | Task, data: Any) -> Path:
    """Where a comparison goes if nobody says: named after task and data, so that the same command finds it again."""
    name = task if isinstance(task, str) else task.name
    stem = Path(data).stem if isinstance(data, (str, Path)) else "data"
    return Path("runs") / f"compare-{name}-{stem}"


def keep_best(store: Store, best: Mapping[str, Any] | None) -> Path | None:
    """Copies the run folder of the chosen trial to ``best``, whole before it takes the name.

    Raises:
        GatelabError: it cannot be written.
    """
    if best is None or not (source := store.trial_folder(best["trial"])).joinpath("model.safetensors").exists():
        return None  # nothing finished, or the record came from another machine, without its weights
    target, fresh = store.folder / "best", store.folder / ".best.new"
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        shutil.copytree(source, fresh, ignore=shutil.ignore_patterns(*_NOT_PART_OF_THE_MODEL))
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)
    except OSError as error:
        raise explained(error, target) from error
    return target
