"""What labels were before they became names: models know names, and whoever gave 0 and 1 is given 0 and 1 back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NoReturn, get_args

import numpy as np
import pandas as pd

from gatelab.core.errors import DataError
from gatelab.data.wording import counted

LabelType = Literal["text", "int", "float", "bool"]
TYPES: tuple[LabelType, ...] = get_args(LabelType)
_SPOKEN = {"text": "text", "int": "a whole number", "float": "a number", "bool": "true or false"}
_MOST_NAMED = 5


def is_missing(value: Any) -> bool:
    """Whether a label is none: None, NaN, NaT, NA, or text without a character.

    >>> [is_missing(value) for value in (None, float("nan"), pd.NA, " ", 0, False, "nan")]
    [True, True, True, True, False, False, False]
    """
    if isinstance(value, str):
        return not value.strip()
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value))


def type_of(value: Any) -> LabelType:
    """The type of one label; anything that is no number and no truth value is text."""
    if isinstance(value, bool | np.bool_):
        return "bool"
    if isinstance(value, int | np.integer):
        return "int"
    return "float" if isinstance(value, float | np.floating) else "text"


class LabelNames:
    """Takes labels one by one, as they were given, and makes names of them.

    Args:
        of: what to call what is labelled, such as ``"text"``.
    """

    def __init__(self, of: str = "item"):
        self._of = of
        self._values: list[Any] = []
        self._known: dict[tuple[LabelType, Any], Any] = {}  # one object for all of a class
        self._first: dict[LabelType, tuple[str, Any]] = {}  # of each type, where and what
        self._missing: list[str] = []  # where

    def add(self, value: Any, place: str) -> None:
        """The next label; ``place`` says where it stands."""
        if is_missing(value):
            self._values.append(None)
            self._missing.append(place)
            return
        kind = type_of(value)
        if kind == "text":
            _refuse_half_a_character(str(value), place)
        value = value.item() if isinstance(value, np.generic) else value
        self._values.append(self._known.setdefault((kind, value), value))
        self._first.setdefault(kind, (place, value))

    def finish(self, needed: bool, expected: str = "", fix: str = "") -> tuple[list[str | None], LabelType]:
        """The names, None where a label is missing, and the type of all.

        Args:
            needed: whether every item must have a label.
            expected: and what to say is expected otherwise.
            fix: and how it is mended.

        Raises:
            DataError: a label is missing that is needed, or labels are of types that do not go together.
        """
        if needed and self._missing:
            self._refuse_missing(expected, fix)
        kind: LabelType = next(iter(self._first), "text")
        if len(self._first) > 1:
            if set(self._first) != {"int", "float"}:
                self._refuse_mixed()
            kind = "float"
        convert: Callable[[Any], Any] = float if kind == "float" else str
        return [None if value is None else str(convert(value)).strip() for value in self._values], kind

    def _refuse_missing(self, expected: str, fix: str) -> NoReturn:
        first, *others = self._missing
        more = f": {'; '.join(others[: _MOST_NAMED - 1])}" + (" …" if len(others) >= _MOST_NAMED else "")
        raise DataError(
            f"{first} has no label" + (f", and {counted(len(others), 'other')} have none{more}" if others else ""),
            expected=expected or f"a label for every {self._of}",
            got=f"{counted(len(self._missing), self._of)} without a label, of {len(self._values):,}",
            fix=fix or f"give each a label, or leave these {self._of}s out",
        )

    def _refuse_mixed(self) -> NoReturn:
        (one, a), (two, b) = list(self._first.values())[:2]
        raise DataError(
            f"the labels are of different types: {a!r} in {one}, {b!r} in {two}",
            expected="labels of one type: text, whole numbers, numbers, or true and false",
            got=" and ".join(_SPOKEN[kind] for kind in self._first),
            fix="write them in one way, such as labels = [str(label) for label in labels]",
        )


def _refuse_half_a_character(text: str, place: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{place} has a label that is no text",
            expected="characters",
            got=f"half a surrogate pair in {text[:40]!a}",
            fix="write the label in UTF-8",
        ) from error


def names_of(labels: Any, of: str, place: Callable[[int], str] | None = None) -> tuple[list[str], LabelType]:
    """Labels from Python as names, and their type.

    Args:
        labels: a sequence, array or Series.
        of: what to call what is labelled.
        place: from a number, counted from 1, to what a person calls the item.

    Raises:
        DataError: a label is missing, or they are of types that do not go together.
    """
    found = LabelNames(of)
    for number, value in enumerate(_listed(labels), 1):
        found.add(value, place(number) if place else f"{of} {number:,}")
    names, kind = found.finish(needed=True)
    return [name for name in names if name is not None], kind


def _listed(labels: Any) -> Iterable[Any]:
    """The labels as objects, none made another type; a column ``(N, 1)`` is taken for ``(N,)``."""
    if isinstance(labels, pd.Series | pd.Categorical | pd.Index):
        return list(labels)
    if isinstance(labels, Sequence) and not isinstance(labels, str):
        return labels
    return np.asarray(labels).ravel().tolist()


def typed(names: Iterable[str], kind: LabelType) -> list[Any]:
    """Names as the labels that they were.

    >>> typed(["0", "1"], "int"), typed(["False", "True"], "bool"), typed(["0.5"], "float")
    ([0, 1], [False, True], [0.5])
    """
    convert: dict[LabelType, Callable[[str], Any]] = {
        "text": str, "int": int, "float": float, "bool": lambda name: name == "True"
    }  # fmt: skip
    return [convert[kind](name) for name in names]


def as_given(names: Sequence[str | None], kind: LabelType) -> list[Any]:
    """As ``typed``; None where there is no label."""
    return [None if name is None else typed([name], kind)[0] for name in names]
