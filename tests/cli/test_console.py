"""What reaches a terminal, a pipe and a reader of JSON."""

from __future__ import annotations

import io
import json
import sys

import pytest

from gatelab.cli import console
from gatelab.cli.console import say, say_json, say_table


def test_escape_codes_and_markup_in_a_name_are_spelled_out(capsys):
    name = "\x1b]0;title\x07[red]\u202e"
    say(name, style="bold")
    say_table((name,), [(name,)])
    console.note(name)
    said = capsys.readouterr()
    for text in (said.out, said.err):
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "\\x1b]0;title\\x07[red]\\u202e" in text


def test_json_is_strict_and_plain_ascii(capsys):
    value = {"Temperatur in °C": [1.5, None], "x": "\x9b31m"}
    say_json(value)
    said = capsys.readouterr().out
    assert said.isascii()
    assert json.loads(said) == value
    with pytest.raises(ValueError):
        say_json(float("nan"))


def test_nothing_is_cut_or_wrapped_in_a_pipe(capsys, monkeypatch):
    say("x" * 500)
    say_table(("a", "b"), [("y" * 100, "z" * 100)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "x" * 500
    assert any("y" * 100 in line and "z" * 100 in line for line in lines)


def test_colours_on_a_terminal_unless_no_color_is_set(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    def printed() -> str:
        monkeypatch.setattr("sys.stdout", Terminal())
        console.Console().print("x", style="red")
        return sys.stdout.getvalue()

    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    assert "\x1b[31m" in printed()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "31m" not in printed()


def test_a_text_of_several_lines_stays_so(capsys):
    say("a\n\nb", "c\td")
    assert capsys.readouterr().out.splitlines() == ["a", "", "b", "c\\td"]
