"""Times of contenders that take turns: A B A B …, in one process, on the same data.

What slows the machine for a while slows all of them. Of more than two, the order is drawn anew in every round: whoever
comes after the same layer in another form finds its code in the cache, and that must not always be the same one. The
garbage collector rests, every sample is long enough for the clock, and a time is only taken of contenders whose results
are known to be equal (``gatelab.bench.equality``).
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gatelab.core import random

SAMPLE_SECONDS = 2e-3
"""The least a sample lasts: calls that are shorter are timed several at a time."""
LEAST_ROUNDS, MOST_ROUNDS = 5, 1000
WARM_SAMPLES = 4

Results = Mapping[str, Tensor]
"""What a call computed, by name: outputs, states, gradients (whose names begin with ∂)."""


def unchanged(results: Results) -> Results:
    """The results as they are."""
    return results


@dataclass(frozen=True)
class Contender:
    """One way to do the work.

    The work is done by ``call``. To be timed where it cannot be called from here (in another process), a derived
    class gives ``results`` and ``seconds`` itself.
    """

    name: str
    call: Callable[[], Results]
    work: float = 1.0
    """Units of work in a call, such as steps; times are those of a unit."""
    threads: int | None = None
    """CPU threads, where they are not those of the whole run."""
    alike: bool = True
    """Whether it computes what the first contender computes; otherwise its results are not compared."""
    shown: Callable[[Results], Results] = unchanged
    """The results in the form in which they are compared; not timed."""

    def results(self) -> Results:
        """What a call computes, with torch's random streams at the same place for every contender."""
        torch.manual_seed(0)
        return self.shown(self.call())

    def seconds(self, repeats: int) -> float:
        """How long ``repeats`` calls take, one after the other."""
        call, times = self.call, range(repeats)
        begun = time.perf_counter()
        for _ in times:
            call()
        _wait_for_device()
        return time.perf_counter() - begun


@dataclass(frozen=True)
class Warm(Contender):
    """At its best in each turn, whatever the others left in the caches: of several samples, the shortest counts."""

    def seconds(self, repeats: int) -> float:
        """The least that ``repeats`` calls took."""
        return min(super(Warm, self).seconds(repeats) for _ in range(WARM_SAMPLES))


def alternate(contenders: Sequence[Contender], seconds: float, beside: Contender | None = None) -> np.ndarray:
    """Seconds for a unit of work of each contender in each round, ``(R, K)`` for R rounds and K contenders.

    Args:
        contenders: who takes turns; two in this order in every round, more in an order that each round draws.
        seconds: time to spend; rounds are added until it is spent, ``LEAST_ROUNDS`` at the least.
        beside: somebody to hold them against, once in every round after one that is drawn; the last column.
    """
    threads, draw = torch.get_num_threads(), random.generator(0, "bench", "turns")
    K, contenders = len(contenders), [*contenders, *([beside] if beside else [])]
    with _undisturbed():
        repeats = [_repeats(contender, threads) for contender in contenders]
        rounds: list[list[float]] = []
        end = time.perf_counter() + seconds
        while len(rounds) < LEAST_ROUNDS or (time.perf_counter() < end and len(rounds) < MOST_ROUNDS):
            order = list(range(K) if K == 2 else draw.permutation(K))
            if beside:
                order.insert(int(draw.integers(K)) + 1, K)
            taken = {k: _turn(contenders[k], repeats[k], threads) / (repeats[k] * contenders[k].work) for k in order}
            rounds.append([taken[k] for k in range(len(contenders))])
    torch.set_num_threads(threads)
    return np.array(rounds)  # (R, K)


def _turn(contender: Contender, repeats: int, threads: int) -> float:
    torch.set_num_threads(contender.threads or threads)
    return contender.seconds(repeats)


def _repeats(contender: Contender, threads: int) -> int:
    """Calls in a sample. This is the warm-up, too: the first call is not looked at."""
    _turn(contender, 1, threads)
    once = max(_turn(contender, 1, threads), 1e-9)
    return max(1, math.ceil(SAMPLE_SECONDS / once))


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Without the garbage collector, whose pauses would fall on whoever is at work."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _wait_for_device() -> None:
    """A GPU only takes orders; the work is done when it says so."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()
