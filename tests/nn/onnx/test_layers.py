"""Exported layers beside onnxruntime, on inputs of our own."""

from __future__ import annotations

import itertools
import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gatelab import nn as gnn
from gatelab.core.errors import InputError
from gatelab.nn.onnx import Export, Sample, ends, export, quantised, recurrent, rounded
from gatelab.nn.onnx import graph as graphs

KINDS = {
    "rnn": lambda *sizes, **options: gnn.RNN(*sizes, **options),
    "rnn_relu": lambda *sizes, **options: gnn.RNN(*sizes, nonlinearity="relu", **options),
    "lstm": lambda *sizes, **options: gnn.LSTM(*sizes, **options),
    "lstm_peephole": lambda *sizes, **options: gnn.LSTM(*sizes, peephole=True, **options),
    "lstm_coupled": lambda *sizes, **options: gnn.LSTM(*sizes, coupled=True, **options),
    "lstm_coupled_peephole": lambda *sizes, **options: gnn.LSTM(*sizes, coupled=True, peephole=True, **options),
    "gru": lambda *sizes, **options: gnn.GRU(*sizes, **options),
    "gru_reset_before": lambda *sizes, **options: gnn.GRU(*sizes, reset_after=False, **options),
}
STEPWISE = {
    "rnn": {"zoneout": 0.2},
    "rnn_relu": {"layer_norm": True},
    "lstm": {"layer_norm": True, "zoneout": (0.1, 0.3), "proj_size": 2},
    "lstm_peephole": {"layer_norm": True, "zoneout": (0.0, 0.3)},
    "lstm_coupled": {"zoneout": 0.1, "proj_size": 4},
    "lstm_coupled_peephole": {"layer_norm": True},
    "gru": {"layer_norm": True, "zoneout": 0.2},
    "gru_reset_before": {"layer_norm": True, "zoneout": 0.2},
}
"""Extras that ONNX's nodes do not have."""
I, H = 3, 5  # noqa: E741


def session(exported: Export) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(exported.content, providers=["CPUExecutionProvider"])


def lively(layer: nn.Module) -> nn.Module:
    """Parameters far from where they start, so that no gate sits at one half and no term is near zero."""
    generator = torch.Generator().manual_seed(0)  # of its own: others amplify rounding more, and which, order would say
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(0, 0.5, generator=generator)
    return layer


def ours(layer, x, lengths, hx):
    """Output (T, B, D·H) and final states, each a list of arrays, of torch's packed path."""
    with torch.no_grad():
        packed, final = layer(pack_padded_sequence(x, lengths, enforce_sorted=False), hx)
    output, _ = pad_packed_sequence(packed, total_length=len(x))
    return [output.numpy(), *(s.numpy() for s in (final if isinstance(final, tuple) else (final,)))]


SIZES = [(*sizes, False) for sizes in itertools.product((1, 2), (False, True), (True, False))]
SIZES += [(1, False, False, True), (2, True, True, True)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("L", "bidirectional", "bias", "stepwise"), SIZES)
def test_computes_what_the_layer_computes_at_any_batch_and_length(kind, L, bidirectional, bias, stepwise):
    extras = STEPWISE[kind] if stepwise else {}
    layer = lively(KINDS[kind](I, H, L, bias=bias, bidirectional=bidirectional, **extras)).eval()
    exported = export(layer)
    run = session(exported)
    D = 2 if bidirectional else 1
    generator = torch.Generator().manual_seed(0)
    for T, lengths in ((1, [1]), (4, [4, 4]), (7, [2, 7, 1, 5])):
        x = torch.randn(T, len(lengths), I, generator=generator)
        states = tuple(torch.randn(L * D, len(lengths), size, generator=generator) for size in layer.state_sizes)
        feed = {"input": x.numpy(), "lengths": np.array(lengths, np.int32)}
        feed |= {f"{name}_0": state.numpy() for name, state in zip("hc", states, strict=False)}
        expected = ours(layer, x, torch.tensor(lengths), states if len(states) > 1 else states[0])
        for found, wanted in zip(run.run(None, feed), expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
    assert exported.difference() < (exported.tolerance if stepwise else 1e-5)


@given(st.data(), st.booleans())
@settings(max_examples=15, deadline=None)
def test_padding_is_inert(data, stepwise):
    layer = lively(gnn.GRU(I, H, 2, bidirectional=True, layer_norm=stepwise))
    run = session(export(layer, initial_state=False))
    lengths = np.array(data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)), np.int32)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x = rng.normal(size=(6, len(lengths), I)).astype(np.float32)
    beyond = np.arange(6)[:, None] >= lengths  # (T, B)
    other = np.where(beyond[..., None], np.float32(1e3), x)
    a, b = (run.run(None, {"input": value, "lengths": lengths}) for value in (x, other))
    for one, two in zip(a, b, strict=True):
        np.testing.assert_array_equal(one, two)
    assert not a[0][beyond].any()


