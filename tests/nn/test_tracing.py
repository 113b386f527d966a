"""A trace beside the untraced pass, beside the NumPy cells, and beside finite differences."""

import gc
import weakref

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence, pad_packed_sequence

import gatelab.cells as cells
import gatelab.nn as gnn
from gatelab.cells.cell import CELLS
from gatelab.core.errors import InputError
from gatelab.nn import open_loop
from gatelab.nn.layers import LAYERS

T, B, INPUT, H = 6, 3, 3, 4
LENGTHS = (2, T, 4)


@pytest.fixture(autouse=True)
def one_thread_and_a_seed():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def make(name, dtype=torch.float64, **options):
    cell = CELLS[name]
    return LAYERS[cell.family](INPUT, H, dtype=dtype, **options, **cell.options)


def batch(packed, dtype=torch.float64):
    items = [torch.randn(n if packed else T, INPUT, dtype=dtype) for n in LENGTHS]
    return pack_sequence(items, enforce_sorted=False) if packed else torch.stack(items, dim=1)


def loss_of(result):
    output, states = result
    output = output.data if isinstance(output, PackedSequence) else output
    return output.sin().sum() + sum((i + 2) * s.cos().sum() for i, s in enumerate(states))


def gradients(layer, result):
    return torch.autograd.grad(loss_of(result), list(layer.parameters()), retain_graph=True)


def close(a, b, dtype):
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-6}[dtype]
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


# ---- the traced pass is the pass ----------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", open_loop.STEPS)
def test_traced_equals_untraced(name, dtype, packed):
    for options in ({}, {"num_layers": 2, "bidirectional": True, "dropout": 0.5}):
        layer = make(name, dtype, **options).eval()
        x = batch(packed, dtype)
        plain = layer(x)
        with gnn.trace(layer):
            traced = layer(x)
        for a, b in zip(traced[0] if packed else traced[:1], plain[0] if packed else plain[:1], strict=True):
            assert (a is None) is (b is None)
            assert a is None or a.shape == b.shape
        close(traced[1], plain[1], dtype)
        close(traced[0].data, plain[0].data, dtype)
        if dtype is torch.float64:
            close(gradients(layer, traced), gradients(layer, plain), dtype)


@pytest.mark.parametrize("name", open_loop.STEPS)
def test_traced_equals_untraced_under_dropout_on_the_cpu(name):
    layer = make(name, num_layers=3, dropout=0.5)
    x = batch(False)
    torch.manual_seed(5)
    plain = layer(x)
    with gnn.trace(layer):
        torch.manual_seed(5)
        traced = layer(x)
    close(traced, plain, torch.float64)


def test_projected_lstm():
    layer = gnn.LSTM(INPUT, H, 2, proj_size=2, bidirectional=True, dtype=torch.float64)
    x = batch(True)
    plain = layer(x)
    with gnn.trace(layer) as trace:
        traced = layer(x)
    close(traced[0].data, plain[0].data, torch.float64)
    assert trace.only["l1"]["h"].shape == (T, B, 2)
    assert trace.only["l1"]["c"].shape == (T, B, H)


# ---- what is in it ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", open_loop.STEPS)
def test_every_name_value_and_gradient_equals_the_numpy_cells(name, packed):
    cell, layer = CELLS[name], make(name, num_layers=2, bidirectional=True)
    x = batch(packed)
    with gnn.trace(layer) as trace:
        output, _ = layer(x)
        rows = output.data if packed else output
        weight = torch.randn_like(rows)
        (rows * weight).sum().backward()
    params = cells.from_state_dict(cell, {key: value.numpy() for key, value in layer.state_dict().items()})
    dense, dout = x, weight
    if packed:
        dense, _ = pad_packed_sequence(x)
        dout, _ = pad_packed_sequence(x._replace(data=weight))
    lengths = np.array(LENGTHS if packed else (T,) * B)
    (expected, _), cache = cells.forward(cell, params, dense.numpy(), lengths=lengths)
    reference = cells.trace_of(cache, cells.backward(dout.numpy(), cache))
    shown = pad_packed_sequence(output)[0] if packed else output
    np.testing.assert_allclose(shown.detach(), expected, atol=1e-12)
    assert list(trace.only.layers) == list(reference.layers)
    assert trace.only.cell is cell
    for scan_name, arrays in reference.layers.items():
        scan = trace.only[scan_name]
        assert {*scan.names, *(f"d{state}" for state in cell.State._fields)} == set(arrays)
        for key in arrays:
            np.testing.assert_allclose(scan[key], arrays[key], atol=1e-12, err_msg=f"{scan_name} {key}")
        norms = reference.gradient_norm(scan_name, "h")
        np.testing.assert_allclose(trace.only.gradient_norm(scan_name), norms, atol=1e-12)
        whole = np.sqrt(np.nansum(np.square(norms), axis=1))
        np.testing.assert_allclose(trace.only.gradient_norm(scan_name, per_item=False), whole, atol=1e-12)


