"""Roles, values and notes of a table; the same again at prediction time."""

import json

import numpy as np
import pandas as pd
import pytest

from gatelab.core.config import from_dict, to_dict
from gatelab.core.errors import DataError, InputError
from gatelab.data import Roles, read_like, read_table

DAYS = pd.date_range("2020-01-01", periods=60)


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "date": DAYS.strftime("%Y-%m-%d"),
            "sales": rng.normal(size=60).round(3),
            "price": rng.normal(size=60).round(3),
            "weather": rng.choice(["sun", "rain", "fog"], 60),
            "holiday": DAYS.day_of_week == 6,
        }
    )


def column(table, name):
    return table.series[0].values[:, [entry.name for entry in table.columns].index(name)]


# ---- roles ----------------------------------------------------------------------------------------------------


def test_columns_in_the_order_of_their_roles(frame):
    table = read_table(frame, Roles(target=("sales",), past=("*",), future=("holiday",)))
    assert [(entry.name, entry.role, entry.kind) for entry in table.columns] == [
        ("sales", "target", "number"),
        ("price", "past", "number"),
        ("weather", "past", "category"),
        ("holiday", "future", "number"),
    ]
    assert table.indices("past") == [1, 2]
    assert column(table, "holiday").tolist() == [float(day == 6) for day in DAYS.day_of_week]
    assert table.columns[2].levels == ("fog", "rain", "sun")
    words = [table.columns[2].levels[int(code)] for code in column(table, "weather")]
    assert words == frame["weather"].tolist()
    assert "weather: category with 3 levels (fog, rain, sun)" in table.notes


def test_no_covariates_unless_asked(frame):
    assert [entry.name for entry in read_table(frame, Roles(target=("sales",))).columns] == ["sales"]


def test_several_targets(frame):
    table = read_table(frame, Roles(target=("price", "sales")))
    np.testing.assert_array_equal(table.series[0].values, frame[["price", "sales"]].to_numpy())


def test_the_only_column_of_numbers_is_the_target(frame):
    table = read_table(frame[["date", "weather", "sales"]])
    assert table.roles.target == ("sales",)
    assert "target: sales, the only column of numbers" in table.notes
    with pytest.raises(DataError, match=r"(?s)3 columns of numbers.*sales, price, holiday.*--target"):
        read_table(frame)
    with pytest.raises(DataError, match=r"(?s)no column of numbers.*columns date, weather"):
        read_table(frame[["date", "weather"]])


def test_unknown_columns_come_with_the_nearest_names(frame):
    for roles in (Roles(target=("sale",)), Roles(target=("price",), past=("Sales",)), Roles(("price",), id="slaes")):
        with pytest.raises(InputError, match=r"(?s)no column '(sale|Sales|slaes)'.*did you mean .*sales"):
            read_table(frame, roles)


def test_a_column_has_one_role():
    with pytest.raises(InputError, match=r"(?s)'y' is named twice.*--target and --past"):
        Roles(target=("y",), past=("y",))


@pytest.mark.parametrize("wrong", [{"duplicates": "sum"}, {"time_zone": "Mars/Olympus"}, {"decimal": "x"}])
def test_roles_refuse_what_is_none(wrong):
    with pytest.raises(InputError, match=r"--duplicates|--time-zone|--decimal"):
        Roles(**wrong)


def test_target_of_text(frame):
    with pytest.raises(DataError, match=r"(?s)'weather' of the table holds text.*in row 1.*--target"):
        read_table(frame, Roles(target=("weather",)))


# ---- values ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["", "NA", "N/A", "NaN", "null", "?", "-", "None", "#N/A", " . "])
def test_cells_without_a_value(tmp_path, word):
    lines = [f"{day:%Y-%m-%d},{row}" for row, day in enumerate(DAYS)]
    lines[5] = f"{DAYS[5]:%Y-%m-%d},{word}"
    (tmp_path / "t.csv").write_text("\n".join(["date,y", *lines]))
    table = read_table(tmp_path / "t.csv")
    assert np.flatnonzero(np.isnan(column(table, "y"))).tolist() == [5]
    assert "1 gap in y (1.7 %): masked in state and loss" in table.notes