def test_batch_first_and_inputs_left_out():
    layer = lively(gnn.LSTM(I, H, batch_first=True))
    exported = export(layer, lengths=False, initial_state=False)
    run = session(exported)
    assert [port.name for port in run.get_inputs()] == ["input"]
    assert run.get_inputs()[0].shape == ["batch", "time", I]
    x = torch.randn(3, 8, I, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        output, (h, c) = layer(x)
    for found, wanted in zip(run.run(None, {"input": x.numpy()}), (output, h, c), strict=True):
        np.testing.assert_allclose(found, wanted.numpy(), atol=1e-6)


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("L", [1, 2])
def test_learned_initial_states_are_what_the_graph_begins_with(L, layer_norm):
    layer = lively(gnn.LSTM(I, H, L, bidirectional=True, learn_initial_state=True, layer_norm=layer_norm))
    run = session(export(layer, lengths=False, initial_state=False))
    x = torch.randn(4, 3, I, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        output, _ = layer(x)
    np.testing.assert_allclose(run.run(["output"], {"input": x.numpy()})[0], output.numpy(), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stepwise", [False, True])
@pytest.mark.parametrize("learned", [False, True])
def test_an_item_of_no_steps_keeps_its_initial_state(kind, stepwise, learned):
    """onnxruntime's own nodes give zeros there."""
    extras = STEPWISE[kind] if stepwise else {}
    layer = lively(KINDS[kind](I, H, 2, bidirectional=True, learn_initial_state=learned, **extras)).eval()
    run = session(export(layer, initial_state=not learned))
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 3, I, generator=generator)
    names = "hc"[: len(layer.state_sizes)]
    if learned:
        states = [getattr(layer, f"initial_{name}").detach()[:, None].expand(-1, 3, -1) for name in names]
    else:
        states = [torch.randn(4, 3, size, generator=generator) for size in layer.state_sizes]
    feed = {"input": x.numpy(), "lengths": np.array([4, 0, 2], np.int32)}
    feed |= {} if learned else {f"{name}_0": state.numpy() for name, state in zip(names, states, strict=True)}
    output, *final = run.run(None, feed)
    assert not output[:, 1].any()
    for found, initial in zip(final, states, strict=True):
        np.testing.assert_array_equal(found[:, 1], initial[:, 1].numpy())
        assert np.abs(found[:, 0] - initial[:, 0].numpy()).max() > 0.01


@pytest.mark.parametrize("stepwise", [False, True])
@pytest.mark.parametrize("learned", [False, True])
def test_who_has_read_nothing_ends_at_zero_as_final_state_says(stepwise, learned):
    layer = lively(gnn.GRU(I, H, bidirectional=True, learn_initial_state=learned, layer_norm=stepwise))
    graph = graphs.Graph("ends")
    x = graph.input("x", np.float32, ("time", "batch", I), "")
    lengths = graph.input("lengths", np.int32, ("batch",), "")
    output, (final, *_) = recurrent(graph, layer, x, lengths, None)
    graph.output(ends(graph, layer, output, final, lengths), "end", np.float32, ("batch", 2 * H), "")
    run = onnxruntime.InferenceSession(graph.model({}).SerializeToString(), providers=["CPUExecutionProvider"])
    values = np.random.default_rng(0).normal(size=(4, 2, I)).astype(np.float32)
    (found,) = run.run(None, {"x": values, "lengths": np.array([0, 3], np.int32)})
    assert not found[0].any()
    assert found[1].all()


def test_what_only_training_knows_is_left_out():
    options = {"dropout": 0.5, "input_dropout": 0.5, "recurrent_dropout": 0.5}
    layer = gnn.GRU(I, H, 2, **options).train()
    assert export(layer).difference() < 1e-5
    assert layer.training


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_layers_of_torch_and_of_other_precisions(kind):
    layer = kind(I, H, 2, bidirectional=True, dtype=torch.float64)
    assert export(layer).difference() < 1e-5
    assert next(layer.parameters()).dtype == torch.float64


def test_current_weights_under_a_parametrization():
    layer = gnn.GRU(I, H)
    nn.utils.parametrizations.weight_norm(layer, "weight_hh_l0")
    with torch.no_grad():
        layer.parametrizations.weight_hh_l0.original0.mul_(3)
    exported = export(layer)
    assert exported.difference() < 1e-5
    x = torch.from_numpy(exported.samples[0].inputs["input"])
    with torch.no_grad():
        output, _ = layer(x, torch.from_numpy(exported.samples[0].inputs["h_0"]))
    np.testing.assert_allclose(exported.samples[0].outputs["output"], output.numpy(), atol=1e-6)
    with pytest.raises(InputError, match="rounded"):
        rounded(layer)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: gnn.RNN(I, H, batch_norm=True), "batch_norm"),
        (lambda: gnn.MinGRU(I, H), "MinGRU"),
        (lambda: nn.Linear(I, H), "Linear"),
        (lambda: gnn.Stack(gnn.GRU(I, H)), "Stack"),
    ],
)
def test_what_cannot_be_written_is_refused(make, said):
    with pytest.raises(InputError, match=said) as caught:
        export(make())
    assert caught.value.expected


