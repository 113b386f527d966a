"""A stream beside the layer that reads the whole sequence."""

import copy

import numpy as np
import pytest
import torch

import gatelab.nn as gnn
from gatelab.core.errors import InputError
from gatelab.nn.shapes import ShapeError

T, B, INPUT, H = 6, 3, 2, 4
LAYERS = {
    "rnn": (gnn.RNN, {}),
    "rnn_relu": (gnn.RNN, {"nonlinearity": "relu"}),
    "lstm": (gnn.LSTM, {}),
    "lstm_coupled": (gnn.LSTM, {"coupled": True}),
    "lstm projected": (gnn.LSTM, {"proj_size": 2}),
    "gru": (gnn.GRU, {}),
    "gru_reset_before": (gnn.GRU, {"reset_after": False}),
    "min_gru": (gnn.MinGRU, {}),
    "min_lstm": (gnn.MinLSTM, {}),
}
EXTRAS = {
    "layer_norm": {"layer_norm": True},
    "dropout": {"dropout": 0.4, "input_dropout": 0.3, "recurrent_dropout": 0.2},
    "zoneout": {"zoneout": 0.3},
    "learned state": {"learn_initial_state": True},
    "together": {"layer_norm": True, "zoneout": (0.2, 0.1), "peephole": True, "learn_initial_state": True},
}


@pytest.fixture(autouse=True)
def one_thread_and_a_seed():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def make(name, **options):
    kind, own = LAYERS[name]
    layer = kind(INPUT, H, **{"num_layers": 2, "dtype": torch.float64} | own | options)
    with torch.no_grad():
        for parameter in layer.parameters():  # also those that start at zeros or ones
            parameter.add_(0.3 * torch.randn_like(parameter))
    return layer


def sequence(*shape):
    return torch.randn(*(shape or (T, B, INPUT)), dtype=torch.float64)


def tuples(state):
    return state if isinstance(state, tuple) else (state,)


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("batch", [None, B])
def test_a_stream_gives_what_the_layer_gives(name, batch):
    layer = make(name, batch_first=True)
    x = sequence(T, INPUT) if batch is None else sequence()
    output, state = layer(x if batch is None else x.transpose(0, 1))
    stream = layer.stream(batch_size=batch)
    close(torch.stack([stream(step) for step in x], dim=0 if batch is None else 1), output)
    close(stream.state, state)
    assert stream.steps == T
    assert not any(s.requires_grad for s in tuples(stream.state))


@pytest.mark.parametrize("extra", EXTRAS)
@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "min_gru"])
def test_extras_in_evaluation_whatever_the_mode(name, extra):
    options = dict(EXTRAS[extra])
    if name != "lstm" and "peephole" in options:
        options |= {"peephole": False, "zoneout": 0.2}
    if name == "min_gru" and (extra == "layer_norm" or "recurrent_dropout" in options):
        options = {key: value for key, value in options.items() if key in ("dropout", "input_dropout")}
    if name == "min_gru":
        options.pop("layer_norm", None)
    layer, x = make(name, **options), sequence()
    assert layer.training
    stream = layer.stream(batch_size=B)
    outputs = torch.stack([stream(step) for step in x])
    assert layer.training
    close(outputs, layer.eval()(x)[0])
    close(stream.state, layer(x)[1])


def test_batch_norm_counts_its_steps():
    layer, x = make("lstm", batch_norm=True), sequence()
    for _ in range(3):
        layer(sequence())  # statistics that differ from step to step
    layer.eval()
    stream = layer.stream(batch_size=B)
    close(torch.stack([stream(step) for step in x]), layer(x)[0])
    with pytest.raises(InputError, match="batch_norm share their steps"):
        stream.reset([0])
    stream.reset()
    close(torch.stack([stream(step) for step in x]), layer(x)[0])
    again = layer.stream(batch_size=B)
    again.restore(stream.save())
    step = sequence(B, INPUT)
    close(again(step), stream(step))


@pytest.mark.parametrize("name", LAYERS)
def test_a_stream_goes_on_from_a_given_state(name):
    layer, x = make(name), sequence()
    output, state = layer(x)
    _, middle = layer(x[:3])
    stream = layer.stream(middle)
    close(torch.stack([stream(step) for step in x[3:]]), output[3:])
    close(stream.state, state)
    one = tuple(s[:, 0] for s in tuples(middle))
    alone = layer.stream(one if len(one) > 1 else one[0])
    close(torch.stack([alone(step) for step in x[3:, 0]]), output[3:, 0])


