"""Truncated backpropagation through time: a long sequence window by window, in the memory of one window.

    for window in gatelab.nn.truncated(layer, x, lambda output, steps: criterion(output, y[steps]), 100):
        optimizer.step()
        optimizer.zero_grad()

The state is carried from window to window and the gradient is cut there. Without an optimizer's step in between, the
gradients of all windows add up in ``parameter.grad``; where one window covers the sequence, that is full
backpropagation. Williams & Peng 1990 call it BPTT(h; h') with h = h' = ``window``. What is cut away is any dependence
that is longer than a window: ``checkpoint_every`` saves memory without cutting anything.

T time, B batch, I input, H hidden, L layers, D directions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gatelab.core.errors import InputError

Chunk = Tensor | np.ndarray


class Window(NamedTuple):
    """One window of truncated backpropagation, after its backward pass; its tensors hold no graph."""

    steps: slice
    """Which steps of the whole sequence."""
    loss: float
    output: Tensor
    """What the model gave for them: ``(T', B, D·H)``, as the input lies."""
    state: Any
    """The model's state at the end of the window, where the next one begins."""


def truncated(
    model: Callable[..., tuple[Tensor, Any]],
    x: Chunk | Iterable[Chunk],
    loss: Callable[[Tensor, slice], Tensor],
    window: int,
    hx: Any = None,
    *,
    resets: Tensor | None = None,
    batch_first: bool | None = None,
) -> Iterator[Window]:
    """Runs ``model`` over ``x`` window by window, forward and backward, and yields each window when it is done.

    Change the parameters between two windows (an optimizer's step) to train along a stream; or let them be, and the
    gradients of all windows add up.

    Args:
        model: a layer, a ``Stack``, or any module called like one: ``model(x, state)`` gives output and state, a tensor
            or tuples of tensors. It reads forwards only.
        x: ``(T, B, I)``, ``(B, T, I)`` with ``batch_first``, or ``(T, I)`` without a batch, as a tensor or a NumPy
            array, which may be mapped from a file: a window's steps are read when its turn comes. Or an iterable of
            such pieces, one after the other in time: the sequence never has to be in memory as a whole. A window ends
            where a piece ends.
        loss: from the output of the steps in a slice, and that slice, a scalar tensor.
        window: the most steps of a window.
        hx: the state to begin from; None for the model's own.
        resets: bool ``(T, B)``, or as the input lies: where new sequences begin; see ``Recurrent.forward``.
        batch_first: whether the batch stands before time in ``x``, output and resets; the model's own attribute
            where not given, or False.

    Raises:
        InputError: a window below 1, a layer that reads backwards and would have to know the future, a packed
            sequence, or a loss that is not a scalar.
    """
    _check(model, x, window)
    batch_first = getattr(model, "batch_first", False) if batch_first is None else batch_first
    state = hx
    for steps, piece in _windows(x, window, batch_first):
        options = {} if resets is None else {"resets": _cut(resets, steps, batch_first and resets.ndim == 2)}
        value, output, state = _pass(model, piece, state, options, lambda y, at=steps: loss(y, at))
        yield Window(steps, value, output, state)


def _pass(model, x: Tensor, state: Any, options: dict[str, Tensor], loss: Callable[[Tensor], Tensor]):
    """Forward and backward over one window: loss, output and state. Its graph ends here, before anything is yielded."""
    output, state = model(x, state, **options)
    value = loss(output)
    if not isinstance(value, Tensor) or value.numel() != 1:
        got = f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise InputError("the loss of a window is one number", expected="a scalar tensor", got=got, fix="take its mean")
    value.backward()
    return value.item(), output.detach(), _detached(state)


def _windows(x: Chunk | Iterable[Chunk], window: int, batch_first: bool) -> Iterator[tuple[slice, Tensor]]:
    """The steps of each window among those of the whole sequence, and the input there."""
    begin = 0
    for chunk in [x] if isinstance(x, (Tensor, np.ndarray)) else x:
        second = batch_first and chunk.ndim == 3
        T = chunk.shape[1 if second else 0]
        for start in range(0, T, window):
            stop = min(start + window, T)
            piece = _cut(chunk, slice(start, stop), second)
            # Copied, for a file may be mapped for reading alone, which torch's tensors cannot be.
            yield slice(begin + start, begin + stop), piece if isinstance(piece, Tensor) else torch.tensor(piece)
        begin += T


def _cut(x: Any, steps: slice, second: bool) -> Any:
    """Some steps of ``x``, where time is the first axis or the ``second``."""
    return x[:, steps] if second else x[steps]


def _detached(state: Any) -> Any:
    if isinstance(state, Tensor):
        return state.detach()
    return tuple(map(_detached, state))


def _check(model: Any, x: Any, window: int) -> None:
    if window < 1:
        raise InputError(f"a window cannot have {window} steps", expected="at least 1", got=window)
    if isinstance(x, PackedSequence):
        fix = "give the padded batch, and leave what is under the padding out of the loss"
        raise InputError("a packed sequence cannot be cut into windows", fix=fix)
    modules = model.modules() if isinstance(model, nn.Module) else [model]
    if any(getattr(module, "bidirectional", False) for module in modules):
        raise InputError(
            "a bidirectional layer cannot be cut into windows", fix="use one direction, or checkpoint_every"
        )
