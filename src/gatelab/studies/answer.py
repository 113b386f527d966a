"""``gatelab.study``: conducts a question study, or reads what one has found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from gatelab.core.config import require
from gatelab.core.errors import GatelabError, RunError
from gatelab.core.files import read_json
from gatelab.report.page import Figure, Page, Table
from gatelab.report.text import clean, number
from gatelab.studies import QUESTIONS
from gatelab.studies.experiment import Experiment
from gatelab.studies.progress import Progress
from gatelab.studies.runner import Runner
from gatelab.studies.study import conduct
from gatelab.studies.trials import Store


@dataclass(frozen=True)
class Answer:
    """What a question study found; made from ``results.json`` alone."""

    study: Experiment
    folder: Path
    results: Mapping[str, Any]
    """All that is in ``results.json``."""

    @property
    def findings(self) -> Mapping[str, Any]:
        """The statistics."""
        return self.results["findings"]

    @property
    def verdict(self) -> str:
        """The answer in words."""
        return self.results["verdict"]

    @cached_property
    def figures(self) -> dict[str, Figure]:
        """Pictures by name; a notebook shows each as SVG."""
        return self.study.figures(self.findings) if self.findings else {}

    @cached_property
    def tables(self) -> dict[str, Table]:
        """Tables by name."""
        return self.study.tables(self.findings) if self.findings else {}

    @property
    def page(self) -> Page:
        """The report as ``report.save`` and ``report.save_markdown`` take it."""
        return self.study.page(self.results, {}, Store(self.folder))

    @property
    def report(self) -> Path:
        """One HTML file."""
        return self.folder / "report.html"

    def show(self, console: Console | None = None) -> None:
        """Prints the question, the first table, the verdict, and where the report lies."""
        console = console or Console()
        plain: dict[str, Any] = {"markup": False, "highlight": False}
        console.print(self.results["question"], style="bold", **plain)
        for table in list(self.tables.values())[:1]:
            console.print(_for_terminal(table))
        console.print(self.verdict, **plain)
        console.print(f"\nreport  {self.report}", soft_wrap=True, **plain)

    def __str__(self) -> str:
        console = Console(width=120, color_system=None)
        with console.capture() as captured:
            self.show(console)
        return captured.get()


def study(
    name: str,
    *,
    budget: str = "standard",
    seeds: int | Sequence[int] | None = None,
    cells: str | Iterable[str] | None = None,
    jobs: int | None = None,
    out: str | Path | None = None,
    backend: str = "loky",
    retry: bool = False,
    quiet: bool = True,
    command: str = "",
) -> Answer:
    """Answers the question of that name.

    What is already in ``out`` is not run again: an interrupted study goes on, and more seeds, cells or a larger budget
    run only what is missing.

    Args:
        name: as ``gatelab study list`` has it.
        budget: ``quick``, ``standard`` or ``full``.
        seeds: how many, or which; none: as the budget has it (5; quick: 3, full: 10).
        cells: names, or one string with commas; none: those of the study.
        jobs: trials at a time; none: one for each physical core.
        out: folder of the study; none: ``runs/study-NAME``.
        backend: joblib backend, ``"loky"`` for processes on this machine.
        retry: run trials once more that failed or hung before.
        quiet: show no progress.
        command: how to repeat this, for the report.

    Raises:
        InputError: no such study, or an option that cannot be used.
        RunError: ``out`` holds another study or another version of it, or another command is at work there.
    """
    chosen = cells.split(",") if isinstance(cells, str) else cells
    asked = QUESTIONS[name](budget, seeds, chosen, command)
    require(jobs is None or jobs >= 1, "jobs", "at least 1", jobs)
    folder, progress = Path(out or folder_of(name)), Progress(quiet=quiet)
    with Runner(folder, jobs=jobs, backend=backend, retry=retry, progress=progress) as runner:
        outcome = conduct(asked, runner)
    return Answer(asked, outcome.folder, outcome.results)


def load(folder: str | Path) -> Answer:
    """What the study in ``folder`` last found; nothing is run.

    Raises:
        RunError: there are no results of a question study.
    """
    path = Path(folder) / "results.json"
    try:
        results = read_json(path)
        asked = QUESTIONS[results["study"]](results["budget"], results["seeds"], results["cells"] or None)
    except (GatelabError, KeyError, TypeError) as error:
        raise RunError(
            f"{folder} holds no results of a study", got=error, fix="run gatelab study NAME first"
        ) from error
    return Answer(asked, Path(folder), results)


def folder_of(name: str) -> Path:
    """Where a study goes if nobody says."""
    return Path("runs") / f"study-{name}"


def _for_terminal(table: Table) -> RichTable:
    shown = RichTable(box=SIMPLE_HEAD, pad_edge=False, caption=clean(table.caption), caption_justify="left")
    for at, column in enumerate(table.columns):
        shown.add_column(clean(column), justify="left" if at == 0 else "right")
    for at, row in enumerate(table.rows):
        shown.add_row(*(Text(clean(number(cell))) for cell in row), style="bold" if at in table.marked else "")
    return shown
