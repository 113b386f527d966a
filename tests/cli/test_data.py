"""``gatelab data``."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pandas as pd
import pytest

from gatelab.cli.main import main
from gatelab.data.catalogue import DATASETS


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """No mirror, no network needed, a cache of its own."""
    monkeypatch.delenv("GATELAB_DATA", raising=False)
    monkeypatch.setenv("GATELAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def run(capsys, *words: str, code: int = 0) -> str:
    assert main(["data", *words]) == code
    said = capsys.readouterr()
    return said.err if code else said.out


def test_list(capsys):
    said = run(capsys, "list")
    assert all(name in said for name in DATASETS)
    entries = json.loads(run(capsys, "list", "--json"))
    assert [entry["name"] for entry in entries] == list(DATASETS)
    assert all(len(file["sha256"]) == 64 for entry in entries for file in entry["files"])


def test_get_prints_paths_and_copies(capsys, tmp_path):
    assert run(capsys, "get", "co2_weekly", "digits").split() == [
        str(tmp_path / "cache/co2_weekly"),
        str(tmp_path / "cache/digits"),
    ]
    assert run(capsys, "get", "co2_weekly", "--out", "data").split() == ["data/co2_weekly"]
    assert str(tmp_path) not in json.loads(run(capsys, "show", "co2_weekly", "--json"))["path"]


def test_get_says_the_licence_on_stderr(capsys):
    assert main(["data", "get", "co2_weekly"]) == 0
    assert "Licence: public domain. Cite: Keeling" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["get"], ["get", "co2_weekly", "co2_weakly"], ["show", "nothing.csv"], ["show", "."]]
)
def test_what_is_not_there(capsys, words):
    said = run(capsys, *words, code=0 if words == ["show", "."] else 2)
    assert "Traceback" not in said


def test_show_a_data_set(capsys):
    said = run(capsys, "show", "co2_weekly")
    for part in ("Keeling", "public domain", "2,284 rows", "1958-03-29", "2001-12-29", "59", "⡴", "▁", "weekly rows"):
        assert part in said
    found = json.loads(run(capsys, "show", "co2_weekly", "--json"))
    assert (found["rows"], found["first"], found["last"], found["frequency"]) == (
        2284,
        "1958-03-29",
        "2001-12-29",
        "W-SAT",
    )
    assert found["columns"][0] | {"mean": 0} == {
        "name": "co2", "kind": "number", "missing": 59, "minimum": 313.0, "mean": 0, "maximum": 373.9, "levels": [],
    }  # fmt: skip


def table(path="own.csv", **columns) -> str:
    rows = 60
    stamps = pd.date_range("2024-01-01", periods=rows, freq="D")
    pd.DataFrame({"day": stamps, "load": np.arange(rows) % 7 + 0.5, **columns}).to_csv(path, index=False)
    return path


def test_show_a_file_with_several_columns(capsys):
    table(price=np.linspace(-3, 3, 60), wind=["n", "s", None] * 20, same=[1] * 60)
    found = json.loads(run(capsys, "show", "own.csv", "--json"))
    assert {column["name"]: column["kind"] for column in found["columns"]} == {
        "load": "number", "price": "number", "wind": "category",
    }  # fmt: skip
    assert found["columns"][2]["missing"] == 20
    assert found["dataset"] is None
    assert any("same" in note for note in found["notes"])
    chosen = json.loads(run(capsys, "show", "own.csv", "--json", "--target", "price"))
    assert chosen["columns"][0]["name"] == "price"


def test_an_unknown_target_names_the_near_one(capsys):
    assert "load" in run(capsys, "show", table(), "--target", "laod", code=2)


def test_a_column_name_cannot_write_to_the_terminal(capsys):
    said = run(capsys, "show", table(**{"\x1b[31mred": np.arange(60.0) ** 2}))
    assert "\x1b" not in said
    assert "\\x1b[31mred" in said


def test_an_irregular_table_is_shown_and_what_is_wrong_is_said(capsys):
    stamps = pd.Timestamp("2024-01-01") + pd.to_timedelta(
        np.cumsum(np.random.default_rng(0).integers(1, 10**6, 60)), "s"
    )
    said = run(capsys, "show", table(day=stamps))
    assert "60 rows" in said
    assert "Not usable for forecasting as it is" in said
    assert "fix:" in said


def test_other_kinds_of_files(capsys, tmp_path):
    (tmp_path / "words.txt").write_text("first line\n" + "x" * 1000 + "\n" + "more\n" * 20)
    said = run(capsys, "show", "words.txt")
    assert "first line" in said
    assert max(map(len, said.splitlines())) <= 200
    with zipfile.ZipFile("many.zip", "w") as archive:
        for number in range(12):
            archive.writestr(f"{number}.wav", b"")
    said = run(capsys, "show", "many.zip")
    assert "3.wav" in said
    assert "4 more" in said
    (tmp_path / "noise.bin").write_bytes(bytes(range(256)))
    assert "noise.bin" in run(capsys, "show", "noise.bin")
    assert "many.zip" in run(capsys, "show", ".")
