"""Live data: one step at a time, the state kept inside, no graph.

    stream = layer.stream()
    for x in sensor:  # (I,) each
        y = stream(x)  # (H,)
    np.savez("state.npz", **stream.save())  # another process goes on from here with ``restore``

What a stream gives is what the layer in evaluation mode gives for the whole sequence, whatever mode it is in: no
dropout, and zoneout by its expectation. Its weights are those that the layer had when the stream was made; ``refresh``
reads them anew.

B batch, I input, H hidden, L layers.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import torch
from torch import Tensor

from gatelab.core.errors import InputError
from gatelab.nn import extras, open_loop
from gatelab.nn.hooks import Weights
from gatelab.nn.packing import STATES, State
from gatelab.nn.shapes import ShapeError, check_state

if TYPE_CHECKING:
    from gatelab.nn.layers import Recurrent

Advance = Callable[[Tensor, list[State], int], tuple[Tensor, list[State]]]  # (x (B, I), states, steps before)


class Stream:
    """A layer that is fed step by step; made by ``layer.stream()``.

    Args:
        layer: any layer of gatelab that reads forwards only.
        hx: the state to begin from, as the layer takes it; the layer's own where not given.
        batch_size: sequences that run side by side (B); None for one without a batch. ``hx`` tells it where given.

    Raises:
        InputError: the layer is bidirectional, or the batch would be empty.
        ShapeError: a state that does not fit.
    """

    steps: int
    """Steps since the beginning, or since all sequences were reset."""

    def __init__(self, layer: Recurrent, hx: Any = None, batch_size: int | None = None):
        if layer.bidirectional:
            fix = "use a layer of one direction, or give the layer whole sequences"
            raise InputError("a bidirectional layer cannot be streamed: it would have to know the future", fix=fix)
        if hx is not None and batch_size is None:
            h = hx[0] if isinstance(hx, (tuple, list)) and hx else hx
            batch_size = h.shape[1] if isinstance(h, Tensor) and h.dim() == 3 else None
        if batch_size is not None and batch_size < 1:
            raise InputError("a stream has at least one sequence", expected="1 or more, or None", got=batch_size)
        self.layer = layer
        self.batch_size = batch_size
        self.refresh()
        self.reset()
        if hx is not None:
            self._begin(hx)

    @torch.no_grad()
    def refresh(self) -> None:
        """Reads the layer's weights anew; the state stays."""
        like = self.layer.weight_ih_l0
        states = self.layer.initial_state(self.batch_size or 1, like)  # (L, B, H) each
        self._initial = [tuple(rows.clone() for rows in layer) for layer in zip(*states, strict=True)]
        self._dtype, self._device = like.dtype, like.device
        self._advance = advance_of(self.layer, self._initial)

    @overload
    def __call__(self, x: Tensor) -> Tensor: ...
    @overload
    def __call__(self, x: np.ndarray) -> np.ndarray: ...
    @torch.no_grad()
    def __call__(self, x):
        """The output ``(H,)`` or ``(B, H)`` for the next step ``x (I,)`` or ``(B, I)``: an array unless x is a tensor.

        Raises:
            ShapeError: ``x`` has another shape.
        """
        batch = () if self.batch_size is None else (self.batch_size,)
        expected, got = (*batch, self.layer.input_size), tuple(np.shape(x))
        if got != expected:
            fix = "give one step at a time; `layer.stream(batch_size=B)` makes a stream of B sequences"
            raise ShapeError("the input does not fit the stream", expected=expected, got=got, fix=fix)
        rows = torch.as_tensor(x, dtype=self._dtype, device=self._device).reshape(-1, got[-1])  # (B, I)
        y, self._states = self._advance(rows, self._states, self.steps)
        self.steps += 1
        y = y.clone().reshape(*batch, -1)  # a copy, for it may share its memory with the state
        return y if isinstance(x, Tensor) else array_of(y)

    @property
    def state(self) -> Tensor | tuple[Tensor, ...]:
        """The state as the layer gives and takes it: ``(L, B, H)``, or ``(L, H)``; the LSTM's a pair."""
        states = tuple(map(torch.stack, zip(*self._states, strict=True)))  # (L, B, H) each
        states = states if self.batch_size is not None else tuple(s.squeeze(1) for s in states)
        return states if len(states) > 1 else states[0]

    def reset(self, rows: Sequence[int] | np.ndarray | Tensor | None = None) -> None:
        """Begins anew from the layer's own initial state: the given sequences of the batch, or all.

        Args:
            rows: their numbers, or a bool mask ``(B,)``.

        Raises:
            InputError: there is no such sequence, or the layer keeps statistics for each step (``batch_norm``), so that
                all sequences have to be at the same step.
        """
        if rows is None:
            self._states, self.steps = list(self._initial), 0  # of each stacked layer, (B, H) each
            return
        if getattr(self.layer, "batch_norm", False):
            raise InputError("the sequences of a layer with batch_norm share their steps", fix="reset all of them")
        chosen = self._mask(rows)  # (B, 1)
        self._states = [
            tuple(torch.where(chosen, i, s) for i, s in zip(initial, state, strict=True))
            for initial, state in zip(self._initial, self._states, strict=True)
        ]

    def save(self) -> dict[str, np.ndarray]:
        """The state as plain arrays: ``h``, for the LSTM ``c``, and ``steps``; ``np.savez`` writes them to a file."""
        states = self.state if isinstance(self.state, tuple) else (self.state,)
        arrays = {name: array_of(s) for name, s in zip(STATES, states, strict=False)}
        return arrays | {"steps": np.array(self.steps)}

    def restore(self, saved: Mapping[str, np.ndarray]) -> None:
        """Goes on from what ``save`` gave, in this process or another; the weights are not in it.

        Raises:
            InputError: an array is missing.
            ShapeError: an array of another shape, as from another layer or batch size.
        """
        names = STATES[: len(self.layer.state_sizes)]
        if missing := {*names, "steps"} - set(saved):
            expected = f"the arrays {', '.join(names)} and steps, from `save` of a stream like this one"
            raise InputError("this is no saved state", expected=expected, got=f"no {', '.join(sorted(missing))}")
        states = tuple(torch.tensor(saved[name]) for name in names)
        self._begin(states if len(states) > 1 else states[0])
        self.steps = int(saved["steps"])

    def _begin(self, hx: Any) -> None:
        check_state(self.layer, hx, () if self.batch_size is None else (self.batch_size,))
        states = (s.detach().to(self._device, self._dtype) for s in (hx if isinstance(hx, (tuple, list)) else (hx,)))
        batched = [(s if self.batch_size is not None else s.unsqueeze(1)).clone() for s in states]  # (L, B, H) each
        self._states = list(zip(*(s.unbind() for s in batched), strict=True))

    def _mask(self, rows: Sequence[int] | np.ndarray | Tensor) -> Tensor:
        B = self.batch_size or 1
        given = torch.as_tensor(rows, device=self._device)
        given = given if given.numel() else given.long()  # no numbers have torch's usual type, which is float
        if given.dtype == torch.bool and given.shape == (B,):
            return given.unsqueeze(1)
        whole = given.dim() == 1 and not given.is_floating_point() and given.dtype != torch.bool
        if not whole or ((given < 0) | (given >= B)).any():
            expected = f"numbers from 0 to {B - 1}, or a bool mask ({B},)"
            raise InputError("the stream has no such sequences", expected=expected, got=rows)
        return torch.zeros(B, 1, dtype=torch.bool, device=self._device).index_fill(0, given.long(), True)


