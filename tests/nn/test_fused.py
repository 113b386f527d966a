"""Layers by way of the kernels: the same numbers as the open loop, and what people do with layers around them."""

import copy
import itertools
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from gatelab.cells.cell import CELLS
from gatelab.kernels import scan as kernels
from gatelab.kernels import sharing
from gatelab.nn import extras, fused, open_loop
from gatelab.nn.extras import EXTRAS
from gatelab.nn.layers import LAYERS

T, INPUT, H = 6, 3, 5
LENGTHS = (T, 4, 4, 1)
B = len(LENGTHS)
RATES = {"input_dropout": 0.3, "recurrent_dropout": 0.4, "weight_drop": 0.45, "zoneout": 0.35}
ALL = {**RATES, "layer_norm": True}
CELL = pytest.mark.parametrize("cell", fused.CELLS)


@pytest.fixture(autouse=True)
def one_thread_and_a_seed():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def make(cell, dtype=torch.float64, **options):
    """A layer in which everything that can be learned has been moved from where it starts."""
    layer = LAYERS[CELLS[cell].family](INPUT, H, dtype=dtype, **CELLS[cell].options, **options)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return layer


def with_extras(cell, dtype=torch.float64, **options):
    """The same with every extra that the kernels have."""
    peephole = {"peephole": True} if CELLS[cell].family == "lstm" else {}
    return make(cell, dtype, **ALL, **peephole, **options)


def x_of(dtype=torch.float64, **options):
    return torch.randn(T, B, INPUT, dtype=dtype, **options)


def packed(dtype=torch.float64):
    return pack_sequence([torch.randn(n, INPUT, dtype=dtype) for n in LENGTHS])


def loss_of(result):
    """A number that sees outputs and final states, each differently."""
    output, states = result
    output = output.data if isinstance(output, PackedSequence) else output
    values = (output, *(states if isinstance(states, tuple) else (states,)))
    return sum((i + 1) * value.sin().sum() for i, value in enumerate(values))


def gradients(layer, x, **call):
    """Gradients of ``loss_of`` with respect to all parameters."""
    torch.manual_seed(3)
    return torch.autograd.grad(loss_of(layer(x, **call)), list(layer.parameters()))


def close(a, b, tolerance=1e-12):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.fixture
def calls(monkeypatch):
    """How often the kernels were called forward: that a test goes where it means to go."""
    count, forward = [], kernels.forward
    monkeypatch.setattr(kernels, "forward", lambda p, *a: count.append(p.cell) or forward(p, *a))
    return count


# ---- beside the open loop ------------------------------------------------------------------------------------------


@st.composite
def scans(draw):
    """A layer that the kernels can run, and everything else that ``scan`` takes."""
    cell = draw(st.sampled_from(fused.CELLS))
    names = [n for n, extra in EXTRAS.items() if CELLS[cell].family in extra.families and n != "batch_norm"]
    options = {name: RATES.get(name, True) for name in draw(st.sets(st.sampled_from(names)))}
    if "zoneout" in options and cell.startswith("lstm") and draw(st.booleans()):
        options["zoneout"] = draw(st.sampled_from([(0.0, 0.4), (0.4, 0.0), (0.35, 0.6)]))
    torch.manual_seed(draw(st.integers(0, 99)))
    single = draw(st.booleans()) and "layer_norm" not in options  # of a few like units, it makes much of a last digit
    dtype = torch.float32 if single else torch.float64
    layer = make(cell, dtype, bias=draw(st.booleans()), **options).train(draw(st.booleans()))
    sizes = torch.tensor([sum(n > t for n in LENGTHS) for t in range(T)]) if draw(st.booleans()) else None
    rows = torch.randn(T * B if sizes is None else sum(LENGTHS), INPUT, dtype=dtype, requires_grad=True)
    state = tuple(torch.randn(B, H, dtype=dtype, requires_grad=True) for _ in layer.state_sizes)
    return layer, rows, sizes, state, draw(st.booleans())


@settings(max_examples=150, deadline=None)
@given(scans())
def test_a_scan_by_kernel_is_the_open_loops(given_):
    layer, rows, sizes, state, reverse = given_
    assert fused.supports(layer, rows)
    w = open_loop.weights_of(layer, "l0")
    noise = extras.draw(layer, w, rows, state)
    inputs = [rows, *state, *(p for p in w if isinstance(p, torch.Tensor))]
    found = []
    for scan in (fused.scan, open_loop.scan):
        output, final = scan(layer, w, noise, rows, sizes, state, reverse)
        found.append([output, *final, *torch.autograd.grad(loss_of((output, final)), inputs)])
    for mine, theirs in zip(*found, strict=True):
        scale = max(1.0, theirs.abs().max().item())
        close(mine / scale, theirs / scale, 1e-11 if rows.dtype == torch.float64 else 2e-5)


