"""A run that was cut short, at whatever moment, ends with the very bits of a run that was not."""

import multiprocessing
import os
import random
import signal
import sys
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import toys
from gatelab.core.config import ModelConfig
from gatelab.core.errors import RunError
from gatelab.training import Run, checkpoints, fit, loop
from gatelab.training.events import Checkpointed, EpochEnded, Stepped, Warned
from gatelab.training.runs import check_same, describe

MODEL = ModelConfig("gru", hidden_size=6, num_layers=2, dropout=0.3)


@pytest.fixture(autouse=True)
def every_epoch_is_long(monkeypatch):
    """However short the epochs of a toy: a checkpoint after each."""
    monkeypatch.setattr(loop, "SHORT_EPOCH", 0.0)


class Cut(Exception):
    """What a test raises to cut a run short."""


def assert_same(a, b):
    """Weights bit for bit, and all of the history but its times."""
    one, two = a.model.state_dict(), b.model.state_dict()
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert [{**record, "seconds": 0} for record in a.history] == [{**record, "seconds": 0} for record in b.history]
    assert (a.best, a.best_epoch, a.steps, a.stopped) == (b.best, b.best_epoch, b.steps, b.stopped)


def open_toy(name: str, **config):
    kind = toys.TOYS[name]
    return kind.open(0, kind.Config(**config))


def settings_for(task, every_step=True, **changes):
    """A checkpoint after every step, or after every epoch alone."""
    return replace(task.training_defaults(), checkpoint_seconds=0.0 if every_step else 1e9, **changes)


# ---- kill -9 ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize(
    ("toy", "training"),
    [
        ("adding", {"optimizer": "adam", "schedule": "plateau", "epochs": 16, "patience": None}),
        ("echo", {"optimizer": "adam", "schedule": "cosine", "epochs": 8, "warmup_steps": 5}),
    ],
)
def test_killed_at_random_moments(toy, training, tmp_path):
    rng = random.Random(20)
    training |= {"checkpoint_seconds": 0.02, "model": MODEL}
    whole = toys.train(toy, str(tmp_path / "whole"), **training)
    # A server that has imported everything forks the processes: each lives from the first step, and none is a copy
    # of this one.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["toys", "gatelab.training", "torch._dynamo"])
    folder, seen, kills = tmp_path / "killed", None, 0
    for _ in range(4):
        child = context.Process(target=toys.train, args=(toy, str(folder)), kwargs=training)
        child.start()
        while child.is_alive() and _latest(folder) == seen:  # not before it has moved on from the last time
            child.join(0.002)
        child.join(rng.uniform(0.0, 0.03))
        kills += child.is_alive()
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        seen = _latest(folder)
    assert kills >= 3
    assert_same(toys.train(toy, str(folder), **training), whole)


def _latest(folder) -> str | None:
    found = checkpoints.found(folder / "checkpoints")
    return found[-1].name if found else None


# ---- every place, every optimizer ---------------------------------------------------------------------------------


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    toy=st.sampled_from(["adding", "echo"]),
    cell=st.sampled_from(["rnn", "lstm", "gru"]),
    optimizer=st.sampled_from(["adam", "adamw", "rmsprop", "sgd"]),
    schedule=st.sampled_from(["constant", "cosine", "plateau"]),
    every_step=st.booleans(),
    cuts=st.lists(st.integers(1, 15), min_size=1, max_size=2, unique=True).map(sorted),
)
def test_cut_anywhere(tmp_path_factory, toy, cell, optimizer, schedule, every_step, cuts):
    small = {"items": 128} if toy == "adding" else {"length": 1024}
    task = open_toy(toy, **small)
    model = ModelConfig(cell, hidden_size=4, dropout=0.2)
    training = settings_for(task, every_step, optimizer=optimizer, schedule=schedule, epochs=4, patience=None)
    folder = tmp_path_factory.mktemp("resume")
    whole = fit(task, model, training, folder=folder / "whole")
    for cut in cuts:

        def listener(event, cut=cut):
            if isinstance(event, Stepped) and event.step >= cut:
                raise Cut

        with pytest.raises(Cut):
            fit(task, model, training, folder=folder / "cut", listeners=[listener])
    assert_same(fit(task, model, training, folder=folder / "cut"), whole)


def test_patience_and_best_weights_survive(tmp_path):
    """Cut after the best epoch: the best weights come from before the cut, and patience counts on."""
    task = open_toy("adding", items=64)
    training = settings_for(task, False, learning_rate=0.5, optimizer="sgd", schedule="constant", epochs=40, patience=4)
    whole = fit(task, MODEL, training, folder=tmp_path / "whole")
    assert whole.stopped == "patience"
    assert whole.history[-1]["epoch"] == whole.best_epoch + 4

    def listener(event):
        if isinstance(event, EpochEnded) and event.record["epoch"] == whole.best_epoch + 2:
            raise Cut

    with pytest.raises(Cut):
        fit(task, MODEL, training, folder=tmp_path / "cut", listeners=[listener])
    assert_same(fit(task, MODEL, training, folder=tmp_path / "cut"), whole)


