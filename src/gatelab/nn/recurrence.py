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
_CACHE = 2**21  # bytes of a piece that should stay in the cache of one core
_FEWEST = 512  # rows of a piece, below which the products of the weights' gradients slow down


class Results(NamedTuple):
    """What the operator gives: outputs, final state, and what its backward pass needs; unused ones are empty."""

    out: Tensor  # (N, H)
    h: Tensor  # (B, H)
    c: Tensor  # (B, H)
    gates: Tensor  # (N, G·H); of the vanilla network, the new contents where zoneout sets them apart from the outputs
    other: Tensor  # (N, H) the LSTM's c after every step, the GRU's recurrent side of n
    normed_ih: Tensor  # (N, G·H) normalised input products
    factors_ih: Tensor  # (N, G)
    normed: Tensor  # (N, G·H) normalised recurrent products
    factors: Tensor  # (N, G)


def empty_results(x: Arguments) -> Results:
    """Room for the results."""
    N, (width, H), B, new = x.rows.shape[0], x.weight_hh.shape, x.h.shape[0], x.rows.new_empty
    vanilla, lstm, normalised = x.cell in ("rnn", "rnn_relu"), x.c is not None, x.keep and x.gain is not None
    nothing = (0, 0)
    shapes = (
        (N, H),
        (B, H),
        (B, H) if lstm else nothing,
        (N, width) if x.keep and (x.zoned or not vanilla) else nothing,
        (N, H) if x.keep and not vanilla else nothing,
        *(2 * ((N, width) if normalised else nothing, (N, width // H) if normalised else nothing)),
    )
    return Results(*map(new, shapes))  # each its own tensor, as operators have to give them


def biases(cell: str, bias_ih: Tensor | None, bias_hh: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """Both biases as one where they only ever add up ``(G·H,)``, and the GRU's that its reset gate reaches ``(H,)``."""
    if bias_ih is None or bias_hh is None:
        return None, None
    if cell != "gru":
        return bias_ih + bias_hh, None
    H = bias_hh.shape[0] // 3
    return torch.cat([bias_ih[: 2 * H] + bias_hh[: 2 * H], bias_ih[2 * H :]]), bias_hh[2 * H :]


def forward(x: Arguments) -> Results:
    """All steps forward, in pieces: the input's side of a piece is still in the cache when its steps are done."""
    from gatelab.kernels import scan  # here, for Numba takes half a second to import

    bias, bias_n = biases(x.cell, x.bias_ih, x.bias_hh)
    results, way = empty_results(x), way_of(x)
    parts = scan.pieces(way, rows_in_a_piece(x))
    if x.cell in ("rnn", "rnn_relu") and not x.zoned:
        a, whole = results.out, True  # (N, H): the new contents are the outputs
    elif x.keep:
        a, whole = results.gates, True  # (N, G·H)
    else:
        a, whole = x.rows.new_empty(max(part.last - part.first for part in parts), len(x.weight_hh)), False  # (n, G·H)
    steps = scan.Forward(
        x.cell,
        way,
        array_of(x.weight_hh),
        array_of(x.h.new_zeros(x.h.shape[1]) if bias_n is None else bias_n),
        [array_of(s.copy_(initial)) for s, initial in ((results.h, x.h), (results.c, x.c)) if initial is not None],
        array_of(results.out),
        array_of(results.other),
        extras_of(x, results),
        x.keep,
    )
    for part in parts:
        rows = slice(part.first, part.last)
        mine = some(a, rows if whole else slice(0, part.last - part.first))  # (n, G·H)
        _project(x, bias, results, rows, mine)
        steps(array_of(mine), part.begin, part.end, part.first)
    return results


def _project(x: Arguments, bias: Tensor | None, results: Results, rows: slice, a: Tensor) -> None:
    """The input's side of the pre-activations of some rows, into ``a (n, G·H)``."""
    if x.gain_ih is not None:
        _project_normalised(x, x.gain_ih, bias, results, rows, a)
    elif bias is None:
        torch.mm(some(x.rows, rows), x.weight_ih.t(), out=a)
    elif x.rows.shape[1] == 1:
        torch.addcmul(bias, some(x.rows, rows), x.weight_ih.t(), out=a)  # a matrix product takes twice as long for this
    else:
        torch.addmm(bias, some(x.rows, rows), x.weight_ih.t(), out=a)


def _project_normalised(
    x: Arguments, gain: Tensor, bias: Tensor | None, results: Results, rows: slice, a: Tensor
) -> None:
    from gatelab.kernels import norm

    torch.mm(x.rows[rows], x.weight_ih.t(), out=a)
    (width, H), n = x.weight_hh.shape, a.shape[0]
    normed, factors = results.normed_ih[rows], results.factors_ih[rows]  # (n, G·H), (n, G)
    factors = factors if x.keep else a.new_empty(n, width // H)
    bias = a.new_zeros(width) if bias is None else bias
    norm.normalise_rows(*(array_of(t) for t in (a, gain, bias, normed, factors)))


def some(matrix: Tensor, rows: slice) -> Tensor:
    """Those rows; the matrix itself where they are all, for a view takes as long as a small product."""
    return matrix if rows.start == 0 and rows.stop >= matrix.shape[0] else matrix[rows]


def way_of(x: Arguments) -> Any:
    """The rows of every step, as ``kernels.scan.Way``."""
    from gatelab.kernels import scan

    N, B = x.rows.shape[0], x.h.shape[0]
    offsets = np.arange(0, N + 1, B) if x.offsets is None else array_of(x.offsets)  # (T + 1,)
    return scan.Way(offsets, x.reverse)


def rows_in_a_piece(x: Arguments) -> int:
    """As many rows as fit into the cache with what belongs to them."""
    width, N = sum(x.weight_hh.shape), x.rows.shape[0]
    most = max(_FEWEST, _CACHE // (width * x.h.element_size()))
    return -(-N // max(N // most, 1))  # pieces of one size


# ---- NumPy's side --------------------------------------------------------------------------------------------------


def array_of(tensor: Tensor) -> np.ndarray:
    """The tensor's own memory where it lies row after row, else a copy."""
    tensor = tensor.detach()
    return tensor.numpy() if tensor.is_contiguous() else tensor.contiguous().numpy()


@cache
def _none(dtype: torch.dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Arrays without elements: a vector, a matrix, a matrix of bytes."""
    vector = array_of(torch.empty(0, dtype=dtype))
    return vector, vector.reshape(0, 0), np.empty((0, 0), np.uint8)


def extras_of(x: Arguments, results: Results) -> Any:
    """What the cell does besides, as ``kernels.extras.Extras``."""
    from gatelab.kernels.extras import Extras

    vector, matrix, bits = _none(x.h.dtype)
    return Extras(
        matrix if x.mask is None else array_of(x.mask),
        bits if x.zoneout_h is None else array_of(x.zoneout_h).view(np.uint8),
        bits if x.zoneout_c is None else array_of(x.zoneout_c).view(np.uint8),
        x.kept_h,
        x.kept_c,
        vector if x.gain is None else array_of(x.gain),
        matrix if x.gain is None else array_of(results.normed),
        matrix if x.gain is None else array_of(results.factors),
        vector if x.gain_c is None else array_of(x.gain_c),
        vector if x.bias_c is None else array_of(x.bias_c),
        vector if x.peephole is None else array_of(x.peephole),
    )
