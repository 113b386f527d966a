"""The study behind ``gatelab compare``: which cell serves this task best, at equal budgets and equal tuning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from gatelab.core.config import ModelConfig, changes, to_dict
from gatelab.core.task import Task
from gatelab.report.page import Page
from gatelab.studies import tuning
from gatelab.studies.budgets import TUNING_SEED, Budget, Sizes
from gatelab.studies.comparison_page import comparison_page
from gatelab.studies.fingerprint import fingerprint
from gatelab.studies.measure import TaskMeasure
from gatelab.studies.study import Records, Study
from gatelab.studies.summary import summarise
from gatelab.studies.trials import Record, Store, Trial

Plain = Callable[[Any], dict[str, Any]]  # a configuration as plain values: the whole, or what sets it apart


@dataclass(frozen=True)
class Plan:
    """What is compared, and how."""

    cells: tuple[str, ...]
    seeds: tuple[int, ...]
    budget: Budget
    base: ModelConfig = field(default_factory=ModelConfig)
    """What all cells have in common: layers, dropout, initialisation."""
    parameters: int | None = None
    """Numbers that each cell may learn; none: what the reference cell has at the budget's hidden size."""
    tune: int = 0
    """Optuna trials for each cell; 0: a few learning rates."""
    device: str = "cpu"
    """Where to train."""
    command: str = ""
    """How to run it again."""


class Comparing(Study):
    """Baselines, tuning on validation, then every cell with every seed."""

    name = "compare"

    def __init__(self, task: Task, plan: Plan):
        self.task, self.plan = task, plan
        self.training = replace(plan.budget.training(task.training_defaults()), threads=1, device=plan.device)
        self.sizes = Sizes(task)

    @cached_property
    def parameters(self) -> int:
        """The budget: numbers that each cell may learn."""
        return self.plan.parameters or self.sizes.target(self.plan.base, self.plan.budget.hidden_size)

    @cached_property
    def data(self) -> str:
        """Which data the task is about."""
        return fingerprint(self.task)

    @cached_property
    def models(self) -> dict[str, ModelConfig]:
        """Each cell at the budget's size."""
        return {cell: self.sized(cell) for cell in self.plan.cells}

    def sized(self, cell: str, layers: int | None = None, dropout: float | None = None) -> ModelConfig:
        """The cell within the budget, whatever its depth."""
        base = replace(
            self.plan.base,
            num_layers=self.plan.base.num_layers if layers is None else layers,
            dropout=self.plan.base.dropout if dropout is None else dropout,
        )
        return self.sizes.solve(cell, base, self.parameters)

    # ---- the protocol of a study -----------------------------------------------------------------------------

    def settings(self) -> dict[str, Any]:
        """All that results depend on, but for cells and seeds."""
        own = ("cell", "hidden_size")  # what a cell brings, or is solved for
        return {
            **self._common(changes),
            "training": changes(self.training),
            "model": {name: value for name, value in changes(self.plan.base).items() if name not in own},
            "parameters": self.parameters,
            "tune": self.plan.tune,
            "learning_rates": [] if self.plan.tune else list(self.plan.budget.learning_rates),
        }

    def trials(self, records: Records) -> Sequence[Trial]:
        """Baselines and tuning first; a cell's own trials once its tuning is done."""
        wanted = [self._baseline(name) for name in self.task.baselines()]
        for cell in self.plan.cells:
            tries, complete = self.tries(cell, records)
            wanted += [self._trial("tune", cell, TUNING_SEED, setting) for setting in tries]
            if complete:
                setting = self.setting(cell, records)
                wanted += [self._trial("train", cell, seed, setting) for seed in self.plan.seeds]
        return wanted

    def count(self) -> int:
        """Baselines, tries, and cells times seeds."""
        tries = self.plan.tune or len(self.plan.budget.learning_rates)
        return len(self.task.baselines()) + len(self.plan.cells) * (tries + len(self.plan.seeds))

    @cached_property
    def measure(self) -> TaskMeasure:
        """Training and evaluation on the task."""
        return TaskMeasure(self.task)

    def results(self, records: Records, store: Store) -> dict[str, Any]:
        """Everything that the table, the verdict and the report say."""
        return summarise(self, records, store)

    def page(self, results: Mapping[str, Any], records: Records, store: Store) -> Page:
        """The report."""
        return comparison_page(self, results, records, store)

    # ---- tuning ----------------------------------------------------------------------------------------------

    def tries(self, cell: str, records: Records) -> tuple[list[tuning.Setting], bool]:
        """The settings to try for a cell, as far as they are known, and whether all of them were tried."""
        if not self.plan.tune:
            settings = tuning.learning_rate_settings(self.models[cell], self.training, self.plan.budget.learning_rates)
            return settings, all(self.tried(cell, setting, records) for setting in settings)
        search = tuning.Search(
            cell,
            self.plan.tune,
            lambda layers, dropout: self.sized(cell, layers, dropout),
            self.training,
            self.task.criterion,
        )
        return search.settings(lambda setting: self.tried(cell, setting, records))

    def tried(self, cell: str, setting: tuning.Setting, records: Records) -> Record | None:
        """The record of a try."""
        return records.get(self._trial("tune", cell, TUNING_SEED, setting).id)

    def setting(self, cell: str, records: Records) -> tuning.Setting:
        """What tuning chose for a cell; the task's defaults where every try failed."""
        tries, _ = self.tries(cell, records)
        pairs = [(each, record) for each in tries if (record := self.tried(cell, each, records))]
        return tuning.chosen(pairs, self.task.criterion) or tuning.Setting(self.models[cell], self.training)

    # ---- trials ----------------------------------------------------------------------------------------------

    def _common(self, plain: Plain) -> dict[str, Any]:
        return {"task": self.task.name, "task_config": plain(self.task.config), "data": self.data}

    def _baseline(self, name: str) -> Trial:
        whole, apart = ({**self._common(plain), "baseline": name} for plain in (to_dict, changes))
        return Trial("baseline", name, 0, whole, apart)

    def _trial(self, kind: str, cell: str, seed: int, setting: tuning.Setting) -> Trial:
        medians = {"medians": list(setting.medians)} if setting.medians else {}
        whole, apart = (
            {**self._common(plain), "model": plain(setting.model), "training": plain(setting.training), **medians}
            for plain in (to_dict, changes)
        )
        return Trial(kind, cell, seed, whole, apart)
