"""``RNN``, ``LSTM`` and ``GRU``: ``torch.nn``'s layers, opened up.

Constructor, attributes, call and state-dict keys are those of ``torch.nn``, and so is the arithmetic. Beyond it, each
layer has the extras of ``gatelab.nn.extras``, can be traced (``gatelab.nn.trace``), streamed and reset in
mid-sequence, and says in plain words which shape it wanted.

What computes a layer is chosen call by call, and all of it computes the same: the kernels of ``fused`` where they are
fast, ``torch.nn``'s own code where that is measured to be faster or there is no kernel for the dtype or device, and
the open loop for everything else.

**Gradients of each item of a batch.** ``torch.func`` goes through a layer by way of the open loop:

    def loss(parameters, x, y):  # x (T, I): one item, without a batch
        output, _ = torch.func.functional_call(layer, parameters, (x,))
        return criterion(output, y)

    parameters = dict(layer.named_parameters())
    per_item = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 1, 1))  # over x (T, B, I)
    per_item(parameters, x, y)["weight_hh_l0"]                              # (B, G·H, H)

Masks are drawn within: give ``vmap`` ``randomness="different"`` for a mask of each item's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Unpack

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gatelab.cells.sequence import layer_names
from gatelab.core.errors import InputError, nearest
from gatelab.core.registry import Registry
from gatelab.nn import fused, modes, open_loop, packing
from gatelab.nn.extras import EXTRAS, Options, refuse_others
from gatelab.nn.hooks import Extra, Weights
from gatelab.nn.initialisation import initialise_from_torchs_stream
from gatelab.nn.shapes import check_shapes


class Recurrent(nn.RNNBase):
    """What gatelab's layers have in common.

    Args:
        mode: torch's word for the number of gates.
        arguments: those of ``torch.nn.RNNBase``.
        init: initialisation by name (``gatelab.cells.init``), drawn from torch's global stream.
        checkpoint_every: keep only every so-many-th state for the backward pass and compute what lies between a second
            time: less memory for long sequences, about a third more time. None: keep everything.
        extras: the options of ``gatelab.nn.extras``, each of which says there what it does:
            layer_norm: normalise every product with the weights, gate by gate, and the LSTM's cell.
            batch_norm: the same over the batch, with statistics of each step's own.
            input_dropout, recurrent_dropout: probability; one mask for all steps on what weight_ih or weight_hh reads.
            weight_drop: probability; one mask for all steps on weight_hh itself.
            zoneout: probability that a unit keeps its old value in a step; for the LSTM also a pair, for h and c.
            peephole: the LSTM's gates see its cell.
            learn_initial_state: the state to begin from is learned, ``initial_h (L·D, H)`` and ``initial_c``.

    Raises:
        InputError: an option this layer does not have, or a value that it cannot have.
    """

    weight_ih_l0: Tensor  # (G·H, I)
    weight_hh_l0: Tensor  # (G·H, P or H)
    fields: tuple[str, ...]
    """What a stacked layer has in one direction, of ``gatelab.nn.extras.Weights``."""
    layer_norm: bool
    batch_norm: bool
    input_dropout: float
    recurrent_dropout: float
    weight_drop: float
    zoneout: float | tuple[float, float]
    peephole: bool
    learn_initial_state: bool
    family: ClassVar[str]
    """The layer's name in ``LAYERS``."""
    init: str = "torch"
    checkpoint_every: int | None = None
    _torch: ClassVar[type[nn.RNNBase]]  # whose forward computes this layer where it is plain
    _on: tuple[str, ...] = ()  # the names of the extras that this layer has

    def __init__(
        self, mode: str, *arguments: Any, init: str = "torch", checkpoint_every: int | None = None, extras: Options
    ):
        _refuse_unknown(self, extras)
        super().__init__(mode, *arguments)
        if checkpoint_every is not None and checkpoint_every < 1:
            raise InputError("checkpoint_every is a number of steps", expected="at least 1", got=checkpoint_every)
        self.checkpoint_every = checkpoint_every
        for name, extra in EXTRAS.items():
            setattr(self, name, extra.checked(self, extras.get(name, extra.default)))
        self._add_parameters()
        self.init = init
        self._start()

    def _add_parameters(self) -> None:
        bound = self.hidden_size**-0.5
        for extra in self.extras:
            for name in self.scan_names:
                for key, size in extra.sizes(self).items():
                    parameter = nn.Parameter(self.weight_ih_l0.new_empty(size))
                    self.register_parameter(f"{key}_{name}", parameter)
                    nn.init.uniform_(parameter, -bound, bound)
            extra.prepare(self)
        self.fields = tuple(key for key in Weights._fields if hasattr(self, f"{key}_l0"))

    def reset_parameters(self) -> None:
        """Starts anew, from torch's global stream."""
        super().reset_parameters()
        self._start()

    def _start(self) -> None:
        """What differs from torch's start."""
        for extra in self.extras:
            extra.reset(self)
        if self.init != "torch":
            initialise_from_torchs_stream(self, self.init)

    @property
    def cell(self) -> str:
        """The cell's name in ``gatelab.cells.CELLS``."""
        raise NotImplementedError

    @property
    def extras(self) -> tuple[Extra, ...]:
        """The extras that this layer has, in the order of ``EXTRAS``."""
        return tuple([EXTRAS[name] for name in self._on])

    def __setattr__(self, attr: str, value: Any) -> None:
        super().__setattr__(attr, value)
        if attr in EXTRAS:  # every call asks for them several times
            self._on = tuple(name for name in EXTRAS if self.__dict__.get(name))

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """Units of each state: ``(H,)``, and ``(P or H, H)`` for the LSTM's h and c."""
        return (self.hidden_size,)

    @property
    def scan_names(self) -> list[str]:
        """Every stacked layer and direction in the order of the states: ``l0``, ``l0_reverse``, ``l1``, …"""
        return [name for names in layer_names(self.num_layers, self.bidirectional) for name in names]

    @property
    def plain(self) -> bool:
        """Whether ``torch.nn`` computes the same."""
        return self._torchs_cell and self.checkpoint_every is None and len(self.extras) == 0  # as Dynamo can read it

    @property
    def _torchs_cell(self) -> bool:
        """What subclasses say; not by overriding ``plain``, for torch.compile cannot read a property of super()."""
        return True

    def initial_state(self, B: int, like: Tensor) -> packing.State:
        """The states ``(L·D, B, H)`` to begin from where none are given, of ``like``'s dtype and device."""
        count = self.num_layers * (2 if self.bidirectional else 1)
        states = tuple([like.new_zeros(count, B, size) for size in self.state_sizes])
        for extra in self.extras:
            states = extra.initial(self, states)
        return states

    def forward(self, input, hx=None, resets=None):
        """Outputs of the last layer at every step, and the final states of all layers; see ``torch.nn``.

        Args:
            input: ``(T, B, I)``, ``(B, T, I)`` with ``batch_first``, ``(T, I)`` without a batch, or packed.
            hx: initial state ``(L·D, B, H)``, the LSTM's a pair ``(h, c)``; zeros where not given, or what was learned.
            resets: bool ``(T, B)``, or as the input lies, without features: True where a new sequence begins, from
                the state that a call without ``hx`` begins from.

        Raises:
            ShapeError: a shape that does not fit, with the shape that would.
        """
        if modes.traced():
            raise _not_for("torch.jit.trace")
        check_shapes(self, input, hx)
        if resets is not None:
            from gatelab.nn.segments import with_resets  # which calls the layer again, the segments as a packed batch

            return with_resets(self, input, hx, resets)
        plain = self.plain
        if plain and fused.prefers_torch(self, input):
            return self._by_torch(input, hx)
        scan = self._scan_for(input.data if isinstance(input, PackedSequence) else input)
        if plain and scan is open_loop.scan and not modes.transformed():
            return self._by_torch(input, hx)
        return open_loop.run(self, input, hx, scan=scan)

    def __prepare_scriptable__(self) -> Any:
        """What ``torch.jit.script`` asks for first.

        Raises:
            InputError: there is no TorchScript of the kernels.
        """
        raise _not_for("torch.jit.script")

    def _by_torch(self, input, hx):
        found = self._torch.forward(self, input, hx)
        return packing.as_own(*found) if self.mode == "LSTM" else found

    def _scan_for(self, x: Tensor) -> open_loop.Scan:
        """What runs one stacked layer in one direction over input like ``x (…, I)``."""
        return fused.scan if fused.supports(self, x) else open_loop.scan

    def stream(self, hx=None, batch_size: int | None = None):
        """A ``gatelab.nn.Stream``: one step at a time for live data, the state kept inside."""
        from gatelab.nn.stream import Stream

        return Stream(self, hx, batch_size)

    def extra_repr(self) -> str:
        """torch's text, and every option that is not torch's."""
        own = {name: getattr(self, name) for name in (*EXTRAS, "checkpoint_every", "init")}
        usual = {name: extra.default for name, extra in EXTRAS.items()} | {"checkpoint_every": None, "init": "torch"}
        return super().extra_repr() + "".join(f", {k}={v!r}" for k, v in own.items() if v != usual[k])


