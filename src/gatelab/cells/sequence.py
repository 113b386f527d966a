"""The one loop that knows time: any cell, forward and backward, over masks, directions, layers and windows.

    (output, state), cache = forward(LSTM, params, x, lengths=lengths)
    gradients = backward(doutput, cache)

Read ``scan`` and ``scan_backward`` first: one layer in one direction. The rest is bookkeeping around them.

**Masks.** At a step that is not observed the state is held and the output is zero, as in torch's packed sequences.
Held states make reversal ragged-aware for nothing: flip time, and an item that ends early just waits at its initial
state until its own last step comes by. Padding is inert: what lies under the mask is set to zero before it is read.

T time, B batch, I input, H hidden, L layers, D directions. Layers are named by torch's suffixes: ``l0``,
``l0_reverse``, ``l1``, …; states of all layers lie on one another in that order, ``(L·D, B, H)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from gatelab.cells.cell import Array, Cell, Gates, Params, State, combine
from gatelab.core.errors import InputError


class Output(NamedTuple):
    """What a stack of layers gives."""

    output: Array  # (T, B, D·H) h of the last layer at every step, zero under the mask
    state: State  # (L·D, B, H) each layer's and direction's state after the last step it read


class Gradients(NamedTuple):
    """∂loss/∂ everything that ``forward`` was given, and the states in between."""

    x: Array  # (T, B, I) zero under the mask
    state: State  # (L·D, B, H) of the initial state
    params: dict[str, Params]  # by layer name
    steps: dict[str, State]  # (T, B, H) by layer name: of the state after each step, through all later steps


class Scan(NamedTuple):
    """What one layer recorded in one direction, in the order in which it read the steps."""

    params: Params
    x: Array  # (T, B, I)
    observed: Array  # (T, B, 1) bool
    states: list[State]  # T + 1 of them, (B, H): the initial one, and the one after each step
    gates: list[Gates]  # T of them


class Cache(NamedTuple):
    """What ``forward`` keeps for ``backward`` and for a ``Trace``."""

    cell: Cell
    scans: dict[str, Scan]  # by layer name, in the order of the layers
    observed: Array  # (T, B, 1) bool


# ---- one layer, one direction ------------------------------------------------------------------------------------


def scan(cell: Cell, params: Params, x: Array, state: State, observed: Array) -> tuple[Array, Scan]:
    """Runs ``cell`` along ``x (T, B, I)`` from ``state``, holding the state where ``observed (T, B, 1)`` is False.

    Returns the outputs ``(T, B, H)``, zero where not observed, and the record.
    """
    states, gates = [state], []
    for t in range(len(x)):
        after, computed = cell.step(params, x[t], states[t])
        states.append(_choose(observed[t], after, states[t]))
        gates.append(computed)
    h = np.stack([state.h for state in states[1:]])  # (T, B, H)
    return np.where(observed, h, 0), Scan(params, x, observed, states, gates)


def scan_backward(cell: Cell, doutput: Array, dstate: State, record: Scan) -> tuple[Array, State, Params, list[State]]:
    """``scan`` backwards: backpropagation through time (Werbos 1990).

    Args:
        cell: the cell that ``scan`` ran.
        doutput: ∂loss/∂outputs ``(T, B, H)``, zero where not observed.
        dstate: ∂loss/∂(final state).
        record: what ``scan`` recorded.

    Returns:
        ∂loss/∂x ``(T, B, I)``, ∂loss/∂(initial state), ∂loss/∂params, and ∂loss/∂(state after each step).
    """
    params, x, observed, states, gates = record
    zero = combine(np.zeros_like, dstate)
    dx, dparams = np.empty_like(x), combine(np.zeros_like, params)
    dsteps = [dstate] * len(x)
    for t in reversed(range(len(x))):
        dstate = dstate._replace(h=dstate.h + doutput[t])
        dsteps[t] = dstate
        dafter, dheld = _choose(observed[t], dstate, zero), _choose(observed[t], zero, dstate)
        dx[t], dbefore, dstep = cell.step_backward(params, x[t], states[t], gates[t], dafter)
        dstate = combine(np.add, dbefore, dheld)
        dparams = combine(np.add, dparams, dstep)
    return dx, dstate, dparams, dsteps


def _choose(observed: Array, where: State, otherwise: State) -> State:
    """``where`` for the items of the batch that are ``observed (B, 1)``, ``otherwise`` for the rest."""
    if observed.all():
        return where
    return combine(lambda a, b: np.where(observed, a, b), where, otherwise)


# ---- layers and directions ---------------------------------------------------------------------------------------


def forward(
    cell: Cell,
    params: Mapping[str, Params],
    x: Array,
    state: State | None = None,
    *,
    lengths: Array | None = None,
    observed: Array | None = None,
) -> tuple[Output, Cache]:
    """Runs a stack of layers over a batch of sequences.

    Args:
        cell: which cell.
        params: the parameters of each layer and direction by name; their dtype is the dtype of everything.
        x: input ``(T, B, I)``.
        state: initial state ``(L·D, B, H)``, such as the one an earlier call ended in; zeros where not given.
        lengths: steps of each item ``(B,)``, from 0 to T.
        observed: which steps to read ``(T, B)``, where the mask is not a matter of lengths.

    Returns:
        Output and final state, as ``torch.nn`` gives them for packed sequences; and the cache for ``backward``.

    Raises:
        InputError: shapes that do not fit one another, or both ``lengths`` and ``observed``.
    """
    names = _names_of(params)
    x, state, mask = _checked(cell, params, x, state, lengths, observed)
    scans: dict[str, Scan] = {}
    below = np.where(mask, x, 0)  # (T, B, I)
    for layer in names:
        outputs = []
        for name in layer:
            way = reading_order(name)
            initial = _row(state, len(scans))
            output, scans[name] = scan(cell, params[name], below[way], initial, mask[way])
            outputs.append(output[way])
        below = np.concatenate(outputs, axis=2)  # (T, B, D·H)
    final = _stacked([record.states[-1] for record in scans.values()])
    return Output(below, final), Cache(cell, scans, mask)


def backward(doutput: Array, cache: Cache, dstate: State | None = None) -> Gradients:
    """From ∂loss/∂output ``(T, B, D·H)``, and ∂loss/∂(final state) if the loss saw it, to everything before.

    What ``doutput`` holds under the mask is not read.

    Raises:
        InputError: ``doutput`` or ``dstate`` has not the shape of what ``forward`` gave.
    """
    cell, scans, mask = cache
    final = _stacked([record.states[-1] for record in scans.values()])  # (L·D, B, H) each
    names, row = _names_of(scans), {name: k for k, name in enumerate(scans)}
    _require("∂loss/∂output", np.shape(doutput), (*mask.shape[:2], len(names[0]) * final.h.shape[2]))
    dfinal = combine(np.zeros_like, final) if dstate is None else _state_like(final, dstate, "∂loss/∂")
    dinitial, dparams, dsteps = {}, {}, {}
    dabove = np.where(mask, doutput, 0).astype(final.h.dtype, copy=False)  # (T, B, D·H)
    for layer in reversed(names):
        dbelow = np.zeros_like(scans[layer[0]].x)  # (T, B, I)
        for name, dh in zip(layer, np.split(dabove, len(layer), axis=2), strict=True):
            way = reading_order(name)
            dlast = _row(dfinal, row[name])
            dread, dinitial[name], dparams[name], dstates = scan_backward(cell, dh[way], dlast, scans[name])
            dsteps[name] = combine(lambda steps, way=way: steps[way], _stacked(dstates))
            dbelow += dread[way]
        dabove = dbelow
    in_order = [dinitial[name] for name in scans]
    return Gradients(dabove, _stacked(in_order), {name: dparams[name] for name in scans}, dsteps)


def layer_names(num_layers: int = 1, bidirectional: bool = False) -> list[list[str]]:
    """The names of the directions of each layer: ``[["l0", "l0_reverse"], ["l1", "l1_reverse"]]``."""
    directions = ("", "_reverse") if bidirectional else ("",)
    return [[f"l{layer}{direction}" for direction in directions] for layer in range(num_layers)]


def reading_order(name: str) -> slice:
    """How the layer ``name`` reads time: as it is, or flipped. Flipping twice gives the data's own order back."""
    return slice(None, None, -1) if name.endswith("_reverse") else slice(None)


