"""benchmarks/peers.py with the peers that come with torch; Keras has a process of its own and is tried by hand."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

from gatelab.bench import machine
from gatelab.bench.harness import Bench, Settings, Shape

PATH = Path(__file__).parents[2] / "benchmarks" / "peers.py"


@pytest.fixture
def peers(monkeypatch):
    spec = importlib.util.spec_from_file_location("peers", PATH)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "peers", module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    monkeypatch.setattr(machine, "PRODUCTS", ((16, 16, 16),))
    here = module.installed
    monkeypatch.setattr(module, "installed", lambda name: here(name) and "Keras" not in name)
    return module


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("mode", ["train", "forward"])
def test_peers_compute_the_same(peers, cell, mode):
    bench = Bench(Settings(seconds=0.0), torch.device("cpu"), torch.float32)
    figures = {figure.name: figure.value for figure in peers.measure(cell, Shape(2, 5, 3, 4), mode, bench)}
    assert figures["loop of cells / gatelab"] > 0
    assert figures["torch.nn / gatelab"] > 0


def test_the_command_writes_what_it_found_and_who_was_absent(peers, monkeypatch, tmp_path, capsys):
    out, page = tmp_path / "peers.json", tmp_path / "peers.md"
    words = [
        "peers.py",
        "--seconds",
        "0",
        "--cell",
        "rnn",
        "--shape",
        "2x5x3x4",
        "--out",
        str(out),
        "--markdown",
        str(page),
    ]
    monkeypatch.setattr(sys, "argv", words)
    assert peers.main() == 0
    assert [row["case"] for row in json.loads(out.read_text())["rows"]] == ["rnn 2·5·3·4"] * 2
    assert "Keras on JAX is not installed" in page.read_text()
    assert capsys.readouterr().out.strip() == page.read_text().strip()


def test_a_peer_that_dies_is_told(peers):
    class Dead:
        args = ("python", "keras_child.py")
        stdout = type("", (), {"readline": staticmethod(str)})

        def wait(self):
            return 3

    with pytest.raises(RuntimeError, match="has ended with code 3"):
        peers.heard(Dead())
