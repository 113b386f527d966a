"""What the first use of a cell costs: compilation once on a machine, and loading it in every process.

Plain, and with an extra: there is one more kernel for all of those.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from gatelab.bench.figures import Bound, Figure
from gatelab.bench.harness import CELLS, Bench, Case, Settings, Shape, Suite
from gatelab.core.errors import GatelabError

SHAPE = Shape(128, 20, 16, 64)  # at which no cell goes to torch's own code
_MOST = Bound(12.0, at_most=True)
_CODE = """\
import sys, time, torch
cell, extra, B, T, I, H = *sys.argv[1:3], *map(int, sys.argv[3:])
torch.set_num_threads(1)
began = time.perf_counter()
from gatelab.nn.layers import LAYERS
layer, x = LAYERS[cell](I, H, **{extra: True for extra in [extra] if extra}), torch.randn(T, B, I, requires_grad=True)
layer(x)[0].sum().backward()
print(time.perf_counter() - began)
"""


def first_use(cell: str, extra: str, shape: Shape, cache: Path) -> float:
    """Seconds from importing ``gatelab.nn`` to the end of the first training step, in a new process.

    Args:
        cell: the layer's cell.
        extra: an option of the layer to switch on; "" for a plain one.
        shape: sizes of batch and layer.
        cache: folder of Numba's compiled code.

    Raises:
        GatelabError: the process failed.
    """
    words = [sys.executable, "-c", _CODE, cell, extra, *map(str, shape)]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    ended = subprocess.run(words, env=environment, capture_output=True, text=True)
    if ended.returncode:
        raise GatelabError(f"the first use of {cell} failed", got=ended.stderr.strip().splitlines()[-1:])
    return float(ended.stdout)


def measure(cell: str, extra: str, shape: Shape, bench: Bench) -> Sequence[Figure]:
    """The first process of all, and the next one, which finds the compiled code on disk."""
    with tempfile.TemporaryDirectory() as folder:
        first, second = (first_use(cell, extra, shape, Path(folder)) for _ in range(2))
    return Figure("first process", first, "s", bound=_MOST), Figure("later ones", second, "s")


def _cases(settings: Settings) -> list[Case]:
    shape = settings.shapes[0] if settings.shapes else SHAPE
    kinds = [(cell, extra) for extra in ("", "layer_norm") for cell in CELLS]
    return [Case(f"{cell} {extra}".strip(), cell, partial(measure, cell, extra, shape)) for cell, extra in kinds]


COMPILE = Suite("compile", "seconds until the first training step is done, in a fresh process", _cases, library="numba")
