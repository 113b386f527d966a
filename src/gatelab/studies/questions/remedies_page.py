"""What the studies of long memory show and say, from their findings alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gatelab.report import plots
from gatelab.report.page import Figure, Table
from gatelab.report.text import duration, number
from gatelab.studies.questions.remedies_findings import TREATMENTS
from gatelab.studies.statistics import Estimate
from gatelab.studies.verdict import amount
from gatelab.studies.wording import called, listed

if TYPE_CHECKING:
    from gatelab.studies.questions.remedies import Remedies

Row = Mapping[str, Any]
PAPER = "Bai et al. 2018"
_USUAL = next(iter(TREATMENTS))


def _lengths(findings: Mapping[str, Any]) -> list[int]:
    """The longest first."""
    return sorted({row["length"] for row in findings["conditions"]}, reverse=True)


def _at(rows: Sequence[Row], length: int) -> list[Row]:
    return [row for row in rows if row["length"] == length]


# ---- words -------------------------------------------------------------------------------------------------------


def verdict(study: Remedies, findings: Mapping[str, Any]) -> list[str]:
    """For each length, with what each cell solves it; then what each treatment changes; then what others report."""
    lengths = _lengths(findings)
    solved = [_solved(study, _at(findings["conditions"], length), length) for length in lengths]
    changed = [_changed(study, _at(findings["effects"], length), length) for length in lengths]
    return [*solved, *filter(None, changed), *filter(None, [_reported(study, length) for length in lengths])]


def _solved(study: Remedies, rows: Sequence[Row], length: int) -> str:
    """Each cell, with the treatments by which every seed solves the problem, or the most that it comes to."""
    parts = []
    for cell in dict.fromkeys(row["cell"] for row in rows):
        mine = [row for row in rows if row["cell"] == cell and row["seeds"]]
        whole = [row["treatment"] for row in mine if row["solved"] == row["seeds"]]
        most = max(mine, key=lambda row: row["solved"], default=None)
        if whole:
            parts.append(f"{called(cell)} with {listed([_quoted(name) for name in whole])}")
        elif most is not None and most["solved"]:
            parts.append(
                f"{called(cell)} at best in {most['solved']} of {most['seeds']}, with {_quoted(most['treatment'])}"
            )
        else:
            parts.append(f"{called(cell)} in none")
    return f"At T = {length}, {study.metric} below {number(study.bar(length), 3)} in every seed: {'; '.join(parts)}."


def _changed(study: Remedies, gaps: Sequence[Row], length: int) -> str:
    """What each treatment makes of the metric as it usually is."""
    parts = []
    for cell in dict.fromkeys(gap["cell"] for gap in gaps):
        mine = [gap for gap in gaps if gap["cell"] == cell and gap["a"] == _USUAL and gap["p"] is not None]
        if mine:
            parts.append(f"{called(cell)}: {', '.join(map(_factor, mine))}")
    if not parts:
        return ""
    return f"At T = {length}, {study.metric} as a multiple of what it is as usual: {'; '.join(parts)}."


def _factor(gap: Row) -> str:
    """``a`` is the usual: what ``b`` is of it, with its interval."""
    low, high = sorted((-gap["units"]["low"], -gap["units"]["high"]))
    doubt = "" if gap["found"] else ", no difference found"
    factors = [number(10.0**power, 2) for power in (-gap["units"]["mean"], low, high)]
    return f"{_quoted(gap['b'])} {factors[0]} [{factors[1]}, {factors[2]}]{doubt}"


def _reported(study: Remedies, length: int) -> str:
    values = study.published.get(length, {})
    if not values:
        return ""
    return f"{PAPER} report for T = {length}: {listed([f'{called(cell)} {number(x)}' for cell, x in values.items()])}."


def _quoted(treatment: str) -> str:
    return f"“{treatment}”"


# ---- pictures ----------------------------------------------------------------------------------------------------


def figures(study: Remedies, findings: Mapping[str, Any]) -> dict[str, Figure]:
    """For each length, everything beside everything; and how the networks learned."""
    shown: dict[str, Figure] = {}
    for length in _lengths(findings):
        shown[f"T = {length}"] = _beside(study, findings, length)
        shown[f"T = {length}: learning"] = _learning(_at(findings["conditions"], length), length)
    return shown


def _beside(study: Remedies, findings: Mapping[str, Any], length: int) -> Figure:
    rows: list[tuple[str, Any, Any, Any, Any]] = []
    for row in _at(findings["conditions"], length):
        if found := row["log10"]:
            name = f"{called(row['cell'])}, {row['treatment']}"
            rows.append((name, found["mean"], found["low"], found["high"], list(found["values"].values())))
    published = [(f"{called(cell)}, {PAPER}", value) for cell, value in study.published.get(length, {}).items()]
    simple = [(row["name"], row["value"]) for row in _at(findings["baselines"], length) if row["name"] != "linear"]
    rows += [(name, float(np.log10(value)), None, None, ()) for name, value in [*published, *simple]]
    bar = (float(np.log10(study.bar(length))), "solved")
    svg = plots.interval_chart(rows, xlabel=f"log10 of the test {study.metric}", reference=bar)
    text = "A dot for each seed, the mean of the logarithms and its 95 % interval. Left of the line counts as solved."
    return Figure(svg, text, f"Test {study.metric} at T = {length}")


def _learning(rows: Sequence[Row], length: int) -> Figure:
    parts = []
    for treatment in dict.fromkeys(row["treatment"] for row in rows):
        lines = [plots.Line(called(row["cell"]), *(row["curve"][name] for name in ("step", "mean", "low", "high")))
                 for row in rows if row["treatment"] == treatment]  # fmt: skip
        parts.append(plots.Panel(lines, treatment, "optimizer step", "validation loss", log_y=True))
    text = "Geometric mean over seeds, and their range."
    return Figure(plots.panels(parts), text, f"Validation loss in training at T = {length}")


# ---- tables ------------------------------------------------------------------------------------------------------


def tables(study: Remedies, findings: Mapping[str, Any]) -> dict[str, Table]:
    """Every condition, baseline and published figure."""
    columns = [
        "",
        "T",
        "treatment",
        f"test {study.metric}",
        "solved",
        "accuracy",
        PAPER,
        "parameters",
        "rate",
        "a training",
    ]
    rows: list[list[str]] = []
    for length in _lengths(findings):
        rows += [_row(study, row) for row in _at(findings["conditions"], length)]
        rows += [[row["name"], str(length), "", number(row["value"]), "", "", "", "", "", ""]
                 for row in _at(findings["baselines"], length)]  # fmt: skip
    caption = (
        f"Geometric mean over seeds with its 95 % interval; solved: in how many seeds the test {study.metric} is below "
        f"{study.bar_in_words}. {PAPER}: one run at about {study.parameters:,} parameters."
    )
    return {"Every condition": Table(columns, rows, caption)}


def _row(study: Remedies, row: Row) -> list[str]:
    return [
        called(row["cell"]),
        str(row["length"]),
        row["treatment"],
        _power(row["log10"]),
        f"{row['solved']} of {row['seeds']}",
        amount(_estimate(row["accuracy"]), digits=3) if row["accuracy"] else "",
        number(study.published.get(row["length"], {}).get(row["cell"], "")),
        f"{row['parameters']:,}",
        f"{row['learning_rate']:g}",
        duration(row["seconds"]),
    ]


def _power(found: Mapping[str, Any] | None) -> str:
    """A geometric mean and its interval, from those of the logarithms."""
    if found is None:
        return "–"
    low, high = (None if found[end] is None else 10.0 ** found[end] for end in ("low", "high"))
    return amount(Estimate(10.0 ** found["mean"], low, high, found["count"]), digits=3)


def _estimate(found: Mapping[str, Any]) -> Estimate:
    return Estimate(found["mean"], found["low"], found["high"], found["count"])
