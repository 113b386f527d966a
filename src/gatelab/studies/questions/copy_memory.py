"""Copy memory: what do RNN, LSTM and GRU need to say ten symbols again after a thousand steps?

Hochreiter & Schmidhuber 1997; Arjovsky et al. 2016 (arXiv:1511.06464); as in Bai, Kolter & Koltun 2018
(arXiv:1803.01271), whose recurrent networks all remember nothing at T = 1000.
"""

from __future__ import annotations

from typing import ClassVar

from gatelab.studies.questions.remedies import PROTOCOL, Grid, Remedies
from gatelab.studies.questions.remedies_findings import TREATMENTS
from gatelab.tasks.problems.config import ProblemConfig
from gatelab.tasks.problems.drawn import CopyMemory as Problem

_USUAL, *_, _BOTH = TREATMENTS


class CopyMemory(Remedies):
    """Ten of eight symbols, to be said again after T steps."""

    name = "copy-memory"
    question = "What do RNN, LSTM and GRU need to say ten symbols again after a thousand steps?"
    protocol = (
        "Task: ten symbols out of eight, T − 1 blanks, and a delimiter in the last eleven steps; the answer is blank "
        "but for the last ten steps, which repeat the symbols. Remembering nothing has a cross-entropy of "
        "10 ln 8 / (T + 20) a step, and a training counts as a success below half of that. Inputs are one-hot; Bai et "
        "al. 2018 feed the symbols as numbers. There is no linear baseline: a linear function of all steps has nothing "
        "to remember, and copies without an error.",
        *(text.format(shortest=2, batch_size=32, rate=0.01) for text in PROTOCOL),
    )
    seconds: ClassVar = {"quick": 60.0, "standard": 1600.0, "full": 36000.0}
    source = "copy"
    metric = "cross-entropy"
    parameters = 16_000
    batch_size = 32
    shortest = 2
    simple = ("chance", "memoryless")
    learning_rates = (1e-2, 3e-3)
    grids: ClassVar = {
        "quick": [Grid(50, 400, (_USUAL, _BOTH))],
        "standard": [Grid(1000, 3000, (_BOTH,)), Grid(50, 1000, tuple(TREATMENTS))],
        "full": [Grid(200, 4000, tuple(TREATMENTS)), Grid(1000, 6000, tuple(TREATMENTS))],
    }
    published: ClassVar = {1000: {"rnn": 0.0202, "lstm": 0.0204, "gru": 0.0197}}
    bar_in_words = "half of what remembering nothing has"

    @classmethod
    def bar(cls, length: int) -> float:
        """Half of what remembering nothing costs."""
        return Problem("copy", ProblemConfig(length=length)).memoryless / 2
