"""What a kernel may do beyond the plain cell. An address of 0 means: not that.

B items, N rows of all steps, H hidden, G gates.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from gatelab.kernels.compiling import inlined, part
from gatelab.kernels.simd import bytes_at, filled, lanes, load, load_bytes, shifted, store, there


class Extras(NamedTuple):
    """Of one pass over a sequence; arrays by their addresses."""

    mask: int = 0  # (B, H) what the recurrent weights see of the state (variational dropout, scaled)
    zoneout_h: int = 0  # (N, H) uint8, 1 where h keeps its old value
    zoneout_c: int = 0  # (N, H) uint8, the same for c
    kept_h: float = 0.0  # the share of the old h that is kept, where there is no such mask
    kept_c: float = 0.0  # the same for c
    gain_ih: int = 0  # (G·H,) layer normalisation of the input product
    normed_ih: int = 0  # (N, G·H) the normalised products, before the gain: written forward, read backward
    factors_ih: int = 0  # (N, G) what each was divided by, as a factor
    gain: int = 0  # (G·H,) the same of the recurrent product
    normed: int = 0  # (N, G·H)
    factors: int = 0  # (N, G)
    gain_c: int = 0  # (H,) layer normalisation of the new c
    bias_c: int = 0  # (H,)
    peephole: int = 0  # (3·H,) from c to the gates i, f, o; without i (2·H) where i = 1 − f


NONE = Extras()


class Open(NamedTuple):
    """The same for use inside a loop, and what is on."""

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
def opened(extras, like, first, H):
    """Bare ``Extras`` for use inside a loop over items from ``first`` on; numbers of the type of those at ``like``."""
    x = Extras(*extras)
    random = x.zoneout_h != 0
    return Open(
        x.mask != 0,
        shifted(there(x.mask, like), first * H),
        random or x.kept_h > 0 or x.kept_c > 0,
        random,
        bytes_at(x.zoneout_h),
        bytes_at(x.zoneout_c),
        x.kept_h,
        x.kept_c,
        x.gain != 0,
        there(x.gain_ih, like),
        there(x.normed_ih, like),
        there(x.factors_ih, like),
        there(x.gain, like),
        there(x.normed, like),
        there(x.factors, like),
        x.gain_c != 0,
        there(x.gain_c, like),
        there(x.bias_c, like),
        x.peephole != 0,
        there(x.peephole, like),
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
