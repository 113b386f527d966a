"""Recurrent layers as ONNX's own RNN, LSTM and GRU nodes, with free batch and length.

Layers with layer norm, zoneout or projection, for which there is no node, are written step by step (``steps``).

The nodes are written directly: ``torch.onnx.export`` freezes the length of bidirectional layers and unrolls
``nn.RNN``. What differs is only how parameters lie (ONNX operators 18, https://onnx.ai/onnx/operators):

====  ================  ==================  =====================================================================
node  torch's gates     ONNX's gates        note
====  ================  ==================  =====================================================================
LSTM  i, f, g, o        i, o, f, g          peepholes i, f, o → i, o, f
GRU   r, z, n           z, r, n             z keeps the old state in both; reset_after is ``linear_before_reset``
====  ================  ==================  =====================================================================

The coupled cell has no input gate: i = 1 − f = 1 − σ(z_f) = σ(−z_f), an ordinary LSTM whose input gate has the forget
gate's parameters with the other sign. (ONNX's own ``input_forget`` does not say which gate follows the other.)

T time, B batch, I input, H hidden, G gates, L layers, D directions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gatelab.cells.sequence import layer_names
from gatelab.core.errors import InputError
from gatelab.core.random import generator
from gatelab.nn.convert import from_torch
from gatelab.nn.hooks import Weights
from gatelab.nn.layers import Recurrent
from gatelab.nn.onnx import steps
from gatelab.nn.onnx.graph import Array, Graph, array
from gatelab.nn.onnx.proof import Export, Sample, deviation, frozen
from gatelab.nn.open_loop import weights_of
from gatelab.nn.packing import STATES
from gatelab.nn.stack import Stack


class _Node(NamedTuple):
    """How a cell is written."""

    op: str
    gates: str  # torch's order
    order: tuple[str, ...]  # ONNX's order; "-f" is gate f with the other sign
    options: Mapping[str, int]
    activation: str | None = None  # where the node does not say it


_NODES = {
    "rnn": _Node("RNN", "h", ("h",), {}, "Tanh"),
    "rnn_relu": _Node("RNN", "h", ("h",), {}, "Relu"),
    "lstm": _Node("LSTM", "ifgo", ("i", "o", "f", "g"), {}),
    "lstm_coupled": _Node("LSTM", "fgo", ("-f", "o", "f", "g"), {}),
    "gru": _Node("GRU", "rzn", ("z", "r", "n"), {"linear_before_reset": 1}),
    "gru_reset_before": _Node("GRU", "rzn", ("z", "r", "n"), {"linear_before_reset": 0}),
}
_DROPOUTS = ("input_dropout", "recurrent_dropout", "weight_drop")  # which act in training
_IN_NODES = ("peephole", "learn_initial_state", *_DROPOUTS)
_IN_STEPS = ("layer_norm", "zoneout")
_SHAPES = ((1, 1), (1, 2), (2, 5), (5, 23))  # (B, T) that every export is tried with


def export(layer: nn.Module, *, lengths: bool = True, initial_state: bool = True) -> Export:
    """A recurrent layer as an ONNX graph, in evaluation mode and float32.

    Args:
        layer: a layer of gatelab, or a ``torch.nn.RNN``, ``LSTM`` or ``GRU``.
        lengths: whether ``lengths (B,)``, from 0 to T, is an input. Beyond an item's length the output is zero, and
            its final state is that after its last step; of an item without steps, its initial state.
        initial_state: whether ``h_0`` (and ``c_0``), ``(L·D, B, H)``, are inputs; otherwise the layer begins from its
            learned initial state where it has one, and from zeros.

    Returns:
        The graph, from ``input``, ``(T, B, I)`` or ``(B, T, I)`` as the layer takes it, to ``output`` and the final
        states ``h_n`` (and ``c_n``), with samples that prove it: ``save`` and ``difference`` run them.

    Raises:
        InputError: ONNX has no node for what the layer computes, or ``onnx`` is not installed.
    """
    ours = from_torch(layer) if type(layer) in (nn.RNN, nn.LSTM, nn.GRU) else layer
    if isinstance(ours, Stack):
        what = "a Stack cannot be exported by itself: its layers have a state each"
        raise InputError(what, expected="a layer", fix="export its layers")
    require_known(ours)
    whole, exact = frozen(ours), frozen(ours, torch.float64)
    samples = tuple(_sample(whole, exact, B, T, lengths, initial_state) for B, T in _SHAPES)
    model = _graph(whole, lengths, initial_state).model({"layer": repr(whole)})
    first = torch.from_numpy(samples[0].inputs["input"])
    return Export(model, samples, lambda: whole(first))


def _graph(layer: Recurrent, lengths: bool, initial_state: bool) -> Graph:
    """The graph of a layer alone, with torch's names and layout outside."""
    graph = Graph(f"gatelab_{layer.cell}")
    stacked = layer.num_layers * _directions(layer)  # L·D
    shapes = {name: (stacked, "batch", size) for name, size in zip(STATES, layer.state_sizes, strict=False)}
    axes = ("batch", "time") if layer.batch_first else ("time", "batch")
    rows = graph.input("input", np.float32, (*axes, layer.input_size), "the sequences")
    count = graph.input("lengths", np.int32, ("batch",), "steps of each sequence, 0 to T") if lengths else ""
    initial = None
    if initial_state:
        text = "initial state {}; zeros to begin anew"
        initial = [graph.input(f"{name}_0", np.float32, shape, text.format(name)) for name, shape in shapes.items()]
    rows = graph.node("Transpose", rows, perm=(1, 0, 2)) if layer.batch_first else rows  # (T, B, I)
    output, final = recurrent(graph, layer, rows, count, initial)
    output = graph.node("Transpose", output, perm=(1, 0, 2)) if layer.batch_first else output
    width = layer.state_sizes[0] * _directions(layer)  # D·H
    graph.output(output, "output", np.float32, (*axes, width), "h of the last layer at every step, 0 beyond a length")
    for value, (name, shape) in zip(final, shapes.items(), strict=True):
        graph.output(value, f"{name}_n", np.float32, shape, f"state {name} after the last step")
    return graph


