"""Which reader a file of sequences needs, and folders of recordings."""

from __future__ import annotations

import gzip
import os
import re
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from gatelab.core.errors import DataError, InputError
from gatelab.core.printable import printable
from gatelab.data.lines import Document, documents
from gatelab.data.sequence_arrays import read_numpy, read_pictures
from gatelab.data.sequence_tables import (
    blocks,
    channel_values,
    check_order,
    columns_of,
    read_document,
    read_frame,
    words,
)
from gatelab.data.sequences import Collector, Layout, Read
from gatelab.data.sources import fetch, named, resolve
from gatelab.data.ts_files import read_ts
from gatelab.data.unpacking import check_members

_PICTURES, _DIGITS = "-images-idx3-", "-labels-idx1-"


def read_file(source: str | os.PathLike[str], layout: Layout, labelled: bool) -> Read:
    """The sequences of a path or a data set: see ``sequences.read_sequences``."""
    path, known = resolve(source), named(source)
    layout = _with_hints(layout, known[1].sequences if known else {})
    if path.is_dir():
        return read_recordings(path, layout, labelled)
    head = _head(path)
    if head[:4] == b"PK\x03\x04":
        if path.suffix.lower() == ".npz":
            return read_numpy(path, layout, labelled)
        members = documents(path, suffix="")
        return read_recordings(path, layout, labelled) if len(members) > 1 else _read_text(members[0], layout, labelled)
    if head[:6] == b"\x93NUMPY":
        return read_numpy(path, layout, labelled)
    if head[:3] == b"\0\0\x08":
        return read_pictures(path, _labels_of(path, known), layout, labelled)
    if head[:4] == b"PAR1":
        return read_frame(path, layout, labelled)
    return _read_text(Document(path.name, path), layout, labelled)


def _with_hints(layout: Layout, hints: Any) -> Layout:
    """What the catalogue knows of a table, where ``layout`` says nothing."""
    usual = Layout()
    return replace(layout, **{name: v for name, v in hints.items() if getattr(layout, name) == getattr(usual, name)})


def _head(path: Path) -> bytes:
    """The first bytes, unpacked."""
    try:
        with open(path, "rb") as file:
            head = file.read(512)
        if head[:2] == b"\x1f\x8b":
            with gzip.open(path, "rb") as file:
                return file.read(512)
    except EOFError as error:
        raise DataError(f"{path.name} cannot be unpacked: it may have been cut short", got=error) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read", got=error.strerror or error) from error
    return head


def _labels_of(path: Path, known: Any) -> Path | None:
    """The file of labels that belongs to a file of pictures."""
    name = path.name.replace(_PICTURES, _DIGITS)
    if name == path.name:
        return None
    if known is not None:
        return fetch(known[0], known[0].file(name))
    beside = path.with_name(name)
    return beside if beside.is_file() else None


def _read_text(document: Document, layout: Layout, labelled: bool) -> Read:
    """A ``.ts`` file is known by its header, a table by everything else."""
    first = next((line for line in document.lines() if line.strip() and line[0] not in "#%"), "")
    read = read_ts if first.startswith("@") or document.name.lower().endswith(".ts") else read_document
    return read(document, layout, labelled)


# ---- folders and archives of recordings -----------------------------------------------------------------------------


def read_recordings(path: Path, layout: Layout, labelled: bool) -> Read:
    """A folder or archive with a table (``.csv``) for each sequence, a row for each step.

    The label of a recording stands in a table whose name has "target" or "label" in it, beside the recordings: its
    first column has the number or name at the end of a recording's name, its second the label. Without such a table
    the label is the name of the recording's folder.

    Raises:
        InputError: no recordings.
        DataError: a recording without a label, or what a table is refused for.
    """
    if path.is_dir():
        return _read_folder(path, path.name, layout, labelled)
    with tempfile.TemporaryDirectory(prefix="gatelab-") as folder:  # an archive's list is read anew for every member
        try:
            with zipfile.ZipFile(path) as archive:
                wanted = [name for name in archive.namelist() if "__MACOSX" not in name]
                check_members(archive, wanted, path.stat().st_size, path.name)
                archive.extractall(folder, wanted)
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, zlib.error) as error:
            raise DataError(f"{path.name} cannot be unpacked", got=error, fix="unpack it by hand") from error
        return _read_folder(Path(folder), path.name, layout, labelled)


