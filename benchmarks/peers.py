"""gatelab beside its peers: torch.nn, a loop over torch's cells, onnxruntime, Keras 3 on torch and on JAX.

    pip install -r benchmarks/requirements.txt
    python benchmarks/peers.py --quick

The rules are those of ``gatelab bench``: the same data and weights, results compared before anything is timed, turns
in the order A B A B …, Keras in processes of its own that wait on a pipe while others have their turn. A peer that is
not installed is left out, and the page says so.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gatelab.bench import tables
from gatelab.bench.figures import Figure
from gatelab.bench.harness import CELLS, QUICK_SECONDS, Bench, Case, Race, Ratio, Report, Settings, Shape, Suite, run
from gatelab.bench.suites.dense import SHAPES
from gatelab.bench.timing import Contender, Results
from gatelab.bench.work import TRAINING_FLOPS, flops, forward, layer_of, sequences, torch_twin, training
from gatelab.core.files import finite, write_json, write_text
from gatelab.core.versions import versions

CHILD = Path(__file__).with_name("keras_child.py")
TORCH_CELLS: dict[str, Callable[..., nn.RNNCellBase]] = {"rnn": nn.RNNCell, "gru": nn.GRUCell, "lstm": nn.LSTMCell}
NEEDED = {"onnxruntime": ("onnx", "onnxruntime"), "Keras on torch": ("keras",), "Keras on JAX": ("keras", "jax")}


def main() -> int:
    """Reads the command line, measures, writes; the exit code is 1 where a peer computed something else."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="half a second a case")
    parser.add_argument("--seconds", type=float, default=Settings.seconds, help="for each case")
    parser.add_argument("--cell", nargs="+", default=CELLS, choices=CELLS)
    parser.add_argument("--shape", nargs="+", type=Shape.read, default=(), help="B·T·I·H, such as 32x100x64x128")
    parser.add_argument("--out", type=Path, help="JSON file")
    parser.add_argument("--markdown", type=Path, help="file for the tables")
    given = parser.parse_args()
    seconds = QUICK_SECONDS if given.quick else given.seconds
    settings = Settings(seconds, tuple(given.cell), shapes=tuple(given.shape))
    report = with_remarks(run(SUITES, settings, hear))
    page = tables.markdown(report, SUITES, shlex.join(["python", *sys.argv]), "Benchmarks beside peers")
    print(page)
    if given.out:
        write_json(given.out, finite(report.to_dict()))
    if given.markdown:
        write_text(given.markdown, page)
    return 1 if report.problems else 0


def hear(suite: str, case: str, done: int, total: int) -> None:
    """Says on standard error which case comes."""
    print(f"{done + 1}/{total} {suite}: {case}", file=sys.stderr)


def with_remarks(report: Report) -> Report:
    """The report with the peers' versions, and what sets these turns apart."""
    absent = [f"{name} is not installed and therefore not beside" for name in NEEDED if not installed(name)]
    notes = (
        *report.notes,
        "Keras runs in processes of its own, which tell their own times, and wait meanwhile",
        *absent,
    )
    environment = {**report.environment, "versions": report.environment["versions"] | versions("keras", "jax")}
    return replace(report, notes=notes, environment=environment)


def installed(peer: str) -> bool:
    """Whether what the peer needs can be imported."""
    return all(find_spec(name) for name in NEEDED.get(peer, ()))


# ---- the cases ----------------------------------------------------------------------------------------------------


def peers(mode: str) -> list[str]:
    """Who runs beside gatelab when training or forward only."""
    names = ["torch.nn", "loop of cells", *(["onnxruntime"] * (mode == "forward")), "Keras on torch", "Keras on JAX"]
    return [name for name in names if installed(name)]


def measure(cell: str, shape: Shape, mode: str, bench: Bench) -> Sequence[Figure]:
    """One case; processes live as long as it does."""
    ratios = [Ratio(f"{name} / gatelab", over=name, under="gatelab") for name in peers(mode)]
    operations = flops(cell, shape) * (TRAINING_FLOPS if mode == "train" else 1)
    with ExitStack() as stack:
        return Race(partial(contenders, cell, shape, mode, stack), ratios, flops=operations)(bench)


