"""``gatelab generate``: what reaches stdout, when, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gatelab.cli import console
from gatelab.cli.main import main
from gatelab.core.random import generator
from gatelab.tasks.language.config import Generation
from gatelab.tasks.language.generate import Generated, Streamed, generate
from gatelab.tasks.loading import load
from refusals import refused

FIT = ("fit", "language", "names.txt", "--hidden-size", "12", "--epochs", "2", "--out", "run")
HOSTILE = "\x1b[31m\x9b\u202e<b>"


def write_names(folder: Path) -> None:
    """Syllables put together; a few have in them what must not reach a terminal."""
    rng = generator(0, "names")
    syllables = ["an", "bo", "cle", "da", "o", "mi", "ra"]
    names = ["".join(rng.choice(syllables, rng.integers(1, 4))) for _ in range(120)]
    names[::10] = [HOSTILE + name for name in names[::10]]
    (folder / "names.txt").write_text("\n".join(names) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    write_names(folder)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(FIT) == 0
    torch.set_num_threads(before)
    return folder / "run"


@pytest.fixture
def run(trained, tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, tmp_path / "run")
    return Path("run")


def said(capsys, *words: str) -> tuple[str, str]:
    capsys.readouterr()
    code = main(["generate", *words])
    found = capsys.readouterr()
    assert code == 0, found.err
    return found.out, found.err


def drawn(count: int, **options) -> list[Generated]:
    loaded = load("run")
    return generate(Streamed(loaded.model), loaded.task.tokenizer, count=count, **options)


def test_texts_go_to_stdout_and_facts_to_stderr(capsys, run):
    out, err = said(capsys, "run", "--n", "5")
    assert out.splitlines() == [console.printable(text.text) for text in drawn(5)]
    assert err.count("log-probability −") == 5
    assert "it ended there" in err


def test_json_has_every_number(capsys, run):
    out, err = said(capsys, "run", "--n", "3", "--prompt", "an", "--seed", "7", "--json")
    expected = drawn(3, prompt="an", seed=7)
    assert json.loads(out) == [{"prompt": "an", **text._asdict()} for text in expected]
    assert err == ""


def test_what_is_likeliest_comes_first(capsys, run):
    out, _ = said(capsys, "run", "--beam", "8", "--n", "4", "--json")
    totals = [entry["log_probability"] for entry in json.loads(out)]
    assert totals == sorted(totals, reverse=True)
    out, err = said(capsys, "run", "--beam", "8", "--n", "4", "--prompt", "bo")
    assert len(out.splitlines()) == err.count("log-probability") == 4
    assert all(line.startswith("bo") for line in out.splitlines())


def test_settings_reach_the_text(capsys, run):
    out, err = said(capsys, "run", "--temperature", "0", "--max-length", "2", "--prompt", "cl")
    assert out.startswith("cl")
    assert len(out) <= len("cl??\n")
    assert "2 tokens, cut there" in err or "it ended there" in err
    assert said(capsys, "run", "--top-k", "1")[0] == said(capsys, "run", "--temperature", "0")[0]
    assert said(capsys, "run", "--top-p", "0.0001")[0] == said(capsys, "run", "--temperature", "0")[0]
    lines = said(capsys, "run", "--n", "20", "--repetition-penalty", "1000")[0].splitlines()
    assert all(len(set(line)) == len(line) for line in lines if line.isalpha())
    assert lines != said(capsys, "run", "--n", "20")[0].splitlines()


def test_nothing_unprintable_reaches_the_terminal(capsys, run):
    shown = "".join(said(capsys, "run", "--n", "30", "--temperature", "1.5", "--max-length", "20"))
    shown += said(capsys, "run", "--prompt", HOSTILE, "--max-length", "3")[0]
    assert all(character.isprintable() or character == "\n" for character in shown)
    assert "\\x1b[31m\\x9b\\u202e<b>" in shown
    assert said(capsys, "run", "--n", "10", "--prompt", HOSTILE, "--json")[0].isascii()


class Watched:
    """A stdout that knows what has been flushed."""

    def __init__(self):
        self.flushed: list[str] = []
        self.waiting = ""

    def write(self, text: str) -> None:
        self.waiting += text

    def flush(self) -> None:
        self.flushed.append(self.waiting)
        self.waiting = ""

    def isatty(self) -> bool:
        return True


def test_every_character_is_shown_before_the_next_is_drawn(run, monkeypatch):
    out, shown = Watched(), []  # what was on the screen at each step
    original = Streamed.__call__

    def watching(self, ids, state):
        shown.append("".join(out.flushed))
        return original(self, ids, state)

    monkeypatch.setattr(Streamed, "__call__", watching)
    monkeypatch.setattr(sys, "stdout", out)
    assert main(["generate", "run", "--prompt", "an", "--temperature", "2", "--max-length", "20", "--seed", "5"]) == 0
    whole, while_writing = "".join(out.flushed), shown[1 + len("an") :]  # without the steps that read the prompt
    assert out.waiting == ""
    text = drawn(1, prompt="an", seed=5, how=Generation(temperature=2, max_length=20))[0]
    assert whole == "an" + console.printable(text.text) + "\n"
    pieces = [console.printable(character) for character in text.text]
    read = text.tokens if text.ended else text.tokens - 1
    assert read > 3
    assert while_writing == ["an" + "".join(pieces[:number]) for number in range(1, read + 1)]


def test_ctrl_c_leaves_the_text_so_far(capsys, run, monkeypatch):
    original, steps = Streamed.__call__, []

    def interrupted(self, ids, state):
        steps.append(ids)
        if len(steps) == 5:
            raise KeyboardInterrupt
        return original(self, ids, state)

    monkeypatch.setattr(Streamed, "__call__", interrupted)
    assert main(["generate", "run", "--prompt", "an", "--temperature", "2", "--seed", "5"]) == 130
    found = capsys.readouterr()
    assert found.out.startswith("an")
    assert found.out.endswith("\n")
    assert "Traceback" not in found.err


@pytest.mark.parametrize(
    ("words", "mentions"),
    [(["--prompt", "anß"], ["'ß' (U+00DF)", "character 3"]),
     (["--temperature", "-1"], ["temperature", "--temperature"]),
     (["--top-k", "0"], ["--top-k"]), (["--top-p", "2"], ["--top-p"]), (["--n", "0"], ["--n"]),
     (["--max-length", "0"], ["--max-length"]), (["--repetition-penalty", "0.5"], ["--repetition-penalty"]),
     (["--beam", "2", "--n", "3"], ["--beam 3"]), (["--beam", "2", "--top-k", "3"], ["--top-k", "leave --beam out"])],
    ids=lambda value: " ".join(value)[:20],
)  # fmt: skip
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_what_cannot_be_is_refused_in_words(words, mentions, flags, capsys, run):
    message = refused(capsys, "generate", "run", *words, *flags)
    for mention in mentions:
        assert mention in message


def test_a_model_of_another_kind_is_refused(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["fit", "problem", "adding", "--length", "4", "--examples", "64", "--held-out", "32", "--epochs", "1"]
    assert main([*words, "--hidden-size", "2", "--out", "run"]) == 0
    message = refused(capsys, "generate", "run")
    assert "is for problem" in message
    assert "gatelab fit language" in message
    assert "there is no folder" in refused(capsys, "generate", "nowhere")


@pytest.mark.slow
def test_a_reader_that_goes_away_ends_it_quietly(run):
    command = [sys.executable, "-m", "gatelab", "generate", "run", "--n", "100000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ})
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 141
    assert b"Traceback" not in err
