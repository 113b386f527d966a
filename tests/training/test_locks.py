"""Two trainings in one folder: the second is refused, whatever it asks for, and the first comes to its end."""

import subprocess
import sys

import pytest

import toys
from gatelab.core.config import ModelConfig
from gatelab.core.errors import RunError
from gatelab.training import Run, fit
from gatelab.training.events import Stepped
from gatelab.training.locks import alone_in


def test_a_second_training_in_the_folder_is_refused_while_the_first_is_at_work(tmp_path):
    refused = []

    def second(event):
        if isinstance(event, Stepped) and not refused:
            with pytest.raises(RunError, match="another gatelab command is at work") as caught:
                toys.train("echo", str(tmp_path), seed=2)
            refused.append(caught.value)

    task = toys.EchoTask.open(0, toys.EchoConfig(length=256))
    training = task.training_defaults()
    fitted = fit(task, ModelConfig("gru", hidden_size=4), training, seed=1, folder=tmp_path, listeners=[second])
    assert refused
    run = Run.open(tmp_path)
    assert (run.seed, run.outcome is not None) == (1, True)
    again = fit(task, ModelConfig("gru", hidden_size=4), training, seed=1, folder=tmp_path)  # it is free again
    assert again.history == fitted.history


def test_a_finished_run_can_be_read_while_the_folder_is_taken(tmp_path):
    fitted = toys.train("echo", str(tmp_path), epochs=1)
    with alone_in(tmp_path):
        assert toys.train("echo", str(tmp_path), epochs=1).history == fitted.history


def test_another_process_is_kept_out_and_a_killed_one_lets_go(tmp_path):
    code = (
        "import sys, time\nfrom gatelab.training.locks import alone_in\n"
        "with alone_in(sys.argv[1]):\n    print('in', flush=True)\n    time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "in\n"
        with pytest.raises(RunError, match="another gatelab command"), alone_in(tmp_path):
            pass
    finally:
        child.kill()
        child.communicate()
    with alone_in(tmp_path):
        pass