def layers_of(encoder: Recurrent | Stack) -> list[Recurrent]:
    """The layers of an encoder (``gatelab.nn.recurrent``), the lowest first."""
    return list(encoder.layers) if isinstance(encoder, Stack) else [encoder]


def require_known(layer: nn.Module) -> None:
    """Raises ``InputError`` unless what ``layer`` computes in evaluation can be written."""
    if isinstance(layer, Stack):
        for each in layer.layers:
            require_known(each)
        return
    if not isinstance(layer, Recurrent) or layer.cell not in _NODES:
        found = [f"the cell {getattr(layer, 'cell', type(layer).__name__)}"]
    else:
        found = [extra.name for extra in layer.extras if extra.name not in (*_IN_NODES, *_IN_STEPS)]
    if found:
        raise InputError(
            f"{type(layer).__name__} cannot be exported: {' and '.join(found)} cannot be written in ONNX yet",
            expected=f"one of the cells {', '.join(_NODES)}, with or without {', '.join((*_IN_NODES, *_IN_STEPS))}",
            fix="train a model without it, or keep this one in torch",
        )


def recurrent(
    graph: Graph, layer: Recurrent | Stack, x: str, lengths: str, initial: Sequence[str] | None
) -> tuple[str, list[str]]:
    """Writes all stacked layers of ``layer`` into ``graph``.

    Args:
        graph: where to.
        layer: one that ``require_known`` lets through; the layers of a ``Stack`` have as many units each.
        x: value of the sequences ``(T, B, I)``.
        lengths: value of the lengths ``(B,)`` int32, or "" where all have T steps.
        initial: values of the initial states ``(L·D, B, H)``; none: the layer's own.

    Returns:
        Values of the outputs ``(T, B, D·H)`` and of each final state ``(L·D, B, H)``.
    """
    if isinstance(layer, Stack):
        return _residual(graph, layer, x, lengths, initial)
    L, D = layer.num_layers, _directions(layer)
    stepwise = layer.proj_size or any(extra.name in _IN_STEPS for extra in layer.extras)
    own = _own_states(graph, layer, x) if initial is None else initial
    parts = [_split(graph, state, L) for state in own]  # L values (D, B, H) for each state, or none
    finals: list[list[str]] = []
    write = steps.scan if stepwise else _node
    for number, names in enumerate(layer_names(L, layer.bidirectional)):
        states = [part[number] for part in parts]
        outputs, *final = write(graph, layer, names, x, lengths, states)  # (T, D, B, H); (D, B, H)
        x = graph.reshape(graph.node("Transpose", outputs, perm=(0, 2, 1, 3)), 0, 0, D * layer.state_sizes[0])
        finals.append(final)
    return x, [graph.node("Concat", *state, axis=0) for state in zip(*finals, strict=True)]


