"""No time without equality: what contenders computed is compared before any of them is timed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gatelab.bench.timing import Contender, Results
from gatelab.core.errors import GatelabError

TOLERANCES = {torch.float32: (1e-5, 1e-4), torch.float64: (1e-10, 1e-9), torch.bfloat16: (0.05, 0.1)}
"""For outputs and states, and for gradients: the largest error, as a share of the largest entry."""


class UnequalError(GatelabError):
    """Contenders that do not compute the same: their times would say nothing."""


def check_equal(contenders: Sequence[Contender]) -> None:
    """Compares what each contender computes with what the first computes.

    Args:
        contenders: the first is the measure of the others; a later one may give fewer results.

    Raises:
        UnequalError: a result that is missing, not finite, of another shape or of other values.
    """
    first, *others = [contender for contender in contenders if contender.alike]
    expected = first.results()
    for other in others:
        for name, tensor in other.results().items():
            if problem := difference(name, expected, tensor):
                raise UnequalError(
                    f"{first.name} and {other.name} do not compute the same {name}",
                    expected=f"largest error below {tolerance(name, tensor):g} of the largest entry",
                    got=problem,
                    fix="no time is given for different work; mend one of them",
                )


def difference(name: str, expected: Results, got: Tensor) -> str:
    """What sets ``got`` apart from the result of that name; empty where nothing does."""
    wanted = expected.get(name)
    if wanted is None:
        return f"no {name} to compare with"
    if wanted.shape != got.shape:
        return f"shapes {tuple(wanted.shape)} and {tuple(got.shape)}"
    wanted, given = wanted.detach().double(), got.detach().double()
    if not (wanted.isfinite().all() and given.isfinite().all()):
        return "values that are not finite"
    if wanted.numel() == 0:
        return ""
    largest = max(float(wanted.abs().max()), torch.finfo(torch.float32).tiny)
    error = float((wanted - given).abs().max()) / largest
    return f"{error:.2g}" if error > tolerance(name, got) else ""


def tolerance(name: str, tensor: Tensor) -> float:
    """How large an error may be, as a share of the largest entry."""
    return TOLERANCES[tensor.dtype][name.startswith("∂")]
