"""What a worker process does with one trial: run it, keep a sign of life, write down what became of it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from gatelab.core.errors import GatelabError, NoSpaceError
from gatelab.core.files import replace_unsynced
from gatelab.core.versions import versions
from gatelab.studies.trials import Measured, Record, Store, Trial

CHECK_SECONDS = 0.5
LIBRARIES = ("torch", "numpy")
"""Whose versions a record names, beside gatelab's."""


class Beat(Protocol):
    """Called by a trial as often as it likes, to say that it lives and how far it is."""

    def __call__(self, **progress: Any) -> None:
        """Lives, and is so far."""
        ...


class Measure(Protocol):
    """What a study does in each trial: a plain function of a plain configuration; it must survive pickling."""

    def __call__(self, trial: Trial, folder: Path, beat: Beat) -> Measured:
        """Does the trial, with ``folder`` to work in."""
        ...


@dataclass(frozen=True)
class Job:
    """A trial on its way to a worker."""

    trial: Trial
    measure: Measure
    store: Store
    session: str
    """Which command sent it; a heartbeat of another session is history."""
    home: int
    """Process id of the command that sent it."""
    stall_seconds: float
    """Without a sign of life for this long, the trial counts as hung."""


@dataclass
class Heartbeat:
    """The last sign of life of a trial, in memory for the watchdog and in a file for the progress display."""

    job: Job
    started: float = field(default_factory=time.time)
    last: float = field(default_factory=time.monotonic)
    written: float = -1.0

    def __call__(self, **progress: Any) -> None:
        """Notes the sign of life, and writes it down now and then."""
        self.last = time.monotonic()
        if (progress and self.last - self.written >= CHECK_SECONDS) or self.written < 0:
            self.written = self.last
            self._write(progress)

    def _write(self, progress: Mapping[str, Any]) -> None:
        path = self.job.store.trial_folder(self.job.trial.id) / "heartbeat.json"
        beat = {"session": self.job.session, "pid": os.getpid(), "started": self.started, **progress}
        with contextlib.suppress(OSError):  # a full disk, or a reader on Windows: no reason for a trial to fail
            replace_unsynced(path, json.dumps(beat))


def read_heartbeat(store: Store, id: str, session: str) -> dict[str, Any] | None:
    """The heartbeat of a trial that was begun in this session; ``None`` where it was not."""
    try:
        beat = json.loads((store.trial_folder(id) / "heartbeat.json").read_text())
    except (OSError, ValueError):  # none, or damaged when the machine went down
        return None
    return beat if isinstance(beat, dict) and beat.get("session") == session else None


def run_trial(job: Job) -> Record:
    """Runs one trial to a record on disk, whatever happens short of the process dying.

    Raises:
        NoSpaceError: the disk is full. That is no fault of the trial: with space again the same command goes on with
            it, so it must not be on record as failed.
        InputError: the record cannot be written (folder gone): nothing else could be either.
    """
    beat = Heartbeat(job)
    beat()
    measured, status, message = Measured({}), "failed", ""
    with _watched(beat), _caught_warnings() as caught:
        try:
            measured, status = job.measure(job.trial, job.store.trial_folder(job.trial.id), beat), "ok"
        except NoSpaceError:
            raise
        except GatelabError as error:
            message = str(error)
        except Exception as error:
            message = "".join(traceback.format_exception_only(error)).strip() + "\n" + _where(error)
    record = describe(job, beat, status, message, measured, tuple(dict.fromkeys(str(each.message) for each in caught)))
    job.store.write(record, measured.arrays)
    return record


def describe(
    job: Job, beat: Heartbeat, status: Any, message: str, measured: Measured, caught: tuple[str, ...] = ()
) -> Record:
    """The record of a trial that ends now."""
    trial, now = job.trial, time.time()
    return Record(
        trial.id, trial.kind, trial.label, trial.seed, trial.configuration, status, message, measured.measures,
        round(now - beat.started, 3), _iso(beat.started), _iso(now), versions(*LIBRARIES), caught,
    )  # fmt: skip


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    return "\n".join(f"  in {frame.name} ({Path(frame.filename).name}:{frame.lineno})" for frame in frames)


@contextlib.contextmanager
def _caught_warnings() -> Iterator[list[warnings.WarningMessage]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        yield caught


class _Watchdog:
    """A thread of a worker process that ends it when its trial hangs, or when the command that sent it is gone.

    It lives as long as the process: an idle worker must not outlive the command either.
    """

    def __init__(self) -> None:
        self.beat: Heartbeat | None = None
        self.parent = os.getppid()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            time.sleep(CHECK_SECONDS)
            if os.getppid() != self.parent:
                os._exit(1)  # nobody waits for the result, and the same command may already be at this trial again
            beat = self.beat
            if beat is not None and time.monotonic() - beat.last > beat.job.stall_seconds:
                message = f"no sign of life for {beat.job.stall_seconds:g} s"
                try:
                    beat.job.store.write(describe(beat.job, beat, "hung", message, Measured({})))
                finally:
                    os._exit(1)


@cache
def _watchdog() -> _Watchdog:
    return _Watchdog()


def guard(home: int) -> None:
    """What a new worker process does first: it keeps an eye on the command that made it, whose process id is ``home``.

    A worker that is never given a trial must not outlive the command either.
    """
    if _watchdog().parent != home and os.name == "posix":
        os._exit(1)  # the command was gone before this process had loaded


@contextlib.contextmanager
def _watched(beat: Heartbeat) -> Iterator[None]:
    """Runs a trial under the watchdog, and lets the process die of what is meant to end it.

    Only in a process of its own: a backend that runs trials in the command's own process has no watchdog.
    """
    if os.getpid() == beat.job.home:
        yield
        return
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the command ends its workers
    _watchdog().beat = beat
    try:
        yield
    except (SystemExit, KeyboardInterrupt):
        os._exit(1)  # SIGTERM, after training wrote its checkpoint; passed on, it would end the command too
    finally:
        _watchdog().beat = None
