"""The report of a comparison: the verdict first, then what it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gatelab.core.task import Evaluation
from gatelab.report import plots
from gatelab.report.page import Code, Figure, Page, Section
from gatelab.report.text import duration
from gatelab.studies.curves import best_so_far, criterion_curve
from gatelab.studies.summary import of
from gatelab.studies.tables import best_baseline, cost_table, difference_table, failure_table, score_table
from gatelab.studies.trials import Record, Store
from gatelab.studies.wording import called

if TYPE_CHECKING:
    from gatelab.studies.comparing import Comparing

Records = Mapping[str, Record]


def comparison_page(study: Comparing, results: Mapping[str, Any], records: Records, store: Store) -> Page:
    """The page of one comparison."""
    trained = {cell: [r for r in of(records, "train", cell) if r.ok] for cell in study.plan.cells}
    sections = [
        _scores(results),
        *study.task.sections(_evaluations(study.plan.cells, records, store)),
        *_learning_curves(study, trained),
        Section("What it cost", [cost_table(results)]),
        *([Section("What did not finish", [failure_table(results)])] if results["failed"] else []),
        Section("Equal budgets and tuning", list(results["budget"])),
        Section("What was decided about the data", list(results["notes"]) or ["Nothing had to be decided."]),
        _reproduce(results),
    ]
    title = f"{' or '.join(called(cell) for cell in study.plan.cells)}? {study.task.name.capitalize()}"
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    footer = f"Made by gatelab. {versions}."
    return Page(title, results["headline"], _facts(results, records), sections, footer, results["verdict"])


def _facts(results: Mapping[str, Any], records: Records) -> list[tuple[str, str]]:
    facts = [("trials", str(len(records))), ("seeds", str(len(results["seeds"])))]
    seconds = sum(record.seconds for record in records.values())
    facts.append(("time in trials", duration(seconds)))
    if best := results["best"]:
        facts.append(("model kept", f"{called(best['cell'])}, seed {best['seed']} (best on validation)"))
    return facts


def _scores(results: Mapping[str, Any]) -> Section:
    metric = results["metrics"][0]
    better = "less" if metric["goal"] == "min" else "more"
    unit = f" ({metric['unit']})" if metric["unit"] else ""
    parts: list[Any] = [f"Compared by {metric['name']}: {metric['text'] or 'see the table'}; {better} is better."]
    rows: list[tuple] = []
    for cell in results["cells"].values():
        if score := cell["test"][metric["name"]]:
            low, high = score["low"], score["high"]
            rows.append((cell["title"], score["mean"], low, high, list(score["values"].values())))
    baselines = [(name, value, None, None, ()) for name, baseline in results["baselines"].items()
                 if (value := baseline["test"][metric["name"]]) is not None]  # fmt: skip
    best = [row for row in baselines if row[0] == best_baseline(results)]
    axis, dots = (
        f"{metric['name']}{unit} on the test part",
        "A dot for each seed; the bar is the 95 % interval of the mean.",
    )
    if rows:
        svg = plots.interval_chart([*rows, *best], xlabel=axis)
        beside = " Beside them the best baseline." if best else ""
        parts.append(Figure(svg, dots + beside, "Scores of the cells and of the best baseline"))
    if len(baselines) > 1:
        svg = plots.interval_chart([*rows, *baselines], xlabel=axis)
        parts.append(Figure(svg, "The same, beside every baseline.", "Scores of cells and baselines"))
    parts.append(score_table(results))
    if results["differences"] or results["against_baselines"]:
        parts.append(difference_table(results))
    parts.append(
        "These intervals tell how much chance in training matters. Whether a lead would carry over to other data is "
        "asked over the items of the test part (Diebold & Mariano 1995; the variance heeds that neighbours are alike, "
        "Lazarus et al. 2018): see the verdict."
    )
    return Section("How well", parts)


def _evaluations(cells: Sequence[str], records: Records, store: Store) -> dict[str, list[Evaluation]]:
    """Test results by name, cells first, for the task's own sections; records without arrays are left out."""
    evaluations: dict[str, list[Evaluation]] = {called(cell): [] for cell in cells}
    for record in sorted(records.values(), key=lambda r: r.seed):
        if record.ok and record.kind != "tune" and (arrays := store.arrays(record.id)):
            evaluation = Evaluation(record.measures["test"], arrays, record.measures["items"])
            evaluations.setdefault(called(record.label), []).append(evaluation)
    return {name: found for name, found in evaluations.items() if found}


