"""The study of stability: what counts as diverged and as learned, what is compared, and words that follow."""

from __future__ import annotations

import json
import math
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from statsmodels.duration.survfunc import survdiff

from gatelab.studies.questions import stability_trial
from gatelab.studies.questions.stability import Stability
from gatelab.studies.questions.stability_findings import _log_ranks, counted, judged, summarise, unfolded
from gatelab.studies.questions.stability_page import figures, label, tables, verdict
from gatelab.studies.trials import Measured, Trial

CHANCE = 2.0
STEPS = [0, 25, 50, 75, 100]
USUAL = {"source": "digits", "cell": "lstm", "init": "torch", "optimizer": "adam", "learning_rate": 0.01,
         "clip_norm": 1.0, "batch_size": 32, "max_steps": 100, "max_seconds": None}  # fmt: skip
SHIFTS = (-0.02, 0.01, 0.03, -0.01, 0.0, 0.02)


def run(end: float = 0.1, *, first: int = 75, broke: bool = False, test: float | None = None) -> dict:
    """A run that ends at ``end`` times chance, and is there from step ``first`` on; or one that broke off at 50."""
    shares = [1.0 if step < first else end for step in STEPS]
    kept = 2 if broke else 5
    curve = {"steps": STEPS[:kept], "seconds": [step / 100 for step in STEPS[:kept]],
             "loss": [CHANCE * share for share in shares[:kept]], "norm": [1.0] * kept}  # fmt: skip
    test = end if test is None else test
    return {"stopped": "not finite" if broke else "steps", "curve": curve, "test": {"loss": CHANCE * test}}


def trials(*runs: dict, **changes) -> list[dict]:
    """A trial of two runs for each seed, as ``Experiment.table`` has them."""
    condition = USUAL | changes
    return [{"seed": seed, "chance": CHANCE, "runs": list(pair), **condition}
            for seed, pair in enumerate(zip(runs[::2], runs[1::2], strict=True), start=1)]  # fmt: skip


def spread(end: float, turn: int = 0, **changes) -> list[dict]:
    """Six runs that end near ``end``."""
    return trials(*(run(end * (1 + shift)) for shift in np.roll(SHIFTS, turn)), **changes)


def found(rows: list[dict]) -> dict:
    return json.loads(json.dumps(summarise(pd.DataFrame(rows)), allow_nan=False))


# ---- what became of a run ----------------------------------------------------------------------------------------


def test_a_run_is_judged_by_its_last_looks():
    wild = run(0.1)
    wild["curve"]["loss"] = [CHANCE * share for share in (1.0, 0.25, 0.3, 9.0, 0.5)]  # median of the last three: 0.5
    table = judged(unfolded(pd.DataFrame(trials(run(0.1), wild, run(2.01), run(1.99), run(broke=True), run(0.3)))))
    assert table["share"].tolist() == pytest.approx([0.1, 0.5, 2.01, 1.99, math.inf, 0.3])
    assert table["diverged"].tolist() == [0, 0, 1, 0, 1, 0]
    assert table["fallen"].tolist() == pytest.approx([-1, math.log10(0.5), 0, 0, 0, math.log10(0.3)])
    np.testing.assert_array_equal(table["reached"], [75, 25, np.nan, np.nan, np.nan, np.nan])


def test_runs_are_numbered_alike_in_every_condition():
    one = [row | {"runs": row["runs"][:1], "source": "adding"} for row in trials(*map(run, (0.1, 0.2, 0.3, 0.4)))]
    table = unfolded(pd.DataFrame([*trials(*map(run, (0.5, 0.6, 0.7, 0.8))), *one]))
    assert table[table["source"] == "digits"]["seed"].tolist() == [0, 1, 2, 3]
    assert table[table["source"] == "adding"]["seed"].tolist() == [0, 2], "the first run of each seed"


def test_shares_have_wilsons_interval():
    rate = counted(3, 10)
    z = 1.959964
    centre, half = (0.3 + z**2 / 20) / (1 + z**2 / 10), z / (1 + z**2 / 10) * math.sqrt(0.021 + z**2 / 400)
    assert (rate["low"], rate["mean"], rate["high"]) == pytest.approx((centre - half, 0.3, centre + half), abs=1e-6)
    assert counted(0, 6)["high"] > 0.3, "none in six is not never"


