"""Which columns a model sees, and their values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from gatelab.core.errors import DataError, InputError, nearest
from gatelab.data.names import known_as, said_renamed, said_unseen
from gatelab.data.reading import RawTable
from gatelab.data.roles import Column, Roles
from gatelab.data.timeline import Timeline
from gatelab.data.values import (
    MOST_LEVELS,
    Numbers,
    codes_of,
    count_code,
    levels,
    numbers,
    refuse_infinite,
    refuse_mistakes,
    text_cells,
)

Array = np.ndarray


@dataclass(frozen=True)
class Chosen:
    """Columns with their roles, and the values of every row in the order of the file."""

    columns: tuple[Column, ...]
    values: Array
    """(T, C) float64"""
    notes: tuple[str, ...] = ()


def choose(raw: RawTable, roles: Roles, timeline: Timeline) -> Chosen:
    """Gives every column its role and reads the values of those a model sees.

    Raises:
        InputError: a column that does not exist.
        DataError: no column of numbers, several without a word which is the target, a target of text, a cell that
            holds no number or an infinite one, a column without values.
    """
    _check_names(raw, roles, timeline)
    used = {*timeline.columns, roles.id}
    notes: list[str] = []
    targets = roles.target or (_only_target(raw, roles, used, notes),)
    read = [_target(raw, roles, name) for name in targets]
    for role, names in (("past", roles.past or ()), ("future", roles.future)):
        read += [_named(raw, roles, name, role, notes) for name in names if name != "*"]
        if "*" in names:
            taken = used | {*targets, *roles.named}
            read += _others(raw, roles, [name for name in raw.frame.columns if name not in taken], notes)
    columns = tuple(column for column, _ in read)
    notes = [*_codes_found(raw, roles, columns), *notes]
    return Chosen(columns, _stacked(raw, read), tuple(notes))


def _stacked(raw: RawTable, read: list[tuple[Column, Array]]) -> Array:
    """The columns side by side, ``(T, C)``; cells that are numbers now are let go of, and each column once copied."""
    raw.forget([column.name for column, _ in read if column.kind == "number"], cells=True)
    found = np.empty((len(read[0][1]), len(read)))  # (T, C)
    for place in range(len(read)):
        found[:, place] = read.pop(0)[1]
    return found


def choose_like(raw: RawTable, roles: Roles, columns: tuple[Column, ...]) -> Chosen:
    """The values of ``columns`` as they were read before: the same levels, nothing guessed.

    Raises:
        DataError: a column is missing.
    """
    have = raw.frame.columns
    for name in [*(column.name for column in columns), *([roles.id] if roles.id else [])]:
        if name not in have:
            raise DataError(
                f"{raw.name} has no column {name!r}, which the model was trained with",
                got=f"columns {', '.join(list(have)[:12])}",
                fix=f"add the column {name!r}, or train a model without it",
            )
    notes: list[str] = []
    read = []
    for column in columns:
        if column.kind == "number":
            read.append((column, _checked(raw, column.name, numbers(raw, column.name, roles.missing))))
            continue
        cells = text_cells(raw, column.name, roles.missing)
        found = cells.drop_null().unique().to_pylist()
        renamed = known_as(found, column.levels)
        notes += said_renamed(column.name, renamed)
        unseen = sorted(set(found) - set(renamed))
        notes += said_unseen(column.name, unseen, column.levels, "taken as missing")
        read.append((column, codes_of(cells, column.levels, renamed)))
    return Chosen(columns, _stacked(raw, read), tuple(notes))


def _codes_found(raw: RawTable, roles: Roles, columns: tuple[Column, ...]) -> list[str]:
    """How often each code that the user gave stands in the columns used."""
    notes = []
    for code in roles.missing:
        counts = {column.name: count_code(raw, column.name, code) for column in columns}
        found = [f"{name} ({count:,})" for name, count in counts.items() if count]
        shown = ", ".join(found[:6]) + (", …" if len(found) > 6 else "")
        notes.append(f"{code} read as missing in {shown}" if found else f"no cell of the columns used holds {code}")
    return notes


def _check_names(raw: RawTable, roles: Roles, timeline: Timeline) -> None:
    known = [name for name in raw.frame.columns if name not in timeline.columns]
    given = [("target", name) for name in roles.target] + [("id", roles.id)]
    given += [("past", name) for name in roles.past or ()] + [("future", name) for name in roles.future]
    for role, name in given:
        if name is None or (role == "past" and name == "*") or name in known:
            continue
        if name in timeline.columns:
            raise InputError(f"column {name!r} holds the time and cannot be --{role} too", fix=f"change --{role}")
        raise InputError(
            f"{raw.name} has no column {name!r}",
            expected=f"one of {', '.join(known[:12])}{', …' if len(known) > 12 else ''}",
            fix=f"did you mean {nearest(name, known)}? Change --{role}",
        )


# ---- the target -----------------------------------------------------------------------------------------------


def _only_target(raw: RawTable, roles: Roles, used: set[str | None], notes: list[str]) -> str:
    """The one column of numbers there is."""
    free = [name for name in raw.frame.columns if name not in used and name not in roles.named]
    found = {name: numbers(raw, name, roles.missing) for name in free}
    numeric = [name for name in free if found[name].usable or (_some(found[name]) and found[name].mostly)]
    counting = [name for name in numeric if _counts_rows(found[name].values)]
    numeric = [name for name in numeric if name not in counting] or numeric
    if len(numeric) == 1:
        notes.append(f"target: {numeric[0]}, the only column of numbers")
        return numeric[0]
    if not numeric:
        raise DataError(
            f"{raw.name} has no column of numbers to forecast",
            got=f"columns {', '.join(list(raw.frame.columns)[:12])}",
            fix="check the delimiter and decimal mark of the file, or name a column with --target",
        )
    raise DataError(
        f"{raw.name} has {len(numeric)} columns of numbers: which one shall be forecast?",
        got=", ".join(numeric[:12]) + (", …" if len(numeric) > 12 else ""),
        fix=f"name it, as in --target {numeric[-1]!r}",
    )


def _some(found: Numbers) -> bool:
    return not np.isnan(found.values).all()


def _counts_rows(values: Array) -> bool:
    """Whether a column just counts the rows, as ``No`` or ``index`` do."""
    return len(values) > 2 and bool((np.diff(values) == 1).all()) and values[0] in (0, 1)


def _target(raw: RawTable, roles: Roles, name: str) -> tuple[Column, Array]:
    found = numbers(raw, name, roles.missing)
    if found.wrong.any() and not (_some(found) and found.mostly):
        row = int(found.wrong.argmax())
        raise DataError(
            f"the target {name!r} of {raw.name} holds text, and a forecast needs numbers",
            got=f"{str(raw.frame[name].iloc[row])[:60]!r} in {raw.where(row)}",
            fix="name a column of numbers with --target",
        )
    values = _checked(raw, name, found)
    present = values[~np.isnan(values)]
    if not len(present):
        raise DataError(f"the target {name!r} of {raw.name} has no values: every cell is missing")
    if len(present) > 1 and (present == present[0]).all():
        raise DataError(
            f"the target {name!r} of {raw.name} never changes: there is nothing to forecast",
            got=f"{present[0]:g} in every row",
            fix="name another column with --target",
        )
    return Column(name, "target"), values


def _checked(raw: RawTable, name: str, found: Numbers) -> Array:
    if found.wrong.any():
        refuse_mistakes(raw, name, found)
    refuse_infinite(raw, name, found.values)
    return found.values


# ---- covariates -----------------------------------------------------------------------------------------------


def _named(raw: RawTable, roles: Roles, name: str, role, notes: list[str]) -> tuple[Column, Array]:
    """A covariate the user asked for: what makes it unusable is an error."""
    found = numbers(raw, name, roles.missing)
    if found.wrong.any() and not (_some(found) and found.mostly):
        cells = text_cells(raw, name, roles.missing)
        known = levels(cells)
        if known is None:
            raise DataError(
                f"column {name!r} of {raw.name} holds text with {len(cells.drop_null().unique())} different values",
                expected=f"numbers, or at most {MOST_LEVELS} levels, each seen twice or more on average",
                fix=f"leave {name!r} out, or group its values",
            )
        notes.append(f"{name}: category with {len(known)} levels ({', '.join(known[:6])}{', …' * (len(known) > 6)})")
        return Column(name, role, "category", known), codes_of(cells, known)
    if not _some(found):
        raise DataError(f"column {name!r} of {raw.name} has no values: every cell is missing", fix="leave it out")
    return Column(name, role), _checked(raw, name, found)


def _others(raw: RawTable, roles: Roles, names: list[str], notes: list[str]) -> list[tuple[Column, Array]]:
    """Every usable column: what makes one unusable is a note."""
    read, left_out = [], []
    for name in names:
        found = numbers(raw, name, roles.missing)
        why = _useless(raw, roles, name, found)
        if why:
            left_out.append(f"{name} ({why})")
        else:
            read.append(_named(raw, roles, name, "past", notes))
    if left_out:
        notes.append(f"left out: {', '.join(left_out)}")
    return read


def _useless(raw: RawTable, roles: Roles, name: str, found: Numbers) -> str:
    """Why a column is of no use as a covariate; empty where it is of use."""
    if pd.api.types.is_datetime64_any_dtype(raw.frame[name]):
        return "dates"
    if found.wrong.any() and not (_some(found) and found.mostly):
        cells = text_cells(raw, name, roles.missing)
        if levels(cells) is None:
            return f"text with {len(cells.drop_null().unique()):,} different values"
        return "" if len(levels(cells) or ()) > 1 else "constant"
    present = found.values[~np.isnan(found.values)]
    if not len(present):
        return "no values"
    if not found.wrong.any() and (present == present[0]).all():
        return "constant"
    return "counts the rows" if _counts_rows(found.values) else ""
