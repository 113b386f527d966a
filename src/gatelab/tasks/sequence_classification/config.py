"""What can be set about sequence classification."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from gatelab.core.config import require
from gatelab.data.sequences import Layout
from gatelab.nn.pooling import Kind as Pooling
from gatelab.tasks.classifying.config import ClassificationConfig

MOST_JOINED = 16


@dataclass(frozen=True)
class SequenceConfig(ClassificationConfig):
    """Where sequences and labels stand, and what the network reads at once."""

    layout: Layout = field(
        default_factory=Layout,
        metadata={"title": "column", "text": "How sequences lie in a table; what is not said is found, and noted."},
    )
    """How sequences lie in a table."""
    pooling: Pooling = "max"
    """From all steps to one vector: last (the end to which each direction reads), mean, max or attention."""
    scale: Literal["channel", "sequence"] = "channel"
    """What is made mean 0 and deviation 1: each channel over the training part, or each channel of each sequence by
    itself, where level and size say nothing of the class."""
    join: int | None = None
    """Steps that the network reads at once, side by side; none: as many as leave half of the training sequences no
    more than 32, and 16 at most."""
    noise: float = 0.1
    """Deviation of the normal noise that is added to every scaled value in training (Graves 2011)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.join is None or self.join >= 1, "join", "at least 1", self.join)
        require(self.noise >= 0, "noise", "at least 0", self.noise)