# ---- maps --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def findings():
    """Plain SGD diverges at higher rates unless it is clipped; Adam does not."""
    broken, good = [run(broke=True)] * 6, [run(0.1)] * 6
    rows = [
        *trials(*good, optimizer="sgd", learning_rate=0.1, clip_norm=None),
        *trials(*broken, optimizer="sgd", learning_rate=1.0, clip_norm=None),
        *trials(*broken, optimizer="sgd", learning_rate=3.0, clip_norm=None),
        *trials(*good, optimizer="sgd", learning_rate=0.1),
        *trials(*good[:5], broken[0], optimizer="sgd", learning_rate=1.0),
        *trials(*good, optimizer="sgd", learning_rate=3.0),
        *spread(0.1, clip_norm=None), *spread(0.1),
        *spread(0.9, clip_norm=None, learning_rate=0.1), *spread(0.9, learning_rate=0.1),
        *spread(0.09, 1, init="small_normal"), *spread(0.3, 2, init="orthogonal"), *spread(0.1, 3, batch_size=128),
    ]  # fmt: skip
    timed = {"max_steps": None, "max_seconds": 1.0}
    rows += [*spread(0.1, clip_norm=None, **timed), *spread(0.1, 1, **timed),
             *spread(0.5, 2, optimizer="sgd", clip_norm=None, **timed), *spread(0.3, 3, optimizer="sgd", **timed),
             *spread(0.01, 4, optimizer="lbfgs", clip_norm=None, learning_rate=1.0, **timed)]  # fmt: skip
    return found(rows)


def test_a_map_has_medians_and_shares_by_rate_and_limit(findings):
    sgd = next(each for each in findings["maps"] if each["optimizer"] == "sgd")
    assert sgd["rates"] == [0.1, 1.0, 3.0]
    assert [row["clip"] for row in sgd["rows"]] == ["none", "1"]
    assert sgd["loss"] == [[pytest.approx(-1), None, None], pytest.approx([-1, -1, -1])], "grey where runs broke"
    assert sgd["diverged"] == [[0, 1, 1], pytest.approx([0, 1 / 6, 0])]


def test_what_clipping_does_is_tested_on_pairs_of_runs(findings):
    gaps = {gap["optimizer"]: gap for gap in findings["clipping"]}
    assert gaps["sgd"]["units"]["mean"] == pytest.approx(11 / 18)
    assert gaps["sgd"]["units"]["low"] < 11 / 18 < gaps["sgd"]["units"]["high"] < 1
    assert gaps["sgd"]["p"] == pytest.approx(2 * 0.5**11), "eleven pairs of which one diverged, all on one side"
    assert gaps["sgd"]["p_holm"] == pytest.approx(2 * gaps["sgd"]["p"])
    assert (gaps["adam"]["p"], gaps["adam"]["found"]) == (1.0, False)
    headline, *_ = said = verdict(findings)
    assert headline == "Over a wide range of learning rates plain SGD diverges on digits in 67 % (LSTM) of its runs, " \
                       "with the gradient clipped at norm 1 in 5.6 % (LSTM)."  # fmt: skip
    (clipping,) = [sentence for sentence in said if sentence.startswith("Clipping at norm 1")]
    assert "lowers the rate of divergence of the LSTM on digits with SGD by 61 points" in clipping
    assert "no difference found in 1 of 2 comparisons" in clipping


def test_two_of_two_are_no_proof():
    """Both runs say the same, and still a coin would say so one time in two."""
    rows = [*trials(*[run(broke=True)] * 2, clip_norm=None, optimizer="sgd"), *trials(*[run()] * 2, optimizer="sgd"),
            *trials(*[run()] * 2, cell="gru", clip_norm=None, optimizer="sgd")]  # fmt: skip
    told = found(rows)
    for gap in (*told["clipping"], *told["cells"]):
        assert gap["units"]["mean"] == 1
        assert gap["p"] == 0.5


# ---- steps to learn ----------------------------------------------------------------------------------------------


