"""How well does each cell tell what is played next? The table of polyphonic music, at two budgets of parameters.

Boulanger-Lewandowski, Bengio & Vincent 2012 (arXiv:1206.6392) set the task. Chung et al. 2014 (arXiv:1412.3555)
compared tanh, GRU and LSTM units at about 20,000 parameters, Bai, Kolter & Koltun 2018 (arXiv:1803.01271) at about
300,000.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, NamedTuple

import pandas as pd

from gatelab.report.page import Figure, Table
from gatelab.studies.experiment import Condition, Experiment, Findings
from gatelab.studies.questions import music_page
from gatelab.studies.questions.music_findings import summarise
from gatelab.studies.training_trial import train_on_task
from gatelab.studies.wording import called

_CHORALES, _TUNES = "jsb_chorales", "nottingham_pianoroll"
_SMALL, _LARGE = 20_000, 300_000
_BATCH = {_CHORALES: 16, _TUNES: 4}  # pieces; tunes are four times as long, and would give few steps an epoch


class Group(NamedTuple):
    """Conditions that differ in the cell alone, and what each cell has chosen for it."""

    source: str
    parameters: int
    epochs: int
    dropout: float
    learning_rate: Sequence[float]
    recurrent_dropout: Sequence[float]

    @property
    def chosen(self) -> dict[str, Any]:
        """What is to be tuned, or said where there is nothing to choose."""
        options = {name: list(getattr(self, name)) for name in ("learning_rate", "recurrent_dropout")}
        if any(len(values) > 1 for values in options.values()):
            return {"tune": options}
        return {name: value for name, (value,) in options.items()}


_PLAIN = Group(_CHORALES, _SMALL, 100, 0.0, (1e-2, 3e-3), (0.0,))
_CHOSEN = Group(_CHORALES, _SMALL, 100, 0.0, (1e-2,), (0.1, 0.25, 0.4))
_CHORALES_LARGE = Group(_CHORALES, _LARGE, 100, 0.5, (3e-3,), (0.15, 0.3))
_TUNES_SMALL = Group(_TUNES, _SMALL, 40, 0.0, (1e-2, 3e-3), (0.0,))
_TUNES_LARGE = Group(_TUNES, _LARGE, 30, 0.2, (3e-3,), (0.1, 0.3))


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
        "Adam, whole pieces in batches of 16 (chorales) or 4 (tunes), gradients clipped to the norm 1, the learning "
        "rate falling as a cosine. Recurrent dropout is one mask for all steps of a piece (Gal & Ghahramani 2016); the "
        "larger networks have dropout before the head too. No transposition or other change of the data.",
        "Every cell chooses from the same, by the validation NLL of seed 0. At 20,000 parameters without dropout: a "
        "learning rate of 0.01 or 0.003, 40 epochs; with it, at 0.01: a recurrent dropout of 0.25 or 0.4, 50 epochs. "
        "It is then trained with other seeds, and the weights of the epoch with the best validation NLL are scored. At "
        "300,000 all cells have the same, by a few runs beforehand: 0.003 and a recurrent dropout of 0.3, 50 epochs "
        "(chorales), or 0.1, 6 epochs (tunes: far fewer than they need). Full size trains for 100 (tunes: 30) epochs "
        "and has more to choose from at both sizes; quick size for 8 without a choice.",
        "Published figures are of one run each, as far as their papers say, with recipes of their own.",
    )
    seconds: ClassVar = {"quick": 60.0, "standard": 1950.0, "full": 40000.0}
    measured_by = staticmethod(train_on_task)

    def conditions(self) -> Iterable[Condition]:
        """Data by budget by whether there is recurrent dropout, by cell."""
        for group in self._groups():
            for cell in self.cells:
                yield {
                    "task": "music",
                    "source": group.source,
                    "cell": cell,
                    "parameters": group.parameters,
                    "dropout": group.dropout,
                    "optimizer": "adam",
                    "batch_size": _BATCH[group.source],
                    "epochs": group.epochs,
                    "schedule": "cosine",
                    "clip_norm": 1.0,
                    "patience": None,
                    **group.chosen,
                }

    def baselines(self) -> Iterable[Condition]:
        """Chance, note frequencies, whether a note goes on, logistic regression; for each set of data."""
        for source in dict.fromkeys(condition["source"] for condition in self.conditions()):
            for name in ("chance", "note frequencies", "note goes on", "logistic regression"):
                yield {"task": "music", "source": source, "baseline": name}

    def _groups(self) -> Sequence[Group]:
        quick = [group._replace(epochs=8, learning_rate=(1e-2,), recurrent_dropout=group.recurrent_dropout[:1])
                 for group in (_PLAIN, _CHOSEN)]  # fmt: skip
        standard = [_PLAIN._replace(epochs=40), _CHORALES_LARGE._replace(epochs=50, recurrent_dropout=(0.3,)),
                    _CHOSEN._replace(epochs=50, recurrent_dropout=(0.25, 0.4)),
                    _TUNES_LARGE._replace(epochs=6, recurrent_dropout=(0.1,))]  # fmt: skip
        return self.pick(quick, standard, [_PLAIN, _CHOSEN, _CHORALES_LARGE, _TUNES_LARGE, _TUNES_SMALL])

    def label_of(self, condition: Condition) -> str:
        """The cell or the baseline, and its group."""
        if "baseline" in condition:
            return f"{condition['baseline']}, {music_page.data(condition['source'])}"
        return f"{called(condition['cell'])}, {music_page.titled({**condition, 'dropped': _drops(condition)})}"

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


def _drops(condition: Condition) -> bool:
    """Whether there is recurrent dropout, be it still to be chosen."""
    tuned = condition.get("tune", condition)["recurrent_dropout"]
    return any(tuned) if isinstance(tuned, Sequence) else tuned > 0
