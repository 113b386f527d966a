"""One stacked layer in one direction by the kernels: its arguments, its results, the way forward.

``derivatives`` has the way back, and ``operator`` what torch has to know to compile it.

T time, B batch, H hidden, G gates, N rows of all steps together.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gatelab.nn.shapes import ShapeError


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
    gates: Tensor | None = None  # (N, G·H); of the vanilla network, the new contents where zoneout sets them apart
    other: Tensor | None = None  # (N, H) the LSTM's c after every step, the GRU's recurrent side of n
    normed_ih: Tensor | None = None  # (N, G·H) normalised input products
    factors_ih: Tensor | None = None  # (N, G)
    normed: Tensor | None = None  # (N, G·H) normalised recurrent products
    factors: Tensor | None = None  # (N, G)


def empty_results(x: Arguments, apart: bool = False) -> Results:
    """Room for the results; ``apart``, for an operator of torch: every one a tensor of its own."""
    N, (width, H), B, new = x.rows.shape[0], x.weight_hh.shape, x.h.shape[0], x.rows.new_empty
    vanilla, normalised = x.cell in ("rnn", "rnn_relu"), x.keep and x.gain is not None
    given = new(N, H), new(B, H), None if x.c is None else new(B, H)
    if not (apart or normalised or (x.keep and (x.zoned or not vanilla))):
        return Results(*given)
    kept = (
        (N, width) if x.keep and (x.zoned or not vanilla) else None,
        (N, H) if x.keep and not vanilla else None,
        *(2 * ((N, width), (N, width // H)) if normalised else 4 * (None,)),
    )
    records = [None if shape is None else new(*shape) if apart else _lent(x.rows.dtype, shape) for shape in kept]
    results = Results(*given, *records)
    return Results(*(new(0) if t is None else t for t in results)) if apart else results


def _lent(dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    """Memory for what only the way back reads."""
    from gatelab.kernels.lending import lend

    return torch.from_numpy(lend(shape, like(dtype).dtype))


def forward(x: Arguments, apart: bool = False) -> Results:
    """All steps forward; ``apart`` as in ``empty_results``.

    Raises:
        ShapeError: tensors that do not fit together.
    """
    from gatelab.kernels import scan  # here, for Numba takes half a second to import

    x = fitting(x)
    results = empty_results(x, apart)
    scan.forward(pass_of(x, results), x.keep, torch.get_num_threads())
    return results


# ---- what the kernels are told -------------------------------------------------------------------------------------

_GATES = {"rnn": 1, "rnn_relu": 1, "lstm": 4, "lstm_coupled": 3, "gru": 3}
_FIRST, _BITS = Arguments._fields.index("rows"), Arguments._fields.index("zoneout_h")


@lru_cache(256)
def _shapes(cell: str, N: int, I: int, B: int, H: int) -> tuple[tuple[int, ...], ...]:  # noqa: E741
    """Of the tensors from ``rows`` to ``zoneout_c``."""
    width, peepholes = _GATES[cell] * H, _GATES[cell] - 1
    weights = (width, I), (width, H), (width,), (width,)
    extras = (width,), (width,), (H,), (H,), (peepholes * H,), (B, H), (N, H), (N, H)
    return (N, I), *weights, (B, H), (B, H), *extras


def fitting(x: Arguments) -> Arguments:
    """The same, every tensor row after row in memory: as it is, or a copy.

    The kernels know nothing but addresses: they would read on behind what is too small.

    Raises:
        ShapeError: a tensor of another shape, type or device.
    """
    index, dtype, moved = _FIRST, x.rows.dtype, {}
    for shape in _shapes(x.cell, *x.rows.shape, *x.h.shape):
        tensor: Any = x[index]
        if tensor is not None:
            if tensor.shape != shape or tensor.dtype != (dtype if index < _BITS else torch.bool) or not tensor.is_cpu:
                raise _misfit(x, index, shape)
            if not tensor.is_contiguous() or tensor.is_neg():
                moved[x._fields[index]] = whole(tensor)
        index += 1
    if (x.bias_ih is None) != (x.bias_hh is None):
        raise ShapeError("a layer has both biases or none", expected="bias_ih and bias_hh", got="one of them")
    if x.offsets is not None:
        _check_steps(x.offsets.numpy(), len(x.rows), len(x.h))
    return x._replace(**moved) if moved else x


def _check_steps(offsets: np.ndarray, N: int, B: int) -> None:
    """Raises ``ShapeError`` unless steps that begin at ``offsets (T + 1,)`` fit N rows of B items, longest first."""
    sizes = offsets[1:] - offsets[:-1]  # (T,)
    ends = (offsets[0], sizes[0], offsets[-1]) == (0, B, N)
    if not ends or sizes[-1] < 0 or (sizes[1:] > sizes[:-1]).any() or offsets.dtype != np.int64:
        expected = f"{B} rows at first, never more than the step before, {N} together"
        raise ShapeError("the batch sizes of a packed sequence do not fit", expected=expected, got=sizes.tolist())


def _misfit(x: Arguments, index: int, shape: tuple[int, ...]) -> ShapeError:
    tensor: Any = x[index]
    dtype = x.rows.dtype if index < _BITS else torch.bool
    got = f"{tuple(tensor.shape)} {tensor.dtype} on {tensor.device}"
    return ShapeError(f"{x._fields[index]} does not fit", expected=f"{shape} {dtype} on cpu, as the input", got=got)


def whole(tensor: Tensor) -> Tensor:
    """The tensor where it lies row after row in memory, else a copy that does."""
    return tensor.resolve_neg().contiguous()


def pass_of(x: Arguments, results: Results) -> Any:
    """All as ``kernels.scan.Pass``, whose addresses hold as long as both, which are ``fitting``."""
    from gatelab.kernels import scan

    (N, I), (B, H) = x.rows.shape, x.h.shape  # noqa: E741
    frame = scan.Frame(
        I,
        H,
        len(x.weight_hh),
        x.rows.data_ptr(),
        x.weight_ih.data_ptr(),
        x.weight_hh.data_ptr(),
        place(x.bias_ih),
        place(x.bias_hh),
        x.h.data_ptr(),
        place(x.c),
        results.out.data_ptr(),
        place(results.gates),
        place(results.other),
        results.h.data_ptr(),
        place(results.c),
    )
    offsets = None if x.offsets is None else x.offsets.numpy()  # (T + 1,)
    T = N // B if offsets is None else len(offsets) - 1
    return scan.Pass(x.cell, like(x.h.dtype), x.reverse, offsets, T, B, N, frame, _extras(x, results))


def _extras(x: Arguments, results: Results) -> Any:
    """What the cell does besides, as ``kernels.extras.Extras``."""
    from gatelab.kernels.extras import NONE, Extras

    if not x.zoned and x.mask is None and x.gain is None and x.gain_c is None and x.peephole is None:
        return NONE
    return Extras(
        place(x.mask),
        place(x.zoneout_h),
        place(x.zoneout_c),
        x.kept_h,
        x.kept_c,
        place(x.gain_ih),
        place(results.normed_ih),
        place(results.factors_ih),
        place(x.gain),
        place(results.normed),
        place(results.factors),
        place(x.gain_c),
        place(x.bias_c),
        place(x.peephole),
    )


def place(tensor: Tensor | None) -> int:
    """The address of the tensor's numbers; 0 where there is none, or nothing in it."""
    return 0 if tensor is None else tensor.data_ptr()


@cache
def like(dtype: torch.dtype) -> np.ndarray:
    """An array without elements, of the same type of numbers."""
    return torch.empty(0, dtype=dtype).numpy()