def test_no_run_is_judged_at_the_rate_that_it_chose_itself():
    """The first run alone makes 0.1 look good, so that all may take it but this one."""
    rows = [*trials(run(0.001, first=25), *[run(0.2, first=50)] * 3, learning_rate=0.1),
            *trials(*[run(0.15, first=75)] * 4, learning_rate=0.01)]  # fmt: skip
    (speed,) = found(rows)["speed"]
    assert speed["cells"]["lstm"]["times"] == [75, 50, 50, 50]
    assert speed["cells"]["lstm"]["rates"] == [0.01, 0.1]


def test_runs_that_never_learned_count_as_not_there():
    (speed,) = found(trials(run(0.1, first=25), run(0.1, first=50), run(0.9), run(broke=True)))["speed"]
    lstm = speed["cells"]["lstm"]
    assert lstm["mean"] == [0, 0.25, 0.5, 0.5, 0.5]
    assert lstm["median"] == 50
    assert lstm["times"] == [25, 50, None, None]


def test_cells_are_compared_by_the_log_rank_test():
    times = {"rnn": [10, 30, np.nan, np.nan, 40, np.nan], "gru": [10, 20, 20, 30, np.nan, 25], "lstm": [np.nan] * 6}
    gaps = {(gap["a"], gap["b"]): gap for gap in _log_ranks({cell: pd.Series(own) for cell, own in times.items()})}
    both = np.array(times["rnn"] + times["gru"])
    _, p = survdiff(np.nan_to_num(both, nan=50), np.isfinite(both).astype(int), np.repeat([0, 1], 6))
    assert gaps["rnn", "gru"]["p"] == pytest.approx(p, rel=1e-6)
    assert gaps["gru", "lstm"]["p"] < gaps["rnn", "lstm"]["p"]
    assert {gap["p"] for gap in _log_ranks({"rnn": pd.Series([np.nan] * 3), "gru": pd.Series([np.nan] * 3)})} == {1.0}


# ---- starts, batch sizes, optimizers -----------------------------------------------------------------------------


def test_starts_and_batches_stand_beside_the_usual_one(findings):
    (starts,), (batches,) = findings["starts"], findings["batches"]
    assert {gap["a"]: gap["found"] for gap in starts["gaps"]} == {"small_normal": True, "orthogonal": True}
    assert [(value["batch_size"], value["learned"], value["runs"]) for value in batches["values"]] == \
        [(32, 6, 6), (128, 6, 6)]  # fmt: skip
    said = verdict(findings)
    assert "Start, after equal steps: better than torch's start: randn·0.01 (LSTM, digits); worse than torch's " \
           "start: orthogonal (LSTM, digits)." in said  # fmt: skip
    assert "Batches, after equal steps: no difference found in 1 of 1 comparisons." in said


def test_a_race_asks_who_beats_the_usual_optimizer_and_whether_clipping_helps(findings):
    (race,) = findings["optimizers"]
    assert [gap["a"] for gap in race["beside"]] == ["adam/none", "sgd/none", "sgd/1", "lbfgs/none"]
    assert [(gap["a"], gap["b"]) for gap in race["clipping"]] == [("adam/none", "adam/1"), ("sgd/none", "sgd/1")]
    told, clipping = verdict(findings)[-2:]
    assert told == (
        "On digits with the LSTM, in 1 s L-BFGS gets furthest, to 1 % of chance; beside Adam, clipped at 1 (10 %) "
        "further: L-BFGS; less far: SGD and SGD, clipped at 1; no difference found: Adam."
    )
    assert clipping == "Clipping where the learning rate was chosen with it: it helps SGD (LSTM, digits); no " \
                       "difference found in 1 of 2 comparisons."  # fmt: skip


def test_a_curve_over_time_is_the_least_loss_so_far():
    risen = run(0.5, first=25)
    risen["curve"]["loss"][3:] = [CHANCE * 3.0, CHANCE * 0.2]  # at 0.75 s and at 1 s
    (race,) = found(trials(*[risen] * 6, max_steps=None, max_seconds=1.0))["optimizers"]
    at = dict(zip(np.round(race["instants"], 2), race["entries"]["adam/1"]["curve"], strict=True))
    assert (at[0.0], at[0.8], at[1.0]) == pytest.approx((1.0, 0.5, 0.2))


