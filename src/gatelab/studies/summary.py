"""From records to what a comparison says, as plain JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from gatelab.core.config import to_dict
from gatelab.core.task import Metric
from gatelab.core.versions import versions
from gatelab.studies.curves import criterion_curve
from gatelab.studies.items import ERRORS, Carried, over_items
from gatelab.studies.progress import title
from gatelab.studies.standing import Standing
from gatelab.studies.statistics import Difference, against, described, pairwise
from gatelab.studies.trials import Record, Store
from gatelab.studies.verdict import headline, verdict
from gatelab.studies.wording import called
from gatelab.studies.worker import LIBRARIES
from gatelab.training.runs import environment

if TYPE_CHECKING:
    from gatelab.studies.comparing import Comparing

COSTS = ("train_seconds", "seconds_to_level", "best_epoch", "peak_memory_mb", "added_memory_mb", "parameters",
         "latency_ms", "step_latency_ms", "gradient_norm_spread")  # fmt: skip
Records = Mapping[str, Record]


def summarise(study: Comparing, records: Records, store: Store) -> dict[str, Any]:
    """The whole of ``results.json``."""
    metrics, first = study.task.metrics, study.task.metrics[0]
    trained = {cell: of(records, "train", cell) for cell in study.plan.cells}
    level = reachable_level(trained, study.task.criterion)
    baselines = {record.label: record for record in records.values() if record.kind == "baseline"}
    scores = {cell: values(rows, "test", first.name) for cell, rows in trained.items()}
    marks = {name: record.metric("test", first.name) for name, record in baselines.items() if record.ok}
    failed = [title(record) for record in records.values() if not record.ok and record.kind != "tune"]
    lead = carried(Standing.of(first, scores, marks), trained, baselines, store)
    return {
        "format": 1,
        "task": study.task.name,
        "task_config": to_dict(study.task.config),
        "data": study.data,
        "notes": list(study.task.notes),
        "metrics": [asdict(metric) for metric in metrics],
        "headline": headline(first, scores, marks, lead),
        "verdict": verdict(first, scores, marks, failed, lead),
        "carried": lead and asdict(lead),
        "cells": {cell: _cell(study, cell, rows, metrics, level) for cell, rows in trained.items()},
        "baselines": {name: _baseline(record, metrics) for name, record in baselines.items()},
        "differences": [_gap(gap) for gap in pairwise({cell: score for cell, score in scores.items() if score})],
        "against_baselines": {name: [_gap(gap) for gap in against(scores, name, mark)] for name, mark in marks.items()},
        "best": best_model(trained, first),
        "level": level,
        "failed": [{"trial": title(r), "kind": r.kind, "status": r.status, "message": r.message}
                   for r in records.values() if not r.ok],
        "budget": said(study, records),
        "warnings": sorted({text for record in records.values() for text in record.warnings}),
        "seeds": list(study.plan.seeds),
        "command": study.plan.command,
        "versions": versions(*LIBRARIES),
        "machine": {name: value for name, value in environment().items() if name in ("system", "cores")},
    }  # fmt: skip


def carried(
    standing: Standing, trained: Mapping[str, Sequence[Record]], baselines: Mapping[str, Record], store: Store
) -> Carried | None:
    """The best cell beside the best baseline, item by item; ``None`` where their errors were not kept."""
    if standing.baseline is None or not standing.means:
        return None
    cell = [store.arrays(record.id).get(ERRORS) for record in trained[standing.leader] if record.ok]
    other = store.arrays(baselines[standing.baseline].id).get(ERRORS)
    known = [errors for errors in cell if errors is not None]
    return over_items(known, [other]) if known and other is not None else None


def of(records: Records, kind: str, label: str) -> list[Record]:
    """The records of one row, by seed."""
    return sorted((r for r in records.values() if r.kind == kind and r.label == label), key=lambda r: r.seed)


def values(rows: Sequence[Record], part: str, name: str) -> dict[int, float]:
    """A metric by seed, of the trials that finished."""
    return {record.seed: record.metric(part, name) for record in rows if record.ok}


def best_model(trained: Mapping[str, Sequence[Record]], metric: Metric) -> dict[str, Any] | None:
    """The model to keep, chosen on validation alone: the cell with the best mean, and of it the best seed."""
    pick = min if metric.goal == "min" else max
    scores = {cell: values(rows, "validation", metric.name) for cell, rows in trained.items()}
    means = {cell: float(np.mean(list(score.values()))) for cell, score in scores.items() if score}
    if not means:
        return None
    cell = pick(means, key=lambda name: means[name])
    seed = pick(scores[cell], key=lambda s: scores[cell][s])
    trial = next(record.id for record in trained[cell] if record.seed == seed)
    return {"cell": cell, "seed": seed, "trial": trial, "validation": scores[cell][seed]}


def reachable_level(trained: Mapping[str, Sequence[Record]], criterion: Metric) -> float | None:
    """The validation criterion that every cell reaches with half of its seeds: the yardstick for speed."""
    bests = [[record.measures["best"] for record in rows if record.ok and record.measures.get("best") is not None]
             for rows in trained.values()]  # fmt: skip
    medians = [float(np.median(best)) for best in bests if best]
    worst = max if criterion.goal == "min" else min
    return worst(medians) if medians else None


def _seconds_to(level: float | None, history: Sequence[Mapping[str, Any]], criterion: Metric) -> float | None:
    """Training seconds until the criterion first reached ``level``; ``None`` where it never did."""
    for record, value in zip(history, criterion_curve(history, criterion), strict=True):
        if level is not None and np.isfinite(value) and not criterion.better(level, value):
            return record["seconds"]
    return None


def _cell(study: Comparing, cell: str, rows: Sequence[Record], metrics: Sequence[Metric], level: Any) -> dict[str, Any]:
    done = [record for record in rows if record.ok]
    costs = {record.seed: dict(record.measures) for record in done}
    for seed, cost in costs.items():
        cost["seconds_to_level"] = _seconds_to(level, cost["history"], study.task.criterion)
        costs[seed] = {name: cost.get(name) for name in COSTS}
    return {
        "title": called(cell),
        "model": dict(rows[0].configuration["model"]) if rows else {},
        "training": dict(rows[0].configuration["training"]) if rows else {},
        "parameters": next((cost["parameters"] for cost in costs.values()), None),
        "test": {metric.name: described(values(done, "test", metric.name)) for metric in metrics},
        "validation": {metric.name: described(values(done, "validation", metric.name)) for metric in metrics},
        "cost": {name: _median([cost[name] for cost in costs.values()]) for name in COSTS},
        "reached_level": sum(cost["seconds_to_level"] is not None for cost in costs.values()),
        "by_seed": {str(seed): cost for seed, cost in costs.items()},
        "finished": len(done),
        "failed": len(rows) - len(done),
    }


def _baseline(record: Record, metrics: Sequence[Metric]) -> dict[str, Any]:
    parts = {part: {metric.name: record.metric(part, metric.name) for metric in metrics}
             for part in ("test", "validation")}  # fmt: skip
    return {**parts, "status": record.status, "seconds": record.measures.get("seconds"), "message": record.message}


def _gap(difference: Difference) -> dict[str, Any]:
    percent = difference.percent
    return {**asdict(difference), "percent": percent and asdict(percent), "found": difference.found}


def _median(entries: Sequence[Any]) -> float | None:
    known = [entry for entry in entries if entry is not None]
    return float(np.median(known)) if known else None


def said(study: Comparing, records: Records) -> list[str]:
    """Budget and tuning in words."""
    training, budget = study.training, study.plan.budget
    limit = f"{budget.seconds:g} s of training" if budget.seconds else f"at most {training.epochs} epochs"
    patience = f", stopped after {training.patience} epochs without a better validation" if training.patience else ""
    seeds = len(study.plan.seeds)
    lines = [
        f"Every cell had the same: {limit}{patience}, {seeds} {'seed' if seeds == 1 else 'seeds'}, one thread.",
        study.sizes.said({cell: study.setting(cell, records).model for cell in study.plan.cells}),
    ]
    if study.plan.tune:
        lines.append(f"Each cell chose its settings in {study.plan.tune} Optuna trials, on validation, with another "
                     "seed; tries worse than the median were given up.")  # fmt: skip
    else:
        rates = ", ".join(f"{rate:g}" for rate in budget.learning_rates)
        lines.append(f"Each cell chose its learning rate from {rates}, on validation, with another seed.")
    return lines + [_choice(study, cell, records) for cell in study.plan.cells]


def _choice(study: Comparing, cell: str, records: Records) -> str:
    setting = study.setting(cell, records)
    training, model = setting.training, setting.model
    text = f"{called(cell)} chose learning rate {training.learning_rate:g}"
    if study.plan.tune:
        return (f"{text}, batch size {training.batch_size}, {model.num_layers} layer(s) of {model.hidden_size} units, "
                f"dropout {model.dropout:g}.")  # fmt: skip
    rates = study.plan.budget.learning_rates
    edges = {max(rates): "larger", min(rates): "smaller"}
    edge = edges.get(training.learning_rate)
    return text + (f", the edge of what was offered: a {edge} one might serve it better." if edge else ".")
