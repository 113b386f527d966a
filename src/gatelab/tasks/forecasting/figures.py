"""What a report shows of forecasts: against the truth, by step of the horizon, and how wide the intervals are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gatelab.core.task import Evaluation
from gatelab.report.page import Figure, Section, Table
from gatelab.report.palette import Style
from gatelab.report.plots import Line, Panel, interval_chart, line_chart, panels
from gatelab.tasks.forecasting import importance, scores

if TYPE_CHECKING:
    from gatelab.tasks.forecasting.task import Forecasting

Array = np.ndarray
Results = Mapping[str, Sequence[Evaluation]]
_STRETCH = 120  # one-step forecasts drawn as one line
_PICTURES = 4
_MOST_COVARIATES = 30
_BASELINES = 3  # drawn beside the networks


def sections(task: Forecasting, results: Results) -> list[Section]:
    """Sections for a page; ``results`` holds one evaluation per seed for each cell and baseline."""
    names = [name for name, evaluations in results.items() if evaluations]
    if not names:
        return []
    ranked = sorted(names, key=lambda name: _mean(results[name], task.metrics[0].name))
    simple = task.baselines()
    networks = [name for name in ranked if name not in simple] or ranked  # their pictures are what people came for
    found = [_against_truth(task, networks[0], results[networks[0]])]
    if task.config.horizon > 1:
        found.append(_by_horizon(task, results, ranked))
    return [*found, *_importance(task, networks, results), _intervals(task, results, names)]


def shown_windows(windows: int, horizon: int, at_most: int) -> Array:
    """Which of ``windows`` are kept for pictures: the last stretch for one step ahead, else spread over all."""
    if horizon == 1:
        return np.arange(max(windows - at_most, 0), windows)
    return np.unique(np.linspace(0, windows - 1, min(at_most, windows)).astype(int))


def _mean(evaluations: Sequence[Evaluation], metric: str) -> float:
    return float(np.mean([evaluation.metrics[metric] for evaluation in evaluations]))


def _middle_seed(evaluations: Sequence[Evaluation], metric: str) -> Evaluation:
    """The seed in the middle: neither the luckiest nor the unluckiest picture."""
    order = sorted(evaluations, key=lambda evaluation: evaluation.metrics[metric])
    return order[len(order) // 2]


# ---- forecasts against the truth --------------------------------------------------------------------------------


def _against_truth(task: Forecasting, name: str, evaluations: Sequence[Evaluation]) -> Section:
    metric = task.metrics[0].name
    best = _middle_seed(evaluations, metric)
    draw = _stretch if task.config.horizon == 1 else _pictures
    intervals = task.config.intervals
    bands = f"Bands: central intervals, the widest {100 * intervals[0][0]:g} %. " if intervals else ""
    which = f" (the seed in the middle by {metric})" if len(evaluations) > 1 else ""
    caption = f"Forecasts of {name}{which} on the test part. {bands}Dots: what came."
    return Section("Forecasts against the truth", [Figure(draw(task, name, best), caption, caption)])


def _axis(task: Forecasting, series: int, rows: Array) -> Array:
    stamps = task.windows.series[series].stamps[rows]
    if isinstance(stamps, pd.DatetimeIndex):
        return stamps.tz_localize(None).to_numpy()
    return np.asarray(stamps)


def _bands(task: Forecasting, quantiles: Array) -> tuple[Array | None, Array | None, list[tuple[Array, Array]]]:
    """The widest interval and the narrower ones of ``quantiles (n, Q)``; none where the median stands alone."""
    if not task.config.intervals:
        return None, None, []
    (_, low, high), *inner = task.config.intervals
    return quantiles[:, low], quantiles[:, high], [(quantiles[:, a], quantiles[:, b]) for _, a, b in inner]


def _stretch(task: Forecasting, name: str, best: Evaluation) -> str:
    """One-step forecasts over the last rows of the test part."""
    arrays, label = best.arrays, task.features.targets[0]
    series, rows = task.windows.locate(arrays["shown_origin"])
    last = series == series[-1]
    keep = np.flatnonzero(last)[-_STRETCH:]
    x = _axis(task, int(series[-1]), rows[keep] + 1)
    low, high, inner = _bands(task, arrays["shown_quantiles"][0, keep, 0])
    lines = [
        Line(name, x, arrays["shown_point"][0, keep, 0], low, high, bands=inner),
        Line("truth", x, arrays["shown_truth"][0, keep, 0], style="points"),
    ]
    return line_chart(lines, title=f"{label}, one step ahead", ylabel=label)


def _pictures(task: Forecasting, name: str, best: Evaluation) -> str:
    """A few windows spread over the test part, each with what the model saw last."""
    arrays, config, targets = best.arrays, task.config, task.features.targets
    origins = arrays["shown_origin"]
    picked = np.unique(np.linspace(0, len(origins) - 1, _PICTURES).astype(int))
    series, rows = task.windows.locate(origins[picked])
    parts = []
    for at, (index, s, row) in enumerate(zip(picked, series, rows, strict=True)):
        o = at % len(targets)
        past = np.arange(max(row + 1 - min(config.lookback, 2 * config.horizon), 0), row + 1)
        ahead = row + np.arange(1, config.horizon + 1)
        raw = task.windows.series[s].raw[:, o]
        low, high, inner = _bands(task, arrays["shown_quantiles"][:, index, o])
        when = task.windows.series[s].stamps[row]
        title = (
            f"{targets[o]}{' of ' + task.windows.series[s].id if task.windows.series[s].id else ''}, from {_date(when)}"
        )
        lines = [
            Line("seen by the model", _axis(task, s, past), raw[past], colour="truth"),
            Line(name, _axis(task, s, ahead), arrays["shown_point"][:, index, o], low, high, bands=inner),
            Line("truth", _axis(task, s, ahead), arrays["shown_truth"][:, index, o], style="points"),
        ]
        parts.append(Panel(lines, title=title, ylabel=targets[o]))
    return panels(parts, columns=2)


def _date(stamp: object) -> str:
    if isinstance(stamp, pd.Timestamp):
        return stamp.strftime("%Y-%m-%d %H:%M").removesuffix(" 00:00")
    return f"step {stamp}"


# ---- error by horizon -------------------------------------------------------------------------------------------


def _by_horizon(task: Forecasting, results: Results, ranked: Sequence[str]) -> Section:
    """Mean absolute error over the steps of the horizon, with the range over seeds."""
    steps = np.arange(1, task.config.horizon + 1)
    drawn = _worth_drawing(results, ranked)
    parts = []
    for o, target in enumerate(task.features.targets[:_PICTURES]):
        lines = []
        for name in drawn:
            errors = np.stack([evaluation.arrays["mae_by_horizon"][:, o] for evaluation in results[name]])  # (seeds, K)
            low, high = (errors.min(0), errors.max(0)) if len(errors) > 1 else (None, None)
            lines.append(Line(name, steps, errors.mean(0), low, high))
        parts.append(Panel(lines, title=target, xlabel="step of the horizon", ylabel="mean absolute error"))
    left_out = [name for name in ranked if name not in drawn]
    rest = f" Not drawn, as they err more: {', '.join(left_out)}." if left_out else ""
    caption = f"Mean absolute error of each step ahead; bands show the range over seeds.{rest}"
    svg = panels(parts, columns=2 if len(parts) > 1 else 1)
    return Section("Error by step of the horizon", [Figure(svg, caption, caption)])


def _worth_drawing(results: Results, ranked: Sequence[str]) -> list[str]:
    """What was trained with several seeds, and the best few of the rest: far baselines would flatten the picture."""
    single = [name for name in ranked if len(results[name]) == 1]
    return [name for name in ranked if name not in single or name in single[:_BASELINES]]


# ---- covariates --------------------------------------------------------------------------------------------------


def _importance(task: Forecasting, networks: Sequence[str], results: Results) -> list[Section]:
    """What each covariate adds; nothing where the network sees none, or for records of before this was looked at."""
    name = networks[0]
    shares = [found.arrays["importance"] for found in results[name] if len(found.arrays.get("importance", ()))]
    if not shares or np.isnan(shares).any():
        return []
    found = importance.ranked(task.features, shares)[:_MOST_COVARIATES]
    rows = [(row.name, 100 * row.share, 100 * row.low, 100 * row.high, []) for row in found]
    looks = [Style("sky")] * len(rows)  # covariates are no methods: one colour for all
    svg = interval_chart(rows, xlabel="percent that the error grows by", reference=(0, "no effect"), looks=looks)
    text = (
        f"How much the mean absolute error of {name} grows where one covariate is that of another window, past and "
        "future together, and the rest stays. Covariates that tell the same share what they are worth: each alone may "
        "look dispensable. An interval around zero: no effect was found."
    )
    caption = "The error each covariate spares, with 95 % intervals over the windows."
    return [Section("Which covariates mattered", [text, Figure(svg, caption, caption)])]


# ---- intervals --------------------------------------------------------------------------------------------------


def _intervals(task: Forecasting, results: Results, names: Sequence[str]) -> Section:
    """Nominal against measured coverage."""
    wanted = [scores.coverage_name(nominal) for nominal, _, _ in task.config.intervals]
    rows = [[name, *(f"{100 * _mean(results[name], column):.1f} %" for column in wanted)] for name in names]
    text = (
        "The share of what came that lies inside each central interval: it should be near the interval's name. "
        "Baselines take their intervals from their own errors on the validation part."
    )
    return Section("Do the intervals hold?", [text, Table(["", *wanted], rows)])