def test_codes_for_missing(frame):
    frame.loc[3:8, "sales"] = -200.0
    frame["price"] = frame["price"].astype("str")
    frame.loc[7, "price"] = "-200.00"
    frame.loc[9, "price"] = "broken"
    roles = Roles(target=("sales",), past=("price",), missing=("-200", "Broken", "-999"))
    for source in (frame, frame.astype({"sales": "str"})):
        table = read_table(source, roles)
        assert np.isnan(table.series[0].values).sum(axis=0).tolist() == [6, 2]
        assert "-200 read as missing in sales (6), price (1)" in table.notes
        assert "Broken read as missing in price (1)" in table.notes
        assert "no cell of the columns used holds -999" in table.notes


def test_infinite_values_are_refused_with_their_row(frame):
    frame.loc[[11, 30], "sales"] = np.inf
    with pytest.raises(
        DataError, match=r"(?s)'sales' of the table holds 2 infinite values.*inf in row 12.*--missing inf"
    ):
        read_table(frame, Roles(target=("sales",)))
    read_table(frame, Roles(target=("price",)))  # a column nobody asked for may hold anything
    table = read_table(frame, Roles(target=("sales",), missing=("inf",)))
    assert np.isnan(table.series[0].values).sum() == 2


def test_a_mistake_among_numbers_is_named(frame):
    frame["sales"] = frame["sales"].astype("str")
    frame.loc[41, "sales"] = "12..5"
    with pytest.raises(DataError, match=r"(?s)'sales' .*holds numbers, except 1 cell.*'12..5' in row 42.*--missing"):
        read_table(frame, Roles(target=("sales",)))
    with pytest.raises(DataError, match=r"'12..5' in row 42"):
        read_table(frame, Roles(target=("price",), past=("*",)))


def test_constant_and_empty_targets(frame):
    with pytest.raises(DataError, match=r"(?s)'sales' of the table never changes.*3 in every row"):
        read_table(frame.assign(sales=3.0), Roles(target=("sales",)))
    with pytest.raises(DataError, match=r"'sales' of the table has no values: every cell is missing"):
        read_table(frame.assign(sales=np.nan), Roles(target=("sales",)))
    with pytest.raises(DataError, match=r"'sales' of the table has no values"):
        read_table(frame.assign(sales="?"), Roles(target=("sales",)))


def test_useless_columns_are_left_out_and_said(frame):
    frame = frame.assign(
        No=range(1, 61), same=1.5, same_text="a", empty=np.nan, name=[f"n{i}" for i in range(60)], later=DAYS
    )
    table = read_table(frame, Roles(target=("sales",), past=("*",), time="date"))
    assert [entry.name for entry in table.columns] == ["sales", "price", "weather", "holiday"]
    assert table.notes[-1] == (
        "left out: No (counts the rows), same (constant), same_text (constant), empty (no values), "
        "name (text with 60 different values), later (dates)"
    )
    with pytest.raises(DataError, match=r"(?s)'name' .*text with 60 different values.*at most 50 levels"):
        read_table(frame, Roles(target=("sales",), past=("name",)))
    with pytest.raises(DataError, match=r"'empty' .*has no values"):
        read_table(frame, Roles(target=("sales",), past=("empty",)))


# ---- rows -----------------------------------------------------------------------------------------------------


def test_unsorted_rows_are_sorted(frame):
    table = read_table(frame.sample(frac=1, random_state=0), Roles(target=("sales",)))
    np.testing.assert_array_equal(column(table, "sales"), frame["sales"])
    assert "rows not in order of time: sorted" in table.notes
    newest_first = read_table(frame[::-1], Roles(target=("sales",)))
    np.testing.assert_array_equal(column(newest_first, "sales"), frame["sales"])


