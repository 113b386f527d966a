"""Tokens: what they are, their numbers, and text from them again."""

import json
import pickle
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatelab.core.errors import InputError
from gatelab.data.merging import apply_merges, learn_merges
from gatelab.data.tokens import END, RESERVED, UNKNOWN, Tokenizer

TEXT = 'Low, lower, lowest! "The newest\u2019s newer," said 3 widest men; it\'s 1,000.5 new.\nÉtés: e\u0301 नमस्ते 你好\n'
KINDS = ["characters", "words", "subwords"]


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request) -> Tokenizer:
    return Tokenizer.learn([TEXT], request.param, size=80 if request.param == "subwords" else None)


def test_numbers_are_below_the_size_and_tokens_are_distinct(tokenizer):
    ids = tokenizer.encode(TEXT)
    assert ids.min() >= RESERVED
    assert ids.max() < len(tokenizer)
    assert len(set(tokenizer.tokens)) == len(tokenizer.tokens)


def test_pieces_stand_where_they_say(tokenizer):
    pieces = tokenizer.split(TEXT)
    assert [piece.text for piece in pieces] == [TEXT[piece.start : piece.end] for piece in pieces]
    assert [tokenizer.tokens[number - RESERVED] for number in tokenizer.encode(TEXT)] == [p.text for p in pieces]


def test_lines_give_the_tokens_of_the_whole(tokenizer):
    lines = TEXT.splitlines(keepends=True)
    assert [number for line in lines for number in tokenizer.encode(line)] == tokenizer.encode(TEXT).tolist()


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_characters_and_subwords_lose_nothing(text):
    for kind in ("characters", "subwords"):
        tokenizer = Tokenizer.learn([text], kind, size=200)
        assert tokenizer.decode(tokenizer.encode(text)) == text
        pieces = tokenizer.split(text)
        assert "".join(text[piece.start : piece.end] for piece in pieces) == text


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_words_leave_out_nothing_but_white_space(text):
    words = "".join(piece.text for piece in Tokenizer.learn([], "words").split(text))
    assert [c for c in words if not c.isspace()] == [c for c in text if not c.isspace()]


@given(st.text(max_size=60))
def test_lower_case_keeps_places_within_the_text(text):
    for kind in KINDS:
        tokenizer = Tokenizer.learn([text], kind, size=200, lower=True)
        pieces = tokenizer.split(text)
        assert all(0 <= piece.start < piece.end <= len(text) for piece in pieces)
        assert len(pieces) == len(tokenizer.encode(text))


def test_words_and_marks():
    words = [
        piece.text for piece in Tokenizer.learn([], "words").split("It's the dog’s 'bone' – 1,000.5 m, e\u0301té!")
    ]
    assert words == ["It", "'s", "the", "dog", "’s", "'", "bone", "'", "–", "1,000.5", "m", ",", "e\u0301té", "!"]


def test_words_are_written_with_the_spaces_of_english():
    text = "We (all of us) don't know: it's 5 men, or 6.\nThe end!"
    words = Tokenizer.learn([text], "words")
    assert words.decode(words.encode(text)) == text


def test_text_can_be_written_one_token_at_a_time(tokenizer):
    ids = tokenizer.encode(TEXT).tolist()
    written = "".join(tokenizer.decode([b], after=a) for a, b in zip([None, *ids], ids, strict=False))
    assert written == tokenizer.decode(ids)


def test_what_training_did_not_have_is_unknown():
    tokenizer = Tokenizer.learn(["ab"], "characters")
    assert tokenizer.encode("axb").tolist() == [2, UNKNOWN, 3]
    assert [(piece.text, piece.start) for piece in tokenizer.unknown("axb")] == [("x", 1)]
    assert tokenizer.decode([2, UNKNOWN, 3, END]) == "a\ufffdb"
    assert tokenizer.name(UNKNOWN) != tokenizer.name(END)


def test_rare_tokens_are_unknown_and_the_most_frequent_come_first():
    texts = ["c a b a", "a b d"]
    assert Tokenizer.learn(texts, "words").tokens == ("a", "b", "c", "d")
    assert Tokenizer.learn(texts, "words", min_count=2).tokens == ("a", "b")
    assert Tokenizer.learn(texts, "words", size=3).tokens == ("a",)


def test_case_can_be_ignored():
    tokenizer = Tokenizer.learn(["The the THE İ"], "words", lower=True)
    assert tokenizer.tokens == ("the", "i̇")
    assert [tuple(piece) for piece in tokenizer.split("A İ")] == [("a", 0, 1), ("i̇", 2, 3)]


def test_half_a_surrogate_pair_is_never_a_token():
    assert Tokenizer.learn(["a\ud800"], "characters").tokens == ("a",)


def test_the_order_of_the_texts_does_not_matter():
    texts = ["low lower newest", "newer wider new", "low low new"]
    for kind in KINDS:
        assert Tokenizer.learn(texts, kind, size=40) == Tokenizer.learn(texts[::-1], kind, size=40)


def test_travels_as_json_and_to_other_processes(tokenizer):
    again = Tokenizer.from_state(json.loads(json.dumps(tokenizer.state())))
    assert again == tokenizer == pickle.loads(pickle.dumps(tokenizer))
    assert again.encode(TEXT).tolist() == tokenizer.encode(TEXT).tolist()


@pytest.mark.parametrize("options", [{"kind": "syllables"}, {"size": 2}, {"min_count": 0}])
def test_impossible_settings_are_refused(options):
    with pytest.raises(InputError):
        Tokenizer.learn(["a"], **options)


# ---- byte pair encoding --------------------------------------------------------------------------------------------


def test_merges_of_the_paper():
    # Sennrich et al. 2016, figure 1 and section 3.2, without its mark for the end of a word.
    chunks = {"low": 5, "lower": 2, "newest": 6, "widest": 3}
    assert learn_merges(chunks, 3) == [("e", "s"), ("es", "t"), ("l", "o")]
    ranks = {pair: rank for rank, pair in enumerate(learn_merges(chunks, 4))}
    assert apply_merges("lowest", ranks) == ["low", "est"]


def slowly_learned(chunks: dict[str, int], count: int) -> list[tuple[str, str]]:
    """Counts everything anew for each merge."""
    words, merges = {chunk: list(chunk) for chunk in chunks}, []
    for _ in range(count):
        totals: dict[tuple[str, str], int] = {}
        for chunk, symbols in words.items():
            for pair in pairwise(symbols):
                totals[pair] = totals.get(pair, 0) + chunks[chunk]
        if not totals or max(totals.values()) < 2:
            break
        best = min(totals, key=lambda pair: (-totals[pair], pair))
        merges.append(best)
        for symbols in words.values():
            at = 0
            while at + 1 < len(symbols):
                if (symbols[at], symbols[at + 1]) == best:
                    symbols[at : at + 2] = ["".join(best)]
                at += 1
    return merges


@given(st.dictionaries(st.text("abc", min_size=1, max_size=12), st.integers(1, 5), max_size=8))
def test_merges_are_those_of_counting_anew_each_time(chunks):
    assert learn_merges(chunks, 20) == slowly_learned(chunks, 20)
