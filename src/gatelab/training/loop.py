"""The training loop, for every task.

What happens in an epoch: batches in an order that is a function of (seed, epoch); for each, a forward pass, a
backward pass through that batch alone (truncated where the state is carried over; Williams & Peng 1990), a clipped
update; then the validation part, the record of the epoch, a checkpoint, and the decision to stop or go on.

Exact resume rests on one rule: all that moves is in ``Place``, the weights, the optimizer, and the carried state.
Random numbers are functions of (seed, name, position), rates are functions of (step, history), and both need no saving.

Several processes may go through this loop together (``distributed``). Every decision in it is then the same in all of
them, for it rests on what they told each other.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gatelab.core.errors import DataError, TrainingError
from gatelab.core.random import generator, integer_seed
from gatelab.core.task import Batch
from gatelab.training import checkpoints, devices, tensors
from gatelab.training.averaging import begins
from gatelab.training.diagnosis import advice, diagnose
from gatelab.training.estimate import epoch_seconds
from gatelab.training.events import Checkpointed, EpochEnded, Event, Failed, Finished, Started, Stepped, Warned
from gatelab.training.interrupts import Interrupts
from gatelab.training.learner import Learner, finite, parameter_count
from gatelab.training.runs import Run
from gatelab.training.schedules import learning_rate

SHORT_EPOCH = 0.5
"""Seconds: epochs shorter than that share a checkpoint, which would otherwise cost a good part of them."""


@dataclass
class Place:
    """Where a training stands: all of it plain JSON values."""

    epoch: int = 0
    """Epochs completed."""
    batch: int = 0
    """Batches of the present epoch that are done."""
    step: int = 0
    """Optimizer steps taken."""
    seconds: float = 0.0
    loss_sum: float = 0.0
    """Sum of the losses of the present epoch's scored items."""
    weight_sum: float = 0.0
    """How many those are."""
    norms: list[float] = field(default_factory=list)
    """Gradient norms of the present epoch."""
    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    best: float | None = None
    stopped: str | None = None
    checkpoint: int = 0
    """Checkpoints written."""


