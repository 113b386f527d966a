"""Layer normalisation of rows (Ba et al. 2016, arXiv:1607.06450, eq. 4), in both directions.

x̂ = (x − mean x) / √(var x + ε)      y = γ ⊙ x̂ + β

N rows of all steps, H hidden, G gates.
"""

from __future__ import annotations

from numba import njit

from gatelab.kernels.simd import lanes, load, peek, poke, store, total, zeros

EPSILON = 1e-5  # torch's


@njit(error_model="numpy")
def normalise(x, at, size):
    """Takes their mean from the ``size`` numbers at ``at``; gives back the factor that makes x̂ of what is left."""
    step = lanes(x)
    sums = zeros(x)
    for j in range(0, size, step):
        sums = sums + load(x, at + j, size - j)
    mean = total(sums) / size
    squares = zeros(x)
    for j in range(0, size, step):
        store(x, at + j, size - j, load(x, at + j, size - j) - mean)
        centred = load(x, at + j, size - j)  # read again: zeros, not −mean, beyond the row's end
        squares = squares + centred * centred
    return 1.0 / ((total(squares) / size + EPSILON) ** 0.5)


@njit(error_model="numpy")
def normalise_backward(dy, at_dy, gain, at_gain, normed, at_normed, factor, size, dx, at_dx):
    """∂loss/∂x from ∂loss/∂(gain ⊙ x̂): writes ``dx``, which may be ``dy``."""
    step = lanes(dy)
    sums, products = zeros(dy), zeros(dy)
    for j in range(0, size, step):
        d = load(dy, at_dy + j, size - j) * load(gain, at_gain + j, size - j)
        sums = sums + d
        products = products + d * load(normed, at_normed + j, size - j)
    mean, slope = total(sums) / size, total(products) / size
    for j in range(0, size, step):
        d = load(dy, at_dy + j, size - j) * load(gain, at_gain + j, size - j)
        store(dx, at_dx + j, size - j, (d - mean - load(normed, at_normed + j, size - j) * slope) * factor)


@njit(error_model="numpy")
def normalise_gates(x, at, gain, normed, factors, row, gates, size, keep):
    """A product's row at ``at``, gate by gate: normalised, kept if wanted as row ``row``, times ``gain (G·H,)``."""
    for gate in range(gates):
        here, there = at + gate * size, (row * gates + gate) * size
        factor = normalise(x, here, size)
        if keep:
            poke(factors, row * gates + gate, factor)
        for j in range(0, size, lanes(x)):
            normal = load(x, here + j, size - j) * factor
            if keep:
                store(normed, there + j, size - j, normal)
            store(x, here + j, size - j, normal * load(gain, gate * size + j, size - j))


@njit(error_model="numpy")
def normalise_gate_backward(d, at_d, gain, normed, factors, row, gate, gates, size, dgain, dproduct, at_dproduct):
    """One gate of the same, backwards: from ``d`` at ``at_d`` to ``dproduct``, which may be there, and to ``dgain``."""
    there, factor, first = (row * gates + gate) * size, peek(factors, row * gates + gate), gate * size
    for j in range(0, size, lanes(d)):
        left = size - j
        product = load(d, at_d + j, left) * load(normed, there + j, left)
        store(dgain, first + j, left, load(dgain, first + j, left) + product)
    normalise_backward(d, at_d, gain, first, normed, there, factor, size, dproduct, at_dproduct)
