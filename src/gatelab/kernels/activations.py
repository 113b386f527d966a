"""Sigmoid and tanh of a whole vector at a time.

    σ(x)    = 1 / (1 + exp(−x))
    tanh(x) = x · P(x²) / Q(x²) up to |x| = 9.02, where it becomes 1 in float32

exp(x) = 2ⁿ · exp(r), with n = round(x / ln 2), |r| ≤ ln 2 / 2, and a polynomial m ≈ exp(r) − 1 of degree 7 (Cody &
Waite 1980, ch. 6; coefficients of expf in Moshier's Cephes library). P and Q, of degree 4, are those with the least
greatest relative error, 2.8 · 10⁻⁸ (Remez' algorithm); all their coefficients are positive, so that nothing cancels,
and both begin with 1, so that small numbers are exact.

In float32 both have relative errors below 3 · 10⁻⁷ (``tests/kernels/test_activations.py`` goes through the whole
range). σ goes no further down than 2⁻¹²⁶: beyond, it is 0. NaN gives NaN, ±∞ the limits.

In float64 the C library's functions are called lane by lane: exact, there for tests and references.
"""

from __future__ import annotations

from numba import types
from numba.extending import overload

from gatelab.kernels.compiling import INLINED, inlined
from gatelab.kernels.simd import ROUNDER, Vector, at_least, at_most, exact_exp, exact_tanh, power_of_two, where_above

_FURTHEST = 87.33654  # exp ends at 2^±126: beyond, a result or its inverse would be subnormal, and slow
_FLAT = 9.02  # tanh is 1 in float32 from 9.01 on
_LOG2_E = 1.4426950408889634
# ln 2 in two parts, the first so short that n times it is exact.
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440054690583e-4


def sigmoid(x):
    """The logistic function of every lane."""
    raise NotImplementedError("for use inside compiled code")


def tanh(x):
    """The hyperbolic tangent of every lane."""
    raise NotImplementedError("for use inside compiled code")


@inlined
def _parts(x):
    """2ⁿ and exp(r) − 1, of which exp(x) is made; |x| at most 87.3."""
    shifted = x * _LOG2_E + ROUNDER
    n = shifted - ROUNDER
    r = x - n * _LN2_HIGH - n * _LN2_LOW
    p = r * 1.9875691500e-4 + 1.3981999507e-3
    p = p * r + 8.3334519073e-3
    p = p * r + 4.1665795894e-2
    p = p * r + 1.6666665459e-1
    p = p * r + 5.0000001201e-1
    return power_of_two(shifted), p * (r * r) + r


def _single(x) -> bool:
    return isinstance(x, Vector) and x.dtype is types.float32


@overload(sigmoid, jit_options=INLINED)
def _sigmoid(x):
    if not _single(x):
        return lambda x: 1.0 / (exact_exp(-x) + 1.0)

    def approximate(x):
        scale, m = _parts(at_most(at_least(-x, -_FURTHEST), _FURTHEST))
        # Shut is shut: times an input of 10³⁶, the least number there is would let through as much as an open gate.
        return where_above(x, -_FURTHEST, 1.0 / (scale * m + (scale + 1.0)))

    return approximate


@overload(tanh, jit_options=INLINED)
def _tanh(x):
    if not _single(x):
        return lambda x: exact_tanh(x)

    def approximate(x):
        x = at_most(at_least(x, -_FLAT), _FLAT)
        t = x * x
        p = t * 1.37789895369e-8 + 2.09446279448e-5
        p = p * t + 3.51722302695e-3
        p = p * t + 1.33996394992e-1
        p = p * t + 1.0
        q = t * 7.95891743967e-7 + 3.32014913633e-4
        q = q * t + 2.59605355961e-2
        q = q * t + 4.67329702933e-1
        q = q * t + 1.0
        return at_most(at_least(x * (p / q), -1.0), 1.0)

    return approximate
