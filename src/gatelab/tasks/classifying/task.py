"""What text and sequence classification have in common as tasks.

A subclass says how its items are read, what is learned of the training part, how an item becomes a sequence of steps,
and what reads a step; and it has the baselines and the ``predict`` of its kind.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from hashlib import sha256
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from gatelab.core.config import ModelConfig, TrainingConfig
from gatelab.core.errors import DataError, InputError
from gatelab.core.task import Evaluation, Loss, Metric, Part, Task
from gatelab.data.label_types import LabelType
from gatelab.data.ragged import Ragged
from gatelab.data.sources import own_test
from gatelab.tasks.bucketing import batches_of, groups_of
from gatelab.tasks.classifying import baselines, figures, scores
from gatelab.tasks.classifying.batches import ClassBatch, Examples
from gatelab.tasks.classifying.calibration import fit_temperature, log_loss
from gatelab.tasks.classifying.config import ClassificationConfig
from gatelab.tasks.classifying.contributions import contributions, strongest
from gatelab.tasks.classifying.folds import cross_validate
from gatelab.tasks.classifying.labels import PARTS, Labels, divide, refuse_measurements
from gatelab.tasks.classifying.model import Classifier, evaluating

Array = np.ndarray
Answers = Callable[[Part], Array]
"""A baseline: for the items of a part, in order, log-probabilities ``(N, K)`` or the class ``(N,)`` of each."""
CALIBRATED = "validation_log_loss"
_UPDATES = 3_000
_MATTERED = 6  # steps that are named
_EXPLAINED_STEPS = 2_000
_SCORED_STEPS = 1 << 15  # padded steps that are scored together


@dataclass(frozen=True)
class Labelled:
    """Items as they were read, each with the name of its class."""

    items: Any
    """N of them: ``items[array of indices]`` gives some, and ``items.digest()`` a text that tells them from others."""
    labels: Sequence[str]
    names: Sequence[str]
    """What a report calls each."""
    notes: Sequence[str] = ()
    """What was decided while reading."""
    place: Callable[[int], str] = "item {}".format
    """Where an item, numbered from 1, was read, such as ``"line 7 of my.csv"``."""
    type: LabelType = "text"
    """What the labels were before they became names."""

    def take(self, which: Array) -> Labelled:
        """These of them alone; ``place`` counts as before and must not be asked any more."""
        return Labelled(self.items[which], _taken(self.labels, which), _taken(self.names, which), type=self.type)

    def digest(self) -> str:
        """Thirty-two hexadecimal digits that tell these items and labels from others."""
        return sha256("\x1f".join([self.items.digest(), *self.labels]).encode()).hexdigest()[:32]


class Classification(Task):
    """Which of K classes a sequence is of; a subclass for each kind of sequence."""

    Config: ClassVar[type] = ClassificationConfig
    config: Any
    metrics = scores.METRICS
    criterion = Metric(CALIBRATED, unit="nats", text="validation log loss at the best temperature")

    def __init__(self, config: Any, labels: Labels, learned: Mapping[str, Any], notes: Sequence[str], data: str):
        self.config, self.labels, self.learned = config, labels, dict(learned)
        self.notes, self._data = list(notes), data
        self.parts: dict[Part, Examples] = {}

    # ---- what a subclass says -----------------------------------------------------------------------------------

    @classmethod
    @abstractmethod
    def read(cls, source: Any, config: Any) -> Labelled:
        """The items and labels of a source.

        Raises:
            InputError: no such file or data set.
            DataError: it does not hold what is needed; the message names the row.
        """

    @classmethod
    @abstractmethod
    def learn(cls, items: Any, labels: Array, config: Any) -> dict[str, Any]:
        """What has to be known of the training part alone (a vocabulary, scales), as plain JSON values.

        Args:
            items: of the training part, as ``read`` gave them.
            labels: the class of each, ``(N,)``.
            config: the settings.
        """

    @abstractmethod
    def encode(self, items: Any) -> Ragged:
        """Items as the network reads them: sequences ``(T_i,)`` or ``(T_i, C)`` of one step or more."""

    @abstractmethod
    def front(self) -> tuple[nn.Module, int]:
        """What makes features ``(N, I)`` of the rows ``(N, …)`` of a packed batch, freshly initialised; and I."""

    def neutral(self, model: Classifier) -> torch.Tensor:
        """The features ``(I,)`` of a step that says nothing, against which contributions are measured."""
        return torch.zeros(model.features)

    def because(self, item: Array, values: Array) -> str:
        """In words, what of an item ``(T_i, …)`` mattered; ``values (T_i,)`` are its steps' contributions."""
        return ", ".join(f"step {at + 1} ({values[at]:+.2f})" for at in strongest(values, _MATTERED))

    def simple(self) -> Mapping[str, Callable[[], Answers]]:
        """The baselines of this kind of task beside majority: a name, and what fits it on the training part."""
        return {}

    # ---- from data to task, and back ----------------------------------------------------------------------------

    @classmethod
    def open(cls, source: Any, config: Any) -> Classification:
        """Reads and divides the items, and learns what has to be known of the training part.

        Raises:
            InputError: no such file or data set.
            DataError: only one class, too few items, or what ``read`` refuses.
        """
        read, own = cls.read(source, config), own_test(source)
        refuse_measurements(read.labels)
        test = cls.read(own, config) if own is not None else None
        shares = config.split if test is None else config.split[:2]
        division = divide(read.labels, shares, config.draw)
        parts: dict[Part, Labelled] = {part: read.take(which) for part, which in division.items()}
        if test is not None:
            parts["test"] = test
        needed = PARTS if config.split[-1] > 0 or own is not None else PARTS[:2]
        return cls.of_parts(parts, config, [*read.notes, _division_note(parts, own, config)], needed)

    @classmethod
    def of_parts(
        cls, parts: Mapping[Part, Labelled], config: Any, notes: Sequence[str], needed: Sequence[Part] = PARTS
    ) -> Classification:
        """The task over items that are divided already.

        Raises:
            DataError: only one class, or a part that is needed has no items.
        """
        labels = Labels.of(parts["train"].labels, parts["train"].type)
        learned = cls.learn(parts["train"].items, labels.encode(parts["train"].labels), config)
        digest = sha256("".join(part.digest() for part in parts.values()).encode()).hexdigest()[:32]
        task = cls(config, labels, learned, [*notes, f"{len(labels)} classes: {labels.said()}"], digest)
        task._take(parts, needed)
        return task

    def reopen(self, source: Any, purpose: Literal["evaluate", "update"]) -> Classification:
        """The same task over other items.

        ``evaluate`` takes all of them, or the test part of a data set that has one of its own; ``update`` trains on
        nine tenths and validates on the last.

        Raises:
            DataError: a label that was not there in training, or what ``read`` refuses.
        """
        own = own_test(source) if purpose == "evaluate" else None
        read = self.read(source if own is None else own, self.config)
        needed: tuple[Part, ...] = ("test",) if purpose == "evaluate" else ("train", "validation")
        everything = {"test": np.arange(len(read.labels))}
        parts = everything if purpose == "evaluate" else divide(read.labels, (9, 1))
        task = type(self)(self.config, self.labels, self.learned, read.notes, read.digest())
        self.labels.encode(read.labels, read.place)  # while it is known where each item stands
        task._take({part: read.take(parts[part]) for part in needed}, needed)
        return task

    def state(self) -> dict[str, Any]:
        """The names of the classes, what was learned, and a digest of the data: a run is tied to its data."""
        return {"labels": self.labels.state(), "learned": self.learned, "notes": self.notes, "data": self._data}

    @classmethod
    def restore(cls, config: Any, state: Mapping[str, Any]) -> Classification:
        """The task without data: able to ``build``, ``predict`` and ``reopen``."""
        return cls(config, Labels.restore(state["labels"]), state["learned"], state["notes"], state["data"])

    def fingerprint(self) -> str:
        """Which data this task is about."""
        return self._data

    def _take(self, parts: Mapping[Part, Labelled], needed: Sequence[Part]) -> None:
        """Makes the items of each part what the network reads.

        Raises:
            DataError: a part that is needed has no items.
        """
        for part in PARTS:
            if part in needed and (part not in parts or not len(parts[part].labels)):
                raise DataError(
                    f"there are too few items: none for the {part} part",
                    expected="some items of each class",
                    got=", ".join(f"{len(held.labels):,} {part}" for part, held in parts.items()),
                    fix="give more items, or other shares with --split",
                )
        for part, held in parts.items():
            if len(held.labels):
                y = self.labels.encode(held.labels, held.place)  # (N,)
                self.parts[part] = Examples(self.encode(held.items), y, held.names)

    # ---- what the training loop needs ---------------------------------------------------------------------------

    def training_defaults(self) -> TrainingConfig:
        """Some thousand updates, whatever the number of items."""
        items = len(self.parts["train"]) if "train" in self.parts else 0
        batch_size = int(np.clip(2 ** np.round(np.log2(max(items, 1) / 32)), 8, 64))
        epochs = round(_UPDATES / max(self.count("train", batch_size), 1))
        return TrainingConfig(batch_size=batch_size, epochs=int(np.clip(epochs, 20, 200)), patience=20)

    def build(self, model: ModelConfig) -> Classifier:
        """An encoder as ``model`` says behind the task's front, with a head of K classes."""
        front, features = self.front()
        balanced = self.config.class_weights == "balanced"
        shares = np.full(len(self.labels), 1 / len(self.labels)) if balanced else self.labels.shares  # (K,)
        return Classifier(model, front, features, self.config.pooling, np.log(shares))

    def batches(
        self, part: Part, batch_size: int, rng: np.random.Generator | None = None, start: int = 0
    ) -> Iterator[ClassBatch]:
        """Batches of sequences of like length."""
        if part in self.parts:
            examples = self.parts[part]
            yield from map(examples.batch, batches_of(examples.x.lengths, batch_size, rng)[start:])

    def count(self, part: Part, batch_size: int) -> int:
        """Batches in a part."""
        return -(-len(self.parts[part]) // batch_size) if part in self.parts else 0

    def loss(self, model: Any, batch: ClassBatch, state: Any = None) -> Loss:
        """Cross-entropy in nats; its mean is over items, each as often as its class counts."""
        weights = torch.as_tensor(self.labels.weights(self.config.class_weights == "balanced"))  # (K,)
        counted = weights.to(batch.y.device)[batch.y]  # (B,)
        logits = model(batch)  # (B, K)
        losses = functional.cross_entropy(
            logits, batch.y, reduction="none", label_smoothing=self.config.label_smoothing
        )  # (B,)
        total = float(counted.sum())
        return Loss((losses * counted.to(losses.dtype)).sum() / total, total)

    def validate(self, model: Any) -> Mapping[str, float]:
        """Accuracy on the validation part, and the log loss that it would have if the training ended here.

        Networks grow too sure of themselves long before they stop growing better, so that the plain loss rises while
        accuracy still does too (Guo et al. 2017, sec. 3); the temperature takes that out.
        """
        examples = self.parts["validation"]
        logits = self.log_probabilities(model, examples.x)  # (N, K)
        right = logits.argmax(axis=1) == examples.y  # (N,)
        loss = log_loss(logits / fit_temperature(logits, examples.y), examples.y)
        return {"validation_accuracy": float(right.mean()), CALIBRATED: loss}

    def calibrate(self, model: Any) -> None:
        """One temperature for all logits, fitted on the validation part (Guo et al. 2017)."""
        examples = self.parts["validation"]
        model.temperature.fill_(1.0)
        model.temperature.fill_(fit_temperature(self.log_probabilities(model, examples.x), examples.y))

    # ---- what compare and the reports need ----------------------------------------------------------------------

    def log_probabilities(self, model: Any, x: Ragged) -> Array:
        """Calibrated log-probabilities ``(N, K)``, float64, of every class for each sequence, in order."""
        found = np.empty((len(x), len(self.labels)))  # (N, K)
        none = np.zeros(len(x), np.int64)  # (N,) classes that nothing reads
        with evaluating(model) as device:
            for which in groups_of(x.lengths, _SCORED_STEPS):
                batch = ClassBatch.of(x, none, which).to(device)
                found[which] = model.log_probabilities(batch).cpu().numpy()
        return found

    def contributions(self, model: Any, x: Ragged, classes: Array) -> list[Array]:
        """How much each step moved the network towards the class asked about, in nats, ``(T_i,)`` of each sequence."""
        return [values.sum(axis=1) for values in contributions(model, x, classes, self.neutral(model))]

    def brief_contributions(self, model: Any, x: Ragged, classes: Array) -> list[Array]:
        """As ``contributions``, where nobody asked for it: zeros for sequences so long that it would take minutes."""
        found = [np.zeros(length) for length in x.lengths]  # (T_i,) each
        short = np.flatnonzero(x.lengths <= _EXPLAINED_STEPS)
        for at, values in zip(short, self.contributions(model, x[short], classes[short]), strict=True):
            found[at] = values
        return found

    def evaluate(self, model: Any, part: Part) -> Evaluation:
        """All metrics over the items of a part, and which steps made the network so sure of its surest errors.

        Raises:
            InputError: there is no such part.
        """
        if part not in self.parts:
            raise InputError(f"there is no {part} part to score on", fix="give it a share above 0 with --split")
        examples = self.parts[part]
        found = scores.score(examples.y, self.log_probabilities(model, examples.x))
        telling = scores.surest_errors(found)  # (E,)
        values = self.brief_contributions(model, examples.x[telling], found.arrays["said"][telling])
        arrays = {"telling": telling, "contributions": np.concatenate([np.empty(0), *values])}
        return replace(found, arrays={**found.arrays, **arrays})

    def baselines(self) -> Mapping[str, Callable[[Part], Evaluation]]:
        """The most frequent class; and, where there is a training part, those of this kind of task."""
        makers: dict[str, Callable[[], Answers]] = {"majority": lambda: self._majority}
        makers |= self.simple() if "train" in self.parts else {}
        # Fitted once, however many parts are evaluated.
        return {name: partial(self._evaluate_baseline, cache(make)) for name, make in makers.items()}

    def _majority(self, part: Part) -> Array:
        return baselines.majority(self.labels, len(self.parts[part]))

    def _evaluate_baseline(self, make: Callable[[], Answers], part: Part) -> Evaluation:
        answers = make()(part)
        score = scores.score_answers if answers.ndim == 1 else scores.score
        return score(self.parts[part].y, answers)

    @classmethod
    def backtest(cls, source: Any, config: Any, model: ModelConfig, training: Mapping[str, Any], **how: Any) -> Any:
        """Trains and scores once for each fold of a cross-validation: see ``classifying.folds``."""
        return cross_validate(cls, source, config, model, training, **how)

    def sections(self, results: Mapping[str, Sequence[Evaluation]]) -> Sequence[Any]:
        """Confusion, the most telling errors, and confidence beside accuracy."""
        sign = 1 if self.metrics[0].goal == "min" else -1
        simple = set(self.baselines())
        ranked = figures.ranked(results, self.metrics[0].name, sign)
        if not ranked:
            return []
        best = next((name for name in ranked if name not in simple), ranked[0])  # networks are what people came for
        middle = figures.middle_seed(results[best], self.metrics[0].name)
        found = [figures.confusion_section(best, middle, self.labels), self._errors(best, middle)]
        found.append(figures.reliability_section({name: results[name] for name in ranked}))
        return [section for section in found if section is not None]

    def _errors(self, name: str, evaluation: Evaluation) -> Any:
        """The surest of the wrong answers: they tell most about data and model."""
        examples, arrays = self.parts.get("test"), evaluation.arrays
        telling = arrays.get("telling")
        if examples is None or telling is None or len(examples) != len(arrays["truth"]) or not len(telling):
            return None
        ends = np.cumsum(examples.x.lengths[telling])[:-1]
        steps = np.split(arrays["contributions"], ends)  # (T_i,) each
        reasons = [self.because(examples.x[at], values) for at, values in zip(telling, steps, strict=True)]
        return figures.errors_section(name, evaluation, self.labels, [examples.names[at] for at in telling], reasons)


def _taken(values: Sequence[str], which: Array) -> Sequence[str]:
    """Some of the texts: lists by hand, other sequences as they do it themselves."""
    return [values[at] for at in which.tolist()] if isinstance(values, list | tuple) else values[which]  # type: ignore[index]


def _division_note(parts: Mapping[Part, Labelled], own: str | None, config: ClassificationConfig) -> str:
    counts = ", ".join(f"{len(held.labels):,} {part}" for part, held in parts.items() if len(held.labels))
    shares = " : ".join(f"{share:g}" for share in (config.split if own is None else config.split[:2]))
    drawn = f"parts: items drawn at random class by class, {shares}, always the same ({counts})"
    return drawn if own is None else f"{drawn}; test part: {own}, the data set's own"
