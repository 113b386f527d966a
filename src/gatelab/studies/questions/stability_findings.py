"""The statistics of the study of stability: from one row a trial to plain values.

All losses are of held-out examples and in shares of chance; ``fallen`` is the logarithm (base 10) of such a share, at
most 0, and so always finite.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep

from gatelab.studies.experiment import values
from gatelab.studies.statistics import LEVEL, Difference, Estimate, described, holm, pairwise

DIVERGED = 2.0
"""Shares of chance above which a run that ends there has diverged."""
REACHED = 0.25
"""The share of chance at which a problem counts as learned."""
REFERENCE = "adam/1"
"""The optimizer and the limit of the norm that others are compared with."""

_USUAL = {"optimizer": "adam", "learning_rate": 0.01, "clip": "1", "init": "torch", "batch_size": 32}
_LAST = 3  # looks whose median is the loss at the end
_INSTANTS = 60  # at which the curves over time are read


def summarise(table: pd.DataFrame) -> dict[str, Any]:
    """All findings; ``table`` has ``runs`` and ``chance`` beside the conditions."""
    table = judged(unfolded(table))
    timed = table["max_seconds"].notna()
    mapped = table[~timed & (table["init"] == "torch") & (table["batch_size"] == 32)]
    return {
        "maps": [_map(rows) for _, rows in mapped.groupby(["source", "optimizer"], sort=False)],
        "divergence": [_divergence(rows) for _, rows in
                       mapped.groupby(["source", "optimizer", "cell", "clip"], sort=False)],
        "clipping": _clipping(mapped),
        "cells": _cells(mapped),
        "speed": [_speed(rows) for _, rows in _where(mapped, optimizer="adam", clip="1").groupby("source", sort=False)],
        "curves": [_curves(rows) for _, rows in _where(table[~timed], **_USUAL).groupby(
                   ["source", "cell"], sort=False)],
        "starts": _varied(table[~timed], "init"),
        "batches": _varied(table[~timed], "batch_size"),
        "optimizers": [_race(rows) for _, rows in table[timed].groupby(["source", "cell"], sort=False)],
    }  # fmt: skip


# ---- what became of a run ----------------------------------------------------------------------------------------


def unfolded(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each run instead of each trial; ``seed`` then numbers the runs, in all conditions alike."""
    repeats = table["runs"].map(lambda runs: range(len(runs)))
    rows = table.assign(repeat=repeats).explode(["runs", "repeat"], ignore_index=True)
    rows = rows.drop(columns="runs").join(pd.DataFrame(list(rows["runs"])))
    return rows.assign(seed=rows.groupby(["seed", "repeat"]).ngroup())


def judged(table: pd.DataFrame) -> pd.DataFrame:
    """The table with, of each run, what became of it.

    ``share``: loss at the end in shares of chance; ``fallen``: its logarithm; ``diverged``: 0 or 1; ``reached``: the
    first step at which it had learned, or NaN; ``tested``: the test loss, as ``fallen``; ``clip``: the limit or "none".
    """
    losses = [_filled(curve["loss"]) / chance for curve, chance in zip(table["curve"], table["chance"], strict=True)]
    ends = [np.inf if stopped == "not finite" else float(np.median(loss[-_LAST:]))
            for loss, stopped in zip(losses, table["stopped"], strict=True)]  # fmt: skip
    share = pd.Series(ends, index=table.index)  # (N,)
    return table.assign(
        share=share,
        fallen=np.log10(share.clip(upper=1)),
        diverged=(share > DIVERGED).astype(float),
        reached=[_first(curve["steps"], loss <= REACHED) for curve, loss in zip(table["curve"], losses, strict=True)],
        tested=np.log10(np.minimum([test["loss"] for test in table["test"]] / table["chance"], 1)),
        clip=["none" if pd.isna(limit) else f"{limit:g}" for limit in table["clip_norm"]],
    )


def _filled(numbers: Sequence[float | None]) -> np.ndarray:
    """``(N,)``; what was not finite, and so has no number on disk, is infinite."""
    array = np.array(numbers, dtype=float)  # (N,)
    return np.where(np.isfinite(array), array, np.inf)


def _first(steps: Sequence[int], there: np.ndarray) -> float:
    """The first of ``steps`` at which it is ``there (N,)``; NaN if never."""
    return float(steps[int(there.argmax())]) if there.any() else np.nan


