"""``gatelab data list | get | show``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from gatelab.cli.console import note, out, say, say_json, say_table
from gatelab.cli.parsing import parse_one_of
from gatelab.core.errors import InputError
from gatelab.data import sources
from gatelab.data.catalogue import DATASETS, Dataset, dataset
from gatelab.data.roles import Roles

if TYPE_CHECKING:
    from gatelab.data.describe import ColumnSummary, Summary

SHOWN_FILES, SHOWN_LEVELS = 12, 6


@dataclass(frozen=True)
class List:
    """List the data sets that gatelab knows by name."""

    json: bool = False
    """Print everything that is known of them as JSON."""

    def run(self) -> None:
        """Prints the table."""
        if self.json:
            say_json([asdict(entry) for entry in DATASETS.values()])
            return
        rows = [(entry.name, entry.group, _size(entry.bytes), entry.title) for entry in DATASETS.values()]
        say_table(("name", "kind", "size", "what it is"), rows, right=("size",))
        say("", "`gatelab data show NAME` looks into one; `gatelab data get NAME` downloads it.")


@dataclass(frozen=True)
class Get:
    """Download data sets, check them, and say where they lie."""

    names: Positional[tuple[str, ...]]
    """Names of data sets."""
    out: Path | None = None
    """Copy them into this folder; none: leave them in the cache, or where a mirror has them."""

    def run(self) -> None:
        """Prints one path a line."""
        if not self.names:
            raise InputError("no data set is named", fix="name one: `gatelab data list` shows all")
        for entry in [dataset(name) for name in self.names]:  # every name is checked before anything is downloaded
            note(f"{entry.name}: {entry.title}. Licence: {entry.licence}. Cite: {entry.citation}")
            say(sources.locate(entry.name) if self.out is None else sources.export(entry.name, self.out))


@dataclass(frozen=True)
class Show:
    """Show what is in a data set or file: columns, span, gaps, a plot, licence and citation."""

    source: Positional[str]
    """A data set's name, NAME/FILE for one of its files, or a path."""
    json: bool = False
    """Print it as JSON."""
    roles: Roles = field(default_factory=Roles)

    def run(self) -> None:
        """Prints the summary."""
        from gatelab.data.describe import describe

        summary = describe(self.source, self.roles)
        if self.json:
            say_json(summary.to_dict())
            return
        if summary.dataset is not None:
            _show_dataset(summary.dataset)
        if summary.columns:
            _show_table(summary)
        else:
            say(f"file    {summary.path}", "", *summary.head)


def main(argv: Sequence[str]) -> None:
    """Runs ``gatelab data``."""
    kinds = {"list": List, "get": Get, "show": Show}
    parse_one_of(kinds, argv, command="data", description="Data sets by name, and a first look at any table.").run()


def _show_dataset(entry: Dataset) -> None:
    say(entry.title, style="bold")
    say(entry.description, *entry.notes, "")
    say(f"licence {entry.licence}", f"cite    {entry.citation}", f"source  {entry.source}")
    files = [f"{file.name} ({_size(file.bytes)})" for file in entry.files]
    more = [f"… and {len(files) - SHOWN_FILES} more"] if len(files) > SHOWN_FILES else []
    say(f"files   {', '.join(files[:SHOWN_FILES] + more)}", "")


def _show_table(summary: Summary) -> None:
    plotted = next((column for column in summary.columns if column.kind == "number"), None)
    if plotted is not None:
        say(*_plot(plotted, summary), "")
    columns = ("column", "kind", "missing", "min", "mean", "max", "")
    rows = [_row(column) for column in summary.columns]
    say_table(columns, rows, right=("missing", "min", "mean", "max"))
    say("", f"file    {summary.path}", *(f"note    {line}" for line in summary.notes))
    if summary.problem:
        say("", "Not usable for forecasting as it is (above, its rows are taken as the steps):", style="bold yellow")
        say(*summary.problem.splitlines())


def _row(column: ColumnSummary) -> tuple[str, ...]:
    from gatelab.cli.plots import sparkline

    if column.kind == "category":
        more = ", …" if len(column.levels) > SHOWN_LEVELS else ""
        levels = ", ".join(column.levels[:SHOWN_LEVELS]) + more
        return column.name, f"{len(column.levels)} levels", f"{column.missing:,}", "", "", "", levels
    span = (_number(value) for value in (column.minimum, column.mean, column.maximum))
    return column.name, column.kind, f"{column.missing:,}", *span, sparkline(column.values)


def _plot(column: ColumnSummary, summary: Summary) -> Iterator[str]:
    from gatelab.cli.plots import braille

    yield f"{column.name}, {summary.rows:,} rows" + (f" in {summary.series} series" if summary.series > 1 else "")
    labels = [_number(column.maximum), *[""] * 4, _number(column.minimum)]
    margin = max(map(len, labels))
    width = min(out.width, 100) - margin - 2
    for label, row in zip(labels, braille(column.values, width, len(labels)), strict=True):
        yield f"{label:>{margin}} ┤{row}" if label else f"{'':>{margin}} │{row}"
    yield f"{'':>{margin}}  {summary.first}{summary.last:>{max(1, width - len(summary.first))}}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}" if abs(value) < 1e6 else f"{value:.3e}"


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.1f} kB"
