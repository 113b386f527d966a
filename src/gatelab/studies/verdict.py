"""The answer in words, as careful as the numbers allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gatelab.core.task import Metric
from gatelab.report.text import number
from gatelab.studies.statistics import Difference, Estimate, Values, against, estimate, pairwise

SMALL_PERCENT = 1.0
"""A difference below this is called small, however sure it is."""
NAMES = {"rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}


def verdict(metric: Metric, cells: Mapping[str, Values], baselines: Mapping[str, float], failed: Sequence[str]) -> str:
    """A few sentences: who is best and by how much, whether a baseline is better, what to be careful about.

    Args:
        metric: what is compared.
        cells: test results of each cell by seed.
        baselines: test results of each baseline.
        failed: the trials that failed or hung, for people.
    """
    cells = {cell: values for cell, values in cells.items() if values}
    if not cells:
        return " ".join(["No cell finished a single trial, so there is nothing to compare.", *_failures(failed)])
    sentences = [among_cells(metric, cells)]
    if baselines:
        about_baseline, bad_news = beside_baselines(metric, cells, baselines)
        sentences.insert(0 if bad_news else 1, about_baseline)
    if max(map(len, cells.values())) == 1:
        sentences.append("With one seed no interval can be given: what looks better may be luck. Run more seeds.")
    return " ".join([*sentences, *_failures(failed)])


def among_cells(metric: Metric, cells: Mapping[str, Values]) -> str:
    """Which cell is best, which cannot be told apart from it, which are worse."""
    means = {cell: estimate(list(values.values())) for cell, values in cells.items()}
    order = sorted(means, key=lambda cell: means[cell].mean, reverse=metric.goal == "max")
    best, others = order[0], order[1:]
    reached = f"{metric.name} {amount(means[best], metric.unit)}"
    if not others:
        return f"{called(best)} reaches {reached}."
    gaps = {d.b if d.a == best else d.a: d.seen_from(best) for d in pairwise(cells) if best in (d.a, d.b)}
    tied = [cell for cell in others if cell not in gaps or not gaps[cell].found]
    beaten = [cell for cell in others if cell not in tied]
    if not any(gap.p is not None for gap in gaps.values()):
        rest = ", ".join(f"{called(cell)} {number(means[cell].mean)}" for cell in others)
        return f"{called(best)} has the best {reached} ({rest})."
    worse = listed([f"{called(cell)} by {size(gaps[cell], metric)}" for cell in beaten])
    if not tied:
        return f"{called(best)} is best: {reached}; it beats {worse}.{_small([gaps[cell] for cell in beaten])}"
    shown = listed([f"{called(cell)}: {size(gaps[cell], metric)}" for cell in tied if cell in gaps])
    sentence = (
        f"No difference found between {listed([called(cell) for cell in [best, *tied]])}: {called(best)} has the best "
        f"mean, {reached}, but its lead is within what chance in training explains ({shown})."
    )
    return sentence + (f" {called(best)} beats {worse}.{_small([gaps[c] for c in beaten])}" if beaten else "")


def beside_baselines(metric: Metric, cells: Mapping[str, Values], baselines: Mapping[str, float]) -> tuple[str, bool]:
    """How the cells stand to the best baseline, and whether that is bad news for them.

    The baseline that is best on the test part is taken: the choice that is hardest on the networks.
    """
    pick = min if metric.goal == "min" else max
    name = pick(baselines, key=lambda key: baselines[key])
    gaps = {d.a: d for d in against(cells, name, baselines[name])}
    best = pick(cells, key=lambda cell: estimate(list(cells[cell].values())).mean)
    gap, stated = gaps[best], f"{name} ({metric.name} {number(baselines[name])}{_unit(metric.unit)})"
    ahead = gap.units.mean != 0 and not _wins(gap, metric)
    if gap.p is None:
        word = "is worse than" if ahead else "is better than"
        return f"{called(best)} {word} the best baseline, {stated}, by {size(gap, metric)}.", ahead
    if not gap.found:
        return f"No difference found between {called(best)} and the best baseline, {stated}: {size(gap, metric)}.", True
    if ahead:
        return (
            f"The baseline {stated} wins: better than the best cell, {called(best)}, by {size(gap, metric)}.",
            True,
        )
    losing = [cell for cell, each in gaps.items() if not (each.found and _wins(each, metric))]
    beats = f"{called(best)} beats the best baseline, {stated}, by {size(gap, metric)}"
    return beats + (f"; {listed([called(cell) for cell in losing])} not." if losing else "."), False


def size(difference: Difference, metric: Metric) -> str:
    """The size of a difference without its sign: percent where there is one, and the metric's units.

    >>> gap = Difference("gru", "rnn", Estimate(-0.2, -0.3, -0.1, 5), 10.0, 0.01, 0.02)
    >>> size(gap, Metric("MAE", unit="°C"))
    '2 % [1, 3] (0.2 °C)'
    """
    sign = -1.0 if difference.units.mean < 0 else 1.0
    units = difference.units.scaled(sign)
    if difference.percent is None:
        return amount(units, metric.unit)
    return f"{amount(difference.percent.scaled(sign), '%', 2)} ({number(units.mean, 2)}{_unit(metric.unit)})"


def amount(value: Estimate, unit: str = "", digits: int = 4) -> str:
    """A mean with its unit and interval, such as ``7.21 °C [7.19, 7.23]``."""
    text = number(value.mean, digits) + _unit(unit)
    if value.low is None:
        return text
    return f"{text} [{number(value.low, digits)}, {number(value.high, digits)}]"


def called(name: str) -> str:
    """A cell's name as people write it."""
    return NAMES.get(name, name)


def listed(words: Sequence[str]) -> str:
    """Words in a row.

    >>> listed(["RNN", "LSTM", "GRU"])
    'RNN, LSTM and GRU'
    """
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _unit(unit: str) -> str:
    return f" {unit}" if unit else ""


def _wins(gap: Difference, metric: Metric) -> bool:
    return gap.units.mean < 0 if metric.goal == "min" else gap.units.mean > 0


def _small(gaps: Sequence[Difference]) -> str:
    if all(gap.percent and abs(gap.percent.mean) < SMALL_PERCENT for gap in gaps):
        return f" That is sure but small: below {SMALL_PERCENT:g} %."
    return ""


def _failures(failed: Sequence[str]) -> list[str]:
    if not failed:
        return []
    return [f"{len(failed)} {'trial' if len(failed) == 1 else 'trials'} did not finish and "
            f"{'is' if len(failed) == 1 else 'are'} left out: {', '.join(failed)}."]  # fmt: skip