def _where(rows: pd.DataFrame, **wanted: Any) -> pd.DataFrame:
    for name, value in wanted.items():
        rows = rows[rows[name] == value]
    return rows


def counted(successes: int, runs: int) -> dict[str, Any]:
    """A share with Wilson's interval (Wilson 1927)."""
    ends = stats.binomtest(successes, runs).proportion_ci(LEVEL, "wilson")
    return {"mean": successes / runs, "low": float(ends.low), "high": float(ends.high), "count": runs}


# ---- maps and divergence -----------------------------------------------------------------------------------------


def _map(rows: pd.DataFrame) -> dict[str, Any]:
    """Over cell and clipping, by learning rate: the median loss at the end as a logarithm, and the share diverged."""
    rates = sorted(rows["learning_rate"].unique())
    groups = rows.groupby(["cell", "clip"], sort=False)
    loss, diverged = (
        [[reduce(found[found["learning_rate"] == rate][name]) for rate in rates] for _, found in groups]
        for name, reduce in (("share", _median_log), ("diverged", lambda column: float(column.mean())))
    )
    first = rows.iloc[0]
    return {
        "source": first["source"],
        "optimizer": first["optimizer"],
        "steps": int(first["max_steps"]),
        "rates": [float(rate) for rate in rates],
        "rows": [{"cell": cell, "clip": clip} for (cell, clip), _ in groups],
        "loss": loss,
        "diverged": diverged,
    }


def _median_log(shares: pd.Series) -> float | None:
    """log10 of the median; none where there is no finite one."""
    median = shares.median()
    return float(np.log10(median)) if np.isfinite(median) and median > 0 else None


def _divergence(rows: pd.DataFrame) -> dict[str, Any]:
    """How many runs of a map diverged, and how many had learned at some time."""
    first, runs = rows.iloc[0], len(rows)
    return {
        **{name: first[name] for name in ("source", "optimizer", "cell", "clip")},
        "diverged": counted(int(rows["diverged"].sum()), runs),
        "learned": counted(int(rows["reached"].notna().sum()), runs),
    }


def _clipping(mapped: pd.DataFrame) -> list[dict[str, Any]]:
    """The rate of divergence without clipping less that with norm 1, over all learning rates."""
    found = []
    for (source, optimizer, cell), rows in mapped.groupby(["source", "optimizer", "cell"], sort=False):
        diverged = {clip: _diverged(_where(rows, clip=clip)) for clip in ("none", "1")}
        found += [({"source": source, "optimizer": optimizer, "cell": cell}, gap) for gap in _rates_apart(diverged)]
    return _tested(found)


def _cells(mapped: pd.DataFrame) -> list[dict[str, Any]]:
    """The rates of divergence of two cells beside each other, without clipping."""
    found = []
    for (source, optimizer), rows in _where(mapped, clip="none").groupby(["source", "optimizer"], sort=False):
        diverged = {str(cell): _diverged(own) for cell, own in rows.groupby("cell", sort=False)}
        found += [({"source": source, "optimizer": optimizer}, gap) for gap in _rates_apart(diverged)]
    return _tested(found)


def _diverged(rows: pd.DataFrame) -> pd.Series:
    """0 or 1 by run and learning rate ``(N,)``."""
    return rows.set_index(["seed", "learning_rate"])["diverged"]


def _rates_apart(diverged: Mapping[str, pd.Series]) -> list[Difference]:
    """Every two rates on the runs that both have.

    McNemar's exact test, by the pairs of which one diverged; Newcombe's interval (1998, method 10), which takes both
    rates for independent, and so is rather too wide for pairs that are alike.
    """
    gaps = []
    for a, b in combinations(diverged, 2):
        pairs = pd.concat([diverged[a], diverged[b]], axis=1, join="inner").to_numpy()  # (N, 2)
        if (runs := len(pairs)) == 0:
            continue
        alone = [int(each) for each in ((pairs == (1, 0)).all(axis=1).sum(), (pairs == (0, 1)).all(axis=1).sum())]
        first, second = (int(each) for each in pairs.sum(axis=0))
        ends = np.asarray(confint_proportions_2indep(first, runs, second, runs, method="newcomb", alpha=1 - LEVEL))
        units = Estimate((first - second) / runs, float(ends[0]), float(ends[1]), runs)
        p = float(stats.binomtest(alone[0], sum(alone)).pvalue) if any(alone) else 1.0
        gaps.append(Difference(a, b, units, second / runs, p))
    return gaps


