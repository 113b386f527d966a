"""Layer normalisation of rows (Ba et al. 2016, arXiv:1607.06450, eq. 4), in both directions.

x̂ = (x − mean x) / √(var x + ε)      y = γ ⊙ x̂ + β

N rows of all steps, H hidden, G gates.
"""

from __future__ import annotations

import math

from gatelab.kernels.compiling import part
from gatelab.kernels.simd import lanes, load, number, only, peek, poke, store, total, zeros

EPSILON = 1e-5  # torch's


@part
def moments(x, at, size):
    """The mean of the ``size`` numbers at ``at``, and the factor that makes x̂ of x − mean."""
    step, share = lanes(x), number(x, 1.0 / size)
    sums = zeros(x)
    for j in range(0, size, step):
        sums = sums + load(x, at + j, size - j)
    mean = total(sums) * share
    squares = zeros(x)
    for j in range(0, size, step):
        centred = only(load(x, at + j, size - j) - mean, size - j)
        squares = squares + centred * centred
    return mean, number(x, 1.0) / math.sqrt(total(squares) * share + number(x, EPSILON))


@part
def normalise_backward(dy, at_dy, gain, at_gain, normed, at_normed, factor, size, dgain, dx, at_dx):
    """∂loss/∂x from ∂loss/∂(gain ⊙ x̂): writes ``dx``, which may be ``dy``, and adds to ``dgain`` at ``at_gain``."""
    step, share = lanes(dy), number(dy, 1.0 / size)
    sums, products = zeros(dy), zeros(dy)
    for j in range(0, size, step):
        left = size - j
        d, normal = load(dy, at_dy + j, left), load(normed, at_normed + j, left)
        store(dgain, at_gain + j, left, load(dgain, at_gain + j, left) + d * normal)
        d = d * load(gain, at_gain + j, left)
        sums = sums + d
        products = products + d * normal
    mean, slope = total(sums) * share, total(products) * share
    for j in range(0, size, step):
        left = size - j
        d = load(dy, at_dy + j, left) * load(gain, at_gain + j, left)
        store(dx, at_dx + j, left, (d - mean - load(normed, at_normed + j, left) * slope) * factor)


@part
def normalise_gates(x, at, gain, normed, factors, row, gates, size, keep):
    """A product's row at ``at``, gate by gate: normalised, kept if wanted as row ``row``, times ``gain (G·H,)``."""
    for gate in range(gates):
        here, there = at + gate * size, (row * gates + gate) * size
        mean, factor = moments(x, here, size)
        if keep:
            poke(factors, row * gates + gate, factor)
        for j in range(0, size, lanes(x)):
            left = size - j
            normal = (load(x, here + j, left) - mean) * factor
            if keep:
                store(normed, there + j, left, normal)
            store(x, here + j, left, normal * load(gain, gate * size + j, left))


@part
def normalise_gate_backward(d, at_d, gain, normed, factors, row, gate, gates, size, dgain, dproduct, at_dproduct):
    """One gate of the same, backwards: from ``d`` at ``at_d`` to ``dproduct``, which may be there, and to ``dgain``."""
    there, factor, first = (row * gates + gate) * size, peek(factors, row * gates + gate), gate * size
    normalise_backward(d, at_d, gain, first, normed, there, factor, size, dgain, dproduct, at_dproduct)
