"""Whether two tasks are about the same data: a hash over what a network sees of it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from gatelab.core.task import Part, Task

_PARTS: tuple[Part, ...] = ("train", "validation", "test")
_BATCH = 512


def fingerprint(task: Task) -> str:
    """Thirty-two hexadecimal digits over the task's state and every batch of every part, in order.

    The same in every process and for every number of cores. A task for which one pass over its data is costly may
    say it shorter by a method ``fingerprint`` of its own.
    """
    own = getattr(task, "fingerprint", None)
    if callable(own):
        return str(own())
    hasher = hashlib.sha256(json.dumps(task.state(), sort_keys=True).encode())
    for part in _PARTS:
        hasher.update(part.encode())
        for batch in task.batches(part, _BATCH):
            _feed(hasher, batch)
    return hasher.hexdigest()[:32]


def _feed(hasher: Any, value: Any) -> None:
    """Numbers with type and shape, and what holds them by the names it holds them under."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    if isinstance(value, np.ndarray) and value.dtype != object:
        hasher.update(f"{value.dtype.str}{value.shape}".encode())
        hasher.update(value.tobytes())
    elif isinstance(value, Mapping):
        for name in sorted(value, key=str):
            hasher.update(str(name).encode())
            _feed(hasher, value[name])
    elif isinstance(value, (list, tuple, np.ndarray)):
        hasher.update(str(len(value)).encode())
        for entry in value:
            _feed(hasher, entry)
    elif dataclasses.is_dataclass(value):
        _feed(hasher, {field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    elif hasattr(value, "__dict__"):
        _feed(hasher, vars(value))
    else:
        hasher.update(repr(value).encode())
