"""The run folder: all that is known of one training, checked whenever it is opened.

==================  ================================================================================
config.toml         task and its settings, model, training, seed
environment.json    versions and machine it was made on
task.json           what prediction needs of the training data (``Task.state``)
checkpoints/        where an unfinished run goes on from; empty once it is finished
metrics.jsonl       one line an epoch
model.safetensors   the best weights
manifest.json       format version, size and SHA-256 of each file above, and how the training ended
.lock               held by the command that is at work here (``training.locks``)
==================  ================================================================================
"""

from __future__ import annotations

import json
import platform
import shutil
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib
import safetensors.torch
import tomli_w

import gatelab
from gatelab.core.config import ModelConfig, TrainingConfig, from_dict, to_dict
from gatelab.core.errors import GatelabError, NoSpaceError, RunError
from gatelab.core.files import digest, read_json, require_file, writable_folder, write_bytes, write_json, write_text
from gatelab.core.task import Task
from gatelab.core.versions import versions
from gatelab.training.tensors import Tensors, copied

FORMAT = 1
"""Raised by one whenever an older gatelab could not read what a newer one writes."""
FREE = ("training.checkpoint_seconds", "training.tensorboard")
"""Settings that change no number, so that a run may go on under others."""
_LIBRARIES = ("torch", "numpy", "scipy", "pandas", "scikit-learn", "statsmodels", "safetensors")
_OWN = ("config.toml", "environment.json", "task.json", "metrics.jsonl", "model.safetensors", "manifest.json")


