"""From a matplotlib figure to inline SVG that takes on the page's font, colours and width.

A chart is drawn twice, for a wide page and for a phone, so that its text is readable on both; both lie in one
``<svg>``, and the page's style sheet shows one of them. Shown alone, the wide one shows.
"""

from __future__ import annotations

import hashlib
import io
import re
import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import matplotlib
import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gatelab.report.palette import PALETTE, light
from gatelab.report.svg import prefix_ids
from gatelab.report.text import label

TEXT = 12.5
"""Size of text in units of the view box, which are about CSS pixels."""


@dataclass(frozen=True)
class Canvas:
    """The width a chart is drawn for, in CSS pixels."""

    name: str
    width: int
    columns: int
    """Characters of text that fit beside one another over the whole width."""

    @property
    def narrow(self) -> bool:
        """Whether this is the phone's."""
        return self.name == "narrow"

    def figure(self, height: float) -> Figure:
        """An empty figure ``height`` pixels high, 72 units an inch, so that a point is a pixel."""
        return Figure(figsize=(self.width / 72, height / 72), dpi=72, layout="constrained")


WIDE = Canvas("wide", 760, 104)
SQUARE = Canvas("wide", 470, 64)
"""For what would be stretched over the whole width."""
NARROW = Canvas("narrow", 350, 46)

THEME: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "gatelab",
    "text.parse_math": False,
    "text.usetex": False,
    "axes.unicode_minus": True,
    "font.family": "DejaVu Sans",
    "font.size": TEXT,
    "axes.labelsize": TEXT,
    "xtick.labelsize": TEXT - 0.5,
    "ytick.labelsize": TEXT - 0.5,
    "legend.fontsize": TEXT,
    "axes.titlesize": TEXT + 1,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-4, 6),
    "axes.xmargin": 0.01,
    "grid.linewidth": 1,
    "xtick.major.size": 4,
    "ytick.major.size": 0,
    "ytick.major.pad": 6,
    "lines.linewidth": 1.8,
    "path.simplify": False,
    "lines.solid_joinstyle": "round",
    "legend.frameon": False,
    "legend.borderaxespad": 0,
    "legend.handlelength": 1.8,
    "figure.constrained_layout.h_pad": 4 / 72,
    "figure.constrained_layout.w_pad": 4 / 72,
    "figure.constrained_layout.hspace": 0.08,
    **{key: light("ink") for key in ("text.color", "axes.titlecolor")},
    **{key: light("muted") for key in ("axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor")},
    **{key: light("rule") for key in ("axes.edgecolor", "grid.color", "xtick.color", "ytick.color")},
}


@contextmanager
def theme() -> Iterator[None]:
    """matplotlib's own defaults and ours on top, whatever the user's settings; theirs are back afterwards."""
    with (
        matplotlib.style.context(["default", THEME]),
        matplotlib.rc_context({"timezone": "UTC"}),
        warnings.catch_warnings(),
    ):
        # The page's font draws the text; DejaVu only measures it, and may lack a glyph.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        yield


def svg_of(draw: Callable[[Canvas], Figure], title: str, wide: Canvas = WIDE) -> str:
    """One ``<svg>`` holding what ``draw`` makes for a wide and for a narrow page; the same input, the same text."""
    with theme():
        figures = [(canvas, draw(canvas)) for canvas in (wide, NARROW)]
        layouts = [(canvas, _adapted(_exported(figure))) for canvas, figure in figures]
    content = b"".join(ElementTree.tostring(layout) for _, layout in layouts)
    prefix = "g" + hashlib.sha256(content).hexdigest()[:10]
    root = ElementTree.Element("svg", _root_attributes(prefix, title, layouts))
    for canvas, layout in layouts:
        prefix_ids(layout, f"{prefix}-{canvas.name[0]}-")
        layout.set("class", canvas.name)
        layout.set("width", "100%")
        layout.set("height", "100%")
        if canvas.narrow:
            layout.set("display", "none")
        root.append(layout)
    return ElementTree.tostring(root, encoding="unicode")


def _root_attributes(prefix: str, title: str, layouts: list) -> dict[str, str]:
    (_, _, width, height), (_, _, narrow_width, narrow_height) = (
        [float(value) for value in layout.get("viewBox").split()] for _, layout in layouts
    )
    shape = f"--wide:{width:g}/{height:g};--narrow:{narrow_width:g}/{narrow_height:g}"
    return {
        "xmlns": "http://www.w3.org/2000/svg",
        "class": "plot",
        "id": prefix,
        "role": "img",
        "aria-label": label(title or "plot", 200),
        "width": f"{width:g}",
        "height": f"{height:g}",
        "style": f"--share:{width / WIDE.width:.0%};{shape}",
        "font-family": "system-ui,sans-serif",
        "stroke-linejoin": "round",
    }


