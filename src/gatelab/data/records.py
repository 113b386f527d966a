"""Records of a table in a text file, one at a time: what is larger than memory is read as well.

The standard library's reader has a limit for the length of a cell that holds for the whole process, and says nothing
of where a quote was left open. Quotes are as RFC 4180 has them; in a file with tabs, where they mostly are plain marks,
one encloses a cell only if another ends it in the same line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from gatelab.core.errors import DataError

_DELIMITERS = ",\t;|"
_QUOTED = re.compile(r'"((?:[^"]|"")*)"(?!")')


class Record(NamedTuple):
    """The cells of a row."""

    line: int
    """Where it begins, from 1."""
    cells: list[str]


def records(lines: Iterable[str], name: str, delimiter: str) -> Iterator[Record]:
    """The rows of a table; empty lines are none.

    Args:
        lines: without their ends.
        name: of the file, for messages.
        delimiter: one character.

    Raises:
        DataError: a quote that is never closed, or text after one that is.
    """
    numbered = enumerate(lines, 1)
    for number, line in numbered:
        if not line:
            continue
        cells = line.split(delimiter) if '"' not in line else _cells(line, delimiter, f"{name}, line {number}")
        while cells is None and (more := _upto_quote(numbered)):
            line = "\n".join([line, *more])
            cells = _cells(line, delimiter, f"{name}, line {number}")
        if cells is None:
            raise _unusable(f"{name}, line {number}: a quote opens a cell and nothing closes it", line)
        yield Record(number, cells)


def delimiter_of(header: str) -> str:
    """The delimiter of a file with this first line: of comma, tab, semicolon and bar the one it has most of.

    >>> delimiter_of("id;text, in full;label")
    ';'
    """
    return max(_DELIMITERS, key=header.count)


def _upto_quote(numbered: Iterator[tuple[int, str]]) -> list[str]:
    """The next lines, as far as the first with a quote."""
    found: list[str] = []
    for _, line in numbered:
        found.append(line)
        if '"' in line:
            break
    return found


def _cells(line: str, delimiter: str, where: str) -> list[str] | None:
    """The cells of a record, or None where a quote is still open."""
    cells: list[str] = []
    at = 0
    while at <= len(line):
        quoted = _QUOTED.match(line, at)
        end = at if quoted is None else quoted.end()
        closed = quoted is not None and (end == len(line) or line.startswith(delimiter, end))
        if quoted is not None and closed:
            cells.append(quoted[1].replace('""', '"'))
        elif delimiter != "\t" and line.startswith('"', at):
            if quoted is None:
                return None
            raise _unusable(f"{where}: there is text after the quote that closes a cell", line[at:])
        else:
            end = line.find(delimiter, at)
            end = len(line) if end < 0 else end
            cells.append(line[at:end])
        at = end + 1
    return cells


def _unusable(problem: str, got: str) -> DataError:
    return DataError(
        problem,
        expected='" around a cell, and "" for a quote within it',
        got=got[:60],
        fix="close the quote, or double it where it is part of the text",
    )
