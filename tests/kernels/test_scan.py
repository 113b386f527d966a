"""The kernels beside the NumPy cells, and one number of threads beside another."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatelab.cells import CELLS
from gatelab.kernels import scan, sharing
from kernel_pass import arrays, by_kernel, case, in_numpy


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


CELL = pytest.mark.parametrize("cell", scan.CELLS)


def close(mine, theirs, tolerance):
    for a, b in zip(arrays(mine), arrays(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1.0, np.abs(b).max()))


def same(mine, theirs):
    return all(np.array_equal(a, b) for a, b in zip(arrays(mine), arrays(theirs), strict=True))


def test_every_kernel_is_a_cell():
    assert set(scan.CELLS) <= set(CELLS)


@CELL
@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=15),
    st.integers(1, 40),
    st.booleans(),
    st.integers(0, 99),
)
def test_a_kernel_is_the_numpy_cell(cell, lengths, hidden, backwards, seed):
    given_ = case(cell, lengths, 3, hidden, backwards, seed=seed)
    close(by_kernel(given_), in_numpy(given_), 1e-12)


@CELL
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("lengths", [(12,) * 13, range(1, 14)], ids=["dense", "ragged"])
def test_a_kernel_in_single_precision(cell, lengths, backwards):
    given_ = case(cell, lengths, 3, 37, backwards, dtype=np.float32, scale=0.2)
    exact = case(cell, lengths, 3, 37, backwards, scale=0.2)
    close(by_kernel(given_), in_numpy(exact), 1e-5)


@CELL
def test_a_pass_that_keeps_nothing_gives_the_same(cell):
    given_ = case(cell, range(1, 12), 3, 21, dtype=np.float32)
    kept, light = by_kernel(given_), by_kernel(given_, keep=False)
    assert np.array_equal(kept.output, light.output)
    assert all(np.array_equal(a, b) for a, b in zip(kept.state, light.state, strict=True))


@CELL
@pytest.mark.parametrize("lengths", [(12,) * 13, range(1, 14)], ids=["dense", "ragged"])
def test_the_kernel_for_extras_without_any_is_the_plain_one(monkeypatch, cell, lengths):
    given_ = case(cell, lengths, 3, 19, backwards=True)
    plain = by_kernel(given_)
    monkeypatch.setattr(scan.Pass, "besides", property(lambda p: p.extras))
    close(by_kernel(given_), plain, 1e-14)


@CELL
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("lengths", [(7,) * 23, range(1, 24), [9] + [1] * 22], ids=["dense", "ragged", "one long"])
def test_the_number_of_threads_changes_no_bit_of_an_item(monkeypatch, cell, lengths, backwards):
    monkeypatch.setattr(sharing, "_WORTH", 1)
    monkeypatch.setattr(sharing, "_FEWEST", 1)
    split, shares = [], sharing.shares
    monkeypatch.setattr(scan, "shares", lambda *arguments: split.append(shares(*arguments)) or split[-1])
    given_ = case(cell, lengths, 3, 19, backwards, dtype=np.float32)
    one = by_kernel(given_)
    for threads in (2, 3, 5):
        split.clear()
        torch.set_num_threads(threads)
        found = by_kernel(given_)
        assert 1 < len(split[-1].ways) <= 2 * threads
        assert same(found._replace(dparams=[]), one._replace(dparams=[])), threads
        for mine, theirs in zip(found.dparams, one.dparams, strict=True):  # sums over items, in another order
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())


@CELL
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("lengths", [(7,) * 6, range(1, 12)], ids=["dense", "ragged"])
def test_a_pass_in_pieces(monkeypatch, cell, lengths, backwards):
    given_, reference = case(cell, lengths, 3, 19, backwards), in_numpy(case(cell, lengths, 3, 19, backwards))
    for rows in (1, 13, 20):
        monkeypatch.setattr(scan, "_FEWEST", rows)
        monkeypatch.setattr(scan, "_CACHE", 1)
        close(by_kernel(given_), reference, 1e-12)
        light = by_kernel(given_, keep=False)
        close(reference._replace(output=light.output, state=light.state), reference, 1e-12)


@CELL
def test_arguments_are_left_as_they_were(cell):
    given_ = case(cell, (5, 4, 2), 3, 6)
    before = [array.copy() for array in (*given_.params, given_.x, *given_.state, given_.doutput, *given_.dstate)]
    by_kernel(given_)
    after = (*given_.params, given_.x, *given_.state, given_.doutput, *given_.dstate)
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