def test_repeated_rows_are_dropped(frame):
    frame.loc[5, "sales"] = np.nan
    table = read_table(pd.concat([frame, frame[3:7]]), Roles(target=("sales",), past=("price",)))
    assert len(table.series[0]) == 60
    assert "4 rows with the stamp and the values of another one: dropped" in table.notes


def test_duplicate_stamps_with_other_values(frame):
    twice = pd.concat([frame, frame[3:7].assign(sales=frame["sales"] + 1)], ignore_index=True)
    with pytest.raises(
        DataError,
        match=r"(?s)4 rows with the stamp of another one and other values.*2020-01-04.*row 4 and row 61.*--duplicates",
    ):
        read_table(twice, Roles(target=("sales",)))
    sales = frame["sales"].to_numpy()
    for keep, added in (("first", 0), ("last", 1), ("mean", 0.5)):
        table = read_table(twice, Roles(target=("sales",), duplicates=keep))
        np.testing.assert_allclose(column(table, "sales")[3:7], sales[3:7] + added)
        assert f"4 rows with the stamp of another one: {keep} of each stamp taken" in table.notes


def test_mean_of_duplicates_leaves_out_what_is_missing(frame):
    twice = pd.concat([frame, frame[:2].assign(sales=[7.0, np.nan])])
    twice.iloc[0, 1] = np.nan
    table = read_table(twice, Roles(target=("sales",), duplicates="mean"))
    assert column(table, "sales")[0] == 7.0
    assert column(table, "sales")[1] == frame["sales"][1]


def test_absent_rows_become_steps_without_values(frame):
    table = read_table(frame.drop(index=[10, 11, 40]), Roles(target=("sales",), past=("weather",)))
    assert table.series[0].stamps.equals(DAYS.as_unit("us"))
    assert np.flatnonzero(np.isnan(table.series[0].values).all(axis=1)).tolist() == [10, 11, 40]
    assert "57 daily rows, 2020-01-01 to 2020-02-29" in table.notes
    assert "3 steps between them without a row: no values there, masked in state and loss" in table.notes


# ---- several series -------------------------------------------------------------------------------------------


@pytest.fixture
def shops(frame):
    other = frame.assign(sales=frame["sales"] * 2)[10:50]
    return pd.concat([frame.assign(shop="north"), other.assign(shop="south")], ignore_index=True)


def test_long_format(shops, frame):
    table = read_table(shops.sample(frac=1, random_state=1), Roles(target=("sales",), past=("*",), id="shop"))
    series = {entry.id: entry for entry in table.series}
    assert {name: len(entry) for name, entry in series.items()} == {"north": 60, "south": 40}
    np.testing.assert_array_equal(series["south"].values[:, 0], frame["sales"][10:50] * 2)
    assert series["south"].stamps[0] == DAYS[10]
    assert "100 daily rows in 2 series, 2020-01-01 to 2020-02-29" in table.notes
    assert "shop" not in [entry.name for entry in table.columns]


def test_long_format_without_its_id_is_told_the_column(shops):
    with pytest.raises(
        DataError, match=r"(?s)40 rows with the stamp of another.*column 'shop' seems to name.*--id shop"
    ):
        read_table(shops, Roles(target=("sales",)))


def test_a_row_without_an_id(shops):
    shops.loc[7, "shop"] = ""
    with pytest.raises(DataError, match=r"row 8 of the table has no value in the id column 'shop'"):
        read_table(shops, Roles(target=("sales",), id="shop"))


def test_long_format_without_stamps(shops):
    table = read_table(shops.drop(columns="date"), Roles(target=("sales",), id="shop"))
    assert [len(entry) for entry in table.series] == [60, 40]
    assert table.series[1].stamps.equals(pd.RangeIndex(40))


