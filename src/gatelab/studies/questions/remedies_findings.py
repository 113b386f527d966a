"""The statistics of the studies of long memory: from one row a trial to plain values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from gatelab.studies.experiment import values
from gatelab.studies.statistics import Values, described, pairwise


class Treatment(NamedTuple):
    """Which remedies are applied."""

    chrono: bool
    mixed: bool


TREATMENTS: Mapping[str, Treatment] = {
    "as usual": Treatment(chrono=False, mixed=False),
    "chrono": Treatment(chrono=True, mixed=False),
    "mixed lengths": Treatment(chrono=False, mixed=True),
    "chrono and mixed lengths": Treatment(chrono=True, mixed=True),
}
_GROUP = ["length", "treatment", "cell"]


def treatment_of(init: str, shortest: float | None) -> str:
    """The name of what a condition does."""
    found = Treatment(chrono="chrono" in init, mixed=shortest is not None and not np.isnan(shortest))
    return next(name for name, treatment in TREATMENTS.items() if treatment == found)


def summarise(table: pd.DataFrame, metric: str, bar: Callable[[int], float]) -> dict[str, Any]:
    """All findings; ``table`` has ``test.<metric>`` and ``history`` beside the conditions."""
    trained, simple = table[table["kind"] == "train"], table[table["kind"] == "baseline"]
    if not len(trained):
        return {}
    named = [treatment_of(*pair) for pair in zip(trained["init"], trained["shortest"], strict=True)]
    groups = dict(iter(trained.assign(treatment=named).groupby(_GROUP, sort=False)))
    logs = {key: _logs(rows, f"test.{metric}") for key, rows in groups.items()}
    return {
        "conditions": [{**_key(key), **_condition(rows, metric, bar(int(key[0])))} for key, rows in groups.items()],
        "baselines": [{"length": int(row["length"]), "name": row["baseline"], "value": float(row[f"test.{metric}"])}
                      for _, row in simple.iterrows()],
        "effects": list(_effects(logs, among="treatment")),
        "cells": list(_effects(logs, among="cell")),
    }  # fmt: skip


def _key(key: Any) -> dict[str, Any]:
    length, treatment, cell = key
    return {"length": int(length), "treatment": treatment, "cell": cell}


def _condition(rows: pd.DataFrame, metric: str, bar: float) -> dict[str, Any]:
    test, first = values(rows, f"test.{metric}"), rows.iloc[0]
    return {
        "log10": described(_logs(rows, f"test.{metric}")),
        "solved": sum(value < bar for value in test.values()),
        "seeds": len(test),
        "accuracy": described(values(rows, "test.accuracy")) if "test.accuracy" in rows else None,
        "parameters": int(first["measured.parameters"]),
        "hidden_size": int(first["hidden_size"]),
        "learning_rate": float(first["learning_rate"]),
        "steps": int(first["steps"]),
        "seconds": float(rows["train_seconds"].mean()),
        "curve": _curve(rows["history"]),
    }


def _logs(rows: pd.DataFrame, name: str) -> Values:
    """log10 of a measure by seed."""
    return {seed: float(np.log10(value)) for seed, value in values(rows, name).items() if value > 0}


def _curve(histories: pd.Series) -> dict[str, Sequence[float]]:
    """Validation loss at the end of each epoch: geometric mean and range over seeds."""
    losses = np.array([[record["validation_loss"] for record in history] for history in histories])  # (S, E)
    ends = {"mean": np.exp(np.log(losses).mean(axis=0)), "low": losses.min(axis=0), "high": losses.max(axis=0)}
    return {"step": [record["step"] for record in histories.iloc[0]],
            **{name: [float(f"{value:.4g}") for value in end] for name, end in ends.items()}}  # fmt: skip


def _effects(logs: Mapping[Any, Values], among: str) -> Iterator[dict[str, Any]]:
    """Differences of log10 seed by seed between conditions that differ in ``among`` alone, with Holm's correction."""
    at = _GROUP.index(among)
    others = dict.fromkeys((*key[:at], *key[at + 1 :]) for key in logs)
    for rest in others:
        same = {key[at]: found for key, found in logs.items() if (*key[:at], *key[at + 1 :]) == rest}
        fixed = dict(zip([name for name in _GROUP if name != among], rest, strict=True))
        for gap in pairwise(same):
            yield {**fixed, "length": int(rest[0]), **asdict(gap), "found": gap.found}
