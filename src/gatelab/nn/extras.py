"""What a layer may do beyond ``torch.nn``: one small class each, in one table, in any combination.

A layer's step calls the hooks of ``Moment`` at the few places where an extra can act: on what the multiplications read
and on what they give, on a gate before it is squashed, on the cell before it is shown, on the state before it is
carried on. Each hook hands its value through every extra of the layer in turn, and an extra overrides the hooks that it
needs. A new extra is one class here, one line in ``EXTRAS`` and one in ``Options``.

Extras hold nothing: their settings are attributes of the layer under the names in ``EXTRAS``, and what they learn are
the layer's own parameters. Random masks are drawn once for each scan, from torch's stream, into ``Noise``; whoever
runs the scan (``open_loop`` or ``fused``) computes the same from the same masks.

T time, B batch, I input, H hidden, P projected, G gates, L layers, D directions, N rows of all steps together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict

import torch
from torch import Tensor
from torch.nn.functional import dropout, layer_norm

from gatelab.core.errors import InputError
from gatelab.nn.hooks import Extra, Moment, Noise, Weights, unusable
from gatelab.nn.masks import drawn
from gatelab.nn.packing import State, items_of
from gatelab.nn.statistics import StepStatistics

if TYPE_CHECKING:
    from gatelab.nn.layers import Recurrent

EPSILON = 1e-5  # added to the variance in every normalisation
_EVERY = ("rnn", "lstm", "gru", "min_gru", "min_lstm")  # the last two: without recurrent weights


# ---- normalisation ------------------------------------------------------------------------------------------------


class _Norm(Extra):
    """A gain for every normalised product: γ ⊙ norm(W x) + b; the LSTM also shows tanh(γ_c ⊙ norm(c) + β_c)."""

    gain: float
    other: str

    def checked(self, layer: Recurrent, setting: Any) -> Any:
        if super().checked(layer, setting) and getattr(layer, self.other, False):
            fix = f"leave one of {self.name} and {self.other} out"
            raise InputError(f"{type(layer).__name__} cannot have {self.name} and {self.other} at once", fix=fix)
        return setting

    def sizes(self, layer: Recurrent) -> Mapping[str, int]:
        rows, H = len(layer.weight_ih_l0), layer.hidden_size
        cell = {"norm_c": H, "norm_c_bias": H} if len(layer.state_sizes) == 2 else {}
        return {"norm_ih": rows, "norm_hh": rows, **cell}

    def reset(self, layer: Recurrent) -> None:
        for name in layer.scan_names:
            for key in self.sizes(layer):
                torch.nn.init.constant_(getattr(layer, f"{key}_{name}"), 0.0 if key == "norm_c_bias" else self.gain)


class _LayerNorm(_Norm):
    """Each gate's products normalised over its H units (Ba et al. 2016, arXiv:1607.06450, eq. 20–22)."""

    name, other, gain = "layer_norm", "batch_norm", 1.0

    def projected(self, layer: Recurrent, w: Weights, product: Tensor, sizes: list[int]) -> Tensor:
        return _normalised(product, w.norm_ih, layer.hidden_size)

    def product(self, moment: Moment, w: Weights, product: Tensor, part: slice) -> Tensor:
        return _normalised(product, w.norm_hh[part], moment.layer.hidden_size)

    def shown(self, moment: Moment, w: Weights, c: Tensor) -> Tensor:
        return layer_norm(c, (c.shape[1],), w.norm_c, w.norm_c_bias, EPSILON)


def _normalised(product: Tensor, gain: Tensor, H: int) -> Tensor:
    """Each gate's block of ``product (…, G·H)`` at mean 0 and variance 1, times the gain."""
    return layer_norm(product.unflatten(1, (-1, H)), (H,), eps=EPSILON).flatten(1) * gain


