"""What a cell is: one step forward, the same step backward, and the names of what goes in and comes out.

A ``Cell`` knows nothing of time, masks, layers or directions: that is ``sequence.py``. A new cell is one file that
ends in a ``Cell`` record, and one line in ``CELLS``; gradient check, masks, truncation and state dicts are then
tested by ``tests/contracts/test_cells.py`` without a test being written.

A variant of a cell is a function from a ``Cell`` to a ``Cell``: ``dataclasses.replace(cell, step=…, step_backward=…)``
with functions that call the old ones. Variants made like that combine in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from gatelab.core.registry import Registry

Array = np.ndarray
Params: TypeAlias = Any  # a cell's own NamedTuple of parameters, such as LSTMParams
State: TypeAlias = Any  # a cell's own NamedTuple of states; its field h is what the step shows
Gates: TypeAlias = Any  # a cell's own NamedTuple of what a step computed on the way


class Quantity(NamedTuple):
    """What a recorded array means, for who draws it."""

    title: str
    """Its name for people, such as ``"forget gate"``."""
    text: str
    """What it says, in half a sentence."""
    low: float | None = None
    """Its least possible value, of a state that starts within the bounds; None where there is no bound."""
    high: float | None = None
    """Its greatest possible value, likewise; None where there is no bound."""
    unit: str = "1"
    """``"1"`` for a pure number, ``"share"`` for a gate between nothing and all."""


def gate(title: str, text: str) -> Quantity:
    """The ``Quantity`` of a sigmoid gate: a share between 0 and 1."""
    return Quantity(title, text, 0.0, 1.0, "share")


@dataclass(frozen=True)
class Cell:
    """One recurrent cell: pure functions, and the names that everything else reads them by."""

    name: str
    """Its name in ``CELLS``."""
    title: str
    """Its name for people."""
    family: str
    """Which layer runs it, by the name of that layer's plain cell: ``rnn``, ``lstm``, ``gru``, ``min_gru``, …"""
    gates: tuple[str, ...]
    """The blocks of H rows that lie on one another in every weight and bias, in order (G of them)."""
    Params: type
    """NamedTuple of the parameters, under torch's names."""
    State: type
    """NamedTuple of the states, each ``(B, H)``; ``h`` is what the step shows."""
    Gates: type
    """NamedTuple of what a step records; ``pre (B, G·H)`` in it are the pre-activations in the order of ``gates``."""
    step: Callable[[Params, Array, State], tuple[State, Gates]]
    """``(params, x, state)`` to the state after the step and the gates."""
    step_backward: Callable[[Params, Array, State, Gates, State], tuple[Array, State, Params]]
    """``(params, x, state, gates, dstate)`` to ``(dx, dstate, dparams)``; ``state`` is the one before the step."""
    quantities: Mapping[str, Quantity]
    """What each array of ``Gates`` (but ``pre``) and ``State`` means."""
    state_gradient: Callable[[Gates, State], State] = lambda gates, dstate: dstate
    """``(gates, dstate)`` to ∂loss/∂state in all, where one state acts through another within the step."""
    keeps: str | None = None
    """The gate that keeps the old state when it is near 1; forget-gate bias and chrono initialisation set its bias."""
    writes: str | None = None
    """The gate that lets new content in when it is near 1, where it is not tied to ``keeps``."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What sets this cell apart within its family, as the layer's keywords: ``{"reset_after": False}``."""
    torch_twin: str | None = None
    """The class of ``torch.nn`` that computes the same; None where torch has none."""
    own_shapes: Callable[[int, int], Mapping[str, tuple[int, ...]]] = lambda input_size, hidden_size: {}
    """Shapes of parameters beyond the four of torch, for sizes ``(I, H)``."""

    def shapes(self, input_size: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
        """The shape of every parameter by name, for ``input_size`` I and ``hidden_size`` H."""
        rows = len(self.gates) * hidden_size
        known: dict[str, tuple[int, ...]] = {
            "weight_ih": (rows, input_size),
            "weight_hh": (rows, hidden_size),
            "bias_ih": (rows,),
            "bias_hh": (rows,),
        }
        known |= self.own_shapes(input_size, hidden_size)
        return {name: known[name] for name in self.Params._fields}

    def sizes(self, params: Params) -> tuple[int, int]:
        """``(I, H)`` as the shape of ``weight_ih (G·H, I)`` tells."""
        rows, input_size = params.weight_ih.shape
        return input_size, rows // len(self.gates)

    def zero_state(self, *shape: int, dtype: Any = np.float64) -> State:
        """The state before the first step: zeros of ``shape``, such as ``(B, H)`` or ``(L·D, B, H)``."""
        return self.State(*(np.zeros(shape, dtype) for _ in self.State._fields))


CELLS = Registry(
    "cell",
    {
        "rnn": "gatelab.cells.rnn:RNN",
        "rnn_relu": "gatelab.cells.rnn:RNN_RELU",
        "lstm": "gatelab.cells.lstm:LSTM",
        "lstm_coupled": "gatelab.cells.lstm_coupled:LSTM_COUPLED",
        "gru": "gatelab.cells.gru:GRU",
        "gru_reset_before": "gatelab.cells.gru:GRU_RESET_BEFORE",
        "min_gru": "gatelab.cells.min_gru:MIN_GRU",
        "min_lstm": "gatelab.cells.min_lstm:MIN_LSTM",
    },
)
"""Every cell by name."""


def combine(function: Callable[..., Array], *records: Any) -> Any:
    """Applies ``function`` field by field to NamedTuples of one type: ``combine(np.add, a, b)`` is their sum."""
    return type(records[0])(*map(function, *records))
