"""Suites, their cases, and how a case becomes a row: equality first, then turns, then figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import torch

from gatelab.bench import machine
from gatelab.bench.equality import check_equal
from gatelab.bench.figures import Bound, Figure, Goal, Row, ratio
from gatelab.bench.timing import Contender, Warm, alternate
from gatelab.core.config import require
from gatelab.core.errors import GatelabError, InputError
from gatelab.training.devices import find_device, own_streams
from gatelab.training.threads import use_threads

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
CELLS = ("gru", "rnn", "lstm")
UNITS = {"s": 1.0, "ms": 1e3, "µs": 1e6}
QUICK_SECONDS = 0.5
LIMIT_SECONDS = 0.15
LIMIT = "limit"
"""The figure that holds the machine's multiply rate."""


class Shape(NamedTuple):
    """The sizes of a batch of sequences and of the layer that reads them."""

    B: int
    T: int
    I: int  # noqa: E741 - the design's alphabet
    H: int

    def __str__(self) -> str:
        return "·".join(map(str, self))

    @classmethod
    def read(cls, text: str) -> Shape:
        """The shape that ``text`` such as ``32·100·64·128`` or ``32x100x64x128`` names.

        Raises:
            InputError: not four sizes above zero.
        """
        sizes = text.replace("·", "x").split("x")
        if len(sizes) != 4 or not all(size.isdecimal() and int(size) for size in sizes):
            raise InputError(f"{text!r} is not a shape", expected="B·T·I·H, such as 32x100x64x128", got=text)
        return cls(*map(int, sizes))


@dataclass(frozen=True)
class Settings:
    """How a run measures."""

    seconds: float = 8.0
    """For each case."""
    cells: tuple[str, ...] = CELLS
    threads: int = 1
    device: str = "cpu"
    dtype: str = "float32"
    shapes: tuple[Shape, ...] = ()
    """Instead of each suite's own."""

    def __post_init__(self) -> None:
        require(self.seconds >= 0, "seconds", "0 or more", self.seconds)
        require(self.threads >= 1, "threads", "at least 1", self.threads)
        require(self.dtype in DTYPES, "dtype", f"one of {', '.join(DTYPES)}", self.dtype)
        require(self.device.partition(":")[0] in ("cpu", "cuda"), "device", "cpu, cuda or cuda:N", self.device)
        require(set(self.cells) <= set(CELLS), "cells", f"among {', '.join(CELLS)}", ", ".join(self.cells))

    @property
    def judged(self) -> bool:
        """Whether the figures are those that something was asked of: float32 on one thread of a CPU, known shapes."""
        return self.device == "cpu" and self.dtype == "float32" and self.threads == 1 and not self.shapes


@dataclass(frozen=True)
class Bench:
    """What a case needs to know: the settings, and where to put its tensors."""

    settings: Settings
    device: torch.device
    dtype: torch.dtype


@dataclass(frozen=True)
class Case:
    """One row to be: its name, its cell, and how its figures are found."""

    name: str
    cell: str
    measure: Callable[[Bench], Sequence[Figure]]


@dataclass(frozen=True)
class Suite:
    """Cases that answer one question."""

    name: str
    text: str
    """The question, in a line."""
    cases: Callable[[Settings], Sequence[Case]]
    goals: tuple[Goal, ...] = ()
    devices: tuple[str, ...] = ("cpu",)
    library: str = ""
    """A peer that is measured if it is installed."""


@dataclass(frozen=True)
class Ratio:
    """The time of one contender over that of another, under a name, and what is asked of it."""

    name: str
    over: str
    under: str
    bound: Bound | None = None


@dataclass(frozen=True)
class Race:
    """The measure of a case in which contenders take turns; its figures are times, shares of the limit and ratios.

    Args:
        build: makes the contenders; the first one is what the case is about.
        ratios: which of them to set against each other.
        unit: ``s``, ``ms`` or ``µs`` for a unit of the contenders' work.
        flops: floating-point operations in a unit of work, if rates are to be told.
        share: what is asked of the first one's share of the machine's multiply rate.
        around: entered before the contenders run, such as ``machine.busy_neighbour``.
    """

    build: Callable[[Bench], Sequence[Contender]]
    ratios: Sequence[Ratio] = ()
    unit: str = "ms"
    flops: float | None = None
    share: Bound | None = None
    around: Callable[[], AbstractContextManager[None]] = nullcontext

    def __call__(self, bench: Bench) -> list[Figure]:
        """Compares, then times.

        Raises:
            UnequalError: the contenders do not compute the same.
        """
        contenders = self.build(bench)
        check_equal(contenders)
        with self.around():
            limit = self._limit(bench)
            seconds = alternate(contenders, bench.settings.seconds, limit)  # (R, K), with the limit (R, K + 1)
        times = {contender.name: seconds[:, k] for k, contender in enumerate(contenders)}
        alike = {contender.name: times[contender.name] for contender in contenders if contender.alike}
        return [*self._times(times), *self._rates(alike, seconds[:, -1]), *self._ratios(times)]

    def _limit(self, bench: Bench) -> Contender | None:
        """The product that takes its turn in every round; its unit of work is as much as a call of the contenders."""
        if not self.flops:
            return None
        product = machine.fastest_product(bench.device, bench.dtype, min(bench.settings.seconds, LIMIT_SECONDS))
        return Warm(LIMIT, product.call, work=product.operations / self.flops)

    def _times(self, times: dict[str, np.ndarray]) -> Iterator[Figure]:
        for name, seconds in times.items():
            low, middle, high = np.quantile(seconds, [0.25, 0.5, 0.75]) * UNITS[self.unit]
            yield Figure(name, float(middle), self.unit, float(low), float(high))

    def _rates(self, times: dict[str, np.ndarray], limit: np.ndarray) -> Iterator[Figure]:
        if not self.flops:
            return
        first = next(iter(times))
        for name, seconds in ((LIMIT, limit), (first, times[first])):
            yield Figure(name, self.flops / float(np.median(seconds)) / 1e9, "GFLOP/s")
        for name, seconds in times.items():
            share, low, high = ratio(100 * limit, seconds)
            yield Figure(name, share, "% of limit", low, high, self.share if name == first else None)

    def _ratios(self, times: dict[str, np.ndarray]) -> Iterator[Figure]:
        for entry in self.ratios:
            value, low, high = ratio(times[entry.over], times[entry.under])
            yield Figure(entry.name, value, low=low, high=high, bound=entry.bound)


