"""Cells beside ``torch.nn``'s, beside the layers, beside the NumPy cells.

PyTorch's own module samples live in its internal test files. Importing those freezes torch's global flags, so that this
file runs itself as a script in a process of its own.
"""

import copy
import itertools
import os
import subprocess
import sys
import types
import unittest

import numpy as np
import pytest
import torch

import gatelab.cells as cells
import gatelab.nn as gnn
from gatelab.cells.cell import CELLS
from gatelab.core.errors import InputError
from gatelab.nn.cells import RecurrentCell

T, B, INPUT, H = 6, 3, 4, 5
TWINS = {torch.nn.RNNCell: gnn.RNNCell, torch.nn.GRUCell: gnn.GRUCell, torch.nn.LSTMCell: gnn.LSTMCell}
FAMILIES = {"rnn": (gnn.RNNCell, gnn.RNN), "lstm": (gnn.LSTMCell, gnn.LSTM), "gru": (gnn.GRUCell, gnn.GRU)}
NAMES = [name for name, cell in CELLS.items() if cell.family in FAMILIES]
PLAIN = [name for name in NAMES if CELLS[name].torch_twin]
TORCHS = {"rnn": torch.nn.RNNCell, "lstm": torch.nn.LSTMCell, "gru": torch.nn.GRUCell}


@pytest.fixture(autouse=True)
def one_thread_and_a_seed():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def make(name, dtype=torch.float64, **options):
    return FAMILIES[CELLS[name].family][0](INPUT, H, dtype=dtype, **CELLS[name].options, **options)


def state_of(cell, *batch, dtype=torch.float64):
    states = tuple(torch.randn(*batch, H, dtype=dtype) for _ in cell.states)
    return states if len(states) > 1 else states[0]


def flat(result):
    return [result] if isinstance(result, torch.Tensor) else list(result)


def stepping(cell, x, hx):
    outputs = []
    for row in x:
        hx = cell(row, hx)
        outputs.append(flat(hx)[0])
    return torch.stack(outputs), hx


# ---- torch's cells ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_pytorchs_samples():
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines() == [
        "nn.RNNCell: 12 samples, 6 errors",
        "nn.GRUCell: 8 samples, 6 errors",
        "nn.LSTMCell: 8 samples, 4 errors",
    ]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", PLAIN)
def test_torch_gives_and_takes_the_state_dict_and_computes_the_same(name, bias, dtype):
    ours = make(name, dtype, bias=bias)
    options = {"bias": bias, "dtype": dtype, **CELLS[name].options}
    theirs = TORCHS[CELLS[name].family](INPUT, H, **options)
    theirs.load_state_dict(ours.state_dict())
    back = make(name, dtype, bias=bias)
    back.load_state_dict(theirs.state_dict())
    x, hx = torch.randn(B, INPUT, dtype=dtype), state_of(ours, B, dtype=dtype)
    for given in ((x,), (x, hx)):
        expected = flat(theirs(*given))
        for cell in (ours, back, copy.deepcopy(ours)):
            assert all(map(torch.equal, flat(cell(*given)), expected))
    assert isinstance(ours, type(theirs))
    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("name", PLAIN)
def test_the_start_is_torchs(name):
    torch.manual_seed(4)
    ours = make(name)
    torch.manual_seed(4)
    theirs = TORCHS[CELLS[name].family](INPUT, H, dtype=torch.float64, **CELLS[name].options)
    assert all(map(torch.equal, ours.parameters(), theirs.parameters()))


@pytest.mark.parametrize("name", PLAIN)
def test_torchs_cells_in_a_model_become_ours_with_the_same_parameters(name):
    theirs = TORCHS[CELLS[name].family](INPUT, H, bias=False, **CELLS[name].options)
    model = torch.nn.Sequential(torch.nn.Linear(INPUT, INPUT), theirs)
    (cell,) = (module for module in gnn.from_torch(model) if isinstance(module, RecurrentCell))
    assert type(cell) is FAMILIES[CELLS[name].family][0]
    assert cell.cell == name
    assert [id(p) for p in cell.parameters()] == [id(p) for p in theirs.parameters()]
    x = torch.randn(B, INPUT)
    assert all(map(torch.equal, flat(cell(x)), flat(theirs(x))))


