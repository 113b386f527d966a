"""The adding problem: what do RNN, LSTM and GRU need to add two numbers that lie hundreds of steps apart?

Hochreiter & Schmidhuber 1997; as in Bai, Kolter & Koltun 2018 (arXiv:1803.01271), whose LSTM fails at T = 600.
"""

from __future__ import annotations

from typing import ClassVar

from gatelab.studies.questions.remedies import PROTOCOL, Grid, Remedies
from gatelab.studies.questions.remedies_findings import TREATMENTS

_USUAL, _, _MIXED, _BOTH = TREATMENTS


class Adding(Remedies):
    """T numbers from U(0, 1), two of them marked, whose sum is asked for at the end."""

    name = "adding"
    question = "What do RNN, LSTM and GRU need to add two numbers that are hundreds of steps apart?"
    protocol = (
        "Task: T numbers from U(0, 1), two of them marked at random; their sum is asked for after the last. Answering "
        "1 always has a mean squared error of 1/6. A training counts as a success below 0.001.",
        *(text.format(shortest=10, batch_size=32, rate=0.01) for text in PROTOCOL),
    )
    seconds: ClassVar = {"quick": 60.0, "standard": 2000.0, "full": 36000.0}
    source = "adding"
    metric = "MSE"
    parameters = 70_000
    batch_size = 32
    shortest = 10
    simple = ("chance", "memoryless", "linear")
    learning_rates = (1e-2, 3e-3, 1e-3)
    grids: ClassVar = {
        "quick": [Grid(50, 400, (_USUAL, _BOTH))],
        "standard": [Grid(600, 5000, (_MIXED,), gated=True), Grid(100, 800, (_USUAL, _MIXED))],
        "full": [Grid(200, 2000, tuple(TREATMENTS)), Grid(600, 4000, tuple(TREATMENTS))],
    }
    published: ClassVar = {600: {"rnn": 0.177, "lstm": 0.164, "gru": 5.3e-5}}
    bar_in_words = "0.001"

    @classmethod
    def bar(cls, length: int) -> float:
        """The same at every length."""
        return 1e-3
