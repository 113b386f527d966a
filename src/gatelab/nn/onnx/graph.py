"""Building an ONNX graph value by value; a value is known by its name, as in ONNX itself.

``onnx`` is an extra (``gatelab[export]``) and is imported when a graph is begun.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np
from torch import Tensor, nn

import gatelab
from gatelab.core.errors import InputError

Array = np.ndarray
OPSET, IR_VERSION = 18, 8  # of ONNX 1.13 (2022): what runtimes of the last years read


def extra(name: str) -> Any:
    """The module ``name`` of the extra ``export``.

    Raises:
        InputError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise InputError(f"{name} is not installed", got=error, fix="pip install 'gatelab[export]'") from error


def array(tensor: Tensor) -> Array:
    """A parameter as float32, the precision that exports compute in."""
    return tensor.detach().cpu().float().numpy()


class Graph:
    """A graph under construction. In a graph inside another one, ``prefix`` keeps the names apart."""

    def __init__(self, name: str, prefix: str = ""):
        self._onnx = extra("onnx")
        self._name, self.prefix = name, prefix
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._ports: dict[str, list[tuple[Any, str]]] = {"inputs": [], "outputs": []}  # (value info, what it is)

    def input(self, name: str, dtype: Any, shape: Sequence[str | int], text: str) -> str:
        """An input; a dimension that is free has a name. ``text`` says what it is, for who opens the file."""
        self._ports["inputs"].append((self._value(name, dtype, shape), text))
        return name

    def output(self, value: str, name: str, dtype: Any, shape: Sequence[str | int], text: str) -> None:
        """Makes ``value`` an output called ``name``."""
        self._nodes.append(self._onnx.helper.make_node("Identity", [value], [name]))
        self._ports["outputs"].append((self._value(name, dtype, shape), text))

    def constant(self, values: Any, dtype: Any = None) -> str:
        """A constant, such as a weight."""
        name = f"{self.prefix}constant_{len(self._constants)}"
        self._constants.append(self._onnx.numpy_helper.from_array(np.array(values, dtype), name))
        return name

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        """The one output of a new node."""
        return self.nodes(op, *inputs, outputs=1, **attributes)[0]

    def nodes(self, op: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        """The outputs of a new node."""
        name = f"{self.prefix}{op}_{len(self._nodes)}"
        names = [f"{name}_{index}" for index in range(outputs)] if outputs > 1 else [name]
        self._nodes.append(self._onnx.helper.make_node(op, list(inputs), names, name=name, **attributes))
        return names

    def cast(self, value: str, dtype: Any) -> str:
        """``value`` in another type."""
        return self.node("Cast", value, to=self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def reshape(self, value: str, *shape: int) -> str:
        """``value`` in another shape; 0 keeps a dimension, -1 takes what is left."""
        return self.node("Reshape", value, self.constant(shape, np.int64))

    def slice(self, value: str, start: int, stop: int, axis: int) -> str:
        """``value[start:stop]`` along ``axis``."""
        bounds = (self.constant([entry], np.int64) for entry in (start, stop, axis))
        return self.node("Slice", value, *bounds)

    def over(self, op: str, value: str, axis: int, *, keepdims: bool = True) -> str:
        """A reduction (``ReduceSum``, ``ReduceMax``) along ``axis``."""
        return self.node(op, value, self.constant([axis], np.int64), keepdims=int(keepdims))

    def linear(self, value: str, layer: nn.Linear) -> str:
        """``layer`` on the rows ``(N, I)``: ``(N, O)``."""
        bias = [] if layer.bias is None else [self.constant(array(layer.bias))]
        return self.node("Gemm", value, self.constant(array(layer.weight)), *bias, transB=1)

    def proto(self) -> Any:
        """The graph as ``onnx.GraphProto``, to stand inside a node."""
        inputs, outputs = ([port for port, _ in ports] for ports in self._ports.values())
        return self._onnx.helper.make_graph(self._nodes, self._name, inputs, outputs, self._constants)

    def model(self, metadata: Mapping[str, Any]) -> Any:
        """The finished ``onnx.ModelProto``; its metadata describes inputs and outputs, and holds ``metadata`` as JSON.

        Raises:
            InputError: onnx finds the graph wrong.
        """
        helper = self._onnx.helper
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(self.proto(), opset_imports=[opset], ir_version=IR_VERSION, producer_name="gatelab")
        model.producer_version = gatelab.__version__
        described = {side: [self._described(*port) for port in ports] for side, ports in self._ports.items()}
        helper.set_model_props(model, {k: json.dumps(v) for k, v in {**described, **metadata}.items()})
        self._onnx.checker.check_model(model, full_check=True)
        return model

    def _value(self, name: str, dtype: Any, shape: Sequence[str | int]) -> Any:
        helper = self._onnx.helper
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), list(shape))

    def _described(self, port: Any, text: str) -> dict[str, Any]:
        tensor = port.type.tensor_type
        dtype = self._onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        shape = [size.dim_param or size.dim_value for size in tensor.shape.dim]
        return {"name": port.name, "type": str(dtype), "shape": shape, "text": text}
