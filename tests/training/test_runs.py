"""The run folder: what is in it, and what is said when it is not as it was."""

import json
import shutil
import tomllib
from pathlib import Path

import pytest
import safetensors.torch
import torch

import toys
from gatelab.core.config import ModelConfig
from gatelab.core.errors import InputError, RunError
from gatelab.core.files import read_json, write_json
from gatelab.tasks.loading import load
from gatelab.training import Run
from gatelab.training.runs import describe


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return toys.train("echo", str(tmp_path_factory.mktemp("runs") / "echo"), epochs=2, seed=4)


@pytest.fixture
def folder(finished, tmp_path):
    """A copy to be damaged."""
    return shutil.copytree(finished.folder, tmp_path / "copy")


@pytest.fixture(autouse=True)
def toys_by_name(monkeypatch):
    from gatelab.tasks import TASKS

    monkeypatch.setattr(TASKS, "_entries", dict(TASKS._entries))
    toys.register()


def test_what_is_in_it(finished):
    names = {path.name for path in finished.folder.iterdir()}
    assert names == {
        ".lock",
        "config.toml",
        "environment.json",
        "task.json",
        "metrics.jsonl",
        "model.safetensors",
        "manifest.json",
    }
    config = tomllib.loads((finished.folder / "config.toml").read_text())
    assert config["task"] == {"name": "echo", "settings": {"length": 2048, "window": 8, "delay": 3}}
    assert config["model"]["hidden_size"] == 8
    assert config["training"]["epochs"] == 2
    assert config["run"]["seed"] == 4
    lines = (finished.folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == finished.history
    stored = safetensors.torch.load_file(finished.folder / "model.safetensors")
    assert all(torch.equal(stored[name], value) for name, value in finished.model.state_dict().items())
    assert read_json(finished.folder / "environment.json")["libraries"]["torch"] == torch.__version__


def test_load_gives_task_and_model_back(finished):
    loaded = load(finished.folder)
    assert (loaded.run.seed, loaded.run.task_name, loaded.run.outcome["stopped"]) == (4, "echo", "epochs")
    assert loaded.run.training.epochs == 2
    assert not loaded.model.training
    bits = [0, 1, 1, 0, 1] * 4
    task = toys.EchoTask.open(0, toys.EchoConfig())
    assert loaded.task.predict(loaded.model, bits).equals(task.predict(finished.model, bits))


def test_load_leaves_the_global_stream_alone(finished):
    before = torch.get_rng_state()
    load(finished.folder)
    assert torch.equal(torch.get_rng_state(), before)


def alter(path):
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["model.safetensors", "config.toml", "task.json", "metrics.jsonl"])
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "is cut short"),
        (alter, "was altered"),
    ],
)
def test_damage(name, damage, said, folder):
    damage(folder / name)
    with pytest.raises(RunError, match=rf"{name} {said}(.|\n)*fix:"):
        load(folder)


def test_a_newer_format(folder):
    manifest = read_json(folder / "manifest.json")
    write_json(folder / "manifest.json", manifest | {"format": 99, "gatelab": "7.0"})
    with pytest.raises(RunError, match=r"newer gatelab(.|\n)*format 99 of gatelab 7\.0(.|\n)*upgrade"):
        load(folder)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"format": 1, "files": {}}', '{"format": "x", "files": {}}', '{"format": 1, "files": []}',
     '{"format": 1, "files": {"config.toml": {}}}', '{"format": 1, "files": {"config.toml": null}}'],
)  # fmt: skip
def test_a_damaged_manifest(content, folder):
    (folder / "manifest.json").write_text(content)
    with pytest.raises(RunError, match=r"manifest\.json is damaged"):
        load(folder)


def test_no_run_there(tmp_path):
    with pytest.raises(RunError, match="there is no folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(RunError, match="is not a run folder"):
        load(tmp_path)


def test_not_finished(tmp_path):
    task = toys.EchoTask.open(0, toys.EchoConfig())
    Run.create(tmp_path, describe(task, ModelConfig(), task.training_defaults(), seed=0), task.state())
    with pytest.raises(RunError, match="is not finished"):
        load(tmp_path)


def test_weights_of_another_model(folder):
    safetensors.torch.save_file({"layer": torch.zeros(2)}, folder / "model.safetensors")
    Run(folder, tomllib.loads((folder / "config.toml").read_text()), read_json(folder / "manifest.json")).sign(
        "model.safetensors"
    )
    with pytest.raises(RunError, match="do not fit"):
        load(folder)


def test_create_keeps_what_is_not_its_own(folder):
    (folder / "notes.txt").write_text("mine")
    task = toys.EchoTask.open(0, toys.EchoConfig())
    Run.create(folder, describe(task, ModelConfig(), task.training_defaults(), seed=0), task.state())
    assert (folder / "notes.txt").read_text() == "mine"
    assert not (folder / "model.safetensors").exists()


@pytest.mark.parametrize("deaths", range(2, 8))
def test_a_replacement_that_is_cut_short_leaves_no_run_rather_than_a_damaged_one(folder, monkeypatch, deaths):
    unlink, calls = Path.unlink, []

    def dying(path, *args, **options):
        calls.append(path)
        if len(calls) > deaths:
            raise KeyboardInterrupt
        return unlink(path, *args, **options)

    monkeypatch.setattr(Path, "unlink", dying)
    task = toys.EchoTask.open(0, toys.EchoConfig())
    with pytest.raises(KeyboardInterrupt):
        Run.create(folder, describe(task, ModelConfig(), task.training_defaults(), seed=0), task.state())
    monkeypatch.undo()
    assert not Run.exists(folder) or Run.open(folder).outcome


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        toys.train("echo", str(tmp_path / "file"))