def _residual(graph: Graph, stack: Stack, x: str, lengths: str, initial: Sequence[str] | None) -> tuple[str, list[str]]:
    """The layers of ``stack``, with their residual connections, as ``recurrent`` writes one."""
    count = len(stack.layers)
    parts = [_split(graph, state, count) for state in initial or ()]  # L values (D, B, H) for each state
    finals: list[list[str]] = []
    if lengths and stack.residuals[0]:  # what is added beyond a length has to be 0, too
        x = graph.node("Where", within(graph, x, lengths), x, graph.constant(0, np.float32))
    for number, (layer, residual) in enumerate(zip(stack.layers, stack.residuals, strict=True)):
        own = None if initial is None else [part[number] for part in parts]
        y, final = recurrent(graph, layer, x, lengths, own)
        x = graph.node("Add", x, y) if residual else y
        finals.append(final)
    return x, [graph.node("Concat", *state, axis=0) for state in zip(*finals, strict=True)]


def ends(graph: Graph, encoder: Recurrent | Stack, output: str, final: str, lengths: str) -> str:
    """What ``recurrent`` gives where each direction has read everything, ``(B, D·H)``; zeros for a length of 0.

    Args:
        graph: where to.
        encoder: what was written.
        output: value of its outputs ``(T, B, D·H)``.
        final: value of its final states h ``(L·D, B, H)``.
        lengths: value of the lengths ``(B,)`` int32.
    """
    top = layers_of(encoder)[-1]
    D, H = _directions(top), top.state_sizes[0]
    if isinstance(encoder, Recurrent):  # the state is what it gives
        last = graph.slice(final, -D, np.iinfo(np.int64).max, axis=0)  # (D, B, H)
        found = graph.reshape(graph.node("Transpose", last, perm=[1, 0, 2]), 0, D * H)  # (B, D·H)
        if not top.learn_initial_state:
            return found
        some = nonempty(graph, lengths, -1, 1)
        return graph.node("Where", some, found, graph.constant(0, np.float32))  # not the state it would begin with
    one = graph.constant([1], np.int64)
    count = graph.reshape(graph.cast(lengths, np.int64), 1, -1, 1)  # (1, B, 1)
    at = graph.node("Max", graph.node("Sub", count, one), graph.constant([0], np.int64))  # (1, B, 1)
    shape = graph.node("Concat", one, graph.node("Shape", output, start=1), axis=0)  # (1, B, D·H)
    found = graph.node("GatherElements", output, graph.node("Expand", at, shape), axis=0)  # (1, B, D·H)
    if D == 2:  # backwards the last step is the first
        halves = graph.slice(found, 0, H, axis=2), graph.slice(graph.slice(output, 0, 1, axis=0), H, 2 * H, axis=2)
        found = graph.node("Concat", *halves, axis=2)
    some = nonempty(graph, lengths, 1, -1, 1)
    return graph.reshape(graph.node("Where", some, found, graph.constant(0, np.float32)), -1, D * H)


