"""What a step of a scan works with, and the hooks through which extras take part in it.

T time, B batch, I input, H hidden, P projected, G gates, L layers, D directions, N rows of all steps together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor
from torch.nn.functional import linear

from gatelab.core.errors import InputError
from gatelab.nn.packing import State

if TYPE_CHECKING:
    from gatelab.nn.layers import Recurrent

_RECURRENT = ("rnn", "lstm", "gru")


class Weights(NamedTuple):
    """What one stacked layer learns in one direction, in torch's layout; None where it has no such thing.

    The fields from ``norm_ih`` on are those of extras, which find there what they asked for in ``Extra.sizes``.
    """

    weight_ih: Tensor  # (G·H, I)
    weight_hh: Any = None  # (G·H, P or H), which every layer has but the minimal ones
    bias_ih: Tensor | None = None  # (G·H,)
    bias_hh: Tensor | None = None  # (G·H,)
    weight_hr: Tensor | None = None  # (P, H) projection of the LSTM's h from H to P units
    norm_ih: Any = None  # (G·H,) gain of the normalised input side
    norm_hh: Any = None  # (G·H,) gain of the normalised hidden side
    norm_c: Any = None  # (H,) gain of the normalised cell
    norm_c_bias: Any = None  # (H,)
    peephole: Any = None  # (3·H,) for the gates i, f, o; (2·H,) for f, o where i = 1 − f
    statistics: Any = None  # StepStatistics of batch normalisation


class Noise(NamedTuple):
    """The masks of one scan: drawn in training, or what stands for them in evaluation."""

    input: Tensor | None = None  # (B, I) what each input is multiplied by
    recurrent: Tensor | None = None  # (B, P or H) what the hidden state is multiplied by where weight_hh reads it
    zoneout_h: Tensor | float = 0.0  # (N, P or H) bool, True where the old h stays; or the share of it that does
    zoneout_c: Tensor | float = 0.0  # (N, H) likewise for c
    weight: Tensor | None = None  # (G·H, P or H) what weight_hh is multiplied by


class Moment(NamedTuple):
    """One step of a scan as the extras see it, and the hooks that the step calls."""

    layer: Any = None
    """The layer, for its settings."""
    extras: tuple[Extra, ...] = ()
    noise: Noise = Noise()
    t: int = 0
    rows: slice = slice(None)
    """The step's rows among the N of all steps."""

    def hidden(self, w: Weights, h: Tensor, part: slice = slice(None)) -> Tensor:
        """The hidden side of the pre-activations, ``(B, G·H)``; of the rows ``part`` of the weights alone."""
        for extra in self.extras:
            h = extra.seen(self, h)
        product = linear(h, w.weight_hh[part])  # (B, G·H)
        for extra in self.extras:
            product = extra.product(self, w, product, part)
        return product if w.bias_hh is None else product + w.bias_hh[part]

    def gate(self, w: Weights, name: str, z: Tensor, c: Tensor) -> Tensor:
        """The pre-activation ``z (B, H)`` of the gate ``name``, which may look at the cell ``c (B, H)``."""
        for extra in self.extras:
            z = extra.gate(w, name, z, c)
        return z

    def shown(self, w: Weights, c: Tensor) -> Tensor:
        """The cell ``c (B, H)`` as the output gate's tanh sees it."""
        for extra in self.extras:
            c = extra.shown(self, w, c)
        return c

    def carried(self, new: State, old: State) -> State:
        """The state that goes on to the next step, ``(B, H)`` each."""
        for extra in self.extras:
            new = extra.carried(self, new, old)
        return new


class Extra:
    """An option of a layer. Every hook leaves things as they are, unless a class says otherwise."""

    name: str
    """The keyword of the layers' constructors, and the layer's attribute."""
    default: Any = False
    families: tuple[str, ...] = _RECURRENT
    """The layers that can have it."""

    def checked(self, layer: Recurrent, setting: Any) -> Any:
        """The setting as the layer keeps it.

        Raises:
            InputError: it cannot be used.
        """
        if not isinstance(setting, bool):
            raise unusable(self, setting, "True or False")
        return setting

    def sizes(self, layer: Recurrent) -> Mapping[str, int]:
        """The length of each vector that a stacked layer learns in one direction, by its name in ``Weights``."""
        return {}

    def prepare(self, layer: Recurrent) -> None:
        """Gives a new layer what it needs besides: parameters of all layers together, buffers."""

    def reset(self, layer: Recurrent) -> None:
        """Sets the start of what the layer learns for it, where that is not torch's U(−1/√H, 1/√H)."""

    def initial(self, layer: Recurrent, states: State) -> State:
        """The states ``(L·D, B, H)`` to begin from where the caller gave none."""
        return states

    def noise(self, layer: Recurrent, w: Weights, rows: Tensor, state: State) -> Mapping[str, Any]:
        """Fields of ``Noise`` for a scan over ``rows (N, I)`` from ``state``; called before the scan."""
        return {}

    def weights(self, noise: Noise, w: Weights) -> Weights:
        """The parameters that the scan works with."""
        return w

    def finish(self, layer: Recurrent, w: Weights) -> None:
        """Called after the scan."""

    def inputs(self, noise: Noise, rows: Tensor, batch_sizes: Tensor | None, B: int) -> Tensor:
        """What weight_ih reads, ``(N, I)``."""
        return rows

    def projected(self, layer: Recurrent, w: Weights, product: Tensor, sizes: list[int]) -> Tensor:
        """What weight_ih gave, ``(N, G·H)``, before the bias; ``sizes`` are the rows of each step."""
        return product

    def seen(self, moment: Moment, h: Tensor) -> Tensor:
        """What weight_hh reads, ``(B, H)``."""
        return h

    def product(self, moment: Moment, w: Weights, product: Tensor, part: slice) -> Tensor:
        """What the rows ``part`` of weight_hh gave, ``(B, G·H)``, before the bias."""
        return product

    def gate(self, w: Weights, name: str, z: Tensor, c: Tensor) -> Tensor:
        """See ``Moment.gate``."""
        return z

    def shown(self, moment: Moment, w: Weights, c: Tensor) -> Tensor:
        """See ``Moment.shown``."""
        return c

    def carried(self, moment: Moment, new: State, old: State) -> State:
        """See ``Moment.carried``."""
        return new


def unusable(extra: Extra, setting: Any, expected: str) -> InputError:
    """The error for a setting that an extra cannot have."""
    return InputError(f"{extra.name} cannot be {setting!r}", expected=expected, got=setting, fix=f"change {extra.name}")
