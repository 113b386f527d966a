"""What every cell in ``CELLS`` promises. A new entry is tested here without a line being written."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gatelab.cells import (
    CELLS,
    INITS,
    Cell,
    backward,
    forward,
    from_state_dict,
    gradcheck,
    initial_parameters,
    observed_from_lengths,
    to_state_dict,
    trace_of,
    truncated,
)

T, B, I, H = 6, 3, 4, 5  # noqa: E741
LENGTHS = np.array([4, 6, 1])


@pytest.fixture(params=list(CELLS))
def cell(request) -> Cell:
    return CELLS[request.param]


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def stack(cell: Cell, seed: int = 0, dtype=np.float64, **size):
    """Parameters with every entry drawn, biases too."""
    rng = np.random.default_rng(seed)
    params = initial_parameters(cell, I, H, rng, dtype=dtype, **size)
    for array in to_state_dict(params).values():
        array[...] = rng.normal(0, 0.6, array.shape)
    return params


def random_state(cell: Cell, rng, rows: int, dtype=np.float64):
    return cell.State(*(rng.normal(size=(rows, B, H)).astype(dtype) for _ in cell.State._fields))


def same(a, b) -> bool:
    return all(np.array_equal(left, right) for left, right in zip(a, b, strict=True))


# ---- the record ----------------------------------------------------------------------------------------------------


def test_the_record_is_complete(cell):
    assert CELLS[cell.name] is cell
    assert cell.State._fields[0] == "h"
    assert "pre" in cell.Gates._fields
    assert {*cell.Gates._fields, *cell.State._fields} - {"pre"} <= set(cell.quantities)
    assert {cell.keeps, cell.writes} - {None} <= set(cell.gates)
    assert set(cell.gates) <= set(cell.quantities)


def test_a_step_fits_on_a_screen(cell):
    for function in (cell.step, cell.step_backward):
        assert len(inspect.getsource(function).splitlines()) <= 30


def test_a_step_changes_nothing_that_it_is_given(cell):
    rng = np.random.default_rng(0)
    params, x = stack(cell)["l0"], rng.normal(size=(B, I))
    state = cell.State(*(rng.normal(size=(B, H)) for _ in cell.State._fields))
    for array in (*params, x, *state):
        array.flags.writeable = False
    after, gates = cell.step(params, x, state)
    for array in (*after, *gates):
        array.flags.writeable = False
    cell.step_backward(params, x, state, gates, after)


# ---- gradients -----------------------------------------------------------------------------------------------------


def test_one_step_passes_the_gradient_check(cell):
    errors = gradcheck.check_step(cell)
    assert len(errors) == 1 + len(cell.State._fields) + len(cell.gates) * len(cell.Params._fields)
    assert max(errors.values()) <= gradcheck.TOLERANCE, errors


@pytest.mark.parametrize("size", [{}, {"num_layers": 2, "bidirectional": True}], ids=["one layer", "two, both ways"])
def test_ragged_sequences_pass_the_gradient_check(cell, size):
    errors = gradcheck.check_sequence(cell, lengths=(5, 3, 1), input_size=2, hidden_size=2, **size)
    assert max(errors.values()) <= gradcheck.TOLERANCE, errors


# ---- torch ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["dense", "packed"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one way", "both ways"])
@pytest.mark.parametrize("num_layers", [1, 3])
def test_outputs_and_gradients_are_those_of_torch(cell, num_layers, bidirectional, lengths):
    if cell.torch_twin is None:
        pytest.skip("torch has no such cell")
    size = {"num_layers": num_layers, "bidirectional": bidirectional}
    module = getattr(torch.nn, cell.torch_twin)(I, H, dtype=torch.float64, **cell.options, **size)
    params = stack(cell, **size)
    module.load_state_dict({key: torch.from_numpy(array.copy()) for key, array in to_state_dict(params).items()})

    rng = np.random.default_rng(1)
    x, state = rng.normal(size=(T, B, I)), random_state(cell, rng, len(params))
    (output, final), cache = forward(cell, params, x, state, lengths=lengths)
    doutput, dfinal = rng.normal(size=output.shape), random_state(cell, rng, len(params))
    gradients = backward(doutput, cache, dfinal)

    tx = torch.tensor(x, requires_grad=True)
    tstate = [torch.tensor(s, requires_grad=True) for s in state]
    fed = tx if lengths is None else pack_padded_sequence(tx, torch.from_numpy(lengths), enforce_sorted=False)
    toutput, tfinal = module(fed, tuple(tstate) if len(tstate) > 1 else tstate[0])
    toutput = toutput if lengths is None else pad_packed_sequence(toutput, total_length=T)[0]
    tfinal = tfinal if len(tstate) > 1 else (tfinal,)
    loss = (toutput * torch.from_numpy(doutput)).sum()
    loss = loss + sum((s * torch.from_numpy(d)).sum() for s, d in zip(tfinal, dfinal, strict=True))
    loss.backward()

    close = {"rtol": 1e-12, "atol": 1e-12}
    np.testing.assert_allclose(output, toutput.detach(), **close)
    for mine, theirs in zip(final, tfinal, strict=True):
        np.testing.assert_allclose(mine, theirs.detach(), **close)
    np.testing.assert_allclose(gradients.x, tx.grad, **close)
    for mine, theirs in zip(gradients.state, tstate, strict=True):
        np.testing.assert_allclose(mine, theirs.grad, **close)
    derived = to_state_dict(gradients.params)
    for key, parameter in module.named_parameters():
        np.testing.assert_allclose(derived[key], parameter.grad, err_msg=key, **close)


def test_state_dicts_come_from_torch(cell):
    if cell.torch_twin is None:
        pytest.skip("torch has no such cell")
    module = getattr(torch.nn, cell.torch_twin)(I, H, num_layers=2, bidirectional=True, **cell.options)
    params = from_state_dict(cell, module.state_dict())
    assert list(to_state_dict(params)) == list(module.state_dict())
    for key, array in to_state_dict(params).items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, module.state_dict()[key])


def test_state_dicts_survive_safetensors(cell):
    params = stack(cell, num_layers=2, bidirectional=True, dtype=np.float32)
    again = from_state_dict(cell, load(save(to_state_dict(params, "encoder."))), prefix="encoder.")
    assert list(again) == list(params)
    for name, record in params.items():
        assert type(again[name]) is cell.Params
        assert same(record, again[name])


# ---- masks ---------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("name", list(CELLS))
def test_padding_is_inert(name, data):
    cell = CELLS[name]
    observed = np.array(data.draw(st.lists(st.booleans(), min_size=T * B, max_size=T * B))).reshape(T, B)
    filling = data.draw(st.sampled_from([np.nan, np.inf, -np.inf, 1e300, -7.0]))
    bidirectional = data.draw(st.booleans())
    params = stack(cell, num_layers=2, bidirectional=bidirectional)
    rng = np.random.default_rng(2)
    x, state = rng.normal(size=(T, B, I)), random_state(cell, rng, len(params))
    altered = np.where(observed[:, :, None], x, filling)

    one, one_cache = forward(cell, params, x, state, observed=observed)
    two, two_cache = forward(cell, params, altered, state, observed=observed)
    assert np.array_equal(one.output, two.output)
    assert same(one.state, two.state)
    assert not one.output[~observed].any()

    doutput, dfinal = rng.normal(size=one.output.shape), random_state(cell, rng, len(params))
    a = backward(doutput, one_cache, dfinal)
    b = backward(np.where(observed[:, :, None], doutput, filling), two_cache, dfinal)
    assert np.array_equal(a.x, b.x)
    assert not a.x[~observed].any()
    assert same(a.state, b.state)
    assert same(to_state_dict(a.params).values(), to_state_dict(b.params).values())


@settings(max_examples=25, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("name", list(CELLS))
def test_holding_the_state_is_leaving_the_step_out(name, data):
    cell = CELLS[name]
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=T, max_size=T).filter(any)))
    params = stack(cell, num_layers=2, bidirectional=data.draw(st.booleans()))
    x = np.random.default_rng(3).normal(size=(T, 1, I))
    (held, state), cache = forward(cell, params, x, observed=kept[:, None])
    (short, short_state), short_cache = forward(cell, params, x[kept])
    np.testing.assert_allclose(held[kept], short, atol=1e-14)
    for a, b in zip(state, short_state, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-14)
    a, b = backward(held, cache), backward(short, short_cache)
    for left, right in zip(to_state_dict(a.params).values(), to_state_dict(b.params).values(), strict=True):
        np.testing.assert_allclose(left, right, atol=1e-12)


def test_batch_mates_do_not_meet(cell):
    params, rng = stack(cell, num_layers=2, bidirectional=True), np.random.default_rng(4)
    x = rng.normal(size=(T, B, I))
    together, _ = forward(cell, params, x, lengths=LENGTHS)
    for item, length in enumerate(LENGTHS):
        alone, _ = forward(cell, params, x[:length, item : item + 1])
        np.testing.assert_allclose(together.output[:length, item], alone.output[:, 0], atol=1e-14)
        np.testing.assert_allclose(together.state.h[:, item], alone.state.h[:, 0], atol=1e-14)


# ---- carried state and windows -------------------------------------------------------------------------------------


def half_square(output, steps):
    return 0.5 * float((output**2).sum()), output


def test_a_state_carried_over_is_one_long_pass(cell):
    params, x = stack(cell, num_layers=2), np.random.default_rng(5).normal(size=(T, B, I))
    whole, _ = forward(cell, params, x)
    first, _ = forward(cell, params, x[:2])
    second, _ = forward(cell, params, x[2:], first.state)
    np.testing.assert_array_equal(np.concatenate([first.output, second.output]), whole.output)
    assert same(second.state, whole.state)


@pytest.mark.parametrize("window", [T, T + 10])
def test_truncated_is_full_when_the_window_covers_the_sequence(cell, window):
    params, rng = stack(cell, num_layers=2), np.random.default_rng(6)
    x, state = rng.normal(size=(T, B, I)), random_state(cell, rng, 2)
    (output, _), cache = forward(cell, params, x, state, lengths=LENGTHS)
    full = backward(output, cache)
    (only,) = truncated(cell, params, x, half_square, window, state, lengths=LENGTHS)
    assert only.steps == slice(0, T)
    assert np.array_equal(only.gradients.x, full.x)
    assert same(only.gradients.state, full.state)
    assert same(to_state_dict(only.gradients.params).values(), to_state_dict(full.params).values())


@pytest.mark.parametrize("window", [1, 2, 4])
def test_windows_carry_the_state_and_cut_the_gradient(cell, window):
    """Each window's gradient is that of a pass which starts, as from a constant, where the window before ended."""
    params, x = stack(cell), np.random.default_rng(7).normal(size=(T, B, I))
    whole, _ = forward(cell, params, x, lengths=LENGTHS)
    windows = list(truncated(cell, params, x, half_square, window, lengths=LENGTHS))
    assert [w.steps.start for w in windows] == list(range(0, T, window))
    np.testing.assert_array_equal(np.concatenate([w.output for w in windows]), whole.output)
    assert same(windows[-1].state, whole.state)
    for before, w in zip([None, *windows], windows, strict=False):
        observed = observed_from_lengths(LENGTHS, T)[w.steps]
        (output, _), cache = forward(cell, params, x[w.steps], before and before.state, observed=observed)
        assert same(to_state_dict(backward(output, cache).params).values(), to_state_dict(w.gradients.params).values())


