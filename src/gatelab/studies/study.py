"""The seam for studies: a question becomes a grid of trials, statistics, a page and a verdict.

``trials`` is a function of the records so far. That one rule gives the rest: a study that was interrupted goes on, one
with more seeds or a new cell runs only what is missing, and a stage that depends on an earlier one (train with the
learning rate that tuning chose) is simply a trial that appears once the records it needs are there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from gatelab.core.errors import RunError
from gatelab.core.files import finite, write_json, write_text
from gatelab.report import render
from gatelab.report.page import Page
from gatelab.studies.runner import Runner
from gatelab.studies.trials import Record, Store, Trial, read_settings
from gatelab.studies.worker import Measure

FORMAT = 1
Records = Mapping[str, Record]


class Study(ABC):
    """One question that trials can answer."""

    name: ClassVar[str]

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Plain JSON values that all trials share: a folder holds trials of the same settings only.

        What a study may grow by (seeds, cells) does not belong here.
        """

    @abstractmethod
    def trials(self, records: Records) -> Sequence[Trial]:
        """Every trial wanted now, finished or not, given the records so far."""

    @abstractmethod
    def count(self) -> int:
        """How many trials there will be in all, as far as can be known."""

    @property
    @abstractmethod
    def measure(self) -> Measure:
        """What a worker does with one trial."""

    @abstractmethod
    def results(self, records: Records, store: Store) -> dict[str, Any]:
        """Statistics and verdict as plain JSON values."""

    @abstractmethod
    def page(self, results: Mapping[str, Any], records: Records, store: Store) -> Page:
        """The report."""


@dataclass(frozen=True)
class Outcome:
    """A study that was run to its end."""

    folder: Path
    records: Records
    results: dict[str, Any]
    report: Path


def conduct(study: Study, runner: Runner) -> Outcome:
    """Runs every trial that ``study`` wants and that is not on disk yet, and writes ``results.json`` and the report.

    Raises:
        RunError: the folder holds a study with other settings.
    """
    store = runner.store
    claim(store.folder, study)
    runner.progress.expect(study.count())
    records: dict[str, Record] = {}
    while new := {trial.id: trial for trial in study.trials(records) if trial.id not in records}:
        records |= runner.run(list(new.values()), study.measure)
    results = finite(study.results(records, store))
    write_json(store.folder / "results.json", results)
    write_text(store.folder / "report.html", render(study.page(results, records, store)))
    return Outcome(store.folder, records, results, store.folder / "report.html")


def claim(folder: Path, study: Study) -> None:
    """Writes down what the folder's study is about, or checks that it is about the same.

    Raises:
        RunError: it is about something else; says what differs.
    """
    wanted = {"format": FORMAT, "study": study.name, **finite(study.settings())}
    present = read_settings(folder)
    if present is None:
        write_json(folder / "study.json", wanted)
    elif differing := differences(present, wanted):
        raise RunError(
            f"{folder} holds trials of another study",
            expected=f"the settings it was begun with: {'; '.join(f'{name} {old}' for name, old, _ in differing)}",
            got="; ".join(f"{name} {new}" for name, _, new in differing),
            fix="name another folder with --out, or repeat the command with the old settings "
            "(more seeds and more cells may be added to a folder)",
        )


def differences(present: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any, Any]]:
    """Where two nested settings differ: dotted name, old value, new value.

    >>> differences({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}})
    [('b.c', 2, 3)]
    """
    found: list[tuple[str, Any, Any]] = []
    for name in dict.fromkeys([*present, *wanted]):
        old, new = present.get(name), wanted.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new, f"{prefix}{name}.")
        elif old != new:
            found.append((prefix + name, old, new))
    return found
