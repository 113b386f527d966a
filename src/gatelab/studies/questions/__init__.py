"""The questions of ``gatelab study``: one file each, on ``studies.experiment``."""
