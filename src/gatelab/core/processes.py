"""What torchrun tells the processes that it starts (docs.pytorch.org, "torchrun", environment variables)."""

from __future__ import annotations

import os


def launched() -> bool:
    """Whether torchrun started this process as one of several."""
    return "TORCHELASTIC_RUN_ID" in os.environ and _number("WORLD_SIZE", 1) > 1


def leads() -> bool:
    """Whether this process speaks for all: the first of torchrun's, or one that is alone."""
    return not launched() or _number("RANK", 0) == 0


def on_this_machine() -> int:
    """How many of the processes run on this machine."""
    return _number("LOCAL_WORLD_SIZE", 1) if launched() else 1


def place_on_this_machine() -> int:
    """The number of this process among those on its machine, the first being 0."""
    return _number("LOCAL_RANK", 0) if launched() else 0


def _number(name: str, default: int) -> int:
    return int(os.environ.get(name, default))
