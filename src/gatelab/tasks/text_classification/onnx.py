"""A text classifier as an ONNX graph, from the numbers of tokens to probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gatelab.nn.onnx import Export, Graph
from gatelab.nn.onnx.graph import array
from gatelab.tasks.classifying.model import Classifier
from gatelab.tasks.classifying.onnx import Steps
from gatelab.tasks.classifying.onnx import export as export_classifier

if TYPE_CHECKING:
    from gatelab.tasks.text_classification.task import TextClassification


def export(task: TextClassification, model: Classifier) -> Export:
    """``model`` as a graph; its metadata holds the tokenizer, so that the file alone is enough to use it.

    Raises:
        InputError: the encoder cannot be written, or ``onnx`` is not installed.
    """
    count = len(task.tokenizer)

    def features(graph: Graph, ids: str) -> str:
        return graph.node("Gather", graph.constant(array(model.front.table.weight)), ids, axis=0)  # (T, B, I)

    text = "numbers of tokens as tokenizer in the metadata has them: 0 unknown, 1 end, and for a text without tokens 1"
    steps = Steps(np.int64, (), text, features, lambda rng, shape: rng.integers(count, size=shape))
    return export_classifier(task.name, model, task.labels, steps, {"tokenizer": task.tokenizer.state()})
