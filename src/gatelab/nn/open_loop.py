"""One loop in torch operations that runs any cell step by step, and can record every step.

It is the slow twin of every fast path: what a fused layer computes, this loop computes in the open. It also runs
what no fused layer computes, such as the GRU with the reset gate before the multiplication.

Sequences of unequal length travel as in a ``PackedSequence``: the rows of all steps in one matrix, step after step,
``batch_sizes[t]`` rows for step ``t``, the longest sequence first. A dense batch is the same with ``B`` rows in
every step, so that one loop serves both.

T time, B batch, I input, H hidden, P projected, G gates, L layers, D directions, N rows of all steps together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import dropout, linear
from torch.nn.utils.rnn import PackedSequence

from gatelab.cells.sequence import layer_names

if TYPE_CHECKING:
    from gatelab.nn.layers import Recurrent

STATES = ("h", "c")  # their names; a cell has the first or both
State = tuple[Tensor, ...]  # (h,) or (h, c), each (B, H)
Record = Mapping[str, Tensor]  # what a step computed on its way, by name, each (B, H)
Observer = Callable[[str, int, State, Record], None]  # (layer name such as "l0_reverse", step, state after it, record)


class Weights(NamedTuple):
    """The parameters of one layer in one direction, in torch's layout."""

    weight_ih: Tensor  # (G·H, I)
    weight_hh: Tensor  # (G·H, H)
    bias_ih: Tensor | None  # (G·H,)
    bias_hh: Tensor | None  # (G·H,)
    weight_hr: Tensor | None  # (P, H) projection of the LSTM's h from H to P units


Step = Callable[[Weights, Tensor, State], tuple[State, Record]]


# ---- the cells: one step each. ``a`` is the step's input times weight_ih, plus bias_ih, for all gates (B, G·H) -------


def rnn_step(w: Weights, a: Tensor, state: State) -> tuple[State, Record]:
    """Vanilla network with tanh."""
    zh = a + linear(state[0], w.weight_hh, w.bias_hh)  # (B, H)
    return (zh.tanh(),), {"zh": zh}


def rnn_relu_step(w: Weights, a: Tensor, state: State) -> tuple[State, Record]:
    """Vanilla network with ReLU."""
    zh = a + linear(state[0], w.weight_hh, w.bias_hh)  # (B, H)
    return (zh.relu(),), {"zh": zh}


def lstm_step(w: Weights, a: Tensor, state: State) -> tuple[State, Record]:
    """Long short-term memory; ``weight_hr`` makes it the LSTM with projection (Sak et al. 2014, arXiv:1402.1128)."""
    h, c = state  # (B, P or H), (B, H)
    zi, zf, zg, zo = (a + linear(h, w.weight_hh, w.bias_hh)).chunk(4, dim=1)  # (B, H) each
    i, f, g, o = zi.sigmoid(), zf.sigmoid(), zg.tanh(), zo.sigmoid()  # (B, H) each
    c = f * c + i * g  # (B, H)
    tanh_c = c.tanh()  # (B, H)
    h = o * tanh_c  # (B, H)
    if w.weight_hr is not None:
        h = linear(h, w.weight_hr)  # (B, P)
    pre = {"zi": zi, "zf": zf, "zg": zg, "zo": zo}
    return (h, c), {"i": i, "f": f, "g": g, "o": o, "tanh_c": tanh_c, **pre}


def gru_step(w: Weights, a: Tensor, state: State) -> tuple[State, Record]:
    """Gated recurrent unit of torch and cuDNN: the reset gate scales what the multiplication gave."""
    (h,) = state  # (B, H)
    xr, xz, xn = a.chunk(3, dim=1)  # (B, H) each
    hr, hz, hn = linear(h, w.weight_hh, w.bias_hh).chunk(3, dim=1)  # (B, H) each
    zr, zz = xr + hr, xz + hz  # (B, H) each
    r, z = zr.sigmoid(), zz.sigmoid()  # (B, H) each
    zn = xn + r * hn  # (B, H)
    n = zn.tanh()  # (B, H)
    record = {"r": r, "z": z, "n": n, "hn": hn, "zr": zr, "zz": zz, "zn": zn}
    return ((1 - z) * n + z * h,), record


def gru_reset_before_step(w: Weights, a: Tensor, state: State) -> tuple[State, Record]:
    """Gated recurrent unit of Cho et al. 2014: the reset gate scales the state before the multiplication."""
    (h,) = state  # (B, H)
    sizes = (2 * h.shape[1], h.shape[1])
    w_rz, w_n = w.weight_hh.split(sizes)  # (2H, H), (H, H)
    b_rz, b_n = (None, None) if w.bias_hh is None else w.bias_hh.split(sizes)  # (2H,), (H,)
    xr, xz, xn = a.chunk(3, dim=1)  # (B, H) each
    hr, hz = linear(h, w_rz, b_rz).chunk(2, dim=1)  # (B, H) each
    zr, zz = xr + hr, xz + hz  # (B, H) each
    r, z = zr.sigmoid(), zz.sigmoid()  # (B, H) each
    rh = r * h  # (B, H)
    zn = xn + linear(rh, w_n, b_n)  # (B, H)
    n = zn.tanh()  # (B, H)
    record = {"r": r, "z": z, "n": n, "rh": rh, "zr": zr, "zz": zz, "zn": zn}
    return ((1 - z) * n + z * h,), record


