"""One command at a time in a folder: two that write the same run would leave files of both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from gatelab.core.errors import RunError
from gatelab.core.files import writable_folder


@contextmanager
def alone_in(folder: str | Path) -> Iterator[None]:
    """Keeps other gatelab commands out of a folder; the system lets it go when the process ends, however it ends.

    Raises:
        RunError: another command is at work there.
        InputError: the folder cannot be written to.
    """
    lock = FileLock(writable_folder(folder) / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RunError(
            f"another gatelab command is at work in {folder}",
            fix="wait for it to end, or name another folder with --out",
        ) from error
    try:
        yield
    finally:
        lock.release()
