"""The seam between a task and everything that trains, compares and shows it.

``training`` and ``studies`` know this page and nothing else of a task. The same few methods carry nine kinds:

===============  =============================  ==============================  =====================================
task             a batch                        ``loss``                        what is particular
===============  =============================  ==============================  =====================================
forecasting      windows and what followed      quantile loss, masked           baselines on the same windows
anomaly          stretches of one stream        next-step error                 carried state; scored without labels
classification   padded sequences, one label    cross-entropy                   pooling
tagging          padded words, a tag each       CRF negative log-likelihood     ``validate`` gives span F1
language         a slice of parallel streams    cross-entropy                   carried state between batches
translation      padded pairs                   cross-entropy under forcing     search happens in ``predict``
speech           padded features, text          CTC                             ``validate`` gives WER
captioning       pictures and sentences         cross-entropy under forcing     the encoder is not recurrent
music            padded piano rolls             88 binary cross-entropies       several outputs on at a time
===============  =============================  ==============================  =====================================
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import numpy as np

from gatelab.core.config import ModelConfig, TrainingConfig
from gatelab.core.errors import InputError

Part = Literal["train", "validation", "test"]
Array = np.ndarray


@dataclass(frozen=True)
class Metric:
    """A number by which models are judged."""

    name: str
    """Key in ``Evaluation.metrics``, such as ``"MAE"``."""
    goal: Literal["min", "max"] = "min"
    """Whether less or more is better."""
    unit: str = ""
    """Unit of the user's data, such as ``"veh/5 min"``; empty for a pure number."""
    text: str = ""
    """What it says, in one line for a reader who has not met it."""

    def better(self, a: float, b: float) -> bool:
        """Whether ``a`` is strictly better than ``b``; never where one of them is NaN."""
        return a < b if self.goal == "min" else a > b


@dataclass(frozen=True)
class Evaluation:
    """What a model, or a baseline, reached on one part of the data."""

    metrics: Mapping[str, float]
    """Every metric by name, in the user's units."""
    arrays: Mapping[str, Array] = field(default_factory=dict)
    """What figures and paired tests need, numeric arrays only; ``error_by_item (N,)`` is the error of each scored item
    in order, less being better, by which methods are compared on the same items."""
    items: int = 0
    """How many scored items (windows, sentences, steps) the metrics are taken over."""


class Batch(Protocol):
    """Some sequences that go through the model together; what else is in it is the task's business."""

    @property
    def size(self) -> int:
        """Sequences (B)."""
        ...

    @property
    def steps(self) -> int:
        """Time steps each sequence takes the cell (T)."""
        ...

    @property
    def carries(self) -> bool:
        """Whether the sequences continue those of the batch before, so that the state is carried over (detached)."""
        ...

    def take(self, which: slice) -> Batch:
        """These of its sequences alone, as where several processes share a batch."""
        ...

    def to(self, device: Any) -> Batch:
        """The same batch with its tensors on ``device``."""
        ...


class Loss(NamedTuple):
    """What ``Task.loss`` gives for a batch."""

    mean: Any
    """Mean loss over the scored items of the batch: a tensor of no dimension, ready for ``backward``."""
    weight: float
    """How many items the mean is over; 0 where everything in the batch is masked."""
    state: Any = None
    """State after the batch, a tensor or nested tuples of tensors, where the next batch may carry it on."""
    scale: float = 1.0
    """What a step takes the gradient of ``mean`` times: items of the batch over those of a usual one, where batches
    are sorted by their number and every item of an epoch is to count the same."""


class Drawn(NamedTuple):
    """A prediction and its picture."""

    frame: Any
    """What ``predict`` gives."""
    picture: Any
    """A ``report.plots.Picture``."""
    notes: Sequence[str]
    """What the picture leaves out, one line each."""


