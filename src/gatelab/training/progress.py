"""Progress on a terminal: what to expect before the first step, a bar while training, a line at the end."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gatelab.report.text import duration
from gatelab.training.events import EpochEnded, Event, Failed, Finished, Scored, Scoring, Started, Stepped, Warned


def expectation(event: Started) -> str:
    """What the training will take, in words: ``about 40 s: 30 epochs of 1.3 s, may stop earlier``."""
    resumed = f"going on after step {event.step:,}; " if event.step else ""
    epochs = f"{event.epochs} epochs" if event.epochs > 1 else "1 epoch"
    each = f"{epochs} of {duration(event.epoch_seconds)}"
    return f"{resumed}about {duration(event.estimate_seconds)}: at most {each}, may stop earlier"


class ProgressBar:
    """Listener that shows a bar, while training and while scoring; it goes when that ends, whichever way.

    Args:
        label: what is being trained.
        console: where to; the standard error stream unless given.
    """

    def __init__(self, label: str = "training", console: Console | None = None):
        self.label = label
        self.console = console or Console(stderr=True)
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=self.console, transient=True)
        self._task: Any = None

    def __call__(self, event: Event) -> None:
        """Shows one event."""
        match event:
            case Started():
                self._say(f"{self.label}: {event.parameters:,} parameters, {expectation(event)}")
                self._task = self._bar.add_task(self.label, total=event.epochs * event.batches, completed=event.step)
                self._bar.start()
            case Stepped():
                self._bar.update(self._task, completed=event.step)
            case EpochEnded(record):
                self._bar.update(self._task, description=f"{self.label}: {_line(record)}")
            case Warned(text):
                self._say(f"warning: {text}")
            case Finished():
                self._bar.stop()
                self._say(f"{self.label}: {_end(event)}")
            case Scoring(name, done, total):
                self._scoring(name, done, total)
            case Failed() | Scored():
                self._bar.stop()

    def _scoring(self, name: str, done: int, total: int) -> None:
        text = f"{self.label}: scoring {name}"
        if done:
            self._bar.update(self._task, completed=done, description=text)
            return
        if self._task is not None:  # that of the training
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(text, total=total)
        self._bar.start()

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False)


def _line(record: Any) -> str:
    losses = [("train", record["train_loss"]), ("validation", record["validation_loss"])]
    said = ", ".join(f"{name} {value:.4g}" for name, value in losses if value is not None)
    return f"epoch {record['epoch']}, {said}"


def _end(event: Finished) -> str:
    why = {"epochs": "all epochs done", "patience": "no longer improving", "time": "time spent", "steps": "steps spent"}
    best = f", best epoch {event.best_epoch}" + (f" ({event.best:.4g})" if event.best is not None else "")
    return f"{why[event.stopped]} after {event.steps:,} steps in {duration(event.seconds)}{best}"