def _tested(found: Iterable[tuple[Mapping[str, Any], Difference]]) -> list[dict[str, Any]]:
    """Differences as plain values beside what they are about, with Holm's correction over all of them."""
    abouts, gaps = zip(*found, strict=True) if (found := list(found)) else ((), ())
    return [{**about, **asdict(gap), "found": gap.found} for about, gap in zip(abouts, holm(gaps), strict=True)]


# ---- steps to learn ----------------------------------------------------------------------------------------------


def _speed(rows: pd.DataFrame) -> dict[str, Any]:
    """By cell: the share of runs that had learned by each step, at learning rates chosen by the other seeds."""
    first = rows.iloc[0]
    chosen = {str(cell): _by_other_seeds(own) for cell, own in rows.groupby("cell", sort=False)}
    steps = sorted({int(step) for own in chosen.values() for curve in own["curve"] for step in curve["steps"]})
    return {
        "source": first["source"],
        "last": int(first["max_steps"]),
        "steps": steps,
        "cells": {cell: _there(own, steps) for cell, own in chosen.items()},
        "beside": _log_ranks({cell: own["reached"] for cell, own in chosen.items()}),
    }


def _by_other_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """Of each seed the run at the learning rate that ended lowest for the others, so that none is judged by its own."""
    ends = rows.pivot(index="seed", columns="learning_rate", values="fallen")  # (S, R)
    kept = []
    for seed in ends.index:
        others = ends.drop(index=seed) if len(ends) > 1 else ends
        kept.append(rows[(rows["seed"] == seed) & (rows["learning_rate"] == others.mean().idxmin())])
    return pd.concat(kept)


def _there(rows: pd.DataFrame, steps: Sequence[int]) -> dict[str, Any]:
    times = rows["reached"].to_numpy()  # (S,)
    shares = [counted(int((times <= step).sum()), len(times)) for step in steps]
    half = [step for step, share in zip(steps, shares, strict=True) if share["mean"] >= 0.5]
    return {
        **{name: [share[name] for share in shares] for name in ("mean", "low", "high")},
        "median": half[0] if half else None,
        "learned": shares[-1],
        "rates": sorted({float(rate) for rate in rows["learning_rate"]}),
        "times": [None if np.isnan(time) else int(time) for time in times],
    }


def _log_ranks(times: Mapping[str, pd.Series]) -> list[dict[str, Any]]:
    """Every pair of cells by the log-rank test (Mantel 1966), with Holm's correction."""
    pairs = list(combinations(times, 2))
    p = [_log_rank(times[a], times[b]) for a, b in pairs]
    corrected = multipletests(p, method="holm")[1] if p else []
    return [{"a": a, "b": b, "p": own, "p_holm": float(both), "found": bool(both < 1 - LEVEL)}
            for (a, b), own, both in zip(pairs, p, corrected, strict=True)]  # fmt: skip


def _log_rank(a: pd.Series, b: pd.Series) -> float:
    if not a.notna().any() and not b.notna().any():
        return 1.0  # nobody got there: nothing to tell them apart by
    last = 1 + max(a.max(), b.max()) if a.notna().any() and b.notna().any() else 1 + (a if a.notna().any() else b).max()
    samples = [stats.CensoredData(own.dropna().to_numpy(), right=np.full(int(own.isna().sum()), last))
               for own in (a, b)]  # fmt: skip
    p = float(stats.logrank(*samples).pvalue)
    return p if np.isfinite(p) else 1.0  # all at one and the same step


# ---- curves, starts, batch sizes ---------------------------------------------------------------------------------


def _curves(rows: pd.DataFrame) -> dict[str, Any]:
    """How each seed learned at the usual settings, in shares of chance ``(S, looks)``; None after it broke off."""
    first, steps = rows.iloc[0], max(rows["curve"], key=lambda curve: len(curve["steps"]))["steps"]
    padded = [_padded(curve["loss"], len(steps), chance)
              for curve, chance in zip(rows["curve"], rows["chance"], strict=True)]  # fmt: skip
    return {
        "source": first["source"],
        "cell": first["cell"],
        "steps": steps,
        "losses": padded,
        "norms": [_padded(curve["norm"], len(steps), 1.0) for curve in rows["curve"]],
        "fallen": described(values(rows, "fallen")),
    }


