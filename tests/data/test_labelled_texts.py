"""Texts and labels from what people keep them in."""

import gzip
import json
import zipfile

import numpy as np
import pandas as pd
import pytest

from gatelab.core.errors import DataError, InputError
from gatelab.data.labelled_texts import read_texts

TEXTS, LABELS = ["so good", "so, so bad", 'a "fine" line\nand more'], ["pos", "neg", "pos"]


def pairs(found):
    return list(zip(found.texts, found.labels, strict=True))


WANTED = list(zip(TEXTS, LABELS, strict=True))


@pytest.mark.parametrize(("name", "delimiter"), [("my.csv", ","), ("my.tsv", "\t"), ("my.csv", ";")])
def test_tables(tmp_path, name, delimiter):
    texts = [text.replace("\n", " ") for text in TEXTS]
    pd.DataFrame({"Review": texts, "id": [1, 2, 3], "Sentiment": LABELS}).to_csv(
        tmp_path / name, sep=delimiter, index=False
    )
    assert pairs(read_texts(tmp_path / name)) == list(zip(texts, LABELS, strict=True))


def test_texts_of_several_lines_and_columns_of_any_name(tmp_path):
    path = tmp_path / "my.csv"
    pd.DataFrame({"a": LABELS, "b": TEXTS}).to_csv(path, index=False)
    assert pairs(read_texts(path)) == WANTED
    assert pairs(read_texts(path, text="b", label="a")) == WANTED
    assert read_texts(path).place(3) == "my.csv, line 4"


def test_json_lines_also_compressed(tmp_path):
    lines = "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in WANTED)
    (tmp_path / "my.jsonl").write_text(lines, encoding="utf-8")
    with gzip.open(tmp_path / "my.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write(lines)
    assert pairs(read_texts(tmp_path / "my.jsonl")) == pairs(read_texts(tmp_path / "my.jsonl.gz")) == WANTED


def test_labels_that_are_numbers_or_truth_values(tmp_path):
    for values, names, kind in (
        ([1, 0], ["1", "0"], "int"),
        ([True, False], ["True", "False"], "bool"),
        ([2.5, 1], ["2.5", "1.0"], "float"),
        (["1", "0"], ["1", "0"], "text"),
    ):
        rows = [{"text": "a", "label": value} for value in values]
        (tmp_path / "my.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        found = read_texts(tmp_path / "my.jsonl")
        assert (found.labels, found.label_type) == (names, kind)


def test_labels_of_different_types_are_refused_with_both_places(tmp_path):
    rows = [{"text": "a", "label": 1}, {"text": "b", "label": True}]
    (tmp_path / "my.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(DataError, match=r"different types: 1 in my.jsonl, line 1, True in my.jsonl, line 2"):
        read_texts(tmp_path / "my.jsonl")
    with pytest.raises(DataError, match=r"different types: 0 in the texts, line 1, 'b' in the texts, line 2"):
        read_texts((["x", "y"], [0, "b"]))


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, pd.NaT, "", " "])
def test_missing_labels_are_no_class_and_their_rows_are_named(missing):
    frame = pd.DataFrame({"text": list("abcd"), "label": pd.Series(["x", missing, "y", missing], dtype=object)})
    for source in (frame, (list(frame["text"]), list(frame["label"]))):
        with pytest.raises(DataError, match=r"line 2 has no label, and 1 other have none: .*line 4") as caught:
            read_texts(source)
        assert "2 texts without a label, of 4" in str(caught.value)
    assert read_texts(frame, labelled=False).labels == ["x", None, "y", None]


# ---- tables without a header ----------------------------------------------------------------------------------------

FILMS = [("a fine film", "1"), ("dull", "0"), ("so it goes", "1"), ("long, and dull", "0"), ("fine, fine", "1")]


@pytest.mark.parametrize("name", ["my.tsv", "my.txt", "my.csv"])
@pytest.mark.parametrize("turned", [False, True])
def test_a_table_without_a_header_keeps_its_first_text(tmp_path, name, turned):
    delimiter = "," if name == "my.csv" else "\t"
    rows = [(f'"{text}"' if name == "my.csv" else text, label) for text, label in FILMS]
    lines = [delimiter.join(reversed(row) if turned else row) for row in rows]
    (tmp_path / name).write_text("\n".join(lines) + "\n")
    found = read_texts(tmp_path / name)
    assert pairs(found) == FILMS
    assert any(note.startswith("no header") for note in found.notes)
    assert found.place(1) == f"{name}, line 1"


def test_a_header_is_one_where_evidence_says_so(tmp_path):
    for header in ("text\tlabel", "review\tstars", "utterance\tmood"):
        (tmp_path / "my.tsv").write_text("\n".join([header, *("\t".join(row) for row in FILMS)]) + "\n")
        found = read_texts(tmp_path / "my.tsv")
        assert pairs(found) == FILMS
        assert found.notes[0] == f"text: column {header.split()[0]!r}"
    (tmp_path / "my.tsv").write_text("\n".join("\t".join(row) for row in FILMS) + "\n")
    with pytest.raises(InputError, match="no column 'mood'"):
        read_texts(tmp_path / "my.tsv", label="mood")


def test_sentences_without_labels_are_no_header(tmp_path):
    sentences = ["the first of some sentences that stand alone", "the second one is of that kind, too", "and a third"]
    (tmp_path / "my.tsv").write_text("\n".join(sentences) + "\n")
    assert list(read_texts(tmp_path / "my.tsv", labelled=False).texts) == sentences


def test_a_file_of_lines_without_labels_says_what_it_may_be(tmp_path):
    (tmp_path / "my.txt").write_text("a fine film\na dull one\n")
    with pytest.raises(DataError, match=r"(?s)my.txt, line 1 has no label.*\.tsv.*__label__"):
        read_texts(tmp_path / "my.txt")


def test_a_folder_for_each_class(tmp_path):
    for at, (text, label) in enumerate(WANTED):
        (tmp_path / "data" / label).mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / label / f"{at}.txt").write_text(text, encoding="utf-8")
    (tmp_path / "data" / "README.txt").write_text("about these data", encoding="utf-8")
    assert sorted(pairs(read_texts(tmp_path / "data"))) == sorted(WANTED)


