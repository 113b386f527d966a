"""Which plain layers go to torch's own code, by a rule of measured bounds; it makes no difference to the numbers."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import pack_padded_sequence

from gatelab.bench.suites import first_use
from gatelab.kernels import scan as kernels
from gatelab.nn import GRU, LSTM, RNN, fused

pytestmark = pytest.mark.usefixtures("measured_rule")

BOUNDS = [(RNN, False, 8), (RNN, True, 4), (GRU, False, 3), (GRU, True, 2)]  # steps up to which torch is faster


def prefers_torch(layer, *shape, training=True, dtype=torch.float32):
    with torch.set_grad_enabled(training):
        return fused.prefers_torch(layer, torch.zeros(*shape, dtype=dtype))


@pytest.fixture
def passes(monkeypatch):
    """The cells of the passes that the kernels have made."""
    found, forward = [], kernels.forward
    monkeypatch.setattr(kernels, "forward", lambda p, *rest: found.append(p.cell) or forward(p, *rest))
    return found


@pytest.mark.parametrize(("kind", "training", "bound"), BOUNDS)
def test_a_few_steps_are_torchs(passes, kind, training, bound):
    layer, theirs = kind(5, 8), getattr(nn, kind.__name__)(5, 8)
    theirs.load_state_dict(layer.state_dict())
    for T, by_kernels in ((1, 0), (bound, 0), (bound + 1, 1)):
        passes.clear()
        x = torch.randn(T, 3, 5)
        with torch.set_grad_enabled(training):
            output, state = layer(x)
            expected, end = theirs(x)
        assert len(passes) == by_kernels
        torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(state, end, rtol=1e-5, atol=1e-6)
        if training:
            found, wanted = (torch.autograd.grad(y.sin().sum(), list(m.parameters()))
                             for y, m in ((output, layer), (expected, theirs)))  # fmt: skip
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_steps_are_counted_where_they_lie():
    assert prefers_torch(GRU(5, 8), 2, 40, 5)
    assert not prefers_torch(GRU(5, 8, batch_first=True), 2, 40, 5)
    assert prefers_torch(GRU(5, 8, batch_first=True), 40, 2, 5)
    assert not prefers_torch(GRU(5, 8), 40, 5)  # without a batch
    assert not prefers_torch(GRU(5, 8, batch_first=True), 40, 5)


def test_what_counts_as_training():
    layer = RNN(5, 8)
    assert not prefers_torch(layer, 6, 3, 5)
    assert prefers_torch(layer, 6, 3, 5, training=False)
    assert prefers_torch(layer.requires_grad_(False), 6, 3, 5)


@pytest.mark.parametrize(
    ("I", "H", "B", "T", "training", "torchs"),
    [
        (64, 64, 4, 12, True, True),  # short
        (64, 64, 4, 16, True, False),
        (64, 64, 128, 20, True, False),
        (256, 256, 1, 1, True, False),  # wide
        (64, 64, 16, 1000, False, True),  # oneDNN's own
        (64, 64, 1, 30, False, True),
        (64, 64, 1, 40, False, False),  # few items
        (256, 256, 4, 20, False, False),
        (256, 256, 8, 40, False, True),
        (512, 512, 8, 20, False, False),  # many units
        (512, 512, 20, 40, False, True),
        (650, 650, 20, 35, False, False),
        (200, 650, 20, 35, False, True),  # few features
        (1024, 1024, 32, 16, False, False),
        (1024, 1024, 32, 15, False, True),
        (1024, 1024, 33, 40, False, True),
        (50, 50, 128, 20, False, False),  # units that do not fill its vectors
        (50, 50, 1, 20, False, True),
        (32, 32, 128, 20, False, False),  # few units
        (32, 32, 32, 20, False, True),
        (1, 64, 16, 1000, False, False),
        (33, 64, 16, 1000, False, True),
    ],
)
def test_a_dense_lstm(I, H, B, T, training, torchs):  # noqa: E741
    layer = LSTM(I, H)
    assert prefers_torch(layer, T, B, I, training=training) == torchs
    assert not prefers_torch(layer.double(), T, B, I, training=training, dtype=torch.float64)


@pytest.mark.parametrize("kind", [RNN, GRU, LSTM])
def test_packed_compiled_and_transformed_layers_are_ours(kind, passes):
    layer, x = kind(5, 8), torch.randn(2, 3, 5)
    packed = pack_padded_sequence(x, torch.tensor([2, 2, 1]))
    assert not fused.prefers_torch(layer, packed)
    layer(packed)
    assert len(passes) == 1
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x)[0], layer(x)[0])
    assert len(passes) == 2
    seen = []
    torch.func.vmap(lambda item: seen.append(fused.prefers_torch(layer, item)) or item)(x)
    assert seen == [False]


def test_a_parametrized_layer_is_ours_for_a_copy_can_be_made_of_it():
    layer = parametrizations.orthogonal(GRU(5, 8), "weight_hh_l0")
    x = torch.randn(2, 3, 5)
    assert not fused.prefers_torch(layer, x)
    output = layer(x)[0]
    torch.testing.assert_close(copy.deepcopy(layer)(x)[0], output, rtol=0, atol=0)


@pytest.mark.parametrize("kind", [RNN, GRU, LSTM])
def test_the_first_use_that_is_timed_is_that_of_the_kernels(kind):
    T, B, I, H = (getattr(first_use.SHAPE, name) for name in "TBIH")  # noqa: E741
    assert not prefers_torch(kind(I, H), T, B, I)
