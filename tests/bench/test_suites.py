"""Every suite runs at toy size, compares what it says it compares, and counts as it says it counts."""

import subprocess
import sys

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

from gatelab.bench import SUITES, machine
from gatelab.bench.harness import Bench, Settings, Shape, run
from gatelab.bench.suites import dense, first_use, packed, stream, variants
from gatelab.bench.suites import long as long_sequences
from gatelab.bench.work import flops

SHAPE = Shape(3, 12, 2, 4)
TOY = Settings(seconds=0.0, shapes=(SHAPE,))
BENCH = Bench(TOY, torch.device("cpu"), torch.float32)
IN_PROCESS = ("train", "forward", "limit", "packed", "variants")


@pytest.fixture(autouse=True)
def small_products(monkeypatch):
    monkeypatch.setattr(machine, "PRODUCTS", ((16, 16, 16),))


def of_one_cell(name, cell="gru", **changed):
    settings = Settings(**{"seconds": 0.0, "cells": (cell,), "shapes": (SHAPE,)} | changed)
    return run([SUITES[name]], settings)


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_has_cases_for_its_targets(name):
    suite = SUITES[name]
    assert suite.name == name
    cells = {case.cell for case in suite.cases(Settings())}
    assert cells <= {"rnn", "gru", "lstm"}
    assert all(cells & set(goal.cells) for goal in suite.goals)


@pytest.mark.parametrize("name", IN_PROCESS)
def test_suites_run_and_their_contenders_agree(name):
    report = run([SUITES[name]], TOY)
    assert report.problems == []
    assert {row.cell for row in report.rows} >= {"gru", "lstm"}
    assert all(figure.value > 0 for row in report.rows for figure in row.figures)


def test_two_threads_idle_and_with_a_neighbour():
    report = of_one_cell("threads")
    assert report.problems == []
    assert [row.case.rpartition(", ")[2] for row in report.rows] == ["idle", "one core busy"]
    assert report.rows[0].figure("gatelab: 2 threads / 1").value > 0


def test_single_steps_beside_onnxruntime():
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    report = run([SUITES["stream"]], Settings(seconds=0.0, shapes=(Shape(1, 7, 3, 4),)))
    assert report.problems == []
    assert len(report.rows) == 3
    assert all(row.figure("onnxruntime / gatelab").value > 0 for row in report.rows)


def test_the_bare_node_of_onnx_carries_its_state():
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    contenders = {found.name: found for found in stream.contenders("lstm", Shape(1, 7, 3, 4), BENCH)}
    assert set(contenders) == {"gatelab", "onnxruntime", "torch.nn"}
    results = contenders["onnxruntime"].results()["output"]
    torch.testing.assert_close(results, contenders["torch.nn"].results()["output"])
    assert not torch.allclose(results[0], results[6])


@pytest.mark.slow
def test_memory_and_time_of_long_sequences():
    report = run([SUITES["long"]], Settings(seconds=0.0, cells=("gru",), shapes=(Shape(1, 2000, 1, 32),)))
    assert report.problems == []
    time, memory = report.rows
    assert time.figure("a step: long / short").value > 0
    assert memory.figure("full").value > 4 * memory.figure("truncated").value


def test_a_process_that_fails_says_why(monkeypatch):
    monkeypatch.setattr(sys, "executable", "python-that-is-not-there")
    with pytest.raises(FileNotFoundError):
        long_sequences.added_memory("gru", SHAPE, 3)
    ended = subprocess.CompletedProcess([], 1, "", "Traceback …\nMemoryError: too long")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: ended)
    with pytest.raises(long_sequences.GatelabError, match="too long"):
        long_sequences.added_memory("gru", SHAPE, 3)


@pytest.mark.slow
@pytest.mark.parametrize("extra", ["", "layer_norm"])
def test_the_first_use_of_a_cell(extra, tmp_path):
    first = first_use.first_use("rnn", extra, Shape(2, 30, 2, 4), tmp_path)
    assert 0 < first < 60
    assert {path.stem.split(".")[1].split("-")[0] for path in tmp_path.rglob("rnn.*.nbi")} == {"forward", "backward"}


def test_flops_count_the_products_of_all_gates():
    assert flops("gru", Shape(2, 5, 3, 4)) == 2 * (2 * 5) * (3 + 4) * 3 * 4
    assert flops("lstm", Shape(2, 5, 3, 4), rows=7) == 2 * 7 * (3 + 4) * 4 * 4
    assert flops("rnn", Shape(2, 5, 3, 4)) == 2 * (2 * 5) * (3 + 4) * 4


def test_shapes_are_those_of_the_question():
    assert [str(shape) for shape in dense.SHAPES] == [
        "32·100·64·128", "20·35·650·650", "64·50·32·256", "1·500·128·256", "128·20·10·50", "16·1000·1·64",
    ]  # fmt: skip
    assert all(shape.H >= 128 and shape.B >= 32 for shape in dense.WIDE_SHAPES)
    assert [(shape.B, shape.T, shape.I, shape.H) for shape in packed.SHAPES] == [
        (8, 100, 32, 32), (32, 100, 128, 128), (32, 500, 64, 64),
    ]  # fmt: skip


@pytest.mark.parametrize("shape", [*packed.SHAPES, Shape(5, 3, 1, 1)])
def test_lengths_are_spread_from_a_tenth_to_the_whole(shape):
    lengths = packed.lengths_of(shape)
    assert lengths.max() == shape.T
    assert lengths.min() >= max(1, shape.T // 10)
    assert torch.equal(lengths, packed.lengths_of(shape))


def test_the_padded_run_is_compared_in_every_gradient():
    first, _, padded = packed.contenders("lstm", SHAPE, BENCH)
    found = padded.results()
    assert found.keys() == first.results().keys() - {"h", "c"}
    count = int(packed.lengths_of(SHAPE).sum())
    assert found["∂x"].shape == (count, SHAPE.I)
    x = torch.randn(SHAPE.T, SHAPE.B, SHAPE.I)
    assert len(pack_padded_sequence(x, packed.lengths_of(SHAPE), enforce_sorted=False).data) == count


@pytest.mark.parametrize("extra", variants.EXTRAS)
def test_extras_do_something(extra):
    fused, plain, eager = variants.contenders("lstm", SHAPE, extra, BENCH)
    assert not plain.alike
    plain_again = variants.contenders("lstm", SHAPE, extra, BENCH)[1]
    assert fused.results().keys() >= plain_again.results().keys()
    torch.testing.assert_close(fused.results()["output"], eager.results()["output"])
