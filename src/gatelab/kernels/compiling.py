"""Compilation: kept on disk, and said when it happens, for it takes seconds.

Numba's own cache notices a change in the file of a compiled function, and none in the files of what it calls. Here all
files of this package count: their digest names the folder. Where no folder can be written, nothing is kept.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numba
import numpy as np
import platformdirs
from numba.core import event

_config: Any = numba.config


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles ``function`` when it is first called, to run without Python's lock and to divide as C does."""
    compiled = numba.njit(nogil=True, error_model="numpy")(function)
    before = _config.CACHE_DIR
    try:
        _config.CACHE_DIR = str(_folder())  # read now, and never again for this function
        compiled.enable_caching()
    except (OSError, RuntimeError):  # Numba's word for a place that cannot be written
        pass
    finally:
        _config.CACHE_DIR = before
    return compiled


@cache
def _folder() -> Path:
    """``NUMBA_CACHE_DIR``, beside these files or in the user's cache, whichever comes first and can be written."""
    here = Path(__file__).parent
    digest = sha256(b"".join(path.read_bytes() for path in sorted(here.glob("*.py")))).hexdigest()[:16]
    beside = here / "__pycache__"
    own = beside if os.access(beside if beside.exists() else here, os.W_OK) else platformdirs.user_cache_path("gatelab")
    return Path(_config.CACHE_DIR or own) / f"kernels-{digest}"


_ready: set[tuple[str, str, np.dtype]] = set()


class _Notice(event.Listener):
    """One line at the first compilation; a kernel that comes from the disk starts none."""

    def __init__(self, name: str):
        self.name = name
        self.said = False

    def on_start(self, event) -> None:
        if not self.said:
            self.said = True
            text = f"gatelab: compiling the {self.name} for this machine; once, and a few seconds"
            print(text, file=sys.stderr, flush=True)  # noqa: T201

    def on_end(self, event) -> None:
        pass


def announced(cell: str, what: str, dtype: np.dtype, call: Callable[[], None]) -> None:
    """Does ``call``; if it is the first of its kind in this process and compiles something, that is said."""
    key = (cell, what, dtype)
    if key in _ready:
        call()
        return
    with event.install_listener("numba:compile", _Notice(f"{cell} kernel ({dtype}, {what})")):
        call()
    _ready.add(key)
