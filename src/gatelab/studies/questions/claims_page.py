"""What the study of claims shows and says, from its findings alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gatelab.report import plots
from gatelab.report.page import Figure, Section, Table
from gatelab.report.palette import Style
from gatelab.studies.questions.claims_judge import Row
from gatelab.studies.questions.claims_table import CLAIMS, Claim
from gatelab.studies.questions.gradients_page import STARTS
from gatelab.studies.statistics import Estimate
from gatelab.studies.verdict import amount
from gatelab.studies.wording import called, listed

Found = Mapping[str, Any]

_FACTORS = {
    "source": "the data",
    "by": "what a step reads",
    "length": "the length",
    "lookback": "the window",
    "parameters": "the number of parameters",
    "recurrent_dropout": "dropout",
    "cell": "the cell",
    "hidden_size": "the number of units",
    "num_layers": "the number of layers",
    "init": "the start",
    "optimizer": "the optimizer",
    "rate": "whether the learning rate suits",
    "library": "the library",
    "equal": "what is equal, units or parameters",
    "of": "whether time or memory is meant",
    "when": "training",
}
_TEXTS = {
    "by": "by {}",
    "equal": "equal {}",
    "length": "T = {}",
    "rate": "learning rate {}",
    "lookback": "{} steps",
    "num_layers": "{} layers",
    "hidden_size": "{} units",
}
_WORDS = {
    "traffic_pems": "traffic",
    "jsb_chorales": "chorales",
    "nottingham_pianoroll": "folk tunes",
    "beijing_pm25": "Beijing's air",
    "copy": "copy memory",
    "etth1": "transformer",
    "milliseconds": "time",
    "megabytes": "memory",
    "sgd": "SGD",
    "rmsprop": "RMSProp",
    "adam": "Adam",
    "adamw": "AdamW",
    "muon": "Muon",
}
_VERDICTS = {
    "supported": ("is supported", "are supported"),
    "supported in part": ("is supported in part", "are supported in part"),
    "depends": ("depends on the setting", "depend on the setting"),
    "refuted": ("is refuted", "are refuted"),
    "refuted in part": ("is refuted in part", "are refuted in part"),
    "no difference found": ("shows no difference", "show no difference"),
    "not tested": ("was not tested", "were not tested"),
}
"""What is said of one statement, and of several."""
_LOOKS = {
    "for": Style("gru"),
    "against": Style("rose", marker="X"),
    "open": Style("grey", marker="D"),
    "untested": Style("grey", marker="v"),
}
_NAMED = 4
"""Rows that a sentence names one by one."""


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
    counts = [(verdicts.count(name), words) for name, words in _VERDICTS.items() if name in verdicts]
    said = [f"{count} {one if count == 1 else more}" for count, (one, more) in counts]
    return f"Of {len(found)} statements of the courses, {listed(said)}."


def sentence(claim: Claim, found: Found) -> str:
    """One statement and what is said of it."""
    return f"“{claim.statement}” {answer(claim, found)}"


def answer(claim: Claim, found: Found) -> str:
    """The verdict, how large the effect is, where it was found and where its opposite."""
    verdict = _verdict(found)
    verdict = verdict[0].upper() + verdict[1:]
    if not found["rows"]:
        return f"{verdict}."
    over_all, count = found["over_all"], found["over_all"]["count"]
    settings = f"{count} {'setting' if count == 1 else 'settings'}"
    said = [f"{verdict}. {claim.effect[0].upper()}{claim.effect[1:]}: {_effect(claim, over_all)} over {settings}."]
    named = list(zip(_names(found["rows"]), found["rows"], strict=True))
    for outcome, words in (("for", "Found"), ("against", "The opposite"), ("open", "Not told from chance")):
        rows = [label for label, row in named if row["outcome"] == outcome]
        if rows:
            said.append(f"{words}: {_some(rows, len(named))}.")
    return " ".join(said + _overfitting(claim, found))


def _some(names: Sequence[str], of: int) -> str:
    """The first few names, and in how many rows of how many."""
    if len(names) == of:
        return f"in all {of} rows" if of > 1 else names[0]
    more = len(names) - _NAMED
    return f"in {len(names)} of {of} rows ({'; '.join(names[:_NAMED])}{f'; {more} more' if more > 0 else ''})"


def _verdict(found: Found) -> str:
    if found["verdict"] != "depends":
        return found["verdict"]
    return f"depends on {_FACTORS[found['depends_on']] if found['depends_on'] else 'the setting'}"


def _overfitting(claim: Claim, found: Found) -> list[str]:
    """Of a statement about overfitting: whether it is what makes more worse."""
    worse = [row["fit"] for row in found["rows"] if row["outcome"] == "against" and row["fit"] is not None]
    if "overfit" not in claim.statement or not worse:
        return []
    over = sum(fit < 0 for fit in worse)
    return [f"Of the {len(worse)} rows in which more was worse, {over} had a lower training loss, as in overfitting; "
            "in the others it was higher: harder to train."]  # fmt: skip


def _reading(claim: Claim) -> Callable[[float | None], float | None]:
    """From an effect to what people read: a ratio, or the difference that it is."""

    def read(value: float | None) -> float | None:
        return None if value is None else float(np.exp(value)) if claim.ratio else float(value)

    return read


def _effect(claim: Claim, found: Mapping[str, Any]) -> str:
    mean, low, high = (_reading(claim)(found[end]) for end in ("mean", "low", "high"))
    return amount(Estimate(np.nan if mean is None else mean, low, high, found["count"]), digits=2)


# ---- rows --------------------------------------------------------------------------------------------------------


def labels(rows: Sequence[Row]) -> list[str]:
    """For each row its name, and how many settings it gathers where these are several."""
    return [f"{name} ({row['count']})" if row["count"] > 1 else name
            for name, row in zip(_names(rows), rows, strict=True)]  # fmt: skip


def _names(rows: Sequence[Row]) -> list[str]:
    """For each row what sets it apart from the others."""
    differing = [name for name in rows[0]["setting"] if len({str(row["setting"][name]) for row in rows}) > 1]
    factors = differing or list(rows[0]["setting"])[:1]
    return [", ".join(filter(None, (_told(name, row["setting"][name]) for name in factors))) or "all" for row in rows]


def _told(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name == "cell":
        return called(value)
    if name == "init":
        return _start(value)
    if name == "recurrent_dropout":
        return "dropout" if np.any(value) else ""
    if name == "parameters":
        return f"{value:,} parameters"
    if name in _TEXTS:
        return _TEXTS[name].format(value)
    return _WORDS.get(value, str(value).replace("_", " "))


def _start(value: str) -> str:
    start, _, more = value.partition("+")
    if more:
        return more.replace(":", " ").replace("_", " ")
    return "torch's start" if start == "torch" else STARTS.get(start, f"{start} start")


# ---- pictures, tables, page --------------------------------------------------------------------------------------


def figures(findings: Mapping[str, Any]) -> dict[str, Figure]:
    """One picture a statement: the effect in every row."""
    return {claim.statement: _drawn(claim, found["rows"]) for claim, found in _found(findings) if found["rows"]}


def _drawn(claim: Claim, rows: Sequence[Row]) -> Figure:
    read = _reading(claim)
    chart = [(label, read(row["mean"]), read(row["low"]), read(row["high"]), list(map(read, row["points"])))
             for label, row in zip(labels(rows), rows, strict=True)]  # fmt: skip
    svg = plots.interval_chart(
        chart,
        xlabel=claim.effect,
        reference=(1.0 if claim.ratio else 0.0, "equal"),
        looks=[_LOOKS[row["outcome"]] for row in rows],
        ratios=claim.ratio,
    )
    side = "Left" if claim.supports < 0 else "Right"
    margin = f" or up to {claim.margin:.0%} beyond it" if claim.margin else ""
    text = (
        f"{side} of the line{margin} the statement holds. Green circle: found; red cross: the opposite found; grey: "
        "not told from chance. Mean and 95 % interval; a dot for each seed, or (n) for each of n settings."
    )
    return Figure(svg, text, f"{claim.effect}, in {len(rows)} rows")


def tables(findings: Mapping[str, Any]) -> dict[str, Table]:
    """Every statement with its verdict."""
    rows = [_row(claim, found) for claim, found in _found(findings)]
    columns = ["statement", "verdict", "effect", "over all settings", "found", "opposite", "rows", "tested on"]
    caption = (
        "Over all settings: mean with its 95 % interval over settings; of ratios the geometric mean. Found, opposite: "
        "in how many rows of the statement's picture, by t-tests over seeds, corrected by Holm's method."
    )
    return {"Ten statements": Table(columns, rows, caption)}


def _row(claim: Claim, found: Found) -> list[str]:
    over_all = _effect(claim, found["over_all"]) if found["over_all"] else "–"
    outcomes = [row["outcome"] for row in found["rows"]]
    counts = [str(outcomes.count("for")), str(outcomes.count("against")), str(len(outcomes))]
    return [claim.statement, _verdict(found), claim.effect, over_all, *counts, _tested_on(found)]


def _tested_on(found: Found) -> str:
    named = [_told("source", source) for source in found["sources"]]
    return ", ".join(named[:3]) + (f" and {len(named) - 3} more" if len(named) > 3 else "") or "–"


def facts(findings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Whose trials count beside those of this study."""
    counts = findings.get("studies", {})
    return [("trials of other studies", ", ".join(f"{name} {count}" for name, count in counts.items()) or "none")]


def sections(findings: Mapping[str, Any], drawn: Mapping[str, Sequence[Any]]) -> list[Section]:
    """A section for each statement: the verdict, how it was tested and on what, and what was ``drawn`` of it."""
    return [Section(claim.statement, [answer(claim, found), f"Tested: {claim.tested} {_where(found)}".rstrip(),
                                      *drawn.get(claim.statement, ())])
            for claim, found in _found(findings)]  # fmt: skip


def _where(found: Found) -> str:
    """On what, and by whose trials."""
    if not found["rows"]:
        return ""
    studies = sorted({name for row in found["rows"] for name in row["studies"]})
    others = [name for name in studies if name != "claims"]
    whose = f"; trials of the {'study' if len(others) == 1 else 'studies'} {listed(others)} count too" if others else ""
    return f"On: {', '.join(_told('source', source) for source in found['sources'])}{whose}."
