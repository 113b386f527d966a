"""What can be set about language."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gatelab.core.config import require
from gatelab.data.tokens import RESERVED, Kind


@dataclass(frozen=True)
class LanguageConfig:
    """What a token and a document are, how the text is divided, and how the network ends."""

    tokens: Kind = "characters"
    """characters, words or subwords (byte pair encoding)."""
    documents: Literal["auto", "files", "lines"] = "auto"
    """files: one stream of text, in which the state is carried on; lines: every line by itself, such as names.
    auto: lines where there is one file of short lines, none of them blank."""
    vocabulary: int | None = None
    """Most tokens (V), the most frequent ones; none: all, and 4,000 subwords."""
    min_count: int | None = None
    """Tokens rarer than this in the training part are unknown; none: 2 for words, 1 for others."""
    lower: bool = False
    """Make no difference between upper and lower case."""
    encoding: str | None = None
    """How the text is written, such as latin-1; none: UTF-8, or as the catalogue says of a data set."""
    split: tuple[float, ...] = (0.9, 0.05, 0.05)
    """Train, validation and test shares: of a stream in its order, of lines at random, equal ones together."""
    window: int | None = None
    """Steps through which a gradient goes back (truncated BPTT); none: 128 characters, 64 subwords, 35 words."""
    embedding_size: int | None = None
    """Numbers that stand for a token where the network reads it; none: hidden_size, or 64 for characters if less."""
    tied: bool | None = None
    """Read and write tokens by the same weights (Press & Wolf 2017); none: for words and subwords."""
    adaptive: bool | None = None
    """Rare words in clusters of their own (Grave et al. 2017), faster; none: from 20,000 words on."""

    def __post_init__(self) -> None:
        valid = len(self.split) == 3 and all(share > 0 for share in self.split)
        require(valid, "split", "three numbers above 0: train, validation, test", self.split)
        for name, least in (("vocabulary", RESERVED + 1), ("min_count", 1), ("window", 1), ("embedding_size", 1)):
            value = getattr(self, name)
            require(value is None or value >= least, name, f"at least {least}, or none", value)
        require(not (self.tied and self.adaptive), "tied", "one of --tied and --adaptive", self.tied)
