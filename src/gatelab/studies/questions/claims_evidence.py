"""From trials to evidence: for each claim the settings it was tested in, and in each an effect by seed.

An effect is the logarithm of a ratio, or a difference. A setting is what both sides of a comparison share: the data,
the size, the start.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from gatelab.studies.questions.claims_runs import Run, Setting
from gatelab.studies.questions.comparison_findings import reachable_level
from gatelab.studies.questions.gradients_findings import decay
from gatelab.studies.statistics import Values


class Evidence(NamedTuple):
    """One setting in which a claim was tested."""

    study: str
    setting: Setting
    """What is worth telling of it."""
    effects: Values
    fit: Values = MappingProxyType({})
    """The same of the training loss, where that tells more."""


_TOLD = ("source", "by", "length", "lookback", "horizon", "parameters", "recurrent_dropout", "cell", "hidden_size",
         "num_layers", "init", "optimizer", "rate", "clip_norm")  # fmt: skip
"""What is worth telling of a setting."""
_PICTURES = ("digits", "mnist_t10k")
_ERRORS = ("MASE", "NLL", "MSE", "cross-entropy")
"""What counts as the error, of each task that which training lessens, or stands in proportion to it."""
_MEMORYLESS: Mapping[str, Callable[[Setting], float]] = {
    "recall": lambda setting: math.log(2),
    "adding": lambda setting: 1 / 6,
    "copy": lambda setting: 10 * math.log(8) / (setting["length"] + 20),
}
"""The error of who remembers nothing: cross-entropy of a coin, variance of a sum of two, blanks and then any symbol."""
GATED = ("lstm", "gru")


# ---- sides of a comparison ---------------------------------------------------------------------------------------


class Sides(NamedTuple):
    """Runs that differ in one factor alone, by its value and by seed."""

    study: str
    setting: Setting
    runs: Mapping[Any, Mapping[int, Run]]

    def pairs(self, over: Any, under: Any) -> list[tuple[int, Run, Run]]:
        """The runs of two values with the same seed."""
        a, b = self.runs.get(over, {}), self.runs.get(under, {})
        return [(seed, a[seed], b[seed]) for seed in a if seed in b]

    def evidence(self, over: Any, under: Any, effect: Callable[[Run, Run], float], **told: Any) -> list[Evidence]:
        """The effect of ``over`` beside ``under`` for each seed; nothing where no seed finished both."""
        effects = {seed: effect(a, b) for seed, a, b in self.pairs(over, under)}
        return [Evidence(self.study, {**self.setting, **told}, effects)] if effects else []


class Group(NamedTuple):
    """Runs of one study that share a setting."""

    study: str
    setting: Setting
    runs: Sequence[Run]


def grouped(runs: Iterable[Run], *free: str) -> list[Group]:
    """Runs that share everything but what is ``free``."""
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        shared = {name: value for name, value in run.setting.items() if name not in free}
        groups[json.dumps([run.study, shared], sort_keys=True)].append(run)
    return [Group(found[0].study, _told(found[0].setting, free), found) for found in groups.values()]


def _told(setting: Setting, free: Sequence[str]) -> Setting:
    """What is worth telling of it. Pictures have no length of their own, and nothing else is read by row or pixel; a
    start that is made for a length is the same start at every length."""
    meant_for_others = ("length",) if setting.get("source") in _PICTURES else ("by",)
    told = {name: setting[name] for name in _TOLD if name in setting and name not in (*free, *meant_for_others)}
    return {**told, "init": re.sub(r"chrono:\d+", "chrono", told["init"])} if "init" in told else told


def sides(runs: Iterable[Run], factor: str, *free: str) -> list[Sides]:
    """Groups that differ in ``factor`` alone, of two values at least."""
    found = []
    for group in grouped((run for run in runs if factor in run.setting), factor, *free):
        by_value: dict[Any, dict[int, Run]] = defaultdict(dict)
        for run in group.runs:
            by_value[run.setting[factor]][run.seed] = run
        found += [Sides(group.study, group.setting, by_value)] if len(by_value) > 1 else []
    return found


def trained(runs: Iterable[Run]) -> list[Run]:
    """Those that have an error."""
    return [run for run in runs if error(run) is not None]


def error(run: Run) -> float | None:
    """The test error; none where the run is no training."""
    metrics = run.measures.get("test") or {}
    name = next((name for name in _ERRORS if metrics.get(name) is not None), None)
    return None if name is None or "profiles" in run.measures else float(metrics[name])


def log_error(a: Run, b: Run) -> float:
    """ln of a's error over b's."""
    return float(np.log(max(error(a) or 0.0, 1e-12) / max(error(b) or 0.0, 1e-12)))


# ---- evidence for each kind of claim -----------------------------------------------------------------------------


def cost(runs: Iterable[Run], quantity: str, over: str, under: str) -> list[Evidence]:
    """ln of what one cell's layer costs over another's, with as many units and with as many parameters."""
    found: dict[str, Evidence] = {}
    for run in (run for run in runs if "equal" in run.measures):
        for by, costs in run.measures["equal"].items():
            told = {"library": run.measures["library"], "hidden_size": run.setting["hidden_size"], "equal": by,
                    "of": quantity}  # fmt: skip
            evidence = found.setdefault(json.dumps(told), Evidence(run.study, told, {}))
            evidence.effects[run.seed] = float(np.log(costs[quantity][over] / costs[quantity][under]))  # type: ignore[index]
    return list(found.values())


def equal_parameters(runs: Iterable[Run]) -> list[Sides]:
    """Cells beside each other that have as many parameters."""
    budgeted = [run for run in trained(runs) if "parameters" in run.setting]
    return sides(budgeted, "cell", "hidden_size")


def steps(runs: Iterable[Run]) -> list[Evidence]:
    """ln of the GRU's steps to a level over the LSTM's; who never gets there counts with all its steps."""
    found = []
    for each in equal_parameters(run for run in runs if run.measures.get("history")):
        histories = {cell: pd.DataFrame({"history": [run.measures["history"] for run in by_seed.values()]})
                     for cell, by_seed in each.runs.items() if cell in GATED}  # fmt: skip
        level = reachable_level(histories) if histories else np.inf

        def effect(a: Run, b: Run, level: float = level) -> float:
            return float(np.log(_steps(a, level) / _steps(b, level)))

        found += each.evidence("gru", "lstm", effect)
    return found


def _steps(run: Run, level: float) -> float:
    """Steps until the validation loss crosses the level, between the looks at it; all where it never does."""
    history = run.measures["history"]
    losses = [np.inf if record["validation_loss"] is None else record["validation_loss"] for record in history]
    at = next((at for at, loss in enumerate(losses) if loss <= level), None)
    if at is None:
        return history[-1]["step"]
    if at == 0 or not np.isfinite(losses[at - 1]):
        return history[at]["step"]
    return float(np.interp(level, losses[at - 1 : at + 1][::-1], [history[at]["step"], history[at - 1]["step"]]))


def memory(runs: Iterable[Run]) -> list[Evidence]:
    """The LSTM's skill less the GRU's: the share of the error of who remembers nothing that is taken away."""
    drawn = [run for run in runs if run.setting.get("source") in _MEMORYLESS]
    return [each for found in equal_parameters(drawn) for each in found.evidence("lstm", "gru", _more_skill)]


def _more_skill(a: Run, b: Run) -> float:
    return _skill(a) - _skill(b)


def _skill(run: Run) -> float:
    return max(0.0, 1 - (error(run) or 0.0) / _MEMORYLESS[run.setting["source"]](run.setting))


def errors(runs: Iterable[Run]) -> list[Evidence]:
    """ln of the GRU's error over the LSTM's at equal parameters."""
    return [each for found in equal_parameters(runs) for each in found.evidence("gru", "lstm", log_error)]


def growing(runs: Iterable[Run], factor: str, *free: str) -> list[Evidence]:
    """ln of the error with more of ``factor`` over that with the next less, for one size after the other."""
    found: list[Evidence] = []
    for each in sides([run for run in trained(runs) if "parameters" not in run.setting], factor, *free):
        values = sorted(each.runs)
        for less, more in itertools.pairwise(values):
            fit = {seed: _log_fit(a, b) for seed, a, b in each.pairs(more, less)}
            beside = each.evidence(more, less, log_error, **{factor: f"{less} → {more}"})
            found += [evidence._replace(fit=fit) for evidence in beside]
    return found


def _log_fit(a: Run, b: Run) -> float:
    """ln of the last training loss of a over that of b; NaN where one is not known or not above zero."""
    losses = [((run.measures.get("history") or [{}])[-1].get("train_loss")) or np.nan for run in (a, b)]
    return float(np.log(losses[0] / losses[1])) if min(losses) > 0 else np.nan


def clipping(runs: Iterable[Run]) -> list[Evidence]:
    """ln of the error without clipping over that with it: where each has its best learning rate, and where it is too
    high by one of those tried.

    Of maps, which have every learning rate with every limit, only limit 1 counts; the best rate is that of the least
    validation loss, seed by seed.
    """
    found: list[Evidence] = []
    kept = [run for run in trained(runs) if run.setting.get("clip_norm", 0) in (None, 1.0)]
    for group in grouped(kept, "clip_norm", "learning_rate"):
        by_limit = {limit: _by_seed_and_rate(run for run in group.runs if run.setting["clip_norm"] == limit)
                    for limit in (None, 1.0)}  # fmt: skip
        for rate, pairs in _clipped_pairs(by_limit[None], by_limit[1.0]).items():
            if pairs:
                told = {**group.setting, "rate": rate}
                effects = {seed: log_error(*pair) for seed, pair in pairs.items()}
                found.append(Evidence(group.study, told, effects))
    return found


ByRate = Mapping[float, Run]


def _by_seed_and_rate(runs: Iterable[Run]) -> Mapping[int, ByRate]:
    found: dict[int, dict[float, Run]] = defaultdict(dict)
    for run in runs:
        rate = run.setting.get("learning_rate")
        chosen = rate is None or isinstance(rate, list)  # what it chose from: there is one run of that kind
        found[run.seed][0.0 if chosen else float(rate)] = run
    return found


def _clipped_pairs(free: Mapping[int, ByRate], clipped: Mapping[int, ByRate]) -> dict[str, dict[int, tuple[Run, Run]]]:
    """Of each seed that has both, the runs to set beside each other: without clipping, and with it."""
    best: dict[int, tuple[Run, Run]] = {}
    higher: dict[int, tuple[Run, Run]] = {}
    for seed in free.keys() & clipped.keys():
        rates = sorted(free[seed].keys() & clipped[seed].keys())
        if not rates:
            continue
        at = min(range(len(rates)), key=lambda place: _score(free[seed][rates[place]]))
        best[seed] = free[seed][rates[at]], min((clipped[seed][rate] for rate in rates), key=_score)
        if at + 1 < len(rates):
            higher[seed] = free[seed][rates[at + 1]], clipped[seed][rates[at + 1]]
    return {"best": best, "too high": higher}


def _score(run: Run) -> float:
    """The best validation loss; of what diverged the worst there is."""
    score = run.measures.get("score")
    return math.inf if score is None or not math.isfinite(score) else score


def stability(runs: Iterable[Run]) -> list[Evidence]:
    """How far |ln decay per step| lies below the RNN's in each gated cell, before training and after it."""
    found = []
    for each in sides([run for run in runs if "profiles" in run.measures], "cell"):
        for cell in GATED:
            for when, at in (("before training", 0), ("after training", -1)):
                pairs = each.pairs(cell, "rnn")
                if not pairs or (at and len(pairs[0][1].measures["profiles"]) < 2):
                    continue
                told = {"when": when, "cell": cell}
                found += each.evidence(cell, "rnn", lambda a, b, at=at: _off(b, at) - _off(a, at), **told)
    return found


