"""Configurations: frozen dataclasses that travel as plain dictionaries, TOML and command lines.

``ModelConfig`` and ``TrainingConfig`` are the same for every task; what a task adds is its own dataclass.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from gatelab.core.errors import InputError, nearest

Config = TypeVar("Config")
MOST_UNITS, MOST_LAYERS, MOST_THREADS = 1 << 16, 1000, 1024
"""More has no use, and is a slip of the keyboard that would fill the memory or end the process."""
_FASTEST = 1e30  # learning rate, and weight decay: beyond, float32 has infinity


@dataclass(frozen=True)
class LayerExtras:
    """What every layer may do beyond its plain cell; gatelab.nn.extras has the equations."""

    layer_norm: bool = False
    """Normalise what every weight matrix gives, gate by gate, and the LSTM's cell (Ba et al. 2016)."""
    batch_norm: bool = False
    """The same over the batch, with statistics of each time step's own (Cooijmans et al. 2016)."""
    input_dropout: float = 0.0
    """Dropout on each layer's input with one mask for all steps (Gal & Ghahramani 2016), in [0, 1)."""
    recurrent_dropout: float = 0.0
    """Dropout on the hidden state where the weights read it, with one mask for all steps, in [0, 1)."""
    weight_drop: float = 0.0
    """Dropout on the recurrent weights themselves, one mask for all steps (Merity et al. 2018), in [0, 1)."""
    zoneout: float = 0.0
    """Probability that a unit keeps its old value in a step (Krueger et al. 2017), in [0, 1)."""
    peephole: bool = False
    """LSTM: gates see the cell (Gers & Schmidhuber 2000)."""
    learn_initial_state: bool = False
    """Learn the state that a sequence begins from; no: zeros."""

    def __post_init__(self) -> None:
        for name in ("input_dropout", "recurrent_dropout", "weight_drop", "zoneout"):
            require(0.0 <= getattr(self, name) < 1.0, name, "at least 0 and below 1", getattr(self, name))
        both = self.layer_norm and self.batch_norm
        require(not both, "batch_norm", "one of --layer-norm and --batch-norm", self.batch_norm)


@dataclass(frozen=True)
class _Network:
    """Cells, sizes and start."""

    cell: str = "gru"
    """Recurrent cell: rnn, lstm or gru; also rnn_relu, lstm_coupled, gru_reset_before, min_gru, min_lstm."""
    hidden_size: int = 32
    """Units in each layer (H)."""
    num_layers: int = 1
    """Layers stacked on one another (L)."""
    residual: bool = False
    """Every layer adds what it reads to what it gives, where both have as many features (He et al. 2016)."""
    dropout: float = 0.0
    """Dropout between layers and before the head, in [0, 1)."""
    bidirectional: bool = False
    """Also read each sequence backwards, where the task allows it."""
    reset_after: bool = True
    """GRU: apply the reset gate after the multiplication (torch, cuDNN); no: before it (Cho et al. 2014)."""
    coupled: bool = False
    """LSTM: input gate tied to the forget gate, i = 1 − f (Greff et al. 2017)."""
    init: str = "torch"
    """Initialisation by name: see gatelab.cells.init."""


