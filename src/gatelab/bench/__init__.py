"""Speed side by side: gatelab's layers and their peers in one process, in turns, equal before they are timed.

``gatelab bench`` runs the suites of ``SUITES``. A new one is a ``Suite`` (``gatelab.bench.harness``) and a line here.
"""

from gatelab.core.registry import Registry

SUITES = Registry(
    "suite",
    {
        "train": "gatelab.bench.suites.dense:TRAIN",
        "forward": "gatelab.bench.suites.dense:FORWARD",
        "short": "gatelab.bench.suites.dense:SHORT",
        "limit": "gatelab.bench.suites.dense:LIMIT",
        "threads": "gatelab.bench.suites.threads:THREADS",
        "packed": "gatelab.bench.suites.packed:PACKED",
        "variants": "gatelab.bench.suites.variants:VARIANTS",
        "stream": "gatelab.bench.suites.stream:STREAM",
        "long": "gatelab.bench.suites.long:LONG",
        "compile": "gatelab.bench.suites.first_use:COMPILE",
    },
)
"""Every suite by name."""
