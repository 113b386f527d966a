"""What a report shows of a classification: what is taken for what, the most telling errors, how sure is how right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gatelab.core.task import Evaluation
from gatelab.report.page import Figure, Section, Table
from gatelab.report.plots import Line, heat_map, line_chart
from gatelab.report.text import label as one_line
from gatelab.tasks.classifying.labels import Labels
from gatelab.tasks.classifying.scores import reliability

Array = np.ndarray
Results = Mapping[str, Sequence[Evaluation]]
_LINES = 4
_CHARACTERS = 160


def ranked(results: Results, metric: str, sign: int) -> list[str]:
    """The methods with results, the best mean first; ``sign`` is 1 where less is better, else -1."""
    means = {name: np.mean([found.metrics[metric] for found in results[name]]) for name in results if results[name]}
    return sorted(means, key=lambda name: sign * means[name])


def middle_seed(evaluations: Sequence[Evaluation], metric: str) -> Evaluation:
    """Neither the luckiest nor the unluckiest."""
    return sorted(evaluations, key=lambda found: found.metrics[metric])[len(evaluations) // 2]


def confusion(evaluation: Evaluation, classes: int) -> Array:
    """How many items of each class (rows) were given each class (columns): ``(K, K)``."""
    truth, said = evaluation.arrays["truth"], evaluation.arrays["said"]  # (N,) each
    return np.bincount(truth * classes + said, minlength=classes**2).reshape(classes, classes)


def confusion_section(name: str, evaluation: Evaluation, labels: Labels) -> Section:
    """The matrix of confusion as shares of each true class."""
    counts = confusion(evaluation, len(labels))  # (K, K)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)  # (K, K)
    text = f"Of the test items of each class (a row), the share that {name} gives each class; the middle seed."
    look = {"xlabel": "class given", "ylabel": "true class", "label": "share of the row", "limits": (0.0, 1.0)}
    picture = heat_map(shares, rows=labels.names, columns=labels.names, **look)
    return Section("What is taken for what", [Figure(picture, text, text)])


def errors_section(
    name: str, evaluation: Evaluation, labels: Labels, items: Sequence[str], reasons: Sequence[str]
) -> Section:
    """The items that ``arrays["telling"]`` names, and why the network gave them the class it did."""
    truth, said, confidence = (evaluation.arrays[key] for key in ("truth", "said", "confidence"))
    rows = [
        [
            one_line(item, _CHARACTERS),
            one_line(labels.names[truth[at]]),
            one_line(labels.names[said[at]]),
            f"{confidence[at]:.3f}",
            one_line(reason, _CHARACTERS),
        ]
        for at, item, reason in zip(evaluation.arrays["telling"].tolist(), items, reasons, strict=True)
    ]
    columns = ["item", "true class", "class given", "probability", "because of"]
    caption = (
        f"Test items that {name} (the middle seed) gets wrong, those first of which it is surest; and what moved it "
        "towards (+) or away from (−) the class given, in nats, by integrated gradients."
    )
    return Section("The most telling errors", [Table(columns, rows, caption)])


def reliability_section(results: Results) -> Section | None:
    """Accuracy beside confidence, for the first methods that give probabilities."""
    lines = []
    for name in results:
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
