"""What can be set about a forecast, and how the rest is chosen."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from gatelab.core.config import require
from gatelab.data.frequency import Frequency
from gatelab.data.roles import Roles

Normalise = Literal["auto", "none", "last", "mean", "standard"]

# Steps that people who keep such series usually ask for: an hour, a day, a week, a season, a year ahead.
_HORIZONS = {"s": 60, "min": 60, "5min": 12, "10min": 6, "15min": 16, "30min": 48, "h": 24, "D": 7, "B": 5, "W": 8,
             "MS": 12, "ME": 12, "QS": 4, "QE": 4, "YS": 3, "YE": 3}  # fmt: skip
_LONGEST_LOOKBACK = 168  # a week of hours; longer windows cost time in proportion and rarely pay


@dataclass(frozen=True)
class ForecastingConfig:
    """What to forecast, from what, and how it is scored."""

    roles: Roles = field(
        default_factory=Roles,
        metadata={"title": "column", "text": "What the columns are; what is not said is found, and noted."},
    )
    """What the columns are."""
    horizon: int | None = None
    """Steps to forecast; none: chosen from the frequency."""
    lookback: int | None = None
    """Past steps the model sees; none: chosen from the seasonality and the horizon."""
    split: tuple[float, ...] = (0.7, 0.1, 0.2)
    """Train, validation and test parts in time order: fractions, or numbers of rows (such as 8640,2880,2880)."""
    test_data: str | None = None
    """A table of its own to test on; the split is then train and validation alone."""
    normalise: Normalise = "auto"
    """What is taken out of each window before the network sees it and put back afterwards: its last value, its
    mean, or mean and deviation (standard); auto: what serves a linear model best on the validation part."""
    calendar: bool | None = None
    """Show the network the time of day, week and year of past and future steps; none: where it helps a linear model
    on the validation part."""
    holidays: str | None = None
    """Country whose public holidays the network sees, past and ahead, such as DE, or DE-BY for a part of it; they are
    looked up once and kept with the model (pip install 'gatelab[holidays]')."""
    highway: bool = True
    """Add a linear path from the window to the forecast beside the network (LSTNet, Lai et al. 2018, sec. 3.6)."""
    quantiles: tuple[float, ...] = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
    """Quantiles to forecast; must hold 0.5 and be symmetric around it."""
    point: Literal["median", "mean"] = "median"
    """The single-number forecast: the median (best MAE) or the mean (best MSE)."""
    positive: bool = False
    """The targets are never below 0, such as counts and amounts: no forecast and no interval goes below it either."""
    metric: Literal["auto", "MAE", "RMSE", "MASE", "CRPS"] = "auto"
    """What models are compared by; auto: MAE for the median of one target, RMSE for the mean, MASE for several."""

    def __post_init__(self) -> None:
        require(self.horizon is None or self.horizon >= 1, "horizon", "at least 1", self.horizon)
        require(self.lookback is None or self.lookback >= 1, "lookback", "at least 1", self.lookback)
        require(len(self.split) in (2, 3) and all(s >= 0 for s in self.split) and sum(self.split) > 0,
                "split", "two or three numbers, none negative: train, validation[, test]", self.split)  # fmt: skip
        levels = self.quantiles
        symmetric = all(abs(a + b - 1) < 1e-9 for a, b in zip(levels, reversed(levels), strict=True))
        rising = all(a < b for a, b in pairwise(levels))
        require(symmetric and rising and 0.5 in levels and levels[0] > 0,
                "quantiles", "rising, symmetric around 0.5, and holding it", levels)  # fmt: skip

    @property
    def intervals(self) -> tuple[tuple[float, int, int], ...]:
        """Central intervals as (nominal coverage, index of the lower, index of the upper quantile), widest first."""
        last = len(self.quantiles) - 1
        return tuple(
            (round(self.quantiles[last - i] - self.quantiles[i], 6), i, last - i)
            for i in range(len(self.quantiles) // 2)
        )


def choose_horizon(frequency: Frequency) -> int:
    """Steps that are usually asked for at this frequency; one for rows without a calendar."""
    base = frequency.alias.split("-")[0]
    return _HORIZONS.get(base, min(frequency.seasons[0], 48) if frequency.seasons else 1)


def choose_lookback(frequency: Frequency, horizon: int, train_rows: int) -> int:
    """Two of the longest seasons that fit a window, and no less than three horizons.

    Held to a tenth of the training rows, so that a short series still gives windows to learn from.
    """
    seasons = [season for season in frequency.seasons if 2 * season <= _LONGEST_LOOKBACK]
    wanted = max([3 * horizon, 24, *(2 * season for season in seasons)])
    return max(min(wanted, _LONGEST_LOOKBACK, train_rows // 10), min(horizon, train_rows // 3), 2)
