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
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import torch
from torch import Tensor

from gatelab.core.errors import InputError
from gatelab.nn import extras, fused, open_loop
from gatelab.nn.hooks import Weights
from gatelab.nn.packing import STATES, State
from gatelab.nn.shapes import ShapeError, check_state

if TYPE_CHECKING:
    from gatelab.nn.layers import Recurrent

States = list[State]  # of each stacked layer, (B, H) each


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
        before = self._engine.states if hasattr(self, "_engine") else self._initial
        steppers = fused.steppers(self.layer, self.batch_size or 1)
        self._engine = _Open(self.layer, self._initial) if steppers is None else _Kernels(steppers)
        self._engine.states = before

    @overload
    def __call__(self, x: Tensor) -> Tensor: ...
    @overload
    def __call__(self, x: np.ndarray) -> np.ndarray: ...
    def __call__(self, x):
        """The output ``(H,)`` or ``(B, H)`` for the next step ``x (I,)`` or ``(B, I)``: an array unless x is a tensor.

        Raises:
            ShapeError: ``x`` has another shape.
        """
        batch = () if self.batch_size is None else (self.batch_size,)
        x = x if isinstance(x, (Tensor, np.ndarray)) else np.asarray(x)
        expected, got = (*batch, self.layer.input_size), tuple(x.shape)
        if got != expected:
            fix = "give one step at a time; `layer.stream(batch_size=B)` makes a stream of B sequences"
            raise ShapeError("the input does not fit the stream", expected=expected, got=got, fix=fix)
        y = self._engine(x if batch else x.reshape(1, -1), self.steps)  # (B, H)
        self.steps += 1
        return y if batch else y[0]

    @property
    def state(self) -> Tensor | tuple[Tensor, ...]:
        """The state as the layer gives and takes it: ``(L, B, H)``, or ``(L, H)``; the LSTM's a pair."""
        states = tuple(map(torch.stack, zip(*self._engine.states, strict=True)))  # (L, B, H) each
        states = states if self.batch_size is not None else tuple(s.squeeze(1) for s in states)
        return states if len(states) > 1 else states[0]

    @state.setter
    def state(self, hx: Tensor | Sequence[Tensor]) -> None:
        """Goes on from another state, in the layer's form; ``steps`` stays.

        Raises:
            ShapeError: it does not fit.
        """
        self._begin(hx)

    def reset(self, rows: Sequence[int] | np.ndarray | Tensor | None = None) -> None:
        """Begins anew from the layer's own initial state: the given sequences of the batch, or all.

        Args:
            rows: their numbers, or a bool mask ``(B,)``.

        Raises:
            InputError: there is no such sequence, or the layer keeps statistics for each step (``batch_norm``), so that
                all sequences have to be at the same step.
        """
        if rows is None:
            self._engine.states, self.steps = self._initial, 0
            return
        if getattr(self.layer, "batch_norm", False):
            raise InputError("the sequences of a layer with batch_norm share their steps", fix="reset all of them")
        chosen = self._mask(rows)  # (B, 1)
        self._engine.states = [
            tuple(torch.where(chosen, i, s) for i, s in zip(initial, state, strict=True))
            for initial, state in zip(self._initial, self._engine.states, strict=True)
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
        self._engine.states = list(zip(*(s.unbind() for s in batched), strict=True))

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


class _Open:
    """A layer step by step in torch operations: any cell, any extra, any device.

    The weights are those of now, and the mode is that of evaluation.
    """

    def __init__(self, layer: Recurrent, states: States):
        self.layer = object.__new__(type(layer))  # shares everything with the layer but its mode
        self.layer.__dict__.update(vars(layer), training=False)
        self.weights = [_copied(open_loop.weights_of(layer, name)) for name in layer.scan_names]
        drawn = zip(self.weights, states, strict=True)
        self.noise = [extras.draw(self.layer, w, state[0], state) for w, state in drawn]
        self.states = states

    @torch.no_grad()
    def __call__(self, x: Tensor | np.ndarray, steps: int) -> Any:
        """The output ``(B, P or H)`` for the input ``(B, I)``, of its kind, after ``steps`` steps."""
        like, after = self.weights[0].weight_ih, []
        rows = torch.as_tensor(x, dtype=like.dtype, device=like.device)  # (B, I)
        for w, quiet, state in zip(self.weights, self.noise, self.states, strict=True):
            w = w if w.statistics is None else w._replace(statistics=w.statistics.from_step(steps))
            rows, state = open_loop.scan(self.layer, w, quiet, rows, None, state, False)  # (B, H)
            after.append(state)
        self.states = after
        return rows.clone() if isinstance(x, Tensor) else array_of(rows).copy()  # the state shares its memory


class _Kernels:
    """The same by the kernels, for plain cells on a CPU."""

    def __init__(self, steppers: list[Any]):
        self.steppers = steppers
        self.dtype = steppers[0].h.dtype

    @property
    def states(self) -> States:
        """Copies of the states."""
        return [tuple(torch.from_numpy(array.copy()) for array in stepper.state) for stepper in self.steppers]

    @states.setter
    def states(self, states: States) -> None:
        for stepper, state in zip(self.steppers, states, strict=True):
            for array, tensor in zip(stepper.state, state, strict=True):
                array[...] = tensor.detach().numpy()

    def __call__(self, x: Tensor | np.ndarray, steps: int) -> Any:
        """The output ``(B, H)`` for the input ``(B, I)``, of its kind."""
        if isinstance(x, Tensor):
            return torch.from_numpy(self(x.detach().to("cpu").numpy(), steps))
        rows = np.ascontiguousarray(x, self.dtype)  # (B, I)
        for stepper in self.steppers:
            rows = stepper(rows)
        return rows.copy()  # the next step replaces it


def _copied(w: Weights) -> Weights:
    """The weights of now: what training does to the layer's own goes unnoticed."""
    fields: dict[str, Any] = w._asdict()
    return Weights(**{k: v.detach().clone() if isinstance(v, Tensor) else copy.deepcopy(v) for k, v in fields.items()})


def array_of(x: Tensor) -> np.ndarray:
    """As NumPy has it; bfloat16, which it has not, as float32."""
    return (x.float() if x.dtype == torch.bfloat16 else x).detach().cpu().numpy()
