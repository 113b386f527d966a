"""From a table to windows: rows divided in time order, settings that were left open chosen, all of it said."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np

from gatelab.core.errors import DataError, InputError
from gatelab.core.task import Part
from gatelab.data.names import listed
from gatelab.data.sources import own_test
from gatelab.data.table import Series, SeriesTable
from gatelab.data.wording import counted
from gatelab.tasks.forecasting import covariates, held
from gatelab.tasks.forecasting.baselines import LinearAutoregression
from gatelab.tasks.forecasting.config import ForecastingConfig, Normalise, choose_horizon, choose_lookback
from gatelab.tasks.forecasting.features import Features
from gatelab.tasks.forecasting.windows import Windows

PARTS: tuple[Part, ...] = ("train", "validation", "test")
_MOST_JUDGED = 5_000  # windows to judge a setting by with a linear model
_MOST_MOVED = 0.3  # training deviations
Bounds = Mapping[Part, Sequence[tuple[int, int]]]


@dataclass(frozen=True)
class Division:
    """Rows of each part: ``bounds[part][s]`` is the half-open row range of series ``s``."""

    bounds: Bounds

    def train_rows(self, table: SeriesTable) -> dict[str, int]:
        """Training rows of each series, by id."""
        return {s.id: stop for s, (_, stop) in zip(table.series, self.bounds["train"], strict=False)}


def fingerprint(*tables: SeriesTable) -> str:
    """Which data it is: a hash over names, stamps and values, whatever is made of them afterwards."""
    hasher = hashlib.sha256()
    for table in tables:
        hasher.update(repr([(column.name, column.role, column.levels) for column in table.columns]).encode())
        for series in table.series:
            hasher.update(repr((series.id, len(series))).encode())
            hasher.update(series.stamps.astype("int64").to_numpy().tobytes())
            hasher.update(np.ascontiguousarray(series.values).tobytes())
    return hasher.hexdigest()[:32]


def observed_rows(series: Series, at: Sequence[int]) -> int:
    """Rows up to the last observed target: what follows is the future, perhaps with its covariates."""
    seen = np.isfinite(series.values[:, list(at)]).any(axis=1)  # (T,)
    return int(np.flatnonzero(seen)[-1]) + 1 if seen.any() else 0


def divide(table: SeriesTable, split: Sequence[float]) -> Division:
    """Train, validation and test parts of each series in time order, by fractions or by numbers of rows."""
    at = table.indices("target")
    bounds: dict[Part, list[tuple[int, int]]] = {"train": [], "validation": [], "test": []}
    for series in table.series:
        rows = observed_rows(series, at)
        edges = edges_of(rows, split)
        if edges[-1] > rows:
            raise DataError(
                f"--split asks for {edges[-1]:,} rows and {f'series {series.id}' if series.id else 'the table'} has "
                f"{rows:,}",
                fix="lower the numbers, or give fractions such as 0.7,0.1,0.2",
            )
        for part, start, stop in zip(PARTS, edges, edges[1:], strict=False):
            bounds[part].append((start, stop))
    return Division(bounds)


def edges_of(rows: int, split: Sequence[float]) -> list[int]:
    """Where the parts of ``rows`` rows begin and end: four row numbers, from 0 on."""
    shares = [*split, 0.0][:3]
    if max(shares) > 1:
        return [int(edge) for edge in np.cumsum([0, *map(int, shares)])]
    return [int(edge) for edge in np.round(np.cumsum([0, *shares]) / sum(shares) * rows)]


def divide_new(table: SeriesTable, horizon: int, purpose: Literal["evaluate", "update"]) -> Division:
    """New rows as a test part, or as training rows with the last tenth, a horizon at least, for validation."""
    bounds: dict[Part, list[tuple[int, int]]] = {"train": [], "validation": [], "test": []}
    for series in table.series:
        rows = observed_rows(series, table.indices("target"))
        first, second = (0, 0) if purpose == "evaluate" else (max(rows - max(rows // 10, horizon), 0), rows)
        bounds["train"].append((0, first))
        bounds["validation"].append((first, second))
        bounds["test"].append((second, rows))
    return Division(bounds)


def resolve(table: SeriesTable, config: ForecastingConfig, division: Division) -> tuple[ForecastingConfig, list[str]]:
    """Horizon and lookback where they were left open, and a line on each."""
    rows = max(stop for _, stop in division.bounds["train"])
    frequency, said = table.frequency, []
    horizon = config.horizon or choose_horizon(frequency)
    if config.horizon is None:
        said.append(
            f"horizon {horizon} {'step' if horizon == 1 else 'steps'}: usual for {frequency.text or 'undated'} rows"
        )
    lookback = config.lookback or choose_lookback(frequency, horizon, rows)
    if config.lookback is None:
        seasons = ", ".join(map(str, frequency.seasons)) or "none known"
        rows_are = frequency.text or "undated"
        said.append(f"lookback {lookback} steps: from the seasons of {rows_are} rows ({seasons}) and the horizon")
    return replace(config, horizon=horizon, lookback=lookback), said


def with_own_test(source: object, config: ForecastingConfig) -> tuple[ForecastingConfig, list[str]]:
    """The settings with the test file that a data set brings along, unless the user chose a test part, and a note."""
    chosen = config.test_data is not None or (len(config.split) > 2 and config.split != ForecastingConfig.split)
    own = None if chosen else own_test(source)
    if own is None:
        return config, []
    return replace(config, test_data=own), [
        f"test part: {own}, the data set's own; --split with three numbers tests on the end of the table instead"
    ]


def windows_in(start: int, stop: int, lookback: int, horizon: int) -> int:
    """Windows whose horizon lies in the rows from ``start`` to before ``stop`` of a series."""
    return max(stop - horizon - max(start, lookback) + 1, 0)


def need_rows(table: SeriesTable, asked: ForecastingConfig, config: ForecastingConfig, division: Division) -> None:
    """Raises ``DataError`` unless each part that is asked for has rows for a window; says how many would do.

    Args:
        table: the table divided.
        asked: the settings before horizon and lookback were chosen: those depend on the number of rows.
        config: the settings after it.
        division: of the table, by ``asked.split``.
    """
    assert config.horizon is not None
    assert config.lookback is not None
    for part, share in zip(PARTS, [*asked.split, 0.0], strict=False):
        if share == 0:
            continue
        if any(windows_in(*bounds, config.lookback, config.horizon) for bounds in division.bounds[part]):
            continue
        by_count = max(asked.split) > 1
        rows = max(observed_rows(series, table.indices("target")) for series in table.series)
        size = max(stop - start for start, stop in division.bounds[part])
        least = config.horizon + (config.lookback if part == "train" else 0)
        raise DataError(
            f"too few rows: the {part} part holds no window of {config.lookback} steps in and {config.horizon} out",
            expected=f"{least:,} rows in that part of --split" if by_count
            else f"{enough_rows(table, asked, rows):,} rows up to the last observed target, or shorter windows",
            got=f"{size:,} rows in that part" if by_count else f"{rows:,} rows",
            fix="give more rows, a smaller --horizon or --lookback, or another --split",
        )  # fmt: skip


def enough_rows(table: SeriesTable, asked: ForecastingConfig, rows: int) -> int:
    """The least number of rows, above ``rows``, with which every part of the split holds a window."""
    horizon = asked.horizon or choose_horizon(table.frequency)

    def enough(rows: int) -> bool:
        edges = edges_of(rows, asked.split)
        lookback = asked.lookback or choose_lookback(table.frequency, horizon, edges[1])
        parts = [(start, stop) for start, stop in pairwise(edges) if stop > start]
        return len(parts) >= int(np.count_nonzero(asked.split)) and all(
            windows_in(*p, lookback, horizon) for p in parts
        )

    most = rows + 1
    while not enough(most):  # by doubling, for people ask for windows of millions of rows
        most *= 2
    return bisect_left(range(rows + 1, most), True, key=enough) + rows + 1


def need_windows(windows: Windows, parts: Sequence[Part]) -> None:
    """Raises ``DataError`` where a part has rows enough, and not one window with a value before and after it."""
    for part in parts:
        if not len(windows.origins[part]):
            raise DataError(
                f"no window in the {part} part has an observed target both in its {windows.lookback} steps in and in "
                f"its {windows.horizon} steps out",
                expected="at least one",
                got=f"{max(stop - start for start, stop in windows.bounds[part]):,} rows in that part",
                fix="give rows with fewer gaps or more rows, or another --split",
            )


def need_new_rows(table: SeriesTable, config: ForecastingConfig, purpose: Literal["evaluate", "update"]) -> None:
    """Raises ``DataError`` unless new rows hold a window for each part they are needed for."""
    assert config.horizon is not None
    assert config.lookback is not None
    least = config.lookback + config.horizon * (1 if purpose == "evaluate" else 2)
    rows = max(observed_rows(series, table.indices("target")) for series in table.series)
    if rows < least:
        raise DataError(
            f"{table.name} has too few rows to {purpose} a model with {config.lookback} steps in and {config.horizon} "
            "out",
            expected=f"{least:,} rows up to the last observed target",
            got=f"{rows:,} rows",
            fix="give more rows: older ones that the model knows may be among them",
        )


def check_targets(table: SeriesTable, division: Division) -> None:
    """Raises ``DataError`` for a target that never changes, or is never observed, in the training part."""
    for c in table.indices("target"):
        name = table.columns[c].name
        parts = [s.values[:stop, c] for s, (_, stop) in zip(table.series, division.bounds["train"], strict=False)]
        known = np.concatenate(parts)
        known = known[np.isfinite(known)]
        if len(known) == 0:
            raise DataError(
                f"the target {name!r} has no value in the training part",
                expected="numbers",
                got="missing values only",
                fix="choose another --target, or check --missing and the file",
            )
        if np.ptp(known) == 0:
            raise DataError(
                f"the target {name!r} is constant in the training part",
                expected="a column that changes",
                got=f"{known[0]:g} in all {len(known):,} rows",
                fix="choose another --target: the last value already forecasts this one",
            )


def choose_normalisation(make: Callable[[Normalise], Windows]) -> tuple[Normalise, str]:
    """The normalisation with which a linear autoregression errs least on validation, and a line on it.

    A window's level stays in only where levels stay the same over time: unlike a linear model, a network does not
    extrapolate to levels that it has not met.
    """
    plain = make("none")
    moved = level_shift(plain)
    names: list[Normalise] = ["none", "last", "mean", "standard"]
    names = names[moved > _MOST_MOVED :]
    windows = {name: plain if name == "none" else make(name) for name in names}
    errors = {name: LinearAutoregression(windows[name], at_most=_MOST_JUDGED).error for name in names}
    best = min(names, key=lambda name: errors[name])
    listed = ", ".join(f"{name} {error:.4g}" for name, error in errors.items())
    level = f"; the level wanders by {moved:.2f} deviations" if moved > _MOST_MOVED else ""
    return best, f"per-window normalisation: {best} (a linear model's validation error, in deviations: {listed}){level}"


def level_shift(windows: Windows) -> float:
    """How far the mean target wanders, in training deviations: the largest over fifths of training and validation.

    A fifth is about the length of the test part: where a fifth lies elsewhere, the test part may, too.
    """
    moved = [0.0]
    for s, series in enumerate(windows.series):
        (first, end), (_, stop) = windows.bounds["train"][s], windows.bounds["validation"][s]
        scaled = (series.raw - series.centre) / series.deviation  # (T, O)
        stretches = [*np.array_split(scaled[first:end], 5), scaled[end:stop]]
        for column in (column for stretch in stretches for column in stretch.T):
            if np.isfinite(column).any():
                moved.append(abs(float(np.nanmean(column))))
    return max(moved)


def choose_calendar(make: Callable[[bool], Windows]) -> tuple[bool, str]:
    """Whether a linear model forecasts the validation part better when it sees the calendar, and a line on it."""
    without, beside = (
        LinearAutoregression(make(calendar), ahead=True, at_most=_MOST_JUDGED).error for calendar in (False, True)
    )
    shown = beside < without
    verb = "shown" if shown else "not shown"
    return shown, f"calendar: {verb} (a linear model's validation error: {beside:.4g} with it, {without:.4g} without)"


def make_windows(
    table: SeriesTable, test: SeriesTable | None, config: ForecastingConfig, features: Features, division: Division
) -> Windows:
    """Windows over the table and, where the test part is a table of its own, over that too."""
    assert config.horizon is not None
    assert config.lookback is not None
    assert config.normalise != "auto"
    prepared = [features.prepare(series) for series in table.series]
    bounds: dict[Part, list[tuple[int, int]]] = {part: list(ranges) for part, ranges in division.bounds.items()}
    if test is not None:
        bounds["test"] = [(0, 0) for _ in table.series]
        for series in test.series:
            prepared.append(features.prepare(series))
            bounds["train"].append((0, 0))
            bounds["validation"].append((0, 0))
            bounds["test"].append((0, observed_rows(series, test.indices("target"))))
    return Windows(prepared, bounds, config.lookback, config.horizon, config.normalise)


def said_of(features: Features, series: Sequence[Series]) -> list[str]:
    """Lines on what these rows have that training did not show: values too far out, series that stood still there."""
    moved = [each.id for each in series if features.moved(each)]
    return [*covariates.said_beyond(features, series), *held.said_moved(moved)]


def said_left_out(features: Features, config: ForecastingConfig) -> list[str]:
    """A line on covariates that the user named and the model does not see; none where it sees all."""
    names = covariates.left_out(features, config.roles)
    return [f"not read, for it never changed in training (a new training may use it): {listed(names)}"] * bool(names)


def require_split(config: ForecastingConfig) -> None:
    """Raises ``InputError`` where no validation part was left: early stopping and tuning stand on it."""
    if len(config.split) < 2 or config.split[1] == 0 or config.split[0] == 0:
        raise InputError(
            "the split leaves no training or no validation part",
            expected="train and validation above 0",
            got=config.split,
            fix="give for example --split 0.7,0.1,0.2",
        )


def said_short(windows: Windows) -> list[str]:
    """A line on series without a single window, from which nothing is learned; none where each has some."""
    origins = np.concatenate(list(windows.origins.values()))  # (N,)
    some = set(windows.locate(origins)[0].tolist())
    short = [
        f"{each.id} ({counted(len(each.target), 'row')})" for s, each in enumerate(windows.series) if s not in some
    ]
    needed = windows.lookback + windows.horizon
    return [f"too short to learn from: {listed(short)}; a window has {needed} rows"] * bool(short)
