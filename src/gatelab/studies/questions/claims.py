"""What the courses state as facts about LSTM and GRU, tested: ten statements, each with its effect and a verdict.

The statements stand in nearly every introduction, mostly without a source; Chung et al. 2014 (arXiv:1412.3555) and
Greff et al. 2017 (arXiv:1503.04069), who measured some of them, found no winner between LSTM and GRU.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from gatelab.core.errors import GatelabError
from gatelab.report.page import Figure, Page, Table
from gatelab.studies.experiment import Condition, Experiment, Findings
from gatelab.studies.questions import claims_page
from gatelab.studies.questions.claims_evidence import Run, run_of
from gatelab.studies.questions.claims_table import CLAIMS, judged
from gatelab.studies.questions.claims_trials import measure
from gatelab.studies.study import Records
from gatelab.studies.trials import Record, Store
from gatelab.studies.verdict import called

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
        "Each statement is tested in several settings, each with the same seeds on both sides. An effect is a mean over "  # noqa: E501
        "seeds with its t-interval, paired by seed; of ratios, of their logarithms. A setting speaks for a statement or "  # noqa: E501
        "against it where a two-sided t-test finds an effect at 5 %, corrected by Holm's method for the number of its "
        "settings. Supported: every setting speaks for it. Depends: some do. Refuted: none does, and one speaks "
        "against it.",
        "Data: recall (a bit, T steps of noise, then the bit is asked for), adding (two marked numbers among T), "
        "scikit-learn's digits by row or by pixel, and traffic_pems (flow at a detector, 12 values in, 1 out, no linear "  # noqa: E501
        "path beside the network). Torch's start where nothing else is said, one layer, Adam with a cosine schedule, "
        "clipping at 1. Where both cells have as many parameters, each chooses its learning rate with seed 0 on the "
        "validation part; sizes, depths and clipping are compared at one learning rate.",
        "Trials of other studies that lie beside this one count as further settings, as far as they test the same: "
        "their name stands behind the setting. They keep their own protocols.",
        "Times are those of one machine, under whatever else it did; layers take turns, so that both are slowed alike.",
    )
    seconds: ClassVar = {"quick": 60.0, "standard": 2000.0, "full": 30000.0}
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
        epochs = self.pick(4, 15, 30)
        drawn = {"examples": 32 * _EPOCH, "epochs": self.pick(3, 20, 40), "length": self.pick(20, 50, 100)}
        rows = {"digits by row": {**_DIGITS, "by": "row", "epochs": 2 * epochs}}
        adding = {"adding": {**_ADDING, **drawn}}
        more = {"digits by pixel": {**_DIGITS, "by": "pixel", "epochs": 2 * epochs},
                "traffic": {**_TRAFFIC, "epochs": self.pick(1, 8, 20)}}  # fmt: skip
        return self.pick(rows | adding, rows | adding | more, rows | adding | more)

    def _equal_parameters(self) -> Iterator[Condition]:
        rates = {"tune": {"learning_rate": [1e-2, 3e-3]}}
        for data, settings in self._data().items():
            for cell in ("lstm", "gru"):
                yield _condition(data, settings, cell, parameters=_PARAMETERS, **self.pick({}, rates, rates))

    def _memory(self) -> Iterator[Condition]:
        drawn = {**_RECALL, "examples": 32 * _EPOCH, "epochs": self.pick(3, 10, 20)}
        starts = self.pick(["torch"], *[["torch", "torch+forget_bias:3"]] * 2)
        for length in self.pick([10, 30], [20, 50, 100, 200], [20, 50, 100, 200, 400, 800]):
            for start in starts:
                for cell in ("lstm", "gru"):
                    yield _condition(
                        f"recall, T = {length}", {**drawn, "length": length}, cell, parameters=_PARAMETERS, init=start
                    )

    def _sizes_and_depths(self) -> Iterator[Condition]:
        names = self.pick(["digits by row"], *[["digits by row", "traffic"]] * 2)
        for data, settings in ((name, self._data()[name]) for name in names):
            for cell in ("lstm", "gru"):
                for size in self.pick([4, 16], [4, 8, 16, 32, 64], [2, 4, 8, 16, 32, 64, 128]):
                    yield _condition(data, settings, cell, hidden_size=size)
                for depth in self.pick([2], [2, 4], [2, 4, 8]):
                    yield _condition(data, settings, cell, hidden_size=16, num_layers=depth)

    def _clipping(self) -> Iterator[Condition]:
        by = self.pick("row", "pixel", "pixel")
        settings = {**_DIGITS, "by": by, "epochs": self.pick(4, 20, 40)}
        for optimizer, rate in self.pick([("sgd", 0.1)], *[[("sgd", 0.1), ("adam", 1e-2)]] * 2):
            for cell in ("rnn", "lstm", "gru"):
                for norm in (None, 1.0):
                    yield _condition(f"clipping, digits by {by}", settings, cell, optimizer=optimizer, clip_norm=norm,
                                     learning_rate=rate)  # fmt: skip

    def _gradients(self) -> Iterator[Condition]:
        settings = {**_RECALL, "length": self.pick(20, 50, 100)}
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
                  if name not in ("data", "settings", "cell", "learning_rate", "measured", "library")
                  and condition[name] != usual[name]]  # fmt: skip
        return ", ".join(parts)

    # ---- what it says --------------------------------------------------------------------------------------------

    def results(self, records: Records, store: Store) -> dict[str, Any]:
        """As every question, with the trials of the studies beside this one."""
        return super().results({**beside(store), **records}, store)

    def table(self, records: Records) -> pd.DataFrame:
        """A row for each finished trial that was not a try, with a ``Run`` of it."""
        done = sorted((r for r in records.values() if r.ok and r.kind == "train"), key=lambda r: r.seed)
        return pd.DataFrame({"run": [run_of(record, self.name) for record in done]})

    def findings(self, table: pd.DataFrame) -> dict[str, Any]:
        """Each statement with the effect in every setting, and the verdict."""
        runs: list[Run] = list(table["run"])
        return {"claims": [judged(claim, runs, self.name) for claim in CLAIMS]}

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
        shown = {*self.figures(findings)}
        kept = [section for section in page.sections if section.title not in shown]
        return replace(page, sections=[kept[0], *claims_page.sections(findings), *kept[1:]], details="")


def _condition(data: str, settings: Mapping[str, Any], cell: str, **changed: Any) -> dict[str, Any]:
    """A condition: what is usual, and what is ``changed``."""
    usual = {"measured": "training", "library": "gatelab", "parameters": None, "hidden_size": 32, "num_layers": 1,
             "init": "torch", "optimizer": "adam", "clip_norm": 1.0, "learning_rate": 1e-2}  # fmt: skip
    return {"data": data, "settings": dict(settings), "cell": cell, **usual, **changed}


def beside(store: Store | None) -> dict[str, Record]:
    """What other studies found that lie in the same folder as this one: the trials of their last results."""
    from gatelab.studies.answer import load  # it knows every question, this one too

    found: dict[str, Record] = {}
    for name in dict.fromkeys(name for claim in CLAIMS for name in claim.studies):
        folder = store.folder.parent / f"study-{name}" if store else Path()
        try:
            answer = load(folder)
        except GatelabError:  # not run here
            continue
        if answer.results["study"] == name and answer.results["version"] == answer.study.version:
            records = finished(answer.study, Store(folder))
            found |= {id: replace(record, configuration={**record.configuration, "study": name})
                      for id, record in records.items() if record.kind == "train"}  # fmt: skip
    return found


def finished(study: Experiment, store: Store) -> dict[str, Record]:
    """The trials of ``study`` that are on record as finished well."""
    records: dict[str, Record] = {}
    while found := {trial.id: record for trial in study.trials(records) if trial.id not in records
                    and (record := store.find(trial.id)) is not None and record.ok}:  # fmt: skip
        records |= found
    return records
