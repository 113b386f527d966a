"""Two threads: do they cost time, on an idle machine, or when another process keeps a core busy?"""

from __future__ import annotations

from functools import partial

import torch

from gatelab.bench.figures import Bound
from gatelab.bench.harness import CELLS, Bench, Case, Race, Ratio, Settings, Shape, Suite
from gatelab.bench.machine import busy_neighbour
from gatelab.bench.suites.dense import SHAPES
from gatelab.bench.timing import Contender
from gatelab.bench.work import layer_of, sequences, torch_twin, training

_MOST = Bound(1.1, at_most=True)
_OURS, _OURS_1 = "gatelab, 2 threads", "gatelab, 1"
_TORCH, _TORCH_1 = "torch.nn, 2 threads", "torch.nn, 1"


def contenders(cell: str, shape: Shape, bench: Bench) -> list[Contender]:
    """Training on two threads and on one, ours and ``torch.nn``'s."""
    ours, x = layer_of(cell, shape, bench), sequences(shape, bench)  # (T, B, I)
    doutput = torch.randn(shape.T, shape.B, shape.H)  # (T, B, H)
    mine, theirs = training(ours, x, doutput), training(torch_twin(ours), x, doutput)
    return [
        Contender(_OURS, mine, threads=2),
        Contender(_OURS_1, mine, threads=1),
        Contender(_TORCH, theirs, threads=2),
        Contender(_TORCH_1, theirs, threads=1),
    ]


def _case(cell: str, shape: Shape, *, busy: bool) -> Case:
    ratios = (
        Ratio("gatelab: 2 threads / 1", _OURS, _OURS_1, _MOST),
        Ratio("torch.nn: 2 threads / 1", _TORCH, _TORCH_1),
    )
    build = partial(contenders, cell, shape)
    race = Race(build, ratios, around=busy_neighbour) if busy else Race(build, ratios)
    return Case(f"{cell} {shape}, {'one core busy' if busy else 'idle'}", cell, race)


def _cases(settings: Settings) -> list[Case]:
    shapes = settings.shapes or SHAPES
    return [_case(cell, shape, busy=busy) for busy in (False, True) for cell in CELLS for shape in shapes]


THREADS = Suite("threads", "training on two threads and on one, with a core kept busy and without", _cases)
