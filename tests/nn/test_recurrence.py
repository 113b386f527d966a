"""The operation behind the fused layers as torch sees it: derivatives of any order, an operator, compiled graphs."""

import itertools

import pytest
import torch

import gatelab.nn as gnn
from gatelab.cells.cell import CELLS
from gatelab.nn import extras, fused, open_loop, operator, recurrence
from gatelab.nn.layers import LAYERS
from gatelab.nn.shapes import ShapeError

T, INPUT, H = 4, 2, 3
LENGTHS = (T, 3, 1)
B = len(LENGTHS)
CELL = pytest.mark.parametrize("cell", fused.CELLS)
NOISE = {"input_dropout": 0.3, "recurrent_dropout": 0.4, "zoneout": 0.35}


@pytest.fixture(autouse=True)
def one_thread_and_a_seed():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def make(cell, dtype=torch.float64, every_extra=False, **options):
    family = CELLS[cell].family
    if every_extra:
        options |= NOISE | {"layer_norm": True} | ({"peephole": True} if family == "lstm" else {})
    layer = LAYERS[family](INPUT, H, dtype=dtype, **CELLS[cell].options, **options)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.4)
    return layer


def scan_of(layer, packed=False, reverse=False):
    """A function of everything that one scan depends on, masks held fast, and a place to take it at."""
    dtype = layer.weight_hh_l0.dtype
    w = open_loop.weights_of(layer, "l0")
    names = [name for name, value in w._asdict().items() if value is not None]
    sizes = torch.tensor([sum(n > t for n in LENGTHS) for t in range(T)]) if packed else None
    rows = torch.randn(sum(LENGTHS) if packed else T * B, INPUT, dtype=dtype, requires_grad=True)
    state = tuple(torch.randn(B, H, dtype=dtype, requires_grad=True) for _ in layer.state_sizes)
    noise = extras.draw(layer, w, rows, state)

    def function(rows, *tensors):
        states, weights = tensors[: len(state)], tensors[len(state) :]
        given = w._replace(**dict(zip(names, weights, strict=True)))
        output, final = fused.scan(layer, given, noise, rows, sizes, states, reverse)
        return (output, *final)

    return function, (rows, *state, *(getattr(w, name) for name in names))


# ---- derivatives ---------------------------------------------------------------------------------------------------


@CELL
@pytest.mark.parametrize("every_extra", [False, True])
@pytest.mark.parametrize(("packed", "reverse"), [(False, False), (True, True)])
def test_first_and_second_derivatives(cell, every_extra, packed, reverse):
    function, inputs = scan_of(make(cell, every_extra=every_extra), packed, reverse)
    assert torch.autograd.gradcheck(function, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, inputs, fast_mode=True)


@CELL
def test_every_first_derivative_by_itself(cell):
    function, inputs = scan_of(make(cell, every_extra=True), packed=True)
    assert torch.autograd.gradcheck(function, inputs)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("options", [{}, {"layer_norm": True, "learn_initial_state": True}])
def test_second_derivatives_of_a_stack(kind, options):
    layer = getattr(gnn, kind)(INPUT, H, 2, bidirectional=True, dtype=torch.float64, **options)
    names, parameters = zip(*layer.named_parameters(), strict=True)

    def function(x, *parameters):
        output, states = torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), x)
        return (output, *states) if isinstance(states, tuple) else (output, states)

    inputs = (torch.randn(2, 2, INPUT, dtype=torch.float64, requires_grad=True), *parameters)
    assert torch.autograd.gradcheck(function, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, inputs, fast_mode=True)


@CELL
def test_a_penalty_on_the_gradient_trains(cell):
    """What second derivatives are for: ∂/∂weights of ‖∂loss/∂x‖², by kernel and in the open."""
    layer, x, found = make(cell), torch.randn(T, B, INPUT, dtype=torch.float64, requires_grad=True), []
    for scan in (fused.scan, open_loop.scan):
        output, _ = open_loop.run(layer, x, scan=scan)
        (dx,) = torch.autograd.grad(output.sin().sum(), x, create_graph=True)
        found.append(torch.autograd.grad(dx.square().sum(), [layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_hh_l0]))
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-10)


# ---- the operator --------------------------------------------------------------------------------------------------


@pytest.fixture
def arguments(monkeypatch):
    """What the operator is called with when ``fused.scan`` runs a layer."""
    taken = []
    monkeypatch.setattr(fused, "recurrence", lambda x: taken.append(x) or operator.recurrence(x))

    def of(layer, **options):
        function, inputs = scan_of(layer, **options)
        function(*inputs)
        return taken.pop()

    return of


OPERATOR_CASES = [("rnn", False, {}), ("lstm_coupled", True, {"packed": True, "reverse": True}), ("gru", True, {})]


@pytest.mark.parametrize(("cell", "every_extra", "options"), OPERATOR_CASES)
def test_torchs_check_of_the_operator(arguments, cell, every_extra, options):
    x = arguments(make(cell, every_extra=every_extra), **options)
    leaves = x._replace(**{name: _leaf(getattr(x, name)) for name in x._fields})
    torch.library.opcheck(operator._operator, tuple(leaves))
    light = x._replace(**{name: _detached(getattr(x, name)) for name in x._fields})._replace(keep=False)
    torch.library.opcheck(operator._operator, tuple(light))


@pytest.mark.parametrize(("cell", "every_extra", "options"), OPERATOR_CASES)
@pytest.mark.parametrize("of_rows", [False, True])
def test_torchs_check_of_its_backward_operator(arguments, cell, every_extra, options, of_rows):
    x = arguments(make(cell, every_extra=every_extra), **options)
    x = x._replace(**{name: _detached(getattr(x, name)) for name in x._fields})
    results = recurrence.forward(x, apart=True)
    given = [torch.randn_like(value) for value in results[:3]]
    torch.library.opcheck(operator._operator_backward, (*x, list(results), given, of_rows))


