"""A trial's name is what it does; records survive the disk, a line of JSON, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import toys
from gatelab.core.errors import RunError
from gatelab.studies.fingerprint import fingerprint
from gatelab.studies.trials import Record, Store, Trial, read_records, write_records


def test_an_id_depends_on_what_is_done_and_not_on_how_it_is_written():
    trial = Trial("train", "gru", 1, {"a": 1, "b": {"c": [1, 2]}})
    assert Trial("train", "another label", 1, {"b": {"c": [1, 2]}, "a": 1}).id == trial.id
    others = [Trial("tune", "gru", 1, trial.configuration), Trial("train", "gru", 2, trial.configuration),
              Trial("train", "gru", 1, {"a": 1, "b": {"c": [1, 3]}})]  # fmt: skip
    assert len({trial.id, *(other.id for other in others)}) == 4


def test_an_id_is_the_same_in_every_process():
    code = "from gatelab.studies.trials import Trial; print(Trial('train', 'gru', 1, {'b': 0.1, 'a': 'ü'}).id)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert printed == Trial("train", "gru", 1, {"a": "ü", "b": 0.1}).id


@pytest.fixture
def record() -> Record:
    return Record("0123456789ab", "train", "gru", 1, {"a": 1}, "ok", measures={"test": {"MAE": float("nan")}},
                  warnings=("careful",))  # fmt: skip


def test_a_record_survives_the_disk(tmp_path, record):
    store = Store(tmp_path)
    store.write(record, {"error": np.arange(3.0)})
    found = store.find(record.id)
    assert found.measures == {"test": {"MAE": None}}
    assert found.warnings == ("careful",)
    assert np.isnan(found.metric("test", "MAE"))
    assert store.arrays(record.id)["error"].tolist() == [0, 1, 2]
    assert store.find("absent") is None
    assert store.arrays("absent") == {}


def test_records_travel_as_lines_and_are_adopted_elsewhere(tmp_path, record):
    write_records(tmp_path / "results.jsonl", [record, record])
    lines = (tmp_path / "results.jsonl").read_text().splitlines()
    assert len(lines) == 2
    assert json.loads(lines[0])["label"] == "gru"
    store = Store(tmp_path / "elsewhere")
    store.adopt(read_records(tmp_path / "results.jsonl"))
    assert store.find(record.id).status == "ok"


@pytest.mark.parametrize("text", ['{"id": "cut', '{"id": "x"}', "[1, 2]", '{"warnings": [], "surprise": 1}'])
def test_a_damaged_record_is_said(tmp_path, text):
    (tmp_path / "results.jsonl").write_text(text + "\n")
    with pytest.raises(RunError, match=r"results\.jsonl"):
        read_records(tmp_path / "results.jsonl")


def test_an_object_in_an_array_file_is_not_unpickled(tmp_path, record):
    store = Store(tmp_path)
    store.write(record)
    np.savez(store.trial_folder(record.id) / "evaluation.npz", evil=np.array([object()], dtype=object))
    with pytest.raises(RunError, match="allow_pickle"):
        store.arrays(record.id)


@pytest.mark.parametrize("content", ["", '{"id": "cut', "[1, 2]", '{"warnings": [], "of a later version": 1}'])
def test_a_damaged_record_on_disk_names_the_file_and_the_way_out(tmp_path, record, content):
    store = Store(tmp_path)
    store.write(record)
    path = store.trial_folder(record.id) / "record.json"
    path.write_text(content)
    with pytest.raises(RunError, match=r"record\.json") as caught:
        store.find(record.id)
    assert f"delete {path}" in caught.value.fix


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b[: len(b) // 2], lambda b: b"text", lambda b: b[:90] +
                                    bytes(255 - v for v in b[90:130]) + b[130:]])  # fmt: skip
def test_damaged_arrays_name_the_file_and_the_way_out(tmp_path, record, damage):
    store = Store(tmp_path)
    store.write(record, {"error": np.random.default_rng(0).normal(size=200)})
    path = store.trial_folder(record.id) / "evaluation.npz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RunError, match=r"evaluation\.npz is damaged") as caught:
        store.arrays(record.id)
    assert "record.json" in caught.value.fix


def test_a_fingerprint_follows_the_data_and_nothing_else():
    def open_task(seed=0, **settings):
        return toys.AddingTask.open(seed, toys.AddingConfig(items=32, **settings))

    first = fingerprint(open_task())
    assert fingerprint(open_task()) == first
    assert fingerprint(open_task(seed=1)) != first
    altered = open_task()
    altered.parts["test"].y[3] += 1e-3
    assert fingerprint(altered) != first
    used = open_task()
    used.cache = torch.rand(3)
    assert fingerprint(used) == first


def test_a_trial_is_known_by_what_sets_it_apart():
    old = Trial("train", "gru", 1, {"model": {"hidden_size": 8}}, {"model": {"hidden_size": 8}})
    later = Trial("train", "gru", 1, {"model": {"hidden_size": 8, "zoneout": 0.0}}, {"model": {"hidden_size": 8}})
    assert old.id == later.id
    assert old.id != Trial("train", "gru", 2, {}, {"model": {"hidden_size": 8}}).id
