"""Networks as ONNX files that onnxruntime was seen to compute alike: ``pip install 'gatelab[export]'``."""

from gatelab.nn.onnx.graph import Graph
from gatelab.nn.onnx.int8 import quantised, rounded
from gatelab.nn.onnx.layers import ends, export, layers_of, nonempty, recurrent, require_known, within
from gatelab.nn.onnx.proof import Export, Sample, deviation, frozen, latency

__all__ = [
    "Export",
    "Graph",
    "Sample",
    "deviation",
    "ends",
    "export",
    "frozen",
    "latency",
    "layers_of",
    "nonempty",
    "quantised",
    "recurrent",
    "require_known",
    "rounded",
    "within",
]
