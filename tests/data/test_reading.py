"""How files are written: delimiters, decimal marks, encodings, headers; and files that are no tables."""

import gzip
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from gatelab.core.errors import DataError, InputError
from gatelab.data import Roles, read_table, reading
from gatelab.data.columns import choose
from gatelab.data.timeline import find_time

PLAIN = "date,y\n2020-01-01,1.5\n2020-01-02,2.5\n2020-01-03,4\n"
VALUES = [1.5, 2.5, 4.0]


@pytest.fixture
def file(tmp_path):
    """Writes content to a file and gives its path."""

    def write(content: str | bytes, name: str = "table.csv"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def values(table):
    return table.series[0].values[:, 0].tolist()


def test_plain_csv_says_nothing_about_how_it_was_read(file):
    table = read_table(file(PLAIN))
    assert values(table) == VALUES
    assert table.notes == (
        "time: date",
        "3 daily rows, 2020-01-01 to 2020-01-03",
        "target: y, the only column of numbers",
    )


@pytest.mark.parametrize(
    ("content", "spoken"),
    [
        (PLAIN.replace(",", ";"), "semicolons"),
        (PLAIN.replace(",", "\t"), "tabs"),
        (PLAIN.replace(",", "|"), "bars"),
        (PLAIN.replace(",", "   "), "spaces"),
        (PLAIN.replace(",", ";").replace(".", ","), "semicolons, decimal comma"),
        (PLAIN.replace(",", "\t").replace(".", ","), "tabs, decimal comma"),
    ],
)
def test_delimiters_and_decimal_marks(file, content, spoken):
    table = read_table(file(content))
    assert values(table) == VALUES
    assert spoken in table.notes[0]


def test_decimal_comma_in_a_file_of_commas_is_quoted(file):
    assert values(read_table(file('date,y\n2020-01-01,"1,5"\n2020-01-02,"2,5"\n2020-01-03,"4"\n'))) == VALUES


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "utf-8"])
def test_encodings(file, encoding):
    table = read_table(file(PLAIN.replace("y", "Größe €").encode(encoding)))
    assert table.columns[0].name == "Größe €"
    assert values(table) == VALUES


@pytest.mark.parametrize("ends", ["\r\n", "\r"])
def test_line_ends(file, ends):
    assert values(read_table(file(PLAIN.replace("\n", ends)))) == VALUES


def test_compressed(file, tmp_path):
    assert values(read_table(file(gzip.compress(PLAIN.encode()), "table.csv.gz"))) == VALUES
    with zipfile.ZipFile(tmp_path / "table.zip", "w") as archive:
        archive.writestr("inner.csv", PLAIN)
    assert values(read_table(tmp_path / "table.zip")) == VALUES
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.csv", PLAIN)
        archive.writestr("b.csv", PLAIN)
    with pytest.raises(InputError, match=r"(?s)two.zip holds 2 files.*a.csv, b.csv.*unpack"):
        read_table(tmp_path / "two.zip")


def test_parquet(tmp_path):
    frame = pd.DataFrame({"when": pd.date_range("2020", periods=3), "y": VALUES, "k": pd.Categorical(["a", "b", "a"])})
    frame.to_parquet(tmp_path / "table.parquet")
    table = read_table(tmp_path / "table.parquet", Roles(past=("*",)))
    assert values(table) == VALUES
    assert table.columns[1].levels == ("a", "b")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "table.parquet").read_bytes()[:200])
    with pytest.raises(DataError, match=r"cut.parquet cannot be read as Parquet: it may have been cut short"):
        read_table(tmp_path / "cut.parquet")


def test_frames():
    stamps = pd.date_range("2020", periods=3, freq="h")
    frame = pd.DataFrame({"y": VALUES}, index=stamps)
    assert read_table(frame).frequency.alias == "h"
    assert values(read_table(frame["y"])) == VALUES
    assert read_table(frame.reset_index(names="a column")).series[0].stamps.equals(stamps.as_unit("us"))
    monthly = pd.DataFrame({"y": VALUES}, index=pd.period_range("2020-01", periods=3, freq="M"))
    assert read_table(monthly).frequency.alias == "MS"
    with pytest.raises(InputError, match=r"(?s)not a table.*got: +list"):
        read_table([1, 2, 3])
    with pytest.raises(DataError, match="the table is empty"):
        read_table(frame[:0])
    with pytest.raises(DataError, match="two columns called 'y'"):
        read_table(pd.concat([frame, frame], axis=1))


def test_frame_is_not_written_to():
    frame = pd.DataFrame({"y": [1.0, -200.0, 3.0], "k": ["a", "-", "b"]})
    before = frame.copy()
    read_table(frame, Roles(target=("y",), past=("*",), missing=("-200",)))
    pd.testing.assert_frame_equal(frame, before)


