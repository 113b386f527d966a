"""Names in a new table beside those that a model knows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gatelab.data import Roles, read_like, read_table
from gatelab.data.names import known_as, merged, numeral

DAYS = pd.date_range("2024-01-01", periods=12)


def long(ids, level=0.0):
    parts = [pd.DataFrame({"date": DAYS, "id": id, "y": level + n + np.arange(12.0)}) for n, id in enumerate(ids)]
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("same", ["1", "1.0", "1.", "01", "+1", "1e+00", "100e-02"])
def test_equal_numerals(same):
    assert numeral(same) == 1
    assert known_as([same], ["2", "1"]) == {same: "1"}


@pytest.mark.parametrize("other", ["1.5", "-1", "1e0", "1,0", "0x1", "١", "shop 1", "", "nan", "1 "])
def test_what_is_another_name(other):
    assert known_as([other], ["1", "shop 2"]) == {}


def test_a_numeral_that_equals_two_known_ones_is_neither():
    assert known_as(["1.0", "01"], ["1", "01"]) == {"01": "01"}


def test_one_table_has_one_name_for_a_number_and_codes_stay():
    assert merged(["1.0", "a", "1", "01", "2.50", "2.5"]) == {"1.0": "1", "1": "1", "2.50": "2.5", "2.5": "2.5"}


def test_numerals_that_are_equal_are_one_series_of_a_table():
    frame = long(["1", "2"])
    frame.loc[frame.index % 2 == 1, "id"] += ".0"
    table = read_table(frame, Roles(target=("y",), id="id"))
    assert {series.id: series.values[:, 0].tolist() for series in table.series} == {
        "1": list(range(12)),
        "2": list(range(1, 13)),
    }
    assert any("1.0 is 1" in note for note in table.notes)


@pytest.mark.parametrize("known", [[1, 2], [1.0, 2.0], ["1", "2"], ["1.0", "2.00"]])
@pytest.mark.parametrize("now", [[1, 2], [1.0, 2.0], ["1", "2.0"]])
def test_ids_go_through_columns_of_any_type(known, now):
    schema = read_table(long(known), Roles(target=("y",), id="id")).schema()
    again = read_like(long(now), schema)
    assert [series.id for series in again.series] == schema["series"] == [str(id) for id in known]
    assert not any("not seen" in note for note in again.notes)


def test_both_ways_of_writing_in_a_new_table_are_one_series():
    schema = read_table(long(["1", "2"]), Roles(target=("y",), id="id")).schema()
    halves = pd.concat([long(["1.0"])[:7], long(["1"])[7:]])
    (series,) = read_like(halves, schema).series
    assert (series.id, series.values[:, 0].tolist()) == ("1", list(range(12)))


def test_series_that_the_model_does_not_know_are_said():
    schema = read_table(long(["Shop a", "Shop b"]), Roles(target=("y",), id="id")).schema()
    notes = [note for note in read_like(long(["Shop a", "SHOP B"]), schema).notes if "not seen in training" in note]
    assert len(notes) == 1
    assert notes[0].startswith("id: SHOP B not seen")
    assert "Shop b: case counts" in notes[0]
    many = read_like(long([f"new {n}" for n in range(8)]), schema).notes
    assert any("new 4 and 3 more not seen in training" in note for note in many)


def test_levels_of_a_category_are_numerals_too():
    frame = long(["a"]).assign(kind=["1", "2", "x"] * 4)
    schema = read_table(frame, Roles(target=("y",), past=("kind",))).schema()
    again = read_like(frame.assign(kind=[1.0, 2.0, 3.0] * 4), schema)
    np.testing.assert_array_equal(again.series[0].values[:3, 1], [0, 1, np.nan])
    assert any("kind: 3.0 not seen in training" in note for note in again.notes)