def _off(run: Run, at: int) -> float:
    """How far the decay per step lies from 1, in either direction: |ln|."""
    return float(abs(np.log(max(decay(run.measures["profiles"][at]["h"]), 1e-6))))


def fewer_parameters(runs: Iterable[Run]) -> list[Evidence]:
    """ln of the parameters with which the GRU is as good as an LSTM, over the LSTM's; mean over sizes within reach."""
    found = []
    for group in grouped((run for run in trained(runs) if "parameters" not in run.setting), "cell", "hidden_size"):
        curves = {seed: [_curve([run for run in group.runs if (run.seed, run.setting["cell"]) == (seed, cell)])
                         for cell in GATED] for seed in {run.seed for run in group.runs}}  # fmt: skip
        ratios = {seed: _needed(lstm, gru) for seed, (lstm, gru) in curves.items()}
        effects = {seed: ratio for seed, ratio in ratios.items() if ratio is not None}
        found += [Evidence(group.study, group.setting, effects)] if effects else []
    return found


Curve = tuple[np.ndarray, np.ndarray]
"""ln parameters, rising, and ln of the least error with as many or fewer: ``(N,)`` each."""


def _curve(runs: Sequence[Run]) -> Curve:
    ordered = sorted(runs, key=lambda run: run.measures["parameters"])
    sizes = np.log([run.measures["parameters"] for run in ordered])  # (N,)
    return sizes, np.minimum.accumulate(np.log([max(error(run) or 0.0, 1e-12) for run in ordered] or [np.inf]))


def _needed(lstm: Curve, gru: Curve) -> float | None:
    """Mean of ln (GRU's parameters / LSTM's) at the LSTM's errors that lie between the GRU's greatest and least."""
    (sizes, falling), (others, targets) = gru, lstm
    if len(sizes) < 2 or len(others) < 2:
        return None
    within = (targets <= falling[0]) & (targets >= falling[-1])  # (N,)
    if not within.any():
        return None
    needed = np.interp(-targets[within], -falling, sizes)  # (M,)
    return float(np.mean(needed - others[within]))
