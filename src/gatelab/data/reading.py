"""Files and frames → one table of cells, nothing interpreted yet.

A text file becomes a table of text cells, so that a later error can show a cell as it stands in the file. Parquet
files and DataFrames keep the types they come with.
"""

from __future__ import annotations

import csv
import gzip
import io
import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from gatelab.core.errors import DataError, InputError
from gatelab.data.dialect import Dialect, decimal_mark, decode, line_numbers, sniff, without_preamble
from gatelab.data.sources import resolve
from gatelab.data.unpacking import check_size, read_all
from gatelab.data.wording import counted

_EXCEL = ".xlsx", ".xls", ".xlsm", ".ods"
_LARGE = 1 << 24  # bytes of a text file above which it is not kept beside its cells


@dataclass(frozen=True)
class RawTable:
    """The cells of a source, before columns get their roles."""

    name: str
    """What to call the source in messages."""
    frame: pd.DataFrame
    """Text cells of a text file; typed columns of anything else. Column names are unique strings."""
    where: Callable[[int], str]
    """From a row's position in ``frame`` to what a person calls it, such as ``"line 13"``."""
    decimal: str = "."
    """Decimal mark of numbers that are written as text."""
    notes: tuple[str, ...] = ()
    """How the file was read, where it was not plain UTF-8 with commas and a header."""
    parsed: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)
    """Columns parsed so far, so that looking for roles does not parse one twice."""

    def forget(self, names: Collection[str], cells: bool = False) -> None:
        """Lets go of what was parsed of these columns, or of their cells, too: a long table is held once at most."""
        for key in [key for key in self.parsed if key[0] in names]:
            del self.parsed[key]
        for name in names if cells else ():
            del self.frame[name]
        pa.default_memory_pool().release_unused()


def read_raw(source: str | os.PathLike[str] | pd.DataFrame | pd.Series, decimal: str | None = None) -> RawTable:
    """Reads a path, the name of a data set, or a pandas object.

    Args:
        source: CSV, TSV or text (also ``.gz``, or ``.zip`` with one member), Parquet, a data set's name, a frame.
        decimal: decimal mark, ``"."`` or ``","``; found by evidence when not given.

    Raises:
        InputError: there is no such file or data set, or it is a folder or of a kind that is not read.
        DataError: the file is empty, binary, or its rows are ragged.
    """
    if isinstance(source, (pd.DataFrame, pd.Series)):
        return _from_frame(source.to_frame() if isinstance(source, pd.Series) else source, "the table")
    if not isinstance(source, (str, os.PathLike)):
        raise InputError(
            "this is not a table", expected="a path, a data set's name or a DataFrame", got=type(source).__name__
        )
    path = _resolve(source)
    name, content = _content(path)
    if content[:4] == b"PAR1":
        return _from_parquet(content, name)
    _refuse_foreign(name, content)
    written, body = _written(name, content)
    again = content if len(content) < _LARGE else None  # a large file is read once more where a line must be named
    if again is None and body is content and _is_content(path, content):
        body = path  # parsed piece by piece, not held beside its cells
    del content
    text = lambda: written.text(_content(path)[1] if again is None else again)  # noqa: E731
    table = _parse(name, body, written, text)
    del body
    return _from_text(name, table, written, text, decimal)


def _resolve(source: str | os.PathLike[str]) -> Path:
    path = resolve(os.fspath(source))
    if path.is_dir():
        files = sorted(entry.name for entry in path.iterdir() if entry.is_file())[:8]
        raise InputError(
            f"{path} is a folder, not a table",
            got=f"a folder with {', '.join(files)}" if files else "a folder without files",
            fix="name one file in it",
        )
    return path


def _content(path: Path) -> tuple[str, bytes]:
    """The file's name and bytes, unpacked."""
    try:
        with path.open("rb") as file:
            head, packed = file.read(4), os.fstat(file.fileno()).st_size
        if head[:2] == b"\x1f\x8b":
            with gzip.open(path, "rb") as stream:
                return path.name, read_all(stream, packed, path.name)
        if head == b"PK\x03\x04" and path.suffix.lower() not in _EXCEL:
            return _only_member(path, packed)
        content = path.read_bytes()
    except (zipfile.BadZipFile, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path.name} cannot be unpacked: it may have been cut short", got=error) from error
    except (RuntimeError, NotImplementedError) as error:  # what zipfile raises for encryption and odd compressions
        raise DataError(f"{path.name} cannot be unpacked", got=error, fix="unpack it by hand") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read", got=error.strerror or error) from error
    return path.name, content


