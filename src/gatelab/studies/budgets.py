"""Equal budgets: the same number of parameters, epochs and seeds for every cell."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import index

import torch

from gatelab.cells.cell import CELLS
from gatelab.core.config import ModelConfig, TrainingConfig
from gatelab.core.errors import InputError
from gatelab.core.task import Task
from gatelab.studies.wording import called, listed
from gatelab.training.learner import parameter_count

TOLERANCE = 0.02
TUNING_SEED = 0
REFERENCE = "gru"
"""Where nobody names a number of parameters, the budget is what this cell has at the budget's hidden size."""

_BASIC = ("rnn", "lstm", "gru")


@dataclass(frozen=True)
class Budget:
    """How much every cell may use."""

    text: str
    """As the user said it."""
    hidden_size: int = 32
    """Units of the reference cell."""
    seeds: int = 5
    epochs: int | None = None
    epoch_factor: float = 1.0
    """Times the task's own number of epochs, where ``epochs`` is not given."""
    seconds: float | None = None
    """Training time of a trial."""
    learning_rates: tuple[float, ...] = (1e-2, 3e-3, 1e-3)
    """What every cell chooses from where nothing else is tuned."""

    def training(self, defaults: TrainingConfig) -> TrainingConfig:
        """The task's settings within this budget."""
        if self.seconds is not None:
            # How many epochs fit is not known, so the learning rate must not depend on how many are planned.
            return replace(defaults, epochs=100_000, max_seconds=self.seconds, schedule="plateau")
        return replace(defaults, epochs=self.epochs or max(round(defaults.epochs * self.epoch_factor), 1))


BUDGETS = {
    "quick": Budget("quick", hidden_size=24, seeds=3, epoch_factor=0.2, learning_rates=(1e-2, 3e-3)),
    "standard": Budget("standard"),
    "full": Budget("full", hidden_size=64, seeds=10, epoch_factor=2.0),
}
_SECONDS = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "m": 60.0, "min": 60.0, "minutes": 60.0, "h": 3600.0, "hours": 3600.0}


def parse_budget(text: str) -> Budget:
    """A budget from its name, a time for each trial, or a number of epochs.

    >>> parse_budget("90s").seconds, parse_budget("2 min").seconds, parse_budget("20 epochs").epochs
    (90.0, 120.0, 20)

    Raises:
        InputError: it is none of them.
    """
    if text in BUDGETS:
        return BUDGETS[text]
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]+)", text.strip().lower())
    amount, unit = (float(match[1]), match[2]) if match else (0.0, "")
    if unit in ("epoch", "epochs") and amount >= 1 and amount == int(amount):
        return Budget(text, epochs=int(amount))
    if unit in _SECONDS and amount > 0:
        return Budget(text, seconds=amount * _SECONDS[unit])
    raise InputError(
        f"--budget cannot be {text!r}",
        expected="quick, standard, full, a time for each trial (90s, 5min) or a number of epochs (20 epochs)",
        fix="use --budget standard",
    )


def check_cells(cells: Iterable[str]) -> tuple[str, ...]:
    """The cells, all known.

    Raises:
        InputError: one does not exist or is there twice, or there is none.
    """
    chosen = tuple(cell.strip().lower() for cell in cells)
    for cell in chosen:
        CELLS.check(cell)
        if chosen.count(cell) > 1:
            raise InputError(
                f"the cell {cell} is to be compared with itself", expected="each cell once", got=", ".join(chosen),
                fix="name each cell once in --cells; --seeds says how often it is trained",
            )  # fmt: skip
    if not chosen:
        raise InputError("there is no cell to compare", expected="at least one", fix="use --cells rnn,lstm,gru")
    return chosen


def of_cell(cell: str, base: ModelConfig, hidden_size: int) -> ModelConfig:
    """``base`` with the named cell of this size in it."""
    return replace(base, cell=cell, hidden_size=hidden_size)


class Sizes:
    """Hidden sizes that give every cell the same number of parameters, counted on the task's own models."""

    def __init__(self, task: Task):
        self._task = task
        self._counts: dict[ModelConfig, int] = {}

    def parameters(self, model: ModelConfig) -> int:
        """Numbers that the task's model learns with this configuration."""
        if model not in self._counts:
            with torch.random.fork_rng(devices=[]):  # building draws weights; the caller's stream stays as it was
                built = self._task.build(model)
            self._counts[model] = parameter_count(built)
        return self._counts[model]

    def target(self, base: ModelConfig, hidden_size: int) -> int:
        """A number of parameters that all basic cells can meet, close to the reference cell at ``hidden_size``.

        Whole units make coarse steps, so the reference may move by up to a quarter to where the others fit. Always
        the same three cells in their plain form, whatever is compared: a cell that is added later must not move the
        others.
        """
        base = base.without_extras()
        near = sorted(range(max(hidden_size * 3 // 4, 1), hidden_size * 5 // 4 + 1), key=lambda h: abs(h - hidden_size))
        best, least = 0, float("inf")
        for size in near:
            target = self.parameters(of_cell(REFERENCE, base, hidden_size=size))
            counts = [self.parameters(self.solve(cell, base, target)) for cell in _BASIC]
            miss = max(counts) / min(counts) - 1
            if miss <= TOLERANCE:
                return target
            if miss < least:
                best, least = target, miss
        return best

    def solve(self, cell: str, base: ModelConfig, target: int) -> ModelConfig:
        """The cell with the hidden size whose number of parameters is nearest to ``target``."""
        high = _first(lambda size: self.parameters(of_cell(cell, base, hidden_size=size)) >= target)
        candidates = [of_cell(cell, base, hidden_size=size) for size in (high - 1, high) if size >= 1]
        return min(candidates, key=lambda model: abs(self.parameters(model) - target))

    def said(self, models: Mapping[str, ModelConfig]) -> str:
        """The budget in words."""
        counts = {cell: self.parameters(model) for cell, model in models.items()}
        sizes = [f"{called(cell)} {model.hidden_size} units ({counts[cell]:,})" for cell, model in models.items()]
        text = f"Parameters: {listed(sizes)}"
        spread = max(counts.values()) / min(counts.values()) - 1
        if len(counts) == 1:
            return text + "."
        if spread <= TOLERANCE:
            return f"{text}: equal within {max(spread, 0.0005):.1%}."
        return f"{text}: as near as whole units allow, {spread:.1%} apart."


def _first(holds: Callable[[int], bool]) -> int:
    """The least positive number for which ``holds`` is true; true must stay true above it."""
    high = 1
    while not holds(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def seed_list(seeds: int | Sequence[int] | None, budget: Budget) -> tuple[int, ...]:
    """Seeds 1 … n, or those given, each once.

    Seed 0 is kept for tuning, so that no cell is judged on the run its settings were chosen by.

    Raises:
        InputError: fewer than one, not whole numbers, or the one kept for tuning.
    """
    wanted = budget.seeds if seeds is None else seeds
    try:
        chosen = tuple(dict.fromkeys(map(index, wanted if isinstance(wanted, Iterable) else range(1, wanted + 1))))
    except TypeError as error:
        raise InputError("seeds are whole numbers", expected="how many, or which", got=seeds, fix="use 5") from error
    if not chosen:
        raise InputError("a comparison needs at least one seed", got=seeds, fix="use --seeds 5")
    if TUNING_SEED in chosen:
        raise InputError(f"seed {TUNING_SEED} is kept for tuning", got=seeds, fix="use other seeds, such as 1, 2, 3")
    return chosen
