"""Word vectors from a file in the text format of word2vec and GloVe: a word and its numbers in each line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from gatelab.core.errors import DataError
from gatelab.data.lines import documents

Array = np.ndarray


class Found(NamedTuple):
    """The vectors of the words that were looked for."""

    vectors: Array  # (F, E) float32
    which: Array  # (F,) int64 the number that the caller gave each word


def read_vectors(source: str, wanted: Mapping[str, int]) -> Found:
    """The vectors of ``wanted`` words, read line by line: a file larger than memory will do.

    A first line of two numbers, how many words and how long, is word2vec's; GloVe's files have none. A word may have
    spaces in it: as many numbers as the vectors are long stand at the end of the line. Of a word that comes twice the
    first vector counts.

    Args:
        source: a text file, plain, ``.gz`` or the only member of a ``.zip``.
        wanted: a number for each word.

    Raises:
        InputError: no such file.
        DataError: a line of another length or with something that is no number; or not one word was found.
    """
    file = documents(source, suffix="")[0]
    found: dict[int, Array] = {}
    size: int | None = None
    for number, line in enumerate(file.lines(), 1):
        cells = line.rstrip().split(" ")
        if number == 1 and len(cells) == 2 and all(cell.isdecimal() for cell in cells):
            size = int(cells[1])
            continue
        size = len(cells) - 1 if size is None else size
        word = " ".join(cells[:-size])
        if len(cells) <= size or size < 1 or not word:
            raise _wrong(file.name, number, f"a word and {max(size, 1)} numbers", f"{len(cells)} cells")
        if word in wanted and wanted[word] not in found:
            found[wanted[word]] = _numbers(cells[-size:], file.name, number)
    if not found:
        raise DataError(
            f"{file.name} has a vector for none of the {len(wanted):,} words of the training part",
            fix="use vectors of the same language, with --lower if they are in lower case",
        )
    order = sorted(found)
    return Found(np.stack([found[at] for at in order]), np.array(order, np.int64))


def _numbers(cells: list[str], name: str, line: int) -> Array:
    try:
        vector = np.array([float(cell) for cell in cells], np.float32)  # (E,)
    except ValueError:
        raise _wrong(name, line, "numbers after the word", " ".join(cells)[:60]) from None
    if not np.isfinite(vector).all():
        raise _wrong(name, line, "finite numbers", " ".join(cells)[:60])
    return vector


def _wrong(name: str, line: int, expected: str, got: str) -> DataError:
    return DataError(
        f"{name}, line {line} is no vector", expected=expected, got=got, fix="mend the line, or leave it out"
    )
