from __future__ import annotations

import subprocess
import sys

import gatelab


def test_importing_gatelab_loads_nothing_heavy():
    heavy = ["torch", "pandas", "matplotlib", "sklearn", "statsmodels", "scipy", "rich", "tyro", "joblib"]
    code = f"import gatelab, sys; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_names_load_when_first_used():
    assert gatelab.Forecaster.__name__ == "Forecaster"
    assert callable(gatelab.compare)
    assert callable(gatelab.study)
    assert set(gatelab.__all__) <= set(dir(gatelab))
