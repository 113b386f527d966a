"""The ``.ts`` files of the UCR and UEA archives: a header of ``@`` lines, then a line for each sequence.

@problemName JapaneseVowels
@classLabel true 1 2 3
@data
0.1,0.2,0.3:4.0,5.0,6.0:2        channels separated by colons, the class last
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from gatelab.core.errors import DataError
from gatelab.core.printable import printable
from gatelab.data.lines import Document
from gatelab.data.sequences import Collector, Layout, Read

Array = np.ndarray
_MISSING = ("?", "nan", "")
_LONGEST_SHOWN = 40


@dataclass
class _Header:
    """What the lines before ``@data`` say, as far as it says how the lines after it are to be read."""

    said: dict[str, str] = field(default_factory=dict)

    @property
    def classes(self) -> list[str] | None:
        """The labels that may occur; None where the file has no labels."""
        yes, *names = self.said.get("classlabel", "false").split()
        return names if yes.lower() == "true" else None


def read_ts(document: Document, layout: Layout, labelled: bool) -> Read:
    """The sequences of a file.

    Raises:
        DataError: it is not of this format, or of a part of it that is not read; the message names the line.
    """
    lines = ((number, text.strip()) for number, text in enumerate(document.lines(), 1))
    told = ((number, text) for number, text in lines if text and text[0] not in "#%")
    header = _header(told, document.name)
    collector, classes = Collector(layout.gaps), header.classes
    for number, text in told:
        place = f"line {number} of {document.name}"
        *dimensions, last = text.split(":")
        if classes is None:
            dimensions, last = [*dimensions, last], ""
        label = _label(last.strip(), classes, place)
        collector.add(_rows(dimensions, place), None, label, place)
    return collector.finish(document.name, labelled)


def _header(lines: Iterator[tuple[int, str]], name: str) -> _Header:
    """Reads up to and with ``@data``."""
    header = _Header()
    for number, text in lines:
        word, _, rest = text[1:].partition(" ")
        if not text.startswith("@"):
            break
        if word.lower() == "data":
            _refuse_unread(header, name)
            return header
        header.said[word.lower()] = rest.strip()
        if word.lower() == "classlabel" and not rest.strip():
            raise DataError(
                f"line {number} of {name}: @classLabel says nothing", expected="true and the labels, or false"
            )
    raise DataError(
        f"{name} has no line @data, so it is no .ts file of the UCR and UEA archives",
        expected="lines that begin with @, of which the last is @data, and then a line for each sequence",
        fix="look at the file, or give the sequences as a table",
    )


def _refuse_unread(header: _Header, name: str) -> None:
    if header.said.get("timestamps", "false").lower() == "true":
        raise DataError(
            f"{name} gives a time with every value (@timeStamps true), which is not read",
            expected="values at equal distances",
            fix="write the values alone, with ? where one is missing",
        )
    if header.said.get("targetlabel", "false").lower() == "true":
        raise DataError(
            f"{name} is for regression (@targetlabel true): it has numbers to estimate, and no classes",
            expected="@classLabel true and the labels",
            fix="give a file with classes",
        )


def _label(text: str, classes: list[str] | None, place: str) -> str | None:
    if classes is None or text == "?":
        return None
    if text not in classes:
        shown = printable(text[:_LONGEST_SHOWN])
        raise DataError(
            f"{place}: this class is not among those that @classLabel names",
            expected=printable(", ".join(classes[:12])),
            got=repr(shown),
            fix="mend the line: after the last colon stands the class",
        )
    return text


def _rows(dimensions: list[str], place: str) -> Array:
    """``(T, C)`` from the text of each channel."""
    channels = [_values(text, f"{place}, channel {number}") for number, text in enumerate(dimensions, 1)]
    lengths = {len(values) for values in channels}
    if len(lengths) > 1:
        raise DataError(
            f"{place}: the channels of this sequence are of unequal length",
            expected="as many values in each channel",
            got=", ".join(str(len(values)) for values in channels[:12]),
            fix="mend the line, with ? where a value is missing",
        )
    return np.stack(channels, axis=1) if channels else np.empty((0, 0))


def _values(text: str, place: str) -> Array:
    """The numbers of one channel, ``(T,)``; NaN where one is missing."""
    cells = text.split(",") if text.strip() else []
    try:
        return np.array(cells, np.float64) if cells else np.empty(0)
    except ValueError:
        return np.array([_number(cell.strip(), at, place) for at, cell in enumerate(cells, 1)])


def _number(cell: str, at: int, place: str) -> float:
    if cell.lower() in _MISSING:
        return float("nan")
    try:
        return float(cell)
    except ValueError as error:
        raise DataError(
            f"{place}: the value of step {at} is no number",
            expected="a number, or ? where it is missing",
            got=repr(printable(cell[:_LONGEST_SHOWN])),
            fix="mend the line",
        ) from error
