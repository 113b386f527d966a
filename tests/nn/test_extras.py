"""The extras: each against the formula written out in NumPy, in every combination, and what their masks are."""

import copy
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

import gatelab.nn as gnn
import written_out
from gatelab.cells.cell import CELLS
from gatelab.nn import extras, open_loop
from gatelab.nn.extras import EXTRAS
from gatelab.nn.hooks import Noise
from gatelab.nn.layers import LAYERS

T, INPUT, H, P = 5, 3, 4, 2
LENGTHS = (2, T, 4)
B = len(LENGTHS)
RATES = {"input_dropout": 0.3, "recurrent_dropout": 0.4, "weight_drop": 0.45, "zoneout": 0.35}


@pytest.fixture(autouse=True)
def one_thread_and_a_seed():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def make(cell, **options):
    """A layer in float64 in which everything that can be learned has been moved from where it starts."""
    family = LAYERS[CELLS[cell].family]
    layer = family(INPUT, H, dtype=torch.float64, **CELLS[cell].options, **options)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return layer


def possible(cell, options):
    """Those of the options that a cell can have."""
    return {name: value for name, value in options.items() if CELLS[cell].family in EXTRAS[name].families}


@st.composite
def layers(draw, without=("batch_norm",)):
    """A layer with any extras it can have, any depth and directions."""
    cell = draw(st.sampled_from(list(open_loop.STEPS)))
    names = [name for name, extra in EXTRAS.items() if CELLS[cell].family in extra.families and name not in without]
    chosen = draw(st.sets(st.sampled_from(names)))
    if {"layer_norm", "batch_norm"} <= chosen:
        chosen -= {"layer_norm"}
    options = {name: RATES.get(name, True) for name in chosen}
    if "zoneout" in chosen and cell.startswith("lstm") and draw(st.booleans()):
        options["zoneout"] = (0.35, 0.6)
    if cell.startswith("lstm") and draw(st.booleans()):
        options["proj_size"] = P
    options |= {
        "num_layers": draw(st.integers(1, 2)),
        "bidirectional": draw(st.booleans()),
        "bias": draw(st.booleans()),
    }
    torch.manual_seed(draw(st.integers(0, 99)))
    return make(cell, **options).train(draw(st.booleans()))


def items():
    return [torch.randn(n, INPUT, dtype=torch.float64) for n in LENGTHS]


def run(layer, sequences, packed, hx=None):
    """Outputs of each item, and final states; sequences of equal length where not packed."""
    if not packed:
        output, states = layer(torch.stack([x[: LENGTHS[0]] for x in sequences], 1), hx)
        return list(output.unbind(1)), states
    output, states = layer(pack_sequence(sequences, enforce_sorted=False), hx)
    output, lengths = pad_packed_sequence(output)
    return [output[:n, b] for b, n in enumerate(lengths)], states


def recorded(layer, call):
    """What ``call`` gives, and the noise that it drew, scan by scan."""
    noises = []
    draw = extras.draw
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extras, "draw", lambda *given: noises.append(draw(*given)) or noises[-1])
        return call(), noises


def masks_of(noise, order, lengths, item, state):
    """One item's masks: ``order`` is how the batch was sorted, ``lengths`` those of the sorted items."""
    place, n = order.index(item), lengths[order.index(item)]
    alive = [sum(length > t for length in lengths) for t in range(max(lengths))]
    rows = [sum(alive[:t]) + place for t in range(n)]
    kept = [k.numpy()[rows] if isinstance(k, torch.Tensor) else [k] * n for k in (noise.zoneout_h, noise.zoneout_c)]
    one = [1.0 if mask is None else mask[place].numpy() for mask in (noise.input, noise.recurrent)]
    return {"input": one[0], "recurrent": one[1], "kept": kept[: len(state)]}


def initial_of(layer, row):
    names = ("initial_h", "initial_c")[: len(layer.state_sizes)]
    zeros = [np.zeros(size) for size in layer.state_sizes]
    return tuple(
        getattr(layer, n)[row].detach().numpy() if hasattr(layer, n) else z for n, z in zip(names, zeros, strict=True)
    )


