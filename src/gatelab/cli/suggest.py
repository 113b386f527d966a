"""``gatelab suggest DATA``: how many hidden units, by a measured rule; nothing is trained."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tyro.conf import Positional

from gatelab.cli.console import note, say, say_json, say_table
from gatelab.cli.parsing import parse_groups
from gatelab.cli.tasks import task_group
from gatelab.core.errors import InputError
from gatelab.core.files import finite
from gatelab.report.text import number
from gatelab.tasks import TASKS

if TYPE_CHECKING:
    from gatelab.studies.suggest import Suggestion

_TEXT = "Says how many hidden units suit a series that is to be forecast, and what that rests on; trains nothing."
_EXAMPLES = ("gatelab suggest sp500_daily", "gatelab suggest my.csv --target load --horizon 24 --cell lstm")


@dataclass(frozen=True)
class Options:
    """A series to be forecast."""

    data: Positional[str]
    """File, or the name of a data set (gatelab data list)."""
    cell: str = "gru"
    """Cell whose parameters are counted; the rule is the same for all."""
    json: bool = False
    """Print the suggestion as JSON, and nothing else, to stdout."""


def main(argv: Sequence[str]) -> int:
    """Runs ``gatelab suggest`` with ``argv`` and gives the exit code.

    Raises:
        InputError: an option that cannot be used, or another task than forecasting.
        DataError: data that cannot be used.
    """
    if argv and argv[0] in TASKS:
        raise InputError(
            "gatelab suggest takes no task: its rule was made for forecasting",
            expected="a file or the name of a data set",
            got=argv[0],
            fix=f"try: {_EXAMPLES[0]}",
        )
    options, (config,) = parse_groups(
        Options, [task_group("forecasting")], argv, command="suggest", description=_TEXT, examples=_EXAMPLES
    )
    return _suggest(options, config, argv)


def _suggest(options: Options, config: Any, argv: Sequence[str]) -> int:
    from gatelab.studies.suggest import suggest

    found = suggest(options.data, cell=options.cell, config=config)
    if options.json:
        say_json(finite(found.results()))
        return 0
    note(*found.notes)
    say(f"hidden size {found.hidden_size}", style="bold")
    say("", *found.why, found.worth, found.rests_on, "")
    _say_choices(found)
    words = [word for word in argv if word != options.data]
    fit = shlex.join(["gatelab", "fit", "forecasting", options.data, "--hidden-size", str(found.hidden_size), *words])
    say("", "to train it:", f"  {fit}")
    return 0


def _say_choices(found: Suggestion) -> None:
    """Every size that was measured."""
    rows = []
    for choice in found.choices:
        gap = choice.regret
        error = f"{number(gap.mean, 2)} %" + (
            f" [{number(gap.low, 2)}, {number(gap.high, 2)}]" if gap.low is not None else ""
        )
        time = "–" if choice.time is None else f"{number(choice.time, 2)} ×"
        rows.append([choice.hidden_size, f"{choice.parameters:,}", error, time])
    columns = ["hidden size", "parameters", "error above the best", "time of a step"]
    say_table(columns, rows, right=columns)
