"""A picture of a forecast: what came last, what is to come, and how sure that is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gatelab.data.names import listed
from gatelab.report.plots import Line, Panel, Picture
from gatelab.tasks.forecasting.predict import Unseen, local

if TYPE_CHECKING:
    from gatelab.tasks.forecasting.task import Forecasting

Array = np.ndarray
MOST_PANELS = 12
"""Targets of series in one picture: more would be too small to be read."""
_HORIZONS = 4  # of history beside one of forecast, so that the forecast has a fifth of the width at least
_LEAST = 24  # steps of history, where there are as many


def picture(task: Forecasting, found: Unseen) -> tuple[Picture, list[str]]:
    """The newest history, the forecast and its intervals, one plot for each series and target; what is left out."""
    names, entries = task.features.targets, found.extended
    pairs = [(s, o) for s in range(len(entries)) for o in range(len(names))]
    parts = [_panel(task, found, s, o) for s, o in pairs[:MOST_PANELS]]
    columns = 1 if len(parts) == 1 else 2 if len(parts) <= 4 else 3
    height = 300 if columns == 1 else 230 if columns == 2 else 190
    return Picture(parts, columns, height), _left_out(task, found, pairs[MOST_PANELS:], len(pairs))


def _left_out(task: Forecasting, found: Unseen, rest: list[tuple[int, int]], all: int) -> list[str]:
    if not rest:
        return []
    what = listed(dict.fromkeys(_title(task, found, *pair) for pair in rest))
    return [
        f"the picture has the first {MOST_PANELS} of {all:,} forecasts, in the order of the table; left out: {what}. "
        "A table with the rows of some series alone draws these"
    ]


def _title(task: Forecasting, found: Unseen, s: int, o: int) -> str:
    id, name = found.extended[s].series.id, task.features.targets[o]
    if not id:
        return name
    return f"{id}: {name}" if len(task.features.targets) > 1 else id


def _panel(task: Forecasting, found: Unseen, s: int, o: int) -> Panel:
    entry, target = found.extended[s], task.features.targets[o]
    horizon = len(entry.stamps)
    first = max(entry.rows - max(_HORIZONS * horizon, task.config.lookback or 0, _LEAST), 0)
    past = entry.series.values[first : entry.rows, task.features.of("target")[o]]  # (n,)
    before, ahead, xlabel = _axis(entry.series.stamps[first : entry.rows], entry.stamps, found.zone)
    seen = np.flatnonzero(np.isfinite(past))[-1:]  # (1,) where the forecast sets out; (0,) in a window of gaps

    def joined(values: Array) -> Array:
        return np.concatenate([past[seen], values])  # ([1 +] K,)

    quantiles = found.quantiles[:, s, o]  # (K, Q)
    bands = [(joined(quantiles[:, low]), joined(quantiles[:, high])) for _, low, high in task.config.intervals]
    shares = ", ".join(f"{100 * share:g}" for share, _, _ in task.config.intervals)
    label = f"forecast, with its {shares} % interval{'s' * (len(bands) > 1)}" if bands else "forecast"
    lines = [
        Line("observed", before, past, colour="truth"),
        Line(label, np.concatenate([before[seen], ahead]), joined(found.point[:, s, o]), bands=bands, colour="gru"),
    ]
    several = len(found.extended) * len(task.features.targets) > 1
    steps = f"{horizon} {task.features.frequency.text} steps".replace("  ", " ") if horizon > 1 else "one step"
    title = _title(task, found, s, o) if several else f"{_title(task, found, s, o)}: {steps} ahead"
    return Panel(lines, title=title, xlabel=xlabel, ylabel=target)


def _axis(before: pd.Index, ahead: pd.Index, zone: str | None) -> tuple[Array, Array, str]:
    """Places of history ``(n,)`` and forecast ``(K,)``, and what the axis is: dates wherever both have them."""
    if isinstance(before, pd.DatetimeIndex) and isinstance(ahead, pd.DatetimeIndex):
        return _clock(before, zone), _clock(ahead, zone), ""
    if ahead[0] == before[-1] + 1:
        return np.asarray(before), np.asarray(ahead), "row"
    # Rows with dates are the steps, and the dates of those ahead are not known.
    return np.arange(1 - len(before), 1), np.arange(1, len(ahead) + 1), "steps after the last observation"


def _clock(stamps: pd.DatetimeIndex, zone: str | None) -> Array:
    found: Any = local(stamps, zone)
    return found.tz_localize(None).to_numpy() if found.tz is not None else found.to_numpy()
