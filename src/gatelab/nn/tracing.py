"""Every gate and state of every step, and how the loss depends on each of them.

    with gatelab.nn.trace(model) as trace:
        loss = criterion(model(x), y)
        loss.backward()
    sweep = trace.sweep("encoder")          # one stacked layer in one direction
    sweep["f"]                              # (T, B, H) forget gates
    sweep.gradient_norm("h")                # (T, B) ‖∂loss/∂h_k‖

While the context is open the model's gatelab layers run in the open loop, and afterwards as before: a layer that is
not traced carries no hook and no flag. What the model returns differs from the untraced pass only by rounding. In
training mode, dropout between layers draws the same masks from torch's stream on a CPU, for ``torch.nn`` draws them
in the same order there; on CUDA, cuDNN draws its own, and the two passes then differ by their masks.

A trace holds the graph of the passes it saw, so that memory is freed when the trace is. Trace a few passes, not a
whole training.

T time, B batch, H hidden, L layers, D directions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gatelab.core.errors import InputError, nearest
from gatelab.nn import open_loop
from gatelab.nn.layers import Recurrent, check_shapes


class Sweep:
    """What one stacked layer computed in one direction, in one call of its module.

    Arrays are time-major whatever the module's ``batch_first`` is, and the items stand in the caller's order. Where
    an item of a packed batch has no such step, there is NaN.
    """

    def __init__(self, batch_sizes: list[int], unsorted: Tensor | None):
        self.steps: dict[str, list[Tensor]] = {}
        """By name, the tensor of each step as it stands in the graph: ``(B_t, H)``, the longest item first."""
        self._batch_sizes = batch_sizes
        self._unsorted = unsorted

    def add(self, t: int, values: open_loop.Record) -> None:
        """Keeps a step's tensors, and has autograd keep their gradients."""
        for name, value in values.items():
            self.steps.setdefault(name, [value] * len(self._batch_sizes))[t] = value
            if value.requires_grad:
                value.retain_grad()

    @property
    def names(self) -> tuple[str, ...]:
        """Everything recorded: states (h, c), gates, and pre-activations (``pre_`` and the gate)."""
        return tuple(self.steps)

    @property
    def lengths(self) -> Tensor:
        """Steps of each item, ``(B,)``."""
        sizes = torch.tensor(self._batch_sizes)  # (T,)
        lengths = (sizes.unsqueeze(1) > torch.arange(self._batch_sizes[0])).sum(dim=0)  # (B,)
        return lengths if self._unsorted is None else lengths[self._unsorted.cpu()]

    def __getitem__(self, name: str) -> Tensor:
        """The values of ``name``, ``(T, B, H)``, outside the graph; ``pre`` gives all gates' pre-activations."""
        return self._padded(name, lambda value: value)

    def gradient(self, name: str) -> Tensor:
        """∂loss/∂name at every step, ``(T, B, H)``: in all, through every later use. Passes backward add up.

        Raises:
            InputError: no backward pass has reached this layer.
        """
        values = [value for kept in self.steps.values() for value in kept]
        if all(value.grad is None for value in values):
            raise InputError(
                "there are no gradients in this trace",
                expected="a backward pass from a loss that depends on this layer, with gradients enabled",
                got="a forward pass alone" if values[0].requires_grad else "a forward pass without gradients",
                fix="call loss.backward() before asking, outside torch.no_grad()",
            )
        return self._padded(name, lambda value: torch.zeros_like(value) if value.grad is None else value.grad)

    def gradient_norm(self, name: str = "h", per_item: bool = True) -> Tensor:
        """‖∂loss/∂name_k‖ for every step k: ``(T, B)`` per item, or ``(T,)`` over the whole batch.

        A loss that is a mean over the batch gives each item a gradient smaller by the factor B.
        """
        gradient = self.gradient(name)  # (T, B, H)
        return gradient.norm(dim=2) if per_item else gradient.nan_to_num(nan=0.0).flatten(1).norm(dim=1)

    def _padded(self, name: str, read: Callable[[Tensor], Tensor]) -> Tensor:
        blocks = [entry for entry in self.steps if entry.startswith("pre_")] if name == "pre" else [name]
        if blocks[0] not in self.steps:
            raise InputError(
                f"the trace has no {name!r}", expected=f"one of {', '.join(self.steps)}", fix=nearest(name, self.steps)
            )
        columns = (self.steps[block] for block in blocks)
        rows = [torch.cat([read(value) for value in step], dim=1) for step in zip(*columns, strict=True)]  # (B_t, H)
        full = rows[0].new_full((len(rows), *rows[0].shape), float("nan"))  # (T, B, H)
        for t, row in enumerate(rows):
            full[t, : len(row)] = row.detach()
        return full if self._unsorted is None else full.index_select(1, self._unsorted)


