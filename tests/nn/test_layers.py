"""``gatelab.nn``'s layers beside ``torch.nn``'s, and the open loop beside both."""

import copy
import itertools

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pack_sequence

import gatelab.nn as gnn
from gatelab.core.errors import InputError
from gatelab.nn import open_loop

T, B, INPUT, H = 5, 3, 3, 4
KINDS = ("RNN", "RNN relu", "LSTM", "LSTM projected", "GRU")


@pytest.fixture(autouse=True)
def one_thread_and_a_seed():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def make(kind, module, **options):
    name, _, extra = kind.partition(" ")
    options |= {"relu": {"nonlinearity": "relu"}, "projected": {"proj_size": 2}}.get(extra, {})
    return getattr(module, name)(INPUT, H, **options)


def pair(kind, dtype=torch.float64, **options):
    """Our layer and torch's with the same weights."""
    ours, theirs = (make(kind, module, dtype=dtype, **options) for module in (gnn, torch.nn))
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def inputs(form, layer, dtype=torch.float64):
    """An input of the given form, and an initial state for it."""
    lengths = (2, T, 4)
    if form == "packed":
        x = pack_sequence([torch.randn(n, INPUT, dtype=dtype) for n in lengths], enforce_sorted=False)
    else:
        shape = {"unbatched": (T, INPUT), "dense": (B, T, INPUT) if layer.batch_first else (T, B, INPUT)}[form]
        x = torch.randn(shape, dtype=dtype)
    count = layer.num_layers * (2 if layer.bidirectional else 1)
    batch = () if form == "unbatched" else (B,)
    states = tuple(torch.randn(count, *batch, size, dtype=dtype, requires_grad=True) for size in layer.state_sizes)
    return x, states if len(states) > 1 else states[0]


def everything(call, layer, x, hx):
    """Outputs, states and all gradients of one forward and backward pass."""
    data = (x.data if isinstance(x, PackedSequence) else x).clone().requires_grad_()
    given = x._replace(data=data) if isinstance(x, PackedSequence) else data
    output, states = call(given, hx)
    output = output.data if isinstance(output, PackedSequence) else output
    states = states if isinstance(states, tuple) else (states,)
    hidden = () if hx is None else hx if isinstance(hx, tuple) else (hx,)
    loss = sum((i + 1) * value.sin().sum() for i, value in enumerate((output, *states)))
    return [output, *states, *torch.autograd.grad(loss, [data, *hidden, *layer.parameters()])]


def assert_same(ours, theirs, tolerance):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


SHAPES = [  # every pair of settings occurs
    {"num_layers": layers, "bidirectional": both, "batch_first": flag, "bias": (layers + both + flag) % 2 == 0}
    for layers, both, flag in itertools.product((1, 2), (False, True), (False, True))
]


