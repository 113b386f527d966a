"""Data from the outside: tables of time series, data sets by name with checksums."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_LAZY = {
    "Column": "roles",
    "Frequency": "frequency",
    "Roles": "roles",
    "Series": "table",
    "SeriesTable": "table",
    "read_like": "table",
    "read_table": "table",
}

__all__ = sorted(_LAZY)


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"gatelab.data.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'gatelab.data' has no attribute {name!r}")
