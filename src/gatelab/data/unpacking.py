"""Compressed files, unpacked no further than is sensible: some megabytes can hold a table of as many gigabytes.

What is unpacked is bounded by the size of the file it comes from, and where all of it has to be in memory, by the
memory that is free. Whoever knows better raises the bound with the environment variable ``GATELAB_MAX_UNPACKED``, in
gigabytes.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import psutil

from gatelab.core.errors import DataError, InputError

VARIABLE = "GATELAB_MAX_UNPACKED"
_GIGABYTE = 1e9
_ALWAYS = 256_000_000  # bytes that any file may hold
_RATIO = 100  # times its own size, which tables and texts of people stay far below
_OF_FREE = 0.25  # of the free memory: a table in memory takes some times the size of its text


class Readable(Protocol):
    """What unpacks, opened for reading."""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes."""
        ...


def most(packed: int, in_memory: bool = False) -> int:
    """Bytes to which ``packed`` bytes may be unpacked.

    Raises:
        InputError: the environment variable holds no number of gigabytes.
    """
    given = os.environ.get(VARIABLE)
    if given:
        try:
            bound = float(given) * _GIGABYTE
            if bound > 0:
                return int(min(bound, 2**62))
        except (ValueError, OverflowError):
            pass
        raise InputError(f"{VARIABLE} is no size", expected="gigabytes, such as 16", got=given, fix="mend or unset it")
    bound = max(_ALWAYS, _RATIO * packed)
    return min(bound, int(_OF_FREE * psutil.virtual_memory().available)) if in_memory else bound


def bounded(stream: Readable, packed: int, name: str, in_memory: bool = False) -> io.BufferedReader:
    """A stream of what ``stream`` unpacks, that ends in an error where it becomes too much.

    Args:
        stream: what unpacks, opened for reading.
        packed: bytes of the file it comes from.
        name: of it, for messages.
        in_memory: whether all of it is going to be held.

    Raises:
        DataError: while it is read, more than ``most`` bytes came.
    """
    return io.BufferedReader(_Counted(stream, most(packed, in_memory), packed, name), 1 << 16)


def read_all(stream: Readable, packed: int, name: str) -> bytes:
    """All that ``stream`` unpacks, to be held in memory.

    Raises:
        DataError: it is more than ``most`` bytes.
    """
    return bounded(stream, packed, name, in_memory=True).read()


def check_members(archive: zipfile.ZipFile, members: Iterable[str], packed: int, name: str) -> None:
    """Refuses members of an archive that say of themselves that they are too large together.

    Raises:
        DataError: they are more than ``most`` bytes.
    """
    check_size(sum(archive.getinfo(member).file_size for member in members), packed, name)


def check_arrays(path: Path) -> None:
    """Refuses a file of NumPy's whose compressed arrays say that they are too large to be held in memory.

    Raises:
        DataError: they are more than ``most`` bytes.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        check_size(size, path.stat().st_size, path.name, in_memory=True)


def check_size(size: int, packed: int, name: str, in_memory: bool = False) -> None:
    """Refuses what would be unpacked to ``size`` bytes.

    Raises:
        DataError: that is more than ``most``.
    """
    bound = most(packed, in_memory)
    if size > bound:
        raise _too_large(name, packed, bound, f"{_said(size)}")


class _Counted(io.RawIOBase):
    def __init__(self, stream: Readable, bound: int, packed: int, name: str):
        self._stream, self._left, self._bound, self._packed, self._name = stream, bound, bound, packed, name

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:  # type: ignore[bad-override]  # a writable buffer
        content = self._stream.read(len(buffer))
        self._left -= len(content)
        if self._left < 0:
            raise _too_large(self._name, self._packed, self._bound, f"more than {_said(self._bound)}")
        buffer[: len(content)] = content
        return len(content)


def _too_large(name: str, packed: int, bound: int, got: str) -> DataError:
    gigabytes = max(2 * bound / _GIGABYTE, 1.0)
    return DataError(
        f"{name} holds too much to be unpacked",
        expected=f"at most {_said(bound)} from a file of {_said(packed)}",
        got=got,
        fix=f"if it is what you mean to read and there is room for it, set {VARIABLE}={gigabytes:.0f} (gigabytes); "
        "or unpack it by hand",
    )


def _said(size: float) -> str:
    for unit, word in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:.3g} {word}"
    return f"{size:.0f} bytes"
