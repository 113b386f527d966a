import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gatelab import nn as gnn
from gatelab.core.config import ModelConfig
from gatelab.core.errors import InputError
from gatelab.nn import attribution
from gatelab.nn.attribution import class_log_odds, integrated_gradients

T, B, I, K = 7, 3, 4, 5  # noqa: E741
LENGTHS = torch.tensor([7, 2, 5])


def last_state_score(cell, hidden=16):
    """A score with sharp turns: the log-odds of class 1 from the state after each item's last step."""
    torch.manual_seed(0)
    layer = gnn.recurrent(ModelConfig(cell, hidden_size=hidden), I)
    head = nn.Linear(hidden, K)

    def score(x):
        packed = pack_padded_sequence(3 * x, LENGTHS, enforce_sorted=False)
        output = pad_packed_sequence(layer(packed)[0])[0]
        return class_log_odds(head(gnn.final_state(output, LENGTHS)), torch.ones(B, dtype=torch.long))

    return score


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru", "rnn_relu"])
def test_contributions_add_up_to_the_change_and_padding_has_none(cell):
    x = torch.randn(T, B, I, generator=torch.Generator().manual_seed(1))
    found = integrated_gradients(last_state_score(cell), x, torch.zeros(()), tolerance=1e-3)
    total = found.contributions.sum(dim=(0, 2))  # (B,)
    torch.testing.assert_close(total, found.change, atol=2e-3, rtol=0)
    torch.testing.assert_close(total - found.change, found.gap)
    padding = ~gnn.lengths_to_mask(LENGTHS, T)  # (T, B)
    assert (found.contributions[padding] == 0).all()
    assert (found.contributions[~padding].abs().sum(dim=1) > 0).all()


def test_a_linear_score_is_explained_exactly():
    weights, x = torch.randn(T, 1, I), torch.randn(T, B, I)
    baseline = torch.randn(I)
    found = integrated_gradients(lambda at: (weights * at).sum(dim=(0, 2)), x, baseline)
    torch.testing.assert_close(found.contributions, weights * (x - baseline))


def test_a_product_shares_its_change_alike():
    """By hand: for x·y from 0 the path gives each factor half of the product."""
    x = torch.tensor([[[2.0, 3.0]], [[5.0, 7.0]]])  # (2, 1, 2)
    found = integrated_gradients(lambda at: (at[..., 0] * at[..., 1]).sum(dim=0), x, torch.zeros(()))
    torch.testing.assert_close(found.contributions, torch.tensor([[[3.0, 3.0]], [[17.5, 17.5]]]))


def test_points_are_doubled_until_the_sum_is_right():
    asked = []

    def steep(at):
        asked.append(len(at))
        return torch.sigmoid(60 * (at.sum(dim=(0, 2)) - 0.61))

    x = torch.full((1, 1, 1), 1.0)
    exact = integrated_gradients(steep, x, torch.zeros(()), tolerance=1e-4)
    assert float(exact.gap.abs().max()) <= 1e-4
    assert len(asked) > 2 + attribution.FEWEST, "16 points are not enough here"
    asked.clear()
    impossible = integrated_gradients(lambda at: steep(at).round() + at.sum(), x, torch.zeros(()), tolerance=1e-9)
    assert len(asked) == 2 + 16 + 32 + 64 + 128 + 256
    assert float(impossible.gap.abs().max()) > 0.1, "a gap that is left is told"


def test_weights_and_their_gradients_stay_as_they_are():
    layer = nn.Linear(I, 1)
    with torch.no_grad():
        integrated_gradients(lambda at: layer(at).sum(dim=(0, 2)), torch.randn(T, B, I), torch.zeros(()))
    assert all(parameter.grad is None for parameter in layer.parameters())


def test_what_cannot_be_explained_is_refused():
    x = torch.randn(T, B, I)
    with pytest.raises(InputError, match="depend"):
        integrated_gradients(lambda at: torch.ones(B), x, torch.zeros(()))
    with pytest.raises(InputError, match="finite"):
        integrated_gradients(lambda at: at.sum(dim=(0, 2)) / 0, x, torch.zeros(()))


def test_log_odds_of_a_class():
    logits = torch.randn(B, K, dtype=torch.float64)
    which = torch.tensor([0, 4, 2])
    p = logits.softmax(dim=1)[torch.arange(B), which]
    torch.testing.assert_close(class_log_odds(logits, which), torch.log(p / (1 - p)))
