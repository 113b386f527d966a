"""Scales, levels and channels: fitted on the training part alone, and the same after a trip through JSON."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from gatelab.core.config import from_options
from gatelab.data.roles import Roles
from gatelab.data.table import read_like, read_table
from gatelab.tasks.forecasting.config import ForecastingConfig
from gatelab.tasks.forecasting.features import Features
from gatelab.tasks.forecasting.task import Forecasting

ROLES = Roles(target=("load",), past=("temperature", "wind"), future=("price",))


def opened(table, **options) -> Forecasting:
    given = {"target": "load", "past": ("temperature", "wind"), "future": ("price",), "horizon": 4, "lookback": 12}
    return Forecasting.open(table, from_options(ForecastingConfig, {**given, **options}))


def test_rows_after_the_training_part_change_no_feature(hourly):
    train = opened(hourly).windows.bounds["train"][0][1]
    changed = hourly.copy()
    changed.loc[train:, "load"] = 7 * changed.loc[train:, "load"] - 1000
    changed.loc[train:, "temperature"] = np.nan
    changed.loc[train + 10 :, "wind"] = "N"
    fixed = {"normalise": "last", "calendar": True}  # what is chosen, is chosen on the validation part
    before, after = opened(hourly, **fixed), opened(changed, **fixed)
    assert before.features.to_dict() == after.features.to_dict()
    n = train
    for name in ("target", "seen", "past", "known", "shown"):
        np.testing.assert_array_equal(
            getattr(before.windows.series[0], name)[:n], getattr(after.windows.series[0], name)[:n]
        )


def test_a_level_that_only_comes_later_gets_no_channel(hourly):
    train = opened(hourly).windows.bounds["train"][0][1]
    hourly.loc[train + 5 :, "wind"] = "A"  # sorts before the others, so that their codes move
    features = opened(hourly).features
    assert [name for name in features.past_channels if name.startswith("wind")] == ["wind=N", "wind=S", "wind=W"]
    prepared = features.prepare(read_table(hourly, ROLES).series[0])
    wind = prepared.past[:, [features.past_channels.index(f"wind={level}") for level in "NSW"]]
    np.testing.assert_array_equal(wind[:train], (hourly["wind"].to_numpy()[:train, None] == ["N", "S", "W"]))
    assert not wind[train + 5 :].any()


def test_scales_are_those_of_the_training_rows(hourly):
    task = opened(hourly)
    train = task.windows.bounds["train"][0][1]
    centre, deviation = task.features.scales[""]
    load = hourly["load"][:train]
    assert centre[0] == pytest.approx(load.mean())
    assert deviation[0] == pytest.approx(load.std(ddof=0))
    assert (centre[2], deviation[2]) == (0.0, 1.0)  # a category keeps its codes


def test_gaps_get_a_flag_and_their_length(hourly):
    task = opened(hourly)
    prepared = task.windows.series[0]
    channels = task.features.past_channels
    assert channels[-2:] == ["load observed", "steps since observed"]
    missing = hourly["load"].isna().to_numpy()
    np.testing.assert_array_equal(prepared.past[:, -2], ~missing)
    assert prepared.past[[29, 30, 31, 32], -1] == pytest.approx(np.log1p([0, 1, 2, 0]))


@pytest.mark.parametrize(("wave", "hour"), [(1.0, 6), (0.0, 0), (-1.0, 18)])
def test_the_calendar_goes_by_the_clock(hourly, wave, hour):
    task = opened(hourly, calendar=True)
    prepared = task.windows.series[0]
    day = prepared.known[:, task.features.known_channels.index("sine of day")]
    assert day[hourly["time"].dt.hour == hour] == pytest.approx(wave, abs=1e-4)


def test_the_calendar_goes_by_the_local_clock(hourly):
    zoned = hourly.assign(time=hourly["time"].dt.tz_localize("Europe/Vienna"))
    task = opened(zoned, calendar=True)
    day = task.windows.series[0].known[:, task.features.known_channels.index("sine of day")]
    assert day[hourly["time"].dt.hour == 6] == pytest.approx(1.0, abs=1e-4)


def test_json_and_back(hourly):
    table = read_table(hourly, ROLES)
    features = Features.fit(table, {"": 300}, calendar=True)
    plain = json.loads(json.dumps(features.to_dict()))
    assert Features.from_dict(plain, table.columns, table.frequency) == features


def test_a_series_not_met_in_training_is_scaled_by_all_pooled(hourly):
    table = pd.concat([hourly.assign(id="a"), hourly.assign(id="b", load=3 * hourly["load"])])
    task = opened(table, id="id", past=(), future=())
    stranger = read_like(hourly.assign(id="new"), task.schema).series[0]
    centre, deviation = task.features.scales[""]
    prepared = task.features.prepare(stranger)
    assert (prepared.centre, prepared.deviation) == (pytest.approx(centre[:1]), pytest.approx(deviation[:1]))
    assert task.features.scales["a"][0][0] == pytest.approx(task.features.scales["b"][0][0] / 3)
