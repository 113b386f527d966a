"""Networks as ONNX files that onnxruntime was seen to compute alike: ``pip install 'gatelab[export]'``."""

from gatelab.nn.onnx.graph import Graph
from gatelab.nn.onnx.int8 import quantised, rounded
from gatelab.nn.onnx.layers import export, recurrent, require_node
from gatelab.nn.onnx.proof import TOLERANCE, Export, Sample, latency

__all__ = [
    "TOLERANCE",
    "Export",
    "Graph",
    "Sample",
    "export",
    "latency",
    "quantised",
    "recurrent",
    "require_node",
    "rounded",
]