def test_cut_while_finishing(tmp_path, monkeypatch):
    """Everything trained and nothing signed: the next call only finishes."""
    task = open_toy("echo")
    whole = fit(task, MODEL, settings_for(task, epochs=1), folder=tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(Run, "write_history", lambda *_: (_ for _ in ()).throw(Cut))
        with pytest.raises(Cut):
            fit(task, MODEL, settings_for(task, epochs=1), folder=tmp_path / "cut")
    steps = []
    finished = fit(task, MODEL, settings_for(task, epochs=1), folder=tmp_path / "cut", listeners=[steps.append])
    assert not [event for event in steps if isinstance(event, Stepped) and event.step == whole.steps + 1]
    assert_same(finished, whole)


# ---- signals ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
@pytest.mark.parametrize("step", [4, 15])  # in the middle of an epoch, and before a validation
def test_a_signal_leaves_a_checkpoint_of_the_last_step(number, raised, step, tmp_path):
    task = open_toy("echo")
    training = settings_for(task, every_step=False, epochs=2)
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    saved = []

    def listener(event):
        if isinstance(event, Stepped) and event.step == step:
            os.kill(os.getpid(), number)
        if isinstance(event, Checkpointed):
            saved.append(event.step)

    with pytest.raises(raised):
        fit(task, MODEL, training, folder=tmp_path / "cut", listeners=[listener])
    assert saved == [step]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    assert_same(
        fit(task, MODEL, training, folder=tmp_path / "cut"), fit(task, MODEL, training, folder=tmp_path / "whole")
    )


# ---- damage -------------------------------------------------------------------------------------------------------


def cut_run(task, training, folder):
    """A run cut after step 20."""

    def listener(event):
        if isinstance(event, Stepped) and event.step == 20:
            raise Cut

    with pytest.raises(Cut):
        fit(task, MODEL, training, folder=folder, listeners=[listener])
    found = checkpoints.found(folder / "checkpoints")
    assert len(found) == 2
    return found


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda b: b""])
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(damage, tmp_path):
    task = open_toy("echo")
    training = settings_for(task, epochs=2)
    newest = cut_run(task, training, tmp_path / "cut")[-1]
    newest.write_bytes(damage(newest.read_bytes()))
    events = []
    resumed = fit(task, MODEL, training, folder=tmp_path / "cut", listeners=[events.append])
    assert [event for event in events if isinstance(event, Warned) and "damaged" in event.text]
    assert_same(resumed, fit(task, MODEL, training, folder=tmp_path / "whole"))


def test_two_damaged_checkpoints_are_refused(tmp_path):
    task = open_toy("echo")
    training = settings_for(task, epochs=2)
    for path in cut_run(task, training, tmp_path):
        path.write_bytes(b"x")
    with pytest.raises(RunError, match="no checkpoint"):
        fit(task, MODEL, training, folder=tmp_path)
    assert fit(task, MODEL, training, folder=tmp_path, resume=False).stopped == "epochs"


# ---- other settings -----------------------------------------------------------------------------------------------


def test_other_settings_are_named(tmp_path):
    task = open_toy("echo")
    training = settings_for(task, epochs=2)
    cut_run(task, training, tmp_path)
    with pytest.raises(RunError, match=r"training\.learning_rate: 0\.03 there, 0\.5 asked for"):
        fit(task, MODEL, settings_for(task, epochs=2, learning_rate=0.5), folder=tmp_path)
    with pytest.raises(RunError, match=r"model\.cell: gru there, lstm asked for"):
        fit(task, ModelConfig("lstm", hidden_size=6, num_layers=2, dropout=0.3), training, folder=tmp_path)
    with pytest.raises(RunError, match=r"run\.seed: 0 there, 1 asked for"):
        fit(task, MODEL, training, seed=1, folder=tmp_path)
    with pytest.raises(RunError, match=r"task\.settings\.delay: 3 there, 2 asked for"):
        fit(open_toy("echo", delay=2), MODEL, training, folder=tmp_path)


def test_a_run_of_a_version_with_fewer_settings_is_the_same_run(tmp_path):
    task = open_toy("echo")
    training = settings_for(task, epochs=2)
    cut_run(task, training, tmp_path)
    run, asked = Run.open(tmp_path), describe(task, MODEL, training, 0)
    older = {**run.config, "model": {name: value for name, value in run.config["model"].items() if name != "zoneout"}}
    check_same(Run(run.folder, older, run.manifest), asked, task.state())
    other = {**asked, "model": {**asked["model"], "zoneout": 0.5}}
    with pytest.raises(RunError, match=r"model\.zoneout: 0\.0 there, 0\.5 asked for"):
        check_same(Run(run.folder, older, run.manifest), other, task.state())


def test_other_data_are_refused(tmp_path):
    task = open_toy("adding")
    training = settings_for(task, epochs=1)
    fit(task, MODEL, training, folder=tmp_path)
    with pytest.raises(RunError, match="the data"):
        fit(toys.AddingTask.open(1, task.config), MODEL, training, folder=tmp_path)


def test_a_finished_run_is_read_not_trained(tmp_path):
    task = open_toy("echo")
    training = settings_for(task, epochs=1)
    first = fit(task, MODEL, training, folder=tmp_path)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    events = []
    second = fit(task, MODEL, training, folder=tmp_path, listeners=[events.append])
    assert_same(first, second)
    assert events == []
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == files
