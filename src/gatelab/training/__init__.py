"""Training: a loop of plain torch for every task, with exact resume.

``fit`` trains; a run folder is the only state. ``loop.py`` is the place to begin reading.
"""

from gatelab.training.fitting import Fitted, fit
from gatelab.training.runs import Run
from gatelab.training.threads import use_threads

__all__ = ["Fitted", "Run", "fit", "use_threads"]
