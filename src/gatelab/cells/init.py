"""Initialisations by name.

Each is a function ``(layer, rng)`` that fills the arrays of one layer in one direction in place, seen gate by gate,
so that NumPy cells and PyTorch layers start from the very same rules:

    initialise(LSTM, {"weight_ih": …, "weight_hh": …, "bias_ih": …, "bias_hh": …}, rng, "orthogonal+forget_bias:1")

A name is one rule, or several joined by ``+`` and applied in turn over torch's own start; a number after ``:`` is the
rule's argument. ``forget_bias`` and ``chrono`` touch biases alone, so that they can be studied, and combined, one
factor at a time. The bias of a gate is ``bias_ih + bias_hh``: it is set in the first, and the second is zero.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np

from gatelab.cells.cell import Array, Cell
from gatelab.core.errors import InputError
from gatelab.core.registry import Registry

INITS = Registry(
    "initialisation",
    {
        "torch": "gatelab.cells.init:torch_uniform",
        "glorot": "gatelab.cells.init:glorot",
        "he": "gatelab.cells.init:he",
        "orthogonal": "gatelab.cells.init:orthogonal",
        "identity": "gatelab.cells.init:identity",
        "small_normal": "gatelab.cells.init:small_normal",
        "forget_bias": "gatelab.cells.init:forget_bias",
        "chrono": "gatelab.cells.init:chrono",
    },
)
"""Every initialisation by name."""
_LARGEST = 1e6


class Layer:
    """The arrays of one layer in one direction, to be filled in place."""

    def __init__(self, cell: Cell, arrays: Mapping[str, Array]):
        self.cell = cell
        self.arrays = arrays

    @property
    def hidden_size(self) -> int:
        """H."""
        return len(self.arrays["weight_ih"]) // len(self.cell.gates)

    def blocks(self, name: str) -> Iterator[Array]:
        """Views of the H rows of each gate in the array ``name``; none where the layer has no such array."""
        if name in self.arrays:
            yield from np.split(self.arrays[name], len(self.arrays[name]) // self.hidden_size)

    def zero_biases(self) -> None:
        """Sets every bias to zero."""
        for name, array in self.arrays.items():
            if name.startswith("bias_"):
                array[...] = 0

    def set_bias(self, gate: str, value: Array | float) -> None:
        """Sets the bias of one gate to ``value``, a number or ``(H,)``.

        Raises:
            InputError: the layer has no biases.
        """
        if "bias_ih" not in self.arrays:
            raise InputError("forget_bias and chrono set biases, and this layer has none", fix="make it with bias=True")
        where = self.cell.gates.index(gate)
        for name in ("bias_ih", "bias_hh"):
            for k, block in enumerate(self.blocks(name)):
                if k == where:
                    block[...] = value if name == "bias_ih" else 0


def initialise(cell: Cell, arrays: Mapping[str, Array], rng: np.random.Generator, name: str = "torch") -> None:
    """Fills the parameters of one layer in one direction by the initialisation ``name``.

    Args:
        cell: whose parameters they are; it says where the gates lie.
        arrays: writable arrays by torch's names without a layer's suffix, in any floating dtype.
        rng: where the numbers are drawn from.
        name: such as ``"glorot"``, ``"forget_bias:2"`` or ``"orthogonal+chrono:784"``.

    Raises:
        InputError: there is no such initialisation, or not with such a number.
    """
    rules = parse(name)
    layer = Layer(cell, arrays)
    torch_uniform(layer, rng)  # first in any case: from one seed, "forget_bias" then draws the weights of "torch"
    for rule in rules:
        if rule is not torch_uniform:
            rule(layer, rng)


def parse(name: str) -> list[Callable[[Layer, np.random.Generator], None]]:
    """The rules that ``name`` stands for, in the order in which they apply.

    Raises:
        InputError: there is no such initialisation, or not with such a number.
    """
    return [_rule(part.strip()) for part in name.split("+")]


def _rule(part: str) -> Callable[[Layer, np.random.Generator], None]:
    key, colon, number = part.partition(":")
    rule = INITS[key]
    if not colon:
        return rule
    arguments = list(inspect.signature(rule).parameters)[2:]
    if not arguments:
        raise InputError(f"the initialisation {key!r} takes no number", got=part, fix=f"write {key}")
    try:
        value = float(number)
    except ValueError as error:
        raise InputError(f"{number!r} is not a number", got=part, fix=f"write {key}:1, for instance") from error
    if abs(value) > _LARGEST:
        raise InputError(
            f"{number!r} is not a number to start from", expected=f"a number from −{_LARGEST:g} to {_LARGEST:g}",
            got=part, fix=f"write {key}:1, for instance",
        )  # fmt: skip
    return partial(rule, **{arguments[0]: value})


# ---- rules for weights -------------------------------------------------------------------------------------------


def torch_uniform(layer: Layer, rng: np.random.Generator) -> None:
    """U(−1/√H, 1/√H) for every weight and bias: what ``torch.nn`` does."""
    bound = 1 / np.sqrt(layer.hidden_size)
    for name, array in layer.arrays.items():
        if name.startswith(("weight_", "bias_")):
            array[...] = rng.uniform(-bound, bound, array.shape)


def glorot(layer: Layer, rng: np.random.Generator) -> None:
    """U(±√(6 / (fan_in + fan_out))) for each gate's weights, zero biases (Glorot & Bengio 2010, eq. 16)."""
    for name in ("weight_ih", "weight_hh"):
        for block in layer.blocks(name):
            bound = np.sqrt(6 / sum(block.shape))
            block[...] = rng.uniform(-bound, bound, block.shape)
    layer.zero_biases()


