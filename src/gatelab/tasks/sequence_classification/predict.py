"""Classes of new sequences, and which steps made them so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gatelab.data.label_types import as_given
from gatelab.tasks.sequence_classification.figures import because

if TYPE_CHECKING:
    from gatelab.tasks.sequence_classification.task import SequenceClassification

Array = np.ndarray
_EXPLAINED_STEPS = 20_000


def predict_sequences(task: SequenceClassification, model: Any, source: Any) -> pd.DataFrame:
    """The class of each sequence of a source.

    Args:
        task: the task the model was trained on.
        model: a trained network.
        source: as ``read_sequences`` takes it, with the channels of the training; labels are not needed. A table
            without a column of ids is one sequence.

    Returns:
        A row for each sequence: ``sequence`` (its id, or its number from 1), ``truth`` where the source says it,
        ``class``, ``probability``, ``because of`` (the steps that moved the network most towards that class or away
        from it, in nats; for the first sequences alone, up to 20,000 steps in all), and the probability of each class
        in ``p(NAME)``. ``attrs["brief"]`` has the columns that matter most.

    Raises:
        InputError: no such file or column.
        DataError: the source holds no sequences, or sequences of other channels.
    """
    found = task.read_like(source)
    x = task.encode(found.sequences)
    probability = np.exp(task.log_probabilities(model, x))  # (N, K)
    said = probability.argmax(axis=1)  # (N,)
    lengths = found.sequences.values.lengths  # (N,)
    explained = int((np.cumsum(lengths) <= _EXPLAINED_STEPS).sum())
    values = task.contributions(model, x[:explained], said[:explained])
    reasons = [because(entry, task.scaling.join, int(T)) for entry, T in zip(values, lengths, strict=False)]
    told: dict[str, Any] = {"sequence": list(found.names)}
    if found.labels is not None:
        told["truth"] = as_given(found.labels, found.label_type)
    told["class"] = [task.labels.values[at] for at in said]
    told["probability"] = probability.max(axis=1)
    told["because of"] = reasons + [""] * (len(x) - explained)
    predicted = pd.DataFrame(told | {f"p({name})": probability[:, at] for at, name in enumerate(task.labels.names)})
    notes = [*found.notes, *task.said_of([found.sequences])]
    if explained < len(x):
        notes.append(f"steps are named for the first {explained:,} sequences alone")
    predicted.attrs = {"brief": list(told), "notes": notes}
    return predicted