def expected(layer, sequences, noises, lengths):
    """What NumPy says, item by item: outputs ``(T, D·H)`` and final states ``(L·D, H)``."""
    order = sorted(range(B), key=lambda b: -lengths[b])
    ranked, names = [lengths[b] for b in order], layer.scan_names
    directions = 2 if layer.bidirectional else 1
    for b, x in enumerate(sequences):
        below, final = x[: lengths[b]].numpy(), []
        for first in range(0, len(names), directions):
            outputs = []
            for row in range(first, first + directions):
                weights = open_loop.weights_of(layer, names[row])._asdict()
                p = {key: value.detach().numpy() for key, value in weights.items() if isinstance(value, torch.Tensor)}
                if noises[row].weight is not None:
                    p["weight_hh"] = p["weight_hh"] * noises[row].weight.numpy()
                state = initial_of(layer, row)
                masks = masks_of(noises[row], order, ranked, b, state)
                output, state = written_out.scan(layer.cell, p, below, state, masks, names[row].endswith("_reverse"))
                outputs.append(output)
                final.append(state)
            below = np.concatenate(outputs, axis=1)
        yield below, [np.stack(s) for s in zip(*final, strict=True)]


# ---- any combination ----------------------------------------------------------------------------------------------


@settings(max_examples=120, deadline=None)
@given(layers(), st.booleans())
def test_any_combination_is_what_the_formulas_say(layer, packed):
    sequences = items()
    (outputs, states), noises = recorded(layer, lambda: run(layer, sequences, packed))
    states = states if isinstance(states, tuple) else (states,)
    noises = noises or [Noise()] * len(layer.scan_names)  # torch's own path draws none
    lengths = LENGTHS if packed else (LENGTHS[0],) * B
    for b, (output, final) in enumerate(expected(layer, sequences, noises, lengths)):
        np.testing.assert_allclose(outputs[b].detach(), output, rtol=1e-10, atol=1e-12)
        for mine, theirs in zip(states, final, strict=True):
            np.testing.assert_allclose(mine[:, b].detach(), theirs, rtol=1e-10, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(layers(without=()), st.booleans())
def test_any_combination_is_copied_saved_and_loaded(layer, packed):
    sequences = items()
    run(layer, sequences, packed)  # batch statistics are seen
    layer.eval()
    before = run(layer, sequences, packed)
    twin = copy.deepcopy(layer)
    shape = ("num_layers", "bidirectional", "bias", *(("proj_size",) if layer.family == "lstm" else ()))
    fresh = make(layer.cell, **{name: getattr(layer, name) for name in (*EXTRAS, *shape)}).eval()
    fresh.load_state_dict(layer.state_dict())
    assert repr(twin) == repr(fresh) == repr(layer)
    for other in (twin, fresh):
        torch.testing.assert_close(run(other, sequences, packed), before, rtol=0, atol=0)
    with torch.no_grad():
        twin.weight_ih_l0.add_(1)
    torch.testing.assert_close(run(layer, sequences, packed), before, rtol=0, atol=0)


@settings(max_examples=25, deadline=None)
@given(layers(without=()), st.booleans())
def test_any_combination_passes_the_gradient_check(layer, packed):
    names, values = zip(*((n, p.detach().requires_grad_()) for n, p in layer.named_parameters()), strict=True)
    sequences = items()
    buffers = {name: buffer.clone() for name, buffer in layer.named_buffers()}

    def outputs(data, *parameters):
        torch.manual_seed(1)  # the same masks every time
        given = dict(zip(names, parameters, strict=True)) | {n: b.clone() for n, b in buffers.items()}
        split = list(data.split(LENGTHS))
        x = pack_sequence(split, enforce_sorted=False) if packed else torch.stack([s[: LENGTHS[0]] for s in split], 1)
        output, states = torch.func.functional_call(layer, given, (x,))
        return (output.data if packed else output, *(states if isinstance(states, tuple) else (states,)))

    data = torch.cat(sequences).requires_grad_()
    assert torch.autograd.gradcheck(outputs, (data, *values), fast_mode=True)


@pytest.mark.parametrize("name", open_loop.STEPS)
def test_second_derivatives(name):
    several = {"layer_norm": True, "learn_initial_state": True, "peephole": True, **RATES}
    for options in ({}, possible(name, several), possible(name, {"batch_norm": True})):
        if name == "rnn_relu" and options:
            continue  # the second derivative of ReLU's kinks is not a number that differences can find
        layer = make(name, **options)
        keys, values = zip(*((n, p.detach().requires_grad_()) for n, p in layer.named_parameters()), strict=True)
        buffers = {n: b.clone() for n, b in layer.named_buffers()}

        def outputs(x, *parameters, layer=layer, keys=keys, buffers=buffers):
            torch.manual_seed(1)
            state = dict(zip(keys, parameters, strict=True)) | {n: b.clone() for n, b in buffers.items()}
            return torch.func.functional_call(layer, state, (x,))[0]

        x = torch.randn(3, 4, INPUT, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradgradcheck(outputs, (x, *values), fast_mode=True)


@pytest.mark.parametrize("name", open_loop.STEPS)
def test_evaluation_is_deterministic_and_training_a_function_of_torchs_seed(name):
    layer, x = make(name, **possible(name, RATES)), torch.randn(T, B, INPUT, dtype=torch.float64)
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(layer(x)[0])
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    layer.eval()
    stream = torch.get_rng_state()
    assert torch.equal(layer(x)[0], layer(x)[0])
    assert torch.equal(torch.get_rng_state(), stream)


# ---- masks --------------------------------------------------------------------------------------------------------


def noise_of(layer, rows=200, batch=50):
    w = open_loop.weights_of(layer, "l0")
    state = tuple(s[0] for s in layer.initial_state(batch, torch.empty(0)))
    return extras.draw(layer, w, torch.ones(rows * batch, layer.input_size), state)


def test_dropout_masks_are_one_a_sequence_scaled_and_of_the_right_rate():
    layer = gnn.LSTM(40, 30, input_dropout=0.2, recurrent_dropout=0.6)
    noise = noise_of(layer)
    for mask, shape, p in ((noise.input, (50, 40), 0.2), (noise.recurrent, (50, 30), 0.6)):
        assert mask.shape == shape
        torch.testing.assert_close(mask.unique(), torch.tensor([0.0, 1 / (1 - p)]))
        deviation = np.sqrt(p * (1 - p) / mask.numel())
        assert abs((mask == 0).double().mean() - p) < 4 * deviation
    assert noise_of(layer.eval()) == Noise()


def test_a_mask_of_the_weights_is_one_a_pass_and_goes_where_gradients_go():
    layer = gnn.GRU(INPUT, 30, weight_drop=0.4)
    (output, _), (noise,) = recorded(layer, lambda: layer(torch.randn(T, B, INPUT)))
    torch.testing.assert_close(noise.weight.unique(), torch.tensor([0.0, 1 / 0.6]))
    assert abs((noise.weight == 0).double().mean() - 0.4) < 4 * np.sqrt(0.24 / noise.weight.numel())
    output.sum().backward()
    assert (layer.weight_hh_l0.grad[noise.weight == 0] == 0).all()
    assert (layer.weight_hh_l0.grad[noise.weight > 0] != 0).double().mean() > 0.99
    before = layer.weight_hh_l0.clone()
    layer.eval()(torch.randn(T, B, INPUT))
    assert torch.equal(layer.weight_hh_l0, before)


def test_zoneout_draws_anew_for_every_unit_and_step_each_state_at_its_own_rate():
    layer = gnn.LSTM(4, 30, zoneout=(0.1, 0.5))
    noise = noise_of(layer)
    for kept, p in ((noise.zoneout_h, 0.1), (noise.zoneout_c, 0.5)):
        assert kept.shape == (200 * 50, 30)
        deviation = np.sqrt(p * (1 - p) / kept.numel())
        assert abs(kept.double().mean() - p) < 4 * deviation
        steps = kept.view(200, 50 * 30).double()
        assert abs(np.corrcoef(steps[:-1].flatten(), steps[1:].flatten())[0, 1]) < 0.01
    still = noise_of(layer.eval())
    assert (still.zoneout_h, still.zoneout_c) == (0.1, 0.5)
    still = noise_of(gnn.GRU(4, 30, zoneout=0.2).eval())
    assert (still.zoneout_h, still.zoneout_c) == (0.2, 0.0)


def test_a_recurrent_mask_never_touches_the_state_that_is_carried():
    layer = gnn.GRU(INPUT, H, recurrent_dropout=0.99)
    with torch.no_grad():
        layer.bias_ih_l0.view(3, H)[1] = 1e4  # z = 1: the state is kept, whatever the masks are
    h = torch.randn(1, B, H)
    output, final = layer(torch.randn(T, B, INPUT), h)
    torch.testing.assert_close(output, h.expand(T, B, H))
    torch.testing.assert_close(final, h)


def test_dropping_everything_that_is_read_leaves_the_bias():
    layer = gnn.RNN(INPUT, H, input_dropout=1 - 1e-9, recurrent_dropout=1 - 1e-9)
    output, _ = layer(torch.randn(T, B, INPUT))
    torch.testing.assert_close(output, (layer.bias_ih_l0 + layer.bias_hh_l0).tanh().expand(T, B, H))


def test_zoneout_that_keeps_everything_keeps_the_initial_state():
    layer = gnn.LSTM(INPUT, H, zoneout=1 - 1e-9)
    h, c = torch.randn(1, B, H), torch.randn(1, B, H)
    output, final = layer(torch.randn(T, B, INPUT), (h, c))
    torch.testing.assert_close(output, h.expand(T, B, H))
    torch.testing.assert_close(final[1], c)


@pytest.mark.parametrize("option", ["input_dropout", "recurrent_dropout", "zoneout"])
def test_evaluation_is_the_expectation_of_training(option):
    """Over one step from a given state, with the squashing functions in their linear part."""
    layer = gnn.RNN(INPUT, H, nonlinearity="relu", dtype=torch.float64, **{option: 0.4})
    with torch.no_grad():
        layer.bias_ih_l0.fill_(100)  # ReLU far from its kink
    x, h = torch.randn(1, 1, INPUT, dtype=torch.float64), torch.randn(1, 1, H, dtype=torch.float64)
    many = layer(x.expand(1, 40_000, INPUT), h.expand(1, 40_000, H).contiguous())[0]
    error = many.std(1) / np.sqrt(many.shape[1])
    assert ((many.mean(1) - layer.eval()(x, h)[0][0]).abs() < 4.5 * error).all()


# ---- traces -------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(layers(without=()), st.booleans())
def test_a_trace_of_any_combination_is_the_pass_and_names_everything(layer, packed):
    sequences, cell = items(), CELLS[layer.cell]
    buffers = copy.deepcopy(dict(layer.named_buffers()))
    torch.manual_seed(2)
    plain = run(layer, sequences, packed)
    layer.load_state_dict(buffers, strict=False)
    with gnn.trace(layer) as trace:
        torch.manual_seed(2)
        traced = run(layer, sequences, packed)
        sum(output.sin().sum() for output in traced[0]).backward()
    torch.testing.assert_close(traced, plain, rtol=1e-10, atol=1e-12)
    gates = {*cell.Gates._fields} - {"pre"} | {f"z{gate}" for gate in cell.gates} | {*cell.State._fields}
    for (name, scan), key in itertools.product(trace.only.layers.items(), gates):
        assert {*scan.names} == gates
        size = P if key == "h" and getattr(layer, "proj_size", 0) else H
        assert scan[key].shape == scan[f"d{key}"].shape == (max(LENGTHS) if packed else LENGTHS[0], B, size), name
    assert [*trace.only.layers] == layer.scan_names
