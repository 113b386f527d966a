"""From a table of series to the numbers a network is shown, and back to the user's units.

Scales, category levels and the list of channels are fitted on the training part alone and kept in ``Features``,
which travels with the model as plain JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gatelab.data.frequency import Frequency
from gatelab.data.roles import Column
from gatelab.data.table import Series, SeriesTable

Array = np.ndarray
_DAY, _WEEK, _YEAR = 86_400.0, 7 * 86_400.0, 365.2425 * 86_400.0
CYCLES = {"day": _DAY, "week": _WEEK, "year": _YEAR}
"""Seconds of each cycle of the calendar."""
CYCLE_START = 3 * _DAY
"""Seconds from Monday 1969-12-29 to 1970-01-01: so that the week's cycle begins on a Monday."""


@dataclass(frozen=True)
class Prepared:
    """One series as the network sees it: T steps, O targets, P past channels, F channels known ahead."""

    id: str
    stamps: pd.Index  # (T,)
    target: Array  # (T, O) scaled float32, 0 where missing
    seen: Array  # (T, O) bool
    past: Array  # (T, P) float32: covariates and their flags, known up to now
    known: Array  # (T, F) float32: covariates known ahead and the calendar
    shown: Array  # (T,) bool: whether anything was observed; elsewhere the state is held
    raw: Array  # (T, O) targets in the user's units, NaN where missing
    centre: Array  # (O,) what was subtracted from the targets
    deviation: Array  # (O,) what they were divided by


@dataclass(frozen=True)
class Features:
    """How columns become channels, fitted on the training part."""

    columns: tuple[Column, ...]
    frequency: Frequency
    calendar: tuple[str, ...]
    """Cycles shown: some of day, week, year."""
    levels: Mapping[str, tuple[int, ...]]
    """For each categorical column the level codes met in training; others are all zeros."""
    gappy: tuple[str, ...]
    """Number columns with gaps in training: they get a channel that says whether the value was observed."""
    scales: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]]
    """For each series, centre and deviation of every column (0 and 1 for categories); "" is all series pooled."""
    zone: str | None = None
    """Time zone of the stamps, for the calendar on the local clock."""

    # ---- fitting ----------------------------------------------------------------------------------------------

    @classmethod
    def fit(cls, table: SeriesTable, train_rows: Mapping[str, int], calendar: bool) -> Features:
        """Scales, levels and channels from the first ``train_rows[id]`` rows of each series."""
        heads = {series.id: series.values[: train_rows[series.id]] for series in table.series}  # (T, C) each
        pooled = np.concatenate(list(heads.values()))  # (ΣT, C)
        scales = {"": _scale(pooled, table.columns)}
        scales |= {id: _scale(head, table.columns) for id, head in heads.items()}
        numbers = {c: column.kind == "number" for c, column in enumerate(table.columns)}
        return cls(
            columns=tuple(table.columns),
            frequency=table.frequency,
            calendar=_cycles(table, train_rows) if calendar else (),
            levels={
                column.name: tuple(int(code) for code in np.unique(pooled[np.isfinite(pooled[:, c]), c]))
                for c, column in enumerate(table.columns)
                if not numbers[c]
            },
            gappy=tuple(col.name for c, col in enumerate(table.columns) if numbers[c] and np.isnan(pooled[:, c]).any()),
            scales=scales,
            zone=table.zone,
        )

    # ---- channels ---------------------------------------------------------------------------------------------

    def of(self, role: str) -> list[int]:
        """Positions of the columns with a role."""
        return [c for c, column in enumerate(self.columns) if column.role == role]

    @property
    def targets(self) -> list[str]:
        """Names of the targets."""
        return [self.columns[c].name for c in self.of("target")]

    @property
    def past_channels(self) -> list[str]:
        """Names of the channels known up to now, targets aside: covariates, observed-flags, length of gap."""
        names = [name for c in self.of("past") for name in self._channels_of(c)]
        names += [f"{name} observed" for name in self.gappy if name in self.targets]
        return names + (["steps since observed"] if any(name in self.targets for name in self.gappy) else [])

    @property
    def known_channels(self) -> list[str]:
        """Names of the channels known ahead: covariates and the calendar."""
        cycles = [f"{wave} of {cycle}" for cycle in self.calendar for wave in ("sine", "cosine")]
        return [name for c in self.of("future") for name in self._channels_of(c)] + cycles

    def _channels_of(self, c: int) -> list[str]:
        column = self.columns[c]
        if column.kind == "category":
            return [f"{column.name}={column.levels[code]}" for code in self.levels[column.name]]
        return [column.name] + ([f"{column.name} observed"] if column.name in self.gappy else [])

    def prepare(self, series: Series) -> Prepared:
        """One series as channels; a series not met in training is scaled by all training series pooled."""
        centre, deviation = (np.asarray(s) for s in self.scales.get(series.id, self.scales[""]))  # (C,) each
        scaled = (series.values - centre) / deviation  # (T, C)
        at = self.of("target")
        seen = np.isfinite(scaled[:, at])  # (T, O)
        past = [self._encode(c, scaled[:, c]) for c in self.of("past")]
        gappy_targets = [o for o, name in enumerate(self.targets) if name in self.gappy]
        if gappy_targets:
            past += [seen[:, gappy_targets], _steps_since(seen)[:, None]]
        known = [self._encode(c, scaled[:, c]) for c in self.of("future")] + [self._calendar(series.stamps)]
        steps = len(series.values)
        shown = np.asarray(np.isfinite(series.values[:, at + self.of("past")]).any(axis=1))  # (T,)
        return Prepared(
            id=series.id,
            stamps=series.stamps,
            target=np.where(seen, scaled[:, at], 0.0).astype(np.float32),
            seen=seen,
            past=_side_by_side(past, steps),
            known=_side_by_side(known, steps),
            shown=shown,
            raw=series.values[:, at],
            centre=centre[at],
            deviation=deviation[at],
        )

    def _encode(self, c: int, values: Array) -> Array:
        """One column as channels: one-hot for categories; a value (0, the training mean, in gaps) and its flag."""
        column = self.columns[c]
        if column.kind == "category":
            return values[:, None] == np.asarray(self.levels[column.name])  # (T, levels)
        value = np.where(np.isfinite(values), values, 0.0)  # (T,)
        flags = [np.isfinite(values)] if column.name in self.gappy else []
        return np.stack([value, *flags], axis=1)  # (T, 1 or 2)

    def _calendar(self, stamps: pd.Index) -> Array:
        """Sine and cosine of each cycle at each stamp, in local time where the zone is known."""
        if not self.calendar:
            return np.zeros((len(stamps), 0))
        seconds = _local_seconds(stamps, self.zone)  # (T,)
        angle = [2 * np.pi * seconds / CYCLES[cycle] for cycle in self.calendar]
        return np.stack([wave(a) for a in angle for wave in (np.sin, np.cos)], axis=1)  # (T, 2·cycles)

    # ---- plain JSON -------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """What ``from_dict`` needs beside the table's own schema."""
        return {
            "calendar": list(self.calendar),
            "levels": {name: list(codes) for name, codes in self.levels.items()},
            "gappy": list(self.gappy),
            "scales": {id: [list(part) for part in scale] for id, scale in self.scales.items()},
            "zone": self.zone,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], columns: Sequence[Column], frequency: Frequency) -> Features:
        """What ``to_dict`` wrote, with the columns and the frequency that the schema keeps."""
        return cls(
            columns=tuple(columns),
            frequency=frequency,
            calendar=tuple(values["calendar"]),
            levels={name: tuple(codes) for name, codes in values["levels"].items()},
            gappy=tuple(values["gappy"]),
            scales={id: (tuple(scale[0]), tuple(scale[1])) for id, scale in values["scales"].items()},
            zone=values["zone"],
        )


