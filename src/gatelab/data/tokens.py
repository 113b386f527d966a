"""From text to numbers and back: characters, words or subwords, learned on the training part alone.

Number 0 is whatever the training part did not have, number 1 the end of a document; tokens begin at 2. Text that is cut
at the ends of its lines gives the same tokens as the whole: no token but a line break itself crosses one.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from gatelab.core.config import require
from gatelab.data.merging import Pair, apply_merges, learn_merges

Array = np.ndarray
Kind = Literal["characters", "words", "subwords"]
UNKNOWN, END, RESERVED = 0, 1, 2
"""Numbers of what was not in the training part and of the end of a document; the first token's."""
_UNKNOWN_TEXT = "\N{REPLACEMENT CHARACTER}"
_NO_SPACE_BEFORE = frozenset(".,;:!?)]}%…”\n")
_NO_SPACE_AFTER = frozenset("([{$“\n")
_LONGEST_CHUNK = 32  # characters of a chunk that subwords are found in
_CACHED = 1 << 16


class Piece(NamedTuple):
    """A token where it stands in a text."""

    text: str
    """As the vocabulary has it: in lower case where the tokenizer makes it so."""
    start: int
    """Where it begins in the text: ``text[start:end]`` is the piece as it is written."""
    end: int


@dataclass(frozen=True)
class Tokenizer:
    """What the tokens of a text are, and their numbers.

    ``characters`` are Unicode code points. ``words`` are words, numbers, endings such as ``'s`` after a word, single
    marks and line breaks; other white space is left out, and ``decode`` puts spaces where English has them.
    ``subwords`` are frequent parts of words, found by byte pair encoding (``gatelab.data.merging``), a space going
    with the word after it: with them and with characters ``decode(encode(text)) == text`` if no piece is unknown.
    """

    kind: Kind
    tokens: tuple[str, ...]
    """Their texts: that of number ``RESERVED + n`` is ``tokens[n]``."""
    merges: tuple[Pair, ...] = ()
    """Of subwords: which neighbours are one token, in the order in which they are merged."""
    lower: bool = False
    """Whether upper and lower case are the same."""
    _ids: dict[str, int] = field(init=False, repr=False, compare=False)
    _ranks: dict[Pair, int] = field(init=False, repr=False, compare=False)
    _chunks: dict[str, list[str]] = field(init=False, repr=False, compare=False)  # tokens of chunks met before

    def __post_init__(self) -> None:
        require(self.kind in get_args(Kind), "tokens", f"one of {', '.join(get_args(Kind))}", self.kind)
        object.__setattr__(self, "_ids", {text: number for number, text in enumerate(self.tokens, RESERVED)})
        object.__setattr__(self, "_ranks", {pair: rank for rank, pair in enumerate(self.merges)})
        object.__setattr__(self, "_chunks", {})

    @classmethod
    def learn(
        cls,
        texts: Iterable[str],
        kind: Kind = "words",
        *,
        size: int | None = None,
        min_count: int = 1,
        lower: bool = False,
    ) -> Tokenizer:
        """The tokenizer of a training part, which is read once; equally frequent tokens are taken by code point.

        Args:
            texts: documents or lines.
            kind: what a token is.
            size: most numbers in all (V), the two reserved ones among them; the most frequent tokens are kept. None:
                all, and for subwords 4,000.
            min_count: a token (for subwords: a character) that occurs less often is unknown.
            lower: make no difference between upper and lower case.

        Raises:
            InputError: no such kind, or a size with no room for a token.
        """
        require(size is None or size > RESERVED, "vocabulary", f"above {RESERVED}, or none", size)
        require(min_count >= 1, "min_count", "at least 1", min_count)
        empty = cls(kind, (), lower=lower)
        room = None if size is None else size - RESERVED
        if kind != "subwords":
            return cls(kind, _frequent(_counted(empty, texts), room, min_count), lower=lower)
        chunks = _counted(empty, texts)
        characters: Counter[str] = Counter()
        for chunk, times in chunks.items():
            for character in chunk:
                characters[character] += times
        room = 4000 - RESERVED if room is None else room
        alphabet = _frequent(characters, room, min_count)
        known = set(alphabet)
        usable = {chunk: times for chunk, times in chunks.items() if known.issuperset(chunk)}
        merges = learn_merges(usable, room - len(alphabet))
        # Two ways of merging may lead to the same text, which is one token.
        return cls(kind, tuple(dict.fromkeys((*alphabet, *map("".join, merges)))), tuple(merges), lower)

    def __len__(self) -> int:
        """Numbers in all (V): the tokens, the unknown and the end."""
        return RESERVED + len(self.tokens)

    # ---- text to numbers --------------------------------------------------------------------------------------------

    def split(self, text: str) -> list[Piece]:
        """The tokens of a text and where they stand, known or not; those of words leave white space out."""
        if self.kind == "characters":
            return [Piece(self._cased(character), at, at + 1) for at, character in enumerate(text)]
        found = [(match[0], match.start()) for match in _pattern(self.kind).finditer(text)]
        if self.kind == "words":
            return [Piece(self._cased(word), start, start + len(word)) for word, start in found]
        return [piece for chunk, start in found for piece in self._subwords(chunk, start)]

    def encode(self, text: str) -> Array:
        """The numbers of a text's tokens, ``(N,)`` int32; without an end, which only the caller knows."""
        get = self._ids.get
        return np.array([get(token, UNKNOWN) for token in self._texts(text)], dtype=np.int32)  # (N,)

    def unknown(self, text: str) -> list[Piece]:
        """The pieces of a text that have no number of their own."""
        return [piece for piece in self.split(text) if piece.text not in self._ids]

    def _texts(self, text: str) -> Iterator[str]:
        """The texts of ``split``, without the places, which take most of its time."""
        if self.kind == "characters":
            return map(self._cased, text) if self.lower else iter(text)
        found = (match[0] for match in _pattern(self.kind).finditer(text))
        if self.kind == "words":
            return map(self._cased, found)
        return (token for chunk in found for token in self._parts(self._cased(chunk)))

    def _subwords(self, chunk: str, start: int) -> Iterator[Piece]:
        lowered = self._cased(chunk)
        whole = len(lowered) == len(chunk)  # lower case of a few letters is longer: then the chunk stands for its parts
        at = start
        for part in self._parts(lowered):
            yield Piece(part, at, at + len(part)) if whole else Piece(part, start, start + len(chunk))
            at += len(part)

    def _parts(self, chunk: str) -> list[str]:
        found = self._chunks.get(chunk)
        if found is None:
            if len(self._chunks) >= _CACHED:
                self._chunks.clear()
            found = self._chunks[chunk] = apply_merges(chunk, self._ranks) if self._ranks else list(chunk)
        return found

    def _cased(self, text: str) -> str:
        return text.lower() if self.lower else text

    # ---- numbers to text --------------------------------------------------------------------------------------------

    def decode(self, ids: Iterable[int], after: int | None = None) -> str:
        """The text of numbers; an end has none, and what is unknown stands as U+FFFD.

        Args:
            ids: numbers below ``len(self)``.
            after: the number before them, if any, where their text is to be written after that one's: with words it
                says whether a space comes first. Text may so be written one token at a time.
        """
        if self.kind != "words":
            return "".join(self._written(number) for number in ids)
        found: list[str] = []
        before = None if after is None else self._written(after)
        for number in ids:
            text = self._written(number)
            found.append((" " if _spaced(before, text) else "") + text)
            before = text
        return "".join(found)

    def name(self, number: int) -> str:
        """What to call a number in a table: its text, ``⟨unknown⟩`` or ``⟨end⟩``."""
        return ("⟨unknown⟩", "⟨end⟩")[number] if number < RESERVED else self.tokens[number - RESERVED]

    def _written(self, number: int) -> str:
        return (_UNKNOWN_TEXT, "")[number] if number < RESERVED else self.tokens[number - RESERVED]

    # ---- to a run folder and back -----------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
        merges = [list(pair) for pair in self.merges]
        return {"kind": self.kind, "lower": self.lower, "tokens": list(self.tokens), "merges": merges}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Tokenizer:
        """The tokenizer that ``state`` describes."""
        merges = tuple((left, right) for left, right in state["merges"])
        return cls(state["kind"], tuple(state["tokens"]), merges, state["lower"])


