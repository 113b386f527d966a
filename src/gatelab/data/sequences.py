"""Numeric sequences, each with a label: from tables, archives' files, folders of recordings, and arrays.

A sequence is a row of C numbers for each of its steps. Its length is its own; its channels are those of all others.

S sequences, T steps of one, C channels.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from gatelab.core.config import require
from gatelab.core.errors import DataError
from gatelab.core.printable import printable
from gatelab.data.label_types import LabelType
from gatelab.data.names import listed
from gatelab.data.ragged import Ragged, RaggedWriter
from gatelab.data.wording import counted

Array = np.ndarray


@dataclass(frozen=True)
class Layout:
    """How sequences lie in a table; what is not said is found by the names of its columns."""

    id: str | None = None
    """Column that says to which sequence a row belongs; none: a column called id, sequence or series."""
    label: str | None = None
    """Column of the classes; none: a column called label, class or target."""
    time: str | None = None
    """Column of numbers or dates by which the rows of each sequence must be in order; it is no channel."""
    channels: tuple[str, ...] = ()
    """Columns of the values; none: all columns that are left."""
    per_step: int | None = None
    """Where each row is a whole sequence: how many of its columns make a step; none: each row is a step."""
    gaps: bool = False
    """Take steps where a value is missing; no: they are refused, with the line."""

    def __post_init__(self) -> None:
        require(self.per_step is None or self.per_step >= 1, "per_step", "at least 1", self.per_step)


@dataclass(frozen=True, eq=False)
class Sequences:
    """S sequences of the same channels, in the units of their source."""

    values: Ragged  # (T_i, C) float64 each; NaN where a value is missing
    channels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, which: Array) -> Sequences:
        """Some of them, without a copy."""
        return Sequences(self.values[which], self.channels)

    def digest(self) -> str:
        """Text that tells these sequences from others."""
        return "\x1f".join([*self.channels, self.values.digest()])


@dataclass(frozen=True)
class Read:
    """What a source held."""

    sequences: Sequences
    labels: tuple[str, ...] | None
    """The class of each; None where the source has none."""
    names: tuple[str, ...]
    """What each is called: its id, or its number from 1."""
    places: tuple[str, ...]
    """Where each begins, such as ``"line 7 of my.csv"``."""
    notes: tuple[str, ...] = ()
    label_type: LabelType = "text"
    """What the labels were before they became names."""


def numbered_channels(count: int) -> tuple[str, ...]:
    """The names of channels that have none."""
    return tuple(f"channel {at + 1}" for at in range(count))


class Collector:
    """Takes sequences, or pieces of them, as they are read, and refuses what cannot be one.

    Args:
        gaps: whether a value may be missing.
        channels: their names; by default ``channel 1``, … as many as the first sequence has.
    """

    def __init__(self, gaps: bool, channels: Sequence[str] | None = None):
        self._gaps, self._channels = gaps, tuple(channels) if channels is not None else None
        self._writer: RaggedWriter | None = None
        self._numbers: dict[str, int] = {}  # of each name, in the order in which they came
        self._of = array("q")  # the sequence of each piece
        self._labels: list[str | None] = []
        self._places: list[str] = []

    def add(self, rows: Array, name: str | None, label: str | None, place: str) -> None:
        """A sequence ``(T, C)``, or what comes next of the one called ``name``.

        Args:
            rows: its steps; ``(T,)`` is one channel.
            name: its id; None: the next number.
            label: its class; None: not known.
            place: where it begins, for messages.

        Raises:
            DataError: no steps, other channels than the first, a value that is missing or infinite, a second label.
        """
        rows = rows[:, None] if rows.ndim == 1 else rows  # (T, C)
        self._check(rows, place)
        if self._writer is None:
            self._channels = self._channels or numbered_channels(rows.shape[1])
            self._writer = RaggedWriter(np.float64, (rows.shape[1],))
        name = str(len(self._numbers) + 1) if name is None else name
        number = self._numbers.setdefault(name, len(self._numbers))
        if number == len(self._labels):
            self._labels.append(label)
            self._places.append(place)
        elif self._labels[number] != label:
            raise DataError(
                f"{place}: sequence {printable(name)!r} has a second label",
                expected=f"{printable(self._labels[number])!r}, as {self._places[number]} says",
                got=repr(printable(label)),
                fix="give each sequence one label",
            )
        self._of.append(number)
        self._writer.append(rows)

    def _check(self, rows: Array, place: str) -> None:
        if rows.ndim != 2 or 0 in rows.shape:
            raise DataError(
                f"{place}: this sequence has no steps" if rows.ndim <= 2 else f"{place}: this is no sequence",
                expected="a row of numbers for each step, (T, C)",
                got=f"an array {rows.shape}",
                fix="remove it, or give its values",
            )
        if self._channels is not None and rows.shape[1] != len(self._channels):
            raise DataError(
                f"{place}: this sequence has other channels than the first",
                expected=f"{len(self._channels)} channels",
                got=f"{rows.shape[1]}",
                fix="give every sequence the same channels in the same order",
            )
        wrong = np.isinf(rows) if self._gaps else ~np.isfinite(rows)  # (T, C)
        if wrong.any():
            step, channel = (int(at) for at in np.argwhere(wrong)[0])
            value = rows[step, channel]
            called = self._channels[channel] if self._channels else f"channel {channel + 1}"
            raise DataError(
                f"{place}: a value of this sequence is {'missing' if np.isnan(value) else 'infinite'}",
                expected="a finite number",
                got=f"{value} in step {step + 1} of {printable(called)}",
                fix="fill it in, or take steps with missing values as they are with --gaps"
                if np.isnan(value)
                else "mend this value",
            )

    def finish(self, name: str, labelled: bool, notes: Sequence[str] = (), label_type: LabelType = "text") -> Read:
        """All sequences, the pieces of each put together.

        Args:
            name: of the source.
            labelled: whether every sequence must have a label.
            notes: what was decided while reading.
            label_type: what the labels were before they became names.

        Raises:
            DataError: no sequence at all, or one without a label that must have one.
        """
        if self._writer is None or self._channels is None:
            raise DataError(f"{name} holds no sequence", expected="at least one", fix="look at the file")
        without = [place for place, label in zip(self._places, self._labels, strict=True) if label is None]
        if labelled and without:
            raise DataError(
                f"{without[0]}: this sequence has no label",
                expected="the class of every sequence",
                got=f"{counted(len(without), 'sequence')} without one, of {len(self._labels):,}"
                + (f": {listed(without)}" if len(without) > 1 else ""),
                fix="name the column of the labels with --label, or give each sequence one",
            )
        labels = None if without else tuple(label for label in self._labels if label is not None)
        whole = joined(self._writer.finish(), np.array(self._of, np.int64))
        return Read(
            Sequences(whole, self._channels),
            labels,
            tuple(self._numbers),
            tuple(self._places),
            tuple(notes),
            label_type,
        )


def joined(pieces: Ragged, of: Array) -> Ragged:
    """Sequences from their pieces; a copy only where the pieces of a sequence do not lie together.

    Args:
        pieces: P of them.
        of: the number of the sequence of each, ``(P,)``; sequences are numbered in the order of their first pieces.

    >>> pieces = Ragged.of([[1], [2, 3], [4]], np.int64)
    >>> [rows.tolist() for rows in joined(pieces, np.array([0, 1, 0]))]
    [[1, 4], [2, 3]]
    """
    count = int(of.max(initial=-1)) + 1
    if count == len(pieces):
        return pieces
    if (np.diff(of) >= 0).all():
        first = np.searchsorted(of, np.arange(count))  # (S,)
        return pieces.regrouped(pieces.starts[first], np.add.reduceat(pieces.lengths, first))
    order = np.argsort(of, kind="stable")  # (P,)
    edges = np.searchsorted(of[order], np.arange(count + 1))  # (S + 1,)
    parts = (list(pieces[order[a:b]]) for a, b in pairwise(edges.tolist()))
    return Ragged.of((np.concatenate(part) for part in parts), pieces.values.dtype, pieces.values.shape[1:])


def read_sequences(source: Any, layout: Layout, labelled: bool = True) -> Read:
    """Sequences from a file, a data set, or Python objects.

    Args:
        source: the name of a data set, or a path:

            - a table with a row for each step (CSV, TSV, also ``.gz``; Parquet), or for each sequence, as ``layout``
              says; or a DataFrame of that kind;
            - ``.ts``, the format of the UCR and UEA archives;
            - ``.npy``: an array ``(S, T)`` or ``(S, T, C)``, without labels; ``.npz``: such an array ``X``, labels
              ``y``, and if sequences are of unequal length, ``lengths``;
            - a folder or ``.zip`` of tables, one for each sequence: see ``recordings``;
            - ``…-images-idx3-ubyte.gz``: pictures of MNIST's format, a row of pixels for each step;

            or in Python ``(X, y)`` or ``X``: an array ``(S, T)`` or ``(S, T, C)``, or a list of arrays ``(T_i,)`` or
            ``(T_i, C)``.
        layout: of a table; ``gaps`` of everything.
        labelled: whether labels are needed; without, they are read where they are there.

    Raises:
        InputError: no such source, or a column that is not there.
        DataError: it holds something else; the message names the line or the sequence.
    """
    # Each of these modules reads into this one's ``Collector``.
    from gatelab.data import sequence_arrays, sequence_files, sequence_tables

    if isinstance(source, str | os.PathLike):
        return sequence_files.read_file(source, layout, labelled)
    if hasattr(source, "columns"):
        return sequence_tables.read_frame(source, layout, labelled)
    return sequence_arrays.read_objects(source, layout, labelled)
