"""The study of claims: evidence from hand-made runs, tests, verdicts that are known beforehand, and what is said."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from gatelab.core.files import write_json
from gatelab.core.random import generator
from gatelab.report import render
from gatelab.studies.questions import claims_evidence as evidence
from gatelab.studies.questions import claims_trials
from gatelab.studies.questions.claims import Claims
from gatelab.studies.questions.claims_judge import _ordered, judged, pooled
from gatelab.studies.questions.claims_page import answer, figures, labels, tables, verdict
from gatelab.studies.questions.claims_runs import Run, beside, run_of, settled
from gatelab.studies.questions.claims_table import CLAIMS
from gatelab.studies.questions.gradients import Gradients
from gatelab.studies.trials import Record, Store, Trial
from gatelab.training.learner import parameter_count

SEEDS = (1, 2, 3, 4, 5)
BY_NAME = {claim.name: claim for claim in CLAIMS}


def runs(error: float, spread: float = 0.01, metric: str = "MSE", seeds=SEEDS, **setting: Any) -> list[Run]:
    """A training for each seed; their errors scatter by ``spread``, not alike in two settings."""
    made = []
    for seed in seeds:
        shift = 1 + spread * generator(seed, repr(sorted(setting.items()))).normal()
        history = [{"step": 10, "validation_loss": 1.0, "train_loss": 1.0},
                   {"step": 20, "validation_loss": error, "train_loss": error * shift}]  # fmt: skip
        measures = {"test": {metric: error * shift, "accuracy": 0.1 * seed}, "history": history, "score": error,
                    "parameters": 12 * setting.get("hidden_size", 1) ** 2}  # fmt: skip
        made.append(Run("claims", seed, {"source": "adding", "length": 50, **setting}, measures))
    return made


def cells(lstm: float, gru: float, **setting: Any) -> list[Run]:
    """Both gated cells at equal parameters."""
    setting = {"parameters": 5000, **setting}
    return [*runs(lstm, cell="lstm", **setting), *runs(gru, cell="gru", **setting)]


def found(name: str, tried: list[Run]) -> dict[str, Any]:
    return judged(BY_NAME[name], BY_NAME[name].evidence(tried))


# ---- errors of a mean over settings ------------------------------------------------------------------------------


def test_one_setting_is_the_t_test_over_its_seeds():
    values = generator(0, "values").normal(0.3, 1, 6)
    mean = pooled([dict(enumerate(values))])
    expected = stats.ttest_1samp(values, 0.1)
    assert mean.beside(0.1).p == pytest.approx(expected.pvalue)
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (mean.interval().low, mean.interval().high) == pytest.approx((low, high))


def test_two_settings_are_the_test_of_welch():
    rng = generator(0, "two")
    a, b = rng.normal(1, 0.2, 5), rng.normal(0.6, 2, 4)
    mean = pooled([dict(enumerate(a)), dict(enumerate(-b))])
    assert mean.mean == pytest.approx((a.mean() - b.mean()) / 2)
    assert mean.beside(0.0).p == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue)


def test_what_is_the_same_in_every_seed_is_sure_and_one_seed_tells_nothing():
    same = pooled([{1: 0.2, 2: 0.2}])
    assert same.beside(0.0).p == 0.0
    assert same.beside(0.2).p == 1.0
    assert same.interval().low == same.interval().high == pytest.approx(0.2)
    alone = pooled([{1: 0.2}])
    assert alone.beside(0.0).p is None
    assert alone.interval().low is None


# ---- known verdicts ----------------------------------------------------------------------------------------------


def costs(milliseconds: Mapping[str, float], megabytes: Mapping[str, float]) -> list[Run]:
    return [Run("claims", seed, {"hidden_size": 32}, {"library": library, "equal": {"units": {
        "milliseconds": {cell: value * (1 + 0.01 * seed) for cell, value in milliseconds.items()},
        "megabytes": dict(megabytes)}}}) for seed in SEEDS for library in ("gatelab", "torch")]  # fmt: skip


def profiles(**decays: float) -> list[Run]:
    """Gradients that fall by a factor a step, which scatters over seeds."""
    return [Run("claims", seed, {"source": "recall", "cell": cell, "init": "torch", "num_layers": 1},
                {"profiles": [{"step": 0, "h": list(np.arange(20) * np.log10(decay * (1 + 0.002 * seed)))}]})
            for cell, decay in decays.items() for seed in SEEDS]  # fmt: skip


def history(steps: int, **setting: Any) -> list[Run]:
    """Trainings that reach a validation loss of 0.1 after about so many steps."""
    return [run._replace(measures={"test": {"MSE": 0.1}, "history": [
        {"step": step, "validation_loss": 0.1 if step >= steps + seed else 1.0, "train_loss": 0.5}
        for step in range(0, 400, 5)]}) for seed, run in enumerate(runs(0.1, parameters=5000, **setting))]  # fmt: skip


SIZES = {2: 0.8, 8: 0.4, 32: 0.6}
KNOWN: list[tuple[str, Callable[[], list[Run]], str, str | None]] = [
    ("comparable", lambda: cells(0.10, 0.08) + cells(0.10, 0.09, length=80), "supported", None),
    ("comparable", lambda: cells(0.10, 0.101), "supported", None),
    ("comparable", lambda: cells(0.10, 0.13) + cells(0.10, 0.12, length=80), "refuted", None),
    ("comparable", lambda: cells(0.10, 0.13) + cells(0.10, 0.10, spread=0.5, length=80)
     + cells(0.10, 0.10, spread=0.5, length=90), "refuted in part", None),
    ("comparable", lambda: cells(0.10, 0.08) + cells(0.10, 0.2, source="traffic"), "depends", "source"),
    ("comparable", lambda: cells(0.10, 0.10, spread=0.5), "no difference found", None),
    ("comparable", lambda: cells(0.10, 0.08, seeds=(1,)), "not tested", None),
    ("comparable", lambda: cells(0.10, 0.08, source="recall"), "not tested", None),
    ("remembers-longer", lambda: cells(0.01, 0.1), "supported", None),
    ("remembers-longer", lambda: cells(0.1, 0.01), "refuted", None),
    ("remembers-longer", lambda: cells(0.9, 0.8), "no difference found", None),  # neither remembers anything
    ("trains-faster", lambda: costs({"lstm": 2.0, "gru": 1.5}, {"lstm": 1, "gru": 1}), "supported", None),
    ("trains-faster", lambda: costs({"lstm": 2.0, "gru": 3.0}, {"lstm": 1, "gru": 1}), "refuted", None),
    ("costs-more", lambda: costs({"lstm": 2.0, "gru": 3.0}, {"lstm": 3, "gru": 2}), "depends", "of"),
    ("converges-faster", lambda: history(300, cell="lstm") + history(100, cell="gru"), "supported", None),
    ("converges-faster", lambda: history(100, cell="lstm") + history(300, cell="gru"), "refuted", None),
    ("stable-gradients", lambda: profiles(rnn=0.5, lstm=0.9, gru=0.95), "supported", None),
    ("stable-gradients", lambda: profiles(rnn=0.99, lstm=0.5, gru=1.5), "refuted", None),
    ("clipping", lambda: runs(0.2, clip_norm=None) + runs(0.1, clip_norm=1.0), "supported", None),
    ("clipping", lambda: [run for optimizer, error in (("sgd", 0.2), ("adam", 0.1), ("muon", 0.1))
                          for run in runs(error, clip_norm=None, optimizer=optimizer)
                          + runs(0.1, clip_norm=1.0, optimizer=optimizer)], "depends", "optimizer"),
    ("clipping", lambda: [run for rate, free, limited in ((0.1, 0.1, 0.1), (0.3, 0.6, 0.1))
                          for error, clip in ((free, None), (limited, 1.0))
                          for run in runs(error, clip_norm=clip, optimizer="sgd", learning_rate=rate)],
     "depends", "rate"),  # the best rate needs none, the next above it does
    ("deeper", lambda: [run for depth, error in ((1, 0.5), (2, 0.3), (4, 0.4))
                        for run in runs(error, cell="gru", num_layers=depth)], "depends", "num_layers"),
    ("bigger", lambda: [run for size, error in SIZES.items() for cell in ("lstm", "gru")
                        for run in runs(error, cell=cell, hidden_size=size)], "depends", "hidden_size"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "tried", "expected", "depends_on"), KNOWN)
def test_verdicts_that_are_known(name, tried, expected, depends_on):
    said = found(name, tried())
    assert (said["verdict"], said["depends_on"]) == (expected, depends_on)


def test_a_gru_as_good_at_half_the_parameters_needs_half_of_them():
    """Errors fall as 1 / parameters; with 12 H² of them, √2 times the units have twice as many."""
    sizes = (4, 8, 16, 32)
    tried = [run for size in sizes for run in runs(1 / size**2, 0, cell="lstm", hidden_size=size)]
    tried += [run for size in sizes for run in runs(0.5 / size**2, 0, cell="gru", hidden_size=size)]
    said = found("fewer-parameters", tried)
    assert said["verdict"] == "supported"
    assert math.exp(said["over_all"]["mean"]) == pytest.approx(0.5)


def test_seeds_are_paired_and_settings_that_differ_are_not_compared():
    tried = runs(0.1, parameters=5000, cell="gru", seeds=(1, 2, 3)) + runs(0.2, parameters=5000, cell="lstm", length=90)
    assert evidence.errors(tried) == []
    tried += runs(0.2, parameters=5000, cell="lstm", seeds=(2, 3, 4))
    (only,) = evidence.errors(tried)
    assert list(only.effects) == [2, 3]


def test_steps_to_a_level_are_counted_between_the_looks():
    looks = [{"step": step, "validation_loss": loss} for step, loss in ((10, 1.0), (20, 0.5), (30, 0.1))]
    run = Run("claims", 1, {}, {"history": looks})
    assert [evidence._steps(run, level) for level in (2.0, 1.0, 0.75, 0.5, 0.3, 0.01)] == [10, 10, 15, 20, 25, 30]


def test_rows_are_ordered_by_factor_and_size():
    sizes = ("128 → 512", "2 → 8", "8 → 32")
    keys = [json.dumps({"of": of, "hidden_size": size}) for size in sizes for of in ("time", "memory")]
    ordered = [tuple(json.loads(key).values()) for key in _ordered(keys)]
    assert ordered == [(of, size) for of in ("time", "memory") for size in ("2 → 8", "8 → 32", "128 → 512")]


def test_an_error_is_a_loss_and_never_an_accuracy():
    assert evidence.error(runs(0.3, 0, metric="cross-entropy")[0]) == 0.3
    assert evidence.error(Run("claims", 1, {}, {"test": {"accuracy": 0.9}})) is None


def test_skill_of_copy_memory_is_measured_from_blanks_and_any_symbol():
    memoryless = 10 * math.log(8) / 120
    (each,) = evidence.memory(cells(0.0, memoryless / 2, source="copy", length=100, spread=0))
    assert list(each.effects.values()) == pytest.approx([0.5] * 5)


# ---- runs of this study and of those beside it -------------------------------------------------------------------


def record(trial: Trial, measures: Mapping[str, Any]) -> Record:
    return Record(trial.id, trial.kind, trial.label, trial.seed, trial.configuration, "ok", measures=measures)


def test_cells_that_chose_other_rates_were_tested_alike():
    study = Claims("standard", seeds=[1])
    condition = next(c for c in study.conditions() if "tune" in c)
    plain = {name: value for name, value in condition.items() if name != "tune"}
    tested = {"test": {"cross-entropy": 1.0}}
    made = [record(Trial("train", "", 1, {**plain, "cell": cell, "learning_rate": rate}), tested)
            for cell, rate in (("lstm", 1e-2), ("gru", 3e-3))]  # fmt: skip
    lstm, gru = (run_of(each) for each in settled(study, {each.id: each for each in made}).values())
    assert (lstm.setting["cell"], gru.setting["cell"]) == ("lstm", "gru")
    assert {**lstm.setting, "cell": ""} == {**gru.setting, "cell": ""}
    assert len(evidence.errors([lstm, gru])) == 1


@pytest.fixture
def gradients(tmp_path: Path) -> Path:
    """A finished study of gradients, in which the gated cells keep more."""
    study, store = Gradients("quick", seeds=[1, 2, 3]), Store(tmp_path / "study-gradients")
    for trial in study.trials({}):
        decay = {"rnn": 0.5, "lstm": 0.8, "gru": 0.9}[trial.configuration["cell"]] + 0.01 * trial.seed
        profile = {"h": (np.arange(10) * np.log10(decay)).tolist()}
        store.write(record(trial, {"profiles": [{"step": 0, **profile}, {"step": 9, **profile}]}))
    about = {"study": study.name, "version": study.version, "budget": "quick", "seeds": [1, 2, 3],
             "cells": list(study.cells)}  # fmt: skip
    write_json(tmp_path / "study-gradients" / "results.json", about)
    return tmp_path


def test_trials_of_a_study_beside_count_and_are_named(gradients):
    study, store = Claims("quick", seeds=[1, 2]), Store(gradients / "study-claims")
    results = study.results({}, store)
    by_name = {each["name"]: each for each in results["findings"]["claims"]}
    stable = by_name["stable-gradients"]
    assert stable["verdict"] == "supported"
    assert {name for row in stable["rows"] for name in row["studies"]} == {"gradients"}
    assert by_name["deeper"]["verdict"] == "not tested"
    assert results["findings"]["studies"] == {"gradients": len(Gradients("quick", seeds=[1, 2, 3]).trials({}))}
    assert results["trials"] == 0
    page = render(study.page(results, {}, store))
    assert "the study gradients count too" in page


def test_trials_of_another_version_do_not_count(gradients, monkeypatch):
    store = Store(gradients / "study-claims")
    assert beside(store, ["gradients", "depth"])
    monkeypatch.setattr(Gradients, "version", Gradients.version + 1)
    assert not beside(store, ["gradients", "depth"])


# ---- words, pictures, the page -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def findings() -> dict[str, Any]:
    tried = {
        "comparable": cells(0.10, 0.08) + cells(0.10, 0.2, source="traffic_pems", lookback=12, length=None),
        "bigger": [run for size, error in SIZES.items() for run in runs(error, cell="gru", hidden_size=size)],
        "remembers-longer": cells(0.01, 0.1) + cells(0.02, 0.1, length=80),
    }
    return {"claims": [found(claim.name, tried.get(claim.name, [])) for claim in CLAIMS]}


def test_the_headline_counts_and_each_statement_says_where(findings):
    headline, *said = verdict(findings)
    assert headline == "Of 10 statements of the courses, 1 is supported, 2 depend on the setting and 7 were not tested."
    comparable = next(text for text in said if "comparable" in text)
    assert comparable.startswith("“The GRU is comparable or better.” Depends on the data. GRU's error / LSTM's: 1.")
    assert "Found: in 1 of 2 rows (adding, T = 50). The opposite: in 1 of 2 rows (traffic, 12 steps)." in comparable
    assert "Found: in 1 of 2 rows (2 → 8 units). The opposite: in 1 of 2 rows (8 → 32 units)." in said[-1]


def test_rows_that_gather_settings_say_how_many(findings):
    (row,) = next(each for each in findings["claims"] if each["name"] == "remembers-longer")["rows"]
    assert labels([row]) == ["adding (2)"]
    assert len(row["points"]) == 2


def test_a_deeper_network_that_is_worse_is_asked_whether_it_overfits():
    worse = runs(0.2, cell="gru", num_layers=1) + runs(0.4, cell="gru", num_layers=2)
    said = found("deeper", worse)
    assert said["verdict"] == "refuted"
    assert "harder to train" in answer(BY_NAME["deeper"], said)


def test_one_picture_a_tested_statement_and_one_table(findings):
    drawn = figures(findings)
    assert set(drawn) == {BY_NAME[name].statement for name in ("comparable", "bigger", "remembers-longer")}
    (table,) = tables(findings).values()
    assert [row[0] for row in table.rows] == [claim.statement for claim in CLAIMS]
    said = {row[0]: row[1] for row in table.rows}
    assert said["Bigger hidden states help."] == "depends on the number of units"


# ---- trials ------------------------------------------------------------------------------------------------------


def test_a_training_that_diverges_counts_as_chance(tmp_path):
    settings = {"task": "problem", "source": "adding", "length": 4, "examples": 64, "held_out": 32, "epochs": 1}
    condition = {"data": "", "settings": settings, "cell": "rnn", "hidden_size": 4, "optimizer": "sgd",
                 "clip_norm": None, "learning_rate": 1e30, "measured": "training", "library": "gatelab"}  # fmt: skip
    measures = claims_trials.measure(Trial("train", "", 1, condition), tmp_path, lambda **_: None).measures
    assert "diverged" in measures
    assert measures["test"]["MSE"] == pytest.approx(1 / 6, abs=0.1)


def test_layers_are_made_equal_in_units_and_in_parameters():
    kinds = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
    units = claims_trials._as_many_units(kinds, 24)
    assert {layer.hidden_size for layer in units.layers.values()} == {24}
    counts = [parameter_count(layer) for layer in claims_trials._as_many_parameters(kinds, 24).layers.values()]
    assert max(counts) / min(counts) < 1.05


def test_what_a_pass_keeps_grows_with_the_sequence_and_is_no_weight():
    layer = nn.GRU(3, 5)
    short, long = (claims_trials.kept_bytes(layer, torch.zeros(steps, 2, 3)) for steps in (10, 20))
    assert short > 0
    assert long == pytest.approx(2 * short, rel=0.2)
