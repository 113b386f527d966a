"""The rows that the terminal and the report show, made from ``results.json`` alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.table import Table as RichTable
from rich.text import Text

from gatelab.report.page import Table
from gatelab.report.text import duration, number
from gatelab.studies.statistics import Estimate
from gatelab.studies.verdict import amount
from gatelab.studies.wording import called

Results = Mapping[str, Any]
SHOWN = 4
"""Columns of the score table that the terminal shows: the name and three metrics."""


class _Ranked(NamedTuple):
    """A cell or a baseline in the order of the score table."""

    value: float | None  # of the first metric
    scores: list[str]  # the row of the score table
    costs: list[str]  # the row of the cost table
    is_cell: bool


def _ranking(results: Results) -> list[_Ranked]:
    """Cells and baselines, the best on the test part first."""
    names = [metric["name"] for metric in results["metrics"]]
    rows: list[_Ranked] = []
    for cell in results["cells"].values():
        scores = [cell["test"][name] for name in names]
        label = cell["title"] + (f" ({cell['failed']} failed)" if cell["failed"] else "")
        value = scores[0] and scores[0]["mean"]
        rows.append(_Ranked(value, [label, *map(_score, scores)], _cost_row(cell), True))
    for label, baseline in results["baselines"].items():
        scores = [baseline["test"][name] for name in names]
        rows.append(_Ranked(scores[0], [label, *map(number, scores)], _baseline_cost_row(label, baseline), False))
    sign = 1 if results["metrics"][0]["goal"] == "min" else -1
    return sorted(rows, key=lambda row: (row.value is None, sign * (row.value or 0.0)))


def score_table(results: Results) -> Table:
    """Cells and baselines on the test part, best first."""
    rows = _ranking(results)
    columns = ["", *(_heading(metric) for metric in results["metrics"])]
    seeds = len(results["seeds"])
    caption = f"Test part. Cells: mean of {seeds} seeds and 95 % interval of the mean; baselines: one value."
    return Table(columns, [row.scores for row in rows], caption if seeds > 1 else "Test part, one seed.",
                 [at for at, row in enumerate(rows) if row.is_cell])  # fmt: skip


def cost_table(results: Results) -> Table:
    """What each cell, and each baseline, cost."""
    rows = [_cost_row(cell) for cell in results["cells"].values()]
    rows += [_baseline_cost_row(name, baseline) for name, baseline in results["baselines"].items()]
    columns = ["", "training", "to level", "best epoch", "peak memory", "parameters", "ms a sequence", "ms a step",
               "gradient spread"]  # fmt: skip
    level = "" if results["level"] is None else f" ({number(results['level'])})"
    return Table(
        columns,
        rows,
        f"Medians over seeds, one thread each. To level: seconds until validation first reached what every cell "
        f"reaches with half of its seeds{level}. Peak memory: of the whole process, and what "
        f"training added. Milliseconds: one sequence at a "
        f"time. Gradient spread: 95th percentile of an epoch's gradient norms over their mean. Baselines: time of "
        f"their evaluation.",
    )


def difference_table(results: Results) -> Table:
    """The cells beside each other and beside the best baseline, with what the tests say."""
    metric = results["metrics"][0]
    rows = [[f"{called(d['a'])} − {called(d['b'])}", *_gap(d, metric["unit"])] for d in results["differences"]]
    name = best_baseline(results)
    rows += [[f"{called(gap['a'])} − {name}", *_gap(gap, metric["unit"])]
             for gap in results["against_baselines"].get(name, ())]  # fmt: skip
    return Table(
        [metric["name"], "difference", "in percent", "p", "p (Holm)"],
        rows,
        "Paired by seed where both are cells; 95 % t-intervals, each for its comparison alone. Holm's correction over "
        "all pairs of cells, and over the cells beside the baseline. The other baselines are in results.json.",
    )


def best_baseline(results: Results) -> str:
    """The baseline that is best on the test part; empty where there is none."""
    metric = results["metrics"][0]
    sign = 1 if metric["goal"] == "min" else -1
    scores = {name: each["test"][metric["name"]] for name, each in results["baselines"].items()}
    return min((n for n, score in scores.items() if score is not None), key=lambda n: sign * scores[n], default="")


def failure_table(results: Results) -> Table:
    """What did not finish, and why."""
    rows = [[entry["trial"], entry["status"], entry["message"].splitlines()[0] if entry["message"] else ""]
            for entry in results["failed"]]  # fmt: skip
    return Table(["trial", "what happened", "why"], rows)


def for_terminal(results: Results) -> RichTable:
    """The first metrics and the costs that matter most, in one table that fits a terminal; the report has them all."""
    table = RichTable(box=SIMPLE_HEAD, pad_edge=False)
    for at, column in enumerate([*score_table(results).columns[:SHOWN], "training", "parameters", "ms a step"]):
        table.add_column(column, justify="left" if at == 0 else "right", no_wrap=at == 0)
    for row in _ranking(results):
        shown = [*row.scores[:SHOWN], row.costs[1], row.costs[5], row.costs[7]]
        table.add_row(*map(Text, shown), style="bold" if row.is_cell else "dim")
    return table


def _cost_row(cell: Mapping[str, Any]) -> list[str]:
    cost = cell["cost"]
    reached = "" if cell["reached_level"] == cell["finished"] else f" ({cell['reached_level']} of {cell['finished']})"
    memory = cost["peak_memory_mb"]
    return [
        cell["title"],
        _time(cost["train_seconds"]),
        _time(cost["seconds_to_level"]) + reached,
        "–" if cost["best_epoch"] is None else f"{cost['best_epoch']:g}",
        "–" if memory is None else f"{memory:.0f} MB (+{cost['added_memory_mb']:.0f})",
        "–" if cell["parameters"] is None else f"{cell['parameters']:,}",
        number(cost["latency_ms"], 3),
        number(cost["step_latency_ms"], 2),
        number(cost["gradient_norm_spread"], 3),
    ]


def _baseline_cost_row(name: str, baseline: Mapping[str, Any]) -> list[str]:
    return [name, _time(baseline["seconds"]), *["–"] * 7]


def _gap(difference: Mapping[str, Any], unit: str) -> list[str]:
    units, percent = difference["units"], difference["percent"]
    p_values = ["–" if p is None else f"{p:.3f}" if p >= 0.001 else "< 0.001"
                for p in (difference["p"], difference["p_holm"])]  # fmt: skip
    return [amount(Estimate(**units), unit, 3), amount(Estimate(**percent), "%", 2) if percent else "–", *p_values]


def _score(score: Mapping[str, Any] | None) -> str:
    if score is None:
        return "–"
    if score["low"] is None:
        return number(score["mean"])
    return f"{number(score['mean'])} ± {number(score['high'] - score['mean'], 2)}"


def _heading(metric: Mapping[str, Any]) -> str:
    return metric["name"] + (f" ({metric['unit']})" if metric["unit"] else "")


def _time(seconds: float | None) -> str:
    return "–" if seconds is None else duration(seconds)
