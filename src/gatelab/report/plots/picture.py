"""Pictures as files of their own, for a slide or a letter: PNG, or SVG that needs no page around it."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

from gatelab.core.errors import InputError
from gatelab.core.files import write_bytes
from gatelab.report.palette import light
from gatelab.report.plots.drawing import WIDE, Canvas, theme
from gatelab.report.plots.lines import Panel, panel_drawer, panels

KINDS = (".png", ".svg")
"""Kinds of files that a picture can be."""
_WIDER = Canvas("wide", 1080, 148)
_MARGIN, _SHARPNESS = 12, 2
"""CSS pixels around the plots, and pixels of a PNG to one of them: sharp on today's screens, and on paper."""


@dataclass(frozen=True)
class Picture:
    """Plots in a grid: shown in a page or a notebook as ``panels`` does it, or saved as a file."""

    parts: Sequence[Panel]
    columns: int = 1
    height: float = 300
    """Of each plot, in CSS pixels."""

    def _repr_svg_(self) -> str:
        """The picture as a notebook shows it."""
        return panels(self.parts, self.columns, height=self.height)

    def save(self, file: str | os.PathLike[str]) -> Path:
        """Writes a ``.png`` or a ``.svg``, on white, with the same bytes for the same picture.

        Raises:
            InputError: another kind of name, nothing to draw, or a place that cannot be written to.
        """
        path = require_kind(file)
        draw = panel_drawer(self.parts, self.columns, self.height)
        buffer = io.BytesIO()
        # Letters of an SVG are outlines: a file of its own comes to machines with other fonts, or with none.
        with theme(), matplotlib.rc_context({"svg.fonttype": "path", "axes.facecolor": "none"}):
            figure = draw(_WIDER if self.columns > 2 else WIDE)
            kind = path.suffix.lower()[1:]
            nothing = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
            look: dict[str, Any] = {"facecolor": light("paper"), "bbox_inches": "tight", "pad_inches": _MARGIN / 72}
            figure.savefig(buffer, format=kind, dpi=72 * _SHARPNESS, metadata=nothing, **look)
        write_bytes(path, buffer.getvalue())
        return path


def require_kind(file: str | os.PathLike[str], option: str = "the picture") -> Path:
    """The path of a picture to be.

    Raises:
        InputError: its name says no kind of file that a picture can be.
    """
    path = Path(file)
    if path.suffix.lower() not in KINDS:
        raise InputError(
            f"{option} {file} names no kind of picture", expected=f"a name that ends in {' or '.join(KINDS)}"
        )
    return path
