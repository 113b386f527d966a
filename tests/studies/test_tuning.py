"""Every cell gets the same tries, on validation alone; a search is a function of the records so far."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatelab.core.config import ModelConfig, TrainingConfig
from gatelab.core.task import Metric
from gatelab.studies import tuning
from gatelab.studies.curves import WARM_EPOCHS, best_so_far, gives_up
from gatelab.studies.trials import Record

LOSS = Metric("loss")


def record(best: float | None, curve=(), **measures) -> Record:
    history = [{"epoch": at, "validation_loss": value} for at, value in enumerate(curve, start=1)]
    status = "failed" if best is None else "ok"
    return Record("x", "tune", "gru", 0, {}, status, measures={"best": best, "history": history, **measures})


def search(count: int) -> tuning.Search:
    def sized(layers, dropout):
        return ModelConfig(num_layers=layers, dropout=dropout)

    return tuning.Search("gru", count, sized, TrainingConfig(), LOSS)


def valley(setting: tuning.Setting) -> Record:
    """A loss that is least at a learning rate of 0.002."""
    loss = 1 + abs(np.log10(setting.training.learning_rate / 2e-3))
    return record(loss, [3 * loss, 2 * loss, loss])


def test_a_search_asks_in_rounds_and_goes_on_where_it_stopped():
    known = {}
    asked = []
    while True:
        settings, complete = search(10).settings(known.get)
        if complete:
            break
        new = [setting for setting in settings if setting not in known]
        asked.append(len(new))
        known |= {setting: valley(setting) for setting in new}
    assert asked == [4, 4, 2]
    assert len(settings) == 10
    assert settings[0].training == TrainingConfig()
    again, complete = search(10).settings(known.get)
    assert complete
    assert again == settings


def finished(count: int, outcome) -> list[tuning.Setting]:
    known = {}
    while True:
        settings, complete = search(count).settings(known.get)
        if complete:
            return settings
        known |= {setting: outcome(setting) for setting in settings}


def test_a_search_learns_from_what_it_is_told():
    valley_found = finished(16, valley)
    hill_found = finished(16, lambda setting: record(1 / valley(setting).measures["best"]))
    assert valley_found[:4] == hill_found[:4]
    assert valley_found[-4:] != hill_found[-4:]


def test_failed_and_given_up_tries_do_not_stop_a_search():
    known = {}
    complete = False
    while not complete:
        settings, complete = search(12).settings(known.get)
        for at, setting in enumerate(settings):
            if setting not in known:
                known[setting] = [valley(setting), record(None), record(5.0, [5.0], given_up=True)][at % 3]
    best = tuning.chosen([(setting, known[setting]) for setting in settings], LOSS)
    assert known[best if best in known else next(s for s in known if s.training == best.training)].ok


def test_the_choice_is_the_best_on_validation_whichever_way_is_better():
    settings = tuning.learning_rate_settings(ModelConfig(), TrainingConfig(), (1e-2, 1e-3, 1e-4))
    pairs = list(zip(settings, [record(0.5), record(0.2), record(None)], strict=True))
    assert tuning.chosen(pairs, LOSS) == settings[1]
    assert tuning.chosen(pairs, Metric("accuracy", "max")) == settings[0]
    assert tuning.chosen(pairs[2:], LOSS) is None


curves = st.lists(st.lists(st.floats(0.1, 10), min_size=1, max_size=8), min_size=4, max_size=8)


@given(curves, st.lists(st.floats(0.1, 10), min_size=1, max_size=8), st.sampled_from(["min", "max"]))
def test_giving_up_is_what_optunas_median_pruner_does(finished, curve, goal):
    criterion = Metric("loss", goal)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=tuning.ROUND, n_warmup_steps=WARM_EPOCHS)
    study = optuna.create_study(direction={"min": "minimize", "max": "maximize"}[goal], pruner=pruner)
    for values in finished:
        study.add_trial(optuna.trial.create_trial(value=values[-1], intermediate_values=dict(enumerate(values, 1))))
    trial = study.ask()
    medians = tuning.median_curve(finished)
    best = best_so_far(curve, criterion)
    for epoch, value in enumerate(curve, start=1):
        trial.report(value, epoch)
        if epoch > WARM_EPOCHS:
            assert gives_up(best[epoch - 1], epoch, medians, criterion) == trial.should_prune()


@pytest.fixture(autouse=True)
def _quiet():
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(optuna.logging.INFO)
