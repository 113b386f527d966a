"""The pictures of the study of stability, from its findings alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gatelab.report import plots
from gatelab.report.page import Figure
from gatelab.studies.questions.stability_names import NAMES, clipped, entry_name, start
from gatelab.studies.wording import called

Row = Mapping[str, Any]
_EDGE = 1.5
"""Powers of ten to either side of chance at which a map's colours end."""
_OF_CHANCE, _FALLEN = "loss / chance", "log10 of loss / chance"


def figures(findings: Row) -> dict[str, Figure]:
    """Maps of loss and of divergence, rates, shares that learned, curves, starts, batch sizes, races."""
    drawn: dict[str, Figure | None] = {}
    for found in findings["maps"]:
        name = f"{NAMES[found['optimizer']]} on {found['source']}"
        drawn[f"Loss by learning rate and clipping: {name}"] = _losses(found)
        drawn[f"Divergence by learning rate and clipping: {name}"] = _divergences(found)
    for source in _sources(findings["divergence"]):
        drawn[f"Rates of divergence: {source}"] = _rates([row for row in findings["divergence"]
                                                          if row["source"] == source])  # fmt: skip
    drawn["Learning curves"] = _curves(findings["curves"])
    drawn["Gradient norms"] = _norms(findings["curves"])
    drawn["Steps to learn"] = _speed(findings["speed"])
    for source in _sources(findings["starts"]):
        drawn[f"Starts: {source}"] = _starts([group for group in findings["starts"] if group["source"] == source])
    drawn["Batch sizes"] = _batches(findings["batches"])
    for race in findings["optimizers"]:
        name = f"{race['source']}, {called(race['cell'])}"
        drawn[f"Optimizers on the way: {name}"] = _race(race)
        drawn[f"Optimizers at the end: {name}"] = _ends(race)
    return {name: figure for name, figure in drawn.items() if figure is not None}


# ---- maps and rates ----------------------------------------------------------------------------------------------


def _axes(found: Row) -> dict[str, Any]:
    return {
        "rows": [f"{called(row['cell'])}, {clipped(row['clip'])}" for row in found["rows"]],
        "columns": [f"{rate:g}" for rate in found["rates"]],
        "xlabel": "learning rate",
    }


def _losses(found: Row) -> Figure | None:
    values = np.array(found["loss"], dtype=float)  # (cells and limits, rates)
    if not np.isfinite(values).any():
        return None
    shown = values.round(2) + 0.0  # (cells and limits, rates) without −0
    svg = plots.heat_map(shown, **_axes(found), label="log10 of share", limits=(-_EDGE, _EDGE), centre=0)
    text = (
        f"Held-out loss after {found['steps']:,} steps, as log10 of its share of chance: −1 is a tenth, 0 what the "
        "best constant answer costs, orange worse than that. Median over runs; grey where most runs broke off."
    )
    return Figure(svg, text, f"Final loss with {NAMES[found['optimizer']]} on {found['source']}")


def _divergences(found: Row) -> Figure:
    values = 100 * np.array(found["diverged"], dtype=float)  # (cells and limits, rates)
    svg = plots.heat_map(values, **_axes(found), label="diverged, %", limits=(0, 100))
    return Figure(svg, "Share of runs that diverged, in percent.",
                  f"Divergence with {NAMES[found['optimizer']]} on {found['source']}")  # fmt: skip


def _rates(divergence: Sequence[Row]) -> Figure | None:
    rows = [(f"{called(row['cell'])}, {NAMES[row['optimizer']]}, {clipped(row['clip'])}",
             *(100 * row["diverged"][name] for name in ("mean", "low", "high")), ())
            for row in divergence if row["clip"] in ("none", "1")]  # fmt: skip
    if not rows:
        return None
    text = "All learning rates of the map together, with Wilson's 95 % intervals."
    svg = plots.interval_chart(rows, xlabel="runs that diverged, %")
    return Figure(svg, text, f"Rates of divergence on {divergence[0]['source']}")


# ---- curves ------------------------------------------------------------------------------------------------------


def _sources(groups: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(group["source"] for group in groups))


def _band(name: str, x: Any, runs: Sequence[Sequence[float | None]]) -> plots.Line:
    """Median and range over runs of ``runs (S, N)``, as far as every run goes."""
    values = np.array(runs, dtype=float)  # (S, N)
    return plots.Line(name, x, np.median(values, axis=0), values.min(axis=0), values.max(axis=0))


def _curves(groups: Sequence[Row]) -> Figure | None:
    parts = [
        plots.Panel([_band(called(group["cell"]), group["steps"], group["losses"])
                     for group in groups if group["source"] == source], source, "step", _OF_CHANCE, log_y=True)
        for source in _sources(groups)
    ]  # fmt: skip
    text = "Adam at 0.01, clipped at norm 1: median over runs, with the range from the least to the greatest."
    return Figure(plots.panels(parts), text, "Held-out loss by step") if parts else None


