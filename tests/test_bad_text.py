"""What can be wrong with texts and sequences: refused in words that name the place, or taken as they are."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gatelab.cli.main import main
from gatelab.core.random import generator
from refusals import refused

HOSTILE = "\x1b[31m\x9b\u202e<b>"
LONG = "good film " * 10_000  # 20,000 words
SMALL = ("--hidden-size", "4", "--epochs", "1")
TASKS = {"text-classification": "texts.csv", "sequence-classification": "sequences.csv", "language": "names.txt"}


# ---- sound data, to be spoiled --------------------------------------------------------------------------------------


def texts() -> list[tuple[str, str]]:
    rng = generator(0, "texts")
    words, telling = ["film", "plot", "the", "a", "scene"], {"good": "fine", "bad": "awful"}
    rows = [(" ".join([*rng.choice(words, 3), telling[label]]), label) for label in ("good", "bad") * 30]
    return [*rows, (LONG, "good"), ("", "bad"), (f"film {HOSTILE} plot", "good")]


def sequences() -> list[tuple[str, int, float, float, str]]:
    rng = generator(0, "sequences")
    lengths = {f"s{number}": 1 if number < 4 else int(rng.integers(2, 9)) for number in range(48)}
    return [(name, step, round(float(rng.normal(int(name[1:]) % 2, 0.2)), 3), round(float(rng.normal()), 3),
             ("up", "down")[int(name[1:]) % 2])
            for name, length in lengths.items() for step in range(length)]  # fmt: skip


def names() -> list[str]:
    rng = generator(0, "names")
    found = ["".join(rng.choice(["an", "bo", "da", "mi"], rng.integers(1, 4))) for _ in range(120)]
    return [*found, *[HOSTILE + name for name in found[:12]]]


def write_all(folder: Path) -> None:
    pd.DataFrame(texts(), columns=["text", "label"]).to_csv(folder / "texts.csv", index=False)
    columns = ["id", "step", "x", "y", "label"]
    pd.DataFrame(sequences(), columns=columns).drop(columns="step").to_csv(folder / "sequences.csv", index=False)
    (folder / "names.txt").write_text("\n".join(names()) + "\n", encoding="utf-8")


@pytest.fixture(autouse=True)
def _place(own_folder):
    """Every test here writes files and runs commands."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A small model of each task, trained once on data that are odd but sound; and what its training printed."""
    folder = tmp_path_factory.mktemp("trained")
    write_all(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for task, data in TASKS.items():
            printed = io.StringIO()
            patch.setattr(sys, "stdout", printed)
            patch.setattr(sys, "stderr", printed)
            assert main(["fit", task, data, *SMALL, "--out", task]) == 0, printed.getvalue()
            (folder / f"{task}.said").write_text(printed.getvalue(), encoding="utf-8")
    return folder


@pytest.fixture
def models(trained, tmp_path) -> Path:
    """Copies of the models, which lie in folders called as their tasks."""
    for task, data in TASKS.items():
        shutil.copytree(trained / task, tmp_path / task)
        shutil.copy(trained / data, tmp_path / data)
    return tmp_path


def spoiled(task: str, how: str) -> str:
    """Writes the data of a task with something wrong, and gives the name of the file."""
    write_all(Path())
    path = Path(TASKS[task])
    lines = path.read_bytes().splitlines(keepends=True)
    match how:
        case "empty":
            lines = []
        case "blank":
            lines = [b"\n", b"  \n"]
        case "header alone":
            lines = lines[:1]
        case "invalid UTF-8":
            lines[6] = lines[6][:2] + b"\xff" + lines[6][2:]
        case "UTF-16":
            lines = [b"\xff\xfe" + path.read_text(encoding="utf-8").encode("utf-16-le")]
        case "binary":
            lines = [bytes(range(256)) * 8]
        case "a row too wide":
            lines[6] = lines[6].rstrip() + b",surplus\n"
        case "no label":
            lines[6] = lines[6][: lines[6].rindex(b",") + 1] + b"\n"
        case "one class":
            lines = [line.replace(b",bad\n", b",good\n").replace(b",down\n", b",up\n") for line in lines]
        case "too few":
            lines = lines[:3]
        case "NaN":
            lines[6] = lines[6].split(b",")[0] + b",nan,1,up\n"
        case "infinite":
            lines[6] = lines[6].split(b",")[0] + b",inf,1,up\n"
        case "a word":
            lines[6] = lines[6].split(b",")[0] + b",much,1,up\n"
        case "a second label":
            first, rest = lines[10].split(b",")[0], lines[9].split(b",")[1:]
            other = b"down\n" if rest[-1] == b"up\n" else b"up\n"
            lines[9] = b",".join([first, *rest[:-1], other])
    path.write_bytes(b"".join(lines))
    return str(path)


# ---- files ----------------------------------------------------------------------------------------------------------

REFUSED = {
    "text-classification": {
        "empty": ["texts.csv"], "blank": ["texts.csv"], "header alone": ["texts.csv"],
        "invalid UTF-8": ["line 7, byte 3", "0xff"], "UTF-16": ["UTF-16"], "binary": ["line 1, byte 1"],
        "a row too wide": ["line 7"], "no label": ["line 7", "--label"], "one class": ["one class", "'good'"],
        "too few": ["too few"],
    },
    "sequence-classification": {
        "empty": ["sequences.csv"], "blank": ["sequences.csv"], "header alone": ["sequences.csv"],
        "invalid UTF-8": ["line 7, byte 3", "0xff"], "UTF-16": ["UTF-16"], "binary": ["line 1, byte 1"],
        "a row too wide": ["line 7"], "no label": ["line 7"], "one class": ["one class", "'up'"],
        "too few": ["too few"], "NaN": ["line 7", "'x'", "--gaps"], "infinite": ["line 7", "inf"],
        "a word": ["line 7", "'much'"],
        "a second label": ["second label", "line 10"],
    },
    "language": {
        "empty": ["names.txt"], "blank": ["text"], "invalid UTF-8": ["line 7, byte 3", "0xff"],
        "UTF-16": ["UTF-16"], "binary": ["line 1, byte 1"], "too few": ["too little text"],
    },
}  # fmt: skip
CASES = [(task, how) for task, cases in REFUSED.items() for how in cases]


@pytest.mark.parametrize(("task", "how"), CASES)
def test_a_file_that_cannot_be_used(task, how, capsys):
    if (task, how) == ("language", "too few"):
        Path("names.txt").write_text("an\n", encoding="utf-8")
        data = "names.txt"
    else:
        data = spoiled(task, how)
    said = refused(capsys, "fit", task, data, *SMALL, "--out", "run")
    for mention in REFUSED[task][how]:
        assert mention in said


@pytest.mark.parametrize("task", TASKS)
def test_a_file_that_is_not_there_or_is_no_text(task, capsys):
    write_all(Path())
    near = TASKS[task].replace("s.", ".")
    assert f"did you mean {TASKS[task]}" in refused(capsys, "fit", task, near, "--out", "run")
    Path("nothing").mkdir()
    assert "nothing" in refused(capsys, "fit", task, "nothing", "--out", "run")
    Path("cut.zip").write_bytes(b"PK\x03\x04" + bytes(100))
    assert "cut short" in refused(capsys, "fit", task, "cut.zip", "--out", "run")


def test_lines_of_json_that_are_none(capsys):
    good = [json.dumps({"text": text, "label": label}) for text, label in texts()]
    cases = {
        '{"text": "b"': "JSON",
        '["b"]': "object",
        '{"text": 3, "label": "good"}': "no text",
        '{"words": "b"}': "'text'",
        '{"text": "b"}': "label",
    }
    for wrong, mention in cases.items():
        Path("texts.jsonl").write_text("\n".join([*good[:3], wrong, *good[3:]]) + "\n", encoding="utf-8")
        said = refused(capsys, "fit", "text-classification", "texts.jsonl", *SMALL, "--out", "run")
        assert "line 4" in said
        assert mention in said


@pytest.mark.parametrize(
    ("rows", "mentions"),
    [("1,2,3:4,5,6:up\n1,2,3:4,5:down\n", ["line 6", "unequal length", "3, 2"]),
     ("1,2,3:4,5,6:up\n1,2,3:down\n", ["line 6", "other channels", "2 channels"]),
     ("1,2,3:4,5,6:up\n1,2,3:4,?,6:down\n", ["line 6", "missing", "step 2", "--gaps"]),
     ("1,2,3:4,5,6:up\n1,2,3:4,x,6:down\n", ["line 6", "step 2", "'x'"]),
     ("1,2,3:4,5,6:up\n1,2,3:4,5,6:sideways\n", ["line 6", "'sideways'", "up, down"]),
     ("", ["holds no sequence"])],
)  # fmt: skip
def test_a_file_of_the_archives_that_cannot_be_used(rows, mentions, capsys):
    header = "@problemName small\n@univariate false\n@classLabel true up down\n@data\n"
    Path("small.ts").write_text(header + rows, encoding="utf-8")
    said = refused(capsys, "fit", "sequence-classification", "small.ts", *SMALL, "--out", "run")
    for mention in mentions:
        assert mention in said


# ---- what is odd, and sound ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_training_on_odd_data_prints_and_writes_nothing_that_acts(task, trained):
    """An empty text, one of 20,000 words, escape codes and markup in texts and names, sequences of one step."""
    said = (trained / f"{task}.said").read_text(encoding="utf-8")
    page = (trained / task / "report.html").read_text(encoding="utf-8")
    for shown in (said, page):
        assert "\x1b" not in shown
        assert "\x9b" not in shown
        assert "\u202e" not in shown
    assert "<b>" not in page


def printed(capsys, *words: str) -> str:
    capsys.readouterr()
    code = main(list(words))
    said = capsys.readouterr()
    assert code == 0, said.err
    assert all(character.isprintable() or character == "\n" for character in said.out + said.err)
    return said.out


def records(capsys, *words: str) -> list[dict]:
    return json.loads(printed(capsys, *words, "--json"))


def test_odd_texts_are_classified(models, capsys):
    odd = ["good film", LONG, "", "   ", "漢字 Ωmega ñ", HOSTILE, "q" * 5_000]
    pd.DataFrame({"text": odd}).to_csv("new.csv", index=False)
    rows = records(capsys, "predict", "text-classification", "new.csv")
    assert [row["class"] in ("good", "bad") for row in rows] == [True] * len(odd)
    assert all(0.5 <= row["probability"] <= 1 for row in rows)
    assert "\\x1b[31m\\x9b\\u202e<b>" in printed(capsys, "predict", "text-classification", "new.csv")


def test_sequences_of_one_step_and_of_a_million(models, capsys):
    steps = 1_000_000
    X = np.stack([np.ones(steps), np.arange(steps) / steps], axis=1)[None]
    np.savez("new.npz", X=np.concatenate([X, X]), lengths=np.array([1, steps]))
    rows = records(capsys, "predict", "sequence-classification", "new.npz")
    assert [row["class"] in ("up", "down") for row in rows] == [True, True]
    assert all(0.5 <= row["probability"] <= 1 for row in rows)


def test_odd_lines_are_expected_with_a_number_each(models, capsys):
    Path("new.txt").write_text(f"an\n漢字\n{HOSTILE}\n{'bodami' * 4000}\n", encoding="utf-8")
    rows = records(capsys, "predict", "language", "new.txt")
    assert [row["line"] for row in rows] == [1, 2, 3, 4]
    assert [row["unknown"] for row in rows] == [0, 2, 0, 0]
    assert all(np.isfinite(row["NLL"]) for row in rows)
    assert "\\x1b[31m" in printed(capsys, "predict", "language", "new.txt")


# ---- what a model cannot predict from -------------------------------------------------------------------------------


def test_labels_that_were_not_there_in_training(models, capsys):
    for task, column in (("text-classification", "label"), ("sequence-classification", "label")):
        frame = pd.read_csv(TASKS[task], keep_default_na=False)
        frame.loc[frame.index[-1], column] = f"new\x1b[31m{column}"
        if task == "sequence-classification":
            frame.loc[frame["id"] == frame["id"].iloc[-1], column] = f"new\x1b[31m{column}"
        frame.to_csv("other.csv", index=False)
        said = refused(capsys, "evaluate", task, "other.csv")
        assert "[31mlabel" in said
        assert "line " in said


@pytest.mark.parametrize(
    ("task", "content", "mentions"),
    [("text-classification", b"", ["standard input"]),
     ("text-classification", b"good\nb\xffd\n", ["standard input, line 2, byte 2"]),
     ("sequence-classification", b"", ["standard input"]),
     ("sequence-classification", b"id,x,y\na,1,2\na,nan,3\n", ["standard input", "line 3"]),
     ("sequence-classification", b"id,x\na,1\na,2\n", ["'y'"]),
     ("language", b"", ["no text"]),
     ("language", b"an\nbo\n\xfe\n", ["standard input, line 3, byte 1"])],
)  # fmt: skip
def test_a_pipe_that_a_model_cannot_predict_from(task, content, mentions, models, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    said = refused(capsys, "predict", task, "-")
    for mention in mentions:
        assert mention in said


@pytest.mark.parametrize(
    ("task", "content", "count"),
    [("text-classification", "a good film\n\nan awful one\n", 3), ("language", "an\nbodami\n", 2),
     ("sequence-classification", "id,x,y\na,1,2\na,2,3\nb,0,0\n", 2)],
)  # fmt: skip
def test_a_pipe_is_read_like_a_file(task, content, count, models, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
    rows = records(capsys, "predict", task, "-")
    assert len(rows) == count
    file = Path("new.csv" if task == "sequence-classification" else "new.txt")
    file.write_text(content, encoding="utf-8")
    from_file = records(capsys, "predict", task, str(file))
    for row in [*rows, *from_file]:
        row.pop("document", None)  # the name of the file
    assert rows == from_file


@pytest.mark.parametrize("task", TASKS)
def test_nothing_is_known_ahead(task, models, capsys):
    said = refused(capsys, "predict", task, TASKS[task], "--future", TASKS[task])
    assert "--future" in said
