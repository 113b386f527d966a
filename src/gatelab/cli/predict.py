"""``gatelab predict``: what a trained model says about new data."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from tyro.conf import Positional

from gatelab.cli.console import note, say, say_json, say_table
from gatelab.cli.parsing import parse_groups
from gatelab.cli.tasks import remembered_source, run_folder, standard_input
from gatelab.core.errors import InputError
from gatelab.core.files import write_bytes, write_json, write_text
from gatelab.report.text import number

_TEXT = "What a trained model says about new data; for forecasting, the steps after the end of the table."
_EXAMPLES = (
    "gatelab predict runs/compare-forecasting-my my-newest.csv --out forecast.csv",
    "gatelab predict runs/mine my.csv --future holidays.csv",
    "gatelab predict runs/mine --plot forecast.png",
    "gatelab predict runs/mine - < lines.txt",
)
SUFFIXES = (".csv", ".parquet", ".json")
SHOWN_ROWS, SHOWN_CHARACTERS = 60, 200


@dataclass(frozen=True)
class Options:
    """A prediction."""

    folder: Positional[str]
    """Folder of a model, or of a comparison: then its best model."""
    data: Positional[str | None] = None
    """File or data set, which may go on after training; -: standard input. none: what the model was trained on."""
    future: str | None = None
    """File of what is known ahead, such as holidays, for the steps to forecast."""
    out: str | None = None
    """File for all columns: .csv, .parquet or .json."""
    plot: str | None = None
    """File for a picture of the forecast, .png or .svg: the newest history, the forecast and its intervals."""
    device: str = "cpu"
    """cpu, cuda or cuda:N."""
    json: bool = False
    """Print the rows as JSON, and nothing else, to stdout."""


def main(argv: Sequence[str]) -> int:
    """Runs ``gatelab predict`` with ``argv`` and gives the exit code.

    Raises:
        InputError: an option that cannot be used.
        DataError: data that cannot be used.
        RunError: the folder holds no model, or a damaged one.
    """
    options, _ = parse_groups(Options, (), argv, command="predict", description=_TEXT, examples=_EXAMPLES)
    if options.out is not None and Path(options.out).suffix.lower() not in SUFFIXES:
        raise InputError(f"--out {options.out} names no kind of file", expected=f"a name with {', '.join(SUFFIXES)}")
    if options.plot is not None:
        from gatelab.report.plots.picture import require_kind  # brings matplotlib

        require_kind(options.plot, "--plot")
    folder = run_folder(Path(options.folder))
    source = options.data if options.data is not None else remembered_source(folder)
    with standard_input() if source == "-" else nullcontext(source) as given:
        predicted = _predict(folder, str(given), options)
    note(*predicted.attrs.get("notes", ()))
    if options.out is not None:
        _write(predicted, Path(options.out))
    if options.json:
        say_json(_records(predicted))
        return 0
    _show(predicted)
    written = [file for file in (options.out, options.plot) if file is not None]
    if written:
        say("", f"written to {' and '.join(written)}")
    return 0


def _predict(folder: Path, source: str, options: Options) -> pd.DataFrame:
    # torch loads here, after the words are read.
    from gatelab.tasks.loading import load

    loaded = load(folder, options.device)
    if options.plot is None:
        return loaded.task.predict(loaded.model, source, future=options.future)
    drawn = loaded.task.draw(loaded.model, source, future=options.future)
    drawn.picture.save(options.plot)
    note(*drawn.notes)
    return drawn.frame


def _show(predicted: pd.DataFrame) -> None:
    shown = predicted[predicted.attrs.get("brief", list(predicted.columns))].head(SHOWN_ROWS)
    words = {column: _words(shown[column]) for column in shown}
    right = [str(column) for column in shown if pd.api.types.is_float_dtype(shown[column])]
    say_table([str(column) for column in shown], zip(*words.values(), strict=True), right=right)
    if len(predicted) > len(shown):
        say("", f"… and {len(predicted) - len(shown):,} more rows: --out FILE.csv writes all")


def _words(column: pd.Series) -> list[str]:
    if pd.api.types.is_datetime64_any_dtype(column):
        days = bool((column == column.dt.normalize()).all())
        return [stamp.strftime("%Y-%m-%d") if days else stamp.isoformat(sep=" ") for stamp in column]
    if pd.api.types.is_float_dtype(column):
        return _aligned(column.tolist())
    return [_cut(str(value)) for value in column]


def _cut(text: str) -> str:
    """A text with its end cut off where a table has no room for all of it."""
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def _aligned(values: Sequence[float]) -> list[str]:
    """Numbers with as many decimals each, so that the greatest has five digits that count.

    >>> _aligned([371.6647, 71.5, float("nan")])
    ['371.66', '71.50', '–']
    """
    greatest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    decimals = min(max(4 - math.floor(math.log10(greatest)), 0), 12) if greatest > 0 else 0
    return [f"{value:,.{decimals}f}" if math.isfinite(value) else number(value) for value in values]


def _records(predicted: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows with stamps as ISO 8601, and None for what is not a number."""
    dates = [name for name in predicted if pd.api.types.is_datetime64_any_dtype(predicted[name])]
    spelled = predicted.assign(**{str(name): [stamp.isoformat() for stamp in predicted[name]] for name in dates})
    return json.loads(spelled.to_json(orient="records", double_precision=15))


def _write(predicted: pd.DataFrame, path: Path) -> None:
    match path.suffix.lower():
        case ".json":
            write_json(path, _records(predicted))
        case ".csv":
            write_text(path, predicted.to_csv(index=False))
        case _:
            write_bytes(path, predicted.to_parquet(index=False))
