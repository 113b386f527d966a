"""A sequence classifier as an ONNX graph, from values in the user's units to probabilities.

T rows that are read at once, B batch, P steps in each of them, C channels, G channels with gaps in training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gatelab.nn.onnx import Export, Graph
from gatelab.tasks.classifying.model import Classifier
from gatelab.tasks.classifying.onnx import Steps
from gatelab.tasks.classifying.onnx import export as export_classifier
from gatelab.tasks.sequence_classification.scaling import Scaling

if TYPE_CHECKING:
    from gatelab.tasks.sequence_classification.task import SequenceClassification

Array = np.ndarray
_MISSING = 0.1  # share of missing values in the samples, in channels that may have gaps


def export(task: SequenceClassification, model: Classifier) -> Export:
    """``model`` as a graph; scales and gaps are inside, unless each sequence is scaled by itself.

    Raises:
        InputError: the encoder cannot be written, or ``onnx`` is not installed.
    """
    writer = _Writer(task.scaling, task.channels)
    described = {"channels": list(task.channels), "join": task.scaling.join, "scale": task.scaling.by}
    return export_classifier(task.name, model, task.labels, writer.steps(), described)


class _Writer:
    """What stands before the network in the graph."""

    def __init__(self, scaling: Scaling, channels: tuple[str, ...]):
        self.scaling, self.channels = scaling, channels
        own = scaling.by == "sequence"
        self.mean = np.zeros_like(scaling.mean) if own else scaling.mean  # (C,)
        self.deviation = np.ones_like(scaling.deviation) if own else scaling.deviation  # (C,)

    def steps(self) -> Steps:
        """The input of the graph: values of P steps side by side, (T, B, P·C) float64."""
        P = self.scaling.join
        text = f"values of {', '.join(self.channels)}" + (
            f", {P} steps side by side, the last one repeated" if P > 1 else ""
        )
        if self.scaling.by == "sequence":
            text += "; each channel of each sequence has mean 0 and deviation 1"
        if len(self.scaling.gappy):
            text += f"; NaN where one is missing of {', '.join(self.channels[at] for at in self.scaling.gappy)}"
        return Steps(np.float64, (P * len(self.channels),), text, self.features, self.draw, self.read)

    def features(self, graph: Graph, values: str) -> str:
        """What ``Scaling.read`` does: (T, B, P·(C + G)) float32 from (T, B, P·C)."""
        C, P = len(self.channels), self.scaling.join
        apart = graph.reshape(values, 0, 0, P, C)  # (T, B, P, C)
        centred = graph.node("Sub", apart, graph.constant(self.mean))
        scaled = self._bounded(
            graph, graph.cast(graph.node("Div", centred, graph.constant(self.deviation)), np.float32)
        )
        if not len(self.scaling.gappy):
            return graph.reshape(scaled, 0, 0, self.scaling.features)
        missing = graph.node("IsNaN", apart)  # (T, B, P, C)
        known = graph.node("Where", missing, graph.constant(0, np.float32), scaled)
        flags = graph.node("Gather", missing, graph.constant(self.scaling.gappy, np.int64), axis=3)  # (T, B, P, G)
        both = graph.node("Concat", known, graph.cast(flags, np.float32), axis=3)  # (T, B, P, C + G)
        return graph.reshape(both, 0, 0, self.scaling.features)

    def _bounded(self, graph: Graph, scaled: str) -> str:
        """Channels (T, B, P, C) held to what a model can have learned of; what is missing is any number."""
        if self.scaling.limits is None:
            return scaled
        least, most = (graph.constant(limit, np.float32) for limit in self.scaling.limits)
        return graph.node("Min", graph.node("Max", scaled, least), most)

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """Values like those of the training, (T, B, P·C)."""
        values = self.mean + self.deviation * rng.normal(size=(*shape[:2], self.scaling.join, len(self.mean)))
        gappy = self.scaling.gappy
        gone = rng.random((*values.shape[:3], len(gappy))) < _MISSING  # (T, B, P, G)
        values[..., gappy] = np.where(gone, np.nan, values[..., gappy])
        return values.reshape(shape)

    def read(self, values: Array) -> Array:
        """What the network is given for them, (T, B, P·(C + G)) float32."""
        apart = values.reshape(*values.shape[:2], self.scaling.join, len(self.mean))  # (T, B, P, C)
        scaled = np.nan_to_num((apart - self.mean) / self.deviation, nan=0.0)
        if self.scaling.limits is not None:
            scaled = np.clip(scaled, *self.scaling.limits)
        both = np.concatenate([scaled, np.isnan(apart[..., self.scaling.gappy])], axis=3)  # (T, B, P, C + G)
        return both.reshape(*values.shape[:2], -1).astype(np.float32)
