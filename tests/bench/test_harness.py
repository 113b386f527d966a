"""A case becomes a row: no time for different work, rates and ratios from turns, targets only where they were set."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch

import gatelab.nn as gnn
from gatelab.bench import harness, machine
from gatelab.bench.figures import Bound, Figure, Goal, geometric_mean
from gatelab.bench.harness import Bench, Case, Race, Ratio, Settings, Shape, Suite, run
from gatelab.bench.timing import Contender
from gatelab.bench.work import forward, sequences, training
from gatelab.core.errors import GatelabError, InputError

TOY = Settings(seconds=0.0, cells=("gru",))
SHAPE = Shape(2, 4, 3, 5)


@pytest.fixture(autouse=True)
def slow_products(monkeypatch):
    monkeypatch.setattr(machine, "PRODUCTS", ((8, 8, 8),))


@pytest.fixture
def no_time(monkeypatch):
    def refuse(*_):
        raise AssertionError("a time was taken of unequal work")

    monkeypatch.setattr(harness, "alternate", refuse)


def suite(build, **options):
    race = Race(build, (Ratio("B / A", over="B", under="A", bound=Bound(1e-9)),), **options)
    goals = (Goal("mean", "B / A", geometric_mean, Bound(1e9), ("gru",)),)
    return Suite("toy", "a toy", lambda settings: [Case("one", "gru", race), Case("two", "lstm", race)], goals)


def twins(bench, work, wrong=lambda layer: None):
    ours = gnn.GRU(SHAPE.I, SHAPE.H, dtype=bench.dtype)
    theirs = torch.nn.GRU(SHAPE.I, SHAPE.H, dtype=bench.dtype)
    theirs.load_state_dict(ours.state_dict())
    wrong(theirs)
    x = sequences(SHAPE, bench)  # (T, B, I)
    doutput = torch.randn(SHAPE.T, SHAPE.B, SHAPE.H).to(bench.dtype)  # (T, B, H)
    works = [training(layer, x, doutput) if work == "train" else forward(layer, x) for layer in (ours, theirs)]
    return [Contender(name, call) for name, call in zip("AB", works, strict=True)]


def another_gate(layer):
    with torch.no_grad():
        layer.weight_hh_l0[0] += 1e-3


def test_a_row_has_times_rates_and_ratios(monkeypatch):
    seconds = 1e-3 * np.array([[1.0, 3.0, 0.5], [5.0, 10.0, 4.0], [2.0, 9.0, 1.0]])  # (R, K + 1), of A, B, the limit
    monkeypatch.setattr(harness, "alternate", lambda contenders, spent, limit: seconds)
    (row,) = run([suite(lambda bench: twins(bench, "train"), flops=1e6)], TOY).rows
    found = {(figure.name, figure.unit): figure for figure in row.figures}
    ours, theirs = found["A", "ms"], found["B", "ms"]
    assert (ours.low, ours.value, ours.high) == pytest.approx((1.5, 2.0, 3.5))
    assert theirs.value == pytest.approx(9.0)
    assert found["B / A", ""].value == pytest.approx(3.0)  # of 3, 2 and 4.5
    assert found["A", "GFLOP/s"].value == pytest.approx(1e-3 / 2e-3)
    assert found["limit", "GFLOP/s"].value == pytest.approx(1e-3 / 1e-3)
    assert found["A", "% of limit"].value == pytest.approx(50.0)  # of 50, 80 and 50
    assert found["B", "% of limit"].value == pytest.approx(100 / 6)


@pytest.mark.parametrize(("work", "wrong"), [("forward", another_gate), ("train", another_gate)])
def test_a_wrong_layer_gets_no_time(no_time, work, wrong):
    report = run([suite(lambda bench: twins(bench, work, wrong))], TOY)
    (row,) = report.rows
    assert row.figures == ()
    assert "A and B do not compute the same output" in row.problem
    assert report.problems == [f"toy one: {row.problem}"]
    assert [figure for _, figure in report.goals] == []


def test_a_wrong_gradient_gets_no_time(no_time):
    def build(bench):
        contenders = twins(bench, "train")
        right = contenders[1].call
        wrong = Contender("B", lambda: (found := dict(right())) | {"∂bias_hh_l0": 1.01 * found["∂bias_hh_l0"]})
        return [contenders[0], wrong]

    (row,) = run([suite(build)], TOY).rows
    assert "do not compute the same ∂bias_hh_l0" in row.problem


def test_targets_are_for_the_conditions_they_were_set_for():
    one_cell = {"seconds": 0.0, "cells": ("gru",)}
    for changed in ({}, {"threads": 2}, {"dtype": "bfloat16"}, {"shapes": (SHAPE,)}):
        settings = Settings(**one_cell, **changed)
        report = run([suite(lambda bench: twins(bench, "forward"))], settings)
        (row,) = report.rows
        assert row.figure("B / A").met is (None if changed else True)
        assert [figure.met for _, figure in report.goals] == ([] if changed else [False])


def test_the_neighbour_is_there_while_times_are_taken_and_not_after(monkeypatch):
    events = []

    @contextmanager
    def neighbour():
        events.append("comes")
        yield
        events.append("goes")

    monkeypatch.setattr(harness, "alternate", lambda *_: events.append("turns") or torch.ones(3, 2).numpy())
    run([suite(lambda bench: twins(bench, "forward"), around=neighbour)], TOY)
    assert events == ["comes", "turns", "goes"]


def test_a_run_changes_no_stream_and_no_threads():
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    run([suite(lambda bench: twins(bench, "forward"))], Settings(seconds=0.0, cells=("gru",), threads=2))
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def test_what_cannot_be_measured_is_a_problem_of_its_row_alone():
    def measure(bench):
        raise GatelabError("the process failed", got="no memory")

    cases = [Case("bad", "gru", measure), Case("good", "gru", lambda bench: [Figure("x", 1.0)])]
    bad, good = run([Suite("toy", "a toy", lambda settings: cases)], TOY).rows
    assert "no memory" in bad.problem
    assert good.figure("x").value == 1.0


def test_ctrl_c_keeps_what_was_measured():
    def interrupt(bench):
        raise KeyboardInterrupt

    cases = [Case("first", "gru", lambda bench: [Figure("x", 1.0)]), Case("second", "gru", interrupt)]
    goals = (Goal("mean", "x", geometric_mean, Bound(1.0)),)
    report = run([Suite("toy", "a toy", lambda settings: cases, goals)], TOY)
    assert [row.case for row in report.rows] == ["first"]
    assert report.stopped
    assert report.goals == ()
    assert report.notes[-1] == "stopped after 1 of 2 cases"


def test_the_listener_hears_of_every_case():
    heard = []
    run([suite(lambda bench: twins(bench, "forward"))], Settings(seconds=0.0), lambda *event: heard.append(event))
    assert heard == [("toy", "one", 0, 2), ("toy", "two", 1, 2)]


@pytest.mark.parametrize(
    "changed", [{"seconds": -1}, {"threads": 0}, {"dtype": "float16"}, {"device": "tpu"}, {"cells": ("gru", "elman")}]
)
def test_settings_refuse_what_cannot_be(changed):
    with pytest.raises(InputError):
        Settings(**changed)


def test_a_suite_for_the_cpu_is_refused_on_a_gpu():
    with pytest.raises(InputError, match="toy does not run on cuda"):
        run([suite(lambda bench: [])], Settings(device="cuda"))


@pytest.mark.parametrize("text", ["32x100x64x128", "32·100·64·128"])
def test_shapes_are_read(text):
    assert Shape.read(text) == (32, 100, 64, 128)
    assert str(Shape.read(text)) == "32·100·64·128"


@pytest.mark.parametrize("text", ["", "32x100x64", "32x0x1x1", "axbxcxd", "1x2x3x-4", "1x2x3x4x5"])
def test_what_is_no_shape_is_refused(text):
    with pytest.raises(InputError, match="is not a shape"):
        Shape.read(text)


def test_training_gives_the_gradients_that_backward_gives():
    torch.manual_seed(0)
    layer, bench = gnn.LSTM(SHAPE.I, SHAPE.H), Bench(TOY, torch.device("cpu"), torch.float32)
    x, doutput = sequences(SHAPE, bench), torch.randn(SHAPE.T, SHAPE.B, SHAPE.H)
    found = training(layer, x, doutput)()
    x.requires_grad_()
    output, (h, c) = layer(x)
    ((output * doutput).sum() + h.sum() + c.sum()).backward()
    torch.testing.assert_close(found["∂x"], x.grad)
    for name, parameter in layer.named_parameters():
        torch.testing.assert_close(found[f"∂{name}"], parameter.grad)


def test_the_machine_is_described_and_its_rate_is_plausible():
    found = machine.describe(torch.device("cpu"))
    assert found["cpu"]
    assert found["cores"] >= 1
    assert set(machine.LIBRARIES) < set(found["versions"])


def test_the_product_that_is_the_limit_is_one_and_its_rate_is_plausible():
    device = torch.device("cpu")
    product = machine.fastest_product(device, torch.float32, 0.001)
    assert product.operations in {2.0 * M * N * K for M, N, K in machine.PRODUCTS}
    assert 0 < product.operations / product.seconds(device) / 1e9 < 1e5
    (out,) = product.call().values()
    assert out.std() > 1


def test_a_busy_neighbour_computes_and_goes():
    import psutil

    others = set(psutil.Process().children())  # joblib's tracker of resources, once a test has used it
    with machine.busy_neighbour():
        (child,) = set(psutil.Process().children()) - others
        before = child.cpu_times().user
        end = before
        while end - before < 0.05:  # the test's own time limit ends it if the neighbour sleeps
            end = child.cpu_times().user
    assert not child.is_running()