# ---- windows of time ---------------------------------------------------------------------------------------------


class Window(NamedTuple):
    """One window of truncated backpropagation."""

    steps: slice  # which steps of the sequence
    loss: float
    output: Array  # (T', B, H)
    state: State  # (L, B, H) at the end of the window; the next window starts there
    gradients: Gradients  # of this window's loss, through this window alone


def truncated(
    cell: Cell,
    params: Mapping[str, Params],
    x: Array,
    loss: Callable[[Array, slice], tuple[float, Array]],
    window: int,
    state: State | None = None,
    *,
    lengths: Array | None = None,
    observed: Array | None = None,
) -> Iterator[Window]:
    """Truncated backpropagation through time: windows of ``window`` steps, the state carried on, the gradient cut.

    Memory is that of one window. Change the parameters between two windows (in place) to train along a stream, or
    add the gradients up. With a window that covers the sequence this is full backpropagation. Williams & Peng 1990
    call it BPTT(h; h') with h = h' = ``window``.

    Args:
        cell, params, x, state, lengths, observed: as for ``forward``; one direction only.
        loss: from the output ``(T', B, H)`` of the steps in a slice, the loss on them and ∂loss/∂output.
        window: steps in a window.

    Raises:
        InputError: a window below 1, or a layer that reads backwards and would have to know the future.
    """
    if window < 1:
        raise InputError(f"a window cannot have {window} steps", expected="at least 1", got=window)
    if any(len(layer) == 2 for layer in _names_of(params)):
        raise InputError("a bidirectional layer cannot be cut into windows", fix="use one direction, or `forward`")
    x, state, mask = _checked(cell, params, x, state, lengths, observed)
    for start in range(0, len(x), window):
        steps = slice(start, min(start + window, len(x)))
        (output, state), cache = forward(cell, params, x[steps], state, observed=mask[steps, :, 0])
        value, doutput = loss(output, steps)
        yield Window(steps, value, output, state, backward(doutput, cache))


