"""SGD whose weights are averaged: what the mean is over, when it begins, and that a cut changes nothing."""

import numpy as np
import pytest
import torch

import toys
from gatelab.core.config import ModelConfig, TrainingConfig
from gatelab.training import fit, loop
from gatelab.training.averaging import WAIT, AveragedSGD, averaged, begins
from gatelab.training.events import EpochEnded, Stepped
from gatelab.training.schedules import make_optimizer


def test_the_mean_is_over_the_weights_after_every_step_since_it_began():
    weight = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
    optimizer, target, path = AveragedSGD([weight], 0.3), torch.randn(3, dtype=torch.float64), []
    for step in range(9):
        optimizer.averaging = step >= 4
        optimizer.zero_grad()
        ((weight - target * step) ** 2).sum().backward()
        optimizer.step()
        path.append(weight.detach().clone())
        assert (optimizer.averages() is None) == (step < 4)
    torch.testing.assert_close(optimizer.averages()[0], torch.stack(path[4:]).mean(0))


def test_between_means_it_is_plain_sgd():
    one, two = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    ours = make_optimizer([one], TrainingConfig(optimizer="asgd", learning_rate=0.1, weight_decay=0.2))
    theirs = torch.optim.SGD([two], lr=0.1, weight_decay=0.2)
    assert isinstance(ours, AveragedSGD)
    ours.averaging = True
    for weight, optimizer in ((one, ours), (two, theirs)):
        for _ in range(3):
            optimizer.zero_grad()
            (weight**3).sum().backward()
            optimizer.step()
    assert torch.equal(one, two)


def algorithm_1(losses: list[float], n: int) -> bool:
    """The condition of Merity et al. 2018 word for word: v > min of logs[l] for l in {0, …, t − n − 1}."""
    logs: list[float] = []
    for t, v in enumerate(losses):
        if t > n and v > min(logs[: t - n]):
            return True
        logs.append(v)
    return False


def test_begins_as_the_paper_says():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(200):
        losses = (rng.normal(size=12).cumsum() - 0.4 * np.arange(12)).tolist()
        found.append(begins([{"validation_loss": loss} for loss in losses]))
        assert found[-1] == algorithm_1(losses, WAIT)
    assert 20 < sum(found) < 180


def test_without_losses_it_never_begins():
    assert not begins([])
    assert not begins([{"validation_loss": None}] * 20)


def test_what_is_validated_and_kept_is_the_mean_and_a_cut_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "begins", lambda history: len(history) >= 2)
    monkeypatch.setattr(loop, "SHORT_EPOCH", 0.0)
    kind = toys.TOYS["echo"]
    task = kind.open(0, kind.Config(length=512))
    training = TrainingConfig(optimizer="asgd", schedule="constant", learning_rate=3.0, epochs=5, patience=None,
                              batch_size=4, checkpoint_seconds=0.0)  # fmt: skip
    model, walked = ModelConfig("rnn", hidden_size=4), []

    class Cut(Exception):
        pass

    def cut(event):
        if isinstance(event, Stepped) and event.epoch == 4:
            raise Cut

    def watch(event):
        if isinstance(event, EpochEnded):
            walked.append(event.record["validation_loss"])

    whole = fit(task, model, training, folder=tmp_path / "whole", listeners=[watch])
    with pytest.raises(Cut):
        fit(task, model, training, folder=tmp_path / "cut", listeners=[cut])
    resumed = fit(task, model, training, folder=tmp_path / "cut")
    for a, b in zip(whole.model.state_dict().values(), resumed.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    monkeypatch.setattr(loop, "begins", lambda history: False)
    plain = fit(task, model, training, folder=tmp_path / "plain")
    losses = [record["validation_loss"] for record in plain.history]
    assert walked[:2] == losses[:2]
    assert walked[2:] != losses[2:]


def test_a_model_without_means_is_itself():
    model = torch.nn.Linear(2, 2)
    assert averaged(model, AveragedSGD(model.parameters(), 0.1)) is model
    assert averaged(model, torch.optim.Adam(model.parameters())) is model
