"""One pool of threads in a process.

Two pools (torch's OpenMP and NumPy's OpenBLAS, say) that wait by spinning slow each other 10 to 200 times. So torch
gets the threads, and every other pool gets one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import joblib
import torch
from threadpoolctl import threadpool_limits

from gatelab.core.processes import on_this_machine


@contextmanager
def use_threads(threads: int) -> Iterator[int]:
    """Computes the block with ``threads`` CPU threads in torch and one in each other pool; yields their number.

    Args:
        threads: 0 means every core that this process may use (its affinity and its container's share), divided among
            the processes that train together.

    All pools are as before when the block ends.
    """
    count = threads or max(joblib.cpu_count() // on_this_machine(), 1)
    before = torch.get_num_threads()
    with threadpool_limits(limits=1):
        torch.set_num_threads(count)
        try:
            yield count
        finally:
            torch.set_num_threads(before)
