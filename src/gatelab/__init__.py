"""gatelab: the laboratory for recurrent networks (vanilla RNN, LSTM, GRU).

Learn how they work (``gatelab.cells``), find out which one your data needs (``gatelab.compare``), and use the
trained network (``gatelab.Forecaster``, ``gatelab.nn``). Heavy things load when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_LAZY = {
    "Forecaster": "gatelab.tasks.forecasting.estimator:Forecaster",
    "LanguageModel": "gatelab.tasks.language.estimator:LanguageModel",
    "SequenceClassifier": "gatelab.tasks.sequence_classification.estimator:SequenceClassifier",
    "TextClassifier": "gatelab.tasks.text_classification.estimator:TextClassifier",
    "compare": "gatelab.studies.compare:compare",
    "study": "gatelab.studies.answer:study",
    "suggest": "gatelab.studies.suggest:suggest",
}
_PACKAGES = ("cells", "core", "data", "nn", "report", "studies", "tasks", "training")

__all__ = [*_LAZY, *_PACKAGES, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        module, _, attribute = _LAZY[name].partition(":")
        return getattr(import_module(module), attribute)
    if name in _PACKAGES:
        return import_module(f"gatelab.{name}")
    raise AttributeError(f"module 'gatelab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