def _counted(tokenizer: Tokenizer, texts: Iterable[str]) -> Counter[str]:
    """How often each token of the texts occurs; of a tokenizer for subwords, each chunk that they are found in."""
    counts: Counter[str] = Counter()
    for text in texts:
        if tokenizer.kind == "subwords":
            counts.update(tokenizer._cased(match[0]) for match in _pattern("subwords").finditer(text))
        else:
            counts.update(tokenizer._texts(text))
    return counts


def _frequent(counts: Counter[str], room: int | None, min_count: int) -> tuple[str, ...]:
    """The most frequent texts first; half a surrogate pair, which no file can hold, is not among them."""
    usable = [(-times, text) for text, times in counts.items() if times >= min_count and _writable(text)]
    return tuple(text for _, text in sorted(usable)[:room])


def _writable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _spaced(before: str | None, text: str) -> bool:
    """Whether English writes a space between two words or marks."""
    if not before or not text or before in _NO_SPACE_AFTER or text in _NO_SPACE_BEFORE:
        return False
    return not (len(text) > 1 and text[0] in "'’")


@cache
def _pattern(kind: Kind) -> re.Pattern[str]:
    """What ``split`` looks for: whole words and marks, or the chunks in which subwords are found."""
    letter = rf"[\w{_marks()}]"
    mark = rf"[^\w\s{_marks()}]"
    if kind == "words":
        return re.compile(rf"\d+(?:[.,]\d+)*(?!{letter})|(?<=\w)['’]{letter}+|{letter}+|{mark}|\n")
    upto = f"{{1,{_LONGEST_CHUNK}}}"
    return re.compile(rf"\n| ?{letter}{upto}| ?{mark}{upto}|[^\S\n]+?(?= \S)|[^\S\n]+")


def _marks() -> str:
    """Accents and vowel signs, which belong to the letter before them, as ranges of a character class."""
    ranges: list[list[int]] = []
    for code in (*range(0x20000), *range(0xE0100, 0xE01F0)):
        if unicodedata.category(chr(code))[0] == "M":
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)