# ---- numbers -------------------------------------------------------------------------------------------------------


def test_float32_stays_float32(cell):
    params = stack(cell, num_layers=2, bidirectional=True, dtype=np.float32)
    x = np.random.default_rng(8).normal(size=(T, B, I))
    (output, state), cache = forward(cell, params, x, lengths=LENGTHS)
    gradients = backward(output.astype(np.float64), cache)
    trace = trace_of(cache, gradients)
    arrays = [output, *state, gradients.x, *gradients.state, *to_state_dict(gradients.params).values()]
    arrays += [array for layer in trace.layers.values() for array in layer.values()]
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_saturated_gates_give_no_warning_and_no_nan(cell, dtype):
    params = stack(cell, dtype=dtype)
    x = np.random.default_rng(9).normal(size=(T, B, I)) * 1000
    if cell.name == "rnn_relu":
        params["l0"].weight_hh[...] = 0  # an unbounded state may grow without end: that is the cell, not an error
    (output, _), cache = forward(cell, params, x)
    gradients = backward(output, cache)
    for array in (output, gradients.x, *to_state_dict(gradients.params).values()):
        assert np.isfinite(array).all()


# ---- trace and initialisations -------------------------------------------------------------------------------------


def test_a_trace_names_every_array_and_keeps_its_bounds(cell):
    params, x = stack(cell, num_layers=2, bidirectional=True), np.random.default_rng(10).normal(size=(T, B, I))
    (output, _), cache = forward(cell, params, x, lengths=LENGTHS)
    trace = trace_of(cache, backward(output, cache))
    names = {*cell.Gates._fields, *cell.State._fields} - {"pre"}
    names |= {f"z{gate}" for gate in cell.gates} | {f"d{state}" for state in cell.State._fields}
    assert list(trace.layers) == ["l0", "l0_reverse", "l1", "l1_reverse"]
    for layer in trace.layers.values():
        assert set(layer) == names
        for name, array in layer.items():
            quantity = trace.quantity(name)
            assert quantity.title
            assert quantity.text
            assert array.shape == (T, B, H)
            assert np.isnan(array[~trace.observed]).all()
            seen = array[trace.observed]
            assert quantity.low is None or seen.min() >= quantity.low
            assert quantity.high is None or seen.max() <= quantity.high
    top = np.concatenate([trace["l1"]["h"], trace["l1_reverse"]["h"]], axis=2)  # (T, B, 2H)
    np.testing.assert_array_equal(np.nan_to_num(top), output)


@pytest.mark.parametrize("init", list(INITS))
def test_every_initialisation_suits_every_cell(cell, init):
    params = initial_parameters(cell, I, H, np.random.default_rng(0), num_layers=2, bidirectional=True, init=init)
    again = initial_parameters(cell, I, H, np.random.default_rng(0), num_layers=2, bidirectional=True, init=init)
    for key, array in to_state_dict(params).items():
        assert np.isfinite(array).all()
        np.testing.assert_array_equal(array, to_state_dict(again)[key])
        assert array.any() or key.startswith("bias_")