@CELL
@pytest.mark.parametrize("build", [make, with_extras])
def test_a_whole_stack_is_the_open_loops(calls, cell, build):
    layer = build(cell, num_layers=2, bidirectional=True, dropout=0.3)
    for x in (x_of(), packed()):
        results = []
        for call in (layer, lambda x: open_loop.run(layer, x)):
            torch.manual_seed(5)
            results.append(torch.autograd.grad(loss_of(call(x)), list(layer.parameters())))
        close(*results, 1e-11)
    assert len(calls) == 8


# ---- autograd ------------------------------------------------------------------------------------------------------


@CELL
@pytest.mark.parametrize("build", [make, with_extras])
def test_gradients_of_some_things_only(cell, build):
    layer, x = build(cell), x_of(requires_grad=True)
    torch.manual_seed(3)
    everything = torch.autograd.grad(loss_of(layer(x)), [x, *layer.parameters()])
    for index, tensor in enumerate([x, *layer.parameters()]):
        layer.requires_grad_(False)
        alone = x.detach().requires_grad_() if tensor is x else tensor.requires_grad_()
        torch.manual_seed(3)
        (found,) = torch.autograd.grad(loss_of(layer(alone if tensor is x else x.detach())), [alone])
        close(found, everything[index])


@CELL
def test_gradients_of_states_alone(cell):
    layer = make(cell).requires_grad_(False)
    hx = tuple(torch.randn(1, B, H, dtype=torch.float64, requires_grad=True) for _ in layer.state_sizes)
    for last in range(len(hx)):  # of one final state, and of nothing else
        states = layer(x_of(), hx if len(hx) > 1 else hx[0])[1]
        state = states[last] if isinstance(states, tuple) else states
        found = torch.autograd.grad(state.sum(), hx)
        assert all(d.abs().sum() > 0 for d in found)


@CELL
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_a_graph(cell, mode):
    layer, x = with_extras(cell).eval(), x_of()
    expected = layer(x)
    with mode():
        result = layer(x)
    close(result, expected)
    assert not result[0].requires_grad


@CELL
def test_backward_twice(cell):
    layer = with_extras(cell)
    loss = loss_of(layer(x_of()))
    first = torch.autograd.grad(loss, list(layer.parameters()), retain_graph=True)
    close(torch.autograd.grad(loss, list(layer.parameters())), first, 0)
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


@CELL
def test_weights_that_change_before_the_backward_pass_are_noticed(cell):
    layer = make(cell, bidirectional=True)
    for name in ("weight_hh_l0", "weight_hh_l0_reverse"):
        loss = loss_of(layer(x_of()))
        with torch.no_grad():
            getattr(layer, name).mul_(1.5)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


@CELL
def test_an_output_that_is_changed_in_place_is_noticed(cell):
    layer = make(cell, bias=False, learn_initial_state=True)
    output, _ = fused_scan(layer, torch.randn(T * B, INPUT, dtype=torch.float64))
    kept = output.clone()
    output.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()
    assert not torch.equal(kept, output)


def fused_scan(layer, rows):
    w, state = open_loop.weights_of(layer, "l0"), tuple(rows.new_zeros(B, H) for _ in layer.state_sizes)
    return fused.scan(layer, w, extras.Noise(), rows, None, state, False)


# ---- shapes and memory ---------------------------------------------------------------------------------------------


@CELL
def test_one_step_and_no_items(cell):
    layer = with_extras(cell).eval()
    for shape in ((1, B), (1, 1), (T, 0), (1, 0)):
        x = torch.randn(*shape, INPUT, dtype=torch.float64)
        result = layer(x)
        close(result, open_loop.run(layer, x))
        assert result[0].shape == (*shape, H)
        torch.autograd.grad(loss_of(result), list(layer.parameters()))


@CELL
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_memory_in_any_order(cell, dtype):
    layer, x = with_extras(cell, dtype), x_of(dtype)
    count = len(layer.state_sizes)
    hx = tuple(torch.randn(1, 1, H, dtype=dtype).expand(1, B, H) for _ in range(count))
    hx = hx if count > 1 else hx[0]
    expected = gradients(layer, x, hx=hx)
    strided = copy.deepcopy(layer)
    for name, parameter in list(strided.named_parameters()):
        wide = torch.stack([parameter.detach()] * 2, -1)  # every second number
        setattr(strided, name, nn.Parameter(wide[..., 0]))
    assert not strided.weight_hh_l0.is_contiguous()
    scattered = x.transpose(0, 2).contiguous().transpose(0, 2)
    states = tuple(s.transpose(1, 2).contiguous().transpose(1, 2) for s in (hx if count > 1 else (hx,)))
    found = gradients(strided, scattered, hx=states if count > 1 else states[0])
    close(found, expected, 1e-6 if dtype == torch.float32 else 1e-13)


