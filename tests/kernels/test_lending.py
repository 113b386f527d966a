"""Memory is lent to one at a time."""

import gc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from gatelab.kernels import lending
from gatelab.kernels.lending import lend
from gatelab.nn import GRU

SHAPE, SINGLE = (300, 200), np.dtype(np.float32)  # above what is lent


@pytest.fixture(autouse=True)
def nothing_free():
    gc.collect()
    lending._free.clear()
    yield
    gc.collect()
    lending._free.clear()


def address(array):
    return array.ctypes.data


def free():
    return sum(size * len(pieces) for size, pieces in lending._free.items())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_given_back_is_lent_again(dtype):
    array = lend(SHAPE, np.dtype(dtype))
    assert array.shape == SHAPE
    assert array.dtype == dtype
    assert array.flags.c_contiguous
    assert array.flags.writeable
    place = address(array)
    assert place % 64 == 0
    assert free() == 0
    del array
    assert free() >= np.dtype(dtype).itemsize * np.prod(SHAPE)
    assert address(lend((SHAPE[0] - 1, SHAPE[1]), np.dtype(dtype))) == place  # about the same size


def test_what_somebody_holds_is_not():
    array = lend(SHAPE, SINGLE)
    place, view = address(array), array[5:]
    tensor = torch.from_numpy(array)
    again = tensor.view(-1)[3:].detach().numpy()
    for holder in ("array", "view", "tensor"):
        if holder == "array":
            del array
        elif holder == "view":
            del view
        else:
            del tensor
        assert free() == 0
        assert address(lend(SHAPE, SINGLE)) != place
        lending._free.clear()
    del again
    assert address(lend(SHAPE, SINGLE)) == place


def test_small_arrays_are_not_lent():
    lend((10, 10), SINGLE)
    assert free() == 0


def test_what_is_kept_is_bounded(monkeypatch):
    monkeypatch.setattr(lending, "_MOST", 2**20)
    held = [lend((n, 1000), SINGLE) for n in range(40, 200, 20)]  # 3.4 MB in all
    del held
    assert 0 < free() <= 2**20
    lend((2**19,), SINGLE)  # 2 MB: more than may be kept
    assert free() <= 2**20


def test_threads_get_memory_of_their_own():
    def fill(number):
        for _ in range(300):
            array = lend(SHAPE, SINGLE)
            array.fill(number)
            assert (array == number).all()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fill, range(4)))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_graphs_that_live_side_by_side_keep_their_records(order):
    torch.manual_seed(0)
    layer = GRU(8, 64, layer_norm=True)
    inputs = [torch.randn(40, 5, 8) for _ in range(3)]
    alone = []
    for x in inputs:
        layer.zero_grad()
        layer(x)[0].square().sum().backward()
        alone.append([p.grad.clone() for p in layer.parameters()])
    losses = [layer(x)[0].square().sum() for x in inputs]
    for k in order:
        layer.zero_grad()
        losses[k].backward(retain_graph=True)
        for expected, p in zip(alone[k], layer.parameters(), strict=True):
            assert torch.equal(expected, p.grad)