def _refuse_unknown(layer: Recurrent, extras: Mapping[str, Any]) -> None:
    kind = type(layer).__name__
    if "proj_size" in extras:
        raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")  # torch's words
    for name in extras:
        if name not in EXTRAS:
            near = nearest(name, EXTRAS)
            raise TypeError(f"{kind}.__init__() got an unexpected keyword argument {name!r}; did you mean {near}?")
    refuse_others(kind, layer.family, extras)


class RNN(Recurrent):
    """Elman's recurrent network (1990), ``h' = tanh(x W_ih + b_ih + h W_hh + b_hh)``; as ``torch.nn.RNN``.

    Keywords after torch's own are those of ``Recurrent``.
    """

    family, _torch = "rnn", nn.RNN

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
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
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")  # torch's words
        self.nonlinearity = nonlinearity
        sizes = (input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype)
        own: dict[str, Any] = {"init": init, "checkpoint_every": checkpoint_every, "extras": extras}
        super().__init__("RNN_TANH" if nonlinearity == "tanh" else "RNN_RELU", *sizes, **own)

    @property
    def cell(self) -> str:
        """``rnn``, or ``rnn_relu`` with ``nonlinearity="relu"``."""
        return "rnn" if self.nonlinearity == "tanh" else "rnn_relu"


