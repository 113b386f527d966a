"""Peak memory of a block of code: resident bytes of this process, all libraries included."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

_SAMPLING_SECONDS = 0.005


@dataclass
class PeakMemory:
    """Resident memory in bytes."""

    before: int
    """When the block began."""
    peak: int = 0
    """The most inside the block; set when it ends."""

    @property
    def added(self) -> int:
        """What the block took on top of what was there."""
        return max(self.peak - self.before, 0)


@contextmanager
def peak_memory() -> Iterator[PeakMemory]:
    """Measures the block. Blocks of one process must not overlap: there is one high-water mark.

    Linux keeps the mark itself (``VmHWM`` in /proc/self/status, reset by writing 5 to /proc/self/clear_refs; see
    proc(5)), which misses nothing. Elsewhere a thread samples every 5 ms and may miss a shorter peak.
    """
    memory = PeakMemory(before=psutil.Process().memory_info().rss)
    if _reset_high_water_mark():
        try:
            yield memory
        finally:
            memory.peak = _high_water_mark()
    else:
        with _sampled(memory):
            yield memory


def _reset_high_water_mark() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _high_water_mark() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024  # the kernel's kB are KiB
    raise RuntimeError("/proc/self/status has no VmHWM")


@contextmanager
def _sampled(memory: PeakMemory) -> Iterator[None]:
    process, done = psutil.Process(), threading.Event()

    def watch() -> None:
        while True:
            memory.peak = max(memory.peak, process.memory_info().rss)
            if done.wait(_SAMPLING_SECONDS):
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        memory.peak = max(memory.peak, process.memory_info().rss)
