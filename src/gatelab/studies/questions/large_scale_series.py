"""A series as long as one likes, written to disk in pieces and read in pieces, and a network that follows it.

    z_t = λ z_{t−1} + √(1 − λ²) u_t        λ = 1 − 1/τ,  u_t ~ N(0, 1)

A network reads the noise u and is to say the three running means z whose time constants τ are ``TIMES``. Each has
variance 1, and who knows the last w steps of u alone leaves a share λ^{2w} of it unexplained: what came before.

A file holds float32 rows one after the other, ``(T, B, 1 + K)``: u, then the K means, of B independent streams.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from gatelab.core.config import ModelConfig
from gatelab.core.files import replacing
from gatelab.core.random import generator
from gatelab.nn import recurrent, truncated

Array = np.ndarray
TIMES = (4, 32, 256)
"""Time constants of the means, in steps."""
COLUMNS = 1 + len(TIMES)
PIECE = 1 << 16
"""Rows that are made, or mapped from a file, at a time."""


def rows(T: int, B: int, seed: int, name: str = "series") -> Iterator[Array]:
    """The series in pieces ``(T', B, 1 + K)`` of about ``PIECE`` rows in all; it begins in its stationary state."""
    from scipy.signal import lfilter  # here, for who only reads a series need not wait for it to load

    rng = generator(seed, name)
    decay = 1 - 1 / np.array(TIMES)  # (K,)
    state = rng.normal(size=(len(TIMES), B))  # (K, B)
    for start in range(0, T, piece := max(PIECE // B, 1)):
        noise = rng.normal(size=(min(piece, T - start), B))  # (T', B)
        columns = [noise]
        for k, keep in enumerate(decay):
            mean, _ = lfilter([np.sqrt(1 - keep**2)], [1, -keep], noise, axis=0, zi=keep * state[k : k + 1])
            state[k] = mean[-1]
            columns.append(mean)
        yield np.stack(columns, axis=2).astype(np.float32)


def write(path: Path, T: int, B: int, seed: int) -> None:
    """Writes the series, with one piece in memory at a time."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        for piece in rows(T, B, seed):
            piece.tofile(file)


def mapped(path: Path, B: int) -> Array:
    """The whole file as one array ``(T, B, 1 + K)``: its pages are read when they are touched."""
    return np.memmap(path, np.float32, "r").reshape(-1, B, COLUMNS)


def pieces(path: Path, B: int, steps: int) -> Iterator[Array]:
    """The file as arrays ``(steps, B, 1 + K)``, each mapped for itself.

    Pages of a file count as this process's memory while they are mapped. Where one mapping spans the file they add up
    until the system needs the room; here they go with each piece.
    """
    row = B * COLUMNS * np.dtype(np.float32).itemsize
    T = path.stat().st_size // row
    for start in range(0, T, steps):
        shape = (min(steps, T - start), B, COLUMNS)
        yield np.memmap(path, np.float32, "r", offset=start * row, shape=shape)


class Follower(nn.Module):
    """A recurrent layer and a head; called with rows ``(T, B, 1 + K)``, it gives its errors ``(T, B, K)``."""

    def __init__(self, cell: str, hidden_size: int):
        super().__init__()
        self.layer = recurrent(ModelConfig(cell, hidden_size=hidden_size), 1)
        self.head = nn.Linear(hidden_size, len(TIMES))

    def forward(self, given: Tensor, state=None):
        """Errors, and the state at the end."""
        output, state = self.layer(given[..., :1], state)  # (T, B, H)
        return self.head(output) - given[..., 1:], state


def train(
    network: Follower, series: Array | Iterable[Array], window: int, optimizer: torch.optim.Optimizer
) -> Iterator[float]:
    """Truncated backpropagation along the series, a step of the optimizer after each window; yields their losses."""
    for done in truncated(network, series, lambda error, steps: error.square().mean(), window):
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        yield done.loss


@torch.no_grad()
def unexplained(network: Follower, T: int, B: int, seed: int) -> dict[str, float]:
    """The share of each mean's variance that the network misses on another part of the series, by time constant.

    Scored after 4 · 256 steps, when nothing is left of the state that the network began in.
    """
    state, squares = None, []
    for piece in rows(T + 4 * max(TIMES), B, seed, "test"):
        error, state = network(torch.from_numpy(piece), state)  # (T', B, K)
        squares.append(error.square().mean(dim=1))  # (T', K)
    share = torch.cat(squares)[4 * max(TIMES) :].mean(dim=0)  # (K,)
    return {str(time): float(value) for time, value in zip(TIMES, share, strict=True)}


def out_of_reach(window: int, time: int) -> float:
    """The share of a mean's variance that comes from before the last ``window`` steps: λ^{2w}."""
    return (1 - 1 / time) ** (2 * window)