def _padded(numbers: Sequence[float | None], length: int, unit: float) -> list[float | None]:
    known = [None if number is None else number / unit for number in numbers]
    return known + [None] * (length - len(known))


def _varied(rows: pd.DataFrame, factor: str) -> list[dict[str, Any]]:
    """Each value of ``factor`` beside the usual one, all else as usual."""
    rows = _where(rows, **{name: value for name, value in _USUAL.items() if name != factor})
    found = []
    for (source, cell), own in rows.groupby(["source", "cell"], sort=False):
        fallen = {value: values(each, "fallen") for value, each in own.groupby(factor, sort=False)}
        usual = fallen.get(_USUAL[factor], {})
        gaps = [gap for value in fallen if value != _USUAL[factor]
                for gap in pairwise({str(value): fallen[value], str(_USUAL[factor]): usual})]  # fmt: skip
        found.append({
            "source": source,
            "cell": cell,
            "values": [{factor: value, "fallen": described(fallen[value]), **_counts(each)}
                       for value, each in own.groupby(factor, sort=factor == "batch_size")],
            "gaps": [{**asdict(gap), "found": gap.found} for gap in holm(gaps)],
        })  # fmt: skip
    return found


def _counts(rows: pd.DataFrame) -> dict[str, Any]:
    return {
        "spread": float(rows["fallen"].std(ddof=1)) if len(rows) > 1 else None,
        "diverged": int(rows["diverged"].sum()),
        "learned": int(rows["reached"].notna().sum()),
        "runs": len(rows),
    }


# ---- optimizers --------------------------------------------------------------------------------------------------


def _race(rows: pd.DataFrame) -> dict[str, Any]:
    """All optimizers on one problem with one cell, at equal time."""
    first, limit = rows.iloc[0], float(rows["max_seconds"].iloc[0])
    instants = np.linspace(0, limit, _INSTANTS)  # (N,)
    entries = {f"{name}/{clip}": own for (name, clip), own in rows.groupby(["optimizer", "clip"], sort=False)}
    beside, clipping = _asked({key: values(own, "tested") for key, own in entries.items()})
    return {
        "source": first["source"],
        "cell": first["cell"],
        "limit": limit,
        "instants": [float(instant) for instant in instants],
        "entries": {key: _entry(own, instants) for key, own in entries.items()},
        "beside": beside,
        "clipping": clipping,
    }


def _asked(tested: Mapping[str, Mapping[int, float]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Every other entry beside the usual one, and each optimizer with clipping beside itself without.

    That is all that is asked: to test every pair would cost what a few seeds can tell.
    """
    others = [(key, REFERENCE) for key in tested if key != REFERENCE]
    clips = [(key, f"{key.removesuffix('/none')}/1") for key in tested if key.endswith("/none")]
    pairs = [(a, b) for a, b in dict.fromkeys([*others, *clips]) if set(tested[a]) & set(tested.get(b, ()))]
    gaps = holm([pairwise({a: tested[a], b: tested[b]})[0] for a, b in pairs])
    plain = {pair: {**asdict(gap), "found": gap.found} for pair, gap in zip(pairs, gaps, strict=True)}
    beside, clipping = ([plain[pair] for pair in asked if pair in plain] for asked in (others, clips))
    return beside, clipping


def _entry(rows: pd.DataFrame, instants: np.ndarray) -> dict[str, Any]:
    first = rows.iloc[0]
    best = [_best_by(curve, chance, instants) for curve, chance in zip(rows["curve"], rows["chance"], strict=True)]
    return {
        **{name: first[name] for name in ("optimizer", "clip")},
        "learning_rate": float(first["learning_rate"]),
        "batch_size": int(first["batch_size"]),
        "tested": described(values(rows, "tested")),
        "curve": [float(value) for value in np.median(best, axis=0)],
        "steps": float(rows["curve"].map(lambda curve: curve["steps"][-1]).median()),
        **_counts(rows),
    }


def _best_by(curve: Mapping[str, Sequence[float]], chance: float, instants: np.ndarray) -> np.ndarray:
    """The least loss seen by each instant, in shares of chance: ``(N,)``."""
    least = np.minimum.accumulate(_filled(curve["loss"])) / chance  # (looks,)
    return least[np.searchsorted(curve["seconds"], instants, side="right") - 1]
