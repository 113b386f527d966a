from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def hourly() -> pd.DataFrame:
    """Two weeks of an hourly series with a daily wave, a price known ahead, a wind direction and some gaps."""
    rng = np.random.default_rng(0)
    rows = np.arange(24 * 20)
    y = 50 + 10 * np.sin(2 * np.pi * rows / 24) + rng.normal(0, 1, len(rows))
    table = pd.DataFrame(
        {
            "time": pd.date_range("2024-01-01", periods=len(rows), freq="h"),
            "load": y,
            "temperature": 0.3 * y + rng.normal(0, 1, len(rows)),
            "price": np.where(rows % 24 < 8, 1.0, 2.0),
            "wind": rng.choice(["N", "S", "W"], len(rows)),
        }
    )
    table.loc[[30, 31, 100, 300], "load"] = np.nan
    return table
