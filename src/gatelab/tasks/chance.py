"""How sure a mean is over items that follow one another in time and overlap, such as windows of one series."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.fft import dct

LEVEL = 0.95
FEWEST = 20
"""Items below which nothing is said."""


class Mean(NamedTuple):
    """A mean and its interval."""

    value: float
    low: float
    high: float


def mean_of_items(values: np.ndarray) -> Mean:
    """The mean of ``values (N,)``, in order, with a 95 % interval that heeds their correlation.

    The variance of the mean is estimated by the first ``B = 0.41 N^(2/3)`` cosine transforms, and the statistic has
    Student's t with B degrees of freedom (Lazarus, Lewis, Stock & Watson 2018, "HAR inference", sec. 2, the EWC test).
    """
    items = len(values)
    count = max(math.floor(0.41 * items ** (2 / 3)), 1)
    transforms = dct(values, norm="ortho")[1 : count + 1]  # (B,)
    error = math.sqrt(float(np.mean(transforms**2)) / items)
    half = float(stats.t.ppf((1 + LEVEL) / 2, count)) * error
    mean = float(values.mean())
    return Mean(mean, mean - half, mean + half)
