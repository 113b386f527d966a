"""One training, scored beside the baselines, with a page: what ``gatelab fit`` leaves in a run folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatelab.core.config import ModelConfig, TrainingConfig
from gatelab.core.files import write_text
from gatelab.core.task import Evaluation, Part, Task
from gatelab.report import Code, Figure, Page, Section, Table, plots, render
from gatelab.report.text import duration, number
from gatelab.studies.items import ERRORS, over_items
from gatelab.studies.standing import Standing
from gatelab.studies.verdict import over_items_of_one
from gatelab.studies.wording import called
from gatelab.training import Fitted, fit
from gatelab.training.events import Listener
from gatelab.training.runs import environment
from gatelab.training.scoring import score_all


@dataclass(frozen=True)
class Single:
    """A trained model and what it reached."""

    task: Task
    fitted: Fitted
    cell: str
    seed: int
    part: Part
    """What it was scored on: the test part, or the validation part where there is no other."""
    evaluation: Evaluation
    baselines: Mapping[str, Evaluation]
    """On the very same items."""

    @property
    def verdict(self) -> str:
        """A sentence on how the model stands to the best baseline."""
        metric, values = self.task.metrics[0], {self.cell: {self.seed: self.evaluation.metrics[self._first]}}
        reached = f"{called(self.cell)} reaches {self._first} {self.evaluation.metrics[self._first]:.4g}"
        reached += f" {metric.unit}" if metric.unit else ""
        scores = {name: found.metrics[self._first] for name, found in self.baselines.items()}
        if not scores:
            return f"{reached} on the {self.part} part."
        best = Standing.of(metric, values, scores).baseline
        assert best is not None
        ours, theirs = (found.arrays.get(ERRORS) for found in (self.evaluation, self.baselines[best]))
        carried = None if ours is None or theirs is None else over_items([ours], [theirs])
        return (
            f"{reached} on the {self.part} part. "
            f"{over_items_of_one(metric, called(self.cell), best, scores[best], carried)}"
        )

    @property
    def _first(self) -> str:
        return self.task.metrics[0].name

    def results(self) -> dict[str, Any]:
        """Everything as plain values."""
        fitted = self.fitted
        return {
            "task": self.task.name,
            "cell": self.cell,
            "seed": self.seed,
            "folder": str(fitted.folder),
            "part": self.part,
            "metric": self._first,
            "metrics": dict(self.evaluation.metrics),
            "items": self.evaluation.items,
            "baselines": {name: dict(found.metrics) for name, found in self.baselines.items()},
            "parameters": self.fitted.parameters,
            "epochs": len(fitted.history),
            "best_epoch": fitted.best_epoch,
            "steps": fitted.steps,
            "seconds": fitted.seconds,
            "stopped": fitted.stopped,
            "notes": list(self.task.notes),
            "verdict": self.verdict,
        }

    def write_report(self, command: str = "") -> Path:
        """Writes ``report.html`` into the run folder and gives its path."""
        path = self.fitted.folder / "report.html"
        write_text(path, render(self._page(command)))
        return path

    def _page(self, command: str) -> Page:
        fitted, name = self.fitted, called(self.cell)
        facts = [
            ("parameters", f"{self.fitted.parameters:,}"),
            ("training", duration(fitted.seconds)),
            ("best epoch", f"{fitted.best_epoch} of {len(fitted.history)}"),
            (f"{self.part} items", f"{self.evaluation.items:,}"),
        ]
        scored = {name: [self.evaluation], **{key: [found] for key, found in self.baselines.items()}}
        sections = [
            self._scores(),
            *self.task.sections(scored),
            _learning_curve(fitted.history),
            Section("What was decided about the data", list(self.task.notes) or ["Nothing had to be decided."]),
            _reproduce(command, self.seed),
        ]
        versions = ", ".join(f"{key} {value}" for key, value in environment()["libraries"].items())
        return Page(f"{name}: {self.task.name}", self.verdict, facts, sections, f"Made by gatelab. {versions}.")

    def _scores(self) -> Section:
        scored = {called(self.cell): self.evaluation, **self.baselines}
        metrics, first = self.task.metrics, self.task.metrics[0]
        sign = 1 if first.goal == "min" else -1
        order = sorted(scored, key=lambda name: sign * scored[name].metrics[first.name])
        columns = ["", *(f"{metric.name} [{metric.unit}]" if metric.unit else metric.name for metric in metrics)]
        rows = [[name, *(number(scored[name].metrics.get(m.name)) for m in metrics)] for name in order]
        meanings = "; ".join(f"{metric.name}: {metric.text}" for metric in metrics if metric.text)
        caption = f"On the {self.part} part, the same items for all; the best is marked."
        return Section("How well", [Table(columns, rows, caption, [0]), f"{meanings}." if meanings else ""])


def train_one(
    task: Task,
    model: ModelConfig,
    training: TrainingConfig,
    *,
    folder: Path,
    seed: int = 0,
    listeners: Sequence[Listener] = (),
) -> Single:
    """Trains, or goes on with a training that was cut short, and scores the model beside every baseline."""
    fitted = fit(task, model, training, seed=seed, folder=folder, listeners=listeners)
    part: Part = "test" if task.count("test", 1) else "validation"
    scored = score_all(task, model.cell, fitted.model, part, listeners)
    return Single(task, fitted, model.cell, seed, part, scored.pop(model.cell), scored)


def _learning_curve(history: Sequence[Mapping[str, Any]]) -> Section:
    epochs = [record["epoch"] for record in history]
    curves = [("train", "train_loss"), ("validation", "validation_loss")]
    lines = [
        plots.Line(name, epochs, [float("nan") if record[key] is None else record[key] for record in history])
        for name, key in curves
        if any(record[key] is not None for record in history)
    ]
    caption = "Mean loss of each epoch. The weights of the epoch with the best validation loss are kept."
    return Section("How it learned", [Figure(plots.line_chart(lines, xlabel="epoch", ylabel="loss"), caption, caption)])


def _reproduce(command: str, seed: int) -> Section:
    again = "The same command in a new folder trains the same model again; in this one it only reads what is there."
    code = [Code(command, again)] if command else []
    machine = environment()
    return Section(
        "How to reproduce",
        [*code, f"Seed {seed}. Python {machine['python']}, {machine['system']}, {machine['cores']} cores."],
    )
