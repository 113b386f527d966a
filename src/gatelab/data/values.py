"""Cells → numbers and levels: missing-value codes, decimal marks, thousands, booleans, categories."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute

from gatelab.core.errors import DataError
from gatelab.data.reading import RawTable
from gatelab.data.wording import counted

pc: Any = pyarrow.compute  # its functions are made when it is imported: type checkers see none

Array = np.ndarray

MISSING = ("", "na", "n/a", "#n/a", "#na", "<na>", "nan", "nat", "null", "(null)", "nil", "none", "?", "-", "--", ".")
"""Cells without a value, whatever their case."""
MOST_LEVELS = 50
_MOSTLY = 0.9  # a column with this share of numbers is a column of numbers with mistakes in it


def text_cells(raw: RawTable, name: str, codes: tuple[str, ...] = ()) -> pa.Array:
    """Column ``name`` as text, trimmed, with every code for "no value" made null. (T,)"""
    key = (name, codes, "text")
    if key not in raw.parsed:
        raw.parsed[key] = clean(raw.frame[name], codes)
    return raw.parsed[key]


def clean(column: pd.Series, codes: tuple[str, ...] = ()) -> pa.Array:
    """A column as text, trimmed, with every code for "no value" made null. (T,)"""
    values = pa.array(column.astype("str") if column.dtype != "str" else column, from_pandas=True)
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    trimmed = pc.utf8_trim_whitespace(values)
    if pc.sum(pc.binary_length(trimmed)) != pc.sum(pc.binary_length(values)):
        values = trimmed
    del trimmed  # most often a copy of a long column
    words = [*MISSING, *(code.strip().lower() for code in codes)]
    longest = max(map(len, words))
    if not pc.any(pc.less_equal(pc.utf8_length(values), longest)).as_py():
        return values  # a long column of stamps need not be written in lower case to see that none is missing
    known = pa.array(words, type=values.type)
    return pc.if_else(pc.is_in(pc.utf8_lower(values), value_set=known), pa.scalar(None, values.type), values)


class Numbers(NamedTuple):
    """A column read as numbers."""

    values: Array  # (T,) float64, NaN where missing or no number
    wrong: Array  # (T,) bool, cells that hold something other than a number

    @property
    def usable(self) -> bool:
        """Whether every cell that holds anything holds a number."""
        return not self.wrong.any() and not np.isnan(self.values).all()

    @property
    def mostly(self) -> bool:
        """Whether this is a column of numbers in which a few cells are mistakes."""
        return bool(self.wrong.sum() <= (1 - _MOSTLY) * (~np.isnan(self.values) | self.wrong).sum())


def numbers(raw: RawTable, name: str, codes: tuple[str, ...] = ()) -> Numbers:
    """Column ``name`` as numbers; ``true`` and ``false`` are 1 and 0. Parsed once, so not to be written to."""
    key = (name, codes)
    if key not in raw.parsed:
        raw.parsed[key] = _numbers(raw, name, codes)
    return raw.parsed[key]


def _numbers(raw: RawTable, name: str, codes: tuple[str, ...]) -> Numbers:
    column = raw.frame[name]
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        values = column.to_numpy(dtype=float, na_value=np.nan).copy()
        values[np.isin(values, _number_codes(codes))] = np.nan
        return Numbers(values, np.zeros(len(values), bool))
    if pd.api.types.is_datetime64_any_dtype(column) or pd.api.types.is_timedelta64_dtype(column):
        return Numbers(np.full(len(column), np.nan), np.ones(len(column), bool))
    if raw.decimal == "." and column.dtype == "str":
        cells = pa.array(column, from_pandas=True)
        try:  # the common case, at once: every cell a plain number
            pc.cast(cells[:100], pa.float64())  # the cast of a long column goes on to its end before it fails
            values = _to_numpy(pc.cast(cells, pa.float64()))
            values[np.isin(values, _number_codes(codes))] = np.nan
            return Numbers(values, np.zeros(len(values), bool))
        except pa.ArrowInvalid:
            pass
    cells = text_cells(raw, name, codes)
    if not _any_number(cells, raw.decimal):
        return Numbers(np.full(len(cells), np.nan), cells.is_valid().to_numpy(zero_copy_only=False))
    values = _parse(cells, raw.decimal)
    wrong = np.isnan(values) & cells.is_valid().to_numpy(zero_copy_only=False)
    values[np.isin(values, _number_codes(codes))] = np.nan
    return Numbers(values, wrong)


def _any_number(cells: pa.Array, decimal: str) -> bool:
    """Whether a thousand cells from all over the column hold a number: no need to try every word of a text."""
    sample = cells.drop_null()
    sample = sample.take(pa.array(np.linspace(0, len(sample) - 1, min(len(sample), 1000)).astype("int64")))
    return not bool(np.isnan(_parse(sample, decimal)).all())


def numbers_among(column: pd.Series, decimal: str) -> bool:
    """Whether a short column of text has a cell that is a number, or none that is anything."""
    cells = clean(column).drop_null()
    return not len(cells) or not bool(np.isnan(_parse(cells, decimal)).all())


def _number_codes(codes: tuple[str, ...]) -> Array:
    """The codes that are numbers: ``-200`` also stands for a cell written ``-200.0``."""
    if not codes:
        return np.empty(0)
    return pd.to_numeric(pd.Series(codes, dtype=object), errors="coerce").dropna().to_numpy(float)


def _parse(cells: pa.Array, decimal: str) -> Array:
    if decimal == ".":
        try:
            return _to_numpy(pc.cast(cells, pa.float64()))
        except pa.ArrowInvalid:
            pass  # thousands, booleans, mistakes: the slower way below tells them apart
    plain = _plain(cells, "," if decimal == "," else ".")
    if decimal == "," and not pc.any(pc.match_substring(cells, ",")).as_py():
        pointed = _plain(cells, ".")  # a column that keeps to the point in a file of commas
        plain = pc.if_else(pc.is_valid(plain), plain, pointed) if _keeps_to_point(cells) else plain
    return _to_numpy(pc.cast(plain, pa.float64()))


def _to_numpy(values: pa.Array) -> Array:
    return values.to_numpy(zero_copy_only=False).astype(float)  # a copy that may be written to


def _keeps_to_point(cells: pa.Array) -> bool:
    grouped = pc.match_substring_regex(cells, r"^[+-]?\d{1,3}(\.\d{3})*$")
    return not pc.all(grouped).as_py()


def _plain(cells: pa.Array, decimal: str) -> pa.Array:
    """Numbers as Arrow casts them, null where a cell is none."""
    text = pc.replace_substring_regex(pc.utf8_lower(cells), r"^−", "-")
    for word, digit in (("true", "1"), ("false", "0")):
        text = pc.if_else(pc.equal(text, word), digit, text)
    for _ in range(3):  # blanks and apostrophes between groups; neighbouring groups share a digit
        text = pc.replace_substring_regex(text, "(\\d)[ \u00a0\u202f'’](\\d{3})", r"\1\2")
    mark, group = ("\\.", ",") if decimal == "." else (",", "\\.")
    number = rf"^[+-]?(\d{{1,3}}({group}\d{{3}})+|\d+)?({mark}\d*)?(e[+-]?\d+)?%?$|^[+-]?(inf|infinity)$"
    text = pc.if_else(pc.match_substring_regex(text, number), text, pa.scalar(None, text.type))
    text = pc.replace_substring(text, group.strip("\\"), "")
    text = pc.replace_substring(pc.replace_substring(text, ",", "."), "%", "")
    has_digit = pc.match_substring_regex(text, r"\d|inf")
    return pc.if_else(has_digit, text, pa.scalar(None, text.type))


def count_code(raw: RawTable, name: str, code: str) -> int:
    """How many cells of a column hold ``code``, as text or as the same number."""
    values = numbers(raw, name).values
    as_number = np.isin(values, _number_codes((code,)))  # (T,)
    column = raw.frame[name]
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return int(as_number.sum())
    cells = pc.utf8_lower(text_cells(raw, name))
    return int((as_number | _is(cells, code.strip().lower())).sum())


def _is(cells: pa.Array, text: str) -> Array:
    return pc.fill_null(pc.equal(cells, text), False).to_numpy(zero_copy_only=False)


LARGEST = 1e100
"""Of a value: squares and sums of larger ones are infinite, and no unit of measurement needs them."""


def refuse_infinite(raw: RawTable, name: str, values: Array) -> None:
    """Raises ``DataError`` naming the first row whose value is infinite, or too large to compute with."""
    wrong = np.abs(values) > LARGEST  # (T,) False where missing
    if wrong.any():
        row = int(np.argmax(wrong))
        what = counted(int(wrong.sum()), "infinite value" if np.isinf(values[row]) else "value")
        beyond = "" if np.isinf(values[row]) else f" beyond ±{LARGEST:g}"
        cell = f"{values[row]:g}"
        raise DataError(
            f"column {name!r} of {raw.name} holds {what}{beyond}",
            got=f"{cell} in {raw.where(row)}",
            fix=f"mend these cells, or read them as missing with --missing {cell}",
        )


def refuse_mistakes(raw: RawTable, name: str, found: Numbers) -> None:
    """Raises ``DataError`` naming the first cell of a column of numbers that is none."""
    row = int(np.argmax(found.wrong))
    cell = str(raw.frame[name].iloc[row])
    raise DataError(
        f"column {name!r} of {raw.name} holds numbers, except {counted(int(found.wrong.sum()), 'cell')}",
        got=f"{cell[:60]!r} in {raw.where(row)}",
        fix=f"mend these cells, or read them as missing with --missing {cell[:60]!r}",
    )


def levels(cells: pa.Array) -> tuple[str, ...] | None:
    """The levels of a column of text, sorted; ``None`` where it has too many to be a category."""
    found = sorted(pc.unique(cells.drop_null()).to_pylist())
    if not found or len(found) > min(MOST_LEVELS, max(len(cells) // 2, 2)):
        return None
    return tuple(found)


def codes_of(cells: pa.Array, known: tuple[str, ...], called: Mapping[str, str] | None = None) -> Array:
    """Each cell as an index into ``known``, NaN where missing or not among them. (T,)

    Args:
        cells: text.
        known: the levels.
        called: which level a cell stands for, where that is not for each the level of its own name.
    """
    called = {level: level for level in known} if called is None else called
    written = pa.array(list(called), type=cells.type)
    codes = np.array([*map(known.index, called.values()), np.nan])  # (levels,) and what is none
    found = pc.fill_null(pc.index_in(cells, value_set=written), len(called))
    return codes[found.to_numpy(zero_copy_only=False)]  # (T,)