@pytest.mark.parametrize("form", ["dense", "unbatched", "packed"])
@pytest.mark.parametrize("kind", KINDS)
def test_layer_and_open_loop_equal_torch(kind, form):
    for options, with_state in itertools.product(SHAPES, (False, True)):
        ours, theirs = pair(kind, **options)
        x, hx = inputs(form, ours)
        hx = hx if with_state else None
        reference = everything(theirs, theirs, x, hx)
        assert_same(everything(ours, ours, x, hx), reference, 1e-12)
        assert_same(everything(lambda *a, ours=ours: open_loop.run(ours, *a), ours, x, hx), reference, 1e-12)


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("kind", KINDS)
def test_open_loop_in_float32(kind):
    ours, theirs = pair(kind, dtype=torch.float32, num_layers=2, bidirectional=True)
    x, hx = inputs("dense", ours, torch.float32)
    with torch.no_grad():
        ours_, theirs_ = open_loop.run(ours, x, hx), theirs(x, hx)
    torch.testing.assert_close(ours_, theirs_, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("form", ["dense", "packed"])
@pytest.mark.parametrize("kind", KINDS)
def test_dropout_draws_torchs_masks(kind, form):
    ours, theirs = pair(kind, num_layers=3, dropout=0.4, bidirectional=True)
    x, hx = inputs(form, ours)
    results = []
    for call in (theirs, ours, lambda *a: open_loop.run(ours, *a)):
        torch.manual_seed(7)
        results.append(everything(call, theirs if call is theirs else ours, x, hx))
    assert_same(results[1], results[0], 1e-12)
    assert_same(results[2], results[0], 1e-12)
    assert not torch.equal(results[0][0], everything(ours.eval(), ours, x, hx)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_state_dicts_pass_both_ways(kind):
    ours, theirs = (make(kind, module, num_layers=2, bidirectional=True) for module in (gnn, torch.nn))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_the_same_seed_gives_torchs_initial_weights():
    for kind in KINDS:
        torch.manual_seed(3)
        ours = make(kind, gnn)
        torch.manual_seed(3)
        theirs = make(kind, torch.nn)
        assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_attributes_and_text_are_torchs():
    for kind in KINDS:
        ours, theirs = pair(kind, num_layers=2, dropout=0.1, batch_first=True)
        assert repr(ours) == repr(theirs)
        assert isinstance(ours, torch.nn.RNNBase)
        for name in ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "proj_size", "mode"):
            assert getattr(ours, name) == getattr(theirs, name)
    assert "reset_after=False" in repr(gnn.GRU(INPUT, H, reset_after=False))


@pytest.mark.parametrize("reset_after", [True, False])
def test_a_deep_copy_is_the_same_and_apart(reset_after):
    layer = gnn.GRU(INPUT, H, reset_after=reset_after)
    twin = copy.deepcopy(layer)
    x = torch.randn(T, B, INPUT)
    before = layer(x)[0]
    assert torch.equal(twin(x)[0], before)
    with torch.no_grad():
        twin.weight_hh_l0.add_(1)
    assert torch.equal(layer(x)[0], before)
    assert not torch.equal(twin(x)[0], before)


# ---- the reset gate before the multiplication ---------------------------------------------------------------------


def cho(w, x, h, reverse=False):
    """The GRU of Cho et al. 2014, written out in NumPy: ``x (T, I)``, ``h (H,)``."""
    w_ir, w_iz, w_in = np.split(w["weight_ih"], 3)
    w_hr, w_hz, w_hn = np.split(w["weight_hh"], 3)
    b_ir, b_iz, b_in = np.split(w["bias_ih"], 3)
    b_hr, b_hz, b_hn = np.split(w["bias_hh"], 3)
    outputs = np.empty((len(x), len(h)))
    for t in reversed(range(len(x))) if reverse else range(len(x)):
        r = 1 / (1 + np.exp(-(w_ir @ x[t] + b_ir + w_hr @ h + b_hr)))
        z = 1 / (1 + np.exp(-(w_iz @ x[t] + b_iz + w_hz @ h + b_hz)))
        n = np.tanh(w_in @ x[t] + b_in + w_hn @ (r * h) + b_hn)
        h = (1 - z) * n + z * h
        outputs[t] = h
    return outputs, h


def cho_stack(layer, x, h0):
    """All layers and directions: ``x (T, I)``, ``h0 (L·D, H)``."""
    weights = {name: value.detach().numpy() for name, value in layer.named_parameters()}
    final = []
    for index in range(layer.num_layers):
        outputs = []
        for reverse in (False, True)[: 2 if layer.bidirectional else 1]:
            suffix = f"_l{index}" + ("_reverse" if reverse else "")
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            output, last = cho({name: weights[name + suffix] for name in names}, x, h0[len(final)], reverse)
            outputs.append(output)
            final.append(last)
        x = np.concatenate(outputs, axis=1)
    return x, np.stack(final)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("num_layers", "bidirectional"), [(1, False), (2, False), (1, True), (2, True)])
def test_reset_before_equals_the_formula(num_layers, bidirectional, packed):
    layer = gnn.GRU(
        INPUT, H, num_layers, bidirectional=bidirectional, reset_after=False, batch_first=True, dtype=torch.float64
    )
    lengths = (2, T, 4) if packed else (T, T, T)
    items = [torch.randn(n, INPUT, dtype=torch.float64) for n in lengths]
    h0 = torch.randn(num_layers * (1 + bidirectional), B, H, dtype=torch.float64)
    output, final = layer(pack_sequence(items, enforce_sorted=False) if packed else torch.stack(items), h0)
    if packed:
        output, _ = torch.nn.utils.rnn.pad_packed_sequence(output, batch_first=True)
    for b, item in enumerate(items):
        expected, last = cho_stack(layer, item.numpy(), h0[:, b].numpy())
        np.testing.assert_allclose(output[b, : len(item)].detach(), expected, atol=1e-13)
        np.testing.assert_allclose(final[:, b].detach(), last, atol=1e-13)


def test_reset_before_without_bias_equals_zero_bias():
    with_bias = gnn.GRU(INPUT, H, reset_after=False)
    without = gnn.GRU(INPUT, H, reset_after=False, bias=False)
    for name, value in without.named_parameters():
        value.data = with_bias.get_parameter(name).data
    torch.nn.init.zeros_(with_bias.bias_ih_l0)
    torch.nn.init.zeros_(with_bias.bias_hh_l0)
    x = torch.randn(T, B, INPUT)
    torch.testing.assert_close(without(x), with_bias(x))


def test_the_two_places_of_the_reset_gate_differ():
    after, before = gnn.GRU(INPUT, H), gnn.GRU(INPUT, H, reset_after=False)
    before.load_state_dict(after.state_dict())
    x = torch.randn(T, B, INPUT)
    assert (after(x)[0] - before(x)[0]).abs().max() > 1e-4


