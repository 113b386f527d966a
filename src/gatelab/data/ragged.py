"""Many arrays of unequal length as one flat array: in memory, or in a temporary file where they are many.

Sequences that each are an array of their own cost a hundred bytes of Python apiece and must all be in memory. Here
their rows lie end to end, and a sequence is where it starts and how long it is. ``RaggedWriter`` takes sequences one
by one, as a file is read, and from a certain size on moves them to a temporary file that the system pages in as
sequences are looked at: data may be larger than memory.

N rows of all sequences together, S sequences.
"""

from __future__ import annotations

import errno
import os
import tempfile
import weakref
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, overload

import numpy as np

from gatelab.core.errors import DataError, NoSpaceError

Array = np.ndarray

IN_MEMORY = 1 << 28
"""Bytes that are kept in memory; what is larger goes to a temporary file."""
_PENDING_BYTES, _PENDING_ITEMS = 1 << 24, 1 << 16  # what is put together at once


class Ragged(Sequence[Array]):
    """S arrays whose first dimension differs; every one is a view that cannot be written to.

    ``ragged[3]`` is an array, ``ragged[2:5]`` and ``ragged[np.array([4, 0])]`` are ``Ragged`` over the same rows: a
    part of the data costs no copy. Equal as an object only to itself.

    Pickled, a ``Ragged`` in a file travels as the path of that file, which lives as long as the object that was first
    made over it (and every selection from that) in the process that wrote it.
    """

    values: Array  # (N, …)
    starts: Array  # (S,) int64 first row of each sequence
    lengths: Array  # (S,) int64

    def __init__(self, values: Array, starts: Array, lengths: Array, file: _Spooled | None = None):
        self.values, self.starts, self.lengths, self._file = values.view(), starts, lengths, file
        self.values.flags.writeable = False

    @classmethod
    def of(cls, arrays: Iterable[Any], dtype: Any, width: tuple[int, ...] = (), in_memory: int = IN_MEMORY) -> Ragged:
        """``arrays``, each ``(length, *width)``, copied; see ``RaggedWriter``.

        >>> [entry.tolist() for entry in Ragged.of([[1, 2], [], [3]], np.int32)]
        [[1, 2], [], [3]]
        """
        with RaggedWriter(dtype, width, in_memory) as writer:
            for rows in arrays:
                writer.append(rows)
            return writer.finish()

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, which: int | np.integer) -> Array: ...

    @overload
    def __getitem__(self, which: slice | Array) -> Ragged: ...

    def __getitem__(self, which: Any) -> Any:
        starts, lengths = self.starts[which], self.lengths[which]
        if np.ndim(starts) == 0:
            return self.values[starts : starts + lengths]
        return self.regrouped(starts, lengths)

    def __iter__(self) -> Iterator[Array]:
        for start, length in zip(self.starts.tolist(), self.lengths.tolist(), strict=True):
            yield self.values[start : start + length]

    def regrouped(self, starts: Array, lengths: Array) -> Ragged:
        """Other sequences of the same rows: where each starts, and how long it is, ``(S,)`` twice."""
        return Ragged(self.values, starts, lengths, self._file)

    @property
    def spooled(self) -> bool:
        """Whether the rows are in a temporary file."""
        return self._file is not None

    def digest(self) -> str:
        """Thirty-two hexadecimal digits that tell these sequences, in this order, from others."""
        described = f"{self.values.dtype.str} {self.values.shape[1:]}"
        hasher = sha256(described.encode() + np.ascontiguousarray(self.lengths, "<i8").tobytes())
        for rows in self:
            hasher.update(np.ascontiguousarray(rows).data)
        return hasher.hexdigest()[:32]

    def __getstate__(self) -> dict[str, Any]:
        rows = self.values if self._file is None else (self._file.path, self.values.dtype, self.values.shape)
        return {"rows": rows, "starts": self.starts, "lengths": self.lengths}

    def __setstate__(self, state: dict[str, Any]) -> None:
        rows, file = state["rows"], None
        if isinstance(rows, tuple):
            file = _Spooled(rows[0], owned=False)
            rows = file.rows(*rows[1:])
        self.__init__(rows, state["starts"], state["lengths"], file)