@CELL
def test_memory_that_begins_anywhere(cell):
    layer, x = make(cell, torch.float32), x_of(torch.float32)
    expected = layer(x)
    room = torch.empty(layer.weight_hh_l0.numel() + 1)
    moved = room[1:].view_as(layer.weight_hh_l0)
    moved.copy_(layer.weight_hh_l0.detach())
    layer.weight_hh_l0 = nn.Parameter(moved)
    close(layer(x), expected, 0)


@CELL
def test_a_copy_computes_the_same(cell):
    layer, x = with_extras(cell), x_of()
    close(gradients(copy.deepcopy(layer), x), gradients(layer, x), 0)


def test_what_is_given_is_left_as_it_was():
    for cell in fused.CELLS:
        layer, x = with_extras(cell), x_of(requires_grad=True)
        hx = tuple(torch.randn(1, B, H, dtype=torch.float64, requires_grad=True) for _ in layer.state_sizes)
        tensors = [x, *hx, *layer.parameters()]
        before = [t.detach().clone() for t in tensors]
        loss_of(layer(x, hx if len(hx) > 1 else hx[0])).backward()
        close([t.detach() for t in tensors], before, 0)


# ---- padding and batch mates ---------------------------------------------------------------------------------------


@CELL
@pytest.mark.parametrize("build", [make, with_extras])
def test_batch_mates_change_no_bit(calls, cell, build):
    layer = build(cell, torch.float32, bidirectional=True)
    with_mates = [torch.randn(n, INPUT) for n in LENGTHS]
    for item in range(B):
        found = []
        for other in (1.0, -3.0):
            sequences = [x if b == item else other * x for b, x in enumerate(with_mates)]
            batch = pack_sequence(sequences)
            data = batch.data.requires_grad_()
            torch.manual_seed(1)
            output, states = layer(batch._replace(data=data))
            output, lengths = nn.utils.rnn.pad_packed_sequence(output)
            own = output[: lengths[item], item]
            (dx,) = torch.autograd.grad(own.sin().sum(), data)
            dx = nn.utils.rnn.pad_packed_sequence(batch._replace(data=dx))[0]
            states = states if isinstance(states, tuple) else (states,)
            found.append([own, *(s[:, item] for s in states), dx[:, item]])
            assert not dx[:, [b for b in range(B) if b != item]].any()
        assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    assert calls


# ---- threads and processes -----------------------------------------------------------------------------------------


@CELL
def test_layers_in_several_threads_at_once(cell):
    torch.manual_seed(0)
    layers, x = [make(cell, torch.float32) for _ in range(4)], x_of(torch.float32)
    expected = [gradients(layer, x) for layer in layers]

    def work(layer):  # no noise: torch's stream is everyone's
        return [torch.autograd.grad(loss_of(layer(x)), list(layer.parameters())) for _ in range(20)]

    with ThreadPoolExecutor(4) as pool:
        for found, wanted in zip(pool.map(work, layers), expected, strict=True):
            assert all(torch.equal(a, b) for once in found for a, b in zip(once, wanted, strict=True))


def _in_a_child(layer, x, results):
    results.put([p.tolist() for p in gradients(layer, x)])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own(monkeypatch):
    monkeypatch.setattr(sharing, "_WORTH", 1)
    shares, together = kernels.shares, kernels.together  # torch stays at one thread, for its own cannot be forked
    monkeypatch.setattr(kernels, "shares", lambda *arguments: shares(*arguments[:-1], 2))
    counts = []
    monkeypatch.setattr(kernels, "together", lambda work, _: counts.append(len(work)) or together(work, 2))
    layer, x = make("gru", torch.float32), torch.randn(T, 32, INPUT)
    expected = [p.tolist() for p in gradients(layer, x)]
    assert min(counts) > 1
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    child = context.Process(target=_in_a_child, args=(layer, x, results))
    child.start()
    child.join(30)
    if child.exitcode is None:
        child.kill()
    assert child.exitcode == 0
    assert results.get() == expected