def _learning_curves(study: Comparing, trained: Mapping[str, Sequence[Record]]) -> list[Section]:
    criterion = study.task.criterion
    by_epoch, by_time = [], []
    for cell, rows in trained.items():
        curves = [criterion_curve(record.measures["history"], criterion) for record in rows]
        curves = [curve for curve in curves if np.isfinite(curve).any()]
        if curves:
            by_epoch.append(_band(cell, curves))
            by_time.append(_over_time(cell, [record.measures["history"] for record in rows], criterion))
    if not by_epoch:
        return []
    name = f"validation {criterion.name.removeprefix('validation_').replace('_', ' ')}"
    svg = plots.panels([
        plots.Panel(by_epoch, "By epoch", "epoch", name),
        plots.Panel(by_time, "By training time, best so far", "seconds", name),
    ])  # fmt: skip
    caption = "Median over seeds, with the range from the least to the greatest seed."
    return [Section("How they learned", [Figure(svg, caption, f"{name} by epoch and by time, a line for each cell")])]


def _band(cell: str, curves: Sequence[Sequence[float]]) -> plots.Line:
    """Median and range at each epoch that at least half of the seeds reached."""
    length = sorted(map(len, curves))[(len(curves) - 1) // 2]
    padded = np.array([[*curve[:length], *[np.nan] * (length - len(curve))] for curve in curves])  # (N, E)
    known = ~np.isnan(padded).all(axis=0)  # (E,)
    padded, epochs = padded[:, known], np.arange(1, length + 1)[known]
    return plots.Line(called(cell), epochs, np.nanmedian(padded, 0), np.nanmin(padded, 0), np.nanmax(padded, 0))


def _over_time(cell: str, histories: Sequence[Sequence[Mapping[str, Any]]], criterion: Any) -> plots.Line:
    """The best value so far on a common clock, from where every seed has one: median and range over seeds."""
    first, last = (max(history[at]["seconds"] for history in histories) for at in (0, -1))
    clock = np.linspace(first, last, 100)  # (100,)
    tracks = []
    for history in histories:
        best = best_so_far(criterion_curve(history, criterion), criterion)  # (E,)
        at = np.searchsorted([record["seconds"] for record in history], clock, side="right") - 1  # (100,)
        tracks.append(np.where(at >= 0, best[np.maximum(at, 0)], np.nan))
    stacked = np.array(tracks)  # (N, 100)
    known = ~np.isnan(stacked).all(axis=0)  # (100,)
    stacked, clock = stacked[:, known], clock[known]
    return plots.Line(called(cell), clock, np.nanmedian(stacked, 0), np.nanmin(stacked, 0), np.nanmax(stacked, 0))


def _reproduce(results: Mapping[str, Any]) -> Section:
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    machine = results["machine"]
    parts: list[Any] = [Code(results["command"], "The same command goes on where it was stopped; in a new folder it "
                                                 "runs everything again.")] if results["command"] else []  # fmt: skip
    parts += [
        f"Seeds {', '.join(map(str, results['seeds']))}; tuning used seed 0. Versions: {versions}. "
        f"Machine: {machine['system']}, {machine['cores']} cores.",
        f"Data and settings are known by the fingerprint {results['data']}.",
    ]
    if results["warnings"]:
        shown = results["warnings"][:5]
        parts.append(f"Libraries warned of: {'; '.join(shown)}")
    return Section("How to reproduce", parts)
