"""Sequences of unequal length: packed, beside ``torch.nn`` packed, and beside our own dense run with padding."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from gatelab.bench.figures import Bound, Goal, geometric_mean
from gatelab.bench.harness import Bench, Case, Race, Ratio, Settings, Shape, Suite
from gatelab.bench.timing import Contender, Results
from gatelab.bench.work import TRAINING_FLOPS, flops, layer_of, sequences, torch_twin, training
from gatelab.core import random

SHAPES = (Shape(8, 100, 32, 32), Shape(32, 100, 128, 128), Shape(32, 500, 64, 64))
SPEEDUP, GAIN = "torch.nn / gatelab", "padded / packed"


def lengths_of(shape: Shape) -> Tensor:
    """Lengths ``(B,)`` drawn evenly from T/10 to T, the same in every run."""
    drawn = random.generator(0, "bench", "lengths").integers(max(1, shape.T // 10), shape.T + 1, shape.B)  # (B,)
    drawn[0] = shape.T
    return torch.from_numpy(drawn)


def contenders(cell: str, shape: Shape, bench: Bench) -> list[Contender]:
    """Training on a packed batch by gatelab and by ``torch.nn``, and on the padded one by gatelab.

    The loss sees the outputs of the steps that are there, so that all three have the same gradients.
    """
    ours, x, lengths = layer_of(cell, shape, bench), sequences(shape, bench), lengths_of(shape)  # (T, B, I), (B,)
    pack = partial(pack_padded_sequence, lengths=lengths, enforce_sorted=False)
    there = (torch.arange(shape.T)[:, None] < lengths).to(bench.device)  # (T, B)
    doutput = torch.randn(shape.T, shape.B, shape.H, device=bench.device).to(bench.dtype)  # (T, B, H)
    doutput *= there[:, :, None]
    packed, dpacked = pack(x), pack(doutput).data  # (N, I), (N, H)
    return [
        Contender("packed", training(ours, packed, dpacked, through_state=False)),
        Contender("torch.nn", training(torch_twin(ours), packed, dpacked, through_state=False)),
        Contender("padded", training(ours, x, doutput, through_state=False), shown=partial(_packed, pack)),
    ]


def _packed(pack: Callable[..., PackedSequence], results: Results) -> Results:
    """The results of a padded run as a packed one gives them; its final states are those of padding, and left out."""
    rows = {name: pack(results[name]).data for name in ("output", "∂x")}
    return {name: rows.get(name, result) for name, result in results.items() if name not in ("h", "c")}


def _case(cell: str, shape: Shape) -> Case:
    ratios = (
        Ratio(SPEEDUP, over="torch.nn", under="packed"),
        Ratio(GAIN, over="padded", under="packed", bound=Bound(1.0)),
    )
    operations = TRAINING_FLOPS * flops(cell, shape, rows=int(lengths_of(shape).sum()))
    return Case(f"{cell} {shape}", cell, Race(partial(contenders, cell, shape), ratios, flops=operations))


def _cases(settings: Settings) -> list[Case]:
    return [_case(cell, shape) for cell in ("gru", "lstm") for shape in settings.shapes or SHAPES]


PACKED = Suite(
    "packed",
    "training on sequences of T/10 to T steps: packed by us, packed by torch.nn, padded by us",
    _cases,
    (Goal(f"{SPEEDUP}, geometric mean", SPEEDUP, geometric_mean, Bound(5.0)),),
    devices=("cpu", "cuda"),
)
