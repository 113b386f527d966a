"""What people see."""

import io
import sys
from dataclasses import replace

import pytest
from rich.console import Console

import toys
from gatelab.core.config import ModelConfig
from gatelab.core.errors import InputError
from gatelab.training import fit
from gatelab.training.events import Scored, Scoring, Started
from gatelab.training.progress import ProgressBar, expectation
from gatelab.training.scoring import score_all


def test_expectation(tmp_path):
    event = Started(tmp_path, 100, 30, 10, "cpu", epoch_seconds=1.3, estimate_seconds=39.6, step=0)
    assert expectation(event) == "about 40 s: at most 30 epochs of 1.3 s, may stop earlier"


def show(folder, **changes):
    text = io.StringIO()
    console = Console(file=text, width=200, force_terminal=True)
    task = toys.EchoTask.open(0, toys.EchoConfig(length=1024))
    training = replace(task.training_defaults(), epochs=2, **changes)
    fit(task, ModelConfig("gru", hidden_size=6), training, folder=folder, listeners=[ProgressBar("gru", console)])
    return text.getvalue()


def test_the_bar_says_before_during_and_after(tmp_path):
    said = show(tmp_path)
    before, after = said.index("may stop earlier"), said.index("all epochs done after 14 steps")
    assert "gru: 169 parameters, about " in said[:before]
    assert before < after
    assert ", best epoch 2 (0." in said[after:]


def test_scoring_is_said_contender_by_contender_and_the_bar_goes(monkeypatch):
    text, events = io.StringIO(), []
    bar = ProgressBar("gru", Console(file=text, width=200, force_terminal=True))
    task = toys.EchoTask.open(0, toys.EchoConfig(length=1024))
    model = task.build(ModelConfig("gru", hidden_size=3))
    scored = score_all(task, "gru", model, "test", [bar, events.append])
    assert list(scored) == ["gru", *task.baselines()]
    assert scored["gru"].metrics == task.evaluate(model, "test").metrics
    assert events == [*(Scoring(name, k, len(scored)) for k, name in enumerate(scored)), Scored()]
    assert "gru: scoring gru" in text.getvalue()
    assert text.getvalue().endswith("\x1b[2K")
    monkeypatch.setattr(task, "evaluate", lambda model, part: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        score_all(task, "gru", model, "test", [events.append])
    assert events[-1] == Scored()


def test_the_bar_goes_when_the_run_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(toys.EchoTask, "validate", lambda *_: 1 / 0)
    text = io.StringIO()
    bar = ProgressBar(console=Console(file=text, force_terminal=True))
    task = toys.EchoTask.open(0, toys.EchoConfig(length=1024))
    with pytest.raises(ZeroDivisionError):
        fit(task, ModelConfig(), task.training_defaults(), folder=tmp_path, listeners=[bar])
    assert text.getvalue().endswith("\x1b[2K") or "\x1b[?25h" in text.getvalue()  # the cursor is back


def test_tensorboard(tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    fitted = toys.train("echo", str(tmp_path), epochs=2, tensorboard=True)
    log = events.EventAccumulator(str(tmp_path / "tensorboard"))
    log.Reload()
    logged = [(scalar.step, scalar.value) for scalar in log.Scalars("train_loss")]
    assert logged == [(r["step"], pytest.approx(r["train_loss"])) for r in fitted.history]
    assert "accuracy" in log.Tags()["scalars"]


def test_tensorboard_that_is_absent(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(InputError, match=r"pip install 'gatelab\[tensorboard\]'"):
        toys.train("echo", str(tmp_path / "run"), epochs=1, tensorboard=True)
    assert not (tmp_path / "run").exists()
