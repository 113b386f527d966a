"""What a report shows of music: what was expected beside what was played, and which keys are hard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gatelab.core.task import Evaluation, Metric
from gatelab.report.page import Figure, Section
from gatelab.report.plots import Line, heat_map, line_chart
from gatelab.tasks.music.rolls import KEYS, LOWEST, key_name

Array = np.ndarray
Results = Mapping[str, Sequence[Evaluation]]
SHOWN = 64
"""Steps of the first piece that are kept for the picture."""
_MARGIN = 3  # keys drawn above and below those that matter
_LIKELY = 0.05


def sections(results: Results, simple: Sequence[str], metric: Metric) -> list[Section]:
    """Sections for a page; ``results`` holds one evaluation per seed for each cell and baseline."""
    ranked = sorted((name for name in results if results[name]), key=lambda name: _mean(results[name], metric.name))
    if not ranked:
        return []
    best = next((name for name in ranked if name not in simple), ranked[0])  # networks are what people came for
    return [_expectation(best, _middle_seed(results[best], metric.name)), _by_key(results, ranked)]


def _mean(evaluations: Sequence[Evaluation], metric: str) -> float:
    return float(np.mean([evaluation.metrics[metric] for evaluation in evaluations]))


def _middle_seed(evaluations: Sequence[Evaluation], metric: str) -> Evaluation:
    """Neither the luckiest nor the unluckiest picture."""
    return sorted(evaluations, key=lambda evaluation: evaluation.metrics[metric])[len(evaluations) // 2]


def _expectation(name: str, evaluation: Evaluation) -> Section:
    probability, truth = evaluation.arrays["shown_probability"], evaluation.arrays["shown_truth"]  # (T, 88) each
    matters = np.flatnonzero(truth.any(axis=0) | (probability.max(axis=0) > _LIKELY))
    low, high = (matters.min(), matters.max()) if len(matters) else (0, KEYS - 1)
    keys = np.arange(min(high + _MARGIN, KEYS - 1), max(low - _MARGIN, 0) - 1, -1)  # the highest on top
    names = [key_name(key) for key in keys]
    look = {"rows": names, "xlabel": "step predicted", "ylabel": "key", "limits": (0.0, 1.0)}
    expected = f"What {name} expects at each step of the first test piece, told all steps before it."
    played = "What was played."
    return Section(
        "What it expects",
        [
            Figure(heat_map(probability[:, keys].T, label="probability", **look), expected, expected),
            Figure(heat_map(truth[:, keys].T, label="played", **look), played, played),
        ],
    )


def _by_key(results: Results, ranked: Sequence[str]) -> Section:
    lines = []
    for name in ranked[:4]:
        losses = np.stack([evaluation.arrays["nll_by_key"] for evaluation in results[name]])  # (seeds, 88)
        lines.append(Line(name, np.arange(KEYS) + LOWEST, losses.mean(axis=0)))
    caption = "The share of each key in the negative log-likelihood of a step, for the best methods; C4 is 60."
    svg = line_chart(lines, xlabel="key (MIDI number)", ylabel="nats/step")
    return Section("Which keys are hard", [Figure(svg, caption, caption)])
