"""Rows of a table in a text file."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatelab.core.errors import DataError
from gatelab.data.records import delimiter_of, records

CELLS = st.text(st.sampled_from('ab ,;"\n'), max_size=6)


def cells(text, delimiter=","):
    return [record.cells for record in records(text.split("\n"), "my.csv", delimiter)]


@settings(deadline=None)
@given(st.lists(st.lists(CELLS, min_size=2, max_size=3), min_size=1, max_size=5))
def test_what_the_standard_library_writes_is_read_back(rows):
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\n").writerows(rows)
    assert cells(stream.getvalue().removesuffix("\n")) == rows


def test_a_row_is_known_by_the_line_in_which_it_begins():
    text = 'a,b\n\n1,"two\nlines"\n3,4'
    assert [record.line for record in records(text.split("\n"), "my.csv", ",")] == [1, 3, 5]


def test_quotes_between_tabs_are_plain_marks_unless_they_enclose_a_cell():
    assert cells('"\tpos\n"it is"\tneg\n5" disk\tpos', "\t") == [['"', "pos"], ["it is", "neg"], ['5" disk', "pos"]]


def test_a_quote_that_is_never_closed_is_named():
    with pytest.raises(DataError, match=r"my\.csv, line 2: a quote opens a cell"):
        cells('a,b\n1,"x\n2,y')


def test_text_after_a_closing_quote_is_named():
    with pytest.raises(DataError, match=r"my\.csv, line 3: there is text after the quote"):
        cells('a,b\n1,2\n"x" y,3\n4,"z"')


def test_the_delimiter_is_the_one_the_header_has():
    assert [delimiter_of(header) for header in ("text,label", "text\tlabel", "a, b and c;label;x", "text")] == list(
        ",\t;,"
    )
