"""What can be set about text classification."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gatelab.core.config import require
from gatelab.nn.pooling import Kind as Pooling
from gatelab.tasks.classifying.config import ClassificationConfig


@dataclass(frozen=True)
class TextConfig(ClassificationConfig):
    """Where texts and labels stand, what a step is, and how the network is kept from learning them by heart."""

    pooling: Pooling = "max"
    """From all steps to one vector: last (the end to which each direction reads), mean, max or attention."""
    text: str | None = None
    """Column, or key, of the texts; none: found by its name."""
    label: str | None = None
    """Column, or key, of the labels; none: found by its name."""
    encoding: str | None = None
    """Of the files; none: UTF-8, or as the catalogue says of a known data set."""
    tokens: Literal["words", "subwords", "characters"] = "words"
    """What a step of the network reads."""
    lower: bool = True
    """Make no difference between upper and lower case."""
    vocabulary: int | None = None
    """Most tokens that are known, the most frequent ones; none: all, and 4,000 subwords."""
    min_count: int = 2
    """Tokens that occur less often in the training part are unknown."""
    embedding: int = 128
    """Numbers that stand for a token (I); with --vectors as many as the file has."""
    word_dropout: float = 0.3
    """Share of the tokens that are taken for unknown in training (Iyyer et al. 2015, sec. 3.1), in [0, 1)."""
    embedding_dropout: float = 0.3
    """Dropout on the numbers of each token, in [0, 1)."""
    vectors: str | None = None
    """File of word vectors to start from, in the text format of word2vec or GloVe."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.min_count >= 1, "min_count", "at least 1", self.min_count)
        require(self.embedding >= 1, "embedding", "at least 1", self.embedding)
        for name in ("word_dropout", "embedding_dropout"):
            require(0 <= getattr(self, name) < 1, name, "at least 0 and below 1", getattr(self, name))
        require(self.vectors is None or self.tokens == "words", "vectors", "--tokens words beside it", self.vectors)
