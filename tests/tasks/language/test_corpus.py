"""From a source to numbers: what a document is, which part it is in, and that the training part alone is learned."""

import itertools

import numpy as np
import pytest

from gatelab.core.errors import DataError, InputError
from gatelab.data.tokens import END, UNKNOWN
from gatelab.tasks.language import corpus
from gatelab.tasks.language.config import LanguageConfig

PARTS = ("train", "validation", "test")
SENTENCES = [f"The {noun} {verb} the {other}.\n" for noun, verb, other in itertools.product(
    ("cat", "dog", "bird"), ("sees", "hears", "finds", "likes"), ("fox", "hen", "mouse"))]  # fmt: skip


def read(source, **options):
    return corpus.read(source, LanguageConfig(**options))


def text_of(found, part):
    return found.tokenizer.decode(found.parts[part].values)


@pytest.mark.parametrize("tokens", ["characters", "subwords"])
def test_a_stream_is_divided_in_its_order_at_the_ends_of_lines(tokens):
    text = "".join(SENTENCES)
    found = read([text], documents="files", tokens=tokens, min_count=1, vocabulary=80, split=(0.8, 0.1, 0.1))
    parts = [text_of(found, part) for part in PARTS]
    known = found.tokenizer.unknown(text)
    assert known == []
    assert "".join(parts) == text
    assert all(part.endswith("\n") for part in parts)
    assert [found.parts[part].characters for part in PARTS] == [len(part) for part in parts]
    assert abs(len(parts[0]) / len(text) - 0.8) < 0.05
    assert [found.parts[part].documents for part in PARTS] == [1, 1, 1]
    assert all(found.parts[part].values[-1] == END for part in PARTS)


def test_many_documents_stay_whole():
    texts = ["".join(SENTENCES[n::12]) for n in range(12)] * 3
    found = read(texts, documents="files", split=(0.6, 0.2, 0.2))
    kept = [text for part in PARTS for text in pieces(found, part)]
    assert kept == texts
    assert all(len(pieces(found, part)) >= 4 for part in PARTS)


def pieces(found, part):
    values = found.parts[part].values
    ends = np.flatnonzero(values == END)
    return [found.tokenizer.decode(piece) for piece in np.split(values, ends + 1)[:-1]]


def test_equal_lines_stay_together_and_blank_ones_are_no_documents():
    rng = np.random.default_rng(0)
    lines = [f"name{n}" for n in range(200)] * 2 + ["", "   "]
    text = "\n".join(rng.permutation(lines))
    found = read([text], documents="lines", split=(0.5, 0.25, 0.25))
    held = {part: pieces(found, part) for part in PARTS}
    assert sorted(itertools.chain(*held.values())) == sorted(line for line in lines if line.strip())
    assert not set(held["train"]) & set(held["test"])
    assert not set(held["train"]) & set(held["validation"])
    assert [len(set(held[part])) for part in PARTS] == [100, 50, 50]
    assert held == {part: pieces(read([text], documents="lines", split=(0.5, 0.25, 0.25)), part) for part in PARTS}


@pytest.mark.parametrize(
    ("text", "documents"),
    [
        ("anna\nbert\ncarl\ndora\n" * 9, "lines"),
        ("A line.\n\nAnd one after a blank one.\n" * 9, "files"),
        ("short\n" * 9 + "long " * 60 + "\n", "files"),
        ("one line alone " * 9, "files"),
    ],
)
def test_what_a_document_is_can_be_seen(text, documents):
    found = corpus.read([text], LanguageConfig(split=(1, 1, 1))) if documents == "lines" else None
    decided, (note,) = corpus._decided(corpus.texts_of([text], None), LanguageConfig())
    assert decided.documents == documents
    assert "--documents" in note
    assert found is None or found.config.documents == "lines"


def test_tokens_are_those_of_the_training_part_alone():
    text = "aaaa bbbb\n" * 50 + "\nzzzz\n" * 20
    found = read([text], documents="files", split=(0.5, 0.25, 0.25))
    assert "z" not in found.tokenizer.tokens
    assert UNKNOWN in found.parts["test"].values
    assert UNKNOWN not in found.parts["train"].values
    assert any("unknown in the test part" in note for note in found.notes)


def test_rare_words_are_unknown_so_that_the_unknown_is_learned():
    found = read(["".join(SENTENCES) + "hapax legomenon\n" * 1 + "".join(SENTENCES)], documents="files", tokens="words")
    assert found.config.min_count == 2
    assert "hapax" not in found.tokenizer.tokens
    assert found.parts["train"].unknown > 0


def test_automatic_choices_are_kept_in_the_settings():
    words = read(["".join(SENTENCES * 4)], documents="files", tokens="words").config
    characters = read(["".join(SENTENCES)], documents="files").config
    assert (words.window, words.tied, words.adaptive, words.min_count) == (35, True, False, 2)
    assert (characters.window, characters.tied, characters.min_count) == (128, False, 1)


def test_a_line_of_a_million_characters_is_read_in_pieces_and_loses_nothing():
    text = "word " * 200_000
    found = read([text], documents="files", tokens="words", split=(0.5, 0.25, 0.25))
    assert sum(len(found.parts[part].values) for part in PARTS) == 200_000 + 3
    assert len(found.parts["train"].values) == pytest.approx(100_000, rel=0.2)


@pytest.mark.parametrize("source", [[], 3, [b"bytes"], None])
def test_what_is_no_text_is_refused(source):
    with pytest.raises(InputError, match="no text"):
        corpus.texts_of(source, None)


@pytest.mark.parametrize("texts", [[""], ["\n\n"], ["a"]])
@pytest.mark.parametrize("documents", ["files", "lines"])
def test_too_little_text_is_refused(texts, documents):
    with pytest.raises(DataError) as caught:
        read(texts, documents=documents, tokens="words", min_count=1)
    assert caught.value.fix


def test_a_byte_that_is_no_text_is_named_by_its_line(tmp_path):
    path = tmp_path / "bad.txt"
    path.write_bytes(b"fine\nfiner\nnot \xff fine\n")
    with pytest.raises(DataError, match=r"bad\.txt, line 3, byte 5"):
        read(path)
    assert read(path, encoding="latin-1", documents="lines", split=(1, 1, 1)).tokenizer


def test_other_text_is_read_with_the_tokens_of_before():
    found = read(["".join(SENTENCES)], documents="files")
    other = corpus.reread(["The yak sees."], found.config, found.tokenizer, (0.0, 0.0, 1.0))
    assert text_of(other, "test") == "The \ufffdak sees."
    assert not len(other.parts["train"].values)
    update = corpus.reread(["".join(SENTENCES)], found.config, found.tokenizer, (0.9, 0.1, 0.0))
    assert len(update.parts["train"].values) > len(update.parts["validation"].values) > 0
    assert not len(update.parts["test"].values)
