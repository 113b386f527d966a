"""The statistics of the study of depth: from one row a trial to plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from gatelab.studies.experiment import values
from gatelab.studies.statistics import Values, bootstrap, described, holm, pairwise

BASES = ("width", "parameters")
PLAIN = "plain"


def summarise(table: pd.DataFrame) -> dict[str, Any]:
    """All findings; ``table`` has ``error`` and ``train_error`` beside the conditions."""
    trained = table[table["kind"] == "train"].astype({"num_layers": int})  # other rows have none
    trained["gap"] = trained["error"] - trained["train_error"]
    trained["basis"] = [BASES[known] for known in trained["parameters"].notna()]
    trained["remedy"] = [remedy(row) for _, row in trained.iterrows()]
    groups = [_group(rows) for _, rows in trained.groupby(["data", "cell"], sort=False)]
    return {"groups": groups, "times": _times(table)}


def remedy(condition: Any) -> str:
    """What is done for a deep network, in words."""
    done = ["residual"] * bool(condition["residual"]) + ["dropout"] * (condition["dropout"] > 0)
    return " + ".join(done) or PLAIN


def _group(rows: pd.DataFrame) -> dict[str, Any]:
    """One cell on one set of data."""
    first = rows.iloc[0]
    plain = rows[rows["remedy"] == PLAIN]
    wide = rows[rows["basis"] == "width"]
    return {
        "data": first["data"],
        "cell": first["cell"],
        "metric": first["metric"],
        "unit": first["unit"],
        "rows": [_row(mine) for _, mine in rows.groupby("label", sort=False)],
        "deeper": {basis: _beside_one(plain[plain["basis"] == basis], "error") for basis in BASES},
        "gaps": {basis: _beside_one(plain[plain["basis"] == basis], "gap") for basis in BASES},
        "remedies": {name: _beside_plain(wide, name) for name in ("error", "gap")},
        "shallow": _beside_shallow(wide),
    }


def _row(rows: pd.DataFrame) -> dict[str, Any]:
    first = rows.iloc[0]
    return {
        "depth": int(first["num_layers"]),
        "basis": first["basis"],
        "remedy": first["remedy"],
        "parameters": int(first["measured.parameters"]),
        "hidden_size": int(first["measured.hidden_size"]),
        "learning_rate": float(first["learning_rate"]),
        "error": described(values(rows, "error")),
        "train_error": described(values(rows, "train_error")),
        "gap": described(values(rows, "gap")),
        "curve": {part: _curve(list(rows["history"]), f"{part}_loss") for part in ("train", "validation")},
    }


def _curve(histories: Sequence[Sequence[Mapping[str, float]]], name: str) -> list[float]:
    """The loss after each epoch, mean over seeds."""
    shared = min(map(len, histories))
    return [float(np.mean([history[at][name] for history in histories])) for at in range(shared)]


def _beside_one(rows: pd.DataFrame, measure: str) -> list[dict[str, Any]]:
    """Each depth beside one layer."""
    by_depth = {str(depth): values(mine, measure) for depth, mine in rows.groupby("num_layers")}
    one = by_depth.pop("1", None)
    pairs = [({depth: found}, {"1": one}) for depth, found in by_depth.items() if one is not None]
    return _compared(pairs)


def _beside_plain(rows: pd.DataFrame, measure: str) -> list[dict[str, Any]]:
    """Each remedy beside the plain network of the same depth; the depth is with it."""
    found = []
    for depth in sorted(set(rows["num_layers"]) - {1}):
        mine = rows[rows["num_layers"] == depth]
        by_remedy = {str(name): values(part, measure) for name, part in mine.groupby("remedy", sort=False)}
        plain = by_remedy.pop(PLAIN, None)
        if plain is not None:
            pairs = [({name: by_seed}, {PLAIN: plain}) for name, by_seed in by_remedy.items()]
            found += [gap | {"depth": int(depth)} for gap in _compared(pairs)]
    return found


def _beside_shallow(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Each remedied network, at the greatest depth, beside the better one of one layer, plain or with dropout."""
    shallow = {str(name): values(part, "error") for name, part in rows[rows["num_layers"] == 1].groupby("remedy")}
    deepest = rows[rows["num_layers"] == rows["num_layers"].max()]
    if not shallow or deepest["num_layers"].iloc[0] == 1:
        return []
    best = min(shallow, key=lambda name: float(np.mean(list(shallow[name].values()))))
    pairs = [({f"{depth} layers, {name}": values(part, "error")}, {f"1 layer, {best}": shallow[best]})
             for (depth, name), part in deepest.groupby(["num_layers", "remedy"], sort=False)]  # fmt: skip
    return _compared(pairs)


def _compared(pairs: Sequence[tuple[Mapping[str, Values], Mapping[str, Values]]]) -> list[dict[str, Any]]:
    """Differences of pairs that share seeds, with Holm's correction over them."""
    gaps = [gap for one, other in pairs for gap in pairwise({**one, **other})]
    return [asdict(gap) | {"percent": None if gap.percent is None else asdict(gap.percent), "found": gap.found}
            for gap in holm(gaps)]  # fmt: skip


def _times(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Milliseconds of a step by depth, and how many times one layer's that is."""
    taken = table[table["depths"].notna()] if "depths" in table else table[:0]
    found = []
    for _, row in taken.iterrows():
        for basis in BASES:
            rounds = np.array(row[f"rounds.{basis}"])  # (D, R)
            found.append({
                "data": row["data"],
                "cell": row["cell"],
                "basis": basis,
                "ms": {str(depth): asdict(bootstrap(list(times)))
                       for depth, times in zip(row["depths"], rounds, strict=True)},
                "ratio": {str(depth): asdict(bootstrap(list(times / rounds[0])))
                          for depth, times in zip(row["depths"], rounds, strict=True)},
            })  # fmt: skip
    return found
