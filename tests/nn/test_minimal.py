"""Minimal layers: parallel over time, beside the sequential loop, beside the NumPy cells, beside finite differences."""

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence, pad_packed_sequence
from torch.utils._python_dispatch import TorchDispatchMode

import gatelab.cells as cells
import gatelab.nn as gnn
from gatelab.cells.cell import CELLS
from gatelab.core.errors import InputError
from gatelab.nn import open_loop
from gatelab.nn.linear_recurrence import linear_recurrence

KINDS = [gnn.MinGRU, gnn.MinLSTM]
T, B, INPUT, H = 6, 3, 3, 4
LENGTHS = (2, T, 4)
EXACT = {"rtol": 1e-12, "atol": 1e-12}


@pytest.fixture(autouse=True)
def one_thread_and_a_seed():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def kind(request):
    return request.param


def in_turn(decay, drive, h):
    """The recurrence step by step."""
    states = []
    for a, b in zip(decay, drive, strict=True):
        h = a * h + b
        states.append(h)
    return torch.stack(states)


def factors(steps, dtype=torch.float64, batch=2, units=3):
    return (
        torch.rand(steps, batch, units, dtype=dtype),
        torch.randn(steps, batch, units, dtype=dtype),
        torch.randn(batch, units, dtype=dtype),
    )


def rows(output):
    return output.data if isinstance(output, PackedSequence) else output


# ---- the recurrence -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [*range(1, 18), 31, 32, 33, 100])
def test_all_at_once_is_in_turn(steps):
    inputs = factors(steps)
    torch.testing.assert_close(linear_recurrence(*inputs), in_turn(*inputs), **EXACT)


@pytest.mark.parametrize("steps", [1, 2, 5, 8])
def test_the_recurrence_has_first_and_second_derivatives(steps):
    inputs = tuple(x.requires_grad_() for x in factors(steps))
    assert torch.autograd.gradcheck(linear_recurrence, inputs)
    assert torch.autograd.gradgradcheck(linear_recurrence, inputs)


@pytest.mark.parametrize("scale", [1.0, 0.02], ids=["remembers", "forgets at once"])
def test_ten_thousand_steps_in_float32(scale):
    """Products of ten thousand decays underflow at either scale: nothing may be divided by them."""
    decay, drive, h = factors(10_000, torch.float32)
    decay = 1 - scale * (1 - decay) if scale < 1 else decay * 1e-3
    inputs = [x.requires_grad_() for x in (decay, drive, h)]
    states, expected = linear_recurrence(*inputs), in_turn(*inputs)
    assert (states - expected).abs().max() <= 1e-5 * expected.abs().max()
    weight = torch.randn_like(states)
    ours, theirs = (torch.autograd.grad((x * weight).sum(), inputs) for x in (states, expected))
    for a, b in zip(ours, theirs, strict=True):
        assert a.isfinite().all()
        assert (a - b).abs().max() <= 1e-5 * b.abs().max()


class Counting(TorchDispatchMode):
    calls = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.calls += 1
        return function(*args, **(kwargs or {}))


def test_the_number_of_operations_grows_with_the_logarithm_of_the_steps():
    def operations(steps):
        inputs = [x.requires_grad_() for x in factors(steps)]
        with Counting() as counting:
            linear_recurrence(*inputs).sum().backward()
        return counting.calls

    at_16, at_256, at_4096 = (operations(steps) for steps in (16, 256, 4096))
    assert at_4096 - at_256 == at_256 - at_16 > 0


def test_the_recurrence_can_be_mapped():
    decay, drive, h = factors(7)
    drives = torch.randn(5, *drive.shape, dtype=torch.float64)

    def loss(b):
        return linear_recurrence(decay, b, h).sin().sum()

    together = torch.func.vmap(torch.func.grad(loss))(drives)
    torch.testing.assert_close(together, torch.stack([torch.func.grad(loss)(b) for b in drives]), **EXACT)


