"""Random streams by name.

Every random number of a run is a function of ``(seed, names…)``, such as ``(3, "order", epoch)``. No stream has a
state that would have to be saved: a run that resumes at epoch 7 asks for epoch 7's stream again. Streams with
different names are independent, so that adding one moves no other.
"""

from __future__ import annotations

import hashlib

import numpy as np


def _entropy(seed: int, names: tuple[str | int, ...]) -> int:
    text = "\x1f".join([str(int(seed)), *(f"{type(name).__name__}:{name}" for name in names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """NumPy's generator for the stream ``names`` of ``seed``.

    >>> float(generator(0, "order", 1).random()) == float(generator(0, "order", 1).random())
    True
    """
    return np.random.Generator(np.random.PCG64(_entropy(seed, names)))


def integer_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed for libraries that want one number, such as ``torch.manual_seed``."""
    return _entropy(seed, names) >> 65
