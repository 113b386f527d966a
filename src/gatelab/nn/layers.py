"""``RNN``, ``LSTM`` and ``GRU``: ``torch.nn``'s layers, opened up.

Constructor, attributes, call and state-dict keys are those of ``torch.nn``, and so is the arithmetic wherever
``torch.nn`` computes the right thing. What it does not compute runs in ``open_loop``. Each layer can be traced
(``gatelab.nn.trace``) and says in plain words which shape it wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gatelab.core.errors import InputError
from gatelab.nn import open_loop


class ShapeError(InputError, RuntimeError):
    """A tensor of the wrong shape; a ``RuntimeError`` too, as ``torch.nn`` raises for some of these."""


class Recurrent(nn.RNNBase):
    """What gatelab's layers add to ``torch.nn.RNNBase``; comes before torch's own class in the order of bases."""

    @property
    def cell(self) -> str:
        """The cell's name in ``gatelab.cells.CELLS``."""
        raise NotImplementedError

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """Units of each state: ``(H,)``, and ``(P or H, H)`` for the LSTM's h and c."""
        return (self.hidden_size,)

    @property
    def fused(self) -> bool:
        """Whether ``torch.nn`` computes what this layer is; otherwise the open loop does."""
        return True

    def forward(self, input, hx=None):
        """Outputs of the last layer at every step, and the final states of all layers; see ``torch.nn``.

        Args:
            input: ``(T, B, I)``, ``(B, T, I)`` with ``batch_first``, ``(T, I)`` without a batch, or packed.
            hx: initial state ``(L·D, B, H)``, the LSTM's a pair ``(h, c)``; zeros where not given.

        Raises:
            ShapeError: a shape that does not fit, with the shape that would.
        """
        check_shapes(self, input, hx)
        return super().forward(input, hx) if self.fused else open_loop.run(self, input, hx)


class RNN(Recurrent, nn.RNN):
    """Elman's recurrent network (1990), ``h' = tanh(x W_ih + b_ih + h W_hh + b_hh)``; as ``torch.nn.RNN``."""

    @property
    def cell(self) -> str:
        """``rnn``, or ``rnn_relu`` with ``nonlinearity="relu"``."""
        return "rnn" if self.nonlinearity == "tanh" else "rnn_relu"


class LSTM(Recurrent, nn.LSTM):
    """Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate, Gers et al. 2000); as ``torch.nn.LSTM``."""

    cell = "lstm"

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """Units of h (``proj_size`` where given) and of c."""
        return (self.proj_size or self.hidden_size, self.hidden_size)


class GRU(Recurrent, nn.GRU):
    """Gated recurrent unit (Cho et al. 2014); as ``torch.nn.GRU``, with a choice for the reset gate.

    Args:
        reset_after: True, as in torch and cuDNN: ``n = tanh(x W_in + b_in + r ⊙ (h W_hn + b_hn))``.
            False, as in Cho et al. 2014: ``n = tanh(x W_in + b_in + (r ⊙ h) W_hn + b_hn)``, run step by step.
            State dicts have the same keys either way, and hold nothing that tells one from the other.
    """

    def __init__(self, *args, reset_after: bool = True, **kwargs):
        super().__init__(*args, **kwargs)
        self.reset_after = reset_after

    @property
    def cell(self) -> str:
        """``gru`` or ``gru_reset_before``."""
        return "gru" if self.reset_after else "gru_reset_before"

    @property
    def fused(self) -> bool:
        """Only with the reset gate where torch has it."""
        return self.reset_after

    def extra_repr(self) -> str:
        """torch's text, and the place of the reset gate where it is not torch's."""
        return super().extra_repr() + ("" if self.reset_after else ", reset_after=False")


def check_shapes(layer: Recurrent, input, hx) -> None:
    """Raises ``ShapeError`` unless ``layer`` can read ``input`` from the initial state ``hx``."""
    packed = isinstance(input, PackedSequence)
    x = input.data if packed else input
    shape = tuple(x.shape)
    if len(shape) not in ((2,) if packed else (2, 3)) or shape[-1] != layer.input_size:
        advice = "reshape the input, or make the layer with another input_size"
        raise _misfit(layer, "input", _wanted(layer, packed), shape, advice)
    if not packed and 0 in shape[:-1] and not open_loop.batch_sizes_of(layer, input):
        raise _misfit(layer, "input", "at least one time step", shape, "leave empty sequences out")
    if x.dtype != layer.weight_ih_l0.dtype:  # torch's words, and its exception for autocast
        nn.RNNBase.check_input(layer, x.reshape(1, -1, layer.input_size), None)
    if hx is not None:
        unbatched = not packed and len(shape) == 2
        _check_state(layer, hx, () if unbatched else (open_loop.batch_sizes_of(layer, input)[0],))


def _wanted(layer: Recurrent, packed: bool) -> str:
    size = layer.input_size
    if packed:
        return f"packed rows (N, {size})"
    axes = f"(B, T, {size}): batch, time" if layer.batch_first else f"(T, B, {size}): time, batch"
    return f"{axes}, features; or (T, {size}) without a batch"


def _check_state(layer: Recurrent, hx, batch: tuple[int, ...]) -> None:
    count = layer.num_layers * (2 if layer.bidirectional else 1)
    wanted = [(count, *batch, size) for size in layer.state_sizes]
    advice = "leave hx out to begin from zeros, or give L·D, B, H (layers times directions, batch, hidden)"
    states = [hx] if len(wanted) == 1 else hx
    whole = isinstance(states, (list, tuple)) and len(states) == len(wanted)
    if not whole or not all(isinstance(state, Tensor) for state in states):
        text = f"a tensor {wanted[0]}" if len(wanted) == 1 else f"a pair (h, c) of {wanted[0]} and {wanted[1]}"
        got = f"{type(hx).__name__} of {len(hx)}" if isinstance(hx, (list, tuple)) else type(hx).__name__
        raise _misfit(layer, "initial state", text, got, advice)
    for name, state, shape in zip(open_loop.STATES, states, wanted, strict=False):
        if tuple(state.shape) != shape:
            raise _misfit(layer, f"initial state {name}", shape, tuple(state.shape), advice)


def _misfit(layer: Recurrent, what: str, expected, got, fix: str) -> ShapeError:
    return ShapeError(f"{type(layer).__name__}: the {what} does not fit", expected=expected, got=got, fix=fix)


LAYERS: Mapping[str, Callable[..., Recurrent]] = {"rnn": RNN, "lstm": LSTM, "gru": GRU}
"""The layer of each family of ``gatelab.cells.CELLS``."""
