"""What the study of depth shows and says, from its findings alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gatelab.report import plots
from gatelab.report.page import Figure, Table
from gatelab.report.text import number
from gatelab.studies.questions.depth_findings import BASES, PLAIN, remedy
from gatelab.studies.statistics import Estimate
from gatelab.studies.verdict import amount
from gatelab.studies.wording import called

Found = Mapping[str, Any]
_LAYERS = "layers L"
_AT = {"width": "equal width", "parameters": "equal parameters"}


def label(condition: Found) -> str:
    """Data, cell, depth, and what is not as usual."""
    layers = f"{condition['num_layers']} {'layer' if condition['num_layers'] == 1 else 'layers'}"
    basis = _AT["width" if condition["parameters"] is None else "parameters"]
    done = remedy(condition)
    return f"{condition['data']}, {called(condition['cell'])}, {layers}, {basis if done == PLAIN else done}"


# ---- words -------------------------------------------------------------------------------------------------------


def verdict(findings: Found) -> list[str]:
    """Where depth helps on either basis, what it costs, what remedies do, and what is left of depth then."""
    groups = findings["groups"]
    return [
        *_depth(groups),
        *_each(groups),
        *_gap(groups),
        *_time(findings["times"]),
        *_remedies(groups),
        *_left(groups),
        *_too_few(groups),
    ]


def _depth(groups: Sequence[Found]) -> list[str]:
    """The headline: how often more than one layer is better, worse, or no different."""
    said = [f"at {_AT[basis]} {_counted(_deepest(group['deeper'][basis]) for group in groups)}"
            for basis in reversed(BASES) if any(group["deeper"][basis] for group in groups)]  # fmt: skip
    if not said:
        return ["There is only one depth, so nothing can be said of more layers."]
    most = max(int(gap["a"]) for group in groups for basis in BASES for gap in group["deeper"][basis])
    return [f"{most} layers beside one: {'; '.join(said)}."]


def _counted(gaps: Iterable[Found | None]) -> str:
    """How many of the differences are found to be lower, higher, or neither."""
    known = [gap for gap in gaps if gap is not None]
    better = sum(gap["found"] and gap["units"]["mean"] < 0 for gap in known)
    worse = sum(gap["found"] and gap["units"]["mean"] > 0 for gap in known)
    parts = [f"{count} {word}" for count, word in ((better, "better"), (worse, "worse")) if count]
    none = len(known) - better - worse
    parts += [f"no difference found in {none}"] if none else []
    return f"{', '.join(parts)} (of {len(known)})"


def _each(groups: Sequence[Found]) -> list[str]:
    """For each cell on each set of data: the best depth at equal parameters, and how it stands to one layer."""
    said = []
    for group in groups:
        gaps = group["deeper"]["parameters"]
        best = min(gaps, key=lambda gap: gap["units"]["mean"], default=None)
        if best is None:
            continue
        if best["found"] and best["units"]["mean"] < 0:
            told = f"best with {best['a']} layers, {_percent(best)} below one"
        else:
            told = f"no depth found better than one layer (nearest {best['a']}, {_percent(best, signed=True)})"
        said.append(f"{called(group['cell'])} on {group['data']}: {told}")
    return [f"At equal parameters: {'; '.join(said)}."] if said else []


def _gap(groups: Sequence[Found]) -> list[str]:
    """Whether the deepest network overfits more than one layer."""
    said = []
    for basis in reversed(BASES):
        gaps = [_deepest(group["gaps"][basis]) for group in groups]
        if any(gap is not None for gap in gaps):
            grown = sum(gap is not None and gap["found"] and gap["units"]["mean"] > 0 for gap in gaps)
            shrunk = sum(gap is not None and gap["found"] and gap["units"]["mean"] < 0 for gap in gaps)
            said.append(f"at {_AT[basis]} it is larger in {grown} and smaller in {shrunk} of {len(gaps)}")
    return [f"The gap between test and training error, deepest beside one layer: {'; '.join(said)}."] if said else []


def _time(times: Sequence[Found]) -> list[str]:
    said = []
    for basis in BASES:
        last = [list(taken["ratio"].items())[-1] for taken in times if taken["basis"] == basis]
        if last and last[0][0] != "1":
            ratios = [ratio["mean"] for _, ratio in last]
            said.append(f"{_range(ratios)} times at {_AT[basis]}")
    depth = list(times[0]["ratio"])[-1] if times else ""
    return [f"A training step with {depth} layers takes {' and '.join(said)} as long as with one."] if said else []


def _range(values: Sequence[float]) -> str:
    low, high = number(min(values), 2), number(max(values), 2)
    return low if low == high else f"{low} to {high}"


def _remedies(groups: Sequence[Found]) -> list[str]:
    """What each remedy does at the greatest depth, over all groups."""
    said = []
    for name in dict.fromkeys(gap["a"] for group in groups for gap in group["remedies"]["error"]):
        gaps = [_of(group["remedies"]["error"], name) for group in groups]
        spread = [_of(group["remedies"]["gap"], name) for group in groups]
        narrower = sum(gap is not None and gap["found"] and gap["units"]["mean"] < 0 for gap in spread)
        said.append(f"{name} {_counted(gaps)}, narrower gap in {narrower}")
    return [f"Remedies, beside the plain network of the greatest depth: {'; '.join(said)}."] if said else []


def _left(groups: Sequence[Found]) -> list[str]:
    """Whether the best deep network, with all remedies, beats the best of one layer."""
    said = []
    for group in groups:
        if group["shallow"]:
            best = min(group["shallow"], key=lambda gap: gap["units"]["mean"])
            word = "no difference found" if not best["found"] else "better" if best["units"]["mean"] < 0 else "worse"
            said.append(f"{called(group['cell'])} on {group['data']}: {best['a']} beside {best['b']}, {word} "
                        f"({_percent(best, signed=True)})")  # fmt: skip
    return [f"The best deep network beside the best of one layer at equal width: {'; '.join(said)}."] if said else []


def _too_few(groups: Sequence[Found]) -> list[str]:
    few = any(row["error"]["low"] is None for group in groups for row in group["rows"])
    return ["With one seed no interval can be given: what is said may be luck."] if few else []


def _deepest(gaps: Sequence[Found]) -> Found | None:
    return max(gaps, key=lambda gap: int(gap["a"]), default=None)


def _of(gaps: Sequence[Found], name: str) -> Found | None:
    """The remedy's difference at the greatest depth."""
    return max((gap for gap in gaps if gap["a"] == name), key=lambda gap: gap["depth"], default=None)


