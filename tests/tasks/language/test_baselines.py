"""Kneser–Ney: against the formulas written out with dictionaries, and that it is a distribution."""

from collections import Counter, defaultdict

import numpy as np
import pytest

from gatelab.data.tokens import END
from gatelab.tasks.language.baselines import NGrams, _discounts, chance

V = 7


def text(length: int, seed: int = 0) -> np.ndarray:
    """Documents in which a token depends on the one before."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(length):
        last = found[-1] if found else END
        found.append(int((last + rng.integers(1, 3)) % V) if rng.random() < 0.8 else int(rng.integers(V)))
    return np.append(found, END).astype(np.int32)


def documents(values):
    """Each token with all before it in its document."""
    context: list[int] = []
    for value in values.tolist():
        yield context, value
        context = [] if value == END else [*context, value]


class Written:
    """Chen & Goodman 1998, section 3, one n-gram at a time."""

    def __init__(self, train, order):
        self.order = order
        self.counts = [Counter() for _ in range(order + 1)]
        padded = [([END] * (order - 1) + context)[len(context) :][-(order - 1) :] if order > 1 else []
                  for context, _ in documents(train)]  # fmt: skip
        for context, (_, value) in zip(padded, documents(train), strict=True):
            self.counts[order][*context, value] += 1
        for length in range(order - 1, 0, -1):
            for gram in self.counts[length + 1]:
                self.counts[length][gram[1:]] += 1
        self.after = [defaultdict(dict) for _ in range(order + 1)]
        for length in range(1, order + 1):
            for gram, count in self.counts[length].items():
                self.after[length][gram[:-1]][gram[-1]] = count

    def discount(self, length, count):
        return _discounts(np.array(list(self.counts[length].values())))[min(count, 3)]

    def p(self, context, value, length=None):
        length = self.order if length is None else length
        if length == 0:
            return 1 / V
        here = tuple(context[len(context) - length + 1 :]) if length > 1 else ()
        shorter = self.p(context, value, length - 1)
        found = self.after[length].get(here)
        if not found:
            return shorter
        total = sum(found.values())
        kept = found[value] - self.discount(length, found[value]) if value in found else 0.0
        return (kept + sum(self.discount(length, c) for c in found.values()) * shorter) / total


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_is_what_the_formulas_say(order):
    train, test = text(300), text(60, seed=1)
    written = Written(train, order)
    wanted = [-np.log(written.p(([END] * order + context)[-order:], value)) for context, value in documents(test)]
    np.testing.assert_allclose(NGrams(train, V, order).losses(test), wanted, rtol=1e-12)


@pytest.mark.parametrize("length", [2, 5, 300])
def test_probabilities_add_up_to_one_whatever_came_before(length):
    found = NGrams(text(length), V, 3)
    for context in ([], [2], [3, 4], [6, 6], [2, 3, 5]):
        rows = [found.losses(np.array([*context, value], np.int32))[-1] for value in range(V)]
        assert np.exp(-np.array(rows)).sum() == pytest.approx(1, rel=1e-12)


def test_a_longer_memory_helps_where_there_is_something_to_remember():
    pattern = np.array([*[2, 3, 2, 4, 2, 5] * 60, END], np.int32)
    losses = [NGrams(pattern, V, order).losses(pattern).mean() for order in (1, 2, 3)]
    assert losses[0] > losses[1] + 0.3 > losses[2] + 0.6


def test_large_vocabularies_do_not_run_over():
    rng = np.random.default_rng(0)
    once = np.append(rng.integers(2, 2_000_000, 500), END).astype(np.int32)
    found = NGrams(np.tile(once, 3), 2_000_000)
    assert found.losses(once).mean() < 3
    assert found.losses(rng.permutation(once)).mean() > 6


def test_chance_is_the_size_of_the_vocabulary():
    assert chance(text(5), V).tolist() == [np.log(V)] * 6


def test_discounts_lie_within_what_they_are_taken_from():
    rng = np.random.default_rng(0)
    for counts in ([1], [4, 4], [1, 2, 3, 4], rng.geometric(0.4, 500), rng.integers(1, 9, 40), [1, 1, 1, 2]):
        found = _discounts(np.array(counts))
        assert found[0] == 0
        assert (found[1:] > 0).all()
        assert (found[1:] <= [1, 2, 3]).all()
