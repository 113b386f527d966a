"""The statistics of the study of gradients: from one row a trial to plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from gatelab.studies.experiment import values
from gatelab.studies.statistics import Difference, bootstrap, described, estimate, pairwise


def summarise(table: pd.DataFrame) -> dict[str, Any]:
    """All findings; ``table`` has ``profiles`` and ``test.accuracy`` beside the conditions."""
    table = table.assign(
        before=[decay(taken[0]["h"]) for taken in table["profiles"]],
        after=[decay(taken[-1]["h"]) for taken in table["profiles"]],
    )
    rows = [_condition(rows) for _, rows in table.groupby("label", sort=False)]
    usual = table[(table["init"] == "torch") & (table["num_layers"] == 1)]
    by_cell = {str(cell): rows for cell, rows in usual.groupby("cell", sort=False)}
    return {
        "length": int(table["length"].iloc[0]),
        "steps": int(table["profiles"].iloc[0][-1]["step"]),
        "conditions": rows,
        "differences": {moment: [asdict(gap) | {"found": gap.found} for gap in _gaps(by_cell, moment)]
                        for moment in ("before", "after")},
        "changes": {cell: asdict(estimate(list(rows["after"] - rows["before"]))) for cell, rows in by_cell.items()},
        "maps": {label: _map(table[table["label"] == label]["profiles"]) for label in _shown(rows)},
        "foretells": _foretells(rows),
    }  # fmt: skip


def decay(profile: Sequence[float | None]) -> float:
    """10 to the slope of the least-squares line through log10 ‖∂L/∂h_k‖ ``(T,)`` over the distance, zeros left out."""
    logs = np.array(profile, dtype=float)  # (T,)
    known = np.isfinite(logs)  # (T,)
    if known.sum() < 2:
        return 0.0
    return float(10 ** np.polyfit(np.flatnonzero(known), logs[known], 1)[0])


def _condition(rows: pd.DataFrame) -> dict[str, Any]:
    first, taken = rows.iloc[0], rows["profiles"]
    return {
        "label": first["label"],
        "cell": first["cell"],
        "init": first["init"],
        "num_layers": int(first["num_layers"]),
        "accuracy": described(values(rows, "test.accuracy")),
        "before": _decays(rows["before"]),
        "after": _decays(rows["after"]),
        "curves": {moment: {state: _curve([found[at][state] for found in taken])
                            for state in taken.iloc[0][at] if state != "step"}
                   for moment, at in (("before", 0), ("after", -1))},
    }  # fmt: skip


def _decays(decays: pd.Series) -> dict[str, Any]:
    return {**asdict(bootstrap(list(decays))), "values": list(decays)}


def _curve(profiles: Sequence[Sequence[float | None]]) -> dict[str, list[float]]:
    """Median and range over seeds of log10 norms ``(S, T)``; what is zero has no logarithm, and is NaN here."""
    logs = np.array(profiles, dtype=float)  # (S, T)
    logs = np.where(np.isfinite(logs), logs, np.nan)  # (S, T)
    return {name: [float(value) for value in reduce(logs, axis=0)]
            for name, reduce in (("median", np.median), ("low", np.min), ("high", np.max))}  # fmt: skip


def _gaps(by_cell: dict[str, pd.DataFrame], moment: str) -> list[Difference]:
    return pairwise({cell: values(rows, moment) for cell, rows in by_cell.items()})


def _shown(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Of each cell the first condition, which is the usual one, and the one that learned most."""
    shown: list[str] = []
    for cell in dict.fromkeys(row["cell"] for row in rows):
        mine = [row for row in rows if row["cell"] == cell and row["accuracy"]]
        shown += [row["label"] for row in (*mine[:1], *sorted(mine, key=lambda row: -row["accuracy"]["mean"])[:1])]
    return list(dict.fromkeys(shown))


def _map(taken: pd.Series) -> dict[str, Any]:
    """log10 ‖∂L/∂h_k‖ less that of the last step: median over seeds, by training step and distance ``(M, T)``."""
    logs = np.array([[moment["h"] for moment in found] for found in taken], dtype=float)  # (S, M, T)
    relative = np.median(logs - logs[:, :, :1], axis=0)  # (M, T)
    return {"steps": [moment["step"] for moment in taken.iloc[0]], "log10": relative.round(3).tolist()}


def _foretells(rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Spearman's rank correlation over conditions: how far the decay before training lies from 1, and the accuracy."""
    pairs = [(abs(np.log(max(row["before"]["mean"], 1e-300))), row["accuracy"]["mean"])
             for row in rows if row["accuracy"]]  # fmt: skip
    if len(pairs) < 5 or any(np.ptp(column) == 0 for column in zip(*pairs, strict=True)):
        return None
    found = stats.spearmanr(*zip(*pairs, strict=True))
    return {"rho": float(found.statistic), "p": float(found.pvalue), "conditions": len(pairs)}
