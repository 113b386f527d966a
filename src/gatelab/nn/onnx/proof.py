"""An exported graph, and onnxruntime run beside the network: nothing is written that was not compared.

``onnx`` and ``onnxruntime`` are an extra (``gatelab[export]``), imported when first used.
"""

from __future__ import annotations

import copy
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from gatelab.core.errors import InputError
from gatelab.core.files import write_bytes
from gatelab.nn.onnx.graph import extra

Array = np.ndarray
TOLERANCE = 1e-5
"""The largest difference between network and graph, as a share of the output's scale, with which a graph is written."""
_TIMES_ROUNDING, _MOST = 10, 1e-3  # what is allowed where rounding alone moves a network by more


class Sample(NamedTuple):
    """Inputs, and what the network answers."""

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    scale: Mapping[str, Any]
    """For each output what a difference is divided by, a number or an array that broadcasts: the output's largest
    absolute value in the sample, without the level (mean of the data) that was added to it at the end."""
    rounding: float
    """How far float32 itself moves the outputs, against the same network in float64, in units of ``scale``."""


@dataclass(frozen=True)
class Export:
    """A network as an ONNX graph, and what proves it."""

    model: Any
    """``onnx.ModelProto``; its metadata describes every input and output."""
    samples: Sequence[Sample]
    """Random inputs of several batch sizes and lengths; the first of batch size 1."""
    network: Callable[[], Any]
    """Runs the torch network alone, with inputs ready, on the first sample: to compare times."""

    @property
    def content(self) -> bytes:
        """The file."""
        return self.model.SerializeToString()

    @property
    def tolerance(self) -> float:
        """The largest difference with which the graph is written: ``TOLERANCE``.

        A network may amplify rounding, as layer-normalised LSTMs do over many steps, so that no two orders of summing
        agree to that. It is then ten times what float32 itself does to the network, and at most 1e-3.
        """
        rounding = max(sample.rounding for sample in self.samples)
        return min(max(TOLERANCE, _TIMES_ROUNDING * rounding), _MOST)

    def difference(self) -> float:
        """The largest difference between network and graph, in units of the output's scale (``Sample.scale``).

        Raises:
            InputError: ``onnxruntime`` is not installed, or cannot run the graph.
        """
        session = open_session(self.content)
        return float(np.max([_difference(session, sample) for sample in self.samples]))  # NaN is kept

    def save(self, path: str | os.PathLike[str]) -> float:
        """Writes the file, whole or not at all, if onnxruntime computes what the network computes.

        Returns:
            The largest difference found.

        Raises:
            InputError: the two differ by more than ``tolerance``, or ``onnxruntime`` is not installed.
        """
        difference = self.difference()
        if not difference <= self.tolerance:
            raise InputError(
                "the graph does not compute what the network computes, and is not written",
                expected=f"outputs that differ by at most {self.tolerance:.1e} of their scale",
                got=f"a difference of {difference:.1e}",
                fix="please report this, with the versions of torch and onnxruntime",
            )
        write_bytes(path, self.content)
        return difference


def frozen(model: nn.Module, dtype: torch.dtype = torch.float32) -> Any:
    """A copy of ``model`` as it is exported: in evaluation, on the CPU; in float64 to tell what rounding does."""
    return copy.deepcopy(model).cpu().eval().to(dtype)


def open_session(content: bytes) -> Any:
    """An ``onnxruntime.InferenceSession`` on the CPU with one thread.

    Raises:
        InputError: ``onnxruntime`` is not installed.
    """
    runtime = extra("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.disable_quant_qdq", "1")  # int8 weights: unpacked once, not at each call
    return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def latency(export: Export, seconds: float = 0.5) -> tuple[float, float]:
    """Seconds that torch and onnxruntime take for one item, medians of calls in turn with one thread each.

    torch runs the network alone, onnxruntime the whole graph.
    """
    session, inputs = open_session(export.content), export.samples[0].inputs
    calls = (export.network, lambda: session.run(None, inputs))
    times: list[list[float]] = [[], []]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        stop = time.perf_counter() + seconds
        while time.perf_counter() < stop or len(times[0]) < 5:
            for call, taken in zip(calls, times, strict=True):
                start = time.perf_counter()
                with torch.inference_mode():
                    call()
                taken.append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    ours, theirs = (statistics.median(taken) for taken in times)
    return ours, theirs


def deviation(found: Mapping[str, Array], wanted: Mapping[str, Array], scale: Mapping[str, Any]) -> float:
    """The largest difference between two sets of outputs, in units of ``scale``; NaN where there is one."""
    return float(np.max([np.max(np.abs(found[name] - wanted[name]) / scale[name]) for name in wanted]))


def _difference(session: Any, sample: Sample) -> float:
    names = list(sample.outputs)
    found = dict(zip(names, session.run(names, dict(sample.inputs)), strict=True))
    return deviation(found, sample.outputs, sample.scale)
