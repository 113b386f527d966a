"""A matrix as a map of colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize, to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gatelab.core.errors import InputError
from gatelab.report.palette import light
from gatelab.report.plots import reduction
from gatelab.report.plots.drawing import TEXT, Canvas, svg_of, title_axes, title_figure, titles_height
from gatelab.report.text import label as one_line
from gatelab.report.text import number

_BLUE, _ORANGE, _GAP = "#2f86c9", "#d0632a", "#7d858d"
_MOST = 400
"""Rows and columns drawn at most; more are averaged in blocks."""


def heat_map(
    values: Any,
    *,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    label: str = "",
    limits: tuple[float, float] | None = None,
    centre: float | None = None,
) -> str:
    """The matrix ``values (R, C)`` as SVG, first row on top; NaN is grey; few cells carry their number.

    Colour is laid on transparently, so that small values sink into the page, be it light or dark. With ``centre``
    lower values are blue and higher ones orange.

    Args:
        values: ``(R, C)``.
        rows: names of the rows, else numbered from 0.
        columns: names of the columns, else numbered from 0.
        title: of the plot.
        xlabel: what the columns are.
        ylabel: what the rows are.
        label: what the colour says, with its unit.
        limits: values of the palest and the strongest colour; else the least and the greatest value.
        centre: the value without colour.

    Raises:
        InputError: not a matrix, no finite value, or names that do not fit it.
    """
    matrix = _matrix(values)  # (R, C)
    for names, count, what in ((rows, matrix.shape[0], "rows"), (columns, matrix.shape[1], "columns")):
        if names is not None and len(names) != count:
            raise InputError(f"the names do not fit the {what}", expected=count, got=len(names))
    scale = _scale(matrix, limits, centre)
    annotated = matrix.size <= 150 and matrix.shape[1] <= 12
    colours = _colours(centre is not None, 0.68 if annotated else 0.95)

    def draw(canvas: Canvas) -> Figure:
        tall = float(np.clip(matrix.shape[0] * TEXT * 1.9, 130, 420))
        figure = canvas.figure(tall + titles_height(canvas, title, xlabel) + (70 if columns else 40))
        axes, bar = figure.subplots(1, 2, width_ratios=[30, 1])
        title_figure(figure, canvas, title)
        title_axes(axes, canvas, xlabel=xlabel, ylabel=ylabel, share=1 if canvas.narrow else 2)
        extent = (-0.5, matrix.shape[1] - 0.5, matrix.shape[0] - 0.5, -0.5)
        image = {"cmap": colours, "norm": scale, "interpolation": "none", "aspect": "auto"}
        axes.imshow(_blocks(matrix), extent=extent, **image)
        _name_axis(axes.xaxis, columns, 6 if canvas.narrow else 16, 6 if canvas.narrow else 12)
        _name_axis(axes.yaxis, rows, 16, 14 if canvas.narrow else 28)
        axes.grid(visible=False)
        if annotated:
            _write_numbers(axes, matrix, 0.6 * canvas.width / matrix.shape[1])
        _draw_bar(bar, image, one_line(label, int(tall / 8)))
        return figure

    return svg_of(draw, title or label)


def _matrix(values: Any) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 2 or not array.size:
        raise InputError("a heat map needs a matrix", expected="(rows, columns), none empty", got=array.shape)
    matrix = reduction.values(array.ravel(), "the matrix").reshape(array.shape)  # (R, C)
    if not np.isfinite(matrix).any():
        raise InputError("there is nothing to plot", expected="at least one finite value")
    return matrix


def _scale(matrix: np.ndarray, limits: tuple[float, float] | None, centre: float | None) -> Normalize:
    low, high = limits if limits is not None else (np.nanmin(matrix), np.nanmax(matrix))
    if centre is not None:
        reach = max(abs(high - centre), abs(centre - low))
        low, high = centre - reach, centre + reach
    return Normalize(low, high if high > low else low + 1, clip=True)


def _colours(diverging: bool, most: float) -> Colormap:
    ends = [to_rgba(_BLUE, most), to_rgba(_BLUE, 0), to_rgba(_ORANGE, 0), to_rgba(_ORANGE, most)]
    stops = list(zip([0, 0.5, 0.5, 1], ends, strict=True)) if diverging else [ends[1], ends[0]]
    return LinearSegmentedColormap.from_list("heat", stops).with_extremes(bad=to_rgba(_GAP, 0.45))


def _blocks(matrix: np.ndarray) -> np.ndarray:
    """The mean of each block where there are more rows or columns than the screen has pixels for."""
    counts = [-(-size // -(-size // _MOST)) for size in matrix.shape]
    if counts == list(matrix.shape):
        return matrix
    known, filled = np.isfinite(matrix).astype(float), np.nan_to_num(matrix)
    for axis, count in enumerate(counts):
        starts = np.linspace(0, matrix.shape[axis], count, endpoint=False).astype(int)
        known, filled = np.add.reduceat(known, starts, axis), np.add.reduceat(filled, starts, axis)
    return np.where(known > 0, filled / np.maximum(known, 1), np.nan)


def _name_axis(axis: Any, names: Sequence[str] | None, most: int, characters: int) -> None:
    """Names at the ticks, every n-th where all would not fit; numbers where there are no names."""
    if names is None:
        axis.set_major_locator(MaxNLocator(most, integer=True))
        return
    places = range(0, len(names), -(-len(names) // most))
    axis.set_ticks(places, [one_line(names[at], characters) for at in places])
    if axis.axis_name == "x" and max(len(str(names[at])) for at in places) * len(places) > characters * most / 2:
        for tick in axis.get_ticklabels():
            tick.set(rotation=45, ha="right", rotation_mode="anchor")


def _write_numbers(axes: Axes, matrix: np.ndarray, room: float) -> None:
    """The numbers in the cells, unless they are wider than the ``room`` in a cell."""
    texts = [number(value, 2) for value in matrix.ravel()]
    if max(map(len, texts)) * TEXT * 0.6 > room:
        return
    for (row, column), text in zip(np.ndindex(matrix.shape), texts, strict=True):
        axes.text(column, row, text, ha="center", va="center", color=light("ink"), fontsize=TEXT - 1)


def _draw_bar(axes: Axes, image: dict[str, Any], label: str) -> None:
    low, high = image["norm"].vmin, image["norm"].vmax
    axes.imshow(np.linspace(high, low, 64)[:, None], extent=(0, 1, low, high), **image)
    axes.set_xticks([])
    axes.yaxis.tick_right()
    axes.yaxis.set_label_position("right")
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.grid(visible=False)
    if label:
        axes.set_ylabel(label)
