"""Lines over an axis of numbers or dates, with bands, gaps and marked spans."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib import dates
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from gatelab.core.errors import InputError
from gatelab.report.palette import Style, light, styles
from gatelab.report.plots import reduction
from gatelab.report.plots.drawing import (
    WIDE,
    Canvas,
    legend,
    legend_height,
    svg_of,
    title_axes,
    title_figure,
    titles_height,
)
from gatelab.report.text import label as one_line
from gatelab.report.text import number

_FEW = 250
"""Points up to which each has its marker."""


@dataclass(frozen=True, eq=False)
class Line:
    """A named series ``y (N,)`` over ``x (N,)``: numbers, ``datetime64`` or, with ``None``, 0, 1, 2 …; NaN is a gap."""

    label: str
    x: Any
    y: Any
    low: Any = None
    """Lower end of the band around ``y (N,)``."""
    high: Any = None
    """Upper end of it."""
    style: Literal["line", "points", "dashed"] = "line"
    bands: Sequence[tuple[Any, Any]] = ()
    """Further ``(low, high)`` bands, such as the narrower intervals of a fan chart."""
    colour: str | None = None
    """A name in ``palette.PALETTE``; none: the fixed colour of a well-known label, or the next free one."""


@dataclass(frozen=True)
class Panel:
    """One of several plots beside each other."""

    lines: Sequence[Line]
    title: str = ""
    xlabel: str = ""
    ylabel: str = ""
    spans: Sequence[tuple] = ()
    """Stretches of the x axis to shade, ``(start, end)`` or ``(start, end, label)``."""
    log_y: bool = False
    log_x: bool = False
    """Sizes and counts: each doubling takes the same room, and the ticks are at the values themselves."""


def line_chart(
    lines: Sequence[Line],
    *,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    log_y: bool = False,
    spans: Sequence[tuple] = (),
    height: float = 300,
) -> str:
    """One plot of several lines over the whole width, as SVG; ``height`` in CSS pixels.

    Raises:
        InputError: nothing to draw, or lengths or kinds of axes that do not match.
    """
    return panels([Panel(lines, title, xlabel, ylabel, spans, log_y)], columns=1, height=height)


def panels(parts: Sequence[Panel], columns: int = 2, *, height: float = 230) -> str:
    """Plots in a grid of ``columns`` (one on a phone) with one legend, as SVG; ``height`` of each in CSS pixels.

    Raises:
        InputError: nothing to draw, or lengths or kinds of axes that do not match.
    """
    return draw_panels(parts, columns, height)


def draw_panels(
    parts: Sequence[Panel],
    columns: int,
    height: float,
    *,
    wide: Canvas = WIDE,
    finish: Callable[[Axes], None] = lambda axes: None,
) -> str:
    """``panels``, on a canvas of choice and with ``finish`` called on each pair of axes."""
    title = "; ".join(panel.title for panel in parts if panel.title)
    return svg_of(panel_drawer(parts, columns, height, finish), title, wide)


def panel_drawer(
    parts: Sequence[Panel], columns: int, height: float, finish: Callable[[Axes], None] = lambda axes: None
) -> Callable[[Canvas], Figure]:
    """What draws ``panels`` on a canvas, within ``drawing.theme``.

    Raises:
        InputError: nothing to draw, or lengths or kinds of axes that do not match.
    """
    drawn = [[_Checked.of(line, panel.log_y) for line in panel.lines] for panel in parts]
    _refuse_undrawable(drawn)
    names = list(dict.fromkeys(line.label for lines in drawn for line in lines))
    chosen = dict(zip(names, styles(names), strict=True))
    legend_wanted = names != [""]

    def draw(canvas: Canvas) -> Figure:
        across = 1 if canvas.narrow else min(columns, len(parts))
        rows = -(-len(parts) // across)
        below = legend_height(canvas, names) if legend_wanted else 0
        titles = max(titles_height(canvas, panel.title, panel.xlabel, across) for panel in parts)
        figure = canvas.figure(rows * (height * (0.8 if canvas.narrow else 0.92) + titles) + below)
        grid = figure.subplots(rows, across, squeeze=False)
        handles: dict[str, Any] = {}
        for axes, panel, lines in zip(grid.flat, parts, drawn, strict=False):
            title_axes(axes, canvas, panel.title if len(parts) > 1 else "", panel.xlabel, panel.ylabel, across)
            handles = _draw_panel(axes, panel, lines, chosen, canvas.width // across) | handles
            finish(axes)
        for axes in grid.flat[len(parts) :]:
            axes.set_visible(False)
        if len(parts) == 1:
            title_figure(figure, canvas, parts[0].title)
        if legend_wanted:
            legend(figure, canvas, [handles[name] for name in names], names)
        return figure

    return draw


def _refuse_undrawable(drawn: list[list[_Checked]]) -> None:
    if not drawn or not all(any(line.drawable for line in lines) for lines in drawn):
        raise InputError(
            "there is nothing to plot", expected="at least one finite value in each panel (above 0 on a log axis)"
        )
    for lines in drawn:
        if len({line.x.dtype.kind for line in lines}) > 1:
            raise InputError("lines with dates and lines with numbers cannot share an x axis")


@dataclass(frozen=True, eq=False)
class _Checked:
    """A line whose arrays are known to fit."""

    label: str
    x: np.ndarray  # (N,)
    y: np.ndarray  # (N,)
    bands: list[tuple[np.ndarray, np.ndarray]]  # (N,) each
    style: str
    colour: str | None

    @property
    def drawable(self) -> bool:
        return any(np.isfinite(array).any() for array in (self.y, *(end for band in self.bands for end in band)))

    @classmethod
    def of(cls, line: Line, log_y: bool) -> _Checked:
        name = one_line(line.label)
        y = reduction.values(line.y, f"the values of {name!r}", positive=log_y)  # (N,)
        x = reduction.places(line.x, len(y), f"the x axis of {name!r}")  # (N,)
        if (line.low is None) != (line.high is None):
            raise InputError(f"the band of {name!r} has one end only", expected="low and high together")
        pairs = [*line.bands] + ([(line.low, line.high)] if line.low is not None else [])
        ends = [[reduction.values(end, f"a band of {name!r}", positive=log_y) for end in pair] for pair in pairs]
        for array in (x, *(end for pair in ends for end in pair)):
            if len(array) != len(y):
                raise InputError(f"the arrays of {name!r} differ in length", expected=len(y), got=len(array))
        known = ~np.isnat(x) if x.dtype.kind == "M" else ~np.isnan(x)  # (N,)
        bands = [(low[known], high[known]) for low, high in ends]
        empty = not any(np.isfinite(array[known]).any() for array in (y, *(end for pair in ends for end in pair)))
        return cls(f"{name} (no values)" if empty else name, x[known], y[known], bands, line.style, line.colour)


def _draw_panel(
    axes: Axes, panel: Panel, lines: list[_Checked], chosen: dict[str, Style], pixels: int
) -> dict[str, Any]:
    if panel.log_y:
        axes.set_yscale("log", nonpositive="mask")
        _plain_log_ticks(axes, lines)
    for span in panel.spans:
        _draw_span(axes, span, lines[0].x.dtype.kind)
    handles = {line.label: _draw_line(axes, line, chosen[line.label], pixels) for line in lines}
    first = next(line for line in lines if line.drawable)
    if panel.log_x:
        _ticks_at_values(axes, lines, most=max(3, pixels // 45))
    elif first.x.dtype.kind == "M":
        locator = _date_locator(*axes.get_xlim(), most=max(4, pixels // 90))
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))
    else:
        whole = all(np.all(line.x == np.round(line.x)) for line in lines)
        axes.xaxis.set_major_locator(MaxNLocator(max(3, pixels // 80), integer=whole))
    return handles


def _date_locator(first: float, last: float, most: int) -> dates.AutoDateLocator:
    """At most ``most`` ticks, or a few more where so few dates are round that the axis would not tell the time."""
    ends = dates.num2date([first, last])
    for count in range(most, most + 5):
        ticks = np.asarray(_auto_dates(count).tick_values(*ends))
        if np.count_nonzero((ticks >= first) & (ticks <= last)) > 1:
            return _auto_dates(count)
    return _auto_dates(most)


def _auto_dates(most: int) -> dates.AutoDateLocator:
    """matplotlib's locator, which has no step between half a unit and two, and warns where four ticks need one."""
    locator = dates.AutoDateLocator(minticks=2, maxticks=most)
    for unit, whole in ((dates.MONTHLY, 12), (dates.HOURLY, 24), (dates.MINUTELY, 60), (dates.SECONDLY, 60)):
        locator.intervald[unit] = [*locator.intervald[unit], whole]
    return locator


