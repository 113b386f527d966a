"""Sigmoid and tanh of a whole vector at a time.

Both rest on exp(x) = 2ⁿ · exp(r), with n = round(x / ln 2), |r| ≤ ln 2 / 2, and a polynomial m ≈ exp(r) − 1 of degree 7
(Cody & Waite 1980, ch. 6; coefficients of expf in Moshier's Cephes library):

    σ(x)    = 1 / (1 + exp(−x))
    tanh(x) = (exp(2x) − 1) / (exp(2x) + 1) = (2ⁿ m + (2ⁿ − 1)) / (2ⁿ m + (2ⁿ + 1))

The second form of tanh keeps its relative accuracy around 0, where n = 0 and 2ⁿ − 1 vanishes exactly. In float32 both
have relative errors below 3 · 10⁻⁷ (``tests/kernels/test_activations.py`` goes through the whole range). σ goes no
further down than 2⁻¹²⁶: beyond, that is its absolute error. NaN gives NaN, ±∞ the limits,
−0 under tanh +0.

In float64 the C library's functions are called lane by lane: exact, there for tests and references.
"""

from __future__ import annotations

from numba import types
from numba.extending import overload

from gatelab.kernels.compiling import INLINED, inlined
from gatelab.kernels.simd import ROUNDER, Vector, at_least, at_most, exact_exp, exact_tanh, power_of_two

_FURTHEST = 87.33654  # exp ends at 2^±126: beyond, a result or its inverse would be subnormal, and slow
_FLAT = 10.0  # tanh is 1 in float32 from 9.01 on
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
        return 1.0 / (scale * m + (scale + 1.0))

    return approximate


@overload(tanh, jit_options=INLINED)
def _tanh(x):
    if not _single(x):
        return lambda x: exact_tanh(x)

    def approximate(x):
        scale, m = _parts(at_most(at_least(x, -_FLAT), _FLAT) * 2.0)
        grown = scale * m
        return (grown + (scale - 1.0)) / (grown + (scale + 1.0))

    return approximate