@pytest.mark.parametrize("names", [("polarity.neg", "polarity.pos"), ("neg.txt", "pos.txt")])
def test_an_archive_of_a_file_for_each_class(tmp_path, names):
    with zipfile.ZipFile(tmp_path / "my.zip", "w") as archive:
        archive.writestr("inner/README", "about these data")
        for name, text in zip(names, ("dull\n\nstale\n", "fine\n"), strict=True):
            archive.writestr(f"inner/{name}", text)
    assert pairs(read_texts(tmp_path / "my.zip")) == [("dull", "neg"), ("stale", "neg"), ("fine", "pos")]


def test_lines_with_the_prefix_of_fasttext_and_without_labels(tmp_path):
    (tmp_path / "a.txt").write_text("__label__pos so good\n__label__neg so bad\n", encoding="utf-8")
    assert pairs(read_texts(tmp_path / "a.txt")) == [("so good", "pos"), ("so bad", "neg")]
    (tmp_path / "b.txt").write_text("so good\n\nso bad\n", encoding="utf-8")
    assert pairs(read_texts(tmp_path / "b.txt", labelled=False)) == [("so good", None), ("", None), ("so bad", None)]


def test_python_objects():
    assert pairs(read_texts((TEXTS, LABELS))) == WANTED
    assert pairs(read_texts((np.array(TEXTS, dtype=object), np.array(LABELS)))) == WANTED
    assert pairs(read_texts(pd.DataFrame({"text": TEXTS, "label": LABELS}))) == WANTED
    assert read_texts(TEXTS, labelled=False).labels == [None] * 3


BAD = {
    "no label": ("text,label\nfine,pos\ndull,\n", r"my\.csv, line 3 has no label"),
    "a cell too many": ("text,label\nfine,pos\ndull,really,neg\n", r"my\.csv, line 3 has another number of cells"),
    "no rows": ("text,label\n", r"my\.csv has no rows"),
    "nothing": ("", r"my\.csv has no rows"),
    "an open quote": ('text,label\n"fine,pos\ndull,neg\n', r"my\.csv, line 2: a quote"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_tables_are_refused_by_their_row(tmp_path, case):
    content, message = BAD[case]
    (tmp_path / "my.csv").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message) as caught:
        read_texts(tmp_path / "my.csv")
    assert caught.value.fix


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"line 2 is no JSON"),
        ("[1]", r"line 2 is no object"),
        ('{"words": "x"}', r"line 2 has no key 'text'"),
        ('{"text": 3, "label": 1}', r"line 2: this is no text"),
        ('{"text": "x"}', r"line 2 has no label"),
        ("[" * 100_000, r"line 2 is no JSON"),
    ],
)
def test_bad_json_is_refused_by_its_line(tmp_path, line, message):
    (tmp_path / "my.jsonl").write_text('{"text": "a", "label": "b"}\n' + line, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_texts(tmp_path / "my.jsonl")


def test_bytes_that_are_no_text_are_named_with_line_and_byte(tmp_path):
    (tmp_path / "my.csv").write_bytes(b"text,label\nfine,pos\nna\xefve,neg\n")
    with pytest.raises(DataError, match="line 3, byte 3"):
        read_texts(tmp_path / "my.csv")
    assert list(read_texts(tmp_path / "my.csv", encoding="latin-1").texts) == ["fine", "naïve"]


def test_what_is_not_clear_is_asked_for(tmp_path):
    (tmp_path / "my.csv").write_text("a,b,c\nsome words,x,y\n", encoding="utf-8")
    with pytest.raises(InputError, match="which column") as caught:
        read_texts(tmp_path / "my.csv")
    assert "--label" in caught.value.fix
    with pytest.raises(InputError, match="no column 'lable'") as caught:
        read_texts(tmp_path / "my.csv", label="lable")
    assert pairs(read_texts(tmp_path / "my.csv", label="c")) == [("some words", "y")]


def test_a_text_of_twenty_thousand_words(tmp_path):
    long = "word " * 20_000
    (tmp_path / "my.csv").write_text(f'text,label\n"{long}",pos\nshort,neg\n', encoding="utf-8")
    assert read_texts(tmp_path / "my.csv").texts[0] == long