# ---- headers --------------------------------------------------------------------------------------------------


def test_no_header(file):
    table = read_table(file("1.0,2\n3.0,5\n4.5,7\n"), Roles(target=("col_1",)))
    assert values(table) == [2, 5, 7]
    assert table.notes[0] == "no header: the columns are called col_0 to col_1"
    dated = read_table(file("2020-01-01 00:00,2\n2020-01-01 01:00,5\n2020-01-01 02:00,7\n"))
    assert values(dated) == [2, 5, 7]
    assert dated.frequency.alias == "h"


def test_quoted_headers_with_delimiters_and_blanks(file):
    table = read_table(file('"date"," Flow, all lanes (veh)"\n2020-01-01,1\n2020-01-02,2\n2020-01-03,5\n'))
    assert table.columns[0].name == "Flow, all lanes (veh)"


def test_columns_and_rows_that_a_spreadsheet_appended(file):
    table = read_table(file("date;y;;\n2020-01-01;1;;\n2020-01-02;2;;\n2020-01-03;5;;\n;;;\n;;;\n"))
    assert values(table) == [1, 2, 5]
    assert "2 empty columns without a name left out" in table.notes
    assert "2 rows without any cell filled left out" in table.notes


def test_lines_before_the_table(file):
    assert values(read_table(file("sep=;\n" + PLAIN.replace(",", ";")))) == VALUES
    table = read_table(file("# station 5\n# metres\n" + PLAIN))
    assert values(table) == VALUES
    assert table.notes[0] == "file read with 2 lines before the table left out"
    headed = read_table(file("# station 5\n" + "#" + PLAIN))
    assert (headed.roles.time, values(headed)) == ("#date", VALUES)
    with pytest.raises(DataError, match=r"inf in line 5"):
        read_table(file("# station 5\n# metres\n" + PLAIN.replace("2.5", "inf")))


def test_two_columns_of_one_name(file):
    with pytest.raises(DataError, match="two columns called 'y'"):
        read_table(file("date,y,y\n2020-01-01,1,2\n"))


# ---- thousands ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (['"1,234.5"', '"2,000,000"', "3"], [1234.5, 2e6, 3]),
        (['"1,234"', '"2,345"', "3"], [1234, 2345, 3]),
        (["1 234.5", "2 000 000", "3"], [1234.5, 2e6, 3]),
        (["1'234.5", "2\u00a0000", "3"], [1234.5, 2000, 3]),
        (["12%", "13.5%", "-4%"], [12, 13.5, -4]),
        (["\u2212" + "3", "+4", "5e-1"], [-3, 4, 0.5]),
        (["true", "FALSE", "True"], [1, 0, 1]),
    ],
)
def test_numbers_as_people_write_them(file, cells, expected):
    rows = "".join(f"2020-01-0{day + 1},{cell}\n" for day, cell in enumerate(cells))
    assert values(read_table(file("date,y\n" + rows), Roles(target=("y",)))) == expected


def test_european_thousands(file):
    content = "date;y;z\n2020-01-01;1.234,5;1.234\n2020-01-02;2,5;7\n2020-01-03;3.000.000;8\n"
    table = read_table(file(content), Roles(("y",), past=("z",)))
    assert table.series[0].values.tolist() == [[1234.5, 1234], [2.5, 7], [3e6, 8]]


def test_a_thousand_or_a_fraction(file):
    content = "date;y\n2020-01-01;1,234\n2020-01-02;2,345\n2020-01-03;3,456\n"
    table = read_table(file(content))
    assert values(table) == [1.234, 2.345, 3.456]
    assert "read as fractions; --decimal . reads thousands" in table.notes[0]
    assert values(read_table(file(content), Roles(decimal="."))) == [1234, 2345, 3456]
    with pytest.raises(InputError, match="--decimal"):
        Roles(decimal="'")


# ---- bad files ------------------------------------------------------------------------------------------------


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*nothing.csv"):
        read_table(tmp_path / "nothing.csv")


def test_name_of_a_data_set_misspelt():
    with pytest.raises(InputError, match=r"(?s)no data set of that name.*did you mean .*sp500_daily"):
        read_table("sp500daily")


