"""What is compiled at the first use, and in which process."""

import os
import subprocess
import sys

import joblib
import numpy as np
import pytest

from gatelab.kernels import compiling, first_use

USE = first_use.Use("gru", "backward", np.dtype(np.float32))
TRAINING = """\
import torch
from gatelab import nn
torch.manual_seed(0)
layer, x = nn.{cell}(3, 5, **{options}), torch.randn(9, 2, 3)
layer(x)[0].square().sum().backward()
print(float(layer.weight_hh_l0.grad.abs().sum()))
"""


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """Nothing is ready, and nothing begun, and there are two cores and a place on disk."""
    monkeypatch.setattr(first_use, "_ready", set())
    monkeypatch.setattr(first_use, "_beside", {})
    monkeypatch.setattr(joblib, "cpu_count", lambda: 2)
    monkeypatch.setattr(compiling, "folder", lambda: tmp_path)


def python(tmp_path, monkeypatch, does):
    """Has a shell script stand in for Python."""
    script = tmp_path / "python3"
    script.write_text(f"#!/bin/sh\n{does}\n")
    script.chmod(0o755)
    monkeypatch.setattr(first_use, "get_executable", lambda: str(script))


def train(cache, cell="GRU", options="{}"):
    code = TRAINING.format(cell=cell, options=options)
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache)}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)


@pytest.mark.slow
@pytest.mark.parametrize(("cell", "options"), [("GRU", "{}"), ("LSTM", "{'layer_norm': True}")])
def test_the_way_back_is_compiled_beside_the_way_there(tmp_path, cell, options):
    first, second = train(tmp_path, cell, options), train(tmp_path, cell, options)
    said = first.stderr.splitlines()
    beside = joblib.cpu_count() > 1
    assert len(said) == (1 if beside else 2)
    assert ("beside it backward" in said[0]) == beside
    assert second.stderr == ""
    assert first.stdout == second.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
def test_a_process_that_fails_leaves_the_work_to_this_one(tmp_path, monkeypatch, alone):
    python(tmp_path, monkeypatch, "exit 1")
    assert first_use._begin(USE)
    called = []
    first_use.announced(USE, lambda: called.append(True))
    assert called
    assert first_use._beside[USE].returncode == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
def test_nobody_waits_for_ever(tmp_path, monkeypatch, alone):
    monkeypatch.setattr(first_use, "_LONGEST", 0.05)
    python(tmp_path, monkeypatch, "exec sleep 600")
    assert first_use._begin(USE)
    first_use._wait(USE)
    assert first_use._beside[USE].returncode == -9


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
def test_it_is_begun_once(tmp_path, monkeypatch, alone):
    python(tmp_path, monkeypatch, f"echo begun >> {tmp_path / 'log'}")
    assert first_use._begin(USE)
    assert first_use._begin(USE)
    first_use._wait(USE)
    assert (tmp_path / "log").read_text() == "begun\n"


def test_what_is_ready_is_not_compiled_again(alone):
    first_use._ready.add(USE)
    assert not first_use._begin(USE)
    assert not first_use._beside


@pytest.mark.parametrize(
    ("module", "name", "found"),
    [
        (joblib, "cpu_count", 1),
        (first_use, "get_executable", "/usr/bin/blender"),
        (first_use, "get_executable", None),
        (first_use, "get_executable", "/nowhere/python3"),
    ],
)
def test_where_no_other_process_can_help(module, name, found, monkeypatch, alone):
    monkeypatch.setattr(module, name, lambda: found)
    assert not first_use._begin(USE)


def test_where_nothing_can_be_left_on_disk(tmp_path, monkeypatch, alone):
    monkeypatch.setattr(compiling, "folder", lambda: tmp_path / "nowhere")
    assert not first_use._begin(USE)


def test_the_process_is_told_where_to_leave_it(tmp_path, monkeypatch, alone):
    python(tmp_path, monkeypatch, f'printf "%s" "$NUMBA_CACHE_DIR|$2" > {tmp_path / "log"}')
    monkeypatch.setattr(first_use._config, "CACHE_DIR", str(tmp_path))
    assert first_use._begin(USE)
    first_use._wait(USE)
    place, code = (tmp_path / "log").read_text().split("|")
    assert place == str(tmp_path)
    assert code.endswith("scan.prepare('gru', 'float32', False)")
