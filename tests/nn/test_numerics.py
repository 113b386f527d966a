"""How far float32 by kernel lies from float64 in the open, over a thousand steps: the bounds that the layers promise.

Two things limit what any float32 code can do, and the cases keep clear of them. A network whose state runs away from
its neighbours' makes an error of rounding grow from step to step, in the mathematics: so recurrent weights contract.
And a pre-activation that is a small difference of large products has lost its digits before it reaches a kernel: so
large inputs come one at a time; where they do not, the kernels lose no more than torch in float32.
"""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatelab.cells.cell import CELLS
from gatelab.nn import fused, open_loop
from gatelab.nn.layers import LAYERS

T, B, INPUT, H = 1000, 3, 6, 20
FORWARD, BACKWARD = 1e-5, 1e-4  # relative errors
BELOW = 1e-36  # what is smaller than that is 0 for float32, or has digits missing
CELL = pytest.mark.parametrize("cell", fused.CELLS)
EXTRAS = {"layer_norm": True}, {"zoneout": 0.2, "recurrent_dropout": 0.2, "input_dropout": 0.1}, {"peephole": True}


@pytest.fixture(autouse=True)
def one_thread_and_a_seed():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def contracting(cell, **options):
    """A layer whose recurrent weights, or the gains in their place, shrink differences."""
    layer = LAYERS[CELLS[cell].family](INPUT, H, **CELLS[cell].options, **options)
    with torch.no_grad():
        for block in layer.weight_hh_l0.split(H):
            block.mul_(0.8 / torch.linalg.matrix_norm(block, 2))
        if options.get("layer_norm"):  # normalised products are of size 1, however small the weights
            layer.norm_hh_l0.mul_(0.1)
    return layer


def computed(layer, x, scan, weights):
    """Outputs and final states, and gradients of input and parameters."""
    x = x.detach().requires_grad_()
    torch.manual_seed(1)  # the masks
    output, states = open_loop.run(layer, x, scan=scan)
    values = [output, *(states if isinstance(states, tuple) else (states,))]
    return values, torch.autograd.grad(output, [x, *layer.parameters()], weights.to(x.dtype))


def errors(mine, theirs):
    """The greatest relative error of all arrays, in the Euclidean and in the maximum norm; of numbers, not of zeros."""
    worst = 0.0
    for a, b in zip(mine, theirs, strict=True):
        assert b.isfinite().all()
        assert a.isfinite().all()
        if b.abs().max() < BELOW:
            assert a.abs().max() < BELOW
            continue
        difference = a.double() - b
        for norm in (torch.linalg.vector_norm, lambda d: d.abs().max()):
            worst = max(worst, (norm(difference) / norm(b)).item())
    return worst


def errors_of(layer, x, scan=fused.scan):
    """Of outputs and of gradients; everything that goes in is float32, exactly."""
    weights = torch.randn(len(x), x.shape[1], H, generator=torch.Generator().manual_seed(2))
    mine = computed(layer, x, scan, weights)
    exact = computed(copy.deepcopy(layer).double(), x.double(), open_loop.scan, weights)
    return tuple(errors(a, b) for a, b in zip(mine, exact, strict=True))


def assert_within(found, forward=FORWARD, backward=BACKWARD):
    assert found[0] <= forward, found
    assert found[1] <= backward, found


def random(scale=1.0):
    return torch.randn(T, B, INPUT) * scale


@CELL
def test_ordinary_inputs(cell):
    assert_within(errors_of(contracting(cell), random()))


@CELL
@pytest.mark.parametrize("options", EXTRAS, ids=lambda options: "+".join(options))
def test_extras(cell, options):
    if "peephole" in options and CELLS[cell].family != "lstm":
        pytest.skip("only the LSTM has peepholes")
    assert_within(errors_of(contracting(cell, **options), random()))


@CELL
@pytest.mark.parametrize("kind", ["open", "shut", "either"])
def test_saturated_gates(cell, kind):
    """Pre-activations of ±50, from the bias, at every step; the candidate alone moves.

    It does not read the state: a memory that never forgets and reads itself runs away.
    """
    layer, gates = contracting(cell), CELLS[cell].gates
    signs = {"open": torch.ones(len(gates), H), "shut": -torch.ones(len(gates), H)}
    candidate = next((k for k, gate in enumerate(gates) if gate in ("g", "n")), None)
    with torch.no_grad():
        bias = layer.bias_ih_l0.view(len(gates), H)
        bias.copy_(50 * signs.get(kind, torch.randn(len(gates), H).sign()))
        if candidate is not None:
            bias[candidate] = 0
            layer.weight_hh_l0.view(len(gates), H, H)[candidate] = 0
    assert_within(errors_of(layer, random()))


