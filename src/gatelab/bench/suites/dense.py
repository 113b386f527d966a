"""Dense batches: training and inference beside ``torch.nn`` (cuDNN on a GPU), and how near the limit training comes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch

from gatelab.bench.figures import Bound, Goal, geometric_mean
from gatelab.bench.harness import CELLS, Bench, Case, Race, Ratio, Settings, Shape, Suite
from gatelab.bench.timing import Contender
from gatelab.bench.work import TRAINING_FLOPS, flops, forward, layer_of, sequences, torch_twin, training

SHAPES = (
    Shape(32, 100, 64, 128),
    Shape(20, 35, 650, 650),
    Shape(64, 50, 32, 256),
    Shape(1, 500, 128, 256),
    Shape(128, 20, 10, 50),
    Shape(16, 1000, 1, 64),
)
WIDE_SHAPES = (Shape(32, 100, 64, 128), Shape(64, 50, 32, 256), Shape(128, 50, 128, 128), Shape(32, 35, 512, 512))
"""With H ≥ 128 and B ≥ 32, where the products are large enough for the multiply rate to count."""
SHORT_SHAPES = (
    Shape(1, 1, 64, 64),
    Shape(32, 1, 128, 128),
    Shape(8, 1, 512, 512),
    Shape(32, 4, 64, 64),
    Shape(1, 10, 128, 128),
    Shape(8, 20, 64, 64),
)
"""A few steps a call, as where a decoder writes; around the bounds of ``nn.fused.prefers_torch``."""

SPEEDUP = "torch.nn / gatelab"
_LEAST_TRAINING = {"gru": 1.2, "rnn": 1.2, "lstm": 0.97}
_LEAST_FORWARD = {"gru": 1.5, "rnn": 1.5, "lstm": 0.97}
_LEAST_SHARE = Bound(60)


def contenders(cell: str, shape: Shape, bench: Bench, *, train: bool) -> list[Contender]:
    """Gatelab's layer and ``torch.nn``'s with the same weights, on the same batch."""
    ours, x = layer_of(cell, shape, bench), sequences(shape, bench)  # (T, B, I)
    doutput = torch.randn(shape.T, shape.B, shape.H, device=bench.device).to(bench.dtype)  # (T, B, H)
    layers = {"gatelab": ours, "torch.nn": torch_twin(ours)}
    works = {name: training(layer, x, doutput) if train else forward(layer, x) for name, layer in layers.items()}
    return [Contender(name, work) for name, work in works.items()]


def _case(cell: str, shape: Shape, *, train: bool, least: Bound | None = None, share: Bound | None = None) -> Case:
    operations = flops(cell, shape) * (TRAINING_FLOPS if train else 1)
    build = partial(contenders, cell, shape, train=train)
    return Case(f"{cell} {shape}", cell, Race(build, [_speedup(least)], flops=operations, share=share))


def _speedup(least: Bound | None) -> Ratio:
    return Ratio(SPEEDUP, over="torch.nn", under="gatelab", bound=least)


def _grid(case: Callable[[str, Shape], Case], shapes: Sequence[Shape], settings: Settings) -> list[Case]:
    return [case(cell, shape) for cell in CELLS for shape in settings.shapes or shapes]


def _training_cases(settings: Settings) -> list[Case]:
    return _grid(lambda c, s: _case(c, s, train=True, least=Bound(_LEAST_TRAINING[c])), SHAPES, settings)


def _forward_cases(settings: Settings) -> list[Case]:
    return _grid(lambda c, s: _case(c, s, train=False, least=Bound(_LEAST_FORWARD[c])), SHAPES, settings)


def _limit_cases(settings: Settings) -> list[Case]:
    return _grid(lambda c, s: _case(c, s, train=True, share=_LEAST_SHARE), WIDE_SHAPES, settings)


def _short_cases(settings: Settings) -> list[Case]:
    def case(cell: str, shape: Shape, train: bool) -> Case:
        found = _case(cell, shape, train=train)
        return replace(found, name=f"{found.name}, {'training' if train else 'forward'}")

    return [case(c, s, train) for train in (False, True) for c in CELLS for s in settings.shapes or SHORT_SHAPES]


def _mean(cell: str, least: float) -> Goal:
    text = f"{cell}: {SPEEDUP}, geometric mean"
    return Goal(text, SPEEDUP, geometric_mean, Bound(least), (cell,))


TRAIN = Suite(
    "train",
    "forward and backward, beside torch.nn",
    _training_cases,
    (_mean("gru", 3.0), _mean("rnn", 2.5), _mean("lstm", 1.15)),
    devices=("cpu", "cuda"),
)
FORWARD = Suite(
    "forward",
    "inference without a graph, beside torch.nn",
    _forward_cases,
    (_mean("gru", 1.5), _mean("rnn", 1.5)),
    devices=("cpu", "cuda"),
)
SHORT = Suite("short", "a few steps a call, forward and training, beside torch.nn", _short_cases)
LIMIT = Suite(
    "limit",
    "how much of the machine's own multiply rate training reaches, where H ≥ 128 and B ≥ 32",
    _limit_cases,
    devices=("cpu", "cuda"),
)
