"""Every gate and state of every step, and how the loss depends on each of them.

    with gatelab.nn.trace(model) as trace:
        loss = criterion(model(x), y)
        loss.backward()
    trace["encoder"]["l0"]["f"]                   # (T, B, H) forget gates of the module called "encoder"
    trace["encoder"]["l0"]["zf"]                  # (T, B, H) what went into their sigmoid
    trace["encoder"]["l0"]["dc"]                  # (T, B, H) ∂loss/∂c_k
    trace["encoder"].gradient_norm("l0", "h")     # (T, B) ‖∂loss/∂h_k‖

Names are those of ``gatelab.cells.Trace``, whatever extras a layer has. ``h`` and ``c`` are the states that go on to
the next step, after zoneout; a pre-activation holds the normalised products, and what a gate sees of the cell through
its peephole; ``tanh_c`` is what the output gate lets through, of the normalised cell where there is one.

While the context is open the model's gatelab layers run in the open loop, and its cells by the same steps; afterwards
all is as before: a layer that is not traced carries no hook and no flag. What the model returns differs from the
untraced pass only by rounding. In training mode, dropout between layers draws the same masks from torch's stream on a
CPU, for ``torch.nn`` draws them in the same order there; on CUDA, cuDNN draws its own, and the two passes then differ
by their masks.

A trace holds the graph of the passes it saw, so that memory is freed when the trace is. Trace a few passes, not a
whole training.

T time, B batch, H hidden, L layers, D directions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from gatelab.cells.cell import CELLS
from gatelab.core.errors import InputError, nearest
from gatelab.nn import open_loop, packing
from gatelab.nn.cells import RecurrentCell, check_step
from gatelab.nn.layers import Recurrent
from gatelab.nn.segments import with_resets
from gatelab.nn.shapes import check_shapes

Entry = TypeVar("Entry")
Traced: TypeAlias = Recurrent | RecurrentCell


class Scan:
    """What one stacked layer computed in one direction, in one call of its module.

    Arrays are time-major whatever the module's ``batch_first`` is, and the items stand in the caller's order. Where
    an item of a packed batch has no such step, there is NaN.
    """

    def __init__(self, count: int, place: Tensor):
        self.steps: dict[str, list[Tensor]] = {}
        """By name, the tensor of each step as it stands in the graph: ``(B_t, H)``, the longest item first.

        Of a call with resets, a step holds the rows of all segments that have it, the longest segment first."""
        self._count = count
        self._place = place

    def add(self, t: int, values: open_loop.Record) -> None:
        """Keeps a step's tensors, and has autograd keep their gradients."""
        for name, value in values.items():
            self.steps.setdefault(name, [value] * self._count)[t] = value
            if value.requires_grad:
                value.retain_grad()

    @property
    def names(self) -> tuple[str, ...]:
        """Everything recorded: states (``h``, ``c``), gates (``f``) and pre-activations (``zf``)."""
        return tuple(self.steps)

    def __getitem__(self, name: str) -> Tensor:
        """The values of ``name``, ``(T, B, H)``, outside the graph; with ``d`` before the name, ``gradient``."""
        if name not in self.steps and name[:1] == "d":
            return self.gradient(name[1:])
        return self._padded(self._of(name))

    def gradient(self, name: str) -> Tensor:
        """∂loss/∂name at every step, ``(T, B, H)``: in all, through every later use. Passes backward add up.

        Raises:
            InputError: no backward pass has reached this layer.
        """
        return self._padded(self._gradients(name))

    def gradient_norm(self, name: str = "h", per_item: bool = True) -> Tensor:
        """‖∂loss/∂name_k‖ for every step k: ``(T, B)`` per item, or ``(T,)`` over the whole batch.

        A loss that is a mean over the batch gives each item a gradient smaller by the factor B.
        """
        if per_item:
            return self.gradient(name).norm(dim=2)
        return self._padded(self._gradients(name), 0.0).norm(dim=(1, 2))

    def _of(self, name: str) -> list[Tensor]:
        return _entry(self.steps, name, "the trace of this layer")

    def _gradients(self, name: str) -> list[Tensor]:
        values = self._of(name)
        if all(value.grad is None for kept in self.steps.values() for value in kept):
            raise InputError(
                "there are no gradients in this trace",
                expected="a backward pass from a loss that depends on this layer, with gradients enabled",
                got="a forward pass alone" if values[0].requires_grad else "a forward pass without gradients",
                fix="call loss.backward() before asking, outside torch.no_grad()",
            )
        return [torch.zeros_like(value) if value.grad is None else value.grad for value in values]

    def _padded(self, rows: list[Tensor], padding: float = float("nan")) -> Tensor:
        """From the rows of each step to ``(T, B, H)`` as the caller knows them."""
        none = rows[0].new_full((1, rows[0].shape[1]), padding)  # (1, H)
        return torch.cat([*(row.detach() for row in rows), none])[self._place]


