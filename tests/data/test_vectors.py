"""Word vectors in the text formats of word2vec and GloVe."""

import numpy as np
import pytest

from gatelab.core.errors import DataError
from gatelab.data.vectors import read_vectors

WORDS = {"film": 5, "new york": 7, "absent": 9}


def write(tmp_path, text):
    (tmp_path / "vectors.txt").write_text(text, encoding="utf-8")
    return str(tmp_path / "vectors.txt")


@pytest.mark.parametrize("header", ["", "4 2\n"])
def test_words_are_found_with_and_without_a_header(tmp_path, header):
    found = read_vectors(write(tmp_path, header + "the 0 1\nfilm 1 2\nnew york 3 -4e-1\nfilm 9 9\n"), WORDS)
    assert found.which.tolist() == [5, 7]
    np.testing.assert_allclose(found.vectors, [[1, 2], [3, -0.4]])


@pytest.mark.parametrize("line", ["film 1", "film 1 x", "film 1 nan", "film"])
def test_a_damaged_line_is_named(tmp_path, line):
    with pytest.raises(DataError, match=r"vectors\.txt, line 2 is no vector"):
        read_vectors(write(tmp_path, f"the 0 1\n{line}\n"), WORDS)


def test_vectors_of_another_language_are_refused(tmp_path):
    with pytest.raises(DataError, match="none of the 3 words"):
        read_vectors(write(tmp_path, "le 0 1\n"), WORDS)
