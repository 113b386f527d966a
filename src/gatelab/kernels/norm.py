"""Layer normalisation of rows (Ba et al. 2016, arXiv:1607.06450, eq. 4), in both directions.

x̂ = (x − mean x) / √(var x + ε)      y = γ ⊙ x̂ + β
"""

from __future__ import annotations

from numba import njit

from gatelab.kernels.compiling import kernel
from gatelab.kernels.simd import lanes, load, pointer, store, total, zeros

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


@kernel
def normalise_rows(a, gain, bias, normed, factors):
    """Every gate of every row of ``a (n, G·H)``: normalised, times ``gain``, plus ``bias``, both ``(G·H,)``.

    The normalised rows ``(n, G·H)`` and their factors ``(n, G)`` are kept where there is room for them.
    """
    rows, gates = a.shape[0], factors.shape[1]
    width = a.shape[1]
    H, keep = width // gates, normed.size > 0
    pa, pg, pb, pn = pointer(a), pointer(gain), pointer(bias), pointer(normed)
    for r in range(rows):
        for gate in range(gates):
            at, first = r * width + gate * H, gate * H
            factor = normalise(pa, at, H)
            if keep:
                factors[r, gate] = factor
            for j in range(0, H, lanes(pa)):
                left = H - j
                normal = load(pa, at + j, left) * factor
                if keep:
                    store(pn, at + j, left, normal)
                store(pa, at + j, left, normal * load(pg, first + j, left) + load(pb, first + j, left))


@kernel
def normalise_rows_backward(da, gain, normed, factors, dproduct):
    """The same backwards: from ∂loss/∂a to ∂loss/∂(what was normalised), both ``(n, G·H)``."""
    rows, gates = factors.shape
    width = da.shape[1]
    H = width // gates
    pd, pg, pn, pp = pointer(da), pointer(gain), pointer(normed), pointer(dproduct)
    for r in range(rows):
        for gate in range(gates):
            at = r * width + gate * H
            normalise_backward(pd, at, pg, gate * H, pn, at, factors[r, gate], H, pp, at)


@kernel
def add_products(d, columns, normed, first, sums):
    """``sums += Σ_rows d ⊙ x̂``, ∂loss/∂gain: ``columns`` of them, from ``first`` on in ``normed`` and ``sums``."""
    rows, width, wide = d.shape[0], d.shape[1], normed.shape[1]
    pd, pn, ps = pointer(d), pointer(normed), pointer(sums)
    for r in range(rows):
        for j in range(0, columns, lanes(pd)):
            left = columns - j
            product = load(pd, r * width + j, left) * load(pn, r * wide + first + j, left)
            store(ps, first + j, left, load(ps, first + j, left) + product)