def test_reset_before_gradients_by_central_differences():
    layer = gnn.GRU(2, 3, 2, bidirectional=True, reset_after=False, dtype=torch.float64)
    names, values = zip(*((n, p.detach().requires_grad_()) for n, p in layer.named_parameters()), strict=True)

    def outputs(x, h, *weights):
        return torch.func.functional_call(layer, dict(zip(names, weights, strict=True)), (x, h))

    x = torch.randn(T, 2, 2, dtype=torch.float64, requires_grad=True)
    h = torch.randn(4, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(outputs, (x, h, *values), fast_mode=True)
    assert torch.autograd.gradgradcheck(outputs, (x, h, *values), fast_mode=True)


def test_parametrized_weights_reach_every_path():
    for reset_after in (True, False):
        layer = gnn.GRU(INPUT, H, reset_after=reset_after, dtype=torch.float64)
        plain = copy.deepcopy(layer)
        torch.nn.utils.parametrizations.weight_norm(layer, "weight_hh_l0")
        x = torch.randn(T, B, INPUT, dtype=torch.float64)
        torch.testing.assert_close(layer(x), plain(x), rtol=1e-12, atol=1e-12)
        layer(x)[0].sum().backward()
        assert layer.parametrizations.weight_hh_l0.original0.grad.abs().sum() > 0


# ---- bad input ----------------------------------------------------------------------------------------------------

LAYER = {"RNN": gnn.RNN, "LSTM": gnn.LSTM, "GRU": gnn.GRU}


@pytest.mark.parametrize("kind", LAYER)
@pytest.mark.parametrize(
    ("options", "shape", "expected"),
    [
        ({}, (T, B, INPUT + 1), f"(T, B, {INPUT})"),
        ({"batch_first": True}, (B, T, INPUT + 1), f"(B, T, {INPUT})"),
        ({}, (T, INPUT + 1), f"(T, {INPUT})"),
        ({}, (T,), f"(T, B, {INPUT})"),
        ({}, (1, T, B, INPUT), f"(T, B, {INPUT})"),
        ({}, (0, B, INPUT), "at least one time step"),
        ({"batch_first": True}, (B, 0, INPUT), "at least one time step"),
    ],
)
def test_wrong_input_shapes_are_named(kind, options, shape, expected):
    with pytest.raises(gnn.ShapeError) as caught:
        LAYER[kind](INPUT, H, **options)(torch.zeros(shape))
    assert kind in str(caught.value)
    assert expected in str(caught.value)
    assert expected.startswith("at") or str(tuple(shape)) in str(caught.value)


@pytest.mark.parametrize("kind", LAYER)
def test_wrong_packed_rows_are_named(kind):
    rows = pack_sequence([torch.zeros(T, INPUT + 1)])
    with pytest.raises(gnn.ShapeError, match=rf"packed rows \(N, {INPUT}\)"):
        LAYER[kind](INPUT, H)(rows)


@pytest.mark.parametrize("kind", LAYER)
@pytest.mark.parametrize("shape", [(1, B + 1, H), (2, B, H), (1, B, H + 1), (B, H)])
def test_wrong_initial_states_are_named(kind, shape):
    layer, x = LAYER[kind](INPUT, H), torch.zeros(T, B, INPUT)
    states = torch.zeros(shape) if kind != "LSTM" else (torch.zeros(1, B, H), torch.zeros(shape))
    with pytest.raises(gnn.ShapeError) as caught:
        layer(x, states)
    assert str((1, B, H)) in str(caught.value)
    assert str(shape) in str(caught.value)
    assert ("state c" if kind == "LSTM" else "state h") in str(caught.value)


def test_the_lstm_wants_a_pair_and_the_gru_one_state():
    x, h = torch.zeros(T, B, INPUT), torch.zeros(1, B, H)
    with pytest.raises(gnn.ShapeError, match=r"a pair \(h, c\)"):
        gnn.LSTM(INPUT, H)(x, h)
    with pytest.raises(gnn.ShapeError, match="tuple of 2"):
        gnn.GRU(INPUT, H)(x, (h, h))
    with pytest.raises(gnn.ShapeError, match="tuple of 1"):
        gnn.GRU(INPUT, H)(x, (h,))


def test_wrong_shapes_raise_where_torch_raises_and_can_be_caught_as_torchs():
    x = torch.zeros(T, B, INPUT)
    wrong = [
        (torch.zeros(T, B, INPUT + 1), None),
        (torch.zeros(T), None),
        (torch.zeros(0, B, INPUT), None),
        (x, torch.zeros(2, B, H)),
        (x, torch.zeros(B, H)),
        (x[:, 0], torch.zeros(1, 1, H)),
        (x.double(), None),
    ]
    for given, state in wrong:
        with pytest.raises((RuntimeError, ValueError)) as theirs:
            torch.nn.GRU(INPUT, H)(given, state)
        with pytest.raises(theirs.type):
            gnn.GRU(INPUT, H)(given, state)
        with pytest.raises(theirs.type):
            gnn.GRU(INPUT, H, reset_after=False)(given, state)


def test_shape_errors_are_input_errors():
    assert issubclass(gnn.ShapeError, InputError)
    assert issubclass(gnn.ShapeError, RuntimeError)


def test_autocast_runs_every_layer():
    x = torch.randn(T, B, INPUT)
    for layer in (gnn.LSTM(INPUT, H), gnn.GRU(INPUT, H, 2, bidirectional=True, reset_after=False)):
        reference = layer(x)[0]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = layer(x)[0]
            layer(x[:, 0].bfloat16())  # under autocast the input may have come out of another layer
        torch.testing.assert_close(output.float(), reference, rtol=0.05, atol=0.05)
