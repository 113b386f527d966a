"""What gatelab knows of the data sets it has names for: ``catalogue.json`` as frozen dataclasses.

A new data set is one entry in that file. Nothing here opens a data file or the network; see ``sources``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from gatelab.core.errors import InputError, nearest


@dataclass(frozen=True)
class File:
    """One file of a data set."""

    path: str
    """Where it lies in a mirror, in ``data/`` and in the cache, such as ``"nab/labels/combined_windows.json"``."""
    bytes: int
    """Its size."""
    sha256: str
    """Its SHA-256 in hexadecimal; a file that differs is refused."""
    url: str | None
    """Where it is downloaded from, pinned to a commit; None where it cannot be."""
    roles: Mapping[str, Any] = field(default_factory=dict)
    """For a table: what its columns are, by the names of ``gatelab.data.Roles``."""
    sequences: Mapping[str, Any] = field(default_factory=dict)
    """For a table of labelled sequences: how they lie in it, by the names of ``gatelab.data.sequences.Layout``."""
    encoding: str = "utf-8"
    """For a text, or an archive of texts: how it is written."""

    @property
    def name(self) -> str:
        """Its name within the data set, such as ``"labels/combined_windows.json"``."""
        return self.path.split("/", 1)[1]

    @property
    def host(self) -> str:
        """The machine it is downloaded from."""
        return urlsplit(self.url or "").hostname or ""


@dataclass(frozen=True)
class Dataset:
    """A data set that gatelab knows by name."""

    name: str
    title: str
    group: str
    """What kind of data it is, such as ``"time series"``."""
    description: str
    """One line."""
    files: tuple[File, ...]
    main: str
    """Name of the file that is meant when only the data set is named."""
    licence: str
    """As the holder states it, or that none is stated."""
    citation: str
    """Who made it."""
    source: str
    """Address of where it was published."""
    commit: str | None = None
    """Version of the source that the files are from."""
    test: str | None = None
    """Name of the file that holds the test part, where that is a file of its own."""
    bundled: str | None = None
    """The installed library that brings the data along, so that no network is needed."""
    notes: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Size of all files together."""
        return sum(file.bytes for file in self.files)

    @property
    def roles(self) -> Mapping[str, Any]:
        """What the columns of the main file are."""
        return self.file(self.main).roles

    def file(self, name: str) -> File:
        """The file called ``name``; its last part is enough where only one file has it.

        Raises:
            InputError: there is no such file, or more than one.
        """
        found = [file for file in self.files if file.name == name]
        found = found or [file for file in self.files if file.name.rsplit("/", 1)[-1] == name]
        if len(found) == 1:
            return found[0]
        names = [file.name for file in (found or self.files)]
        raise InputError(
            f"data set {self.name} has {'more than one' if found else 'no'} file called {name!r}",
            fix=f"did you mean {nearest(name, names)}?",
        )


def _file(values: dict[str, Any]) -> File:
    roles = values.get("roles", {})
    values["roles"] = {name: tuple(value) if isinstance(value, list) else value for name, value in roles.items()}
    return File(**values)


def _dataset(name: str, entry: Mapping[str, Any]) -> Dataset:
    files = tuple(_file(file) for file in entry["files"])
    values: dict[str, Any] = {**entry, "name": name, "files": files, "notes": tuple(entry["notes"])}
    return Dataset(**values)


def _load() -> Mapping[str, Dataset]:
    entries = json.loads(resources.files("gatelab.data").joinpath("catalogue.json").read_text(encoding="utf-8"))
    return MappingProxyType({name: _dataset(name, entry) for name, entry in entries.items()})


DATASETS: Mapping[str, Dataset] = _load()
"""Every data set that gatelab knows, by name."""


def dataset(name: str) -> Dataset:
    """The data set called ``name``.

    Raises:
        InputError: there is none; the message has the nearest names.
    """
    if name not in DATASETS:
        raise InputError(
            f"there is no data set called {name!r}",
            fix=f"did you mean {nearest(name, DATASETS)}? `gatelab data list` shows all",
        )
    return DATASETS[name]
