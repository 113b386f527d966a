"""One step at a time for live data: ``layer.stream()`` beside onnxruntime and ``torch.nn`` with the same weights.

Every contender reads the same few steps, one by one: ours and onnxruntime as NumPy's arrays, torch as its own. Each
carries its state itself, as a program that listens would.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor, nn

from gatelab.bench.figures import Bound
from gatelab.bench.harness import CELLS, Bench, Case, Race, Ratio, Settings, Shape, Suite
from gatelab.bench.timing import Contender, Results
from gatelab.bench.work import layer_of, sequences, torch_twin
from gatelab.nn.layers import Recurrent
from gatelab.nn.stream import Stream

SHAPES = (Shape(1, 100, 64, 64), Shape(1, 100, 128, 128), Shape(1, 100, 512, 512))
"""T is how many steps are fed in a row."""


def contenders(cell: str, shape: Shape, bench: Bench) -> list[Contender]:
    """T single steps by our stream, by onnxruntime if it is here, and by ``torch.nn``'s layer called with one step."""
    layer, x = layer_of(cell, shape, bench).eval(), sequences(shape, bench)  # (T, 1, I)
    runners = {"gatelab": partial(_streamed, layer.stream(), list(x[:, 0].numpy()))}
    if find_spec("onnxruntime") and find_spec("onnx"):
        runners["onnxruntime"] = partial(_by_onnxruntime, OnnxStep(layer), list(x.numpy()[:, None]))
    runners["torch.nn"] = partial(_by_torch, torch_twin(layer).eval(), list(x[:, None]))
    return [Contender(name, runner, work=shape.T) for name, runner in runners.items()]


def _streamed(stream: Stream, steps: Sequence[np.ndarray]) -> Results:
    stream.reset()
    return {"output": torch.from_numpy(np.stack([stream(x) for x in steps]))}  # (T, H)


def _by_torch(layer: nn.RNNBase, steps: Sequence[Tensor]) -> Results:
    state, outputs = None, []
    with torch.no_grad():
        for x in steps:
            output, state = layer(x, state)  # (1, 1, H)
            outputs.append(output[0, 0])
    return {"output": torch.stack(outputs)}  # (T, H)


def _by_onnxruntime(step: OnnxStep, steps: Sequence[np.ndarray]) -> Results:
    state, outputs = step.zeros, []
    for x in steps:
        state = step(x, state)
        outputs.append(torch.from_numpy(state[0][0, 0]))
    return {"output": torch.stack(outputs)}  # (T, H)


class OnnxStep:
    """A layer's bare ONNX node in onnxruntime, called for single steps; one thread.

    Args:
        layer: one layer, one direction.
    """

    def __init__(self, layer: Recurrent):
        import onnx.shape_inference
        import onnx.utils

        from gatelab.nn.onnx import export
        from gatelab.nn.onnx.proof import open_session

        whole = export(layer, lengths=False).model
        node = next(node for node in whole.graph.node if node.op_type in ("RNN", "GRU", "LSTM"))
        # What is around the node in an exported layer would cost onnxruntime time that a single step does not need.
        inputs, finals = [node.input[0], *node.input[5:7]], list(node.output[1:])
        bare = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(whole)).extract_model(
            [name for name in inputs if name], finals
        )
        self._session = open_session(bare.SerializeToString())
        self._names, self._finals = [name for name in inputs if name], finals
        self.zeros = [torch.zeros(1, 1, size).numpy() for size in layer.state_sizes]

    def __call__(self, x: np.ndarray, state: list[np.ndarray]) -> list[np.ndarray]:
        """The state after the step ``x (1, 1, I)``: ``[h]`` or ``[h, c]``, each ``(1, 1, H)``."""
        return self._session.run(self._finals, dict(zip(self._names, [x, *state], strict=True)))


def _case(cell: str, shape: Shape) -> Case:
    ratios = [Ratio("torch.nn / gatelab", over="torch.nn", under="gatelab")]
    if find_spec("onnxruntime") and find_spec("onnx"):
        ratios.insert(0, Ratio("onnxruntime / gatelab", over="onnxruntime", under="gatelab", bound=Bound(1.0)))
    return Case(f"{cell} {shape.H}", cell, Race(partial(contenders, cell, shape), ratios, unit="µs"))


def _cases(settings: Settings) -> list[Case]:
    return [_case(cell, shape) for cell in CELLS for shape in settings.shapes or SHAPES]


STREAM = Suite("stream", "one step of one sequence (B = 1, I = H), beside onnxruntime", _cases, library="onnxruntime")