class _BatchNorm(_Norm):
    """Recurrent batch normalisation (Cooijmans et al. 2016, arXiv:1603.09025, eq. 6–8).

    In training, every unit's product is normalised over the batch, with statistics of each time step's own. Population
    means and variances of each step are kept for evaluation (moving averages, momentum 0.1); steps beyond those seen in
    training use the last step's. For a single sequence, or one that is left alone, the population's are used in
    training too.

    The items of a training batch act on one another here: padding is inert, batch mates are not.
    """

    name, other, gain = "batch_norm", "layer_norm", 0.1  # Cooijmans et al., section 4: at 1, tanh begins saturated

    def prepare(self, layer: Recurrent) -> None:
        like = layer.weight_ih_l0
        widths = {key.removeprefix("norm_"): n for key, n in self.sizes(layer).items() if key != "norm_c_bias"}
        for name in layer.scan_names:
            layer.add_module(f"statistics_{name}", StepStatistics(widths, like))

    def reset(self, layer: Recurrent) -> None:
        super().reset(layer)
        for name in layer.scan_names:
            getattr(layer, f"statistics_{name}").reset()

    def noise(self, layer: Recurrent, w: Weights, rows: Tensor, state: State) -> Mapping[str, Any]:
        if layer.training and len(state[0]) < 2 and not w.statistics.seen:
            fix = "train with two sequences or more in a batch"
            raise InputError("batch_norm has no statistics yet", expected="a batch", got="one sequence", fix=fix)
        w.statistics.begin()
        return {}

    def finish(self, layer: Recurrent, w: Weights) -> None:
        w.statistics.commit()

    def projected(self, layer: Recurrent, w: Weights, product: Tensor, sizes: list[int]) -> Tensor:
        steps = product.split(sizes)  # T times (B_t, G·H)
        kept = w.statistics
        return torch.cat([kept.normalise("ih", t, x, w.norm_ih, None, layer.training) for t, x in enumerate(steps)])

    def product(self, moment: Moment, w: Weights, product: Tensor, part: slice) -> Tensor:
        training = moment.layer.training
        return w.statistics.normalise("hh", moment.t, product, w.norm_hh[part], None, training, part)

    def shown(self, moment: Moment, w: Weights, c: Tensor) -> Tensor:
        return w.statistics.normalise("c", moment.t, c, w.norm_c, w.norm_c_bias, moment.layer.training)


# ---- noise --------------------------------------------------------------------------------------------------------


class _Rate(Extra):
    """A probability."""

    default = 0.0

    def checked(self, layer: Recurrent, setting: Any) -> Any:
        return _rate(self, setting)


class _InputDropout(_Rate):
    """One mask for all steps on what weight_ih reads, scaled by 1/(1−p) (Gal & Ghahramani 2016, arXiv:1512.05287)."""

    name, families = "input_dropout", _EVERY

    def noise(self, layer: Recurrent, w: Weights, rows: Tensor, state: State) -> Mapping[str, Any]:
        ones = rows.new_ones(len(state[0]), rows.shape[1])  # (B, I)
        return {"input": dropout(ones, layer.input_dropout)} if layer.training else {}

    def inputs(self, noise: Noise, rows: Tensor, batch_sizes: Tensor | None, B: int) -> Tensor:
        if noise.input is None:
            return rows
        return rows * noise.input[items_of(batch_sizes, len(rows), B).to(rows.device)]  # (N, I)


class _RecurrentDropout(_Rate):
    """One mask for all steps on what weight_hh reads, never on the state that is carried (Gal & Ghahramani 2016)."""

    name = "recurrent_dropout"

    def noise(self, layer: Recurrent, w: Weights, rows: Tensor, state: State) -> Mapping[str, Any]:
        ones = state[0].new_ones(state[0].shape)  # (B, P or H), and not in the state's order of memory: draws follow it
        return {"recurrent": dropout(ones, layer.recurrent_dropout)} if layer.training else {}

    def seen(self, moment: Moment, h: Tensor) -> Tensor:
        mask = moment.noise.recurrent
        return h if mask is None else h * mask[: len(h)]


class _WeightDrop(_Rate):
    """One mask for all sequences and steps on weight_hh itself, scaled by 1/(1−p): DropConnect (Wan et al. 2013).

    Merity et al. 2018 (arXiv:1708.02182), section 2, for recurrent weights.
    """

    name = "weight_drop"

    def noise(self, layer: Recurrent, w: Weights, rows: Tensor, state: State) -> Mapping[str, Any]:
        ones = torch.ones_like(w.weight_hh, requires_grad=False)  # (G·H, P or H)
        return {"weight": dropout(ones, layer.weight_drop)} if layer.training else {}

    def weights(self, noise: Noise, w: Weights) -> Weights:
        return w if noise.weight is None else w._replace(weight_hh=w.weight_hh * noise.weight)


class _Zoneout(Extra):
    """Units that keep their old value for a step, each with probability p (Krueger et al. 2017, arXiv:1606.01305).

    h' = k ⊙ h + (1 − k) ⊙ h̃ with k drawn anew for every unit and step in training, and k = p in evaluation; the same
    for c with a probability of its own. h̃ is computed from the fresh c̃.
    """

    name, default, families = "zoneout", 0.0, _EVERY

    def checked(self, layer: Recurrent, setting: Any) -> Any:
        count = len(layer.state_sizes)
        pair = isinstance(setting, (tuple, list))
        if pair and len(setting) != count:
            raise unusable(self, setting, "one probability, or for the LSTM a pair of them: for h and for c")
        return tuple(_rate(self, p) for p in setting) if pair else _rate(self, setting)

    def noise(self, layer: Recurrent, w: Weights, rows: Tensor, state: State) -> Mapping[str, Any]:
        rates = layer.zoneout if isinstance(layer.zoneout, tuple) else (layer.zoneout,) * len(state)
        fields: dict[str, Any] = dict(zip(("zoneout_h", "zoneout_c"), rates, strict=False))
        if layer.training:
            for (field, p), s in zip(fields.items(), state, strict=True):
                fields[field] = drawn(p, len(rows), s.shape[1], s.device)
        return fields

    def carried(self, moment: Moment, new: State, old: State) -> State:
        kept = (moment.noise.zoneout_h, moment.noise.zoneout_c)
        return tuple(_mixed(k, moment.rows, n, o) for k, n, o in zip(kept, new, old, strict=False))


