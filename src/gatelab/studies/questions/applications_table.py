"""What recurrent networks are put to: one entry an application, and a new task joins by one more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

ASKED = ("forecasting", "text", "speech", "anomalies")
"""The fields that the question is about; as long as one has no application, the verdict says so."""


class Application(NamedTuple):
    """One use of sequences. Cells are compared by the first metric of its task, in that metric's direction."""

    title: str
    field: str
    """What it belongs to: one of ``ASKED``, or another."""
    text: str
    """What is read and what is asked for, as a part of a sentence."""
    settings: Mapping[str, Any]
    """``task`` and ``source``, how the task is opened, and what of training is not alike everywhere."""
    parameters: int
    """About how many numbers every cell's network learns."""
    epochs: Mapping[str, int]
    """By budget; a budget that is not named leaves the application out."""
    simple: Sequence[str]
    """The task's baselines without recurrence that it stands beside."""


_SERIES = {"task": "forecasting", "calendar": False, "highway": False, "batch_size": 64}
_HISTORY = ("last value", "linear autoregression")
_DIGITS = {"task": "problem", "source": "digits", "batch_size": 32}
_ADDING = {"task": "problem", "source": "adding", "batch_size": 64}

APPLICATIONS = (
    Application(
        "sea temperature",
        "forecasting",
        "El Niño's sea surface, two years of months in, one month ahead",
        {**_SERIES, "source": "elnino_monthly", "lookback": 24, "horizon": 1, "batch_size": 32},
        1_000,
        {"quick": 8, "full": 60},
        _HISTORY,
    ),
    Application(
        "traffic",
        "forecasting",
        "flow at one PeMS detector, an hour in, five minutes ahead, scored on the file that comes with it",
        {**_SERIES, "source": "traffic_pems", "frequency": "rows", "split": [0.9, 0.1], "normalise": "none",
         "lookback": 12, "horizon": 1},
        3_200,
        {"standard": 8, "full": 30},
        _HISTORY,
    ),
    Application(
        "air",
        "forecasting",
        "PM2.5 over Beijing with the weather beside it, a day of hours in, six hours ahead",
        {**_SERIES, "source": "beijing_pm25", "lookback": 24, "horizon": 6},
        5_000,
        {"standard": 2, "full": 20},
        _HISTORY,
    ),
    Application(
        "night temperature",
        "forecasting",
        "the least temperature of Melbourne's days, four weeks in, a week ahead",
        {**_SERIES, "source": "melbourne_min_temp", "lookback": 28, "horizon": 7, "batch_size": 32},
        3_200,
        {"standard": 8, "full": 40},
        _HISTORY,
    ),
    Application(
        "S&P 500",
        "forecasting",
        "closing prices, four weeks in, a week ahead",
        {**_SERIES, "source": "sp500_daily", "lookback": 20, "horizon": 5, "normalise": "last"},
        3_200,
        {"standard": 8, "full": 40},
        _HISTORY,
    ),
    Application(
        "names",
        "text",
        "given names letter by letter, which letter comes next or whether the name ends",
        {"task": "language", "source": "names_makemore", "batch_size": 64},
        10_000,
        {"standard": 4, "full": 20},
        ("frequencies", "5-gram"),
    ),
    Application(
        "film sentences",
        "text",
        "sentences of film reviews word by word, whether the critic liked the film",
        {"task": "text-classification", "source": "rt_polarity", "embedding": 32, "min_count": 2, "batch_size": 64},
        360_000,
        {"standard": 4, "full": 10},
        ("TF-IDF + logistic regression",),
    ),
    Application(
        "spoken vowels",
        "speech",
        "two Japanese vowels in 12 cepstrum coefficients a frame, which of 9 men spoke, scored on the file that comes "
        "with it",
        {"task": "sequence-classification", "source": "tsc_aeon/JapaneseVowels_TRAIN.ts", "batch_size": 16},
        5_000,
        {"standard": 40, "full": 100},
        ("logistic regression", "1-NN DTW",),
    ),
    Application(
        "chorales",
        "music",
        "the JSB chorales, which of 88 keys sound next",
        {"task": "music", "source": "jsb_chorales", "batch_size": 16},
        20_000,
        {"standard": 30, "full": 100},
        ("note goes on", "logistic regression"),
    ),
    Application(
        "digits by row",
        "pictures",
        "scikit-learn's digits in 8 rows of 8 pixels, which digit it was",
        {**_DIGITS, "by": "row"},
        3_000,
        {"quick": 6, "standard": 30, "full": 60},
        ("linear",),
    ),
    Application(
        "digits by pixel",
        "pictures",
        "the same digits pixel by pixel, 64 steps",
        {**_DIGITS, "by": "pixel"},
        3_000,
        {"standard": 30, "full": 100},
        ("linear",),
    ),
    Application(
        "adding, 30 steps",
        "memory",
        "the sum of two marked numbers among 30",
        {**_ADDING, "length": 30, "shortest": 5, "examples": 3_200},
        2_000,
        {"quick": 5},
        ("linear",),
    ),
    Application(
        "adding, 100 steps",
        "memory",
        "the sum of two marked numbers among 100, trained on lengths from 10 on",
        {**_ADDING, "length": 100, "shortest": 10, "examples": 6_400},
        5_000,
        {"standard": 10, "full": 40},
        ("linear",),
    ),
)  # fmt: skip


def chosen(budget: str) -> list[Application]:
    """The applications of a budget."""
    return [each for each in APPLICATIONS if budget in each.epochs]


def missing(fields: Iterable[str]) -> list[str]:
    """The fields asked about that are not among these."""
    known = set(fields)
    return [field for field in ASKED if field not in known]
