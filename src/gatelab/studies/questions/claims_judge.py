"""What the evidence says of a claim: effects gathered into rows, each tested over seeds, and a verdict over all."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from scipy import stats

from gatelab.studies.questions.claims_evidence import Evidence
from gatelab.studies.statistics import LEVEL, Difference, Estimate, Values, estimate, holm

if TYPE_CHECKING:
    from gatelab.studies.questions.claims_table import Claim

Outcome = Literal["for", "against", "open", "untested"]
Row = Mapping[str, Any]


class Pooled(NamedTuple):
    """The mean over settings of the mean over seeds, with the chance of training alone in its error."""

    mean: float
    error: float
    """Standard error; NaN where no setting has two seeds."""
    freedom: float
    """Degrees of freedom, by Welch and Satterthwaite."""
    settings: int

    def interval(self) -> Estimate:
        """The mean with its t-interval."""
        if math.isnan(self.error):
            return Estimate(self.mean, None, None, self.settings)
        half = float(stats.t.ppf((1 + LEVEL) / 2, self.freedom)) * self.error if self.error else 0.0
        return Estimate(self.mean, self.mean - half, self.mean + half, self.settings)

    def beside(self, value: float) -> Difference:
        """How far the mean lies from ``value``, with a two-sided t-test; what is the same in every seed is sure."""
        gap = self.mean - value
        if math.isnan(self.error):
            p = None
        elif not gap:
            p = 1.0
        elif self.error <= 1e-12 * abs(gap):
            p = 0.0
        else:
            p = float(2 * stats.t.sf(abs(gap) / self.error, self.freedom))
        return Difference("", "", Estimate(gap, None, None, self.settings), value, p)


def pooled(effects: Sequence[Values]) -> Pooled:
    """The settings as they are, each with its own scatter over seeds: the error of a sum of independent means (Welch
    1947). Settings with one seed count in the mean alone."""
    arrays = [np.array(list(values.values())) for values in effects]
    mean = float(np.mean([array.mean() for array in arrays]))
    parts = [(array.var(ddof=1) / len(array), len(array) - 1) for array in arrays if len(array) > 1]
    if not parts:
        return Pooled(mean, math.nan, math.nan, len(arrays))
    variances, freedoms = np.array(parts).T  # (K,) each
    total = float(variances.sum())
    freedom = total**2 / float((variances**2 / freedoms).sum()) if total else float(freedoms.sum())
    return Pooled(mean, math.sqrt(total) / len(parts), freedom, len(arrays))


def judged(claim: Claim, evidence: Sequence[Evidence]) -> dict[str, Any]:
    """The rows with their effects and what each says of the claim, and the verdict over all, as plain values."""
    gathered: dict[str, list[Evidence]] = defaultdict(list)
    for each in evidence:
        gathered[json.dumps({name: each.setting.get(name) for name in claim.rows})].append(each)
    keys = _ordered(list(gathered))
    means = [pooled([each.effects for each in gathered[key]]) for key in keys]
    rows = [{"setting": json.loads(key), "outcome": outcome, **asdict(mean.interval()), **_seen(gathered[key])}
            for key, mean, outcome in zip(keys, means, outcomes(claim, means), strict=True)]  # fmt: skip
    settings = [float(np.mean(list(each.effects.values()))) for each in evidence]
    over_all = asdict(estimate(settings)) if settings else None
    sources = sorted({each.setting.get("source") or f"layers of {each.setting['library']}" for each in evidence})
    said = verdict(claim, rows, over_all)
    return {"name": claim.name, "rows": rows, "over_all": over_all, "sources": sources, **said}


def _ordered(keys: Sequence[str]) -> list[str]:
    """Rows by one factor after the other: numbers, or what begins with one, by size, words as they came."""
    columns = list(zip(*(json.loads(key).values() for key in keys), strict=True))

    def place(key: str) -> list[float]:
        found = [(re.match(r"\d+", str(value)), value) for value in json.loads(key).values()]
        return [float(number[0]) if number else column.index(value)
                for (number, value), column in zip(found, columns, strict=True)]  # fmt: skip

    return sorted(keys, key=place)


def _seen(found: Sequence[Evidence]) -> dict[str, Any]:
    """``points``: an effect for each seed, or of several settings one for each of these; ``fit``: the mean effect on
    the training loss where that is known; ``studies``: whose trials these are."""
    means = [float(np.mean(list(each.effects.values()))) for each in found]
    fits = [value for each in found for value in each.fit.values() if np.isfinite(value)]
    return {
        "points": means if len(found) > 1 else list(found[0].effects.values()),
        "fit": float(np.mean(fits)) if fits else None,
        "studies": sorted({each.study for each in found}),
    }


def outcomes(claim: Claim, means: Sequence[Pooled]) -> list[Outcome]:
    """What each row says, by t-tests over seeds, corrected for the number of rows (Holm 1979)."""
    helping = holm([mean.beside(-claim.supports * claim.margin) for mean in means])
    hurting = holm([mean.beside(0.0) for mean in means])

    def outcome(help: Difference, hurt: Difference) -> Outcome:
        if help.p is None:
            return "untested"
        if help.found and help.units.mean * claim.supports > 0:
            return "for"
        return "against" if hurt.found and hurt.units.mean * claim.supports < 0 else "open"

    return [outcome(*both) for both in zip(helping, hurting, strict=True)]


def verdict(claim: Claim, rows: Sequence[Row], over_all: Mapping[str, Any] | None) -> dict[str, Any]:
    """``verdict`` and, where rows disagree, the factor ``depends_on`` that tells them apart, if one does.

    Supported: found in every row; or in half of them at least, the opposite in none, and surely so over all settings.
    Refuted is the same of the opposite. In part: either in some rows alone, and the other in none.
    """
    outcomes = [row["outcome"] for row in rows]
    found = set(outcomes)
    if not found - {"untested"}:
        return {"verdict": "not tested", "depends_on": None}
    if "for" not in found:
        surely = _throughout(outcomes, "against") and _sure(-claim.supports, 0.0, over_all)
        refuted = surely or found == {"against"}
        said = ("refuted" if refuted else "refuted in part") if "against" in found else "no difference found"
        return {"verdict": said, "depends_on": None}
    surely = _throughout(outcomes, "for") and _sure(claim.supports, claim.margin, over_all)
    if "against" not in found and (surely or found == {"for"}):
        return {"verdict": "supported", "depends_on": None}
    divider = _divider(rows, ["against"] if "against" in found else ["open", "untested"])
    depends = "against" in found or divider is not None
    return {"verdict": "depends" if depends else "supported in part", "depends_on": divider}


def _throughout(outcomes: Sequence[Outcome], outcome: Outcome) -> bool:
    """Whether half of the rows say so at least."""
    return 2 * outcomes.count(outcome) >= len(outcomes)


def _sure(side: int, margin: float, over_all: Mapping[str, Any] | None) -> bool:
    """Whether the interval over settings lies on this side of 0, but for a margin; a single setting was tested
    already."""
    if over_all is None or over_all["low"] is None:
        return True
    nearest = over_all["low"] if side > 0 else over_all["high"]
    return (nearest + side * margin) * side > 0


def _divider(rows: Sequence[Row], others: Sequence[str]) -> str | None:
    """The first factor none of whose values stands on both sides; none where no single factor divides them."""
    for name in rows[0]["setting"]:
        held = {str(row["setting"][name]) for row in rows if row["outcome"] == "for"}
        failed = {str(row["setting"][name]) for row in rows if row["outcome"] in others}
        if not held & failed:
            return name
    return None
