"""Stacks beside ``torch.nn``'s stacked layers, and beside their layers one after the other."""

import copy

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

import gatelab.nn as gnn
from gatelab.core.errors import InputError
from gatelab.nn import Stack, truncated
from gatelab.nn.shapes import ShapeError

T, B, INPUT, H = 6, 3, 4, 4
LENGTHS = (2, T, 4)


@pytest.fixture(autouse=True)
def one_thread_and_a_seed():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def layer(kind, *sizes, **options):
    return getattr(gnn, kind)(*sizes, **{"dtype": torch.float64} | options)


def mixed(**options):
    """Three cells, three sizes, and residual connections in two of the three layers."""
    shared = {key: options.pop(key) for key in ("batch_first",) if key in options}
    layers = (layer("GRU", INPUT, H, **shared), layer("LSTM", H, 5, 2, **shared), layer("RNN", 5, 5, **shared))
    return Stack(*layers, **{"residual": True} | options)


def sequence(*shape):
    return torch.randn(*(shape or (T, B, INPUT)), dtype=torch.float64)


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_one_cell_throughout_is_torchs_stacked_layer(kind, bidirectional, training):
    theirs = getattr(torch.nn, kind)(INPUT, H, 2, dropout=0.4, bidirectional=bidirectional, dtype=torch.float64)
    width = 2 * H if bidirectional else H
    both = {"bidirectional": bidirectional}
    stack = Stack(layer(kind, INPUT, H, **both), layer(kind, width, H, **both), dropout=0.4).train(training)
    for k, ours in enumerate(stack.layers):
        ours.load_state_dict(_of_layer(theirs, k))
    x = sequence()
    torch.manual_seed(1)
    expected, final = theirs.train(training)(x)
    torch.manual_seed(1)
    output, states = stack(x)  # the same masks: torch draws them in the same order
    close(output, expected)
    finals = [s if isinstance(s, tuple) else (s,) for s in states]
    close(tuple(map(torch.cat, zip(*finals, strict=True))), final if isinstance(final, tuple) else (final,))


def _of_layer(theirs, k):
    return {name.replace(f"_l{k}", "_l0"): p for name, p in theirs.state_dict().items() if f"_l{k}" in name}


def test_residual_connections_where_widths_agree():
    stack, x = mixed(), sequence()
    first, second, third = stack.layers
    y = x + first(x)[0]
    y = second(y)[0]
    y = y + third(y)[0]
    close(stack(x)[0], y)
    assert stack.residuals == [True, False, True]
    assert "residual connections: layers 0, 2" in repr(stack)
    assert "residual" not in repr(mixed(residual=False))
    assert (stack.input_size, stack.output_size) == (INPUT, 5)


def test_dropout_is_on_what_a_layer_adds():
    stack = mixed(dropout=0.5)
    x = sequence(40, B, INPUT)
    first = copy.deepcopy(stack.layers[0])
    seen = []
    stack.layers[1].register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    stack(x)
    added, plain = seen[0] - x, first(x)[0]
    dropped = added == 0
    assert 0.4 < dropped.double().mean() < 0.6
    close(added[~dropped], 2 * plain[~dropped])
    last = []
    stack.layers[2].register_forward_pre_hook(lambda module, args: last.append(args[0]))
    output, _ = stack(x)
    close(output, last[0] + stack.layers[2](last[0])[0])  # none on the last layer's


def test_states_go_in_as_they_come_out():
    stack, x = mixed(), sequence()
    output, states = stack(x)
    early, middle = stack(x[:2])
    late, end = stack(x[2:], middle)
    close(torch.cat([early, late]), output)
    close(end, states)
    _, (first, *_) = stack(x[:2], (None, None, sequence(1, B, 5)))
    close(first, middle[0])


def test_forms_of_the_input():
    stack, x = mixed(), sequence()
    output, states = stack(x)
    first = mixed(batch_first=True)
    first.load_state_dict(stack.state_dict())
    assert first.batch_first
    close(first(x.transpose(0, 1))[0].transpose(0, 1), output)
    close(stack(x[:, 0])[0], output[:, 0])
    packed = pack_sequence([x[:n, b] for b, n in enumerate(LENGTHS)], enforce_sorted=False)
    padded, lengths = pad_packed_sequence(stack(packed)[0])
    assert tuple(lengths) == LENGTHS
    for b, n in enumerate(LENGTHS):
        close(padded[:n, b], output[:n, b])
    close(stack(packed)[1][0][:, 1], states[0][:, 1])  # the item that has all steps


