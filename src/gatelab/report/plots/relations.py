"""One number against another: scatter, nominal against measured coverage, and how values are distributed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from gatelab.core.errors import InputError
from gatelab.report.palette import light, styles
from gatelab.report.plots import reduction
from gatelab.report.plots.drawing import (
    SQUARE,
    Canvas,
    legend,
    legend_height,
    svg_of,
    title_axes,
    title_figure,
    titles_height,
)
from gatelab.report.plots.lines import Line, Panel, draw_panels
from gatelab.report.text import label as one_line


def scatter(
    lines: Sequence[Line],
    *,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    diagonal: bool = False,
    log_y: bool = False,
) -> str:
    """Points of one or more groups as SVG; ``diagonal`` draws where both axes are equal.

    Raises:
        InputError: nothing to draw, or lengths that do not match.
    """
    points = [replace(line, style="points") for line in lines]
    panel = Panel(points, title, xlabel, ylabel, log_y=log_y)
    return draw_panels([panel], 1, 380, wide=SQUARE, finish=_draw_diagonal if diagonal else lambda axes: None)


def coverage_chart(
    lines: Sequence[Line], *, title: str = "", xlabel: str = "nominal coverage", ylabel: str = "measured coverage"
) -> str:
    """Nominal (``x``, in [0, 1]) against measured coverage (``y``) of intervals or quantiles, as SVG.

    On the diagonal a forecast is calibrated; below it its intervals are too narrow.

    Raises:
        InputError: nothing to draw, or a share outside [0, 1].
    """
    for line in lines:
        shares = np.concatenate([reduction.values(line.x, "coverage"), reduction.values(line.y, "coverage")])
        if outside := [share for share in shares if share < 0 or share > 1]:
            raise InputError("a coverage is a share", expected="between 0 and 1", got=outside[0])
    return draw_panels([Panel(lines, title, xlabel, ylabel)], 1, 380, wide=SQUARE, finish=_as_shares)


def _draw_diagonal(axes: Axes) -> None:
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    ends = max(left, bottom), min(right, top)
    axes.plot(ends, ends, color=light("muted"), linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)


def _as_shares(axes: Axes) -> None:
    for line in axes.lines:
        line.set_marker("o")
        line.set_markersize(5)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    _draw_diagonal(axes)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
        axis.set_major_formatter(PercentFormatter(1, decimals=0))


def histogram(
    samples: Sequence[tuple[str, Any]],
    *,
    title: str = "",
    xlabel: str = "",
    bins: int | None = None,
    density: bool = False,
) -> str:
    """How the values of one or more samples ``(label, values (N,))`` are distributed, over the same bins, as SVG.

    ``bins`` follows from the data if not given (Freedman & Diaconis 1981, at most 80); ``density`` makes samples of
    different sizes comparable.

    Raises:
        InputError: no finite value.
    """
    checked = [(one_line(name), reduction.values(data, f"the values of {one_line(name)!r}")) for name, data in samples]
    finite = [(name, data[np.isfinite(data)]) for name, data in checked]
    everything = np.concatenate([np.empty(0), *(data for _, data in finite)])  # (N,)
    if not len(everything):
        raise InputError("there is nothing to plot", expected="at least one finite value")
    edges = np.histogram_bin_edges(everything, bins or _bin_count(everything))
    names = [name if len(data) else f"{name} (no values)" for name, data in finite]
    chosen = styles(names)

    def draw(canvas: Canvas) -> Figure:
        below = legend_height(canvas, names) if names != [""] else 0
        figure = canvas.figure((180 if canvas.narrow else 220) + titles_height(canvas, title, xlabel) + below)
        axes = figure.add_subplot()
        title_figure(figure, canvas, title)
        title_axes(axes, canvas, xlabel=xlabel, ylabel="density" if density else "count")
        for (_, data), style in zip(finite, chosen, strict=True):
            heights = np.histogram(data, edges, density=density and len(data) > 0)[0]
            colour = light(style.colour)
            axes.stairs(heights, edges, color=colour, fill=True, alpha=0.25, linewidth=0)
            axes.stairs(heights, edges, color=colour, linewidth=1.5)
        axes.set_ylim(bottom=0)
        if names != [""]:
            handles = [Patch(facecolor=light(style.colour), alpha=0.7, linewidth=0) for style in chosen]
            legend(figure, canvas, handles, names)
        return figure

    return svg_of(draw, title or xlabel)


def _bin_count(values: np.ndarray) -> int:
    lower, upper = np.percentile(values, [25, 75])
    width = 2 * (upper - lower) / len(values) ** (1 / 3)
    return int(np.clip(np.ceil(np.ptp(values) / width), 8, 80)) if width > 0 else 20
