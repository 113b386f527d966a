"""What a report shows of a classification: what is taken for what, the most telling errors, how sure is how right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gatelab.core.task import Evaluation, Metric
from gatelab.report.page import Figure, Section, Table
from gatelab.report.plots import Line, heat_map, line_chart
from gatelab.report.text import label as one_line
from gatelab.tasks.classifying.labels import Labels
from gatelab.tasks.classifying.scores import reliability

Array = np.ndarray
Results = Mapping[str, Sequence[Evaluation]]
_ERRORS, _LINES = 12, 4
_CHARACTERS = 160


def sections(
    results: Results, simple: Sequence[str], metric: Metric, labels: Labels, names: Sequence[str]
) -> list[Section]:
    """Sections for a page.

    Args:
        results: one evaluation per seed for each cell and baseline.
        simple: which of them are baselines.
        metric: by which they are ranked.
        labels: of the task.
        names: what each scored item is called, in order.
    """
    sign = 1 if metric.goal == "min" else -1
    means = {
        name: np.mean([found.metrics[metric.name] for found in results[name]]) for name in results if results[name]
    }
    ranked = sorted(means, key=lambda name: sign * means[name])
    if not ranked:
        return []
    best = next((name for name in ranked if name not in simple), ranked[0])  # networks are what people came for
    middle = sorted(results[best], key=lambda found: found.metrics[metric.name])[len(results[best]) // 2]
    found = [_confusion(best, middle, labels), _errors(best, middle, labels, names), _reliability(results, ranked)]
    return [section for section in found if section is not None]


def confusion(evaluation: Evaluation, classes: int) -> Array:
    """How many items of each class (rows) were given each class (columns): ``(K, K)``."""
    truth, said = evaluation.arrays["truth"], evaluation.arrays["said"]  # (N,) each
    return np.bincount(truth * classes + said, minlength=classes**2).reshape(classes, classes)


def _confusion(name: str, evaluation: Evaluation, labels: Labels) -> Section:
    counts = confusion(evaluation, len(labels))  # (K, K)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)  # (K, K)
    text = f"Of the test items of each class (a row), the share that {name} gives each class; the middle seed."
    look = {"xlabel": "class given", "ylabel": "true class", "label": "share of the row", "limits": (0.0, 1.0)}
    picture = heat_map(shares, rows=labels.names, columns=labels.names, **look)
    return Section("What is taken for what", [Figure(picture, text, text)])


def _errors(name: str, evaluation: Evaluation, labels: Labels, names: Sequence[str]) -> Section | None:
    """The surest of the wrong answers: they tell most about data and model."""
    arrays = evaluation.arrays
    wrong = np.flatnonzero(arrays["error_by_item"])
    if not len(wrong) or len(names) != len(arrays["truth"]):
        return None
    surest = wrong[np.argsort(-np.nan_to_num(arrays["confidence"][wrong]), kind="stable")][:_ERRORS]
    rows = [
        [
            one_line(names[at], _CHARACTERS),
            one_line(labels.names[arrays["truth"][at]]),
            one_line(labels.names[arrays["said"][at]]),
            f"{arrays['confidence'][at]:.3f}",
        ]
        for at in surest.tolist()
    ]
    caption = f"Test items that {name} (the middle seed) gets wrong, those first of which it is surest."
    return Section(
        "The most telling errors", [Table(["item", "true class", "class given", "probability"], rows, caption)]
    )


def _reliability(results: Results, ranked: Sequence[str]) -> Section | None:
    """Accuracy beside confidence, for the best methods that give probabilities."""
    lines = []
    for name in ranked:
        arrays = [found.arrays for found in results[name]]
        confidence = np.concatenate([found["confidence"] for found in arrays])  # (seeds · N,)
        right = np.concatenate([found["error_by_item"] == 0 for found in arrays])  # (seeds · N,)
        if np.isfinite(confidence).all() and len(lines) < _LINES:
            _, accuracy, mean = reliability(right, confidence)
            seen = np.isfinite(mean)
            lines.append(Line(name, mean[seen], accuracy[seen]))
    if not lines:
        return None
    lines.append(Line("as sure as right", [0, 1], [0, 1], style="dashed"))
    caption = "Accuracy of the answers that were given with each confidence; 15 bins, as for the error."
    svg = line_chart(lines, xlabel="probability of the class given", ylabel="accuracy")
    return Section("How sure, and how right", [Figure(svg, caption, caption)])
