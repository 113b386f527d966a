"""What the estimators of all tasks have in common: scikit-learn's manners around a task and a run folder."""

from __future__ import annotations

import dataclasses
import inspect
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from gatelab.core.config import ModelConfig, TrainingConfig, from_options
from gatelab.core.errors import RunError
from gatelab.core.files import writable_folder
from gatelab.core.task import Task
from gatelab.tasks.loading import Loaded, load, update_settings
from gatelab.training import fit

BY_DATA = ("epochs", "batch_size")
"""Training settings that depend on the size of the data where they are left None."""


class Estimator(BaseEstimator):
    """A task, a model and a training whose settings are the parameters, each under its own name.

    A subclass has an ``__init__`` with a parameter for every setting that it offers, ``seed`` and ``folder`` among
    them, and a ``fit`` that calls ``_train``.
    """

    kind: ClassVar[type[Task]]
    """The task."""

    task_: Any
    model_: Any
    history_: list[dict[str, Any]]
    notes_: list[str]
    folder_: Path
    seed: int
    folder: str | Path | None

    # ---- parameters and settings ----------------------------------------------------------------------------------

    def _settings(self, kind: type) -> dict[str, Any]:
        """The parameters that are settings of ``kind``."""
        names = {field.name for field in dataclasses.fields(kind)}
        return {name: value for name, value in self.get_params().items() if name in names}

    def _training(self) -> dict[str, Any]:
        """Settings of the training; what was left open suits the data."""
        settings = self._settings(TrainingConfig)
        return {name: value for name, value in settings.items() if value is not None or name not in BY_DATA}

    def _task_config(self) -> Any:
        """Settings of the task: all parameters that are nothing else."""
        elsewhere = {field.name for kind in (ModelConfig, TrainingConfig) for field in dataclasses.fields(kind)}
        options = {n: v for n, v in self.get_params().items() if n not in elsewhere | {"seed", "folder"}}
        return from_options(self.kind.Config, options)

    # ---- training and what comes of it ----------------------------------------------------------------------------

    def _train(self, source: Any) -> Self:
        """Opens ``source`` as the task, trains on it, and keeps what came of it."""
        task, model = self.kind.open(source, self._task_config()), ModelConfig(**self._settings(ModelConfig))
        training = dataclasses.replace(task.training_defaults(), **self._training())
        fitted = fit(task, model, training, seed=self.seed, folder=self._folder(self.folder))
        self._adopt(task, fitted.model, fitted.history, fitted.folder)
        self._run = (model, training)
        return self

    def _adopt(self, task: Any, model: Any, history: Sequence[Mapping[str, Any]], folder: Path) -> None:
        """Sets what ends in an underscore."""
        self.task_, self.model_, self.folder_ = task, model, folder
        self.history_, self.notes_ = [dict(record) for record in history], list(task.notes)

    def _folder(self, wanted: str | Path | None) -> Path:
        """The run folder that is wanted, or one that lives as long as the estimator."""
        if wanted is not None:
            return writable_folder(wanted)
        folder = Path(tempfile.mkdtemp(prefix="gatelab-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return folder

    def _update(self, source: Any, epochs: int, learning_rate: float | None, folder: str | Path | None) -> Self:
        """Goes on training with ``source`` from the present weights; what was learned of the first data stays."""
        check_is_fitted(self, "model_")
        model, before = self._run
        task = self.task_.reopen(source, "update")
        training = update_settings(before, epochs, learning_rate)
        weights = self.model_.state_dict()
        fitted = fit(task, model, training, seed=self.seed, folder=self._folder(folder), initial=weights)
        self._adopt(task, fitted.model, fitted.history, fitted.folder)
        return self

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """A fitted estimator from a run folder, such as ``gatelab compare`` leaves under ``best``.

        Raises:
            RunError: the folder is incomplete, altered, of a newer version, or of another task.
        """
        loaded = load(folder)
        if not isinstance(loaded.task, cls.kind):
            raise RunError(f"the model in {folder} is for {loaded.task.name}", expected=f"a model for {cls.kind.name}")
        return cls._of(loaded, Path(folder))

    @classmethod
    def _of(cls, loaded: Loaded, folder: Path) -> Self:
        run = loaded.run
        names = set(inspect.signature(cls.__init__).parameters)
        flat = {**_flat(loaded.task.config), **_flat(run.model), **_flat(run.training), "seed": run.seed}
        estimator = cls(**{name: value for name, value in flat.items() if name in names})
        estimator._adopt(loaded.task, loaded.model, run.history(), folder)
        estimator._run = (run.model, run.training)
        return estimator


def _flat(config: Any) -> dict[str, Any]:
    """The settings of a configuration by name, those of the configurations inside it among them."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        found |= _flat(value) if dataclasses.is_dataclass(value) else {field.name: value}
    return found