def _scale(values: Array, columns: Sequence[Column]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the number columns ``(T, C)``; a constant or empty one keeps its unit."""
    number = np.array([column.kind == "number" for column in columns])
    count = np.isfinite(values).sum(0)  # (C,)
    centre = np.nansum(values, axis=0) / np.maximum(count, 1)  # (C,)
    deviation = np.sqrt(np.nansum((values - centre) ** 2, axis=0) / np.maximum(count, 1))  # (C,)
    usable = number & (deviation > 1e-12 * np.maximum(np.abs(centre), 1e-300))
    return (
        tuple(float(x) for x in np.where(number, centre, 0.0)),
        tuple(float(x) for x in np.where(usable, deviation, 1.0)),
    )


def _cycles(table: SeriesTable, train_rows: Mapping[str, int]) -> tuple[str, ...]:
    """Cycles longer than two steps that the training part shows at least once (twice for the year)."""
    if table.frequency.alias == "rows":
        return ()  # the stamps of the steps to forecast are not known
    stamps = [series.stamps[: train_rows[series.id]] for series in table.series]
    stamps = [part for part in stamps if isinstance(part, pd.DatetimeIndex) and len(part) > 2]
    if not stamps:
        return ()
    step = float(np.median(np.diff(stamps[0].as_unit("s").astype(np.int64))))
    span = max((part[-1] - part[0]).total_seconds() for part in stamps)
    wanted = (("day", _DAY, 1.0), ("week", _WEEK, 1.0), ("year", _YEAR, 2.0))
    return tuple(name for name, period, times in wanted if period > 2.5 * step and span >= times * period)


def _local_seconds(stamps: pd.Index, zone: str | None) -> Array:
    """Seconds since Monday 1969-12-29 on the local clock."""
    index = pd.DatetimeIndex(stamps)
    if index.tz is not None:
        index = index.tz_convert(zone or "UTC").tz_localize(None)
    return index.as_unit("s").astype(np.int64).to_numpy().astype(np.float64) + CYCLE_START


def _steps_since(seen: Array) -> Array:
    """Steps since any target was last observed, as log(1 + n), for each row of ``seen (T, O)``."""
    rows = np.arange(len(seen))
    last = np.maximum.accumulate(np.where(seen.any(axis=1), rows, -1))  # (T,)
    return np.log1p(rows - last)  # (T,)


def _side_by_side(parts: Sequence[Array], steps: int) -> Array:
    return np.concatenate([np.zeros((steps, 0)), *parts], axis=1).astype(np.float32)
