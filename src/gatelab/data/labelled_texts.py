"""Texts with or without labels, from whatever people keep them in, read one at a time."""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import PurePath
from typing import Any, NamedTuple

import pandas as pd

from gatelab.core.errors import DataError, InputError, nearest
from gatelab.data.label_types import LabelNames, LabelType
from gatelab.data.lines import Document, documents
from gatelab.data.records import delimiter_of, records
from gatelab.data.texts import Texts

_TEXT_NAMES = ("text", "sentence", "review", "content", "document", "comment", "message", "tweet", "body", "phrase")
_LABEL_NAMES = ("label", "class", "category", "sentiment", "target", "intent", "topic", "tag", "polarity", "rating")
_TABLES, _JSON = (".csv", ".tsv", ".tab"), (".jsonl", ".ndjson")
_NO_DATA = ("readme", "license", "licence", "notice", "copying", "changelog", ".")
_PREFIX = "__label__"  # as in the files of fastText
_KINDS = (
    ".csv, .tsv or .jsonl with a column of texts and one of labels; a folder or .zip with a folder or file a class; "
    f"a file of lines that each begin with {_PREFIX}NAME"
)


class Item(NamedTuple):
    """One text."""

    text: str
    label: Any
    """As it was given; None where there is none."""
    file: str
    line: int
    """Where it begins, from 1; 0 where it is a file of its own."""


@dataclass(frozen=True)
class LabelledTexts:
    """Texts as they were read."""

    texts: Texts
    labels: list[str | None]
    notes: list[str]
    files: list[str]
    """Names of the files."""
    file_of: Sequence[int]
    """Which file each text stands in."""
    line_of: Sequence[int]
    """And in which line, from 1."""
    label_type: LabelType = "text"
    """What the labels were before they became names."""

    def place(self, number: int) -> str:
        """Where text ``number``, from 1, stands, such as ``"my.csv, line 7"``."""
        file, line = self.files[self.file_of[number - 1]], self.line_of[number - 1]
        return f"{file}, line {line}" if line else file


def read_texts(
    source: Any,
    *,
    text: str | None = None,
    label: str | None = None,
    encoding: str | None = None,
    labelled: bool = True,
) -> LabelledTexts:
    """The texts of a source, and their labels if it has them.

    Args:
        source: a path or the name of a data set: a table (``.csv``, ``.tsv``), ``.jsonl``, both also ``.gz``; a folder
            or ``.zip`` with a folder of files a class, or a file a class with a text in each line; a file of lines,
            each beginning with ``__label__NAME`` or without labels. Or, in Python, a ``DataFrame``, a sequence of
            texts, or a pair of sequences, texts and labels.
        text: the column, or key, of the texts; none: found by its name.
        label: the column, or key, of the labels; none: found by its name.
        encoding: of the files; none: as the catalogue says of a known data set, else UTF-8.
        labelled: whether every text must have a label; a label that is there is read either way.

    Raises:
        InputError: no such source, column or key.
        DataError: no texts, bytes that are no text, a row that is damaged or has no label; the message names its line.
    """
    if isinstance(source, (str, os.PathLike)):
        items, notes, name = *_items(source, text, label, encoding, labelled), str(source)
    else:
        items, notes, name = _given(source, text, label, labelled), [], "the texts"
    return _collected(items, notes, name, labelled)


def _collected(items: Iterator[Item], notes: list[str], name: str, labelled: bool) -> LabelledTexts:
    labels = LabelNames("text")
    files: dict[str, int] = {}
    file_of, line_of = array("l"), array("q")

    def texts() -> Iterator[str]:
        for item in items:
            labels.add(item.label, f"{item.file}, line {item.line}" if item.line else item.file)
            file_of.append(files.setdefault(item.file, len(files)))
            line_of.append(item.line)
            yield item.text

    read = Texts.of(texts())
    if not len(read):
        raise DataError(f"{name} holds no texts", expected=_KINDS, fix="look at the file")
    names, kind = labels.finish(
        labelled, expected=_KINDS, fix="give every text a label, and name the column of the labels with --label"
    )
    return LabelledTexts(read, names, notes, list(files), file_of, line_of, kind)


# ---- from Python ----------------------------------------------------------------------------------------------------


def _given(source: Any, text: str | None, label: str | None, labelled: bool) -> Iterator[Item]:
    if isinstance(source, pd.DataFrame):
        columns = [str(column) for column in source.columns]
        rows = source.itertuples(index=False, name=None)
        head = [list(row) for row in source.head(_LOOKED_AT).itertuples(index=False, name=None)]
        at = _columns(columns, head, text, label, labelled, "the table")
        return _frame_items(rows, at)
    if isinstance(source, tuple) and len(source) == 2 and not isinstance(source[0], str):
        return _pairs(*source)
    if isinstance(source, Sequence) or hasattr(source, "__array__"):
        return _pairs(source, [None] * len(source))
    raise InputError(
        "these are no texts", expected="a path, a DataFrame, texts, or (texts, labels)", got=type(source).__name__,
        fix="give a list of str",
    )  # fmt: skip


