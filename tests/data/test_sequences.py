import gzip
import re
import zipfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatelab.core.errors import DataError, GatelabError, InputError
from gatelab.data import sequence_tables
from gatelab.data.ragged import Ragged
from gatelab.data.sequences import Layout, joined, read_sequences

LONG = """id,label,t,x,y
a,up,1,0.5,1
a,up,2,1.5,2
b,down,1,-1,3
a,up,3,2.5,4
b,down,2,-2,5
"""


def write(folder, text, name="my.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def values(read):
    return [rows.tolist() for rows in read.sequences.values]


def refused(source, layout=None, labelled=True, kind=DataError):
    with pytest.raises(kind) as caught:
        read_sequences(source, layout or Layout(), labelled)
    assert caught.value.fix or caught.value.expected or caught.value.got is not None
    return str(caught.value)


# ---- tables ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [1, 2, 1000])
def test_rows_are_steps_wherever_the_rows_of_a_sequence_stand(tmp_path, monkeypatch, block):
    monkeypatch.setattr(sequence_tables, "_BLOCK_ROWS", block)
    path = write(tmp_path, LONG)
    found = read_sequences(path, Layout(time="t"))
    assert values(found) == [[[0.5, 1], [1.5, 2], [2.5, 4]], [[-1, 3], [-2, 5]]]
    assert (found.labels, found.names) == (("up", "down"), ("a", "b"))
    assert found.sequences.channels == ("x", "y")
    assert found.places == ("line 2 of my.csv", "line 4 of my.csv")
    np.testing.assert_array_equal(found.sequences.values[0], pd.read_csv(path).query("id == 'a'")[["x", "y"]])


def test_what_is_not_said_is_found_and_what_is_said_wins(tmp_path):
    path = write(tmp_path, LONG)
    assert read_sequences(path, Layout()).sequences.channels == ("t", "x", "y")
    found = read_sequences(path, Layout(id="label", label="id", channels=("y", "x")), labelled=False)
    assert found.names == ("up", "down")
    assert found.sequences.channels == ("y", "x")
    for text in (LONG.replace(",", ";"), LONG.replace(",", "\t"), "\ufeff" + LONG, LONG.replace("\n", "\r\n")):
        assert values(read_sequences(write(tmp_path, text), Layout(time="t"))) == [
            [[0.5, 1], [1.5, 2], [2.5, 4]], [[-1, 3], [-2, 5]]
        ]  # fmt: skip
    packed = write(tmp_path, gzip.compress(LONG.encode()), "my.csv.gz")
    assert read_sequences(packed, Layout()).names == ("a", "b")


def test_a_frame_and_parquet_are_tables_too(tmp_path):
    frame = pd.DataFrame({"id": [7, 7, 9], "class": ["p", "p", "q"], "x": [1.0, 2.0, 3.0]})
    frame.to_parquet(tmp_path / "my.parquet")
    for source in (frame, tmp_path / "my.parquet"):
        found = read_sequences(source, Layout())
        assert values(found) == [[[1.0], [2.0]], [[3.0]]]
        assert (found.names, found.labels) == (("7", "9"), ("p", "q"))


def test_rows_may_be_whole_sequences(tmp_path):
    text = "label,a1,b1,a2,b2\nx,1,2,3,4\ny,5,6,,\n"
    found = read_sequences(write(tmp_path, text), Layout(per_step=2))
    assert values(found) == [[[1, 2], [3, 4]], [[5, 6]]], "empty cells at the end make a sequence shorter"
    assert "multiple of 3" in refused(write(tmp_path, text), Layout(per_step=3), kind=InputError)


def test_a_table_without_ids_is_one_sequence_where_no_label_is_needed(tmp_path):
    found = read_sequences(write(tmp_path, "x\n1\n2\n"), Layout(), labelled=False)
    assert values(found) == [[[1], [2]]]
    assert found.labels is None


@pytest.mark.parametrize(
    ("text", "layout", "message"),
    [
        (LONG.replace("2.5", "two"), Layout(), "line 5 .*'x' is no number(.|\n)*'two'"),
        (LONG.replace("2.5", ""), Layout(), "line 5 .*'x' is missing(.|\n)*--gaps"),
        (LONG.replace("2.5", "nan"), Layout(), "line 5 .*'x' is missing"),
        (LONG.replace("2.5", "inf"), Layout(), "line 5 .*infinite"),
        (LONG.replace("2.5,4", "2.5"), Layout(), "line 5 .*4 cells where the first has 5"),
        (LONG.replace("a,up,3", "a,down,3"), Layout(), "line 5 .*'a' has a second label(.|\n)*line 2"),
        (LONG.replace("a,up,3", ",up,3"), Layout(), "line 5 .*of which sequence"),
        (LONG.replace("a,up,3", "a,,3"), Layout(), "line 5 .*second label"),
        (LONG.replace("a,up,3", "a,up,1"), Layout(time="t"), "line 5 .*before that of the row above"),
        (LONG.replace("a,up,3", "a,up,late"), Layout(time="t"), "line 5 .*neither a number nor a date"),
        ("", Layout(), "empty"),
        ("id,label,x\n", Layout(), "empty"),
        (LONG.replace("x,y", "x,x"), Layout(), "two columns called 'x'"),
        ("id,label,x\na,,1\n", Layout(), "line 2 .*no label"),
        (LONG.encode().replace(b"2.5", b"2.\xff"), Layout(), "line 5, byte 10"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_is_named_by_its_line(tmp_path, text, layout, message):
    found = refused(write(tmp_path, text), layout)
    assert re.search(message, found), found


@pytest.mark.parametrize(
    ("text", "layout", "message"),
    [
        (LONG.replace("label", "kind"), Layout(), "no column of labels"),
        (LONG.replace("id", "who"), Layout(), "which rows are one sequence"),
        (LONG, Layout(channels=("z",)), "no column 'z'"),
        (LONG, Layout(label="labl"), "did you mean label"),
    ],
)
def test_a_column_that_is_not_there_is_asked_for(tmp_path, text, layout, message):
    assert message in refused(write(tmp_path, text), layout, kind=InputError)


def test_a_class_may_be_called_none_and_numbers_stay_as_they_are_written(tmp_path):
    text = "id,label,x\n007,none,1\n007,none,2\n8,NA,3\n"
    found = read_sequences(write(tmp_path, text), Layout())
    assert (found.names, found.labels) == (("007", "8"), ("none", "NA"))
    frame = pd.DataFrame({"id": ["a", "b"], "label": [1.0, np.nan], "x": [1, 2]})
    assert "no label" in refused(frame)
    assert read_sequences(frame.head(1), Layout()).labels == ("1",)


def test_dates_order_rows_as_numbers_do(tmp_path):
    text = "id,label,day,x\na,u,2026-01-01,1\na,u,2026-01-02,2\n"
    assert values(read_sequences(write(tmp_path, text), Layout(time="day"))) == [[[1], [2]]]
    turned = text.replace("-01-01", "-03-01")
    assert "line 3" in refused(write(tmp_path, turned), Layout(time="day"))


def test_gaps_are_taken_where_they_are_allowed(tmp_path):
    found = read_sequences(write(tmp_path, LONG.replace("2.5", "?")), Layout(gaps=True, time="t"))
    np.testing.assert_array_equal(found.sequences.values[0], [[0.5, 1], [1.5, 2], [np.nan, 4]])
    assert "infinite" in refused(write(tmp_path, LONG.replace("2.5", "inf")), Layout(gaps=True))


def test_control_characters_of_a_file_do_not_reach_the_terminal(tmp_path):
    text = LONG.replace("a,up,3", "a,\x1b[2Jup,3")
    assert "\x1b" not in refused(write(tmp_path, text))
    assert "\x1b" not in refused(write(tmp_path, LONG.replace("2.5", "\x1b[31m")))
    assert "\x1b" not in refused(write(tmp_path, LONG.replace(",x,", ",\x1b[31m,").replace("2.5", "z")))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=12))
def test_pieces_are_joined_in_the_order_of_their_sequences(owners):
    order = {owner: at for at, owner in enumerate(dict.fromkeys(owners))}
    of = np.array([order[owner] for owner in owners])
    pieces = Ragged.of([[at, at] for at in range(len(owners))], np.int64)
    wanted = [[at for at in range(len(owners)) if of[at] == number for _ in (0, 1)] for number in range(len(order))]
    assert [rows.tolist() for rows in joined(pieces, of)] == wanted


# ---- .ts ------------------------------------------------------------------------------------------------------------

TS = """# words
@problemName Two
@missing true
@univariate false
@classLabel true good bad
@data
1,2,3:4,5,6:good
7,?:8,9:bad
"""


def test_ts_files(tmp_path):
    found = read_sequences(write(tmp_path, TS, "my.ts"), Layout(gaps=True))
    assert found.labels == ("good", "bad")
    assert found.sequences.values[0].tolist() == [[1, 4], [2, 5], [3, 6]]
    np.testing.assert_array_equal(found.sequences.values[1], [[7, 8], [np.nan, 9]])
    assert found.places[1] == "line 8 of my.ts"
    unlabelled = TS.replace("true good bad", "false").replace(":good", "").replace(":bad", "")
    assert read_sequences(write(tmp_path, unlabelled, "my.ts"), Layout(gaps=True), labelled=False).labels is None
    assert read_sequences(write(tmp_path, TS, "piped"), Layout(gaps=True)).labels == ("good", "bad")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("7,?", "7,x", "line 8 .*channel 1.*step 2 is no number(.|\n)*'x'"),
        ("7,?", "7", "line 8 .*unequal length"),
        ("7,?", "7,?,9", "line 8 .*unequal length"),
        ("7,?:8,9", "7,9", "line 8 .*other channels"),
        (":bad", ":bed", "line 8 .*not among those(.|\n)*'bed'"),
        ("7,?:8,9", ":", "line 8 .*no steps"),
        ("@data\n", "", "no line @data"),
        ("@missing true", "@timestamps true", "timeStamps"),
        ("@classLabel true good bad", "@targetlabel true", "regression"),
        (TS[TS.index("1,2") :], "", "no sequence"),
        (":bad", ":?", "line 8 .*no label"),
    ],
)
def test_a_ts_file_that_is_wrong_is_refused_by_its_line(tmp_path, old, new, message):
    assert old in TS
    found = refused(write(tmp_path, TS.replace(old, new), "my.ts"), Layout(gaps=True))
    assert re.search(message, found), found


