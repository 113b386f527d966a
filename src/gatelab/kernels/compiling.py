"""Says when a kernel is compiled for the first time, for that takes seconds.

Numba keeps the result on disk, beside the package or, where that cannot be written, in the user's cache folder.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from numba.core import event

_ready: set[str] = set()


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


@contextmanager
def announced(name: str) -> Iterator[None]:
    """While the block runs for the first time in this process, a compilation is said on standard error."""
    if name in _ready:
        yield
        return
    with event.install_listener("numba:compile", _Notice(name)):
        yield
    _ready.add(name)