def test_resets_reach_every_layer():
    stack, x = mixed(), sequence()
    resets = torch.zeros(T, B, dtype=torch.bool)
    resets[2] = True
    output, states = stack(x, None, resets)
    after, wanted = stack(x[2:])
    close(output, torch.cat([stack(x[:2])[0], after]))
    close(states, wanted)


def test_a_trace_names_the_layers():
    stack, x = mixed(), sequence()
    with gnn.trace(stack) as trace:
        output, _ = stack(x)
        output.sum().backward()
    assert trace.names == ("layers.0", "layers.1", "layers.2")
    close(trace["layers.1"]["l1"]["h"], stack.layers[1](x + trace["layers.0"]["l0"]["h"])[0].detach())
    assert trace["layers.0"].gradient_norm().shape == (T, B)


def test_truncated_backpropagation():
    stack, x = mixed(), sequence()
    windows = list(truncated(stack, x, lambda y, steps: y.square().sum(), 4))
    close(torch.cat([window.output for window in windows]), stack(x)[0].detach())
    close(windows[-1].state, tuple(map(_detached, stack(x)[1])))


def _detached(state):
    return tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()


def test_copies_and_state_dicts():
    stack, x = mixed(), sequence()
    twin = copy.deepcopy(stack)
    close(twin(x), stack(x))
    assert next(iter(stack.state_dict())) == "layers.0.weight_ih_l0"
    fresh = mixed()
    assert not torch.equal(fresh(x)[0], stack(x)[0])
    fresh.load_state_dict(stack.state_dict())
    close(fresh(x), stack(x))


@pytest.mark.parametrize("batch", [None, B])
def test_a_stream_gives_what_the_stack_gives(batch):
    stack = mixed(dropout=0.3)
    x = sequence(T, INPUT) if batch is None else sequence()
    stream = stack.stream(batch_size=batch)
    outputs = torch.stack([stream(step) for step in x])
    assert stack.training
    close(outputs, stack.eval()(x)[0].detach())
    close(stream.state, tuple(map(_detached, stack(x)[1])))
    again = stack.stream(stack(x[:2])[1])
    arrays = np.stack([again(step) for step in x[2:].numpy()])
    np.testing.assert_allclose(arrays, outputs[2:], atol=1e-12)
    saved = again.save()
    assert set(saved) == {*(f"{k}.{name}" for k in range(3) for name in ("h", "steps")), "1.c"}
    again.reset()
    close(again(x[0]), outputs[0])
    again.restore(saved)
    close(again.state, stream.state)


def test_a_streams_rows_and_weights():
    stack, x = mixed(), sequence()
    stream = stack.stream(batch_size=B)
    stream(x[0])
    stream.reset([1])
    close(stream(x[1])[1], stack(x[1:2])[0][0, 1].detach())
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter.mul_(0.5)
    stream.refresh()
    stream.reset()
    close(stream(x[0]), stack(x[:1])[0][0].detach())


def test_layers_that_do_not_fit():
    with pytest.raises(ShapeError, match=r"layer 1 \(LSTM\) does not fit on layer 0 \(GRU\)"):
        Stack(layer("GRU", INPUT, H), layer("LSTM", H + 1, H))
    with pytest.raises(ShapeError, match="input_size=8, what layer 0 gives"):
        Stack(layer("GRU", INPUT, H, bidirectional=True), layer("LSTM", H, H))
    with pytest.raises(InputError, match="batch_first"):
        Stack(layer("GRU", INPUT, H), layer("LSTM", H, H, batch_first=True))
    for wrong in ((), (torch.nn.GRU(INPUT, H),), (layer("GRU", INPUT, H), torch.nn.Linear(H, H))):
        with pytest.raises(InputError, match="made of gatelab's layers"):
            Stack(*wrong)
    for p in (-0.1, 1.0):
        with pytest.raises(InputError, match="dropout is a probability"):
            Stack(layer("GRU", INPUT, H), dropout=p)


def test_calls_that_do_not_fit():
    stack = mixed()
    for hx in ((None, None), sequence(1, B, H)):
        with pytest.raises(ShapeError, match="Stack: the initial state"):
            stack(sequence(), hx)
    with pytest.raises(ShapeError, match=r"GRU: input\.size"):
        stack(sequence(T, B, INPUT + 1))
    with pytest.raises(InputError, match="cannot be streamed"):
        Stack(layer("GRU", INPUT, H, bidirectional=True)).stream()
