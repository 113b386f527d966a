from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_width_from_outside(monkeypatch):
    """Parallel test workers inherit COLUMNS of a terminal that is not theirs."""
    monkeypatch.delenv("COLUMNS", raising=False)
