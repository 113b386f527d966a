"""Run folders that somebody altered, digests and all: refused in words, or predicting numbers; never a traceback."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy

from gatelab import Forecaster, TextClassifier
from gatelab.core.errors import GatelabError
from gatelab.core.files import digest
from gatelab.tasks.loading import load

ALTERATIONS = 60  # of each folder
TEXTS = ["a fine film", "so dull", "fine", "dull, dull"] * 8
TABLE = pd.DataFrame({"time": pd.date_range("2024-01-01", periods=120, freq="D"), "y": np.sin(np.arange(120.0)),
                      "promo": np.arange(120) % 7 == 0, "sky": ["blue", "grey", "red"] * 40})  # fmt: skip
NEXT = pd.DataFrame({"time": pd.date_range("2024-04-30", periods=3, freq="D"), "promo": True})
STRANGE: list[Any] = [
    None, True, -1, 0, 2**70, 1e308, -5.5, "", "x", "\ud800", "../../x", "nan", [], [[]], [None] * 3, {}, {"": {}},
    [1] * 5000,
]  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("altered")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        settings = {"hidden_size": 4, "epochs": 1}
        roles = {"target": "y", "past": ("sky",), "future": ("promo",), "horizon": 3, "lookback": 6}
        Forecaster(**roles, **settings, folder=home / "forecasting").fit(TABLE)
        TextClassifier(**settings, folder=home / "texts").fit(TEXTS, [1, 0] * 16)
    return {"forecasting": home / "forecasting", "texts": home / "texts"}


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """Where something stands in nested JSON."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, entry in inner for place in places(entry, (*path, key)))]


def altered(value: Any, rng: np.random.Generator) -> Any:
    """The same JSON with one entry replaced, removed or doubled."""
    at = places(value)
    *path, last = at[int(rng.integers(1, len(at)))]
    inner = value
    for key in path:
        inner = inner[key]
    if isinstance(inner, dict) and rng.random() < 0.3:
        del inner[last]
    else:
        inner[last] = STRANGE[int(rng.integers(len(STRANGE)))]
    return value


def alter(folder: Path, rng: np.random.Generator) -> str:
    """Alters one file of a run, and mends its digest; what was done."""
    name = str(rng.choice(["task.json", "task.json", "task.json", "config.toml", "model.safetensors", "manifest.json",
                           "environment.json", "metrics.jsonl"]))  # fmt: skip
    path = folder / name
    if name in ("task.json", "environment.json", "manifest.json"):
        path.write_text(json.dumps(altered(json.loads(path.read_text()), rng)))
    elif name == "model.safetensors" and rng.random() < 0.7:
        weights = safetensors.numpy.load_file(path)
        key = str(rng.choice(list(weights)))
        change = rng.integers(4)
        if change == 0:
            weights[key] = np.full_like(weights[key], np.nan)
        elif change == 1:
            weights[key] = np.zeros((2, 3, 5), np.float32)
        elif change == 2:
            del weights[key]
        else:
            weights[key] = weights[key].astype(np.int64)
        safetensors.numpy.save_file(weights, path)
    else:
        content = bytearray(path.read_bytes())
        for _ in range(int(rng.integers(1, 4))):
            content[int(rng.integers(len(content)))] = int(rng.integers(256))
        path.write_bytes(bytes(content[: int(rng.integers(1, len(content) + 1))]) if rng.random() < 0.3 else content)
    if name != "manifest.json":
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["files"][name] = {"bytes": path.stat().st_size, "sha256": digest(path)}
        (folder / "manifest.json").write_text(json.dumps(manifest))
    return name


@pytest.mark.parametrize("kind", ["forecasting", "texts"])
@pytest.mark.filterwarnings("ignore")
def test_an_altered_folder_is_refused_or_predicts_numbers(folders, kind, tmp_path):
    rng, refused = np.random.default_rng(0), 0
    for number in range(ALTERATIONS):
        folder = shutil.copytree(folders[kind], tmp_path / str(number))
        name = alter(folder, rng)
        try:
            loaded = load(folder)
            source = TABLE if kind == "forecasting" else ["a fine film"]
            future = NEXT if kind == "forecasting" else None
            predicted = loaded.task.predict(loaded.model, source, future=future)
            numbers = predicted.select_dtypes("number").to_numpy()
            assert np.isfinite(numbers).all(), (number, name)
        except GatelabError:
            refused += 1
        except Exception as error:
            raise AssertionError(f"alteration {number} of {name}: {type(error).__name__}: {error}") from error
        shutil.rmtree(folder)
    assert 0.3 * ALTERATIONS < refused < ALTERATIONS
