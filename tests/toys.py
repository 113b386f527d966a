"""Two tasks small enough to train in a second, each with a quarter of what real tasks need of the training loop.

``AddingTask``: padded sequences, one number each (Hochreiter & Schmidhuber 1997, the adding problem).
``EchoTask``: parallel streams cut into windows; what to say at a step was heard ``delay`` steps ago, often in the
window before, so that the loss can only fall to zero where the state is carried over.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import nn

from gatelab.core.config import ModelConfig, TrainingConfig, require
from gatelab.core.errors import DataError
from gatelab.core.random import generator
from gatelab.core.task import Evaluation, Loss, Metric, Task
from gatelab.tasks import TASKS

LAYERS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
PARTS = ("train", "validation", "test")


def register() -> None:
    """Makes the toys known by name in this process, as an installed task is."""
    TASKS._entries.update({"adding": "toys:AddingTask", "echo": "toys:EchoTask"})


def _only(purpose: str, parts: dict[str, Any]) -> dict[str, Any]:
    wanted = ("test",) if purpose == "evaluate" else ("train", "validation")
    return {part: parts[part] for part in wanted}


class Network(nn.Module):
    """A recurrent layer and a linear head at every step."""

    def __init__(self, model: ModelConfig, inputs: int, outputs: int):
        super().__init__()
        between = model.dropout if model.num_layers > 1 else 0.0
        self.layer = LAYERS[model.cell](inputs, model.hidden_size, model.num_layers, dropout=between)
        self.dropout = nn.Dropout(model.dropout)
        self.head = nn.Linear(model.hidden_size, outputs)

    def forward(self, x: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        output, state = self.layer(x, state)  # (T, B, H)
        return self.head(self.dropout(output)), state


# ---- the adding problem ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AddingConfig:
    """Sequences of up to ``steps`` steps: two of the numbers are marked, and their sum is asked for."""

    steps: int = 12
    items: int = 256

    def __post_init__(self) -> None:
        require(self.steps >= 4, "steps", "at least 4", self.steps)


@dataclass(frozen=True)
class AddingBatch:
    """Padded sequences; what lies after an item's length is zero and is not looked at."""

    x: torch.Tensor  # (T, B, 2) number and mark
    lengths: torch.Tensor  # (B,)
    y: torch.Tensor  # (B,) NaN where the answer is not known
    carries: ClassVar[bool] = False

    @property
    def size(self) -> int:
        return self.x.shape[1]

    @property
    def steps(self) -> int:
        return self.x.shape[0]

    def take(self, which: slice) -> AddingBatch:
        return AddingBatch(self.x[:, which], self.lengths[which], self.y[which])

    def to(self, device: Any) -> AddingBatch:
        return AddingBatch(self.x.to(device), self.lengths.to(device), self.y.to(device))


