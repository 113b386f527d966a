"""Are these gradients right? Central differences say so, and name the array and the gate that are wrong.

    check_step(LSTM)                                     # one step: {"dweight_ih[f]": 3e-11, …}
    check_sequence(LSTM, num_layers=2, bidirectional=True)
    check_step(dataclasses.replace(LSTM, step_backward=mine))

The slope is measured as (loss(a + ε) − loss(a − ε)) / 2ε, which is off by a term in ε² and by rounding over ε. In
float64 with ε = 1e-5 the sum of both is near 1e-10 of the largest slope; a wrong formula is off by 1e-3 or more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from gatelab.cells.cell import Array, Cell
from gatelab.cells.parameters import initial_parameters, to_state_dict
from gatelab.cells.sequence import backward, forward
from gatelab.core.errors import InputError

TOLERANCE = 1e-7
"""A relative error above this means that a formula is wrong."""


def numerical_gradient(loss: Callable[[], float], array: Array, epsilon: float = 1e-5) -> Array:
    """∂loss/∂array by central differences, two evaluations of ``loss`` per entry.

    Args:
        loss: computes the loss from the present content of ``array``.
        array: float64, any shape; each entry is moved and put back.
        epsilon: how far an entry is moved.

    Raises:
        InputError: ``array`` is not float64: in float32, rounding alone is as large as the difference.
    """
    if array.dtype != np.float64:
        raise InputError("a gradient check needs float64", got=array.dtype, fix="make the parameters in float64")
    slope = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        kept = array[index]
        array[index] = kept + epsilon
        above = loss()
        array[index] = kept - epsilon
        below = loss()
        array[index] = kept
        slope[index] = (above - below) / (2 * epsilon)
    return slope


def relative_error(a: Array, b: Array) -> float:
    """The largest difference over the largest entry of either; 0 where both are zero."""
    scale = max(np.abs(a).max(initial=0), np.abs(b).max(initial=0))
    return float(np.abs(a - b).max(initial=0) / scale) if scale > 0 else 0.0


def check(arrays: Mapping[str, Array], gradients: Mapping[str, Array], loss: Callable[[], float]) -> dict[str, float]:
    """The relative error of each of ``gradients``, by name, measured by moving the ``arrays`` of the same name.

    Raises:
        InputError: a gradient that is missing or of another shape.
    """
    for name, array in arrays.items():
        if name not in gradients or gradients[name].shape != array.shape:
            got = gradients[name].shape if name in gradients else "none"
            raise InputError(f"the gradient of {name} does not fit", expected=array.shape, got=got)
    return {name: relative_error(numerical_gradient(loss, array), gradients[name]) for name, array in arrays.items()}


def check_step(
    cell: Cell, batch: int = 3, input_size: int = 4, hidden_size: int = 5, seed: int = 0
) -> dict[str, float]:
    """Checks ``cell.step_backward`` against ``cell.step``, on random parameters, input and state.

    Returns:
        The relative error of every gradient, gate by gate: ``{"dx": …, "dh": …, "dweight_ih[f]": …}``.
    """
    rng = np.random.default_rng(seed)
    params = _random_parameters(cell, rng, input_size, hidden_size)["l0"]
    x = rng.normal(size=(batch, input_size))  # (B, I)
    state = cell.State(*(rng.normal(size=(batch, hidden_size)) for _ in cell.State._fields))  # (B, H) each
    dstate = cell.State(*(rng.normal(size=s.shape) for s in state))  # the loss is Σ dstate · state

    _, gates = cell.step(params, x, state)
    dx, dbefore, dparams = cell.step_backward(params, x, state, gates, dstate)

    def loss() -> float:
        after, _ = cell.step(params, x, state)
        return float(sum((d * s).sum() for d, s in zip(dstate, after, strict=True)))

    arrays = {"x": x} | state._asdict() | params._asdict()
    gradients = {"x": dx} | dbefore._asdict() | dparams._asdict()
    return check(_by_gate(cell, arrays), _by_gate(cell, gradients), loss)


def check_sequence(
    cell: Cell,
    lengths: tuple[int, ...] = (5, 3, 1),
    input_size: int = 3,
    hidden_size: int = 4,
    *,
    num_layers: int = 1,
    bidirectional: bool = False,
    seed: int = 0,
) -> dict[str, float]:
    """Checks ``backward`` against ``forward``: every parameter, the input and the initial state, over ragged lengths.

    The loss sees every output and every final state.

    Returns:
        The relative error of every gradient, gate by gate: ``{"dx": …, "dh": …, "dweight_ih_l0[f]": …}``.
    """
    rng = np.random.default_rng(seed)
    T, B = max(lengths), len(lengths)
    params = _random_parameters(cell, rng, input_size, hidden_size, num_layers, bidirectional)
    x = rng.normal(size=(T, B, input_size))  # (T, B, I)
    shape = (len(params), B, hidden_size)
    state = cell.State(*(rng.normal(size=shape) for _ in cell.State._fields))  # (L·D, B, H) each

    def run():
        return forward(cell, params, x, state, lengths=np.array(lengths))

    (output, final), cache = run()
    doutput = rng.normal(size=output.shape)  # (T, B, D·H); the loss is Σ doutput · output + Σ dfinal · final
    dfinal = cell.State(*(rng.normal(size=shape) for _ in final))  # (L·D, B, H) each
    gradients = backward(doutput, cache, dfinal)

    def loss() -> float:
        (output, final), _ = run()
        return float((doutput * output).sum() + sum((d * s).sum() for d, s in zip(dfinal, final, strict=True)))

    measured = {"x": x} | state._asdict() | to_state_dict(params)
    derived = {"x": gradients.x} | gradients.state._asdict() | to_state_dict(gradients.params)
    return check(_by_gate(cell, measured), _by_gate(cell, derived), loss)


def _random_parameters(cell: Cell, rng, input_size: int, hidden_size: int, num_layers=1, bidirectional=False):
    """Parameters with every entry drawn, biases too: a bias of zero would hide what is wrong with it."""
    size = {"num_layers": num_layers, "bidirectional": bidirectional}
    params = initial_parameters(cell, input_size, hidden_size, rng, **size)
    for array in to_state_dict(params).values():
        array[...] = rng.normal(0, 0.5, array.shape)
    return params


def _by_gate(cell: Cell, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Views of ``arrays``, torch's four cut into the rows of each gate, named ``d…`` as gradients are."""
    views = {}
    for name, array in arrays.items():
        if name.startswith(("weight_ih", "weight_hh", "bias_ih", "bias_hh")):
            blocks = np.split(array, len(cell.gates))
            views |= {f"d{name}[{gate}]": block for gate, block in zip(cell.gates, blocks, strict=True)}
        else:
            views[f"d{name}"] = array
    return views
