"""The answer in words, as careful as the numbers allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gatelab.core.task import Metric
from gatelab.report.text import number
from gatelab.studies.items import Carried
from gatelab.studies.standing import Standing
from gatelab.studies.statistics import Difference, Estimate, Values
from gatelab.studies.wording import called, listed

SMALL_PERCENT = 1.0
"""A difference below this is called small, however sure it is."""
NAMED = 6
"""Failed trials that are named one by one."""
_NOTHING = "No cell finished a single trial, so there is nothing to compare."


def headline(
    metric: Metric, cells: Mapping[str, Values], baselines: Mapping[str, float], carried: Carried | None = None
) -> str:
    """The verdict in one plain sentence: no intervals, one number at most; see ``verdict`` for the arguments."""
    standing = Standing.of(metric, cells, baselines)
    if not standing.means:
        return _NOTHING
    leader, group = called(standing.leader), listed([called(cell) for cell in [standing.leader, *standing.tied]])
    baseline = f"the best baseline, {standing.baseline}"
    if standing.news == "worse":
        return f"The baseline {standing.baseline} wins: it beats the best cell, {leader},{_by(standing)}."
    if standing.single or not standing.others:
        among, subject = f"{leader} did best" if standing.others else f"{leader} was trained", "it"
    elif standing.tied:
        among, subject = f"No difference found between {group}", "they"
    else:
        among, subject = f"{leader} is best", "it"
    if standing.news == "same":
        return f"{among}, nor from {baseline}." if standing.tied else f"{among}, but not found to beat {baseline}."
    verb = "beats" if subject == "it" else "beat"
    if standing.baseline is None:
        return f"{among}."
    doubt = " on this test part, but not surely on other data" if carried and not _agrees(standing, carried) else ""
    return f"{among}; {subject} {verb} {baseline},{_by(standing)}{doubt}."


def verdict(
    metric: Metric,
    cells: Mapping[str, Values],
    baselines: Mapping[str, float],
    failed: Sequence[str],
    carried: Carried | None = None,
) -> str:
    """A few sentences: who is best and by how much, whether a baseline is better, what to be careful about.

    Args:
        metric: what is compared.
        cells: test results of each cell by seed.
        baselines: test results of each baseline.
        failed: the trials that failed or hung, for people.
        carried: the best cell beside the best baseline over the items of the test part, where that is known.
    """
    standing = Standing.of(metric, cells, baselines)
    if not standing.means:
        return " ".join([_NOTHING, *left_out(failed)])
    sentences = [among_cells(standing)]
    if standing.baseline is not None:
        bad_news = standing.news in ("same", "worse")
        sentences.insert(0 if bad_news else 1, beside_baseline(standing))
    if carried is not None and standing.news in ("better", "worse"):
        sentences.append(over_test(standing, carried))
    if standing.single:
        sentences.append("With one seed no interval can be given: what looks better may be luck. Run more seeds.")
    return " ".join([*sentences, *left_out(failed)])


def among_cells(standing: Standing) -> str:
    """Which cell is best, which cannot be told apart from it, which are worse."""
    metric, leads, means = standing.metric, standing.leads, standing.means
    best, tied, beaten = called(standing.leader), standing.tied, standing.beaten
    reached = f"{metric.name} {amount(means[standing.leader], metric.unit)}"
    if not standing.others:
        return f"{best} reaches {reached}."
    if not standing.tested:
        rest = ", ".join(f"{called(cell)} {number(means[cell].mean)}" for cell in standing.others)
        return f"{best} has the best {reached} ({rest})."
    worse = listed([f"{called(cell)} by {size(leads[cell], metric)}" for cell in beaten])
    if not tied:
        return f"{best} is best: {reached}; it beats {worse}.{_small([leads[cell] for cell in beaten])}"
    shown = listed([f"{called(cell)}: {size(leads[cell], metric)}" for cell in tied if cell in leads])
    sentence = (
        f"No difference found between {listed([best, *map(called, tied)])}: {best} has the best "
        f"mean, {reached}, but its lead is within what chance in training explains ({shown})."
    )
    return sentence + (f" {best} beats {worse}.{_small([leads[cell] for cell in beaten])}" if beaten else "")


def beside_baseline(standing: Standing) -> str:
    """How the leader stands to the best baseline, and which cells do not beat it."""
    metric, best, gap = standing.metric, called(standing.leader), standing.beside[standing.leader]
    stated = f"{standing.baseline} ({metric.name} {number(standing.mark)}{_unit(metric.unit)})"
    if gap.p is None:
        word = "worse" if standing.news == "worse" else "better"
        return f"{best} is {word} than the best baseline, {stated}, by {size(gap, metric)}."
    if standing.news == "same":
        return f"No difference found between {best} and the best baseline, {stated}: {size(gap, metric)}."
    if standing.news == "worse":
        return f"The baseline {stated} wins: better than the best cell, {best}, by {size(gap, metric)}."
    losing = [called(cell) for cell in standing.not_better]
    beats = f"{best} beats the best baseline, {stated}, by {size(gap, metric)}"
    return beats + (f"; {listed(losing)} not." if losing else ".")


def over_test(standing: Standing, carried: Carried) -> str:
    """Whether what was found beside the baseline would be found on other data of this kind."""
    gap = f"{number(carried.percent, 2)} % [{number(carried.low, 2)}, {number(carried.high, 2)}]"
    whose = f"{called(standing.leader)}'s error lies {gap} from that of {standing.baseline}"
    about = f"over the {carried.items:,} items of the test part, {whose} (interval over items; the others over seeds)"
    if _agrees(standing, carried):
        return f"That should carry over to other data of this kind: {about}."
    return f"Whether that carries over to other data is not sure: {about}."


def over_items_of_one(metric: Metric, name: str, baseline: str, mark: float, carried: Carried | None) -> str:
    """How one model stands to the best baseline: only as much as the items it was scored on allow to say."""
    stated = f"{baseline} ({metric.name} {number(mark)}{_unit(metric.unit)})"
    if carried is None:
        return f"Whether it is better than the best baseline, {stated}, too few items were scored to say."
    gap = f"{number(abs(carried.percent), 2)} %"
    interval = f"[{number(carried.low, 2)}, {number(carried.high, 2)}], a 95 % interval over {carried.items:,} items"
    if not carried.sure:
        lies = f"its error lies {number(carried.percent, 2)} % {interval} from it"
        return f"No difference found between {name} and the best baseline, {stated}: {lies}."
    word = "smaller" if carried.percent < 0 else "larger"
    return (
        f"Its error is {gap} {word} than that of the best baseline, {stated}: {interval}. "
        "This is one training: gatelab compare says what another seed would give."
    )


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


def left_out(failed: Sequence[str]) -> list[str]:
    """A sentence about trials that did not finish, the first few by name; none where all did."""
    if not failed:
        return []
    one, more = len(failed) == 1, len(failed) - NAMED
    names = "; ".join(failed[:NAMED]) + (f"; and {more} more" if more > 0 else "")
    return [
        f"{len(failed)} {'trial' if one else 'trials'} did not finish and {'is' if one else 'are'} left out: {names}."
    ]


def _agrees(standing: Standing, carried: Carried) -> bool:
    return carried.sure and (carried.percent < 0) == (standing.news == "better")


def _by(standing: Standing) -> str:
    percent = standing.beside[standing.leader].percent
    return "" if percent is None else f" by {number(abs(percent.mean), 2)} %"


def _unit(unit: str) -> str:
    return f" {unit}" if unit else ""


def _small(gaps: Sequence[Difference]) -> str:
    if all(gap.percent and abs(gap.percent.mean) < SMALL_PERCENT for gap in gaps):
        return f" That is sure but small: below {SMALL_PERCENT:g} %."
    return ""
