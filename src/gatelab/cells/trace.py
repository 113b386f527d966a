"""A trace: every gate, state and pre-activation of every step as plain arrays, by name.

    output, cache = forward(LSTM, params, x)
    trace = trace_of(cache, backward(doutput, cache))
    trace["l0"]["f"]                     # (T, B, H) forget gates
    trace["l0"]["zf"]                    # (T, B, H) what went into their sigmoid
    trace.gradient_norm("l0", "c")       # (T, B) ‖∂loss/∂c_k‖

Time runs as in the data, in both directions. Where a step is not observed there is NaN: nothing happened there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gatelab.cells.cell import Array, Cell, Quantity
from gatelab.cells.sequence import Cache, Gradients, reading_order
from gatelab.core.errors import InputError, nearest


@dataclass(frozen=True)
class Trace:
    """What a forward pass recorded, and with it, where there was one, what the backward pass found."""

    cell: Cell
    observed: Array  # (T, B) bool
    layers: Mapping[str, Mapping[str, Array]]
    """By layer (``l0``, ``l0_reverse``, …) and name, ``(T, B, H)``: gates (``f``), pre-activations (``zf``), states
    after each step (``h``, ``c``) and, after a backward pass, ∂loss/∂state (``dh``, ``dc``)."""

    def __getitem__(self, layer: str) -> Mapping[str, Array]:
        if layer not in self.layers:
            raise InputError(
                f"the trace has no layer {layer!r}",
                expected=f"one of {', '.join(self.layers)}",
                fix=f"did you mean {nearest(layer, self.layers)}?",
            )
        return self.layers[layer]

    def gradient_norm(self, layer: str = "l0", state: str = "h") -> Array:
        """‖∂loss/∂state_k‖ of each item for every step k: ``(T, B)``, NaN where not observed.

        Raises:
            InputError: the trace knows no backward pass, or no such state.
        """
        arrays = self[layer]
        if f"d{state}" not in arrays:
            raise InputError(
                f"the trace has no gradient of {state!r}",
                expected=f"one of {', '.join(self.cell.State._fields)}, after a backward pass",
                fix="trace_of(cache, backward(doutput, cache))",
            )
        return np.linalg.norm(arrays[f"d{state}"], axis=2)

    def quantity(self, name: str) -> Quantity:
        """What the arrays called ``name`` mean: title, half a sentence, bounds and unit."""
        known = self.cell.quantities
        if name in known:
            return known[name]
        kind, of = name[:1], name[1:]
        if kind == "z" and of in self.cell.gates:
            return Quantity(
                f"pre-activation of the {known[of].title}", "before squashing: weights times input and state"
            )
        if kind == "d" and of in self.cell.State._fields:
            return Quantity(
                f"gradient of the {known[of].title}", f"∂loss/∂{of}: what a small change would do", unit="loss"
            )
        raise InputError(f"a trace of {self.cell.title} has no {name!r}", fix=f"did you mean {nearest(name, known)}?")


def trace_of(cache: Cache, gradients: Gradients | None = None) -> Trace:
    """The trace of a forward pass, with ∂loss/∂state of every step where ``gradients`` are given."""
    cell, scans, observed = cache
    layers = {}
    for name, scan in scans.items():
        way = reading_order(name)
        recorded = {key: np.stack([getattr(step, key) for step in scan.gates])[way] for key in cell.Gates._fields}
        gates = {key: array for key, array in recorded.items() if key != "pre"}
        blocks = np.split(recorded["pre"], len(cell.gates), axis=2)
        states = {key: np.stack([getattr(after, key) for after in scan.states[1:]])[way] for key in cell.State._fields}
        arrays = gates | {f"z{gate}": block for gate, block in zip(cell.gates, blocks, strict=True)} | states
        if gradients is not None:
            dstates = cell.state_gradient(cell.Gates(**recorded), gradients.steps[name])
            arrays |= {f"d{key}": value for key, value in dstates._asdict().items()}
        layers[name] = {key: np.where(observed, array, np.nan).astype(array.dtype) for key, array in arrays.items()}
    return Trace(cell, observed[:, :, 0], layers)