def _exported(figure: Figure) -> ElementTree.Element:
    buffer = io.BytesIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    return ElementTree.fromstring(buffer.getvalue())


_VARIABLES = {shade.light: f"var(--{name},{shade.light})" for name, shade in PALETTE.items()}


def _adapted(root: ElementTree.Element) -> ElementTree.Element:
    """matplotlib's tree without name spaces, style sheet and spare ids, colours by name, coordinates rounded."""
    referenced = {key for node in root.iter() for value in node.attrib.values() for key in re.findall(r"#(\w+)", value)}
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(("}style", "}metadata")):
                parent.remove(child)
    for node in root.iter():
        node.tag = node.tag.rpartition("}")[2]
        node.attrib = {key.rpartition("}")[2]: value for key, value in node.attrib.items()}
        node.text = node.text if node.tag == "text" else None
        node.tail = None
        if node.get("id") not in referenced:
            node.attrib.pop("id", None)
        if "style" in node.attrib:
            node.set("style", _style(node.attrib["style"]))
        for name in ("d", "transform", "x", "y", "width", "height"):
            if name in node.attrib and not node.attrib[name].endswith("%"):
                node.set(name, _rounded(node.attrib[name]))
        if node.get("href", "").startswith("data:"):
            node.set("href", re.sub(r"\s", "", node.attrib["href"]))
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    return root


def _style(style: str) -> str:
    """Colours as variables of the page, and the page's font."""
    kept = [entry.strip() for entry in re.sub(r"font-family:[^;]*;?", "", style).split(";") if entry.strip()]
    return re.sub(r"#[0-9a-f]{6}", lambda match: _VARIABLES.get(match[0], match[0]), ";".join(kept))


def _rounded(text: str) -> str:
    text = re.sub(r"-?\d+\.\d+(?:e-?\d+)?", lambda match: f"{round(float(match[0]), 2):g}", text)
    return re.sub(r"\s*([A-Za-z])\s*", r"\1", " ".join(text.split())) if text[:2] == "M " else text


def legend(figure: Figure, canvas: Canvas, handles: Sequence, names: Sequence[str]) -> None:
    """The legend under the plot, in as many columns as fit."""
    shown = [textwrap.fill(label(name), canvas.columns - 8) for name in names]
    figure.legend(handles, shown, loc="outside lower left", ncols=_legend_columns(canvas, names))


def _legend_columns(canvas: Canvas, names: Sequence[str]) -> int:
    longest = max((len(label(name)) for name in names), default=1)
    most = max(1, min(canvas.columns // (longest + 6), len(names), 6))
    rows = -(-len(names) // most)
    return -(-len(names) // rows)


def legend_height(canvas: Canvas, names: Sequence[str]) -> float:
    """The height the legend takes, so that the plot above keeps its own."""
    rows = -(-len(names) // _legend_columns(canvas, names))
    lines = max((len(textwrap.wrap(label(name), canvas.columns - 8)) for name in names), default=1)
    return 10 + rows * max(lines, 1) * TEXT * 1.5


def title_figure(figure: Figure, canvas: Canvas, title: str) -> None:
    """A title over the whole width, flush with the page's text."""
    if title:
        shown = _wrapped(title, canvas.columns * 0.86, 130)
        look: dict[str, Any] = {"size": TEXT + 1, "weight": "bold", "ha": "left"}
        figure.suptitle(shown, x=5 / canvas.width, **look)


def title_axes(axes: Axes, canvas: Canvas, title: str = "", xlabel: str = "", ylabel: str = "", share: int = 1) -> None:
    """The title and the axis names of a plot that is one of ``share`` beside each other, wrapped to its width."""
    axes.set_title(_wrapped(title, canvas.columns / share * 0.78, 130))
    axes.set_xlabel(_wrapped(xlabel, canvas.columns / share * 0.72, 90))
    axes.set_ylabel(_wrapped(ylabel, 30, 60))


def titles_height(canvas: Canvas, title: str, xlabel: str, share: int = 1) -> float:
    """The height that a title and an x axis name take, so that the plot between keeps its own."""
    above = _wrapped(title, canvas.columns / share * 0.78, 130)
    below = _wrapped(xlabel, canvas.columns / share * 0.72, 90)
    return sum(TEXT * 1.35 * (text.count("\n") + 1) + 4 for text in (above, below) if text)


def _wrapped(text: str, characters: float, limit: int) -> str:
    return textwrap.fill(label(text, limit), max(int(characters), 12))
