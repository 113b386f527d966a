"""What happens step after step, as one differentiable operation of torch.

``forward`` and ``backward_steps`` call the kernels; ``differentiate`` makes gradients of all arguments of that. Run
eagerly, this is an ``autograd.Function``; for compiled graphs, ``operator`` registers the same functions with torch.
Asked for a graph of the backward pass (for second derivatives), the operation computes itself anew in the open loop,
which can be differentiated any number of times.

T time, B batch, H hidden, G gates, N rows of all steps together.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear

from gatelab.nn import open_loop
from gatelab.nn.extras import EXTRAS
from gatelab.nn.hooks import Extra, Noise, Weights


class Arguments(NamedTuple):
    """The operator's arguments by name, in order."""

    cell: str
    reverse: bool  # read time from its end
    keep: bool  # a backward pass will follow
    offsets: Tensor | None  # (T + 1,) int64, the first row of each step and N; None for B rows in every step
    rows: Tensor  # (N, I)
    weight_ih: Tensor | None  # (G·H, I); None: the rows are what it would have given, (N, G·H)
    weight_hh: Tensor  # (G·H, H)
    bias_ih: Tensor | None  # (G·H,)
    bias_hh: Tensor | None  # (G·H,) given where the other one is
    h: Tensor  # (B, H)
    c: Tensor | None  # (B, H)
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


_LEARNED = Arguments._fields[4:15]  # those with a gradient


class Results(NamedTuple):
    """What the operator gives: outputs, final state, and what its backward pass needs; unused ones are empty."""

    out: Tensor  # (N, H)
    h: Tensor  # (B, H)
    c: Tensor  # (B, H)
    gates: Tensor  # (N, G·H); of the vanilla network, the new contents where zoneout sets them apart from the outputs
    other: Tensor  # (N, H) the LSTM's c after every step, the GRU's recurrent side of n
    normed: Tensor  # (N, G·H) normalised products
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
        (N, width) if normalised else nothing,
        (N, width // H) if normalised else nothing,
    )
    return Results(*map(new, shapes))  # each its own tensor, as operators have to give them