def _read_folder(path: Path, name: str, layout: Layout, labelled: bool) -> Read:
    try:
        found = documents(path, suffix=".csv")
    except InputError as error:
        raise error.naming(str(path), name) from None
    tables = [entry for entry in found if re.search("target|label", PurePosixPath(entry.name).stem, re.IGNORECASE)]
    if len(tables) > 1:
        raise InputError(
            f"{name} has more than one table of labels",
            got=", ".join(printable(entry.name) for entry in tables[:8]),
            fix="leave one of them, or call the others otherwise",
        )
    recordings, labels, notes = _by_table(found, tables[0]) if tables else _by_folder(found)
    collector: Collector | None = None
    for document, label in zip(recordings, labels, strict=True):
        clock: dict[str, float] = {}
        for raw in blocks(document):
            columns = columns_of(raw, replace(layout, id=None, label=None, per_step=1), labelled=False)
            if columns.time is not None:
                check_order(raw, columns.time, None, clock)
            collector = collector or Collector(layout.gaps, columns.channels)
            collector.add(channel_values(raw, columns.channels, layout.gaps), document.name, label, document.name)
    if collector is None:
        raise DataError(f"{name} holds no recording with a row", expected="tables with a row for each step")
    return collector.finish(name, labelled, notes)


def _by_folder(found: Sequence[Document]) -> tuple[list[Document], list[str | None], list[str]]:
    labels = [PurePosixPath(Path(entry.name).as_posix()).parent.name or None for entry in found]
    return list(found), labels, ["the label of each recording is the name of its folder"]


def _by_table(found: Sequence[Document], table: Document) -> tuple[list[Document], list[str | None], list[str]]:
    """The recordings beside the table of labels, in its order."""
    labels = _label_table(table)
    folder = PurePosixPath(table.name).parent
    beside = {entry.name: entry for entry in found if PurePosixPath(entry.name).parent == folder and entry is not table}
    by_key: dict[str, Document] = {}
    for entry in beside.values():
        stem = PurePosixPath(entry.name).stem
        by_key.setdefault(stem, entry)
        by_key.setdefault(re.split(r"[_\- ]", stem)[-1], entry)
    if missing := [key for key in labels if key not in by_key]:
        raise DataError(
            f"{printable(table.name)} has a label for {printable(missing[0])!r}, of which there is no recording",
            expected=f"a file whose name ends in {printable(missing[0])}.csv in {folder}",
            got=f"{len(missing):,} such labels of {len(labels):,}",
            fix="remove the row, or add the recording",
        )
    others = len(found) - 1 - len(labels)
    notes = [f"labels from {table.name}"] + ([f"tables without a label left out: {others}"] if others else [])
    return [by_key[key] for key in labels], list(labels.values()), notes


def _label_table(table: Document) -> dict[str, str | None]:
    labels: dict[str, str | None] = {}
    for raw in blocks(table):
        if len(raw.frame.columns) < 2:
            raise DataError(f"{table.name} has one column", expected="two: the recording, and its label")
        keys, values = (words(raw, str(name)).tolist() for name in raw.frame.columns[:2])
        for row, (key, value) in enumerate(zip(keys, values, strict=True)):
            if key is None or value is None or key in labels:
                what = "names a recording a second time" if key in labels else "lacks a recording or its label"
                raise DataError(f"{raw.where(row)} of {table.name} {what}", fix="mend or remove that line")
            labels[key] = value
    return labels
