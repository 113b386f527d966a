"""Sorted rows → series on regular steps: absent rows become steps without values.

Steps have one length in a table; where they stand in the calendar, each series has to itself.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import NamedTuple, NoReturn

import numpy as np
import pandas as pd

from gatelab.core.errors import DataError
from gatelab.data import frequency as steps
from gatelab.data.frequency import Frequency, Grid, microseconds
from gatelab.data.reading import RawTable
from gatelab.data.roles import Column
from gatelab.data.rows import Rows
from gatelab.data.wording import counted
from gatelab.data.zones import at_clock_change

Array = np.ndarray


class Piece(NamedTuple):
    """One series."""

    id: str
    stamps: pd.DatetimeIndex | pd.RangeIndex  # (T,)
    values: Array  # (T, C)
    frequency: Frequency
    """Its own: the table's, and where it stands in the calendar."""
    given: Array | None = None  # (T,) bool, steps with a row; none: all have one


class Regular(NamedTuple):
    """Series on the steps of one frequency."""

    series: list[Piece]
    frequency: Frequency
    notes: tuple[str, ...]


def regular(
    raw: RawTable, rows: Rows, columns: tuple[Column, ...], asked: Frequency | None, learned: bool = False
) -> Regular:
    """Puts every series on the grid of one frequency; rows that are absent become rows of NaN.

    Args:
        raw: for messages.
        rows: in order, each stamp once.
        columns: of ``rows.values``, for notes.
        asked: the frequency, if it is known; found from the stamps otherwise. Where it stands in the calendar does
            not matter.
        learned: whether ``asked`` comes from a trained model, so that a coarser table is refused.

    Raises:
        DataError: the stamps are on no regular grid, or not on the one asked for.
    """
    if rows.stamps is None:
        frequency = Frequency(asked.alias if asked else "rows", rows=True)
        series = [
            Piece(name, pd.RangeIndex(piece.stop - piece.start), rows.values[piece], frequency)
            for name, piece in zip(rows.ids, rows.pieces, strict=True)
        ]
        return Regular(series, frequency, _notes(rows, columns, frequency, []))
    common = asked or _common(raw, rows)
    series, grids = [], []
    for name, piece in zip(rows.ids, rows.pieces, strict=True):
        if common.rows or (common.business and _trades(rows, piece)):
            own = common if common.rows else _BUSINESS
            series.append(Piece(name, _shown(rows, rows.stamps[piece]), rows.values[piece], own))
            continue
        grid = _placed(raw, rows, name, piece, common, learned)
        grids.append(grid)
        values = _spread(grid, rows.values[piece])
        series.append(Piece(name, _on_zone(rows, grid), values, grid.frequency, _given(grid)))
    # One calendar for all is the table's; of several the alias of the first stands for the length of a step.
    frequency = replace(grids[0].frequency.common, business=common.business) if grids else common
    return Regular(series, frequency, _notes(rows, columns, frequency, grids))


def _spread(grid: Grid, values: Array) -> Array:
    if grid.length == len(values):
        return values
    spread = np.full((grid.length, values.shape[1]), np.nan)  # (T, C)
    spread[grid.places] = values
    return spread


def _given(grid: Grid) -> Array | None:
    if grid.length == len(grid.places):
        return None
    given = np.zeros(grid.length, bool)  # (T,)
    given[grid.places] = True
    return given


# ---- clocks and calendars -------------------------------------------------------------------------------------
# Steps below a day count real time, so they are placed in UTC. Days, weeks and months count the calendar on the
# wall, so they are placed in local time: a day is 23 or 25 hours where clocks change.


def _local(rows: Rows, piece: slice) -> pd.DatetimeIndex:
    assert rows.stamps is not None
    stamps = rows.stamps[piece]
    return stamps if rows.zone is None else stamps.tz_localize("UTC").tz_convert(rows.zone).tz_localize(None)