@CELL
def test_gates_that_flip_between_saturations(cell):
    """Pre-activations of ±50 that change sign from step to step, with everything between."""
    layer = contracting(cell)
    with torch.no_grad():
        layer.weight_ih_l0.copy_(torch.sign(layer.weight_ih_l0))
    sizes = torch.tensor([50.0, -50.0, 20.0, -20.0, 1.0, -1.0, 0.0])[torch.randint(7, (T, B))]
    assert_within(errors_of(layer, one_at_a_time(sizes)))


def one_at_a_time(sizes):
    """An input that has one feature at each step, of ``sizes (T, B)``: products with it are no sums."""
    return torch.nn.functional.one_hot(torch.randint(INPUT, sizes.shape), INPUT) * sizes[:, :, None]


@CELL
@pytest.mark.parametrize("scale", [1e-30, 1e-38, 1e-40, 1e-44])
def test_subnormal_inputs(cell, scale):
    """A subnormal number has few digits, and so has a product with it: what is inexact is as small as that."""
    layer, x = contracting(cell, bias=True), random(scale)
    weights = torch.randn(T, B, H)
    mine, exact = (
        computed(copy.deepcopy(layer).to(dtype), x.to(dtype), scan, weights)
        for dtype, scan in ((torch.float32, fused.scan), (torch.float64, open_loop.scan))
    )
    assert errors(mine[0], exact[0]) <= FORWARD
    for a, b in zip(mine[1], exact[1], strict=True):
        assert a.isfinite().all()
        allowed = BACKWARD * b.abs().max() + T * B * 2.0**-149  # half a step of the subnormals for each term
        assert (a.double() - b).abs().max() <= allowed


@CELL
@pytest.mark.parametrize("scale", [1e4, 1e15, 1e30])
def test_large_inputs(cell, scale):
    layer = contracting(cell)
    with torch.no_grad():
        layer.weight_ih_l0.add_(0.05 * torch.sign(layer.weight_ih_l0))  # none so small that an input of 1e4 is not
    sizes = torch.tensor([scale, -scale, 1.0, -1.0])[torch.randint(4, (T, B))]
    assert_within(errors_of(layer, one_at_a_time(sizes)))


@CELL
def test_large_inputs_that_cancel_lose_no_more_than_in_torch(cell):
    layer, x = contracting(cell), random(1e4)
    for ours, theirs in zip(errors_of(layer, x), errors_of(layer, x, open_loop.scan), strict=True):
        assert ours <= 1.5 * theirs + FORWARD


@CELL
@settings(max_examples=25, deadline=None)
@given(
    st.floats(-38, 36), st.floats(-30, 30), st.sampled_from([{}, {"zoneout": 0.3, "recurrent_dropout": 0.3}]), st.data()
)
def test_no_nan_where_the_mathematics_has_none(cell, size, outgoing, options, data):
    """Every scale of input, and of the gradient that comes back."""
    options = options | ({"peephole": True} if CELLS[cell].family == "lstm" and data.draw(st.booleans()) else {})
    layer = contracting(cell, **options)
    if cell == "rnn_relu":  # it carries what it reads, and a gradient times an input can be too large for float32
        size, outgoing = min(size, 17.0), min(outgoing, 17.0)
    if size + outgoing > 35:
        outgoing = 35 - size
    x, weights = torch.randn(30, B, INPUT) * 10.0**size, torch.randn(30, B, H) * 10.0**outgoing
    values, gradients = computed(layer, x, fused.scan, weights)
    assert all(value.isfinite().all() for value in (*values, *gradients))


@CELL
@pytest.mark.parametrize("scale", [1e-40, 1e-20, 1e4, 1e17])
def test_layer_norm_at_every_scale(cell, scale):
    """Up to where the square of an input is still a number in float32: beyond, torch's own layer norm gives NaN."""
    layer = contracting(cell, layer_norm=True)
    values, gradients = computed(layer, random(scale)[:50], fused.scan, torch.randn(50, B, H))
    assert all(value.isfinite().all() for value in (*values, *gradients))


@CELL
def test_nan_and_infinity_stay_with_their_item(cell):
    layer, x = contracting(cell), random()[:20]
    clean, _ = layer(x)
    for bad in (torch.nan, torch.inf):
        spoilt = x.clone()
        spoilt[5, 1, 0] = bad
        output, _ = layer(spoilt)
        assert torch.equal(output[:, [0, 2]], clean[:, [0, 2]])
        assert torch.equal(output[:5], clean[:5])
        if bad != bad:
            assert output[5:, 1].isnan().all()
