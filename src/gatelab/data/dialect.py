"""How a text file is written: encoding, delimiter, header, decimal mark; all found by evidence."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute

from gatelab.core.errors import DataError

pc: Any = pyarrow.compute  # its functions are made when it is imported: type checkers see none

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SPOKEN = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces", "": "nothing (one column)"}
_SAMPLE_LINES, _SAMPLE = 100, 1 << 20  # the first hundred lines, of a megabyte at most
_NUMBER = re.compile(r"[+-]?(\d[\d ,.']*|[.,]\d+)([eE][+-]?\d+)?%?")
_STAMP = re.compile(r"\d{1,4}[-/.]\d{1,2}([-/.]\d{1,4})?([T ]\d{1,2}:\d{2}.*)?")


@dataclass(frozen=True)
class Dialect:
    """Delimiter and header of a text file."""

    delimiter: str
    """One of ``, ; | tab space``, or empty for a single column."""
    header: bool
    names: tuple[str, ...]
    """The cells of the header as written; ``col_0``, ``col_1``, … where there is none."""

    @property
    def spoken(self) -> str:
        """The delimiter in a word."""
        return _SPOKEN[self.delimiter]

    @property
    def separator(self) -> str:
        """The character to parse by: a tab where runs of spaces stood, or where there is one column only."""
        return "\t" if self.delimiter in (" ", "") else self.delimiter

    def normalised(self, text: str) -> str:
        """``text`` with runs of spaces made into the separator, where spaces delimit."""
        if self.delimiter != " ":
            return text
        return "\n".join(re.sub(r"[ \t]+", "\t", line.strip()) for line in io.StringIO(text, newline=None))


def decode(name: str, content: bytes) -> tuple[str, str]:
    """The text of a file and its encoding.

    Raises:
        DataError: it is no text.
    """
    encoding = next((encoding for mark, encoding in _BOMS if content.startswith(mark)), None)
    if encoding is None:
        encoding = _wide_encoding(content[:4096]) or "utf-8"
    for candidate in (encoding, "cp1252", "latin-1"):
        try:
            text = content.decode(candidate)
        except UnicodeDecodeError:
            continue
        _refuse_binary(name, text[:65536])
        return text, candidate
    raise AssertionError("latin-1 decodes every byte")


def _wide_encoding(head: bytes) -> str | None:
    """UTF-16 without a mark: mostly Latin characters, so that every other byte is zero."""
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if max(even, odd) > 0.3 * len(head) / 2 and min(even, odd) < 0.02 * len(head):
        return "utf-16-be" if even > odd else "utf-16-le"
    return None


def _refuse_binary(name: str, head: str) -> None:
    controls = sum(1 for character in head if ord(character) < 32 and character not in "\t\n\r\f")
    if "\x00" in head or controls > 0.01 * len(head):
        raise DataError(
            f"{name} is a binary file, not a table",
            expected="text (CSV, TSV) or Parquet",
            fix="save or export the table as CSV",
        )


# ---- delimiter and header -------------------------------------------------------------------------------------


def without_preamble(text: str) -> tuple[str, int]:
    """``text`` without the comments and the ``sep=;`` that some programs write first, and how many lines these are."""
    skipped = start = last = 0
    while text.startswith(("#", "sep=", '"sep='), start) and (end := text.find("\n", start)) >= 0:
        skipped, last, start = skipped + 1, start, end + 1
    if not skipped or not text[start : start + _SAMPLE].strip():
        return text, 0
    rest = sniff(text[start:])
    heads = len(_cells([text[last:start]], rest.delimiter)[0]) == len(rest.names) > 1
    if heads and not rest.header and text.startswith("#", last):  # a header that begins with a hash
        return text[last:], skipped - 1
    return text[start:], skipped


def sniff(text: str) -> Dialect:
    """Delimiter and header, from the first hundred lines."""
    head = text if len(text) <= _SAMPLE else text[:_SAMPLE].rpartition("\n")[0] or text
    written = (line for line in io.StringIO(head, newline=None) if line.strip("\r\n"))
    lines = list(islice(written, _SAMPLE_LINES))
    delimiter = _delimiter(lines)
    first = _cells(lines, delimiter)[0]
    filled = [cell.strip() for cell in first if cell.strip()]
    header = not all(_NUMBER.fullmatch(cell) or _STAMP.fullmatch(cell) for cell in filled)
    header = header and not _dated(_cells(lines, delimiter))
    names = tuple(first) if header else tuple(f"col_{number}" for number in range(len(first)))
    return Dialect(delimiter, header, names)


_DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([T ]\d{1,2}:\d{2}.*)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}.*")


def _dated(rows: list[list[str]]) -> bool:
    """Whether the first row has a whole date in a column of dates: it is a row like the others, and names nothing."""
    full = [row for row in rows if len(row) == len(rows[0])]
    columns = ([row[at].strip() for row in full] for at in range(len(rows[0])))
    return len(full) > 2 and any(all(_DATE.fullmatch(cell) for cell in column) for column in columns)


def _cells(lines: list[str], delimiter: str) -> list[list[str]]:
    if delimiter == " ":
        return [line.split() for line in lines]
    return list(csv.reader(lines, delimiter=delimiter or "\t"))


def _delimiter(lines: list[str]) -> str:
    """The delimiter that gives the most lines the header's number of cells.

    The comma comes after the semicolon, since it may be a decimal mark between semicolons, and blanks come last,
    since they stand inside stamps.
    """
    best, best_share = "", 0.0
    for delimiter in ("\t", ";", "|", ",", " "):
        counts = [len(row) for row in _cells(lines, delimiter) if row]
        (modal, often), *_ = Counter(counts).most_common(1)
        share = often / len(counts) if modal == counts[0] else 1 / len(counts)
        if counts[0] > 1 and modal > 1 and share > best_share + 0.1:
            best, best_share = delimiter, share
    return best


def line_numbers(text: str, dialect: Dialect, skipped: int = 0, header: bool = False) -> list[int]:
    """The 1-based line on which each row begins, after ``skipped`` lines; blank lines are no rows."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=dialect.separator)
    numbers, begins = [], 1 + skipped
    for row in reader:
        if row:
            numbers.append(begins)
        begins = reader.line_num + 1 + skipped
    return numbers[0 if header or not dialect.header else 1 :]


