"""Whatever happens to a trial, a worker or the command, what was finished stays and the rest goes on."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from rich.console import Console

import trouble
from gatelab.core.errors import NoSpaceError, RunError
from gatelab.studies.progress import Progress
from gatelab.studies.runner import Runner
from gatelab.studies.trials import Store
from gatelab.studies.worker import read_heartbeat

TESTS = Path(trouble.__file__).parent


@pytest.fixture(autouse=True)
def _importable_in_workers(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(TESTS))


def run(folder: Path, *trials, jobs: int = 2, **options):
    with Runner(folder, jobs=jobs, **options) as runner:
        return list(runner.run(trials, trouble.measure).values())


def test_trials_run_in_other_processes_with_one_thread_and_leave_records(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    records = run(tmp_path, *[trouble.trial("fine", seed) for seed in range(4)])
    assert [record.seed for record in records] == [0, 1, 2, 3]
    assert all(record.ok and record.measures["threads"] == "1" for record in records)
    assert os.getpid() not in {record.measures["pid"] for record in records}
    assert records[0].measures["infinite"] is None
    assert Store(tmp_path).arrays(records[0].id)["squares"].tolist() == [0, 1, 4]
    assert Store(tmp_path).find(records[2].id) == records[2]


def test_one_job_is_one_at_a_time_and_still_not_in_this_process(tmp_path):
    records = run(tmp_path, *[trouble.trial("slow", seed, seconds=0.3) for seed in range(3)], jobs=1)
    assert os.getpid() not in {record.measures["pid"] for record in records}
    beats = [json.loads((Store(tmp_path).trial_folder(r.id) / "heartbeat.json").read_text()) for r in records]
    starts = sorted(beat["started"] for beat in beats)
    assert min(b - a for a, b in pairwise(starts)) >= 0.3


def test_what_fails_and_hangs_is_recorded_and_the_rest_goes_on(tmp_path, capfd):
    actions = ["raises", "explains", "hangs", "warns", *["fine"] * 2]
    trials = [trouble.trial(action, seed) for seed, action in enumerate(actions)]
    records = {r.label: r for r in run(tmp_path, *trials, stall_seconds=1.5)}
    assert records["raises"].status == "failed"
    assert "ZeroDivisionError: one over zero" in records["raises"].message
    assert "in raises (trouble.py" in records["raises"].message
    assert records["explains"].message == "the loss is NaN at step 7\n  fix:      lower --learning-rate"
    assert records["hangs"].status == "hung"
    assert records["hangs"].message == "no sign of life for 1.5 s"
    assert records["fine"].ok
    assert records["warns"].ok
    assert records["warns"].warnings == ("the same warning, many times",)
    assert "many times" not in "".join(capfd.readouterr())


def test_a_worker_that_dies_takes_only_its_own_trial_down(tmp_path):
    trials = [
        trouble.trial("dies"),
        trouble.trial("leaves_once"),
        *[trouble.trial("slow", s, seconds=0.2) for s in range(3)],
    ]
    records = run(tmp_path, *trials)
    assert [record.status for record in records] == ["failed", "ok", "ok", "ok", "ok"]
    assert "died twice" in records[0].message


def test_finished_trials_are_not_run_again_and_failed_ones_only_when_asked(tmp_path):
    first = run(tmp_path, trouble.trial("fine"), trouble.trial("raises"))
    again = run(tmp_path, trouble.trial("fine"), trouble.trial("raises"), trouble.trial("fine", 1))
    assert again[:2] == first
    assert again[2].ok
    retried = run(tmp_path, trouble.trial("fine"), trouble.trial("raises"), retry=True)
    assert retried[0] == first[0]
    assert retried[1].measures == first[1].measures == {}
    assert retried[1].status == "failed"
    beat = json.loads((Store(tmp_path).trial_folder(first[1].id) / "heartbeat.json").read_text())
    assert beat["started"] > time.time() - 60


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_a_full_disk_is_nobodys_failure(tmp_path, backend):
    """The command stops and says so; with space again it goes on, and no trial is on record as failed."""
    trials = [trouble.trial("fine"), trouble.trial("fills_the_disk_once"), trouble.trial("fine", 1)]
    with pytest.raises(NoSpaceError, match="no space left"):
        run(tmp_path, *trials, jobs=1, backend=backend)
    assert Store(tmp_path).find(trials[0].id).ok
    assert Store(tmp_path).find(trials[1].id) is None
    assert all(record.ok for record in run(tmp_path, *trials, backend=backend))


def test_a_sign_of_life_that_cannot_be_written_fails_no_trial(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    (record,) = run(tmp_path, trouble.trial("fine"), backend="threading")
    assert record.ok


@pytest.mark.parametrize("content", [b"", b"\0" * 40, b"\xff\xfe", b"[1]", b"{}", b'{"session": "of yesterday"}'])
def test_a_damaged_sign_of_life_is_none(tmp_path, content):
    store = Store(tmp_path)
    folder = store.trial_folder("a")
    folder.mkdir(parents=True)
    (folder / "heartbeat.json").write_bytes(content)
    assert read_heartbeat(store, "a", "session") is None


def test_a_folder_serves_one_command_at_a_time(tmp_path):
    with Runner(tmp_path), pytest.raises(RunError, match="another gatelab command"), Runner(tmp_path):
        pass


def test_no_worker_outlives_the_runner(tmp_path):
    records = run(tmp_path, trouble.trial("fine"))
    assert not psutil.pid_exists(records[0].measures["pid"])


def test_a_backend_in_this_process_works_too(tmp_path):
    records = run(tmp_path, trouble.trial("fine"), trouble.trial("raises"), backend="threading")
    assert [record.status for record in records] == ["ok", "failed"]
    assert records[0].measures["pid"] == os.getpid()


def test_progress_counts_and_estimates(tmp_path):
    log = io.StringIO()
    console = Console(file=log, width=200, force_terminal=False)
    progress = Progress(console=console)
    progress.expect(3)
    run(tmp_path / "study", *[trouble.trial("slow", s, seconds=0.2) for s in range(3)], jobs=1, progress=progress)
    lines = log.getvalue().splitlines()
    assert len(lines) == 4
    assert lines[0] == "3 trials, 1 at a time"
    assert re.fullmatch(r"\[1/3\] slow \(toy\): error 0 in [\d.]+ s; about .* left", lines[1])
    assert re.fullmatch(r"\[3/3\] slow \(toy\): error 2 in [\d.]+ s", lines[3])


SCRIPT = """
import sys, trouble
from pathlib import Path
from gatelab.studies.runner import Runner
trials = [trouble.trial("fine", s) for s in range(4)] + [trouble.trial("slow", seconds=30.0)]
with Runner(Path(sys.argv[1]), jobs=2) as runner:
    runner.run(trials, trouble.measure)
