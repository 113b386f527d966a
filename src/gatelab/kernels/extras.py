"""What a kernel may do beyond the plain cell. An array without elements means: not that.

B items, N rows of all steps, H hidden, G gates.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gatelab.kernels.compiling import inlined, part
from gatelab.kernels.simd import filled, lanes, load, load_bytes, pointer, shifted, store


class Extras(NamedTuple):
    """Of one pass over a sequence."""

    mask: np.ndarray  # (B, H) what the recurrent weights see of the state (variational dropout, scaled)
    zoneout_h: np.ndarray  # (N, H) uint8, 1 where h keeps its old value
    zoneout_c: np.ndarray  # (N, H) uint8, the same for c
    kept_h: float  # the share of the old h that is kept, where there is no such mask
    kept_c: float  # the same for c
    gain_ih: np.ndarray  # (G·H,) layer normalisation of the input product
    normed_ih: np.ndarray  # (N, G·H) the normalised products, before the gain: written forward, read backward
    factors_ih: np.ndarray  # (N, G) what each was divided by, as a factor
    gain: np.ndarray  # (G·H,) the same of the recurrent product
    normed: np.ndarray  # (N, G·H)
    factors: np.ndarray  # (N, G)
    gain_c: np.ndarray  # (H,) layer normalisation of the new c
    bias_c: np.ndarray  # (H,)
    peephole: np.ndarray  # (3·H,) from c to the gates i, f, o; without i (2·H) where i = 1 − f


class Open(NamedTuple):
    """The same with addresses in the arrays' places, and what is on."""

    masked: bool
    mask: Any
    zoned: bool
    random: bool
    zoneout_h: Any
    zoneout_c: Any
    kept_h: float
    kept_c: float
    normalised: bool
    gain_ih: Any
    normed_ih: Any
    factors_ih: Any
    gain: Any
    normed: Any
    factors: Any
    normalised_c: bool
    gain_c: Any
    bias_c: Any
    peeping: bool
    peephole: Any


@inlined
def opened(x, first):
    """``Extras`` for use inside a loop over items from ``first`` on."""
    random = x.zoneout_h.size > 0
    return Open(
        x.mask.size > 0,
        shifted(pointer(x.mask), first * x.mask.shape[1]),
        random or x.kept_h > 0 or x.kept_c > 0,
        random,
        pointer(x.zoneout_h),
        pointer(x.zoneout_c),
        x.kept_h,
        x.kept_c,
        x.gain.size > 0,
        pointer(x.gain_ih),
        pointer(x.normed_ih),
        pointer(x.factors_ih),
        pointer(x.gain),
        pointer(x.normed),
        pointer(x.factors),
        x.gain_c.size > 0,
        pointer(x.gain_c),
        pointer(x.bias_c),
        x.peephole.size > 0,
        pointer(x.peephole),
    )


@inlined
def nothing(a, masks):
    """None of it, as the compiler can see: what it then keeps in registers, it keeps from row to row.

    ``a`` and ``masks`` are any addresses, of numbers and of bytes.
    """
    return Open(False, a, False, False, masks, masks, 0.0, 0.0, False, a, a, a, a, a, a, False, a, a, False, a)


@inlined
def kept(random, masks, at, left, share, like):
    """How much of an old state stays: its mask where zoneout is random, else the ``share``."""
    if random:
        return load_bytes(masks, at, left, like)
    return filled(like, share)


@part
def seen(h, step_h, mask, rows, size, out):
    """``out (rows, size) = mask ⊙ h``."""
    for r in range(rows):
        for j in range(0, size, lanes(h)):
            value = load(h, r * step_h + j, size - j) * load(mask, r * size + j, size - j)
            store(out, r * size + j, size - j, value)


@part
def masked_back(dh, step, mask, rows, size, dseen, add):
    """``dh (+)= mask ⊙ dseen``: what ``seen`` does, backwards; both ``step`` apart."""
    for r in range(rows):
        for j in range(0, size, lanes(dh)):
            value = load(dseen, r * step + j, size - j) * load(mask, r * size + j, size - j)
            store(dh, r * step + j, size - j, load(dh, r * step + j, size - j) + value if add else value)
