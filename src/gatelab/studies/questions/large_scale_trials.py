"""The trials of the study of large scale, one function for each part of it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch import nn

from gatelab.bench.timing import Contender, alternate
from gatelab.core.config import ModelConfig
from gatelab.core.errors import GatelabError
from gatelab.core.random import integer_seed
from gatelab.nn import recurrent, truncated
from gatelab.studies.questions import large_scale_series as series
from gatelab.studies.questions.large_scale_process import share
from gatelab.studies.training_cost import step_times
from gatelab.studies.training_trial import task_of, train_on_task
from gatelab.studies.trials import Measured, Trial
from gatelab.studies.worker import Beat
from gatelab.training import use_threads

_TORCH = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
_OF_TASK = ("task", "source", "cell", "hidden_size", "layer_norm", "batch_norm", "learning_rate", "epochs",
            "batch_size", "schedule", "patience")  # fmt: skip
_TEST_STREAMS, _TEST_STEPS = 64, 1024


def measure(trial: Trial, folder: Path, beat: Beat) -> Measured:
    """Does what the condition's ``part`` says; see there.

    Raises:
        GatelabError: a process that was started failed.
        TrainingError: training failed.
    """
    part: Callable[[Trial, Path, Beat], Mapping[str, Any]] = _PARTS[trial.configuration["part"]]
    with use_threads(1), torch.random.fork_rng(devices=[]):
        return Measured(part(trial, folder, beat))


# ---- truncated backpropagation -----------------------------------------------------------------------------------


def learned(trial: Trial, folder: Path, beat: Beat) -> dict[str, Any]:
    """Trains with one window: the share of each mean that is missed afterwards."""
    network = _trained(trial, trial.configuration["window"], beat)
    return {"unexplained": series.unexplained(network, _TEST_STEPS, _TEST_STREAMS, trial.seed)}


def bias(trial: Trial, folder: Path, beat: Beat) -> dict[str, Any]:
    """Truncated gradients beside the full one, at the start and after training with the longest window."""
    given = trial.configuration
    windows, T = given["windows"], given["stretch"]
    stretch = np.concatenate(list(series.rows(T, 8, trial.seed, "stretch")))  # (T, B, 1 + K)

    def compared(network: series.Follower) -> list[dict[str, float]]:
        full = gradient(network, stretch, T)  # (P,)
        return [distance(gradient(network, stretch, window), full) for window in windows]

    return {
        "start": compared(_started(trial)),
        "end": compared(_trained(trial, max(windows), beat)),
    }


def gradient(network: series.Follower, stretch: np.ndarray, window: int) -> torch.Tensor:
    """∂/∂θ of the mean squared error over ``stretch (T, B, 1 + K)``, cut into windows: ``(P,)``."""
    network.zero_grad()
    T = len(stretch)
    for _ in truncated(network, stretch, lambda error, steps: error.square().mean() * (len(error) / T), window):
        pass
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


def distance(one: torch.Tensor, other: torch.Tensor) -> dict[str, float]:
    """How far gradient ``one (P,)`` lies from the ``other``: relative error, and cosine of the angle between them."""
    return {
        "error": float((one - other).norm() / other.norm()),
        "cosine": float(nn.functional.cosine_similarity(one, other, dim=0)),
    }


def _started(trial: Trial) -> series.Follower:
    torch.manual_seed(integer_seed(trial.seed, "init"))
    return series.Follower(trial.configuration["cell"], trial.configuration["hidden_size"])


def _trained(trial: Trial, window: int, beat: Beat) -> series.Follower:
    """Every update reads as many rows, whatever the window: the shorter it is, the more streams side by side."""
    given, network = trial.configuration, _started(trial)
    optimizer = torch.optim.Adam(network.parameters(), lr=given["learning_rate"])
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, given["updates"])
    streams = max(given["rows"] // window, 1)
    rows = series.rows(given["updates"] * window, streams, trial.seed, "train")
    for step, _ in enumerate(series.train(network, whole_windows(rows, window), window, optimizer), start=1):
        schedule.step()
        beat(epoch=step, epochs=given["updates"])
    return network


def whole_windows(rows: Iterable[np.ndarray], window: int) -> Iterator[np.ndarray]:
    """The same rows in pieces of whole windows, for a window ends where a piece ends."""
    left = None
    for piece in rows:
        held = piece if left is None else np.concatenate([left, piece])
        whole = len(held) // window * window
        left = held[whole:]
        if whole:
            yield held[:whole]


# ---- memory and disk ---------------------------------------------------------------------------------------------


def cost(trial: Trial, folder: Path, beat: Beat) -> dict[str, Any]:
    """Memory, and the time of a step, by window, the whole sequence being the last.

    Each in a process of its own: memory that a shorter window gave back would be there for the next.
    """
    given = trial.configuration
    path = _file(folder, given["stretch"], given["streams"])
    (reading,) = given["readings"]
    found = []
    for window in [*given["windows"], given["stretch"]]:
        passes = [{"path": str(path), "reading": reading, "window": window}]
        (one,) = _in_process("memory", _sizes(given) | {"passes": passes}, beat)
        found.append({"window": window, **one})
    path.unlink()
    return {"passes": found}


def disk(trial: Trial, folder: Path, beat: Beat) -> dict[str, Any]:
    """Memory, and the time of a step, by the length of a series on disk and how it is read."""
    given = trial.configuration
    paths = {length: _file(folder, length, given["streams"]) for length in given["lengths"]}
    every = [(reading, length) for reading in given["readings"] for length in given["lengths"]]
    passes = [{"path": str(paths[length]), "reading": reading, "window": given["window"]} for reading, length in every]
    measured = _in_process("memory", _sizes(given) | {"passes": passes}, beat)
    megabytes = {length: path.stat().st_size / 1e6 for length, path in paths.items()}
    for path in paths.values():
        path.unlink()
    return {"passes": [{"reading": reading, "length": length, "file_mb": megabytes[length], **one}
                       for (reading, length), one in zip(every, measured, strict=True)]}  # fmt: skip


def _file(folder: Path, T: int, B: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    series.write(folder / f"series-{T}.f32", T, B, 0)
    return folder / f"series-{T}.f32"


def _sizes(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: given[name] for name in ("cell", "hidden_size", "streams")}


# ---- normalisation -----------------------------------------------------------------------------------------------


def norm(trial: Trial, folder: Path, beat: Beat) -> dict[str, Any]:
    """Trains a classifier of digits, with a normalisation or without: accuracy, and the loss after each epoch.

    A try for the learning rate is not scored on the test part.
    """
    given = {name: trial.configuration[name] for name in _OF_TASK}
    found = train_on_task(Trial(trial.kind, trial.label, trial.seed, given), folder, beat).measures
    losses = [record["validation_loss"] for record in found["history"]]
    tested = {"test": found["test"]} if "test" in found else {}
    return {"score": found["score"], "validation_loss": losses, **tested}


def norm_cost(trial: Trial, folder: Path, beat: Beat) -> dict[str, Any]:
    """The time of a step of the same training, plain and with either normalisation, by turns."""
    given = {name: trial.configuration[name] for name in _OF_TASK}
    kinds = {"none": {}, "layer norm": {"layer_norm": True}, "batch norm": {"batch_norm": True}}
    times = step_times(task_of(given), [given | kind for kind in kinds.values()], trial.configuration["timing_seconds"])
    return {"step_ms": dict(zip(kinds, times, strict=True))}


# ---- precision ---------------------------------------------------------------------------------------------------


def precision(trial: Trial, folder: Path, beat: Beat) -> dict[str, Any]:
    """A pass of training in bfloat16 under autocast beside the same in float32: time, and error of the gradient."""
    given = trial.configuration
    device = torch.device(given["device"])
    seconds, found = given["timing_seconds"], []
    for H in given["sizes"]:
        found += _precision(given["cell"], H, seconds, device)
        beat()
    return {"passes": [*found, _product(seconds, device)], "instructions": _instructions(device)}


def _precision(cell: str, H: int, seconds: float, device: torch.device) -> list[dict[str, Any]]:
    torch.manual_seed(0)
    x = torch.randn(50, 32, 64, device=device)  # (T, B, I)
    layers: dict[str, nn.Module] = {"gatelab": recurrent(ModelConfig(cell, hidden_size=H), 64).to(device)}
    if cell in _TORCH:
        layers["torch"] = _TORCH[cell](64, H).to(device)
        layers["torch"].load_state_dict(layers["gatelab"].state_dict())
    passes = {(name, kind): _pass(layer, x, kind) for name, layer in layers.items() for kind in ("float32", "bfloat16")}
    exact = passes["gatelab", "float32"]()  # (P,)
    errors = {name: distance(passes[name, "bfloat16"](), exact)["error"] for name in layers}
    times = _by_turns(passes, seconds)
    return [{"layer": name, "size": H, "float32_ms": times[name, "float32"], "bfloat16_ms": times[name, "bfloat16"],
             "gradient_error": errors[name]} for name in layers]  # fmt: skip


def _pass(layer: Any, x: torch.Tensor, kind: str) -> Callable[[], torch.Tensor]:
    def run() -> torch.Tensor:
        layer.zero_grad()
        with torch.autocast(x.device.type, torch.bfloat16, enabled=kind == "bfloat16"):
            output, _ = layer(x)  # (T, B, H)
        output.float().square().mean().backward()
        return torch.cat([p.grad.flatten() for p in layer.parameters()])  # (P,)

    return run


def _product(seconds: float, device: torch.device) -> dict[str, Any]:
    """One matrix product of 512 rows and columns in either precision: what there is to be won."""
    torch.manual_seed(0)
    exact = torch.randn(512, 512, device=device)
    kinds = {"float32_ms": exact, "bfloat16_ms": exact.bfloat16()}
    times = _by_turns({name: partial(torch.mm, m, m) for name, m in kinds.items()}, seconds)
    return {"layer": "matrix product", "size": 512, **times}


def _by_turns(passes: Mapping[Any, Callable[[], torch.Tensor]], seconds: float) -> dict[Any, list[float]]:
    """Milliseconds of each pass in every round."""
    contenders = [Contender(str(name), partial(_called, run)) for name, run in passes.items()]
    rounds = 1e3 * alternate(contenders, seconds)  # (R, K)
    return {name: column.round(4).tolist() for name, column in zip(passes, rounds.T, strict=True)}


def _called(run: Callable[[], torch.Tensor]) -> dict[str, torch.Tensor]:
    return {"result": run()}


def _instructions(device: torch.device) -> str:
    """What the processor has for bfloat16."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    known = {"AMX": torch.cpu._is_amx_tile_supported, "AVX512-BF16": torch.cpu._is_avx512_bf16_supported}
    return ", ".join(name for name, has in known.items() if has()) or "none"


