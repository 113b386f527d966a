"""Trials that crash, hang, die and are slow, for tests of the runner. Importable by worker processes."""

from __future__ import annotations

import os
import signal
import time
import warnings
from pathlib import Path

import numpy as np

from gatelab.core.errors import NoSpaceError, TrainingError
from gatelab.studies.trials import Measured, Trial


def trial(action: str, seed: int = 0, **configuration) -> Trial:
    return Trial("toy", action, seed, {"action": action, **configuration})


def measure(trial: Trial, folder: Path, beat) -> Measured:
    beat(epoch=1, epochs=1)
    ACTIONS[trial.configuration["action"]](trial, folder)
    threads = os.environ.get("OMP_NUM_THREADS")
    return Measured(
        {"test": {"error": float(trial.seed)}, "pid": os.getpid(), "threads": threads, "infinite": float("inf")},
        {"squares": np.arange(3.0) ** 2},
    )


def fine(trial: Trial, folder: Path) -> None:
    pass


def slow(trial: Trial, folder: Path) -> None:
    time.sleep(trial.configuration["seconds"])


def warns(trial: Trial, folder: Path) -> None:
    for _ in range(3):
        warnings.warn("the same warning, many times", RuntimeWarning, stacklevel=2)


def raises(trial: Trial, folder: Path) -> None:
    raise ZeroDivisionError("one over zero")


def explains(trial: Trial, folder: Path) -> None:
    raise TrainingError("the loss is NaN at step 7", fix="lower --learning-rate")


def hangs(trial: Trial, folder: Path) -> None:
    while True:
        time.sleep(0.1)


def dies(trial: Trial, folder: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leaves_once(trial: Trial, folder: Path) -> None:
    """As training does when its process gets SIGTERM."""
    marker = folder / "left"
    if not marker.exists():
        marker.touch()
        raise SystemExit(143)


def fills_the_disk_once(trial: Trial, folder: Path) -> None:
    marker = folder / "full"
    if not marker.exists():
        marker.touch()
        raise NoSpaceError("no space left while writing a checkpoint")


ACTIONS = {
    action.__name__: action
    for action in (fine, slow, warns, raises, explains, hangs, dies, leaves_once, fills_the_disk_once)
}
