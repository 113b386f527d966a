"""``gatelab evaluate``: a trained model on other data, or its settings in a rolling-origin backtest."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import Positional

from gatelab.cli.console import err, note, say, say_json, say_table
from gatelab.cli.parsing import parse_groups
from gatelab.cli.tasks import run_folder, say_scores
from gatelab.core.config import require
from gatelab.core.errors import InputError
from gatelab.core.files import finite
from gatelab.report.text import number

if TYPE_CHECKING:
    from gatelab.tasks.loading import Loaded

_TEXT = (
    "Scores a trained model on other data; with --folds, trains it again and again: a series at successive origins, "
    "items that stand by themselves in a cross-validation."
)
_EXAMPLES = ("gatelab evaluate runs/mine newer.csv", "gatelab evaluate runs/mine my.csv --folds 4")


@dataclass(frozen=True)
class Options:
    """An evaluation."""

    folder: Positional[str]
    """Folder of a model, or of a comparison: then its best model."""
    data: Positional[str]
    """File or data set. Scores on rows that the model was trained on say little."""
    folds: int | None = None
    """Train and score this many times, each time on what came next (rolling origin) or, where items stand by
    themselves, on another part of them (cross-validation); none: the model as it is."""
    device: str = "cpu"
    """cpu, cuda or cuda:N."""
    json: bool = False
    """Print the scores as JSON, and nothing else, to stdout."""


def main(argv: Sequence[str]) -> int:
    """Runs ``gatelab evaluate`` with ``argv`` and gives the exit code.

    Raises:
        InputError: an option that cannot be used.
        DataError: data that cannot be used.
        RunError: the folder holds no model, or a damaged one.
    """
    options, _ = parse_groups(Options, (), argv, command="evaluate", description=_TEXT, examples=_EXAMPLES)
    require(options.folds is None or options.folds >= 1, "folds", "at least 1", options.folds)
    from gatelab.tasks.loading import load

    loaded = load(run_folder(Path(options.folder)), options.device)
    _evaluate(loaded, options) if options.folds is None else _backtest(loaded, options)
    return 0


def _evaluate(loaded: Loaded, options: Options) -> None:
    from gatelab.training.progress import ProgressBar
    from gatelab.training.scoring import score_all

    task = loaded.task.reopen(options.data, "evaluate")
    note(*task.notes)
    cell = loaded.run.model.cell
    scored = score_all(task, cell, loaded.model, "test", [ProgressBar(cell, err)])
    if options.json:
        metrics = {name: dict(found.metrics) for name, found in scored.items()}
        say_json(finite({"metric": task.metrics[0].name, "items": scored[cell].items, "metrics": metrics}))
        return
    say_scores(task, scored)
    if remarks := task.remarks(scored[cell]):
        say("", *remarks)
    note("", "Only baselines that need no training stand here: nothing was fitted on these data.")


def _backtest(loaded: Loaded, options: Options) -> None:
    from gatelab.tasks.loading import on
    from gatelab.training.progress import ProgressBar

    kind, run = type(loaded.task), loaded.run
    if not hasattr(kind, "backtest"):
        raise InputError(f"there is no backtest for {kind.name}", fix="leave --folds out")
    settings = vars(on(run.training, options.device))
    with tempfile.TemporaryDirectory(prefix="gatelab-") as folder:
        found: Any = kind.backtest(
            options.data, loaded.task.config, run.model, settings,
            folds=options.folds, folder=Path(folder), seed=run.seed, listeners=[ProgressBar(run.model.cell, err)],
        )  # fmt: skip
    metric = loaded.task.metrics[0]
    if options.json:
        say_json(finite({"metric": metric.name, "folds": found.to_dict("records")}))
        return
    table = found.pivot(index="method", columns="fold", values=metric.name)
    table = table.assign(mean=table.mean(axis=1)).sort_values("mean", ascending=metric.goal == "min")
    columns = [metric.name, *(f"fold {fold}" for fold in table.columns[:-1]), "mean"]
    say_table(columns, ([name, *map(number, row)] for name, row in zip(table.index, table.to_numpy(), strict=True)),
              right=columns[1:])  # fmt: skip
    rows = found.drop_duplicates("fold")
    for fold, train, test in zip(rows["fold"], rows["train_rows"], rows["test_rows"], strict=True):
        note(f"fold {fold}: trained on {train:,} rows, tested on {test:,}")
    say("", f"Every fold trains anew; {'lower' if metric.goal == 'min' else 'higher'} {metric.name} is better.")
