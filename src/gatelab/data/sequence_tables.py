"""Sequences from tables: a row for each step, or a row for each sequence; read block by block, so of any size.

N rows of a block, C channels, P values of a step where a row is a whole sequence.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import chain, islice, pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from gatelab.core.errors import DataError, InputError, nearest
from gatelab.core.printable import printable
from gatelab.data.dialect import Dialect, decimal_mark, sniff
from gatelab.data.label_types import LabelNames, LabelType
from gatelab.data.lines import Document
from gatelab.data.reading import RawTable, read_raw
from gatelab.data.sequences import Collector, Layout, Read
from gatelab.data.values import numbers

Array = np.ndarray
_IDS, _LABELS = ("id", "sequence", "sequence_id", "seq_id", "series"), ("label", "class", "class_label", "target")
_BLOCK_ROWS, _HEAD_LINES = 1 << 14, 100


class Columns(NamedTuple):
    """Which column is what."""

    id: str | None
    label: str | None
    time: str | None
    channels: tuple[str, ...]


def read_document(document: Document, layout: Layout, labelled: bool) -> Read:
    """The sequences of a text file.

    Raises:
        InputError: a column that is not there.
        DataError: rows of unequal width, a cell that is no number, rows out of order; the message names the line.
    """
    return _read(blocks(document), document.name, layout, labelled)


def read_frame(source: Any, layout: Layout, labelled: bool) -> Read:
    """The sequences of a DataFrame or a Parquet file; raises as ``read_document``."""
    raw = read_raw(source)
    return _read(iter([raw]), raw.name, layout, labelled)


def _read(tables: Iterator[RawTable], name: str, layout: Layout, labelled: bool) -> Read:
    first = next(tables, None)
    if first is None:
        raise DataError(f"{name} is empty", expected="a header and rows", fix="look at the file")
    columns = columns_of(first, layout, labelled)
    whole = layout.per_step is not None
    collector = Collector(layout.gaps, None if whole else columns.channels)
    clock: dict[str, float] = {}
    for raw in chain([first], tables):
        add = _add_sequences if whole else _add_steps
        add(collector, raw, columns, layout, clock)
    kind = label_type(first, columns.label) if columns.label else "text"
    return collector.finish(name, labelled, [*first.notes, _said(columns, layout)], kind)


def _said(columns: Columns, layout: Layout) -> str:
    unit = "step" if layout.per_step is None else "sequence"
    of = f" of the sequence in {columns.id!r}" if columns.id else ""
    shown = ", ".join(columns.channels[:8]) + (", …" if len(columns.channels) > 8 else "")
    label = f"; label: {columns.label}" if columns.label else ""
    return printable(f"each row is a {unit}{of}: {shown}{label}")


# ---- the file, block by block ---------------------------------------------------------------------------------------


def blocks(document: Document) -> Iterator[RawTable]:
    """Its rows as text, some thousand at a time; ``where`` names the line of each.

    Raises:
        DataError: rows of unequal width, two columns of one name.
    """
    lines = document.lines(keep_ends=True)
    head = list(islice(lines, _HEAD_LINES))
    if not "".join(head).strip():
        return
    dialect = sniff("".join(head))
    rows = _rows(chain(head, lines), dialect, document.name)
    names = tuple(name.strip().removeprefix("#").strip() or f"col_{at}" for at, name in enumerate(dialect.names))
    if dialect.header:
        next(rows)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(
            f"{document.name} has two columns called {printable(twice)!r}", fix="give each a name of its own"
        )
    decimal = None
    while taken := list(islice(rows, _BLOCK_ROWS)):
        frame = pd.DataFrame([cells for _, cells in taken], columns=list(names), dtype="str")
        decimal = decimal or decimal_mark(frame, dialect.delimiter)[0]
        yield RawTable(document.name, frame, _places([line for line, _ in taken]), decimal)


def _places(lines: Sequence[int]) -> Any:
    return lambda row: f"line {lines[row]}"


def _rows(lines: Iterator[str], dialect: Dialect, name: str) -> Iterator[tuple[int, list[str]]]:
    """Each row with the line on which it begins; blank lines are no rows."""
    if dialect.delimiter == " ":
        lines = (re.sub(r"[ \t]+", "\t", line.strip()) for line in lines)
    reader = csv.reader(lines, delimiter=dialect.separator)
    begins = 1
    try:
        for cells in reader:
            if cells and len(cells) != len(dialect.names):
                raise DataError(
                    f"line {begins} of {name} has {len(cells)} cells where the first has {len(dialect.names)}",
                    expected=f"{len(dialect.names)} in each line, separated by {dialect.spoken}",
                    fix="mend or remove that line",
                )
            if cells:
                yield begins, cells
            begins = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"line {begins} of {name} cannot be read as a row of a table", got=error) from error


# ---- which column is what -------------------------------------------------------------------------------------------


def columns_of(raw: RawTable, layout: Layout, labelled: bool) -> Columns:
    """The columns that ``layout`` names, the others found by their names.

    Raises:
        InputError: a column that is not there, or none that says which rows are a sequence or what its label is.
    """
    have = [str(name) for name in raw.frame.columns]
    for option, name in (("id", layout.id), ("time", layout.time), *(("channels", each) for each in layout.channels)):
        if name is not None:
            _require(name, have, option, raw.name)
    if layout.label is not None and labelled:
        _require(layout.label, have, "label", raw.name)
    label = layout.label if layout.label in have else None if layout.label else _named(_LABELS, have, layout.channels)
    id = layout.id or _named(_IDS, have, (*layout.channels, label))
    if label is None and labelled:
        raise InputError(
            f"{printable(raw.name)} has no column of labels that its name tells",
            expected=f"a column called {', '.join(_LABELS)}",
            got=printable(", ".join(have[:12])),
            fix=f"name it, as in --label {printable(have[-1])!r}",
        )
    if id is None and layout.per_step is None and labelled:
        raise InputError(
            f"{printable(raw.name)} does not say which rows are one sequence",
            expected=f"a column called {', '.join(_IDS)}",
            got=printable(", ".join(have[:12])),
            fix="name the column with --id, or if every row is a sequence: --per-step 1",
        )
    channels = layout.channels or tuple(name for name in have if name not in (id, label, layout.time))
    if not channels:
        raise InputError(f"{printable(raw.name)} has no column of values", fix="name them with --channels")
    return Columns(id, label, layout.time, channels)


def _named(wanted: Sequence[str], have: Sequence[str], taken: Sequence[str | None]) -> str | None:
    return next((name for name in have if name.lower() in wanted and name not in taken), None)


def _require(name: str, have: Sequence[str], option: str, table: str) -> None:
    if name not in have:
        raise InputError(
            f"{printable(table)} has no column {printable(name)!r}",
            expected=f"one of {printable(', '.join(have[:12]))}",
            fix=f"did you mean {printable(nearest(name, have))}? Change --{option}",
        )


# ---- from rows to sequences -----------------------------------------------------------------------------------------


def _add_steps(collector: Collector, raw: RawTable, columns: Columns, layout: Layout, clock: dict[str, float]) -> None:
    """Rows that are steps: every run of rows with one id and one label is a piece of a sequence."""
    values = channel_values(raw, columns.channels, layout.gaps)  # (N, C)
    ids, labels = (None if name is None else words(raw, name) for name in (columns.id, columns.label))  # (N,) each
    if columns.time is not None:
        check_order(raw, columns.time, ids, clock)
    N = len(values)
    begins = np.zeros(N, bool)  # (N,) whether a piece begins
    begins[0] = True
    for column in (ids, labels):
        if column is not None:
            begins[1:] |= column[1:] != column[:-1]
    edges = [*np.flatnonzero(begins).tolist(), N]
    for a, b in pairwise(edges):
        name = None if ids is None else _id(ids[a], raw, a)
        place = f"{raw.where(a)} of {raw.name}"
        collector.add(values[a:b], "1" if name is None else name, None if labels is None else labels[a], place)


def _add_sequences(
    collector: Collector, raw: RawTable, columns: Columns, layout: Layout, clock: dict[str, float]
) -> None:
    """Rows that are sequences of steps of P values; empty cells at the end make a sequence shorter."""
    P = layout.per_step or 1
    if len(columns.channels) % P:
        raise InputError(
            f"the columns of {printable(raw.name)} are not a whole number of steps",
            expected=f"a multiple of {P} columns",
            got=f"{len(columns.channels)}",
            fix="change --per-step, or name the columns with --channels",
        )
    values = channel_values(raw, columns.channels, gaps=True)  # (N, T·P)
    ids, labels = (None if name is None else words(raw, name) for name in (columns.id, columns.label))  # (N,) each
    for at, row in enumerate(values.reshape(len(values), -1, P)):
        there = np.flatnonzero(~np.isnan(row).all(axis=1))  # (·,) steps with a value
        kept = row[: there[-1] + 1] if len(there) else row[:0]  # (T_i, P)
        place = f"{raw.where(at)} of {raw.name}"
        name = None if ids is None else _id(ids[at], raw, at)
        collector.add(kept, name, None if labels is None else labels[at], place)


def _id(word: str | None, raw: RawTable, row: int) -> str:
    if word is None:
        raise DataError(f"{raw.where(row)} of {raw.name} does not say of which sequence it is", fix="fill in its id")
    return word


def words(raw: RawTable, name: str) -> Array:
    """A column as text, ``(N,)`` of str and None: only what is empty is missing, for a class may be called "none"."""
    column = raw.frame[name]
    if pd.api.types.is_float_dtype(column) and (column.dropna() % 1 == 0).all():
        column = column.astype("Int64")  # whole numbers, as frames have them where a column has a gap: 3.0 is 3
    text = column.astype("str").str.strip().to_numpy(object, copy=True)  # (N,)
    text[column.isna().to_numpy(bool) | (text == "")] = None
    return text


def label_type(raw: RawTable, name: str) -> LabelType:
    """What the labels in a column are.

    Raises:
        DataError: they are of types that do not go together.
    """
    column = raw.frame[name].dropna()
    found = LabelNames("row")
    for row, value in column.drop_duplicates().items():
        found.add(value, raw.where(int(row)))  # type: ignore[bad-argument-type]
    return found.finish(needed=False)[1]


def channel_values(raw: RawTable, names: Sequence[str], gaps: bool) -> Array:
    """Columns as numbers ``(N, C)``, NaN where one is missing.

    Raises:
        DataError: a cell that is no number, or without ``gaps`` one that is empty.
    """
    return np.stack([_channel(raw, name, gaps) for name in names], axis=1)


def _channel(raw: RawTable, name: str, gaps: bool) -> Array:
    """A column as numbers ``(N,)``, NaN where one is missing."""
    found = numbers(raw, name)
    wrong = found.wrong | (np.isinf(found.values) if gaps else ~np.isfinite(found.values))  # (N,)
    if wrong.any():
        row = int(wrong.argmax())
        missing = not found.wrong[row] and np.isnan(found.values[row])
        cell = "nothing" if missing else repr(printable(str(raw.frame[name].iloc[row])[:60]))
        why = "missing" if missing else "no number" if found.wrong[row] else "infinite"
        raise DataError(
            f"{raw.where(row)} of {raw.name}: the value of {printable(name)!r} is {why}",
            expected="a number in each row of each channel",
            got=cell,
            fix="fill it in, or take steps with missing values as they are with --gaps"
            if missing
            else "mend it, or leave the column out: name those that count with --channels (or --id, --label, --time)",
        )
    return found.values


def check_order(raw: RawTable, name: str, ids: Array | None, clock: dict[str, float]) -> None:
    """Refuses rows of a sequence whose time is before that of the row above it, or that have none.

    Args:
        raw: a block of rows.
        name: the column of the time.
        ids: the sequence of each row, ``(N,)``; None: they are of one.
        clock: the last time of each sequence so far.

    Raises:
        DataError: a row out of order; the message names its line.
    """
    found = numbers(raw, name)
    times = found.values  # (N,)
    if np.isnan(times).all():
        stamps = pd.to_datetime(raw.frame[name], errors="coerce", format="ISO8601")
        times = np.where(stamps.isna(), np.nan, stamps.astype("int64").to_numpy() / 1e9)  # (N,)
    for row, time in enumerate(times.tolist()):
        id = "" if ids is None else ids[row]
        if time != time or time < clock.get(id, time):
            raise DataError(
                f"{raw.where(row)} of {raw.name}: the time in {printable(name)!r} "
                + ("is neither a number nor a date" if time != time else "is before that of the row above it"),
                expected="numbers or ISO dates that rise within each sequence",
                got=repr(printable(str(raw.frame[name].iloc[row])[:60])),
                fix="sort the rows of each sequence by time",
            )
        clock[id] = time
