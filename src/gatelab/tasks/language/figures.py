"""What a report shows of language: what the networks write, and which tokens are hard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gatelab.core.printable import printable
from gatelab.core.task import Evaluation, Metric
from gatelab.data.tokens import Tokenizer
from gatelab.report.page import Section, Table
from gatelab.report.text import number
from gatelab.tasks.language import samples

Array = np.ndarray
Results = Mapping[str, Sequence[Evaluation]]
_SHOWN = 12
_METHODS = 4


def sections(results: Results, simple: Sequence[str], metric: Metric, tokenizer: Tokenizer) -> list[Section]:
    """Sections for a page; ``results`` holds one evaluation per seed for each cell and baseline."""
    ranked = sorted((name for name in results if results[name]), key=lambda name: _mean(results[name], metric.name))
    if not ranked:
        return []
    best = next((name for name in ranked if name not in simple), ranked[0])  # networks are what people came for
    written = samples.section(tokenizer, results, best, _middle_seed(results[best], metric.name))
    return [*([written] if written else []), _hard(results, best, ranked, tokenizer)]


def by_token(losses: Array, values: Array, vocabulary: int) -> dict[str, Array]:
    """Of each token, how often it was to be predicted and −ln p in all: what ``sections`` shows of an evaluation.

    Args:
        losses: of each token of the text ``(N,)``.
        values: their numbers ``(N,)``.
        vocabulary: V.
    """
    return {
        "times_by_token": np.bincount(values, minlength=vocabulary),
        "nats_by_token": np.bincount(values, losses, vocabulary),
    }


def _mean(evaluations: Sequence[Evaluation], metric: str) -> float:
    return float(np.mean([evaluation.metrics[metric] for evaluation in evaluations]))


def _middle_seed(evaluations: Sequence[Evaluation], metric: str) -> Evaluation:
    """Neither the luckiest nor the unluckiest text."""
    return sorted(evaluations, key=lambda evaluation: evaluation.metrics[metric])[len(evaluations) // 2]


def _hard(results: Results, best: str, ranked: Sequence[str], tokenizer: Tokenizer) -> Section:
    """The tokens in which most of the loss lies, and what each method pays for one of them."""
    methods = [best, *(name for name in ranked if name != best)][:_METHODS]
    nats = {name: np.mean([e.arrays["nats_by_token"] for e in results[name]], axis=0) for name in methods}  # (V,) each
    times = results[best][0].arrays["times_by_token"]  # (V,)
    rows = []
    for token in np.argsort(-nats[best], kind="stable")[:_SHOWN].tolist():
        share = nats[best][token] / nats[best].sum()
        costs = [number(nats[name][token] / max(times[token], 1), 3) for name in methods]
        rows.append([_shown(tokenizer.name(token)), f"{times[token]:,}", f"{share:.1%}", *costs])
    caption = f"Tokens in which most of the loss of {best} lies; a method's column is −ln p of one of them, in nats."
    return Section("What is hard", [Table(["token", "times", f"share of {best}", *methods], rows, caption)])


def _shown(token: str) -> str:
    return printable(token) if token.strip() else repr(token)