THREADS = """
import sys, torch, gatelab.nn as gnn
from gatelab.kernels import sharing
sharing._WORTH = 1
outputs, slopes = [], []
for threads in (1, 2):
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    for kind in (gnn.RNN, gnn.LSTM, gnn.GRU):
        layer = kind(3, 24, zoneout=0.2)  # no plain one: torch's own LSTM has its own habits
        output, _ = layer(torch.randn(9, 32, 3))
        output.square().sum().backward()
        outputs.append(output.tolist())
        slopes.append(layer.weight_hh_l0.grad)
    assert torch.get_num_threads() == threads
assert outputs[:3] == outputs[3:]
for one, two in zip(slopes[:3], slopes[3:]):  # sums over the items, in another order
    torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5)
"""


def test_two_threads_give_what_one_gives():
    run = subprocess.run([sys.executable, "-W", "error", "-c", THREADS], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr


def test_nothing_global_is_changed():
    flags = (
        torch.get_num_threads,
        torch.get_default_dtype,
        torch.is_grad_enabled,
        torch.are_deterministic_algorithms_enabled,
        lambda: torch.get_rng_state().tolist(),
        np.geterr,
        lambda: [part.tolist() if isinstance(part, np.ndarray) else part for part in np.random.get_state()],
        lambda: np.float32(1e-40) * np.float32(1),  # subnormal numbers are not flushed
        lambda: (torch.tensor([1e-40]) * 1).item(),
    )
    layers = [make(cell, torch.float32) for cell in fused.CELLS]
    before = [flag() for flag in flags]
    for layer in layers:
        loss_of(layer(torch.full((T, B, INPUT), 0.5))).backward()
    assert [flag() for flag in flags] == before


# ---- without Numba -------------------------------------------------------------------------------------------------


WITHOUT = """
import importlib.abc, sys, torch
class Nothing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "numba":
            raise ModuleNotFoundError("No module named 'numba'", name="numba")
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "numba" else find(name, *rest)
sys.meta_path.insert(0, Nothing())
import gatelab.nn as gnn
for _ in range(2):
    for kind in (gnn.RNN, gnn.LSTM, gnn.GRU):
        for options in ({}, {"layer_norm": True, "zoneout": 0.2}):
            layer = kind(3, 4, **options)
            layer(torch.randn(5, 2, 3))[0].sum().backward()
            assert layer.weight_hh_l0.grad.abs().sum() > 0
assert "numba" not in sys.modules
compiled = torch.compile(gnn.GRU(3, 4), backend="aot_eager")
compiled(torch.randn(5, 2, 3))[0].sum().backward()
"""


def test_without_numba_everything_works_and_says_so_once():
    run = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert run.stdout == ""
    assert run.stderr.count("pip install numba") == 1
    assert "Traceback" not in run.stderr


# ---- who computes --------------------------------------------------------------------------------------------------


def test_what_the_kernels_take_and_what_they_leave():
    layer, x = make("gru", torch.float32), x_of(torch.float32)
    assert fused.supports(layer, x)
    assert not fused.supports(layer, x.bfloat16())
    assert not fused.supports(layer, x.to("meta"))
    assert not fused.supports(layer, x[:, :0])
    assert not fused.supports(make("lstm", proj_size=2), x)
    assert not fused.supports(make("gru", batch_norm=True), x)
    assert not fused.supports(make("gru_reset_before"), x)
    with torch.autocast("cpu", torch.bfloat16):
        assert not fused.supports(layer, x)


def test_every_dtype_and_form_of_autocast_still_computes():
    for cell, build in itertools.product(fused.CELLS, (make, with_extras)):
        layer, x = build(cell, torch.float32), x_of(torch.float32)
        with torch.autocast("cpu", torch.bfloat16):
            loss_of(layer(x)).backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in layer.parameters())


BROKEN = """
import sys, types, torch
import gatelab.nn as gnn
for kind in (gnn.RNN, gnn.LSTM, gnn.GRU):
    gnn_layer = kind(3, 4, layer_norm=True)
    gnn_layer(torch.randn(60, 2, 3))[0].sum().backward()
"""


def test_a_numba_that_cannot_be_used_is_as_none_and_said_once(tmp_path):
    (tmp_path / "numba.py").write_text("raise ImportError('Numba needs NumPy 2.3 or less')")
    for changes, reason in (
        ({"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}, "NumPy 2.3 or less"),
        ({"NUMBA_DISABLE_JIT": "1"}, "NUMBA_DISABLE_JIT set"),
    ):
        command = [sys.executable, "-c", BROKEN]
        run = subprocess.run(command, capture_output=True, text=True, timeout=120, env=os.environ | changes)
        assert run.returncode == 0, run.stderr
        assert run.stderr.count("run several times slower") == 1
        assert reason in run.stderr
