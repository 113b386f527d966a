"""Piano rolls, from whatever people keep them in.

A roll is ``(T, 88)``, uint8: row t has a 1 for each key that sounds at step t, from A0 (MIDI 21) to C8 (MIDI 108). How
long a step is (a quarter, a sixteenth) is up to the data.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

from gatelab.core.errors import DataError
from gatelab.core.task import Part
from gatelab.data.sources import resolve
from gatelab.data.unpacking import check_arrays

Array = np.ndarray
Parts = dict[Part, list[Array]]

KEYS, LOWEST = 88, 21
SILENT = -1  # a voice that rests, in files that have a number for each voice at each step
PARTS: tuple[Part, ...] = ("train", "validation", "test")
_ALIASES: dict[str, Part] = {"train": "train", "valid": "validation", "validation": "validation", "val": "validation",
                             "dev": "validation", "test": "test"}  # fmt: skip
_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_FIX = "give chords of MIDI numbers from 21 to 108, or arrays (T, 88) of 0 and 1"


def key_name(key: int) -> str:
    """Scientific pitch notation of a column of a roll.

    >>> key_name(0), key_name(60 - LOWEST), key_name(87)
    ('A0', 'C4', 'C8')
    """
    octave, degree = divmod(key + LOWEST, 12)
    return f"{_NAMES[degree]}{octave - 1}"


def read_pieces(source: Any) -> Parts | list[Array]:
    """The pieces of a file, a data set or Python objects: by part where the source names its parts, else in a list.

    Args:
        source: a path or the name of a data set: ``.json`` (chords of MIDI numbers, or rows of 88 zeros and ones),
            ``.mat`` (MATLAB, up to version 7), ``.npy`` and ``.npz``; or the like in Python. A piece is a list of
            chords or an array ``(T, 88)``; pieces come as a list, or as a mapping from "train", "valid" and "test".

    Raises:
        InputError: no such file or data set.
        DataError: it holds something else; the message names the piece and the step.
    """
    if isinstance(source, (str, os.PathLike)):
        path = resolve(source)
        return _pieces(_read_file(path), str(source))
    return _pieces(source, "the music")


def _read_file(path: Path) -> Any:
    readers = {".json": _read_json, ".mat": _read_mat, ".npy": _read_numpy, ".npz": _read_numpy}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path} is no kind of file that music is read from", expected=", ".join(readers), fix=_FIX)
    try:
        return reader(path)
    except Exception as error:  # what NumPy, SciPy and zipfile raise over a damaged file has no common base
        raise DataError(f"{path} cannot be read: it is damaged, or of another kind", got=error, fix=_FIX) from error


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _read_mat(path: Path) -> Any:
    found = scipy.io.loadmat(path)
    return _named({name.removesuffix("data"): value for name, value in found.items() if not name.startswith("__")})


def _read_numpy(path: Path) -> Any:
    check_arrays(path)
    with open(path, "rb") as file:
        found = np.load(file, allow_pickle=False)
        return _named(dict(found)) if isinstance(found, np.lib.npyio.NpzFile) else found


def _named(arrays: dict[str, Any]) -> Any:
    """Arrays by part; where their names say nothing of parts, the only one, or the pieces one by one."""
    if any(name in _ALIASES for name in arrays):
        return arrays
    return next(iter(arrays.values())) if len(arrays) == 1 else list(arrays.values())


def _pieces(value: Any, where: str) -> Parts | list[Array]:
    if not isinstance(value, Mapping):
        return _rolls(value, where)
    unknown = [name for name in value if name not in _ALIASES]
    found: Parts = {_ALIASES[name]: _rolls(rows, f"{name} of {where}") for name, rows in value.items() if not unknown}
    if unknown or len(found) != len(PARTS):
        raise DataError(
            f"the parts of {where} are not the usual three",
            expected="train, valid and test",
            got=", ".join(map(str, value)),
            fix="name all three, or give all pieces in one list, which is divided at random",
        )
    return {part: found[part] for part in PARTS}


def _rolls(value: Any, where: str) -> list[Array]:
    """One piece, or several."""
    match _depth(value):
        case 2:
            return [_roll(value, f"the piece of {where}")]
        case 3:
            return [_roll(piece, f"piece {number} of {where}") for number, piece in enumerate(_entries(value), 1)]
    raise DataError(f"{where} holds no pieces", expected="pieces of steps of keys", got=_short(value), fix=_FIX)


def _entries(value: Any) -> Any:
    """The entries of a sequence; MATLAB's cells are a matrix of one row."""
    return value.ravel() if isinstance(value, np.ndarray) and value.dtype == object else value


def _depth(value: Any) -> int:
    """Levels of sequences: 0 for a number, 1 for a chord, 2 for a piece, 3 for pieces."""
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value.ndim
    if not isinstance(value, (list, tuple, np.ndarray)):
        return 0
    return 1 + max(map(_depth, _entries(value)), default=0)


def _roll(piece: Any, where: str) -> Array:
    """The roll ``(T, 88)`` of one piece."""
    if _depth(piece) and not len(piece):
        raise DataError(f"{where} has no steps", expected="at least one", fix="leave it out")
    if isinstance(piece, np.ndarray) or all(_depth(step) == 1 and len(step) == KEYS for step in _entries(piece)):
        return _checked(np.asarray(piece), where)
    roll = np.zeros((len(piece), KEYS), np.uint8)  # (T, 88)
    for step, chord in enumerate(piece, 1):
        if _depth(chord) != 1:
            raise DataError(f"step {step} of {where} is no chord", got=_short(chord), fix=_FIX)
        roll[step - 1, [_key(pitch, step, where) for pitch in chord if pitch != SILENT]] = 1
    return roll


def _key(pitch: Any, step: int, where: str) -> int:
    if not isinstance(pitch, (int, float, np.number)) or pitch not in range(LOWEST, LOWEST + KEYS):
        raise DataError(
            f"step {step} of {where} has a note that is no key of a piano",
            expected=f"MIDI numbers from {LOWEST} to {LOWEST + KEYS - 1}, or {SILENT} for a rest",
            got=_short(pitch),
            fix="mend the note, or move the piece by octaves",
        )
    return int(pitch) - LOWEST


def _checked(roll: Array, where: str) -> Array:
    if roll.ndim != 2 or roll.shape[1] != KEYS:
        fix = "take roll[:, 21:109]" if roll.shape[-1:] == (128,) else "turn it so that its rows are the steps"
        raise DataError(f"{where} is not as wide as a piano", expected="(T, 88)", got=roll.shape, fix=fix)
    if not np.isin(roll, (0, 1)).all():
        wrong = roll[~np.isin(roll, (0, 1))][0]
        raise DataError(f"{where} holds more than on and off", expected="0 and 1", got=wrong, fix="give roll > 0")
    return roll.astype(np.uint8)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
