"""The seam for question studies: a grid of conditions times seeds, statistics, figures, and a verdict in words.

How to write a study
--------------------
One file ``studies/questions/<name>.py`` with one class, and one line in ``studies.QUESTIONS``:

    class Gradients(Experiment):
        name = "gradients"                                  # gatelab study gradients
        question = "How fast does …?"                       # one sentence that ends in a question mark
        protocol = ("Each network is …", …)                 # how it is done, one paragraph each; source quoted
        seconds: ClassVar = {"quick": 40, "standard": 900, "full": 9000}  # CPU time of all trials
        measured_by = staticmethod(train_on_task)           # or a module-level function of your own

        def conditions(self): …          # what is varied
        def findings(self, table): …     # statistics, as plain JSON values
        def verdict(self, findings): …   # sentences; the first is the headline
        def figures(self, findings): …   # name → report Figure
        def tables(self, findings): …    # name → report Table, if any

**conditions** gives plain flat dictionaries of JSON values, the same keys in each, named in the field's terms
(``cell``, ``hidden_size``, ``forget_bias``, ``length``). Everything that the result depends on is in there, but for
the seed: a condition with its seed *is* the trial, and is known by it on disk. Use ``self.cells`` where the cell is
a factor, and ``self.pick(quick=…, standard=…, full=…)`` for what the budget decides. Let a smaller budget's conditions
be among the larger one's where you can: what was run for one is then not run again for the other. Two keys have a
meaning of their own:

- ``"tune": {"learning_rate": [1e-2, 3e-3]}``: every combination is tried with seed 0, the one with the least ``score``
  (a measure of the validation part) is trained with all seeds. No condition is judged on the run it was chosen by.
- ``label``: how people call it; else ``label_of`` says. It is not part of what the trial is known by.

``baselines`` gives conditions that no seed changes: run once, ``kind`` ``"baseline"`` in the table.

**measured_by** is a plain function ``(trial, folder, beat) -> Measured``; it runs in a process of its own, with one
thread, and must survive pickling. ``trial.configuration`` is the condition, ``trial.seed`` the seed: draw every number
from ``core.random.generator(trial.seed, "name")``. Call ``beat(epoch=3, epochs=20)`` now and then. ``measures`` are
JSON values, nested or not; lists for curves. What findings need goes there, so that records alone (JSON lines under
version control) give the same results again. A trial that raises a ``GatelabError`` is recorded as failed and reported
so. ``training_trial.train_on_task`` is the measure of most studies: it trains a cell on a task, and scores it.

**findings** gets a pandas table with a row for each finished trial: ``id``, ``kind``, ``label``, ``seed``, ``seconds``,
the condition's entries and the measures, nested names joined by dots (``test.MSE``). ``statistics.estimate``,
``pairwise``, ``described`` and ``bootstrap`` speak of seeds; ``values(rows, name)`` gives a measure by seed.
Everything that figures and words use goes into the findings: a report or a notebook is drawn from ``results.json``
alone. Be ready for seeds or conditions that failed, and for ``--cells gru``.

**verdict** is a function of the findings. "No difference found" must be possible in it. ``studies.verdict`` has words
(``amount``, ``called``, ``listed``).

Raise ``version`` when records of before no longer mean the same.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import product
from typing import Any, ClassVar, TypeVar

import numpy as np
import pandas as pd

from gatelab.core.config import require
from gatelab.core.errors import InputError
from gatelab.core.versions import versions
from gatelab.report.page import Figure, Page, Table
from gatelab.report.text import number
from gatelab.studies.budgets import BUDGETS, TUNING_SEED, check_cells, seed_list
from gatelab.studies.experiment_page import experiment_page
from gatelab.studies.progress import title
from gatelab.studies.study import Records, Study
from gatelab.studies.trials import Record, Store, Trial
from gatelab.studies.verdict import left_out
from gatelab.studies.wording import called
from gatelab.studies.worker import LIBRARIES, Measure
from gatelab.training.runs import environment

Condition = Mapping[str, Any]
Findings = Mapping[str, Any]
Choice = TypeVar("Choice")


class Experiment(Study):
    """A question, answered by conditions that are each run with several seeds.

    Args:
        budget: ``quick``, ``standard`` or ``full``.
        seeds: how many, or which; none: as the budget has it.
        cells: the cells to look at; none: ``default_cells``.
        command: how to repeat this, for the report.

    Raises:
        InputError: a budget, a seed or a cell that cannot be used.
    """

    question: ClassVar[str]
    protocol: ClassVar[Sequence[str]] = ()
    seconds: ClassVar[Mapping[str, float]]
    """CPU time of all trials of each budget with its own seeds, on the reference machine of ``studies.listing``."""
    default_cells: ClassVar[tuple[str, ...]] = ("rnn", "lstm", "gru")
    """Empty where the cell is no factor."""
    version: ClassVar[int] = 1

    def __init__(
        self,
        budget: str = "standard",
        seeds: int | Sequence[int] | None = None,
        cells: Iterable[str] | None = None,
        command: str = "",
    ):
        require(budget in BUDGETS, "budget", f"one of {', '.join(BUDGETS)}", budget)
        self.budget = budget
        self.seeds = seed_list(seeds, BUDGETS[budget])
        self.cells = self._chosen_cells(cells)
        self.command = command

    # ---- what a study says -----------------------------------------------------------------------------------

    measured_by: ClassVar[Measure]
    """What a worker does with one trial: a ``staticmethod`` of a module-level function."""

    @abstractmethod
    def conditions(self) -> Iterable[Condition]:
        """What is run with every seed."""

    def baselines(self) -> Iterable[Condition]:
        """What no seed changes: run once."""
        return ()

    @abstractmethod
    def findings(self, table: pd.DataFrame) -> dict[str, Any]:
        """Statistics as plain JSON values, of all trials that finished."""

    @abstractmethod
    def verdict(self, findings: Findings) -> Sequence[str]:
        """The answer in sentences; the first stands alone."""

    @abstractmethod
    def figures(self, findings: Findings) -> dict[str, Figure]:
        """Pictures by name."""

    def tables(self, findings: Findings) -> dict[str, Table]:
        """Tables by name; the first is what a terminal shows."""
        return {}

    def label_of(self, condition: Condition) -> str:
        """How people call a condition: by the entries that differ among the conditions."""
        told = {name: value for name, value in condition.items() if name in self._factors and value is not None}
        return ", ".join(called(value) if name == "cell" else f"{name} {number(value)}" for name, value in told.items())

    # ---- what it may use -------------------------------------------------------------------------------------

    def pick(self, quick: Choice, standard: Choice, full: Choice) -> Choice:
        """What goes with the budget."""
        return {"quick": quick, "standard": standard, "full": full}[self.budget]

    # ---- the protocol of a study -----------------------------------------------------------------------------

    @property
    def measure(self) -> Measure:
        """What a worker does with one trial."""
        return self.measured_by

    def settings(self) -> dict[str, Any]:
        """A folder holds trials of one version of the study, whatever their budget."""
        return {"version": self.version}

    def trials(self, records: Records) -> Sequence[Trial]:
        """Baselines, then for each condition its tries, and once these are done every seed."""
        wanted = [self._trial("baseline", 0, condition) for condition in self.baselines()]
        for condition in self.conditions():
            tries = [self._trial("tune", TUNING_SEED, choice) for choice in _choices(condition)]
            wanted += tries
            if all(trial.id in records for trial in tries):
                chosen = _best(tries, records) if tries else condition
                wanted += [self._trial("train", seed, chosen) for seed in self.seeds]
        return wanted

    def count(self) -> int:
        """Baselines, tries, and conditions times seeds."""
        tries = sum(len(_choices(condition)) + len(self.seeds) for condition in self.conditions())
        return len(list(self.baselines())) + tries

    def results(self, records: Records, store: Store) -> dict[str, Any]:
        """All that ``results.json`` holds: the findings, the verdict, and how they came about."""
        table = self.table(records)
        failed = [record for record in records.values() if not record.ok]
        trained = any(record.ok and record.kind == "train" for record in records.values())
        findings = self.findings(table) if trained else {}
        said = self.verdict(findings) if findings else ["No trial finished, so there is nothing to say."]
        said = [*said, *left_out([title(record) for record in failed if record.kind != "tune"])]
        return {
            "format": 1,
            "study": self.name,
            "version": self.version,
            "question": self.question,
            "headline": said[0],
            "verdict": " ".join(said),
            "budget": self.budget,
            "seeds": list(self.seeds),
            "cells": list(self.cells),
            "trials": len(records),
            "seconds": sum(record.seconds for record in records.values()),
            "ended": max((record.ended for record in records.values()), default=""),
            "findings": findings,
            "failed": [{"trial": title(record), "status": record.status, "message": record.message}
                       for record in failed],
            "warnings": sorted({text for record in records.values() for text in record.warnings}),
            "command": self.command,
            "versions": versions(*LIBRARIES),
            "machine": {name: value for name, value in environment().items() if name in ("system", "cores")},
        }  # fmt: skip

    def page(self, results: Mapping[str, Any], records: Records, store: Store) -> Page:
        """The report, from the results alone."""
        return experiment_page(self, results)

    def table(self, records: Records) -> pd.DataFrame:
        """A row for each finished trial that was not a try, by seed; see the top of this page for the columns."""
        done = sorted((r for r in records.values() if r.ok and r.kind != "tune"), key=lambda r: r.seed)
        return pd.DataFrame([_row(record) for record in done])

    # ---- inside ----------------------------------------------------------------------------------------------

    def _chosen_cells(self, cells: Iterable[str] | None) -> tuple[str, ...]:
        if cells is None:
            return self.default_cells
        if not self.default_cells:
            raise InputError(f"the study {self.name} does not choose among cells", fix="leave --cells out")
        return check_cells(cells)

    def _trial(self, kind: str, seed: int, condition: Condition) -> Trial:
        configuration = {name: value for name, value in condition.items() if name not in ("label", "tune")}
        return Trial(kind, condition.get("label") or self.label_of(condition), seed, configuration)

    @cached_property
    def _factors(self) -> set[str]:
        """Entries that differ among the conditions."""
        conditions = list(self.conditions())
        first = conditions[0]
        return {name for each in conditions for name in each if each[name] != first.get(name)} | {"cell"}


def values(rows: pd.DataFrame, name: str) -> dict[int, float]:
    """The measure ``name`` by seed, where it is a finite number."""
    numbers = pd.to_numeric(rows[name], errors="coerce")  # (N,)
    return {int(seed): float(x) for seed, x in zip(rows["seed"], numbers, strict=True) if np.isfinite(x)}


def _choices(condition: Condition) -> list[dict[str, Any]]:
    """The condition with each combination of what is to be tuned."""
    tune: Mapping[str, Sequence[Any]] = condition.get("tune") or {}
    rest = {name: value for name, value in condition.items() if name != "tune"}
    return [rest | dict(zip(tune, choice, strict=True)) for choice in product(*tune.values())] if tune else []


def _best(tries: Sequence[Trial], records: Records) -> Condition:
    """What the try with the least score did; the first where none has a score."""

    def score(trial: Trial) -> float:
        found = records[trial.id].measures.get("score") if records[trial.id].ok else None
        return np.inf if found is None else float(found)

    best = min(tries, key=score)
    return {**best.configuration, "label": best.label}


def _row(record: Record) -> dict[str, Any]:
    row = {name: getattr(record, name) for name in ("id", "kind", "label", "seed", "seconds")}
    row |= dict(record.configuration)
    for name, value in _flat(record.measures):
        row[f"measured.{name}" if name in row else name] = value
    return row


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