@dataclass(frozen=True)
class ModelConfig(LayerExtras, _Network):  # the last base's fields come first
    """The recurrent network inside a task's model."""

    def __post_init__(self) -> None:
        super().__post_init__()
        most = MOST_UNITS, MOST_LAYERS
        require(1 <= self.hidden_size <= most[0], "hidden_size", f"from 1 to {most[0]:,}", self.hidden_size)
        require(1 <= self.num_layers <= most[1], "num_layers", f"from 1 to {most[1]:,}", self.num_layers)
        require(0.0 <= self.dropout < 1.0, "dropout", "at least 0 and below 1", self.dropout)

    def without_extras(self) -> ModelConfig:
        """The same network of plain cells."""
        usual = {field.name: field.default for field in dataclasses.fields(LayerExtras)}
        return dataclasses.replace(self, **usual)


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained."""

    epochs: int = 50
    """Passes over the training part, at most."""
    max_seconds: float | None = None
    """Stop after this much training time, keeping the best weights."""
    max_steps: int | None = None
    """Stop after this many optimizer steps, keeping the best weights."""
    batch_size: int = 64
    """Sequences in one step (B)."""
    optimizer: Literal["adam", "adamw", "rmsprop", "sgd", "asgd"] = "adam"
    """Optimizer by name; sgd has Nesterov momentum 0.9. asgd has none, and averages its weights once the validation
    loss stops falling (Merity et al. 2018): with --schedule constant, and a rate such as 10 for text."""
    learning_rate: float = 3e-3
    """Step size at the peak of the schedule."""
    weight_decay: float = 0.0
    """Decoupled for adamw, an L2 penalty for the others."""
    schedule: Literal["constant", "cosine", "plateau"] = "cosine"
    """Learning rate over the epochs; plateau halves it when validation stops improving."""
    warmup_steps: int = 0
    """Steps over which the learning rate rises from 0 to its peak."""
    clip_norm: float | None = 1.0
    """Scale the whole gradient down to this Euclidean norm; none: no clipping."""
    patience: int | None = 8
    """Stop after this many epochs without a better validation criterion; none: never early."""
    precision: Literal["float32", "float64", "mixed"] = "float32"
    """mixed: bfloat16 under autocast, CUDA only."""
    device: str = "cpu"
    """cpu, cuda or cuda:N."""
    threads: int = 1
    """CPU threads of the one pool that computes; 0: every core."""
    checkpoint_seconds: float = 30.0
    """Time between checkpoints inside an epoch; one is also written at the end of an epoch, unless the last is younger
    than half a second."""
    tensorboard: bool = False
    """Also write TensorBoard events into the run folder."""

    def __post_init__(self) -> None:
        require(self.epochs >= 1, "epochs", "at least 1", self.epochs)
        require(self.batch_size >= 1, "batch_size", "at least 1", self.batch_size)
        require(
            0 < self.learning_rate <= _FASTEST, "learning_rate", f"above 0, {_FASTEST:g} at most", self.learning_rate
        )
        decay = self.weight_decay
        require(0 <= decay <= _FASTEST, "weight_decay", f"from 0 to {_FASTEST:g}", decay)
        require(self.clip_norm is None or self.clip_norm > 0, "clip_norm", "above 0, or none", self.clip_norm)
        require(self.patience is None or self.patience >= 1, "patience", "at least 1, or none", self.patience)
        require(self.max_steps is None or self.max_steps >= 1, "max_steps", "at least 1, or none", self.max_steps)
        require(self.max_seconds is None or self.max_seconds > 0, "max_seconds", "above 0, or none", self.max_seconds)
        require(self.warmup_steps >= 0, "warmup_steps", "at least 0", self.warmup_steps)
        require(0 <= self.threads <= MOST_THREADS, "threads", f"from 0 to {MOST_THREADS:,}", self.threads)
        require(self.checkpoint_seconds >= 0, "checkpoint_seconds", "at least 0", self.checkpoint_seconds)


def require(condition: bool, name: str, expected: str, got: object) -> None:
    """Raises ``InputError`` naming the option unless ``condition`` holds."""
    if not condition:
        option = "--" + name.replace("_", "-")
        raise InputError(f"{name} cannot be {got!r}", expected=expected, got=got, fix=f"change {option} (or {name}=)")


def to_dict(config: Any) -> dict[str, Any]:
    """A configuration as plain JSON values; ``None`` is left out, as TOML has no word for it."""
    return {name: _plain(value) for name, value in dataclasses.asdict(config).items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items() if entry is not None}
    return value


def from_dict(kind: type[Config], values: Mapping[str, Any]) -> Config:
    """The configuration that ``to_dict`` made a dictionary of.

    A field left out becomes ``None`` where the field may be ``None`` (that is how ``to_dict`` wrote it), and its
    default otherwise.

    Raises:
        InputError: a name that ``kind`` does not have, or a value it refuses.
    """
    hints = typing.get_type_hints(kind)
    fields = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name in values:
        if name not in fields:
            raise InputError(
                f"{kind.__name__} has no setting {name!r}", fix=f"did you mean {nearest(name, sorted(fields))}?"
            )
    absent = {name: None for name in fields - set(values) if type(None) in typing.get_args(hints[name])}
    shaped = {name: _shaped(value, hints[name]) for name, value in values.items()}
    for name, value in shaped.items():
        check_value(name, value, hints[name])
    return kind(**absent, **shaped)


_LARGEST = 2**53  # beyond it a float no longer tells whole numbers apart
_LONGEST = 100_000  # characters of a text, and entries of a list


def check_value(name: str, value: Any, hint: Any) -> None:
    """The one boundary for settings, wherever they come from: types, finiteness and size.

    Raises:
        InputError: ``value`` is not what the annotation ``hint`` of the field ``name`` says, or no number is as large.
    """
    require(_fits(value, hint), name, _spoken(hint), value)


def check_fields(record: Any) -> Any:
    """A dataclass that was read from a file, if each field holds what its annotation says.

    Raises:
        InputError: one does not.
    """
    hints = typing.get_type_hints(type(record))
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if not _fits(value, hints[field.name]):
            raise InputError(
                f"{field.name} of {type(record).__name__} cannot be {str(value)[:60]!r}",
                expected=_spoken(hints[field.name]),
                got=type(value).__name__,
            )
    return record


def _fits(value: Any, hint: Any) -> bool:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin is Mapping:
        keys, values = inner
        entries = value.items() if isinstance(value, Mapping) else ()
        return isinstance(value, Mapping) and all(_fits(k, keys) and _fits(v, values) for k, v in entries)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in inner)
    if origin is Literal:
        return any(value == option and type(value) is type(option) for option in inner)
    if origin is tuple:
        if not isinstance(value, tuple) or len(value) > _LONGEST:
            return False
        kinds = inner[:1] * len(value) if inner[1:] == (Ellipsis,) else inner
        return len(kinds) == len(value) and all(map(_fits, value, kinds))
    if hint is float:
        return _fits(value, int) or (isinstance(value, float) and math.isfinite(value))
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST
    if hint is str:
        return isinstance(value, str) and len(value) <= _LONGEST
    if hint is type(None):
        return value is None
    return not isinstance(hint, type) or isinstance(value, hint)


def _spoken(hint: Any) -> str:
    """The annotation of a field in words."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_spoken(option) for option in inner)
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if origin is tuple:
        return f"several: {_spoken(inner[0])}" if inner else "several"
    words = {float: "a finite number", int: f"a whole number up to {_LARGEST:,}", str: "a text", bool: "true or false"}
    return words.get(hint, "none" if hint is type(None) else getattr(hint, "__name__", str(hint)))