def within(graph: Graph, x: str, lengths: str) -> str:
    """Which steps of ``x (T, B, ·)`` each sequence has, ``(T, B, 1)`` bool."""
    T = graph.reshape(graph.node("Shape", x, start=0, end=1))  # ()
    zero, one = graph.constant(0, np.int64), graph.constant(1, np.int64)
    step = graph.reshape(graph.node("Range", zero, T, one), -1, 1, 1)  # (T, 1, 1)
    return graph.node("Less", step, graph.reshape(graph.cast(lengths, np.int64), 1, -1, 1))


def nonempty(graph: Graph, lengths: str, *shape: int) -> str:
    """Which sequences have any steps, bool, as ``shape`` with B in the place of -1."""
    return graph.reshape(graph.node("Less", graph.constant(0, np.int64), graph.cast(lengths, np.int64)), *shape)


def _node(
    graph: Graph, layer: Recurrent, names: Sequence[str], x: str, lengths: str, states: Sequence[str]
) -> list[str]:
    """One stacked layer in all directions as one node: values of the outputs and final states."""
    kind = _NODES[layer.cell]
    weights = [weights_of(layer, name) for name in names]
    w, r = (_stacked(graph, kind, weights, key) for key in ("weight_ih", "weight_hh"))  # (D, G·H, I), (D, G·H, H)
    bias = "" if weights[0].bias_ih is None else _biases(graph, kind, weights)  # (D, 2·G·H)
    count = len(layer.state_sizes)
    inputs = [x, w, r, bias, lengths, *(states or [""] * count), *_peepholes(graph, kind, weights)]
    while not inputs[-1]:
        inputs.pop()  # what is left out at the end need not be said
    options: dict[str, Any] = {"hidden_size": layer.hidden_size, **kind.options}
    options |= {"direction": "bidirectional"} if layer.bidirectional else {}
    options |= {"activations": [kind.activation] * len(names)} if kind.activation else {}
    output, *final = graph.nodes(kind.op, *inputs, outputs=1 + count, **options)
    return [output, *(_of_empty(graph, lengths, final, states) if lengths and states else final)]


def _of_empty(graph: Graph, lengths: str, final: Sequence[str], initial: Sequence[str]) -> list[str]:
    """Final states (D, B, H): of items without steps the initial ones, where onnxruntime's nodes give zeros."""
    some = nonempty(graph, lengths, 1, -1, 1)
    return [graph.node("Where", some, *pair) for pair in zip(final, initial, strict=True)]


def _stacked(graph: Graph, kind: _Node, weights: Sequence[Weights], key: str) -> str:
    tensors = [_reordered(getattr(w, key), kind.gates, kind.order) for w in weights]
    return graph.constant(array(torch.stack(tensors)))


def _biases(graph: Graph, kind: _Node, weights: Sequence[Weights]) -> str:
    both = [[_reordered(getattr(w, key), kind.gates, kind.order) for key in ("bias_ih", "bias_hh")] for w in weights]
    return graph.constant(array(torch.stack([torch.cat(pair) for pair in both])))


def _peepholes(graph: Graph, kind: _Node, weights: Sequence[Weights]) -> list[str]:
    """The value of the peepholes (D, 3·H), of every gate but the candidate; nothing where there are none."""
    peepholes = [w.peephole for w in weights]
    if peepholes[0] is None:
        return []
    have, want = kind.gates.replace("g", ""), [gate for gate in kind.order if gate != "g"]
    return [graph.constant(array(torch.stack([_reordered(p, have, want) for p in peepholes])))]


def _reordered(rows: Tensor, have: str, want: Sequence[str]) -> Tensor:
    """The blocks of ``rows (G·H, …)``, one for each gate, in another order."""
    blocks = dict(zip(have, rows.chunk(len(have)), strict=True))
    return torch.cat([-blocks[gate[1]] if gate.startswith("-") else blocks[gate] for gate in want])