def _is_content(path: Path, content: bytes) -> bool:
    """Whether ``content`` is what the file holds, nothing unpacked."""
    with path.open("rb") as file:
        return path.stat().st_size == len(content) and content.startswith(file.read(4096))


def _only_member(path: Path, packed: int) -> tuple[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        members = [entry for entry in archive.namelist() if not entry.endswith("/") and "__MACOSX" not in entry]
        if "[Content_Types].xml" in members:  # a workbook by another name
            return path.name, path.read_bytes()
        if len(members) != 1:
            raise InputError(
                f"{path.name} holds {len(members)} files, and a table is one",
                got=", ".join(members[:8]),
                fix="unpack it and name the file",
            )
        name = f"{path.name} ({members[0]})"
        with archive.open(members[0]) as stream:
            return name, read_all(stream, packed, name)


def _refuse_foreign(name: str, content: bytes) -> None:
    """Refuses what is no text: better named for what it is than read as noise."""
    if content[:4] == b"PK\x03\x04" or content[:8] == bytes.fromhex("d0cf11e0a1b11ae1"):
        raise DataError(
            f"{name} is a spreadsheet, which gatelab does not read", fix="save it as CSV from the spreadsheet program"
        )
    if not content[:65536].strip(b"\xef\xbb\xbf\xff\xfe \t\r\n\x00"):
        raise DataError(f"{name} is empty", expected="a table with a header and rows")


# ---- text -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Written:
    """How a text file is written, and where its table begins."""

    encoding: str
    dialect: Dialect
    skipped: int
    """Lines before the table."""
    quoted: bool
    """Whether there are quotes, and so perhaps cells of several lines."""

    def text(self, content: bytes) -> str:
        """The table, from the file's bytes."""
        return without_preamble(content.decode(self.encoding))[0]


def _written(name: str, content: bytes) -> tuple[_Written, bytes]:
    """How the file is written, and its table as UTF-8, in which a separator stands between cells."""
    text, encoding = decode(name, content)
    try:
        text, skipped = without_preamble(text)
        dialect = sniff(text)
    except csv.Error as error:  # a cell of more than 131,072 characters
        raise DataError(f"{name} cannot be read as a table", got=error) from error
    as_it_is = encoding.startswith("utf-8") and not skipped and dialect.delimiter != " "
    body = content if as_it_is else dialect.normalised(text).encode()
    return _Written(encoding, dialect, skipped, '"' in text), body


def _from_text(name: str, table: pa.Table, written: _Written, text: Callable[[], str], decimal: str | None) -> RawTable:
    dialect = written.dialect
    names, notes = _column_names(name, table.column_names, dialect.header)
    frame = table.rename_columns(names).to_pandas()
    frame, dropped = _without_empty(frame, names)
    if frame.empty:
        raise DataError(f"{name} has a header and no rows", got=f"columns {', '.join(names[:8])}")
    mark, why = (decimal, "given") if decimal else decimal_mark(frame, dialect.delimiter)
    notes = _dialect_notes(written.encoding, dialect, mark, why, written.skipped) + notes + dropped
    positions = frame.index
    lines: list[int] = []

    def where(row: int) -> str:
        if not lines:  # counted only when an error or a note needs it
            lines.extend(line_numbers(text(), dialect, written.skipped))
        return f"line {lines[int(positions[row])]}"

    return RawTable(name, frame.reset_index(drop=True), where, mark, tuple(notes))


def _parse(name: str, body: bytes | Path, written: _Written, text: Callable[[], str]) -> pa.Table:
    dialect = written.dialect
    ragged: list[Any] = []

    def refuse(row: Any) -> str:
        ragged.append(row)
        return "skip"

    options = {
        "read_options": pa.csv.ReadOptions(
            use_threads=False, block_size=1 << 22, column_names=None if dialect.header else dialect.names
        ),
        "parse_options": pa.csv.ParseOptions(
            delimiter=dialect.separator, newlines_in_values=written.quoted, invalid_row_handler=refuse
        ),
        "convert_options": pa.csv.ConvertOptions(
            # The type that pandas keeps text in, so that it need not be copied.
            column_types=dict.fromkeys(dialect.names, pa.large_string()),
            strings_can_be_null=False,
        ),
    }
    try:
        table = pa.csv.read_csv(pa.BufferReader(body) if isinstance(body, bytes) else body, **options)
    except pa.ArrowInvalid as error:
        raise DataError(f"{name} cannot be read as a table", got=str(error).splitlines()[0]) from error
    if ragged:
        row = ragged[0]
        line = line_numbers(text(), dialect, written.skipped, header=True)[row.number - 1]
        cells = counted(row.actual_columns, "cell")
        raise DataError(
            f"line {line} of {name} has {cells} where the first has {row.expected_columns}",
            expected=f"{row.expected_columns} in each line, separated by {dialect.spoken}",
            got=str(row.text)[:80],
            fix="mend or remove that line" + (f" (and {len(ragged) - 1} more)" if len(ragged) > 1 else ""),
        )
    return table


def _column_names(name: str, given: list[str], header: bool) -> tuple[list[str], list[str]]:
    """Unique names: cells of the header without blanks, ``col_N`` where it has none."""
    names = [entry.strip() or f"col_{number}" for number, entry in enumerate(given)]
    twice = [entry for entry, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"{name} has two columns called {twice[0]!r}", fix="give each column a name of its own")
    notes = []
    if not header:
        called = f"columns are called {names[0]} to {names[-1]}" if len(names) > 1 else f"column is called {names[0]}"
        notes = [f"no header: the {called}"]
    return names, notes


def _without_empty(frame: pd.DataFrame, names: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """Drops nameless columns and whole rows without a single character, as spreadsheets append them."""
    notes = []
    nameless = [name for name in names if name.startswith("col_") and (frame[name] == "").all()]
    if nameless and len(nameless) < len(names):
        frame = frame.drop(columns=nameless)
        notes.append(f"{counted(len(nameless), 'empty column')} without a name left out")
    if len(frame.columns) > 1:
        blank = (frame == "").all(axis=1)
        if blank.any():
            frame = frame[~blank]
            notes.append(f"{counted(int(blank.sum()), 'row')} without any cell filled left out")
    return frame, notes


def _dialect_notes(encoding: str, dialect: Dialect, mark: str, why: str, skipped: int) -> list[str]:
    parts = []
    if dialect.delimiter not in (",", ""):
        parts.append(f"columns separated by {dialect.spoken}")
    if mark == ",":
        parts.append(f"decimal comma ({why})" if why else "decimal comma")
    elif why and why != "given":
        parts.append(f"decimal point ({why})")
    if encoding not in ("utf-8", "utf-8-sig"):
        parts.append(f"encoding {encoding}")
    if skipped:
        parts.append(f"{counted(skipped, 'line')} before the table left out")
    return [f"file read with {', '.join(parts)}"] if parts else []


# ---- typed sources --------------------------------------------------------------------------------------------


def _from_parquet(content: bytes, name: str) -> RawTable:
    try:
        described = pq.ParquetFile(io.BytesIO(content)).metadata
        groups = (described.row_group(at) for at in range(described.num_row_groups))
        check_size(sum(group.total_byte_size for group in groups), len(content), name, in_memory=True)
        frame = pd.read_parquet(io.BytesIO(content))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{name} cannot be read as Parquet: it may have been cut short", got=error) from error
    return _from_frame(frame, name)


def _from_frame(frame: pd.DataFrame, name: str) -> RawTable:
    labels = list(frame.index.names)
    meaningful = not isinstance(frame.index, pd.RangeIndex) and (
        any(label is not None for label in labels) or isinstance(frame.index, (pd.DatetimeIndex, pd.PeriodIndex))
    )
    if meaningful:  # an index of stamps or of named keys is a column like any other
        fallback = "time" if len(labels) == 1 else "level"
        frame = frame.rename_axis([label if label is not None else fallback for label in labels]).reset_index()
    frame = frame.set_axis([str(column) for column in frame.columns], axis=1)
    if frame.empty:
        raise DataError(f"{name} is empty", got=f"{len(frame)} rows and {len(frame.columns)} columns")
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise DataError(f"{name} has two columns called {twice[0]!r}", fix="give each column a name of its own")
    periods = [column for column in frame if isinstance(frame[column].dtype, pd.PeriodDtype)]
    for column in periods:
        frame = frame.assign(**{str(column): frame[column].dt.to_timestamp()})
    return RawTable(name, frame.reset_index(drop=True), lambda row: f"row {row + 1}")
