"""What the study of gradients shows and says, from its findings alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gatelab.report import plots
from gatelab.report.page import Figure, Table
from gatelab.report.palette import styles
from gatelab.report.text import number
from gatelab.studies.statistics import LEVEL, Estimate
from gatelab.studies.verdict import amount
from gatelab.studies.wording import called, listed

Row = Mapping[str, Any]
STARTS = {
    "torch": "torch's start",
    "small_normal": "randn·0.01",
    "small_normal:0.3": "randn·0.3",
}
_VARIED = {
    "Initialisation": lambda row: row["init"] != "torch" and "forget_bias" not in row["init"],
    "Forget bias": lambda row: "forget_bias" in row["init"],
    "Depth": lambda row: row["num_layers"] > 1,
}
_DISTANCE, _NORM = "distance T − k, steps", "‖∂L/∂h‖"
_BAND = "Median over seeds, with the range from the least to the greatest."


def label(condition: Mapping[str, Any]) -> str:
    """The cell, and what is not as usual."""
    return ", ".join([called(condition["cell"]), *([change] if (change := changed(condition)) else [])])


def changed(condition: Mapping[str, Any]) -> str:
    """What is not as usual; empty at the usual start."""
    start, _, bias = condition["init"].partition("+forget_bias:")
    parts = [] if start == "torch" else [STARTS.get(start, start)]
    parts += [f"forget bias {bias}"] if bias else []
    parts += [] if condition["num_layers"] == 1 else [f"{condition['num_layers']} layers"]
    return ", ".join(parts)


# ---- words -------------------------------------------------------------------------------------------------------


def verdict(findings: Mapping[str, Any]) -> list[str]:
    """What vanishes, in which cell least, what helps, what training does, and whether it matters."""
    rows = findings["conditions"]
    usual = [row for row in rows if not changed(row)]
    return [
        *_at_the_start(usual),
        *_beside(findings["differences"]["before"]),
        *_nearest_to_one(rows),
        *_killed([row for row in rows if row["init"] == "small_normal"]),
        *_through_training({cell: Estimate(**change) for cell, change in findings["changes"].items()}),
        *_whether_it_matters(findings["foretells"]),
        *_too_few([row["before"] for row in rows]),
    ]


def _at_the_start(usual: Sequence[Row]) -> list[str]:
    if not usual:
        return ["No trial at the usual start finished."]
    each = listed([f"{100 * row['before']['mean']:.0f} % in the {called(row['cell'])}" for row in usual])
    vanishing = [called(row["cell"]) for row in usual if _surely_below_one(row["before"])]
    if len(vanishing) == len(usual):
        fate = "the gradient vanishes" + (" in every cell" if len(usual) > 1 else "")
    else:
        fate = f"the gradient vanishes in the {listed(vanishing)} only" if vanishing else "the gradient is kept"
    bounds = listed([f"{called(row['cell'])} {_share(row['before'])}" for row in usual])
    return [f"At torch's start {fate}: of what is there at a step, one step back keeps {each}.",
            f"Decay per step: {bounds}."]  # fmt: skip


def _beside(differences: Sequence[Mapping[str, Any]]) -> list[str]:
    said = []
    for gap in (gap for gap in differences if gap["p"] is not None):  # one seed tells nothing of chance
        a, b = called(gap["a"]), called(gap["b"])
        if not gap["found"]:
            said.append(f"no difference found between {a} and {b}")
        else:
            more, less = (a, b) if gap["units"]["mean"] > 0 else (b, a)
            said.append(f"the {more} keeps more than the {less}")
    return [f"Beside each other: {'; '.join(said)}."] if said else []


def _nearest_to_one(rows: Sequence[Row]) -> list[str]:
    """What brings each cell's decay nearest to 1."""
    best = []
    for cell in dict.fromkeys(row["cell"] for row in rows):
        nearest = min((row for row in rows if row["cell"] == cell), key=lambda row: _off(row["before"]["mean"]))
        best.append(f"{called(cell)} with {changed(nearest) or STARTS['torch']}, {_share(nearest['before'])}")
    return [f"Nearest to 1 come: {'; '.join(best)}."]


def _killed(rows: Sequence[Row]) -> list[str]:
    """What the small random start of many courses leaves."""
    left = []
    for row in rows:
        decay = row["before"]["mean"]
        if 0 < decay < 1:
            steps = int(np.ceil(np.log(0.01) / np.log(decay)))
            left.append(f"{steps} {'step' if steps == 1 else 'steps'} in the {called(row['cell'])}")
    return [f"From {STARTS['small_normal']} not 1 % is left after {listed(left)}."] if left else []


def _through_training(changes: Mapping[str, Estimate]) -> list[str]:
    said = []
    for cell, change in changes.items():
        if change.low is None or change.high is None:
            continue
        if change.low <= 0 <= change.high:
            said.append(f"no change found in the {called(cell)}, {amount(change, digits=2)}")
        else:
            said.append(
                f"the {called(cell)}'s decay {'rises' if change.mean > 0 else 'falls'} by {amount(change, digits=2)}"
            )
    return [f"Through training: {'; '.join(said)}."] if said else []


def _whether_it_matters(foretells: Mapping[str, Any] | None) -> list[str]:
    if foretells is None:
        return []
    over = f"over {foretells['conditions']} conditions (Spearman's ρ {number(foretells['rho'], 2)})"
    if foretells["p"] >= 1 - LEVEL:
        return [f"No relation found between the decay before training and what is learned, {over}."]
    more = "more" if foretells["rho"] < 0 else "less"
    return [f"The nearer to 1 the decay before training, the {more} is learned, {over}."]