def _shaped(value: Any, hint: Any) -> Any:
    """Lists back to the tuples that the field declares, and dictionaries back to nested configurations."""
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    if isinstance(value, list) and any(typing.get_origin(option) is tuple for option in options):
        return tuple(tuple(entry) if isinstance(entry, list) else entry for entry in value)
    for option in options:
        if isinstance(value, Mapping) and dataclasses.is_dataclass(option):
            return from_dict(option, value)
        if option is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
    return value


def from_options(kind: type[Config], options: Mapping[str, Any]) -> Config:
    """A configuration from flat options: each goes to the field of that name, in ``kind`` or in a part of it.

    ``from_options(ForecastingConfig, {"target": "y", "horizon": 12})`` reaches ``config.roles.target`` too. One
    string where several are meant becomes a tuple of one.

    Raises:
        InputError: no part has such an option.
    """
    known = _option_names(kind)
    for name in options:
        if name not in known:
            raise InputError(
                f"there is no option {name!r}",
                expected=f"one of {', '.join(sorted(known))}",
                fix=f"did you mean {nearest(name, sorted(known))}?",
            )
    return _from_options(kind, options)


def _parts(kind: type) -> dict[str, type]:
    """The fields of ``kind`` that are configurations themselves."""
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind) if _is_part(hints[field.name])}


def _is_part(hint: Any) -> bool:
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


def _option_names(kind: type) -> set[str]:
    own = {field.name for field in dataclasses.fields(kind)}
    return own.union(*(_option_names(part) for part in _parts(kind).values()))


def _from_options(kind: type[Config], options: Mapping[str, Any]) -> Config:
    hints, parts = typing.get_type_hints(kind), _parts(kind)
    values: dict[str, Any] = {}
    for name in (field.name for field in dataclasses.fields(kind)):  # type: ignore[arg-type]
        if name in options:
            values[name] = _shaped(_several(options[name], hints[name]), hints[name])
            check_value(name, values[name], hints[name])
        elif name in parts:
            values[name] = _from_options(parts[name], options)
    return kind(**values)


def _several(value: Any, hint: Any) -> Any:
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    several = any(typing.get_origin(option) is tuple for option in options)
    return [value] if several and isinstance(value, (str, int, float)) else value


def changes(config: Any) -> dict[str, Any]:
    """The fields that differ from their defaults, ``None`` included: what identifies a configuration over versions.

    A field that a later version adds, at its default, changes nothing here. That holds as long as defaults stay as
    they are: ``tests/core/test_config.py`` keeps them.
    """
    found: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            if inner := changes(value):
                found[field.name] = inner
        elif value != _default(field):
            found[field.name] = _plain(value)
    return found


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
