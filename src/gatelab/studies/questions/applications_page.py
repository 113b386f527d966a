"""What the study of applications shows and says, from its findings alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gatelab.cells.cell import CELLS
from gatelab.core.task import Metric
from gatelab.report import plots
from gatelab.report.page import Figure, Table
from gatelab.report.palette import styles
from gatelab.report.text import duration, number
from gatelab.studies.questions.comparison_page import pair
from gatelab.studies.standing import Standing
from gatelab.studies.statistics import Estimate
from gatelab.studies.verdict import amount, beside_baseline
from gatelab.studies.wording import called, listed

Rows = Sequence[Mapping[str, Any]]
Application = Mapping[str, Any]
RNN = "rnn"
_WIDE = 3
"""A loss that falls by more than so many times is drawn on a logarithmic axis."""
_INTERVAL = "Below 1 the cell errs less. A dot for each seed, the geometric mean over seeds and its 95 % interval."


# ---- facts that words, pictures and table share ------------------------------------------------------------------


def over_rnn(findings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The error of each gated cell over the RNN's, application by application."""
    cells = dict.fromkeys(cell for each in findings["applications"] for cell in each["cells"])
    gated = [cell for cell in cells if CELLS[cell].keeps is not None]
    rows = [ratio for cell in gated for ratio in pair(findings["ratios"], cell, RNN)]
    order = {each["data"]: at for at, each in enumerate(findings["applications"])}
    return sorted(rows, key=lambda ratio: order[ratio["data"]])


def standing(each: Application) -> Standing:
    """Cells and simple methods of one application, in its own metric."""
    cells = {cell: {int(seed): value for seed, value in found["reached"]["values"].items()}
             for cell, found in each["cells"].items() if found["reached"]}  # fmt: skip
    simple = {name: found["reached"] for name, found in each["simple"].items()}
    return Standing.of(Metric(**each["metric"]), cells, simple)


def _less(each: Application) -> str:
    """What errors are ratios of: the metric, or the share that is wrong."""
    metric = each["metric"]
    return metric["name"] if metric["goal"] == "min" else f"1 − {metric['name']}"


# ---- words -------------------------------------------------------------------------------------------------------


def verdict(findings: Mapping[str, Any]) -> list[str]:
    """Where gated cells are ahead and where not; by how much; beside simple methods; what was not looked at."""
    known = [each for each in findings["applications"] if standing(each).means]
    if not known:
        return ["No cell finished a trial, so there is nothing to say."]
    ratios = over_rnn(findings)
    return [
        _headline(known, ratios),
        *_simple(known),
        *_by_field(known, ratios),
        *_hinted(ratios),
        *(f"{each['data']}: {beside_baseline(standing(each))}" for each in known if each["simple"]),
        *_too_few(known),
        *([f"Not looked at yet, for want of a task: {listed(findings['missing'])}."] if findings["missing"] else []),
    ]


def _headline(known: Sequence[Application], ratios: Rows) -> str:
    if not ratios:
        cells = listed([called(cell) for cell in dict.fromkeys(cell for each in known for cell in each["cells"])])
        where = listed([each["data"] for each in known])
        return f"{cells} on {where}: no gated cell was trained beside the RNN."
    words = {word: listed(found) for word, found in sorted_out(ratios).items() if found}
    said = {
        "ahead": "gated cells surely beat the RNN on {}",
        "behind": "the RNN surely beats gated cells on {}",
        "open": "no difference is found on {}",
    }
    text = "; ".join(said[word].format(where) for word, where in words.items())
    least, most = (pick(each["epochs"] for each in known) for pick in (min, max))
    epochs = f"{least} to {most}" if least < most else str(most)
    return f"At equal parameters, after {epochs} epochs, {text}."


def sorted_out(ratios: Rows) -> dict[str, list[str]]:
    """Applications by what was found: gated cells ``ahead``, ``behind`` or neither (``open``).

    One on which only some gated cells are ahead or behind is named with them; it may stand in both lists.
    """
    found: dict[str, list[str]] = {"ahead": [], "behind": [], "open": []}
    for name in dict.fromkeys(ratio["data"] for ratio in ratios):
        mine = [ratio for ratio in ratios if ratio["data"] == name]
        for word, below in (("ahead", True), ("behind", False)):
            sure = [called(ratio["a"]) for ratio in mine if ratio["found"] and (ratio["mean"] < 1) == below]
            only = f" ({listed(sure)} only)" if len(sure) < len(mine) else ""
            found[word] += [name + only] if sure else []
        if not any(ratio["found"] for ratio in mine):
            found["open"].append(name)
    return found