@pytest.mark.parametrize("name", NAMES)
def test_the_step_in_the_open_is_the_step(name):
    """Values and gradients of what torch computes, and of what the layers' open loop computes."""
    cell = make(name)
    x = torch.randn(B, INPUT, dtype=torch.float64, requires_grad=True)
    hx = state_of(cell, B)
    for s in flat(hx):
        s.requires_grad_()
    results = []
    for compute in (cell, cell.step):
        after = flat(compute(x, hx))
        loss = sum((k + 1) * s.sin().sum() for k, s in enumerate(after))
        results.append((after, torch.autograd.grad(loss, [x, *flat(hx), *cell.parameters()])))
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-12)


# ---- layers and NumPy cells ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_stepping_along_is_the_layer_and_the_numpy_cell(name):
    cell = make(name)
    layer = FAMILIES[CELLS[name].family][1](INPUT, H, dtype=torch.float64, **CELLS[name].options)
    layer.load_state_dict({f"{key}_l0": value for key, value in cell.state_dict().items()})
    assert cell.cell == layer.cell == name
    x, hx = torch.randn(T, B, INPUT, dtype=torch.float64), state_of(cell, B)
    output, after = stepping(cell, x, hx)
    wide = tuple(s.unsqueeze(0) for s in flat(hx))
    expected, final = layer(x, wide if len(wide) > 1 else wide[0])
    torch.testing.assert_close(output, expected, rtol=1e-12, atol=1e-12)
    for s, whole in zip(flat(after), flat(final), strict=True):
        torch.testing.assert_close(s, whole[0], rtol=1e-12, atol=1e-12)

    params = CELLS[name].Params(**{key: value.numpy() for key, value in cell.state_dict().items()})
    start = CELLS[name].State(*(s.numpy()[None] for s in flat(hx)))
    (reference, _), _ = cells.forward(CELLS[name], {"l0": params}, x.numpy(), start)
    np.testing.assert_allclose(output.detach(), reference, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_first_and_second_derivatives(name):
    cell = make(name)
    names, parameters = zip(*cell.named_parameters(), strict=True)
    x, hx = torch.randn(2, INPUT, dtype=torch.float64, requires_grad=True), flat(state_of(cell, 2))

    def run(x, *values):
        states = tuple(hx) if len(hx) > 1 else hx[0]
        return torch.func.functional_call(cell, dict(zip(names, values, strict=True)), (x, states))

    assert torch.autograd.gradcheck(run, (x, *parameters))
    assert torch.autograd.gradgradcheck(run, (x, *parameters), fast_mode=True)


@pytest.mark.parametrize("name", NAMES)
def test_without_a_batch_and_without_a_state(name):
    cell, x = make(name), torch.randn(B, INPUT, dtype=torch.float64)
    zeros = tuple(x.new_zeros(B, H) for _ in cell.states)
    together = flat(cell(x, zeros if len(zeros) > 1 else zeros[0]))
    for compute in (cell, cell.step):
        torch.testing.assert_close(flat(compute(x)), together)
        torch.testing.assert_close(flat(compute(x[1])), [s[1] for s in together])


@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_each_item(name):
    cell, x = make(name), torch.randn(B, INPUT, dtype=torch.float64)
    parameters = dict(cell.named_parameters())

    def loss(parameters, item):  # (I,)
        return flat(torch.func.functional_call(cell, parameters, (item,)))[0].square().sum()

    per_item = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, x)
    for item in range(B):
        for key, gradient in torch.func.grad(loss)(parameters, x[item]).items():
            torch.testing.assert_close(per_item[key][item], gradient)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_compiled_in_one_graph(name):
    torch._dynamo.reset()
    model, x = Decoder(make(name)), torch.randn(2, B, INPUT, dtype=torch.float64)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), model(x))


def test_variants_say_what_they_are():
    assert repr(make("gru_reset_before")) == "GRUCell(4, 5, reset_after=False)"
    assert repr(make("lstm_coupled")) == "LSTMCell(4, 5, coupled=True)"
    assert make("lstm_coupled").weight_hh.shape == (3 * H, H)


# ---- traces -------------------------------------------------------------------------------------------------------