def _percent(gap: Found, signed: bool = False) -> str:
    found = Estimate(**gap["percent"]) if gap["percent"] else Estimate(**gap["units"])
    flipped = not signed and found.mean < 0
    text = amount(found.scaled(-1) if flipped else found, "%" if gap["percent"] else "", 2)
    return f"+{text}" if signed and found.mean > 0 else text


# ---- pictures ----------------------------------------------------------------------------------------------------


def figures(findings: Found) -> dict[str, Figure]:
    """Error and gap by depth, remedies, time, learning curves."""
    groups = findings["groups"]
    drawn = {
        "Error and depth": _by_depth(groups),
        "Test and training error": _gaps(groups),
        "Remedies": _remedy_chart(groups),
        "Time of a step": _times(findings["times"]),
        "How they learned": _learned(groups),
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def _plain(group: Found, basis: str) -> list[Found]:
    return sorted((row for row in group["rows"] if row["basis"] == basis and row["remedy"] == PLAIN),
                  key=lambda row: row["depth"])  # fmt: skip


def _line(name: str, rows: Sequence[Found], measure: str = "error", **look: Any) -> plots.Line:
    ends = {end: [row[measure][end] if row[measure][end] is not None else np.nan for row in rows]
            for end in ("mean", "low", "high")}  # fmt: skip
    return plots.Line(name, [row["depth"] for row in rows], ends["mean"], ends["low"], ends["high"], **look)


def _by_depth(groups: Sequence[Found]) -> Figure | None:
    parts = []
    for data in dict.fromkeys(group["data"] for group in groups):
        for basis in BASES:
            mine = [(group, rows) for group in groups if group["data"] == data and (rows := _plain(group, basis))]
            if mine:
                lines = [_line(called(group["cell"]), rows) for group, rows in mine]
                parts.append(plots.Panel(lines, f"{data}, {_AT[basis]}", _LAYERS, _measured(mine[0][0]), log_x=True))
    text = "Test error, mean over seeds with its 95 % interval."
    return Figure(plots.panels(parts), text, "Test error against the number of layers") if parts else None


def _gaps(groups: Sequence[Found]) -> Figure | None:
    parts = []
    for group in groups:
        if rows := _plain(group, "width"):
            lines = [_line("test", rows, colour="accent"), _line("training", rows, "train_error", colour="ochre")]
            title = f"{group['data']}, {called(group['cell'])}"
            parts.append(plots.Panel(lines, title, _LAYERS, _measured(group), log_x=True))
    text = "At equal width, without dropout: errors on the test part and on what was trained on."
    return Figure(plots.panels(parts), text, "Test and training error against depth") if parts else None


def _remedy_chart(groups: Sequence[Found]) -> Figure | None:
    rows = []
    for group in groups:
        for gap in group["remedies"]["error"]:
            if gap["percent"]:
                found = gap["percent"]
                name = f"{group['data']}, {called(group['cell'])}, {gap['depth']} layers, {gap['a']}"
                rows.append((name, found["mean"], found["low"], found["high"], ()))
    if not rows:
        return None
    svg = plots.interval_chart(rows, xlabel="test error, % beside the plain network", reference=(0.0, "plain"))
    text = "Left of the line the remedy helps. Means over seeds with their 95 % intervals."
    return Figure(svg, text, "What remedies change at depth")


def _times(times: Sequence[Found]) -> Figure | None:
    parts = []
    for data in dict.fromkeys(taken["data"] for taken in times):
        for basis in BASES:
            mine = [taken for taken in times if taken["data"] == data and taken["basis"] == basis]
            rows = [[{"depth": int(depth), "ms": ms} for depth, ms in taken["ms"].items()] for taken in mine]
            lines = [_line(called(taken["cell"]), row, "ms") for taken, row in zip(mine, rows, strict=True)]
            parts.append(plots.Panel(lines, f"{data}, {_AT[basis]}", _LAYERS, "ms", log_x=True))
    text = "One optimizer step on one thread, networks taking turns; median with its 95 % bootstrap interval."
    return Figure(plots.panels(parts), text, "Time of a training step against depth") if parts else None


def _learned(groups: Sequence[Found]) -> Figure | None:
    """Training and validation loss of one layer and of the deepest plain network, at equal width."""
    parts = []
    for group in groups:
        rows = _plain(group, "width")
        for row in dict.fromkeys((0, len(rows) - 1)) if rows else ():
            curve, depth = rows[row]["curve"], rows[row]["depth"]
            epochs = range(1, len(curve["train"]) + 1)
            lines = [plots.Line("validation", epochs, curve["validation"], colour="accent"),
                     plots.Line("training", epochs, curve["train"], colour="ochre")]  # fmt: skip
            title = f"{group['data']}, {called(group['cell'])}, L = {depth}"
            parts.append(plots.Panel(lines, title, "epoch", "loss"))
    return Figure(plots.panels(parts), "Mean over seeds.", "Loss by epoch, shallow and deep") if parts else None


def _measured(group: Found) -> str:
    return f"{group['metric']}, {group['unit']}" if group["unit"] else group["metric"]


def tables(findings: Found) -> dict[str, Table]:
    """Every condition."""
    rows = []
    for group in findings["groups"]:
        for row in group["rows"]:
            how = _AT[row["basis"]] if row["remedy"] == PLAIN else row["remedy"]
            size = [row["hidden_size"], f"{row['parameters']:,}", row["learning_rate"]]
            rows.append([group["data"], called(group["cell"]), row["depth"], how, *size, _mean(row["error"]),
                         _mean(row["gap"])])  # fmt: skip
    columns = ["data", "cell", "layers", "how", "H", "parameters", "rate", "test error", "test − training"]
    return {"Every condition": Table(columns, rows, "Means over seeds with their 95 % intervals.")}


def _mean(found: Found) -> str:
    return amount(Estimate(found["mean"], found["low"], found["high"], found["count"]), digits=3)
