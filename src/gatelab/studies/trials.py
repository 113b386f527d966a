"""A trial is one plain configuration with one seed; a record is what became of it.

The records on disk are the truth of a study: everything else (tables, verdict, report) is made from them again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gatelab.core.errors import GatelabError, RunError
from gatelab.core.files import finite, read_json, replacing, write_json, write_text

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
        if not self.has(id):
            return None
        path = self.trial_folder(id) / "record.json"
        fix = f"delete {path} to have that trial done again"
        return _from_json(_read(path, fix), path, fix)

    def has(self, id: str) -> bool:
        """Whether the trial is finished: ``find`` without reading what became of it."""
        return (self.trial_folder(id) / "record.json").exists()

    def write(self, record: Record, arrays: Mapping[str, np.ndarray] | None = None) -> None:
        """Writes arrays first and the record last: where there is a record, the trial is complete."""
        folder = self.trial_folder(record.id)
        if arrays:
            with replacing(folder / "evaluation.npz") as path, open(path, "wb") as file:
                np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        write_json(folder / "record.json", finite(dataclasses.asdict(record)))

    def arrays(self, id: str) -> dict[str, np.ndarray]:
        """The arrays that the trial left, by name; none where it left none.

        Raises:
            RunError: they cannot be read.
        """
        path = self.trial_folder(id) / "evaluation.npz"
        if not path.exists():
            return {}
        try:
            with open(path, "rb") as content, np.load(content, allow_pickle=False) as file:
                return dict(file)
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            fix = f"delete {path.with_name('record.json')} to have the trained model evaluated again"
            raise RunError(f"{path} is damaged", got=error, fix=fix) from error

    def forget(self, id: str) -> None:
        """Makes the trial unfinished again, so that it is run once more."""
        (self.trial_folder(id) / "record.json").unlink(missing_ok=True)

    def adopt(self, records: Iterable[Record]) -> None:
        """Takes records from elsewhere (see ``read_records``) as finished, unless it has its own."""
        for record in records:
            if not self.has(record.id):
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
            records.append(_from_json(json.loads(line), path, "restore the file"))
        except json.JSONDecodeError as error:
            raise RunError(f"line {number} of {path} is not JSON", got=error, fix="restore the file") from error
    return records


def _from_json(values: dict[str, Any], path: Path, fix: str) -> Record:
    try:
        return Record(**(values | {"warnings": tuple(values["warnings"])}))
    except (TypeError, KeyError) as error:
        raise RunError(f"{path} is not a trial's record, or one of another version", got=error, fix=fix) from error


def read_settings(folder: Path) -> dict[str, Any] | None:
    """What the study in ``folder`` was begun with; ``None`` where there is no study yet.

    Raises:
        RunError: ``study.json`` cannot be read.
    """
    path = folder / "study.json"
    return _read(path, f"name another folder, or delete {folder}") if path.exists() else None


def _read(path: Path, fix: str) -> Any:
    try:
        return read_json(path)
    except GatelabError as error:
        raise RunError(error.problem, got=error.got, fix=fix) from error
