"""The statistics of the study of large scale: from one row a trial to plain values, part by part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from gatelab.studies.experiment import values
from gatelab.studies.questions.large_scale_series import COLUMNS, TIMES, out_of_reach
from gatelab.studies.statistics import Values, bootstrap, described, estimate, pairwise

LEARNED = 0.1
"""A mean counts as learned where no more than this share of its variance is missed."""
NORMS = ("none", "layer norm", "batch norm")


def summarise(table: pd.DataFrame) -> dict[str, Any]:
    """Findings of every part that has a finished trial."""
    return {part: say(rows) for part, say in _PARTS.items() if len(rows := table[table["part"] == part])}


# ---- truncated backpropagation -----------------------------------------------------------------------------------


def _learned(rows: pd.DataFrame) -> dict[str, Any]:
    """The share missed by cell, window and time constant, and for each cell the least window that learned it."""
    shares: list[dict[str, Any]] = []
    for (cell, window), same in rows.astype({"window": int}).groupby(["cell", "window"], sort=False):
        for time in TIMES:
            if missed := _geometric(values(same, f"unexplained.{time}")):
                shares.append({"cell": cell, "window": window, "time": time, **missed})
    return {
        "updates": int(rows["updates"].iloc[0]),
        "shares": shares,
        "reach": {str(time): {str(w): out_of_reach(w, time) for w in _windows(shares)} for time in TIMES},
        "enough": [{"cell": cell, "time": time, "window": _least(shares, cell, time)}
                   for cell in dict.fromkeys(share["cell"] for share in shares) for time in TIMES],
    }  # fmt: skip


def _geometric(by_seed: Values) -> dict[str, Any] | None:
    """The geometric mean and its 95 % t-interval: shares scatter by factors, and none is below zero."""
    found = described({seed: float(np.log(value)) for seed, value in by_seed.items()})
    if found is None:
        return None
    ends = {end: None if found[end] is None else float(np.exp(found[end])) for end in ("mean", "low", "high")}
    return {**found, **ends, "values": {str(seed): value for seed, value in by_seed.items()}}


def _windows(shares: Sequence[Mapping[str, Any]]) -> list[int]:
    return sorted({share["window"] for share in shares})


def _least(shares: Sequence[Mapping[str, Any]], cell: str, time: int) -> int | None:
    windows = [each["window"] for each in shares
               if (each["cell"], each["time"]) == (cell, time) and each["mean"] <= LEARNED]  # fmt: skip
    return min(windows, default=None)


def _bias(rows: pd.DataFrame) -> dict[str, Any]:
    """Relative error and cosine of truncated gradients by cell, moment and window: the median over seeds."""
    found = []
    for cell, same in rows.groupby("cell", sort=False):
        windows = same["windows"].iloc[0]
        for moment in ("start", "end"):
            for at, window in enumerate(windows):
                each = {name: [taken[at][name] for taken in same[moment]] for name in ("error", "cosine")}
                found.append({"cell": cell, "moment": moment, "window": window,
                              **{name: _median(seen) for name, seen in each.items()}})  # fmt: skip
    return {"stretch": int(rows["stretch"].iloc[0]), "gradients": found}


def _median(seen: Sequence[float | None]) -> dict[str, Any] | None:
    known = [value for value in seen if value is not None and np.isfinite(value)]
    return asdict(bootstrap(known)) if known else None


# ---- memory, times ----------------------------------------------------------------------------------------------


def _cost(rows: pd.DataFrame) -> dict[str, Any]:
    row = rows.iloc[0]
    streams, stretch = int(row["streams"]), int(row["stretch"])
    data = stretch * streams * COLUMNS * 4 / 1e6  # float32
    return {"cell": row["cell"], "streams": streams, "stretch": stretch, "data_mb": data, "passes": row["passes"]}


def _disk(rows: pd.DataFrame) -> dict[str, Any]:
    """What each pass added, and by how much memory grew from the shortest series to the longest, by reading."""
    row = rows.iloc[0]
    passes = row["passes"]
    growth = {reading: _growth([each for each in passes if each["reading"] == reading])
              for reading in dict.fromkeys(each["reading"] for each in passes)}  # fmt: skip
    return {"cell": row["cell"], "window": int(row["window"]), "passes": passes, "growth_mb": growth}


def _growth(passes: Sequence[Mapping[str, Any]]) -> float:
    in_order = sorted(passes, key=lambda each: each["length"])
    return in_order[-1]["added_mb"] - in_order[0]["added_mb"]


def _precision(rows: pd.DataFrame) -> dict[str, Any]:
    """How many times the float32 time bfloat16 takes: the median over rounds with its bootstrap interval."""
    found = []
    for _, row in rows.iterrows():
        for each in row["passes"]:
            ratios = np.array(each["bfloat16_ms"]) / np.array(each["float32_ms"])  # (rounds,)
            found.append({
                "cell": row["cell"], "device": row["device"], "layer": each["layer"], "size": each["size"],
                "float32_ms": float(np.median(each["float32_ms"])), "times": asdict(bootstrap(list(ratios))),
                "gradient_error": each.get("gradient_error"),
            })  # fmt: skip
    instructions = {str(row["device"]): row["instructions"] for _, row in rows.iterrows()}
    return {"passes": found, "instructions": instructions}


def _processes(rows: pd.DataFrame) -> dict[str, Any]:
    """Efficiency with the batch shared, and with one for each: the median over epochs with its bootstrap interval."""
    row = rows.iloc[0]
    N, found = int(row["processes"]), []
    for each in row["passes"]:
        alone, shared, larger = (np.array(each[f"{name}_ms"]) for name in ("alone", "shared", "larger"))  # (epochs,)
        found.append({
            "size": each["size"], "gradient_error": each["gradient_error"], "weights_error": each["weights_error"],
            "alone_ms": float(np.median(alone)), "shared_ms": float(np.median(shared)),
            "larger_ms": float(np.median(larger)),
            "shared": asdict(bootstrap(list(alone / shared / N))), "larger": asdict(bootstrap(list(alone / larger))),
        })  # fmt: skip
    beside = {"cores": int(row["cores"]), "others": float(row["others"])}
    return {"cell": row["cell"], "processes": N, "batch_size": int(row["batch_size"]), "passes": found, **beside}


# ---- normalisation -----------------------------------------------------------------------------------------------


def _norm(rows: pd.DataFrame) -> dict[str, Any]:
    """Accuracy and losses by cell and normalisation; differences between normalisations, by seed."""
    rows = rows.assign(norm=[NORMS[bool(layer) + 2 * bool(batch)]
                             for layer, batch in zip(rows["layer_norm"], rows["batch_norm"], strict=True)])  # fmt: skip
    found: list[dict[str, Any]] = []
    gaps: list[dict[str, Any]] = []
    for cell, of_cell in rows.groupby("cell", sort=False):
        by_norm = {str(norm): same for norm, same in of_cell.groupby("norm", sort=False)}
        for norm, same in by_norm.items():
            curves = np.array(list(same["validation_loss"]), dtype=float)  # (S, epochs)
            found.append({
                "cell": cell, "norm": norm, "learning_rate": float(same["learning_rate"].iloc[0]),
                "accuracy": described(values(same, "test.accuracy")),
                "curve": [asdict(estimate(list(column))) for column in curves.T],
            })  # fmt: skip
        compared = pairwise({norm: values(same, "test.accuracy") for norm, same in by_norm.items()})
        gaps += [{"cell": cell, **asdict(gap), "found": gap.found} for gap in compared]
    return {"conditions": found, "differences": gaps}


def _norm_cost(rows: pd.DataFrame) -> dict[str, Any]:
    """How many times the plain layer's step each normalisation takes: the median over rounds."""
    found = []
    for _, row in rows.iterrows():
        plain, *others = (np.array(row[f"step_ms.{norm}"]) for norm in NORMS)  # (rounds,) each
        found += [{"cell": row["cell"], "norm": norm, "plain_ms": float(np.median(plain)),
                   "times": asdict(bootstrap(list(taken / plain)))}
                  for norm, taken in zip(NORMS[1:], others, strict=True)]  # fmt: skip
    return {"steps": found}


_PARTS: Mapping[str, Callable[[pd.DataFrame], dict[str, Any]]] = {
    "learned": _learned,
    "bias": _bias,
    "cost": _cost,
    "disk": _disk,
    "norm": _norm,
    "norm_cost": _norm_cost,
    "precision": _precision,
    "processes": _processes,
}