class AddingTask(Task):
    """Sum of the two marked numbers. ``open`` takes the seed of the data, an integer."""

    name = "adding"
    Config = AddingConfig
    metrics = (Metric("MSE"), Metric("MAE"))
    notes = ("drawn, not measured",)

    @classmethod
    def open(cls, source: Any, config: AddingConfig) -> AddingTask:
        if not isinstance(source, int):
            raise DataError("the adding problem is drawn from a seed", expected="an integer", got=source, fix="pass 0")
        parts = {part: _adding_items(config, generator(source, "adding", part)) for part in PARTS}
        task = cls.restore(config, {"mean": float(parts["train"].y.mean())})
        task.parts = parts
        return task

    def state(self) -> dict[str, Any]:
        return {"mean": self.mean}

    @classmethod
    def restore(cls, config: AddingConfig, state: Mapping[str, Any]) -> AddingTask:
        task = cls()
        task.config, task.mean, task.parts = config, state["mean"], {}
        return task

    def reopen(self, source: Any, purpose: str) -> AddingTask:
        task = self.open(source, self.config)
        task.mean = self.mean
        task.parts = _only(purpose, task.parts)
        return task

    def training_defaults(self) -> TrainingConfig:
        return TrainingConfig(epochs=16, batch_size=32, learning_rate=1e-2)

    def build(self, model: ModelConfig) -> Network:
        return Network(model, inputs=2, outputs=1)

    def batches(self, part, batch_size, rng=None, start=0) -> Iterator[AddingBatch]:
        whole = self.parts[part]
        order = np.arange(whole.size) if rng is None else rng.permutation(whole.size)
        for first in range(start * batch_size, whole.size, batch_size):
            chosen = torch.from_numpy(order[first : first + batch_size])
            yield AddingBatch(whole.x[:, chosen], whole.lengths[chosen], whole.y[chosen])

    def count(self, part, batch_size) -> int:
        return -(-self.parts[part].size // batch_size)

    def forward(self, model: Network, batch: AddingBatch) -> torch.Tensor:
        output, _ = model(batch.x)  # (T, B, 1)
        return output[batch.lengths - 1, torch.arange(batch.size, device=output.device), 0] + self.mean  # (B,)

    def loss(self, model, batch, state=None) -> Loss:
        known = ~batch.y.isnan()  # (B,)
        error = torch.where(known, self.forward(model, batch) - batch.y.nan_to_num(), 0.0)  # (B,)
        weight = int(known.sum())
        return Loss((error**2).sum() / max(weight, 1), weight)

    def evaluate(self, model, part) -> Evaluation:
        with torch.no_grad():
            batches = (batch.to(model.head.weight.device) for batch in self.batches(part, 256))
            forecast = torch.cat([self.forward(model, batch) for batch in batches])  # (N,)
        return self._score(forecast.cpu().numpy(), part)

    def baselines(self):
        return {"mean": lambda part: self._score(np.full(self.parts[part].size, self.mean, np.float32), part)}

    def _score(self, forecast: np.ndarray, part: str) -> Evaluation:
        truth = self.parts[part].y.numpy()  # (N,)
        error = forecast - truth  # (N,)
        metrics = {"MSE": float((error**2).mean()), "MAE": float(np.abs(error).mean())}
        return Evaluation(metrics, {"forecast": forecast, "truth": truth, "error": np.abs(error)}, len(truth))

    def predict(self, model, source, *, future=None) -> pd.DataFrame:
        """``source``: arrays of shape (T, 2)."""
        if any(np.ndim(item) != 2 or np.shape(item)[1] != 2 for item in source):
            raise DataError("an item is not a table of numbers and marks", expected="shape (T, 2)", fix="check shapes")
        items = [torch.as_tensor(np.asarray(item, np.float32)) for item in source]
        batch = AddingBatch(
            nn.utils.rnn.pad_sequence(items), torch.tensor([len(item) for item in items]), torch.zeros(len(items))
        )
        with torch.no_grad():
            return pd.DataFrame({"sum": self.forward(model, batch).numpy()})


def _adding_items(config: AddingConfig, rng: np.random.Generator) -> AddingBatch:
    T, N = config.steps, config.items
    lengths = rng.integers(T // 2, T + 1, N)  # (N,)
    inside = np.arange(T)[:, None] < lengths  # (T, N)
    numbers = rng.random((T, N)) * inside  # (T, N)
    marks = np.zeros((T, N))  # (T, N)
    for item, length in enumerate(lengths):
        marks[rng.choice(length, 2, replace=False), item] = 1.0
    x = np.stack([numbers, marks], axis=2).astype(np.float32)  # (T, N, 2)
    y = (numbers * marks).sum(0).astype(np.float32)  # (N,)
    return AddingBatch(torch.from_numpy(x), torch.from_numpy(lengths), torch.from_numpy(y))


# ---- the echo ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EchoConfig:
    """A stream of random bits, to be said again ``delay`` steps later."""

    length: int = 2048
    window: int = 8
    delay: int = 3

    def __post_init__(self) -> None:
        require(1 <= self.delay < self.window, "delay", "at least 1 and below the window", self.delay)


@dataclass(frozen=True)
class EchoBatch:
    """One window of B parallel streams."""

    x: torch.Tensor  # (T, B, 1) bits as -1 and 1
    y: torch.Tensor  # (T, B) the bit to say, 0 or 1; NaN where nothing was heard yet
    carries: bool

    @property
    def size(self) -> int:
        return self.x.shape[1]

    @property
    def steps(self) -> int:
        return self.x.shape[0]

    def take(self, which: slice) -> EchoBatch:
        return EchoBatch(self.x[:, which], self.y[:, which], self.carries)

    def to(self, device: Any) -> EchoBatch:
        return EchoBatch(self.x.to(device), self.y.to(device), self.carries)


class EchoTask(Task):
    """Echo of bits. ``open`` takes the seed of the data, an integer."""

    name = "echo"
    Config = EchoConfig
    metrics = (Metric("accuracy", "max"),)
    notes = ("drawn, not measured",)
    criterion = Metric("accuracy", "max")

    @classmethod
    def open(cls, source: Any, config: EchoConfig) -> EchoTask:
        if not isinstance(source, int):
            raise DataError("the echo is drawn from a seed", expected="an integer", got=source, fix="pass 0")
        task = cls.restore(config, {})
        task.bits = {part: generator(source, "echo", part).integers(0, 2, config.length) for part in PARTS}
        return task

    def state(self) -> dict[str, Any]:
        return {}

    @classmethod
    def restore(cls, config: EchoConfig, state: Mapping[str, Any]) -> EchoTask:
        task = cls()
        task.config, task.bits = config, {}
        return task

    def reopen(self, source: Any, purpose: str) -> EchoTask:
        task = self.open(source, self.config)
        task.bits = _only(purpose, task.bits)
        return task

    def training_defaults(self) -> TrainingConfig:
        return TrainingConfig(epochs=6, batch_size=16, learning_rate=3e-2)

    def build(self, model: ModelConfig) -> Network:
        return Network(model, inputs=1, outputs=1)

    def batches(self, part, batch_size, rng=None, start=0) -> Iterator[EchoBatch]:
        W, count = self.config.window, self.count(part, batch_size)
        offset = 0 if rng is None else int(rng.integers(W + 1))  # the streams' order is fixed, where they begin is not
        rows = self.bits[part][: len(self.bits[part]) // batch_size * batch_size].reshape(batch_size, -1).T  # (N, B)
        heard = np.full(rows.shape, np.nan)  # (N, B)
        heard[offset + self.config.delay :] = rows[offset : -self.config.delay]
        for index in range(start, count):
            window = slice(offset + index * W, offset + (index + 1) * W)
            x = torch.from_numpy(rows[window, :, None] * 2.0 - 1.0).float()  # (W, B, 1)
            yield EchoBatch(x, torch.from_numpy(heard[window]).float(), carries=index > 0)

    def count(self, part, batch_size) -> int:
        return max(len(self.bits[part]) // batch_size // self.config.window - 1, 0)

    def loss(self, model, batch, state=None) -> Loss:
        logit, state = model(batch.x, state)  # (T, B, 1)
        known = ~batch.y.isnan()  # (T, B)
        mean = nn.functional.binary_cross_entropy_with_logits(logit[..., 0][known], batch.y[known])
        return Loss(mean, int(known.sum()), state)

    def validate(self, model) -> dict[str, float]:
        return dict(self.evaluate(model, "validation").metrics)

    def evaluate(self, model, part) -> Evaluation:
        state, right = None, []
        with torch.no_grad():
            for batch in self.batches(part, 16):
                batch = batch.to(model.head.weight.device)
                logit, state = model(batch.x, state)  # (T, B, 1)
                known = ~batch.y.isnan()  # (T, B)
                right.append(((logit[..., 0] > 0) == (batch.y > 0.5))[known].float())
        error = 1 - torch.cat(right).cpu().numpy()  # (N,)
        return Evaluation({"accuracy": 1 - float(error.mean())}, {"error": error}, len(error))

    def baselines(self):
        def chance(part: str) -> Evaluation:
            items = sum(int((~batch.y.isnan()).sum()) for batch in self.batches(part, 16))
            return Evaluation({"accuracy": 0.5}, {"error": np.full(items, 0.5)}, items)

        return {"chance": chance}

    def predict(self, model, source, *, future=None) -> pd.DataFrame:
        """``source``: a sequence of bits."""
        bits = np.asarray(source)  # (T,)
        if bits.ndim != 1 or not np.isin(bits, (0, 1)).all():
            raise DataError("the stream holds something else than bits", expected="0 and 1", fix="check the stream")
        with torch.no_grad():
            logit, _ = model(torch.from_numpy(bits * 2.0 - 1.0).float()[:, None, None])  # (T, 1, 1)
        return pd.DataFrame({"probability": torch.sigmoid(logit[:, 0, 0]).numpy()})


TOYS = {"adding": AddingTask, "echo": EchoTask}


def train(
    toy: str, folder: str, seed: int = 0, model: ModelConfig | None = None, listeners: Any = (), **training: Any
) -> Any:
    """Trains a toy: in this process, or as what a process of its own has to do."""
    from gatelab.training import fit

    task = TOYS[toy].open(0, TOYS[toy].Config())
    settings = dataclasses.replace(task.training_defaults(), **training)
    return fit(
        task, model or ModelConfig("gru", hidden_size=8), settings, seed=seed, folder=folder, listeners=listeners
    )
