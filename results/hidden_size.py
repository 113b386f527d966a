"""Keeps what the study `hidden-size` found: `hidden_size.py [FOLDER]`, by default of runs/study-hidden-size.

Writes the study's records to results/hidden_size.jsonl, and the rule that follows from them, with its worth, to
src/gatelab/studies/hidden_size_rule.json, where `gatelab suggest` reads it. A test makes the rule again from the
records. To go on from the records kept: `hidden_size.py --adopt [FOLDER]`, then `gatelab study hidden-size`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gatelab.core.files import write_json
from gatelab.studies.answer import folder_of, load
from gatelab.studies.questions.hidden_size import HiddenSize
from gatelab.studies.suggest import KEPT
from gatelab.studies.trials import Record, Store, read_records, write_records

LEDGER = Path(__file__).with_name("hidden_size.jsonl")
_KEPT_MEASURES = ("parameters", "examples", "train_seconds", "steps", "rounds", "memory_mb", "B", "T")
_METRIC = "MASE"


def main() -> None:
    """Reads the command line and does what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=folder_of(HiddenSize.name))
    parser.add_argument("--adopt", action="store_true", help="put the records into the folder instead")
    given = parser.parse_args()
    if given.adopt:
        Store(given.folder).adopt(read_records(LEDGER))
        return
    answer = load(given.folder)
    store = Store(given.folder)
    found = [store.find(trial.id) for trial in answer.study.trials({})]
    kept = [slim(record) for record in found if record is not None and record.ok]
    write_records(LEDGER, kept)
    write_json(KEPT, rule_from(kept, answer.study.budget))
    print(f"wrote {LEDGER} and {KEPT}")


def rule_from(records: Sequence[Record], budget: str) -> dict[str, Any]:
    """The rule, its worth and where it comes from, of records alone."""
    trained = [record for record in records if record.kind == "train"]
    cells = list(dict.fromkeys(record.configuration["cell"] for record in trained))
    seeds = sorted({record.seed for record in trained})
    study = HiddenSize(budget, seeds, cells)
    findings = study.findings(study.table({record.id: record for record in records}))
    return {"study": HiddenSize.name, "ended": max(record.ended for record in records), **findings["suggestion"]}


def slim(record: Record) -> Record:
    """The record with what the findings need alone."""
    measures = {name: record.measures[name] for name in _KEPT_MEASURES if name in record.measures}
    parts = {part: {_METRIC: record.measures[part][_METRIC]} for part in ("validation", "test")
             if part in record.measures}  # fmt: skip
    return replace(record, measures={**measures, **parts})


if __name__ == "__main__":
    main()
