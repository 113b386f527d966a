"""What the study of music shows and says, from its findings alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from gatelab.core.task import Metric
from gatelab.report import plots
from gatelab.report.page import Figure, Table
from gatelab.report.text import duration, number
from gatelab.studies.standing import Standing
from gatelab.studies.statistics import Estimate, against
from gatelab.studies.verdict import among_cells, amount, beside_baseline
from gatelab.studies.wording import called, listed

Group = Mapping[str, Any]
NLL = Metric("NLL", unit="nats/step")
TITLES = {"jsb_chorales": "JSB chorales", "nottingham_pianoroll": "Nottingham"}


_ENOUGH = 30  # epochs: before that, networks learn at different speeds and are still far from their best


class Published(NamedTuple):
    """Test NLL as a paper has it."""

    source: str
    values: Mapping[str, float]
    """By cell."""


PUBLISHED: Mapping[tuple[str, int], Published] = {
    ("jsb_chorales", 20_000): Published("Chung et al. 2014", {"rnn": 9.10, "gru": 8.54, "lstm": 8.67}),
    ("jsb_chorales", 300_000): Published("Bai et al. 2018", {"rnn": 8.91, "gru": 8.43, "lstm": 8.45}),
    ("nottingham_pianoroll", 300_000): Published("Bai et al. 2018", {"rnn": 4.05, "gru": 3.46, "lstm": 3.29}),
}


def data(source: str) -> str:
    """A set of data as people call it."""
    return TITLES.get(source, source)


def titled(group: Group) -> str:
    """The data and the budget of a group, and what is left out of it."""
    return f"{data(group['source'])}, {sized(group)}"


def sized(group: Group) -> str:
    """The budget of a group, and what is left out of it."""
    return f"{group['parameters']:,} parameters{'' if group['dropped'] else ', no dropout'}"


# ---- words -------------------------------------------------------------------------------------------------------


def verdict(findings: Mapping[str, Any]) -> list[str]:
    """A headline; then each group: who is best, beside the baselines, beside what was published."""
    said = [_headline(findings)]
    for group in findings["groups"]:
        standing = _standing(group, findings["baselines"].get(group["source"], {}))
        beside = f" {beside_baseline(standing)}" if standing.baseline is not None else ""
        said.append(f"{titled(group)}: {among_cells(standing)}{beside}{_beside_published(group)}")
    return said


def _headline(findings: Mapping[str, Any]) -> str:
    """Who leads on each set of data, in one sentence."""
    parts = []
    for source in _sources(findings):
        standings = [(_standing(group, {}), group) for group in _of(findings, source)]
        standing, group = min(standings, key=lambda entry: entry[0].means[entry[0].leader].mean)
        leaders = listed([called(cell) for cell in [standing.leader, *standing.tied]])
        doubt = ", no difference found between them" if standing.tied else ""
        reached = number(standing.means[standing.leader].mean, 3)
        parts.append(f"on {data(source)} by {leaders} of {sized(group)} ({reached} nats/step{doubt})")
    return f"The least NLL is reached {', and '.join(parts)}."


def _values(group: Group) -> dict[str, dict[int, float]]:
    """Test NLL by seed of each cell that finished one."""
    return {cell: {int(seed): value for seed, value in found["test"]["values"].items()}
            for cell, found in group["cells"].items() if found["test"]}  # fmt: skip


def _standing(group: Group, baselines: Mapping[str, float]) -> Standing:
    return Standing.of(NLL, _values(group), baselines)


def _beside_published(group: Group) -> str:
    """Which cells reach less than was published, surely, and which do not."""
    published = PUBLISHED.get((group["source"], group["parameters"]))
    if published is None:
        return ""
    if group["epochs"] < _ENOUGH:
        return f" After {group['epochs']} epochs this is no match for published figures, nor is the order final."
    cells = {cell: by_seed for cell, by_seed in _values(group).items() if cell in published.values}
    gaps = {cell: against({cell: by_seed}, published.source, published.values[cell])[0]
            for cell, by_seed in cells.items()}  # fmt: skip
    words = []
    for word, belongs in (("below", lambda gap: gap.units.mean < 0), ("above", lambda gap: gap.units.mean >= 0)):
        sure = [f"{called(cell)} ({published.values[cell]:.2f})"
                for cell, gap in gaps.items() if gap.found and belongs(gap)]  # fmt: skip
        words += [f"surely {word} what {published.source} report: {listed(sure)}"] if sure else []
    open_ = [called(cell) for cell, gap in gaps.items() if not gap.found]
    words += [f"no difference found from {published.source}: {listed(open_)}"] if open_ else []
    return f" Over seeds, {'; '.join(words)}." if words else ""


# ---- pictures ----------------------------------------------------------------------------------------------------


def figures(findings: Mapping[str, Any]) -> dict[str, Figure]:
    """For each set of data, everything beside everything; and how the networks learned."""
    shown = {f"{data(source)}: NLL": _beside(findings, source) for source in _sources(findings)}
    return shown | {f"{titled(group)}: learning": _learning(group) for group in findings["groups"]}


def _sources(findings: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(group["source"] for group in findings["groups"]))


def _of(findings: Mapping[str, Any], source: str) -> Iterator[Group]:
    return (group for group in findings["groups"] if group["source"] == source)


def _beside(findings: Mapping[str, Any], source: str) -> Figure:
    rows: list[tuple[str, Any, Any, Any, Any]] = []
    for group in _of(findings, source):
        for cell, test in ((cell, found["test"]) for cell, found in group["cells"].items() if found["test"]):
            points = list(test["values"].values())
            rows.append((f"{called(cell)}, {_short(group)}", test["mean"], test["low"], test["high"], points))
    for (where, parameters), published in PUBLISHED.items():
        if where == source:
            rows += [(f"{called(cell)}, {parameters:,}, {published.source}", value, None, None, ())
                     for cell, value in published.values.items()]  # fmt: skip
    simple = findings["baselines"].get(source, {})
    best = min(simple, key=lambda name: simple[name], default="")
    rows += [(best, simple[best], None, None, ())] if best else []
    others = listed([f"{name} {number(value)}" for name, value in simple.items() if name != best])
    left_out = f" Not drawn, for they would flatten the rest: {others}." if others else ""
    caption = f"A dot for each seed, the mean and its 95 % interval; baselines and papers have one value.{left_out}"
    svg = plots.interval_chart(rows, xlabel="test NLL, nats/step")
    return Figure(svg, caption, f"Test NLL on {data(source)}")


def _short(group: Group) -> str:
    return f"{group['parameters']:,}{'' if group['dropped'] else ', no dropout'}"


def _learning(group: Group) -> Figure:
    parts = [
        plots.Panel([plots.Line(called(cell), range(1, len(found["curve"][part]) + 1), found["curve"][part])
                     for cell, found in group["cells"].items()], part, "epoch", "NLL, nats/step")
        for part in ("train", "validation")
    ]  # fmt: skip
    return Figure(plots.panels(parts), "Mean over seeds.", f"Learning curves on {titled(group)}")


# ---- tables ------------------------------------------------------------------------------------------------------


def tables(findings: Mapping[str, Any]) -> dict[str, Table]:
    """Cells, baselines and published figures, all in one."""
    columns = ["data", "", "parameters (units)", "test NLL", "validation NLL", "published", "rate, dropout", "time"]
    rows = []
    for source in _sources(findings):
        rows += [_row(group, *entry) for group in _of(findings, source) for entry in group["cells"].items()]
        simple = findings["baselines"].get(source, {})
        rows += [[data(source), name, "", number(value), "", "", "", ""] for name, value in simple.items()]
    papers = listed(sorted({f"{each.source} at about {size:,} parameters" for (_, size), each in PUBLISHED.items()}))
    caption = (
        "Mean over seeds with its 95 % interval, nats a step; less is better. Chosen on the validation part: learning "
        "rate and recurrent dropout. Time: of a training. Note frequencies need no memory; logistic regression is "
        f"linear in the keys of the step before. Published: {papers}."
    )
    return {"Every network and baseline": Table(columns, rows, caption)}


def _row(group: Group, cell: str, found: Mapping[str, Any]) -> list[str]:
    published = PUBLISHED.get((group["source"], group["parameters"]))
    return [
        data(group["source"]),
        called(cell),
        f"{found['parameters']:,} ({found['hidden_size']})",
        _amount(found["test"]),
        _amount(found["validation"]),
        f"{published.values[cell]:.2f}" if published and cell in published.values else "",
        f"{found['chosen']['learning_rate']:g}, {found['chosen']['recurrent_dropout']:g}",
        duration(found["seconds"]),
    ]


def _amount(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "–"
    return amount(Estimate(found["mean"], found["low"], found["high"], found["count"]))
