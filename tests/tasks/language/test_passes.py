"""Whole texts: a state carried from batch to batch is one long pass, and lines are each by themselves."""

import numpy as np
import pytest
import torch

from gatelab.core.config import ModelConfig
from gatelab.data.tokens import END
from gatelab.tasks.language.batches import stream_windows
from gatelab.tasks.language.config import LanguageConfig
from gatelab.tasks.language.model import LanguageNet
from gatelab.tasks.language.passes import stream_losses, text_losses

V = 12


def network(cell="gru", layers=2) -> LanguageNet:
    torch.manual_seed(0)
    model = ModelConfig(cell, hidden_size=16, num_layers=layers, dropout=0.5, input_dropout=0.2, weight_drop=0.2)
    return LanguageNet(model, LanguageConfig(), V)


def text(length, seed=0):
    return np.append(np.random.default_rng(seed).integers(2, V, length - 1), END).astype(np.int32)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("steps", [1, 7, 64])
def test_carried_state_is_one_long_pass(cell, steps):
    net, values = network(cell), text(400)
    np.testing.assert_allclose(stream_losses(net, values, steps), stream_losses(net, values, 400), atol=1e-6)
    assert net.training  # as it was before


@torch.no_grad()
def test_one_long_pass_is_every_token_given_all_before_it():
    net, values = network().eval(), text(30)
    losses = stream_losses(net, values)
    state, before = None, END
    for value, loss in zip(values.tolist(), losses, strict=True):
        found, state = net.step(torch.tensor([before]), state)
        assert -float(found[0, value]) == pytest.approx(loss, abs=1e-5)
        before = value


@torch.no_grad()
def test_the_loss_of_training_in_one_stream_is_that_of_the_evaluation():
    net, values = network().eval(), text(300)
    total, state = 0.0, None
    for batch in stream_windows(values, 1, 32):
        losses, state = net.losses(batch.read, batch.truth, state if batch.carries else None)
        total += float(losses.double().sum())
    assert total / len(values) == pytest.approx(stream_losses(net, values).mean(), abs=1e-6)


def test_texts_are_each_by_themselves_in_the_order_given():
    net = network()
    texts = [text(n, seed=n) for n in (5, 700, 1, 64, 5, 1500)]
    found = text_losses(net, texts)
    for ids, losses in zip(texts, found, strict=True):
        np.testing.assert_allclose(losses, stream_losses(net, ids), atol=1e-5)