def _frame_items(rows: Iterator[tuple[Any, ...]], at: _Columns) -> Iterator[Item]:
    for number, row in enumerate(rows, 1):
        label = None if at.label is None else row[at.label]
        yield Item(_text(row[at.text], "the table", number), label, "the table", number)


def _pairs(texts: Sequence[Any], labels: Sequence[Any]) -> Iterator[Item]:
    if len(texts) != len(labels):
        raise InputError(
            "there are not as many labels as texts", expected=len(texts), got=len(labels), fix="check both"
        )
    for number, (text, label) in enumerate(zip(texts, labels, strict=True), 1):
        yield Item(_text(text, "the texts", number), label, "the texts", number)


def _text(value: Any, file: str, line: int) -> str:
    if not isinstance(value, str):
        raise DataError(
            f"{file}, line {line}: this is no text",
            expected="str",
            got=repr(value)[:60],
            fix="name another column with --text",
        )
    return value


# ---- from files -----------------------------------------------------------------------------------------------------


def _items(
    source: str | os.PathLike[str], text: str | None, label: str | None, encoding: str | None, labelled: bool
) -> tuple[Iterator[Item], list[str]]:
    """The texts of a path or data set, one by one, and how they are read."""
    found = [file for file in documents(source, encoding, suffix="") if not _is_no_data(file.name)]
    if not found:
        raise InputError(f"{source} holds no files of texts", expected=_KINDS, fix="name another file or folder")
    alone = found[0]
    kind = PurePath(alone.name.removesuffix(".gz")).suffix.lower()
    if len(found) > 1 or PurePath(alone.name).parent != PurePath("."):
        return _by_class(found)
    if kind in _TABLES:
        return _table(alone, text, label, labelled)
    if kind in _JSON or next(alone.lines(), "").startswith("{"):
        return _json(alone, text, label), []
    if labelled and _is_table(alone):
        items, notes = _table(alone, text, label, labelled)
        return items, [f"{alone.name} is read as a table with tabs", *notes]
    return _lines(alone), []


def _is_no_data(name: str) -> bool:
    return PurePath(name).name.lower().startswith(_NO_DATA)


def _by_class(files: list[Document]) -> tuple[Iterator[Item], list[str]]:
    """Folders of files, a text each; or files of lines, a text each."""
    folders = {PurePath(file.name).parent for file in files}
    if len(folders) > 1:
        return _whole(files), [f"labels: the names of {len({folder.name for folder in folders})} folders"]
    endings = {PurePath(file.name).suffix for file in files}
    by_ending = len(endings) == len(files) and len(files) > 1
    names = [PurePath(file.name).suffix[1:] if by_ending else PurePath(file.name).stem for file in files]
    notes = [f"labels: the {'endings' if by_ending else 'names'} of {len(files)} files, of which each line is a text"]
    return (item for file, name in zip(files, names, strict=True) for item in _lines(file, name)), notes


def _whole(files: list[Document]) -> Iterator[Item]:
    for file in files:
        yield Item("\n".join(file.lines()), PurePath(file.name).parent.name, file.name, 0)


def _lines(file: Document, label: str | None = None) -> Iterator[Item]:
    """A text in each line; in a file with the labels of its lines, empty lines are none."""
    for number, line in enumerate(file.lines(), 1):
        if label is None and line.startswith(_PREFIX):
            name, _, rest = line.removeprefix(_PREFIX).partition(" ")
            yield Item(rest, name, file.name, number)
        elif label is None or line.strip():
            yield Item(line, label, file.name, number)


