"""A report as tables: the same headers and cells on a terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gatelab.bench.figures import Figure, Row
from gatelab.bench.harness import LIMIT, Report, Suite
from gatelab.report.text import number

METHOD = (
    "Contenders take turns in one process, A B A B …, more than two in an order that every round draws, on the same "
    "data and weights, after their outputs, final states and gradients were found equal. Times are medians; a ratio is "
    "the median of the rounds' ratios, with a 95 % bootstrap interval over rounds. *Limit* is the rate of the fastest "
    "of several large matrix products, the best of four in every round; rates count 2·N·(I+H)·G·H operations forward "
    "and three times that in training, and no others. Shapes are B·T·I·H. ✓ and ✗ say whether a figure is what was "
    "asked for."
)


def headers(rows: Sequence[Row]) -> list[str]:
    """The names of the figures that the rows have, in order of first appearance, with their units."""
    return ["case", *(f"{name} [{unit}]" if unit else name for name, unit in _columns(rows))]


def cells(rows: Sequence[Row]) -> Iterator[list[str]]:
    """What stands under ``headers`` for each row: its problem, where it has one, instead of figures."""
    for row in rows:
        found = {(figure.name, figure.unit): shown(figure) for figure in row.figures}
        name = f"{row.case}: refused, see below" if row.problem else row.case
        yield [name, *(found.get(column, "") for column in _columns(rows))]


def _columns(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Name and unit of every figure, in order of first appearance; the limit, much the same everywhere, has a line."""
    named = dict.fromkeys((figure.name, figure.unit) for row in rows for figure in row.figures)
    return [column for column in named if column[0] != LIMIT]


def shown(figure: Figure) -> str:
    """The figure as text; a ratio with its interval, and with what was asked for.

    >>> from gatelab.bench.figures import Bound
    >>> shown(Figure("speedup", 2.514, low=2.41, high=2.62, bound=Bound(3)))
    '2.51 [2.41, 2.62] ✗ ≥ 3'
    """
    text = number(figure.value, 3)
    if figure.low is not None and figure.high is not None and not figure.unit:
        text += f" [{number(figure.low, 3)}, {number(figure.high, 3)}]"
    return text if figure.met is None else f"{text} {'✓' if figure.met else '✗'} {figure.bound}"


def about(report: Report) -> list[str]:
    """On what and with what the figures were taken, a line each."""
    found, settings = report.environment, report.settings
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    threads = f"{settings.threads} thread" + ("s" if settings.threads > 1 else "")
    limits = [figure.value for row in report.rows if (figure := row.figure(LIMIT)) is not None]
    pools = ", ".join(f"{name}={value}" for name, value in found["environment"].items())
    return [
        f"{found['cpu']}, {found['cores']} cores, load {found['load']} at the start",
        f"{found['system']}, {found['date']}",
        *([found["device"]] if found["device"] != "cpu" else []),
        f"{settings.dtype}, {threads} unless said, {settings.seconds:g} s a case" + (f", {pools}" if pools else ""),
        versions,
        *([f"limit {number(min(limits), 3)} to {number(max(limits), 3)} GFLOP/s"] if limits else []),
    ]


def markdown(report: Report, suites: Sequence[Suite], command: str, title: str = "Benchmarks") -> str:
    """The report as a page.

    Args:
        report: what was found.
        suites: the suites of its rows, in order.
        command: what was typed.
        title: of the page.
    """
    lines = [f"# {title}", "", f"Written by `{command}`.", "", *(f"- {line}" for line in about(report)), "", METHOD]
    for suite in suites:
        rows = [row for row in report.rows if row.suite == suite.name]
        lines += ["", f"## {suite.name}", "", suite.text.capitalize() + ".", ""]
        lines += [_line(headers(rows)), _line(["---", *["--:"] * (len(headers(rows)) - 1)])]
        lines += [_line(entry) for entry in cells(rows)]
        goals = [f"- {figure.name}: {shown(figure)}" for name, figure in report.goals if name == suite.name]
        lines += ["", *goals] if goals else []
    lines += ["", "## Remarks", "", *(f"- {note}" for note in remarks(report))] if remarks(report) else []
    return "\n".join(lines) + "\n"


def remarks(report: Report) -> list[str]:
    """What a reader must know beside the figures."""
    return [*report.notes, *report.problems]


def _line(entries: Sequence[str]) -> str:
    return f"| {' | '.join(entry.replace('|', '/') for entry in entries)} |"
