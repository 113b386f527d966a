"""How well does each cell tell what is played next? The table of polyphonic music, at two budgets of parameters.

Boulanger-Lewandowski, Bengio & Vincent 2012 (arXiv:1206.6392) set the task. Chung et al. 2014 (arXiv:1412.3555)
compared tanh, GRU and LSTM units at about 20,000 parameters, Bai, Kolter & Koltun 2018 (arXiv:1803.01271) at about
300,000.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import pandas as pd

from gatelab.report.page import Figure, Table
from gatelab.report.text import number
from gatelab.studies.experiment import Condition, Experiment, Findings
from gatelab.studies.questions import music_page
from gatelab.studies.questions.music_findings import summarise
from gatelab.studies.training_trial import train_on_task
from gatelab.studies.verdict import called

_SMALL, _LARGE = 20_000, 300_000
_TUNED: Mapping[int, Mapping[str, Sequence[float]]] = {
    _SMALL: {"learning_rate": (1e-2, 3e-3), "recurrent_dropout": (0.1, 0.25)},
    _LARGE: {"learning_rate": (3e-3, 1e-3), "recurrent_dropout": (0.3, 0.5)},
}
_DROPOUT = {_SMALL: 0.0, _LARGE: 0.5}


class Music(Experiment):
    """RNN, LSTM and GRU on chorales and folk tunes."""

    name = "music"
    question = "How well do RNN, LSTM and GRU tell which keys sound next in chorales and folk tunes?"
    protocol = (
        "Data: the JSB chorales on a grid of quarters (229, 76 and 77 pieces) and the Nottingham folk tunes (694, 173 "
        "and 170), in the parts of Boulanger-Lewandowski et al. 2012.",
        "A network reads a piece step by step, 88 keys on or off, from an empty state, and gives each key of the next "
        "step a probability. NLL: the negative log-likelihood of what is played, the 88 keys' summed, in nats; the "
        "mean over all steps of all pieces but the first step of each, as in the published code of Bai et al. 2018. "
        "Chung et al. 2014 do not say how they score the first step.",
        "One layer and a linear head that begins at the log-odds of each key in the training part; torch's own start; "
        "Adam, whole pieces in batches of 16, gradients clipped to the norm 1, the learning rate falling as a cosine. "
        "Recurrent dropout is one mask for all steps of a piece (Gal & Ghahramani 2016); the larger networks have "
        "dropout of a half before the head too. For each cell a learning rate and a recurrent dropout are chosen, "
        "among four pairs, by the validation NLL of seed 0; it is trained with other seeds, and the weights of the "
        "epoch with the best validation NLL are scored. No transposition or other change of the data.",
        "Published figures are of one run each, as far as their papers say, with recipes of their own.",
    )
    seconds: ClassVar = {"quick": 60.0, "standard": 6000.0, "full": 40000.0}
    measured_by = staticmethod(train_on_task)

    def conditions(self) -> Iterable[Condition]:
        """Data by budget by cell."""
        for source, parameters in self._groups():
            tuned = self.pick({"learning_rate": (1e-2,), "recurrent_dropout": (0.1,)}, *[_TUNED[parameters]] * 2)
            for cell in self.cells:
                yield {
                    "task": "music",
                    "source": source,
                    "cell": cell,
                    "parameters": parameters,
                    "dropout": _DROPOUT[parameters],
                    "optimizer": "adam",
                    "batch_size": 16,
                    "epochs": self._epochs(source),
                    "schedule": "cosine",
                    "clip_norm": 1.0,
                    "patience": None,
                    "tune": tuned,
                }

    def baselines(self) -> Iterable[Condition]:
        """Chance, note frequencies, whether a note goes on, logistic regression; for each set of data."""
        for source in dict.fromkeys(source for source, _ in self._groups()):
            for name in ("chance", "note frequencies", "note goes on", "logistic regression"):
                yield {"task": "music", "source": source, "baseline": name}

    def _groups(self) -> Sequence[tuple[str, int]]:
        chorales, tunes = "jsb_chorales", "nottingham_pianoroll"
        everything = [(source, parameters) for source in (chorales, tunes) for parameters in (_SMALL, _LARGE)]
        return self.pick([(chorales, _SMALL)], everything, everything)

    def _epochs(self, source: str) -> int:
        return self.pick(8, 100, 100) if source == "jsb_chorales" else 40

    def label_of(self, condition: Condition) -> str:
        """The cell or the baseline, its size and its data."""
        who = called(condition["cell"]) if "cell" in condition else condition["baseline"]
        size = f" of {number(condition['parameters'])}" if "parameters" in condition else ""
        return f"{who}{size}, {music_page.TITLES[condition['source']]}"

    def findings(self, table: pd.DataFrame) -> dict[str, Any]:
        """NLL of each cell in each group of data and budget, what was chosen for it, and of each baseline."""
        return summarise(table)

    def verdict(self, findings: Findings) -> Sequence[str]:
        """Who tells best, by group; how that stands to the baselines and to what was published."""
        return music_page.verdict(findings)

    def figures(self, findings: Findings) -> dict[str, Figure]:
        """NLL of cells, baselines and published figures; how the networks learned."""
        return music_page.figures(findings)

    def tables(self, findings: Findings) -> dict[str, Table]:
        """A table for each set of data."""
        return music_page.tables(findings)
