"""Masks of many units: Philox's numbers, the same from the kernel and its twin, none depending on another."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatelab.nn import masks, modes
from gatelab.nn.masks import drawn, words

CPU = torch.device("cpu")
# Counter, key, numbers: published with the generator, the known answers of Random123 (philox 4x32, 10 rounds).
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]
KEYS, RATES = st.integers(0, 2**32 - 1), st.sampled_from([1e-12, 0.05, 0.5, 0.999, 1 - 1e-12])


def philox(counter, key):
    """The generator in Python's whole numbers, of a counter of four words and a key of two."""
    (a, b, c, d), (k, m) = counter, key
    for _ in range(10):
        x, y = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = (y >> 32) ^ b ^ k, y & 0xFFFFFFFF, (x >> 32) ^ d ^ m, x & 0xFFFFFFFF
        k, m = (k + 0x9E3779B9) & 0xFFFFFFFF, (m + 0xBB67AE85) & 0xFFFFFFFF
    return a, b, c, d


@pytest.mark.parametrize("known", KNOWN)
def test_what_is_written_out_here_is_the_published_generator(known):
    counter, key, numbers = ([int(word, 16) for word in part.split()] for part in known)
    assert list(philox(counter, key)) == numbers


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=5), KEYS, KEYS)
def test_the_numbers_are_those_of_the_generator(counters, first, second):
    found = words(torch.tensor(counters), torch.tensor([first, second]))  # (4, C)
    expected = [philox((n & 0xFFFFFFFF, n >> 32, 0, 0), (first, second)) for n in counters]
    assert found.T.tolist() == [list(four) for four in expected]


@settings(deadline=None)  # the first example compiles
@given(st.integers(0, 40), st.integers(1, 40), RATES, st.integers(0, 99))
def test_the_kernel_draws_what_its_twin_draws(rows, columns, p, seed):
    torch.manual_seed(seed)
    fast = drawn(p, rows, columns, CPU)
    after = torch.rand(1)
    torch.manual_seed(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modes, "numba_missing", lambda: "without Numba")
        slow = drawn(p, rows, columns, CPU)
    assert fast.shape == (rows, columns)
    assert fast.is_contiguous()
    assert torch.equal(fast, slow)
    assert torch.equal(after, torch.rand(1))  # and leaves the stream where the twin leaves it


@pytest.mark.parametrize("p", [0.001, 0.1, 0.5, 0.93])
def test_neighbours_later_draws_and_other_quarters_are_independent(p):
    torch.manual_seed(3)
    first, second = (drawn(p, 1000, 400, CPU).numpy().astype(float) for _ in range(2))
    n, deviation = first.size, np.sqrt(p * (1 - p))
    for mask in (first, second):
        assert abs(mask.mean() - p) < 4 * deviation / np.sqrt(n)
    flat = (first.ravel() - p) / deviation
    others = [np.roll(flat, shift) for shift in (1, 2, 16, 400, n // 4, n // 2)]  # a quarter on: the same counter
    for other in (*others, (second.ravel() - p) / deviation):
        assert abs((flat * other).mean()) < 4 / np.sqrt(n)


def test_every_key_has_numbers_of_its_own():
    torch.manual_seed(0)
    assert len({tuple(drawn(0.5, 1, 64, CPU).flatten().tolist()) for _ in range(200)}) == 200


@pytest.mark.parametrize("randomness", ["same", "different"])
def test_the_items_of_a_transformed_batch_have_masks_of_their_own_where_that_is_asked_for(randomness):
    masks_of = torch.func.vmap(lambda x: drawn(0.5, 8, 8, CPU) & (x == x), randomness=randomness)
    first, second = masks_of(torch.zeros(2))
    assert torch.equal(first, second) == (randomness == "same")


def test_a_compiled_graph_draws_as_often():
    torch.manual_seed(0)
    compiled = torch.compile(partial(drawn, 0.3, device=CPU), fullgraph=True, backend="aot_eager")
    mask = compiled(rows=400, columns=100)
    assert mask.shape == (400, 100)
    assert abs(mask.double().mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 40_000)


def test_the_multiplications_do_not_overflow():
    product = masks._product(torch.tensor([2**32 - 1]), 2**32 - 1)
    assert [int(half) for half in product] == [2**32 - 2, 1]
