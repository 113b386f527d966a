"""What ``gatelab study list`` says of each question: what it asks, how long it takes here, what it last found.

Times are of trials, one after the other, divided by the jobs that run at once. Where this machine's records hold at
least half of a budget's trials, they are *measured*; else they are *derived* from the time each study says it took on
the reference machine, and from how fast this machine does a fixed piece of training beside that one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from gatelab.core.errors import GatelabError
from gatelab.studies import QUESTIONS
from gatelab.studies.answer import folder_of, load
from gatelab.studies.budgets import BUDGETS
from gatelab.studies.experiment import Experiment
from gatelab.studies.runner import default_jobs
from gatelab.studies.trials import Store
from gatelab.training import use_threads

REFERENCE_SECONDS = 0.024
"""What ``_probe`` takes on the reference machine: one core of a server CPU with nothing beside it."""


@dataclass(frozen=True)
class Time:
    """How long a study takes here with one budget and its own seeds."""

    seconds: float
    """Wall time, with ``jobs`` trials at once."""
    basis: Literal["measured", "derived"]


@dataclass(frozen=True)
class Entry:
    """One question in the list."""

    name: str
    question: str
    times: Mapping[str, Time]
    """By budget."""
    found: Mapping[str, Any] | None
    """``headline``, ``budget``, ``seeds``, ``ended`` of the last results; none: it was not run here."""


def overview(jobs: int | None = None) -> list[Entry]:
    """Every question study, with what is known of it in ``runs/`` of the working directory."""
    return [_entry(QUESTIONS[name], jobs or default_jobs()) for name in QUESTIONS]


def _entry(kind: type[Experiment], jobs: int) -> Entry:
    folder = folder_of(kind.name)
    times = {budget: estimated(kind, budget, folder, jobs) for budget in BUDGETS}
    return Entry(kind.name, kind.question, times, _found(folder))


def estimated(kind: type[Experiment], budget: str, folder: Path, jobs: int) -> Time:
    """How long a whole study of that budget takes with ``jobs`` trials at once."""
    study, store = kind(budget), Store(folder)
    known = [record.seconds for trial in study.trials({}) if (record := store.find(trial.id)) and record.ok]
    if len(known) >= study.count() / 2:
        return Time(sum(known) / len(known) * study.count() / jobs, "measured")
    return Time(kind.seconds[budget] * _probe() / REFERENCE_SECONDS / jobs, "derived")


def _found(folder: Path) -> dict[str, Any] | None:
    try:
        results = load(folder).results
    except GatelabError:
        return None
    return {name: results[name] for name in ("headline", "budget", "seeds", "ended")}


@cache
def _probe() -> float:
    """Seconds for ten steps of training a small LSTM on one thread: the least of five turns."""
    with use_threads(1), torch.random.fork_rng(devices=[]):
        layer, x = nn.LSTM(8, 32), torch.randn(50, 32, 8)  # (T, B, I)
        turns = []
        for _ in range(5):
            begun = time.perf_counter()
            for _ in range(10):
                layer(x)[0].sum().backward()
            turns.append(time.perf_counter() - begun)
    return min(turns)
