"""Checkpoints: one file each, written whole or not at all, and whole again when read.

A file is safetensors with JSON in its header. Its name ends in the SHA-256 of its content, so that one look tells a
damaged file from a good one. The latest two are kept: if the newer is damaged, the older is taken.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch

from gatelab.core.errors import RunError
from gatelab.core.files import write_bytes
from gatelab.training.tensors import Tensors

KEPT = 2
_NAME = re.compile(r"(?P<number>\d{8})-(?P<digest>[0-9a-f]{64})\.safetensors")


def save(folder: Path, number: int, tensors: Tensors, values: Mapping[str, Any]) -> Path:
    """Writes checkpoint ``number`` and removes those older than the latest two.

    Args:
        tensors: on the CPU, none sharing memory with another.
        values: strict JSON values (no NaN).
    """
    content = safetensors.torch.save(tensors, {"gatelab": json.dumps(values, allow_nan=False)})
    path = folder / f"{number:08d}-{hashlib.sha256(content).hexdigest()}.safetensors"
    write_bytes(path, content)
    for old in found(folder)[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def found(folder: Path) -> list[Path]:
    """Checkpoints of a folder, oldest first, good or damaged."""
    return sorted(path for path in folder.glob("*.safetensors") if _NAME.fullmatch(path.name))


def load_latest(folder: Path) -> tuple[Tensors, dict[str, Any], list[str]] | None:
    """Tensors and values of the newest good checkpoint, and a warning for each damaged one; None where there is none.

    Damaged files newer than the good one are removed, as are the remains of writes that were cut short.

    Raises:
        RunError: there are checkpoints, and none is good.
    """
    for remains in folder.glob(".*.tmp"):
        remains.unlink(missing_ok=True)
    warnings: list[str] = []
    damaged: list[Path] = []
    for path in reversed(found(folder)):
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() == path.stem.partition("-")[2]:
            for bad in damaged:
                bad.unlink()
            return safetensors.torch.load(content), _values(content), warnings
        damaged.append(path)
        warnings.append(f"checkpoint {path.name[:8]} is damaged and was removed: going on from the one before")
    if damaged:
        raise RunError(
            f"no checkpoint in {folder} can be read",
            expected="at least one whole file of the latest two",
            got=f"{len(damaged)} damaged",
            fix="copy the run folder back from where it was whole, or begin again with resume=False or another folder",
        )
    return None


def _values(content: bytes) -> dict[str, Any]:
    """The JSON in the header: 8 bytes of length, little-endian, then the header (safetensors' format)."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["gatelab"])