def _json(file: Document, text: str | None, label: str | None) -> Iterator[Item]:
    """An object in each line."""
    for number, line in enumerate(file.lines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{file.name}, line {number} is no JSON", got=error, fix="one object a line") from error
        if not isinstance(row, dict):
            raise DataError(f"{file.name}, line {number} is no object", got=line[:60], fix='such as {"text": "…"}')
        key, name = _key(row, text, _TEXT_NAMES), _key(row, label, _LABEL_NAMES)
        if key is None or (label is not None and name is None):
            missing = text or "text" if key is None else label
            raise DataError(
                f"{file.name}, line {number} has no key {missing!r}", got=", ".join(map(str, row))[:80],
                fix=f"name the key with --{'text' if key is None else 'label'}",
            )  # fmt: skip
        if isinstance(row[key], str):
            yield Item(row[key], None if name is None else row[name], file.name, number)
        else:
            _text(row[key], file.name, number)


def _key(row: dict[str, Any], asked: str | None, usual: Sequence[str]) -> str | None:
    if asked is not None:
        return asked if asked in row else None
    return next((key for key in row if key.lower() in usual), None)


# ---- tables ---------------------------------------------------------------------------------------------------------

_LOOKED_AT = 200  # rows from which it is found what the columns are
_SENTENCE = 5  # words that are too many for the name of a column


class _Columns(NamedTuple):
    text: int
    label: int | None


def _is_table(file: Document) -> bool:
    """Whether a file of another name is a table with tabs in which one column looks like labels."""
    head = [line.split("\t") for line in islice(file.lines(), _LOOKED_AT) if line]
    alike = len({len(row) for row in head}) == 1 and len(head[0]) > 1 if head else False
    return alike and bool(_like_labels(head)) and not head[0][0].startswith(_PREFIX)


def _table(file: Document, text: str | None, label: str | None, labelled: bool) -> tuple[Iterator[Item], list[str]]:
    """A row for each text, with a header or without."""
    first = next(file.lines(), "")
    tabs = PurePath(file.name.removesuffix(".gz")).suffix.lower() != ".csv"
    delimiter = "\t" if tabs else delimiter_of(first)
    head = [record.cells for record in islice(records(file.lines(), file.name, delimiter), _LOOKED_AT)]
    if not head:
        raise DataError(f"{file.name} has no rows", expected=_KINDS, got=first[:60], fix="give some")
    alike = [row for row in head if len(row) == len(head[0])]
    header = text in head[0] or label in head[0] or _is_header(alike)
    names = head[0] if header else [f"col_{at}" for at in range(len(head[0]))]
    rows = alike[header:]
    if not rows:
        raise DataError(f"{file.name} has no rows under its header", expected=_KINDS, got=first[:60], fix="give some")
    at = _columns(names, rows, text, label, labelled, file.name)
    notes = [] if header else [f"no header: the first row is a text like the others, columns are {', '.join(names)}"]
    notes.append(f"text: column {names[at.text]!r}")
    if at.label is not None:
        notes.append(f"labels: column {names[at.label]!r}")
    return _rows(file, delimiter, at, header), notes


def _is_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first of ``rows``, as long as each other, has the names of the columns.

    It has none where its label is one of the labels below it, or where a cell is a sentence.
    """
    first = [cell.strip().lower() for cell in rows[0]]
    if any(cell in (*_TEXT_NAMES, *_LABEL_NAMES) for cell in first):
        return True
    if any(rows[0][at].strip() in found for at, found in _like_labels(rows[1:]).items()):
        return False
    return not any(len(cell.split()) >= _SENTENCE for cell in first)


def _like_labels(rows: Sequence[Sequence[str]]) -> dict[int, set[str]]:
    """The columns of ``rows`` with few different values, each several times, and these values."""
    columns = {at: [row[at].strip() for row in rows] for at in range(len(rows[0]))} if rows else {}
    found = {at: set(cells) for at, cells in columns.items()}
    return {at: values for at, values in found.items() if 2 <= len(values) <= len(rows) / 2 and "" not in values}


def _rows(file: Document, delimiter: str, at: _Columns, header: bool) -> Iterator[Item]:
    rows = records(file.lines(), file.name, delimiter)
    first = next(rows)
    width = len(first.cells)
    for line, cells in rows if header else chain([first], rows):
        if len(cells) != width:
            raise DataError(
                f"{file.name}, line {line} has another number of cells than the {'header' if header else 'first row'}",
                expected=width, got=len(cells),
                fix="put quotes around a cell with a delimiter in it, or mend the row",
            )  # fmt: skip
        yield Item(cells[at.text], None if at.label is None else cells[at.label].strip(), file.name, line)


def _columns(
    names: Sequence[str], rows: Sequence[Sequence[Any]], text: str | None, label: str | None, labelled: bool, name: str
) -> _Columns:
    """Which columns are texts and labels: as asked, else by their names, else by what stands in them."""
    for asked in (text, label):
        if asked is not None and asked not in names:
            raise InputError(
                f"{name} has no column {asked!r}",
                expected=", ".join(names),
                fix=f"did you mean {nearest(asked, names)}?",
            )
    left = [at for at, column in enumerate(names) if column not in (text, label)]
    text_at = names.index(text) if text is not None else _named(names, left, _TEXT_NAMES)
    label_at = names.index(label) if label is not None else _named(names, left, _LABEL_NAMES)
    if text_at is None:
        # Texts differ from each other more than anything else does, and are longest.
        text_at = max((at for at in left if at != label_at), key=lambda at: _length(rows, at), default=None)
    if label_at is None and labelled:
        others = [at for at in left if at != text_at]
        label_at = others[0] if len(others) == 1 else None
    if text_at is None or (labelled and label_at is None):
        what = "texts" if text_at is None else "labels"
        raise InputError(
            f"which column of {name} holds the {what} is not clear", got=", ".join(names),
            fix=f"name it with --{what[:-1]}",
        )  # fmt: skip
    return _Columns(text_at, label_at)


def _named(names: Sequence[str], left: Sequence[int], usual: Sequence[str]) -> int | None:
    return next((at for at in left if names[at].strip().lower() in usual), None)


def _length(rows: Sequence[Sequence[Any]], at: int) -> float:
    return sum(len(str(row[at])) for row in rows) / max(len(rows), 1)