@dataclass(frozen=True)
class Report:
    """What a run found."""

    environment: dict[str, Any]
    settings: Settings
    rows: tuple[Row, ...]
    goals: tuple[tuple[str, Figure], ...] = ()
    """What was asked of whole suites: the suite's name, and the figure."""
    notes: tuple[str, ...] = ()
    stopped: bool = False
    """Whether Ctrl-C ended the run before its last case."""

    @property
    def problems(self) -> list[str]:
        """The cases that were refused."""
        return [f"{row.suite} {row.case}: {row.problem}" for row in self.rows if row.problem]

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON holds it."""
        settings = vars(self.settings) | {"shapes": [str(shape) for shape in self.settings.shapes]}
        goals = [
            {"suite": suite, "goal": figure.name, "value": figure.value, "bound": str(figure.bound), "met": figure.met}
            for suite, figure in self.goals
        ]
        return {
            "environment": self.environment,
            "settings": settings,
            "rows": [row.to_dict() for row in self.rows],
            "goals": goals,
            "notes": list(self.notes),
        }


Listener = Callable[[str, str, int, int], None]
"""Hears of each case before it is measured: suite, case, how many are done, how many there are."""


def plan(suites: Sequence[Suite], settings: Settings) -> list[tuple[Suite, Case]]:
    """Every case of the suites that the settings ask for, in order.

    Raises:
        InputError: a suite that the device cannot run.
    """
    kind = settings.device.partition(":")[0]
    for suite in suites:
        if kind not in suite.devices:
            raise InputError(
                f"the suite {suite.name} does not run on {settings.device}",
                expected=f"--device {' or '.join(suite.devices)}",
                fix="leave it out, or leave --device out",
            )
    return [(suite, case) for suite in suites for case in suite.cases(settings) if case.cell in settings.cells]


def run(suites: Sequence[Suite], settings: Settings, listener: Listener = lambda *_: None) -> Report:
    """Measures the suites, one case after the other; after Ctrl-C, what there is.

    Raises:
        InputError: no such device, or a suite that it cannot run.
    """
    planned = plan(suites, settings)
    device = find_device(settings.device)
    bench = Bench(settings, device, DTYPES[settings.dtype])
    environment = machine.describe(device) | {"threads": settings.threads}
    rows: list[Row] = []
    said = list(notes(suites, environment))
    with own_streams(device), use_threads(settings.threads):
        try:
            for suite, case in planned:
                listener(suite.name, case.name, len(rows), len(planned))
                row = measured(suite, case, bench)
                rows.append(row if settings.judged else row.without_bounds())
        except KeyboardInterrupt:  # what was measured may have taken long
            said.append(f"stopped after {len(rows)} of {len(planned)} cases")
    done = [suite for suite in suites if all(suite is not left for left, _ in planned[len(rows) :])]
    goals = [(suite.name, figure) for suite in done if settings.judged for figure in reached(suite, rows)]
    return Report(environment, settings, tuple(rows), tuple(goals), tuple(said), stopped=len(rows) < len(planned))


def measured(suite: Suite, case: Case, bench: Bench) -> Row:
    """The row of a case; without a time where its contenders differ, or cannot do it."""
    row = Row(suite.name, case.name, case.cell)
    torch.manual_seed(0)
    try:
        return replace(row, figures=tuple(case.measure(bench)))
    except GatelabError as error:
        return replace(row, problem=str(error))


def reached(suite: Suite, rows: Sequence[Row]) -> list[Figure]:
    """What the suite's rows say together about its goals."""
    own = [row for row in rows if row.suite == suite.name]
    return [figure for goal in suite.goals if (figure := goal.over(own)) is not None]


def notes(suites: Sequence[Suite], environment: dict[str, Any]) -> Iterator[str]:
    """What a reader of the figures should know."""
    if (load := environment["load"]) is not None and load > machine.IDLE_LOAD:
        yield f"the machine was not idle when the run began: load {load:.2f}"
    for suite in suites:
        if suite.library and find_spec(suite.library) is None:
            yield f"{suite.name}: {suite.library} is not installed and therefore not beside"
