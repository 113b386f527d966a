"""What the study of stability calls things."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatelab.report.text import number
from gatelab.studies.statistics import Estimate
from gatelab.studies.verdict import amount

NAMES = {
    "sgd": "SGD",
    "momentum": "momentum",
    "rmsprop": "RMSProp",
    "adam": "Adam",
    "adamw": "AdamW",
    "muon": "Muon",
    "lbfgs": "L-BFGS",
    "hessian_free": "Hessian-free",
}
"""Optimizers as people write them."""
_STARTS = {"torch": "torch's start", "small_normal": "randn·0.01"}


def start(init: str) -> str:
    """An initialisation, by what it changes of torch's."""
    return _STARTS.get(init, init.removeprefix("torch+").replace("_", " ").replace(":", " "))


def clipped(limit: Any) -> str:
    """What is done to long gradients."""
    return "not clipped" if limit in (None, "none") else f"clipped at {float(limit):g}"


def entry_name(key: str) -> str:
    """An optimizer in a race, ``name/clip``."""
    name, clip = key.split("/")
    return NAMES[name] if clip == "none" else f"{NAMES[name]}, {clipped(clip)}"


def percent(share: float) -> str:
    """A share in percent."""
    return f"{number(100 * share, 2)} %"


def share(found: Mapping[str, Any]) -> str:
    """A share with its interval, in percent."""
    return amount(Estimate(**found).scaled(100), "%", 2)
