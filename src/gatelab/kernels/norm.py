"""Layer normalisation of one row (Ba et al. 2016, arXiv:1607.06450, eq. 4), in both directions.

x̂ = (x − mean x) / √(var x + ε)
"""

from __future__ import annotations

from numba import njit

from gatelab.kernels.simd import lanes, load, store, total, zeros

EPSILON = 1e-5  # torch's


@njit(error_model="numpy")
def normalise(x, at, size):
    """Turns the ``size`` numbers at ``at`` into x̂; gives back what it divided by, as a factor."""
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
    factor = 1.0 / ((total(squares) / size + EPSILON) ** 0.5)
    for j in range(0, size, step):
        store(x, at + j, size - j, load(x, at + j, size - j) * factor)
    return factor


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
def scale(x, at, gain, at_gain, size):
    """``x ⊙ gain`` in place."""
    for j in range(0, size, lanes(x)):
        store(x, at + j, size - j, load(x, at + j, size - j) * load(gain, at_gain + j, size - j))
