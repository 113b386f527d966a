"""Who leads, who cannot be told apart from whom, and how both stand to the best baseline: the facts of a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from gatelab.core.task import Metric
from gatelab.studies.statistics import Difference, Estimate, Values, against, estimate, pairwise


@dataclass(frozen=True)
class Standing:
    """How the cells stand to each other and to the best baseline, on the test part."""

    metric: Metric
    means: Mapping[str, Estimate]
    """Each cell's mean over seeds, the best first."""
    leads: Mapping[str, Difference]
    """From the leader to every other cell that shares seeds with it."""
    baseline: str | None
    """The baseline that is best on the test part: the choice that is hardest on the networks."""
    mark: float
    """What it reaches; NaN without one."""
    beside: Mapping[str, Difference]
    """From every cell to it."""

    @classmethod
    def of(cls, metric: Metric, cells: Mapping[str, Values], baselines: Mapping[str, float]) -> Standing:
        """The standing of ``cells`` (a metric by seed; those without a result are left out) beside ``baselines``."""
        cells = {cell: values for cell, values in cells.items() if values}
        sign = 1 if metric.goal == "min" else -1
        means = {cell: estimate(list(values.values())) for cell, values in cells.items()}
        means = dict(sorted(means.items(), key=lambda item: sign * item[1].mean))
        best = next(iter(means), "")
        leads = {d.b if d.a == best else d.a: d.seen_from(best) for d in pairwise(cells) if best in (d.a, d.b)}
        name = min(baselines, key=lambda key: sign * baselines[key], default=None)
        mark = float("nan") if name is None else baselines[name]
        beside = {} if name is None else {d.a: d for d in against(cells, name, mark)}
        return cls(metric, means, leads, name, mark, beside)

    @property
    def leader(self) -> str:
        """The cell with the best mean."""
        return next(iter(self.means))

    @property
    def others(self) -> list[str]:
        """The rest, the best first."""
        return [cell for cell in self.means if cell != self.leader]

    @property
    def tied(self) -> list[str]:
        """Those that chance in training may have put behind the leader."""
        return [cell for cell in self.others if cell not in self.leads or not self.leads[cell].found]

    @property
    def beaten(self) -> list[str]:
        """Those that are behind beyond chance."""
        return [cell for cell in self.others if cell not in self.tied]

    @property
    def tested(self) -> bool:
        """Whether any two cells could be compared seed by seed."""
        return any(lead.p is not None for lead in self.leads.values())

    @property
    def single(self) -> bool:
        """Whether no cell has more than one seed."""
        return max(mean.count for mean in self.means.values()) == 1

    def ahead(self, gap: Difference) -> bool:
        """Whether the first of ``gap`` has the better value."""
        return gap.units.mean < 0 if self.metric.goal == "min" else gap.units.mean > 0

    @property
    def news(self) -> Literal["none", "better", "same", "worse"]:
        """How the leader stands to the best baseline; with one seed, by the plain order of the two."""
        if self.baseline is None:
            return "none"
        gap = self.beside[self.leader]
        if gap.p is not None and not gap.found:
            return "same"
        return "better" if self.ahead(gap) or gap.units.mean == 0 else "worse"

    @property
    def not_better(self) -> list[str]:
        """Cells that do not beat the best baseline beyond chance."""
        return [cell for cell, gap in self.beside.items() if not (gap.found and self.ahead(gap))]
