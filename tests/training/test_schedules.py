"""Rates against torch's own schedulers."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gatelab.core.config import TrainingConfig
from gatelab.training.averaging import AveragedSGD
from gatelab.training.schedules import PLATEAU_EPOCHS, halvings, learning_rate, make_optimizer


def one_weight() -> list[torch.nn.Parameter]:
    return [torch.nn.Parameter(torch.ones(1))]


def test_cosine_is_torchs_cosine():
    training = TrainingConfig(learning_rate=0.02, schedule="cosine")
    optimizer = make_optimizer(one_weight(), training)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=40)
    for step in range(40):
        assert learning_rate(training, step, 40) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        scheduler.step()


def test_warm_up_rises_linearly_to_the_peak_and_cosine_begins_there():
    training = TrainingConfig(learning_rate=0.1, schedule="cosine", warmup_steps=4)
    rates = [learning_rate(training, step, 20) for step in range(20)]
    assert rates[:5] == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1])
    assert np.all(np.diff(rates[4:]) < 0)
    assert rates[-1] > 0


@given(st.lists(st.integers(0, 6), min_size=1, max_size=40))
def test_plateau_is_torchs_reduce_on_plateau(criteria):
    optimizer = torch.optim.SGD(one_weight(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=PLATEAU_EPOCHS - 1, threshold=0.0, eps=0.0
    )
    best, history = float("inf"), []
    for value in criteria:
        history.append({"improved": value < best})
        best = min(best, value)
        scheduler.step(value)
        assert 0.5 ** halvings(history) == optimizer.param_groups[0]["lr"]


def test_plateau_and_constant_at_their_peak():
    history = [{"improved": True}] + [{"improved": False}] * PLATEAU_EPOCHS
    plateau = TrainingConfig(learning_rate=0.1, schedule="plateau")
    assert learning_rate(plateau, 9, 10, history[:-1]) == 0.1
    assert learning_rate(plateau, 9, 10, history) == 0.05
    assert learning_rate(TrainingConfig(learning_rate=0.1, schedule="constant"), 9, 10, history) == 0.1


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("adam", torch.optim.Adam),
        ("adamw", torch.optim.AdamW),
        ("rmsprop", torch.optim.RMSprop),
        ("sgd", torch.optim.SGD),
        ("asgd", AveragedSGD),
    ],
)
def test_optimizers_by_name(name, kind):
    optimizer = make_optimizer(one_weight(), TrainingConfig(optimizer=name, learning_rate=0.5, weight_decay=0.1))
    assert type(optimizer) is kind
    assert optimizer.param_groups[0]["weight_decay"] == 0.1
    assert optimizer.param_groups[0].get("nesterov", name == "sgd") == (name == "sgd")
