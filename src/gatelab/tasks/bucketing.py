"""Which sequences stand in a batch together: those of like length, so that little of it is padding."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

Array = np.ndarray

_POOL = 32  # batches that are sorted together


def batches_of(lengths: Array, batch_size: int, rng: np.random.Generator | None = None) -> list[Array]:
    """The indices of each batch: every sequence once, ``batch_size`` in each batch but one.

    With ``rng`` the sequences are shuffled, cut into pools of some batches, and sorted by length within each pool;
    then the batches are shuffled. Without it they are sorted by length. There are as many batches either way.

    Args:
        lengths: steps of each sequence, ``(N,)``.
        batch_size: sequences in a batch.
        rng: a stream that is used up; the same stream gives the same batches.

    >>> [batch.tolist() for batch in batches_of(np.array([5, 1, 4, 2, 3]), 2)]
    [[1, 3], [4, 2], [0]]
    """
    lengths = np.asarray(lengths)
    if rng is None:
        return _cut(np.argsort(lengths, kind="stable"), batch_size)
    order = rng.permutation(len(lengths))  # (N,)
    pools = [pool[np.argsort(lengths[pool], kind="stable")] for pool in _cut(order, batch_size * _POOL)]
    found = [batch for pool in pools for batch in _cut(pool, batch_size)]
    return [found[at] for at in rng.permutation(len(found))]


def groups_of(lengths: Array, steps: int) -> Iterator[Array]:
    """The indices of sequences of like length, as many together as make at most ``steps`` padded steps, or one alone.

    For work whose batches do not matter, such as scoring: a sequence of a million steps stands alone.
    """
    order = np.argsort(np.asarray(lengths), kind="stable")  # (N,)
    padded = np.maximum(np.asarray(lengths)[order], 1)  # (N,) rising: the last of a group says how wide it is
    first = 0
    while first < len(order):
        widths = padded[first : first + steps]
        fits = np.arange(1, len(widths) + 1) * widths <= steps  # True, …, True, False, …
        count = max(int(fits.sum()), 1)
        yield order[first : first + count]
        first += count


def _cut(order: Array, size: int) -> list[Array]:
    return [order[first : first + size] for first in range(0, len(order), size)]
