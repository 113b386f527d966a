"""When does training diverge, how fast does it get there, and what do clipping, start, batch size and optimizer change?

Clipping follows Pascanu et al. 2013, arXiv:1211.5063, who scale the gradient down where it explodes. Steps until a
problem is learned are compared as times of survival are: runs that never get there count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import pandas as pd

from gatelab.cells.cell import CELLS
from gatelab.report.page import Figure, Table
from gatelab.studies.experiment import Condition, Experiment, Findings
from gatelab.studies.questions import stability_page
from gatelab.studies.questions.stability_findings import DIVERGED, REACHED, REFERENCE, summarise
from gatelab.studies.questions.stability_names import entry_name
from gatelab.studies.questions.stability_trial import measure

_PROBLEMS: Mapping[str, Mapping[str, Any]] = {
    "digits": {"by": "row", "length": 100, "held_out": 1000},
    "adding": {"by": "pixel", "length": 30, "held_out": 300},
}
"""The short and cheap one, of real data, and the long one. What a problem does not have stays at its default."""
_STEPS = {"digits": 8, "adding": 30}
"""Of an example: how far a memory has to reach."""
_REPEATS = {("digits", "steps"): 3, ("digits", "race"): 3, ("adding", "steps"): 1, ("adding", "race"): 2}
"""Runs that a seed stands for: more where they are cheap, and where many methods are compared."""
_RATES = {
    "sgd": [0.03, 0.1, 0.3, 1.0, 3.0, 10.0],
    "adam": [0.001, 0.003, 0.01, 0.03, 0.1, 0.3],
}
"""Of the maps; the first one is for the full size alone."""
_TRIED = {
    "sgd": [1.0, 0.3, 3.0, 0.1],
    "momentum": [0.3, 0.1, 1.0, 0.03],
    "rmsprop": [0.003, 0.01, 0.001, 0.03],
    "adam": [0.01, 0.03, 0.003, 0.1],
    "adamw": [0.01, 0.03, 0.003, 0.1],
    "muon": [0.03, 0.1, 0.01, 0.3],
}
"""Learning rates that each first-order method chooses from, the likely ones first."""
_SECOND_ORDER = {"lbfgs": [256, 64, 512, 128], "hessian_free": [256, 64, 512, 128]}
"""Methods that search for the length of a step themselves: they choose the size of a batch instead."""


class Stability(Experiment):
    """Divergence, convergence and their optimizers."""

    name = "stability"
    question = (
        "When does the training of RNN, LSTM and GRU diverge, how fast does it converge, and what do clipping, start, "
        "batch size and optimizer change?"
    )
    protocol = (
        "Problems: digits of 8 × 8 pixels read row by row (8 steps, cross-entropy, scikit-learn's data), and "
        "adding (30 steps, squared error); the quick size has digits alone. All networks have one layer and about "
        "3,000 parameters. Losses are of held-out examples, in shares of chance, the loss of the best constant "
        "answer.",
        "A rate needs many runs. So on digits, which are cheap, each seed stands for three runs, each from weights and "
        "in an order of its own; in the race of optimizers on adding it stands for two, and at the quick size always "
        "for one. Runs are what is counted and compared.",
        f"A run has diverged if loss or gradient is not finite, or if it ends above {DIVERGED:g} times chance; it "
        f"has learned once it is at or below {REACHED:g} of chance. The loss at the end is the median of the last "
        "three looks; where it is above chance, chance stands for it in means, for one would rather answer the "
        "constant.",
        "Maps: every learning rate with every limit of the gradient's norm, with plain SGD and with Adam, batches "
        "of 32. Rates of divergence over a map depend on which learning rates are in it, so compare them with each "
        "other alone. Their Wilson 95 % intervals take runs for draws of one kind; as every learning rate has "
        "equally many, that is on the safe side. Two rates are compared on the same runs at the same learning rates: "
        "McNemar's exact test with Holm's correction, and Newcombe's interval of the difference.",
        "Steps to learn: with Adam, clipped at norm 1, at the learning rate that was best for the other runs. "
        "Runs that never learned, diverged ones too, count as not there by the last step: leaving them out would "
        "flatter what diverges. As all runs end at the same step, the share that has learned is Kaplan and "
        "Meier's estimate, and has Wilson's interval; cells are compared by the log-rank test.",
        "Starts and batch sizes: Adam at 0.01, clipped at norm 1, one factor at a time, equal steps. Holm's "
        "correction is over the values tried with one cell on one problem.",
        "Optimizers: equal time of one core; looking at the loss does not count. First-order methods choose among "
        "learning rates, on batches of 32; L-BFGS (20 rounds a batch, strong Wolfe conditions) and Hessian-free "
        "optimization (Martens & Sutskever 2011) search for the length of a step themselves, and choose among "
        "batch sizes. All have equally many tries, with a seed that is not used again. Compared is the test loss "
        f"of the weights that were best on the validation part: everything with {entry_name(REFERENCE)}, and each "
        "first-order method with clipping and without. Line search and damping stand in the place of clipping.",
    )
    seconds: ClassVar = {"quick": 50.0, "standard": 1900.0, "full": 30000.0}
    measured_by = staticmethod(measure)

    def conditions(self) -> Iterable[Condition]:
        """Maps, starts and batch sizes of each problem and cell; then the optimizers."""
        for source in self.pick(["digits"], *[["digits", "adding"]] * 2):
            for cell in self.cells:
                base = self._base(source, cell)
                yield from self._map(base)
                yield from ({**base, "init": start} for start in self._starts(cell, _STEPS[source]))
                yield from ({**base, "batch_size": size} for size in self._batch_sizes(source))
        for source, cell, seconds in self._timed():
            base = self._base(source, cell) | {"max_steps": None, "max_seconds": seconds}
            yield from self._optimizers(base | {"repeats": self.pick(1, *[_REPEATS[source, "race"]] * 2)})

    def _base(self, source: str, cell: str) -> dict[str, Any]:
        steps = {"digits": self.pick(50, 100, 400), "adding": self.pick(50, 250, 1500)}
        return {
            "task": "problem",
            "source": source,
            **_PROBLEMS[source],
            "cell": cell,
            "parameters": 3000,
            "init": "torch",
            "optimizer": "adam",
            "learning_rate": 0.01,
            "clip_norm": 1.0,
            "batch_size": 32,
            "repeats": self.pick(1, *[_REPEATS[source, "steps"]] * 2),
            "max_steps": steps[source],
            "max_seconds": None,
        }

    def _map(self, base: Condition) -> Iterator[Condition]:
        """Learning rates times limits of the norm; the base is among them."""
        clips = self.pick([None, 1.0], [None, 1.0, 0.1], [None, 10.0, 1.0, 0.1])
        for optimizer, rates in _RATES.items():
            for clip in clips if base["source"] == "digits" else clips[:-1]:
                for rate in self.pick(rates[2::2], rates[1:], rates):
                    yield {**base, "optimizer": optimizer, "learning_rate": rate, "clip_norm": clip}

    def _batch_sizes(self, source: str) -> list[int]:
        return self.pick([128], [8, 128, 512] if source == "digits" else [8, 128], [8, 128, 512])

    def _starts(self, cell: str, steps: int) -> list[str]:
        gated = ["torch+forget_bias:1", f"torch+chrono:{steps}"] if CELLS[cell].keeps is not None else []
        return self.pick(["small_normal"], *[["orthogonal", "glorot", "small_normal", *gated]] * 2)

    def _timed(self) -> Iterator[tuple[str, str, float]]:
        """On which problems and cells optimizers are compared, and for how long."""
        one = [cell for cell in self.cells if cell == "lstm"] or self.cells[:1]
        for cell in self.pick(one, one, self.cells):
            yield "digits", cell, self.pick(0.4, 0.8, 10.0)
        for cell in self.pick([], [cell for cell in self.cells if cell == "gru"], self.cells):
            yield "adding", cell, self.pick(0.4, 1.5, 60.0)

    def _optimizers(self, base: Condition) -> Iterator[Condition]:
        tries = self.pick(2, 4, 4)
        for optimizer, rates in _TRIED.items():
            for clip in self.pick([1.0], [None, 1.0], [None, 1.0]):
                yield {**base, "optimizer": optimizer, "clip_norm": clip, "learning_rate": None,
                       "tune": {"learning_rate": rates[:tries]}}  # fmt: skip
        for optimizer, sizes in _SECOND_ORDER.items():
            yield {**base, "optimizer": optimizer, "clip_norm": None, "learning_rate": 1.0, "batch_size": None,
                   "tune": {"batch_size": sizes[:tries]}}  # fmt: skip

    def label_of(self, condition: Condition) -> str:
        """Problem, cell, and what is not as usual."""
        return stability_page.label(condition)

    def findings(self, table: pd.DataFrame) -> dict[str, Any]:
        """Maps, rates of divergence, steps to learn, starts, batch sizes, optimizers."""
        return summarise(table)

    def verdict(self, findings: Findings) -> Sequence[str]:
        """What diverges, what clipping does to that, who learns fastest, what start, batch and optimizer change."""
        return stability_page.verdict(findings)

    def figures(self, findings: Findings) -> dict[str, Figure]:
        """Maps, rates, shares that learned, curves, starts, batch sizes, optimizers."""
        return stability_page.figures(findings)

    def tables(self, findings: Findings) -> dict[str, Table]:
        """Divergence, then optimizers."""
        return stability_page.tables(findings)
