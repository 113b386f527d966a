#!/usr/bin/env bash
# OpenVINO 2026.4.1 (CPU) heeds `sequence_lens` of ONNX RNN, GRU and LSTM nodes where all shapes are fixed, and leaves it out
# where any dimension of the input is free, as exporters write it: no error, no warning. An LSTM's peepholes (`P`) it always
# leaves out. onnxruntime 1.31.1 follows the operators' definition in all of these.
#
# Seen: with a free batch dimension the state after an item of 2 steps in a batch of 4 is the state after step 4, and outputs
# beyond its length are not zero; the same model after `model.reshape` to fixed shapes is right. An LSTM with peepholes equals
# the same LSTM without them.
# Fails if any of this changes.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  openvino==2026.4.1 onnx==1.23.2 onnxruntime==1.31.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper, numpy_helper

T, B, I, H = 4, 3, 2, 3
LENGTHS = np.array([4, 2, 3], np.int32)
OPTIONS = {"RNN": {}, "GRU": {"linear_before_reset": 1}, "LSTM": {}}
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def graph(op, lengths, peepholes=None):
    """One node with seeded weights and a free batch; inputs X and, with lengths, L."""
    rng, G = np.random.default_rng(0), GATES[op]
    shapes = {"W": (1, G * H, I), "R": (1, G * H, H), "B": (1, 2 * G * H)}
    constants = [numpy_helper.from_array(rng.normal(size=shape).astype("f"), key) for key, shape in shapes.items()]
    inputs = [helper.make_tensor_value_info("X", TensorProto.FLOAT, [T, "batch", I])]
    names = ["X", "W", "R", "B", "L" if lengths else "", *[""] * (2 if op == "LSTM" else 1)]
    if lengths:
        inputs.append(helper.make_tensor_value_info("L", TensorProto.INT32, ["batch"]))
    if peepholes is not None:
        constants.append(numpy_helper.from_array(peepholes, "P"))
        names.append("P")
    while not names[-1]:
        names.pop()
    outputs = ["Y", "Y_h"] + (["Y_c"] if op == "LSTM" else [])
    node = helper.make_node(op, names, outputs, hidden_size=H, **OPTIONS[op])
    described = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [T, 1, "batch", H] if name == "Y" else [1, "batch", H]) for name in outputs
    ]
    model = helper.make_model(
        helper.make_graph([node], "one_node", inputs, described, constants), opset_imports=[helper.make_opsetid("", 18)]
    )
    model.ir_version = 9
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def runs(content, feed, fixed=False):
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    core = openvino.Core()
    model = core.read_model(content)
    if fixed:
        model.reshape({key: list(values.shape) for key, values in feed.items()})
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    result = compiled(feed)
    return session.run(None, feed), [np.array(result[port]) for port in compiled.outputs]


x = np.random.default_rng(1).normal(size=(T, B, I)).astype("f")
for op in GATES:
    right, found = runs(graph(op, True), {"X": x, "L": LENGTHS})
    _, whole = runs(graph(op, False), {"X": x})
    assert np.abs(right[1] - found[1])[:, 1:].max() > 0.05, op  # shorter items are wrong
    assert found[0][2:, 0, 1].all() and not right[0][2:, 0, 1].any(), op  # beyond the length: values, not zeros
    for one, other in zip(found, whole, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)  # as if there were no lengths
    _, fixed = runs(graph(op, True), {"X": x, "L": LENGTHS}, fixed=True)
    for one, other in zip(fixed, right, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)  # right where shapes are fixed
    print(f"{op}: batch free, sequence_lens left out; final states off by up to {np.abs(right[1] - found[1]).max():.2f}")

peepholes = np.random.default_rng(2).normal(size=(1, 3 * H)).astype("f")
right, found = runs(graph("LSTM", False, peepholes), {"X": x})
_, without = runs(graph("LSTM", False), {"X": x})
assert np.abs(right[0] - found[0]).max() > 0.05
np.testing.assert_allclose(found[0], without[0], atol=1e-6)
print(f"LSTM: peepholes left out; outputs off by up to {np.abs(right[0] - found[0]).max():.2f}")
print(f"as stated, openvino {openvino.__version__}")
PYTHON
