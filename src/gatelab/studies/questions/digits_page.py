"""What the study of digits shows and says, from its findings alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatelab.core.task import Metric
from gatelab.report import plots
from gatelab.report.page import Figure, Table
from gatelab.report.text import duration, number
from gatelab.studies.standing import Standing
from gatelab.studies.statistics import Estimate
from gatelab.studies.verdict import among_cells, amount, beside_baseline
from gatelab.studies.wording import called, listed

Reading = Mapping[str, Any]
ACCURACY = Metric("accuracy", "max")
PAPER = "Bai et al. 2018"
PUBLISHED: Mapping[tuple[str, bool], Mapping[str, float]] = {
    ("mnist_t10k", False): {"rnn": 0.215, "lstm": 0.872, "gru": 0.962},
    ("mnist_t10k", True): {"rnn": 0.253, "lstm": 0.857, "gru": 0.873},
}
"""Test accuracy by pixel, in order and permuted, trained with the whole of MNIST."""
_TITLES = {"digits": "digits of 8 × 8", "mnist_t10k": "MNIST's test digits"}


def titled(reading: Reading) -> str:
    """Pictures and how they are read."""
    order = ", permuted" if reading["permuted"] else ""
    return f"{_TITLES.get(reading['source'], reading['source'])} by {reading['by']}{order}"


def _standing(reading: Reading) -> Standing:
    cells = {cell: {int(seed): value for seed, value in found["test"]["values"].items()}
             for cell, found in reading["cells"].items() if found["test"]}  # fmt: skip
    return Standing.of(ACCURACY, cells, reading["baselines"])


def _published(reading: Reading) -> Mapping[str, float]:
    return PUBLISHED.get((reading["source"], reading["permuted"]), {}) if reading["by"] == "pixel" else {}


# ---- words -------------------------------------------------------------------------------------------------------


def verdict(findings: Mapping[str, Any]) -> list[str]:
    """A headline; then each reading: who is best, beside the baselines."""
    known = [reading for reading in findings["readings"] if _standing(reading).means]
    if not known:
        return ["No cell finished a trial, so there is nothing to say."]
    best = [f"{_leaders(_standing(reading))} on {titled(reading)}" for reading in known]
    said = [f"The best accuracy on the test part: {'; '.join(best)}."]
    for reading in known:
        standing = _standing(reading)
        beside = f" {beside_baseline(standing)}" if standing.baseline is not None else ""
        said.append(f"On {titled(reading)}: {among_cells(standing)}{beside}")
    return said


def _leaders(standing: Standing) -> str:
    leaders = listed([called(cell) for cell in [standing.leader, *standing.tied]])
    together = ", no difference found" if standing.tied else ""
    return f"{leaders} ({number(standing.means[standing.leader].mean, 3)}{together})"


# ---- pictures ----------------------------------------------------------------------------------------------------


def figures(findings: Mapping[str, Any]) -> dict[str, Figure]:
    """Accuracy of everything, and how the networks learned, by reading."""
    shown: dict[str, Figure] = {}
    for reading in findings["readings"]:
        shown[f"{titled(reading)}: accuracy"] = _beside(reading)
        shown[f"{titled(reading)}: learning"] = _learning(reading)
    return shown


def _beside(reading: Reading) -> Figure:
    rows: list[tuple[str, Any, Any, Any, Any]] = []
    for cell, found in reading["cells"].items():
        if test := found["test"]:
            rows.append((called(cell), test["mean"], test["low"], test["high"], list(test["values"].values())))
    rows += [(name, value, None, None, ()) for name, value in reading["baselines"].items()]
    rows += [(f"{called(cell)}, {PAPER}", value, None, None, ()) for cell, value in _published(reading).items()]
    text = "A dot for each seed, the mean and its 95 % interval; baselines and published figures are single."
    return Figure(plots.interval_chart(rows, xlabel="test accuracy"), text, f"Accuracy on {titled(reading)}")


def _learning(reading: Reading) -> Figure:
    parts = [
        plots.Panel([plots.Line(called(cell), range(1, len(found["curve"][part]) + 1), found["curve"][part])
                     for cell, found in reading["cells"].items()], part, "epoch", "cross-entropy, nats")
        for part in ("train", "validation")
    ]  # fmt: skip
    return Figure(plots.panels(parts), "Mean over seeds.", f"Learning curves on {titled(reading)}")


# ---- tables ------------------------------------------------------------------------------------------------------


def tables(findings: Mapping[str, Any]) -> dict[str, Table]:
    """Cells, baselines and published figures in one table."""
    columns = ["", "read", "test accuracy", f"{PAPER} *", "parameters", "units", "rate", "start", "a training"]
    rows: list[list[str]] = []
    for reading in findings["readings"]:
        rows += [_row(reading, cell, found) for cell, found in reading["cells"].items()]
        rows += [[name, titled(reading), number(value, 3), *[""] * 6] for name, value in reading["baselines"].items()]
    caption = (
        "Mean over seeds with its 95 % interval. Memoryless: logistic regression on the last step; linear: on all "
        "pixels. * One run with 60,000 pictures to train with and 70,000 parameters: no match for 7,000 and 10,000."
    )
    return {"Every reading": Table(columns, rows, caption)}


def _row(reading: Reading, cell: str, found: Mapping[str, Any]) -> list[str]:
    test = found["test"]
    return [
        called(cell),
        titled(reading),
        amount(Estimate(test["mean"], test["low"], test["high"], test["count"]), digits=3) if test else "–",
        number(_published(reading).get(cell, ""), 3),
        f"{found['parameters']:,}",
        str(found["hidden_size"]),
        f"{found['learning_rate']:g}",
        found["init"],
        duration(found["seconds"]),
    ]
