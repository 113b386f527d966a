"""A trial is one plain configuration with one seed; a record is what became of it.

The records on disk are the truth of a study: everything else (tables, verdict, report) is made from them again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gatelab.core.errors import GatelabError, RunError
from gatelab.core.files import read_json, replacing, write_json, write_text

Status = Literal["ok", "failed", "hung"]


@dataclass(frozen=True)
class Trial:
    """What one worker is to do, said in plain values, so that it can be done again anywhere."""

    kind: str
    """What is done, such as ``"train"``, ``"tune"`` or ``"baseline"``."""
    label: str
    """The row of the table it belongs to, such as ``"gru"``."""
    seed: int
    configuration: Mapping[str, Any]
    """JSON values only; with ``kind`` and ``seed`` everything that the result depends on."""
    identity: Mapping[str, Any] | None = None
    """What sets the configuration apart (see ``core.config.changes``), so that a setting that a later version adds
    does not make another trial of this one; none: the whole configuration."""

    @cached_property
    def id(self) -> str:
        """Twelve hexadecimal digits that are the same wherever the same thing is to be done."""
        known_by = self.configuration if self.identity is None else self.identity
        identity = [self.kind, self.seed, known_by]
        text = json.dumps(identity, sort_keys=True, ensure_ascii=False, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Measured:
    """What a trial found out."""

    measures: Mapping[str, Any]
    """JSON values; a number that is not finite is kept as ``None``."""
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    """What figures need; numeric arrays only."""


@dataclass(frozen=True)
class Record:
    """What became of a trial."""

    id: str
    kind: str
    label: str
    seed: int
    configuration: Mapping[str, Any]
    status: Status
    message: str = ""
    """Why it failed or hung, in words."""
    measures: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    """Wall time from start to end, of the last attempt."""
    started: str = ""
    ended: str = ""
    """ISO 8601, UTC."""
    versions: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    """What libraries warned of, each once."""

    @property
    def ok(self) -> bool:
        """Whether the trial ran to its end."""
        return self.status == "ok"

    def metric(self, part: str, name: str) -> float:
        """A metric on ``"validation"`` or ``"test"``; NaN where there is none."""
        value = self.measures.get(part, {}).get(name)
        return math.nan if value is None else float(value)


def finite(value: Any) -> Any:
    """The same JSON value with ``None`` for every number that is not finite, as strict JSON asks.

    >>> finite({"MAE": float("nan"), "curve": [1.0, float("inf")]})
    {'MAE': None, 'curve': [1.0, None]}
    """
    if isinstance(value, Mapping):
        return {str(key): finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Store:
    """The trials of one study on disk: ``folder/trials/<id>/``, each the run folder of its training too."""

    def __init__(self, folder: Path):
        self.folder = folder

    def trial_folder(self, id: str) -> Path:
        """Where the trial keeps its run folder, record, arrays and heartbeat."""
        return self.folder / "trials" / id

    def find(self, id: str) -> Record | None:
        """The record of a finished trial; ``None`` where it is not finished.

        Raises:
            RunError: there is a record, but not a readable one.
        """
        path = self.trial_folder(id) / "record.json"
        return _from_json(read_json(path), path) if path.exists() else None

    def write(self, record: Record, arrays: Mapping[str, np.ndarray] | None = None) -> None:
        """Writes arrays first and the record last: where there is a record, the trial is complete."""
        folder = self.trial_folder(record.id)
        if arrays:
            with replacing(folder / "evaluation.npz") as path, open(path, "wb") as file:
                np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        write_json(folder / "record.json", finite(dataclasses.asdict(record)))

    def arrays(self, id: str) -> dict[str, np.ndarray]:
        """The arrays that the trial left, by name; none where it left none."""
        path = self.trial_folder(id) / "evaluation.npz"
        if not path.exists():
            return {}
        with np.load(path, allow_pickle=False) as file:
            return dict(file)

    def forget(self, id: str) -> None:
        """Makes the trial unfinished again, so that it is run once more."""
        (self.trial_folder(id) / "record.json").unlink(missing_ok=True)

    def adopt(self, records: Iterable[Record]) -> None:
        """Takes records from elsewhere (see ``read_records``) as finished, unless it has its own."""
        for record in records:
            if self.find(record.id) is None:
                self.write(record)


def write_records(path: Path, records: Iterable[Record]) -> None:
    """One record a line (JSON Lines): small enough to keep under version control."""
    lines = [json.dumps(finite(dataclasses.asdict(record)), sort_keys=True, allow_nan=False) for record in records]
    write_text(path, "".join(line + "\n" for line in lines))


def read_records(path: Path) -> list[Record]:
    """Records that ``write_records`` wrote.

    Raises:
        RunError: a line is not a record.
    """
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            records.append(_from_json(json.loads(line), path))
        except json.JSONDecodeError as error:
            raise RunError(f"line {number} of {path} is not JSON", got=error, fix="restore the file") from error
    return records


def _from_json(values: dict[str, Any], path: Path) -> Record:
    try:
        return Record(**(values | {"warnings": tuple(values["warnings"])}))
    except (TypeError, KeyError) as error:
        raise RunError(
            f"{path} is not a trial's record, or one of another version",
            got=error,
            fix="move the folder away to run its trials again",
        ) from error


def read_settings(folder: Path) -> dict[str, Any] | None:
    """What the study in ``folder`` was begun with; ``None`` where there is no study yet.

    Raises:
        RunError: ``study.json`` cannot be read.
    """
    path = folder / "study.json"
    try:
        return read_json(path) if path.exists() else None
    except GatelabError as error:
        raise RunError(error.problem, got=error.got, fix=f"name another folder, or delete {folder}") from error