def test_folder(tmp_path, file):
    file(PLAIN)
    with pytest.raises(InputError, match=r"(?s)is a folder, not a table.*table.csv.*name one file in it"):
        read_table(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\n\n  \n", b"\xef\xbb\xbf"])
def test_empty_file(file, content):
    with pytest.raises(DataError, match=r"table.csv is empty"):
        read_table(file(content))


def test_header_without_rows(file):
    with pytest.raises(DataError, match=r"(?s)a header and no rows.*columns date, y"):
        read_table(file("date,y\n"))


def test_binary_file(file):
    noise = np.random.default_rng(0).integers(0, 256, 4000, dtype="uint8").tobytes()
    for content in (noise, b"\x89PNG\r\n\x1a\n" + noise):
        with pytest.raises(DataError, match=r"(?s)picture.csv is a binary file, not a table.*CSV"):
            read_table(file(content, "picture.csv"))


def test_spreadsheet(tmp_path, file):
    with zipfile.ZipFile(tmp_path / "book.xlsx", "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("xl/workbook.xml", "<workbook/>")
    (tmp_path / "renamed.csv").write_bytes((tmp_path / "book.xlsx").read_bytes())
    old = file(bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600), "old.xls")
    for path in (tmp_path / "book.xlsx", tmp_path / "renamed.csv", old):
        with pytest.raises(DataError, match=r"(?s)is a spreadsheet.*save it as CSV"):
            read_table(path)


@pytest.mark.parametrize("name", ["cut.csv.gz", "cut.zip"])
def test_archive_cut_short(tmp_path, file, name):
    if name.endswith("zip"):
        with zipfile.ZipFile(tmp_path / "whole.zip", "w") as archive:
            archive.writestr("inner.csv", PLAIN * 50)
        content = (tmp_path / "whole.zip").read_bytes()
    else:
        content = gzip.compress(PLAIN.encode() * 50)
    with pytest.raises(DataError, match=f"{name} cannot be unpacked: it may have been cut short"):
        read_table(file(content[: len(content) // 2], name))


def test_one_endless_line(file):
    with pytest.raises(DataError, match=r"table.csv cannot be read as a table"):
        read_table(file('{"a": "' + "x" * 200_000 + '"}\n'))


@pytest.mark.parametrize(
    ("row", "cells"), [("2020-01-04", 1), ("2020-01-04,1,2", 3)], ids=["too few cells", "too many cells"]
)
def test_ragged_rows_are_named_by_their_line(file, row, cells):
    content = f'date,y\n2020-01-01,1\n\n"2020-01-02","2"\n2020-01-03,3\n{row}\n2020-01-05,5\n'
    with pytest.raises(DataError, match=rf"(?s)line 6 of table.csv has {cells} cells? where the first has 2.*{row}"):
        read_table(file(content))


def test_lines_are_counted_through_quoted_line_ends(file):
    content = 'date,y,remark\n2020-01-01,1,"one\ntwo\nthree"\n2020-01-02,inf,no\n2020-01-03,3,no\n'
    with pytest.raises(DataError, match=r"inf in line 5"):
        read_table(file(content), Roles(target=("y",)))


def test_an_encrypted_archive_is_refused(tmp_path):
    path = tmp_path / "locked.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("table.csv", PLAIN)
    content = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + flags] |= 1  # the bit that says "encrypted"
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"(?s)locked.zip cannot be unpacked.*unpack it by hand"):
        read_table(path)


def test_a_large_file_is_not_kept_beside_its_cells(file, tmp_path, monkeypatch):
    """It is parsed from the disk, what is known is let go of, and a line is named by reading it once more."""
    rows = [f"2020-01-01 {hour:02}:{minute:02},{hour},{minute}" for hour in range(24) for minute in range(60)]
    content = "\n".join(["when,y,x", *rows, ""])
    plain, packed = file(content), file(gzip.compress(content.encode()), "large.csv.gz")
    expected = read_table(plain, Roles(target=("y",), past=("*",)))
    monkeypatch.setattr(reading, "_LARGE", 1000)
    parsed, of_tables = [], reading._parse
    monkeypatch.setattr(
        reading, "_parse", lambda name, body, *rest: parsed.append(body) or of_tables(name, body, *rest)
    )
    for path in (plain, packed):
        found = read_table(path, Roles(target=("y",), past=("*",)))
        np.testing.assert_array_equal(found.series[0].values, expected.series[0].values)
        assert found.notes == expected.notes
    assert parsed == [plain, content.encode()]
    with pytest.raises(DataError, match="'wrong' in line 62"):
        read_table(file(content.replace(",1,0\n", ",wrong,0\n", 1)), Roles(target=("y",)))


def test_cells_that_are_numbers_by_now_are_let_go_of(file, monkeypatch):
    raw = reading.read_raw(
        file("day,shop,y,kind\n" + "".join(f"2020-01-{d:02},a,{d},{'uv'[d % 2]}\n" for d in range(1, 9)))
    )
    choose(raw, Roles(target=("y",), past=("kind",), id="shop"), find_time(raw, Roles(id="shop")))
    assert list(raw.frame) == ["day", "shop", "kind"]
    assert not [key for key in raw.parsed if key[0] == "y"]


def test_arrows_memory_pool_is_the_users_again(file):
    before = pa.default_memory_pool().backend_name
    read_table(file(PLAIN))
    with pytest.raises(DataError):
        read_table(file("a,b\n1\n"))
    assert pa.default_memory_pool().backend_name == before
