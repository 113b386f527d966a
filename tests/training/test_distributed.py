"""Two processes that train one model: as one process would, with one run folder, and with one end for all."""

import json
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import toys
from gatelab.cli.main import main
from gatelab.core.config import ModelConfig
from gatelab.core.errors import InputError, RunError, TrainingError
from gatelab.core.random import generator
from gatelab.training import Run, checkpoints, fit, fitting
from gatelab.training.distributed import Processes
from together import together, train

PLAIN = ModelConfig("gru", hidden_size=6)
NOISY = ModelConfig("gru", hidden_size=6, num_layers=2, dropout=0.3)


def two(folder, toy, first=None, second=None, **training):
    """A toy trained by two processes, and what came of it in each; only ``shared`` may be written to."""
    folder.mkdir(exist_ok=True)
    same = {"toy": toy, **training}
    meeting = folder / f"meeting-{len(list(folder.glob('meeting-*')))}"
    arguments = [same | {"folder": str(folder / "shared"), **(first or {})},
                 same | {"folder": str(folder / "nobody"), **(second or {})}]  # fmt: skip
    found = together(train, arguments, meeting)
    assert not (folder / "nobody").exists()
    return found


def assert_same(a, b):
    assert a["weights"].keys() == b["weights"].keys()
    assert all(np.array_equal(a["weights"][name], b["weights"][name]) for name in a["weights"])
    assert a["history"] == b["history"]
    assert a["outcome"] == b["outcome"]


# ---- shares ------------------------------------------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(1, 12))
def test_shares_are_equal_but_for_one_and_make_up_the_batch(size, processes):
    batch = toys.EchoBatch(torch.arange(size).float()[None, :, None], torch.zeros(1, size), carries=False)
    shares = [Processes(rank, processes).share(batch) for rank in range(processes)]
    assert torch.equal(torch.cat([share.x for share in shares], dim=1), batch.x)
    sizes = [share.size for share in shares]
    assert max(sizes) - min(sizes) <= 1
    assert sizes == sorted(sizes, reverse=True), "the first process always has something to do"


@pytest.mark.parametrize("processes", [2, 3, 5, 40])
def test_weighted_by_what_they_scored_the_shares_have_the_gradient_of_the_batch(processes):
    task = toys.AddingTask.open(0, toys.AddingTask.Config())
    whole = next(iter(task.batches("train", 32, generator(0, "order"))))
    y = whole.y.clone()
    y[:11] = torch.nan  # nothing to score in the whole of one share, and in a part of another
    batch = replace(whole, y=y)
    torch.manual_seed(0)
    network = task.build(PLAIN).double()

    def gradient(batch):
        loss = task.loss(network, replace(batch, x=batch.x.double(), y=batch.y.double()))
        network.zero_grad()
        loss.mean.backward()
        return torch.cat([p.grad.flatten() for p in network.parameters()]), loss.weight

    shares = [Processes(rank, processes).share(batch) for rank in range(processes)]
    parts = [gradient(share) for share in shares if share.size]
    expected, items = gradient(batch)
    assert items == sum(weight for _, weight in parts) == 21
    torch.testing.assert_close(sum(g * weight / items for g, weight in parts), expected, rtol=1e-12, atol=1e-14)


def test_more_processes_than_sequences_are_refused():
    task = toys.AddingTask.open(0, toys.AddingTask.Config())
    with pytest.raises(InputError, match="more processes than sequences"):
        fitting._check_shared(Processes(0, 33), {}, task, task.training_defaults())