# ---- decimal mark ---------------------------------------------------------------------------------------------

_COMMA_IS_DECIMAL = r"^\s*[+-]?(\d{4,},\d+|0+,\d+|\d*,(\d{1,2}|\d{4,})|\d{1,3}(\.\d{3})+,\d+)([eE][+-]?\d+)?\s*%?$"
_COMMA_GROUPS = r"^\s*[+-]?[1-9]\d{0,2}((,\d{3})+\.\d+|(,\d{3}){2,})\s*%?$"
_COMMA_EITHER = r"^\s*[+-]?[1-9]\d{0,2},\d{3}\s*%?$"
_POINT_IS_DECIMAL = r"^\s*[+-]?\d*\.(\d{1,2}|\d{4,})([eE][+-]?\d+)?\s*%?$"


def decimal_mark(frame: pd.DataFrame, delimiter: str) -> tuple[str, str]:
    """The decimal mark of a file's numbers, and why, where that is not plain to see.

    ``1,234`` alone may be a thousand or a fraction: other cells of the file decide, then the delimiter.
    """
    decimal = groups = either = 0
    columns = [pa.array(frame[name]) for name in frame]
    for column in columns:
        if pc.any(pc.match_substring(column, ",")).as_py():
            decimal, groups, either = (
                seen + pc.sum(pc.match_substring_regex(column, pattern)).as_py()
                for seen, pattern in (
                    (decimal, _COMMA_IS_DECIMAL),
                    (groups, _COMMA_GROUPS),
                    (either, _COMMA_EITHER),
                )
            )
    if decimal or groups:
        return (",", "") if decimal > groups else (".", "")
    if not either:
        return ".", ""
    if any(pc.any(pc.match_substring_regex(column, _POINT_IS_DECIMAL)).as_py() for column in columns):
        return ".", ""
    if delimiter == ";":
        return ",", "numbers such as 1,234 between semicolons are read as fractions; --decimal . reads thousands"
    return ".", "numbers such as 1,234 are read as thousands; --decimal , reads fractions"
