from __future__ import annotations

import pickle

import pytest

from gatelab.core.errors import DataError, GatelabError, InputError, nearest
from gatelab.core.registry import Registry


def test_a_message_says_what_was_expected_what_came_and_what_to_do():
    error = DataError("row 7 has no date", expected="YYYY-MM-DD", got="soon", fix="write a date")
    assert str(error).splitlines() == [
        "row 7 has no date",
        "  expected: YYYY-MM-DD",
        "  got:      soon",
        "  fix:      write a date",
    ]


def test_a_name_for_a_path_everywhere():
    error = DataError("/tmp/x is empty", got="/tmp/x", fix="fill /tmp/x").naming("/tmp/x", "standard input")
    assert type(error) is DataError
    assert str(error).count("standard input") == 3
    assert (error.expected, DataError("a").naming("a", "b").fix) == (None, None)


def test_errors_cross_process_borders_whole():
    error = pickle.loads(pickle.dumps(InputError("no", expected=1, got=2, fix="yes")))
    assert type(error) is InputError
    assert (error.problem, error.expected, error.got, error.fix) == ("no", 1, 2, "yes")
    assert isinstance(error, GatelabError)


def test_nearest_names_first_and_all_of_few_where_none_is_near():
    assert nearest("Trget", ["target", "time"]).startswith("target")
    assert nearest("GRU", ["rnn", "gru"]) == "gru"
    assert nearest("xyz", ["one", "two"]) == "one, two"
    assert nearest("qqq", [f"column {i}" for i in range(50)]).endswith(", …")


def test_a_registry_loads_when_asked_and_names_the_nearest():
    table = Registry("number", {"pi": "math:pi", "broken": "no_such_module:x"})
    assert list(table) == ["pi", "broken"]
    assert "pi" in table
    assert table["pi"] == pytest.approx(3.14159, abs=1e-5)
    with pytest.raises(InputError, match="there is no number called 'po'"):
        table["po"]
    with pytest.raises(ModuleNotFoundError):
        table["broken"]
