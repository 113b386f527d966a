"""One pool of threads, and the memory that a block takes."""

import mmap

import joblib
import numpy as np
import psutil
import pytest
import torch
from threadpoolctl import threadpool_info

from gatelab.training import memory, use_threads


def blas_threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


@pytest.mark.parametrize("threads", [1, 2, 0])
def test_torch_gets_the_threads_and_blas_one(threads):
    np.ones((4, 4)) @ np.ones((4, 4))
    before = torch.get_num_threads(), blas_threads()
    with use_threads(threads) as count:
        assert count == torch.get_num_threads() == (threads or joblib.cpu_count())
        assert blas_threads() == {1}
    assert (torch.get_num_threads(), blas_threads()) == before


def test_restored_after_an_error():
    before = torch.get_num_threads(), blas_threads()
    with pytest.raises(ZeroDivisionError), use_threads(before[0] + 1):
        raise ZeroDivisionError
    assert (torch.get_num_threads(), blas_threads()) == before


@pytest.mark.parametrize("linux", [True, False])
def test_peak_memory_sees_what_was_freed_again(linux, monkeypatch):
    if not linux:
        monkeypatch.setattr(memory, "_reset_high_water_mark", lambda: False)
        monkeypatch.setattr(memory, "_SAMPLING_SECONDS", 0.0005)
    size = 64 << 20
    with memory.peak_memory() as taken:
        for _ in range(1 if linux else 5):
            with mmap.mmap(-1, size) as block:  # malloc may hand out pages that earlier tests left resident
                np.frombuffer(block, np.uint8)[:] = 1
    assert size * 0.95 < taken.added < size * 1.6
    assert psutil.Process().memory_info().rss < taken.peak - size * 0.5


def test_an_earlier_peak_is_not_counted():
    np.ones(96 << 20, np.uint8).sum()
    with memory.peak_memory() as taken:
        pass
    assert taken.added < 8 << 20