def test_a_missing_value_of_a_ts_file_is_refused_unless_gaps_are_taken(tmp_path):
    assert re.search("line 8 .*missing(.|\n)*step 2 of channel 1", refused(write(tmp_path, TS, "my.ts")))


# ---- recordings -----------------------------------------------------------------------------------------------------


def folder_of(tmp_path, files):
    for name, text in files.items():
        path = tmp_path / "all" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "all"


def zipped(folder):
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.csv")):
            archive.write(file, file.relative_to(folder).as_posix())
    return path


TABLED = {"data/rss_1.csv": "#a, b\n1,2\n3,4\n", "data/rss_2.csv": "#a, b\n5,6\n",
          "data/target.csv": "#id, class\n1,1\n2,-1\n", "groups/other.csv": "#id, group\n1,1\n"}  # fmt: skip


def test_recordings_with_a_table_of_labels(tmp_path):
    folder = folder_of(tmp_path, TABLED)
    for source in (folder, zipped(folder)):
        found = read_sequences(source, Layout())
        assert values(found) == [[[1, 2], [3, 4]], [[5, 6]]]
        assert (found.labels, found.sequences.channels) == (("1", "-1"), ("a", "b"))
        assert any("left out: 1" in note for note in found.notes)


def test_recordings_in_folders_of_their_classes(tmp_path):
    folder = folder_of(tmp_path, {"walk/1.csv": "x\n1\n2\n", "run/1.csv": "x\n3\n", "run/2.csv": "x\n4\n"})
    found = read_sequences(folder, Layout())
    assert sorted(zip(found.names, found.labels, strict=True)) == [
        ("run/1.csv", "run"), ("run/2.csv", "run"), ("walk/1.csv", "walk")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"data/target.csv": "id,class\n1,1\n3,1\n"}, "'3', of which there is no recording"),
        ({"data/target.csv": "id,class\n1,1\n1,-1\n"}, "line 3 of .*target.csv names a recording a second time"),
        ({"data/target.csv": "id,class\n1,\n"}, "line 2 of .*target.csv lacks"),
        ({"data/rss_2.csv": "#a, b\n5,six\n"}, "line 2 of .*rss_2.csv.*no number"),
        ({"data/rss_2.csv": "#a\n5\n"}, "rss_2.csv.*other channels"),
        ({"data/rss_2.csv": "#a, b\n5,\n"}, "line 2 of .*rss_2.csv.*missing"),
    ],
)
def test_recordings_that_do_not_fit_are_named(tmp_path, files, message):
    found = refused(folder_of(tmp_path, TABLED | files))
    assert re.search(message, found), found


def test_a_damaged_archive_and_two_tables_of_labels(tmp_path):
    folder = folder_of(tmp_path, TABLED)
    content = zipped(folder).read_bytes()
    broken = write(tmp_path, content[: len(content) // 2], "broken.zip")
    with pytest.raises(GatelabError):
        read_sequences(broken, Layout())
    (folder / "data" / "labels.csv").write_text("id,class\n1,1\n")
    assert "more than one table of labels" in refused(folder, kind=InputError)
