"""The machine that figures are taken on: what it is, how fast it multiplies, and a neighbour to share it with."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import torch
from torch import Tensor

from gatelab.core.versions import versions

LARGE = (8192, 8192, 8192)
PRODUCTS = ((512, 512, 512), (1024, 1024, 1024), (1024, 2048, 512), (3200, 512, 192))
"""Sizes (M, N, K) of the products that are tried for the limit; on a GPU also ``LARGE``."""
LIBRARIES = ("torch", "numpy", "numba", "onnxruntime")
IDLE_LOAD = 0.3
"""A load average below which nobody else computes."""


class Product(NamedTuple):
    """A matrix product to hold others against."""

    operations: float
    """Two for a multiply-add."""
    call: Callable[[], dict[str, Tensor]]

    def seconds(self, device: torch.device) -> float:
        """How long it takes, once."""
        _finish(device)
        begun = time.perf_counter()
        self.call()
        _finish(device)
        return time.perf_counter() - begun


def fastest_product(device: torch.device, dtype: torch.dtype, seconds: float) -> Product:
    """Of a few large matrix products the one with the most operations a second, at torch's present number of threads.

    Its rate is the limit that recurrent layers, which are matrix products with a little in between, can be held
    against.

    Args:
        device, dtype: where, and in which precision.
        seconds: time for trying all products.
    """
    sizes = (*PRODUCTS, LARGE) if device.type == "cuda" else PRODUCTS
    rates = {}
    for M, N, K in sizes:
        product = _product(M, N, K, device, dtype)
        product.call()
        end, least = time.perf_counter() + seconds / len(sizes), product.seconds(device)
        while time.perf_counter() < end:
            least = min(least, product.seconds(device))
        rates[product] = product.operations / least
    return max(rates, key=rates.__getitem__)


def _product(M: int, N: int, K: int, device: torch.device, dtype: torch.dtype) -> Product:
    a = torch.randn(M, K, device=device).to(dtype)  # (M, K)
    b = torch.randn(K, N, device=device).to(dtype)  # (K, N)
    out = torch.mm(a, b)  # (M, N)
    return Product(2.0 * M * N * K, lambda: {"product": torch.mm(a, b, out=out)})


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def describe(device: torch.device) -> dict[str, Any]:
    """What the figures depend on: processor, cores, load, device, versions, settings of the thread pools, date."""
    settings = {name: value for name, value in os.environ.items() if name.startswith(("OMP_", "MKL_", "NUMBA_"))}
    return {
        "cpu": cpu_name(),
        "cores": joblib.cpu_count(),
        "load": load(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "system": platform.platform(),
        "versions": versions(*LIBRARIES) | ({"cudnn": torch.backends.cudnn.version()} if device.type == "cuda" else {}),
        "environment": {name: value for name, value in sorted(settings.items()) if not name.endswith("_DIR")},
        "date": datetime.now(UTC).date().isoformat(),
    }


def cpu_name() -> str:
    """The processor's name as the system knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def load() -> float | None:
    """Processes that computed on the machine during the last minute, on average; None where it is not told."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


@contextmanager
def busy_neighbour() -> Iterator[None]:
    """Another process that keeps one core busy while the block runs."""
    process = subprocess.Popen([sys.executable, "-c", "print(flush=True)\nwhile True: pass"], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()  # it is up
        yield
    finally:
        process.kill()
        process.communicate()
