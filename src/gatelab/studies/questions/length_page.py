"""What the study of length shows and says, from its findings alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gatelab.report import plots
from gatelab.report.page import Figure, Table
from gatelab.report.text import number
from gatelab.studies.questions.length_findings import HOLDS
from gatelab.studies.statistics import Estimate
from gatelab.studies.verdict import amount
from gatelab.studies.wording import called

Row = Mapping[str, Any]
_SERIES, _PICTURES = "etth1", "digits"


def _name(row: Row) -> str:
    return called(row["cell"]) + (", chrono" if row["start"] == "chrono" else "")


def _sources(findings: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(row["source"] for row in findings["conditions"]))


def _of(rows: Sequence[Row], source: str) -> list[Row]:
    return [row for row in rows if row["source"] == source]


# ---- words -------------------------------------------------------------------------------------------------------


def verdict(findings: Mapping[str, Any]) -> list[str]:
    """How far each cell holds on each problem; whether a longer window helps; what length costs."""
    drawn = [source for source in _sources(findings) if source not in (_SERIES, _PICTURES)]
    said = [f"How far cells hold, in steps: {'; '.join(_far(findings, source) for source in drawn)}."] if drawn else []
    return said + list(filter(None, [_digits(findings), _window(findings), _cost(findings)])) or [
        "Nothing was measured."
    ]


def _far(findings: Mapping[str, Any], source: str) -> str:
    parts = []
    for row in _of(findings["holds"], source):
        whole = " and perhaps further" if row["steps"] == row["longest"] else ""
        parts.append(f"{_name(row)} {row['steps'] or 'nowhere'}{whole}")
    return f"{source}: {', '.join(parts)}"


def _digits(findings: Mapping[str, Any]) -> str:
    """Accuracy from rows beside accuracy from pixels."""
    rows = _of(findings["conditions"], _PICTURES)
    parts = []
    for name in dict.fromkeys(map(_name, rows)):
        mine = sorted((row for row in rows if _name(row) == name and row["error"]), key=lambda row: row["steps"])
        if mine:
            parts.append(f"{name} {' and '.join(number(row['error']['mean'], 3) for row in mine)}")
    steps = " and ".join(str(steps) for steps in sorted({row["steps"] for row in rows}))
    return f"Accuracy on the same digits read in {steps} steps: {'; '.join(parts)}." if parts else ""


def _window(findings: Mapping[str, Any]) -> str:
    """For each cell the window with the least error, and whether it is surely better than the shortest."""
    rows = [row for row in _of(findings["conditions"], _SERIES) if row["error"]]
    parts = []
    for name in dict.fromkeys(map(_name, rows)):
        mine = sorted((row for row in rows if _name(row) == name), key=lambda row: row["steps"])
        best = min(mine, key=lambda row: row["error"]["mean"])
        parts.append(
            f"{name} {best['steps']} ({_amount(best['error'])}; at {mine[0]['steps']} {_amount(mine[0]['error'])})"
        )
    metric = rows[0]["metric"] if rows else ""
    return f"On {_SERIES} the window with the least {metric}: {'; '.join(parts)}." if parts else ""


def _cost(findings: Mapping[str, Any]) -> str:
    """The powers of length by which time and memory grow."""
    parts = [
        f"{called(cell)} time {_amount(cost['powers']['ms'], 2)}, memory {_amount(cost['powers']['memory_mb'], 2)}"
        for cell, cost in findings["costs"].items() if cost["powers"]["ms"] and cost["powers"]["memory_mb"]
    ]  # fmt: skip
    return f"The power of length by which a training step grows: {'; '.join(parts)}." if parts else ""


def _amount(found: Mapping[str, Any], digits: int = 3) -> str:
    return amount(Estimate(found["mean"], found["low"], found["high"], 0), digits=digits)


# ---- pictures ----------------------------------------------------------------------------------------------------


def figures(findings: Mapping[str, Any]) -> dict[str, Figure]:
    """Skill against length of each problem; the error of the real series against its window; costs."""
    shown: dict[str, Figure] = {}
    if parts := _skill(findings):
        text = f"Median over seeds, its 95 % bootstrap interval; 0 is chance, 1 without error, {HOLDS:g} holds."
        shown["How far cells hold"] = Figure(plots.panels(parts), text, "Skill against length by problem and cell")
    if rows := [row for row in _of(findings["conditions"], _SERIES) if row["error"]]:
        shown["A longer window"] = _errors(rows)
    if findings["costs"]:
        shown["What length costs"] = _costs(findings["costs"])
    return shown


def _lines(rows: Sequence[Row], entry: str) -> list[plots.Line]:
    lines = []
    for name in dict.fromkeys(map(_name, rows)):
        mine = sorted((row for row in rows if _name(row) == name and row[entry]), key=lambda row: row["steps"])
        mean, low, high = ([row[entry][end] for row in mine] for end in ("mean", "low", "high"))
        lines += [plots.Line(name, [row["steps"] for row in mine], mean, low, high)] if mine else []
    return lines


def _skill(findings: Mapping[str, Any]) -> list[plots.Panel]:
    return [
        plots.Panel(lines, source, "steps", "skill", log_x=True)
        for source in _sources(findings)
        if source != _SERIES and (lines := _lines(_of(findings["conditions"], source), "skill"))
    ]


def _errors(rows: Sequence[Row]) -> Figure:
    simple = sorted({(row["steps"], row["simple"]) for row in rows if row["simple"] is not None})
    lines = _lines(rows, "error")
    if simple:
        steps, errors = zip(*simple, strict=True)
        lines.append(plots.Line("last value", steps, errors, style="dashed"))
    svg = plots.panels([plots.Panel(lines, "", "window, hours", f"test {rows[0]['metric']}", log_x=True)], columns=1)
    return Figure(svg, "Mean over seeds and its 95 % interval.", f"Error on {_SERIES} against the window")


def _costs(costs: Mapping[str, Any]) -> Figure:
    time = [
        plots.Line(called(cell), cost["steps"], cost["ms"], cost["low"], cost["high"]) for cell, cost in costs.items()
    ]
    memory = [plots.Line(called(cell), cost["steps"], cost["memory_mb"]) for cell, cost in costs.items()]
    parts = [
        plots.Panel(time, "time of a training step", "steps", "ms", log_x=True, log_y=True),
        plots.Panel(memory, "memory of a forward and a backward pass", "steps", "MB", log_x=True, log_y=True),
    ]
    return Figure(plots.panels(parts), "Median and its 95 % bootstrap interval.", "Time and memory against length")


# ---- tables ------------------------------------------------------------------------------------------------------


def tables(findings: Mapping[str, Any]) -> dict[str, Table]:
    """How far each cell holds; then every length."""
    holds = [[_name(row), row["source"], str(row["steps"] or "nowhere"), str(row["longest"])]
             for row in findings["holds"] if row["source"] not in (_SERIES, _PICTURES)]  # fmt: skip
    text = f"The greatest length up to which the median of the seeds has a skill of {HOLDS:g}."
    every = [[_name(row), row["source"], str(row["steps"]), *_measured(row)] for row in findings["conditions"]]
    columns = ["", "problem", "steps", "test error", "measure", "simple method", "median skill", "parameters"]
    return {
        "How far cells hold": Table(["", "problem", "steps", "longest tried"], holds, text),
        "Every length": Table(columns, every, "Mean over seeds with its 95 % interval."),
    }


def _measured(row: Row) -> list[str]:
    error, median = (row[entry] or {} for entry in ("error", "skill"))
    return [
        _amount(error) if error else "–",
        row["metric"],
        number(row["simple"]),
        number(median.get("mean"), 2),
        f"{row['parameters']:,}",
    ]
