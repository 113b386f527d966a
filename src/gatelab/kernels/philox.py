"""Random numbers by counting: Philox 4×32 of ten rounds (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2,
3", section 3.3), whose i-th four numbers follow from i and a key alone.

``gatelab.nn.masks`` has its slow twin.
"""

from __future__ import annotations

import numpy as np

from gatelab.kernels.compiling import inlined, kernel

_ROUNDS = 10
_FIRST, _SECOND = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)  # what two of the words are multiplied by
_ON, _OTHER_ON = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)  # by which the key moves on from round to round
_LOW, _HALF = np.uint64(2**32 - 1), np.uint64(32)


@kernel
def below(first_key, second_key, bound, out):
    """Whether each of 4·C random numbers of 32 bits is below ``bound``: fills ``out (4·C,)``, bool.

    The four numbers of counter i are C apart, at i, C + i, 2·C + i and 3·C + i.
    """
    count, limit = len(out) // 4, np.uint64(bound)
    for i in range(count):
        a, b, c, d = _words(np.uint64(i), np.uint64(first_key), np.uint64(second_key))
        out[i] = a < limit
        out[count + i] = b < limit
        out[2 * count + i] = c < limit
        out[3 * count + i] = d < limit


@inlined
def _words(i, k, l):  # noqa: E741
    a, b, c, d = i & _LOW, i >> _HALF, np.uint64(0), np.uint64(0)
    for _ in range(_ROUNDS):
        x, y = a * _FIRST, c * _SECOND
        a, b, c, d = (y >> _HALF) ^ b ^ k, y & _LOW, (x >> _HALF) ^ d ^ l, x & _LOW
        k, l = (k + _ON) & _LOW, (l + _OTHER_ON) & _LOW  # noqa: E741
    return a, b, c, d