def _simple(known: Iterable[Application]) -> list[str]:
    """Where no network is needed."""
    news = {each["data"]: (standing(each).news, standing(each).baseline) for each in known if each["simple"]}
    parts = []
    for word, text in (("worse", "is better than every cell"), ("same", "is not found to be worse than the best cell")):
        where = [f"{name} ({baseline})" for name, (found, baseline) in news.items() if found == word]
        parts += [f"{text} on {listed(where)}"] if where else []
    if parts:
        return [f"A simple method {'; it '.join(parts)}."]
    return ["On every application the best cell beats every simple method."] if news else []


def _by_field(known: Sequence[Application], ratios: Rows) -> Iterator[str]:
    """Ratios in numbers, field by field; a star where they are beyond chance."""
    fields = {each["data"]: each["field"] for each in known}
    for field in dict.fromkeys(fields.values()):
        mine = [ratio for ratio in ratios if fields.get(ratio["data"]) == field]
        each = [f"{ratio['data']} {called(ratio['a'])} {_ratio(ratio)}{'*' * ratio['found']}" for ratio in mine]
        if each:
            yield f"{field.capitalize()}, error over the RNN's (a star: surely another): {'; '.join(each)}."


def _hinted(ratios: Rows) -> list[str]:
    """What an interval alone would have called a difference."""
    named = [f"{ratio['data']} ({called(ratio['a'])})" for ratio in ratios
             if not ratio["found"] and ratio["low"] is not None and not ratio["low"] <= 1 <= ratio["high"]]  # fmt: skip
    why = "so many applications were looked at that some would by chance; more seeds have to tell"
    return [f"By its interval alone the error also differs on {listed(named)}, but {why}."] if named else []


def _ratio(ratio: Mapping[str, Any] | None) -> str:
    return amount(Estimate(*(ratio[end] for end in ("mean", "low", "high", "count"))), digits=3) if ratio else "–"


def _too_few(known: Iterable[Application]) -> list[str]:
    counts = [found["reached"]["count"] for each in known for found in each["cells"].values() if found["reached"]]
    return ["With one seed no interval can be given: what is said may be luck."] if min(counts) < 2 else []


# ---- pictures ----------------------------------------------------------------------------------------------------


def figures(findings: Mapping[str, Any]) -> dict[str, Figure]:
    """Errors over the RNN's, all and for each field with several applications; over the simple method's; curves."""
    shown: dict[str, Figure] = {}
    if ratios := over_rnn(findings):
        shown["Gated cells over the RNN"] = _forest(findings, ratios, "error over the RNN's")
        shown |= {f"Gated cells over the RNN: {field}": _forest(findings, rows, f"error over the RNN's, {field}")
                  for field, rows in _crowded(findings, ratios)}  # fmt: skip
    if findings["beside"]:
        shown["Beside the simple method"] = _beside(findings)
    return shown | {"How they learned": _learning(findings["applications"])}


def _crowded(findings: Mapping[str, Any], ratios: Rows) -> Iterator[tuple[str, Rows]]:
    """Fields of several applications among other fields: what is near 1 cannot be read beside what is near 0."""
    fields = {each["data"]: each["field"] for each in findings["applications"]}
    for field in dict.fromkeys(fields.values()):
        rows = [ratio for ratio in ratios if fields[ratio["data"]] == field]
        if len({ratio["data"] for ratio in rows}) > 1 and len(rows) < len(ratios):
            yield field, rows


def _forest(findings: Mapping[str, Any], ratios: Rows, xlabel: str) -> Figure:
    cells = {each["data"]: each["cells"] for each in findings["applications"]}
    points = []
    for ratio in ratios:
        own, rnn = (cells[ratio["data"]][cell]["error"]["values"] for cell in (ratio["a"], RNN))
        points.append([own[seed] / rnn[seed] for seed in own if seed in rnn])
    svg = _chart(ratios, points, xlabel, "as the RNN")
    return Figure(svg, f"{_INTERVAL} Seeds are paired.", "Error of gated cells over the RNN's by application")