def biases(cell: str, bias_ih: Tensor | None, bias_hh: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """Both biases as one where they only ever add up ``(G·H,)``, and the GRU's that its reset gate reaches ``(H,)``."""
    if bias_ih is None or bias_hh is None:
        return None, None
    if cell != "gru":
        return bias_ih + bias_hh, None
    H = len(bias_hh) // 3
    return torch.cat([bias_ih[: 2 * H] + bias_hh[: 2 * H], bias_ih[2 * H :]]), bias_hh[2 * H :]


def forward(x: Arguments) -> Results:
    """All steps forward."""
    from gatelab.kernels import scan  # here, for Numba takes half a second to import

    bias, bias_n = biases(x.cell, x.bias_ih, x.bias_hh)
    if x.weight_ih is not None:
        a = linear(x.rows, x.weight_ih, bias)  # (N, G·H)
    else:
        a = x.rows.clone() if bias is None else x.rows + bias  # (N, G·H)
    results = empty_results(x)
    if x.cell in ("rnn", "rnn_relu") and not x.zoned:  # the new contents are the outputs
        results = results._replace(out=a)
    elif x.keep:
        results = results._replace(gates=a)
    state = [array_of(s.copy_(initial)) for s, initial in ((results.h, x.h), (results.c, x.c)) if initial is not None]
    scan.forward(
        x.cell,
        _rows(x.offsets, len(x.rows), len(x.h)),
        x.reverse,
        scan.Record(array_of(a), array_of(results.other)),
        array_of(x.weight_hh),
        array_of(x.h.new_zeros(x.h.shape[1]) if bias_n is None else bias_n),
        state,
        array_of(results.out),
        _extras(x, results),
        x.keep,
        torch.get_num_threads(),
    )
    return results


class StepGradients(NamedTuple):
    """What the backward pass computes step after step; unused ones are empty."""

    a: Tensor  # (N, G·H) of the input's side of the pre-activations
    s_n: Tensor  # (N, H) of the GRU's recurrent side of n; for other gates and cells, that of a serves
    product: Tensor  # (N, G·H) of the recurrent product where it is normalised
    h: Tensor  # (B, H)
    c: Tensor  # (B, H)
    own: Tensor  # (5, H) of gain_c, bias_c and the peepholes


def empty_gradients(x: Arguments) -> StepGradients:
    """Room for them."""
    N, (width, H), new = x.rows.shape[0], x.weight_hh.shape, x.h.new_empty
    nothing = (0, 0)
    shapes = (
        (N, width),
        (N, H) if x.cell == "gru" else nothing,
        (N, width) if x.gain is not None else nothing,
        x.h.shape,
        nothing if x.c is None else x.c.shape,
        (5, H),
    )
    return StepGradients(*map(new, shapes))


def backward_steps(x: Arguments, results: Results, dout: Tensor, dh: Tensor, dc: Tensor) -> StepGradients:
    """All steps backward, from ∂loss/∂(outputs, final h, final c)."""
    from gatelab.kernels import scan

    found, out = empty_gradients(x), array_of(results.out)
    pairs = ((found.h, dh, x.h), (found.c, dc, x.c))
    own = scan.backward(
        x.cell,
        _rows(x.offsets, len(x.rows), len(x.h)),
        x.reverse,
        array_of(x.weight_hh),
        [array_of(s) for s in (x.h, x.c) if s is not None],
        out,
        scan.Record(array_of(results.gates) if results.gates.numel() else out, array_of(results.other)),
        _extras(x, results),
        array_of(dout),
        [array_of(d.copy_(last)) for d, last, s in pairs if s is not None],
        scan.Gradients(array_of(found.a), array_of(found.s_n), array_of(found.product)),
        torch.get_num_threads(),
    )
    return found._replace(own=torch.from_numpy(own))


# ---- NumPy's side --------------------------------------------------------------------------------------------------


def array_of(tensor: Tensor) -> np.ndarray:
    """The tensor's own memory where it lies row after row, else a copy."""
    return tensor.detach().contiguous().numpy()


def _rows(offsets: Tensor | None, N: int, B: int) -> np.ndarray:
    """The first row of each step, and N: ``(T + 1,)`` int64."""
    return np.arange(0, N + 1, B) if offsets is None else array_of(offsets)


@cache
def _none(dtype: torch.dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Arrays without elements: a vector, a matrix, a matrix of bytes."""
    vector = array_of(torch.empty(0, dtype=dtype))
    return vector, vector.reshape(0, 0), np.empty((0, 0), np.uint8)


def _extras(x: Arguments, results: Results) -> Any:
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


# ---- autograd ------------------------------------------------------------------------------------------------------


class Eager(torch.autograd.Function):
    """The operation outside of compiled graphs: ``Arguments`` to outputs and final states."""

    @staticmethod
    def forward(ctx, *arguments):
        """Outputs and final states."""
        results = forward(Arguments(*arguments))
        remember(ctx, arguments, results)
        return results[:3]

    @staticmethod
    def backward(ctx, *gradients):
        """∂loss/∂ each argument."""
        return differentiate(ctx, backward_steps, gradients)


def remember(ctx, inputs: tuple, output: tuple) -> None:
    """Keeps what ``differentiate`` needs."""
    ctx.arguments = [None if isinstance(value, Tensor) else value for value in inputs]
    ctx.save_for_backward(*(value if isinstance(value, Tensor) else None for value in inputs), *output)
    ctx.set_materialize_grads(False)


def differentiate(ctx, backward_steps: Callable[..., StepGradients], gradients: tuple) -> tuple[Tensor | None, ...]:
    """∂loss/∂arguments from ∂loss/∂(out, h, c)."""
    saved = ctx.saved_tensors
    count = len(ctx.arguments)
    x = Arguments(*(p if t is None else t for p, t in zip(ctx.arguments, saved[:count], strict=True)))
    results = Results(*saved[count:])
    given = [torch.zeros_like(r) if d is None else d for d, r in zip(gradients[:3], results[:3], strict=True)]
    if torch.is_grad_enabled():
        found = _in_the_open(x, given)
    else:
        found = _all_gradients(x, results, backward_steps(x, results, *given), ctx.needs_input_grad[_ROWS])
    needed = zip(Arguments._fields, ctx.needs_input_grad, strict=True)
    return tuple(found.get(name) if wanted else None for name, wanted in needed)


_ROWS = Arguments._fields.index("rows")


def _all_gradients(x: Arguments, results: Results, steps: StepGradients, of_rows: bool) -> dict[str, Any]:
    """∂loss/∂ every argument by name: the weights' for all steps at once, from what was found step after step."""
    found: dict[str, Any] = {"h": steps.h, "c": steps.c, "rows": steps.a}
    if x.weight_ih is not None:
        found["rows"] = steps.a @ x.weight_ih if of_rows else None
        found["weight_ih"] = steps.a.t() @ x.rows  # (G·H, I)
    H, sides = x.h.shape[1], [steps.a]  # ∂loss/∂(what the recurrent weights gave), after normalisation
    if x.cell == "gru":
        sides = [steps.a[:, : 2 * H], steps.s_n]
    if x.bias_ih is not None:
        found["bias_ih"] = found["bias_hh"] = steps.a.sum(0)
        if x.cell == "gru":
            found["bias_hh"] = torch.cat([found["bias_ih"][: 2 * H], steps.s_n.sum(0)])
    if x.gain is not None:
        parts = zip(sides, results.normed.split([side.shape[1] for side in sides], 1), strict=True)
        found["gain"] = torch.cat([(side * normed).sum(0) for side, normed in parts])  # (G·H,)
        sides = [steps.product]
    found["weight_hh"] = _recurrent_gradient(x, results.out, sides)
    gain_c, bias_c, peephole = steps.own[0], steps.own[1], steps.own[2:].flatten()
    return found | {"gain_c": gain_c, "bias_c": bias_c, "peephole": peephole[: _length(x.peephole)]}


def _length(vector: Tensor | None) -> int:
    return 0 if vector is None else vector.shape[0]


def _recurrent_gradient(x: Arguments, out: Tensor, sides: list[Tensor]) -> Tensor:
    """∂loss/∂weight_hh ``(G·H, H)`` from that of its products, side by side ``(N, ·)``."""
    if x.offsets is None and x.mask is None:  # nothing has to be gathered
        B = x.h.shape[0]
        first, rest, before = (
            (slice(-B, None), slice(None, -B), out[B:]) if x.reverse else (slice(B), slice(B, None), out[:-B])
        )
        pieces = [torch.addmm(side[first].t() @ x.h, side[rest].t(), before) for side in sides]
    else:
        before = _states_before(x, out)  # (N, H)
        pieces = [side.t() @ before for side in sides]
    return torch.cat(pieces) if len(pieces) > 1 else pieces[0]


def _states_before(x: Arguments, out: Tensor) -> Tensor:
    """What weight_hh read at every row: the state before it, masked; ``(N, H)``."""
    N, B = out.shape[0], x.h.shape[0]
    if x.offsets is None:
        before = torch.cat([out[B:], x.h] if x.reverse else [x.h, out[: N - B]])  # (N, H)
        return before if x.mask is None else (before.view(-1, *x.h.shape) * x.mask).view_as(before)
    sizes = x.offsets.diff()  # (T,)
    item = torch.arange(N) - x.offsets[:-1].repeat_interleave(sizes)  # (N,)
    if x.reverse:
        after = x.offsets[1:].repeat_interleave(sizes) + item  # (N,) its row in the next step, if it has one
        ends = torch.cat([sizes[1:], sizes.new_zeros(1)]).repeat_interleave(sizes)  # (N,) rows of the next step
        row = torch.where(item < ends, after, N + item)
    else:
        earlier = torch.cat([x.offsets[:1], x.offsets[:-2]]).repeat_interleave(sizes) + item  # (N,)
        row = torch.where(torch.arange(N) < B, N + item, earlier)
    before = torch.cat([out, x.h]).index_select(0, row)  # (N, H)
    return before if x.mask is None else before * x.mask.index_select(0, item)


class _Plan(NamedTuple):
    """As much of a layer as the open loop asks for."""

    cell: str
    extras: tuple[Extra, ...]
    hidden_size: int
    training: bool = True


def _in_the_open(x: Arguments, given: list[Tensor]) -> dict[str, Any]:
    """The same gradients as functions of everything they depend on, for a second derivative."""
    with torch.enable_grad():
        fresh: dict[str, Any] = {name: _alias(getattr(x, name)) for name in _LEARNED}
        y = x._replace(**fresh)
        a = y.rows if y.weight_ih is None else linear(y.rows, y.weight_ih)  # (N, G·H)
        a = a if y.bias_ih is None else a + y.bias_ih
        extras = (None, y.gain, y.gain_c, y.bias_c, y.peephole)
        w = Weights(y.rows if y.weight_ih is None else y.weight_ih, y.weight_hh, y.bias_ih, y.bias_hh, None, *extras)
        zoneouts = (x.kept_h if x.zoneout_h is None else x.zoneout_h, x.kept_c if x.zoneout_c is None else x.zoneout_c)
        on = {
            "layer_norm": x.gain is not None,
            "recurrent_dropout": x.mask is not None,
            "zoneout": x.zoned,
            "peephole": x.peephole is not None,
        }
        plan = _Plan(x.cell, tuple(extra for name, extra in EXTRAS.items() if on.get(name)), x.h.shape[1])
        state, sizes = (y.h,) if y.c is None else (y.h, y.c), np.diff(_rows(x.offsets, len(x.rows), len(x.h))).tolist()
        out, final = open_loop.steps(plan, w, Noise(None, x.mask, *zoneouts), a, sizes, state, x.reverse)
        outputs = [(value, d) for value, d in zip((out, *final), given, strict=False) if value.requires_grad]
        wanted = {name: t for name, t in fresh.items() if t is not None and t.requires_grad}
        values, weights = zip(*outputs, strict=True)
        found = torch.autograd.grad(values, list(wanted.values()), weights, create_graph=True, allow_unused=True)
    return dict(zip(wanted, found, strict=True))


def _alias(tensor: Tensor | None) -> Tensor | None:
    """The same values as a new node: what one argument does to another before the operator is not its affair."""
    return None if tensor is None else tensor.view_as(tensor)
