"""The names of the classes, and how items are divided so that every part has its share of each."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gatelab.core.config import check_fields
from gatelab.core.errors import DataError, InputError, nearest
from gatelab.core.random import generator
from gatelab.core.task import Part
from gatelab.data.label_types import LabelType, typed
from gatelab.data.names import known_as
from gatelab.report.text import label as one_line

Array = np.ndarray
PARTS: tuple[Part, ...] = ("train", "validation", "test")
_SHOWN = 12


@dataclass(frozen=True)
class Labels:
    """K names, and how many items of the training part have each."""

    names: tuple[str, ...]
    """In order: as numbers where all are numbers, else as text."""
    counts: tuple[int, ...]
    type: LabelType = "text"
    """What they were before they became names."""

    @classmethod
    def of(cls, values: Sequence[str], type: LabelType = "text") -> Labels:
        """The names that occur among the labels of the training part, which were of ``type``.

        Raises:
            DataError: all items have the same label.
        """
        counted = Counter(values)
        names = sorted(counted, key=_order(counted))
        if len(names) < 2:
            raise DataError(
                "there is only one class: there is nothing to tell apart",
                expected="items of two classes or more",
                got=f"{len(values):,} items, each {one_line(names[0])!r}" if names else "no items",
                fix="name the column of the labels with --label, or give items of another class too",
            )
        return cls(tuple(names), tuple(counted[name] for name in names), type)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def values(self) -> list[Any]:
        """The labels as they were given, in the order of the names."""
        return typed(self.names, self.type)

    @property
    def shares(self) -> Array:
        """How often each class occurs in training, ``(K,)``."""
        return np.array(self.counts) / sum(self.counts)

    def weights(self, balanced: bool) -> Array:
        """What an item of each class counts in the loss, ``(K,)``; balanced: N / (K · N_k), else 1."""
        return 1 / (len(self) * self.shares) if balanced else np.ones(len(self))

    def encode(self, values: Sequence[str], place: Callable[[int], str] = "item {}".format) -> Array:
        """The class of each item, ``(N,)`` int64; ``place`` says where the item of a number from 1 on stands.

        Raises:
            DataError: a label that no item had in training.
        """
        at = {name: at for at, name in enumerate(self.names)}
        known = {name: at[other] for name, other in known_as(dict.fromkeys(values), self.names).items()}
        found = np.array([known.get(value, -1) for value in values], np.int64)  # (N,)
        if (found < 0).any():
            first = int(np.flatnonzero(found < 0)[0])
            unseen = {value for value in values if value not in known}
            raise DataError(
                f"{place(first + 1)} has a label that was not there in training: {one_line(values[first])!r}",
                expected=f"one of {self.said()}",
                got=f"{(found < 0).sum():,} such items, of {len(unseen):,} unseen classes",
                fix=f"did you mean {nearest(values[first], self.names)}? Else train again with such items",
            )
        return found

    def said(self) -> str:
        """The names in one line, the first dozen of them."""
        more = f", … ({len(self):,} in all)" if len(self) > _SHOWN else ""
        return ", ".join(one_line(name, 40) for name in self.names[:_SHOWN]) + more

    def state(self) -> dict[str, Any]:
        """As plain JSON values."""
        state: dict[str, Any] = {"names": list(self.names), "counts": list(self.counts)}
        return state if self.type == "text" else {**state, "type": self.type}

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Labels:
        """What ``state`` described."""
        labels = check_fields(cls(tuple(state["names"]), tuple(state["counts"]), state.get("type", "text")))
        if len(labels.names) != len(labels.counts) or len(labels.values) < 2:
            raise InputError(
                "names and counts of the classes do not fit", got=f"{labels.names[:5]}, {labels.counts[:5]}"
            )
        return labels


def _order(names: Mapping[str, int]) -> Any:
    """The key by which names are sorted."""
    try:
        numbers = {name: float(name) for name in names}
    except ValueError:
        numbers = {}
    finite = numbers and all(map(math.isfinite, numbers.values()))
    return (lambda name: (numbers[name], name)) if finite else (lambda name: name)


_ENOUGH = 20  # items from which it can be told


def refuse_measurements(labels: Sequence[str]) -> None:
    """Refuses what is no label but a measurement, a date or a text: nearly every item has another one.

    Raises:
        DataError: naming what the column may be instead.
    """
    different = set(labels)
    if len(labels) < _ENOUGH:
        return
    numbers = all(number is not None for number in map(_number, different))
    if len(different) > len(labels) * (0.5 if numbers else 0.8):
        raise DataError(
            f"these are no labels: {len(different):,} different ones in {len(labels):,} items",
            expected="few classes, each of several items",
            got=", ".join(one_line(value, 20) for value in list(dict.fromkeys(labels))[:4]) + ", …",
            fix="name the column of the labels with --label; numbers over time are for gatelab fit forecasting",
        )


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def divide(labels: Sequence[str], shares: Sequence[float], draw: int = 0) -> dict[Part, Array]:
    """Items drawn at random for each part, class by class, so that every part has its share of each.

    Of a class of few items the training part gets the first.

    Args:
        labels: of all items (N).
        shares: of train, validation and test; two numbers leave the test part empty.
        draw: number of the division; the same number always divides alike.

    Returns:
        Indices of each part, rising.
    """
    edges = np.cumsum(shares) / sum(shares)  # (parts,)
    found: list[list[Array]] = [[] for _ in PARTS]
    rng = generator(draw, "classification", "parts")
    classes, which = np.unique(np.array(labels, dtype=object), return_inverse=True)
    for at in range(len(classes)):
        items = rng.permutation(np.flatnonzero(which == at))
        cuts = np.maximum(np.round(edges[:-1] * len(items)).astype(int), 1)
        for part, chosen in zip(found, np.split(items, cuts), strict=False):
            part.append(chosen)
    none = np.empty(0, np.int64)
    return {part: np.sort(np.concatenate([none, *chosen])) for part, chosen in zip(PARTS, found, strict=True)}
