"""Says when a kernel is compiled for the first time, for that takes seconds.

Numba keeps the result on disk, beside the package or, where that cannot be written, in the user's cache folder.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
from numba.core import event

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
