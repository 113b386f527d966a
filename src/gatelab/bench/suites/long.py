"""Long sequences: is the time linear in T, and is the memory of truncated backpropagation flat?"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from functools import partial

import torch

from gatelab.bench.figures import Bound, Figure
from gatelab.bench.harness import CELLS, Bench, Case, Race, Ratio, Settings, Shape, Suite
from gatelab.bench.timing import Contender, Results
from gatelab.bench.work import layer_of, sequences, training
from gatelab.core.errors import GatelabError

SHAPES = (Shape(1, 100_000, 1, 64),)
SHORT = 100
"""The long sequence is so many times as long as the short one."""
WINDOW = 500
_LINEAR = Bound(1.2, at_most=True)
_FLAT = Bound(8, at_most=True)
"""MB that memory may grow by; what a window needs is about that, and full backpropagation needs a hundred times it."""


def contenders(cell: str, shape: Shape, bench: Bench) -> list[Contender]:
    """Training on a long sequence and on its beginning; times are those of a step."""
    layer, x = layer_of(cell, shape, bench), sequences(shape, bench)  # (T, B, I)
    doutput = torch.randn(shape.T, shape.B, shape.H)  # (T, B, H)
    beginning = max(1, shape.T // SHORT)

    def first_outputs(results: Results) -> Results:
        return {"output": results["output"][:beginning]}

    return [
        Contender("long", training(layer, x, doutput), work=shape.T, shown=first_outputs),
        Contender("short", training(layer, x[:beginning], doutput[:beginning]), work=beginning, shown=first_outputs),
    ]


def _time(cell: str, shape: Shape) -> Case:
    ratios = [Ratio("a step: long / short", over="long", under="short", bound=_LINEAR)]
    name = f"{cell} {shape}, time of a step beside T = {max(1, shape.T // SHORT):,}"
    return Case(name, cell, Race(partial(contenders, cell, shape), ratios, unit="µs"))


def added_memory(cell: str, shape: Shape, window: int) -> float:
    """MB that one pass of training takes at its peak, in a process of its own.

    Args:
        cell: the layer's cell.
        shape: sizes of sequence and layer.
        window: steps in a window of truncated backpropagation.

    Raises:
        GatelabError: the process failed.
    """
    sizes = json.dumps([cell, *shape, window])
    ended = subprocess.run([sys.executable, "-m", "gatelab.bench.pass_memory", sizes], capture_output=True, text=True)
    if ended.returncode:
        raise GatelabError("the process that measures memory failed", got=ended.stderr.strip().splitlines()[-1:])
    return float(ended.stdout)


def memory(cell: str, shape: Shape, bench: Bench) -> Sequence[Figure]:
    """Peak memory of truncated backpropagation, over a tenth of the sequence and over all of it; and of full."""
    shorter, window = shape._replace(T=max(1, shape.T // 10)), min(WINDOW, max(1, shape.T // 10))
    tenth, whole = added_memory(cell, shorter, window), added_memory(cell, shape, window)
    return (
        Figure("truncated, T/10", tenth, "MB"),
        Figure("truncated", whole, "MB"),
        Figure("full", added_memory(cell, shape, shape.T), "MB"),
        Figure("growth from T/10 to T", whole - tenth, "MB", bound=_FLAT),
    )


def _memory(cell: str, shape: Shape) -> Case:
    return Case(f"{cell} {shape}, memory", cell, partial(memory, cell, shape))


def _cases(settings: Settings) -> list[Case]:
    shapes = settings.shapes or SHAPES
    return [make(cell, shape) for make in (_time, _memory) for cell in CELLS for shape in shapes]


LONG = Suite("long", "sequences of 100,000 steps: time by step, memory with truncated backpropagation", _cases)