def _leaf(value):
    return value.detach().requires_grad_(value.requires_grad) if isinstance(value, torch.Tensor) else value


def _detached(value):
    return value.detach() if isinstance(value, torch.Tensor) else value


# ---- compiled graphs -----------------------------------------------------------------------------------------------


def compare_compiled(layer, x, backend):
    torch._dynamo.reset()
    compiled, results = torch.compile(layer, fullgraph=True, backend=backend), []
    for call in (layer, compiled):
        torch.manual_seed(0)
        output, states = call(x)
        values = (output, *(states if isinstance(states, tuple) else (states,)))
        loss = sum((i + 1) * value.sin().sum() for i, value in enumerate(values))
        results.append([*values, *torch.autograd.grad(loss, [x, *layer.parameters()])])
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("cell", "every_extra"), list(itertools.product(fused.CELLS, (False, True))))
def test_a_compiled_layer_is_the_eager_one(cell, every_extra):
    layer = make(cell, torch.float32, every_extra, bidirectional=True)
    compare_compiled(layer, torch.randn(T, B, INPUT, requires_grad=True), "aot_eager")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # torch's compiler, about itself
def test_compiled_by_inductor():
    layer = make("lstm", torch.float32, layer_norm=True).eval()
    compare_compiled(layer, torch.randn(T, B, INPUT, requires_grad=True), "inductor")


def test_a_compiled_graph_takes_other_lengths():
    layer = make("gru", torch.float32, layer_norm=True)
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager", dynamic=True)
    for steps, items in ((5, 2), (9, 3), (3, 7)):
        x = torch.randn(steps, items, INPUT)
        torch.testing.assert_close(compiled(x), layer(x))


# ---- what is kept --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cell", "every_extra"), list(itertools.product(fused.CELLS, (False, True))))
def test_a_pass_keeps_a_record_only_for_a_backward_pass(arguments, cell, every_extra):
    x = arguments(make(cell, every_extra=every_extra))
    assert x.keep
    with torch.no_grad():
        kept, light = recurrence.forward(x), recurrence.forward(x._replace(keep=False))
    assert all(value is None for value in light[3:])
    assert (kept.c is None) == (light.c is None) == (not cell.startswith("lstm"))
    for a, b in zip(kept[:3], light[:3], strict=True):
        if a is not None:
            torch.testing.assert_close(a, b, rtol=0, atol=0)
    with torch.no_grad():
        assert not arguments(make(cell)).keep


# ---- what the kernels may be given: they know addresses, and would read beyond what is smaller -----------------------


def with_parameter(layer, x, name, value, hx=None):
    return torch.func.functional_call(layer, {name: value}, (x, hx))[0]


@CELL
@pytest.mark.parametrize("name", ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"])
def test_a_parameter_that_is_too_small_is_refused(cell, name):
    layer, x = make(cell), torch.randn(T, B, INPUT, dtype=torch.float64)
    with pytest.raises(ShapeError, match="does not fit"):
        with_parameter(layer, x, name, getattr(layer, name)[:-1])


@CELL
def test_numbers_of_another_type_are_refused(cell):
    layer, x = make(cell), torch.randn(T, B, INPUT, dtype=torch.float64)
    with pytest.raises(ShapeError, match="weight_hh does not fit"):
        with_parameter(layer, x, "weight_hh_l0", layer.weight_hh_l0.float())
    states = tuple(torch.zeros(1, B, H) for _ in layer.state_sizes)
    with pytest.raises(ShapeError, match="h does not fit"):
        layer(x, states if len(states) > 1 else states[0])


@CELL
def test_numbers_that_lie_otherwise_are_read_as_what_they_are(cell):
    layer, x = make(cell), torch.randn(T, B, INPUT, dtype=torch.float64)
    w = layer.weight_hh_l0.detach()
    plain = with_parameter(layer, x, "weight_hh_l0", w)
    for lying in (w.T.contiguous().T, torch._neg_view(-w), torch.stack([w, w], 2)[:, :, 1]):
        leaf = lying.requires_grad_()
        output = with_parameter(layer, torch._neg_view(-x), "weight_hh_l0", leaf)
        assert torch.equal(output, plain)
        (slope,) = torch.autograd.grad(output.sum(), leaf)
        whole = w.clone().requires_grad_()
        (expected,) = torch.autograd.grad(with_parameter(layer, x, "weight_hh_l0", whole).sum(), whole)
        assert torch.equal(slope, expected)


@CELL
def test_one_bias_without_the_other_is_refused(cell):
    layer, x = make(cell), torch.randn(T, B, INPUT, dtype=torch.float64)
    layer.bias_hh_l0 = None
    with pytest.raises(ShapeError, match="both biases"):
        layer(x)


@pytest.mark.parametrize("sizes", [[3, 3], [2, 2, 2], [3, 2, 1, 1], [3, 1, 2], [3, 4, -1]])
def test_batch_sizes_that_are_none_are_refused(sizes):
    """Too many rows, too few items, too few rows, growing, below zero: there are three states."""
    layer, rows = make("gru"), torch.randn(6 if sizes != [3, 3] else 5, INPUT, dtype=torch.float64)
    state = torch.zeros(3, H, dtype=torch.float64)
    w = open_loop.weights_of(layer, "l0")
    with pytest.raises(ShapeError, match="batch sizes"):
        fused.scan(layer, w, extras.draw(layer, w, rows, (state,)), rows, torch.tensor(sizes), (state,), False)
