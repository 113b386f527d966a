"""What can be set about music."""

from __future__ import annotations

from dataclasses import dataclass

from gatelab.core.config import require


@dataclass(frozen=True)
class MusicConfig:
    """How pieces are divided, and which of their steps are predicted."""

    split: tuple[float, ...] = (0.7, 0.1, 0.2)
    """Train, validation and test shares of the pieces, drawn at random, where the data does not divide them itself."""
    first_step: bool = False
    """Also predict the first step of a piece, from silence; no: from the second on (Bai et al. 2018)."""

    def __post_init__(self) -> None:
        valid = len(self.split) == 3 and all(share > 0 for share in self.split)
        require(valid, "split", "three numbers above 0: train, validation, test", self.split)
