"""Makes docs/results.md: `make.py run [NAME …]` measures, `make.py tables` writes the page from the records alone.

The records in results/*.jsonl (configuration, seed, metrics, seconds, versions) are the truth: a table is rebuilt from
them without running anything, and `run` only runs what they do not hold yet. Chapters about studies are those of
results/studies.py, which keeps their records.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gatelab import compare
from gatelab.core.config import ModelConfig
from gatelab.core.files import read_json, write_json, write_text
from gatelab.core.task import Metric
from gatelab.studies.items import Carried
from gatelab.studies.statistics import estimate
from gatelab.studies.trials import Record, Store, read_records, write_records
from gatelab.studies.verdict import verdict
from gatelab.studies.wording import called
from gatelab.tasks import TASKS
from studies import chapters, shortened

HERE = Path(__file__).parent
CARRIED = HERE / "carried.json"
PAGE = HERE.parent / "docs" / "results.md"
_KEPT = ("epoch", "step", "seconds", "train_loss", "validation_loss", "gradient_norm", "improved")


def main() -> None:
    """Reads the command line and does what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "tables"])
    parser.add_argument("names", nargs="*", help="protocols of results/protocols.toml; all, if none is named")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--work", type=Path, default=Path("runs/results"), help="folder for the studies themselves")
    given = parser.parse_args()
    protocols = tomllib.loads((HERE / "protocols.toml").read_text(encoding="utf-8"))
    if unknown := set(given.names) - set(protocols):
        parser.error(f"no protocol is called {', '.join(sorted(unknown))}; there are {', '.join(protocols)}")
    if given.what == "run":
        for name in given.names or protocols:
            measure(name, protocols[name], given.work / name, given.seeds, given.jobs)
    write_text(PAGE, page(protocols))
    print(f"wrote {PAGE}")


def measure(name: str, protocol: Mapping[str, Any], folder: Path, seeds: int, jobs: int | None) -> None:
    """Runs what the records do not hold, and writes them again."""
    ledger = HERE / f"{name}.jsonl"
    if ledger.exists():
        Store(folder).adopt(read_records(ledger))
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in protocol["options"].items()}
    task, budget = protocol.get("task", "forecasting"), protocol.get("budget", "standard")
    model = ModelConfig(**protocol["model"]) if "model" in protocol else None  # none: what suits the task
    comparison = compare(
        task, protocol["data"], seeds=seeds, jobs=jobs, out=folder, quiet=False, budget=budget, model=model, **options
    )
    write_records(ledger, (slim(record) for record in sorted(comparison.records.values(), key=order)))
    if lead := comparison.results["carried"]:  # needs the errors of every item, which the records do not keep
        write_json(CARRIED, {**(read_json(CARRIED) if CARRIED.exists() else {}), name: lead})
    print(comparison)


def order(record: Record) -> tuple[str, str, int]:
    """Where a record stands in its file, so that files can be compared line by line."""
    return record.kind, record.label, record.seed


def slim(record: Record) -> Record:
    """The record with a history of four digits: small enough to be kept under version control."""
    history = [{key: shortened(epoch[key]) for key in _KEPT if key in epoch}
               for epoch in record.measures.get("history", ())]  # fmt: skip
    return replace(record, measures={**record.measures, "history": history} if history else record.measures)


# ---- the page -----------------------------------------------------------------------------------------------------


def page(protocols: Mapping[str, Mapping[str, Any]]) -> str:
    """docs/results.md, from the records that are there."""
    parts = [
        "# Measured results\n\nMade by `make results` from the records in `results/*.jsonl`; the protocols are in "
        "`results/protocols.toml`. Cells have equal numbers of parameters and chose their learning rate from 0.01, "
        "0.003 and 0.001 on the validation part, with a seed of its own. Cells: mean over seeds ± half of the 95 % "
        "interval; baselines: one value, on the very same windows. Units are those of the data. Seconds are those of "
        "one training on one thread of a shared two-core machine: compare them within a table only. The last chapters "
        "are those of studies, each with a protocol of its own.\n"
    ]
    for name, protocol in protocols.items():
        ledger = HERE / f"{name}.jsonl"
        if ledger.exists():
            parts.append(chapter(name, protocol, read_records(ledger)))
    return "\n".join([*parts, *chapters()])


