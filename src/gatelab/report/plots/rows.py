"""One row a name: intervals over seeds, and bars."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from gatelab.core.errors import InputError
from gatelab.report.palette import Style, light, styles, well_known
from gatelab.report.plots import reduction
from gatelab.report.plots.drawing import TEXT, Canvas, svg_of, title_axes, title_figure, titles_height
from gatelab.report.text import label as one_line
from gatelab.report.text import number


def interval_chart(
    rows: Sequence[tuple[str, Any, Any, Any, Any]],
    *,
    title: str = "",
    xlabel: str = "",
    reference: tuple[float, str] | None = None,
    looks: Sequence[Style] | None = None,
    ratios: bool = False,
) -> str:
    """Means with their intervals and the single values behind them, one row each, as SVG.

    Args:
        rows: ``(label, centre, low, high, points)``; ``low`` and ``high`` may be ``None`` and ``points`` empty, as for
            a baseline, which has no seeds. A row whose centre is not finite says so.
        title: of the plot.
        xlabel: what is measured, with its unit.
        reference: a value to draw a line at, and its name.
        looks: a style for each row; none: that of its label.
        ratios: whether values are ratios: half lies as far from 1 as twice does, and what is not above 0 is a gap.

    Raises:
        InputError: no row with a finite centre, or a row of another shape.
    """
    checked = [_interval(row, ratios) for row in rows]
    _require_finite([centre for _, centre, _, _ in checked])
    chosen = looks or styles([name for name, *_ in checked])

    def draw(canvas: Canvas) -> Figure:
        figure, axes = _rows(canvas, checked, title, xlabel, reference, ratios)
        for at, ((_, centre, ends, points), style) in enumerate(zip(checked, chosen, strict=True)):
            _draw_interval(axes, at, centre, ends, points, style)
        return figure

    return svg_of(draw, title or xlabel)


def bar_chart(
    rows: Sequence[tuple], *, title: str = "", xlabel: str = "", reference: tuple[float, str] | None = None
) -> str:
    """Bars from 0, one row each, as SVG.

    Args:
        rows: ``(label, value)`` or ``(label, value, low, high)`` with an interval. A value that is not finite says so.
        title: of the plot.
        xlabel: what is measured, with its unit.
        reference: a value to draw a line at, and its name.

    Raises:
        InputError: no row with a finite value, or a row of another shape.
    """
    checked = [_interval((*row, None, None, ()) if len(row) == 2 else (*row, ())) for row in rows]
    _require_finite([value for _, value, _, _ in checked])
    names = [name for name, *_ in checked]
    chosen = styles(names) if any(map(well_known, names)) else [Style("sky")] * len(names)

    def draw(canvas: Canvas) -> Figure:
        figure, axes = _rows(canvas, checked, title, xlabel, reference)
        for at, ((_, value, ends, _), style) in enumerate(zip(checked, chosen, strict=True)):
            axes.barh(
                at,
                value if np.isfinite(value) else 0,
                height=0.32 if canvas.narrow else 0.5,
                color=light(style.colour),
                linewidth=0,
            )
            if ends is not None:
                axes.plot(ends, [at, at], color=light("ink"), linewidth=1.4)
        axes.axvline(0, color=light("muted"), linewidth=1)
        return figure

    return svg_of(draw, title or xlabel)


_Row = tuple[str, float, np.ndarray | None, np.ndarray]
"""Name, centre, ends ``(2,)`` of the interval, single values ``(S,)``."""


def _interval(row: tuple, positive: bool = False) -> _Row:
    if len(row) != 5:
        raise InputError("a row does not fit the plot", expected="label, centre, low, high, points", got=row)
    name, centre, low, high, points = row
    name = one_line(name)
    single = reduction.values([] if points is None else points, f"the points of {name!r}", positive)  # (S,)
    middle = reduction.values([np.nan if centre is None else centre], f"the centre of {name!r}", positive)[0]
    ends = None
    if low is not None and high is not None:
        ends = reduction.values([low, high], f"the interval of {name!r}", positive)  # (2,)
    return name, float(middle), ends if ends is not None and np.isfinite(ends).all() else None, single


def _require_finite(values: list[float]) -> None:
    if not np.isfinite(values).any():
        raise InputError("there is nothing to plot", expected="at least one row with a finite value")


def _rows(
    canvas: Canvas,
    rows: Sequence[_Row],
    title: str,
    xlabel: str,
    reference: tuple[float, str] | None,
    ratios: bool = False,
) -> tuple[Figure, Axes]:
    """Axes with a line for each row, its name on the left and its value on the right; on a phone both above it."""
    names = [_wrapped(name, 36 if canvas.narrow else 30) for name, *_ in rows]
    lines = max(name.count("\n") + 1 for name in names)
    pitch = TEXT * (1.3 * lines + (2.1 if canvas.narrow else 1.3))
    figure = canvas.figure(40 + titles_height(canvas, title, xlabel) + pitch * (len(rows) + (0.5 if reference else 0)))
    axes = figure.add_subplot()
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", visible=True)
    if ratios:
        _ratio_axis(axes, rows)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4 if canvas.narrow else 7))
    axes.margins(x=0.03)
    title_figure(figure, canvas, title)
    title_axes(axes, canvas, xlabel=xlabel, share=1 if canvas.narrow else 2)
    axes.set_ylim(len(rows) - 0.45, (-0.85 if canvas.narrow else -0.55) - (0.5 if reference else 0))
    axes.set_yticks([] if canvas.narrow else range(len(rows)), [] if canvas.narrow else names, color=light("ink"))
    for at, (name, text) in enumerate(zip(names, aligned([value for _, value, *_ in rows]), strict=True)):
        if canvas.narrow:
            _beside(axes, at, 0, (2, 8), name, "left", "ink")
        _beside(axes, at, 1, (0, 8) if canvas.narrow else (10, 0), text, "right" if canvas.narrow else "left", "muted")
    if reference is not None:
        _draw_reference(axes, *reference, _middle(rows, ratios))
    return figure, axes


def _ratio_axis(axes: Axes, rows: Sequence[_Row]) -> None:
    """A logarithmic axis with ticks that people read as ratios: 0.8, 1, 1.2; over a wide range 0.1, 0.5, 1, 2, 10."""
    everything = _everything(rows)
    spread = np.nanmax(everything) / np.nanmin(everything)
    axes.set_xscale("log")
    steps: Any = MaxNLocator(5) if spread < 3 else LogLocator(subs=(1, 2, 5) if spread < 100 else (1,), numticks=8)
    axes.xaxis.set_major_locator(steps)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: number(value))


def _everything(rows: Sequence[_Row]) -> np.ndarray:
    """All numbers of the rows: ``(N,)``."""
    return np.concatenate([[centre, *(ends if ends is not None else ()), *points] for _, centre, ends, points in rows])


def _middle(rows: Sequence[_Row], ratios: bool) -> float:
    """The middle of the x axis."""
    everything = _everything(rows)
    low, high = float(np.nanmin(everything)), float(np.nanmax(everything))
    return math.sqrt(low * high) if ratios else (low + high) / 2


def _wrapped(name: str, characters: int) -> str:
    return textwrap.fill(name, characters, max_lines=2, placeholder=" …")


def aligned(values: Sequence[float]) -> list[str]:
    """Numbers with as many decimals each as show three places of the middle one; ``no value`` where not finite."""
    sizes = np.abs([value for value in values if np.isfinite(value) and value])
    whole = all(value == round(value) for value in values if np.isfinite(value))
    decimals = 0 if whole else int(np.clip(2 - np.floor(np.log10(np.median(sizes))), 0, 6))
    plain = len(sizes) == 0 or (sizes.max() < 1e9 and np.median(sizes) > 1e-5)
    texts = [_fixed(value, decimals) if plain else number(value) for value in values]
    return [text if np.isfinite(value) else "no value" for text, value in zip(texts, values, strict=True)]


def _fixed(value: float, decimals: int) -> str:
    """So many decimals, and no sign where they are all zero."""
    text = f"{value:,.{decimals}f}"
    return text.replace("-", "−" if float(text.replace(",", "")) else "")


def _beside(axes: Axes, row: int, side: float, offset: tuple, text: str, align: str, colour: str) -> None:
    axes.annotate(
        text,
        (side, row),
        xycoords=("axes fraction", "data"),
        xytext=offset,
        textcoords="offset points",
        ha=align,
        va="bottom" if offset[1] else "center",
        color=light(colour),
        annotation_clip=False,
    )


def _draw_interval(
    axes: Axes, at: int, centre: float, ends: np.ndarray | None, points: np.ndarray, style: Style
) -> None:
    colour = light(style.colour)
    if ends is not None:
        axes.plot(ends, [at, at], color=colour, linewidth=6, alpha=0.35, solid_capstyle="round")
    if len(points):
        axes.plot(
            points, np.full(len(points), at + 0.24), "o", color=colour, markersize=3.5, alpha=0.75, markeredgewidth=0
        )
    axes.plot([centre], [at], linestyle="none", marker=style.marker, color=colour, markersize=8)


def _draw_reference(axes: Axes, value: float, name: str, middle: float) -> None:
    at = reduction.values([value], "the reference")[0]
    if not np.isfinite(at):
        raise InputError("the reference line has no place", expected="a finite number", got=value)
    axes.axvline(at, color=light("muted"), linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)
    left_of_line = at > middle
    note = axes.annotate(
        one_line(name, 28),
        (at, 1),
        xycoords=("data", "axes fraction"),
        xytext=(-4 if left_of_line else 4, -2),
        textcoords="offset points",
        ha="right" if left_of_line else "left",
        va="top",
        color=light("muted"),
    )
    note.set_in_layout(False)
