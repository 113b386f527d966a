"""The study of gradients: profiles against a product of Jacobians, and words that follow the numbers."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gatelab.core.config import ModelConfig
from gatelab.core.random import generator
from gatelab.studies.questions.gradients import Gradients, measure, profiles
from gatelab.studies.questions.gradients_findings import decay, summarise
from gatelab.studies.questions.gradients_page import changed, figures, verdict
from gatelab.studies.training_trial import task_of
from gatelab.studies.trials import Trial

CONDITION = {"task": "problem", "source": "recall", "length": 12, "examples": 320, "held_out": 100, "cell": "rnn",
             "init": "torch", "num_layers": 1, "hidden_size": 6, "batch_size": 32, "learning_rate": 1e-2,
             "clip_norm": 1.0}  # fmt: skip
T = 13


@pytest.fixture(scope="module")
def task():
    return task_of(CONDITION)


def built(task, **model) -> torch.nn.Module:
    torch.manual_seed(3)
    return task.build(ModelConfig(hidden_size=6, **model))


def batch_of(task, items: int = 5):
    return next(iter(task.batches("train", items, generator(0, "traced"))))


# ---- profiles ----------------------------------------------------------------------------------------------------


def test_a_profile_is_the_product_of_jacobians(task):
    """∂L/∂h_k = ∂L/∂h_T · ∏ diag(1 − h²) W_hh, written out for every item."""
    network, batch = built(task, cell="rnn").double(), batch_of(task)
    states, _ = network.encoder(batch.x.double())  # (T, B, H)
    head, recurrent = network.head.weight.detach().numpy(), network.encoder.weight_hh_l0.detach().numpy()
    states = states.detach().numpy()  # (T, B, H)
    logits = states[-1] @ head.T + network.head.bias.detach().numpy()  # (B, O)
    share = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))  # (B, O)
    gradient = (share - np.eye(2)[batch.y[0].numpy()]) @ head  # (B, H)
    expected = []
    for step in reversed(range(T)):
        expected.append(np.log10(np.linalg.norm(gradient, axis=1)).mean())
        gradient = (gradient * (1 - states[step] ** 2)) @ recurrent  # (B, H)
    assert profiles(task, network, batch)["h"] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("rate", [0.5, 1.0, 1.3])
def test_a_linear_recurrence_decays_by_the_radius_of_its_matrix(task, rate):
    network = built(task, cell="rnn")
    rotation, _ = np.linalg.qr(generator(1, "rotation").normal(size=(6, 6)))
    with torch.no_grad():  # without input the state stays 0, where tanh is the identity
        for name, parameter in network.encoder.named_parameters():
            parameter.copy_(torch.from_numpy(rate * rotation) if name.startswith("weight_hh") else torch.zeros(()))
    found = profiles(task, network, batch_of(task))
    assert decay(found["h"]) == pytest.approx(rate, rel=1e-3)


def test_what_float32_cannot_hold_is_measured(task):
    network = built(task, cell="rnn", init="small_normal:0.00001")
    found = profiles(task, network, batch_of(task))["h"]
    assert found[-1] < -50
    assert next(network.parameters()).dtype == torch.float32, "the network that is trained stays as it is"


def test_the_gradient_of_an_lstms_cell_decays_by_its_forget_gate(task):
    """Where nothing feeds back through h, ∂c'/∂c = f alone (the additive path); a GRU has no such cell."""
    network = built(task, cell="lstm", init="torch+forget_bias:1.5")
    with torch.no_grad():
        network.encoder.weight_hh_l0.zero_()
        network.encoder.weight_ih_l0.zero_()
    found = profiles(task, network, batch_of(task))
    assert decay(found["c"]) == pytest.approx(1 / (1 + np.exp(-1.5)), rel=1e-3)
    assert set(profiles(task, built(task, cell="gru"), batch_of(task))) == {"h"}


@given(st.floats(0.01, 2.0), st.integers(3, 60), st.data())
def test_decay_is_the_base_of_a_power_whatever_is_missing(rate, steps, data):
    profile = [3 + at * float(np.log10(rate)) for at in range(steps)]
    gone = data.draw(st.sets(st.integers(0, steps - 1), max_size=steps - 2))
    assert decay([None if at in gone else value for at, value in enumerate(profile)]) == pytest.approx(rate, rel=1e-6)


def test_nothing_left_is_a_decay_of_nought():
    assert decay([-1.0, None, -np.inf]) == 0.0


# ---- a trial -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_trial_learns_to_recall_and_follows_the_gradient_on_the_way(tmp_path):
    easy = {**CONDITION, "length": 5, "examples": 3200, "hidden_size": 16, "cell": "gru"}
    beats = []
    found = measure(Trial("train", "x", 1, easy), tmp_path, lambda **progress: beats.append(progress)).measures
    assert found["test"]["accuracy"] > 0.95
    assert [taken["step"] for taken in found["profiles"]] == [0, 3, 6, 12, 25, 50, 100]
    assert all(len(taken["h"]) == 6 for taken in found["profiles"])
    assert beats[-1] == {"epoch": 100, "epochs": 100}
    again = measure(Trial("train", "x", 1, easy), tmp_path, lambda **_: None).measures
    assert again == found


# ---- findings and words ------------------------------------------------------------------------------------------


