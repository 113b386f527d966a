"""From a source to numbers: what a document is, which part it is in, which tokens there are.

A source is gone through line by line, twice or three times, and never held as a whole: once to see what its documents
are and where the parts begin, once for the tokens of the training part, once for all numbers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from gatelab.core.errors import DataError, InputError
from gatelab.core.task import Part
from gatelab.data.lines import Document, documents
from gatelab.data.ragged import Ragged, RaggedWriter
from gatelab.data.tokens import END, UNKNOWN, Tokenizer
from gatelab.tasks.language.config import LanguageConfig

Array = np.ndarray
PARTS: tuple[Part, ...] = ("train", "validation", "test")
_SHORT = 200  # characters: a file whose lines are all shorter, and none blank, is taken for a list
_MANY = 20  # documents from which on none is divided between two parts
_LONG = 1 << 16  # characters of a line from which on it is handed on in pieces
_ADAPTIVE_FROM = 20_000
_WINDOWS = {"characters": 128, "subwords": 64, "words": 35}


@dataclass(frozen=True)
class Given:
    """A text that was handed over as a string."""

    name: str
    text: str = field(repr=False)

    def lines(self, keep_ends: bool = False) -> Iterator[str]:
        """Its lines, as ``Document.lines`` gives them."""
        pieces = self.text.split("\n")
        last = len(pieces) - 1
        for number, line in enumerate(pieces):
            if number < last:
                yield line + "\n" if keep_ends else line
            elif line:
                yield line


def texts_of(source: Any, encoding: str | None) -> Sequence[Document | Given]:
    """The documents of a source.

    Args:
        source: a path or a data set's name, as ``gatelab.data.lines.documents`` takes them, or a list of strings, each
            a document.
        encoding: of files.

    Raises:
        InputError: no such source, or no text.
    """
    if isinstance(source, (str, os.PathLike)):
        return documents(source, encoding)
    if isinstance(source, Sequence) and source and all(isinstance(text, str) for text in source):
        return [Given(f"text {number}", text) for number, text in enumerate(source, 1)]
    expected = "a path, a data set's name, or a list of strings"
    raise InputError("this is no text", expected=expected, got=type(source).__name__, fix="give the text in a file")


class Held(NamedTuple):
    """A part as numbers."""

    texts: Ragged
    """Lines: numbers of the tokens of each, the last an end. A stream: its numbers in any pieces, end to end."""
    characters: int
    """How many they were read from, line ends in them included."""

    @property
    def values(self) -> Array:
        """All numbers end to end ``(N,)``; every document ends in an end."""
        return self.texts.values

    @property
    def documents(self) -> int:
        """How many there are."""
        return int(np.count_nonzero(self.values == END))

    @property
    def unknown(self) -> float:
        """Share of the tokens that are unknown, the ends not counted."""
        return float(np.count_nonzero(self.values == UNKNOWN) / max(len(self.values) - self.documents, 1))


class Corpus(NamedTuple):
    """A source as a task holds it."""

    config: LanguageConfig
    """With every automatic choice made."""
    tokenizer: Tokenizer
    parts: dict[Part, Held]
    notes: list[str]


Placed = Iterator[tuple[Part, Iterator[str]]]  # documents in order: the part each is in, and its text in pieces


def read(source: Any, config: LanguageConfig) -> Corpus:
    """The parts of a source, its tokens learned on the training part alone.

    Raises:
        InputError: no such source.
        DataError: it is no text, or too little for three parts.
    """
    texts = texts_of(source, config.encoding)
    config, notes = _decided(texts, config)
    placed = _division(texts, config, config.split)
    min_count = config.min_count or (2 if config.tokens == "words" else 1)
    training = (piece for part, pieces in placed() if part == "train" for piece in pieces)
    tokenizer = Tokenizer.learn(
        training, config.tokens, size=config.vocabulary, min_count=min_count, lower=config.lower
    )
    config = _completed(config, min_count, len(tokenizer))
    parts = encoded(placed(), tokenizer)
    return Corpus(config, tokenizer, parts, [*notes, *_notes(config, tokenizer, parts, PARTS)])


def reread(source: Any, config: LanguageConfig, tokenizer: Tokenizer, shares: Sequence[float]) -> Corpus:
    """Other text with the tokens of before: ``shares`` for train, validation and test, 0 for a part that is not wanted.

    Raises:
        InputError: no such source.
        DataError: it is no text, or too little.
    """
    placed = _division(texts_of(source, config.encoding), config, shares)
    parts = encoded(placed(), tokenizer)
    wanted = [part for part, share in zip(PARTS, shares, strict=True) if share > 0]
    return Corpus(config, tokenizer, parts, _notes(config, tokenizer, parts, wanted))


def encoded(placed: Placed, tokenizer: Tokenizer) -> dict[Part, Held]:
    """The numbers of each part; a document without tokens is left out."""
    counted = dict.fromkeys(PARTS, 0)
    with ExitStack() as stack:
        writers = {part: stack.enter_context(RaggedWriter(np.int32)) for part in PARTS}
        for part, pieces in placed:
            waiting: Array | None = None  # a document's last piece, which its end goes to
            for piece in pieces:
                counted[part] += len(piece)
                numbers = tokenizer.encode(piece)  # (length,)
                if len(numbers):
                    if waiting is not None:
                        writers[part].append(waiting)
                    waiting = numbers
            if waiting is not None:
                writers[part].append(np.append(waiting, np.int32(END)))
        return {part: Held(writer.finish(), counted[part]) for part, writer in writers.items()}


# ---- what a document is --------------------------------------------------------------------------------------------


def _decided(texts: Sequence[Document | Given], config: LanguageConfig) -> tuple[LanguageConfig, list[str]]:
    """The settings with a choice between files and lines, and what is to be said of it."""
    if config.documents != "auto":
        return config, []
    lines = len(texts) == 1 and _is_list(texts[0].lines())
    if lines:
        said = f"every line is a document: none is blank or has more than {_SHORT} characters (else --documents files)"
    else:
        said = "one stream of text, in which the state is carried on (for lines by themselves: --documents lines)"
    return replace(config, documents="lines" if lines else "files"), [said]


def _is_list(lines: Iterable[str]) -> bool:
    count = 0
    for line in lines:
        if not line.strip() or len(line) > _SHORT:
            return False
        count += 1
    return count > 1


def _completed(config: LanguageConfig, min_count: int, vocabulary: int) -> LanguageConfig:
    """The settings that depend on the tokens."""
    words = config.tokens == "words"
    adaptive = (
        config.adaptive if config.adaptive is not None else words and not config.tied and vocabulary >= _ADAPTIVE_FROM
    )
    tied = config.tied if config.tied is not None else config.tokens != "characters" and not adaptive
    window = config.window or _WINDOWS[config.tokens]
    return replace(config, min_count=min_count, adaptive=adaptive, tied=tied, window=window)


# ---- which part it is in -------------------------------------------------------------------------------------------


def _division(
    texts: Sequence[Document | Given], config: LanguageConfig, shares: Sequence[float]
) -> Callable[[], Placed]:
    """What goes through all documents and says the part of each; called as often as they are wanted.

    Raises:
        DataError: there is no text.
    """
    if config.documents == "lines":
        return _lines_divided(texts, shares)
    return _stream_divided(texts, shares)


def _lines_divided(texts: Sequence[Document | Given], shares: Sequence[float]) -> Callable[[], Placed]:
    """Lines at random, always the same, equal ones together. Blank ones are no documents."""
    keys = np.unique(np.fromiter((_key(line) for line in _filled(texts)), np.uint64))  # (S,) of different lines
    if not len(keys):
        raise _empty(texts)
    bounds = _bounds(shares, len(keys))

    def placed() -> Placed:
        for line in _filled(texts):
            yield _part(bounds, int(np.searchsorted(keys, np.uint64(_key(line))))), iter([line])

    return placed


def _filled(texts: Sequence[Document | Given]) -> Iterator[str]:
    return (line for text in texts for line in text.lines() if line.strip())


def _key(line: str) -> int:
    """A number that is spread evenly over 64 bits, whatever the line."""
    return int.from_bytes(blake2b(line.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _stream_divided(texts: Sequence[Document | Given], shares: Sequence[float]) -> Callable[[], Placed]:
    """The text in its order. A document that would lie in two parts is cut at the end of a line, unless there are many.

    A line longer than that is cut at a space.
    """
    total = sum(len(piece) for text in texts for piece in _pieces(text))
    if not total:
        raise _empty(texts)
    bounds, whole = _bounds(shares, total), len(texts) >= _MANY

    def placed() -> Placed:
        done = 0  # characters

        def located(text: Document | Given) -> Iterator[tuple[Part, str]]:
            nonlocal done
            part = _part(bounds, done)
            for piece in _pieces(text):
                part = part if whole else _part(bounds, done)
                done += len(piece)
                yield part, piece

        for text in texts:
            for part, group in groupby(located(text), key=itemgetter(0)):
                yield part, map(itemgetter(1), group)

    return placed


def _pieces(text: Document | Given) -> Iterator[str]:
    """Its lines with their ends, very long ones in pieces, of which each but the first begins with a space."""
    for line in text.lines(keep_ends=True):
        while len(line) > _LONG:
            cut = line.rfind(" ", 1, _LONG)
            cut = cut if cut > 0 else _LONG
            yield line[:cut]
            line = line[cut:]
        yield line


def _bounds(shares: Sequence[float], total: int) -> tuple[int, int]:
    """Where the validation part and the test part begin; each has something if it has a share."""
    validation, test = (max(round(share / sum(shares) * total), 1) if share else 0 for share in shares[1:])
    return total - validation - test, total - test


def _part(bounds: tuple[int, int], at: int) -> Part:
    return PARTS[(at >= bounds[0]) + (at >= bounds[1])]


# ---- what is said --------------------------------------------------------------------------------------------------


def _empty(texts: Sequence[Document | Given]) -> DataError:
    name = texts[0].name if len(texts) == 1 else f"{len(texts)} texts"
    return DataError(f"there is no text in {name}", expected="some characters", fix="name a file that is not empty")


def _notes(config: LanguageConfig, tokenizer: Tokenizer, parts: dict[Part, Held], needed: Sequence[Part]) -> list[str]:
    """What the parts hold.

    Raises:
        DataError: nothing is in a part that is needed.
    """
    kind = {"files": "documents", "lines": "lines"}[config.documents]
    counts = ", ".join(f"{len(parts[part].values):,} {part}" for part in needed)
    if empty := [part for part in needed if not len(parts[part].values)]:
        raise DataError(
            f"there is too little text: none for the {empty[0]} part",
            expected="some lines for each part", got=f"{config.tokens} by part: {counts}",
            fix="give more text, or other shares with --split",
        )  # fmt: skip
    held = ", ".join(f"{parts[part].documents:,} {part}" for part in needed)
    notes = [f"{config.tokens}, ends among them: {counts}; {kind}: {held}; vocabulary {len(tokenizer):,}"]
    notes += [f"unknown in the {part} part: {parts[part].unknown:.2%} of its {config.tokens}, scored as one token"
              for part in needed if parts[part].unknown > 0]  # fmt: skip
    return notes
