"""Processes that do something together, for tests of training by several. Importable by the processes themselves."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

import toys
from gatelab.training.events import Checkpointed, Stepped


def together(job: Callable[..., Any], arguments: Sequence[dict[str, Any]], meeting: Path) -> list[Any]:
    """What ``job`` gives, or the error it raises, in each of some processes: one for each of ``arguments``.

    Args:
        job: a function of a module.
        arguments: keywords of each process.
        meeting: a file that is not there yet, by which the processes find each other.
    """
    # A server that has imported everything forks them: they live at once, and none is a copy of this process.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["together", "torch._dynamo", "gatelab.training"])
    answers: Any = context.Queue()
    fixed = (len(arguments), str(meeting), job, answers)
    children = [context.Process(target=_live, args=(rank, own, *fixed)) for rank, own in enumerate(arguments)]
    for child in children:
        child.start()
    found = dict(answers.get(timeout=100) for _ in children)
    for child in children:
        child.join()
    return [found[rank] for rank in range(len(arguments))]


def _live(rank: int, own: dict[str, Any], size: int, meeting: str, job: Callable[..., Any], answers: Any) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size)
    try:
        found = job(**own)
    except BaseException as error:
        found = error
    dist.destroy_process_group()
    answers.put((rank, found))


# ---- jobs --------------------------------------------------------------------------------------------------------


def train(toy: str, folder: str, send: tuple[int, int] | None = None, leave: int | None = None, **training) -> dict:
    """Trains a toy, and gives what came of it in plain values and arrays.

    Args:
        toy: its name.
        folder: of the run.
        send: a signal, and after which step this process gets it.
        leave: the step after which this process dies without a word.
        training: settings.
    """
    saved: list[int] = []

    def listener(event: Any) -> None:
        if isinstance(event, Stepped) and send is not None and event.step == send[1]:
            os.kill(os.getpid(), send[0])
        if isinstance(event, Stepped) and event.step == leave:
            raise ConnectionAbortedError("left")
        if isinstance(event, Checkpointed):
            saved.append(event.step)

    signal.signal(signal.SIGINT, signal.default_int_handler)
    fitted = toys.train(toy, folder, listeners=[listener], **training)
    return {
        "weights": {name: tensor.numpy() for name, tensor in fitted.model.state_dict().items()},
        "history": [{**record, "seconds": 0} for record in fitted.history],
        "outcome": (fitted.steps, fitted.stopped, fitted.best, fitted.best_epoch),
        "saved": saved,
    }
