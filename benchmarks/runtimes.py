"""Which graphs of gatelab compute the same in which runtime: onnxruntime, OpenVINO, Node.js, the web.

    pip install -r benchmarks/requirements.txt
    npm install --ignore-scripts --prefix DIR onnxruntime-node onnxruntime-web
    python benchmarks/runtimes.py --node DIR --markdown runtimes.md

One of every cell, alone, in two directions, in two layers, with lengths, with a length of 0, with initial states,
and in eight bits, is run on one random batch; its outputs stand beside the layer's own, item by item. A second table
tells what eight bits a weight save and cost. A runtime that is not installed is left out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from gatelab import nn as gnn
from gatelab.core.files import write_json, write_text
from gatelab.nn.onnx import Export, deviation, export, quantised, rounded
from gatelab.nn.onnx.proof import Sample, open_session

CHILD = Path(__file__).with_name("runtimes.mjs")
I, H = 3, 5  # noqa: E741  # features, units
ALIKE = 1e-5
"""The largest difference, as a share of an output's largest value, that still is rounding."""
CELLS: dict[str, Callable[..., nn.Module]] = {
    "RNN, tanh": gnn.RNN,
    "RNN, relu": lambda *sizes, **options: gnn.RNN(*sizes, nonlinearity="relu", **options),
    "LSTM": gnn.LSTM,
    "LSTM, peephole": lambda *sizes, **options: gnn.LSTM(*sizes, peephole=True, **options),
    "LSTM, coupled": lambda *sizes, **options: gnn.LSTM(*sizes, coupled=True, **options),
    "LSTM, coupled, peephole": lambda *sizes, **options: gnn.LSTM(*sizes, coupled=True, peephole=True, **options),
    "GRU": gnn.GRU,
    "GRU, reset before": lambda *sizes, **options: gnn.GRU(*sizes, reset_after=False, **options),
    "RNN, zoneout": lambda *sizes, **options: gnn.RNN(*sizes, zoneout=0.2, **options),
    "LSTM, layer norm": lambda *sizes, **options: gnn.LSTM(*sizes, layer_norm=True, **options),
    "LSTM, projection": lambda *sizes, **options: gnn.LSTM(*sizes, proj_size=2, **options),
    "GRU, layer norm": lambda *sizes, **options: gnn.GRU(*sizes, layer_norm=True, **options),
}


class Form(NamedTuple):
    """What a graph has besides one layer in one direction."""

    layers: int = 1
    directions: int = 1
    lengths: tuple[int, ...] | None = None
    """Of the three items of the batch, of 4 steps at most; none: the graph has no such input."""
    state: bool = False
    """Whether initial states are an input."""
    int8: bool = False


FORMS = {
    "plain": Form(),
    "two directions": Form(directions=2),
    "two layers": Form(layers=2),
    "initial state": Form(state=True),
    "lengths": Form(lengths=(4, 1, 3)),
    "a length of 0": Form(lengths=(4, 0, 3), state=True),
    "all of it": Form(2, 2, (4, 0, 3), state=True),
    "eight bits": Form(int8=True),
}


@dataclass(frozen=True)
class Case:
    """A graph, and what it is to compute."""

    cell: str
    form: str
    name: str
    """Of its file."""
    content: bytes
    sample: Sample


class Runtime(NamedTuple):
    """Something that runs graphs."""

    title: str
    version: str
    run: Callable[[list[Case], Path], Iterator[Mapping[str, Any] | str]]
    """For each case its outputs by name, or what the runtime said instead."""


def main() -> int:
    """Reads the command line, runs everything, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--node", type=Path, help="folder that has node_modules/onnxruntime-node and -web")
    parser.add_argument("--out", type=Path, help="JSON file")
    parser.add_argument("--markdown", type=Path, help="file for the tables")
    given = parser.parse_args()
    everything, chosen = list(cases()), runtimes(given.node)
    with tempfile.TemporaryDirectory() as name:
        folder = lay(everything, Path(name))
        found = {each.title: [measure(*pair) for pair in zip(everything, each.run(everything, folder), strict=True)]
                 for each in chosen}  # fmt: skip
    rows = [{"cell": case.cell, "form": case.form, **{title: column[k] for title, column in found.items()}}
            for k, case in enumerate(everything)]  # fmt: skip
    report = {"versions": {each.title: each.version for each in chosen}, "cases": rows}
    page = markdown(report) + "\n" + eight_bits()
    print(page)
    if given.out:
        write_json(given.out, report)
    if given.markdown:
        write_text(given.markdown, page)
    return 0


# ---- the graphs ------------------------------------------------------------------------------------------------------


def cases() -> Iterator[Case]:
    """A graph of every cell in every form, with lively weights and one random batch."""
    for cell, build in CELLS.items():
        for title, form in FORMS.items():
            torch.manual_seed(0)
            layer = build(I, H, form.layers, bidirectional=form.directions == 2).eval()
            exported = made(layer, form)
            name = f"{cell}-{title}".replace(",", "").replace(" ", "_").lower()
            yield Case(cell, title, name, exported.content, batch(exported, layer, form))


def made(layer: nn.Module, form: Form) -> Export:
    """The layer's graph in that form."""
    options = {"lengths": form.lengths is not None, "initial_state": form.state}
    return quantised(export(rounded(layer), **options)) if form.int8 else export(layer, **options)


