"""Cross-validation: every item is tested on once, by a network that was not trained on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedKFold

from gatelab.core.config import ModelConfig, require
from gatelab.core.errors import DataError
from gatelab.core.random import integer_seed
from gatelab.core.task import Part
from gatelab.report.text import label as one_line
from gatelab.tasks.classifying.labels import divide
from gatelab.tasks.folding import score_fold

Array = np.ndarray


def cross_validate(
    kind: Any,
    source: Any,
    config: Any,
    model: ModelConfig,
    training: Mapping[str, Any],
    *,
    folds: int,
    folder: Path,
    seed: int = 0,
    listeners: Any = (),
) -> pd.DataFrame:
    """Trains and scores ``folds`` times, each time on another part of the items, beside every baseline on the same.

    Args:
        kind: a subclass of ``Classification``.
        source: items with their labels.
        config: the task's settings; of ``split`` the proportion of training to validation counts.
        model: the network.
        training: settings of ``TrainingConfig`` that are given; the others suit each fold.
        folds: how many.
        folder: where the run folders of the folds go.
        seed: of every fold's network.
        listeners: told of every training.

    Returns:
        One row for each fold and method: fold, train_rows, test_rows, method, and every metric.

    Raises:
        InputError: fewer than two folds.
        DataError: a class has fewer items than there are folds, or what ``kind.read`` refuses.
    """
    require(folds >= 2, "folds", "at least 2: each is tested on by a network trained on the others", folds)
    read, records = kind.read(source, config), []
    for number, which in enumerate(folded(read.labels, folds, config.split, config.draw), 1):
        parts = {part: read.take(items) for part, items in which.items()}
        task = kind.of_parts(parts, config, read.notes)
        facts = {"fold": number, "train_rows": len(which["train"]), "test_rows": len(which["test"])}
        place = folder / f"fold-{number}"
        records += score_fold(task, model, training, facts, folder=place, seed=seed, listeners=listeners)
    return pd.DataFrame(records)


def folded(labels: Sequence[str], folds: int, shares: Sequence[float], draw: int = 0) -> Iterator[dict[Part, Array]]:
    """The indices of each part in each fold; every class has its share in each, and every item is tested on once.

    Args:
        labels: of all items (N).
        folds: how many.
        shares: of training and validation among what is not tested on.
        draw: number of the division.

    Raises:
        DataError: a class has fewer items than there are folds.
    """
    rarest, count = Counter(labels).most_common()[-1]
    if count < folds:
        raise DataError(
            f"the class {one_line(rarest)!r} has {count} items, which is too few for {folds} folds",
            fix=f"ask for at most {count} --folds, or give more items of that class",
        )
    chance = integer_seed(draw, "classification", "folds") % 2**32  # as far as scikit-learn's seeds go
    splitter = StratifiedKFold(folds, shuffle=True, random_state=chance)
    for known, test in splitter.split(np.zeros(len(labels)), list(labels)):
        inner = divide([labels[at] for at in known], shares[:2], draw)
        yield {"train": known[inner["train"]], "validation": known[inner["validation"]], "test": test}