def test_a_missing_library_is_named_with_its_command(monkeypatch):
    def absent(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(graphs, "import_module", absent)
    with pytest.raises(InputError, match="onnx is not installed") as caught:
        export(gnn.GRU(I, H))
    assert caught.value.fix == "pip install 'gatelab[export]'"


def test_a_graph_that_differs_is_not_written(tmp_path):
    exported = export(gnn.GRU(I, H))
    sample = exported.samples[0]
    wrong = {**sample.outputs, "output": sample.outputs["output"] + 1e-3}
    for outputs in (wrong, {**sample.outputs, "h_n": np.full_like(sample.outputs["h_n"], np.nan)}):
        broken = Export(exported.model, [Sample(sample.inputs, outputs, sample.scale, 0.0)], exported.network)
        with pytest.raises(InputError, match="not written"):
            broken.save(tmp_path / "gru.onnx")
    assert not list(tmp_path.iterdir())


def test_rounding_that_a_network_amplifies_is_allowed_for_within_limits():
    exported = export(gnn.GRU(I, H))
    assert exported.tolerance == 1e-5
    for rounding, allowed in ((1e-7, 1e-5), (5e-6, 5e-5), (0.1, 1e-3)):
        samples = [sample._replace(rounding=rounding) for sample in exported.samples]
        assert Export(exported.model, samples, exported.network).tolerance == pytest.approx(allowed)


def test_the_file_describes_itself(tmp_path):
    exported = export(gnn.LSTM(I, H, 2))
    assert exported.save(tmp_path / "lstm.onnx") < 1e-5
    read = onnx.load(tmp_path / "lstm.onnx")
    onnx.checker.check_model(read, full_check=True)
    assert [node.op_type for node in read.graph.node].count("LSTM") == 2
    described = {entry.key: json.loads(entry.value) for entry in read.metadata_props}
    assert [port["name"] for port in described["inputs"]] == ["input", "lengths", "h_0", "c_0"]
    assert described["outputs"][1] == {
        "name": "h_n", "type": "float32", "shape": [2, "batch", H], "text": "state h after the last step"
    }  # fmt: skip


# ---- eight bits -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stepwise", [False, True])
def test_int8_is_the_rounded_layer(kind, stepwise):
    layer = KINDS[kind](I, H, 2, bidirectional=True, **(STEPWISE[kind] if stepwise else {}))
    small = quantised(export(rounded(layer)))
    assert small.difference() < (small.tolerance if stepwise else 1e-5)
    weights = [tensor for tensor in small.model.graph.initializer if tensor.name.endswith("_int8")]
    assert len(weights) >= 4  # at least one for each matrix of each stacked layer
    assert all(tensor.data_type == onnx.TensorProto.INT8 for tensor in weights)


def test_int8_finds_a_layer_that_was_not_rounded(tmp_path):
    with pytest.raises(InputError, match="not written"):
        quantised(export(lively(gnn.GRU(I, H)))).save(tmp_path / "gru.onnx")


def test_rounding_moves_no_weight_by_more_than_half_a_level_and_leaves_the_rest():
    layer = lively(gnn.LSTM(I, H, learn_initial_state=True))
    with torch.no_grad():
        layer.weight_hh_l0[3] = 0.0
    small = rounded(layer)
    for name, parameter in layer.named_parameters():
        moved = (small.get_parameter(name) - parameter).abs()
        level = parameter.abs().amax(dim=-1, keepdim=True) / 127
        assert (moved <= (level / 2 + 1e-7 if name.startswith("weight") else 0)).all()
    assert not torch.equal(small.weight_hh_l0, layer.weight_hh_l0)


def test_int8_is_nearly_a_quarter_of_the_file():
    layer = gnn.GRU(64, 64)
    assert len(quantised(export(rounded(layer))).content) < 0.3 * len(export(layer).content)
