"""Which covariates matter: how much worse the forecasts get where a covariate is that of another window.

Each covariate in turn is exchanged among the windows of a part, past and future together, and everything else stays
(Breiman 2001, "Random forests", sec. 10; Fisher, Rudin & Dominici 2019). What the error grows by is what the network
takes from the covariate that the rest does not tell it. This is chosen over integrated gradients, by which words of a
text and steps of a sequence are explained: those say what moved one forecast, not whether it moved it to the truth, and
a covariate of noise that was learned by heart has large ones.

G covariates, N windows, L lookback, K horizon, O targets, P past channels, F channels known ahead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from gatelab.core.random import generator
from gatelab.tasks.chance import FEWEST, mean_of_items
from gatelab.tasks.forecasting import baselines
from gatelab.tasks.forecasting.features import Features
from gatelab.tasks.forecasting.windows import WindowBatch

if TYPE_CHECKING:
    from gatelab.tasks.forecasting.task import Forecasting

Array = np.ndarray
_MOST_SAID = 6
_MOST_WINDOWS, _TURNS, _FEW = 400, 4, 12  # windows looked at; exchanges of each covariate, one where these are many


class Covariate(NamedTuple):
    """A covariate with all of its channels: value and flag of a number, one for each level of a category."""

    name: str
    past: list[int]
    """Among the past channels."""
    known: list[int]
    """Among the channels known ahead."""


def covariates_of(features: Features) -> list[Covariate]:
    """Every covariate that the network sees; the calendar and the holidays are one each."""
    found, past, known = [], 0, 0
    for c in features.of("past"):
        width = len(features.channels_of(c))
        found.append(Covariate(features.columns[c].name, list(range(past, past + width)), []))
        past += width
    for c in features.of("future"):
        width = len(features.channels_of(c))
        found.append(Covariate(features.columns[c].name, [], list(range(known, known + width))))
        known += width
    feasts = len(features.holidays.channels) if features.holidays else 0
    for name, width in (("the calendar", 2 * len(features.calendar)), ("holidays", feasts)):
        if width:
            found.append(Covariate(name, [], list(range(known, known + width))))
        known += width
    return found


def importances(task: Forecasting, model: Any, origins: Array) -> Array:
    """For each covariate the share by which the mean absolute error grows, with its 95 % interval. (G, 3)

    Errors are in training deviations, so that series and targets of any size count alike. Windows overlap, and the
    interval heeds that; it is of chance in the windows, not in the training. NaN where there are too few windows.

    Args:
        task: with the windows of ``origins``.
        model: a trained ``ForecastNet``.
        origins: windows to look at, ``(N,)``; thinned where they are many.
    """
    found = covariates_of(task.features)
    nothing = np.full((len(found), 3), np.nan)  # (G, 3)
    origins = origins[:: max(-(-len(origins) // _MOST_WINDOWS), 1)]
    origins = origins[np.isnan(task.windows.held(origins)).any(axis=1)]  # what stands still is forecast without them
    if not found or len(origins) < FEWEST:
        return nothing
    whole = task.windows.cut(origins)
    plain = _errors(task, model, whole, origins)  # (N,)
    kept = np.isfinite(plain)
    reference = plain[kept].mean() if kept.sum() >= FEWEST else 0.0
    if reference <= 0:
        return nothing
    shares = []
    for covariate in found:
        turns = _TURNS if len(found) <= _FEW else 1
        errors = np.mean([_exchanged(task, model, whole, origins, covariate, t) for t in range(turns)], axis=0)  # (N,)
        shares.append(mean_of_items((errors - plain)[kept] / reference))
    return np.array(shares)


def _exchanged(
    task: Forecasting, model: Any, whole: WindowBatch, origins: Array, covariate: Covariate, turn: int
) -> Array:
    """Errors ``(N,)`` where each window has this covariate of another one."""
    order = generator(0, "importance", covariate.name, turn).permutation(whole.size)  # (N,)
    targets, past = task.windows.target.shape[1], task.windows.past.shape[1]
    columns = [targets + c for c in covariate.past] + [targets + past + c for c in covariate.known]
    inputs, ahead = whole.inputs.clone(), whole.ahead.clone()
    inputs[:, :, columns] = whole.inputs[:, order][:, :, columns]  # (L, N, ·)
    ahead[:, :, covariate.known] = whole.ahead[:, order][:, :, covariate.known]  # (K, N, ·)
    return _errors(task, model, replace(whole, inputs=inputs, ahead=ahead), origins)


@torch.no_grad()
def _errors(task: Forecasting, model: Any, batch: WindowBatch, origins: Array) -> Array:
    """Mean absolute error of the point forecast of each window in training deviations ``(N,)``; NaN without truth."""
    forecast = model(batch.to(next(model.parameters()).device))
    middle = forecast.quantiles.sort(dim=-1).values[..., task.config.quantiles.index(0.5)]
    point = (middle if forecast.mean is None else forecast.mean).cpu().double().numpy()  # (K, N, O)
    if task.config.positive:
        centre, deviation = baselines.scales(task.windows, origins)  # (N, O) each
        point = np.maximum(point, -centre / deviation)
    seen = batch.seen.numpy()  # (K, N, O)
    total = (np.abs(point - batch.truth.double().numpy()) * seen).sum(axis=(0, 2))  # (N,)
    count = seen.sum(axis=(0, 2))  # (N,)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def said(features: Features, shares: Array) -> list[str]:
    """A line on what the covariates add, the first that which adds most; none where nothing was measured."""
    if not len(shares) or np.isnan(shares).all():
        return []
    rows = ranked(features, [shares])
    named = "; ".join(f"{row.name} {row.words}" for row in rows[:_MOST_SAID])
    more = f"; and {len(rows) - _MOST_SAID} more that add less" if len(rows) > _MOST_SAID else ""
    return [f"covariates, by how much the error grows where each is exchanged among windows: {named}{more}"]


class Ranked(NamedTuple):
    """A covariate and the share by which the error grows without it."""

    name: str
    share: float
    low: float
    high: float

    @property
    def words(self) -> str:
        """In words, with the interval.

        >>> Ranked("price", 0.123, 0.1, 0.146).words, Ranked("noise", 0.001, -0.002, 0.004).words
        ('12.3 % [10.0, 14.6]', '0.1 % [-0.2, 0.4], no effect found')
        """
        sure = "" if self.low > 0 or self.high < 0 else ", no effect found"
        return f"{100 * self.share:.1f} % [{100 * self.low:.1f}, {100 * self.high:.1f}]{sure}"


def ranked(features: Features, shares: Sequence[Array]) -> list[Ranked]:
    """Covariates by the mean of ``shares`` over seeds, ``(G, 3)`` each, the greatest first."""
    mean = np.mean(np.stack(shares), axis=0)  # (G, 3)
    rows = [Ranked(c.name, *map(float, row)) for c, row in zip(covariates_of(features), mean, strict=True)]
    return sorted(rows, key=lambda row: -row.share)
