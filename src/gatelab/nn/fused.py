"""Layers by way of the kernels of ``gatelab.kernels``: which can, and how.

``scan`` is the fast twin of ``open_loop.scan``. It projects the input of all steps at once and leaves what has to
happen step after step to the operator of ``recurrence``.

Not here: low precision, CUDA, ``torch.func`` transforms (which cannot see into an operator like this); ``supports``
says no, and the layer takes another way.

T time, B batch, I input, H hidden, G gates, N rows of all steps together.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from gatelab.nn import modes, open_loop
from gatelab.nn.hooks import Noise, Weights
from gatelab.nn.operator import recurrence
from gatelab.nn.packing import State, batch_of, steps_of
from gatelab.nn.recurrence import Arguments

if TYPE_CHECKING:
    from gatelab.kernels.step import Stepper
    from gatelab.nn.layers import Recurrent

CELLS = ("rnn", "rnn_relu", "lstm", "lstm_coupled", "gru")
"""The cells that have kernels."""
_said: list[str] = []
_DTYPES = (torch.float32, torch.float64)
# Up to how many steps torch's loop is faster: forward, and in training. A call of the kernels costs some 80 µs more.
_FEW_STEPS = {"rnn": (8, 4), "rnn_relu": (8, 4), "gru": (3, 2)}
_LONG, _MUCH = (40, 16), 1500  # steps (likewise), and rows, from either of which a call pays for an LSTM
_WIDE = 192  # units from which the kernels train an LSTM faster whatever its length
_SOME = 16  # steps that are enough where it is wide
# Forward, they run one faster with up to so many items, with more where many units read no fewer than half as many
# features; and whatever the items where units are few: any up to _SMALL, up to twice as many where features are half as
# many, or units do not fill oneDNN's vectors.
_ITEMS, _MORE_ITEMS = 4, ((1024, 32), (640, 20), (512, 8))
_SMALL, _FILLED = 32, 16
# Extras that have no part in a single step in evaluation, and all that the kernels compute.
_OUTSIDE = {"input_dropout", "recurrent_dropout", "weight_drop", "learn_initial_state"}
_KNOWN = _OUTSIDE | {"layer_norm", "zoneout", "peephole"}


# ---- who computes --------------------------------------------------------------------------------------------------


def supports(layer: Recurrent, x: Tensor) -> bool:
    """Whether ``scan`` computes ``layer`` for input like ``x (…, I)``; without Numba it computes nothing."""
    return _has_kernel(layer) and _readable(x) and _numba()


def prefers_torch(layer: Recurrent, input: Tensor | PackedSequence) -> bool:
    """Whether torch's own code is the better way for a plain layer, whether or not it has a kernel.

    It is for a few steps, since a call of the kernels costs more than one of torch's, and packs the weights. On a CPU,
    torch hands a dense LSTM in float32 to oneDNN, which runs it faster than the kernels where many items meet the
    weights of many units, and trains it faster where it is small and short. The bounds are measured (``docs/log.md``).
    """
    if isinstance(input, PackedSequence):
        return False
    T, few = steps_of(layer, input), _FEW_STEPS.get(layer.cell)
    if few is not None and few[False] < T:
        return False
    if torch.compiler.is_compiling() or modes.transformed():
        return False
    if "parametrizations" in layer._modules:  # torch's code keeps what they compute, and copies can no longer be made
        return False
    training = torch.is_grad_enabled() and (input.requires_grad or layer.weight_hh_l0.requires_grad)
    if few is not None:
        return few[training] >= T
    if layer.cell != "lstm" or input.dtype != torch.float32:
        return False
    return _prefers_onednn(layer.input_size, layer.hidden_size, batch_of(layer, input), T, training)


def _prefers_onednn(I: int, H: int, B: int, T: int, training: bool) -> bool:  # noqa: E741
    short = _LONG[training] > T and T * B < _MUCH
    if training:
        return short and H < _WIDE
    more = (items for units, items in _MORE_ITEMS if units <= H and H <= 2 * I)
    few = next(more, _ITEMS) >= B
    if short:
        return not few or H < _WIDE or T < _SOME
    small = H <= _SMALL or (H <= 2 * _SMALL and (2 * I <= H or H % _FILLED != 0))
    return not few and not small


def _has_kernel(layer: Recurrent) -> bool:
    known = all(extra.name in _KNOWN for extra in layer.extras)
    return known and layer.cell in CELLS and not layer.proj_size


def _readable(x: Tensor) -> bool:
    if not x.is_cpu or x.dtype not in _DTYPES or not x.numel():
        return False
    return torch.compiler.is_compiling() or (modes.in_memory(x) and not torch.is_autocast_enabled("cpu"))


def _numba() -> bool:
    why = modes.numba_missing()
    if why and not _said and not torch.compiler.is_compiling():
        _said.append(f"gatelab: {why} the recurrent layers run several times slower; pip install numba mends that")
        print(_said[0], file=sys.stderr)  # noqa: T201
    return not why


# ---- single steps ----------------------------------------------------------------------------------------------------


def steppers(layer: Recurrent, B: int) -> list[Stepper] | None:
    """What takes single steps of each stacked layer with its weights of now; None where there is no kernel for that."""
    like = layer.weight_ih_l0
    plain = {extra.name for extra in layer.extras} <= _OUTSIDE
    if not (plain and _has_kernel(layer) and like.device.type == "cpu" and like.dtype in _DTYPES and _numba()):
        return None
    from gatelab.kernels.step import Stepper

    made = []
    for name in layer.scan_names:
        w = open_loop.weights_of(layer, name)
        weights = (w.weight_ih.detach().numpy(), w.weight_hh.detach().numpy())
        made.append(Stepper(layer.cell, (*weights, *_biases(layer, w)), B))
    return made


def _biases(layer: Recurrent, w: Weights) -> tuple[np.ndarray, np.ndarray]:
    """Both biases as one where they only ever add up ``(G·H,)``, and the GRU's that its reset gate reaches ``(H,)``."""
    width, H = w.weight_hh.shape
    if w.bias_ih is None or w.bias_hh is None:
        nothing = w.weight_hh.new_zeros(width).numpy()
        return nothing, nothing[:H]
    first, second = w.bias_ih.detach().numpy(), w.bias_hh.detach().numpy()
    if layer.cell != "gru":
        return first + second, second[:H]  # of which only the GRU reads the second
    return np.concatenate([first[: 2 * H] + second[: 2 * H], first[2 * H :]]), second[2 * H :]


