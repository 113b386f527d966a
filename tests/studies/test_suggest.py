"""``gatelab.suggest``: the rule that was kept, asked about a series, and what it says of itself."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import gatelab
from gatelab.core.config import ModelConfig
from gatelab.core.errors import DataError, InputError
from gatelab.core.files import finite, read_json, write_json
from gatelab.studies import suggest as module
from gatelab.studies.sizing import Rule
from gatelab.studies.suggest import KEPT, suggest
from gatelab.studies.trials import read_records
from gatelab.tasks.forecasting.config import ForecastingConfig
from gatelab.tasks.forecasting.task import Forecasting
from gatelab.training.learner import parameter_count

RESULTS = Path(__file__).parents[2] / "results"


def series(rows: int) -> pd.DataFrame:
    wave = np.sin(np.arange(rows) / 3)
    return pd.DataFrame({"day": pd.date_range("2020-01-01", periods=rows, freq="D"), "y": wave})


@pytest.fixture
def by_examples(monkeypatch, tmp_path):
    """A rule that doubles the units with four times the windows, from series of 100 to 10,000 windows."""
    kept = read_json(KEPT)
    kept["rule"] = {"size": 16.0, "exponent": 0.5, "sizes": [2, 8, 32, 128]}
    kept["series"] = {"a": {"examples": 100, "units": 2, "regret": 0.0},
                      "b": {"examples": 10_000, "units": 32, "regret": 0.01}}  # fmt: skip
    monkeypatch.setattr(module, "KEPT", tmp_path / "rule.json")
    write_json(tmp_path / "rule.json", kept)


def test_the_kept_rule_follows_from_the_kept_records():
    spec = importlib.util.spec_from_file_location("keep", RESULTS / "hidden_size.py")
    assert spec is not None
    assert spec.loader is not None
    keep = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(keep)
    kept = read_json(KEPT)
    again = keep.rule_from(read_records(RESULTS / "study-hidden-size.jsonl"), kept["budget"])
    assert json.loads(json.dumps(finite(again))) == kept


def test_it_names_a_size_that_was_measured_and_says_what_that_rests_on():
    found = gatelab.suggest(series(400), horizon=3, lookback=8)
    kept = read_json(KEPT)
    assert found.hidden_size in [choice.hidden_size for choice in found.choices]
    assert found.hidden_size == Rule(**kept["rule"]).units(found.examples)
    assert f"{len(kept['series'])} series" in found.rests_on
    assert "gatelab study hidden-size" in found.rests_on
    assert f"{100 * kept['regret']['mean']:.2g} %" in found.worth
    json.dumps(finite(found.results()), allow_nan=False)
    assert str(found).startswith(f"hidden size {found.hidden_size}\n")


def test_examples_and_parameters_are_those_of_the_task(by_examples):
    options = {"horizon": 3, "lookback": 8, "calendar": False, "normalise": "last"}
    task = Forecasting.open(series(400), ForecastingConfig(**options))
    found = suggest(series(400), cell="lstm", **options)
    assert found.examples == len(task.windows.origins["train"])  # all of them, in a series this short
    for choice in found.choices:
        built = task.build(ModelConfig(cell="lstm", hidden_size=choice.hidden_size))
        assert choice.parameters == parameter_count(built)


def test_by_examples_longer_series_get_more_units(by_examples):
    sizes = [suggest(series(rows), horizon=1, lookback=4).hidden_size for rows in (60, 400, 6000)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


def test_it_says_where_a_series_is_unlike_those_of_the_study(by_examples):
    short = suggest(series(90), horizon=1, lookback=4)
    assert any("may not hold here" in said for said in short.why)
    usual = suggest(series(400), horizon=1, lookback=4)
    assert not any("may not hold here" in said for said in usual.why)


@pytest.mark.parametrize(("sizes", "said"), [((2, 8), True), ((2, 8, 32, 128), False)])
def test_it_says_when_no_larger_size_was_tried(by_examples, sizes, said):
    kept = read_json(module.KEPT)
    known = kept["sizes"]["8"]
    write_json(module.KEPT, kept | {"rule": {"size": 8.0, "exponent": 0.0, "sizes": sizes},
                                    "sizes": {str(size): known for size in sizes}})  # fmt: skip
    found = suggest(series(400), horizon=1, lookback=4)
    assert found.hidden_size == 8
    assert any("largest size that the study tried" in line for line in found.why) == said


def test_it_says_when_the_cell_was_not_in_the_study():
    found = suggest(series(300), cell="min_gru", horizon=1, lookback=4)
    assert any("was not in the study" in said for said in found.why)


@pytest.mark.parametrize("given", [{"cell": "gur"}, {"horizn": 3}, {"target": "nothing"}])
def test_options_that_cannot_be_used_are_refused(given):
    with pytest.raises(InputError):
        suggest(series(300), **given)


def test_data_that_cannot_be_used_are_refused():
    with pytest.raises(DataError):
        suggest(series(5))
