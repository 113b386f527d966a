"""``gatelab bench`` as people type it."""

from __future__ import annotations

import json

import pytest

from gatelab.bench import SUITES, harness, machine
from gatelab.cli.main import main

TOY = ["--seconds", "0", "--shape", "2x5x3x4", "--cell", "gru"]


@pytest.fixture(autouse=True)
def small_products(monkeypatch):
    monkeypatch.setattr(machine, "PRODUCTS", ((16, 16, 16),))


def test_a_table_of_each_suite_and_what_it_ran_on(capsys):
    assert main(["bench", "train", "forward", *TOY]) == 0
    shown = capsys.readouterr()
    assert shown.out.count("torch.nn / gatelab") == 2
    assert shown.out.count("gru 2·5·3·4") == 2
    assert "cores" in shown.out
    assert "2 cases" in shown.err
    assert "train: gru" not in shown.out


def test_files_and_json_hold_the_same(tmp_path, capsys):
    files = ["--out", str(tmp_path / "bench.json"), "--markdown", str(tmp_path / "docs" / "bench.md")]
    assert main(["bench", "train", *TOY, "--json", *files]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "bench.json").read_text())
    (row,) = printed["rows"]
    assert row["case"] == "gru 2·5·3·4"
    page = (tmp_path / "docs" / "bench.md").read_text()
    assert "| gru 2·5·3·4 |" in page
    assert "gatelab bench train --seconds 0" in page


def test_the_list_names_every_suite_and_runs_none(capsys, monkeypatch):
    monkeypatch.setattr(harness, "run", None)
    assert main(["bench", "--list"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in SUITES)


def test_work_that_differs_has_no_time_and_code_1(monkeypatch, capsys):
    from gatelab.bench import suites

    def wrong(layer):
        twin = original(layer)
        twin.weight_hh_l0.data.mul_(1.01)
        return twin

    original = suites.dense.torch_twin
    monkeypatch.setattr(suites.dense, "torch_twin", wrong)
    assert main(["bench", "train", *TOY]) == 1
    shown = capsys.readouterr().out
    assert "gru 2·5·3·4: refused" in shown
    assert "gatelab and torch.nn do not compute the same" in shown
    assert " ms" not in shown
    assert "torch.nn / gatelab" not in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trane"], "did you mean train"),
        (["train", "--cell", "gur"], "among gru, rnn, lstm"),
        (["train", "--shape", "3x4"], "is not a shape"),
        (["train", "--threads", "0"], "--threads"),
        (["train", "--device", "tpu"], "cpu, cuda or cuda:N"),
        (["stream", "--device", "cuda"], "stream does not run on cuda"),
        (["train", "--dtype", "int8"], "float32, bfloat16"),
        (["train", "--out", "/proc/nothing/bench.json"], "/proc/nothing"),
    ],
)
def test_bad_input_is_refused_in_words(words, said, capsys):
    assert main(["bench", *words]) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""


def test_help_has_examples(capsys):
    assert main(["bench", "--help"]) == 0
    assert "gatelab bench --quick" in capsys.readouterr().out


def test_ctrl_c_shows_what_there_is(monkeypatch, tmp_path, capsys):
    calls = []

    def interrupt(*arguments):
        if calls:
            raise KeyboardInterrupt
        calls.append(1)
        return original(*arguments)

    original = harness.measured
    monkeypatch.setattr(harness, "measured", interrupt)
    assert main(["bench", "train", "forward", *TOY, "--out", str(tmp_path / "bench.json")]) == 130
    assert "stopped after 1 of 2 cases" in capsys.readouterr().out
    assert len(json.loads((tmp_path / "bench.json").read_text())["rows"]) == 1
