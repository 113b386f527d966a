"""Truncated backpropagation beside the NumPy cells', beside full backpropagation, and its memory."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

import gatelab.cells as cells
import gatelab.nn as gnn
from gatelab.core.errors import InputError
from gatelab.nn import truncated
from memory import PeakMemory

T, B, INPUT, H = 11, 3, 2, 4
KINDS = ("RNN", "LSTM", "GRU")


@pytest.fixture(autouse=True)
def one_thread_and_a_seed():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def make(kind, **options):
    return getattr(gnn, kind)(INPUT, H, dtype=torch.float64, **options)


def sequence(*shape):
    return torch.randn(*(shape or (T, B, INPUT)), dtype=torch.float64)


def squares(output, steps):
    """A loss that knows which steps it sees."""
    return ((steps.start + 1) * output.square()).sum()


def gradients(layer):
    return [parameter.grad for parameter in layer.parameters()]


@pytest.mark.parametrize("window", [1, 4, T, 100])
@pytest.mark.parametrize("kind", KINDS)
def test_windows_equal_the_numpy_cells(kind, window):
    layer, x = make(kind, num_layers=2), sequence()
    params = cells.from_state_dict(cells.CELLS[layer.cell], {k: v.numpy() for k, v in layer.state_dict().items()})

    def loss(output, steps):
        return (steps.start + 1) * (output**2).sum(), 2 * (steps.start + 1) * output

    ours = list(truncated(layer, x, squares, window))
    theirs = list(cells.truncated(cells.CELLS[layer.cell], params, x.numpy(), loss, window))
    assert [w.steps for w in ours] == [w.steps for w in theirs]
    total = 0
    for a, b in zip(ours, theirs, strict=True):
        assert a.loss == pytest.approx(b.loss, rel=1e-12)
        np.testing.assert_allclose(a.output, b.output, atol=1e-12)
        states = a.state if isinstance(a.state, tuple) else (a.state,)
        np.testing.assert_allclose(torch.stack(states), np.stack(b.state), atol=1e-12)
        assert not any(tensor.requires_grad for tensor in (a.output, *states))
        total = (
            cells.to_state_dict(b.gradients.params)
            if not total
            else {k: total[k] + v for k, v in cells.to_state_dict(b.gradients.params).items()}
        )
    for name, parameter in layer.named_parameters():
        np.testing.assert_allclose(parameter.grad, total[name], atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_a_window_that_covers_the_sequence_is_full_backpropagation(kind):
    layer, x = make(kind, learn_initial_state=True), sequence()
    layer(x)[0].square().sum().backward()
    full = [g.clone() for g in gradients(layer)]
    layer.zero_grad()
    (window,) = truncated(layer, x, squares, T)
    assert window.steps == slice(0, T)
    torch.testing.assert_close(gradients(layer), full, rtol=0, atol=0)
    layer.zero_grad()
    assert len(list(truncated(layer, x, lambda y, steps: y.square().sum(), T - 1))) == 2
    assert not torch.allclose(layer.weight_hh_l0.grad, full[1])  # and a shorter one is not


@pytest.mark.parametrize("kind", KINDS)
def test_the_given_state_gets_the_first_windows_gradient(kind):
    layer, x = make(kind), sequence()
    hx = tuple(sequence(1, B, n).requires_grad_() for n in layer.state_sizes)
    given = hx if len(hx) > 1 else hx[0]
    list(truncated(layer, x, lambda y, steps: y.square().sum(), 4, given))
    expected = torch.autograd.grad(layer(x[:4], given)[0].square().sum(), hx)
    torch.testing.assert_close([s.grad for s in hx], list(expected))


def test_forms_of_the_input(tmp_path):
    layer, x = make("GRU"), sequence()
    expected = list(truncated(layer, x, squares, 4))
    np.save(tmp_path / "x.npy", x.numpy())
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    pieces = (x[start : start + 4] for start in range(0, T, 4))
    first = make("GRU", batch_first=True)
    first.load_state_dict(layer.state_dict())
    forms = {
        "mapped from a file": list(truncated(layer, mapped, squares, 4)),
        "pieces": list(truncated(layer, pieces, squares, 10)),
        "pieces longer than a window": list(truncated(layer, [x[:8].numpy(), x[8:]], squares, 4)),
        "batch first": list(truncated(first, x.transpose(0, 1), squares, 4)),
    }
    for form, windows in forms.items():
        for a, b in zip(windows, expected, strict=True):
            output = a.output.transpose(0, 1) if form == "batch first" else a.output
            assert (a.steps, a.loss) == (b.steps, pytest.approx(b.loss))
            torch.testing.assert_close((output, a.state), (b.output, b.state))
    one = list(truncated(first, x[:, 0], squares, 4))  # without a batch, batch_first does not matter
    torch.testing.assert_close(one[-1].output, expected[-1].output[:, 0])


@pytest.mark.parametrize("batch_first", [False, True])
def test_resets_are_cut_like_the_input(batch_first):
    layer, x = make("LSTM", batch_first=batch_first), sequence()
    resets = torch.rand(T, B) < 0.3
    resets[4, 1] = True  # where a window begins
    x, resets = (x.transpose(0, 1), resets.T) if batch_first else (x, resets)
    whole, _ = layer(x, None, resets)
    windows = list(truncated(layer, x, squares, 4, resets=resets))
    output = torch.cat([window.output for window in windows], dim=int(batch_first))
    torch.testing.assert_close(output, whole)
    x, resets, whole = (value.select(0 if batch_first else 1, 0) for value in (x, resets, whole))  # one item
    alone = list(truncated(layer, x, squares, 4, resets=resets))
    torch.testing.assert_close(torch.cat([window.output for window in alone]), whole)


def test_any_module_that_is_called_like_a_layer():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.lower, self.upper = make("LSTM"), nn.GRU(H, 1, dtype=torch.float64)

        def forward(self, x, state=None):
            one, two = state or (None, None)
            y, one = self.lower(x, one)
            y, two = self.upper(y, two)
            return y, (one, two)

    model, x = Model(), sequence()
    windows = list(truncated(model, x, squares, 4))
    torch.testing.assert_close(torch.cat([w.output for w in windows]), model(x)[0])
    torch.testing.assert_close(windows[-1].state, model(x)[1])


def test_training_between_windows():
    layer, x = make("GRU"), sequence(400, 1, INPUT)
    target = (x.roll(1, 0) / 2)[..., :1].tanh()
    optimizer = torch.optim.Adam(layer.parameters(), 0.02)
    losses = []
    for window in truncated(layer, x, lambda y, steps: (y[..., :1] - target[steps]).square().mean(), 20):
        optimizer.step()
        optimizer.zero_grad()
        losses.append(window.loss)
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])


@pytest.mark.parametrize("kind", KINDS)
def test_memory_does_not_grow_with_the_sequence(kind):
    layer = make(kind)

    def peak(steps, window):
        layer.zero_grad()
        with PeakMemory() as memory:
            for _ in truncated(layer, (sequence(25, 1, INPUT) for _ in range(steps // 25)), squares, window):
                pass
        return memory.peak

    assert peak(400, 25) == peak(100, 25)
    whole = {n: _peak_of_full_backpropagation(layer, n) for n in (100, 400)}
    assert whole[400] > 3 * whole[100] > 6 * peak(100, 25)


def _peak_of_full_backpropagation(layer, steps):
    with PeakMemory() as memory:
        squares(layer(sequence(steps, 1, INPUT))[0], slice(0, steps)).backward()
    return memory.peak


@pytest.mark.parametrize(
    ("model", "x", "loss", "window", "words"),
    [
        (make("RNN"), sequence(), squares, 0, "a window cannot have 0 steps"),
        (make("RNN", bidirectional=True), sequence(), squares, 4, "bidirectional"),
        (nn.Sequential(make("RNN", bidirectional=True)), sequence(), squares, 4, "bidirectional"),
        (make("RNN"), pack_sequence([sequence(T, INPUT)]), squares, 4, "packed"),
        (make("RNN"), sequence(), lambda y, steps: y, 4, "one number"),
        (make("RNN"), sequence(), lambda y, steps: 0.0, 4, "one number"),
    ],
)
def test_what_cannot_be(model, x, loss, window, words):
    with pytest.raises(InputError, match=words):
        next(truncated(model, x, loss, window))
