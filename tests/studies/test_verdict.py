"""The verdict says what the numbers allow, and no more."""

from __future__ import annotations

import numpy as np
import pytest

from gatelab.core.task import Metric
from gatelab.studies.items import Carried
from gatelab.studies.verdict import headline, over_items_of_one, verdict

MAE = Metric("MAE", unit="°C")
ACCURACY = Metric("accuracy", goal="max")
NOISE = np.array([0.0, 0.01, -0.01, 0.02, -0.02])


def around(mean: float, noise: float = 1.0, seed: int = 0) -> dict[int, float]:
    rng = np.random.default_rng(seed)
    return dict(enumerate(mean + noise * rng.permutation(NOISE), start=1))


def test_a_clear_winner():
    text = verdict(MAE, {"rnn": around(2.0), "lstm": around(1.6, seed=1), "gru": around(1.5, seed=2)}, {}, [])
    assert text.startswith("GRU is best: MAE 1.5 °C [1.48, 1.52]; it beats LSTM by 6.3 % [")
    assert "and RNN by 25 % [" in text
    assert "small" not in text


def test_no_difference_found():
    text = verdict(MAE, {"lstm": around(1.5, seed=1), "gru": around(1.501, seed=2)}, {}, [])
    assert text.startswith("No difference found between LSTM and GRU: LSTM has the best mean, MAE 1.5 °C")
    assert "is best" not in text


def test_a_tie_at_the_top_and_one_that_is_worse():
    text = verdict(MAE, {"rnn": around(2.0), "lstm": around(1.5, seed=1), "gru": around(1.501, seed=2)}, {}, [])
    assert text.startswith("No difference found between LSTM and GRU:")
    assert "LSTM beats RNN by 25 % [" in text


def test_a_sure_but_small_difference_is_called_small():
    text = verdict(MAE, {"lstm": around(1.505, 0.01, seed=1), "gru": around(1.5, 0.01)}, {}, [])
    assert text.startswith("GRU is best")
    assert "sure but small: below 1 %" in text


def test_the_baseline_wins_and_that_comes_first():
    text = verdict(MAE, {"gru": around(1.5)}, {"linear autoregression": 1.4, "naive": 3.0}, [])
    assert text.startswith(
        "The baseline linear autoregression (MAE 1.4 °C) wins: better than the best cell, GRU, by 7."
    )
    assert text.endswith("GRU reaches MAE 1.5 °C [1.48, 1.52].")


def test_the_best_baseline_is_beaten():
    text = verdict(MAE, {"lstm": around(1.5, seed=1), "rnn": around(2.5)}, {"naive": 3.0, "linear": 2.0}, [])
    assert "LSTM beats the best baseline, linear (MAE 2 °C), by 25 %" in text
    assert text.split(". ")[-1].endswith("; RNN not.") or "; RNN not." in text


def test_no_difference_from_the_baseline_is_bad_news_too():
    text = verdict(MAE, {"gru": around(1.5)}, {"naive": 1.5003}, [])
    assert text.startswith("No difference found between GRU and the best baseline, naive (MAE 1.5 °C)")


def test_more_is_better_where_the_metric_says_so():
    cells = {"lstm": around(0.8, seed=1), "gru": around(0.9)}
    assert verdict(ACCURACY, cells, {"chance": 0.5}, []).startswith("GRU is best: accuracy 0.9")
    assert verdict(ACCURACY, cells, {"majority": 0.99}, []).startswith("The baseline majority (accuracy 0.99) wins")


def test_one_seed_claims_nothing():
    text = verdict(MAE, {"lstm": {1: 1.5}, "gru": {1: 1.4}}, {"naive": 2.0}, [])
    assert text.startswith("GRU has the best MAE 1.4 °C (LSTM 1.5).")
    assert "With one seed no interval can be given" in text
    assert "[" not in text


def test_what_failed_is_said():
    text = verdict(MAE, {"rnn": {}, "gru": around(1.4)}, {}, ["rnn, seed 1", "rnn, seed 2"])
    assert "2 trials did not finish and are left out: rnn, seed 1; rnn, seed 2." in text
    assert verdict(MAE, {"gru": {}}, {}, ["gru, seed 1"]).startswith("No cell finished a single trial")