def contenders(cell: str, shape: Shape, mode: str, stack: ExitStack, bench: Bench) -> list[Contender]:
    """Gatelab and every peer that is installed, with the same weights on the same batch."""
    layer, x = layer_of(cell, shape, bench), sequences(shape, bench)  # (T, B, I)
    doutput = torch.randn(shape.T, shape.B, shape.H)  # (T, B, H)
    loop = CellLoop(layer)
    work = partial(training, x=x, doutput=doutput) if mode == "train" else partial(forward, x=x)
    all_of_them = {
        "gatelab": lambda: Contender("gatelab", work(layer)),
        "torch.nn": lambda: Contender("torch.nn", work(torch_twin(layer))),
        "loop of cells": lambda: Contender("loop of cells", work(loop), shown=loop.shown),
        "onnxruntime": lambda: Contender("onnxruntime", by_onnxruntime(layer, x)),
        "Keras on torch": lambda: keras_contender("torch", cell, layer, x, doutput, mode, stack, bench),
        "Keras on JAX": lambda: keras_contender("jax", cell, layer, x, doutput, mode, stack, bench),
    }
    return [all_of_them[name]() for name in ("gatelab", *peers(mode))]


def _cases(mode: str, settings: Settings) -> list[Case]:
    return [Case(f"{cell} {shape}", cell, partial(measure, cell, shape, mode))
            for cell in CELLS for shape in settings.shapes or SHAPES]  # fmt: skip


SUITES = (
    Suite("train", "forward and backward", partial(_cases, "train")),
    Suite("forward", "inference", partial(_cases, "forward")),
)


# ---- the peers ----------------------------------------------------------------------------------------------------


class CellLoop(nn.Module):
    """What people write who need more than ``torch.nn`` offers: a Python loop over torch's own cell."""

    def __init__(self, layer: Any):
        super().__init__()
        self.cell = TORCH_CELLS[layer.cell](layer.input_size, layer.hidden_size)
        self.cell.load_state_dict({name.removesuffix("_l0"): value for name, value in layer.state_dict().items()})

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        """``x (T, B, I)`` to the outputs ``(T, B, H)`` and the final state, ``(1, B, H)`` each."""
        state, outputs = None, []
        for step in x:
            state = self.cell(step, state)
            outputs.append(state[0] if isinstance(state, tuple) else state)
        final = tuple(s[None] for s in state) if isinstance(state, tuple) else state[None]
        return torch.stack(outputs), final

    @staticmethod
    def shown(results: Results) -> Results:
        """The gradients under the names of a layer's parameters."""
        named = {name.replace("∂cell.", "∂"): value for name, value in results.items()}
        return {f"{name}_l0" if name.startswith(("∂weight", "∂bias")) else name: v for name, v in named.items()}


def by_onnxruntime(layer: Any, x: Tensor) -> Callable[[], Results]:
    """A forward pass by onnxruntime with one thread."""
    from gatelab.nn.onnx import export
    from gatelab.nn.onnx.proof import open_session

    session = open_session(export(layer, lengths=False, initial_state=False).content)
    given = {"input": x.numpy()}
    return lambda: {"output": torch.from_numpy(session.run(["output"], given)[0])}


@dataclass(frozen=True)
class Remote(Contender):
    """A contender in a process of its own, which tells its own times."""

    process: Any = None
    folder: str = ""

    def results(self) -> Results:
        """What the process computes."""
        path = Path(self.folder) / "results.npz"
        self._ask(f"results {path}")
        return {name: torch.from_numpy(array) for name, array in np.load(path).items()}

    def seconds(self, repeats: int) -> float:
        """What the process took, without the way there and back."""
        return float(self._ask(f"seconds {repeats}"))

    def _ask(self, order: str) -> str:
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()
        return heard(self.process)


def keras_contender(
    backend: str, cell: str, layer: Any, x: Tensor, doutput: Tensor, mode: str, stack: ExitStack, bench: Bench
) -> Remote:
    """Keras's layer in a process that ends with ``stack``."""
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    weights = {name: value.numpy() for name, value in layer.state_dict().items()}
    np.savez(f"{folder}/arrays.npz", x=x.numpy(), doutput=doutput.numpy(), **weights)
    threads = str(bench.settings.threads)
    process = stack.enter_context(subprocess.Popen(
        [sys.executable, str(CHILD), f"{folder}/arrays.npz", cell, mode, threads],
        env={**os.environ, "KERAS_BACKEND": backend, "OMP_NUM_THREADS": threads},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ))  # fmt: skip
    stack.callback(process.kill)
    heard(process)
    name = {"torch": "Keras on torch", "jax": "Keras on JAX"}[backend]
    return Remote(name, dict, process=process, folder=folder)


def heard(process: Any) -> str:
    """The next line that the process says.

    Raises:
        RuntimeError: it has ended; what it had to say is on standard error.
    """
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{' '.join(process.args)} has ended with code {process.wait()}")
    return line.strip()


if __name__ == "__main__":
    sys.exit(main())