def _norms(groups: Sequence[Row]) -> Figure | None:
    parts = [
        plots.Panel([_band(called(group["cell"]), group["steps"][1:], [norms[1:] for norms in group["norms"]])
                     for group in groups if group["source"] == source], source, "step", "gradient norm", log_y=True)
        for source in _sources(groups)
    ]  # fmt: skip
    text = "The same runs: the greatest norm of the gradient since the look before, before it is clipped."
    return Figure(plots.panels(parts), text, "Greatest gradient norm by step") if parts else None


def _speed(groups: Sequence[Row]) -> Figure | None:
    parts = [
        plots.Panel([plots.Line(called(cell), *_stairs(group["steps"], found["mean"]))
                     for cell, found in group["cells"].items()], group["source"], "step", "share of runs that learned")
        for group in groups
    ]  # fmt: skip
    text = "Adam, clipped at norm 1, at the rate that was best for the other runs; the table has intervals."
    return Figure(plots.panels(parts), text, "Share of runs that had learned by each step") if parts else None


def _stairs(x: Sequence[float], y: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """What stays as it is until the next point: ``(2N - 1,)`` each."""
    return np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]


# ---- starts, batch sizes, optimizers -----------------------------------------------------------------------------


def _interval(name: str, found: Row) -> tuple:
    return (name, *(found[end] for end in ("mean", "low", "high")), list(found["values"].values()))


def _starts(groups: Sequence[Row]) -> Figure | None:
    rows = [_interval(f"{called(group['cell'])}, {start(value['init'])}", value["fallen"])
            for group in groups for value in group["values"] if value["fallen"]]  # fmt: skip
    text = "Adam at 0.01, clipped at norm 1. A dot for each run, the mean and its 95 % interval; 0 is chance."
    svg = plots.interval_chart(rows, xlabel=f"{_FALLEN} at the end") if rows else ""
    return Figure(svg, text, f"Loss at the end on {groups[0]['source']} by start") if rows else None


def _batches(groups: Sequence[Row]) -> Figure | None:
    parts = []
    for source in _sources(groups):
        lines = [line for group in groups if group["source"] == source for line in _by_batch(group)]
        if lines:
            parts.append(plots.Panel(lines, source, "batch size", _FALLEN, log_x=True))
    text = "Adam at 0.01, clipped at norm 1, equal steps: mean over runs and its 95 % interval."
    return Figure(plots.panels(parts), text, "Loss at the end by batch size") if parts else None


def _by_batch(group: Row) -> list[plots.Line]:
    known = [value for value in group["values"] if value["fallen"]]
    if not known:
        return []
    ends = {end: [np.nan if value["fallen"][end] is None else value["fallen"][end] for value in known]
            for end in ("mean", "low", "high")}  # fmt: skip
    sizes = [value["batch_size"] for value in known]
    return [plots.Line(called(group["cell"]), sizes, ends["mean"], ends["low"], ends["high"])]


def _race(race: Row) -> Figure | None:
    """The better of each optimizer with clipping and without, so that lines stay apart."""
    entries = [entry for entry in race["entries"].values() if entry["tested"]]
    best = {name: min((entry for entry in entries if entry["optimizer"] == name), key=lambda e: e["tested"]["mean"])
            for name in dict.fromkeys(entry["optimizer"] for entry in entries)}  # fmt: skip
    if not best:
        return None
    lines = [plots.Line(entry_name(f"{name}/{entry['clip']}"), race["instants"], entry["curve"])
             for name, entry in best.items()]  # fmt: skip
    text = "Least held-out loss so far, median over runs; of each optimizer the better, with clipping or without."
    svg = plots.line_chart(lines, xlabel="seconds of one core", ylabel=_OF_CHANCE, log_y=True)
    return Figure(svg, text, f"Held-out loss by time on {race['source']} with the {called(race['cell'])}")


def _ends(race: Row) -> Figure | None:
    """Every entry, the furthest first."""
    entries = [(key, entry["tested"]) for key, entry in race["entries"].items() if entry["tested"]]
    rows = [_interval(entry_name(key), tested) for key, tested in sorted(entries, key=lambda each: each[1]["mean"])]
    text = "Test loss of the best weights. A dot for each run, the mean and its 95 % interval; 0 is chance."
    svg = plots.interval_chart(rows, xlabel="log10 of test loss / chance") if rows else ""
    return Figure(svg, text, f"Test loss on {race['source']} with the {called(race['cell'])}") if rows else None