class RaggedWriter:
    """Takes sequences one by one and makes a ``Ragged`` of them.

    As a context manager it leaves no file behind where an error comes between.

    Args:
        dtype: of all rows.
        width: what follows the first dimension, such as ``(channels,)``; ``()`` for sequences of numbers.
        in_memory: bytes from which on the rows go to a temporary file (``TMPDIR`` says where).
    """

    def __init__(self, dtype: Any, width: tuple[int, ...] = (), in_memory: int = IN_MEMORY):
        self.dtype, self.width, self._in_memory = np.dtype(dtype), tuple(width), in_memory
        self._lengths = array("q")
        self._chunks: list[Array] = []
        self._pending: list[Array] = []
        self._pending_bytes = self._bytes = 0
        self._file: _Spooled | None = None

    def __enter__(self) -> RaggedWriter:
        return self

    def __exit__(self, *error: object) -> None:
        if any(error) and self._file is not None:
            self._file.remove()

    def append(self, rows: Any) -> None:
        """Adds a sequence ``(length, *width)``, which is copied.

        Raises:
            ValueError: another width.
            NoSpaceError: the temporary file has filled the disk.
        """
        taken = np.array(rows, self.dtype)  # (length, …)
        if not taken.size and taken.ndim == 1:
            taken = taken.reshape(0, *self.width)  # an empty list does not say how wide it is
        if taken.shape[1:] != self.width or taken.ndim == 0:
            raise ValueError(f"expected (length, {', '.join(map(str, self.width))}), got {taken.shape}")
        self._lengths.append(len(taken))
        self._pending.append(taken)
        self._pending_bytes += taken.nbytes
        if self._pending_bytes >= _PENDING_BYTES or len(self._pending) >= _PENDING_ITEMS:
            self._flush()

    def finish(self) -> Ragged:
        """All sequences in the order in which they came; the writer is not to be used again."""
        self._flush()
        lengths = np.array(self._lengths, np.int64)  # (S,)
        starts = np.cumsum(lengths) - lengths  # (S,)
        shape = (int(lengths.sum()), *self.width)
        if self._file is None:
            rows = np.concatenate(self._chunks) if self._chunks else np.empty(shape, self.dtype)
            return Ragged(rows, starts, lengths)
        return Ragged(self._file.rows(self.dtype, shape), starts, lengths, self._file)

    def _flush(self) -> None:
        """Puts what is pending together: in memory, or once there is too much, in the file."""
        if not self._pending:
            return
        self._chunks.append(np.concatenate(self._pending))
        self._bytes += self._pending_bytes
        self._pending, self._pending_bytes = [], 0
        if self._bytes > self._in_memory:
            self._file = self._file or _Spooled.new()
            self._file.write(self._chunks)
            self._chunks = []


class _Spooled:
    """A temporary file of rows; removed when the object that owns it is no more."""

    def __init__(self, path: Path, owned: bool):
        self.path = path
        if owned:
            self.remove = weakref.finalize(self, _remove, path, os.getpid())

    @classmethod
    def new(cls) -> _Spooled:
        handle, path = tempfile.mkstemp(prefix="gatelab-", suffix=".rows")
        os.close(handle)
        return cls(Path(path), owned=True)

    def write(self, chunks: Iterable[Array]) -> None:
        try:
            with open(self.path, "ab") as file:
                for chunk in chunks:
                    file.write(np.ascontiguousarray(chunk).data)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise NoSpaceError(
                f"no space left in {self.path.parent} while sequences were read",
                fix="free some space there, or name a folder with more in the environment variable TMPDIR",
            ) from error

    def rows(self, dtype: np.dtype, shape: tuple[int, ...]) -> Array:
        """The rows ``(N, …)`` as an array that the system pages in."""
        try:
            return np.memmap(self.path, dtype, "r", shape=shape)
        except FileNotFoundError as error:
            raise DataError(
                f"the temporary file {self.path} is gone: the process that read the data has ended",
                fix="read the data again in this process",
            ) from error


def _remove(path: Path, owner: int) -> None:
    if os.getpid() == owner:  # a process that was forked ends without taking the file from the others
        with suppress(OSError):
            path.unlink()
