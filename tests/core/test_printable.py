"""No text writes escape codes into a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatelab.core.printable import LINES, printable


@given(st.text())
def test_nothing_unprintable_is_left(text):
    assert printable(text).isprintable()
    assert printable(printable(text)) == printable(text)


@given(st.text(st.characters(categories=["L", "N", "P", "S"])))
def test_printable_text_is_left_alone(text):
    assert printable(text) == text


@given(st.text(st.sampled_from("ab\x1b[\x9b\n\t\r\u202e\u200b\ud800é漢"), max_size=20), st.integers(0, 20))
def test_pieces_give_what_the_whole_gives(text, cut):
    for keep in ("", LINES):
        assert printable(text[:cut], keep) + printable(text[cut:], keep) == printable(text, keep)


@pytest.mark.parametrize("hostile", ["\x1b[2J", "\x9b31m", "\x07", "\x08", "\x00", "\x7f", "\r", "\u202e", "\u2066",
                                     "\u200b", "\ud800", "\u2028", "\x85"])  # fmt: skip
def test_what_moves_the_cursor_or_turns_the_line_is_spelled_out(hostile):
    shown = printable(hostile, keep=LINES)
    assert hostile[0] not in shown
    assert shown.startswith("\\")
    shown.encode("utf-8")


def test_lines_stay_where_they_are_wanted():
    assert printable("a\n\tb", keep=LINES) == "a\n\tb"
    assert printable("a\n\tb") == "a\\n\\tb"
