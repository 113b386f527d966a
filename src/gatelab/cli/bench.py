"""``gatelab bench``: how fast the layers are, beside their peers and the machine's own limit."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tyro.conf import Positional

from gatelab.bench import SUITES
from gatelab.cli.console import err, note, say, say_json, say_table
from gatelab.cli.parsing import parse_groups
from gatelab.core.files import finite, writable_folder, write_json, write_text
from gatelab.report.text import duration

if TYPE_CHECKING:
    from gatelab.bench.harness import Report, Settings, Suite

_TEXT = "Times the layers beside their peers, in turns, after checking that they compute the same."
_BESIDE = 2.0  # seconds; measured over all suites
_EXAMPLES = ("gatelab bench --quick", "gatelab bench train forward --cell gru,lstm --out bench.json")


@dataclass(frozen=True)
class Options:
    """What is measured, and how long."""

    suites: Positional[tuple[str, ...]] = ()
    """Suites to run; all, if none is named (on a GPU: all that can)."""
    list: bool = False
    """Say which suites there are, and run none."""
    quick: bool = False
    """Half a second for each case: figures to look at, not to quote."""
    seconds: float | None = None
    """For each case; none: 8."""
    cell: tuple[str, ...] = ("gru", "rnn", "lstm")
    """Cells to measure."""
    shape: tuple[str, ...] = ()
    """Shapes B·T·I·H instead of each suite's own, such as 32x100x64x128; targets are for the suites' own."""
    threads: int = 1
    """CPU threads, where a suite does not say."""
    device: str = "cpu"
    """cpu, cuda or cuda:N; on a GPU torch.nn is cuDNN."""
    dtype: str = "float32"
    """float32 or bfloat16."""
    out: Path | None = None
    """Write everything to this JSON file."""
    markdown: Path | None = None
    """Write the tables to this file."""
    json: bool = False
    """Print everything as JSON, and nothing else, to stdout."""


def main(argv: Sequence[str]) -> int:
    """Runs ``gatelab bench`` with ``argv``; the exit code is 1 where a result was wrong, 130 after Ctrl-C.

    Raises:
        InputError: no such suite, cell, shape or device, or a file that cannot be written.
    """
    options, _ = parse_groups(Options, (), argv, command="bench", description=_TEXT, examples=_EXAMPLES)
    for name in options.suites:
        SUITES.check(name)
    if options.list:
        say_table(("suite", "what it measures"), [(name, SUITES[name].text) for name in SUITES])
        return 0
    settings = _settings(options)
    chosen = [SUITES[name] for name in options.suites or SUITES]
    if not options.suites:
        chosen = [suite for suite in chosen if settings.device.partition(":")[0] in suite.devices]
    for file in (options.out, options.markdown):
        if file is not None:
            writable_folder(file.parent)  # not found out after half an hour
    report = _run(chosen, settings)
    _write(report, chosen, options, shlex.join(["gatelab", "bench", *argv]))
    say_json(finite(report.to_dict())) if options.json else _show(report, chosen)
    return 130 if report.stopped else 1 if report.problems else 0


def _settings(options: Options) -> Settings:
    from gatelab.bench.harness import QUICK_SECONDS, Settings, Shape

    seconds = options.seconds if options.seconds is not None else QUICK_SECONDS if options.quick else Settings.seconds
    shapes = tuple(Shape.read(text) for text in options.shape)
    return Settings(seconds, options.cell, options.threads, options.device, options.dtype, shapes)


def _run(suites: Sequence[Suite], settings: Settings) -> Report:
    from gatelab.bench.harness import plan, run

    count = len(plan(suites, settings))
    each = f"{duration(settings.seconds)}, and about {duration(_BESIDE)} each to build, compare and warm up"
    note(f"{count} cases of {each}: {duration(count * (settings.seconds + _BESIDE))}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("", total=count)

        def hear(suite: str, case: str, done: int, total: int) -> None:
            bar.update(task, description=f"{suite}: {case}", completed=done, total=total)

        return run(suites, settings, hear)


def _write(report: Report, suites: Sequence[Suite], options: Options, command: str) -> None:
    from gatelab.bench.tables import markdown

    if options.out is not None:
        write_json(options.out, finite(report.to_dict()))
    if options.markdown is not None:
        write_text(options.markdown, markdown(report, suites, command))


def _show(report: Report, suites: Sequence[Suite]) -> None:
    from gatelab.bench.tables import about, cells, headers, remarks, shown

    say(*about(report))
    for suite in suites:
        rows = [row for row in report.rows if row.suite == suite.name]
        say("", f"{suite.name}: {suite.text}", style="bold")
        say_table(headers(rows), cells(rows), right=headers(rows)[1:])
        for name, figure in report.goals:
            if name == suite.name:
                say(f"  {figure.name}: {shown(figure)}")
    say("", *remarks(report)) if remarks(report) else None
