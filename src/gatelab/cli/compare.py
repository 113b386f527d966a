"""``gatelab compare``: RNN, LSTM or GRU, on your data, with baselines and a verdict."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tyro.conf import Positional

from gatelab.cli.console import out, say_json
from gatelab.cli.parsing import Group, given, parse_groups
from gatelab.cli.tasks import remember_source, take_task, task_group
from gatelab.core.config import LayerExtras
from gatelab.core.errors import RunError
from gatelab.tasks import TASKS

_TEXT = "Compares cells at equal budgets, with several seeds, beside simple baselines, and keeps the best model."
_EXAMPLES = (
    "gatelab compare forecasting co2_weekly --budget quick",
    "gatelab compare forecasting my.csv --target load --horizon 24 --out runs/load",
)


@dataclass(frozen=True)
class Options:
    """What is compared, and with how much effort."""

    data: Positional[str]
    """File, or the name of a data set (gatelab data list)."""
    cells: tuple[str, ...] = ("rnn", "lstm", "gru")
    """Cells to compare; also rnn_relu, lstm_coupled, gru_reset_before, min_gru, min_lstm."""
    seeds: int | None = None
    """Seeds of each cell; none: 5 (with --budget quick 3, full 10)."""
    budget: str = "standard"
    """The same for every cell: quick, standard, full, a time for each trial (90s, 5min), or a number (20 epochs)."""
    parameters: int | None = None
    """Numbers each cell may learn; none: as a GRU of about 24 (quick), 32 or 64 (full) units has."""
    tune: int = 0
    """Optuna trials of each cell on the validation part; 0: each chooses from the same few learning rates."""
    jobs: int | None = None
    """Trials at a time, one thread each; none: one for each physical core."""
    out: str | None = None
    """Folder of the study; none: runs/compare-TASK-DATA. What is in it already is not run again."""
    retry: bool = False
    """Run trials once more that failed or hung before."""
    layers: int | None = None
    """Layers of every cell; none: as suits the task, mostly 1."""
    dropout: float | None = None
    """Dropout between layers and before the head; none: as suits the task."""
    bidirectional: bool | None = None
    """Whether every cell also reads backwards; none: as suits the task."""
    device: str = "cpu"
    """Where to train: cpu, cuda or cuda:N."""
    json: bool = False
    """Print the results as JSON, and nothing else, to stdout."""


def main(argv: Sequence[str]) -> int:
    """Runs ``gatelab compare`` with ``argv`` and gives the exit code.

    Raises:
        InputError: no such task, or an option that cannot be used.
        RunError: not one trial finished.
    """
    taken = take_task(argv, command="compare", description=_TEXT, example=_EXAMPLES[0])
    if taken is None:
        return 0
    task, words = taken
    groups = [task_group(task), Group("layer", LayerExtras, "What the layers of every cell do beyond the plain cell.")]
    options, (config, extras) = parse_groups(
        Options, groups, words, command=f"compare {task}", description=_TEXT, examples=_EXAMPLES
    )
    beyond = {name: getattr(extras, name) for name in given(words, LayerExtras)}
    return _compare(task, options, config, beyond, shlex.join(["gatelab", "compare", *argv]))


def _compare(task: str, options: Options, config: Any, extras: Mapping[str, Any], command: str) -> int:
    from gatelab.studies.compare import compare

    asked = {"num_layers": options.layers, "dropout": options.dropout, "bidirectional": options.bidirectional}
    asked = {name: value for name, value in asked.items() if value is not None}
    common = replace(TASKS[task].model_defaults(), **asked, **extras)
    own = ("json", "layers", "dropout", "bidirectional")
    values = {name: value for name, value in vars(options).items() if name not in own}
    comparison = compare(task, **values, model=common, config=config, quiet=False, command=command)
    if comparison.best is not None:
        remember_source(comparison.best, options.data)
    say_json(dict(comparison.results)) if options.json else comparison.show(out)
    if comparison.best is None and not any(cell["finished"] for cell in comparison.results["cells"].values()):
        failed = comparison.results["failed"]
        raise RunError(
            "not one trial of a cell finished",
            got=failed[0]["message"] if failed else None,
            fix=f"see {comparison.report}; mend the cause, then repeat the command with --retry",
        )
    return 0