class Trainer:
    """Trains until a budget is spent or patience is, from the last checkpoint of the run if there is one."""

    def __init__(self, learner: Learner, run: Run, emit: Callable[[Event], None]):
        self.learner, self.run, self.emit = learner, run, emit
        self.task, self.model, self.training, self.group = learner.task, learner.model, learner.training, learner.group
        self.batches = self.task.count("train", self.training.batch_size)
        if self.batches < 1:
            raise DataError("the training part holds not one batch", fix="use more data, or a smaller --batch-size")
        self.total_steps = min(self.training.epochs * self.batches, self.training.max_steps or math.inf)
        self.place = Place()
        self.carried: Any = None  # state after the last batch, detached
        self.best: tensors.Tensors = {}
        self._now = self._clock = self._checkpointed = 0.0  # the first process's clock, as of the last meeting
        self._signal = 0
        self._written = 0  # records in metrics.jsonl

    def train(self, estimate: bool = False) -> None:
        """Trains to the end and finishes the run."""
        try:
            self._resume()
            seconds = epoch_seconds(self.learner, self.run.seed) if estimate else math.nan
            with Interrupts() as self.interrupts:
                self._meet()
                self._clock = self._checkpointed = self._now
                self._started(seconds)
                while self.place.stopped is None:
                    self._epoch()
            self.group.told(lambda: self.run.finish(self._calibrated(), self.place.history, self._outcome()))
            self.emit(Finished(**self._outcome()))
            self.interrupts.stop()
        except BaseException as error:
            self.emit(Failed(error))
            raise

    def _calibrated(self) -> tensors.Tensors:
        """The best weights, and what the task fits once they are there."""
        self.model.load_state_dict(self.best)
        self.task.calibrate(self.model.eval())
        return tensors.copied(self.model.state_dict())

    def _epoch(self) -> None:
        place, seed = self.place, self.run.seed
        self.model.train()
        order = generator(seed, "order", place.epoch)
        for batch in self.task.batches("train", self.training.batch_size, order, start=place.batch):
            if place.weight_sum > 0 and self._budget_spent():  # a step an epoch, whatever the budget
                break
            devices.seed_torch(self.learner.device, integer_seed(seed, "step", place.step, *self._masks))  # dropout
            self._step(self.group.share(batch).to(self.learner.device))
            self._pause()
            if self._since_checkpoint() >= self.training.checkpoint_seconds:
                self._checkpoint()
        if place.weight_sum == 0:
            raise TrainingError("every target of the training part is masked", fix="check the gaps in the data")
        devices.seed_torch(self.learner.device, integer_seed(seed, "validate", place.epoch))
        self.group.follow(self.model)
        judged = self.learner.judged()
        self._end_epoch(self._validation_loss(judged), judged)

    def _step(self, batch: Batch) -> None:
        place = self.place
        state = self.carried if batch.carries else None
        loss = self.learner.forward(batch, state)
        value, weight = self._mean(float(loss.mean.detach()), loss.weight)
        if weight > 0:  # with everything masked there is no gradient, but the state goes on
            rate = learning_rate(self.training, place.step, int(self.total_steps), place.history)
            norm = self.learner.backward(loss, loss.weight / weight) if finite(value) else math.nan
            if not finite(value, norm):
                what = f"the gradient norm is {norm}" if finite(value) else f"the loss is {value}"
                raise self._failure(what, batch, state)
            self.learner.update(rate, begins(place.history))
            place.loss_sum += value * weight
            place.weight_sum += weight
            place.norms.append(norm)
            place.step += 1
            self.emit(Stepped(place.epoch + 1, place.batch + 1, place.step, value, norm, rate))
        self.carried = tensors.detached(loss.state)
        place.batch += 1

    def _mean(self, mean: float, weight: float) -> tuple[float, float]:
        """The mean over all that the group scored, and how many items that is."""
        met = self.group.meet(mean if weight > 0 else 0.0, weight)  # (N, 2)
        total = float(met[:, 1].sum())
        return (float(met[:, 0] @ (met[:, 1] / total)) if total > 0 else 0.0), total

    def _validation_loss(self, judged: torch.nn.Module) -> float | None:
        """Mean over the scored items of the validation part; None where there are none."""
        total = weight = 0.0
        for loss in self.learner.validation_losses(judged):
            self._pause()
            if loss.weight > 0:
                total += float(loss.mean) * loss.weight
                weight += loss.weight
        value, weight = self._mean(total / weight if weight else 0.0, weight)
        if not finite(value):
            self._keep()
            raise TrainingError(
                f"the validation loss is {value} after epoch {self.place.epoch + 1}; the training loss is finite",
                fix=advice(self.training, bad_input=True),
            )
        return value if weight else None

    # ---- the end of an epoch ---------------------------------------------------------------------------------

    def _end_epoch(self, validation_loss: float | None, judged: torch.nn.Module) -> None:
        place = self.place
        record = self._record(validation_loss, judged)
        value = record.get(self.task.criterion.name, validation_loss)
        # Where nothing can be scored, the latest weights are as good as any.
        improved = place.best is None or (value is not None and self.task.criterion.better(value, place.best))
        if improved:
            place.best_epoch, place.best = place.epoch + 1, value
            self.best = tensors.copied(judged.state_dict())
        place.history.append(record | {"improved": improved})
        place.epoch, place.batch, place.loss_sum, place.weight_sum, place.norms = place.epoch + 1, 0, 0.0, 0.0, []
        self.carried = None
        place.stopped = self._reason_to_stop()
        if place.stopped or self._since_checkpoint() >= min(SHORT_EPOCH, self.training.checkpoint_seconds):
            self._checkpoint()
        self.emit(EpochEnded(place.history[-1], tuple(place.history)))

    def _record(self, validation_loss: float | None, judged: torch.nn.Module) -> dict[str, Any]:
        place, clip = self.place, self.training.clip_norm
        norms = np.array(place.norms)  # (steps of the epoch,)
        with torch.no_grad():
            validated = self.group.told(lambda: self.task.validate(judged))
        further = {name: float(value) for name, value in validated.items()}
        self._meet()
        rate = learning_rate(self.training, place.step - 1, int(self.total_steps), place.history)
        return {
            "epoch": place.epoch + 1,
            "step": place.step,
            "seconds": self._seconds(),
            "train_loss": place.loss_sum / place.weight_sum,
            "validation_loss": validation_loss,
            "learning_rate": rate,
            "gradient_norm": float(norms.mean()),
            "gradient_norm_p95": float(np.percentile(norms, 95)),
            "gradient_norm_max": float(norms.max()),
            "clipped": 0.0 if clip is None else float((norms > clip).mean()),
        } | {name: value if finite(value) else None for name, value in further.items()}

    def _reason_to_stop(self) -> str | None:
        place, training = self.place, self.training
        if training.patience is not None and place.epoch - place.best_epoch >= training.patience:
            return "patience"
        if place.epoch >= training.epochs:
            return "epochs"
        return self._budget_spent()

    def _budget_spent(self) -> str | None:
        if self.training.max_steps is not None and self.place.step >= self.training.max_steps:
            return "steps"
        if self.training.max_seconds is not None and self._seconds() >= self.training.max_seconds:
            return "time"
        return None

    def _seconds(self) -> float:
        return self.place.seconds + self._now - self._clock

    def _since_checkpoint(self) -> float:
        return self._now - self._checkpointed

    @property
    def _masks(self) -> tuple[int, ...]:
        """What sets a process's dropout masks apart from the first one's, whose share is other than its own."""
        return () if self.group.leads else (self.group.rank,)

    # ---- stopping and going on -------------------------------------------------------------------------------

    def _meet(self) -> None:
        """Agrees on the time, and on whether any process was sent a signal."""
        met = self.group.meet(time.monotonic(), self.interrupts.noted or 0)  # (N, 2)
        self._now, self._signal = float(met[0, 0]), int(met[:, 1].max())

    def _pause(self) -> None:
        """Between two batches: if a signal asked for it, a checkpoint and the end."""
        self._meet()
        if self._signal:
            self._checkpoint()
            self.interrupts.noted = self._signal
            self.interrupts.stop()

    def _checkpoint(self) -> None:
        self._meet()
        place = self.place
        place.seconds += self._now - self._clock
        self._clock = self._checkpointed = self._now
        place.checkpoint += 1
        named = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        named |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        states, carried = self._carried_by_all()
        values = {
            "place": asdict(place),
            "optimizer": tensors.flatten_optimizer(self.learner.optimizer, into=named),
            "carried": states if self.group.size > 1 else states[0],
        }
        path = self.group.told(lambda: self._write(tensors.copied(named) | carried, values))
        self.emit(Checkpointed(path, place.step))

    def _carried_by_all(self) -> tuple[list[Any], tensors.Tensors]:
        """The carried state of every process: its shape, and its tensors by name."""
        own: tensors.Tensors = {}
        shape = tensors.flatten(self.carried, f"carried.{self.group.rank}", into=own)
        every = self.group.gathered((shape, tensors.copied(own)))
        return [shape for shape, _ in every], {name: value for _, named in every for name, value in named.items()}

    def _write(self, named: tensors.Tensors, values: Mapping[str, Any]) -> Path:
        history = self.place.history
        path = checkpoints.save(self.run.checkpoints, self.place.checkpoint, named, values)
        if len(history) > self._written:
            self.run.write_history(history)
            self._written = len(history)
        return path

    def _read(self) -> tuple[tensors.Tensors, dict[str, Any], list[str]] | None:
        latest = checkpoints.load_latest(self.run.checkpoints)
        self.run.sign_unfinished()
        return latest

    def _resume(self) -> None:
        latest = self.group.told(self._read)
        if latest is None:
            return
        named, values, warnings = latest
        for text in warnings:
            self.emit(Warned(text))
        self.place = Place(**values["place"])
        self.model.load_state_dict(tensors.part(named, "model."))
        self.best = {name: tensor.clone() for name, tensor in tensors.part(named, "best.").items()}
        tensors.restore_optimizer(self.learner.optimizer, values["optimizer"], named)
        state = values["carried"][self.group.rank] if self.group.size > 1 else values["carried"]
        self.carried = tensors.unflatten(state, named, self.learner.device)

    def _failure(self, what: str, batch: Batch, state: Any) -> TrainingError:
        """The diagnosis, after what was done is on disk. The weights are still those before the bad step."""
        place = self.place
        rate = learning_rate(self.training, place.step, int(self.total_steps), place.history)
        where = f"step {place.step + 1} (epoch {place.epoch + 1}, batch {place.batch + 1} of {self.batches})"
        error = diagnose(what, self.learner, batch, state, where=where, rate=rate, norms=place.norms)
        self._keep()
        return error

    def _keep(self) -> None:
        """Leaves a run that cannot go on so that its history can be read and its best weights used."""
        self._checkpoint()
        if self.best:
            self.group.told(lambda: self.run.keep(self.best))

    # ---- what people are told --------------------------------------------------------------------------------

    def _outcome(self) -> dict[str, Any]:
        place = self.place
        return {
            "stopped": place.stopped,
            "best_epoch": place.best_epoch,
            "best": place.best,
            "seconds": place.seconds,
            "steps": place.step,
        }

    def _started(self, seconds: float) -> None:
        left = seconds * max(self.total_steps - self.place.step, 0) / self.batches
        if self.training.max_seconds is not None:
            left = min(left, max(self.training.max_seconds - self.place.seconds, 0.0))
        self.emit(
            Started(
                folder=self.run.folder,
                parameters=parameter_count(self.model),
                epochs=self.training.epochs,
                batches=self.batches,
                device=str(self.learner.device),
                epoch_seconds=seconds,
                estimate_seconds=left,
                step=self.place.step,
            )
        )
