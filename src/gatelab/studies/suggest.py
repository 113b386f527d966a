"""``gatelab.suggest``: how many hidden units for a series, by the rule that the study ``hidden-size`` found.

Nothing is trained: the data are read, and the rule is asked. Its constants, and all that is said of its worth, are in
``hidden_size_rule.json``, which ``results/hidden_size.py`` writes from the study's records; nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gatelab.cells.cell import CELLS
from gatelab.core.config import ModelConfig, from_options
from gatelab.core.files import read_json
from gatelab.core.task import Task
from gatelab.report.text import number
from gatelab.studies.budgets import Sizes
from gatelab.studies.sizing import EXAMPLES, Rule
from gatelab.studies.statistics import Estimate
from gatelab.studies.verdict import amount
from gatelab.studies.wording import called, listed
from gatelab.tasks import TASKS

KEPT = Path(__file__).with_name("hidden_size_rule.json")


@dataclass(frozen=True)
class Choice:
    """One hidden size, and what is known of it."""

    hidden_size: int
    parameters: int
    """Numbers that the network would learn on this series."""
    regret: Estimate
    """Error above that of the best size, in percent: mean over the study's series with its interval."""
    time: float | None
    """Time of a training step beside that of the suggested size, as the study measured it."""


@dataclass(frozen=True)
class Suggestion:
    """A hidden size, why, and what that rests on."""

    hidden_size: int
    cell: str
    examples: int
    """Windows in an epoch."""
    why: Sequence[str]
    rests_on: str
    worth: str
    regret: Estimate
    """Of the rule on series that it was not made from, in percent above the best size's error."""
    near: Mapping[str, float]
    """The share of those series on which the regret was at most so many percent."""
    choices: Sequence[Choice]
    """Every size that the study measured, the suggested one among them."""
    notes: Sequence[str]
    """What was decided about the data."""

    def results(self) -> dict[str, Any]:
        """Everything as plain JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        return "\n".join([f"hidden size {self.hidden_size}", "", *self.why, self.worth, self.rests_on])


def suggest(source: Any, *, cell: str = "gru", config: Any = None, **options: Any) -> Suggestion:
    """A hidden size for forecasting ``source`` with one layer; nothing is trained.

    Args:
        source: file, data set name or table.
        cell: whose parameters are counted; the rule is the same for all.
        config: a ``ForecastingConfig``; or give its settings as ``options``, such as ``target="y"``.

    Raises:
        InputError: an option that cannot be used, or no such cell.
        DataError: data that cannot be used.
    """
    CELLS.check(cell)
    kind = TASKS["forecasting"]
    task = kind.open(source, config if config is not None else from_options(kind.Config, options))
    kept = read_json(KEPT)
    rule = Rule(kept["rule"]["size"], kept["rule"]["exponent"], tuple(kept["rule"]["sizes"]))
    examples = count_examples(task)
    units = rule.units(examples)
    choices = _choices(task, cell, kept, units)
    chosen = next(choice for choice in choices if choice.hidden_size == units)
    return Suggestion(
        hidden_size=units,
        cell=cell,
        examples=examples,
        why=[*_why(kept, rule, examples), *_beyond(kept, cell, examples, units), _load(cell, chosen, examples)],
        rests_on=_rests_on(kept),
        worth=_worth(kept),
        regret=_percent(kept["regret"]),
        near={f"{100 * float(share):g}": count for share, count in kept["within"].items()},
        choices=choices,
        notes=task.notes,
    )


def count_examples(task: Task) -> int:
    """What there is to learn from: sequences that an epoch goes through; of long series these are a sample."""
    return task.count("train", 1)


def _choices(task: Task, cell: str, kept: Mapping[str, Any], units: int) -> list[Choice]:
    sizes = Sizes(task)
    unit = kept["sizes"][str(units)]["time"]
    return [
        Choice(
            int(size),
            sizes.parameters(ModelConfig(cell=cell, hidden_size=int(size))),
            _percent(known["regret"]),
            known["time"] / unit if unit else None,
        )
        for size, known in kept["sizes"].items()
    ]


# ---- words -------------------------------------------------------------------------------------------------------


def _why(kept: Mapping[str, Any], rule: Rule, examples: int) -> list[str]:
    if rule.exponent == 0:
        return [f"One size is named for every series: {rule.units(examples)} units, whose error lay least above the "
                "best size's on average. Looking at how much there is to learn from was tried, too, and no gain was "
                "found."]  # fmt: skip
    return [f"The more there is to learn from, the more units pay: the rule takes {number(rule.size, 2)} at "
            f"{EXAMPLES:,} windows, by their number to the power of {number(rule.exponent)}, and the nearest size "
            f"measured. Here are {examples:,}."]  # fmt: skip


def _beyond(kept: Mapping[str, Any], cell: str, examples: int, units: int) -> list[str]:
    """Where the study does not reach: sizes, series and cells that it did not look at."""
    said = []
    if units == max(kept["rule"]["sizes"]):
        said.append(f"{units} is the largest size that the study tried: whether more would be better is not known.")
    known = [series["examples"] for series in kept["series"].values()]
    if not min(known) <= examples <= max(known):
        said.append(f"The study's series have from {min(known):,} to {max(known):,} windows to learn from and this one "
                    f"{examples:,}: what was measured there may not hold here.")  # fmt: skip
    if cell not in kept["cells"]:
        said.append(f"{called(cell)} was not in the study; what is said was measured with {_cells(kept)}.")
    return said


def _load(cell: str, chosen: Choice, examples: int) -> str:
    per = number(chosen.parameters / examples, 2)
    return f"With {chosen.hidden_size} units a network with {called(cell)} learns {chosen.parameters:,} numbers from " \
           f"{examples:,} windows, {per} for each."  # fmt: skip


def _worth(kept: Mapping[str, Any]) -> str:
    near = listed([f"{100 * count:.0f} % within {100 * float(share):g} %" for share, count in kept["within"].items()])
    gap = amount(_percent(kept["regret"]), "%", 2)
    return f"On series that the rule was not made from, its size lay {gap} above the best size's error ({near} of it)."


def _rests_on(kept: Mapping[str, Any]) -> str:
    seeds = f"{len(kept['seeds'])} {'seed' if len(kept['seeds']) == 1 else 'seeds'}"
    return f"That rests on {len(kept['series'])} series ({', '.join(kept['series'])}), {_cells(kept)} of one layer, " \
           f"{seeds}: gatelab study hidden-size --budget {kept['budget']}, {kept['ended'][:10]}."  # fmt: skip


def _cells(kept: Mapping[str, Any]) -> str:
    return listed([called(cell) for cell in kept["cells"]])


def _percent(found: Mapping[str, Any]) -> Estimate:
    return Estimate(found["mean"], found["low"], found["high"], found["count"]).scaled(100)
