"""What the courses state as facts about LSTM and GRU, tested: ten statements, each with its effect and a verdict.

The statements stand in nearly every introduction, mostly without a source; Chung et al. 2014 (arXiv:1412.3555) and
Greff et al. 2017 (arXiv:1503.04069), who measured some of them, found no winner between LSTM and GRU.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pandas as pd

from gatelab.report.page import Figure, Page, Table
from gatelab.studies.experiment import Condition, Experiment, Findings
from gatelab.studies.questions import claims_page
from gatelab.studies.questions.claims_judge import judged
from gatelab.studies.questions.claims_runs import Run, beside, run_of, settled
from gatelab.studies.questions.claims_table import CLAIMS
from gatelab.studies.questions.claims_trials import measure
from gatelab.studies.study import Records
from gatelab.studies.trials import Store
from gatelab.studies.wording import called

_RECALL = {"task": "problem", "source": "recall", "batch_size": 32, "held_out": 500, "patience": None}
_ADDING = {"task": "problem", "source": "adding", "batch_size": 32, "held_out": 500, "patience": None, "shortest": 5}
_DIGITS = {"task": "problem", "source": "digits", "batch_size": 64, "patience": None}
_TRAFFIC = {"task": "forecasting", "source": "traffic_pems", "frequency": "rows", "split": [0.9, 0.1], "lookback": 12,
            "horizon": 1, "normalise": "none", "highway": False, "batch_size": 64, "patience": None}  # fmt: skip
_EPOCH = 100  # optimizer steps between two looks at the validation part of a drawn problem
_PARAMETERS = 5_000


class Claims(Experiment):
    """Ten statements about gated cells."""

    name = "claims"
    question = "Which of the things that courses state about LSTM and GRU hold when they are measured?"
    protocol = (
        "Each statement is tested in several settings, each with the same seeds on both sides. An effect is a "
        "difference by seed, of ratios that of their logarithms. Settings that agree in what matters are gathered in a "
        "row: the mean over its settings of the mean over seeds, with a t-interval whose error is that of chance in "
        "training, each setting having its own (Welch 1947). A row speaks for a statement or against it where a "
        "two-sided t-test finds an effect at 5 %, corrected by Holm's method for the number of rows.",
        "Supported: found in every row; or in half of them at least, the opposite in none, and the t-interval of the "
        "mean over all settings on the same side. Refuted: the same of the opposite. Depends: found "
        "in some rows and the opposite in others, or all that tells where it was found is the value of one factor. "
        "In part: found, or the opposite, in some rows, and the other in none.",
        "Data: recall (a bit, T steps of noise, then the bit is asked for), adding (two marked numbers among T), "
        "scikit-learn's digits by row or by pixel, and traffic_pems (flow at a detector, 12 values in, 1 out, no linear "  # noqa: E501
        "path beside the network). Torch's start where nothing else is said, one layer, Adam with a cosine schedule, "
        "clipping at 1. Where both cells have as many parameters, each chooses its learning rate with seed 0 on the "
        "validation part, and so do trainings with clipping and without; sizes and depths are compared at one learning "
        "rate.",
        "Trials of other studies that lie beside this one count as further settings, as far as they test the same. "
        "They keep their own protocols.",
        "Times are those of one machine, under whatever else it did; layers take turns, so that both are slowed alike.",
    )
    seconds: ClassVar = {"quick": 90.0, "standard": 1300.0, "full": 20000.0}
    default_cells: ClassVar = ()
    measured_by = staticmethod(measure)

    # ---- what is run ---------------------------------------------------------------------------------------------

    def conditions(self) -> Iterable[Condition]:
        """Cells at equal parameters, memory, sizes, depths, clipping, gradients, costs."""
        yield from self._equal_parameters()
        yield from self._memory()
        yield from self._sizes_and_depths()
        yield from self._clipping()
        yield from self._gradients()
        yield from self._layers()

    def _data(self) -> Mapping[str, dict[str, Any]]:
        """Sets of data that are cheap enough to train on many times."""
        epochs = self.pick(8, 20, 60)
        drawn = {"examples": 32 * _EPOCH, "epochs": self.pick(3, 15, 40), "length": self.pick(20, 50, 100)}
        rows = {"digits by row": {**_DIGITS, "by": "row", "epochs": epochs}}
        adding = {"adding": {**_ADDING, **drawn}}
        more = {"digits by pixel": {**_DIGITS, "by": "pixel", "epochs": epochs},
                "traffic": {**_TRAFFIC, "epochs": self.pick(1, 6, 20)}}  # fmt: skip
        return self.pick(rows | adding, rows | adding | more, rows | adding | more)

    def _equal_parameters(self) -> Iterator[Condition]:
        rates = {"tune": {"learning_rate": [1e-2, 3e-3]}}
        for data, settings in self._data().items():
            for cell in ("lstm", "gru"):
                yield _condition(data, settings, cell, parameters=_PARAMETERS, **self.pick({}, rates, rates))

    def _memory(self) -> Iterator[Condition]:
        drawn = {**_RECALL, "examples": 32 * _EPOCH, "epochs": self.pick(3, 10, 20)}
        starts = self.pick(["torch"], *[["torch", "torch+forget_bias:3"]] * 2)
        for length in self.pick([10, 30], [50], [30, 100, 200, 400, 800]):
            for start in starts:
                for cell in ("lstm", "gru"):
                    yield _condition(
                        f"recall, T = {length}", {**drawn, "length": length}, cell, parameters=_PARAMETERS, init=start
                    )

    def _sizes_and_depths(self) -> Iterator[Condition]:
        names = self.pick(["digits by row"], *[["digits by row", "traffic"]] * 2)
        for data, settings in ((name, self._data()[name]) for name in names):
            for cell in ("lstm", "gru"):
                for size in self.pick([8, 32], [2, 8, 32, 128], [2, 4, 8, 16, 32, 64, 128]):
                    yield _condition(data, settings, cell, hidden_size=size)
                for depth in self.pick([2], [2], [2, 4, 8]):
                    yield _condition(data, settings, cell, num_layers=depth)

    def _clipping(self) -> Iterator[Condition]:
        by = self.pick("row", "pixel", "pixel")
        settings = {**_DIGITS, "by": by, "epochs": self.pick(3, 6, 40)}
        rates = {"sgd": [0.1, 0.3, 1.0], "adam": [3e-3, 1e-2, 3e-2]}
        for optimizer in self.pick(["sgd"], *[["sgd", "adam"]] * 2):
            for cell, norm, rate in itertools.product(("rnn", "lstm", "gru"), (None, 1.0), rates[optimizer]):
                yield _condition(f"clipping, digits by {by}", settings, cell, optimizer=optimizer, clip_norm=norm,
                                 learning_rate=rate)  # fmt: skip

    def _gradients(self) -> Iterator[Condition]:
        settings = {**_RECALL, "length": self.pick(20, 100, 200)}
        starts = ["torch", "orthogonal", "glorot", "small_normal:0.3", "torch+forget_bias:3"]
        for start in self.pick(starts[:1], starts, starts):
            for cell in ("rnn", "lstm", "gru"):
                yield _condition("gradient", settings, cell, init=start, measured="gradient")

    def _layers(self) -> Iterator[Condition]:
        for library in ("gatelab", "torch"):
            for size in self.pick([32], [32, 128], [32, 128, 512]):
                yield _condition(f"layers of {library}", {}, "lstm", hidden_size=size, measured="layers",
                                 library=library)  # fmt: skip

    def label_of(self, condition: Condition) -> str:
        """The data, the cell, and what is not as usual."""
        usual = _condition(condition["data"], {}, condition["cell"])
        parts = [condition["data"], *([] if condition["measured"] == "layers" else [called(condition["cell"])])]
        parts += [f"{name} {condition[name]}" for name in usual
                  if name not in ("data", "settings", "cell", "measured", "library")
                  and condition[name] != usual[name]]  # fmt: skip
        return ", ".join(parts)

    # ---- what it says --------------------------------------------------------------------------------------------

    def results(self, records: Records, store: Store) -> dict[str, Any]:
        """As every question, with the trials of the studies beside this one among the findings."""
        others = beside(store, dict.fromkeys(name for claim in CLAIMS for name in claim.studies))
        results = super().results({**others, **records}, store)
        if results["findings"]:
            results["findings"]["studies"] = dict(Counter(each.configuration["study"] for each in others.values()))
        return {**results, "trials": len(records), "seconds": sum(record.seconds for record in records.values())}

    def table(self, records: Records) -> pd.DataFrame:
        """A row for each finished trial that was not a try, with a ``Run`` of it."""
        others = {id: record for id, record in records.items() if "study" in record.configuration}
        return pd.DataFrame({"run": [run_of(record) for record in (settled(self, records) | others).values()]})

    def findings(self, table: pd.DataFrame) -> dict[str, Any]:
        """Each statement with its effects, and the verdict."""
        runs: list[Run] = list(table["run"])
        counted = {claim.name: [run for run in runs if run.study in (self.name, *claim.studies)] for claim in CLAIMS}
        return {"claims": [judged(claim, claim.evidence(counted[claim.name])) for claim in CLAIMS]}

    def verdict(self, findings: Findings) -> Sequence[str]:
        """How many statements hold; then each."""
        return claims_page.verdict(findings)

    def figures(self, findings: Findings) -> dict[str, Figure]:
        """One a statement."""
        return claims_page.figures(findings)

    def tables(self, findings: Findings) -> dict[str, Table]:
        """One for all."""
        return claims_page.tables(findings)

    def page(self, results: Mapping[str, Any], records: Records, store: Store) -> Page:
        """The table, then a section for each statement."""
        page, findings = super().page(results, records, store), results["findings"]
        if not findings:
            return page
        statements = {claim.statement for claim in CLAIMS}
        drawn = {section.title: section.parts for section in page.sections if section.title in statements}
        kept = [section for section in page.sections if section.title not in statements]
        sections = [kept[0], *claims_page.sections(findings, drawn), *kept[1:]]
        return replace(page, facts=[*page.facts, *claims_page.facts(findings)], sections=sections, details="")


def _condition(data: str, settings: Mapping[str, Any], cell: str, **changed: Any) -> dict[str, Any]:
    """A condition: what is usual, and what is ``changed``."""
    usual = {"measured": "training", "library": "gatelab", "parameters": None, "hidden_size": 32, "num_layers": 1,
             "init": "torch", "optimizer": "adam", "clip_norm": 1.0, "learning_rate": 1e-2}  # fmt: skip
    return {"data": data, "settings": dict(settings), "cell": cell, **usual, **changed}
