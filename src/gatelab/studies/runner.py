"""Runs trials in parallel processes, one thread each, so that nothing that finished is ever lost.

Every worker writes its record itself. Whoever dies (a worker, the command, the machine), the same command reads the
records, runs what is missing, and lets training resume from its checkpoints.
"""

from __future__ import annotations

import os
import uuid
import warnings
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import joblib
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import BrokenProcessPool

from gatelab.core.errors import RunError
from gatelab.core.files import writable_folder
from gatelab.studies.progress import Progress
from gatelab.studies.trials import Measured, Record, Store, Trial
from gatelab.studies.worker import Heartbeat, Job, Measure, describe, guard, read_heartbeat, run_trial
from gatelab.training.locks import alone_in

STALL_SECONDS = 900.0


def default_jobs() -> int:
    """Physical cores this process may use: a trial computes with one thread, and twins share one unit."""
    return max(joblib.cpu_count(only_physical_cores=True), 1)


class Runner:
    """Runs trials of one study folder; a context manager that leaves no worker behind.

    Args:
        folder: the study's folder, made if need be.
        jobs: trials at a time; ``None``: one for each physical core.
        backend: joblib backend by name: ``"loky"`` (processes here), or one registered elsewhere, such as ``"dask"``
            with a folder that all workers share.
        stall_seconds: a trial that gives no sign of life for this long is recorded as hung.
        retry: run trials that failed or hung before once more.
        progress: where to show how far it is.

    Raises:
        RunError: another command is at work in the folder.
    """

    def __init__(
        self,
        folder: Path,
        *,
        jobs: int | None = None,
        backend: str = "loky",
        stall_seconds: float = STALL_SECONDS,
        retry: bool = False,
        progress: Progress | None = None,
    ):
        self.store = Store(writable_folder(folder))
        self.jobs = jobs or default_jobs()
        self.backend = backend
        self.stall_seconds = stall_seconds
        self.retry = retry
        self.progress = progress or Progress(quiet=True)
        self.progress.jobs = self.jobs
        self._session = uuid.uuid4().hex
        self._alone_here = ExitStack()

    def __enter__(self) -> Runner:
        self._alone_here.enter_context(alone_in(self.store.folder))
        self.progress.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            self.progress.__exit__(kind, error, tb)
            if self.backend == "loky":
                get_reusable_executor(reuse=True).shutdown(wait=True, kill_workers=True)
        finally:
            self._alone_here.close()

    def run(self, trials: Sequence[Trial], measure: Measure) -> dict[str, Record]:
        """The records of ``trials`` by id: from disk where they are finished, from workers where not.

        A worker that dies takes the whole pool with it, and nobody can say which of the running trials it was. So
        those are put aside and run alone at the end, where a second death speaks for itself.

        Raises:
            RunError: workers die before they begin a trial.
            NoSpaceError: the disk is full; what finished is kept.
            InputError: records cannot be written.
        """
        self._begin(trials)
        suspects: list[Trial] = []
        stillborn = 0
        while pending := [trial for trial in self._unfinished(trials) if trial not in suspects]:
            if self._survived(pending, measure, self.jobs):
                continue
            begun = self._broke_off(pending)
            suspects += begun
            stillborn = 0 if begun else stillborn + 1
            if stillborn == 3:
                raise RunError(
                    "worker processes die before they begin a trial", fix="see the messages above; try --jobs 1"
                )
        for trial in self._unfinished(suspects):
            self._alone(trial, measure)
        return {trial.id: record for trial in trials if (record := self.store.find(trial.id))}

    def _begin(self, trials: Iterable[Trial]) -> None:
        """Counts what is on disk, and with ``retry`` forgets what went wrong in an earlier session."""
        for trial in trials:
            if (record := self.store.find(trial.id)) is None:
                continue
            if self.retry and not record.ok and not self._beat(trial):
                self.store.forget(trial.id)
            else:
                self.progress.finished(record, fresh=False)

    def _unfinished(self, trials: Iterable[Trial]) -> list[Trial]:
        return [trial for trial in trials if not self.store.has(trial.id)]

    def _beat(self, trial: Trial) -> dict | None:
        return read_heartbeat(self.store, trial.id, self._session)

    def _survived(self, trials: Sequence[Trial], measure: Measure, jobs: int) -> bool:
        """Runs trials in parallel; false when the pool broke on the way."""
        home = os.getpid()
        jobs_to_do = [Job(trial, measure, self.store, self._session, home, self.stall_seconds) for trial in trials]
        inner: dict[str, Any] = {}
        if self.backend == "loky":  # one thread, or two pools fight over the cores
            inner = {"inner_max_num_threads": 1, "initializer": guard, "initargs": (home,)}
        self.progress.running = lambda: [(t, beat) for t in self._unfinished(trials) if (beat := self._beat(t))]
        try:
            with joblib.parallel_config(backend=self.backend, **inner), warnings.catch_warnings():
                # loky replaces a worker whose memory has grown, which loses nothing and is no news to a user.
                warnings.filterwarnings("ignore", "A worker stopped while some jobs were given", UserWarning)
                # joblib runs n_jobs=1 in this very process, but even a single trial needs one that may die alone.
                # How many run at a time is how many are dispatched ahead.
                pool = joblib.Parallel(
                    n_jobs=max(jobs, 2), return_as="generator_unordered", batch_size=1, pre_dispatch=jobs, mmap_mode="c"
                )
                for record in pool(joblib.delayed(run_trial)(job) for job in jobs_to_do):
                    self.progress.finished(record)
        except BrokenProcessPool:
            return False
        finally:
            self.progress.running = tuple
        return True

    def _broke_off(self, trials: Sequence[Trial]) -> list[Trial]:
        """The trials whose worker may have died of itself; none where a watchdog ended it and left a record."""
        records = [self.store.find(trial.id) for trial in trials]
        for record in filter(None, records):
            self.progress.finished(record)
        if any(record and record.status == "hung" for record in records):
            return []
        return [trial for trial, record in zip(trials, records, strict=True) if record is None and self._beat(trial)]

    def _alone(self, trial: Trial, measure: Measure) -> None:
        if self._survived([trial], measure, jobs=1):
            return
        record = self.store.find(trial.id)
        if record is None:
            job = Job(trial, measure, self.store, self._session, os.getpid(), self.stall_seconds)
            message = "its worker process died twice (killed, or out of memory?)"
            record = describe(job, Heartbeat(job), "failed", message, Measured({}))
            self.store.write(record)
        self.progress.finished(record)