def _too_few(decays: Sequence[Mapping[str, Any]]) -> list[str]:
    few = any(decay["low"] is None for decay in decays)
    return ["With fewer than three seeds no interval can be given: what is said may be luck."] if few else []


def _off(decay: float) -> float:
    return abs(float(np.log(max(decay, 1e-300))))


def _share(decay: Mapping[str, Any]) -> str:
    return amount(Estimate(*(decay[name] for name in ("mean", "low", "high", "count"))), digits=3)


def _surely_below_one(decay: Mapping[str, Any]) -> bool:
    return decay["mean"] < 1 and (decay["high"] is None or decay["high"] < 1)


# ---- pictures ----------------------------------------------------------------------------------------------------


def figures(findings: Mapping[str, Any]) -> dict[str, Figure]:
    """Curves over the distance, decay by condition, maps over training, decay beside accuracy."""
    rows = findings["conditions"]
    usual = [row for row in rows if not changed(row)]
    drawn = {"Before and after training": _cells(usual, findings["steps"])}
    drawn |= {name: _factor([row for row in rows if varied(row) or not changed(row)], name)
              for name, varied in _VARIED.items()}  # fmt: skip
    drawn["The additive path"] = _paths([row for row in rows if row in usual or _VARIED["Forget bias"](row)])
    drawn["Decay per step"] = _decays(rows)
    drawn |= {f"Through training: {name}": _through(found) for name, found in findings["maps"].items()}
    drawn["What it foretells"] = _foretelling(rows)
    return {name: figure for name, figure in drawn.items() if figure is not None}


def _line(name: str, curve: Mapping[str, Sequence[float | None]]) -> plots.Line:
    ends = {end: 10.0 ** np.array(curve[end], dtype=float) for end in ("median", "low", "high")}  # (T,) each
    return plots.Line(name, None, ends["median"], ends["low"], ends["high"])


def _cells(usual: Sequence[Row], steps: int) -> Figure | None:
    parts = [
        plots.Panel([_line(called(row["cell"]), row["curves"][moment]["h"]) for row in usual], title, _DISTANCE, _NORM,
                    log_y=True)
        for moment, title in (("before", "Before training"), ("after", f"After {steps:,} steps"))
    ]  # fmt: skip
    text = f"Torch's start, one layer. {_BAND}"
    return Figure(plots.panels(parts), text, "Gradient norm against distance by cell") if usual else None


def _paths(rows: Sequence[Row]) -> Figure | None:
    """h beside c, for the cells that have one, by forget bias."""
    parts = [
        plots.Panel([_line(f"∂L/∂{state}", curve) for state, curve in row["curves"]["before"].items()], row["label"],
                    _DISTANCE, "norm", log_y=True)
        for row in rows if "c" in row["curves"]["before"]
    ]  # fmt: skip
    text = f"Before training: the gradient of what is shown (h) and of what is remembered (c). {_BAND}"
    return Figure(plots.panels(parts, 3), text, "Gradient norms of h and c against distance") if parts else None


def _factor(rows: Sequence[Row], name: str) -> Figure | None:
    """The usual start beside what one factor changes, a panel for each cell that has it."""
    parts = []
    for cell in dict.fromkeys(row["cell"] for row in rows):
        mine = [row for row in rows if row["cell"] == cell]
        if len(mine) > 1:
            lines = [_line(changed(row) or STARTS["torch"], row["curves"]["before"]["h"]) for row in mine]
            parts.append(plots.Panel(lines, called(cell), _DISTANCE, _NORM, log_y=True))
    if not parts:
        return None
    return Figure(plots.panels(parts, len(parts)), f"Before training. {_BAND}", f"Gradient norm by {name.lower()}")


def _decays(rows: Sequence[Row]) -> Figure:
    chart = [(row["label"], *(row["before"][name] for name in ("mean", "low", "high", "values"))) for row in rows]
    looks = [styles([called(row["cell"])])[0] for row in rows]
    svg = plots.interval_chart(chart, xlabel="decay per step before training", reference=(1.0, "kept"), looks=looks)
    text = "A dot for each seed; the bar is the 95 % bootstrap interval of the median."
    return Figure(svg, text, "Decay per step of every condition")


def _through(found: Mapping[str, Any]) -> Figure:
    svg = plots.heat_map(found["log10"], rows=[f"step {step}" for step in found["steps"]], xlabel=_DISTANCE,
                         label="log10 share")  # fmt: skip
    text = "What is left of the gradient at the last step, as a power of ten; median over seeds."
    return Figure(svg, text, "Gradient by distance and training step")


def _foretelling(rows: Sequence[Row]) -> Figure:
    lines = []
    for cell in dict.fromkeys(row["cell"] for row in rows):
        points = [(row["before"]["mean"], row["accuracy"]["mean"]) for row in rows
                  if row["cell"] == cell and row["accuracy"]]  # fmt: skip
        lines.append(plots.Line(called(cell), [x for x, _ in points], [y for _, y in points]))
    svg = plots.scatter(lines, xlabel="decay per step before training", ylabel="accuracy after training")
    text = "A point for each condition: median decay and mean accuracy over seeds; guessing gives 0.5."
    return Figure(svg, text, "Accuracy against decay per step")


def tables(findings: Mapping[str, Any]) -> dict[str, Table]:
    """Every condition."""
    rows = [[row["label"], _share(row["before"]), _share(row["after"]), _accuracy(row["accuracy"])]
            for row in findings["conditions"]]  # fmt: skip
    caption = (
        f"Median with 95 % bootstrap interval over seeds; accuracy: mean with t-interval. T = {findings['length']}."
    )
    return {"Every condition": Table(["", "decay before", "decay after", "accuracy"], rows, caption)}


def _accuracy(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "–"
    return amount(Estimate(found["mean"], found["low"], found["high"], found["count"]), digits=3)
