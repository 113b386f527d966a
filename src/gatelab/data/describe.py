"""What lies in a file or data set, in numbers: for a first look before anything is trained."""

from __future__ import annotations

import os
import tarfile
import zipfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from gatelab.core.errors import DataError
from gatelab.data.catalogue import Dataset
from gatelab.data.reading import read_raw
from gatelab.data.roles import Column, Roles
from gatelab.data.sources import named, resolve, with_hints
from gatelab.data.table import SeriesTable, read_table
from gatelab.data.timeline import find_time
from gatelab.data.values import numbers

Array = np.ndarray

TABLES = (".csv", ".tsv", ".parquet", ".csv.gz", ".tsv.gz", ".csv.zip")
"""Ends of file names that are read as tables without a word from the catalogue."""
HEAD_LINES, HEAD_CHARACTERS = 8, 160


@dataclass(frozen=True)
class ColumnSummary:
    """One column of a table, over all its series."""

    name: str
    kind: str
    """``"number"`` or ``"category"``."""
    missing: int
    minimum: float | None = None
    mean: float | None = None
    maximum: float | None = None
    levels: tuple[str, ...] = ()
    values: Array = field(default_factory=lambda: np.empty(0), repr=False, compare=False)
    """(T,) of the first series, NaN where missing; empty for a category."""


@dataclass(frozen=True)
class Summary:
    """What ``describe`` found. ``columns`` is empty where the source is no table of series."""

    path: Path
    dataset: Dataset | None
    """The catalogue's entry, where the source is a known data set."""
    rows: int = 0
    """Steps from the first stamp to the last, over all series; rows that are absent count."""
    series: int = 0
    first: str = ""
    last: str = ""
    frequency: str = ""
    columns: tuple[ColumnSummary, ...] = ()
    problem: str = ""
    """Why the table cannot be put on a regular grid as it is; the rest then takes its rows as the steps."""
    notes: tuple[str, ...] = ()
    """What was decided about the table, one line each."""
    head: tuple[str, ...] = ()
    """First lines of a text or first members of an archive, where the source is no table of series."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        plain = {name: value for name, value in vars(self).items() if name not in ("path", "dataset", "columns")}
        columns = [{name: value for name, value in vars(column).items() if name != "values"} for column in self.columns]
        known = asdict(self.dataset) if self.dataset else None
        return {"path": str(self.path), "dataset": known, **plain, "columns": columns}


def describe(source: str | os.PathLike[str], roles: Roles | None = None) -> Summary:
    """Looks at a table of series, or at the main file of another kind of data set.

    Args:
        source: a path, a data set's name, or ``"name/file"``.
        roles: what the columns are, where that is not to be found by looking.

    Raises:
        InputError: there is no such file or data set, or the dates can be read in two ways.
        DataError: it cannot be had, or is no table though its name says so.
    """
    found, path = named(source), resolve(source)
    dataset = found[0] if found else None
    is_table = bool(found[1].roles) if found else path.name.lower().endswith(TABLES)
    if not is_table:
        return Summary(path, dataset, head=_head(path))
    table, problem = _table(path, with_hints(source, roles or Roles()))
    return _summary(table, path, dataset, problem)


def _table(path: Path, roles: Roles) -> tuple[SeriesTable, str]:
    """The table with every usable column, and what stands in the way of a regular grid."""
    roles = replace(roles, target=roles.target or _first_numbers(path, roles), past=roles.past or ("*",))
    try:
        return read_table(path, roles), ""
    except DataError as error:
        try:
            return read_table(path, replace(roles, frequency="rows")), str(error)
        except DataError:
            raise error from None


def _first_numbers(path: Path, roles: Roles) -> tuple[str, ...]:
    """The first column of numbers that vary, to stand in for a target that nobody named; none: none is found."""
    raw = read_raw(path, roles.decimal)
    taken = {*find_time(raw, roles).columns, roles.id, *roles.named}
    for name in raw.frame.columns:
        found = numbers(raw, name, roles.missing)
        steps = np.diff(found.values)
        if name not in taken and found.usable and not (steps == 0).all() and not (steps == 1).all():
            return (name,)
    return ()


def _summary(table: SeriesTable, path: Path, dataset: Dataset | None, problem: str) -> Summary:
    values = np.concatenate([series.values for series in table.series])  # (rows, C)
    stamps = [stamp for series in table.series for stamp in (series.stamps[0], series.stamps[-1])]
    return Summary(
        path,
        dataset,
        rows=len(values),
        series=len(table.series),
        first=str(min(stamps)).removesuffix(" 00:00:00"),
        last=str(max(stamps)).removesuffix(" 00:00:00"),
        frequency=table.frequency.alias,
        columns=tuple(
            _column(column, values[:, place], table.series[0].values[:, place])
            for place, column in enumerate(table.columns)
        ),
        problem=problem,
        notes=table.notes,
    )


def _column(column: Column, values: Array, first: Array) -> ColumnSummary:
    missing = int(np.isnan(values).sum())
    if column.kind == "category":
        return ColumnSummary(column.name, column.kind, missing, levels=column.levels)
    low, mean, high = (float(of(values)) for of in (np.nanmin, np.nanmean, np.nanmax))
    return ColumnSummary(column.name, column.kind, missing, low, mean, high, values=first)


def _head(path: Path) -> tuple[str, ...]:
    """The first lines of a text, the first members of an archive, nothing of other bytes."""
    if path.is_dir():
        entries = sorted(entry.name + "/" * entry.is_dir() for entry in path.iterdir())
        return _listed(entries)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return _listed([name for name in archive.namelist() if not name.endswith("/")])
    if tarfile.is_tarfile(path):
        with tarfile.open(path) as archive:
            return _listed([member.name for member in archive if member.isfile()])
    with open(path, "rb") as file:
        start = file.read(HEAD_LINES * 4 * HEAD_CHARACTERS)
    if b"\0" in start or start[:2] == b"\x1f\x8b":
        return ()
    lines = start.decode("utf-8", errors="replace").splitlines()[:HEAD_LINES]
    return tuple(line if len(line) <= HEAD_CHARACTERS else line[: HEAD_CHARACTERS - 1] + "…" for line in lines)


def _listed(names: list[str]) -> tuple[str, ...]:
    more = len(names) - HEAD_LINES
    return (*names[:HEAD_LINES], *([f"… and {more:,} more"] if more > 0 else []))
