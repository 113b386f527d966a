"""What the study of hidden sizes shows and says, from its findings alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gatelab.report import plots
from gatelab.report.page import Figure, Table
from gatelab.report.text import number
from gatelab.studies.questions.hidden_size_findings import BY_EXAMPLES, ONE_SIZE, SHARES
from gatelab.studies.statistics import Estimate
from gatelab.studies.verdict import amount
from gatelab.studies.wording import called, listed

Found = Mapping[str, Any]
_SIZE = "hidden size H"
_COLUMNS = 3


# ---- words -------------------------------------------------------------------------------------------------------


def verdict(findings: Found) -> list[str]:
    """When more stops helping, what it costs, whether a rule can tell, and where networks do not pay."""
    return [
        *_enough(findings["series"]),
        *_too_many(findings),
        *_cost(findings["costs"]),
        *_rule(findings),
        *_losing(findings["series"]),
        *_too_few(findings["series"]),
    ]


def _enough(series: Sequence[Found]) -> list[str]:
    found = [cell["enough"] for one in series for cell in one["cells"].values()]
    most = max(int(size) for one in series for cell in one["cells"].values() for size in cell["errors"])
    still = sum(size == most for size in found)
    text = f"More units stop helping early: half of the {len(found)} curves are as good as their best from " \
           f"{number(np.median(found))} units on (least {min(found)}, most {max(found)})"  # fmt: skip
    return [f"{text}; {still or 'none'} of them still gained from the last step to {most}."]


def _too_many(findings: Found) -> list[str]:
    if len(findings["sizes"]) < 2:
        return []
    (small, first), *_, (large, last) = findings["sizes"].items()
    return [f"On average over the series, {small} units cost {_percent(first)} and {large} cost {_percent(last)} of "
            "the best size's error."]  # fmt: skip


def _cost(costs: Found) -> list[str]:
    said = []
    for cell, taken in costs.items():
        sizes = list(taken["ms"])
        if len(sizes) > 1:
            first, last = sizes[0], sizes[-1]
            times = taken["ms"][last]["mean"] / taken["ms"][first]["mean"]
            memory = f"{number(taken['memory_mb'][first], 2)} to {number(taken['memory_mb'][last], 3)} MB"
            said.append(f"in the {called(cell)} a training step takes {number(times, 2)} times as long with {last} "
                        f"units as with {first}, and a pass {memory}")  # fmt: skip
    return [f"Costs: {'; '.join(said)}."] if said else []


def _rule(findings: Found) -> list[str]:
    """What the rules are worth on series they were not made from."""
    rules = {rule["name"]: rule for rule in findings["rules"]}
    if not rules:
        return ["Too few series to make a rule from some and try it on others."]
    kept = findings["suggestion"]
    name, rule = kept["name"], kept["rule"]
    near = listed([f"{100 * rules[name]['within'][str(share)]:.0f} % within {100 * share:g} %" for share in SHARES])
    worth = f"on series it was not made from it costs {_percent(rules[name]['mean'])} ({near} of the best)"
    gain = findings["gain"]
    beside = amount(Estimate(**gain["units"]).scaled(100), "percentage points", 2)
    if name == ONE_SIZE:
        units = _nearest(rule)
        text = f"One size for all, {units} units, is as good a rule as any found: {worth}."
        relation = f"No gain found from looking at how many examples there are: regret differs by {beside}."
    else:
        text = f"The best rule takes {number(rule['size'], 2)} units at 1,000 examples, by their number to the power " \
               f"of {number(rule['exponent'])}: {worth}."  # fmt: skip
        relation = f"It is better than one size for all: regret differs by {beside}."
    tried = (
        f"Training every size and taking the best on validation costs {_percent(rules['best on validation']['mean'])}."
    )
    return [text, relation, tried]


def _losing(series: Sequence[Found]) -> list[str]:
    """Where even the best size does not beat a simple method."""
    lost = []
    for one in series:
        if not one["baselines"]:
            continue
        name, least = min(one["baselines"].items(), key=lambda item: item[1])
        best = min(cell["errors"][str(cell["best"])]["mean"] for cell in one["cells"].values())
        if best >= least:
            lost.append(f"{one['series']} ({name} {number(least, 3)}, best network {number(best, 3)})")
    return [f"No size beats the simple method on {listed(lost)}."] if lost else []


def _too_few(series: Sequence[Found]) -> list[str]:
    errors = [error for one in series for cell in one["cells"].values() for error in cell["errors"].values()]
    few = any(error["low"] is None for error in errors)
    return ["With one seed no interval can be given: what is said may be luck."] if few else []


def _estimate(found: Found) -> Estimate:
    """A mean in percent."""
    return Estimate(found["mean"], found["low"], found["high"], found["count"]).scaled(100)


def _percent(found: Found) -> str:
    return amount(_estimate(found), "%", 2)


def _nearest(rule: Found) -> int:
    return min(rule["sizes"], key=lambda size: abs(np.log2(size / rule["size"])))


# ---- pictures ----------------------------------------------------------------------------------------------------


def figures(findings: Found) -> dict[str, Figure]:
    """Regret by series and size, errors, costs, rules."""
    drawn = {
        "What a size costs": _regrets(findings["series"]),
        "Error and size": _errors(findings["series"]),
        "Time and memory": _costs(findings["costs"]),
        "Rules on series they have not seen": _rules(findings["rules"]),
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def _regrets(series: Sequence[Found]) -> Figure:
    rows = [(one, cell, name) for one in series for name, cell in one["cells"].items()]
    sizes = sorted({int(size) for _, cell, _ in rows for size in cell["errors"]})
    matrix = np.full((len(rows), len(sizes)), np.nan)  # (rows, sizes)
    for at, (_, cell, _) in enumerate(rows):
        least = cell["errors"][str(cell["best"])]["mean"]
        for place, size in enumerate(sizes):
            if error := cell["errors"].get(str(size)):
                matrix[at, place] = 100 * (error["mean"] / least - 1)
    names = [f"{one['series']}, {called(cell)}" for one, _, cell in rows]
    strongest = max(min(20.0, float(np.nanmax(matrix))), 1.0)
    svg = plots.heat_map(matrix, rows=names, columns=[str(size) for size in sizes], xlabel=_SIZE,
                         label="% above best", limits=(0, strongest))  # fmt: skip
    text = "Mean test error over seeds, in percent above the best size of the row; fewest examples on top."
    return Figure(svg, text, "Regret by series, cell and hidden size")


def _errors(series: Sequence[Found]) -> Figure:
    parts = [
        plots.Panel([*[_curve(name, cell["errors"]) for name, cell in one["cells"].items()], *_levels(one)],
                    f"{one['series']} ({one['examples']:,})", _SIZE, "MASE", log_x=True)
        for one in series
    ]  # fmt: skip
    text = "Test MASE, mean over seeds with its 95 % interval, beside two methods without a size; (examples)."
    return Figure(plots.panels(parts, _COLUMNS, height=170), text, "Error against hidden size on every series")


def _curve(cell: str, errors: Mapping[str, Found]) -> plots.Line:
    sizes = [int(size) for size in errors]
    ends = {end: [error[end] if error[end] is not None else np.nan for error in errors.values()]
            for end in ("mean", "low", "high")}  # fmt: skip
    return plots.Line(called(cell), sizes, ends["mean"], ends["low"], ends["high"])


def _levels(one: Found) -> list[plots.Line]:
    sizes = sorted({int(size) for cell in one["cells"].values() for size in cell["errors"]})
    return [plots.Line(name, sizes, [value] * len(sizes)) for name, value in one["baselines"].items()]


def _costs(costs: Found) -> Figure | None:
    if not costs:
        return None
    times = [_curve(cell, taken["ms"]) for cell, taken in costs.items()]
    memory = [plots.Line(called(cell), [int(size) for size in taken["memory_mb"]], list(taken["memory_mb"].values()))
              for cell, taken in costs.items()]  # fmt: skip
    parts = [plots.Panel(times, "A training step", _SIZE, "ms", log_x=True, log_y=True),
             plots.Panel(memory, "Memory of a pass", _SIZE, "MB", log_x=True, log_y=True)]  # fmt: skip
    taken = next(iter(costs.values()))
    text = f"On {taken['series']}: B = {taken['B']}, T = {taken['T']}; one thread, sizes taking turns. Median of the " \
           "rounds with its 95 % bootstrap interval."  # fmt: skip
    return Figure(plots.panels(parts), text, "Time and memory against hidden size")


def _rules(rules: Sequence[Found]) -> Figure | None:
    if not rules:
        return None
    rows = []
    for rule in rules:
        found = _estimate(rule["mean"])
        points = [100 * value for value in rule["regrets"].values()]
        rows.append((rule["name"], found.mean, found.low, found.high, points))
    svg = plots.interval_chart(rows, xlabel="regret, % above the best size's error")
    text = "A dot for each series, the rule made from the others; the mark is their mean with its bootstrap interval."
    return Figure(svg, text, "Regret of each rule on series left out")


def tables(findings: Found) -> dict[str, Table]:
    """Every series; every rule."""
    found = {"Every series": _series_table(findings["series"])}
    return found | ({"Every rule": _rules_table(findings["rules"])} if findings["rules"] else {})


def _series_table(series: Sequence[Found]) -> Table:
    rows = []
    for one in series:
        for name, cell in one["cells"].items():
            error = cell["errors"][str(cell["best"])]
            best = amount(Estimate(error["mean"], error["low"], error["high"], error["count"]), digits=3)
            simple = min(one["baselines"].values(), default=None)
            rows.append([one["series"], f"{one['examples']:,}", called(name), cell["best"], best, cell["enough"],
                         number(simple, 3)])  # fmt: skip
    columns = ["series", "examples", "cell", "best size", "its MASE", "as good from", "simple method"]
    return Table(columns, rows, "MASE: mean over seeds with its 95 % interval. As good: within that interval.")


def _rules_table(rules: Sequence[Found]) -> Table:
    columns = ["rule", "mean regret", *(f"within {100 * share:g} %" for share in SHARES)]
    rows = [[rule["name"], _percent(rule["mean"]), *(f"{100 * rule['within'][str(share)]:.0f} %" for share in SHARES)]
            for rule in rules]  # fmt: skip
    marked = [at for at, rule in enumerate(rules) if rule["name"] in (ONE_SIZE, BY_EXAMPLES)]
    return Table(columns, rows, "On each series, made from all others. Marked: rules that try nothing.", marked)
