"""Makes the rule of `gatelab suggest` from the records of the study `hidden-size` that results/studies.py keeps.

Writes the rule, its worth and where it comes from to src/gatelab/studies/hidden_size_rule.json, where `gatelab suggest`
reads it; nothing is trained. A test makes the rule again from the records.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gatelab.core.files import write_json
from gatelab.studies.questions.hidden_size import HiddenSize
from gatelab.studies.suggest import KEPT
from gatelab.studies.trials import Record, read_records

LEDGER = Path(__file__).with_name("study-hidden-size.jsonl")
_BUDGET = "standard"


def main() -> None:
    """Writes the rule."""
    write_json(KEPT, rule_from(read_records(LEDGER), _BUDGET))
    print(f"wrote {KEPT}")


def rule_from(records: Sequence[Record], budget: str) -> dict[str, Any]:
    """The rule, its worth and where it comes from, of records alone."""
    trained = [record for record in records if record.kind == "train"]
    cells = list(dict.fromkeys(record.configuration["cell"] for record in trained))
    seeds = sorted({record.seed for record in trained})
    study = HiddenSize(budget, seeds, cells)
    findings = study.findings(study.table({record.id: record for record in records}))
    return {"study": HiddenSize.name, "ended": max(record.ended for record in records), **findings["suggestion"]}


if __name__ == "__main__":
    main()
