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


def test_a_trial_needs_neither_statistics_nor_a_tuner_nor_plots():
    """Every worker process of a study waits for what it imports."""
    heavy = ["scipy.stats", "optuna", "matplotlib"]
    modules = "gatelab.studies.measure, gatelab.studies.training_trial"
    code = f"import sys, {modules}; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
