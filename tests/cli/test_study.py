"""``gatelab study`` as people type it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import toy_question
from gatelab.cli.main import main
from gatelab.studies import QUESTIONS, listing


@pytest.fixture(autouse=True)
def _toy(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(toy_question.__file__).parent))
    monkeypatch.setattr(QUESTIONS, "_entries", dict(QUESTIONS._entries))
    monkeypatch.setattr(listing, "_probe", lambda: listing.REFERENCE_SECONDS)
    toy_question.register()


@pytest.mark.slow
def test_table_verdict_report_then_json_then_the_list(capsys):
    words = ["study", "slopes", "--budget", "quick", "--cells", "rnn,gru", "--jobs", "1"]
    assert main([*words, "--seeds", "2"]) == 0
    shown = capsys.readouterr()
    assert "has the least loss." in shown.out
    assert str(Path("runs/study-slopes/report.html")) in shown.out
    assert "trials, 1 at a time" in shown.err
    assert "gatelab study slopes" in Path("runs/study-slopes/report.html").read_text()

    assert main([*words, "--seeds", "2,1", "--json", "--write", "docs/slopes.md"]) == 0  # nothing is left to do
    results = json.loads(capsys.readouterr().out)
    assert results["seeds"] == [2, 1]
    assert set(results["findings"]["losses"]) == {"rnn", "gru"}

    assert results["headline"] in Path("docs/slopes.md").read_text()
    assert Path("docs/slopes/1-losses.svg").read_text().startswith("<svg ")

    assert main(["study", "list"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("slopes"))
    assert results["headline"] in line
    assert "quick, 2 seeds" in line
    assert "~" in line


def test_the_list_names_every_question_and_runs_nothing(capsys):
    assert main(["study", "list", "--jobs", "1", "--json"]) == 0
    entries = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert set(entries) == set(QUESTIONS)
    assert entries["slopes"]["times"]["full"] == {"seconds": 8.0, "basis": "derived"}
    assert entries["slopes"]["found"] is None
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["study"], "needs a name"),
        (["study", "--budget", "quick"], "needs a name"),
        (["study", "slops"], "did you mean slopes"),
        (["study", "slopes", "--budget", "90s"], "quick, standard, full"),
        (["study", "slopes", "--cells", "gur"], "did you mean gru"),
        (["study", "slopes", "--seeds", "0"], "at least one seed"),
        (["study", "slopes", "--seeds", "many"], "--seeds"),
        (["study", "slopes", "--jobs", "0"], "--jobs"),
        (["study", "slopes", "--out", "/proc/nothing"], "/proc/nothing"),
    ],
)
def test_bad_input_is_refused_in_words(words, said, capsys):
    assert main(words) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""


def test_help_of_the_command_and_of_a_study(capsys):
    assert main(["study", "--help"]) == 0
    assert "slopes" in capsys.readouterr().out
    assert main(["study", "slopes", "--help"]) == 0
    assert "--budget" in capsys.readouterr().out
