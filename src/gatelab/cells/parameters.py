"""The parameters of a stack of layers: made, counted, and passed to and from torch's state dicts.

A stack's parameters are a dictionary from layer name to the cell's own NamedTuple: ``{"l0": LSTMParams(…), "l1": …}``.
A state dict is the same arrays under torch's keys: ``weight_ih_l0``, ``bias_hh_l1_reverse``, …
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from gatelab.cells.cell import Array, Cell, Params
from gatelab.cells.init import initialise
from gatelab.cells.sequence import layer_names
from gatelab.core.errors import InputError, nearest

_LAYER = re.compile(r"_l(\d+)(?:_reverse)?$")  # how torch's keys end


def _stack_shapes(
    cell: Cell, input_size: int, hidden_size: int, num_layers: int, bidirectional: bool
) -> dict[str, dict[str, tuple[int, ...]]]:
    """The shape of every parameter by layer name: a layer above reads all directions of the one below."""
    names = layer_names(num_layers, bidirectional)
    sizes = [input_size] + [hidden_size * len(names[0])] * (num_layers - 1)
    return {name: cell.shapes(size, hidden_size) for layer, size in zip(names, sizes, strict=True) for name in layer}


def initial_parameters(
    cell: Cell,
    input_size: int,
    hidden_size: int,
    rng: np.random.Generator,
    *,
    num_layers: int = 1,
    bidirectional: bool = False,
    init: str = "torch",
    dtype: Any = np.float64,
) -> dict[str, Params]:
    """The parameters of a new stack of layers, initialised by name (``gatelab.cells.init``), drawn from ``rng``.

    Raises:
        InputError: an initialisation that does not exist.
    """
    stack = {}
    for name, shapes in _stack_shapes(cell, input_size, hidden_size, num_layers, bidirectional).items():
        stack[name] = cell.Params(**{key: np.zeros(shape, dtype) for key, shape in shapes.items()})
        initialise(cell, stack[name]._asdict(), rng, init)
    return stack


def parameter_count(
    cell: Cell, input_size: int, hidden_size: int, num_layers: int = 1, bidirectional: bool = False
) -> int:
    """How many numbers a stack of layers learns."""
    stack = _stack_shapes(cell, input_size, hidden_size, num_layers, bidirectional)
    return sum(int(np.prod(shape)) for shapes in stack.values() for shape in shapes.values())


def to_state_dict(params: Mapping[str, Params], prefix: str = "") -> dict[str, Array]:
    """The arrays of a stack (or their gradients) under torch's keys, each with ``prefix`` before it.

    They are the very arrays, not copies: an optimizer that changes them changes the stack.
    """
    return {
        f"{prefix}{key}_{layer}": array for layer, record in params.items() for key, array in record._asdict().items()
    }


def from_state_dict(cell: Cell, arrays: Mapping[str, Any], prefix: str = "") -> dict[str, Params]:
    """The stack whose state dict is ``arrays``: NumPy arrays or CPU tensors, which are copied.

    Keys that do not start with ``prefix`` belong to others and are left alone. Where torch's ``bias=False`` left out
    the biases, they are zero.

    Raises:
        InputError: a key missing or too many, or a shape that does not fit.
    """
    found = {
        key.removeprefix(prefix): np.asarray(value).copy() for key, value in arrays.items() if key.startswith(prefix)
    }
    first = found.get("weight_ih_l0")
    if first is None or first.ndim != 2 or len(first) % len(cell.gates):
        raise InputError(
            f"this is not the state dict of a stack of {cell.title} layers",
            expected=f"{prefix}weight_ih_l0 with {len(cell.gates)}·H rows",
            got=", ".join(list(arrays)[:8]) if first is None else first.shape,
            fix="give the prefix under which the layer lies, such as prefix='encoder.'" if first is None else None,
        )
    num_layers = 1 + max(int(match[1]) for key in found if (match := _LAYER.search(key)))
    input_size, hidden_size = first.shape[1], len(first) // len(cell.gates)
    stack = _stack_shapes(cell, input_size, hidden_size, num_layers, "weight_ih_l0_reverse" in found)
    unbiased = not any(key.startswith("bias_") for key in found)
    wanted = {f"{key}_{layer}": shape for layer, shapes in stack.items() for key, shape in shapes.items()}
    if unbiased:
        found |= {key: np.zeros(shape, first.dtype) for key, shape in wanted.items() if key.startswith("bias_")}
    _compare(wanted, {key: array.shape for key, array in found.items()}, cell)
    return {layer: cell.Params(**{key: found[f"{key}_{layer}"] for key in shapes}) for layer, shapes in stack.items()}


def _compare(wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]], cell: Cell) -> None:
    """Raises ``InputError`` at the first key that is missing, unknown or of another shape."""
    for key, shape in wanted.items():
        if found.get(key) != shape:
            raise InputError(
                f"{key} of the {cell.title} " + ("does not fit" if key in found else "is missing"),
                expected=shape,
                got=found.get(key, "no such key"),
            )
    for key in found:
        if key not in wanted:
            raise InputError(f"{cell.title} layers have no {key!r}", fix=f"did you mean {nearest(key, wanted)}?")
