"""Studies: a question becomes a grid of trials, statistics and a verdict.

``study.py`` is the seam, ``runner.py`` runs the trials, ``comparing.py`` is the study behind ``gatelab compare``, and
``experiment.py`` what the questions of ``gatelab study`` are written on.
"""

from typing import Any

from gatelab.core.registry import Registry

_QUESTIONS = {
    "adding": "gatelab.studies.questions.adding:Adding",
    "applications": "gatelab.studies.questions.applications:Applications",
    "claims": "gatelab.studies.questions.claims:Claims",
    "copy-memory": "gatelab.studies.questions.copy_memory:CopyMemory",
    "comparison": "gatelab.studies.questions.comparison:Comparison",
    "depth": "gatelab.studies.questions.depth:Depth",
    "digits": "gatelab.studies.questions.digits:Digits",
    "gradients": "gatelab.studies.questions.gradients:Gradients",
    "hidden-size": "gatelab.studies.questions.hidden_size:HiddenSize",
    "large-scale": "gatelab.studies.questions.large_scale:LargeScale",
    "length": "gatelab.studies.questions.length:Length",
    "music": "gatelab.studies.questions.music:Music",
    "stability": "gatelab.studies.questions.stability:Stability",
}
QUESTIONS = Registry("study", _QUESTIONS)
"""What ``gatelab study`` answers."""

STUDIES = Registry("study", {"compare": "gatelab.studies.comparing:Comparing", **_QUESTIONS})
"""Every study."""


def load(folder: Any) -> Any:
    """What the study in ``folder`` last found; see ``studies.answer.load``."""
    from gatelab.studies.answer import load  # brings torch

    return load(folder)
