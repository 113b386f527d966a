"""Byte pair encoding: which neighbours of a text are worth a token of their own (Sennrich et al. 2016, section 3.2).

Learned on counted chunks of text, so that a merge never crosses the border of a chunk.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

Pair = tuple[str, str]


def learn_merges(chunks: Mapping[str, int], count: int) -> list[Pair]:
    """At most ``count`` merges, the most frequent pair first, of equally frequent ones the first in code points.

    A pair that occurs only once is no longer merged.

    Args:
        chunks: how often each piece of text occurs.
        count: merges, each of which makes one token.
    """
    words = [list(chunk) for chunk in chunks]
    times = list(chunks.values())
    totals, places = _pairs(words, times)
    heap = [(-total, pair) for pair, total in totals.items()]
    heapq.heapify(heap)
    merges: list[Pair] = []
    while heap and len(merges) < count:
        total, pair = heapq.heappop(heap)
        if -total != totals[pair]:
            continue  # an old count: the present one is in the heap too
        if -total < 2:
            break
        merges.append(pair)
        for changed in _merge_everywhere(pair, words, times, totals, places):
            if totals[changed] > 0:
                heapq.heappush(heap, (-totals[changed], changed))
    return merges


def merged(symbols: Sequence[str], pair: Pair) -> list[str]:
    """The symbols with every occurrence of the pair made one, from the left.

    >>> merged(["a", "a", "a", "b"], ("a", "a"))
    ['aa', 'a', 'b']
    """
    found: list[str] = []
    at = 0
    while at < len(symbols):
        if at + 1 < len(symbols) and (symbols[at], symbols[at + 1]) == pair:
            found.append(pair[0] + pair[1])
            at += 2
        else:
            found.append(symbols[at])
            at += 1
    return found


def apply_merges(chunk: str, ranks: Mapping[Pair, int]) -> list[str]:
    """A chunk's tokens: merges are applied in the order in which they were learned.

    Args:
        chunk: text.
        ranks: place of each merge in that order.
    """
    symbols = list(chunk)
    while len(symbols) > 1:
        best = min(pairwise(symbols), key=lambda pair: ranks.get(pair, len(ranks)))
        if best not in ranks:
            break
        symbols = merged(symbols, best)
    return symbols


def _pairs(words: Sequence[Sequence[str]], times: Sequence[int]) -> tuple[Counter[Pair], dict[Pair, set[int]]]:
    """How often every pair of neighbours occurs, and in which words."""
    totals: Counter[Pair] = Counter()
    places: dict[Pair, set[int]] = defaultdict(set)
    for which, symbols in enumerate(words):
        for pair in pairwise(symbols):
            totals[pair] += times[which]
            places[pair].add(which)
    return totals, places


def _merge_everywhere(
    pair: Pair, words: list[list[str]], times: Sequence[int], totals: Counter[Pair], places: dict[Pair, set[int]]
) -> Iterator[Pair]:
    """Merges a pair in all words that have it; gives the pairs whose counts have changed."""
    touched: set[Pair] = set()
    for which in places.pop(pair):
        before, after = words[which], merged(words[which], pair)
        for old in pairwise(before):
            totals[old] -= times[which]
        for new in pairwise(after):
            totals[new] += times[which]
            places[new].add(which)
        touched.update(pairwise(before), pairwise(after))
        words[which] = after
    places.pop(pair, None)
    yield from touched
