"""Training that cannot go on says why, and keeps what was done."""

import math
from dataclasses import replace

import pytest
import torch

import toys
from gatelab.core.config import ModelConfig
from gatelab.core.errors import TrainingError
from gatelab.core.task import Loss
from gatelab.training import Run, fit

MODEL = ModelConfig("gru", hidden_size=6)


class Sabotaged(toys.EchoTask):
    """Goes wrong from one training step on, in the way ``wrong`` names."""

    wrong = ""
    at = 1

    def loss(self, model, batch, state=None):
        self.calls = getattr(self, "calls", 0) + model.training
        if self.calls < self.at or not model.training:
            return super().loss(model, batch, state)
        if self.wrong == "input":
            batch.x[0, 0] = math.inf
        if self.wrong == "weights":
            model.head.weight.data[0, 0] = math.nan
        if self.wrong == "activation":
            model.head.weight.data[:] = 10.0
            output = model.head(torch.full((1, 6), 3e38))  # finite in, infinite out
            return Loss(output.sum(), 1, state)
        loss = super().loss(model, batch, state)
        if self.wrong == "state":
            return loss._replace(state=loss.state * math.nan)
        if self.wrong == "gradient":
            # Finite forward, infinite derivative: √x at 0.
            return Loss(loss.mean + (model.head.bias * 0).sqrt().sum(), loss.weight, loss.state)
        return loss


def sabotage(wrong: str, at: int) -> Sabotaged:
    task = Sabotaged.open(0, toys.EchoConfig(length=1024))
    task.wrong, task.at = wrong, at
    return task


def train(task, folder, **changes):
    return fit(task, MODEL, replace(task.training_defaults(), **changes), folder=folder)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("input", r"input that is not finite .*: x \(1 of 128\)"),
        ("weights", r"weights that are not finite: head\.weight \(1 of 6\)"),
        ("gradient", r"gradients that are not finite: head\.bias \(1 of 1\)"),
        ("activation", r"first layer whose output is not finite: head \(Linear\)"),
    ],
)
def test_names_what_is_not_finite(wrong, said, tmp_path):
    with pytest.raises(TrainingError, match=said) as caught:
        train(sabotage(wrong, at=10), tmp_path)
    text = str(caught.value)
    assert "at step 10 (epoch 2, batch 3 of 7)" in text
    assert "learning rate 0.0" in text
    assert "gradient norms before: " in text
    assert "fix:" in text


def test_the_carried_state_is_looked_at(tmp_path):
    with pytest.raises(TrainingError, match=r"carried state that is not finite: state \(96 of 96\)"):
        train(sabotage("state", at=3), tmp_path)  # after step 3, for step 4


def test_keeps_history_and_best_weights(tmp_path):
    whole = train(toys.EchoTask.open(0, toys.EchoConfig(length=1024)), tmp_path / "whole", epochs=6)
    with pytest.raises(TrainingError):
        train(sabotage("gradient", at=18), tmp_path / "failed", epochs=6)  # in the third epoch
    run = Run.open(tmp_path / "failed")
    kept = [{**record, "seconds": 0} for record in run.history()]
    assert kept == [{**record, "seconds": 0} for record in whole.history[:2]]
    assert all(tensor.isfinite().all() for tensor in run.model_state().values())
    assert run.outcome is None


def test_a_mended_cause_lets_the_run_go_on(tmp_path):
    whole = train(toys.EchoTask.open(0, toys.EchoConfig(length=1024)), tmp_path / "whole")
    with pytest.raises(TrainingError):
        train(sabotage("gradient", at=18), tmp_path / "failed")
    mended = train(toys.EchoTask.open(0, toys.EchoConfig(length=1024)), tmp_path / "failed")
    assert all(torch.equal(a, b) for a, b in zip(whole.model.parameters(), mended.model.parameters(), strict=True))


def test_a_validation_loss_that_is_not_finite(tmp_path):
    task = toys.AddingTask.open(0, toys.AddingConfig(items=64))
    task.parts["validation"].y[3] = math.inf
    with pytest.raises(TrainingError, match="the validation loss is inf after epoch 1"):
        train(task, tmp_path)


def test_divergence_of_a_real_run(tmp_path):
    """A rate a billion times too high, without clipping: the advice names both."""
    task = toys.AddingTask.open(0, toys.AddingConfig(items=64))
    with pytest.raises(TrainingError, match="--clip-norm 1") as caught:
        train(task, tmp_path, optimizer="sgd", learning_rate=1e12, clip_norm=None, schedule="constant", patience=None)
    assert "--learning-rate 1e+11" in str(caught.value)
