"""The statistics of the comparison: from one row a trial to plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from gatelab.cells.cell import CELLS
from gatelab.studies.experiment import values
from gatelab.studies.questions.comparison_trial import OTHER_PLACE
from gatelab.studies.statistics import Difference, bootstrap, described, estimate, holm, pairwise

_LEAST_MB = 3.0


def summarise(table: pd.DataFrame) -> dict[str, Any]:
    """All findings; ``table`` has what ``comparison_trial`` measures beside the conditions."""
    trained, alone = table[table["kind"] == "train"], table[table["kind"] == "baseline"]
    sets = [_set(str(name), rows, alone[alone["data"] == name]) for name, rows in trained.groupby("data", sort=False)]
    return {
        "sets": sets,
        "ratios": {quantity: ratios(sets, quantity) for quantity in ("error", "steps")},
        "costs": [cost for each in sets for cost in each.pop("cost_ratios")],
        "swapped": _swapped(trained),
    }


def _set(name: str, rows: pd.DataFrame, alone: pd.DataFrame) -> dict[str, Any]:
    first = rows.iloc[0]
    by_cell = {str(cell): trials for cell, trials in rows.groupby("cell", sort=False)}
    level, cost = reachable_level(by_cell), _cost(alone)
    return {
        "data": name,
        "metric": first["metric"],
        "unit": first["unit"],
        "epochs": int(first["settings"]["epochs"]),
        "level": level,
        "steps_of_time": cost.pop("steps"),
        "cost_ratios": cost.pop("ratios", []),
        "cells": {cell: _cell(trials, level) | cost.get(cell, {}) for cell, trials in by_cell.items()},
        "baselines": _baselines(alone),
    }  # fmt: skip


def _cell(trials: pd.DataFrame, level: float) -> dict[str, Any]:
    first = trials.iloc[0]
    reached = {int(row["seed"]): steps_to(level, row["history"]) for _, row in trials.iterrows()}
    last = {int(row["seed"]): row["history"][-1]["step"] for _, row in trials.iterrows()}
    return {
        "error": described(values(trials, "error")),
        "steps": described({seed: last[seed] if steps is None else steps for seed, steps in reached.items()}),
        "reached": sum(steps is not None for steps in reached.values()),
        "finished": len(trials),
        "parameters": int(first["measured.parameters"]),
        "hidden_size": int(first["hidden_size"]),
        "learning_rate": float(first["learning_rate"]),
        "train_seconds": float(trials["train_seconds"].mean()),
        "curve": _curve(trials["history"]),
    }


# ---- steps to level ----------------------------------------------------------------------------------------------


def reachable_level(by_cell: Mapping[str, pd.DataFrame]) -> float:
    """The validation loss that half of the seeds of every gated cell reach; of every cell where none has gates."""
    gated = [rows for cell, rows in by_cell.items() if CELLS[cell].keeps is not None] or list(by_cell.values())
    return max(float(np.median([min(_losses(history)) for history in rows["history"]])) for rows in gated)


def steps_to(level: float, history: Sequence[Mapping[str, Any]]) -> int | None:
    """Optimizer steps until the validation loss first was at ``level`` or below; none where it never was."""
    return next((record["step"] for record, loss in zip(history, _losses(history), strict=True) if loss <= level), None)


def _losses(history: Sequence[Mapping[str, Any]]) -> list[float]:
    return [np.inf if record["validation_loss"] is None else record["validation_loss"] for record in history]


def _curve(histories: pd.Series) -> dict[str, list[float]]:
    """Median and range of the validation loss over seeds, by optimizer step, as far as every seed went."""
    epochs = min(map(len, histories))
    losses = np.array([_losses(history)[:epochs] for history in histories])  # (S, E)
    steps = [float(record["step"]) for record in histories.iloc[0][:epochs]]
    ends = {name: [float(value) for value in reduce(losses, axis=0)]
            for name, reduce in (("median", np.median), ("low", np.min), ("high", np.max))}  # fmt: skip
    return {"steps": steps, **ends}


# ---- ratios of cells ---------------------------------------------------------------------------------------------


def ratios(sets: Iterable[Mapping[str, Any]], quantity: str) -> list[dict[str, Any]]:
    """Every pair of cells on every set of data; for each pair, Holm's correction over the sets of data."""
    found = [(gap, each["data"]) for each in sets for gap in pairwise(_logs(each["cells"], quantity))]
    found.sort(key=lambda entry: (entry[0].a, entry[0].b))
    rows: list[dict[str, Any]] = []
    for _, entries in groupby(found, key=lambda entry: (entry[0].a, entry[0].b)):
        gaps, names = zip(*entries, strict=True)
        rows += [ratio(gap, name) for gap, name in zip(holm(gaps), names, strict=True)]
    return rows


