"""One stacked layer in one direction by the kernels: its arguments, its results, the way forward.

``derivatives`` has the way back, and ``operator`` what torch has to know to compile it.

T time, B batch, H hidden, G gates, N rows of all steps together.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor


class Arguments(NamedTuple):
    """The operator's arguments by name, in order."""

    cell: str
    reverse: bool  # read time from its end
    keep: bool  # a backward pass will follow
    offsets: Tensor | None  # (T + 1,) int64, the first row of each step and N; None for B rows in every step
    rows: Tensor  # (N, I)
    weight_ih: Tensor  # (G·H, I)
    weight_hh: Tensor  # (G·H, H)
    bias_ih: Tensor | None  # (G·H,)
    bias_hh: Tensor | None  # (G·H,) given where the other one is
    h: Tensor  # (B, H)
    c: Tensor | None  # (B, H)
    gain_ih: Tensor | None  # (G·H,) of the normalised input product
    gain: Tensor | None  # (G·H,) of the normalised recurrent product
    gain_c: Tensor | None  # (H,) of the normalised cell
    bias_c: Tensor | None  # (H,)
    peephole: Tensor | None  # (3·H,), or (2·H,) where i = 1 − f
    mask: Tensor | None  # (B, H) what weight_hh sees of h
    zoneout_h: Tensor | None  # (N, H) bool
    zoneout_c: Tensor | None  # (N, H) bool
    kept_h: float  # the share of the old h that stays, where there is no mask
    kept_c: float  # likewise of c

    @property
    def zoned(self) -> bool:
        """Whether some units keep their old values."""
        return self.zoneout_h is not None or self.zoneout_c is not None or self.kept_h > 0 or self.kept_c > 0


LEARNED = Arguments._fields[4:16]  # those with a gradient


class Results(NamedTuple):
    """What the operator gives: outputs, final state, and what its backward pass needs.

    What is not used is None; of an operator of torch, which has to give tensors, one without elements.
    """

    out: Tensor  # (N, H)
    h: Tensor  # (B, H)
    c: Tensor | None  # (B, H)
    gates: Tensor | None  # (N, G·H); of the vanilla network, the new contents where zoneout sets them apart from out
    other: Tensor | None  # (N, H) the LSTM's c after every step, the GRU's recurrent side of n
    normed_ih: Tensor | None  # (N, G·H) normalised input products
    factors_ih: Tensor | None  # (N, G)
    normed: Tensor | None  # (N, G·H) normalised recurrent products
    factors: Tensor | None  # (N, G)


