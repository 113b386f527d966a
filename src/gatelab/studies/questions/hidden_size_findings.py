"""The statistics of the study of hidden sizes: from one row a trial to plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from gatelab.studies import sizing
from gatelab.studies.experiment import values
from gatelab.studies.sizing import Curve
from gatelab.studies.statistics import bootstrap, described, pairwise

SHARES = (0.01, 0.02, 0.05)
"""Regrets that a choice may have and still count as near the best."""
ONE_SIZE, BY_EXAMPLES = "one size", "by examples"
_EXPONENTS = {ONE_SIZE: sizing.ONE_SIZE, BY_EXAMPLES: sizing.BY_EXAMPLES}
_LEAST_SERIES = 3


def summarise(table: pd.DataFrame, about: Mapping[str, Any]) -> dict[str, Any]:
    """All findings; ``about`` is what the kept rule says of where it comes from."""
    trained = table[table["kind"] == "train"]
    series = [_series(rows, table) for _, rows in trained.groupby("series", sort=False)]
    series.sort(key=lambda found: found["examples"])
    curves = [_curve(found) for found in series]
    rules = _rules(curves, series) if len(curves) >= _LEAST_SERIES else []
    costs = _costs(table)
    return {
        "series": series,
        "sizes": {str(size): _mean(found) for size, found in _by_size(curves).items()},
        "rules": rules,
        "gain": _gain(rules),
        "costs": costs,
        "suggestion": _suggestion(curves, rules, costs, about) if rules else None,
    }


# ---- errors ------------------------------------------------------------------------------------------------------


def _series(rows: pd.DataFrame, table: pd.DataFrame) -> dict[str, Any]:
    name = rows["series"].iloc[0]
    simple = table[(table["kind"] == "baseline") & (table["series"] == name)]
    simple = simple[simple["baseline"].notna()] if "baseline" in simple else simple[:0]
    return {
        "series": name,
        "examples": int(rows["examples"].iloc[0]),
        "baselines": {row["baseline"]: float(row["test.MASE"]) for _, row in simple.iterrows()},
        "cells": {str(cell): _cell(mine) for cell, mine in rows.groupby("cell", sort=False)},
    }


def _cell(rows: pd.DataFrame) -> dict[str, Any]:
    """Errors by size of one cell on one series, the best size, and the smallest that is as good."""
    by_size = {size: rows[rows["hidden_size"] == size] for size in map(int, sorted(set(rows["hidden_size"])))}
    errors = {size: described(values(mine, "test.MASE")) for size, mine in by_size.items()}
    known = {size: error for size, error in errors.items() if error is not None}
    best = min(known, key=lambda size: known[size]["mean"])
    reach = known[best]["mean"] if known[best]["high"] is None else known[best]["high"]
    tried = {size: float(mine["validation.MASE"].mean()) for size, mine in by_size.items() if size in known}
    return {
        "errors": {str(size): error for size, error in known.items()},
        "parameters": {str(size): int(by_size[size]["parameters"].iloc[0]) for size in known},
        "best": best,
        "enough": min(size for size, error in known.items() if error["mean"] <= reach),
        "on_validation": min(tried, key=lambda size: tried[size]),
    }


def _curve(found: Mapping[str, Any]) -> Curve:
    return sizing.joined(found["series"], found["examples"], [_regrets(cell) for cell in found["cells"].values()])


def _regrets(cell: Mapping[str, Any]) -> dict[int, float]:
    return sizing.regrets({int(size): error["mean"] for size, error in cell["errors"].items()})


def _by_size(curves: Sequence[Curve]) -> dict[int, list[float]]:
    """Regrets of each size that all series have."""
    shared = set.intersection(*(set(curve.regrets) for curve in curves))
    return {size: [curve.regrets[size] for curve in curves] for size in sorted(shared)}


def _mean(values: Sequence[float]) -> dict[str, Any]:
    return {**asdict(bootstrap(values, np.mean)), "values": list(values)}


# ---- rules -------------------------------------------------------------------------------------------------------


def _rules(curves: Sequence[Curve], series: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every way to choose: rules on series that they were not made from, then what needs no rule."""
    sizes = sorted(_by_size(curves))
    named = {name: sizing.left_out(curves, exponents) for name, exponents in _EXPONENTS.items()}
    named |= {name: {curve.series: size for curve in curves}
              for name, size in (("the smallest", sizes[0]), ("the largest", sizes[-1]))}  # fmt: skip
    found = [_rule(name, chosen, {curve.series: curve.at(chosen[curve.series]) for curve in curves})
             for name, chosen in named.items()]  # fmt: skip
    return [*found, _on_validation(series)]


