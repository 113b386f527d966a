"""A classifier as one ONNX graph, from sequences to calibrated probabilities.

Sequences of unequal length stand side by side; what lies after a sequence's end changes nothing.

T time, B batch, I features of a step, F features of an output (D·H), D directions, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from gatelab.core.random import generator
from gatelab.nn.onnx import (
    Export,
    Graph,
    Sample,
    deviation,
    ends,
    frozen,
    layers_of,
    nonempty,
    recurrent,
    require_known,
    within,
)
from gatelab.nn.onnx.graph import array
from gatelab.nn.pooling import Pooling
from gatelab.tasks.classifying.batches import ClassBatch
from gatelab.tasks.classifying.labels import Labels
from gatelab.tasks.classifying.model import Classifier

Array = np.ndarray
_SHAPES = ((1, 1), (1, 7), (3, 5), (5, 23))  # (B, T) that every export is tried with


class Steps(NamedTuple):
    """The input of the graph, and what makes features of it."""

    dtype: Any
    width: tuple[int, ...]
    """What a step is: ``()`` for a number of a token, ``(C,)`` for values."""
    text: str
    """What it is, for who opens the file."""
    features: Callable[[Graph, str], str]
    """Writes what the front does: a value ``(T, B, I)`` from the input ``(T, B, …)``."""
    draw: Callable[[np.random.Generator, tuple[int, ...]], Array]
    """A random input of a shape, to prove the graph with."""
    read: Callable[[Array], Array] = lambda steps: steps
    """What the network is given for an input ``(T, B, …)``, where the graph begins before it."""


def export(name: str, model: Classifier, labels: Labels, steps: Steps, metadata: Mapping[str, Any]) -> Export:
    """``model`` as a graph, with random sequences that prove it.

    Args:
        name: of the task.
        model: the trained network.
        labels: the names of the classes.
        steps: the input.
        metadata: what else is to be known of it, as plain JSON values.

    Raises:
        InputError: the encoder cannot be written, or ``onnx`` is not installed.
    """
    require_known(model.encoder)
    network, exact = frozen(model), frozen(model, torch.float64)
    graph = Graph(f"gatelab_{name.replace('-', '_')}")
    given = graph.input("steps", steps.dtype, ("time", "batch", *steps.width), steps.text)
    lengths = graph.input("lengths", np.int32, ("batch",), "steps of each sequence, from 1 on; of none: NaN")
    probabilities = write(graph, network, steps.features(graph, given), lengths)  # (B, K)
    text = f"of the classes {labels.said()}, in this order"
    graph.output(probabilities, "probabilities", np.float32, ("batch", len(labels)), text)
    proof = tuple(_sample(network, exact, steps, B, T) for B, T in _SHAPES)
    described = {"task": name, "cell": layers_of(network.encoder)[0].cell, "labels": list(labels.names), **metadata}
    batch = _batch(proof[0].inputs, steps, torch.float32)
    return Export(graph.model(described), proof, lambda: network.log_probabilities(batch))


def write(graph: Graph, model: Classifier, features: str, lengths: str) -> str:
    """The probabilities ``(B, K)`` from features ``(T, B, I)`` and lengths ``(B,)`` int32; NaN for a length of 0."""
    output, (final, *_) = recurrent(graph, model.encoder, features, lengths, None)  # (T, B, F), (L·D, B, H)
    if model.pooling.kind == "last":
        pooled = ends(graph, model.encoder, output, final, lengths)  # (B, F)
    else:
        pooled = _pooled(graph, model.pooling, output, lengths)  # (B, F)
    scale = graph.constant(1 / float(model.temperature), np.float32)
    found = graph.node("Softmax", graph.node("Mul", graph.linear(pooled, model.head), scale), axis=1)  # (B, K)
    nan = graph.constant(np.nan, np.float32)
    return graph.node("Where", nonempty(graph, lengths, -1, 1), found, nan)  # who has read nothing knows no class


def _pooled(graph: Graph, pooling: Pooling, output: str, lengths: str) -> str:
    """The outputs of all steps ``(T, B, F)``, which are 0 after a sequence's end, as one vector ``(B, F)``."""
    if pooling.kind == "mean":
        count = graph.reshape(graph.cast(lengths, np.float32), -1, 1)  # (B, 1)
        return graph.node("Div", graph.over("ReduceSum", output, 0, keepdims=False), count)
    nowhere = graph.constant(-np.inf, np.float32)
    there = within(graph, output, lengths)  # (T, B, 1)
    if pooling.kind == "max":
        return graph.over("ReduceMax", graph.node("Where", there, output, nowhere), 0, keepdims=False)
    hidden = graph.node("Tanh", _linear(graph, output, pooling.project))  # (T, B, F)
    score = graph.node("Where", there, _linear(graph, hidden, pooling.score), nowhere)  # (T, B, 1)
    weighted = graph.node("Mul", graph.node("Softmax", score, axis=0), output)  # (T, B, F)
    return graph.over("ReduceSum", weighted, 0, keepdims=False)


def _linear(graph: Graph, value: str, layer: nn.Linear) -> str:
    """``layer`` at every step: ``(T, B, I)`` to ``(T, B, O)``."""
    product = graph.node("MatMul", value, graph.constant(array(layer.weight.T)))
    return product if layer.bias is None else graph.node("Add", product, graph.constant(array(layer.bias)))


def _sample(network: Classifier, exact: Classifier, steps: Steps, B: int, T: int) -> Sample:
    """Random sequences, one of full length, and what the network makes of them, in float32 and in float64."""
    rng = generator(0, "export", B, T)
    lengths = np.array(rng.permutation([T, *rng.integers(1, T + 1, B - 1)]), np.int32)  # (B,)
    inputs = {"steps": steps.draw(rng, (T, B, *steps.width)).astype(steps.dtype), "lengths": lengths}
    found, truth = (_probabilities(each, inputs, steps) for each in (network, exact))
    scale = {"probabilities": 1.0}
    return Sample(inputs, found, scale, deviation(found, truth, scale))


@torch.no_grad()
def _probabilities(network: Classifier, inputs: Mapping[str, Array], steps: Steps) -> dict[str, Array]:
    batch = _batch(inputs, steps, network.head.weight.dtype)
    return {"probabilities": network.log_probabilities(batch).exp().numpy()}


def _batch(inputs: Mapping[str, Array], steps: Steps, dtype: torch.dtype) -> ClassBatch:
    x, lengths = torch.from_numpy(steps.read(inputs["steps"])), torch.from_numpy(inputs["lengths"])
    return ClassBatch(x.to(dtype) if x.is_floating_point() else x, lengths.long(), torch.zeros(len(lengths)).long())
