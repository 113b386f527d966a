"""Texts line by line: where lines end, what is refused and where, folders and archives."""

import gzip
import io
import itertools
import pickle
import zipfile

import pytest

from gatelab.core.errors import DataError, InputError
from gatelab.data.lines import check_encoding, decoded_lines, documents


def lines(content: bytes, **options) -> list[str]:
    return list(decoded_lines(io.BytesIO(content), "a.txt", **options))


def test_lines_end_at_line_feeds_alone():
    content = "one\r\ntwo\u2028still two\x0bstill\r\nthree\rthree".encode()
    assert lines(content) == ["one", "two\u2028still two\x0bstill", "three\rthree"]
    assert lines(b"a\n\nb\n") == ["a", "", "b"]


def test_ends_are_kept_as_the_file_has_them():
    assert lines(b"a\r\n\nb", keep_ends=True) == ["a\n", "\n", "b"]


def test_a_mark_of_utf8_is_no_text():
    assert lines("\ufeffäß\n".encode()) == ["äß"]


def test_nothing_is_no_line():
    assert lines(b"") == []


def test_is_lazy():
    endless = (b"line\n" for _ in itertools.count())
    assert list(itertools.islice(decoded_lines(endless, "endless"), 3)) == ["line"] * 3


@pytest.mark.parametrize(
    ("content", "place", "got"),
    [
        (b"fine\nna\xefve\n", "line 2, byte 3", "0xef"),
        (b"\xff\xfa", "line 1, byte 1", "0xff"),
        (b"\xef\xbb\xbfab\xc3", "line 1, byte 3", "0xc3"),  # a letter cut in two; the mark is not counted
        (b"a\nb\nPK\x00\x01", "line 3, byte 3", "0x00"),
    ],
)
def test_a_byte_that_is_no_text_is_refused_where_it_stands(content, place, got):
    with pytest.raises(DataError, match=f"a.txt, {place}") as caught:
        lines(content)
    assert got in str(caught.value)
    assert caught.value.fix


def test_what_is_shown_of_a_refused_line_cannot_move_the_cursor():
    with pytest.raises(DataError) as caught:
        lines(b"\x1b[2J\xff")
    assert "\x1b" not in str(caught.value)


def test_utf16_is_called_by_its_name():
    with pytest.raises(DataError, match="UTF-16"):
        lines("text".encode("utf-16"))


def test_other_encodings_can_be_named():
    assert lines("naïve\n".encode("latin-1"), encoding="latin-1") == ["naïve"]


@pytest.mark.parametrize("encoding", ["utf-32", "utf_16_le", "klingon", "base64"])
def test_encodings_that_lines_cannot_be_read_in_are_refused(encoding):
    with pytest.raises(InputError, match="encoding"):
        check_encoding(encoding)


def test_files_folders_and_archives(tmp_path):
    (tmp_path / "b.txt").write_text("b\n")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.txt").write_text("a\n")
    (tmp_path / "note.md").write_text("no text of ours")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name in ("s/2.txt", "s/1.txt", "__MACOSX/s/1.txt", "s/picture.png"):
            archive.writestr(name, name)
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress(b"c\n"))

    def read(source):
        return [(document.name, *document.lines()) for document in documents(source)]

    assert read(tmp_path) == [("b.txt", "b"), (str(tmp_path.joinpath("deep", "a.txt").relative_to(tmp_path)), "a")]
    assert read(tmp_path / "all.zip") == [("s/1.txt", "s/1.txt"), ("s/2.txt", "s/2.txt")]
    assert read(tmp_path / "c.txt.gz") == [("c.txt.gz", "c")]
    assert read(tmp_path / "note.md") == [("note.md", "no text of ours")]  # who names a file means it
    document = pickle.loads(pickle.dumps(documents(tmp_path / "all.zip")[0]))
    assert list(document.lines()) == ["s/1.txt"]


def test_sources_without_text_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"\.txt"):
        documents(tmp_path)
    with pytest.raises(InputError, match="no file"):
        documents(tmp_path / "nothing.txt")


def test_broken_archives_are_refused(tmp_path):
    path = tmp_path / "cut.zip"
    path.write_bytes(b"PK\x03\x04 and nothing more")
    with pytest.raises(DataError, match="cut short"):
        documents(path)
    packed = tmp_path / "cut.txt.gz"
    packed.write_bytes(gzip.compress(b"line\n" * 1000)[:-20])
    with pytest.raises(DataError, match="cut short"):
        list(documents(packed)[0].lines())


@pytest.mark.parametrize("packed", [None, "gz", "zip"])
@pytest.mark.parametrize("length", [3, 50_000])
def test_lines_that_end_in_a_return_alone_are_lines(tmp_path, packed, length):
    lines = [f"line {number} ü" for number in range(length)]
    content = "\r".join(lines).encode()
    for ending in (b"", b"\r"):
        path = tmp_path / (f"my.txt.{packed}" if packed == "gz" else "my.zip" if packed else "my.txt")
        if packed == "zip":
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("my.txt", content + ending)
        else:
            path.write_bytes(gzip.compress(content + ending) if packed else content + ending)
        (document,) = documents(path)
        assert list(document.lines()) == lines
        assert "".join(document.lines(keep_ends=True)) == "\n".join(lines) + ("\n" if ending else "")


def test_a_return_within_lines_that_end_otherwise_is_text(tmp_path):
    (tmp_path / "my.txt").write_bytes(b"one\rtwo\nthree\r\n")
    (document,) = documents(tmp_path / "my.txt")
    assert list(document.lines()) == ["one\rtwo", "three"]