# ---- the layers beside their twins --------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_parallel_is_sequential(kind, data):
    """The open loop is the slow twin: any depth, direction, extras, lengths, in training and in evaluation."""
    torch.manual_seed(data.draw(st.integers(0, 99)))
    lengths = data.draw(st.lists(st.integers(1, 20), min_size=1, max_size=4))
    options = {
        "num_layers": data.draw(st.integers(1, 3)),
        "bidirectional": data.draw(st.booleans()),
        "bias": data.draw(st.booleans()),
        "zoneout": data.draw(st.sampled_from([0.0, 0.3])),
        "input_dropout": data.draw(st.sampled_from([0.0, 0.3])),
        "learn_initial_state": data.draw(st.booleans()),
        "checkpoint_every": data.draw(st.sampled_from([None, 1, 3])),
    }
    layer = kind(INPUT, H, dtype=torch.float64, **options).train(data.draw(st.booleans()))
    x = pack_sequence([torch.randn(n, INPUT, dtype=torch.float64) for n in lengths], enforce_sorted=False)
    if data.draw(st.booleans()):
        x = pad_packed_sequence(x)[0]
    results = []
    for compute in (layer, lambda x: open_loop.run(layer, x)):
        torch.manual_seed(5)
        output, state = compute(x)
        loss = rows(output).sin().sum() + state.cos().sum()
        results.append((rows(output), state, torch.autograd.grad(loss, list(layer.parameters()))))
    torch.testing.assert_close(*results, **EXACT)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("size", [{}, {"num_layers": 2, "bidirectional": True}], ids=["one layer", "two, both ways"])
def test_outputs_states_and_gradients_are_those_of_the_numpy_cells(kind, size, packed):
    layer = kind(INPUT, H, dtype=torch.float64, **size)
    cell = CELLS[layer.cell]
    params = cells.from_state_dict(cell, {key: value.numpy() for key, value in layer.state_dict().items()})
    x = torch.randn(T, B, INPUT, dtype=torch.float64, requires_grad=True)
    h = torch.randn(len(params), B, H, dtype=torch.float64, requires_grad=True)
    lengths = np.array(LENGTHS if packed else (T,) * B)
    (expected, final), cache = cells.forward(cell, params, x.detach().numpy(), cell.State(h.detach()), lengths=lengths)
    doutput, dfinal = np.random.default_rng(0).normal(size=expected.shape), np.cos(final.h)
    reference = cells.backward(doutput, cache, cell.State(dfinal))

    output, state = layer(pack_padded_sequence(x, lengths, enforce_sorted=False) if packed else x, h)
    output = pad_packed_sequence(output)[0] if packed else output
    np.testing.assert_allclose(output.detach(), expected, **EXACT)
    np.testing.assert_allclose(state.detach(), final.h, **EXACT)
    ((output * torch.from_numpy(doutput)).sum() + (state * torch.from_numpy(dfinal)).sum()).backward()
    np.testing.assert_allclose(x.grad, reference.x, **EXACT)
    np.testing.assert_allclose(h.grad, reference.state.h, **EXACT)
    for key, array in cells.to_state_dict(reference.params).items():
        np.testing.assert_allclose(getattr(layer, key).grad, array, err_msg=key, **EXACT)


@pytest.mark.parametrize("packed", [False, True])
def test_the_layers_have_first_and_second_derivatives(kind, packed):
    layer = kind(2, 2, bidirectional=True, dtype=torch.float64)
    names, parameters = zip(*layer.named_parameters(), strict=True)
    x = torch.randn(4, 2, 2, dtype=torch.float64, requires_grad=True)

    def run(x, *values):
        fed = pack_padded_sequence(x, [4, 2]) if packed else x
        output, state = torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (fed,))
        return rows(output), state

    assert torch.autograd.gradcheck(run, (x, *parameters))
    assert torch.autograd.gradgradcheck(run, (x, *parameters))


def test_ten_thousand_steps_of_a_layer_in_float32(kind):
    layer, x = kind(INPUT, H, 2), torch.randn(10_000, 1, INPUT)
    with torch.no_grad():
        output, state = layer(x)
        expected, last = open_loop.run(layer, x)
        exact, _ = copy.deepcopy(layer).double()(x.double())
    scale = expected.abs().max()
    assert (output - expected).abs().max() <= 1e-5 * scale
    assert (state - last).abs().max() <= 1e-5 * scale
    assert (output - exact).abs().max() <= 1e-5 * scale


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [50.0, 1e4])
def test_closed_and_open_gates_give_no_nan(kind, size, dtype):
    """Two gates of the MinLSTM that are both 0 to the last digit still share what there is."""
    layer = kind(INPUT, H, dtype=dtype)
    gates = len(CELLS[layer.cell].gates) - 1
    signs = torch.tensor([[-1.0, -1.0, 1.0, 1.0], [-1.0, 1.0, -1.0, 1.0]])[:gates]  # (gates, H)
    with torch.no_grad():
        layer.bias_ih_l0[: gates * H] = size * signs.flatten()
    x = torch.randn(200, B, INPUT, dtype=dtype, requires_grad=True)
    output, _ = layer(x)
    output.square().sum().backward()
    for tensor in (output, x.grad, layer.weight_ih_l0.grad, layer.bias_ih_l0.grad):
        assert tensor.isfinite().all()
    torch.testing.assert_close(output, open_loop.run(layer, x)[0])