def he(layer: Layer, rng: np.random.Generator) -> None:
    """N(0, 2 / fan_in) for each gate's weights, zero biases: for ReLU (He et al. 2015, arXiv:1502.01852, eq. 10)."""
    for name in ("weight_ih", "weight_hh"):
        for block in layer.blocks(name):
            block[...] = rng.normal(0, np.sqrt(2 / block.shape[1]), block.shape)
    layer.zero_biases()


def orthogonal(layer: Layer, rng: np.random.Generator) -> None:
    """A random orthogonal matrix for each gate's recurrent weights, Glorot for the input's, zero biases.

    Saxe et al. 2014, arXiv:1312.6120. The signs of R's diagonal make the draw uniform over all orthogonal matrices
    (Mezzadri 2007, arXiv:math-ph/0609050).
    """
    glorot(layer, rng)
    for block in layer.blocks("weight_hh"):
        q, r = np.linalg.qr(rng.normal(size=block.shape))
        block[...] = q * np.sign(np.diag(r))


def identity(layer: Layer, rng: np.random.Generator) -> None:
    """The identity for each gate's recurrent weights, N(0, 0.001²) for the input's, zero biases.

    The IRNN of Le et al. 2015, arXiv:1504.00941: meant for the RNN with ReLU, which then starts by adding up.
    """
    for block in layer.blocks("weight_ih"):
        block[...] = rng.normal(0, 0.001, block.shape)
    for block in layer.blocks("weight_hh"):
        block[...] = np.eye(len(block))
    layer.zero_biases()


def small_normal(layer: Layer, rng: np.random.Generator, scale: float = 0.01) -> None:
    """N(0, ``scale``²) for all weights, zero biases: the ``randn(…) * 0.01`` of many courses.

    At this scale a vanilla RNN forgets within two steps: its recurrent matrix has a spectral radius near 0.01 √H.
    """
    for name in ("weight_ih", "weight_hh"):
        for block in layer.blocks(name):
            block[...] = rng.normal(0, scale, block.shape)
    layer.zero_biases()


# ---- rules for biases alone --------------------------------------------------------------------------------------


def forget_bias(layer: Layer, rng: np.random.Generator, bias: float = 1.0) -> None:
    """``bias`` for the gate that keeps the old state: the LSTM's f, the GRU's z. A cell without one is left alone.

    Gers et al. 2000; Jozefowicz et al. 2015 measured what it does and recommend 1.
    """
    if layer.cell.keeps is not None:
        layer.set_bias(layer.cell.keeps, bias)


def chrono(layer: Layer, rng: np.random.Generator, longest: float = 100.0) -> None:
    """Biases drawn so that the units forget at rates from one step to ``longest`` steps.

    log U(1, ``longest`` − 1) for the gate that keeps the old state, and minus that for the one that writes, where it
    is a gate of its own (Tallec & Ollivier 2018, arXiv:1804.11188). A cell without such a gate is left alone.

    Raises:
        InputError: ``longest`` is below 2.
    """
    if not 2 <= longest < np.inf:
        raise InputError("chrono needs the longest span to remember, in steps", expected="at least 2", got=longest)
    if layer.cell.keeps is not None:
        keep = np.log(rng.uniform(1, longest - 1, layer.hidden_size))  # (H,)
        layer.set_bias(layer.cell.keeps, keep)
        if layer.cell.writes is not None:
            layer.set_bias(layer.cell.writes, -keep)
