"""Texts after a prompt, whole and live; and prompts that a model cannot read."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from gatelab.cells import CELLS
from gatelab.core.config import ModelConfig
from gatelab.core.errors import InputError
from gatelab.core.random import generator
from gatelab.data.tokens import END, UNKNOWN, Tokenizer
from gatelab.tasks.language import generate as module
from gatelab.tasks.language.config import Generation, LanguageConfig
from gatelab.tasks.language.generate import Live, Streamed, encode_prompt, generate
from gatelab.tasks.language.model import LanguageNet
from gatelab.tasks.language.search import take

TEXTS = ["Anna likes the old clock.\n", "The clock doesn't like (small) rain, Anna says.\n", "rain likes rain"]
TOKENIZERS = {kind: Tokenizer.learn(TEXTS, kind, size=40) for kind in ("characters", "words", "subwords")}
SHORT = Generation(max_length=15)


class Pairs:
    """What comes next depends on the token before alone; and the state says what was read."""

    def __init__(self, V: int):
        logits = torch.from_numpy(generator(0, "pairs").normal(0, 1, (V, V)))
        self.table = torch.log_softmax(logits, dim=1)  # (V, V)
        self.read: list[list[int]] = []

    def __call__(self, ids, state):
        self.read.append(ids.tolist())
        return self.table[ids], None

    def log_probability(self, ids: list[int]) -> float:
        return float(sum(self.table[a, b] for a, b in pairwise(ids)))


@pytest.fixture(params=TOKENIZERS)
def tokenizer(request) -> Tokenizer:
    return TOKENIZERS[request.param]


MODELS = [ModelConfig(cell, 6) for cell in CELLS] + [
    ModelConfig("lstm", 6, 3, residual=True, dropout=0.5),
    ModelConfig("gru", 6, 2, layer_norm=True, recurrent_dropout=0.5, learn_initial_state=True),
    ModelConfig("lstm", 6, zoneout=0.3, weight_drop=0.5, peephole=True),
]


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_a_streamed_step_is_the_step_of_the_model(model):
    torch.manual_seed(0)
    net = LanguageNet(model, LanguageConfig(tied=True, embedding_size=4), 9).eval()
    streamed, state, other = Streamed(net), None, None
    rng = generator(0, "streamed")
    for rows in ([0], [0], [0, 0, 0], [2, 1, 0], [1, 1, 2], [0, 2], [1, 0], [1], [0]):  # texts come, go, change places
        ids = torch.from_numpy(rng.integers(9, size=len(rows)))  # (B,)
        with torch.no_grad():
            expected, state = net.step(ids, take(state, np.array(rows)))
        found, other = streamed(ids, take(other, np.array(rows)))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    begun, _ = streamed(ids, None)
    torch.testing.assert_close(begun, net.step(ids)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("prompt", ["", "Anna", "rain "])
def test_a_live_text_is_the_one_that_is_given_whole(tokenizer, prompt):
    model = Pairs(len(tokenizer))
    whole = generate(model, tokenizer, prompt, SHORT, count=4, seed=2)
    assert len({text.text for text in whole}) > 1
    for number, text in enumerate(whole):
        live = Live(model, tokenizer, prompt, SHORT, number, seed=2)
        assert "".join(live) == text.text
        assert live.result[::2] == text[::2]
        assert live.result.log_probability == pytest.approx(text.log_probability)


def test_a_text_can_be_read_again_with_its_log_probability(tokenizer):
    model = Pairs(len(tokenizer))
    for text in generate(model, tokenizer, "Anna", SHORT, count=8):
        ids = tokenizer.encode("Anna" + text.text).tolist()
        if len(ids) == len(tokenizer.encode("Anna")) + text.tokens:  # subwords may be cut in another way
            total = model.log_probability([*ids, END] if text.ended else ids)
            assert text.log_probability == pytest.approx(total - model.log_probability(tokenizer.encode("Anna")))
        assert text.ended == (text.tokens < 15)


def test_what_is_unknown_is_never_written(tokenizer):
    model = Pairs(len(tokenizer))
    model.table[:, UNKNOWN] = 10.0  # the likeliest of all
    for how in (SHORT, Generation(temperature=0, max_length=15), Generation(beam=3, max_length=5)):
        assert "\N{REPLACEMENT CHARACTER}" not in generate(model, tokenizer, how=how)[0].text


def test_the_prompt_is_read_after_the_end_of_another_text_and_once():
    tokenizer = TOKENIZERS["characters"]
    model = Pairs(len(tokenizer))
    generate(model, tokenizer, "Anna", Generation(max_length=1), count=3)
    ids = tokenizer.encode("Anna").tolist()
    assert model.read == [[END], *([number] for number in ids)]


def test_words_are_set_apart_from_the_prompt_as_they_are_from_one_another():
    tokenizer = TOKENIZERS["words"]
    model = Pairs(len(tokenizer))
    clock = tokenizer.encode("clock")[0]
    model.table[:, clock] = 100.0
    how = Generation(temperature=0, max_length=2)
    for prompt, text in (("Anna", " clock clock"), ("Anna ", "clock clock"), ("", "clock clock"), ("(", "clock clock")):
        assert generate(model, tokenizer, prompt, how)[0].text == text
        assert "".join(Live(model, tokenizer, prompt, how)) == text


def test_many_texts_are_drawn_some_at_a_time_and_are_the_same(monkeypatch, tokenizer):
    model = Pairs(len(tokenizer))
    together = generate(model, tokenizer, "", SHORT, count=5)
    monkeypatch.setattr(module, "_CHANCES_AT_ONCE", 2 * len(tokenizer))
    assert [text.text for text in generate(model, tokenizer, "", SHORT, count=5)] == [text.text for text in together]
    assert generate(model, tokenizer, "", SHORT, count=2)[1].text == together[1].text
    assert generate(model, tokenizer, "", SHORT, count=5, seed=1) != together


def test_the_likeliest_texts_come_first():
    tokenizer = TOKENIZERS["characters"]
    found = generate(Pairs(len(tokenizer)), tokenizer, "A", Generation(beam=10, max_length=4), count=6)
    totals = [text.log_probability for text in found]
    assert totals == sorted(totals, reverse=True)
    assert len({text.text for text in found}) == 6
    with pytest.raises(InputError, match="--beam 11"):
        generate(Pairs(len(tokenizer)), tokenizer, "A", Generation(beam=10), count=11)
    with pytest.raises(InputError, match="leave --beam out"):
        Live(Pairs(len(tokenizer)), tokenizer, "A", Generation(beam=2))


@pytest.mark.parametrize(
    ("kind", "prompt", "mentions"),
    [("characters", "Anna ß", ["character 'ß' (U+00DF)", "character 6 of 'Anna ß'", "A T a"]),
     ("characters", "anna N", ["'N'", "it knows 'n'"]),
     ("characters", "a\x1b[31m", ["U+001B", "'\\x1b'"]),
     ("characters", "a\udcff", ["U+DCFF"]),
     ("subwords", "Anna Ω", ["'Ω'", "character 6"]),
     ("words", "the clokc", ["word 'clokc'", "character 5", "such as clock"])],
)  # fmt: skip
def test_a_prompt_that_it_cannot_read_is_refused_by_name(kind, prompt, mentions):
    with pytest.raises(InputError) as caught:
        encode_prompt(TOKENIZERS[kind], prompt)
    for mention in mentions:
        assert mention in str(caught.value)


def test_nothing_is_written_where_nothing_is_asked_for():
    tokenizer = TOKENIZERS["characters"]
    with pytest.raises(InputError, match="n cannot be 0"):
        generate(Pairs(len(tokenizer)), tokenizer, count=0)
    assert np.isfinite(generate(Pairs(len(tokenizer)), tokenizer, how=SHORT)[0].log_probability)