def batch(exported: Export, layer: nn.Module, form: Form) -> Sample:
    """A batch of three items, and what the layer makes of it."""
    sample = next(sample for sample in exported.samples if sample.inputs["input"].shape[1] == 2)
    rng = np.random.default_rng(0)
    inputs = {key: rng.normal(size=(size_of(key, values), 3, values.shape[-1])).astype(np.float32)
              for key, values in sample.inputs.items() if key != "lengths"}  # fmt: skip  # (4 or L·D, 3, ·)
    if form.lengths is not None:
        inputs["lengths"] = np.array(form.lengths, np.int32)  # (3,)
    outputs = reference(rounded(layer) if form.int8 else layer, inputs)
    scale = {key: np.abs(values).max(initial=1e-30) for key, values in outputs.items()}
    return Sample(inputs, outputs, scale, 0.0)


def size_of(key: str, values: np.ndarray) -> int:
    """Entries along the first axis: four steps, or a state for each layer and direction."""
    return 4 if key == "input" else len(values)


def reference(layer: nn.Module, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the layer gives for each item alone, cut to its length, and its initial state where that is 0."""
    x = torch.from_numpy(inputs["input"])  # (T, B, I)
    states = [torch.from_numpy(inputs[key]) for key in ("h_0", "c_0") if key in inputs]  # (L·D, B, ·) each
    T, B = x.shape[:2]
    lengths = inputs.get("lengths", np.full(B, T))
    columns = [alone(layer, x[: lengths[b], b : b + 1], [state[:, b : b + 1] for state in states], T) for b in range(B)]
    names = ("output", "h_n", "c_n")
    return {name: np.concatenate(parts, axis=1) for name, parts in zip(names, zip(*columns, strict=True), strict=False)}


@torch.no_grad()
def alone(layer: Any, x: torch.Tensor, states: list[torch.Tensor], T: int) -> list[np.ndarray]:
    """Output (T, 1, D·H), zeros beyond the item's steps, and final states (L·D, 1, ·)."""
    if not len(x):
        width = layer.state_sizes[0] * (2 if layer.bidirectional else 1)
        return [np.zeros((T, 1, width), np.float32), *(state.numpy() for state in states)]
    hx = (tuple(states) if len(states) > 1 else states[0]) if states else None
    output, final = layer(x, hx)
    padded = np.pad(output.numpy(), ((0, T - len(x)), (0, 0), (0, 0)))  # (T, 1, D·H)
    return [padded, *(state.numpy() for state in (final if isinstance(final, tuple) else (final,)))]


# ---- the runtimes ----------------------------------------------------------------------------------------------------


def lay(everything: list[Case], folder: Path) -> Path:
    """Writes graphs and inputs for runtimes that are processes of their own."""
    for case in everything:
        (folder / f"{case.name}.onnx").write_bytes(case.content)
    rows = [{"name": case.name, "inputs": {
        key: {"type": str(values.dtype), "shape": values.shape, "values": values.ravel().tolist()}
        for key, values in case.sample.inputs.items()}} for case in everything]  # fmt: skip
    (folder / "cases.json").write_text(json.dumps(rows))
    return folder


def runtimes(node: Path | None) -> list[Runtime]:
    """Those that are installed."""
    python = [
        ("onnxruntime", "onnxruntime", in_onnxruntime),
        ("OpenVINO", "openvino", in_openvino(fixed=False)),
        ("OpenVINO, shapes fixed", "openvino", in_openvino(fixed=True)),
    ]
    found = [Runtime(title, version(package), run) for title, package, run in python if find_spec(package)]
    for package in ("onnxruntime-node", "onnxruntime-web") if node else ():
        described = node / "node_modules" / package / "package.json"
        if described.is_file():
            found.append(Runtime(package, json.loads(described.read_text())["version"], in_node(package, node)))
    return found


def in_onnxruntime(everything: list[Case], folder: Path) -> Iterator[Mapping[str, Any] | str]:
    """Runs each graph in this process."""
    import onnxruntime

    for case in everything:
        try:
            session = onnxruntime.InferenceSession(case.content, providers=["CPUExecutionProvider"])
            names = [port.name for port in session.get_outputs()]
            yield dict(zip(names, session.run(names, dict(case.sample.inputs)), strict=True))
        except Exception as error:
            yield str(error)


def in_openvino(fixed: bool) -> Callable[[list[Case], Path], Iterator[Mapping[str, Any] | str]]:
    """Runs each graph in this process, in full precision; ``fixed``: told the shapes of its inputs beforehand."""

    def run(everything: list[Case], folder: Path) -> Iterator[Mapping[str, Any] | str]:
        import openvino

        core = openvino.Core()
        for case in everything:
            try:
                model = core.read_model(case.content)
                if fixed:
                    model.reshape({key: list(values.shape) for key, values in case.sample.inputs.items()})
                compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
                result = compiled(dict(case.sample.inputs))
                ports = zip(case.sample.outputs, compiled.outputs, strict=True)  # in the order of the graph
                yield {name: np.array(result[port]) for name, port in ports}
            except Exception as error:
                yield str(error)

    return run


def in_node(package: str, node: Path) -> Callable[[list[Case], Path], Iterator[Mapping[str, Any] | str]]:
    """Runs all graphs in one process of Node.js."""

    def run(everything: list[Case], folder: Path) -> Iterator[Mapping[str, Any] | str]:
        command = ["node", str(CHILD), package, str(folder)]
        printed = subprocess.run(command, cwd=node, stdout=subprocess.PIPE, text=True, check=True).stdout
        lines = {line["name"]: line for line in map(json.loads, printed.splitlines())}
        for case in everything:
            line = lines[case.name]
            yield line.get("error") or {
                key: np.array(line["outputs"][key], float).reshape(wanted.shape)
                for key, wanted in case.sample.outputs.items()
            }

    return run


# ---- the page --------------------------------------------------------------------------------------------------------


def measure(case: Case, found: Mapping[str, Any] | str) -> float | str:
    """The largest difference as a share of the output's largest value, or what the runtime said."""
    if isinstance(found, str):
        return " ".join(found.split())
    return deviation(found, case.sample.outputs, case.sample.scale)


def markdown(report: Mapping[str, Any]) -> str:
    """A table a runtime: a row for each cell, a column for each form."""
    parts, notes = [], list[str]()
    values = {(row["cell"], row["form"]): row for row in report["cases"]}
    for title, number in report["versions"].items():
        rows = [[cell, *(entry(values[cell, form][title], notes) for form in FORMS)] for cell in CELLS]
        header = [[f"{title} ({number})", *FORMS], ["---"] * (1 + len(FORMS))]
        parts.append("\n".join(f"| {' | '.join(row)} |" for row in header + rows))
    parts += ["\n".join(f"{number}. {note}" for number, note in enumerate(notes, 1))] if notes else []
    return "\n\n".join(parts) + "\n"


def eight_bits() -> str:
    """A table of what eight bits a weight save and cost: a row for each cell, at 64 features and 128 units."""
    from onnxruntime.quantization import quantize_dynamic

    rows = [["cell", "float32, bytes", "`--int8`", "error", "onnxruntime's own", "error"], ["---", *["---:"] * 5]]
    x = np.random.default_rng(0).normal(size=(50, 8, 64)).astype(np.float32)  # (T, B, I)
    for cell, build in CELLS.items():
        torch.manual_seed(0)
        layer = build(64, 128).eval()
        options = {"lengths": False, "initial_state": False}
        whole, small = (export(layer, **options).content, quantised(export(rounded(layer), **options)).content)
        with tempfile.TemporaryDirectory() as name:
            before, after = Path(name, "a.onnx"), Path(name, "b.onnx")
            before.write_bytes(whole)
            quantize_dynamic(before, after)
            theirs = after.read_bytes()
        wanted, *found = (first_output(content, x) for content in (whole, small, theirs))
        errors = [np.abs(each - wanted).max() / np.abs(wanted).max() for each in found]
        sizes = [f"{len(content) / len(whole):.0%}" for content in (small, theirs)]
        rows.append([cell, f"{len(whole):,}", sizes[0], f"{errors[0]:.1%}", sizes[1], f"{errors[1]:.1%}"])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def first_output(content: bytes, x: np.ndarray) -> np.ndarray:
    """The output ``(T, B, D·H)`` of a graph with one input, in onnxruntime."""
    return open_session(content).run(None, {"input": x})[0]


def entry(value: float | str, notes: list[str]) -> str:
    """``same``, how far off, or the number of the note that holds what the runtime said."""
    if isinstance(value, str):
        text = value if len(value) <= 300 else f"{value[:300]}…"
        notes += [] if text in notes else [text]
        return f"refused ({notes.index(text) + 1})"
    return "same" if value <= ALIKE else f"**off by {value:.2g}**"


if __name__ == "__main__":
    raise SystemExit(main())