# ---- drop-in ------------------------------------------------------------------------------------------------------


def test_the_state_dict_has_the_cells_names_and_shapes(kind):
    layer = kind(INPUT, H, 2, bidirectional=True)
    G = len(CELLS[layer.cell].gates)
    shapes = {key: tuple(value.shape) for key, value in layer.state_dict().items()}
    assert shapes == {
        f"{key}_{name}": shape
        for name, size in (("l0", INPUT), ("l0_reverse", INPUT), ("l1", 2 * H), ("l1_reverse", 2 * H))
        for key, shape in (("weight_ih", (G * H, size)), ("bias_ih", (G * H,)))
    }
    assert [list(map(len, weights)) for weights in layer.all_weights] == [[G * H, G * H]] * 4
    assert all(p.abs().max() <= H**-0.5 for p in layer.parameters())


def test_copies_compute_the_same(kind):
    layer, x = kind(INPUT, H, 2, batch_first=True), torch.randn(B, T, INPUT)
    output, _ = layer(x)
    other = kind(INPUT, H, 2, batch_first=True)
    other.load_state_dict(layer.state_dict())
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), other):
        assert torch.equal(twin(x)[0], output)
    torch.testing.assert_close(layer.double()(x.double())[0].float(), output)


def test_forms_of_input(kind):
    layer = kind(INPUT, H, 2, bidirectional=True)
    x, h = torch.randn(T, B, INPUT), torch.randn(4, B, H)
    output, state = layer(x, h)
    assert (output.shape, state.shape) == ((T, B, 2 * H), (4, B, H))
    alone, last = layer(x[:, 1], h[:, 1])  # without a batch
    torch.testing.assert_close((alone, last), (output[:, 1], state[:, 1]))
    layer.batch_first = True
    torch.testing.assert_close(layer(x.transpose(0, 1), h), (output.transpose(0, 1), state))
    empty, none = layer(x.new_zeros(0, T, INPUT))
    assert (empty.shape, none.shape) == ((0, T, 2 * H), (4, 0, H))


def test_the_start_follows_torchs_stream_and_initialisations_by_name(kind):
    layers = []
    for init in ("torch", "torch", "orthogonal+forget_bias:2"):
        torch.manual_seed(3)
        layers.append(kind(INPUT, H, init=init))
    assert torch.equal(layers[0].weight_ih_l0, layers[1].weight_ih_l0)
    where = CELLS[layers[2].cell].gates.index(CELLS[layers[2].cell].keeps)
    assert layers[2].bias_ih_l0.chunk(len(CELLS[layers[2].cell].gates))[where].tolist() == [2.0] * H


def test_what_does_not_fit_is_refused(kind):
    layer = kind(INPUT, H)
    with pytest.raises(gnn.ShapeError, match=rf"{kind.__name__}: input.size\(-1\) must be equal[^$]*\(T, B, 3\)"):
        layer(torch.zeros(T, B, INPUT + 1))
    with pytest.raises(gnn.ShapeError, match=r"Expected hidden size \(1, 3, 4\)"):
        layer(torch.zeros(T, B, INPUT), torch.zeros(1, B + 1, H))
    for option in ("recurrent_dropout", "layer_norm", "batch_norm", "peephole"):
        with pytest.raises(InputError, match=f"{kind.__name__} has no {option}"):
            kind(INPUT, H, **{option: 0.5 if option == "recurrent_dropout" else True})


def test_low_precision_carries_on_and_autocast_adds_up_in_float32(kind):
    layer, x = kind(INPUT, H), torch.randn(T, B, INPUT)
    expected, _ = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        output, _ = layer(x)
    assert output.dtype is torch.float32
    torch.testing.assert_close(output, expected, rtol=0.05, atol=0.02)
    low, state = layer.bfloat16()(x.bfloat16())
    assert {low.dtype, state.dtype} == {torch.bfloat16}
    torch.testing.assert_close(low.float(), expected, rtol=0.05, atol=0.05)


