"""Which covariates mattered: one that does and one that is noise are told apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gatelab import Forecaster
from gatelab.cli.main import main
from gatelab.core.task import Evaluation
from gatelab.tasks.forecasting import figures, statespace
from gatelab.tasks.forecasting.importance import covariates_of, importances


@pytest.fixture(autouse=True, scope="module")
def _quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statespace, "affordable", lambda windows: False)
        yield


def table(rows: int = 600) -> pd.DataFrame:
    """Sales that a promotion doubles; rain is noise, and so is what the shop is painted in."""
    rng = np.random.default_rng(3)
    promo = (rng.random(rows) < 0.3).astype(float)
    return pd.DataFrame(
        {
            "day": pd.date_range("2022-01-01", periods=rows),
            "sales": 10 + 5 * promo + rng.normal(0, 0.5, rows),
            "promo": promo,
            "rain": rng.normal(0, 1, rows),
            "paint": rng.choice(["red", "blue", "green"], rows),
        }
    )


@pytest.fixture(scope="module")
def fitted(_quick) -> Forecaster:
    forecaster = Forecaster("sales", horizon=3, lookback=6, past=("paint",), future=("promo", "rain"), calendar=True,
                            normalise="none", hidden_size=8, epochs=6, learning_rate=0.01)  # fmt: skip
    return forecaster.fit(table())


def test_what_matters_is_told_from_noise(fitted):
    found = fitted.importances()
    assert found["covariate"].iloc[0] == "promo"
    assert set(found["covariate"]) == {"promo", "rain", "paint", "the calendar"}
    rows = found.set_index("covariate")
    assert rows.loc["promo", "low"] > 1  # without it the error more than doubles
    assert (rows["low"] <= rows["share"]).all()
    assert (rows["share"] <= rows["high"]).all()
    assert rows.loc[["rain", "paint"], "high"].max() < 0.15
    pd.testing.assert_frame_equal(fitted.importances(), found)  # nothing is drawn by chance of the day
    newer = fitted.importances(table(200))
    assert newer["covariate"][0] == "promo"


def test_covariates_have_all_of_their_channels(fitted):
    found = {covariate.name: covariate for covariate in covariates_of(fitted.task_.features)}
    assert found["paint"] == ("paint", [0, 1, 2], [])
    assert found["promo"] == ("promo", [], [0])
    calendar = len(fitted.task_.features.known_channels) - 2
    assert found["the calendar"].known == list(range(2, 2 + calendar))


def test_a_network_that_does_not_look_at_it_has_exactly_nothing(fitted):
    model, task = fitted.model_, fitted.task_
    before = {name: value.clone() for name, value in model.state_dict().items()}
    at = 1 + len(task.features.past_channels) + 1  # target, past, promo, then rain
    model.encoder.weight_ih_l0.data[:, at] = 0
    model.local[0].weight.data[:, -len(task.features.known_channels) + 1] = 0
    shares = importances(task, model, task.windows.origins["test"])
    model.load_state_dict(before)
    (rain,) = [n for n, covariate in enumerate(covariates_of(task.features)) if covariate.name == "rain"]
    np.testing.assert_allclose(shares[rain], 0, atol=1e-12)
    assert shares[1 - rain + 1, 0] != 0


def test_the_page_and_the_evaluation_have_it(fitted):
    evaluation = fitted.task_.evaluate(fitted.model_, "test")
    (line,) = fitted.task_.remarks(evaluation)
    assert "exchanged among windows: promo " in line
    titles = [section.title for section in figures.sections(fitted.task_, {"gru": [evaluation]})]
    assert "Which covariates mattered" in titles
    arrays = {name: array for name, array in evaluation.arrays.items() if name != "importance"}
    older = Evaluation(evaluation.metrics, arrays, evaluation.items)  # a record of before
    titles = [section.title for section in figures.sections(fitted.task_, {"gru": [older]})]
    assert "Which covariates mattered" not in titles
    assert fitted.task_.remarks(older) == []
    assert "importance" not in fitted.task_.evaluate(fitted.model_, "validation").arrays


def test_the_command_says_it(fitted, capsys, tmp_path):
    table(200).to_csv(tmp_path / "new.csv", index=False)
    assert main(["evaluate", str(fitted.folder_), str(tmp_path / "new.csv")]) == 0
    assert "exchanged among windows: promo " in capsys.readouterr().out


def test_no_covariates_and_few_windows_say_nothing():
    alone = Forecaster("sales", horizon=3, lookback=6, calendar=False, normalise="none", hidden_size=2, epochs=1)
    alone.fit(table(80)[["day", "sales"]])
    assert alone.importances().empty
    few = Forecaster("sales", horizon=3, lookback=6, future=("promo",), calendar=False, normalise="none",
                     hidden_size=2, epochs=1).fit(table(80))  # fmt: skip
    assert few.importances()[["share", "low", "high"]].isna().all(axis=None)
    assert few.task_.remarks(few.task_.evaluate(few.model_, "test")) == []
