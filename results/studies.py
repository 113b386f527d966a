"""The records of the question studies, kept beside those of the protocols: `studies.py keep [NAME …]`.

`keep` takes the finished trials of runs/study-NAME, be the study at its end or not, to results/study-NAME.jsonl, with
the measures that results/studies.toml names; `adopt` puts them back, so that `gatelab study NAME` runs what is missing
alone. `make.py tables` makes the chapters of docs/results.md from these records, without training anything.
"""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gatelab.report.markdown import as_table, as_text
from gatelab.studies import QUESTIONS
from gatelab.studies.answer import folder_of
from gatelab.studies.experiment import Experiment
from gatelab.studies.trials import Record, Store, read_records, write_records

HERE = Path(__file__).parent
_BUDGET = "standard"
_NAMED = 8  # missing conditions that are named

Entry = Mapping[str, Any]


def main() -> None:
    """Reads the command line and does what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["keep", "adopt"])
    parser.add_argument("names", nargs="*", help="studies of results/studies.toml; all, if none is named")
    given = parser.parse_args()
    known = entries()
    if unknown := set(given.names) - set(known):
        parser.error(f"no study is called {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    for name in given.names or known:
        store = Store(folder_of(name))
        if given.what == "adopt":
            store.adopt(kept(name).values())
        else:
            study = asked(name, known[name])
            records = finished(study, store.find)
            write_records(ledger(name), (slim(record, known[name]["measures"]) for record in records.values()))
            print(f"{name}: {len(records)} of {study.count()} trials, {ledger(name).stat().st_size / 1e3:.0f} KB")


def entries() -> dict[str, Entry]:
    """What results/studies.toml says of each study."""
    return tomllib.loads((HERE / "studies.toml").read_text(encoding="utf-8"))


def ledger(name: str) -> Path:
    """Where the records of a study are kept."""
    return HERE / f"study-{name}.jsonl"


def kept(name: str) -> dict[str, Record]:
    """The records of a study by trial; none before the first were kept."""
    path = ledger(name)
    return {record.id: record for record in read_records(path)} if path.exists() else {}


def asked(name: str, entry: Entry) -> Experiment:
    """The study as it is asked for."""
    return QUESTIONS[name](_BUDGET, entry["seeds"])


def finished(study: Experiment, find: Callable[[str], Record | None]) -> dict[str, Record]:
    """The records that ``find`` has of the study's trials; those of a chosen setting once its choice is made."""
    records: dict[str, Record] = {}
    while new := {trial.id: found for trial in study.trials(records)
                  if trial.id not in records and (found := find(trial.id))}:  # fmt: skip
        records |= new
    return records


def slim(record: Record, names: Sequence[str]) -> Record:
    """The record with the named measures alone: small enough to be kept under version control.

    ``test.MSE`` is an entry of a measure, ``history.step`` one of each entry of a list, with six digits: enough to
    compare losses with a level.
    """
    inner: dict[str, list[str]] = {}
    for name in names:
        outer, _, entry = name.partition(".")
        inner.setdefault(outer, []).extend([entry] if entry else [])
    measures = record.measures
    return replace(
        record, measures={name: _part(measures[name], wanted) for name, wanted in inner.items() if name in measures}
    )


def _part(value: Any, wanted: Sequence[str]) -> Any:
    if not wanted:
        return value
    if isinstance(value, Mapping):
        return {name: value[name] for name in wanted if name in value}
    return [{name: shortened(entry[name], 6) for name in wanted if name in entry} for entry in value]


def shortened(value: Any, digits: int = 4) -> Any:
    """A float of so many digits."""
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


# ---- the page ----------------------------------------------------------------------------------------------------


def chapters() -> Iterator[str]:
    """A chapter of docs/results.md for each study, from the records that are there."""
    return (chapter(name, entry, kept(name)) for name, entry in entries().items())


def chapter(name: str, entry: Entry, records: Mapping[str, Record]) -> str:
    """One study: the question, how it was done, how much of it is done, tables, verdict."""
    study = asked(name, entry)
    mine = finished(study, records.get)
    blocks = [f"## {entry['title']}", study.question, "\n".join(f"- {as_text(text)}" for text in study.protocol),
              state(study, mine)]  # fmt: skip
    if any(record.ok and record.kind == "train" for record in mine.values()):
        results = study.results(mine, Store(folder_of(name)))
        for table in study.tables(results["findings"]).values():
            blocks += [as_table(table), as_text(table.caption)]
        blocks.append(as_text(results["verdict"]))
    versions = next((record.versions for record in mine.values()), {})
    made_with = ", ".join(f"{library} {version}" for library, version in sorted(versions.items()))
    blocks.append(f"{made_with}{'. ' if made_with else ''}`gatelab study {name} --seeds {entry['seeds']}`")
    return "\n\n".join(blocks) + "\n"


def state(study: Experiment, records: Mapping[str, Record]) -> str:
    """How much of the study is done, in words; what is missing is named."""
    total = study.count()
    if not records:
        return f"**Not run yet**: none of its {total} trials."
    if len(records) == total:
        return f"All {total} trials were run, {len(study.seeds)} seeds."
    done: dict[str, set[int]] = {}
    for record in records.values():
        if record.kind == "train":
            done.setdefault(record.label, set()).add(record.seed)
    labels = [condition.get("label") or study.label_of(condition) for condition in study.conditions()]
    lacking = {label: len(set(study.seeds) - done.get(label, set())) for label in labels}
    missing = [f"{label} ({count} of {len(study.seeds)} seeds)" for label, count in lacking.items() if count]
    shown = missing[:_NAMED] + [f"{len(missing) - _NAMED} more conditions"] * (len(missing) > _NAMED)
    return f"**Not finished: {len(records)} of {total} trials were run so far.** Missing: {'; '.join(shown)}."


if __name__ == "__main__":
    main()
