"""Weights in eight bits: a quarter of the file, for a loss that is measured.

Each row of a weight matrix (what one unit of one gate reads) is rounded to 255 levels, symmetric around zero and
fine enough for its largest weight; biases, states and arithmetic stay float32. In the file the rows are integers
behind a ``DequantizeLinear``. That covers RNN, LSTM and GRU alike, where ``onnxruntime.quantization`` knows the LSTM
alone, and ``rounded`` gives the same network in torch, so that any metric of any task measures what was lost.

onnxruntime's dynamic quantisation of the LSTM rounds inputs and states too. Measured over 48 steps at B = 1 it errs 2
to 4 times as much, and is 0.8 times as fast as float32 at H = 32, as fast at 64, and 1.6 times at 128.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gatelab.core.errors import InputError
from gatelab.nn.layers import Recurrent
from gatelab.nn.onnx.graph import extra
from gatelab.nn.onnx.proof import Export, frozen

_LEVELS = 127  # on either side of zero
_MATRICES = {"RNN": (1, 2), "LSTM": (1, 2), "GRU": (1, 2), "Gemm": (1,)}  # where a node's weight matrices come in


@torch.no_grad()
def rounded(model: nn.Module) -> nn.Module:
    """A float32 copy of ``model``, in evaluation, whose weight matrices hold what eight bits a weight can hold.

    Raises:
        InputError: a module is parametrized (weight norm and the like).
    """
    copied = frozen(model)
    for module in copied.modules():
        if parametrize.is_parametrized(module):
            raise InputError(
                f"{type(module).__name__} computes its weights from others, and only weights can be rounded",
                fix="torch.nn.utils.parametrize.remove_parametrizations makes them weights of their own",
            )
        for matrix in _matrices(module):
            scale = (matrix.abs().amax(dim=1, keepdim=True) / _LEVELS).clamp(min=torch.finfo(matrix.dtype).tiny)
            matrix.copy_((matrix / scale).round() * scale)
    return copied


def quantised(export: Export) -> Export:
    """The same graph with its weight matrices in eight bits.

    Args:
        export: of a network that ``rounded`` gave; of another one, ``save`` would find the difference.
    """
    onnx = extra("onnx")
    model = copy.deepcopy(export.model)
    graph = model.graph
    names = _matrix_names(graph)
    nodes: list[Any] = []
    for tensor in [tensor for tensor in graph.initializer if tensor.name in names]:
        graph.initializer.remove(tensor)
        constants, restoring = _stored(onnx, tensor)
        graph.initializer.extend(constants)
        nodes += restoring
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])  # a graph is listed in the order of computation
    onnx.checker.check_model(model, full_check=True)
    return replace(export, model=model)


def _matrix_names(graph: Any) -> set[str]:
    """Names of the values that nodes take weight matrices from, in the graph and in graphs inside its nodes."""
    names: set[str] = set()
    for node in graph.node:
        names |= {node.input[place] for place in _MATRICES.get(node.op_type, ())}
        for attribute in node.attribute:
            names |= _matrix_names(attribute.g) if attribute.HasField("g") else set()
    return names


def _matrices(module: nn.Module) -> list[Tensor]:
    if isinstance(module, nn.Linear):
        return [module.weight]
    if not isinstance(module, Recurrent):
        return []
    keys = ("weight_ih", "weight_hh", "weight_hr") if module.proj_size else ("weight_ih", "weight_hh")
    return [getattr(module, f"{key}_{name}") for name in module.scan_names for key in keys]


def _stored(onnx: Any, tensor: Any) -> tuple[list[Any], list[Any]]:
    """Constants and nodes that give the matrix ``tensor`` back under its name."""
    helper, from_array, name = onnx.helper, onnx.numpy_helper.from_array, tensor.name
    values = onnx.numpy_helper.to_array(tensor)  # (D, G·H, I) or (O, I)
    rows = values.reshape(-1, values.shape[-1])  # (D·G·H, I)
    scale = np.maximum(np.abs(rows).max(axis=1) / _LEVELS, np.finfo(np.float32).tiny).astype(np.float32)  # (D·G·H,)
    integers = np.round(rows / scale[:, None]).astype(np.int8)  # (D·G·H, I)
    constants = [from_array(integers, f"{name}_int8"), from_array(scale, f"{name}_scale")]
    flat = f"{name}_rows"
    inputs = [constant.name for constant in constants]
    shape = from_array(np.array(values.shape, np.int64), f"{name}_shape")
    return [*constants, shape], [
        helper.make_node("DequantizeLinear", inputs, [flat], axis=0),
        helper.make_node("Reshape", [flat, shape.name], [name]),
    ]
