"""From words to dataclasses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tyro.conf import Positional

from gatelab.cli.parsing import Group, parse, parse_groups, parse_one_of, split
from gatelab.cli.parsing import given as given_settings
from gatelab.core.config import ModelConfig, TrainingConfig, require
from gatelab.core.errors import InputError


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


# ---- groups -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Inner:
    """The inner part."""

    depth: int = 1
    """How deep."""

    def __post_init__(self) -> None:
        require(self.depth >= 1, "depth", "at least 1", self.depth)


@dataclass(frozen=True)
class Outer:
    """The outer part."""

    inner: Inner = field(default_factory=Inner, metadata={"title": "hole", "text": "About the hole."})
    width: int = 2
    """How wide."""


@dataclass(frozen=True)
class Own:
    """Own."""

    source: Positional[str]
    """Where from."""
    json: bool = False


GROUPS = (Group("outside", Outer), Group("training", TrainingConfig, "How to train."))


def groups(*words: str):
    return parse_groups(Own, GROUPS, words, command="toy", description="A toy.", examples=["gatelab toy x"])


def test_groups_come_back_as_their_own_kinds():
    own, (outer, training) = groups("x", "--depth", "4", "--width", "5", "--epochs", "3", "--json")
    assert own == Own("x", json=True)
    assert outer == Outer(Inner(4), 5)
    assert training == TrainingConfig(epochs=3)
    assert [type(found) for found in (own, outer, outer.inner, training)] == [Own, Outer, Inner, TrainingConfig]


def test_what_a_configuration_refuses_is_an_input_error_with_its_remedy():
    with pytest.raises(InputError, match="depth cannot be 0") as caught:
        groups("x", "--depth", "0")
    assert "--depth" in caught.value.fix


def test_an_inner_part_is_a_group_in_front_of_the_outer_one(capsys):
    with pytest.raises(SystemExit) as stop:
        groups("--help")
    assert stop.value.code == 0
    said = capsys.readouterr().out
    texts = ["hole options", "About the hole.", "outside options", "The outer part.", "training options"]
    places = [said.index(text) for text in [*texts, "How to train.", "examples:\n  gatelab toy x"]]
    assert places == sorted(places)
    assert "group0" not in said


@pytest.mark.parametrize(
    ("words", "names"),
    [([], []), (["x", "--epochs", "3"], ["epochs"]), (["--batch-size=4", "--epochs", "1"], ["epochs", "batch_size"]),
     (["--batch_size", "4"], ["batch_size"]), (["--no-tensorboard"], ["tensorboard"]), (["epochs", "--epoch"], [])],
)  # fmt: skip
def test_given_names_the_settings_that_have_a_flag(words, names):
    assert given_settings(words, TrainingConfig) == names


def test_a_line_break_in_a_list_of_names_is_refused_unless_it_is_quoted():
    with pytest.raises(InputError, match="double quotes"):
        split("load\nat noon,wind")
    assert split('"load\nat noon",wind') == ["load\nat noon", "wind"]
