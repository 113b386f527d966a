"""Small data sets that statsmodels and scikit-learn bring along, as the CSV files a user would meet.

They need no network. The text of each file is fixed to the byte, so that the catalogue can pin its SHA-256 like
that of any other file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module

import numpy as np
import pandas as pd


def _statsmodels(name: str) -> pd.DataFrame:
    return import_module(f"statsmodels.datasets.{name}").load_pandas().data


def _co2_weekly() -> pd.DataFrame:
    data = _statsmodels("co2")
    return pd.DataFrame({"date": data.index, "co2": data["co2"].to_numpy()})


def _sunspots_yearly() -> pd.DataFrame:
    data = _statsmodels("sunspots")
    return pd.DataFrame({"date": _first_days(data["YEAR"]), "sunspots": data["SUNACTIVITY"]})


def _elnino_monthly() -> pd.DataFrame:
    wide = _statsmodels("elnino")  # one row a year, one column a month
    months = pd.period_range(f"{int(wide['YEAR'].iloc[0])}-01", periods=12 * len(wide), freq="M")
    return pd.DataFrame({"month": months.astype(str), "temperature": wide.drop(columns="YEAR").to_numpy().ravel()})


def _us_macro_quarterly() -> pd.DataFrame:
    data = _statsmodels("macrodata")
    data.insert(0, "date", _first_days(data["year"], 3 * data["quarter"] - 2))
    return data.drop(columns=["year", "quarter"])


def _digits() -> pd.DataFrame:
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)  # (1797, 64), rows of 8 pixels; (1797,)
    table = pd.DataFrame(pixels.astype(np.int64), columns=[f"row{i // 8}_{i % 8}" for i in range(64)])
    table["digit"] = labels
    return table


def _first_days(years: pd.Series, months: pd.Series | int = 1) -> pd.Series:
    return pd.to_datetime(pd.DataFrame({"year": years, "month": months, "day": 1})).dt.strftime("%Y-%m-%d")


TABLES: Mapping[str, Callable[[], pd.DataFrame]] = {
    "co2_weekly": _co2_weekly,
    "sunspots_yearly": _sunspots_yearly,
    "elnino_monthly": _elnino_monthly,
    "us_macro_quarterly": _us_macro_quarterly,
    "digits": _digits,
}


def csv_text(name: str) -> str:
    """The CSV file of a bundled data set: ISO dates, shortest exact numbers, empty cells where a value is missing."""
    return TABLES[name]().to_csv(index=False, lineterminator="\n", date_format="%Y-%m-%d")
