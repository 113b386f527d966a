"""How far a study is: one line for the whole, one for each running trial, and an estimate of what is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gatelab.report.text import duration
from gatelab.studies.trials import Record, Trial

Running = Sequence[tuple[Trial, dict[str, Any]]]


class Progress:
    """Shows progress on standard error: a live view in a terminal, a line for each finished trial elsewhere.

    Args:
        quiet: show nothing.
        console: where to show it.
    """

    def __init__(self, *, quiet: bool = False, console: Console | None = None):
        self.quiet = quiet
        self.console = console or Console(stderr=True)
        self.total = 0
        self.jobs = 1
        self.running: Callable[[], Running] = tuple
        """Gives the running trials and their heartbeats."""
        self._done: dict[str, Record] = {}
        self._fresh: list[Record] = []
        self._begun = time.time()
        self._live: Live | None = None

    def expect(self, total: int) -> None:
        """Says how many trials there will be in all; a study may learn of more on its way."""
        self.total = total
        if not self.quiet and not self.console.is_terminal:
            self._print(f"{total} trials, {self.jobs} at a time")

    def _print(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> Progress:
        if not self.quiet and self.console.is_terminal:
            self._live = Live(console=self.console, get_renderable=self._view, refresh_per_second=2, transient=True)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._live:
            self._live.stop()
            self._live = None

    def finished(self, record: Record, *, fresh: bool = True) -> None:
        """Counts a record once; ``fresh`` ones, run by this command, are what the estimate is made from."""
        if record.id in self._done:
            return
        self._done[record.id] = record
        if fresh:
            self._fresh.append(record)
            if not self.quiet and not self.console.is_terminal:
                self._print(f"[{len(self._done)}/{self._expected}] {describe(record)}{self._left_text()}")

    @property
    def _expected(self) -> int:
        return max(self.total, len(self._done))

    def seconds_left(self) -> float | None:
        """Wall seconds until all expected trials are done; ``None`` where nothing can be said yet.

        At the pace of the trials that are done, or of what training itself expects until there are some.
        """
        running = [(time.time() - beat["started"]) for _, beat in self.running()]
        paces = [record.seconds for record in self._fresh if record.kind != "baseline"]
        paces = paces or [beat["estimate"] for _, beat in self.running() if beat.get("estimate")]
        if not paces:
            return None
        mean = sum(paces) / len(paces)
        work = mean * (self._expected - len(self._done)) - sum(min(seconds, mean) for seconds in running)
        return max(work, 0.0) / self.jobs

    def _left_text(self) -> str:
        left = self.seconds_left()
        return "" if left is None or self._expected == len(self._done) else f"; about {duration(left)} left"

    def _view(self) -> RenderableType:
        head = Table.grid(padding=(0, 1))
        head.add_row(
            ProgressBar(total=self._expected or 1, completed=len(self._done), width=30),
            f"{len(self._done)} of {self._expected} trials, {duration(time.time() - self._begun)}{self._left_text()}",
        )
        rows = Table.grid(padding=(0, 2))
        for trial, beat in self.running():
            rows.add_row(Text("  " + title(trial)), _epoch(beat), duration(time.time() - beat["started"]))
        return Group(head, rows)


def _epoch(beat: dict[str, Any]) -> str:
    if "epoch" not in beat:
        return "starting"
    loss = beat.get("validation_loss")
    return f"epoch {beat['epoch']} of {beat['epochs']}" + ("" if loss is None else f", validation loss {loss:.4g}")


def title(trial: Trial | Record) -> str:
    """A trial's name for people.

    >>> title(Trial("train", "gru", 3, {}))
    'gru, seed 3'
    """
    if trial.kind == "train":
        return f"{trial.label}, seed {trial.seed}"
    return f"{trial.label} ({trial.kind})"


def describe(record: Record) -> str:
    """One line about a finished trial."""
    if not record.ok:
        return f"{title(record)} {record.status}: {record.message.splitlines()[0] if record.message else ''}"
    numbers = record.measures.get("test") or record.measures.get("validation") or {}
    first = next(((name, value) for name, value in numbers.items() if value is not None), None)
    return f"{title(record)}: " + (f"{first[0]} {first[1]:.4g} in " if first else "") + duration(record.seconds)