def table(rates: dict[str, float], noise: float, after: float = 0.0, seeds: int = 5) -> pd.DataFrame:
    """Trials whose profiles are powers: ``rates`` by ``cell/init``, a little different with each seed."""
    rows = []
    for key, rate in rates.items():
        cell, init = key.split("/")
        condition = {"cell": cell, "init": init, "num_layers": 1}
        label = Gradients().label_of(condition)
        for seed in range(1, seeds + 1):
            own = rate + noise * generator(seed, "own", key).normal()
            taken = [{"step": step, "h": list(np.arange(10) * np.log10(own + change))}
                     for step, change in ((0, 0.0), (8, after))]  # fmt: skip
            rows.append({**condition, "label": label, "seed": seed, "length": 9, "profiles": taken,
                         "test.accuracy": 0.5 + 0.5 * own**9})  # fmt: skip
    return pd.DataFrame(rows)


def said(*arguments, **options) -> str:
    return " ".join(verdict(summarise(table(*arguments, **options))))


def test_rates_and_intervals_are_those_of_the_trials():
    found = summarise(table({"rnn/torch": 0.5, "lstm/torch": 0.7}, noise=0.01))
    rnn, lstm = found["conditions"]
    assert rnn["before"]["mean"] == pytest.approx(0.5, abs=0.02)
    assert rnn["before"]["low"] < rnn["before"]["mean"] < rnn["before"]["high"]
    assert sorted(rnn["before"]["values"])[2] == rnn["before"]["mean"], "the median"
    assert rnn["curves"]["before"]["h"]["median"][0] == 0
    assert lstm["accuracy"]["count"] == 5
    assert found["maps"]["LSTM"]["steps"] == [0, 8]
    assert found["maps"]["LSTM"]["log10"][0][-1] == pytest.approx(9 * np.log10(0.7), abs=0.2)


def test_a_sure_difference_is_said_and_a_doubtful_one_is_not():
    sure = said({"rnn/torch": 0.5, "lstm/torch": 0.7}, noise=0.01)
    assert "the gradient vanishes in every cell: of what is there at a step, one step back keeps" in sure
    assert "the LSTM keeps more than the RNN" in sure
    doubtful = said({"rnn/torch": 0.60, "lstm/torch": 0.61}, noise=0.1)
    assert "no difference found between RNN and LSTM" in doubtful


def test_what_explodes_or_is_kept_is_not_called_vanishing():
    text = said({"rnn/torch": 1.3, "gru/torch": 0.5}, noise=0.01)
    assert "vanishes in the GRU only" in text
    assert "the gradient is kept" in said({"rnn/torch": 1.3}, noise=0.01)


def test_what_helps_most_and_what_kills_are_named():
    text = said({"rnn/torch": 0.5, "rnn/orthogonal": 0.9, "rnn/small_normal": 0.05}, noise=0.001)
    assert re.search(r"Nearest to 1 come: RNN with orthogonal, 0\.(9|899|901) ", text)
    assert "From randn·0.01 not 1 % is left after 2 steps in the RNN." in text


def test_training_changes_a_decay_only_where_seeds_agree():
    assert "the RNN's decay rises by 0.2" in said({"rnn/torch": 0.5}, noise=0.01, after=0.2)
    assert "no change found in the RNN" in said({"rnn/torch": 0.5}, noise=0.01)


def test_what_decay_foretells_needs_conditions_enough():
    rates = {f"rnn/small_normal:{at}": 0.3 + 0.1 * at for at in range(7)}
    assert "The nearer to 1 the decay before training, the more is learned" in said(rates, noise=0.001)
    assert summarise(table(dict(list(rates.items())[:3]), noise=0.001))["foretells"] is None


def test_few_seeds_are_said():
    assert "fewer than three seeds" in said({"rnn/torch": 0.5}, noise=0.01, seeds=2)
    alone = said({"rnn/torch": 0.5, "lstm/torch": 0.9}, noise=0.01, seeds=1)
    assert "difference" not in alone
    assert "Through training" not in alone
    assert "fewer than three seeds" not in said({"rnn/torch": 0.5}, noise=0.01)


@pytest.mark.parametrize(
    ("init", "layers", "words"),
    [
        ("torch", 1, ""),
        ("torch+forget_bias:3", 1, "forget bias 3"),
        ("small_normal", 1, "randn·0.01"),
        ("orthogonal", 4, "orthogonal, 4 layers"),
    ],
)
def test_conditions_are_called_by_what_is_not_as_usual(init, layers, words):
    assert changed({"init": init, "num_layers": layers}) == words


def test_a_figure_for_every_factor_that_was_varied():
    rates = {"rnn/torch": 0.5, "rnn/orthogonal": 0.9, "lstm/torch": 0.5, "lstm/torch+forget_bias:1": 0.8}
    drawn = figures(summarise(table(rates, noise=0.01)))
    assert "Initialisation" in drawn
    assert "Forget bias" in drawn
    assert "Depth" not in drawn
    assert "The additive path" not in drawn, "these trials have no c"
    maps = [name for name in drawn if name.startswith("Through training")]
    assert maps == [f"Through training: {name}" for name in ("RNN", "RNN, orthogonal", "LSTM", "LSTM, forget bias 1")]
