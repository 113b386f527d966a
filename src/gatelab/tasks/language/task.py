"""Language as a task: what training, compare and the reports ask of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from hashlib import sha256
from typing import Any, ClassVar, Literal

import numpy as np

from gatelab.core.config import ModelConfig, TrainingConfig
from gatelab.core.errors import InputError
from gatelab.core.task import Evaluation, Loss, Part, Task
from gatelab.data.tokens import Tokenizer
from gatelab.tasks.language import baselines, corpus, figures, samples, scores
from gatelab.tasks.language.baselines import NGrams
from gatelab.tasks.language.batches import Pieces, TextBatch, stream_steps, stream_windows
from gatelab.tasks.language.config import LanguageConfig
from gatelab.tasks.language.corpus import PARTS, Corpus, Held
from gatelab.tasks.language.generate import Streamed
from gatelab.tasks.language.model import LanguageNet
from gatelab.tasks.language.passes import evaluating, stream_losses, text_losses
from gatelab.tasks.language.predict import predict_lines

Array = np.ndarray
_UPDATES = 5_000


class Language(Task):
    """Which token comes next in a text, ends of documents among them."""

    name: ClassVar[str] = "language"
    Config: ClassVar[type] = LanguageConfig
    config: LanguageConfig

    def __init__(
        self,
        config: LanguageConfig,
        tokenizer: Tokenizer,
        notes: Sequence[str],
        data: str,
        parts: Mapping[Part, Held] | None = None,
    ):
        self.config, self.tokenizer, self.notes, self._data = config, tokenizer, list(notes), data
        self.metrics = scores.metrics(config.tokens)
        self.parts = dict(parts or {})
        self._pieces: dict[Part, Pieces] = {}

    # ---- from data to task, and back ----------------------------------------------------------------------------

    @classmethod
    def open(cls, source: Any, config: LanguageConfig) -> Language:
        """Reads and divides the text, and learns its tokens on the training part.

        Raises:
            InputError: no such file or data set, or a setting that cannot be.
            DataError: no text, too little of it, or a byte that is none, with its line.
        """
        return cls._of(corpus.read(source, config))

    @classmethod
    def _of(cls, read: Corpus) -> Language:
        return cls(read.config, read.tokenizer, read.notes, _digest(read.parts), read.parts)

    def reopen(self, source: Any, purpose: Literal["evaluate", "update"]) -> Language:
        """The same task over other text, with the tokens of the first.

        ``evaluate`` takes all of it; ``update`` trains on nine tenths and validates on the last.
        """
        shares = (0.0, 0.0, 1.0) if purpose == "evaluate" else (0.9, 0.1, 0.0)
        return self._of(corpus.reread(source, self.config, self.tokenizer, shares))

    def state(self) -> dict[str, Any]:
        """The tokenizer, and a digest of the data: a run is tied to its data."""
        return {"tokenizer": self.tokenizer.state(), "notes": self.notes, "data": self._data}

    @classmethod
    def restore(cls, config: LanguageConfig, state: Mapping[str, Any]) -> Language:
        """The task without data: able to ``build``, ``predict`` and ``reopen``."""
        return cls(config, Tokenizer.from_state(state["tokenizer"]), state["notes"], state["data"])

    def fingerprint(self) -> str:
        """Which data this task is about."""
        return self._data

    # ---- what the training loop needs ---------------------------------------------------------------------------

    def training_defaults(self) -> TrainingConfig:
        """Some thousand updates, whatever the length of the text."""
        held = self.parts.get("train")
        lines = self.config.documents == "lines"
        items = 0 if held is None else len(held.texts) if lines else len(held.values) / self._window
        batch_size = int(np.clip(2 ** np.round(np.log2(max(items, 1) / 200)), 4, 64))
        epochs = round(_UPDATES / max(self.count("train", batch_size), 1))
        return TrainingConfig(batch_size=batch_size, epochs=int(np.clip(epochs, 10, 100)), patience=10)

    @classmethod
    def model_defaults(cls) -> ModelConfig:
        """More units than most tasks need: there is much to remember of a text."""
        return ModelConfig(hidden_size=128, dropout=0.2)

    def build(self, model: ModelConfig) -> LanguageNet:
        """An encoder as ``model`` says, between an embedding and a softmax over the vocabulary."""
        return LanguageNet(model, self.config, len(self.tokenizer))

    def batches(
        self, part: Part, batch_size: int, rng: np.random.Generator | None = None, start: int = 0
    ) -> Iterator[TextBatch]:
        """Windows of ``batch_size`` streams that carry their states on, or batches of lines."""
        if not self._holds(part):
            return iter(())
        if self.config.documents == "lines":
            return self._lines(part).batches(batch_size, rng, start)
        return stream_windows(self.parts[part].values, batch_size, self._window, rng, start)

    def count(self, part: Part, batch_size: int) -> int:
        """Batches in a part."""
        if not self._holds(part):
            return 0
        if self.config.documents == "lines":
            return self._lines(part).count(batch_size)
        return -(-stream_steps(len(self.parts[part].values), batch_size) // self._window)

    def loss(self, model: Any, batch: TextBatch, state: Any = None) -> Loss:
        """Mean −ln p of the tokens to be predicted, in nats."""
        losses, state = model.losses(batch.read, batch.truth, state)  # (N,)
        if not len(losses):  # a share of a batch in which every stream has ended
            return Loss(losses.sum(), 0, state)
        return Loss(losses.mean(), len(losses), state, batch.scale)

    @property
    def _window(self) -> int:
        assert self.config.window is not None
        return self.config.window

    def _holds(self, part: Part) -> bool:
        return part in self.parts and len(self.parts[part].values) > 0

    def _lines(self, part: Part) -> Pieces:
        if part not in self._pieces:
            self._pieces[part] = Pieces(self.parts[part].texts, self._window)
        return self._pieces[part]

    # ---- what compare and the reports need ----------------------------------------------------------------------

    def evaluate(self, model: Any, part: Part) -> Evaluation:
        """All metrics over every token of a part, ends included.

        A stream is read once, from its beginning to its end, each token given all before it; a line by itself.
        """
        held = self.parts[part]
        if self.config.documents == "lines":
            losses = np.concatenate(text_losses(model, held.texts))  # (N,)
        else:
            losses = stream_losses(model, held.values)  # (N,)
        return self._score(losses, held, self._written(model, part))

    def _score(self, losses: Array, held: Held, written: Mapping[str, Array] | None = None) -> Evaluation:
        shown = figures.by_token(losses, held.values, len(self.tokenizer))
        return scores.score(losses, held.characters, self.config.tokens, {**shown, **(written or {})})

    def _written(self, model: Any, part: Part) -> dict[str, Array]:
        """What the model writes, for the report on the test part."""
        lines = self.config.documents == "lines"
        if part != "test" or (lines and not self._holds("train")):  # which would say what is new
            return {}
        with evaluating(model):
            if lines:
                return samples.of_lines(Streamed(model), self.parts["train"].texts, self.parts["test"].texts)
            return samples.of_stream(Streamed(model))

    def baselines(self) -> Mapping[str, Callable[[Part], Evaluation]]:
        """Chance; and, where there is a training part, frequencies of tokens and of n-grams."""
        vocabulary = len(self.tokenizer)
        makers: dict[str, Callable[[], Callable[[Array], Array]]] = {
            "chance": lambda: partial(baselines.chance, vocabulary=vocabulary)
        }
        if self._holds("train"):
            train = self.parts["train"].values
            makers["frequencies"] = lambda: NGrams(train, vocabulary, order=1).losses
            makers[f"{baselines.ORDER}-gram"] = lambda: NGrams(train, vocabulary).losses
        # Counted once, however many parts are evaluated.
        return {name: partial(self._evaluate_baseline, cache(make)) for name, make in makers.items()}

    def _evaluate_baseline(self, make: Callable[[], Callable[[Array], Array]], part: Part) -> Evaluation:
        return self._score(make()(self.parts[part].values), self.parts[part])

    def sections(self, results: Mapping[str, Sequence[Evaluation]]) -> Sequence[Any]:
        """What the networks write, and which tokens are hard."""
        return figures.sections(results, list(self.baselines()), self.metrics[0], self.tokenizer)

    # ---- use ----------------------------------------------------------------------------------------------------

    def predict(self, model: Any, source: Any, *, future: Any = None) -> Any:
        """How well the model expects each line of new text: see ``predict_lines``."""
        if future is not None:
            raise InputError("nothing is known ahead of text", got=future, fix="leave --future out")
        return predict_lines(self, model, source)

    def export(self, model: Any) -> Any:
        """The network as one ONNX graph, from tokens and states to log-probabilities and states."""
        from gatelab.tasks.language.onnx import export

        return export(self, model)


def _digest(parts: Mapping[Part, Held]) -> str:
    """Thirty-two hexadecimal digits that tell this text from others."""
    hasher = sha256()
    for part in PARTS:
        if part in parts:
            hasher.update(f"{part} {parts[part].texts.digest()}".encode())
    return hasher.hexdigest()[:32]
