"""Which versions a number was made with."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from platform import python_version

import gatelab


def versions(*libraries: str) -> dict[str, str]:
    """The version of Python, of gatelab and of each of ``libraries``; ``absent`` where one is not installed."""
    return {"python": python_version(), "gatelab": gatelab.__version__} | {name: _version(name) for name in libraries}


@cache  # it reads a file each time, and every trial asks
def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "absent"
