"""How well a trained model expects new text, line by line."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from gatelab.core.errors import DataError
from gatelab.data.tokens import END, UNKNOWN
from gatelab.tasks.language.corpus import Given, texts_of
from gatelab.tasks.language.passes import text_losses

if TYPE_CHECKING:
    from gatelab.data.lines import Document
    from gatelab.tasks.language.task import Language

Array = np.ndarray


def predict_lines(task: Language, model: Any, source: Any) -> pd.DataFrame:
    """How likely each line of given text is to the model.

    Args:
        task: the task the model was trained on.
        model: a trained ``LanguageNet``.
        source: text as ``corpus.texts_of`` takes it.

    Returns:
        A row for each line that holds a token: ``document`` and ``line`` from 1, ``text``, ``tokens`` that were
        predicted (an end of the document among them, where it ends there), ``unknown`` ones among them, their mean
        ``NLL`` in nats, ``perplexity``, and ``least_expected``, the token that surprised most. Where lines are
        documents, each is read by itself; else the state is carried on from line to line within a document.

    Raises:
        InputError: no such file or data set.
        DataError: no text, or a byte that is none.
    """
    texts = texts_of(source, task.config.encoding)
    rows = [row for name, lines in _documents(task, texts) for row in _rows(task, model, name, lines)]
    if not rows:
        where = texts[0].name if len(texts) == 1 else "what was given"
        raise DataError(f"there is no text in {where}", fix="give at least one line that is not blank")
    found = pd.DataFrame(rows)
    found.attrs = {"brief": ["line", "text", "tokens", "NLL", "perplexity", "least_expected"], "notes": []}
    return found


class _Line(NamedTuple):
    number: int  # from 1
    text: str
    ids: Array  # (length,) its tokens


def _documents(task: Language, texts: Sequence[Document | Given]) -> Iterator[tuple[str, list[_Line]]]:
    """Each document by the name of its file, and its lines that hold tokens."""
    by_line = task.config.documents == "lines"
    for text in texts:
        found = []
        for number, line in enumerate(text.lines(keep_ends=not by_line), 1):
            if len(ids := task.tokenizer.encode(line)) and (line.strip() or not by_line):
                found.append(_Line(number, line.removesuffix("\n"), ids))
        if by_line:
            yield from ((text.name, [line]) for line in found)
        elif found:
            yield text.name, found


def _rows(task: Language, model: Any, name: str, lines: list[_Line]) -> Iterator[dict[str, Any]]:
    """The rows of one document."""
    ids = np.concatenate([*(line.ids for line in lines), np.array([END], np.int32)])  # (N,)
    (losses,) = text_losses(model, [ids])  # (N,)
    cuts = np.cumsum([len(line.ids) for line in lines])
    cuts[-1] += 1  # the document's end belongs to its last line
    first = 0
    for line, last in zip(lines, cuts.tolist(), strict=True):
        here, nll = ids[first:last], float(losses[first:last].mean())
        yield {
            "document": name,
            "line": line.number,
            "text": line.text,
            "tokens": last - first,
            "unknown": int(np.count_nonzero(here == UNKNOWN)),
            "NLL": nll,
            "perplexity": math.exp(min(nll, 700.0)),
            "least_expected": task.tokenizer.name(int(here[losses[first:last].argmax()])),
        }
        first = last
