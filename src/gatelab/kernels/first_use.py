"""The first use of a kernel: it is compiled, which takes seconds and is said; what comes next is compiled beside it.

Training needs a kernel forward and one backward, which take about as long to compile. Numba compiles one function at a
time, whatever the threads. So the second is compiled by a process of its own meanwhile, which leaves it on disk; where
there is no second core, no place on disk or no Python to start, or the process fails, it is compiled here when its turn
comes.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.spawn import get_executable
from typing import Any, NamedTuple

import numba
import numpy as np
from numba.core import event

from gatelab.kernels import compiling

_LONGEST = 120.0  # seconds to wait for another process, many times what it takes
_config: Any = numba.config


class Use(NamedTuple):
    """What a kernel is compiled for."""

    cell: str
    what: str  # "forward", "backward" or another word
    dtype: np.dtype
    extras: bool = False  # with extras it is another kernel

    @property
    def called(self) -> str:
        """What is said of it."""
        return f"{self.what}, with extras" if self.extras else self.what


_ready: set[Use] = set()
_beside: dict[Use, subprocess.Popen] = {}


def announced(
    use: Use, call: Callable[[], None], then: Use | None = None, before: Callable[[np.dtype], None] | None = None
) -> None:
    """Does ``call``; if it is the first of its kind in this process and compiles something, that is said.

    Args:
        use: the kernel that is called.
        call: calls it.
        then: a backward pass that will follow, whose kernel another process compiles meanwhile.
        before: has what the call needs besides compiled for a type of numbers, while another process may be busy
            with ``use``.
    """
    if use in _ready:
        call()
        return
    with event.install_listener("numba:compile", _Notice(use, then)):
        compiling.provide(numba.from_dtype(use.dtype))
        if before:
            before(use.dtype)
        _wait(use)
        call()
    _ready.add(use)


class _Notice(event.Listener):
    """One line at the first compilation; a kernel that comes from the disk starts none."""

    def __init__(self, use: Use, then: Use | None):
        self.use, self.then, self.said = use, then, use in _beside

    def on_start(self, event) -> None:
        if not self.said:
            self.said = True
            beside = f", beside it {self.then.called}" if self.then and _begin(self.then) else ""
            what = f"{self.use.cell} kernel ({self.use.dtype}, {self.use.called}{beside})"
            text = f"gatelab: compiling the {what} for this machine; once, and a few seconds"
            print(text, file=sys.stderr, flush=True)  # noqa: T201

    def on_end(self, event) -> None:
        pass


# ---- the other process ---------------------------------------------------------------------------------------------


def _begin(use: Use) -> bool:
    """Has another process compile a backward pass; whether there is one."""
    if use in _ready or use in _beside or not _worthwhile():
        return use in _beside
    words = f"{use.cell!r}, {use.dtype.name!r}, {use.extras}"
    code = f"import sys; sys.path[:] = {sys.path!r}; from gatelab.kernels import scan; scan.prepare({words})"
    place = {"NUMBA_CACHE_DIR": _config.CACHE_DIR} if _config.CACHE_DIR else {}
    nowhere: Any = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    with suppress(OSError):
        _beside[use] = subprocess.Popen([get_executable(), "-c", code], env=os.environ | place, **nowhere)
        atexit.register(_stop, _beside[use])
    return use in _beside


def _worthwhile() -> bool:
    """Whether another process can compile at the same time, and leave what it made."""
    import joblib  # here, for few processes compile

    python = os.path.basename(os.fsdecode(get_executable() or "")).startswith("python")  # and no program that embeds it
    return python and joblib.cpu_count() > 1 and os.access(compiling.folder(), os.W_OK)


def _wait(use: Use) -> None:
    """Until what another process compiles for ``use`` is on disk."""
    if use in _beside:
        with suppress(subprocess.TimeoutExpired):
            _beside[use].wait(_LONGEST)
        _stop(_beside[use])


def _stop(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()