def test_arrays_give_arrays():
    for dtype in (torch.float32, torch.bfloat16):
        layer, x = make("gru", dtype=dtype), np.random.default_rng(0).normal(size=(T, INPUT))
        stream = layer.stream()
        outputs = [stream(step) for step in x]
        assert all(type(y) is np.ndarray and y.dtype == np.float32 and y.shape == (H,) for y in outputs)
        tensors = layer.stream()
        expected = torch.stack([tensors(step) for step in torch.tensor(x, dtype=dtype)])
        np.testing.assert_array_equal(np.stack(outputs), expected.float().numpy())
        lists = layer.stream()
        np.testing.assert_array_equal([lists(step.tolist()) for step in x], outputs)


@pytest.mark.parametrize("name", LAYERS)
def test_nobody_outside_holds_the_state(name):
    layer, x = make(name), sequence()
    begin = layer(x[:1])[1]
    stream, other = layer.stream(begin), layer.stream(begin)
    for step in x:
        y = stream(step)
        for tensor in (y, *tuples(stream.state), *tuples(begin)):
            tensor.detach().fill_(7.0)
        array = stream(step.numpy())
        array[:] = 7.0
        other(step)
        close(stream.state, (other(step), other.state)[1])


@pytest.mark.parametrize("rows", [[], [1], [0, 2], np.array([False, True, False]), torch.tensor([2, 0])])
def test_some_sequences_begin_anew(rows):
    layer, x = make("lstm", learn_initial_state=True), sequence()
    stream, chosen = layer.stream(batch_size=B), torch.zeros(B, dtype=torch.bool)
    chosen[torch.as_tensor(rows) if len(rows) else []] = True
    for step in x[:3]:
        stream(step)
    stream.reset(rows)
    outputs = torch.stack([stream(step) for step in x[3:]])
    close(outputs[:, ~chosen], layer(x)[0][3:, ~chosen])
    close(outputs[:, chosen], layer(x[3:])[0][:, chosen])
    stream.reset()
    close(torch.stack([stream(step) for step in x]), layer(x)[0])


def test_a_saved_state_goes_on_in_another_process(tmp_path):
    layer, x = make("lstm", dtype=torch.float32), sequence().float()
    stream = layer.stream(batch_size=B)
    for step in x[:3]:
        stream(step)
    np.savez(tmp_path / "state.npz", **stream.save())
    other = copy.deepcopy(layer).stream(batch_size=B)
    with np.load(tmp_path / "state.npz") as saved:
        assert set(saved) == {"h", "c", "steps"}
        other.restore(saved)
    assert other.steps == stream.steps == 3
    for step in x[3:]:
        torch.testing.assert_close(other(step), stream(step), rtol=0, atol=0)


def test_weights_are_read_when_asked():
    layer, x = make("gru", learn_initial_state=True), sequence(T, INPUT)
    old = layer(x)[0]
    stream = layer.stream()
    first = stream(x[0])
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(0.5)
    close(torch.stack([first, *(stream(step) for step in x[1:])]), old)
    stream.refresh()
    stream.reset()
    close(torch.stack([stream(step) for step in x]), layer(x)[0])


def test_parametrized_weights():
    layer = make("gru", num_layers=1)
    torch.nn.utils.parametrizations.weight_norm(layer, "weight_hh_l0")
    x = sequence(T, INPUT)
    stream = layer.stream()
    close(torch.stack([stream(step) for step in x]), layer(x)[0])


def test_a_bidirectional_layer_cannot_be_streamed():
    with pytest.raises(InputError, match="cannot be streamed"):
        gnn.GRU(INPUT, H, bidirectional=True).stream()


def test_what_does_not_fit():
    layer = make("lstm")
    stream = layer.stream(batch_size=B)
    for x in (sequence(INPUT), sequence(B, INPUT + 1), sequence(1, B, INPUT), np.zeros(INPUT)):
        with pytest.raises(ShapeError, match="does not fit the stream"):
            stream(x)
    for hx in (sequence(2, B, H), (sequence(2, B, H),), (sequence(2, B, H), sequence(2, H)), ()):
        with pytest.raises(ShapeError, match="initial state"):
            layer.stream(hx)
    with pytest.raises(ShapeError, match="initial state"):
        layer.stream((sequence(2, B, H),) * 2, batch_size=B + 1)
    for batch_size in (0, -1):
        with pytest.raises(InputError, match="at least one sequence"):
            layer.stream(batch_size=batch_size)
    for rows in ([3], [-1], [0.5], [True, False], 1, [[0]]):
        with pytest.raises(InputError, match="no such sequences"):
            stream.reset(rows)
    with pytest.raises(InputError, match="no saved state"):
        stream.restore({"h": np.zeros((2, B, H))})
    with pytest.raises(ShapeError, match="initial state"):
        stream.restore(layer.stream().save())
