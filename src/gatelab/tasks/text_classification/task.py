"""Text classification as a task: what is particular about texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from gatelab.core.config import ModelConfig, TrainingConfig
from gatelab.core.errors import InputError
from gatelab.core.task import Part
from gatelab.data.labelled_texts import read_texts
from gatelab.data.ragged import Ragged
from gatelab.data.texts import Texts
from gatelab.data.tokens import END, RESERVED, UNKNOWN, Tokenizer
from gatelab.data.vectors import Found, read_vectors
from gatelab.tasks.classifying.contributions import strongest
from gatelab.tasks.classifying.labels import PARTS, Labels
from gatelab.tasks.classifying.model import Classifier
from gatelab.tasks.classifying.task import Answers, Classification, Labelled
from gatelab.tasks.text_classification import baselines
from gatelab.tasks.text_classification.config import TextConfig
from gatelab.tasks.text_classification.embedding import Embedding
from gatelab.tasks.text_classification.predict import predict_texts

Array = np.ndarray
_NAMED = 6  # tokens that are named where there is room for a few


class TextClassification(Classification):
    """Which of K classes a text is of."""

    name: ClassVar[str] = "text-classification"
    Config: ClassVar[type] = TextConfig
    config: TextConfig

    def __init__(self, config: TextConfig, labels: Labels, learned: Mapping[str, Any], notes: Sequence[str], data: str):
        super().__init__(config, labels, learned, notes, data)
        self.tokenizer = Tokenizer.from_state(learned["tokenizer"])
        self._vectors: Found | None = None  # to start a first training from

    @classmethod
    def of_parts(cls, parts: Any, config: TextConfig, notes: Sequence[str], needed: Sequence[Part] = PARTS) -> Any:
        """As ``Classification.of_parts``; and the vectors of the training part's words, where a file has some."""
        task = super().of_parts(parts, config, notes, needed)
        assert isinstance(task, cls)
        if config.vectors is not None:
            words = {text: number for number, text in enumerate(task.tokenizer.tokens, RESERVED)}
            task._vectors = read_vectors(config.vectors, words)
            task.learned["embedding"] = task._vectors.vectors.shape[1]
            known = f"vectors: {len(task._vectors.which):,} of {len(words):,} words are in {config.vectors}"
            task.notes = [*task.notes, known]
        return task

    @classmethod
    def model_defaults(cls) -> ModelConfig:
        """Both directions, and half of what is pooled left out at a time."""
        return ModelConfig(hidden_size=64, bidirectional=True, dropout=0.5)

    def training_defaults(self) -> TrainingConfig:
        """Few passes in small steps: the words of some thousand texts are soon learned by heart."""
        defaults = super().training_defaults()
        epochs = max(defaults.epochs // 3, 10)
        return replace(defaults, epochs=epochs, learning_rate=1e-3, patience=4)

    # ---- what Classification asks for ---------------------------------------------------------------------------

    @classmethod
    def read(cls, source: Any, config: TextConfig) -> Labelled:
        """Texts with their labels; see ``read_texts``."""
        found = read_texts(source, text=config.text, label=config.label, encoding=config.encoding)
        labels = [label for label in found.labels if label is not None]
        notes = list(found.notes)
        if empty := sum(not text.strip() for text in found.texts):
            notes.append(f"{empty:,} texts are empty: nothing can be read in them, but they count")
        return Labelled(found.texts, labels, found.texts, notes, found.place, found.label_type)

    @classmethod
    def learn(cls, items: Texts, labels: Array, config: TextConfig) -> dict[str, Any]:
        """The vocabulary of the training part."""
        tokenizer = Tokenizer.learn(
            items, config.tokens, size=config.vocabulary, min_count=config.min_count, lower=config.lower
        )
        return {"tokenizer": tokenizer.state(), "embedding": config.embedding}

    def encode(self, items: Texts) -> Ragged:
        """The numbers of each text's tokens, ``(T_i,)`` int32; a text without any is one end of a document."""
        none = np.array([END], np.int32)
        return Ragged.of((ids if len(ids) else none for ids in map(self.tokenizer.encode, items)), np.int32)

    def front(self) -> tuple[Embedding, int]:
        """A vector for each token."""
        config, size = self.config, int(self.learned["embedding"])
        given = (config.word_dropout, config.embedding_dropout, self._vectors)
        return Embedding(len(self.tokenizer), size, *given), size

    def neutral(self, model: Classifier) -> Tensor:
        """The vector of the unknown token, which training has shown in the place of any."""
        return model.front.table.weight[UNKNOWN].detach()

    def because(self, item: Array, values: Array) -> str:
        """The tokens that mattered most, each with its sign."""
        name = self.tokenizer.name
        return ", ".join(f"{name(int(item[at]))} {values[at]:+.2f}" for at in strongest(values, _NAMED))

    def simple(self) -> Mapping[str, Callable[[], Answers]]:
        """Words counted, and a linear model over the counts."""
        return {
            "TF-IDF + logistic regression": partial(self._words, baselines.logistic),
            "naive Bayes": partial(self._words, baselines.naive_bayes),
        }

    def _words(self, fit: Callable[..., Any]) -> Answers:
        train, validation = self.parts["train"], self.parts["validation"]
        fitted = fit(train.names, train.y, validation.names, validation.y)

        def answers(part: Part) -> Array:
            return fitted.predict_log_proba(self.parts[part].names)  # (N, K)

        return answers

    # ---- use ----------------------------------------------------------------------------------------------------

    def predict(self, model: Any, source: Any, *, future: Any = None) -> Any:
        """The class of each text, how sure that is, and which words made it so: see ``predict_texts``."""
        if future is not None:
            raise InputError("nothing is known ahead of a text", got=future, fix="leave --future out")
        return predict_texts(self, model, source)

    def export(self, model: Any) -> Any:
        """The model as an ONNX graph from numbers of tokens to probabilities."""
        from gatelab.tasks.text_classification.onnx import export  # needs the extra

        return export(self, model)
