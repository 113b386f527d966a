"""``MinGRU`` and ``MinLSTM``: layers without recurrent weights, run in parallel over time (Feng et al. 2024).

"Were RNNs all we needed?", arXiv:2410.01201, in the plain form; ``gatelab.cells.min_gru`` and ``min_lstm`` hold the
equations. Their gates see the input alone, so that all gates of all steps are one multiplication, and the states are
a linear recurrence, which takes log₂ T rounds instead of T steps (``linear_recurrence``). What a unit knows of the
others' past, it knows through the layer below: stack two or more.

T time, B batch, I input, H hidden, G gates, L layers, D directions, N rows of all steps together.
"""

from __future__ import annotations

from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from gatelab.cells.cell import CELLS
from gatelab.nn import open_loop
from gatelab.nn.extras import Options
from gatelab.nn.hooks import Moment, Noise, Weights
from gatelab.nn.layers import Recurrent
from gatelab.nn.linear_recurrence import GATES, linear_recurrence
from gatelab.nn.packing import State


class Minimal(Recurrent):
    """What the minimal layers have in common: constructor, call and state of ``torch.nn.GRU``.

    The parameters of each stacked layer and direction are ``weight_ih_l0 (G·H, I)`` and ``bias_ih_l0 (G·H,)``.

    Args:
        input_size: I.
        hidden_size: H.
        num_layers: L.
        bias: whether there are biases.
        batch_first: whether input and output are ``(B, T, …)``.
        dropout: probability, between layers.
        bidirectional: whether each layer also reads backwards.
        device: where the parameters are made.
        dtype: their type.
        init: as for ``Recurrent``.
        checkpoint_every: as for ``Recurrent``.
        extras: those of ``Recurrent`` that do without recurrent weights: input_dropout, zoneout, learn_initial_state.

    Raises:
        InputError: an option this layer does not have, or a value that it cannot have.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device=None,
        dtype=None,
        *,
        init: str = "torch",
        checkpoint_every: int | None = None,
        **extras: Unpack[Options],
    ):
        sizes = (input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype)
        own: dict[str, Any] = {"init": init, "checkpoint_every": checkpoint_every, "extras": extras}
        super().__init__("RNN_TANH", *sizes, **own)  # torch's base class wants the name of a network that it knows
        self.mode = self.family

    def _add_parameters(self) -> None:
        """The cell's own parameters in the place of those that torch's base class made; then those of the extras."""
        like, width = self.weight_ih_l0, self.hidden_size * (2 if self.bidirectional else 1)
        self._parameters.clear()
        for name in self.scan_names:
            shapes = CELLS[self.cell].shapes(self.input_size if name.startswith("l0") else width, self.hidden_size)
            for key, shape in shapes.items():
                if self.bias or not key.startswith("bias_"):
                    self.register_parameter(f"{key}_{name}", nn.Parameter(like.new_empty(shape)))
        self._flat_weights_names = list(self._parameters)
        self._all_weights = [[key for key in self._parameters if key.endswith(f"_{name}")] for name in self.scan_names]
        self._init_flat_weights()
        nn.RNNBase.reset_parameters(self)
        super()._add_parameters()

    def flatten_parameters(self) -> None:
        """Nothing: cuDNN, for which torch lays weights side by side, has no such layer."""

    @property
    def cell(self) -> str:
        """The cell's name in ``gatelab.cells.CELLS``."""
        return self.family

    @property
    def _torchs_cell(self) -> bool:
        return False

    def _scan_for(self, x: Tensor) -> open_loop.Scan:
        return scan


class MinGRU(Minimal):
    """The minimal GRU, ``h' = (1 − z) ⊙ n + z ⊙ h`` with gates z, n of the input alone; see ``Minimal``.

    As in the GRU of torch, z keeps the old state; the paper's z is 1 − z.
    """

    family = "min_gru"


class MinLSTM(Minimal):
    """The minimal LSTM, ``h' = (f ⊙ h + i ⊙ g) / (f + i)`` with gates i, f, g of the input alone; see ``Minimal``."""

    family = "min_lstm"


def scan(
    layer: Recurrent,
    w: Weights,
    noise: Noise,
    rows: Tensor,
    batch_sizes: Tensor | None,
    state: State,
    reverse: bool,
) -> tuple[Tensor, State]:
    """What ``open_loop.scan`` gives for a minimal cell, all steps at once; arguments and result as there.

    A sequence that has ended keeps its state over the steps that others still have: decay 1, nothing added.
    """
    (h,) = state  # (B, H)
    B, N = len(h), len(rows)
    T = N // max(B, 1) or 1 if batch_sizes is None else len(batch_sizes)  # of an empty batch, one empty step
    place = None if batch_sizes is None else _places(batch_sizes, N, B).to(rows.device)  # (N,)
    kept, added = _factors(layer, w, noise, rows, batch_sizes, B)  # (N, H) each
    decay, drive = _by_step(kept.to(h.dtype), place, T, B, 1.0), _by_step(added.to(h.dtype), place, T, B, 0.0)
    if reverse:
        decay, drive = decay.flip(0), drive.flip(0)  # (T, B, H) each
    states = linear_recurrence(decay, drive, h)  # (T, B, H)
    outputs = (states.flip(0) if reverse else states).flatten(0, 1)  # (T·B, H)
    return outputs if place is None else outputs.index_select(0, place), (states[-1],)


def _factors(
    layer: Recurrent, w: Weights, noise: Noise, rows: Tensor, batch_sizes: Tensor | None, B: int
) -> tuple[Tensor, Tensor]:
    """What each row's step keeps of the state and what it adds to it, ``(N, H)`` each, with the extras' part in it."""
    for extra in layer.extras:
        rows = extra.inputs(noise, rows, batch_sizes, B)
    kept, added, _ = GATES[layer.cell](linear(rows, w.weight_ih, w.bias_ih))  # (N, H) each
    # An extra turns kept ⊙ h + added into something that is linear in h again, and does so with each part by itself.
    moment, old = Moment(layer, layer.extras, noise), kept.new_ones(1).expand_as(kept)  # (N, H)
    (kept,), (added,) = moment.carried((kept,), (old,)), moment.carried((added,), (0 * old,))
    return kept, added


def _places(batch_sizes: Tensor, N: int, B: int) -> Tensor:
    """Where each row of a packed batch lies among the T·B of a padded one, ``(N,)`` int64 on the CPU."""
    before = torch.arange(len(batch_sizes)) * B - (batch_sizes.cumsum(0) - batch_sizes)  # (T,) padding above the step
    return torch.arange(N) + before.repeat_interleave(batch_sizes, output_size=N)


def _by_step(rows: Tensor, place: Tensor | None, T: int, B: int, filling: float) -> Tensor:
    """``rows (N, H)`` as ``(T, B, H)``, with ``filling`` where a packed batch has no row."""
    if place is not None:
        rows = rows.new_full((T * B, rows.shape[1]), filling).index_copy(0, place, rows)  # (T·B, H)
    return rows.unflatten(0, (T, B))  # (T, B, H)
