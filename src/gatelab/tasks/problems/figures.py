"""What a report shows of answers: beside the truth, or how often they are right."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from gatelab.core.task import Evaluation, Metric
from gatelab.report.page import Figure, Section
from gatelab.report.plots import Line, heat_map, line_chart, scatter
from gatelab.tasks.problems.answers import Answer, Classes

Results = Mapping[str, Sequence[Evaluation]]


def sections(answer: Answer, metric: Metric, results: Results, simple: Collection[str]) -> list[Section]:
    """One section; ``results`` holds one evaluation per seed for each cell and for each baseline in ``simple``."""
    networks = {name: found for name, found in results.items() if found and name not in simple}
    if not networks:
        return []
    if answer.asked > 1:
        return [_by_place(answer, networks)]
    sign = 1 if metric.goal == "min" else -1
    best = min(networks, key=lambda name: sign * np.mean([found.metrics[metric.name] for found in networks[name]]))
    order = sorted(networks[best], key=lambda found: found.metrics[metric.name])
    draw = _confusion if isinstance(answer, Classes) else _beside_truth
    return [draw(best, order[len(order) // 2])]  # the seed in the middle: neither the luckiest nor the unluckiest


def _by_place(answer: Answer, networks: Results) -> Section:
    """How often each of several symbols is right."""
    places = np.arange(1, answer.asked + 1)
    lines = []
    for name, evaluations in networks.items():
        right = np.stack([(found.arrays["said"] == found.arrays["truth"]).mean(axis=1) for found in evaluations])
        lines.append(Line(name, places, right.mean(axis=0), right.min(axis=0), right.max(axis=0)))
    caption = "Share of the symbols at each place that are given right, on the test part; bands: range over seeds."
    svg = line_chart(lines, xlabel="place of the symbol", ylabel="share right")
    return Section("Which symbols are remembered", [Figure(svg, caption, caption)])


def _confusion(name: str, evaluation: Evaluation) -> Section:
    """How often each class is taken for each."""
    said, truth = evaluation.arrays["said"][0], evaluation.arrays["truth"][0]  # (N,)
    classes = int(max(said.max(), truth.max())) + 1
    counts = np.zeros((classes, classes))  # (K, K)
    np.add.at(counts, (truth, said), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)  # (K, K)
    caption = f"What {name} says (columns) where each class was right (rows), as shares of each row, on the test part."
    svg = heat_map(shares, xlabel="said", ylabel="right", label="share", limits=(0.0, 1.0))
    return Section("What is taken for what", [Figure(svg, caption, caption)])


def _beside_truth(name: str, evaluation: Evaluation) -> Section:
    """What is said against what is right."""
    said, truth = evaluation.arrays["said"][0], evaluation.arrays["truth"][0]  # (N,)
    caption = f"What {name} answers against what is right, on the test part."
    svg = scatter([Line(name, truth, said)], xlabel="right", ylabel="answered", diagonal=True)
    return Section("Answers beside the truth", [Figure(svg, caption, caption)])
