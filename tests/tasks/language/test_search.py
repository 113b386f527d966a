"""Drawing has the model's chances; searching finds what counting everything finds; a token costs a step."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from gatelab.core.errors import InputError
from gatelab.core.random import generator
from gatelab.tasks.language.config import Generation
from gatelab.tasks.language.search import Written, draw, penalised, probabilities, read, search, take

END = 0


class Network:
    """A small RNN with large random weights: what it expects depends on all that it has read, and in which order."""

    def __init__(self, V: int = 4, H: int = 3, seed: int = 0):
        rng = generator(seed, "network")
        self.embedding, self.weight, self.head = (
            torch.from_numpy(rng.normal(0, 1.5, shape)) for shape in ((V, H), (H, H), (V, H))
        )
        self.calls: list[int] = []  # texts in each step

    def __call__(self, ids, state):
        self.calls.append(len(ids))
        before = torch.zeros(1, len(ids), len(self.weight), dtype=torch.float64) if state is None else state[0]
        h = torch.tanh(self.embedding[ids] + before[0] @ self.weight.T)  # (B, H)
        # The second part is what the LSTM's cell would be, and the text as it was read, to be looked at by the tests.
        ids = ids[None, :, None].double()
        read = ids if state is None else torch.cat([state[1][0], ids], dim=2)
        return torch.log_softmax(h @ self.head.T, dim=1), (h[None], (read,))

    def log_probability(self, prompt, ids, ended):
        """By reading the text from its beginning."""
        total, heard = 0.0, read(self, prompt)
        expected, state = torch.from_numpy(heard.log_probabilities)[None], heard.state
        for number in [*ids, END] if ended else ids:
            total += float(expected[0, number])
            expected, state = self(torch.tensor([number]), state)
        return total


def texts(V: int, longest: int):
    """Every text that ends within ``longest`` tokens, or is cut there."""
    for length in range(longest + 1):
        for ids in product(range(1, V), repeat=length):
            if length < longest:
                yield list(ids), True
            else:
                yield list(ids), False


def drawn(network, prompt, how, rngs, end=END, forbidden=()) -> list[Written]:
    """The texts that ``draw`` gives token by token."""
    ids, totals, ended = [[] for _ in rngs], np.zeros(len(rngs)), [False] * len(rngs)
    for token in draw(network, read(network, prompt), how, rngs, end, forbidden):
        totals[token.text] += token.log_probability
        if token.id == end:
            ended[token.text] = True
        else:
            ids[token.text].append(token.id)
    return [Written(*entry) for entry in zip(ids, totals, ended, strict=True)]


def streams(count: int, seed: int = 0):
    return [generator(seed, "text", number) for number in range(count)]


# ---- settings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [{"temperature": -0.1}, {"temperature": float("nan")}, {"top_k": 0}, {"top_p": 0.0},
                                   {"top_p": 1.1}, {"repetition_penalty": 0.9}, {"beam": 0}, {"max_length": 0},
                                   {"temperature": float("inf")}])  # fmt: skip
def test_a_setting_that_cannot_be_is_named(wrong):
    (name,) = wrong
    with pytest.raises(InputError, match="--" + name.replace("_", "-")):
        Generation(**wrong)


@pytest.mark.parametrize("drawing", [{"temperature": 0.5}, {"top_k": 3, "top_p": 0.5}])
def test_a_search_that_shall_draw_is_refused(drawing):
    with pytest.raises(InputError, match="would do nothing") as caught:
        Generation(beam=2, **drawing)
    assert all("--" + name.replace("_", "-") in str(caught.value) for name in drawing)


# ---- chances ------------------------------------------------------------------------------------------------------

LOG_P = np.log([[0.5, 0.3, 0.15, 0.05], [0.1, 0.2, 0.3, 0.4]])
NEVER = np.zeros((2, 4), bool)


def chances(**settings) -> np.ndarray:
    return probabilities(LOG_P, NEVER, Generation(**settings))


def test_temperature_is_a_power_of_the_chances():
    powered = np.exp(LOG_P) ** 2
    np.testing.assert_allclose(chances(temperature=0.5), powered / powered.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(chances(), np.exp(LOG_P))
    np.testing.assert_array_equal(chances(temperature=0), [[1, 0, 0, 0], [0, 0, 0, 1]])
    np.testing.assert_allclose(chances(temperature=1e-6), [[1, 0, 0, 0], [0, 0, 0, 1]])
    np.testing.assert_allclose(chances(temperature=1e6), 0.25, rtol=1e-4)


def test_top_k_and_top_p_keep_the_likeliest():
    np.testing.assert_allclose(chances(top_k=2), [[5 / 8, 3 / 8, 0, 0], [0, 0, 3 / 7, 4 / 7]])
    np.testing.assert_allclose(chances(top_p=0.6), [[5 / 8, 3 / 8, 0, 0], [0, 0, 3 / 7, 4 / 7]])
    np.testing.assert_allclose(chances(top_p=0.01), [[1, 0, 0, 0], [0, 0, 0, 1]])
    np.testing.assert_allclose(chances(top_p=1.0), np.exp(LOG_P))
    np.testing.assert_allclose(chances(top_k=10), np.exp(LOG_P))
    # Of the two that top-k leaves, 5/8 and 3/8, the first is nucleus enough.
    np.testing.assert_allclose(chances(top_k=2, top_p=0.6)[0], [1, 0, 0, 0])


def test_of_equal_chances_the_first_are_kept():
    equal = np.log(np.full((1, 4), 0.25))
    np.testing.assert_array_equal(probabilities(equal, NEVER[:1], Generation(top_k=2)), [[0.5, 0.5, 0, 0]])
    np.testing.assert_array_equal(probabilities(equal, NEVER[:1], Generation(temperature=0)), [[1, 0, 0, 0]])


@given(st.lists(st.floats(-30, 0), min_size=2, max_size=8), st.floats(0.01, 1), st.integers(1, 8))
def test_the_nucleus_is_the_smallest_set_that_has_the_probability(scores, top_p, top_k):
    log_p = np.array([scores]) - np.logaddexp.reduce(scores)
    p = np.exp(log_p[0])
    found = probabilities(log_p, np.zeros(log_p.shape, bool), Generation(top_p=top_p))[0]
    kept = found > 0
    assert p[kept].sum() >= top_p - 1e-9
    assert p[kept].sum() - p[kept].min() <= top_p + 1e-9
    assert p[kept].min() >= p[~kept].max(initial=0)
    found = probabilities(log_p, np.zeros(log_p.shape, bool), Generation(top_k=top_k))[0]
    assert (found > 0).sum() == min(top_k, len(scores))


def test_the_penalty_is_a_power_of_what_was_seen_and_nothing_forbidden_has_a_chance():
    seen = np.array([[True, False, False, False], [False, False, False, True]])
    p = np.exp(LOG_P)
    p[0, 0], p[1, 3] = 0.25, 0.16
    np.testing.assert_allclose(np.exp(penalised(LOG_P, seen, 2.0)), p / p.sum(axis=1, keepdims=True))
    without = probabilities(LOG_P, NEVER, Generation(), forbidden=[0])
    np.testing.assert_allclose(without, [[0, 0.6, 0.3, 0.1], [0, 2 / 9, 3 / 9, 4 / 9]])
    np.testing.assert_array_equal(probabilities(LOG_P, NEVER, Generation(temperature=0), [0])[0], [0, 1, 0, 0])


# ---- drawing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"temperature": 0.7}, {"top_k": 2}, {"top_p": 0.8}])
def test_texts_are_drawn_with_their_chances(settings):
    """Chi-squared over every text of up to three tokens, against their chances multiplied out."""
    network, how = Network(), Generation(max_length=3, **settings)
    expected = {}
    for ids, ended in texts(4, 3):
        chance, heard, seen = 1.0, read(network, [1]), np.zeros((1, 4), bool)
        state, log_p = heard.state, heard.log_probabilities[None]
        for number in [*ids, END] if ended else ids:
            chance *= probabilities(log_p, seen, how)[0, number]
            output, state = network(torch.tensor([number]), state)
            log_p = output.numpy()
        expected[tuple(ids), ended] = chance
    assert sum(expected.values()) == pytest.approx(1)
    found = Counter((tuple(text.ids), text.ended) for text in drawn(network, [1], how, streams(4000)))
    possible = {text: 4000 * chance for text, chance in expected.items() if chance > 0}
    assert set(found) <= set(possible)
    often = [text for text in possible if possible[text] >= 5]
    rest = sum(possible.values()) - sum(possible[text] for text in often)
    observed, wanted = [found[text] for text in often], [possible[text] for text in often]
    if rest > 1e-6:
        observed, wanted = [*observed, 4000 - sum(observed)], [*wanted, rest]
    assert chisquare(observed, wanted).pvalue > 0.001


def test_log_probabilities_are_the_models_whatever_the_settings():
    network = Network()
    how = Generation(temperature=1.7, top_k=3, repetition_penalty=1.5, max_length=6)
    for text in drawn(network, [2, 3], how, streams(20)):
        assert text.log_probability == pytest.approx(network.log_probability([2, 3], text.ids, text.ended))
        assert text.ended == (len(text.ids) < 6)


def test_a_text_is_the_same_beside_others_and_alone_and_another_seed_gives_another():
    network, how = Network(V=30), Generation(max_length=12)
    together = drawn(network, [1], how, streams(5))
    for number, text in enumerate(together):
        (alone,) = drawn(network, [1], how, [generator(0, "text", number)])
        assert alone.ids == text.ids
        assert alone.log_probability == pytest.approx(text.log_probability)
    assert [text.ids for text in drawn(network, [1], how, streams(5, seed=1))] != [text.ids for text in together]


def test_a_token_costs_a_step_and_texts_that_have_ended_cost_nothing():
    network = Network()
    found = drawn(network, [1, 2, 3], Generation(max_length=9), streams(6))
    assert network.calls[:3] == [1, 1, 1]  # the prompt, read once for all texts
    # A token that ends a text, and the last of one that is cut, are not read.
    read_by_text = [len(text.ids) if text.ended else len(text.ids) - 1 for text in found]
    assert sum(network.calls[3:]) == sum(read_by_text)
    assert len(network.calls[3:]) == max(read_by_text)


def test_tokens_come_as_they_are_drawn():
    network = Network(V=30)
    tokens = draw(network, read(network, [1]), Generation(max_length=50), streams(1), end=None)
    for count in range(1, 51):
        next(tokens)
        assert len(network.calls) == count
    with pytest.raises(StopIteration):
        next(tokens)


def test_without_an_end_texts_go_on_and_what_is_forbidden_is_not_written():
    network = Network()
    found = drawn(network, [1], Generation(max_length=40), streams(3), end=None, forbidden=[2])
    assert [len(text.ids) for text in found] == [40, 40, 40]
    assert {number for text in found for number in text.ids} == {0, 1, 3}


def test_a_high_penalty_repeats_nothing_of_text_and_prompt():
    network = Network(V=12)
    how = Generation(repetition_penalty=1e6, max_length=9)
    heard = read(network, [4, 1], unpenalised=[4])
    ids = [token.id for token in draw(network, heard, how, streams(1), end=None)]
    assert len(set(ids)) == 9
    assert 1 not in ids
    assert not heard.seen[4]


def test_greedy_takes_the_likeliest_at_every_step():
    network = Network(V=10)
    (text,) = drawn(network, [1], Generation(temperature=0, max_length=5), streams(1), end=None)
    ids = [1]
    for number in text.ids:
        state = None
        for earlier in ids:
            output, state = network(torch.tensor([earlier]), state)
        assert number == int(output.argmax())
        ids.append(number)


def test_nothing_read_is_refused():
    with pytest.raises(InputError, match="nothing was read"):
        read(Network(), [])


# ---- searching ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("prompt", [[1], [3, 2]])
def test_a_beam_as_wide_as_all_texts_finds_the_best_of_them(seed, prompt):
    network, count = Network(seed=seed), 7
    every = [Written(ids, network.log_probability(prompt, ids, ended), ended) for ids, ended in texts(4, 4)]
    best = sorted(every, key=lambda text: -text.log_probability)[:count]
    found = search(network, read(network, prompt), Generation(beam=81, max_length=4), count, END)
    assert [(text.ids, text.ended) for text in found] == [(text.ids, text.ended) for text in best]
    np.testing.assert_allclose([t.log_probability for t in found], [t.log_probability for t in best])


def test_the_penalty_ranks_and_the_log_probability_stays_the_models():
    network, prompt, penalty = Network(seed=6), [1], 3.0

    def score(ids):
        total, heard = 0.0, read(network, prompt)
        state, log_p, seen = heard.state, heard.log_probabilities[None], heard.seen[None].copy()
        for number in ids:
            total += penalised(log_p, seen, penalty)[0, number]
            seen[0, number] = True
            output, state = network(torch.tensor([number]), state)
            log_p = output.numpy()
        return total

    every = list(product(range(4), repeat=3))
    best = max(every, key=score)
    assert best != max(every, key=lambda ids: network.log_probability(prompt, ids, False))
    how = Generation(beam=64, max_length=3, repetition_penalty=penalty)
    (found,) = search(network, read(network, prompt), how, 1, end=None)
    assert tuple(found.ids) == best
    assert found.log_probability == pytest.approx(network.log_probability(prompt, best, False))


def test_a_beam_of_one_is_greedy_until_it_ends():
    for seed in range(5):
        network = Network(V=6, seed=seed)
        heard = read(network, [1])
        (greedy,) = drawn(network, [1], Generation(temperature=0, max_length=6), streams(1), end=None)
        (found,) = search(network, heard, Generation(beam=1, max_length=6), 1, end=None)
        assert found.ids == greedy.ids
        assert found.log_probability == pytest.approx(greedy.log_probability)


def test_a_wider_beam_is_no_worse_here_and_better_somewhere():
    totals = {1: [], 3: [], 9: []}
    for seed in range(8):
        network = Network(V=10, seed=seed)
        for width, found in totals.items():
            (text,) = search(network, read(network, [1]), Generation(beam=width, max_length=6), 1, end=None)
            found.append(text.log_probability)
    assert np.all(np.diff([totals[1], totals[3], totals[9]], axis=0) >= -1e-12)
    assert np.any(np.array(totals[9]) > np.array(totals[1]) + 0.01)


def test_the_search_ends_when_nothing_better_can_come():
    class Short(Network):
        def __call__(self, ids, state):
            output, state = super().__call__(ids, state)
            output[:, END] += 20.0
            return torch.log_softmax(output, dim=1), state

    network = Short()
    (found,) = search(network, read(network, [1]), Generation(beam=3, max_length=1000), 1, END)
    assert found == Written([], pytest.approx(0, abs=1e-4), True)
    assert len(network.calls) == 1  # the prompt alone


def test_what_is_forbidden_is_not_found_and_a_vocabulary_may_run_out():
    network = Network()
    found = search(network, read(network, [1]), Generation(beam=9, max_length=3), 3, END, forbidden=[2])
    assert all(2 not in text.ids for text in found)
    only = search(network, read(network, [1]), Generation(beam=9, max_length=3), 3, END, forbidden=[1, 2, 3])
    assert [text.ids for text in only] == [[]]


def test_a_narrow_beam_cannot_give_many_texts():
    network = Network()
    with pytest.raises(InputError, match="--beam 3"):
        search(network, read(network, [1]), Generation(beam=2), 3, END)


def test_rows_of_a_state_whatever_it_is_made_of():
    state = (torch.arange(12.0).view(2, 3, 2), [torch.arange(3.0)[:, None], None])
    first, (second, nothing) = take(state, np.array([2, 0]))
    assert first.tolist() == [[[4, 5], [0, 1]], [[10, 11], [6, 7]]]
    assert second.tolist() == [[2], [0]]
    assert nothing is None