# ---- the twin of open_loop.scan --------------------------------------------------------------------------------------


def scan(
    layer: Recurrent,
    w: Weights,
    noise: Noise,
    rows: Tensor,
    batch_sizes: Tensor | None,
    state: State,
    reverse: bool,
) -> tuple[Tensor, State]:
    """One stacked layer over all steps in one direction; arguments and result as in ``open_loop.scan``."""
    for extra in layer.extras:
        rows = extra.inputs(noise, rows, batch_sizes, len(state[0]))
    weights = (w.weight_ih, w.weight_hh, w.bias_ih, w.bias_hh)
    c = state[1] if len(state) > 1 else None
    learned = (rows, *weights, state[0], c, w.norm_ih, w.norm_hh, w.norm_c, w.norm_c_bias, w.peephole)
    keep = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in learned)
    masks = (noise.recurrent, *_zoneout(noise))
    result = recurrence(Arguments(layer.cell, reverse, keep, _offsets(batch_sizes), *learned, *masks))
    return result[0], result[1 : 1 + len(state)]


def _offsets(batch_sizes: Tensor | None) -> Tensor | None:
    """The first row of each step, and N: ``(T + 1,)`` int64; None for a dense batch."""
    return None if batch_sizes is None else torch.nn.functional.pad(batch_sizes.cumsum(0), (1, 0))


def _zoneout(noise: Noise) -> tuple[Tensor | None, Tensor | None, float, float]:
    masks = [k if isinstance(k, Tensor) else None for k in (noise.zoneout_h, noise.zoneout_c)]
    shares = [0.0 if isinstance(k, Tensor) else float(k) for k in (noise.zoneout_h, noise.zoneout_c)]
    return masks[0], masks[1], shares[0], shares[1]
