"""What a report shows of sequences: which steps moved the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gatelab.core.task import Evaluation, Metric
from gatelab.data.sequences import Sequences
from gatelab.report.page import Figure, Section
from gatelab.report.plots import Line, Panel, panels
from gatelab.report.text import label as one_line
from gatelab.tasks.classifying import figures
from gatelab.tasks.classifying.batches import Examples
from gatelab.tasks.classifying.contributions import strongest
from gatelab.tasks.classifying.labels import Labels

Array = np.ndarray
_NAMED = 4  # stretches that are named where there is room for a few
_PICTURES, _LONGEST, _CHANNELS = 3, 2_000, 3


def because(values: Array, join: int, steps: int | None = None) -> str:
    """The steps that mattered most, from 1, each with its contribution in nats.

    >>> because(np.array([0.1, 0.0, -2.0]), join=1), because(np.array([0.5, -1.0]), join=4, steps=7)
    ('step 3 (-2.00), step 1 (+0.10)', 'steps 5–7 (-1.00), steps 1–4 (+0.50)')
    """
    told = []
    for at in strongest(values, _NAMED):
        first, last = at * join + 1, min((at + 1) * join, steps or (at + 1) * join)
        place = f"step {first}" if first == last else f"steps {first}–{last}"
        told.append(f"{place} ({values[at]:+.2f})")
    return ", ".join(told)


def shown(classes: Array, lengths: Array) -> Array:
    """Which items a report has pictures of: the first of each of the first classes that is not too long, ``(E,)``."""
    fits = np.flatnonzero(lengths <= _LONGEST)
    _, first = np.unique(classes[fits], return_index=True)
    return fits[first][:_PICTURES]


def steps_section(
    results: Mapping[str, Sequence[Evaluation]],
    sequences: Sequences,
    examples: Examples,
    labels: Labels,
    metric: Metric,
) -> Section | None:
    """Some test sequences, and how much each of their steps counted for the best network, seed by seed in the middle.

    Args:
        results: of all methods; those of networks hold ``shown`` and ``shown_contributions``.
        sequences: of the test part.
        examples: the same, as the network reads them.
        labels: of the task.
        metric: by which methods are ranked.
    """
    told = {name: found for name, found in results.items() if found and "shown" in found[0].arrays}
    if not told:
        return None
    best = figures.ranked(told, metric.name, 1 if metric.goal == "min" else -1)[0]
    arrays = figures.middle_seed(told[best], metric.name).arrays
    which, ends = arrays["shown"], np.cumsum(sequences.values.lengths[arrays["shown"]])
    if len(examples) != len(arrays["truth"]) or not len(which):
        return None
    parts = []
    for at, values in zip(which.tolist(), np.split(arrays["shown_contributions"], ends[:-1]), strict=True):
        truth, said = (one_line(labels.names[arrays[key][at]], 30) for key in ("truth", "said"))
        title = f"item {one_line(examples.names[at], 30)}: class {truth}, taken for {said}"
        parts += _panels(title, sequences.values[at], sequences.channels, values)
    caption = (
        f"Test sequences, and beside each how much every step moved {best} (the middle seed) towards the class it "
        "gave (above 0) or away from it: integrated gradients of the log-odds, all channels together, against a "
        "sequence that stands still at the training mean."
    )
    return Section("Which steps mattered", [Figure(panels(parts, columns=2, height=150), caption, caption)])


def _panels(title: str, rows: Array, channels: Sequence[str], values: Array) -> list[Panel]:
    """The sequence ``(T, C)`` itself, and the contributions ``(T,)`` of its steps."""
    steps = np.arange(1, len(rows) + 1)
    lines = [Line(one_line(name, 20), steps, rows[:, at]) for at, name in enumerate(channels[:_CHANNELS])]
    mattered = [Line("contribution", steps, values)]
    return [Panel(lines, title, "step", "value"), Panel(mattered, "what each step counted", "step", "nats")]
