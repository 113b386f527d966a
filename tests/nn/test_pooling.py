"""One vector a sequence: against plain loops over each sequence alone, whatever lies under the padding."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_padded_sequence

from gatelab.core.errors import InputError
from gatelab.nn.pooling import Pooling

KINDS = ("last", "mean", "max", "attention")
F = 6


def pooling(kind, directions):
    torch.manual_seed(0)
    return Pooling(kind, F, directions).double()


def packed(padded, lengths):
    return pack_padded_sequence(padded, torch.tensor(lengths), enforce_sorted=False)


def alone(layer, y):
    """The pooled vector ``(F,)`` of one sequence of outputs ``y (T, F)``."""
    match layer.kind:
        case "last":
            half = F // 2 if layer.directions == 2 else F
            return torch.cat([y[-1, :half], y[0, half:]])
        case "mean":
            return y.mean(dim=0)
        case "max":
            return y.max(dim=0).values
    weights = torch.softmax(layer.score(torch.tanh(layer.project(y))), dim=0)  # (T, 1)
    return (weights * y).sum(dim=0)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.sampled_from(KINDS), st.sampled_from([1, 2]))
def test_every_sequence_is_pooled_as_if_it_were_alone(lengths, kind, directions):
    layer = pooling(kind, directions)
    padded = torch.randn(max(lengths), len(lengths), F, dtype=torch.double)  # (T, B, F)
    found = layer(packed(padded, lengths))
    wanted = torch.stack([alone(layer, padded[:length, at]) for at, length in enumerate(lengths)])
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_what_lies_under_the_mask_changes_no_output_and_no_gradient(kind):
    layer, lengths = pooling(kind, 2), [3, 5, 1]
    results = []
    for filler in (0.0, 1e6, float("nan")):
        padded = torch.randn(5, 3, F, dtype=torch.double, generator=torch.Generator().manual_seed(1))
        for at, length in enumerate(lengths):
            padded[length:, at] = filler
        padded.requires_grad_()
        pooled = layer(packed(padded, lengths))
        pooled.square().sum().backward()
        results.append((pooled.detach(), padded.grad))
    for pooled, gradient in results[1:]:
        torch.testing.assert_close(pooled, results[0][0], rtol=0, atol=0)
        torch.testing.assert_close(gradient, results[0][1], rtol=0, atol=0)
    for at, length in enumerate(lengths):
        assert not results[0][1][length:, at].any()


def test_the_weights_of_attention_add_up_to_one():
    layer, lengths = pooling("attention", 1), [4, 1, 7]
    output = packed(torch.randn(7, 3, F, dtype=torch.double), lengths)
    weights = layer.weights(output)
    assert (weights > 0).all()
    np.testing.assert_allclose(float(weights.sum().detach()), len(lengths))


def test_another_kind_is_refused():
    with pytest.raises(InputError, match="median") as caught:
        Pooling("median", F)
    assert "attention" in caught.value.expected
