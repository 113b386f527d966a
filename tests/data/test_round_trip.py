"""A random table written in a random dialect is read back with the same values and stamps."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatelab.data import Roles, read_table

STYLES = ("%Y-%m-%d %H:%M:%S", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M", "%d.%m.%y %H:%M", "%b %d, %Y %I:%M %p")


@st.composite
def tables(draw):
    """Stamps ``(T,)`` on an hourly, daily or monthly grid and values ``(T, 2)`` with gaps, rounded to two places."""
    freq = draw(st.sampled_from(["h", "D", "MS"]))
    stamps = pd.date_range("2017-12-01", periods=draw(st.integers(40, 70)), freq=freq)
    seed = draw(st.integers(0, 10_000))
    scale = draw(st.sampled_from([0.05, 3.0, 1e5]))
    values = (np.random.default_rng(seed).normal(size=(len(stamps), 2)) * scale).round(2)
    values[np.random.default_rng(seed + 1).random(values.shape) < draw(st.sampled_from([0.0, 0.2]))] = np.nan
    return stamps, values


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    tables(),
    st.sampled_from([(",", "."), (";", ","), (";", "."), ("\t", ","), ("\t", "."), ("|", ",")]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"]),
    st.sampled_from(STYLES),
    st.sampled_from(["", "NA", "nan", "?", "-"]),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.data(),
)
def test_round_trip(table, marks, encoding, style, missing, ends, quoted, data):
    stamps, values = table
    delimiter, decimal = marks
    rows = np.arange(len(stamps))
    absent = data.draw(st.sets(st.integers(1, len(rows) - 2), max_size=6), "absent")
    kept = [row for row in rows if row not in absent]
    order = data.draw(st.permutations(kept), "order") if data.draw(st.booleans(), "shuffled") else kept
    frame = pd.DataFrame({"Zeit, größte": stamps.strftime(style), "y": values[:, 0], "x °C": values[:, 1]})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        frame.iloc[order].to_csv(
            path,
            index=False,
            sep=delimiter,
            decimal=decimal,
            encoding=encoding,
            na_rep=missing,
            lineterminator=ends,
            quoting=1 if quoted else 0,
        )
        # Order and regularity cannot tell the days of a month apart where none is above 12: that is another test.
        sure = bool((stamps[kept].day > 12).any()) or style not in STYLES[1:4]
        day_first = None if sure else style.startswith("%d")
        found = read_table(path, Roles(target=("y",), past=("x °C",), day_first=day_first))
    expected = values.copy()
    expected[sorted(absent)] = np.nan
    np.testing.assert_array_equal(found.series[0].values, expected)
    assert found.series[0].stamps.equals(stamps.as_unit("us"))
    assert found.roles.time == "Zeit, größte"