def test_five_noisy_seeds_of_equal_cells_seldom_name_a_winner():
    """The rate of false alarms among three equal cells stays near the level that is promised."""
    rng = np.random.default_rng(7)
    named = 0
    for _ in range(200):
        cells = {name: dict(enumerate(rng.normal(1.0, 0.05, 5))) for name in ("rnn", "lstm", "gru")}
        named += "is best" in verdict(MAE, cells, {}, []) or " beats " in verdict(MAE, cells, {}, [])
    assert named <= 200 * 0.05 + 3 * np.sqrt(200 * 0.05 * 0.95)


def test_the_headline_is_one_plain_sentence():
    rnn, lstm, gru = around(2.0), around(1.5, seed=1), around(1.501, seed=2)
    assert headline(MAE, {"rnn": rnn, "gru": gru}, {}) == "GRU is best."
    assert headline(MAE, {"lstm": lstm, "gru": gru}, {}) == "No difference found between LSTM and GRU."
    assert headline(MAE, {"rnn": rnn, "lstm": lstm, "gru": gru}, {"naive": 3.0}) == (
        "No difference found between LSTM and GRU; they beat the best baseline, naive, by 50 %."
    )
    assert headline(MAE, {"lstm": lstm, "gru": gru}, {"naive": 1.5003}) == (
        "No difference found between LSTM and GRU, nor from the best baseline, naive."
    )
    assert headline(MAE, {"rnn": rnn, "gru": gru}, {"naive": 1.5003}) == (
        "GRU is best, but not found to beat the best baseline, naive."
    )
    assert headline(MAE, {"rnn": rnn, "gru": gru}, {"linear": 1.2}) == (
        "The baseline linear wins: it beats the best cell, GRU, by 25 %."
    )
    assert headline(MAE, {"lstm": {1: 1.5}, "gru": {1: 1.4}}, {"naive": 2.0}) == (
        "GRU did best; it beats the best baseline, naive, by 30 %."
    )
    assert headline(MAE, {"gru": {}}, {}).startswith("No cell finished")


def test_a_lead_over_a_baseline_is_held_against_the_items_too():
    cells, baselines = {"gru": around(1.5)}, {"naive": 2.0}
    sure = verdict(MAE, cells, baselines, [], Carried(-25.0, -30.0, -20.0, 900))
    assert "That should carry over to other data of this kind: over the 900 items" in sure
    unsure = verdict(MAE, cells, baselines, [], Carried(-25.0, -60.0, 10.0, 900))
    assert "not sure: over the 900 items of the test part" in unsure
    assert "GRU's error lies −25 % [−60, 10] from that of naive (interval over items; the others over seeds)." in unsure
    contrary = verdict(MAE, cells, baselines, [], Carried(25.0, 20.0, 30.0, 900))
    assert "not sure" in contrary
    assert headline(MAE, cells, baselines, Carried(-25.0, -60.0, 10.0, 900)) == (
        "GRU was trained; it beats the best baseline, naive, by 25 % on this test part, but not surely on other data."
    )
    assert "surely" not in headline(MAE, cells, baselines, Carried(-25.0, -30.0, -20.0, 900))


@pytest.mark.parametrize(
    ("carried", "said"),
    [
        (Carried(-12.3, -15.0, -9.5, 900), "12 % smaller than that of the best baseline, naive (MAE 2 °C)"),
        (Carried(3.1, 1.0, 5.2, 900), "3.1 % larger than that of the best baseline, naive (MAE 2 °C)"),
        (Carried(-0.2, -6.0, 5.5, 100), "No difference found between GRU and the best baseline, naive (MAE 2 °C): "
         "its error lies −0.2 % [−6, 5.5], a 95 % interval over 100 items"),
        (None, "too few items were scored to say"),
    ],
)  # fmt: skip
def test_of_one_training_only_what_its_items_allow_is_said(carried, said):
    text = over_items_of_one(Metric("MAE", unit="°C"), "GRU", "naive", 2.0, carried)
    assert said in text
    assert ("one training" in text) == (carried is not None and carried.sure)
