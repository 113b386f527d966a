"""``gatelab export``: a trained model as an ONNX file that runs without torch and gatelab."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import Positional

from gatelab.cli.console import note, say, say_json, say_table
from gatelab.cli.parsing import parse_groups
from gatelab.cli.tasks import remembered_source, run_folder
from gatelab.core.errors import InputError
from gatelab.core.files import finite
from gatelab.report.text import number

if TYPE_CHECKING:
    from gatelab.core.task import Part, Task
    from gatelab.nn.onnx import Export
    from gatelab.tasks.loading import Loaded

_TEXT = (
    "Writes a trained model as an ONNX file, with RNN, LSTM or GRU nodes and any batch size. The file takes and gives "
    "the units of your data and says in its metadata what each input is. It is written only if onnxruntime computes "
    "what the model computes. Needs: pip install 'gatelab[export]'."
)
_EXAMPLES = (
    "gatelab export runs/mine --onnx mine.onnx",
    "gatelab export runs/compare-forecasting-my --onnx small.onnx --int8",
)


@dataclass(frozen=True)
class Options:
    """An export."""

    folder: Positional[str]
    """Folder of a model, or of a comparison: then its best model."""
    data: Positional[str | None] = None
    """With --int8, other data to measure the loss on; none: the test part of what the model was trained on."""
    onnx: str = "model.onnx"
    """File to write; one that is there is replaced."""
    int8: bool = False
    """Weights in eight bits: a smaller file, less exact. What it loses is measured and said."""
    json: bool = False
    """Print what was written as JSON, and nothing else, to stdout."""


def main(argv: Sequence[str]) -> int:
    """Runs ``gatelab export`` with ``argv`` and gives the exit code.

    Raises:
        InputError: a model that ONNX has no nodes for, a missing library, or an option that cannot be used.
        DataError: data that cannot be used.
        RunError: the folder holds no model, or a damaged one.
    """
    options, _ = parse_groups(Options, (), argv, command="export", description=_TEXT, examples=_EXAMPLES)
    path = Path(options.onnx)
    if path.suffix.lower() != ".onnx" or path.is_dir():
        raise InputError(f"--onnx {path} names no ONNX file", expected="a file name that ends in .onnx")
    if options.data is not None and not options.int8:
        raise InputError("data are given, and nothing is measured on them", fix="add --int8, or leave the data out")
    folder = run_folder(Path(options.folder))
    # torch loads here, after the words are read.
    from gatelab.tasks.loading import load

    loaded = load(folder)
    results = _export_int8(loaded, options, folder) if options.int8 else _export(loaded, options)
    say_json(finite(results)) if options.json else _show(results)
    return 0


def _export(loaded: Loaded, options: Options) -> dict[str, Any]:
    return _written(loaded.task.export(loaded.model), options)


def _export_int8(loaded: Loaded, options: Options, folder: Path) -> dict[str, Any]:
    from gatelab.nn.onnx import quantised, rounded

    task, part, items = _judge(loaded, options, folder)
    model = rounded(loaded.model)
    plain: Export = loaded.task.export(model)
    export, metric = quantised(plain), task.metrics[0]
    before, after = (task.evaluate(network, part).metrics[metric.name] for network in (loaded.model, model))
    loss = {"metric": metric.name, "unit": metric.unit, "part": items, "before": before, "after": after}
    return {**_written(export, options), "int8": {"float32_bytes": len(plain.content), **loss}}


def _judge(loaded: Loaded, options: Options, folder: Path) -> tuple[Task, Part, str]:
    """What the loss is measured on: other data, all of them, or the test part of what the model was trained on.

    And what that is called.
    """
    if options.data is not None:
        return loaded.task.reopen(options.data, "evaluate"), "test", f"all of {options.data}"
    source = remembered_source(folder)
    task = type(loaded.task).open(source, loaded.task.config)
    if _apart_from_notes(task.state()) != _apart_from_notes(loaded.run.task_state):  # updated, or the file has changed
        note(f"{source} is not what the model's scales were fitted on: all of its rows are scored")
        return loaded.task.reopen(source, "evaluate"), "test", f"all of {source}"
    part: Part = "test" if task.count("test", 1) else "validation"
    return task, part, f"the {part} part"


def _apart_from_notes(state: Mapping[str, Any]) -> dict[str, Any]:
    """A task's state as JSON gives it back; notes tell of choices, which the settings of a run hold already."""
    return {**json.loads(json.dumps(state)), "notes": None}


def _written(export: Export, options: Options) -> dict[str, Any]:
    """Writes the file, and gives what there is to say about it."""
    from gatelab.nn.onnx import latency

    difference = export.save(options.onnx)
    metadata = {entry.key: json.loads(entry.value) for entry in export.model.metadata_props}
    torch_seconds, runtime_seconds = latency(export)
    return {
        "file": options.onnx,
        "bytes": len(export.content),
        "opset": export.model.opset_import[0].version,
        "inputs": metadata["inputs"],
        "outputs": metadata["outputs"],
        "difference": difference,
        "tolerance": export.tolerance,
        "torch_ms": 1e3 * torch_seconds,
        "onnxruntime_ms": 1e3 * runtime_seconds,
    }


def _show(found: dict[str, Any]) -> None:
    ports = [(side, port) for side in ("input", "output") for port in found[f"{side}s"]]
    rows = [
        (side, port["name"], port["type"], " × ".join(map(str, port["shape"])), port["text"]) for side, port in ports
    ]
    say_table(("", "name", "type", "shape", "what it is"), rows)
    say(
        "",
        f"file     {found['file']}, {found['bytes']:,} bytes, opset {found['opset']}",
        f"checked  onnxruntime differs from torch by {found['difference']:.1e} of the output's scale at most "
        f"({found['tolerance']:.0e} is allowed)",
        f"speed    one item, one thread: torch {found['torch_ms']:.3f} ms (the network alone), "
        f"onnxruntime {found['onnxruntime_ms']:.3f} ms (all of the graph)",
    )
    if "int8" in found:
        _show_loss(found["bytes"], found["int8"])


def _show_loss(size: int, found: dict[str, Any]) -> None:
    unit = f" {found['unit']}" if found["unit"] else ""
    after, before = (f"{number(found[which])}{unit}" for which in ("after", "before"))
    say(
        f"int8     {found['metric']} {after} on {found['part']}, and {before} with float32 weights; {size:,} "
        f"bytes instead of {found['float32_bytes']:,}",
        "         Weights are integers in the file and float32 in the arithmetic: it is smaller, not faster. They are "
        "unpacked at each call unless",
        '         the session has the entry "session.disable_quant_qdq" = "1", with which they are unpacked once.',
    )
