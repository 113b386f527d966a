"""One loop in torch operations that runs any cell with any extras step by step, and can record every step.

It is the slow twin of every fast path: what a fused layer computes, this loop computes in the open. It also runs
what no fused layer computes, and whatever asks for more than first derivatives: it can be differentiated any number
of times, and ``torch.func`` can transform it.

``run`` goes through stacked layers and directions and hands each to a scan, ``scan`` here or its fast twin in
``fused``; both take the same arguments.

T time, B batch, I input, H hidden, P projected, G gates, L layers, D directions, N rows of all steps together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import dropout, linear
from torch.nn.utils.rnn import PackedSequence

from gatelab.cells.sequence import layer_names
from gatelab.nn import checkpointing, extras, linear_recurrence
from gatelab.nn.hooks import Moment, Noise, Weights
from gatelab.nn.packing import State, as_given, batch_sizes_of, counts, initial_state, rows_of

if TYPE_CHECKING:
    from gatelab.nn.layers import Recurrent


Record = Mapping[str, Tensor]  # what a step computed on its way, by name, each (B, H)
Observer = Callable[[str, int, State, Record], None]  # (layer name such as "l0_reverse", step, state after it, record)
Step = Callable[..., tuple[State, Record]]  # (weights, a, state, moment=PLAIN)
Scan = Callable[..., tuple[Tensor, State]]  # what ``scan`` is
PLAIN = Moment()  # no extras


# ---- the cells: one step each. ``a`` is the step's input times weight_ih, plus bias_ih, for all gates (B, G·H) -------


def rnn_step(w: Weights, a: Tensor, state: State, moment: Moment = PLAIN) -> tuple[State, Record]:
    """Vanilla network with tanh."""
    zh = a + moment.hidden(w, state[0])  # (B, H)
    return (zh.tanh(),), {"zh": zh}


def rnn_relu_step(w: Weights, a: Tensor, state: State, moment: Moment = PLAIN) -> tuple[State, Record]:
    """Vanilla network with ReLU."""
    zh = a + moment.hidden(w, state[0])  # (B, H)
    return (zh.relu(),), {"zh": zh}


def lstm_step(w: Weights, a: Tensor, state: State, moment: Moment = PLAIN) -> tuple[State, Record]:
    """Long short-term memory."""
    h, c = state  # (B, P or H), (B, H)
    zi, zf, zg, zo = (a + moment.hidden(w, h)).chunk(4, dim=1)  # (B, H) each
    zi, zf = moment.gate(w, "i", zi, c), moment.gate(w, "f", zf, c)  # (B, H) each
    i, f, g = zi.sigmoid(), zf.sigmoid(), zg.tanh()  # (B, H) each
    c = f * c + i * g  # (B, H)
    zo = moment.gate(w, "o", zo, c)  # (B, H)
    o, tanh_c = zo.sigmoid(), moment.shown(w, c).tanh()  # (B, H) each
    pre = {"zi": zi, "zf": zf, "zg": zg, "zo": zo}
    return (_projected(w, o * tanh_c), c), {"i": i, "f": f, "g": g, "o": o, "tanh_c": tanh_c, **pre}


def lstm_coupled_step(w: Weights, a: Tensor, state: State, moment: Moment = PLAIN) -> tuple[State, Record]:
    """Long short-term memory that writes as much as it forgets: i = 1 − f."""
    h, c = state  # (B, P or H), (B, H)
    zf, zg, zo = (a + moment.hidden(w, h)).chunk(3, dim=1)  # (B, H) each
    zf = moment.gate(w, "f", zf, c)  # (B, H)
    f, g = zf.sigmoid(), zg.tanh()  # (B, H) each
    c = f * c + (1 - f) * g  # (B, H)
    zo = moment.gate(w, "o", zo, c)  # (B, H)
    o, tanh_c = zo.sigmoid(), moment.shown(w, c).tanh()  # (B, H) each
    pre = {"zf": zf, "zg": zg, "zo": zo}
    return (_projected(w, o * tanh_c), c), {"f": f, "g": g, "o": o, "tanh_c": tanh_c, **pre}


def _projected(w: Weights, h: Tensor) -> Tensor:
    """The LSTM's h from H to P units where it has a projection (Sak et al. 2014, arXiv:1402.1128)."""
    return h if w.weight_hr is None else linear(h, w.weight_hr)


