"""Several processes that train one model: each reads its share of every batch, and all take the same step.

    torchrun --nproc-per-node 2 -m gatelab fit forecasting my.csv

and on two machines, the same on each:

    torchrun --nnodes 2 --nproc-per-node 8 --rdzv-endpoint HOST:29500 -m gatelab fit forecasting my.csv

**The gradient** is that of one process with the whole batch. Process r of N has B/N of the sequences and w_r of the W
scored items, so it differentiates w_r/W times the mean loss of its share, and the sum over processes is the gradient
of the mean over all items, whatever is masked and however short the last batch is. ``DistributedDataParallel`` would
give each process the weight 1/N, and waits for ever where one has nothing to score.

**Decisions** must be the same everywhere, or one process waits for another that has left. What differs from process to
process is the clock, the signals and the disk: so all go by the first one's clock, a signal to one is one to all, and
the first process alone reads and writes the run folder, and tells the others what it found.

Batch normalisation takes each share's own statistics; those of the first process are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist

from gatelab.core.errors import RunError, TrainingError
from gatelab.core.processes import launched
from gatelab.core.task import Batch
from gatelab.training import tensors

Result = TypeVar("Result")


class Group:
    """The processes that train together: here this one alone, which is all there is without torchrun."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that reads and writes the run folder."""
        return self.rank == 0

    def share(self, batch: Batch) -> Batch:
        """The sequences of ``batch`` that are this process's; none where there are fewer than processes."""
        return batch

    def meet(self, *values: float) -> np.ndarray:
        """What every process says here, ``(N, K)`` in float64, the first process's in the first row."""
        return np.array([values])  # (1, K)

    def add_up(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Makes each gradient the sum of those of all processes; none counts as zero, and none anywhere stays none."""

    def told(self, find: Callable[[], Result]) -> Result:
        """What ``find`` gives in the first process, or the error it raises there, in all of them."""
        return find()

    def gathered(self, value: Any) -> list[Any]:
        """The value of every process, in order; tensors in it are on the CPU."""
        return [value]

    def follow(self, network: torch.nn.Module) -> None:
        """Takes over the weights and buffers of the first process."""

    def agree(self, said: Mapping[str, Any]) -> None:
        """Checks that every process says the same.

        Raises:
            RunError: naming what differs, and where; in all processes.
        """


ALONE = Group()


class Processes(Group):
    """Process ``rank`` of the ``size`` in torch's default group."""

    def __init__(self, rank: int, size: int):
        self.rank, self.size = rank, size

    def share(self, batch: Batch) -> Batch:
        """Consecutive sequences, as many as the others have, or one more in the first processes."""
        whole, more = divmod(batch.size, self.size)
        start = self.rank * whole + min(self.rank, more)
        return batch.take(slice(start, start + whole + (self.rank < more)))

    def meet(self, *values: float) -> np.ndarray:
        """One exchange of K numbers."""
        rows = torch.zeros(self.size, len(values), dtype=torch.float64)  # (N, K)
        rows[self.rank] = torch.tensor(values, dtype=torch.float64)
        with _connected():
            dist.all_reduce(rows)
        return rows.numpy()

    @torch.no_grad()
    def add_up(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """One exchange for all gradients, with a mark for each that is there."""
        present = torch.tensor([p.grad is not None for p in parameters]).to(parameters[0])  # (P,)
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([part.reshape(-1) for part in [*parts, present]])  # (ΣP + P,)
        with _connected():
            dist.all_reduce(flat)
        *sums, marks = flat.split([part.numel() for part in [*parts, present]])
        for parameter, total, mark in zip(parameters, sums, marks.tolist(), strict=True):
            parameter.grad = total.view_as(parameter) if mark > 0 else None

    def told(self, find: Callable[[], Result]) -> Result:
        """One broadcast."""
        found: list[Any] = [None, None]
        if self.leads:
            try:
                found[0] = find()
            except Exception as error:
                found[1] = error
        with _connected():
            dist.broadcast_object_list(found)
        if found[1] is not None:
            raise found[1]
        return found[0]

    def gathered(self, value: Any) -> list[Any]:
        """One exchange of objects."""
        values: list[Any] = [None] * self.size
        with _connected():
            dist.all_gather_object(values, value)
        return values

    def follow(self, network: torch.nn.Module) -> None:
        """One broadcast of the state dict."""
        state = self.told(lambda: tensors.copied(network.state_dict()))
        if not self.leads:
            network.load_state_dict(state)

    def agree(self, said: Mapping[str, Any]) -> None:
        """One exchange of objects."""
        every = self.gathered(dict(said))
        differing = [f"{name}: {every[0].get(name)} in process 0, {other.get(name)} in process {rank}"
                     for rank, other in enumerate(every) for name in {**every[0], **other}
                     if every[0].get(name) != other.get(name)]  # fmt: skip
        if differing:
            raise RunError(
                "the processes do not train the same model on the same data",
                got="; ".join(differing),
                fix="start gatelab with the same command, version and data on every machine",
            )


@contextmanager
def group() -> Iterator[Group]:
    """The group that this process is in: torch's where there is one, else torchrun's, else itself alone.

    A group that is made here is left when the block ends.
    """
    if dist.is_available() and dist.is_initialized():
        yield Processes(dist.get_rank(), dist.get_world_size())
    elif launched():
        dist.init_process_group()  # gloo between CPUs, NCCL between GPUs
        try:
            yield Processes(dist.get_rank(), dist.get_world_size())
        finally:
            dist.destroy_process_group()
    else:
        yield ALONE


@contextmanager
def _connected() -> Iterator[None]:
    """Says in words that another process has gone."""
    try:
        yield
    except RuntimeError as error:  # of the backends; torch has no narrower kind for gloo's
        raise TrainingError(
            "another process of this training has ended",
            got=str(error).strip().splitlines()[0],
            fix="see what it said; the same command goes on from the last checkpoint",
        ) from error
