"""Parts, prediction and use of the music task."""

from __future__ import annotations

import json
import os

import numpy as np
import pandas as pd
import pytest
import torch

from gatelab.cli.main import main
from gatelab.core.config import ModelConfig
from gatelab.core.errors import DataError, InputError
from gatelab.tasks.music.config import MusicConfig
from gatelab.tasks.music.rolls import KEYS, key_name
from gatelab.tasks.music.task import Music

PIECES = [[[60 + (start + at) % 12] for at in range(4 + start % 5)] for start in range(20)]


@pytest.fixture(scope="module")
def task() -> Music:
    return Music.open(PIECES, MusicConfig())


def test_undivided_pieces_are_divided_once_and_for_all(task):
    sizes = {part: len(rolls) for part, rolls in task.rolls.items()}
    assert sizes == {"train": 14, "validation": 2, "test": 4}
    everything = [roll.tobytes() for rolls in task.rolls.values() for roll in rolls]
    assert sorted(everything) == sorted(roll.tobytes() for roll in Music.open(PIECES, MusicConfig()).reopen(
        PIECES, "evaluate").rolls["test"])  # fmt: skip
    assert Music.open(PIECES, MusicConfig()).fingerprint() == task.fingerprint()
    assert Music.open(PIECES, MusicConfig(split=(0.6, 0.2, 0.2))).fingerprint() != task.fingerprint()
    assert "drawn at random" in task.notes[0]


def test_parts_that_the_data_names_are_kept():
    parts = {"test": PIECES[:2], "train": PIECES[2:9], "valid": PIECES[9:12]}
    task = Music.open(parts, MusicConfig())
    assert [len(task.rolls[part]) for part in ("train", "validation", "test")] == [7, 3, 2]
    evaluated = task.reopen(parts, "evaluate")
    assert [len(evaluated.rolls[part]) for part in ("train", "validation", "test")] == [0, 0, 2]
    updated = task.reopen(parts, "update")
    assert [len(updated.rolls[part]) for part in ("train", "validation", "test")] == [7, 3, 0]


def test_pieces_in_which_nothing_follows_are_left_out_and_said():
    task = Music.open({"train": [*PIECES, [[60]]], "valid": PIECES[:1], "test": PIECES[:1]}, MusicConfig())
    assert len(task.rolls["train"]) == len(PIECES)
    assert any("left out: 1" in note for note in task.notes)
    assert len(Music.open([[[60]]] * 5, MusicConfig(first_step=True)).rolls["train"]) == 3


@pytest.mark.parametrize(("length", "pieces", "batch_size", "epochs"), [(61, 229, 16, 100), (251, 694, 4, 29)])
def test_a_batch_has_about_a_thousand_steps_and_a_training_some_thousand_batches(length, pieces, batch_size, epochs):
    roll = np.zeros((length, KEYS), np.uint8)
    task = Music.open({"train": [roll] * pieces, "valid": [roll], "test": [roll]}, MusicConfig())
    found = task.training_defaults()
    assert (found.batch_size, found.epochs) == (batch_size, epochs)


@pytest.mark.parametrize("pieces", [PIECES[:1], PIECES[:2], [[[60]]] * 9])
def test_too_few_pieces_are_refused(pieces):
    with pytest.raises(DataError, match="too few pieces") as caught:
        Music.open(pieces, MusicConfig())
    assert caught.value.fix


def test_bad_settings_are_refused():
    with pytest.raises(InputError, match="split"):
        MusicConfig(split=(0.5, 0.5))


@pytest.mark.parametrize("first_step", [False, True])
def test_prediction_is_one_row_a_step_and_one_beyond_the_end(first_step):
    task = Music.open(PIECES, MusicConfig(first_step=first_step))
    torch.manual_seed(0)
    model = task.build(ModelConfig("gru", hidden_size=6))
    given = [[[60, 64], [62], []], [[70], [71]]]
    found = task.predict(model, given)
    first = 1 if first_step else 2
    assert found["step"].tolist() == [*range(first, 5), *range(first, 4)]
    assert found["piece"].tolist() == [1] * (5 - first) + [2] * (4 - first)
    ends = found.groupby("piece").tail(1)
    assert ends["NLL"].isna().all()
    assert (ends["played"] == "").all()
    known = found.drop(ends.index)
    played = known.groupby("piece")["played"].agg(list).tolist()
    assert played == ([["C4 E4", "D4", "–"], ["A#4", "B4"]] if first_step else [["D4", "–"], ["B4"]])

    names = [key_name(key) for key in range(KEYS)]
    probability = found[names].to_numpy()  # (N, 88)
    assert ((probability > 0) & (probability < 1)).all()
    row = known.index[known["played"] == "D4"][0]
    others = 1 - probability[row]
    others[names.index("D4")] = probability[row, names.index("D4")]
    assert found["NLL"][row] == pytest.approx(-np.log(others).sum())
    likeliest = names[int(probability[row].argmax())]
    assert found["expected"][row].startswith(f"{likeliest} {probability[row].max():.2f}")


def test_the_last_row_is_what_a_longer_piece_says_of_that_step(task):
    torch.manual_seed(1)
    model = task.build(ModelConfig("lstm", hidden_size=6))
    short = task.predict(model, [[[60], [64]]])
    longer = task.predict(model, [[[60], [64], [67]]])
    names = [key_name(key) for key in range(KEYS)]
    np.testing.assert_allclose(short[names].iloc[-1].to_numpy(float), longer[names].iloc[1].to_numpy(float))


def test_what_is_known_ahead_is_refused(task):
    with pytest.raises(InputError, match="ahead"):
        task.predict(task.build(ModelConfig()), PIECES, future=PIECES)


def test_from_fit_to_predict_on_the_command_line(tmp_path, capsys):
    file, folder, table = tmp_path / "tunes.json", tmp_path / "run", tmp_path / "next.csv"
    file.write_text(json.dumps(PIECES))
    small = ["--epochs", "2", "--hidden-size", "8", "--out", str(folder)]
    assert main(["fit", "music", str(file), *small, "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert results["metric"] == "NLL"
    assert set(results["baselines"]) == {"chance", "note frequencies", "note goes on", "logistic regression"}
    assert main(["evaluate", str(folder), str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["items"] == sum(len(piece) - 1 for piece in PIECES)
    assert main(["predict", str(folder), str(file), "--out", str(table)]) == 0
    assert "expected" in capsys.readouterr().out
    assert len(pd.read_csv(table)) == sum(len(piece) for piece in PIECES)
    assert main(["predict", str(folder), str(tmp_path / "missing.json")]) == 2


@pytest.mark.slow
@pytest.mark.skipif("GATELAB_DATA" not in os.environ, reason="needs the public data: set GATELAB_DATA")
def test_a_chorale_is_told_better_by_a_network_than_by_counting(tmp_path):
    from dataclasses import replace

    from gatelab.training import fit

    task = Music.open("jsb_chorales", MusicConfig())
    training = replace(task.training_defaults(), epochs=8)
    fitted = fit(task, ModelConfig("gru", hidden_size=48), training, folder=tmp_path / "run")
    reached = task.evaluate(fitted.model, "test").metrics["NLL"]
    assert reached < task.baselines()["note goes on"]("test").metrics["NLL"] - 0.5