def chapter(name: str, protocol: Mapping[str, Any], records: Sequence[Record]) -> str:
    """One protocol: what was done, the table, the verdict."""
    metrics, kind = protocol["metrics"], TASKS[protocol.get("task", "forecasting")]
    known = {metric.name: metric for metric in getattr(kind, "metrics", ())}  # forecasting: depends on the data
    first = known.get(metrics[0], Metric(metrics[0]))
    done = [record for record in records if record.ok]
    cells = {label: [r for r in done if r.kind == "train" and r.label == label] for label in ("rnn", "lstm", "gru")}
    rows = [
        (score(trained, metrics[0])[0], cell_row(cell, trained, metrics)) for cell, trained in cells.items() if trained
    ]
    rows += [(r.metric("test", metrics[0]), baseline_row(r, metrics)) for r in done if r.kind == "baseline"]
    rows.sort(key=lambda row: row[0] if first.goal == "min" else -row[0])
    rows += [(0.0, [entry["name"], *(f"{entry[m]}" if m in entry else "" for m in metrics), "", "", ""])
             for entry in protocol.get("published", ())]  # fmt: skip
    columns = ["", *metrics, "seconds", "parameters", "learning rate"]
    lines = [f"| {' | '.join(columns)} |", "|---|" + "---:|" * (len(columns) - 1)]
    lines += [f"| {' | '.join(row)} |" for _, row in rows]
    scores = {cell: {r.seed: r.metric("test", metrics[0]) for r in trained} for cell, trained in cells.items()}
    marks = {r.label: r.metric("test", metrics[0]) for r in done if r.kind == "baseline"}
    failed = [f"{r.label}, seed {r.seed}" for r in records if not r.ok and r.kind != "tune"]
    lead = read_json(CARRIED).get(name) if CARRIED.exists() else None
    said = verdict(first, scores, marks, failed, lead and Carried(**lead))
    versions = ", ".join(f"{key} {value}" for key, value in sorted(records[0].versions.items()))
    return (
        f"## {protocol['title']}\n\n`{name}`: {protocol['protocol']}\n\n" + "\n".join(lines) + f"\n\n{said}\n\n"
        f"{max(len(t) for t in cells.values())} seeds; {versions}. `python results/make.py run {name}`\n"
    )


def score(trained: Sequence[Record], metric: str) -> tuple[float, str]:
    """Mean over seeds, and how it is written with its interval."""
    found = estimate([record.metric("test", metric) for record in trained])
    spread = "" if found.high is None else f" ± {found.high - found.mean:.2g}"
    return found.mean, f"{found.mean:.4g}{spread}"


def cell_row(cell: str, trained: Sequence[Record], metrics: Sequence[str]) -> list[str]:
    """A trained cell."""
    seconds = statistics.median(record.measures["train_seconds"] for record in trained)
    first = trained[0]
    rate = first.configuration["training"]["learning_rate"]
    cells = [
        f"**{score(trained, metric)[1]}**" if metric == metrics[0] else score(trained, metric)[1] for metric in metrics
    ]
    return [f"**{called(cell)}**", *cells, f"{seconds:.0f}", f"{first.measures['parameters']:,}", f"{rate:g}"]


def baseline_row(record: Record, metrics: Sequence[str]) -> list[str]:
    """A baseline."""
    return [
        record.label,
        *("" if math.isnan(value := record.metric("test", metric)) else f"{value:.4g}" for metric in metrics),
        f"{record.seconds:.1f}",
        "",
        "",
    ]


if __name__ == "__main__":
    main()
