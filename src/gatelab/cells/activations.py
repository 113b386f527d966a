"""The two squashing functions of every gate, and their slopes written with the value they gave.

    σ(z) = 1 / (1 + exp(−z))      in (0, 1)      σ'    = σ (1 − σ)
    tanh(z)                       in (−1, 1)     tanh' = 1 − tanh²

That the slope needs only the value is why a backward step keeps the gates and not what went into them.
"""

from __future__ import annotations

import numpy as np

from gatelab.cells.cell import Array


def sigmoid(z: Array) -> Array:
    """Logistic function of ``z`` (any shape), exact to rounding in both tails.

    ``exp`` only ever sees ``−|z|``, so it cannot overflow: for z < 0 the fraction is expanded by exp(z).
    """
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1, e) / (1 + e)


def sigmoid_slope(value: Array) -> Array:
    """dσ/dz where σ(z) is ``value``."""
    return value * (1 - value)


def tanh_slope(value: Array) -> Array:
    """dtanh/dz where tanh(z) is ``value``."""
    return 1 - value**2