class LSTM(Recurrent):
    """Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate, Gers et al. 2000); as ``torch.nn.LSTM``.

    Args:
        coupled: True: the input gate is ``i = 1 − f``, and the weights hold the gates f, g, o (Greff et al. 2017).

    Other keywords after torch's own are those of ``Recurrent``.
    """

    family, _torch = "lstm", nn.LSTM
    check_forward_args = nn.LSTM.check_forward_args  # type: ignore[assignment]  # torch's forward calls these
    permute_hidden = nn.LSTM.permute_hidden  # type: ignore[assignment]
    get_expected_cell_size = nn.LSTM.get_expected_cell_size

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device=None,
        dtype=None,
        *,
        coupled: bool = False,
        init: str = "torch",
        checkpoint_every: int | None = None,
        **extras: Unpack[Options],
    ):
        self.coupled = coupled
        sizes = (input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size)
        own: dict[str, Any] = {"init": init, "checkpoint_every": checkpoint_every, "extras": extras}
        super().__init__("GRU" if coupled else "LSTM", *sizes, device, dtype, **own)  # torch's mode with 3 or 4 gates
        self.mode = "LSTM"

    @property
    def cell(self) -> str:
        """``lstm`` or ``lstm_coupled``."""
        return "lstm_coupled" if self.coupled else "lstm"

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """Units of h (``proj_size`` where given) and of c."""
        return (self.proj_size or self.hidden_size, self.hidden_size)

    @property
    def _torchs_cell(self) -> bool:
        return not self.coupled

    def extra_repr(self) -> str:
        """torch's text, and every option that is not torch's."""
        return super().extra_repr() + (", coupled=True" if self.coupled else "")


class GRU(Recurrent):
    """Gated recurrent unit (Cho et al. 2014); as ``torch.nn.GRU``, with a choice for the reset gate.

    Args:
        reset_after: True, as in torch and cuDNN: ``n = tanh(x W_in + b_in + r ⊙ (h W_hn + b_hn))``.
            False, as in Cho et al. 2014: ``n = tanh(x W_in + b_in + (r ⊙ h) W_hn + b_hn)``.
            State dicts have the same keys either way, and hold nothing that tells one from the other.

    Other keywords after torch's own are those of ``Recurrent``.
    """

    family, _torch = "gru", nn.GRU

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
        reset_after: bool = True,
        init: str = "torch",
        checkpoint_every: int | None = None,
        **extras: Unpack[Options],
    ):
        self.reset_after = reset_after
        sizes = (input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype)
        own: dict[str, Any] = {"init": init, "checkpoint_every": checkpoint_every, "extras": extras}
        super().__init__("GRU", *sizes, **own)

    @property
    def cell(self) -> str:
        """``gru`` or ``gru_reset_before``."""
        return "gru" if self.reset_after else "gru_reset_before"

    @property
    def _torchs_cell(self) -> bool:
        return self.reset_after

    def extra_repr(self) -> str:
        """torch's text, and every option that is not torch's."""
        return super().extra_repr() + ("" if self.reset_after else ", reset_after=False")


LAYERS = Registry(
    "layer",
    {
        "rnn": "gatelab.nn.layers:RNN",
        "lstm": "gatelab.nn.layers:LSTM",
        "gru": "gatelab.nn.layers:GRU",
        "min_gru": "gatelab.nn.minimal:MinGRU",
        "min_lstm": "gatelab.nn.minimal:MinLSTM",
    },
)
"""The layer of each family of ``gatelab.cells.CELLS``."""


def _not_for(what: str) -> InputError:
    return InputError(
        f"{what} cannot see into gatelab's kernels, and would keep one length for all",
        expected="a graph for another runtime, or code for this one",
        got=what,
        fix="gatelab.nn.onnx.export(layer).save(file) writes an ONNX graph for any length; torch.compile and "
        "torch.export work, too",
    )
