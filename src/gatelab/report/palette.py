"""Colours by name, each for a light and a dark page.

The series colours are the Okabe–Ito set, which stays apart under the common colour blindnesses (Okabe & Ito 2008,
"Color Universal Design"), darkened for a light page and lightened for a dark one until text in them reaches WCAG 2.2
contrast AA. Well-known names have one colour everywhere; baselines are grey and told apart by dash and marker.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from gatelab.core.errors import InputError, nearest


class Shade(NamedTuple):
    """One colour on a light and on a dark page."""

    light: str
    dark: str


PALETTE: dict[str, Shade] = {
    # the page
    "paper": Shade("#fcfcfa", "#14171b"),
    "card": Shade("#f3f4f1", "#1d2126"),
    "ink": Shade("#1d2125", "#e7e9ea"),
    "muted": Shade("#565d64", "#a3abb3"),
    "rule": Shade("#d9dcd8", "#343a41"),
    "accent": Shade("#00619d", "#66b8ee"),
    "mark": Shade("#e4eff6", "#1b3040"),
    # the series
    "truth": Shade("#2b3036", "#dcdfe2"),
    "rnn": Shade("#b54a04", "#f58d4e"),
    "lstm": Shade("#0066a6", "#58b1ef"),
    "gru": Shade("#00795b", "#35c79b"),
    "violet": Shade("#97447f", "#dd8fc6"),
    "ochre": Shade("#80660a", "#dcc14a"),
    "sky": Shade("#1a748f", "#7fd3ee"),
    "rose": Shade("#b3324f", "#ff8fa3"),
    "stone": Shade("#5b5348", "#c2b8a8"),
    "grey": Shade("#6b7178", "#979ea6"),
}

CYCLE = ("violet", "ochre", "sky", "rose", "stone", "lstm", "gru", "rnn")
"""Colours of names that are not well known, in order of appearance; those of the cells come last."""

_DASHES: tuple[Any, ...] = (
    (0, (6, 2.5)),
    (0, (1.2, 1.8)),
    (0, (6, 2, 1.2, 2)),
    (0, (2.6, 1.6)),
    (0, (11, 3)),
    (0, (5, 1.6, 1, 1.6, 1, 1.6)),
    (0, (8, 1.6, 2.6, 1.6)),
)
_MARKERS = ("D", "v", "<", "s", "P", "X", "^", ">", "o")

BASELINES = {
    "last value": 0,
    "naive": 0,
    "seasonal naive": 1,
    "drift": 2,
    "linear": 3,
    "linear autoregression": 3,
    "linear + known ahead": 6,
    "ets": 4,
    "arima": 5,
    "mean": 4,
    "majority": 4,
    "chance": 5,
}
"""Names drawn in grey, with the place of their dash and marker."""


@dataclass(frozen=True)
class Style:
    """How a name is drawn."""

    colour: str
    dash: Any = "-"
    """A line style as matplotlib takes it."""
    marker: str = "o"


def light(name: str) -> str:
    """The light shade of a palette colour: what the drawing library is given, and what stands in for the name."""
    if name not in PALETTE:
        raise InputError(f"the palette has no colour {name!r}", fix=f"did you mean {nearest(name, PALETTE)}?")
    return PALETTE[name].light


def well_known(name: str) -> Style | None:
    """The style of a name that has one: a cell, also as "LSTM 32" or "lstm, seed 3", the truth or a baseline."""
    folded = name.casefold().strip()
    if cell := re.search(r"(?<![a-z0-9])(rnn|lstm|gru)(?![a-z0-9])", folded):
        return Style(cell[1], marker={"rnn": "^", "lstm": "s", "gru": "o"}[cell[1]])
    if re.match(r"(truth|observed|actual)\b", folded):
        return Style("truth")
    stem = re.split(r"\s*[(,:]", folded.removeprefix("baseline").lstrip(" :"))[0]
    if stem in BASELINES:
        return Style("grey", _DASHES[BASELINES[stem]], _MARKERS[BASELINES[stem]])
    return Style("grey", _DASHES[0], _MARKERS[0]) if folded.startswith("baseline") else None


def styles(names: list[str]) -> list[Style]:
    """One style a name: the fixed one where it is well known, the next of the cycle where not."""
    found = [well_known(name) for name in names]
    taken = {style.colour for style in found if style}
    free = [colour for colour in CYCLE if colour not in taken] or list(CYCLE)
    unknown = iter(range(len(names)))
    return _told_apart([style or _cycled(next(unknown), free) for style in found])


def _told_apart(found: list[Style]) -> list[Style]:
    """Names that share a colour and a dash, such as one baseline at two seasons, get other dashes and markers."""
    seen: set[Style] = set()
    for at, style in enumerate(found):
        turns = 0
        while style in seen and turns < len(_DASHES):
            style = Style(style.colour, _DASHES[turns], _MARKERS[turns])
            turns += 1
        seen.add(style)
        found[at] = style
    return found


def _cycled(place: int, free: list[str]) -> Style:
    """The next colour; once all are used, the same colours again with another dash."""
    turn, at = divmod(place, len(free))
    dash = "-" if turn == 0 else _DASHES[(turn - 1) % len(_DASHES)]
    return Style(free[at], dash, _MARKERS[-1 - place % len(_MARKERS)])


def css() -> str:
    """The palette as CSS variables, light by default and dark where the reader asks for it."""
    bright = ";".join(f"--{name}:{shade.light}" for name, shade in PALETTE.items())
    dim = ";".join(f"--{name}:{shade.dark}" for name, shade in PALETTE.items())
    return f":root{{{bright}}}\n@media (prefers-color-scheme:dark){{:root{{{dim}}}}}\n@media print{{:root{{{bright}}}}}"
