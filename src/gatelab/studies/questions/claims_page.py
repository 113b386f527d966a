"""What the study of claims shows and says, from its findings alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gatelab.report import plots
from gatelab.report.page import Figure, Section, Table
from gatelab.report.text import number
from gatelab.studies.questions.claims_table import CLAIMS, Claim
from gatelab.studies.questions.gradients_page import STARTS
from gatelab.studies.statistics import Estimate
from gatelab.studies.verdict import amount, called, listed

Found = Mapping[str, Any]
Settings = Sequence[Mapping[str, Any]]

_FACTORS = {
    "source": "the data",
    "by": "what a step reads",
    "length": "the length",
    "lookback": "the window",
    "horizon": "the horizon",
    "parameters": "the number of parameters",
    "cell": "the cell",
    "hidden_size": "the number of units",
    "num_layers": "the number of layers",
    "init": "the start",
    "optimizer": "the optimizer",
    "library": "the library",
    "equal": "what is equal, units or parameters",
    "of": "whether time or memory is meant",
    "when": "training",
}
_UNITS = {"num_layers": "layers", "hidden_size": "units", "parameters": "parameters"}
_WORDS = {"milliseconds": "time", "megabytes": "memory", "sgd": "SGD", "adam": "Adam"}
_VERDICTS = ("supported", "depends", "refuted", "no difference found", "not tested")


def _found(findings: Mapping[str, Any]) -> list[tuple[Claim, Found]]:
    by_name = {found["name"]: found for found in findings["claims"]}
    return [(claim, by_name[claim.name]) for claim in CLAIMS if claim.name in by_name]


# ---- words -------------------------------------------------------------------------------------------------------


def verdict(findings: Mapping[str, Any]) -> list[str]:
    """How many statements hold; then each, with where it holds and where not."""
    found = _found(findings)
    return [_headline([each for _, each in found]), *(sentence(claim, each) for claim, each in found)]


def _headline(found: Sequence[Found]) -> str:
    verdicts = [each["verdict"] for each in found]
    words = {"supported": "are supported", "depends": "depend on the setting", "refuted": "are refuted",
             "no difference found": "show no difference", "not tested": "were not tested"}  # fmt: skip
    counts = [f"{verdicts.count(name)} {words[name]}" for name in _VERDICTS if name in verdicts]
    return f"Of {len(found)} statements of the courses, {listed(counts)}."


def sentence(claim: Claim, found: Found) -> str:
    """One statement: the verdict, in how many settings, how large the effect is."""
    counts = _counts(found["settings"])
    effect = f"; {claim.effect}: {_effect(claim, found['over_all'])} over all" if counts else ""
    return f"“{claim.statement}” {_verdict(found).capitalize()}{counts}{effect}.{_overfitting(claim, found)}"


def _verdict(found: Found) -> str:
    if found["verdict"] != "depends":
        return found["verdict"]
    return f"depends on {_FACTORS[found['depends_on']] if found['depends_on'] else 'the setting'}"


def _counts(settings: Settings) -> str:
    """In how many settings it holds, does not, or nothing was found."""
    outcomes = [each["outcome"] for each in settings]
    words = {"for": "holds in", "against": "the opposite in", "open": "nothing found in", "untested": "one seed in"}
    parts = [f"{word} {outcomes.count(name)}" for name, word in words.items() if name in outcomes]
    return f" ({', '.join(parts)} of {len(outcomes)} settings)" if parts else ""


def _overfitting(claim: Claim, found: Found) -> str:
    """Of a statement about overfitting: whether it is what makes more worse."""
    worse = [each for each in found["settings"] if each["outcome"] == "against" and each["fit"] is not None]
    if "overfit" not in claim.statement or not worse:
        return ""
    over = sum(each["fit"] < 0 for each in worse)
    return (f" Of {len(worse)} steps that made it worse, {over} made the training loss lower, as overfitting does; "
            f"the others made it higher: harder to train.")  # fmt: skip


def _effect(claim: Claim, found: Mapping[str, Any]) -> str:
    """The effect as people read it: a ratio, or a difference."""
    read = np.exp if claim.ratio else float
    mean, low, high = (None if found[end] is None else float(read(found[end])) for end in ("mean", "low", "high"))
    return amount(Estimate(np.nan if mean is None else mean, low, high, found["count"]), digits=2)


# ---- settings ----------------------------------------------------------------------------------------------------


def labels(settings: Settings) -> list[str]:
    """For each setting what sets it apart from the others, with the study it is from where that is another."""
    names = [name for name in _FACTORS if len({str(each["setting"].get(name)) for each in settings}) > 1]
    names = names or ["source", "library"]
    found = [", ".join(_told(name, each["setting"][name]) for name in names if name in each["setting"])
             for each in settings]  # fmt: skip
    return [f"{text or 'all'}{'' if each['study'] == 'claims' else ' · ' + each['study']}"
            for text, each in zip(found, settings, strict=True)]  # fmt: skip


def _told(name: str, value: Any) -> str:
    if name == "cell":
        return called(value)
    if name == "init":
        start, _, bias = value.partition("+forget_bias:")
        return STARTS.get(start, start) if not bias else f"forget bias {bias}"
    if name == "equal":
        return f"equal {value}"
    if name == "length":
        return f"T = {value}"
    text = _WORDS.get(value, value) if isinstance(value, str) else number(value)
    return f"{text} {_UNITS[name]}" if name in _UNITS else str(text)


# ---- pictures, tables, page --------------------------------------------------------------------------------------


def figures(findings: Mapping[str, Any]) -> dict[str, Figure]:
    """One picture a statement: the effect in every setting."""
    return {claim.statement: _drawn(claim, found["settings"]) for claim, found in _found(findings) if found["settings"]}


def _drawn(claim: Claim, settings: Settings) -> Figure:
    scale = 1 / np.log(2) if claim.ratio else 1.0

    def scaled(value: float | None) -> float | None:
        return None if value is None else scale * value

    rows = [(label, scaled(each["mean"]), scaled(each["low"]), scaled(each["high"]), list(map(scaled, each["values"])))
            for label, each in zip(labels(settings), settings, strict=True)]  # fmt: skip
    xlabel = f"log₂ ({claim.effect})" if claim.ratio else claim.effect
    side = "left" if claim.supports < 0 else "right"
    doubling = " −1 is half, 1 is twice." if claim.ratio else ""
    text = f"To the {side} of 0 the statement holds.{doubling} A dot for each seed, the mean and its 95 % interval."
    return Figure(plots.interval_chart(rows, xlabel=xlabel, reference=(0.0, "equal")), text, claim.effect)


def tables(findings: Mapping[str, Any]) -> dict[str, Table]:
    """Every statement with its verdict."""
    rows = [_row(claim, found) for claim, found in _found(findings)]
    caption = (
        "Effect: mean over settings with its 95 % bootstrap interval over them; of ratios the geometric mean. "
        "A statement is supported or refuted in a setting by t-tests over seeds, corrected by Holm's method."
    )
    return {
        "Ten statements": Table(["statement", "tested on", "effect", "over all settings", "verdict"], rows, caption)
    }


def _row(claim: Claim, found: Found) -> list[str]:
    over_all = _effect(claim, found["over_all"]) if found["over_all"] else "–"
    verdict = _verdict(found) + _counts(found["settings"])
    return [claim.statement, _tested_on(found["settings"]), claim.effect, over_all, verdict]


def _tested_on(settings: Settings) -> str:
    names = dict.fromkeys(str(each["setting"].get("source") or f"layers of {each['setting'].get('library')}")
                          for each in settings)  # fmt: skip
    return ", ".join(names) or "–"


def sections(findings: Mapping[str, Any]) -> list[Section]:
    """A section for each statement: the verdict, how it was tested, the picture."""
    drawn = figures(findings)
    return [Section(claim.statement, [sentence(claim, found), f"Tested: {claim.tested}",
                                      *([drawn[claim.statement]] if claim.statement in drawn else [])])
            for claim, found in _found(findings)]  # fmt: skip
