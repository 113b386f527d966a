"""What people see while they wait."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from gatelab.studies.progress import Progress, describe
from gatelab.studies.trials import Record, Trial


def record(id: str, seconds: float, kind: str = "train") -> Record:
    return Record(id, kind, "gru", 3, {}, "ok", measures={"test": {"MAE": 7.21}}, seconds=seconds)


@pytest.fixture
def progress() -> Progress:
    progress = Progress(console=Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None))
    progress.jobs = 2
    progress.expect(10)
    return progress


def test_the_rest_is_estimated_from_what_is_done_and_begun(progress):
    assert progress.seconds_left() is None
    progress.finished(record("a", 20.0))
    progress.finished(record("b", 40.0))
    progress.finished(record("b", 40.0))
    progress.finished(record("c", 0.1, kind="baseline"))
    progress.finished(record("d", 999.0), fresh=False)
    assert progress.seconds_left() == pytest.approx(6 * 30.0 / 2)
    progress.running = lambda: [(Trial("train", "gru", 1, {}), {"started": time.time() - 10.0})]
    assert progress.seconds_left() == pytest.approx((6 * 30.0 - 10.0) / 2, abs=0.5)


def test_before_anything_is_done_training_itself_is_asked(progress):
    progress.running = lambda: [(Trial("train", "gru", 1, {}), {"started": time.time(), "estimate": 60.0})]
    assert progress.seconds_left() == pytest.approx(10 * 60.0 / 2, abs=0.5)


def test_a_terminal_shows_the_whole_and_each_running_trial(progress):
    beat = {"started": time.time() - 65.0, "epoch": 4, "epochs": 50, "validation_loss": 0.12345}
    progress.running = lambda: [(Trial("train", "lstm", 2, {}), beat), (Trial("tune", "gru", 0, {}), beat)]
    progress.finished(record("a", 20.0))
    progress.console.print(progress._view())
    shown = progress.console.file.getvalue()
    assert "1 of 10 trials" in shown
    assert "left" in shown
    assert "lstm, seed 2  epoch 4 of 50, validation loss 0.1235  1 min 5 s" in shown
    assert "gru (tune)" in shown


def test_a_trial_in_one_line():
    assert describe(record("a", 8.31)) == "gru, seed 3: MAE 7.21 in 8.3 s"
    failed = Record("a", "train", "rnn", 1, {}, "failed", message="the loss is NaN\nand more")
    assert describe(failed) == "rnn, seed 1 failed: the loss is NaN"
