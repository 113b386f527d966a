"""The ten statements, and how each is tested."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from gatelab.studies.questions import claims_evidence as evidence
from gatelab.studies.questions.claims_evidence import Evidence
from gatelab.studies.questions.claims_runs import Run

MARGIN = 0.05
"""An error up to this share higher counts as comparable."""


_DATA = ("source", "by", "length", "lookback", "parameters", "recurrent_dropout")


@dataclass(frozen=True)
class Claim:
    """One statement of the courses."""

    name: str
    statement: str
    tested: str
    """How, in a sentence or two."""
    effect: str
    """What the number is."""
    evidence: Callable[[Sequence[Run]], Sequence[Evidence]]
    rows: Sequence[str]
    """Settings that agree in these are gathered, and tested together."""
    supports: Literal[-1, 1]
    """The sign of an effect that speaks for the statement."""
    studies: Sequence[str] = ()
    """Whose trials count beside those of this study, where they were run."""
    ratio: bool = True
    """Whether effects are logarithms of ratios, or differences."""
    margin: float = 0.0
    """How far an effect may lie on the wrong side of 0 and still speak for the statement."""


def _not_latching(runs: Sequence[Run]) -> list[Run]:
    return [run for run in runs if run.setting.get("source") != "recall"]


CLAIMS = (
    Claim(
        "trains-faster",
        "The GRU trains faster.",
        "The time of a forward and a backward pass: layers take turns on one batch (B = 32, T = 100) and one thread, "
        "with as many units and with as many parameters, those of this package and those of torch.",
        "GRU's time / LSTM's",
        lambda runs: evidence.cost(runs, "milliseconds", "gru", "lstm"),
        rows=("library", "equal", "hidden_size"),
        supports=-1,
    ),
    Claim(
        "converges-faster",
        "The GRU converges faster.",
        "Optimizer steps until the validation loss first is at a level that half of the seeds of both cells reach, at "
        "equal numbers of parameters, each cell at its own best learning rate. Who never gets there counts with all "
        "its steps.",
        "GRU's steps / LSTM's",
        lambda runs: evidence.steps(_not_latching(runs)),
        rows=_DATA,
        supports=-1,
        studies=("comparison", "music"),
    ),
    Claim(
        "fewer-parameters",
        "The GRU needs fewer parameters.",
        "Both cells are trained in several sizes. For each LSTM whose error lies within the GRU's range: with how many "
        "parameters has the GRU that error, between its own sizes?",
        "GRU's parameters / LSTM's at the same error",
        evidence.fewer_parameters,
        rows=("source", "by"),
        supports=-1,
        studies=("hidden-size",),
    ),
    Claim(
        "remembers-longer",
        "The LSTM remembers longer.",
        "A bit is asked for after T steps of noise, or two marked numbers among T are to be summed; equal numbers of "
        "parameters and of optimizer steps. Skill is the share of the error of who remembers nothing that a network "
        "takes away.",
        "LSTM's skill − GRU's",
        evidence.memory,
        rows=("source", "init"),
        supports=1,
        studies=("length", "adding", "copy-memory"),
        ratio=False,
    ),
    Claim(
        "costs-more",
        "The LSTM costs more.",
        "The time of a forward and a backward pass and what the forward pass keeps for it, as above.",
        "LSTM's cost / GRU's",
        lambda runs: [
            each for quantity in ("milliseconds", "megabytes") for each in evidence.cost(runs, quantity, "lstm", "gru")
        ],
        rows=("of", "equal", "library", "hidden_size"),
        supports=1,
    ),
    Claim(
        "comparable",
        "The GRU is comparable or better.",
        f"The test error at equal numbers of parameters. Comparable: surely less than {MARGIN:.0%} above the LSTM's.",
        "GRU's error / LSTM's",
        lambda runs: evidence.errors(_not_latching(runs)),
        rows=_DATA,
        supports=-1,
        studies=("comparison", "music"),
        margin=math.log1p(MARGIN),
    ),
    Claim(
        "stable-gradients",
        "Gates keep gradients stable.",
        "Of the gradient at a step, which share is there one step back? The decay per step keeps it at 1, lets it "
        "vanish below and explode above. The effect is how much nearer to 1 the gated cell's decay lies than the "
        "RNN's, on a logarithmic scale.",
        "RNN's |ln decay| − gated cell's",
        evidence.stability,
        rows=("when", "init"),
        supports=1,
        studies=("gradients",),
        ratio=False,
    ),
    Claim(
        "clipping",
        "Clipping is needed.",
        "The test error without clipping and with the gradient's norm clipped at 1. Rate best: each has the learning "
        "rate of its least validation loss among several. Rate too high: both have the next of these above the one "
        "that is best without clipping. A training that ends in numbers that are not finite counts with the error of "
        "chance.",
        "error without clipping / with it",
        evidence.clipping,
        rows=("optimizer", "rate"),
        supports=1,
        studies=("stability",),
    ),
    Claim(
        "deeper",
        "Deeper is better until it overfits.",
        "The test error of more layers beside that of fewer, with as many units in each.",
        "deeper network's error / shallower one's",
        lambda runs: evidence.growing(runs, "num_layers"),
        rows=("num_layers", "source", "by"),
        supports=-1,
        studies=("depth",),
    ),
    Claim(
        "bigger",
        "Bigger hidden states help.",
        "The test error of more units beside that of fewer, from one size to the next.",
        "larger state's error / smaller one's",
        lambda runs: evidence.growing(runs, "hidden_size"),
        rows=("hidden_size", "cell"),
        supports=-1,
        studies=("hidden-size",),
    ),
)