@pytest.mark.parametrize("layer_name", ["l0", "l0_reverse", "l1", "l1_reverse"])
def test_the_gradient_of_c_obeys_backpropagation_through_time(layer_name):
    """∂loss/∂c_k goes through h_k and through c_{k+1}: dc = dh ⊙ o ⊙ (1 − tanh² c) + dc_next ⊙ f_next."""
    layer = make("lstm", num_layers=2, bidirectional=True)
    with gnn.trace(layer) as trace:
        output, (_, c) = layer(batch(False))
        (output.sin().sum() + c.cos().sum()).backward()
    scan = trace.only[layer_name]
    dh, o, f, tanh_c = (scan[name] for name in ("dh", "o", "f", "tanh_c"))  # (T, B, H) each
    row = list(trace.only.layers).index(layer_name)
    dc_next, f_next = -c[row].sin().detach(), torch.ones(B, H)  # the loss sees the final c too
    for k in range(T) if layer_name.endswith("_reverse") else reversed(range(T)):
        dc_next = dh[k] * o[k] * (1 - tanh_c[k] ** 2) + dc_next * f_next  # (B, H)
        torch.testing.assert_close(scan["dc"][k], dc_next, rtol=1e-12, atol=1e-12)
        f_next = f[k]
    norms = trace.only.gradient_norm(layer_name, "c")
    torch.testing.assert_close(norms, scan["dc"].square().sum(2).sqrt(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", open_loop.STEPS)
def test_gradients_of_preactivations_by_central_differences(name):
    """The input's projection is added to every pre-activation: a nudge of the one nudges the other."""
    layer, x = make(name), batch(False)
    with gnn.trace(layer) as trace:
        loss_of(layer(x)).backward()
    step, t, b, unit = open_loop.STEPS[name], 2, 1, 3
    w, cell = open_loop.weights_of(layer, "l0"), CELLS[name]

    def loss(gate, nudge):
        state, outputs = tuple(x.new_zeros(B, H) for _ in layer.state_sizes), []
        for k in range(T):
            a = nn.functional.linear(x[k], w.weight_ih, w.bias_ih)  # (B, G·H)
            if k == t:
                a[b, cell.gates.index(gate) * H + unit] += nudge
            state, _ = step(w, a, state)
            outputs.append(state[0])
        final = tuple(s.unsqueeze(0) for s in state)
        return loss_of((torch.stack(outputs), final if len(final) > 1 else final[0])).item()

    for gate in cell.gates:
        with torch.no_grad():
            slope = (loss(gate, 1e-5) - loss(gate, -1e-5)) / 2e-5
        assert slope == pytest.approx(trace.only["l0"][f"dz{gate}"][t, b, unit].item(), rel=1e-6, abs=1e-9)


def test_a_state_the_loss_does_not_see_has_gradient_zero():
    layer = make("lstm")
    with gnn.trace(layer) as trace:
        layer(batch(False))[0][2].sum().backward()
    norms = trace.only.gradient_norm()
    assert (norms[:3] > 0).all()
    assert (norms[3:] == 0).all()


def test_backward_passes_add_up():
    layer = make("gru")
    with gnn.trace(layer) as trace:
        loss = loss_of(layer(batch(False)))
        loss.backward(retain_graph=True)
        once = trace.only["l0"]["dh"]
        loss.backward()
    torch.testing.assert_close(trace.only["l0"]["dh"], 2 * once)


def test_a_gradient_that_is_not_finite_is_shown():
    layer = make("gru")
    with gnn.trace(layer) as trace:
        (layer(batch(True))[0].data.sum() * float("nan")).backward()
    assert trace.only.gradient_norm(per_item=False).isnan().all()


def test_batch_first_and_unbatched_are_time_major_inside():
    layer = make("gru", batch_first=True)
    x = batch(False)
    with gnn.trace(layer) as trace:
        output, _ = layer(x.transpose(0, 1))
        layer(x[:, 0])
    first, second = trace.calls[""]
    torch.testing.assert_close(first["l0"]["h"], output.transpose(0, 1))
    torch.testing.assert_close(second["l0"]["h"], first["l0"]["h"][:, :1])


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = gnn.LSTM(INPUT, H)
        self.decoder = nn.ModuleList([gnn.GRU(H, H, reset_after=False)])
        self.other = nn.GRU(H, 2)

    def forward(self, x):
        return self.other(self.decoder[0](self.encoder(x)[0])[0])[0]


def test_modules_are_found_by_name_and_every_call_is_kept():
    model, x = Model(), torch.randn(T, B, INPUT)
    with gnn.trace(model) as trace:
        model(x)
        model(x[:2]).sum().backward()
    assert trace.names == ("encoder", "decoder.0")
    assert trace.untraced == ("other",)
    assert [call["l0"]["h"].shape[0] for call in trace.calls["encoder"]] == [T, 2]
    assert trace["decoder.0"]["l0"]["dh"].shape == (2, B, H)
    trace.clear()
    with pytest.raises(InputError, match="was not called"):
        trace["encoder"]


# ---- off, nested, broken off --------------------------------------------------------------------------------------


def switches(model):
    """All that could make a layer slower or different when no trace is open."""
    return [(sorted(vars(m)), m.forward.__func__, m._forward_hooks, m._forward_pre_hooks) for m in model.modules()]


def test_off_means_gone():
    model = Model()
    before = switches(model)
    with gnn.trace(model):
        assert switches_differ(model)
        model(torch.randn(T, B, INPUT))
    assert switches(model) == before
    assert all(m.forward.__func__ is type(m).forward for m in model.modules())
    assert not any(hooks for *_, post, pre in before for hooks in (post, pre))


def switches_differ(model):
    return "forward" in vars(model.encoder) and "forward" in vars(model.decoder[0])


def test_an_error_inside_leaves_nothing_behind():
    model = Model()
    before = switches(model)
    with pytest.raises(RuntimeError, match="inside"), gnn.trace(model):
        raise RuntimeError("inside")
    with pytest.raises(gnn.ShapeError), gnn.trace(model):
        model(torch.randn(T, B, INPUT + 1))
    assert switches(model) == before


def test_traces_nest_and_overlap():
    model, x = Model(), torch.randn(T, B, INPUT)
    before = switches(model)
    with gnn.trace(model) as outer:
        with gnn.trace(model.encoder) as inner:
            model(x)
        model(x)
    assert len(outer.calls["encoder"]) == len(outer.calls["decoder.0"]) == 2
    assert len(inner.calls[""]) == 1
    assert switches(model) == before
    first, second = gnn.trace(model), gnn.trace(model)
    one = first.__enter__()
    two = second.__enter__()
    model(x)
    first.__exit__(None, None, None)
    model(x)
    second.__exit__(None, None, None)
    assert (len(one.calls["encoder"]), len(two.calls["encoder"])) == (1, 2)
    assert switches(model) == before


def test_another_wrapper_of_forward_is_put_back():
    layer = gnn.GRU(INPUT, H)
    wrapper = layer.forward
    vars(layer)["forward"] = wrapper
    with gnn.trace(layer) as trace:
        layer(torch.randn(T, B, INPUT))
    assert vars(layer)["forward"] is wrapper
    assert len(trace.calls[""]) == 1


def test_a_trace_frees_what_it_held():
    layer = gnn.GRU(INPUT, H)
    with gnn.trace(layer) as trace:
        layer(torch.randn(T, B, INPUT))
    kept = weakref.ref(trace.only["l0"].steps["h"][0])
    assert kept() is not None
    del trace
    gc.collect()
    assert kept() is None


# ---- bad input ----------------------------------------------------------------------------------------------------


def test_a_model_without_our_layers_is_told_how_to_convert():
    with pytest.raises(InputError) as caught, gnn.trace(nn.Sequential(nn.LSTM(INPUT, H), nn.Linear(H, 1))):
        pass
    assert "LSTM '0'" in str(caught.value)
    assert "from_torch" in str(caught.value)
    with pytest.raises(InputError, match="no recurrent layer"), gnn.trace(nn.Linear(2, 1)):
        pass


def test_gradients_before_backward_are_refused():
    layer = gnn.GRU(INPUT, H)
    with gnn.trace(layer) as trace:
        layer(torch.randn(T, B, INPUT))
    with pytest.raises(InputError, match="a forward pass alone"):
        trace.only.gradient_norm()
    with torch.no_grad(), gnn.trace(layer) as trace:
        layer(torch.randn(T, B, INPUT))
    assert trace.only["l0"]["z"].shape == (T, B, H)
    with pytest.raises(InputError, match="without gradients"):
        trace.only.gradient_norm()


def test_unknown_names_are_named():
    model = Model()
    with gnn.trace(model) as trace:
        model(torch.randn(T, B, INPUT))
    for ask, near in (
        (lambda: trace["encodr"], "'encoder'"),
        (lambda: trace["encoder"]["l1"], "'l0'"),
        (lambda: trace["encoder"]["l0"]["q"], "'tanh_c'"),
        (lambda: trace["decoder.0"].gradient_norm("l0", "c"), "'h'"),
        (lambda: trace.only, "encoder"),
    ):
        with pytest.raises(InputError, match=near):
            ask()
