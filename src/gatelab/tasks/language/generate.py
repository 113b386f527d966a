"""From a prompt to texts: what a trained language model writes, in the words of its own training text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gatelab.core.config import require
from gatelab.core.errors import InputError, nearest
from gatelab.core.printable import printable
from gatelab.core.random import generator
from gatelab.data.tokens import END, UNKNOWN, Piece, Tokenizer
from gatelab.tasks.language.config import Generation
from gatelab.tasks.language.search import Heard, Step, Token, Written, draw, read, search

if TYPE_CHECKING:
    from gatelab.tasks.language.model import LanguageNet

_SHOWN_CHARACTERS = 60
_TEXTS_AT_ONCE, _CHANCES_AT_ONCE = 256, 1 << 21


class Generated(NamedTuple):
    """A text that a model wrote."""

    text: str
    """What comes after the prompt, the prompt not among it."""
    log_probability: float
    """In nats, of the text given the prompt, as the model has it; of its end too, where it ended."""
    tokens: int
    """Characters, words or subwords, without the end."""
    ended: bool
    """Whether the model ended it; no: it is cut at ``max_length``."""


class Streamed:
    """The step of a ``LanguageNet``, wherever its weights are: ``model.step`` with weights that are prepared once.

    A layer prepares its weights for a whole sequence anew at every call, which for one token costs far more than the
    token. While as many texts are written as at the step before, the encoder is therefore streamed.
    """

    def __init__(self, model: LanguageNet):
        self._model, self._texts = model, 0
        self._stream: Any = None

    @torch.no_grad()
    def __call__(self, ids: Tensor, state: Any) -> tuple[Tensor, Any]:
        """As ``search.Step``: from ``ids (B,)`` to ln p of what may come next, ``(B, V)``."""
        ids = ids.to(self._model.embedding.weight.device)
        if len(ids) != self._texts:
            self._texts, self._stream = len(ids), None
            return self._model.step(ids, state)
        if self._stream is None:
            self._stream = self._model.encoder.stream(batch_size=self._texts)
        if state is None:
            self._stream.reset()
        else:
            self._stream.state = state
        output = self._stream(self._model.embedding(ids))  # (B, H)
        return self._model.log_probabilities(self._model.narrow(output)), self._stream.state


def generate(
    step: Step, tokenizer: Tokenizer, prompt: str = "", how: Generation | None = None, count: int = 1, seed: int = 0
) -> list[Generated]:
    """``count`` texts that go on after ``prompt``: drawn, or with ``how.beam`` the likeliest first.

    Args:
        step: the model.
        tokenizer: what it was trained with.
        prompt: what the texts begin with; nothing: they begin as the documents of the training part do.
        how: the settings.
        count: texts. Each has a random stream of its own: the first are the same, however many there are.
        seed: of the random numbers.

    Raises:
        InputError: a prompt that the model cannot read, naming what it does not know.
    """
    how = how or Generation()
    require(count >= 1, "n", "at least 1", count)
    ids = encode_prompt(tokenizer, prompt)
    heard = read(step, ids, unpenalised=[END])
    if how.beam is not None:
        found = search(step, heard, how, count, END, forbidden=[UNKNOWN])
    else:
        found = drawn(step, heard, how, count, seed)
    before = _before(prompt, ids)
    return [Generated(tokenizer.decode(text.ids, after=before), text.log_probability, len(text.ids), text.ended)
            for text in found]  # fmt: skip


def drawn(step: Step, heard: Heard, how: Generation, count: int, seed: int) -> list[Written]:
    """``count`` texts after what was heard, some of them at a time."""
    found: list[Written] = []
    at_once = min(max(_CHANCES_AT_ONCE // len(heard.log_probabilities), 1), _TEXTS_AT_ONCE)
    for first in range(0, count, at_once):
        rngs = [_stream(seed, number) for number in range(first, min(first + at_once, count))]
        found += _gathered(draw(step, heard, how, rngs, END, forbidden=[UNKNOWN]), len(rngs))
    return found


class Live:
    """One text as it is drawn: iterated over, it gives its pieces; then ``result`` is what ``generate`` gives."""

    result: Generated

    def __init__(
        self, step: Step, tokenizer: Tokenizer, prompt: str = "", how: Generation | None = None, number: int = 0,
        seed: int = 0,
    ):  # fmt: skip
        """The text ``number`` of those that ``generate`` draws with the same settings.

        Raises:
            InputError: a prompt that the model cannot read, or settings for a search.
        """
        self._how = how or Generation()
        if self._how.beam is not None:
            raise InputError("a search knows its text only at its end", fix="leave --beam out, or wait for the text")
        self._ids, self._step, self._tokenizer = encode_prompt(tokenizer, prompt), step, tokenizer
        self._before, self._rng = _before(prompt, self._ids), _stream(seed, number)

    def __iter__(self) -> Iterator[str]:
        heard, before = read(self._step, self._ids, unpenalised=[END]), self._before
        tokens: list[Token] = []
        pieces: list[str] = []
        for token in draw(self._step, heard, self._how, [self._rng], END, forbidden=[UNKNOWN]):
            tokens.append(token)
            pieces.append(self._tokenizer.decode([token.id], after=before))
            before = token.id
            yield pieces[-1]
        (text,) = _gathered(tokens, 1)
        self.result = Generated("".join(pieces), text.log_probability, len(text.ids), text.ended)


def _gathered(tokens: Iterator[Token] | Sequence[Token], count: int) -> list[Written]:
    """The ``count`` texts that tokens belong to."""
    ids: list[list[int]] = [[] for _ in range(count)]
    totals, ended = np.zeros(count), [False] * count
    for token in tokens:
        totals[token.text] += token.log_probability
        if token.id == END:
            ended[token.text] = True
        else:
            ids[token.text].append(token.id)
    return [Written(*text) for text in zip(ids, totals.tolist(), ended, strict=True)]


def encode_prompt(tokenizer: Tokenizer, prompt: str) -> list[int]:
    """The prompt as the model reads it: after the end of another document.

    Raises:
        InputError: something in it was not in the training part.
    """
    if unknown := tokenizer.unknown(prompt):
        raise _unknown(tokenizer, prompt, unknown[0])
    return [END, *tokenizer.encode(prompt).tolist()]


def _before(prompt: str, ids: Sequence[int]) -> int | None:
    """The token that the first one is written after; None where the prompt has its space already."""
    return None if prompt[-1:].isspace() else ids[-1]


def _unknown(tokenizer: Tokenizer, prompt: str, piece: Piece) -> InputError:
    """What is said of a piece of the prompt that the model has no number for."""
    written = prompt[piece.start : piece.end]
    kind = "word" if tokenizer.kind == "words" else "character"
    code = f" (U+{ord(written):04X})" if len(written) == 1 else ""
    known = sorted(text for text in tokenizer.tokens if len(text) == 1)
    if kind == "word":
        expected, near = "words of its training text", nearest(piece.text, tokenizer.tokens)
        fix = f"use words that it knows, such as {near}"
    else:
        shown = " ".join(printable(text) for text in known[:_SHOWN_CHARACTERS] if not text.isspace())
        expected = f"characters of its training text: {shown}" + (" …" if len(known) > _SHOWN_CHARACTERS else "")
        other = [case for case in (written.lower(), written.upper()) if case != written and case in known]
        fix = f"it knows {other[0]!r}" if other else "leave it out, or write it with characters that the model knows"
    return InputError(
        f"the model does not know the {kind} {written!r}{code} in the prompt",
        expected=expected,
        got=f"{written!r} as character {piece.start + 1} of {prompt[:_SHOWN_CHARACTERS]!r}",
        fix=fix,
    )


def _stream(seed: int, number: int) -> np.random.Generator:
    return generator(seed, "generate", number)
