"""A language model as one ONNX graph: tokens and states in, log-probabilities and states out.

Any number of steps at a time: one, to write a text; many, to score one.

T time, B batch, L layers, H hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gatelab.core.random import generator
from gatelab.nn.onnx import Export, Graph, Sample, deviation, frozen, layers_of, recurrent, require_known
from gatelab.nn.onnx.graph import array
from gatelab.nn.packing import STATES
from gatelab.nn.stack import Stack
from gatelab.tasks.language.model import AdaptiveSoftmax, LanguageNet

if TYPE_CHECKING:
    from gatelab.tasks.language.task import Language

Array = np.ndarray
_SHAPES = ((1, 1), (2, 5), (5, 23))  # (B, T) that every export is tried with


def export(task: Language, model: LanguageNet) -> Export:
    """``model`` as a graph, with random tokens that prove it; its metadata hold the vocabulary.

    Raises:
        InputError: ONNX has no node for the encoder, or ``onnx`` is not installed.
    """
    require_known(model.encoder)
    network, exact = frozen(model), frozen(model, torch.float64)
    proof = tuple(_sample(network, exact, B, T) for B, T in _SHAPES)
    layers = layers_of(network.encoder)
    described = {"task": task.name, "cell": layers[0].cell, "tokenizer": task.tokenizer.state()}
    if layers[0].learn_initial_state:
        names = [f"initial_{name}" for name in STATES[: len(layers[0].state_sizes)]]
        described |= {name: [row for layer in layers for row in array(getattr(layer, name)).tolist()]
                      for name in names}  # (L, H) each  # fmt: skip
    first = torch.from_numpy(proof[0].inputs["tokens"])
    return Export(_graph(network).model(described), proof, lambda: network.step(first[0]))


def _graph(network: LanguageNet) -> Graph:
    graph = Graph("gatelab_language")
    layers = layers_of(network.encoder)
    top, L = layers[-1], sum(layer.num_layers for layer in layers)
    tokens = graph.input("tokens", np.int64, ("time", "batch"), "numbers of tokens; a text begins with 1, an end")
    shapes = {name: (L, "batch", size) for name, size in zip(STATES, top.state_sizes, strict=False)}
    text = "state {}: what the call before gave; to begin a text, {}"
    begin = "initial_{} of the metadata" if top.learn_initial_state else "zeros"
    states = [graph.input(f"{name}_0", np.float32, shape, text.format(name, begin.format(name)))
              for name, shape in shapes.items()]  # fmt: skip
    read = graph.node("Gather", graph.constant(array(network.embedding.weight)), tokens, axis=0)  # (T, B, E)
    output, final = recurrent(graph, network.encoder, read, "", states)  # (T, B, H)
    rows = graph.reshape(output, -1, top.state_sizes[0])  # (T·B, H)
    if isinstance(network.narrow, torch.nn.Linear):
        rows = graph.linear(rows, network.narrow)
    found = _log_probabilities(graph, network, rows)  # (T·B, V)
    V = network.embedding.num_embeddings
    leading = graph.node("Concat", graph.node("Shape", tokens), graph.constant([V], np.int64), axis=0)
    found = graph.node("Reshape", found, leading)  # (T, B, V)
    told = "ln p of every token to come next"
    graph.output(found, "log_probabilities", np.float32, ("time", "batch", V), told)
    for value, (name, shape) in zip(final, shapes.items(), strict=True):
        graph.output(value, f"{name}_n", np.float32, shape, f"state {name} after the last step")
    return graph


def _log_probabilities(graph: Graph, network: LanguageNet, rows: str) -> str:
    head = network.head
    if isinstance(head, AdaptiveSoftmax):
        return _adaptive(graph, head.softmax, rows)
    weight = network.embedding.weight if head.weight is None else head.weight
    logits = graph.node("Gemm", rows, graph.constant(array(weight)), graph.constant(array(head.bias)), transB=1)
    return graph.node("LogSoftmax", logits, axis=1)


def _adaptive(graph: Graph, softmax: Any, rows: str) -> str:
    """ln p of a frequent token; of a rare one ln p of its cluster, and ln p of it there."""
    first = graph.node("LogSoftmax", graph.linear(rows, softmax.head), axis=1)
    frequent = softmax.shortlist_size
    parts = [graph.slice(first, 0, frequent, axis=1)]
    for number, cluster in enumerate(softmax.tail):
        within = rows
        for layer in cluster:
            within = graph.linear(within, layer)
        within = graph.node("LogSoftmax", within, axis=1)
        parts.append(graph.node("Add", within, graph.slice(first, frequent + number, frequent + number + 1, axis=1)))
    return graph.node("Concat", *parts, axis=1)


def _sample(network: LanguageNet, exact: LanguageNet, B: int, T: int) -> Sample:
    """Random tokens and states, and what the network makes of them, in float32 and in float64."""
    rng = generator(0, "export", B, T)
    layers = layers_of(network.encoder)
    L = sum(layer.num_layers for layer in layers)
    inputs: dict[str, Array] = {"tokens": rng.integers(0, network.embedding.num_embeddings, (T, B))}
    for name, size in zip(STATES, layers[-1].state_sizes, strict=False):
        inputs[f"{name}_0"] = np.tanh(rng.normal(size=(L, B, size))).astype(np.float32)
    found, wanted = _outputs(network, inputs), _outputs(exact, inputs)
    scale = {name: np.abs(values).max(initial=1e-30) for name, values in found.items()}
    return Sample(inputs, found, scale, deviation(found, wanted, scale))


def _apart(state: Any) -> tuple[Any, ...]:
    """A state ``(L, B, H)``, the LSTM's a pair, as a ``Stack`` takes it: one for each layer."""
    return tuple(zip(*map(_apart, state), strict=True)) if isinstance(state, tuple) else state.split(1)


def _together(states: Sequence[Any]) -> Any:
    """The states of layers as one."""
    if isinstance(states[0], tuple):
        return tuple(map(_together, zip(*states, strict=True)))
    return torch.cat(list(states))


@torch.no_grad()
def _outputs(network: LanguageNet, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """What the network gives for the graph's inputs, under the names of the graph's outputs."""
    dtype = network.embedding.weight.dtype
    tokens, *states = (torch.from_numpy(values) for values in inputs.values())
    given = tuple(state.to(dtype) for state in states) if len(states) > 1 else states[0].to(dtype)
    stacked = isinstance(network.encoder, Stack)
    rows, final = network(tokens, _apart(given) if stacked else given)  # (T, B, ·)
    final = _together(final) if stacked else final
    found = network.log_probabilities(rows.flatten(0, 1)).unflatten(0, tokens.shape)  # (T, B, V)
    final = final if isinstance(final, tuple) else (final,)
    named = {"log_probabilities": found, **{f"{name}_n": s for name, s in zip(STATES, final, strict=False)}}
    return {name: tensor.numpy() for name, tensor in named.items()}
