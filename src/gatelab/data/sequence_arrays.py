"""Sequences from arrays: in Python, in NumPy's files, and in MNIST's."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gatelab.core.errors import DataError, InputError
from gatelab.data.label_types import LabelNames
from gatelab.data.sequences import Collector, Layout, Read
from gatelab.data.unpacking import check_arrays, read_all

Array = np.ndarray


def read_objects(source: Any, layout: Layout, labelled: bool) -> Read:
    """``(X, y)`` or ``X``: see ``read_sequences``.

    Raises:
        InputError: another kind of object.
        DataError: numbers of sequences and labels that differ, a missing label, or what ``Collector`` refuses.
    """
    pair = isinstance(source, tuple) and len(source) == 2
    X, y = source if pair else (source, None)
    if (isinstance(X, np.ndarray) and X.ndim not in (2, 3)) or not isinstance(X, np.ndarray | Sequence):
        raise InputError(
            "these are no sequences",
            expected="an array (S, T) or (S, T, C), or a list of arrays (T,) or (T, C); with labels: (X, y)",
            got=f"an array {X.shape}" if isinstance(X, np.ndarray) else type(X).__name__,
            fix="give one entry for each sequence",
        )
    return _collected(X, y, layout, labelled, "the data")


def read_numpy(path: Path, layout: Layout, labelled: bool) -> Read:
    """``.npy`` with an array ``(S, T[, C])``, or ``.npz`` with ``X``, ``y`` and perhaps ``lengths``.

    Raises:
        DataError: other arrays, or a file that cannot be read.
    """
    try:
        check_arrays(path)
        found: Any = np.load(path, mmap_mode="r", allow_pickle=False)
        arrays = {"X": found} if isinstance(found, np.ndarray) else {name: found[name] for name in found}
    except (OSError, ValueError, EOFError, MemoryError, OverflowError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"{path.name} cannot be read as NumPy's: it is damaged, or holds Python objects", got=error,
            fix="write numbers, and labels as text: numpy.savez(file, X=..., y=..., lengths=...)",
        ) from error  # fmt: skip
    if "X" not in arrays:
        raise DataError(f"{path.name} has no array X", expected="X, y, and perhaps lengths", got=", ".join(arrays))
    X, y, lengths = arrays["X"], arrays.get("y"), arrays.get("lengths")
    if X.ndim not in (2, 3):
        raise DataError(f"X in {path.name} are no sequences", expected="(S, T) or (S, T, C)", got=f"{X.shape}")
    if lengths is None:
        return _collected(X, y, layout, labelled, path.name)
    fits = (
        lengths.shape == X.shape[:1] and lengths.dtype.kind in "iu" and ((lengths > 0) & (lengths <= X.shape[1])).all()
    )
    if not fits:
        raise DataError(f"lengths in {path.name} do not fit X", expected=f"{len(X)} whole numbers, 1 to {X.shape[1]}")
    return _collected([rows[:length] for rows, length in zip(X, lengths, strict=True)], y, layout, labelled, path.name)


def read_pictures(path: Path, labels: Path | None, layout: Layout, labelled: bool) -> Read:
    """Pictures of MNIST's format, a row of pixels from 0 to 1 for each step.

    Raises:
        DataError: a file that is not of this format, or pictures and labels that are not as many.
    """
    pictures = read_idx(path)
    if pictures.ndim != 3:
        raise DataError(f"{path.name} holds no pictures", expected="three sizes", got=f"{pictures.ndim}")
    digits = None if labels is None else read_idx(labels)
    return _collected(pictures / 255, digits, layout, labelled, path.name)


def read_idx(path: Path) -> Array:
    """A gzipped IDX file of bytes, in the layout of LeCun et al.'s MNIST page: magic number, sizes, values.

    Raises:
        DataError: it is something else, or is cut short.
    """
    fix = f"delete {path} so that it is downloaded again"
    try:
        with gzip.open(path, "rb") as stream:
            content = read_all(stream, path.stat().st_size, path.name)
    except (OSError, EOFError) as error:
        raise DataError(f"{path} is not a gzipped file", got=error, fix=fix) from error
    dimensions = content[3] if content[:3] == b"\0\0\x08" and len(content) > 3 else 0
    begins = 4 + 4 * dimensions
    shape = np.frombuffer(content[4:begins].ljust(4 * dimensions, b"\0"), ">u4").astype(int)
    if dimensions == 0 or len(content) != begins + shape.prod():
        raise DataError(f"{path} is not an IDX file of bytes", expected="as many bytes as its sizes say", fix=fix)
    return np.frombuffer(content, np.uint8, offset=begins).reshape(shape)


def _collected(X: Any, y: Any, layout: Layout, labelled: bool, name: str) -> Read:
    given = LabelNames("sequence")
    for number, label in enumerate([] if y is None else np.asarray(y, dtype=object).ravel(), 1):
        given.add(label, f"sequence {number:,} of {name}")
    names, kind = given.finish(labelled and y is not None)
    labels = [None] * len(X) if y is None else names
    if len(labels) != len(X):
        raise DataError(
            f"{name} has not as many labels as sequences",
            expected=f"{len(X)} labels",
            got=f"{len(labels)}",
            fix="give one label for each sequence, in the same order",
        )
    collector = Collector(layout.gaps)
    for number, (rows, label) in enumerate(zip(X, labels, strict=True), 1):
        place = f"sequence {number} of {name}"
        collector.add(_numeric(rows, place), None, label, place)
    return collector.finish(name, labelled, label_type=kind)


def _numeric(rows: Any, place: str) -> Array:
    try:
        values = np.asarray(rows)
        if values.dtype.kind not in "biuf":
            values = values.astype(np.float64) if values.dtype.kind == "O" else values
        if values.dtype.kind not in "biuf" or values.ndim == 0:
            raise TypeError(f"{values.dtype} with {values.ndim} dimensions")
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{place} is no array of numbers",
            expected="(T,) or (T, C)",
            got=str(error).splitlines()[0],
            fix="give one number for each channel of each step",
        ) from error
    return values.astype(np.float64)
