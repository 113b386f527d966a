"""Studies: a question becomes a grid of trials, statistics and a verdict. ``compare`` is one of them.

``study.py`` is the seam, ``runner.py`` runs the trials, ``comparing.py`` is the study behind ``gatelab compare``.
"""

from gatelab.core.registry import Registry

STUDIES = Registry("study", {"compare": "gatelab.studies.comparing:Comparing"})