def gru_step(w: Weights, a: Tensor, state: State, moment: Moment = PLAIN) -> tuple[State, Record]:
    """Gated recurrent unit of torch and cuDNN: the reset gate scales what the multiplication gave."""
    (h,) = state  # (B, H)
    xr, xz, xn = a.chunk(3, dim=1)  # (B, H) each
    hr, hz, hn = moment.hidden(w, h).chunk(3, dim=1)  # (B, H) each
    zr, zz = xr + hr, xz + hz  # (B, H) each
    r, z = zr.sigmoid(), zz.sigmoid()  # (B, H) each
    zn = xn + r * hn  # (B, H)
    n = zn.tanh()  # (B, H)
    record = {"r": r, "z": z, "n": n, "hn": hn, "zr": zr, "zz": zz, "zn": zn}
    return ((1 - z) * n + z * h,), record


def gru_reset_before_step(w: Weights, a: Tensor, state: State, moment: Moment = PLAIN) -> tuple[State, Record]:
    """Gated recurrent unit of Cho et al. 2014: the reset gate scales the state before the multiplication."""
    (h,) = state  # (B, H)
    H = h.shape[1]
    xr, xz, xn = a.chunk(3, dim=1)  # (B, H) each
    hr, hz = moment.hidden(w, h, slice(2 * H)).chunk(2, dim=1)  # (B, H) each
    zr, zz = xr + hr, xz + hz  # (B, H) each
    r, z = zr.sigmoid(), zz.sigmoid()  # (B, H) each
    rh = r * h  # (B, H)
    zn = xn + moment.hidden(w, rh, slice(2 * H, None))  # (B, H)
    n = zn.tanh()  # (B, H)
    record = {"r": r, "z": z, "n": n, "rh": rh, "zr": zr, "zz": zz, "zn": zn}
    return ((1 - z) * n + z * h,), record


STEPS: Mapping[str, Step] = {
    "rnn": rnn_step,
    "rnn_relu": rnn_relu_step,
    "lstm": lstm_step,
    "lstm_coupled": lstm_coupled_step,
    "gru": gru_step,
    "gru_reset_before": gru_reset_before_step,
    "min_gru": partial(linear_recurrence.step, "min_gru"),
    "min_lstm": partial(linear_recurrence.step, "min_lstm"),
}
"""The step of every cell of ``gatelab.cells.CELLS``, which holds the equations, in torch operations.

It records what a trace of the NumPy cell holds, under the same names: gates (``f``) and their pre-activations (``zf``).
"""


# ---- one layer in one direction -----------------------------------------------------------------------------------


def scan(
    layer: Recurrent,
    w: Weights,
    noise: Noise,
    rows: Tensor,
    batch_sizes: Tensor | None,
    state: State,
    reverse: bool,
    observe: Callable[[int, State, Record], None] | None = None,
) -> tuple[Tensor, State]:
    """One stacked layer over all steps in one direction, step by step.

    A sequence that has ended keeps its state while longer ones go on; backwards, a sequence keeps its initial state
    until its own last step comes by.

    Args:
        layer: says which cell and which extras.
        w: its parameters.
        noise: the masks of this scan.
        rows: the input of all steps ``(N, I)``, see ``packing``.
        batch_sizes: rows of each step ``(T,)``, int64 on the CPU; None for ``B`` in every step.
        state: to begin from, ``(B, P or H)`` and for the LSTM ``(B, H)``.
        reverse: whether to read from the last step to the first.
        observe: called after every step with its index in time, the state after it and the record.

    Returns:
        The outputs ``(N, P or H)`` and the state after the last step that each sequence has.
    """
    sizes = counts(batch_sizes, len(rows), len(state[0]))
    a = _input_side(layer, w, noise, rows, batch_sizes, sizes, len(state[0]))  # (N, G·H)
    return steps(layer, w, noise, a, sizes, state, reverse, observe)


