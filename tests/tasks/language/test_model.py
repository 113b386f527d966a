"""The network: a distribution at every step, steps that are the pass, inert padding, and what it cannot have."""

import dataclasses

import numpy as np
import pytest
import torch

import gatelab.nn as gnn
from gatelab.cells.cell import CELLS
from gatelab.core.config import ModelConfig
from gatelab.core.errors import InputError
from gatelab.data.tokens import END
from gatelab.nn.tracing import trace
from gatelab.tasks.language.batches import side_by_side
from gatelab.tasks.language.config import LanguageConfig
from gatelab.tasks.language.model import AdaptiveSoftmax, LanguageNet, LockedDropout

V, H = 23, 8
ENDS = {
    "plain": LanguageConfig(),
    "tied": LanguageConfig(tied=True),
    "tied and narrow": LanguageConfig(tied=True, embedding_size=5),
    "adaptive": LanguageConfig(adaptive=True),
}


@pytest.fixture(autouse=True)
def a_seed():
    torch.manual_seed(0)


def network(end="plain", **model) -> LanguageNet:
    return LanguageNet(ModelConfig(**{"cell": "lstm", "hidden_size": H, "dropout": 0.3, **model}), ENDS[end], V)


@pytest.mark.parametrize("end", ENDS)
@torch.no_grad()
def test_every_end_is_a_distribution_and_its_likelihoods_are_those(end):
    net = network(end).eval()
    read, truth = torch.randint(0, V, (6, 4)), torch.randint(0, V, (6, 4))
    rows, _ = net(read)
    every = net.log_probabilities(rows.flatten(0, 1))  # (N, V)
    torch.testing.assert_close(every.exp().sum(1), torch.ones(24))
    losses, _ = net.losses(read, truth)
    torch.testing.assert_close(-losses, every.gather(1, truth.flatten()[:, None])[:, 0])


@pytest.mark.parametrize("cell", CELLS)
@torch.no_grad()
def test_steps_are_the_pass(cell):
    for model in ({"num_layers": 2}, {"num_layers": 2, "residual": True}):
        net = network(cell=cell, **model).eval()
        read = torch.randint(0, V, (5, 3))
        rows, _ = net(read)
        state = None
        for t in range(5):
            found, state = net.step(read[t], state)  # (B, V)
            torch.testing.assert_close(found, net.log_probabilities(rows[t]))


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_what_lies_beyond_the_end_of_a_line_changes_nothing(cell):
    net = network(cell=cell).eval()
    texts = [np.array([5, 6, 7, 8, END]), np.array([9, END])]
    batch = side_by_side(texts)
    losses, _ = net.losses(batch.read, batch.truth)
    losses.sum().backward()
    gradients = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    other = batch.read.clone()
    other[2:, 1] = torch.tensor([11, 12, 13])
    changed, _ = net.losses(other, batch.truth)
    changed.sum().backward()
    assert torch.equal(losses, changed)
    assert all(torch.equal(a, p.grad) for a, p in zip(gradients, net.parameters(), strict=True))


def test_tied_weights_are_one():
    net, plain = network("tied", hidden_size=16), network(hidden_size=16)
    assert sum(p.numel() for p in plain.parameters()) - sum(p.numel() for p in net.parameters()) == V * 16
    losses, _ = net.losses(torch.full((1, 1), 3), torch.full((1, 1), 7))
    losses.sum().backward()
    assert (net.embedding.weight.grad[[3, 7]] != 0).any(1).all()
    assert "head.weight" not in net.state_dict()


def test_dropout_before_the_softmax_has_one_mask_for_all_steps():
    found = LockedDropout(0.4)(torch.ones(50, 20, 30))
    assert torch.equal(found, found[:1].expand_as(found))
    assert found.unique().tolist() == pytest.approx([0, 1 / 0.6])
    assert abs((found[0] == 0).double().mean() - 0.4) < 4 * np.sqrt(0.24 / 600)
    assert torch.equal(LockedDropout(0.4).eval()(found), found)


@pytest.mark.parametrize("vocabulary", [3, 10, 25_000])
@pytest.mark.parametrize("width", [1, 3, 64])
def test_clusters_fit_any_vocabulary_and_width(vocabulary, width):
    head = AdaptiveSoftmax(width, vocabulary)
    with torch.no_grad():
        found = head.log_probabilities(torch.randn(2, width), torch.empty(0))
    torch.testing.assert_close(found.exp().sum(1), torch.ones(2), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("option", ["bidirectional", "batch_norm"])
def test_what_reads_ahead_is_refused(option):
    with pytest.raises(InputError, match=option):
        network(**{option: True})


def test_every_gate_can_be_seen():
    net = network(num_layers=2)
    with trace(net) as found:
        losses, _ = net.losses(torch.randint(0, V, (5, 3)), torch.randint(0, V, (5, 3)))
        losses.mean().backward()
    assert found["encoder"]["l1"]["f"].shape == (5, 3, H)
    assert (found["encoder"].gradient_norm("l0", "h") > 0).all()


def test_all_that_regularises_trains_together():
    config = dataclasses.replace(ENDS["tied"], embedding_size=H)
    model = ModelConfig("lstm", hidden_size=H, num_layers=2, dropout=0.2, input_dropout=0.2, weight_drop=0.3)
    net = LanguageNet(model, config, V)
    optimizer = torch.optim.AdamW(net.parameters(), 2e-2)
    read = torch.arange(40).view(20, 2) % V
    first = None
    for _ in range(60):
        losses, _ = net.losses(read, (read + 2) % V)
        first = first or float(losses.mean().detach())
        optimizer.zero_grad()
        losses.mean().backward()
        optimizer.step()
    assert float(losses.mean().detach()) < 0.7 * first


def test_layers_are_those_of_gatelab():
    assert isinstance(network().encoder, gnn.LSTM)
