"""How well a text is expected."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from gatelab.core.task import Evaluation, Metric
from gatelab.data.tokens import Kind

Array = np.ndarray


def metrics(kind: Kind) -> tuple[Metric, ...]:
    """What models are judged by, for a kind of token; the first comes first."""
    token = kind.removesuffix("s")
    found = [
        Metric("NLL", unit=f"nats/{token}", text=f"mean −ln p of the next {token} given all before it, ends included"),
        Metric("perplexity", text=f"e to the NLL: among how many equally likely {kind} the model would be as unsure"),
    ]
    if kind != "words":  # which leave spaces out, so that their likelihood is not one of the characters
        found.append(Metric("BPC", unit="bits/character", text="bits for the whole text, over its characters"))
    return tuple(found)


def score(losses: Array, characters: int, kind: Kind, shown: Mapping[str, Array]) -> Evaluation:
    """All metrics of a text from −ln p of each of its tokens ``(N,)``, in nats.

    Args:
        losses: ends of documents included, as they are predicted too.
        characters: of the text, line ends in it included, ends of documents not.
        kind: of token.
        shown: arrays for the report.
    """
    nll = float(losses.mean())
    values = {"NLL": nll, "perplexity": math.exp(min(nll, 700.0))}
    if kind != "words":
        values["BPC"] = float(losses.sum() / math.log(2) / characters)
    return Evaluation(values, {"error_by_item": losses, **shown}, len(losses))