def _rule(name: str, chosen: Mapping[str, int | None], regrets: Mapping[str, float]) -> dict[str, Any]:
    costs = list(regrets.values())
    return {
        "name": name,
        "chosen": dict(chosen),
        "regrets": dict(regrets),
        "mean": _mean(costs),
        "within": {str(share): sizing.within(costs, share) for share in SHARES},
    }


def _on_validation(series: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Each cell takes the size that was best on the validation part, all sizes having been trained."""
    chosen: dict[str, int | None] = {}
    regrets = {}
    for found in series:
        cells = found["cells"].values()
        sizes = {cell["on_validation"] for cell in cells}
        chosen[found["series"]] = sizes.pop() if len(sizes) == 1 else None  # the cells differ
        regrets[found["series"]] = float(np.mean([_regrets(cell)[cell["on_validation"]] for cell in cells]))
    return _rule("best on validation", chosen, regrets)


def _gain(rules: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The regret by examples beside that of one size, series by series."""
    beside = {rule["name"]: dict(enumerate(rule["regrets"].values())) for rule in rules if rule["name"] in _EXPONENTS}
    if not beside:
        return None
    gap = pairwise(beside)[0].seen_from(BY_EXAMPLES)
    return asdict(gap) | {"found": gap.found}


def _suggestion(
    curves: Sequence[Curve], rules: Sequence[Mapping[str, Any]], costs: Mapping[str, Any], about: Mapping[str, Any]
) -> dict[str, Any]:
    """The rule that is kept, made from all series, and what is known of it."""
    gain = _gain(rules)
    by_examples = gain is not None and gain["found"] and gain["units"]["mean"] < 0
    name = BY_EXAMPLES if by_examples else ONE_SIZE
    tried = next(rule for rule in rules if rule["name"] == name)
    rule = sizing.fit(curves, _EXPONENTS[name])
    return {
        **about,
        "name": name,
        "rule": asdict(rule),
        "series": {curve.series: {"examples": curve.examples, "units": tried["chosen"][curve.series],
                                  "regret": tried["regrets"][curve.series]} for curve in curves},
        "regret": tried["mean"],
        "within": tried["within"],
        "sizes": {str(size): {"regret": _mean(found), "time": _relative_time(costs, size)}
                  for size, found in _by_size(curves).items()},
    }  # fmt: skip


# ---- costs -------------------------------------------------------------------------------------------------------


def _costs(table: pd.DataFrame) -> dict[str, Any]:
    """Milliseconds and MB of a training step by cell and size, and where they were taken."""
    taken = table[table["sizes"].notna()] if "sizes" in table else table[:0]
    return {
        row["cell"]: {
            "series": row["series"],
            "B": int(row["B"]),
            "T": int(row["T"]),
            "ms": {str(size): asdict(bootstrap(ms)) for size, ms in zip(row["sizes"], row["rounds"], strict=True)},
            "memory_mb": {str(size): mb for size, mb in zip(row["sizes"], row["memory_mb"], strict=True)},
        }
        for _, row in taken.iterrows()
    }  # fmt: skip


def _relative_time(costs: Mapping[str, Any], size: int) -> float | None:
    """Time of a step beside that of the smallest size, mean of the cells."""
    ratios = [cell["ms"][str(size)]["mean"] / min(ms["mean"] for ms in cell["ms"].values())
              for cell in costs.values() if str(size) in cell["ms"]]  # fmt: skip
    return float(np.mean(ratios)) if ratios else None
