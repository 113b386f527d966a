"""Classes of new texts, and which words made them so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gatelab.data.label_types import as_given
from gatelab.data.labelled_texts import read_texts
from gatelab.data.texts import Texts

if TYPE_CHECKING:
    from gatelab.tasks.text_classification.task import TextClassification

Array = np.ndarray
_EXPLAINED = 1_000


def predict_texts(task: TextClassification, model: Any, source: Any) -> pd.DataFrame:
    """The class of each text of a source.

    Args:
        task: the task the model was trained on.
        model: a trained network.
        source: as ``read_texts`` takes it; labels are not needed. Of a file without columns every line is a text.

    Returns:
        A row for each text: ``text``, ``truth`` where the source says it, ``class``, ``probability``, ``because of``
        (the tokens that moved the network most towards that class or away from it, in nats; only where there are at
        most 1,000 texts), and the probability of each class in ``p(NAME)``. ``attrs["brief"]`` has the columns that
        matter most.

    Raises:
        InputError: no such file or column.
        DataError: the source holds no texts.
    """
    config = task.config
    columns = {"text": config.text, "label": config.label}
    found = read_texts(source, **columns, encoding=config.encoding, labelled=False)
    x = task.encode(found.texts)
    probability = np.exp(task.log_probabilities(model, x))  # (N, K)
    said = probability.argmax(axis=1)  # (N,)
    told: dict[str, Any] = {"text": list(found.texts)}
    if any(found.labels):
        told["truth"] = as_given(found.labels, found.label_type)
    told |= {
        "class": [task.labels.values[at] for at in said],
        "probability": probability.max(axis=1),
        "because of": reasons(task, model, found.texts, said) if len(x) <= _EXPLAINED else "",
    }
    told |= {f"p({name})": probability[:, at] for at, name in enumerate(task.labels.names)}
    predicted = pd.DataFrame(told)
    brief = [name for name in ("text", "truth", "class", "probability", "because of") if name in predicted]
    notes = [*found.notes, *([] if len(x) <= _EXPLAINED else [f"words are named for up to {_EXPLAINED:,} texts alone"])]
    predicted.attrs = {"brief": brief, "notes": notes}
    return predicted


def reasons(task: TextClassification, model: Any, texts: Texts, classes: Array) -> list[str]:
    """In words, what in each text moved the network towards the class asked about, or away from it.

    Nothing where a text is very long.
    """
    x = task.encode(texts)
    values = task.brief_contributions(model, x, classes)
    return [task.because(ids, found) for ids, found in zip(x, values, strict=True)]


def explain(task: TextClassification, model: Any, texts: Texts, classes: Array) -> pd.DataFrame:
    """The contribution of every token: a row each with ``text`` (from 0), ``token``, ``start``, ``end``, ``nats``.

    ``start`` and ``end`` say where it stands in its text; a text without tokens has one row for its end.
    """
    values = task.contributions(model, task.encode(texts), classes)
    rows = []
    for at, (text, found) in enumerate(zip(texts, values, strict=True)):
        pieces = [(text[piece.start : piece.end], piece.start, piece.end) for piece in task.tokenizer.split(text)]
        pieces = pieces or [("", len(text), len(text))]
        rows += [(at, *piece, float(value)) for piece, value in zip(pieces, found, strict=True)]
    return pd.DataFrame(rows, columns=["text", "token", "start", "end", "nats"])
