"""What a report is made of: plain pieces that the renderer draws and that know nothing of a task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from gatelab.report.text import clean, number


@dataclass(frozen=True)
class Table:
    """Rows of text and numbers under named columns."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    marked: Sequence[int] = ()
    """Rows to set apart, such as the best."""

    def _repr_html_(self) -> str:
        """The table alone, as a notebook shows it."""
        head = "".join(f"<th>{_text(column)}</th>" for column in self.columns)
        rows = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in self.rows)
        return f"<table><caption>{_text(self.caption)}</caption><tr>{head}</tr>{rows}</table>"


@dataclass(frozen=True)
class Figure:
    """A picture as inline SVG, drawn by ``gatelab.report.plots``."""

    svg: str = field(repr=False)
    caption: str = ""
    alt: str = ""
    """What the picture shows, for who cannot see it."""

    def _repr_svg_(self) -> str:
        """The picture alone, as a notebook shows it."""
        return self.svg


@dataclass(frozen=True)
class Code:
    """A command or a piece of code to copy."""

    text: str
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """A titled part of a page. Strings among ``parts`` are paragraphs of plain text, escaped when rendered."""

    title: str
    parts: Sequence[str | Table | Figure | Code]


@dataclass(frozen=True)
class Page:
    """One HTML file: the verdict first, then the sections."""

    title: str
    verdict: str
    """The answer in a sentence or two."""
    facts: Sequence[tuple[str, str]] = ()
    """A few labelled numbers shown beside the verdict."""
    sections: Sequence[Section] = ()
    footer: str = ""
    details: str = ""
    """The verdict at length, with its numbers: a paragraph below it."""


def _text(cell: object) -> str:
    return escape(clean(number(cell)))