"""


def test_a_worker_that_was_given_nothing_does_not_outlive_the_command_either(tmp_path):
    """One trial, three workers: two of them never hear of a trial, and the command is killed."""
    store, trial = Store(tmp_path / "study"), trouble.trial("slow", seconds=30.0)
    code = SCRIPT.replace('[trouble.trial("fine", s) for s in range(4)] + ', "").replace("jobs=2", "jobs=3")
    process = subprocess.Popen([sys.executable, "-c", code, str(store.folder)], start_new_session=True)
    heartbeat = store.trial_folder(trial.id) / "heartbeat.json"
    wait_for(lambda: heartbeat.exists() and len(psutil.Process(process.pid).children()) >= 4)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    wait_for(lambda: not any(child.is_running() for child in children))


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_command_that_is_stopped_loses_only_what_was_running(tmp_path, blow):
    """Stopped while one worker is at a trial and one idle: records stay, no worker is left, the command goes on."""
    store = Store(tmp_path / "study")
    command = [sys.executable, "-c", SCRIPT, str(store.folder)]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE)
    fine = [trouble.trial("fine", seed) for seed in range(4)]
    slow = store.trial_folder(trouble.trial("slow", seconds=30.0).id)
    wait_for(lambda: (slow / "heartbeat.json").exists() and all(store.find(trial.id) for trial in fine))
    children = psutil.Process(process.pid).children(recursive=True)
    assert {json.loads((slow / "heartbeat.json").read_text())["pid"]} < {child.pid for child in children}
    process.send_signal(blow)
    process.communicate(timeout=20)
    wait_for(lambda: not any(child.is_running() for child in children))
    written = {trial.id: (store.trial_folder(trial.id) / "record.json").stat().st_mtime_ns for trial in fine}
    assert not (slow / "record.json").exists()

    run(store.folder, *fine, trouble.trial("fine", 4))
    assert {id: (store.trial_folder(id) / "record.json").stat().st_mtime_ns for id in written} == written
    assert store.find(trouble.trial("fine", 4).id)


def wait_for(condition, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