def _shown(rows: Rows, stamps: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Stamps counted in UTC, in the zone of the table."""
    return stamps if rows.zone is None else stamps.tz_localize("UTC").tz_convert(rows.zone)


def _on_zone(rows: Rows, grid: Grid) -> pd.DatetimeIndex:
    if rows.zone is None or steps.is_clock(grid.frequency):
        return _shown(rows, grid.stamps())
    first = np.ones(grid.length, bool)  # (T,) of two equal times on the wall, the first
    return grid.stamps().tz_localize(rows.zone, ambiguous=first, nonexistent="shift_forward")


def _find(rows: Rows, piece: slice) -> Grid | None:
    assert rows.stamps is not None
    grid = steps.find(rows.stamps[piece])
    if rows.zone is None or (grid is not None and steps.is_clock(grid.frequency)):
        return grid
    return steps.find(_local(rows, piece))


_BUSINESS = Frequency("B", rows=True)


def _trades(rows: Rows, piece: slice) -> bool:
    """Whether a series has trading days alone."""
    grid = _find(rows, piece)
    return grid is not None and grid.frequency.alias == "B"


def _common(raw: RawTable, rows: Rows) -> Frequency:
    """The frequency that most series have; of trading days beside days of all kinds, days."""
    found = [grid.frequency for grid in (_find(rows, piece) for piece in rows.pieces) if grid is not None]
    if not found:
        _refuse_irregular(raw, rows)
    length = Counter(frequency.length for frequency in found).most_common(1)[0][0]
    alike = Counter(frequency.common for frequency in found if frequency.length == length)
    if len({frequency.rows for frequency in alike}) > 1:
        return Frequency("D", business=True)
    return alike.most_common(1)[0][0]


_MOST_STEPS, _SPARSEST = 1_000_000, 50  # beyond both, a grid is made of holes: most often a stray stamp


def _placed(raw: RawTable, rows: Rows, name: str, piece: slice, frequency: Frequency, learned: bool) -> Grid:
    assert rows.stamps is not None
    grid = steps.place(rows.stamps[piece] if steps.is_clock(frequency) else _local(rows, piece), frequency)
    coarser = grid is not None and len(grid.places) > 2 and bool((np.diff(grid.places) > 1).all())
    if grid is None or (learned and coarser):
        _refuse_frequency(
            f"series {name!r} of {raw.name}" if name else raw.name, _find(rows, piece), frequency, learned
        )
    if grid.length > max(_MOST_STEPS, _SPARSEST * len(grid.places)):
        raise DataError(
            f"{raw.name} would have {grid.length:,} steps for {len(grid.places):,} rows",
            got=f"{frequency.text} steps from {grid.start} on",
            fix="look for a stray stamp, or take each row as the next step with --frequency rows",
        )
    return grid


# ---- notes ----------------------------------------------------------------------------------------------------

_MOST_NAMED = 8


def _notes(rows: Rows, columns: tuple[Column, ...], frequency: Frequency, grids: list[Grid]) -> tuple[str, ...]:
    notes = [_counted(rows, frequency) + _span(rows)]
    absent = sum(grid.length - len(grid.places) for grid in grids)
    if absent:
        notes.append(f"{counted(absent, 'step')} between them without a row: no values there, masked in state and loss")
        if rows.zone is None and steps.is_clock(frequency) and at_clock_change(_missing_stamps(grids), range(1, 4)):
            notes.append("these are hours in which clocks go forward: --time-zone counts local time right")
    moved = max((grid.moved for grid in grids), default=0)
    if moved:
        notes.append(f"stamps moved to the regular grid, by {_length(moved)} at most")
    return (*notes, *_gaps(rows, columns))


def _counted(rows: Rows, frequency: Frequency) -> str:
    several = f" in {len(rows.ids):,} series" if len(rows.ids) > 1 else ""
    if frequency.alias == "B":
        return f"{len(rows.values):,} trading days{several}: rows are the steps, weekends and holidays are no gaps"
    return " ".join(f"{len(rows.values):,} {frequency.text} rows{several}".split())


def _span(rows: Rows) -> str:
    if rows.stamps is None:
        return ""
    ends = _shown(rows, pd.DatetimeIndex([rows.stamps.min(), rows.stamps.max()]))
    style = "%Y-%m-%d" if (ends == ends.normalize()).all() else "%Y-%m-%d %H:%M"
    return f", {ends[0].strftime(style)} to {ends[1].strftime(style)}"


def _gaps(rows: Rows, columns: tuple[Column, ...]) -> list[str]:
    """Missing values by column, in rows that are there."""
    counts = np.isnan(rows.values).sum(axis=0)  # (C,)
    gaps = [(column, int(count)) for column, count in zip(columns, counts, strict=True) if count]
    notes = []
    for column, count in gaps[:_MOST_NAMED]:
        share = f"{counted(count, 'gap')} in {column.name} ({100 * count / len(rows.values):.2g} %)"
        notes.append(f"{share}: masked in {'state and loss' if column.role == 'target' else 'the input'}")
    if len(gaps) > _MOST_NAMED:
        rest = sum(count for _, count in gaps[_MOST_NAMED:])
        notes.append(f"{counted(rest, 'gap')} in {len(gaps) - _MOST_NAMED:,} more columns")
    return notes


def _missing_stamps(grids: list[Grid]) -> pd.DatetimeIndex:
    """The stamps without a row of the first series that lacks some."""
    grid = next(grid for grid in grids if grid.length > len(grid.places))
    absent = np.ones(grid.length, bool)  # (T,)
    absent[grid.places] = False
    return grid.stamps()[absent]


def _length(micros: float) -> str:
    """A length of time in its own unit: ``90 minutes``, ``3 days``."""
    for unit, word in ((86_400e6, "day"), (3600e6, "hour"), (60e6, "minute"), (1e6, "second")):
        if micros >= 2 * unit or micros == unit:
            return f"{micros / unit:.3g} {word}{'s' if micros != unit else ''}"
    return f"{micros / 1e6:.3g} seconds"


# ---- refusals -------------------------------------------------------------------------------------------------


def _refuse_irregular(raw: RawTable, rows: Rows) -> NoReturn:
    assert rows.stamps is not None
    longest = max(rows.pieces, key=lambda piece: piece.stop - piece.start)
    lengths = np.diff(microseconds(rows.stamps[longest]))  # (T-1,)
    if len(lengths) < 2:
        raise DataError(
            f"{raw.name} has too few rows to see how far they lie apart",
            expected="at least 3 rows in a series",
            got=f"{len(lengths) + 1}",
            fix="give more rows, or name the step, as in --frequency h",
        )
    low, middle, high = np.quantile(lengths, (0.0, 0.5, 1.0))
    raise DataError(
        f"the stamps of {raw.name} are on no regular grid",
        expected="steps of one length, rows missing or not",
        got=f"steps from {_length(low)} to {_length(high)}, half of them up to {_length(middle)}",
        fix="take each row as the next step with --frequency rows, or resample the table to regular steps first",
    )


def _refuse_frequency(name: str, grid: Grid | None, frequency: Frequency, learned: bool) -> NoReturn:
    found = f"{grid.frequency.text} rows" if grid is not None else "stamps on no regular grid"
    if learned:
        raise DataError(
            f"{name} does not have the step that the model was trained with",
            expected=f"{frequency.text} rows",
            got=found,
            fix="predict from a table with the same step",
        )
    raise DataError(
        f"the stamps of {name} are on no {frequency.text} grid",
        got=found,
        fix="change --frequency, or take each row as the next step with --frequency rows",
    )
