"""What can be set about language, and about the writing of texts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from gatelab.core.config import require
from gatelab.core.errors import InputError
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


@dataclass(frozen=True)
class Generation:
    """How a text is written. Penalty, temperature, top-k and top-p act in this order."""

    temperature: float = 1.0
    """Below 1 the likely becomes likelier still, above 1 the unlikely; 0: always the likeliest token."""
    top_k: int | None = None
    """Draw among this many likeliest tokens (Fan et al. 2018); none: among all."""
    top_p: float | None = None
    """Draw among the likeliest tokens that together have this probability (Holtzman et al. 2020); none: among all."""
    repetition_penalty: float = 1.0
    """Above 1, what has occurred becomes less likely: p turns into p to this power (after Keskar et al. 2019, 4.1)."""
    beam: int | None = None
    """Search for the likeliest texts with this many candidates, and draw nothing; none: draw."""
    max_length: int = 1000
    """Tokens after the prompt, at most. A model that has learned where texts end stops by itself."""

    def __post_init__(self) -> None:
        require(0 <= self.temperature < math.inf, "temperature", "a number, 0 or above", self.temperature)
        require(self.top_k is None or self.top_k >= 1, "top_k", "at least 1, or none", self.top_k)
        require(self.top_p is None or 0 < self.top_p <= 1, "top_p", "above 0 and at most 1, or none", self.top_p)
        penalty = self.repetition_penalty
        require(1 <= penalty < math.inf, "repetition_penalty", "a number, 1 or above", penalty)
        require(self.beam is None or self.beam >= 1, "beam", "at least 1, or none", self.beam)
        require(self.max_length >= 1, "max_length", "at least 1", self.max_length)
        drawing = [name for name, off in (("temperature", 1.0), ("top_k", None), ("top_p", None))
                   if getattr(self, name) != off]  # fmt: skip
        if self.beam is not None and drawing:
            options = " and ".join("--" + name.replace("_", "-") for name in drawing)
            raise InputError(
                f"beam search draws nothing, so that {options} would do nothing",
                expected="--beam, or what says how to draw",
                fix=f"leave --beam out to draw, or {options} to search",
            )