class Task(ABC):
    """One kind of question, bound to one set of data that is read, checked, split and scaled.

    A task is cheap to send to another process, and every method is deterministic in its arguments.
    """

    name: ClassVar[str]
    """The name in ``gatelab.tasks.TASKS``."""
    Config: ClassVar[type]
    """Frozen dataclass of the task's own settings: defaults, ``--help`` texts and checks live there."""

    config: Any
    """The settings this task was opened with, every automatic choice made."""
    metrics: Sequence[Metric]
    """What ``evaluate`` gives; the first is the one models are compared by."""
    notes: Sequence[str]
    """What was decided about the data, one line a reader can follow each."""

    # ---- from data to task, and back from a run folder ------------------------------------------------------

    @classmethod
    @abstractmethod
    def open(cls, source: Any, config: Any) -> Task:
        """Reads ``source`` (file, data set name, table), checks, splits in time order, fits scaling on train.

        Raises:
            DataError: the data cannot be used as the settings ask.
        """

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """What prediction needs of the training data (scales, vocabularies, columns), as plain JSON values."""

    @classmethod
    @abstractmethod
    def restore(cls, config: Any, state: Mapping[str, Any]) -> Task:
        """The task as ``state`` describes it, without data: able to ``build`` and ``predict``."""

    @abstractmethod
    def reopen(self, source: Any, purpose: Literal["evaluate", "update"]) -> Task:
        """The same task over new data, with the scales and vocabularies of the first.

        ``evaluate`` makes all of it the test part; ``update`` makes it training and validation.
        """

    # ---- what the training loop needs ----------------------------------------------------------------------

    def training_defaults(self) -> TrainingConfig:
        """Settings that suit this task and the size of its data."""
        return TrainingConfig()

    @classmethod
    def model_defaults(cls) -> ModelConfig:
        """A network that suits this kind of task, where nothing is said about it."""
        return ModelConfig()

    @abstractmethod
    def build(self, model: ModelConfig) -> Any:
        """A freshly initialised ``torch.nn.Module``; draws from torch's global stream, which the caller seeds."""

    @abstractmethod
    def batches(
        self, part: Part, batch_size: int, rng: np.random.Generator | None = None, start: int = 0
    ) -> Iterable[Batch]:
        """Batches of a part: shuffled by ``rng``, or in order without one; the first ``start`` are left out."""

    @abstractmethod
    def count(self, part: Part, batch_size: int) -> int:
        """How many batches ``batches`` gives from ``start=0``."""

    @abstractmethod
    def loss(self, model: Any, batch: Any, state: Any = None) -> Loss:
        """The training loss of a batch; ``state`` is what the batch before left, already detached."""

    def validate(self, model: Any) -> Mapping[str, float]:
        """Further numbers to log after each epoch, beside the mean validation loss."""
        return {}

    def calibrate(self, model: Any) -> None:
        """Fits, on the validation part, what is not learned by descent, and keeps it in buffers of ``model``.

        Called once at the end of the training, with the best weights and before they are written.
        """
        return

    criterion: Metric = Metric("loss")
    """What early stopping watches: ``loss`` (mean validation loss) or a name that ``validate`` gives."""

    # ---- what compare and the reports need -----------------------------------------------------------------

    @abstractmethod
    def evaluate(self, model: Any, part: Part) -> Evaluation:
        """All metrics of ``model`` on a part, in the user's units."""

    def baselines(self) -> Mapping[str, Callable[[Part], Evaluation]]:
        """Simple methods scored on the very same items: a name for people, and how to evaluate it."""
        return {}

    def sections(self, results: Mapping[str, Sequence[Evaluation]]) -> Sequence[Any]:
        """``report.Section``s about test results: for each name (cell or baseline) one evaluation per seed."""
        return ()

    def remarks(self, evaluation: Evaluation) -> Sequence[str]:
        """Lines on what an evaluation of a model shows beside its scores."""
        return ()

    # ---- use ------------------------------------------------------------------------------------------------

    @abstractmethod
    def predict(self, model: Any, source: Any, *, future: Any = None) -> Any:
        """What the model says about new data, as a ``pandas.DataFrame`` in the user's units, dates and words.

        ``future`` is a further source of what is known ahead; tasks that have no such thing refuse it.
        """

    def draw(self, model: Any, source: Any, *, future: Any = None) -> Drawn:
        """What ``predict`` gives, and a picture of it.

        Raises:
            InputError: there is no picture of what this kind of task predicts.
        """
        raise InputError(
            f"there is no picture of what models of the task {self.name} predict",
            expected="a model of the task forecasting",
            fix="leave --plot out",
        )

    def export(self, model: Any) -> Any:
        """The model as a ``gatelab.nn.onnx.Export``: a graph that runs without torch, and samples that prove it.

        Raises:
            InputError: this kind of task, or of model, cannot be written so.
        """
        raise InputError(
            f"models of the task {self.name} cannot be exported",
            expected="a task that says how its model is written as a graph",
            fix="use the model with gatelab predict",
        )
