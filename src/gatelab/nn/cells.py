"""``RNNCell``, ``LSTMCell`` and ``GRUCell``: one step at a time, as ``torch.nn``'s cells, with gatelab's variants.

Constructor, call and state-dict keys are those of ``torch.nn``. Where torch has the cell, torch's own code computes it;
the variants, and every step that is traced, are computed by the very functions that the layers' open loop calls.

B batch, I input, H hidden, G gates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from gatelab.core.errors import InputError
from gatelab.nn import modes, open_loop
from gatelab.nn.hooks import Weights
from gatelab.nn.shapes import ShapeError

Observer: TypeAlias = Callable[[open_loop.State, open_loop.Record], None]  # (state after the step, record)


class RecurrentCell(nn.RNNCellBase):
    """What gatelab's cells add to ``torch.nn.RNNCellBase``; comes before torch's own class in the order of bases."""

    states: tuple[str, ...] = ("h",)
    """Names of the states that go from step to step."""

    @property
    def cell(self) -> str:
        """The cell's name in ``gatelab.cells.CELLS``."""
        raise NotImplementedError

    @property
    def plain(self) -> bool:
        """Whether ``torch.nn`` computes the same."""
        return True

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        """The state after a step; see ``torch.nn``.

        Args:
            input: ``(B, I)``, or ``(I,)`` without a batch.
            hx: state before the step, ``(B, H)`` or ``(H,)``, the LSTM's a pair ``(h, c)``; zeros where not given.

        Returns:
            The state after it, in the same form.

        Raises:
            ShapeError: a shape that does not fit, with the shape that would.
        """
        check_step(self, input, hx)
        return super().forward(input, hx) if self.plain and not modes.transformed() else self.step(input, hx)

    def step(self, input: Tensor, hx: Any = None, observe: Observer | None = None) -> Any:
        """``forward`` in the open: ``observe`` is handed the state after the step, and all it was computed from."""
        batched, shape = input.dim() == 2, (*input.shape[:-1], self.hidden_size)
        given = hx if isinstance(hx, (tuple, list)) else (hx,) * len(self.states)
        states = tuple(torch.zeros(shape, dtype=input.dtype, device=input.device) if s is None else s for s in given)
        before = states if batched else tuple(s.unsqueeze(0) for s in states)  # (B, H) each
        w = Weights(self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        a = linear(input if batched else input.unsqueeze(0), w.weight_ih, w.bias_ih)  # (B, G·H)
        after, record = open_loop.STEPS[self.cell](w, a, before)  # (B, H) each
        if observe is not None:
            observe(after, record)
        after = after if batched else tuple(s.squeeze(0) for s in after)
        return after if len(after) > 1 else after[0]


class RNNCell(RecurrentCell, nn.RNNCell):
    """Elman's recurrent network (1990), one step of it; as ``torch.nn.RNNCell``.

    Raises:
        InputError: a ``nonlinearity`` other than ``"tanh"`` and ``"relu"``.
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh", **factory):
        super().__init__(input_size, hidden_size, bias, nonlinearity, **factory)
        if nonlinearity not in ("tanh", "relu"):
            raise InputError(f"RNNCell cannot have the nonlinearity {nonlinearity!r}", expected="'tanh' or 'relu'")

    @property
    def cell(self) -> str:
        """``rnn``, or ``rnn_relu`` with ``nonlinearity="relu"``."""
        return "rnn" if self.nonlinearity == "tanh" else "rnn_relu"


class LSTMCell(RecurrentCell, nn.LSTMCell):
    """Long short-term memory (Hochreiter & Schmidhuber 1997), one step of it; as ``torch.nn.LSTMCell``.

    Args:
        coupled: True for i = 1 − f (Greff et al. 2017, arXiv:1503.04069): gates f, g, o, weights of 3·H rows.
    """

    states = ("h", "c")

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, *, coupled: bool = False, **factory):
        nn.RNNCellBase.__init__(self, input_size, hidden_size, bias, num_chunks=3 if coupled else 4, **factory)
        self.coupled = coupled

    @property
    def cell(self) -> str:
        """``lstm`` or ``lstm_coupled``."""
        return "lstm_coupled" if self.coupled else "lstm"

    @property
    def plain(self) -> bool:
        """Only with an input gate of its own."""
        return not self.coupled

    def extra_repr(self) -> str:
        """torch's text, and the coupling where there is one."""
        return super().extra_repr() + (", coupled=True" if self.coupled else "")


class GRUCell(RecurrentCell, nn.GRUCell):
    """Gated recurrent unit (Cho et al. 2014), one step of it; as ``torch.nn.GRUCell``.

    Args:
        reset_after: where the reset gate acts, as for ``gatelab.nn.GRU``.
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, *, reset_after: bool = True, **factory):
        super().__init__(input_size, hidden_size, bias, **factory)
        self.reset_after = reset_after

    @property
    def cell(self) -> str:
        """``gru`` or ``gru_reset_before``."""
        return "gru" if self.reset_after else "gru_reset_before"

    @property
    def plain(self) -> bool:
        """Only with the reset gate where torch has it."""
        return self.reset_after

    def extra_repr(self) -> str:
        """torch's text, and the place of the reset gate where it is not torch's."""
        return super().extra_repr() + ("" if self.reset_after else ", reset_after=False")


# ---- checks: torch's words, for who searches for them, and the shape that would fit --------------------------------


def check_step(cell: RecurrentCell, input: Tensor, hx: Any) -> None:
    """Raises ``ShapeError`` unless ``cell`` can read ``input`` from the state ``hx``."""
    I, H, count = cell.input_size, cell.hidden_size, len(cell.states)  # noqa: E741
    if input.dim() not in (1, 2):
        raise _misfit(cell, f"Expected input to be 1D or 2D, got {input.dim()}D instead", _form(I), input)
    if input.shape[-1] != I:
        problem = f"input has inconsistent input_size: got {input.shape[-1]} expected {I}"
        raise _misfit(cell, problem, _form(I), input)
    if hx is None:
        return
    states = (hx,) if count == 1 else hx
    if not isinstance(states, (tuple, list)) or [isinstance(s, Tensor) for s in states] != [True] * count:
        expected = f"a tensor {_form(H)}" if count == 1 else f"a pair (h, c), each {_form(H)}"
        raise _misfit(cell, "the state is not what this cell carries", expected, hx)
    for k, state in enumerate(states):
        _check_state(cell, "hidden" if count == 1 else f"hx[{k}]", k, state, input, (*input.shape[:-1], H))


def _check_state(
    cell: RecurrentCell, name: str, index: int, state: Tensor, input: Tensor, wanted: tuple[int, ...]
) -> None:
    got = tuple(state.shape)
    if got == wanted:
        return
    if len(got) not in (1, 2):
        problem = f"Expected {name} to be 1D or 2D, got {len(got)}D instead"
    elif got[-1] != wanted[-1]:
        problem = f"hidden{index} has inconsistent hidden_size: got {got[-1]}, expected {wanted[-1]}"
    else:
        sizes = ["(none)" if len(shape) == 1 else shape[0] for shape in (input.shape, got)]
        problem = f"Input batch size {sizes[0]} doesn't match hidden{index} batch size {sizes[1]}"
    raise _misfit(cell, problem, wanted, state)


def _form(size: int) -> str:
    return f"(B, {size}), or ({size},) without a batch"


def _misfit(cell: RecurrentCell, problem: str, expected: object, got: Any) -> ShapeError:
    shape = tuple(got.shape) if isinstance(got, Tensor) else type(got).__name__
    return ShapeError(f"{type(cell).__name__}: {problem}", expected=expected, got=shape, fix="reshape it")
