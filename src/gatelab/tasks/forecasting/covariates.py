"""Covariates of which nothing can be learned, and values further out than any that something was learned of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gatelab.data.names import listed
from gatelab.data.roles import Column, Roles
from gatelab.data.table import Series, SeriesTable
from gatelab.data.wording import BEYOND, counted
from gatelab.tasks.forecasting.scaling import moments

if TYPE_CHECKING:
    from gatelab.tasks.forecasting.features import Features

Array = np.ndarray


def given(series: Series) -> Array:
    """Steps for which the table has a row. (T,)"""
    return np.ones(len(series), bool) if series.given is None else series.given


def without_still(table: SeriesTable, train_rows: Mapping[str, int]) -> tuple[SeriesTable, list[str]]:
    """The table without the covariates that never change in the training part, and a line on them.

    A network learns nothing of what does not change, so that whatever it makes of a change later on is chance. A
    column that has one value where it has any, and is empty in other rows, stays: being empty is what changes.

    Args:
        table: as it was read.
        train_rows: training rows of each series, by id.
    """
    still = {column.name: why for column, values in _training(table, train_rows) if (why := _still(column, values))}
    if not still:
        return table, []
    roles = replace(
        table.roles,
        past=tuple(name for name in table.roles.past or () if name not in still),
        future=tuple(name for name in table.roles.future if name not in still),
    )
    kept = [c for c, column in enumerate(table.columns) if column.name not in still]
    series = tuple(replace(each, values=each.values[:, kept]) for each in table.series)
    columns = tuple(table.columns[c] for c in kept)
    listing = listed(f"{name} ({reason})" for name, reason in still.items())
    return replace(table, columns=columns, series=series, roles=roles), [
        f"left out, for the training part shows no change of it to learn from: {listing}"
    ]


def left_out(features: Features, roles: Roles) -> list[str]:
    """Covariates that the user named and that the model does not see."""
    seen = {column.name for column in features.columns}
    return [name for name in roles.named if name not in seen]


def _still(column: Column, values: Array) -> str:
    """Why nothing can be learned of a covariate with these ``values (T,)``; empty where something can."""
    seen = np.isfinite(values)  # (T,)
    if seen.any() and not seen.all():
        return ""
    if not seen.any():
        return "no values there"
    centre, deviation, _ = moments(values[:, None])
    if deviation[0] > 0:
        return ""
    return f"always {f'{centre[0]:g}' if column.kind == 'number' else column.levels[int(centre[0])]}"


def sometimes_empty(table: SeriesTable, train_rows: Mapping[str, int]) -> tuple[str, ...]:
    """Covariates with an empty cell in a training row; steps for which the table has no row do not count."""
    return tuple(column.name for column, values in _training(table, train_rows) if np.isnan(values).any())


def _training(table: SeriesTable, train_rows: Mapping[str, int]) -> Iterator[tuple[Column, Array]]:
    """The covariates, each with its values ``(N,)`` in the training rows of all series that the table has."""
    for c, column in enumerate(table.columns):
        if column.role != "target":
            heads = [series.values[: train_rows[series.id], c] for series in table.series]  # (T,) each
            rows = [given(series)[: train_rows[series.id]] for series in table.series]  # (T,) each
            yield column, np.concatenate(heads)[np.concatenate(rows)]


def said_beyond(features: Features, series: Sequence[Series]) -> list[str]:
    """A line on covariates with values too far out to be read as they are; none where all can."""
    counts = {column.name: 0 for column in features.columns if column.name in features.limits}
    for each in series:
        centre, deviation = (np.asarray(part) for part in features.scale_of(each.id))  # (C,) each
        for c, column in enumerate(features.columns):
            if column.name in counts:
                least, most = features.limits[column.name]
                scaled = (each.values[:, c] - centre[c]) / deviation[c]  # (T,)
                counts[column.name] += int(((scaled < least) | (scaled > most)).sum())
    beyond = [f"{name} ({counted(count, 'value')})" for name, count in counts.items() if count]
    if not beyond:
        return []
    return [BEYOND + listed(beyond)]
