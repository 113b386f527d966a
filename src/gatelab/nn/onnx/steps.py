"""What ONNX has no node for, written as a step that an ONNX ``Scan`` repeats: layer norm, zoneout, projection.

The step is that of ``open_loop`` in evaluation, operation by operation. Beyond an item's length its state is held and
its output is zero; a scan that reads backwards holds the initial state until the item's own last step comes by. It
runs in any ONNX runtime, and slower than a node.

T time, B batch, I input, H hidden, P projected, G gates, D directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from gatelab.nn.extras import EPSILON
from gatelab.nn.layers import Recurrent
from gatelab.nn.onnx.graph import Graph, array
from gatelab.nn.open_loop import weights_of
from gatelab.nn.packing import STATES


def scan(
    graph: Graph, layer: Recurrent, names: Sequence[str], x: str, lengths: str, states: Sequence[str]
) -> list[str]:
    """Writes one stacked layer in all its directions.

    Args:
        graph: where to.
        layer: the layer.
        names: of the directions, such as ``("l0", "l0_reverse")``.
        x: value of the sequences ``(T, B, I)``.
        lengths: value of the lengths ``(B,)``, or "".
        states: values of the initial states ``(D, B, H)``; none: zeros.

    Returns:
        Values of the outputs ``(T, D, B, P or H)`` and of the final states ``(D, B, ·)``, as ONNX's nodes give them.
    """
    mask = _mask(graph, x, lengths) if lengths else ""  # (T, B, 1)
    found = []
    for place, name in enumerate(names):
        initial = [graph.node("Gather", state, graph.constant(place, np.int64), axis=0) for state in states]
        found.append(_direction(graph, layer, name, x, mask, initial or _zeros(graph, layer, x)))
    axes = (1, *(0 for _ in layer.state_sizes))  # where D goes: outputs, then states
    stacked = []
    for axis, values in zip(axes, zip(*found, strict=True), strict=True):
        single = [graph.node("Unsqueeze", value, graph.constant([axis], np.int64)) for value in values]
        stacked.append(graph.node("Concat", *single, axis=axis))
    return stacked


def _mask(graph: Graph, x: str, lengths: str) -> str:
    """Where an item still has steps, (T, B, 1) bool."""
    last = graph.reshape(graph.node("Shape", x, end=1))  # () holding T
    steps = graph.node("Range", graph.constant(0, np.int64), last, graph.constant(1, np.int64))  # (T,)
    return graph.node("Less", graph.reshape(steps, -1, 1, 1), graph.reshape(graph.cast(lengths, np.int64), -1, 1))


def _zeros(graph: Graph, layer: Recurrent, x: str) -> list[str]:
    batch = graph.node("Shape", x, start=1, end=2)  # (1,) holding B
    zero = graph.constant(0.0, np.float32)
    shapes = [graph.node("Concat", batch, graph.constant([size], np.int64), axis=0) for size in layer.state_sizes]
    return [graph.node("Expand", zero, shape) for shape in shapes]


def _direction(graph: Graph, layer: Recurrent, name: str, x: str, mask: str, initial: Sequence[str]) -> list[str]:
    """One direction: values of the outputs (T, B, P or H) and of the final states (B, ·)."""
    step = _Step(graph, layer, name)
    reads = [step.input_side(x), *([mask] if mask else [])]
    backwards = int(name.endswith("_reverse"))
    *final, outputs = graph.nodes(
        "Scan", *initial, *reads, outputs=len(initial) + 1, body=step.body(bool(mask)), num_scan_inputs=len(reads),
        scan_input_directions=[backwards] * len(reads), scan_output_directions=[backwards],
    )  # fmt: skip
    return [outputs, *final]


class _Step:
    """One step of a layer in one direction; its weights are constants of the graph around it."""

    def __init__(self, outer: Graph, layer: Recurrent, name: str):
        self.outer, self.layer, self.w = outer, layer, weights_of(layer, name)
        self.graph = Graph(f"step_{name}", prefix=f"{name}_")
        zoneout = layer.zoneout
        self.kept = zoneout if isinstance(zoneout, tuple) else (zoneout,) * len(layer.state_sizes)

    def input_side(self, x: str) -> str:
        """The input side of the pre-activations of all steps, (T, B, G·H)."""
        outer, w = self.outer, self.w
        product = outer.node("Gemm", outer.reshape(x, -1, w.weight_ih.shape[1]), self._constant(w.weight_ih), transB=1)
        product = self._normalised(outer, product, w.norm_ih) if self.layer.layer_norm else product
        product = product if w.bias_ih is None else outer.node("Add", product, self._constant(w.bias_ih))
        size = outer.constant([len(w.weight_ih)], np.int64)
        return outer.node("Reshape", product, outer.node("Concat", outer.node("Shape", x, end=2), size, axis=0))

    def body(self, masked: bool) -> Any:
        """The step as a graph, from states and pre-activations to states and output."""
        graph, sizes = self.graph, self.layer.state_sizes
        names = [f"{self.graph.prefix}{state}" for state in STATES[: len(sizes)]]
        shapes = [("batch", size) for size in sizes]
        old = [graph.input(name, np.float32, shape, "") for name, shape in zip(names, shapes, strict=True)]
        a = graph.input(f"{graph.prefix}a", np.float32, ("batch", len(self.w.weight_ih)), "")
        here = graph.input(f"{graph.prefix}here", np.bool_, ("batch", 1), "") if masked else ""
        new = self._zoned(getattr(self, f"_{self.layer.family}")(a, *old), old)
        output = graph.node("Where", here, new[0], graph.constant(0.0, np.float32)) if masked else new[0]
        new = [graph.node("Where", here, n, o) for n, o in zip(new, old, strict=True)] if masked else new
        for name, value, shape in zip(names, new, shapes, strict=True):
            graph.output(value, f"{name}_next", np.float32, shape, "")
        graph.output(output, f"{graph.prefix}output", np.float32, shapes[0], "")
        return graph.proto()

    # ---- the cells, as in open_loop ------------------------------------------------------------------------------

    def _rnn(self, a: str, h: str) -> list[str]:
        z = self.graph.node("Add", a, self._hidden(h))
        return [self.graph.node("Tanh" if self.layer.cell == "rnn" else "Relu", z)]

    def _lstm(self, a: str, h: str, c: str) -> list[str]:
        graph, coupled = self.graph, self.layer.cell == "lstm_coupled"
        *zi, zf, zg, zo = self._gates(graph.node("Add", a, self._hidden(h)), 3 if coupled else 4)
        f = graph.node("Sigmoid", self._peeped("f", zf, c))
        i = self._rest(f) if coupled else graph.node("Sigmoid", self._peeped("i", zi[0], c))
        c = graph.node("Add", graph.node("Mul", f, c), graph.node("Mul", i, graph.node("Tanh", zg)))
        o, shown = graph.node("Sigmoid", self._peeped("o", zo, c)), c
        if self.layer.layer_norm:
            gain, bias = self._constant(self.w.norm_c), self._constant(self.w.norm_c_bias)
            shown = graph.node("LayerNormalization", c, gain, bias, epsilon=EPSILON)
        h = graph.node("Mul", o, graph.node("Tanh", shown))
        if self.w.weight_hr is not None:
            h = graph.node("Gemm", h, self._constant(self.w.weight_hr), transB=1)
        return [h, c]

    def _gru(self, a: str, h: str) -> list[str]:
        graph, H, after = self.graph, self.layer.hidden_size, self.layer.cell == "gru"
        xr, xz, xn = self._gates(a, 3)
        hr, hz, *hn = self._gates(self._hidden(h, slice(None if after else 2 * H)), 3 if after else 2)
        r, z = (graph.node("Sigmoid", graph.node("Add", *pair)) for pair in ((xr, hr), (xz, hz)))
        inner = graph.node("Mul", r, hn[0]) if after else self._hidden(graph.node("Mul", r, h), slice(2 * H, None))
        n = graph.node("Tanh", graph.node("Add", xn, inner))
        return [graph.node("Add", graph.node("Mul", self._rest(z), n), graph.node("Mul", z, h))]

    # ---- their parts ---------------------------------------------------------------------------------------------

    def _hidden(self, h: str, part: slice = slice(None)) -> str:
        """The hidden side of the pre-activations, of the rows ``part`` of the weights."""
        graph, w = self.graph, self.w
        product = graph.node("Gemm", h, self._constant(w.weight_hh[part]), transB=1)
        product = self._normalised(graph, product, w.norm_hh[part]) if self.layer.layer_norm else product
        return product if w.bias_hh is None else graph.node("Add", product, self._constant(w.bias_hh[part]))

    def _normalised(self, graph: Graph, product: str, gain: Tensor) -> str:
        """Each gate's block at mean 0 and variance 1, times the gain."""
        H = self.layer.hidden_size
        ones = self.outer.constant(np.ones(H), np.float32)
        blocks = graph.node("LayerNormalization", graph.reshape(product, 0, -1, H), ones, epsilon=EPSILON)
        return graph.node("Mul", graph.reshape(blocks, 0, len(gain)), self._constant(gain))

    def _peeped(self, gate: str, z: str, c: str) -> str:
        if self.w.peephole is None:
            return z
        gates = "fo" if self.layer.cell == "lstm_coupled" else "ifo"
        weights = self.w.peephole.chunk(len(gates))[gates.index(gate)]  # (H,)
        return self.graph.node("Add", z, self.graph.node("Mul", c, self._constant(weights)))

    def _zoned(self, new: Sequence[str], old: Sequence[str]) -> list[str]:
        """Zoneout in evaluation: new + p · (old − new)."""
        graph = self.graph
        rates = [graph.constant(p, np.float32) if p else "" for p in self.kept]
        return [
            graph.node("Add", n, graph.node("Mul", p, graph.node("Sub", o, n))) if p else n
            for p, n, o in zip(rates, new, old, strict=True)
        ]

    def _gates(self, value: str, count: int) -> list[str]:
        return self.graph.nodes("Split", value, outputs=count, axis=1, num_outputs=count)

    def _rest(self, gate: str) -> str:
        return self.graph.node("Sub", self.graph.constant(1.0, np.float32), gate)

    def _constant(self, tensor: Tensor) -> str:
        return self.outer.constant(array(tensor))
