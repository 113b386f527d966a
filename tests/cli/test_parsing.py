"""From words to dataclasses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tyro.conf import Positional

from gatelab.cli.parsing import parse, parse_one_of, split
from gatelab.core.config import ModelConfig, TrainingConfig


@dataclass(frozen=True)
class Options:
    """Does something."""

    source: Positional[str]
    """Where the data is."""
    more: Positional[tuple[str, ...]] = ()
    target: tuple[str, ...] = ("y",)
    """Columns to forecast."""
    past: tuple[str, ...] | None = ("a",)
    sizes: tuple[int, ...] = ()
    cells: tuple[Literal["rnn", "lstm", "gru"], ...] = ("rnn", "gru")
    level: float | None = 0.5
    day_first: bool | None = None
    json: bool = False
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)


def read(*words: str) -> Options:
    return parse(Options, words, command="toy")


def refused(capsys, *words: str) -> str:
    with pytest.raises(SystemExit) as stop:
        read(*words)
    assert stop.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    return said.err


def test_defaults():
    assert read("x") == Options("x")


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--target", "a,b"], "target", ("a", "b")),
        (["--target=a, b"], "target", ("a", "b")),
        (["--target", '"a, in euro",b'], "target", ("a, in euro", "b")),
        (["--target", ""], "target", ()),
        (["--past", "none"], "past", None),
        (["--past", "*"], "past", ("*",)),
        (["--sizes", "1,2,3"], "sizes", (1, 2, 3)),
        (["--sizes", "-1"], "sizes", (-1,)),
        (["--cells", "rnn,lstm"], "cells", ("rnn", "lstm")),
        (["--level", "none"], "level", None),
        (["--level", "0.9"], "level", 0.9),
        (["--day-first", "yes"], "day_first", True),
        (["--day-first", "no"], "day_first", False),
        (["--day-first", "none"], "day_first", None),
        (["--json"], "json", True),
        (["--json", "--no-json"], "json", False),
        (["b", "c"], "more", ("b", "c")),
        (["--hidden-size", "8"], "model", ModelConfig(hidden_size=8)),
        (["--no-reset-after"], "model", ModelConfig(reset_after=False)),
        (["--patience", "none"], "training", TrainingConfig(patience=None)),
    ],
)
def test_values(words, name, value):
    assert getattr(read("x", *words), name) == value


@given(
    st.lists(st.text(st.characters(exclude_characters='"\r\n\0', exclude_categories=["Cs"]), min_size=1), min_size=1)
)
def test_any_names_survive_quoting(names):
    assert split(",".join(f'"{name}"' for name in names)) == names


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--targt", "a"], "--target"),
        (["--cells", "rnn,gur"], "'gur' is none of rnn, lstm, gru"),
        (["--sizes", "1,x"], "'x' is no INT"),
        (["--learning-rate", "fast"], "--learning-rate"),
        (["--learning-rate", "-1"], "learning_rate cannot be -1.0"),
        (["--day-first", "maybe"], "--day-first"),
    ],
)
def test_what_is_wrong_is_named(capsys, words, said):
    assert said in refused(capsys, "x", *words)


def test_a_missing_argument_is_named(capsys):
    assert "SOURCE" in refused(capsys)


def test_help_shows_texts_and_defaults(capsys):
    with pytest.raises(SystemExit) as stop:
        read("--help")
    assert not stop.value.code
    said = capsys.readouterr().out
    for part in (
        "gatelab toy",
        "Where the data is.",
        "--target STR,…",
        "(default: rnn,gru)",
        "--no-json",
        "none|FLOAT",
    ):
        assert part in said


def test_the_first_word_chooses():
    @dataclass(frozen=True)
    class Other:
        count: int = 1

    kinds = {"one": Options, "two": Other}
    assert parse_one_of(kinds, ["two", "--count", "3"], command="toy", description="") == Other(3)
    assert parse_one_of(kinds, ["one", "x"], command="toy", description="") == Options("x")