class Decoder(torch.nn.Module):
    """A cell in a loop that only Python can write."""

    def __init__(self, cell: RecurrentCell):
        super().__init__()
        self.cell = cell

    def forward(self, x):
        return stepping(self.cell, x, None)[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_trace_has_a_call_for_each_step(name):
    model, x = Decoder(make(name)), torch.randn(T, B, INPUT, dtype=torch.float64)
    with gnn.trace(model) as trace:
        output = model(x)
        output.sin().sum().backward()
    torch.testing.assert_close(model(x), output, rtol=1e-12, atol=1e-12)
    assert "forward" not in vars(model.cell)
    assert len(trace.calls["cell"]) == T

    params = CELLS[name].Params(**{key: value.numpy() for key, value in model.cell.state_dict().items()})
    (reference, _), cache = cells.forward(CELLS[name], {"l0": params}, x.numpy())
    expected = cells.trace_of(cache, cells.backward(np.cos(reference), cache))["l0"]
    for t, call in enumerate(trace.calls["cell"]):
        scan = call["l0"]
        assert {*scan.names, *(f"d{state}" for state in CELLS[name].State._fields)} == set(expected)
        for key, array in expected.items():
            np.testing.assert_allclose(scan[key], array[t : t + 1], atol=1e-12, err_msg=f"{key} of step {t}")


def test_a_cell_of_torch_is_named_as_untraced():
    model = torch.nn.ModuleList([make("gru"), torch.nn.GRUCell(2, 2)])
    with gnn.trace(model) as trace:
        model[0](torch.zeros(INPUT, dtype=torch.float64))
    assert (trace.names, trace.untraced) == (("0",), ("1",))
    assert trace["0"]["l0"]["z"].shape == (1, 1, H)


# ---- what does not fit --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_what_does_not_fit_is_refused_in_words(name):
    cell = make(name, torch.float32)
    kind, x = type(cell).__name__, torch.zeros(B, INPUT)

    def states(*shape):
        given = tuple(torch.zeros(*shape) for _ in cell.states)
        return given if len(given) > 1 else given[0]

    refused = {
        "Expected input to be 1D or 2D, got 3D": (torch.zeros(1, B, INPUT),),
        rf"got 3 expected {INPUT}[^$]*\(B, {INPUT}\), or \({INPUT},\) without a batch[^$]*\({B}, 3\)": (x[:, :3],),
        rf"inconsistent hidden_size: got 6, expected {H}[^$]*\({B}, {H}\)[^$]*\({B}, 6\)": (x, states(B, 6)),
        "Input batch size 3 doesn't match hidden0 batch size 2": (x, states(2, H)),
        r"Input batch size 3 doesn't match hidden0 batch size \(none\)": (x, states(H)),
        "to be 1D or 2D, got 3D": (x, states(1, B, H)),
        "the state is not what this cell carries": (x, (torch.zeros(B, H),) * (3 - len(cell.states))),
    }
    for message, given in refused.items():
        with pytest.raises(gnn.ShapeError, match=f"{kind}: [^$]*{message}"):
            cell(*given)


def test_an_unknown_nonlinearity_is_refused():
    with pytest.raises(InputError, match="'tanh' or 'relu'"):
        gnn.RNNCell(2, 2, nonlinearity="sigmoid")


# ---- the script ---------------------------------------------------------------------------------------------------


def check_sample(info, sample, dtype, training):
    build, given = sample.constructor_input, sample.forward_input
    ours, theirs = (
        kind(*build.args, **build.kwargs, dtype=dtype).train(training)
        for kind in (TWINS[info.module_cls], info.module_cls)
    )
    theirs.load_state_dict(ours.state_dict())
    result = flat(ours(*given.args, **given.kwargs))
    assert all(map(torch.equal, result, flat(theirs(*given.args, **given.kwargs))))
    torch.testing.assert_close(flat(ours.step(*given.args, **given.kwargs)), result, rtol=1e-6, atol=1e-6)
    expected = flat(sample.reference_fn(ours, *given.args, **given.kwargs))
    torch.testing.assert_close(result, [x.reshape(y.shape) for x, y in zip(expected, result, strict=True)])


def check_error(info, error):
    build, given = error.module_error_input.constructor_input, error.module_error_input.forward_input
    cell = TWINS[info.module_cls](*build.args, **build.kwargs)
    with pytest.raises(error.error_type, match=error.error_regex):
        cell(*given.args, **given.kwargs)


def main():
    # PyTorch's collection imports this small test tool, and no sample uses it.
    sys.modules.setdefault("expecttest", types.SimpleNamespace(TestCase=unittest.TestCase))
    from torch.testing._internal import common_modules

    for info in (info for info in common_modules.module_db if info.module_cls in TWINS):
        samples = errors = 0
        for dtype, training in itertools.product((torch.float64, torch.float32), (True, False)):
            chosen = {"device": "cpu", "dtype": dtype, "requires_grad": False, "training": training}
            for sample in info.module_inputs_func(info, **chosen):
                check_sample(info, sample, dtype, training)
                samples += 1
        for error in info.module_error_inputs_func(info, **chosen):
            check_error(info, error)
            errors += 1
        print(f"{info.name}: {samples} samples, {errors} errors")


if __name__ == "__main__":
    main()