STEPS: Mapping[str, Step] = {
    "rnn": rnn_step,
    "rnn_relu": rnn_relu_step,
    "lstm": lstm_step,
    "gru": gru_step,
    "gru_reset_before": gru_reset_before_step,
}
"""The step of every cell of ``gatelab.cells.CELLS``, which holds the equations, in torch operations.

It records what a trace of the NumPy cell holds, under the same names: gates (``f``) and their pre-activations (``zf``).
"""


# ---- the loop -----------------------------------------------------------------------------------------------------


def run(layer: Recurrent, input: Tensor | PackedSequence, hx=None, observe: Observer | None = None):
    """What ``layer(input, hx)`` gives, computed step by step; arguments and result as in ``torch.nn``.

    ``observe`` is called after every step of every layer and direction. Dropout between layers draws from torch's
    stream with the shape and in the order of torch's own CPU path.
    """
    rows, batch_sizes = _rows_of(layer, input), batch_sizes_of(layer, input)  # (N, I), T integers
    initial = _initial_state(layer, input, hx, rows, batch_sizes[0])  # (L·D, B, H) each
    final: list[State] = []
    for index, names in enumerate(layer_names(layer.num_layers, layer.bidirectional)):
        if index > 0:
            rows = dropout(rows, layer.dropout, layer.training)  # (N, D·H)
        outputs = []
        for name in names:
            state = tuple(s[len(final)] for s in initial)  # (B, H) each
            output, state = _scan(layer, name, rows, batch_sizes, state, observe)
            outputs.append(output)
            final.append(state)
        rows = torch.cat(outputs, dim=1)  # (N, D·H)
    states = tuple(torch.stack(s) for s in zip(*final, strict=True))  # (L·D, B, H) each
    return _as_given(layer, input, rows, states)


def _scan(
    layer: Recurrent, name: str, rows: Tensor, batch_sizes: list[int], state: State, observe: Observer | None
) -> tuple[Tensor, State]:
    """One layer over all steps in one direction: ``rows (N, I)`` give the outputs ``(N, H)`` and the last state.

    A sequence that has ended keeps its state while longer ones go on; backwards, a sequence keeps its initial state
    until its own last step comes by.
    """
    step, w = STEPS[layer.cell], weights_of(layer, name)
    a = linear(rows, w.weight_ih, w.bias_ih).split(batch_sizes)  # T times (B_t, G·H)
    outputs: list[Tensor] = list(a)
    order = range(len(batch_sizes))
    for t in reversed(order) if name.endswith("_reverse") else order:
        size = batch_sizes[t]
        new, record = step(w, a[t], tuple(s[:size] for s in state))  # (B_t, H) each
        if observe is not None:
            observe(name, t, new, record)
        outputs[t] = new[0]
        state = tuple(n if size == len(s) else torch.cat([n, s[size:]]) for n, s in zip(new, state, strict=True))
    return torch.cat(outputs), state


def weights_of(layer: Recurrent, name: str) -> Weights:
    """The parameters of the stacked layer and direction ``name`` (``l0``, ``l0_reverse``, …) as they are now."""
    weight_ih, weight_hh = getattr(layer, f"weight_ih_{name}"), getattr(layer, f"weight_hh_{name}")
    return Weights(weight_ih, weight_hh, *(getattr(layer, f"{key}_{name}", None) for key in Weights._fields[2:]))


def batch_sizes_of(layer: Recurrent, input: Tensor | PackedSequence) -> list[int]:
    """How many sequences take part in each step: T integers, none greater than the one before."""
    if isinstance(input, PackedSequence):
        return input.batch_sizes.tolist()
    if input.dim() == 2:
        return [1] * len(input)
    B, T = input.shape[:2] if layer.batch_first else input.shape[1::-1]
    return [B] * T


def _rows_of(layer: Recurrent, input: Tensor | PackedSequence) -> Tensor:
    """All steps' rows ``(N, I)`` in time order."""
    if isinstance(input, PackedSequence):
        return input.data
    if input.dim() == 2:
        return input  # (T, I): a batch of one
    x = input.transpose(0, 1) if layer.batch_first else input  # (T, B, I)
    return x.reshape(-1, x.shape[2])


def _initial_state(layer: Recurrent, input, hx, rows: Tensor, B: int) -> State:
    """The initial states ``(L·D, B, H)``, zeros where none are given, in the order of the rows."""
    if hx is None:
        sizes = layer.state_sizes
        count = layer.num_layers * (2 if layer.bidirectional else 1)
        return tuple(rows.new_zeros(count, B, size) for size in sizes)
    states = hx if isinstance(hx, (tuple, list)) else (hx,)
    if isinstance(input, PackedSequence):
        order = input.sorted_indices
        return tuple(states) if order is None else tuple(s.index_select(1, order) for s in states)
    return tuple(s.unsqueeze(1) for s in states) if input.dim() == 2 else tuple(states)


def _as_given(layer: Recurrent, input, rows: Tensor, states: State):
    """Output and final states in the form in which the input came."""
    if isinstance(input, PackedSequence):
        output = PackedSequence(rows, input.batch_sizes, input.sorted_indices, input.unsorted_indices)
        order = input.unsorted_indices
        states = states if order is None else tuple(s.index_select(1, order) for s in states)
    elif input.dim() == 2:
        output, states = rows, tuple(s.squeeze(1) for s in states)  # (T, D·H), (L·D, H)
    else:
        B, T = input.shape[:2] if layer.batch_first else input.shape[1::-1]
        output = rows.reshape(T, B, rows.shape[1])  # (T, B, D·H)
        output = output.transpose(0, 1) if layer.batch_first else output
    return output, states if len(states) > 1 else states[0]
