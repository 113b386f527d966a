"""The statistics of the study of applications: from one row a trial to plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from gatelab.studies.experiment import values
from gatelab.studies.questions.applications_table import missing
from gatelab.studies.questions.comparison_findings import ratio, ratios
from gatelab.studies.questions.music_findings import curve
from gatelab.studies.statistics import against, described


def summarise(table: pd.DataFrame) -> dict[str, Any]:
    """All findings; ``table`` has what ``applications.measure`` measures beside the conditions."""
    trained, simple = table[table["kind"] == "train"], table[table["kind"] == "baseline"]
    sets = [_application(str(name), rows, simple[simple["data"] == name])
            for name, rows in trained.groupby("data", sort=False)]  # fmt: skip
    return {
        "applications": sets,
        "ratios": ratios(sets, "error"),
        "beside": [found for each in sets for found in _beside(each)],
        "missing": missing(each["field"] for each in sets),
    }


def _application(name: str, rows: pd.DataFrame, simple: pd.DataFrame) -> dict[str, Any]:
    first = rows.iloc[0]
    return {
        "data": name,
        "field": str(first["field"]),
        "metric": {entry: str(first[f"metric.{entry}"]) for entry in ("name", "goal", "unit")},
        "epochs": int(first["epochs"]),
        "cells": {str(cell): _cell(trials) for cell, trials in rows.groupby("cell", sort=False)},
        "simple": {
            str(row["baseline"]): {"reached": float(row["reached"]), "error": float(row["error"])}
            for _, row in simple.iterrows()
        },
    }


def _cell(trials: pd.DataFrame) -> dict[str, Any]:
    first = trials.iloc[0]
    return {
        "reached": described(values(trials, "reached")),
        "error": described(values(trials, "error")),
        "parameters": int(first["measured.parameters"]),
        "hidden_size": int(first["hidden_size"]),
        "learning_rate": float(first["learning_rate"]),
        "train_seconds": float(trials["train_seconds"].mean()),
        "curve": curve(trials["history"]),
    }


def _beside(each: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every cell's error over that of the simple method that is best on the test part: ratios as of two cells."""
    known = {cell: found["error"]["values"] for cell, found in each["cells"].items() if found["error"]}
    if not known or not each["simple"]:
        return []
    best = min(each["simple"], key=lambda name: each["simple"][name]["error"])
    mark = float(np.log(each["simple"][best]["error"]))
    logs = {cell: {int(seed): float(np.log(value)) for seed, value in by_seed.items()}
            for cell, by_seed in known.items()}  # fmt: skip
    return [ratio(gap, each["data"]) for gap in against(logs, best, mark)]