# ---- sequences apart ----------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.integers(1, T), min_size=2, max_size=4), filling=st.sampled_from([np.nan, np.inf, 1e30]))
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_neither_padding_nor_batch_mates_are_seen(kind, lengths, filling):
    """What one item holds, and what lies behind an item's end, moves no bit of another's output or gradient."""
    layer = kind(INPUT, H, 2, bidirectional=True)
    x = torch.randn(max(lengths), len(lengths), INPUT)
    altered = x.clone()
    for item, length in enumerate(lengths):
        altered[length:, item] = filling
    altered[: lengths[0], 0] = filling
    seen = []
    for given_x in (x, altered):
        given_x.requires_grad_()
        output, state = layer(pack_padded_sequence(given_x, lengths, enforce_sorted=False))
        padded, _ = pad_packed_sequence(output)
        (gradient,) = torch.autograd.grad(padded[:, 1:].sum() + state[:, 1:].sum(), given_x)
        seen.append((padded[:, 1:], state[:, 1:], gradient[:, 1:]))
    assert all(torch.equal(a, b) for a, b in zip(*seen, strict=True))


def test_a_reset_begins_a_new_sequence(kind):
    layer = kind(INPUT, H, 2, bidirectional=True, learn_initial_state=True, dtype=torch.float64)
    with torch.no_grad():
        layer.initial_h.normal_()
    x = torch.randn(T, B, INPUT, dtype=torch.float64)
    resets = torch.zeros(T, B, dtype=torch.bool)
    resets[2, 1] = True
    output, _ = layer(x, resets=resets)
    torch.testing.assert_close(output[:, ::2], layer(x)[0][:, ::2], **EXACT)
    torch.testing.assert_close(output[:2, 1], layer(x[:2, 1])[0], **EXACT)
    torch.testing.assert_close(output[2:, 1], layer(x[2:, 1])[0], **EXACT)


def test_a_stream_is_the_layer_step_by_step(kind):
    layer, x = kind(INPUT, H, 2, zoneout=0.2, dtype=torch.float64).eval(), torch.randn(T, B, INPUT, dtype=torch.float64)
    output, state = layer(x)
    stream = layer.stream(batch_size=B)
    torch.testing.assert_close(torch.stack([stream(row) for row in x]), output.detach(), **EXACT)
    torch.testing.assert_close(stream.state, state.detach(), **EXACT)


def test_a_trace_shows_the_gates_and_leaves_no_mark(kind):
    layer, x = kind(INPUT, H, 2), torch.randn(T, B, INPUT)
    plain, _ = layer(x)
    with gnn.trace(layer) as trace:
        output, _ = layer(x)
        output.sum().backward()
    torch.testing.assert_close(output, plain)
    scan = trace.only["l1"]
    torch.testing.assert_close(scan["h"], output.detach())
    kept = scan["z"] if kind is gnn.MinGRU else scan["f"] / (scan["f"] + scan["i"])
    expected = torch.ones_like(kept)  # the loss is a sum: dh_t = 1 + kept_{t+1} ⊙ dh_{t+1}
    for t in reversed(range(T - 1)):
        expected[t] += kept[t + 1] * expected[t + 1]
    torch.testing.assert_close(scan["dh"], expected)
    assert torch.equal(layer(x)[0], plain)


# ---- transformed --------------------------------------------------------------------------------------------------


def test_gradients_of_each_item(kind):
    layer, x = kind(INPUT, H, 2), torch.randn(T, B, INPUT)
    parameters = dict(layer.named_parameters())

    def loss(parameters, item):  # (T, I)
        return torch.func.functional_call(layer, parameters, (item,))[0].square().sum()

    per_item = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 1))(parameters, x)
    for item in range(B):
        alone = torch.func.grad(loss)(parameters, x[:, item])
        for key, gradient in alone.items():
            torch.testing.assert_close(per_item[key][item], gradient)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch.compile does so itself
@pytest.mark.parametrize(("kind", "packed"), [(gnn.MinGRU, False), (gnn.MinLSTM, True)])
def test_compiled_in_one_graph(kind, packed):
    torch._dynamo.reset()
    layer = kind(INPUT, H, bidirectional=True)
    x = torch.randn(T, B, INPUT)
    fed = pack_padded_sequence(x, LENGTHS, enforce_sorted=False) if packed else x
    expected = layer(fed)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")(fed)
    gradients = []
    for output, state in (expected, compiled):
        gradients.append(torch.autograd.grad(rows(output).sin().sum() + state.sum(), list(layer.parameters())))
    torch.testing.assert_close((rows(compiled[0]), compiled[1]), (rows(expected[0]), expected[1]))
    torch.testing.assert_close(*gradients)