def steps(
    layer: Any,
    w: Weights,
    noise: Noise,
    a: Tensor,
    sizes: list[int],
    state: State,
    reverse: bool,
    observe: Callable[[int, State, Record], None] | None = None,
) -> tuple[Tensor, State]:
    """What ``scan`` does after the input's side ``a (N, G·H)`` of all pre-activations, with ``sizes`` rows a step."""
    B, step, active = len(state[0]), STEPS[layer.cell], layer.extras
    parts = a.split(sizes)  # T times (B_t, G·H)
    outputs: list[Any] = [None] * len(sizes)
    end = len(a) if reverse else 0
    for t in reversed(range(len(sizes))) if reverse else range(len(sizes)):
        size = sizes[t]
        start, end = (end - size, end - size) if reverse else (end, end + size)
        moment = Moment(layer, active, noise, t, slice(start, start + size))
        old = tuple(s[:size] for s in state)  # (B_t, H) each
        new, record = step(w, parts[t], old, moment)
        new = moment.carried(new, old)
        if observe is not None:
            observe(t, new, record)
        outputs[t] = new[0]
        state = tuple(n if size == B else torch.cat([n, s[size:]]) for n, s in zip(new, state, strict=True))
    return torch.cat(outputs), state


def _input_side(
    layer: Recurrent, w: Weights, noise: Noise, rows: Tensor, batch_sizes: Tensor | None, sizes: list[int], B: int
) -> Tensor:
    """The input side of the pre-activations of all steps, ``(N, G·H)``."""
    for extra in layer.extras:
        rows = extra.inputs(noise, rows, batch_sizes, B)
    product = linear(rows, w.weight_ih)  # (N, G·H)
    for extra in layer.extras:
        product = extra.projected(layer, w, product, sizes)
    return product if w.bias_ih is None else product + w.bias_ih


# ---- stacked layers and directions --------------------------------------------------------------------------------


def run(
    layer: Recurrent,
    input: Tensor | PackedSequence,
    hx=None,
    observe: Observer | None = None,
    scan: Scan = scan,
):
    """What ``layer(input, hx)`` gives; arguments and result as in ``torch.nn``.

    Args:
        layer: the layer.
        input: as ``layer.forward`` takes it.
        hx: likewise.
        observe: called after every step of every layer and direction; only the open loop can do that.
        scan: what runs one stacked layer in one direction.

    Dropout between layers draws from torch's stream with the shape and in the order of torch's own CPU path.
    """
    rows, batch_sizes = rows_of(layer, input), batch_sizes_of(input)  # (N, I), (T,)
    initial = initial_state(layer, input, hx, rows)  # (L·D, B, H) each
    final: list[State] = []
    for index, names in enumerate(layer_names(layer.num_layers, layer.bidirectional)):
        if index > 0:
            rows = dropout(rows, layer.dropout, layer.training)  # (N, D·H)
        outputs = []
        for name in names:
            state = tuple([s.select(0, len(final)) for s in initial])  # (B, H) each
            how = _checkpointed(layer, scan) if observe is None else partial(scan, observe=partial(observe, name))
            output, state = _one(layer, name, rows, batch_sizes, state, how)
            outputs.append(output)
            final.append(state)
        rows = torch.cat(outputs, dim=1) if len(outputs) > 1 else outputs[0]  # (N, D·H)
    if len(final) == 1:
        states = tuple(s.unsqueeze(0) for s in final[0])  # (1, B, H) each
    else:
        states = tuple(torch.stack(s) for s in zip(*final, strict=True))  # (L·D, B, H) each
    return as_given(layer, input, rows, states)


def _one(
    layer: Recurrent, name: str, rows: Tensor, batch_sizes: Tensor | None, state: State, scan: Scan
) -> tuple[Tensor, State]:
    """The stacked layer and direction ``name``, its noise drawn before and its extras told after."""
    w = weights_of(layer, name)
    noise = extras.draw(layer, w, rows, state)
    for extra in layer.extras:
        w = extra.weights(noise, w)
    result = scan(layer, w, noise, rows, batch_sizes, state, name.endswith("_reverse"))
    for extra in layer.extras:
        extra.finish(layer, w)
    return result


def _checkpointed(layer: Recurrent, scan: Scan) -> Scan:
    every = layer.checkpoint_every
    return scan if every is None or not torch.is_grad_enabled() else partial(checkpointing.scan, scan, every)


def weights_of(layer: Recurrent, name: str) -> Weights:
    """The parameters of the stacked layer and direction ``name`` (``l0``, ``l0_reverse``, …) as they are now."""
    own, fields = layer._parameters, {}  # what is there need not be looked for
    for key in layer.fields:
        value: Any = own.get(f"{key}_{name}")
        fields[key] = getattr(layer, f"{key}_{name}") if value is None else value
    return Weights(**fields)