def _own_states(graph: Graph, layer: Recurrent, x: str) -> list[str]:
    """Values of the learned initial states (L·D, B, H); nothing where the layer begins from zeros, as the nodes do."""
    if not layer.learn_initial_state:
        return []
    learned = [getattr(layer, f"initial_{name}") for name in STATES[: len(layer.state_sizes)]]  # (L·D, H) each
    batch = graph.node("Shape", x, start=1, end=2)  # (1,) holding B
    one = graph.constant([1], np.int64)
    shape = graph.node("Concat", one, batch, one, axis=0)
    return [graph.node("Expand", graph.constant(array(state)[:, None]), shape) for state in learned]


def _split(graph: Graph, value: str, count: int) -> list[str]:
    return graph.nodes("Split", value, outputs=count, axis=0, num_outputs=count) if count > 1 else [value]


def _directions(layer: Recurrent) -> int:
    return 2 if layer.bidirectional else 1


def _sample(layer: Recurrent, double: Recurrent, B: int, T: int, lengths: bool, initial_state: bool) -> Sample:
    """Random sequences, one of full length, and what the layer makes of them, in float32 and in float64."""
    rng = generator(0, "export", B, T)
    shape = (B, T) if layer.batch_first else (T, B)
    inputs: dict[str, Array] = {"input": rng.normal(size=(*shape, layer.input_size)).astype(np.float32)}
    if lengths:
        inputs["lengths"] = np.array(rng.permutation([T, *rng.integers(0, T + 1, B - 1)]), np.int32)  # (B,)
    for name, size in zip(STATES if initial_state else (), layer.state_sizes, strict=False):
        count = layer.num_layers * _directions(layer)
        inputs[f"{name}_0"] = rng.normal(size=(count, B, size)).astype(np.float32)  # (L·D, B, H)
    found, exact = _outputs(layer, inputs), _outputs(double, inputs)
    scale = {name: np.abs(values).max(initial=1e-30) for name, values in found.items()}
    return Sample(inputs, found, scale, deviation(found, exact, scale))


@torch.no_grad()
def _outputs(layer: Recurrent, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """What the layer gives for the graph's inputs, under the names of the graph's outputs."""
    dtype = layer.weight_ih_l0.dtype
    x, *states = (torch.from_numpy(values).to(dtype) for name, values in inputs.items() if name != "lengths")
    hx = (tuple(states) if len(states) > 1 else states[0]) if states else None
    count = torch.from_numpy(inputs["lengths"]) if "lengths" in inputs else None
    output, *final = _read(layer, x, count, hx)
    found = {"output": output, **{f"{name}_n": state for name, state in zip(STATES, final, strict=False)}}
    return {name: tensor.numpy() for name, tensor in found.items()}


def _read(layer: Recurrent, x: Tensor, lengths: Tensor | None, hx: Any) -> list[Tensor]:
    """Output and final states of ``layer``; an item of length 0, which cannot be packed, keeps its initial state."""
    if lengths is None:
        output, final = layer(x, hx)
        return [output, *(final if isinstance(final, tuple) else (final,))]
    packed = pack_padded_sequence(x, lengths.clamp(min=1), batch_first=layer.batch_first, enforce_sorted=False)
    packed, final = layer(packed, hx)
    T = x.shape[1 if layer.batch_first else 0]
    output, _ = pad_packed_sequence(packed, batch_first=layer.batch_first, total_length=T)
    final = final if isinstance(final, tuple) else (final,)
    some = (lengths > 0).unsqueeze(-1)  # (B, 1)
    output = torch.where(some.unsqueeze(1 if layer.batch_first else 0), output, 0.0)
    initial = (hx if isinstance(hx, tuple) else (hx,)) if hx is not None else _initial(layer, len(lengths))
    return [output, *(torch.where(some, f, i) for f, i in zip(final, initial, strict=True))]


def _initial(layer: Recurrent, B: int) -> list[Tensor]:
    """The states ``(L·D, B, H)`` that ``layer`` begins with where none are given."""
    names = STATES[: len(layer.state_sizes)]
    if layer.learn_initial_state:
        return [getattr(layer, f"initial_{name}").unsqueeze(1).expand(-1, B, -1) for name in names]
    count = layer.num_layers * _directions(layer)
    return [layer.weight_ih_l0.new_zeros(count, B, size) for size in layer.state_sizes]