class Call:
    """What a module computed in one call: the ``Scan`` of each stacked layer and direction by name."""

    def __init__(self, cell: str, count: int, place: Tensor):
        self.cell = CELLS[cell]
        """The cell; its ``quantities`` say what each name means."""
        self.layers: dict[str, Scan] = {}
        """``l0``, ``l0_reverse``, ``l1``, …"""
        self._layout = count, place  # steps of a scan; which of all their rows each step of each item is (T, B)

    def observe(self, layer: str, t: int, state: packing.State, record: open_loop.Record) -> None:
        """Keeps a step; called by the open loop."""
        if layer not in self.layers:
            self.layers[layer] = Scan(*self._layout)
        self.layers[layer].add(t, dict(record) | dict(zip(packing.STATES, state, strict=False)))

    def __getitem__(self, layer: str) -> Scan:
        return _entry(self.layers, layer, "the trace of this module")

    def gradient_norm(self, layer: str = "l0", state: str = "h", per_item: bool = True) -> Tensor:
        """``Scan.gradient_norm`` of one layer."""
        return self[layer].gradient_norm(state, per_item)


class Trace:
    """The record of every traced call, by the module's name in the model."""

    def __init__(self, names: tuple[str, ...], untraced: tuple[str, ...]):
        self.names = names
        """The traced modules; ``""`` is the model itself."""
        self.untraced = untraced
        """Layers of ``torch.nn`` in the model that cannot be traced; ``from_torch`` makes them traceable."""
        self.calls: dict[str, list[Call]] = {name: [] for name in names}
        """Every call of each module."""

    def __getitem__(self, name: str) -> Call:
        """The last call of the module ``name``.

        Raises:
            InputError: it is not there, or was not called.
        """
        calls = _entry(self.calls, name, "the trace")
        if not calls:
            raise InputError(f"module {name!r} was not called while it was traced", fix="run the model in the context")
        return calls[-1]

    @property
    def only(self) -> Call:
        """The last call of the one traced module, where there is one.

        Raises:
            InputError: the model has several.
        """
        if len(self.names) > 1:
            raise InputError("the model has several traced modules", expected=f"one of {self.names}", fix="trace[name]")
        return self[self.names[0]]

    def clear(self) -> None:
        """Forgets all calls so far, and their graphs."""
        for calls in self.calls.values():
            calls.clear()


def _entry(table: Mapping[str, Entry], name: str, owner: str) -> Entry:
    if name not in table:
        raise InputError(
            f"{owner} has no {name!r}",
            expected=f"one of {', '.join(map(repr, table))}",
            fix=f"did you mean {nearest(name, table)}?",
        )
    return table[name]


class _TracedForward:
    """Stands in for a layer's ``forward`` while traces of it are open."""

    def __init__(self, layer: Any):
        self.layer = layer
        self.before = vars(layer).get("forward")  # some other wrapper's, to be put back
        self.listeners: list[list[Call]] = []

    def __call__(self, input, hx=None, resets=None):
        check_shapes(self.layer, input, hx)
        N, B = len(packing.rows_of(self.layer, input)), packing.batch_of(self.layer, input)
        place = packing.as_called(input, packing.grid(packing.batch_sizes_of(input), N, B))  # (T, B)
        record = partial(self._record, place)
        return record(input, hx) if resets is None else with_resets(self.layer, input, hx, resets, record)

    def _record(self, place: Tensor, input, hx, moved: Tensor | None = None):
        """Runs the layer. ``place (T, B)`` is the row of each step of each item before ``moved (N,)`` moved it."""
        if moved is not None:
            place = torch.cat([moved, moved.new_tensor([len(moved)])]).cpu()[place]
        sizes = packing.counts(
            packing.batch_sizes_of(input), len(packing.rows_of(self.layer, input)), packing.batch_of(self.layer, input)
        )
        call = Call(self.layer.cell, len(sizes), place)
        result = open_loop.run(self.layer, input, hx, call.observe)
        for calls in self.listeners:
            calls.append(call)
        return result


class _TracedStep(_TracedForward):
    """The same for a cell, of which every call is a step: a ``Call`` of one step in one layer."""

    def __call__(self, input, hx=None):
        check_step(self.layer, input, hx)
        B = len(input) if input.dim() == 2 else 1
        call = Call(self.layer.cell, 1, torch.arange(B).unsqueeze(0))
        result = self.layer.step(input, hx, partial(call.observe, "l0", 0))
        for calls in self.listeners:
            calls.append(call)
        return result


def _attach(layer: Traced, calls: list) -> None:
    own = vars(layer)  # what stands here is found before the class's method
    if not isinstance(own.get("forward"), _TracedForward):
        own["forward"] = _TracedStep(layer) if isinstance(layer, RecurrentCell) else _TracedForward(layer)
    own["forward"].listeners.append(calls)


def _detach(layer: Traced, calls: list) -> None:
    own = vars(layer)
    forward = own["forward"]
    forward.listeners = [entry for entry in forward.listeners if entry is not calls]
    if not forward.listeners:
        del own["forward"]
        own.update({} if forward.before is None else {"forward": forward.before})


@contextmanager
def trace(model: nn.Module) -> Iterator[Trace]:
    """Records what every gatelab layer and cell in ``model`` computes while the context is open. Traces may nest.

    Each call of a cell is a step, and a ``Call`` of its own: ``trace.calls["cell"][t]["l0"]["f"]`` is ``(1, B, H)``.

    Raises:
        InputError: ``model`` holds no layer or cell of gatelab.
    """
    modules = dict(model.named_modules())
    layers = {name: module for name, module in modules.items() if isinstance(module, (Recurrent, RecurrentCell))}
    torchs = (nn.RNNBase, nn.RNNCellBase)
    untraced = tuple(name for name, module in modules.items() if isinstance(module, torchs) and name not in layers)
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