def empty_results(x: Arguments, apart: bool = False) -> Results:
    """Room for the results; ``apart``, for an operator of torch: every one a tensor of its own."""
    N, (width, H), B, new = x.rows.shape[0], x.weight_hh.shape, x.h.shape[0], x.rows.new_empty
    vanilla, normalised = x.cell in ("rnn", "rnn_relu"), x.keep and x.gain is not None
    kept = (
        (N, width) if x.keep and (x.zoned or not vanilla) else None,
        (N, H) if x.keep and not vanilla else None,
        *(2 * ((N, width), (N, width // H)) if normalised else 4 * (None,)),
    )
    records = [None if shape is None else new(*shape) if apart else _lent(x.rows.dtype, shape) for shape in kept]
    results = Results(new(N, H), new(B, H), None if x.c is None else new(B, H), *records)
    return Results(*(new(0) if t is None else t for t in results)) if apart else results


def _lent(dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    """Memory for what only the way back reads."""
    from gatelab.kernels.lending import lend

    return torch.from_numpy(lend(shape, none(dtype)[0].dtype))


def biases(
    cell: str, weight_hh: Tensor, bias_ih: Tensor | None, bias_hh: Tensor | None
) -> tuple[np.ndarray, np.ndarray]:
    """Both biases as one where they only ever add up ``(G·H,)``, and the GRU's that its reset gate reaches ``(H,)``."""
    (width, H), dtype = weight_hh.shape, none(weight_hh.dtype)[0].dtype
    if bias_ih is None or bias_hh is None:
        return np.zeros(width, dtype), np.zeros(H, dtype)
    first, second = array_of(bias_ih), array_of(bias_hh)
    if cell != "gru":
        return first + second, second[:H]  # of which only the GRU reads the second
    return np.concatenate([first[: 2 * H] + second[: 2 * H], first[2 * H :]]), second[2 * H :]


def forward(x: Arguments, apart: bool = False) -> Results:
    """All steps forward; ``apart`` as in ``empty_results``."""
    from gatelab.kernels import scan  # here, for Numba takes half a second to import

    results = empty_results(x, apart)
    states: list[Any] = [results.h] if x.c is None else [results.h, results.c]
    final = [array_of(state) for state in states]
    both = biases(x.cell, x.weight_hh, x.bias_ih, x.bias_hh)
    scan.forward(pass_of(x, results, *both), final, x.keep, torch.get_num_threads())
    return results


def pass_of(x: Arguments, results: Results, bias: np.ndarray | None = None, bias_n: np.ndarray | None = None) -> Any:
    """All as ``kernels.scan.Pass``; the way back does without the ``biases``."""
    from gatelab.kernels import scan

    N, B = x.rows.shape[0], x.h.shape[0]
    offsets = np.arange(0, N + 1, B) if x.offsets is None else array_of(x.offsets)  # (T + 1,)
    initial = [array_of(state) for state in (x.h, x.c) if state is not None]
    vector, matrix, _ = none(x.h.dtype)
    bias, bias_n = vector if bias is None else bias, vector if bias_n is None else bias_n
    gates, other = (matrix if t is None or not t.numel() else array_of(t) for t in (results.gates, results.other))
    weights = (array_of(x.weight_ih), array_of(x.weight_hh), bias, bias_n)
    out, extras = array_of(results.out), _extras(x, results)
    return scan.Pass(x.cell, x.reverse, offsets, array_of(x.rows), *weights, initial, out, gates, other, extras)


# ---- NumPy's side --------------------------------------------------------------------------------------------------


def array_of(tensor: Tensor) -> np.ndarray:
    """The tensor's own memory where it lies row after row, else a copy."""
    tensor = tensor.data  # as ``detach``, in a third of the time
    return tensor.numpy() if tensor.is_contiguous() else tensor.contiguous().numpy()


@cache
def none(dtype: torch.dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Arrays without elements, for what there is not: a vector, a matrix, a matrix of bytes."""
    vector = array_of(torch.empty(0, dtype=dtype))
    return vector, vector.reshape(0, 0), np.empty((0, 0), np.uint8)


def _extras(x: Arguments, results: Results) -> Any:
    """What the cell does besides, as ``kernels.extras.Extras``."""
    from gatelab.kernels.extras import Extras

    vector, matrix, bits = none(x.h.dtype)
    if not x.zoned and all(t is None for t in (x.mask, x.gain, x.gain_c, x.peephole)):
        return Extras(matrix, bits, bits, 0.0, 0.0, vector, matrix, matrix, vector, matrix, matrix, *3 * (vector,))

    def of(tensor: Tensor | None, otherwise: np.ndarray) -> np.ndarray:
        return otherwise if tensor is None else array_of(tensor)

    return Extras(
        of(x.mask, matrix),
        of(x.zoneout_h, bits).view(np.uint8),
        of(x.zoneout_c, bits).view(np.uint8),
        x.kept_h,
        x.kept_c,
        of(x.gain_ih, vector),
        of(results.normed_ih, matrix),
        of(results.factors_ih, matrix),
        of(x.gain, vector),
        of(results.normed, matrix),
        of(results.factors, matrix),
        of(x.gain_c, vector),
        of(x.bias_c, vector),
        of(x.peephole, vector),
    )