def advance_of(layer: Recurrent, states: list[State]) -> Advance:
    """One step of ``layer`` as a function, with its weights of now, in evaluation mode.

    Args:
        layer: a layer of one direction.
        states: of each stacked layer ``(B, H)``, for their sizes.

    Returns:
        From the input ``(B, I)``, the states of the stacked layers before and how many steps there were, to the output
        ``(B, P or H)`` and the states after.
    """
    still = object.__new__(type(layer))  # shares everything with the layer but its mode
    still.__dict__.update(vars(layer), training=False)
    weights = [_copied(open_loop.weights_of(layer, name)) for name in layer.scan_names]
    noise = [extras.draw(still, w, states[0][0], state) for w, state in zip(weights, states, strict=True)]

    def advance(x: Tensor, states: list[State], steps: int) -> tuple[Tensor, list[State]]:
        after = []
        for w, quiet, state in zip(weights, noise, states, strict=True):
            w = w if w.statistics is None else w._replace(statistics=w.statistics.from_step(steps))
            # Not the layer's fast scan, which lays the weights out for many steps before it takes the first.
            x, state = open_loop.scan(still, w, quiet, x, None, state, False)  # (B, H)
            after.append(state)
        return x, after

    return advance


def _copied(w: Weights) -> Weights:
    """The weights of now: what training does to the layer's own goes unnoticed."""
    fields: dict[str, Any] = w._asdict()
    return Weights(**{k: v.detach().clone() if isinstance(v, Tensor) else copy.deepcopy(v) for k, v in fields.items()})


def array_of(x: Tensor) -> np.ndarray:
    """As NumPy has it; bfloat16, which it has not, as float32."""
    return (x.float() if x.dtype == torch.bfloat16 else x).detach().cpu().numpy()
