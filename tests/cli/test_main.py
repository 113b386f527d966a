"""The frame of the command line: which code it ends with, and what it says where."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module, util
from types import SimpleNamespace

import pytest

from gatelab.cli import main as frame
from gatelab.core.errors import DataError

MODULE = "gatelab.cli.toy_command"


@pytest.fixture
def command(monkeypatch):
    """Lets ``gatelab toy`` do what the test says."""

    def runs(action):
        monkeypatch.setitem(sys.modules, MODULE, SimpleNamespace(main=action))
        monkeypatch.setitem(frame.COMMANDS, "toy", frame.Command(MODULE, "a toy"))
        monkeypatch.delenv("GATELAB_DEBUG", raising=False)

    return runs


def raising(error):
    def action(argv):
        raise error

    return action


def gatelab(*words, **options) -> subprocess.CompletedProcess:
    code = "from gatelab.cli.main import main; raise SystemExit(main())"
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    return subprocess.run([sys.executable, "-c", code, *words], check=False, **options)


@pytest.mark.parametrize("name", frame.COMMANDS)
def test_every_command_of_the_table_is_there(name):
    assert util.find_spec(frame.COMMANDS[name].module)
    assert callable(import_module(frame.COMMANDS[name].module).main)


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_help_lists_every_command(words, capsys):
    assert frame.main(words) == 0
    said = capsys.readouterr().out
    for name, command in frame.COMMANDS.items():
        assert f"  {name} " in said
        assert command.text in said
    assert "examples:" in said


def test_version(capsys):
    assert frame.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("gatelab 0.")


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from gatelab.cli.main import main; main(['--help']); "
        "print(sorted({'tyro', 'rich', 'pandas', 'torch', 'numpy', 'pooch'} & set(sys.modules)), file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stderr.strip() == "[]"


def test_an_unknown_command_names_the_near_one(capsys):
    assert frame.main(["dta"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "no command 'dta'" in said.err
    assert "did you mean data?" in said.err


def test_a_command_gets_its_words_and_its_code_is_given_on(command):
    got = []
    command(lambda argv: got.append(argv) or 3)
    assert frame.main(["toy", "a", "--debug", "--b"]) == 3
    assert got == [["a", "--b"]]


@pytest.mark.parametrize(("stop", "code"), [(None, 0), (0, 0), (2, 2), ("text", 1)])
def test_system_exit_becomes_a_code(command, stop, code):
    command(raising(SystemExit(stop)))
    assert frame.main(["toy"]) == code


def test_an_error_of_the_user_is_a_message_and_code_2(command, capsys):
    command(raising(DataError("row 3 is bad", expected="a date", got="\x1b[31m<x>[red]", fix="mend it")))
    assert frame.main(["toy"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "error: row 3 is bad",
        "  expected: a date",
        "  got:      \\x1b[31m<x>[red]",
        "  fix:      mend it",
    ]


def test_an_error_of_ours_is_short_unless_debugging(command, capsys, monkeypatch):
    command(raising(ZeroDivisionError("oh")))
    assert frame.main(["toy"]) == 1
    said = capsys.readouterr().err
    assert "ZeroDivisionError: oh" in said
    assert "--debug" in said
    assert "Traceback" not in said
    assert frame.main(["toy", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err
    monkeypatch.setenv("GATELAB_DEBUG", "1")
    assert frame.main(["toy"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [DataError, ZeroDivisionError])
def test_a_traceback_writes_no_escape_codes(kind, command, capsys):
    command(raising(kind("\x1b[31m\x9b")))
    frame.main(["toy", "--debug"])
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert said.count("\\x1b[31m\\x9b") >= 2
    assert all(character.isprintable() or character == "\n" for character in said)


def test_ctrl_c_says_how_to_go_on(command, capsys):
    command(raising(KeyboardInterrupt()))
    assert frame.main(["toy", "my data.csv"]) == 130
    said = capsys.readouterr().err
    assert "gatelab toy 'my data.csv'" in said
    assert "Traceback" not in said


def test_codes_through_a_process():
    ended = gatelab("data", "show", "co2_weekley")
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert "co2_weekly" in ended.stderr


def test_a_reader_that_has_gone_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    ended = gatelab("data", "list", stdout=writing)
    os.close(writing)
    assert ended.returncode == 141
    assert ended.stderr == ""


def test_a_terminal_without_unicode_gets_a_table_all_the_same():
    ended = gatelab("data", "list", env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert ended.returncode == 0
    assert "co2_weekly" in ended.stdout
