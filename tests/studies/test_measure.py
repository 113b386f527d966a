"""What one trial measures, asked of it in this process."""

from __future__ import annotations

import pytest

import toys
from gatelab.core.config import ModelConfig, TrainingConfig, to_dict
from gatelab.studies.curves import WARM_EPOCHS
from gatelab.studies.measure import TaskMeasure
from gatelab.studies.trials import Trial


@pytest.fixture(scope="module")
def measure() -> TaskMeasure:
    return TaskMeasure(toys.AddingTask.open(0, toys.AddingConfig(steps=6, items=32)))


def tune(medians: tuple[float, ...], epochs: int = 8) -> Trial:
    training = TrainingConfig(epochs=epochs, batch_size=16)
    setting = {"model": to_dict(ModelConfig("gru", hidden_size=4)), "training": to_dict(training)}
    return Trial("tune", "gru", 0, {**setting, "medians": list(medians)})


def alive(**progress) -> None:
    pass


@pytest.mark.parametrize("checkpoint_seconds", [0.5, 0.0], ids=["epochs that share a checkpoint", "one each"])
def test_a_hopeless_try_is_given_up_however_short_its_epochs_are(measure, tmp_path, monkeypatch, checkpoint_seconds):
    monkeypatch.setattr("gatelab.training.loop.SHORT_EPOCH", checkpoint_seconds)
    measured = measure(tune((0.0,) * 8), tmp_path, alive)
    assert measured.measures["given_up"]
    epochs = [record["epoch"] for record in measured.measures["history"]]
    assert epochs == list(range(1, WARM_EPOCHS + 2))
    assert measured.measures["best"] == min(record["validation_loss"] for record in measured.measures["history"])


def test_a_try_that_was_cut_short_is_judged_by_all_its_epochs(measure, tmp_path, monkeypatch):
    monkeypatch.setattr("gatelab.training.loop.SHORT_EPOCH", 0.0)
    whole = measure(tune((0.0,) * 8), tmp_path / "whole", alive).measures["history"]

    def killed(**progress) -> None:
        if progress.get("epoch") == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(tune((0.0,) * 8), tmp_path / "cut", killed)
    resumed = measure(tune((0.0,) * 8), tmp_path / "cut", alive).measures["history"]
    assert [record["validation_loss"] for record in resumed] == [record["validation_loss"] for record in whole]


def test_a_try_that_keeps_up_is_trained_to_the_end(measure, tmp_path):
    measured = measure(tune((1e9,) * 8, epochs=5), tmp_path, alive)
    assert "given_up" not in measured.measures
    assert len(measured.measures["history"]) == 5
