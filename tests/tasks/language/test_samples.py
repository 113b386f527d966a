"""What models write is counted beside real lines, and shown without doing anything to the page."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gatelab.core.task import Evaluation
from gatelab.data.ragged import Ragged
from gatelab.data.tokens import END, Tokenizer
from gatelab.report import render
from gatelab.report.page import Code, Figure, Page, Table
from gatelab.tasks.language import samples

NAMES = ["anna", "bo", "anna", "cleo", "cleo", "x<b>"]
TOKENIZER = Tokenizer.learn([*NAMES, "\x1b[31m"], "characters")


def lines(*texts: str) -> Ragged:
    return Ragged.of([[*TOKENIZER.encode(text), END] for text in texts], np.int32)


class Writer:
    """Begins with some texts, each equally often, and goes on as the texts that began so; knows nothing else."""

    def __init__(self, *texts: str):
        self.texts = [[END, *TOKENIZER.encode(text).tolist(), END] for text in texts]

    def __call__(self, ids, state):
        before = torch.zeros(1, len(ids), 0) if state is None else state
        read = torch.cat([before, ids[None, :, None].float()], dim=2)  # (1, B, T) all that was read
        counts = torch.full((len(ids), len(TOKENIZER)), 1e-30)
        for row, prefix in enumerate(read[0].long().tolist()):
            for text in self.texts:
                if text[: len(prefix)] == prefix:
                    counts[row, text[len(prefix)]] += 1
        return torch.log(counts / counts.sum(dim=1, keepdim=True)), read


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    return samples.of_lines(Writer("anna", "cle", "bo"), lines("anna", "bo", "anna"), lines("cleo", "cleo", "bo"))


def test_lines_are_counted(arrays):
    S = len(arrays["written_lengths"])
    assert S == samples._MOST_LINES
    assert set(arrays["written_lengths"].tolist()) == {2, 3, 4}
    assert arrays["written_new"].tolist() == (arrays["written_lengths"] == 3).tolist()  # cle
    assert (~arrays["written_again"]).sum() == 3
    assert arrays["written_lengths"].sum() == len(arrays["written"])
    assert END not in arrays["written"]
    assert arrays["real_lengths"].tolist() == [4, 4, 2]
    assert arrays["real_new"].tolist() == [True, True, False]
    assert arrays["real_again"].tolist() == [False, True, False]


def test_few_and_short_lines_of_a_model_that_ends_none(monkeypatch):
    monkeypatch.setattr(samples, "_TOKENS", 300)
    monkeypatch.setattr(samples, "_LONGEST", 30)
    long = lines("abcleonx" * 20)
    found = samples.of_lines(Writer("abcleonx" * 40), long, long)
    assert found["written_lengths"].tolist() == [30] * samples._FEWEST_LINES


def test_a_text_of_a_stream():
    (name,) = arrays = samples.of_stream(Writer("anna" * 200))
    assert name == "written"
    assert TOKENIZER.decode(arrays["written"]) == "anna" * 150


def test_the_section_shows_lines_table_and_lengths(arrays):
    results = {"gru": [Evaluation({}, arrays), Evaluation({}, arrays)], "chance": [Evaluation({})]}
    section = samples.section(TOKENIZER, results, "gru", results["gru"][0])
    code, table, figure = section.parts
    assert isinstance(code, Code)
    assert isinstance(table, Table)
    assert isinstance(figure, Figure)
    assert set(code.text.splitlines()) == {"* anna", "* bo", "  cle"}
    assert [row[0] for row in table.rows] == ["real lines (test part)", "gru"]
    assert table.rows[0][1:] == ["66.7 %", "33.3 %", "3.33"]
    assert float(table.rows[1][1].split()[0]) == pytest.approx(100 / 3, abs=5)
    assert "What it writes" in render(Page("t", "v", sections=[section]))


def test_nothing_is_shown_of_what_does_not_write(arrays):
    results = {"gru": [Evaluation({})], "lstm": [Evaluation({}, arrays)]}
    assert samples.section(TOKENIZER, results, "gru", results["gru"][0]) is None


@pytest.mark.parametrize("text", ["x<b>", "\x1b[31m"])
def test_neither_markup_nor_escape_codes_reach_the_page(text):
    for arrays in (samples.of_lines(Writer(text), lines(text), lines(text)), samples.of_stream(Writer(text))):
        evaluation = Evaluation({}, arrays)
        section = samples.section(TOKENIZER, {"gru": [evaluation]}, "gru", evaluation)
        page = render(Page("t", "v", sections=[section]))
        assert "\x1b" not in page
        assert ("x&lt;b&gt;" if text == "x<b>" else "\\x1b[31m") in page
        assert "<b>" not in page
