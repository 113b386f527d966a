"""What commands print with: results to stdout, everything about the work to stderr.

Plain text where the output is no terminal, no colours where NO_COLOR is set. Text from data files passes through
``printable``, so that a column name cannot write escape codes into a terminal.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console as RichConsole
from rich.console import ConsoleDimensions
from rich.table import Table
from rich.text import Text

from gatelab.core.errors import GatelabError
from gatelab.core.printable import LINES, printable

PIPED_WIDTH = 240
"""Columns where nobody watches: enough that no cell of a table is cut."""


class Console(RichConsole):
    """Rich's console without markup (a column may be called ``[red]``), as wide as needed when it is piped."""

    def __init__(self, stderr: bool = False):
        super().__init__(stderr=stderr, markup=False, highlight=False, emoji=False)

    @property
    def size(self) -> ConsoleDimensions:  # type: ignore[bad-override]  # nobody sets it here
        """Columns and rows, as they are at the moment: output may be redirected while the program runs."""
        watched = self.file.isatty() or "COLUMNS" in os.environ
        return super().size if watched else ConsoleDimensions(PIPED_WIDTH, 25)

    def on_broken_pipe(self) -> None:
        """Leaves it to ``gatelab.cli.main``, which ends quietly; rich would end the process here."""
        raise BrokenPipeError


out = Console()
err = Console(stderr=True)


def say(*texts: object, style: str = "") -> None:
    """Prints texts to stdout, a line each or several where one has line ends; no line is wrapped in a pipe."""
    _print_lines(out, texts, style)


def say_piece(text: str) -> None:
    """Prints a piece of a text of several lines to stdout, at once and without a line end."""
    out.file.write(printable(text, keep=LINES))
    out.file.flush()


def note(*texts: object) -> None:
    """Prints texts about the work to stderr, as ``say`` does."""
    _print_lines(err, texts, "dim")


def _print_lines(console: Console, texts: Iterable[object], style: str) -> None:
    for line in (line for text in texts for line in str(text).split("\n")):
        console.print(Text(printable(line), style=style), soft_wrap=True)


def say_json(value: Any) -> None:
    """Prints strict JSON, in ASCII, to stdout."""
    out.print(json.dumps(value, indent=1, allow_nan=False), soft_wrap=True)


def say_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()) -> None:
    """Prints a table to stdout; the columns named in ``right`` hold numbers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for column in columns:
        table.add_column(printable(column), justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else printable(cell) for cell in row))
    out.print(table)


def say_error(error: GatelabError) -> None:
    """Prints what is wrong and how to mend it to stderr."""
    first, *rest = str(error).split("\n")
    err.print(Text.assemble(("error: ", "bold red"), (printable(first), "bold")), soft_wrap=True)
    for line in rest:
        label, found, text = line.partition(": ")
        is_label = found and label.strip() in ("expected", "got", "fix")
        err.print(
            Text.assemble((printable(label + found), "cyan" if is_label else ""), printable(text)), soft_wrap=True
        )
