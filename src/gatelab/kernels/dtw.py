"""Dynamic time warping: how far two sequences are apart where each may wait for the other.

    D(i, j) = ‖a_i − b_j‖² + min(D(i−1, j), D(i, j−1), D(i−1, j−1))        the distance is √D(T, U)

Sakoe & Chiba 1978, with equal weights; channels are warped together ("dependent", Shokoohi-Yekta et al. 2017). The
band is their window: a path stays near the diagonal from start to end.

T, U steps of two sequences, C channels.
"""

from __future__ import annotations

import numpy as np

from gatelab.kernels.compiling import kernel
from gatelab.kernels.first_use import Use, announced

Array = np.ndarray


def nearest(
    queries: Array, query_lengths: Array, references: Array, reference_lengths: Array, band: float = 1.0
) -> tuple[Array, Array]:
    """The nearest reference of each query: its place ``(Q,)`` int64, and how far it is ``(Q,)``.

    A comparison is given up as soon as no path through it can be nearer than the best so far.

    Args:
        queries: the steps of all queries end to end, ``(N, C)``, float32 or float64.
        query_lengths: steps of each, ``(Q,)``, at least 1.
        references: likewise, of the same type.
        reference_lengths: ``(R,)``.
        band: how far from the diagonal a path may go, as a share of the shorter sequence; 1: anywhere.
    """
    places, distances = np.empty(len(query_lengths), np.int64), np.empty(len(query_lengths), queries.dtype)
    longest = int(max(reference_lengths.max(), query_lengths.max()))
    room = np.empty((2, longest + 1), queries.dtype)
    given = (queries, query_lengths, references, reference_lengths, float(band), room, places, distances)
    announced(Use("warping", "nearest", queries.dtype), lambda: _nearest(*given))
    return places, np.sqrt(distances)


def warping_distance(a: Array, b: Array, band: float = 1.0) -> float:
    """The distance of ``a (T, C)`` and ``b (U, C)``, step by step as the equation says it: the kernel's slow twin."""
    longer, shorter = (a, b) if len(a) >= len(b) else (b, a)
    D = np.full((len(longer) + 1, len(shorter) + 1), np.inf)
    D[0, 0] = 0.0
    for i in range(1, len(longer) + 1):
        first, last = _window(i, len(longer), len(shorter), band)
        for j in range(first, last + 1):
            cost = ((longer[i - 1] - shorter[j - 1]) ** 2).sum()
            D[i, j] = cost + min(D[i - 1, j], D[i, j - 1], D[i - 1, j - 1])
    return float(np.sqrt(D[-1, -1]))


def _window(i, T, U, band):  # compiled as well
    """The first and last step of the shorter sequence (U) that step i of the longer one (T) may meet, from 1.

    With half a step to each side of the diagonal at least, neighbouring windows touch, and a path always goes through.
    """
    centre, reach = (i - 0.5) * U / T + 0.5, max(band * U, 0.5)
    return max(1, int(np.ceil(centre - reach))), min(U, int(np.floor(centre + reach)))


_within = kernel(_window)


@kernel
def _nearest(queries, query_lengths, references, reference_lengths, band, room, places, distances):
    """Squared distances; see ``nearest``."""
    begin = 0
    for q in range(len(query_lengths)):
        T = query_lengths[q]
        best, place, start = np.inf, 0, 0
        for r in range(len(reference_lengths)):
            U = reference_lengths[r]
            found = _squared(queries, begin, T, references, start, U, band, best, room)
            if found < best:
                best, place = found, r
            start += U
        places[q], distances[q] = place, best
        begin += T


@kernel
def _squared(a, a0, T, b, b0, U, band, best, room):
    """D(T, U) of ``a[a0 : a0 + T]`` and ``b[b0 : b0 + U]``, or infinity once it cannot be below ``best``."""
    if T < U:
        a, a0, T, b, b0, U = b, b0, U, a, a0, T
    above, row = room[0], room[1]
    for j in range(U + 1):
        above[j] = np.inf
        row[j] = np.inf
    above[0] = 0.0
    for i in range(1, T + 1):
        first, last = _within(i, T, U, band)
        row[first - 1] = np.inf
        least = np.inf
        for j in range(first, last + 1):
            cost = 0.0
            for c in range(a.shape[1]):
                difference = a[a0 + i - 1, c] - b[b0 + j - 1, c]
                cost += difference * difference
            value = cost + min(above[j], row[j - 1], above[j - 1])
            row[j] = value
            least = min(least, value)
        if last < U:
            row[last + 1] = np.inf  # what stands there is of two steps before
        if least >= best:
            return np.inf
        above, row = row, above
    return above[U]
