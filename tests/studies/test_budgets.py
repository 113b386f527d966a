"""Equal numbers of parameters, counted on the models themselves; budgets and seeds as people write them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import toys
from gatelab.core.config import ModelConfig, TrainingConfig
from gatelab.core.errors import InputError
from gatelab.studies.budgets import (
    BUDGETS,
    TOLERANCE,
    Budget,
    Sizes,
    _first,
    check_cells,
    of_cell,
    parse_budget,
    seed_list,
)


@pytest.fixture(scope="module")
def sizes() -> Sizes:
    return Sizes(toys.AddingTask.restore(toys.AddingConfig(), {"mean": 0.0}))


def count(model: ModelConfig) -> int:
    """By the equations, with torch's two biases, two inputs and a head of one output."""
    gates, H = {"rnn": 1, "lstm": 4, "gru": 3}[model.cell], model.hidden_size
    layers = [gates * (H * (I + H) + 2 * H) for I in [2] + [H] * (model.num_layers - 1)]  # noqa: E741
    return sum(layers) + H + 1


@settings(max_examples=20, deadline=None)
@given(cell=st.sampled_from(["rnn", "lstm", "gru"]), target=st.integers(30, 20_000), layers=st.integers(1, 3))
def test_the_nearest_hidden_size_is_found(sizes, cell, target, layers):
    found = sizes.solve(cell, ModelConfig(num_layers=layers), target)
    assert sizes.parameters(found) == count(found)
    for neighbour in (found.hidden_size - 1, found.hidden_size + 1):
        if neighbour >= 1:
            other = count(of_cell(cell, found, hidden_size=neighbour))
            assert abs(count(found) - target) <= abs(other - target)


@pytest.mark.parametrize("hidden_size", [budget.hidden_size for budget in BUDGETS.values()])
@pytest.mark.parametrize("layers", [1, 2])
def test_named_budgets_are_met_within_two_percent(sizes, hidden_size, layers):
    base = ModelConfig(num_layers=layers)
    target = sizes.target(base, hidden_size)
    models = {cell: sizes.solve(cell, base, target) for cell in ("rnn", "lstm", "gru")}
    counts = [count(model) for model in models.values()]
    assert max(counts) / min(counts) - 1 <= TOLERANCE
    assert abs(models["gru"].hidden_size - hidden_size) <= hidden_size / 4
    assert "equal within" in sizes.said(models)


def test_extras_do_not_move_the_budget_and_cells_with_them_meet_it(sizes):
    plain, extra = ModelConfig(), ModelConfig(layer_norm=True, learn_initial_state=True)
    target = sizes.target(plain, 32)
    assert sizes.target(extra, 32) == target
    assert sizes.target(ModelConfig(peephole=True), 32) == target  # though the budget's reference cell has none
    found = sizes.solve("lstm", extra, target)
    assert found.layer_norm
    assert sizes.parameters(found) == pytest.approx(target, rel=0.05)


def test_what_whole_units_cannot_meet_is_said(sizes):
    models = {cell: sizes.solve(cell, ModelConfig(), 60) for cell in ("rnn", "lstm")}
    assert "as near as whole units allow" in sizes.said(models)


def test_counting_leaves_the_random_stream_alone():
    sizes = Sizes(toys.AddingTask.restore(toys.AddingConfig(), {"mean": 0.0}))
    before = torch.get_rng_state()
    sizes.parameters(ModelConfig())
    assert torch.equal(before, torch.get_rng_state())


@given(st.integers(1, 10_000))
def test_bisection(least):
    assert _first(lambda number: number >= least) == least


def test_budgets_as_written():
    defaults = TrainingConfig(epochs=50)
    assert parse_budget("standard").training(defaults) == defaults
    assert parse_budget("quick").training(defaults).epochs == 10
    assert parse_budget("full").training(defaults).epochs == 100
    assert parse_budget("20 epochs").training(defaults).epochs == 20
    timed = parse_budget("1.5min").training(defaults)
    assert timed.max_seconds == 90
    assert timed.schedule == "plateau"


@pytest.mark.parametrize("text", ["", "fast", "0s", "-3 epochs", "1.5 epochs", "90 bananas", "s90"])
def test_other_budgets_are_refused(text):
    with pytest.raises(InputError, match="--budget"):
        parse_budget(text)


def test_seeds_start_after_the_one_for_tuning():
    assert seed_list(None, Budget("standard")) == (1, 2, 3, 4, 5)
    assert seed_list(2, Budget("standard")) == (1, 2)
    assert seed_list([7, 9], Budget("standard")) == (7, 9)
    assert seed_list([7, np.int64(9), 7], Budget("standard")) == (7, 9)
    assert seed_list(np.int64(2), Budget("standard")) == (1, 2)
    with pytest.raises(InputError, match="at least one seed"):
        seed_list(0, Budget("standard"))
    with pytest.raises(InputError, match="at least one seed"):
        seed_list(-1, Budget("standard"))
    with pytest.raises(InputError, match="kept for tuning"):
        seed_list([0, 1], Budget("standard"))
    for odd in (2.5, "5", [1, "2"]):
        with pytest.raises(InputError, match="whole numbers"):
            seed_list(odd, Budget("standard"))


def test_cells_by_name():
    assert check_cells([" GRU", "lstm"]) == ("gru", "lstm")
    with pytest.raises(InputError, match="with itself"):
        check_cells([" GRU", "lstm", "gru"])
    with pytest.raises(InputError, match="did you mean gru"):
        check_cells(["gur"])
    with pytest.raises(InputError, match="no cell to compare"):
        check_cells([])
