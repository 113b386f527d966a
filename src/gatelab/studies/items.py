"""Whether a lead on the test part would carry over to other data: a test over its items, not over seeds.

Seeds tell what chance in training does. Items (windows, sentences, pieces) tell what chance in the data does; they
follow one another in time and overlap, so their errors are correlated, and a plain t-test would be far too sure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gatelab.tasks.chance import FEWEST, mean_of_items

ERRORS = "error_by_item"
"""The array of an ``Evaluation`` that holds the error of each scored item, in order."""


@dataclass(frozen=True)
class Carried:
    """The mean difference of two methods' errors over the items, in percent of the second's mean error."""

    percent: float
    low: float
    high: float
    items: int

    @property
    def sure(self) -> bool:
        """Whether the 95 % interval leaves zero out."""
        return self.low > 0 or self.high < 0


def over_items(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> Carried | None:
    """How far the first method's errors lie from the second's, with an interval that heeds their correlation.

    The equality of forecast errors is Diebold & Mariano's (1995) question; the interval is ``mean_of_items``'s.

    Args:
        first: error of each item ``(N,)``, an array for each seed; the mean over seeds is taken.
        second: the same for the other method, on the same items in the same order.

    Returns:
        ``None`` where there are too few items, or not the same number.
    """
    lengths = {len(errors) for errors in (*first, *second)}
    if len(lengths) != 1 or min(lengths) < FEWEST:
        return None
    a, b = np.mean(np.stack(first), axis=0), np.mean(np.stack(second), axis=0)  # (N,) each
    reference = float(b.mean())
    if not np.isfinite(a).all() or not np.isfinite(b).all() or reference <= 0:
        return None
    gaps = a - b  # (N,)
    mean, percent = mean_of_items(gaps), 100 / reference
    return Carried(percent * mean.value, percent * mean.low, percent * mean.high, len(gaps))
