"""What can be said of the next token without a network: by chance, by frequency, by the tokens just before it.

N tokens, V vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gatelab.data.tokens import END

Array = np.ndarray
ORDER = 5
"""Tokens in the longest of the n-grams that are counted: four before, and the one that is predicted."""
_MOST_COUNTED = 10_000_000


class NGrams:
    """Interpolated Kneser–Ney smoothing with three discounts for each length (Chen & Goodman 1998, section 3).

    The longest n-grams are counted as they occur; a shorter one counts once for every token that it has been seen
    after, however often (equation 21's N₁₊). What the discounts take from the counts goes to the next shorter context,
    in the end to all tokens alike. A context does not reach back beyond the beginning of its document.

    Args:
        train: numbers of tokens ``(N,)``; each document ends in an end. The first ten million are counted.
        vocabulary: V.
        order: tokens in the longest n-grams.
    """

    def __init__(self, train: Array, vocabulary: int, order: int = ORDER):
        self.vocabulary, self.order = vocabulary, order
        grams = _grams(train[:_MOST_COUNTED], order)  # (N, order), the predicted token last
        self._levels: list[_Level] = []
        while grams.shape[1]:
            grams, counts = _counted(grams, vocabulary)  # (U, length), (U,)
            self._levels.insert(0, _Level.of(grams, counts, vocabulary))
            grams = grams[:, 1:]  # each different one once: what a shorter one counts

    def losses(self, values: Array) -> Array:
        """−ln p of every token of other documents, in order: ``(N,)`` for ``(N,)``, in nats."""
        probability = np.full(len(values), 1 / self.vocabulary)  # (N,)
        grams = _grams(values, self.order)  # (N, order)
        for length, level in enumerate(self._levels, 1):
            probability = level.refined(grams[:, self.order - length :], probability)
        return -np.log(probability)


class _Level(NamedTuple):
    """N-grams of one length, as rows of numbers; a context is all of one but its last token."""

    grams: _Index
    discounted: Array  # (U,) count of each n-gram, less its discount
    contexts: _Index
    totals: Array  # (C,) counts of each context
    left: Array  # (C,) what its discounts have taken

    @classmethod
    def of(cls, grams: Array, counts: Array, vocabulary: int) -> _Level:
        discounts = _discounts(counts)[np.minimum(counts, 3)]  # (U,)
        contexts = _Index(grams[:, :-1], vocabulary)
        which = contexts.find(grams[:, :-1])  # (U,)
        size = len(contexts)
        totals = np.bincount(which, counts, size)  # (C,)
        return cls(_Index(grams, vocabulary), counts - discounts, contexts, totals, np.bincount(which, discounts, size))

    def refined(self, grams: Array, shorter: Array) -> Array:
        """p of the last token of each n-gram ``(N, length)``, from that after the next shorter context ``(N,)``."""
        context, gram = self.contexts.find(grams[:, :-1]), self.grams.find(grams)  # (N,) each, -1 where not met
        kept = np.where(gram >= 0, self.discounted[gram], 0.0)  # (N,)
        found = (kept + self.left[context] * shorter) / self.totals[context]  # (N,)
        return np.where(context >= 0, found, shorter)


class _Index:
    """Different rows of numbers, each by a number of its own, from 0 on in the order of the rows.

    A row is found from its left end on: the number of what it begins with, and the next token, make one number that
    64 bits can hold.

    Args:
        rows: ``(U, length)``; one that is there twice counts once.
        vocabulary: V.
    """

    def __init__(self, rows: Array, vocabulary: int):
        self._vocabulary, self._keys = vocabulary, []
        number = np.zeros(len(rows), np.int64)  # (U,)
        for column in rows.T:
            known, number = np.unique(number * vocabulary + column, return_inverse=True)
            self._keys.append(known)

    def __len__(self) -> int:
        return len(self._keys[-1]) if self._keys else 1

    def find(self, rows: Array) -> Array:
        """The number of each row ``(N,)``; -1 for one that is not there."""
        number = np.zeros(len(rows), np.int64)  # (N,)
        for column, known in zip(rows.T, self._keys, strict=True):
            key = np.where(number >= 0, number * self._vocabulary + column, -1)  # (N,)
            at = np.minimum(np.searchsorted(known, key), len(known) - 1)
            number = np.where(known[at] == key, at, -1)
        return number


def _counted(grams: Array, vocabulary: int) -> tuple[Array, Array]:
    """Different rows, in the order of an ``_Index`` of them, and how often each occurs."""
    index = _Index(grams, vocabulary)
    which = index.find(grams)  # (N,)
    some = np.empty(len(index), np.int64)  # (U,) a place where each stands
    some[which] = np.arange(len(grams))
    return grams[some], np.bincount(which, minlength=len(index))


def _discounts(counts: Array) -> Array:
    """What is taken from counts of 0, 1, 2 and more (Chen & Goodman 1998, equation 26), from counts of counts.

    Where those estimates are not what a discount can be, as in a text that is too small, that of one discount for all
    counts is used (equation 22), or a half.
    """
    n = np.bincount(np.minimum(counts, 5), minlength=6)[1:5].astype(float)  # how many occur once … four times
    share = n[0] / (n[0] + 2 * n[1]) if n[0] else 0.5
    found = [number - (number + 1) * share * n[number] / max(n[number - 1], 1) for number in (1, 2, 3)]
    if not all(0 < discount < number for number, discount in enumerate(found, 1)):
        found = [share] * 3
    return np.array([0.0, *found])


def _grams(values: Array, order: int) -> Array:
    """Each token with the ``order − 1`` before it in its document, ``(N, order)``; ends where there are none."""
    at = np.arange(len(values))  # (N,)
    ends = np.flatnonzero(values[:-1] == END) + 1
    begins = np.concatenate([[0], ends])[np.searchsorted(ends, at, side="right")]  # (N,) of each token's document
    place = at[:, None] + np.arange(1 - order, 1)  # (N, order)
    return np.where(place >= begins[:, None], values[np.maximum(place, 0)], np.int32(END))


def chance(values: Array, vocabulary: int) -> Array:
    """−ln p of every token ``(N,)`` where all are equally likely: ln V."""
    return np.full(len(values), np.log(vocabulary))