# ---- several processes -------------------------------------------------------------------------------------------


def processes(trial: Trial, folder: Path, beat: Beat) -> dict[str, Any]:
    """One model trained by one process and by several: first gradient, last weights, time of a step.

    This process alone first, then several: on the same batch, and with as much for each as the one had.
    """
    given = trial.configuration
    N, B = given["processes"], given["batch_size"]
    own = {"cell": given["cell"], "sizes": given["sizes"], "steps": given["updates"], "epochs": given["epochs"]}
    with _machine() as seen:
        (first,) = share(own | {"batches": [B]})
        several = _in_process("share", own | {"batches": [B, B * N]}, beat, processes=N)
    found = []
    for H, alone, same, more in zip(given["sizes"], first, *several, strict=True):
        errors = {f"{name}_error": distance(torch.tensor(same[name]), torch.tensor(alone[name]))["error"]
                  for name in ("gradient", "weights")}  # fmt: skip
        times = {"alone_ms": alone["step_ms"], "shared_ms": same["step_ms"], "larger_ms": more["step_ms"]}
        found.append({"size": H, **errors, **times})
    return {"passes": found, **seen}


@contextmanager
def _machine() -> Iterator[dict[str, float]]:
    """How many ``cores`` there are, and how many of them ``others`` than this process and its own kept busy."""
    seen: dict[str, float] = {"cores": psutil.cpu_count() or 1}
    begun, own = time.perf_counter(), _cpu_seconds()
    psutil.cpu_percent()  # counts from here
    yield seen
    busy = psutil.cpu_percent() / 100 * seen["cores"]
    seen["others"] = max(busy - (_cpu_seconds() - own) / (time.perf_counter() - begun), 0.0)


def _cpu_seconds() -> float:
    """What this process used, and all that were started by it and have ended."""
    used = psutil.Process().cpu_times()
    return used.user + used.system + used.children_user + used.children_system


def _in_process(what: str, given: Mapping[str, Any], beat: Beat, processes: int = 1) -> Any:
    """What ``large_scale_process`` prints, run by one process or by several under torchrun."""
    several = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m"]
    module = "gatelab.studies.questions.large_scale_process"
    command = [sys.executable, "-m", *(several if processes > 1 else []), module, what, json.dumps(given)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while True:
            try:
                out, err = process.communicate(timeout=5)
                break
            except subprocess.TimeoutExpired:
                beat()
    if process.returncode:
        raise GatelabError("a process of the study failed", got=err.strip()[-500:])
    return json.loads(out)


_PARTS = {each.__name__: each for each in (learned, bias, cost, disk, norm, norm_cost, precision, processes)}