def _plain_log_ticks(axes: Axes, lines: list[_Checked]) -> None:
    """Ticks at 1, 2, 3 and 5 over about one decade, fewer over more, powers of ten over many, as plain numbers."""
    finite = np.concatenate([line.y[np.isfinite(line.y)] for line in lines])  # (N,)
    decades = np.log10(finite.max()) - np.log10(finite.min()) if finite.size else 0
    subs = (1, 2, 3, 5) if decades < 1.2 else (1, 2, 5) if decades < 2.5 else (1,)
    axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=8))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value, 3)))
    axes.yaxis.set_minor_locator(NullLocator())


def _ticks_at_values(axes: Axes, lines: list[_Checked], most: int) -> None:
    """A logarithmic x axis with ticks where the points are, every n-th where all would not fit."""
    if any(line.x.dtype.kind == "M" for line in lines):
        raise InputError("a logarithmic axis has no dates", expected="numbers above 0")
    places = np.unique(np.concatenate([line.x for line in lines]))  # (N,)
    if places[0] <= 0:
        raise InputError("a logarithmic axis begins above 0", expected="numbers above 0", got=places[0])
    axes.set_xscale("log", base=2)
    axes.set_xticks(places[:: -(-len(places) // most)])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value, 3)))
    axes.xaxis.set_minor_locator(NullLocator())


def _draw_span(axes: Axes, span: tuple, kind: str) -> None:
    (start, end), name = reduction.places(list(span[:2]), 2, "a span"), span[2:]
    if (np.asarray(start).dtype.kind == "M") != (kind == "M"):
        raise InputError("a span does not fit the x axis", expected="dates" if kind == "M" else "numbers", got=span)
    axes.axvspan(start, end, color=light("muted"), alpha=0.13, linewidth=0)
    if name:
        note = axes.annotate(
            one_line(name[0], 24),
            (start, 1),
            xycoords=("data", "axes fraction"),
            xytext=(4, -4),
            textcoords="offset points",
            va="top",
            color=light("muted"),
        )
        note.set_in_layout(False)


def _draw_line(axes: Axes, line: _Checked, style: Style, pixels: int) -> Artist:
    """Draws a line with its bands; gives what stands for it in the legend."""
    colour = light(line.colour or style.colour)
    for low, high in line.bands:
        x, low, high = reduction.reduced_band(line.x, low, high, pixels)
        axes.fill_between(x, low, high, color=colour, alpha=0.28 / max(len(line.bands), 1) + 0.04, linewidth=0)
    if line.style == "points":
        return _draw_points(axes, *_present(line.x, line.y), style.marker, colour, pixels)
    dash = (0, (5, 2.5)) if line.style == "dashed" and style.dash == "-" else style.dash
    x, y = reduction.reduced(line.x, line.y, pixels)
    axes.plot(x, y, linestyle=dash, color=colour)
    alone = _isolated(y)
    if alone.any():
        axes.plot(x[alone], y[alone], linestyle="none", marker="o", markersize=3.5, color=colour)
    return Line2D([], [], linestyle=dash, color=colour)


def _draw_points(axes: Axes, x: np.ndarray, y: np.ndarray, marker: str, colour: str, pixels: int) -> Artist:
    """Markers where they are few; else round dots as strokes of no length, a tenth of the text in an SVG."""
    x, y = reduction.reduced_points(x, y, cells=pixels // 4)
    look: dict[str, Any] = {"color": colour, "alpha": 0.8}
    if len(x) <= _FEW:
        return axes.plot(x, y, linestyle="none", marker=marker, markersize=5, markeredgewidth=0, **look)[0]
    gaps = np.full(len(y), np.nan)  # (N,)
    across = np.repeat(x, 3)  # (3N,)
    axes.plot(across, np.stack([y, y, gaps], axis=1).ravel(), linewidth=4, solid_capstyle="round", **look)
    return Line2D([], [], linestyle="none", marker="o", markersize=5, markeredgewidth=0, **look)


def _present(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    known = np.isfinite(y)
    return x[known], y[known]


def _isolated(y: np.ndarray) -> np.ndarray:
    """Values with a gap on either side ``(N,)``: a line cannot show them."""
    gap = np.concatenate([[True], np.isnan(y), [True]])  # (N + 2,)
    return ~gap[1:-1] & gap[:-2] & gap[2:]
