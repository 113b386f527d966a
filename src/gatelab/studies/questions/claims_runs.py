"""Runs: the trials of this study and of those beside it, each with the setting it speaks of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

from gatelab.core.errors import GatelabError
from gatelab.studies.experiment import Condition, Experiment
from gatelab.studies.questions.claims_trials import flat
from gatelab.studies.trials import Record, Store, Trial

Setting = Mapping[str, Any]
_NAMES = ("series", "label", "tune")
"""What a condition is called by: no part of its setting."""


class Run(NamedTuple):
    """One finished trial, of this study or of one beside it."""

    study: str
    seed: int
    setting: Setting
    """Its condition, flat. What it chose for itself stands there as what it chose from, so that two cells that chose
    otherwise were still tested alike."""
    measures: Mapping[str, Any]


def run_of(record: Record) -> Run:
    """A record that ``settled`` made, as a run."""
    told = record.configuration
    return Run(told["study"], record.seed, told["setting"], record.measures)


def settled(study: Experiment, records: Mapping[str, Record]) -> dict[str, Record]:
    """The finished trials of the conditions of ``study``, with the study and the setting as their configuration."""
    found = {}
    for condition in study.conditions():
        told = {"study": study.name, "setting": _setting(condition)}
        for choice, seed in product(_choices(condition), study.seeds):
            id = Trial("train", "", seed, choice).id
            if id in records and records[id].ok:
                found[id] = replace(records[id], configuration=told, warnings=())
    return found


def beside(store: Store | None, names: Iterable[str]) -> dict[str, Record]:
    """What the studies of these ``names`` found that lie in the same folder as this one: ``settled`` records of their
    last results, of those that were run."""
    from gatelab.studies.answer import load  # it knows every question, this one too

    found: dict[str, Record] = {}
    for folder in (store.folder.parent / f"study-{name}" for name in names) if store else ():
        try:
            answer = load(folder)
        except GatelabError:  # not run here
            continue
        if answer.results["version"] == answer.study.version:
            found |= settled(answer.study, _finished(answer.study, Store(folder)))
    return found


def _finished(study: Experiment, store: Store) -> dict[str, Record]:
    """The trials of ``study`` that are on record as finished well."""
    records: dict[str, Record] = {}
    while found := {trial.id: record for trial in study.trials(records) if trial.id not in records
                    and (record := store.find(trial.id)) is not None and record.ok}:  # fmt: skip
        records |= found
    return records


def _setting(condition: Condition) -> dict[str, Any]:
    options: Mapping[str, Sequence[Any]] = condition.get("tune") or {}
    plain = flat({name: value for name, value in condition.items() if name not in _NAMES})
    kept = {name: value for name, value in plain.items() if value is not None or name == "clip_norm"}
    return {**kept, **{name: list(values) for name, values in options.items()}}


def _choices(condition: Condition) -> Iterator[dict[str, Any]]:
    """The configurations with which the condition may have been trained."""
    options: Mapping[str, Sequence[Any]] = condition.get("tune") or {}
    plain = {name: value for name, value in condition.items() if name not in ("label", "tune")}
    for choice in product(*options.values()):
        yield {**plain, **dict(zip(options, choice, strict=True))}
