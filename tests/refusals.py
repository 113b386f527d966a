"""What a command owes to who gave it something that it cannot use."""

from __future__ import annotations

from pathlib import Path

from gatelab.cli.main import main


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(capsys, *words: str) -> str:
    """What the command says, after a check that it ends as it should and leaves every file as it was."""
    before = files_of(Path.cwd())
    capsys.readouterr()
    code = main(list(words))
    said = capsys.readouterr()
    assert code == 2, said.err
    assert said.out == ""
    assert said.err.count("error: ") == 1
    assert "Traceback" not in said.err
    assert files_of(Path.cwd()) == before
    return said.err
