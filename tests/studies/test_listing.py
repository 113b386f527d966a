"""How long a study takes here, and what it last found."""

from __future__ import annotations

from dataclasses import replace

import pytest

import toy_question
from gatelab.core.files import write_json
from gatelab.studies import QUESTIONS, listing
from gatelab.studies.answer import folder_of
from gatelab.studies.trials import Record, Store
from toy_question import Slopes


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(QUESTIONS, "_entries", {})
    monkeypatch.setattr(listing, "_probe", lambda: 3 * listing.REFERENCE_SECONDS)
    toy_question.register()


def remember(count: int, seconds: float, status: str = "ok") -> None:
    for trial in Slopes("quick").trials({})[:count]:
        found = Record(trial.id, trial.kind, trial.label, trial.seed, trial.configuration, status, seconds=seconds)
        Store(folder_of("slopes")).write(found)


def test_a_time_is_derived_from_the_reference_machine_by_this_ones_speed():
    (entry,) = listing.overview(jobs=2)
    assert {budget: (time.seconds, time.basis) for budget, time in entry.times.items()} == {
        "quick": (pytest.approx(2.0 * 3 / 2), "derived"),
        "standard": (pytest.approx(4.0 * 3 / 2), "derived"),
        "full": (pytest.approx(8.0 * 3 / 2), "derived"),
    }
    assert entry.found is None


def test_a_time_is_measured_where_half_of_the_trials_are_on_record():
    total = Slopes("quick").count()
    remember(10, seconds=5.0)
    assert total == 1 + 3 * (3 + 3)
    assert listing.estimated(Slopes, "quick", folder_of("slopes"), jobs=1) == listing.Time(5.0 * total, "measured")
    assert listing.estimated(Slopes, "standard", folder_of("slopes"), jobs=1).basis == "derived"


def test_trials_that_failed_say_nothing_of_the_time():
    remember(10, seconds=0.1, status="failed")
    assert listing.estimated(Slopes, "quick", folder_of("slopes"), jobs=1).basis == "derived"


def test_what_was_last_found_is_told_with_how_and_when():
    asked = Slopes("quick", seeds=[4, 5], cells=["gru"])
    results = asked.results({}, Store(folder_of("slopes"))) | {"headline": "gru wins.", "ended": "2026-01-02T03:04:05"}
    write_json(folder_of("slopes") / "results.json", results)
    (entry,) = listing.overview()
    expected = {"headline": "gru wins.", "budget": "quick", "seeds": [4, 5], "ended": "2026-01-02T03:04:05"}
    assert entry.found == expected
    assert replace(entry, found=None).question == Slopes.question


def test_the_probe_is_a_time(monkeypatch):
    monkeypatch.undo()
    assert 0 < listing._probe() < 60