def test_series_with_a_step_of_its_own(shops):
    hours = pd.date_range("2020", periods=40, freq="h")
    shops["date"] = [*DAYS.strftime("%Y-%m-%d %H:%M"), *hours.strftime("%Y-%m-%d %H:%M")]
    with pytest.raises(DataError, match=r"(?s)stamps of series 'south' of the table are on no daily grid.*hourly rows"):
        read_table(shops, Roles(target=("sales",), id="shop"))


# ---- once more, at prediction time ----------------------------------------------------------------------------


@pytest.fixture
def schema(frame):
    table = read_table(frame, Roles(target=("sales",), past=("*",), future=("holiday",)))
    return json.loads(json.dumps(table.schema(), allow_nan=False))


def test_roles_travel_as_json():
    roles = Roles(target=("a",), past=("*",), missing=("-200",), day_first=False, time_zone="UTC")
    assert from_dict(Roles, json.loads(json.dumps(to_dict(roles)))) == roles


def test_read_like_gives_the_same_table(frame, schema, tmp_path):
    table = read_table(frame, Roles(target=("sales",), past=("*",), future=("holiday",)))
    frame.sample(frac=1, axis=1, random_state=3).assign(extra=1).to_csv(tmp_path / "later.csv", sep=";", index=False)
    again = read_like(tmp_path / "later.csv", schema)
    assert again.columns == table.columns
    assert again.frequency == table.frequency
    np.testing.assert_array_equal(again.series[0].values, table.series[0].values)
    assert again.series[0].stamps.equals(table.series[0].stamps)


def test_a_few_rows_are_enough_at_prediction_time(frame, schema):
    few = read_like(frame[-2:].assign(sales=1.0), schema)  # constant and short: not for training, but for predicting
    assert few.frequency.alias == "D"
    assert few.series[0].values.shape == (2, 4)
    assert few.columns[2].levels == ("fog", "rain", "sun")


def test_a_future_with_covariates_alone(frame, schema):
    ahead = frame.assign(sales=np.nan, price=np.nan, weather=None)
    table = read_like(ahead, schema)
    assert np.isnan(column(table, "sales")).all()
    np.testing.assert_array_equal(column(table, "holiday"), frame["holiday"])


@pytest.mark.parametrize("name", ["price", "weather", "holiday", "sales"])
def test_a_column_missing_at_prediction_time(frame, schema, name):
    with pytest.raises(DataError, match=rf"(?s)no column '{name}', which the model was trained with.*add the column"):
        read_like(frame.drop(columns=name), schema)


def test_levels_never_seen(frame, schema):
    frame.loc[[4, 6], "weather"] = "hail"
    table = read_like(frame, schema)
    assert np.flatnonzero(np.isnan(column(table, "weather"))).tolist() == [4, 6]
    assert "weather: hail not seen in training, taken as missing" in table.notes


@pytest.mark.parametrize(("step", "found"), [("h", "hourly rows"), ("W-WED", "weekly rows")])
def test_another_step_at_prediction_time(frame, schema, step, found):
    stamps = pd.date_range("2021-01-06", periods=60, freq=step)
    with pytest.raises(DataError, match=rf"(?s)step that the model was trained with.*daily rows.*{found}"):
        read_like(frame.assign(date=stamps), schema)


def test_dates_are_read_the_way_training_read_them(tmp_path):
    for style in ("%d/%m/%Y", "%m/%d/%Y"):
        long = pd.DataFrame({"date": DAYS.strftime(style), "y": np.arange(60.0)})
        schema = read_table(long).schema()
        short = pd.DataFrame({"date": pd.date_range("2020-03-01", periods=3).strftime(style), "y": [1.0, 2.0, 3.0]})
        assert read_like(short, schema).series[0].stamps[-1] == pd.Timestamp("2020-03-03")


def test_to_frame_goes_back_to_words(shops):
    table = read_table(shops, Roles(target=("sales",), past=("weather",), id="shop"))
    back = table.to_frame()
    assert back["shop"].tolist() == shops["shop"].tolist()
    assert back["weather"].tolist() == shops["weather"].tolist()
    np.testing.assert_array_equal(back["sales"], shops["sales"])
