"""``gatelab update``: go on training with new rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from gatelab.cli.console import err, note, say, say_json
from gatelab.cli.parsing import parse_groups
from gatelab.cli.tasks import remember_source, run_folder, say_next
from gatelab.core.errors import InputError
from gatelab.core.files import finite
from gatelab.report.text import number

_TEXT = "Goes on training a model with new rows, from its present weights; scales and columns stay as they are."
_EXAMPLES = ("gatelab update runs/mine newer.csv --out runs/mine-may",)


@dataclass(frozen=True)
class Options:
    """An update."""

    folder: Positional[str]
    """Folder of a model, or of a comparison: then its best model."""
    data: Positional[str]
    """New rows, alone or after the old ones; the last tenth is kept for validation."""
    out: str
    """Folder of the updated model; the old one stays as it is."""
    epochs: int = 5
    """Passes over the rows, at most."""
    learning_rate: float | None = None
    """Step size; none: a tenth of the first training's, as new rows shall refine the weights and not replace them."""
    device: str = "cpu"
    """cpu, cuda or cuda:N."""
    json: bool = False
    """Print the results as JSON, and nothing else, to stdout."""


def main(argv: Sequence[str]) -> int:
    """Runs ``gatelab update`` with ``argv`` and gives the exit code.

    Raises:
        InputError: an option that cannot be used, such as the folder of the old model for the new one.
        DataError: data that cannot be used.
        RunError: the folder holds no model, or a damaged one.
    """
    options, _ = parse_groups(Options, (), argv, command="update", description=_TEXT, examples=_EXAMPLES)
    folder, out = run_folder(Path(options.folder)), Path(options.out)
    if out.resolve() in (folder.resolve(), Path(options.folder).resolve()):
        raise InputError(f"--out {out} is the model to update", fix="name a new folder: the old model is kept")
    results = _update(folder, out, options)
    if options.json:
        say_json(finite(results))
        return 0
    name, before, after = results["metric"], results["before"][results["metric"]], results["after"][results["metric"]]
    say(f"{name} on the newest rows: {number(before)} before, {number(after)} after the update.")
    if not results["better"]:
        say("The update did not help there: the old model may be the one to keep.")
    say(
        "",
        f"model   {out}",
    )
    say_next(results["task"], out)
    return 0


def _update(folder: Path, out: Path, options: Options) -> dict[str, Any]:
    from gatelab.tasks.loading import load, on, update_settings
    from gatelab.training import fit
    from gatelab.training.progress import ProgressBar

    loaded = load(folder, options.device)
    task = loaded.task.reopen(options.data, "update")
    note(*task.notes)
    training = on(update_settings(loaded.run.training, options.epochs, options.learning_rate), options.device)
    before = task.evaluate(loaded.model, "validation").metrics
    fitted = fit(
        task, loaded.run.model, training, seed=loaded.run.seed, folder=out,
        initial=loaded.run.model_state(), listeners=[ProgressBar(loaded.run.model.cell, err)],
    )  # fmt: skip
    remember_source(out, options.data)
    after = task.evaluate(fitted.model, "validation").metrics
    metric = task.metrics[0]
    return {
        "folder": str(out),
        "task": task.name,
        "metric": metric.name,
        "before": dict(before),
        "after": dict(after),
        "better": metric.better(after[metric.name], before[metric.name]),
        "best_epoch": fitted.best_epoch,
        "steps": fitted.steps,
        "notes": list(task.notes),
    }