# ---- training ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("toy", "training"),
    [
        ("adding", {"batch_size": 37}),  # shares of 19 and 18, of the last batch 17 and 17
        ("echo", {}),  # the state is carried, and streams go on in the process they began in
    ],
)
def test_two_processes_learn_what_one_would(toy, training, tmp_path):
    training |= {"model": PLAIN, "epochs": 3, "patience": None}
    leader, follower = two(tmp_path, toy, **training)
    assert_same(leader, follower)
    alone = toys.train(toy, str(tmp_path / "alone"), **training)
    for name, tensor in alone.model.state_dict().items():
        np.testing.assert_allclose(leader["weights"][name], tensor.numpy(), rtol=1e-5, atol=1e-6)
    for record, expected in zip(leader["history"], alone.history, strict=True):
        assert record["train_loss"] == pytest.approx(expected["train_loss"], rel=1e-5)
        assert record["gradient_norm"] == pytest.approx(expected["gradient_norm"], rel=1e-4)
        assert record["validation_loss"] == pytest.approx(expected["validation_loss"], rel=1e-5)
    run = Run.open(tmp_path / "shared")
    assert run.config["run"] == {"seed": 0, "processes": 2}
    assert {name: value.numpy().tobytes() for name, value in run.model_state().items()} == {
        name: value.tobytes() for name, value in leader["weights"].items()
    }


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_a_signal_to_one_stops_all_and_they_go_on_with_the_same_bits(tmp_path):
    training = {"model": NOISY, "epochs": 2, "checkpoint_seconds": 1e9}
    whole, _ = two(tmp_path / "whole", "echo", **training)
    stopped = two(tmp_path / "cut", "echo", second={"send": (signal.SIGINT, 9)}, **training)
    assert [type(error) for error in stopped] == [KeyboardInterrupt, KeyboardInterrupt]
    (checkpoint,) = checkpoints.found(tmp_path / "cut" / "shared" / "checkpoints")
    values = checkpoints.load_latest(checkpoint.parent)[1]
    assert values["place"]["step"] == 9
    assert len(values["carried"]) == 2
    with pytest.raises(RunError, match=r"run\.processes: 2 there, none asked for"):
        toys.train("echo", str(tmp_path / "cut" / "shared"), **training)
    for resumed in two(tmp_path / "cut", "echo", **training):
        assert_same(resumed, whole)


def test_time_is_up_for_all_at_once(tmp_path):
    leader, follower = two(tmp_path, "adding", model=PLAIN, epochs=100_000, patience=None, max_seconds=0.5)
    assert leader["outcome"][1] == "time"
    assert_same(leader, follower)


def test_a_finished_run_is_read_by_the_first_for_all(tmp_path):
    training = {"model": PLAIN, "epochs": 1}
    first, _ = two(tmp_path, "echo", **training)
    for again in two(tmp_path, "echo", **training):
        assert_same(again, first)


# ---- what goes wrong ---------------------------------------------------------------------------------------------


def test_processes_that_would_train_something_else_are_refused(tmp_path):
    errors = two(tmp_path, "echo", second={"learning_rate": 0.5}, model=PLAIN)
    for error in errors:
        assert isinstance(error, RunError)
        assert error.got == "training.learning_rate: 0.03 in process 0, 0.5 in process 1"
    assert not (tmp_path / "shared").exists()


def test_what_is_wrong_with_the_folder_is_said_in_every_process(tmp_path):
    (tmp_path / "file").touch()
    errors = two(tmp_path, "echo", first={"folder": str(tmp_path / "file")}, model=PLAIN)
    assert [type(error) for error in errors] == [InputError, InputError]


def test_a_loss_that_is_not_finite_ends_all(tmp_path):
    errors = two(tmp_path, "adding", model=PLAIN, learning_rate=1e30, optimizer="sgd", clip_norm=None)
    assert [type(error) for error in errors] == [TrainingError, TrainingError]
    assert errors[0].problem.startswith("the loss is inf at step 2")


def test_when_one_dies_the_others_say_so(tmp_path):
    survivor, gone = two(tmp_path, "echo", second={"leave": 5}, model=PLAIN, checkpoint_seconds=0.0)
    assert isinstance(gone, ConnectionAbortedError)
    assert isinstance(survivor, TrainingError)
    assert survivor.problem == "another process of this training has ended"
    assert checkpoints.load_latest(tmp_path / "shared" / "checkpoints")[1]["place"]["step"] == 4


# ---- torchrun ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_command_under_torchrun(tmp_path):
    words = ["fit", "problem", "adding", "--length", "8", "--examples", "64", "--held-out", "16", "--epochs", "1",
             "--batch-size", "16", "--cell", "gru", "--hidden-size", "4", "--out", str(tmp_path), "--json"]  # fmt: skip
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "gatelab"]
    done = subprocess.run([*command, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == 4, "one process prints the results"
    assert Run.open(tmp_path).config["run"]["processes"] == 2


def test_other_commands_are_not_for_torchrun(monkeypatch, capsys):
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert main(["compare", "forecasting", "co2_weekly"]) == 2
    assert "leave torchrun away" in capsys.readouterr().err


def test_one_process_of_torchrun_is_one_process(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "1")
    task = toys.EchoTask.open(0, toys.EchoTask.Config(length=512))
    fit(task, PLAIN, replace(task.training_defaults(), epochs=1), folder=tmp_path)
    assert "processes" not in Run.open(tmp_path).config["run"]
