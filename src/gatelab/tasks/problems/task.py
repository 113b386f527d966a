"""Problems as a task: what training, compare and the reports ask of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from gatelab.core.config import ModelConfig, TrainingConfig
from gatelab.core.errors import DataError, InputError
from gatelab.core.task import Evaluation, Loss, Part, Task
from gatelab.tasks.problems import figures
from gatelab.tasks.problems.config import ProblemConfig
from gatelab.tasks.problems.definition import PROBLEMS, Definition, Examples, Outputs, define
from gatelab.tasks.problems.model import ProblemNet, evaluating

_SCORED = 256  # examples that are scored together


@dataclass(frozen=True)
class ProblemBatch:
    """Examples of one length."""

    x: Tensor  # (T, B, I)
    y: Tensor  # (A, B) what is to be answered after each of the last A steps

    @classmethod
    def of(cls, examples: Examples) -> ProblemBatch:
        """The same as tensors."""
        return cls(torch.from_numpy(examples.x), torch.from_numpy(examples.y))

    @property
    def size(self) -> int:
        """Examples (B)."""
        return self.x.shape[1]

    @property
    def steps(self) -> int:
        """Time steps (T)."""
        return self.x.shape[0]

    @property
    def carries(self) -> bool:
        """Never: every batch begins anew."""
        return False

    def take(self, which: slice) -> ProblemBatch:
        """These of its examples alone."""
        return ProblemBatch(self.x[:, which], self.y[:, which])

    def to(self, device: Any) -> ProblemBatch:
        """The same batch on ``device``."""
        return ProblemBatch(self.x.to(device), self.y.to(device))


class Problem(Task):
    """A problem with a known answer. The source is its name: adding, copy, recall, digits or mnist_t10k."""

    name: ClassVar[str] = "problem"
    Config: ClassVar[type] = ProblemConfig

    def __init__(self, definition: Definition):
        self.definition, self.config = definition, definition.config
        self.metrics, self.notes = definition.answer.metrics, definition.notes

    # ---- from a name to a task, and back ------------------------------------------------------------------------

    @classmethod
    def open(cls, source: Any, config: ProblemConfig) -> Problem:
        """The problem that ``source`` names.

        Raises:
            DataError: ``source`` is no name, or its data set cannot be had.
            InputError: there is no such problem, or a setting that it does not have.
        """
        task = cls(define(_name(source), config))
        task.count("train", 1)  # data that cannot be had is missed here, not in the first epoch
        return task

    def state(self) -> dict[str, Any]:
        """The name: everything else is in the settings."""
        return {"problem": self.definition.name}

    @classmethod
    def restore(cls, config: ProblemConfig, state: Mapping[str, Any]) -> Problem:
        """The same problem."""
        return cls(define(state["problem"], config))

    def reopen(self, source: Any, purpose: Literal["evaluate", "update"]) -> Problem:
        """The same problem: its test part was never trained on, and what to train on is drawn afresh.

        Raises:
            DataError: ``source`` is another problem.
        """
        if (name := _name(source)) != (own := self.definition.name):
            raise DataError("this model was trained on another problem", expected=own, got=name, fix=f"name {own}")
        return self

    # ---- what the training loop needs ---------------------------------------------------------------------------

    def training_defaults(self) -> TrainingConfig:
        """As the problem is usually learned."""
        return self.definition.training

    def build(self, model: ModelConfig) -> ProblemNet:
        """An encoder as ``model`` says, with a head for this kind of answer."""
        return ProblemNet(model, self.definition.inputs, self.definition.answer.outputs)

    def batches(
        self, part: Part, batch_size: int, rng: np.random.Generator | None = None, start: int = 0
    ) -> Iterator[ProblemBatch]:
        """Examples of a part; where they are drawn, those of the training part are fresh ones for every stream."""
        return map(ProblemBatch.of, self.definition.batches(part, batch_size, rng, start))

    def count(self, part: Part, batch_size: int) -> int:
        """Batches in a part."""
        return -(-self.definition.size(part) // batch_size)

    def loss(self, model: Any, batch: ProblemBatch, state: Any = None) -> Loss:
        """Squared error, or cross-entropy over all steps that have an answer."""
        return Loss(self.definition.answer.loss(model(batch.x, len(batch.y)), batch.y).mean(), batch.size)

    # ---- what compare and the reports need ----------------------------------------------------------------------

    def evaluate(self, model: Any, part: Part) -> Evaluation:
        """All metrics on a part."""
        device = next(model.parameters()).device
        with evaluating(model):
            return self._score(lambda batch: model(batch.x.to(device), len(batch.y)).cpu(), part)

    def baselines(self) -> Mapping[str, Callable[[Part], Evaluation]]:
        """Chance, what the last step alone tells, and a linear function of all steps, as far as they make sense."""
        return {name: partial(self._score_baseline, cache(make)) for name, make in self.definition.baselines().items()}

    def _score_baseline(self, make: Callable[[], Outputs], part: Part) -> Evaluation:
        outputs = make()
        return self._score(lambda batch: torch.tensor(outputs(Examples(batch.x.numpy(), batch.y.numpy()))), part)

    def _score(self, answer: Callable[[ProblemBatch], Tensor], part: Part) -> Evaluation:
        """Metrics of ``answer``, which gives ``(A, B, O)``, with the error of each example and what figures show."""
        kind, first = self.definition.answer, self.metrics[0]
        scored, said, truth = [], [], []
        for batch in self.batches(part, _SCORED):
            out = answer(batch)  # (A, B, O)
            scored.append(kind.figures(out, batch.y))
            said.append(kind.said(out)[-kind.asked :])
            truth.append(batch.y[-kind.asked :])
        each = {name: torch.cat([found[name] for found in scored]).double().numpy() for name in scored[0]}  # (N,)
        arrays = {
            "error_by_item": each[first.name] if first.goal == "min" else 1 - each[first.name],
            "said": torch.cat(said, dim=1).numpy(),  # (asked, N)
            "truth": torch.cat(truth, dim=1).numpy(),  # (asked, N)
        }
        return Evaluation(
            {name: float(values.mean()) for name, values in each.items()}, arrays, arrays["said"].shape[1]
        )

    def sections(self, results: Mapping[str, Sequence[Evaluation]]) -> Sequence[Any]:
        """Answers beside the truth."""
        return figures.sections(self.definition.answer, self.metrics[0], results, set(self.definition.baselines()))

    # ---- use ----------------------------------------------------------------------------------------------------

    def predict(self, model: Any, source: Any, *, future: Any = None) -> pd.DataFrame:
        """Answers to the test part of the problem, beside the truth, or to examples of one's own.

        Args:
            source: the problem's name, or a sequence of arrays ``(T, I)``.

        Raises:
            InputError: something known ahead, which problems have no use for.
            DataError: another problem, or arrays of another shape.
        """
        if future is not None:
            raise InputError("problems know nothing ahead", got=future, fix="leave --future out")
        named = isinstance(source, str)
        batches = list(self.reopen(source, "evaluate").batches("test", _SCORED) if named else self._own(source))
        kind, device = self.definition.answer, next(model.parameters()).device
        with evaluating(model):
            said = torch.cat([kind.said(model(batch.x.to(device), kind.asked)).cpu() for batch in batches], dim=1)
        example, place = np.indices(said.T.shape)  # (N, asked)
        columns = {"example": example, "place": place, "answer": said.T.numpy()}
        if named:
            columns["truth"] = torch.cat([batch.y[-kind.asked :] for batch in batches], dim=1).T.numpy()
        if kind.asked == 1:
            del columns["place"]
        return pd.DataFrame({name: values.ravel() for name, values in columns.items()})

    def _own(self, source: Any) -> Iterator[ProblemBatch]:
        """A batch of each array, whose right answer nobody knows."""
        least, inputs = self.definition.answer.asked, self.definition.inputs
        expected = f"a problem's name, or arrays of shape (T, {inputs}), T at least {least}"
        if not isinstance(source, Sequence | np.ndarray) or len(source) == 0:
            raise _unusable(expected, type(source).__name__)
        for array in map(np.asarray, source):
            if array.dtype.kind not in "fiub" or array.ndim != 2 or array.shape[1] != inputs or len(array) < least:
                raise _unusable(expected, f"{array.dtype} of shape {array.shape}")
            yield ProblemBatch(torch.tensor(array, dtype=torch.float32)[:, None], torch.zeros(least, 1))


def _name(source: Any) -> str:
    if not isinstance(source, str):
        raise _unusable(f"one of {', '.join(PROBLEMS)}", type(source).__name__)
    PROBLEMS.check(source)
    return source


def _unusable(expected: str, got: str) -> DataError:
    return DataError("these are no examples of a problem", expected=expected, got=got, fix="name a problem: adding")
