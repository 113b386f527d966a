"""The statistics of the study of length: from one row a trial to plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from gatelab.studies.experiment import values
from gatelab.studies.statistics import bootstrap, described

HOLDS = 0.5
"""The median skill with which a cell holds at a length."""
SIMPLE: Mapping[str, str] = {"copy": "memoryless", "etth1": "last value"}
"""The simple method that skill is measured from; for every other problem chance."""
_PICTURE = {"row": 8, "pixel": 64}


def steps_of(settings: Mapping[str, Any]) -> int:
    """The length by which a set of data goes: of a problem, of a window, or of a picture."""
    return settings.get("length") or settings.get("lookback") or _PICTURE[settings["by"]]


def summarise(table: pd.DataFrame) -> dict[str, Any]:
    """All findings; ``table`` has what ``comparison_trial`` measures beside the conditions."""
    trained, alone = table[table["kind"] == "train"], table[table["kind"] == "baseline"]
    if not len(trained):
        return {}
    rows = [_condition(trials, _mark(alone, str(data))) for (data, *_), trials in trained.groupby(_GROUP, sort=False)]
    return {"conditions": rows, "holds": _holds(rows), "costs": _costs(alone)}


_GROUP = ["data", "cell", "init"]


def skill(metric: str, error: float, simple: float) -> float:
    """The share of the simple method's error that is gone: 1 where there is none left, below 0 where it is more."""
    return (error - simple) / (1 - simple) if metric == "accuracy" else 1 - error / simple


def _mark(alone: pd.DataFrame, data: str) -> float | None:
    """The error of the simple method on this set of data; none where it is not known."""
    name = f"errors.{SIMPLE.get(data.partition(',')[0], 'chance')}"
    found = alone.loc[alone["data"] == data, name].dropna().tolist() if name in alone else []
    return float(found[0]) if found else None


def _condition(trials: pd.DataFrame, mark: float | None) -> dict[str, Any]:
    first = trials.iloc[0]
    errors = values(trials, "error")
    skills = [] if mark is None else [skill(first["metric"], error, mark) for error in errors.values()]
    return {
        "source": first["settings"]["source"],
        "steps": steps_of(first["settings"]),
        "cell": str(first["cell"]),
        "start": "chrono" if "chrono" in first["init"] else "torch",
        "metric": first["metric"],
        "error": described(errors),
        "simple": mark,
        "skill": asdict(bootstrap(skills)) if skills else None,
        "skills": skills,
        "hidden_size": int(first["hidden_size"]),
        "parameters": int(first["measured.parameters"]),
        "seconds": float(trials["train_seconds"].mean()),
    }


def _holds(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each problem, cell and start the greatest length up to which every median skill is at least ``HOLDS``."""
    found = []
    for source, cell, start in dict.fromkeys((row["source"], row["cell"], row["start"]) for row in rows):
        mine = [row for row in rows if (row["source"], row["cell"], row["start"]) == (source, cell, start)]
        held, longest = 0, max(row["steps"] for row in mine)
        for row in sorted(mine, key=lambda row: row["steps"]):
            if row["skill"] is None or row["skill"]["mean"] < HOLDS:
                break
            held = row["steps"]
        found.append({"source": source, "cell": cell, "start": start, "steps": held, "longest": longest})
    return found


def _costs(alone: pd.DataFrame) -> dict[str, Any]:
    """Milliseconds and megabytes of a training step by cell and length, and the powers of length by which they grow."""
    timed = alone[alone["lengths"].notna()] if "lengths" in alone else alone[:0]
    if timed.empty:
        return {}
    row = timed.iloc[-1]
    steps = [float(length) for length in row["lengths"]]
    costs: dict[str, Any] = {}
    for cell in row["cells"]:
        rounds, memory = np.array(row[f"rounds.{cell}"]), row[f"memory_mb.{cell}"]  # (L, R), (L,)
        times = [bootstrap(list(at)) for at in rounds]
        ends = {"ms": [time.mean for time in times], "low": [time.low for time in times],
                "high": [time.high for time in times]}  # fmt: skip
        powers = {"ms": _power_by_round(steps, rounds), "memory_mb": power(steps, memory)}
        costs[cell] = {"steps": steps, **ends, "memory_mb": memory, "powers": powers}
    return costs


def _power_by_round(steps: Sequence[float], rounds: np.ndarray) -> dict[str, float | None] | None:
    """The slope of log time over log length in each round of ``rounds (L, R)``: median and its interval over rounds."""
    if len(steps) < 3:
        return None
    slopes = np.polyfit(np.log(steps), np.log(rounds), 1)[0]  # (R,)
    found = bootstrap(list(slopes))
    return {"mean": found.mean, "low": found.low, "high": found.high}


def power(steps: Sequence[float], cost: Sequence[float]) -> dict[str, float] | None:
    """The slope of log cost over log length with its 95 % interval: 1 where cost grows in proportion."""
    if len(steps) < 3 or min(cost) <= 0:
        return None
    line = stats.linregress(np.log(steps), np.log(cost))
    half = float(stats.t.ppf(0.975, len(steps) - 2) * line.stderr)
    return {"mean": float(line.slope), "low": float(line.slope) - half, "high": float(line.slope) + half}
