"""From a table of series to the numbers a network is shown, and back to the user's units.

Scales, category levels and the list of channels are fitted on the training part alone and kept in ``Features``,
which travels with the model as plain JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from gatelab.core.config import check_fields
from gatelab.core.errors import InputError
from gatelab.data.frequency import Frequency
from gatelab.data.roles import Column
from gatelab.data.table import Series, SeriesTable
from gatelab.tasks.forecasting import held
from gatelab.tasks.forecasting.covariates import sometimes_empty
from gatelab.tasks.forecasting.held import Held
from gatelab.tasks.forecasting.public_holidays import Holidays
from gatelab.tasks.forecasting.scaling import learn

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
    held: Held | None = None
    """Targets that stand still; none: all move."""


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
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Covariates of numbers: how far they are read, in deviations; those not named, without bounds."""
    constants: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """For each series with targets that never move in training the value of each of these."""
    may_be_empty: tuple[str, ...] = ()
    """Covariates that were empty in some row of training: a cell of theirs may be empty ahead, too."""
    holidays: Holidays | None = None
    """Public holidays that are shown."""

    # ---- fitting ----------------------------------------------------------------------------------------------

    @classmethod
    def fit(cls, table: SeriesTable, train_rows: Mapping[str, int], calendar: bool) -> Features:
        """Scales, levels and channels from the first ``train_rows[id]`` rows of each series."""
        heads = {series.id: series.values[: train_rows[series.id]] for series in table.series}  # (T, C) each
        pooled = np.concatenate(list(heads.values()))  # (ΣT, C)
        learned = learn(heads, table.columns)
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
            scales={
                id: (tuple(centre.tolist()), tuple(unit.tolist())) for id, (centre, unit) in learned.scales.items()
            },
            zone=table.zone,
            limits=learned.limits,
            constants=learned.constants,
            may_be_empty=sometimes_empty(table, train_rows),
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
        names = [name for c in self.of("past") for name in self.channels_of(c)]
        names += [f"{name} observed" for name in self.gappy if name in self.targets]
        return names + (["steps since observed"] if any(name in self.targets for name in self.gappy) else [])

    @property
    def known_channels(self) -> list[str]:
        """Names of the channels known ahead: covariates, the calendar and holidays."""
        cycles = [f"{wave} of {cycle}" for cycle in self.calendar for wave in ("sine", "cosine")]
        feasts = self.holidays.channels if self.holidays else []
        return [name for c in self.of("future") for name in self.channels_of(c)] + cycles + feasts

    def channels_of(self, c: int) -> list[str]:
        """Names of the channels of a column that is no target."""
        column = self.columns[c]
        if column.kind == "category":
            return [f"{column.name}={column.levels[code]}" for code in self.levels[column.name]]
        return [column.name] + ([f"{column.name} observed"] if column.name in self.gappy else [])

    def scale_of(self, id: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Centre and deviation of every column in a series; in one not met in training, of all series pooled."""
        return self.scales.get(id, self.scales[""])

    def prepare(self, series: Series) -> Prepared:
        """One series as channels; a series not met in training is scaled by all training series pooled."""
        centre, deviation = (np.asarray(part) for part in self.scale_of(series.id))  # (C,) each
        scaled = (series.values - centre) / deviation  # (T, C)
        at = self.of("target")
        seen = np.isfinite(scaled[:, at])  # (T, O)
        past = [self._encode(c, scaled[:, c]) for c in self.of("past")]
        gappy_targets = [o for o, name in enumerate(self.targets) if name in self.gappy]
        if gappy_targets:
            past += [seen[:, gappy_targets], _steps_since(seen)[:, None]]
        known = [self._encode(c, scaled[:, c]) for c in self.of("future")] + [self._calendar(series.stamps)]
        known += [self.holidays.encode(_local_clock(series.stamps, self.zone))] if self.holidays else []
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
            held=self.standing(series),
        )

    def standing(self, series: Series) -> Held | None:
        """Which targets of a series stand still; none where all move."""
        raw = series.values[:, self.of("target")]  # (T, O)
        if series.id in self.scales:
            constants = self.constants.get(series.id)
            return held.known(raw, constants, self.targets) if constants else None
        found = held.stranger(raw)
        return found if np.isfinite(found.value).any() else None

    def moved(self, series: Series) -> bool:
        """Whether a series that had a target of one value in training shows another value of it."""
        found = self.standing(series) if series.id in self.constants else None
        return found is not None and bool((found.away & ~np.isnan(found.value)).any())

    def _encode(self, c: int, values: Array) -> Array:
        """One column as channels: one-hot for categories; a value (0, the training mean, in gaps) and its flag.

        Values are held to what a model can have learned of.
        """
        column = self.columns[c]
        if column.kind == "category":
            return values[:, None] == np.asarray(self.levels[column.name])  # (T, levels)
        bounded = np.clip(values, *self.limits.get(column.name, (-np.inf, np.inf)))  # (T,)
        value = np.where(np.isfinite(values), bounded, 0.0)  # (T,)
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
            "limits": {name: list(limits) for name, limits in self.limits.items()},
            "constants": {id: dict(values) for id, values in self.constants.items()},
            "may_be_empty": list(self.may_be_empty),
            **({"holidays": self.holidays.to_dict()} if self.holidays else {}),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], columns: Sequence[Column], frequency: Frequency) -> Features:
        """What ``to_dict`` wrote, with the columns and the frequency that the schema keeps."""
        read = cls(
            columns=tuple(columns),
            frequency=frequency,
            calendar=tuple(values["calendar"]),
            levels={name: tuple(codes) for name, codes in values["levels"].items()},
            gappy=tuple(values["gappy"]),
            scales={id: (tuple(scale[0]), tuple(scale[1])) for id, scale in values["scales"].items()},
            zone=values["zone"],
            # Folders of before have none of these: covariates without bounds, no constants, any with gaps may be empty.
            limits={name: (low, high) for name, (low, high) in values.get("limits", {}).items()},
            constants=values.get("constants", {}),
            may_be_empty=tuple(values.get("may_be_empty", values["gappy"])),
            holidays=Holidays.from_dict(values.get("holidays")),
        )
        wrong = [id for id, scale in read.scales.items() if {len(part) for part in scale} != {len(read.columns)}]
        if wrong or "" not in read.scales:
            raise InputError(f"the scales do not fit {len(read.columns)} columns", got=f"those of series {wrong[:1]}")
        return check_fields(read)


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


def _local_clock(stamps: pd.Index, zone: str | None) -> pd.DatetimeIndex:
    """The same stamps without a zone, as a clock there shows them."""
    index = pd.DatetimeIndex(stamps)
    return index if index.tz is None else index.tz_convert(zone or "UTC").tz_localize(None)


def _local_seconds(stamps: pd.Index, zone: str | None) -> Array:
    """Seconds since Monday 1969-12-29 on the local clock."""
    return _local_clock(stamps, zone).as_unit("s").astype(np.int64).to_numpy().astype(np.float64) + CYCLE_START


def _steps_since(seen: Array) -> Array:
    """Steps since any target was last observed, as log(1 + n), for each row of ``seen (T, O)``."""
    rows = np.arange(len(seen))
    last = np.maximum.accumulate(np.where(seen.any(axis=1), rows, -1))  # (T,)
    return np.log1p(rows - last)  # (T,)


def _side_by_side(parts: Sequence[Array], steps: int) -> Array:
    return np.concatenate([np.zeros((steps, 0)), *parts], axis=1).astype(np.float32)