def _logs(cells: Mapping[str, Any], quantity: str) -> dict[str, dict[int, float]]:
    """The logarithm of a quantity by seed, for each cell that has any."""
    return {
        cell: {int(seed): float(np.log(value)) for seed, value in found[quantity]["values"].items() if value > 0}
        for cell, found in cells.items() if found[quantity]
    }  # fmt: skip


def ratio(gap: Difference, data: str) -> dict[str, Any]:
    """``a`` over ``b``: the geometric mean over seeds and its interval, from a difference of logarithms."""
    ends = {end: None if (log := getattr(gap.units, end)) is None else float(np.exp(log))
            for end in ("mean", "low", "high")}  # fmt: skip
    return {"data": data, "a": gap.a, "b": gap.b, **ends, "count": gap.units.count, "p": gap.p, "p_holm": gap.p_holm,
            "found": gap.found}  # fmt: skip


def _swapped(trained: pd.DataFrame) -> list[dict[str, Any]]:
    """The same weights with the reset gate in the other place: error then over error before, by data and cell."""
    found = []
    rows = trained[trained["cell"].isin(list(OTHER_PLACE))]
    for (data, cell), trials in rows.groupby(["data", "cell"], sort=False):
        own, other = values(trials, "error"), values(trials, "swapped")
        logs = [np.log(other[seed] / own[seed]) for seed in own if seed in other]
        if logs:
            moved = ratio(Difference(str(cell), OTHER_PLACE[str(cell)], estimate(logs), 0.0, None), str(data))
            found.append({**moved, "error": described(other)})
    return found


# ---- what is run once --------------------------------------------------------------------------------------------


def _baselines(alone: pd.DataFrame) -> dict[str, float]:
    prefix = "errors."
    names = [name for name in alone.columns if name.startswith(prefix)]
    found = {name.removeprefix(prefix): alone[name].dropna() for name in names}
    return {name: float(values.iloc[0]) for name, values in found.items() if len(values)}


def _cost(alone: pd.DataFrame) -> dict[str, Any]:
    """For each cell milliseconds and MB of a step; ``ratios`` of all pairs, turn by turn; ``steps`` of time."""
    prefix = "rounds."
    timed = alone[alone["steps"].notna()] if "steps" in alone else alone[:0]
    if timed.empty:
        return {"steps": None}
    row = timed.iloc[0]
    rounds = {name.removeprefix(prefix): np.array(row[name], dtype=float) for name in timed.columns
              if name.startswith(prefix) and isinstance(row[name], list)}  # fmt: skip
    costs: dict[str, Any] = {
        cell: {"step_ms": asdict(bootstrap(list(times))), "memory_mb": float(row[f"memory_mb.{cell}"])}
        for cell, times in rounds.items()
    }
    pairs = [(a, b) for a in rounds for b in rounds if a != b]
    ratios = [{"data": row["data"], "a": a, "b": b, **asdict(bootstrap(list(rounds[a] / rounds[b]))),
               "memory": _over(costs[a]["memory_mb"], costs[b]["memory_mb"])} for a, b in pairs]  # fmt: skip
    return {**costs, "steps": int(row["steps"]), "ratios": ratios}


def _over(a: float, b: float) -> float | None:
    """``a / b``; none where one is so little that what the process does besides is in it."""
    return a / b if min(a, b) >= _LEAST_MB else None
