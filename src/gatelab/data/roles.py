"""What a user says about a table, and what a column of it became."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from gatelab.core.config import check_fields, require
from gatelab.core.errors import InputError


@dataclass(frozen=True)
class Roles:
    """What the user said about a table. Everything is optional: what is not said is found, and noted."""

    target: tuple[str, ...] = ()
    """Columns to forecast; found where only one column holds numbers."""
    time: str | None = None
    """Column of stamps; none: found by its content and name."""
    id: str | None = None
    """Column that names the series each row belongs to (long format)."""
    past: tuple[str, ...] | None = None
    """Covariates known up to now; ``*`` stands for every other usable column."""
    future: tuple[str, ...] = ()
    """Covariates known ahead of time, such as holidays or prices already set."""
    missing: tuple[str, ...] = ()
    """Codes that stand for "no value", such as -200; blank, NA, NaN, null, ? and - always do."""
    frequency: str | None = None
    """Step between rows as pandas writes it (5min, h, D, B, W, MS, QS, YS); rows: every row is the next step."""
    day_first: bool | None = None
    """Whether 03/04/2016 is the third of April; none: by evidence over the whole column."""
    time_zone: str | None = None
    """IANA zone of stamps without an offset, such as Europe/Vienna."""
    duplicates: Literal["error", "mean", "first", "last"] = "error"
    """What to make of rows of one series with the same stamp and different values."""
    decimal: Literal[".", ","] | None = None
    """Decimal mark of numbers in text files; none: by evidence."""

    def __post_init__(self) -> None:
        choices = ("error", "mean", "first", "last")
        require(self.duplicates in choices, "duplicates", f"one of {', '.join(choices)}", self.duplicates)
        require(self.decimal in (None, ".", ","), "decimal", '"." or ","', self.decimal)
        _one_role_each(self)
        if self.time_zone is not None:
            check_zone(self.time_zone)

    @property
    def named(self) -> tuple[str, ...]:
        """Every column that is named, in the order of targets, past and future covariates."""
        return tuple(name for name in (*self.target, *(self.past or ()), *self.future) if name != "*")


def _one_role_each(roles: Roles) -> None:
    seen: dict[str, str] = {}
    given = [("time", roles.time), ("id", roles.id)]
    given += [("target", name) for name in roles.target]
    given += [("past", name) for name in roles.past or ()] + [("future", name) for name in roles.future]
    for role, name in given:
        if name is None:
            continue
        if name in seen:
            raise InputError(
                f"column {name!r} is named twice", got=f"--{seen[name]} and --{role}", fix="give each column one role"
            )
        seen[name] = role


def check_zone(name: str) -> None:
    """Raises ``InputError`` unless ``name`` is a time zone."""
    try:
        pd.Timestamp(0, tz=name)
    except Exception as error:  # pandas raises what zoneinfo, pytz or dateutil raise
        raise InputError(
            f"there is no time zone {name!r}", expected="an IANA name such as Europe/Vienna or UTC", fix="--time-zone"
        ) from error


@dataclass(frozen=True)
class Column:
    """A column that a model sees."""

    name: str
    role: Literal["target", "past", "future"]
    kind: Literal["number", "category"] = "number"
    levels: tuple[str, ...] = ()
    """Category: every level seen in the table, sorted; a value is an index into it."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"name": self.name, "role": self.role, "kind": self.kind, "levels": list(self.levels)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Column:
        """What ``to_dict`` gave."""
        return check_fields(cls(values["name"], values["role"], values["kind"], tuple(values["levels"])))