# ---- checks and small change -------------------------------------------------------------------------------------


def _names_of(layers: Mapping[str, object]) -> list[list[str]]:
    names = layer_names(sum(not name.endswith("_reverse") for name in layers), "l0_reverse" in layers)
    expected = [name for layer in names for name in layer]
    if not expected or set(expected) != set(layers):
        raise InputError(
            "the layers do not make a stack",
            expected=", ".join(expected) or "l0, l1, …",
            got=", ".join(layers) or "none",
            fix="name the layers l0, l1, … and, in all of them or none, l0_reverse, l1_reverse, …",
        )
    return names


def _stacked(states: list[State]) -> State:
    return combine(lambda *rows: np.stack(rows), *states)


def _row(state: State, k: int) -> State:
    return combine(lambda rows: rows[k], state)


def observed_from_lengths(lengths: Array, steps: int) -> Array:
    """The mask ``(T, B)`` of items that have ``lengths (B,)`` steps out of ``steps``.

    Raises:
        InputError: a length that is not a whole number from 0 to ``steps``.
    """
    lengths = np.asarray(lengths)
    whole = lengths.ndim == 1 and np.issubdtype(lengths.dtype, np.integer)
    if not whole or (lengths < 0).any() or (lengths > steps).any():
        raise InputError("these lengths do not fit the input", expected=f"whole numbers from 0 to {steps}", got=lengths)
    return np.arange(steps)[:, None] < lengths  # (T, B)


def _checked(
    cell: Cell,
    params: Mapping[str, Params],
    x: Array,
    state: State | None,
    lengths: Array | None,
    observed: Array | None,
) -> tuple[Array, State, Array]:
    """Input, initial state and mask ``(T, B, 1)``, all of the parameters' dtype and of shapes that fit."""
    dtype = params["l0"].weight_ih.dtype
    input_size, hidden_size = cell.sizes(params["l0"])
    x = np.asarray(x, dtype)
    if x.ndim != 3 or x.shape[0] < 1 or x.shape[2] != input_size:
        raise InputError("the input does not fit", expected=f"(T, B, {input_size}), T at least 1", got=x.shape)
    T, B, _ = x.shape
    if lengths is not None and observed is not None:
        raise InputError("lengths and observed say the same thing twice", fix="give one of them")
    if lengths is not None:
        observed = observed_from_lengths(lengths, T)
    mask = np.ones((T, B), bool) if observed is None else np.asarray(observed)  # (T, B)
    if mask.shape != (T, B) or mask.dtype != bool:
        raise InputError(
            "the mask does not fit the input", expected=f"({T}, {B}) of bool", got=f"{mask.shape} of {mask.dtype}"
        )
    zero = cell.zero_state(len(params), B, hidden_size, dtype=dtype)
    state = zero if state is None else _state_like(zero, state, "the initial state ")
    return x, state, mask[:, :, None]


def _state_like(example: State, state: State, what: str) -> State:
    """``state`` in the dtype of ``example``, once its shapes are known to be the same."""
    for name, wanted, array in zip(example._fields, example, state, strict=True):
        _require(f"{what}{name}", np.shape(array), wanted.shape)
    return type(example)(*(np.asarray(array, example.h.dtype) for array in state))


def _require(what: str, got: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if got != expected:
        raise InputError(f"the shape of {what} does not fit", expected=expected, got=got)