def _chart(ratios: Rows, points: Sequence[Sequence[float]], xlabel: str, equal: str) -> str:
    """Ratios with the values of the seeds, each row in the colour of its cell."""
    rows = [(f"{ratio['data']}: {called(ratio['a'])}", ratio["mean"], ratio["low"], ratio["high"], values)
            for ratio, values in zip(ratios, points, strict=True)]  # fmt: skip
    cells = list(dict.fromkeys(called(ratio["a"]) for ratio in ratios))
    look = dict(zip(cells, styles(cells), strict=True))
    looks = [look[called(ratio["a"])] for ratio in ratios]
    return plots.interval_chart(rows, xlabel=xlabel, reference=(1.0, equal), looks=looks, ratios=True)


def _beside(findings: Mapping[str, Any]) -> Figure:
    sets = {each["data"]: each for each in findings["applications"]}
    points = []
    for ratio in findings["beside"]:
        each = sets[ratio["data"]]
        mark = each["simple"][ratio["b"]]["error"]
        points.append([error / mark for error in each["cells"][ratio["a"]]["error"]["values"].values()])
    svg = _chart(findings["beside"], points, "error over the simple method's", "as the simple method")
    best = {ratio["data"]: ratio["b"] for ratio in findings["beside"]}
    text = f"{_INTERVAL} The simple method: {'; '.join(f'{data}: {name}' for data, name in best.items())}."
    return Figure(svg, text, "Error of every cell over that of the best simple method by application")


def _learning(sets: Iterable[Application]) -> Figure:
    parts = []
    for each in sets:
        curves = {called(cell): found["curve"]["validation"] for cell, found in each["cells"].items()}
        lines = [plots.Line(name, range(1, len(losses) + 1), losses) for name, losses in curves.items()]
        everything = np.concatenate(list(curves.values()))  # (cells · E,)
        wide = bool(0 < _WIDE * everything.min() < everything.max())
        parts.append(plots.Panel(lines, each["data"], "epoch", "validation loss", log_y=wide))
    return Figure(plots.panels(parts), "Mean over seeds.", "Validation loss by epoch on each application")


# ---- tables ------------------------------------------------------------------------------------------------------


def tables(findings: Mapping[str, Any]) -> dict[str, Table]:
    """Every cell and simple method on every application."""
    columns = ["application", "", "test", "error over the RNN's", "corrected p", "over the simple method's",
               "parameters (units)", "rate", "training"]  # fmt: skip
    rnn = {(ratio["data"], ratio["a"]): ratio for ratio in over_rnn(findings)}
    simple = {(ratio["data"], ratio["a"]): ratio for ratio in findings["beside"]}
    rows = [row for each in findings["applications"] for row in _rows(each, rnn, simple)]
    wrong = listed([each["data"] for each in findings["applications"] if each["metric"]["goal"] == "max"])
    caption = (
        "Mean over seeds with its 95 % interval; ratios are geometric means. A star: another error than the RNN's "
        "beyond chance. The simple method: the one that is best on the test part. Training: of one network."
    ) + (f" Errors on {wrong} are shares that are wrong." if wrong else "")
    return {"Every application": Table(columns, rows, caption)}


def _rows(each: Application, rnn: Mapping[tuple, Any], simple: Mapping[tuple, Any]) -> Iterator[list[str]]:
    unit = f" {each['metric']['unit']}" if each["metric"]["unit"] else ""
    for cell, found in each["cells"].items():
        ratio, reached = rnn.get((each["data"], cell)), found["reached"]
        mean = Estimate(*(reached[end] for end in ("mean", "low", "high", "count"))) if reached else None
        yield [
            f"{each['data']} ({each['field']})",
            called(cell),
            f"{each['metric']['name']} {amount(mean) if mean else '–'}{unit}",
            _ratio(ratio) + "*" * bool(ratio and ratio["found"]) if cell != RNN else "",
            number(ratio["p_holm"], 2) if ratio else "",
            _ratio(simple.get((each["data"], cell))),
            f"{found['parameters']:,} ({found['hidden_size']})",
            f"{found['learning_rate']:g}",
            duration(found["train_seconds"]),
        ]
    for name, found in sorted(each["simple"].items(), key=lambda item: item[1]["error"]):
        reached = f"{each['metric']['name']} {number(found['reached'])}{unit}"
        yield [f"{each['data']} ({each['field']})", name, reached, *[""] * 6]
