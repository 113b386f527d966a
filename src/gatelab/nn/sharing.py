"""One pass by several threads: each takes some of the items of the batch through the whole of it.

The threads meet twice, at the beginning and at the end, and in between nothing waits for anything: no step, no product.
A core that is busy with something else slows its own items and no others. Inside, every thread computes alone; torch's
own pool, whose threads wait for each other at every product, has no part in this.

T time, B batch, I input, H hidden, G gates, N rows of all steps together, n rows of a share.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache, partial
from itertools import pairwise
from threading import Barrier
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from gatelab.nn.recurrence import Arguments, Results, forward

Found = TypeVar("Found")
_WORTH = 3e7  # multiplications of a pass that one more share is worth
_FEWEST = 8  # items of a share


class Share(NamedTuple):
    """Some neighbouring items of a batch."""

    items: slice
    rows: Tensor  # (n,) where their rows stand among all rows
    offsets: Tensor  # (T' + 1,) the first of them at each step, and n


def shares(x: Arguments, threads: int) -> list[Share]:
    """The items of each thread, with about the same number of rows for all; nothing where one thread will do."""
    if threads == 1:
        return []
    (N, _), B = x.rows.shape, x.h.shape[0]
    count = min(threads, B // _FEWEST, int(N * x.weight_hh.numel() / _WORTH))
    if count <= 1:
        return []
    if x.offsets is None:
        return _even(N, B, count)
    sizes = x.offsets.diff()  # (T,)
    lengths = (sizes.unsqueeze(0) > torch.arange(B).unsqueeze(1)).sum(1)  # (B,)
    return _cut(sizes, lengths, count)


@lru_cache(8)
def _even(N: int, B: int, count: int) -> list[Share]:
    T = N // B
    return _cut(torch.full((T,), B), torch.full((B,), T), count)


def _cut(sizes: Tensor, lengths: Tensor, count: int) -> list[Share]:
    """Shares of a batch with ``sizes (T,)`` rows a step and items of ``lengths (B,)``."""
    from gatelab.kernels.simd import GRAIN  # here, for Numba takes half a second to import

    B, done = len(lengths), lengths.cumsum(0)  # (B,) rows of the items so far
    ends = [int((done <= int(done[-1]) * k / count).sum()) for k in range(1, count)]
    rounded = [(end + GRAIN // 2) // GRAIN * GRAIN for end in ends]
    edges = sorted({0, *(end for end in rounded if 0 < end < B), B})
    item = torch.arange(int(done[-1])) - (sizes.cumsum(0) - sizes).repeat_interleave(sizes)  # (N,)
    return [_share(first, last, sizes, item) for first, last in pairwise(edges)] if len(edges) > 2 else []


def _share(first: int, last: int, sizes: Tensor, item: Tensor) -> Share:
    rows = ((item >= first) & (item < last)).nonzero().squeeze(1)  # (n,)
    counts = (sizes.clamp(max=last) - first).clamp(min=0)  # (T,)
    counts = counts[: int((counts > 0).sum())]
    return Share(slice(first, last), rows, torch.nn.functional.pad(counts.cumsum(0), (1, 0)))


def of(x: Arguments, share: Share) -> Arguments:
    """What ``x`` is to the items of ``share``."""
    by_row = {name: getattr(x, name) for name in ("rows", "zoneout_h", "zoneout_c")}
    by_item = {name: getattr(x, name) for name in ("h", "c", "mask")}
    fields: dict[str, Any] = {k: v if v is None else v.index_select(0, share.rows) for k, v in by_row.items()}
    fields |= {k: v if v is None else v[share.items] for k, v in by_item.items()}
    return x._replace(offsets=share.offsets, **fields)


def shared_forward(x: Arguments, parts: Sequence[Share]) -> tuple[list[Tensor], list[Results]]:
    """Outputs and final states of all items, and each share's own results."""
    found = together([partial(_forward, x, part) for part in parts])
    out = x.rows.new_empty(x.rows.shape[0], x.h.shape[1])  # (N, H)
    for part, results in zip(parts, found, strict=True):
        out.index_copy_(0, part.rows, results.out)
    states = [torch.cat(state) for state in zip(*((results.h, results.c) for results in found), strict=True)]
    return [out, *states], found


def _forward(x: Arguments, part: Share) -> Results:
    return forward(of(x, part))


def alone(call: Callable[[], Found]) -> Found:
    """Does it in this thread where that is torch's only one, else in one in which torch computes alone."""
    return call() if torch.get_num_threads() == 1 else together([call])[0]


def together(work: Sequence[Callable[[], Found]]) -> list[Found]:
    """Does everything with torch's number of threads, and gives what came of it in that order."""
    pool = _pool(os.getpid(), torch.get_num_threads())
    return [waiting.result() for waiting in [pool.submit(_do, call) for call in work]]


def _do(call: Callable[[], Found]) -> Found:
    with torch.no_grad():  # a mode of the thread, as the caller's is
        return call()


@cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Threads of this process (a forked child makes its own) in which torch computes alone."""
    count, all_here = torch.get_num_threads(), Barrier(threads)

    def begin() -> None:
        torch.get_num_threads()  # a thread takes torch's number when it first asks; from then on its own stays
        torch.set_num_threads(1)
        all_here.wait()

    pool = ThreadPoolExecutor(threads, "gatelab", initializer=begin)
    for waiting in [pool.submit(int) for _ in range(threads)]:
        waiting.result()
    # The number is each thread's own, but torch also keeps the last one set, for threads to come: that one is put back.
    torch.set_num_threads(count)
    return pool
