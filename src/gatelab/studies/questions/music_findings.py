"""The statistics of the study of music: from one row a trial to plain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from gatelab.studies.experiment import values
from gatelab.studies.statistics import described

CHOSEN = ("learning_rate", "recurrent_dropout")
METRIC = "NLL"
GROUP = ["source", "parameters", "dropped"]
"""What cells are compared within: the data, the budget, whether there is recurrent dropout."""


def summarise(table: pd.DataFrame) -> dict[str, Any]:
    """All findings; ``table`` has ``validation.NLL``, ``test.NLL`` and ``history`` beside the conditions."""
    trained, simple = table[table["kind"] == "train"], table[table["kind"] == "baseline"]
    trained = trained.assign(dropped=trained["recurrent_dropout"] > 0)
    return {
        "groups": [
            {"source": str(source), "parameters": int(parameters), "dropped": bool(dropped),
             "epochs": int(rows["epochs"].iloc[0]), "cells": _cells(rows)}
            for (source, parameters, dropped), rows in trained.groupby(GROUP)
        ],
        "baselines": {
            str(source): {str(row["baseline"]): float(row[f"test.{METRIC}"]) for _, row in rows.iterrows()}
            for source, rows in (simple.groupby("source", sort=False) if len(simple) else ())
        },
    }  # fmt: skip


def _cells(rows: pd.DataFrame) -> dict[str, Any]:
    return {str(cell): _cell(trials) for cell, trials in rows.groupby("cell", sort=False)}


def _cell(trials: pd.DataFrame) -> dict[str, Any]:
    first = trials.iloc[0]
    return {
        "test": described(values(trials, f"test.{METRIC}")),
        "validation": described(values(trials, f"validation.{METRIC}")),
        "accuracy": described(values(trials, "test.accuracy")),
        "parameters": int(first["measured.parameters"]),
        "hidden_size": int(first["hidden_size"]),
        "chosen": {name: float(first[name]) for name in CHOSEN},
        "seconds": float(trials["train_seconds"].mean()),
        "curve": curve(trials["history"]),
    }


def curve(histories: pd.Series) -> dict[str, Sequence[float]]:
    """Mean validation and training loss of each epoch over seeds, as far as every seed went."""
    epochs = min(map(len, histories))
    losses = {
        name: np.array([[record[f"{name}_loss"] for record in history[:epochs]] for history in histories])
        for name in ("train", "validation")
    }  # (S, E) each
    return {name: loss.mean(axis=0).round(4).tolist() for name, loss in losses.items()}
