"""Sequence classification as a task: what is particular about numeric sequences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from gatelab.core.config import ModelConfig
from gatelab.core.errors import DataError, InputError
from gatelab.core.task import Evaluation, Part
from gatelab.data.names import listed
from gatelab.data.ragged import Ragged
from gatelab.data.sequences import Layout, Read, Sequences, numbered_channels, read_sequences
from gatelab.data.wording import BEYOND, counted
from gatelab.tasks.classifying.contributions import contributions
from gatelab.tasks.classifying.labels import Labels
from gatelab.tasks.classifying.task import Answers, Classification, Labelled
from gatelab.tasks.sequence_classification import baselines, figures
from gatelab.tasks.sequence_classification.config import SequenceConfig
from gatelab.tasks.sequence_classification.front import Noise
from gatelab.tasks.sequence_classification.predict import predict_sequences
from gatelab.tasks.sequence_classification.scaling import Scaling

Array = np.ndarray
_LEAST = 1e-12  # probability of what a linear model holds to be impossible


class SequenceClassification(Classification):
    """Which of K classes a numeric sequence is of."""

    name: ClassVar[str] = "sequence-classification"
    Config: ClassVar[type] = SequenceConfig
    config: SequenceConfig  # type: ignore[assignment]

    def __init__(
        self, config: SequenceConfig, labels: Labels, learned: Mapping[str, Any], notes: Sequence[str], data: str
    ):
        super().__init__(config, labels, learned, notes, data)
        self.scaling = Scaling.restore(learned["scaling"])
        self.channels: tuple[str, ...] = tuple(learned["channels"])
        self.sequences: dict[Part, Sequences] = {}

    @classmethod
    def model_defaults(cls) -> ModelConfig:
        """Both directions, and a third of what is pooled left out at a time."""
        return ModelConfig(bidirectional=True, dropout=0.3)

    # ---- what Classification asks for ---------------------------------------------------------------------------

    @classmethod
    def read(cls, source: Any, config: SequenceConfig) -> Labelled:
        """Sequences with their labels; see ``read_sequences``."""
        found = read_sequences(source, config.layout)
        lengths = found.sequences.values.lengths  # (N,)
        steps = f"{lengths.min():,}" if lengths.min() == lengths.max() else f"{lengths.min():,} to {lengths.max():,}"
        said = f"{len(lengths):,} sequences of {steps} steps, {len(found.sequences.channels):,} channels"
        labels = found.labels if found.labels is not None else ()
        return Labelled(
            found.sequences,
            labels,
            found.names,
            [*found.notes, said],
            lambda number: found.places[number - 1],
            found.label_type,
        )

    @classmethod
    def learn(cls, items: Sequences, labels: Array, config: SequenceConfig) -> dict[str, Any]:
        """The scales of the channels, which of them have gaps, and how many steps are read at once."""
        scaling = Scaling.learn(items.values, config.scale, config.join)
        numbered = items.channels == numbered_channels(len(items.channels))
        return {"scaling": scaling.state(), "channels": list(items.channels), "named": not numbered}

    def encode(self, items: Sequences) -> Ragged:
        """What the network reads: scaled, with gaps said, steps joined, ``(⌈T_i/P⌉, I)`` float32.

        Raises:
            DataError: other channels than in training.
        """
        if len(items.channels) != len(self.channels):
            raise DataError(
                "these sequences have other channels than those of the training",
                expected=f"{len(self.channels)} channels",
                got=f"{len(items.channels)}",
                fix="give the channels that the model was trained with, in the same order",
            )
        return Ragged.of(map(self.scaling.read, items.values), np.float32, (self.scaling.features,))

    def _take(self, parts: Mapping[Part, Labelled], needed: Sequence[Part]) -> None:
        super()._take(parts, needed)
        self.sequences = {part: held.items for part, held in parts.items()}
        if self.scaling.join > 1:
            self._note(f"the network reads {self.scaling.join} steps at once (--join)")
        for line in self.said_of([held.items for held in parts.values()]):
            self._note(line)

    def said_of(self, items: Sequence[Sequences]) -> list[str]:
        """Lines on channels of which nothing was learned, and on values further out than any that something was."""
        found = []
        if len(self.scaling.still):
            still = listed(self.channels[at] for at in self.scaling.still)
            found.append(f"read as 0, for the training part shows no change of it to learn from: {still}")
        counts = np.sum([self.scaling.beyond(each.values) for each in items], axis=0)  # (C,)
        beyond = [
            f"{name} ({counted(n, 'value')})" for name, n in zip(self.channels, counts.tolist(), strict=True) if n
        ]
        if beyond:
            found.append(BEYOND + listed(beyond))
        return found

    def front(self) -> tuple[Noise, int]:
        """The scaled values, with noise in training."""
        return Noise(self.config.noise), self.scaling.features

    def because(self, item: Array, values: Array) -> str:
        """The steps that mattered most, each with its sign."""
        return figures.because(values, self.scaling.join)

    # ---- baselines ----------------------------------------------------------------------------------------------

    def simple(self) -> Mapping[str, Callable[[], Answers]]:
        """The nearest neighbour, and a linear model over a few numbers."""
        return {"1-NN DTW": self._neighbour, "logistic regression": self._logistic}

    def _scaled(self, part: Part) -> list[Array]:
        """Each sequence of a part as baselines see it: scaled, missing values 0, ``(T_i, C)``."""
        return [self.scaling.scaled(rows) for rows in self.sequences[part].values] if part in self.sequences else []

    def _neighbour(self) -> Answers:
        """References are training and validation part together: nothing is fitted that validation would be for."""
        known: tuple[Part, ...] = ("train", "validation")
        classes = np.concatenate([self.parts[part].y for part in known])  # (R,)
        neighbour = baselines.Neighbour([rows for part in known for rows in self._scaled(part)], classes)

        def answers(part: Part) -> Array:
            said, count = neighbour.answers(self._scaled(part))
            if count < len(classes):
                self._note(f"1-NN DTW compares with {count:,} of {len(classes):,} sequences drawn at random, for time")
            return said  # (N,)

        return answers

    def _logistic(self) -> Answers:
        def table(part: Part) -> Array:
            return np.stack([baselines.features(rows) for rows in self._scaled(part)])  # (N, F)

        held_out = table("validation") if len(self.parts["validation"]) else np.empty((0, 0))
        fitted = baselines.logistic(table("train"), self.parts["train"].y, held_out, self.parts["validation"].y)
        return lambda part: np.log(np.maximum(fitted.predict_proba(table(part)), _LEAST))  # (N, K)

    def _note(self, text: str) -> None:
        self.notes = [*self.notes, *([text] if text not in self.notes else [])]

    # ---- what compare and the reports need ----------------------------------------------------------------------

    def evaluate(self, model: Any, part: Part) -> Evaluation:
        """As ``Classification.evaluate``; and which steps mattered in some sequences, for a picture."""
        found = super().evaluate(model, part)
        which = figures.shown(self.parts[part].y, self.sequences[part].values.lengths)  # (E,)
        said = found.arrays["said"][which]
        values = self.contributions_of(model, self.sequences[part][which], said)
        arrays = {
            "shown": which,
            "shown_contributions": np.concatenate([np.empty(0), *[v.sum(axis=1) for v in values]]),
        }
        return replace(found, arrays={**found.arrays, **arrays})

    def contributions_of(self, model: Any, sequences: Sequences, classes: Array) -> list[Array]:
        """What each channel at each step gave the log-odds of a class, in nats: ``(T_i, C)`` of each sequence.

        Args:
            model: the network.
            sequences: N of them.
            classes: the class of each that is asked about, ``(N,)``.
        """
        found = contributions(model, self.encode(sequences), classes, self.neutral(model))
        lengths = sequences.values.lengths.tolist()
        return [self.scaling.by_step(values, steps) for values, steps in zip(found, lengths, strict=True)]

    def sections(self, results: Mapping[str, Sequence[Evaluation]]) -> Sequence[Any]:
        """Those of every classification, and which steps mattered."""
        found = list(super().sections(results))
        if "test" in self.sequences:
            shown = figures.steps_section(
                results, self.sequences["test"], self.parts["test"], self.labels, self.metrics[0]
            )
            found[1:1] = [shown] if shown is not None else []
        return found

    # ---- use ----------------------------------------------------------------------------------------------------

    def read_like(self, source: Any) -> Read:
        """New sequences with the channels of the training; labels where the source has them.

        Raises:
            InputError: no such source, or a channel that is not there.
            DataError: no sequences, or other channels.
        """
        named = self.learned["channels"] if self.learned["named"] else ()
        layout: Layout = replace(self.config.layout, channels=tuple(named))
        return read_sequences(source, layout, labelled=False)

    def predict(self, model: Any, source: Any, *, future: Any = None) -> Any:
        """The class of each sequence, how sure that is, and which steps made it so: see ``predict_sequences``."""
        if future is not None:
            raise InputError("nothing is known ahead of a sequence", got=future, fix="leave --future out")
        return predict_sequences(self, model, source)

    def export(self, model: Any) -> Any:
        """The model as an ONNX graph from values in the user's units to probabilities."""
        from gatelab.tasks.sequence_classification.onnx import export  # needs the extra

        return export(self, model)