class Trace:
    """The record of every traced call, by the module's name in the model."""

    def __init__(self, names: tuple[str, ...], untraced: tuple[str, ...]):
        self.names = names
        """The traced modules; ``""`` is the model itself."""
        self.untraced = untraced
        """Layers of ``torch.nn`` in the model that cannot be traced; ``from_torch`` makes them traceable."""
        self.calls: dict[str, list[dict[tuple[int, int], Sweep]]] = {name: [] for name in names}
        """By module, for each call, the sweep of every (layer, direction)."""

    def sweep(self, name: str | None = None, layer: int = 0, direction: int = 0, call: int = -1) -> Sweep:
        """One stacked layer in one direction.

        Args:
            name: the module's name in the model; may be left out when only one was traced.
            layer: 0 is the one that reads the input.
            direction: 0 forwards, 1 backwards in time.
            call: which call of the module; the last by default.

        Raises:
            InputError: nothing of that name, layer, direction or call was recorded.
        """
        if name is None and len(self.names) == 1:
            name = self.names[0]
        known = ", ".join(repr(entry) for entry in self.names)
        if name not in self.calls:
            raise InputError(f"the trace has no module {name!r}", expected=f"one of {known}", fix="name the module")
        calls = self.calls[name]
        if not -len(calls) <= call < len(calls):
            raise InputError(f"module {name!r} has no call {call}", got=f"{len(calls)} calls while it was traced")
        if (layer, direction) not in calls[call]:
            raise InputError(
                f"module {name!r} has no layer {layer} in direction {direction}",
                expected=f"(layer, direction) among {sorted(calls[call])}",
            )
        return calls[call][layer, direction]

    def clear(self) -> None:
        """Forgets all calls so far, and their graphs."""
        for calls in self.calls.values():
            calls.clear()


class _TracedForward:
    """Stands in for a layer's ``forward`` while traces of it are open."""

    def __init__(self, layer: Recurrent):
        self.layer = layer
        self.before = vars(layer).get("forward")  # some other wrapper's, to be put back
        self.listeners: list[list[dict[tuple[int, int], Sweep]]] = []

    def __call__(self, input, hx=None):
        check_shapes(self.layer, input, hx)
        call: dict[tuple[int, int], Sweep] = {}
        sizes = open_loop.batch_sizes_of(self.layer, input)
        unsorted = input.unsorted_indices if isinstance(input, PackedSequence) else None

        def observe(index: int, direction: int, t: int, state: open_loop.State, record: open_loop.Record) -> None:
            sweep = call.setdefault((index, direction), Sweep(sizes, unsorted))
            sweep.add(t, dict(zip(open_loop.STATES, state, strict=False)) | dict(record))

        result = open_loop.run(self.layer, input, hx, observe)
        for calls in self.listeners:
            calls.append(call)
        return result


def _attach(layer: Recurrent, calls: list) -> None:
    own = vars(layer)  # what stands here is found before the class's method
    if not isinstance(own.get("forward"), _TracedForward):
        own["forward"] = _TracedForward(layer)
    own["forward"].listeners.append(calls)


def _detach(layer: Recurrent, calls: list) -> None:
    own = vars(layer)
    forward = own["forward"]
    forward.listeners = [entry for entry in forward.listeners if entry is not calls]
    if not forward.listeners:
        del own["forward"]
        own.update({} if forward.before is None else {"forward": forward.before})


@contextmanager
def trace(model: nn.Module) -> Iterator[Trace]:
    """Records what every gatelab layer in ``model`` computes while the context is open. Traces may nest.

    Raises:
        InputError: ``model`` holds no layer of gatelab.
    """
    modules = dict(model.named_modules())
    layers = {name: module for name, module in modules.items() if isinstance(module, Recurrent)}
    untraced = tuple(name for name, module in modules.items() if isinstance(module, nn.RNNBase) and name not in layers)
    if not layers:
        raise _nothing_to_trace(model, untraced)
    record = Trace(tuple(layers), untraced)
    attached = []
    try:
        for name, layer in layers.items():
            _attach(layer, record.calls[name])
            attached.append(name)
        yield record
    finally:
        for name in attached:
            _detach(layers[name], record.calls[name])


def _nothing_to_trace(model: nn.Module, untraced: tuple[str, ...]) -> InputError:
    found = [f"{type(model.get_submodule(name)).__name__} {name!r}" for name in untraced]
    return InputError(
        f"{type(model).__name__} has no layer that can be traced",
        expected="a gatelab.nn.RNN, LSTM or GRU inside the model",
        got=f"torch.nn's {', '.join(found)}" if found else "no recurrent layer",
        fix="model = gatelab.nn.from_torch(model) keeps the weights" if found else "trace the module that holds one",
    )