def test_nothing_found_is_said():
    noisy = [0.1, 0.3, 0.05, 0.2, 0.15, 0.08]
    rows = [*trials(*map(run, noisy)), *trials(*map(run, noisy[::-1]), clip_norm=None),
            *trials(*map(run, noisy[2:] + noisy[:2]), init="orthogonal")]  # fmt: skip
    said = " ".join(verdict(found(rows)))
    assert "Clipping at norm 1: no difference found in 1 of 1 comparisons." in said
    assert "Start, after equal steps: no difference found in 1 of 1 comparisons." in said


def test_tables_and_pictures_hold_what_was_found(findings):
    shown = tables(findings)
    assert [row[3:6] for row in shown["Every map"].rows][:2] == [["not clipped", 18, "67 % [44, 84]"],
                                                                  ["clipped at 1", 18, "5.6 % [0.99, 26]"]]  # fmt: skip
    assert len(shown["Every optimizer"].rows) == 5
    drawn = figures(findings)
    assert {"Rates of divergence: digits", "Starts: digits", "Optimizers at the end: digits, LSTM"} < set(drawn)
    assert all(figure.alt and figure.svg.startswith("<svg ") for figure in drawn.values())


# ---- trials ------------------------------------------------------------------------------------------------------

TINY = {"task": "problem", "source": "adding", "length": 4, "examples": 16, "held_out": 16, "parameters": 60,
        "repeats": 2} | {name: USUAL[name] for name in USUAL if name != "source"}  # fmt: skip


def measured(tmp_path: Path, kind: str = "train", **changes) -> Measured:
    return stability_trial.measure(Trial(kind, "t", 1, TINY | changes), tmp_path, lambda **_: None)


def test_a_seed_stands_for_several_runs_and_gives_them_again(tmp_path: Path):
    first, again = (measured(tmp_path, max_steps=5).measures for _ in range(2))
    a, b = first["runs"]
    assert a["curve"]["steps"] == [0, 1, 2, 3, 4, 5]
    assert a["curve"]["loss"] != b["curve"]["loss"]
    assert first["test"]["loss"] == pytest.approx((a["test"]["loss"] + b["test"]["loss"]) / 2)
    assert [found["curve"]["loss"] for found in again["runs"]] == [a["curve"]["loss"], b["curve"]["loss"]]
    assert len(measured(tmp_path, "tune", max_steps=5).measures["runs"]) == 1


def test_a_run_that_explodes_is_a_result(tmp_path: Path):
    runs = measured(tmp_path, optimizer="sgd", learning_rate=1e30, clip_norm=None, max_steps=50).measures["runs"]
    assert {found["stopped"] for found in runs} == {"not finite"}
    assert all(math.isfinite(found["test"]["loss"]) for found in runs), "the weights that were best are the first ones"


def test_a_step_that_ends_after_the_last_second_does_not_count(tmp_path: Path, monkeypatch):
    clock = (0.1 * tick for tick in count())
    monkeypatch.setattr(stability_trial.time, "thread_time", lambda: next(clock))
    (found, _) = measured(tmp_path, max_steps=None, max_seconds=0.55).measures["runs"]
    assert found["stopped"] == "time"
    assert found["curve"]["steps"] == [0, 1, 2, 3, 4, 5]
    assert found["curve"]["seconds"] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])


# ---- conditions --------------------------------------------------------------------------------------------------


def test_the_usual_settings_are_on_every_map():
    for budget in ("quick", "standard", "full"):
        usual = [condition for condition in Stability(budget).conditions()
                 if label(condition).endswith("Adam, rate 0.01, clipped at 1")]  # fmt: skip
        assert len(usual) == 3 * (1 if budget == "quick" else 2)


def test_all_optimizers_of_a_race_have_equally_many_tries():
    races = [condition for condition in Stability("standard").conditions() if condition["max_seconds"]]
    assert {math.prod(map(len, condition["tune"].values())) for condition in races} == {4}
    assert len({condition["optimizer"] for condition in races}) == 8


def test_a_memory_is_told_how_far_to_reach():
    told = {(condition["source"], condition["init"]) for condition in Stability("standard").conditions()
            if "chrono" in condition["init"]}  # fmt: skip
    assert told == {("digits", "torch+chrono:8"), ("adding", "torch+chrono:30")}
