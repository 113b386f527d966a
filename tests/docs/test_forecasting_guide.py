"""The guide to forecasting does what it says: every command and all of its Python run, and every line is said."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from gatelab.cli.main import main
from gatelab.core.config import TrainingConfig
from gatelab.studies import compare as comparing
from gatelab.tasks.forecasting import statespace
from gatelab.tasks.forecasting.task import Forecasting

GUIDE = Path(__file__).parents[2] / "docs" / "forecasting.md"
ROWS = 330


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def table(rows: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    promo = (rng.random(rows) < 0.2).astype(int)
    wave = 10 * np.sin(2 * np.pi * np.arange(rows) / 7)
    sales = np.round(40 + wave + 15 * promo + rng.normal(0, 3, rows)).clip(0)
    dates = pd.date_range("2023-01-01", periods=rows).strftime("%Y-%m-%d")
    return pd.DataFrame({"date": dates, "sales": sales, "promo": promo, "rain": rng.exponential(2, rows)})


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with the files that the guide speaks of, and trainings of one epoch."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(statespace, "affordable", lambda windows: False)
    monkeypatch.setattr(Forecasting, "training_defaults", lambda task: TrainingConfig(epochs=1, batch_size=64))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    whole = table(ROWS + 14)
    whole.loc[[40, 41], "sales"] = np.nan
    whole = whole.assign(fair=(whole.index >= ROWS - 5).astype(int))
    whole.drop(index=[70]).head(ROWS - 1).to_csv("sales.csv", index=False)
    whole.to_csv("newer.csv", index=False)
    whole[["date", "promo"]][ROWS:].to_csv("plan.csv", index=False)
    shops = [table(ROWS, seed)[["date", "sales"]].assign(shop=name) for seed, name in enumerate(["north", "south"])]
    pd.concat(shops).to_csv("shops.csv", index=False)
    yield tmp_path
    torch.set_num_threads(threads)


def test_every_command_and_all_python_run_and_every_line_is_said(place, capsys, monkeypatch):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("holidays")
    compared = []
    monkeypatch.setattr(comparing, "compare", lambda task, **settings: compared.append(settings) or _Nothing())
    commands = [shlex.split(line) for block in blocks("sh") for line in block.splitlines()]
    for command in commands:
        assert command[0] == "gatelab"
        code = main(command[1:])
        assert code == 0, (command, capsys.readouterr().err)
    words = "fit forecasting sales.csv --target sales --horizon 14 --past fair,rain --positive --out runs/more"
    assert main(words.split()) == 0
    said = capsys.readouterr().err
    assert compared[0]["budget"] == "quick"
    for file in ("forecast.csv", "forecast.png", "shops.png", "sales.onnx", "runs/sales/report.html", "runs/newer"):
        assert Path(file).exists(), file
    lines = re.findall(r"^\| `(.*?)` \|", GUIDE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(lines) > 9
    assert [line for line in lines if line not in said] == []
    for block in blocks("python"):
        exec(compile(block, "docs/forecasting.md", "exec"), {})
    assert Path("forecast.svg").exists()


class _Nothing:
    """A comparison that was not made: its trials would take minutes, and tests of ``compare`` are elsewhere."""

    best = None
    results: dict = {"cells": {"gru": {"finished": 1}}, "failed": []}  # noqa: RUF012

    def show(self, stream) -> None:
        pass


def test_every_option_that_it_names_exists(capsys):
    named = set(re.findall(r"--[a-z][a-z0-9-]*", GUIDE.read_text(encoding="utf-8")))
    assert len(named) > 25
    for command in (
        ["fit", "forecasting"],
        ["compare", "forecasting"],
        ["predict"],
        ["evaluate"],
        ["update"],
        ["export"],
    ):
        assert main([*command, "--help"]) == 0
        named -= set(re.findall(r"--[a-z][a-z0-9-]*", capsys.readouterr().out))
    assert named == set()


def test_the_tables_in_it_can_be_read():
    (first, second) = blocks("csv")
    assert first.splitlines()[0] == "date,sales"
    assert second.splitlines()[0] == "date,shop,sales"