class Run:
    """One run folder. Make it with ``create`` or ``open``; attributes are read once, files are the truth."""

    def __init__(self, folder: Path, config: Mapping[str, Any], manifest: Mapping[str, Any]):
        self.folder = folder
        self.config = config
        self.manifest = dict(manifest)
        self.task_name: str = config["task"]["name"]
        self.task_config: dict[str, Any] = config["task"]["settings"]
        self.model: ModelConfig = from_dict(ModelConfig, config["model"])
        self.training: TrainingConfig = from_dict(TrainingConfig, config["training"])
        self.seed: int = config["run"]["seed"]

    # ---- making and opening ---------------------------------------------------------------------------------

    @classmethod
    def create(cls, folder: str | Path, config: Mapping[str, Any], task_state: Mapping[str, Any]) -> Run:
        """A new run. What an earlier run left in the folder is removed, and nothing else is.

        Args:
            config: as ``describe`` gives it.
            task_state: ``Task.state``.

        Raises:
            InputError: the folder cannot be written to.
        """
        path = writable_folder(folder)
        for name in reversed(_OWN):  # the manifest first: without it there is no run, whatever else is left
            (path / name).unlink(missing_ok=True)
        shutil.rmtree(path / "checkpoints", ignore_errors=True)
        write_text(path / "config.toml", tomli_w.dumps(config))
        write_json(path / "environment.json", environment())
        write_json(path / "task.json", task_state)
        run = cls(path, config, {})
        run.sign("config.toml", "environment.json", "task.json")
        return run

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        """The run in ``folder``, after a check of every file that the manifest names.

        Raises:
            RunError: no run, a file is missing, cut short or altered, or a newer gatelab wrote it.
        """
        path = Path(folder)
        manifest = _manifest(path)
        for name, facts in manifest["files"].items():
            _check(path / name, facts)
        with reading(path / "config.toml"):
            return cls(path, tomllib.loads((path / "config.toml").read_text(encoding="utf-8")), manifest)

    @staticmethod
    def exists(folder: str | Path) -> bool:
        """Whether ``folder`` holds a run, finished or not, whole or damaged."""
        return (Path(folder) / "manifest.json").exists()

    def sign(self, *names: str, outcome: Mapping[str, Any] | None = None) -> None:
        """Writes size and SHA-256 of these files into the manifest, and how the training ended."""
        files = dict(self.manifest.get("files", {}))
        for name in names:
            path = self.folder / name
            files[name] = {"bytes": path.stat().st_size, "sha256": digest(path)}
        self.manifest = {"format": FORMAT, "gatelab": gatelab.__version__, "files": files, "outcome": outcome}
        write_json(self.folder / "manifest.json", self.manifest)

    # ---- what is in it --------------------------------------------------------------------------------------

    @property
    def task_state(self) -> dict[str, Any]:
        """What ``Task.restore`` takes."""
        with reading(self.folder / "task.json"):
            return dict(read_json(self.folder / "task.json"))

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.folder / "checkpoints"

    @property
    def outcome(self) -> dict[str, Any] | None:
        """How the training ended (stopped, best_epoch, best, seconds, steps); None where it has not."""
        return self.manifest.get("outcome")

    @property
    def environment(self) -> dict[str, Any]:
        """Versions and machine."""
        with reading(self.folder / "environment.json"):
            found = dict(read_json(self.folder / "environment.json"))
            return {**found, "libraries": dict(found["libraries"])}

    def history(self) -> list[dict[str, Any]]:
        """The records of the epochs, first to last; numbers that were not finite are None."""
        path = self.folder / "metrics.jsonl"
        with reading(path):
            lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
            return [dict(json.loads(line)) for line in lines]

    def model_state(self) -> Tensors:
        """The best weights.

        Raises:
            RunError: the training stopped before there were any, or they are damaged or no numbers.
        """
        if "model.safetensors" not in self.manifest["files"]:
            raise RunError(
                f"the run in {self.folder} is not finished and has no model yet",
                fix="run the command that began it once more: it goes on from the last checkpoint",
            )
        path = self.folder / "model.safetensors"
        with reading(path):
            weights = safetensors.torch.load_file(path)
        wrong = [name for name, value in weights.items() if not bool(value.isfinite().all())]
        if wrong:
            raise RunError(f"the weights in {path} are not all numbers", got=f"NaN or infinity in {wrong[0]}", fix=_FIX)
        return weights

    # ---- writing --------------------------------------------------------------------------------------------

    def write_history(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Rewrites metrics.jsonl whole."""
        lines = [json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n" for record in history]
        write_text(self.folder / "metrics.jsonl", "".join(lines))

    def keep(self, best: Tensors) -> None:
        """Writes the best weights of a run that could not be finished, so that they can be used."""
        write_bytes(self.folder / "model.safetensors", safetensors.torch.save(copied(best)))
        self.sign("model.safetensors")

    def sign_unfinished(self) -> None:
        """Takes what ``keep`` wrote out of the manifest, as it is about to change."""
        if "model.safetensors" in self.manifest["files"]:
            del self.manifest["files"]["model.safetensors"]
            self.sign()

    def finish(self, best: Tensors, history: Sequence[Mapping[str, Any]], outcome: Mapping[str, Any]) -> None:
        """Writes weights and history, signs them, and lets the checkpoints go when the training is complete.

        In this order, so that a run cut short here is finished by the next ``fit``.
        """
        write_bytes(self.folder / "model.safetensors", safetensors.torch.save(copied(best)))
        self.write_history(history)
        self.sign("model.safetensors", "metrics.jsonl", outcome=outcome)
        shutil.rmtree(self.checkpoints, ignore_errors=True)


def describe(
    task: Task,
    model: ModelConfig,
    training: TrainingConfig,
    seed: int,
    initial: str | None = None,
    processes: int = 1,
) -> dict[str, Any]:
    """What config.toml says: enough to tell whether two runs are the same run.

    Args:
        initial: digest of the weights that training starts from, if they are given ones.
        processes: how many share every batch.
    """
    run: dict[str, Any] = {"seed": seed}
    run |= {} if initial is None else {"initial": initial}
    run |= {} if processes == 1 else {"processes": processes}
    settings = {"name": task.name, "settings": to_dict(task.config)}
    return {"run": run, "task": settings, "model": to_dict(model), "training": to_dict(training)}


def check_same(run: Run, asked: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Refuses to go on with a run under other settings or on other data than it was begun with.

    Raises:
        RunError: naming each setting that differs.
    """
    # Read through the configurations: a setting that a later version added is at its default in an older run.
    settings = {"model": to_dict(run.model), "training": to_dict(run.training)}
    before, now = flat({**run.config, **settings}), flat(json.loads(json.dumps(asked)))
    names = [name for name in {**before, **now} if before.get(name) != now.get(name) and name not in FREE]
    differ = [f"{name}: {before.get(name, 'none')} there, {now.get(name, 'none')} asked for" for name in names]
    if not differ and run.task_state != json.loads(json.dumps(state)):
        differ = ["the data: what was fitted on the training part is not the same"]
    if differ:
        raise RunError(
            f"{run.folder} holds a run with other settings",
            got="; ".join(differ),
            fix="use the same settings to go on with it, or name another folder with --out (resume=False replaces it)",
        )


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings with dotted names.

    >>> flat({"run": {"seed": 1}, "model": {}})
    {'run.seed': 1}
    """
    if not isinstance(values, Mapping):
        return {prefix: values}
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{prefix}.{name}" if prefix else name)
    return found


def environment() -> dict[str, Any]:
    """Versions and machine, as far as they may move a number or a time."""
    libraries = versions(*_LIBRARIES)
    return {
        "python": libraries.pop("python"),
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": joblib.cpu_count(),
        "libraries": libraries,
    }


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """The one place where what comes out of a file of a run is found to be something else than was written.

    Digests tell of accidents; whoever alters a file may mend its digest, too.

    Raises:
        RunError: for whatever is raised inside, a refusal in words excepted.
    """
    try:
        yield
    except RunError:
        raise
    except GatelabError as error:
        raise RunError(f"{path} is damaged: it does not hold what a run has there", got=error, fix=_FIX) from error
    except Exception as error:
        if isinstance(error, NoSpaceError | OSError) and not isinstance(error, ValueError):
            raise
        raise RunError(
            f"{path} is damaged: it does not hold what a run has there",
            got=f"{type(error).__name__}: {error}"[:300],
            fix=_FIX,
        ) from error


# ---- checks ---------------------------------------------------------------------------------------------------


def _manifest(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise RunError(f"there is no folder {folder}", fix="name the folder of a run, as --out gave it")
    if not (folder / "manifest.json").exists():
        raise RunError(f"{folder} is not a run folder", expected="manifest.json in it", fix="name the folder of a run")
    with reading(folder / "manifest.json"):
        manifest = read_json(folder / "manifest.json")
        newer = int(manifest["format"]) > FORMAT
        files = {} if newer else {str(name): _facts(facts) for name, facts in manifest["files"].items()}
        whole = "config.toml" in files and all(Path(name).name == name for name in files)
    if newer:
        raise RunError(
            f"the run in {folder} was written by a newer gatelab",
            expected=f"format {FORMAT} or older",
            got=f"format {manifest['format']} of gatelab {manifest.get('gatelab', 'unknown')}",
            fix="upgrade gatelab: pip install --upgrade gatelab",
        )
    if not whole:
        expected = "config.toml and other files, each with its size and SHA-256"
        raise RunError(f"{folder / 'manifest.json'} is damaged", expected=expected, fix=_FIX)
    return manifest


def _facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Size and digest of a file, as they have to be."""
    return {"bytes": int(facts["bytes"]), "sha256": str(facts["sha256"])}


def _check(path: Path, facts: Mapping[str, Any]) -> None:
    try:
        size = require_file(path)
    except FileNotFoundError as error:
        raise RunError(f"{path} is missing", fix=_FIX) from error
    except GatelabError as error:
        raise RunError(f"{path} is no file", got=error, fix=_FIX) from error
    if size < int(facts["bytes"]):
        raise RunError(f"{path} is cut short", expected=f"{facts['bytes']} bytes", got=f"{size} bytes", fix=_FIX)
    if size > int(facts["bytes"]) or digest(path) != facts["sha256"]:
        raise RunError(f"{path} was altered after it was written", expected=f"SHA-256 {facts['sha256']}", fix=_FIX)


_FIX = "copy the folder back from where it was whole, or train again into another folder"
