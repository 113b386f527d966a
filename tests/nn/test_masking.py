"""Leaving masked steps out, beside a slow loop that really holds the state."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import gatelab.nn as gnn
from gatelab.core.errors import InputError

LAYERS = {
    "rnn": lambda features, H: gnn.RNN(features, H, dtype=torch.float64),
    "lstm": lambda features, H: gnn.LSTM(features, H, dtype=torch.float64),
    "gru": lambda features, H: gnn.GRU(features, H, dtype=torch.float64),
    "gru_reset_before": lambda features, H: gnn.GRU(features, H, reset_after=False, dtype=torch.float64),
}


def hold(layer, x, observed):
    """One step at a time, the state held where the step is masked: outputs (T, B, H) and the last (B, H)."""
    T, B, _ = x.shape
    states = tuple(x.new_zeros(1, B, layer.hidden_size) for _ in layer.state_sizes)
    outputs = []
    for t in range(T):
        safe = torch.where(observed[t].unsqueeze(-1), x[t], torch.zeros_like(x[t]))
        _, new = layer(safe.unsqueeze(0), states if len(states) > 1 else states[0])
        new = new if isinstance(new, tuple) else (new,)
        keep = observed[t].view(1, B, 1)
        states = tuple(torch.where(keep, n, s) for n, s in zip(new, states, strict=True))
        outputs.append(states[0][0])
    return torch.stack(outputs), outputs[-1]


@st.composite
def masked_batches(draw):
    T, B, features = draw(st.integers(1, 7)), draw(st.integers(1, 4)), draw(st.integers(1, 3))
    observed = draw(st.lists(st.lists(st.booleans(), min_size=B, max_size=B), min_size=T, max_size=T))
    return (T, B, features), torch.tensor(observed, dtype=torch.bool).reshape(T, B), draw(st.integers(0, 2**31))


@pytest.mark.parametrize("name", LAYERS)
@given(case=masked_batches())
@settings(max_examples=25, deadline=None)
def test_leaving_out_equals_holding(name, case):
    (T, B, features), observed, seed = case
    torch.manual_seed(seed)
    layer = LAYERS[name](features, 3)
    x = torch.randn(T, B, features, dtype=torch.float64).requires_grad_()
    weight, last_weight = torch.randn(T, B, 3, dtype=torch.float64), torch.randn(B, 3, dtype=torch.float64)
    inputs = [x, *layer.parameters()]

    held, last = hold(layer, x, observed)
    expected = torch.autograd.grad((held * weight).sum() + (last * last_weight).sum(), inputs)

    compacted, lengths = gnn.compact(x, observed)
    output, _ = layer(compacted)
    state, everywhere = gnn.final_state(output, lengths), gnn.spread(output, observed)
    found = torch.autograd.grad((everywhere * weight).sum() + (state * last_weight).sum(), inputs)

    torch.testing.assert_close(state, last, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(everywhere, held, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)
    assert torch.equal(found[0][~observed], torch.zeros_like(found[0][~observed]))


@pytest.mark.parametrize("junk", [float("nan"), float("inf"), 1e30])
def test_what_lies_under_the_mask_changes_nothing(junk):
    torch.manual_seed(0)
    layer, observed = gnn.LSTM(2, 3), torch.tensor([[1, 0], [0, 1], [1, 0], [1, 0]], dtype=torch.bool)
    results = []
    for under in (0.0, junk):
        torch.manual_seed(1)
        x = torch.where(observed.unsqueeze(-1), torch.randn(4, 2, 2), torch.tensor(under)).requires_grad_()
        compacted, lengths = gnn.compact(x, observed)
        state = gnn.final_state(layer(compacted)[0], lengths)
        results.append([state, *torch.autograd.grad(state.square().sum(), [x, *layer.parameters()])])
    for a, b in zip(*results, strict=True):
        assert torch.equal(a, b)


def test_compact_keeps_the_order_and_zeros_the_rest():
    x = torch.arange(1.0, 5.0).view(4, 1, 1)
    moved, lengths = gnn.compact(x, torch.tensor([[False], [True], [False], [True]]))
    assert moved.flatten().tolist() == [2, 4, 0, 0]
    assert lengths.tolist() == [2]


def test_an_item_without_observations_stays_at_the_initial_state():
    layer = gnn.GRU(1, 2)
    moved, lengths = gnn.compact(torch.ones(3, 2, 1), torch.tensor([[True, False]] * 3))
    output, _ = layer(moved)
    assert gnn.final_state(output, lengths)[1].tolist() == [0, 0]
    assert gnn.spread(output, torch.tensor([[True, False]] * 3))[:, 1].abs().sum() == 0


def test_final_state_reads_what_packing_reads():
    torch.manual_seed(0)
    layer = gnn.GRU(2, 3, 2)
    lengths = torch.tensor([2, 5, 3])
    x = torch.randn(5, 3, 2)
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
    torch.testing.assert_close(gnn.final_state(layer(x)[0], lengths), layer(packed)[1][-1])


def test_lengths_to_mask():
    assert gnn.lengths_to_mask(torch.tensor([0, 1, 3]), 3).T.tolist() == [[False] * 3, [True, False, False], [True] * 3]


@pytest.mark.parametrize(
    "mask", [torch.ones(4, 3, dtype=torch.bool), torch.ones(3, 4), torch.ones(3, 4, 2, dtype=torch.bool)]
)
def test_masks_that_do_not_fit(mask):
    for call in (gnn.compact, gnn.spread):
        with pytest.raises(InputError, match=r"\(T, B\)"):
            call(torch.zeros(3, 4, 2), mask)


@pytest.mark.parametrize("lengths", [torch.tensor([1, 2]), torch.tensor([-1, 2, 3]), torch.tensor([1, 2, 5])])
def test_lengths_that_do_not_fit(lengths):
    with pytest.raises(InputError, match=r"\(B,\)"):
        gnn.final_state(torch.zeros(4, 3, 2), lengths)
