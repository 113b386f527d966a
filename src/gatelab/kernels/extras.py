"""What a kernel may do beyond the plain cell. An address of 0 means: not that.

A plain cell gives () in the place of its extras. Kernels are compiled for it apart: all flags are False then, as the
compiler can see, and the functions here compile to what ``unless_plain`` says. Most cells are plain, and theirs compile
in three quarters of the time.

B items, N rows of all steps, H hidden, G gates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from numba import types
from numba.extending import overload

from gatelab.kernels.compiling import INLINED, inlined, part
from gatelab.kernels.norm import moments, normalise_backward, normalise_gates
from gatelab.kernels.simd import bytes_at, filled, lanes, load, load_bytes, number, shifted, store, there


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


class Plain(NamedTuple):
    """What is on in a plain cell."""

    masked: bool
    zoned: bool
    normalised: bool
    normalised_c: bool
    peeping: bool


class Open(NamedTuple):
    """``Extras`` for use inside a loop, and what is on."""

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


def unless_plain(otherwise: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """For a plain cell, ``otherwise`` is compiled in the place of the function; their first argument says which."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        def chosen(*args):
            raise NotImplementedError("for use inside compiled code")

        @overload(chosen, jit_options=INLINED, strict=False)
        def _choose(x, *args):
            plain = x == types.Tuple(()) or getattr(x, "instance_class", None) is Plain
            return otherwise if plain else function

        return chosen

    return register


@unless_plain(lambda x, like, first, H: Plain(False, False, False, False, False))
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


# ---- recurrent dropout -----------------------------------------------------------------------------------------------


@unless_plain(lambda x, h, first, rows, H, room: h)
def seen(x, h, first, rows, H, room):
    """What W_hh sees of the states ``h (rows, H)`` of the items from ``first`` on: they, or in the ``room`` masked."""
    if not x.masked:
        return h
    _mask(h, shifted(x.mask, first * H), rows * H, room)
    return room


@part
def _mask(h, mask, size, out):
    for j in range(0, size, lanes(h)):
        store(out, j, size - j, load(h, j, size - j) * load(mask, j, size - j))


@unless_plain(lambda x, dseen, rows, H, add, dh: None)
def masked_back(x, dseen, rows, H, add, dh):
    """``dh (rows, H) (+)= mask ⊙ dseen``, where there is a mask."""
    if x.masked:
        _mask_back(dseen, x.mask, rows * H, add, dh)


@part
def _mask_back(dseen, mask, size, add, dh):
    for j in range(0, size, lanes(dh)):
        value = load(dseen, j, size - j) * load(mask, j, size - j)
        store(dh, j, size - j, load(dh, j, size - j) + value if add else value)


# ---- zoneout ---------------------------------------------------------------------------------------------------------


@unless_plain(lambda x, new, h, at, place, left: new)
def zoned_h(x, new, h, at, place, left):
    """The new h at ``place`` of all rows, of which some units stay as they are at ``h``."""
    if x.zoned:
        return new + _kept(x.random, x.zoneout_h, place, left, x.kept_h, new) * (load(h, at, left) - new)
    return new


@unless_plain(lambda x, new, c, at, place, left: new)
def zoned_c(x, new, c, at, place, left):
    """The same for c."""
    if x.zoned:
        return new + _kept(x.random, x.zoneout_c, place, left, x.kept_c, new) * (load(c, at, left) - new)
    return new


@unless_plain(lambda x, dnew, place, left: filled(dnew, 0.0))
def carried_h(x, dnew, place, left):
    """What of ``dnew`` = ∂loss/∂(new h) goes to the old one past the cell."""
    return _kept(x.random, x.zoneout_h, place, left, x.kept_h, dnew) * dnew if x.zoned else filled(dnew, 0.0)


@unless_plain(lambda x, dnew, place, left: filled(dnew, 0.0))
def carried_c(x, dnew, place, left):
    """The same for c."""
    return _kept(x.random, x.zoneout_c, place, left, x.kept_c, dnew) * dnew if x.zoned else filled(dnew, 0.0)


@inlined
def _kept(random, masks, at, left, share, like):
    """How much of an old state stays: its mask where zoneout is random, else the ``share``."""
    if random:
        return load_bytes(masks, at, left, like)
    return filled(like, share)


# ---- layer normalisation ---------------------------------------------------------------------------------------------


@unless_plain(lambda x, product, at, row, gates, H, keep: None)
def normalise(x, product, at, row, gates, H, keep):
    """The recurrent product of one item, in its place; what the way back needs is kept as row ``row``."""
    if x.normalised:
        normalise_gates(product, at, x.gain, x.normed, x.factors, row, gates, H, keep)


@unless_plain(lambda x, fresh, H: (0, number(fresh, 1.0)))
def normalise_c(x, fresh, H):
    """Behind the new c at ``fresh`` its normalised form x̂: where there is what is shown, and x̂'s factor."""
    if not x.normalised_c:
        return 0, number(fresh, 1.0)
    mean, factor = moments(fresh, 0, H)
    for j in range(0, H, lanes(fresh)):
        store(fresh, H + j, H - j, (load(fresh, j, H - j) - mean) * factor)
    return H, factor


@unless_plain(lambda x, normed, j, left: normed)
def rescaled(x, normed, j, left):
    """What tanh sees of the c that ``normalise_c`` gave."""
    return normed * load(x.gain_c, j, left) + load(x.bias_c, j, left) if x.normalised_c else normed


@unless_plain(lambda x, fresh, factor, H, sums: None)
def normalise_c_backward(x, fresh, factor, H, sums):
    """From ∂loss/∂(what tanh saw), in the third row of ``fresh (3, H)``, to ∂loss/∂(new c) there; adds to ``sums``."""
    if x.normalised_c:
        normalise_backward(fresh, 2 * H, x.gain_c, 0, fresh, H, factor, H, sums, fresh, 2 * H)


# ---- peepholes -------------------------------------------------------------------------------------------------------


@unless_plain(lambda x, value, c, at, left: value)
def peeped(x, value, c, at, left):
    """``value + p ⊙ c`` with the peepholes at ``at``."""
    return value + load(x.peephole, at, left) * c if x.peeping else value
