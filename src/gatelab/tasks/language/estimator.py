"""``gatelab.LanguageModel``: what comes next in a text, and texts that are written so, with scikit-learn's manners."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
from sklearn.utils.validation import check_is_fitted

from gatelab.core.config import from_options
from gatelab.core.errors import InputError
from gatelab.core.task import Task
from gatelab.tasks.estimating import Estimator
from gatelab.tasks.language.config import Generation, LanguageConfig
from gatelab.tasks.language.generate import Generated, Live, Streamed, generate
from gatelab.tasks.language.task import Language


class LanguageModel(Estimator):
    """Learns what comes next in a text, with an RNN, LSTM or GRU; scores texts, and writes some.

    Text is a path (a file, a folder or ``.zip`` of ``.txt``), the name of a data set, or a list of strings, each a
    document. Every parameter is a setting of ``LanguageConfig``, ``ModelConfig`` or ``TrainingConfig`` under the same
    name, and explained there.

    >>> model = LanguageModel(epochs=5).fit("names_makemore")  # doctest: +SKIP
    >>> model.generate("mar", n=3, temperature=0.8)  # doctest: +SKIP

    Attributes:
        task_: tokenizer and data.
        model_: the trained network, best validation weights.
        history_: one record per epoch.
        notes_: what was decided about the text.
        folder_: the run folder; ``LanguageModel.load`` opens it again.
    """

    kind: ClassVar[type[Task]] = Language

    def __init__(
        self,
        tokens: str = "characters",
        *,
        documents: str = "auto",
        vocabulary: int | None = None,
        min_count: int | None = None,
        lower: bool = False,
        encoding: str | None = None,
        split: tuple[float, ...] = LanguageConfig.split,
        window: int | None = None,
        embedding_size: int | None = None,
        tied: bool | None = None,
        adaptive: bool | None = None,
        cell: str = "gru",
        hidden_size: int = 128,
        num_layers: int = 1,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        weight_drop: float = 0.0,
        epochs: int | None = None,
        max_seconds: float | None = None,
        max_steps: int | None = None,
        batch_size: int | None = None,
        optimizer: str = "adam",
        learning_rate: float = 3e-3,
        schedule: str = "cosine",
        weight_decay: float = 0.0,
        patience: int | None = 10,
        device: str = "cpu",
        threads: int = 1,
        seed: int = 0,
        folder: str | Path | None = None,
    ):
        self.tokens = tokens
        self.documents = documents
        self.vocabulary = vocabulary
        self.min_count = min_count
        self.lower = lower
        self.encoding = encoding
        self.split = split
        self.window = window
        self.embedding_size = embedding_size
        self.tied = tied
        self.adaptive = adaptive
        self.cell = cell
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.recurrent_dropout = recurrent_dropout
        self.weight_drop = weight_drop
        self.epochs = epochs
        self.max_seconds = max_seconds
        self.max_steps = max_steps
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.weight_decay = weight_decay
        self.patience = patience
        self.device = device
        self.threads = threads
        self.seed = seed
        self.folder = folder

    # ---- scikit-learn's verbs -----------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None) -> LanguageModel:
        """Reads the text ``X``, trains, keeps the best validation weights. ``y`` is ignored: what comes next is in X.

        Raises:
            DataError: the text cannot be used.
            InputError: a parameter that cannot be.
            TrainingError: the loss stopped being finite.
        """
        return self._train(X)

    def predict(self, X: Any) -> pd.DataFrame:
        """How likely each line of new text is: see ``gatelab.tasks.language.predict.predict_lines``."""
        check_is_fitted(self, "model_")
        return self.task_.predict(self.model_, X)

    def evaluate(self, X: Any = None) -> dict[str, float]:
        """All metrics: on the test part, or with ``X`` on all of a text of its own.

        Raises:
            InputError: without ``X``, where there is no test part, as in a loaded model.
        """
        check_is_fitted(self, "model_")
        task = self.task_ if X is None else self.task_.reopen(X, "evaluate")
        if not task.count("test", 1):
            raise InputError("there is no test part to evaluate on", fix="give a text: evaluate(text)")
        return dict(task.evaluate(self.model_, "test").metrics)

    def score(self, X: Any, y: Any = None) -> float:
        """Minus the mean −ln p of a token of ``X``, so that more is better, as scikit-learn expects."""
        return -self.evaluate(X)[self.task_.metrics[0].name]

    def update(
        self, X: Any, *, epochs: int = 5, learning_rate: float | None = None, folder: str | Path | None = None
    ) -> LanguageModel:
        """Goes on training with the text ``X`` from the present weights; the tokens stay.

        Args:
            X: more text.
            epochs: passes over it, at most.
            learning_rate: step size; a tenth of the first training's by default.
            folder: run folder of the updated model; a temporary one by default.
        """
        return self._update(X, epochs, learning_rate, folder)

    # ---- writing ------------------------------------------------------------------------------------------------

    def generate(self, prompt: str = "", *, n: int = 1, seed: int = 0, **settings: Any) -> list[Generated]:
        """``n`` texts that go on after ``prompt``, each with its log-probability.

        Args:
            prompt: what they begin with; nothing: the beginning of a text.
            n: how many. The first are the same, however many there are.
            seed: of the random numbers.
            settings: those of ``gatelab.tasks.language.config.Generation``, such as ``temperature`` and ``beam``.

        Raises:
            InputError: a prompt that the model cannot read, naming what it does not know; or a setting that cannot be.
        """
        check_is_fitted(self, "model_")
        how = from_options(Generation, settings)
        return generate(Streamed(self.model_), self.task_.tokenizer, prompt, how, n, seed)

    def stream(self, prompt: str = "", *, seed: int = 0, **settings: Any) -> Live:
        """The first text of ``generate``, its pieces one by one as they are drawn."""
        check_is_fitted(self, "model_")
        how = from_options(Generation, settings)
        return Live(Streamed(self.model_), self.task_.tokenizer, prompt, how, seed=seed)