def _mixed(kept: Tensor | float, rows: slice, new: Tensor, old: Tensor) -> Tensor:
    if isinstance(kept, Tensor):
        return torch.where(kept[rows], old, new)  # (B, H)
    return torch.lerp(new, old, kept) if kept else new  # (B, H)


# ---- structure ----------------------------------------------------------------------------------------------------


class _Peephole(Extra):
    """Gates that see the cell, unit by unit: i and f before the step, o after it (Gers & Schmidhuber 2000).

    Its weights start as torch's do, U(−1/√H, 1/√H).
    """

    name, families = "peephole", ("lstm",)
    gates = ("i", "f", "o")

    def sizes(self, layer: Recurrent) -> Mapping[str, int]:
        return {"peephole": len(layer.weight_ih_l0) - layer.hidden_size}  # of every gate but the candidate g

    def gate(self, w: Weights, name: str, z: Tensor, c: Tensor) -> Tensor:
        which = self.gates.index(name) - len(self.gates)  # from the end: a coupled layer has f and o alone
        return z + w.peephole.unflatten(0, (-1, c.shape[1]))[which] * c  # (B, H)


class _LearnedInitialState(Extra):
    """The state to begin from is learned, zeros at first; used where the caller gives none."""

    name, families = "learn_initial_state", _EVERY

    def prepare(self, layer: Recurrent) -> None:
        for key, size in zip(("initial_h", "initial_c"), layer.state_sizes, strict=False):
            empty = layer.weight_ih_l0.new_empty(len(layer.scan_names), size)
            layer.register_parameter(key, torch.nn.Parameter(empty))  # (L·D, H)

    def reset(self, layer: Recurrent) -> None:
        for key, _ in zip(("initial_h", "initial_c"), layer.state_sizes, strict=False):
            torch.nn.init.zeros_(getattr(layer, key))

    def initial(self, layer: Recurrent, states: State) -> State:
        learned = (getattr(layer, f"initial_{name}") for name in ("h", "c")[: len(states)])
        return tuple(p.to(s.dtype).unsqueeze(1).expand_as(s) for p, s in zip(learned, states, strict=True))


EXTRAS: Mapping[str, Extra] = {
    extra.name: extra
    for extra in (
        _LayerNorm(),
        _BatchNorm(),
        _InputDropout(),
        _RecurrentDropout(),
        _WeightDrop(),
        _Zoneout(),
        _Peephole(),
        _LearnedInitialState(),
    )
}
"""Every extra by the name of its option."""


class Options(TypedDict, total=False):
    """The options in ``EXTRAS``, as keywords of a layer; left out, a layer is torch's."""

    layer_norm: bool
    batch_norm: bool
    input_dropout: float
    recurrent_dropout: float
    weight_drop: float
    zoneout: float | tuple[float, float]
    peephole: bool
    learn_initial_state: bool


def refuse_others(kind: str, family: str, settings: Mapping[str, Any]) -> None:
    """Raises ``InputError`` where a layer of ``family``, called ``kind`` in the message, cannot have what is set."""
    for name, setting in settings.items():
        extra = EXTRAS[name]
        if setting and family not in extra.families:
            layers = ", ".join(extra.families).upper()
            fix = f"leave {name} out"
            raise InputError(f"{kind} has no {name}", expected=f"a layer that has: {layers}", got=setting, fix=fix)


def draw(layer: Recurrent, w: Weights, rows: Tensor, state: State) -> Noise:
    """The noise of a scan over ``rows (N, I)`` from ``state``, drawn from torch's stream in the order of ``EXTRAS``."""
    fields: dict[str, Any] = {}
    for extra in layer.extras:
        fields.update(extra.noise(layer, w, rows, state))
    return Noise(**fields)


def _rate(extra: Extra, p: Any) -> float:
    if isinstance(p, bool) or not isinstance(p, (int, float)) or not 0 <= p < 1:
        raise unusable(extra, p, "a probability: at least 0 and below 1")
    return float(p)
