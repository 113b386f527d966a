"""Rolling-origin backtest: train again at several points in time, test on what came right after each.

One split says how a model did once; refitting at successive origins says how it would have done had it been kept up
to date (Tashman 2000; Hyndman & Athanasopoulos 2021, sec. 5.10).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from gatelab.core.config import ModelConfig, require
from gatelab.core.errors import DataError
from gatelab.data.table import read_table
from gatelab.tasks.folding import score_fold
from gatelab.tasks.forecasting.config import ForecastingConfig
from gatelab.tasks.forecasting.prepare import divide, observed_rows, resolve
from gatelab.tasks.forecasting.task import Forecasting


@dataclass(frozen=True)
class Fold:
    """Rows of one refit, all counted from the first row of the table."""

    number: int
    train: int
    validation: int
    test: int


def folds_of(rows: int, config: ForecastingConfig, folds: int) -> Iterator[Fold]:
    """Expanding windows: the test share of the rows, cut into ``folds`` stretches, each tested after its past.

    Raises:
        DataError: a stretch would be shorter than the horizon.
    """
    require(folds >= 1, "folds", "at least 1", folds)
    shares = [*config.split, 0.0][:3]
    whole = sum(shares)
    stretch = int(rows * (shares[2] or 0.2 * whole) / whole) // folds
    if stretch < (config.horizon or 1):
        raise DataError(
            f"{folds} folds leave {stretch} test rows each",
            expected=f"at least the horizon, {config.horizon}",
            fix="ask for fewer --folds, or give more rows",
        )
    for number in range(1, folds + 1):
        known = rows - (folds - number + 1) * stretch
        validation = max(int(known * shares[1] / (shares[0] + shares[1])), config.horizon or 1)
        yield Fold(number, known - validation, validation, stretch)


def backtest(
    source: Any,
    config: ForecastingConfig,
    model: ModelConfig,
    training: Mapping[str, Any],
    *,
    folds: int,
    folder: Path,
    seed: int = 0,
    listeners: Any = (),
) -> pd.DataFrame:
    """Trains and scores ``folds`` times, beside every baseline on the same windows.

    Args:
        source: the table.
        config: the task's settings; of ``split`` only the proportions count.
        model: the network.
        training: settings of ``TrainingConfig`` that are given; the others suit each fold.
        folds: how many refits.
        folder: where the run folders of the folds go.
        seed: of every fold.
        listeners: told of every training.

    Returns:
        One row for each fold and method: fold, train_rows, test_rows, method, and every metric.
    """
    table = read_table(source, config.roles)
    rows = min(observed_rows(series, table.indices("target")) for series in table.series)
    if config.horizon is None or config.lookback is None:
        config, _ = resolve(table, config, divide(table, config.split))
    records = []
    for fold in folds_of(rows, config, folds):
        task = Forecasting.open(source, replace(config, split=(fold.train, fold.validation, fold.test), test_data=None))
        facts = {"fold": fold.number, "train_rows": fold.train, "test_rows": fold.test}
        place = folder / f"fold-{fold.number}"
        records += score_fold(task, model, training, facts, folder=place, seed=seed, listeners=listeners)
    return pd.DataFrame(records)
