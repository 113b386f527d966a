"""The language network: tokens in, a recurrent encoder, and at every step a probability for each token to come next.

T time, B batch, E embedding, H hidden, V vocabulary, N rows of all steps together.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear, log_softmax

from gatelab.core.config import ModelConfig, require
from gatelab.nn import recurrent
from gatelab.tasks.language.batches import NOTHING
from gatelab.tasks.language.config import LanguageConfig

_CLUSTERS = 0.05, 0.25  # shares of the vocabulary at which adaptive softmax begins a new cluster
_NARROWER = 4  # each cluster reads so many times fewer numbers than the one before


class LanguageNet(nn.Module):
    """Embedding → encoder → dropout → softmax over the vocabulary, its weights those of the embedding where tied.

    Dropout before the softmax has one mask for all steps of a pass (Gal & Ghahramani 2016; Merity et al. 2018, section
    4.2); that of the embedding and of the hidden states are the encoder's own (``input_dropout``,
    ``recurrent_dropout``, ``weight_drop``).

    Args:
        model: the encoder.
        config: the task's settings, every automatic choice made.
        vocabulary: numbers of tokens (V).

    Raises:
        InputError: a bidirectional encoder, which would have read what it is to predict, or one with ``batch_norm``,
            whose statistics are those of a time step and have no meaning in a stream.
    """

    def __init__(self, model: ModelConfig, config: LanguageConfig, vocabulary: int):
        super().__init__()
        require(not model.bidirectional, "bidirectional", "False: what comes next is not known", True)
        require(not model.batch_norm, "batch_norm", "False: a stream of text has no first step", True)
        H, tied = model.hidden_size, bool(config.tied)
        E = config.embedding_size or (min(H, 64) if config.tokens == "characters" else H)
        self.embedding = nn.Embedding(vocabulary, E)
        self.encoder = recurrent(model, E)
        self.dropout = LockedDropout(model.dropout)
        self.narrow = nn.Linear(H, E, bias=False) if tied and E != H else nn.Identity()
        self.head: Softmax | AdaptiveSoftmax
        if config.adaptive:
            self.head = AdaptiveSoftmax(H, vocabulary)
        else:
            self.head = Softmax(H, vocabulary, self.embedding if tied else None)
        if tied:  # what is read is also multiplied with what is written: at torch's N(0, 1), far too strong a guess
            nn.init.uniform_(self.embedding.weight, -0.1, 0.1)  # Merity et al. 2018, section 5

    def forward(self, read: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """What the head reads at each step of ``read (T, B)``: ``(T, B, ·)``; and the state after the last step."""
        output, state = self.encoder(self.embedding(read), state)  # (T, B, H)
        return self.narrow(self.dropout(output)), state

    def log_likelihood(self, rows: Tensor, truth: Tensor) -> Tensor:
        """ln p of the tokens ``truth (N,)`` from ``rows (N, ·)`` of what ``forward`` gives: ``(N,)``, in nats."""
        return self.head.log_likelihood(rows, truth, self.embedding.weight)

    def log_probabilities(self, rows: Tensor) -> Tensor:
        """ln p of every token, ``(N, V)``, from ``rows (N, ·)`` of what ``forward`` gives."""
        return self.head.log_probabilities(rows, self.embedding.weight)

    def step(self, ids: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """One token further in each of B texts.

        Args:
            ids: numbers of the tokens read ``(B,)``, int64; a text begins with an end (``gatelab.data.tokens.END``).
            state: what the step before gave; None at the beginning.

        Returns:
            ln p of every token that may come next, ``(B, V)``, and the state: a tensor ``(L, B, H)``, the LSTM's a
            pair of them, a tuple with one for each layer where there are residual connections.
        """
        rows, state = self(ids.unsqueeze(0), state)  # (1, B, ·)
        return self.log_probabilities(rows[0]), state

    def losses(self, read: Tensor, truth: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """−ln p of every token to be predicted, ``(N,)`` in the order of time, then text; and the state after them."""
        rows, state = self(read, state)  # (T, B, ·)
        scored = truth != NOTHING  # (T, B)
        return -self.log_likelihood(rows[scored], truth[scored]), state


class LockedDropout(nn.Module):
    """Dropout of ``(T, B, H)`` with one mask for all steps, ``(1, B, H)``."""

    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """``x`` in evaluation; in training masked, and scaled by 1/(1−p)."""
        if not self.training or self.p == 0:
            return x
        return x * nn.functional.dropout(x.new_ones(1, *x.shape[1:]), self.p)

    def extra_repr(self) -> str:
        """The probability."""
        return f"p={self.p}"


class Softmax(nn.Module):
    """Every token at once; its weights are its own, or handed to it where they are those of an embedding.

    Args:
        width: numbers it reads where its weights are its own.
        vocabulary: V.
        tied: the embedding whose weights it uses.
    """

    def __init__(self, width: int, vocabulary: int, tied: nn.Embedding | None = None):
        super().__init__()
        start = nn.Linear(width if tied is None else tied.embedding_dim, vocabulary)
        self.weight = start.weight if tied is None else None  # (V, ·)
        self.bias = start.bias  # (V,)

    def matrices(self) -> list[Tensor]:
        """Its own weights, which an export may round to eight bits; those of an embedding are the embedding's."""
        return [] if self.weight is None else [self.weight]

    def _logits(self, rows: Tensor, shared: Tensor) -> Tensor:
        return linear(rows, shared if self.weight is None else self.weight, self.bias)  # (N, V)

    def log_likelihood(self, rows: Tensor, truth: Tensor, shared: Tensor) -> Tensor:
        """ln p of ``truth (N,)``."""
        return -cross_entropy(self._logits(rows, shared), truth, reduction="none")

    def log_probabilities(self, rows: Tensor, shared: Tensor) -> Tensor:
        """ln p of every token, ``(N, V)``."""
        return log_softmax(self._logits(rows, shared), dim=1)


class AdaptiveSoftmax(nn.Module):
    """The frequent tokens at once, the rare ones in two clusters that are looked into only where the truth is there.

    Grave et al. 2017 (arXiv:1609.04309), by torch. Numbers must be in the order of frequency, as those of words are.
    """

    def __init__(self, width: int, vocabulary: int):
        super().__init__()
        shares = [share for n, share in enumerate(_CLUSTERS, 1) if width >= _NARROWER**n]
        cutoffs = sorted({min(max(round(share * vocabulary), 1), vocabulary - 1) for share in shares or _CLUSTERS[:1]})
        narrower = float(min(_NARROWER, width))
        self.softmax = nn.AdaptiveLogSoftmaxWithLoss(width, vocabulary, cutoffs, narrower)

    def log_likelihood(self, rows: Tensor, truth: Tensor, shared: Tensor) -> Tensor:
        """ln p of ``truth (N,)``."""
        return self.softmax(rows, truth).output

    def log_probabilities(self, rows: Tensor, shared: Tensor) -> Tensor:
        """ln p of every token, ``(N, V)``."""
        return self.softmax.log_prob(rows)
