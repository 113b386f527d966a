"""Every pooling, in one direction and two, as a graph that computes alike."""

import numpy as np
import pytest
import torch
from torch import nn

from gatelab.core.config import ModelConfig
from gatelab.nn.onnx.proof import open_session
from gatelab.tasks.classifying.labels import Labels
from gatelab.tasks.classifying.model import Classifier
from gatelab.tasks.classifying.onnx import Steps, export

pytest.importorskip("onnxruntime")
LABELS = Labels(("a", "b", "c"), (3, 2, 1))
STEPS = Steps(np.float32, (2,), "values", lambda graph, value: value, lambda rng, shape: rng.normal(size=shape))


def classifier(pooling, width=2, **model):
    torch.manual_seed(0)
    found = Classifier(ModelConfig(hidden_size=5, **model), nn.Identity(), width, pooling, np.log(LABELS.shares))
    found.temperature.fill_(1.7)
    return found


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(("pooling", "cell"), [("last", "lstm"), ("mean", "gru"), ("max", "rnn"), ("attention", "gru")])
def test_a_graph_computes_alike(pooling, cell, bidirectional):
    exported = export(
        "toy", classifier(pooling, cell=cell, bidirectional=bidirectional, num_layers=2), LABELS, STEPS, {}
    )
    assert exported.difference() <= exported.tolerance <= 1e-4


def test_a_wrong_temperature_would_be_seen():
    model = classifier("max")
    exported = export("toy", model, LABELS, STEPS, {})
    model.temperature.fill_(1.0)
    other = export("toy", model, LABELS, STEPS, {})
    assert type(other)(exported.model, other.samples, other.network).difference() > 1e-3


@pytest.mark.parametrize(("pooling", "bidirectional"), [("last", True), ("mean", False), ("max", True)])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_residual_connections_are_exported(pooling, bidirectional, cell):
    options = {"residual": True, "num_layers": 3, "cell": cell, "bidirectional": bidirectional}
    torch.manual_seed(0)
    wide = 10 if bidirectional else 5  # as wide as a layer, so that the first has a residual connection, too
    steps = STEPS._replace(width=(wide,))
    for model, each in ((classifier(pooling, **options), STEPS), (classifier(pooling, wide, **options), steps)):
        exported = export("toy", model, LABELS, each, {})
        assert model.encoder.residuals[0] == (each is steps)
        assert exported.difference() <= exported.tolerance <= 1e-4


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("pooling", ["last", "mean", "max", "attention"])
def test_a_sequence_of_no_steps_has_no_class(pooling, bidirectional):
    model = classifier(pooling, bidirectional=bidirectional)
    run = open_session(export("toy", model, LABELS, STEPS, {}).content)
    steps = np.random.default_rng(0).normal(size=(4, 3, 2)).astype(np.float32)  # (T, B, I)
    both, alone = (
        run.run(None, {"steps": steps[:, chosen], "lengths": np.array(lengths, np.int32)})[0]
        for chosen, lengths in (([0, 1, 2], [4, 0, 2]), ([0, 2], [4, 2]))
    )
    assert np.isnan(both[1]).all()
    np.testing.assert_allclose(both[[0, 2]], alone, atol=1e-7)
