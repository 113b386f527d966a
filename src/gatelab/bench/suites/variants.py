"""What an extra costs over the plain cell, and what it saves over a loop of eager torch operations."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gatelab.bench.figures import Bound, Goal, geometric_mean
from gatelab.bench.harness import CELLS, Bench, Case, Race, Ratio, Settings, Shape, Suite
from gatelab.bench.suites.dense import SHAPES
from gatelab.bench.timing import Contender
from gatelab.bench.work import layer_of, sequences, training
from gatelab.nn import open_loop

EXTRAS: Mapping[str, Mapping[str, Any]] = {
    "layer norm": {"layer_norm": True},
    "zoneout": {"zoneout": 0.1},
    "variational dropout": {"input_dropout": 0.2, "recurrent_dropout": 0.2},
    "peephole": {"peephole": True},
}
_GAIN = 0.1  # of a layer norm's recurrent side: with it, differences shrink from step to step
COST, GAIN = "gatelab / plain", "eager loop / gatelab"


def contenders(cell: str, shape: Shape, extra: str, bench: Bench) -> list[Contender]:
    """Training with the extra, fused and as a loop of eager operations, and training of the plain cell."""
    varied = layer_of(cell, shape, bench, **EXTRAS[extra])
    if isinstance(gain := getattr(varied, "norm_hh_l0", None), Tensor):
        # Normalised products are of size 1, and a network of such weights is chaotic: every rounding grows.
        gain.data.mul_(_GAIN)
    plain, x = layer_of(cell, shape, bench), sequences(shape, bench)  # (T, B, I)
    doutput = torch.randn(shape.T, shape.B, shape.H, device=bench.device).to(bench.dtype)  # (T, B, H)
    eager = training(varied, x, doutput, call=partial(open_loop.run, varied))
    return [
        Contender("gatelab", training(varied, x, doutput)),
        Contender("plain", training(plain, x, doutput), alike=False),
        Contender("eager loop", eager),
    ]


def _case(cell: str, shape: Shape, extra: str) -> Case:
    ratios = (
        Ratio(COST, over="gatelab", under="plain", bound=Bound(1.5, at_most=True)),
        Ratio(GAIN, over="eager loop", under="gatelab"),
    )
    return Case(f"{cell} {shape} {extra}", cell, Race(partial(contenders, cell, shape, extra), ratios))


def _cases(settings: Settings) -> list[Case]:
    shapes = settings.shapes or SHAPES
    pairs = [(cell, extra) for cell in CELLS for extra in EXTRAS if extra != "peephole" or cell == "lstm"]
    return [_case(cell, shape, extra) for cell, extra in pairs for shape in shapes]


VARIANTS = Suite(
    "variants",
    "layer norm, zoneout, variational dropout, peepholes: beside the plain cell and an eager loop",
    _cases,
    (
        Goal(f"{COST}, geometric mean", COST, geometric_mean, Bound(1.5, at_most=True)),
        Goal(f"{GAIN}, geometric mean", GAIN, geometric_mean, Bound(3.0)),
    ),
    devices=("cpu", "cuda"),
)
