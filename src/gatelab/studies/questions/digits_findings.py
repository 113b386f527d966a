"""The statistics of the study of digits: from one row a trial to plain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from gatelab.studies.experiment import values
from gatelab.studies.statistics import described

READING = ["source", "by", "permuted"]


def summarise(table: pd.DataFrame) -> dict[str, Any]:
    """All findings; ``table`` has ``test.accuracy`` and ``history`` beside the conditions."""
    trained, simple = table[table["kind"] == "train"], table[table["kind"] == "baseline"]
    return {
        "readings": [
            {
                **_named(key),
                "cells": {str(cell): _cell(trials) for cell, trials in rows.groupby("cell", sort=False)},
                "baselines": _baselines(simple, key),
            }
            for key, rows in trained.groupby(READING, sort=False)
        ]
    }


def _named(key: Any) -> dict[str, Any]:
    source, by, permuted = key
    return {"source": str(source), "by": str(by), "permuted": bool(permuted)}


def _baselines(simple: pd.DataFrame, key: Any) -> dict[str, float]:
    if not len(simple):
        return {}
    rows = simple[[tuple(row) == tuple(key) for row in simple[READING].itertuples(index=False)]]
    return {str(row["baseline"]): float(row["test.accuracy"]) for _, row in rows.iterrows()}


def _cell(trials: pd.DataFrame) -> dict[str, Any]:
    first = trials.iloc[0]
    return {
        "test": described(values(trials, "test.accuracy")),
        "parameters": int(first["measured.parameters"]),
        "hidden_size": int(first["hidden_size"]),
        "learning_rate": float(first["learning_rate"]),
        "init": str(first["init"]),
        "seconds": float(trials["train_seconds"].mean()),
        "curve": _curve(trials["history"]),
    }


def _curve(histories: pd.Series) -> dict[str, Sequence[float]]:
    """Mean training and validation loss of each epoch over seeds."""
    losses = {
        name: np.array([[record[f"{name}_loss"] for record in history] for history in histories])
        for name in ("train", "validation")
    }  # (S, E) each
    return {name: loss.mean(axis=0).round(5).tolist() for name, loss in losses.items()}
