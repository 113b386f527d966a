"""Rows of the terminal's table: every cell beside its own costs."""

from __future__ import annotations

import io

from rich.console import Console

from gatelab.studies.tables import for_terminal


def cell(title: str, mean: float, parameters: int, failed: int = 0) -> dict:
    names = ("train_seconds", "seconds_to_level", "best_epoch", "peak_memory_mb", "latency_ms", "step_latency_ms",
             "gradient_norm_spread")  # fmt: skip
    return {
        "title": title,
        "test": {"MAE": {"mean": mean, "low": mean - 0.1, "high": mean + 0.1}},
        "cost": dict.fromkeys(names),
        "parameters": parameters,
        "reached_level": 0,
        "finished": 2,
        "failed": failed,
    }


def test_each_row_has_its_own_costs_whatever_its_name():
    results = {
        "metrics": [{"name": "MAE", "goal": "min", "unit": ""}],
        "cells": {"gru": cell("GRU", 2.0, 111, 1), "gru_reset_before": cell("GRU (reset before)", 1.0, 222)},
        "baselines": {"naive (24)": {"test": {"MAE": 1.5}, "seconds": 7.0}, "failed": {"test": {"MAE": None},
                                                                                     "seconds": None}},
        "seeds": [1, 2],
        "level": None,
    }  # fmt: skip
    console = Console(file=io.StringIO(), width=160)
    console.print(for_terminal(results))
    rows = [line.split() for line in console.file.getvalue().splitlines() if line.strip()][2:]
    assert [" ".join(row) for row in rows] == [
        "GRU (reset before) 1 ± 0.1 – 222 –",
        "naive (24) 1.5 7.0 s – –",
        "GRU (1 failed) 2 ± 0.1 – 111 –",
        "failed – – – –",
    ]
